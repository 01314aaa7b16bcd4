// What the console must not do: show one thing and send another, run what a link says, keep what is old, lose what is shown once.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { Browser, Server, settled } from "./harness.mjs";

let server, browser, reader, page;
const LOOK = "Show what would happen";

before(async () => {
    server = await Server.start();
    browser = await Browser.start(server);
    reader = server.ready.callers[0];
    page = await browser.signedIn(server.root);
});

after(async () => {
    await browser?.chromium.close();
    await server?.stop();
});

const at = (name, query = "") => `${server.api}/console/${name}${query}`;
const dialog = (of = page) => of.getByRole("dialog");
const button = (name, of = page) => of.getByRole("button", { name, exact: true });
const open = async (name, query) => {
    await page.goto(at(name, query));
    await settled(page);
};
/** What a shell makes of a command: its words. */
const words = (command) =>
    new Promise((resolve, reject) => {
        const shown = "valetkey() { printf '%s\\0' \"$@\"; }\n";
        execFile("bash", ["-c", shown + command], (error, out) => (error ? reject(error) : resolve(out.split("\0").slice(0, -1))));
    });
const command = (of = page) => of.locator(".cli code").first().innerText();
const vend = () => server.call("POST", "/api/v1/credentials", { bucket: reader.bucket, prefix: reader.prefix }, reader.token);
/** Answers to these are held until they are let go. */
async function held(of, path) {
    const waiting = [];
    await of.route(path, (route) => new Promise((resolve) => waiting.push(() => resolve(route.fallback()))));
    return {
        first: async () => {
            while (waiting.length === 0) await of.evaluate(() => new Promise(requestAnimationFrame));
        },
        go: async () => {
            await of.unroute(path);
            waiting.splice(0).forEach((one) => one());
        },
    };
}

test("what is sent is what was looked at, also if the form was changed while the look was under way", async () => {
    await server.call("POST", "/api/v1/grants", { name: "looked", account: reader.account, bucket: reader.bucket, prefixes: ["one"], access: "read", to: null });
    await open("grants", "?name=looked");
    await button("looked").click();
    await button("Change…", dialog()).click();
    const paths = dialog().getByLabel("Directories, one on a line");
    await paths.fill("two");
    const answers = await held(page, /dry_run=true/);
    await button(LOOK, dialog()).click();
    await answers.first();
    assert.ok(await paths.isDisabled(), "nothing is typed while a look is under way");
    // As a tool would that does not mind: the answer is of other values then.
    await paths.evaluate((one) => {
        one.value = "three";
        one.dispatchEvent(new Event("input", { bubbles: true }));
    });
    await answers.go();
    await button(LOOK, dialog()).waitFor();
    await page.waitForFunction(() => !document.querySelector("dialog fieldset").disabled);
    assert.equal(await dialog().getByText("This would happen:").count(), 0, "an answer of other values is not shown");
    await button(LOOK, dialog()).click();
    await dialog().getByText("s3://").and(dialog().getByText("three/")).first().waitFor();
    const sent = page.waitForRequest((request) => request.method() === "PATCH" && !request.url().includes("dry_run"));
    await button("Change", dialog()).click();
    assert.deepEqual((await sent).postDataJSON().prefixes, ["three"]);
    await dialog().getByText("Done.").waitFor();
});

test("after a change the next one begins with what is there now", async () => {
    await open("grants", "?name=looked");
    await button("looked").click();
    for (const [before, after] of [["three", "four"], ["four", "five"]]) {
        await button("Change…", dialog()).click();
        const paths = dialog().getByLabel("Directories, one on a line");
        assert.equal(await paths.inputValue(), before);
        await paths.fill(after);
        await button(LOOK, dialog()).click();
        await button("Change", dialog()).click();
        await dialog().getByText("Done.").waitFor();
        await button("Back", dialog()).click();
    }
    await dialog().locator("dd").filter({ hasText: "five" }).first().waitFor();
});

