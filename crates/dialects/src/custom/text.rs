//! Texts with `{placeholders}`: what a route asks for, put together of its path, its fields and its caller.

use std::collections::BTreeMap;
use std::fmt;

use valetkey_core::name::shortened;
use valetkey_core::{Error, Kind};

/// What may be put in, by name.
pub(super) type Known = BTreeMap<&'static str, String>;

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Own(String),
    Named(String),
}

/// A text with placeholders.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Text(Vec<Piece>);

impl Text {
    /// Reads a text whose placeholders are among those known.
    pub(super) fn read(text: &str, known: &[&str]) -> Result<Self, String> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((own, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or_else(|| format!("`{text}` has a `{{` without a `}}`"))?;
            if !known.contains(&name) {
                let known = known.join("}`, `{");
                return Err(format!("`{text}` names `{{{name}}}`; here one can name `{{{known}}}`"));
            }
            pieces.push(Piece::Own(own.to_owned()));
            pieces.push(Piece::Named(name.to_owned()));
            rest = after;
        }
        if rest.contains('}') {
            return Err(format!("`{text}` has a `}}` without a `{{`"));
        }
        pieces.push(Piece::Own(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// Puts the values in, for a place. SECURITY: each is one segment of a path; none reaches into another's.
    pub(super) fn filled(&self, known: &Known) -> Result<String, Error> {
        self.put(known, |name, value| {
            if is_segment(value) {
                return Ok(());
            }
            let said = format!("`{}` is not one segment of a path", shortened(value));
            Err(Error::new(Kind::Invalid, said).at(name))
        })
    }

    /// Puts the values in, for the name of something: there is something of that name, or there is not.
    pub(super) fn named(&self, known: &Known) -> Result<String, Error> {
        self.put(known, |_, _| Ok(()))
    }

    fn put(&self, known: &Known, check: impl Fn(&'static str, &str) -> Result<(), Error>) -> Result<String, Error> {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Own(own) => out.push_str(own),
                Piece::Named(name) => {
                    let found = known.get_key_value(name.as_str());
                    let (name, value) =
                        found.ok_or_else(|| Error::new(Kind::Invalid, format!("`{name}` is missing")))?;
                    check(name, value)?;
                    out.push_str(value);
                }
            }
        }
        Ok(out)
    }
}

/// What is asked for.
pub(super) enum Opens {
    /// Every dataset of the caller's.
    Datasets,
    /// A grant.
    Grant(Text),
    /// A workspace, by its key.
    Workspace(Text),
    /// A place; all of the bucket without a directory.
    Place(Text, Option<Text>),
}

impl fmt::Display for Opens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Datasets => f.write_str("datasets"),
            Self::Grant(grant) => write!(f, "grant {grant}"),
            Self::Workspace(key) => write!(f, "workspace {key}"),
            Self::Place(bucket, None) => write!(f, "s3://{bucket}/"),
            Self::Place(bucket, Some(prefix)) => write!(f, "s3://{bucket}/{prefix}/"),
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Own(own) => f.write_str(own),
            Piece::Named(name) => write!(f, "{{{name}}}"),
        })
    }
}

/// What lives as long as the server does: read once for each file, when it starts.
pub(super) fn kept(text: impl Into<Box<str>>) -> &'static str {
    Box::leak(text.into())
}

/// Whether a text can stand between two slashes, and means no other place than itself.
pub(super) fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && !text.contains(['/', '*', '?']) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_segment() {
        let text = Text::read("customers/{customer}/in-{caller}", &["customer", "caller"]).unwrap();
        let fill = |customer: &str| {
            text.filled(&Known::from([("customer", customer.to_owned()), ("caller", "ann".to_owned())])).ok()
        };
        assert_eq!(fill("a b").as_deref(), Some("customers/a b/in-ann"));
        for bad in ["", ".", "..", "a/b", "/", "a\n", "*", "a?", "\u{0}", "\u{9b}"] {
            assert_eq!(fill(bad), None, "{bad}");
        }
        for bad in ["{other}", "{customer", "customer}", "{}"] {
            assert!(Text::read(bad, &["customer"]).is_err(), "{bad}");
        }
    }
}
