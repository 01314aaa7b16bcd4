//! The blob service of Azure, with a shared access signature.

use reqwest::Method;
use valetkey_check::{Answer, Attempt, Verb};
use valetkey_core::Secret;
use valetkey_core::storage::Storage;

use crate::probe::{BODY, Live, between, code, meaning, place};
use crate::web::quoted;

/// The service's version, which is the signatures' (`azure/sas.rs`).
const VERSION: &str = "2023-11-03";

pub(super) async fn attempt(
    live: &Live,
    storage: &Storage,
    sas: &Secret<String>,
    attempt: Attempt<'_>,
) -> Result<Answer, String> {
    let Attempt { verb, bucket, key } = attempt;
    let mut url = place(storage)?;
    let base = url.path().trim_end_matches('/').to_owned();
    let (method, query) = match verb {
        Verb::Put => (Method::PUT, String::new()),
        Verb::Get => (Method::GET, String::new()),
        Verb::Delete => (Method::DELETE, String::new()),
        // With a delimiter: the signature of a directory lists no deeper.
        Verb::List => {
            let prefix = key.replace('/', "%2F");
            (Method::GET, format!("restype=container&comp=list&maxresults=100&delimiter=%2F&prefix={prefix}&"))
        }
        Verb::Parts => return Err("blobs have no uploads that are begun and aborted".to_owned()),
    };
    if verb == Verb::List {
        url.set_path(&format!("{base}/{bucket}"));
    } else {
        url.set_path(&format!("{base}/{bucket}/{key}"));
    }
    // SECURITY: the address holds the credential from here on; nothing prints it, and failures are told without it.
    url.set_query(Some(&format!("{query}{}", sas.reveal())));
    let mut request = live.http(storage)?.request(method, url).header("x-ms-version", VERSION);
    if verb == Verb::Put {
        request = request.header("x-ms-blob-type", "BlockBlob").body(BODY);
    }
    let answered = live.send(storage, request).await?;
    let text = String::from_utf8_lossy(answered.body.reveal());
    let header = answered.headers.get("x-ms-error-code").and_then(|code| code.to_str().ok());
    let code = header.map_or_else(|| code(&text), quoted);
    Ok(match (verb, meaning(&answered, &code)) {
        (Verb::List, Answer::Allowed) => {
            if !text.contains("<EnumerationResults") {
                return Err("the storage answered a list with something else".to_owned());
            }
            Answer::Listed(between(&text, "<Name>", "</Name>"))
        }
        (_, answer) => answer,
    })
}
