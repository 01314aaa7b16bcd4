// Which page is shown: the path below `/console/` and its query, so that every view is a link that can be sent.
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";

const BASE = "/console/";
const moved = new EventTarget();

export interface Place {
    name: string;
    query: Record<string, string>;
}

function here(): Place {
    const name = location.pathname.startsWith(BASE) ? location.pathname.slice(BASE.length).replace(/\/+$/, "") : "";
    return { name, query: Object.fromEntries(new URLSearchParams(location.search)) };
}

export function href(name: string, query: Record<string, string | undefined> = {}): string {
    const words = new URLSearchParams(Object.entries(query).filter((pair): pair is [string, string] => !!pair[1]));
    return `${BASE}${name}${words.size ? `?${words}` : ""}`;
}

export function go(name: string, query: Record<string, string | undefined> = {}, replace = false): void {
    history[replace ? "replaceState" : "pushState"](null, "", href(name, query));
    moved.dispatchEvent(new Event("moved"));
}

export function usePlace(): Place {
    const [place, set] = useState(here);
    useEffect(() => {
        const follow = () => set(here());
        moved.addEventListener("moved", follow);
        addEventListener("popstate", follow);
        return () => {
            moved.removeEventListener("moved", follow);
            removeEventListener("popstate", follow);
        };
    }, []);
    return place;
}

export function Link(props: { to: string; query?: Record<string, string | undefined>; current?: boolean; children: ComponentChildren }) {
    const click = (event: MouseEvent) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
        event.preventDefault();
        go(props.to, props.query);
    };
    return (
        <a href={href(props.to, props.query)} onClick={click} aria-current={props.current ? "page" : undefined}>
            {props.children}
        </a>
    );
}
