//! Removing what nobody can ask about any more: counts, and the ledger's oldest pages with the rows made of them.

use std::collections::{BTreeMap, BTreeSet};

use valetkey_core::Error;
use valetkey_core::audit::Author;
use valetkey_core::id::{AccountId, LeaseId};

use crate::sql::chain::Chain;
use crate::sql::db::{Db, query, query_as, query_scalar};
use crate::sql::entry::{self, Entry};
use crate::sql::note::{Note, TokenNote};
use crate::sql::notes::{self, Notes};
use crate::sql::target::End;
use crate::sql::{failed, nodes, pages, rows};

/// Rows removed while the writing connection is held, about.
const SLICE: i64 = 256;

/// A checkpoint's columns, and its seal.
type CheckpointRow = (i64, Vec<u8>, i64, i64, i64, Vec<u8>);

/// A page's number, its last instant, its leases, hash and body.
pub(crate) type PageRow = (i64, i64, i64, Vec<u8>, Vec<u8>);

/// The last page that is gone: the chain goes on from it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Checkpoint {
    pub(crate) seq: i64,
    pub(crate) hash: Vec<u8>,
    /// When the last entry in what is gone was made.
    pub(crate) last_ms: i64,
    /// Pages that are gone, in all.
    pub(crate) pages: i64,
    /// Leases in them.
    pub(crate) leases: i64,
}

impl Checkpoint {
    pub(crate) fn chain(&self) -> Chain {
        Chain::of_page(self.seq)
    }

    /// What its seal covers.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let Self { seq, hash, last_ms, pages, leases } = self;
        let mut bytes = Vec::with_capacity(64);
        for number in [seq, last_ms, pages, leases] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(hash);
        bytes
    }
}

/// The checkpoint of a chain and its seal, once pages were removed.
pub(crate) async fn checkpoint(db: &mut Db, chain: Chain) -> Result<Option<(Checkpoint, Vec<u8>)>, Error> {
    let found: Option<CheckpointRow> =
        query_as("SELECT seq, hash, last_ms, pages, leases, sealed FROM ledger_swept WHERE one = ?")
            .bind(chain.row())
            .fetch_optional(db)
            .await
            .map_err(failed)?;
    Ok(found
        .map(|(seq, hash, last_ms, pages, leases, sealed)| (Checkpoint { seq, hash, last_ms, pages, leases }, sealed)))
}

/// Keeps a checkpoint in place of its chain's one before.
pub(crate) async fn keep_checkpoint(db: &mut Db, checkpoint: &Checkpoint, sealed: Vec<u8>) -> Result<(), Error> {
    query(
        "INSERT INTO ledger_swept (one, seq, hash, last_ms, pages, leases, sealed) VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (one) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, last_ms = excluded.last_ms,
             pages = excluded.pages, leases = excluded.leases, sealed = excluded.sealed",
    )
    .bind(checkpoint.chain().row())
    .bind(checkpoint.seq)
    .bind(checkpoint.hash.clone())
    .bind(checkpoint.last_ms)
    .bind(checkpoint.pages)
    .bind(checkpoint.leases)
    .bind(sealed)
    .execute(db)
    .await
    .map_err(failed)?;
    Ok(())
}

/// Removes refusals counted before an instant. Says how many rows.
pub(crate) async fn refusals(db: &mut Db, before_s: i64) -> Result<u64, Error> {
    let done = query(
        "DELETE FROM refusals WHERE minute_s < ?1 AND minute_s <=
         coalesce((SELECT minute_s FROM refusals WHERE minute_s < ?1 ORDER BY minute_s LIMIT 1 OFFSET ?2), ?1)",
    )
    .bind(before_s)
    .bind(SLICE)
    .execute(db)
    .await
    .map_err(failed)?;
    Ok(done.rows_affected())
}

