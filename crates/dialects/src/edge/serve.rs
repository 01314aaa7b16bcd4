//! The road of one HTTP request: claim, route, prove, count, read, answer or refuse. Whatever happens, the answer is in the
//! dialect's own form, is logged once and counted once.

use std::any::Any;
use std::convert::Infallible;
use std::iter;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use valetkey_core::access;
use valetkey_core::account::Standing;
use valetkey_core::audit::Author;
use valetkey_core::caller::{Caller, Role};
use valetkey_core::fair::Share;
use valetkey_core::flood::{Flood, Passed};
use valetkey_core::id::AccountId;
use valetkey_core::lease::Refusal;
use valetkey_core::name::redacted;
use valetkey_core::nouns::usage::Origin;
use valetkey_core::token::PlainToken;
use valetkey_core::{Error, Kind};

use super::limit::{Class, Key, Limiter, Quota};
use super::number::{Numbers, REQUEST_ID, request_id};
use super::reply::{Ended, Reply};
use super::route::{Authority, Call, Dialect, Entry, Found, Params, Plain, Route};
use super::{EdgeLimits, Peer, Shared, cors, metric, read, refuse};

/// The longest path that is routed, in bytes: what most servers take of a whole request line.
const LONGEST_PATH: usize = 8 * 1024;

/// Whose bodies those are that nobody said who sent.
const STRANGERS: AccountId = AccountId::from_bytes([0; 16]);

struct Edge {
    shared: Arc<Shared>,
    limits: EdgeLimits,
    limiter: Limiter,
    numbers: Numbers,
    /// Whose envelope answers for paths that no dialect claims.
    first: Served,
    others: Vec<Served>,
}

type Served = (Dialect, metric::Numbers);

/// Dialects, ready to serve. A service rather than one axum route for each of theirs: the dialects' own tables decide, so that
/// an unknown path and a wrong method are answered by the dialect whose they are, and a request passes no layer it does
/// not need.
#[derive(Clone)]
pub struct Service(Arc<Edge>);

impl Service {
    /// Puts dialects together. The first one's envelope answers for paths that none of them claims.
    ///
    /// # Errors
    /// `Invalid` when a class of rate limits has too many windows, `Internal` when there is no dialect.
    pub fn new(shared: Arc<Shared>, limits: EdgeLimits, dialects: Vec<Dialect>) -> Result<Self, Error> {
        let mut dialects = dialects.into_iter().map(|dialect| (dialect, metric::Numbers::default()));
        let Some(first) = dialects.next() else { return Err(Error::internal("there is no dialect to serve")) };
        Ok(Self(Arc::new(Edge {
            limiter: Limiter::new(&limits.rates)?,
            numbers: Numbers::starting(shared.vending.now()),
            first,
            others: dialects.collect(),
            shared,
            limits,
        })))
    }
}

impl Service {
    /// Proves that an operator asks, for what the server itself answers beside the dialects. If not, it says what to answer.
    ///
    /// # Errors
    /// The refusal, in the first dialect's words.
    pub async fn operator(&self, headers: &HeaderMap, peer: Option<Peer>) -> Result<(), Response> {
        let edge = &*self.0;
        let (now, number) = (edge.shared.vending.now(), edge.numbers.next());
        let (dialect, _) = &edge.first;
        let outcome = async {
            let token = PlainToken::parse(&read::bearer(headers)?)?.digest();
            let caller = edge.shared.vending.directory.caller_by_digest(token, now).await?;
            caller.in_time(now)?;
            match caller.role {
                Role::Operator => Ok(()),
                Role::Member | Role::Admin => Err(Error::new(Kind::Forbidden, "only operators may see this")),
            }
        };
        let outcome: Result<(), Error> = outcome.await;
        let Err(error) = outcome else { return Ok(()) };
        let peer = peer.map(|peer| peer.0);
        let mut trail = Trail { peer, ..Trail::default() };
        let error = edge.count_stranger(&mut trail, Err(error), peer, now).err();
        let error = error.unwrap_or_else(|| Error::internal("a refusal was lost"));
        let id = request_id(headers, number);
        let mut response = refuse::response(dialect, &error, &id, number, None);
        metric::request_refused(dialect.name, error.kind());
        log(dialect, &trail, Some(&error), response.status(), &id, number, 0);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.headers_mut().insert(REQUEST_ID, id);
        Err(response)
    }
}

