//! Fields that may be absent, and what `null` says in them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use valetkey_core::{Error, Kind};

/// Whom something is to be for, as a field says it: everyone must be meant, not forgotten.
#[derive(Clone, Default, Debug)]
pub enum Whom<T> {
    /// The field is not there.
    #[default]
    Unsaid,
    /// `null`.
    Everyone,
    /// A name or id, or several.
    Named(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Whom<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(from)?.map_or(Self::Everyone, Self::Named))
    }
}

impl<T: Serialize> Serialize for Whom<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unsaid | Self::Everyone => to.serialize_none(),
            Self::Named(named) => named.serialize(to),
        }
    }
}

impl<T> Whom<T> {
    /// Whether the field is not there.
    pub(super) fn is_unsaid(&self) -> bool {
        matches!(self, Self::Unsaid)
    }

    /// Who is named; nothing for everyone. Refuses with these words if the field is not there.
    pub(crate) fn said(self, field: &'static str, words: &'static str) -> Result<Option<T>, Error> {
        match self {
            Self::Unsaid => Err(Error::new(Kind::Invalid, words).at(field)),
            Self::Everyone => Ok(None),
            Self::Named(named) => Ok(Some(named)),
        }
    }
}

/// Reads a field that may be absent but not `null`: a program's unset variable must not be taken for "not given" where
/// that means more.
pub(crate) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}
