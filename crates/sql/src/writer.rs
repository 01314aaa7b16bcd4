//! The one connection that writes, and the only place where transactions begin and end.

use std::ops::ControlFlow;
use std::sync::Arc;

use sqlx::sqlite::SqliteConnection;
use tokio::sync::{Mutex, MutexGuard};

use crate::connection::Connection;
use crate::failure::{Failure, Fault};
use crate::health::{Health, Known, Whose};

/// The one connection of this process that writes a database. Writers queue for it here and never meet `SQLITE_BUSY` of each other.
#[derive(Debug)]
pub struct Writer<C: Connection = SqliteConnection> {
    options: C::Options,
    place: Mutex<Place<C>>,
    health: Health,
    /// Held by the one trial that is being made.
    trial: Arc<Mutex<()>>,
}

/// Where the connection is while nobody uses it.
#[derive(Debug)]
struct Place<C> {
    connection: Option<C>,
    opened: u64,
}

/// The turn to write: others wait until it is dropped.
#[derive(Debug)]
pub struct Writing<'a, C: Connection = SqliteConnection> {
    writer: &'a Writer<C>,
    place: MutexGuard<'a, Place<C>>,
}

impl<C: Connection> Writer<C> {
    /// Starts with a connection that was opened with these options. Another one is opened with them when it has to be.
    pub fn new(connection: C, options: C::Options, whose: impl Into<Whose>) -> Self {
        Self {
            options,
            place: Mutex::new(Place { connection: Some(connection), opened: 1 }),
            health: Health::new(whose.into()),
            trial: Arc::default(),
        }
    }

    /// Waits for the turn to write.
    pub async fn turn(&self) -> Writing<'_, C> {
        Writing { writer: self, place: self.place.lock().await }
    }

    /// Changes the database: all of it or nothing.
    ///
    /// # Errors
    /// What the change was refused with, or what the database failed with.
    pub async fn change<T, E: Failure + std::error::Error + 'static>(
        &self,
        change: impl AsyncFnOnce(&mut C) -> Result<T, E>,
    ) -> Result<T, Fault<E>> {
        self.turn().await.change(change).await
    }

    /// Whether writing works: what the last write says, or, if that is long ago or failed, a small one made now. One
    /// trial at a time, however many ask.
    ///
    /// # Errors
    /// Why not.
    pub async fn works(&self) -> Result<(), sqlx::Error> {
        if let ControlFlow::Break(known) = self.known() {
            return known;
        }
        let trial = Arc::clone(&self.trial).lock_owned().await;
        if let ControlFlow::Break(known) = self.known() {
            return known;
        }
        self.health.trying();
        let whose = self.health.whose().clone();
        // Whoever asks may go away; a disk that hangs still holds one thread and not one for each question.
        let room = tokio::task::spawn_blocking(move || (whose.find_room(), trial)).await;
        let (room, trial) = room.map_err(|error| sqlx::Error::Io(std::io::Error::other(error)))?;
        let done = match room {
            Ok(()) => {
                let failed = self.health.has_failed();
                let change = async |db: &mut C| {
                    if failed {
                        db.find_room().await?;
                    }
                    db.trial().await
                };
                self.change(change).await.map_err(Fault::into_error)
            }
            Err(error) => {
                let error = sqlx::Error::Io(error);
                self.health.failed(&error);
                Err(error)
            }
        };
        if done.is_ok() {
            self.health.recovered();
        }
        drop(trial);
        done
    }

    fn known(&self) -> ControlFlow<Result<(), sqlx::Error>> {
        match self.health.known() {
            Known::Works => ControlFlow::Break(Ok(())),
            Known::Fails => {
                ControlFlow::Break(Err(sqlx::Error::Io(std::io::Error::other("the last write of the database failed"))))
            }
            Known::Unknown => ControlFlow::Continue(()),
        }
    }

    /// Closes the connection; the next who writes opens another.
    pub async fn close(&self) {
        let connection = self.place.lock().await.connection.take();
        throw_away(connection).await;
    }
}

