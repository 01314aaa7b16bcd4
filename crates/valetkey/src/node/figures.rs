//! What every figure means, and those that are counted beside the work: of the process, the disk and the ledger. A scrape only renders.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use metrics::Unit;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use valetkey_core::time::Clock;

/// How often the process and the disk are looked at.
const EVERY: Duration = Duration::from_secs(15);
/// How often the database is asked: every so many looks.
const LOOKS: u32 = 4;
/// What ends within this time ends soon.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Clock ticks in a second, as Linux tells them to programs.
const TICKS: f64 = 100.0;

/// What kind of figure one is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

use Kind::{Counter, Gauge, Histogram};

/// Every figure: its name, kind, unit and meaning.
pub(crate) const FIGURES: &[(&str, Kind, Unit, &str)] = &[
    (
        "vk_alerts_total",
        Counter,
        Unit::Count,
        "Refusals at the S3 endpoint that someone may want to look into, by alert",
    ),
    ("vk_audit_events_total", Counter, Unit::Count, "Events that were sent, by destination"),
    ("vk_audit_failures_total", Counter, Unit::Count, "Attempts to send events that failed, by destination"),
    (
        "vk_audit_lag_seconds",
        Gauge,
        Unit::Seconds,
        "Age of the oldest event that a destination has not taken yet, by destination; 0 where it has all",
    ),
    (
        "vk_audit_requests_dropped_total",
        Counter,
        Unit::Count,
        "Requests to buckets that were not reported, because too many waited or the server ended, by destination",
    ),
    ("vk_audit_requests_total", Counter, Unit::Count, "Requests to buckets that were reported, by destination"),
    (
        "vk_authn_failures_total",
        Counter,
        Unit::Count,
        "Requests to the API whose token was missing, unknown, ended or revoked",
    ),
    ("vk_bodies_refused_total", Counter, Unit::Count, "Requests refused because too many bytes of bodies were held"),
    ("vk_build_info", Gauge, Unit::Count, "1, with the version as a label"),
    (
        "vk_certificate_end_timestamp_seconds",
        Gauge,
        Unit::Seconds,
        "When the certificate in this file ends, in Unix time",
    ),
    (
        "vk_connections_refused_total",
        Counter,
        Unit::Count,
        "Connections closed before a request, by listener and reason",
    ),
    ("vk_disk_free_bytes", Gauge, Unit::Bytes, "Bytes that the server may still use on the disk of the data directory"),
    ("vk_disk_size_bytes", Gauge, Unit::Bytes, "Bytes of the disk of the data directory"),
    (
        "vk_heavy_answers_cut_total",
        Counter,
        Unit::Count,
        "Answers about shared tables that were given up: too slow or too large",
    ),
    (
        "vk_heavy_answers_refused_total",
        Counter,
        Unit::Count,
        "Answers about shared tables refused because too many were being made",
    ),
    ("vk_leases_live", Gauge, Unit::Count, "Live leases among the newest 100000, counted once a minute"),
    ("vk_ledger_commit_seconds", Histogram, Unit::Seconds, "Time of one commit of the ledger, its fsync included"),
    ("vk_database_losses_total", Counter, Unit::Count, "Times a shared database had lost its last changes"),
    ("vk_ledger_failures", Counter, Unit::Count, "Commits of the ledger that failed"),
    ("vk_ledger_group_size", Histogram, Unit::Count, "Entries in one commit of the ledger"),
    ("vk_ledger_queue", Gauge, Unit::Count, "Entries in the latest commit of the ledger"),
    ("vk_ledger_owed", Gauge, Unit::Count, "Changes that end something and could not be put on record yet"),
    (
        "vk_ledger_reserve_bytes",
        Gauge,
        Unit::Bytes,
        "Bytes kept on the disk for the ledger, to be given up when it is full",
    ),
    (
        "vk_ledger_reserve_given_total",
        Counter,
        Unit::Count,
        "Times the ledger's reserve was given up, because the disk was full",
    ),
    ("vk_package_blobs_damaged", Counter, Unit::Count, "Blobs of packages that are not what was pushed"),
    (
        "vk_log_lines_held_back_total",
        Counter,
        Unit::Count,
        "Lines that were not written to the log, because one place in the code had too many in a second",
    ),
    (
        "vk_refusals_not_logged_total",
        Counter,
        Unit::Count,
        "Refusals without a line in the log, because of too many in a second",
    ),
    ("vk_reload_successful", Gauge, Unit::Count, "1 if the latest reload of these files went well, else 0"),
    (
        "vk_identity_keys_total",
        Counter,
        Unit::Count,
        "Times that an identity provider was asked for its keys, by provider and outcome",
    ),
    ("vk_requests_refused_total", Counter, Unit::Count, "Refused requests to the API, by dialect and reason"),
    (
        "vk_revocations_total",
        Counter,
        Unit::Count,
        "Revocations, by what they end: a lease, or all of a token, caller, account, grant or storage",
    ),
    (
        "vk_s3_behind_failures_total",
        Counter,
        Unit::Count,
        "Failures of storages behind the gateway, by what was being done",
    ),
    ("vk_s3_crowded_total", Counter, Unit::Count, "S3 requests refused because too many bytes of bodies were held"),
    ("vk_s3_damaged_objects_total", Counter, Unit::Count, "Objects that are not what was written"),
    ("vk_s3_no_room_total", Counter, Unit::Count, "S3 requests refused because the disk is full, or nearly"),
    ("vk_s3_requests_total", Counter, Unit::Count, "S3 requests, by operation and error code"),
    ("vk_stalled_answers_total", Counter, Unit::Count, "Answers given up because their reader took nothing"),
    (
        "vk_tokens_ending_soon",
        Gauge,
        Unit::Count,
        "Tokens that end within 7 days and are not revoked, counted once a minute",
    ),
    (
        "vk_upstream_failures_total",
        Counter,
        Unit::Count,
        "Failures of external storages, by storage and reason: fetches of credentials, and calls of those behind the gateway",
    ),
    ("vk_vend_duration_seconds", Histogram, Unit::Seconds, "Time of a request for credentials, by dialect"),
    ("vk_vend_requests_total", Counter, Unit::Count, "Requests for credentials, by dialect, outcome and reason"),
    (
        "process_cpu_seconds_total",
        Counter,
        Unit::Seconds,
        "Time of all processors that the server used, in whole seconds",
    ),
    ("process_max_fds", Gauge, Unit::Count, "The most files the server may have open"),
    ("process_open_fds", Gauge, Unit::Count, "Files, sockets included, that the server has open"),
    ("process_resident_memory_bytes", Gauge, Unit::Bytes, "Memory of the server that is in RAM"),
    ("process_start_time_seconds", Gauge, Unit::Seconds, "When the server started, in Unix time"),
    ("process_threads", Gauge, Unit::Count, "Threads of the server"),
];

