// The console: signs in, asks who is there, and shows the page of the address.
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import "uplot/dist/uPlot.min.css";
import "./style.css";
import { Refusal, type Role, type Row, api, get, isAtLeast, keepSession, sees, signIn, signOut, signedOut } from "./api";
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
import { Empty, MayChange } from "./ui";

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
                        <current.page key={current.name} me={me} place={place} />
                    </MayChange.Provider>
                ) : (
                    <>
                        <h1 tabIndex={-1}>There is no such page</h1>
                        <Empty said="Or it is not for your role." command="valetkey whoami" />
                    </>
                )}
            </main>
        </div>
    );
}

function App() {
    const [me, setMe] = useState<Row | null>();
    const [said, setSaid] = useState<unknown>();
    const look = () => get(api("me")).then(setMe, (error) => {
        setSaid(error instanceof Refusal && error.status === 401 ? undefined : error);
        setMe(null);
    });
    useEffect(() => {
        const out = () => setMe((before) => {
            if (before) setSaid(new Error("You were signed out: the session or its token has ended."));
            return null;
        });
        signedOut.addEventListener("out", out);
        // A link that signs in has its code in the fragment, which is sent nowhere; it is gone from the address before it is used.
        const code = /^#code=([\w-]+)$/.exec(location.hash)?.[1];
        if (code) history.replaceState(null, "", location.pathname + location.search);
        const signed = code ? signIn({ code }) : cameBack();
        signed.then(look, (error) => void look().then(() => setSaid(error)));
        return () => signedOut.removeEventListener("out", out);
    }, []);
    if (me === undefined) return <main aria-busy="true" />;
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
            me={me}
            out={() => {
                setSaid(undefined);
                setMe(null);
            }}
        />
    );
}

const root = document.getElementById("app");
if (root) render(<App />, root);
