//! The agent's listeners: who is let in, which form a path is, and what it gets.
//!
//! Everything is bounded: connections, the bytes and the number of headers, and time. No body is read, and each connection is for one
//! request.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use http::{Method, Request, StatusCode};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::SignedDuration;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::sync::mpsc::UnboundedSender;
use valetkey_core::time::Clock as _;

use crate::cli::agent::forms::{self, Reply, aws, azure, google};
use crate::cli::agent::guard::{self, From};
use crate::cli::agent::home::Home;
use crate::cli::agent::slots::Slots;
use crate::cli::agent::variables::{Reach, Variables};
use crate::cli::creds::ask::Ask;
use crate::cli::creds::key::{Key, Material};
use crate::cli::failure::{Exit, Failure};
use crate::node::system::SystemClock;

/// The most connections of one listener: each is one short request of one person's tools.
const CONNECTIONS: usize = 64;
/// The most ports for metadata clients of other asks than the default.
const DOORS: usize = 64;
/// The most bytes of a request's head. Paths hold an ask, with up to 8 KiB of object keys.
const HEAD_BYTES: usize = 32 * 1024;
const HEADERS: usize = 64;
/// The longest that a head may take, and a whole connection with it: longer than the longest wait for the server.
const HEAD: Duration = Duration::from_secs(5);
const CONNECTION: Duration = Duration::from_secs(30);

/// What listens.
pub(crate) enum Door {
    /// On loopback; what its metadata clients get, who cannot say what they want.
    Port { listener: TcpListener, own: SocketAddr, default: Option<Ask> },
    /// In the agent's directory.
    #[cfg(unix)]
    Socket { listener: UnixListener, default: Option<Ask> },
}

/// What is served.
pub(crate) struct Served {
    pub(crate) slots: Slots,
    pub(crate) home: Home,
    /// The door that most are sent to.
    pub(crate) main: SocketAddr,
    pub(crate) default: Option<Ask>,
    /// Doors that were opened for metadata clients of other asks than the default.
    pub(crate) opened: RefCell<BTreeMap<String, SocketAddr>>,
    pub(crate) doors: UnboundedSender<Door>,
}

/// Opens a door on loopback.
pub(crate) async fn open(address: SocketAddr, default: Option<Ask>) -> std::io::Result<Door> {
    let listener = TcpListener::bind(address).await?;
    let own = listener.local_addr()?;
    Ok(Door::Port { listener, own, default })
}

impl Door {
    /// Where it is.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Port { own, .. } => Some(*own),
            #[cfg(unix)]
            Self::Socket { .. } => None,
        }
    }

    fn default(&self) -> Option<&Ask> {
        match self {
            Self::Port { default, .. } => default.as_ref(),
            #[cfg(unix)]
            Self::Socket { default, .. } => default.as_ref(),
        }
    }

    async fn accept(&self) -> std::io::Result<(Box<dyn Wire>, From)> {
        match self {
            Self::Port { listener, own, .. } => {
                let (stream, peer) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                Ok((Box::new(stream), From::Port { own: *own, peer }))
            }
            #[cfg(unix)]
            Self::Socket { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                Ok((Box::new(stream), From::Socket { uid }))
            }
        }
    }
}

trait Wire: AsyncRead + AsyncWrite + Unpin {}

impl<I: AsyncRead + AsyncWrite + Unpin> Wire for I {}

/// Lets in all that come, as many at once as there is room for. Never ends.
pub(super) async fn stand(door: Door, served: &Served) {
    let mut going: FuturesUnordered<LocalBoxFuture<'_, ()>> = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = door.accept(), if going.len() < CONNECTIONS => match accepted {
                // SECURITY: another user of the machine takes at most half of the room.
                Ok((_, from)) if going.len() >= CONNECTIONS / 2 && guard::is_anothers(from) => {}
                Ok((stream, from)) => going.push(Box::pin(converse(stream, from, &door, served))),
                // Out of file descriptors, or gone already: the next one may fare better.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
            Some(()) = going.next() => {}
        }
    }
}

