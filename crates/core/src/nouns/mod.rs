//! What one API or one tool has beside the kernel: nouns that grants are made for, each with its port.
//!
//! INVARIANT: the kernel (everything else in this crate) names none of them. Who adds one adds a file here.

pub mod administration;
pub mod configure;
pub mod console;
pub mod dataset;
pub mod identity;
pub mod node;
pub mod package;
pub mod parent;
pub mod policy_set;
pub mod pool;
pub mod provider;
pub mod reach;
pub mod registry;
pub mod removal;
pub mod request;
pub mod rules;
pub mod share;
pub mod signing;
pub mod storage_admin;
pub mod table;
pub mod trail;
pub mod usage;
pub mod vault;
pub mod workspace;