impl tower::Service<Request> for Service {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let edge = Arc::clone(&self.0);
        Box::pin(async move { Ok(serve(&edge, request).await) })
    }
}

/// The service as a router, for tests that send requests without a socket.
#[cfg(test)]
pub(crate) fn router(shared: Arc<Shared>, limits: EdgeLimits, dialects: Vec<Dialect>) -> Result<axum::Router, Error> {
    Ok(axum::Router::new().fallback_service(Service::new(shared, limits, dialects)?))
}

/// What is known of a request when it ends, however it ends.
#[derive(Default)]
struct Trail<'a> {
    route: Option<&'a Route>,
    caller: Option<Arc<Caller>>,
    allow: Option<HeaderValue>,
    quota: Option<Quota<'a>>,
    /// Whether a stranger's allowance was taken from already.
    counted: bool,
    /// The address it came from.
    peer: Option<IpAddr>,
}

async fn serve(edge: &Edge, request: Request) -> Response {
    let started = Instant::now();
    let now = edge.shared.vending.now();
    let number = edge.numbers.next();
    let (parts, body) = request.into_parts();
    let id = request_id(&parts.headers, number);
    let peer = parts.extensions.get::<Peer>().map(|peer| peer.0);
    let (dialect, numbers) = edge.claimed(parts.uri.path());
    if let Some(response) = edge.preflight(dialect, &parts, peer, now) {
        return response;
    }
    let (method, origin) = (parts.method.clone(), parts.headers.get(header::ORIGIN).cloned());
    let mut trail = Trail { peer, ..Trail::default() };
    let answer = edge.answer(dialect, &mut trail, (parts, body), peer, now);
    let outcome = match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(panic) => Err(Error::internal(format!("a handler panicked: {}", words_of(&*panic)))),
    };
    if let Err(error) = &outcome {
        edge.record(dialect, &trail, error, now);
    }
    let outcome = edge.count_stranger(&mut trail, outcome, peer, now);
    let (mut response, error) = match outcome {
        Ok(reply) => (reply.into_response(), None),
        Err(error) => (refuse::response(dialect, &error, &id, number, trail.allow.as_ref()), Some(error)),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(quota) = &trail.quota {
        (dialect.quota)(quota, headers);
    }
    let took = started.elapsed();
    let vend = trail.route.is_some_and(|route| route.class == Class::Credentials);
    match &error {
        None if vend => numbers.vended(dialect.name, took),
        None => {}
        Some(error) => {
            metric::request_refused(dialect.name, error.kind());
            if vend {
                numbers.vend_refused(dialect.name, error.kind(), took);
            }
        }
    }
    log(dialect, &trail, error.as_ref(), response.status(), &id, number, took.as_micros());
    response.headers_mut().insert(REQUEST_ID, id);
    if vend && let Some(rules) = &edge.limits.cors {
        cors::tell(rules, &method, origin.as_ref(), response.headers_mut());
    }
    response
}

impl Reply {
    fn into_response(self) -> Response {
        let mut response = Response::new(self.body);
        *response.status_mut() = match self.ended {
            Ended::Done => StatusCode::OK,
            Ended::Made => StatusCode::CREATED,
            Ended::Accepted => StatusCode::ACCEPTED,
            Ended::Nothing => StatusCode::NO_CONTENT,
        };
        let headers = response.headers_mut();
        *headers = self.headers;
        // Room for what comes: content type, caching, request id, five about limits.
        headers.reserve(10);
        if !self.body_type.is_empty() && !headers.contains_key(header::CONTENT_TYPE) {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.body_type));
        }
        response
    }
}

