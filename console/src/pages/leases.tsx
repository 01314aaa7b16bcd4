// Leases: the records of vended credentials. One is found by its access key id; one or many are ended.
import { useContext, useState } from "preact/hooks";
import { type Row, api, ask, at, page, sees } from "../api";
import { Filters } from "../list";
import { Link, type Place, go } from "../router";
import { Badge, Cli, type Column, Dialog, Empty, Failure, Heading, MayChange, Table, Time, usePages } from "../ui";
import { SOONEST } from "./storages";

/** From this many on, the number has to be typed. */
const MANY = 20;
/** Requests at once when many are ended: the server has limits for each caller. */
const AT_ONCE = 4;

export const columns: Column[] = [
    { name: "Lease", of: (row) => <code>{row.lease_id}</code> },
    { name: "State", of: (row) => <Badge text={row.state} /> },
    { name: "Caller", of: (row) => row.caller_name ?? row.caller },
    { name: "Account", of: (row) => row.account_name ?? row.account },
    { name: "Access", of: (row) => <Badge text={row.access} /> },
    { name: "Place", of: (row) => <code>{`s3://${row.bucket}/${row.prefixes?.[0] ?? row.objects?.[0] ?? ""}`}</code> },
    { name: "Dialect", of: (row) => row.dialect },
    { name: "From", of: (row) => row.from ?? "" },
    { name: "Opened", of: (row) => <Time at={row.opened} /> },
    { name: "Ends", of: (row) => <Time at={row.revoked ?? row.expires} /> },
];

/** What ending these means, by how soon their storages stop taking them. */
export function Honest({ rows }: { rows: Row[] }) {
    const by = new Map<string, number>();
    for (const { revocation } of rows) by.set(revocation ?? "gone", (by.get(revocation ?? "gone") ?? 0) + 1);
    return (
        <ul class="plain">
            {[...by].map(([how, count]) => (
                <li>
                    <strong>{count}</strong>: {SOONEST[how] ?? "the storage is no longer on record; what it accepts is not known here"}
                </li>
            ))}
        </ul>
    );
}

function Ending({ rows, done }: { rows: Row[]; done: () => void }) {
    const [typed, setTyped] = useState("");
    const [state, set] = useState<{ busy?: boolean; ended: number; still: Row[]; failed: { id: string; error: unknown }[]; over?: boolean }>({ ended: 0, still: [], failed: [] });
    const end = async () => {
        const [left, next] = [[...rows], { ended: 0, still: [] as Row[], failed: [] as { id: string; error: unknown }[] }];
        set({ ...next, busy: true });
        const worker = async () => {
            for (let row = left.shift(); row; row = left.shift()) {
                try {
                    const answer = await ask({ method: "DELETE", path: at(api("leases", row.lease_id)) });
                    next.ended += answer.ended;
                    next.still.push(...(answer.still_taken ?? []));
                } catch (error) {
                    next.failed.push({ id: row.lease_id, error });
                }
                set({ ...next, busy: true });
            }
        };
        await Promise.all(Array.from({ length: AT_ONCE }, worker));
        set({ ...next, over: true });
        done();
    };
    if (state.over || state.busy) {
        return (
            <div role="status" class="done">
                <p>
                    {state.over ? "Ended" : "Ending…"} {state.ended} of {rows.length}.
                </p>
                {state.still.map((one) => (
                    <p>
                        Storage <strong>{one.storage}</strong> still accepts {one.leases} until <Time at={one.until} />.
                    </p>
                ))}
                {state.failed.slice(0, 5).map(({ id, error }) => (
                    <div>
                        <code>{id}</code> <Failure error={error} />
                    </div>
                ))}
                {state.failed.length > 5 && <p>and {state.failed.length - 5} more</p>}
            </div>
        );
    }
    const sure = rows.length <= MANY || typed === String(rows.length);
    return (
        <form
            class="danger"
            onSubmit={(event) => {
                event.preventDefault();
                void end();
            }}
        >
            <p>After this the credentials of these {rows.length} leases are, at their storages:</p>
            <Honest rows={rows} />
            {rows.length > MANY && (
                <div class="field">
                    <label for="typed">
                        Type <code>{rows.length}</code> to confirm
                    </label>
                    <input id="typed" inputMode="numeric" value={typed} onInput={(event) => setTyped(event.currentTarget.value)} autocomplete="off" />
                </div>
            )}
            <Cli command={rows.length === 1 ? `valetkey lease revoke ${rows[0]!.lease_id}` : "valetkey lease revoke LEASE…"} />
            <div class="buttons">
                <button type="submit" class="danger" disabled={!sure}>
                    End {rows.length}
                </button>
            </div>
        </form>
    );
}

