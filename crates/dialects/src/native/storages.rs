//! Storages: the object storages that grants are about, who runs them. Made by operators.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use valetkey_core::address::{self, PathRule};
use valetkey_core::error::Noun;
use valetkey_core::health::{Health, Seen};
use valetkey_core::lease::{Revocation, Revoker};
use valetkey_core::name::shortened;
use valetkey_core::nouns::removal::Thing;
use valetkey_core::nouns::storage_admin::{Description, Ended};
use valetkey_core::storage::{Quota, Storage, StorageKind};
use valetkey_core::time::Lifetime;
use valetkey_core::{Error, Kind, Secret};

use super::api::storages::{EndRequest, StorageRequest};
use super::error::Problem;
use super::removal::{Removal, Said};
use super::state::Native;
use super::wire;
use crate::edge::{Authority, Call, Reply, json};

/// A storage.
#[derive(Serialize, ToSchema)]
pub(super) struct StorageResponse {
    /// Its id.
    id: String,
    /// Its name.
    name: String,
    /// Who enforces scopes there: `embedded`, `gateway`, `sts`, `r2`, `azure` or `gcs`.
    kind: &'static str,
    /// The URL its users reach it at.
    endpoint: String,
    /// The URL it is reached at from inside a cluster.
    internal_endpoint: Option<String>,
    /// The region to name in signatures.
    region: String,
    /// No credential lives shorter, in seconds.
    min_ttl_secs: u32,
    /// No credential lives longer, in seconds.
    max_ttl_secs: u32,
    /// How soon its credentials can be ended before their time: `immediate`, `minutes` or `expiry-only`.
    revocation: &'static str,
    /// How it has answered the node that answers you; nothing of the embedded one.
    health: Option<HealthResponse>,
    #[serde(flatten)]
    external: Option<ExternalResponse>,
}

/// How an external storage has answered this node since it started.
#[derive(Serialize, ToSchema)]
struct HealthResponse {
    /// `working` or `failing`, as it answered last; `unknown` if it was not asked yet.
    state: &'static str,
    /// When it last did what was asked of it.
    last_worked: Option<String>,
    /// When it last failed.
    last_failed: Option<String>,
    /// With what it last failed: `upstream`, `upstream_timeout`, `unavailable`, `rate_limited` or `not_found`.
    reason: Option<&'static str>,
    /// How often in a row it has failed since it last worked.
    failures: u32,
}

impl HealthResponse {
    fn of(seen: Seen) -> Self {
        Self {
            state: seen.as_str(),
            last_worked: seen.worked.map(wire::at),
            last_failed: seen.failed.map(|(at, _)| wire::at(at)),
            reason: seen.failed.map(|(_, kind)| kind.slug()),
            failures: seen.failures,
        }
    }
}

/// What is configured of an external storage.
#[derive(Serialize, ToSchema)]
struct ExternalResponse {
    /// The settings of its kind; nothing in them is secret.
    #[schema(value_type = Object)]
    settings: Box<RawValue>,
    /// Whether secrets are kept beside them.
    has_secrets: bool,
    #[serde(flatten)]
    vending: Option<VendingResponse>,
}

/// How a storage is asked for credentials; nothing of a gateway, which is asked for none.
#[derive(Serialize, ToSchema)]
struct VendingResponse {
    /// Who may be given the same credential: its `caller` alone, or `anyone` with a permit for the same scope.
    sharing: &'static str,
    /// How often it is asked: this many times a second, on the average.
    calls_per_sec: u32,
    /// And this many times at once, after a pause.
    burst: u32,
}

impl StorageResponse {
    fn of(storage: &Storage, health: &Health) -> Result<Self, Error> {
        let Storage { id, name, kind, endpoint, internal_endpoint, region, min_lifetime, max_lifetime, external } =
            storage;
        let unreadable = |error| Error::internal("a storage's settings cannot be read").caused_by(error);
        let shown = |settings: &str| RawValue::from_string(settings.to_owned()).map_err(unreadable);
        Ok(Self {
            id: id.to_string(),
            name: name.to_string(),
            kind: kind.as_str(),
            endpoint: endpoint.to_string(),
            internal_endpoint: internal_endpoint.as_deref().map(str::to_owned),
            region: region.to_string(),
            min_ttl_secs: min_lifetime.as_secs(),
            max_ttl_secs: max_lifetime.as_secs(),
            revocation: storage.revocation().as_str(),
            health: external.is_some().then(|| HealthResponse::of(health.seen(*id))),
            external: match external.as_deref() {
                None => None,
                Some(external) => Some(ExternalResponse {
                    settings: shown(&external.settings)?,
                    has_secrets: external.secrets.is_some(),
                    vending: (!kind.is_ours()).then(|| VendingResponse {
                        sharing: external.sharing.as_str(),
                        calls_per_sec: external.quota.calls_per_sec,
                        burst: external.quota.burst,
                    }),
                }),
            },
        })
    }
}