impl Edge {
    /// The dialect whose path it is; of several the one that claims most of it.
    fn claimed(&self, path: &str) -> &Served {
        let all = iter::once(&self.first).chain(&self.others);
        let claims = all.filter_map(|one| Some((one.0.claims(path)?, one)));
        claims.max_by_key(|(length, _)| *length).map_or(&self.first, |(_, one)| one)
    }

    /// Answers a page that asks whether it may use a route that vends.
    fn preflight(&self, dialect: &Dialect, parts: &Parts, peer: Option<IpAddr>, now: Timestamp) -> Option<Response> {
        let rules = self.limits.cors.as_ref()?;
        let method = cors::asked(&parts.method, &parts.headers)?;
        let path = parts.uri.path();
        let found = if path.len() > LONGEST_PATH { None } else { dialect.find(&method, path).ok() };
        let Some(Found::Route(route, _)) = found else { return None };
        // Who has no allowance left is told so by what follows.
        let quota = self.limiter.take(Key::peer(peer), now);
        if route.class != Class::Credentials || quota.is_some_and(|quota| quota.retry_after_secs.is_some()) {
            return None;
        }
        Some(cors::preflight(rules, &method, &parts.headers))
    }

    async fn answer<'a>(
        &'a self,
        dialect: &'a Dialect,
        trail: &mut Trail<'a>,
        (parts, body): (Parts, Body),
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Reply, Error> {
        let path = parts.uri.path();
        if path.len() > LONGEST_PATH {
            return Err(Error::new(Kind::Malformed, format!("the path is longer than {LONGEST_PATH} bytes")));
        }
        let (route, params) = match dialect.find(&parts.method, path)? {
            Found::Route(route, params) => (route, params),
            Found::OtherMethods(routes) => {
                let mut names: Vec<&str> = routes.iter().map(|route| route.method.as_str()).collect();
                if routes.iter().any(|route| route.has_head()) && !names.contains(&"HEAD") {
                    names.push("HEAD");
                }
                let names = names.join(", ");
                trail.allow = HeaderValue::from_str(&names).ok();
                return Err(Error::new(Kind::WrongMethod, format!("this route takes {names}")));
            }
            Found::Nothing => return Err(Error::not_found(valetkey_core::error::Noun::Route)),
        };
        trail.route = Some(route);
        match &route.entry {
            Entry::Open(handler) => {
                // Before anything is done for who is not known.
                trail.counted = true;
                trail.quota = self.limiter.take(Key::peer(peer), now);
                if let Some(secs) = trail.quota.as_ref().and_then(|quota| quota.retry_after_secs) {
                    return Err(too_many(secs));
                }
                let mut held = self.hold(STRANGERS)?;
                let body = self.body(route, body, &mut held).await?;
                let author = Author { from: peer, ..Author::SERVER };
                let plain = Plain { now, uri: parts.uri, headers: parts.headers, body, params };
                author.during(handler(plain)).await
            }
            Entry::Token(_) | Entry::Change(_) => {
                self.answer_known(dialect, trail, (route, params), (parts, body), now).await
            }
        }
    }

