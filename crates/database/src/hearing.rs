//! How a node stays in touch with the others: what they changed is heard of at once, asked for each second, and known before a page of
//! leases counts as written.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sqlx::postgres::PgListener;
use tokio::sync::watch;
use tokio::time::timeout;
use valetkey_core::fair::LiveNodes;
use valetkey_core::id::LeaseId;
use valetkey_core::lease::Provenance;
use valetkey_core::{Error, Kind};

use crate::database::Database;
use crate::ledger::overtaken::Changed;
use crate::memory::Touches;
use crate::sql::db::Db;
use crate::sql::entry::Opened;
use crate::sql::notes::Unsaid;
use crate::sql::{failed, nodes, pages, registry};
use crate::touch::Touch;

/// How often a node says that it is there and asks what was changed, whether or not it heard of anything.
const EVERY: Duration = Duration::from_secs(1);

/// A clock that is so far from the database's is told of: instants of all nodes are held against each other.
const SKEW_MS: i64 = 5_000;

fn silent(silence: Duration) -> Error {
    let said = format!(
        "this server has not heard from its database for {} seconds: what it knows may not be true any more",
        silence.as_secs()
    );
    Error::new(Kind::Unavailable, said).retry_after(1)
}

/// Says that the clocks are apart, or that they are right again.
fn tell_of_clocks(off: bool, skew_ms: i64) {
    if off {
        tracing::error!(
            skew_ms,
            "this machine's clock and the database server's are {skew_ms} ms apart: set them right (NTP)"
        );
    } else {
        tracing::info!(skew_ms, "this machine's clock and the database server's are together again");
    }
}

fn lost() -> Error {
    Error::new(Kind::Unavailable, "the database has lost its last changes; what is known is read again").retry_after(1)
}

impl Database {
    /// Tells when another node changed storages or their buckets, so that who serves them looks; nothing where there is no other.
    pub fn storages_elsewhere(&self) -> Option<watch::Receiver<i64>> {
        self.shared.touch.as_ref().map(|touch| touch.storages.subscribe())
    }

    /// Tells when another node removed credentials from the pool, so that what was taken out of it before is not handed out; nothing
    /// where there is no other.
    pub fn pool_elsewhere(&self) -> Option<watch::Receiver<i64>> {
        self.shared.touch.as_ref().map(|touch| touch.pool.subscribe())
    }

    /// How many nodes are live that write the same database, as of the last second.
    pub fn live_nodes(&self) -> LiveNodes {
        self.shared.touch.as_ref().map_or_else(LiveNodes::default, |touch| touch.live.clone())
    }

