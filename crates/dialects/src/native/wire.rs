//! How this API writes and reads what many routes share: instants, names and ids.

use std::borrow::Cow;
use std::str::FromStr;

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use valetkey_core::account::Standing;
use valetkey_core::error::Noun;
use valetkey_core::name::shortened;
use valetkey_core::storage::{Sharing, StorageKind};
use valetkey_core::word::Word;
use valetkey_core::{Error, Kind};

/// An instant in whole seconds with `Z`.
pub(super) fn at(instant: Timestamp) -> String {
    format!("{instant:.0}")
}

/// Reads an instant.
pub(super) fn instant(text: &str, field: &'static str) -> Result<Timestamp, Error> {
    text.parse().map_err(|_| {
        Error::new(Kind::Invalid, format!("`{}` is not an instant (`2026-01-31T00:00:00Z`)", shortened(text))).at(field)
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

/// One of the domain's words, where this API's description lists them.
#[derive(Clone, Copy)]
pub(super) struct Worded<T>(pub(super) T);

/// How the description calls such a word, and what it says of it.
pub(super) trait Described: Word {
    const NAME: &'static str;
    const MEANING: &'static str;
}

impl Described for Standing {
    const NAME: &'static str = "StandingWord";
    const MEANING: &'static str = "Whether an account's callers are served.";
}

impl Described for StorageKind {
    const NAME: &'static str = "KindWord";
    const MEANING: &'static str = "Who enforces scopes at a store.";
}

impl Described for Sharing {
    const NAME: &'static str = "SharingWord";
    const MEANING: &'static str = "Who may be given the same credential of a store.";
}

impl<T: Word> Serialize for Worded<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0.word())
    }
}

impl<'de, T: Word> Deserialize<'de> for Worded<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        T::read(&text).map(Self).ok_or_else(|| D::Error::unknown_variant(&text, T::WORDS))
    }
}

impl<T: Described> PartialSchema for Worded<T> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(T::MEANING))
            .enum_values(Some(T::WORDS.iter().copied()))
            .into()
    }
}

impl<T: Described> ToSchema for Worded<T> {
    fn name() -> Cow<'static, str> {
        T::NAME.into()
    }
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

/// Reads a field that may be absent but not `null`: a program's unset variable must not be taken for "not given" where
/// that means more.
pub(super) fn given<'de, D: serde::Deserializer<'de>, T: serde::Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}
