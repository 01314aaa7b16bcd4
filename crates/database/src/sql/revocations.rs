//! What ended credentials early, and which leases that were.

use std::collections::HashSet;

use valetkey_core::Error;
use valetkey_core::id::{AccountId, GrantId, LeaseId, TokenId};
use valetkey_core::lease::Revoker;

use crate::sql::callers::end_token;
use crate::sql::db::{Db, query, query_as, query_scalar};
use crate::sql::ends::Ends;
use crate::sql::entry::{self, Glance, Opened};
use crate::sql::notes::Notes;
use crate::sql::pages::{self, first_id};
use crate::sql::target::{End, Target};
use crate::sql::{failed, leases, rows};

/// The revocations that still end something.
pub(crate) async fn lasting(db: &mut Db, now_ms: i64) -> Result<Vec<End>, Error> {
    let found: Vec<(i64, Vec<u8>, i64, i64)> =
        query_as("SELECT kind, target, at_ms, keep_until_ms FROM revocations WHERE keep_until_ms > ?")
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

/// How many credentials of a parent access key's holder are ended one by one, beside one of them, and are not over yet.
pub(crate) async fn ended_of(db: &mut Db, parent: TokenId, beside: LeaseId, now_ms: i64) -> Result<u64, Error> {
    let found: i64 =
        query_scalar("SELECT count(*) FROM revocations WHERE parent = ? AND keep_until_ms > ? AND target <> ?")
            .bind(parent.to_bytes())
            .bind(now_ms)
            .bind(beside.to_bytes())
            .fetch_one(db)
            .await
            .map_err(failed)?;
    Ok(rows::count(found))
}

/// Stores a revocation and notes it, if it is not there already; and of which parent access key it is, if it is one's child's.
async fn insert(db: &mut Db, end: End, parent: Option<TokenId>, by: Revoker, notes: &mut Notes) -> Result<(), Error> {
    let done = query(
        "INSERT INTO revocations (kind, target, at_ms, by_caller, keep_until_ms, parent) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
    )
    .bind(i64::from(end.target.kind()))
    .bind(end.target.bytes().to_vec())
    .bind(end.at_ms)
    .bind(by.by.to_bytes())
    .bind(end.keep_until_ms)
    .bind(parent.map(TokenId::to_bytes))
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
    db: &mut Db,
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
async fn is_waiting(db: &mut Db, id: LeaseId, at_ms: i64) -> Result<bool, Error> {
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
    /// It counts as one of those of a parent access key, whose holder made the credential.
    CountFor(TokenId),
}

/// Stores a revocation and marks the leases it ends. Says how many live ones that were.
pub(crate) async fn revoke(
    db: &mut Db,
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
    let marked = query(sql)
        .bind(end.at_ms)
        .bind(by.by.to_bytes())
        .bind(end.target.bytes().to_vec())
        .bind(first_id(since_ms))
        .execute(&mut *db)
        .await
        .map_err(failed)?
        .rows_affected();
    let parent = match also {
        Also::Nothing => None,
        Also::EndToken(token) => {
            end_token(&mut *db, token, by, notes).await?;
            None
        }
        Also::CountFor(parent) => Some(parent),
    };
    insert(&mut *db, end, parent, by, notes).await?;
    Ok(marked + waiting)
}

/// What leases came through that credentials do not name, so that each lease ends on its own.
pub(crate) enum Through {
    /// A grant, of an account.
    Grant(AccountId, GrantId),
    /// Tokens that asked on behalf of others, and whose they are.
    Tokens(Target, HashSet<TokenId>),
    /// A lease that others were narrowed from.
    Lease(LeaseId),
}

impl Through {
    /// The tokens that end with a target; or the lease, that others end with.
    pub(crate) async fn of(db: &mut Db, target: Target) -> Result<Self, Error> {
        let sql = match target {
            Target::Token(_) => "SELECT id FROM tokens WHERE id = ?",
            Target::Caller(_) => "SELECT id FROM tokens WHERE caller = ?",
            Target::Account(_) => "SELECT id FROM tokens WHERE account = ?",
            Target::Lease(id) => return Ok(Self::Lease(id)),
            Target::Storage(_) => return Ok(Self::Tokens(target, HashSet::new())),
        };
        let ids: Vec<Vec<u8>> = query_scalar(sql).bind(target.bytes().to_vec()).fetch_all(db).await.map_err(failed)?;
        let ids = ids.iter().map(|id| rows::id(id).map(TokenId::from_bytes)).collect::<Result<_, _>>()?;
        Ok(Self::Tokens(target, ids))
    }

    /// Whether no lease can have come through it.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self, Self::Tokens(_, ids) if ids.is_empty())
    }

    /// Whether a lease came through it.
    pub(crate) fn is_of(&self, lease: &Opened) -> bool {
        match self {
            Self::Grant(_, grant) => lease.grant_ids().any(|one| one == *grant),
            Self::Tokens(_, ids) => lease.asked_with.is_some_and(|token| ids.contains(&token)),
            Self::Lease(id) => lease.leases_before().any(|one| one == *id),
        }
    }

    fn may_be_of(&self, lease: &Glance<'_>) -> bool {
        match self {
            Self::Grant(account, _) => lease.account == *account,
            Self::Tokens(_, ids) => lease.asked_with.is_some_and(|token| ids.contains(&token)),
            // All that was narrowed is looked at.
            Self::Lease(_) => false,
        }
    }

    /// The ends of the live leases that came through it, those on disk and these that are on their way there; and of what was narrowed
    /// from them.
    pub(crate) async fn ends(
        &self,
        db: &mut Db,
        unwritten: Vec<Opened>,
        by: Revoker,
        longest_ms: i64,
    ) -> Result<Vec<End>, Error> {
        if self.is_nothing() {
            return Ok(Vec::new());
        }
        let at_ms = by.at.as_millisecond();
        let since_ms = at_ms.saturating_sub(longest_ms);
        // Nothing is narrowed from a lease before it is there.
        let since_ms = if let Self::Lease(id) = self { since_ms.max(id.made_ms()) } else { since_ms };
        let mut some = unwritten;
        some.extend(waiting(&mut *db, since_ms, at_ms, |lease| self.may_be_of(lease) || lease.is_narrowed()).await?);
        let mut ends: Vec<End> =
            some.iter().filter(|lease| self.is_of(lease)).map(|lease| End::of_lease(lease, at_ms)).collect();
        match self {
            Self::Grant(account, grant) => ends.extend(of_grant(db, *account, *grant, since_ms, at_ms).await?),
            Self::Tokens(target, _) => {
                let asked = leases::asked_with(db, *target, since_ms, at_ms).await?;
                ends.extend(asked.iter().map(|lease| End::of_lease(lease, at_ms)));
            }
            Self::Lease(_) => {}
        }
        some.retain(Opened::is_narrowed);
        some.extend(leases::narrowed(db, since_ms, at_ms).await?);
        let mut before: HashSet<Target> = ends.iter().map(|end| end.target).collect();
        before.extend(if let Self::Lease(id) = self { Some(Target::Lease(*id)) } else { None });
        let goes = |lease: &&Opened| lease.leases_before().any(|one| before.contains(&Target::Lease(one)));
        ends.extend(some.iter().filter(goes).map(|lease| End::of_lease(lease, at_ms)));
        // Between the two questions it may have moved from the pages to the index.
        let mut seen = HashSet::new();
        ends.retain(|end| seen.insert(end.target));
        Ok(ends)
    }
}

/// The ends of the live leases of the index that were vended under a grant.
async fn of_grant(
    db: &mut Db,
    account: AccountId,
    grant: GrantId,
    since_ms: i64,
    at_ms: i64,
) -> Result<Vec<End>, Error> {
    let folded: Vec<(Vec<u8>, Vec<u8>, i64)> = query_as(
        "SELECT id, grants, until_s FROM leases WHERE account = ?1 AND id >= ?2
         AND opened_ms <= ?3 AND until_s * 1000 > ?3 AND void_kind IS NULL AND revoked_ms IS NULL",
    )
    .bind(account.to_bytes())
    .bind(first_id(since_ms))
    .bind(at_ms)
    .fetch_all(db)
    .await
    .map_err(failed)?;
    let mut ends = Vec::new();
    for (id, grants, until_s) in folded {
        if grants.as_chunks::<16>().0.contains(&grant.to_bytes()) {
            let target = Target::Lease(LeaseId::from_bytes(rows::id(&id)?));
            ends.push(End { target, at_ms, keep_until_ms: until_s.saturating_mul(1000) });
        }
    }
    Ok(ends)
}

/// Stores ends of leases and marks the leases.
pub(crate) async fn insert_all(db: &mut Db, ends: &[End], by: Revoker, notes: &mut Notes) -> Result<(), Error> {
    for end in ends {
        // One that somebody else ended meanwhile stays ended by them.
        query("UPDATE leases SET revoked_ms = ?, revoked_by = ? WHERE id = ? AND revoked_ms IS NULL")
            .bind(end.at_ms)
            .bind(by.by.to_bytes())
            .bind(end.target.bytes().to_vec())
            .execute(&mut *db)
            .await
            .map_err(failed)?;
        insert(&mut *db, *end, None, by, notes).await?;
    }
    Ok(())
}
