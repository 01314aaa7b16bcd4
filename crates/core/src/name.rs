//! Names that people give: accounts, callers, storages, datasets, grants; and bucket names.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind};

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

/// What a token starts with.
const TOKEN_START: &str = "vkt_";
/// Words of so many characters in both cases are taken for secrets: secret access keys have 43, session tokens more. Names and
/// ids have no capitals.
const SECRET_CHARS: usize = 40;

/// The text without what looks like a secret of ours: whoever puts one where a name belongs must not find it in a log.
pub fn redacted(text: &str) -> Cow<'_, str> {
    let of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let secret_from = |word: &str| match word.find(TOKEN_START) {
        Some(at) => Some(at + TOKEN_START.len()).filter(|end| *end < word.len()),
        None => (word.len() >= SECRET_CHARS
            && word.bytes().any(|b| b.is_ascii_uppercase())
            && word.bytes().any(|b| b.is_ascii_lowercase()))
        .then_some(4),
    };
    if !text.split(|c| !of_word(c)).any(|word| secret_from(word).is_some()) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (word, behind) = rest.split_at(rest.find(|c| !of_word(c)).unwrap_or(rest.len()));
        match secret_from(word).and_then(|from| word.get(..from)) {
            Some(start) => out.extend([start, "…"]),
            None => out.push_str(word),
        }
        let (between, next) = behind.split_at(behind.find(of_word).unwrap_or(behind.len()));
        out.push_str(between);
        rest = next;
    }
    Cow::Owned(out)
}

/// A caller's own words, short enough to repeat and with nothing a terminal would obey.
pub fn shortened(text: &str) -> String {
    // Before it is cut: half a secret is still one.
    let text = &*redacted(text);
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
    fn a_name_cannot_pose_as_an_id() {
        assert!(Name::parse("clr_01m80ny4bpfcwbtfmgtbmqkwrn").is_err());
        assert!(Name::parse("clr_01m80ny4bpfcwbtfmgtbmqkwr").is_ok());
    }

    #[test]
    fn secrets_are_not_repeated() {
        let token = format!("vkt_{}_0aB9cD", "x9Y".repeat(15));
        let said = format!("name {token}, session vks1.{}-_ key `{}`!", "aA".repeat(90), "Zz9_-".repeat(9));
        let said = redacted(&said);
        assert_eq!(said, "name vkt_…, session vks1.aAaA… key `Zz9_…`!");
        assert_eq!(redacted(&said), said);
        for plain in ["nothing of ours", "vkt_", "", "ä", "lea_01m80nwetjeeksgqhr7b73p86p", &"long-name".repeat(6)] {
            assert_eq!(redacted(plain), plain);
        }
        assert_eq!(shortened(&token), "vkt_…");
        assert_eq!(redacted("vkt_avkt_b"), "vkt_…");
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
