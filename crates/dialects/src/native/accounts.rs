//! Accounts: `/api/v1/accounts`, `/api/v1/accounts/{account}`, `/api/v1/accounts/{account}/credits`.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::account::{Account, Kept, Metering, OwnLimit, OwnQuota, Quota, Standing};
use valetkey_core::caller::Role;
use valetkey_core::id::AccountId;
use valetkey_core::lease::Revocation;
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::policy_set::State;
use valetkey_core::nouns::removal::{Amendment, Thing};
use valetkey_core::{Error, Kind};

use super::api::accounts::{AccountChange, AccountRequest, CreditRequest, StandingWord};
use super::api::given::Whom;
use super::api::word::Worded;
use super::ended::{StillTaken, still_taken};
use super::error::Problem;
use super::preview::AccessChange;
use super::removal::{Changing, Removal, Said};
use super::state::Native;
use super::wire;
use crate::edge::{Authority, Call, Reply, json};

/// An account.
#[derive(Serialize, ToSchema)]
pub(super) struct AccountResponse {
    /// Its id.
    id: String,
    /// Its name.
    name: String,
    /// Whether its callers are served.
    standing: StandingWord,
    /// What a credential costs it; 0 is nothing.
    credits_per_vend: u32,
    /// The bucket whose datasets its callers get when theirs are in several and they name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    datasets_bucket: Option<String>,
    /// The most bytes it may keep at the embedded storage and in multipart uploads, where that is said for it alone; 0 is any.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<u64>,
    /// The most objects it may keep at the embedded storage, where that is said for it alone; 0 is any.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_objects: Option<u64>,
    /// What it keeps, and what holds for it; left out when that cannot be read now.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<KeptResponse>,
}

/// What an account keeps at the embedded storage, and how much it may: its own limit, or the server's.
#[derive(Serialize, ToSchema)]
pub(super) struct KeptResponse {
    /// Bytes of objects, and of parts of uploads.
    bytes: u64,
    /// The most of them; without it any.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<u64>,
    /// Objects.
    objects: u64,
    /// The most of them; without it any.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_objects: Option<u64>,
}

impl AccountResponse {
    fn of(account: &Account, kept: Option<&HashMap<AccountId, Kept>>, others: Quota) -> Self {
        let Account { id, name, standing, metering, datasets_bucket, quota } = account;
        let Quota { bytes: max_bytes, objects: max_objects } = quota.or(others);
        let kept = kept.map(|kept| kept.get(id).copied().unwrap_or_default());
        Self {
            id: id.to_string(),
            name: name.to_string(),
            standing: Worded(*standing),
            credits_per_vend: metering.credits(),
            datasets_bucket: datasets_bucket.as_ref().map(ToString::to_string),
            max_bytes: quota.bytes.number(),
            max_objects: quota.objects.number(),
            kept: kept.map(|Kept { bytes, objects }| KeptResponse { bytes, max_bytes, objects, max_objects }),
        }
    }
}

/// Accounts.
#[derive(Serialize, ToSchema)]
pub(super) struct AccountList {
    accounts: Vec<AccountResponse>,
}

