//! What a collector gets by OTLP: one trace from a client to the upstream call, the figures, and no secret.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::{HeaderMap, Uri};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::upstream::{PARENT_SECRET, World};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// What was sent: to where, with which authorization, and what.
type Sent = Arc<Mutex<Vec<(String, Option<String>, Bytes)>>>;

/// A collector that takes everything.
async fn collector() -> (String, Sent) {
    let sent: Sent = Arc::default();
    let kept = Arc::clone(&sent);
    let router = axum::Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: Bytes| {
        let authorization = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        kept.lock().unwrap().push((uri.path().to_owned(), authorization, body));
        async { "" }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
    (url, sent)
}

async fn world(collector: &str) -> World {
    let environment = [
        ("VALETKEY_OTEL__ENDPOINT", collector),
        ("VALETKEY_OTEL__HEADERS", "authorization=Bearer for-the-collector"),
        ("VALETKEY_OTEL__SAMPLE_PERCENT", "100"),
        ("VALETKEY_OTEL__METRICS_INTERVAL_SECS", "3600"),
    ];
    World::start_with(json!({}), &environment).await
}

async fn vend(world: &World, traceparent: &[&str]) -> (u16, Value) {
    let url = format!("{}/api/v1/credentials", world.server.api());
    let mut request =
        world.http.post(url).bearer_auth(&world.ada).json(&json!({"grant": "data", "prefix": "data/hidden"}));
    for value in traceparent {
        request = request.header("traceparent", *value);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn spans(sent: &Sent) -> Vec<Span> {
    let sent = sent.lock().unwrap();
    let messages = sent.iter().filter(|(path, ..)| path == "/v1/traces");
    messages
        .flat_map(|(.., body)| ExportTraceServiceRequest::decode(body.clone()).unwrap().resource_spans)
        .flat_map(|resource| resource.scope_spans)
        .flat_map(|scope| scope.spans)
        .collect()
}

fn hex(id: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(id)
}

fn attribute<'s>(span: &'s Span, key: &str) -> Option<&'s Attribute> {
    span.attributes.iter().find(|pair| pair.key == key)?.value.as_ref()?.value.as_ref()
}

fn text(span: &Span, key: &str) -> Option<String> {
    match attribute(span, key) {
        Some(Attribute::StringValue(text)) => Some(text.clone()),
        Some(_) | None => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_goes_from_the_client_to_the_upstream_call() {
    let (url, sent) = collector().await;
    let world = world(&url).await;
    let (status, vended) = vend(&world, &[&format!("00-{TRACE}-{PARENT}-01")]).await;
    assert_eq!(status, 200, "{vended}");
    let secrets = ["secret_access_key", "session_token"].map(|name| vended[name].as_str().unwrap().to_owned());
    let token = world.ada.clone();
    world.stop();

    let spans = spans(&sent);
    let of_trace: Vec<_> = spans.iter().filter(|span| hex(&span.trace_id) == TRACE).collect();
    let named =
        |name: &str| *of_trace.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {of_trace:?}"));
    let request = named("POST api");
    assert_eq!(hex(&request.parent_span_id), PARENT);
    assert_eq!(attribute(request, "http.response.status_code"), Some(&Attribute::IntValue(200)));
    let (ledger, issue, fetch) = (named("ledger.open"), named("issuer.issue"), named("upstream.fetch"));
    assert_eq!((&ledger.parent_span_id, &issue.parent_span_id), (&request.span_id, &request.span_id));
    assert_eq!(fetch.parent_span_id, issue.span_id);
    assert_eq!(text(ledger, "valetkey.dialect").as_deref(), Some("native"));
    assert_eq!(text(ledger, "valetkey.lease").as_deref(), vended["lease_id"].as_str());
    assert_eq!(text(fetch, "valetkey.storage").as_deref(), Some("far"));
    // What prepared the world came without a header: each request is a trace of its own.
    let others = spans.iter().filter(|span| span.name == "POST api" && hex(&span.trace_id) != TRACE);
    assert!(others.clone().count() >= 5 && others.clone().all(|span| span.parent_span_id.is_empty()));

    let sent = sent.lock().unwrap();
    assert!(sent.iter().all(|(_, said, _)| said.as_deref() == Some("Bearer for-the-collector")));
    for secret in [&secrets[0], &secrets[1], &token, PARENT_SECRET, "hidden", "for-the-collector"] {
        let inside = |body: &Bytes| body.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!sent.iter().any(|(.., body)| inside(body)), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parent_that_is_none_and_a_url_with_secrets_are_in_no_span() {
    let (url, sent) = collector().await;
    let world = world(&url).await;
    let good = format!("00-{TRACE}-{PARENT}-01");
    for odd in
        [&[good.as_str(), good.as_str()][..], &["00-zz-zz-01"], &[&good.replace("00-", "cc-")], &[&"0".repeat(10_000)]]
    {
        assert_eq!(vend(&world, odd).await.0, 200);
    }
    // Its client said that this trace is not sampled.
    assert_eq!(vend(&world, &[&good.replace("-01", "-00")]).await.0, 200);
    let path = format!(
        "{}/lake/secret-key?X-Amz-Signature=0123456789abcdef0123456789abcdef",
        world.server.ready["s3"].as_str().unwrap().trim_end_matches('/')
    );
    assert_eq!(world.http.get(path).header("traceparent", &good).send().await.unwrap().status(), 400);
    let odd = reqwest::Method::from_bytes(b"SECRETMETHOD").unwrap();
    world.http.request(odd, world.server.api()).send().await.unwrap();
    world.stop();

    let spans = spans(&sent);
    let known: Vec<_> =
        spans.iter().filter(|span| hex(&span.trace_id) == TRACE).map(|span| span.name.as_str()).collect();
    assert_eq!(known, ["GET s3"]);
    assert!(spans.iter().any(|span| span.name == "_OTHER api"));
    let sent = sent.lock().unwrap();
    for secret in ["secret-key", "0123456789abcdef", "X-Amz-Signature", "SECRETMETHOD"] {
        assert!(
            !sent.iter().any(|(.., body)| body.windows(secret.len()).any(|window| window == secret.as_bytes())),
            "{secret}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_figures_of_a_scrape_are_sent() {
    let (url, sent) = collector().await;
    let world = world(&url).await;
    assert_eq!(vend(&world, &[]).await.0, 200);
    world.stop();
    let sent = sent.lock().unwrap();
    let (.., body) = sent.iter().rfind(|(path, ..)| path == "/v1/metrics").unwrap();
    let message = ExportMetricsServiceRequest::decode(body.clone()).unwrap();
    let metrics: Vec<_> = message.resource_metrics[0].scope_metrics[0].metrics.iter().collect();
    let vends = metrics.iter().find(|metric| metric.name == "vk_vend_requests_total").unwrap();
    let Some(Data::Sum(sum)) = &vends.data else { panic!("{vends:?}") };
    let labels: Vec<_> = sum.data_points[0].attributes.iter().map(|pair| pair.key.as_str()).collect();
    assert_eq!(labels, ["dialect", "outcome", "reason"]);
    assert!(metrics.iter().any(|metric| metric.name == "vk_ledger_commit_seconds" && metric.unit == "s"));
    let resource = message.resource_metrics[0].resource.clone().unwrap();
    let names: Vec<_> = resource.attributes.iter().map(|pair| pair.key.as_str()).collect();
    assert!(names.contains(&"service.name") && names.contains(&"service.instance.id"), "{names:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_not_there_changes_nothing() {
    let world = world("http://127.0.0.1:1").await;
    for _ in 0..3 {
        assert_eq!(vend(&world, &[]).await.0, 200);
    }
    let said = world.stop();
    assert_eq!(said.matches("the collector does not take what is sent to it").count(), 1, "{said}");
    assert!(!said.contains("for-the-collector"));
}
