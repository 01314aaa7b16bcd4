//! How often a caller may ask: several sliding windows at once, and the five headers that say how much is left. Each node counts in
//! its memory, and has its share of each quota; what is left is told as if the other nodes were asked as often.
//!
//! A sliding window is kept as two counts: of the running stretch and of the one before, of which the part that still
//! reaches into the window is taken (rounded up, so that never more than the quota passes in a stretch). Refused requests
//! are not counted.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use valetkey_core::caller::Caller;
use valetkey_core::fair::LiveNodes;
use valetkey_core::id::{AccountId, CallerId};
use valetkey_core::{Error, Kind};

use super::rates::{RateLimits, Window};

/// The most windows a class may have: second, minute, hour, day and month are five.
const MOST_WINDOWS: usize = 8;
/// Locks that callers are spread over: far more than a machine has cores.
const SHARDS: usize = 64;
/// Together with [`SHARDS`] about 65,000 callers, at some 300 bytes each. When a shard is full, those not seen for
/// longest are forgotten and start anew.
const PER_SHARD: usize = 1024;

/// What a route takes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// Asking for anything but credentials.
    Common,
    /// Asking for credentials.
    Credentials,
}

/// Whose requests are counted together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Key {
    Caller(CallerId, Class),
    /// All callers of an account together.
    Account(AccountId, Class),
    /// An IPv6 address stands for its /64: that is what one customer has.
    Peer(IpAddr),
    /// Nobody said where these come from.
    Nowhere,
}

impl Key {
    pub(super) fn peer(address: Option<IpAddr>) -> Self {
        match address {
            Some(IpAddr::V6(v6)) => {
                let network = u128::from(v6) & !u128::from(u64::MAX);
                match v6.to_ipv4_mapped() {
                    Some(v4) => Self::Peer(v4.into()),
                    None => Self::Peer(IpAddr::V6(network.into())),
                }
            }
            Some(v4) => Self::Peer(v4),
            None => Self::Nowhere,
        }
    }

    /// The `pk` of the headers: whose allowance it is.
    fn partition(self) -> String {
        BASE64.encode(
            match self {
                Self::Caller(id, _) => format!("user:{id}"),
                Self::Account(id, _) => format!("account:{id}"),
                Self::Peer(address) => format!("peer:{address}"),
                Self::Nowhere => "peer".to_owned(),
            }
            .as_bytes(),
        )
    }
}

/// What is left of one window.
#[derive(Clone, Copy, Debug, Default)]
struct Left {
    remaining: u32,
    reset_secs: u32,
}

/// What is left of an allowance after a request, and whether there was enough for it.
#[derive(Debug)]
pub struct Quota<'a> {
    class: &'a Windows,
    partition: Arc<str>,
    left: [Left; MOST_WINDOWS],
    /// If there was not enough, when there will be.
    pub(super) retry_after_secs: Option<u32>,
}

/// A class's windows and what of its headers never changes.
#[derive(Debug)]
struct Windows {
    list: Vec<Window>,
    policy: HeaderValue,
    limit: HeaderValue,
}

impl Windows {
    fn new(list: &[Window]) -> Result<Self, Error> {
        if list.len() > MOST_WINDOWS {
            return Err(Error::new(
                Kind::Invalid,
                format!("{} windows are too many; the most is {MOST_WINDOWS}", list.len()),
            ));
        }
        let joined = |one: fn(&Window) -> String| {
            let text = list.iter().map(one).collect::<Vec<_>>().join(", ");
            HeaderValue::from_str(&text).map_err(|_| Error::internal("a rate limit's header cannot be written"))
        };
        Ok(Self {
            policy: joined(|window| format!("\"{}\";q={};w={}", window.name, window.quota, window.secs))?,
            limit: joined(|window| window.quota.to_string())?,
            list: list.to_vec(),
        })
    }
}

#[derive(Clone, Copy, Default)]
struct Meter {
    start_ms: i64,
    running: u32,
    before: u32,
}

