// Shares: tables that are given to recipients, and the links with which these download their profile once.
import type { ComponentChildren } from "preact";
import { useContext, useState } from "preact/hooks";
import { type Row, api, at, get } from "../api";
import { valetkey } from "../cli";
import { Back, Form, type FormProps } from "../form";
import type { Resource } from "../list";
import { Badge, Failure, MayChange, Time, useAsked } from "../ui";

function Contents({ row }: { row: Row }) {
    const [form, set] = useState<FormProps>();
    const changes = useContext(MayChange);
    const { value, error, again } = useAsked(
        async () => {
            const [tables, recipients] = await Promise.all([get(api("shares", row.id, "tables")), get(api("shares", row.id, "recipients"))]);
            return { tables: tables.tables as Row[], recipients: recipients.recipients as Row[] };
        },
        [row.id],
    );
    const open = (form: FormProps) => set({ ...form, done: again });
    const list = (title: string, rows: Row[], shown: (row: Row) => ComponentChildren, takes: (row: Row) => FormProps) => (
        <section>
            <h3>{title}</h3>
            {rows.length === 0 && <p class="none">none yet</p>}
            <ul class="plain">
                {rows.map((one) => (
                    <li>
                        {shown(one)}{" "}
                        {changes && (
                            <button type="button" class="small" onClick={() => open(takes(one))}>
                                Take out…
                            </button>
                        )}
                    </li>
                ))}
            </ul>
        </section>
    );
    if (form) {
        return (
            <section>
                <h3>{form.label}</h3>
                <Form {...form} />
                <Back label="Back to the share" go={() => set(undefined)} />
            </section>
        );
    }
    const addTable: FormProps = {
        label: "Put in a table",
        fields: [
            { name: "schema", label: "Schema", required: true },
            { name: "name", label: "Table", required: true },
            { name: "bucket", label: "Bucket", required: true },
            { name: "root", label: "Directory of the table", required: true },
            { name: "access", label: "Access", options: ["url", "dir", "both"], none: "every way its storage has", hint: "how recipients read it" },
        ],
        send: (body) => ({ method: "POST", path: at(api("shares", row.id, "tables")), body }),
        cli: (body) => valetkey("share table add").of(row.name, `${body.schema ?? "SCHEMA"}.${body.name ?? "TABLE"}`, `s3://${body.bucket ?? "BUCKET"}/${body.root ?? ""}`).having(body, "access"),
    };
    const give: FormProps = {
        label: "Give it to an account",
        fields: [
            { name: "account", label: "Account", required: true },
            { name: "to", label: "Only its caller", hint: "empty: everyone of the account" },
            { name: "until", label: "Until" },
        ],
        send: (body) => ({ method: "POST", path: at(api("shares", row.id, "recipients")), body: { ...body, to: body.to ?? null } }),
        cli: (body) => valetkey("share grant").of(row.name).with("to", `${body.account ?? "ACCOUNT"}${body.to ? `/${body.to}` : ""}`).having(body, "until"),
    };
    const link: FormProps = {
        label: "Make a profile link",
        said: "The profile can be downloaded once with the link, by anyone who has it. The token in it is made at the download.",
        fields: [
            { name: "account", label: "Recipient's account", required: true },
            { name: "caller", label: "Recipient's caller", required: true, hint: "made, as a member, if there is none" },
            { name: "link_ttl_secs", label: "The link lives for so many seconds", kind: "number", value: 3 * 86_400 },
        ],
        send: (body) => ({ method: "POST", path: at(api("share-links")), body }),
        cli: (body) => valetkey("share profile create").with("account", body.account ?? "ACCOUNT").with("caller", body.caller ?? "CALLER").on("link").secs("link-ttl", body.link_ttl_secs),
    };
    return (
        <>
            <Failure error={error} />
            {value &&
                list(
                    "Tables",
                    value.tables,
                    (one) => (
                        <>
                            {one.schema}.{one.name} <code>{`s3://${one.bucket}/${one.root}`}</code> <Badge text={one.format ?? "either format"} /> <Badge text={one.access} />
                        </>
                    ),
                    (one) => ({
                        label: "Take out the table",
                        danger: true,
                        said: `Recipients no longer see ${one.schema}.${one.name}.`,
                        fields: [{ name: "end_credentials", label: "End what was vended of it, too", kind: "check" }],
                        send: (body) => ({ method: "DELETE", path: at(api("shares", row.id, "tables", one.id), body) }),
                        cli: (body) => valetkey("share table rm").of(row.name, `${one.schema}.${one.name}`).on("keep-credentials", !body.end_credentials),
                    }),
                )}
            {value &&
                list(
                    "Recipients",
                    value.recipients,
                    (one) => (
                        <>
                            {one.account} {one.to && <code>{one.to}</code>} <Time at={one.until} none="without an end" />
                        </>
                    ),
                    (one) => ({
                        label: "Take it from the recipient",
                        danger: true,
                        said: "It no longer sees the share.",
                        fields: [{ name: "end_credentials", label: "End what was vended of it, too", kind: "check" }],
                        send: (body) => ({ method: "DELETE", path: at(api("shares", row.id, "recipients", one.account), { ...body, caller: one.to }) }),
                        cli: (body) => valetkey("share ungrant").of(row.name).with("from", `${one.account}${one.to ? `/${one.to}` : ""}`).on("keep-credentials", !body.end_credentials),
                    }),
                )}
            <div class="buttons">
                {(changes ? [addTable, give, link] : []).map((form) => (
                    <button type="button" onClick={() => open(form)}>
                        {form.label}…
                    </button>
                ))}
            </div>
        </>
    );
}

export const shares: Resource = {
    name: "shares",
    title: "Shares",
    about: "Tables given to recipients by Delta Sharing. A share makes and removes the grants for them in the same step.",
    needs: "operator",
    path: api("shares"),
    field: "shares",
    filters: [{ name: "account", label: "Account" }],
    cli: (query) => valetkey("share ls").having(query, "account"),
    empty: { said: "There is no share.", command: valetkey("share create").of("NAME") },
    columns: [
        { name: "Name", of: (row) => row.name },
        { name: "Account", of: (row) => row.account_name ?? row.account },
        { name: "Comment", of: (row) => row.comment ?? "" },
        { name: "Made", of: (row) => <Time at={row.made} /> },
    ],
    id: (row) => row.id,
    create: {
        label: "Create a share",
        needs: "operator",
        fields: () => [{ name: "name", label: "Name", required: true }, { name: "comment", label: "Comment" }],
        send: (body) => ({ method: "POST", path: at(api("shares")), body }),
        cli: (body) => valetkey("share create").of(body.name ?? "NAME").having(body, "comment"),
    },
    more: (row) => <Contents row={row} />,
    actions: [
        {
            label: "Remove",
            needs: "operator",
            danger: true,
            typed: (row) => row.name,
            said: () => "Its recipients lose all its tables, and the credentials vended of it end.",
            send: (row) => ({ method: "DELETE", path: at(api("shares", row.id), { end_credentials: true }) }),
            cli: (row) => valetkey("share rm").of(row.name),
        },
    ],
};
