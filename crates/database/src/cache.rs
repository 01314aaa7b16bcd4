//! A bounded cache whose answers are never older than the last change: a load that a change overtook is not kept.
//!
//! What goes when it is full is what was not used since the hand last passed (the clock algorithm).

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
        let most = most.div_ceil(SHARDS).max(1);
        let shard = || Shard {
            kept: RwLock::new(Kept { index: HashMap::new(), slots: Vec::new(), hand: 0, most }),
            loading: tokio::sync::Mutex::new(()),
        };
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
        // Not used yet: a flood of keys asked for once pushes out itself, not what is asked for again.
        let slot = Slot { key: key.clone(), value, used: AtomicBool::new(false) };
        if let Some(at) = self.index.get(&key).copied() {
            if let Some(place) = self.slots.get_mut(at) {
                *place = slot;
            }
            return;
        }
        if self.slots.len() < self.most {
            self.index.insert(key, self.slots.len());
            self.slots.push(slot);
            return;
        }
        // Everything may be in use: after one round of second chances the first is out of luck.
        for _ in 0..=self.slots.len() {
            let at = self.hand;
            self.hand = (self.hand + 1) % self.slots.len().max(1);
            if let Some(place) = self.slots.get_mut(at)
                && !place.used.swap(false, Ordering::Relaxed)
            {
                let old = std::mem::replace(place, slot);
                self.index.remove(&old.key);
                self.index.insert(key, at);
                return;
            }
        }
    }

    fn remove(&mut self, key: &K) {
        let Some(at) = self.index.remove(key) else { return };
        self.slots.swap_remove(at);
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
        self.hand = 0;
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
