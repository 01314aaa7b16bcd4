//! Applying policy files: what ends is ended first, then all is written in one transaction, or nothing.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::audit::Deed;
use valetkey_core::error::Noun;
use valetkey_core::lease::Revoker;
use valetkey_core::name::Name;
use valetkey_core::nouns::identity::IdentityProvider;
use valetkey_core::nouns::policy_set::{Application, KINDS, Managed, Ownable, PolicySetAdmin, State, key_of, moved};
use valetkey_core::nouns::removal::{Amendment, How, Plan, Recipients, Renamed, Thing};
use valetkey_core::{Error, Kind};
use valetkey_sql::Failure as _;

use crate::database::Database;
use crate::ending::{Ending, narrowing as narrowing_of};
use crate::memory::Touches;
use crate::removal::Sought;
use crate::sql::db::Db;
use crate::sql::notes::Notes;
use crate::sql::target::End;
use crate::sql::{callers, change, groups, identity, policy, registry, removal};

#[async_trait]
impl PolicySetAdmin for Database {
    async fn apply_policy(&self, what: &Application, by: Revoker) -> Result<u64, Error> {
        let (database, what) = (self.clone(), what.clone());
        self.unbroken(async move { database.end_and_apply(&what, by).await }).await
    }

    async fn break_glass(&self, things: &[(Thing, Managed)], reason: &str) -> Result<(), Error> {
        let (things, reason) = (things.to_vec(), reason.to_owned());
        self.administer(move |_, notes| {
            Box::pin(async move {
                for (thing, known) in &things {
                    let about = format!("by hand, {} {}: {reason}", thing.kind(), thing.id().unwrap_or_default());
                    notes.did(Deed::Changed, Noun::Policy, &known.owner, &about);
                }
                Ok(((), Touches::Nothing))
            })
        })
        .await
    }

    async fn set_owner(&self, things: &[Thing], owner: Option<&Name>) -> Result<(), Error> {
        let (things, owner) = (things.to_vec(), owner.cloned());
        self.administer(move |db, notes| {
            Box::pin(async move {
                let known =
                    owner.as_ref().map(|owner| Managed { owner: owner.clone(), source: "".into(), applied: "".into() });
                for thing in &things {
                    policy::check(db, thing).await?;
                    policy::own(db, thing, known.as_ref()).await?;
                    let id = thing.id().unwrap_or_default();
                    let whose = owner.as_ref().map_or("no set", Name::as_str);
                    notes.did(Deed::Changed, Noun::Policy, whose, &format!("{} {id} belongs to it", thing.kind()));
                }
                Ok(((), Touches::Nothing))
            })
        })
        .await
    }
}

/// Why something ends: a thing is removed, or changed so that it leaves less.
#[derive(Clone, Copy)]
enum Why<'a> {
    Removed(&'a Thing),
    Changed(&'a Amendment),
}

impl Why<'_> {
    /// Whether it goes before anything is made.
    const fn is_first(self) -> bool {
        matches!(self, Self::Changed(_) | Self::Removed(Thing::Grant(_)))
    }
}

/// Whether a thing is of a kind.
fn is_of(word: &str, thing: &Thing) -> bool {
    key_of(thing).is_some_and(|(of, _)| of == word)
}

/// What goes, and what ends with it.
type Going<'a> = Vec<(Why<'a>, Sought)>;

/// Refuses what was planned for another state.
async fn unmoved(db: &mut Db, what: &Application) -> Result<State, Error> {
    let state = policy::state(db, &what.owner, &what.owns).await?;
    if state.revision() == what.revision { Ok(state) } else { Err(moved()) }
}

/// What a change ends; nothing where it leaves all that there was.
async fn narrowing(db: &mut Db, before: &State, change: &Amendment, by: Revoker) -> Result<Option<Ending>, Error> {
    let grants = |account| before.grants.values().filter(move |grant| grant.account == account);
    match change {
        // Of very many grants none is read again.
        Amendment::Grant(after) => {
            let was = before.grants.get(&after.id).filter(|was| change.narrows(was, by.at));
            Ok(was.map(|was| Ending::narrowed(change.clone(), was.clone(), by)))
        }
        Amendment::Account(after) => {
            let was = before.accounts.get(&after.id).filter(|was| was.name != after.name);
            Ok(was.and_then(|_| Ending::renamed(Renamed::Account(after.id), after.id, grants(after.id), by)))
        }
        Amendment::Caller { id, name, role: _ } => {
            let was = before.callers.get(id).filter(|was| was.name != *name);
            Ok(was.and_then(|was| Ending::renamed(Renamed::Caller(*id), was.account, grants(was.account), by)))
        }
        Amendment::Group(_) | Amendment::IdentityProvider(_) => {
            let ending = narrowing_of(db, change, by).await?;
            Ok(Some(ending).filter(|ending| !ending.is_nothing()))
        }
        Amendment::Token { .. } | Amendment::Dataset(_) | Amendment::Workspace { .. } | Amendment::RequestRule(_) => {
            Ok(None)
        }
    }
}

