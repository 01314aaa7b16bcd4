//! A request's body between the gate, which knows how it is to be read, and `access`, which knows what the operation takes: nothing
//! is read before it is decided whether there is anything to read it for.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use s3s::{Body, S3ErrorCode, StdError};
use valetkey_core::fair::Share;

use crate::error::{BodyError, Result, crowded, denied, of_body, refuse};
use crate::gate::session::Session;

/// The most bytes of a body that an operation has no use for: some clients send an empty document.
const IGNORED_BYTES: usize = 4 * 1024;

/// What an operation does with a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Takes {
    /// Nothing: a short one is read and let go of, any other is refused.
    Nothing,
    /// Reads all of it before it begins.
    Document,
    /// Reads it as it comes.
    Stream,
}

/// A request's body, for whoever comes first.
#[derive(Clone)]
pub(crate) struct Slot(Arc<Mutex<Held>>);

struct Held {
    body: Body,
    /// How long what is read before the operation begins may take to come, however steadily it comes.
    time: Duration,
    document: Document,
}

/// What is known of a document that an operation begins with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Document {
    NotAsked,
    /// It was decided that the operation may be done, and it wants one.
    Wanted,
    Here,
}

impl Slot {
    /// Puts a body by.
    pub(crate) fn new(body: Body, time: Duration) -> Self {
        Self(Arc::new(Mutex::new(Held { body, time, document: Document::NotAsked })))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a body that nobody wants.
    pub(crate) async fn ignore(&self, session: &Session) -> Result<()> {
        self.read(IGNORED_BYTES, None, session).await.map(drop)
    }

    /// Asks for the document; refuses as long as it is not there.
    pub(crate) fn want(&self) -> Result<()> {
        let mut held = self.held();
        if held.document == Document::Here {
            return Ok(());
        }
        held.document = Document::Wanted;
        Err(denied())
    }

    /// Whether a document was asked for that is not there.
    pub(crate) fn is_wanted(&self) -> bool {
        self.held().document == Document::Wanted
    }

    /// Reads the document that was asked for into a share of memory.
    pub(crate) async fn document(&self, most: usize, share: &mut Share, session: &Session) -> Result<Bytes> {
        let bytes = self.read(most, Some(share), session).await?;
        self.held().document = Document::Here;
        Ok(bytes)
    }

    /// Reads all of the body. Asks again whether the request's credential lives, if that took any time.
    async fn read(&self, most: usize, share: Option<&mut Share>, session: &Session) -> Result<Bytes> {
        let (body, time) = {
            let mut held = self.held();
            (std::mem::take(&mut held.body), held.time)
        };
        let mut reading = Box::pin(read(body, most, share));
        if let Some(read) = reading.as_mut().now_or_never() {
            return read;
        }
        let read = tokio::time::timeout(time, reading).await.map_err(|_| BodyError::Late)??;
        // What it is for asks too. This is for what needs nothing that could be asked for.
        drop(session.live().await?);
        Ok(read)
    }
}

/// Reads a body to its end; keeps it if there is a share to count it in.
async fn read(mut body: Body, most: usize, mut share: Option<&mut Share>) -> Result<Bytes> {
    let (mut size, mut kept) = (0usize, BytesMut::new());
    while let Some(frame) = body.frame().await {
        let Ok(bytes) = frame.map_err(|error| of_body(&*error))?.into_data() else { continue };
        size = size.saturating_add(bytes.len());
        if size > most {
            return Err(refuse(S3ErrorCode::MaxMessageLengthExceeded, "Your request was too large."));
        }
        if let Some(share) = &mut share {
            if !share.reach(size) {
                return Err(crowded());
            }
            kept.extend_from_slice(&bytes);
        }
    }
    Ok(kept.freeze())
}

impl http_body::Body for Slot {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, StdError>>> {
        Pin::new(&mut self.held().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.held().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.held().body.size_hint()
    }
}
