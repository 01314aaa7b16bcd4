// Storages: what they are, whether their credentials open what they should, and how to end them all.
import { useState } from "preact/hooks";
import { type Row, api, ask, at } from "../api";
import { valetkey } from "../cli";
import type { Resource } from "../list";
import { changing, other, removal } from "../resources";
import { Badge, Cli, Failure, Time } from "../ui";

function Check({ row }: { row: Row }) {
    const [state, set] = useState<{ busy?: boolean; answer?: Row; error?: unknown }>({});
    const check = () => {
        set({ busy: true });
        ask({ method: "POST", path: at(api("storages", row.id, "checks")), body: {} }).then(
            (answer) => set({ answer }),
            (error) => set({ error }),
        );
    };
    return (
        <section aria-label="Check">
            <div class="buttons">
                <button type="button" class="primary" onClick={check} disabled={state.busy}>
                    {state.busy ? "Checking…" : "Check now"}
                </button>
            </div>
            <Cli command={valetkey("storage check").of(row.name)} />
            <Failure error={state.error} />
            {state.answer && (
                <div role="status">
                    <p>
                        <Badge text={state.answer.passed ? "passed" : "failed"} /> in bucket <code>{state.answer.bucket}</code>
                    </p>
                    <ul class="plain">
                        {state.answer.checks.map((one: Row) => (
                            <li>
                                <Badge text={one.status} /> {one.what} {one.reason && <small>{one.reason}</small>} <small>{one.took_ms} ms</small>
                            </li>
                        ))}
                    </ul>
                </div>
            )}
        </section>
    );
}

/** How an external storage has answered the node that tells it. */
export function Answered({ by: { health } }: { by: Row }) {
    if (!health) return <></>;
    return (
        <>
            <Badge text={health.state} />{" "}
            {health.state === "failing" && (
                <small>
                    {health.reason}, {health.failures} in a row, last <Time at={health.last_failed} />
                </small>
            )}
        </>
    );
}

/** What ending a credential means at a storage, honestly. */
export const SOONEST: Record<string, string> = {
    immediate: "refused from the next request on",
    minutes: "refused within minutes: the storage looks up revocations with a delay",
    "expiry-only": "not issued again, but the storage accepts what was vended until it expires",
};

export const storages: Resource = {
    name: "storages",
    title: "Storages",
    about: "Object stores. Secrets of external ones are sealed, and shown nowhere.",
    needs: "operator",
    path: api("storages"),
    field: "storages",
    cli: () => valetkey("storage ls"),
    empty: { said: "There is no storage.", command: valetkey("storage create").on("help") },
    columns: [
        { name: "Name", of: (row) => row.name },
        { name: "Kind", of: (row) => <Badge text={row.kind} /> },
        { name: "Endpoint", of: (row) => <code>{row.endpoint}</code> },
        { name: "Health", of: (row) => <Answered by={row} /> },
        { name: "Revocation", of: (row) => <Badge text={row.revocation} /> },
        { name: "Lifetimes", of: (row) => `${row.min_ttl_secs} to ${row.max_ttl_secs} s` },
    ],
    id: (row) => row.id,
    create: {
        label: "Add a storage",
        needs: "operator",
        fields: () => [
            { name: "name", label: "Name", required: true },
            { name: "kind", label: "Kind", options: ["gateway", "sts", "r2", "azure", "gcs"], required: true },
            { name: "endpoint", label: "Endpoint", hint: "a URL" },
            { name: "region", label: "Region" },
            { name: "settings", label: "Settings of the kind, as JSON", kind: "json", hint: "docs/storages.md lists them" },
            { name: "secrets", label: "Secrets of the kind, as JSON", kind: "secret", secret: "json", hint: "sealed when they arrive, and never shown again" },
        ],
        send: (body) => ({ method: "POST", path: at(api("storages")), body }),
        // Secrets are never arguments: other processes see those.
        cli: (body) =>
            valetkey("storage create")
                .of(body.name ?? "NAME", body.endpoint)
                .with("kind", body.kind ?? "KIND")
                .having(body, "region")
                .with("settings-from", body.settings && "settings.json")
                .with("secrets-from", body.secrets && "secrets.json"),
    },
    more: (row) => <Check row={row} />,
    actions: [
        {
            label: "Change",
            needs: "operator",
            fields: (row) => [
                { name: "endpoint", label: "Endpoint", value: row.kind === "embedded" ? undefined : row.endpoint, was: true },
                { name: "region", label: "Region", value: row.region, was: true },
                { name: "min_ttl_secs", label: "Shortest life, in seconds", kind: "number", value: row.min_ttl_secs, was: true },
                { name: "max_ttl_secs", label: "Longest life, in seconds", kind: "number", value: row.max_ttl_secs, was: true },
                ...(row.kind === "embedded" ? [] : [
                    { name: "settings", label: "Settings, as JSON", kind: "json" as const, value: JSON.stringify(row.settings ?? {}), was: true },
                    { name: "secrets", label: "Other secrets, as JSON", kind: "secret" as const, secret: "json" as const, hint: "those it has stay if this is empty" },
                ]),
            ],
            send: (row, body) => ({ method: "PATCH", path: at(api("storages", row.id)), body }),
            cli: (row, body) =>
                changing("storage change", row.name, (command) =>
                    command
                        .with("endpoint", other(row, body, "endpoint"))
                        .with("region", other(row, body, "region"))
                        .secs("min-ttl", other(row, body, "min_ttl_secs"))
                        .secs("max-ttl", other(row, body, "max_ttl_secs"))
                        .with("settings-from", other({ settings: row.settings ?? {} }, body, "settings") && "settings.json")
                        .with("secrets-from", body.secrets && "secrets.json"),
                ),
        },
        {
            label: "End every credential",
            needs: "operator",
            danger: true,
            typed: (row) => row.name,
            said: (row) => `Everything vended so far for this storage is ended here; at the storage it is ${SOONEST[row.revocation] ?? row.revocation}. Where the storage has a lever to end all at once, it is pulled.`,
            send: (row) => ({ method: "POST", path: at(api("storages", row.id, "revocations")), body: {} }),
            cli: (row) => valetkey("storage end-credentials").of(row.name),
        },
        removal((row) => api("storages", row.id), (row) => valetkey("storage rm").of(row.name), { fields: () => [{ name: "cascade", label: "Also remove what needs it", kind: "check" }] }),
    ],
};
