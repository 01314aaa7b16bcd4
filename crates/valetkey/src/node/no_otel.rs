//! A build without OpenTelemetry: nothing is ever sent, and a configuration that wants it is refused before.

use http::HeaderMap;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::config::Otel;
use crate::node::health::Metrics;
use crate::node::log::Spans;

/// Never there.
pub(crate) enum Telemetry {}

impl Telemetry {
    #[expect(clippy::unnecessary_wraps, reason = "a build with OpenTelemetry may find headers that cannot be sent")]
    pub(crate) fn start(_: &Otel) -> anyhow::Result<Option<Self>> {
        Ok(None)
    }

    pub(crate) fn spans(&self) -> Spans {
        match *self {}
    }

    pub(crate) fn metrics(&self, _: Metrics, _: CancellationToken) -> std::future::Ready<()> {
        match *self {}
    }

    pub(crate) fn end(self) -> std::future::Ready<()> {
        match self {}
    }
}

pub(crate) fn adopt(_: &Span, _: &HeaderMap) {}
