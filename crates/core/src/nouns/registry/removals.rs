//! Removing and changing.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::error::Error;
use crate::lease::{Revocation, Revoker};
use crate::nouns::removal::{Amendment, How, Plan, Thing};

/// What removing or changing a thing would mean. Nothing is changed.
#[async_trait]
pub trait Removals: Send + Sync {
    /// What removing a thing means: what goes with it, what stands in the way, and what ends. Nothing is changed.
    async fn plan(&self, what: &Thing) -> Result<Plan, Error>;
    /// How many live leases a change would end, refused where the change would be. Nothing is changed.
    async fn preview(&self, change: &Amendment, now: Timestamp) -> Result<u64, Error>;
}

/// Removes and changes what is there, whatever it is, and ends what was vended for it.
#[async_trait]
pub trait RemovalAdmin: Removals {
    /// Removes a thing with what goes with it, in one step, and ends what was vended for it. Its name is free again, and nothing that
    /// is made of that name has anything of it. Refuses what [`Plan::allows`] does not.
    async fn remove(&self, what: &Thing, how: How, by: Revoker) -> Result<Plan, Error>;
    /// Changes what is there. With `end_credentials` what was vended and has more than that allows afterwards ends; says how many
    /// live leases those were.
    async fn change(&self, change: &Amendment, end_credentials: bool, by: Revoker) -> Result<u64, Error>;
    /// Ends credentials early; when this returns, the next request with one of them is refused. Says how many live
    /// leases that were.
    async fn revoke(&self, what: Revocation, by: Revoker) -> Result<u64, Error>;
}
