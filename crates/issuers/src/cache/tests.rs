//! The cache over an upstream that does as it is told.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::future::join_all;
use proptest::prelude::*;
use tokio::sync::Semaphore;
use valetkey_core::Secret;
use valetkey_core::credential::{Credential, S3Keys};
use valetkey_core::hosts::Hosts;
use valetkey_core::id::{AccountId, LeaseId, TokenId};
use valetkey_core::name::BucketName;
use valetkey_core::nouns::provider::Facts;
use valetkey_core::scope::{Actions, Paths};
use valetkey_core::storage::Quota;
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;

use super::held::MARGIN_SECS;
use super::*;
use crate::upstream::{Fetched, Wish};

#[derive(Clone, Copy, Debug)]
pub(super) enum Mood {
    Gives,
    /// One it keeps itself, with what is left of it.
    Ends(Timestamp),
    Fails(Kind),
    Breaks,
}

pub(super) struct Fake {
    pub(super) clock: Arc<FixedClock>,
    calls: AtomicUsize,
    mood: Mutex<Mood>,
    pub(super) gate: Semaphore,
    sessions: Mutex<Vec<String>>,
}

#[async_trait]
impl Upstream for Fake {
    fn check_urls(&self) -> Result<(), Error> {
        Ok(())
    }

    fn check(&self, _: &Rights) -> Result<(), Error> {
        Ok(())
    }

    async fn fetch(&self, wish: &Wish<'_>) -> Result<Fetched, Error> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        self.sessions.lock().unwrap().push(wish.session.as_str().to_owned());
        let _open = self.gate.acquire().await.unwrap();
        let mood = *self.mood.lock().unwrap();
        let mut expiration = wish.lifetime.ends(self.clock.now());
        match mood {
            Mood::Gives => {}
            Mood::Ends(end) => expiration = end,
            Mood::Fails(kind) => return Err(Error::new(kind, "no").note("why").retry_after(7)),
            Mood::Breaks => panic!("broken"),
        }
        Ok(Fetched {
            credential: Credential::S3(S3Keys {
                access_key_id: format!("key-{number}"),
                secret_access_key: Secret::new("s".to_owned()),
                session_token: Secret::new("t".to_owned()),
                expiration,
            }),
            upstream_request_id: None,
            packed_policy_percent: None,
            narrowed: Vec::new(),
        })
    }

    fn facts(&self) -> Facts {
        panic!("the cache does not ask")
    }

    fn hosts(&self) -> &Hosts {
        panic!("the cache does not ask")
    }
}

pub(super) struct World {
    pub(super) clock: Arc<FixedClock>,
    pub(super) fake: Arc<Fake>,
    pub(super) fetcher: Arc<Fetcher>,
    pub(super) cache: Cache,
    ended: Arc<Ended>,
    tasks: TaskTracker,
}

pub(super) fn world_with(settings: Settings, least: u32, sharing: Sharing, budget: Arc<Budget>) -> World {
    let clock = Arc::new(FixedClock::default());
    let fake = Arc::new(Fake {
        clock: clock.clone(),
        calls: AtomicUsize::new(0),
        mood: Mutex::new(Mood::Gives),
        gate: Semaphore::new(100_000),
        sessions: Mutex::default(),
    });
    let upstream = fake.clone();
    let fetcher = Arc::new(Fetcher {
        storage: StorageId::from_bytes([1; 16]),
        name: "away".into(),
        version: 1,
        upstream,
        least: Lifetime::secs(least),
        sharing,
        budget,
        health: valetkey_core::health::Health::new(clock.clone()).of(StorageId::from_bytes([1; 16])),
    });
    let tasks = TaskTracker::new();
    let ended = Arc::new(Ended::default());
    let entropy = Arc::new(SeededEntropy::new(1));
    let cache = Cache::new(settings, ended.clone(), clock.clone(), entropy, tasks.clone(), None);
    World { clock, fake, fetcher, cache, ended, tasks }
}

