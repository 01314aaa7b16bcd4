// The few parts that pages are made of.
import { type ComponentChildren, createContext } from "preact";
import { useContext, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Refusal, type Row } from "./api";
import type { Command } from "./cli";
import { useNow } from "./clock";

/** Whether who is signed in may change anything: what only looks shows no button that is refused. */
export const MayChange = createContext(true);

export function Failure({ error }: { error: unknown }) {
    if (!error) return null;
    const refusal = error instanceof Refusal ? error : undefined;
    return (
        <p class="failure" role="alert">
            {refusal?.field && <code>{refusal.field}: </code>}
            {error instanceof Error ? error.message : String(error)}
            {refusal?.requestId && <small> request {refusal.requestId}</small>}
        </p>
    );
}

export interface Asked<T> {
    value?: T;
    error?: unknown;
    /** Whether an answer is awaited. */
    busy: boolean;
    again: () => void;
}

/** What is asked once, again when what it depends on changes, and again when told. An answer is only ever shown for its own question. */
export function useAsked<T>(ask: () => Promise<T>, on: unknown[]): Asked<T> {
    const question = JSON.stringify(on);
    const [state, set] = useState<{ question?: string; value?: T; error?: unknown; busy?: boolean }>({});
    const [count, setCount] = useState(0);
    useEffect(() => {
        let wanted = true;
        set((known) => (known.question === question ? { ...known, busy: true } : { question, busy: true }));
        ask().then(
            (value) => wanted && set({ question, value }),
            (error) => wanted && set((known) => ({ ...known, error, busy: false })),
        );
        return () => {
            wanted = false;
        };
    }, [question, count]);
    const { value, error, busy = false }: typeof state = state.question === question ? state : { busy: true };
    return { value, error, busy, again: () => setCount((n) => n + 1) };
}

export function Badge({ text }: { text: string }) {
    return <span class={`badge is-${text.replace(/[^a-z]/g, "-")}`}>{text}</span>;
}

const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

function ago(seconds: number): string {
    const units: [Intl.RelativeTimeFormatUnit, number][] = [["day", 86_400], ["hour", 3600], ["minute", 60]];
    const [unit, length] = units.find(([, length]) => Math.abs(seconds) >= length) ?? ["second" as const, 1];
    return RELATIVE.format(Math.trunc(seconds / length), unit);
}

/** A time by how long ago it is; what is none is shown as it is. */
export function Time({ at, none = "never" }: { at?: string | null; none?: string }) {
    const now = useNow();
    if (!at) return <>{none}</>;
    const time = Date.parse(at);
    if (Number.isNaN(time)) return <>{at}</>;
    return (
        <time dateTime={at} title={at}>
            {ago((time - now) / 1000)}
        </time>
    );
}

/** Puts it on the clipboard; over plain http a browser has none, and the older way is taken. */
async function put(text: string, near: HTMLElement): Promise<boolean> {
    try {
        await navigator.clipboard.writeText(text);
        return true;
    } catch {
        const area = document.createElement("textarea");
        area.value = text;
        area.readOnly = true;
        area.className = "unseen";
        // Beside the button: outside an open dialog nothing can be selected.
        near.after(area);
        area.select();
        const done = document.execCommand("copy");
        area.remove();
        near.focus();
        return done;
    }
}

export function Copy({ text, label = "Copy", copied }: { text: string; label?: string; copied?: () => void }) {
    const own = useRef<HTMLButtonElement>(null);
    const [told, set] = useState<{ of: string; done: boolean }>();
    const copy = async () => {
        if (!own.current) return;
        const done = await put(text, own.current);
        set({ of: text, done });
        if (done) copied?.();
    };
    // Of another text it was not told yet.
    const said = told?.of !== text ? "" : told.done ? "Copied" : "The browser does not copy here: select it yourself";
    return (
        <>
            <button type="button" class="small" ref={own} onClick={copy}>
                {told?.of === text && told.done ? "Copied" : label}
            </button>
            <span aria-live="polite" class={told?.of === text && !told.done ? "" : "unseen"}>{said}</span>
        </>
    );
}

