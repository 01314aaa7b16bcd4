//! AWS' refusals: the form of the query APIs, and the codes that SDKs know.
//!
//! Sources: AWS STS API Reference, the errors of each action; "Common Errors". What its SDKs would send again although it cannot help
//! (`IDPCommunicationError`, `Throttling`, 5xx) is not used for anything that stays so.

use http::{HeaderMap, HeaderName, HeaderValue};
use valetkey_core::error::Stranger;
use valetkey_core::name::shortened;
use valetkey_core::{Error, Kind};
use valetkey_sigv4 as sigv4;

use super::xml::NAMESPACE;
use crate::edge::{Refused, Row, Unproven, Xml};

/// The codes of single actions and of signatures.
pub(super) const CODES: &[&str] = &[
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InsufficientSessionLifetime",
    "InvalidAction",
    "InvalidAuthorizationMessageException",
    "InvalidClientTokenId",
    "InvalidContextAssertion",
    "InvalidIdentityToken",
    "InvalidSubjectCredentials",
    "MalformedPolicyDocument",
    "MissingAction",
    "MissingAuthenticationToken",
    "MissingParameter",
    "PackedPolicyTooLarge",
    "SignatureDoesNotMatch",
];

pub(super) fn row(kind: Kind) -> Row {
    let (status, code, title) = match kind {
        Kind::Malformed => (400, "MalformedQueryString", "Sender"),
        Kind::Invalid | Kind::Outdated | Kind::Unsupported => (400, "ValidationError", "Sender"),
        Kind::TooLarge => (413, "RequestEntityTooLarge", "Sender"),
        Kind::Unauthenticated(Stranger::Missing) => (403, "MissingAuthenticationToken", "Sender"),
        Kind::Unauthenticated(Stranger::Unknown | Stranger::Revoked) => (403, "InvalidClientTokenId", "Sender"),
        Kind::Unauthenticated(Stranger::Expired) => (403, "ExpiredToken", "Sender"),
        // What a caller may not know of is not told from what it may not have.
        Kind::Forbidden | Kind::NotInPlan | Kind::OutOfCredit | Kind::AlreadyExists(_) => {
            (403, "AccessDenied", "Sender")
        }
        Kind::NotFound(_) => (404, "InvalidAction", "Sender"),
        Kind::WrongMethod => (405, "InvalidAction", "Sender"),
        Kind::RateLimited => (400, "Throttling", "Sender"),
        Kind::Internal => (500, "InternalFailure", "Receiver"),
        Kind::Upstream => (502, "InternalFailure", "Receiver"),
        Kind::Unavailable => (503, "ServiceUnavailable", "Receiver"),
        Kind::UpstreamTimeout => (504, "ServiceUnavailable", "Receiver"),
    };
    Row { status, code, title }
}

pub(super) fn body(refused: &Refused<'_>) -> Vec<u8> {
    Xml::document(&format!("ErrorResponse xmlns=\"{NAMESPACE}\""), |xml| {
        let xml = xml.within("Error", |xml| {
            xml.text("Type", refused.row.title)
                .text("Code", refused.code.unwrap_or(refused.row.code))
                .text("Message", refused.said)
        });
        xml.text("RequestId", refused.request_id)
    })
}

pub(super) fn headers(refused: &Refused<'_>, headers: &mut HeaderMap) {
    if let Ok(id) = HeaderValue::from_str(refused.request_id) {
        headers.insert(HeaderName::from_static("x-amzn-requestid"), id);
    }
}

/// A refusal with one of the API's own codes.
pub(super) fn invalid(code: &'static str, said: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Kind::Invalid, said).coded(code)
}

/// A parameter that an action cannot do without.
pub(super) fn missing(name: &'static str) -> Error {
    invalid("MissingParameter", format!("the parameter `{name}` is missing")).at(name)
}

/// A policy that is not understood exactly.
pub(super) fn malformed_policy(said: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    invalid("MalformedPolicyDocument", said)
}

