//! `POST /accounts/{account_id}/r2/temp-access-credentials`: temporary credentials of a parent access key.
//!
//! They are vended like all others, for the parent's caller and token, so that disabling the parent ends them. Their form is ours:
//! R2's own makes the session token alone the whole credential.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use valetkey_core::account::Standing;
use valetkey_core::ask::{Ask, Asked, MOST_PATH_BYTES, Target, Wanted};
use valetkey_core::caller::{Caller, Role};
use valetkey_core::error::Noun;
use valetkey_core::id::{AccountId, TokenId};
use valetkey_core::name::{BucketName, shortened};
use valetkey_core::nouns::parent::{LONGEST, Operations, Parent, Permission, of_paths};
use valetkey_core::scope::{Actions, Path, Paths};
use valetkey_core::storage::Shape;
use valetkey_core::time::Lifetime;
use valetkey_core::vending::Vended;
use valetkey_core::{Error, Kind};

use super::{NAME, account, answer};
use crate::edge::{Call, Reply, Shared, json};

/// How long a credential lives when the request does not say. Source: the published schema's default.
const USUAL: Lifetime = Lifetime::secs(900);
/// The most prefixes and objects of one request together; nothing is published.
const MOST_PATHS: usize = 100;
/// Where a bucket may be said to lie. Source: `cf-r2-jurisdiction` in the SDKs.
const JURISDICTIONS: [&str; 5] = ["default", "eu", "us", "fedramp", "fedramp-high"];

pub(super) async fn vend(shared: Arc<Shared>, call: Call) -> Result<Reply, Error> {
    jurisdiction(&call)?;
    let wanted = Request::read(wire(&call.body)?)?;
    let account = account(&call)?;
    let (parent, ask) = asked(&shared, &call, account, wanted).await?;
    // The parent's, but no longer than the token that asks is good.
    let token_until = parent.caller.token_until.into_iter().chain(call.caller.token_until).min();
    let caller = Caller { token_until, ..(*parent.caller).clone() };
    let vended = shared.vending.vend(&caller, &ask).await?;
    answer(&Answer::of(&vended)?)
}

/// The parent, and what is asked of it: nothing that it does not reach.
async fn asked(shared: &Shared, call: &Call, account: AccountId, wanted: Request) -> Result<(Arc<Parent>, Ask), Error> {
    let Request { bucket, parent, permission, operations, paths, lifetime } = wanted;
    let none = || {
        Error::new(Kind::Forbidden, "there is no such parent access key, or it is not yours").at("parentAccessKeyId")
    };
    let parent = match parent {
        Some(id) => shared.parents.parent(id, call.now).await?.ok_or_else(none)?,
        None => return Err(none()),
    };
    if parent.caller.account != account || !may_use(&call.caller, &parent) {
        return Err(none());
    }
    let actions = of_paths(permission.actions(), &paths);
    let actions = operations.map_or(actions, |named| named.intersect(actions));
    if actions.is_empty() {
        return Err(Error::new(Kind::Invalid, "the permission allows none of the actions").at("actions"));
    }
    if !parent.knows(&bucket) {
        // A suspended account's parents reach nothing; that is not the bucket's fault.
        match shared.vending.directory.account(account, call.now).await?.account().standing {
            Standing::Active => {}
            Standing::Suspended => return Err(Error::new(Kind::Forbidden, "the account is suspended")),
        }
        return Err(Error::not_found(Noun::Bucket).at("bucket"));
    }
    if !parent.covers(&bucket, &paths, actions) {
        let said = "the parent access key does not allow this permission there";
        return Err(Error::new(Kind::Forbidden, said).at("permission"));
    }
    let ask = Ask {
        dialect: NAME,
        target: Target::Place { bucket, paths },
        wanted: Wanted::all_of(actions),
        lifetime,
        carries: Shape::S3_ONLY,
    };
    Ok((parent, ask))
}

