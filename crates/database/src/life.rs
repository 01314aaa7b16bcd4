//! The life of a store: opened once, shared by everybody, closed once; and what is done each second between.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::time::{Clock, Entropy};
use valetkey_core::{Error, Kind};

use crate::blobs::Blobs;
use crate::counter::Counter;
use crate::database::{Database, Shared};
use crate::ledger::overtaken::Changed;
use crate::ledger::queue::Queue;
use crate::ledger::writer;
use crate::memory::Memory;
use crate::owed::Debts;
use crate::reserve::Reserve;
use crate::revoked::Revoked;
use crate::settings::{LedgerMode, Settings};
use crate::sql::db::{Db, query_scalar};
use crate::sql::figures::{self, Figures};
use crate::sql::notes::{self, Turn, Unsaid};
use crate::sql::seat::Seat;
use crate::sql::{self, Sql, Whereabouts, nodes, pages, registry, revocations};
use crate::touch::Touch;

/// How often counts are written and other processes' changes are looked for.
const TICK: Duration = Duration::from_secs(1);

/// The use of credentials is written each tenth time: it changes with every request, and who asks is told all of it.
const USED_TICKS: u32 = 10;

/// In how many ticks it is looked after the reserve.
const RESERVE_TICKS: u32 = 60;

impl Database {
    /// Opens a database, making it or bringing its schema up to date where needed, and starts what runs behind it.
    ///
    /// Everything runs in `tasks` and ends when `stop` is cancelled: cancel it (or call [`Database::close`]) when no request
    /// is on its way any more, because nothing is vended after it.
    ///
    /// # Errors
    /// `Unavailable`, also for a database that a newer version wrote.
    pub async fn open(
        at: impl Into<Whereabouts>,
        settings: Settings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        let at = at.into();
        if !at.is_file() && settings.ledger == LedgerMode::Relaxed {
            let said = "`ledger.mode = \"relaxed\"` is for a server that is alone with its database: several have to be `durable`";
            return Err(Error::new(Kind::Invalid, said));
        }
        let mut holder = [0; 16];
        entropy.fill(&mut holder);
        let seat = Seat::new(holder);
        let (db, mut own) = Sql::open(&at, &seat).await?;
        if let Some(own) = &mut own
            && settings.embedded
            && !nodes::serve_embedded(own).await?
        {
            let said = "another server that shares this database serves the objects of its own disk, and only one may: give this one \
                        `s3.embedded = false`";
            return Err(Error::new(Kind::Invalid, said));
        }
        let now_ms = clock.now().as_millisecond();
        let mut turn = db.turn().await;
        let begin = async |db: &mut Db| {
            sql::holdings::write(&mut *db, &settings.holdings).await?;
            notes::cover(db, now_ms).await
        };
        turn.unsaid(Unsaid::Settings, begin).await?;
        // Before anything is read: what others write from now on is noticed.
        let version = Version::of(&mut turn).await?;
        let read = async |db: &mut Db| {
            Ok((
                pages::head(db).await?,
                pages::backlog(db).await?,
                pages::unfolded_voids(db).await?,
                pages::newest_ms(db).await?,
                revocations::lasting(db, now_ms).await?,
                registry::longest_ms(db).await?,
                if db.is_postgres() { nodes::last_change(db).await? } else { 0 },
            ))
        };
        let (head, backlog, voids, newest_ms, ended, longest_ms, known) = turn.ask(read).await?;
        turn.set_head(head.clone());
        drop(turn);
        let shared = Shared {
            db,
            queue: Queue::new(settings.queue, settings.ledger, !at.is_file()),
            touch: own.as_ref().map(|_| Touch::new(seat, settings.node.clone(), known)),
            memory: Memory::new(settings.tokens, settings.accounts),
            reserve: Reserve::beside(at.beside(), if at.is_file() { settings.reserve_bytes } else { 0 }),
            blobs: Blobs::beside(at.beside(), settings.room.clone(), tasks.clone()),
            settings,
            clock,
            entropy,
            keyring: OnceLock::new(),
            tasks,
            stop: stop.child_token(),
            revoked: Revoked::default(),
            debts: Debts::default(),
            longest_ms: AtomicI64::new(longest_ms),
            counter: Counter::default(),
            // Pages without leases are folded too.
            backlog: AtomicU64::new(backlog.max(1)),
            began: head,
            requests_folded_s: AtomicI64::new(0),
            looked_over_s: AtomicI64::new(i64::MIN),
            verifying: tokio::sync::Mutex::default(),
            running: Mutex::default(),
        };
        shared.queue.remember_voids(voids);
        shared.queue.opened_until(newest_ms);
        shared.revoked.add(&ended);
        shared.queue.overtake(known, &Changed::default(), i64::MIN);
        let database = Self { shared: Arc::new(shared) };
        let mut running = vec![
            database.shared.tasks.spawn(writer::run(database.clone())),
            database.shared.tasks.spawn(database.clone().fold_in_background()),
            database.shared.tasks.spawn(database.clone().tick(version)),
            database.shared.tasks.spawn(database.clone().sweep_in_background()),
        ];
        if let Some(own) = own {
            running.push(database.shared.tasks.spawn(database.clone().stay_in_touch(own)));
        }
        *database.shared.running.lock().unwrap_or_else(PoisonError::into_inner) = running;
        Ok(database)
    }

