// The console in Chromium: each page for each role, each action, and what must not happen.
import assert from "node:assert/strict";
import { mkdir, readdir } from "node:fs/promises";
import { after, before, test } from "node:test";
import { Browser, Issuer, Server, everything, settled } from "./harness.mjs";

const MEMBER = ["", "access", "explain", "leases", "key", "grants", "callers", "tokens", "accounts", "parent-keys", "requests", "request-rules", "usage", "incident"];
const ADMIN = [...MEMBER, "groups", "workspaces"];
const OPERATOR = [...ADMIN, "identity-providers", "buckets", "datasets", "storages", "shares", "audit", "policy"];
const PLANNER = OPERATOR.filter((name) => name !== "incident");
const AUDITOR = ["", "access", "explain", "leases", "key", "grants", "groups", "requests", "request-rules", "audit"];
const ALL = ["operator", "planner", "auditor"];
const SHOTS = new URL("../../docs/console/", import.meta.url).pathname;

let server, browser, issuer, roles, reader;

before(async () => {
    server = await Server.start();
    browser = await Browser.start(server);
    issuer = await Issuer.start();
    reader = server.ready.callers[0];
    const admin = await server.token("console-admin", reader.account, "admin");
    const planner = await server.token("console-planner", reader.account, "planner");
    const auditor = await server.token("console-auditor", reader.account, "auditor");
    roles = { member: [reader.token, MEMBER], admin: [admin.token, ADMIN], operator: [server.root, OPERATOR], planner: [planner.token, PLANNER], auditor: [auditor.token, AUDITOR] };
    for (let count = 0; count < 30; count += 1) await server.call("POST", "/api/v1/credentials", {}, reader.token);
    await server.call("POST", "/api/v1/accounts", { name: "elsewhere-inc" });
    await server.token("stranger", "elsewhere-inc");
    await server.call("POST", "/api/v1/grants", { name: "secret-plans", account: "elsewhere-inc", bucket: reader.bucket, prefixes: ["plans"], access: "read", to: null });
});

after(async () => {
    await browser?.chromium.close();
    await issuer?.stop();
    await server?.stop();
});

const at = (name, query = "") => `${server.api}/console/${name}${query}`;
const LOOK = "Show what would happen";
const dialog = (page) => page.getByRole("dialog");
const close = async (page) => {
    // What is shown once is held until somebody has it.
    for (const had = dialog(page).getByRole("button", { name: "I have it" }); (await had.count()) > 0; ) await had.first().click();
    await dialog(page).getByRole("button", { name: "Close" }).click();
    // By its tag: one that is closed and still there has no role.
    await page.locator("dialog").waitFor({ state: "detached" });
};

/** Opens a thing and does something to it; `confirm` is what has to be typed before the last step. */
async function act(page, row, action, fill = async () => {}, steps = [action], confirm) {
    await page.getByRole("button", { name: row, exact: false }).first().click();
    await dialog(page).getByRole("button", { name: `${action}…` }).click();
    await fill(dialog(page));
    let told = "";
    for (const step of steps) {
        if (confirm && step === steps.at(-1)) {
            assert.ok(await dialog(page).getByRole("button", { name: step, exact: true }).isDisabled(), "nothing without the word");
            await dialog(page).getByLabel("to confirm").fill(confirm);
        }
        await dialog(page).getByRole("button", { name: step, exact: true }).click();
        await dialog(page).getByRole("status").waitFor();
        told += await dialog(page).innerText();
    }
    await dialog(page).getByText("Done.").waitFor();
    await close(page);
    return told;
}

async function create(page, label, fields, steps = [label]) {
    await page.getByRole("button", { name: `${label}…` }).click();
    for (const [name, value] of Object.entries(fields)) {
        const field = dialog(page).locator(`[name="${name}"]`);
        if (await field.evaluate((one) => one.tagName === "SELECT")) await field.selectOption(value);
        else await field.fill(value);
    }
    let told = "";
    for (const step of steps) {
        await dialog(page).getByRole("button", { name: step, exact: true }).click();
        await dialog(page).getByRole("status").waitFor();
        told += await dialog(page).innerText();
    }
    await dialog(page).getByText("Done.").waitFor();
    await close(page);
    return told;
}

