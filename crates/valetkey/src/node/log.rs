//! The log: lines on standard error, JSON or for people. Secrets never get here: they are typed not to.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::config::{Log, LogFormat};

/// What takes spans beside the log.
pub(crate) type Spans = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging as configured; once for a process.
pub(crate) fn start(config: &Log, spans: Option<Spans>) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.level).with_context(|| format!("`log.level` is `{}`", config.level))?;
    // What libraries say at info is about themselves; sqlx even shows statements. What looking for credentials came to we say.
    let filter = ["sqlx=warn", "hyper=warn", "s3s=off", "h2=warn", "reqsign_aws_v4=off", "reqsign_core=off"]
        .into_iter()
        .filter(|quiet| !config.level.contains(quiet.split('=').next().unwrap_or_default()))
        .filter_map(|quiet| quiet.parse().ok())
        .fold(filter, EnvFilter::add_directive);
    // Spans are no lines, whatever the level.
    let filter = match format!("{}=off", valetkey_issuers::upstream::SPANS).parse() {
        Ok(none) => filter.add_directive(none),
        Err(_) => filter,
    };
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
