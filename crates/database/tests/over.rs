//! What ended goes from the tables once nothing on record names it, and what has to be remembered of it is remembered; on SQLite and on
//! Postgres.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use valetkey_core::account::Metering;
use valetkey_core::caller::Role;
use valetkey_core::id::TokenId;
use valetkey_core::keyring::{Keyring, SharedKeyring};
use valetkey_core::lease::{Provenance, Revoker};
use valetkey_core::nouns::identity::Identities as _;
use valetkey_core::nouns::parent::{Child, NewParent, ParentAdmin as _, ParentRecord, Parents as _, Permission};
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::nouns::share::{LinkCode, ProfileKind, ProfileLink};
use valetkey_core::port::Revocations as _;
use valetkey_core::time::{Clock, Entropy};
use valetkey_core::token::{Maker, PlainToken};
use valetkey_core::{Kind, Secret};
use valetkey_database::{Database, ParentKeys, Retention, Server, Settings, Whereabouts};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::bench::{bucket, by, name, new_grant, reads};
use valetkey_testkit::contract::{Bench, identity};

const DAY: i64 = 86_400;

/// A database that is closed and opened again.
struct Shelf {
    at: Whereabouts,
    folder: tempfile::TempDir,
    clock: Arc<FixedClock>,
    seed: u64,
}

impl Shelf {
    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { at: Whereabouts::from(&folder.path().join("valetkey.db")), folder, clock: Arc::default(), seed: 20 }
    }

    async fn postgres() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (url, beside) = (support::new_database(folder.path()).await, folder.path().join("valetkey.db"));
        let at = Server::new(&Secret::new(url), None, 4, beside).unwrap().into();
        Self { at, folder, clock: Arc::default(), seed: 20 }
    }

    async fn open(&mut self, settings: Settings) -> (Database, ParentKeys, Bench) {
        self.seed += 1;
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(self.seed));
        let clock = Arc::<FixedClock>::clone(&self.clock) as Arc<dyn Clock>;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let database =
            Database::open(self.at.clone(), settings, clock, Arc::clone(&entropy), tasks, stop).await.unwrap();
        let ring = Keyring::new(&[(1, Secret::new([1; 32]))]).unwrap();
        let keys = ParentKeys::open(&database, SharedKeyring::new(ring)).await.unwrap();
        let bench = Bench::of(&Arc::new(database.clone()), Arc::clone(&self.clock), entropy, Box::new(()));
        (database, keys, bench)
    }
}

fn kept(ended_secs: i64, ledger_secs: i64) -> Settings {
    let secs = |secs: i64| u64::try_from(secs).unwrap();
    let retention = Retention { ended_secs: secs(ended_secs), ledger_secs: secs(ledger_secs), ..Retention::default() };
    Settings { retention, ..Settings::default() }
}

async fn is_there(bench: &Bench, token: TokenId) -> bool {
    bench.registry.token_by_id(token).await.unwrap().is_some()
}

