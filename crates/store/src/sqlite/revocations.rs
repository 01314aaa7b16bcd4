//! What ended credentials early, and which leases that were.

use std::collections::HashSet;

use sqlx::sqlite::SqliteConnection;
use valetkey_core::Error;
use valetkey_core::id::{AccountId, GrantId, LeaseId, TokenId};
use valetkey_core::lease::Revoker;

use crate::sqlite::callers::end_token;
use crate::sqlite::ends::Ends;
use crate::sqlite::entry::{self, Glance, Opened};
use crate::sqlite::notes::Notes;
use crate::sqlite::pages::{self, first_id};
use crate::sqlite::target::{End, Target};
use crate::sqlite::{failed, rows};

/// The revocations that still end something.
pub(crate) async fn lasting(db: &mut SqliteConnection, now_ms: i64) -> Result<Vec<End>, Error> {
    let found: Vec<(i64, Vec<u8>, i64, i64)> =
        sqlx::query_as("SELECT kind, target, at_ms, keep_until_ms FROM revocations WHERE keep_until_ms > ?")
            .bind(now_ms)
            .fetch_all(db)
            .await
            .map_err(failed)?;
    found
        .into_iter()
        .map(|(kind, target, at_ms, keep_until_ms)| {
            Ok(End { target: Target::read(kind, &target)?, at_ms, keep_until_ms })
        })
        .collect()
}

/// Stores a revocation and notes it, if it is not there already.
async fn insert(db: &mut SqliteConnection, end: End, by: Revoker, notes: &mut Notes) -> Result<(), Error> {
    let done = sqlx::query(
        "INSERT INTO revocations (kind, target, at_ms, by_caller, keep_until_ms) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
    )
    .bind(i64::from(end.target.kind()))
    .bind(end.target.bytes().to_vec())
    .bind(end.at_ms)
    .bind(by.by.to_bytes().to_vec())
    .bind(end.keep_until_ms)
    .execute(db)
    .await
    .map_err(failed)?;
    if done.rows_affected() > 0 {
        notes.ended(end, by.by);
    }
    Ok(())
}

/// Whether a lease that is not in the index counts as live at an instant.
fn live(lease: &Opened, at_ms: i64, before: &Ends, voided: &HashSet<LeaseId>) -> bool {
    lease.in_time(at_ms) && !voided.contains(&lease.id) && before.of(lease).is_none()
}

/// The leases outside the index that are live, that the target ends. Of the others no more is read than who they are.
pub(crate) async fn waiting(
    db: &mut SqliteConnection,
    since_ms: i64,
    at_ms: i64,
    ends: impl Fn(&Glance<'_>) -> bool,
) -> Result<Vec<Opened>, Error> {
    let mut opened = Vec::new();
    pages::unfolded(&mut *db, since_ms, |body| {
        opened.extend(entry::glances(body).filter(&ends).filter_map(|glance| glance.read()));
    })
    .await?;
    if opened.is_empty() {
        return Ok(opened);
    }
    let before = Ends::since(&mut *db, since_ms).await?;
    let voided = pages::unfolded_voids(db).await?.into_iter().collect();
    opened.retain(|lease| live(lease, at_ms, &before, &voided));
    Ok(opened)
}

/// Whether a lease is live and outside the index.
async fn is_waiting(db: &mut SqliteConnection, id: LeaseId, at_ms: i64) -> Result<bool, Error> {
    let Some(lease) = pages::find(db, id).await? else { return Ok(false) };
    let before = Ends::since(db, lease.from_ms).await?;
    let voided = pages::unfolded_voids(db).await?.into_iter().collect();
    Ok(live(&lease, at_ms, &before, &voided))
}

/// What is changed together with a revocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Also {
    /// Only credentials end.
    Nothing,
    /// The token that asked for them ends too.
    EndToken(TokenId),
}

