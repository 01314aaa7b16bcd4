//! One connection, until it or the server ends.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::Service;
use tracing::debug;

use crate::node::listen::windows::{self, Large};
use crate::node::listen::{Ends, Wire};
use crate::node::stalls::{Streams, Watched, watched};

/// How long a connection may take for what.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// Until the first request's head is there.
    pub(super) first_head: Duration,
    /// Until the head of a further request is there, and without an open one.
    pub(super) idle: Duration,
    /// For taking nothing of what it is sent.
    pub(super) stall: Duration,
    /// While the server ends, a kept connection of HTTP/1 is still answered on: a request may be on its way.
    pub(super) linger: Duration,
    /// For ending without an open request, when it was told to.
    pub(super) quiet: Duration,
}

pub(super) const PATIENCE: Patience = Patience {
    first_head: Duration::from_secs(10),
    idle: Duration::from_mins(1),
    stall: Duration::from_mins(1),
    linger: Duration::from_millis(500),
    quiet: Duration::from_secs(3),
};

/// The most bytes of a request's head, and the most fields in it.
const HEAD_BYTES: usize = 64 * 1024;
const HTTP_2_HEAD_BYTES: u32 = 64 * 1024;
const HEAD_FIELDS: usize = 128;

/// What a connection is like if it is HTTP/2.
pub(super) struct Http2 {
    /// The most requests at once.
    pub(super) streams: u32,
    /// Its place among those with large windows, if it has one.
    pub(super) large: Option<Large>,
}

/// What goes on on a connection.
#[derive(Default)]
struct Activity {
    /// Requests whose answer is not given to its last byte.
    open: AtomicUsize,
    asked: AtomicBool,
    is_http_2: AtomicBool,
    large: Mutex<Option<Large>>,
    /// There is no open request any more.
    rested: Notify,
}

impl Activity {
    fn is_at_rest(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }

    fn begin(self: &Arc<Self>, version: Version) -> Open {
        self.open.fetch_add(1, Ordering::AcqRel);
        self.is_http_2.store(version == Version::HTTP_2, Ordering::Relaxed);
        let is_first = !self.asked.swap(true, Ordering::AcqRel);
        if is_first && version < Version::HTTP_2 {
            // Only now it is known that there are no windows.
            drop(self.large.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
        Open(Arc::clone(self))
    }
}

/// One open request.
struct Open(Arc<Activity>);

impl Drop for Open {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.rested.notify_one();
        }
    }
}

/// A body that counts as open until it is given, or given up.
struct Counted<B> {
    body: B,
    _open: Open,
}

impl<B: Body + Unpin> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Counts the requests of a connection, and tells the last one that it is.
#[derive(Clone)]
struct Counting<S> {
    service: S,
    activity: Arc<Activity>,
    leaving: CancellationToken,
    stall: Duration,
}

impl<S, B> Service<Request<Incoming>> for Counting<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + 'static,
{
    type Response = Response<Counted<Watched<B>>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let version = request.version();
        let open = self.activity.begin(version);
        let (leaving, stall) = (self.leaving.clone(), self.stall);
        let answer = self.service.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            if version < Version::HTTP_2 && leaving.is_cancelled() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Counted { body: watched(body, stall), _open: open }))
        })
    }
}