impl Meter {
    /// Moves on to the stretch that `now` is in; says how far into it that is.
    fn roll(&mut self, window_ms: i64, now_ms: i64) -> i64 {
        let into = now_ms.saturating_sub(self.start_ms);
        if into >= window_ms.saturating_mul(2) {
            *self = Self { start_ms: now_ms, running: 0, before: 0 };
            0
        } else if into >= window_ms {
            *self = Self { start_ms: self.start_ms + window_ms, running: 0, before: self.running };
            into - window_ms
        } else {
            into.max(0)
        }
    }

    fn used(self, window_ms: i64, into_ms: i64) -> u32 {
        let reaching = i64::from(self.before) * (window_ms - into_ms);
        self.running.saturating_add(u32::try_from(reaching.div_ceil_positive(window_ms)).unwrap_or(u32::MAX))
    }

    /// In how many milliseconds one more request fits; only asked when none does.
    fn wait_ms(self, window: &Window, quota: u32, into_ms: i64) -> i64 {
        let (ms, quota) = (window.ms(), i64::from(quota));
        let decayed_to = |count: u32, room: i64| ms - (room * ms).checked_div(i64::from(count)).unwrap_or(0).min(ms);
        let running = i64::from(self.running);
        if running < quota {
            (decayed_to(self.before, quota - 1 - running) - into_ms).max(1)
        } else {
            ms - into_ms + decayed_to(self.running, quota - 1)
        }
    }
}

/// `i64::div_ceil` is not stable yet.
trait DivCeil {
    fn div_ceil_positive(self, by: i64) -> i64;
}

impl DivCeil for i64 {
    fn div_ceil_positive(self, by: i64) -> i64 {
        (self + by - 1).checked_div(by).unwrap_or(0)
    }
}

struct Kept {
    partition: Arc<str>,
    seen_ms: i64,
    /// When the last request was counted: a window later nothing reaches into it any more.
    counted_ms: i64,
    meters: Box<[Meter]>,
}

/// Counts requests.
pub struct Limiter {
    common: Windows,
    credentials: Windows,
    accounts: Windows,
    account_credentials: Windows,
    strangers: Windows,
    /// The longest window of all classes.
    longest_ms: i64,
    nodes: LiveNodes,
    hasher: RandomState,
    callers: Vec<Mutex<HashMap<Key, Kept>>>,
    of_accounts: Vec<Mutex<HashMap<Key, Kept>>>,
    peers: Vec<Mutex<HashMap<Key, Kept>>>,
}

impl Limiter {
    /// Starts counting.
    ///
    /// # Errors
    /// `Invalid` when a class has too many windows.
    pub fn new(limits: &RateLimits, nodes: LiveNodes) -> Result<Self, Error> {
        let shards = || std::iter::repeat_with(Mutex::default).take(SHARDS).collect();
        Ok(Self {
            common: Windows::new(&limits.common)?,
            credentials: Windows::new(&limits.credentials)?,
            accounts: Windows::new(&limits.accounts)?,
            account_credentials: Windows::new(&limits.account_credentials)?,
            strangers: Windows::new(&limits.strangers)?,
            longest_ms: [
                &limits.common,
                &limits.credentials,
                &limits.accounts,
                &limits.account_credentials,
                &limits.strangers,
            ]
            .into_iter()
            .flatten()
            .map(Window::ms)
            .max()
            .unwrap_or(0),
            nodes,
            hasher: RandomState::new(),
            callers: shards(),
            // Apart, so that a flood of callers makes nobody forget what their account has taken.
            of_accounts: shards(),
            peers: shards(),
        })
    }

