//! What there is little of, shared fairly between accounts: [`Budget`] for bytes in memory, [`Places`] for turns. Pure
//! accounting: no clock, no runtime, nothing is counted that was not handed out.
//!
//! Who wants more than its share is refused ([`Budget`]) or waits behind those who have less ([`Places`]); nobody else is.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::id::AccountId;

/// How many nodes are live that divide a limit among them: one, where a node is alone.
#[derive(Clone, Debug, Default)]
pub struct LiveNodes(Arc<AtomicU32>);

impl LiveNodes {
    /// So many are live now.
    pub fn set(&self, count: u32) {
        self.0.store(count, Ordering::Relaxed);
    }

    /// How many are live.
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed).max(1)
    }

    /// What each has of a limit: at least 1 of one that is no less.
    pub fn share(&self, limit: u32) -> u32 {
        limit.div_ceil(self.count())
    }
}

/// Bytes that all accounts together may hold at once.
///
/// An account is given more only if what it then holds is no more than what is then free: one alone gets half of all, two that
/// want everything come to a third each, and so on. So there is always room for who comes new.
#[derive(Debug)]
pub struct Budget {
    total: usize,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    used: usize,
    /// Of each account that holds any.
    held: HashMap<AccountId, usize>,
}

impl Budget {
    /// A budget of so many bytes. The largest thing that is taken at once must fit into half of it.
    pub fn new(total: usize) -> Arc<Self> {
        Arc::new(Self { total, books: Mutex::default() })
    }

    /// Takes bytes for an account; nothing if they are more than its share. They go back when the share is dropped.
    pub fn take(self: &Arc<Self>, account: AccountId, bytes: usize) -> Option<Share> {
        let mut share = Share { budget: Arc::clone(self), account, bytes: 0 };
        share.grow(bytes).then_some(share)
    }

    /// Bytes that are held by all.
    pub fn used(&self) -> usize {
        self.books().used
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of a budget that an account holds.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    account: AccountId,
    bytes: usize,
}

impl Share {
    /// Whose they are.
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// How many they are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes more. Says whether that was within the account's share; if not, nothing changed.
    #[must_use = "what was not taken may not be used"]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let mut books = self.budget.books();
        let free = self.budget.total.saturating_sub(books.used);
        let own = books.held.get(&self.account).copied().unwrap_or(0);
        if bytes > 0 && own.saturating_add(bytes) > free.saturating_sub(bytes) {
            return false;
        }
        books.used += bytes;
        if own + bytes > 0 {
            books.held.insert(self.account, own + bytes);
        }
        drop(books);
        self.bytes += bytes;
        true
    }

    /// Makes it hold at least so many bytes. Says whether that was within the account's share; if not, nothing changed.
    #[must_use = "what was not taken may not be used"]
    pub fn reach(&mut self, bytes: usize) -> bool {
        self.grow(bytes.saturating_sub(self.bytes))
    }

