//! Listeners: accept, perhaps a proxy's word of who it is, perhaps TLS, then HTTP/1.1 or, where it is served, HTTP/2; with limits
//! on headers, time and connections.

mod converse;
mod peers;
mod preface;
mod proxies;
mod windows;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt};
use tracing::{debug, info, warn};
use valetkey_dialects::edge::Peer;

use crate::node::listen::converse::{Http2, PATIENCE, converse};
use crate::node::listen::peers::Peers;
pub(crate) use crate::node::listen::proxies::{Network, Proxies};
use crate::node::listen::windows::Windows;
use crate::node::tls::Tls;

/// Longest time a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a listener is like.
pub(crate) struct Settings {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Tls>,
    /// The most connections.
    pub(crate) connections: usize,
    /// The most of those of one address.
    pub(crate) of_one: usize,
    /// Who may say on whose behalf it asks.
    pub(crate) proxies: Proxies,
    /// Whether every connection begins with a proxy's word of who it is.
    pub(crate) proxy_protocol: bool,
    /// Without it, HTTP/1.1 alone is served.
    pub(crate) http_2: Option<Http2Room>,
}

/// What there is for connections of HTTP/2.
#[derive(Clone, Copy)]
pub(crate) struct Http2Room {
    /// The most requests at once on one connection.
    pub(crate) streams: u32,
    /// The bytes that large windows may be in all.
    pub(crate) window_bytes: usize,
}

/// How connections end, one after the other.
#[derive(Clone)]
pub(crate) struct Ends {
    /// From here on, each answer is the last one of its connection.
    pub(crate) leaving: CancellationToken,
    /// No new connections; open requests are finished.
    pub(crate) stop: CancellationToken,
    /// What is still open is cut off.
    pub(crate) cut: CancellationToken,
}

impl Ends {
    /// Nothing ends yet.
    pub(crate) fn new() -> Self {
        Self { leaving: CancellationToken::new(), stop: CancellationToken::new(), cut: CancellationToken::new() }
    }
}

/// A bound socket, not yet served.
pub(crate) struct Listener {
    settings: Settings,
    socket: TcpListener,
    address: SocketAddr,
    connections: Arc<Semaphore>,
    peers: Arc<Peers>,
    windows: Arc<Windows>,
}

fn refused(name: &'static str, reason: &'static str) {
    metrics::counter!("vk_connections_refused_total", "listener" => name, "reason" => reason).increment(1);
}

/// Whether nobody but this machine reaches a listener: it listens on loopback alone, and no other address leads there, such as a
/// proxy's.
pub(crate) fn near(address: SocketAddr, url: &str) -> bool {
    let named = reqwest::Url::parse(url).is_ok_and(|url| {
        url.host_str().is_some_and(|host| {
            host == "localhost"
                || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        })
    });
    address.ip().to_canonical().is_loopback() && named
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{name} cannot listen on {address}")]
pub(crate) struct Taken {
    name: &'static str,
    address: SocketAddr,
}

impl Listener {
    pub(crate) async fn bind(settings: Settings) -> anyhow::Result<Self> {
        let Settings { name, address, connections, of_one, http_2, .. } = settings;
        let socket = TcpListener::bind(address).await.with_context(|| Taken { name, address })?;
        let address = socket.local_addr()?;
        let (connections, peers) = (Arc::new(Semaphore::new(connections)), Peers::new(of_one));
        let windows = Arc::new(Windows::new(http_2.map_or(0, |room| room.window_bytes)));
        Ok(Self { settings, socket, address, connections, peers, windows })
    }

    /// The address.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL made of that address. Always a number, never `localhost`: some clients would put the bucket in front.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", if self.settings.tls.is_some() { "https" } else { "http" }, self.address)
    }

    /// Serves until stopped; then open requests are finished.
    pub(crate) async fn serve<S, B>(self, service: S, ends: Ends, tasks: TaskTracker)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Self { settings, socket, address, connections, peers, windows } = self;
        let name = settings.name;
        info!(listener = name, address = %address, tls = settings.tls.is_some(), "listening");
        let settings = Arc::new(settings);
        loop {
            let permit = tokio::select! {
                () = ends.stop.cancelled() => break,
                permit = Arc::clone(&connections).acquire_owned() => permit,
            };
            let Ok(permit) = permit else { break };
            let accepted = tokio::select! {
                () = ends.stop.cancelled() => break,
                accepted = socket.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, or the client was gone already: the next one may fare better.
                    warn!(listener = name, %error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            };
            let peer = peer.ip().to_canonical();
            let is_trusted = settings.proxies.trusts(peer);
            // Many stand behind a proxy; where it says who, they are counted when it did.
            let seat = match peers.enter(peer) {
                Some(seat) => Some(seat),
                None if is_trusted => None,
                None => {
                    refused(name, "address");
                    debug!(listener = name, %peer, "an address has too many connections");
                    continue;
                }
            };
            if settings.proxy_protocol && !is_trusted {
                refused(name, "proxy");
                debug!(listener = name, %peer, "a connection came past the proxies");
                continue;
            }
            let _ = stream.set_nodelay(true);
            let (service, ends, settings) = (service.clone(), ends.clone(), Arc::clone(&settings));
            let (peers, windows) = (Arc::clone(&peers), Arc::clone(&windows));
            tasks.spawn(async move {
                let handled = handle(stream, peer, service, &ends, &settings, (&peers, &windows));
                tokio::select! {
                    () = handled => {}
                    // Whatever it is at: a handshake, half a request, a reader that does not read.
                    () = ends.cut.cancelled() => {}
                }
                drop((permit, seat));
            });
        }
    }
}

