//! The check's own S3 client: one signed request at a time, so that it can also send wrong ones.

use anyhow::Context as _;
use http::{HeaderValue, Method, Request};
use reqsign_aws_v4::{Credential, RequestSigner};
use reqsign_core::{Context, SignRequest};
use valetkey_core::Secret;

/// Vended keys.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: Secret<String>,
    pub(super) session_token: Secret<String>,
}

/// What the endpoint answered: the status, S3's code if it refused, and the body.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) body: Vec<u8>,
}

/// A request to send, and what to spoil after signing it.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// Path and query, encoded.
    pub(super) target: String,
    pub(super) body: &'a [u8],
    /// Sent instead of the target that was signed.
    pub(super) sent_target: Option<String>,
}

impl<'a> Call<'a> {
    pub(super) fn new(method: Method, target: impl Into<String>) -> Self {
        Self { method, target: target.into(), body: &[], sent_target: None }
    }

    pub(super) fn body(mut self, body: &'a [u8]) -> Self {
        self.body = body;
        self
    }

    pub(super) fn sent_to(mut self, target: impl Into<String>) -> Self {
        self.sent_target = Some(target.into());
        self
    }
}

/// Signs a call with the keys and sends it.
pub(super) async fn send(
    http: &reqwest::Client,
    endpoint: &str,
    keys: &Keys,
    call: Call<'_>,
) -> anyhow::Result<Answer> {
    let credential = Credential {
        access_key_id: keys.access_key_id.clone(),
        secret_access_key: keys.secret_access_key.reveal().clone(),
        session_token: Some(keys.session_token.reveal().clone()),
        ..Credential::default()
    };
    let mut request = Request::builder().method(call.method).uri(format!("{endpoint}{}", call.target)).body(())?;
    request.headers_mut().insert("x-amz-content-sha256", HeaderValue::from_static("UNSIGNED-PAYLOAD"));
    let (mut parts, ()) = request.into_parts();
    RequestSigner::new("s3", "auto")
        .sign_request(&Context::new(), &mut parts, Some(&credential), None)
        .await
        .context("a request could not be signed")?;
    let url = call.sent_target.map_or_else(|| parts.uri.to_string(), |target| format!("{endpoint}{target}"));
    let response = http.request(parts.method, url).headers(parts.headers).body(call.body.to_vec()).send().await?;
    let status = response.status().as_u16();
    let body = response.bytes().await?.to_vec();
    let text = String::from_utf8_lossy(&body);
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map_or("", |(code, _)| code);
    Ok(Answer { status, code: code.to_owned(), body: body.clone() })
}
