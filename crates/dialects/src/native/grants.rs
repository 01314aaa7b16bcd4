//! Grants: `GET` and `POST /api/v1/grants`, `PATCH` and `DELETE /api/v1/grants/{grant}`.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::caller::Role;
use valetkey_core::conditions::Conditions;
use valetkey_core::error::Noun;
use valetkey_core::grant::{Grant, GrantTime, Grantee, NewGrant, check_template};
use valetkey_core::id::GrantId;
use valetkey_core::name::BucketName;
use valetkey_core::nouns::dataset::Dataset;
use valetkey_core::nouns::policy_set::State;
use valetkey_core::nouns::registry::GrantFilter;
use valetkey_core::nouns::removal::{Amendment, Thing};
use valetkey_core::scope::{Paths, Scope};
use valetkey_core::template::Opens;
use valetkey_core::time::{Lifetime, random_10};
use valetkey_core::{Error, Kind};

use super::api::given::Whom;
use super::api::grants::{GrantChange, GrantConditions, GrantRequest};
use super::ended::{StillTaken, still_taken};
use super::error::Problem;
use super::groups::provider_named;
use super::lists::Names;
use super::preview::{AccessChange, Preview};
use super::removal::{Changing, Removal, Said};
use super::scopes::{PathRequest, ScopeResponse, wish};
use super::state::Native;
use super::{authz, conditions, lists, wire};
use crate::edge::{Authority, Call, Query, Reply, json};

/// Whether a grant opens anything now.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum When {
    /// It does.
    Live,
    /// Not yet.
    Early,
    /// Not any more.
    Ended,
}

/// A grant.
#[derive(Serialize, ToSchema)]
pub(super) struct GrantResponse {
    /// Its id.
    id: String,
    /// Its name, unique in its account.
    name: String,
    /// The account's id.
    account: String,
    /// The account's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    account_name: Option<String>,
    /// The caller it is for, or `group:NAME`; nothing when it is for everyone of the account.
    to: Option<String>,
    /// The storage's id.
    storage: String,
    /// The dataset's id, if it opens one.
    dataset: Option<String>,
    /// The share that made it, if one did; then it answers asks for that share only.
    share: Option<String>,
    /// The workspace it was made for, if for one; it goes with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    workspace: Option<String>,
    /// The request that was approved with it, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    #[serde(flatten)]
    scope: ScopeResponse,
    /// No credential of it lives longer, in seconds.
    max_ttl_secs: u32,
    /// It opens nothing before.
    from: Option<String>,
    /// It opens nothing from then on.
    until: Option<String>,
    /// What has to hold besides for it to open anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    conditions: Option<GrantConditions>,
    /// Whether it opens anything now, if its conditions hold.
    state: When,
}

impl GrantResponse {
    fn of(grant: &Grant, names: &Names, now: Timestamp) -> Self {
        Self::written(grant, ScopeResponse::of_grant(&grant.scope), names, now)
    }

    fn written<O>(grant: &Grant<O>, shown: ScopeResponse, names: &Names, now: Timestamp) -> Self {
        let Grant { id, name, account, to, storage, origin, scope: _, max_lifetime, from, until, conditions } = grant;
        Self {
            id: id.to_string(),
            name: name.to_string(),
            account: account.to_string(),
            account_name: names.account(*account),
            to: match to {
                Grantee::Everyone => None,
                Grantee::Caller(id) => Some(names.caller(*id).unwrap_or_else(|| id.to_string())),
                Grantee::Group(id) => Some(format!("group:{}", names.group(*id).unwrap_or_else(|| id.to_string()))),
            },
            storage: storage.to_string(),
            dataset: origin.dataset().map(|id| id.to_string()),
            share: origin.share().map(|id| id.to_string()),
            workspace: origin.workspace().map(|id| id.to_string()),
            request: origin.request().map(|id| id.to_string()),
            scope: shown,
            max_ttl_secs: max_lifetime.as_secs(),
            from: from.map(wire::at),
            until: until.map(wire::at),
            conditions: conditions.as_deref().map(|own| names.conditions(own)),
            state: match grant.time(now) {
                GrantTime::Live => When::Live,
                GrantTime::Early => When::Early,
                GrantTime::Ended => When::Ended,
            },
        }
    }
}

/// Grants.
#[derive(Serialize, ToSchema)]
pub(super) struct GrantList {
    grants: Vec<GrantResponse>,
    /// Of what the caller may reach: how many more there are that are not listed.
    unlisted: usize,
    /// What to send as `after` for the next page; nothing when there is none.
    next_after: Option<String>,
}

