//! What this API and its clients share: its operations, and the bodies of requests.

pub mod accounts;
pub mod buckets;
pub mod callers;
pub mod checks;
pub mod cors;
pub mod datasets;
pub mod explain;
pub mod given;
pub mod grants;
pub mod groups;
pub mod identity;
pub mod incidents;
pub mod operations;
pub mod parent_keys;
pub mod policy;
pub mod profiles;
pub mod requests;
pub mod revocations;
pub mod scopes;
pub mod shares;
pub mod signing;
pub mod storages;
pub mod tokens;
pub mod word;
pub mod workspaces;
