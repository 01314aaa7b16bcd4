// What an account used, by day; and what was vended in the last day, by hour.
import { type Row, api, get, sees } from "../api";
import { valetkey } from "../cli";
import { now, useEvery } from "../clock";
import { type Place, go } from "../router";
import { Plot } from "../plot";
import { Empty, Failure, Heading, useAsked } from "../ui";

const DAY = 86_400;
const HOURS = 24;
const HOUR = 3600;
/** The most pages of leases that are counted: more than that is said, not hidden. */
const PAGES = 10;
const MOST_DAYS = 366;
const EVERY = 60_000;

interface Counted {
    times: number[];
    vends: number[];
    refused?: number[];
    why: [string, number][];
    /** Whether all were counted. */
    whole: boolean;
}

/** The hours of the last day, by the seconds they start at. */
function hours(): number[] {
    const hour = Math.floor(now() / 1000 / HOUR) * HOUR;
    return Array.from({ length: HOURS }, (_, index) => hour - (HOURS - 1 - index) * HOUR);
}

/** The leases of the last day, by the hour they were opened in: for who sees no counts of the server. */
async function fromLeases(account?: string): Promise<Counted> {
    const times = hours();
    const vends = times.map(() => 0);
    let before: string | undefined;
    for (let count = 0; count < PAGES; count += 1) {
        const page = await get(api("leases"), { since_secs: DAY, limit: 500, account, before });
        for (const lease of page.leases as Row[]) {
            const index = times.indexOf(Math.floor(Date.parse(lease.opened) / 1000 / HOUR) * HOUR);
            if (index >= 0) vends[index]! += 1;
        }
        if (!page.next_before) return { times, vends, why: [], whole: true };
        before = page.next_before;
    }
    return { times, vends, why: [], whole: false };
}

/** What the server counted in the last day, by hour: vends and refusals; and why asks were refused, the most frequent first. */
async function counted(account?: string): Promise<Counted> {
    const told = await get<{ refusals: Row[]; vended?: Row[] }>(api("refusals"), { hours: HOURS, account });
    const times = hours();
    const sums = (rows: Row[]) => {
        const of = times.map(() => 0);
        for (const { hour, count } of rows) {
            const index = times.indexOf(Date.parse(hour) / 1000);
            if (index >= 0) of[index]! += count;
        }
        return of;
    };
    const why: Record<string, number> = {};
    for (const { kind, count } of told.refusals) why[kind] = (why[kind] ?? 0) + count;
    // While nodes of two versions run, one of before does not say what was vended.
    const vended = told.vended ? { vends: sums(told.vended), whole: true } : await fromLeases(account);
    return { times, vends: vended.vends, refused: sums(told.refusals), whole: vended.whole, why: Object.entries(why).sort(([, one], [, two]) => two - one) };
}

/** Vends by the hour, and for who oversees the server refusals beside them, as it counted both. */
export function Hours({ account, refusals = false, live = false }: { account?: string; refusals?: boolean; live?: boolean }) {
    const { value, error, again } = useAsked(() => (refusals ? counted(account) : fromLeases(account)), [account, refusals]);
    useEvery(EVERY, again, [account], live);
    return (
        <>
            <Failure error={error} />
            {value && (
                <Plot
                    caption={`Credentials vended${value.refused ? " and asks refused" : ""} in the last day${value.whole ? "" : `; only the newest ${PAGES * 500} are counted`}`}
                    times={value.times}
                    shown={(time) => new Date(time * 1000).toISOString().slice(0, 16).replace("T", " ")}
                    series={[{ label: "vends", values: value.vends }, ...(value.refused ? [{ label: "refused", values: value.refused }] : [])]}
                />
            )}
            {value && value.why.length > 0 && (
                <p>
                    Refused in the last day: {value.why.map(([kind, count]) => `${kind} ${count}`).join(", ")}. <small>Each is among the events:</small> <code>valetkey ledger events</code>
                </p>
            )}
        </>
    );
}

/** A number of days that the server counts, whatever an address says. */
const sane = (days: string | undefined): number => Math.min(MOST_DAYS, Math.max(1, Math.trunc(Number(days ?? 30)) || 30));

export function Usage({ me, place }: { me: Row; place: Place }) {
    const account = place.query.account ?? me.account.name;
    const days = sane(place.query.days);
    const operator = sees(me.role, "operator");
    const { value, error, busy } = useAsked(() => get(api("usage"), { account: operator ? account : undefined, days }), [account, days]);
    const others = useAsked(async () => (operator ? ((await get(api("accounts"))).accounts as Row[]) : []), []);
    // Days that nothing is counted of are none in the answer, and zero here.
    const midnight = Math.floor(now() / 1000 / DAY) * DAY;
    const times = Array.from({ length: days }, (_, index) => midnight - (days - 1 - index) * DAY);
    const day = (time: number) => new Date(time * 1000).toISOString().slice(0, 10);
    const counted = new Map((value?.days as Row[] | undefined)?.map((one) => [one.day, one]));
    const of = (name: string) => times.map((time) => counted.get(day(time))?.[name] ?? 0);
    // Two digits behind the point say enough of a day.
    const mebibytes = (name: string) => of(name).map((bytes) => Math.round(bytes / 10_485.76) / 100);
    const accounts = (others.value ?? [me.account]).map((one) => one.name as string);
    return (
        <>
            <Heading title="Usage" about={`What ${account} used: requests of its callers, credits that were charged, and what went over the S3 endpoint.`} cli={valetkey("usage").with("account", operator ? account : undefined).with("days", days)} />
            <form class="filters">
                {operator && (
                    <div class="field">
                        <label for="account">Account</label>
                        <select id="account" value={account} onChange={(event) => go("usage", { ...place.query, account: event.currentTarget.value })}>
                            {(accounts.includes(account) ? accounts : [account, ...accounts]).map((one) => (
                                <option value={one}>{one}</option>
                            ))}
                        </select>
                    </div>
                )}
                <div class="field">
                    <label for="days">Days</label>
                    <select id="days" value={String(days)} onChange={(event) => go("usage", { ...place.query, days: event.currentTarget.value })}>
                        {[...new Set([7, 30, 90, 365, days])].toSorted((one, two) => one - two).map((count) => (
                            <option value={String(count)}>{count}</option>
                        ))}
                    </select>
                </div>
            </form>
            <Failure error={error} />
            {busy && !value && <p class="label" aria-busy="true">Loading…</p>}
            {value && value.days.length === 0 && <Empty said="Nothing is counted of these days." command={valetkey("creds").of("GRANT")} />}
            {value && <Plot caption={`Requests of ${value.account} by day`} times={times} shown={day} series={[{ label: "requests", values: of("requests") }]} />}
            {value && <Plot caption={`Credits of ${value.account} by day`} times={times} shown={day} series={[{ label: "credits", values: of("credits") }]} />}
            {value && <Plot caption={`MiB over the S3 endpoint of ${value.account} by day`} times={times} shown={day} series={[{ label: "in", values: mebibytes("bytes_in") }, { label: "out", values: mebibytes("bytes_out") }]} />}
            <Hours account={operator ? account : undefined} refusals={operator} live />
        </>
    );
}
