// What is going on: who one is, what is live, what ends soon, how the storages are.
import { type Row, api, get, sees } from "../api";
import { Link } from "../router";
import { Badge, Empty, Failure, Heading, Time, useAsked } from "../ui";
import { Hours } from "./usage";

const SOON = 14 * 86_400_000;
const endsSoon = (at?: string | null): boolean => !!at && Date.parse(at) > Date.now() && Date.parse(at) - Date.now() < SOON;

async function look(me: Row) {
    const oversees = sees(me.role, "operator");
    const [leases, tokens, grants, parents, nodes, storages] = await Promise.all([
        get(api("leases"), { live: true, limit: 500 }),
        me.role === "auditor" ? { tokens: [] } : get(api("tokens"), { limit: 1000 }),
        get(api("grants"), { all: true, limit: 1000 }),
        me.role === "auditor" ? { parent_keys: [] } : get(api("parent-keys")),
        oversees ? get(api("nodes")) : { nodes: undefined },
        me.role !== "auditor" && oversees ? get(api("storages")) : { storages: undefined },
    ]);
    return {
        live: leases.leases as Row[],
        more: !!leases.next_before,
        tokens: (tokens.tokens as Row[]).filter((one) => !one.revoked && endsSoon(one.expires)),
        grants: (grants.grants as Row[]).filter((one) => endsSoon(one.until)),
        parents: (parents.parent_keys as Row[]).filter((one) => !one.disabled && endsSoon(one.expires)),
        nodes: nodes.nodes as Row[] | undefined,
        storages: storages.storages as Row[] | undefined,
    };
}

export function Overview({ me }: { me: Row }) {
    const { value, error, again } = useAsked(() => look(me), []);
    const warnings = [location.protocol === "http:" && "This page came without TLS: only use it on the server's own machine."].filter(Boolean);
    return (
        <>
            <Heading title="Overview" about={`You are ${me.name} of ${me.account.name}, ${/^[ao]/.test(me.role) ? "an" : "a"} ${me.role}.`} cli="valetkey whoami">
                <button type="button" onClick={again}>
                    Reload
                </button>
            </Heading>
            {warnings.map((said) => (
                <p class="warning">{said}</p>
            ))}
            <Failure error={error} />
            <div class="cards">
                <section class="card">
                    <h2>Live leases</h2>
                    <p class="figure">
                        <Link to="leases">{value ? `${value.live.length}${value.more ? "+" : ""}` : "…"}</Link>
                    </p>
                </section>
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
                <section class="card">
                    <h2>Credits</h2>
                    <p class="figure">{me.credits.granted - me.credits.used}</p>
                    <p>{me.credits.used} used of {me.credits.granted}</p>
                </section>
                {value?.storages && (
                    <section class="card">
                        <h2>Storages</h2>
                        <ul class="plain">
                            {value.storages.map((one) => (
                                <li>
                                    <Link to="storages">{one.name}</Link> <Badge text={one.kind} /> <Badge text={one.revocation} />
                                </li>
                            ))}
                        </ul>
                    </section>
                )}
                {value?.nodes && (
                    <section class="card">
                        <h2>Nodes</h2>
                        <ul class="plain">
                            {value.nodes.map((one) => (
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
                    </section>
                )}
                <section class="card">
                    <h2>Ends within 14 days</h2>
                    {value && value.tokens.length + value.grants.length + value.parents.length === 0 && <p class="none">no token, no key and no grant</p>}
                    <ul class="plain">
                        {value?.tokens.slice(0, 8).map((one) => (
                            <li>
                                token <code>…{one.tail}</code> of {one.caller_name} <Time at={one.expires} />
                            </li>
                        ))}
                        {value?.parents.slice(0, 8).map((one) => (
                            <li>
                                parent access key {one.name} <Time at={one.expires} />
                            </li>
                        ))}
                        {value?.grants.slice(0, 8).map((one) => (
                            <li>
                                grant {one.name} <Time at={one.until} />
                            </li>
                        ))}
                    </ul>
                </section>
            </div>
            {value && value.live.length === 0 && <Empty said="Nothing is vended right now. The first credential:" command="valetkey creds" />}
            <Hours refusals={sees(me.role, "operator")} />
        </>
    );
}
