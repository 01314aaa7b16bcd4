//! The pages of the ledger, and how they become the index of leases.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest;
use futures::TryStreamExt;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments, AssertSqlSafe};
use valetkey_core::Error;
use valetkey_core::id::{AccountId, LeaseId};

use crate::sqlite::ends::Ends;
use crate::sqlite::entry::{self, Entry, Issued, LongScope, Opened};
use crate::sqlite::failed;
use crate::sqlite::rows::{self, count, signed};

/// Leases inserted with one statement.
const ROWS: usize = 32;

/// The last page.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Head {
    pub(crate) seq: i64,
    pub(crate) hash: Vec<u8>,
}

impl Head {
    /// The head that a page makes of this one.
    pub(crate) fn next(&self, body: &[u8]) -> Self {
        Self { seq: self.seq + 1, hash: hash(&self.hash, body).to_vec() }
    }
}

/// The hash of a page: it binds the page to the one before.
pub(crate) fn hash(before: &[u8], body: &[u8]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(before);
    context.update(body);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

/// What an account's entries in a page change of its credits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Charge {
    /// Taken by leases; already counted as used in memory.
    pub(crate) taken: u64,
    /// Given back by voids; counted when the page is kept.
    pub(crate) returned: u64,
}

/// A page that is not kept yet.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) body: Vec<u8>,
    pub(crate) opens: u32,
    pub(crate) voids: u32,
    pub(crate) issues: u32,
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
    pub(crate) charges: HashMap<AccountId, Charge>,
    pub(crate) scopes: Vec<Arc<LongScope>>,
}

impl Page {
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries in it.
    pub(crate) fn len(&self) -> usize {
        let Self { opens, voids, issues, .. } = *self;
        [opens, voids, issues].into_iter().map(|count| usize::try_from(count).unwrap_or(usize::MAX)).sum()
    }
}

/// What was folded.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    pub(crate) opened: u64,
    pub(crate) voided: Vec<LeaseId>,
}

/// Where the ledger ends.
pub(crate) async fn head(db: &mut SqliteConnection) -> Result<Head, Error> {
    let last: Option<(i64, Vec<u8>)> = sqlx::query_as("SELECT seq, hash FROM ledger_pages ORDER BY seq DESC LIMIT 1")
        .fetch_optional(db)
        .await
        .map_err(failed)?;
    Ok(last.map(|(seq, hash)| Head { seq, hash }).unwrap_or_default())
}

