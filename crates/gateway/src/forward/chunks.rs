//! Bodies in chunks (`aws-chunked`): signed one by one where others could change them on the way, and with a checksum behind them.
//! Source: Amazon S3 API Reference, "Signature Calculations: Transferring Payload in Multiple Chunks".

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use valetkey_s3::Severed;
use valetkey_sigv4::ChunkSigner;

/// The size of every chunk but the last: the one that the reference's examples have, and clients of AWS.
const CHUNK: usize = 64 * 1024;
/// `;chunk-signature=` and 64 digits.
const SIGNATURE: u64 = 17 + 64;

/// How a body goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Coding {
    pub(super) signed: bool,
    /// The checksum behind it.
    pub(super) trailer: Option<&'static str>,
}

impl Coding {
    /// What is told instead of the body's digest.
    pub(super) fn name(self) -> &'static str {
        match (self.signed, self.trailer) {
            (true, Some(_)) => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            (true, None) => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            (false, _) => "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        }
    }

    /// How many bytes a body of so many has in chunks.
    pub(super) fn length(self, length: u64) -> u64 {
        let line = |size: u64| format!("{size:x}").len() as u64 + if self.signed { SIGNATURE } else { 0 } + 2;
        let chunk = |size: u64| if size == 0 { 0 } else { line(size) + size + 2 };
        let (full, rest) = (length / CHUNK as u64, length % CHUNK as u64);
        let behind = self.trailer.map_or(0, |name| {
            let signature = if self.signed { "x-amz-trailer-signature:".len() + 64 + 2 } else { 0 };
            (name.len() + 1 + width(name) + 2 + signature) as u64
        });
        full * chunk(CHUNK as u64) + chunk(rest) + line(0) + behind + 2
    }
}

/// How many characters a checksum has.
fn width(name: &str) -> usize {
    match name {
        "x-amz-checksum-crc64nvme" => 12,
        "x-amz-checksum-sha1" => 28,
        "x-amz-checksum-sha256" => 44,
        _ => 8,
    }
}

/// A body in chunks.
pub(super) struct Chunked<B> {
    inner: B,
    coding: Coding,
    signer: ChunkSigner,
    pending: BytesMut,
    behind: HeaderMap,
    over: bool,
}

impl<B> Chunked<B> {
    pub(super) fn new(inner: B, coding: Coding, signer: ChunkSigner) -> Self {
        Self { inner, coding, signer, pending: BytesMut::new(), behind: HeaderMap::new(), over: false }
    }

    /// A chunk, with what stands around it.
    fn chunk(&mut self, bytes: &[u8]) -> BytesMut {
        let mut out = BytesMut::with_capacity(bytes.len() + 128);
        out.extend_from_slice(format!("{:x}", bytes.len()).as_bytes());
        if self.coding.signed {
            out.extend_from_slice(b";chunk-signature=");
            out.extend_from_slice(self.signer.chunk(bytes).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        if !bytes.is_empty() {
            out.extend_from_slice(bytes);
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    /// The end: what is left, the chunk that says that there is no more, and what comes behind.
    fn end(&mut self) -> Bytes {
        let rest = self.pending.split();
        let mut out = if rest.is_empty() { BytesMut::new() } else { self.chunk(&rest) };
        let last = self.chunk(&[]);
        out.extend_from_slice(&last);
        if let Some(name) = self.coding.trailer {
            let value = self.behind.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            out.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
            if self.coding.signed {
                let signature = self.signer.trailer(&format!("{name}:{value}\n"));
                out.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
            }
        }
        out.extend_from_slice(b"\r\n");
        out.freeze()
    }
}

impl<B: Body<Data = Bytes, Error = Severed> + Unpin> Body for Chunked<B> {
    type Data = Bytes;
    type Error = Severed;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Severed>>> {
        loop {
            if self.pending.len() >= CHUNK {
                let bytes = self.pending.split_to(CHUNK);
                return Poll::Ready(Some(Ok(Frame::data(self.chunk(&bytes).freeze()))));
            }
            if self.over {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.pending.extend_from_slice(&bytes),
                    Err(frame) => self.behind = frame.into_trailers().unwrap_or_default(),
                },
                Some(Err(severed)) => return Poll::Ready(Some(Err(severed))),
                None => {
                    self.over = true;
                    let end = self.end();
                    return Poll::Ready(Some(Ok(Frame::data(end))));
                }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, StreamBody};
    use jiff::Timestamp;
    use valetkey_core::Secret;
    use valetkey_sigv4::{SigningKey, Whole, sign_whole};

    use super::*;

    fn signer() -> ChunkSigner {
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned());
        let key = SigningKey::new(&secret, Timestamp::UNIX_EPOCH, "us-east-1", "s3");
        let headers = HeaderMap::new();
        let whole = Whole { method: "PUT", path: "/", query: "", headers: &headers, body_sha256: "" };
        sign_whole(&whole, "AKIA", key).unwrap().chunks
    }

    #[tokio::test]
    async fn a_body_in_chunks_is_as_long_as_was_said() {
        for trailer in [None, Some("x-amz-checksum-crc32"), Some("x-amz-checksum-sha256")] {
            for signed in [true, false] {
                for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 200_000] {
                    let coding = Coding { signed, trailer };
                    let value = "A".repeat(trailer.map_or(0, width));
                    let behind =
                        trailer.map(|name| HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]));
                    let body = vec![7u8; length];
                    let frames = body.chunks(50_000).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))));
                    let frames: Vec<_> = frames.chain(behind.map(|behind| Ok(Frame::trailers(behind)))).collect();
                    let inner = StreamBody::new(futures::stream::iter(frames));
                    let sent = Chunked::new(inner, coding, signer()).collect().await.unwrap().to_bytes();
                    assert_eq!(sent.len() as u64, coding.length(length as u64), "{coding:?} {length}");
                    assert!(sent.ends_with(b"\r\n\r\n"));
                }
            }
        }
    }

    /// The example of the reference itself.
    #[tokio::test]
    async fn chunks_are_signed_as_published() {
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned());
        let key = SigningKey::new(&secret, "2013-05-24T00:00:00Z".parse().unwrap(), "us-east-1", "s3");
        let headers = [
            ("host", "s3.amazonaws.com"),
            ("x-amz-date", "20130524T000000Z"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "66560"),
            ("content-length", "66824"),
        ];
        let headers =
            headers.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let coding = Coding { signed: true, trailer: None };
        let (path, body_sha256) = ("/examplebucket/chunkObject.txt", coding.name());
        let whole = Whole { method: "PUT", path, query: "", headers: &headers, body_sha256 };
        let proof = sign_whole(&whole, "AKIAIOSFODNN7EXAMPLE", key).unwrap();
        let frames = [Ok(Frame::data(Bytes::from(vec![b'a'; 66_560])))];
        let inner = StreamBody::new(futures::stream::iter(frames));
        let sent = Chunked::new(inner, coding, proof.chunks).collect().await.unwrap().to_bytes();
        let expected = [
            "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n",
            &"a".repeat(65_536),
            "\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n",
            &"a".repeat(1024),
            "\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n",
        ];
        assert!(sent == expected.concat().as_bytes());
        assert_eq!(coding.length(66_560), 66_824);
    }

    #[tokio::test]
    async fn a_body_that_goes_no_further_does_not_end() {
        let frames = [Ok(Frame::data(Bytes::from_static(b"abc"))), Err(Severed)];
        let inner = StreamBody::new(futures::stream::iter(frames));
        let coding = Coding { signed: true, trailer: None };
        assert_eq!(Chunked::new(inner, coding, signer()).collect().await.map(drop), Err(Severed));
    }
}
