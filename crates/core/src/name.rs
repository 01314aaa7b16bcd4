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
/// So many digits in hexadecimal, or characters that look drawn by chance, are taken for a secret of somebody else.
const FOREIGN_CHARS: usize = 32;
/// In front of a digest, which is nobody's secret.
const DIGEST: &str = "sha256:";

/// Where the secret part of a word of letters, digits, `_` and `-` begins, if it looks like one.
fn secret_from(word: &str) -> Option<usize> {
    if let Some(at) = word.find(TOKEN_START) {
        return Some(at + TOKEN_START.len()).filter(|end| *end < word.len());
    }
    let both = word.bytes().any(|b| b.is_ascii_uppercase()) && word.bytes().any(|b| b.is_ascii_lowercase());
    ((word.len() >= SECRET_CHARS && both) || is_hex(word) || is_by_chance(word)).then_some(4)
}

fn is_hex(word: &str) -> bool {
    word.len() >= FOREIGN_CHARS && word.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether a word is long and mixes capitals, small letters and digits as base64 does, and no name or path.
fn is_by_chance(word: &str) -> bool {
    #[derive(Clone, Copy, PartialEq)]
    enum Class {
        Upper,
        Lower,
        Digit,
    }
    let class = |byte: u8| match byte {
        b'A'..=b'Z' => Some(Class::Upper),
        b'a'..=b'z' => Some(Class::Lower),
        b'0'..=b'9' => Some(Class::Digit),
        _ => None,
    };
    let count = |wanted: Class| word.bytes().filter(|byte| class(*byte) == Some(wanted)).count();
    let (upper, lower) = (count(Class::Upper), count(Class::Lower));
    let pairs = word.bytes().zip(word.bytes().skip(1)).filter_map(|(one, next)| Some((class(one)?, class(next)?)));
    let (mut all, mut changes) = (0usize, 0usize);
    for (one, next) in pairs {
        all += 1;
        changes += usize::from(one != next);
    }
    // By chance some six of ten change; in words and dates two do.
    word.len() >= FOREIGN_CHARS && upper * 6 >= lower && lower * 6 >= upper && changes * 10 > all * 3
}

/// The text without what looks like a secret: whoever puts one where a name belongs must not find it in a log.
pub fn redacted(text: &str) -> Cow<'_, str> {
    let of_run = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/');
    let of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let mut out = String::new();
    let mut is_changed = false;
    let mut rest = text;
    while !rest.is_empty() {
        let (run, behind) = rest.split_at(rest.find(|c| !of_run(c)).unwrap_or(rest.len()));
        let is_digest = out.ends_with(DIGEST) && run.len() == 64 && is_hex(run);
        if is_digest {
            out.push_str(run);
        } else if run.contains(['+', '/']) && is_by_chance(run) {
            // Base64 has both within a word.
            out.extend([run.get(..4).unwrap_or_default(), "…"]);
            is_changed = true;
        } else {
            for part in run.split_inclusive(|c| !of_word(c)) {
                let word = part.trim_end_matches(|c| !of_word(c));
                match secret_from(word).and_then(|from| word.get(..from)) {
                    Some(start) => {
                        out.extend([start, "…", part.get(word.len()..).unwrap_or_default()]);
                        is_changed = true;
                    }
                    None => out.push_str(part),
                }
            }
        }
        let (between, next) = behind.split_at(behind.find(of_run).unwrap_or(behind.len()));
        out.push_str(between);
        rest = next;
    }
    if is_changed { Cow::Owned(out) } else { Cow::Borrowed(text) }
}

/// Whether a text that somebody else chose, and that is repeated to be found again, holds a secret. Many such are 32 digits in
/// hexadecimal, and are none.
pub fn holds_secret(text: &str) -> bool {
    let of_run = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/');
    text.split(|c| !of_run(c)).any(|run| {
        is_by_chance(run)
            || run
                .split(['+', '/'])
                .any(|word| secret_from(word).is_some() && !word.bytes().all(|b| b.is_ascii_hexdigit()))
    })
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
    fn secrets_of_others_are_no_words_to_repeat() {
        let wrong_field = |secret: &str| {
            let said = redacted(&format!("`{secret}` is not a region")).into_owned();
            assert!(!said.contains(secret.split_at(5).1), "{said}");
            assert!(said.ends_with("` is not a region"), "{said}");
        };
        // A parent's secret, AWS's and Azure's of their documents' examples, R2's, a key in hexadecimal.
        for secret in [
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "9F86D081884C7D659A2FEAA0C55AD015",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
            "AIzaSyD3v9Qx7LmN2pR8tW4yZ6bK1cJ5hG0fE7u",
            "u8X2kQ9vB4mZ7pL1wR6tY3nC5jH0sD8f",
        ] {
            wrong_field(secret);
        }
        for plain in [
            "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "Sales/Europe/2024/01/02/Part-00001-c000.snappy.parquet",
            "Users/BobTheBuilder/Documents/QuarterlyReport2024/final",
            "data/part-00000-2a89a5de-c7dd-4bc4-b52e-2d2db90b57c6-c000",
            "AWSReservedSSO_AdministratorAccess",
            "arn:aws:iam::123456789012:role/data-lake-production-reader",
            "2a89a5de-c7dd-4bc4-b52e-2d2db90b57c6",
            "X-Amz-Content-Sha256 and UNSIGNED-PAYLOAD-TRAILER",
        ] {
            assert_eq!(redacted(plain), plain);
        }
        assert!(holds_secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY") && holds_secret("id:vkt_x"));
        assert!(
            !holds_secret("4bf92f3577b34da6a3ce929d0e0e4736")
                && !holds_secret("Root=1-67891233-abcdef012345678912345678")
        );
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
