//! What happened is told once, in order, and never silently left out; one process at a time sends it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod support;

use std::sync::Arc;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::account::Metering;
use valetkey_core::error::Noun;
use valetkey_core::lease::{Refusal, Revocation};
use valetkey_core::nouns::trail::{Cursor, Event, From, Sender, TURN, Trail, What};
use valetkey_core::nouns::usage::{Period, RequestFilter};
use valetkey_core::time::{Clock, Entropy};
use valetkey_core::{Kind, Secret};
use valetkey_database::{Database, Server, Settings};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::Bench;
use valetkey_testkit::contract::bench::{ask, by, new_grant, reads};

struct Shelf {
    folder: tempfile::TempDir,
    url: Option<String>,
    clock: Arc<FixedClock>,
}

impl Shelf {
    async fn new(postgres: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = if postgres { Some(support::new_database(folder.path()).await) } else { None };
        Self { folder, url, clock: Arc::default() }
    }

    async fn open(&self, seed: u64) -> (Database, Bench) {
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(seed));
        let clock = Arc::<FixedClock>::clone(&self.clock) as Arc<dyn Clock>;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let settings = Settings { node: format!("node {seed}"), ..Settings::default() };
        let file = self.folder.path().join("valetkey.db");
        let opened = match &self.url {
            None => Database::open(&file, settings, clock, Arc::clone(&entropy), tasks, stop).await,
            Some(url) => {
                let server = Server::new(&Secret::new(url.clone()), None, 4, file).unwrap();
                Database::open(server, settings, clock, Arc::clone(&entropy), tasks, stop).await
            }
        };
        let database = opened.unwrap();
        let bench = Bench::of(&Arc::new(database.clone()), Arc::clone(&self.clock), entropy, Box::new(()));
        (database, bench)
    }
}

/// All events from a place on, asked for so many at a time.
async fn read(trail: &Database, from: &Cursor, limit: u32) -> (Vec<Event>, Cursor) {
    let (mut all, mut next) = (Vec::new(), from.clone());
    loop {
        let told = trail.events(&next, limit).await.unwrap();
        all.extend(told.events);
        if told.next == next && !told.more {
            return (all, next);
        }
        assert_ne!(told.next, next, "it says that there is more, and goes no further");
        next = told.next.to_string().parse().unwrap();
    }
}

