// Each action of each page says the command that does the same: here each of them is run, as it is copied, by a shell.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Browser, Issuer, Server, settled } from "./harness.mjs";

let server, browser, issuer, dir, reader, page;
const covered = new Set();
const seen = new Set();

before(async () => {
    server = await Server.start();
    browser = await Browser.start(server);
    issuer = await Issuer.start();
    reader = server.ready.callers[0];
    dir = await mkdtemp(join(tmpdir(), "valetkey-commands-"));
    await symlink(process.env.VALETKEY_BIN, join(dir, "valetkey"));
    await writeFile(join(dir, "settings.json"), JSON.stringify({ backend_endpoint: server.ready.s3, backend_region: "auto" }));
    page = await browser.signedIn(server.root);
});

after(async () => {
    await browser?.chromium.close();
    await issuer?.stop();
    await server?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
});

const at = (name, query = "") => `${server.api}/console/${name}${query}`;
const dialog = () => page.getByRole("dialog");

/** What a shell makes of it: the code it ends with, and what it says. */
const run = (command, token = server.root) =>
    new Promise((resolve) => {
        const env = { ...process.env, PATH: `${dir}:${process.env.PATH}`, VALETKEY_SERVER: server.api, VALETKEY_TOKEN: token, HOME: dir };
        const child = execFile("bash", ["-c", command], { cwd: dir, env }, (error, out, said) => resolve({ code: error ? error.code : 0, out, said }));
        child.stdin.end();
    });

/** The actions that a page offers now: what opens a form has an ellipsis. */
async function note(name) {
    for (const text of await page.locator("main button, dialog button").allInnerTexts()) {
        // What ends so many leases has their number in its name.
        if (text.endsWith("…")) seen.add(`${name}: ${text.replace(/ \d+/, "")}`);
    }
}

/** Opens a form, by the row it is of and the buttons that lead to it; says the command beside it. */
async function form(name, { query, row, press, fields = {} }) {
    await page.goto(at(name, query));
    await settled(page);
    await note(name);
    if (row) {
        await page.locator(".table").getByRole("button", { name: row }).first().click();
        await dialog().waitFor();
        await note(name);
    }
    for (const label of [press].flat()) {
        await page.getByRole("button", { name: label, exact: true }).first().click();
        covered.add(`${name}: ${label}`);
    }
    await dialog().locator("form").first().waitFor();
    for (const [field, value] of Object.entries(fields)) {
        const input = dialog().locator(`[name="${field}"]`);
        const kind = await input.evaluate((one) => (one.tagName === "SELECT" ? "select" : one.type));
        if (kind === "select") await input.selectOption(value);
        else if (kind === "checkbox") await input.setChecked(value);
        else await input.fill(value);
    }
    return (await dialog().locator("form .cli").last().innerText()).replace(/^Command line\s+/, "").replace(/\s*Copy$/, "");
}

/** Runs it; with `dry` only to say what it would mean. */
async function runs(name, of, { dry = false, token } = {}) {
    const command = await form(name, of);
    const { code, out, said } = await run(dry ? `${command} --dry-run` : command, token);
    assert.equal(code, 0, `${command}\n${said}`);
    return { command, out };
}

test("accounts, callers and tokens", async () => {
    await runs("accounts", { press: "Create an account…", fields: { name: "cmd", credits_per_vend: "2" } });
    await runs("accounts", { row: "cmd", press: "Add credits…", fields: { credits: "50" } });
    await runs("accounts", { row: "cmd", press: "Suspend…" });
    await runs("accounts", { row: "cmd", press: "Activate…" });
    await runs("accounts", { row: "cmd", press: "Remove…", fields: { cascade: true } }, { dry: true });
    assert.match(await form("callers", { press: "Create a caller…", fields: { name: "ann", account: "cmd" } }), /^No command creates a caller/);
    const made = await runs("tokens", { press: "Make a token…", fields: { caller: "ann", account: "cmd", role: "member", expires_in_secs: "3600" } });
    assert.match(made.command, /--role member --ttl 3600s$/);
    const query = "?account=cmd";
    await runs("callers", { query, row: "ann", press: "Suspend…" });
    await runs("callers", { query, row: "ann", press: "Activate…" });
    await runs("callers", { query, row: "ann", press: "Remove…" }, { dry: true });
    await runs("callers", { query, row: "ann", press: "End everything it holds…" });
    const id = (await server.call("GET", "/api/v1/tokens?account=cmd")).tokens[0].tail;
    await runs("tokens", { query, row: id, press: "Change its end…", fields: { expires_in_secs: "1800" } }, { dry: true });
    await runs("tokens", { query, row: id, press: "End it…", fields: { with_made: true } });
    await server.token("ben", "cmd");
    const both = await runs("callers", { query, row: "ben", press: "End everything it holds…", fields: { tokens: true } });
    assert.match(both.command, /^valetkey token revoke --caller /);
    await server.token("ann", "cmd");
});

