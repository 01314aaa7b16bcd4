//! How many connections each address has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts connections by address.
pub(super) struct Peers {
    of_one: usize,
    counted: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection of an address, until it is dropped.
pub(super) struct Seat {
    peers: Arc<Peers>,
    address: IpAddr,
}

/// An IPv6 address stands for its /64: that is what one customer has.
fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Peers {
    /// Nobody yet; at most so many of one address.
    pub(super) fn new(of_one: usize) -> Arc<Self> {
        Arc::new(Self { of_one, counted: Mutex::default() })
    }

    /// One more connection of an address; nothing if it has as many as it may.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let address = customer(address);
        let mut counted = self.counted();
        let own = counted.get(&address).copied().unwrap_or(0);
        if own >= self.of_one {
            return None;
        }
        counted.insert(address, own + 1);
        Some(Seat { peers: Arc::clone(self), address })
    }

    fn counted(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counted = self.peers.counted();
        let left = counted.get(&self.address).map_or(0, |own| own.saturating_sub(1));
        if left == 0 {
            counted.remove(&self.address);
        } else {
            counted.insert(self.address, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_as_many_connections_as_it_may_and_nothing_is_left_behind() {
        let peers = Peers::new(2);
        let enter = |text: &str| peers.enter(text.parse().unwrap());
        let held = [enter("192.0.2.1").unwrap(), enter("::ffff:192.0.2.1").unwrap()];
        assert!(enter("192.0.2.1").is_none());
        let others = [enter("192.0.2.2").unwrap(), enter("2001:db8::1").unwrap(), enter("2001:db8::2").unwrap()];
        assert!(enter("2001:db8::3").is_none(), "one customer");
        assert!(enter("2001:db8:0:1::1").is_some());
        drop(held);
        assert!(enter("192.0.2.1").is_some());
        drop(others);
        assert!(peers.counted().is_empty());
    }
}
