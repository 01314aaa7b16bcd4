//! The tests of the endpoint over a store in memory that is as capable as the clouds': what is true of its own buckets is true of these.
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

#[path = "../shared/behind.rs"]
mod behind;
#[path = "../../../s3/tests/it/buckets.rs"]
mod buckets;
#[path = "../../../s3/tests/it/chunked.rs"]
mod chunked;
#[path = "../../../s3/tests/it/conditions.rs"]
mod conditions;
mod files;
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

/// Whether every bucket is there.
const EVERY_BUCKET_IS_THERE: bool = true;

/// What the rig's buckets lie behind.
#[expect(clippy::unnecessary_wraps, reason = "the endpoint's own tests have none")]
fn behind(_: &std::path::Path) -> Option<std::sync::Arc<dyn valetkey_s3::Backend>> {
    Some(valetkey_gateway::memory())
}