    /// Answers who has to prove itself.
    async fn answer_known<'a>(
        &'a self,
        dialect: &'a Dialect,
        trail: &mut Trail<'a>,
        (route, params): (&'a Route, Params),
        (parts, body): (Parts, Body),
        now: Timestamp,
    ) -> Result<Reply, Error> {
        let caller = self.identify(dialect, &parts.headers, now).await?;
        trail.caller = Some(Arc::clone(&caller));
        self.shared.usage.request(caller.account, caller.token, Origin::Api, now);
        trail.quota = self.limiter.take_of(&caller, route.class, now);
        if let Some(secs) = trail.quota.as_ref().and_then(|quota| quota.retry_after_secs) {
            return Err(too_many(secs));
        }
        if route.class != Class::Credentials {
            self.in_standing(&caller, now).await?;
        }
        route.admits(caller.role)?;
        let query = route.words.read(parts.uri.query())?;
        let Parts { headers, method, .. } = parts;
        let call = |caller, now, body| Call {
            caller,
            now,
            method: method.clone(),
            headers: headers.clone(),
            query: query.clone(),
            body,
            params: params.clone(),
        };
        if let Some(large) = &route.large
            && let Err(error) = (large.decide)(call(Arc::clone(&caller), now, Bytes::new())).await
        {
            read::discard(body).await;
            return Err(error);
        }
        let mut held = self.hold(caller.account)?;
        // SECURITY: also of one that turns out to be empty in the end, whoever held it back until then.
        let waited = !body.is_end_stream();
        let body = self.body(route, body, &mut held).await?;
        let (caller, now) = if waited { self.again(dialect, &headers, route).await? } else { (caller, now) };
        // What is changed from here on is changed by this token.
        let author = Author { token: Some(caller.token), caller: Some(caller.id), from: trail.peer };
        let authority = Authority::new(&caller, now);
        let call = Call { caller, now, method, headers, query, body, params };
        match &route.entry {
            // Not one that comes here.
            Entry::Open(_) => Err(Error::internal("a route for anyone asks who it is")),
            Entry::Token(handler) => author.during(handler(call)).await,
            Entry::Change(handler) => author.during(handler((call, authority))).await,
        }
    }

    /// Room for a body that an account sends, which is given back when the request was answered.
    fn hold(&self, account: AccountId) -> Result<Share, Error> {
        self.shared.bodies.take(account, 0).ok_or_else(read::too_many)
    }

    /// Reads the body. A route that takes a larger one than usual gives its sender more time, but no slower than 64 KiB/s.
    async fn body(&self, route: &Route, body: Body, held: &mut Share) -> Result<Bytes, Error> {
        let EdgeLimits { body_bytes, body_time, .. } = &self.limits;
        let most = route.large.as_ref().map_or(*body_bytes, |large| large.most);
        let time = Duration::from_secs(u64::try_from(most / (64 * 1024)).unwrap_or(u64::MAX)).max(*body_time);
        read::body(body, most, time, held).await
    }

    /// Proves the caller again. SECURITY: a body may take long to come; what it asks for must not outlive the token.
    async fn again(
        &self,
        dialect: &Dialect,
        headers: &HeaderMap,
        route: &Route,
    ) -> Result<(Arc<Caller>, Timestamp), Error> {
        let now = self.shared.vending.now();
        let caller = self.identify(dialect, headers, now).await?;
        if route.class != Class::Credentials {
            self.in_standing(&caller, now).await?;
        }
        // Its role may be another one now.
        route.admits(caller.role)?;
        Ok((caller, now))
    }

    async fn identify(&self, dialect: &Dialect, headers: &HeaderMap, now: Timestamp) -> Result<Arc<Caller>, Error> {
        let presented = (dialect.token)(headers)?;
        let token = if presented.starts_with(access::PREFIX) {
            access::open(&self.shared.keyring.load(), dialect.name, &presented, now)?
        } else {
            PlainToken::parse(&presented)?.digest()
        };
        let caller = self.shared.vending.directory.caller_by_digest(token, now).await?;
        // The directory checked it; what it keeps may be older than this instant.
        caller.in_time(now)?;
        Ok(caller)
    }

    /// Refuses the callers of a suspended account. For credentials policy does.
    async fn in_standing(&self, caller: &Caller, now: Timestamp) -> Result<(), Error> {
        match caller.role {
            // An operator must be able to undo it.
            Role::Operator => return Ok(()),
            Role::Member | Role::Admin => {}
        }
        match self.shared.vending.directory.account(caller.account, now).await?.account().standing {
            Standing::Active => Ok(()),
            Standing::Suspended => Err(Error::new(Kind::Forbidden, "the account is suspended")),
        }
    }

