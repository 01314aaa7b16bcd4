//! Names that people give: accounts, callers, storages, datasets, grants; and bucket names.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind};

/// A name people give to a thing of ours.
///
/// * 1 to 63 characters of `a-z`, `0-9`, `-`, `_` and `.`
/// * starts and ends with a letter or digit
/// * so it is never an id (those carry an upper level prefix with 26 digits), a path or a pattern
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

impl Name {
    /// Reads a name.
    ///
    /// # Errors
    /// `Invalid` when it breaks one of the promises above.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let edge = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let inside =
            text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'));
        if text.len() > 63 || !inside || !edge(text.bytes().next()) || !edge(text.bytes().last()) {
            return Err(Error::new(
                Kind::Invalid,
                format!(
                    "`{}` is not a name; one has 1 to 63 characters of a-z, 0-9, `-`, `_`, `.` and starts and ends with a letter or digit",
                    shortened(text)
                ),
            ));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A bucket's name, as S3 allows it for path and virtual-host style alike.
///
/// * 3 to 63 characters of `a-z`, `0-9`, `-` and `.`
/// * starts and ends with a letter or digit, no two dots in a row, not an IPv4 address
/// * source: Amazon S3 User Guide, "General purpose bucket naming rules"
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName(Box<str>);

impl BucketName {
    /// Reads a bucket's name.
    ///
    /// # Errors
    /// `Invalid` when it breaks one of the promises above.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let edge = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let inside = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'));
        let good = (3..=63).contains(&text.len())
            && inside
            && edge(text.bytes().next())
            && edge(text.bytes().last())
            && !text.contains("..")
            && text.parse::<std::net::Ipv4Addr>().is_err();
        if !good {
            return Err(Error::new(
                Kind::Invalid,
                format!(
                    "`{}` is not a bucket name; one has 3 to 63 characters of a-z, 0-9, `-`, `.` and starts and ends with a letter or digit",
                    shortened(text)
                ),
            ));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A caller's own words, short enough to repeat and with nothing a terminal would obey.
pub fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect::<String>().escape_debug().collect();
    if text.chars().nth(80).is_some() {
        short.push('…');
    }
    short
}

macro_rules! textual {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "`{}`", self.0)
            }
        }
        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                Self::parse(text)
            }
        }
    };
}
textual!(Name);
textual!(BucketName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_the_published_rules() {
        for good in ["abc", "a.b-c", "1lake", "x".repeat(63).as_str()] {
            assert!(BucketName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ab",
            "Abc",
            "a_b",
            "-abc",
            "abc-",
            "a..b",
            "192.168.0.1",
            "a/b",
            "a b",
            "ä-b",
            "x".repeat(64).as_str(),
        ] {
            assert!(BucketName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_small_and_plain() {
        for good in ["a", "team-1", "jobs.daily", "a_b"] {
            assert!(Name::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "a/b", "a b", "-a", "a-", "ü", "x".repeat(64).as_str()] {
            assert!(Name::parse(bad).is_err(), "{bad}");
        }
    }
}
