//! What was ended here, and what of it storages that someone else runs go on taking.

use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::Error;
use valetkey_core::lease::Revoker;
use valetkey_core::nouns::registry::Outliving;
use valetkey_core::storage::{Revocability, Storage};

use super::state::Native;
use super::wire;

/// How many leases were ended.
#[derive(Default, Serialize, ToSchema)]
pub(super) struct EndedResponse {
    /// How many live leases that ended.
    pub(super) ended: u64,
    /// Those of them whose credentials their external storages accept until they expire.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) still_taken: Vec<StillTaken>,
    /// The ids of the tokens that were ended with them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tokens_ended: Vec<String>,
    /// Of a token or a caller: how many tokens go on vending. `tokens` ends them too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) live_tokens: Option<u64>,
}

/// Credentials that were ended here, and that their storage does not know of.
#[derive(Serialize, ToSchema)]
pub(super) struct StillTaken {
    /// The storage's name.
    pub(super) storage: String,
    /// How many of the leases.
    pub(super) leases: u64,
    /// When the storage stops taking the last of them.
    pub(super) until: String,
    /// How soon it could: `minutes` if `POST /api/v1/storages/{storage}/revocations` ends them, or `expiry-only`.
    pub(super) revocation: &'static str,
}

/// What someone ended just now, and its storages take on.
pub(super) async fn still_taken(native: &Native, by: Revoker) -> Result<Vec<StillTaken>, Error> {
    let storages = native.shared.registry.storages().await?;
    still_taken_of(native, &storages, by).await
}

/// The same among these storages: one of them may be gone now.
pub(super) async fn still_taken_of(
    native: &Native,
    storages: &[Storage],
    by: Revoker,
) -> Result<Vec<StillTaken>, Error> {
    // Where every store asks about each request, nothing goes on, and nothing has to be looked for.
    if storages.iter().all(|storage| storage.revocation() == Revocability::Immediate) {
        return Ok(Vec::new());
    }
    let found = native.shared.registry.outliving(by).await?;
    for row in &found {
        native.stores.forget(row.storage, &row.key_ids).await?;
    }
    Ok(found.iter().filter_map(|row| StillTaken::of(storages, row)).collect())
}

impl StillTaken {
    pub(super) fn of(storages: &[Storage], row: &Outliving) -> Option<Self> {
        let Outliving { storage, key_ids: _, leases, until } = row;
        let known = storages.iter().find(|known| known.id == *storage)?;
        Some(Self {
            storage: known.name.to_string(),
            leases: *leases,
            until: wire::at(*until),
            revocation: known.revocation().as_str(),
        })
    }
}
