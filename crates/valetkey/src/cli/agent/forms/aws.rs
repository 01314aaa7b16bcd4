//! The container credentials of ECS and of EKS Pod Identity, `credential_process`, and the instance metadata service, version 2.

use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::cli::agent::forms::{Reply, json, other_kind, status, text, words};
use crate::cli::agent::slots::Slots;
use crate::cli::creds::key::{Key, Material, S3Keys};
use crate::cli::failure::{Exit, Failure};

/// botocore still uses what it got from the metadata service after its end, if it had less than about 25 minutes left when it came.
pub(crate) const METADATA_LEAST: SignedDuration = SignedDuration::from_mins(26);
/// The one role there is.
const ROLE: &str = "valetkey";
const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Credential<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_updated: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u8>,
    access_key_id: &'a str,
    secret_access_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_token: Option<&'a str>,
    expiration: String,
}

impl<'a> Credential<'a> {
    fn of(key: &Key, keys: &'a S3Keys) -> Self {
        Self {
            code: None,
            r#type: None,
            last_updated: None,
            version: None,
            access_key_id: &keys.access_key_id,
            secret_access_key: keys.secret_access_key.reveal(),
            token: Some(keys.session_token.reveal()),
            session_token: None,
            expiration: key.expires(),
        }
    }
}

/// Some SDKs read the one spelling, some the other.
#[derive(Serialize)]
struct Refusal<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(rename = "Code")]
    code_again: &'a str,
    #[serde(rename = "Message")]
    message_again: &'a str,
}

fn keys(key: &Key) -> Result<&S3Keys, Failure> {
    match &key.material {
        Material::S3(keys) => Ok(keys),
        other => Err(other_kind(other.as_str(), "S3 keys")),
    }
}

/// A refusal.
pub(crate) fn refusal(status: StatusCode, code: &str, message: &str) -> Reply {
    json(status, &Refusal { code, message, code_again: code, message_again: message })
}

/// A failure.
pub(crate) fn failure(failure: &Failure) -> Reply {
    refusal(status(failure), &failure.code(), &words(failure))
}

/// What a container's endpoint answers.
pub(crate) fn container(key: &Key) -> Result<Reply, Failure> {
    Ok(json(StatusCode::OK, &Credential::of(key, keys(key)?)))
}

/// What `credential_process` prints.
pub(crate) fn process(key: &Key) -> Result<Reply, Failure> {
    let Credential { token, .. } = Credential::of(key, keys(key)?);
    let credential =
        Credential { version: Some(1), token: None, session_token: token, ..Credential::of(key, keys(key)?) };
    Ok(json(StatusCode::OK, &credential))
}

/// Starts a session with the metadata service.
pub(crate) fn session(headers: &HeaderMap, slots: &Slots, now: Timestamp) -> Reply {
    let told = headers.get(TTL).and_then(|value| value.to_str().ok());
    let Some(secs) = told.and_then(|told| told.parse::<u16>().ok()).filter(|secs| (1..=21_600).contains(secs)) else {
        return refusal(StatusCode::BAD_REQUEST, "invalid", &format!("`{TTL}` is to be 1 to 21600"));
    };
    let session = slots.session(now.as_second().saturating_add(i64::from(secs)));
    let mut reply = text(StatusCode::OK, "text/plain", session.reveal().clone());
    reply.headers_mut().insert(TTL, HeaderValue::from(secs));
    reply
}

/// Whether a request belongs to a session that is not over.
pub(crate) fn is_in_session(headers: &HeaderMap, slots: &Slots, now: Timestamp) -> bool {
    let shown = headers.get("x-aws-ec2-metadata-token").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let until = shown.split_once('.').and_then(|(until, _)| until.parse().ok());
    until.is_some_and(|until| now.as_second() < until && slots.session(until).ct_eq(shown))
}

/// What the metadata service answers at a path behind `/latest/`; nothing where there is nothing.
pub(crate) fn metadata(path: &str, key: &Key, now: Timestamp) -> Result<Option<Reply>, Failure> {
    let plain = |body: String| Ok(Some(text(StatusCode::OK, "text/plain", body)));
    match path {
        // The SDK for C++ asks without the slash, all others with it.
        "meta-data/iam/security-credentials" | "meta-data/iam/security-credentials/" => plain(ROLE.to_owned()),
        "meta-data/iam/security-credentials/valetkey" => {
            let keys = keys(key)?;
            if key.expiration.duration_since(now) < METADATA_LEAST {
                return Err(Failure::new(Exit::Denied, format!("the credential has less than {} minutes to live, and clients of the metadata service still use it after its end", METADATA_LEAST.as_mins()))
                    .hint("grant at least an hour, or use the container credentials: `valetkey agent env`"));
            }
            Ok(Some(json(
                StatusCode::OK,
                &Credential {
                    code: Some("Success"),
                    r#type: Some("AWS-HMAC"),
                    last_updated: Some(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
                    ..Credential::of(key, keys)
                },
            )))
        }
        // Clients take the region to be all but the last letter.
        "meta-data/placement/availability-zone" => plain(format!("{}a", key.region)),
        "meta-data/placement/region" => plain(key.region.clone()),
        _ => Ok(None),
    }
}
