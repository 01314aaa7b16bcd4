//! Taking out what was made, and changing it: first here, then on record, in one transaction with what it ends.
//!
//! INVARIANT: every removal and every change of what is there goes through [`Database::take`] or [`Database::amend`]: what is to end is ended
//! in memory before the disk is asked, bars keep out what was decided before, and what cannot be written is owed.

use std::collections::BTreeSet;
use std::time::Instant;

use jiff::Timestamp;
use valetkey_core::id::GrantId;
use valetkey_core::lease::Revoker;
use valetkey_core::nouns::removal::{Amendment, How, Plan, Thing};
use valetkey_core::{Error, Kind};
use valetkey_sql::Failure as _;

use crate::database::Database;
use crate::ending::{Ending, narrowing};
use crate::memory::Touches;
use crate::owed::Owed;
use crate::sql::db::Db;
use crate::sql::entry::Opened;
use crate::sql::notes::Notes;
use crate::sql::revocations::{self, Also};
use crate::sql::target::{End, Target};
use crate::sql::{change, registry, removal};

/// What ends, and the leases of it that were found before the turn to write was taken: looking through all that are live takes longer
/// than a vend may wait.
pub(crate) struct Sought {
    ending: Ending,
    bars: Bars,
    leases: Vec<Opened>,
}

impl Sought {
    /// What ends.
    pub(crate) fn ending(&self) -> &Ending {
        &self.ending
    }

    /// What ended here: leases, and all of somebody's.
    pub(crate) fn ended(&self) -> (Vec<End>, &[Target]) {
        let at_ms = self.ending.at.as_millisecond();
        (self.leases.iter().map(|lease| End::of_lease(lease, at_ms)).collect(), &self.ending.targets)
    }
}

/// Grants of which nothing is opened, and since when that is so.
type Bars = Vec<(GrantId, Instant)>;

impl Database {
    /// What removing a thing means.
    pub(crate) async fn plan_of(&self, what: &Thing) -> Result<Plan, Error> {
        let _ = self.settle().await;
        let now = self.shared.clock.now();
        let mut reader = self.reader().await?;
        let mut plan = removal::plan(&mut reader, what, now).await?;
        let nobody = Revoker::server(now);
        let ending = Ending::of(&mut reader, &plan, How::ALL, nobody).await?;
        plan.leases = u64::try_from(ending.found(&mut reader).await?.len()).unwrap_or(u64::MAX);
        Ok(plan)
    }

    /// How many live leases a change would end.
    pub(crate) async fn preview_of(&self, change: &Amendment, now: Timestamp) -> Result<u64, Error> {
        let _ = self.settle().await;
        let by = self.ender(Revoker::server(now));
        let mut reader = self.reader().await?;
        let change = change::checked(&mut reader, change, by.at).await?;
        if let Amendment::Grant(grant) = &change {
            change::check_grant(&mut reader, grant).await?;
        }
        let ending = narrowing(&mut reader, &change, by).await?;
        Ok(u64::try_from(ending.found(&mut reader).await?.len()).unwrap_or(u64::MAX))
    }

    /// Who ends something, and from when on: all that was opened is ended, also what the clock, set back meanwhile, says will be.
    pub(crate) fn ender(&self, by: Revoker) -> Revoker {
        let newest = Timestamp::from_millisecond(self.shared.queue.newest_ms()).unwrap_or(by.at);
        Revoker { by: by.by, at: by.at.max(self.shared.clock.now()).max(newest) }
    }

    /// Removes a thing, what goes with it, and what was vended for it.
    pub(crate) async fn take(&self, what: &Thing, how: How, by: Revoker) -> Result<Plan, Error> {
        let by = self.ender(by);
        let done = self.end_and_take(what, how, by).await;
        match &done {
            Ok(plan) => plan.all().for_each(|item| self.shared.debts.forgive_taken(&item.thing)),
            Err(error) if error.is_of_database() && !(how.keep_credentials && what.may_keep_credentials()) => {
                self.end_unread(what, by).await;
            }
            Err(_) => {}
        }
        self.or_owe(done, Owed::Take(what.clone(), how), by)
    }

