//! A path with placeholders, taken apart; and what may be filled in.

use std::fmt;

use crate::claims::ClaimName;
use crate::error::{Error, Kind};
use crate::field::Attribute;
use crate::name::shortened;
use crate::scope::Path;

/// The longest value that is filled in, in bytes.
const LONGEST: usize = 255;

/// What a value may have besides letters and digits, of any script, and spaces inside: nothing that ends a segment of a key, that some
/// system takes for a pattern or an escape, or that is not seen.
pub(super) const SIGNS: &str = "-_.~@+=,:;|!#$&'()";

/// The names of placeholders, as people are told of them.
pub(super) const KNOWN: &str = "`{caller.name}`, `{account.name}` and `{claims./pointer}`";

/// What is filled in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Placeholder {
    /// The caller's name.
    CallerName,
    /// The name of its account.
    AccountName,
    /// A text that the identity token of its session claims.
    Claim(ClaimName),
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CallerName => f.write_str("{caller.name}"),
            Self::AccountName => f.write_str("{account.name}"),
            Self::Claim(name) => write!(f, "{{claims.{}}}", name.as_str()),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Piece {
    Text(Box<[u8]>),
    Fill(Placeholder),
}

/// A path, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pieces(Box<[Piece]>);

pub(super) fn invalid(said: String) -> Error {
    Error::new(Kind::Invalid, said).at(Attribute::Template)
}

/// SECURITY: whether a value can be a part of a path: in no system that keys are sent to is it more than one segment, another one, or a
/// pattern.
pub(super) fn is_segment(text: &str) -> bool {
    let edge = text.starts_with(' ') || text.ends_with(' ');
    (1..=LONGEST).contains(&text.len()) && text != "." && text != ".." && !edge && text.chars().all(is_plain)
}

fn is_plain(char: char) -> bool {
    char.is_alphanumeric() || char == ' ' || SIGNS.contains(char)
}

/// Whether a byte of a key may be one of a value: of those that are not of ASCII, any.
fn may_be_plain(byte: u8) -> bool {
    !byte.is_ascii() || is_plain(char::from(byte))
}

impl Pieces {
    /// Takes a path apart.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let mut pieces = Vec::new();
        let mut rest = path.bytes();
        let at = format!("in `{}`", shortened(&String::from_utf8_lossy(path.bytes())));
        while let Some(brace) = rest.iter().position(|byte| matches!(byte, b'{' | b'}')) {
            let (text, from) = rest.split_at_checked(brace).unwrap_or((rest, &[]));
            let Some(inner) = from.strip_prefix(b"{") else {
                return Err(invalid(format!("{at}, a `}}` closes nothing; a template has no other braces")));
            };
            let Some(end) = inner.iter().position(|byte| *byte == b'}') else {
                return Err(invalid(format!("{at}, a placeholder is not closed; they are {KNOWN}")));
            };
            let (name, after) = inner.split_at_checked(end).unwrap_or((inner, &[]));
            if text.is_empty() && matches!(pieces.last(), Some(Piece::Fill(_))) {
                let said =
                    "two placeholders side by side: nobody could tell where one value ends; put something between";
                return Err(invalid(format!("{at}, {said}")));
            }
            if !text.is_empty() {
                pieces.push(Piece::Text(text.into()));
            }
            pieces.push(Piece::Fill(placeholder(name, &at)?));
            rest = after.strip_prefix(b"}").unwrap_or_default();
        }
        match (path, rest.is_empty(), pieces.last()) {
            (Path::Prefix(_), true, Some(Piece::Fill(_))) => {
                let said = "a prefix that ends with a value opens all that starts so, and that is others' too; \
                            name a directory, or put a `/` behind";
                return Err(invalid(format!("{at}, {said}")));
            }
            (_, true, _) => {}
            (_, false, _) => pieces.push(Piece::Text(rest.into())),
        }
        Ok(Self(pieces.into()))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Piece> {
        self.0.iter()
    }

