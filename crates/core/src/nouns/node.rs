//! The servers that share a database, as they tell of themselves.

use jiff::Timestamp;

/// A server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Drawn when it was started; none for a server that is alone with its database.
    pub id: Option<[u8; 16]>,
    /// What it is called in its configuration.
    pub name: Box<str>,
    /// Its version.
    pub version: Box<str>,
    /// When it last said that it is there, by its own clock.
    pub heard: Option<Timestamp>,
    /// Whether that was within the last seconds.
    pub live: bool,
    /// Whether it is the one that was asked.
    pub this: bool,
    /// The chain of the ledger that it writes, counted from 1; once it is gone, the next server that starts goes on with it.
    pub chain: u32,
    /// The last page of that chain that it told of.
    pub head: u64,
    /// Whether it is the one that serves the objects of its own disk.
    pub embedded: bool,
}