/// Refuses to remove what something needs, or has a part in, that does not go, too.
fn foreign(plan: &Plan, before: &State, what: &Application) -> Result<(), Error> {
    let goes = |thing: &Thing| match thing {
        Thing::Token(_) | Thing::ParentKey(_) => true,
        Thing::Recipient { to, .. } => matches!(to, Recipients::Caller(_)),
        Thing::TrustRule(rule) => {
            let of = before.providers.values().find(|one| one.rules.iter().any(|own| own.id == *rule));
            let stays = what.changes.amendments.iter().any(|change| {
                matches!(change, Amendment::IdentityProvider(after) if after.rules.iter().any(|own| own.id == *rule))
            });
            let changes = |of: &IdentityProvider| {
                let of = Thing::IdentityProvider(of.id);
                what.changes.removals.contains(&of) || what.changes.amendments.iter().any(|one| one.thing() == of)
            };
            !stays && of.is_some_and(changes)
        }
        thing => what.changes.removals.contains(thing),
    };
    // Nobody loses a rule of who may ask for what because of a file that does not know of it.
    let rules = plan.with.iter().filter(|item| matches!(item.thing, Thing::RequestRule(_)));
    match plan.needs.iter().chain(rules).find(|item| !goes(&item.thing)) {
        Some(item) => {
            let said = format!("the {} is needed by the {item}, which is not the set's", plan.what);
            Err(Error::new(Kind::Invalid, said).at("document"))
        }
        None => Ok(()),
    }
}

/// What is answered where nothing could be written.
fn told(error: Error, going: &Going<'_>) -> Error {
    let ended = |sought: &Sought| {
        let (leases, all) = sought.ended();
        !leases.is_empty() || !all.is_empty()
    };
    if !error.is_of_database() || !going.iter().any(|(_, sought)| ended(sought)) {
        return error;
    }
    let said = "nothing was applied: the database cannot be written now. The credentials that it ends are ended on this server, but not on \
                record yet; that is tried again, and a restart before that would forget it. Plan and apply it again";
    Error::new(Kind::Unavailable, said).retry_after(1).caused_by(error)
}

/// How things are removed.
const fn how(what: &Application) -> How {
    How { keep_credentials: what.keep_leases, ..How::ALL }
}

impl Database {
    async fn end_and_apply(&self, what: &Application, by: Revoker) -> Result<u64, Error> {
        let by = self.ender(by);
        let mut reader = self.reader().await?;
        let before = unmoved(&mut reader, what).await?;
        let last = How { last_operator: false, ..How::ALL };
        for thing in &what.changes.removals {
            // Before anything ends: what is refused ends nothing.
            let plan = removal::plan(&mut reader, thing, by.at).await?;
            plan.allows(last)?;
            foreign(&plan, &before, what)?;
        }
        let mut going = Vec::new();
        if let Err(error) = self.end_all_here(&mut reader, &before, what, by, &mut going).await {
            self.settle_all(&going, by, Some(&error));
            return Err(told(error, &going));
        }
        drop(reader);
        let mut turn = self.shared.db.turn().await;
        let write = async |db: &mut Db, notes: &mut Notes| {
            unmoved(&mut *db, what).await?;
            let ends = self.write_application(db, what, &mut going, by, notes).await?;
            Ok((ends, Touches::Everything))
        };
        let done = self.administer_in(&mut turn, write).await;
        self.settle_all(&going, by, done.as_ref().err());
        drop(turn);
        let ends = done.map_err(|error| told(error, &going))?;
        for change in &what.changes.amendments {
            self.shared.debts.forgive_amended(change);
        }
        for thing in &what.changes.removals {
            self.shared.debts.forgive_taken(thing);
        }
        self.shared.revoked.add(&ends);
        Ok(u64::try_from(ends.len()).unwrap_or(u64::MAX))
    }

