//! Bodies in chunks: signed, with trailers, and everything that can be wrong with them.

use data_encoding::{BASE64, HEXLOWER};

use crate::rig::{Answer, Ask, Credential, Rig, hmac, noise, sha256};

const SIGNED: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const SIGNED_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
const CRC32: &str = "x-amz-checksum-crc32";

fn crc32(bytes: &[u8]) -> String {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, bytes) as u32;
    BASE64.encode(&crc.to_be_bytes())
}

fn start(rig: &Rig, told: &str, body: &[u8]) -> Ask {
    rig.ask("PUT", "/lake/o")
        .told(told)
        .header("content-encoding", "aws-chunked")
        .header("x-amz-decoded-content-length", &body.len().to_string())
}

/// Signs each chunk in turn; with a trailer if there is one.
fn chunks(ask: &Ask, seed: String, secret: &str, body: &[u8], size: usize, trailer: Option<(&str, &str)>) -> Vec<u8> {
    let key = ask.signing_key(secret);
    let mut before = seed;
    let mut wire = Vec::new();
    let pieces = body.chunks(size).chain([&b""[..]]);
    for piece in pieces {
        let to_sign = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{before}\n{}\n{}",
            ask.stamp(),
            ask.scope(),
            sha256(b""),
            sha256(piece)
        );
        before = HEXLOWER.encode(&hmac(&key, &to_sign));
        wire.extend_from_slice(format!("{:x};chunk-signature={before}\r\n", piece.len()).as_bytes());
        wire.extend_from_slice(piece);
        if !piece.is_empty() || trailer.is_none() {
            wire.extend_from_slice(b"\r\n");
        }
    }
    if let Some((name, value)) = trailer {
        let hash = sha256(format!("{name}:{value}\n").as_bytes());
        let to_sign = format!("AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{before}\n{hash}", ask.stamp(), ask.scope());
        let signature = HEXLOWER.encode(&hmac(&key, &to_sign));
        wire.extend_from_slice(format!("{name}:{value}\r\nx-amz-trailer-signature:{signature}\r\n\r\n").as_bytes());
    }
    wire
}

async fn send_signed(
    rig: &Rig,
    credential: &Credential,
    body: &[u8],
    size: usize,
    change: impl Fn(&mut Vec<u8>),
) -> Answer {
    let (ask, seed) = start(rig, SIGNED, body).sign(credential);
    let mut wire = chunks(&ask, seed, &credential.secret, body, size, None);
    change(&mut wire);
    rig.raw(ask.body(wire).wire()).await
}

async fn send_trailer(rig: &Rig, credential: &Credential, body: &[u8], value: &str) -> Answer {
    let (ask, seed) = start(rig, SIGNED_TRAILER, body).header("x-amz-trailer", CRC32).sign(credential);
    let wire = chunks(&ask, seed, &credential.secret, body, 65_536, Some((CRC32, value)));
    rig.raw(ask.body(wire).wire()).await
}

#[tokio::test]
async fn signed_chunks_are_put_together() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    for (length, size) in [(0, 10), (1, 10), (1000, 64), (200_000, 65_536), (700_000, 700_000)] {
        let body = noise(length as u64, length);
        send_signed(&rig, &credential, &body, size, |_| {}).await.ok();
        let got = rig.get("/lake/o", &credential).await;
        assert!(got.body == body, "{length} in {size}");
        // The coding was of the transfer, not of the object.
        assert_eq!(got.header("content-encoding"), None);
    }
}

#[tokio::test]
async fn a_changed_chunk_makes_no_object() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let body = noise(5, 1000);
    let flip = |at: usize| move |wire: &mut Vec<u8>| wire[at] ^= 1;
    send_signed(&rig, &credential, &body, 100, flip(500)).await.is(403, "SignatureDoesNotMatch");
    send_signed(&rig, &credential, &body, 100, |wire| {
        let at = wire.windows(16).position(|window| window == b"chunk-signature=").unwrap() + 16;
        wire[at] = if wire[at] == b'0' { b'1' } else { b'0' };
    })
    .await
    .is(403, "SignatureDoesNotMatch");
    // Cut at the end of a chunk, in a chunk, and without the last empty chunk.
    for cut in [300, 5, 88] {
        let answer = send_signed(&rig, &credential, &body, 100, |wire| wire.truncate(wire.len() - cut)).await;
        assert_eq!(answer.status, 400, "{cut}: {}", answer.text());
    }
    send_signed(&rig, &credential, &body, 100, |wire| wire.extend_from_slice(b"x")).await.is(400, "InvalidRequest");
    for bad in [
        &b"zz;chunk-signature=00\r\n"[..],
        b"10\r\n",
        b"\r\n",
        b"-1\r\n",
        b"fffffffffffffffff\r\n",
        &[b'1'; 5000],
        b"5;x=y\r\nabcde\r\n",
    ] {
        let answer = send_signed(&rig, &credential, &body, 100, |wire| *wire = bad.to_vec()).await;
        assert!(answer.status == 400 || answer.status == 403, "{}: {}", bad.escape_ascii(), answer.text());
    }
    // Another length than was told.
    let (ask, seed) = start(&rig, SIGNED, &body[1..]).sign(&credential);
    let wire = chunks(&ask, seed, &credential.secret, &body, 100, None);
    rig.raw(ask.body(wire).wire()).await.is(400, "IncompleteBody");
    rig.get("/lake/o", &credential).await.is(404, "NoSuchKey");
}

