//! Removing and changing in memory: the same plan, found by looking through everything.

use jiff::Timestamp;
use valetkey_core::caller::{CallerStanding, Role};
use valetkey_core::error::{Error, Kind, Noun};
use valetkey_core::field::{Attribute, Field};
use valetkey_core::grant::{Grant, Grantee, Origin};
use valetkey_core::group::Group;
use valetkey_core::id::{AccountId, CallerId, LeaseId, TokenId};
use valetkey_core::lease::{Lease, Revocation, Revoker};
use valetkey_core::name::Name;
use valetkey_core::nouns::registry::TokenRecord;
use valetkey_core::nouns::removal::{
    Amendment, How, Item, Plan, Planning, Thing, Tie, check_removable, last_operator, takes_the_last_operator,
};
use valetkey_core::nouns::request::RequestRule;
use valetkey_core::nouns::share::no_share;
use valetkey_core::token::Maker;

use crate::memory::World;

impl World {
    /// There is no clock here, but it is not earlier than the newest lease.
    pub(super) fn newest(&self) -> Timestamp {
        self.leases.iter().map(|lease| lease.opened).max().unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn account_name(&self, id: AccountId) -> String {
        let known = self.accounts.iter().map(|(account, _)| account).find(|account| account.id == id);
        known.map(|account| account.name.to_string()).unwrap_or_default()
    }

    fn caller_name(&self, id: CallerId) -> Option<String> {
        let found = self.callers.iter().find(|(known, ..)| *known == id)?;
        (self.standing(id) != CallerStanding::Removed).then(|| format!("{}/{}", self.account_name(found.1), found.2))
    }

    fn live_tokens(&self, caller: CallerId, now: Timestamp) -> Vec<TokenId> {
        let own = self.tokens.iter().map(|(_, record)| record).filter(|record| record.caller == caller);
        let good = |record: &&TokenRecord| record.revoked.is_none() && record.until.is_none_or(|until| now < until);
        own.filter(good).map(|record| record.id).collect()
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each kind of thing, and nothing else")]
    fn dependents(&self, thing: &Thing, now: Timestamp) -> Vec<(Thing, Tie)> {
        let mut found = Vec::new();
        let mut add = |tie: Tie, thing: Thing| found.push((thing, tie));
        match thing {
            Thing::Account(id) => {
                let callers = self.callers.iter().filter(|(_, account, ..)| account == id).map(|(caller, ..)| *caller);
                callers
                    .filter(|caller| self.standing(*caller) != CallerStanding::Removed)
                    .for_each(|caller| add(Tie::Needs, Thing::Caller(caller)));
                let workspaces = self.shelf.workspaces.iter().filter(|one| one.account == *id);
                workspaces.for_each(|one| add(Tie::Needs, Thing::Workspace(one.id)));
                let everyones = self.grants.iter().filter(|one| one.account == *id && one.to == Grantee::Everyone);
                everyones.filter(|one| !one.origin.is_part()).for_each(|one| add(Tie::Needs, Thing::Grant(one.id)));
                self.shared
                    .shares
                    .iter()
                    .filter(|one| one.account == *id)
                    .for_each(|one| add(Tie::Needs, Thing::Share(one.id)));
                for one in self.shared.recipients.iter().filter(|one| one.account == *id && one.to == Grantee::Everyone)
                {
                    add(Tie::Needs, Thing::Recipient { share: one.share, account: *id, to: one.to.into() });
                }
                if self.shelf.has_packages(*id) {
                    add(Tie::Needs, Thing::Packages(*id));
                }
                let groups = self.groups.iter().filter(|one| one.account == *id);
                groups.for_each(|one| add(Tie::Needs, Thing::Group(one.id)));
                let rules = self.trust.providers.iter().flat_map(|one| &one.rules).filter(|one| one.account == *id);
                rules.for_each(|one| add(Tie::Needs, Thing::TrustRule(one.id)));
                let rules = self.asked.rules.iter().filter(|one| one.account == Some(*id));
                rules.for_each(|one| add(Tie::Needs, Thing::RequestRule(one.id)));
            }
            Thing::Caller(id) => {
                let rules = self.asked.rules.iter().filter(|one| one.askers == Grantee::Caller(*id));
                rules.for_each(|one| add(Tie::Part, Thing::RequestRule(one.id)));
                self.live_tokens(*id, now).into_iter().for_each(|token| add(Tie::Part, Thing::Token(token)));
                let own =
                    self.grants.iter().filter(|one| one.to == Grantee::Caller(*id) && one.origin.share().is_none());
                own.for_each(|one| add(Tie::Part, Thing::Grant(one.id)));
                for one in self.shared.recipients.iter().filter(|one| one.to == Grantee::Caller(*id)) {
                    add(Tie::Part, Thing::Recipient { share: one.share, account: one.account, to: one.to.into() });
                }
            }
            Thing::Group(id) => {
                let own = self.grants.iter().filter(|one| one.to == Grantee::Group(*id));
                own.for_each(|one| add(Tie::Part, Thing::Grant(one.id)));
                let names = |one: &&RequestRule| one.approvers == *id || one.asking_group() == Some(*id);
                let rules = self.asked.rules.iter().filter(names);
                rules.for_each(|one| add(Tie::Part, Thing::RequestRule(one.id)));
            }
            Thing::ParentKey(token) => {
                let caller =
                    self.tokens.iter().find(|(_, record)| record.id == *token).map(|(_, record)| record.caller);
                if let Some(caller) = caller {
                    let others = self.live_tokens(caller, now).into_iter().any(|other| other != *token);
                    add(if others { Tie::Needs } else { Tie::Part }, Thing::Caller(caller));
                }
            }
            Thing::Storage(id) => {
                let own = self.buckets.iter().filter(|(_, of)| of == id);
                own.for_each(|(bucket, _)| add(Tie::Needs, Thing::Bucket(bucket.clone())));
            }
            Thing::Bucket(name) => {
                let of = self.buckets.iter().find(|(known, _)| known == name).map(|(_, storage)| *storage);
                let own = self.grants.iter().filter(|one| Some(one.storage) == of && one.scope.bucket() == name);
                own.filter(|one| !one.origin.is_part()).for_each(|one| add(Tie::Needs, Thing::Grant(one.id)));
                self.datasets
                    .iter()
                    .filter(|one| one.bucket == *name)
                    .for_each(|one| add(Tie::Needs, Thing::Dataset(one.id)));
                let workspaces = self.shelf.workspaces.iter().filter(|one| one.bucket == *name);
                workspaces.for_each(|one| add(Tie::Needs, Thing::Workspace(one.id)));
                self.shared
                    .tables
                    .iter()
                    .filter(|one| one.bucket == *name)
                    .for_each(|one| add(Tie::Needs, Thing::Table(one.id)));
                let rules = self.asked.rules.iter().filter(|one| one.scope.bucket() == name);
                rules.for_each(|one| add(Tie::Needs, Thing::RequestRule(one.id)));
            }
            Thing::Dataset(id) => {
                let own = self.grants.iter().filter(|one| one.origin == Origin::Dataset(*id));
                own.for_each(|one| add(Tie::Needs, Thing::Grant(one.id)));
            }
            Thing::Workspace(id) => {
                let own = self.grants.iter().filter(|one| one.origin == Origin::Workspace(*id));
                own.for_each(|one| add(Tie::Part, Thing::Grant(one.id)));
                let projects = self.shelf.projects.iter().filter(|one| one.workspace == *id);
                projects.for_each(|one| add(Tie::Part, Thing::Project(one.id)));
            }
            Thing::Share(id) => {
                self.shared
                    .tables
                    .iter()
                    .filter(|one| one.share == *id)
                    .for_each(|one| add(Tie::Part, Thing::Table(one.id)));
                for one in self.shared.recipients.iter().filter(|one| one.share == *id) {
                    add(Tie::Part, Thing::Recipient { share: *id, account: one.account, to: one.to.into() });
                }
            }
            Thing::Table(id) => {
                let own = self.shared.grants.iter().filter(|(_, table, _)| table == id);
                own.for_each(|(grant, ..)| add(Tie::Part, Thing::Grant(*grant)));
            }
            Thing::Recipient { share, account, to } => {
                let own = self
                    .shared
                    .grants
                    .iter()
                    .filter(|(_, _, one)| (one.share, one.account, one.to) == (*share, *account, (*to).into()));
                own.for_each(|(grant, ..)| add(Tie::Part, Thing::Grant(*grant)));
            }
            Thing::IdentityProvider(id) => {
                let rules = self.trust.providers.iter().filter(|one| one.id == *id).flat_map(|one| &one.rules);
                rules.for_each(|one| add(Tie::Part, Thing::TrustRule(one.id)));
            }
            Thing::TrustRule(id) => {
                self.sessions_of(*id, now).into_iter().for_each(|token| add(Tie::Part, Thing::Token(token)));
            }
            Thing::Token(_) | Thing::Grant(_) | Thing::Project(_) | Thing::Packages(_) | Thing::RequestRule(_) => {}
        }
        found
    }

    fn item(&self, thing: &Thing) -> Result<Item, Error> {
        let missing = Error::not_found;
        let name = match thing {
            Thing::Account(id) => {
                let known = self.accounts.iter().find(|(account, _)| account.id == *id);
                known.map(|(account, _)| account.name.to_string()).ok_or_else(|| missing(Noun::Account))?
            }
            Thing::Caller(id) => self.caller_name(*id).ok_or_else(|| missing(Noun::Caller))?,
            Thing::Token(id) => {
                let known = self.tokens.iter().find(|(_, record)| record.id == *id);
                let (_, record) = known.ok_or_else(|| missing(Noun::Token))?;
                let record = self.current(record);
                format!("{}/{} …{}", self.account_name(record.account), record.caller_name, record.tail)
            }
            Thing::ParentKey(id) => {
                let known = self.parents.iter().any(|(token, _)| token == id);
                let caller = self.tokens.iter().find(|(_, record)| record.id == *id).map(|(_, record)| record.caller);
                let name = caller.filter(|_| known).and_then(|caller| self.caller_name(caller));
                name.ok_or_else(|| missing(Noun::ParentKey))?
            }
            Thing::Grant(id) => {
                let known = self.grants.iter().find(|grant| grant.id == *id).ok_or_else(|| missing(Noun::Grant))?;
                format!("{}/{}", self.account_name(known.account), known.name)
            }
            Thing::Group(id) => {
                let known = self.groups.iter().find(|known| known.id == *id).ok_or_else(|| missing(Noun::Group))?;
                format!("{}/{}", self.account_name(known.account), known.name)
            }
            Thing::Storage(id) => {
                let known = self.storages.iter().find(|known| known.id == *id);
                known.map(|known| known.name.to_string()).ok_or_else(|| missing(Noun::Storage))?
            }
            Thing::Bucket(name) => {
                let known = self.buckets.iter().any(|(known, _)| known == name);
                if !known {
                    return Err(missing(Noun::Bucket).at(Field::Bucket));
                }
                name.to_string()
            }
            Thing::Dataset(id) => {
                let known = self.datasets.iter().find(|known| known.id == *id);
                known.map(|known| known.name.to_string()).ok_or_else(|| missing(Noun::Dataset))?
            }
            Thing::Workspace(id) => {
                let known = self.shelf.workspaces.iter().find(|known| known.id == *id);
                let known = known.ok_or_else(|| missing(Noun::Workspace))?;
                format!("{}/{}", self.account_name(known.account), known.key)
            }
            Thing::Project(id) => {
                let known = self.shelf.projects.iter().find(|known| known.id == *id);
                let known = known.ok_or_else(|| missing(Noun::Project))?;
                let within = self.item(&Thing::Workspace(known.workspace))?;
                format!("{}/{}", within.name, known.key)
            }
            Thing::Share(id) => {
                let known = self.shared.shares.iter().find(|known| known.id == *id);
                known.map(|known| known.name.to_string()).ok_or_else(no_share)?
            }
            Thing::Table(id) => {
                let known = self.shared.tables.iter().find(|known| known.id == *id);
                let known = known.ok_or_else(|| missing(Noun::Table))?;
                format!("{}.{}.{}", self.item(&Thing::Share(known.share))?.name, known.schema, known.name)
            }
            Thing::Recipient { share, account, to } => {
                let share_name = self.item(&Thing::Share(*share))?.name;
                let to: Grantee = (*to).into();
                let known =
                    self.shared.recipients.iter().any(|one| (one.share, one.account, one.to) == (*share, *account, to));
                if !known {
                    return Err(missing(Noun::Grant));
                }
                let whom = match to {
                    Grantee::Everyone => self.account_name(*account),
                    Grantee::Caller(caller) => self.caller_name(caller).unwrap_or_default(),
                    Grantee::Group(group) => self.item(&Thing::Group(group))?.name,
                };
                format!("{share_name} for {whom}")
            }
            Thing::Packages(account) => self.account_name(*account),
            Thing::IdentityProvider(id) => {
                let known = self.trust.providers.iter().find(|known| known.id == *id);
                known.map(|known| known.name.to_string()).ok_or_else(|| missing(Noun::IdentityProvider))?
            }
            Thing::TrustRule(id) => {
                let rules = self.trust.providers.iter().flat_map(|one| one.rules.iter().map(move |rule| (one, rule)));
                let known = rules.into_iter().find(|(_, rule)| rule.id == *id);
                let (of, rule) = known.ok_or_else(|| missing(Noun::TrustRule))?;
                format!("{}/{}", of.name, rule.name)
            }
            Thing::RequestRule(id) => {
                let known = self.asked.rules.iter().find(|one| one.id == *id).map(|one| one.name.to_string());
                known.ok_or_else(|| missing(Noun::RequestRule))?
            }
        };
        Ok(Item { thing: thing.clone(), name })
    }

    pub(super) fn plan(&self, what: &Thing, now: Timestamp) -> Result<Plan, Error> {
        let first = self.item(what)?;
        if let Thing::Storage(id) = what {
            self.storages.iter().find(|known| known.id == *id).map_or(Ok(()), |known| check_removable(known.kind))?;
        }
        let mut planning = Planning::of(first);
        while let Some((thing, tie)) = planning.pop() {
            for (one, own) in planning.new_ones(tie, self.dependents(&thing, now)) {
                planning.add(self.item(&one)?, own);
            }
        }
        let tokens = planning.tokens();
        let live = self.good_tokens(now).iter().filter(|record| tokens.contains(&record.id)).count();
        Ok(planning.done(u64::try_from(live).unwrap_or(u64::MAX), self.good_operators(now)))
    }

    fn good_tokens(&self, now: Timestamp) -> Vec<TokenRecord> {
        self.tokens.iter().map(|(_, record)| self.current(record)).filter(|record| record.is_live(now)).collect()
    }

    fn good_operators(&self, now: Timestamp) -> Vec<TokenId> {
        let good = self.good_tokens(now).into_iter();
        good.filter(|record| record.role == Role::Operator).map(|record| record.id).collect()
    }

    fn of_plan(&self, plan: &Plan, lease: &Lease) -> bool {
        plan.all().any(|item| match &item.thing {
            Thing::Bucket(bucket) => {
                let of = self.buckets.iter().find(|(known, _)| known == bucket).map(|(_, storage)| *storage);
                of == Some(lease.storage) && lease.rights.bucket() == bucket
            }
            thing => revocation(thing).is_some_and(|what| self.is_about(what, lease)),
        })
    }

    /// How many live leases go with a plan.
    pub(super) fn ending(&self, plan: &Plan, now: Timestamp) -> u64 {
        let live = self.leases.iter().filter(|lease| self.is_live(lease, now) && self.of_plan(plan, lease));
        u64::try_from(live.count()).unwrap_or(u64::MAX)
    }

    pub(super) fn take(&mut self, what: &Thing, how: How, by: Revoker) -> Result<Plan, Error> {
        let by = Revoker { by: by.by, at: by.at.max(self.newest()) };
        let mut plan = self.plan(what, by.at)?;
        plan.allows(how)?;
        if !(how.keep_credentials && what.may_keep_credentials()) {
            plan.leases = self.ending(&plan, by.at);
            let buckets: Vec<_> =
                self.leases.iter().filter(|lease| self.of_plan(&plan, lease)).map(|one| one.id).collect();
            for lease in buckets {
                self.ended.push((Revocation::Lease(lease), by));
            }
            let whats: Vec<Revocation> = plan.all().filter_map(|item| revocation(&item.thing)).collect();
            for what in whats {
                self.ended.push((what, by));
            }
        }
        let all: Vec<Thing> = plan.all().map(|item| item.thing.clone()).collect();
        for thing in all.into_iter().rev() {
            self.erase(&thing, by)?;
        }
        self.version += 1;
        Ok(plan)
    }

    /// The token that asked, where it is another than the lease's.
    fn asked_by(&self, lease: LeaseId) -> Option<TokenId> {
        self.asked_with.get(&lease).map(|(token, _, _)| *token)
    }

    fn erase(&mut self, thing: &Thing, by: Revoker) -> Result<(), Error> {
        match thing {
            Thing::Account(id) => {
                if let Some(at) = self.accounts.iter().position(|(account, _)| account.id == *id) {
                    let (mut account, balance) = self.accounts.remove(at);
                    account.name = Name::parse(&format!("{}.removed", account.name))?;
                    self.gone.push((account, balance));
                }
            }
            Thing::Caller(id) => {
                self.standings.insert(*id, CallerStanding::Removed);
                if let Some((_, _, name, _)) = self.callers.iter_mut().find(|(known, ..)| known == id) {
                    *name = Name::parse(&format!("{name}.removed"))?;
                }
                for (_, record) in &mut self.tokens {
                    if record.caller == *id {
                        record.revoked.get_or_insert(by.at);
                    }
                }
                self.shared.take_from(*id);
                for group in &mut self.groups {
                    group.members.remove(id);
                }
            }
            Thing::Token(id) | Thing::ParentKey(id) => {
                if let Some((_, record)) = self.tokens.iter_mut().find(|(_, record)| record.id == *id) {
                    record.revoked.get_or_insert(by.at);
                }
            }
            Thing::Grant(id) => {
                self.grants.retain(|known| known.id != *id);
                self.shared.grants.retain(|(grant, ..)| grant != id);
                self.removed.push(*id);
            }
            Thing::Storage(id) => self.storages.retain(|known| known.id != *id),
            Thing::Bucket(name) => {
                for (account, _) in &mut self.accounts {
                    account.datasets_bucket.take_if(|bucket| bucket == name);
                }
                self.buckets.retain(|(known, _)| known != name);
            }
            Thing::Group(id) => self.groups.retain(|known| known.id != *id),
            Thing::Dataset(id) => self.datasets.retain(|known| known.id != *id),
            Thing::Workspace(id) => self.shelf.workspaces.retain(|known| known.id != *id),
            Thing::Project(id) => self.shelf.projects.retain(|known| known.id != *id),
            Thing::Share(id) => self.shared.shares.retain(|known| known.id != *id),
            Thing::Table(id) => self.shared.tables.retain(|known| known.id != *id),
            Thing::Recipient { share, account, to } => {
                let gone = (*share, *account, Grantee::from(*to));
                self.shared.recipients.retain(|one| (one.share, one.account, one.to) != gone);
            }
            Thing::Packages(account) => self.shelf.drop_packages(*account),
            Thing::IdentityProvider(id) => {
                self.trust.providers.retain(|known| known.id != *id);
                for group in &mut self.groups {
                    group.by_claim.take_if(|by| by.provider == *id);
                }
            }
            Thing::TrustRule(id) => self.drop_rule(*id),
            Thing::RequestRule(id) => self.asked.drop_rule(*id, by.at),
        }
        Ok(())
    }

    pub(super) fn preview(&self, change: &Amendment, now: Timestamp) -> Result<u64, Error> {
        let now = now.max(self.newest());
        let (change, before) = match change {
            Amendment::Grant(grant) => {
                self.check_change(grant)?;
                (change.clone(), self.grants.iter().find(|known| known.id == grant.id))
            }
            Amendment::Token { id, until, maker } => (self.until_changed(*id, *until, *maker, now)?, None),
            Amendment::Group(after) => {
                let before = self.groups.iter().find(|known| known.id == after.id);
                let before = before.ok_or_else(|| Error::not_found(Noun::Group))?;
                return Ok(u64::try_from(self.left(before, after, now).len()).unwrap_or(u64::MAX));
            }
            change => return Ok(u64::try_from(self.renamed(change, now).len()).unwrap_or(u64::MAX)),
        };
        if before.is_some_and(|before| !change.narrows(before, now)) {
            return Ok(0);
        }
        let live = self.leases.iter().filter(|lease| self.is_live(lease, now));
        Ok(u64::try_from(live.filter(|lease| change.ends(before, lease, self.asked_by(lease.id), now)).count())
            .unwrap_or(u64::MAX))
    }

    /// Changes a group; says what it was.
    fn change_group(&mut self, after: &Group) -> Result<Group, Error> {
        self.check_group(after)?;
        let known = self.groups.iter_mut().find(|known| known.id == after.id);
        let known = known.ok_or_else(|| Error::not_found(Noun::Group))?;
        if known.version != after.version {
            return Err(Error::new(Kind::Unavailable, "the group was changed just now"));
        }
        Ok(std::mem::replace(known, Group { version: after.version + 1, ..after.clone() }))
    }

    fn check_change(&self, grant: &Grant) -> Result<(), Error> {
        self.check_grant(grant)?;
        let same = |known: &Grant| known.account == grant.account && known.name == grant.name && known.id != grant.id;
        if self.grants.iter().any(same) {
            return Err(Error::taken(Noun::Grant, &grant.name));
        }
        let known = self.grants.iter().any(|known| known.id == grant.id);
        if known { Ok(()) } else { Err(Error::not_found(Noun::Grant)) }
    }

    /// A token's new end, as its maker allows it.
    fn until_changed(
        &self,
        id: TokenId,
        until: Option<Timestamp>,
        maker: Maker,
        now: Timestamp,
    ) -> Result<Amendment, Error> {
        let known = self.tokens.iter().map(|(_, record)| record).find(|record| record.id == id);
        let known = known.ok_or_else(|| Error::not_found(Noun::Token))?;
        let lengthened = self.current(known).is_lengthened(until, now)?;
        let until = if lengthened { self.until_of(maker, until, now)? } else { until };
        Ok(Amendment::Token { id, until, maker })
    }

    pub(super) fn amend(&mut self, change: &Amendment, end: bool, by: Revoker) -> Result<u64, Error> {
        let by = Revoker { by: by.by, at: by.at.max(self.newest()) };
        if let Amendment::IdentityProvider(after) = change {
            let ended = self.change_provider(after, by.at)?;
            return Ok(if end { self.lapse(&ended, by) } else { 0 });
        }
        if let Amendment::Group(after) = change {
            let before = self.change_group(after)?;
            self.version += 1;
            let ended = if end { self.left(&before, after, by.at) } else { Vec::new() };
            for lease in &ended {
                self.ended.push((Revocation::Lease(*lease), by));
            }
            return Ok(u64::try_from(ended.len()).unwrap_or(u64::MAX));
        }
        let renamed = self.renamed(change, by.at);
        let before = match change {
            Amendment::Grant(grant) => self.grants.iter().find(|known| known.id == grant.id).cloned(),
            _ => None,
        };
        let change = &self.changed(change, by.at)?;
        self.version += 1;
        if end && !renamed.is_empty() {
            self.ended.extend(renamed.iter().map(|lease| (Revocation::Lease(*lease), by)));
            return Ok(u64::try_from(renamed.len()).unwrap_or(u64::MAX));
        }
        if !end || before.as_ref().is_some_and(|before| !change.narrows(before, by.at)) {
            return Ok(0);
        }
        let live = self.leases.iter().filter(|lease| self.is_live(lease, by.at));
        let ended: Vec<_> = live
            .filter(|lease| change.ends(before.as_ref(), lease, self.asked_by(lease.id), by.at))
            .map(|lease| lease.id)
            .collect();
        for lease in &ended {
            self.ended.push((Revocation::Lease(*lease), by));
        }
        Ok(u64::try_from(ended.len()).unwrap_or(u64::MAX))
    }

    /// Makes a change, and says which it was: a token ends no later than its maker allows.
    fn changed(&mut self, change: &Amendment, now: Timestamp) -> Result<Amendment, Error> {
        match change {
            Amendment::Account(account) => {
                let same =
                    |known: &valetkey_core::account::Account| known.name == account.name && known.id != account.id;
                if self.accounts.iter().any(|(known, _)| same(known)) {
                    return Err(Error::taken(Noun::Account, &account.name));
                }
                self.account(account.id)?.0 = account.clone();
            }
            Amendment::Caller { id, name, role } => {
                let known = self.caller_records().into_iter().find(|known| known.id == *id);
                let known = known.filter(|known| known.standing != CallerStanding::Removed);
                let known = known.ok_or_else(|| Error::not_found(Noun::Caller))?;
                let taken = |(other, account, own, _): &(CallerId, AccountId, Name, Role)| {
                    other != id && *account == known.account && own == name
                };
                if self.callers.iter().any(taken) {
                    return Err(Error::taken(Noun::Caller, name));
                }
                let own = self.good_tokens(now).iter().filter(|one| one.caller == *id).map(|one| one.id).collect();
                if known.role == Role::Operator
                    && *role != Role::Operator
                    && takes_the_last_operator(&own, self.good_operators(now))
                {
                    return Err(last_operator().at(Attribute::Role));
                }
                if let Some((_, _, own, own_role)) = self.callers.iter_mut().find(|(known, ..)| known == id) {
                    (*own, *own_role) = (name.clone(), *role);
                }
                for (_, record) in self.tokens.iter_mut().filter(|(_, record)| record.caller == *id) {
                    (record.caller_name, record.role) = (name.clone(), *role);
                }
            }
            Amendment::Token { id, until, maker } => {
                let change = self.until_changed(*id, *until, *maker, now)?;
                let Amendment::Token { until, .. } = change else { return Ok(change) };
                if let Some((_, record)) = self.tokens.iter_mut().find(|(_, record)| record.id == *id) {
                    record.until = until;
                }
                self.outliving.extend(maker.outlives().then_some(*id));
                if let Some(until) = until {
                    self.shared.shorten_links(*id, until);
                }
                return Ok(change);
            }
            Amendment::Grant(grant) => {
                self.check_change(grant)?;
                let known = self.grants.iter_mut().find(|known| known.id == grant.id);
                *known.ok_or_else(|| Error::not_found(Noun::Grant))? = grant.clone();
            }
            Amendment::Dataset(dataset) => {
                if self.datasets.iter().any(|known| known.name == dataset.name && known.id != dataset.id) {
                    return Err(Error::taken(Noun::Dataset, &dataset.name));
                }
                let known = self.datasets.iter_mut().find(|known| known.id == dataset.id);
                *known.ok_or_else(|| Error::not_found(Noun::Dataset))? = dataset.clone();
            }
            Amendment::Workspace { id, account, name, is_default } => {
                if *is_default == Some(true) {
                    for one in self.shelf.workspaces.iter_mut().filter(|one| one.account == *account) {
                        one.is_default = false;
                    }
                }
                let known = self.shelf.workspaces.iter_mut().find(|known| known.id == *id && known.account == *account);
                let known = known.ok_or_else(|| Error::not_found(Noun::Workspace))?;
                known.name = name.clone().unwrap_or_else(|| known.name.clone());
                known.is_default = is_default.unwrap_or(known.is_default);
                known.updated = now;
            }
            Amendment::Group(after) => drop(self.change_group(after)?),
            Amendment::RequestRule(after) => self.change_rule(after)?,
            Amendment::IdentityProvider(after) => drop(self.change_provider(after, now)?),
        }
        Ok(change.clone())
    }
}

/// What ends with a thing.
fn revocation(thing: &Thing) -> Option<Revocation> {
    match thing {
        Thing::Account(id) => Some(Revocation::Account(*id)),
        Thing::Caller(id) => Some(Revocation::Caller(*id)),
        Thing::Token(id) | Thing::ParentKey(id) => Some(Revocation::Token(*id)),
        Thing::Grant(id) => Some(Revocation::Grant(*id)),
        Thing::Storage(id) => Some(Revocation::Storage(*id)),
        Thing::Bucket(_)
        | Thing::Group(_)
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
    }
}
