//! `POST /api/v1/credentials`: a credential for a grant or a place, narrowed as the caller likes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use valetkey_core::ask::{Ask, Asked, AskedPart, By, GrantRef, Target, Wanted};
use valetkey_core::credential::Credential;
use valetkey_core::grant::GrantTime;
use valetkey_core::name::BucketName;
use valetkey_core::snapshot::Snapshot;
use valetkey_core::storage::Shape;
use valetkey_core::time::Lifetime;
use valetkey_core::vending::Vended;
use valetkey_core::{Error, Kind};

use super::api::given::given;
use super::api::scopes::Access;
use super::error::Problem;
use super::scopes::{PathRequest, RightsResponse, wish};
use super::state::{NAME, Native};
use super::{authz, wire};
use crate::edge::{Call, Reply, json};

/// What is asked for. Name a grant, or a bucket with paths, or neither if the caller has just one grant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AskRequest {
    /// A grant by its id, name or `account/name`; whole, or narrowed to the paths given.
    #[serde(default, deserialize_with = "given")]
    grant: Option<String>,
    /// A bucket; whichever of the caller's grants open the paths given.
    #[serde(default, deserialize_with = "given")]
    bucket: Option<String>,
    /// A directory, without its last slash.
    #[serde(default, deserialize_with = "given")]
    prefix: Option<String>,
    /// Directories, without their last slashes.
    #[serde(default, deserialize_with = "given")]
    prefixes: Option<Vec<String>>,
    /// Exactly these keys.
    #[serde(default, deserialize_with = "given")]
    objects: Option<Vec<String>>,
    /// Anything that starts with one of these.
    #[serde(default, deserialize_with = "given")]
    raw_prefixes: Option<Vec<String>>,
    /// `true` to mean the whole bucket.
    #[serde(default, deserialize_with = "given")]
    whole_bucket: Option<bool>,
    /// `read` (if neither this nor `actions` is given), `write` or `read-write`: what is granted of it.
    #[serde(default, deserialize_with = "given")]
    access: Option<Access>,
    /// Actions by name: all of them, or a refusal.
    #[serde(default, deserialize_with = "given")]
    actions: Option<Vec<String>>,
    /// Several parts of the bucket, or of the grant, in one credential: each has its own paths and says what may be done there, instead
    /// of the paths, `access` and `actions` beside this.
    #[serde(default, deserialize_with = "given")]
    parts: Option<Vec<PartRequest>>,
    /// A lease of the caller's own that it is narrowed from: it opens nothing that the lease does not, is no longer and ends with it.
    /// No bucket is the lease's, no paths are all of it; a `grant` cannot be named beside it.
    #[serde(default, deserialize_with = "given")]
    from_lease: Option<String>,
    /// For how many seconds. Cut to what the grant, the caller's token and the storage allow.
    #[serde(default, deserialize_with = "given")]
    ttl_secs: Option<i64>,
}

/// A part of what is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PartRequest {
    /// A directory, without its last slash.
    #[serde(default, deserialize_with = "given")]
    prefix: Option<String>,
    /// Directories, without their last slashes.
    #[serde(default, deserialize_with = "given")]
    prefixes: Option<Vec<String>>,
    /// Exactly these keys.
    #[serde(default, deserialize_with = "given")]
    objects: Option<Vec<String>>,
    /// Anything that starts with one of these.
    #[serde(default, deserialize_with = "given")]
    raw_prefixes: Option<Vec<String>>,
    /// `true` to mean the whole bucket.
    #[serde(default, deserialize_with = "given")]
    whole_bucket: Option<bool>,
    /// `read` (if neither this nor `actions` is given), `write` or `read-write`: what is granted of it.
    #[serde(default, deserialize_with = "given")]
    access: Option<Access>,
    /// Actions by name: all of them, or a refusal.
    #[serde(default, deserialize_with = "given")]
    actions: Option<Vec<String>>,
}

impl PartRequest {
    fn read(self) -> Result<AskedPart, Error> {
        let Self { prefix, prefixes, objects, raw_prefixes, whole_bucket, access, actions } = self;
        let paths = PathRequest { prefix, prefixes, objects, raw_prefixes, whole_bucket }.read()?;
        Ok(AskedPart { paths: paths.ok_or_else(no_paths)?, wanted: wish(access, actions.as_deref())? })
    }
}