pub(super) fn budget(calls_per_sec: u32, burst: u32) -> Arc<Budget> {
    Arc::new(Budget::new(Quota { calls_per_sec, burst }, valetkey_core::fair::LiveNodes::default()).impatient())
}

fn world() -> World {
    world_with(Settings::default(), 900, Sharing::Caller, budget(1_000, 1_000))
}

pub(super) fn origin(caller: u8, opened: Timestamp) -> Provenance {
    Provenance {
        lease: Some(LeaseId::from_bytes([9; 16])),
        account: AccountId::from_bytes([8; 16]),
        caller: CallerId::from_bytes([caller; 16]),
        token: TokenId::from_bytes([7; 16]),
        storage: StorageId::from_bytes([1; 16]),
        opened,
    }
}

/// Callers that were ended, and when.
#[derive(Default)]
struct Ended(Mutex<HashMap<CallerId, Timestamp>>);

#[async_trait]
impl Revocations for Ended {
    fn is_revoked(&self, origin: &Provenance) -> bool {
        self.0.lock().unwrap().get(&origin.caller).is_some_and(|at| origin.opened <= *at)
    }

    async fn rights(&self, _: LeaseId) -> Result<Option<Arc<Rights>>, Error> {
        panic!("the cache does not ask")
    }
}

pub(super) fn scope(bucket: &str) -> Arc<Rights> {
    Arc::new(Rights::of(BucketName::parse(bucket).unwrap(), Paths::Whole, Actions::READ).unwrap())
}

impl World {
    /// Another node that asks the same storage, with what nodes keep together.
    pub(super) fn with(&self, pool: Option<Pooling>) -> Self {
        let Self { clock, fake, fetcher, cache, ended, .. } = self;
        let (clock, fake, fetcher, ended) = (clock.clone(), fake.clone(), fetcher.clone(), ended.clone());
        let (tasks, entropy) = (TaskTracker::new(), Arc::new(SeededEntropy::new(1)));
        let settings = cache.inner.settings;
        let cache = Cache::new(settings, ended.clone(), clock.clone(), entropy, tasks.clone(), pool);
        Self { clock, fake, fetcher, cache, ended, tasks }
    }

    /// Ends what a caller has so far.
    pub(super) fn ended(&self, caller: CallerId) {
        self.ended.0.lock().unwrap().insert(caller, self.clock.now());
    }

    pub(super) async fn ask(&self, bucket: &str, caller: u8, secs: u32) -> Result<Arc<Held>, Error> {
        let until = Lifetime::secs(secs).ends(self.clock.now());
        let scope = scope(bucket);
        let origin = origin(caller, self.clock.now());
        self.cache.get(&self.fetcher, &Want { rights: &scope, until, said: false, origin: &origin }).await
    }

    /// For so long, because somebody said so: the key, and how many seconds of the permit it is short of.
    pub(super) async fn said(&self, secs: u32) -> (String, i64) {
        let until = Lifetime::secs(secs).ends(self.clock.now());
        let (scope, origin) = (scope("lake"), origin(1, self.clock.now()));
        let want = Want { rights: &scope, until, said: true, origin: &origin };
        let kept = self.cache.kept(&self.fetcher, &want).unwrap();
        let held = match kept {
            Some(held) => held,
            None => self.cache.get(&self.fetcher, &want).await.unwrap(),
        };
        let keys = held.issued.credential.s3().unwrap();
        (keys.access_key_id.clone(), until.duration_since(keys.expiration).as_secs())
    }

    pub(super) async fn key(&self, bucket: &str, caller: u8, secs: u32) -> String {
        let held = self.ask(bucket, caller, secs).await.unwrap();
        held.issued.credential.s3().unwrap().access_key_id.clone()
    }

    pub(super) fn calls(&self) -> usize {
        self.fake.calls.load(Ordering::SeqCst)
    }

    pub(super) fn mood(&self, mood: Mood) {
        *self.fake.mood.lock().unwrap() = mood;
    }

    /// Waits until nothing runs in the background.
    pub(super) async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }
}