    /// The same, where what cannot be written is owed already.
    pub(crate) async fn end_and_take(&self, what: &Thing, how: How, by: Revoker) -> Result<Plan, Error> {
        let mut reader = self.reader().await?;
        let plan = removal::plan(&mut reader, what, by.at).await?;
        plan.allows(how)?;
        let ending = Ending::of(&mut reader, &plan, how, by).await?;
        let mut sought = self.end_here(&mut reader, ending, by).await?;
        drop(reader);
        let mut turn = self.shared.db.turn().await;
        let write = async |db: &mut Db, notes: &mut Notes| {
            let mut plan = removal::plan(&mut *db, what, by.at).await?;
            plan.allows(how)?;
            let now = Ending::of(&mut *db, &plan, how, by).await?;
            self.seek_again(&mut *db, &mut sought, now, by).await?;
            let ends = self.write_ends(&mut *db, &sought, by, notes).await?;
            plan.leases = u64::try_from(ends.len()).unwrap_or(u64::MAX);
            // What depends on something goes before it.
            let all: Vec<&Thing> = plan.all().map(|item| &item.thing).collect();
            for thing in all.into_iter().rev() {
                removal::erase(&mut *db, thing, by, notes).await?;
            }
            Ok(((plan, ends), Touches::Everything))
        };
        let done = self.administer_in(&mut turn, write).await;
        self.owe_leases(&sought, by, done.as_ref().err());
        // INVARIANT: in the turn: what others barred meanwhile is barred until theirs is on record.
        self.settle_end(&sought.ending, done.as_ref().err());
        drop(turn);
        let (plan, ends) = done?;
        self.shared.revoked.add(&ends);
        Ok(plan)
    }

    /// Keeps out what was decided before: it opens nothing more.
    fn bar(&self, ending: &Ending) -> Bars {
        let at_ms = ending.at.as_millisecond();
        for target in &ending.targets {
            if let Target::Account(account) = target {
                self.shared.queue.end_account(*account);
            }
        }
        for caller in &ending.callers {
            self.shared.queue.end_caller(*caller, at_ms);
        }
        for token in &ending.tokens {
            self.shared.queue.end_token(*token, at_ms);
            self.shared.revoked.bury(*token);
        }
        ending.barred().map(|grant| (grant, self.shared.queue.bar(grant, i64::MAX))).collect()
    }

    /// Ends it on this server, whatever the disk does: what was decided before opens nothing more, and what was opened is refused.
    pub(crate) async fn end_here(&self, reader: &mut Db, mut ending: Ending, by: Revoker) -> Result<Sought, Error> {
        let bars = self.bar(&ending);
        // Only now: what was opened before the bars ends, too.
        ending.at = self.ender(by).at;
        let at_ms = ending.at.as_millisecond();
        // A page that fails to be written gives its waiters an error, and leaves no lease to end.
        let _ = self.settle().await;
        let keep_until_ms = at_ms.saturating_add(registry::longest_ms(&mut *reader).await?);
        let whole = ending.targets.iter().map(|target| End { target: *target, at_ms, keep_until_ms });
        self.shared.revoked.add(&whole.collect::<Vec<_>>());
        let leases = self.live(&mut *reader, &ending).await?;
        self.shared.revoked.add(&leases.iter().map(|lease| End::of_lease(lease, at_ms)).collect::<Vec<_>>());
        Ok(Sought { ending, bars, leases })
    }

    /// In the turn to write: looks again where something else ends now, or where more leases may have come: from other nodes, always.
    pub(crate) async fn seek_again(
        &self,
        db: &mut Db,
        sought: &mut Sought,
        now: Ending,
        by: Revoker,
    ) -> Result<(), Error> {
        let same = Ending { at: sought.ending.at, ..now.clone() } == sought.ending;
        // An operator's check of a store opens leases of a bucket without a grant.
        let alone = !self.is_shared();
        if alone
            && same
            && now.buckets.is_empty()
            && sought.bars.iter().all(|(grant, at)| self.shared.queue.bars(*grant, *at))
        {
            return Ok(());
        }
        sought.bars = self.bar(&now);
        sought.ending = Ending { at: self.ender(by).at, ..now };
        // While this has the turn nothing leaves the queue. Those whose page comes later are marked when it is folded.
        sought.leases = self.live(db, &sought.ending).await?;
        Ok(())
    }

    /// The live leases that end, on disk or on their way there.
    async fn live(&self, db: &mut Db, ending: &Ending) -> Result<Vec<Opened>, Error> {
        let at_ms = ending.at.as_millisecond();
        // First: what leaves the queue meanwhile is on disk then, and seen twice rather than not at all.
        let mut some = self.shared.queue.unwritten(|lease| lease.in_time(at_ms) && ending.may_reach(lease));
        some.extend(ending.on_disk(&mut *db).await?);
        ending.among(db, some).await
    }

