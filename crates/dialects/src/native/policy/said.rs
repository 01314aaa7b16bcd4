//! What every part of a document says in the same way.

use valetkey_core::name::{Name, shortened};
use valetkey_core::{Error, Kind};

use super::super::wire;

pub(super) fn invalid(said: impl Into<String>, field: &'static str) -> Error {
    Error::new(Kind::Invalid, said.into()).at(field)
}

pub(super) fn not_a_length(text: &str, field: &'static str) -> Error {
    invalid(format!("`{}` is not a length of time; one is written 90s, 15m, 12h or 7d", shortened(text)), field)
}

pub(super) fn was(text: Option<&String>) -> Result<Option<Name>, Error> {
    text.map(|text| wire::named(text, "was")).transpose()
}
