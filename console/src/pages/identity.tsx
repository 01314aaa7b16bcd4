// Identity providers: whose tokens are taken, where people log in, and the rules that say who a token becomes.
import { useContext, useState } from "preact/hooks";
import { ROLES, type Row, api, at, get } from "../api";
import { valetkey } from "../cli";
import { Back, type Field, Form, type FormProps } from "../form";
import type { Resource } from "../list";
import { changing, other, removal } from "../resources";
import { Badge, Failure, MayChange, Time, useAsked } from "../ui";

const DRY = { dry_run: true };
const LOGIN: Field[] = [
    { name: "login_client_id", label: "Client as which people log in", hint: "public, with PKCE; one of the audiences. It has this console's /console/signed-in as a redirect address" },
    { name: "login_scopes", label: "Scopes a login asks for, one on a line", kind: "lines", hint: "openid and offline_access if empty" },
];

const ruleFields = (row: Row = {}): Field[] => [
    { name: "name", label: "Name", required: true, value: row.name },
    { name: "account", label: "Account", required: true, value: row.account_name ?? row.account },
    { name: "caller", label: "Caller", required: true, value: row.caller, hint: "a name, or one with one placeholder: ci-{repository_id}, {subject}" },
    { name: "claims", label: "Claims, one on a line", kind: "lines", required: true, value: row.claims?.join("\n"), hint: "name=value, or name=glob:refs/tags/*; all must hold" },
    { name: "role", label: "Role", options: ROLES, required: true, value: row.role },
    { name: "outlive_secs", label: "What is vended may outlive the token, in seconds from its first use", kind: "number", value: row.outlive_secs ?? undefined, was: true, emptied: 0 },
];

function Rules({ row, again }: { row: Row; again: () => void }) {
    const [form, set] = useState<FormProps>();
    const changes = useContext(MayChange);
    const asked = useAsked(() => get(api("identity-providers", row.id)), [row.id]);
    const done = () => {
        asked.again();
        again();
    };
    if (form) {
        return (
            <section>
                <h3>{form.label}</h3>
                <Form {...form} done={done} />
                <Back label="Back to the rules" wait={asked.busy} go={() => set(undefined)} />
            </section>
        );
    }
    const rules = api("identity-providers", row.id, "rules");
    const add: FormProps = {
        label: "Add a rule",
        fields: ruleFields(),
        send: (body) => ({ method: "POST", path: at(rules), body }),
        cli: (body) => valetkey("identity rule add").of(row.name, body.name ?? "NAME").with("account", body.account ?? "ACCOUNT").with("caller", body.caller ?? "CALLER").having(body, "role").with("claim", body.claims ?? "CLAIM=VALUE").secs("outlive", body.outlive_secs),
    };
    const change = (rule: Row): FormProps => {
        return {
            label: "Change the rule",
            said: "First you see how many live leases end: what came of the rule as it was.",
            fields: ruleFields(rule),
            plan: (body) => ({ method: "PATCH", path: at([...rules, rule.id], DRY), body }),
            send: (body) => ({ method: "PATCH", path: at([...rules, rule.id]), body }),
            cli: (body) =>
                changing("identity rule set", row.name, (command) =>
                    command
                        .of(rule.name)
                        .with("name", other(rule, body, "name"))
                        .with("account", body.account === (rule.account_name ?? rule.account) ? undefined : body.account)
                        .with("caller", other(rule, body, "caller"))
                        .with("claim", other(rule, body, "claims"))
                        .with("role", other(rule, body, "role"))
                        .secs("outlive", body.outlive_secs ? other(rule, body, "outlive_secs") : undefined)
                        .on("no-outlive", rule.outlive_secs && !body.outlive_secs),
                ),
        };
    };
    const remove = (rule: Row): FormProps => ({
        label: "Remove the rule",
        danger: true,
        said: "Who it let in is let in no more, and what was vended to them ends.",
        fields: [],
        plan: () => ({ method: "DELETE", path: at([...rules, rule.id], DRY) }),
        send: () => ({ method: "DELETE", path: at([...rules, rule.id]) }),
        cli: () => valetkey("identity rule rm").of(row.name, rule.name),
    });
    const known: Row[] = asked.value?.rules ?? [];
    return (
        <section>
            <h3>Rules</h3>
            <Failure error={asked.error} />
            {asked.value && known.length === 0 && <p class="none">none yet: its tokens let in nobody</p>}
            <ol class="rules">
                {known.map((rule) => (
                    <li>
                        <strong>{rule.name}</strong>: {rule.claims.map((claim: string) => <code>{claim} </code>)} is{" "}
                        <code>
                            {rule.account_name ?? rule.account}/{rule.caller}
                        </code>{" "}
                        <Badge text={rule.role} />{" "}
                        {changes && (
                            <>
                                <button type="button" class="small" disabled={asked.busy} aria-label={`Change ${rule.name}…`} onClick={() => set(change(rule))}>
                                    Change…
                                </button>{" "}
                                <button type="button" class="small" aria-label={`Remove ${rule.name}…`} onClick={() => set(remove(rule))}>
                                    Remove…
                                </button>
                            </>
                        )}
                    </li>
                ))}
            </ol>
            {changes && (
                <div class="buttons">
                    <button type="button" onClick={() => set(add)}>
                        Add a rule…
                    </button>
                </div>
            )}
        </section>
    );
}

