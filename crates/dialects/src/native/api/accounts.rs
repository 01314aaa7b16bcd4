//! Accounts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use valetkey_core::account::Standing;

use super::given::Whom;
use super::word::Worded;

/// Whether callers are served.
pub type StandingWord = Worded<Standing>;

/// An account to be made.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountRequest {
    /// Its name, unique on this server.
    pub name: String,
    /// What a credential costs it; nothing if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credits_per_vend: Option<u32>,
}

/// What to change of an account; what is not given stays.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountChange {
    /// Its name, unique on this server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether its callers are served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<StandingWord>,
    /// What a credential costs it; 0 is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credits_per_vend: Option<u32>,
    /// The bucket whose datasets its callers get when theirs are in several and they name none; empty for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datasets_bucket: Option<String>,
    /// The most bytes it may keep at the embedded storage and in multipart uploads; 0 is any, `null` what the server's settings say.
    #[serde(default, skip_serializing_if = "Whom::is_unsaid")]
    #[schema(value_type = Option<u64>)]
    pub max_bytes: Whom<u64>,
    /// The most objects it may keep at the embedded storage; 0 is any, `null` what the server's settings say.
    #[serde(default, skip_serializing_if = "Whom::is_unsaid")]
    #[schema(value_type = Option<u64>)]
    pub max_objects: Whom<u64>,
}

/// Credits to add.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreditRequest {
    /// How many; 1 to 1,000,000,000,000.
    pub credits: u64,
}