#[tokio::test]
async fn a_thousand_who_ask_at_once_cost_one_call() {
    let world = world();
    world.fake.gate.forget_permits(100_000);
    let all = join_all((0..1000).map(|_| world.key("lake", 1, 3600)));
    let open = async {
        tokio::task::yield_now().await;
        world.fake.gate.add_permits(100_000);
    };
    let (keys, ()) = tokio::join!(all, open);
    assert_eq!(world.calls(), 1);
    assert!(keys.iter().all(|key| key == "key-0"));
    world.key("lake", 1, 3600).await;
    assert_eq!(world.calls(), 1);
}

#[tokio::test]
async fn a_thousand_at_the_stores_shortest_lifetime_too() {
    let world = world();
    join_all((0..1000).map(|_| world.key("lake", 1, 900))).await;
    assert_eq!(world.calls(), 1);
    let refusal = world.ask("lake", 1, 600).await.unwrap_err();
    assert_eq!(refusal.kind(), Kind::Invalid);
}

#[tokio::test]
async fn a_key_is_its_callers_alone_unless_the_operator_lets_them_share() {
    let world = world();
    assert_ne!(world.key("lake", 1, 3600).await, world.key("lake", 2, 3600).await);
    assert_ne!(world.key("lake", 1, 3600).await, world.key("pond", 1, 3600).await);
    let session = |caller: u8| CallerId::from_bytes([caller; 16]).to_string();
    assert_eq!(*world.fake.sessions.lock().unwrap(), [session(1), session(2), session(1)]);

    let world = world_with(Settings::default(), 900, Sharing::Anyone, budget(10, 10));
    assert_eq!(world.key("lake", 1, 3600).await, world.key("lake", 2, 3600).await);
    assert_eq!(*world.fake.sessions.lock().unwrap(), ["valetkey-shared"], "who came first is not who it was");
}

#[tokio::test]
async fn a_key_is_renewed_ahead_and_never_handed_out_nearly_over() {
    let world = world();
    assert_eq!(world.key("lake", 1, 3600).await, "key-0");
    world.clock.advance_secs(1900);
    assert_eq!(world.key("lake", 1, 3600).await, "key-0");
    world.settle().await;
    assert_eq!(world.calls(), 1, "there is no need yet");
    world.clock.advance_secs(400);
    assert_eq!(world.key("lake", 1, 3600).await, "key-0", "nobody waits for what is renewed ahead");
    world.settle().await;
    assert_eq!((world.calls(), world.key("lake", 1, 3600).await), (2, "key-1".to_owned()));
    // A long silence: what is left is too little, so a new one is waited for.
    world.clock.advance_secs(2800);
    assert_eq!(world.key("lake", 1, 3600).await, "key-2");
}

#[tokio::test]
async fn while_a_good_key_is_kept_an_outage_is_nobodys_failure() {
    for kind in [Kind::Upstream, Kind::UpstreamTimeout, Kind::RateLimited] {
        let world = world();
        world.key("lake", 1, 3600).await;
        world.mood(Mood::Fails(kind));
        for _ in 0..35 {
            world.clock.advance_secs(100);
            assert_eq!(world.key("lake", 1, 3600).await, "key-0", "{kind:?}");
            world.settle().await;
        }
        // Nearly over: nothing is better than that.
        world.clock.advance_secs(70);
        let refusal = world.ask("lake", 1, 3600).await.unwrap_err();
        assert_eq!(refusal.kind(), kind);
        world.mood(Mood::Gives);
        world.clock.advance_secs(10);
        assert_ne!(world.key("lake", 1, 3600).await, "key-0");
    }
}

