//! `valetkey login` and `logout`: people log in at an identity provider that the server trusts, and every other command asks with what
//! they got, renewed by itself.

mod browser;
mod issuer;
pub(crate) mod kept;

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::digest;
use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use valetkey_dialects::native::api::operations as op;

use self::browser::{Back, Loopback};
use self::issuer::{Answer, Issuer, Tokens};
use self::kept::{Login, Logins};
use crate::cli::agent::home::drawn;
use crate::cli::client::{Client, Route};
use crate::cli::connection::Connection;
use crate::cli::failure::{Exit, Failure};
use crate::cli::now;
use crate::cli::output::{Out, clean};
use crate::cli::show;

/// How often an issuer is asked whether someone logged in, if it does not say (RFC 8628, section 3.5).
const INTERVAL_SECS: u64 = 5;
/// The longest pause between two asks, and the longest wait for a login on another device, whatever the issuer says.
const MOST_INTERVAL_SECS: u64 = 60;
const MOST_WAIT_SECS: u64 = 1800;

/// Log in at an identity provider: later commands ask as you, and renew by themselves
#[derive(Debug, clap::Args)]
pub(crate) struct LoginArgs {
    /// The identity provider, if the server knows several
    #[arg(value_name = "PROVIDER")]
    provider: Option<String>,
    /// Log in with a browser on another device: a code is shown to type there
    #[arg(long)]
    device: bool,
    /// Do not open a browser; only show the address to open on this machine
    #[arg(long, conflicts_with = "device")]
    no_browser: bool,
}

/// Forget the login, here and at the identity provider
#[derive(Debug, clap::Args)]
pub(crate) struct LogoutArgs {
    /// Of every server, not only of this one
    #[arg(long)]
    all: bool,
    /// End at the server, too, what was vended with it
    #[arg(long, conflicts_with = "all")]
    end_credentials: bool,
}

/// Where people log in, as the server says.
#[derive(Deserialize, Clone)]
struct Provider {
    name: String,
    issuer: String,
    client_id: String,
    scopes: Vec<String>,
}

fn logins(environment: &BTreeMap<String, String>) -> Result<Logins, Failure> {
    Logins::of(environment)
        .ok_or_else(|| Failure::local("there is no directory to keep a login in").hint("set HOME or XDG_CONFIG_HOME"))
}

/// Runs `valetkey login`.
pub(crate) async fn login(
    args: LoginArgs,
    connection: &Connection,
    environment: &BTreeMap<String, String>,
    out: &Out,
) -> Result<(), Failure> {
    let logins = logins(environment)?;
    let client = Client::new(connection.unproven()?, out)?;
    let provider = chosen(&client, args.provider.as_deref()).await?;
    let issuer = Issuer::discover(&provider.issuer, &provider.client_id, client.to()).await?;
    let tokens = if args.device {
        on_another_device(&issuer, &provider, out).await?
    } else {
        in_browser(&issuer, &provider, args.no_browser, out).await?
    };
    let Tokens { id_token, refresh_token, until, .. } = tokens;
    let server = client.server().to_owned();
    let login = Login {
        server: server.clone(),
        provider: provider.name.clone(),
        issuer: provider.issuer,
        client_id: provider.client_id,
        id_token: id_token.clone(),
        refresh_token,
        got: now(),
        until,
    };
    let me = client.with_token(id_token).ask(Route::to(op::ME, [])).await.map_err(|mut failure| {
        if matches!(failure.exit, Exit::Unauthenticated | Exit::Denied) {
            failure.hint = Some(format!(
                "you logged in at `{}`, but the server takes nobody like you: an operator adds a rule with `valetkey identity rule add {}`",
                login.issuer, login.provider
            ));
        }
        failure
    })?;
    let held = logins.lock().await?;
    logins.put(&login)?;
    drop(held);
    told(&login, &me, environment, out)
}

