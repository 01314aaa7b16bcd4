//! What a kind of storage knows of itself. One implementation lies beside each kind; the binary passes the list.

use crate::credential::{LeftOut, Narrowed};
use crate::error::Error;
use crate::hosts::Hosts;
use crate::scope::{Action, Actions};
use crate::secret::Secret;
use crate::storage::{Revocability, Storage, StorageKind};
use crate::time::Lifetime;

/// The most bytes of settings, and of secrets.
pub const MAX_BYTES: usize = 64 * 1024;

/// A kind of storage. Nobody is asked for what it says.
pub trait Provider: Send + Sync {
    /// Which kind.
    fn kind(&self) -> StorageKind;

    /// What follows from settings and secrets.
    ///
    /// # Errors
    /// `Invalid` with the field's name when they cannot work, or would send the machine's own identity where it may not go.
    fn facts(&self, settings: &str, secrets: Option<&Secret<String>>) -> Result<Facts, Error>;

    /// Where the requests of these settings and secrets go.
    ///
    /// # Errors
    /// As [`Self::facts`], but for where the machine's own identity would go.
    fn hosts(&self, settings: &str, secrets: Option<&Secret<String>>) -> Result<Hosts, Error>;

    /// What is most often wrong with it.
    fn hints(&self) -> Hints {
        Hints::default()
    }
}

/// What is known of a storage as configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// The URL clients use, if that follows from the settings.
    pub endpoint: Option<Box<str>>,
    /// The URL inside a cluster, if there is one.
    pub internal_endpoint: Option<Box<str>>,
    /// The region to name in signatures.
    pub region: Box<str>,
    /// The shortest lifetime it gives.
    pub least: Lifetime,
    /// The longest.
    pub most: Lifetime,
    /// How soon its credentials can be ended.
    pub revocation: Revocability,
}

impl Facts {
    /// Those of a storage that is configured already.
    pub fn of(storage: &Storage) -> Self {
        Self {
            endpoint: Some(storage.endpoint.clone()),
            internal_endpoint: storage.internal_endpoint.clone(),
            region: storage.region.clone(),
            least: storage.min_lifetime,
            most: storage.max_lifetime,
            revocation: storage.revocation(),
        }
    }
}

/// What an operator is asked to look at first, as questions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Hints {
    /// Where no credential is given.
    pub vend: Option<&'static str>,
    /// Where what a credential should open is refused.
    pub rights: Option<&'static str>,
    /// What its credentials may open beyond their actions, and what they may not, although some store of its kind might.
    pub beyond: &'static [(Extra, Documented)],
    /// What is open of that, in words.
    pub also: &'static [Beyond],
}

/// What a storage allows with an action beyond what the action says: a line of the manual (`docs/storages.md`, "What a credential
/// allows beyond its actions"), and what a response says where it is so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Beyond {
    /// The action.
    pub with: Action,
    /// How the storage says it, or when this is so; empty where there is nothing to add.
    pub when: &'static str,
    /// What else is allowed.
    pub also: &'static str,
    /// How that is avoided; empty where it is not.
    pub avoided: &'static str,
}

impl Beyond {
    /// What a response says of it.
    pub fn said(&self) -> Narrowed {
        Narrowed { what: LeftOut::Beyond(self.with), why: self.also.into() }
    }

    /// What a response says of a credential for these actions.
    pub fn of(rows: &'static [Self], actions: Actions) -> impl Iterator<Item = Narrowed> {
        rows.iter().filter(move |row| actions.contains(row.with)).map(Self::said)
    }
}

/// What the documentation says of an extra.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Documented {
    /// It may be open.
    Open,
    /// It is closed.
    Closed,
}

/// What a store may allow with an action, beyond what the action says (`docs/storages.md`, "What a credential allows beyond its
/// actions").
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Extra {
    /// Read an object's tags.
    Tags,
    /// Delete an object's tags.
    Untag,
    /// Read who may use an object.
    Acl,
    /// Read an object's attributes.
    Attributes,
    /// List earlier versions.
    Versions,
    /// Take a lease without an end.
    Lease,
    /// Break a lease.
    BreakLease,
    /// Take a snapshot.
    Snapshot,
    /// Read an earlier snapshot.
    Earlier,
    /// Read an object by its version.
    Version,
    /// Replace an object's metadata.
    Metadata,
    /// Replace an object's tags.
    Retag,
    /// Bring back what was deleted.
    Undelete,
    /// Forbid until a time that an object is deleted.
    Retention,
    /// List keys.
    List,
    /// Write an object.
    Write,
}

/// A refusal of one setting, named as its writer knows it.
pub fn of_settings(error: Error) -> Error {
    match error.field().map(str::to_owned) {
        Some(field) if field != "secrets" && !field.starts_with("settings") => error.at(format!("settings.{field}")),
        Some(_) => error,
        None => error.at("settings"),
    }
}
