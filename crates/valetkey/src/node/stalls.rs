//! Ends answers over HTTP/2 whose reader takes nothing of them: its streams each keep an answer, and what feeds it, for as long as
//! the reader likes to leave its window shut. (Over HTTP/1.1 an answer has the connection for itself, and ends with it.)

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper_util::rt::TokioExecutor;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::debug;

/// Bytes that go on together. The library buffers a piece as soon as there is room for one byte of it, and the last one after the
/// answer is over: so little may stay there.
const PIECE: usize = 16 * 1024;

tokio::task_local! {
    /// The stream whose task this is.
    static STREAM: Arc<Stream>;
}

/// One stream of HTTP/2.
#[derive(Default)]
struct Stream {
    /// Until when its reader has to take what it was given.
    until: Mutex<Option<Instant>>,
    given: Notify,
}

impl Stream {
    fn wait_until(&self, until: Option<Instant>) {
        let mut own = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let slept = own.is_none();
        *own = until;
        drop(own);
        if slept && until.is_some() {
            self.given.notify_one();
        }
    }

    /// Ready when the reader has taken nothing for too long.
    async fn stalled(&self) {
        loop {
            let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
            match until {
                None => self.given.notified().await,
                Some(until) if until <= Instant::now() => return,
                Some(until) => tokio::time::sleep_until(until).await,
            }
        }
    }
}

/// Runs the tasks of a connection's streams, and lets go of those whose reader takes nothing.
#[derive(Clone)]
pub(super) struct Streams(TokioExecutor);

impl Streams {
    pub(super) fn new() -> Self {
        Self(TokioExecutor::new())
    }
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        let stream = Arc::new(Stream::default());
        let task = STREAM.scope(Arc::clone(&stream), task);
        self.0.execute(async move {
            tokio::pin!(task);
            tokio::select! {
                _ = task.as_mut() => {}
                () = stream.stalled() => {
                    metrics::counter!("vk_stalled_answers_total").increment(1);
                    debug!("the reader of an answer took nothing of it; the answer was given up");
                }
            }
        });
    }
}

/// An answer's body that is given up when its reader takes nothing of it.
pub(super) struct Watched<B> {
    body: B,
    /// The stream it goes out on, and how long its reader may take for a piece. Nothing over HTTP/1.1.
    stream: Option<(Arc<Stream>, Duration)>,
    /// What came together and did not go on yet.
    rest: Bytes,
}

/// Watches an answer's body from the moment the answer is there. To be called where the answer is made, in its stream's task.
pub(super) fn watched<B: Body<Data = Bytes>>(body: B, patience: Duration) -> Watched<B> {
    let stream = STREAM.try_with(Arc::clone).ok().map(|stream| (stream, patience));
    if let Some((stream, _)) = stream.as_ref().filter(|_| !body.is_end_stream()) {
        stream.wait_until(Some(Instant::now() + patience));
    }
    Watched { body, stream, rest: Bytes::new() }
}

impl<B> Watched<B> {
    /// The next piece of what is here.
    fn piece(&mut self) -> Bytes {
        if self.rest.len() > PIECE {
            return self.rest.split_to(PIECE);
        }
        // Copied, so that the last piece does not keep all that it came with.
        let last = Bytes::copy_from_slice(&self.rest);
        self.rest = Bytes::new();
        last
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some((stream, patience)) = self.stream.clone() else { return Pin::new(&mut self.body).poll_frame(cx) };
        // Who asks for more has taken what there was. From here on the answer is waited for, and not its reader.
        stream.wait_until(None);
        if self.rest.is_empty() {
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                ended => return Poll::Ready(ended),
            }
        }
        let piece = self.piece();
        stream.wait_until(Some(Instant::now() + patience));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        let mut own = SizeHint::new();
        own.set_lower(hint.lower().saturating_add(rest));
        if let Some(upper) = hint.upper() {
            own.set_upper(upper.saturating_add(rest));
        }
        own
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Weak;