    /// Puts a refusal on record. INVARIANT: this is the one place, so that no dialect and no handler can forget to: whatever
    /// a request that found its route is refused with is counted, by whose it is and why.
    fn record(&self, dialect: &Dialect, trail: &Trail<'_>, error: &Error, now: Timestamp) {
        if trail.route.is_none() {
            return;
        }
        let caller = trail.caller.as_deref();
        let (account, caller) = (caller.map(|caller| caller.account), caller.map(|caller| caller.id));
        let refusal = Refusal { account, caller, from: trail.peer, dialect: dialect.name, kind: error.reason() };
        self.shared.vending.ledger.refused(refusal, now);
    }

    /// Takes requests without a caller from the allowance of the address they come from.
    fn count_stranger<'a>(
        &'a self,
        trail: &mut Trail<'a>,
        outcome: Result<Reply, Error>,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Reply, Error> {
        if trail.caller.is_some() || trail.counted {
            return outcome;
        }
        trail.quota = self.limiter.take(Key::peer(peer), now);
        match trail.quota.as_ref().and_then(|quota| quota.retry_after_secs) {
            Some(secs) => Err(too_many(secs)),
            None => outcome,
        }
    }
}

fn too_many(secs: u32) -> Error {
    Error::new(Kind::RateLimited, format!("too many requests; try again in {secs} s")).retry_after(secs)
}

/// Refusals that are logged in a second: anyone can cause them.
static REFUSALS: Flood = Flood::new(100);
/// Where the seconds are counted from.
static STARTED: OnceLock<Instant> = OnceLock::new();

/// Whether one more refusal may be logged now. Each that is not is counted.
fn may_log() -> Option<Passed> {
    let passed = REFUSALS.pass(STARTED.get_or_init(Instant::now).elapsed().as_secs());
    if passed.is_none() {
        metrics::counter!("vk_refusals_not_logged_total", "listener" => "api").increment(1);
    }
    passed
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without words")
}

/// One line for each request: quiet for success, with the words for the log for refusals. Nothing a client sent is in it
/// but the request id, which was checked, and what a refusal says.
fn log(
    dialect: &Dialect,
    trail: &Trail<'_>,
    error: Option<&Error>,
    status: StatusCode,
    id: &HeaderValue,
    number: u64,
    took_us: u128,
) {
    let route = trail.route.map_or("-", |route| route.path);
    let caller = trail.caller.as_ref().map(|caller| tracing::field::display(caller.id));
    let account = trail.caller.as_ref().map(|caller| tracing::field::display(caller.account));
    let address = trail.peer.map(tracing::field::display);
    let (dialect, id, status) = (dialect.name, id.to_str().unwrap_or_default(), status.as_u16());
    let Some(error) = error else {
        tracing::debug!(
            dialect,
            route,
            status,
            caller.id = caller,
            caller.account = account,
            client.address = address,
            request.id = id,
            request.number = number,
            took_us,
            "answered"
        );
        return;
    };
    let kind = error.kind().slug();
    let mut sources = String::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        sources.push_str(if sources.is_empty() { "" } else { ": " });
        sources.push_str(&redacted(&cause.to_string()));
        source = cause.source();
    }
    let source = (!sources.is_empty()).then_some(sources);
    let detail = error.detail();
    if status >= 500 {
        tracing::error!(
            dialect,
            route,
            status,
            kind,
            detail,
            source,
            caller.id = caller,
            caller.account = account,
            client.address = address,
            request.id = id,
            request.number = number,
            took_us,
            "failed: {error}"
        );
    } else if let Some(Passed { held_back }) = may_log() {
        tracing::info!(
            dialect,
            route,
            status,
            kind,
            detail,
            source,
            held_back,
            caller.id = caller,
            caller.account = account,
            client.address = address,
            request.id = id,
            request.number = number,
            took_us,
            "refused: {error}"
        );
    }
}