test("pages and assets have the strict headers, and a browser at the root is led to them", async () => {
    const page = await browser.page();
    const answers = [];
    page.on("response", (response) => answers.push(response));
    await page.goto(`${server.api}/`);
    assert.equal(page.url(), at(""));
    const own = answers.filter((answer) => new URL(answer.url()).pathname.startsWith("/console/") && answer.status() === 200);
    assert.ok(own.length >= 3);
    for (const answer of own) {
        const headers = answer.headers();
        assert.match(headers["content-security-policy"], /script-src 'self';.*require-trusted-types-for 'script'/);
        assert.doesNotMatch(headers["content-security-policy"], /unsafe|\*/);
        assert.deepEqual([headers["cross-origin-opener-policy"], headers["referrer-policy"], headers["x-content-type-options"]], ["same-origin", "no-referrer", "nosniff"]);
        if (answer.url().includes("/assets/")) assert.match(headers["cache-control"], /immutable/);
    }
    assert.equal((await fetch(`${server.api}/`)).status, 404, "a program is answered as before");
    await page.context().close();
});

test("the link of `valetkey dev` signs in once, and leaves nothing behind", async () => {
    const page = await browser.page();
    const link = server.ready.console;
    assert.match(link, /^http:\/\/127\.0\.0\.1:\d+\/console\/#code=[\w-]{43}$/);
    await page.goto(link);
    await page.getByText("runs the server").or(page.getByText("an operator")).first().waitFor();
    assert.equal(page.url(), at(""));
    const kept = await everything(page);
    assert.ok(!kept.includes(link.split("=")[1]) && !kept.includes(server.root));
    const [cookie] = await page.context().cookies();
    assert.deepEqual([cookie.name, cookie.httpOnly, cookie.sameSite, cookie.path], ["valetkey-console", true, "Strict", "/"]);
    const other = await browser.page();
    await other.goto(link);
    await other.getByRole("alert").getByText("the link was used").waitFor();
    await page.context().close();
    await other.context().close();
});

test("a token that is none is refused, in the server's words", async () => {
    const page = await browser.page();
    await page.goto(at("grants"));
    await page.getByLabel("Token").fill("vk_nothing");
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await page.getByRole("alert").waitFor();
    assert.equal(await page.getByRole("navigation").count(), 0);
    const looking = await browser.looking();
    await looking.goto(at(""));
    await settled(looking);
    assert.deepEqual(await browser.findings(looking), []);
    await looking.context().close();
    await page.context().close();
});

for (const role of ["member", "admin", "operator", "planner", "auditor"]) {
    test(`every page of a ${role}: nothing refused, no serious finding, no secret, nothing of others`, async () => {
        const [token, pages] = roles[role];
        const page = await browser.signedIn(token);
        const links = await page.getByRole("navigation", { name: "Pages" }).getByRole("link").evaluateAll((all) => all.map((one) => new URL(one.href).pathname.slice("/console/".length)));
        assert.deepEqual(links.toSorted(), pages.toSorted());
        const looking = await browser.looking(token);
        for (const name of pages) {
            await page.goto(at(name));
            await settled(page);
            assert.equal(await page.locator(".failure").count(), 0, `${name}: ${await page.locator(".failure").allInnerTexts()}`);
            assert.ok((await page.locator(".cli").count()) >= 1, `${name} says no command`);
            const shown = await everything(page);
            for (const secret of server.secrets) assert.ok(!shown.includes(secret), `a secret on ${name}`);
            if (!ALL.includes(role)) assert.doesNotMatch(shown, /elsewhere-inc|secret-plans|stranger/, name);
            await looking.setViewportSize({ width: 1280, height: 900 });
            await looking.emulateMedia({ colorScheme: "light" });
            await looking.goto(at(name));
            await settled(looking);
            assert.deepEqual(await browser.findings(looking), []);
            await looking.setViewportSize({ width: 360, height: 740 });
            await looking.emulateMedia({ colorScheme: "dark" });
            const wide = await looking.evaluate(() => document.documentElement.scrollWidth);
            assert.ok(wide <= 360, `${name} is ${wide} px wide`);
            if (role === "operator") assert.deepEqual(await browser.findings(looking), []);
        }
        for (const name of OPERATOR.filter((one) => !pages.includes(one))) {
            await page.goto(at(name));
            await page.getByRole("heading", { name: "There is no such page" }).waitFor();
        }
        await page.context().close();
        await looking.context().close();
    });
}

test("an operator makes, changes and removes things", async () => {
    const page = await browser.signedIn(server.root);
    await page.goto(at("accounts"));
    await create(page, "Create an account", { name: "made-here" });
    await act(page, "made-here", "Add credits", (form) => form.locator("[name=credits]").fill("5"));
    await act(page, "made-here", "Suspend", undefined, [LOOK, "Suspend"]);
    await act(page, "made-here", "Activate", undefined, [LOOK, "Activate"]);
    await page.goto(at("callers"));
    await create(page, "Create a caller", { name: "worker", account: "made-here" }, [LOOK, "Create a caller"]);
    await page.goto(at("tokens"));
    const made = await create(page, "Make a token", { caller: "worker", account: "made-here" });
    const token = /vk\w+/.exec(made)[0];
    server.secrets.add(token);
    assert.ok(!(await everything(page)).includes(token), "it is shown once");
    assert.equal((await server.call("GET", "/api/v1/me", undefined, token)).name, "worker");
    await page.goto(at("buckets"));
    await create(page, "Create a bucket", { bucket: "made-bucket" });
    await page.goto(at("grants"));
    const gains = await create(page, "Create a grant", { name: "made-grant", account: "made-here", bucket: "made-bucket", prefixes: "work", to: "worker" }, [LOOK, "Create a grant"]);
    assert.match(gains, /worker of made-here, to .*get-object[\s\S]*gains\s+s3:\/\/made-bucket\/work\//);
    assert.equal((await server.call("GET", "/api/v1/me", undefined, token)).name, "worker");
    const lease = await server.call("POST", "/api/v1/credentials", {}, token);
    const told = await act(page, "made-grant", "Change", (form) => form.getByLabel("Directories, one on a line").fill("other"), [LOOK, "Change"]);
    assert.match(told, /gains\s+s3:\/\/made-bucket\/other\/\s+loses\s+s3:\/\/made-bucket\/work\//);
    assert.match(told, /ended\s+1/);
    assert.equal((await server.call("GET", `/api/v1/leases/${lease.lease_id}`)).state, "revoked");
    await act(page, "made-grant", "Remove", undefined, [LOOK, "Remove"], "made-grant");
    await page.goto(at("datasets"));
    await create(page, "Offer a dataset", { name: "made-data", bucket: "made-bucket", prefix: "data", topic: "things", description: "Made things" });
    await page.goto(at("workspaces"));
    await create(page, "Create a workspace", { key: "made-space", account: "made-here", bucket: "made-bucket", prefix: "space", callers: "worker" }, [LOOK, "Create a workspace"]);
    await page.goto(at("tokens", "?caller=made-here/worker"));
    await act(page, `…${token.slice(-4)}`, "End it", undefined, ["Show what would happen", "End it"]);
    await assert.rejects(server.call("GET", "/api/v1/me", undefined, token), /401/);
    await page.context().close();
});

test("conditions of a grant, members of a group and the standing of a caller are changed after a look", async () => {
    const page = await browser.signedIn(server.root);
    for (const caller of ["ann", "ben"]) await server.token(caller, reader.account);
    await server.call("POST", "/api/v1/groups", { account: reader.account, name: "looked-at", members: ["ann"] });
    await server.call("POST", "/api/v1/grants", { account: reader.account, name: "looked-at", to: "group:looked-at", bucket: reader.bucket, prefixes: ["looked"], access: "read" });
    await page.goto(at("grants", "?name=looked-at"));
    await act(page, "looked-at", "Change", (form) => form.getByLabel("Only at these hours").fill("mon-fri 08:00-18:00"), [LOOK, "Change"]);
    const kept = async () => (await server.call("GET", `/api/v1/grants?account=${reader.account}&name=looked-at`)).grants[0].conditions;
    assert.deepEqual(await kept(), { hours: ["mon-fri 08:00-18:00"] });
    await page.goto(at("grants", "?name=looked-at&again=1"));
    const told = await act(page, "looked-at", "Change", (form) => form.getByLabel("Only at these hours").fill(""), [LOOK, "Change"]);
    assert.match(told, /if at mon-fri 08:00-18:00 UTC[\s\S]*loses/);
    assert.equal(await kept(), undefined);
    await page.goto(at("groups"));
    const swap = await act(page, "looked-at", "Change", (form) => form.getByLabel("Callers, one on a line").fill("ben"), [LOOK, "Change"]);
    assert.match(swap, /ann of [\s\S]*loses\s+s3:\/\/[^ ]*looked\//);
    assert.match(swap, /ben of [\s\S]*gains\s+s3:\/\/[^ ]*looked\//);
    await page.goto(at("callers", `?account=${reader.account}`));
    const lost = await act(page, "ben", "Suspend", undefined, [LOOK, "Suspend"]);
    assert.match(lost, /ben of [\s\S]*loses[\s\S]*looked\//);
    await page.goto(at("groups"));
    await act(page, "looked-at", "Change", (form) => form.getByLabel("Callers, one on a line").fill(""), [LOOK, "Change"]);
    assert.deepEqual((await server.call("GET", `/api/v1/groups/${reader.account}%2Flooked-at`)).members, []);
    await page.context().close();
});

test("who an identity provider's people become is made, changed and removed", async () => {
    const page = await browser.signedIn(server.root);
    await page.goto(at("identity-providers"));
    await create(page, "Trust a provider", { name: "people", issuer: issuer.url, audiences: "valetkey-cli", login_client_id: "valetkey-cli" });
    await page.getByRole("button", { name: "people" }).click();
    const rules = async (name, fields, steps) => {
        await dialog(page).getByRole("button", { name: `${name}…` }).click();
        for (const [field, value] of Object.entries(fields)) await dialog(page).locator(`[name="${field}"]`).fill(value);
        for (const step of steps) await dialog(page).getByRole("button", { name: step, exact: true }).click();
        await dialog(page).getByText("Done.").waitFor();
        await dialog(page).getByRole("button", { name: "Back to the rules" }).click();
    };
    await rules("Add a rule", { name: "ana", account: reader.account, caller: "wrong", claims: "sub=ana" }, ["Add a rule"]);
    await rules("Change ana", { caller: reader.name }, [LOOK, "Change the rule"]);
    await rules("Add a rule", { name: "old", account: reader.account, caller: "old", claims: "sub=old" }, ["Add a rule"]);
    await rules("Remove old", {}, [LOOK, "Remove the rule"]);
    await close(page);
    const [known] = (await server.call("GET", "/api/v1/identity-providers")).identity_providers;
    assert.deepEqual(known.rules.map((rule) => [rule.name, rule.caller, rule.claims]), [["ana", reader.name, ["sub=ana"]]]);
    await page.context().close();
});

test("who logs in at an identity provider is signed in, on the page they came for, and no token is in the browser", async () => {
    const page = await browser.page();
    await page.goto(at("leases", "?live=true"));
    const go = page.getByRole("button", { name: "Sign in with people" });
    await go.waitFor();
    const looking = await browser.looking();
    await looking.setViewportSize({ width: 360, height: 740 });
    await looking.goto(at(""));
    await looking.getByRole("button", { name: "Sign in with people" }).waitFor();
    assert.deepEqual(await browser.findings(looking), []);
    await looking.context().close();
    const asked = [];
    page.on("request", (request) => asked.push(request));
    await go.click();
    await issuer.logIn(page, "ana");
    await page.getByRole("button", { name: "Sign out" }).waitFor();
    assert.equal(page.url(), at("leases", "?live=true"));
    const back = asked.map((request) => new URL(request.url())).find((url) => url.pathname === "/console/signed-in");
    const [code, state] = ["code", "state"].map((name) => back.searchParams.get(name));
    assert.ok(code && state);
    const kept = await everything(page);
    assert.ok(!kept.includes(code) && !kept.includes(state) && !/eyJ[\w-]+\./.test(kept));
    assert.ok(!asked.some((request) => /eyJ[\w-]+\./.test(request.url() + (request.postData() ?? ""))), "no identity token passes the browser");
    const cookies = (await page.context().cookies()).filter((cookie) => cookie.name.startsWith("valetkey"));
    assert.ok(cookies.length >= 1 && cookies.every((cookie) => cookie.httpOnly && cookie.sameSite === "Strict"));
    await page.getByRole("link", { name: "Overview" }).click();
    await page.getByText("by people: ana").waitFor();
    // What came back once is worth nothing again, nor elsewhere.
    for (const context of [page.context(), (await browser.page()).context()]) {
        const again = await context.newPage();
        await again.goto(back.href);
        await again.getByRole("alert").or(again.getByRole("button", { name: "Sign out" })).first().waitFor();
        assert.equal(new URL(again.url()).search, "");
        await again.close();
    }
    await page.context().close();
});

test("who is not let in at an identity provider is told why in plain words", async () => {
    const begun = async () => {
        const page = await browser.page();
        await page.goto(at(""));
        await page.getByRole("button", { name: "Sign in with people" }).click();
        await page.locator("[name=login]").waitFor();
        return page;
    };
    const eve = await begun();
    await issuer.logIn(eve, "eve");
    await eve.getByRole("alert").getByText("no rule").waitFor();
    assert.equal(await eve.getByRole("navigation").count(), 0);
    assert.equal(eve.url(), at(""));
    const gone = await begun();
    await gone.getByRole("link", { name: "Cancel" }).click();
    await gone.getByRole("alert").getByText("did not let you in: you, or it, refused").waitFor();
    const other = await browser.page();
    for (const [query, said] of [["?error=<b>call+555</b>", "it does not say why"], ["?error=toString", "it does not say why"], ["?code=x&state=y", "begin again"]]) {
        await other.goto(at("signed-in", query));
        await other.getByRole("alert").getByText(said).waitFor();
        assert.equal(other.url(), at(""));
        assert.ok(!(await other.locator("body").innerText()).includes("555"));
    }
    for (const page of [eve, gone, other]) await page.context().close();
});

test("the policy page says what a set owns, what was changed behind it, and what a document would change", async () => {
    const grant = { to: ["caller:etl"], bucket: reader.bucket, directories: ["policy"] };
    const document = { version: "valetkey/v1", owner: "console-set", owns: { accounts: ["by-files"], datasets: [] }, accounts: { "by-files": { callers: { etl: {} }, grants: { daily: grant } } }, datasets: {}, tests: [] };
    const planned = await server.call("POST", "/api/v1/policy/plan", { document, sources: {} });
    await server.call("POST", "/api/v1/policy/apply", { document, sources: {}, revision: planned.revision, confirm_deletes: 0 });
    const page = await browser.signedIn(server.root);
    await page.goto(at("policy", "?owner=console-set"));
    await page.getByText("Nothing: all is as the files said.").waitFor();
    await page.getByText("made, 0 changed, 0 removed").first().waitFor();
    const [{ id }] = (await server.call("GET", "/api/v1/grants?account=by-files&all=true")).grants;
    // What files own is changed by hand only with a reason.
    const patch = { prefixes: ["elsewhere"] };
    await assert.rejects(server.call("PATCH", `/api/v1/grants/${id}`, patch), /409/);
    await server.call("PATCH", `/api/v1/grants/${id}`, patch, server.root, { "valetkey-break-glass": "INC-7" });
    await page.getByRole("button", { name: "Reload" }).click();
    await page.locator(".drift").getByText("grant/by-files/daily").first().waitFor();
    const text = page.getByLabel("The set as a document");
    await text.fill((await text.inputValue()).replace('"elsewhere"', '"policy"'));
    await page.getByRole("button", { name: LOOK }).click();
    const plan = page.getByRole("status");
    await plan.getByText("1 thing changes").waitFor();
    assert.match(await plan.innerText(), /etl of by-files[\s\S]*gains[\s\S]*policy\/[\s\S]*loses[\s\S]*elsewhere\//);
    await text.fill("{");
    await page.getByRole("button", { name: LOOK }).click();
    await page.getByRole("alert").getByText("That is no JSON").waitFor();
    const looking = await browser.looking(server.root);
    await looking.goto(at("policy", "?owner=console-set"));
    await settled(looking);
    assert.deepEqual(await browser.findings(looking), []);
    await looking.context().close();
    await page.context().close();
});

test("an operator checks a storage, and shares a table", async () => {
    const page = await browser.signedIn(server.root);
    await page.goto(at("storages"));
    await page.locator(".table").getByRole("button").first().click();
    await dialog(page).getByRole("button", { name: "Check now" }).click();
    await dialog(page).getByText("in bucket").waitFor();
    assert.equal(await dialog(page).locator(".badge.is-failed").count(), 0);
    await close(page);
    await page.goto(at("shares"));
    await create(page, "Create a share", { name: "made-share" });
    await page.getByRole("button", { name: "made-share" }).click();
    await dialog(page).getByRole("button", { name: "Give it to an account…" }).click();
    await dialog(page).getByLabel("Account", { exact: false }).first().fill("made-here");
    await dialog(page).getByRole("button", { name: "Give it to an account", exact: true }).click();
    await dialog(page).getByText("Done.").waitFor();
    await dialog(page).getByRole("button", { name: "Back to the share" }).click();
    await dialog(page).getByRole("button", { name: "Make a profile link…" }).click();
    await dialog(page).getByLabel("Recipient's account").fill("made-here");
    await dialog(page).getByLabel("Recipient's caller").fill("recipient");
    await dialog(page).getByRole("button", { name: "Make a profile link", exact: true }).click();
    const link = await dialog(page).locator(".secret code").innerText();
    assert.match(link, /\/delta-sharing\/profile\//);
    await close(page);
    assert.ok(!(await everything(page)).includes(link), "it is shown once");
    await act(page, "made-share", "Remove", undefined, ["Remove"], "made-share");
    await page.context().close();
});

test("access is asked for in the console, and a member of the rule's group approves it", async () => {
    const account = reader.account;
    const [asker, approver] = [await server.token("asker", account), await server.token("approver", account)];
    await server.call("POST", "/api/v1/groups", { account, name: "approvers", members: ["approver"] });
    const page = await browser.signedIn(server.root);
    await page.goto(at("request-rules"));
    await create(page, "Add a request rule", { name: "made-rule", account, approvers: `${account}/approvers`, bucket: reader.bucket, prefixes: "asked", max_secs: "7200" });
    await page.context().close();
    const asking = await browser.signedIn(asker.token);
    await asking.goto(at("requests"));
    await create(asking, "Ask for access", { bucket: reader.bucket, prefixes: "asked/for", for_secs: "3600", reason: "to look at an incident" });
    await asking.getByRole("button", { name: "asked/for" }).click();
    assert.equal(await dialog(asking).getByRole("button", { name: "Approve…" }).count(), 0, "nobody approves their own");
    await close(asking);
    const deciding = await browser.signedIn(approver.token);
    await deciding.goto(at("requests"));
    await act(deciding, "asked/for", "Approve", (form) => form.getByLabel("What you say").fill("for an hour"), [LOOK, "Approve"]);
    await deciding.context().close();
    await asking.getByRole("button", { name: "Reload" }).click();
    await asking.getByText("approved", { exact: true }).waitFor();
    await asking.context().close();
    const vended = await server.call("POST", "/api/v1/credentials", { bucket: reader.bucket, prefix: "asked/for", access: "read" }, asker.token);
    assert.ok(Date.parse(vended.expiration ?? vended.expires_at) <= Date.now() + 3_601_000);
});

test("leases are found, drawn, and ended: one, and many only with the number typed", async () => {
    const page = await browser.signedIn(server.root);
    const vended = await server.call("POST", "/api/v1/credentials", {}, reader.token);
    await page.goto(at("leases"));
    await page.getByLabel("Access key id or lease id").fill(vended.access_key_id);
    await page.getByRole("button", { name: "Whose is it?" }).click();
    const steps = page.getByRole("list", { name: "The steps of this key" });
    await steps.getByText(vended.lease_id).waitFor();
    for (const stop of ["Who", "Token", "Grants", "Permit", "Lease", "Key", "End"]) await steps.getByRole("heading", { name: stop, exact: true }).waitFor();
    await steps.getByRole("button", { name: "End it…" }).click();
    await dialog(page).getByText("refused from the next request on").waitFor();
    await dialog(page).getByRole("button", { name: "End 1", exact: true }).click();
    await dialog(page).getByText("Ended 1 of 1.").waitFor();
    await close(page);
    await steps.getByText("revoked").waitFor();
    await page.goto(at("leases", `?caller=${reader.account}/${reader.name}`));
    await page.getByLabel("Select all that are shown").check();
    await page.getByRole("button", { name: /^End \d+…$/ }).click();
    const end = dialog(page).getByRole("button", { name: /^End \d+$/ });
    assert.ok(await end.isDisabled());
    const count = (await end.innerText()).split(" ")[1];
    assert.ok(Number(count) > 20);
    await dialog(page).getByLabel("to confirm").fill("1");
    assert.ok(await end.isDisabled());
    await dialog(page).getByLabel("to confirm").fill(count);
    await end.click();
    await dialog(page).getByText(`Ended ${count} of ${count}.`).waitFor();
    await close(page);
    await page.getByText("No credential is live.").waitFor();
    await page.context().close();
});

test("a question to explain is its address, for whoever may ask it", async () => {
    const page = await browser.signedIn(reader.token);
    await page.goto(at("explain"));
    await page.getByLabel("Object").fill(`s3://${reader.bucket}/${reader.prefix}-secret/x`);
    await page.getByRole("button", { name: "Explain" }).click();
    await page.locator(".verdict .badge", { hasText: "refused" }).waitFor();
    const link = page.url();
    const again = await browser.signedIn(reader.token);
    await again.goto(link);
    await again.locator(".verdict .badge", { hasText: "refused" }).waitFor();
    await again.goto(link.replace("-secret", ""));
    await again.locator(".verdict .badge", { hasText: "allowed" }).waitFor();
    await page.context().close();
    await again.context().close();
});

test("the explorer says who reaches a place, and what a caller reaches, now and at a time", async () => {
    const page = await browser.signedIn(server.root);
    const rows = page.locator(".table tbody tr");
    await page.goto(at("access", `?place=s3://${reader.bucket}/${reader.prefix}/&action=read`));
    await rows.filter({ hasText: reader.account }).first().waitFor();
    await page.goto(at("access", `?caller=${reader.account}/${reader.name}`));
    await page.getByRole("region", { name: "Places" }).getByRole("link", { name: reader.bucket }).waitFor();
    assert.equal(await rows.filter({ hasText: "elsewhere-inc" }).count(), 0);
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "CSV" }).click()]);
    assert.equal(download.suggestedFilename(), "access.csv");
    await page.goto(at("access", "?place=s3://nowhere-at-all/"));
    await page.getByText("Nobody reaches it.").waitFor();
    const member = await browser.signedIn(reader.token);
    await member.goto(at("access"));
    await settled(member);
    assert.ok((await member.locator(".table tbody tr").count()) > 0);
    await page.context().close();
    await member.context().close();
});

test("what leaked is looked at before it is ended, and is not kept", async () => {
    const leaked = (await server.token("leaky", reader.account)).token;
    const page = await browser.signedIn(server.root);
    await page.goto(at("incident"));
    await page.getByLabel("What leaked").fill(leaked);
    const end = page.getByRole("button", { name: "End it and what it made" });
    assert.ok(await end.isDisabled());
    await page.getByRole("button", { name: "Show what it is" }).click();
    await page.getByText("This would end:").waitFor();
    assert.equal((await server.call("GET", "/api/v1/me", undefined, leaked)).name, "leaky");
    await end.click();
    await page.getByText("Ended:").waitFor();
    assert.ok(!(await everything(page)).includes(leaked));
    await assert.rejects(server.call("GET", "/api/v1/me", undefined, leaked), /401/);
    await page.context().close();
});

test("the audit follows what is changed, and the ledger is whole", async () => {
    const page = await browser.signedIn(server.root);
    await page.goto(at("audit"));
    await page.getByRole("button", { name: "Follow" }).click();
    await server.call("POST", "/api/v1/buckets", { bucket: "followed-bucket" });
    await page.locator(".table").getByText("followed-bucket").first().waitFor();
    await page.getByRole("button", { name: "Verify the ledger" }).click();
    await page.locator(".badge", { hasText: "intact" }).waitFor();
    await page.context().close();
});

test("everything is done by keyboard: a page, a search, a dialog and out of it", async () => {
    const page = await browser.signedIn(server.root);
    await page.goto(at("grants"));
    await settled(page);
    await page.keyboard.press("/");
    assert.equal(await page.evaluate(() => document.activeElement.name), "account");
    await page.locator(".table tbody button").first().focus();
    await page.keyboard.press("Enter");
    await dialog(page).waitFor();
    await page.keyboard.press("Escape");
    // By its tag: one that is closed and still there has no role.
    await page.locator("dialog").waitFor({ state: "detached" });
    assert.equal(await page.evaluate(() => document.activeElement.className), "link");
    await page.locator("nav a[href$=leases]").focus();
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Leases" }).waitFor();
    assert.equal(page.url(), at("leases"));
    await page.context().close();
});

test("who signs out is out, also with a copy of the cookie", async () => {
    const page = await browser.signedIn(reader.token);
    const state = await page.context().storageState();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("Token").waitFor();
    assert.deepEqual(await page.context().cookies(), []);
    const copy = await browser.page({ storageState: state });
    await copy.goto(at("leases"));
    await copy.getByLabel("Token").waitFor();
    await page.context().close();
    await copy.context().close();
});

test("a page whose token has ended signs out at its next question", async () => {
    const { token, id } = await server.token("short", reader.account);
    const page = await browser.signedIn(token);
    await server.call("DELETE", `/api/v1/tokens/${id}`);
    await page.getByRole("link", { name: "Leases" }).click();
    await page.getByText("You were signed out").waitFor();
    assert.equal(await page.getByRole("navigation").count(), 0);
    await page.context().close();
});

const screenshots = async () => {
    await mkdir(SHOTS, { recursive: true });
    const page = await browser.signedIn(server.root, { viewport: { width: 1280, height: 720 } });
    const vended = await server.call("POST", "/api/v1/credentials", {}, reader.token);
    const explained = `?bucket=${reader.bucket}&key=${reader.prefix}-secret/2013-01-01.parquet&action=read&caller=${reader.name}&account=${reader.account}`;
    for (const name of OPERATOR) {
        await page.goto(at(name, { key: `?id=${vended.access_key_id}`, explain: explained }[name]));
        await settled(page);
        await page.screenshot({ path: `${SHOTS}${name || "overview"}.png` });
    }
    const grant = { name: "reports", account: reader.account, bucket: reader.bucket, prefixes: "reports/2026", to: reader.name };
    await page.goto(at("grants"));
    await page.getByRole("button", { name: "Create a grant…" }).click();
    for (const [name, value] of Object.entries(grant)) await dialog(page).locator(`[name="${name}"]`).fill(value);
    await dialog(page).getByRole("button", { name: LOOK }).click();
    await dialog(page).getByRole("status").scrollIntoViewIfNeeded();
    await page.screenshot({ path: `${SHOTS}preview.png` });
    await page.context().close();
    const stranger = await browser.page({ viewport: { width: 1280, height: 720 } });
    await stranger.goto(at(""));
    await stranger.getByRole("button", { name: "Sign in with people" }).waitFor();
    await stranger.screenshot({ path: `${SHOTS}sign-in.png` });
    await stranger.context().close();
};
if (process.env.SCREENSHOTS) {
    test("screenshots are made", screenshots);
}

test("every page has its picture in docs/console", async () => {
    const there = await readdir(SHOTS);
    assert.deepEqual([...OPERATOR.map((name) => `${name || "overview"}.png`), "preview.png", "sign-in.png"].filter((name) => !there.includes(name)), []);
});

test("no page was refused anything by its policy, and none failed", () => {
    assert.deepEqual(browser.complaints, []);
});
