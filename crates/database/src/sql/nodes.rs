//! What nodes that share a server of Postgres tell each other: who is there, what was changed, and whose turn it is.
//!
//! INVARIANT: a change of the registry excludes every page of leases, on all nodes (`LEDGER`: pages share it, a change has it alone).
//! So a page was written either before the change, and the change finds its leases; or after it, and then the node knows that
//! something was changed before its leases count as opened.

use valetkey_core::nouns::node::Node;
use valetkey_core::{Error, Kind};
use valetkey_sql::Connection as _;

use crate::sql::chain::Chain;
use crate::sql::db::{Db, query, query_as, query_scalar};
use crate::sql::failed;
use crate::sql::target::{End, Target};

/// The locks, as Postgres numbers them; each database has its own.
const LEDGER: i64 = 0x76_6b_01;
/// The index of leases is being brought up to date, or changed.
const INDEX: i64 = 0x76_6b_02;
/// One node serves the objects that it keeps on its own disk.
const EMBEDDED: i64 = 0x76_6b_03;
/// Old pages of the ledger are being removed.
const SWEEP: i64 = 0x76_6b_04;
/// The first of those that say that a chain has its node.
const NODES: i64 = 0x76_6b_00_00_00;

/// What nodes listen to.
pub(crate) const CHANNEL: &str = "valetkey";

/// Changes are told again for so long. A node that heard nothing for longer takes everything for changed.
pub(crate) const KEPT_MS: i64 = 3_600_000;

/// A change of the registry that is being made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Turn {
    /// Its number. Each is higher than the one before by chance: a database that lost some, and counted on, is known by it.
    pub(crate) number: i64,
    /// The number of the change before.
    pub(crate) before: i64,
    /// The latest instant at which any node opened a lease.
    pub(crate) newest_ms: i64,
}

/// Waits until no node writes a page or changes anything, and has it stay so until the transaction ends.
pub(crate) async fn exclude(db: &mut Db) -> Result<Turn, Error> {
    exclude_all(db).await?;
    let (before, chance, newest_ms, holds): (i64, i64, Option<i64>, i64) = query_as(
        "SELECT coalesce(max(seq), 0), CAST(floor(random() * 1000000) AS BIGINT), (SELECT max(last_ms) FROM ledger_pages),
             (SELECT count(*) FROM nodes WHERE chain = ? AND holder = ?) FROM changes",
    )
    .bind(db.chain().row())
    .bind(db.holder())
    .fetch_one(&mut *db)
    .await
    .map_err(failed)?;
    if holds == 0 {
        return Err(lost());
    }
    let number = before + 1 + chance;
    // Revocations that are written from here on have it as theirs.
    query("SELECT set_config('valetkey.change', ?, true)")
        .bind(number.to_string())
        .execute(db)
        .await
        .map_err(failed)?;
    Ok(Turn { number, before, newest_ms: newest_ms.unwrap_or(0) })
}

async fn exclude_all(db: &mut Db) -> Result<(), Error> {
    // First the index, which takes longer: meanwhile pages are written.
    lock(db, INDEX).await?;
    lock(db, LEDGER).await
}

/// Has no node write a page or change anything for as long as this connection lives.
pub(crate) async fn keep_all(db: &mut Db) -> Result<(), Error> {
    for key in [INDEX, LEDGER] {
        query("SELECT pg_advisory_lock(?)").bind(key).execute(&mut *db).await.map_err(failed)?;
    }
    Ok(())
}

/// Another node took this one's chain while this one was cut off.
fn lost() -> Error {
    Error::new(Kind::Unavailable, "another server took this server's place in the ledger; it takes a new one")
        .retry_after(1)
}

/// Begins a transaction during which no change is made: in one round trip, since a page waits for each.
pub(super) fn begin_beside() -> String {
    format!("BEGIN; SELECT pg_advisory_xact_lock_shared({LEDGER})")
}