fn told(login: &Login, me: &Value, environment: &BTreeMap<String, String>, out: &Out) -> Result<(), Failure> {
    let text = |path: &[&str]| show::find(me, path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (name, account, renews) = (text(&["name"]), text(&["account", "name"]), login.refresh_token.is_some());
    let until = if renews { "renewed by itself".to_owned() } else { format!("until {}", login.until) };
    let answer = json!({
        "server": login.server, "provider": login.provider, "name": name, "account": account,
        "until": login.until.to_string(), "renews": renews,
    });
    show::done(
        out,
        &answer,
        &format!("you are {name} of {account} at {}, by {}, {until}", login.server, login.provider),
    )?;
    for set in ["VALETKEY_TOKEN", "VALETKEY_TOKEN_FILE"].iter().filter(|name| environment.contains_key(**name)) {
        out.warn(&format!("{set} is set, and goes before the login"));
    }
    Ok(())
}

async fn chosen(client: &Client<'_>, wanted: Option<&str>) -> Result<Provider, Failure> {
    #[derive(Deserialize)]
    struct Providers {
        login_providers: Vec<Provider>,
    }
    let answer = client.ask(Route::to(op::LIST_LOGIN_PROVIDERS, [])).await?;
    let Providers { login_providers } =
        serde_json::from_value(answer).map_err(|_| Failure::local("the server's answer cannot be read"))?;
    let names = || login_providers.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ");
    match (login_providers.as_slice(), wanted) {
        ([], _) => Err(Failure::new(Exit::NotFound, "nobody logs in at that server").hint(
            "an operator names a client with `valetkey identity set PROVIDER --login-client-id CLIENT`; until then, use a token",
        )),
        ([one], None) => Ok(one.clone()),
        (all, Some(wanted)) => all.iter().find(|one| one.name == wanted).cloned().ok_or_else(|| {
            Failure::new(Exit::NotFound, format!("`{wanted}` is no identity provider that people log in at"))
                .hint(format!("there is {}", names()))
        }),
        (_, None) => Err(Failure::usage("there are several identity providers").hint(format!("name one of {}", names()))),
    }
}

fn chance() -> String {
    BASE64URL_NOPAD.encode(&drawn())
}

async fn in_browser(issuer: &Issuer, provider: &Provider, silent: bool, out: &Out) -> Result<Tokens, Failure> {
    let loopback = Loopback::open().await?;
    let (state, nonce, verifier, back) = (chance(), chance(), chance(), loopback.address());
    let challenge = BASE64URL_NOPAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()).as_ref());
    let scope = provider.scopes.join(" ");
    let mut parameters = vec![
        ("response_type", "code"),
        ("redirect_uri", &back),
        ("scope", &scope),
        ("state", &state),
        ("nonce", &nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    if provider.scopes.iter().any(|scope| scope == "offline_access") {
        // OpenID Connect Core, section 11: without it the scope is ignored.
        parameters.push(("prompt", "consent"));
    }
    let page = issuer.page(&parameters)?;
    if silent || !browser::open(&page) {
        out.warn_always(&format!("open this address in a browser on this machine:\n  {page}"));
    } else {
        out.note(&format!("a browser opens; if it does not, open this address on this machine:\n  {page}"));
    }
    let named = issuer.names_itself().then(|| issuer.name());
    let code = match loopback.wait(&state, named).await? {
        Back::Code(code) => code,
        Back::Refused(error) => {
            let said: String = error.chars().take(100).collect();
            return Err(Failure::new(Exit::Unauthenticated, format!("the login was refused: {said}")));
        }
    };
    let tokens = given(issuer, issuer.code(&code, &verifier, &back).await?)?;
    if tokens.answer(&nonce) { Ok(tokens) } else { Err(Failure::local("the identity token is of another login")) }
}

fn given(issuer: &Issuer, answer: Answer<Tokens>) -> Result<Tokens, Failure> {
    match answer {
        Answer::Given(tokens) => Ok(tokens),
        Answer::Refused(refused) => Err(refused.failure(issuer.name())),
    }
}

async fn on_another_device(issuer: &Issuer, provider: &Provider, out: &Out) -> Result<Tokens, Failure> {
    if !issuer.has_device_flow() {
        let said = format!("`{}` has no login by another device", issuer.name());
        return Err(Failure::usage(said).hint("without --device it opens a browser"));
    }
    let device = issuer.device(&provider.scopes.join(" ")).await?;
    let page = Url::parse(&device.verification_uri).ok().filter(|page| matches!(page.scheme(), "https" | "http"));
    let page = page.ok_or_else(|| Failure::local("the issuer's address for the code cannot be read"))?;
    out.warn_always(&format!("open {page} on any device, and type the code {}", clean(&device.user_code)));
    if let Some(whole) = device.verification_uri_complete.as_deref().and_then(|whole| Url::parse(whole).ok())
        && whole.origin() == page.origin()
    {
        out.note(&format!("or open {whole}"));
    }
    let until = Instant::now() + Duration::from_secs(device.expires_in.min(MOST_WAIT_SECS));
    let mut pause = device.interval.unwrap_or(INTERVAL_SECS).clamp(1, MOST_INTERVAL_SECS);
    loop {
        sleep(Duration::from_secs(pause)).await;
        if Instant::now() >= until {
            return Err(Failure::new(Exit::Unauthenticated, "nobody logged in while the code was good"));
        }
        match issuer.device_token(&device).await {
            Ok(Answer::Given(tokens)) => return Ok(tokens),
            Ok(Answer::Refused(refused)) => match refused.error.as_str() {
                "authorization_pending" => {}
                "slow_down" => pause = (pause + 5).min(MOST_INTERVAL_SECS),
                _ => return Err(refused.failure(issuer.name())),
            },
            // RFC 8628, section 3.5: longer and longer pauses while it is away.
            Err(failure) if failure.exit == Exit::Unreachable => pause = (pause * 2).min(MOST_INTERVAL_SECS),
            Err(failure) => return Err(failure),
        }
    }
}

/// Renews the login that would be used, if it is time.
///
/// # Errors
/// When it has ended, and cannot be renewed.
pub(crate) async fn renew(
    connection: &Connection,
    environment: &BTreeMap<String, String>,
    out: &Out,
) -> Result<(), Failure> {
    if connection.names_token(environment) {
        return Ok(());
    }
    let Some(logins) = Logins::of(environment) else { return Ok(()) };
    let Ok(to) = connection.unproven() else { return Ok(()) };
    let server = to.url.as_str().to_owned();
    let due = |login: &Option<Login>, now: Timestamp| login.as_ref().is_some_and(|login| login.is_due(now));
    if !due(&logins.find(&server)?, now()) {
        return Ok(());
    }
    let _held = logins.lock().await?;
    // Another process may have renewed it meanwhile.
    let Some(login) = logins.find(&server)?.filter(|login| login.is_due(now())) else { return Ok(()) };
    let is_good = login.until > now();
    match renewed(&login, &to).await {
        Ok(next) => logins.put(&next),
        // It is good for a little while, and tried again with the next command.
        Err(failure) if is_good => {
            out.warn(&format!("the login cannot be renewed: {failure}"));
            Ok(())
        }
        Err(failure) => Err(failure),
    }
}

async fn renewed(login: &Login, to: &crate::cli::connection::Target) -> Result<Login, Failure> {
    let over = || {
        Failure::new(Exit::Unauthenticated, format!("the login of {} has ended", login.provider))
            .hint("`valetkey login` begins another")
    };
    let refresh_token = login.refresh_token.as_ref().ok_or_else(over)?;
    let issuer = Issuer::discover(&login.issuer, &login.client_id, to).await?;
    match issuer.renewed(refresh_token).await? {
        Answer::Given(Tokens { id_token, refresh_token: next, until, .. }) => Ok(Login {
            server: login.server.clone(),
            provider: login.provider.clone(),
            issuer: login.issuer.clone(),
            client_id: login.client_id.clone(),
            id_token,
            refresh_token: next.or_else(|| login.refresh_token.clone()),
            got: now(),
            until,
        }),
        Answer::Refused(refused) if refused.error == "invalid_grant" => Err(over()),
        Answer::Refused(refused) => Err(refused.failure(issuer.name())),
    }
}

/// Runs `valetkey logout`.
pub(crate) async fn logout(
    args: LogoutArgs,
    connection: &Connection,
    environment: &BTreeMap<String, String>,
    out: &Out,
) -> Result<(), Failure> {
    let logins = logins(environment)?;
    let to = connection.unproven()?;
    let servers = if args.all { logins.servers()? } else { vec![to.url.as_str().to_owned()] };
    let _held = logins.lock().await?;
    let mut ended = Vec::new();
    for server in servers {
        let Some(login) = logins.find(&server)? else { continue };
        if args.end_credentials {
            end_credentials(&login, connection, out).await?;
        }
        // Whatever the issuer says, it is forgotten here.
        logins.remove(&server)?;
        if let Some(token) = &login.refresh_token {
            let done = match Issuer::discover(&login.issuer, &login.client_id, &to).await {
                Ok(issuer) => issuer.end(token).await,
                Err(failure) => Err(failure),
            };
            if !done.as_ref().is_ok_and(|done| *done) {
                let why = done.err().map_or_else(String::new, |failure| format!(": {failure}"));
                out.warn(&format!(
                    "the login is forgotten here, but may be good at `{}` until it ends there{why}",
                    login.issuer
                ));
            }
        }
        ended.push(server);
    }
    if ended.is_empty() {
        return Err(Failure::new(Exit::NotFound, "there is no login to forget"));
    }
    let text = format!("logged out of {}", ended.join(", "));
    show::done(out, &json!({ "logged_out": ended }), &text)
}

/// Ends the session at the server, with what was vended in it.
async fn end_credentials(login: &Login, connection: &Connection, out: &Out) -> Result<(), Failure> {
    let client = Client::new(connection.unproven()?, out)?.with_token(login.id_token.clone());
    let me = client.ask(Route::to(op::ME, [])).await?;
    let token = show::find(&me, &["token"]).and_then(Value::as_str).unwrap_or_default().to_owned();
    client.ask(Route::to(op::END_TOKEN, [&token])).await.map(drop)
}