    /// Ends on this server what changes and removals take away.
    async fn end_all_here<'a>(
        &self,
        reader: &mut Db,
        before: &State,
        what: &'a Application,
        by: Revoker,
        going: &mut Going<'a>,
    ) -> Result<(), Error> {
        let changed: &[Amendment] = if what.keep_leases { &[] } else { &what.changes.amendments };
        for change in changed {
            if let Some(ending) = narrowing(&mut *reader, before, change, by).await? {
                going.push((Why::Changed(change), self.end_here(&mut *reader, ending, by).await?));
            }
        }
        for thing in &what.changes.removals {
            let plan = removal::plan(&mut *reader, thing, by.at).await?;
            let ending = Ending::of(&mut *reader, &plan, how(what), by).await?;
            going.push((Why::Removed(thing), self.end_here(&mut *reader, ending, by).await?));
        }
        Ok(())
    }

    /// Lets go of what was kept out. Of what could not be written only the ends are owed: the rest is planned and applied again.
    fn settle_all(&self, going: &Going<'_>, by: Revoker, failed: Option<&Error>) {
        for (_, sought) in going {
            self.owe_ends(sought, by, failed);
        }
        let unwritten = failed.filter(|error| error.is_of_database());
        let unwritten = unwritten.map(|_| Error::new(Kind::Unavailable, "nothing was applied"));
        for (_, sought) in going {
            self.settle_end(sought.ending(), unwritten.as_ref().or(failed));
        }
    }

    /// Everything of it, in the order in which it can be: names are free before they are taken again.
    async fn write_application(
        &self,
        db: &mut Db,
        what: &Application,
        going: &mut [(Why<'_>, Sought)],
        by: Revoker,
        notes: &mut Notes,
    ) -> Result<Vec<End>, Error> {
        let changes = &what.changes;
        let mut ends = Vec::new();
        for (why, sought) in &mut *going {
            if why.is_first() {
                ends.extend(self.write_going(&mut *db, *why, sought, what, by, notes).await?);
            }
        }
        // Of each kind what is changed before what is new; and what is named before what names it.
        for word in KINDS {
            for change in &changes.amendments {
                if is_of(word, &change.thing()) {
                    change::apply(&mut *db, change, by.at, notes).await?;
                }
            }
            for one in &changes.made {
                if is_of(word, &one.thing()) {
                    make(&mut *db, one, by, notes).await?;
                }
            }
        }
        for (why, sought) in &mut *going {
            if !why.is_first() {
                ends.extend(self.write_going(&mut *db, *why, sought, what, by, notes).await?);
            }
        }
        policy::keep(&mut *db, what, Timestamp::from_millisecond(notes.at_ms()).unwrap_or(by.at)).await?;
        notes.did(Deed::Changed, Noun::Policy, &what.owner, &what.about);
        Ok(ends)
    }

    /// Puts on record what ends, and removes what goes; of an account nothing that the set does not own.
    async fn write_going(
        &self,
        db: &mut Db,
        why: Why<'_>,
        sought: &mut Sought,
        what: &Application,
        by: Revoker,
        notes: &mut Notes,
    ) -> Result<Vec<End>, Error> {
        let (plan, now) = match why {
            Why::Changed(Amendment::Grant(_)) => (None, sought.ending().clone()),
            Why::Changed(change) => (None, narrowing_of(&mut *db, change, by).await?),
            Why::Removed(thing) => {
                let plan = removal::plan(&mut *db, thing, by.at).await?;
                plan.allows(How { cascade: false, last_operator: false, keep_credentials: false })?;
                let now = Ending::of(&mut *db, &plan, how(what), by).await?;
                (Some(plan), now)
            }
        };
        self.seek_again(&mut *db, sought, now, by).await?;
        if let Why::Changed(Amendment::IdentityProvider(_)) = why {
            sought.ending().end_sessions(&mut *db, by, notes).await?;
        }
        let ends = self.write_ends(&mut *db, sought, by, notes).await?;
        let all: Vec<&Thing> = plan.iter().flat_map(Plan::all).map(|item| &item.thing).collect();
        for thing in all.into_iter().rev() {
            removal::erase(&mut *db, thing, by, notes).await?;
        }
        Ok(ends)
    }
}

/// Makes what is new.
async fn make(db: &mut Db, one: &Ownable, by: Revoker, notes: &mut Notes) -> Result<(), Error> {
    match one {
        Ownable::Account(account) => {
            registry::create_account(&mut *db, account, by.at).await?;
            notes.did(Deed::Made, Noun::Account, account.id, account.name.as_str());
        }
        Ownable::Caller(one) => {
            let made = callers::ensure_caller(&mut *db, one.id, one.account, &one.name, one.role, by.at).await?;
            if made != one.id {
                return Err(Error::taken(Noun::Caller, &one.name));
            }
            notes.did(Deed::Made, Noun::Caller, one.id, &format!("{}, {}", one.name, one.role.as_str()));
        }
        Ownable::Dataset(dataset) => {
            registry::create_dataset(&mut *db, dataset, by.at).await?;
            notes.did(Deed::Made, Noun::Dataset, dataset.id, dataset.name.as_str());
        }
        Ownable::Provider(new) => {
            identity::create(&mut *db, new).await?;
            notes.did(Deed::Made, Noun::IdentityProvider, new.id, &change::about_provider(new));
        }
        Ownable::Group(new) => {
            groups::check(&mut *db, new).await?;
            groups::create(&mut *db, new).await?;
            notes.did(Deed::Made, Noun::Group, new.id, &change::about_group(new));
        }
        Ownable::Grant(grant) => {
            registry::create_grant(&mut *db, grant, by.at).await?;
            notes.did(Deed::Made, Noun::Grant, grant.id, &change::about_grant(grant));
        }
    }
    Ok(())
}
