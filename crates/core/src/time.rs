//! Time and chance, as arguments: the clock, the source of randomness, and lifetimes in whole seconds.

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::error::{Error, Kind};

/// Tells the time. Only the binary's system clock asks the machine.
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;

    /// How long the machine runs, also while it was suspended and whatever the clock was set to. Nothing where that cannot be told.
    fn ran(&self) -> Option<Duration> {
        None
    }
}

/// Gives random bytes, fit for keys.
pub trait Entropy: Send + Sync {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]);
}

/// Ten random bytes, as identifiers want them.
pub fn random_10(entropy: &dyn Entropy) -> [u8; 10] {
    let mut bytes = [0; 10];
    entropy.fill(&mut bytes);
    bytes
}

/// How long a credential may live, in whole seconds: at least one, at most ten years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lifetime(u32);

impl Lifetime {
    /// The longest that can be written down; every storage allows far less.
    pub const MAX: Self = Self(315_360_000);

    /// A lifetime of `secs` seconds, forced into the range that can be written down; for constants and settings.
    pub const fn secs(secs: u32) -> Self {
        if secs == 0 {
            Self(1)
        } else if secs > Self::MAX.0 {
            Self::MAX
        } else {
            Self(secs)
        }
    }

    /// Reads a caller's number of seconds.
    ///
    /// # Errors
    /// `Invalid` when it is not between 1 and ten years.
    pub fn parse(secs: i64) -> Result<Self, Error> {
        match u32::try_from(secs) {
            Ok(secs) if (1..=Self::MAX.0).contains(&secs) => Ok(Self(secs)),
            Ok(_) | Err(_) => Err(Error::new(
                Kind::Invalid,
                format!("{secs} is not a lifetime in seconds; the least is 1 and the most {}", Self::MAX.0),
            )),
        }
    }

    /// The number of seconds.
    pub const fn as_secs(self) -> u32 {
        self.0
    }

    /// By so many seconds a credential may live shorter than somebody said: a twentieth, and a minute at most.
    pub const fn tolerance_secs(self) -> u32 {
        let twentieth = self.0 / 20;
        if twentieth > 60 {
            60
        } else if twentieth == 0 {
            1
        } else {
            twentieth
        }
    }

    /// Whole seconds from `now` to `until`; nothing if there is less than one.
    pub fn between(now: Timestamp, until: Timestamp) -> Option<Self> {
        let secs = until.duration_since(now).as_secs();
        if secs < 1 { None } else { Some(Self(u32::try_from(secs).unwrap_or(Self::MAX.0).min(Self::MAX.0))) }
    }

    /// The instant this lifetime ends when it starts `now`, in whole seconds: never later than `now` plus the lifetime.
    pub fn ends(self, now: Timestamp) -> Timestamp {
        let end = now.checked_add(SignedDuration::from_secs(i64::from(self.0))).unwrap_or(Timestamp::MAX);
        Timestamp::from_second(end.as_second()).unwrap_or(end)
    }
}

impl fmt::Debug for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0)
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0)
    }
}
