//! Refusals of S3 Control: S3's codes in an envelope of its own.
//!
//! Sources: Amazon S3 API Reference, "Error responses" and the errors of S3 Access Grants. AWS' plugins remember an `AccessDenied`, and
//! only that code, for five minutes.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use valetkey_core::error::Stranger;
use valetkey_core::{Error, Kind};
use valetkey_sigv4 as sigv4;

use crate::edge::{Refused, Row, Unproven, Xml};

pub(super) const REQUEST_ID: &str = "x-amz-request-id";

/// The codes of single operations and of signatures.
pub(super) const CODES: &[&str] = &[
    "AccessDenied",
    "AccessGrantsInstanceNotExistsError",
    "AuthorizationHeaderMalformed",
    "BadDigest",
    "InvalidToken",
    "NoSuchAccessGrantError",
    "NoSuchAccessGrantsLocationError",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
];

pub(super) fn row(kind: Kind) -> Row {
    let (status, code, title) = match kind {
        Kind::Malformed | Kind::Invalid | Kind::Outdated => (400, "InvalidRequest", ""),
        Kind::TooLarge => (400, "EntityTooLarge", ""),
        Kind::Unauthenticated(Stranger::Unknown | Stranger::Revoked) => (403, "InvalidAccessKeyId", ""),
        Kind::Unauthenticated(Stranger::Expired) => (400, "ExpiredToken", ""),
        Kind::Unauthenticated(Stranger::Missing)
        | Kind::Forbidden
        | Kind::NotInPlan
        | Kind::OutOfCredit
        | Kind::AlreadyExists(_) => (403, "AccessDenied", ""),
        Kind::NotFound(_) => (404, "NoSuchResource", ""),
        Kind::WrongMethod => (405, "MethodNotAllowed", ""),
        Kind::Unsupported => (501, "NotImplemented", ""),
        Kind::RateLimited => (503, "SlowDown", ""),
        Kind::Internal => (500, "InternalError", ""),
        Kind::Upstream => (502, "InternalError", ""),
        Kind::Unavailable => (503, "ServiceUnavailable", ""),
        Kind::UpstreamTimeout => (504, "ServiceUnavailable", ""),
    };
    Row { status, code, title }
}

pub(super) fn body(refused: &Refused<'_>) -> Vec<u8> {
    Xml::document("ErrorResponse", |xml| {
        let code = refused.code.unwrap_or(refused.row.code);
        xml.within("Error", |xml| xml.text("Code", code).text("Message", refused.said))
            .text("RequestId", refused.request_id)
    })
}

pub(super) fn headers(refused: &Refused<'_>, headers: &mut HeaderMap) {
    if let Ok(id) = HeaderValue::from_str(refused.request_id) {
        headers.insert(HeaderName::from_static(REQUEST_ID), id);
    }
}

/// A request that cannot be.
pub(super) fn invalid(said: impl Into<Cow<'static, str>>) -> Error {
    Error::new(Kind::Invalid, said)
}

/// Who signed is not known.
pub(super) fn unproven(why: Unproven) -> Error {
    use sigv4::Refused as Why;
    let stranger = |why, said: &'static str| Error::new(Kind::Unauthenticated(why), said);
    let unknown = |code, said| stranger(Stranger::Unknown, said).coded(code);
    let unclear = |said: &'static str| {
        invalid(said).coded("AuthorizationHeaderMalformed").really(Kind::Unauthenticated(Stranger::Unknown))
    };
    match why {
        Unproven::UnknownKey => stranger(Stranger::Unknown, "The access key id does not exist in our records"),
        Unproven::BadToken => invalid("The session token is not the key's")
            .coded("InvalidToken")
            .really(Kind::Unauthenticated(Stranger::Unknown)),
        Unproven::Ended => stranger(Stranger::Expired, "The credential that signed has expired or was revoked"),
        Unproven::Presigned => Error::new(
            Kind::Forbidden,
            "a presigned URL, which others may see, makes no credential; sign the request's headers",
        ),
        Unproven::Request(why) => match why {
            Why::Missing => stranger(Stranger::Missing, "the request is not signed"),
            Why::Mismatch => unknown(
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
            ),
            Why::Skewed | Why::NotYet => {
                unknown("RequestTimeTooSkewed", "The request's time is more than 15 minutes from the server's")
            }
            Why::Expired => stranger(Stranger::Expired, "the URL's time is over").coded("AccessDenied"),
            Why::TwoDigests | Why::Digest | Why::NoDigest | Why::PresignedChunks => {
                unknown("SignatureDoesNotMatch", "the request names another digest than that of its body")
            }
            Why::Malformed(_, sigv4::Malformed::Service) => unclear("sign for the service `s3`"),
            Why::Malformed(..) | Why::Time => unclear("the signature's fields or its time cannot be read"),
            Why::Uncovered => unclear("the host and every `x-amz-` header must be signed"),
            Why::Twice | Why::TwoTokens | Why::HeaderTwice => unclear("the request proves its sender twice"),
            Why::Version2 | Why::Mechanism | Why::Ecdsa => {
                unclear("sign with AWS Signature Version 4 (`AWS4-HMAC-SHA256`)")
            }
            Why::Expires(_) => unclear("`X-Amz-Expires` is a number of seconds, at most a week"),
            Why::HeaderNotText => unclear("a header is not text"),
            Why::Encoding => Error::new(Kind::Malformed, "the request's address cannot be decoded"),
        },
    }
}