test("buckets and grants, with every kind of path and condition", async () => {
    await runs("buckets", { press: "Create a bucket…", fields: { bucket: "cmd-bucket" } });
    await runs("buckets", { row: "cmd-bucket", press: "Remove…" }, { dry: true });
    const make = (name, fields) => runs("grants", { press: "Create a grant…", fields: { name, account: "cmd", bucket: "cmd-bucket", ...fields } });
    const kept = async (name) => (await server.call("GET", `/api/v1/grants?account=cmd&all=true&name=${name}`)).grants[0];
    await make("directory", { prefixes: "it's a/dir" });
    assert.deepEqual((await kept("directory")).prefixes, ["it's a/dir"]);
    await make("objects", { objects: "one.csv\n-two $(id).csv", to: "ann", access: "write", max_ttl_secs: "900", until: "2031-01-01T00:00:00Z" });
    const objects = await kept("objects");
    assert.deepEqual([objects.objects.toSorted(), objects.access, objects.max_ttl_secs], [["-two $(id).csv", "one.csv"], "write", 900]);
    await make("whole", { whole_bucket: true });
    assert.equal((await kept("whole")).whole_bucket, true);
    await make("more", { prefixes: "a\nb", objects: "c", networks: "10.0.0.0/8", hours: "mon-fri 08:00-18:00", session_names: "glob:ci-*", external_ids: "x:y" });
    const more = await kept("more");
    assert.deepEqual([more.prefixes, more.objects, more.conditions.external_ids, more.conditions.hours], [["a", "b"], ["c"], ["x:y"], ["mon-fri 08:00-18:00"]]);
    assert.match(await form("grants", { press: "Create a grant…", fields: { name: "raw", account: "cmd", bucket: "cmd-bucket", raw_prefixes: "p" } }), /^No command says/);
    const change = (name, fields) => runs("grants", { query: `?account=cmd&name=${name}`, row: name, press: "Change…", fields });
    assert.equal(await form("grants", { query: "?account=cmd&name=objects", row: "objects", press: "Change…" }), "Nothing is changed yet.");
    await change("objects", { until: "", objects: "", prefixes: "d" });
    const after = await kept("objects");
    assert.deepEqual([after.until ?? null, after.prefixes, after.objects], [null, ["d"], []]);
    await change("more", { networks: "", hours: "", session_names: "", external_ids: "", access: "read-write", max_ttl_secs: "600" });
    assert.equal((await kept("more")).conditions, undefined);
    await change("directory", { prefixes: "", whole_bucket: true });
    assert.equal((await kept("directory")).whole_bucket, true);
    await runs("grants", { query: "?account=cmd&name=more", row: "more", press: "Remove…" }, { dry: true });
});

test("groups, datasets, workspaces and parent access keys", async () => {
    await runs("groups", { press: "Create a group…", fields: { name: "eng", account: "cmd", members: "ann\nben" } });
    await server.token("cat", "cmd");
    await runs("groups", { query: "?account=cmd", row: "eng", press: "Change…", fields: { members: "ann\ncat" } });
    const [group] = (await server.call("GET", "/api/v1/groups?account=cmd")).groups;
    assert.deepEqual(group.members.toSorted(), ["ann", "cat"]);
    await runs("groups", { query: "?account=cmd", row: "eng", press: "Remove…" }, { dry: true });
    await runs("grants", { press: "Create a grant…", fields: { name: "grouped", account: "cmd", bucket: "cmd-bucket", prefixes: "g", to: "group:eng" } });
    await runs("datasets", { press: "Offer a dataset…", fields: { name: "cmd-data", bucket: "cmd-bucket", prefix: "data", topic: "things", description: "Made $HOME" } });
    await runs("datasets", { query: "?bucket=cmd-bucket", row: "cmd-data", press: "Remove…" }, { dry: true });
    await runs("grants", { press: "Create a grant…", fields: { name: "of-data", account: "cmd", dataset: "cmd-data" } });
    await runs("workspaces", { press: "Create a workspace…", fields: { key: "space", account: "cmd", bucket: "cmd-bucket", prefix: "space", callers: "ann", access: "read" } });
    await runs("workspaces", { query: "?account=cmd", row: "space", press: "Remove…" }, { dry: true });
    const made = await run(`valetkey parent-key create key --account cmd --everyone --bucket cmd-bucket`);
    if (made.code !== 0) await server.call("POST", "/api/v1/parent-keys", { name: "key", account: "cmd", caller: "ann", reach: [{ bucket: "cmd-bucket", whole_bucket: true, access: "read" }], access: "read" }).catch(() => undefined);
    if ((await server.call("GET", "/api/v1/parent-keys?account=cmd")).parent_keys.length > 0) await runs("parent-keys", { query: "?account=cmd", row: "key", press: "Disable…" });
});