test("what cannot be taken away is not said to be done", async () => {
    await server.call("POST", "/api/v1/grants", { name: "whole", account: reader.account, bucket: reader.bucket, prefixes: ["kept"], access: "read", to: null, max_ttl_secs: 900 });
    for (const [label, said] of [["Directories, one on a line", "it cannot open nothing"], ["Longest life of a credential, in seconds", "not taken away"]]) {
        await open("grants", "?name=whole");
        await button("whole").click();
        await button("Change…", dialog()).click();
        await dialog().getByLabel(label).fill("");
        await button(LOOK, dialog()).click();
        await dialog().getByRole("alert").getByText(said).waitFor();
    }
});

test("what is ended of a leak is what was looked at", async () => {
    const [one, two] = [await server.token("leaked-one", reader.account), await server.token("leaked-two", reader.account)];
    await open("incident");
    const what = page.getByLabel("What leaked");
    const end = button("End it and what it made");
    await what.fill(one.token);
    await button("Show what it is").click();
    await page.getByText("This would end:").waitFor();
    await what.fill(two.token);
    assert.ok(await end.isDisabled(), "the other one was not looked at");
    assert.equal(await page.getByText("This would end:").count(), 0);
    await what.fill(one.token);
    const answers = await held(page, /incidents/);
    await button("Show what it is").click();
    await answers.first();
    await what.evaluate((one, value) => {
        one.value = value;
        one.dispatchEvent(new Event("input", { bubbles: true }));
    }, two.token);
    await answers.go();
    await page.waitForFunction(() => !document.querySelector("main fieldset").disabled);
    assert.ok(await end.isDisabled(), "an answer about another is not one about this");
    await button("Show what it is").click();
    await page.getByText("leaked-two").first().waitFor();
    await end.click();
    await page.getByText("Ended:").waitFor();
    assert.equal((await server.call("GET", "/api/v1/me", undefined, one.token)).name, "leaked-one");
    await assert.rejects(server.call("GET", "/api/v1/me", undefined, two.token), /401/);
});

test("a link writes no command: each word of one stays one word", async () => {
    const evil = ["$(touch /tmp/owned)", "`id`", "a'b; id", "--server=http://evil", "-o", "line\nid", "\u001b[201~id\r", "\u202eid", "~", "*", "a b", "=id", "${HOME}", "!1", "#no"];
    const pages = (said) => [["explain", `?bucket=b&key=${said}&caller=${said}&account=${said}&action=${said}`], ["access", `?place=${said}&action=${said}`], ["key", `?id=${said}`], ["access", `?caller=${said}`], ["policy", `?owner=${said}`], ["audit", `?noun=${said}`], ["leases", `?caller=${said}&bucket=${said}`], ["grants", `?account=${said}`]];
    for (const [index, word] of evil.entries()) {
        // Every page has a few of them, the first one all.
        for (const [name, query] of pages(encodeURIComponent(word)).filter((_, page) => page === 0 || index % 7 === page - 1)) {
            await page.goto(at(name, query));
            await page.locator(".cli code").first().waitFor();
            const told = await words(await command());
            assert.ok(told.every((one) => /^[\w/:.-]*$/.test(one) || one.includes(word) || one === `s3://b/${word}`), `${name} ${JSON.stringify(word)}: ${JSON.stringify(told)}`);
            const flags = told.slice(0, told.indexOf("--") < 0 ? undefined : told.indexOf("--"));
            assert.ok(!flags.includes(word) || !word.startsWith("-"), `${name} takes ${word} for a flag: ${JSON.stringify(told)}`);
        }
    }
});