/// Storages.
#[derive(Serialize, ToSchema)]
pub(super) struct StorageList {
    storages: Vec<StorageResponse>,
}

/// Lists storages. For operators.
#[utoipa::path(get, operation_id = "list_storages", path = "/api/v1/storages", tag = "storages", responses(
    (status = 200, description = "Storages", body = StorageList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn list(native: Arc<Native>, _: Call) -> Result<Reply, Error> {
    let storages = native.shared.registry.storages().await?;
    let shown = |storage| StorageResponse::of(storage, &native.shared.health);
    Reply::json(&StorageList { storages: storages.iter().map(shown).collect::<Result<_, _>>()? })
}

impl StorageRequest {
    /// What was said, of a storage of this name and kind. Nothing of the secrets is repeated, whatever they are.
    fn described(self, name: valetkey_core::name::Name, kind: StorageKind) -> Result<Description, Error> {
        let ttl = |secs: Option<i64>, field: &'static str| {
            secs.map(|secs| Lifetime::parse(secs).map_err(|error| error.at(field))).transpose()
        };
        let object = |json: Option<Box<RawValue>>, field: &'static str| match json {
            Some(json) if json.get().starts_with('{') => Ok(Some(json)),
            Some(_) => Err(Error::new(Kind::Invalid, format!("`{field}` is a JSON object")).at(field)),
            None => Ok(None),
        };
        Ok(Description {
            name,
            kind,
            endpoint: self.endpoint.map(|text| url(&text, "endpoint")).transpose()?,
            internal_endpoint: self.internal_endpoint.map(|text| url(&text, "internal_endpoint")).transpose()?,
            region: self.region.as_deref().map(region).transpose()?,
            min_lifetime: ttl(self.min_ttl_secs, "min_ttl_secs")?,
            max_lifetime: ttl(self.max_ttl_secs, "max_ttl_secs")?,
            settings: object(self.settings, "settings")?.map(|json| json.get().into()),
            secrets: object(self.secrets, "secrets")?.map(|json| Secret::new(json.get().to_owned())),
            sharing: self.sharing.map(|word| word.0),
            quota: quota(self.calls_per_sec, self.burst)?,
        })
    }
}

fn quota(calls_per_sec: Option<u32>, burst: Option<u32>) -> Result<Option<Quota>, Error> {
    const MOST: u32 = 100_000;
    let good = |count: u32, field: &'static str| {
        if (1..=MOST).contains(&count) {
            return Ok(count);
        }
        Err(Error::new(Kind::Invalid, format!("`{field}` is 1 to {MOST}")).at(field))
    };
    match (calls_per_sec, burst) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::new(Kind::Invalid, "say `calls_per_sec` with `burst`").at("burst")),
        (Some(rate), burst) => Ok(Some(Quota {
            calls_per_sec: good(rate, "calls_per_sec")?,
            burst: good(burst.unwrap_or(rate), "burst")?,
        })),
    }
}

