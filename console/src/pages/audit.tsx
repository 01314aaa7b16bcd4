// Who changed what, newest first; new changes appear while it is followed. And whether the ledger is whole.
import { useEffect, useState } from "preact/hooks";
import { type Row, api, get, page } from "../api";
import { type Place, go } from "../router";
import { Badge, type Column, Dialog, Empty, Failure, Fields, Heading, Table, Time, usePages } from "../ui";

const NOUNS = ["account", "caller", "token", "grant", "storage", "bucket", "dataset", "workspace", "share", "lease"];
const EVERY = 3000;

const COLUMNS: Column[] = [
    { name: "What", of: (row) => row.noun },
    { name: "Done", of: (row) => <Badge text={row.done} /> },
    { name: "About", of: (row) => row.about },
    { name: "By", of: (row) => row.by },
    { name: "When", of: (row) => <Time at={row.at} /> },
    { name: "From", of: (row) => row.from ?? "" },
    { name: "Id", of: (row) => <code>{row.id}</code> },
    { name: "Place", of: (row) => <code>{row.place}</code> },
];

export function Audit({ place }: { place: Place }) {
    const noun = place.query.noun;
    const [follow, setFollow] = useState(false);
    const [newer, setNewer] = useState<Row[]>([]);
    const [open, setOpen] = useState<Row>();
    const [ledger, setLedger] = useState<{ busy?: boolean; told?: Row; error?: unknown }>({});
    const { rows, error, more, again } = usePages((next) => page(api("audit"), "changes", { noun, limit: 500, ...next }), [noun]);
    useEffect(() => setNewer([]), [noun, rows?.[0]?.place]);
    useEffect(() => {
        if (!follow || !rows) return;
        const timer = setInterval(async () => {
            if (document.hidden) return;
            const seen = new Set(rows.map((row) => row.place));
            const latest = await page(api("audit"), "changes", { noun, limit: 100 }).catch(() => undefined);
            if (latest) setNewer((before) => [...latest.rows.filter((row) => !seen.has(row.place) && !before.some((one) => one.place === row.place)), ...before]);
        }, EVERY);
        return () => clearInterval(timer);
    }, [follow, rows, noun]);
    const verify = () => {
        setLedger({ busy: true });
        get(api("ledger", "verify")).then((told) => setLedger({ told }), (error) => setLedger({ error }));
    };
    const all = rows && [...newer, ...rows];
    return (
        <>
            <Heading title="Audit" about="Who changed what in the registry. Each change stands in the ledger, chained by its hash." cli={`valetkey audit${noun ? ` --noun ${noun}` : ""}`}>
                <button type="button" aria-pressed={follow} onClick={() => setFollow(!follow)}>
                    {follow ? "Stop following" : "Follow"}
                </button>
                <button type="button" onClick={again}>
                    Reload
                </button>
                <button type="button" onClick={verify} disabled={ledger.busy}>
                    Verify the ledger
                </button>
            </Heading>
            <Failure error={ledger.error} />
            {ledger.told && (
                <section role="status" class="done">
                    <Badge text={ledger.told.intact ? "intact" : "broken"} />
                    <Fields of={ledger.told} />
                </section>
            )}
            <form class="filters" role="search">
                <div class="field">
                    <label for="noun">What</label>
                    <select id="noun" value={noun ?? ""} onChange={(event) => go("audit", { noun: event.currentTarget.value })}>
                        <option value="">everything</option>
                        {NOUNS.map((one) => (
                            <option value={one}>{one}</option>
                        ))}
                    </select>
                </div>
            </form>
            <p class="label" aria-live="polite">{follow && `following; ${newer.length} since`}</p>
            <Failure error={error} />
            {all?.length === 0 && <Empty said="Nothing of that kind was changed." command="valetkey audit" />}
            {all && all.length > 0 && <Table caption="Changes" columns={COLUMNS} rows={all} id={(row) => row.place} open={setOpen} more={more} />}
            {open && (
                <Dialog title={`${open.noun} ${open.done}`} close={() => setOpen(undefined)}>
                    <Fields of={open} />
                </Dialog>
            )}
        </>
    );
}