    /// Puts what ends on record, each lease of it by itself.
    pub(crate) async fn write_ends(
        &self,
        db: &mut Db,
        sought: &Sought,
        by: Revoker,
        notes: &mut Notes,
    ) -> Result<Vec<End>, Error> {
        let Sought { ending, bars: _, leases } = sought;
        let by = Revoker { at: ending.at, ..by };
        let at_ms = by.at.as_millisecond();
        let ends: Vec<End> = leases.iter().map(|lease| End::of_lease(lease, at_ms)).collect();
        let longest_ms = registry::longest_ms(&mut *db).await?;
        for target in &ending.targets {
            let end = End { target: *target, at_ms, keep_until_ms: at_ms.saturating_add(longest_ms) };
            revocations::revoke(&mut *db, end, by, longest_ms, Also::Nothing, notes).await?;
            notes.did_end(*target);
        }
        let by_target = |lease: &&Opened| ending.targets.iter().any(|target| target.ends_opened(lease));
        let alone: Vec<End> =
            leases.iter().filter(|lease| !by_target(lease)).map(|lease| End::of_lease(lease, at_ms)).collect();
        revocations::insert_all(db, &alone, by, notes).await?;
        Ok(ends)
    }

    /// Lets go of what was kept out until it is on record, or was refused.
    pub(crate) fn settle_end(&self, ending: &Ending, failed: Option<&Error>) {
        if failed.is_some_and(valetkey_sql::Failure::is_of_database) {
            return;
        }
        let until = ending.at.max(self.shared.clock.now()).as_millisecond();
        for grant in ending.barred() {
            self.shared.queue.bar_no_longer_than(grant, until);
        }
        for target in &ending.targets {
            if let Target::Account(account) = target {
                self.shared.queue.spare_account(*account);
            }
        }
        for token in &ending.tokens {
            self.token_ended(*token);
        }
        if failed.is_some() {
            for caller in &ending.callers {
                self.shared.queue.spare_caller(*caller);
            }
        }
    }

    /// Changes what is there; what was vended and has more than that allows afterwards ends, unless it may live on. Says how many
    /// live leases ended.
    pub(crate) async fn amend(&self, change: &Amendment, keep_credentials: bool, by: Revoker) -> Result<u64, Error> {
        let by = self.ender(by);
        let done = self.end_and_amend(change, keep_credentials, by, false).await;
        if keep_credentials {
            return done;
        }
        self.or_owe(done, Owed::Amend(Box::new(change.clone())), by)
    }

    /// The same, where what cannot be written is owed already. One that is owed is made only as long as it is.
    pub(crate) async fn end_and_amend(
        &self,
        asked: &Amendment,
        keep: bool,
        by: Revoker,
        owed: bool,
    ) -> Result<u64, Error> {
        let mut reader = self.reader().await?;
        let change = change::checked(&mut reader, asked, by.at).await?;
        let ending = if keep {
            Ending { among: Some(BTreeSet::new()), at: by.at, ..Ending::default() }
        } else {
            narrowing(&mut reader, &change, by).await?
        };
        let mut sought = if ending.is_nothing() {
            Sought { ending, bars: Vec::new(), leases: Vec::new() }
        } else {
            self.end_here(&mut reader, ending, by).await?
        };
        drop(reader);
        let mut turn = self.shared.db.turn().await;
        let write = async |db: &mut Db, notes: &mut Notes| {
            if owed && !self.shared.debts.amends(asked) {
                return Err(Error::new(Kind::Invalid, "another change took its place"));
            }
            if !keep {
                let now = narrowing(&mut *db, &change, by).await?;
                self.seek_again(&mut *db, &mut sought, now, by).await?;
            }
            change::apply(&mut *db, &change, by.at, notes).await?;
            if matches!(change, Amendment::IdentityProvider(_)) {
                sought.ending.end_sessions(&mut *db, by, notes).await?;
            }
            Ok((self.write_ends(db, &sought, by, notes).await?, Touches::Everything))
        };
        let done = self.administer_in(&mut turn, write).await;
        // INVARIANT: in the turn, as above.
        self.owe_leases(&sought, by, done.as_ref().err());
        if done.is_ok() {
            self.shared.debts.forgive_amended(asked);
        }
        self.settle_end(&sought.ending, done.as_ref().err());
        drop(turn);
        let mut ends = done?;
        self.shared.revoked.add(&ends);
        if let Some((Amendment::Token { .. }, _)) = &sought.ending.narrowed {
            ends.extend(self.end_late(sought.ending, by).await?);
        }
        Ok(u64::try_from(ends.len()).unwrap_or(u64::MAX))
    }

    /// Ends what was asked for with a token as it was, and opened since it was looked for.
    async fn end_late(&self, mut ending: Ending, by: Revoker) -> Result<Vec<End>, Error> {
        let _ = self.settle().await;
        ending.at = self.ender(by).at;
        let mut turn = self.shared.db.turn().await;
        let write = async |db: &mut Db, notes: &mut Notes| {
            let leases = self.live(&mut *db, &ending).await?;
            let sought = Sought { ending, bars: Vec::new(), leases };
            Ok((self.write_ends(db, &sought, by, notes).await?, Touches::Nothing))
        };
        let late = self.administer_in(&mut turn, write).await?;
        drop(turn);
        self.shared.revoked.add(&late);
        Ok(late)
    }
}
