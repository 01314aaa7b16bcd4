// The few parts that pages are made of.
import { type ComponentChildren, createContext } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { type Page, Refusal, type Row } from "./api";

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

/** What is asked once, again when what it depends on changes, and again when told. */
export function useAsked<T>(question: () => Promise<T>, on: unknown[]): { value?: T; error?: unknown; again: () => void } {
    const [state, set] = useState<{ value?: T; error?: unknown }>({});
    const [count, setCount] = useState(0);
    useEffect(() => {
        let wanted = true;
        question().then(
            (value) => wanted && set({ value }),
            (error) => wanted && set((before) => ({ ...before, error })),
        );
        return () => {
            wanted = false;
        };
    }, [...on, count]);
    return { ...state, again: () => setCount((n) => n + 1) };
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

export function Time({ at, none = "never" }: { at?: string | null; none?: string }) {
    if (!at) return <>{none}</>;
    return (
        <time dateTime={at} title={at}>
            {ago((Date.parse(at) - Date.now()) / 1000)}
        </time>
    );
}

export function Copy({ text, label = "Copy" }: { text: string; label?: string }) {
    const [done, set] = useState(false);
    const copy = () => navigator.clipboard.writeText(text).then(() => set(true), () => set(false));
    return (
        <button type="button" class="small" onClick={copy}>
            {done ? "Copied" : label}
        </button>
    );
}

/** The command that does the same. */
export function Cli({ command }: { command: string }) {
    return (
        <p class="cli">
            <span class="label">Command line</span> <code>{command}</code> <Copy text={command} />
        </p>
    );
}

export function Empty({ said, command }: { said: string; command?: string }) {
    return (
        <div class="empty">
            <p>{said}</p>
            {command && <Cli command={command} />}
        </div>
    );
}

export function Heading({ title, about, cli, children }: { title: string; about: string; cli: string; children?: ComponentChildren }) {
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

export function Dialog({ title, close, children }: { title: string; close: () => void; children: ComponentChildren }) {
    const own = useRef<HTMLDialogElement>(null);
    useEffect(() => {
        const before = document.activeElement;
        own.current?.showModal();
        return () => before instanceof HTMLElement && before.focus();
    }, []);
    return (
        <dialog ref={own} onClose={close} aria-labelledby="dialog-title">
            <h2 id="dialog-title">{title}</h2>
            {children}
            <div class="buttons">
                <button type="button" onClick={() => own.current?.close()}>
                    Close
                </button>
            </div>
        </dialog>
    );
}

/** How a value looks that nothing more is known of. */
export function Value({ of }: { of: any }): any {
    if (of === null || of === undefined || of === "") return <span class="none">none</span>;
    if (typeof of === "boolean") return of ? "yes" : "no";
    if (typeof of === "string" && /^\d{4}-\d\d-\d\dT/.test(of)) return <Time at={of} />;
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

export interface Column {
    name: string;
    of: (row: Row) => ComponentChildren;
}

export interface Selection {
    ids: Set<string>;
    set: (ids: Set<string>) => void;
    may: (row: Row) => boolean;
}

/** The height of a row, in pixels, as the style has it: only so the rows that are not drawn leave the right room. */
const ROW = 40;
/** Rows drawn beyond the edge, so that scrolling by the wheel never shows a gap. */
const BEYOND = 15;

/** A table that draws only the rows in sight, and asks for more before its end is reached. */
export function Table(props: {
    caption: string;
    columns: Column[];
    rows: Row[];
    id: (row: Row) => string;
    open?: (row: Row) => void;
    more?: () => void;
    selection?: Selection;
}) {
    const { caption, columns, rows, id, open, more, selection } = props;
    const box = useRef<HTMLDivElement>(null);
    const [top, setTop] = useState(0);
    const height = box.current?.clientHeight ?? 700;
    const first = Math.max(0, Math.floor(top / ROW) - BEYOND);
    const last = Math.min(rows.length, Math.ceil((top + height) / ROW) + BEYOND);
    useEffect(() => {
        if (more && last >= rows.length - BEYOND) more();
    }, [last, rows.length, !!more]);
    const toggle = (row: Row) => {
        if (!selection) return;
        const ids = new Set(selection.ids);
        if (!ids.delete(id(row))) ids.add(id(row));
        selection.set(ids);
    };
    const may = selection ? rows.filter(selection.may) : [];
    const all = may.length > 0 && may.every((row) => selection?.ids.has(id(row)));
    const span = columns.length + (selection ? 1 : 0);
    const room = (count: number) => count > 0 && <tr class="room" style={{ height: `${count * ROW}px` }} aria-hidden="true"><td colSpan={span} /></tr>;
    return (
        <div class="table" ref={box} tabIndex={0} role="region" aria-label={caption} onScroll={(event) => setTop(event.currentTarget.scrollTop)}>
            <table aria-rowcount={rows.length + 1}>
                <caption>
                    {caption} <span class="count">{rows.length}{more ? "+" : ""}</span>
                </caption>
                <thead>
                    <tr>
                        {selection && (
                            <th scope="col">
                                <input type="checkbox" aria-label="Select all that are shown" checked={all} onChange={() => selection.set(all ? new Set() : new Set(may.map(id)))} />
                            </th>
                        )}
                        {columns.map((column) => (
                            <th scope="col">{column.name}</th>
                        ))}
                    </tr>
                </thead>
                <tbody>
                    {room(first)}
                    {rows.slice(first, last).map((row, index) => (
                        <tr key={id(row)} aria-rowindex={first + index + 2}>
                            {selection && (
                                <td>
                                    <input type="checkbox" aria-label={`Select ${id(row)}`} disabled={!selection.may(row)} checked={selection.ids.has(id(row))} onChange={() => toggle(row)} />
                                </td>
                            )}
                            {columns.map((column, place) => {
                                if (place > 0) return <td>{column.of(row)}</td>;
                                const content = column.of(row);
                                return (
                                    <th scope="row">
                                        {open ? (
                                            <button type="button" class="link" onClick={() => open(row)}>
                                                {content}
                                            </button>
                                        ) : (
                                            content
                                        )}
                                    </th>
                                );
                            })}
                        </tr>
                    ))}
                    {room(rows.length - last)}
                </tbody>
            </table>
        </div>
    );
}

/** The rows of a list that comes in pages: the next one is asked for when it is needed. */
export function usePages(ask: (more: Row) => Promise<Page>, on: unknown[]) {
    const [state, set] = useState<{ rows?: Row[]; next?: Row; error?: unknown }>({});
    const [count, setCount] = useState(0);
    const run = useRef(0);
    const busy = useRef(false);
    const load = (more: Row, before: Row[]) => {
        const own = run.current;
        busy.current = true;
        ask(more)
            .then(
                (page) => own === run.current && set({ rows: [...before, ...page.rows], next: page.next }),
                (error) => own === run.current && set({ rows: before.length ? before : undefined, error }),
            )
            .finally(() => {
                if (own === run.current) busy.current = false;
            });
    };
    useEffect(() => {
        run.current += 1;
        load({}, []);
    }, [...on, count]);
    const more = state.next && !state.error ? () => !busy.current && state.next && load(state.next, state.rows ?? []) : undefined;
    return { rows: state.rows, error: state.error, more, again: () => setCount((n) => n + 1) };
}
