//! How the console's pages sign in and out: `/console/session`, `/console/login`. What they show and do is the rest of this API.

use std::sync::Arc;

use http::header::SET_COOKIE;
use http::{HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};
use valetkey_core::error::Noun;
use valetkey_core::nouns::console::{ConsoleSession, IDLE};
use valetkey_core::{Error, Kind, Secret};

use super::state::{NAME, Native};
use super::wire;
use crate::edge::{Authority, Call, Console, LoginBack, Plain, Reply, SignIn, json};

/// What a browser forgets at the end.
const FORGET: (HeaderName, HeaderValue) =
    (HeaderName::from_static("clear-site-data"), HeaderValue::from_static("\"cache\", \"storage\""));

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignInRequest {
    token: Option<String>,
    code: Option<String>,
    login: Option<BackRequest>,
}

/// What a browser came back with from an identity provider.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackRequest {
    state: String,
    code: String,
    /// Who the provider says that it is, if it does.
    iss: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginRequest {
    provider: String,
}

#[derive(Serialize)]
struct LoginResponse {
    /// The provider's login page.
    url: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RenewRequest {}

#[derive(Serialize)]
struct SessionResponse {
    /// When it ends, however much it is used.
    expires: String,
    /// After how many seconds without use it ends.
    idle_secs: u32,
}

impl Native {
    fn console(&self) -> Result<&Console, Error> {
        self.shared.console.as_deref().ok_or_else(|| Error::new(Kind::NotFound(Noun::Route), "the console is off"))
    }
}

fn told((session, cookie): (ConsoleSession, HeaderValue)) -> Result<Reply, Error> {
    let told = SessionResponse { expires: wire::at(session.until()), idle_secs: IDLE.as_secs() };
    Ok(Reply::json(&told)?.header(SET_COOKIE, cookie))
}

/// Signs in, with a token or a link's code in the body: neither is ever in a URL that is sent.
pub(super) async fn sign_in(native: Arc<Native>, plain: Plain) -> Result<Reply, Error> {
    let console = native.console()?;
    let SignInRequest { token, code, login } = json(&plain.body)?;
    // A page of somebody else must not sign its reader in as somebody else.
    console.own_page(&Method::POST, &plain.uri, &plain.headers)?;
    let by = match (token, code, login) {
        (Some(token), None, None) => SignIn::Token(Secret::new(token)),
        (None, Some(code), None) => SignIn::Code(Secret::new(code)),
        (None, None, Some(BackRequest { state, code, iss })) => {
            let back = LoginBack { state, code: Secret::new(code), issuer: iss };
            return told(console.log_in(&native.shared, NAME, &plain.headers, back, plain.now).await?);
        }
        _ => return Err(Error::new(Kind::Invalid, "give a `token`, a `code` or a `login`").at("token")),
    };
    told(console.sign_in(&native.shared, NAME, by, plain.now).await?)
}

/// Begins a login at an identity provider: says where the browser goes, and gives it what it comes back with.
pub(super) async fn begin(native: Arc<Native>, plain: Plain) -> Result<Reply, Error> {
    let console = native.console()?;
    let LoginRequest { provider } = json(&plain.body)?;
    console.own_page(&Method::POST, &plain.uri, &plain.headers)?;
    let (url, cookie) = console.begin(&native.shared, NAME, &plain.headers, &provider, plain.now).await?;
    Ok(Reply::json(&LoginResponse { url })?.header(SET_COOKIE, cookie))
}

/// Says that somebody is there: without it a session ends after a while, whatever its pages ask by themselves.
pub(super) async fn renew(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let RenewRequest {} = json(&call.body)?;
    let renewed = native.console()?.renew(&native.shared, NAME, &call.headers, call.now)?;
    told(renewed.ok_or_else(|| Error::new(Kind::Invalid, "there is no session: the request came with a token"))?)
}

/// Signs out.
pub(super) async fn sign_out(native: Arc<Native>, call: Call, _: Authority) -> Result<Reply, Error> {
    let cookie = native.console()?.sign_out(&native.shared, NAME, &call.headers, call.now)?;
    let (name, value) = FORGET;
    Ok(Reply::nothing().header(SET_COOKIE, cookie).header(name, value))
}