/// What holds, as of a statement behind [`begin_beside`], for a page that may be written: nothing was changed since the change `known`, and this
/// node has its chain. With two placeholders more.
pub(super) fn unchanged(known: &str, chain: &str, holder: &str) -> String {
    format!(
        "(SELECT coalesce(max(seq), 0) FROM changes) = {known} AND EXISTS (SELECT 1 FROM nodes WHERE chain = {chain} AND holder = {holder})"
    )
}

/// The last change, in a transaction during which none is made.
pub(crate) async fn shared(db: &mut Db) -> Result<i64, Error> {
    let (last, holds): (i64, i64) = query_as(
        "SELECT coalesce(max(seq), 0), (SELECT count(*) FROM nodes WHERE chain = ? AND holder = ?) FROM changes",
    )
    .bind(db.chain().row())
    .bind(db.holder())
    .fetch_one(db)
    .await
    .map_err(failed)?;
    if holds == 0 { Err(lost()) } else { Ok(last) }
}

/// The number of the last change.
pub(crate) async fn last_change(db: &mut Db) -> Result<i64, Error> {
    query_scalar("SELECT coalesce(max(seq), 0) FROM changes").fetch_one(db).await.map_err(failed)
}

async fn lock(db: &mut Db, key: i64) -> Result<(), Error> {
    query("SELECT pg_advisory_xact_lock(?)").bind(key).execute(db).await.map(drop).map_err(failed)
}

/// Has the index for this transaction, unless another node has it.
pub(crate) async fn try_index(db: &mut Db) -> Result<bool, Error> {
    let had: i64 =
        query_scalar("SELECT pg_try_advisory_xact_lock(?)").bind(INDEX).fetch_one(db).await.map_err(failed)?;
    Ok(had == 1)
}

/// Has the removing of old pages for this transaction, unless another node has it.
pub(crate) async fn try_sweep(db: &mut Db) -> Result<bool, Error> {
    let had: i64 =
        query_scalar("SELECT pg_try_advisory_xact_lock(?)").bind(SWEEP).fetch_one(db).await.map_err(failed)?;
    Ok(had == 1)
}

/// Has the index for this transaction.
pub(crate) async fn index(db: &mut Db) -> Result<(), Error> {
    lock(db, INDEX).await
}

/// Tells every node that something was changed, once the transaction is kept.
pub(crate) async fn tell(db: &mut Db, turn: Turn, at_ms: i64, touched: Vec<u8>) -> Result<(), Error> {
    let row = db.chain().row();
    query("INSERT INTO changes (seq, node, at_ms, touched) VALUES (?, ?, ?, ?)")
        .bind(turn.number)
        .bind(row)
        .bind(at_ms)
        .bind(touched)
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    query("SELECT pg_notify(?, ?)").bind(CHANNEL).bind(turn.number.to_string()).execute(db).await.map_err(failed)?;
    Ok(())
}

/// What was changed since a change.
#[derive(Debug)]
pub(crate) struct Since {
    /// The last change. One before what was known: the database lost some.
    pub(crate) last: i64,
    /// Which node made each, and what it touched; nothing where some of them are not kept any more, or the one that was known is not there.
    pub(crate) touched: Option<Vec<(Chain, Vec<u8>)>>,
    /// What was ended.
    pub(crate) ends: Vec<End>,
}