    use http::{Request, Response};
    use http_body_util::StreamBody;
    use hyper::body::Incoming;
    use hyper_util::rt::TokioIo;
    use hyper_util::server::conn::auto::Builder;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio_util::task::TaskTracker;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(300);

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
    }

    /// Opens a connection of HTTP/2 with windows of so many bytes, and asks once.
    async fn ask(tasks: &TaskTracker, window: u32, chunks: &[&[u8]]) -> (DuplexStream, Weak<()>) {
        let chunks: Vec<Bytes> = chunks.iter().copied().map(Bytes::copy_from_slice).collect();
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let held = Arc::new(());
        let weak = Arc::downgrade(&held);
        let held = Mutex::new(Some(held));
        let service = hyper::service::service_fn(move |_: Request<Incoming>| {
            let (held, chunks) = (held.lock().unwrap().take(), chunks.clone());
            async move {
                // What feeds an answer lives as long as the answer.
                let chunks = futures::stream::iter(chunks.into_iter().map(move |chunk: Bytes| {
                    std::hint::black_box(&held);
                    Ok::<_, Infallible>(Frame::data(chunk))
                }));
                Ok::<_, Infallible>(Response::new(watched(StreamBody::new(chunks), PATIENCE)))
            }
        });
        tasks.spawn(async move {
            let connection = Builder::new(Streams::new());
            drop(connection.serve_connection(TokioIo::new(server), service).await);
        });
        let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
        let asking = frame(1, 0x05, 1, &[0x82, 0x84, 0x86, 0x01, 1, b'x']);
        let hello = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &settings), asking].concat();
        client.write_all(&hello).await.unwrap();
        (client, weak)
    }

    /// The kinds of the frames of stream 1, and what they carry of the answer, until its end or a reset.
    async fn read(client: &mut DuplexStream, opens: Option<u32>) -> (Vec<u8>, Vec<u8>) {
        let (mut kinds, mut data) = (Vec::new(), Vec::new());
        loop {
            let mut head = [0; 9];
            client.read_exact(&mut head).await.unwrap();
            let length = usize::from(head[1]) * 256 + usize::from(head[2]);
            let mut payload = vec![0; length];
            client.read_exact(&mut payload).await.unwrap();
            if head[8] != 1 {
                continue;
            }
            kinds.push(head[3]);
            if head[3] == 0 {
                data.extend_from_slice(&payload);
                if let Some(more) = opens {
                    tokio::time::sleep(PATIENCE / 3).await;
                    client.write_all(&frame(8, 0, 1, &more.to_be_bytes())).await.unwrap();
                }
            }
            let over = head[3] == 3 || (head[4] & 1 == 1 && head[3] <= 1);
            if over {
                return (kinds, data);
            }
        }
    }

    const CHUNKS: &[&[u8]] = &[b"aaaaa", b"bbbbb", b"ccccc", b"ddddd", b"eeeee", b"fffff"];

    #[tokio::test]
    async fn an_answer_whose_reader_never_opens_its_window_is_given_up() {
        let tasks = TaskTracker::new();
        // 5: the first chunk goes, and no more.
        for window in [0, 5] {
            let (mut client, held) = ask(&tasks, window, CHUNKS).await;
            let began = Instant::now();
            let (kinds, data) = tokio::time::timeout(Duration::from_secs(10), read(&mut client, None)).await.unwrap();
            assert_eq!((kinds.last(), data.len()), (Some(&3), usize::try_from(window).unwrap()), "{kinds:?}");
            assert!(began.elapsed() >= PATIENCE);
            // And with it goes what fed it: the reset is sent after that.
            assert!(held.upgrade().is_none());
        }
    }

    #[tokio::test]
    async fn a_slow_reader_that_takes_a_little_now_and_then_gets_all() {
        let tasks = TaskTracker::new();
        let (mut client, _) = ask(&tasks, 5, CHUNKS).await;
        let began = Instant::now();
        let (kinds, data) = tokio::time::timeout(Duration::from_secs(20), read(&mut client, Some(5))).await.unwrap();
        assert_eq!((data, kinds.contains(&3)), (CHUNKS.concat(), false));
        assert!(began.elapsed() > PATIENCE);
    }

    #[tokio::test]
    async fn large_chunks_go_on_in_pieces_and_unchanged() {
        static LARGE: [u8; 50_000] = [7; 50_000];
        let tasks = TaskTracker::new();
        let (mut client, _) = ask(&tasks, 1_000_000, &[&LARGE, b"end"]).await;
        let (_, data) = tokio::time::timeout(Duration::from_secs(20), read(&mut client, None)).await.unwrap();
        assert_eq!(data, [&LARGE[..], b"end"].concat());
    }
}
