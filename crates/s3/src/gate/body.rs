//! Bodies as they come: plain ones held against their digest, and `aws-chunked` ones taken apart.
//!
//! Streams with flat memory whatever the size of a chunk: a chunk's bytes go on before its signature is verified, and the
//! body ends in an error if it does not fit, so that nobody makes an object of it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::verify;
use bytes::{Buf as _, Bytes};
use data_encoding::HEXLOWER;
use futures::Future as _;
use http_body::{Body, Frame, SizeHint};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, Sleep};
use valetkey_sigv4::ChunkKey;

use crate::error::BodyError;
use crate::gate::moved::Moved;
use crate::gate::session::{Arrived, Trailers};

/// The longest line before a chunk: a size, a signature of 64 or, for keys of elliptic curves, 144 digits, and their names have about 200
/// bytes.
const MAX_LINE: usize = 1024;
/// The longest trailer.
const MAX_TRAILER: usize = 16 * 1024;

const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What is behind a chunked body.
pub(crate) struct Announced {
    /// The names that must come.
    pub(crate) names: Vec<String>,
    /// Where they go.
    pub(crate) to: Trailers,
}

/// How a body is to be read.
pub(crate) enum Coding {
    /// As it is.
    Plain { digest: Option<[u8; 32]> },
    /// In chunks.
    Chunks { signer: Option<Box<ChunkKey>>, announced: Option<Announced> },
}

enum State {
    Line,
    Data { left: u64 },
    DataEnd { wanted: &'static [u8] },
    Tail,
    Done,
}

struct Chunks {
    state: State,
    line: Vec<u8>,
    /// The signature this chunk claims, and what its bytes add up to.
    claimed: Vec<u8>,
    sum: Sha256,
    signer: Option<Box<ChunkKey>>,
    announced: Option<Announced>,
}

enum Reader {
    Plain { digest: Option<(Sha256, [u8; 32])> },
    Chunks(Box<Chunks>),
}

/// Where a body goes when it was not read to its end, for the connection's sake.
pub(crate) type Leftover<B> = Arc<Mutex<Option<B>>>;

/// A request's body, decoded.
pub(crate) struct Decoded<B> {
    inner: Option<B>,
    reader: Reader,
    pending: Bytes,
    /// Bytes that are announced and did not come yet.
    left: Option<u64>,
    pace: Option<Pace>,
    over: bool,
    leftover: Leftover<B>,
    /// Told when all of it came and fits.
    arrived: Arrived,
    /// Counts what goes on.
    moved: Option<Arc<Moved>>,
}

/// How slow a sender may be: it has some time in hand, loses what we wait for it, and is given more for each byte. So it may pause
/// for that long, and is never for longer below the least rate.
struct Pace {
    most: Duration,
    /// Bytes that win a second.
    rate: u64,
    left: Duration,
    /// Since when it is waited for.
    since: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// Waits for the sender: ready when it has been too slow.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.since.is_none() {
            let now = Instant::now();
            self.since = Some(now);
            match &mut self.sleep {
                Some(sleep) => sleep.as_mut().reset(now + self.left),
                none => *none = Some(Box::pin(tokio::time::sleep(self.left))),
            }
        }
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    /// Bytes came.
    fn came(&mut self, bytes: usize) {
        let waited = self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        let millis = (bytes as u64).saturating_mul(1000).checked_div(self.rate).unwrap_or(u64::MAX);
        let left = self.left.saturating_sub(waited).saturating_add(Duration::from_millis(millis));
        self.left = left.min(self.most);
    }
}

impl<B> Decoded<B> {
    /// Decodes a body of `length` bytes (what is left after decoding), if that was announced.
    pub(crate) fn new(inner: Option<B>, coding: Coding, length: Option<u64>, leftover: Leftover<B>) -> Self {
        let reader = match coding {
            Coding::Plain { digest } => Reader::Plain { digest: digest.map(|digest| (Sha256::new(), digest)) },
            Coding::Chunks { signer, announced } => Reader::Chunks(Box::new(Chunks {
                state: State::Line,
                line: Vec::new(),
                claimed: Vec::new(),
                sum: Sha256::new(),
                signer,
                announced,
            })),
        };
        let arrived = Arrived::default();
        Self {
            inner,
            reader,
            pending: Bytes::new(),
            left: length,
            pace: None,
            over: false,
            leftover,
            arrived,
            moved: None,
        }
    }

