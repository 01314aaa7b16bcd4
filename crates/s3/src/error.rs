//! Refusals in S3's own words, and what a failure of ours becomes.

use std::fmt;
use std::io;

use http::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use s3s::{S3Error, S3ErrorCode};
use valetkey_sql::Failure as _;

use crate::space::is_low;

/// What the crate's functions refuse with.
pub(crate) type Result<T> = std::result::Result<T, S3Error>;

/// Refuses with a code of S3's list.
pub(crate) fn refuse(code: S3ErrorCode, said: &'static str) -> S3Error {
    S3Error::with_message(code, said)
}

/// Refuses with a code of S3's list and words made for the occasion.
pub(crate) fn refuse_with(code: S3ErrorCode, said: String) -> S3Error {
    S3Error::with_message(code, said)
}

/// Refuses with a code that the S3 crate's list does not have.
pub(crate) fn refuse_custom(code: &'static str, status: http::StatusCode, said: &'static str) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), said);
    error.set_status_code(status);
    error
}

/// Outside the scope, whether the thing exists or not.
pub(crate) fn denied() -> S3Error {
    refuse(S3ErrorCode::AccessDenied, "Access Denied")
}

/// Something we do not do. Never a silent success.
pub(crate) fn not_implemented(what: impl fmt::Display) -> S3Error {
    S3Error::with_message(
        S3ErrorCode::NotImplemented,
        format!("A header or query you provided implies functionality that is not implemented: {what}"),
    )
}

/// An account has as much of what is shared as it may have: others are to have some too.
pub(crate) fn crowded() -> S3Error {
    metrics::counter!("vk_s3_crowded_total").increment(1);
    refuse(
        S3ErrorCode::SlowDown,
        "Too many bodies of this account are on their way at once. Please reduce your request rate.",
    )
}

/// A failure of ours: logged here, where it is understood; the caller learns nothing but the code.
pub(crate) fn internal(doing: &'static str, error: impl fmt::Display) -> S3Error {
    tracing::error!(doing, error = %error, "the object store failed while {doing}: {error}");
    refuse(S3ErrorCode::InternalError, "We encountered an internal error. Please try again.")
}

/// The disk or the index cannot take or give anything now: logged here, and worth another try.
pub(crate) fn unavailable(doing: &'static str, error: impl fmt::Display) -> S3Error {
    tracing::error!(doing, error = %error, "the object store failed while {doing}: {error}");
    later(refuse(S3ErrorCode::ServiceUnavailable, "The service cannot do this now. Please try again."), "1")
}

/// A failure of what others of this server know: worth another try if that is away, a defect otherwise.
pub(crate) fn of_domain(doing: &'static str, error: &valetkey_core::Error) -> S3Error {
    if error.kind() == valetkey_core::Kind::Unavailable { unavailable(doing, error) } else { internal(doing, error) }
}

/// A failure of the index: worth another try if the database failed, a defect of ours otherwise.
pub(crate) fn of_index(doing: &'static str, error: sqlx::Error) -> S3Error {
    if error.is_of_database() { unavailable(doing, error) } else { internal(doing, error) }
}

/// What a disk does not do. That it is as full as it may become, its sender may know: it will not be over in a second.
pub(crate) fn of_disk(doing: &'static str, error: io::Error) -> S3Error {
    if !is_low(&error) {
        return unavailable(doing, error);
    }
    metrics::counter!("vk_s3_no_room_total").increment(1);
    tracing::warn!(doing, error = %error, "a write was refused while {doing}: {error}");
    no_room()
}

/// What is said where the disk is as full as it may become.
pub(crate) const NO_ROOM: &str =
    "There is no room for new objects. Objects can be read and deleted; please try again later.";

/// Nothing can be written for now. What frees room is done all the same.
pub(crate) fn no_room() -> S3Error {
    later(refuse(S3ErrorCode::ServiceUnavailable, NO_ROOM), "30")
}

/// Says after how many seconds to come again.
pub(crate) fn later(mut error: S3Error, secs: &'static str) -> S3Error {
    error.set_headers(HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(secs))]));
    error
}

/// Why a request's body could not be read to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The connection ended before the announced length.
    #[error("the body ended early")]
    Incomplete,
    /// More came than was announced.
    #[error("the body is longer than announced")]
    TooLong,
    /// The chunks do not follow their own format.
    #[error("the chunks of the body are malformed")]
    Malformed,
    /// A chunk's or the trailer's signature does not fit.
    #[error("a chunk's signature does not fit")]
    Signature,
    /// The body's digest is not the one that was signed.
    #[error("the body's digest is not the signed one")]
    Digest,
    /// Too little came for too long.
    #[error("the sender paused for too long, or was too slow")]
    Idle,
    /// It did not come in time.
    #[error("the body did not come in time")]
    Late,
    /// The connection failed.
    #[error("the connection failed")]
    Connection,
}

impl From<BodyError> for S3Error {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Incomplete | BodyError::Connection => refuse(
                S3ErrorCode::IncompleteBody,
                "You did not provide the number of bytes specified by the Content-Length HTTP header.",
            ),
            BodyError::TooLong => {
                refuse(S3ErrorCode::IncompleteBody, "The body has more bytes than the announced length.")
            }
            BodyError::Idle | BodyError::Late => {
                let said =
                    "Your socket connection to the server was not read from or written to within the timeout period.";
                let mut error = refuse(S3ErrorCode::RequestTimeout, said);
                // S3 says 400; what ends for want of time is HTTP's 408 (RFC 9110, section 15.5.9).
                error.set_status_code(http::StatusCode::REQUEST_TIMEOUT);
                error
            }
            BodyError::Malformed => refuse(
                S3ErrorCode::InvalidRequest,
                "The chunks of the body do not follow the aws-chunked format, or a trailer is missing.",
            ),
            BodyError::Signature => refuse(
                S3ErrorCode::SignatureDoesNotMatch,
                "The signature of a chunk we calculated does not match the signature you provided.",
            ),
            BodyError::Digest => refuse_custom(
                "XAmzContentSHA256Mismatch",
                http::StatusCode::BAD_REQUEST,
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            ),
        }
    }
}

/// An object here or elsewhere could not be read to its end; why is in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an object could not be read to its end")]
pub(crate) struct Unread;

/// What an error of a body stream means: of a request's body, or of an object that is copied.
pub(crate) fn of_body(error: &(dyn std::error::Error + Send + Sync + 'static)) -> S3Error {
    if error.is::<Unread>() {
        return refuse(S3ErrorCode::InternalError, "The source of the copy could not be read to its end.");
    }
    error.downcast_ref::<BodyError>().copied().unwrap_or(BodyError::Connection).into()
}
