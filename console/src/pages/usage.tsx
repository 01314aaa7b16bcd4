// What an account used, by day; and what was vended in the last day, by hour.
import { type Place, go } from "../router";
import { type Row, api, get, sees } from "../api";
import { Plot } from "../plot";
import { Empty, Failure, Heading, useAsked } from "../ui";

const DAY = 86_400;
const HOUR = 3600;
/** The most pages of leases that are counted: more than that is said, not hidden. */
const PAGES = 10;

/** The leases of the last day, by the hour they were opened in. */
async function byHour(account?: string): Promise<{ times: number[]; vends: number[]; whole: boolean }> {
    const now = Math.floor(Date.now() / 1000 / HOUR) * HOUR;
    const times = Array.from({ length: 24 }, (_, index) => now - (23 - index) * HOUR);
    const vends = times.map(() => 0);
    let before: string | undefined;
    for (let count = 0; count < PAGES; count += 1) {
        const page = await get(api("leases"), { since_secs: DAY, limit: 500, account, before });
        for (const lease of page.leases as Row[]) {
            const index = times.indexOf(Math.floor(Date.parse(lease.opened) / 1000 / HOUR) * HOUR);
            if (index >= 0) vends[index]! += 1;
        }
        if (!page.next_before) return { times, vends, whole: true };
        before = page.next_before;
    }
    return { times, vends, whole: false };
}

/** The asks that were refused in the last day, by hour; and why, the most frequent first. */
async function refusedByHour(times: number[]): Promise<{ refused: number[]; why: [string, number][] }> {
    const { refusals } = await get<{ refusals: Row[] }>(api("refusals"), { hours: times.length });
    const refused = times.map(() => 0);
    const why: Record<string, number> = {};
    for (const { hour, kind, count } of refusals) {
        const index = times.indexOf(Date.parse(hour) / 1000);
        if (index >= 0) refused[index]! += count;
        why[kind] = (why[kind] ?? 0) + count;
    }
    return { refused, why: Object.entries(why).sort(([, one], [, two]) => two - one) };
}

/** Vends by the hour, and for who oversees the server refusals beside them. */
export function Hours({ account, refusals = false }: { account?: string; refusals?: boolean }) {
    const { value, error } = useAsked(async () => {
        const vended = await byHour(account);
        return { ...vended, ...(refusals ? await refusedByHour(vended.times) : { refused: undefined, why: [] }) };
    }, [account]);
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

export function Usage({ me, place }: { me: Row; place: Place }) {
    const account = place.query.account ?? me.account.name;
    const days = Number(place.query.days ?? 30);
    const operator = sees(me.role, "operator");
    const { value, error } = useAsked(() => get(api("usage"), { account: operator ? account : undefined, days }), [account, days]);
    const others = useAsked(async () => (operator ? ((await get(api("accounts"))).accounts as Row[]) : []), []);
    // Days that nothing is counted of are none in the answer, and zero here.
    const midnight = Math.floor(Date.now() / 1000 / DAY) * DAY;
    const times = Array.from({ length: days }, (_, index) => midnight - (days - 1 - index) * DAY);
    const day = (time: number) => new Date(time * 1000).toISOString().slice(0, 10);
    const counted = new Map((value?.days as Row[] | undefined)?.map((one) => [one.day, one]));
    const of = (name: string) => times.map((time) => counted.get(day(time))?.[name] ?? 0);
    return (
        <>
            <Heading title="Usage" about={`What ${account} used: requests of its callers, and credits that were charged.`} cli="valetkey account ls" />
            <form class="filters">
                {operator && (
                    <div class="field">
                        <label for="account">Account</label>
                        <select id="account" value={account} onChange={(event) => go("usage", { ...place.query, account: event.currentTarget.value })}>
                            {(others.value ?? [me.account]).map((one) => (
                                <option value={one.name}>{one.name}</option>
                            ))}
                        </select>
                    </div>
                )}
                <div class="field">
                    <label for="days">Days</label>
                    <select id="days" value={String(days)} onChange={(event) => go("usage", { ...place.query, days: event.currentTarget.value })}>
                        {["7", "30", "90", "365"].map((count) => (
                            <option value={count}>{count}</option>
                        ))}
                    </select>
                </div>
            </form>
            <Failure error={error} />
            {value && value.days.length === 0 && <Empty said="Nothing is counted of these days." command="valetkey creds GRANT" />}
            {value && <Plot caption={`Requests of ${value.account} by day`} times={times} shown={day} series={[{ label: "requests", values: of("requests") }]} />}
            {value && <Plot caption={`Credits of ${value.account} by day`} times={times} shown={day} series={[{ label: "credits", values: of("credits") }]} />}
            <Hours account={operator ? account : undefined} />
        </>
    );
}
