//! Refusals as they leave: every kind in every dialect on one page, panics, and what the log gets to see.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};
use tower::ServiceExt as _;
use valetkey_core::error::{Error, Kind};
use valetkey_core::field::Field;

use super::world::World;
use crate::edge::{self, Class, Dialect, EdgeLimits, Reply, Route, Row};

/// Every kind, each with words, a field and a wait, in every dialect.
#[tokio::test]
async fn every_kind_in_every_dialect_on_one_page() {
    let world = World::new().await;
    let mut page = String::new();
    for dialect in World::dialects(&world.shared, &world.made) {
        writeln!(page, "# {}\n", dialect.name).unwrap();
        for kind in Kind::ALL {
            let Row { status, code: _, title: _ } = (dialect.row)(*kind);
            let refused = edge::Refused {
                row: (dialect.row)(*kind),
                kind: *kind,
                said: "words for the caller",
                field: Some(&Field::from("field")),
                code: None,
                request_id: "7",
                request_number: 7,
            };
            let body = String::from_utf8((dialect.body)(&refused)).unwrap();
            writeln!(page, "{kind:?}\n  {status} {body}").unwrap();
        }
        page.push('\n');
    }
    insta::assert_snapshot!("grid", page);
}

/// A dialect whose handlers do what ours never should.
fn broken(of: &Dialect) -> Dialect {
    Dialect {
        name: of.name,
        base: String::new(),
        alias: None,
        claims: &["/broken"],
        proof: of.proof,
        actions: None,
        row: Arc::clone(&of.row),
        codes: of.codes,
        body: Arc::clone(&of.body),
        body_type: of.body_type,
        refused: of.refused,
        quota: of.quota,
        routes: vec![
            Route::open(Method::GET, "/broken/panic", Class::Common, |plain| async move {
                assert!(plain.now == jiff::Timestamp::MAX, "a defect with a vkt_secret in it");
                Ok(Reply::written(Vec::new(), "text/plain"))
            }),
            Route::open(Method::GET, "/broken/error", Class::Common, |_| async {
                Err(Error::internal("noted for the log").caused_by(io::Error::other("the cause")))
            }),
            Route::open(Method::GET, "/broken/busy", Class::Common, |_| async {
                Err(Error::new(Kind::Unavailable, "the queue is full").retry_after(3))
            }),
        ],
    }
}

#[tokio::test]
async fn a_defect_of_ours_is_told_in_the_dialects_form_without_its_words() {
    let world = World::new().await;
    let mut page = String::new();
    for dialect in World::dialects(&world.shared, &world.made) {
        let app = edge::router(world.shared.clone(), EdgeLimits::default(), vec![broken(&dialect)]).unwrap();
        for path in ["/broken/panic", "/broken/error", "/broken/busy"] {
            let response = app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
            let (parts, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let wait = parts.headers.get("retry-after").map(|value| value.to_str().unwrap().to_owned());
            writeln!(page, "{path} {} {wait:?} {}", parts.status, String::from_utf8_lossy(&body)).unwrap();
        }
    }
    assert!(!page.contains("vkt_secret") && !page.contains("noted") && !page.contains("the cause"), "{page}");
    insta::assert_snapshot!("defects", page);
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn each_request_is_one_line_in_the_log_and_no_secret_is_in_it() {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .without_time()
        .finish();
    let world = World::new().await;
    let token = world.token("reader").await;
    let _guard = tracing::subscriber::set_default(subscriber);
    let vended = world.call(&Method::POST, "/v1/datasets/credentials", &token, "").await;
    assert_eq!(vended.status, StatusCode::OK);
    let native = world.call(&Method::POST, "/api/v1/credentials", &token, "{\"grant\":\"daily\"}").await;
    assert_eq!(native.status, StatusCode::OK);
    world.call(&Method::GET, &format!("/v1/datasets/{token}"), &token, "").await;
    world.call(&Method::POST, "/api/v1/credentials", &format!("{token}x"), "").await;
    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert_eq!(log.lines().count(), 4, "{log}");
    assert!(log.contains("answered") && log.contains("refused: no such route"), "{log}");
    for answer in [vended.json(), native.json()] {
        for secret in ["secret_access_key", "session_token"] {
            assert!(!log.contains(answer[secret].as_str().unwrap()), "{secret} in {log}");
        }
    }
    let start: String = token.chars().take(12).collect();
    assert!(!log.contains(&start), "{log}");
}

/// What was counted: a name with its labels, and how often.
#[derive(Default)]
struct Counted(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl metrics::Recorder for Counted {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels: Vec<String> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{} {}", key.name(), labels.join(" "));
        Counter::from_arc(Arc::clone(self.0.lock().unwrap().entry(name).or_default()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn each_request_is_counted_once_and_nobody_is_named() {
    let counted = Counted::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    metrics::with_local_recorder(&counted, || {
        runtime.block_on(async {
            let world = World::new().await;
            for caller in ["reader", "reader", "nobody"] {
                world.post(caller, "/v1/datasets/credentials", "").await;
            }
            world.call(&Method::POST, "/api/v1/credentials", "vkt_x", "{}").await;
            world.call(&Method::GET, "/v1/datasets", "vkt_x", "").await;
            world.get("reader", "/v1/datasets").await;
        });
    });
    let seen: Vec<String> = counted
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|(name, count)| format!("{name}: {}", count.load(std::sync::atomic::Ordering::SeqCst)))
        .collect();
    assert_eq!(
        seen,
        [
            "vk_authn_failures_total method=token reason=token_unknown: 2",
            "vk_requests_refused_total dialect=native reason=token_unknown: 1",
            "vk_requests_refused_total dialect=theirstack reason=not_in_plan: 1",
            "vk_requests_refused_total dialect=theirstack reason=token_unknown: 1",
            "vk_vend_requests_total dialect=native outcome=refused reason=token_unknown: 1",
            "vk_vend_requests_total dialect=theirstack outcome=refused reason=not_in_plan: 1",
            "vk_vend_requests_total dialect=theirstack outcome=vended reason=none: 2",
        ]
    );
}

#[tokio::test]
async fn a_clients_request_id_comes_back_if_it_is_plain() {
    let world = World::new().await;
    for (given, back) in [("01J-abc", true), ("a b", false), ("x\u{e9}", false)] {
        let request =
            Request::get("/v1/datasets").header("x-request-id", given.as_bytes()).body(Body::empty()).unwrap();
        let answer = world.send(request).await;
        assert_eq!(answer.headers["x-request-id"] == *given, back, "{given}");
        assert!(answer.json()["request_id"].is_u64());
    }
}
