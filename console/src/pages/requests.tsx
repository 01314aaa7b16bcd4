// Requests for access for a time: what one asks for, what waits for one's word; and the rules of who may ask for what.
import { type Row, api, at } from "../api";
import type { Field } from "../form";
import type { Action, Resource } from "../list";
import { ACCESS, DRY, SCOPE, flags, having, place, word } from "../resources";
import { Badge, Time } from "../ui";

const waits = (row: Row): boolean => row.state === "pending";
const hours = (secs: number): string => (secs % 3600 === 0 ? `${secs / 3600} h` : `${Math.round(secs / 60)} min`);
const NOTE = (label: string): Field[] => [{ name: "note", label, hint: "for who asked; at most 500 bytes" }];
const text = (body: Row): string => (body.note ? ` --note ${word(body.note)}` : "");

const decision = (label: string, what: "approve" | "deny", said: (row: Row) => string, danger?: boolean): Action => ({
    label,
    danger,
    when: (row) => waits(row) && row.may_decide,
    fields: () => NOTE(what === "deny" ? "Why not" : "What you say"),
    said,
    send: (row, body) => ({ method: "POST", path: at(api("requests", row.id, what)), body }),
    cli: (row, body) => `valetkey request ${what} ${row.id}${text(body)}`,
});

const requests: Resource = {
    name: "requests",
    title: "Requests",
    audited: true,
    about: "Access that is asked for, for a time: your own requests, and those that wait for your word.",
    path: api("requests"),
    field: "requests",
    query: { limit: 500 },
    filters: [{ name: "state", label: "State" }, { name: "decide", label: "Yours to decide (true)" }],
    cli: "valetkey request ls",
    empty: { said: "Nobody asks for anything.", command: "valetkey request s3://BUCKET/PREFIX --for 2h --reason WHY" },
    columns: [
        { name: "Place", of: (row) => <code>{place(row)}</code> },
        { name: "State", of: (row) => <Badge text={row.state} /> },
        { name: "Access", of: (row) => <Badge text={row.access} /> },
        { name: "For", of: (row) => hours(row.for_secs) },
        { name: "Who asks", of: (row) => `${row.account_name ?? row.account}/${row.caller_name ?? row.caller}` },
        { name: "Why", of: (row) => row.reason },
        { name: "Made", of: (row) => <Time at={row.created_at} /> },
        { name: "Decided by", of: (row) => row.decided_by_name ?? "" },
        { name: "Until", of: (row) => (row.until ? <Time at={row.until} /> : "") },
    ],
    id: (row) => row.id,
    create: {
        label: "Ask for access",
        needs: "member",
        fields: () => [
            { name: "bucket", label: "Bucket", required: true },
            ...SCOPE,
            { name: "access", label: "Access", options: ACCESS, value: "read" },
            { name: "for_secs", label: "For so many seconds from its approval", kind: "number", required: true, value: 7200 },
            { name: "reason", label: "Why", required: true, hint: "for who approves it" },
            { name: "rule", label: "Rule", hint: "the first that all of it lies in, if empty" },
        ],
        send: (body) => ({ method: "POST", path: at(api("requests")), body }),
        cli: (body) => `valetkey request ${word(place({ ...body, bucket: body.bucket ?? "BUCKET" }))} --for ${body.for_secs ?? "SECS"}s --reason ${word(body.reason ?? "WHY")}${flags(body, "access", "rule")}`,
    },
    actions: [
        decision("Approve", "approve", (row) => `${row.caller_name ?? row.caller} gets ${row.access} of ${place(row)} for ${hours(row.for_secs)} from now on. Why: ${row.reason}`),
        decision("Deny", "deny", () => "Nothing is granted.", true),
        {
            label: "Take it back",
            when: (row) => waits(row) && row.may_cancel,
            said: () => "Nobody can approve it any more.",
            send: (row) => ({ method: "DELETE", path: at(api("requests", row.id)) }),
            cli: (row) => `valetkey request cancel ${row.id}`,
        },
    ],
};

const ruleFields = (row?: Row): Field[] => [
    { name: "name", label: "Name", required: true, value: row?.name },
    ...(row ? [] : [{ name: "account", label: "Account", hint: "whose callers may ask; empty: those of every account" }]),
    { name: "askers", label: "Only this caller of it", value: row?.askers ?? undefined, hint: "or group:NAME" },
    { name: "approvers", label: "Group whose members approve", required: true, value: row?.approvers, hint: "ACCOUNT/NAME" },
    ...(row ? [] : [{ name: "bucket", label: "Bucket", required: true }]),
    ...having(SCOPE, row ?? {}),
    { name: "access", label: "The most that may be asked for", options: ACCESS, value: row ? undefined : "read" },
    { name: "max_secs", label: "The longest, in seconds", kind: "number", required: true, value: row?.max_secs ?? 86_400 },
];

const rules: Resource = {
    name: "request-rules",
    title: "Request rules",
    audited: true,
    about: "Who may ask for what, for how long, and who approves it.",
    path: api("request-rules"),
    field: "request_rules",
    cli: "valetkey request-rule ls",
    empty: { said: "Nobody may ask for anything.", command: "valetkey request-rule create --help" },
    columns: [
        { name: "Name", of: (row) => row.name },
        { name: "Who asks", of: (row) => `${row.account_name ?? row.account ?? "every account"}${row.askers ? `/${row.askers}` : ""}` },
        { name: "Place", of: (row) => <code>{place(row)}</code> },
        { name: "Access", of: (row) => <Badge text={row.access} /> },
        { name: "At most", of: (row) => hours(row.max_secs) },
        { name: "Who approves", of: (row) => row.approvers },
    ],
    id: (row) => row.id,
    create: {
        label: "Add a request rule",
        needs: "operator",
        fields: () => ruleFields(),
        send: (body) => ({ method: "POST", path: at(api("request-rules")), body: { ...body, account: body.account ?? null } }),
        cli: (body) => `valetkey request-rule create ${word(body.name ?? "NAME")} ${word(place({ ...body, bucket: body.bucket ?? "BUCKET" }))}${flags(body, "account", "approvers", "access")}`,
    },
    actions: [
        {
            label: "Change",
            needs: "operator",
            fields: (row) => ruleFields(row),
            said: () => "What was approved under it stays.",
            send: (row, body) => ({ method: "PATCH", path: at(api("request-rules", row.id)), body: { ...body, askers: body.askers ?? (row.askers ? null : undefined) } }),
            cli: (row, body) => `valetkey request-rule set ${word(row.name)}${flags(body, "approvers", "access")}`,
        },
        {
            label: "Remove",
            needs: "operator",
            danger: true,
            said: () => "What waits under it is cancelled; what was approved stays.",
            plan: (row) => ({ method: "DELETE", path: at(api("request-rules", row.id), DRY) }),
            send: (row) => ({ method: "DELETE", path: at(api("request-rules", row.id)) }),
            cli: (row) => `valetkey request-rule rm ${word(row.name)}`,
        },
    ],
};

export const REQUESTS = [requests, rules];
