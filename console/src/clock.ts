// What time it is at the server, and when what is shown of times is to be drawn again.
import { useEffect, useRef, useState } from "preact/hooks";

const EVERY = 10_000;
/** Less than this is how answers and clocks are rounded. */
const NOTICED = 5000;

let offset = 0;
const ticks = new EventTarget();
const tick = () => document.hidden || ticks.dispatchEvent(new Event("tick"));
setInterval(tick, EVERY);
document.addEventListener("visibilitychange", tick);

/** Notes what an answer says of the server's clock. */
export function heard(date: string | null): void {
    const at = Date.parse(date ?? "");
    if (Number.isNaN(at)) return;
    const before = Date.now();
    // The header has whole seconds.
    offset = at + 500 - before;
}

/** How far the server's clock is ahead of the browser's, in milliseconds; nothing for what nobody would notice. */
export const ahead = (): number => (Math.abs(offset) < NOTICED ? 0 : offset);
/** Now, as the server has it. */
export const now = (): number => Date.now() + ahead();

/** Draws again whenever time has moved on, and says what time it is. */
export function useNow(): number {
    const [at, set] = useState(now);
    useEffect(() => {
        const moved = () => set(now());
        ticks.addEventListener("tick", moved);
        return () => ticks.removeEventListener("tick", moved);
    }, []);
    return at;
}

/** Does something again and again while the page is in sight, one after the other; at once when it comes into sight again. */
export function useEvery(milliseconds: number, what: () => Promise<unknown> | void, on: unknown[], active = true): void {
    const latest = useRef(what);
    latest.current = what;
    useEffect(() => {
        if (!active) return;
        let over = false;
        let timer: ReturnType<typeof setTimeout> | undefined;
        const next = () => {
            if (!over) timer = setTimeout(run, milliseconds);
        };
        const run = async () => {
            if (!document.hidden) await latest.current();
            next();
        };
        next();
        return () => {
            over = true;
            clearTimeout(timer);
        };
    }, [...on, active, milliseconds]);
}
