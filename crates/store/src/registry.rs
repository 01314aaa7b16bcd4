//! Changes: written first, then seen by every decision, then answered. A caller who goes away midway leaves neither half.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::sqlite::SqliteConnection;
use valetkey_core::account::{Account, Metering, Standing};
use valetkey_core::audit::{Change, ChangeFilter, Deed};
use valetkey_core::caller::{CallerRecord, CallerStanding, Role};
use valetkey_core::dataset::Dataset;
use valetkey_core::error::Noun;
use valetkey_core::grant::Grant;
use valetkey_core::id::{AccountId, CallerId, DatasetId, GrantId, LeaseId, StorageId, TokenId};
use valetkey_core::lease::{LeaseRecord, LeaseState, Revocation, Revoker};
use valetkey_core::name::{BucketName, Name};
use valetkey_core::port::{LeaseFilter, LedgerHead, NewStorage, Outliving, Registry, TokenRecord, Verified};
use valetkey_core::storage::Storage;
use valetkey_core::time::random_10;
use valetkey_core::token::{Maker, PlainToken, TokenDigest};
use valetkey_core::usage::Balance;
use valetkey_core::{Error, Kind};

use crate::ledger::entry::Opened;
use crate::owed::Owed;
use crate::sqlite::callers::{self, NewToken};
use crate::sqlite::notes::{self, Notes};
use crate::sqlite::revocations::{self, Also, End, Target};
use crate::sqlite::{failed, registry};
use crate::store::Store;

type Reader = sqlx::pool::PoolConnection<sqlx::Sqlite>;

impl Store {
    pub(crate) fn noise(&self) -> [u8; 10] {
        random_10(&*self.shared.entropy)
    }

    pub(crate) async fn reader(&self) -> Result<Reader, Error> {
        self.shared.db.readers().acquire().await.map_err(failed)
    }

    /// Ends what a token, a caller, an account or one lease has, and with [`Also::EndToken`] the token itself: first here, then
    /// on record.
    async fn end(&self, target: Target, keep_until_ms: Option<i64>, by: Revoker, also: Also) -> Result<u64, Error> {
        let mut by = Revoker { by: by.by, at: by.at.max(self.shared.clock.now()) };
        if !matches!(target, Target::Lease(_)) {
            // All that was opened is ended, also what the clock, set back meanwhile, says will be.
            by.at = by.at.max(Timestamp::from_millisecond(self.shared.queue.newest_ms()).unwrap_or(by.at));
        }
        let at_ms = by.at.as_millisecond();
        let longest_ms = self.shared.longest_ms.load(Ordering::Relaxed);
        let keep = keep_until_ms.unwrap_or_else(|| at_ms.saturating_add(longest_ms));
        self.shared.revoked.add(&[End { target, at_ms, keep_until_ms: keep }]);
        if let Also::EndToken(token) = also {
            self.shared.revoked.bury(token);
        }
        // What is queued already is waited for. A page that cannot be written leaves no lease to end, or one that memory ends.
        let _ = self.settle().await;
        let done = self.write_end(target, keep_until_ms, by, also).await;
        self.or_owe(done, Owed::End { target, keep_until_ms, also }, by)
    }

    /// Puts an end on record.
    pub(crate) async fn write_end(
        &self,
        target: Target,
        keep_until_ms: Option<i64>,
        by: Revoker,
        also: Also,
    ) -> Result<u64, Error> {
        let mut turn = self.shared.db.turn().await;
        let at_ms = by.at.as_millisecond();
        let revoke = async |db: &mut SqliteConnection, notes: &mut Notes| {
            let longest_ms = longest_ms(registry::longest_lifetime(db).await?);
            let keep_until_ms = keep_until_ms.unwrap_or_else(|| at_ms.saturating_add(longest_ms));
            let end = End { target, at_ms, keep_until_ms };
            notes.did_end(target);
            Ok((revocations::revoke(db, end, by, longest_ms, also, notes).await?, end, longest_ms))
        };
        let (ended, end, longest_ms) = self.administer_in(&mut turn, revoke).await?;
        self.shared.longest_ms.store(longest_ms, Ordering::Relaxed);
        self.shared.revoked.add(&[end]);
        Ok(ended)
    }

