//! Spans of requests and of what they wait for: at the listeners and at the ports, so that nothing between them has to know. They
//! exist only where OpenTelemetry is configured.
//!
//! SECURITY: no path, query, header, object key or token is in a span. Presigned URLs and links for profiles are secrets, and who
//! reads traces may not know what is stored.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures::future::{BoxFuture, Either};
use http::{HeaderMap, Method, Request, Response};
use jiff::Timestamp;
use tower::Service;
use tracing::field::{Empty, display};
use tracing::{Instrument as _, Span, info_span};
use valetkey_core::credential::{Issued, Trace};
use valetkey_core::lease::{Lease, Refusal};
use valetkey_core::policy::Permit;
use valetkey_core::port::{Issuer, Ledger};
use valetkey_core::vending::Vending;
use valetkey_core::{Error, Kind};
use valetkey_issuers::upstream::SPANS;

use crate::node::otel;

/// A service whose requests are spans, if they are to be.
#[derive(Clone)]
pub(super) struct Traced<S> {
    pub(super) inner: S,
    pub(super) listener: &'static str,
    pub(super) on: bool,
}

impl<S, A, B> Service<Request<A>> for Traced<S>
where
    S: Service<Request<A>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response<B>, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        // Who watches asks every second, and nobody wants to see that.
        if !self.on || matches!(request.uri().path(), "/livez" | "/readyz" | "/metrics") {
            return Either::Left(self.inner.call(request));
        }
        let span = self.span(request.method(), request.headers());
        let answered = span.in_scope(|| self.inner.call(request));
        let during = span.clone();
        Either::Right(Box::pin(
            async move {
                let answered = answered.await;
                if let Ok(response) = &answered {
                    record(&span, response);
                }
                answered
            }
            .instrument(during),
        ))
    }
}

impl<S> Traced<S> {
    fn span(&self, method: &Method, headers: &HeaderMap) -> Span {
        let listener = self.listener;
        // A method is any word; only those that are known make a name.
        let method = match method.as_str() {
            known @ ("GET" | "HEAD" | "PUT" | "POST" | "DELETE" | "PATCH" | "OPTIONS") => known,
            _ => "_OTHER",
        };
        let span = info_span!(
            target: SPANS, "request", otel.name = %format_args!("{method} {listener}"), otel.kind = "server",
            http.request.method = method, valetkey.listener = listener, http.response.status_code = Empty,
            valetkey.request_id = Empty, otel.status_code = Empty
        );
        otel::adopt(&span, headers);
        span
    }
}

fn record<B>(span: &Span, response: &Response<B>) {
    let status = response.status();
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    let headers = response.headers();
    let id = headers.get("x-request-id").or_else(|| headers.get("x-amz-request-id"));
    if let Some(id) = id.and_then(|id| id.to_str().ok()) {
        span.record("valetkey.request_id", id);
    }
}

/// The same, with a span around each step that waits for something.
pub(super) fn ports(vending: Vending) -> Vending {
    Vending {
        ledger: Arc::new(TracedLedger(vending.ledger)),
        issuer: Arc::new(TracedIssuer(vending.issuer)),
        ..vending
    }
}

/// Waits in a span, which says how it failed.
async fn within<T>(span: Span, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let done = work.instrument(span.clone()).await;
    if let Err(error) = &done {
        span.record("error.type", error.kind().slug()).record("otel.status_code", "ERROR");
    }
    done
}

struct TracedLedger(Arc<dyn Ledger>);

#[async_trait]
impl Ledger for TracedLedger {
    async fn open(&self, permit: &Permit, trace: Option<&Trace>, now: Timestamp) -> Result<Lease, Error> {
        let span = info_span!(
            target: SPANS, "ledger.open", valetkey.dialect = permit.dialect(),
            valetkey.storage = %permit.storage().name, valetkey.lease = Empty, error.type = Empty, otel.status_code = Empty
        );
        let lease = within(span.clone(), self.0.open(permit, trace, now)).await?;
        span.record("valetkey.lease", display(lease.id));
        Ok(lease)
    }

    async fn issued(&self, lease: &Lease, trace: &Trace, now: Timestamp) -> Result<(), Error> {
        let span = info_span!(target: SPANS, "ledger.issued", error.type = Empty, otel.status_code = Empty);
        within(span, self.0.issued(lease, trace, now)).await
    }

    async fn void(&self, lease: &Lease, kind: Kind, now: Timestamp) -> Result<(), Error> {
        let span = info_span!(
            target: SPANS, "ledger.void", valetkey.reason = kind.slug(), error.type = Empty, otel.status_code = Empty
        );
        within(span, self.0.void(lease, kind, now)).await
    }

    fn refused(&self, refusal: Refusal, now: Timestamp) {
        self.0.refused(refusal, now);
    }
}

struct TracedIssuer(Arc<dyn Issuer>);

#[async_trait]
impl Issuer for TracedIssuer {
    fn ready(&self, permit: &Permit) -> Result<Option<Issued>, Error> {
        self.0.ready(permit)
    }

    async fn issue(&self, permit: &Permit, lease: &Lease) -> Result<Issued, Error> {
        let span = info_span!(
            target: SPANS, "issuer.issue", valetkey.storage = %permit.storage().name,
            error.type = Empty, otel.status_code = Empty
        );
        within(span, self.0.issue(permit, lease)).await
    }
}
