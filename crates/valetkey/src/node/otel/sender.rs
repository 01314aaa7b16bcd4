//! The way to the collector: one client, for spans and for figures.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use prost::Message as _;
use reqwest::redirect::Policy;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use valetkey_core::Secret;

/// How long the collector may take for an answer, which is all that is waited for: what it says in it is not read.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends to the collector.
pub(super) struct Sender {
    client: reqwest::Client,
    endpoint: String,
    headers: HeaderMap,
    /// Whether the latest sending failed: told once, and once when it is over.
    failing: AtomicBool,
    runtime: Handle,
    tasks: TaskTracker,
}

impl Sender {
    pub(super) fn new(endpoint: &str, headers: &Secret<String>) -> anyhow::Result<Self> {
        // SECURITY: the headers may hold a secret. It goes to that host, by no proxy, and follows no redirect.
        let client = reqwest::Client::builder().no_proxy().redirect(Policy::none()).timeout(PATIENCE).build()?;
        let (runtime, tasks, failing) = (Handle::current(), TaskTracker::new(), AtomicBool::new(false));
        Ok(Self { client, endpoint: endpoint.to_owned(), headers: read(headers)?, failing, runtime, tasks })
    }

    /// Sends a message; whether it was taken.
    pub(super) async fn send(&self, path: &'static str, message: Vec<u8>) -> bool {
        let request = self.client.post(format!("{}{path}", self.endpoint)).headers(self.headers.clone());
        let sent = request.header(header::CONTENT_TYPE, "application/x-protobuf").body(message).send().await;
        let failed = match sent.and_then(reqwest::Response::error_for_status) {
            Ok(_) => None,
            Err(error) => Some(error.without_url()),
        };
        let failing = failed.is_some();
        match (self.failing.swap(failing, Ordering::Relaxed), failed) {
            (false, Some(error)) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                warn!(%error, cause, "the collector does not take what is sent to it; until it does, nothing more is said");
            }
            (true, None) => info!("the collector takes what is sent to it again"),
            (false, None) | (true, Some(_)) => {}
        }
        !failing
    }
}

/// Reads `name=value,name=value`. The text is never repeated in an error: it may hold a secret.
fn read(text: &Secret<String>) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for pair in text.reveal().split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let read = pair.split_once('=').and_then(|(name, value)| {
            let mut value = HeaderValue::from_str(value.trim()).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::from_bytes(name.trim().as_bytes()).ok()?, value))
        });
        let (name, value) =
            read.context("`otel.headers` is not a list of headers, as in `authorization=Bearer abc`")?;
        headers.insert(name, value);
    }
    Ok(headers)
}

/// Sends spans.
pub(super) struct Exporter {
    sender: Arc<Sender>,
    resource: ResourceAttributesWithSchema,
}

impl Exporter {
    pub(super) fn new(sender: Arc<Sender>, resource: &Resource) -> Self {
        Self { sender, resource: resource.into() }
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exporter")
    }
}

impl SpanExporter for Exporter {
    /// Called on a thread of the SDK's, which has no runtime of its own.
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let message = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let sender = Arc::clone(&self.sender);
        let sending = async move { sender.send("/v1/traces", message).await };
        match self.sender.tasks.spawn_on(sending, &self.sender.runtime).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(OTelSdkError::InternalFailure("the collector did not take it".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_pairs_and_no_error_repeats_them() {
        let read = |text: &str| read(&Secret::new(text.to_owned()));
        let headers = read("authorization=Bearer a=b, x-scope = team ,").unwrap();
        assert_eq!(headers["authorization"], "Bearer a=b");
        assert_eq!(headers["x-scope"], "team");
        assert!(!format!("{headers:?}").contains("Bearer"));
        for bad in ["hunter2", "a b=hunter2", "a=hunter2\n"] {
            assert!(!format!("{:?}", read(&format!("{bad},x")).unwrap_err()).contains("hunter2"));
        }
    }
}