test("requests and their rules", async () => {
    await server.call("POST", "/api/v1/groups", { account: "cmd", name: "approvers", members: ["cat"] });
    await runs("request-rules", { press: "Add a request rule…", fields: { name: "rule", account: "cmd", askers: "group:eng", approvers: "cmd/approvers", bucket: "cmd-bucket", prefixes: "asked", max_secs: "7200" } });
    await runs("request-rules", { press: "Add a request rule…", fields: { name: "anybody", approvers: "cmd/approvers", bucket: "cmd-bucket", prefixes: "any\nbody", max_secs: "7200" } });
    await runs("request-rules", { row: "rule", press: "Change…", fields: { askers: "", max_secs: "3600", prefixes: "asked\nmore" } });
    await runs("request-rules", { row: "anybody", press: "Remove…" }, { dry: true });
    const [ann, cat] = [await server.token("ann", "cmd"), await server.token("cat", "cmd")];
    const operator = page;
    const ask = async (reason) => runs("requests", { press: "Ask for access…", fields: { bucket: "cmd-bucket", prefixes: "asked/for", for_secs: "600", reason } }, { token: ann.token });
    for (const reason of ["it's 'why'", "no", "back"]) await ask(reason);
    const act = async (who, reason, press, fields) => {
        page = await browser.signedIn(who.token);
        const [one] = (await server.call("GET", "/api/v1/requests?state=pending")).requests.filter((one) => one.reason === reason);
        await page.goto(at("requests"));
        await settled(page);
        await note("requests");
        await page.locator("tr", { hasText: reason }).getByRole("button").click();
        await note("requests");
        await dialog().getByRole("button", { name: press, exact: true }).click();
        covered.add(`requests: ${press}`);
        for (const [field, value] of Object.entries(fields)) await dialog().locator(`[name="${field}"]`).fill(value);
        const command = await dialog().locator("form .cli code").innerText();
        assert.ok(command.includes(one.id), command);
        const { code, said } = await run(command, who.token);
        assert.equal(code, 0, `${command}\n${said}`);
        await page.context().close();
        page = operator;
    };
    await act(cat, "it's 'why'", "Approve…", { note: "all `right`" });
    await act(cat, "no", "Deny…", { note: "not now" });
    await act(ann, "back", "Take it back…", {});
});

test("identity providers and their rules", async () => {
    await runs("identity-providers", { press: "Trust a provider…", fields: { name: "people", issuer: issuer.url, audiences: "valetkey-cli\nother", login_client_id: "valetkey-cli" } });
    const rule = { name: "ana", account: "cmd", caller: "ann", claims: "sub=ana\nteam=glob:a-*", outlive_secs: "600" };
    await runs("identity-providers", { row: "people", press: "Add a rule…", fields: rule });
    const named = async (label, fields, options) => {
        await page.goto(at("identity-providers"));
        await settled(page);
        await page.locator(".table").getByRole("button", { name: "people" }).click();
        await page.getByRole("button", { name: `${label} ana…` }).click();
        covered.add(`identity-providers: ${label}…`);
        for (const [field, value] of Object.entries(fields)) await dialog().locator(`[name="${field}"]`).fill(value);
        const command = await dialog().locator("form .cli code").innerText();
        const { code, said } = await run(`${command}${options}`);
        assert.equal(code, 0, `${command}\n${said}`);
    };
    await named("Change", { caller: "cat", outlive_secs: "", claims: "sub=ana" }, "");
    const [known] = (await server.call("GET", "/api/v1/identity-providers")).identity_providers;
    assert.deepEqual([known.rules[0].caller, known.rules[0].claims], ["cat", ["sub=ana"]]);
    await named("Remove", {}, " --dry-run");
    await runs("identity-providers", { row: "people", press: "End sessions…", fields: { subject: "ana's" } });
    await runs("identity-providers", { row: "people", press: "Change…", fields: { audiences: "valetkey-cli", login_client_id: "" } });
    await runs("identity-providers", { row: "people", press: "Remove…" }, { dry: true });
});