/// Lists what the caller may reach; with `account` or `all`, for admins and for operators, the grants there are: of an account, of
/// one's own, or for operators of all.
#[utoipa::path(get, operation_id = "list_grants", path = "/api/v1/grants", tag = "grants", params(
    ("account" = Option<String>, Query, description = "The grants of this account (name or id); for admins"),
    ("all" = Option<bool>, Query, description = "Every grant the caller may know of, not only what it may reach: an admin's account's, an operator everybody's"),
    ("name" = Option<String>, Query, description = "Only that of this name; without `account` and `all`, in one's own account"),
    ("caller" = Option<String>, Query, description = "Only those this caller may use (id, `account/name`, or name in the account): its own, and everyone's of its account"),
    ("bucket" = Option<String>, Query, description = "Only those of this bucket"),
    ("since" = Option<String>, Query, description = "Only those made since (RFC 3339)"),
    ("since_secs" = Option<u32>, Query, description = "Only those made in the last N seconds"),
    ("after" = Option<String>, Query, description = "The `next_after` of the page before"),
    ("limit" = Option<u32>, Query, description = "1 to 10000; 1000 if not given"),
), responses(
    (status = 200, description = "Grants", body = GrantList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn list(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let query = &call.query;
    let limit = lists::size(query)?;
    let all = query.flag("all")?.unwrap_or(false);
    let account = match (query.get("account"), call.caller.role) {
        (None, Role::Admin | Role::Operator | Role::Auditor | Role::Planner) if all => {
            native.listed(&call, None).await?
        }
        // A name without an account is one of the own account, whomever it is for.
        (None, Role::Admin | Role::Operator | Role::Auditor | Role::Planner) if query.get("name").is_some() => {
            Some(call.caller.account)
        }
        (None, _) => return reach(&native, &call, query, limit).await,
        (Some(account), _) => native.listed(&call, Some(account)).await?,
    };
    authz::admin(&call.caller)?;
    let caller = native.caller_of_list(&call, query.get("account"), query.get("caller")).await?;
    let bucket = lists::bucket(query)?;
    let filter = GrantFilter {
        account: account.or(caller.as_ref().map(|known| known.account)),
        name: query.get("name"),
        caller: caller.map(|known| known.id),
        bucket: bucket.as_ref(),
        since: lists::since(query, call.now)?,
        after: lists::after(query)?,
        limit: limit + 1,
    };
    let (grants, more) = lists::page(native.shared.registry.list_grants(&filter).await?, limit);
    let next_after = grants.last().filter(|_| more).map(|last| lists::place(last.account, &last.name));
    let names = native.names_of(&call, &grants).await?;
    let grants = grants.iter().map(|grant| GrantResponse::of(grant, &names, call.now)).collect();
    Reply::json(&GrantList { grants, unlisted: 0, next_after })
}

/// What the caller may reach itself, or that of it that has a name or is in a bucket.
async fn reach(native: &Native, call: &Call, query: &Query, limit: u32) -> Result<Reply, Error> {
    for name in ["caller", "since", "since_secs", "after"] {
        if query.get(name).is_some() {
            let said =
                format!("`{name}` goes with `account` or `all`, for admins: without them this is what you may reach");
            return Err(Error::new(Kind::Invalid, said).at(name));
        }
    }
    let (name, bucket) = (query.get("name"), lists::bucket(query)?);
    let snapshot = native.shared.vending.directory.account(call.caller.account, call.now).await?;
    // Templates as they are for the caller: what they are for others is not its matter.
    let (name, caller, known) = (name.map(str::to_owned), Arc::clone(&call.caller), Arc::clone(&snapshot));
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let listed = move || {
        let meant = |grant: &Arc<Grant<Scope>>| {
            name.as_ref().is_none_or(|name| grant.name.as_str() == name)
                && bucket.as_ref().is_none_or(|bucket| grant.scope.bucket() == bucket)
        };
        let mut all = known.grants(&caller).filter(meant);
        let page: Vec<Arc<Grant<Scope>>> = all.by_ref().take(limit).collect();
        Ok((page, all.count()))
    };
    let (page, unlisted) = native.shared.heavy.weigh(call.caller.account, snapshot.size(), listed).await?;
    let names = Names::of(native, [call.caller.account], [call.caller.id]).await?;
    let names = names.with_groups(native, call, page.iter().map(|grant| &**grant)).await?;
    let own =
        |grant: &Arc<Grant<Scope>>| GrantResponse::written(&**grant, ScopeResponse::of(&grant.scope), &names, call.now);
    let grants: Vec<GrantResponse> = page.iter().map(own).collect();
    Reply::json(&GrantList { grants, unlisted, next_after: None })
}

/// Adds a grant. For operators.
#[utoipa::path(post, operation_id = "create_grant", path = "/api/v1/grants", tag = "grants", request_body = GrantRequest, params(
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean"),
), responses(
    (status = 201, description = "The grant", body = GrantResponse),
    (status = 200, description = "With `dry_run`: what it would mean", body = Preview),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn create(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let GrantRequest {
        account,
        name,
        to,
        bucket,
        prefix,
        prefixes,
        objects,
        raw_prefixes,
        whole_bucket,
        template,
        access,
        actions,
        max_ttl_secs,
        from,
        until,
        dataset,
        conditions,
    } = json(&call.body)?;
    let account = native.account(&call, Some(&account)).await?.id;
    let to = to.said("to", "say whom it is for: a caller's name, or `null` for everyone")?;
    let to = native.grantee(account, to.as_deref()).await?;
    let dataset = match dataset {
        Some(text) => Some(native.dataset(&text).await?),
        None => None,
    };
    let paths = PathRequest { prefix, prefixes, objects, raw_prefixes, whole_bucket }.read()?;
    let bucket = bucket.map(|text| BucketName::parse(&text).map_err(|error| error.at("bucket"))).transpose()?;
    let (bucket, paths) = place(bucket, paths, dataset.as_ref())?;
    let actions = wish(access, actions.as_deref())?.most();
    let storage = native.storage_of(&bucket).await?;
    let max_lifetime = match max_ttl_secs {
        Some(secs) => Lifetime::parse(secs).map_err(|error| error.at("max_ttl_secs"))?,
        None => storage.max_lifetime,
    };
    if max_lifetime < storage.min_lifetime {
        let said =
            format!("no credential of the storage `{}` lives shorter than {}", storage.name, storage.min_lifetime);
        return Err(Error::new(Kind::Invalid, said).at("max_ttl_secs"));
    }
    let from = from.map(|text| wire::instant(&text, "from")).transpose()?;
    let until = until.map(|text| wire::instant(&text, "until")).transpose()?;
    Grant::check_times(from, until)?;
    if until.is_some_and(|until| until <= call.now) {
        return Err(Error::new(Kind::Invalid, "the grant's time would be over already").at("until"));
    }
    let new = NewGrant {
        name: wire::named(&name, "name")?,
        account,
        to,
        storage: storage.id,
        dataset: dataset.map(|dataset| dataset.id),
        scope: Opens::new(bucket, paths, actions, template.unwrap_or(false))?,
        max_lifetime,
        from,
        until,
        conditions: match &conditions {
            Some(given) => Some(Box::new(native.conditions(given).await?)),
            None => None,
        },
    };
    check_template(&new.scope, new.dataset.is_none(), new.conditions.as_deref())?;
    native.stores.can_express(&storage, &new.scope.example()?)?;
    if Changing::read(&call.query)?.is_dry() {
        let id = GrantId::new(call.now, random_10(&*native.shared.entropy));
        let grant = new.stored(id);
        let (place, put) =
            (native.looking(&call).await?, move |state: &mut State| drop(state.grants.insert(id, grant)));
        let access = native.access_after(&place, account, call.now, put).await?;
        return Reply::json(&Preview::of(0, access));
    }
    let grant = new.clone().stored(native.shared.registry.by(authority).create_grant(new, call.now).await?);
    let names = native.names_of(&call, std::slice::from_ref(&grant)).await?;
    Reply::made(&GrantResponse::of(&grant, &names, call.now))
}

/// Where the grant is: what was named, which must lie inside the dataset if one was named too.
fn place(
    bucket: Option<BucketName>,
    paths: Option<Paths>,
    dataset: Option<&Dataset>,
) -> Result<(BucketName, Paths), Error> {
    let Some(dataset) = dataset else {
        let bucket =
            bucket.ok_or_else(|| Error::new(Kind::Invalid, "name the `bucket` or a `dataset`").at("bucket"))?;
        let paths = paths.ok_or_else(|| {
            Error::new(Kind::Invalid, "name a `prefix`, `prefixes` or `objects`, or say `\"whole_bucket\": true`")
                .at("prefix")
        })?;
        return Ok((bucket, paths));
    };
    if bucket.is_some_and(|bucket| bucket != dataset.bucket) {
        let said = format!("the dataset `{}` is in another bucket", dataset.name);
        return Err(Error::new(Kind::Invalid, said).at("bucket"));
    }
    let whole = Paths::only([&dataset.path])?;
    let paths = paths.unwrap_or_else(|| whole.clone());
    if !whole.cover_paths(&paths) {
        let said = format!("the paths are not inside the dataset `{}`", dataset.name);
        return Err(Error::new(Kind::Invalid, said).at("prefix"));
    }
    Ok((dataset.bucket.clone(), paths))
}

/// Removes a grant. What was vended under it ends too, unless the request says otherwise. For operators.
#[utoipa::path(delete, operation_id = "remove_grant", path = "/api/v1/grants/{grant}", tag = "grants", params(
    ("grant" = String, Path, description = "The grant's id"),
    ("end_credentials" = Option<bool>, Query, description = "`false` to let what was vended under it live on"),
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean"),
), responses(
    (status = 200, description = "It is removed, or what that would mean", body = GrantRemoved),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn remove(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let said = Said::read(&call.query)?;
    let grant = native.grant(&call).await?;
    let removal = native.removed(&call, authority, &Thing::Grant(grant.id), said).await?;
    Reply::json(&GrantRemoved { removed: grant.id.to_string(), credentials_ended: said.ends(), removal })
}

/// A removed grant.
#[derive(Serialize, ToSchema)]
pub(super) struct GrantRemoved {
    /// Its id.
    removed: String,
    /// Whether what was vended under it was ended too.
    credentials_ended: bool,
    #[serde(flatten)]
    removal: Removal,
}

/// A time that a field changes: as it was, none, or another.
fn moved(field: Whom<String>, before: Option<Timestamp>, name: &'static str) -> Result<Option<Timestamp>, Error> {
    match field {
        Whom::Unsaid => Ok(before),
        Whom::Everyone => Ok(None),
        Whom::Named(text) => wire::instant(&text, name).map(Some),
    }
}

/// Changes a grant. Credentials that have more than it gives from now on end, unless the request says otherwise; the others live on. For
/// operators.
#[utoipa::path(patch, operation_id = "change_grant", path = "/api/v1/grants/{grant}", tag = "grants", request_body = GrantChange, params(
    ("grant" = String, Path, description = "The grant's id"),
    ("end_credentials" = Option<bool>, Query, description = "`false` to let what was vended under it live on"),
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean"),
), responses(
    (status = 200, description = "The grant", body = GrantChanged),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn change(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let said = Changing::read(&call.query)?;
    let fields: GrantChange = json(&call.body)?;
    let before = native.grant(&call).await?;
    if before.origin.request().is_some() {
        // It is what an approver looked at, and nothing else.
        let said = "the grant is what a request asked for: remove it, or grant what is wanted instead";
        return Err(Error::new(Kind::Invalid, said).at("grant"));
    }
    let GrantChange {
        name,
        prefix,
        prefixes,
        objects,
        raw_prefixes,
        whole_bucket,
        template,
        access,
        actions,
        max_ttl_secs,
        from,
        until,
        conditions,
    } = fields;
    let paths = PathRequest { prefix, prefixes, objects, raw_prefixes, whole_bucket }.read()?;
    let actions = match (access, actions.as_deref()) {
        (None, None) => before.scope.actions(),
        (access, actions) => wish(access, actions)?.most(),
    };
    let bucket = before.scope.bucket().clone();
    let paths = match (paths, before.origin.dataset()) {
        (None, _) => before.scope.written().clone(),
        (Some(paths), None) => paths,
        (Some(paths), Some(dataset)) => {
            let dataset = native.dataset(&dataset.to_string()).await?;
            place(None, Some(paths), Some(&dataset))?.1
        }
    };
    let storages = native.shared.registry.storages().await?;
    let storage = storages.iter().find(|storage| storage.id == before.storage);
    let storage = storage.ok_or_else(|| Error::not_found(Noun::Storage))?;
    let max_lifetime = max_ttl_secs
        .map(|secs| Lifetime::parse(secs).map_err(|error| error.at("max_ttl_secs")))
        .transpose()?
        .unwrap_or(before.max_lifetime);
    let after = Grant {
        name: name.as_deref().map(|text| wire::named(text, "name")).transpose()?.unwrap_or_else(|| before.name.clone()),
        scope: Opens::new(bucket, paths, actions, template.unwrap_or_else(|| before.scope.template().is_some()))?,
        max_lifetime,
        from: moved(from, before.from, "from")?,
        until: moved(until, before.until, "until")?,
        conditions: match conditions {
            Whom::Unsaid => before.conditions,
            Whom::Everyone => None,
            Whom::Named(_) if before.origin.is_part() => {
                // What it is a part of makes it anew, and would leave them out.
                let said = "a grant that a share or a workspace made has no conditions of its own";
                return Err(Error::new(Kind::Invalid, said).at("conditions"));
            }
            Whom::Named(given) => Some(Box::new(native.conditions(&given).await?)),
        },
        ..before
    };
    after.check_template()?;
    native.stores.can_express(storage, &after.scope.example()?)?;
    let by = authority.by();
    let ended = native.changed(&call, &Amendment::Grant(after.clone()), said, authority).await?;
    let access_changes = if said.is_dry() {
        let changed = after.clone();
        let change = move |state: &mut State| drop(state.grants.insert(changed.id, changed));
        Some(native.access_after(&native.looking(&call).await?, after.account, call.now, change).await?)
    } else {
        None
    };
    let names = native.names_of(&call, std::slice::from_ref(&after)).await?;
    let grant = GrantResponse::of(&after, &names, call.now);
    let still_taken = if said.is_dry() { Vec::new() } else { still_taken(&native, by).await? };
    Reply::json(&GrantChanged { grant, dry_run: said.is_dry(), ended, access_changes, still_taken })
}

/// A changed grant.
#[derive(Serialize, ToSchema)]
pub(super) struct GrantChanged {
    #[serde(flatten)]
    grant: GrantResponse,
    /// Whether nothing was done: then this is what would be.
    dry_run: bool,
    /// How many live leases had more than it gives now, and were ended.
    ended: u64,
    /// If nothing was done: what callers gain and lose of what they can reach now.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_changes: Option<Vec<AccessChange>>,
    /// Those of them that their external storages accept until they expire.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    still_taken: Vec<StillTaken>,
}

impl Native {
    async fn conditions(&self, given: &GrantConditions) -> Result<Conditions, Error> {
        let providers = self.shared.identities.identity_providers().await?;
        conditions::read(given, |text| provider_named(&providers, text))
    }

    async fn names_of(&self, call: &Call, grants: &[Grant]) -> Result<Names, Error> {
        let callers = grants.iter().filter_map(|grant| match grant.to {
            Grantee::Everyone | Grantee::Group(_) => None,
            Grantee::Caller(caller) => Some(caller),
        });
        let names = Names::of(self, grants.iter().map(|grant| grant.account), callers).await?;
        names.with_groups(self, call, grants.iter()).await
    }

    /// The id of a grant for a list of what was vended under it: by that, also of one that was removed, as `account/name`, or by its
    /// name in an account, one's own if not given.
    pub(super) async fn grant_named(&self, call: &Call, account: Option<&str>, text: &str) -> Result<GrantId, Error> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        let (account, name) = match (account, text.split_once('/')) {
            (None, Some((account, name))) => (Some(account), name),
            (account, _) => (account, text),
        };
        let account = Some(self.account(call, account).await?.id);
        let filter = GrantFilter { account, name: Some(name), limit: 1, ..GrantFilter::default() };
        let found = self.shared.registry.list_grants(&filter).await?;
        found.first().map(|grant| grant.id).ok_or_else(|| Error::not_found(Noun::Grant).at("grant"))
    }

    /// The grant that the path names, in whatever account; none that a share made.
    async fn grant(&self, call: &Call) -> Result<Grant, Error> {
        let id: GrantId = wire::in_path(call.params.get("grant")?, Noun::Grant, "grant")?;
        let account = self.account_of_grant(call, id).await?;
        let grants = self.shared.registry.grants(account).await?;
        let grant = grants.into_iter().find(|grant| grant.id == id);
        let grant = grant.ok_or_else(|| Error::not_found(Noun::Grant).at("grant"))?;
        if grant.origin.share().is_some() {
            let said = "a share made this grant: take the table out of the share, or the share from its recipient";
            return Err(Error::new(Kind::Invalid, said).at("grant"));
        }
        Ok(grant)
    }
}