export function Leases({ me, place }: { me: Row; place: Place }) {
    const [chosen, choose] = useState<Set<string>>(new Set());
    const [ending, setEnding] = useState<Row[]>();
    const changes = useContext(MayChange);
    const operator = sees(me.role, "operator");
    const filters = [...(operator ? [{ name: "account", label: "Account" }] : []), ...["caller", "grant", "token", "bucket"].map((name) => ({ name, label: name[0]!.toUpperCase() + name.slice(1) }))];
    const all = place.query.all === "true";
    const query: Row = { live: !all, limit: 500 };
    for (const { name } of filters) query[name] = place.query[name];
    const { rows, error, more, again } = usePages((next) => page(api("leases"), "leases", { ...query, ...next }), [JSON.stringify(query)]);
    const find = (event: Event) => {
        event.preventDefault();
        const key = String(new FormData(event.currentTarget as HTMLFormElement).get("key") ?? "").trim();
        if (key) go("key", { id: key });
    };
    return (
        <>
            <Heading title="Leases" about="The record of each vended credential: who has it, what it opens, when it ends." cli={`valetkey lease ls${all ? " --all" : " --live"}`}>
                <button type="button" onClick={() => go("leases", { ...place.query, all: all ? undefined : "true" })}>
                    {all ? "Only live ones" : "Ended ones, too"}
                </button>
                <button type="button" onClick={again}>
                    Reload
                </button>
                {changes && (
                    <button type="button" class="danger" disabled={chosen.size === 0} onClick={() => setEnding(rows?.filter((row) => chosen.has(row.lease_id)))}>
                        End {chosen.size || ""}…
                    </button>
                )}
            </Heading>
            <form class="filters" role="search" aria-label="By key" onSubmit={find}>
                <div class="field">
                    <label for="key">Access key id or lease id</label>
                    <input id="key" name="key" autocomplete="off" spellcheck={false} />
                </div>
                <button type="submit">Whose is it?</button>
            </form>
            <Filters place={place} filters={filters} />
            <Failure error={error} />
            {rows?.length === 0 && <Empty said={all ? "Nothing was vended, as far as you may know." : "No credential is live."} command="valetkey creds GRANT" />}
            {rows && rows.length > 0 && (
                <Table
                    caption="Leases"
                    columns={columns}
                    rows={rows}
                    id={(row) => row.lease_id}
                    open={(row) => go("key", { id: row.lease_id })}
                    more={more}
                    selection={changes ? { ids: chosen, set: choose, may: (row) => row.state === "live" } : undefined}
                />
            )}
            {ending && (
                <Dialog
                    title={`End ${ending.length} ${ending.length === 1 ? "lease" : "leases"}`}
                    close={() => {
                        setEnding(undefined);
                        choose(new Set());
                    }}
                >
                    <Ending rows={ending} done={again} />
                </Dialog>
            )}
        </>
    );
}

export function EndOne({ row, done }: { row: Row; done: () => void }) {
    const [open, set] = useState(false);
    const changes = useContext(MayChange);
    return (
        <>
            {changes && row.state === "live" && (
                <button type="button" class="danger" onClick={() => set(true)}>
                    End it…
                </button>
            )}
            {open && (
                <Dialog title="End 1 lease" close={() => set(false)}>
                    <Ending rows={[row]} done={done} />
                </Dialog>
            )}
        </>
    );
}

export const LeaseLink = ({ id }: { id: string }) => (
    <Link to="key" query={{ id }}>
        {id}
    </Link>
);
