//! The tables of policy sets: what may own what, and whose each thing is.

use std::collections::BTreeMap;

use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::error::Noun;
use valetkey_core::name::Name;
use valetkey_core::nouns::policy_set::{Application, Managed, Owns, State, key_of, thing_of};
use valetkey_core::nouns::removal::Thing;

use crate::sql::db::{Db, query, query_as};
use crate::sql::{callers, failed, groups, identity, registry, rows};

/// A thing as the table names it.
fn key(thing: &Thing) -> Result<(&'static str, [u8; 16]), Error> {
    key_of(thing).ok_or_else(|| Error::internal("files do not own that"))
}

type ManagedRow = (String, Vec<u8>, String, String, String);

async fn managed(db: &mut Db) -> Result<BTreeMap<Thing, Managed>, Error> {
    let found: Vec<ManagedRow> =
        query_as("SELECT kind, id, owner, source, applied FROM managed").fetch_all(db).await.map_err(failed)?;
    let mut all = BTreeMap::new();
    for (number, (kind, id, owner, source, applied)) in found.into_iter().enumerate() {
        let (source, applied) = (source.into(), applied.into());
        let thing = thing_of(&kind, rows::id(&id)?).ok_or_else(|| rows::damaged("a kind of thing"))?;
        all.insert(thing, Managed { owner: Name::parse(&owner)?, source, applied });
        turn(number).await;
    }
    Ok(all)
}

/// Gives others a turn on the thread, now and then: a set may own very many things.
async fn turn(number: usize) {
    if number % 500 == 499 {
        tokio::task::yield_now().await;
    }
}

/// Whose a thing is; nothing where files do not own it.
pub(crate) async fn owner(db: &mut Db, thing: &Thing) -> Result<Option<Managed>, Error> {
    let Some((kind, id)) = key_of(thing) else { return Ok(None) };
    let found: Option<(String, String, String)> =
        query_as("SELECT owner, source, applied FROM managed WHERE kind = ? AND id = ?")
            .bind(kind)
            .bind(id)
            .fetch_optional(db)
            .await
            .map_err(failed)?;
    let known = |(owner, source, applied): (String, String, String)| {
        Ok(Managed { owner: Name::parse(&owner)?, source: source.into(), applied: applied.into() })
    };
    found.map(known).transpose()
}

async fn sets(db: &mut Db) -> Result<BTreeMap<Name, Owns>, Error> {
    let found: Vec<(String, String)> =
        query_as("SELECT name, owns FROM policy_sets").fetch_all(db).await.map_err(failed)?;
    let mut all = BTreeMap::new();
    for (name, owns) in found {
        all.insert(Name::parse(&name)?, Owns::of_text(&owns).ok_or_else(|| rows::damaged("what a set owns"))?);
    }
    Ok(all)
}

/// What there is of the accounts that a set may own, or owns.
pub(crate) async fn state(db: &mut Db, owner: &Name, owns: &Owns) -> Result<State, Error> {
    let managed = managed(&mut *db).await?;
    let mut state = State { sets: sets(&mut *db).await?, ..State::default() };
    for account in registry::accounts(&mut *db).await? {
        let own = managed.get(&Thing::Account(account.id)).is_some_and(|known| known.owner == *owner);
        if !own && !owns.account(account.name.as_str()) {
            state.others.insert(account.id, account.name);
            continue;
        }
        state.callers.extend(callers::callers(&mut *db, account.id).await?.into_iter().map(|one| (one.id, one)));
        for (number, one) in registry::grants(&mut *db, account.id).await?.into_iter().enumerate() {
            state.grants.insert(one.id, one);
            turn(number).await;
        }
        state.groups.extend(groups::groups(&mut *db, Some(account.id)).await?.into_iter().map(|one| (one.id, one)));
        state.accounts.insert(account.id, account);
    }
    state.providers = identity::providers(&mut *db).await?.into_iter().map(|one| (one.id, one)).collect();
    state.datasets.extend(registry::datasets(db).await?.into_iter().map(|one| (one.id, one)));
    // What belongs to others is not this set's matter, but for what it could take for its own.
    let mut mine = BTreeMap::new();
    for (number, (thing, known)) in managed.into_iter().enumerate() {
        if known.owner == *owner || state.address(&thing).is_some() {
            mine.insert(thing, known);
        }
        turn(number).await;
    }
    state.managed = mine;
    Ok(state)
}

/// Puts a thing into a set, or out of any.
pub(crate) async fn own(db: &mut Db, thing: &Thing, owner: Option<&Managed>) -> Result<(), Error> {
    let (kind, id) = key(thing)?;
    query("DELETE FROM managed WHERE kind = ? AND id = ?")
        .bind(kind)
        .bind(id)
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    let Some(Managed { owner, source, applied }) = owner else { return Ok(()) };
    query("INSERT INTO managed (kind, id, owner, source, applied) VALUES (?, ?, ?, ?, ?)")
        .bind(kind)
        .bind(id)
        .bind(owner.as_str().to_owned())
        .bind(source.to_string())
        .bind(applied.to_string())
        .execute(db)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Notes what a set owns from now on.
pub(crate) async fn keep(db: &mut Db, what: &Application, now: Timestamp) -> Result<(), Error> {
    let owner = what.owner.as_str().to_owned();
    query("DELETE FROM managed WHERE owner = ?").bind(owner.clone()).execute(&mut *db).await.map_err(failed)?;
    for (thing, known) in what.managed.iter().filter(|(_, known)| known.owner == what.owner) {
        own(&mut *db, thing, Some(known)).await?;
    }
    query("DELETE FROM policy_sets WHERE name = ?").bind(owner.clone()).execute(&mut *db).await.map_err(failed)?;
    query("INSERT INTO policy_sets (name, owns, about, applied_ms) VALUES (?, ?, ?, ?)")
        .bind(owner)
        .bind(what.owns.to_text())
        .bind(what.about.clone())
        .bind(now.as_millisecond())
        .execute(db)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Whether a thing that files may own is there.
pub(crate) async fn check(db: &mut Db, thing: &Thing) -> Result<(), Error> {
    let there = match thing {
        Thing::Account(id) => registry::account(db, *id).await?.is_some(),
        Thing::Caller(id) => callers::caller(db, *id).await?.is_some(),
        Thing::Grant(id) => registry::grant_account(db, *id).await?.is_some(),
        Thing::Dataset(id) => registry::datasets(db).await?.iter().any(|known| known.id == *id),
        Thing::Group(id) => registry::group_account(db, *id).await?.is_some(),
        Thing::IdentityProvider(id) => identity::providers(db).await?.iter().any(|known| known.id == *id),
        _ => false,
    };
    if there { Ok(()) } else { Err(Error::not_found(Noun::Policy)) }
}
