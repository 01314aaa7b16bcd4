//! The pages of the ledger, and how they become the index of leases.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest;
use valetkey_core::id::{AccountId, LeaseId};
use valetkey_core::{Error, Kind};

use crate::sql::chain::Chain;
use crate::sql::db::{Db, query, query_as, query_scalar};
use crate::sql::ends::Ends;
use crate::sql::entry::{self, Entry, Issued, LongScope, Opened};
use crate::sql::rows::{self, count, signed};
use crate::sql::{failed, nodes};

/// Leases inserted with one statement.
const ROWS: usize = 32;

/// The last page.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Head {
    pub(crate) seq: i64,
    pub(crate) hash: Vec<u8>,
}

impl Head {
    /// The head of a chain without a page.
    pub(crate) fn start(chain: Chain) -> Self {
        Self { seq: chain.before(), hash: Vec::new() }
    }

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
    /// The last change of the registry that was known when its first entry came.
    pub(crate) known: i64,
}

/// Why a page was not written.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// The database failed.
    Failed(Error),
    /// Another node changed something since the page was begun: what was decided may not be right any more.
    Changed,
    /// These accounts have not as many credits left as it takes: other nodes took them.
    Short(Vec<AccountId>),
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Changed => f.write_str("another node changed something"),
            Self::Short(_) => f.write_str("other nodes took the credits"),
        }
    }
}

impl std::error::Error for Unfit {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Changed | Self::Short(_) => None,
        }
    }
}

impl valetkey_sql::Failure for Unfit {
    fn of(error: sqlx::Error) -> Self {
        Self::Failed(failed(error))
    }

    fn is_of_database(&self) -> bool {
        matches!(self, Self::Failed(error) if error.is_of_database())
    }
}

