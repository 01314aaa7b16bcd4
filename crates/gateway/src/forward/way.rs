//! How a storage is reached: straight, or through the proxy that the server's environment names (`HTTPS_PROXY` and its like), as the
//! other clients of this server do it.

use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{BoxFuture, poll_fn};
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The way to one host.
#[derive(Clone)]
pub(super) enum Way {
    Straight(HttpConnector),
    Proxied(Tunnel<HttpConnector>),
}

impl Way {
    /// The way to a storage, as these proxies say.
    pub(super) fn to(storage: &Uri, proxies: &Matcher, connecting: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(connecting));
        let Some(proxy) = proxies.intercept(storage) else { return Self::Straight(connector) };
        let tunnel = Tunnel::new(proxy.uri().clone(), connector);
        Self::Proxied(match proxy.basic_auth() {
            Some(auth) => tunnel.with_auth(auth.clone()),
            None => tunnel,
        })
    }
}

impl Service<Uri> for Way {
    type Response = TokioIo<TcpStream>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Response, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        match self.clone() {
            Self::Straight(mut own) => Box::pin(async move {
                poll_fn(|cx| own.poll_ready(cx)).await?;
                Ok(own.call(to).await?)
            }),
            Self::Proxied(mut own) => Box::pin(async move {
                poll_fn(|cx| own.poll_ready(cx)).await?;
                Ok(own.call(to).await?)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_util::task::TaskTracker;

    use super::*;

    #[tokio::test]
    async fn a_proxy_is_asked_for_a_tunnel_and_shown_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = TaskTracker::new().spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            String::from_utf8(head).unwrap()
        });
        let proxies = Matcher::builder().https(format!("http://user:word@{address}")).no("near.example").build();
        let storage = Uri::from_static("https://s3.example/");
        let mut way = Way::to(&storage, &proxies, Duration::from_secs(1));
        way.call(storage).await.unwrap();
        let head = proxy.await.unwrap();
        assert!(head.starts_with("CONNECT s3.example:443 HTTP/1.1\r\n"), "{head}");
        assert!(head.to_ascii_lowercase().contains("proxy-authorization: basic dxnlcjp3b3jk"), "{head}");
        let near = Way::to(&Uri::from_static("https://near.example/"), &proxies, Duration::from_secs(1));
        assert!(matches!(near, Way::Straight(_)));
    }
}