test("a text that begins like a time is a text", async () => {
    const account = reader.account;
    const [asker, approver] = [await server.token("dated", account), await server.token("dates", account)];
    await server.call("POST", "/api/v1/groups", { account, name: "dates", members: ["dates"] });
    await server.call("POST", "/api/v1/request-rules", { name: "dated", account, approvers: `${account}/dates`, bucket: reader.bucket, prefixes: ["dated"], max_secs: 7200, access: "read" });
    for (const reason of ["2026-01-01Tplease", "2026-13-45T99:99:99Z"]) await server.call("POST", "/api/v1/requests", { bucket: reader.bucket, prefixes: ["dated"], access: "read", for_secs: 3600, reason }, asker.token);
    const deciding = await browser.signedIn(approver.token);
    await deciding.goto(at("requests"));
    for (const reason of ["2026-01-01Tplease", "2026-13-45T99:99:99Z"]) {
        await deciding.locator("tr", { hasText: reason }).getByRole("button").click();
        await dialog(deciding).locator("dd", { hasText: reason }).waitFor();
        await dialog(deciding).getByRole("button", { name: "Close" }).click();
        await deciding.locator("dialog").waitFor({ state: "detached" });
    }
    await deciding.context().close();
});

test("an answer is only shown for its own question", async () => {
    const [one, two] = [await vend(), await vend()];
    await open("key", `?id=${one.lease_id}`);
    const steps = page.getByRole("list", { name: "The steps of this key" });
    await steps.getByText(one.lease_id).waitFor();
    const answers = await held(page, new RegExp(two.lease_id));
    await page.getByLabel("Access key id or lease id").fill(two.lease_id);
    await button("Whose is it?").click();
    await answers.first();
    assert.equal(await steps.count(), 0, "not the steps of the key before");
    await answers.go();
    await steps.getByText(two.lease_id).waitFor();
    await open("explain", `?bucket=${reader.bucket}&key=x&action=read`);
    await page.locator(".verdict").waitFor();
    const verdicts = await held(page, /\/explain$/);
    await page.getByLabel("Object").fill(`s3://${reader.bucket}/${reader.prefix}/x`);
    await button("Explain").click();
    await verdicts.first();
    assert.equal(await page.locator(".verdict").count(), 0, "not the verdict of the question before");
    await verdicts.go();
    await page.locator(".verdict").waitFor();
});

test("a filter while a table is scrolled down leaves rows in sight", async () => {
    for (let count = 0; count < 120; count += 1) await server.call("POST", "/api/v1/grants", { name: `row-${count}`, account: reader.account, bucket: reader.bucket, prefixes: [`row-${count}`], access: "read", to: null });
    await open("grants");
    const bottom = () => page.locator(".table").evaluate((box) => (box.scrollTop = box.scrollHeight));
    await bottom();
    await page.locator(".room").first().waitFor({ state: "attached" });
    await page.getByLabel("Name").fill("row-7");
    await button("Filter").click();
    await page.locator(".table").getByRole("button", { name: "row-7", exact: true }).waitFor();
    // And where the same question has fewer rows than before.
    await open("grants");
    await bottom();
    await page.locator(".room").first().waitFor({ state: "attached" });
    await page.route(/\/api\/v1\/grants\?/, async (route) => {
        const answer = await route.fetch();
        const body = await answer.json();
        await route.fulfill({ response: answer, json: { ...body, grants: body.grants.slice(0, 30) } });
    });
    await button("Reload").click();
    await page.locator(".count", { hasText: /^30$/ }).waitFor();
    assert.ok((await page.locator(".table tbody tr:not(.room)").count()) > 10);
    await page.unroute(/\/api\/v1\/grants\?/);
});

test("what is shown once is kept until somebody has it", async () => {
    await open("tokens");
    await button("Make a token…").click();
    await dialog().locator("[name=caller]").fill("held");
    await dialog().locator("[name=account]").fill(reader.account);
    await button("Make a token", dialog()).click();
    await dialog().locator(".secret").waitFor();
    for (let count = 0; count < 3; count += 1) await page.keyboard.press("Escape");
    assert.ok(await dialog().locator(".secret").isVisible());
    assert.ok(await button("Close", dialog()).isDisabled());
    await button("I have it", dialog()).click();
    await dialog().getByRole("button", { name: "Close", disabled: false }).waitFor();
    await page.keyboard.press("Escape");
    await page.locator("dialog").waitFor({ state: "detached" });
});