impl From<Error> for Unfit {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
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

/// Where the chain of this connection ends.
pub(crate) async fn head(db: &mut Db) -> Result<Head, Error> {
    let chain = db.chain();
    head_of(db, chain).await
}

/// Where a chain ends.
pub(crate) async fn head_of(db: &mut Db, chain: Chain) -> Result<Head, Error> {
    let last: Option<(i64, Vec<u8>)> =
        query_as("SELECT seq, hash FROM ledger_pages WHERE seq > ? AND seq < ? ORDER BY seq DESC LIMIT 1")
            .bind(chain.before())
            .bind(chain.beyond())
            .fetch_optional(db)
            .await
            .map_err(failed)?;
    Ok(last.map_or_else(|| Head::start(chain), |(seq, hash)| Head { seq, hash }))
}

/// Writes a page, with what it changes of credits and the scopes it names.
///
/// INVARIANT: whatever several nodes write is written in the same order by each, so that none waits for another in a circle.
pub(crate) async fn append(db: &mut Db, head: &Head, page: &Page) -> Result<Head, Unfit> {
    let next = head.next(&page.body);
    let mut scopes: Vec<&Arc<LongScope>> = page.scopes.iter().collect();
    scopes.sort_unstable_by_key(|scope| scope.digest);
    for scope in scopes {
        query("INSERT INTO scopes (digest, body) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(scope.digest.to_vec())
            .bind(scope.body.clone())
            .execute(&mut *db)
            .await
            .map_err(failed)?;
    }
    let mut charges: Vec<(&AccountId, &Charge)> = page.charges.iter().collect();
    charges.sort_unstable_by_key(|(account, _)| **account);
    let mut short = Vec::new();
    for (account, charge) in charges {
        let taken = query(
            "UPDATE credits SET used = CASE WHEN used + ?1 < 0 THEN 0 ELSE used + ?1 END
             WHERE account = ?2 AND (?1 <= 0 OR used + ?1 <= granted)",
        )
        .bind(signed(charge.taken).saturating_sub(signed(charge.returned)))
        .bind(account.to_bytes())
        .execute(&mut *db)
        .await
        .map_err(failed)?;
        if taken.rows_affected() == 0 && charge.taken > charge.returned {
            short.push(*account);
        }
    }
    if !short.is_empty() {
        // Which of the two comes first is of matter: what was changed may be the credits.
        if db.is_postgres() && nodes::shared(db).await? != page.known {
            return Err(Unfit::Changed);
        }
        return Err(Unfit::Short(short));
    }
    insert(&mut *db, head, &next, page).await?;
    Ok(next)
}

async fn insert(db: &mut Db, before: &Head, head: &Head, page: &Page) -> Result<(), Unfit> {
    // The page before is there, unless the database lost it: it was restored, or a replica took over too early.
    const INSERT: &str = "INSERT INTO ledger_pages (seq, first_ms, last_ms, opens, voids, issues, hash, body)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
         WHERE (?9 = 1 OR EXISTS (SELECT 1 FROM ledger_pages WHERE seq = ?1 - 1 AND hash = ?10))";
    let several = db.is_postgres();
    let (row, holder) = (db.chain().row(), db.holder());
    let insert =
        if several { query(format!("{INSERT} AND {}", nodes::unchanged("?11", "?12", "?13"))) } else { query(INSERT) };
    let insert = insert
        .bind(head.seq)
        .bind(page.first_ms)
        .bind(page.last_ms)
        .bind(i64::from(page.opens))
        .bind(i64::from(page.voids))
        .bind(i64::from(page.issues))
        .bind(head.hash.clone())
        .bind(page.body.clone())
        .bind(i64::from(before.hash.is_empty()))
        .bind(before.hash.clone());
    let insert = if several { insert.bind(page.known).bind(row).bind(holder) } else { insert };
    let done = insert.execute(&mut *db).await.map_err(failed)?;
    if done.rows_affected() > 0 {
        return Ok(());
    }
    if several && nodes::shared(db).await? != page.known {
        return Err(Unfit::Changed);
    }
    Err(Error::new(Kind::Unavailable, "the last page of the ledger is not there any more").retry_after(1).into())
}

/// The last page of a chain that is in the index.
pub(crate) async fn folded(db: &mut Db, chain: Chain) -> Result<i64, Error> {
    query_scalar("SELECT seq FROM ledger_folded WHERE one = ?").bind(chain.row()).fetch_one(db).await.map_err(failed)
}

/// The latest instant at which a lease in the index or in the pages beyond it was opened.
pub(crate) async fn newest_ms(db: &mut Db) -> Result<i64, Error> {
    let indexed: Option<Vec<u8>> = query_scalar("SELECT id FROM leases ORDER BY id DESC LIMIT 1")
        .fetch_optional(&mut *db)
        .await
        .map_err(failed)?;
    let paged: Option<i64> =
        query_scalar("SELECT max(last_ms) FROM unfolded_pages").fetch_one(db).await.map_err(failed)?;
    let indexed = indexed.and_then(|id| id.try_into().ok()).map(|id| LeaseId::from_bytes(id).made_ms());
    Ok(indexed.max(paged).unwrap_or(0))
}

/// Leases that are not in the index yet.
pub(crate) async fn backlog(db: &mut Db) -> Result<u64, Error> {
    let sum: i64 = query_scalar("SELECT CAST(coalesce(sum(opens), 0) AS BIGINT) FROM unfolded_pages")
        .fetch_one(db)
        .await
        .map_err(failed)?;
    Ok(count(sum))
}

/// Reads the pages with leases that are not in the index yet. Those that end before `since_ms` are left out.
pub(crate) async fn unfolded(db: &mut Db, since_ms: i64, mut each: impl FnMut(&[u8])) -> Result<(), Error> {
    query_scalar::<Vec<u8>>("SELECT body FROM unfolded_pages WHERE last_ms >= ? AND opens > 0 ORDER BY seq")
        .bind(since_ms)
        .for_each(db, |body| each(&body))
        .await
        .map_err(failed)
}

/// The voids that are not in the index yet.
pub(crate) async fn unfolded_voids(db: &mut Db) -> Result<Vec<LeaseId>, Error> {
    let bodies: Vec<Vec<u8>> =
        query_scalar("SELECT body FROM unfolded_pages WHERE voids > 0").fetch_all(db).await.map_err(failed)?;
    let voided = |entry| match entry {
        Entry::Voided(voided) => Some(voided.lease),
        Entry::Opened(_) | Entry::Issued(_) | Entry::Note(_) => None,
    };
    Ok(bodies.iter().flat_map(|body| entry::read(body).flatten().filter_map(voided).collect::<Vec<_>>()).collect())
}

/// A lease that is not in the index yet. Its id tells the millisecond, and so the page.
pub(crate) async fn find(db: &mut Db, id: LeaseId) -> Result<Option<Opened>, Error> {
    let bodies: Vec<Vec<u8>> = query_scalar("SELECT body FROM unfolded_pages WHERE last_ms >= ?1 AND first_ms <= ?1")
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
pub(crate) async fn find_issued(db: &mut Db, lease: LeaseId) -> Result<Option<Issued>, Error> {
    const SOON_MS: i64 = 300_000;
    let bodies: Vec<Vec<u8>> =
        query_scalar("SELECT body FROM unfolded_pages WHERE issues > 0 AND last_ms >= ?1 AND first_ms <= ?1 + ?2")
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

/// Folds pages with about so many leases, at least one; nothing if all are folded, or if another node folds.
pub(crate) async fn fold(db: &mut Db, leases: u32) -> Result<Option<Slice>, Error> {
    if db.is_postgres() && !nodes::try_index(db).await? {
        return Ok(None);
    }
    for (chain, _) in nodes::chains(db).await? {
        if let Some(slice) = fold_chain(&mut *db, chain, leases).await? {
            return Ok(Some(slice));
        }
    }
    Ok(None)
}

async fn fold_chain(db: &mut Db, chain: Chain, leases: u32) -> Result<Option<Slice>, Error> {
    let from = folded(&mut *db, chain).await?;
    let heads: Vec<(i64, i64, i64)> =
        query_as("SELECT seq, opens, first_ms FROM ledger_pages WHERE seq > ? AND seq < ? ORDER BY seq LIMIT 256")
            .bind(from)
            .bind(chain.beyond())
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
        query_as("SELECT seq, body FROM ledger_pages WHERE seq > ? AND seq <= ? ORDER BY seq")
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
        query("UPDATE leases SET void_kind = ? WHERE id = ?")
            .bind(one.kind.clone())
            .bind(one.lease.to_bytes())
            .execute(&mut *db)
            .await
            .map_err(failed)?;
    }
    query("UPDATE ledger_folded SET seq = ? WHERE one = ?")
        .bind(to)
        .bind(chain.row())
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    Ok(Some(Slice { opened: count(sum), voided: voided.into_iter().map(|one| one.lease).collect() }))
}

async fn insert_leases(db: &mut Db, leases: &[Opened], ends: &Ends) -> Result<(), Error> {
    let rows = vec!["(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"; leases.len()].join(",");
    let mut insert = query(format!(
        "INSERT INTO leases (id, account, caller, token, storage, scope, grants, dialect, credits, opened_ms, until_s, from_addr,
             asked_with, narrowed_from, revoked_ms, revoked_by)
         VALUES {rows} ON CONFLICT DO NOTHING"
    ));
    for lease in leases {
        let end = ends.of(lease);
        insert = insert
            .bind(lease.id.to_bytes())
            .bind(lease.account.to_bytes())
            .bind(lease.caller.to_bytes())
            .bind(lease.token.to_bytes())
            .bind(lease.storage.to_bytes())
            .bind(lease.scope.clone())
            .bind(lease.grants.clone())
            .bind(lease.dialect.clone())
            .bind(i64::from(lease.credits))
            .bind(lease.from_ms)
            .bind(lease.until_s)
            .bind(entry::address_bytes(lease.from))
            .bind(lease.asked_with.map(valetkey_core::id::TokenId::to_bytes))
            .bind(lease.is_narrowed().then(|| lease.narrowed_from.clone()))
            .bind(end.map(|end| end.at.as_millisecond()))
            .bind(end.map(|end| end.by.to_bytes()));
    }
    insert.execute(db).await.map(drop).map_err(failed)
}

async fn insert_issued(db: &mut Db, issued: &[Issued]) -> Result<(), Error> {
    let rows = vec!["(?,?,?,?)"; issued.len()].join(",");
    let mut insert =
        query(format!("INSERT INTO issued (lease, key_id, request_id, ends_s) VALUES {rows} ON CONFLICT DO NOTHING"));
    for one in issued {
        insert =
            insert.bind(one.lease.to_bytes()).bind(one.key_id.clone()).bind(one.request_id.clone()).bind(one.ends_s);
    }
    insert.execute(db).await.map(drop).map_err(failed)
}

/// The bytes every id made at or after a millisecond is at or after.
pub(crate) fn first_id(ms: i64) -> Vec<u8> {
    (u128::from(rows::count(ms)) << 80).to_be_bytes().to_vec()
}
