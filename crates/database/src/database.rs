//! The store: what everybody shares of it, and how it is changed.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::audit::Author;
use valetkey_core::keyring::SharedKeyring;
use valetkey_core::time::{Clock, Entropy};
use valetkey_core::{Error, Kind};

use crate::blobs::Blobs;
use crate::counter::Counter;
use crate::ledger::queue::Queue;
use crate::memory::{Memory, Touches};
use crate::owed::Debts;
use crate::reserve::Reserve;
use crate::revoked::Revoked;
use crate::settings::Settings;
use crate::sql::Sql;
use crate::sql::db::Db;
use crate::sql::nodes;
use crate::sql::notes::{Notes, Turn};
use crate::sql::pages::Head;
use crate::touch::Touch;

/// The embedded store: every port of the domain but the issuer. Clones share it.
#[derive(Clone)]
pub struct Database {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) db: Sql,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) queue: Queue,
    pub(crate) memory: Memory,
    pub(crate) revoked: Revoked,
    pub(crate) debts: Debts,
    /// The longest lifetime there ever was, in milliseconds: so long an end has to be remembered.
    pub(crate) longest_ms: AtomicI64,
    pub(crate) counter: Counter,
    pub(crate) blobs: Arc<Blobs>,
    pub(crate) reserve: Reserve,
    /// Seals what must not be forged in the database; known once the parent access keys are opened.
    pub(crate) keyring: OnceLock<SharedKeyring>,
    /// Leases that are not in the index yet, about.
    pub(crate) backlog: AtomicU64,
    /// Where the ledger ended when the store was opened.
    pub(crate) began: Head,
    /// Up to which second requests were added together by the quarter of an hour.
    pub(crate) requests_folded_s: AtomicI64,
    /// Whoever verifies the ledger has it.
    pub(crate) verifying: tokio::sync::Mutex<()>,
    /// When it was last looked for tokens and grants that are over.
    pub(crate) looked_over_s: AtomicI64,
    pub(crate) running: Mutex<Vec<JoinHandle<()>>>,
    /// How this node is in touch with others that write the same database.
    pub(crate) touch: Option<Touch>,
}

/// A change of the registry that is being made, and what it makes of what memory keeps.
pub(crate) type Changing<'a, T> = Pin<Box<dyn Future<Output = Result<(T, Touches), Error>> + Send + 'a>>;

impl Database {
    /// Runs a change to its end, also when whoever asked for it goes away: otherwise it could be written and not seen.
    pub(crate) async fn unbroken<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.running()?;
        match self.shared.tasks.spawn(Author::current().during(Box::pin(change))).await {
            Ok(done) => done,
            Err(error) => Err(Error::internal("a change failed").caused_by(error)),
        }
    }

    /// Changes the registry on behalf of who asks, and notes it in the ledger: all of it or nothing, and to its end also when whoever
    /// asked for it goes away.
    pub(crate) async fn administer<T: Send + 'static>(
        &self,
        change: impl for<'a> FnOnce(&'a mut Db, &'a mut Notes) -> Changing<'a, T> + Send + 'static,
    ) -> Result<T, Error> {
        self.in_touch()?;
        let database = self.clone();
        self.unbroken(async move {
            let mut turn = database.shared.db.turn().await;
            let change = async |db: &mut Db, notes: &mut Notes| change(db, notes).await;
            database.administer_in(&mut turn, change).await
        })
        .await
    }

    /// The same in a turn that one has already, as far as it is waited for.
    pub(crate) async fn administer_in<T>(
        &self,
        turn: &mut Turn<'_>,
        change: impl AsyncFnOnce(&mut Db, &mut Notes) -> Result<(T, Touches), Error>,
    ) -> Result<T, Error> {
        let notes = Notes::new(Author::current(), self.shared.clock.now().as_millisecond());
        let mut forgotten = Touches::Nothing;
        let mut told = None;
        let change = async |db: &mut Db, notes: &mut Notes| {
            if let Some(turn) = notes.turn() {
                // What ends, ends all that any node opened so far.
                self.shared.queue.opened_until(turn.newest_ms);
            }
            let (done, touches) = change(db, notes).await?;
            if let Some(turn) = notes.turn()
                && notes.says()
            {
                nodes::tell(db, turn, notes.at_ms(), touches.bytes()).await?;
                told = Some(turn);
            }
            forgotten = touches;
            Ok(done)
        };
        let done = turn.administer(notes, change).await;
        // Also where nobody knows what became of the commit.
        self.shared.memory.forget(forgotten);
        let done = done?;
        if let Some(turn) = told {
            self.shared.queue.changed(turn);
        }
        self.shared.backlog.fetch_max(1, Ordering::Relaxed);
        Ok(done)
    }

    pub(crate) fn running(&self) -> Result<(), Error> {
        if self.shared.stop.is_cancelled() {
            return Err(Error::new(Kind::Unavailable, "the server is shutting down").retry_after(1));
        }
        Ok(())
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}
