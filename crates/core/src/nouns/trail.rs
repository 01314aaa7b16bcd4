//! What happened, one event after the other, for who reads on from where they were: from the ledger, and from what was counted of refusals.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::audit::Change;
use crate::credential::Trace;
use crate::error::{Error, Kind, Noun};
use crate::id::{AccountId, CallerId, LeaseId, TokenId};
use crate::lease::Lease;
use crate::name::shortened;

/// Where somebody who reads goes on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cursor {
    /// The next place of each chain of the ledger; of a chain that is not here, its first.
    pub chains: Vec<Reached>,
    /// The next of the counts of refusals.
    pub refusals: Counted,
}

/// How far a chain of the ledger was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reached {
    /// The next page.
    pub page: u64,
    /// The next entry in it.
    pub entry: u32,
    /// How the hash of the last page begins of which something was read: a ledger that was put back to an earlier state has another page
    /// there. It is not known of the beginning, nor of places that were told before this was.
    pub mark: Option<u32>,
}

impl Reached {
    /// The last page of which something was read; the one before the chain's first if nothing was.
    pub fn last(&self) -> u64 {
        if self.entry == 0 { self.page.saturating_sub(1) } else { self.page }
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { page, entry, mark } = self;
        write!(f, "{page}.{entry}")?;
        mark.map_or(Ok(()), |mark| write!(f, ".{mark:08x}"))
    }
}

impl Reached {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (page, entry) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let mark = match parts.next() {
            None => None,
            Some(mark) if mark.len() == 8 && !mark.starts_with('+') => Some(u32::from_str_radix(mark, 16).ok()?),
            Some(_) => return None,
        };
        (page > 0 && parts.next().is_none()).then_some(Self { page, entry, mark })
    }
}

/// A place among the counts of refusals.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counted {
    /// The second a minute starts at.
    pub minute: i64,
    /// The count in this minute.
    pub row: u32,
}

impl Cursor {
    /// The most chains it has: as many as one database has.
    const MOST: usize = 4096;
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for reached in &self.chains {
            write!(f, "{reached}_")?;
        }
        write!(f, "r{}.{}", self.refusals.minute, self.refusals.row)
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = || {
            let (chains, counted) = text.rsplit_once('_').map_or((None, text), |(chains, last)| (Some(chains), last));
            let (minute, row) = counted.strip_prefix('r')?.split_once('.')?;
            let refusals = Counted { minute: minute.parse().ok()?, row: row.parse().ok()? };
            Timestamp::from_second(refusals.minute).ok()?;
            let chains = chains.into_iter().flat_map(|all| all.split('_')).map(Reached::parse);
            let chains: Option<Vec<Reached>> = chains.collect();
            Some(Self { chains: chains.filter(|all| all.len() <= Self::MOST)?, refusals })
        };
        read().ok_or_else(|| {
            let said = format!("`{}` is not the `next` of an earlier answer", shortened(text));
            Error::new(Kind::Invalid, said).at("after")
        })
    }
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// What it is known by: told twice, it is the same.
    pub id: Box<str>,
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A lease was opened; its scope is not known any more where that is `None`.
    Opened(Box<Opened>),
    /// An external storage gave a credential for a lease.
    Issued(LeaseId, Trace),
    /// No credential came of a lease, for this reason.
    Voided {
        /// The lease.
        lease: LeaseId,
        /// Whose it is.
        account: AccountId,
        /// The kind of error.
        kind: Box<str>,
    },
    /// Credentials were ended: those of a lease, or all that a token, caller, account or storage had.
    Ended {
        /// What of.
        noun: Noun,
        /// Its id.
        id: Box<str>,
        /// By whom.
        by: CallerId,
    },
    /// Somebody changed something.
    Changed(Box<Change>),
    /// Asks that were refused in the minute that starts then.
    Refused(Refused),
    /// Pages of the ledger that are not there any more, or cannot be read: what was in them is not told.
    Missing {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
}

/// A lease that was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The lease.
    pub lease: Lease,
    /// The address it was asked for from.
    pub from: Option<IpAddr>,
    /// The token it was asked for with, where that is not the lease's.
    pub asked_with: Option<TokenId>,
    /// The leases it was narrowed from, the first one first.
    pub narrowed_from: Arc<[LeaseId]>,
}

/// Refusals that were counted together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The account, if the caller was known.
    pub account: Option<AccountId>,
    /// The caller, if known.
    pub caller: Option<CallerId>,
    /// The address that asked, if it is known, and not one of too many.
    pub from: Option<IpAddr>,
    /// The dialect.
    pub dialect: Box<str>,
    /// Why: the kind of error.
    pub kind: Box<str>,
    /// How many.
    pub count: u64,
}

/// What was read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Told {
    /// In the order of each chain.
    pub events: Vec<Event>,
    /// Where to go on.
    pub next: Cursor,
    /// Whether there may be more now.
    pub more: bool,
}

/// From where somebody reads who was not here before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    /// From the first event that is kept.
    Start,
    /// From what happens next.
    Now,
}

/// Which process sends events somewhere: drawn when it starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sender(pub [u8; 16]);

/// For how long a turn lasts: so long does a destination wait when the server that sends to it dies.
pub const TURN: SignedDuration = SignedDuration::from_secs(30);

/// What reads events, and remembers how far they were sent.
#[async_trait]
pub trait Trail: Send + Sync {
    /// Events from a place on, at least one if there is one, at most so many: fewer where they are long. A place that this ledger never had is
    /// refused.
    async fn events(&self, after: &Cursor, limit: u32) -> Result<Told, Error>;

    /// Where what happens next will be.
    async fn latest(&self) -> Result<Cursor, Error>;

    /// Takes the turn to send to a destination, or keeps it, for [`TURN`]: where to go on; nothing while another has it.
    async fn take_turn(&self, to: &str, sender: Sender, from: From, now: Timestamp) -> Result<Option<Cursor>, Error>;

    /// Says that all before a place was sent. `false` where another has the turn by now.
    async fn sent(&self, to: &str, sender: Sender, next: &Cursor) -> Result<bool, Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_anything_else_is_refused() {
        let place = |page, entry, mark| Reached { page, entry, mark };
        let refusals = Counted { minute: 1_790_000_040, row: 3 };
        for chains in [
            vec![],
            vec![place(57, 3, None)],
            vec![place(57, 3, Some(7)), place((1 << 40) + 1, 0, None), place(1, 0, Some(u32::MAX))],
        ] {
            let cursor = Cursor { chains, refusals };
            assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        }
        let old = "57.3_r1790000040.3".parse::<Cursor>().unwrap();
        assert_eq!((old.chains, old.refusals), (vec![place(57, 3, None)], refusals));
        assert_eq!((place(57, 3, None).last(), place(57, 0, None).last()), (57, 56));
        assert_eq!(Cursor::default().to_string(), "r0.0");
        for text in [
            "",
            "57.3",
            "r",
            "r1",
            "57_r1.2",
            "57.-1_r1.2",
            "_r1.2",
            "r1.2_57.3",
            "57.3__r1.2",
            "x1.2",
            "r1.2 ",
            "0.0_r1.2",
            "57.3.1_r1.2",
            "57.3.+0000007_r1.2",
            "57.3.00000007.1_r1.2",
            "r9223372036854775807.0",
            "r-9223372036854775808.0",
        ] {
            assert_eq!(text.parse::<Cursor>().unwrap_err().kind(), Kind::Invalid, "{text}");
        }
        assert!(format!("{}r0.0", "1.0_".repeat(Cursor::MOST + 1)).parse::<Cursor>().is_err());
    }
}