test("storages and shares", async () => {
    const command = await form("storages", { press: "Add a storage…", fields: { name: "elsewhere", kind: "sts", endpoint: "http://127.0.0.1:9", region: "eu", settings: "{}", secrets: '{"secret":"do not show"}' } });
    assert.equal(command, "valetkey storage create elsewhere http://127.0.0.1:9 --kind sts --region eu --settings-from settings.json --secrets-from secrets.json");
    assert.equal(await dialog().locator("[name=secrets]").getAttribute("type"), "password", "a secret is not shown while it is typed");
    const [storage] = (await server.call("GET", "/api/v1/storages")).storages;
    await runs("storages", { row: storage.name, press: "Change…", fields: { max_ttl_secs: String(storage.max_ttl_secs - 1) } });
    // That one is the server's own: the command is understood, and refused.
    const removing = await run(await form("storages", { row: storage.name, press: "Remove…", fields: { cascade: true } }));
    assert.match(removing.said, /is not removed/);
    await runs("storages", { row: storage.name, press: "End every credential…" });
    await runs("shares", { press: "Create a share…", fields: { name: "cmd-share", comment: "it's ours" } });
    const share = { row: "cmd-share" };
    const added = await form("shares", { ...share, press: "Put in a table…", fields: { schema: "s", name: "t", bucket: "cmd-bucket", root: "tables/t", access: "dir" } });
    const told = await run(`${added} --force`);
    assert.equal(told.code, 0, `${added}\n${told.said}`);
    await runs("shares", { ...share, press: "Give it to an account…", fields: { account: "cmd", to: "ann", until: "2031-01-01T00:00:00Z" } });
    await runs("shares", { ...share, press: "Make a profile link…", fields: { account: "cmd", caller: "ann", link_ttl_secs: "600" } });
    await runs("shares", { ...share, press: ["Take out…"], fields: { end_credentials: true } });
    await runs("shares", { ...share, press: ["Take out…"] });
    await runs("shares", { ...share, press: "Remove…" });
});

test("leases, and what leaked", async () => {
    const vended = await server.call("POST", "/api/v1/credentials", {}, reader.token);
    await page.goto(at("leases"));
    await settled(page);
    await page.getByLabel(`Select ${vended.lease_id}`).check();
    await note("leases");
    await page.getByRole("button", { name: "End 1…" }).click();
    covered.add("leases: End…");
    const { code } = await run(await dialog().locator("form .cli code").innerText());
    assert.equal(code, 0);
    assert.equal((await server.call("GET", `/api/v1/leases/${vended.lease_id}`)).state, "revoked");
    await page.goto(at("key", `?id=${(await server.call("POST", "/api/v1/credentials", {}, reader.token)).lease_id}`));
    await settled(page);
    await note("key");
    await page.getByRole("button", { name: "End it…" }).click();
    covered.add("key: End it…");
    assert.equal((await run(await dialog().locator("form .cli code").innerText())).code, 0);
    await writeFile(join(dir, "leaked.txt"), reader.token);
    await page.goto(at("incident"));
    assert.equal((await run(await page.locator(".cli code").innerText())).code, 0);
});

test("every page's own command, and what explain suggests", async () => {
    const pages = ["", "access", `access?place=s3://${reader.bucket}/${reader.prefix}/&action=read`, `explain?bucket=${reader.bucket}&key=x%20y&action=read&caller=${reader.name}&account=${reader.account}`, "leases", "leases?all=true", `leases?caller=${reader.account}/${reader.name}`, "audit?noun=grant&since=24h", "audit?noun=parent%20key", "requests?decide=true", ...["grants", "groups", "callers", "tokens", "accounts", "workspaces", "buckets", "datasets", "parent-keys", "request-rules", "identity-providers", "storages", "shares"]];
    for (const name of pages) {
        await page.goto(at(name));
        await settled(page);
        const command = await page.locator(".heading .cli code").innerText();
        const { code, said } = await run(command);
        assert.equal(code, 0, `${name}: ${command}\n${said}`);
    }
    await server.token("nobody", reader.account);
    for (const [action, key, flags] of [["read", "only/this", "--object only/this"], ["write", "only/this", "--access write"], ["list-bucket", "listed/this", "--prefix listed"], ["delete-object", "a", "--access read-write"]]) {
        await page.goto(at("explain", `?bucket=${reader.bucket}&key=${key}&action=${action}&caller=nobody&account=${reader.account}`));
        await page.locator(".verdict .badge", { hasText: "refused" }).waitFor();
        const command = await page.locator(".verdict .cli code").innerText();
        assert.ok(command.includes(flags), command);
        const { code, said } = await run(command.replace("NAME", `smallest-${action}`));
        assert.equal(code, 0, `${command}\n${said}`);
        await page.reload();
        await page.locator(".verdict .badge", { hasText: "allowed" }).waitFor();
    }
});

test("no page offers an action whose command was not run", () => {
    assert.deepEqual([...seen].filter((one) => !covered.has(one)), []);
});
