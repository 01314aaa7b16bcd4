//! A dialect and its routes, as data: what is routed is what is listed, so nothing is served that a test cannot go over.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Uri};
use jiff::Timestamp;
use valetkey_core::caller::{Caller, Role};
use valetkey_core::conditions::Facts;
use valetkey_core::lease::Revoker;
use valetkey_core::{Error, Kind};

use super::decode::percent;
use super::form::Form;
use super::limit::{Class, Quota};
use super::proof::Proof;
use super::query::{Query, Words};
use super::refusal::{Refused, Row};
use super::reply::Reply;

/// A dialect's status and code for each kind of refusal.
pub type Table = Arc<dyn Fn(Kind) -> Row + Send + Sync>;
/// How a dialect writes a refusal.
pub type Envelope = Arc<dyn Fn(&Refused<'_>) -> Vec<u8> + Send + Sync>;

/// One published API.
pub struct Dialect {
    /// Its name in the ledger, logs and metrics.
    pub name: &'static str,
    /// What stands in front of its claims and routes: empty, or a path without a slash at its end.
    pub base: String,
    /// The paths that are its, whole or with anything below them. The empty one is the base itself and all below it.
    pub claims: &'static [&'static str],
    /// Another spelling of the beginning of its paths, and the one its routes have.
    pub alias: Option<(&'static str, &'static str)>,
    /// Its routes.
    pub routes: Vec<Route>,
    /// How its callers prove who they are.
    pub proof: Proof,
    /// How its routes of one path are told apart, where a form says what is asked for.
    pub actions: Option<Actions>,
    /// Its status and code for each kind of refusal.
    pub row: Table,
    /// The codes that its refusals may have beside those of its table. Another one is not sent: so these are all there are.
    pub codes: &'static [&'static str],
    /// Its envelope.
    pub body: Envelope,
    /// Its envelope's content type.
    pub body_type: &'static str,
    /// Headers of its own on refusals.
    pub refused: fn(&Refused<'_>, &mut HeaderMap),
    /// How it tells callers what is left of their allowance; [`super::usual_headers`] for the usual ones.
    pub quota: fn(&Quota<'_>, &mut HeaderMap),
}

/// Operations that are named in a form, as AWS' query APIs do: by the parameter `Action`, in the query or in the body.
pub struct Actions {
    /// The version of the API, where a request says one.
    pub version: &'static str,
    /// The refusal of an action that there is not, or of a form without one.
    pub unknown: fn(Option<&str>) -> Error,
}

impl Actions {
    /// What a request says, in its query and in its body together. What proves it stands beside that.
    pub(super) fn form(&self, query: Option<&str>, headers: &HeaderMap, body: &[u8]) -> Result<Form, Error> {
        let in_query = Form::read(query.unwrap_or_default().as_bytes())?.unsigned();
        let form = if body.is_empty() { in_query } else { in_query.and(Self::body(headers, body)?)? };
        let named = form.get("Version");
        if named.is_some_and(|version| version != self.version) {
            return Err((self.unknown)(form.get("Action")).at("Version"));
        }
        Ok(form.without(|name| name == "Version"))
    }

    fn body(headers: &HeaderMap, body: &[u8]) -> Result<Form, Error> {
        let told = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_form = told.split(';').next().is_some_and(|told| told.trim().eq_ignore_ascii_case(FORM));
        if !is_form {
            return Err(Error::new(
                Kind::Malformed,
                format!("the body is not declared to be a form; send `content-type: {FORM}`"),
            ));
        }
        Form::read(body)
    }
}

/// What a form says that it is.
const FORM: &str = "application/x-www-form-urlencoded";

/// For dialects whose refusals have no headers of their own.
pub fn no_headers(_: &Refused<'_>, _: &mut HeaderMap) {}

/// What a handler that needs no caller gets.
#[derive(Debug)]
pub struct Plain {
    /// The present instant.
    pub now: Timestamp,
    /// The request's address.
    pub uri: Uri,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The request's body.
    pub body: Bytes,
    /// What stands in the path where the route has `{name}`.
    pub params: Params,
}

/// What a handler gets: a request whose caller is proven.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who is asking.
    pub caller: Arc<Caller>,
    /// The present instant.
    pub now: Timestamp,
    /// The client's own address, as far as it is known.
    pub from: Option<IpAddr>,
    /// The request's method: the route's, or `HEAD` where the route's is `GET`.
    pub method: Method,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The parameters of its query that the route knows.
    pub query: Query,
    /// The request's body.
    pub body: Bytes,
    /// What stands in the path where the route has `{name}`.
    pub params: Params,
    /// The request's id, as the answer's header has it.
    pub request_id: HeaderValue,
}

impl Call {
    /// What is known of the request besides who asks.
    pub fn facts(&self) -> Facts<'static> {
        Facts { from: self.from, ..Facts::default() }
    }
}

