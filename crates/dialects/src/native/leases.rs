//! Leases: what was vended, whose it is, and ending one. `GET /api/v1/leases`, `/leases/{lease}`,
//! `/whose/{access_key_id}`, `DELETE /api/v1/leases/{lease}`.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::credential::Trace;
use valetkey_core::error::Noun;
use valetkey_core::id::{LeaseId, StorageId, TokenId};
use valetkey_core::keyring::parse_access_key_id;
use valetkey_core::lease::{LeaseRecord, LeaseState, Revocation};
use valetkey_core::name::shortened;
use valetkey_core::nouns::registry::{LeaseFilter, Outliving};
use valetkey_core::nouns::usage::{Traffic, Used};
use valetkey_core::{Error, Kind};

use super::ended::{EndedResponse, StillTaken};
use super::error::Problem;
use super::parent_keys::ParentKeyResponse;
use super::scopes::RightsResponse;
use super::state::Native;
use super::{authz, lists, wire};
use crate::edge::{Authority, Call, Reply};

/// What became of a lease.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// Its credential is taken.
    Live,
    /// Its time is over.
    Expired,
    /// It was ended early.
    Revoked,
    /// No credential came of it.
    Void,
}

/// A lease.
#[derive(Serialize, ToSchema)]
pub(super) struct LeaseResponse {
    /// Its id.
    lease_id: String,
    /// Whose.
    account: String,
    /// That account's name.
    account_name: Option<String>,
    /// Who asked.
    caller: String,
    /// That caller's name.
    caller_name: Option<String>,
    /// With which token.
    token: String,
    /// With which other token it was asked for on that one's behalf: it ends with either.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked_with: Option<String>,
    /// The leases it was narrowed from, the first one first: it ends with any of them.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    narrowed_from: Vec<String>,
    /// The address it was asked for from.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// At which storage.
    storage: String,
    #[serde(flatten)]
    rights: RightsResponse,
    /// The grants that decided.
    grants: Vec<String>,
    /// In which dialect.
    dialect: String,
    /// What it cost.
    credits: u32,
    /// When it was opened.
    opened: String,
    /// When it ends by itself.
    expires: String,
    /// How soon its credential can be ended before its time: `immediate`, `minutes` or `expiry-only`; nothing if its storage is
    /// gone.
    revocation: Option<&'static str>,
    /// How the storage's own log names its credential, where it is an external one.
    #[serde(skip_serializing_if = "Option::is_none")]
    store_key_id: Option<String>,
    /// The id under which the storage logged the request that fetched it.
    #[serde(skip_serializing_if = "Option::is_none")]
    store_request_id: Option<String>,
    /// When the storage stops taking it.
    #[serde(skip_serializing_if = "Option::is_none")]
    store_expires: Option<String>,
    /// What became of it.
    state: State,
    /// When it was ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<String>,
    /// By which caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_by: Option<String>,
    /// How its credential was used at this server's S3 endpoint; nothing if it was not, and in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<UsedResponse>,
}

/// How a credential was used at the S3 endpoint.
#[derive(Serialize, ToSchema)]
pub(super) struct UsedResponse {
    /// When it first was.
    first: String,
    /// When it last was.
    last: String,
    /// The address that used it last, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// Requests with it, also those that were refused for what they asked.
    requests: u64,
    /// Bytes that were sent with it.
    bytes_in: u64,
    /// Bytes of the responses.
    bytes_out: u64,
}

impl UsedResponse {
    fn of(used: &Used) -> Self {
        let Used { first, last, from, traffic: Traffic { requests, bytes_in, bytes_out } } = *used;
        let from = from.map(|from| from.to_string());
        Self { first: wire::at(first), last: wire::at(last), from, requests, bytes_in, bytes_out }
    }
}

impl LeaseResponse {
    pub(super) fn of(record: &LeaseRecord, names: &Names, now: Timestamp) -> Self {
        let LeaseRecord { lease, state, trace, from, asked_with, narrowed_from } = record;
        let (state, revoker) = match state {
            LeaseState::Live if now < lease.until => (State::Live, None),
            LeaseState::Live => (State::Expired, None),
            LeaseState::Revoked(revoker) => (State::Revoked, Some(revoker)),
            LeaseState::Void => (State::Void, None),
        };
        Self {
            lease_id: lease.id.to_string(),
            account: lease.account.to_string(),
            account_name: names.names.account(lease.account),
            caller: lease.caller.to_string(),
            caller_name: names.names.caller(lease.caller),
            token: lease.token.to_string(),
            asked_with: asked_with.map(|token| token.to_string()),
            narrowed_from: narrowed_from.iter().map(ToString::to_string).collect(),
            from: from.map(|from| from.to_string()),
            storage: lease.storage.to_string(),
            rights: RightsResponse::of(&lease.rights),
            grants: lease.grants.iter().map(ToString::to_string).collect(),
            dialect: lease.dialect.to_string(),
            credits: lease.credits,
            opened: wire::at(lease.opened),
            expires: wire::at(lease.until),
            revocation: names.revocations.get(&lease.storage).copied(),
            store_key_id: trace.as_ref().map(|trace| trace.key_id.to_string()),
            store_request_id: trace.as_ref().and_then(|trace| trace.request_id.as_deref().map(str::to_owned)),
            store_expires: trace.as_ref().map(|trace| wire::at(trace.expiration)),
            state,
            revoked: revoker.map(|revoker| wire::at(revoker.at)),
            revoked_by: revoker.map(|revoker| revoker.by.to_string()),
            used: None,
        }
    }
}