    /// Refuses a sender that pauses for longer than `most`, or is for so long slower than `rate` bytes a second.
    pub(crate) fn no_slower(mut self, most: Duration, rate: u64) -> Self {
        self.pace = Some(Pace { most, rate, left: most, since: None, sleep: None });
        self
    }

    /// Tells when all of it came and fits.
    pub(crate) fn telling(mut self, arrived: Arrived) -> Self {
        self.arrived = arrived;
        self
    }

    /// Counts the bytes that go on.
    pub(crate) fn counting(mut self, moved: Arc<Moved>) -> Self {
        self.moved = Some(moved);
        self
    }

    /// The body as it came, if nothing of it was read yet.
    pub(crate) fn into_inner(mut self) -> Option<B> {
        self.inner.take()
    }

    /// Counts bytes that go on.
    fn count(&mut self, bytes: &Bytes) -> Result<(), BodyError> {
        if let Some(moved) = &self.moved {
            moved.came(bytes.len());
        }
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(bytes.len() as u64).ok_or(BodyError::TooLong)?;
        }
        Ok(())
    }

    /// The body is over: everything must have come and must fit.
    fn finish(&mut self) -> Result<(), BodyError> {
        self.fits()?;
        self.arrived.tell();
        Ok(())
    }

    fn fits(&mut self) -> Result<(), BodyError> {
        if self.left.is_some_and(|left| left > 0) {
            return Err(BodyError::Incomplete);
        }
        match &mut self.reader {
            Reader::Plain { digest } => match digest.take() {
                Some((sum, wanted)) => {
                    let fits = <[u8; 32]>::from(sum.finalize()) == wanted;
                    if fits { Ok(()) } else { Err(BodyError::Digest) }
                }
                None => Ok(()),
            },
            Reader::Chunks(chunks) => chunks.finish(),
        }
    }
}

impl Chunks {
    /// Reads the line before a chunk: its size in hex, and its signature if it has one.
    fn begin(&mut self) -> Result<(), BodyError> {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r\n").ok_or(BodyError::Malformed)?;
        let line = std::str::from_utf8(line).map_err(|_| BodyError::Malformed)?;
        let (size, extension) = line.split_once(';').map_or((line, None), |(size, rest)| (size, Some(rest)));
        let digits = (1..=16).contains(&size.len()) && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        let left = u64::from_str_radix(size, 16).ok().filter(|_| digits).ok_or(BodyError::Malformed)?;
        let claimed = extension.and_then(|rest| rest.strip_prefix("chunk-signature="));
        match (&self.signer, claimed) {
            (Some(_), Some(claimed)) => {
                self.claimed = HEXLOWER.decode(claimed.as_bytes()).map_err(|_| BodyError::Signature)?;
            }
            (Some(_), None) => return Err(BodyError::Malformed),
            (None, _) => {}
        }
        if left == 0 {
            self.end_chunk()?;
            self.state = State::Tail;
        } else {
            self.state = State::Data { left };
        }
        Ok(())
    }

    /// A chunk is over: its signature must fit.
    fn end_chunk(&mut self) -> Result<(), BodyError> {
        let sum = std::mem::take(&mut self.sum).finalize();
        if let Some(ChunkKey { key, seed, time, scope }) = self.signer.as_deref_mut() {
            let sum = HEXLOWER.encode(&sum);
            let to_sign = format!("AWS4-HMAC-SHA256-PAYLOAD\n{time}\n{scope}\n{seed}\n{EMPTY_SHA256}\n{sum}");
            verify(key, to_sign.as_bytes(), &self.claimed).map_err(|_| BodyError::Signature)?;
            *seed = HEXLOWER.encode(&self.claimed);
        }
        Ok(())
    }