/// One connection: who it is, perhaps TLS, then requests.
async fn handle<S, B>(
    mut stream: TcpStream,
    mut peer: IpAddr,
    service: S,
    ends: &Ends,
    settings: &Settings,
    (peers, windows): (&Arc<Peers>, &Windows),
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let name = settings.name;
    let mut seat = None;
    if settings.proxy_protocol {
        match tokio::time::timeout(PATIENCE.first_head, proxies::read_header(&mut stream)).await {
            Ok(Ok(client)) => {
                peer = client.unwrap_or(peer);
                seat = peers.enter(peer);
                if seat.is_none() && !settings.proxies.trusts(peer) {
                    refused(name, "address");
                    return;
                }
            }
            Ok(Err(error)) => {
                refused(name, "proxy");
                return debug!(listener = name, %error, "a proxy did not say who asks");
            }
            Err(_) => {
                refused(name, "proxy");
                return debug!(listener = name, "a proxy did not say in time who asks");
            }
        }
    }
    let http_2 = settings
        .http_2
        .map(|room| Http2 { streams: room.streams, large: windows.take(peer, settings.proxies.trusts(peer)) });
    let proxies = settings.proxies.clone();
    let service = service.map_request(move |mut request: Request<Incoming>| {
        let client = proxies.client(peer, request.headers());
        request.extensions_mut().insert(Peer { address: client, is_client: !proxies.trusts(client) });
        // For the S3 endpoint, which does not see the dialects' types.
        request.extensions_mut().insert(client);
        request
    });
    match &settings.tls {
        None => {
            if http_2.is_none() && preface::refuses(&mut stream, ends, PATIENCE.first_head).await {
                debug!(listener = name, "a connection began with http/2, which is not served here");
            } else {
                converse(stream, service, ends, name, (PATIENCE, http_2)).await;
            }
        }
        Some(tls) => {
            let handshake = async {
                let mut first = [0u8];
                stream.peek(&mut first).await?;
                // A request in the clear begins with its method, TLS with 22 (RFC 8446, section 5.1).
                if first.iter().all(u8::is_ascii_uppercase) {
                    in_the_clear(&mut stream).await;
                    return Err(std::io::Error::other("it spoke http in the clear"));
                }
                tls.acceptor().accept(stream).await
            };
            tokio::select! {
                // Nobody has asked anything yet.
                () = ends.stop.cancelled() => {}
                shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake) => match shaken {
                    Ok(Ok(stream)) => converse(stream, service, ends, name, (PATIENCE, http_2)).await,
                    Ok(Err(error)) => debug!(listener = name, %error, "the TLS handshake failed"),
                    Err(_) => debug!(listener = name, "the TLS handshake took too long"),
                },
            }
        }
    }
    drop(seat);
}

/// Tells who speaks http in the clear what to do.
async fn in_the_clear(stream: &mut TcpStream) {
    let said = "This port takes TLS: https, not http.\n";
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{said}",
        said.len()
    );
    last_words(stream, answer.as_bytes()).await;
}

/// Says this and nothing more, and waits a little until it was read.
async fn last_words(stream: &mut TcpStream, words: &[u8]) {
    if stream.write_all(words).await.is_ok() && stream.shutdown().await.is_ok() {
        let mut rest = [0u8; 1024];
        let read = async { while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {} };
        // Out of time is as good as done.
        let _ = tokio::time::timeout(Duration::from_secs(1), read).await;
    }
}

/// What a connection can be.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<I: AsyncRead + AsyncWrite + Unpin + Send + 'static> Wire for I {}

#[cfg(test)]
mod tests {
    use super::near;

    #[test]
    fn only_a_loopback_listener_that_is_named_so_is_near() {
        let told = |address: &str, url: &str| near(address.parse().unwrap(), url);
        for url in ["http://127.0.0.1:7070", "http://localhost:7070", "http://[::1]:7070"] {
            assert!(told("127.0.0.1:7070", url) && told("[::1]:7070", url), "{url}");
            for open in ["0.0.0.0:7070", "[::]:7070", "192.168.0.7:7070"] {
                assert!(!told(open, url), "everybody reaches {open}, whatever {url} says");
            }
        }
        for url in ["https://keys.example.com", "http://192.168.0.7:7070", "none"] {
            assert!(!told("127.0.0.1:7070", url), "{url}");
        }
    }
}
