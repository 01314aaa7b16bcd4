// One key as a picture, step by step: who, by which token and grants, for what, where, until when.
import type { ComponentChildren } from "preact";
import { Refusal, type Row, api, get, sees } from "../api";
import { valetkey } from "../cli";
import { Link, type Place, go } from "../router";
import { parts, paths } from "../scope";
import { Badge, Empty, Failure, Fields, Heading, Time, Value, useAsked } from "../ui";
import { EndOne, LeaseLink } from "./leases";

async function found(id: string): Promise<Row> {
    if (id.startsWith("lea")) return get(api("leases", id));
    try {
        return await get(api("whose", id));
    } catch (error) {
        // It may be a lease's id of another form.
        if (error instanceof Refusal && [404, 422].includes(error.status)) return get(api("leases", id)).catch(() => Promise.reject(error));
        throw error;
    }
}

function Stop({ title, children, state }: { title: string; children: ComponentChildren; state?: string }) {
    return (
        <li class={state ? `is-${state}` : ""}>
            <h2>{title}</h2>
            {children}
        </li>
    );
}

function Trace({ lease, me, again }: { lease: Row; me: Row; again: () => void }) {
    // What of it may no longer be there, or not be the caller's to see, is not named.
    const { value } = useAsked(async () => {
        const grants = await get(api("grants"), { all: true, bucket: lease.bucket, limit: 1000 }).catch(() => ({ grants: [] as Row[] }));
        const tokens = await get(api("tokens"), { caller: lease.caller, limit: 1000 }).catch(() => ({ tokens: [] as Row[] }));
        const storages = sees(me.role, "operator") && me.role !== "auditor" ? await get(api("storages")).catch(() => ({ storages: [] as Row[] })) : { storages: [] as Row[] };
        return {
            grants: grants.grants as Row[],
            token: (tokens.tokens as Row[]).find((one) => one.id === lease.token),
            storage: (storages.storages as Row[]).find((one) => one.id === lease.storage)?.name as string | undefined,
        };
    }, [lease.lease_id]);
    const named = (id: string) => value?.grants.find((one) => one.id === id);
    return (
        <ol class="trace" aria-label="The steps of this key">
            <Stop title="Who">
                <p>
                    <strong>{lease.caller_name ?? lease.caller}</strong> of {lease.account_name ?? lease.account}
                </p>
                {lease.from && <p>from {lease.from}</p>}
                <p>by {lease.dialect}</p>
            </Stop>
            <Stop title="Token" state={value?.token?.revoked ? "revoked" : undefined}>
                <p>
                    <code>{lease.token}</code>
                </p>
                {value?.token && <p>ends <Time at={value.token.revoked ?? value.token.expires} /></p>}
            </Stop>
            <Stop title="Grants">
                <ul class="plain">
                    {lease.grants.map((id: string) => (
                        <li>
                            {named(id) ? (
                                <Link to="grants" query={{ name: named(id)!.name, account: named(id)!.account }}>
                                    {named(id)!.name}
                                </Link>
                            ) : (
                                <code>{id}</code>
                            )}
                        </li>
                    ))}
                </ul>
            </Stop>
            <Stop title="Permit">
                {parts(lease).map((part) => (
                    <>
                        <p>
                            <Badge text={part.access} /> in <code>{lease.bucket}</code>
                        </p>
                        {part.whole_bucket ? <p>the whole bucket</p> : <Value of={paths(part)} />}
                        <p>
                            <small>{part.actions.join(", ")}</small>
                        </p>
                    </>
                ))}
            </Stop>
            <Stop title="Lease">
                <p>
                    <code>{lease.lease_id}</code>
                </p>
                <p>
                    opened <Time at={lease.opened} />, {lease.credits} credits
                </p>
            </Stop>
            <Stop title="Key">
                <p>at storage {value?.storage ? <strong>{value.storage}</strong> : <code>{lease.storage}</code>}</p>
                {lease.store_key_id ? <p>named there <code>{lease.store_key_id}</code></p> : <p>derived from the lease; not kept</p>}
                {lease.store_request_id && <p>fetched by its request <code>{lease.store_request_id}</code></p>}
            </Stop>
            <Stop title="Requests">
                {lease.used ? (
                    <>
                        <p>
                            {lease.used.requests} at our endpoint, the first <Time at={lease.used.first} />
                        </p>
                        <p>
                            the last <Time at={lease.used.last} />
                            {lease.used.from && <> from {lease.used.from}</>}
                        </p>
                        <p>
                            <small>{lease.used.bytes_in.toLocaleString()} bytes sent, {lease.used.bytes_out.toLocaleString()} received</small>
                        </p>
                    </>
                ) : lease.store_key_id ? (
                    <p>its storage has them in its own log</p>
                ) : (
                    <p>none so far at our endpoint</p>
                )}
            </Stop>
            <Stop title="End" state={lease.state}>
                <p>
                    <Badge text={lease.state} />
                </p>
                <p>
                    {lease.revoked ? "ended" : "ends"} <Time at={lease.revoked ?? lease.expires} />
                    {lease.revoked_by && <> by {lease.revoked_by}</>}
                </p>
                {lease.store_expires && <p>the storage stops taking it <Time at={lease.store_expires} /></p>}
                <EndOne row={lease} done={again} />
            </Stop>
        </ol>
    );
}

export function KeyPage({ me, place }: { me: Row; place: Place }) {
    const id = place.query.id ?? "";
    const { value, error, busy, again } = useAsked<Row>(() => (id ? found(id) : Promise.resolve({})), [id]);
    const find = (event: Event) => {
        event.preventDefault();
        go("key", { id: String(new FormData(event.currentTarget as HTMLFormElement).get("key") ?? "").trim() });
    };
    return (
        <>
            <Heading title="Trace a key" about="From an access key id in a log to who got it, why, and until when." cli={valetkey("whose").of(id || "KEY_ID")} />
            <form class="filters" role="search" onSubmit={find}>
                <div class="field" key={id}>
                    <label for="key">Access key id or lease id</label>
                    <input id="key" name="key" defaultValue={id} autocomplete="off" spellcheck={false} />
                </div>
                <button type="submit">Whose is it?</button>
            </form>
            <Failure error={error} />
            {id && busy && !value && <p class="label" aria-busy="true">Loading…</p>}
            {!id && <Empty said="Paste the access key id from a request or a log." command={valetkey("whose").of("KEY_ID")} />}
            {!error && value?.lease_id && <Trace key={value.lease_id} lease={value} me={me} again={again} />}
            {!error && value?.leases && (
                <ul>
                    {value.leases.map((one: Row) => (
                        <li>
                            <LeaseLink id={one.lease_id} /> <Badge text={one.state} /> {one.caller_name}
                        </li>
                    ))}
                </ul>
            )}
            {!error && value?.access_key_id && !value.lease_id && (
                <>
                    <p>It is a parent access key; what its holder signed with it has this id, too.</p>
                    <Fields of={value} />
                </>
            )}
        </>
    );
}