/// What was changed since a change, in one view.
pub(crate) async fn since(view: &mut Db, known: i64, now_ms: i64) -> Result<Since, Error> {
    let found: Vec<(i64, i64, Vec<u8>)> =
        query_as("SELECT seq, node, touched FROM changes WHERE seq >= ? ORDER BY seq")
            .bind(known)
            .fetch_all(&mut *view)
            .await
            .map_err(failed)?;
    let whole = match found.first() {
        Some((seq, ..)) => *seq == known,
        None => known == 0,
    };
    let last = match found.last() {
        Some((seq, ..)) => *seq,
        None => last_change(&mut *view).await?,
    };
    let ends: Vec<(i64, Vec<u8>, i64, i64)> = query_as(
        "SELECT kind, target, at_ms, keep_until_ms FROM revocations WHERE (change > ?1 OR ?2 = 0) AND keep_until_ms > ?3",
    )
    .bind(known)
    .bind(i64::from(whole))
    .bind(now_ms)
    .fetch_all(view)
    .await
    .map_err(failed)?;
    let end = |(kind, target, at_ms, keep_until_ms): (i64, Vec<u8>, i64, i64)| {
        Ok(End { target: Target::read(kind, &target)?, at_ms, keep_until_ms })
    };
    let ends = ends.into_iter().map(end).collect::<Result<_, Error>>()?;
    let since = found.into_iter().filter(|(seq, ..)| *seq > known);
    let touched = whole.then(|| since.map(|(_, row, touched)| (Chain::of_row(row), touched)).collect());
    Ok(Since { last, touched, ends })
}

/// Forgets changes that were made before an instant, but never the last one: they are counted by it.
pub(crate) async fn forget_changes(db: &mut Db, before_ms: i64) -> Result<u64, Error> {
    query("DELETE FROM changes WHERE at_ms < ? AND seq < (SELECT max(seq) FROM changes)")
        .bind(before_ms)
        .execute(db)
        .await
        .map(super::db::Done::rows_affected)
        .map_err(failed)
}

/// Takes a chain that has no node, for as long as this connection lives, and says whose it is now. What another node wrote on it is written
/// by then, and it writes no more.
pub(crate) async fn take_chain(db: &mut Db) -> Result<Chain, Error> {
    for number in 0..Chain::MOST {
        let chain = Chain::new(number);
        if hold_chain(db, chain).await? {
            db.begin().await.map_err(failed)?;
            claim(db, chain).await?;
            db.commit().await.map_err(failed)?;
            return Ok(chain);
        }
    }
    Err(Error::new(Kind::Unavailable, format!("the database has {} nodes already", Chain::MOST)))
}

async fn claim(db: &mut Db, chain: Chain) -> Result<(), Error> {
    exclude_all(db).await?;
    query("INSERT INTO ledger_folded (one, seq) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(chain.row())
        .bind(chain.before())
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    query(
        "INSERT INTO nodes (chain, name, seen_ms, head, holder) VALUES (?, '', 0, 0, ?)
         ON CONFLICT (chain) DO UPDATE SET holder = excluded.holder",
    )
    .bind(chain.row())
    .bind(db.holder())
    .execute(db)
    .await
    .map(drop)
    .map_err(failed)
}

/// Is the one node that serves the objects of its own disk, for as long as this connection lives; `false` where another is.
pub(crate) async fn serve_embedded(db: &mut Db) -> Result<bool, Error> {
    let had: i64 = query_scalar("SELECT pg_try_advisory_lock(?)").bind(EMBEDDED).fetch_one(db).await.map_err(failed)?;
    Ok(had == 1)
}

/// Holds a chain for as long as this connection lives; `false` where another connection does.
pub(crate) async fn hold_chain(db: &mut Db, chain: Chain) -> Result<bool, Error> {
    let had: i64 =
        query_scalar("SELECT pg_try_advisory_lock(?)").bind(NODES + chain.row()).fetch_one(db).await.map_err(failed)?;
    Ok(had == 1)
}

/// A node, as it last told of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    /// The server's time, in milliseconds.
    pub(crate) server_ms: i64,
    /// The last change.
    pub(crate) change: i64,
    /// How many nodes are live, this one included.
    pub(crate) live: i64,
}

/// A node that told of itself within so long is live: it does so each second, and clocks differ by a little.
const LIVE_MS: i64 = 10_000;

/// What a node tells of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    pub(crate) name: &'a str,
    pub(crate) embedded: bool,
}

