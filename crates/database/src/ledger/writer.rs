//! The one who writes pages: takes everything that waits, commits it as one row, wakes everybody in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use valetkey_core::Error;

use crate::database::Database;
use crate::ledger::group::Outcome;
use crate::ledger::overtaken::LeftOut;
use crate::ledger::queue::Waiting;
use crate::settings::LedgerMode;
use crate::sql::entry::Opened;
use crate::sql::notes::Turn;
use crate::sql::pages::{self, Head, Page, Unfit};

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

async fn write(database: &Database, waiting: &Arc<Waiting>) {
    let queue = &database.shared.queue;
    let mut waiting = Arc::clone(waiting);
    metrics::gauge!("vk_ledger_queue").set(f64::from(u32::try_from(waiting.page.len()).unwrap_or(u32::MAX)));
    metrics::histogram!("vk_ledger_group_size")
        .record(f64::from(u32::try_from(waiting.page.len()).unwrap_or(u32::MAX)));
    let mut tries = 0u32;
    loop {
        // Whoever waits has waited long enough already.
        if database.in_touch().is_err() {
            queue.finish(&waiting, Outcome::Lost);
            return;
        }
        let started = Instant::now();
        let mut turn = database.shared.db.turn().await;
        if waiting.page.is_empty() {
            queue.finish(&waiting, Outcome::Kept);
            return;
        }
        let result = append(&mut turn, &waiting.page).await;
        metrics::histogram!("vk_ledger_commit_seconds").record(started.elapsed().as_secs_f64());
        let failed = match result {
            Ok(next) => {
                turn.set_head(next);
                let opens = u64::from(waiting.page.opens);
                database.shared.backlog.fetch_add(opens, std::sync::atomic::Ordering::Relaxed);
                queue.finish(&waiting, Outcome::Kept);
                return;
            }
            Err(Unfit::Short(accounts)) => {
                let short =
                    |lease: &Opened| (lease.credits > 0 && accounts.contains(&lease.account)).then_some(LeftOut::Short);
                waiting = queue.leave_out(&waiting, waiting.page.known, short);
                continue;
            }
            // Those whose right was changed since are left out; the others are as good as before.
            Err(Unfit::Changed) => match database.changed_since(waiting.page.known).await {
                Ok((last, changed)) => {
                    let wrong = |lease: &Opened| {
                        (changed.concerns(lease) || database.ends_already(lease)).then_some(LeftOut::Overtaken)
                    };
                    waiting = queue.leave_out(&waiting, last, wrong);
                    continue;
                }
                Err(error) => error,
            },
            Err(Unfit::Failed(error)) => error,
        };
        metrics::counter!("vk_ledger_failures").increment(1);
        log(&failed, &waiting.page);
        let last = match database.shared.settings.ledger {
            LedgerMode::Durable => true,
            LedgerMode::Relaxed => database.shared.stop.is_cancelled() && tries >= 20,
        };
        if last {
            queue.finish(&waiting, Outcome::Lost);
            return;
        }
        queue.stick();
        drop(turn);
        tries += 1;
        tokio::time::sleep(AGAIN).await;
    }
}

async fn append(turn: &mut Turn<'_>, page: &Page) -> Result<Head, Unfit> {
    let head = turn.head();
    let first = match turn.page(&head, page).await {
        Err(Unfit::Failed(first)) => first,
        done => return done,
    };
    // Perhaps another process wrote a page, or the last commit was reported lost and was not.
    match turn.ask(async |db| pages::head(db).await).await {
        Ok(fresh) if fresh == head.next(&page.body) => Ok(fresh),
        Ok(fresh) if fresh != head => match turn.page(&fresh, page).await {
            Err(Unfit::Failed(_)) => Err(Unfit::Failed(first)),
            done => done,
        },
        // The first error is the one that tells why.
        Ok(_) | Err(_) => Err(Unfit::Failed(first)),
    }
}

fn log(error: &Error, page: &Page) {
    tracing::error!(ledger.entries = page.len(), error = ?error, "a page of the ledger could not be written");
}
