//! The road of one HTTP request: claim, route, prove, count, read, answer or refuse. Whatever happens, the answer is in the
//! dialect's own form, is logged once and counted once.

use std::any::Any;
use std::borrow::Cow;
use std::convert::Infallible;
use std::iter;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use jiff::Timestamp;
use valetkey_core::account::Standing;
use valetkey_core::audit::Author;
use valetkey_core::caller::{Caller, Role};
use valetkey_core::error::Noun;
use valetkey_core::fair::Share;
use valetkey_core::id::AccountId;
use valetkey_core::lease::Refusal;
use valetkey_core::nouns::usage::Origin;
use valetkey_core::{Error, Kind};

use super::form::Form;
use super::limit::{Class, Key, Limiter};
use super::number::{Numbers, REQUEST_ID, request_id};
use super::proof::{Proof, Signature};
use super::reply::{Ended, Reply};
use super::route::{Actions, Authority, Call, Dialect, Entry, Found, Params, Plain, Route};
use super::trail::{Trail, log};
use super::{EdgeLimits, Mounted, Peer, Shared, cors, metric, proof, read, refuse};

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
            limiter: Limiter::new(&limits.rates, limits.nodes.clone())?,
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
            let at = (dialect.name, peer.map(|peer| peer.address));
            let caller = proof::by_token(&edge.shared, at, &read::bearer(headers)?, now).await?;
            match caller.role {
                Role::Operator | Role::Planner => Ok(()),
                Role::Member | Role::Admin | Role::Auditor => {
                    Err(Error::new(Kind::Forbidden, "only operators may see this"))
                }
            }
        };
        let Err::<(), Error>(error) = outcome.await else { return Ok(()) };
        let peer = peer.map(|peer| peer.address);
        let mut trail = Trail { peer, ..Trail::default() };
        let counted = edge.count_stranger(&mut trail, Err(error), peer, now);
        let error = counted.err().unwrap_or_else(|| Error::internal("a refusal was lost"));
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

