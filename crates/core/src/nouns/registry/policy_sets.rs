//! What policy sets own.

use async_trait::async_trait;

use crate::error::Error;
use crate::name::Name;
use crate::nouns::policy_set::{Managed, Owns, State};
use crate::nouns::removal::Thing;

/// What policy sets own.
#[async_trait]
pub trait PolicySets: Send + Sync {
    /// Those of some things that policy sets own, and whose they are.
    async fn owned(&self, things: &[Thing]) -> Result<Vec<(Thing, Managed)>, Error>;
    /// What there is of the accounts that a policy set may own, or owns.
    async fn policy_state(&self, owner: &Name, owns: &Owns) -> Result<State, Error>;
}
