//! What becomes of the connection when a request with a body is refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use valetkey_core::scope::Actions;

use crate::rig::{Answer, Ask, Credential, Rig};

const MIB: usize = 1024 * 1024;

/// A request on a connection that its sender would keep, and where its body starts.
fn kept(ask: Ask, credential: &Credential) -> (Vec<u8>, usize) {
    let wire = ask.signed(credential);
    let head = wire.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let kept = String::from_utf8(wire[..head].to_vec()).unwrap().replace("connection: close\r\n", "");
    ([kept.as_bytes(), &wire[head..]].concat(), kept.len())
}

/// Reads an answer's head and its document.
async fn answer(socket: &mut TcpStream) -> Answer {
    let mut wire = Vec::new();
    loop {
        let read = socket.read_buf(&mut wire).await.unwrap();
        let text = String::from_utf8_lossy(&wire);
        if read == 0 || text.ends_with("</Error>") {
            return Answer::read(&wire);
        }
    }
}

#[tokio::test]
async fn a_large_body_that_is_refused_is_neither_waited_for_nor_reset() {
    let rig = Rig::start().await;
    let credential = rig.directory("in", Actions::READ_WRITE);
    let size = 1024 * MIB;
    let ask = rig.ask("PUT", "/lake/out/o").header("content-length", &size.to_string()).told("UNSIGNED-PAYLOAD");
    let (wire, _) = kept(ask.body(vec![7; MIB / 8]), &credential);
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    let began = Instant::now();
    socket.write_all(&wire).await.unwrap();
    let refused = answer(&mut socket).await;
    refused.is(403, "AccessDenied");
    assert_eq!(refused.header("connection"), Some("close"));
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    // What was on its way still goes through; the end comes when the sender stops.
    socket.write_all(&vec![7; 8 * MIB]).await.unwrap();
    socket.shutdown().await.unwrap();
    assert_eq!(socket.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_sender_that_reads_no_answer_before_it_has_sent_all_still_gets_it() {
    let rig = Rig::start().await;
    let credential = rig.directory("in", Actions::READ_WRITE);
    let ask = rig.ask("PUT", "/lake/out/o").told("UNSIGNED-PAYLOAD").body(vec![7; 20 * MIB]);
    let (wire, _) = kept(ask, &credential);
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    socket.write_all(&wire).await.unwrap();
    let refused = answer(&mut socket).await;
    refused.is(403, "AccessDenied");
    assert_eq!(refused.header("connection"), Some("close"));
}

#[tokio::test]
async fn a_small_body_that_is_refused_leaves_the_connection_for_the_next_request() {
    let rig = Rig::start().await;
    let credential = rig.directory("in", Actions::READ_WRITE);
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    for _ in 0..3 {
        let (wire, _) = kept(rig.ask("PUT", "/lake/out/o").body(vec![7; MIB / 2]), &credential);
        socket.write_all(&wire).await.unwrap();
        let refused = answer(&mut socket).await;
        refused.is(403, "AccessDenied");
        assert_eq!(refused.header("connection"), None);
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_in_time_ends_its_connection() {
    let rig = Rig::start_in(Arc::new(TempDir::new().unwrap()), |config| {
        config.limits.idle = Duration::from_millis(100);
    })
    .await;
    let credential = rig.whole();
    for size in [100, 100 * MIB] {
        let ask = rig.ask("PUT", "/lake/o").header("content-length", &size.to_string()).told("UNSIGNED-PAYLOAD");
        let (wire, _) = kept(ask.body("some"), &credential);
        let mut socket = TcpStream::connect(rig.address).await.unwrap();
        socket.write_all(&wire).await.unwrap();
        let refused = answer(&mut socket).await;
        refused.is(408, "RequestTimeout");
        assert_eq!(refused.header("connection"), Some("close"));
        assert_eq!(socket.read(&mut [0; 1]).await.unwrap(), 0);
    }
    rig.get("/lake/o", &credential).await.is(404, "NoSuchKey");
}
