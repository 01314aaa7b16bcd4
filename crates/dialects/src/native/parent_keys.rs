//! Parent access keys: `GET` and `POST /api/v1/parent-keys`, `DELETE /api/v1/parent-keys/{key}`, and
//! `POST /api/v1/parent-keys/{key}/revocations` for one credential that was signed with one.

use std::sync::Arc;

use jiff::SignedDuration;
use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::caller::Role;
use valetkey_core::error::Noun;
use valetkey_core::grant::Grantee;
use valetkey_core::id::TokenId;
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::parent::{Child, NewParent, ParentRecord, Permission, SessionToken};
use valetkey_core::nouns::removal::{Amendment, Thing};
use valetkey_core::scope::{Action, Paths, Scope};
use valetkey_core::token::PlainToken;
use valetkey_core::{Error, Kind};

use super::api::given::Whom;
use super::api::parent_keys::{ChildRequest, ParentKeyChange, ParentKeyRequest};
use super::buckets::carried;
use super::ended::{EndedResponse, StillTaken, still_taken};
use super::error::Problem;
use super::lists::Names;
use super::removal::{Changing, Said};
use super::state::Native;
use super::{authz, lists, wire};
use crate::edge::{Authority, Call, Reply, json};

/// The longest a parent access key may be told to live: ten years, in seconds.
const LONGEST_SECS: i64 = 315_360_000;
/// The most buckets of one.
const MOST_BUCKETS: usize = 100;

/// What a parent access key opens.
#[derive(Serialize, ToSchema)]
pub(super) struct ReachResponse {
    /// The bucket.
    bucket: String,
    /// What it allows there, by the name it was made with; absent when its grant was changed since.
    permission: Option<&'static str>,
    /// What it allows there.
    actions: Vec<&'static str>,
}

/// A parent access key, without its secret.
#[derive(Serialize, ToSchema)]
pub(super) struct ParentKeyResponse {
    /// The access key id.
    access_key_id: String,
    /// The id of the token it is.
    id: String,
    /// Its name: that of its caller.
    name: String,
    /// Its caller's id.
    caller: String,
    /// The account.
    account: String,
    /// The account's name; in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    account_name: Option<String>,
    /// The account's id as R2's clients write it.
    account_id: String,
    /// What it opens, as long as it is neither disabled nor expired.
    reach: Vec<ReachResponse>,
    /// When it was made.
    made: String,
    /// When it ends by itself.
    expires: Option<String>,
    /// When it was disabled.
    disabled: Option<String>,
}

impl ParentKeyResponse {
    pub(super) fn of(record: &ParentRecord) -> Self {
        let ParentRecord { token, reach } = record;
        let reach = reach.iter().map(|(bucket, actions)| ReachResponse {
            bucket: bucket.to_string(),
            permission: Permission::ALL.into_iter().find(|one| one.actions() == *actions).map(Permission::as_str),
            actions: actions.iter().map(Action::as_str).collect(),
        });
        Self {
            access_key_id: token.id.as_hex(),
            id: token.id.to_string(),
            name: token.caller_name.to_string(),
            caller: token.caller.to_string(),
            account: token.account.to_string(),
            account_name: None,
            account_id: token.account.as_hex(),
            reach: reach.collect(),
            made: wire::at(token.made),
            expires: token.until.map(wire::at),
            disabled: token.revoked.map(wire::at),
        }
    }
}

/// Parent access keys.
#[derive(Serialize, ToSchema)]
pub(super) struct ParentKeyList {
    parent_keys: Vec<ParentKeyResponse>,
}

