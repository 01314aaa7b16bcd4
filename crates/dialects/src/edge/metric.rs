//! What is counted: no account, caller, bucket or path is ever a label.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Histogram};
use valetkey_core::Kind;

/// One dialect's numbers. The handles of the frequent ones are kept, so that a vend costs no look-up of a label set; they
/// are made at the first request, after the binary has installed its recorder.
#[derive(Default)]
pub(super) struct Numbers {
    vended: OnceLock<Counter>,
    vend_took: OnceLock<Histogram>,
}

impl Numbers {
    pub(super) fn vended(&self, dialect: &'static str, took: Duration) {
        self.vended
            .get_or_init(|| {
                metrics::counter!("vk_vend_requests_total", "dialect" => dialect, "outcome" => "vended", "reason" => "none")
            })
            .increment(1);
        self.took(dialect, took);
    }

    pub(super) fn vend_refused(&self, dialect: &'static str, kind: Kind, took: Duration) {
        metrics::counter!("vk_vend_requests_total", "dialect" => dialect, "outcome" => "refused", "reason" => kind.slug())
            .increment(1);
        self.took(dialect, took);
    }

    fn took(&self, dialect: &'static str, took: Duration) {
        self.vend_took
            .get_or_init(|| metrics::histogram!("vk_vend_duration_seconds", "dialect" => dialect))
            .record(took.as_secs_f64());
    }
}

/// Counts a refusal, of whatever route.
pub(super) fn request_refused(dialect: &'static str, kind: Kind) {
    metrics::counter!("vk_requests_refused_total", "dialect" => dialect, "reason" => kind.slug()).increment(1);
    if let Kind::Unauthenticated(_) = kind {
        metrics::counter!("vk_authn_failures_total", "method" => "token", "reason" => kind.slug()).increment(1);
    }
}