    /// The stream is over: the last chunk and all that was announced must have come.
    fn finish(&mut self) -> Result<(), BodyError> {
        if !matches!(self.state, State::Tail) {
            return Err(BodyError::Incomplete);
        }
        self.state = State::Done;
        let tail = std::mem::take(&mut self.line);
        let tail = std::str::from_utf8(&tail).map_err(|_| BodyError::Malformed)?;
        let mut trailers: Vec<(String, String)> = Vec::new();
        let mut signature = None;
        for line in tail.split('\n').map(str::trim).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or(BodyError::Malformed)?;
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().to_owned());
            if name == "x-amz-trailer-signature" {
                signature = Some(value);
            } else {
                trailers.push((name, value));
            }
        }
        let Some(Announced { names, to }) = self.announced.take() else {
            return if trailers.is_empty() && signature.is_none() { Ok(()) } else { Err(BodyError::Malformed) };
        };
        trailers.sort_unstable();
        let mut came: Vec<&str> = trailers.iter().map(|(name, _)| name.as_str()).collect();
        came.dedup();
        let announced = came.len() == trailers.len()
            && names.len() == came.len()
            && names.iter().all(|name| came.contains(&name.as_str()));
        if !announced {
            return Err(BodyError::Malformed);
        }
        if let Some(ChunkKey { key, seed, time, scope }) = self.signer.as_deref() {
            let signature = signature.ok_or(BodyError::Malformed)?;
            let signature = HEXLOWER.decode(signature.as_bytes()).map_err(|_| BodyError::Signature)?;
            let written: Vec<[&str; 4]> =
                trailers.iter().map(|(name, value)| [name.as_str(), ":", value, "\n"]).collect();
            let written = written.concat().concat();
            let hash = HEXLOWER.encode(digest(&SHA256, written.as_bytes()).as_ref());
            let to_sign = format!("AWS4-HMAC-SHA256-TRAILER\n{time}\n{scope}\n{seed}\n{hash}");
            verify(key, to_sign.as_bytes(), &signature).map_err(|_| BodyError::Signature)?;
        }
        to.keep(trailers);
        Ok(())
    }

    /// Takes what it can of the bytes there are; gives on what is the object's.
    fn step(&mut self, pending: &mut Bytes) -> Result<Option<Bytes>, BodyError> {
        while !pending.is_empty() {
            match &mut self.state {
                State::Line => {
                    let end = pending.iter().position(|byte| *byte == b'\n').map_or(pending.len(), |at| at + 1);
                    let piece = pending.split_to(end);
                    if self.line.len() + piece.len() > MAX_LINE {
                        return Err(BodyError::Malformed);
                    }
                    self.line.extend_from_slice(&piece);
                    if self.line.ends_with(b"\n") {
                        self.begin()?;
                    }
                }
                State::Data { left } => {
                    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(pending.len());
                    let data = pending.split_to(take);
                    *left -= take as u64;
                    let ended = *left == 0;
                    if self.signer.is_some() {
                        self.sum.update(&data);
                    }
                    if ended {
                        self.end_chunk()?;
                        self.state = State::DataEnd { wanted: b"\r\n" };
                    }
                    return Ok(Some(data));
                }
                State::DataEnd { wanted } => {
                    let Some((byte, rest)) = wanted.split_first() else {
                        self.state = State::Line;
                        continue;
                    };
                    if pending.first() != Some(byte) {
                        return Err(BodyError::Malformed);
                    }
                    pending.advance(1);
                    if rest.is_empty() {
                        self.state = State::Line;
                    } else {
                        *wanted = rest;
                    }
                }
                State::Tail => {
                    if self.line.len() + pending.len() > MAX_TRAILER {
                        return Err(BodyError::Malformed);
                    }
                    self.line.extend_from_slice(pending);
                    pending.clear();
                }
                State::Done => return Err(BodyError::TooLong),
            }
        }
        Ok(None)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Decoded<B> {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if let Reader::Chunks(chunks) = &mut self.reader
                && let Some(data) = chunks.step(&mut self.pending)?
            {
                self.count(&data)?;
                return Poll::Ready(Some(Ok(data)));
            }
            let Some(inner) = &mut self.inner else { return Poll::Ready(self.finish().err().map(Err)) };
            let polled = Pin::new(inner).poll_frame(cx);
            if let Some(pace) = &mut self.pace {
                match &polled {
                    Poll::Pending => {
                        ready!(pace.poll_late(cx));
                        return Poll::Ready(Some(Err(BodyError::Idle)));
                    }
                    Poll::Ready(Some(Ok(frame))) => pace.came(frame.data_ref().map_or(0, Bytes::len)),
                    Poll::Ready(_) => {}
                }
            }
            match ready!(polled) {
                None => {
                    self.inner = None;
                    return Poll::Ready(self.finish().err().map(Err));
                }
                Some(Err(_)) => return Poll::Ready(Some(Err(BodyError::Connection))),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    match &mut self.reader {
                        Reader::Chunks(_) => self.pending = data,
                        Reader::Plain { digest } => {
                            if let Some((sum, _)) = digest {
                                sum.update(&data);
                            }
                            self.count(&data)?;
                            return Poll::Ready(Some(Ok(data)));
                        }
                    }
                }
            }
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Decoded<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let polled = ready!(self.poll_data(cx));
        self.over = !matches!(polled, Some(Ok(_)));
        Poll::Ready(polled.map(|data| data.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        // Exact only in what was announced; an early end is an error and not a hint.
        SizeHint::default()
    }
}

impl<B> Drop for Decoded<B> {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            *self.leftover.lock().unwrap_or_else(PoisonError::into_inner) = Some(inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
    use futures::stream;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    fn key() -> ChunkKey {
        let step = |key: &[u8], data: &str| sign(&Key::new(HMAC_SHA256, key), data.as_bytes());
        let date = step(b"AWS4wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524");
        let service = step(step(date.as_ref(), "us-east-1").as_ref(), "s3");
        ChunkKey {
            key: Key::new(HMAC_SHA256, step(service.as_ref(), "aws4_request").as_ref()),
            seed: "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9".to_owned(),
            time: "20130524T000000Z".to_owned(),
            scope: "20130524/us-east-1/s3/aws4_request".to_owned(),
        }
    }

    async fn decode(wire: &[u8], cut: usize, length: u64, coding: Coding) -> Result<Vec<u8>, BodyError> {
        let frames: Vec<_> =
            wire.chunks(cut).map(|piece| Ok::<_, BodyError>(Frame::data(Bytes::copy_from_slice(piece)))).collect();
        let inner = StreamBody::new(stream::iter(frames));
        let decoded = Decoded::new(Some(inner), coding, Some(length), Leftover::default());
        decoded.collect().await.map(|collected| collected.to_bytes().to_vec())
    }

    /// Amazon S3 API Reference, "Signature Calculations: Transferring Payload in Multiple Chunks", the example.
    #[tokio::test]
    async fn the_published_example_is_taken_apart_however_it_is_cut() {
        let body = vec![b'a'; 66_560];
        let mut wire = Vec::new();
        for (size, signature) in [
            (65_536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
            (1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
            (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
        ] {
            wire.extend_from_slice(format!("{size:x};chunk-signature={signature}\r\n").as_bytes());
            wire.extend_from_slice(&body[..size]);
            wire.extend_from_slice(b"\r\n");
        }
        let signed = || Coding::Chunks { signer: Some(Box::new(key())), announced: None };
        for cut in [1, 7, 64, 4096, 65_536 + 85, 100_000] {
            assert_eq!(decode(&wire, cut, 66_560, signed()).await.as_deref(), Ok(&*body), "{cut}");
        }
        let mut changed = wire.clone();
        changed[1000] = b'b';
        assert_eq!(decode(&changed, 4096, 66_560, signed()).await, Err(BodyError::Signature));
        assert_eq!(decode(&wire, 4096, 66_559, signed()).await, Err(BodyError::TooLong));
        assert_eq!(decode(&wire, 4096, 66_561, signed()).await, Err(BodyError::Incomplete));
        for end in [0, 50, 1000, 65_536 + 85, wire.len() - 90] {
            assert_eq!(decode(&wire[..end], 4096, 66_560, signed()).await, Err(BodyError::Incomplete), "{end}");
        }
    }

    #[tokio::test]
    async fn a_plain_body_is_held_against_its_digest_and_length() {
        let good = <[u8; 32]>::from(Sha256::digest(b"abc"));
        let plain = |digest| Coding::Plain { digest };
        assert_eq!(decode(b"abc", 1, 3, plain(Some(good))).await.as_deref(), Ok(&b"abc"[..]));
        assert_eq!(decode(b"abd", 1, 3, plain(Some(good))).await, Err(BodyError::Digest));
        assert_eq!(decode(b"ab", 1, 3, plain(Some(good))).await, Err(BodyError::Incomplete));
        assert_eq!(decode(b"abcd", 4, 3, plain(None)).await, Err(BodyError::TooLong));
    }
}
