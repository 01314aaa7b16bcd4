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
use valetkey_core::nouns::removal::{Amendment, Thing};
use valetkey_core::{Error, Kind};

use super::api::accounts::{AccountChange, AccountRequest, CreditRequest, StandingWord};
use super::api::given::Whom;
use super::api::word::Worded;
use super::ended::{StillTaken, still_taken};
use super::error::Problem;
use super::removal::{Removal, Said};
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
        Some(text) => {
            let bucket = (!text.is_empty()).then(|| wire::named::<BucketName>(text, "datasets_bucket")).transpose()?;
            if let Some(bucket) = &bucket {
                native.storage_of(bucket).await.map_err(|error| error.at("datasets_bucket"))?;
            }
            native.shared.registry.by(authority).set_datasets_bucket(account.id, bucket.as_ref()).await?;
            bucket
        }
    };
    let name = fields.name.as_deref().map(|text| wire::named(text, "name")).transpose()?;
    let named = Account { name: name.unwrap_or_else(|| account.name.clone()), quota, ..account.clone() };
    if named != account {
        let by = authority.by();
        native.shared.registry.by(authority).change(&Amendment::Account(named.clone()), false, by).await?;
        account = named;
    }
    let account = Account { standing, metering, datasets_bucket, ..account };
    let by = authority.by();
    let changed = native.shared.registry.by(authority).change_account(account.id, standing, metering).await;
    let mut still = Vec::new();
    match standing {
        Standing::Active => changed?,
        // What it was given before must not outlast its being served, also where that could not be written.
        Standing::Suspended => {
            let ended = native.shared.registry.by(authority).revoke(Revocation::Account(account.id), by).await;
            changed?;
            ended?;
            still = still_taken(&native, by).await?;
        }
    }
    let account = native.account_shown(&account).await;
    Reply::json(&AccountChanged { account, still_taken: still })
}

/// An account that was changed.
#[derive(Serialize, ToSchema)]
pub(super) struct AccountChanged {
    #[serde(flatten)]
    account: AccountResponse,
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
