//! Taking out what was made, and changing it: first here, then on record, in one transaction with what it ends.
//!
//! INVARIANT: every removal and every change of what is there goes through [`Database::take`] or [`Database::amend`]: what is to end is ended
//! in memory before the disk is asked, bars keep out what was decided before, and what cannot be written is owed.

use std::collections::{BTreeSet, HashSet};
use std::time::Instant;

use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::grant::{Grant, Grantee};
use valetkey_core::group::Group;
use valetkey_core::id::{AccountId, CallerId, GrantId, StorageId, TokenId};
use valetkey_core::lease::{Lease, Revoker};
use valetkey_core::name::BucketName;
use valetkey_core::nouns::removal::{Amendment, How, Plan, Thing};
use valetkey_sql::Failure as _;

use crate::database::Database;
use crate::memory::Touches;
use crate::owed::Owed;
use crate::sql::db::Db;
use crate::sql::entry::{Opened, scope_digest};
use crate::sql::notes::Notes;
use crate::sql::revocations::{self, Also};
use crate::sql::target::{End, Target};
use crate::sql::{callers, change, groups, identity, leases, registry, removal, rows};

/// What ends with a removal or a change.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Ending {
    targets: Vec<Target>,
    tokens: BTreeSet<TokenId>,
    callers: BTreeSet<CallerId>,
    grants: BTreeSet<GrantId>,
    buckets: BTreeSet<(StorageId, BucketName)>,
    /// Who is no longer a member of a group, and what is granted to it.
    left: Option<(Box<Group>, Box<Group>, BTreeSet<GrantId>)>,
    /// A change, and the grant as it was.
    narrowed: Option<(Amendment, Option<Grant>)>,
    /// Whose leases can be meant; nothing where any can.
    among: Option<BTreeSet<AccountId>>,
    at: Timestamp,
}

impl Sought {
    /// What ends.
    pub(crate) fn ending(&self) -> &Ending {
        &self.ending
    }
}

impl Ending {
    /// What a change of a grant leaves too much of.
    pub(crate) fn narrowed(change: Amendment, before: Grant, by: Revoker) -> Self {
        let among = Some(BTreeSet::from([before.account]));
        Self { narrowed: Some((change, Some(before))), among, at: by.at, ..Self::default() }
    }

    /// What goes with a plan.
    pub(crate) async fn of(db: &mut Db, plan: &Plan, how: How, by: Revoker) -> Result<Self, Error> {
        let mut own = Self { among: Some(BTreeSet::new()), at: by.at, ..Self::default() };
        if how.keep_credentials && plan.what.thing.may_keep_credentials() {
            return Ok(own);
        }
        for item in plan.all() {
            let account = match &item.thing {
                Thing::Account(id) => {
                    own.targets.push(Target::Account(*id));
                    Some(*id)
                }
                Thing::Caller(id) => {
                    own.callers.insert(*id);
                    let account = registry::caller_account(&mut *db, *id).await?;
                    // What ends with all of an account's, or all of a caller's, is not looked for once more.
                    if account.is_none_or(|account| !own.targets.contains(&Target::Account(account))) {
                        own.targets.push(Target::Caller(*id));
                    }
                    account
                }
                Thing::Token(id) | Thing::ParentKey(id) => {
                    own.tokens.insert(*id);
                    let record = callers::token_by_id(&mut *db, *id).await?.map(|(record, _)| record);
                    if record.as_ref().is_none_or(|record| !own.callers.contains(&record.caller)) {
                        own.targets.push(Target::Token(*id));
                    }
                    record.map(|record| record.account)
                }
                Thing::Grant(id) => {
                    own.grants.insert(*id);
                    registry::grant_account(&mut *db, *id).await?
                }
                Thing::Storage(id) => {
                    own.targets.push(Target::Storage(*id));
                    own.among = None;
                    None
                }
                Thing::Bucket(name) => {
                    own.buckets.insert((removal::storage_of(&mut *db, name).await?, name.clone()));
                    own.among = None;
                    None
                }
                Thing::Group(_)
                | Thing::Dataset(_)
                | Thing::Workspace(_)
                | Thing::Project(_)
                | Thing::Share(_)
                | Thing::Table(_)
                | Thing::Recipient { .. }
                | Thing::Packages(_)
                | Thing::IdentityProvider(_)
                | Thing::TrustRule(_)
                | Thing::RequestRule(_) => None,
            };
            if let (Some(among), Some(account)) = (&mut own.among, account) {
                among.insert(account);
            }
        }
        Ok(own)
    }

