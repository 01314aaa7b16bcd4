//! Applying policy files: what ends is ended first, then all is written in one transaction, or nothing.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::audit::Deed;
use valetkey_core::error::Noun;
use valetkey_core::lease::Revoker;
use valetkey_core::name::Name;
use valetkey_core::nouns::policy_set::{Application, Managed, PolicySets, State, moved};
use valetkey_core::nouns::removal::{Amendment, How, Plan, Recipients, Thing};
use valetkey_core::{Error, Kind};
use valetkey_sql::Failure as _;

use crate::database::Database;
use crate::memory::Touches;
use crate::removal::{Ending, Sought};
use crate::sql::db::Db;
use crate::sql::notes::Notes;
use crate::sql::target::End;
use crate::sql::{callers, change, policy, registry, removal};

#[async_trait]
impl PolicySets for Database {
    async fn apply_policy(&self, what: &Application, by: Revoker) -> Result<u64, Error> {
        let (database, what) = (self.clone(), what.clone());
        self.unbroken(async move { database.end_and_apply(&what, by).await }).await
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

/// What goes: a thing that is removed, or none where a change leaves less; and what ends with it.
type Going<'a> = Vec<(Option<&'a Thing>, Sought)>;

/// Refuses what was planned for another state.
async fn unmoved(db: &mut Db, what: &Application) -> Result<State, Error> {
    let state = policy::state(db, &what.owner, &what.owns).await?;
    if state.revision() == what.revision { Ok(state) } else { Err(moved()) }
}

/// What a change of a grant ends.
fn narrowing(before: &State, change: &Amendment, by: Revoker) -> Option<Ending> {
    let Amendment::Grant(after) = change else { return None };
    let was = before.grants.get(&after.id).filter(|was| change.narrows(was, by.at))?;
    Some(Ending::narrowed(change.clone(), was.clone(), by))
}

/// Refuses to remove what something needs that does not go, too.
fn foreign(plan: &Plan, what: &Application) -> Result<(), Error> {
    let goes = |thing: &Thing| match thing {
        Thing::Token(_) | Thing::ParentKey(_) => true,
        Thing::Recipient { to, .. } => matches!(to, Recipients::Caller(_)),
        thing => what.changes.removals.contains(thing),
    };
    match plan.needs.iter().find(|item| !goes(&item.thing)) {
        Some(item) => {
            let said = format!("the {} is needed by the {item}, which is not the set's", plan.what);
            Err(Error::new(Kind::Invalid, said).at("document"))
        }
        None => Ok(()),
    }
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
            foreign(&plan, what)?;
        }
        let mut going = Vec::new();
        if let Err(error) = self.end_all_here(&mut reader, &before, what, by, &mut going).await {
            self.settle_all(&going, Some(&error));
            return Err(error);
        }
        drop(reader);
        let mut turn = self.shared.db.turn().await;
        let write = async |db: &mut Db, notes: &mut Notes| {
            unmoved(&mut *db, what).await?;
            let ends = self.write_application(db, what, &mut going, by, notes).await?;
            Ok((ends, Touches::Everything))
        };
        let done = self.administer_in(&mut turn, write).await;
        self.settle_all(&going, done.as_ref().err());
        drop(turn);
        let ends = done?;
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
        for change in &what.changes.amendments {
            if let Some(ending) = narrowing(before, change, by) {
                going.push((None, self.end_here(&mut *reader, ending, by).await?));
            }
        }
        for thing in &what.changes.removals {
            let plan = removal::plan(&mut *reader, thing, by.at).await?;
            let ending = Ending::of(&mut *reader, &plan, How::ALL, by).await?;
            going.push((Some(thing), self.end_here(&mut *reader, ending, by).await?));
        }
        Ok(())
    }

    /// Lets go of what was kept out. Nothing of it is owed: what could not be written is planned and applied again.
    fn settle_all(&self, going: &Going<'_>, failed: Option<&Error>) {
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
        going: &mut [(Option<&Thing>, Sought)],
        by: Revoker,
        notes: &mut Notes,
    ) -> Result<Vec<End>, Error> {
        let changes = &what.changes;
        let mut ends = Vec::new();
        let is_grant = |thing: Option<&Thing>| matches!(thing, None | Some(Thing::Grant(_)));
        for (thing, sought) in going.iter_mut().filter(|(thing, _)| is_grant(*thing)) {
            ends.extend(self.write_going(&mut *db, *thing, sought, by, notes).await?);
        }
        for change in changes.amendments.iter().filter(|change| matches!(change, Amendment::Account(_))) {
            change::apply(&mut *db, change, by.at, notes).await?;
        }
        for account in &changes.accounts {
            registry::create_account(&mut *db, account, by.at).await?;
            notes.did(Deed::Made, Noun::Account, account.id, account.name.as_str());
        }
        for change in changes.amendments.iter().filter(|change| !matches!(change, Amendment::Account(_))) {
            change::apply(&mut *db, change, by.at, notes).await?;
        }
        for one in &changes.callers {
            let made = callers::ensure_caller(&mut *db, one.id, one.account, &one.name, one.role, by.at).await?;
            if made != one.id {
                return Err(Error::taken(Noun::Caller, &one.name));
            }
            notes.did(Deed::Made, Noun::Caller, one.id, &format!("{}, {}", one.name, one.role.as_str()));
        }
        for dataset in &changes.datasets {
            registry::create_dataset(&mut *db, dataset, by.at).await?;
            notes.did(Deed::Made, Noun::Dataset, dataset.id, dataset.name.as_str());
        }
        for grant in &changes.grants {
            registry::create_grant(&mut *db, grant, by.at).await?;
            notes.did(Deed::Made, Noun::Grant, grant.id, &change::about_grant(grant));
        }
        for (thing, sought) in going.iter_mut().filter(|(thing, _)| !is_grant(*thing)) {
            ends.extend(self.write_going(&mut *db, *thing, sought, by, notes).await?);
        }
        policy::keep(&mut *db, what, Timestamp::from_millisecond(notes.at_ms()).unwrap_or(by.at)).await?;
        notes.did(Deed::Changed, Noun::Policy, &what.owner, &what.about);
        Ok(ends)
    }

    /// Puts on record what ends, and removes what goes; of an account nothing that the set does not own.
    async fn write_going(
        &self,
        db: &mut Db,
        thing: Option<&Thing>,
        sought: &mut Sought,
        by: Revoker,
        notes: &mut Notes,
    ) -> Result<Vec<End>, Error> {
        let plan = match thing {
            None => None,
            Some(thing) => {
                let plan = removal::plan(&mut *db, thing, by.at).await?;
                plan.allows(How { cascade: false, last_operator: false, keep_credentials: false })?;
                Some(plan)
            }
        };
        let now = match &plan {
            None => sought.ending().clone(),
            Some(plan) => Ending::of(&mut *db, plan, How::ALL, by).await?,
        };
        self.seek_again(&mut *db, sought, now, by).await?;
        let ends = self.write_ends(&mut *db, sought, by, notes).await?;
        let all: Vec<&Thing> = plan.iter().flat_map(Plan::all).map(|item| &item.thing).collect();
        for thing in all.into_iter().rev() {
            removal::erase(&mut *db, thing, by, notes).await?;
        }
        Ok(ends)
    }
}