#[tokio::test]
async fn a_failure_is_remembered_for_a_moment_only() {
    let world = world();
    world.mood(Mood::Fails(Kind::Upstream));
    for refusal in join_all((0..100).map(|_| world.ask("lake", 1, 3600))).await {
        let refusal = refusal.unwrap_err();
        assert_eq!((refusal.kind(), refusal.message(), refusal.retry_after_secs()), (Kind::Upstream, "no", Some(7)));
        assert!(refusal.detail().unwrap().contains("why"));
    }
    assert_eq!(world.calls(), 1);
    world.mood(Mood::Gives);
    assert!(world.ask("lake", 1, 3600).await.is_err());
    world.clock.advance_secs(2);
    assert!(world.ask("lake", 1, 3600).await.is_ok());
    assert_eq!(world.calls(), 2);
}

#[tokio::test]
async fn a_store_is_not_asked_more_often_than_its_budget() {
    let world = world_with(Settings::default(), 900, Sharing::Caller, budget(1, 2));
    world.key("aaa", 1, 3600).await;
    world.key("bbb", 1, 3600).await;
    let refusal = world.ask("ccc", 1, 3600).await.unwrap_err();
    assert_eq!((refusal.kind(), refusal.retry_after_secs()), (Kind::RateLimited, Some(1)));
    assert_eq!(world.key("aaa", 1, 3600).await, "key-0", "what is kept is not in the way of any budget");
    world.clock.advance_secs(1);
    world.key("ccc", 1, 3600).await;
    assert_eq!(world.calls(), 3);
}

#[tokio::test]
async fn when_the_provider_throttles_one_nobody_asks_it() {
    let world = world();
    world.key("kept", 1, 3600).await;
    world.mood(Mood::Fails(Kind::RateLimited));
    assert!(world.ask("aaa", 1, 3600).await.is_err());
    world.mood(Mood::Gives);
    let refusal = world.ask("bbb", 1, 3600).await.unwrap_err();
    assert_eq!((refusal.kind(), refusal.retry_after_secs()), (Kind::RateLimited, Some(7)));
    assert_eq!(world.calls(), 2);
    assert_eq!(world.key("kept", 1, 3600).await, "key-0");
    world.clock.advance_secs(7);
    assert!(world.ask("bbb", 1, 3600).await.is_ok());
}

#[tokio::test]
async fn a_key_never_outlives_the_permit_it_is_handed_out_for() {
    let world = world();
    let long = world.ask("lake", 1, 3600).await.unwrap();
    // Of the same class, and it would outlive this permit.
    let short = world.ask("lake", 1, 2400).await.unwrap();
    let until = Lifetime::secs(2400).ends(world.clock.now());
    assert!(long.issued.credential.expiration() > until && short.issued.credential.expiration() <= until);
    assert_eq!(world.calls(), 2);
    assert_eq!(world.key("lake", 1, 2400).await, "key-1");
    assert_eq!(world.key("lake", 1, 3600).await, "key-0", "both are kept");
    assert_eq!(world.calls(), 2);
}

#[tokio::test]
async fn what_deciding_took_makes_no_permit_too_short_for_a_store() {
    let world = world();
    // Decided for 900 seconds, the least of this store; some have gone since.
    for secs in [900, 898, 890] {
        let end = world.ask("lake", 1, secs).await.unwrap().issued.credential.expiration();
        assert!(end <= later(world.clock.now(), secs + MARGIN_SECS));
    }
    let refusal = world.ask("lake", 1, 889).await.unwrap_err();
    assert_eq!(refusal.kind(), Kind::Invalid);
    assert!(refusal.message().contains("too short"), "{}", refusal.message());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whoever_asks_gets_a_key_that_ends_with_the_permit_and_is_not_nearly_over(
        asks in prop::collection::vec((900_u32..5000, 0_i64..1500, 0_u8..2), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = world();
            for (secs, wait, caller) in asks {
                world.clock.advance_secs(wait);
                let now = world.clock.now();
                let held = world.ask("lake", caller, secs).await.unwrap();
                let end = held.issued.credential.expiration();
                let least = later(now, secs.saturating_sub(11) / 2).min(later(now, 899));
                assert!(end >= least, "{end} < {least}");
                // With the store's shortest lifetime there is no room for the margin.
                let most = if secs < 911 { later(now, secs + MARGIN_SECS) } else { later(now, secs) };
                assert!(end <= most, "{end} > {most}");
            }
        });
    }
}