/// Adds a storage. For operators.
#[utoipa::path(post, operation_id = "create_storage", path = "/api/v1/storages", tag = "storages", request_body = StorageRequest, responses(
    (status = 201, description = "The storage", body = StorageResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn create(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let fields: StorageRequest = json(&call.body)?;
    let name = fields.name.as_deref().ok_or_else(|| Error::new(Kind::Invalid, "say its `name`").at("name"))?;
    let name = wire::named(name, "name")?;
    let kind = fields.kind.map_or(StorageKind::Embedded, |word| word.0);
    let new = native.stores.read(fields.described(name, kind)?, None)?;
    let storage = native.shared.registry.by(authority).create_storage(new, call.now).await?;
    native.stores.put(&storage).await?;
    Reply::made(&StorageResponse::of(&storage, &native.shared.health)?)
}

/// Changes what is configured of a storage; what is left out stays, and credentials that were vended live on. For operators.
#[utoipa::path(patch, operation_id = "change_storage", path = "/api/v1/storages/{storage}", tag = "storages", params(
    ("storage" = String, Path, description = "The storage's name or id"),
), request_body = StorageRequest, responses(
    (status = 200, description = "The storage", body = StorageResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn change(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let fields: StorageRequest = json(&call.body)?;
    let before = native.storage(&call).await?;
    let cannot =
        |field: &'static str| Error::new(Kind::Invalid, format!("a storage's {field} cannot be changed")).at(field);
    if fields.name.as_deref().is_some_and(|name| name != before.name.as_str()) {
        return Err(cannot("name"));
    }
    if fields.kind.is_some_and(|word| word.0 != before.kind) {
        return Err(cannot("kind"));
    }
    let new = native.stores.read(fields.described(before.name.clone(), before.kind)?, Some(&before))?;
    let storage = native.shared.registry.by(authority).change_storage(before.id, new).await?;
    native.stores.put(&storage).await?;
    Reply::json(&StorageResponse::of(&storage, &native.shared.health)?)
}

/// Takes a storage off the record, with its buckets if that is said. Its credentials end here, and the answer says how long it takes what it
/// gave; nothing at the storage is removed. For operators.
#[utoipa::path(delete, operation_id = "remove_storage", path = "/api/v1/storages/{storage}", tag = "storages", params(
    ("storage" = String, Path, description = "The storage's name or id"),
    ("cascade" = Option<bool>, Query, description = "Also what needs it; without it such a thing is refused and names it"),
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean"),
), responses(
    (status = 200, description = "It is gone, or what that would mean", body = Removal),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn remove(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let said = Said::read(&call.query)?;
    let storage = native.storage(&call).await?;
    Reply::json(&native.removed(&call, authority, &Thing::Storage(storage.id), said).await?)
}

/// What came of ending a storage's credentials.
#[derive(Serialize, ToSchema)]
pub(super) struct StorageEnded {
    /// The storage.
    storage: String,
    /// How many live leases that ended.
    ended: u64,
    /// What was done there.
    done: String,
    /// What has to be known of it.
    notes: Vec<String>,
}

/// Ends every credential of a storage that was vended up to now: at our own endpoint at once, elsewhere where the storage has a
/// way. For operators.
#[utoipa::path(post, operation_id = "end_storage_credentials", path = "/api/v1/storages/{storage}/revocations", tag = "storages", params(
    ("storage" = String, Path, description = "The storage's name or id"),
), request_body = EndRequest, responses(
    (status = 200, description = "They are ended, or will be in a moment", body = StorageEnded),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn end(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let EndRequest {} = if call.body.is_empty() { EndRequest {} } else { json(&call.body)? };
    let storage = native.storage(&call).await?;
    let there = native.stores.end_credentials(&storage).await.map_err(told);
    // Afterwards, so that nothing of what was fetched meanwhile is handed out again; and whatever the store said, since it ends here.
    let by = Revoker { at: native.shared.vending.now(), ..authority.by() };
    let ended = native.shared.registry.by(authority).revoke(Revocation::Storage(storage.id), by).await;
    let Ended { done, notes } = there?;
    let ended = ended?;
    Reply::json(&StorageEnded { storage: storage.name.to_string(), ended, done, notes })
}

/// A storage's failure with what it answered, which an operator has to know; other callers are told less.
fn told(error: Error) -> Error {
    match error.detail().filter(|noted| !noted.is_empty()) {
        Some(noted) => {
            let said = format!("{}: {noted}", error.message());
            let told = Error::new(error.kind(), said).note(noted.to_owned());
            match error.retry_after_secs() {
                Some(secs) => told.retry_after(secs),
                None => told,
            }
        }
        None => error,
    }
}

impl Native {
    /// The storage a path names.
    pub(super) async fn storage(&self, call: &Call) -> Result<Storage, Error> {
        let text = call.params.get("storage")?;
        let storages = self.shared.registry.storages().await?;
        storages
            .into_iter()
            .find(|storage| storage.name.as_str() == text || storage.id.to_string() == text)
            .ok_or_else(|| Error::not_found(Noun::Storage).at("storage"))
    }
}

/// Reads a storage's address: what clients get to see and connect to.
fn url(text: &str, field: &'static str) -> Result<Box<str>, Error> {
    // Some stores have their account in the path.
    address::parse(text, PathRule::Allowed).map_err(|said| Error::new(Kind::Invalid, said).at(field))
}

fn region(text: &str) -> Result<Box<str>, Error> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=64).contains(&text.len()) || !text.bytes().all(plain) {
        let said = format!("`{}` is not a region; one has 1 to 64 characters of a-z, 0-9, `-`", shortened(text));
        return Err(Error::new(Kind::Invalid, said).at("region"));
    }
    Ok(text.into())
}