/// Stores a revocation and marks the leases it ends. Says how many live ones that were.
pub(crate) async fn revoke(
    db: &mut SqliteConnection,
    end: End,
    by: Revoker,
    longest_ms: i64,
    also: Also,
    notes: &mut Notes,
) -> Result<u64, Error> {
    let since_ms = end.at_ms.saturating_sub(longest_ms);
    let waiting = match end.target {
        // Its id tells the page: no need to read them all.
        Target::Lease(id) => u64::from(is_waiting(&mut *db, id, end.at_ms).await?),
        Target::Token(_) | Target::Caller(_) | Target::Account(_) | Target::Storage(_) => {
            let waiting = waiting(&mut *db, since_ms, end.at_ms, |lease| end.target.ends(lease)).await?;
            u64::try_from(waiting.len()).unwrap_or(u64::MAX)
        }
    };
    let sql = match end.target {
        Target::Lease(_) => {
            "UPDATE leases SET revoked_ms = ?1, revoked_by = ?2 WHERE id = ?3 AND id >= ?4
             AND opened_ms <= ?1 AND until_s * 1000 > ?1 AND void_kind IS NULL AND revoked_ms IS NULL"
        }
        Target::Token(_) => {
            "UPDATE leases SET revoked_ms = ?1, revoked_by = ?2
             WHERE caller = (SELECT caller FROM tokens WHERE tokens.id = ?3) AND token = ?3 AND leases.id >= ?4
             AND opened_ms <= ?1 AND until_s * 1000 > ?1 AND void_kind IS NULL AND leases.revoked_ms IS NULL"
        }
        Target::Caller(_) => {
            "UPDATE leases SET revoked_ms = ?1, revoked_by = ?2 WHERE caller = ?3 AND id >= ?4
             AND opened_ms <= ?1 AND until_s * 1000 > ?1 AND void_kind IS NULL AND revoked_ms IS NULL"
        }
        Target::Account(_) => {
            "UPDATE leases SET revoked_ms = ?1, revoked_by = ?2 WHERE account = ?3 AND id >= ?4
             AND opened_ms <= ?1 AND until_s * 1000 > ?1 AND void_kind IS NULL AND revoked_ms IS NULL"
        }
        Target::Storage(_) => {
            "UPDATE leases SET revoked_ms = ?1, revoked_by = ?2 WHERE storage = ?3 AND id >= ?4
             AND opened_ms <= ?1 AND until_s * 1000 > ?1 AND void_kind IS NULL AND revoked_ms IS NULL"
        }
    };
    let marked = sqlx::query(sql)
        .bind(end.at_ms)
        .bind(by.by.to_bytes().to_vec())
        .bind(end.target.bytes().to_vec())
        .bind(first_id(since_ms))
        .execute(&mut *db)
        .await
        .map_err(failed)?
        .rows_affected();
    match also {
        Also::Nothing => {}
        Also::EndToken(token) => end_token(&mut *db, token, by, notes).await?,
    }
    insert(&mut *db, end, by, notes).await?;
    Ok(marked + waiting)
}

/// The ends of what was vended under a grant: each lease on its own, because credentials do not name their grants.
pub(crate) async fn of_grant(
    db: &mut SqliteConnection,
    account: AccountId,
    grant: GrantId,
    by: Revoker,
    longest_ms: i64,
) -> Result<Vec<End>, Error> {
    let at_ms = by.at.as_millisecond();
    let since_ms = at_ms.saturating_sub(longest_ms);
    let waiting = waiting(&mut *db, since_ms, at_ms, |lease| lease.account == account).await?;
    let mine = waiting.iter().filter(|lease| lease.grant_ids().any(|one| one == grant));
    let mut ends: Vec<End> = mine.map(|lease| End::of_lease(lease, at_ms)).collect();
    let folded: Vec<(Vec<u8>, Vec<u8>, i64)> = sqlx::query_as(
        "SELECT id, grants, until_s FROM leases WHERE account = ?1 AND id >= ?2
         AND opened_ms <= ?3 AND until_s * 1000 > ?3 AND void_kind IS NULL AND revoked_ms IS NULL",
    )
    .bind(account.to_bytes().to_vec())
    .bind(first_id(since_ms))
    .bind(at_ms)
    .fetch_all(&mut *db)
    .await
    .map_err(failed)?;
    for (id, grants, until_s) in folded {
        if grants.as_chunks::<16>().0.contains(&grant.to_bytes()) {
            let id = LeaseId::from_bytes(rows::id(&id)?);
            ends.push(End { target: Target::Lease(id), at_ms, keep_until_ms: until_s.saturating_mul(1000) });
        }
    }
    Ok(ends)
}

/// Stores ends of leases and marks the leases.
pub(crate) async fn insert_all(
    db: &mut SqliteConnection,
    ends: &[End],
    by: Revoker,
    notes: &mut Notes,
) -> Result<(), Error> {
    for end in ends {
        // One that somebody else ended meanwhile stays ended by them.
        sqlx::query("UPDATE leases SET revoked_ms = ?, revoked_by = ? WHERE id = ? AND revoked_ms IS NULL")
            .bind(end.at_ms)
            .bind(by.by.to_bytes().to_vec())
            .bind(end.target.bytes().to_vec())
            .execute(&mut *db)
            .await
            .map_err(failed)?;
        insert(&mut *db, *end, by, notes).await?;
    }
    Ok(())
}
