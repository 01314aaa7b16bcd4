//! The blob service of Azure, with a shared access signature.

use reqwest::Method;
use valetkey_check::{Answer, Attempt, Verb};
use valetkey_core::Secret;
use valetkey_core::nouns::provider::Extra;
use valetkey_core::storage::Storage;

use crate::probe::{BODY, Live, between, code, meaning, place, unstepped};
use crate::web::{Answer as Answered, quoted};

/// The service's version, which is the signatures' (`azure/sas.rs`).
pub(super) const VERSION: &str = "2023-11-03";
/// Names a lease of the check's.
const LEASE: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
/// No tags at all.
const TAGS: &[u8] = b"<?xml version=\"1.0\" encoding=\"utf-8\"?><Tags><TagSet></TagSet></Tags>";

/// One request about a blob, or about the container.
struct Request<'a> {
    method: Method,
    /// With `&` at the end, if there is anything.
    query: &'a str,
    headers: &'a [(&'static str, &'static str)],
    body: &'static [u8],
}

const fn request(method: Method, query: &str) -> Request<'_> {
    Request { method, query, headers: &[], body: b"" }
}

struct Asking<'a> {
    live: &'a Live,
    storage: &'a Storage,
    sas: &'a Secret<String>,
    bucket: &'a str,
}

impl Asking<'_> {
    async fn send(&self, key: Option<&str>, request: Request<'_>) -> Result<(Answer, Answered), String> {
        let Request { method, query, headers, body } = request;
        let mut url = place(self.storage)?;
        let base = url.path().trim_end_matches('/').to_owned();
        let key = key.map(|key| format!("/{}", unstepped(key))).unwrap_or_default();
        url.set_path(&format!("{base}/{}{key}", self.bucket));
        // SECURITY: the address holds the credential from here on; nothing prints it, and failures are told without it.
        url.set_query(Some(&format!("{query}{}", self.sas.reveal())));
        let put = method == Method::PUT;
        let mut request = self.live.http(self.storage)?.request(method, url).header("x-ms-version", VERSION);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if put {
            request = request.header("content-length", body.len()).body(body);
        }
        let answered = self.live.send(self.storage, request).await?;
        let header = answered.headers.get("x-ms-error-code").and_then(|code| code.to_str().ok());
        // Who may not break a lease is refused before it is looked for.
        let answer = if header == Some("LeaseNotPresentWithLeaseOperation") {
            Answer::Allowed
        } else {
            let code = header.map_or_else(|| code(&String::from_utf8_lossy(answered.body.reveal())), quoted);
            meaning(&answered, &code)
        };
        Ok((answer, answered))
    }

    async fn extra(&self, key: &str, extra: Extra) -> Result<Answer, String> {
        let lease = |action| {
            let headers: &[_] = match action {
                "acquire" => &[
                    ("x-ms-lease-action", "acquire"),
                    ("x-ms-lease-duration", "-1"),
                    ("x-ms-proposed-lease-id", LEASE),
                ],
                "release" => &[("x-ms-lease-action", "release"), ("x-ms-lease-id", LEASE)],
                _ => &[("x-ms-lease-action", "break")],
            };
            Request { headers, ..request(Method::PUT, "comp=lease&") }
        };
        let wanted = match extra {
            Extra::Lease => lease("acquire"),
            Extra::BreakLease => lease("break"),
            Extra::Snapshot | Extra::Earlier => return self.snapshot(key, extra).await,
            Extra::Version => return self.version(key).await,
            Extra::Metadata => {
                Request { headers: &[("x-ms-meta-checked", "1")], ..request(Method::PUT, "comp=metadata&") }
            }
            Extra::Retag => Request { body: TAGS, ..request(Method::PUT, "comp=tags&") },
            // Of what is there it changes nothing (Blob Storage REST API, "Undelete Blob").
            Extra::Undelete => request(Method::PUT, "comp=undelete&"),
            Extra::Tags
            | Extra::Untag
            | Extra::Acl
            | Extra::Attributes
            | Extra::Versions
            | Extra::Retention
            | Extra::List
            | Extra::Write => {
                return Err("the storage has no such request".to_owned());
            }
        };
        let (answer, _) = self.send(Some(key), wanted).await?;
        if extra == Extra::Lease && answer == Answer::Allowed {
            self.send(Some(key), lease("release")).await?;
        }
        Ok(answer)
    }

    /// Reads the blob by the name of a version of it: who may read one that way may read each that has a name.
    async fn version(&self, key: &str) -> Result<Answer, String> {
        let (read, answered) = self.send(Some(key), request(Method::GET, "")).await?;
        if read != Answer::Allowed {
            return Err("the blob cannot be read, and so has no version to read".to_owned());
        }
        let name = answered.headers.get("x-ms-version-id").and_then(|name| name.to_str().ok());
        let name = name.filter(|name| is_time(name)).ok_or("the account names no versions")?;
        let query = format!("versionid={}&", name.replace(':', "%3A"));
        Ok(self.send(Some(key), request(Method::GET, &query)).await?.0)
    }

    /// Takes a snapshot, reads it, and deletes it.
    async fn snapshot(&self, key: &str, extra: Extra) -> Result<Answer, String> {
        let (taken, answered) = self.send(Some(key), request(Method::PUT, "comp=snapshot&")).await?;
        if taken != Answer::Allowed {
            return if extra == Extra::Snapshot { Ok(taken) } else { Err("there is no snapshot to read".to_owned()) };
        }
        let name = answered.headers.get("x-ms-snapshot").and_then(|name| name.to_str().ok());
        let name = name.filter(|name| is_time(name)).ok_or("the storage took a snapshot and did not name it")?;
        let query = format!("snapshot={}&", name.replace(':', "%3A"));
        let (read, _) = self.send(Some(key), request(Method::GET, &query)).await?;
        self.send(Some(key), request(Method::DELETE, &query)).await?;
        Ok(if extra == Extra::Snapshot { taken } else { read })
    }
}

