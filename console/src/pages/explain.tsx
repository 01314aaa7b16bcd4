// Why something is allowed or not. The question is the page's address: it can be sent, and asked again.
import { type Row, api, ask, at, sees } from "../api";
import { type Command, valetkey } from "../cli";
import { Link, type Place, go } from "../router";
import { Badge, Cli, Failure, Heading, useAsked } from "../ui";

const ACTIONS = ["get-object", "put-object", "delete-object", "list-bucket"];
const VERDICTS: Record<string, string> = {
    allows: "allows it",
    other_bucket: "is for another bucket",
    only_through_share: "opens it through its share only",
    outside_paths: "does not reach this key",
    lacks_action: "does not allow this action",
    early: "opens nothing yet",
    ended: "has ended",
    condition_fails: "would, but not on its conditions",
    account_suspended: "is of a suspended account",
};

const command = (query: Record<string, string>): Command =>
    valetkey("explain").of(query.action || "read", `s3://${query.bucket || "BUCKET"}/${query.key || "KEY"}`).with("as", query.caller).with("account", query.account);

/** The least word for what grants of the command line allow that an action is in. */
const LEAST: Record<string, string> = { "get-object": "read", "list-bucket": "read", "get-bucket-info": "read", "put-object": "write", "multipart-upload": "write", "abort-upload": "write", "list-uploads": "read-write", "delete-object": "read-write" };

/** The smallest grant that would allow it: this object alone, or for a listing the directory it is of. */
function suggested(value: Row, account: string): Command | string {
    const least = LEAST[value.action];
    if (!least) return `No word of --access has ${value.action}: a grant names it among its actions, by the API or a policy file.`;
    const command = valetkey("grant create").of("NAME", `s3://${value.bucket}`);
    const directory = value.key.replace(/\/?[^/]*$/, "");
    if (value.action !== "list-bucket") command.with("object", value.key);
    else if (directory) command.with("prefix", directory);
    else command.on("whole-bucket");
    return command.with("account", account).with("caller", value.caller).with("access", least);
}

export function Explain({ me, place }: { me: Row; place: Place }) {
    const { bucket = "", key = "", action = "", caller = "", account = "" } = place.query;
    const asked = bucket !== "" && key !== "";
    const body: Row = { bucket, key };
    const word = action === "read" || action === "write" ? "access" : "action";
    if (action) body[word] = action;
    if (caller) body.caller = caller;
    if (account && caller) body.account = account;
    const { value, error, busy } = useAsked(() => (asked ? ask({ method: "POST", path: at(api("explain")), body }) : Promise.resolve(undefined)), [body]);
    const submit = (event: Event) => {
        event.preventDefault();
        const typed = Object.fromEntries(new FormData(event.currentTarget as HTMLFormElement)) as Record<string, string>;
        const place = /^s3:\/\/([^/]+)\/(.*)$/.exec(typed.place?.trim() ?? "");
        const { place: _, ...rest } = typed;
        go("explain", { ...rest, bucket: place?.[1] ?? typed.place, key: place?.[2] ?? "" });
    };
    const admin = sees(me.role, "admin");
    return (
        <>
            <Heading title="Explain" about="Whether a caller may do something to an object, and which grant says so." cli={command(place.query)} />
            <form class="filters" role="search" onSubmit={submit} key={JSON.stringify(place.query)}>
                {admin && (
                    <div class="field">
                        <label for="caller">Caller</label>
                        <input id="caller" name="caller" defaultValue={caller} placeholder={me.name} autocomplete="off" />
                    </div>
                )}
                {sees(me.role, "operator") && (
                    <div class="field">
                        <label for="account">Account</label>
                        <input id="account" name="account" defaultValue={account} placeholder={me.account.name} autocomplete="off" />
                    </div>
                )}
                <div class="field">
                    <label for="action">Action</label>
                    <select id="action" name="action" defaultValue={action || "read"}>
                        {["read", "write", ...new Set([...ACTIONS, ...(action && action !== "read" && action !== "write" ? [action] : [])])].map((one) => (
                            <option value={one} selected={one === (action || "read")}>{one}</option>
                        ))}
                    </select>
                </div>
                <div class="field wide">
                    <label for="place">Object</label>
                    <input id="place" name="place" required pattern={"s3://[^\\/]+/.+"} placeholder="s3://bucket/key" defaultValue={bucket ? `s3://${bucket}/${key}` : ""} autocomplete="off" spellcheck={false} />
                </div>
                <button type="submit" class="primary">
                    Explain
                </button>
            </form>
            <Failure error={error} />
            {asked && busy && !value && <p class="label" aria-busy="true">Loading…</p>}
            {value && !error && (
                <section class="verdict" aria-live="polite">
                    <p>
                        <Badge text={value.allowed ? "allowed" : "refused"} /> <strong>{value.caller}</strong> {value.allowed ? "may" : "may not"} <code>{value.action}</code> <code>{`s3://${value.bucket}/${value.key}`}</code>
                        {value.grant && <> by grant <Link to="grants" query={{ name: value.grant.name, account }}>{value.grant.name}</Link></>}
                        {value.open_through_share && <>; a client of Delta Sharing reads it through share {value.open_through_share}</>}
                    </p>
                    {value.considered.length === 0 && <p>There is no grant for this caller at all.</p>}
                    <ol>
                        {value.considered.map((one: Row) => (
                            <li>
                                grant <Link to="grants" query={{ name: one.grant.name, account }}>{one.grant.name}</Link> {VERDICTS[one.verdict] ?? one.verdict}
                                {one.conditions?.map((own: Row) => (
                                    <>
                                        {" "}
                                        <Badge text={own.held} /> {own.condition}
                                    </>
                                ))}
                            </li>
                        ))}
                    </ol>
                    {value.unlisted > 0 && <p>and {value.unlisted} more that are not listed</p>}
                    {!value.allowed && !value.open_through_share && (
                        <>
                            <h2>What would allow it</h2>
                            <Cli command={suggested(value, account || me.account.name)} />
                        </>
                    )}
                </section>
            )}
        </>
    );
}
