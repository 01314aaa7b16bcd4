//! The tables of the registry: accounts, callers, tokens, storages, buckets, datasets, grants.

use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::account::{Account, Metering, Standing};
use valetkey_core::conditions::Conditions;
use valetkey_core::error::Noun;
use valetkey_core::grant::{Grant, Grantee};
use valetkey_core::id::{AccountId, CallerId, DatasetId, GrantId, GroupId, StorageId};
use valetkey_core::lease::Revoker;
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::dataset::Dataset;
use valetkey_core::nouns::registry::NewStorage;
use valetkey_core::nouns::rules::{GrantFound, Place, PlaceFound};
use valetkey_core::nouns::usage::Balance;
use valetkey_core::storage::{Quota, Revocability, Storage};

use crate::sql::db::{Db, Query, query, query_as, query_scalar};
use crate::sql::rows::{self, count, signed};
use crate::sql::{failed, is_taken};

/// Refuses a name that is taken, in its own words; anything else is the database's failure.
pub(crate) fn taken(noun: Noun, name: &str) -> impl FnOnce(sqlx::Error) -> Error {
    move |error| {
        if is_taken(&error) { Error::taken(noun, name) } else { failed(error) }
    }
}

pub(crate) async fn create_account(db: &mut Db, account: &Account, now: Timestamp) -> Result<(), Error> {
    query("INSERT INTO accounts (id, name, standing, vend_credits, made_ms) VALUES (?, ?, ?, ?, ?)")
        .bind(account.id.to_bytes())
        .bind(account.name.as_str().to_owned())
        .bind(rows::standing_number(account.standing))
        .bind(i64::from(account.metering.credits()))
        .bind(now.as_millisecond())
        .execute(&mut *db)
        .await
        .map_err(taken(Noun::Account, account.name.as_str()))?;
    query("INSERT INTO credits (account, granted, used) VALUES (?, 0, 0)")
        .bind(account.id.to_bytes())
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    Ok(())
}

pub(crate) async fn accounts(db: &mut Db) -> Result<Vec<Account>, Error> {
    let found: Vec<rows::AccountRow> = query_as(
        "SELECT id, name, standing, vend_credits, datasets_bucket, max_bytes, max_objects FROM accounts WHERE removed_ms IS NULL ORDER BY name",
    )
    .fetch_all(db)
    .await
    .map_err(failed)?;
    found.into_iter().map(rows::account).collect()
}

pub(crate) async fn account_named(db: &mut Db, name: &Name) -> Result<Option<Account>, Error> {
    let found: Option<rows::AccountRow> = query_as(
        "SELECT id, name, standing, vend_credits, datasets_bucket, max_bytes, max_objects FROM accounts WHERE name = ? AND removed_ms IS NULL",
    )
    .bind(name.as_str().to_owned())
    .fetch_optional(db)
    .await
    .map_err(failed)?;
    found.map(rows::account).transpose()
}

pub(crate) async fn account(db: &mut Db, id: AccountId) -> Result<Option<Account>, Error> {
    let found: Option<rows::AccountRow> = query_as(
        "SELECT id, name, standing, vend_credits, datasets_bucket, max_bytes, max_objects FROM accounts WHERE id = ? AND removed_ms IS NULL",
    )
    .bind(id.to_bytes())
    .fetch_optional(db)
    .await
    .map_err(failed)?;
    found.map(rows::account).transpose()
}

/// An account, also one that was removed.
pub(crate) async fn any_account(db: &mut Db, id: AccountId) -> Result<Option<Account>, Error> {
    let found: Option<rows::AccountRow> = query_as(
        "SELECT id, name, standing, vend_credits, datasets_bucket, max_bytes, max_objects FROM accounts WHERE id = ?",
    )
    .bind(id.to_bytes())
    .fetch_optional(db)
    .await
    .map_err(failed)?;
    found.map(rows::account).transpose()
}

pub(crate) async fn change_account(
    db: &mut Db,
    id: AccountId,
    standing: Standing,
    metering: Metering,
) -> Result<(), Error> {
    let done = query("UPDATE accounts SET standing = ?, vend_credits = ? WHERE id = ? AND removed_ms IS NULL")
        .bind(rows::standing_number(standing))
        .bind(i64::from(metering.credits()))
        .bind(id.to_bytes())
        .execute(db)
        .await
        .map_err(failed)?;
    found(done.rows_affected(), Noun::Account)
}