/// Proof that who changes something may: made here alone, of a caller that was proven when all of its request had come, on a route
/// whose row lets its role in.
#[derive(Clone, Copy, Debug)]
pub struct Authority {
    by: Revoker,
}

impl Authority {
    pub(super) const fn new(caller: &Caller, at: Timestamp) -> Self {
        Self { by: Revoker { by: caller.id, at } }
    }

    /// Who it is, and when: what an end is put on record with.
    pub const fn by(self) -> Revoker {
        self.by
    }
}

/// What stands in the path where the route has `{name}`, decoded once.
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<(&'static str, String)>);

impl Params {
    /// The value of a placeholder.
    ///
    /// # Errors
    /// `Internal` when the route has none of that name.
    pub fn get(&self, name: &'static str) -> Result<&str, Error> {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
            .ok_or_else(|| Error::internal(format!("the route has no placeholder `{name}`")))
    }
}

type Handler<T> = Box<dyn Fn(T) -> BoxFuture<'static, Result<Reply, Error>> + Send + Sync>;
type Decider = Box<dyn Fn(Call) -> BoxFuture<'static, Result<(), Error>> + Send + Sync>;

/// What a route with larger bodies than usual says of them.
pub struct Large {
    /// The most bytes of one.
    pub most: usize,
    /// Whether the caller may send one, asked with the body still unread.
    pub(super) decide: Decider,
}

impl fmt::Debug for Large {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {} bytes", self.most)
    }
}

/// Who may come in.
pub enum Entry {
    /// Anyone.
    Open(Handler<Plain>),
    /// Who proves itself, as the dialect says.
    Token(Handler<Call>),
    /// The same, to change something.
    Change(Handler<(Call, Authority)>),
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open(_) => "open",
            Self::Token(_) => "token",
            Self::Change(_) => "change",
        })
    }
}

/// One route.
#[derive(Debug)]
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path; `{name}` stands for one segment.
    pub path: &'static str,
    /// The operation, where a form says it and the path does not; empty elsewhere.
    pub action: &'static str,
    /// How its callers prove who they are, where it is not as for the dialect's other routes.
    pub proof: Option<Proof>,
    /// Which allowance of the caller's it takes from.
    pub class: Class,
    /// The least role that is let in.
    pub needs: Role,
    /// Planners and auditors that are let in, besides what their role sees.
    pub also: &'static [Role],
    /// Which parameters of the query it knows.
    pub words: Words,
    /// If its bodies may be larger than usual.
    pub large: Option<Large>,
    /// Who may come in.
    pub entry: Entry,
}

impl Route {
    fn new(method: Method, path: &'static str, class: Class, entry: Entry) -> Self {
        Self {
            method,
            path,
            action: "",
            proof: None,
            class,
            needs: Role::Member,
            also: &[],
            words: Words::only(&[]),
            large: None,
            entry,
        }
    }

    /// The same for requests whose form says this action.
    #[must_use]
    pub fn action(self, action: &'static str) -> Self {
        Self { action, ..self }
    }

    /// The same for who proves itself in this way.
    #[must_use]
    pub fn proven(self, proof: Proof) -> Self {
        Self { proof: Some(proof), ..self }
    }

    /// The same for nobody with a lesser role.
    #[must_use]
    pub fn needs(self, needs: Role) -> Self {
        Self { needs, ..self }
    }