test("a command is copied without a clipboard, too, and another one was not copied yet", async () => {
    const context = await browser.page();
    await context.addInitScript(() => Object.defineProperty(navigator, "clipboard", { value: undefined }));
    await context.goto(at(""));
    await context.getByLabel("Token").fill(server.root);
    await button("Sign in", context).click();
    await button("Sign out", context).waitFor();
    await context.goto(at("grants"));
    await settled(context);
    const copy = context.locator(".heading .cli button");
    await copy.click();
    assert.equal(await copy.innerText(), "Copied");
    assert.equal(await context.locator(".heading [aria-live]").innerText(), "Copied");
    await context.getByLabel("Bucket").fill(reader.bucket);
    await button("Filter", context).click();
    await context.locator(".heading .cli code", { hasText: reader.bucket }).waitFor();
    assert.equal(await copy.innerText(), "Copy");
    await context.context().close();
});

test("no address and no answer blanks the console", async () => {
    for (const days of ["99999999999", "-1", "x", "0.5"]) {
        await open("usage", `?days=${days}`);
        await page.locator("figure").first().waitFor();
    }
    await page.route(/\/api\/v1\/grants\?/, (route) => route.fulfill({ json: { grants: [{ id: "grt_x", name: 1 }] } }));
    await page.goto(at("grants"));
    await page.getByRole("heading", { name: "This page failed" }).waitFor();
    await page.unroute(/\/api\/v1\/grants\?/);
    await page.getByRole("link", { name: "Tokens" }).click();
    await page.getByRole("heading", { name: "Tokens" }).waitFor();
    await page.route("**/api/v1/me", (route) => route.fulfill({ status: 503, json: { detail: "not now" } }));
    await page.goto(at("tokens"));
    await page.getByText("not now").waitFor();
    assert.equal(await page.getByLabel("Token").count(), 0, "who is signed in is not asked to sign in");
    await page.unroute("**/api/v1/me");
    await button("Try again").click();
    await page.getByRole("heading", { name: "Tokens" }).waitFor();
});

test("a page is who its cookie is, also after another tab signed in", async () => {
    const first = await browser.signedIn(server.root);
    const second = await first.context().newPage();
    await second.goto(at(""));
    await button("Sign out", second).click();
    await second.getByLabel("Token").fill(reader.token);
    await button("Sign in", second).click();
    await button("Sign out", second).waitFor();
    await first.locator(".who", { hasText: reader.name }).waitFor();
    await first.context().close();
});

test("leases that were chosen are those in sight, and ending them can be stopped and waits where it is asked to", async () => {
    for (let count = 0; count < 6; count += 1) await vend();
    await open("leases", `?caller=${reader.account}/${reader.name}`);
    await page.getByLabel("Select all that are shown").check();
    await button("End 6…").or(page.getByRole("button", { name: /^End \d+…$/ })).first().waitFor();
    await page.getByLabel("Bucket").fill(reader.bucket);
    await button("Filter").click();
    await settled(page);
    assert.ok(await button("End …").isDisabled(), "what was chosen before the filter is not chosen");
    let asked = 0;
    const waits = [];
    await page.route(/\/api\/v1\/leases\/lea/, async (route) => {
        asked += 1;
        if (asked === 1) {
            waits.push(Date.now());
            return route.fulfill({ status: 429, headers: { "retry-after": "1" }, json: { detail: "slower" } });
        }
        waits.push(Date.now());
        return route.fallback();
    });
    const rows = page.locator("tbody input[type=checkbox]:enabled");
    for (let index = 0; index < 2; index += 1) await rows.nth(index).check();
    await button("End 2…").click();
    await button("End 2", dialog()).click();
    await dialog().getByText("Ended 2 of 2.").waitFor();
    assert.equal(asked, 3);
    assert.ok(waits.at(-1) - waits[0] >= 950, "it asks again when it was told to");
    await button("Close", dialog()).click();
    await page.locator("dialog").waitFor({ state: "detached" });
    await page.unroute(/\/api\/v1\/leases\/lea/);
    // Those that are under way are waited for; the others are not asked for.
    await settled(page);
    await page.getByLabel("Select all that are shown").check();
    const answers = await held(page, /\/api\/v1\/leases\/lea/);
    await page.getByRole("button", { name: /^End \d+…$/ }).click();
    const many = Number((await dialog().getByRole("button", { name: /^End \d+$/ }).innerText()).split(" ")[1]);
    if (many > 20) await dialog().getByLabel("to confirm").fill(String(many));
    await dialog().getByRole("button", { name: /^End \d+$/ }).click();
    await answers.first();
    await page.keyboard.press("Escape");
    assert.ok(await dialog().isVisible(), "it does not go on unseen");
    await button("Stop", dialog()).click();
    await answers.go();
    await dialog().getByText(/^Ended 4 of \d+\./).waitFor();
});