/// Commits a page, with what it changes of credits and the scopes it names.
pub(crate) async fn append(db: &mut SqliteConnection, head: &Head, page: &Page) -> Result<Head, Error> {
    let next = head.next(&page.body);
    for scope in &page.scopes {
        sqlx::query("INSERT INTO scopes (digest, body) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(scope.digest.to_vec())
            .bind(scope.body.clone())
            .execute(&mut *db)
            .await
            .map_err(failed)?;
    }
    for (account, charge) in &page.charges {
        sqlx::query("UPDATE credits SET used = max(0, used + ?) WHERE account = ?")
            .bind(signed(charge.taken).saturating_sub(signed(charge.returned)))
            .bind(account.to_bytes().to_vec())
            .execute(&mut *db)
            .await
            .map_err(failed)?;
    }
    insert(&mut *db, &next, page).await?;
    Ok(next)
}

async fn insert(db: &mut SqliteConnection, head: &Head, page: &Page) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO ledger_pages (seq, first_ms, last_ms, opens, voids, issues, hash, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(head.seq)
    .bind(page.first_ms)
    .bind(page.last_ms)
    .bind(i64::from(page.opens))
    .bind(i64::from(page.voids))
    .bind(i64::from(page.issues))
    .bind(head.hash.clone())
    .bind(page.body.clone())
    .execute(db)
    .await
    .map_err(failed)?;
    Ok(())
}

/// The last page that is in the index.
pub(crate) async fn folded(db: &mut SqliteConnection) -> Result<i64, Error> {
    sqlx::query_scalar("SELECT seq FROM ledger_folded WHERE one = 1").fetch_one(db).await.map_err(failed)
}

/// The latest instant at which a lease in the index or in the pages beyond it was opened.
pub(crate) async fn newest_ms(db: &mut SqliteConnection) -> Result<i64, Error> {
    let indexed: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT max(id) FROM leases").fetch_one(&mut *db).await.map_err(failed)?;
    let paged: Option<i64> =
        sqlx::query_scalar("SELECT max(last_ms) FROM ledger_pages WHERE seq > (SELECT seq FROM ledger_folded)")
            .fetch_one(db)
            .await
            .map_err(failed)?;
    let indexed = indexed.and_then(|id| id.try_into().ok()).map(|id| LeaseId::from_bytes(id).made_ms());
    Ok(indexed.max(paged).unwrap_or(0))
}

/// Leases that are not in the index yet.
pub(crate) async fn backlog(db: &mut SqliteConnection) -> Result<u64, Error> {
    let sum: i64 = sqlx::query_scalar(
        "SELECT coalesce(sum(opens), 0) FROM ledger_pages WHERE seq > (SELECT seq FROM ledger_folded)",
    )
    .fetch_one(db)
    .await
    .map_err(failed)?;
    Ok(count(sum))
}

/// Reads the pages with leases that are not in the index yet. Those that end before `since_ms` are left out.
pub(crate) async fn unfolded(
    db: &mut SqliteConnection,
    since_ms: i64,
    mut each: impl FnMut(&[u8]),
) -> Result<(), Error> {
    let mut pages = sqlx::query_scalar::<_, Vec<u8>>(
        "SELECT body FROM ledger_pages
         WHERE seq > (SELECT seq FROM ledger_folded) AND last_ms >= ? AND opens > 0 ORDER BY seq",
    )
    .bind(since_ms)
    .fetch(db);
    while let Some(body) = pages.try_next().await.map_err(failed)? {
        each(&body);
    }
    Ok(())
}

/// The voids that are not in the index yet.
pub(crate) async fn unfolded_voids(db: &mut SqliteConnection) -> Result<Vec<LeaseId>, Error> {
    let bodies: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT body FROM ledger_pages WHERE seq > (SELECT seq FROM ledger_folded) AND voids > 0")
            .fetch_all(db)
            .await
            .map_err(failed)?;
    let voided = |entry| match entry {
        Entry::Voided(voided) => Some(voided.lease),
        Entry::Opened(_) | Entry::Issued(_) | Entry::Note(_) => None,
    };
    Ok(bodies.iter().flat_map(|body| entry::read(body).flatten().filter_map(voided).collect::<Vec<_>>()).collect())
}

/// A lease that is not in the index yet. Its id tells the millisecond, and so the page.
pub(crate) async fn find(db: &mut SqliteConnection, id: LeaseId) -> Result<Option<Opened>, Error> {
    let bodies: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT body FROM ledger_pages
         WHERE last_ms >= ?1 AND first_ms <= ?1 AND seq > (SELECT seq FROM ledger_folded)",
    )
    .bind(id.made_ms())
    .fetch_all(db)
    .await
    .map_err(failed)?;
    let mine = |entry| match entry {
        Entry::Opened(opened) if opened.id == id => Some(opened),
        Entry::Opened(_) | Entry::Issued(_) | Entry::Voided(_) | Entry::Note(_) => None,
    };
    Ok(bodies.iter().find_map(|body| entry::read(body).flatten().find_map(mine)))
}

/// What came of a lease that is not in the index yet, or of which that is not. It is kept soon after the lease: a store that is
/// asked for longer than this was given up.
pub(crate) async fn find_issued(db: &mut SqliteConnection, lease: LeaseId) -> Result<Option<Issued>, Error> {
    const SOON_MS: i64 = 300_000;
    let bodies: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT body FROM ledger_pages
         WHERE issues > 0 AND last_ms >= ?1 AND first_ms <= ?1 + ?2 AND seq > (SELECT seq FROM ledger_folded)",
    )
    .bind(lease.made_ms())
    .bind(SOON_MS)
    .fetch_all(db)
    .await
    .map_err(failed)?;
    let mine = |entry| match entry {
        Entry::Issued(issued) if issued.lease == lease => Some(issued),
        Entry::Opened(_) | Entry::Issued(_) | Entry::Voided(_) | Entry::Note(_) => None,
    };
    Ok(bodies.iter().find_map(|body| entry::read(body).flatten().find_map(mine)))
}

