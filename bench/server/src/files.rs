//! Plain file serving over hyper: the path of the URL is the path below the directory. No ranges, no conditions, no caching.
//!
//! It deliberately does as little as a file server can: one hop to a thread that may block opens the file, asks its length
//! and reads its first part; a file that fits in that costs no other.

use std::convert::Infallible;
use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tokio_util::task::TaskTracker;

use crate::Outcome;

/// Read at a time.
const PART: usize = 256 * 1024;

type FileBody = BoxBody<Bytes, std::io::Error>;

/// Serves a directory, until the process is ended.
pub(crate) async fn serve(socket: TcpListener, directory: PathBuf) -> Outcome<()> {
    let directory = Arc::new(directory);
    let connections = TaskTracker::new();
    loop {
        let (stream, _) = socket.accept().await?;
        stream.set_nodelay(true)?;
        let directory = Arc::clone(&directory);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&directory), request));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A load generator that hangs up is no news.
            let _ = connection.await;
        });
    }
}

async fn answer(directory: Arc<PathBuf>, request: Request<Incoming>) -> Result<Response<FileBody>, Infallible> {
    let opened = match below(&directory, request.uri().path()) {
        Some(path) => {
            spawn_blocking(move || open(&path)).await.map_err(std::io::Error::other).and_then(|opened| opened)
        }
        None => Err(std::io::ErrorKind::NotFound.into()),
    };
    let mut response = if let Ok((length, body)) = opened {
        let mut response = Response::new(body);
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        response
    } else {
        let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    };
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/octet-stream"));
    Ok(response)
}

/// The file a URL's path names; nothing if that would lead out of the directory.
fn below(directory: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path.strip_prefix('/')?);
    path.components().all(|part| matches!(part, Component::Normal(_))).then(|| directory.join(path))
}

fn open(path: &Path) -> std::io::Result<(u64, FileBody)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let first = read(&mut file, usize::try_from(length).unwrap_or(PART).min(PART))?;
    if u64::try_from(first.len()).is_ok_and(|read| read == length) {
        return Ok((length, Full::new(first).map_err(|never| match never {}).boxed()));
    }
    // One part with the client, the next one on its way from the disk.
    let next = |file| spawn_blocking(move || part(file));
    let rest = stream::try_unfold(next(file), move |coming| async move {
        let (read, file) = coming.await.map_err(std::io::Error::other)??;
        Ok((!read.is_empty()).then(|| (read, next(file))))
    });
    let parts = stream::once(std::future::ready(Ok(first))).chain(rest).map_ok(Frame::data);
    Ok((length, BodyExt::boxed(StreamBody::new(Box::pin(parts)))))
}

fn part(mut file: File) -> std::io::Result<(Bytes, File)> {
    Ok((read(&mut file, PART)?, file))
}

fn read(file: &mut File, most: usize) -> std::io::Result<Bytes> {
    let mut part = Vec::with_capacity(most);
    file.take(u64::try_from(most).unwrap_or(u64::MAX)).read_to_end(&mut part)?;
    Ok(part.into())
}
