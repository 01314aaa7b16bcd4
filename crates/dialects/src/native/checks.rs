//! Checks of storages: what a credential opens there and what it does not, tried live. For operators.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;
use valetkey_check::{Report, Row, Status};
use valetkey_core::Error;
use valetkey_core::name::BucketName;

use super::api::checks::CheckRequest;
use super::error::Problem;
use super::state::{NAME, Native};
use crate::edge::{Call, Reply, json};

/// What a check of a storage found.
#[derive(Serialize, ToSchema)]
pub(super) struct CheckResponse {
    /// The storage's name.
    storage: String,
    /// Who enforces scopes there.
    kind: &'static str,
    /// The bucket it was checked in.
    bucket: String,
    /// The URL it was asked at: the one from inside a cluster, if it has one.
    endpoint: String,
    /// Whether nothing failed, and the storage was seen both to allow and to refuse.
    passed: bool,
    /// What was to be proven, in order.
    checks: Vec<RowResponse>,
    /// What was put there and could not be taken away again: buckets and keys.
    left: Vec<String>,
}

/// One thing that was to be proven.
#[derive(Serialize, ToSchema)]
struct RowResponse {
    /// Its name, to program against.
    check: &'static str,
    /// What was to be proven, in words.
    what: &'static str,
    /// What became of it; `skipped` was not tried or cannot be said of this storage, and never counts as passed.
    status: StatusWord,
    /// Why.
    reason: String,
    /// How long it took, in milliseconds.
    took_ms: u64,
}

/// What became of something that was to be proven.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum StatusWord {
    Passed,
    Failed,
    Skipped,
}

impl RowResponse {
    fn of(row: Row) -> Self {
        let Row { name, what, status, reason, took_ms } = row;
        let status = match status {
            Status::Passed => StatusWord::Passed,
            Status::Failed => StatusWord::Failed,
            Status::Skipped => StatusWord::Skipped,
        };
        Self { check: name, what, status, reason, took_ms }
    }
}

impl CheckResponse {
    fn of(report: Report) -> Self {
        let Report { storage, kind, bucket, endpoint, rows, left, passed } = report;
        Self {
            storage: storage.to_string(),
            kind: kind.as_str(),
            bucket: bucket.to_string(),
            endpoint: endpoint.into(),
            passed,
            checks: rows.into_iter().map(RowResponse::of).collect(),
            left,
        }
    }
}

/// Checks a storage: vends credentials for a directory of the check's own, tries them there, and says what they open and what
/// not. A storage that fails is answered with 200 too; look at `passed`. For operators.
#[utoipa::path(post, operation_id = "check_storage", path = "/api/v1/storages/{storage}/checks", tag = "storages", params(
    ("storage" = String, Path, description = "The storage's name or id"),
), request_body = CheckRequest, responses(
    (status = 200, description = "What was found", body = CheckResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn check(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let CheckRequest { bucket } = if call.body.is_empty() { CheckRequest::default() } else { json(&call.body)? };
    let bucket = bucket.map(|text| BucketName::parse(&text).map_err(|error| error.at("bucket"))).transpose()?;
    let storage = native.storage(&call).await?;
    let buckets = native.shared.registry.buckets().await?;
    let report = native.checker.check(&call.caller, &storage, buckets, bucket.as_ref(), NAME).await?;
    Reply::json(&CheckResponse::of(report))
}