    /// Takes one request from a caller's allowance and one from its account's. What is told is the caller's, unless its
    /// account has no more.
    pub(super) fn take_of(&self, caller: &Caller, class: Class, now: Timestamp) -> Option<Quota<'_>> {
        let own = self.take(Key::Caller(caller.id, class), now);
        if own.as_ref().is_some_and(|quota| quota.retry_after_secs.is_some()) {
            return own;
        }
        match self.take(Key::Account(caller.account, class), now) {
            Some(of_account) if of_account.retry_after_secs.is_some() => Some(of_account),
            Some(_) | None => own,
        }
    }

    /// Takes one request from an allowance; nothing if it is not limited.
    pub(super) fn take(&self, key: Key, now: Timestamp) -> Option<Quota<'_>> {
        let (class, shards) = match key {
            Key::Caller(_, Class::Common) => (&self.common, &self.callers),
            Key::Caller(_, Class::Credentials) => (&self.credentials, &self.callers),
            Key::Account(_, Class::Common) => (&self.accounts, &self.of_accounts),
            Key::Account(_, Class::Credentials) => (&self.account_credentials, &self.of_accounts),
            Key::Peer(_) | Key::Nowhere => (&self.strangers, &self.peers),
        };
        if class.list.is_empty() {
            return None;
        }
        let shard = usize::try_from(self.hasher.hash_one(key) % (SHARDS as u64)).unwrap_or(0);
        let mut shard = shards.get(shard)?.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = now.as_millisecond();
        if let Some(kept) = shard.get_mut(&key) {
            return Some(kept.take(class, &self.nodes, now_ms));
        }
        if shard.len() >= PER_SHARD {
            forget(&mut shard, self.longest_ms, now_ms);
        }
        let fresh = Meter { start_ms: now_ms, ..Meter::default() };
        let meters = class.list.iter().map(|_| fresh).collect();
        let kept = shard.entry(key).or_insert(Kept {
            partition: key.partition().into(),
            seen_ms: now_ms,
            counted_ms: now_ms,
            meters,
        });
        Some(kept.take(class, &self.nodes, now_ms))
    }
}

impl Kept {
    fn take<'a>(&mut self, class: &'a Windows, nodes: &LiveNodes, now_ms: i64) -> Quota<'a> {
        self.seen_ms = now_ms;
        let mut left = [Left::default(); MOST_WINDOWS];
        let mut wait: Option<i64> = None;
        let whole_secs = |ms: i64| u32::try_from(ms.div_ceil_positive(1000)).unwrap_or(u32::MAX).max(1);
        for ((window, meter), left) in class.list.iter().zip(&mut self.meters).zip(&mut left) {
            let idle = now_ms.saturating_sub(self.counted_ms).max(0);
            if idle >= window.ms() {
                *meter = Meter { start_ms: now_ms, ..Meter::default() };
            }
            let into = meter.roll(window.ms(), now_ms);
            let used = meter.used(window.ms(), into);
            let own = nodes.share(window.quota);
            left.remaining = own.saturating_sub(used);
            left.reset_secs = whole_secs(window.ms() - into);
            if left.remaining == 0 {
                // Never longer than the window: who waits so long finds it empty.
                let own = meter.wait_ms(window, own, into).min(window.ms() - idle).max(1);
                left.reset_secs = whole_secs(own);
                wait = wait.max(Some(own));
            }
        }
        if wait.is_none() {
            self.counted_ms = now_ms;
            for (meter, left) in self.meters.iter_mut().zip(&mut left) {
                meter.running = meter.running.saturating_add(1);
                left.remaining = left.remaining.saturating_sub(1);
            }
        }
        for (window, left) in class.list.iter().zip(&mut left) {
            left.remaining = left.remaining.saturating_mul(nodes.count()).min(window.quota);
        }
        Quota { class, partition: Arc::clone(&self.partition), left, retry_after_secs: wait.map(whole_secs) }
    }
}

