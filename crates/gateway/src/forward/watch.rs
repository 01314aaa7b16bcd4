//! How long a storage is waited for: not while its client sends, and never without end.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::Future as _;
use http_body::{Body, Frame, SizeHint};
use hyper_util::client::legacy::Error;
use tokio::time::{Instant, Sleep, sleep, timeout};
use valetkey_s3::Failure;

/// What is known of a body on its way.
#[derive(Clone, Debug)]
pub(super) struct Watch(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Whether more of it is waited for.
    coming: bool,
    /// Since when not.
    since: Instant,
}

impl Default for Watch {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { coming: false, since: Instant::now() })))
    }
}

impl Watch {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, coming: bool) {
        *self.state() = State { coming, since: Instant::now() };
    }

    /// For how much longer the storage may be silent.
    fn left(&self, most: Duration) -> Duration {
        let state = self.state();
        if state.coming { most } else { most.saturating_sub(state.since.elapsed()) }
    }

    /// Waits for the head of an answer for so long, from when the storage could do something.
    pub(super) async fn within<T>(
        &self,
        most: Duration,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Option<Result<T, Error>> {
        let mut answer = pin!(answer);
        loop {
            match timeout(self.left(most), &mut answer).await {
                Ok(answer) => return Some(answer),
                Err(_) if self.left(most).is_zero() => return None,
                Err(_) => {}
            }
        }
    }
}

/// A body that is watched.
pub(super) struct Watched<B> {
    inner: B,
    watch: Watch,
}

impl<B> Watched<B> {
    pub(super) fn new(inner: B, watch: Watch) -> Self {
        Self { inner, watch }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        self.watch.set(polled.is_pending());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An answer's body, which may not pause for long. Time counts while somebody waits for more, not while nobody asks for it.
pub(super) struct Paced<B> {
    body: B,
    wait: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<B> Paced<B> {
    pub(super) fn new(body: B, wait: Duration) -> Self {
        Self { body, wait, waiting: None }
    }
}

impl<B: Body<Data = Bytes, Error = hyper::Error> + Unpin> Body for Paced<B> {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.waiting = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(|error| Failure::Unavailable(error.to_string()))));
        }
        let wait = self.wait;
        ready!(self.waiting.get_or_insert_with(|| Box::pin(sleep(wait))).as_mut().poll(cx));
        Poll::Ready(Some(Err(Failure::Unavailable(format!("it was silent for {} s", wait.as_secs())))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