    async fn end_lease(&self, lease: LeaseId, by: Revoker) -> Result<u64, Error> {
        let settled = self.settle().await;
        let found = match (self.find_lease(lease).await?, settled) {
            (Some(found), _) => found,
            (None, Ok(())) => return Err(Error::not_found(Noun::Lease)),
            // What cannot be written may have been it.
            (None, Err(error)) => return Err(error),
        };
        let keep_until_ms = found.opened.until_s.saturating_mul(1000);
        // The instant counts as no earlier than the lease's: a revoker's clock may be behind the vendor's.
        let at = by.at.max(Timestamp::from_millisecond(found.opened.from_ms).unwrap_or(by.at));
        self.end(Target::Lease(lease), Some(keep_until_ms), Revoker { by: by.by, at }, Also::Nothing).await
    }

    /// Ends a credential that the ledger knows nothing of: one that its holder made itself.
    pub(crate) async fn end_unlisted(&self, lease: LeaseId, until: Timestamp, by: Revoker) -> Result<(), Error> {
        let store = self.clone();
        let end = async move {
            store.end(Target::Lease(lease), Some(until.as_millisecond()), by, Also::Nothing).await.map(drop)
        };
        self.unbroken(end).await
    }

    async fn end_grant(&self, grant: GrantId, by: Revoker) -> Result<u64, Error> {
        let by = Revoker { by: by.by, at: by.at.max(self.shared.clock.now()) };
        let done = self.write_grant_end(grant, by).await;
        self.or_owe(done, Owed::Grant(grant), by)
    }

    /// Ends what was vended under a grant, first here, then on record.
    pub(crate) async fn write_grant_end(&self, grant: GrantId, by: Revoker) -> Result<u64, Error> {
        let mut reader = self.reader().await?;
        let account =
            registry::grant_account(&mut reader, grant).await?.ok_or_else(|| Error::not_found(Noun::Grant))?;
        // What was decided before and opens its lease only now is refused there; what waits already is waited for.
        self.shared.queue.bar(grant, by.at.as_millisecond());
        // A page that fails to be written gives its waiters an error, and leaves no lease to end.
        let _ = self.settle().await;
        let find = async |db: &mut SqliteConnection| {
            let longest_ms = longest_ms(registry::longest_lifetime(db).await?);
            revocations::of_grant(db, account, grant, by, longest_ms).await
        };
        // Found by one that reads, and in memory: that something cannot be written must not keep a key alive.
        let at_ms = by.at.as_millisecond();
        let of_grant = |lease: &Opened| lease.grant_ids().any(|one| one == grant) && lease.in_time(at_ms);
        let unwritten = || -> Vec<End> {
            self.shared.queue.unwritten(of_grant).iter().map(|lease| End::of_lease(lease, at_ms)).collect()
        };
        self.shared.revoked.add(&unwritten());
        self.shared.revoked.add(&find(&mut *reader).await?);
        drop(reader);
        let mut turn = self.shared.db.turn().await;
        let write = async |db: &mut SqliteConnection, notes: &mut Notes| {
            let mut ends = find(db).await?;
            // While this has the turn nothing leaves the queue. Those whose page comes later are marked when it is folded.
            ends.extend(unwritten());
            notes.did(Deed::Ended, Noun::Grant, grant, "credentials");
            revocations::insert_all(db, &ends, by, notes).await?;
            Ok(ends)
        };
        let ends = self.administer_in(&mut turn, write).await?;
        self.shared.revoked.add(&ends);
        Ok(u64::try_from(ends.len()).unwrap_or(u64::MAX))
    }

    /// First the credentials, then the grant. Nothing is vended under it in between, nor while either is not on record.
    pub(crate) async fn end_and_take_grant(
        &self,
        account: AccountId,
        grant: GrantId,
        by: Revoker,
    ) -> Result<(), Error> {
        self.shared.queue.bar(grant, i64::MAX);
        let done = match self.write_grant_end(grant, by).await {
            Ok(_) => self.take_grant(account, grant, by).await,
            Err(error) => Err(error),
        };
        if !done.as_ref().is_err_and(valetkey_sqlite::Failure::is_of_database) {
            let until = by.at.max(self.shared.clock.now());
            self.shared.queue.bar_no_longer_than(grant, until.as_millisecond());
        }
        done
    }

