//! The endpoint as a stranger sees it: over real sockets, with a client of its own.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::string_slice,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::format_collect,
    clippy::format_push_string,
    clippy::similar_names,
    reason = "a test says what it expects and stops where it is wrong"
)]

mod buckets;
mod chunked;
mod clients_ask;
mod conditions;
mod cors;
#[cfg(target_os = "linux")]
mod disk;
mod durability;
mod held;
mod listing;
mod malformed;
mod moved;
mod multipart;
mod objects;
mod oracle;
mod own;
mod quota;
mod r2;
mod r2_table;
mod reach;
mod refused;
mod rig;
mod rot;
mod space;

/// What the rig's buckets lie behind: nothing here. Other test targets run some of these tests over other stores.
fn behind(_: &std::path::Path) -> Option<std::sync::Arc<dyn valetkey_s3::Backend>> {
    None
}