    /// Gives bytes back; more than it holds are as many as it holds.
    pub fn give_back(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        let mut books = self.budget.books();
        books.used = books.used.saturating_sub(bytes);
        let left = books.held.get(&self.account).map_or(0, |own| own.saturating_sub(bytes));
        if left == 0 {
            books.held.remove(&self.account);
        } else {
            books.held.insert(self.account, left);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

/// Places that are held for a while. A free one goes to the account among those waiting that holds fewest, and within it to
/// who waits longest. As with a [`Budget`], an account that holds some is given another only if it then holds no more than are
/// then free: what one account does not let go of keeps nobody else waiting.
#[derive(Debug)]
pub struct Places {
    /// The most that may wait for one account.
    waiting: usize,
    rows: Mutex<Rows>,
}

#[derive(Debug)]
struct Rows {
    free: usize,
    held: HashMap<AccountId, usize>,
    /// Who waits, the longest first.
    waiting: Vec<Waiting>,
    next: u64,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    account: AccountId,
    waker: Option<Waker>,
    /// It has a place and does not know yet.
    given: bool,
}

impl Places {
    /// So many places, for which at most `waiting` may wait of each account.
    pub fn new(places: usize, waiting: usize) -> Arc<Self> {
        let rows = Rows { free: places, held: HashMap::new(), waiting: Vec::new(), next: 0 };
        Arc::new(Self { waiting, rows: Mutex::new(rows) })
    }

    /// Waits for a place; nothing if too many of the account wait already.
    pub fn place(self: &Arc<Self>, account: AccountId) -> Option<Turn> {
        let mut rows = self.rows();
        if rows.waiting.iter().filter(|other| other.account == account && !other.given).count() >= self.waiting {
            return None;
        }
        let number = rows.next;
        rows.next += 1;
        rows.waiting.push(Waiting { number, account, waker: None, given: false });
        rows.hand_out();
        drop(rows);
        Some(Turn { places: Arc::clone(self), account, number, over: false })
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place is free again.
    fn left(&self, account: AccountId) {
        let mut rows = self.rows();
        rows.free += 1;
        let left = rows.held.get(&account).map_or(0, |own| own.saturating_sub(1));
        if left == 0 {
            rows.held.remove(&account);
        } else {
            rows.held.insert(account, left);
        }
        rows.hand_out();
    }
}

impl Rows {
    /// Gives what is free to who is next.
    fn hand_out(&mut self) {
        while self.free > 0 {
            let (held, free) = (&self.held, self.free);
            let held = |waiting: &Waiting| held.get(&waiting.account).copied().unwrap_or(0);
            let waiting = self.waiting.iter_mut().filter(|waiting| !waiting.given);
            // Of equals the first: who waits longest.
            let next = waiting.min_by_key(|waiting| held(waiting));
            let fair = |held: usize| held == 0 || held + 2 <= free;
            let Some(next) = next.filter(|next| fair(held(next))) else { return };
            next.given = true;
            let (account, waker) = (next.account, next.waker.take());
            self.free -= 1;
            *self.held.entry(account).or_insert(0) += 1;
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// A wait for a place. Dropped before its end, it gives up.
#[derive(Debug)]
#[must_use = "nobody waits before it is polled"]
pub struct Turn {
    places: Arc<Places>,
    account: AccountId,
    number: u64,
    over: bool,
}

impl Future for Turn {
    type Output = Place;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Place> {
        if self.over {
            return Poll::Pending;
        }
        let number = self.number;
        let mut rows = self.places.rows();
        let at = rows.waiting.iter().position(|waiting| waiting.number == number);
        if let Some(waiting) = at.and_then(|at| rows.waiting.get_mut(at))
            && !waiting.given
        {
            waiting.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        rows.waiting.retain(|waiting| waiting.number != number);
        drop(rows);
        self.over = true;
        Poll::Ready(Place { places: Arc::clone(&self.places), account: self.account })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut rows = self.places.rows();
        let given = rows.waiting.iter().any(|waiting| waiting.number == self.number && waiting.given);
        rows.waiting.retain(|waiting| waiting.number != self.number);
        drop(rows);
        if given {
            self.places.left(self.account);
        }
    }
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    account: AccountId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.left(self.account);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn account(number: u8) -> AccountId {
        AccountId::from_bytes([number; 16])
    }

    #[test]
    fn one_account_alone_gets_half_and_leaves_room_for_the_next() {
        let budget = Budget::new(100);
        assert!(budget.take(account(1), 51).is_none());
        let one = budget.take(account(1), 50).unwrap();
        assert!(budget.take(account(1), 1).is_none());
        let two = budget.take(account(2), 25).unwrap();
        assert!(budget.take(account(2), 1).is_none());
        assert!(budget.take(account(3), 12).is_some());
        drop(one);
        assert_eq!(budget.used(), 25);
        // What was given back is there for the others.
        assert!(budget.take(account(2), 25).is_some());
        drop(two);
        assert_eq!(budget.used(), 0);
        assert!(budget.books().held.is_empty());
    }

    #[test]
    fn a_share_grows_and_gives_back() {
        let budget = Budget::new(100);
        let mut share = budget.take(account(1), 0).unwrap();
        assert!(share.reach(30) && share.reach(10) && share.grow(10));
        assert_eq!((share.bytes(), budget.used()), (40, 40));
        assert!(!share.grow(11));
        assert_eq!(share.bytes(), 40);
        share.give_back(1000);
        assert_eq!((share.bytes(), budget.used()), (0, 0));
        assert!(budget.take(account(1), 51).is_none());
    }

    fn poll(turn: &mut Turn) -> Option<Place> {
        match Pin::new(turn).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_free_place_goes_to_who_has_fewest() {
        let places = Places::new(4, 10);
        let mut turns: Vec<Turn> = (0..4).map(|_| places.place(account(1)).unwrap()).collect();
        let mut later = turns.split_off(2);
        let mut held: Vec<Place> = turns.iter_mut().filter_map(poll).collect();
        assert_eq!(held.len(), 2);
        let taken = |later: &mut Vec<Turn>| later.iter_mut().find_map(poll);
        assert!(taken(&mut later).is_none());
        // The other two places are for others, though two of the first account wait for longer.
        let other = poll(&mut places.place(account(2)).unwrap()).unwrap();
        let third = poll(&mut places.place(account(3)).unwrap()).unwrap();
        let mut fourth = places.place(account(4)).unwrap();
        assert!(poll(&mut fourth).is_none());
        held.pop();
        assert!(taken(&mut later).is_none());
        let fourth = poll(&mut fourth).unwrap();
        drop((other, third, fourth));
        assert!(taken(&mut later).is_some());
    }

    #[test]
    fn who_gives_up_takes_no_place_with_it() {
        let places = Places::new(1, 1);
        let held = poll(&mut places.place(account(1)).unwrap()).unwrap();
        let waiting = places.place(account(1)).unwrap();
        assert!(places.place(account(1)).is_none(), "too many wait");
        let mut other = places.place(account(2)).unwrap();
        drop(held);
        // The first was given the place and never took it.
        drop(waiting);
        assert!(poll(&mut other).is_some());
        assert!(places.rows().waiting.is_empty());
        assert!(poll(&mut places.place(account(3)).unwrap()).is_some());
        assert!(places.rows().held.is_empty());
    }

    proptest! {
        #[test]
        fn the_books_are_right_and_never_over(steps in proptest::collection::vec((0u8..4, 0usize..60, any::<bool>()), 0..200)) {
            let budget = Budget::new(100);
            let mut shares: Vec<Share> = Vec::new();
            for (who, bytes, gives) in steps {
                if gives && !shares.is_empty() {
                    let at = bytes % shares.len();
                    shares.swap_remove(at);
                } else if let Some(share) = budget.take(account(who), bytes) {
                    shares.push(share);
                }
                let sum: usize = shares.iter().map(Share::bytes).sum();
                prop_assert_eq!(budget.used(), sum);
                prop_assert!(sum <= 100);
                // Whoever holds nothing can have something.
                prop_assert!(budget.take(account(200), 1).is_some());
            }
        }
    }
}
