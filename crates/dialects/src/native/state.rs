//! What every route of this API stands on: its name, what can be set of it, and what its handlers work with.

use std::sync::Arc;

use valetkey_check::Checker;
use valetkey_core::cors::CorsRules;
use valetkey_core::nouns::storage_admin::StorageAdmin;
use valetkey_core::nouns::table::{ObjectFiles, TableLogs};
use valetkey_core::time::Lifetime;

use crate::edge::Shared;

/// The dialect's name in the ledger, logs and metrics.
pub const NAME: &str = "native";

/// What can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a credential lives whose ask does not say.
    pub lifetime: Lifetime,
    /// The URL that profiles of Delta Sharing name.
    pub sharing_url: String,
    /// Paths and components of other APIs on this server, for the description of them all (OpenAPI).
    pub described: serde_json::Value,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lifetime: Lifetime::secs(3600),
            sharing_url: "http://127.0.0.1:7070/delta-sharing".to_owned(),
            described: serde_json::Value::Null,
        }
    }
}

/// What the handlers work with.
pub(super) struct Native {
    pub(super) shared: Arc<Shared>,
    pub(super) settings: Settings,
    pub(super) stores: Arc<dyn StorageAdmin>,
    pub(super) checker: Checker,
    /// Reads the logs of tables; nothing where this build cannot.
    pub(super) logs: Option<Arc<dyn TableLogs>>,
    /// Reads what is at tables' places.
    pub(super) files: Arc<dyn ObjectFiles>,
    pub(super) cors: Arc<dyn CorsRules>,
}
