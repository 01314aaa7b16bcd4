// Signs in: by a token, or at an identity provider. The server is the provider's client; the browser only goes there and comes back.
import { useEffect, useState } from "preact/hooks";
import { type Row, api, beginLogin, get, signIn } from "../api";
import { valetkey } from "../cli";
import { Empty, Failure, useAsked } from "../ui";

/** Where the page is kept that somebody was on when they went to sign in. */
const BEFORE = "before";
/** The page that identity providers send browsers back to. */
const BACK = "/console/signed-in";

/** What the codes of identity providers mean (RFC 6749, OpenID Connect Core). What else an address says is shown nowhere: anyone can write one. */
const REFUSED: Record<string, string> = {
    access_denied: "you, or it, refused",
    login_required: "nobody is logged in there",
    consent_required: "it wants to be asked for consent",
    interaction_required: "it wants to ask something first",
    temporarily_unavailable: "it is overloaded; try again later",
    server_error: "it has a fault; try again later",
    invalid_scope: "it does not know what is asked for (`login_scopes`)",
    unauthorized_client: "the client may not do that there",
};

/** Ends a login with what the address says, if somebody came back from one; says whether. The address is cleared before it is used. */
export async function cameBack(): Promise<boolean> {
    if (location.pathname !== BACK) return false;
    const told = new URLSearchParams(location.search);
    const before = sessionStorage.getItem(BEFORE);
    sessionStorage.removeItem(BEFORE);
    history.replaceState(null, "", before?.startsWith("/console/") ? before : "/console/");
    const [code, state, iss, error] = ["code", "state", "iss", "error"].map((name) => told.get(name) ?? undefined);
    if (error !== undefined) throw new Error(`The identity provider did not let you in: ${(Object.hasOwn(REFUSED, error) && REFUSED[error]) || "it does not say why in words known here"}.`);
    if (code === undefined || state === undefined) return false;
    await signIn({ login: { code, state, iss } });
    return true;
}

/** The host of an address, or all of it where it is none. */
function host(issuer: string): string {
    try {
        return new URL(issuer).host;
    } catch {
        return issuer;
    }
}

export function SignIn({ done, said }: { done: () => void; said?: unknown }) {
    const [error, setError] = useState<unknown>(said);
    const [busy, setBusy] = useState(false);
    const { value: logins } = useAsked(() => get(api("login-providers")), ["login-providers"]);
    const trying = async (what: () => Promise<void>) => {
        setBusy(true);
        try {
            await what();
        } catch (error) {
            setError(error);
            setBusy(false);
        }
    };
    const submit = (event: Event) => {
        event.preventDefault();
        const form = event.currentTarget as HTMLFormElement;
        const token = String(new FormData(form).get("token") ?? "").trim();
        void trying(async () => {
            await signIn({ token });
            form.reset();
            done();
        });
    };
    const go = (provider: string) =>
        trying(async () => {
            const { url } = await beginLogin(provider);
            // Nothing but a page of the web is gone to, whatever an answer says.
            if (!["https:", "http:"].includes(new URL(url).protocol)) throw new Error("the login page's address is none");
            sessionStorage.setItem(BEFORE, location.pathname + location.search);
            location.assign(url);
        });
    useEffect(() => setError(said), [said]);
    useEffect(() => {
        document.title = "Sign in · Valetkey";
    }, []);
    const providers = (logins?.login_providers ?? []) as Row[];
    return (
        <main class="sign-in">
            <h1>Valetkey</h1>
            {providers.length > 0 && (
                <section aria-label="Identity providers">
                    {providers.map((one) => (
                        <button type="button" class="primary wide" disabled={busy} onClick={() => go(one.name)}>
                            Sign in with {one.name} <small>{host(one.issuer)}</small>
                        </button>
                    ))}
                </section>
            )}
            <form onSubmit={submit}>
                <div class="field">
                    <label for="token">Token</label>
                    <input id="token" name="token" type="password" required autofocus={providers.length === 0} autocomplete="off" spellcheck={false} />
                    <small>Yours, or one of an identity provider that is trusted here. The browser keeps a session, never the token.</small>
                </div>
                <Failure error={error} />
                <div class="buttons">
                    <button type="submit" class={providers.length > 0 ? "" : "primary"} disabled={busy}>
                        Sign in
                    </button>
                </div>
            </form>
            <Empty said="No token? An admin of your account makes one:" command={valetkey("token create").of("NAME").with("ttl", "90d")} />
        </main>
    );
}
