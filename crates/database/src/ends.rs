//! What ends credentials, and who is refused from then on: first here, in memory, then on record.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use valetkey_core::account::{Metering, Standing};
use valetkey_core::audit::Deed;
use valetkey_core::caller::CallerStanding;
use valetkey_core::error::Noun;
use valetkey_core::id::{AccountId, CallerId, GrantId, LeaseId, TokenId};
use valetkey_core::lease::{Revocation, Revoker};
use valetkey_core::nouns::removal::Thing;
use valetkey_core::{Error, Kind};
use valetkey_sql::Failure as _;

use crate::database::Database;
use crate::memory::Touches;
use crate::owed::Owed;
use crate::sql::db::Db;
use crate::sql::entry::Opened;
use crate::sql::notes::Notes;
use crate::sql::revocations::{self, Also, Through};
use crate::sql::target::{End, Target};
use crate::sql::{callers, registry};

impl Database {
    /// Ends what a token, a caller, an account or one lease has, and with [`Also::EndToken`] the token itself: first here, then
    /// on record.
    pub(crate) async fn end(
        &self,
        target: Target,
        keep_until_ms: Option<i64>,
        by: Revoker,
        also: Also,
    ) -> Result<u64, Error> {
        let mut by = Revoker { by: by.by, at: by.at.max(self.shared.clock.now()) };
        if !matches!(target, Target::Lease(_)) {
            // All that was opened is ended, also what the clock, set back meanwhile, says will be.
            by.at = by.at.max(Timestamp::from_millisecond(self.shared.queue.newest_ms()).unwrap_or(by.at));
            // And what a parent's holder asks by such a clock, which counts as opened right after the last end.
            let last_ms = self.shared.revoked.newest_ms();
            if by.at.as_millisecond() < last_ms {
                by.at = Timestamp::from_millisecond(last_ms.saturating_add(1)).unwrap_or(by.at);
            }
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
        // What is not found now is found in the turn, or owed.
        let _ = self.end_asked_here(target, by).await;
        let mut done = self.write_end(target, keep_until_ms, by, also).await;
        if done.as_ref().is_err_and(valetkey_sql::Failure::is_of_database) && self.give_reserve().await {
            done = self.write_end(target, keep_until_ms, by, also).await;
        }
        if let (Err(error), Also::EndToken(token)) = (&done, also)
            && !error.is_of_database()
        {
            // Refused: it is not there.
            self.token_ended(token);
        }
        self.or_owe(done, Owed::End { target, keep_until_ms, also }, by)
    }

    /// Refuses to end what is not there. Where that cannot be read it may be: it is ended, and found out when that is written.
    pub(crate) async fn may_end(&self, target: Target) -> Result<(), Error> {
        let read = async { there(&mut self.reader().await?, target).await };
        match read.await {
            Err(error) if is_unread(&error) => Ok(()),
            known => known,
        }
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
        let revoke = async |db: &mut Db, notes: &mut Notes| {
            there(&mut *db, target).await?;
            let longest_ms = registry::longest_ms(db).await?;
            // A lease ends whenever; of others, all that any node opened so far.
            let by = if matches!(target, Target::Lease(_)) { by } else { self.ends_all(by) };
            let at_ms = by.at.as_millisecond();
            let keep_until_ms = keep_until_ms.unwrap_or_else(|| at_ms.saturating_add(longest_ms));
            let end = End { target, at_ms, keep_until_ms };
            notes.did_end(target);
            let through = Through::of(&mut *db, target).await?;
            let mut ended = revocations::revoke(&mut *db, end, by, longest_ms, also, notes).await?;
            let mut ends = self.ends_through(&mut *db, &through, by, longest_ms).await?;
            revocations::insert_all(db, &ends, by, notes).await?;
            ended += u64::try_from(ends.len()).unwrap_or(u64::MAX);
            ends.push(end);
            let touches = match also {
                Also::Nothing | Also::CountFor(_) => Touches::Nothing,
                Also::EndToken(token) => Touches::Ended(token),
            };
            Ok(((ended, ends, longest_ms), touches))
        };
        let (ended, ends, longest_ms) = self.administer_in(&mut turn, revoke).await?;
        self.shared.longest_ms.store(longest_ms, Ordering::Relaxed);
        self.shared.revoked.add(&ends);
        Ok(ended)
    }

    /// Who ends something, from after what other nodes opened: in the turn nothing more is opened.
    fn ends_all(&self, by: Revoker) -> Revoker {
        let newest = Timestamp::from_millisecond(self.shared.queue.newest_ms()).unwrap_or(by.at);
        if self.is_shared() { Revoker { at: by.at.max(newest), ..by } } else { by }
    }

    /// Ends, on this server, what was asked for on behalf of others with the tokens that end with a target.
    async fn end_asked_here(&self, target: Target, by: Revoker) -> Result<(), Error> {
        let mut reader = self.reader().await?;
        let through = Through::of(&mut reader, target).await?;
        self.end_through_here(&mut reader, &through, by).await
    }

    /// Found by one that reads, and in memory: that something cannot be written must not keep a key alive.
    async fn end_through_here(&self, reader: &mut Db, through: &Through, by: Revoker) -> Result<(), Error> {
        let at_ms = by.at.as_millisecond();
        let queued = self.unwritten_through(through, at_ms).into_iter().filter(|lease| through.is_of(lease));
        self.shared.revoked.add(&queued.map(|lease| End::of_lease(&lease, at_ms)).collect::<Vec<_>>());
        let longest_ms = registry::longest_ms(&mut *reader).await?;
        self.shared.revoked.add(&self.ends_through(reader, through, by, longest_ms).await?);
        Ok(())
    }

    /// The ends of what came through it, on disk and on its way there.
    async fn ends_through(
        &self,
        db: &mut Db,
        through: &Through,
        by: Revoker,
        longest_ms: i64,
    ) -> Result<Vec<End>, Error> {
        // What was narrowed from a lease ends whenever it was opened.
        let newest = Timestamp::from_millisecond(self.shared.queue.newest_ms()).unwrap_or(by.at);
        let by = if let Through::Lease(_) = through { Revoker { at: by.at.max(newest), ..by } } else { by };
        // First: what leaves the queue meanwhile is on disk then.
        let unwritten = self.unwritten_through(through, by.at.as_millisecond());
        through.ends(db, unwritten, by, longest_ms).await
    }

    /// What is queued and not written, and may end with it.
    fn unwritten_through(&self, through: &Through, at_ms: i64) -> Vec<Opened> {
        if through.is_nothing() {
            return Vec::new();
        }
        let meant = |lease: &Opened| through.is_of(lease) || lease.is_narrowed();
        self.shared.queue.unwritten(|lease| meant(lease) && lease.in_time(at_ms))
    }

    pub(crate) async fn end_lease(&self, lease: LeaseId, by: Revoker) -> Result<u64, Error> {
        let settled = self.settle().await;
        let found = match (self.find_lease(lease).await, settled) {
            (Ok(Some(found)), _) => found,
            (Ok(None), Ok(())) => return Err(Error::not_found(Noun::Lease)),
            (Err(error), _) if is_unread(&error) => {
                // It tells when it was opened, and none lives longer than the longest.
                let longest_ms = self.shared.longest_ms.load(Ordering::Relaxed);
                let made = Timestamp::from_millisecond(lease.made_ms()).unwrap_or(by.at);
                let keep_until_ms = by.at.max(made).as_millisecond().saturating_add(longest_ms);
                let by = Revoker { by: by.by, at: by.at.max(made) };
                return self.end(Target::Lease(lease), Some(keep_until_ms), by, Also::Nothing).await;
            }
            // What cannot be written may have been it.
            (Err(error), _) | (Ok(None), Err(error)) => return Err(error),
        };
        let keep_until_ms = found.opened.until_s.saturating_mul(1000);
        // The instant counts as no earlier than the lease's: a revoker's clock may be behind the vendor's.
        let at = by.at.max(Timestamp::from_millisecond(found.opened.from_ms).unwrap_or(by.at));
        self.end(Target::Lease(lease), Some(keep_until_ms), Revoker { by: by.by, at }, Also::Nothing).await
    }

    /// Ends a credential that the ledger knows nothing of: one that the holder of a parent access key made itself.
    pub(crate) async fn end_unlisted(
        &self,
        lease: LeaseId,
        of: TokenId,
        until: Timestamp,
        by: Revoker,
    ) -> Result<(), Error> {
        let database = self.clone();
        let end = async move {
            let keep_until_ms = Some(until.as_millisecond());
            database.end(Target::Lease(lease), keep_until_ms, by, Also::CountFor(of)).await.map(drop)
        };
        self.unbroken(end).await
    }

    pub(crate) async fn end_grant(&self, grant: GrantId, by: Revoker) -> Result<u64, Error> {
        let by = Revoker { by: by.by, at: by.at.max(self.shared.clock.now()) };
        let done = self.write_grant_end(grant, by).await;
        self.or_owe(done, Owed::Grant(grant), by)
    }

    /// Ends what was vended under a grant, first here, then on record.
    pub(crate) async fn write_grant_end(&self, grant: GrantId, by: Revoker) -> Result<u64, Error> {
        // What was decided before and opens its lease only now is refused there; what waits already is waited for.
        self.shared.queue.bar(grant, by.at.as_millisecond());
        let mut reader = self.reader().await?;
        let account =
            registry::grant_account(&mut reader, grant).await?.ok_or_else(|| Error::not_found(Noun::Grant))?;
        // A page that fails to be written gives its waiters an error, and leaves no lease to end.
        let _ = self.settle().await;
        let through = Through::Grant(account, grant);
        self.end_through_here(&mut reader, &through, by).await?;
        drop(reader);
        let mut turn = self.shared.db.turn().await;
        let write = async |db: &mut Db, notes: &mut Notes| {
            let longest_ms = registry::longest_ms(&mut *db).await?;
            let by = self.ends_all(by);
            // While this has the turn nothing leaves the queue. Those whose page comes later are marked when it is folded.
            let ends = self.ends_through(&mut *db, &through, by, longest_ms).await?;
            notes.did(Deed::Ended, Noun::Grant, grant, "credentials");
            revocations::insert_all(db, &ends, by, notes).await?;
            Ok((ends, Touches::Nothing))
        };
        let ends = self.administer_in(&mut turn, write).await?;
        self.shared.revoked.add(&ends);
        Ok(u64::try_from(ends.len()).unwrap_or(u64::MAX))
    }

    /// Refuses what a caller asks for from here on, also what was identified or decided before and opens its lease only now.
    pub(crate) async fn refuse_caller(&self, id: CallerId, by: Revoker) -> Result<(), Error> {
        let read = async { callers::caller(&mut self.reader().await?, id).await };
        match read.await {
            Ok(Some(found)) if found.standing != CallerStanding::Removed => {}
            Ok(_) => return Err(Error::not_found(Noun::Caller)),
            Err(error) if is_unread(&error) => {}
            Err(error) => return Err(error),
        }
        self.shared.queue.end_caller(id, by.at.max(self.shared.clock.now()).as_millisecond());
        // A page that fails to be written gives its waiters an error, and leaves no lease to end.
        let _ = self.settle().await;
        Ok(())
    }

    pub(crate) async fn write_suspended(&self, id: CallerId) -> Result<(), Error> {
        let suspend = async |db: &mut Db, notes: &mut Notes| {
            callers::stand(db, id, CallerStanding::Suspended).await?;
            let account = registry::caller_account(db, id).await?.ok_or_else(|| Error::not_found(Noun::Caller))?;
            notes.did(Deed::Suspended, Noun::Caller, id, "");
            Ok(((), Touches::Caller(account)))
        };
        self.administer_in(&mut self.shared.db.turn().await, suspend).await
    }

    pub(crate) async fn write_account(
        &self,
        id: AccountId,
        standing: Standing,
        metering: Option<Metering>,
    ) -> Result<(), Error> {
        let change = async |db: &mut Db, notes: &mut Notes| {
            let known = registry::account(&mut *db, id).await?.ok_or_else(|| Error::not_found(Noun::Account))?;
            let metering = metering.unwrap_or(known.metering);
            registry::change_account(db, id, standing, metering).await?;
            let deed = match standing {
                Standing::Active => Deed::Changed,
                Standing::Suspended => Deed::Suspended,
            };
            notes.did(deed, Noun::Account, id, &format!("{} credits a vend", metering.credits()));
            Ok(((), Touches::Account(id)))
        };
        self.administer_in(&mut self.shared.db.turn().await, change).await
    }

    pub(crate) async fn end_any(&self, what: Revocation, by: Revoker) -> Result<u64, Error> {
        let target = match what {
            Revocation::Lease(lease) => return self.end_lease(lease, by).await,
            Revocation::Grant(grant) => return self.end_grant(grant, by).await,
            Revocation::Token(token) => Target::Token(token),
            Revocation::Caller(caller) => Target::Caller(caller),
            Revocation::Account(account) => Target::Account(account),
            Revocation::Storage(storage) => Target::Storage(storage),
        };
        self.may_end(target).await?;
        self.end(target, None, by, Also::Nothing).await
    }

    /// Ends what can be told by its id alone, where nothing could be read of it. What may be refused for something else that needs it
    /// is not ended before that is known.
    pub(crate) async fn end_unread(&self, what: &Thing, by: Revoker) {
        let at_ms = by.at.as_millisecond();
        let target = match *what {
            Thing::Caller(caller) => {
                self.shared.queue.end_caller(caller, at_ms);
                Target::Caller(caller)
            }
            Thing::Token(token) | Thing::ParentKey(token) => {
                self.shared.queue.end_token(token, at_ms);
                self.shared.revoked.bury(token);
                Target::Token(token)
            }
            Thing::Grant(grant) => {
                self.shared.queue.bar(grant, i64::MAX);
                return;
            }
            _ => return,
        };
        let keep_until_ms = at_ms.saturating_add(self.shared.longest_ms.load(Ordering::Relaxed));
        self.shared.revoked.add(&[End { target, at_ms, keep_until_ms }]);
        let _ = self.settle().await;
    }

    /// Lets go of what was ended so and turned out to stay.
    pub(crate) fn spare(&self, what: &Thing) {
        match *what {
            Thing::Caller(caller) => self.shared.queue.spare_caller(caller),
            Thing::Token(token) | Thing::ParentKey(token) => self.token_ended(token),
            Thing::Grant(grant) => {
                self.shared.queue.bar_no_longer_than(grant, self.shared.clock.now().as_millisecond());
            }
            _ => {}
        }
    }

    /// Puts ends of leases on record.
    pub(crate) async fn write_leases(&self, ends: &[End], by: Revoker) -> Result<(), Error> {
        let mut turn = self.shared.db.turn().await;
        let write = async |db: &mut Db, notes: &mut Notes| {
            for end in ends {
                notes.did_end(end.target);
            }
            revocations::insert_all(db, ends, by, notes).await?;
            Ok(((), Touches::Nothing))
        };
        self.administer_in(&mut turn, write).await
    }
}

/// Whether the database could not say whether something is there, or could not be asked.
pub(crate) fn is_unread(error: &Error) -> bool {
    error.is_of_database() || matches!(error.kind(), Kind::Unavailable)
}

/// Refuses what is not there; of leases that is asked elsewhere.
async fn there(db: &mut Db, target: Target) -> Result<(), Error> {
    let (is, noun) = match target {
        Target::Lease(_) => (true, Noun::Lease),
        Target::Token(token) => (callers::token_by_id(db, token).await?.is_some(), Noun::Token),
        Target::Caller(caller) => (registry::caller_account(db, caller).await?.is_some(), Noun::Caller),
        Target::Account(account) => (registry::account(db, account).await?.is_some(), Noun::Account),
        Target::Storage(storage) => (registry::storage_exists(db, storage).await?, Noun::Storage),
    };
    if is { Ok(()) } else { Err(Error::not_found(noun)) }
}
