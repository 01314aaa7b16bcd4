//! The metadata server of Google's Compute Engine.

use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::agent::forms::{Reply, json, other_kind, status, text, words};
use crate::cli::creds::key::{Key, Material};
use crate::cli::failure::Failure;

const FLAVOR: &str = "metadata-flavor";
/// Libraries show an address, and send it back. It is nobody's: that domain never exists (RFC 6761).
const EMAIL: &str = "agent@valetkey.invalid";
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";
/// Libraries want a project's name before they do anything; nothing of it is checked with a token like ours.
const PROJECT: &str = "valetkey";

#[derive(Serialize)]
struct Granted<'a> {
    access_token: &'a str,
    expires_in: i64,
    token_type: &'static str,
}

#[derive(Serialize)]
struct Account {
    aliases: [&'static str; 1],
    email: &'static str,
    scopes: [&'static str; 1],
}

#[derive(Serialize)]
struct Refusal<'a> {
    error: &'a str,
    error_description: &'a str,
}

/// With the header by which libraries know the server.
fn flavored(mut reply: Reply) -> Reply {
    reply.headers_mut().insert(FLAVOR, HeaderValue::from_static("Google"));
    reply
}

/// A refusal.
pub(crate) fn refusal(status: StatusCode, code: &str, message: &str) -> Reply {
    flavored(json(status, &Refusal { error: code, error_description: message }))
}

/// A failure.
pub(crate) fn failure(failure: &Failure) -> Reply {
    refusal(status(failure), &failure.code(), &words(failure))
}

/// Whether a request has the header that a page in a browser cannot send unasked.
pub(crate) fn is_flavored(headers: &HeaderMap) -> bool {
    headers.get(FLAVOR).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"google"))
}

/// What needs no credential; nothing where there is none of it.
pub(crate) fn about(path: &str, query: &str) -> Option<Reply> {
    let plain = |body: &'static str| Some(flavored(text(StatusCode::OK, "application/text", body)));
    let is_recursive = query.split('&').any(|pair| pair.eq_ignore_ascii_case("recursive=true"));
    let account = || flavored(json(StatusCode::OK, &Account { aliases: ["default"], email: EMAIL, scopes: [SCOPE] }));
    match path {
        "" => plain("computeMetadata/\n"),
        "computeMetadata/v1" | "computeMetadata/v1/" => plain("instance/\nproject/\n"),
        "computeMetadata/v1/project/project-id" => plain(PROJECT),
        "computeMetadata/v1/universe/universe-domain" | "computeMetadata/v1/universe/universe_domain" => {
            plain("googleapis.com")
        }
        "computeMetadata/v1/instance/service-accounts/" => plain("default/\n"),
        path => match of_account(path)? {
            "" if is_recursive => Some(account()),
            "" => plain("aliases\nemail\nscopes\ntoken\n"),
            "email" => plain(EMAIL),
            "scopes" => plain(SCOPE),
            _ => None,
        },
    }
}

/// What is asked of the one service account.
fn of_account(path: &str) -> Option<&str> {
    let (account, rest) = path.strip_prefix("computeMetadata/v1/instance/service-accounts/")?.split_once('/')?;
    matches!(account, "default" | EMAIL | "agent%40valetkey.invalid").then_some(rest)
}

/// Whether the path is that of a token.
pub(crate) fn is_token(path: &str) -> bool {
    of_account(path) == Some("token")
}

/// A token.
pub(crate) fn token(key: &Key, now: Timestamp) -> Result<Reply, Failure> {
    match &key.material {
        Material::Google(token) => {
            let left = key.expiration.duration_since(now).as_secs();
            let token = Granted { access_token: token.reveal(), expires_in: left, token_type: "Bearer" };
            Ok(flavored(json(StatusCode::OK, &token)))
        }
        other => Err(other_kind(other.as_str(), "a Google access token")),
    }
}