/// The names behind the ids of leases: what people ask for when they ask whose a key is.
pub(super) struct Names {
    names: lists::Names,
    revocations: HashMap<StorageId, &'static str>,
}

impl Names {
    pub(super) async fn of(native: &Native, records: &[LeaseRecord]) -> Result<Self, Error> {
        let storages = native.shared.registry.storages().await?;
        let revocations = storages.iter().map(|storage| (storage.id, storage.revocation().as_str())).collect();
        let accounts = records.iter().map(|record| record.lease.account);
        let names = lists::Names::of(native, accounts, records.iter().map(|record| record.lease.caller)).await?;
        Ok(Self { names, revocations })
    }
}

/// A page of leases, the newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct LeasePage {
    leases: Vec<LeaseResponse>,
    /// What to send as `before` for the next page; nothing when there is none.
    next_before: Option<String>,
}

const USUAL_PAGE: u32 = 50;
const MOST_PAGE: u32 = 500;

/// Lists leases: a member its own, an admin its account's, an operator any.
#[utoipa::path(get, operation_id = "list_leases", path = "/api/v1/leases", tag = "leases", params(
    ("live" = Option<bool>, Query, description = "Only those that are live now"),
    ("account" = Option<String>, Query, description = "Only this account's (name or id); for operators"),
    ("caller" = Option<String>, Query, description = "Only this caller's (id, `account/name`, or name in the account)"),
    ("token" = Option<String>, Query, description = "Only those that this token opened (its id)"),
    ("grant" = Option<String>, Query, description = "Only those of this grant (id, `account/name`, or name in the account)"),
    ("bucket" = Option<String>, Query, description = "Only those of this bucket"),
    ("since" = Option<String>, Query, description = "Only those opened since (RFC 3339)"),
    ("since_secs" = Option<u32>, Query, description = "Only those opened in the last N seconds"),
    ("limit" = Option<u32>, Query, description = "1 to 500; 50 if not given"),
    ("before" = Option<String>, Query, description = "Only those opened before this lease"),
), responses(
    (status = 200, description = "Leases", body = LeasePage),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn list(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let query = &call.query;
    let limit = page_size(query.get("limit"))?;
    let token = match query.get("token") {
        Some(text) => Some(native.token(&call, wire::named(text, "token")?).await?),
        None => None,
    };
    let account = native.listed(&call, query.get("account")).await?;
    let owner = native.caller_of_list(&call, query.get("account"), query.get("caller")).await?;
    let grant = match query.get("grant") {
        Some(text) => Some(native.grant_named(&call, query.get("account"), text).await?),
        None => None,
    };
    let bucket = lists::bucket(query)?;
    let filter = LeaseFilter {
        account: account.or(owner.as_ref().map(|known| known.account)),
        // Of a token too, whose leases are its caller's.
        caller: owner.map(|known| known.id).or(token.as_ref().map(|record| record.caller)),
        token: token.map(|record| record.id),
        grant,
        bucket: bucket.as_ref(),
        since: lists::since(query, call.now)?,
        asked_with: None,
        live_at: query.flag("live")?.unwrap_or(false).then_some(call.now),
        before: query.get("before").map(|text| wire::named(text, "before")).transpose()?,
        limit,
    };
    let records = native.shared.registry.leases(&filter).await?;
    let full = u32::try_from(records.len()).is_ok_and(|count| count >= limit);
    let next_before = records.last().filter(|_| full).map(|record| record.lease.id.to_string());
    let names = Names::of(&native, &records).await?;
    let leases = records.iter().map(|record| LeaseResponse::of(record, &names, call.now)).collect();
    Reply::json(&LeasePage { leases, next_before })
}

pub(super) fn page_size(given: Option<&str>) -> Result<u32, Error> {
    let Some(text) = given else { return Ok(USUAL_PAGE) };
    text.parse().ok().filter(|size| (1..=MOST_PAGE).contains(size)).ok_or_else(|| {
        Error::new(
            Kind::Invalid,
            format!("`{}` is not a page size; the least is 1 and the most {MOST_PAGE}", shortened(text)),
        )
        .at("limit")
    })
}

impl Native {
    /// A lease the caller may know of.
    pub(super) async fn lease(&self, call: &Call, id: LeaseId) -> Result<LeaseRecord, Error> {
        let record = self.shared.registry.lease(id).await?;
        record
            .filter(|record| authz::may_see(&call.caller, record.lease.account, record.lease.caller))
            .ok_or_else(|| Error::not_found(Noun::Lease).at("lease"))
    }

    /// Everything of a lease that the caller may know of.
    async fn whole(&self, call: &Call, id: LeaseId) -> Result<LeaseResponse, Error> {
        let record = self.lease(call, id).await?;
        let names = Names::of(self, std::slice::from_ref(&record)).await?;
        let used = self.shared.usage.used(id).await?;
        Ok(LeaseResponse { used: used.as_ref().map(UsedResponse::of), ..LeaseResponse::of(&record, &names, call.now) })
    }
}

/// Shows a lease.
#[utoipa::path(get, operation_id = "get_lease", path = "/api/v1/leases/{lease}", tag = "leases", params(
    ("lease" = String, Path, description = "The lease's id"),
), responses(
    (status = 200, description = "The lease", body = LeaseResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn get(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let id = wire::in_path(call.params.get("lease")?, Noun::Lease, "lease")?;
    Reply::json(&native.whole(&call, id).await?)
}

/// Ends a lease: our own endpoint refuses the next request with its credential; of other storages the answer says how long they
/// take it.
#[utoipa::path(delete, operation_id = "end_lease", path = "/api/v1/leases/{lease}", tag = "leases", params(
    ("lease" = String, Path, description = "The lease's id"),
), responses(
    (status = 200, description = "It is ended", body = EndedResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn end(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let record = native.lease(&call, wire::in_path(call.params.get("lease")?, Noun::Lease, "lease")?).await?;
    let by = authority.by();
    let ended = native.shared.registry.by(authority).revoke(Revocation::Lease(record.lease.id), by).await?;
    // Said each time, also of one that was ended before.
    let storages = native.shared.registry.storages().await?;
    let goes_on = record.trace.filter(|trace| trace.expiration > call.now);
    let storage = record.lease.storage;
    let row = goes_on.map(|Trace { key_id, expiration: until, .. }| Outliving {
        storage,
        key_ids: vec![key_id],
        leases: 1,
        until,
    });
    if let Some(row) = &row {
        native.stores.forget(storage, &row.key_ids).await?;
    }
    let still_taken = row.and_then(|row| StillTaken::of(&storages, &row)).into_iter().collect();
    Reply::json(&EndedResponse { ended, still_taken, ..EndedResponse::default() })
}

/// Whose an access key id is.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum OwnerResponse {
    /// The lease it was vended with.
    Lease(Box<LeaseResponse>),
    /// It is a parent access key. What its holder signed with it has this id too.
    ParentKey(Box<ParentKeyResponse>),
    /// It is a credential of an external storage, and was vended with each of these leases.
    Leases(LeasesOfKey),
}

/// The leases that one credential was vended with, the newest first; at most 500.
#[derive(Serialize, ToSchema)]
pub(super) struct LeasesOfKey {
    leases: Vec<LeaseResponse>,
}

/// Shows the lease that an access key id belongs to, or the parent access key it is, or the leases that a credential of someone
/// else's storage was vended with. A credential without an id is named `sha256:` and the hexadecimal SHA-256 of it.
#[utoipa::path(get, operation_id = "whose", path = "/api/v1/whose/{access_key_id}", tag = "leases", params(
    ("access_key_id" = String, Path, description = "The access key id, as a log of the storage shows it"),
), responses(
    (status = 200, description = "The lease, the parent access key, or the leases", body = OwnerResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn whose(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let text = call.params.get("access_key_id")?;
    if TokenId::from_hex(text).is_some() {
        let record = native.parent_key(&call, text, "access_key_id").await?;
        return Reply::json(&OwnerResponse::ParentKey(Box::new(ParentKeyResponse::of(&record))));
    }
    let Some((_, lease)) = parse_access_key_id(text) else {
        let found = native.shared.registry.leases_of_key(text, MOST_PAGE).await?;
        let seen = |record: &LeaseRecord| authz::may_see(&call.caller, record.lease.account, record.lease.caller);
        let records: Vec<LeaseRecord> = found.into_iter().filter(seen).collect();
        if records.is_empty() {
            // Never repeated: what was put here by mistake may be the secret.
            return Err(
                Error::new(Kind::NotFound(Noun::Lease), "no lease has an access key of this id").at("access_key_id")
            );
        }
        let names = Names::of(&native, &records).await?;
        let leases = records.iter().map(|record| LeaseResponse::of(record, &names, call.now)).collect();
        return Reply::json(&OwnerResponse::Leases(LeasesOfKey { leases }));
    };
    Reply::json(&OwnerResponse::Lease(Box::new(native.whole(&call, lease).await?)))
}
