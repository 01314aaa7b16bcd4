//! Bodies on their way to a storage. SECURITY: the last bytes stay here until all came, what its sender told of it is held against it,
//! and the credential lives. A storage makes nothing of a body that is shorter than was announced.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use valetkey_core::fair::Share;

use crate::error::{Result, crowded, of_body};
use crate::forward::context::Cx;
use crate::gate::session::Live;
use crate::gate::slot::Slot;
use crate::gateway::port::{Answer, Asking, Coming, Sending, Severed};
use crate::objects::checksum::{Algorithm, Hashes};
use crate::objects::condition::Condition;
use crate::objects::intake::too_large;
use crate::wire::conditions::Of;
use crate::wire::put::Told;

/// Bodies up to this size are sent when they are here: then their digest is known, and a refusal costs the storage nothing.
const SMALL: u64 = 64 * 1024;
/// Those whose checksum comes behind them, up to this size, if the storage takes it only in front: twice the parts that most clients
/// upload.
const MEDIUM: u64 = 16 * 1024 * 1024;
/// What a larger one takes of memory: the piece that is held, and those on the way in and out.
const STREAMED: usize = 256 * 1024;

/// A body, and what its sender told of it.
pub(super) struct Held {
    pub(super) slot: Slot,
    pub(super) told: Told,
    pub(super) length: u64,
    pub(super) sha256: Option<[u8; 32]>,
    /// Under which condition it is written. SECURITY: it is asked for when all is here, and never told before: it could else be asked
    /// for ever by who may not read.
    pub(super) condition: Condition,
}

/// What goes from who reads the body to who sends it.
enum Piece {
    Some(Bytes),
    /// The last bytes, and what comes behind them. SECURITY: this spends the proof.
    Last(Live, Bytes, Option<HeaderMap>),
}

/// Sends a body with a request.
pub(super) async fn send(cx: &Cx, doing: &'static str, mut asking: Asking, held: Held) -> Result<Answer> {
    let Held { slot, told, length, sha256, condition } = held;
    if length > cx.kit.limits.max_object_bytes {
        return Err(too_large());
    }
    let mut reading = Reading { slot, hashes: told.hashes(), share: cx.share()? };
    let trailing = told.trailing().filter(|_| !cx.road.takes_trailers());
    let mut first = Bytes::new();
    if length <= SMALL || (trailing.is_some() && length <= MEDIUM) {
        match reading.whole(length).await? {
            Whole::Here(bytes) => {
                told.verify(&reading.hashes.finish())?;
                cx.meets(&condition, Of::Write).await?;
                if let Some((algorithm, shown)) = told.trailed() {
                    insert(&mut asking.headers, algorithm.header(), shown);
                }
                asking.body = Sending::Whole(bytes);
                return cx.road.act(cx.session.live().await?, doing, asking).await;
            }
            Whole::Crowded(begun) => first = begun,
        }
    }
    if !reading.share.reach(first.len() + STREAMED) {
        return Err(crowded());
    }
    let (to, from) = mpsc::channel(1);
    let trailer = told.trailing().filter(|_| cx.road.takes_trailers()).map(Algorithm::header);
    let bytes = Relay { from, ready: None, behind: None, over: false }.boxed_unsync();
    asking.body = Sending::Coming(Coming { length, sha256, trailer, bytes });
    let sending = cx.road.stream(doing, asking);
    let pumping = reading.pump(first, &told, trailer, (cx, &condition, to));
    tokio::pin!(sending, pumping);
    let mut whole = false;
    loop {
        tokio::select! {
            biased;
            pumped = &mut pumping, if !whole => {
                pumped?;
                whole = true;
            }
            answer = &mut sending => {
                if whole {
                    return answer;
                }
                if !condition.is_none() {
                    pumping.await?;
                }
                // A refusal may come before all of the body went; a success may not.
                answer?;
                return Err(cx.road.strange(doing, "it was content with less than the whole body"));
            }
        }
    }
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// What became of a body that was to be here before it is sent.
enum Whole {
    Here(Bytes),
    /// There is no memory for the rest of it.
    Crowded(Bytes),
}

struct Reading {
    slot: Slot,
    hashes: Hashes,
    share: Share,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while let Some(frame) = self.slot.frame().await {
            let Ok(bytes) = frame.map_err(|error| of_body(&*error))?.into_data() else { continue };
            if !bytes.is_empty() {
                self.hashes.update(&bytes);
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    async fn whole(&mut self, length: u64) -> Result<Whole> {
        let mut here = BytesMut::new();
        while let Some(bytes) = self.next().await? {
            let fits = self.share.reach(here.len() + bytes.len());
            here.extend_from_slice(&bytes);
            if !fits {
                return if length <= SMALL { Err(crowded()) } else { Ok(Whole::Crowded(here.freeze())) };
            }
        }
        Ok(Whole::Here(here.freeze()))
    }

    /// Reads the body and hands it on, but for the last bytes of it; those when it is proven.
    async fn pump(
        mut self,
        first: Bytes,
        told: &Told,
        trailer: Option<&'static str>,
        (cx, condition, to): (&Cx, &Condition, mpsc::Sender<Piece>),
    ) -> Result<()> {
        let mut held = Some(first).filter(|first| !first.is_empty());
        while let Some(bytes) = self.next().await? {
            if let Some(before) = held.replace(bytes) {
                // Where nobody takes it the storage has answered, or failed: that is told by who sends.
                drop(to.send(Piece::Some(before)).await);
            }
        }
        told.verify(&self.hashes.finish())?;
        let behind = told.trailed().filter(|_| trailer.is_some()).map(|(algorithm, shown)| {
            let mut behind = HeaderMap::new();
            insert(&mut behind, algorithm.header(), shown);
            behind
        });
        cx.meets(condition, Of::Write).await?;
        let live = cx.session.live().await?;
        drop(to.send(Piece::Last(live, held.unwrap_or_default(), behind)).await);
        Ok(())
    }
}

/// The body as the storage gets it.
struct Relay {
    from: mpsc::Receiver<Piece>,
    ready: Option<Bytes>,
    behind: Option<HeaderMap>,
    over: bool,
}

impl Body for Relay {
    type Data = Bytes;
    type Error = Severed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Severed>>> {
        if let Some(bytes) = self.ready.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if self.over {
            return Poll::Ready(self.behind.take().map(|behind| Ok(Frame::trailers(behind))));
        }
        match ready!(self.from.poll_recv(cx)) {
            Some(Piece::Some(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Some(Piece::Last(_, bytes, behind)) => {
                (self.over, self.behind) = (true, behind);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            // Whoever reads the body has let go of it.
            None => Poll::Ready(Some(Err(Severed))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
