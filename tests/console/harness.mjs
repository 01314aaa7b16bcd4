// A server of its own with accounts of every role, and Chromium.
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const axeSource = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const PROVIDER = new URL("../clients/provider.mjs", import.meta.url).pathname;

export class Server {
    static async start() {
        const own = new Server();
        own.dir = await mkdtemp(join(tmpdir(), "valetkey-console-"));
        const args = ["dev", "--data-dir", join(own.dir, "data"), "--api-listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0", "-o", "json"];
        // Identity providers run on this machine.
        const env = { ...process.env, VALETKEY_IDENTITY__PRIVATE_HOSTS: "127.0.0.1" };
        own.process = spawn(process.env.VALETKEY_BIN, args, { stdio: ["ignore", "pipe", "inherit"], env });
        own.ended = new Promise((resolve) => own.process.once("exit", resolve));
        const lines = createInterface({ input: own.process.stdout });
        const [line] = await Promise.race([new Promise((resolve) => lines.once("line", (line) => resolve([line]))), own.ended.then((code) => [`ended with ${code}`])]);
        own.ready = JSON.parse(line);
        own.api = own.ready.api;
        own.root = own.ready.admin.token;
        own.secrets = new Set([own.root, ...own.ready.callers.map((caller) => caller.token)]);
        return own;
    }

    async stop() {
        this.process.kill("SIGTERM");
        await this.ended;
        await rm(this.dir, { recursive: true, force: true });
    }

    async call(method, path, body, token = this.root, more = {}) {
        const response = await fetch(this.api + path, {
            method,
            headers: { authorization: `Bearer ${token}`, ...(body && { "content-type": "application/json" }), ...more },
            body: body && JSON.stringify(body),
        });
        const text = await response.text();
        const answer = text ? JSON.parse(text) : null;
        if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
        for (const name of ["token", "secret_access_key", "session_token"]) {
            if (typeof answer?.[name] === "string" && !answer[name].startsWith("tok_")) this.secrets.add(answer[name]);
        }
        return answer;
    }

    async token(caller, account, role) {
        return this.call("POST", "/api/v1/tokens", { caller, account, role, expires_in_secs: 86_400, outlive: true });
    }
}

/** A real identity provider (oidc-provider), whose people have any name and any password. */
export class Issuer {
    static async start() {
        const own = new Issuer();
        own.process = spawn(process.execPath, [PROVIDER, "600"], { stdio: ["ignore", "pipe", "ignore"] });
        own.ended = new Promise((resolve) => own.process.once("exit", resolve));
        const lines = createInterface({ input: own.process.stdout });
        own.url = await Promise.race([new Promise((resolve) => lines.once("line", resolve)), own.ended.then((code) => `ended with ${code}`)]);
        return own;
    }

    /** Logs in on its pages, as somebody; and lets the client in. */
    async logIn(page, name) {
        await page.locator("[name=login]").fill(name);
        await page.locator("[name=password]").fill("any");
        await page.locator("[type=submit]").click();
        await page.getByRole("button", { name: "Continue" }).click();
    }

    async stop() {
        this.process.kill("SIGTERM");
        await this.ended;
    }
}

/** Chromium, and what no page may do in it. */
export class Browser {
    static async start(server) {
        const own = new Browser();
        own.server = server;
        own.chromium = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
        own.complaints = [];
        return own;
    }

    async page(options = {}) {
        const context = await this.chromium.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: "light", ...options });
        const page = await context.newPage();
        page.setDefaultTimeout(30_000);
        page.asking = 0;
        page.on("request", () => (page.asking += 1));
        for (const over of ["requestfinished", "requestfailed"]) page.on(over, () => (page.asking -= 1));
        page.on("pageerror", (error) => this.complaints.push(`${page.url()}: ${error}`));
        page.on("console", (message) => {
            // What an identity provider's own pages do is not asked here.
            if (!page.url().startsWith(this.server.api)) return;
            const refused = /Refused to|Content Security Policy|TrustedHTML|TrustedScript/.test(message.text());
            if (refused || (message.type() === "error" && !/status of 4\d\d/.test(message.text()))) this.complaints.push(`${page.url()}: ${message.text()}`);
        });
        return page;
    }

    async signedIn(token, options) {
        const page = await this.page(options);
        await page.goto(`${this.server.api}/console/`);
        await page.getByLabel("Token").fill(token);
        await page.getByRole("button", { name: "Sign in", exact: true }).click();
        await page.getByRole("button", { name: "Sign out" }).waitFor();
        await settled(page);
        return page;
    }

    /** A page for axe: the policy would refuse its script, so it is one without. */
    async looking(token) {
        return token ? this.signedIn(token, { bypassCSP: true }) : this.page({ bypassCSP: true });
    }

    /** The serious findings of axe on what is shown. */
    async findings(page) {
        await page.evaluate(axeSource);
        const found = await page.evaluate(() => window.axe.run());
        const serious = found.violations.filter((one) => ["serious", "critical"].includes(one.impact));
        return serious.map((one) => `${page.url()}: ${one.id}: ${one.nodes.map((node) => node.html).join(" ")}`);
    }
}

/** Until the page has what it asked for. */
export async function settled(page) {
    await page.locator("main h1").waitFor();
    for (let still = 0; still < 3; still = page.asking === 0 ? still + 1 : 0) await page.evaluate(() => new Promise(requestAnimationFrame));
}

/** Everything that a page shows or keeps. */
export async function everything(page) {
    return page.evaluate(() => document.documentElement.outerHTML + location.href + document.cookie + JSON.stringify({ ...localStorage }) + JSON.stringify({ ...sessionStorage }) + [...document.querySelectorAll("input, textarea")].map((input) => input.value).join());
}