    /// Whether other nodes write the same database.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared.touch.is_some()
    }

    /// Refuses to vend by what was not asked for too long.
    pub(crate) fn in_touch(&self) -> Result<(), Error> {
        self.heard_within(self.shared.settings.staleness.vend)
    }

    /// Refuses what this node knows if it has not heard from the database for so long.
    pub(crate) fn heard_within(&self, longest: Duration) -> Result<(), Error> {
        match self.shared.touch.as_ref().map(Touch::silence) {
            Some(silence) if silence > longest => Err(silent(silence)),
            Some(_) | None => Ok(()),
        }
    }

    /// What other nodes changed since a change, and the last change. Everything this node keeps of it is forgotten.
    pub(crate) async fn changed_since(&self, known: i64) -> Result<(i64, Changed), Error> {
        let (last, changed) = self.read_changes(known).await?;
        self.catch_up().await?;
        Ok((last, changed))
    }

    /// Whether what another node ended has a lease that is not written yet.
    pub(crate) fn ends_already(&self, lease: &Opened) -> bool {
        let Ok(opened) = Timestamp::from_millisecond(lease.from_ms) else { return true };
        let (account, caller, token, storage) = (lease.account, lease.caller, lease.token, lease.storage);
        let ends = |id: Option<LeaseId>| {
            self.shared.revoked.ends(&Provenance { lease: id, account, caller, token, storage, opened })
        };
        ends(Some(lease.id)) || ends(None)
    }

    async fn read_changes(&self, known: i64) -> Result<(i64, Changed), Error> {
        let (since, changed) = self.ask_changes(known).await?;
        if since.last < known {
            return Err(lost());
        }
        self.shared.revoked.add(&since.ends);
        Ok((since.last, changed.0))
    }

    async fn ask_changes(&self, known: i64) -> Result<(nodes::Since, (Changed, Vec<Touches>)), Error> {
        let now_ms = self.shared.clock.now().as_millisecond();
        let mut view = self.shared.db.view().await?;
        let since = nodes::since(&mut view, known, now_ms).await?;
        view.end_view().await.map_err(failed)?;
        let own = self.shared.touch.as_ref().map(|touch| touch.seat.chain());
        let touched: Vec<Touches> = match &since.touched {
            // Its own were forgotten when they were made.
            Some(all) => {
                all.iter().filter(|(node, _)| Some(*node) != own).map(|(_, bytes)| Touches::of(bytes)).collect()
            }
            None => vec![Touches::Everything],
        };
        let mut changed = Changed::default();
        for touches in &touched {
            touches.change(&mut changed);
        }
        Ok((since, (changed, touched)))
    }

    /// Learns what other nodes changed.
    pub(crate) async fn catch_up(&self) -> Result<(), Error> {
        let Some(touch) = &self.shared.touch else { return Ok(()) };
        let _one = touch.asking.lock().await;
        let asked = Instant::now();
        let known = self.shared.queue.known();
        let (since, (changed, touched)) = self.ask_changes(known).await?;
        if since.last < known {
            return Err(lost());
        }
        // INVARIANT: first what ends. Then what is read is known with the change, before what is kept goes: what was read before is not
        // kept. And only then is what was decided before refused.
        self.shared.revoked.add(&since.ends);
        touch.as_of.fetch_max(since.last, Ordering::SeqCst);
        let storages =
            |touches: &Touches| matches!(touches, Touches::Storages | Touches::Buckets | Touches::Everything);
        let whole = touched.iter().any(storages);
        let pool = touched.iter().any(|touches| matches!(touches, Touches::Pool | Touches::Everything));
        for touches in touched {
            self.shared.memory.forget(touches);
        }
        if whole {
            let longest_ms = registry::longest_ms(&mut self.shared.db.reader().await?).await?;
            self.shared.longest_ms.fetch_max(longest_ms, Ordering::Relaxed);
        }
        self.shared.queue.overtake(since.last, &changed, self.shared.clock.now().as_millisecond());
        if whole {
            touch.storages.send_replace(since.last);
        }
        if pool {
            touch.pool.send_replace(since.last);
        }
        touch.hear(asked);
        Ok(())
    }

    /// Says how far the chain goes that this node leaves.
    pub(crate) async fn say_where_the_chain_ends(&self) -> Result<(), Error> {
        let Some(touch) = &self.shared.touch else { return Ok(()) };
        let (now_ms, head) = (self.shared.clock.now().as_millisecond(), self.shared.db.known_head());
        let told = self.told(touch, false);
        let say = async |db: &mut Db| nodes::seen(db, told, now_ms, head).await.map(drop);
        self.shared.db.turn().await.ask(say).await
    }

    /// Says that this node is there, and hears of changes, until the store stops.
    pub(crate) async fn stay_in_touch(self, own: Db) {
        let Some(touch) = &self.shared.touch else { return };
        let (mut own, mut listener) = (Some(Own { db: own, holds: true }), None);
        let mut told = false;
        // Whoever waits longer is out of touch meanwhile.
        let patience = self.shared.settings.staleness.vend.max(EVERY);
        loop {
            let heard = async {
                match &mut listener {
                    Some(listener) => PgListener::try_recv(listener).await.is_ok_and(|heard| heard.is_some()),
                    None => std::future::pending().await,
                }
            };
            let lost = tokio::select! {
                heard = heard => !heard,
                () = tokio::time::sleep(EVERY) => false,
                () = self.shared.stop.cancelled() => return,
            };
            if lost {
                listener = None;
            }
            let asked = timeout(patience, self.tell_and_ask(touch, &mut own, &mut told)).await;
            if let Err(error) = asked.unwrap_or_else(|_| Err(silent(patience))) {
                tracing::warn!(error = ?error, "the database could not be asked what other nodes changed");
                (own, listener) = (None, None);
                continue;
            }
            if listener.is_none() {
                listener = timeout(patience, self.shared.db.listener()).await.ok().and_then(Result::ok);
            }
        }
    }

    fn told<'a>(&self, touch: &'a Touch, serves: bool) -> nodes::Told<'a> {
        nodes::Told { name: &touch.name, embedded: serves && self.shared.settings.embedded }
    }

    async fn tell_and_ask(&self, touch: &Touch, own: &mut Option<Own>, told: &mut bool) -> Result<(), Error> {
        let own = match own {
            Some(own) => own,
            none => none.insert(self.own_again(touch).await?),
        };
        if !own.holds {
            own.holds = nodes::hold_chain(&mut own.db, touch.seat.chain()).await?;
        }
        let now_ms = self.shared.clock.now().as_millisecond();
        let head = self.shared.db.known_head();
        let asked = Instant::now();
        let Some(seen) = nodes::seen(&mut own.db, self.told(touch, true), now_ms, head).await? else {
            return self.take_another_chain(touch, own).await;
        };
        touch.live.set(u32::try_from(seen.live).unwrap_or(1));
        let skew_ms = now_ms.saturating_sub(seen.server_ms);
        let off = skew_ms.abs() > SKEW_MS;
        if std::mem::replace(told, off) != off {
            tell_of_clocks(off, skew_ms);
        }
        let known = self.shared.queue.known();
        if seen.change == known {
            touch.hear(asked);
            return Ok(());
        }
        if seen.change < known {
            self.go_on_after_a_loss(known).await?;
        }
        self.catch_up().await
    }

    /// Goes on with a database that lost its last changes: one that was restored, or a replica that took over too early. All nodes are
    /// told of a change that is later than any they know, and read everything anew; what they know of as ended stays so with them.
    async fn go_on_after_a_loss(&self, known: i64) -> Result<(), Error> {
        let now_ms = self.shared.clock.now().as_millisecond();
        let mut turn = self.shared.db.turn().await;
        let tell = async |db: &mut Db| {
            let change = nodes::exclude(db).await?;
            if change.before < known {
                let later = nodes::Turn { number: known + (change.number - change.before), ..change };
                nodes::tell(db, later, now_ms, Touches::Everything.bytes()).await?;
            }
            Ok(())
        };
        turn.unsaid(Unsaid::Pool, tell).await?;
        let head = turn.ask(async |db| pages::head(db).await).await?;
        turn.set_head(head);
        drop(turn);
        tracing::error!(
            "the database is older than this server remembers: leases, revocations and changes of its last moments are lost. Credentials \
             vended then still work where their end is not told again: look at the log and revoke what has to be"
        );
        metrics::counter!("vk_database_losses_total").increment(1);
        Ok(())
    }

    /// The connection by which this node has its chain, opened again. The one before may still hold it, for Postgres.
    async fn own_again(&self, touch: &Touch) -> Result<Own, Error> {
        let mut db = self.shared.db.another(&touch.seat).await?;
        if self.shared.settings.embedded && !nodes::serve_embedded(&mut db).await? {
            tracing::error!(
                "another server serves the objects of its own disk now, and only one may: stop one of them"
            );
        }
        Ok(Own { db, holds: false })
    }

    /// Goes on writing on another chain: a server that started took this one's while it was cut off.
    async fn take_another_chain(&self, touch: &Touch, own: &mut Own) -> Result<(), Error> {
        let turn = self.shared.db.turn().await;
        let chain = nodes::take_chain(&mut own.db).await?;
        let head = pages::head_of(&mut own.db, chain).await?;
        touch.seat.take(chain);
        turn.set_head(head);
        own.holds = true;
        tracing::warn!(
            "another server took this server's chain of the ledger while it was cut off: it writes another one now"
        );
        Ok(())
    }
}

/// The connection by which a node has its chain.
struct Own {
    db: Db,
    /// Whether it does: the one before may, still.
    holds: bool,
}