#[tokio::test]
async fn trailers_are_verified() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let body = noise(6, 150_000);
    let answer = send_trailer(&rig, &credential, &body, &crc32(&body)).await;
    assert_eq!(answer.ok().header(CRC32), Some(&*crc32(&body)));
    assert!(rig.get("/lake/o", &credential).await.body == body);
    send_trailer(&rig, &credential, &body, &crc32(b"other")).await.is(400, "BadDigest");
    send_trailer(&rig, &credential, &body, "nonsense").await.is(400, "InvalidRequest");
    // A trailer whose signature is of another.
    let (ask, seed) = start(&rig, SIGNED_TRAILER, &body).header("x-amz-trailer", CRC32).sign(&credential);
    let mut wire = chunks(&ask, seed, &credential.secret, &body, 65_536, Some((CRC32, &crc32(&body))));
    let at = wire.windows(CRC32.len()).rposition(|window| window == CRC32.as_bytes()).unwrap() + CRC32.len() + 1;
    wire[at] = if wire[at] == b'A' { b'B' } else { b'A' };
    rig.raw(ask.body(wire).wire()).await.is(403, "SignatureDoesNotMatch");
}

/// Sends a body as the newest clients do over TLS: chunked transfer, no length of the whole.
async fn send_unsigned(rig: &Rig, credential: &Credential, body: &[u8], inner: &[u8]) -> Answer {
    let ask = start(rig, UNSIGNED_TRAILER, body)
        .header("x-amz-trailer", CRC32)
        .header("x-amz-sdk-checksum-algorithm", "CRC32")
        .header("transfer-encoding", "chunked");
    let mut transfer = Vec::new();
    for piece in inner.chunks(1000) {
        transfer.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        transfer.extend_from_slice(piece);
        transfer.extend_from_slice(b"\r\n");
    }
    transfer.extend_from_slice(b"0\r\n\r\n");
    rig.send(ask.body(transfer), credential).await
}

#[tokio::test]
async fn unsigned_chunks_with_a_trailer_need_no_length() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let body = noise(7, 100_000);
    let plain = |trailer: &str| {
        let mut wire = format!("{:X}\r\n", body.len()).into_bytes();
        wire.extend_from_slice(&body);
        wire.extend_from_slice(b"\r\n0\r\n");
        wire.extend_from_slice(trailer.as_bytes());
        wire.extend_from_slice(b"\r\n");
        wire
    };
    let good = format!("{CRC32}:{}\r\n", crc32(&body));
    send_unsigned(&rig, &credential, &body, &plain(&good)).await.ok();
    assert!(rig.get("/lake/o", &credential).await.body == body);
    rig.send(rig.ask("DELETE", "/lake/o"), &credential).await.ok();
    let wrong = format!("{CRC32}:{}\r\n", crc32(b"x"));
    send_unsigned(&rig, &credential, &body, &plain(&wrong)).await.is(400, "BadDigest");
    // Announced and missing, another one, twice, more than one, without a colon.
    for trailer in
        ["", "x-amz-checksum-crc32c:AAAAAA==\r\n", &good.repeat(2), &format!("{good}x-other:1\r\n"), "nonsense\r\n"]
    {
        send_unsigned(&rig, &credential, &body, &plain(trailer)).await.is(400, "InvalidRequest");
    }
    send_unsigned(&rig, &credential, &body, &plain(&format!("{CRC32}:{}\r\n", "A".repeat(20_000))))
        .await
        .is(400, "InvalidRequest");
    send_unsigned(&rig, &credential, &body, b"5\r\nabcde\r\n").await.is(400, "IncompleteBody");
    rig.get("/lake/o", &credential).await.is(404, "NoSuchKey");
}

#[tokio::test]
async fn chunked_bodies_tell_what_they_are() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let no_length = rig.ask("PUT", "/lake/o").told(SIGNED).body("0\r\n\r\n");
    rig.send(no_length, &credential).await.is(411, "MissingContentLength");
    let no_trailer = start(&rig, SIGNED_TRAILER, b"").body("0\r\n\r\n");
    rig.send(no_trailer, &credential).await.is(400, "InvalidRequest");
    let unknown = start(&rig, UNSIGNED_TRAILER, b"").header("x-amz-trailer", "x-amz-meta-x").body("0\r\n\r\n");
    rig.send(unknown, &credential).await.is(400, "InvalidRequest");
    let ecdsa = rig.ask("PUT", "/lake/o").told("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD").body("x");
    rig.send(ecdsa, &credential).await.is(501, "NotImplemented");
    let nonsense = rig.ask("PUT", "/lake/o").told("nonsense").body("x");
    rig.send(nonsense, &credential).await.is(400, "InvalidArgument");
    let plain = rig.ask("PUT", "/lake/o").told("UNSIGNED-PAYLOAD").header("transfer-encoding", "chunked");
    rig.send(plain.body("1\r\nx\r\n0\r\n\r\n"), &credential).await.is(411, "MissingContentLength");
    let huge = rig.ask("PUT", "/lake/o").told(SIGNED).header("x-amz-decoded-content-length", "5368709121");
    rig.send(huge.body("0\r\n\r\n"), &credential).await.is(400, "EntityTooLarge");
    let gzip = start(&rig, UNSIGNED_TRAILER, b"x").header("x-amz-trailer", CRC32);
    let mut gzip = gzip.body(format!("1\r\nx\r\n0\r\n{CRC32}:{}\r\n\r\n", crc32(b"x")));
    gzip.headers.iter_mut().find(|(name, _)| name == "content-encoding").unwrap().1 = "gzip,aws-chunked".to_owned();
    rig.send(gzip, &credential).await.ok();
    assert_eq!(rig.get("/lake/o", &credential).await.header("content-encoding"), Some("gzip"));
}
