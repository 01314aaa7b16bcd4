// Who can reach a place, and what a caller can reach: the access that grants give, grant by grant, at a time.
import { useState } from "preact/hooks";
import { type Row, api, csv, get, page, sees } from "../api";
import { type Command, valetkey } from "../cli";
import { Filters } from "../list";
import { Link, type Place, go } from "../router";
import { Where, paths } from "../scope";
import { Awaited, type Column, Table, usePages } from "../table";
import { Badge, Empty, Failure, Heading, Time, useAsked } from "../ui";

/** The most rows that the picture of a caller's places is made of; the table beside it has all. */
const PICTURED = 1000;
const LETTERS: [string, string][] = [["get-object", "R"], ["put-object", "W"], ["delete-object", "D"], ["list-bucket", "L"]];

const Letters = ({ actions }: { actions: string[] }) => (
    <>
        {LETTERS.filter(([action]) => actions.includes(action)).map(([action, letter]) => (
            <abbr class="badge" title={action}>
                {letter}
            </abbr>
        ))}
        {actions.some((one) => !LETTERS.some(([action]) => action === one)) && <abbr class="badge" title={actions.join(", ")}>+</abbr>}
    </>
);

const columns = (asked: boolean): Column[] => [
    { name: "Caller", of: (row) => row.caller ?? "everyone" },
    { name: "Account", of: (row) => row.account_name },
    { name: "May", of: (row) => <Letters actions={row.actions} /> },
    { name: "Where", of: (row) => <Where row={row} /> },
    ...(asked ? [{ name: "Of it", of: (row: Row) => <Badge text={row.covers ?? "all"} /> }] : []),
    { name: "By grant", of: (row) => <Link to="grants" query={{ name: row.grant, account: row.account }}>{row.grant}</Link> },
    { name: "From", of: (row) => <Time at={row.from} none="" /> },
    { name: "Until", of: (row) => <Time at={row.until} none="no end" /> },
    { name: "If", of: (row) => (row.conditions ?? []).join("; ") },
    { name: "Through share", of: (row) => row.share ?? "" },
];

/** Buckets and what is open in them, from what was found. */
function Tree({ query }: { query: Row }) {
    const { value } = useAsked(() => get(api("access"), { ...query, limit: PICTURED }), [query]);
    const buckets = new Map<string, Map<string, Set<string>>>();
    const rows = (value?.access ?? []) as Row[];
    for (const row of rows) {
        const own = buckets.get(row.bucket) ?? new Map<string, Set<string>>();
        buckets.set(row.bucket, own);
        for (const where of paths(row)) own.set(where, new Set([...(own.get(where) ?? []), ...row.actions]));
    }
    if (buckets.size === 0) return null;
    return (
        <section class="card" aria-label="Places">
            <h2>Places</h2>
            <ul class="plain tree">
                {[...buckets].toSorted().map(([bucket, own]) => (
                    <li>
                        <Link to="access" query={{ ...query, place: `s3://${bucket}` }}>{bucket}</Link>
                        <ul class="plain">
                            {[...own].toSorted(([one], [other]) => (one < other ? -1 : 1)).map(([where, actions]) => (
                                <li>
                                    <Letters actions={[...actions]} />{" "}
                                    {where === "" ? "all of it" : <Link to="access" query={{ ...query, place: `s3://${bucket}/${where.replace(/\*$/, "")}` }}>{where}</Link>}
                                </li>
                            ))}
                        </ul>
                    </li>
                ))}
            </ul>
            {rows.some((row) => row.conditions) && <p>some of it only on conditions, which the table names</p>}
            {value?.next_after && <p>made of the first {PICTURED} grants only</p>}
        </section>
    );
}

/** All of it as a file, however long it is. */
function Download({ query }: { query: Row }) {
    const [state, set] = useState<{ busy?: boolean; error?: unknown }>({});
    const load = async () => {
        set({ busy: true });
        try {
            const url = URL.createObjectURL(new Blob([await csv(api("access"), query)], { type: "text/csv" }));
            const link = document.createElement("a");
            link.href = url;
            link.download = "access.csv";
            link.click();
            setTimeout(() => URL.revokeObjectURL(url), 60_000);
            set({});
        } catch (error) {
            set({ error });
        }
    };
    return (
        <>
            <button type="button" disabled={state.busy} onClick={load}>
                {state.busy ? "CSV…" : "CSV"}
            </button>
            <Failure error={state.error} />
        </>
    );
}

/** What a caller can reach, or who can reach a place. */
const command = (query: Row, me: Row): Command =>
    query.place && !query.caller
        ? valetkey("who-can").of(query.action ?? "read", query.place).having(query, "account", "at")
        : valetkey("access").of(query.caller ?? me.name).having(query, "action", "place", "account", "at");

export function Access({ me, place }: { me: Row; place: Place }) {
    const filters = [
        { name: "place", label: "Where (s3://bucket/path/)" },
        ...(sees(me.role, "admin") ? [{ name: "caller", label: "Who" }] : []),
        ...(sees(me.role, "operator") ? [{ name: "account", label: "Account" }] : []),
        { name: "action", label: "Action (read, write, …)" },
        { name: "at", label: "At (RFC 3339)" },
    ];
    const query: Row = {};
    for (const { name } of filters) if (place.query[name]) query[name] = place.query[name];
    const pages = usePages((next) => page(api("access"), "access", { ...query, limit: 500, ...next }), [query]);
    const { rows, error } = pages;
    const asked = !!query.place;
    return (
        <>
            <Heading title="Access" about="Who can reach a place, and what a caller can reach: effective access, and the grant that gives it." cli={command(query, me)}>
                <Download query={query} />
                <button type="button" onClick={() => go("access")}>
                    Everything
                </button>
            </Heading>
            <Filters place={place} filters={filters} />
            <Awaited of={pages} />
            {rows?.length === 0 && <Empty said={query.at ? "Nobody reaches it at that time." : "Nobody reaches it."} command={valetkey("grant create").on("help")} />}
            {!error && <Tree query={query} />}
            {rows && rows.length > 0 && <Table caption="Access" columns={columns(asked)} rows={rows} of={pages} id={(row) => `${row.grant_id} ${row.caller_id ?? row.account}`} />}
        </>
    );
}