/// Tells the recorder what each figure means.
pub(crate) fn describe() {
    for (name, kind, unit, about) in FIGURES {
        match kind {
            Counter => metrics::describe_counter!(*name, *unit, *about),
            Gauge => metrics::describe_gauge!(*name, *unit, *about),
            Histogram => metrics::describe_histogram!(*name, *unit, *about),
        }
    }
}

/// What is looked at.
pub(crate) struct Watched {
    pub(crate) store: Arc<valetkey_database::Database>,
    pub(crate) data_dir: PathBuf,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Watched {
    /// Looks now and then, until the end.
    pub(crate) async fn keep(self, end: CancellationToken) {
        set("process_start_time_seconds", self.clock.now().as_second());
        for look in 0u32.. {
            process();
            self.disk();
            if look.is_multiple_of(LOOKS) {
                self.ledger().await;
            }
            tokio::select! {
                () = end.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    fn disk(&self) {
        let Ok(disk) = rustix::fs::statvfs(&self.data_dir) else { return };
        set("vk_disk_free_bytes", disk.f_bavail.saturating_mul(disk.f_frsize));
        set("vk_disk_size_bytes", disk.f_blocks.saturating_mul(disk.f_frsize));
    }

    async fn ledger(&self) {
        let now = self.clock.now();
        match self.store.figures(now.saturating_add(SOON).unwrap_or(now)).await {
            Ok(found) => {
                set("vk_leases_live", found.live_leases);
                set("vk_tokens_ending_soon", found.tokens_that_end);
            }
            Err(error) => warn!(%error, detail = error.detail(), "leases and tokens could not be counted"),
        }
    }
}

/// What Linux tells of the process; elsewhere there is nothing to read.
fn process() {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/self/{file}")).ok();
    if let Some(pages) = read("statm").and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok()) {
        set("process_resident_memory_bytes", pages.saturating_mul(rustix::param::page_size() as u64));
    }
    // The name, in brackets, may hold anything.
    let stat = read("stat").and_then(|text| Some(text.rsplit_once(')')?.1.to_owned()));
    let field = |at: usize| stat.as_ref().and_then(|rest| rest.split_whitespace().nth(at)?.parse::<u64>().ok());
    if let (Some(user), Some(system)) = (field(11), field(12)) {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a counter of whole seconds"
        )]
        metrics::counter!("process_cpu_seconds_total").absolute(((user + system) as f64 / TICKS) as u64);
    }
    if let Some(threads) = field(17) {
        set("process_threads", threads);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        set("process_open_fds", open.count());
    }
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        set("process_max_fds", most);
    }
}

fn set(name: &'static str, value: impl TryInto<i64>) {
    let value = value.try_into().unwrap_or(i64::MAX);
    #[expect(clippy::cast_precision_loss, reason = "figures are about right")]
    metrics::gauge!(name).set(value as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of figures in the sources: what stands in quotes behind a macro that counts.
    fn counted(text: &str, found: &mut std::collections::BTreeSet<String>) {
        for word in ["counter!(", "gauge!(", "histogram!("] {
            for behind in text.split(word).skip(1) {
                let behind = behind.trim_start();
                let name = behind.strip_prefix('"').and_then(|rest| rest.split('"').next());
                found.extend(
                    name.filter(|name| name.starts_with("vk_") || name.starts_with("process_")).map(str::to_owned),
                );
            }
        }
    }

    #[test]
    fn every_figure_that_is_counted_says_what_it_means() {
        let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut found = std::collections::BTreeSet::new();
        for entry in walkdir::WalkDir::new(crates).into_iter().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|kind| kind == "rs")
                && path.components().any(|part| part.as_os_str() == "src")
            {
                counted(&std::fs::read_to_string(path).unwrap(), &mut found);
            }
        }
        assert!(found.len() > 20, "{found:?}");
        let unknown: Vec<_> = found.iter().filter(|name| !FIGURES.iter().any(|(known, ..)| known == name)).collect();
        assert!(unknown.is_empty(), "say in FIGURES what they mean: {unknown:?}");
        for (name, _, unit, about) in FIGURES {
            assert!(about.len() > 10 || *name == "vk_build_info", "{name}");
            assert_eq!(name.contains("_seconds"), *unit == Unit::Seconds, "{name} says its unit");
            assert_eq!(name.ends_with("_bytes"), *unit == Unit::Bytes, "{name} says its unit");
        }
    }
}
