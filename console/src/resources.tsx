// What there is of each kind of thing: where it is asked for, how it looks, and what can be done with it.
import { ROLES, type Row, api, at } from "./api";
import { type Command, valetkey } from "./cli";
import { type Field, slip } from "./form";
import type { Action, Resource } from "./list";
import { NO_COMMAND, Where, pathed, paths, placed } from "./scope";
import { Badge, Time } from "./ui";

export const DRY = { dry_run: true };

/** What a form for a change says before anything in it is another. */
export const UNCHANGED = "Nothing is changed yet.";

/** The flags of a grant's conditions. */
const ifs = (command: Command, { networks, hours, provider, claims, session_names, external_ids }: Row): Command =>
    command.with("if-network", networks).with("if-hours", hours).with("if-provider", provider).with("if-claim", claims).with("if-session-name", session_names).with("if-external-id", external_ids);

/** For whom: a caller, `group:NAME`, or everyone. */
export const whom = (command: Command, to?: string | null): Command => (to?.startsWith("group:") ? command.with("group", to.slice("group:".length)) : command.with("caller", to).on("everyone", !to));

const differs = (one: unknown, two: unknown): boolean => JSON.stringify(one ?? null) !== JSON.stringify(two ?? null);

/** The flags of paths that are others than a row has; nothing if no flag says them. */
export const repathed = <T extends Command>(command: T, row: Row, body: Row): T | undefined => (differs(paths(row), paths(body)) ? pathed(command, body) : command);

/** A command that changes something, or what is said where it would change nothing. */
export function changing(verb: string, name: string, fill: (command: Command) => Command | undefined): Command | string {
    const command = fill(valetkey(verb).of(name));
    if (!command) return NO_COMMAND;
    return command.toString() === valetkey(verb).of(name).toString() ? UNCHANGED : command;
}
/** A value where it is another than the row's. */
export const other = (row: Row, body: Row, name: string): any => (differs(row[name], body[name]) ? body[name] : undefined);