/// Lists accounts: an operator all, everyone else its own.
#[utoipa::path(get, operation_id = "list_accounts", path = "/api/v1/accounts", tag = "accounts", responses(
    (status = 200, description = "Accounts", body = AccountList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn list(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let accounts = match call.caller.role {
        Role::Operator | Role::Planner => native.shared.registry.accounts().await?,
        Role::Admin | Role::Member | Role::Auditor => vec![native.account(&call, None).await?],
    };
    let only = accounts.first().filter(|_| accounts.len() == 1).map(|account| account.id);
    let (kept, others) = (native.stores.kept(only).await.ok(), native.stores.quota());
    let shown = |account: &Account| AccountResponse::of(account, kept.as_ref(), others);
    Reply::json(&AccountList { accounts: accounts.iter().map(shown).collect() })
}

impl Native {
    pub(super) async fn account_shown(&self, account: &Account) -> AccountResponse {
        let kept = self.stores.kept(Some(account.id)).await.ok();
        AccountResponse::of(account, kept.as_ref(), self.stores.quota())
    }
}

/// Makes an account. For operators.
#[utoipa::path(post, operation_id = "create_account", path = "/api/v1/accounts", tag = "accounts", request_body = AccountRequest, responses(
    (status = 201, description = "The account", body = AccountResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn create(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let fields: AccountRequest = json(&call.body)?;
    let name: Name = wire::named(&fields.name, "name")?;
    let metering = Metering::of(fields.credits_per_vend.unwrap_or(0));
    let account = native.shared.registry.by(authority).create_account(&name, metering, call.now).await?;
    Reply::made(&native.account_shown(&account).await)
}

/// The highest limit: what the database can count.
const MOST_KEPT: u64 = i64::MAX.cast_unsigned();

fn limit(own: OwnLimit, given: &Whom<u64>, field: &'static str) -> Result<OwnLimit, Error> {
    match given {
        Whom::Unsaid => Ok(own),
        Whom::Everyone => Ok(OwnLimit::Default),
        Whom::Named(most) if *most > MOST_KEPT => {
            let said = format!("{most} is too many; the most is {MOST_KEPT}, and 0 is any number");
            Err(Error::new(Kind::Invalid, said).at(field))
        }
        Whom::Named(most) => Ok(OwnLimit::of(Some(*most))),
    }
}

/// Suspends or activates an account, or changes its name, what a credential costs it or how much it may keep. For operators.
#[utoipa::path(patch, operation_id = "change_account", path = "/api/v1/accounts/{account}", tag = "accounts", request_body = AccountChange, params(
    ("account" = String, Path, description = "The account's name or id"),
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean"),
), responses(
    (status = 200, description = "The account", body = AccountChanged),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn change(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let mut account = native.account(&call, Some(call.params.get("account")?)).await?;
    let fields: AccountChange = json(&call.body)?;
    let standing = fields.standing.map_or(account.standing, |word| word.0);
    let metering = fields.credits_per_vend.map_or(account.metering, Metering::of);
    match standing {
        Standing::Suspended if account.id == call.caller.account => {
            return Err(Error::new(Kind::Invalid, "an operator's own account cannot be suspended").at("standing"));
        }
        Standing::Suspended | Standing::Active => {}
    }
    let quota = OwnQuota {
        bytes: limit(account.quota.bytes, &fields.max_bytes, "max_bytes")?,
        objects: limit(account.quota.objects, &fields.max_objects, "max_objects")?,
    };
    let datasets_bucket = match fields.datasets_bucket.as_deref() {
        None => account.datasets_bucket.clone(),
        Some("") => None,
        Some(text) => {
            let bucket = wire::named::<BucketName>(text, "datasets_bucket")?;
            native.storage_of(&bucket).await.map_err(|error| error.at("datasets_bucket"))?;
            Some(bucket)
        }
    };
    let name = fields.name.as_deref().map(|text| wire::named(text, "name")).transpose()?;
    if Changing::read(&call.query)?.is_dry() {
        let name = name.unwrap_or_else(|| account.name.clone());
        let after = Account { name, standing, metering, quota, ..account.clone() };
        return native.account_previewed(&call, account, after).await;
    }
    let is_changed = name.as_ref().is_some_and(|name| *name != account.name) || metering != account.metering;
    let (by, registry) = (authority.by(), native.shared.registry.by(authority));
    // First, so that nothing else that cannot be written keeps it from being suspended.
    let ended = match standing {
        Standing::Active => Ok(()),
        Standing::Suspended => {
            let changed = registry.change_account(account.id, standing, account.metering).await;
            // What it was given before must not outlast its being served.
            let ended = registry.revoke(Revocation::Account(account.id), by).await.map(drop);
            account.standing = standing;
            changed.and(ended)
        }
    };
    let others = async {
        if is_changed {
            native.by_hand(&call, authority, &[Thing::Account(account.id)]).await?;
        }
        if fields.datasets_bucket.is_some() {
            registry.set_datasets_bucket(account.id, datasets_bucket.as_ref()).await?;
        }
        let named = Account { name: name.unwrap_or_else(|| account.name.clone()), quota, ..account.clone() };
        let mut renamed = 0;
        if named != account {
            // What was opened where its old name is ends with that.
            renamed = registry.change(&Amendment::Account(named.clone()), true, by).await?;
        }
        // One that is to be served is, also where a suspension waits to be written.
        if standing == Standing::Active || metering != account.metering {
            registry.change_account(account.id, standing, metering).await?;
        }
        Ok((named, renamed))
    };
    let others: Result<(Account, u64), Error> = others.await;
    ended?;
    let (named, renamed) = others?;
    let account = Account { standing, metering, datasets_bucket, ..named };
    let mut still = Vec::new();
    match standing {
        Standing::Active if renamed == 0 => {}
        Standing::Active | Standing::Suspended => still = still_taken(&native, by).await?,
    }
    let account = native.account_shown(&account).await;
    Reply::json(&AccountChanged { account, dry_run: false, ended: None, access_changes: None, still_taken: still })
}

impl Native {
    /// What suspending an account, serving it again or giving it another name would mean.
    async fn account_previewed(&self, call: &Call, before: Account, after: Account) -> Result<Reply, Error> {
        let (id, registry) = (before.id, &self.shared.registry);
        let place = self.looking(call).await?;
        let ended = match after.standing {
            Standing::Suspended => registry.plan(&Thing::Account(id)).await?.leases,
            Standing::Active => registry.preview(&Amendment::Account(after.clone()), call.now).await?,
        };
        // Of one that is suspended nothing opens anything, whatever is granted to whom.
        let put = |account: Account| {
            move |state: &mut State| {
                if account.standing == Standing::Suspended {
                    state.grants.clear();
                }
                state.accounts.insert(id, account);
            }
        };
        let access = self.access_between(&place, id, call.now, (put(before.clone()), put(after))).await?;
        let account = self.account_shown(&before).await;
        Reply::json(&AccountChanged {
            account,
            dry_run: true,
            ended: Some(ended),
            access_changes: Some(access),
            still_taken: Vec::new(),
        })
    }
}

/// An account that was changed.
#[derive(Serialize, ToSchema)]
pub(super) struct AccountChanged {
    #[serde(flatten)]
    account: AccountResponse,
    /// Whether nothing was done: then this is what would be.
    dry_run: bool,
    /// If nothing was done: how many live leases would end.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<u64>,
    /// If nothing was done: what its callers gain and lose of what they can reach now.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_changes: Option<Vec<AccessChange>>,
    /// Credentials that were ended with it and that their external storages accept until they expire.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    still_taken: Vec<StillTaken>,
}

/// Removes an account, with everything in it if that is said. Its keys, tokens and parent access keys end; its name is free, and its
/// leases stay on record. For operators.
#[utoipa::path(delete, operation_id = "remove_account", path = "/api/v1/accounts/{account}", tag = "accounts", params(
    ("account" = String, Path, description = "The account's name or id"),
    ("cascade" = Option<bool>, Query, description = "Also what needs it; without it such a thing is refused and names it"),
    ("last_operator" = Option<bool>, Query, description = "Even if no operator has a token that is good afterwards"),
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean"),
), responses(
    (status = 200, description = "It is gone, or what that would mean", body = Removal),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn remove(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let account = native.account(&call, Some(call.params.get("account")?)).await?;
    let said = Said::read(&call.query)?;
    Reply::json(&native.removed(&call, authority, &Thing::Account(account.id), said).await?)
}

/// An account's credits.
#[derive(Serialize, ToSchema)]
pub(super) struct BalanceResponse {
    /// All that were ever granted.
    pub(super) granted: u64,
    /// Those of them that were used.
    pub(super) used: u64,
}

const MOST_CREDITS: u64 = 1_000_000_000_000;

/// Adds credits to an account. For operators.
#[utoipa::path(post, operation_id = "add_credits", path = "/api/v1/accounts/{account}/credits", tag = "accounts", request_body = CreditRequest, params(
    ("account" = String, Path, description = "The account's name or id"),
), responses(
    (status = 200, description = "What it has now", body = BalanceResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn add_credits(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let account = native.account(&call, Some(call.params.get("account")?)).await?;
    let fields: CreditRequest = json(&call.body)?;
    if !(1..=MOST_CREDITS).contains(&fields.credits) {
        let said = format!("{} credits cannot be added; the least is 1 and the most {MOST_CREDITS}", fields.credits);
        return Err(Error::new(Kind::Invalid, said).at("credits"));
    }
    let balance = native.shared.registry.by(authority).add_credits(account.id, fields.credits, call.now).await?;
    Reply::json(&BalanceResponse { granted: balance.granted, used: balance.used })
}
