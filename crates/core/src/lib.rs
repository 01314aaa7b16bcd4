//! The domain of Valetkey: **parse an ask, decide a permit, open a lease, issue a credential.**
//!
//! INVARIANT: nothing here does I/O, reads a clock, draws randomness or serializes. Time and chance are arguments;
//! stores, issuers and dialects sit behind the traits of [`port`].
#![deny(clippy::wildcard_enum_match_arm)]

pub mod access;
pub mod account;
pub mod address;
pub mod ask;
pub mod audit;
pub mod caller;
pub mod claims;
pub mod conditions;
pub mod cors;
pub mod credential;
pub mod error;
pub mod fair;
pub mod field;
pub mod flood;
pub mod grant;
pub mod group;
pub mod health;
pub mod hosts;
pub mod id;
pub mod json;
pub mod keyring;
pub mod lease;
pub mod name;
pub mod network;
pub mod nouns;
pub mod policy;
pub mod port;
pub mod probe;
mod redact;
pub mod scope;
pub mod secret;
pub mod snapshot;
pub mod storage;
pub mod template;
pub mod time;
pub mod token;
pub mod vending;
pub mod word;

pub use error::{Error, Kind};
pub use secret::Secret;