pub(crate) async fn set_datasets_bucket(db: &mut Db, id: AccountId, bucket: Option<&BucketName>) -> Result<(), Error> {
    let done = query("UPDATE accounts SET datasets_bucket = ? WHERE id = ?")
        .bind(bucket.map(|bucket| bucket.as_str().to_owned()))
        .bind(id.to_bytes())
        .execute(db)
        .await
        .map_err(failed)?;
    found(done.rows_affected(), Noun::Account)
}

fn found(rows: u64, noun: Noun) -> Result<(), Error> {
    if rows == 0 { Err(Error::not_found(noun)) } else { Ok(()) }
}

pub(crate) async fn balance(db: &mut Db, account: AccountId) -> Result<Option<Balance>, Error> {
    let found: Option<(i64, i64)> = query_as("SELECT granted, used FROM credits WHERE account = ?")
        .bind(account.to_bytes())
        .fetch_optional(db)
        .await
        .map_err(failed)?;
    Ok(found.map(|(granted, used)| Balance { granted: count(granted), used: count(used) }))
}

pub(crate) async fn add_credits(
    db: &mut Db,
    account: AccountId,
    credits: u64,
    now: Timestamp,
) -> Result<Balance, Error> {
    let before = balance(&mut *db, account).await?.ok_or_else(|| Error::not_found(Noun::Account))?;
    let after = before.with(credits)?;
    query("UPDATE credits SET granted = ? WHERE account = ?")
        .bind(signed(after.granted))
        .bind(account.to_bytes())
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    query("INSERT INTO credit_grants (account, credits, made_ms) VALUES (?, ?, ?)")
        .bind(account.to_bytes())
        .bind(signed(credits))
        .bind(now.as_millisecond())
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    Ok(after)
}

/// The account of a caller.
pub(crate) async fn caller_account(db: &mut Db, caller: CallerId) -> Result<Option<AccountId>, Error> {
    let found: Option<Vec<u8>> = query_scalar("SELECT account FROM callers WHERE id = ?")
        .bind(caller.to_bytes())
        .fetch_optional(db)
        .await
        .map_err(failed)?;
    found.map(|id| rows::id(&id).map(AccountId::from_bytes)).transpose()
}

pub(crate) async fn create_storage(db: &mut Db, id: StorageId, new: &NewStorage, now: Timestamp) -> Result<(), Error> {
    let query = query(
        "INSERT INTO storages (id, name, kind, endpoint, internal_endpoint, region, min_lifetime_s, max_lifetime_s, longest_s,
             settings, secrets, sharing, calls_per_sec, burst, revocation, made_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    );
    with_storage(query, id, new)
        .bind(now.as_millisecond())
        .execute(db)
        .await
        .map_err(taken(Noun::Storage, new.name.as_str()))?;
    Ok(())
}

/// Changes a store, and says which version of it this is.
pub(crate) async fn change_storage(db: &mut Db, id: StorageId, new: &NewStorage) -> Result<u64, Error> {
    let query = query(
        "UPDATE storages SET name = ?2, endpoint = ?4, internal_endpoint = ?5, region = ?6, min_lifetime_s = ?7,
             max_lifetime_s = ?8, longest_s = CASE WHEN longest_s < ?8 THEN ?8 ELSE longest_s END, settings = ?9, secrets = ?10, sharing = ?11,
             calls_per_sec = ?12, burst = ?13, revocation = ?14, version = version + 1
         WHERE id = ?1 AND kind = ?3 AND removed_ms IS NULL RETURNING version",
    );
    let version: Option<i64> = with_storage(query, id, new)
        .fetch_optional(db)
        .await
        .map_err(taken(Noun::Storage, new.name.as_str()))?
        .map(|row| row.try_get(0))
        .transpose()
        .map_err(failed)?;
    version.map(rows::count).ok_or_else(|| Error::not_found(Noun::Storage))
}