/// Removes a slice of the oldest rows of an account.
macro_rules! oldest_of_account {
    ($table:literal, $second:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE account = ?1 AND ",
            $second,
            " < ?2 AND ",
            $second,
            " <= coalesce((SELECT ",
            $second,
            " FROM ",
            $table,
            " WHERE account = ?1 AND ",
            $second,
            " < ?2 ORDER BY ",
            $second,
            " LIMIT 1 OFFSET ?3), ?2)",
        )
    };
}

async fn remove_oldest(db: &mut Db, sql: &'static str, account: AccountId, before_s: i64) -> Result<u64, Error> {
    let done = query(sql).bind(account.to_bytes()).bind(before_s).bind(SLICE).execute(db).await.map_err(failed)?;
    Ok(done.rows_affected())
}

/// Removes an account's requests counted before an instant. Says how many rows.
pub(crate) async fn requests(db: &mut Db, account: AccountId, before_s: i64) -> Result<u64, Error> {
    remove_oldest(db, oldest_of_account!("requests", "second_s"), account, before_s).await
}

/// Removes an account's traffic of days before an instant. Says how many rows.
pub(crate) async fn traffic(db: &mut Db, account: AccountId, before_s: i64) -> Result<u64, Error> {
    remove_oldest(db, oldest_of_account!("traffic", "day_s"), account, before_s).await
}

/// Seconds of a quarter of an hour: what requests are added together by.
pub(crate) const QUARTER_SECS: i64 = 900;

/// The first second from one on with requests that are not added together yet.
pub(crate) async fn unfolded_second(
    db: &mut Db,
    account: AccountId,
    from_s: i64,
    before_s: i64,
) -> Result<Option<i64>, Error> {
    query_scalar(
        "SELECT second_s FROM requests WHERE account = ? AND second_s >= ? AND second_s < ? AND second_s % ? <> 0
         ORDER BY second_s LIMIT 1",
    )
    .bind(account.to_bytes())
    .bind(from_s)
    .bind(before_s)
    .bind(QUARTER_SECS)
    .fetch_optional(db)
    .await
    .map_err(failed)
}

/// Adds together some of the requests of the quarter of an hour that a second lies in. Says where to go on.
pub(crate) async fn fold_requests(db: &mut Db, account: AccountId, second_s: i64) -> Result<i64, Error> {
    let start = second_s - second_s.rem_euclid(QUARTER_SECS);
    let after: Option<i64> = query_scalar(
        "SELECT second_s FROM requests WHERE account = ? AND second_s >= ? AND second_s < ? ORDER BY second_s LIMIT 1 OFFSET ?",
    )
    .bind(account.to_bytes())
    .bind(second_s)
    .bind(start + QUARTER_SECS)
    .bind(SLICE)
    .fetch_optional(&mut *db)
    .await
    .map_err(failed)?;
    // One more than the last that is taken; a second has few rows, one for each token.
    let end = after.map_or(start + QUARTER_SECS, |after| after.max(second_s + 1));
    for sql in [
        "INSERT INTO requests (account, second_s, token, origin, count)
         SELECT account, ?2, token, origin, sum(count) FROM requests
         WHERE account = ?1 AND second_s >= ?3 AND second_s < ?4 GROUP BY account, token, origin
         ON CONFLICT (account, second_s, token, origin) DO UPDATE SET count = requests.count + excluded.count",
        "DELETE FROM requests WHERE account = ?1 AND second_s >= ?3 AND second_s < ?4 AND second_s <> ?2",
    ] {
        query(sql)
            .bind(account.to_bytes())
            .bind(start)
            .bind(second_s)
            .bind(end)
            .execute(&mut *db)
            .await
            .map_err(failed)?;
    }
    Ok(end)
}

/// Up to when what ended is over, and the longest that a lease may live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Over {
    pub(crate) over_ms: i64,
    pub(crate) longest_ms: i64,
}

/// Has the sweeping for this transaction, unless another node has it.
pub(crate) async fn try_turn(db: &mut Db) -> Result<bool, Error> {
    if db.is_postgres() { nodes::try_sweep(db).await } else { Ok(true) }
}

