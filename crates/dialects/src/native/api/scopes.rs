//! What a scope allows.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What one may do, in a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Read and list.
    Read,
    /// Write, whole or in parts; neither read nor delete.
    Write,
    /// Read, list, write and delete.
    ReadWrite,
    /// Only in answers: none of the others; see `actions`.
    Custom,
}