    /// Makes a database, or brings its schema up to date, and does nothing else.
    ///
    /// # Errors
    /// `Unavailable`, also for a database that a newer version wrote.
    pub async fn migrate(at: impl Into<Whereabouts>) -> Result<(), Error> {
        sql::migrate(&at.into()).await
    }

    /// Writes what waits and closes the database. What comes later is refused as `Unavailable`.
    ///
    /// # Errors
    /// `Unavailable` when something could not be written.
    pub async fn close(&self) -> Result<(), Error> {
        self.shared.stop.cancel();
        let running = std::mem::take(&mut *self.shared.running.lock().unwrap_or_else(PoisonError::into_inner));
        for task in running {
            task.await.map_err(|error| Error::internal("a task of the database failed").caused_by(error))?;
        }
        self.write_counts(true).await?;
        self.say_where_the_chain_ends().await?;
        self.shared.db.close().await
    }

    /// Whether the database answers and can be written: for readiness.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn ready(&self) -> Result<(), Error> {
        self.running()?;
        if self.shared.reserve.is_out() {
            let said = "the disk is full: the ledger's reserve is given up, and nothing is vended until there is room for it again";
            return Err(Error::new(Kind::Unavailable, said).retry_after(5));
        }
        let mut reader = self.reader().await?;
        pages::folded(&mut reader, self.chain()).await?;
        drop(reader);
        self.shared.db.works().await
    }

    /// A few figures for who watches the server. Bounded work: of the leases the newest are looked at.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn figures(&self, soon: Timestamp) -> Result<Figures, Error> {
        let mut reader = self.reader().await?;
        figures::count(&mut reader, self.shared.clock.now(), soon).await
    }

    async fn tick(self, mut version: Version) {
        let mut rounds = 0u32;
        loop {
            // Often, while there is none: nothing is handed out without it once it was given up.
            if rounds.is_multiple_of(RESERVE_TICKS) || self.shared.reserve.is_out() && !self.owes() {
                self.make_reserve().await;
            }
            if rounds.is_multiple_of(RESERVE_TICKS) {
                self.tell_owed();
            }
            rounds = rounds.wrapping_add(1);
            let stopping = tokio::select! {
                () = tokio::time::sleep(TICK) => false,
                () = self.shared.stop.cancelled() => true,
            };
            if let Err(error) = self.write_counts(stopping || rounds.is_multiple_of(USED_TICKS)).await {
                tracing::warn!(error = ?error, "counts could not be written; they are kept for the next time");
            }
            self.pay_debts().await;
            if stopping {
                return;
            }
            if let Err(error) = self.notice_others(&mut version).await {
                tracing::warn!(error = ?error, "other processes' changes could not be looked for");
            }
        }
    }

    /// Looks whether another process (the command line beside the server) wrote to the database, and forgets what it may
    /// have changed. SQLite counts what other connections wrote; ours only read.
    async fn notice_others(&self, version: &mut Version) -> Result<(), Error> {
        let now_ms = self.shared.clock.now().as_millisecond();
        if self.is_shared() {
            // They tell (`touch`).
            self.shared.revoked.purge(now_ms);
            // Pages of a node that is not there any more are folded too.
            self.shared.backlog.fetch_max(1, Ordering::Relaxed);
            return Ok(());
        }
        let mut turn = self.shared.db.turn().await;
        let seen = Version::of(&mut turn).await?;
        if *version != seen {
            let read = async |db: &mut Db| {
                self.shared.revoked.add(&revocations::lasting(db, now_ms).await?);
                for account in self.shared.queue.balanced() {
                    if let Some(stored) = registry::balance(db, account).await? {
                        self.shared.queue.set_balance(account, stored);
                    }
                }
                Ok(())
            };
            turn.ask(read).await?;
            self.shared.memory.forget_all();
            // Only now: what could not be read is looked for again.
            *version = seen;
        }
        self.shared.revoked.purge(now_ms);
        Ok(())
    }
}

/// Changes when another connection wrote to the database than the one that writes for us, and when that one is another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Version {
    connection: u64,
    data: i64,
}

impl Version {
    async fn of(turn: &mut Turn<'_>) -> Result<Self, Error> {
        let ask = async |db: &mut Db| {
            if db.is_postgres() {
                return Ok(0);
            }
            query_scalar("PRAGMA data_version").fetch_one(db).await.map_err(sql::failed)
        };
        let data = turn.ask(ask).await?;
        Ok(Self { connection: turn.opened(), data })
    }
}