/// The pages right behind one that may go, some of them.
///
/// What stays: the last page of the chain, whatever is not in the index, and every page from the first on that has a lease or a
/// revocation that is not over.
pub(crate) async fn ripe(db: &mut Db, chain: Chain, after: i64, over: Over) -> Result<Vec<PageRow>, Error> {
    let Over { over_ms, longest_ms } = over;
    let (head, folded) = (pages::head_of(&mut *db, chain).await?.seq, pages::folded(&mut *db, chain).await?);
    let lasting: Option<i64> = query_scalar("SELECT min(at_ms) FROM revocations WHERE keep_until_ms > ?")
        .bind(over_ms)
        .fetch_one(&mut *db)
        .await
        .map_err(failed)?;
    let mut found: Vec<PageRow> = query_as(
        "SELECT seq, last_ms, opens, hash, body FROM ledger_pages WHERE seq > ? AND seq < ? AND seq <= ? ORDER BY seq LIMIT 16",
    )
    .bind(after)
    .bind(head)
    .bind(folded)
    .fetch_all(db)
    .await
    .map_err(failed)?;
    let mut next = after;
    let many = found.iter().take_while(|(seq, last_ms, _, _, body)| {
        next += 1;
        // A page that does not follow what is gone is for `verify` to name.
        *seq == next
            && last_ms.saturating_add(longest_ms) < over_ms
            && lasting.is_none_or(|at_ms| *last_ms < at_ms)
            && entry::glances(body).all(|glance| glance.until_s.saturating_mul(1000) < over_ms)
    });
    let many = many.count();
    found.truncate(many);
    Ok(found)
}

/// The hash of a page, if it is there.
pub(crate) async fn hash_of(db: &mut Db, seq: i64) -> Result<Option<Vec<u8>>, Error> {
    query_scalar("SELECT hash FROM ledger_pages WHERE seq = ?").bind(seq).fetch_optional(db).await.map_err(failed)
}

