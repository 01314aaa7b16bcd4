// Leases: the records of vended credentials. One is found by its access key id; one or many are ended.
import { useContext, useEffect, useRef, useState } from "preact/hooks";
import { Refusal, type Row, api, ask, at, page, sees } from "../api";
import { valetkey } from "../cli";
import { useEvery } from "../clock";
import { Filters } from "../list";
import { Link, type Place, go } from "../router";
import { Where, parts } from "../scope";
import { Awaited, type Column, Table, usePages } from "../table";
import { Badge, Cli, Dialog, Empty, Failure, Heading, MayChange, Time, useHold } from "../ui";
import { SOONEST } from "./storages";

/** From this many on, the number has to be typed. */
const MANY = 20;
/** Requests at once when many are ended: the server has limits for each caller. */
const AT_ONCE = 4;
/** Commands that are spelt out. */
const SPELT = 3;
/** How often live ones are asked for again, and of how many rows at most. */
const EVERY = 10_000;
const PAGE = 500;

export const columns: Column[] = [
    { name: "Lease", of: (row) => <code>{row.lease_id}</code> },
    { name: "State", of: (row) => <Badge text={row.state} /> },
    { name: "Caller", of: (row) => row.caller_name ?? row.caller },
    { name: "Account", of: (row) => row.account_name ?? row.account },
    { name: "Access", of: (row) => parts(row).map((part) => <Badge text={part.access} />) },
    { name: "Place", of: (row) => <Where row={row} /> },
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

/** How far many are: leases that were ended, credentials that ended with them, and what is left or failed. */
interface Ended {
    of: number;
    leases: number;
    credentials: number;
    still: Row[];
    failed: { id: string; error: unknown }[];
    /** Until when the server wants to be left alone. */
    waits?: boolean;
    over?: boolean;
}

function Ending({ rows, done }: { rows: Row[]; done: () => void }) {
    const [typed, setTyped] = useState("");
    const [state, set] = useState<Ended>();
    const stopped = useRef<AbortController | undefined>(undefined);
    const busy = !!state && !state.over;
    // It would go on unseen.
    useHold("ending", busy);
    const end = async () => {
        const stop = new AbortController();
        stopped.current = stop;
        const left = [...rows];
        const told: Ended = { of: rows.length, leases: 0, credentials: 0, still: [], failed: [] };
        let free = Promise.resolve();
        const show = () => set({ ...told });
        const worker = async () => {
            for (let row = left.shift(); row; row = left.shift()) {
                await free;
                if (stop.signal.aborted) break;
                try {
                    const answer = await ask({ method: "DELETE", path: at(api("leases", row.lease_id)) });
                    told.leases += 1;
                    told.credentials += answer.ended;
                    told.still.push(...(answer.still_taken ?? []));
                } catch (error) {
                    if (error instanceof Refusal && error.status === 429) {
                        // It says when: until then nobody asks.
                        left.push(row);
                        told.waits = true;
                        const { after = 1 } = error;
                        free = new Promise((resolve) => {
                            const timer = setTimeout(resolve, after * 1000);
                            stop.signal.addEventListener("abort", () => (clearTimeout(timer), resolve()));
                        });
                        show();
                        await free;
                        told.waits = false;
                    } else told.failed.push({ id: row.lease_id, error });
                }
                show();
            }
        };
        show();
        await Promise.all(Array.from({ length: AT_ONCE }, worker));
        told.over = true;
        show();
        done();
    };
    useEffect(() => () => stopped.current?.abort(), []);
    if (state) {
        const left = state.of - state.leases - state.failed.length;
        return (
            <div role="status" class="done" aria-busy={busy}>
                <p>
                    {state.over ? "Ended" : "Ending…"} {state.leases} of {state.of}.{state.credentials > state.leases && ` With what was made of them: ${state.credentials}.`}
                    {state.over && left > 0 && ` Stopped: ${left} were not asked for.`}
                    {state.waits && " The server asks for patience; it goes on by itself."}
                </p>
                {busy && (
                    <button type="button" onClick={() => stopped.current?.abort()}>
                        Stop
                    </button>
                )}
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
            {rows.slice(0, SPELT).map((row) => (
                <Cli command={valetkey("lease revoke").of(row.lease_id)} />
            ))}
            {rows.length > SPELT && <Cli command={`and so on, one by one; \`valetkey revoke\` ends all of a caller, a token, a grant or an account at once`} />}
            <div class="buttons">
                <button type="submit" class="danger" disabled={!sure}>
                    End {rows.length}
                </button>
            </div>
        </form>
    );
}

export function Leases({ me, place }: { me: Row; place: Place }) {
    const [choice, setChoice] = useState<{ of: string; ids: Set<string> }>();
    const [ending, setEnding] = useState<Row[]>();
    const changes = useContext(MayChange);
    const operator = sees(me.role, "operator");
    const filters = [...(operator ? [{ name: "account", label: "Account" }] : []), ...["caller", "grant", "token", "bucket"].map((name) => ({ name, label: name[0]!.toUpperCase() + name.slice(1) }))];
    const all = place.query.all === "true";
    const query: Row = { live: !all, limit: PAGE };
    for (const { name } of filters) query[name] = place.query[name];
    const pages = usePages((next) => page(api("leases"), "leases", { ...query, ...next }), [query]);
    const { rows, again } = pages;
    // What was chosen among other rows is not chosen among these.
    const asked = JSON.stringify(query);
    const chosen = choice?.of === asked ? choice.ids : new Set<string>();
    const choose = (ids: Set<string>) => setChoice({ of: asked, ids });
    useEvery(EVERY, again, [asked], !ending && chosen.size === 0 && !!rows && rows.length <= PAGE && !pages.busy);
    const find = (event: Event) => {
        event.preventDefault();
        const key = String(new FormData(event.currentTarget as HTMLFormElement).get("key") ?? "").trim();
        if (key) go("key", { id: key });
    };
    return (
        <>
            <Heading title="Leases" about="The record of each vended credential: who has it, what it opens, when it ends." cli={valetkey("lease ls").on("live", !all).having(query, "account", "caller", "grant", "token", "bucket")}>
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
            <Awaited of={pages} />
            {rows?.length === 0 && <Empty said={all ? "Nothing was vended, as far as you may know." : "No credential is live."} command={valetkey("creds").of("GRANT")} />}
            {rows && rows.length > 0 && (
                <Table
                    caption="Leases"
                    columns={columns}
                    rows={rows}
                    of={pages}
                    id={(row) => row.lease_id}
                    open={(row) => go("key", { id: row.lease_id })}
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
