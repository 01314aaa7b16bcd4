// Lists of ten thousand: they scroll to their end, without a stall.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Browser, Server, settled } from "./harness.mjs";

const MANY = 10_000;
let server, browser, reader;

before(async () => {
    server = await Server.start();
    browser = await Browser.start(server);
    reader = server.ready.callers[0];
});

after(async () => {
    await browser?.chromium.close();
    await server?.stop();
});

/** Does it ten thousand times, as fast as the server takes it. */
async function often(what) {
    let left = MANY;
    const worker = async () => {
        for (let count = left--; count > 0; count = left--) await what(count);
    };
    await Promise.all(Array.from({ length: 32 }, worker));
    server.secrets.clear();
}

/** Scrolls to the end, as fast as pages come; each frame is timed. */
async function scrolled(name) {
    const page = await browser.signedIn(server.root);
    await page.goto(`${server.api}/console/${name}`);
    await settled(page);
    const told = await page.evaluate(async () => {
        const box = document.querySelector(".table");
        const count = () => Number(box.querySelector(".count").textContent.replace("+", ""));
        const over = () => !box.querySelector(".count").textContent.endsWith("+");
        let [longest, most, before] = [0, 0, performance.now()];
        for (let same = 0, rows = 0; !over() && same < 1200; ) {
            box.scrollTop = box.scrollHeight;
            await new Promise(requestAnimationFrame);
            const now = performance.now();
            longest = Math.max(longest, now - before);
            before = now;
            most = Math.max(most, box.querySelectorAll("tbody tr").length);
            same = count() === rows ? same + 1 : 0;
            rows = count();
        }
        return { rows: count(), whole: over(), told: Number(box.querySelector("table").getAttribute("aria-rowcount")), drawn: most, longest };
    });
    await page.context().close();
    assert.ok(told.whole && told.rows >= MANY && told.told === told.rows + 1, JSON.stringify(told));
    assert.ok(told.drawn < 120, JSON.stringify(told));
    assert.ok(told.longest < 1000, JSON.stringify(told));
}

test("ten thousand leases scroll without a stall", async () => {
    await often(() => server.call("POST", "/api/v1/credentials", {}, reader.token));
    await scrolled("leases");
});

test("ten thousand grants scroll without a stall", async () => {
    const grant = (count) => [`grant-${count}`, { to: ["caller:ann"], bucket: reader.bucket, directories: [`many/${count}`], access: "read" }];
    const grants = Object.fromEntries(Array.from({ length: MANY }, (_, count) => grant(count)));
    const document = { version: "valetkey/v1", owner: "scale", owns: { accounts: ["scale"] }, accounts: { scale: { callers: { ann: { role: "member" } }, grants } } };
    const { revision } = await server.call("POST", "/api/v1/policy/plan", { document });
    await server.call("POST", "/api/v1/policy/apply", { document, revision });
    await scrolled("grants");
});
