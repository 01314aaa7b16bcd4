//! What stands first on the API's address: tells the server's own few paths from those of the dialects.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use futures::future::BoxFuture;
use http::Request;
use hyper::body::Incoming;
use valetkey_dialects::edge::Service;

/// The few paths that are the server's own; everything else goes straight to the dialects, which route it themselves.
#[derive(Clone)]
pub(super) struct Front {
    pub(super) own: Router,
    pub(super) dialects: Service,
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
        match request.uri().path() {
            "/livez" | "/readyz" | "/metrics" => {
                // Without it a path that is not served here would be answered by the router, in no dialect's words.
                let mut all = self.own.clone().fallback_service(self.dialects.clone());
                Box::pin(async move { tower::Service::call(&mut all, request).await })
            }
            _ => tower::Service::call(&mut self.dialects, request),
        }
    }
}