async fn told_once(postgres: bool) {
    let shelf = Shelf::new(postgres).await;
    let (database, bench) = shelf.open(3).await;
    let tenant = bench.tenant("acme", Metering::Free).await;
    let begin = database.latest().await.unwrap();
    let first = bench.open(&tenant).await.unwrap();
    let second = bench.open(&tenant).await.unwrap();
    let refusal = Refusal {
        account: Some(tenant.account.id),
        caller: Some(tenant.caller),
        from: "192.0.2.7".parse().ok(),
        dialect: "native",
        kind: Kind::Forbidden,
    };
    for _ in 0..3 {
        bench.ledger.refused(refusal.clone(), bench.now());
    }
    bench.registry.revoke(Revocation::Lease(first.id), by(&tenant, bench.now())).await.unwrap();

    let (events, after) = read(&database, &begin, 1000).await;
    let opened: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.what {
            What::Opened(opened) => Some(opened.lease.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(opened, [first.clone(), second]);
    let ended = |event: &Event| matches!(&event.what, What::Ended { noun: Noun::Lease, id, .. } if **id == first.id.to_string());
    assert_eq!(events.iter().filter(|event| ended(event)).count(), 1);
    let refused = |event: &Event| matches!(&event.what, What::Refused(_));
    assert!(!events.iter().any(refused), "its minute is not over");

    // A place in any answer goes on there; events are the same however they are asked for.
    for limit in [1, 2, 3] {
        assert_eq!(read(&database, &begin, limit).await, (events.clone(), after.clone()));
    }
    let mut ids: Vec<_> = read(&database, &Cursor::default(), 2).await.0.into_iter().map(|event| event.id).collect();
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "two events have one id");
    assert!(count > events.len());

    bench.clock.advance_secs(300);
    // Counts are written before they are asked for.
    let period = Period { from: bench.now(), to: bench.now(), zone: TimeZone::UTC };
    let filter = RequestFilter { account: tenant.account.id, token: None, origin: None };
    bench.usage.requests_by_day(&filter, &period).await.unwrap();
    let (more, after) = read(&database, &after, 1).await;
    let [Event { what: What::Refused(one), .. }] = &*more else { panic!("{more:?}") };
    assert_eq!((one.account, one.caller, one.from), (refusal.account, refusal.caller, refusal.from));
    assert_eq!((&*one.dialect, &*one.kind, one.count), ("native", "forbidden", 3));
    assert_eq!(read(&database, &after, 1).await.0, []);
}

#[tokio::test]
async fn everything_is_told_once_however_it_is_asked_for() {
    told_once(false).await;
}

#[tokio::test]
async fn everything_is_told_once_at_a_server() {
    told_once(true).await;
}

#[tokio::test]
async fn pages_that_are_gone_are_said_to_be() {
    let shelf = Shelf::new(true).await;
    let (database, bench) = shelf.open(3).await;
    let tenant = bench.tenant("acme", Metering::Free).await;
    let begin = database.latest().await.unwrap();
    let mut leases = Vec::new();
    for _ in 0..3 {
        leases.push(bench.open(&tenant).await.unwrap());
    }
    let [page] = &*begin.chains else { panic!("{begin:?}") };
    let mut db = PgConnection::connect(shelf.url.as_ref().unwrap()).await.unwrap();
    let sql = format!("DELETE FROM ledger_pages WHERE seq >= {} AND seq < {}", page.page, page.page + 2);
    assert_eq!(sqlx::query(AssertSqlSafe(sql)).execute(&mut db).await.unwrap().rows_affected(), 2);
    let (events, _) = read(&database, &begin, 1000).await;
    let [Event { what: What::Missing { from, to }, .. }, Event { what: What::Opened(last), .. }] = &*events else {
        panic!("{events:?}")
    };
    assert_eq!((*from, *to, last.lease.id), (page.page, page.page + 1, leases[2].id));
}

#[tokio::test]
async fn one_server_sends_at_a_time_and_another_takes_over() {
    let shelf = Shelf::new(true).await;
    let (one, _bench) = shelf.open(3).await;
    let (two, bench) = shelf.open(4).await;
    let (first, second) = (Sender([1; 16]), Sender([2; 16]));
    let now = bench.now();
    let begin = one.take_turn("file", first, From::Now, now).await.unwrap().unwrap();
    assert_eq!(two.take_turn("file", second, From::Now, now).await.unwrap(), None);
    assert!(two.take_turn("webhook", second, From::Start, now).await.unwrap() == Some(Cursor::default()));
    let tenant = bench.tenant("acme", Metering::Free).await;
    bench.open(&tenant).await.unwrap();
    let told = one.events(&begin, 1000).await.unwrap();
    assert!(one.sent("file", first, &told.next).await.unwrap());
    assert!(!two.sent("file", second, &begin).await.unwrap(), "it is not its turn");
    let later = now.checked_add(TURN).unwrap();
    assert_eq!(two.take_turn("file", second, From::Now, later).await.unwrap(), Some(told.next.clone()));
    assert!(!one.sent("file", first, &begin).await.unwrap(), "its turn is over");
    assert_eq!(one.take_turn("file", first, From::Now, later).await.unwrap(), None);
    // A turn that a clock took which was a year ahead.
    let ahead = now.checked_add(SignedDuration::from_hours(24 * 365)).unwrap();
    assert!(one.take_turn("syslog", first, From::Now, ahead).await.unwrap().is_some());
    assert!(two.take_turn("syslog", second, From::Now, now).await.unwrap().is_some());
    assert_eq!(one.take_turn("syslog", first, From::Now, now).await.unwrap(), None);
}

/// A process that was killed has no turn to wait for where there is no other.
#[tokio::test]
async fn a_server_that_starts_again_goes_on_at_once() {
    let shelf = Shelf::new(false).await;
    let (database, bench) = shelf.open(3).await;
    let (first, second) = (Sender([1; 16]), Sender([2; 16]));
    let begin = database.take_turn("file", first, From::Now, bench.now()).await.unwrap().unwrap();
    let tenant = bench.tenant("acme", Metering::Free).await;
    bench.open(&tenant).await.unwrap();
    assert_eq!(database.take_turn("file", second, From::Start, bench.now()).await.unwrap(), Some(begin.clone()));
    let told = database.events(&begin, 1000).await.unwrap();
    assert!(!told.events.is_empty() && database.sent("file", second, &told.next).await.unwrap());
    assert_eq!(database.take_turn("file", second, From::Start, bench.now()).await.unwrap(), Some(told.next));
}

/// A database as it was before some leases, in which others are opened since.
async fn put_back(shelf: &Shelf, database: Database, before: &[u8]) -> (Database, Bench) {
    database.close().await.unwrap();
    let file = shelf.folder.path().join("valetkey.db");
    for beside in ["valetkey.db-wal", "valetkey.db-shm"] {
        drop(std::fs::remove_file(shelf.folder.path().join(beside)));
    }
    std::fs::write(file, before).unwrap();
    shelf.open(9).await
}

#[tokio::test]
async fn who_read_further_than_a_database_that_was_put_back_is_told_so() {
    let shelf = Shelf::new(false).await;
    let (database, bench) = shelf.open(3).await;
    let tenant = bench.tenant("acme", Metering::Free).await;
    let early = database.latest().await.unwrap();
    database.close().await.unwrap();
    let before = std::fs::read(shelf.folder.path().join("valetkey.db")).unwrap();
    let (database, bench) = shelf.open(4).await;
    for _ in 0..3 {
        bench.open(&tenant).await.unwrap();
    }
    let (gone, after) = read(&database, &early, 1000).await;
    let half = database.events(&early, 1).await.unwrap().next;
    let (database, bench) = put_back(&shelf, database, &before).await;
    let unmarked = |cursor: &Cursor| {
        let mut cursor = cursor.clone();
        cursor.chains[0].mark = None;
        cursor
    };
    // It is not there yet; then there is another in its place.
    for cursor in [&after, &unmarked(&after)] {
        let refused = database.events(cursor, 10).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid);
        assert!(refused.message().contains("put back to an earlier state"), "{refused}");
    }
    for _ in 0..5 {
        bench.open(&tenant).await.unwrap();
    }
    for cursor in [&after, &half] {
        assert!(database.events(cursor, 10).await.unwrap_err().message().contains("put back"), "{cursor}");
    }
    // Who had not read so far goes on, and no event has the id of another.
    let (events, _) = read(&database, &early, 1000).await;
    assert!(events.len() >= 5 && !events.iter().any(|event| gone.iter().any(|other| other.id == event.id)));
    assert!(database.events(&unmarked(&after), 10).await.is_ok(), "of before it is only known how far it was");
    let elsewhere: Cursor = "1099511627777.1_r0.0".parse().unwrap();
    assert!(database.events(&elsewhere, 10).await.is_err(), "there is no such chain");
}

#[tokio::test]
async fn long_scopes_come_in_several_answers() {
    let shelf = Shelf::new(false).await;
    let (database, bench) = shelf.open(3).await;
    let tenant = bench.tenant("acme", Metering::Free).await;
    let begin = database.latest().await.unwrap();
    let folders: Vec<String> = (0..500).map(|number| format!("wide/{number:0900}")).collect();
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    let wide = new_grant(tenant.account.id, &tenant.storage, "wide", reads("lake", &folders));
    let wide = bench.registry.create_grant(wide, bench.now()).await.unwrap();
    let mut opened = Vec::new();
    for _ in 0..7 {
        let permit = bench.decide(&tenant.token, &ask(wide)).await.unwrap();
        opened.push(bench.ledger.open(&permit, None, bench.now()).await.unwrap().id);
    }
    let first = database.events(&begin, 1000).await.unwrap();
    assert!(first.more && first.events.len() < 6, "{} at once", first.events.len());
    let (events, _) = read(&database, &begin, 1000).await;
    let leases = events.iter().filter_map(|event| match &event.what {
        What::Opened(opened) => Some(opened.lease.id),
        _ => None,
    });
    assert_eq!(leases.collect::<Vec<_>>(), opened);
}