/** The command that does the same; or why there is none. */
export function Cli({ command }: { command: Command | string }) {
    if (typeof command === "string") return <p class="cli label">{command}</p>;
    const text = command.toString();
    return (
        <p class="cli">
            <span class="label">Command line</span> <code>{text}</code> <Copy text={text} />
        </p>
    );
}

export function Empty({ said, command }: { said: string; command?: Command }) {
    return (
        <div class="empty">
            <p>{said}</p>
            {command && <Cli command={command} />}
        </div>
    );
}

export function Heading({ title, about, cli, children }: { title: string; about: string; cli: Command | string; children?: ComponentChildren }) {
    useEffect(() => {
        document.title = `${title} · Valetkey`;
    }, [title]);
    return (
        <header class="heading">
            <h1 tabIndex={-1}>{title}</h1>
            <p>{about}</p>
            <Cli command={cli} />
            {children && <div class="buttons">{children}</div>}
        </header>
    );
}

/** Keeps a dialog open for as long as something in it would be lost; says whether anything is. */
export const Hold = createContext<{ held: boolean; hold: (by: string, yes: boolean) => void }>({ held: false, hold: () => undefined });

/** Holds the dialog around it while something is so. */
export function useHold(by: string, yes: boolean): void {
    const { hold } = useContext(Hold);
    // Before the next event: a key that follows the click does not find it open.
    useLayoutEffect(() => {
        hold(by, yes);
        return () => hold(by, false);
    }, [by, yes]);
}

export function Dialog({ title, close, children }: { title: string; close: () => void; children: ComponentChildren }) {
    const own = useRef<HTMLDialogElement>(null);
    const [by, setBy] = useState<string[]>([]);
    const hold = (name: string, yes: boolean) => setBy((before) => (before.includes(name) === yes ? before : yes ? [...before, name] : before.filter((one) => one !== name)));
    const held = by.length > 0;
    useEffect(() => {
        const before = document.activeElement;
        own.current?.showModal();
        return () => before instanceof HTMLElement && before.focus();
    }, []);
    useLayoutEffect(() => own.current?.setAttribute("closedby", held ? "none" : "closerequest"), [held]);
    return (
        <dialog ref={own} onClose={close} onKeyDown={(event) => held && event.key === "Escape" && event.preventDefault()} onCancel={(event) => held && event.preventDefault()} aria-labelledby="dialog-title">
            <h2 id="dialog-title">{title}</h2>
            <Hold.Provider value={{ held, hold }}>{children}</Hold.Provider>
            <div class="buttons">
                <button type="button" disabled={held} onClick={() => own.current?.close()}>
                    Close
                </button>
            </div>
        </dialog>
    );
}

/** A whole time as RFC 3339 writes it. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;

/** How a value looks that nothing more is known of. */
export function Value({ of }: { of: any }): any {
    if (of === null || of === undefined || of === "") return <span class="none">none</span>;
    if (typeof of === "boolean") return of ? "yes" : "no";
    if (typeof of === "string" && TIME.test(of)) return <Time at={of} />;
    if (Array.isArray(of)) {
        if (of.length === 0) return <span class="none">none</span>;
        return (
            <ul class="plain">
                {of.map((one) => (
                    <li>
                        <Value of={one} />
                    </li>
                ))}
            </ul>
        );
    }
    if (typeof of === "object") return <Fields of={of} />;
    return <span class="value">{String(of)}</span>;
}

export function Fields({ of }: { of: Row }) {
    return (
        <dl>
            {Object.entries(of).map(([name, value]) => (
                <div>
                    <dt>{name.replaceAll("_", " ")}</dt>
                    <dd>
                        <Value of={value} />
                    </dd>
                </div>
            ))}
        </dl>
    );
}
