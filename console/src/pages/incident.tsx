// Something leaked: whose it is, what it opens, what ends, and what still works afterwards.
import { useState } from "preact/hooks";
import { type Row, api, ask, at } from "../api";
import { Badge, Failure, Fields, Heading, Time } from "../ui";

export function Incident() {
    const [what, setWhat] = useState("");
    const [state, set] = useState<{ busy?: boolean; told?: Row; error?: unknown }>({});
    const run = async (dry_run: boolean) => {
        set({ ...state, busy: true, error: undefined });
        try {
            set({ told: await ask({ method: "POST", path: at(api("incidents")), body: { what: what.trim(), dry_run } }) });
            // It is a secret: once it is dealt with, the page does not keep it.
            if (!dry_run) setWhat("");
        } catch (error) {
            set({ error });
        }
    };
    const { told } = state;
    return (
        <>
            <Heading title="Something leaked" about="Paste a token, an access key id or a signed credential. First you see what it is; nothing ends before you say so." cli="valetkey incident - --dry-run < leaked.txt" />
            <form
                onSubmit={(event) => {
                    event.preventDefault();
                    void run(true);
                }}
            >
                <div class="field">
                    <label for="what">What leaked</label>
                    <input id="what" type="password" required value={what} onInput={(event) => setWhat(event.currentTarget.value)} autocomplete="off" spellcheck={false} />
                </div>
                <div class="buttons">
                    <button type="submit" class="primary" disabled={state.busy}>
                        Show what it is
                    </button>
                    <button type="button" class="danger" disabled={state.busy || !told?.dry_run} onClick={() => run(false)}>
                        End it and what it made
                    </button>
                </div>
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
