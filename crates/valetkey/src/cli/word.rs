//! The domain's words as the values of flags.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use serde::Serialize;
use valetkey_core::word::Word;
use valetkey_dialects::native::api::scopes;

/// Reads one of the words; the help says what each means.
pub(crate) fn word<T: Word>() -> impl TypedValueParser<Value = T> {
    let value = |(word, meaning): (&&'static str, &&'static str)| {
        PossibleValue::new(*word).help(meaning.trim().trim_end_matches('.'))
    };
    let values: Vec<PossibleValue> = T::WORDS.iter().zip(T::MEANINGS).map(value).collect();
    PossibleValuesParser::new(values).try_map(|text| T::read(&text).ok_or("it is none of these"))
}

/// What a grant, or a credential, allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Access {
    /// Read and list
    Read,
    /// Write, without reading
    Write,
    /// Read, list, write and delete
    ReadWrite,
}

impl From<Access> for scopes::Access {
    fn from(access: Access) -> Self {
        match access {
            Access::Read => Self::Read,
            Access::Write => Self::Write,
            Access::ReadWrite => Self::ReadWrite,
        }
    }
}