/// Reads parts; a refusal names the part that it is of.
fn parts(list: Vec<PartRequest>) -> Result<Vec<AskedPart>, Error> {
    let read = |(number, part): (usize, PartRequest)| {
        part.read().map_err(|error| {
            let field = error.field().unwrap_or_default().to_owned();
            error.at(format!("parts[{number}].{field}"))
        })
    };
    list.into_iter().enumerate().map(read).collect()
}

fn no_paths() -> Error {
    Error::new(Kind::Invalid, "name a `prefix`, `prefixes` or `objects`, or say `\"whole_bucket\": true`").at("prefix")
}

/// A credential.
#[derive(Serialize, ToSchema)]
pub(super) struct CredentialResponse<'a> {
    /// The record of it: to end it with, to find it by.
    lease_id: String,
    #[serde(flatten)]
    credential: KindResponse<'a>,
    /// When it ends; whole seconds, UTC.
    expiration: String,
    /// Where to use it.
    endpoint_url: &'a str,
    /// The region to sign for.
    region: &'a str,
    #[serde(flatten)]
    rights: RightsResponse,
    /// The grants that decided.
    grants: Vec<String>,
    /// What was asked for and not given, in words.
    cuts: Vec<String>,
    /// How the storage says the scope otherwise, in words: what is left out, and, in those that begin with `beyond`, what it allows besides.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    narrowed: Vec<String>,
    /// How soon it can be ended before its time: `immediate` (with the next request), `minutes`, or `expiry-only`.
    revocation: &'static str,
}

/// The secret, as its storage has it.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum KindResponse<'a> {
    /// An S3 key triple.
    S3 {
        /// The access key's id.
        access_key_id: &'a str,
        /// The secret access key: shown this once.
        secret_access_key: &'a str,
        /// The session token: shown this once.
        session_token: &'a str,
    },
    /// An Azure shared access signature.
    Azure {
        /// The signed query, without a question mark: shown this once.
        sas_token: &'a str,
    },
    /// A Google access token.
    Google {
        /// The token: shown this once.
        access_token: &'a str,
    },
}

/// Vends a credential.
#[utoipa::path(post, operation_id = "vend", path = "/api/v1/credentials", tag = "credentials", request_body = AskRequest, responses(
    (status = 200, description = "A credential", body = CredentialResponse<'static>),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn vend(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let fields: AskRequest = json(&call.body)?;
    let AskRequest {
        grant,
        bucket,
        prefix,
        prefixes,
        objects,
        raw_prefixes,
        whole_bucket,
        access,
        actions,
        parts: several,
        from_lease,
        ttl_secs,
    } = fields;
    let says_access = access.is_some() || actions.is_some();
    let paths = PathRequest { prefix, prefixes, objects, raw_prefixes, whole_bucket }.read()?;
    let wanted = wish(access, actions.as_deref())?;
    let several = several.map(parts).transpose()?;
    if several.is_some() && (paths.is_some() || says_access) {
        let said = "each of the `parts` has its own paths and says what may be done there; give none beside them";
        return Err(Error::new(Kind::Invalid, said).at("parts"));
    }
    let lifetime = match ttl_secs {
        Some(secs) => Asked::For(Lifetime::parse(secs).map_err(|error| error.at("ttl_secs"))?),
        None => Asked::Usual(native.settings.lifetime),
    };
    let vending = &native.shared.vending;
    if let Some(lease) = from_lease {
        if grant.is_some() {
            let said = "what is narrowed from a lease is inside the lease; name no grant beside it";
            return Err(Error::new(Kind::Invalid, said).at("grant"));
        }
        let bucket = bucket.map(|bucket| BucketName::parse(&bucket).map_err(|error| error.at("bucket"))).transpose()?;
        let before = native.before(&call, wire::named(&lease, "from_lease")?).await?;
        let (target, wanted) = before.ask(bucket.as_ref(), several, paths, wanted)?;
        let ask = Ask { dialect: NAME, target, wanted, lifetime, carries: Shape::ALL };
        let vended = vending.vend(&before.caller, &ask).await?;
        return Reply::json(&CredentialResponse::of(&vended));
    }
    let snapshot = vending.directory.account(call.caller.account, call.now).await?;
    let by = match (grant, bucket) {
        (Some(_), Some(_)) => {
            return Err(Error::new(Kind::Invalid, "name a grant or a bucket, not both").at("grant"));
        }
        (Some(grant), None) => {
            // Nobody has another account's: of that one it is not there.
            let own = grant.split_once('/').filter(|(account, _)| authz::is_named(snapshot.account(), account));
            let name = own.map_or(grant.as_str(), |(_, name)| name);
            By::Grant(GrantRef::parse(name).map_err(|e| e.at("grant"))?)
        }
        (None, Some(bucket)) => By::Bucket(BucketName::parse(&bucket).map_err(|error| error.at("bucket"))?),
        (None, None) => By::Grant(GrantRef::Id(only_grant(&snapshot, &call)?)),
    };
    let (target, wanted) = match (several, by) {
        (Some(parts), by) => {
            let wanted = Wanted::of_parts(&parts);
            (Target::Parts { by, parts }, wanted)
        }
        (None, By::Grant(grant)) => (Target::Grant { grant, paths }, wanted),
        (None, By::Bucket(bucket)) => (Target::Place { bucket, paths: paths.ok_or_else(no_paths)? }, wanted),
    };
    let ask = Ask { dialect: NAME, target, wanted, lifetime, carries: Shape::ALL };
    let vended = vending.vend(&call.caller, &ask).await?;
    Reply::json(&CredentialResponse::of(&vended))
}