test("who follows the audit is told of a server that is away, and of what is missing", async () => {
    await open("audit", "?noun=bucket");
    await button("Follow").click();
    await page.route(/\/api\/v1\/audit\?/, (route) => route.abort());
    await page.getByText("not following: the server was last heard").waitFor();
    await page.unroute(/\/api\/v1\/audit\?/);
    await page.getByText("following; 0 since").waitFor();
    // Pages without an end that have nothing of what is known: too much came at once.
    let number = 0;
    await page.route(/\/api\/v1\/audit\?/, (route) => {
        number += 1;
        return route.fulfill({ json: { changes: [{ place: `9${number}.0`, noun: "bucket", done: "made", about: `b${number}`, by: "x", at: "2026-01-01T00:00:00Z", id: "b" }], next_before: `9${number}.0` } });
    });
    await page.getByText("Some changes are missing here").waitFor();
    await page.unroute(/\/api\/v1\/audit\?/);
    await page.getByLabel("What").selectOption("grant");
    await page.locator("tbody th", { hasText: "grant" }).first().waitFor();
    assert.equal(await page.locator("tbody th", { hasText: /^bucket$/ }).count(), 0, "no rows of the kind before");
});

test("no serious finding where a dialog is open, a key is traced or a question is answered", async () => {
    const looking = await browser.looking(server.root);
    const found = [];
    const look = async () => found.push(...(await browser.findings(looking)));
    await looking.goto(at("key", `?id=${(await vend()).lease_id}`));
    const steps = looking.getByRole("list", { name: "The steps of this key" });
    await steps.waitFor();
    await settled(looking);
    await steps.getByText("none so far at our endpoint").waitFor();
    await look();
    await button("End it…", looking).click();
    await dialog(looking).locator("form").waitFor();
    await look();
    await looking.goto(at("explain", `?bucket=${reader.bucket}&key=nowhere&action=read&caller=${reader.name}&account=${reader.account}`));
    await looking.locator(".verdict .cli").waitFor();
    await look();
    for (const [name, press] of [["grants", "Create a grant…"], ["storages", "Add a storage…"], ["requests", "Ask for access…"]]) {
        await looking.goto(at(name));
        await settled(looking);
        await button(press, looking).click();
        await dialog(looking).locator("form").waitFor();
        await look();
    }
    for (const [name, press] of [["grants", "Remove…"], ["callers", "Suspend…"], ["storages", "End every credential…"]]) {
        await looking.goto(at(name));
        await settled(looking);
        await looking.locator(".table tbody button").first().click();
        await dialog(looking).waitFor();
        await look();
        await button(press, dialog(looking)).click();
        await dialog(looking).locator("form").waitFor();
        await look();
    }
    assert.deepEqual(found, []);
    await looking.context().close();
});

test("no page was refused anything by its policy, and none failed by itself", () => {
    // What was made to fail here says so.
    assert.deepEqual(browser.complaints.filter((one) => !/status of (429|503)|ERR_FAILED|reading 'replace'|undefined/.test(one)), []);
});
