// Who gains and who loses what by a change, as the server works it out.
import type { Row } from "./api";

const MOST = 12;

/** Whose access it is: names, as far as they are few. */
function subjects({ account, callers, everyone }: Row): string {
    const some = callers.slice(0, MOST).join(", ");
    const more = callers.length > MOST ? ` and ${callers.length - MOST} more` : "";
    const others = everyone ? (callers.length > 0 ? " and everyone else" : "everyone") : "";
    return `${some}${more}${others} of ${account}`;
}

const reached = ({ path, except }: Row): string => `${path}${except.length > 0 ? ` but for ${except.join(", ")}` : ""}`;

function Places({ label, of }: { label: string; of: Row[] }) {
    if (of.length === 0) return null;
    return (
        <li class={`is-${label}`}>
            <strong>{label}</strong>
            <ul class="plain">
                {of.map((piece) => (
                    <li>
                        <code>{reached(piece)}</code>
                    </li>
                ))}
            </ul>
        </li>
    );
}

export function Difference({ of }: { of: Row[] }) {
    if (of.length === 0) return <p>Nobody gains or loses access by it now.</p>;
    return (
        <section aria-label="Change of access" class="difference">
            <h3>Who gains and loses access</h3>
            <ul class="plain">
                {of.map((one) => (
                    <li>
                        {subjects(one)}, to {one.actions.join(", ")}
                        {one.conditions?.length > 0 && <small> if {one.conditions.join("; ")}</small>}
                        <ul class="plain">
                            <Places label="gains" of={one.added} />
                            <Places label="loses" of={one.removed} />
                        </ul>
                    </li>
                ))}
            </ul>
        </section>
    );
}