    /// The grants of which nothing is opened until it is on record.
    fn barred(&self) -> impl Iterator<Item = GrantId> {
        let narrowed = self.narrowed.as_ref().and_then(|(change, _)| match change {
            Amendment::Grant(grant) => Some(grant.id),
            Amendment::Account(_)
            | Amendment::Caller { .. }
            | Amendment::Token { .. }
            | Amendment::Group(_)
            | Amendment::Dataset(_)
            | Amendment::Workspace { .. }
            | Amendment::IdentityProvider(_)
            | Amendment::RequestRule(_) => None,
        });
        let left = self.left.iter().flat_map(|(_, _, grants)| grants.iter().copied());
        self.grants.iter().copied().chain(narrowed).chain(left)
    }

    fn is_nothing(&self) -> bool {
        let Self { targets, tokens: _, callers: _, grants, buckets, left, narrowed, among: _, at: _ } = self;
        targets.is_empty() && left.is_none() && grants.is_empty() && buckets.is_empty() && narrowed.is_none()
    }

    /// Whether a lease may be one that ends; its scope has to be known to tell.
    fn may_end(&self, lease: &Opened) -> bool {
        self.targets.iter().any(|target| target.ends_opened(lease))
            || self.was_asked(lease)
            || self.buckets.iter().any(|(storage, _)| *storage == lease.storage)
            || lease.grant_ids().any(|grant| self.grants.contains(&grant))
            || self.was_left(lease)
            || match &self.narrowed {
                Some((Amendment::Grant(grant), _)) => lease.grant_ids().any(|one| one == grant.id),
                Some((Amendment::Token { id, .. }, _)) => lease.token == *id || lease.asked_with == Some(*id),
                Some(_) | None => false,
            }
    }

    /// Whether it was opened by a grant to a group that its caller is no longer in.
    fn was_left(&self, lease: &Opened) -> bool {
        self.left.as_ref().is_some_and(|(before, after, grants)| {
            after.leaves(before, lease.caller) && lease.grant_ids().any(|grant| grants.contains(&grant))
        })
    }

    /// Whether it was asked for with a token that ends, on behalf of another.
    fn was_asked(&self, lease: &Opened) -> bool {
        lease.asked_with.is_some_and(|token| self.tokens.contains(&token))
    }

    /// Whether a lease is one that ends.
    async fn ends(&self, db: &mut Db, lease: &Opened) -> Result<bool, Error> {
        if !self.may_end(lease) {
            return Ok(false);
        }
        if self.targets.iter().any(|target| target.ends_opened(lease))
            || self.was_asked(lease)
            || self.was_left(lease)
            || lease.grant_ids().any(|grant| self.grants.contains(&grant))
        {
            return Ok(true);
        }
        let scope = match scope_digest(&lease.scope) {
            None => rows::scope(&lease.scope)?,
            Some(digest) => match leases::long_scope(db, digest).await {
                Ok(scope) => scope,
                Err(error) if error.is_of_database() => return Err(error),
                // Its page is not on disk yet, nor its scope: on the safe side.
                Err(_) => return Ok(true),
            },
        };
        if self.buckets.iter().any(|(storage, bucket)| *storage == lease.storage && bucket == scope.bucket()) {
            return Ok(true);
        }
        let Some((change, before)) = &self.narrowed else { return Ok(false) };
        let asked_with = lease.asked_with;
        let lease = Lease {
            id: lease.id,
            account: lease.account,
            caller: lease.caller,
            token: lease.token,
            storage: lease.storage,
            scope: scope.into(),
            grants: lease.grant_ids().collect(),
            dialect: "".into(),
            credits: 0,
            opened: rows::at_ms(lease.from_ms)?,
            until: lease.until().ok_or_else(|| rows::damaged("a timestamp"))?,
        };
        Ok(change.ends(before.as_ref(), &lease, asked_with, self.at))
    }

    /// The live leases among some that end.
    async fn among(&self, db: &mut Db, some: Vec<Opened>) -> Result<Vec<Opened>, Error> {
        let mut ended = Vec::new();
        for lease in some {
            if self.ends(&mut *db, &lease).await? {
                ended.push(lease);
            }
        }
        Ok(ended)
    }

