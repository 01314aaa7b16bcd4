//! What is asked, on the wire: the form that is sent and the XML that comes back (AWS STS API Reference, version 2011-06-15; IAM API
//! Reference, version 2010-05-08).

use std::fmt::Write as _;

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use valetkey_core::{Error, Secret};

use crate::web::{Answer, quoted, refused, request_id};

/// What RFC 3986 leaves alone. A space becomes `%20`: some stores do not read `+` as one.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A form, in the order its fields are written.
pub(crate) struct Form(String);

impl Form {
    /// An action of a version of an API, without anything else yet.
    pub(crate) fn of(action: &str, version: &str) -> Self {
        Self(format!("Action={action}&Version={version}"))
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

/// Why it did not.
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
    #[serde(rename = "AssumeRoleResult", alias = "AssumeRoleWithWebIdentityResult")]
    result: ResultXml,
    response_metadata: Option<Metadata>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ResultXml {
    credentials: CredentialsXml,
    packed_policy_size: Option<String>,
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

/// Reads an answer to `AssumeRole`.
pub(crate) fn read(answer: &Answer) -> Result<Given, Refused> {
    success(answer)?;
    given(text(answer), header_id(answer)).map_err(Refused::Other)
}

/// Reads an answer of which nothing but its success matters.
pub(crate) fn done(answer: &Answer, element: &'static str) -> Result<(), Refused> {
    success(answer)?;
    // Something in between may answer anything with 200.
    if !text(answer).contains(&format!("<{element}")) {
        return Err(Refused::Other(answer.malformed("something else than it was asked for")));
    }
    Ok(())
}

fn success(answer: &Answer) -> Result<(), Refused> {
    if answer.status.is_success() { Ok(()) } else { Err(refusal(answer, text(answer), header_id(answer))) }
}

fn text(answer: &Answer) -> &str {
    std::str::from_utf8(answer.body.reveal()).unwrap_or_default()
}

fn header_id(answer: &Answer) -> Option<String> {
    // AWS names it one way, other stores as S3 does.
    let named = |name| answer.header(name).and_then(request_id);
    named("x-amzn-requestid").or_else(|| named("x-amz-request-id"))
}

fn given(text: &str, header_id: Option<String>) -> Result<Given, Error> {
    // SECURITY: neither the text nor the parser's error goes on: both may have secrets in them.
    let malformed = |what: &str| {
        refused("the storage's answer cannot be used").note(format!("AssumeRole answered 200, but {what}"))
    };
    let Response { result, response_metadata } =
        quick_xml::de::from_str(text).map_err(|_| malformed("its body is not an AssumeRoleResponse"))?;
    // Of a number that is odd nothing is known; the credential is as good as with any other.
    let packed = result.packed_policy_size.and_then(|size| size.trim().parse().ok()).filter(|percent| *percent <= 100);
    let CredentialsXml { access_key_id, secret_access_key, session_token, expiration } = result.credentials;
    let (secret_access_key, session_token) = (Secret::new(secret_access_key), Secret::new(session_token));
    let trimmed = |secret: &Secret<String>| Secret::new(secret.reveal().trim().to_owned());
    let (secret_access_key, session_token) = (trimmed(&secret_access_key), trimmed(&session_token));
    let access_key_id = access_key_id.trim().to_owned();
    if access_key_id.is_empty() || secret_access_key.reveal().is_empty() || session_token.reveal().is_empty() {
        return Err(malformed("a part of its credentials is empty"));
    }
    let expiration: Timestamp =
        expiration.trim().parse().map_err(|_| malformed("its expiration is not a timestamp"))?;
    let request_id = response_metadata.and_then(|metadata| request_id(metadata.request_id.trim())).or(header_id);
    Ok(Given {
        access_key_id,
        secret_access_key,
        session_token,
        // Whole seconds, cut: never later than it says.
        expiration: Timestamp::from_second(expiration.as_second()).unwrap_or(expiration),
        packed_percent: packed,
        request_id,
    })
}

fn refusal(answer: &Answer, text: &str, header_id: Option<String>) -> Refused {
    let ErrorXml { error, code, message, request_id: id } = quick_xml::de::from_str(text).unwrap_or_default();
    let InnerError { code, message } = error.unwrap_or(InnerError { code, message });
    let code = quoted(&code);
    let id = request_id(&id).or(header_id).unwrap_or_else(|| "unknown".to_owned());
    // SECURITY: with these the store repeats what was signed, the parent's session token in it.
    let repeats = code.starts_with("Signature") || code.starts_with("IncompleteSignature") || code.is_empty();
    let message = if repeats { String::new() } else { format!("({}) ", quoted(&message)) };
    let more = format!("{message}request {id}");
    match code.as_str() {
        "PackedPolicyTooLarge" | "PackedPolicyTooLargeException" => Refused::TooLarge,
        "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "InvalidAccessKeyId" => Refused::Parent(answer.refused("the storage refused this server", &code, &more)),
        _ => Refused::Other(answer.refused("the storage refused what it was asked for", &code, &more)),
    }
}
