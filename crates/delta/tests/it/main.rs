//! Logs as they are on disk, read through objects in memory.
#![expect(
    clippy::unwrap_used,
    clippy::format_collect,
    clippy::string_slice,
    clippy::panic,
    reason = "a test says what it expects and stops where it is wrong"
)]

mod broken;
mod changes;
mod damage;
mod embedded;
mod rig;
mod size;
mod tables;
mod travel;