/** A removal with a look at what goes with it. */
export function removal(path: (row: Row) => string[], cli: (row: Row) => Command, more: Partial<Action> & { fields?: () => Field[] } = {}): Action {
    const request = (row: Row, query: Row) => ({ method: "DELETE", path: at(path(row), query) });
    return {
        label: "Remove",
        needs: "operator",
        danger: true,
        typed: (row) => row.name ?? row.bucket ?? row.id,
        plan: (row, body) => request(row, { ...body, ...DRY }),
        send: (row, body) => request(row, body),
        cli: (row, body) => cli(row).on("cascade", body.cascade).on("with-made", body.with_made),
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
const standing = (label: string, value: string, path: (row: Row) => string[], cli: (row: Row) => Command, when: (row: Row) => boolean, needs: "admin" | "operator"): Action => ({
    plan: (row) => ({ method: "PATCH", path: at(path(row), DRY), body: { standing: value } }),
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
/** That something is still opened: of paths that were emptied the server would keep the old ones. */
export function opening(body: Row): Row {
    if (paths(body).length === 0) throw slip("prefixes", "name what it opens, or the whole bucket: it cannot open nothing");
    return body;
}
/** A change of a grant: what was emptied is taken away, and conditions that are as they were are not sent. */
function regranted(row: Row, body: Row): Row {
    const { rest, conditions } = conditioned(opening(body));
    const same = CONDITIONS.every(({ name }) => !differs(conditions?.[name], row.conditions?.[name]));
    // What this page does not know of stays.
    const others = Object.entries(row.conditions ?? {}).filter(([name]) => !CONDITIONS.some((field) => field.name === name));
    const after = conditions || others.length > 0 ? { ...Object.fromEntries(others), ...conditions } : null;
    return { ...rest, conditions: same || row.share || row.workspace ? undefined : after };
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
    cli: (query) => valetkey("grant ls").having(query, "account", "caller", "bucket"),
    empty: { said: "No grant is in sight: without one nobody gets a credential.", command: valetkey("grant create").of("daily", "s3://BUCKET/PREFIX").with("account", "ACCOUNT").on("everyone") },
    columns: [
        { name: "Name", of: (row) => row.name },
        { name: "State", of: (row) => <Badge text={row.state} /> },
        { name: "Account", of: (row) => row.account_name ?? row.account },
        { name: "Access", of: (row) => <Badge text={row.access} /> },
        { name: "Place", of: (row) => <Where row={row} /> },
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
            { name: "access", label: "Access", options: ACCESS, required: true, value: "read" },
            { name: "to", label: "Caller", hint: "or group:NAME; empty: everyone of the account" },
            { name: "max_ttl_secs", label: "Longest life of a credential, in seconds", kind: "number" },
            { name: "until", label: "Until", hint: "RFC 3339, as in 2027-01-01T00:00:00Z" },
            ...CONDITIONS,
        ],
        plan: (body) => ({ method: "POST", path: at(api("grants"), DRY), body: granted(body) }),
        send: (body) => ({ method: "POST", path: at(api("grants")), body: granted(body) }),
        cli: (body) => {
            const { rest, conditions } = conditioned(body);
            const command = valetkey("grant create").of(rest.name ?? "NAME");
            const where = rest.dataset ? command.with("dataset", rest.dataset) : placed(command, rest);
            if (!where) return NO_COMMAND;
            whom(where.with("account", rest.account ?? "ACCOUNT"), rest.to).with("access", rest.dataset ? undefined : rest.access).secs("max-ttl", rest.max_ttl_secs);
            return ifs(where.with("until", rest.until), conditions ?? {});
        },
    },
    actions: [
        {
            label: "Change",
            needs: "operator",
            // What was asked for and approved is taken back, and not made another.
            when: (row) => !row.request,
            fields: (row) => [
                { name: "access", label: "Access", options: ACCESS },
                { name: "max_ttl_secs", label: "Longest life of a credential, in seconds", kind: "number", value: row.max_ttl_secs, was: true },
                { name: "until", label: "Until", value: row.until ?? undefined, was: true, emptied: null },
                ...having(SCOPE, row),
                ...(row.share || row.workspace ? [] : having(CONDITIONS, row.conditions ?? {})),
            ],
            said: () => "First you see who gains and loses access, and how many live leases have more than the grant gives from then on: those end.",
            plan: (row, body) => ({ method: "PATCH", path: at(api("grants", row.id), DRY), body: regranted(row, body) }),
            send: (row, body) => ({ method: "PATCH", path: at(api("grants", row.id)), body: regranted(row, body) }),
            cli: (row, typed) => {
                const body = regranted(row, typed);
                return changing("grant set", row.id, (command) => {
                    const flags = repathed(command.with("access", other(row, body, "access")).secs("max-ttl", other(row, body, "max_ttl_secs")), row, body);
                    const until = other(row, body, "until");
                    return flags && ifs(flags.with("until", until).on("no-until", body.until === null).on("no-conditions", body.conditions === null), body.conditions ?? {});
                });
            },
        },
        removal((row) => api("grants", row.id), (row) => valetkey("grant rm").of(row.id)),
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
    cli: (query) => valetkey("group ls").having(query, "account"),
    empty: { said: "There is no group.", command: valetkey("group create").of("NAME").with("account", "ACCOUNT").with("member", "CALLER") },
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
        cli: (body) => valetkey("group create").of(body.name ?? "NAME").with("account", body.account ?? "ACCOUNT").with("member", body.members).with("provider", body.provider).with("claim", body.claims),
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
            cli: (row, body) => {
                const after = regrouped(row, body);
                return changing("group set", row.id, (command) =>
                    command
                        .with("add", after.members.filter((one: string) => !row.members.includes(one)))
                        .with("remove", row.members.filter((one: string) => !after.members.includes(one)))
                        .with("provider", other(row, body, "provider"))
                        .with("claim", other(row, body, "claims"))
                        .on("no-claims", !body.provider && row.provider),
                );
            },
        },
        removal((row) => api("groups", row.id), (row) => valetkey("group rm").of(row.id)),
    ],
};

/** A caller, as commands take it whoever says it. */
const who = (row: Row): string => `${row.account_name ?? row.account}/${row.name}`;

const callers: Resource = {
    name: "callers",
    title: "Callers",
    about: "Identities. Each is of one account, and proves itself with tokens.",
    path: api("callers"),
    field: "callers",
    query: { limit: 500 },
    filters: [{ name: "account", label: "Account", needs: "operator" }],
    cli: (query) => valetkey("caller ls").having(query, "account"),
    empty: { said: "There is no caller yet.", command: valetkey("token create").of("NAME").with("account", "ACCOUNT") },
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
        cli: () => "No command creates a caller by itself: `valetkey token create` does with its first token.",
    },
    actions: [
        standing("Suspend", "suspended", (row) => api("accounts", row.account, "callers", row.id), (row) => valetkey("caller suspend").of(who(row)), (row) => row.standing === "active", "admin"),
        standing("Activate", "active", (row) => api("accounts", row.account, "callers", row.id), (row) => valetkey("caller activate").of(who(row)), (row) => row.standing === "suspended", "admin"),
        {
            label: "End everything it holds",
            needs: "admin",
            danger: true,
            fields: () => [{ name: "tokens", label: "Its tokens, too", kind: "check" }],
            said: () => "Ends every credential vended to it so far. It may ask for new ones, if its tokens stay.",
            send: (row, body) => ({ method: "POST", path: at(api("revocations")), body: { caller: row.id, ...body } }),
            cli: (row, body) => valetkey(body.tokens ? "token revoke" : "revoke").with("caller", who(row)),
        },
        removal((row) => api("accounts", row.account, "callers", row.id), (row) => valetkey("caller rm").of(who(row)), { needs: "admin" }),
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
    cli: (query) => valetkey("token ls").having(query, "account", "caller"),
    empty: { said: "No token is in sight.", command: valetkey("token create").of("NAME").with("ttl", "90d") },
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
            { name: "role", label: "Role of a new caller", options: ROLES, none: "a member, if it is new" },
            { name: "expires_in_secs", label: "Ends after so many seconds", kind: "number", value: 90 * 86_400 },
            ...(me.role === "operator" ? [OUTLIVE] : []),
        ],
        send: (body) => ({ method: "POST", path: at(api("tokens")), body }),
        cli: (body) => valetkey("token create").of(body.caller ?? "CALLER").having(body, "account", "role").secs("ttl", body.expires_in_secs).on("outlive", body.outlive),
    },
    actions: [
        {
            label: "Change its end",
            when: (row) => !row.revoked,
            fields: () => [{ name: "expires_in_secs", label: "Ends after so many seconds, from now", kind: "number", required: true }],
            plan: (row, body) => ({ method: "PATCH", path: at(api("tokens", row.id), DRY), body }),
            send: (row, body) => ({ method: "PATCH", path: at(api("tokens", row.id)), body }),
            cli: (row, body) => valetkey("token set").of(row.id).secs("ttl", body.expires_in_secs ?? "SECS"),
        },
        removal((row) => api("tokens", row.id), (row) => valetkey("token revoke").of(row.id), {
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
    cli: () => valetkey("account ls"),
    empty: { said: "There is no account.", command: valetkey("account create").of("NAME") },
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
        cli: (body) => valetkey("account create").of(body.name ?? "NAME").having(body, "credits_per_vend"),
    },
    actions: [
        {
            label: "Add credits",
            needs: "operator",
            fields: () => [{ name: "credits", label: "Credits", kind: "number", required: true }],
            send: (row, body) => ({ method: "POST", path: at(api("accounts", row.id, "credits")), body }),
            cli: (row, body) => valetkey("account credit").of(row.name, body.credits ?? "N"),
        },
        standing("Suspend", "suspended", (row) => api("accounts", row.id), (row) => valetkey("account suspend").of(row.name), (row) => row.standing === "active", "operator"),
        standing("Activate", "active", (row) => api("accounts", row.id), (row) => valetkey("account activate").of(row.name), (row) => row.standing === "suspended", "operator"),
        removal((row) => api("accounts", row.id), (row) => valetkey("account rm").of(row.name), { fields: CASCADE }),
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
    cli: (query) => valetkey("workspace ls").having(query, "account", "bucket"),
    empty: { said: "There is no workspace.", command: valetkey("workspace create").of("KEY").with("account", "ACCOUNT").with("bucket", "BUCKET").on("everyone") },
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
            { name: "access", label: "Access", options: ["read-write", "read"], required: true },
        ],
        plan: (body) => ({ method: "POST", path: at(api("workspaces"), DRY), body }),
        send: (body) => ({ method: "POST", path: at(api("workspaces")), body }),
        cli: (body) => valetkey("workspace create").of(body.key ?? "KEY").with("account", body.account ?? "ACCOUNT").with("bucket", body.bucket ?? "BUCKET").with("prefix", body.prefix).with("caller", body.callers).on("read-only", body.access === "read"),
    },
    actions: [removal((row) => api("workspaces", row.id), (row) => valetkey("workspace rm").of(row.id), { typed: (row) => row.key })],
};

export const buckets: Resource = {
    name: "buckets",
    title: "Buckets",
    about: "On record here, each at one storage.",
    needs: "operator",
    path: api("buckets"),
    field: "buckets",
    cli: () => valetkey("bucket ls"),
    empty: { said: "There is no bucket.", command: valetkey("bucket create").of("NAME") },
    columns: [{ name: "Bucket", of: (row) => row.bucket }, { name: "Storage", of: (row) => row.storage }],
    id: (row) => row.bucket,
    create: {
        label: "Create a bucket",
        needs: "operator",
        fields: () => [{ name: "bucket", label: "Name", required: true }, { name: "storage", label: "Storage", hint: "the embedded one if not given" }],
        send: (body) => ({ method: "POST", path: at(api("buckets")), body }),
        cli: (body) => valetkey("bucket create").of(body.bucket ?? "NAME").having(body, "storage"),
    },
    actions: [removal((row) => api("buckets", row.bucket), (row) => valetkey("bucket rm").of(row.bucket), { fields: CASCADE })],
};

const datasets: Resource = {
    name: "datasets",
    title: "Datasets",
    about: "Directories that are offered under a topic, as TheirStack's API lists them.",
    needs: "operator",
    path: api("datasets"),
    field: "datasets",
    filters: [{ name: "bucket", label: "Bucket" }],
    cli: (query) => valetkey("dataset ls").having(query, "bucket"),
    empty: { said: "There is no dataset.", command: valetkey("dataset create").of("NAME", "s3://BUCKET/PREFIX").with("topic", "TOPIC") },
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
        cli: (body) => valetkey("dataset create").of(body.name ?? "NAME", `s3://${body.bucket ?? "BUCKET"}/${body.prefix ?? ""}`).with("topic", body.topic ?? "TOPIC").having(body, "description"),
    },
    actions: [removal((row) => api("datasets", row.id), (row) => valetkey("dataset rm").of(row.name), { fields: CASCADE })],
};

const parents: Resource = {
    name: "parent-keys",
    title: "Parent access keys",
    about: "Long-lived S3 keys in R2's form, whose holders sign narrower credentials themselves.",
    path: api("parent-keys"),
    field: "parent_keys",
    filters: [{ name: "account", label: "Account", needs: "operator" }, { name: "bucket", label: "Bucket" }],
    cli: (query) => valetkey("parent-key ls").having(query, "account", "bucket"),
    empty: { said: "There is no parent access key.", command: valetkey("parent-key create").on("help") },
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
            cli: (row) => valetkey("parent-key disable").of(row.access_key_id),
        },
    ],
};

export const RESOURCES: Resource[] = [grants, groups, callers, tokens, accounts, workspaces, buckets, datasets, parents];
