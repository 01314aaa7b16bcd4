//! Sends events to where the settings say: each destination goes on where it was, at its own pace. None holds a vend back: events are read
//! from the ledger, which is complete whatever becomes of a destination.

mod destination;
mod file;
mod syslog;
mod webhook;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use valetkey_core::nouns::registry::Catalog;
use valetkey_core::nouns::trail::{Cursor, From, Sender, TURN, Told, Trail};
use valetkey_core::time::{Clock, Entropy as _};
use valetkey_dialects::native::Teller;

use self::destination::{Destination, Line, joined};
pub(crate) use self::syslog::Syslog;
pub(crate) use self::webhook::key as webhook_key;
use crate::config::{Audit, AuditFrom};
use crate::node::Node;
use crate::node::system::SystemEntropy;

/// The most events that are read at once: some 1 MB.
const BATCH: u32 = 1000;

/// Between two looks when there was nothing.
const IDLE: Duration = Duration::from_secs(1);

/// The longest wait after failures; the first is a second, and each twice the one before.
const LONGEST: Duration = Duration::from_mins(1);

struct Stdout;

#[async_trait]
impl Destination for Stdout {
    fn name(&self) -> &'static str {
        "stdout"
    }

    async fn send(&mut self, lines: &[Line]) -> anyhow::Result<()> {
        let text = joined(lines);
        let write = move || {
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        };
        Ok(tokio::task::spawn_blocking(write).await??)
    }
}

/// Starts sending, until the server ends.
pub(super) fn start(config: &Audit, node: &Node) {
    let mut all: Vec<Box<dyn Destination>> = Vec::new();
    if !config.file.as_os_str().is_empty() {
        all.push(Box::new(file::Rotated::new(config)));
    }
    if config.stdout {
        all.push(Box::new(Stdout));
    }
    // INVARIANT: settings were checked, so both can be made.
    all.extend(Syslog::parse(&config.syslog).ok().flatten().map(|syslog| Box::new(syslog) as Box<dyn Destination>));
    if !config.webhook_url.is_empty() {
        match webhook::Webhook::new(&config.webhook_url, &config.webhook_secret, Arc::clone(&node.handles.clock)) {
            Ok(webhook) => all.push(Box::new(webhook)),
            Err(error) => warn!(error = %format!("{error:#}"), "events cannot be sent to `audit.webhook_url`"),
        }
    }
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
}

impl Sending {
    async fn keep(mut self, end: CancellationToken) {
        let name = self.destination.name();
        let mut wait = IDLE;
        loop {
            let turn = end.run_until_cancelled(self.turn()).await;
            let pause = match turn {
                None => return,
                Some(Ok(())) => {
                    if wait > IDLE {
                        info!(destination = name, "events are sent again");
                    }
                    wait = IDLE;
                    IDLE
                }
                Some(Err(error)) => {
                    metrics::counter!("vk_audit_failures_total", "destination" => name).increment(1);
                    if wait == IDLE {
                        let error = format!("{error:#}");
                        warn!(destination = name, error, "events could not be sent; they are kept, and sent again");
                    }
                    wait = (wait * 2).min(LONGEST);
                    wait
                }
            };
            if end.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Sends until another server has the turn, or something fails.
    async fn turn(&mut self) -> anyhow::Result<()> {
        let name = self.destination.name();
        loop {
            let taken = self.clock.now();
            let Some(mut next) = self.trail.take_turn(name, self.sender, self.from, taken).await? else {
                metrics::gauge!("vk_audit_lag_seconds", "destination" => name).set(0.0);
                return Ok(());
            };
            // Half of the turn is left for what is being sent when it is taken again.
            while self.clock.now().duration_since(taken) < TURN / 2 {
                let told = self.trail.events(&next, BATCH).await?;
                let more = told.more;
                if told.next == next {
                    tokio::time::sleep(IDLE).await;
                    continue;
                }
                next = self.send(told).await?;
                if !self.trail.sent(name, self.sender, &next).await? {
                    return Ok(());
                }
                if !more {
                    metrics::gauge!("vk_audit_lag_seconds", "destination" => name).set(0.0);
                    tokio::time::sleep(IDLE).await;
                }
            }
        }
    }

    async fn send(&mut self, told: Told) -> anyhow::Result<Cursor> {
        let mut lines = Vec::with_capacity(told.events.len());
        for event in &told.events {
            let text = self.teller.tell(event).await?.to_string();
            lines.push(Line { id: event.id.clone(), at: event.at, text });
        }
        let name = self.destination.name();
        if let Some(oldest) = lines.iter().map(|line| line.at).min() {
            let lag = self.clock.now().duration_since(oldest).as_secs_f64();
            metrics::gauge!("vk_audit_lag_seconds", "destination" => name).set(lag.max(0.0));
            self.destination.send(&lines).await.with_context(|| format!("sending to `{name}`"))?;
        }
        metrics::counter!("vk_audit_events_total", "destination" => name)
            .increment(u64::try_from(lines.len()).unwrap_or(u64::MAX));
        Ok(told.next)
    }
}
