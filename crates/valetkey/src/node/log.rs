//! The log: lines on standard error, JSON or for people. Secrets never get here: they are typed not to.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context;
use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata};
use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::layer::{Context as Around, Filter, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};
use valetkey_core::flood::Flood;

use crate::config::{Log, LogFormat};

/// What takes spans beside the log.
pub(crate) type Spans = Box<dyn Layer<Registry> + Send + Sync>;

/// Lines of one place in the code that are written in a second: what callers or storages can cause without end does not fill a disk.
const MOST_LINES: u32 = 100;

/// Lets only so many lines of each place pass; the others are counted. What an operator asked for by a level below `info` passes.
struct Bounded {
    began: Instant,
    places: Mutex<HashMap<Identifier, Flood>>,
}

impl Bounded {
    fn new() -> Self {
        Self { began: Instant::now(), places: Mutex::default() }
    }
}

impl<S> Filter<S> for Bounded {
    fn enabled(&self, _: &Metadata<'_>, _: &Around<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Around<'_, S>) -> bool {
        if *event.metadata().level() > Level::INFO {
            return true;
        }
        let second = self.began.elapsed().as_secs();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(event.metadata().callsite()).or_insert_with(|| Flood::new(MOST_LINES));
        let passes = place.pass(second).is_some();
        if !passes {
            metrics::counter!("vk_log_lines_held_back_total").increment(1);
        }
        passes
    }
}

/// Starts logging as configured; once for a process.
pub(crate) fn start(config: &Log, spans: Option<Spans>) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.level).with_context(|| format!("`log.level` is `{}`", config.level))?;
    // What libraries say at info is about themselves; sqlx even shows statements. What looking for credentials came to we say.
    let filter = [
        "sqlx=warn",
        "hyper=warn",
        "object_store=warn",
        "s3s=off",
        "h2=warn",
        "reqsign_aws_v4=off",
        "reqsign_core=off",
    ]
    .into_iter()
    .filter(|quiet| !config.level.contains(quiet.split('=').next().unwrap_or_default()))
    .filter_map(|quiet| quiet.parse().ok())
    .fold(filter, EnvFilter::add_directive);
    // Spans are no lines, whatever the level.
    let filter = match format!("{}=off", valetkey_issuers::upstream::SPANS).parse() {
        Ok(none) => filter.add_directive(none),
        Err(_) => filter,
    };
    let filter = filter.and(Bounded::new());
    let json = match config.format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if json {
        lines.json().flatten_event(true).with_filter(filter).boxed()
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).with_filter(filter).boxed()
    };
    let layers: Vec<Spans> = spans.into_iter().chain([lines]).collect();
    tracing_subscriber::registry().with(layers).try_init().context("the log is started already")
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn one_place_cannot_fill_the_log_nor_silence_another() {
        let written = Written::default();
        let out = written.clone();
        let filter = EnvFilter::new("debug").and(Bounded::new());
        let lines = tracing_subscriber::fmt::layer().with_writer(move || out.clone()).with_filter(filter);
        tracing::subscriber::with_default(Registry::default().with(lines), || {
            for _ in 0..5_000 {
                tracing::warn!("the storage failed");
                tracing::debug!("asked for");
            }
            tracing::error!("another");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let count = |words: &str| text.matches(words).count();
        // The seconds that it took, each with its own lines.
        assert!((100..2_500).contains(&count("the storage failed")), "{}", count("the storage failed"));
        assert_eq!((count("asked for"), count("another")), (5_000, 1));
    }
}
