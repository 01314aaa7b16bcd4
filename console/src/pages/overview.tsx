// What is going on: who one is, what is live, what ends soon, how the storages are. Each card asks for itself, again and again.
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { type Row, api, get, sees } from "../api";
import { valetkey } from "../cli";
import { ahead, now, useEvery, useNow } from "../clock";
import { Link } from "../router";
import { Badge, Empty, Failure, Heading, Time, useAsked } from "../ui";
import { Answered } from "./storages";
import { Hours } from "./usage";

const SOON = 14 * 86_400_000;
const EVERY = 10_000;
/** What ends within days needs no look every ten seconds. */
const SELDOM = 60_000;
/** The most of a list that is looked through for what ends soon; of leases, that are counted. */
const MOST = 1000;
const COUNTED = 500;
const SHOWN = 8;
const endsSoon = (at?: string | null): boolean => !!at && Date.parse(at) > now() && Date.parse(at) - now() < SOON;

/** A card with what it asks for: if that fails, only this card does. */
function Card<T>({ title, ask, round, every = EVERY, children }: { title: string; ask: () => Promise<T>; round: number; every?: number; children: (value: T) => ComponentChildren }) {
    const { value, error, busy, again } = useAsked(ask, [title, round]);
    useEvery(every, again, [title], !busy);
    return (
        <section class="card" aria-busy={busy && value === undefined}>
            <h2>{title}</h2>
            <Failure error={error} />
            {value !== undefined && children(value)}
            {value === undefined && !error && <p class="label">…</p>}
        </section>
    );
}

/** What of a list ends soon, and whether the list was longer than was looked through. */
function Ending({ of, shown }: { of: { rows: Row[]; cut: boolean; what: string }; shown: (row: Row) => ComponentChildren }) {
    return (
        <>
            <ul class="plain">
                {of.rows.slice(0, SHOWN).map((row) => (
                    <li>{shown(row)}</li>
                ))}
            </ul>
            {of.rows.length > SHOWN && <p class="label">and {of.rows.length - SHOWN} more</p>}
            {of.rows.length === 0 && <p class="none">no {of.what}</p>}
            {of.cut && <p class="label">of the first {MOST} only</p>}
        </>
    );
}

export function Overview({ me }: { me: Row }) {
    useNow();
    const [round, setRound] = useState(0);
    const oversees = sees(me.role, "operator");
    const audits = me.role === "auditor";
    const warnings = [
        location.protocol === "http:" && "This page came without TLS: only use it on the server's own machine.",
        ahead() !== 0 && `This browser's clock is ${Math.round(Math.abs(ahead()) / 1000)} s ${ahead() > 0 ? "behind" : "ahead of"} the server's. Times here are the server's; tools on this machine that sign requests may be refused.`,
    ].filter(Boolean);
    return (
        <>
            <Heading title="Overview" about={`You are ${me.name} of ${me.account.name}, ${/^[ao]/.test(me.role) ? "an" : "a"} ${me.role}.`} cli={valetkey("whoami")}>
                <button type="button" onClick={() => setRound(round + 1)}>
                    Reload
                </button>
            </Heading>
            {warnings.map((said) => (
                <p class="warning">{said}</p>
            ))}
            <div class="cards">
                <Card title="Live leases" round={round} ask={() => get(api("leases"), { live: true, limit: COUNTED })}>
                    {(value) => (
                        <>
                            <p class="figure">
                                <Link to="leases">{`${value.leases.length}${value.next_before ? "+" : ""}`}</Link>
                            </p>
                            {value.leases.length === 0 && <Empty said="Nothing is vended right now. The first credential:" command={valetkey("creds")} />}
                        </>
                    )}
                </Card>
                <section class="card">
                    <h2>Your token</h2>
                    <p>
                        <code>{me.token}</code>
                    </p>
                    <p>
                        ends <Time at={me.token_expires} />
                    </p>
                    {me.identity && (
                        <p>
                            by {me.identity.provider}: {me.identity.subject}
                        </p>
                    )}
                </section>
                <Card title="Credits" round={round} ask={async () => (await get(api("me"))).credits as Row}>
                    {(credits) => (
                        <>
                            <p class="figure">{credits.granted - credits.used}</p>
                            <p>{credits.used} used of {credits.granted}</p>
                        </>
                    )}
                </Card>
                {oversees && !audits && (
                    <Card title="Storages" round={round} ask={async () => (await get(api("storages"))).storages as Row[]}>
                        {(storages) => (
                            <ul class="plain">
                                {storages.map((one) => (
                                    <li>
                                        <Link to="storages">{one.name}</Link> <Badge text={one.kind} /> <Answered by={one} />
                                    </li>
                                ))}
                            </ul>
                        )}
                    </Card>
                )}
                {oversees && (
                    <Card title="Nodes" round={round} ask={async () => (await get(api("nodes"))).nodes as Row[]}>
                        {(nodes) => (
                            <ul class="plain">
                                {nodes.map((one) => (
                                    <li>
                                        {one.name || "this server"} <Badge text={one.live ? "live" : "gone"} /> <small>{one.version}</small>
                                        {!one.live && (
                                            <>
                                                {" "}
                                                last heard <Time at={one.last_heard} />
                                            </>
                                        )}
                                    </li>
                                ))}
                            </ul>
                        )}
                    </Card>
                )}
                {!audits && (
                    <Card
                        title="Tokens that end within 14 days"
                        round={round}
                        every={SELDOM}
                        ask={async () => {
                            const { tokens, next_after } = await get(api("tokens"), { limit: MOST });
                            return { rows: (tokens as Row[]).filter((one) => !one.revoked && endsSoon(one.expires)), cut: !!next_after, what: "token" };
                        }}
                    >
                        {(of) => <Ending of={of} shown={(one) => <><code>…{one.tail}</code> of {one.caller_name} <Time at={one.expires} /></>} />}
                    </Card>
                )}
                {!audits && (
                    <Card
                        title="Keys that end within 14 days"
                        round={round}
                        every={SELDOM}
                        ask={async () => {
                            const { parent_keys } = await get(api("parent-keys"));
                            return { rows: (parent_keys as Row[]).filter((one) => !one.disabled && endsSoon(one.expires)), cut: false, what: "parent access key" };
                        }}
                    >
                        {(of) => <Ending of={of} shown={(one) => <>{one.name} <Time at={one.expires} /></>} />}
                    </Card>
                )}
                <Card
                    title="Grants that end within 14 days"
                    round={round}
                    every={SELDOM}
                    ask={async () => {
                        const { grants, next_after } = await get(api("grants"), { all: true, limit: MOST });
                        return { rows: (grants as Row[]).filter((one) => endsSoon(one.until)), cut: !!next_after, what: "grant" };
                    }}
                >
                    {(of) => <Ending of={of} shown={(one) => <>{one.name} <Time at={one.until} /></>} />}
                </Card>
            </div>
            <Hours key={round} refusals={sees(me.role, "operator")} live />
        </>
    );
}
