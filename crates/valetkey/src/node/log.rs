//! The log: lines on standard error, JSON or for people. Secrets never get here: they are typed not to.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// Starts logging as configured; once for a process.
pub(crate) fn start(config: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.level).with_context(|| format!("`log.level` is `{}`", config.level))?;
    // What libraries say at info is about themselves; sqlx even shows statements. What looking for credentials came to we say.
    let filter = ["sqlx=warn", "hyper=warn", "s3s=off", "h2=warn", "reqsign_aws_v4=off", "reqsign_core=off"]
        .into_iter()
        .filter(|quiet| !config.level.contains(quiet.split('=').next().unwrap_or_default()))
        .filter_map(|quiet| quiet.parse().ok())
        .fold(filter, EnvFilter::add_directive);
    let json = match config.format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let registry = tracing_subscriber::registry().with(filter);
    if json {
        registry
            .with(tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr))
            .try_init()
    } else {
        let colours = std::io::stderr().is_terminal();
        registry
            .with(tracing_subscriber::fmt::layer().with_ansi(colours).with_target(false).with_writer(std::io::stderr))
            .try_init()
    }
    .context("the log is started already")
}