    /// The same for auditors, too.
    #[must_use]
    pub fn audited(self) -> Self {
        self.also(&[Role::Auditor])
    }

    /// The same for these of planners and auditors, too.
    #[must_use]
    pub fn also(self, also: &'static [Role]) -> Self {
        Self { also, ..self }
    }

    /// The same with these parameters in its query, and no others.
    #[must_use]
    pub fn query(self, known: &'static [&'static str]) -> Self {
        Self { words: Words::only(known), ..self }
    }

    /// The same with these parameters in its query; others are passed over, as the API's vendor does.
    #[must_use]
    pub fn passing_query(self, known: &'static [&'static str]) -> Self {
        Self { words: Words::passing(known), ..self }
    }

    /// The same where a credential is made: what could only mean to narrow it is refused.
    #[must_use]
    pub fn vending_query(self, known: &'static [&'static str]) -> Self {
        Self { words: Words::vending(known), ..self }
    }

    /// Refuses a caller whose role is not let in.
    pub(crate) fn admits(&self, role: Role) -> Result<(), Error> {
        let said = match role {
            Role::Member | Role::Admin | Role::Operator if role >= self.needs => return Ok(()),
            Role::Planner if self.reads() || (self.needs == Role::Member && !self.changes()) => return Ok(()),
            Role::Planner | Role::Auditor if self.also.contains(&role) => return Ok(()),
            Role::Planner => "only an operator may do this: a planner changes nothing",
            Role::Auditor => "only an operator may do this: an auditor reads the ledger, leases and who may reach what",
            Role::Member | Role::Admin | Role::Operator => match self.needs {
                Role::Operator | Role::Planner | Role::Auditor => {
                    match (self.also.contains(&Role::Auditor), self.reads()) {
                        (true, _) => "only an operator, a planner or an auditor may do this",
                        (false, true) => "only an operator or a planner may do this",
                        (false, false) => "only an operator may do this",
                    }
                }
                Role::Admin | Role::Member => "only an admin of the account may do this",
            },
        };
        Err(Error::new(Kind::Forbidden, said))
    }

    /// Whether its handler gets leave to change something.
    fn changes(&self) -> bool {
        matches!(self.entry, Entry::Change(_))
    }

    /// Whether it does nothing but tell.
    fn reads(&self) -> bool {
        self.method == Method::GET && !self.changes()
    }

    /// A route for who proves itself with a token.
    pub fn token<F>(
        method: Method,
        path: &'static str,
        class: Class,
        handler: impl Fn(Call) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Reply, Error>> + Send + 'static,
    {
        Self::new(method, path, class, Entry::Token(Box::new(move |call| Box::pin(handler(call)))))
    }

    /// A route for who proves itself with a token, to change something.
    pub fn change<F>(
        method: Method,
        path: &'static str,
        class: Class,
        handler: impl Fn(Call, Authority) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Reply, Error>> + Send + 'static,
    {
        let handler = move |(call, authority)| -> BoxFuture<'static, _> { Box::pin(handler(call, authority)) };
        Self::new(method, path, class, Entry::Change(Box::new(handler)))
    }

    /// A route for anyone.
    pub fn open<F>(
        method: Method,
        path: &'static str,
        class: Class,
        handler: impl Fn(Plain) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Reply, Error>> + Send + 'static,
    {
        Self::new(method, path, class, Entry::Open(Box::new(move |plain| Box::pin(handler(plain)))))
    }

    /// The same with a body of at most so many bytes. SECURITY: nothing of it is read for whom `decide` refuses.
    #[must_use]
    pub fn large<F>(self, most: usize, decide: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        Self { large: Some(Large { most, decide: Box::new(move |call| Box::pin(decide(call))) }), ..self }
    }

    /// Whether it answers `HEAD`: not where a credential would be made that nobody gets.
    pub(super) fn has_head(&self) -> bool {
        self.method == Method::GET && self.class != Class::Credentials
    }

    fn fits(&self, path: &str, action: Option<&str>) -> bool {
        action.is_none_or(|action| action == self.action) && self.fits_path(path)
    }

    fn fits_path(&self, path: &str) -> bool {
        if !self.path.contains('{') {
            return self.path == path;
        }
        let mut given = path.split('/');
        for own in self.path.split('/') {
            match given.next() {
                Some(segment) if own == segment || (own.starts_with('{') && !segment.is_empty()) => {}
                Some(_) | None => return false,
            }
        }
        given.next().is_none()
    }

    fn params(&self, path: &str) -> Result<Params, Error> {
        if !self.path.contains('{') {
            return Ok(Params::default());
        }
        let named = self
            .path
            .split('/')
            .zip(path.split('/'))
            .filter_map(|(own, given)| Some((own.strip_prefix('{')?.strip_suffix('}')?, given)));
        named.map(|(name, given)| Ok((name, percent(given, "path")?))).collect::<Result<_, Error>>().map(Params)
    }
}

/// Whether a path is this one, or below it.
fn is_under(path: &str, claim: &str) -> bool {
    path.strip_prefix(claim).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What a path and a method lead to.
pub(super) enum Found<'a> {
    Route(&'a Route, Params),
    /// The path is one, the method is not; these are.
    OtherMethods(Vec<&'a Route>),
    Nothing,
}

impl Dialect {
    /// The paths that are its, whole or with anything below them.
    fn claimed(&self) -> impl Iterator<Item = String> {
        self.claims.iter().chain(self.alias.iter().map(|(short, _)| short)).map(|claim| format!("{}{claim}", self.base))
    }

    /// A path of its that is also another's, or above or below one of the other's.
    pub(crate) fn meets(&self, other: &Self) -> Option<String> {
        self.claimed().find(|claim| other.meets_path(claim))
    }

    /// Whether a path is one of its, or above or below one.
    pub(crate) fn meets_path(&self, path: &str) -> bool {
        self.claimed().any(|claim| is_under(path, &claim) || is_under(&claim, path))
    }

    pub(super) fn claims(&self, path: &str) -> Option<usize> {
        let path = path.strip_prefix(&*self.base)?;
        let claims = self.claims.iter().chain(self.alias.iter().map(|(short, _)| short));
        claims.filter(|claim| is_under(path, claim)).map(|claim| self.base.len() + claim.len()).max()
    }

    /// The path as the routes have it.
    fn routed<'p>(&self, path: &'p str) -> Option<Cow<'p, str>> {
        let path = path.strip_prefix(&*self.base)?;
        Some(match self.alias {
            Some((short, long)) if is_under(path, short) && !is_under(path, long) => {
                Cow::Owned(format!("{long}{}", path.strip_prefix(short).unwrap_or_default()))
            }
            Some(_) | None => Cow::Borrowed(path),
        })
    }

    /// What a path and a method lead to, and an action where a form has said one. One slash more or less at the end is the same route.
    pub(super) fn find(&self, method: &Method, path: &str, action: Option<&str>) -> Result<Found<'_>, Error> {
        let Some(path) = self.routed(path) else { return Ok(Found::Nothing) };
        let found = self.exactly(method, &path, action)?;
        if let Found::Route(..) = found {
            return Ok(found);
        }
        let other = match path.strip_suffix('/') {
            Some(without) => self.exactly(method, without, action)?,
            None => self.exactly(method, &format!("{path}/"), action)?,
        };
        Ok(match (found, other) {
            (_, other @ Found::Route(..)) | (Found::Nothing, other) => other,
            (found, _) => found,
        })
    }

    fn exactly(&self, method: &Method, path: &str, action: Option<&str>) -> Result<Found<'_>, Error> {
        let mut others = Vec::new();
        let mut got = None;
        for route in &self.routes {
            if route.fits(path, action) {
                if route.method == *method {
                    return Ok(Found::Route(route, route.params(path)?));
                }
                // Whatever can be got can be asked for without its body, but for what is made by asking.
                if *method == Method::HEAD && route.has_head() && got.is_none() {
                    got = Some(route);
                }
                others.push(route);
            }
        }
        Ok(match got {
            Some(route) => Found::Route(route, route.params(path)?),
            None if others.is_empty() => Found::Nothing,
            None => Found::OtherMethods(others),
        })
    }
}