#[tokio::test]
async fn who_goes_away_takes_nothing_from_those_who_wait() {
    let world = world();
    world.fake.gate.forget_permits(100_000);
    let first = world.ask("lake", 1, 3600);
    let mut first = Box::pin(first);
    assert!(futures::poll!(&mut first).is_pending());
    let mut second = Box::pin(world.key("lake", 1, 3600));
    assert!(futures::poll!(&mut second).is_pending());
    drop(first);
    world.fake.gate.add_permits(1);
    assert_eq!(second.await, "key-0");
    assert_eq!(world.calls(), 1);
}

#[tokio::test]
async fn a_fetch_that_breaks_off_is_a_failure_once() {
    let world = world();
    world.mood(Mood::Breaks);
    assert_eq!(world.ask("lake", 1, 3600).await.unwrap_err().kind(), Kind::Internal);
    world.mood(Mood::Gives);
    assert!(world.ask("lake", 1, 3600).await.is_ok());
}

#[tokio::test]
async fn what_was_fetched_with_other_settings_is_not_handed_out() {
    let mut world = world();
    assert_eq!(world.key("lake", 1, 3600).await, "key-0");
    let own = (*world.fetcher).clone();
    let changed = Fetcher { version: own.version + 1, budget: budget(10, 10), ..own };
    let before = std::mem::replace(&mut world.fetcher, Arc::new(changed));
    assert_eq!(world.key("lake", 1, 3600).await, "key-1");
    world.fetcher = before;
    assert_eq!(world.key("lake", 1, 3600).await, "key-0");
}

#[tokio::test]
async fn there_are_never_more_keys_than_allowed() {
    let settings = Settings { max_entries: 32, ..Settings::default() };
    let world = world_with(settings, 900, Sharing::Caller, budget(10_000, 10_000));
    for number in 0..200 {
        world.key(&format!("bucket-{number}"), 1, 3600 + number).await;
        assert!(world.cache.len() <= 32);
    }
    assert_eq!(world.key("bucket-199", 1, 3799).await, "key-199", "the newest are kept");
}

#[tokio::test]
async fn what_was_ended_is_not_handed_out_again() {
    let world = world();
    let before = world.key("lake", 1, 3600).await;
    let other = world.key("lake", 2, 3600).await;
    world.ended.0.lock().unwrap().insert(CallerId::from_bytes([1; 16]), world.clock.now());
    world.clock.advance_secs(1);
    let after = world.key("lake", 1, 3600).await;
    assert_ne!(before, after);
    assert_eq!(world.key("lake", 1, 3600).await, after);
    assert_eq!(world.key("lake", 2, 3600).await, other, "nobody else's");
    assert_eq!(world.calls(), 3);
}

#[tokio::test]
async fn what_is_kept_is_there_without_asking_and_nothing_else_is() {
    let world = world();
    let (scope, origin) = (scope("lake"), origin(1, world.clock.now()));
    let until = Lifetime::secs(3600).ends(world.clock.now());
    let want = Want { rights: &scope, until, said: false, origin: &origin };
    assert!(world.cache.kept(&world.fetcher, &want).unwrap().is_none());
    assert_eq!(world.calls(), 0, "looking asks nobody");
    let issued = world.cache.get(&world.fetcher, &want).await.unwrap().issued();
    let kept = world.cache.kept(&world.fetcher, &want).unwrap().unwrap().issued();
    assert_eq!(kept.trace, issued.trace);
    assert_eq!(kept.trace.as_deref().map(|trace| &*trace.key_id), Some("key-0"));
    let shorter = Want { until: Lifetime::secs(1000).ends(world.clock.now()), ..want };
    assert!(world.cache.kept(&world.fetcher, &shorter).unwrap().is_none(), "it would outlive its permit");
}

