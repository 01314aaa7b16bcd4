// The console: signs in, asks who is there, and shows the page of the address.
import { Component, type ComponentChildren, render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import "uplot/dist/uPlot.min.css";
import "./style.css";
import { Refusal, type Role, type Row, api, get, isAtLeast, keepSession, sees, signIn, signOut, signedOut, watchSession } from "./api";
import { valetkey } from "./cli";
import { Listing } from "./list";
import { Access } from "./pages/access";
import { Audit } from "./pages/audit";
import { Explain } from "./pages/explain";
import { Incident } from "./pages/incident";
import { Leases } from "./pages/leases";
import { Overview } from "./pages/overview";
import { KeyPage } from "./pages/key";
import { providers } from "./pages/identity";
import { Policy } from "./pages/policy";
import { REQUESTS } from "./pages/requests";
import { shares } from "./pages/shares";
import { storages } from "./pages/storages";
import { Usage } from "./pages/usage";
import { SignIn, cameBack } from "./pages/sign-in";
import { RESOURCES } from "./resources";
import { Link, type Place, usePlace } from "./router";
import { Empty, Failure, MayChange } from "./ui";

interface Shown {
    name: string;
    title: string;
    needs?: Role;
    /** Whether an auditor sees it. */
    audited?: true;
    /** Whether it is of no use to who changes nothing. */
    changes?: true;
    page: (props: { me: Row; place: Place }) => preact.JSX.Element;
}

const PAGES: Shown[] = [
    { name: "", title: "Overview", audited: true, page: Overview },
    { name: "access", title: "Access", audited: true, page: Access },
    { name: "explain", title: "Explain", audited: true, page: Explain },
    { name: "leases", title: "Leases", audited: true, page: Leases },
    { name: "key", title: "Trace a key", audited: true, page: KeyPage },
    ...[...RESOURCES, ...REQUESTS, providers, storages, shares].map((resource): Shown => ({
        name: resource.name,
        title: resource.title,
        needs: resource.needs,
        audited: resource.audited,
        page: ({ me, place }) => <Listing key={resource.name} resource={resource} me={me} place={place} />,
    })),
    { name: "policy", title: "Policy", needs: "operator", page: Policy },
    { name: "usage", title: "Usage", page: Usage },
    { name: "audit", title: "Audit", needs: "operator", audited: true, page: Audit },
    { name: "incident", title: "Something leaked", changes: true, page: Incident },
];

/** Shows what a page failed with in its place: the others stay. */
class Guard extends Component<{ of: string; children: ComponentChildren }, { error?: unknown }> {
    state: { error?: unknown } = {};

    static getDerivedStateFromError(error: unknown) {
        return { error };
    }

    /** Another address is another question: it may be one that does not fail. */
    componentDidUpdate(before: { of: string }) {
        if (before.of !== this.props.of && this.state.error !== undefined) this.setState({ error: undefined });
    }

    render() {
        if (this.state.error === undefined) return this.props.children;
        return (
            <>
                <h1 tabIndex={-1}>This page failed</h1>
                <p>It is a fault of the console. Other pages are not touched by it.</p>
                <Failure error={this.state.error} />
                <div class="buttons">
                    <button type="button" onClick={() => this.setState({ error: undefined })}>
                        Try again
                    </button>
                </div>
            </>
        );
    }
}

function Shell({ me, out }: { me: Row; out: () => void }) {
    const place = usePlace();
    const [menu, setMenu] = useState(false);
    const changes = isAtLeast(me.role, "member");
    const may = PAGES.filter((page) => (me.role === "auditor" ? page.audited : sees(me.role, page.needs ?? "member")) && (changes || !page.changes));
    const current = may.find((page) => page.name === place.name);
    useEffect(keepSession, []);
    useEffect(() => {
        setMenu(false);
        document.querySelector<HTMLElement>("main h1")?.focus();
    }, [place.name]);
    useEffect(() => {
        const search = (event: KeyboardEvent) => {
            const typing = event.target instanceof HTMLElement && event.target.closest("input, textarea, select");
            if (event.key !== "/" || typing || event.ctrlKey || event.metaKey) return;
            event.preventDefault();
            document.querySelector<HTMLElement>("[role=search] input")?.focus();
        };
        addEventListener("keydown", search);
        return () => removeEventListener("keydown", search);
    }, []);
    return (
        <div class="shell">
            <a class="skip" href="#content">
                To the content
            </a>
            <header class="top">
                <button type="button" class="menu" aria-expanded={menu} aria-controls="pages" onClick={() => setMenu(!menu)}>
                    Pages
                </button>
                <strong>Valetkey</strong>
                <span class="who">
                    {me.name} <small>{me.account.name}, {me.role}</small>
                </span>
                <button type="button" onClick={() => signOut().finally(out)}>
                    Sign out
                </button>
            </header>
            <nav id="pages" class={menu ? "open" : ""} aria-label="Pages">
                <ul>
                    {may.map((page) => (
                        <li>
                            <Link to={page.name} current={page === current}>
                                {page.title}
                            </Link>
                        </li>
                    ))}
                </ul>
            </nav>
            <main id="content">
                {current ? (
                    <MayChange.Provider value={changes}>
                        <Guard of={JSON.stringify(place)}>
                            <current.page key={current.name} me={me} place={place} />
                        </Guard>
                    </MayChange.Provider>
                ) : (
                    <>
                        <h1 tabIndex={-1}>There is no such page</h1>
                        <Empty said="Or it is not for your role." command={valetkey("whoami")} />
                    </>
                )}
            </main>
        </div>
    );
}

/** Whose a session is: another person's is another page. */
const identity = (me: Row): string => JSON.stringify([me.id, me.role, me.token]);

function App() {
    const [me, setMe] = useState<Row | null>();
    const [said, setSaid] = useState<unknown>();
    const [away, setAway] = useState<unknown>();
    const known = useRef<Row | null | undefined>(undefined);
    const seen = (me: Row | null) => {
        known.current = me;
        setMe(me);
    };
    const look = () => {
        setAway(undefined);
        return get(api("me")).then(seen, (error) => {
            // Only who is refused has to sign in: a server that is away says nothing of a session.
            if (error instanceof Refusal && error.status === 401) seen(null);
            else setAway(error);
        });
    };
    useEffect(() => {
        const out = () => {
            if (known.current) setSaid(new Error("You were signed out: the session or its token has ended."));
            seen(null);
        };
        signedOut.addEventListener("out", out);
        // A link that signs in has its code in the fragment, which is sent nowhere; it is gone from the address before it is used.
        const code = /^#code=([\w-]+)$/.exec(location.hash)?.[1];
        if (code) history.replaceState(null, "", location.pathname + location.search);
        const signed = code ? signIn({ code }) : cameBack();
        signed.then(look, (error) => void look().then(() => setSaid(error)));
        // All tabs have one cookie: what another tab signed in as, this one is.
        const watched = watchSession(() => {
            if (known.current === undefined) return;
            get(api("me")).then(
                (now) => (!known.current || identity(now) !== identity(known.current)) && location.reload(),
                () => undefined,
            );
        });
        return () => {
            signedOut.removeEventListener("out", out);
            watched();
        };
    }, []);
    if (away !== undefined && !me) {
        return (
            <main class="sign-in">
                <h1>Valetkey</h1>
                <Failure error={away} />
                <p>Whether you are signed in is not known: the server does not say.</p>
                <div class="buttons">
                    <button type="button" class="primary" onClick={look}>
                        Try again
                    </button>
                </div>
            </main>
        );
    }
    if (me === undefined) {
        return (
            <main class="sign-in" aria-busy="true">
                <p class="label">Loading…</p>
            </main>
        );
    }
    if (me === null) {
        return (
            <SignIn
                said={said}
                done={() => {
                    setSaid(undefined);
                    void look();
                }}
            />
        );
    }
    return (
        <Shell
            key={identity(me)}
            me={me}
            out={() => {
                setSaid(undefined);
                seen(null);
            }}
        />
    );
}

const root = document.getElementById("app");
if (root) render(<App />, root);
