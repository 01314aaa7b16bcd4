//! A bare axum server with one route and one answer.

use std::path::Path;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use axum::routing::post;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

use crate::Outcome;

/// Serves the answer kept in a file, until the process is ended.
pub(crate) async fn serve(socket: TcpListener, path: &Path) -> Outcome<()> {
    let kept = tokio::fs::read(path).await?;
    let (headers, body) = read(&kept)?;
    let answer = move || {
        let mut response = Response::new(Body::from(body.clone()));
        *response.headers_mut() = headers.clone();
        std::future::ready(response)
    };
    let router = Router::new().route("/v1/datasets/credentials", post(answer));
    let socket = socket.tap_io(|stream| {
        // Without it the figures are about Nagle's algorithm.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(socket, router).await?;
    Ok(())
}

/// Reads header lines, an empty line, and the body. The two headers that HTTP itself writes are left to it.
fn read(kept: &[u8]) -> Outcome<(HeaderMap, Bytes)> {
    let end = kept.windows(4).position(|four| four == b"\r\n\r\n").ok_or("the kept answer has no empty line")?;
    let (head, rest) = kept.split_at(end);
    let body = Bytes::copy_from_slice(rest.get(4..).unwrap_or_default());
    let mut headers = HeaderMap::new();
    for line in std::str::from_utf8(head)?.split("\r\n") {
        let (name, value) = line.split_once(": ").ok_or("a header line has no `: `")?;
        let name: HeaderName = name.parse()?;
        if name != "content-length" && name != "date" {
            headers.append(name, HeaderValue::from_str(value)?);
        }
    }
    Ok((headers, body))
}