    /// Refuses what a caller asks for from here on, also what was identified or decided before and opens its lease only now.
    /// Says whose it is.
    async fn refuse_caller(&self, id: CallerId, by: Revoker) -> Result<AccountId, Error> {
        let found = callers::caller(&mut *self.reader().await?, id).await?;
        let found = found.filter(|found| found.standing != CallerStanding::Removed);
        let account = found.ok_or_else(|| Error::not_found(Noun::Caller))?.account;
        self.shared.queue.end_caller(id, by.at.max(self.shared.clock.now()).as_millisecond());
        // A page that fails to be written gives its waiters an error, and leaves no lease to end.
        let _ = self.settle().await;
        Ok(account)
    }

    /// Forgets what memory says of a caller of an account.
    fn forget_caller(&self, account: AccountId) {
        self.shared.memory.known.forget_all();
        self.shared.memory.parents.forget_all();
        self.shared.memory.snapshots.forget(&account);
        self.shared.memory.shared_with.forget(&account);
    }

    async fn take_grant(&self, account: AccountId, grant: GrantId, by: Revoker) -> Result<(), Error> {
        let remove = async |db: &mut SqliteConnection, notes: &mut Notes| {
            registry::remove_grant(db, account, grant, by).await?;
            notes.did(Deed::Removed, Noun::Grant, grant, "");
            Ok(())
        };
        self.administer(remove).await?;
        self.shared.memory.snapshots.forget(&account);
        Ok(())
    }

    async fn end_any(&self, what: Revocation, by: Revoker) -> Result<u64, Error> {
        match what {
            Revocation::Lease(lease) => self.end_lease(lease, by).await,
            Revocation::Token(token) => {
                if registry::token_by_id(&mut *self.reader().await?, token).await?.is_none() {
                    return Err(Error::not_found(Noun::Token));
                }
                self.end(Target::Token(token), None, by, Also::Nothing).await
            }
            Revocation::Caller(caller) => {
                if registry::caller_account(&mut *self.reader().await?, caller).await?.is_none() {
                    return Err(Error::not_found(Noun::Caller));
                }
                self.end(Target::Caller(caller), None, by, Also::Nothing).await
            }
            Revocation::Account(account) => {
                if registry::account(&mut *self.reader().await?, account).await?.is_none() {
                    return Err(Error::not_found(Noun::Account));
                }
                self.end(Target::Account(account), None, by, Also::Nothing).await
            }
            Revocation::Storage(storage) => {
                if !registry::storage_exists(&mut *self.reader().await?, storage).await? {
                    return Err(Error::not_found(Noun::Storage));
                }
                self.end(Target::Storage(storage), None, by, Also::Nothing).await
            }
            Revocation::Grant(grant) => self.end_grant(grant, by).await,
        }
    }
}

/// Milliseconds of the longest lifetime, and a second for instants told in whole seconds.
pub(crate) fn longest_ms(longest_s: i64) -> i64 {
    longest_s.saturating_add(1).saturating_mul(1000)
}

#[async_trait]
impl Registry for Store {
    async fn create_account(&self, name: &Name, metering: Metering, now: Timestamp) -> Result<Account, Error> {
        let account =
            Account { id: AccountId::new(now, self.noise()), name: name.clone(), standing: Standing::Active, metering };
        let store = self.clone();
        self.unbroken(async move {
            let create = async |db: &mut SqliteConnection, notes: &mut Notes| {
                registry::create_account(db, &account, now).await?;
                notes.did(Deed::Made, Noun::Account, account.id, account.name.as_str());
                Ok(())
            };
            store.administer(create).await?;
            Ok(account)
        })
        .await
    }

    async fn accounts(&self) -> Result<Vec<Account>, Error> {
        registry::accounts(&mut *self.reader().await?).await
    }

    async fn account_named(&self, name: &Name) -> Result<Option<Account>, Error> {
        registry::account_named(&mut *self.reader().await?, name).await
    }