/// Whether it is written as the times are that name snapshots and versions.
fn is_time(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-:.".contains(&byte))
}

pub(super) async fn attempt(
    live: &Live,
    storage: &Storage,
    sas: &Secret<String>,
    attempt: Attempt<'_>,
) -> Result<Answer, String> {
    let Attempt { verb, bucket, key } = attempt;
    let asking = Asking { live, storage, sas, bucket: bucket.as_str() };
    let wanted = match verb {
        Verb::Put => Request { headers: &[("x-ms-blob-type", "BlockBlob")], body: BODY, ..request(Method::PUT, "") },
        Verb::Get => request(Method::GET, ""),
        // What the check left of snapshots goes, too.
        Verb::Delete => Request { headers: &[("x-ms-delete-snapshots", "include")], ..request(Method::DELETE, "") },
        Verb::List => return list(&asking, key).await,
        Verb::Parts => return Err("blobs have no uploads that are begun and aborted".to_owned()),
        Verb::Extra(extra) => return asking.extra(key, extra).await,
    };
    Ok(asking.send(Some(key), wanted).await?.0)
}

/// With a delimiter: the signature of a directory lists no deeper.
async fn list(asking: &Asking<'_>, prefix: &str) -> Result<Answer, String> {
    let prefix = prefix.replace('/', "%2F");
    let query = format!("restype=container&comp=list&maxresults=100&delimiter=%2F&prefix={prefix}&");
    let (answer, answered) = asking.send(None, request(Method::GET, &query)).await?;
    if answer != Answer::Allowed {
        return Ok(answer);
    }
    let text = String::from_utf8_lossy(answered.body.reveal());
    if !text.contains("<EnumerationResults") {
        return Err("the storage answered a list with something else".to_owned());
    }
    Ok(Answer::Listed(between(&text, "<Name>", "</Name>")))
}
