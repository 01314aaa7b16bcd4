//! Rate limits as they are configured: windows, and whose requests they hold.

use valetkey_core::name::shortened;
use valetkey_core::{Error, Kind};

/// One window: so many requests in so many seconds.
///
/// * the quota and the seconds are at least 1, the seconds at most a year
/// * the name has 1 to 32 characters of `a-z`, `0-9`, `-`: it goes into a header
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Window {
    pub(super) name: Box<str>,
    pub(super) quota: u32,
    pub(super) secs: u32,
}

impl Window {
    /// Makes a window.
    ///
    /// # Errors
    /// `Invalid` when it breaks one of the promises above.
    pub fn new(name: &str, quota: u32, secs: u32) -> Result<Self, Error> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=32).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(Error::new(
                Kind::Invalid,
                format!(
                    "`{}` is not the name of a window; one has 1 to 32 characters of a-z, 0-9, `-`",
                    shortened(name)
                ),
            ));
        }
        if quota == 0 || secs == 0 || secs > 31_536_000 {
            return Err(Error::new(
                Kind::Invalid,
                format!(
                    "{quota} requests in {secs} s is not a window; both are at least 1, and the seconds at most a year"
                ),
            ));
        }
        Ok(Self { name: name.into(), quota, secs })
    }

    pub(super) fn ms(&self) -> i64 {
        i64::from(self.secs) * 1000
    }
}

/// The windows of each class; a class without windows is not limited and says nothing in headers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RateLimits {
    /// For a caller's requests for anything but credentials.
    pub common: Vec<Window>,
    /// For a caller's requests for credentials.
    pub credentials: Vec<Window>,
    /// For the requests of all callers of an account together: each caller that an account makes must not bring it another
    /// allowance.
    pub accounts: Vec<Window>,
    /// For the requests for credentials of all callers of an account together.
    pub account_credentials: Vec<Window>,
    /// For requests without a caller, by the address they come from.
    pub strangers: Vec<Window>,
}

impl Default for RateLimits {
    fn default() -> Self {
        let windows = |second: u32, minute: u32| {
            vec![
                Window { name: "per-second".into(), quota: second, secs: 1 },
                Window { name: "per-minute".into(), quota: minute, secs: 60 },
            ]
        };
        Self {
            common: windows(100, 3000),
            credentials: windows(50, 1000),
            accounts: windows(1000, 30_000),
            account_credentials: windows(500, 10_000),
            strangers: windows(20, 300),
        }
    }
}

impl RateLimits {
    /// No limits, and so no headers about them.
    pub const fn off() -> Self {
        Self {
            common: Vec::new(),
            credentials: Vec::new(),
            accounts: Vec::new(),
            account_credentials: Vec::new(),
            strangers: Vec::new(),
        }
    }
}