/// Says that this node is there, and how far its chain goes; nothing where the chain is not its own any more.
pub(crate) async fn seen(db: &mut Db, told: Told<'_>, now_ms: i64, head: i64) -> Result<Option<Seen>, Error> {
    let found: Option<(i64, i64, i64)> = query_as(
        "UPDATE nodes SET name = ?2, seen_ms = ?3, head = CASE WHEN head > ?4 THEN head ELSE ?4 END, version = ?7, embedded = ?8
         WHERE chain = ?1 AND holder = ?6
         RETURNING CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT), (SELECT coalesce(max(seq), 0) FROM changes),
             (SELECT count(*) + 1 FROM nodes WHERE chain <> ?1 AND seen_ms > ?5)",
    )
    .bind(db.chain().row())
    .bind(told.name.to_owned())
    .bind(now_ms)
    .bind(head)
    .bind(now_ms.saturating_sub(LIVE_MS))
    .bind(db.holder())
    .bind(VERSION.to_owned())
    .bind(i64::from(told.embedded))
    .fetch_optional(db)
    .await
    .map_err(failed)?;
    Ok(found.map(|(server_ms, change, live)| Seen { server_ms, change, live }))
}

/// The version of this server.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A node's chain, name, version, when it was heard of, the last page it told of, by what it is known, and whether it serves its own objects.
type NodeRow = (i64, String, String, i64, i64, Vec<u8>, i64);

/// The nodes there are and were, by their chains.
pub(crate) async fn list(db: &mut Db, own: Chain, now_ms: i64) -> Result<Vec<Node>, Error> {
    let found: Vec<NodeRow> =
        query_as("SELECT chain, name, version, seen_ms, head, holder, embedded FROM nodes ORDER BY chain")
            .fetch_all(db)
            .await
            .map_err(failed)?;
    let node = |(row, name, version, seen_ms, head, holder, embedded): NodeRow| Node {
        id: holder.try_into().ok(),
        name: name.into(),
        version: version.into(),
        heard: jiff::Timestamp::from_millisecond(seen_ms).ok().filter(|_| seen_ms > 0),
        live: seen_ms > now_ms.saturating_sub(LIVE_MS),
        this: Chain::of_row(row) == own,
        chain: u32::try_from(row).unwrap_or(0),
        head: u64::try_from(head).unwrap_or(0),
        embedded: embedded != 0,
    };
    Ok(found.into_iter().map(node).collect())
}

/// The chains whose nodes were not heard of for so long that nobody writes them. A file of SQLite has one node: the others' came with
/// a copy.
pub(crate) async fn left(db: &mut Db, before_ms: i64) -> Result<Vec<Chain>, Error> {
    let left = if db.is_postgres() {
        query_scalar("SELECT chain FROM nodes WHERE seen_ms < ? ORDER BY chain").bind(before_ms)
    } else {
        query_scalar("SELECT one FROM ledger_folded WHERE one <> ? ORDER BY one").bind(Chain::default().row())
    };
    let found: Vec<i64> = left.fetch_all(db).await.map_err(failed)?;
    Ok(found.into_iter().map(Chain::of_row).collect())
}

/// The chains there are, each with the page that it goes to at least.
pub(crate) async fn chains(db: &mut Db) -> Result<Vec<(Chain, i64)>, Error> {
    let chains = query_as(if db.is_postgres() {
        "SELECT f.one, n.head FROM ledger_folded f LEFT JOIN nodes n ON n.chain = f.one ORDER BY f.one"
    } else {
        "SELECT one, NULL FROM ledger_folded ORDER BY one"
    });
    let found: Vec<(i64, Option<i64>)> = chains.fetch_all(db).await.map_err(failed)?;
    Ok(found.into_iter().map(|(row, head)| (Chain::of_row(row), head.unwrap_or(0))).collect())
}
