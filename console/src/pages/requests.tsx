// Requests for access for a time: what one asks for, what waits for one's word; and the rules of who may ask for what.
import { type Row, api, at } from "../api";
import { valetkey } from "../cli";
import type { Field } from "../form";
import type { Action, Resource } from "../list";
import { ACCESS, DRY, SCOPE, changing, having, opening, other, repathed, whom } from "../resources";
import { NO_COMMAND, Where, place, placed } from "../scope";
import { Badge, Time } from "../ui";

const waits = (row: Row): boolean => row.state === "pending";
const hours = (secs: number): string => (secs % 3600 === 0 ? `${secs / 3600} h` : `${Math.round(secs / 60)} min`);
const NOTE = (label: string): Field[] => [{ name: "note", label, hint: "for who asked; at most 500 bytes" }];

const decision = (label: string, what: "approve" | "deny", said: (row: Row) => string, danger?: boolean): Action => ({
    label,
    danger,
    when: (row) => waits(row) && row.may_decide,
    fields: () => NOTE(what === "deny" ? "Why not" : "What you say"),
    said,
    plan: what === "approve" ? (row, body) => ({ method: "POST", path: at(api("requests", row.id, what), DRY), body }) : undefined,
    send: (row, body) => ({ method: "POST", path: at(api("requests", row.id, what)), body }),
    cli: (row, body) => valetkey(`request ${what}`).of(row.id).having(body, "note"),
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
    cli: (query) => valetkey("request ls").having(query, "state").on("decide", query.decide === "true"),
    empty: { said: "Nobody asks for anything.", command: valetkey("request").of("s3://BUCKET/PREFIX").with("for", "2h").with("reason", "WHY") },
    columns: [
        { name: "Place", of: (row) => <Where row={row} /> },
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
            { name: "access", label: "Access", options: ACCESS, required: true, value: "read" },
            { name: "for_secs", label: "For so many seconds from its approval", kind: "number", required: true, value: 7200 },
            { name: "reason", label: "Why", required: true, hint: "for who approves it" },
            { name: "rule", label: "Rule", hint: "the first that all of it lies in, if empty" },
        ],
        send: (body) => ({ method: "POST", path: at(api("requests")), body }),
        cli: (body) => placed(valetkey("request"), body)?.secs("for", body.for_secs ?? "SECS").with("reason", body.reason ?? "WHY").having(body, "access", "rule") ?? NO_COMMAND,
    },
    actions: [
        decision("Approve", "approve", (row) => `${row.caller_name ?? row.caller} gets ${row.access} of ${place(row)} for ${hours(row.for_secs)} from now on. Why: ${row.reason}`),
        decision("Deny", "deny", () => "Nothing is granted.", true),
        {
            label: "Take it back",
            when: (row) => waits(row) && row.may_cancel,
            said: () => "Nobody can approve it any more.",
            send: (row) => ({ method: "DELETE", path: at(api("requests", row.id)) }),
            cli: (row) => valetkey("request cancel").of(row.id),
        },
    ],
};

const ruleFields = (row?: Row): Field[] => [
    { name: "name", label: "Name", required: true, value: row?.name },
    ...(row ? [] : [{ name: "account", label: "Account", hint: "whose callers may ask; empty: those of every account" }]),
    { name: "askers", label: "Only this caller of it", value: row?.askers ?? undefined, was: true, emptied: null, hint: "or group:NAME" },
    { name: "approvers", label: "Group whose members approve", required: true, value: row?.approvers, hint: "ACCOUNT/NAME" },
    ...(row ? [] : [{ name: "bucket", label: "Bucket", required: true }]),
    ...having(SCOPE, row ?? {}),
    { name: "access", label: "The most that may be asked for", options: ACCESS, required: !row, value: row ? undefined : "read" },
    { name: "max_secs", label: "The longest, in seconds", kind: "number", required: true, value: row?.max_secs ?? 86_400 },
];

const rules: Resource = {
    name: "request-rules",
    title: "Request rules",
    audited: true,
    about: "Who may ask for what, for how long, and who approves it.",
    path: api("request-rules"),
    field: "request_rules",
    cli: () => valetkey("request-rule ls"),
    empty: { said: "Nobody may ask for anything.", command: valetkey("request-rule create").on("help") },
    columns: [
        { name: "Name", of: (row) => row.name },
        { name: "Who asks", of: (row) => `${row.account_name ?? row.account ?? "every account"}${row.askers ? `/${row.askers}` : ""}` },
        { name: "Place", of: (row) => <Where row={row} /> },
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
        cli: (body) => {
            const command = placed(valetkey("request-rule create").of(body.name ?? "NAME"), body)?.having(body, "account").on("anybody", !body.account);
            if (!command) return NO_COMMAND;
            if (body.askers) whom(command, body.askers);
            return command.with("approvers", body.approvers ?? "GROUP").having(body, "access").secs("max", body.max_secs ?? "SECS");
        },
    },
    actions: [
        {
            label: "Change",
            needs: "operator",
            fields: (row) => ruleFields(row),
            said: () => "What was approved under it stays.",
            send: (row, body) => ({ method: "PATCH", path: at(api("request-rules", row.id)), body: opening(body) }),
            cli: (row, body) =>
                changing("request-rule set", row.id, (command) => {
                    const flags = repathed(command, row, body)?.with("name", other(row, body, "name")).with("approvers", other(row, body, "approvers"));
                    if (flags && (body.askers ?? null) !== (row.askers ?? null)) whom(flags, body.askers);
                    return flags?.with("access", other(row, body, "access")).secs("max", other(row, body, "max_secs"));
                }),
        },
        {
            label: "Remove",
            needs: "operator",
            danger: true,
            said: () => "What waits under it is cancelled; what was approved stays.",
            plan: (row) => ({ method: "DELETE", path: at(api("request-rules", row.id), DRY) }),
            send: (row) => ({ method: "DELETE", path: at(api("request-rules", row.id)) }),
            cli: (row) => valetkey("request-rule rm").of(row.id),
        },
    ],
};

export const REQUESTS = [requests, rules];
