//! Names that people give: accounts, callers, storages, datasets, grants; and bucket names.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind};
pub use crate::redact::{holds_secret, redacted};

/// A name people give to a thing of ours.
///
/// * 1 to 63 characters of `a-z`, `0-9`, `-`, `_` and `.`
/// * starts and ends with a letter or digit
/// * never has the form of an id (three letters, `_`, 26 characters): where both are taken, one cannot pose as the other
/// * so it is never a path or a pattern either
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
        if text.len() > 63 || !inside || !edge(text.bytes().next()) || !edge(text.bytes().last()) || is_id(text) {
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

/// Whether a text has the form of one of our ids, whatever kind of thing it would name.
fn is_id(text: &str) -> bool {
    text.len() == 30 && text.split_once('_').is_some_and(|(kind, digits)| kind.len() == 3 && digits.len() == 26)
}

/// A caller's own words, short enough to repeat and with nothing a terminal would obey.
pub fn shortened(text: &str) -> String {
    // Before it is cut: half a secret is still one.
    let text = &*redacted(text);
    let cut: String = text.chars().take(80).collect();
    let mut short = String::with_capacity(cut.len());
    // Quotes and backslashes do nothing to a terminal, and whoever writes a message into JSON escapes them there.
    for piece in cut.split_inclusive(['"', '\'', '\\']) {
        let (words, mark) = match piece.strip_suffix(['"', '\'', '\\']) {
            Some(words) => (words, piece.get(words.len()..).unwrap_or_default()),
            None => (piece, ""),
        };
        short.extend(words.escape_debug());
        short.push_str(mark);
    }
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
    fn a_name_cannot_pose_as_an_id() {
        assert!(Name::parse("clr_01m80ny4bpfcwbtfmgtbmqkwrn").is_err());
        assert!(Name::parse("clr_01m80ny4bpfcwbtfmgtbmqkwr").is_ok());
    }

    #[test]
    fn what_is_cut_short_holds_no_secret() {
        assert_eq!(shortened(&format!("vkt_{}_0aB9cD", "x9Y".repeat(30))), "vkt_…");
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
