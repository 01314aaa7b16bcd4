//! What is kept of accounts, callers, tokens, storages, grants and leases, as administration reads and changes it: a port for each
//! noun, and their sums.

mod accounts;
mod callers;
mod chains;
mod grants;
mod leases;
mod policy_sets;
mod removals;
mod storages;
mod tokens;

use crate::nouns::dataset::Datasets;
use crate::nouns::request::Requests;

pub use accounts::{AccountAdmin, Accounts};
pub use callers::{CallerAdmin, CallerFilter, Callers};
pub use chains::{Before, Chains, HeadFound, LedgerHead, Verified};
pub use grants::{GrantAdmin, GrantFilter, Grants};
pub use leases::{LeaseFilter, Leases, Outliving};
pub use policy_sets::PolicySets;
pub use removals::{RemovalAdmin, Removals};
pub use storages::{DatasetAdmin, NewStorage, StorageRecords, Storages};
pub use tokens::{TokenAdmin, TokenFilter, TokenRecord, Tokens};

/// What there is, for who may know of it: nothing of it changes anything.
pub trait Catalog:
    Accounts + Callers + Tokens + Storages + Grants + Leases + Chains + Removals + PolicySets + Datasets + Requests
{
}

impl<T: Accounts + Callers + Tokens + Storages + Grants + Leases + Chains + Removals + PolicySets + Datasets + Requests>
    Catalog for T
{
}

/// Makes and ends what the directory answers with. Every change is durable when the call returns, and seen by every
/// decision made afterwards on this node.
pub trait Registry:
    Catalog + AccountAdmin + CallerAdmin + TokenAdmin + StorageRecords + DatasetAdmin + GrantAdmin + RemovalAdmin
{
}

impl<T: Catalog + AccountAdmin + CallerAdmin + TokenAdmin + StorageRecords + DatasetAdmin + GrantAdmin + RemovalAdmin>
    Registry for T
{
}

/// The methods of all of these, for who has a database and not a port.
pub mod methods {
    pub use super::{
        AccountAdmin as _, Accounts as _, CallerAdmin as _, Callers as _, Chains as _, DatasetAdmin as _,
        GrantAdmin as _, Grants as _, Leases as _, PolicySets as _, RemovalAdmin as _, Removals as _,
        StorageRecords as _, Storages as _, TokenAdmin as _, Tokens as _,
    };
}
