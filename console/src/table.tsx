// A table of any length, and the pages of a list that it is filled from.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Page, Row } from "./api";
import { Failure } from "./ui";

export interface Column {
    name: string;
    of: (row: Row) => ComponentChildren;
}

export interface Selection {
    ids: Set<string>;
    set: (ids: Set<string>) => void;
    may: (row: Row) => boolean;
}

/** The rows of a list that comes in pages: the next one is asked for when it is needed. */
export interface Pages {
    rows?: Row[];
    error?: unknown;
    /** Whether an answer is awaited. */
    busy: boolean;
    /** Whether there are more rows than these. */
    partial: boolean;
    /** Asks for the next page; nothing where there is none, or where the last question for it failed. */
    more?: () => void;
    /** Asks for the page again that failed. */
    retry?: () => void;
    again: () => void;
}

export function usePages(ask: (more: Row) => Promise<Page>, on: unknown[]): Pages {
    const question = JSON.stringify(on);
    const [state, set] = useState<{ question?: string; rows?: Row[]; next?: Row; error?: unknown; busy?: boolean }>({});
    const [count, setCount] = useState(0);
    const run = useRef(0);
    const load = (more: Row, before: Row[]) => {
        const own = run.current;
        set((known) => (known.question === question ? { ...known, busy: true } : { question, busy: true }));
        ask(more).then(
            (page) => own === run.current && set({ question, rows: [...before, ...page.rows], next: page.next }),
            // What was there stays, with what would have come next.
            (error) => own === run.current && set((known) => ({ ...known, error, busy: false })),
        );
    };
    useEffect(() => {
        run.current += 1;
        load({}, []);
    }, [question, count]);
    // Rows of another question are not shown for this one, not even for a moment.
    const { rows, next, error, busy = false }: typeof state = state.question === question ? state : { busy: true };
    const following = next ? () => !busy && load(next, rows ?? []) : undefined;
    return { rows, error, busy, partial: !!next, more: error ? undefined : following, retry: error ? following : undefined, again: () => setCount((n) => n + 1) };
}

/** The height of a row, in pixels, as the style has it: only so the rows that are not drawn leave the right room. */
const ROW = 40;
/** Rows drawn beyond the edge, so that scrolling by the wheel never shows a gap. */
const BEYOND = 15;

/** Draws only the rows in sight, and asks for more before its end is reached. */
export function Table(props: { caption: string; columns: Column[]; rows: Row[]; of: Pages; id: (row: Row) => string; open?: (row: Row) => void; selection?: Selection }) {
    const { caption, columns, rows, id, open, selection } = props;
    const { more, partial, retry, busy } = props.of;
    const box = useRef<HTMLDivElement>(null);
    const [top, setTop] = useState(0);
    const height = box.current?.clientHeight ?? 700;
    // Rows may have become fewer than were scrolled past.
    const first = Math.max(0, Math.min(Math.floor(top / ROW) - BEYOND, rows.length - Math.ceil(height / ROW) - BEYOND));
    const last = Math.min(rows.length, first + Math.ceil(height / ROW) + 2 * BEYOND);
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
        <>
            <div class="table" ref={box} tabIndex={0} role="region" aria-label={caption} aria-busy={busy} onScroll={(event) => setTop(event.currentTarget.scrollTop)}>
                <table aria-rowcount={partial ? -1 : rows.length + 1}>
                    <caption>
                        {caption} <span class="count">{rows.length}{partial ? "+" : ""}</span>
                    </caption>
                    <thead>
                        <tr aria-rowindex={1}>
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
            {retry && (
                <p>
                    There are more rows than these. <button type="button" class="small" onClick={retry}>Ask for them again</button>
                </p>
            )}
        </>
    );
}

/** What a page says of a list beside its table: that it is awaited, or what went wrong. */
export function Awaited({ of }: { of: Pages }) {
    return (
        <>
            <Failure error={of.error} />
            {!of.rows && of.busy && (
                <p aria-busy="true" class="label">
                    Loading…
                </p>
            )}
        </>
    );
}
