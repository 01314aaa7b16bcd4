//! What S3 says of a proof that is none. Source: Amazon S3 API Reference, "Error responses"; R2's words for its own keys.

use http::StatusCode;
use http::header::HeaderName;
use http::request::Parts;
use s3s::{S3Error, S3ErrorCode};
use valetkey_core::id::TokenId;
use valetkey_sigv4::{Claimed, Malformed, Place, Query, Refused, version_2_key_id};

use crate::error::{Result, denied, not_implemented, refuse, refuse_custom, refuse_with};

/// Reads what a request claims.
pub(crate) fn claimed(parts: &Parts, query: &Query) -> Result<Claimed> {
    if version_2_key_id(parts, query).map_err(worded)?.is_some_and(is_parent) {
        let said = "SigV2 authorization is not supported. Please use SigV4 instead.";
        return Err(refuse_custom("Unauthorized", StatusCode::UNAUTHORIZED, said));
    }
    Claimed::read(parts, query, "s3").map_err(worded)
}

/// A header's value if the header is there at most once.
pub(crate) fn single<'p>(parts: &'p Parts, name: &HeaderName) -> Result<Option<&'p str>> {
    valetkey_sigv4::single(parts, name).map_err(worded)
}

/// Decodes once.
pub(crate) fn decode(text: &str) -> Result<String> {
    valetkey_sigv4::decode(text).map_err(worded)
}

/// Reads a query.
pub(crate) fn query(text: Option<&str>) -> Result<Query> {
    Query::parse(text).map_err(worded)
}

/// Whether an access key id has the form of a parent access key's: its holder is told what R2 would say.
fn is_parent(key_id: &str) -> bool {
    TokenId::from_hex(key_id).is_some()
}

/// A refusal of a request whose time is not now, in the words for its key.
pub(crate) fn untimely(claimed: &Claimed, refused: Refused) -> S3Error {
    if refused == Refused::Expired && is_parent(&claimed.unverified_key_id) {
        // R2 has a code of its own.
        return refuse_custom("ExpiredRequest", StatusCode::BAD_REQUEST, "Request has expired");
    }
    worded(refused)
}

/// A refusal of a signature, with the host it was calculated for: a proxy that changes it is the usual reason.
///
/// SECURITY: the host is the sender's own, and only letters, digits and `.-:[]_` of it are repeated.
pub(crate) fn unproven(refused: Refused, host: &str) -> S3Error {
    if refused != Refused::Mismatch {
        return worded(refused);
    }
    let plain = |c: &char| c.is_ascii_alphanumeric() || ".-:[]_".contains(*c);
    let host: String = host.chars().filter(plain).take(255).collect();
    let said = format!(
        "{MISMATCH} The request arrived for the host {host}: a proxy in front of this server must change neither the host nor the \
         path that the client signed."
    );
    refuse_with(S3ErrorCode::SignatureDoesNotMatch, said)
}

const MISMATCH: &str =
    "The request signature we calculated does not match the signature you provided. Check your key and signing method.";

/// A refusal in S3's words.
pub(crate) fn worded(refused: Refused) -> S3Error {
    use S3ErrorCode::{AccessDenied, InvalidArgument, InvalidRequest};
    match refused {
        Refused::Missing => denied(),
        Refused::Twice => refuse(
            InvalidArgument,
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the \
             Authorization header should be specified",
        ),
        Refused::Version2 => refuse(
            InvalidRequest,
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256: sign for region `auto`, \
             or with `signature_version` `s3v4`.",
        ),
        Refused::Mechanism => refuse(
            InvalidRequest,
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
        ),
        Refused::Malformed(place, what) => malformed(place, what),
        Refused::Expires(Some(key_id)) if is_parent(&key_id) => refuse(
            InvalidArgument,
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be between 1 and 604800 \
             seconds",
        ),
        Refused::Expires(_) => bad(Place::Query, "X-Amz-Expires must be between 1 and 604800 seconds"),
        Refused::Time => refuse(AccessDenied, "AWS authentication requires a valid Date or x-amz-date header"),
        Refused::NoDigest => refuse(InvalidRequest, "Missing required header for this request: x-amz-content-sha256"),
        Refused::Digest => refuse(
            InvalidArgument,
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
             STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
        ),
        Refused::TwoDigests => refuse(InvalidArgument, "Two digests of the body are given."),
        Refused::Ecdsa => not_implemented("AWS4-ECDSA-P256-SHA256"),
        Refused::PresignedChunks => not_implemented("a body in chunks behind a presigned URL"),
        Refused::TwoTokens => refuse(InvalidArgument, "The session token is in the query and in a header."),
        Refused::HeaderTwice => refuse(InvalidRequest, "A header that may be there once is there twice."),
        Refused::HeaderNotText => refuse(InvalidRequest, "A header is not text."),
        Refused::Encoding => refuse(S3ErrorCode::InvalidURI, "Couldn't parse the specified URI."),
        Refused::Uncovered => refuse(AccessDenied, "There were headers present in the request which were not signed"),
        Refused::Skewed => refuse(
            S3ErrorCode::RequestTimeTooSkewed,
            "The difference between the request time and the current time is too large.",
        ),
        Refused::NotYet => refuse(AccessDenied, "Request is not valid yet"),
        Refused::Expired => refuse(AccessDenied, "Request has expired"),
        Refused::Mismatch => refuse(S3ErrorCode::SignatureDoesNotMatch, MISMATCH),
    }
}

fn malformed(place: Place, what: Malformed) -> S3Error {
    bad(
        place,
        match (what, place) {
            (Malformed::NoValue, _) => "The authorization header is malformed; a field has no value.",
            (Malformed::UnknownField, _) => "The authorization header is malformed; a field in it is unknown.",
            (Malformed::FieldTwice, _) => "The authorization header is malformed; a field is there twice.",
            (Malformed::MissingField, Place::Header) => {
                "The authorization header is malformed; the authorization header requires three components: Credential, \
                 SignedHeaders, and Signature."
            }
            (Malformed::MissingField, Place::Query) => {
                "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, \
                 X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters, each once."
            }
            (Malformed::Algorithm, _) => "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"",
            (Malformed::Credential, _) => {
                "The Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\"."
            }
            (Malformed::Service, _) => {
                "The authorization is malformed; incorrect service. This endpoint belongs to \"s3\"."
            }
            (Malformed::Terminator, _) => "The Credential is mal-formed; it must end in \"aws4_request\".",
            (Malformed::Date, _) => {
                "Invalid credential date. The date in Credential scope does not match YYYYMMDD of the request."
            }
            (Malformed::SignedHeaders, _) => "The SignedHeaders are malformed: each name once, in lower case.",
        },
    )
}

fn bad(place: Place, said: &'static str) -> S3Error {
    match place {
        Place::Header => refuse_custom("AuthorizationHeaderMalformed", StatusCode::BAD_REQUEST, said),
        Place::Query => refuse_custom("AuthorizationQueryParametersError", StatusCode::BAD_REQUEST, said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_that_does_not_match_names_the_host_and_nothing_else_of_the_request() {
        let said = |host: &str| unproven(Refused::Mismatch, host).message().unwrap().to_owned();
        assert!(said("valetkey_s3:7071").contains("arrived for the host valetkey_s3:7071:"));
        assert!(said("a<b>\r\nc").contains("arrived for the host abc:"));
        assert!(said(&"x".repeat(10_000)).len() < 600);
        assert_eq!(unproven(Refused::Expired, "h").message(), worded(Refused::Expired).message());
    }
}
