//! Pages of the nouns there may be many of: by what is asked for, from where the page before ended. Each goes along an index, so that
//! a page costs what it has and not what there is; what has no index is looked at row by row.

use std::ops::RangeInclusive;

use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::caller::CallerRecord;
use valetkey_core::grant::Grant;
use valetkey_core::id::AccountId;
use valetkey_core::nouns::registry::{CallerFilter, GrantFilter, TokenFilter, TokenRecord};
use valetkey_core::scope::Scope;

use crate::sql::db::{Db, query_as};
use crate::sql::{failed, rows};

/// The ids of one account, or of all.
fn accounts(only: Option<AccountId>) -> RangeInclusive<Vec<u8>> {
    match only {
        Some(account) => account.to_bytes().to_vec()..=account.to_bytes().to_vec(),
        None => Vec::new()..=vec![u8::MAX; 16],
    }
}

/// Where a page begins: no account and no name comes before these.
fn place(after: Option<(AccountId, &str)>) -> (Vec<u8>, String) {
    after.map_or_else(Default::default, |(account, name)| (account.to_bytes().to_vec(), name.to_owned()))
}

/// The grants that were not removed.
pub(crate) async fn grants(db: &mut Db, filter: &GrantFilter<'_>) -> Result<Vec<Grant>, Error> {
    let GrantFilter { account, name, caller, bucket, since, after, limit } = *filter;
    let (accounts, (after_account, after_name)) = (accounts(account), place(after));
    let found: Vec<rows::GrantRow> = query_as(
        "SELECT id, name, account, caller, storage, dataset, scope, max_lifetime_s, from_ms, until_ms, share, workspace, member_of,
             conditions, request, template
         FROM grants WHERE removed_ms IS NULL AND account BETWEEN ?1 AND ?2 AND (account, name) > (?3, ?4)
         AND (?5 IS NULL OR name = ?5)
         AND (?6 IS NULL OR caller = ?6 
              OR (caller IS NULL AND member_of IS NULL AND account = (SELECT account FROM callers WHERE id = ?6))
              OR member_of IN (SELECT member_of FROM group_members WHERE caller = ?6))
         AND (?7 IS NULL OR substr(coalesce(template, scope), 4, length(?7)) = ?7) AND (?8 IS NULL OR made_ms >= ?8)
         ORDER BY account, name LIMIT ?9",
    )
    .bind(accounts.start().clone())
    .bind(accounts.end().clone())
    .bind(after_account)
    .bind(after_name)
    .bind(name.map(str::to_owned))
    .bind(caller.map(valetkey_core::id::CallerId::to_bytes))
    .bind(bucket.map(Scope::bucket_mark))
    .bind(since.map(Timestamp::as_millisecond))
    .bind(i64::from(limit))
    .fetch_all(db)
    .await
    .map_err(failed)?;
    found.iter().map(rows::grant).collect()
}

/// The callers that were not removed.
pub(crate) async fn callers(db: &mut Db, filter: &CallerFilter<'_>) -> Result<Vec<CallerRecord>, Error> {
    let CallerFilter { account, after, limit } = *filter;
    let (accounts, (after_account, after_name)) = (accounts(account), place(after));
    let found: Vec<rows::CallerRow> = query_as(
        "SELECT id, account, name, role, standing FROM callers
         WHERE standing <> 2 AND account BETWEEN ?1 AND ?2 AND (account, name) > (?3, ?4)
         ORDER BY account, name LIMIT ?5",
    )
    .bind(accounts.start().clone())
    .bind(accounts.end().clone())
    .bind(after_account)
    .bind(after_name)
    .bind(i64::from(limit))
    .fetch_all(db)
    .await
    .map_err(failed)?;
    found.into_iter().map(rows::caller).collect()
}

/// Tokens, also those that were ended.
pub(crate) async fn tokens(db: &mut Db, filter: &TokenFilter) -> Result<Vec<TokenRecord>, Error> {
    let TokenFilter { account, caller, since, after, limit } = *filter;
    let found: Vec<rows::TokenRow> = query_as(
        "SELECT t.id, c.id, c.name, c.account, c.role, c.standing, t.tail, t.made_ms, t.until_ms, t.revoked_ms, t.made_by
         FROM tokens t JOIN callers c ON c.id = t.caller
         WHERE t.id > ?1 AND (?2 IS NULL OR c.account = ?2) AND (?3 IS NULL OR c.id = ?3) AND (?4 IS NULL OR t.made_ms >= ?4)
         ORDER BY t.id LIMIT ?5",
    )
    .bind(after.map_or_else(Vec::new, |token| token.to_bytes().to_vec()))
    .bind(account.map(valetkey_core::id::AccountId::to_bytes))
    .bind(caller.map(valetkey_core::id::CallerId::to_bytes))
    .bind(since.map(Timestamp::as_millisecond))
    .bind(i64::from(limit))
    .fetch_all(db)
    .await
    .map_err(failed)?;
    found.into_iter().map(rows::token).collect()
}
