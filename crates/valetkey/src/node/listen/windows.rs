//! How much of HTTP/2 may come before anyone reads it. A window that is smaller than what is on its way to us slows every upload of its
//! connection down; one that is larger is memory that a sender may fill. So there are so many large ones, shared between addresses.

use std::net::IpAddr;
use std::sync::Arc;

use hyper_util::server::conn::auto::Http2Builder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::node::listen::peers::{Peers, Seat};

/// What one stream may send ahead: 200 MB/s where an answer takes 50 ms.
const STREAM: u32 = 10 * 1024 * 1024;
/// What all streams of a connection may: more than one of them, so that one that is not read leaves the others room.
const CONNECTION: u32 = 2 * STREAM;
/// The same for connections that have no place among the large ones.
const SMALL_STREAM: u32 = 512 * 1024;
const SMALL_CONNECTION: u32 = 2 * SMALL_STREAM;

/// Places for connections with large windows.
pub(super) struct Windows {
    places: Arc<Semaphore>,
    peers: Arc<Peers>,
}

/// A place, until it is dropped.
pub(super) struct Large {
    _place: OwnedSemaphorePermit,
    _seat: Option<Seat>,
}

impl Windows {
    /// As many places as these bytes are for; at most half of them for one address.
    pub(super) fn new(bytes: usize) -> Self {
        let places = bytes / usize::try_from(CONNECTION).unwrap_or(usize::MAX);
        Self { places: Arc::new(Semaphore::new(places)), peers: Peers::new(places.div_ceil(2)) }
    }

    /// A place for a connection from an address, if there is one for it. A trusted proxy stands for many.
    pub(super) fn take(&self, peer: IpAddr, is_trusted: bool) -> Option<Large> {
        let seat = self.peers.enter(peer);
        if seat.is_none() && !is_trusted {
            return None;
        }
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Large { _place: place, _seat: seat })
    }
}

/// Sets a connection's windows.
pub(super) fn set<E>(builder: &mut Http2Builder<'_, E>, large: bool) {
    let (stream, connection) = if large { (STREAM, CONNECTION) } else { (SMALL_STREAM, SMALL_CONNECTION) };
    builder.initial_stream_window_size(stream).initial_connection_window_size(connection);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_large_windows_and_one_address_has_half_of_them() {
        let windows = Windows::new(4 * CONNECTION as usize + 1);
        let take = |text: &str, is_trusted| windows.take(text.parse().unwrap(), is_trusted);
        let own = [take("192.0.2.1", false).unwrap(), take("192.0.2.1", false).unwrap()];
        assert!(take("192.0.2.1", false).is_none());
        let proxy = take("192.0.2.1", true).unwrap();
        let other = take("192.0.2.2", false).unwrap();
        assert!(take("192.0.2.3", false).is_none() && take("192.0.2.3", true).is_none(), "all are taken");
        drop((own, proxy));
        assert!(take("192.0.2.3", false).is_some());
        drop(other);
    }
}
