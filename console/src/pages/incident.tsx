// Something leaked: whose it is, what it opens, what ends, and what still works afterwards.
import { useRef, useState } from "preact/hooks";
import { type Row, api, ask, at } from "../api";
import { valetkey } from "../cli";
import { Badge, Failure, Fields, Heading, Time } from "../ui";

export function Incident() {
    const [what, setWhat] = useState("");
    // What was looked at is what is ended, whatever is typed meanwhile.
    const [state, set] = useState<{ busy?: boolean; told?: Row; looked?: string; error?: unknown }>({});
    const version = useRef(0);
    const typed = (text: string) => {
        version.current += 1;
        setWhat(text);
        set({});
    };
    const run = async (what: string, dry_run: boolean) => {
        const own = version.current;
        set((before) => ({ ...before, busy: true, error: undefined }));
        const told = (next: typeof state) => own === version.current && set(next);
        try {
            const answer = await ask({ method: "POST", path: at(api("incidents")), body: { what, dry_run } });
            told({ told: answer, looked: dry_run ? what : undefined });
            // It is a secret: once it is dealt with, the page does not keep it.
            if (!dry_run && own === version.current) setWhat("");
        } catch (error) {
            told({ error });
        }
    };
    const { told, looked } = state;
    return (
        <>
            <Heading title="Something leaked" about="Paste a token, an access key id or a signed credential. First you see what it is; nothing ends before you say so." cli={valetkey("incident").of("-").on("dry-run").from("leaked.txt")} />
            <form
                aria-busy={!!state.busy}
                onSubmit={(event) => {
                    event.preventDefault();
                    void run(what.trim(), true);
                }}
            >
                <fieldset disabled={state.busy}>
                    <div class="field">
                        <label for="what">What leaked</label>
                        <input id="what" type="password" required value={what} onInput={(event) => typed(event.currentTarget.value)} autocomplete="off" spellcheck={false} />
                    </div>
                    <div class="buttons">
                        <button type="submit" class="primary">
                            Show what it is
                        </button>
                        <button type="button" class="danger" disabled={looked === undefined} onClick={() => looked !== undefined && run(looked, false)}>
                            End it and what it made
                        </button>
                    </div>
                </fieldset>
            </form>
            <Failure error={state.error} />
            {told && (
                <section role="status" class="done">
                    <p>
                        {told.dry_run ? "This would end:" : "Ended:"} {told.ended.leases} leases, {told.ended.tokens} tokens. It is a <Badge text={told.kind} />
                    </p>
                    {told.still_works.length > 0 && <h2>What still works</h2>}
                    <ul class="plain">
                        {told.still_works.map((one: Row) => (
                            <li>
                                {one.what} {one.until && <>until <Time at={one.until} /></>} {one.command && <code>{one.command}</code>}
                            </li>
                        ))}
                    </ul>
                    <h2>Whose it is</h2>
                    {told.whose.map((one: Row) => (
                        <Fields of={one} />
                    ))}
                </section>
            )}
        </>
    );
}