/// Whether the caller may hand on what the parent has: with the parent's own token, as its caller, or in charge of both.
fn may_use(caller: &Caller, parent: &Parent) -> bool {
    let own = caller.account == parent.caller.account;
    match caller.role {
        Role::Operator => true,
        Role::Admin => own,
        // Whatever they may see, they hand on nothing of others.
        Role::Member | Role::Auditor | Role::Planner => own && caller.id == parent.caller.id,
    }
}

/// Buckets lie nowhere in particular here; what cannot be a jurisdiction is refused all the same.
fn jurisdiction(call: &Call) -> Result<(), Error> {
    let mut all = call.headers.get_all("cf-r2-jurisdiction").iter();
    let known = |value: &http::HeaderValue| value.to_str().is_ok_and(|text| JURISDICTIONS.contains(&text));
    match (all.next(), all.next()) {
        (None, None) => Ok(()),
        (Some(value), None) if known(value) => Ok(()),
        (Some(_) | None, _) => {
            let said = format!("the header `cf-r2-jurisdiction` takes one of `{}`", JURISDICTIONS.join("`, `"));
            Err(Error::new(Kind::Invalid, said))
        }
    }
}

/// Keeps a field that is there, also when it is `null`.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// The request as it came: each field is looked at alone, so that a refusal can name it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Wire {
    #[serde(default, deserialize_with = "given")]
    bucket: Option<Value>,
    #[serde(default, deserialize_with = "given")]
    parent_access_key_id: Option<Value>,
    #[serde(default, deserialize_with = "given")]
    permission: Option<Value>,
    #[serde(default, deserialize_with = "given")]
    ttl_seconds: Option<Value>,
    #[serde(default, deserialize_with = "given")]
    prefixes: Option<Value>,
    #[serde(default, deserialize_with = "given")]
    objects: Option<Value>,
    /// Announced for this API; taken already.
    #[serde(default, deserialize_with = "given")]
    actions: Option<Value>,
}

/// The fields there are.
const FIELDS: [&str; 7] = ["bucket", "parentAccessKeyId", "permission", "ttlSeconds", "prefixes", "objects", "actions"];

/// Reads the request. One that is not known is refused with its name: `prefix` for `prefixes` must not open the bucket.
fn wire(body: &[u8]) -> Result<Wire, Error> {
    json(body).map_err(|error| match unknown(body) {
        None => error,
        Some(name) => {
            let said = format!("unknown field `{}`; there are `{}`", shortened(&name), FIELDS.join("`, `"));
            let error = Error::new(Kind::Invalid, said);
            if name.len() <= LONGEST_NAME { error.at(name) } else { error }
        }
    })
}

/// The longest name of a field that is repeated.
const LONGEST_NAME: usize = 100;

fn unknown(body: &[u8]) -> Option<String> {
    let fields: serde_json::Map<String, Value> = serde_json::from_slice(body).ok()?;
    fields.into_iter().map(|(name, _)| name).find(|name| !FIELDS.contains(&&**name))
}

struct Request {
    bucket: BucketName,
    /// None when it cannot be one.
    parent: Option<TokenId>,
    permission: Permission,
    /// The actions of the operations named, if any are.
    operations: Option<Actions>,
    paths: Paths,
    lifetime: Asked,
}

fn invalid(field: &'static str, said: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Kind::Invalid, said).at(field)
}

fn text<'v>(value: Option<&'v Value>, field: &'static str) -> Result<&'v str, Error> {
    value
        .ok_or_else(|| invalid(field, format!("`{field}` is missing")))?
        .as_str()
        .ok_or_else(|| invalid(field, format!("`{field}` must be a string")))
}

/// A list of texts; nothing if it is not there. `null` is a list with nothing in it: some clients write one so.
fn texts<'v>(value: Option<&'v Value>, field: &'static str) -> Result<Option<Vec<&'v str>>, Error> {
    let Some(value) = value else { return Ok(None) };
    if value.is_null() {
        return Ok(Some(Vec::new()));
    }
    let list: Option<Vec<&str>> = value.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
    list.map(Some).ok_or_else(|| invalid(field, format!("`{field}` must be an array of strings")))
}

