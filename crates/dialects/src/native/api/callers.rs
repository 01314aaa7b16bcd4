//! Callers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::accounts::StandingWord;
use super::given::given;

/// A caller to be made.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CallerRequest {
    /// Its name, unique in its account.
    pub name: String,
    /// `member` (if not given), `admin` or `operator`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

/// What to change of a caller; what is not given stays.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CallerChange {
    /// Its name, unique in its account.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `member`, `admin` or `operator`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Whether it is served.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub standing: Option<StandingWord>,
}
