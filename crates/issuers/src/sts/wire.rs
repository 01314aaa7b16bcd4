//! `AssumeRole` on the wire: the form that is sent and the XML that comes back (AWS STS API Reference, version 2011-06-15).

use std::fmt::Write as _;

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use valetkey_core::{Error, Secret};

use crate::call::{Answered, quoted, request_id, throttled};
use crate::upstream::refused;

/// What RFC 3986 leaves alone. A space becomes `%20`: some stores do not read `+` as one.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A form, in the order its fields are written.
pub(crate) struct Form(String);

impl Form {
    /// `AssumeRole`, without anything else yet.
    pub(crate) fn new() -> Self {
        Self("Action=AssumeRole&Version=2011-06-15".to_owned())
    }

    /// And one field more.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "&{name}={}", utf8_percent_encode(value, ENCODED));
        self
    }

    pub(crate) fn into_body(self) -> String {
        self.0
    }
}

/// What STS gave.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: Secret<String>,
    pub(crate) session_token: Secret<String>,
    pub(crate) expiration: Timestamp,
    pub(crate) packed_percent: Option<u8>,
    pub(crate) request_id: Option<String>,
}

/// Why STS did not give.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The policy does not fit in its packed form.
    TooLarge,
    /// The parent's own credentials are over or unknown.
    Parent(Error),
    /// Something else.
    Other(Error),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Response {
    #[serde(rename = "AssumeRoleResult")]
    result: ResultXml,
    response_metadata: Option<Metadata>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ResultXml {
    credentials: CredentialsXml,
    packed_policy_size: Option<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CredentialsXml {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    request_id: String,
}

/// AWS writes `ErrorResponse` with an `Error` in it, others the inner one alone.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct ErrorXml {
    error: Option<InnerError>,
    code: String,
    message: String,
    request_id: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct InnerError {
    code: String,
    message: String,
}

/// Reads an answer.
pub(crate) fn read(answered: &Answered) -> Result<Given, Refused> {
    let text = std::str::from_utf8(&answered.body).unwrap_or_default();
    // AWS names it one way, other stores as S3 does.
    let named = |name| answered.headers.get(name).and_then(|id| id.to_str().ok()).and_then(request_id);
    let header_id = named("x-amzn-requestid").or_else(|| named("x-amz-request-id"));
    if answered.status.is_success() {
        given(text, header_id).map_err(Refused::Other)
    } else {
        Err(refusal(answered, text, header_id))
    }
}

fn given(text: &str, header_id: Option<String>) -> Result<Given, Error> {
    // SECURITY: neither the text nor the parser's error goes on: both may have secrets in them.
    let malformed =
        |what: &str| refused("the store's answer cannot be used").note(format!("AssumeRole answered 200, but {what}"));
    let Response { result, response_metadata } =
        quick_xml::de::from_str(text).map_err(|_| malformed("its body is not an AssumeRoleResponse"))?;
    let CredentialsXml { access_key_id, secret_access_key, session_token, expiration } = result.credentials;
    let (secret_access_key, session_token) = (Secret::new(secret_access_key), Secret::new(session_token));
    if access_key_id.is_empty() || secret_access_key.reveal().is_empty() || session_token.reveal().is_empty() {
        return Err(malformed("a part of its credentials is empty"));
    }
    let expiration: Timestamp = expiration.parse().map_err(|_| malformed("its expiration is not an instant"))?;
    let request_id = response_metadata.and_then(|metadata| request_id(&metadata.request_id)).or(header_id);
    Ok(Given {
        access_key_id,
        secret_access_key,
        session_token,
        // Whole seconds, cut: never later than it says.
        expiration: Timestamp::from_second(expiration.as_second()).unwrap_or(expiration),
        packed_percent: result.packed_policy_size,
        request_id,
    })
}

fn refusal(answered: &Answered, text: &str, header_id: Option<String>) -> Refused {
    let ErrorXml { error, code, message, request_id: id } = quick_xml::de::from_str(text).unwrap_or_default();
    let InnerError { code, message } = error.unwrap_or(InnerError { code, message });
    let code = quoted(&code);
    let status = answered.status.as_u16();
    let id = request_id(&id).or(header_id).unwrap_or_else(|| "unknown".to_owned());
    // SECURITY: with these the store repeats what was signed, the parent's session token in it.
    let repeats = code.starts_with("Signature") || code.starts_with("IncompleteSignature") || code.is_empty();
    let message = if repeats { String::new() } else { format!(" ({})", quoted(&message)) };
    let note = format!("AssumeRole answered {status} `{code}`{message}, request {id}");
    let throttle = [
        "Throttling",
        "ThrottlingException",
        "Throttled",
        "RequestLimitExceeded",
        "SlowDown",
        "TooManyRequests",
        "TooManyRequestsException",
        "RequestThrottled",
        "RequestThrottledException",
    ];
    match code.as_str() {
        "PackedPolicyTooLarge" | "PackedPolicyTooLargeException" => Refused::TooLarge,
        _ if status == 429 || throttle.contains(&code.as_str()) => {
            Refused::Other(throttled(&answered.headers).note(note))
        }
        "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "InvalidAccessKeyId" => Refused::Parent(refused("the store refused this server").note(note)),
        _ => Refused::Other(refused("the store refused to give a key").note(note)),
    }
}
