//! What is known of a request when it ends, and its line in the log.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use http::{HeaderValue, StatusCode};
use valetkey_core::Error;
use valetkey_core::audit::Author;
use valetkey_core::caller::Caller;
use valetkey_core::flood::{Flood, Passed};
use valetkey_core::name::redacted;

use super::limit::Quota;
use super::route::{Dialect, Route};

/// What is known of a request when it ends, however it ends.
#[derive(Default)]
pub(super) struct Trail<'a> {
    pub(super) route: Option<&'a Route>,
    pub(super) caller: Option<Arc<Caller>>,
    pub(super) allow: Option<HeaderValue>,
    pub(super) quota: Option<Quota<'a>>,
    /// Whether a stranger's allowance was taken from already.
    pub(super) counted: bool,
    /// The request's id, as its answer has it.
    pub(super) id: Option<HeaderValue>,
    /// The address it came from.
    pub(super) peer: Option<IpAddr>,
    /// The same, where it is the client's own.
    pub(super) client: Option<IpAddr>,
}

impl Trail<'_> {
    /// Who asks, as far as nobody was proven.
    pub(super) const fn author(&self) -> Author {
        Author { from: self.peer, client: self.client, ..Author::SERVER }
    }

    /// The request's id.
    pub(super) fn id(&self) -> HeaderValue {
        self.id.clone().unwrap_or_else(|| HeaderValue::from_static(""))
    }
}

/// Refusals that are logged in a second: anyone can cause them.
static REFUSALS: Flood = Flood::new(100);
/// Where the seconds are counted from.
static STARTED: OnceLock<Instant> = OnceLock::new();

/// Whether one more refusal may be logged now. Each that is not is counted.
fn may_log() -> Option<Passed> {
    let passed = REFUSALS.pass(STARTED.get_or_init(Instant::now).elapsed().as_secs());
    if passed.is_none() {
        metrics::counter!("vk_refusals_not_logged_total", "listener" => "api").increment(1);
    }
    passed
}

/// One line for each request: quiet for success, with the words for the log for refusals. Nothing a client sent is in it
/// but the request id, which was checked, and what a refusal says.
pub(super) fn log(
    dialect: &Dialect,
    trail: &Trail<'_>,
    error: Option<&Error>,
    status: StatusCode,
    id: &HeaderValue,
    number: u64,
    took_us: u128,
) {
    let route = trail.route.map_or("-", |route| route.path);
    let caller = trail.caller.as_ref().map(|caller| tracing::field::display(caller.id));
    let account = trail.caller.as_ref().map(|caller| tracing::field::display(caller.account));
    let address = trail.peer.map(tracing::field::display);
    let (dialect, id, status) = (dialect.name, id.to_str().unwrap_or_default(), status.as_u16());
    let Some(error) = error else {
        tracing::debug!(
            dialect,
            route,
            status,
            caller.id = caller,
            caller.account = account,
            client.address = address,
            request.id = id,
            request.number = number,
            took_us,
            "answered"
        );
        return;
    };
    let kind = error.kind().slug();
    let mut sources = String::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        sources.push_str(if sources.is_empty() { "" } else { ": " });
        sources.push_str(&redacted(&cause.to_string()));
        source = cause.source();
    }
    let source = (!sources.is_empty()).then_some(sources);
    let detail = error.detail();
    if status >= 500 {
        tracing::error!(
            dialect,
            route,
            status,
            kind,
            detail,
            source,
            caller.id = caller,
            caller.account = account,
            client.address = address,
            request.id = id,
            request.number = number,
            took_us,
            "failed: {error}"
        );
    } else if let Some(Passed { held_back }) = may_log() {
        tracing::info!(
            dialect,
            route,
            status,
            kind,
            detail,
            source,
            held_back,
            caller.id = caller,
            caller.account = account,
            client.address = address,
            request.id = id,
            request.number = number,
            took_us,
            "refused: {error}"
        );
    }
}
