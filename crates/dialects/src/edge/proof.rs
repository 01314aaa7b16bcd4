//! How the callers of a dialect prove who they are, as a value; and the proving itself, which is the edge's alone.
//!
//! SECURITY: a handler gets a caller that was proven, and never sees what proved it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::{HeaderMap, Method, Uri};
use jiff::Timestamp;
use valetkey_core::caller::{Caller, Held, Role};
use valetkey_core::error::Stranger;
use valetkey_core::id::TokenId;
use valetkey_core::keyring::Carried;
use valetkey_core::token::PlainToken;
use valetkey_core::{Error, Kind, Secret, access};
use valetkey_sigv4::{Claimed, Malformed, Payload, Place, Query, Refused, decode, single};

use super::carrier::{self, Carrier};
use super::{Shared, identity};

/// How a caller proves who it is.
#[derive(Clone, Copy, Debug)]
pub enum Proof {
    /// By a token, which stands where this finds it.
    Token(fn(&HeaderMap) -> Result<Cow<'_, str>, Error>),
    /// The same, by the places where it may stand.
    Carried(&'static [Carrier]),
    /// By a token, or by a session of the console in a cookie.
    TokenOrSession(fn(&HeaderMap) -> Result<Cow<'_, str>, Error>),
    /// By an identity token in a field of the form: by the field's name, and in the dialect's words when it is not taken.
    Field(&'static str, fn(Error) -> Error),
    /// By a signature.
    Signature(Signature),
}

impl Proof {
    /// The token that proves a caller; nothing where it is proven in another way.
    pub(super) fn token<'h>(&self, headers: &'h HeaderMap) -> Option<Result<Cow<'h, str>, Error>> {
        match self {
            Self::Token(find) | Self::TokenOrSession(find) => Some(find(headers)),
            Self::Carried(carriers) => Some(carrier::token(carriers, headers)),
            Self::Field(..) | Self::Signature(_) => None,
        }
    }

    /// Which challenge asks for that token.
    pub(super) fn challenge(&self, why: Stranger) -> Option<&'static str> {
        match self {
            Self::Token(_) | Self::TokenOrSession(_) => Some(carrier::bearer_challenge(why)),
            Self::Carried(carriers) => carrier::challenge(carriers, why),
            Self::Field(..) | Self::Signature(_) => None,
        }
    }
}

/// AWS Signature Version 4 with a parent access key, or with a credential of our own endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Signature {
    /// The service that requests are signed for.
    pub service: &'static str,
    /// Whether a request without a body may say that it signed none, as clients of S3 do.
    pub unsigned: bool,
    /// The dialect's words for what proves nobody.
    pub worded: fn(Unproven) -> Error,
}

/// Why a signed request proves nobody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unproven {
    /// The request itself does not.
    Request(Refused),
    /// The access key id is not one of ours.
    UnknownKey,
    /// The session token is not the key's.
    BadToken,
    /// The credential's time is over, or it was ended.
    Ended,
    /// It is a URL that somebody else may have, and what is asked for needs the key itself.
    Presigned,
}

/// Whether a request says that it is signed.
pub(super) fn is_signed(parts: &Parts) -> bool {
    parts.headers.contains_key(AUTHORIZATION)
        || parts.uri.query().is_some_and(|query| query.contains("X-Amz-Signature="))
}

