//! What every destination of events is.

use async_trait::async_trait;
use jiff::Timestamp;

/// An event on its way.
pub(super) struct Line {
    pub(super) id: Box<str>,
    pub(super) at: Timestamp,
    pub(super) text: String,
}

/// Where events go.
#[async_trait]
pub(super) trait Destination: Send {
    /// Its name in the database, in metrics and in logs.
    fn name(&self) -> &'static str;

    /// Sends them all. Of a failure nobody knows how many arrived: all are sent again.
    async fn send(&mut self, lines: &[Line]) -> anyhow::Result<()>;
}

/// Lines as a file has them.
pub(super) fn joined(lines: &[Line]) -> String {
    lines.iter().flat_map(|line| [&line.text, "\n"]).collect()
}