    /// The live leases on disk that end.
    async fn found(&self, db: &mut Db) -> Result<Vec<Opened>, Error> {
        if self.is_nothing() {
            return Ok(Vec::new());
        }
        let at_ms = self.at.as_millisecond();
        let since_ms = at_ms.saturating_sub(registry::longest_ms(&mut *db).await?);
        let mut all = revocations::waiting(&mut *db, since_ms, at_ms, |lease| {
            lease.read().is_some_and(|lease| self.may_end(&lease))
        })
        .await?;
        match &self.among {
            Some(accounts) => {
                for account in accounts {
                    all.extend(leases::live(&mut *db, Some(*account), since_ms, at_ms).await?);
                }
            }
            None => all.extend(leases::live(&mut *db, None, since_ms, at_ms).await?),
        }
        let shortened = match &self.narrowed {
            Some((Amendment::Token { id, .. }, _)) => Some(id),
            Some(_) | None => None,
        };
        for token in self.tokens.iter().chain(shortened) {
            all.extend(leases::asked_with(&mut *db, Target::Token(*token), since_ms, at_ms).await?);
        }
        let mut seen = HashSet::new();
        all.retain(|lease| seen.insert(lease.id));
        self.among(db, all).await
    }
}

/// What ends, and the leases of it that were found before the turn to write was taken: looking through all that are live takes longer
/// than a vend may wait.
pub(crate) struct Sought {
    ending: Ending,
    bars: Bars,
    leases: Vec<Opened>,
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
        let unwritten = self.shared.queue.unwritten(|lease| lease.in_time(at_ms) && ending.may_end(lease));
        let mut ended = ending.among(&mut *db, unwritten).await?;
        ended.extend(ending.found(&mut *db).await?);
        let mut seen = HashSet::new();
        ended.retain(|lease| seen.insert(lease.id));
        Ok(ended)
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
        let done = self.end_and_amend(change, keep_credentials, by).await;
        if keep_credentials {
            return done;
        }
        self.or_owe(done, Owed::Amend(Box::new(change.clone())), by)
    }

    /// The same, where what cannot be written is owed already.
    pub(crate) async fn end_and_amend(&self, change: &Amendment, keep: bool, by: Revoker) -> Result<u64, Error> {
        let mut reader = self.reader().await?;
        let change = change::checked(&mut reader, change, by.at).await?;
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
            if !keep {
                let now = narrowing(&mut *db, &change, by).await?;
                self.seek_again(&mut *db, &mut sought, now, by).await?;
            }
            change::apply(&mut *db, &change, by.at, notes).await?;
            if matches!(change, Amendment::IdentityProvider(_)) {
                for token in sought.ending.tokens.clone() {
                    callers::end_token(&mut *db, token, by, notes).await?;
                    identity::lapse(&mut *db, token).await?;
                }
            }
            Ok((self.write_ends(db, &sought, by, notes).await?, Touches::Everything))
        };
        let done = self.administer_in(&mut turn, write).await;
        // INVARIANT: in the turn, as above.
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

/// What has more than a change leaves it.
async fn narrowing(db: &mut Db, change: &Amendment, by: Revoker) -> Result<Ending, Error> {
    let none = Ending { among: Some(BTreeSet::new()), at: by.at, ..Ending::default() };
    match change {
        Amendment::Grant(after) => {
            let before = registry::grants(db, after.account).await?.into_iter().find(|known| known.id == after.id);
            if before.as_ref().is_some_and(|before| !change.narrows(before, by.at)) {
                return Ok(none);
            }
            let among = Some(BTreeSet::from([after.account]));
            Ok(Ending { narrowed: Some((change.clone(), before)), among, ..none })
        }
        Amendment::Token { id, .. } => {
            let account = callers::token_by_id(db, *id).await?.map(|(record, _)| record.account);
            Ok(Ending { narrowed: Some((change.clone(), None)), among: Some(account.into_iter().collect()), ..none })
        }
        Amendment::IdentityProvider(after) => {
            let before = identity::by_id(&mut *db, after.id).await?;
            let mut own = none;
            for rule in before.ended_by(after) {
                own.among.get_or_insert_default().insert(rule.account);
                own.tokens.extend(identity::live_of_rule(&mut *db, rule.id, by.at).await?);
            }
            own.targets = own.tokens.iter().copied().map(Target::Token).collect();
            Ok(own)
        }
        Amendment::Group(after) => {
            let before = groups::by_id(&mut *db, after.id).await?;
            let goes = before.by_claim != after.by_claim || !before.members.is_subset(&after.members);
            if !goes {
                return Ok(none);
            }
            let grants = registry::grants(db, after.account).await?;
            let own = grants.iter().filter(|grant| grant.to == Grantee::Group(after.id)).map(|grant| grant.id);
            let left = Some((Box::new(before), after.clone(), own.collect()));
            Ok(Ending { left, among: Some(BTreeSet::from([after.account])), ..none })
        }
        Amendment::Account(_)
        | Amendment::Caller { .. }
        | Amendment::Dataset(_)
        | Amendment::Workspace { .. }
        | Amendment::RequestRule(_) => Ok(none),
    }
}
