//! What clients ask before they ask for a credential: who they are, in which accounts, and which buckets there are. Nothing is
//! told that the caller may not know of, and nothing that is not so.
//!
//! Sources: Cloudflare's API reference, *List Accounts*, *Account Details*, *User Details*, *List Buckets*, *Get Bucket*.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde::Serialize;
use valetkey_core::account::Account;
use valetkey_core::caller::Role;
use valetkey_core::error::Noun;
use valetkey_core::id::AccountId;
use valetkey_core::name::{BucketName, shortened};
use valetkey_core::{Error, Kind};

use super::{account, answer, page};
use crate::edge::{Call, Query, Reply, Shared};

type Answered = BoxFuture<'static, Result<Reply, Error>>;

#[derive(Serialize)]
struct User {
    id: String,
    /// None is kept, and clients print one: in a domain that can have no mail (RFC 2606).
    email: String,
    username: String,
    suspended: bool,
}

/// What may be asked of the list of accounts.
pub(super) const LIST: &[&str] = &["name", "page", "per_page", "direction"];
/// What may be asked of the list of buckets.
pub(super) const BUCKETS: &[&str] = &["name_contains", "start_after", "per_page", "order", "direction", "cursor"];

pub(super) fn user(shared: Arc<Shared>, call: Call) -> Answered {
    Box::pin(async move {
        let snapshot = shared.vending.directory.account(call.caller.account, call.now).await?;
        let (name, account) = (&call.caller.name, &snapshot.account().name);
        answer(&User {
            id: call.caller.id.as_hex(),
            email: format!("{name}@{account}.invalid"),
            username: name.to_string(),
            suspended: false,
        })
    })
}

#[derive(Serialize)]
struct AccountShown {
    id: String,
    name: String,
    /// The only published kinds are this one and `enterprise`.
    #[serde(rename = "type")]
    kind: &'static str,
}

impl AccountShown {
    fn of(account: &Account) -> Self {
        Self { id: account.id.as_hex(), name: account.name.to_string(), kind: "standard" }
    }
}

#[derive(Serialize)]
struct PageInfo {
    page: usize,
    per_page: usize,
    count: usize,
    total_count: usize,
    total_pages: usize,
}

/// A whole number in a range.
fn number(
    query: &Query,
    name: &'static str,
    usual: usize,
    range: std::ops::RangeInclusive<usize>,
) -> Result<usize, Error> {
    let Some(text) = query.get(name) else { return Ok(usual) };
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        let said = format!("`{}` is not a number from {} to {}", shortened(text), range.start(), range.end());
        Error::new(Kind::Invalid, said).at(name)
    })
}

/// Whether a list is wanted the other way round.
fn descends(query: &Query) -> Result<bool, Error> {
    match query.get("direction") {
        None | Some("asc") => Ok(false),
        Some("desc") => Ok(true),
        Some(other) => {
            let said = format!("`{}` is not `asc` or `desc`", shortened(other));
            Err(Error::new(Kind::Invalid, said).at("direction"))
        }
    }
}

pub(super) fn list(shared: Arc<Shared>, call: Call) -> Answered {
    Box::pin(async move {
        let query = &call.query;
        let mut accounts = match call.caller.role {
            Role::Operator | Role::Planner => shared.registry.accounts().await?,
            Role::Admin | Role::Member | Role::Auditor => vec![own(&shared, &call, call.caller.account).await?],
        };
        let named = |account: &Account| query.get("name").is_none_or(|name| account.name.as_str() == name);
        accounts.retain(named);
        if descends(query)? {
            accounts.reverse();
        }
        let per_page = number(query, "per_page", 20, 1..=50)?;
        let number = number(query, "page", 1, 1..=1_000_000)?;
        let shown: Vec<AccountShown> =
            accounts.iter().skip((number - 1) * per_page).take(per_page).map(AccountShown::of).collect();
        let info = PageInfo {
            page: number,
            per_page,
            count: shown.len(),
            total_count: accounts.len(),
            total_pages: accounts.len().div_ceil(per_page),
        };
        page(&shown, Some(info))
    })
}

pub(super) fn get(shared: Arc<Shared>, call: Call) -> Answered {
    Box::pin(async move {
        let id = account(&call)?;
        answer(&AccountShown::of(&own(&shared, &call, id).await?))
    })
}

/// An account that the caller may know of.
async fn own(shared: &Shared, call: &Call, id: AccountId) -> Result<Account, Error> {
    Ok(shared.vending.directory.account(id, call.now).await?.account().clone())
}

#[derive(Serialize)]
struct BucketShown {
    name: String,
    jurisdiction: &'static str,
}

impl BucketShown {
    fn of(bucket: &BucketName) -> Self {
        Self { name: bucket.to_string(), jurisdiction: "default" }
    }
}

#[derive(Serialize)]
struct BucketList {
    buckets: Vec<BucketShown>,
}

#[derive(Serialize)]
struct CursorInfo {
    per_page: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// The buckets of an account that the caller may know of: those that its grants name; for who is in charge of the account, those
/// that any grant of it names.
async fn known(shared: &Shared, call: &Call, id: AccountId) -> Result<BTreeSet<BucketName>, Error> {
    let caller = &call.caller;
    let all = match caller.role {
        Role::Operator | Role::Planner | Role::Admin => {
            // That it is there is asked first: an account that is not has no grants either.
            own(shared, call, id).await?;
            shared.vending.directory.account(id, call.now).await?.all_buckets()
        }
        Role::Member | Role::Auditor => shared.vending.directory.account(id, call.now).await?.buckets(caller),
    };
    Ok(all)
}

pub(super) fn buckets(shared: Arc<Shared>, call: Call) -> Answered {
    Box::pin(async move {
        let query = &call.query;
        let id = account(&call)?;
        let per_page = number(query, "per_page", 20, 1..=1000)?;
        let descends = descends(query)?;
        let part = query.get("name_contains").unwrap_or_default();
        // A cursor is the name that the page before ended with.
        let after = query.get("cursor").or(query.get("start_after")).filter(|text| !text.is_empty());
        let wanted = |bucket: &BucketName| {
            let name = bucket.as_str();
            let comes = after.is_none_or(|after| if descends { name < after } else { name > after });
            comes && name.contains(part)
        };
        let mut all: Vec<BucketName> = known(&shared, &call, id).await?.into_iter().filter(wanted).collect();
        if descends {
            all.reverse();
        }
        let more = all.len() > per_page;
        all.truncate(per_page);
        let cursor = all.last().filter(|_| more).map(ToString::to_string);
        let list = BucketList { buckets: all.iter().map(BucketShown::of).collect() };
        page(&list, Some(CursorInfo { per_page, cursor }))
    })
}

pub(super) fn bucket(shared: Arc<Shared>, call: Call) -> Answered {
    Box::pin(async move {
        let id = account(&call)?;
        let missing = || Error::not_found(Noun::Bucket).at("bucket");
        let bucket = BucketName::parse(call.params.get("bucket")?).map_err(|_| missing())?;
        if !known(&shared, &call, id).await?.contains(&bucket) {
            return Err(missing());
        }
        answer(&BucketShown::of(&bucket))
    })
}