/// Takes a storage's secrets away: what sealed them is lost.
pub(crate) async fn forget_secrets(db: &mut Db, id: StorageId) -> Result<(), Error> {
    query("UPDATE storages SET secrets = NULL, version = version + 1 WHERE id = ?")
        .bind(id.to_bytes())
        .execute(db)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Binds a store's columns, as ?1 to ?14.
fn with_storage(query: Query, id: StorageId, new: &NewStorage) -> Query {
    let external = new.external.as_deref();
    let Quota { calls_per_sec, burst } = external.map(|external| external.quota).unwrap_or_default();
    query
        .bind(id.to_bytes())
        .bind(new.name.as_str().to_owned())
        .bind(new.kind.as_str())
        .bind(new.endpoint.to_string())
        .bind(new.internal_endpoint.as_deref().map(ToOwned::to_owned))
        .bind(new.region.to_string())
        .bind(i64::from(new.min_lifetime.as_secs()))
        .bind(i64::from(new.max_lifetime.as_secs()))
        .bind(external.map(|external| external.settings.to_string()))
        .bind(external.and_then(|external| external.secrets.as_deref().map(<[u8]>::to_vec)))
        .bind(external.map(|external| external.sharing).unwrap_or_default().as_str())
        .bind(i64::from(calls_per_sec))
        .bind(i64::from(burst))
        .bind(external.map_or(Revocability::Immediate, |external| external.revocation).as_str())
}

pub(crate) async fn storages(db: &mut Db) -> Result<Vec<Storage>, Error> {
    let found: Vec<rows::StorageRow> = query_as(
        "SELECT id, name, kind, endpoint, internal_endpoint, region, min_lifetime_s, max_lifetime_s,
             settings, secrets, sharing, calls_per_sec, burst, revocation, version
         FROM storages WHERE removed_ms IS NULL ORDER BY name",
    )
    .fetch_all(db)
    .await
    .map_err(failed)?;
    found.into_iter().map(rows::storage).collect()
}

/// Milliseconds of the longest lifetime any store ever allowed, and a second for instants told in whole seconds.
pub(crate) async fn longest_ms(db: &mut Db) -> Result<i64, Error> {
    let longest: Option<i64> =
        query_scalar("SELECT max(longest_s) FROM storages").fetch_one(db).await.map_err(failed)?;
    Ok(longest.unwrap_or(0).saturating_add(1).saturating_mul(1000))
}

pub(crate) async fn storage_exists(db: &mut Db, storage: StorageId) -> Result<bool, Error> {
    let there: Option<i64> = query_scalar("SELECT 1 FROM storages WHERE id = ? AND removed_ms IS NULL")
        .bind(storage.to_bytes())
        .fetch_optional(db)
        .await
        .map_err(failed)?;
    Ok(there.is_some())
}

pub(crate) async fn create_bucket(
    db: &mut Db,
    storage: StorageId,
    bucket: &BucketName,
    now: Timestamp,
) -> Result<(), Error> {
    if !storage_exists(db, storage).await? {
        return Err(Error::not_found(Noun::Storage));
    }
    query("INSERT INTO buckets (name, storage, made_ms) VALUES (?, ?, ?)")
        .bind(bucket.as_str().to_owned())
        .bind(storage.to_bytes())
        .bind(now.as_millisecond())
        .execute(db)
        .await
        .map_err(taken(Noun::Bucket, bucket.as_str()))?;
    Ok(())
}

pub(crate) async fn buckets(db: &mut Db) -> Result<Vec<(BucketName, StorageId)>, Error> {
    let found: Vec<(String, Vec<u8>)> =
        query_as("SELECT name, storage FROM buckets ORDER BY name").fetch_all(db).await.map_err(failed)?;
    found
        .into_iter()
        .map(|(name, storage)| Ok((rows::bucket(&name)?, StorageId::from_bytes(rows::id(&storage)?))))
        .collect()
}

/// The storage of a bucket.
pub(crate) async fn bucket_of(db: &mut Db, bucket: &BucketName) -> Result<Option<StorageId>, Error> {
    let found: Option<Vec<u8>> = query_scalar("SELECT storage FROM buckets WHERE name = ?")
        .bind(bucket.as_str().to_owned())
        .fetch_optional(db)
        .await
        .map_err(failed)?;
    found.map(|id| rows::id(&id).map(StorageId::from_bytes)).transpose()
}

async fn place_found(db: &mut Db, place: Place<'_>) -> Result<PlaceFound, Error> {
    let storage = storage_exists(&mut *db, place.storage).await?;
    Ok(PlaceFound { storage, bucket_of: bucket_of(db, place.bucket).await? })
}

/// Refuses a bucket that is not one of the storage's.
pub(crate) async fn check_place(db: &mut Db, storage: StorageId, bucket: &BucketName) -> Result<(), Error> {
    let place = Place { storage, bucket };
    place.check(place_found(db, place).await?)
}

pub(crate) async fn create_dataset(db: &mut Db, dataset: &Dataset, now: Timestamp) -> Result<(), Error> {
    check_place(db, dataset.storage, &dataset.bucket).await?;
    query(
        "INSERT INTO datasets (id, name, topic, description, storage, bucket, path_kind, path, format, frequency, version, deprecated, made_ms, newest, dictionary, sample)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(dataset.id.to_bytes())
    .bind(dataset.name.as_str().to_owned())
    .bind(dataset.topic.as_str().to_owned())
    .bind(dataset.description.clone())
    .bind(dataset.storage.to_bytes())
    .bind(dataset.bucket.as_str().to_owned())
    .bind(dataset.path.kind())
    .bind(dataset.path.bytes().to_vec())
    .bind(dataset.format.clone())
    .bind(dataset.frequency.clone())
    .bind(dataset.version.clone())
    .bind(i64::from(dataset.deprecated))
    .bind(now.as_millisecond())
    .bind(dataset.newest.as_str())
    .bind(dataset.dictionary.as_deref().map(<[u8]>::to_vec))
    .bind(dataset.sample.as_deref().map(<[u8]>::to_vec))
    .execute(db)
    .await
    .map_err(taken(Noun::Dataset, dataset.name.as_str()))?;
    Ok(())
}

pub(crate) async fn datasets(db: &mut Db) -> Result<Vec<Dataset>, Error> {
    let found: Vec<rows::DatasetRow> = query_as(
        "SELECT id, name, topic, description, storage, bucket, path_kind, path, format, frequency, version, deprecated,
                newest, dictionary, sample
         FROM datasets ORDER BY name",
    )
    .fetch_all(db)
    .await
    .map_err(failed)?;
    found.into_iter().map(rows::dataset).collect()
}

pub(crate) async fn create_grant(db: &mut Db, grant: &Grant, now: Timestamp) -> Result<(), Error> {
    check_new_grant(db, grant).await?;
    insert_grant(db, grant, now).await
}

/// Refuses a grant that names what is not there, or what does not belong together.
pub(crate) async fn check_new_grant(db: &mut Db, grant: &Grant) -> Result<(), Error> {
    let place = Place { storage: grant.storage, bucket: grant.scope.bucket() };
    let found = GrantFound {
        account: account(&mut *db, grant.account).await?.is_some(),
        caller_of: grantee_of(&mut *db, grant.to).await?,
        place: place_found(&mut *db, place).await?,
        dataset: match grant.origin.dataset() {
            Some(dataset) => dataset_place(db, dataset).await?,
            None => None,
        },
    };
    found.check(grant)
}

/// Whose the caller or group is that something is for, if it is for one that is there.
pub(crate) async fn grantee_of(db: &mut Db, to: Grantee) -> Result<Option<AccountId>, Error> {
    match to {
        Grantee::Everyone => Ok(None),
        Grantee::Caller(caller) => caller_account(db, caller).await,
        Grantee::Group(group) => group_account(db, group).await,
    }
}

/// Whose a group is that was not removed.
pub(crate) async fn group_account(db: &mut Db, id: GroupId) -> Result<Option<AccountId>, Error> {
    let found: Option<Vec<u8>> = query_scalar("SELECT account FROM caller_groups WHERE id = ? AND removed_ms IS NULL")
        .bind(id.to_bytes())
        .fetch_optional(db)
        .await
        .map_err(failed)?;
    found.map(|id| rows::id(&id).map(AccountId::from_bytes)).transpose()
}

async fn dataset_place(db: &mut Db, id: DatasetId) -> Result<Option<(StorageId, BucketName)>, Error> {
    let found: Option<(Vec<u8>, String)> = query_as("SELECT storage, bucket FROM datasets WHERE id = ?")
        .bind(id.to_bytes())
        .fetch_optional(db)
        .await
        .map_err(failed)?;
    found.map(|(storage, bucket)| Ok((StorageId::from_bytes(rows::id(&storage)?), rows::bucket(&bucket)?))).transpose()
}

/// Stores a grant that was checked.
pub(crate) async fn insert_grant(db: &mut Db, grant: &Grant, now: Timestamp) -> Result<(), Error> {
    let (caller, group) = match grant.to {
        Grantee::Everyone => (None, None),
        Grantee::Caller(caller) => (Some(caller.to_bytes().to_vec()), None),
        Grantee::Group(group) => (None, Some(group.to_bytes().to_vec())),
    };
    let (scope, template) = rows::opens_bytes(&grant.scope);
    query(
        "INSERT INTO grants (id, account, name, caller, storage, dataset, scope, max_lifetime_s, from_ms, until_ms, made_ms, share,
             workspace, member_of, conditions, request, template)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(grant.id.to_bytes())
    .bind(grant.account.to_bytes())
    .bind(grant.name.as_str().to_owned())
    .bind(caller)
    .bind(grant.storage.to_bytes())
    .bind(grant.origin.dataset().map(valetkey_core::id::DatasetId::to_bytes))
    .bind(scope)
    .bind(i64::from(grant.max_lifetime.as_secs()))
    .bind(grant.from.map(Timestamp::as_millisecond))
    .bind(grant.until.map(Timestamp::as_millisecond))
    .bind(now.as_millisecond())
    .bind(grant.origin.share().map(valetkey_core::id::ShareId::to_bytes))
    .bind(grant.origin.workspace().map(valetkey_core::id::WorkspaceId::to_bytes))
    .bind(group)
    .bind(grant.conditions.as_deref().map(Conditions::to_text))
    .bind(grant.origin.request().map(valetkey_core::id::RequestId::to_bytes))
    .bind(template)
    .execute(db)
    .await
    .map_err(taken(Noun::Grant, grant.name.as_str()))?;
    Ok(())
}

pub(crate) async fn grants(db: &mut Db, account: AccountId) -> Result<Vec<Grant>, Error> {
    let found: Vec<rows::GrantRow> = query_as(
        "SELECT id, name, account, caller, storage, dataset, scope, max_lifetime_s, from_ms, until_ms, share, workspace, member_of,
             conditions, request, template
         FROM grants WHERE account = ? AND removed_ms IS NULL ORDER BY name",
    )
    .bind(account.to_bytes())
    .fetch_all(db)
    .await
    .map_err(failed)?;
    let mut all = Vec::with_capacity(found.len());
    for some in found.chunks(READ_AT_ONCE) {
        for row in some {
            all.push(rows::grant(row)?);
        }
        tokio::task::yield_now().await;
    }
    Ok(all)
}

/// Rows that are read before others have their turn on a thread: about a millisecond.
const READ_AT_ONCE: usize = 500;

/// The account of a grant, also of a removed one.
pub(crate) async fn grant_account(db: &mut Db, grant: GrantId) -> Result<Option<AccountId>, Error> {
    let found: Option<Vec<u8>> = query_scalar("SELECT account FROM grants WHERE id = ?")
        .bind(grant.to_bytes())
        .fetch_optional(db)
        .await
        .map_err(failed)?;
    found.map(|id| rows::id(&id).map(AccountId::from_bytes)).transpose()
}

pub(crate) async fn remove_grant(db: &mut Db, account: AccountId, grant: GrantId, by: Revoker) -> Result<(), Error> {
    let done =
        query("UPDATE grants SET removed_ms = ?, removed_by = ? WHERE id = ? AND account = ? AND removed_ms IS NULL")
            .bind(by.at.as_millisecond())
            .bind(by.by.to_bytes())
            .bind(grant.to_bytes())
            .bind(account.to_bytes())
            .execute(db)
            .await
            .map_err(failed)?;
    found(done.rows_affected(), Noun::Grant)
}
