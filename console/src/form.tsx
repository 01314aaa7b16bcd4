// Forms: fields, a look at what would happen where the server can say it, then the change; and what came of it.
import { useContext, useEffect, useRef, useState } from "preact/hooks";
import { Refusal, type Request, type Row, ask } from "./api";
import type { Command } from "./cli";
import { Difference } from "./difference";
import { Cli, Copy, Failure, Hold, Value, useHold } from "./ui";

export interface Field {
    name: string;
    label: string;
    kind?: "text" | "number" | "check" | "lines" | "secret" | "json";
    /** Of a secret that is more than a text. */
    secret?: "json";
    options?: string[];
    required?: boolean;
    hint?: string;
    value?: any;
    /** What nothing chosen means, where there are options. */
    none?: string;
    /** What is sent where something was taken out; without it nothing can be. */
    emptied?: null | string | number | string[];
    /** Whether what it has was there before: only then there is something to take out. */
    was?: boolean;
}

/** A slip that is seen before anything is sent. */
export const slip = (field: string, said: string): Refusal => new Refusal(0, said, "", field);

const empty = (value: any): boolean => value === undefined || value === null || value === "" || value === false;

/** What is sent for what was typed: nothing for what is empty. */
export function filled(fields: Field[], typed: Row): Row {
    const body: Row = {};
    for (const { name, label, kind, secret, was, emptied, value: before } of fields) {
        const value = typed[name];
        if (empty(value) || (kind === "lines" && String(value).trim() === "")) {
            if (!was || empty(before)) continue;
            if (emptied === undefined) throw slip(name, `“${label}” can be changed, and not taken away: say what it is to be`);
            body[name] = emptied;
        } else if (kind === "number") body[name] = Number(value);
        else if (kind === "lines") body[name] = String(value).split("\n").map((line) => line.trim()).filter(Boolean);
        else if (kind === "json" || secret === "json") {
            try {
                body[name] = JSON.parse(value);
            } catch (error) {
                throw slip(name, `that is no JSON${secret ? "" : `: ${error instanceof Error ? error.message : error}`}`);
            }
        } else body[name] = value;
    }
    return body;
}

function Input({ field, value, set }: { field: Field; value: any; set: (value: any) => void }) {
    const { name, label, kind = "text", options, required, hint, none = "as it is" } = field;
    const common = { id: `field-${name}`, name, required, "aria-describedby": hint ? `hint-${name}` : undefined };
    const typed = (event: Event) => set((event.currentTarget as HTMLInputElement).value);
    let input;
    if (options) {
        input = (
            <select {...common} value={value ?? ""} onChange={typed}>
                {!required && <option value="">{none}</option>}
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

/** A secret that is shown this once: its dialog stays until somebody has it. */
function Once({ name, text }: { name: string; text: string }) {
    const [had, set] = useState(false);
    useHold(`secret ${name}`, !had);
    return (
        <p class="secret">
            <span class="label">{name.replaceAll("_", " ")}, shown this once</span> <code>{text}</code> <Copy text={text} copied={() => set(true)} />{" "}
            {!had && (
                <button type="button" class="small" onClick={() => set(true)}>
                    I have it
                </button>
            )}
        </p>
    );
}

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
                <Once name={name} text={of[name]} />
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

/** Back to where a form was opened; not while it would lose something, or what is there is still that of before. */
export function Back({ label = "Back", wait, go }: { label?: string; wait?: boolean; go: () => void }) {
    const { held } = useContext(Hold);
    return (
        <button type="button" class="small" disabled={held || wait} onClick={go}>
            {label}
        </button>
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
    /** The command that does the same, or why none does. */
    cli: (body: Row) => Command | string;
    danger?: boolean;
    done?: () => void;
}

export function Form(props: FormProps) {
    const { label, fields, send, plan, typed, said, cli, danger, done } = props;
    const first = Object.fromEntries(fields.map((field) => [field.name, field.value ?? (field.required && field.options ? field.options[0] : undefined)]));
    const [values, setValues] = useState<Row>(first);
    const [word, setWord] = useState("");
    const [busy, setBusy] = useState(false);
    // What was planned is what is sent: with an answer stands what it is the answer to.
    const [planned, setPlanned] = useState<{ answer: Row; body: Row }>();
    const [outcome, setOutcome] = useState<{ of: Row | null }>();
    const [error, setError] = useState<unknown>();
    const version = useRef(0);
    const button = useRef<HTMLButtonElement>(null);
    const edit = (name: string, value: any) => {
        version.current += 1;
        setValues((before) => ({ ...before, [name]: value }));
        setPlanned(undefined);
        setWord("");
    };
    const submit = async (event: Event) => {
        event.preventDefault();
        if (busy) return;
        const own = version.current;
        setBusy(true);
        setError(undefined);
        try {
            if (plan && !planned) {
                const body = filled(fields, values);
                const answer = await ask(plan(body));
                if (own === version.current) setPlanned({ answer: { ...answer, dry_run: true }, body });
            } else {
                setOutcome({ of: await ask(send(planned ? planned.body : filled(fields, values))) });
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
    useEffect(() => {
        // What is disabled loses the focus.
        if (!busy && button.current && document.activeElement === document.body) button.current.focus();
    }, [busy]);
    if (outcome) return <Outcome of={outcome.of} />;
    let command: Command | string | undefined;
    try {
        command = cli(filled(fields, values));
    } catch {
        command = undefined;
    }
    const last = !plan || !!planned;
    const confirmed = !last || !typed || word === typed;
    return (
        <form onSubmit={submit} class={danger ? "danger" : ""} aria-busy={busy}>
            <fieldset disabled={busy}>
                {said && <p>{said}</p>}
                {fields.map((field) => (
                    <Input field={field} value={values[field.name]} set={(value) => edit(field.name, value)} />
                ))}
                {planned && <Outcome of={planned.answer} />}
                {typed && last && (
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
                    <button type="submit" ref={button} class={danger ? "danger" : "primary"} disabled={!confirmed}>
                        {last ? label : "Show what would happen"}
                    </button>
                </div>
            </fieldset>
        </form>
    );
}