#[tokio::test]
async fn what_would_be_refused_is_known_before_anything_is_asked() {
    let world = world_with(Settings::default(), 900, Sharing::Caller, budget(1, 1));
    let (lake, pond, origin) = (scope("lake"), scope("pond"), origin(1, world.clock.now()));
    let until = Lifetime::secs(3600).ends(world.clock.now());
    let kept = |scope| world.cache.kept(&world.fetcher, &Want { rights: scope, until, said: false, origin: &origin });
    world.key("lake", 1, 3600).await;
    let spent = kept(&pond).unwrap_err();
    assert_eq!((spent.kind(), spent.retry_after_secs()), (Kind::RateLimited, Some(1)));
    assert!(kept(&lake).unwrap().is_some(), "what is kept needs no budget");

    world.clock.advance_secs(1);
    world.mood(Mood::Fails(Kind::Upstream));
    assert!(kept(&pond).unwrap().is_none());
    world.ask("pond", 1, 3600).await.unwrap_err();
    assert_eq!(kept(&pond).unwrap_err().kind(), Kind::Upstream, "a failure is remembered");

    world.clock.advance_secs(10);
    world.mood(Mood::Gives);
    world.fake.gate.forget_permits(100_000);
    let mut waiting = Box::pin(world.ask("pond", 1, 3600));
    assert!(futures::poll!(&mut waiting).is_pending());
    assert!(kept(&pond).unwrap().is_none(), "who waits for a fetch under way needs no budget either");
}