/// Serves one connection; of HTTP/1.1 alone, if nothing is said of HTTP/2.
pub(super) async fn converse<I, S, B>(
    stream: I,
    service: S,
    ends: &Ends,
    name: &'static str,
    (patience, http_2): (Patience, Option<Http2>),
) where
    I: Wire,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Patience { first_head, idle, stall, linger, quiet } = patience;
    let mut builder = Builder::new(Streams::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_headers(HEAD_FIELDS)
        .max_buf_size(HEAD_BYTES);
    let large = match http_2 {
        None => {
            builder = builder.http1_only();
            None
        }
        Some(Http2 { streams, large }) => {
            let mut of_2 = builder.http2();
            of_2.timer(TokioTimer::new())
                .max_header_list_size(HTTP_2_HEAD_BYTES)
                .max_concurrent_streams(streams)
                .keep_alive_interval(Some(idle));
            windows::set(&mut of_2, large.is_some());
            large
        }
    };
    // SECURITY: the library waits for ever for the bytes that tell HTTP/1.1 from HTTP/2, for a reader that reads nothing, and
    // for a request on a connection of HTTP/2 that answers pings. None may hold a connection, or what is buffered for it.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(stall));
    let activity = Arc::new(Activity { large: Mutex::new(large), ..Activity::default() });
    let service = Counting { service, activity: Arc::clone(&activity), leaving: ends.leaving.clone(), stall };
    let connection = builder.serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(service));
    tokio::pin!(connection);
    let mut at_rest_since = Instant::now();
    let ended = loop {
        let longest = if activity.asked.load(Ordering::Acquire) { idle } else { first_head };
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = activity.rested.notified() => at_rest_since = Instant::now(),
            () = tokio::time::sleep_until(at_rest_since + longest) => {
                if !activity.asked.load(Ordering::Acquire) {
                    return debug!(listener = name, "a connection asked nothing");
                }
                if activity.is_at_rest() && at_rest_since.elapsed() >= idle {
                    debug!(listener = name, "a connection asked nothing more");
                    connection.as_mut().graceful_shutdown();
                    let _ = tokio::time::timeout(quiet, connection).await;
                    return;
                }
                // A request is open; its end is told.
                at_rest_since = Instant::now();
            }
            () = ends.stop.cancelled() => {
                // HTTP/2 says which request was the last; HTTP/1 cannot, so one that is on its way is answered, and told.
                if !activity.is_http_2.load(Ordering::Relaxed)
                    && let Ok(ended) = tokio::time::timeout(linger, connection.as_mut()).await
                {
                    break ended;
                }
                connection.as_mut().graceful_shutdown();
                if activity.is_at_rest() {
                    // Half a head, or nothing: there is nothing to wait for.
                    let _ = tokio::time::timeout(quiet, connection).await;
                    return;
                }
                break connection.await;
            }
        }
    };
    if let Err(error) = ended {
        debug!(listener = name, %error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;

    const SHORT: Patience = Patience {
        first_head: Duration::from_millis(200),
        idle: Duration::from_millis(400),
        stall: Duration::from_secs(10),
        linger: Duration::from_millis(50),
        quiet: Duration::from_millis(100),
    };

    /// A connection that is served, and when that ended.
    fn served(ends: &Ends, patience: Patience) -> (DuplexStream, impl Future<Output = ()> + use<>) {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let service = tower::service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello"))))
        });
        let ends = ends.clone();
        (client, async move {
            converse(server, service, &ends, "test", (patience, Some(Http2 { streams: 8, large: None }))).await;
        })
    }

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
    }

    /// The preface, settings, and perhaps a request.
    fn asks(is_asking: bool) -> Vec<u8> {
        let head = frame(1, 0x05, 1, &[0x82, 0x84, 0x86, 0x01, 1, b'x']);
        let begin = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[])].concat();
        if is_asking { [begin, head].concat() } else { begin }
    }

    /// Sends pings until the other side ends.
    async fn ping(mut client: DuplexStream, first: &[u8]) -> Vec<u8> {
        let (mut reader, mut writer) = {
            client.write_all(first).await.unwrap();
            tokio::io::split(client)
        };
        let pings = async move {
            while writer.write_all(&frame(6, 0, 0, &[7; 8])).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let mut all = Vec::new();
        tokio::select! {
            read = reader.read_to_end(&mut all) => drop(read),
            () = pings => drop(reader.read_to_end(&mut all).await),
        }
        all
    }

    #[tokio::test]
    async fn a_connection_of_http_2_without_a_request_ends_though_it_pings() {
        for (first, least_ms) in [(asks(true), 400), (asks(false), 200)] {
            let (client, done) = served(&Ends::new(), SHORT);
            let began = Instant::now();
            let both = async { tokio::join!(ping(client, &first), done) };
            let (said, ()) = tokio::time::timeout(Duration::from_secs(8), both).await.unwrap();
            assert!(began.elapsed() >= Duration::from_millis(least_ms), "{:?}", began.elapsed());
            assert_eq!(said.windows(5).any(|part| part == b"hello"), least_ms == 400);
        }
    }

    #[tokio::test]
    async fn at_the_end_http_2_is_told_which_request_was_the_last() {
        let ends = Ends::new();
        let (client, done) = served(&ends, Patience { idle: Duration::from_mins(10), ..SHORT });
        let (mut reader, mut writer) = tokio::io::split(client);
        let talk = async {
            writer.write_all(&asks(true)).await.unwrap();
            let mut said = Vec::new();
            while !said.windows(5).any(|part| part == b"hello") {
                reader.read_buf(&mut said).await.unwrap();
            }
            ends.stop.cancel();
            let _ = reader.read_to_end(&mut said).await;
            said
        };
        let both = async { tokio::join!(talk, done) };
        let (said, ()) = tokio::time::timeout(Duration::from_secs(8), both).await.unwrap();
        let mut rest = &said[..];
        let mut kinds = Vec::new();
        while let [_, high, low, kind, ..] = rest {
            kinds.push(*kind);
            rest = &rest[9 + usize::from(*high) * 256 + usize::from(*low)..];
        }
        assert!(kinds.contains(&7), "there is no GOAWAY in {kinds:?}");
    }

    #[tokio::test]
    async fn a_request_on_a_kept_connection_is_answered_while_the_server_ends_and_told_to_be_the_last() {
        let ends = Ends::new();
        let (client, done) =
            served(&ends, Patience { linger: Duration::from_mins(1), idle: Duration::from_mins(1), ..SHORT });
        let (mut reader, mut writer) = tokio::io::split(client);
        let talk = async {
            let mut said = Vec::new();
            writer.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            while !said.ends_with(b"hello") {
                reader.read_buf(&mut said).await.unwrap();
            }
            let first = String::from_utf8(std::mem::take(&mut said)).unwrap();
            ends.leaving.cancel();
            ends.stop.cancel();
            tokio::task::yield_now().await;
            writer.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let _ = reader.read_to_end(&mut said).await;
            (first, String::from_utf8(said).unwrap())
        };
        let both = async { tokio::join!(talk, done) };
        let ((first, last), ()) = tokio::time::timeout(Duration::from_secs(30), both).await.unwrap();
        assert!(!first.to_ascii_lowercase().contains("connection: close"), "{first}");
        assert!(last.starts_with("HTTP/1.1 200") && last.ends_with("hello"), "{last}");
        assert!(last.to_ascii_lowercase().contains("connection: close"), "{last}");
    }

    #[tokio::test]
    async fn a_first_head_has_little_time_and_an_open_request_does_not_count_as_rest() {
        let (mut client, done) = served(&Ends::new(), SHORT);
        client.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
        tokio::time::timeout(Duration::from_secs(8), done).await.unwrap();

        let (client, server) = tokio::io::duplex(1024);
        let service = tower::service_fn(|_: Request<Incoming>| async {
            tokio::time::sleep(Duration::from_millis(1200)).await;
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"late"))))
        });
        let ends = Ends::new();
        let conversation = converse(server, service, &ends, "test", (SHORT, None));
        let (mut reader, mut writer) = tokio::io::split(client);
        let talk = async {
            writer.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut said = Vec::new();
            let _ = reader.read_to_end(&mut said).await;
            said
        };
        let (said, ()) = tokio::join!(talk, conversation);
        assert!(said.ends_with(b"late"), "{}", said.escape_ascii());
    }
}
