//! The XML API of S3 and its kin, Google's among them.

use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH};
use reqwest::{Method, RequestBuilder};
use valetkey_check::{Answer, Attempt, Verb};
use valetkey_core::Secret;
use valetkey_core::credential::S3Keys;
use valetkey_core::storage::Storage;
use valetkey_sigv4::{Signer, Signing, Slash, encode, sha256, sign};

use crate::probe::{BODY, Live, bearer, between, code, meaning, place, sensitive};
use crate::web::Answer as Answered;

/// What proves a request.
pub(super) enum Proof<'a> {
    /// A signature.
    Signed(&'a S3Keys),
    /// A token.
    Bearer(&'a Secret<String>),
}

/// A request, before it is proven.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) key: Option<&'a str>,
    /// In order of the names.
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) body: &'static [u8],
}

pub(super) async fn attempt(
    live: &Live,
    storage: &Storage,
    proof: &Proof<'_>,
    attempt: Attempt<'_>,
) -> Result<Answer, String> {
    let Attempt { verb, bucket, key } = attempt;
    let send =
        |method, key, query, body| send(live, storage, proof, bucket.as_str(), Request { method, key, query, body });
    let answered = match verb {
        Verb::Put => send(Method::PUT, Some(key), &[], BODY).await?,
        Verb::Get => send(Method::GET, Some(key), &[], b"").await?,
        Verb::Delete => send(Method::DELETE, Some(key), &[], b"").await?,
        Verb::List => {
            let query = [("list-type", "2"), ("max-keys", "100"), ("prefix", key)];
            send(Method::GET, None, &query, b"").await?
        }
        Verb::Parts => {
            let begun = send(Method::POST, Some(key), &[("uploads", "")], b"").await?;
            if !begun.status.is_success() {
                return Ok(told(&begun));
            }
            let text = String::from_utf8_lossy(begun.body.reveal()).into_owned();
            let Some(id) = between(&text, "<UploadId>", "</UploadId>").into_iter().next() else {
                return Err("the storage began an upload and did not say its id".to_owned());
            };
            send(Method::DELETE, Some(key), &[("uploadId", &id)], b"").await?
        }
    };
    Ok(match (verb, told(&answered)) {
        (Verb::List, Answer::Allowed) => {
            let text = String::from_utf8_lossy(answered.body.reveal());
            if !text.contains("<ListBucketResult") {
                return Err("the storage answered a list with something else".to_owned());
            }
            Answer::Listed(between(&text, "<Key>", "</Key>"))
        }
        (Verb::Parts, Answer::NotFound) => return Err("an upload that was begun is not there".to_owned()),
        (_, answer) => answer,
    })
}

fn told(answered: &Answered) -> Answer {
    meaning(answered, &code(&String::from_utf8_lossy(answered.body.reveal())))
}

async fn send(
    live: &Live,
    storage: &Storage,
    proof: &Proof<'_>,
    bucket: &str,
    request: Request<'_>,
) -> Result<Answered, String> {
    live.send(storage, proven(live, storage, proof, bucket, request)?).await
}

/// A request with its proof.
pub(super) fn proven(
    live: &Live,
    storage: &Storage,
    proof: &Proof<'_>,
    bucket: &str,
    request: Request<'_>,
) -> Result<RequestBuilder, String> {
    let Request { method, key, query, body } = request;
    let mut url = place(storage)?;
    let mut path = format!("{}/{bucket}", url.path().trim_end_matches('/'));
    if let Some(key) = key {
        path.push('/');
        encode(key.as_bytes(), Slash::Kept, &mut path);
    }
    let mut written = String::new();
    for (name, value) in query {
        if !written.is_empty() {
            written.push('&');
        }
        written.push_str(name);
        written.push('=');
        encode(value.as_bytes(), Slash::Encoded, &mut written);
    }
    url.set_path(&path);
    url.set_query((!written.is_empty()).then_some(written.as_str()));
    let host = url.host_str().unwrap_or_default();
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let mut sent = live.http(storage)?.request(method.clone(), url.clone());
    match proof {
        Proof::Signed(keys) => {
            let body_sha256 = sha256(body);
            let signing = Signing {
                method: method.as_str(),
                host: &host,
                path: &path,
                query: &written,
                header: ("x-amz-content-sha256", &body_sha256),
                body_sha256: &body_sha256,
                region: &storage.region,
                service: "s3",
            };
            let who = Signer {
                access_key_id: &keys.access_key_id,
                secret_access_key: &keys.secret_access_key,
                session_token: Some(&keys.session_token),
            };
            let signed = sign(&signing, &who, live.clock.now());
            sent = sent
                .header("x-amz-date", signed.date)
                .header("x-amz-content-sha256", body_sha256)
                .header("x-amz-security-token", sensitive(keys.session_token.reveal())?)
                .header(AUTHORIZATION, sensitive(&signed.authorization)?);
        }
        Proof::Bearer(token) => sent = sent.header(AUTHORIZATION, bearer(token)?),
    }
    if method == Method::PUT || method == Method::POST {
        sent = sent.header(CONTENT_LENGTH, body.len()).body(body);
    }
    Ok(sent)
}
