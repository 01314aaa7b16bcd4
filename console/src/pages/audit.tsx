// Who changed what, newest first; new changes appear while it is followed. And whether the ledger is whole.
import { useState } from "preact/hooks";
import { type Row, api, get, page } from "../api";
import { valetkey } from "../cli";
import { useEvery } from "../clock";
import { type Place, go } from "../router";
import { Awaited, type Column, Table, usePages } from "../table";
import { Badge, Dialog, Empty, Failure, Fields, Heading, Time } from "../ui";

const NOUNS = ["account", "caller", "token", "grant", "group", "storage", "bucket", "dataset", "workspace", "share", "lease", "parent key", "identity provider", "trust rule", "signing key", "request", "request rule", "policy", "keyring"];
const PERIODS: [string, string][] = [["", "ever"], ["1h", "the last hour"], ["24h", "the last day"], ["7d", "the last week"], ["30d", "the last 30 days"]];
const UNITS: Record<string, number> = { h: 3600, d: 86_400 };
const secs = (period?: string): number | undefined => {
    const [, count, unit] = /^(\d{1,4})([hd])$/.exec(period ?? "") ?? [];
    return count && unit ? Number(count) * UNITS[unit]! : undefined;
};
const EVERY = 3000;
/** The most pages that are asked for to reach what was there. */
const PAGES = 10;

const COLUMNS: Column[] = [
    { name: "What", of: (row) => (row.gap ? "…" : row.noun) },
    { name: "Done", of: (row) => (row.gap ? "" : <Badge text={row.done} />) },
    { name: "About", of: (row) => (row.gap ? <strong>Some changes are missing here: reload to see them.</strong> : row.about) },
    { name: "By", of: (row) => row.by ?? "" },
    { name: "When", of: (row) => (row.gap ? "" : <Time at={row.at} />) },
    { name: "From", of: (row) => row.from ?? "" },
    { name: "Id", of: (row) => <code>{row.id ?? ""}</code> },
    { name: "Place", of: (row) => <code>{row.gap ? "" : row.place}</code> },
];

/** What came since the newest of these, the newest first; with a row for what was not asked for where there is too much of it. */
async function since(known: Row[], only: { noun?: string; caller?: string }): Promise<Row[]> {
    const places = new Set(known.map((row) => row.place));
    const found: Row[] = [];
    let next: Row | undefined = {};
    for (let count = 0; count < PAGES && next; count += 1) {
        const asked: { rows: Row[]; next?: Row } = await page(api("audit"), "changes", { ...only, limit: 100, ...next });
        const fresh = asked.rows.filter((row) => !places.has(row.place));
        found.push(...fresh);
        if (fresh.length < asked.rows.length) return found;
        next = asked.next;
    }
    return next && known.length > 0 ? [...found, { gap: true, place: `gap before ${found.at(-1)?.place}` }] : found;
}

function Verified() {
    const [ledger, setLedger] = useState<{ busy?: boolean; told?: Row; error?: unknown }>({});
    const verify = () => {
        setLedger({ busy: true });
        get(api("ledger", "verify")).then((told) => setLedger({ told }), (error) => setLedger({ error }));
    };
    return (
        <section aria-label="Ledger" aria-busy={!!ledger.busy}>
            <button type="button" onClick={verify} disabled={ledger.busy}>
                {ledger.busy ? "Verifying…" : "Verify the ledger"}
            </button>
            <Failure error={ledger.error} />
            {ledger.told && (
                <div role="status" class="done">
                    <Badge text={ledger.told.intact ? "intact" : "broken"} />
                    <Fields of={ledger.told} />
                </div>
            )}
        </section>
    );
}

export function Audit({ place }: { place: Place }) {
    const { noun, caller, since: period } = place.query;
    const question = JSON.stringify([noun, caller, period]);
    const [follow, setFollow] = useState(false);
    // What is newer than the list is of one question, and of one asking of it.
    const [known, setKnown] = useState<{ question: string; base?: Row[]; newer: Row[]; error?: unknown; at?: string }>({ question, newer: [] });
    const [open, setOpen] = useState<Row>();
    const pages = usePages((next) => page(api("audit"), "changes", { noun, caller, since_secs: secs(period), limit: 500, ...next }), [noun, caller, period]);
    const { rows, again } = pages;
    // The first page stays the same row objects while more of them come.
    const base = rows?.[0]?.place;
    const own = known.question === question && known.base?.[0]?.place === base ? known : { question, newer: [], error: undefined, at: undefined };
    useEvery(
        EVERY,
        async () => {
            if (!rows) return;
            try {
                const newer = await since([...own.newer, ...rows], { noun, caller });
                setKnown({ question, base: rows, newer: [...newer, ...own.newer], at: new Date().toISOString() });
            } catch (error) {
                setKnown({ ...own, question, base: rows, error });
            }
        },
        [question, base],
        follow && !!rows,
    );
    const all = rows && [...own.newer, ...rows];
    return (
        <>
            <Heading title="Audit" about="Who changed what in the registry. Each change stands in the ledger, chained by its hash." cli={valetkey("audit").with("noun", noun).with("caller", caller).with("since", secs(period) && period)}>
                <button type="button" aria-pressed={follow} onClick={() => setFollow(!follow)}>
                    {follow ? "Stop following" : "Follow"}
                </button>
                <button type="button" onClick={again}>
                    Reload
                </button>
            </Heading>
            <Verified />
            <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
                <div class="field">
                    <label for="noun">What</label>
                    <select id="noun" value={noun ?? ""} onChange={(event) => go("audit", { ...place.query, noun: event.currentTarget.value })}>
                        <option value="">everything</option>
                        {NOUNS.map((one) => (
                            <option value={one}>{one}</option>
                        ))}
                    </select>
                </div>
                <div class="field" key={caller}>
                    <label for="caller">By</label>
                    <input id="caller" defaultValue={caller ?? ""} placeholder="ACCOUNT/CALLER" autocomplete="off" spellcheck={false} onChange={(event) => go("audit", { ...place.query, caller: event.currentTarget.value.trim() })} />
                </div>
                <div class="field">
                    <label for="since">When</label>
                    <select id="since" value={period ?? ""} onChange={(event) => go("audit", { ...place.query, since: event.currentTarget.value })}>
                        {PERIODS.map(([value, label]) => (
                            <option value={value}>{label}</option>
                        ))}
                    </select>
                </div>
            </form>
            <p class="label" aria-live="polite">
                {follow && !own.error && `following; ${own.newer.filter((row) => !row.gap).length} since`}
                {follow && !!own.error && <>not following: the server was last heard <Time at={own.at} none="before it was followed" /></>}
            </p>
            {follow && <Failure error={own.error} />}
            <Awaited of={pages} />
            {all?.length === 0 && <Empty said="Nothing of that kind was changed." command={valetkey("audit")} />}
            {all && all.length > 0 && <Table caption="Changes" columns={COLUMNS} rows={all} of={pages} id={(row) => row.place} open={(row) => !row.gap && setOpen(row)} />}
            {open && (
                <Dialog title={`${open.noun} ${open.done}`} close={() => setOpen(undefined)}>
                    <Fields of={open} />
                </Dialog>
            )}
        </>
    );
}