export const providers: Resource = {
    name: "identity-providers",
    title: "Identity providers",
    about: "Whose tokens are taken for who a caller is, and under which rules.",
    needs: "operator",
    path: api("identity-providers"),
    field: "identity_providers",
    cli: () => valetkey("identity ls"),
    empty: { said: "No identity provider is trusted: only tokens made here prove a caller.", command: valetkey("identity add").on("help") },
    columns: [
        { name: "Name", of: (row) => row.name },
        { name: "Issuer", of: (row) => <code>{row.issuer}</code> },
        { name: "Rules", of: (row) => row.rules.length },
        { name: "People log in", of: (row) => (row.login_client_id ? "yes" : "no") },
        { name: "Preset", of: (row) => row.preset },
        { name: "Made", of: (row) => <Time at={row.made} /> },
    ],
    id: (row) => row.id,
    hidden: ["rules"],
    create: {
        label: "Trust a provider",
        needs: "operator",
        fields: () => [
            { name: "name", label: "Name", required: true },
            { name: "preset", label: "Preset", hint: "github, gitlab, kubernetes, google, entra, okta, keycloak; empty: any other" },
            { name: "issuer", label: "Issuer", hint: "a URL; a preset may know it" },
            { name: "audiences", label: "Audiences, one on a line", kind: "lines", required: true },
            ...LOGIN,
        ],
        send: (body) => ({ method: "POST", path: at(api("identity-providers")), body }),
        cli: (body) => valetkey("identity add").of(body.name ?? "NAME").having(body, "preset", "issuer").with("audience", body.audiences ?? "AUDIENCE").having(body, "login_client_id").with("login-scope", body.login_scopes),
    },
    more: (row, again) => <Rules row={row} again={again} />,
    actions: [
        {
            label: "Change",
            needs: "operator",
            fields: (row) => [
                { name: "name", label: "Name", required: true, value: row.name },
                { name: "issuer", label: "Issuer", required: true, value: row.issuer },
                { name: "audiences", label: "Audiences, one on a line", kind: "lines", required: true, value: row.audiences.join("\n") },
                { ...LOGIN[0]!, value: row.login_client_id ?? undefined },
                { ...LOGIN[1]!, value: row.login_scopes?.join("\n") },
            ],
            said: () => "First you see how many live leases end: what came of the provider as it was.",
            plan: (row, body) => ({ method: "PATCH", path: at(api("identity-providers", row.id), DRY), body: changed(row, body) }),
            send: (row, body) => ({ method: "PATCH", path: at(api("identity-providers", row.id)), body: changed(row, body) }),
            cli: (row, body) =>
                changing("identity set", row.name, (command) =>
                    command
                        .with("name", other(row, body, "name"))
                        .with("issuer", other(row, body, "issuer"))
                        .with("audience", other(row, body, "audiences"))
                        .with("login-client-id", other(row, body, "login_client_id"))
                        .with("login-scope", body.login_client_id && other(row, body, "login_scopes"))
                        .on("no-login", row.login_client_id && !body.login_client_id),
                ),
        },
        {
            label: "End sessions",
            needs: "operator",
            danger: true,
            fields: () => [{ name: "rule", label: "Only of this rule" }, { name: "subject", label: "Only of this subject" }],
            said: () => "Ends what its tokens opened, and what was vended to them.",
            send: (row, body) => ({ method: "POST", path: at(api("identity-providers", row.id, "revocations")), body }),
            cli: (row, body) => valetkey("identity end").of(row.name).having(body, "rule", "subject"),
        },
        removal((row) => api("identity-providers", row.id), (row) => valetkey("identity rm").of(row.name)),
    ],
};

/** What is changed of a provider: a client that was emptied is nobody's. */
function changed(row: Row, body: Row): Row {
    const login = body.login_client_id ?? (row.login_client_id ? "" : undefined);
    return { ...body, login_client_id: login, login_scopes: login ? body.login_scopes : undefined };
}