async fn serve(edge: &Edge, request: Request) -> Response {
    let started = Instant::now();
    let now = edge.shared.vending.now();
    let number = edge.numbers.next();
    let (parts, body) = request.into_parts();
    let id = request_id(&parts.headers, number);
    let came = parts.extensions.get::<Peer>().copied();
    let peer = came.map(|peer| peer.address);
    let (dialect, numbers) = edge.claimed(mounted(&parts));
    if let Some(response) = edge.preflight(dialect, &parts, peer, now) {
        return response;
    }
    let (method, origin) = (parts.method.clone(), parts.headers.get(header::ORIGIN).cloned());
    let client = came.and_then(Peer::client);
    let mut trail = Trail { peer, client, id: Some(id.clone()), ..Trail::default() };
    let answer = edge.answer(dialect, &mut trail, (parts, body), now);
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
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
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
            Ended::Unchanged => StatusCode::NOT_MODIFIED,
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
        let path = mounted(parts);
        let found = if path.len() > LONGEST_PATH { None } else { dialect.find(&method, path, None).ok() };
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
        now: Timestamp,
    ) -> Result<Reply, Error> {
        if mounted(&parts).len() > LONGEST_PATH {
            return Err(Error::new(Kind::Malformed, format!("the path is longer than {LONGEST_PATH} bytes")));
        }
        let (route, params) = routed(dialect, trail, &parts, None)?;
        trail.route = Some(route);
        if let Some(actions) = &dialect.actions {
            return self.answer_action(dialect, (actions, route), trail, (parts, body), now).await;
        }
        match &route.entry {
            Entry::Open(handler) => {
                self.let_stranger_in(trail, now)?;
                let mut held = self.hold(STRANGERS)?;
                let body = self.body(route, body, &mut held).await?;
                let (uri, headers) = (parts.uri, parts.headers);
                // SECURITY: the body may have taken long; what stands in it has to be good now.
                let plain = Plain { now: self.shared.vending.now(), uri, headers, body, params };
                trail.author().during(handler(plain)).await
            }
            Entry::Token(_) | Entry::Change(_) => match dialect.proof {
                Proof::Signature(of) => {
                    self.answer_signed((dialect, of), trail, (route, params), (parts, body), now).await
                }
                Proof::Token(_) | Proof::TokenOrSession(_) | Proof::Carried(_) | Proof::Field(..) => {
                    self.answer_known(dialect, trail, (route, params), (parts, body), now).await
                }
            },
        }
    }

    /// Takes from a stranger's allowance, before anything is done for it.
    fn let_stranger_in<'a>(&'a self, trail: &mut Trail<'a>, now: Timestamp) -> Result<(), Error> {
        trail.counted = true;
        trail.quota = self.limiter.take(Key::peer(trail.peer), now);
        match trail.quota.as_ref().and_then(|quota| quota.retry_after_secs) {
            Some(secs) => Err(too_many(secs)),
            None => Ok(()),
        }
    }

    /// Lets in a caller that was proven: counts it, and refuses it where it is too many, not served or not let in.
    async fn let_in<'a>(
        &'a self,
        trail: &mut Trail<'a>,
        caller: &Arc<Caller>,
        route: &Route,
        now: Timestamp,
    ) -> Result<(), Error> {
        trail.caller = Some(Arc::clone(caller));
        self.shared.usage.request(caller.account, caller.token, Origin::Api, now);
        trail.quota = self.limiter.take_of(caller, route.class, now);
        if let Some(secs) = trail.quota.as_ref().and_then(|quota| quota.retry_after_secs) {
            return Err(too_many(secs));
        }
        if route.class != Class::Credentials {
            self.in_standing(caller, now).await?;
        }
        route.admits(caller.role)
    }

    /// Reads the body of a request that proves its sender only as a whole. Until then it is a stranger's; and who says to have signed
    /// it with a key that is not there does not have it read.
    async fn unproven<'a>(
        &'a self,
        dialect: &Dialect,
        route: &Route,
        trail: &mut Trail<'a>,
        (parts, body): (&Parts, Body),
        now: Timestamp,
    ) -> Result<(Bytes, Share), Error> {
        match dialect.proof {
            Proof::Signature(of) if proof::is_signed(parts) => proof::look(&self.shared, of, parts, now).await?,
            Proof::Signature(_) | Proof::Token(_) | Proof::TokenOrSession(_) | Proof::Carried(_) | Proof::Field(..) => {
                self.let_stranger_in(trail, now)?;
            }
        }
        let mut held = self.hold(STRANGERS)?;
        Ok((self.body(route, body, &mut held).await?, held))
    }

    /// Answers on a route by path who signed the request.
    async fn answer_signed<'a>(
        &'a self,
        (dialect, of): (&'a Dialect, Signature),
        trail: &mut Trail<'a>,
        (route, params): (&'a Route, Params),
        (parts, body): (Parts, Body),
        now: Timestamp,
    ) -> Result<Reply, Error> {
        let (body, _held) = self.unproven(dialect, route, trail, (&parts, body), now).await?;
        let now = self.shared.vending.now();
        let caller = proof::by_signature(&self.shared, of, (&parts, &body), bears(route), now).await?;
        self.let_in(trail, &caller, route, now).await?;
        let query = route.words.of(&Form::read(parts.uri.query().unwrap_or_default().as_bytes())?.unsigned())?;
        let Parts { headers, method, .. } = parts;
        let (from, request_id) = (trail.client, trail.id());
        let call = Call { caller, now, from, method, headers, query, body, params, request_id };
        self.handle(trail, route, call).await
    }

    /// Answers where a form says what is asked for.
    async fn answer_action<'a>(
        &'a self,
        dialect: &'a Dialect,
        (actions, some): (&Actions, &'a Route),
        trail: &mut Trail<'a>,
        (parts, body): (Parts, Body),
        now: Timestamp,
    ) -> Result<Reply, Error> {
        let (body, _held) = self.unproven(dialect, some, trail, (&parts, body), now).await?;
        // SECURITY: the body may have taken long to come; what it asks for must not outlive what proves its sender.
        let now = self.shared.vending.now();
        let mut form = actions.form(parts.uri.query(), &parts.headers, &body)?;
        let action = form.get("Action").map(str::to_owned);
        let (route, params) = match routed(dialect, trail, &parts, Some(action.as_deref().unwrap_or_default())) {
            Err(error) if error.kind() == Kind::NotFound(Noun::Route) => {
                return Err((actions.unknown)(action.as_deref()));
            }
            found => found?,
        };
        trail.route = Some(route);
        let shared = &self.shared;
        let at = (dialect.name, trail.peer);
        let proof = route.proof.unwrap_or(dialect.proof);
        let caller = match proof {
            Proof::Token(_) | Proof::TokenOrSession(_) | Proof::Carried(_) => {
                proof::by_token(shared, at, &token_of(proof, &parts.headers)?, now).await?
            }
            Proof::Field(name, worded) => proof::by_field(shared, at, (name, worded), form.take(name), now).await?,
            Proof::Signature(of) => proof::by_signature(shared, of, (&parts, &body), bears(route), now).await?,
        };
        self.let_in(trail, &caller, route, now).await?;
        let query = route.words.of(&form.without(|name| name == "Action"))?;
        let Parts { headers, method, .. } = parts;
        self.handle(
            trail,
            route,
            Call {
                caller,
                now,
                from: trail.client,
                method,
                headers,
                query,
                body: Bytes::new(),
                params,
                request_id: trail.id(),
            },
        )
        .await
    }

    /// Has the route's handler answer. What is changed from here on is changed by the caller's token.
    async fn handle(&self, trail: &Trail<'_>, route: &Route, call: Call) -> Result<Reply, Error> {
        let author = Author { token: Some(call.caller.token), caller: Some(call.caller.id), ..trail.author() };
        let authority = Authority::new(&call.caller, call.now);
        match &route.entry {
            // Not one that comes here.
            Entry::Open(_) => Err(Error::internal("a route for anyone asks who it is")),
            Entry::Token(handler) => author.during(handler(call)).await,
            Entry::Change(handler) => author.during(handler((call, authority))).await,
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
        let caller = self.identify((dialect, trail.peer), (&parts.method, &parts.uri, &parts.headers), now).await?;
        if let Err(error) = self.let_in(trail, &caller, route, now).await {
            if route.large.is_some() {
                read::discard(body).await;
            }
            return Err(error);
        }
        let query = route.words.read(parts.uri.query())?;
        let Parts { headers, method, uri, .. } = parts;
        let (request_id, from) = (trail.id(), trail.client);
        let call = |caller, now, body| Call {
            caller,
            now,
            from,
            method: method.clone(),
            headers: headers.clone(),
            query: query.clone(),
            body,
            params: params.clone(),
            request_id: request_id.clone(),
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
        let (caller, now) = if waited {
            self.again((dialect, trail.peer), (&method, &uri, &headers), route).await?
        } else {
            (caller, now)
        };
        self.handle(
            trail,
            route,
            Call { caller, now, from: trail.client, method, headers, query, body, params, request_id: trail.id() },
        )
        .await
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
        at: (&Dialect, Option<IpAddr>),
        sent: (&Method, &Uri, &HeaderMap),
        route: &Route,
    ) -> Result<(Arc<Caller>, Timestamp), Error> {
        let now = self.shared.vending.now();
        let caller = self.identify(at, sent, now).await?;
        if route.class != Class::Credentials {
            self.in_standing(&caller, now).await?;
        }
        // Its role may be another one now.
        route.admits(caller.role)?;
        Ok((caller, now))
    }

    async fn identify(
        &self,
        (dialect, from): (&Dialect, Option<IpAddr>),
        sent: (&Method, &Uri, &HeaderMap),
        now: Timestamp,
    ) -> Result<Arc<Caller>, Error> {
        let at = (dialect.name, from);
        if let Proof::TokenOrSession(find) = dialect.proof {
            return proof::by_token_or_session(&self.shared, at, find, sent, now).await;
        }
        let presented = token_of(dialect.proof, sent.2)?;
        proof::by_token(&self.shared, at, &presented, now).await
    }

    /// Refuses the callers of a suspended account. For credentials policy does.
    async fn in_standing(&self, caller: &Caller, now: Timestamp) -> Result<(), Error> {
        match caller.role {
            // An operator must be able to undo it.
            Role::Operator => return Ok(()),
            Role::Member | Role::Admin | Role::Auditor | Role::Planner => {}
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

/// The path that a request is routed by: its own, or the one that it is served under where it came in by another door.
fn mounted(parts: &Parts) -> &str {
    parts.extensions.get::<Mounted>().map_or_else(|| parts.uri.path(), |at| at.0)
}

/// The route of a request. An action is only asked for where a form has said it.
fn routed<'a>(
    dialect: &'a Dialect,
    trail: &mut Trail<'_>,
    parts: &Parts,
    action: Option<&str>,
) -> Result<(&'a Route, Params), Error> {
    match dialect.find(&parts.method, mounted(parts), action)? {
        Found::Route(route, params) => Ok((route, params)),
        Found::OtherMethods(routes) => {
            let mut names: Vec<&str> = Vec::new();
            for name in routes.iter().map(|route| route.method.as_str()) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            if routes.iter().any(|route| route.has_head()) && !names.contains(&"HEAD") {
                names.push("HEAD");
            }
            let names = names.join(", ");
            trail.allow = HeaderValue::from_str(&names).ok();
            Err(Error::new(Kind::WrongMethod, format!("this route takes {names}")))
        }
        Found::Nothing => Err(Error::not_found(Noun::Route)),
    }
}

/// The token of a request that proves its sender by one. The other proofs prove a request with its body.
fn token_of(proof: Proof, headers: &HeaderMap) -> Result<Cow<'_, str>, Error> {
    proof.token(headers).unwrap_or_else(|| Err(Error::internal("a route by path has a proof of forms")))
}

/// Whether a URL that was signed is enough. One makes no credential: who sees it would have one.
fn bears(route: &Route) -> bool {
    route.method == Method::GET && route.class != Class::Credentials
}

fn too_many(secs: u32) -> Error {
    Error::new(Kind::RateLimited, format!("too many requests; try again in {secs} s")).retry_after(secs)
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without words")
}