/// Whom a token proves, in one dialect. What tokens the product knows is decided here: a token of a caller's, an access token that
/// stands for one, and that of an identity provider.
pub(super) async fn by_token(
    shared: &Shared,
    (dialect, from): (&'static str, Option<IpAddr>),
    presented: &str,
    now: Timestamp,
) -> Result<Arc<Caller>, Error> {
    if identity::is_jwt(presented) {
        let caller = identity::caller(shared, presented, from, now).await?;
        caller.in_time(now)?;
        return Ok(caller);
    }
    let token = if presented.starts_with(access::PREFIX) {
        access::open(&shared.keyring.load(), dialect, presented, now)?
    } else {
        PlainToken::parse(presented)?.digest()
    };
    let caller = shared.vending.directory.caller_by_digest(token, now).await?;
    // The directory checked it; what it keeps may be older than this instant.
    caller.in_time(now)?;
    Ok(caller)
}

/// Whom a token proves or, where there is none, a session of the console: for its own pages, as the token that it stands for does.
pub(super) async fn by_token_or_session(
    shared: &Shared,
    (dialect, from): (&'static str, Option<IpAddr>),
    find: fn(&HeaderMap) -> Result<Cow<'_, str>, Error>,
    (method, uri, headers): (&Method, &Uri, &HeaderMap),
    now: Timestamp,
) -> Result<Arc<Caller>, Error> {
    let console = shared.console.as_deref().filter(|_| !headers.contains_key(AUTHORIZATION));
    let session = match console {
        Some(console) => console.session(shared, dialect, headers, now)?.map(|session| (console, session)),
        None => None,
    };
    let Some((console, session)) = session else {
        return by_token(shared, (dialect, from), &find(headers)?, now).await;
    };
    console.own_page(method, uri, headers)?;
    let caller = shared.vending.directory.caller_by_digest(session.token, now).await?;
    caller.in_time(now)?;
    Ok(caller)
}

/// Whom the identity token in a field of a form proves.
pub(super) async fn by_field(
    shared: &Shared,
    at: (&'static str, Option<IpAddr>),
    (name, worded): (&'static str, fn(Error) -> Error),
    presented: Option<Secret<String>>,
    now: Timestamp,
) -> Result<Arc<Caller>, Error> {
    let missing = || Error::new(Kind::Unauthenticated(Stranger::Missing), format!("the parameter `{name}` is missing"));
    let presented = presented.ok_or_else(|| worded(missing().at(name)))?;
    by_token(shared, at, presented.reveal(), now).await.map_err(worded)
}

/// A look at who says to have signed, before the body is there: for whom nothing is known, nothing is read.
pub(super) async fn look(shared: &Shared, of: Signature, parts: &Parts, now: Timestamp) -> Result<(), Error> {
    let query = Query::parse(parts.uri.query()).map_err(|refused| (of.worded)(Unproven::Request(refused)))?;
    claimed(shared, of, parts, &query, now).await.map(drop)
}

/// Who signed a request. `bears` says whether a URL that was signed is enough, which others than the key's holder may have.
pub(super) async fn by_signature(
    shared: &Shared,
    of: Signature,
    (parts, body): (&Parts, &[u8]),
    bears: bool,
    now: Timestamp,
) -> Result<Arc<Caller>, Error> {
    let refused = |refused| (of.worded)(Unproven::Request(refused));
    let query = Query::parse(parts.uri.query()).map_err(refused)?;
    let (claimed, key) = claimed(shared, of, parts, &query, now).await?;
    let path = decode(parts.uri.path()).map_err(refused)?;
    let host = host(parts).map_err(refused)?;
    let presigned = claimed.is_presigned();
    let verify = |claimed: &Claimed| claimed.verify(parts, &path, &query, host, &key.secret).map(drop);
    // SECURITY: what may be left out of the signature is a body that is not there.
    let bare = of.unsigned && body.is_empty() && claimed.payload == Payload::Unsigned;
    if !bare || verify(&claimed).is_err() {
        verify(&claimed.of_body(body).map_err(refused)?).map_err(refused)?;
    }
    if presigned && !bears {
        return Err((of.worded)(Unproven::Presigned));
    }
    Ok(Arc::new(key.caller))
}

/// A key as we know it: nothing of a request says so much.
struct Key {
    secret: Secret<String>,
    caller: Caller,
}

async fn claimed(
    shared: &Shared,
    of: Signature,
    parts: &Parts,
    query: &Query,
    now: Timestamp,
) -> Result<(Claimed, Key), Error> {
    let refused = |refused| (of.worded)(Unproven::Request(refused));
    let claimed = Claimed::read_bodied(parts, query, of.service).map_err(refused)?;
    claimed.covered(parts).map_err(refused)?;
    let key = match TokenId::from_hex(&claimed.unverified_key_id) {
        Some(id) => parent(shared, of, id, &claimed, now).await?,
        None => vended(shared, of, &claimed, now).await?,
    };
    claimed.timely(now).map_err(refused)?;
    Ok((claimed, key))
}

/// A parent access key: its caller, as far as the key itself opens anything.
async fn parent(shared: &Shared, of: Signature, id: TokenId, claimed: &Claimed, now: Timestamp) -> Result<Key, Error> {
    // What its holder signed on its own has no lease that could be narrowed.
    if claimed.unverified_token.is_some() {
        return Err((of.worded)(Unproven::BadToken));
    }
    let found = shared.parents.parent(id, now).await?.ok_or_else(|| (of.worded)(Unproven::UnknownKey))?;
    found.caller.in_time(now)?;
    let opens = found.reach.iter().map(|own| (own.storage, Arc::clone(&own.rights))).collect();
    let conditional =
        found.conditional.iter().map(|(grant, own)| (*grant, own.storage, Arc::clone(&own.rights))).collect();
    let held = Held { opens, conditional, until: None, leases: Vec::new() };
    let caller = Caller { role: Role::Member, held: Some(Arc::new(held)), ..(*found.caller).clone() };
    Ok(Key { secret: found.secret.clone(), caller })
}

/// A credential of our own endpoint: the caller it was vended to, as far and as long as it opens anything.
async fn vended(shared: &Shared, of: Signature, claimed: &Claimed, now: Timestamp) -> Result<Key, Error> {
    let worded = |why| (of.worded)(why);
    let (ring, id) = (shared.keyring.load(), claimed.unverified_key_id.as_str());
    let secret = ring.secret_access_key(id).ok_or_else(|| worded(Unproven::UnknownKey))?;
    let token = claimed.unverified_token.as_ref().ok_or_else(|| worded(Unproven::UnknownKey))?;
    let claims = ring.unseal(token.reveal(), id).map_err(|_| worded(Unproven::BadToken))?;
    if claims.until <= now || claims.origins().iter().any(|origin| shared.leases.is_revoked(origin)) {
        return Err(worded(Unproven::Ended));
    }
    let rights = match &claims.reach {
        Carried::Here(rights) => Arc::new(rights.clone()),
        Carried::WithLease => shared.leases.rights(claims.lease).await?.ok_or_else(|| worded(Unproven::BadToken))?,
    };
    let as_of = shared.vending.directory.as_of();
    let record = shared.registry.token_by_id(claims.token).await?;
    let record = record.filter(|record| record.is_live(now) && record.caller == claims.caller);
    let record = record.ok_or_else(|| worded(Unproven::Ended))?;
    let leases = claims.narrowed_from.iter().copied().chain([claims.lease]).collect();
    let caller = Caller {
        id: record.caller,
        account: record.account,
        name: record.caller_name,
        // Whatever the caller may do with its token: this is a key to objects.
        role: Role::Member,
        token: record.id,
        token_until: record.until,
        identity: shared.identities.identity(claims.token).await?,
        held: Some(Arc::new(Held {
            opens: vec![(claims.storage, rights)],
            conditional: Vec::new(),
            until: Some(claims.until),
            leases,
        })),
        as_of,
    };
    Ok(Key { secret, caller })
}

/// The host a request is for.
fn host(parts: &Parts) -> Result<&str, Refused> {
    let named = single(parts, &HOST)?;
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    match (named, authority) {
        (Some(named), Some(authority)) if named != authority => Err(Refused::HeaderTwice),
        (Some(host), _) | (None, Some(host)) => Ok(host),
        (None, None) => Err(Refused::Malformed(Place::Header, Malformed::MissingField)),
    }
}