/// Sweeps until something is so: pages go once they are in the index.
async fn swept_until(database: &Database, clock: &FixedClock, mut so: impl AsyncFnMut() -> bool) {
    let waited = Instant::now();
    loop {
        database.sweep().await.unwrap();
        if so().await {
            return;
        }
        assert!(waited.elapsed() < Duration::from_secs(20), "it does not come to be");
        clock.advance_secs(7 * 3600);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Says what is wrong, if something is.
async fn assert_intact(database: &Database) {
    let verified = database.verify_ledger().await.unwrap();
    assert!(verified.intact(), "{verified:?}");
}

/// What the holder of a parent access key made.
fn child(bench: &Bench, parent: &ParentRecord, number: u32) -> Child {
    let now = bench.now().as_second();
    let claims = format!(
        r#"{{"bucket":"b{number:04}","scope":"object-read-only","sub":"{}","iss":"{}","aud":"h","iat":{now},"exp":{}}}"#,
        parent.token.account.as_hex(),
        parent.token.id.as_hex(),
        now + 900
    );
    Child::read(claims.as_bytes()).unwrap()
}

async fn parent(bench: &Bench, keys: &ParentKeys, of: &str) -> ParentRecord {
    bench.lake().await;
    let account = bench.registry.create_account(&name(of), Metering::Free, bench.now()).await.unwrap();
    let new = NewParent {
        account: account.id,
        name: name("job"),
        buckets: vec![bucket("lake")],
        permission: Permission::ObjectReadWrite,
        until: None,
        maker: Maker::Server,
    };
    keys.create_parent(new, &PlainToken::generate(&*bench.entropy), bench.now()).await.unwrap()
}

fn is_ended(database: &Database, parent: &ParentRecord, child: &Child) -> bool {
    database.is_revoked(&Provenance {
        lease: Some(child.lease()),
        account: parent.token.account,
        caller: parent.token.caller,
        token: parent.token.id,
        storage: valetkey_core::id::StorageId::from_bytes([0; 16]),
        opened: child.issued,
    })
}

async fn so_many_of_a_parents_children_are_ended(mut shelf: Shelf) {
    let settings = Settings { ended_children: 3, ..Settings::default() };
    let (database, keys, bench) = shelf.open(settings.clone()).await;
    let (own, other) = (parent(&bench, &keys, "acme").await, parent(&bench, &keys, "globex").await);
    let at = |record: &ParentRecord| Revoker { by: record.token.caller, at: shelf.clock.now() };
    for number in 0..2 {
        keys.end_child(&child(&bench, &own, number), at(&own)).await.unwrap();
    }
    database.close().await.unwrap();

    // What another process, or this one before, has ended is counted too.
    let (database, keys, bench) = shelf.open(settings.clone()).await;
    let at = |record: &ParentRecord| Revoker { by: record.token.caller, at: shelf.clock.now() };
    let third = child(&bench, &own, 2);
    keys.end_child(&third, at(&own)).await.unwrap();
    let fourth = child(&bench, &own, 3);
    let refused = keys.end_child(&fourth, at(&own)).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid, "{refused:?}");
    assert!(refused.message().contains("end the key itself"), "{refused:?}");
    assert!(is_ended(&database, &own, &third) && !is_ended(&database, &own, &fourth));
    // One that is ended is no more, and another parent's are its own.
    keys.end_child(&third, at(&own)).await.unwrap();
    keys.end_child(&child(&bench, &other, 9), at(&other)).await.unwrap();
    assert_intact(&database).await;
    database.close().await.unwrap();

    let (database, keys, bench) = shelf.open(settings).await;
    let at = |record: &ParentRecord| Revoker { by: record.token.caller, at: shelf.clock.now() };
    assert_eq!(keys.end_child(&fourth, at(&own)).await.unwrap_err().kind(), Kind::Invalid);
    // When they are over by themselves there is room again.
    shelf.clock.advance_secs(901);
    let later = child(&bench, &own, 4);
    keys.end_child(&later, at(&own)).await.unwrap();
    assert!(is_ended(&database, &own, &later));
    database.close().await.unwrap();
}

async fn what_ended_goes_when_nothing_names_it(mut shelf: Shelf) {
    let (database, keys, bench) = shelf.open(kept(10 * DAY, 30 * DAY)).await;
    let tenant = bench.tenant("acme", Metering::Free).await;
    let (account, now) = (tenant.account.id, bench.now());
    let idle = bench.registry.ensure_caller(account, &name("idle"), Role::Member, now).await.unwrap();
    let make = async |until: Option<i64>, maker| {
        let until = until.map(|secs| now + jiff::SignedDuration::from_secs(secs));
        let token = PlainToken::generate(&*bench.entropy);
        bench.registry.create_token(idle, &token, until, maker, now).await.unwrap().id
    };
    // Ended, by somebody or of itself; of a caller that vended with it; one that made another one; two that go on.
    let (alone, short, maker) =
        (make(None, Maker::Server).await, make(Some(60), Maker::Server).await, make(None, Maker::Server).await);
    let (child, lives) = (make(None, Maker::Token(maker)).await, make(None, Maker::Server).await);
    let vended = tenant.record.id;
    bench.open(&tenant).await.unwrap();
    let parent = parent(&bench, &keys, "globex").await;
    let link = ProfileLink {
        caller: idle,
        kind: ProfileKind::Bearer,
        token_lifetime: None,
        until: now + jiff::SignedDuration::from_secs(60),
        made_by: Some(alone),
        no_later: None,
    };
    let code = LinkCode::generate(&*bench.entropy).digest();
    bench.shares.create_link(&code, link, Maker::Token(alone), now).await.unwrap();
    let grant = |text| new_grant(parent.token.account, &tenant.storage, text, reads("lake", &["other"]));
    let [gone, stays] = [grant("gone"), grant("stays")];
    let gone = bench.registry.create_grant(gone, now).await.unwrap();
    let stays = bench.registry.create_grant(stays, now).await.unwrap();
    shelf.clock.advance_secs(1);
    for token in [alone, maker, vended, parent.token.id] {
        database.revoke_token(token, by(&tenant, bench.now())).await.unwrap();
    }
    bench.registry.remove_grant(parent.token.account, gone, true, by(&tenant, bench.now())).await.unwrap();
    let all = [alone, short, maker, child, lives, vended, parent.token.id];

    shelf.clock.advance_secs(9 * DAY);
    database.sweep().await.unwrap();
    for token in all {
        assert!(is_there(&bench, token).await, "nine days are not ten");
    }
    assert_intact(&database).await;
    let kept_by_the_ledger = async || {
        let mut there = Vec::new();
        for token in all {
            there.push(is_there(&bench, token).await);
        }
        there == [false, false, true, true, true, true, false]
    };
    shelf.clock.advance_secs(2 * DAY);
    // Leases that are not in the index yet keep everything.
    swept_until(&database, &shelf.clock, kept_by_the_ledger).await;
    let verified = database.verify_ledger().await.unwrap();
    assert!(verified.intact(), "{verified:?}");
    assert_eq!(keys.parents(None).await.unwrap(), [], "its seal goes with it");
    let found = bench.directory.caller_by_digest(tenant.token.digest(), bench.now()).await;
    assert!(found.is_err());
    let own = bench.registry.grants(parent.token.account).await.unwrap();
    assert!(own.iter().any(|grant| grant.id == stays) && own.iter().all(|grant| grant.id != gone));
    // What was ended may be ended again without harm, and what is gone is not there.
    let refused = database.revoke_token(alone, by(&tenant, bench.now())).await.unwrap_err();
    assert!(matches!(refused.kind(), Kind::NotFound(_)), "{refused:?}");

    // With the pages of its lease, the token that vended it.
    shelf.clock.advance_secs(31 * DAY);
    swept_until(&database, &shelf.clock, async || !is_there(&bench, vended).await).await;
    for token in [maker, child, lives] {
        assert!(is_there(&bench, token).await);
    }
    let verified = database.verify_ledger().await.unwrap();
    assert!(verified.intact() && !verified.begins.is_empty(), "{verified:?}");
    // A chain of tokens goes from its end.
    database.revoke_token(child, by(&tenant, bench.now())).await.unwrap();
    shelf.clock.advance_secs(11 * DAY);
    swept_until(&database, &shelf.clock, async || !is_there(&bench, maker).await).await;
    assert!(!is_there(&bench, child).await && is_there(&bench, lives).await);
    assert_intact(&database).await;
    database.close().await.unwrap();
    let (database, _, _) = shelf.open(kept(10 * DAY, 30 * DAY)).await;
    assert_intact(&database).await;
    database.close().await.unwrap();
}

/// Pages go one after the other: the one that says that a token was made goes long before the one that says that it was ended.
async fn a_token_that_was_ended_long_after_it_was_made_is_not_missed(mut shelf: Shelf) {
    let (database, _keys, bench) = shelf.open(kept(25 * DAY, 30 * DAY)).await;
    let tenant = bench.tenant("acme", Metering::Free).await;
    let idle = bench.registry.ensure_caller(tenant.account.id, &name("idle"), Role::Member, bench.now()).await.unwrap();
    let token = PlainToken::generate(&*bench.entropy);
    let id = bench.registry.create_token(idle, &token, None, Maker::Server, bench.now()).await.unwrap().id;
    shelf.clock.advance_secs(20 * DAY);
    database.revoke_token(id, by(&tenant, bench.now())).await.unwrap();
    let pages = async || database.verify_ledger().await.unwrap().begins.first().map_or(0, |head| head.seq);
    // The token is there, its first page is not.
    shelf.clock.advance_secs(13 * DAY);
    swept_until(&database, &shelf.clock, async || pages().await > 0).await;
    assert!(is_there(&bench, id).await);
    assert_intact(&database).await;
    shelf.clock.advance_secs(10 * DAY);
    swept_until(&database, &shelf.clock, async || !is_there(&bench, id).await).await;
    assert_intact(&database).await;
    let before = pages().await;
    shelf.clock.advance_secs(6 * DAY);
    swept_until(&database, &shelf.clock, async || pages().await > before).await;
    assert_intact(&database).await;
    database.close().await.unwrap();
}

async fn a_session_stays_as_long_as_its_identity_token(mut shelf: Shelf) {
    let (database, _keys, bench) = shelf.open(kept(1, 0)).await;
    let account = bench.registry.create_account(&name("acme"), Metering::Free, bench.now()).await.unwrap();
    let provider = valetkey_core::nouns::identity::IdentityProvider {
        rules: vec![identity::rule(1, account.id, "team=data")],
        ..identity::provider("id")
    };
    bench.identities.create_identity_provider(provider, bench.now()).await.unwrap();
    let provider = bench.identities.identity_providers().await.unwrap().first().unwrap().clone();
    // The token is good for an hour.
    let new = identity::session(&provider, "alice", r#","team":"data""#, bench.now()).unwrap();
    database.open_session(new.clone(), bench.now()).await.unwrap();
    let token = bench.directory.caller_by_digest(new.digest().0, bench.now()).await.unwrap();
    shelf.clock.advance_secs(1);
    database.revoke_token(token.token, Revoker { by: token.id, at: bench.now() }).await.unwrap();
    // It was ended more than an hour ago, and its identity token only now.
    shelf.clock.advance_secs(3605);
    database.sweep().await.unwrap();
    assert!(is_there(&bench, token.token).await);
    assert!(database.session(token.token).await.unwrap().is_some());
    shelf.clock.advance_secs(DAY);
    swept_until(&database, &shelf.clock, async || !is_there(&bench, token.token).await).await;
    assert!(database.session(token.token).await.unwrap().is_none());
    assert_intact(&database).await;
    database.close().await.unwrap();
}

#[tokio::test]
async fn where_access_is_requested_the_last_session_of_a_subject_stays() {
    let mut shelf = Shelf::sqlite();
    let (database, _keys, bench) = shelf.open(kept(1, 0)).await;
    let account = bench.registry.create_account(&name("acme"), Metering::Free, bench.now()).await.unwrap();
    let rules = vec![identity::rule(1, account.id, "team=data")];
    let provider = valetkey_core::nouns::identity::IdentityProvider { rules, ..identity::provider("id") };
    bench.identities.create_identity_provider(provider, bench.now()).await.unwrap();
    let provider = bench.identities.identity_providers().await.unwrap().first().unwrap().clone();
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let new = identity::session(&provider, "alice", r#","team":"data""#, bench.now()).unwrap();
        database.open_session(new.clone(), bench.now()).await.unwrap();
        sessions.push(bench.directory.caller_by_digest(new.digest().0, bench.now()).await.unwrap().token);
        shelf.clock.advance_secs(60);
    }
    let path = shelf.folder.path().join("valetkey.db");
    let options = SqliteConnectOptions::new().filename(path).foreign_keys(false);
    let mut raw = options.connect().await.unwrap();
    let rule = "INSERT INTO request_rules (id, name, bucket, scope, most_secs, approvers, version, made_ms)
        VALUES (x'01', 'rule', 'lake', x'', 60, x'02', 1, 0)";
    sqlx::query(rule).execute(&mut raw).await.unwrap();
    shelf.clock.advance_secs(DAY);
    swept_until(&database, &shelf.clock, async || !is_there(&bench, sessions[0]).await).await;
    assert!(is_there(&bench, sessions[1]).await);
    sqlx::query("DELETE FROM request_rules").execute(&mut raw).await.unwrap();
    swept_until(&database, &shelf.clock, async || !is_there(&bench, sessions[1]).await).await;
}

mod sqlite {
    use super::Shelf;

    #[tokio::test]
    async fn so_many_of_a_parents_children_are_ended_and_a_restart_changes_nothing() {
        super::so_many_of_a_parents_children_are_ended(Shelf::sqlite()).await;
    }

    #[tokio::test]
    async fn what_ended_goes_when_nothing_on_record_names_it() {
        super::what_ended_goes_when_nothing_names_it(Shelf::sqlite()).await;
    }

    #[tokio::test]
    async fn a_token_that_was_ended_long_after_it_was_made_is_not_missed() {
        super::a_token_that_was_ended_long_after_it_was_made_is_not_missed(Shelf::sqlite()).await;
    }

    #[tokio::test]
    async fn a_session_stays_as_long_as_its_identity_token_could_be_shown_again() {
        super::a_session_stays_as_long_as_its_identity_token(Shelf::sqlite()).await;
    }
}

mod postgres {
    use super::Shelf;

    #[tokio::test]
    async fn so_many_of_a_parents_children_are_ended_and_a_restart_changes_nothing() {
        super::so_many_of_a_parents_children_are_ended(Shelf::postgres().await).await;
    }

    #[tokio::test]
    async fn what_ended_goes_when_nothing_on_record_names_it() {
        super::what_ended_goes_when_nothing_names_it(Shelf::postgres().await).await;
    }

    #[tokio::test]
    async fn a_token_that_was_ended_long_after_it_was_made_is_not_missed() {
        super::a_token_that_was_ended_long_after_it_was_made_is_not_missed(Shelf::postgres().await).await;
    }

    #[tokio::test]
    async fn a_session_stays_as_long_as_its_identity_token_could_be_shown_again() {
        super::a_session_stays_as_long_as_its_identity_token(Shelf::postgres().await).await;
    }
}

#[tokio::test]
async fn a_token_that_is_good_and_gone_from_the_table_is_found() {
    let mut shelf = Shelf::sqlite();
    let (database, _keys, bench) = shelf.open(Settings::default()).await;
    let tenant = bench.tenant("acme", Metering::Free).await;
    let token = PlainToken::generate(&*bench.entropy);
    let until = Some(bench.now() + jiff::SignedDuration::from_secs(60));
    let made = bench.registry.create_token(tenant.caller, &token, until, Maker::Server, bench.now()).await.unwrap();
    let path = shelf.folder.path().join("valetkey.db");
    let mut raw = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    sqlx::query("DELETE FROM tokens WHERE id = ?").bind(made.id.to_bytes().to_vec()).execute(&mut raw).await.unwrap();
    let verified = database.verify_ledger().await.unwrap();
    assert!(!verified.intact() && verified.astray[0].contains("not in the database"), "{verified:?}");
    // Its absence opens nothing from then on.
    shelf.clock.advance_secs(61);
    assert_intact(&database).await;
}
