//! Sends events to where the settings say: each destination goes on where it was, at its own pace. None holds a vend back: events are read
//! from the ledger, which is complete whatever becomes of a destination.

mod destination;
mod file;
mod requests;
mod syslog;
#[cfg(test)]
mod tests;
mod webhook;

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use valetkey_core::nouns::registry::Catalog;
use valetkey_core::nouns::trail::{Cursor, From, Sender, TURN, Told, Trail};
use valetkey_core::nouns::usage::Meter;
use valetkey_core::time::{Clock, Entropy as _};
use valetkey_dialects::native::Teller;

use self::destination::{BATCH, Destination, IDLE, LONGEST, Line, Taken, joined};
use self::requests::{Requests, Watching};
pub(crate) use self::syslog::Syslog;
pub(crate) use self::webhook::key as webhook_key;
use crate::config::{Audit, AuditFrom};
use crate::node::Node;
use crate::node::system::SystemEntropy;

/// The turn is taken again before what is sent later than so long after: what a destination may take for a batch is left of it.
const RENEWED: i32 = 6;

struct Stdout;

#[async_trait]
impl Destination for Stdout {
    fn name(&self) -> &'static str {
        "stdout"
    }

    async fn send(&mut self, lines: &[Line]) -> anyhow::Result<Taken> {
        let text = joined(lines);
        let write = move || {
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        };
        tokio::task::spawn_blocking(write).await??;
        Ok(Taken::All)
    }
}

/// The destinations that the settings name, and this file.
fn destinations(config: &Audit, file: &Path, clock: &Arc<dyn Clock>) -> Vec<Box<dyn Destination>> {
    let mut all: Vec<Box<dyn Destination>> = Vec::new();
    if !file.as_os_str().is_empty() {
        all.push(Box::new(file::Rotated::new(file, config)));
    }
    if config.stdout {
        all.push(Box::new(Stdout));
    }
    // INVARIANT: settings were checked, so both can be made.
    all.extend(Syslog::parse(&config.syslog).ok().flatten().map(|syslog| Box::new(syslog) as Box<dyn Destination>));
    if !config.webhook_url.is_empty() {
        match webhook::Webhook::new(&config.webhook_url, &config.webhook_secret, Arc::clone(clock)) {
            Ok(webhook) => all.push(Box::new(webhook)),
            Err(error) => warn!(error = %format!("{error:#}"), "events cannot be sent to `audit.webhook_url`"),
        }
    }
    all
}

/// What the endpoint tells of requests to buckets, and what sends it.
pub(super) fn watching(config: &Audit, counts: Arc<dyn Meter>, clock: &Arc<dyn Clock>) -> (Arc<Requests>, Watching) {
    let all = if config.requests.is_empty() { Vec::new() } else { destinations(config, &config.requests_file, clock) };
    requests::watching(&config.requests, all, counts)
}

/// Starts sending, until the server ends.
pub(super) fn start(config: &Audit, node: &Node) {
    let all = destinations(config, &config.file, &node.handles.clock);
    let mut sender = [0; 16];
    SystemEntropy.fill(&mut sender);
    for destination in all {
        let sending = Sending {
            trail: Arc::clone(&node.store) as Arc<dyn Trail>,
            teller: Teller::new(Arc::clone(&node.store) as Arc<dyn Catalog>),
            clock: Arc::clone(&node.handles.clock),
            sender: Sender(sender),
            from: match config.from {
                AuditFrom::Now => From::Now,
                AuditFrom::Start => From::Start,
            },
            destination,
            most: BATCH,
            wait: IDLE,
            idle: IDLE,
        };
        node.tasks.spawn(sending.keep(node.end.clone()));
    }
}

struct Sending {
    trail: Arc<dyn Trail>,
    teller: Teller,
    clock: Arc<dyn Clock>,
    sender: Sender,
    from: From,
    destination: Box<dyn Destination>,
    /// The most events of the next batch.
    most: u32,
    /// The last wait after a failure.
    wait: Duration,
    /// Between two looks when there was nothing.
    idle: Duration,
}

