//! Answers that a storage works on for long. What is known in time has its status; after that the answer is begun, and kept alive with
//! spaces until its document is there, as S3 does it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http_body::Frame;
use s3s::{Body, S3Error, StdError};
use tokio::task::JoinHandle;
use tokio::time::{Interval, interval_at, timeout};

use crate::error::{Result, internal};
use crate::forward::context::{DECLARATION, Kit, written};
use crate::forward::xml::Node;

/// How often a client that waits hears of us: most wait for a minute.
const BEAT: Duration = Duration::from_secs(10);

/// What an operation comes to.
pub(super) struct Late {
    pub(super) headers: HeaderMap,
    pub(super) node: Node,
}

/// Answers with what is worked on. It runs to its end whether or not the request is still there.
pub(super) async fn patient(
    kit: &Kit,
    work: impl Future<Output = Result<Late>> + Send + 'static,
) -> Result<Response<Body>> {
    let mut working = kit.tasks.spawn(work);
    if let Ok(done) = timeout(kit.limits.patience, &mut working).await {
        let Late { headers, node } = done.map_err(|error| internal("waiting for a storage", error))??;
        return Ok(written(&node.document(), headers));
    }
    let beat = interval_at(tokio::time::Instant::now(), BEAT);
    let body = Kept { begun: false, beat, working: Some(working) };
    let mut response = Response::new(Body::http_body_unsync(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    Ok(response)
}

/// An answer that has begun.
struct Kept {
    begun: bool,
    beat: Interval,
    working: Option<JoinHandle<Result<Late>>>,
}

fn refused(error: &S3Error) -> Node {
    let code = Node::of("Code", error.code().as_str());
    let message = Node::of("Message", error.message().unwrap_or_default());
    Node { name: "Error".to_owned(), text: String::new(), children: vec![code, message] }
}

impl http_body::Body for Kept {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, StdError>>> {
        let frame = |text: String| Poll::Ready(Some(Ok(Frame::data(Bytes::from(text)))));
        if !std::mem::replace(&mut self.begun, true) {
            return frame(DECLARATION.to_owned());
        }
        let Some(working) = &mut self.working else { return Poll::Ready(None) };
        if let Poll::Ready(done) = working.poll_unpin(cx) {
            self.working = None;
            let done = done.unwrap_or_else(|error| Err(internal("waiting for a storage", error)));
            return frame(match done {
                Ok(Late { node, .. }) => node.document(),
                Err(error) => refused(&error).bare(),
            });
        }
        match self.beat.poll_tick(cx) {
            Poll::Ready(_) => frame(" ".to_owned()),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.begun && self.working.is_none()
    }
}
