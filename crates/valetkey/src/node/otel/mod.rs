//! OpenTelemetry: spans and figures, sent to a collector by OTLP over HTTP. What a collector does or does not answer changes
//! nothing for clients: queues are bounded, and what does not fit is dropped.

mod points;
mod sampling;
mod sender;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::resource::v1::Resource as ResourceMessage;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tracing::{Span, warn};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::filter_fn;
use valetkey_core::time::Clock as _;
use valetkey_issuers::upstream::SPANS;

use crate::config::Otel;
use crate::node::health::Metrics;
use crate::node::log::Spans;
use crate::node::otel::sampling::Share;
use crate::node::otel::sender::{Exporter, Sender};
use crate::node::system::{SystemClock, SystemEntropy};

/// How long the last spans may take at the end.
const LAST: Duration = Duration::from_secs(3);

/// What sends. Its spans are dropped while it is behind: the collection has room for 2048, and 512 go at once (the SDK's own limits).
pub(crate) struct Telemetry {
    provider: SdkTracerProvider,
    sender: Arc<Sender>,
    resource: ResourceMessage,
    every: Duration,
}

impl Telemetry {
    /// Starts what sends, if it is configured where to. In the runtime that will send.
    pub(crate) fn start(config: &Otel) -> anyhow::Result<Option<Self>> {
        if config.endpoint.is_empty() {
            return Ok(None);
        }
        let sender = Arc::new(Sender::new(&config.endpoint, &config.headers)?);
        let mut instance = [0; 8];
        valetkey_core::time::Entropy::fill(&SystemEntropy, &mut instance);
        let resource = Resource::builder_empty()
            .with_service_name("valetkey")
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", data_encoding::HEXLOWER.encode(&instance)),
            ])
            .build();
        let attributes = ResourceAttributesWithSchema::from(&resource).attributes.0;
        let exporter = Exporter::new(Arc::clone(&sender), &resource);
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(Share { percent: config.sample_percent })
            .with_batch_exporter(exporter)
            .build();
        let every = Duration::from_secs(config.metrics_interval_secs);
        let resource = ResourceMessage { attributes, ..ResourceMessage::default() };
        Ok(Some(Self { provider, sender, resource, every }))
    }

    /// What takes the spans.
    pub(crate) fn spans(&self) -> Spans {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("valetkey"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_level(false)
            .with_target(false)
            .with_filter(filter_fn(|about| about.target() == SPANS))
            .boxed()
    }

    /// Sends all figures now and then, and once more at the end.
    pub(crate) fn metrics(&self, metrics: Metrics, end: CancellationToken) -> impl Future<Output = ()> + use<> {
        let (sender, resource, every) = (Arc::clone(&self.sender), self.resource.clone(), self.every);
        let began = nanos();
        async move {
            let mut over = every.is_zero();
            while !over {
                tokio::select! {
                    () = end.cancelled() => over = true,
                    () = tokio::time::sleep(every) => {}
                }
                let figures = points::of(&metrics.text(), &resource, began, nanos());
                let message = ExportMetricsServiceRequest { resource_metrics: vec![figures] };
                // The server's end waits for it, and not for long.
                let late = async {
                    end.cancelled().await;
                    tokio::time::sleep(LAST).await;
                };
                tokio::select! {
                    _ = sender.send("/v1/metrics", message.encode_to_vec()) => {}
                    () = late => return,
                }
            }
        }
    }

    /// Sends what is still there.
    pub(crate) async fn end(self) {
        // It waits for a thread of its own, which needs this runtime.
        let ended = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(LAST)).await;
        if !matches!(ended, Ok(Ok(()))) {
            warn!("the last spans could not be sent to the collector");
        }
    }
}

fn nanos() -> u64 {
    u64::try_from(SystemClock.now().as_nanosecond()).unwrap_or(0)
}

/// Makes a request's span part of its client's trace, if it names one.
///
/// SECURITY: anyone can write this header. It gives a trace's and a span's id, and nothing else: a header of any other form or
/// version, or one that is there twice, is as none, `tracestate` and `baggage` are not read, and whether the trace is sent is for
/// the sampler to say.
pub(crate) fn adopt(span: &Span, headers: &HeaderMap) {
    let mut given = headers.get_all("traceparent").iter();
    let (Some(value), None) = (given.next(), given.next()) else { return };
    if let Some(parent) = value.to_str().ok().and_then(traceparent) {
        // Where the span is disabled there is nothing to set.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

/// Reads the header of version 00: <https://www.w3.org/TR/trace-context/#traceparent-header>.
fn traceparent(text: &str) -> Option<SpanContext> {
    let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let whole = parts.next().is_none() && version == "00" && [trace, span, flags].into_iter().all(is_hex);
    if !whole || (trace.len(), span.len(), flags.len()) != (32, 16, 2) {
        return None;
    }
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_of_one_form_or_none() {
        const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = traceparent(GOOD).unwrap();
        assert!(context.is_remote() && context.is_sampled());
        assert_eq!(context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert!(!traceparent(&GOOD.replace("-01", "-00")).unwrap().is_sampled());
        for bad in [
            "",
            "00",
            &GOOD.to_uppercase(),
            &format!("{GOOD}-more"),
            &format!(" {GOOD}"),
            &GOOD.replacen("00", "01", 1),
            &GOOD.replace("0af7", "0ag7"),
            &GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &GOOD.replace("b7ad6b7169203331", &"0".repeat(16)),
            &GOOD.replace("b7ad6b7169203331", "b7ad6b716920333"),
        ] {
            assert!(traceparent(bad).is_none(), "{bad}");
        }
    }
}
