//! How this API writes and reads what many routes share: times, names and ids.

use std::str::FromStr;

use jiff::Timestamp;
use valetkey_core::error::Noun;
use valetkey_core::name::shortened;
use valetkey_core::word::Word;
use valetkey_core::{Error, Kind};

/// A time in whole seconds with `Z`.
pub(super) fn at(instant: Timestamp) -> String {
    format!("{instant:.0}")
}

/// Reads a time.
pub(super) fn instant(text: &str, field: &'static str) -> Result<Timestamp, Error> {
    text.parse().map_err(|_| {
        Error::new(Kind::Invalid, format!("`{}` is not a timestamp (`2026-01-31T00:00:00Z`)", shortened(text)))
            .at(field)
    })
}

/// Reads a name or an id, naming the field at fault.
pub(super) fn named<T: FromStr<Err = Error>>(text: &str, field: &'static str) -> Result<T, Error> {
    text.parse().map_err(|error: Error| error.at(field))
}

/// Reads one of the domain's words; `what` one is called, with its article.
pub(super) fn word<T: Word>(text: &str, what: &str, field: &'static str) -> Result<T, Error> {
    T::read(text).ok_or_else(|| {
        let known = T::WORDS.join("`, `");
        Error::new(Kind::Invalid, format!("`{}` is not {what}; they are `{known}`", shortened(text))).at(field)
    })
}

/// Words a person wrote: of a sane length, without what a terminal would obey.
pub(super) fn words(text: String, field: &'static str, most: usize) -> Result<String, Error> {
    if text.len() > most || text.chars().any(char::is_control) {
        return Err(Error::new(Kind::Invalid, format!("`{field}` has at most {most} bytes and no control characters"))
            .at(field));
    }
    Ok(text)
}

/// Reads an id that stands in the path: one that is not of the right form names nothing.
pub(super) fn in_path<T: FromStr<Err = Error>>(text: &str, noun: Noun, field: &'static str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::not_found(noun).at(field))
}