/// Folds pages with about so many leases, at least one; nothing if all are folded.
pub(crate) async fn fold(db: &mut SqliteConnection, leases: u32) -> Result<Option<Slice>, Error> {
    let from = folded(&mut *db).await?;
    let heads: Vec<(i64, i64, i64)> =
        sqlx::query_as("SELECT seq, opens, first_ms FROM ledger_pages WHERE seq > ? ORDER BY seq LIMIT 256")
            .bind(from)
            .fetch_all(&mut *db)
            .await
            .map_err(failed)?;
    let (mut to, mut sum, mut first) = (from, 0, i64::MAX);
    for (seq, opens, first_ms) in heads {
        if to > from && sum + opens > i64::from(leases) {
            break;
        }
        (to, sum, first) = (seq, sum + opens, first.min(first_ms));
    }
    if to == from {
        return Ok(None);
    }
    let bodies: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT seq, body FROM ledger_pages WHERE seq > ? AND seq <= ? ORDER BY seq")
            .bind(from)
            .bind(to)
            .fetch_all(&mut *db)
            .await
            .map_err(failed)?;
    let ends = Ends::since(&mut *db, first).await?;
    let mut opened = Vec::new();
    let (mut voided, mut issued) = (Vec::new(), Vec::new());
    for (seq, body) in &bodies {
        for entry in entry::read(body) {
            match entry {
                Some(Entry::Opened(one)) => opened.push(one),
                Some(Entry::Voided(one)) => voided.push(one),
                Some(Entry::Issued(one)) => issued.push(one),
                Some(Entry::Note(_)) => {}
                // The page stays as it is, for `verify_ledger` to name; the index goes on without the rest of it.
                None => tracing::error!(ledger.page = seq, "a page of the ledger does not parse"),
            }
        }
    }
    for rows in opened.chunks(ROWS) {
        insert_leases(&mut *db, rows, &ends).await?;
    }
    for rows in issued.chunks(ROWS) {
        insert_issued(&mut *db, rows).await?;
    }
    for one in &voided {
        sqlx::query("UPDATE leases SET void_kind = ? WHERE id = ?")
            .bind(one.kind.clone())
            .bind(one.lease.to_bytes().to_vec())
            .execute(&mut *db)
            .await
            .map_err(failed)?;
    }
    sqlx::query("UPDATE ledger_folded SET seq = ? WHERE one = 1").bind(to).execute(&mut *db).await.map_err(failed)?;
    Ok(Some(Slice { opened: count(sum), voided: voided.into_iter().map(|one| one.lease).collect() }))
}

async fn insert_leases(db: &mut SqliteConnection, leases: &[Opened], ends: &Ends) -> Result<(), Error> {
    let mut sql = String::from(
        "INSERT INTO leases (id, account, caller, token, storage, scope, grants, dialect, credits, opened_ms, until_s, from_addr, asked_with, revoked_ms, revoked_by) VALUES ",
    );
    let mut values = SqliteArguments::default();
    let mut bind = || -> Result<(), sqlx::error::BoxDynError> {
        for (at, lease) in leases.iter().enumerate() {
            sql.push_str(if at == 0 { "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)" } else { ",(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)" });
            let end = ends.of(lease);
            values.add(lease.id.to_bytes().to_vec())?;
            values.add(lease.account.to_bytes().to_vec())?;
            values.add(lease.caller.to_bytes().to_vec())?;
            values.add(lease.token.to_bytes().to_vec())?;
            values.add(lease.storage.to_bytes().to_vec())?;
            values.add(lease.scope.clone())?;
            values.add(lease.grants.clone())?;
            values.add(lease.dialect.clone())?;
            values.add(i64::from(lease.credits))?;
            values.add(lease.from_ms)?;
            values.add(lease.until_s)?;
            values.add(entry::address_bytes(lease.from))?;
            values.add(lease.asked_with.map(|token| token.to_bytes().to_vec()))?;
            values.add(end.map(|end| end.at.as_millisecond()))?;
            values.add(end.map(|end| end.by.to_bytes().to_vec()))?;
        }
        Ok(())
    };
    bind().map_err(|error| Error::internal("a lease could not be bound").caused_by(error))?;
    sql.push_str(" ON CONFLICT DO NOTHING");
    // Made of constants alone; the values are bound.
    sqlx::query_with(AssertSqlSafe(sql), values).execute(db).await.map_err(failed)?;
    Ok(())
}

async fn insert_issued(db: &mut SqliteConnection, issued: &[Issued]) -> Result<(), Error> {
    let mut sql = String::from("INSERT INTO issued (lease, key_id, request_id, ends_s) VALUES ");
    let mut values = SqliteArguments::default();
    let mut bind = || -> Result<(), sqlx::error::BoxDynError> {
        for (at, one) in issued.iter().enumerate() {
            sql.push_str(if at == 0 { "(?,?,?,?)" } else { ",(?,?,?,?)" });
            values.add(one.lease.to_bytes().to_vec())?;
            values.add(one.key_id.clone())?;
            values.add(one.request_id.clone())?;
            values.add(one.ends_s)?;
        }
        Ok(())
    };
    bind().map_err(|error| Error::internal("what came of a lease could not be bound").caused_by(error))?;
    sql.push_str(" ON CONFLICT DO NOTHING");
    // Made of constants alone; the values are bound.
    sqlx::query_with(AssertSqlSafe(sql), values).execute(db).await.map_err(failed)?;
    Ok(())
}

/// The bytes every id made at or after a millisecond is at or after.
pub(crate) fn first_id(ms: i64) -> Vec<u8> {
    (u128::from(rows::count(ms)) << 80).to_be_bytes().to_vec()
}
