//! What ends with a removal or a change of what is there: found before it is written, in memory and on record.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::grant::{Grant, Grantee};
use valetkey_core::group::Group;
use valetkey_core::id::{AccountId, CallerId, GrantId, LeaseId, StorageId, TokenId};
use valetkey_core::lease::{Lease, Revoker};
use valetkey_core::name::BucketName;
use valetkey_core::nouns::removal::{Amendment, How, Plan, Renamed, Thing};
use valetkey_sql::Failure as _;

use crate::left::Left;
use crate::sql::db::Db;
use crate::sql::entry::{Opened, scope_digest};
use crate::sql::notes::Notes;
use crate::sql::revocations;
use crate::sql::target::Target;
use crate::sql::{callers, groups, identity, leases, registry, removal, rows};

/// What ends with a removal or a change.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Ending {
    pub(crate) targets: Vec<Target>,
    pub(crate) tokens: BTreeSet<TokenId>,
    pub(crate) callers: BTreeSet<CallerId>,
    pub(crate) grants: BTreeSet<GrantId>,
    pub(crate) buckets: BTreeSet<(StorageId, BucketName)>,
    /// Who is no longer given what some grants are for.
    pub(crate) left: Option<Left>,
    /// A change, and the grant as it was.
    pub(crate) narrowed: Option<(Amendment, Option<Grant>)>,
    /// Whose leases can be meant; nothing where any can.
    pub(crate) among: Option<BTreeSet<AccountId>>,
    pub(crate) at: Timestamp,
}

impl Ending {
    /// What a change of a grant leaves too much of.
    pub(crate) fn narrowed(change: Amendment, before: Grant, by: Revoker) -> Self {
        let among = Some(BTreeSet::from([before.account]));
        Self { narrowed: Some((change, Some(before))), among, at: by.at, ..Self::default() }
    }