    async fn change_account(&self, id: AccountId, standing: Standing, metering: Metering) -> Result<(), Error> {
        let store = self.clone();
        self.unbroken(async move {
            let change = async |db: &mut SqliteConnection, notes: &mut Notes| {
                registry::change_account(db, id, standing, metering).await?;
                let standing = match standing {
                    Standing::Active => "active",
                    Standing::Suspended => "suspended",
                };
                notes.did(
                    Deed::Changed,
                    Noun::Account,
                    id,
                    &format!("{standing}, {} credits a vend", metering.credits()),
                );
                Ok(())
            };
            store.administer(change).await?;
            store.shared.memory.snapshots.forget(&id);
            Ok(())
        })
        .await
    }

    async fn add_credits(&self, account: AccountId, credits: u64, now: Timestamp) -> Result<Balance, Error> {
        let store = self.clone();
        self.unbroken(async move {
            let mut turn = store.shared.db.turn().await;
            let add = async |db: &mut SqliteConnection, notes: &mut Notes| {
                let stored = registry::add_credits(db, account, credits, now).await?;
                notes.did(Deed::Changed, Noun::Account, account, &format!("{credits} credits added"));
                Ok(stored)
            };
            let stored = store.administer_in(&mut turn, add).await?;
            store.shared.queue.set_balance(account, stored);
            Ok(store.shared.queue.balance(account).unwrap_or(stored))
        })
        .await
    }

    async fn ensure_caller(
        &self,
        account: AccountId,
        name: &Name,
        role: Role,
        now: Timestamp,
    ) -> Result<CallerId, Error> {
        let (store, name, new) = (self.clone(), name.clone(), CallerId::new(now, self.noise()));
        self.unbroken(async move {
            let ensure = async |db: &mut SqliteConnection, notes: &mut Notes| {
                let caller = callers::ensure_caller(db, new, account, &name, role, now).await?;
                if caller == new {
                    notes.did(Deed::Made, Noun::Caller, new, &format!("{name}, {}", role.as_str()));
                }
                Ok(caller)
            };
            store.administer(ensure).await
        })
        .await
    }

    async fn callers(&self, account: AccountId) -> Result<Vec<CallerRecord>, Error> {
        callers::callers(&mut *self.reader().await?, account).await
    }

    async fn caller_by_id(&self, id: CallerId) -> Result<Option<CallerRecord>, Error> {
        callers::caller(&mut *self.reader().await?, id).await
    }

    async fn suspend_caller(&self, id: CallerId, by: Revoker) -> Result<u64, Error> {
        let store = self.clone();
        self.unbroken(async move {
            let account = store.refuse_caller(id, by).await?;
            // First its credentials, in memory whatever the disk does; then itself. Either can be asked for again.
            let ended = store.end_any(Revocation::Caller(id), by).await;
            let suspend = async |db: &mut SqliteConnection, notes: &mut Notes| {
                callers::stand(db, id, CallerStanding::Suspended).await?;
                notes.did(Deed::Suspended, Noun::Caller, id, "");
                Ok(())
            };
            let done = store.administer(suspend).await;
            store.forget_caller(account);
            done?;
            ended
        })
        .await
    }

    async fn activate_caller(&self, id: CallerId) -> Result<(), Error> {
        let store = self.clone();
        self.unbroken(async move {
            let found = callers::caller(&mut *store.reader().await?, id).await?;
            let account = found.ok_or_else(|| Error::not_found(Noun::Caller))?.account;
            let activate = async |db: &mut SqliteConnection, notes: &mut Notes| {
                callers::stand(db, id, CallerStanding::Active).await?;
                notes.did(Deed::Activated, Noun::Caller, id, "");
                Ok(())
            };
            store.administer(activate).await?;
            store.shared.queue.spare_caller(id);
            store.forget_caller(account);
            Ok(())
        })
        .await
    }

    async fn remove_caller(&self, id: CallerId, by: Revoker) -> Result<u64, Error> {
        let store = self.clone();
        self.unbroken(async move {
            let account = store.refuse_caller(id, by).await?;
            // First its credentials, in memory whatever the disk does; then itself. Either can be asked for again.
            let ended = store.end_any(Revocation::Caller(id), by).await;
            let remove = async |db: &mut SqliteConnection, notes: &mut Notes| callers::remove(db, id, by, notes).await;
            let done = store.administer(remove).await;
            store.forget_caller(account);
            done?;
            ended
        })
        .await
    }