/// Removes some of the oldest pages of a chain that may go, none behind one, and the rows made of them. Says where the chain goes on
/// from; nothing if no page can go.
pub(crate) async fn ledger(
    db: &mut Db,
    chain: Chain,
    over: Over,
    most: i64,
    now_ms: i64,
) -> Result<Option<(Checkpoint, Notes)>, Error> {
    let before = checkpoint(db, chain).await?.map(|(checkpoint, _)| checkpoint);
    let mut at = before.clone();
    let mut gone = Vec::new();
    let mut ends = Vec::new();
    let mut tokens = BTreeMap::new();
    let after = before.as_ref().map_or(chain.before(), |at| at.seq);
    for (seq, last_ms, opens, hash, body) in ripe(db, chain, after, over).await? {
        let enough = gone.len() >= usize::try_from(SLICE).unwrap_or(usize::MAX);
        if enough || seq > most {
            break;
        }
        gone.extend(entry::glances(&body).filter_map(|glance| glance.read()));
        for entry in entry::read(&body).flatten() {
            match entry {
                Entry::Note(Note::Ended(end, _)) => ends.push(end),
                // What a token is counts as long as the token is there: it is said again, by the number of the page that goes.
                Entry::Note(Note::Token(token)) => {
                    let of_page = token.of_page.unwrap_or(seq);
                    let kept = tokens.entry(token.id).or_insert((of_page, token.state));
                    if of_page >= kept.0 {
                        *kept = (of_page, token.state);
                    }
                }
                Entry::Opened(_)
                | Entry::Issued(_)
                | Entry::Voided(_)
                | Entry::Note(Note::Changed(_) | Note::Covers { .. }) => {}
            }
        }
        at = Some(Checkpoint {
            seq,
            hash,
            last_ms: at.as_ref().map_or(last_ms, |at| at.last_ms.max(last_ms)),
            pages: at.as_ref().map_or(0, |at| at.pages) + 1,
            leases: at.as_ref().map_or(0, |at| at.leases) + opens,
        });
    }
    let Some(at) = at.filter(|at| before.as_ref() != Some(at)) else { return Ok(None) };
    remove(db, gone.iter().map(|lease| lease.id), &at, &ends).await?;
    let unfolded: Option<i64> =
        query_scalar("SELECT 1 FROM unfolded_pages LIMIT 1").fetch_optional(&mut *db).await.map_err(failed)?;
    if unfolded.is_none() {
        // Otherwise a page that the index does not know may name one.
        let scopes: BTreeSet<&[u8]> = gone
            .iter()
            .filter(|lease| entry::scope_digest(&lease.scope).is_some())
            .map(|lease| &*lease.scope)
            .collect();
        for named in scopes {
            let Some(digest) = entry::scope_digest(named) else { continue };
            query(
                "DELETE FROM scopes WHERE digest = ?1
                 AND NOT EXISTS (SELECT 1 FROM leases WHERE scope = ?2 AND length(scope) = 33)",
            )
            .bind(digest.to_vec())
            .bind(named.to_vec())
            .execute(&mut *db)
            .await
            .map_err(failed)?;
        }
    }
    let mut notes = Notes::new(Author::SERVER, now_ms);
    let mut older = None;
    for (id, (of_page, state)) in tokens {
        let is_carried = if let Some(now) = notes::token_state(&mut *db, id).await? {
            // Of what it was before it was changed nothing is said again: the page that says what it is now may go before that would.
            now == state
        } else {
            // Its row is gone, and so is what was said of it, once no chain has anything older to say.
            let older = match older {
                Some(older) => older,
                None => *older.insert(is_noted_before(&mut *db, chain, at.last_ms).await?),
            };
            older && state.is_over(now_ms)
        };
        if !is_carried {
            continue;
        }
        notes.carry_token(&TokenNote { id, of_page: Some(of_page), state });
    }
    Ok(Some((at, notes)))
}

/// Whether another chain has notes that are no later than an instant.
async fn is_noted_before(db: &mut Db, chain: Chain, last_ms: i64) -> Result<bool, Error> {
    let found: Option<i64> = query_scalar(
        "SELECT 1 FROM ledger_pages WHERE notes > 0 AND first_ms <= ? AND NOT (seq > ? AND seq < ?) LIMIT 1",
    )
    .bind(last_ms)
    .bind(chain.before())
    .bind(chain.beyond())
    .fetch_optional(db)
    .await
    .map_err(failed)?;
    Ok(found.is_some())
}

async fn remove(
    db: &mut Db,
    leases: impl Iterator<Item = LeaseId>,
    at: &Checkpoint,
    ends: &[End],
) -> Result<(), Error> {
    for id in leases {
        for sql in [
            "DELETE FROM leases WHERE id = ?",
            "DELETE FROM issued WHERE lease = ?",
            "DELETE FROM lease_uses WHERE lease = ?",
        ] {
            query(sql).bind(id.to_bytes()).execute(&mut *db).await.map_err(failed)?;
        }
    }
    query("DELETE FROM ledger_pages WHERE seq > ? AND seq <= ?")
        .bind(at.chain().before())
        .bind(at.seq)
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    // With the pages that say them, and those are over.
    for End { target, at_ms, keep_until_ms: _ } in ends {
        query("DELETE FROM revocations WHERE kind = ? AND target = ? AND at_ms = ?")
            .bind(i64::from(target.kind()))
            .bind(target.bytes().to_vec())
            .bind(*at_ms)
            .execute(&mut *db)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

/// Every account.
pub(crate) async fn accounts(db: &mut Db) -> Result<Vec<AccountId>, Error> {
    let found: Vec<Vec<u8>> = query_scalar("SELECT id FROM accounts").fetch_all(db).await.map_err(failed)?;
    found.iter().map(|id| rows::id(id).map(AccountId::from_bytes)).collect()
}
