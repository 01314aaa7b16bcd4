// Asks the server. Whatever a page shows or does goes through here, and is a call of the public API.

import { heard } from "./clock";

export type Row = Record<string, any>;
export type Role = "member" | "admin" | "auditor" | "planner" | "operator";
export interface Request {
    method: string;
    path: string;
    body?: Row;
}

export const ROLES: Role[] = ["member", "admin", "auditor", "planner", "operator"];
const CHANGING: Role[] = ["member", "admin", "operator"];
/** Whether a role may change what needs another: auditors and planners change nothing. */
export const isAtLeast = (role: Role, needs: Role): boolean => CHANGING.includes(role) && CHANGING.indexOf(role) >= CHANGING.indexOf(needs);
/** Whether a role sees what needs another. */
export const sees = (role: Role, needs: Role): boolean => !CHANGING.includes(role) || isAtLeast(role, needs);

/** A refusal, in the server's words. */
export class Refusal extends Error {
    constructor(
        readonly status: number,
        message: string,
        readonly code = "",
        readonly field = "",
        readonly requestId = "",
        /** After how many seconds it may be asked again, where the server says so. */
        readonly after?: number,
    ) {
        super(message);
    }
}

/** What happens when the server says that nobody is signed in. */
export const signedOut = new EventTarget();

/** The longest an answer may take; and one to what reads the whole ledger, or asks a storage again and again. */
const PATIENCE = 60_000;
const LONG = /^\/api\/v1\/(ledger\/verify|storages\/[^/]+\/checks)(\?|$)/;
const LONG_PATIENCE = 15 * 60_000;

const WEDGED = "is something else in front of the server?";

async function send(method: string, path: string, body?: Row): Promise<any> {
    const changes = method !== "GET";
    let response: Response;
    let text: string;
    try {
        response = await fetch(path, {
            method,
            headers: changes ? { "content-type": "application/json" } : {},
            body: body === undefined ? undefined : JSON.stringify(body),
            credentials: "same-origin",
            redirect: "error",
            signal: AbortSignal.timeout(LONG.test(path) ? LONG_PATIENCE : PATIENCE),
        });
        heard(response.headers.get("date"));
        text = await response.text();
    } catch (error) {
        throw new Refusal(0, error instanceof DOMException && error.name === "TimeoutError" ? "the server did not answer in time" : "the server cannot be reached");
    }
    let answer: any = null;
    try {
        answer = text === "" ? null : JSON.parse(text);
    } catch {
        throw new Refusal(response.status, `the answer (status ${response.status}) is not JSON; ${WEDGED}`);
    }
    if (response.ok) return answer;
    const after = Number(response.headers.get("retry-after") ?? Number.NaN);
    throw new Refusal(response.status, answer?.detail ?? `status ${response.status}`, answer?.code, answer?.field, answer?.request_id, Number.isFinite(after) ? after : undefined);
}

export async function ask<T = Row>({ method, path, body }: Request): Promise<T> {
    try {
        return await send(method, path, body);
    } catch (error) {
        if (error instanceof Refusal && error.status === 401) signedOut.dispatchEvent(new Event("out"));
        throw error;
    }
}

/** A path with its segments encoded, and a query without what is empty. */
export function at(path: string[], query: Row = {}): string {
    const words = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) {
        if (value !== undefined && value !== null && value !== "" && value !== false) words.set(name, String(value));
    }
    const search = words.toString();
    return `/${path.map(encodeURIComponent).join("/")}${search ? `?${search}` : ""}`;
}

export const api = (...path: string[]): string[] => ["api", "v1", ...path];
export const get = <T = Row>(path: string[], query: Row = {}): Promise<T> => ask<T>({ method: "GET", path: at(path, query) });

/** A list as CSV, all of it: page after page, with one head. */
export async function csv(path: string[], query: Row): Promise<string> {
    let whole = "";
    let after: string | null = null;
    do {
        const address: string = at(path, { ...query, format: "csv", limit: 1000, after });
        const response: Response = await fetch(address, { credentials: "same-origin", redirect: "error", signal: AbortSignal.timeout(PATIENCE) }).catch(() => Promise.reject(new Refusal(0, "the server cannot be reached")));
        const text = await response.text();
        if (!response.ok) {
            if (response.status === 401) signedOut.dispatchEvent(new Event("out"));
            throw new Refusal(response.status, `the table was not answered (status ${response.status})`);
        }
        whole += whole === "" ? text : text.slice(text.indexOf("\n") + 1);
        after = response.headers.get("next-after");
    } while (after);
    return whole;
}

/** One page of a list: its rows, and what to ask the next one with. */
export interface Page {
    rows: Row[];
    next?: Row;
}

export async function page(path: string[], field: string, query: Row): Promise<Page> {
    const answer = await get(path, query);
    const next = answer.next_after ? { after: answer.next_after } : answer.next_before ? { before: answer.next_before } : undefined;
    return { rows: answer[field] ?? [], next };
}

const SESSION = "/console/session";
/** Told to the other tabs: they have the same cookie, and with it whoever signed in last. */
const others = new BroadcastChannel("valetkey-console");
const telling = async <T>(what: Promise<T>): Promise<T> => {
    const told = await what;
    others.postMessage("session");
    return told;
};
export const signIn = (by: { token: string } | { code: string } | { login: Row }): Promise<Row> => telling(send("POST", SESSION, by));
export const beginLogin = (provider: string): Promise<Row> => send("POST", "/console/login", { provider });
export const signOut = (): Promise<unknown> => telling(send("DELETE", SESSION));

/** Calls back whenever another tab may have signed in as somebody else, or this one was out of sight. */
export function watchSession(look: () => void): () => void {
    const seen = () => document.hidden || look();
    others.addEventListener("message", look);
    document.addEventListener("visibilitychange", seen);
    return () => {
        others.removeEventListener("message", look);
        document.removeEventListener("visibilitychange", seen);
    };
}

/** Keeps the session while somebody is there, at most once a minute; pages that ask by themselves do not. */
export function keepSession(): () => void {
    let last = Date.now();
    const seen = () => {
        if (Date.now() - last < 60_000) return;
        last = Date.now();
        ask({ method: "PUT", path: SESSION, body: {} }).catch(() => undefined);
    };
    const events = ["keydown", "pointerdown", "wheel"];
    events.forEach((name) => addEventListener(name, seen, { passive: true }));
    return () => events.forEach((name) => removeEventListener(name, seen));
}
