//! How settings that are secrets are read.

use serde::Deserialize as _;
use valetkey_core::Secret;

/// Reads one.
pub(super) fn secret<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Secret<String>, D::Error> {
    String::deserialize(from).map(Secret::new)
}
