//! The domain's words, where this API's description lists them.

use std::borrow::Cow;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use valetkey_core::account::Standing;
use valetkey_core::storage::{Sharing, StorageKind};
use valetkey_core::word::Word;

/// One of the domain's words.
#[derive(Clone, Copy)]
pub struct Worded<T>(pub T);

/// How the description calls such a word, and what it says of it.
pub trait Described: Word {
    /// What it is called.
    const NAME: &'static str;
    /// What it is.
    const MEANING: &'static str;
}

impl Described for Standing {
    const NAME: &'static str = "StandingWord";
    const MEANING: &'static str = "Whether an account's callers are served.";
}

impl Described for StorageKind {
    const NAME: &'static str = "KindWord";
    const MEANING: &'static str = "Who enforces scopes at a storage.";
}

impl Described for Sharing {
    const NAME: &'static str = "SharingWord";
    const MEANING: &'static str = "Who may be given the same credential of a storage.";
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