async fn converse(stream: Box<dyn Wire>, from: From, door: &Door, served: &Served) {
    let service = service_fn(async |request: Request<hyper::body::Incoming>| {
        let (head, _) = request.into_parts();
        Ok::<_, Infallible>(answer(&Request::from_parts(head, ()), from, door.default(), served).await)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    // A client that broke off has nobody to be told.
    let _ = tokio::time::timeout(CONNECTION, connection).await;
}

/// Which service a client believes to talk to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Container,
    Session,
    Metadata,
    Google,
    Azure,
    /// Of the agent itself: over its socket alone.
    Own,
}

impl Form {
    fn of(method: &Method, path: &str) -> Option<Self> {
        let form = match path {
            "container" | "v1/credentials" => Self::Container,
            "latest/api/token" => return (method == Method::PUT).then_some(Self::Session),
            "metadata/identity/oauth2/token" | "azure/token" => Self::Azure,
            "process" | "env" | "status" => Self::Own,
            "" => Self::Google,
            path if path.starts_with("v2/credentials/") => Self::Container,
            path if path.starts_with("latest/") => Self::Metadata,
            path if path.starts_with("computeMetadata/") => Self::Google,
            _ => return None,
        };
        (method == Method::GET).then_some(form)
    }

    fn refusal(self, status: StatusCode, code: &str, message: &str) -> Reply {
        match self {
            Self::Container | Self::Session | Self::Metadata | Self::Own => aws::refusal(status, code, message),
            Self::Google => google::refusal(status, code, message),
            Self::Azure => azure::refusal(status, code, message),
        }
    }

    fn failure(self, failure: &Failure) -> Reply {
        match self {
            Self::Container | Self::Session | Self::Metadata | Self::Own => aws::failure(failure),
            Self::Google => google::failure(failure),
            Self::Azure => azure::failure(failure),
        }
    }

    /// Whether a query has nothing but our own fields. The metadata services' clients send others, which say nothing of what is wanted.
    const fn is_strict(self) -> bool {
        matches!(self, Self::Container | Self::Own)
    }
}

async fn answer(request: &Request<()>, from: From, default: Option<&Ask>, served: &Served) -> Reply {
    let path = request.uri().path().strip_prefix('/').unwrap_or_default();
    let (shown, path) = match path.split_once('/') {
        Some((first, rest)) if Slots::is_secret(first) => (Some(first), rest),
        _ => (None, path),
    };
    let form = Form::of(request.method(), path);
    if let Err(refused) = guard::sound(request, from) {
        return form.unwrap_or(Form::Own).refusal(refused.status, "forbidden", refused.why);
    }
    let Some(form) = form else {
        return Form::Own.refusal(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path");
    };
    match admitted(request, (form, path), from, (default, shown), served).await {
        Ok(reply) => reply,
        Err(failure) => form.failure(&failure),
    }
}

/// An answer to a request that is sound: first whether it may ask, then what it gets.
async fn admitted(
    request: &Request<()>,
    (form, path): (Form, &str),
    from: From,
    (default, shown): (Option<&Ask>, Option<&str>),
    served: &Served,
) -> Result<Reply, Failure> {
    let (headers, query, slots) = (request.headers(), request.uri().query().unwrap_or_default(), &served.slots);
    let asked = Ask::from_query(query, form.is_strict())?;
    let ask = asked.or_else(|| shown.and_then(|shown| slots.opened(shown))).or_else(|| default.cloned());
    let secret = ask.as_ref().map(|ask| slots.secret(ask));
    let is_shown = secret
        .as_ref()
        .is_some_and(|secret| shown.is_some_and(|shown| secret.ct_eq(shown)) || guard::shows(headers, secret));
    let is_of_socket = matches!(from, From::Socket { .. }) && guard::is_ours(from);
    let may = match form {
        Form::Own => is_of_socket,
        Form::Container => is_shown || is_of_socket,
        // Their clients send no secret. Those of App Service do, and any may have it in its path.
        Form::Session | Form::Metadata | Form::Google | Form::Azure => is_shown || guard::is_ours(from),
    };
    if !may {
        // An unknown path is no better than an unknown secret in it.
        let status = if shown.is_some() { StatusCode::NOT_FOUND } else { StatusCode::UNAUTHORIZED };
        return Ok(form.refusal(
            status,
            "unauthorized",
            "the agent serves its own user, by a secret or from a process of theirs",
        ));
    }
    let now = SystemClock.now();
    let nobodys = || {
        Failure::usage("the agent does not know which grant this is for")
            .hint("start it with one (`valetkey agent GRANT`), or add ?grant=NAME to the URL")
    };
    match form {
        Form::Own if path == "status" => Ok(status(served)),
        Form::Session => Ok(aws::session(headers, slots, now)),
        Form::Metadata if !aws::is_in_session(headers, slots, now) => Ok(form.refusal(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "the session's token is missing, wrong or expired",
        )),
        Form::Google if !google::is_flavored(headers) => {
            Ok(form.refusal(StatusCode::FORBIDDEN, "forbidden", "the header `Metadata-Flavor: Google` is missing"))
        }
        Form::Google if !google::is_token(path) => {
            let nothing = || form.refusal(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path");
            Ok(google::about(path, query).unwrap_or_else(nothing))
        }
        Form::Azure if !azure::is_asked_for(headers) && !headers.contains_key("x-identity-header") => {
            Ok(form.refusal(StatusCode::BAD_REQUEST, "invalid_request", "the header `Metadata: true` is missing"))
        }
        Form::Container | Form::Metadata | Form::Google | Form::Azure | Form::Own => {
            let ask = ask.or_else(|| (form == Form::Own).then(Ask::default)).ok_or_else(nobodys)?;
            let least = match form {
                Form::Metadata if path.ends_with("/valetkey") => aws::METADATA_LEAST,
                _ => SignedDuration::ZERO,
            };
            let key = slots.slot(&ask)?.get(least).await?;
            credential((form, path), &ask, &key, served).await
        }
    }
}

/// What is read of a credential.
async fn credential((form, path): (Form, &str), ask: &Ask, key: &Key, served: &Served) -> Result<Reply, Failure> {
    let now = SystemClock.now();
    match form {
        Form::Container => aws::container(key),
        Form::Metadata => {
            let nothing = || form.refusal(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path");
            Ok(aws::metadata(path.strip_prefix("latest/").unwrap_or_default(), key, now)?.unwrap_or_else(nothing))
        }
        Form::Google => google::token(key, now),
        Form::Azure => Err(azure::token(key)),
        Form::Own if path == "process" => aws::process(key),
        Form::Own | Form::Session => Ok(forms::json(StatusCode::OK, &variables(ask, key, served).await?)),
    }
}

/// The environment that makes tools ask for this.
pub(crate) async fn variables(ask: &Ask, key: &Key, served: &Served) -> Result<Variables, Failure> {
    let secret = served.slots.secret(ask);
    let failed = |error: std::io::Error| Failure::local(format!("the agent cannot write in its directory: {error}"));
    // Named by the secret's end, which is not enough of it to be one.
    let name: String = secret.reveal().chars().skip(20).collect();
    let token_file = served.home.write(&format!("token-{name}"), secret.reveal().as_bytes()).map_err(failed)?;
    let empty = served.home.empty().map_err(failed)?;
    let door = match &key.material {
        Material::Google(_) => door(ask, served).await?,
        Material::S3(_) | Material::Azure(_) => served.main,
    };
    let query = if served.default.as_ref() == Some(ask) { String::new() } else { ask.query() };
    let reach = Reach { door, secret: secret.reveal(), query: &query, token_file: &token_file, empty: &empty };
    Ok(Variables::asking(key, &reach))
}

/// The door whose metadata clients get this.
async fn door(ask: &Ask, served: &Served) -> Result<SocketAddr, Failure> {
    if served.default.as_ref() == Some(ask) {
        return Ok(served.main);
    }
    let known = served.opened.borrow().get(&ask.query()).copied();
    if let Some(known) = known {
        return Ok(known);
    }
    if served.opened.borrow().len() >= DOORS {
        return Err(Failure::new(Exit::RateLimited, "the agent has opened too many ports already"));
    }
    let failed = |error: std::io::Error| Failure::local(format!("no port can be opened: {error}"));
    let door = open(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Some(ask.clone())).await.map_err(failed)?;
    let own = door.address().unwrap_or(served.main);
    // Not sent only when the agent is ending.
    let _ = served.doors.send(door);
    Ok(*served.opened.borrow_mut().entry(ask.query()).or_insert(own))
}

fn status(served: &Served) -> Reply {
    let asks: Vec<_> = served.slots.all().iter().map(|slot| slot.about()).collect();
    forms::json(StatusCode::OK, &json!({ "pid": std::process::id(), "address": served.main.to_string(), "asks": asks }))
}

/// Why a door could not be opened.
pub(crate) fn taken(address: SocketAddr, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Conflict, format!("the agent cannot listen on {address}: {error}"))
}