/// Who signed is not known.
pub(super) fn unproven(why: Unproven) -> Error {
    use sigv4::Refused as Why;
    let stranger = |why, code, said: &'static str| Error::new(Kind::Unauthenticated(why), said).coded(code);
    let incomplete =
        |said: &'static str| invalid("IncompleteSignature", said).really(Kind::Unauthenticated(Stranger::Unknown));
    let mismatch = |said| stranger(Stranger::Unknown, "SignatureDoesNotMatch", said);
    match why {
        Unproven::UnknownKey | Unproven::BadToken => {
            stranger(Stranger::Unknown, "InvalidClientTokenId", "The security token included in the request is invalid")
        }
        Unproven::Ended => {
            stranger(Stranger::Expired, "ExpiredToken", "The security token included in the request is expired")
        }
        Unproven::Presigned => Error::new(
            Kind::Forbidden,
            "a presigned URL, which others may see, makes no credential; sign the request's headers, and send it by POST",
        ),
        Unproven::Request(why) => match why {
            Why::Missing => {
                stranger(Stranger::Missing, "MissingAuthenticationToken", "Request is missing Authentication Token")
            }
            Why::Mismatch => mismatch(
                "The request signature we calculated does not match the signature you provided. Check your secret access key and signing method.",
            ),
            Why::Skewed => mismatch(
                "Signature expired or not yet current: the request's time is more than 15 minutes from the server's",
            ),
            Why::NotYet => mismatch("Signature not yet current: the URL's time has not come"),
            Why::Expired => mismatch("Signature expired: the URL's time is over"),
            Why::Malformed(_, sigv4::Malformed::Service) => {
                mismatch("Credential should be scoped to correct service: 'sts'.")
            }
            Why::Malformed(..) => incomplete("the signature's fields cannot be read"),
            Why::Time => incomplete("the request has no `X-Amz-Date` that can be read"),
            Why::Uncovered => incomplete("the host and every `x-amz-` header must be signed"),
            Why::Twice | Why::TwoTokens | Why::HeaderTwice => incomplete("the request proves its sender twice"),
            Why::TwoDigests | Why::Digest | Why::NoDigest | Why::PresignedChunks => {
                mismatch("the request names another digest than that of its body")
            }
            Why::Version2 | Why::Mechanism | Why::Ecdsa => {
                incomplete("sign with AWS Signature Version 4 (`AWS4-HMAC-SHA256`)")
            }
            Why::Expires(_) => incomplete("`X-Amz-Expires` is a number of seconds, at most a week"),
            Why::HeaderNotText => incomplete("a header is not text"),
            Why::Encoding => Error::new(Kind::Malformed, "the request's address cannot be decoded"),
        },
    }
}

/// An identity token that is not taken.
pub(super) fn identity_token(error: Error) -> Error {
    let Kind::Unauthenticated(why) = error.kind() else { return error };
    let refused = match why {
        Stranger::Missing => missing("WebIdentityToken"),
        Stranger::Expired => invalid("ExpiredTokenException", "the web identity token has expired"),
        Stranger::Unknown | Stranger::Revoked => {
            let said = "send a token of an identity provider that is trusted here, or one of Valetkey's (`vkt_…`)";
            invalid("InvalidIdentityToken", format!("{}; {said}", error.message()))
        }
    };
    refused.really(error.kind()).note(error.detail().unwrap_or_default().to_owned())
}

/// An action that there is not.
pub(super) fn unknown_action(action: Option<&str>) -> Error {
    let said = match action {
        None | Some("") => return invalid("MissingAction", "the parameter `Action` is missing"),
        Some(
            "AssumeRoleWithCustomToken"
            | "AssumeRoleWithLDAPIdentity"
            | "AssumeRoleWithClientGrants"
            | "AssumeRoleWithCertificate",
        ) => "MinIO's own actions are not served: with a Valetkey token, use `AssumeRoleWithWebIdentity`",
        Some("AssumeRoleWithSAML") => "SAML is not served: use `AssumeRoleWithWebIdentity`",
        Some("AssumeRoot" | "GetDelegatedAccessToken" | "GetWebIdentityToken") => {
            "this action is about AWS accounts and is not served here"
        }
        Some(other) => {
            let said = format!("there is no action `{}` in version 2011-06-15", shortened(other));
            return invalid("InvalidAction", said);
        }
    };
    invalid("InvalidAction", said)
}
