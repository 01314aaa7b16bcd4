//! What an operator may choose about the store.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::sql::holdings::Holdings;

/// When a lease counts as opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LedgerMode {
    /// When it is on disk. A crash loses no lease of a credential that left.
    #[default]
    Durable,
    /// When it is queued. Faster; a crash may lose the leases of the last tenth of a second. While one waits longer than that
    /// for the disk, nothing more is handed out.
    Relaxed,
}

/// Says whether so many bytes may be written.
type Ask = Arc<dyn Fn(u64) -> io::Result<()> + Send + Sync>;

/// The room on the disk for what strangers send: less than there is, so that the ledger has some left.
#[derive(Clone)]
pub struct Room(Ask);

impl Room {
    /// As much as this says, which is asked before each write.
    pub fn as_said(ask: Ask) -> Self {
        Self(ask)
    }

    /// Refuses so many bytes if there is no room for them. Blocks.
    pub(crate) fn admit(&self, bytes: usize) -> io::Result<()> {
        (self.0)(u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(|_| Ok(())))
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Room")
    }
}

/// What an operator may choose about the store.
#[derive(Clone, Debug)]
pub struct Settings {
    /// When a lease counts as opened.
    pub ledger: LedgerMode,
    /// At most so many entries wait for the disk; what comes then is refused as `Unavailable`.
    pub queue: usize,
    /// Tokens kept in memory.
    pub tokens: usize,
    /// Accounts kept in memory, each with all its grants.
    pub accounts: usize,
    /// How much accounts may hold.
    pub holdings: Holdings,
    /// The most credentials of one parent access key that are ended one by one at a time: their holder makes as many as it likes, and
    /// each end has to be remembered until its credential is over.
    pub ended_children: usize,
    /// How long what is over is kept.
    pub retention: Retention,
    /// Where pages of the ledger go before retention removes them; nowhere if not said.
    pub archive: Option<PathBuf>,
    /// The room for blobs of packages.
    pub room: Room,
    /// The bytes that are kept for the ledger in a file, to be given up when the disk is full; 0: none.
    pub reserve_bytes: u64,
    /// What this server is called among those that share a database.
    pub node: String,
    /// It serves the objects that it keeps on its own disk: one of those that share a database may.
    pub embedded: bool,
    /// How long what is known of a database that others write too is believed without hearing from it.
    pub staleness: Staleness,
}

/// For how long a node goes on without hearing from the database that it shares with others. A credential that another node ended
/// meanwhile is taken here for so long at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Staleness {
    /// Vends; then they are refused as `Unavailable`.
    pub vend: Duration,
    /// Requests to the S3 endpoint; then they are refused as `ServiceUnavailable`.
    pub s3: Duration,
}

impl Default for Staleness {
    /// A restart of the database is longer than the first and shorter than the second: data goes on being read through it.
    fn default() -> Self {
        Self { vend: Duration::from_secs(5), s3: Duration::from_secs(30) }
    }
}

/// How long what is over is kept, in seconds; 0: for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Counts of refusals.
    pub refusals_secs: u64,
    /// Counts of requests.
    pub requests_secs: u64,
    /// Leases that have ended, and the pages of the ledger they are in.
    pub ledger_secs: u64,
    /// Tokens that ended, with what belongs to them, and grants that were removed. Those that a lease on record may name stay.
    pub ended_secs: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { refusals_secs: 90 * 86_400, requests_secs: 400 * 86_400, ledger_secs: 0, ended_secs: 90 * 86_400 }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ledger: LedgerMode::Durable,
            queue: 4096,
            tokens: 100_000,
            accounts: 10_000,
            holdings: Holdings::default(),
            ended_children: 10_000,
            retention: Retention::default(),
            archive: None,
            room: Room::default(),
            reserve_bytes: 0,
            node: "valetkey".to_owned(),
            embedded: false,
            staleness: Staleness::default(),
        }
    }
}