    async fn create_token(
        &self,
        caller: CallerId,
        token: &PlainToken,
        until: Option<Timestamp>,
        maker: Maker,
        now: Timestamp,
    ) -> Result<TokenRecord, Error> {
        let (store, token, id) = (self.clone(), token.clone(), TokenId::new(now, self.noise()));
        self.unbroken(async move {
            let mut turn = store.shared.db.turn().await;
            let new = NewToken { id, caller, token: &token, until, made_by: None };
            let create = async |db: &mut SqliteConnection, notes: &mut Notes| {
                callers::create_token(db, new, maker, now, notes).await
            };
            let record = store.administer_in(&mut turn, create).await?;
            store.shared.memory.unknown.forget(&token.digest());
            Ok(record)
        })
        .await
    }

    async fn tokens(&self, account: Option<AccountId>) -> Result<Vec<TokenRecord>, Error> {
        callers::tokens(&mut *self.reader().await?, account).await
    }

    async fn token_by_id(&self, id: TokenId) -> Result<Option<TokenRecord>, Error> {
        Ok(registry::token_by_id(&mut *self.reader().await?, id).await?.map(|(record, _)| record))
    }

    async fn token_of(&self, digest: TokenDigest) -> Result<Option<TokenRecord>, Error> {
        callers::token_by_digest(&mut *self.reader().await?, &digest).await
    }

    async fn tokens_made_by(&self, token: TokenId) -> Result<Vec<TokenRecord>, Error> {
        callers::tokens_made_by(&mut *self.reader().await?, token).await
    }

    async fn end_links_made_by(&self, tokens: &[TokenId]) -> Result<u64, Error> {
        let (store, tokens) = (self.clone(), tokens.to_vec());
        self.unbroken(async move {
            let end = async |db: &mut SqliteConnection, notes: &mut Notes| {
                let ended = callers::end_links_made_by(db, &tokens).await?;
                if ended > 0 {
                    for token in &tokens {
                        notes.did(Deed::Changed, Noun::Token, token, "links to profiles that it made were ended");
                    }
                }
                Ok(ended)
            };
            store.administer(end).await
        })
        .await
    }

    async fn revoke_token(&self, token: TokenId, by: Revoker) -> Result<u64, Error> {
        let store = self.clone();
        self.unbroken(async move {
            if registry::token_by_id(&mut *store.reader().await?, token).await?.is_none() {
                return Err(Error::not_found(Noun::Token));
            }
            // First, so that no vend that was identified before opens a lease after the revocation's instant.
            store.shared.queue.end_token(token, by.at.as_millisecond());
            let ended = store.end(Target::Token(token), None, by, Also::EndToken(token)).await?;
            store.token_ended(token);
            Ok(ended)
        })
        .await
    }

    async fn create_storage(&self, new: NewStorage, now: Timestamp) -> Result<Storage, Error> {
        let (store, id) = (self.clone(), StorageId::new(now, self.noise()));
        self.unbroken(async move {
            let create = async |db: &mut SqliteConnection, notes: &mut Notes| {
                registry::create_storage(db, id, &new, now).await?;
                notes.did(Deed::Made, Noun::Storage, id, new.name.as_str());
                Ok(())
            };
            store.administer(create).await?;
            store.shared.memory.snapshots.forget_all();
            Ok(new.stored(id, 1))
        })
        .await
    }

    async fn change_storage(&self, id: StorageId, new: NewStorage) -> Result<Storage, Error> {
        let store = self.clone();
        self.unbroken(async move {
            let change = async |db: &mut SqliteConnection, notes: &mut Notes| {
                let version = registry::change_storage(db, id, &new).await?;
                notes.did(Deed::Changed, Noun::Storage, id, &format!("{}, version {version}", new.name));
                Ok(version)
            };
            let version = store.administer(change).await?;
            store.shared.memory.snapshots.forget_all();
            Ok(new.stored(id, version))
        })
        .await
    }

    async fn storages(&self) -> Result<Vec<Storage>, Error> {
        registry::storages(&mut *self.reader().await?).await
    }

    async fn create_bucket(&self, storage: StorageId, bucket: &BucketName, now: Timestamp) -> Result<(), Error> {
        let (store, bucket) = (self.clone(), bucket.clone());
        self.unbroken(async move {
            let create = async |db: &mut SqliteConnection, notes: &mut Notes| {
                registry::create_bucket(db, storage, &bucket, now).await?;
                notes.did(Deed::Made, Noun::Bucket, &bucket, &format!("of {storage}"));
                Ok(())
            };
            store.administer(create).await
        })
        .await
    }

