//! What watches a server asks it: is it alive, is it ready, how does it do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{StatusCode, header};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

/// Bounds of the time histograms, in seconds.
const SECONDS: &[f64] = &[0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// How long the databases may take to answer for a server that is ready.
const PATIENCE: Duration = Duration::from_secs(1);

/// The figures so far.
#[derive(Clone)]
pub(crate) struct Metrics(PrometheusHandle);

/// Starts counting; once for a process.
pub(crate) fn record() -> anyhow::Result<Metrics> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).ok().context("figures are being counted already")?;
    super::figures::describe();
    metrics::gauge!("vk_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(Metrics(handle))
}

impl Metrics {
    /// All figures, as they are scraped.
    #[cfg(feature = "otel")]
    pub(crate) fn text(&self) -> String {
        self.0.render()
    }

    /// Folds what was counted, now and then, so that it does not pile up between two visits.
    pub(crate) async fn keep(self, end: CancellationToken) {
        loop {
            tokio::select! {
                () = end.cancelled() => return,
                () = tokio::time::sleep(Duration::from_secs(5)) => self.0.run_upkeep(),
            }
        }
    }
}

/// What readiness depends on.
#[derive(Clone)]
pub(crate) struct Health {
    pub(crate) ready: Arc<AtomicBool>,
    pub(crate) store: Arc<valetkey_database::Database>,
    pub(crate) objects: valetkey_s3::Endpoint,
}

impl Health {
    /// Asks both databases: each may lie on a disk of its own, and each is written by a connection of its own.
    async fn check(&self) -> Response {
        if !self.ready.load(Ordering::Acquire) {
            return unready("[-] shutting down\n".to_owned());
        }
        let database = tokio::time::timeout(PATIENCE, self.store.ready());
        let objects = tokio::time::timeout(PATIENCE, self.objects.ready());
        let (database, objects) = tokio::join!(database, objects);
        let parts = [("database", told(&database)), ("objects", told(&objects))];
        let lines = parts.map(|(name, how)| format!("{} {name} {how}\n", if how == "ok" { "[+]" } else { "[-]" }));
        if parts.iter().all(|(_, how)| *how == "ok") { lines.concat().into_response() } else { unready(lines.concat()) }
    }
}

/// How one part does. What exactly failed is in the log: strangers may ask here.
fn told(asked: &Result<Result<(), valetkey_core::Error>, tokio::time::error::Elapsed>) -> &'static str {
    match asked {
        Ok(Ok(())) => "ok",
        Ok(Err(_)) => "failed",
        Err(_) => "too slow",
    }
}

fn unready(lines: String) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], lines).into_response()
}

/// `/livez`, `/readyz` and, if the figures are to be here, `/metrics`.
pub(crate) fn routes(health: Health, metrics: Option<Metrics>) -> Router {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(move || async move { health.check().await }));
    match metrics {
        None => router,
        Some(metrics) => router.route(
            "/metrics",
            get(move || async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.0.render()) }),
        ),
    }
}
