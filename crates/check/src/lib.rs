//! Proves, live, what a credential of a store opens and what it does not.
//!
//! Everything happens in a directory that one check has for itself, with credentials that are vended like any other: asked for,
//! decided, on record, issued. What a credential must not reach is really there, put by another one: that a store does not find
//! something proves no refusal.
#![deny(clippy::wildcard_enum_match_arm)]

mod plan;
mod run;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;

use valetkey_core::credential::Credential;
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::provider::Extra;
use valetkey_core::nouns::storage_admin::StorageAdmin;
use valetkey_core::storage::{Storage, StorageKind};
use valetkey_core::time::Entropy;
use valetkey_core::vending::Vending;

/// What one request to a store is to do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verb {
    /// Write an object.
    Put,
    /// Read an object.
    Get,
    /// Delete an object.
    Delete,
    /// List the keys that start with a prefix.
    List,
    /// Begin an upload in parts, and abort it.
    Parts,
    /// Something else that a store may allow with an action.
    Extra(Extra),
}

/// One request to a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attempt<'a> {
    /// What to do.
    pub verb: Verb,
    /// In which bucket.
    pub bucket: &'a BucketName,
    /// The key, or the prefix of a list: only letters, digits, `.`, `-` and `/`. A `..` between slashes is sent as it is.
    pub key: &'a str,
}

/// What a store said to one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It did what was asked.
    Allowed,
    /// It lists these keys.
    Listed(Vec<Box<str>>),
    /// It refused, and it was the store that did.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The store's own word for why.
        code: Box<str>,
    },
    /// It says that there is no such object.
    NotFound,
    /// It could not be reached, or answered something that says nothing about what the credential opens.
    Failed(String),
}

/// Sends single requests to a store, with a credential as its users have it.
#[async_trait]
pub trait Prober: Send + Sync {
    /// Sends one.
    async fn attempt(&self, storage: &Storage, credential: &Credential, attempt: Attempt<'_>) -> Answer;
}

/// What became of one thing that was to be proven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// It is proven.
    Passed,
    /// It is not so, or could not be asked.
    Failed,
    /// It was not tried, or cannot be said of this store. Never counts as proven.
    Skipped,
}

impl Status {
    /// The name people read.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One row of a check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Its name, for programs.
    pub name: &'static str,
    /// What was to be proven, in words.
    pub what: &'static str,
    /// What became of it.
    pub status: Status,
    /// Why, in words for an operator.
    pub reason: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// What a check of a store found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The store.
    pub storage: Name,
    /// Its kind.
    pub kind: StorageKind,
    /// The bucket it was checked in.
    pub bucket: BucketName,
    /// Where it was asked.
    pub endpoint: Box<str>,
    /// What was to be proven, in order.
    pub rows: Vec<Row>,
    /// What was put there and could not be taken away again: buckets and keys.
    pub left: Vec<String>,
    /// Whether nothing failed, and the store was seen to allow and to refuse.
    pub passed: bool,
}

/// Where a store is asked by this server: at the address for those inside the cluster, if it has one.
pub fn endpoint_of(storage: &Storage) -> &str {
    storage.internal_endpoint.as_deref().unwrap_or(&storage.endpoint)
}

/// Checks stores.
pub struct Checker {
    /// Vends the credentials that are tried.
    pub vending: Vending,
    /// Knows what a store can express.
    pub stores: Arc<dyn StorageAdmin>,
    /// Tries the credentials.
    pub prober: Arc<dyn Prober>,
    /// Names the check's directory.
    pub entropy: Arc<dyn Entropy>,
}