impl Request {
    fn read(wire: Wire) -> Result<Self, Error> {
        let Wire { bucket, parent_access_key_id, permission, ttl_seconds, prefixes, objects, actions } = wire;
        let bucket = BucketName::parse(text(bucket.as_ref(), "bucket")?).map_err(|error| error.at("bucket"))?;
        let parent = TokenId::from_hex(text(parent_access_key_id.as_ref(), "parentAccessKeyId")?);
        let permission = text(permission.as_ref(), "permission")?;
        let permission = Permission::parse(permission).ok_or_else(|| {
            let known = Permission::ALL.map(Permission::as_str).join("`, `");
            invalid("permission", format!("`{}` is not a permission; they are `{known}`", shortened(permission)))
        })?;
        let operations = match texts(actions.as_ref(), "actions")? {
            None => None,
            Some(list) => {
                let named = Operations::parse(list).and_then(Operations::as_actions);
                Some(named.map_err(|error| error.at("actions"))?)
            }
        };
        let (prefixes, objects) = (texts(prefixes.as_ref(), "prefixes")?, texts(objects.as_ref(), "objects")?);
        Ok(Self {
            bucket,
            parent,
            permission,
            operations,
            paths: paths(prefixes, objects)?,
            lifetime: lifetime(ttl_seconds)?,
        })
    }
}

/// The paths of a request: the whole bucket only when neither list is there. An empty list adds nothing; when nothing is left it
/// is refused, because whoever ends up with empty lists by mistake must not get everything.
fn paths(prefixes: Option<Vec<&str>>, objects: Option<Vec<&str>>) -> Result<Paths, Error> {
    if prefixes.is_none() && objects.is_none() {
        return Ok(Paths::Whole);
    }
    let (prefixes, objects) = (prefixes.unwrap_or_default(), objects.unwrap_or_default());
    let bytes: usize = prefixes.iter().chain(&objects).map(|text| text.len()).sum();
    if prefixes.len() + objects.len() > MOST_PATHS || bytes > MOST_PATH_BYTES {
        let said =
            format!("`prefixes` and `objects` have at most {MOST_PATHS} entries of {MOST_PATH_BYTES} bytes together");
        return Err(invalid("prefixes", said));
    }
    let mut all = Vec::new();
    for text in prefixes {
        all.push(Path::prefix(text.as_bytes()).map_err(|error| error.at("prefixes"))?);
    }
    for text in objects {
        all.push(Path::object(text.as_bytes()).map_err(|error| error.at("objects"))?);
    }
    Paths::only(all)
        .map_err(|_| invalid("prefixes", "`prefixes` and `objects` are empty; leave both out to mean the whole bucket"))
}

/// The lifetime: a number of seconds, as published; what is not whole is rounded down, so that nobody gets more than asked for.
fn lifetime(value: Option<Value>) -> Result<Asked, Error> {
    let Some(value) = value else { return Ok(Asked::Usual(USUAL)) };
    let refused = || invalid("ttlSeconds", format!("`ttlSeconds` is a number from 1 to {}", LONGEST.as_secs()));
    let secs = if let Some(secs) = value.as_u64() {
        secs
    } else {
        let whole = value.as_f64().ok_or_else(refused)?.floor();
        let in_range = (1.0..=f64::from(LONGEST.as_secs())).contains(&whole);
        // In range and whole: written out, it is the number itself.
        format!("{whole:.0}").parse().ok().filter(|_| in_range).ok_or_else(refused)?
    };
    match u32::try_from(secs) {
        Ok(secs) if (1..=LONGEST.as_secs()).contains(&secs) => Ok(Asked::Exactly(Lifetime::secs(secs))),
        Ok(_) | Err(_) => Err(refused()),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    session_token: &'a str,
    /// Not published: R2 leaves it to its clients to compute.
    expiration: String,
}

impl<'a> Answer<'a> {
    fn of(vended: &'a Vended) -> Result<Self, Error> {
        let keys = vended.credential.s3()?;
        Ok(Self {
            access_key_id: &keys.access_key_id,
            secret_access_key: keys.secret_access_key.reveal(),
            session_token: keys.session_token.reveal(),
            expiration: format!("{:.0}", keys.expiration),
        })
    }
}