impl Sending {
    async fn keep(mut self, end: CancellationToken) {
        loop {
            let turn = end.run_until_cancelled(self.turn()).await;
            let pause = match turn {
                None => return,
                Some(Ok(())) => IDLE,
                Some(Err(error)) => self.failed(&error),
            };
            if end.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Says how long to wait after a failure; the first of an outage is told.
    fn failed(&mut self, error: &anyhow::Error) -> Duration {
        let name = self.destination.name();
        metrics::counter!("vk_audit_failures_total", "destination" => name).increment(1);
        if self.wait == IDLE {
            let error = format!("{error:#}");
            warn!(destination = name, error, "events could not be sent; they are kept, and sent again");
        }
        self.wait = (self.wait * 2).min(LONGEST);
        self.wait
    }

    /// Sends until another server has the turn, or something fails. After each batch it is remembered how far was sent.
    async fn turn(&mut self) -> anyhow::Result<()> {
        let name = self.destination.name();
        loop {
            let taken = self.clock.now();
            let Some(mut next) = self.trail.take_turn(name, self.sender, self.from, taken).await? else {
                metrics::gauge!("vk_audit_lag_seconds", "destination" => name).set(0.0);
                return Ok(());
            };
            while self.clock.now().duration_since(taken) < TURN / RENEWED {
                let told = self.trail.events(&next, self.most).await?;
                let (more, any) = (told.more, !told.events.is_empty());
                if told.next == next {
                    tokio::time::sleep(self.idle).await;
                    continue;
                }
                let Some(sent) = self.send(told).await? else { continue };
                next = sent;
                if !self.trail.sent(name, self.sender, &next).await? {
                    return Ok(());
                }
                if any && self.wait > IDLE {
                    info!(destination = name, "events are sent again");
                    self.wait = IDLE;
                }
                if !more {
                    metrics::gauge!("vk_audit_lag_seconds", "destination" => name).set(0.0);
                    tokio::time::sleep(self.idle).await;
                }
            }
        }
    }

    /// Sends what was told; nothing where that is too much at once: the next batch has fewer.
    async fn send(&mut self, told: Told) -> anyhow::Result<Option<Cursor>> {
        let mut lines = Vec::with_capacity(told.events.len());
        for event in &told.events {
            let text = self.teller.tell(event).await?.to_string();
            lines.push(Line { id: event.id.clone(), at: event.at, text });
        }
        let name = self.destination.name();
        let many = u32::try_from(lines.len()).unwrap_or(u32::MAX);
        if let Some(oldest) = lines.iter().map(|line| line.at).min() {
            let lag = self.clock.now().duration_since(oldest).as_secs_f64();
            metrics::gauge!("vk_audit_lag_seconds", "destination" => name).set(lag.max(0.0));
            if self.hand_over(&lines).await.with_context(|| format!("sending to `{name}`"))? == Taken::TooLong {
                self.most = (many / 2).max(1);
                return Ok(None);
            }
            self.most = self.most.saturating_mul(2).min(BATCH);
        }
        metrics::counter!("vk_audit_events_total", "destination" => name).increment(many.into());
        Ok(Some(told.next))
    }

    /// Hands lines over. One that is too long alone holds up none of the others: a note goes in its place.
    async fn hand_over(&mut self, lines: &[Line]) -> anyhow::Result<Taken> {
        let taken = self.destination.send(lines).await?;
        let (Taken::TooLong, [long]) = (taken, lines) else { return Ok(taken) };
        if self.destination.send(&[long.short()]).await? == Taken::TooLong {
            bail!("it takes not even an event of {} bytes", long.short().text.len());
        }
        warn!(
            destination = self.destination.name(),
            event = &*long.id,
            "an event is too long; a note was sent in its place"
        );
        Ok(Taken::All)
    }
}