    async fn buckets(&self) -> Result<Vec<(BucketName, StorageId)>, Error> {
        registry::buckets(&mut *self.reader().await?).await
    }

    async fn create_dataset(&self, mut dataset: Dataset, now: Timestamp) -> Result<DatasetId, Error> {
        let store = self.clone();
        dataset.id = DatasetId::new(now, self.noise());
        self.unbroken(async move {
            let create = async |db: &mut SqliteConnection, notes: &mut Notes| {
                registry::create_dataset(db, &dataset, now).await?;
                notes.did(Deed::Made, Noun::Dataset, dataset.id, dataset.name.as_str());
                Ok(())
            };
            store.administer(create).await?;
            store.shared.memory.datasets.forget_all();
            Ok(dataset.id)
        })
        .await
    }

    async fn create_grant(&self, mut grant: Grant, now: Timestamp) -> Result<GrantId, Error> {
        let store = self.clone();
        grant.id = GrantId::new(now, self.noise());
        self.unbroken(async move {
            let create = async |db: &mut SqliteConnection, notes: &mut Notes| {
                registry::create_grant(db, &grant, now).await?;
                notes.did(Deed::Made, Noun::Grant, grant.id, grant.name.as_str());
                Ok(())
            };
            store.administer(create).await?;
            store.shared.memory.snapshots.forget(&grant.account);
            Ok(grant.id)
        })
        .await
    }

    async fn grants(&self, account: AccountId) -> Result<Vec<Grant>, Error> {
        registry::grants(&mut *self.reader().await?, account).await
    }

    async fn remove_grant(
        &self,
        account: AccountId,
        grant: GrantId,
        end_credentials: bool,
        by: Revoker,
    ) -> Result<(), Error> {
        let store = self.clone();
        self.unbroken(async move {
            if end_credentials {
                registry::check_grant(&mut *store.reader().await?, account, grant).await?;
                let by = Revoker { by: by.by, at: by.at.max(store.shared.clock.now()) };
                let done = store.end_and_take_grant(account, grant, by).await;
                return store.or_owe(done, Owed::TakeGrant(account, grant), by);
            }
            store.take_grant(account, grant, by).await
        })
        .await
    }

    async fn revoke(&self, what: Revocation, by: Revoker) -> Result<u64, Error> {
        let store = self.clone();
        self.unbroken(async move { store.end_any(what, by).await }).await
    }

    async fn lease(&self, id: LeaseId) -> Result<Option<LeaseRecord>, Error> {
        let settled = self.settle().await;
        let Some(found) = self.find_lease(id).await? else { return settled.map(|()| None) };
        let mut record = self.record(found).await?;
        if self.shared.queue.is_voided(id) {
            record.state = LeaseState::Void;
        }
        Ok(Some(record))
    }

    async fn outliving(&self, by: Revoker) -> Result<Vec<Outliving>, Error> {
        let longest_ms = longest_ms(registry::longest_lifetime(&mut *self.reader().await?).await?);
        self.outliving_of(by, longest_ms).await
    }

    async fn leases_of_key(&self, key_id: &str, limit: u32) -> Result<Vec<LeaseRecord>, Error> {
        let found = self.of_key(key_id, limit).await?;
        self.records(found).await
    }

    async fn leases(&self, filter: &LeaseFilter) -> Result<Vec<LeaseRecord>, Error> {
        if filter.limit > 10_000 {
            return Err(Error::new(Kind::Invalid, "the most leases to list at once are 10000").at("limit"));
        }
        let longest_ms = longest_ms(registry::longest_lifetime(&mut *self.reader().await?).await?);
        let found = self.list(filter, longest_ms).await?;
        self.records(found).await
    }

    async fn verify_against(&self, expected: Option<LedgerHead>) -> Result<Verified, Error> {
        self.settle().await?;
        self.verify(expected).await
    }

    async fn changes(&self, filter: &ChangeFilter) -> Result<Vec<Change>, Error> {
        notes::changes(&mut *self.reader().await?, filter).await
    }
}
