//! The XML API of S3 and its kin, Google's among them.

use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder};
use valetkey_check::{Answer, Attempt, Verb};
use valetkey_core::Secret;
use valetkey_core::credential::S3Keys;
use valetkey_core::nouns::provider::Extra;
use valetkey_core::storage::Storage;
use valetkey_sigv4::{SigningKey, Slash, Whole, encode, sha256, sign_whole};

use crate::probe::{BODY, Live, bearer, between, code, meaning, place, sensitive, unstepped};
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
    /// Beside those that every request has.
    pub(super) headers: &'a [(&'static str, &'static str)],
}

/// A date for retention that keeps nothing: whoever may not set any is refused all the same.
const LONG_AGO: &str = "2020-01-01T00:00:00Z";

/// Names and values.
type Pairs = &'static [(&'static str, &'static str)];

/// How one of the extras is asked for, and what an answer that is one has in it.
fn extra(extra: Extra) -> Option<(Method, Pairs, &'static str)> {
    Some(match extra {
        Extra::Tags => (Method::GET, &[("tagging", "")], "<Tagging"),
        Extra::Untag => (Method::DELETE, &[("tagging", "")], ""),
        Extra::Acl => (Method::GET, &[("acl", "")], "<AccessControlPolicy"),
        Extra::Attributes => (Method::GET, &[("attributes", "")], "<GetObjectAttributes"),
        Extra::Versions => (Method::GET, &[("versions", "")], "<ListVersionsResult"),
        Extra::Retention => (Method::PUT, &[], ""),
        Extra::Lease
        | Extra::BreakLease
        | Extra::Snapshot
        | Extra::Earlier
        | Extra::Version
        | Extra::Metadata
        | Extra::Retag
        | Extra::Undelete
        | Extra::List
        | Extra::Write => return None,
    })
}

async fn try_extra(
    live: &Live,
    storage: &Storage,
    proof: &Proof<'_>,
    (wanted, bucket, key): (Extra, &str, &str),
) -> Result<Answer, String> {
    if wanted == Extra::Undelete {
        return restore(live, storage, proof, bucket, key).await;
    }
    let (method, query, shows) = extra(wanted).ok_or("the storage has no such request")?;
    let listed = [query, &[("prefix", key)]].concat();
    let (at, query, headers): (_, _, &[_]) = match wanted {
        Extra::Versions => (None, &*listed, &[]),
        Extra::Attributes => (Some(key), query, &[("x-amz-object-attributes", "ETag")]),
        Extra::Retention => (
            Some(key),
            query,
            &[("x-goog-object-lock-mode", "GOVERNANCE"), ("x-goog-object-lock-retain-until-date", LONG_AGO)],
        ),
        Extra::Tags
        | Extra::Untag
        | Extra::Acl
        | Extra::Lease
        | Extra::BreakLease
        | Extra::Snapshot
        | Extra::Earlier
        | Extra::Version
        | Extra::Metadata
        | Extra::Retag
        | Extra::Undelete
        | Extra::List
        | Extra::Write => (Some(key), query, &[]),
    };
    let body = if method == Method::PUT { BODY } else { b"" };
    let answered = send(live, storage, proof, bucket, Request { method, key: at, query, body, headers }).await?;
    Ok(match told(&answered) {
        Answer::Allowed if !String::from_utf8_lossy(answered.body.reveal()).contains(shows) => {
            return Err("the storage answered something else".to_owned());
        }
        answer => answer,
    })
}

/// Asks Google's JSON API to restore a generation that never was: who may not restore is refused before it is looked for
/// (Cloud Storage JSON API, `Objects: restore`).
async fn restore(live: &Live, storage: &Storage, proof: &Proof<'_>, bucket: &str, key: &str) -> Result<Answer, String> {
    let Proof::Bearer(token) = proof else { return Err("the storage has no such request".to_owned()) };
    let mut url = place(storage)?;
    let mut name = String::new();
    encode(key.as_bytes(), Slash::Encoded, &mut name);
    url.set_path(&format!("{}/storage/v1/b/{bucket}/o/{name}/restore", url.path().trim_end_matches('/')));
    url.set_query(Some("generation=1"));
    let request = live.http(storage)?.request(Method::POST, url).header(AUTHORIZATION, bearer(token)?);
    Ok(match told(&live.send(storage, request.header(CONTENT_LENGTH, 0)).await?) {
        Answer::NotFound => Answer::Allowed,
        answer => answer,
    })
}

pub(super) async fn attempt(
    live: &Live,
    storage: &Storage,
    proof: &Proof<'_>,
    attempt: Attempt<'_>,
) -> Result<Answer, String> {
    let Attempt { verb, bucket, key } = attempt;
    let send = |method, key, query, body| {
        send(live, storage, proof, bucket.as_str(), Request { method, key, query, body, headers: &[] })
    };
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
        Verb::Extra(extra) => return try_extra(live, storage, proof, (extra, bucket.as_str(), key)).await,
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
    let Request { method, key, query, body, headers } = request;
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
    url.set_path(&unstepped(&path));
    url.set_query((!written.is_empty()).then_some(written.as_str()));
    let mut all: HeaderMap =
        headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
    match proof {
        Proof::Signed(keys) => {
            let host = url.host_str().unwrap_or_default();
            let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
            let body_sha256 = sha256(body);
            let key = SigningKey::new(&keys.secret_access_key, live.clock.now(), &storage.region, "s3");
            let mut put = |name, value: &str| {
                let value = HeaderValue::from_str(value).map_err(|_| format!("`{name}` cannot be sent"))?;
                all.insert(name, value);
                Ok::<_, String>(())
            };
            put(HOST, &host)?;
            put(HeaderName::from_static("x-amz-date"), &key.date)?;
            put(HeaderName::from_static("x-amz-content-sha256"), &body_sha256)?;
            all.insert("x-amz-security-token", sensitive(keys.session_token.reveal())?);
            let whole = Whole {
                method: method.as_str(),
                path: &path,
                query: &written,
                headers: &all,
                body_sha256: &body_sha256,
            };
            let signed = sign_whole(&whole, &keys.access_key_id, key).map_err(|_| "a header is not text".to_owned())?;
            all.insert(AUTHORIZATION, sensitive(&signed.authorization)?);
        }
        Proof::Bearer(token) => drop(all.insert(AUTHORIZATION, bearer(token)?)),
    }
    if method == Method::PUT || method == Method::POST {
        all.insert(CONTENT_LENGTH, body.len().into());
    }
    let sent = live.http(storage)?.request(method, url).headers(all);
    Ok(if body.is_empty() { sent } else { sent.body(body) })
}
