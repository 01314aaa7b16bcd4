//! What shared things are called: equal in any case.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::error::{Error, Kind};
use crate::name::shortened;

/// The most characters of a share's, a schema's or a table's name (Delta Sharing protocol, "List Shares").
const NAME_CHARS: usize = 255;

/// The name of a share, a schema or a shared table.
///
/// * 1 to 255 characters, none of them a space, `/` or a control character
/// * a schema's and a table's have no `.` either ([`SharedName::part`])
/// * kept as written; equal to any other spelling of it in other cases
#[derive(Clone)]
pub struct SharedName {
    text: Box<str>,
    folded: Box<str>,
}

impl SharedName {
    /// Reads a share's name.
    ///
    /// # Errors
    /// `Invalid` when it breaks one of the promises above.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |c: char| c == '/' || c.is_whitespace() || c.is_control();
        let count = text.chars().count();
        // Where a name is part of a path, these two would be taken away by whoever normalises it.
        if count == 0 || count > NAME_CHARS || text.chars().any(bad) || matches!(text, "." | "..") {
            return Err(Error::new(
                Kind::Invalid,
                format!(
                    "`{}` cannot be the name of something shared; one has 1 to {NAME_CHARS} characters and no space, `/` or control character",
                    shortened(text)
                ),
            ));
        }
        Ok(Self { text: text.into(), folded: text.to_lowercase().into() })
    }

    /// Reads a schema's or a table's name.
    ///
    /// # Errors
    /// `Invalid` when it breaks one of the promises above, or has a `.`.
    pub fn part(text: &str) -> Result<Self, Error> {
        if text.contains('.') {
            let said = format!("`{}` cannot be the name of a schema or a table; it has a `.`", shortened(text));
            return Err(Error::new(Kind::Invalid, said));
        }
        Self::parse(text)
    }

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name in lower case: what names are compared and ordered by.
    pub fn folded(&self) -> &str {
        &self.folded
    }

    /// Whether a text is this name, in whatever case.
    pub fn is(&self, text: &str) -> bool {
        *self.folded == *text || *self.folded == text.to_lowercase()
    }
}

impl PartialEq for SharedName {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}
impl Eq for SharedName {}
impl PartialOrd for SharedName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for SharedName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded.cmp(&other.folded)
    }
}
impl Hash for SharedName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded.hash(state);
    }
}
impl fmt::Display for SharedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
impl fmt::Debug for SharedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_protocol() {
        for good in ["a", "Vaccine_Share", "ünïcode", "a.b", &"x".repeat(255), "%2F", "日本"] {
            assert!(SharedName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "a\u{7f}", "a\nb", ".", "..", "\u{a0}", &"x".repeat(256)] {
            assert!(SharedName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(SharedName::part("a.b").is_err());
        assert!(SharedName::part("a-b").is_ok());
    }

    #[test]
    fn names_are_the_same_in_any_case() {
        let name = SharedName::parse("VacCine").unwrap();
        assert_eq!(name, SharedName::parse("vaccine").unwrap());
        assert!(name.is("VACCINE") && name.is("vaccine") && !name.is("vaccines"));
        assert_eq!(name.to_string(), "VacCine");
    }
}