/// Makes room: those idle so long that nothing of theirs is counted any more, or else the quarter idle for longest, so that a
/// flood of newcomers does not search the whole shard for each of them.
fn forget(shard: &mut HashMap<Key, Kept>, longest_ms: i64, now_ms: i64) {
    shard.retain(|_, kept| now_ms.saturating_sub(kept.seen_ms) < longest_ms.saturating_mul(2));
    if shard.len() < PER_SHARD {
        return;
    }
    let mut room = PER_SHARD / 4;
    let mut seen: Vec<i64> = shard.values().map(|kept| kept.seen_ms).collect();
    let (_, edge, _) = seen.select_nth_unstable(room);
    shard.retain(|_, kept| {
        let goes = room > 0 && kept.seen_ms <= *edge;
        room -= usize::from(goes);
        !goes
    });
}

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// One window of an allowance, as it is after a request.
#[derive(Clone, Copy, Debug)]
pub struct WindowLeft<'a> {
    /// Its name.
    pub name: &'a str,
    /// Requests it allows.
    pub quota: u32,
    /// In so many seconds.
    pub secs: u32,
    /// Requests left.
    pub remaining: u32,
    /// Seconds until more are.
    pub reset_secs: u32,
}

impl Quota<'_> {
    /// The windows, in the order they were configured in.
    pub fn windows(&self) -> impl Iterator<Item = WindowLeft<'_>> {
        self.class.list.iter().zip(&self.left).map(|(window, left)| WindowLeft {
            name: &window.name,
            quota: window.quota,
            secs: window.secs,
            remaining: left.remaining,
            reset_secs: left.reset_secs,
        })
    }

    /// Whether the request was refused for want of allowance, and after how many seconds another may pass.
    pub fn refused(&self) -> Option<u32> {
        self.retry_after_secs
    }

    /// Writes the five headers, each listing the windows in one order.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let mut ratelimit = Vec::with_capacity(192);
        let mut remaining = Vec::with_capacity(32);
        let mut reset = Vec::with_capacity(32);
        for (index, (window, left)) in self.class.list.iter().zip(&self.left).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let Left { remaining: r, reset_secs: t } = left;
            // Writing to memory cannot fail.
            let _ = write!(ratelimit, "{comma}\"{}\";r={r};t={t};pk=\"{}\"", window.name, self.partition);
            let _ = write!(remaining, "{comma}{r}");
            let _ = write!(reset, "{comma}{t}");
        }
        headers.insert(POLICY, self.class.policy.clone());
        headers.insert(LIMIT, self.class.limit.clone());
        for (name, text) in [(RATELIMIT, ratelimit), (REMAINING, remaining), (RESET, reset)] {
            if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(text)) {
                headers.insert(name, value);
            }
        }
    }
}

