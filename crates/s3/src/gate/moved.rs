//! What a proven request moves: counted while it goes, and told when it is over, however it ends.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf as _, Bytes};
use http_body::{Body as _, Frame, SizeHint};
use s3s::{Body, StdError};
use valetkey_core::lease::Provenance;
use valetkey_core::nouns::usage::{Meter, ObjectRequest, Traffic};
use valetkey_core::time::Clock;

/// After so many bytes they are told, though the request goes on: a large one counts on the days it lasts, and a crash loses little.
const PIECE: u64 = 64 * 1024 * 1024;

/// A response of at most this size is counted whole: it is in memory, and the connection takes it.
const SMALL: u64 = 64 * 1024;

/// The bytes of a request.
pub(crate) struct Moved {
    meter: Arc<dyn Meter>,
    clock: Arc<dyn Clock>,
    origin: Provenance,
    from: Option<IpAddr>,
    came: AtomicU64,
    went: AtomicU64,
    watched: Option<Box<Watched>>,
}

/// What is told of a request to a bucket that is watched.
struct Watched {
    began: Instant,
    request: ObjectRequest,
    /// What came of it, once that is known: its operation and status.
    ended: OnceLock<(&'static str, u16)>,
    came: AtomicU64,
    went: AtomicU64,
}

impl Moved {
    pub(crate) fn of(
        meter: &Arc<dyn Meter>,
        clock: &Arc<dyn Clock>,
        origin: &Provenance,
        from: Option<IpAddr>,
    ) -> Self {
        let (meter, clock, origin) = (Arc::clone(meter), Arc::clone(clock), origin.clone());
        Self { meter, clock, origin, from, came: AtomicU64::new(0), went: AtomicU64::new(0), watched: None }
    }

    /// The same of a request to this place, which is told if its bucket is watched.
    pub(crate) fn at(mut self, (bucket, key): (&str, Option<&str>), id: &str) -> Self {
        if self.meter.watches(bucket) {
            let request = ObjectRequest {
                id: id.into(),
                at: self.clock.now(),
                took_ms: 0,
                origin: self.origin.clone(),
                from: self.from,
                operation: "",
                bucket: bucket.into(),
                key: key.map(Into::into),
                status: 0,
                traffic: Traffic::default(),
            };
            let (came, went) = (AtomicU64::new(0), AtomicU64::new(0));
            self.watched =
                Some(Box::new(Watched { began: Instant::now(), request, ended: OnceLock::new(), came, went }));
        }
        self
    }

    /// Its response is there.
    pub(crate) fn answered(&self, operation: &'static str, status: u16) {
        if let Some(watched) = &self.watched {
            // A request has one.
            let _ = watched.ended.set((operation, status));
        }
    }

    /// Bytes of its body came.
    pub(crate) fn came(&self, bytes: usize) {
        self.add(&self.came, bytes as u64);
    }

    /// Bytes of its response went.
    fn went(&self, bytes: u64) {
        self.add(&self.went, bytes);
    }

    fn add(&self, to: &AtomicU64, bytes: u64) {
        if to.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) >= PIECE {
            self.tell(0);
        }
    }

    fn tell(&self, requests: u64) {
        let (bytes_in, bytes_out) = (self.came.swap(0, Ordering::Relaxed), self.went.swap(0, Ordering::Relaxed));
        if let Some(watched) = &self.watched {
            watched.came.fetch_add(bytes_in, Ordering::Relaxed);
            watched.went.fetch_add(bytes_out, Ordering::Relaxed);
        }
        let traffic = Traffic { requests, bytes_in, bytes_out };
        if traffic != Traffic::default() {
            self.meter.moved(&self.origin, self.from, traffic, self.clock.now());
        }
    }

    /// The body of its response, which is counted as it goes.
    pub(crate) fn out(self: &Arc<Self>, body: Body) -> Body {
        match body.size_hint().exact() {
            Some(bytes) if bytes <= SMALL => {
                self.went(bytes);
                body
            }
            _ => Body::http_body_unsync(Going { body, moved: Arc::clone(self) }),
        }
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        self.tell(1);
        let Some(watched) = self.watched.take() else { return };
        let Watched { began, request, ended, came, went } = *watched;
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Without a response whoever asked was gone before.
        let (operation, status) = ended.into_inner().unwrap_or(("unknown", 0));
        let traffic = Traffic { requests: 1, bytes_in: came.into_inner(), bytes_out: went.into_inner() };
        self.meter.requested(ObjectRequest { took_ms, operation, status, traffic, ..request });
    }
}

/// A response's body that is counted.
struct Going {
    body: Body,
    moved: Arc<Moved>,
}

impl http_body::Body for Going {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.moved.went(data.remaining() as u64);
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
