//! A bounded cache whose answers are never older than the last change: a load that a change overtook is not kept.
//!
//! What goes when it is full is what was not used since the hand last passed (the clock algorithm). Where values differ much in size, their
//! bytes are bounded, too.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

const SHARDS: usize = 16;

/// The number of changes seen when a load began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Generation(u64);

struct Slot<K, V> {
    key: K,
    value: V,
    used: AtomicBool,
}

struct Kept<K, V> {
    index: HashMap<K, usize>,
    slots: Vec<Slot<K, V>>,
    hand: usize,
    most: usize,
    /// The bytes of all values, the most of them, and what a value has.
    bytes: usize,
    most_bytes: usize,
    weigh: fn(&V) -> usize,
}

struct Shard<K, V> {
    kept: RwLock<Kept<K, V>>,
    loading: tokio::sync::Mutex<()>,
}

/// A bounded cache.
pub(crate) struct Cache<K, V> {
    shards: Vec<Shard<K, V>>,
    hasher: RandomState,
    generation: AtomicU64,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    /// A cache for about `most` values.
    pub(crate) fn new(most: usize) -> Self {
        Self::weighing(most, usize::MAX, |_| 0)
    }

    /// A cache for about `most` values that have about `most_bytes` together. A value that has a sixteenth of them alone is not kept.
    pub(crate) fn weighing(most: usize, most_bytes: usize, weigh: fn(&V) -> usize) -> Self {
        let (most, most_bytes) = (most.div_ceil(SHARDS).max(1), most_bytes / SHARDS);
        let kept = || Kept { index: HashMap::new(), slots: Vec::new(), hand: 0, most, bytes: 0, most_bytes, weigh };
        let shard = || Shard { kept: RwLock::new(kept()), loading: tokio::sync::Mutex::new(()) };
        Self {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            hasher: RandomState::new(),
            generation: AtomicU64::new(0),
        }
    }

    /// What is kept of a key.
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let kept = self.shard(key)?.kept.read().unwrap_or_else(PoisonError::into_inner);
        let slot = kept.slots.get(*kept.index.get(key)?)?;
        if !slot.used.load(Ordering::Relaxed) {
            slot.used.store(true, Ordering::Relaxed);
        }
        Some(slot.value.clone())
    }

    /// The lock that loads of this key take, so that many who miss ask once.
    pub(crate) async fn loading(&self, key: &K) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        match self.shard(key) {
            Some(shard) => Some(shard.loading.lock().await),
            None => None,
        }
    }

    /// To be taken before a load begins.
    pub(crate) fn generation(&self) -> Generation {
        Generation(self.generation.load(Ordering::SeqCst))
    }

    /// Keeps what a load found, unless something changed since it began.
    pub(crate) fn keep(&self, began: Generation, key: K, value: V) {
        let Some(shard) = self.shard(&key) else { return };
        let mut kept = shard.kept.write().unwrap_or_else(PoisonError::into_inner);
        // INVARIANT: asked under the lock that `forget` takes after counting up. Otherwise a stale value could slip in
        // after it was forgotten.
        if self.generation() == began {
            kept.insert(key, value);
        }
    }

    /// Forgets a key. What is loaded from now on is fresh.
    pub(crate) fn forget(&self, key: &K) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        if let Some(shard) = self.shard(key) {
            shard.kept.write().unwrap_or_else(PoisonError::into_inner).remove(key);
        }
    }

    /// Forgets everything.
    pub(crate) fn forget_all(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        for shard in &self.shards {
            shard.kept.write().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    fn shard(&self, key: &K) -> Option<&Shard<K, V>> {
        let at = usize::try_from(self.hasher.hash_one(key) % 16).unwrap_or(0);
        self.shards.get(at)
    }
}

impl<K: Hash + Eq + Clone, V> Kept<K, V> {
    fn insert(&mut self, key: K, value: V) {
        self.remove(&key);
        let bytes = (self.weigh)(&value);
        if bytes > self.most_bytes {
            return;
        }
        while self.slots.len() >= self.most || self.bytes > self.most_bytes - bytes {
            self.put_out();
        }
        self.bytes += bytes;
        self.index.insert(key.clone(), self.slots.len());
        // Not used yet: a flood of keys asked for once pushes out itself, not what is asked for again.
        self.slots.push(Slot { key, value, used: AtomicBool::new(false) });
    }

    /// Removes what was not used since the hand last passed. Everything may be in use: after one round of second chances the first is
    /// out of luck.
    fn put_out(&mut self) {
        while let Some(slot) = self.slots.get(self.hand) {
            if !slot.used.swap(false, Ordering::Relaxed) {
                let key = slot.key.clone();
                self.remove(&key);
                return;
            }
            self.hand = (self.hand + 1) % self.slots.len();
        }
    }

    fn remove(&mut self, key: &K) {
        let Some(at) = self.index.remove(key) else { return };
        self.bytes -= (self.weigh)(&self.slots.swap_remove(at).value);
        if let Some(moved) = self.slots.get(at) {
            self.index.insert(moved.key.clone(), at);
        }
        if self.hand >= self.slots.len() {
            self.hand = 0;
        }
    }

    fn clear(&mut self) {
        self.index.clear();
        self.slots.clear();
        (self.hand, self.bytes) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_bounded_and_keeps_what_is_used() {
        let cache = Cache::new(160);
        cache.keep(cache.generation(), 0u32, 0u32);
        for key in 1..10_000u32 {
            cache.keep(cache.generation(), key, key);
            assert_eq!(cache.get(&0), Some(0), "used at each step, lost at {key}");
        }
        let kept = (0..10_000).filter(|key| cache.get(key).is_some()).count();
        assert!((100..=160).contains(&kept), "{kept}");
    }

    #[test]
    fn large_values_push_out_others_and_the_largest_are_not_kept() {
        let cache = Cache::weighing(10_000, 16_000, |value: &Vec<u8>| value.len());
        for key in 0..5_000u32 {
            cache.keep(cache.generation(), key, vec![0; usize::try_from(key % 200).unwrap()]);
            cache.keep(cache.generation(), key / 2, vec![0; 10]);
        }
        let kept: Vec<usize> = (0..5_000).filter_map(|key| cache.get(&key)).map(|value| value.len()).collect();
        assert!(kept.len() > 100 && (8_000..=16_000).contains(&kept.iter().sum::<usize>()), "{}", kept.len());
        cache.keep(cache.generation(), 1, vec![0; 1_001]);
        assert_eq!(cache.get(&1), None, "not even what was there before");
        cache.forget_all();
        for shard in &cache.shards {
            assert_eq!(shard.kept.read().unwrap().bytes, 0);
        }
    }

    #[test]
    fn a_load_that_a_change_overtook_is_not_kept() {
        let cache = Cache::new(16);
        let began = cache.generation();
        cache.forget(&1);
        cache.keep(began, 1, "stale");
        assert_eq!(cache.get(&1), None);
        cache.keep(cache.generation(), 1, "fresh");
        assert_eq!(cache.get(&1), Some("fresh"));
        cache.forget(&1);
        assert_eq!(cache.get(&1), None);
    }

    #[test]
    fn forgetting_in_any_order_keeps_the_rest() {
        let cache = Cache::new(10_000);
        for key in 0..1_000u32 {
            cache.keep(cache.generation(), key, key);
        }
        for key in (0..1_000).step_by(3) {
            cache.forget(&key);
        }
        for key in 0..1_000 {
            assert_eq!(cache.get(&key), (key % 3 != 0).then_some(key));
        }
    }
}
