//! The tables of groups and their members.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use valetkey_core::claims::Condition;
use valetkey_core::error::{Error, Kind, Noun};
use valetkey_core::group::{ByClaim, Group};
use valetkey_core::id::{AccountId, CallerId, GroupId, ProviderId};
use valetkey_core::nouns::rules;

use crate::sql::db::{Db, query, query_as};
use crate::sql::registry::{self, taken};
use crate::sql::rows::{self, count, damaged, removed_name, signed};
use crate::sql::{failed, identity};

type GroupRow = (Vec<u8>, Vec<u8>, String, Option<Vec<u8>>, String, i64, i64);

fn group(row: GroupRow) -> Result<Group, Error> {
    let (id, account, name, provider, claims, version, made) = row;
    let conditions = || claims.split('\n').map(Condition::parse).collect::<Result<Vec<_>, _>>();
    let by_claim = match provider {
        None => None,
        Some(provider) => Some(ByClaim {
            provider: ProviderId::from_bytes(rows::id(&provider)?),
            conditions: conditions().map_err(|_| damaged("the claims of a group"))?,
        }),
    };
    Ok(Group {
        id: GroupId::from_bytes(rows::id(&id)?),
        account: AccountId::from_bytes(rows::id(&account)?),
        name: rows::name(&name)?,
        members: BTreeSet::new(),
        by_claim,
        version: count(version),
        made: rows::at_ms(made)?,
    })
}

/// The groups of an account, or of all, in order of their names.
pub(crate) async fn groups(db: &mut Db, account: Option<AccountId>) -> Result<Vec<Group>, Error> {
    let own = account.map(|id| id.to_bytes().to_vec());
    let found: Vec<GroupRow> = query_as(
        "SELECT id, account, name, provider, claims, version, made_ms FROM caller_groups
         WHERE removed_ms IS NULL AND (?1 IS NULL OR account = ?1) ORDER BY name, id",
    )
    .bind(own.clone())
    .fetch_all(&mut *db)
    .await
    .map_err(failed)?;
    let members: Vec<(Vec<u8>, Vec<u8>)> = query_as(
        "SELECT m.member_of, m.caller FROM group_members m JOIN caller_groups g ON g.id = m.member_of
         WHERE g.removed_ms IS NULL AND (?1 IS NULL OR g.account = ?1)",
    )
    .bind(own)
    .fetch_all(db)
    .await
    .map_err(failed)?;
    let mut groups = found.into_iter().map(group).collect::<Result<Vec<_>, _>>()?;
    let places: BTreeMap<GroupId, usize> = groups.iter().enumerate().map(|(at, group)| (group.id, at)).collect();
    for (of, caller) in members {
        let at = places.get(&GroupId::from_bytes(rows::id(&of)?)).copied();
        if let Some(group) = at.and_then(|at| groups.get_mut(at)) {
            group.members.insert(CallerId::from_bytes(rows::id(&caller)?));
        }
    }
    Ok(groups)
}

/// A group by its id.
pub(crate) async fn by_id(db: &mut Db, id: GroupId) -> Result<Group, Error> {
    let account = registry::group_account(&mut *db, id).await?.ok_or_else(|| Error::not_found(Noun::Group))?;
    let found = groups(db, Some(account)).await?.into_iter().find(|known| known.id == id);
    found.ok_or_else(|| Error::not_found(Noun::Group))
}

/// Refuses a group that names what is not there.
pub(crate) async fn check(db: &mut Db, group: &Group) -> Result<(), Error> {
    group.check()?;
    registry::account(&mut *db, group.account).await?.ok_or_else(|| Error::not_found(Noun::Account))?;
    if let Some(by) = &group.by_claim {
        identity::by_id(&mut *db, by.provider).await?;
    }
    for member in &group.members {
        rules::check_member(group.account, registry::caller_account(&mut *db, *member).await?)?;
    }
    Ok(())
}

fn claims(group: &Group) -> String {
    let conditions = group.by_claim.iter().flat_map(|by| &by.conditions);
    conditions.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Adds a group that was checked.
pub(crate) async fn create(db: &mut Db, new: &Group) -> Result<(), Error> {
    query(
        "INSERT INTO caller_groups (id, account, name, provider, claims, version, made_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(new.id.to_bytes())
    .bind(new.account.to_bytes())
    .bind(new.name.as_str().to_owned())
    .bind(new.by_claim.as_ref().map(|by| by.provider.to_bytes()))
    .bind(claims(new))
    .bind(signed(new.version))
    .bind(new.made.as_millisecond())
    .execute(&mut *db)
    .await
    .map_err(taken(Noun::Group, new.name.as_str()))?;
    write_members(db, new).await
}

/// Refuses what a group cannot be changed to. Asked before anything ends by it: a change that is refused ends nothing.
pub(crate) async fn check_change(db: &mut Db, after: &Group) -> Result<(), Error> {
    check(&mut *db, after).await?;
    let all = groups(db, Some(after.account)).await?;
    let known = all.iter().find(|known| known.id == after.id).ok_or_else(|| Error::not_found(Noun::Group))?;
    if known.version != after.version {
        return Err(Error::new(Kind::Unavailable, "the group was changed just now; ask again").retry_after(1));
    }
    if all.iter().any(|known| known.name == after.name && known.id != after.id) {
        return Err(Error::taken(Noun::Group, &after.name));
    }
    Ok(())
}

/// Changes a group to what it is from now on, if nobody else changed it meanwhile.
pub(crate) async fn change(db: &mut Db, after: &Group) -> Result<(), Error> {
    check_change(&mut *db, after).await?;
    query("UPDATE caller_groups SET name = ?, provider = ?, claims = ?, version = ? WHERE id = ? AND account = ?")
        .bind(after.name.as_str().to_owned())
        .bind(after.by_claim.as_ref().map(|by| by.provider.to_bytes()))
        .bind(claims(after))
        .bind(signed(after.version + 1))
        .bind(after.id.to_bytes())
        .bind(after.account.to_bytes())
        .execute(&mut *db)
        .await
        .map_err(taken(Noun::Group, after.name.as_str()))?;
    let sql = "DELETE FROM group_members WHERE member_of = ?";
    query(sql).bind(after.id.to_bytes()).execute(&mut *db).await.map_err(failed)?;
    write_members(db, after).await
}

async fn write_members(db: &mut Db, of: &Group) -> Result<(), Error> {
    for member in &of.members {
        query("INSERT INTO group_members (member_of, caller) VALUES (?, ?)")
            .bind(of.id.to_bytes())
            .bind(member.to_bytes())
            .execute(&mut *db)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

/// Removes a group; what was granted to it went before.
pub(crate) async fn remove(db: &mut Db, id: GroupId, now: Timestamp) -> Result<(), Error> {
    let known = by_id(&mut *db, id).await?;
    let sql = "DELETE FROM group_members WHERE member_of = ?";
    query(sql).bind(id.to_bytes()).execute(&mut *db).await.map_err(failed)?;
    query("UPDATE caller_groups SET removed_ms = ?, name = ?, provider = NULL, claims = '' WHERE id = ?")
        .bind(now.as_millisecond())
        .bind(removed_name(&known.name, &id.to_string()).as_str().to_owned())
        .bind(id.to_bytes())
        .execute(db)
        .await
        .map(drop)
        .map_err(failed)
}
