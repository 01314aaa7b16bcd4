// Forms: fields, a look at what would happen where the server can say it, then the change; and what came of it.
import { useState } from "preact/hooks";
import { type Request, type Row, ask } from "./api";
import { Difference } from "./difference";
import { Cli, Copy, Failure, Value } from "./ui";

export interface Field {
    name: string;
    label: string;
    kind?: "text" | "number" | "check" | "lines" | "secret" | "json";
    options?: string[];
    required?: boolean;
    hint?: string;
    value?: any;
}

/** What is sent for what was typed: nothing for what is empty. */
export function filled(fields: Field[], typed: Row): Row {
    const body: Row = {};
    for (const { name, kind } of fields) {
        const value = typed[name];
        if (value === undefined || value === "" || value === false) continue;
        if (kind === "number") body[name] = Number(value);
        else if (kind === "lines") body[name] = String(value).split("\n").map((line) => line.trim()).filter(Boolean);
        else if (kind === "json") body[name] = JSON.parse(value);
        else body[name] = value;
    }
    return body;
}

function Input({ field, value, set }: { field: Field; value: any; set: (value: any) => void }) {
    const { name, label, kind = "text", options, required, hint } = field;
    const common = { id: `field-${name}`, name, required, "aria-describedby": hint ? `hint-${name}` : undefined };
    const typed = (event: Event) => set((event.currentTarget as HTMLInputElement).value);
    let input;
    if (options) {
        input = (
            <select {...common} value={value ?? ""} onChange={typed}>
                {!required && <option value="">as it is</option>}
                {options.map((option) => (
                    <option value={option}>{option}</option>
                ))}
            </select>
        );
    } else if (kind === "check") {
        input = <input {...common} type="checkbox" checked={!!value} onChange={(event) => set(event.currentTarget.checked)} />;
    } else if (kind === "lines" || kind === "json") {
        input = <textarea {...common} rows={3} value={value ?? ""} onInput={typed} spellcheck={false} />;
    } else {
        const text = { ...common, value: value ?? "", onInput: typed, autocomplete: "off" as const, spellcheck: false };
        if (kind === "number") input = <input {...text} type="number" />;
        else if (kind === "secret") input = <input {...text} type="password" />;
        else input = <input {...text} type="text" />;
    }
    return (
        <div class={kind === "check" ? "field check" : "field"}>
            <label for={common.id}>
                {label}
                {required && <span aria-hidden="true"> *</span>}
            </label>
            {input}
            {hint && <small id={`hint-${name}`}>{hint}</small>}
        </div>
    );
}

const SECRETS = ["token", "url", "secret_access_key", "client_secret"];

/** What came of a change, said as the server said it. What is secret is shown this once. */
export function Outcome({ of }: { of: Row | null }) {
    if (!of) return <p role="status" class="done">Done.</p>;
    const secrets = SECRETS.filter((name) => typeof of[name] === "string" && (name !== "token" || of[name].startsWith("vk")));
    const told = ["ended", "leases", "tokens", "tokens_ended", "made_ended", "still_taken", "cuts", "notes", "refused", "with", "needs", "done"];
    const shown = told.filter((name) => of[name] !== undefined && of[name] !== null && !(Array.isArray(of[name]) && of[name].length === 0));
    return (
        <div role="status" class="done">
            <p>{of.dry_run === true ? "This would happen:" : "Done."}</p>
            {secrets.map((name) => (
                <p class="secret">
                    <span class="label">{name.replaceAll("_", " ")}, shown this once</span> <code>{of[name]}</code> <Copy text={of[name]} />
                </p>
            ))}
            {Array.isArray(of.access_changes) && of.dry_run === true && <Difference of={of.access_changes} />}
            {shown.length > 0 && (
                <dl>
                    {shown.map((name) => (
                        <div>
                            <dt>{name.replaceAll("_", " ")}</dt>
                            <dd>
                                <Value of={of[name]} />
                            </dd>
                        </div>
                    ))}
                </dl>
            )}
        </div>
    );
}

export interface FormProps {
    label: string;
    fields: Field[];
    /** The request, from what was typed. */
    send: (body: Row) => Request;
    /** The same that only says what would happen. */
    plan?: (body: Row) => Request;
    /** What has to be typed before it happens. */
    typed?: string;
    said?: string;
    cli?: (body: Row) => string;
    danger?: boolean;
    done?: () => void;
}

export function Form(props: FormProps) {
    const { label, fields, send, plan, typed, said, cli, danger, done } = props;
    const first = Object.fromEntries(fields.map((field) => [field.name, field.value ?? (field.required && field.options ? field.options[0] : undefined)]));
    const [values, setValues] = useState<Row>(first);
    const [word, setWord] = useState("");
    const [busy, setBusy] = useState(false);
    const [planned, setPlanned] = useState<Row>();
    const [outcome, setOutcome] = useState<{ of: Row | null }>();
    const [error, setError] = useState<unknown>();
    const body = (): Row => filled(fields, values);
    const submit = async (event: Event) => {
        event.preventDefault();
        setBusy(true);
        setError(undefined);
        try {
            if (plan && !planned) setPlanned(await ask(plan(body())));
            else {
                setOutcome({ of: await ask(send(body())) });
                setPlanned(undefined);
                done?.();
            }
        } catch (error) {
            setError(error);
            setPlanned(undefined);
        } finally {
            setBusy(false);
        }
    };
    if (outcome) return <Outcome of={outcome.of} />;
    let command: string | undefined;
    try {
        command = cli?.(body());
    } catch {
        command = undefined;
    }
    const confirmed = !typed || word === typed;
    return (
        <form onSubmit={submit} class={danger ? "danger" : ""}>
            {said && <p>{said}</p>}
            {fields.map((field) => (
                <Input
                    field={field}
                    value={values[field.name]}
                    set={(value) => {
                        setValues({ ...values, [field.name]: value });
                        setPlanned(undefined);
                    }}
                />
            ))}
            {planned && <Outcome of={{ ...planned, dry_run: true }} />}
            {typed && (
                <div class="field">
                    <label for="typed">
                        Type <code>{typed}</code> to confirm
                    </label>
                    <input id="typed" value={word} onInput={(event) => setWord(event.currentTarget.value)} autocomplete="off" spellcheck={false} />
                </div>
            )}
            <Failure error={error} />
            {command && <Cli command={command} />}
            <div class="buttons">
                <button type="submit" class={danger ? "danger" : "primary"} disabled={busy || !confirmed}>
                    {plan && !planned ? "Show what would happen" : label}
                </button>
            </div>
        </form>
    );
}
