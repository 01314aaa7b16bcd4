//! The one who writes pages: takes everything that waits, commits it as one row, wakes everybody in it.

use std::time::{Duration, Instant};

use valetkey_core::Error;

use crate::database::Database;
use crate::ledger::queue::{Outcome, Waiting};
use crate::settings::LedgerMode;
use crate::sqlite::notes::{Turn, Unsaid};
use crate::sqlite::pages::{self, Head, Page};

/// How long entries gather when nobody waits for them.
const BEHIND: Duration = Duration::from_millis(20);

/// How often a page is tried again that nobody waits for but that must not be lost.
const AGAIN: Duration = Duration::from_millis(100);

/// Writes pages until the store stops, and then what still waits.
pub(crate) async fn run(database: Database) {
    let queue = &database.shared.queue;
    loop {
        tokio::select! {
            () = queue.wake.notified() => {}
            () = database.shared.stop.cancelled() => {}
        }
        match database.shared.settings.ledger {
            LedgerMode::Durable => gather(&database).await,
            LedgerMode::Relaxed => {
                // Woken again when the queue is half full.
                tokio::select! {
                    () = tokio::time::sleep(BEHIND) => {}
                    () = queue.wake.notified() => {}
                    () = database.shared.stop.cancelled() => {}
                }
            }
        }
        while let Some(waiting) = queue.take() {
            write(&database, &waiting).await;
            match database.shared.settings.ledger {
                LedgerMode::Durable => gather(&database).await,
                // What came meanwhile has woken us again, and gathers first.
                LedgerMode::Relaxed => break,
            }
        }
        if database.shared.stop.is_cancelled() {
            // INVARIANT: closed before the last look: nobody can queue what nobody writes.
            queue.close();
            while let Some(waiting) = queue.take() {
                write(&database, &waiting).await;
            }
            return;
        }
    }
}

/// Lets everybody who is ready to run go first: what they bring shares the commit. No time is waited for; when nothing
/// more comes the page goes.
async fn gather(database: &Database) {
    let mut seen = database.shared.queue.len();
    for _ in 0..4 {
        tokio::task::yield_now().await;
        let now = database.shared.queue.len();
        if now == seen {
            return;
        }
        seen = now;
    }
}

async fn write(database: &Database, waiting: &Waiting) {
    let (queue, page) = (&database.shared.queue, &waiting.page);
    metrics::gauge!("vk_ledger_queue").set(f64::from(u32::try_from(page.len()).unwrap_or(u32::MAX)));
    metrics::histogram!("vk_ledger_group_size").record(f64::from(u32::try_from(page.len()).unwrap_or(u32::MAX)));
    let mut tries = 0u32;
    loop {
        let started = Instant::now();
        let mut turn = database.shared.db.turn().await;
        let head = turn.head();
        let mut result = append(&mut turn, &head, page).await;
        if let Err(first) = result {
            // Perhaps another process wrote a page, or the last commit was reported lost and was not.
            result = match turn.ask(async |db| pages::head(db).await).await {
                Ok(fresh) if fresh == head.next(&page.body) => Ok(fresh),
                Ok(fresh) if fresh != head => append(&mut turn, &fresh, page).await,
                // The first error is the one that tells why.
                Ok(_) | Err(_) => Err(first),
            };
        }
        metrics::histogram!("vk_ledger_commit_seconds").record(started.elapsed().as_secs_f64());
        match result {
            Ok(next) => {
                turn.set_head(next);
                database.shared.backlog.fetch_add(u64::from(page.opens), std::sync::atomic::Ordering::Relaxed);
                queue.finish(waiting, Outcome::Kept);
                return;
            }
            Err(error) => {
                metrics::counter!("vk_ledger_failures").increment(1);
                log(&error, page);
                let last = match database.shared.settings.ledger {
                    LedgerMode::Durable => true,
                    LedgerMode::Relaxed => database.shared.stop.is_cancelled() && tries >= 20,
                };
                if last {
                    queue.finish(waiting, Outcome::Lost);
                    return;
                }
                queue.stick();
            }
        }
        drop(turn);
        tries += 1;
        tokio::time::sleep(AGAIN).await;
    }
}

async fn append(turn: &mut Turn<'_>, head: &Head, page: &Page) -> Result<Head, Error> {
    turn.unsaid(Unsaid::Page, async |db| pages::append(db, head, page).await).await
}

fn log(error: &Error, page: &Page) {
    tracing::error!(ledger.entries = page.len(), error = ?error, "a page of the ledger could not be written");
}