impl<C: Connection> Writing<'_, C> {
    /// Changes the database: all of it or nothing.
    ///
    /// # Errors
    /// What the change was refused with, or what the database failed with.
    pub fn change<T, E: Failure + std::error::Error + 'static>(
        &mut self,
        change: impl AsyncFnOnce(&mut C) -> Result<T, E>,
    ) -> impl Future<Output = Result<T, Fault<E>>> {
        self.change_by(Begins::Alone, change)
    }

    /// The same for something of one's own, written beside what others write.
    ///
    /// # Errors
    /// What the change was refused with, or what the database failed with.
    pub fn append<T, E: Failure + std::error::Error + 'static>(
        &mut self,
        change: impl AsyncFnOnce(&mut C) -> Result<T, E>,
    ) -> impl Future<Output = Result<T, Fault<E>>> {
        self.change_by(Begins::Beside, change)
    }

    async fn change_by<T, E: Failure + std::error::Error + 'static>(
        &mut self,
        begins: Begins,
        change: impl AsyncFnOnce(&mut C) -> Result<T, E>,
    ) -> Result<T, Fault<E>> {
        // INVARIANT: the connection is out of its place from here on, and only a good end puts it back.
        let mut connection = self.take().await.map_err(|error| self.told(Fault::Undone(E::of(error))))?;
        match attempt(&mut connection, begins, change).await {
            Ok(done) => {
                self.writer.health.kept();
                self.place.connection = Some(connection);
                Ok(done)
            }
            Err(Ended { fault, clean: true }) => {
                self.place.connection = Some(connection);
                Err(fault)
            }
            Err(Ended { fault, clean: false }) => {
                throw_away(Some(connection)).await;
                Err(self.told(fault))
            }
        }
    }

    /// Asks the connection that writes, for what only it knows or what nobody may change in between.
    ///
    /// # Errors
    /// What the question was answered with, or what the database failed with.
    pub async fn ask<T, E: Failure>(&mut self, question: impl AsyncFnOnce(&mut C) -> Result<T, E>) -> Result<T, E> {
        let mut connection = self.take().await.map_err(E::of)?;
        let answer = question(&mut connection).await;
        if answer.as_ref().is_err_and(Failure::is_of_database) || connection.is_in_transaction() {
            throw_away(Some(connection)).await;
        } else {
            self.place.connection = Some(connection);
        }
        answer
    }

    /// How many connections there were: what one says of itself (`PRAGMA data_version`) means nothing to another.
    pub fn opened(&self) -> u64 {
        self.place.opened
    }

    async fn take(&mut self) -> Result<C, sqlx::Error> {
        match self.place.connection.take() {
            Some(connection) if !connection.is_stale() => return Ok(connection),
            stale => throw_away(stale).await,
        }
        let connection = C::connect(&self.writer.options).await?;
        self.place.opened += 1;
        Ok(connection)
    }

    fn told<E: Failure + std::error::Error + 'static>(&self, fault: Fault<E>) -> Fault<E> {
        if fault.error().is_of_database() || matches!(fault, Fault::Unknown(_)) {
            self.writer.health.failed(fault.error());
        }
        fault
    }
}

/// How a transaction begins.
#[derive(Clone, Copy, Debug)]
enum Begins {
    Alone,
    Beside,
}

/// A change that did not end well. The connection is clean if it said that everything was rolled back.
struct Ended<E> {
    fault: Fault<E>,
    clean: bool,
}

async fn attempt<C: Connection, T, E: Failure>(
    connection: &mut C,
    begins: Begins,
    change: impl AsyncFnOnce(&mut C) -> Result<T, E>,
) -> Result<T, Ended<E>> {
    let started = match begins {
        Begins::Alone => connection.begin().await,
        Begins::Beside => connection.begin_beside().await,
    };
    started.map_err(|error| Ended { fault: Fault::Undone(E::of(error)), clean: false })?;
    match change(connection).await {
        Ok(done) => match connection.commit().await {
            Ok(()) => Ok(done),
            Err(error) => Err(Ended { fault: Fault::Unknown(E::of(error)), clean: false }),
        },
        Err(error) => {
            let refused = !error.is_of_database();
            let clean = connection.rollback().await.is_ok() && refused;
            Err(Ended { fault: Fault::Undone(error), clean })
        }
    }
}

/// Closes a connection. What it says no longer matters to anybody.
async fn throw_away<C: Connection>(connection: Option<C>) {
    if let Some(connection) = connection
        && let Err(error) = connection.close().await
    {
        tracing::debug!(error = %error, "a connection to the database did not close cleanly: {error}");
    }
}
