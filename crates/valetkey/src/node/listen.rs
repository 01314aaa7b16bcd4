//! Listeners: accept, perhaps TLS, then HTTP/1.1 or HTTP/2, with limits on headers, time and connections.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt};
use tracing::{debug, info, warn};
use valetkey_dialects::edge::Peer;

use crate::node::tls::Tls;

/// Longest time a client may take to send the head of a request, and to be idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);
/// Longest time a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time a client may take nothing of what it is sent.
const STALL_TIMEOUT: Duration = Duration::from_mins(1);
/// The most bytes of a request's head, and the most fields in it.
const HEAD_BYTES: usize = 64 * 1024;
const HTTP_2_HEAD_BYTES: u32 = 64 * 1024;
const HEAD_FIELDS: usize = 128;
/// The most requests at once on one HTTP/2 connection.
const STREAMS: u32 = 32;

/// A bound socket, not yet served.
pub(crate) struct Listener {
    name: &'static str,
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<Tls>,
    connections: Arc<Semaphore>,
}

impl Listener {
    /// Binds.
    pub(crate) async fn bind(
        name: &'static str,
        address: SocketAddr,
        tls: Option<Tls>,
        connections: usize,
    ) -> anyhow::Result<Self> {
        let socket = TcpListener::bind(address).await.with_context(|| format!("{name} cannot listen on {address}"))?;
        let address = socket.local_addr()?;
        Ok(Self { name, socket, address, tls, connections: Arc::new(Semaphore::new(connections)) })
    }

    /// The URL made of that address. Always a number, never `localhost`: some clients would put the bucket in front.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.address)
    }

    /// Serves until stopped; then open requests are finished.
    pub(crate) async fn serve<S, B>(self, service: S, stop: CancellationToken, tasks: TaskTracker)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        info!(listener = self.name, address = %self.address, tls = self.tls.is_some(), "listening");
        loop {
            let permit = tokio::select! {
                () = stop.cancelled() => break,
                permit = Arc::clone(&self.connections).acquire_owned() => permit,
            };
            let Ok(permit) = permit else { break };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.socket.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, or the client was gone already: the next one may fare better.
                    warn!(listener = self.name, %error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            let service = service.clone().map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(Peer(peer.ip()));
                request
            });
            let (stop, tls, name) = (stop.clone(), self.tls.clone(), self.name);
            tasks.spawn(async move {
                match tls {
                    None => converse(stream, service, stop, name).await,
                    Some(tls) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.acceptor().accept(stream)).await {
                        Ok(Ok(stream)) => converse(stream, service, stop, name).await,
                        Ok(Err(error)) => debug!(listener = name, %error, "the TLS handshake failed"),
                        Err(_) => debug!(listener = name, "the TLS handshake took too long"),
                    },
                }
                drop(permit);
            });
        }
    }
}

/// One connection, until it or the server ends.
async fn converse<I, S, B>(stream: I, service: S, stop: CancellationToken, name: &'static str)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEAD_FIELDS)
        .max_buf_size(HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HTTP_2_HEAD_BYTES)
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(Some(HEAD_TIMEOUT));
    // SECURITY: the library waits for ever for the bytes that tell HTTP/1.1 from HTTP/2, and for a reader that reads
    // nothing. Neither may hold a connection, or what is buffered for it.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(STALL_TIMEOUT));
    let asked = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&asked);
    let service = service.map_request(move |request| {
        seen.store(true, Ordering::Relaxed);
        request
    });
    let connection = builder.serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(service));
    tokio::pin!(connection);
    let silence = tokio::time::sleep(HEAD_TIMEOUT);
    tokio::pin!(silence);
    let mut waiting = true;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = silence.as_mut(), if waiting => {
                if !asked.load(Ordering::Relaxed) {
                    debug!(listener = name, "a connection asked nothing");
                    return;
                }
                waiting = false;
            }
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                break connection.await;
            }
        }
    };
    if let Err(error) = ended {
        debug!(listener = name, %error, "a connection ended early");
    }
}
