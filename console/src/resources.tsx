// What there is of each kind of thing: where it is asked for, how it looks, and what can be done with it.
import { ROLES, type Row, api, at } from "./api";
import type { Field } from "./form";
import type { Action, Resource } from "./list";
import { Badge, Time } from "./ui";

export const DRY = { dry_run: true };

export const word = (text: unknown): string => {
    const plain = String(text ?? "");
    return /^[\w./:@-]+$/.test(plain) ? plain : `'${plain.replaceAll("'", `'\\''`)}'`;
};
export const flags = (body: Row, ...names: string[]): string =>
    names.filter((name) => body[name] !== undefined).map((name) => ` --${name.replaceAll("_", "-")} ${word(body[name])}`).join("");

/** The flags of a grant's conditions. */
const ifs = (body: Row): string =>
    Object.entries({ network: body.networks, hours: body.hours, provider: body.provider && [body.provider], claim: body.claims, "session-name": body.session_names, "external-id": body.external_ids })
        .flatMap(([name, values]) => (values ?? []).map((value: string) => ` --if-${name} ${word(value)}`))
        .join("");

/** A removal with a look at what goes with it. */
export function removal(path: (row: Row) => string[], cli: (row: Row) => string, more: Partial<Action> & { fields?: () => Field[] } = {}): Action {
    const request = (row: Row, query: Row) => ({ method: "DELETE", path: at(path(row), query) });
    return {
        label: "Remove",
        needs: "operator",
        danger: true,
        typed: (row) => row.name ?? row.bucket ?? row.id,
        plan: (row, body) => request(row, { ...body, ...DRY }),
        send: (row, body) => request(row, body),
        cli: (row, body) => `${cli(row)}${body.cascade ? " --cascade" : ""}`,
        ...more,
    };
}

const CASCADE = (): Field[] => [{ name: "cascade", label: "Also remove what needs it", kind: "check" }];
const OUTLIVE: Field = { name: "outlive", label: "May outlive the token that makes it", kind: "check" };
const account = (me: Row): Field => ({ name: "account", label: "Account", required: true, value: me.account.name });
export const SCOPE: Field[] = [
    { name: "prefixes", label: "Directories, one on a line", kind: "lines", hint: "without a slash at the end; what begins with the same letters beside it is not meant" },
    { name: "objects", label: "Objects, one on a line", kind: "lines" },
    { name: "raw_prefixes", label: "Whatever begins so, one on a line", kind: "lines" },
    { name: "whole_bucket", label: "The whole bucket", kind: "check" },
];
/** What has to hold besides, in the forms that make and change grants. */
const CONDITIONS: Field[] = [
    { name: "networks", label: "Only from these networks, one on a line", kind: "lines", hint: "10.0.0.0/8" },
    { name: "hours", label: "Only at these hours in UTC, one on a line", kind: "lines", hint: "mon-fri 08:00-18:00" },
    { name: "provider", label: "Only by tokens of this identity provider", hint: "with claims below" },
    { name: "claims", label: "Claims, one on a line", kind: "lines", hint: "name=value" },
    { name: "session_names", label: "Only sessions of these names, one on a line", kind: "lines", hint: "ci-1, or glob:ci-*" },
    { name: "external_ids", label: "Only with one of these external ids, one on a line", kind: "lines" },
];
/** What was typed of a grant, with its conditions put together; nothing where there are none. */
function conditioned(body: Row): { rest: Row; conditions?: Row } {
    const names = CONDITIONS.map((field) => field.name);
    const pick = (own: boolean) => Object.fromEntries(Object.entries(body).filter(([name]) => names.includes(name) === own));
    const conditions = pick(true);
    return { rest: pick(false), conditions: Object.keys(conditions).length > 0 ? conditions : undefined };
}
/** Fields with what a row has in them. */
export const having = (fields: Field[], row: Row): Field[] => fields.map((field) => ({ ...field, value: field.kind === "lines" ? row[field.name]?.join("\n") : (row[field.name] ?? undefined) }));
export const ACCESS = ["read", "write", "read-write"];
export const place = (row: Row): string => `s3://${row.bucket}/${row.whole_bucket ? "" : (row.prefixes?.[0] ?? row.objects?.[0] ?? row.raw_prefixes?.[0] ?? "")}`;
const standing = (label: string, value: string, path: (row: Row) => string[], cli: (row: Row) => string, when: (row: Row) => boolean, needs: "admin" | "operator"): Action => ({
    // Of accounts the server does not say what it would mean.
    plan: needs === "admin" ? (row) => ({ method: "PATCH", path: at(path(row), DRY), body: { standing: value } }) : undefined,
    label,
    needs,
    when,
    danger: value === "suspended",
    said: () => (value === "suspended" ? "It is refused until it is activated again, and what it holds ends now." : "It is served again. What ended stays ended."),
    send: (row) => ({ method: "PATCH", path: at(path(row)), body: { standing: value } }),
    cli,
});

/** A grant to be made. Everyone has to be said: an omitted `to` would be a slip. */
function granted(body: Row): Row {
    const { rest, conditions } = conditioned(body);
    return { ...rest, to: rest.to ?? null, access: rest.dataset ? undefined : rest.access, conditions };
}
/** A change of a grant: what was emptied is taken away, and conditions that are as they were are not sent. */
function regranted(row: Row, body: Row): Row {
    const { rest, conditions } = conditioned(body);
    const same = (one?: Row, two?: Row) => CONDITIONS.every(({ name }) => JSON.stringify(one?.[name] ?? null) === JSON.stringify(two?.[name] ?? null));
    // What this page does not know of stays.
    const others = Object.entries(row.conditions ?? {}).filter(([name]) => !CONDITIONS.some((field) => field.name === name));
    const after = conditions || others.length > 0 ? { ...Object.fromEntries(others), ...conditions } : null;
    return { ...rest, until: rest.until ?? (row.until ? null : undefined), conditions: same(conditions, row.conditions) ? undefined : after };
}
/** A change of a group: what was emptied is taken away. */
const regrouped = (row: Row, { members = [], provider, claims }: Row): Row => ({
    members,
    provider: provider ?? (row.provider ? null : undefined),
    claims: claims ?? (provider ? [] : undefined),
});

const grants: Resource = {
    name: "grants",
    title: "Grants",
    audited: true,
    about: "Stored rules: who may have credentials for what. A credential never allows more than its grants.",
    path: api("grants"),
    field: "grants",
    query: { all: true, limit: 500 },
    filters: [{ name: "account", label: "Account", needs: "operator" }, { name: "caller", label: "Caller" }, { name: "bucket", label: "Bucket" }, { name: "name", label: "Name" }],
    cli: "valetkey grant ls",
    empty: { said: "No grant is in sight: without one nobody gets a credential.", command: "valetkey grant create daily s3://BUCKET/PREFIX --account ACCOUNT --everyone" },
    columns: [
        { name: "Name", of: (row) => row.name },
        { name: "State", of: (row) => <Badge text={row.state} /> },
        { name: "Account", of: (row) => row.account_name ?? row.account },
        { name: "Access", of: (row) => <Badge text={row.access} /> },
        { name: "Place", of: (row) => <code>{place(row)}</code> },
        { name: "For", of: (row) => row.to_name ?? row.to ?? "everyone" },
        { name: "Until", of: (row) => <Time at={row.until} /> },
        { name: "If", of: (row) => Object.values(row.conditions ?? {}).join("; ") },
    ],
    id: (row) => row.id,
    create: {
        label: "Create a grant",
        needs: "operator",
        fields: (me) => [
            { name: "name", label: "Name", required: true },
            account(me),
            { name: "bucket", label: "Bucket", hint: "or a dataset below" },
            ...SCOPE,
            { name: "dataset", label: "Dataset" },
            { name: "access", label: "Access", options: ACCESS, value: "read" },
            { name: "to", label: "Caller", hint: "or group:NAME; empty: everyone of the account" },
            { name: "max_ttl_secs", label: "Longest life of a credential, in seconds", kind: "number" },
            { name: "until", label: "Until", hint: "RFC 3339, as in 2027-01-01T00:00:00Z" },
            ...CONDITIONS,
        ],
        plan: (body) => ({ method: "POST", path: at(api("grants"), DRY), body: granted(body) }),
        send: (body) => ({ method: "POST", path: at(api("grants")), body: granted(body) }),
        cli: (body) => `valetkey grant create ${word(body.name)} ${body.dataset ? `--dataset ${word(body.dataset)}` : word(place({ ...body, bucket: body.bucket ?? "BUCKET" }))}${flags(body, "account")} ${body.to ? word(body.to).replace(/^(group:)?/, (group) => (group ? "--group " : "--caller ")) : "--everyone"}${flags(body, "access", "until")}${ifs(body)}`,
    },
    actions: [
        {
            label: "Change",
            needs: "operator",
            // What was asked for and approved is taken back, and not made another.
            when: (row) => !row.request,
            fields: (row) => [
                { name: "access", label: "Access", options: ACCESS },
                { name: "max_ttl_secs", label: "Longest life of a credential, in seconds", kind: "number", value: row.max_ttl_secs },
                { name: "until", label: "Until", value: row.until },
                ...having(SCOPE, row),
                ...(row.share || row.workspace ? [] : having(CONDITIONS, row.conditions ?? {})),
            ],
            said: () => "First you see who gains and loses access, and how many live leases have more than the grant gives from then on: those end.",
            plan: (row, body) => ({ method: "PATCH", path: at(api("grants", row.id), DRY), body: regranted(row, body) }),
            send: (row, body) => ({ method: "PATCH", path: at(api("grants", row.id)), body: regranted(row, body) }),
            cli: (row, body) => `valetkey grant set ${row.id}${flags(body, "access", "until")}${ifs(body)}`,
        },
        removal((row) => api("grants", row.id), (row) => `valetkey grant rm ${row.id}`),
    ],
};

const groups: Resource = {
    name: "groups",
    title: "Groups",
    audited: true,
    about: "Callers of an account that are granted something together: by name, or by what their identity tokens claim.",
    needs: "admin",
    path: api("groups"),
    field: "groups",
    filters: [{ name: "account", label: "Account", needs: "operator" }],
    cli: "valetkey group ls",
    empty: { said: "There is no group.", command: "valetkey group create NAME --account ACCOUNT --member CALLER" },
    columns: [
        { name: "Name", of: (row) => row.name },
        { name: "Account", of: (row) => row.account_name ?? row.account },
        { name: "Members", of: (row) => row.members.join(", ") },
        { name: "Provider", of: (row) => row.provider ?? "" },
        { name: "Claims", of: (row) => row.claims.join(", ") },
    ],
    id: (row) => row.id,
    create: {
        label: "Create a group",
        needs: "operator",
        fields: (me) => [
            { name: "name", label: "Name", required: true },
            account(me),
            { name: "members", label: "Callers, one on a line", kind: "lines" },
            { name: "provider", label: "Identity provider", hint: "whose sessions are members, if they hold the claims" },
            { name: "claims", label: "Claims, one on a line", kind: "lines", hint: "name=value" },
        ],
        send: (body) => ({ method: "POST", path: at(api("groups")), body }),
        cli: (body) => `valetkey group create ${word(body.name)}${flags(body, "account", "provider")}`,
    },
    actions: [
        {
            label: "Change",
            needs: "operator",
            fields: (row) => [
                { name: "members", label: "Callers, one on a line", kind: "lines", value: row.members.join("\n") },
                { name: "provider", label: "Identity provider", value: row.provider ?? undefined },
                { name: "claims", label: "Claims, one on a line", kind: "lines", value: row.claims.join("\n") },
            ],
            said: () => "First you see who gains and loses access, and how many live leases end: those of callers that are no longer members.",
            plan: (row, body) => ({ method: "PATCH", path: at(api("groups", row.id), DRY), body: regrouped(row, body) }),
            send: (row, body) => ({ method: "PATCH", path: at(api("groups", row.id)), body: regrouped(row, body) }),
            cli: (row) => `valetkey group set ${row.id}`,
        },
        removal((row) => api("groups", row.id), (row) => `valetkey group rm ${row.id}`),
    ],
};

const callers: Resource = {
    name: "callers",
    title: "Callers",
    about: "Identities. Each is of one account, and proves itself with tokens.",
    path: api("callers"),
    field: "callers",
    query: { limit: 500 },
    filters: [{ name: "account", label: "Account", needs: "operator" }],
    cli: "valetkey caller ls",
    empty: { said: "There is no caller yet.", command: "valetkey token create NAME --account ACCOUNT" },
    columns: [
        { name: "Name", of: (row) => row.name },
        { name: "Account", of: (row) => row.account_name ?? row.account },
        { name: "Role", of: (row) => <Badge text={row.role} /> },
        { name: "Standing", of: (row) => <Badge text={row.standing} /> },
        { name: "Id", of: (row) => <code>{row.id}</code> },
    ],
    id: (row) => row.id,
    create: {
        label: "Create a caller",
        needs: "admin",
        fields: (me) => [{ name: "name", label: "Name", required: true }, account(me), { name: "role", label: "Role", options: ROLES, required: true }],
        plan: ({ account, ...body }) => ({ method: "POST", path: at(api("accounts", account, "callers"), DRY), body }),
        send: ({ account, ...body }) => ({ method: "POST", path: at(api("accounts", account, "callers")), body }),
        cli: (body) => `valetkey token create ${word(body.name)}${flags(body, "account", "role")}`,
    },
    actions: [
        standing("Suspend", "suspended", (row) => api("accounts", row.account, "callers", row.id), (row) => `valetkey caller suspend ${row.id}`, (row) => row.standing === "active", "admin"),
        standing("Activate", "active", (row) => api("accounts", row.account, "callers", row.id), (row) => `valetkey caller activate ${row.id}`, (row) => row.standing === "suspended", "admin"),
        {
            label: "End everything it holds",
            needs: "admin",
            danger: true,
            fields: () => [{ name: "tokens", label: "Its tokens, too", kind: "check" }],
            said: () => "Ends every credential vended to it so far. It may ask for new ones, if its tokens stay.",
            send: (row, body) => ({ method: "POST", path: at(api("revocations")), body: { caller: row.id, ...body } }),
            cli: (row, body) => `valetkey revoke --caller ${row.id}${body.tokens ? " --tokens" : ""}`,
        },
        removal((row) => api("accounts", row.account, "callers", row.id), (row) => `valetkey caller rm ${row.id}`, { needs: "admin" }),
    ],
};

const tokens: Resource = {
    name: "tokens",
    title: "Tokens",
    about: "What callers prove themselves with. Their secrets are not kept: a token is shown when it is made, and never again.",
    path: api("tokens"),
    field: "tokens",
    query: { limit: 500 },
    filters: [{ name: "account", label: "Account", needs: "operator" }, { name: "caller", label: "Caller" }],
    cli: "valetkey token ls",
    empty: { said: "No token is in sight.", command: "valetkey token create NAME --ttl 90d" },
    columns: [
        { name: "Token", of: (row) => <code>…{row.tail}</code> },
        { name: "Caller", of: (row) => row.caller_name },
        { name: "Account", of: (row) => row.account_name ?? row.account },
        { name: "Role", of: (row) => <Badge text={row.role} /> },
        { name: "Ends", of: (row) => (row.revoked ? <Badge text="ended" /> : <Time at={row.expires} />) },
        { name: "Made", of: (row) => <Time at={row.made} /> },
    ],
    id: (row) => row.id,
    create: {
        label: "Make a token",
        needs: "admin",
        fields: (me) => [
            { name: "caller", label: "Caller", required: true, hint: "it is made if there is none of that name" },
            account(me),
            { name: "role", label: "Role of a new caller", options: ROLES },
            { name: "expires_in_secs", label: "Ends after so many seconds", kind: "number", value: 90 * 86_400 },
            ...(me.role === "operator" ? [OUTLIVE] : []),
        ],
        send: (body) => ({ method: "POST", path: at(api("tokens")), body }),
        cli: (body) => `valetkey token create ${word(body.caller)}${flags(body, "account", "role")}${body.expires_in_secs ? ` --ttl ${body.expires_in_secs}s` : ""}`,
    },
    actions: [
        {
            label: "Change its end",
            when: (row) => !row.revoked,
            fields: () => [{ name: "expires_in_secs", label: "Ends after so many seconds, from now", kind: "number", required: true }],
            plan: (row, body) => ({ method: "PATCH", path: at(api("tokens", row.id), DRY), body }),
            send: (row, body) => ({ method: "PATCH", path: at(api("tokens", row.id)), body }),
            cli: (row, body) => `valetkey token set ${row.id} --ttl ${body.expires_in_secs ?? "SECS"}s`,
        },
        removal((row) => api("tokens", row.id), (row) => `valetkey token revoke ${row.id}`, {
            label: "End it",
            needs: "member",
            when: (row) => !row.revoked,
            typed: undefined,
            fields: () => [{ name: "with_made", label: "And what it made", kind: "check" }],
            said: () => "The credentials vended with it end, and so does any session of this console that stands for it.",
        }),
    ],
};

const accounts: Resource = {
    name: "accounts",
    title: "Accounts",
    about: "Tenants. What belongs to one is not there for another.",
    path: api("accounts"),
    field: "accounts",
    cli: "valetkey account ls",
    empty: { said: "There is no account.", command: "valetkey account create NAME" },
    columns: [
        { name: "Name", of: (row) => row.name },
        { name: "Standing", of: (row) => <Badge text={row.standing} /> },
        { name: "Credits a vend", of: (row) => row.credits_per_vend },
        { name: "Objects", of: (row) => row.kept?.objects ?? "" },
        { name: "Bytes", of: (row) => row.kept?.bytes ?? "" },
        { name: "Id", of: (row) => <code>{row.id}</code> },
    ],
    id: (row) => row.id,
    create: {
        label: "Create an account",
        needs: "operator",
        fields: () => [{ name: "name", label: "Name", required: true }, { name: "credits_per_vend", label: "Credits a vend costs", kind: "number" }],
        send: (body) => ({ method: "POST", path: at(api("accounts")), body }),
        cli: (body) => `valetkey account create ${word(body.name)}`,
    },
    actions: [
        {
            label: "Add credits",
            needs: "operator",
            fields: () => [{ name: "credits", label: "Credits", kind: "number", required: true }],
            send: (row, body) => ({ method: "POST", path: at(api("accounts", row.id, "credits")), body }),
            cli: (row, body) => `valetkey account credit ${word(row.name)} ${body.credits ?? "N"}`,
        },
        standing("Suspend", "suspended", (row) => api("accounts", row.id), (row) => `valetkey account suspend ${word(row.name)}`, (row) => row.standing === "active", "operator"),
        standing("Activate", "active", (row) => api("accounts", row.id), (row) => `valetkey account activate ${word(row.name)}`, (row) => row.standing === "suspended", "operator"),
        removal((row) => api("accounts", row.id), (row) => `valetkey account rm ${word(row.name)}`, { fields: CASCADE }),
    ],
};

const workspaces: Resource = {
    name: "workspaces",
    title: "Workspaces",
    about: "Named places of an account, as Dreadnode's SDK works in them. Grants decide who can use one.",
    needs: "admin",
    path: api("workspaces"),
    field: "workspaces",
    filters: [{ name: "account", label: "Account", needs: "operator" }, { name: "bucket", label: "Bucket" }],
    cli: "valetkey workspace ls",
    empty: { said: "There is no workspace.", command: "valetkey workspace create KEY --account ACCOUNT --bucket BUCKET" },
    columns: [
        { name: "Key", of: (row) => row.key },
        { name: "Name", of: (row) => row.name },
        { name: "Account", of: (row) => row.account_name ?? row.account },
        { name: "Place", of: (row) => <code>{`s3://${row.bucket}/${row.prefix}`}</code> },
        { name: "Made", of: (row) => <Time at={row.made} /> },
    ],
    id: (row) => row.id,
    create: {
        label: "Create a workspace",
        needs: "operator",
        fields: (me) => [
            { name: "key", label: "Key", required: true },
            account(me),
            { name: "bucket", label: "Bucket", required: true },
            { name: "prefix", label: "Directory" },
            { name: "callers", label: "Callers, one on a line", kind: "lines", required: true },
            { name: "access", label: "Access", options: ["read", "read-write"] },
        ],
        send: (body) => ({ method: "POST", path: at(api("workspaces")), body }),
        cli: (body) => `valetkey workspace create ${word(body.key)}${flags(body, "account", "bucket", "prefix", "access")}`,
    },
    actions: [removal((row) => api("workspaces", row.id), (row) => `valetkey workspace rm ${word(row.key)}`, { typed: (row) => row.key })],
};

export const buckets: Resource = {
    name: "buckets",
    title: "Buckets",
    about: "On record here, each at one storage.",
    needs: "operator",
    path: api("buckets"),
    field: "buckets",
    cli: "valetkey bucket ls",
    empty: { said: "There is no bucket.", command: "valetkey bucket create NAME" },
    columns: [{ name: "Bucket", of: (row) => row.bucket }, { name: "Storage", of: (row) => row.storage }],
    id: (row) => row.bucket,
    create: {
        label: "Create a bucket",
        needs: "operator",
        fields: () => [{ name: "bucket", label: "Name", required: true }, { name: "storage", label: "Storage", hint: "the embedded one if not given" }],
        send: (body) => ({ method: "POST", path: at(api("buckets")), body }),
        cli: (body) => `valetkey bucket create ${word(body.bucket)}${flags(body, "storage")}`,
    },
    actions: [removal((row) => api("buckets", row.bucket), (row) => `valetkey bucket rm ${word(row.bucket)}`, { fields: CASCADE })],
};

const datasets: Resource = {
    name: "datasets",
    title: "Datasets",
    about: "Directories that are offered under a topic, as TheirStack's API lists them.",
    needs: "operator",
    path: api("datasets"),
    field: "datasets",
    filters: [{ name: "bucket", label: "Bucket" }],
    cli: "valetkey dataset ls",
    empty: { said: "There is no dataset.", command: "valetkey dataset create NAME s3://BUCKET/PREFIX --topic TOPIC" },
    columns: [
        { name: "Name", of: (row) => row.name },
        { name: "Topic", of: (row) => row.topic },
        { name: "Place", of: (row) => <code>{`s3://${row.bucket}/${row.prefix}`}</code> },
        { name: "Version", of: (row) => row.version },
        { name: "Description", of: (row) => row.description },
    ],
    id: (row) => row.id,
    create: {
        label: "Offer a dataset",
        needs: "operator",
        fields: () => ["name", "bucket", "prefix", "topic"].map((name): Field => ({ name, label: name[0]!.toUpperCase() + name.slice(1), required: true })).concat({ name: "description", label: "Description" }),
        send: (body) => ({ method: "POST", path: at(api("datasets")), body }),
        cli: (body) => `valetkey dataset create ${word(body.name)} ${word(`s3://${body.bucket ?? "BUCKET"}/${body.prefix ?? ""}`)}${flags(body, "topic", "description")}`,
    },
    actions: [removal((row) => api("datasets", row.id), (row) => `valetkey dataset rm ${word(row.name)}`, { fields: CASCADE })],
};

const parents: Resource = {
    name: "parent-keys",
    title: "Parent access keys",
    about: "Long-lived S3 keys in R2's form, whose holders sign narrower credentials themselves.",
    path: api("parent-keys"),
    field: "parent_keys",
    filters: [{ name: "account", label: "Account", needs: "operator" }, { name: "bucket", label: "Bucket" }],
    cli: "valetkey parent-key ls",
    empty: { said: "There is no parent access key.", command: "valetkey parent-key create --help" },
    columns: [
        { name: "Name", of: (row) => row.name },
        { name: "Access key id", of: (row) => <code>{row.access_key_id}</code> },
        { name: "Account", of: (row) => row.account_name ?? row.account },
        { name: "Reach", of: (row) => row.reach.map((one: Row) => one.bucket).join(", ") },
        { name: "Ends", of: (row) => (row.disabled ? <Badge text="ended" /> : <Time at={row.expires} />) },
    ],
    id: (row) => row.id,
    actions: [
        {
            label: "Disable",
            danger: true,
            when: (row) => !row.disabled,
            said: () => "It and what was signed with it are refused from now on.",
            send: (row) => ({ method: "DELETE", path: at(api("parent-keys", row.id)) }),
            cli: (row) => `valetkey parent-key disable ${row.id}`,
        },
    ],
};

export const RESOURCES: Resource[] = [grants, groups, callers, tokens, accounts, workspaces, buckets, datasets, parents];
