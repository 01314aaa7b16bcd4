//! The tests of the endpoint over another S3, for which the endpoint itself stands: what is true of its own buckets is true of these.
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
#![expect(dead_code, reason = "some helpers are for tests of the endpoint's own store")]

#[path = "../../../s3/tests/it/chunked.rs"]
mod chunked;
#[path = "../../../s3/tests/it/conditions.rs"]
mod conditions;
#[path = "../../../s3/tests/it/held.rs"]
mod held;
#[path = "../../../s3/tests/it/listing.rs"]
mod listing;
#[path = "../../../s3/tests/it/multipart.rs"]
mod multipart;
#[path = "../../../s3/tests/it/objects.rs"]
mod objects;
#[path = "../../../s3/tests/it/oracle.rs"]
mod oracle;
#[path = "../../../s3/tests/it/reach.rs"]
mod reach;
#[path = "../../../s3/tests/it/rig.rs"]
mod rig;

/// The other S3, on a thread of its own: what its clients sign with, they sign at the machine's time.
mod upstream;

mod each;

mod forward;
mod stub;

/// What the rig's buckets lie behind.
#[expect(clippy::unnecessary_wraps, reason = "the endpoint's own tests have none")]
fn behind(dir: &std::path::Path) -> Option<std::sync::Arc<dyn valetkey_s3::Backend>> {
    Some(stub::way(dir).unwrap_or_else(|| std::sync::Arc::new(upstream::open(&dir.join("upstream")))))
}