/// The caller's grant, if it has just one that is live.
fn only_grant(snapshot: &Snapshot, call: &Call) -> Result<valetkey_core::id::GrantId, Error> {
    let live = || {
        let own = snapshot.grants(&call.caller).filter(|grant| grant.origin.share().is_none());
        own.filter(|grant| grant.time(call.now) == GrantTime::Live)
    };
    let facts = call.facts();
    let mut open = live().filter(|grant| grant.is_open(&call.caller, &facts, call.now)).peekable();
    // Where none is open, the one there is says which condition does not hold.
    let mut live: Box<dyn Iterator<Item = _>> = if open.peek().is_some() { Box::new(open) } else { Box::new(live()) };
    match (live.next(), live.next()) {
        (Some(grant), None) => Ok(grant.id),
        (None, _) if snapshot.grants(&call.caller).any(|grant| grant.origin.share().is_some()) => Err(Error::new(
            Kind::Forbidden,
            "what is granted to this caller was shared, and opens through Delta Sharing only",
        )),
        (None, _) => Err(Error::new(Kind::Forbidden, "nothing is granted to this caller")),
        (Some(_), Some(_)) => {
            Err(Error::new(Kind::Invalid, "this caller has several grants; name a `grant` or a `bucket`").at("grant"))
        }
    }
}

impl<'a> CredentialResponse<'a> {
    fn of(vended: &'a Vended) -> Self {
        Self {
            lease_id: vended.lease.id.to_string(),
            credential: match &*vended.credential {
                Credential::S3(keys) => KindResponse::S3 {
                    access_key_id: &keys.access_key_id,
                    secret_access_key: keys.secret_access_key.reveal(),
                    session_token: keys.session_token.reveal(),
                },
                Credential::Azure(sas) => KindResponse::Azure { sas_token: sas.sas_token.reveal() },
                Credential::Google(token) => KindResponse::Google { access_token: token.access_token.reveal() },
            },
            expiration: wire::at(vended.credential.expiration()),
            endpoint_url: &vended.storage.endpoint,
            region: &vended.storage.region,
            rights: RightsResponse::of(&vended.lease.rights),
            grants: vended.because.grants.iter().map(ToString::to_string).collect(),
            cuts: vended.because.cuts.iter().map(ToString::to_string).collect(),
            narrowed: vended.narrowed.iter().map(ToString::to_string).collect(),
            revocation: vended.storage.revocation().as_str(),
        }
    }
}
