// The console in Chromium: each page for each role, each action, and what must not happen.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { after, before, test } from "node:test";
import { Browser, Server, everything, settled } from "./harness.mjs";

const MEMBER = ["", "access", "explain", "leases", "key", "grants", "callers", "tokens", "accounts", "parent-keys", "usage", "incident"];
const ADMIN = [...MEMBER, "groups", "workspaces"];
const OPERATOR = [...ADMIN, "identity-providers", "buckets", "datasets", "storages", "shares", "audit"];
const PLANNER = OPERATOR.filter((name) => name !== "incident");
const AUDITOR = ["", "access", "explain", "leases", "key", "grants", "groups", "audit"];
const ALL = ["operator", "planner", "auditor"];
const SHOTS = new URL("../../docs/console/", import.meta.url).pathname;

let server, browser, roles, reader;

before(async () => {
    server = await Server.start();
    browser = await Browser.start(server);
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
    await server?.stop();
});

const at = (name, query = "") => `${server.api}/console/${name}${query}`;
const dialog = (page) => page.getByRole("dialog");
const close = async (page) => {
    await dialog(page).getByRole("button", { name: "Close" }).click();
    // By its tag: one that is closed and still there has no role.
    await page.locator("dialog").waitFor({ state: "detached" });
};

async function act(page, row, action, fill = async () => {}, steps = [action]) {
    await page.getByRole("button", { name: row, exact: false }).first().click();
    await dialog(page).getByRole("button", { name: `${action}…` }).click();
    await fill(dialog(page));
    for (const step of steps) await dialog(page).getByRole("button", { name: step, exact: true }).click();
    await dialog(page).getByText("Done.").waitFor();
    const told = await dialog(page).innerText();
    await close(page);
    return told;
}

async function create(page, label, fields) {
    await page.getByRole("button", { name: `${label}…` }).click();
    for (const [name, value] of Object.entries(fields)) {
        const field = dialog(page).locator(`[name="${name}"]`);
        if (await field.evaluate((one) => one.tagName === "SELECT")) await field.selectOption(value);
        else await field.fill(value);
    }
    await dialog(page).getByRole("button", { name: label, exact: true }).click();
    await dialog(page).getByText("Done.").waitFor();
    const told = await dialog(page).innerText();
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
    await page.getByRole("button", { name: "Sign in" }).click();
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
    await act(page, "made-here", "Suspend");
    await act(page, "made-here", "Activate");
    await page.goto(at("callers"));
    await create(page, "Create a caller", { name: "worker", account: "made-here" });
    await page.goto(at("tokens"));
    const made = await create(page, "Make a token", { caller: "worker", account: "made-here" });
    const token = /vk\w+/.exec(made)[0];
    server.secrets.add(token);
    assert.ok(!(await everything(page)).includes(token), "it is shown once");
    assert.equal((await server.call("GET", "/api/v1/me", undefined, token)).name, "worker");
    await page.goto(at("buckets"));
    await create(page, "Create a bucket", { bucket: "made-bucket" });
    await page.goto(at("grants"));
    await create(page, "Create a grant", { name: "made-grant", account: "made-here", bucket: "made-bucket", prefixes: "work" });
    assert.equal((await server.call("GET", "/api/v1/me", undefined, token)).name, "worker");
    const lease = await server.call("POST", "/api/v1/credentials", {}, token);
    const told = await act(page, "made-grant", "Change", (form) => form.getByLabel("Directories, one on a line").fill("other"), ["Show what would happen", "Change"]);
    assert.match(told, /ended\s+1/);
    assert.equal((await server.call("GET", `/api/v1/leases/${lease.lease_id}`)).state, "revoked");
    await act(page, "made-grant", "Remove", (form) => form.getByLabel("to confirm").fill("made-grant"), ["Show what would happen", "Remove"]);
    await page.goto(at("datasets"));
    await create(page, "Offer a dataset", { name: "made-data", bucket: "made-bucket", prefix: "data", topic: "things", description: "Made things" });
    await page.goto(at("workspaces"));
    await create(page, "Create a workspace", { key: "made-space", account: "made-here", bucket: "made-bucket", prefix: "space", callers: "worker" });
    await page.goto(at("tokens", "?caller=made-here/worker"));
    await act(page, `…${token.slice(-4)}`, "End it", undefined, ["Show what would happen", "End it"]);
    await assert.rejects(server.call("GET", "/api/v1/me", undefined, token), /401/);
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
    await act(page, "made-share", "Remove", (form) => form.getByLabel("to confirm").fill("made-share"));
    await page.context().close();
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
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "CSV" }).click()]);
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

test("ten thousand leases scroll without a stall", async () => {
    let left = 10_000;
    const vend = async () => {
        while (left-- > 0) await server.call("POST", "/api/v1/credentials", {}, reader.token);
    };
    await Promise.all(Array.from({ length: 32 }, vend));
    server.secrets.clear();
    const page = await browser.signedIn(server.root);
    await page.goto(at("leases"));
    await settled(page);
    const told = await page.evaluate(async () => {
        const box = document.querySelector(".table");
        const count = () => Number(box.querySelector("table").ariaRowCount ?? box.querySelector("table").getAttribute("aria-rowcount"));
        let longest = 0;
        let before = performance.now();
        let most = 0;
        // To the end, as fast as pages come; each frame is timed.
        for (let same = 0, rows = 0; count() < 10_000 && same < 600; ) {
            box.scrollTop = box.scrollHeight;
            await new Promise(requestAnimationFrame);
            const now = performance.now();
            longest = Math.max(longest, now - before);
            before = now;
            most = Math.max(most, box.querySelectorAll("tbody tr").length);
            same = count() === rows ? same + 1 : 0;
            rows = count();
        }
        return { rows: count(), drawn: most, longest };
    });
    assert.ok(told.rows > 10_000, JSON.stringify(told));
    assert.ok(told.drawn < 120, JSON.stringify(told));
    assert.ok(told.longest < 1000, JSON.stringify(told));
    await page.context().close();
});

const screenshots = async () => {
    await mkdir(SHOTS, { recursive: true });
    const page = await browser.signedIn(server.root, { viewport: { width: 1280, height: 720 } });
    const vended = await server.call("POST", "/api/v1/credentials", {}, reader.token);
    const explained = `?bucket=${reader.bucket}&key=${reader.prefix}-secret/2013-01-01.parquet&action=read&caller=${reader.name}&account=${reader.account}`;
    for (const name of OPERATOR.filter((one) => one !== "incident")) {
        await page.goto(at(name, { key: `?id=${vended.access_key_id}`, explain: explained }[name]));
        await settled(page);
        await page.screenshot({ path: `${SHOTS}${name || "overview"}.png` });
    }
    await page.context().close();
};
if (process.env.SCREENSHOTS) {
    test("screenshots are made", screenshots);
}

test("no page was refused anything by its policy, and none failed", () => {
    assert.deepEqual(browser.complaints, []);
});
