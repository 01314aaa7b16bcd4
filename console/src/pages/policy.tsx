// Policy: the sets that files own, what was changed behind their back, and what a document would change.
import { useState } from "preact/hooks";
import { type Row, api, ask, at, get } from "../api";
import { valetkey } from "../cli";
import { Difference } from "../difference";
import { type Place, Link } from "../router";
import { Badge, Copy, Empty, Failure, Fields, Heading, Time, Value, useAsked } from "../ui";

const ABOUT = "Accounts, callers, grants and datasets that reviewed files own, set by set.";

async function look(owner?: string) {
    const { sets } = await get<{ sets: string[] }>(api("policy"));
    const chosen = owner ?? sets[0];
    const [set, changes] = await Promise.all([
        chosen === undefined ? undefined : get(api("policy"), { owner: chosen }),
        get(api("audit"), { noun: "policy", limit: 20 }),
    ]);
    return { sets, chosen, set, applied: changes.changes as Row[] };
}

function Drift({ of }: { of: Row[] }) {
    if (of.length === 0) return <p>Nothing: all is as the files said.</p>;
    return (
        <ul class="plain drift">
            {of.map((one) => (
                <li class="card">
                    <p>
                        <code>{one.thing}</code> <Badge text={one.how} /> <small>{one.source}</small>
                    </p>
                    <div class="cards">
                        <section>
                            <h3>The files said</h3>
                            <Value of={one.applied} />
                        </section>
                        <section>
                            <h3>It is</h3>
                            <Value of={one.now} />
                        </section>
                    </div>
                </li>
            ))}
        </ul>
    );
}

function Planned({ of }: { of: Row }) {
    return (
        <section role="status" class="done" aria-label="What applying would change">
            <p>
                {of.objects.length} {of.objects.length === 1 ? "thing changes" : "things change"}, {of.leases.ended}
                {of.leases.at_least ? " or more" : ""} live leases end, {of.failed.length} of {of.tests} tests do not hold.
            </p>
            <ul class="plain">
                {of.failed.map((one: Row) => (
                    <li>
                        <Badge text="failed" /> {one.source}: {one.said}
                    </li>
                ))}
                {of.objects.map((one: Row) => (
                    <li>
                        <Badge text={one.op} /> <code>{one.thing}</code>
                        {one.fields.length > 0 && <Fields of={Object.fromEntries(one.fields.map((field: Row) => [field.field, { before: field.before, after: field.after }]))} />}
                    </li>
                ))}
            </ul>
            <Difference of={of.access} />
        </section>
    );
}

function Plan({ document }: { document: string }) {
    const [text, setText] = useState(document);
    const [told, setTold] = useState<{ plan?: Row; error?: unknown; busy?: boolean }>({});
    const submit = async (event: Event) => {
        event.preventDefault();
        setTold({ busy: true });
        try {
            setTold({ plan: await ask({ method: "POST", path: at(api("policy", "plan")), body: { document: JSON.parse(text), sources: {} } }) });
        } catch (error) {
            setTold({ error: error instanceof SyntaxError ? new Error(`That is no JSON: ${error.message}`) : error });
        }
    };
    return (
        <form onSubmit={submit}>
            <div class="field">
                <label for="document">The set as a document, in JSON</label>
                <textarea id="document" class="document" rows={14} value={text} onInput={(event) => setText(event.currentTarget.value)} spellcheck={false} />
                <small>Change it and look at what applying it would do: nothing is applied here. Files are applied by the command line.</small>
            </div>
            <Failure error={told.error} />
            <div class="buttons">
                <button type="submit" disabled={told.busy}>
                    Show what would happen
                </button>
                <Copy text={text} />
            </div>
            {told.plan && <Planned of={told.plan} />}
        </form>
    );
}

export function Policy({ place }: { place: Place }) {
    const owner = place.query.owner;
    const { value, error, again } = useAsked(() => look(owner), ["policy", owner]);
    const chosen = value?.chosen;
    return (
        <>
            <Heading title="Policy" about={ABOUT} cli={chosen ? valetkey("policy drift").with("owner", chosen) : valetkey("policy plan").of("FILE")}>
                <button type="button" onClick={again}>
                    Reload
                </button>
            </Heading>
            <Failure error={error} />
            {value && value.sets.length === 0 && <Empty said="No set owns anything: all was made by hand. Write down what there is, and go on in files:" command={valetkey("policy export").with("owner", "NAME").with("account", "ACCOUNT")} />}
            {value && value.sets.length > 0 && (
                <ul class="tabs" aria-label="Sets">
                    {value.sets.map((name) => (
                        <li>
                            <Link to="policy" query={{ owner: name }} current={name === chosen}>
                                {name}
                            </Link>
                        </li>
                    ))}
                </ul>
            )}
            {value?.set && (
                <>
                    <h2>Changed behind the files' back</h2>
                    <Drift of={value.set.drift} />
                    <h2>What would change</h2>
                    <Plan key={value.set.revision} document={JSON.stringify(value.set.document, null, 2)} />
                </>
            )}
            {value && value.applied.length > 0 && (
                <>
                    <h2>Applied lately</h2>
                    <ul class="plain">
                        {value.applied.map((one) => (
                            <li>
                                <Time at={one.at} /> by {one.by}: {one.about}
                            </li>
                        ))}
                    </ul>
                </>
            )}
        </>
    );
}
