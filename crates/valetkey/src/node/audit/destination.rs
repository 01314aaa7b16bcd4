//! What every destination of events is.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;

/// The most events that are sent at once: half a megabyte, besides the paths in them.
pub(super) const BATCH: u32 = 500;

/// Between two looks when there was nothing.
pub(super) const IDLE: Duration = Duration::from_secs(1);

/// The longest wait after failures; the first is a second, and each twice the one before.
pub(super) const LONGEST: Duration = Duration::from_mins(1);

/// An event on its way.
pub(super) struct Line {
    pub(super) id: Box<str>,
    pub(super) at: Timestamp,
    pub(super) text: String,
}

impl Line {
    /// What stands in the place of an event that is too long for whom it goes to.
    pub(super) fn short(&self) -> Self {
        let said =
            "this event is too long for this destination; `valetkey ledger events` and other destinations have it";
        let text = json!({ "metadata": { "uid": self.id }, "message": said }).to_string();
        Self { id: self.id.clone(), at: self.at, text }
    }
}

/// What became of events that were sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Taken {
    /// They are there.
    All,
    /// None is there: they are too long together.
    TooLong,
}

/// Where events go.
#[async_trait]
pub(super) trait Destination: Send {
    /// Its name in the database, in metrics and in logs.
    fn name(&self) -> &'static str;

    /// Sends them all. Of a failure nobody knows how many arrived: all are sent again.
    async fn send(&mut self, lines: &[Line]) -> anyhow::Result<Taken>;
}

/// Lines as a file has them.
pub(super) fn joined(lines: &[Line]) -> String {
    lines.iter().flat_map(|line| [&line.text, "\n"]).collect()
}
