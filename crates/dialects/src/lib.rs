//! The published APIs, one folder each: routes, wire structs, refusal table. [`edge`] is what they stand on.
//!
//! INVARIANT: no dialect names another. Adding one is a folder here and a line where the binary lists them; a status code of
//! a refusal appears only in a dialect's `error.rs`.
#![deny(clippy::wildcard_enum_match_arm)]

pub mod access_grants;
pub mod custom;
pub mod dreadnode;
pub mod edge;
pub mod iceberg;
pub mod native;
pub mod r2;
pub mod sharing;
pub mod sts;
pub mod theirstack;
pub mod unity;

#[cfg(test)]
mod tests;