/// Tells what is left in the five headers that TheirStack documents; for dialects without headers of their own.
pub fn usual_headers(quota: &Quota<'_>, headers: &mut HeaderMap) {
    quota.write(headers);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_767_225_600_000 + ms).unwrap()
    }

    fn limits(windows: &[(&str, u32, u32)]) -> RateLimits {
        let list: Vec<Window> =
            windows.iter().map(|(name, quota, secs)| Window::new(name, *quota, *secs).unwrap()).collect();
        RateLimits { common: list.clone(), credentials: list.clone(), strangers: list, ..RateLimits::off() }
    }

    fn caller(byte: u8) -> Key {
        Key::Caller(CallerId::from_bytes([byte; 16]), Class::Common)
    }

    fn shown(quota: &Quota<'_>) -> Vec<String> {
        let mut headers = HeaderMap::new();
        quota.write(&mut headers);
        ["ratelimit", "ratelimit-policy", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"]
            .iter()
            .map(|name| headers.get(*name).unwrap().to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn the_headers_are_those_the_published_api_documents() {
        let windows = [("per-second", 4, 1), ("per-minute", 10, 60), ("per-hour", 50, 3600), ("per-day", 400, 86400)];
        let limiter = Limiter::new(&limits(&windows), LiveNodes::default()).unwrap();
        let quota = limiter.take(Key::Nowhere, at(0)).unwrap();
        assert_eq!(
            shown(&quota),
            [
                r#""per-second";r=3;t=1;pk="cGVlcg==", "per-minute";r=9;t=60;pk="cGVlcg==", "per-hour";r=49;t=3600;pk="cGVlcg==", "per-day";r=399;t=86400;pk="cGVlcg==""#,
                r#""per-second";q=4;w=1, "per-minute";q=10;w=60, "per-hour";q=50;w=3600, "per-day";q=400;w=86400"#,
                "4, 10, 50, 400",
                "3, 9, 49, 399",
                "1, 60, 3600, 86400",
            ]
        );
    }

    #[test]
    fn a_caller_that_asked_enough_waits_as_long_as_it_is_told() {
        let limiter =
            Limiter::new(&limits(&[("per-second", 4, 1), ("per-minute", 6, 60)]), LiveNodes::default()).unwrap();
        let mut now = 0;
        for _ in 0..4 {
            assert_eq!(limiter.take(caller(1), at(now)).unwrap().retry_after_secs, None);
        }
        let refused = limiter.take(caller(1), at(now)).unwrap();
        let wait = refused.retry_after_secs.unwrap();
        assert_eq!(shown(&refused)[3], "0, 2");
        now += i64::from(wait) * 1000;
        for _ in 0..2 {
            assert_eq!(limiter.take(caller(1), at(now)).unwrap().retry_after_secs, None);
        }
        let wait = limiter.take(caller(1), at(now)).unwrap().retry_after_secs.unwrap();
        assert!((58..=60).contains(&wait), "{wait}");
        assert!(limiter.take(caller(1), at(now + i64::from(wait) * 1000 - 1000)).unwrap().retry_after_secs.is_some());
        assert_eq!(limiter.take(caller(1), at(now + i64::from(wait) * 1000)).unwrap().retry_after_secs, None);
        assert_eq!(limiter.take(caller(2), at(now)).unwrap().retry_after_secs, None);
    }

    #[test]
    fn no_more_than_the_quota_passes_in_any_stretch_of_a_window() {
        let limiter = Limiter::new(&limits(&[("per-second", 10, 1)]), LiveNodes::default()).unwrap();
        let mut passed: Vec<i64> = Vec::new();
        for step in 0..5_000 {
            // Bursts and pauses, without a pattern that fits the window.
            let now = step * 7 + (step / 40) * 390;
            if limiter.take(caller(1), at(now)).unwrap().retry_after_secs.is_none() {
                passed.push(now);
            }
        }
        // The count of the stretch before is taken as spread evenly: a burst at its end lets a little more through, never
        // twice the quota.
        let most = passed.iter().map(|from| passed.iter().filter(|at| (*from..from + 1000).contains(at)).count()).max();
        assert!(most.unwrap() <= 15, "{most:?}");
        assert!(passed.len() > 300);
    }

    #[test]
    fn nobody_waits_longer_than_the_window_and_who_waits_is_served() {
        for (quota, secs) in [(1, 1), (1, 60), (6, 60), (1000, 60), (3, 3600), (2, 86_400)] {
            for gap in [0, 1, 37, 400, 999, 1000, 7000] {
                let limiter = Limiter::new(&limits(&[("one", quota, secs)]), LiveNodes::default()).unwrap();
                let mut now = 0;
                for round in 0..4 {
                    let wait = loop {
                        match limiter.take(caller(1), at(now)).unwrap().retry_after_secs {
                            Some(wait) => break wait,
                            None => now += gap,
                        }
                        assert!(now < 1_000_000_000, "{quota} in {secs} s are never too many, {gap} ms apart");
                        if gap * i64::from(quota) >= i64::from(secs) * 1000 {
                            break 0;
                        }
                    };
                    assert!(wait <= secs, "round {round}: {wait} s for {quota} in {secs} s, {gap} ms apart");
                    now += i64::from(wait) * 1000;
                    assert_eq!(
                        limiter.take(caller(1), at(now)).unwrap().retry_after_secs,
                        None,
                        "{quota} {secs} {gap}"
                    );
                }
            }
        }
    }

    #[test]
    fn memory_is_bounded_under_a_flood_of_addresses() {
        let limiter = Limiter::new(&limits(&[("per-second", 4, 1)]), LiveNodes::default()).unwrap();
        for number in 0..200_000u32 {
            let _ = limiter.take(Key::peer(Some(IpAddr::V4(number.into()))), at(0));
        }
        let kept: usize = limiter.peers.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(kept <= SHARDS * PER_SHARD, "{kept}");
    }

    #[test]
    fn an_address_of_version_6_stands_for_its_network() {
        let key = |text: &str| Key::peer(Some(text.parse().unwrap()));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }

    #[test]
    fn a_window_that_cannot_be_is_refused() {
        for (name, quota, secs) in
            [("", 1, 1), ("a b", 1, 1), ("a\"", 1, 1), ("a", 0, 1), ("a", 1, 0), ("a", 1, 40_000_000)]
        {
            assert!(Window::new(name, quota, secs).is_err());
        }
        assert!(Limiter::new(&limits(&[("a", 1, 1); 9]), LiveNodes::default()).is_err());
    }

    #[test]
    fn the_callers_of_an_account_share_its_allowance() {
        let window = |quota| vec![Window::new("per-minute", quota, 60).unwrap()];
        let limits = RateLimits {
            common: window(5),
            credentials: window(5),
            accounts: window(8),
            account_credentials: window(2),
            ..RateLimits::off()
        };
        let limiter = Limiter::new(&limits, LiveNodes::default()).unwrap();
        let caller = |caller: u8, account: u8| Caller {
            id: CallerId::from_bytes([caller; 16]),
            account: AccountId::from_bytes([account; 16]),
            name: valetkey_core::name::Name::parse("ann").unwrap(),
            role: valetkey_core::caller::Role::Member,
            token: valetkey_core::id::TokenId::from_bytes([caller; 16]),
            token_until: None,
            held: None,
            identity: None,
            as_of: 0,
        };
        let take = |who: &Caller, class| limiter.take_of(who, class, at(0)).unwrap();
        // However many callers an account makes, eight requests pass; another account has its own.
        let passed = (0..20).filter(|who| take(&caller(*who, 1), Class::Common).retry_after_secs.is_none()).count();
        assert_eq!(passed, 8);
        let told = take(&caller(30, 2), Class::Common);
        assert_eq!((told.retry_after_secs, told.left[0].remaining), (None, 4), "the caller's own is told");
        for _ in 0..2 {
            assert_eq!(take(&caller(40, 1), Class::Credentials).retry_after_secs, None);
        }
        assert!(take(&caller(41, 1), Class::Credentials).retry_after_secs.is_some());
        // What the caller's own allowance refuses takes nothing from the account's.
        let greedy = caller(50, 3);
        let passed = (0..20).filter(|_| take(&greedy, Class::Common).retry_after_secs.is_none()).count();
        assert_eq!(passed, 5);
        assert_eq!(take(&caller(51, 3), Class::Common).retry_after_secs, None);
    }

    #[test]
    fn nodes_divide_a_quota_and_tell_what_is_left_of_it() {
        let nodes = LiveNodes::default();
        let limiter = Limiter::new(&limits(&[("per-second", 10, 1)]), nodes.clone()).unwrap();
        let remaining = |quota: Option<Quota<'_>>| {
            let quota = quota.unwrap();
            quota.retry_after_secs.map_or(i64::from(quota.left[0].remaining), |_| -1)
        };
        nodes.set(3);
        // A third, rounded up.
        let taken: Vec<i64> = (0..5).map(|_| remaining(limiter.take(caller(1), at(0)))).collect();
        assert_eq!(taken, [9, 6, 3, 0, -1]);
        // Two of them are gone: it has all of it.
        nodes.set(1);
        assert_eq!(remaining(limiter.take(caller(1), at(0))), 5);
        nodes.set(1000);
        assert_eq!(remaining(limiter.take(caller(2), at(0))), 0, "but one passes");
    }
}