    pub(super) fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Fill(placeholder) => Some(placeholder),
        })
    }

    /// Whether values could be filled in so that the path covers a key or all that starts so, or a part of that; and the value, if it has
    /// to be one. Two placeholders of one name may be taken to be different: it says rather too much than too little.
    pub(super) fn meets<'a>(
        &'a self,
        path: &Path,
        asked: &'a Path,
    ) -> Option<(bool, Option<(&'a Placeholder, &'a str)>)> {
        let key = asked.bytes();
        let ends = |at: usize| match (path, asked) {
            (Path::Object(_), Path::Object(_)) => at == key.len(),
            (Path::Directory(_), Path::Object(_)) => at == key.len() || key.get(at) == Some(&b'/'),
            // What opens all that starts so opens it below its own slash, or as a prefix.
            (Path::Directory(_), Path::Directory(_) | Path::Prefix(_)) => key.get(at) == Some(&b'/'),
            (Path::Object(_), Path::Directory(_) | Path::Prefix(_)) => false,
            (Path::Prefix(_), _) => true,
        };
        let below = !matches!(asked, Path::Object(_));
        let mut inside = false;
        let mut from = vec![0];
        for piece in &self.0 {
            let mut to = Vec::new();
            for at in from {
                let rest = key.get(at..).unwrap_or_default();
                match piece {
                    Piece::Text(text) if rest.starts_with(text) => to.push(at + text.len()),
                    Piece::Text(text) => inside |= below && text.starts_with(rest),
                    Piece::Fill(_) => {
                        inside |= below && rest.is_empty();
                        let plain = rest.iter().take(LONGEST).take_while(|byte| may_be_plain(**byte)).count();
                        to.extend(at + 1..=at + plain);
                    }
                }
            }
            to.sort_unstable();
            to.dedup();
            from = to;
        }
        inside |= below && from.contains(&key.len());
        if from.into_iter().any(ends) {
            return match (self.only_value(key, ends), self.placeholders().count()) {
                // With one placeholder every value was tried.
                (Tried::None, 1) if !inside => None,
                (Tried::None, 1) => Some((false, None)),
                (Tried::One(value), 1) => Some((true, self.placeholders().next().map(|one| (one, value)))),
                (Tried::None | Tried::One(_) | Tried::Several, _) => Some((true, None)),
            };
        }
        inside.then_some((false, None))
    }

    /// Which values the only placeholder could have.
    fn only_value<'a>(&self, key: &'a [u8], ends: impl Fn(usize) -> bool) -> Tried<'a> {
        let (before, after): (&[u8], &[u8]) = match &*self.0 {
            [Piece::Fill(_)] => (b"", b""),
            [Piece::Text(before), Piece::Fill(_)] => (before, b""),
            [Piece::Fill(_), Piece::Text(after)] => (b"", after),
            [Piece::Text(before), Piece::Fill(_), Piece::Text(after)] => (before, after),
            _ => return Tried::Several,
        };
        let Some(rest) = key.strip_prefix(before) else { return Tried::None };
        let mut found = (1..=rest.len().min(LONGEST)).filter_map(|len| {
            let (value, behind) = rest.split_at_checked(len)?;
            let value = std::str::from_utf8(value).ok().filter(|value| is_segment(value))?;
            let fits = behind.starts_with(after) && ends(before.len() + len + after.len());
            fits.then_some(value)
        });
        match (found.next(), found.next()) {
            (None, _) => Tried::None,
            (Some(value), None) => Tried::One(value),
            (Some(_), Some(_)) => Tried::Several,
        }
    }
}

enum Tried<'a> {
    None,
    One(&'a str),
    Several,
}

fn placeholder(name: &[u8], at: &str) -> Result<Placeholder, Error> {
    let text = String::from_utf8_lossy(name);
    match &*text {
        "caller.name" => return Ok(Placeholder::CallerName),
        "account.name" => return Ok(Placeholder::AccountName),
        _ => {}
    }
    if let Some(claim) = text.strip_prefix("claims.") {
        let read = ClaimName::parse(claim).map(Placeholder::Claim);
        return read.map_err(|error| invalid(format!("{at}, {}", error.message())));
    }
    let near = match &*text {
        "caller" | "name" | "user" | "username" | "caller.id" => "; did you mean `{caller.name}`?",
        "account" | "account.id" | "tenant" => "; did you mean `{account.name}`?",
        text if text.starts_with("claim") || text.starts_with('/') => "; did you mean `{claims./pointer}`?",
        _ => "",
    };
    Err(invalid(format!("{at}, there is no placeholder `{{{}}}`; they are {KNOWN}{near}", shortened(&text))))
}
