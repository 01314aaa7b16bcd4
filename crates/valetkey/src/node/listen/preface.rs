//! A listener that serves HTTP/1.1 alone tells who begins with HTTP/2 so, in HTTP/2.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::node::listen::{Ends, last_words};

/// How HTTP/2 begins (RFC 9113, section 3.4); no method of HTTP/1.1 does.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// No settings, which come first, and a GOAWAY (section 6.8) with `HTTP_1_1_REQUIRED`, 46 bytes with what it says.
const GOAWAY: &[u8] =
    b"\0\0\0\x04\0\0\0\0\0\0\0\x2e\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0dHTTP/1.1 is served here, and no HTTP/2";

/// Waits for the first bytes, and takes none of them. Whether there is nothing to serve: they begin HTTP/2, or did not come.
pub(super) async fn refuses(stream: &mut TcpStream, ends: &Ends, longest: Duration) -> bool {
    let mut begun = [0; PREFACE.len()];
    let peeked = tokio::select! {
        peeked = tokio::time::timeout(longest, stream.peek(&mut begun)) => peeked,
        // A request may be on its way, and is answered.
        () = ends.stop.cancelled() => return false,
    };
    let Ok(Ok(count @ 1..)) = peeked else { return true };
    // Of fewer bytes it is a bad request.
    let is_http_2 = count >= 3 && begun.get(..count).is_some_and(|begun| PREFACE.starts_with(begun));
    if is_http_2 {
        last_words(stream, GOAWAY).await;
    }
    is_http_2
}