    /// What a change of a name leaves in the place of whoever has that name next; nothing where there is none.
    pub(crate) fn renamed<'g>(
        who: Renamed,
        account: AccountId,
        grants: impl IntoIterator<Item = &'g Grant>,
        by: Revoker,
    ) -> Option<Self> {
        let left = Left::of_name(who, who.filled(grants))?;
        Some(Self { left: Some(left), among: Some(BTreeSet::from([account])), at: by.at, ..Self::default() })
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
    pub(crate) fn barred(&self) -> impl Iterator<Item = GrantId> {
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
        self.grants.iter().copied().chain(narrowed).chain(self.left.iter().flat_map(Left::grants))
    }

    /// Ends the sessions that a change of an identity provider ends: their tokens may be judged again.
    pub(crate) async fn end_sessions(&self, db: &mut Db, by: Revoker, notes: &mut Notes) -> Result<(), Error> {
        for token in &self.tokens {
            callers::end_token(&mut *db, *token, by, notes).await?;
            identity::lapse(&mut *db, *token).await?;
        }
        Ok(())
    }

    pub(crate) fn is_nothing(&self) -> bool {
        let Self { targets, tokens: _, callers: _, grants, buckets, left, narrowed, among: _, at: _ } = self;
        targets.is_empty() && left.is_none() && grants.is_empty() && buckets.is_empty() && narrowed.is_none()
    }

    /// Whether a lease may be one that ends; its scope has to be known to tell.
    pub(crate) fn may_end(&self, lease: &Opened) -> bool {
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

    /// Whether a lease may be one that ends by itself, or with what it was narrowed from.
    pub(crate) fn may_reach(&self, lease: &Opened) -> bool {
        self.may_end(lease) || lease.is_narrowed()
    }

    /// Whether it was opened for somebody by a grant that is no longer for that one, as it was.
    pub(crate) fn was_left(&self, lease: &Opened) -> bool {
        self.left.as_ref().is_some_and(|left| left.had(lease))
    }

    /// Whether it was asked for with a token that ends, on behalf of another.
    pub(crate) fn was_asked(&self, lease: &Opened) -> bool {
        lease.asked_with.is_some_and(|token| self.tokens.contains(&token))
    }

    /// Whether a lease is one that ends.
    pub(crate) async fn ends(&self, db: &mut Db, lease: &Opened) -> Result<bool, Error> {
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
        let rights = match scope_digest(&lease.scope) {
            None => rows::rights(&lease.scope)?,
            Some(digest) => match leases::long_scope(db, digest).await {
                Ok(rights) => rights,
                Err(error) if error.is_of_database() => return Err(error),
                // Its page is not on disk yet, nor its scope: on the safe side.
                Err(_) => return Ok(true),
            },
        };
        if self.buckets.iter().any(|(storage, bucket)| *storage == lease.storage && bucket == rights.bucket()) {
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
            rights: rights.into(),
            grants: lease.grant_ids().collect(),
            dialect: "".into(),
            credits: 0,
            opened: rows::at_ms(lease.from_ms)?,
            until: lease.until().ok_or_else(|| rows::damaged("a timestamp"))?,
        };
        Ok(change.ends(before.as_ref(), &lease, asked_with, self.at))
    }

    /// The live leases among some that end, those with them that were narrowed from these.
    pub(crate) async fn among(&self, db: &mut Db, mut some: Vec<Opened>) -> Result<Vec<Opened>, Error> {
        let mut seen = HashSet::new();
        some.retain(|lease| seen.insert(lease.id));
        let (mut ended, mut narrowed) = (Vec::new(), Vec::new());
        for lease in some {
            if self.ends(&mut *db, &lease).await? {
                ended.push(lease);
            } else if lease.is_narrowed() {
                narrowed.push(lease);
            }
        }
        // Each names all that it was narrowed from, so that once is enough.
        let before: HashSet<LeaseId> = ended.iter().map(|lease| lease.id).collect();
        ended.extend(narrowed.into_iter().filter(|lease| lease.leases_before().any(|one| before.contains(&one))));
        Ok(ended)
    }

    /// The live leases on disk that end.
    pub(crate) async fn found(&self, db: &mut Db) -> Result<Vec<Opened>, Error> {
        let on_disk = self.on_disk(&mut *db).await?;
        self.among(db, on_disk).await
    }

    /// The live leases on disk that may end.
    pub(crate) async fn on_disk(&self, db: &mut Db) -> Result<Vec<Opened>, Error> {
        if self.is_nothing() {
            return Ok(Vec::new());
        }
        let at_ms = self.at.as_millisecond();
        let since_ms = at_ms.saturating_sub(registry::longest_ms(&mut *db).await?);
        let mut all = revocations::waiting(&mut *db, since_ms, at_ms, |lease| {
            lease.is_narrowed() || lease.read().is_some_and(|lease| self.may_end(&lease))
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
        Ok(all)
    }
}

/// What has more than a change leaves it.
pub(crate) async fn narrowing(db: &mut Db, change: &Amendment, by: Revoker) -> Result<Ending, Error> {
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
            let left = Some(Left::of_group(before, Group::clone(after), own));
            Ok(Ending { left, among: Some(BTreeSet::from([after.account])), ..none })
        }
        Amendment::Account(after) => {
            let before = registry::account(&mut *db, after.id).await?;
            if before.is_none_or(|before| before.name == after.name) {
                return Ok(none);
            }
            let grants = registry::grants(db, after.id).await?;
            Ok(Ending::renamed(Renamed::Account(after.id), after.id, &grants, by).unwrap_or(none))
        }
        Amendment::Caller { id, name, role: _ } => {
            let before = callers::caller(&mut *db, *id).await?;
            let Some(account) = before.filter(|before| before.name != *name).map(|before| before.account) else {
                return Ok(none);
            };
            let grants = registry::grants(db, account).await?;
            Ok(Ending::renamed(Renamed::Caller(*id), account, &grants, by).unwrap_or(none))
        }
        Amendment::Dataset(_) | Amendment::Workspace { .. } | Amendment::RequestRule(_) => Ok(none),
    }
}