/// Lists parent access keys: a member its own, an admin its account's, an operator all or one account's.
#[utoipa::path(get, operation_id = "list_parent_keys", path = "/api/v1/parent-keys", tag = "parent keys", params(
    ("account" = Option<String>, Query, description = "Only this account's (name or id); for operators"),
    ("bucket" = Option<String>, Query, description = "Only those that open this bucket"),
), responses(
    (status = 200, description = "Parent access keys", body = ParentKeyList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn list(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let query = &call.query;
    let account = native.listed(&call, query.get("account")).await?;
    let bucket = lists::bucket(query)?;
    let mut records = native.shared.parents.parents(account).await?;
    records.retain(|record| {
        authz::may_see(&call.caller, record.token.account, record.token.caller)
            && bucket.as_ref().is_none_or(|bucket| record.reach.iter().any(|(own, _)| own == bucket))
    });
    let names = Names::of(&native, records.iter().map(|record| record.token.account), []).await?;
    let shown = |record: &ParentRecord| ParentKeyResponse {
        account_name: names.account(record.token.account),
        ..ParentKeyResponse::of(record)
    };
    Reply::json(&ParentKeyList { parent_keys: records.iter().map(shown).collect() })
}

/// A parent access key, with its secrets: shown this once.
#[derive(Serialize, ToSchema)]
pub(super) struct ParentKeyMade<'a> {
    /// The token, for R2's API and every other one: shown this once.
    token: &'a str,
    /// The secret access key: shown this once. Its holder can also make it of the token.
    secret_access_key: &'a str,
    /// Where the buckets are.
    endpoint: String,
    /// What was asked for and not given, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cuts: Vec<String>,
    #[serde(flatten)]
    shown: ParentKeyResponse,
}

/// Makes a parent access key: a caller, a grant for each bucket, and the token. For operators, as every grant.
#[utoipa::path(post, operation_id = "create_parent_key", path = "/api/v1/parent-keys", tag = "parent keys", request_body = ParentKeyRequest, responses(
    (status = 201, description = "The parent access key", body = ParentKeyMade<'static>),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn create(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let fields: ParentKeyRequest = json(&call.body)?;
    let ParentKeyRequest { name, account, buckets, permission, expires_in_secs, outlive } = fields;
    if buckets.len() > MOST_BUCKETS {
        return Err(Error::new(Kind::Invalid, format!("the most buckets are {MOST_BUCKETS}")).at("buckets"));
    }
    let permission = read_permission(&permission)?;
    let new = NewParent {
        account: native.account(&call, Some(&account)).await?.id,
        name: wire::named::<Name>(&name, "name")?,
        buckets: buckets.iter().map(|text| wire::named(text, "buckets")).collect::<Result<Vec<BucketName>, _>>()?,
        permission,
        until: expires_in_secs.map(|secs| end_of(&call, secs)).transpose()?,
        maker: authz::maker(&call, outlive)?,
    };
    let asked = new.until;
    let endpoint = endpoint(&native, &new).await?;
    let token = PlainToken::generate(&*native.shared.entropy);
    let record = native.shared.registry.parents_by(authority).create_parent(new, &token, call.now).await?;
    Reply::made(&ParentKeyMade {
        token: token.reveal(),
        secret_access_key: token.secret_access_key().reveal(),
        endpoint,
        cuts: authz::cuts(asked, record.token.until),
        shown: ParentKeyResponse::of(&record),
    })
}

fn end_of(call: &Call, secs: i64) -> Result<jiff::Timestamp, Error> {
    let refused = || {
        let said = format!("{secs} is not a lifetime in seconds; the least is 1 and the most {LONGEST_SECS}");
        Error::new(Kind::Invalid, said).at("expires_in_secs")
    };
    if !(1..=LONGEST_SECS).contains(&secs) {
        return Err(refused());
    }
    call.now.checked_add(SignedDuration::from_secs(secs)).map_err(|_| refused())
}

/// Where the first bucket is. Refuses those that a parent's holder could get no key for.
async fn endpoint(native: &Native, new: &NewParent) -> Result<String, Error> {
    let mut first = None;
    for bucket in &new.buckets {
        let storage = native.storage_of(bucket).await.map_err(|error| error.at("buckets"))?;
        carried(&storage, "parent access keys are used through").map_err(|error| error.at("buckets"))?;
        let whole = (bucket, Paths::Whole, new.permission.actions());
        native.opens(&storage, whole, "a whole bucket with this permission", "buckets")?;
        first.get_or_insert(storage.endpoint);
    }
    let missing = || Error::not_found(Noun::Bucket).at("buckets");
    first.map(String::from).ok_or_else(missing)
}

impl Native {
    /// A parent access key that the caller may know of: by its access key id, its token's id, or its name.
    pub(super) async fn parent_key(&self, call: &Call, text: &str, field: &'static str) -> Result<ParentRecord, Error> {
        let account = match call.caller.role {
            Role::Operator | Role::Planner => None,
            Role::Admin | Role::Member | Role::Auditor => Some(call.caller.account),
        };
        let id = TokenId::from_hex(text).or_else(|| text.parse().ok());
        let (of, name) = match text.split_once('/') {
            Some((account, name)) => (self.account(call, Some(account)).await?.id, name),
            None => (call.caller.account, text),
        };
        let records = self.shared.parents.parents(account).await?;
        let visible = |record: &ParentRecord| authz::may_see(&call.caller, record.token.account, record.token.caller);
        let mut found = records.into_iter().filter(visible).filter(|record| match id {
            Some(id) => record.token.id == id,
            // Another account may have the same name.
            None => record.token.caller_name.as_str() == name && record.token.account == of,
        });
        found.next().ok_or_else(|| Error::not_found(Noun::ParentKey).at(field))
    }
}

/// Disables a parent access key: it, every credential vended with it and every credential signed with it end at once. With `remove`
/// it goes for good, with the caller and the grants that were made for it, and its name is free.
#[utoipa::path(delete, operation_id = "disable_parent_key", path = "/api/v1/parent-keys/{key}", tag = "parent keys", params(
    ("key" = String, Path, description = "The access key id, the token's id, `account/name`, or the name in one's own account"),
    ("remove" = Option<bool>, Query, description = "Also its caller and grants: its name is free then. For operators"),
    ("cascade" = Option<bool>, Query, description = "With `remove`: also if its caller was given other tokens"),
    ("dry_run" = Option<bool>, Query, description = "With `remove`: only say what it would mean"),
), responses(
    (status = 200, description = "It is disabled; with `remove` it is gone, or what that would mean", body = ParentKeyResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn disable(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let query = &call.query;
    let mut record = native.parent_key(&call, call.params.get("key")?, "key").await?;
    authz::not_above(&call.caller, record.token.role)?;
    if query.flag("remove")?.unwrap_or(false) {
        authz::operator(&call.caller)?;
        let what = Thing::ParentKey(record.token.id);
        return Reply::json(&native.removed(&call, authority, &what, Said::read(query)?).await?);
    }
    if query.get("cascade").is_some() || query.get("dry_run").is_some() {
        return Err(Error::new(Kind::Invalid, "`cascade` and `dry_run` go with `remove`").at("remove"));
    }
    let by = authority.by();
    native.shared.registry.by(authority).revoke_token(record.token.id, by).await?;
    record.token.revoked = record.token.revoked.or(Some(call.now));
    Reply::json(&ParentKeyResponse::of(&record))
}

/// Changes when a parent access key ends, or what it allows. Credentials vended with it that have more than that end. For operators.
#[utoipa::path(patch, operation_id = "change_parent_key", path = "/api/v1/parent-keys/{key}", tag = "parent keys", request_body = ParentKeyChange, params(
    ("key" = String, Path, description = "The access key id, the token's id, `account/name`, or the name in one's own account"),
    ("end_credentials" = Option<bool>, Query, description = "`false` to let what was vended with it live on"),
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean"),
), responses(
    (status = 200, description = "The parent access key", body = ParentKeyChanged),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn change(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let said = Changing::read(&call.query)?;
    let ParentKeyChange { expires_in_secs, outlive, permission } = json(&call.body)?;
    let key = call.params.get("key")?;
    let record = native.parent_key(&call, key, "key").await?;
    let by = authority.by();
    let mut ended = 0;
    if let Some(text) = permission {
        let actions = read_permission(&text)?.actions();
        let registry = &native.shared.registry;
        let to = Grantee::Caller(record.token.caller);
        for before in registry.grants(record.token.account).await? {
            let opens_all = before.scope.scope().is_some_and(|scope| *scope.paths() == Paths::Whole);
            let whole = before.to == to && before.origin.share().is_none() && opens_all;
            if !whole {
                continue;
            }
            let scope = Scope::new(before.scope.bucket().clone(), Paths::Whole, actions)
                .ok_or_else(|| Error::internal("a permission allows nothing"))?;
            ended += native.changed(&call, &Amendment::Grant(before.opening(scope.into())), said, authority).await?;
        }
    }
    if !matches!(expires_in_secs, Whom::Unsaid) {
        ended += native.token_until((&call, authority), record.token.id, expires_in_secs, outlive, said).await?.1;
    }
    let parent_key = ParentKeyResponse::of(&native.parent_key(&call, key, "key").await?);
    let still_taken = if said.is_dry() { Vec::new() } else { still_taken(&native, by).await? };
    Reply::json(&ParentKeyChanged { parent_key, dry_run: said.is_dry(), ended, still_taken })
}

/// A parent access key that was changed.
#[derive(Serialize, ToSchema)]
pub(super) struct ParentKeyChanged {
    #[serde(flatten)]
    parent_key: ParentKeyResponse,
    /// Whether nothing was done: then the key is as it was.
    dry_run: bool,
    /// How many live leases had more than it gives now, and were ended. Of a dry run one that would end for both reasons counts twice.
    ended: u64,
    /// Those of them that their external storages accept until they expire.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    still_taken: Vec<StillTaken>,
}

fn read_permission(text: &str) -> Result<Permission, Error> {
    wire::word(text, "a permission", "permission")
}

/// Ends one credential that was signed with a parent access key, by its session token or by what that says.
#[utoipa::path(post, operation_id = "end_child", path = "/api/v1/parent-keys/{key}/revocations", tag = "parent keys", params(
    ("key" = String, Path, description = "The access key id, the token's id, or the name in one's own account"),
), request_body = ChildRequest, responses(
    (status = 200, description = "It is ended", body = EndedResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn end_child(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let fields: ChildRequest = json(&call.body)?;
    let record = native.parent_key(&call, call.params.get("key")?, "key").await?;
    let child = match fields {
        ChildRequest { session_token: Some(token), claims: None } => {
            let parent = native.shared.parents.parent(record.token.id, call.now).await?;
            let parent = parent.ok_or_else(|| {
                Error::new(Kind::Invalid, "the parent access key has ended, and all that was signed with it")
            })?;
            SessionToken::read(&token)
                .and_then(|token| token.verify(&parent.secret))
                .map_err(|why| Error::new(Kind::Invalid, why.to_string()).at("session_token"))?
        }
        ChildRequest { session_token: None, claims: Some(claims) } => Child::read(claims.to_string().as_bytes())
            .map_err(|why| Error::new(Kind::Invalid, why.to_string()).at("claims"))?,
        ChildRequest { .. } => {
            return Err(Error::new(Kind::Invalid, "name exactly one of `session_token`, `claims`"));
        }
    };
    if child.parent != record.token.id || child.account != record.token.account {
        let said = "that was not signed with this parent access key: `iss` or `sub` is another";
        return Err(Error::new(Kind::Invalid, said));
    }
    // Nobody takes it before its time, and its end would have to be remembered for as long as it says.
    child.begun(call.now).map_err(|why| {
        Error::new(Kind::Invalid, format!("it says that it was signed later than now: {why}")).at("iat")
    })?;
    native.shared.registry.parents_by(authority).end_child(&child, authority.by()).await?;
    Reply::json(&EndedResponse { ended: u64::from(child.until > call.now), ..EndedResponse::default() })
}