#[tokio::test]
async fn who_is_ended_while_a_key_is_fetched_gets_none() {
    let world = world();
    world.fake.gate.forget_permits(100_000);
    let mut waiting = Box::pin(world.ask("lake", 1, 3600));
    assert!(futures::poll!(&mut waiting).is_pending());
    tokio::task::yield_now().await;
    world.ended.0.lock().unwrap().insert(CallerId::from_bytes([1; 16]), world.clock.now());
    world.fake.gate.add_permits(10);
    assert_eq!(waiting.await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(world.calls(), 1);
}

#[tokio::test]
async fn what_is_forgotten_by_its_name_is_not_handed_out_again() {
    let world = world();
    assert_eq!((&*world.key("lake", 1, 3600).await, &*world.key("pond", 1, 3600).await), ("key-0", "key-1"));
    world.cache.forget(StorageId::from_bytes([2; 16]), &["key-0".into()]).await.unwrap();
    assert_eq!(world.key("lake", 1, 3600).await, "key-0", "another store's");
    world.cache.forget(StorageId::from_bytes([1; 16]), &["key-0".into()]).await.unwrap();
    assert_eq!(world.key("lake", 1, 3600).await, "key-2");
    assert_eq!(world.key("pond", 1, 3600).await, "key-1");
}

/// What a store that keeps one credential itself gives, by what is left of it: Google's metadata server hands out one until five
/// minutes before its end.
#[tokio::test]
async fn what_a_store_gave_is_handed_out_as_long_as_it_lives_and_not_fetched_again_at_once() {
    for left in [1000_u32, 950, 890, 600, 301, 120] {
        let world = world();
        let start = world.clock.now();
        let end = later(start, left);
        world.mood(Mood::Ends(end));
        let first = world.ask("lake", 1, 3600).await.unwrap();
        assert_eq!((first.issued.credential.expiration(), world.calls()), (end, 1), "{left}: its true end");
        assert_eq!(world.key("lake", 1, 3600).await, "key-0", "{left}: the second ask");
        let all = join_all((0..10).map(|_| world.key("lake", 1, 3600))).await;
        assert!(all.iter().all(|key| key == "key-0"), "{left}");
        let (scope, origin) = (scope("lake"), origin(1, start));
        let want = Want { rights: &scope, until: later(start, 3600), said: false, origin: &origin };
        assert!(world.cache.kept(&world.fetcher, &want).unwrap().is_some(), "{left}: it is there without asking");
        world.settle().await;
        assert_eq!(world.calls(), 1, "{left}");

        // From half of its life on another is sought, and nobody waits for it.
        world.mood(Mood::Gives);
        world.clock.advance_secs(i64::from(left / 2) + 1);
        let key = world.key("lake", 1, 3600).await;
        world.settle().await;
        assert_eq!(world.calls(), 2, "{left}");
        assert_eq!(key, if left >= 122 { "key-0" } else { "key-1" }, "{left}");
        assert_eq!(world.key("lake", 1, 3600).await, "key-1", "{left}");
    }
}

#[tokio::test]
async fn ten_who_ask_at_once_share_what_is_left() {
    for left in [1000_u32, 890, 600, 301, 120, 60] {
        let world = world();
        world.mood(Mood::Ends(later(world.clock.now(), left)));
        world.fake.gate.forget_permits(100_000);
        let all = join_all((0..10).map(|_| world.key("lake", 1, 3600)));
        let open = async {
            tokio::task::yield_now().await;
            world.fake.gate.add_permits(100_000);
        };
        let (keys, ()) = tokio::join!(all, open);
        assert!(keys.iter().all(|key| key == "key-0"), "{left}");
        assert_eq!(world.calls(), 1, "{left}");
    }
}

#[tokio::test]
async fn what_is_left_serves_until_its_last_minute_while_the_store_is_out_of_order() {
    for left in [1000_u32, 950, 890, 600, 301, 120] {
        let world = world();
        world.mood(Mood::Ends(later(world.clock.now(), left)));
        world.key("lake", 1, 3600).await;
        world.mood(Mood::Fails(Kind::Upstream));
        let mut passed = 0;
        while passed + 7 <= left - 60 {
            world.clock.advance_secs(7);
            passed += 7;
            assert_eq!(world.key("lake", 1, 3600).await, "key-0", "{left} after {passed}");
            world.settle().await;
        }
        world.clock.advance_secs(i64::from(left - 59 - passed));
        let refusal = world.ask("lake", 1, 3600).await.unwrap_err();
        assert_eq!((refusal.kind(), refusal.message()), (Kind::Upstream, "no"), "{left}");
    }
}

#[tokio::test]
async fn what_is_over_in_a_moment_is_refused_as_that_and_asked_for_once() {
    for left in [59_u32, 30, 1] {
        let world = world();
        world.mood(Mood::Ends(later(world.clock.now(), left)));
        for refusal in join_all((0..10).map(|_| world.ask("lake", 1, 3600))).await {
            let refusal = refusal.unwrap_err();
            assert_eq!((refusal.kind(), refusal.retry_after_secs()), (Kind::Upstream, Some(left + 1)), "{left}");
            assert!(refusal.message().contains("over in a moment"), "{refusal}");
        }
        assert_eq!(world.ask("lake", 1, 3600).await.unwrap_err().kind(), Kind::Upstream);
        assert_eq!(world.calls(), 1, "{left}");
        world.clock.advance_secs(i64::from(left) + 1);
        world.mood(Mood::Gives);
        assert_eq!(world.key("lake", 1, 3600).await, "key-1", "{left}");
    }
    // Who may have little is content with less.
    let world = world_with(Settings::default(), 60, Sharing::Caller, budget(10, 10));
    world.mood(Mood::Ends(later(world.clock.now(), 30)));
    world.key("lake", 1, 100).await;
    assert_eq!(world.calls(), 1);
}

#[tokio::test]
async fn only_a_store_that_is_silent_did_not_answer_in_time() {
    let world = world();
    world.mood(Mood::Fails(Kind::UpstreamTimeout));
    assert_eq!(world.ask("lake", 1, 3600).await.unwrap_err().kind(), Kind::UpstreamTimeout);
    for left in [-10, 0, 20, 59] {
        let world = super::tests::world();
        let end = world.clock.now() + jiff::SignedDuration::from_secs(left);
        world.mood(Mood::Ends(end));
        assert_eq!(world.ask("lake", 1, 3600).await.unwrap_err().kind(), Kind::Upstream, "{left}");
        assert_eq!(world.calls(), 1);
    }
}

#[tokio::test]
async fn who_comes_when_the_budget_is_spent_waits_a_moment_for_its_turn() {
    let patient =
        Arc::new(Budget::new(Quota { calls_per_sec: 1, burst: 1 }, valetkey_core::fair::LiveNodes::default()));
    let world = world_with(Settings::default(), 900, Sharing::Caller, patient);
    world.key("aaa", 1, 3600).await;
    let (scope, origin) = (scope("bbb"), origin(1, world.clock.now()));
    let want =
        Want { rights: &scope, until: Lifetime::secs(3600).ends(world.clock.now()), said: false, origin: &origin };
    assert!(world.cache.kept(&world.fetcher, &want).unwrap().is_none(), "it is not refused beforehand");
    let mut waiting = Box::pin(world.ask("bbb", 1, 3600));
    assert!(futures::poll!(&mut waiting).is_pending());
    tokio::task::yield_now().await;
    assert_eq!(world.calls(), 1, "the store is not asked more often");
    world.clock.advance_secs(2);
    let end = waiting.await.unwrap().issued.credential.expiration();
    assert!(end <= want.until && world.calls() == 2, "{end}");
    // Behind those who would wait too long there is no room.
    let asks: Vec<String> = (0..12).map(|number| format!("more-{number}")).collect();
    let mut asks: Vec<_> = asks.iter().map(|bucket| Box::pin(world.ask(bucket, 1, 3600))).collect();
    let mut refused = 0;
    for ask in &mut asks {
        if let std::task::Poll::Ready(answer) = futures::poll!(ask) {
            let refusal = answer.unwrap_err();
            assert_eq!((refusal.kind(), refusal.retry_after_secs()), (Kind::RateLimited, Some(6)));
            refused += 1;
        }
    }
    assert_eq!(refused, 7, "five wait");
    let other = origin_of_another(&world);
    let theirs = Want { origin: &other, ..want };
    assert!(world.cache.kept(&world.fetcher, &theirs).unwrap().is_none(), "another account has its own place");
}

fn origin_of_another(world: &World) -> Provenance {
    Provenance { account: AccountId::from_bytes([5; 16]), ..origin(9, world.clock.now()) }
}

#[tokio::test]
async fn a_lifetime_that_somebody_said_is_met_or_fetched_anew() {
    let world = world_with(Settings::default(), 60, Sharing::Caller, budget(1_000, 1_000));
    for secs in [60, 120, 900, 3600, 43_200, 604_800] {
        let most = i64::from(secs / 20).min(60);
        for passed in [0, 1, 30, i64::from(secs) / 2, i64::from(secs) * 9 / 10] {
            world.clock.advance_secs(passed);
            let (_, short) = world.said(secs).await;
            assert!((0..=most).contains(&short), "{secs} s after {passed}: {short} s short");
        }
    }
    // Who does not say is given what others had fetched.
    let (calls, key) = (world.calls(), world.said(3600).await.0);
    assert_eq!(world.key("lake", 1, 3600).await, key);
    assert!(world.calls() <= calls + 1);
}

#[tokio::test]
async fn a_store_that_gives_no_more_is_not_asked_again_each_time() {
    let world = world();
    let end = world.clock.now() + jiff::SignedDuration::from_secs(1800);
    world.mood(Mood::Ends(end));
    let (first, short) = world.said(3600).await;
    assert!(short > 1700, "what it gave is handed out, and its end says so");
    world.clock.advance_secs(60);
    assert_eq!(world.said(3600).await.0, first, "it is still nearly all of what there is");
    world.mood(Mood::Gives);
    world.clock.advance_secs(60);
    let (second, short) = world.said(3600).await;
    assert!(second != first && short <= 60, "{second} {short}");
}

#[tokio::test]
async fn while_the_store_is_out_of_order_a_shorter_one_is_handed_out() {
    let world = world();
    let (first, _) = world.said(3600).await;
    world.mood(Mood::Fails(Kind::Upstream));
    world.clock.advance_secs(1000);
    let (second, short) = world.said(3600).await;
    assert_eq!(second, first);
    assert!(short >= 1000, "{short}");
}
