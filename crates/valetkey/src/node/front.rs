//! What stands first on the API's address: tells the server's own few paths from those of the dialects.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use futures::future::BoxFuture;
use http::Request;
use hyper::body::Incoming;
use valetkey_console::Pages;
use valetkey_dialects::edge::{Peer, Service};

/// The few paths that are the server's own; everything else goes straight to the dialects, which route it themselves.
#[derive(Clone)]
pub(super) struct Front {
    pub(super) own: Router,
    /// Whether the figures are among them.
    pub(super) has_metrics: bool,
    pub(super) dialects: Service,
    /// The pages of the console, where it is on.
    pub(super) console: Option<Arc<Pages>>,
}

impl tower::Service<Request<Incoming>> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let request = request.map(Body::new);
        if let Some(response) = self.console.as_ref().and_then(|pages| pages.answer(&request)) {
            return Box::pin(async { Ok(response.map(Body::from)) });
        }
        match request.uri().path() {
            path @ ("/livez" | "/readyz" | "/metrics") => {
                // SECURITY: figures say who asks how much; on the address that everyone reaches they are for operators.
                let is_open = path != "/metrics" || !self.has_metrics;
                // Without it a path that is not served here would be answered by the router, in no dialect's words.
                let mut all = self.own.clone().fallback_service(self.dialects.clone());
                let dialects = self.dialects.clone();
                let (headers, peer) = (request.headers().clone(), request.extensions().get::<Peer>().copied());
                Box::pin(async move {
                    if !is_open && let Err(refusal) = dialects.operator(&headers, peer).await {
                        return Ok(refusal);
                    }
                    tower::Service::call(&mut all, request).await
                })
            }
            _ => tower::Service::call(&mut self.dialects, request),
        }
    }
}
