//! `POST …/tables/{table}/sign`: signs one request of S3 at a time, for clients that hold no credential.
//!
//! SECURITY: what is signed is built again from what was understood, and has to be what was sent: another host or bucket, a key outside of
//! the table's directory, or one that could be read in two ways, another method than `GET` and `HEAD`, and parameters and `x-amz-` headers
//! that are not known here are refused. It is signed with a credential that was vended for the caller and reads this table alone, so that
//! the storage refuses what slipped through. The answer has its session token, which opens nothing without the secret.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::{AUTHORIZATION, CACHE_CONTROL, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use percent_encoding::percent_decode;
use serde::{Deserialize, Serialize};
use valetkey_core::name::shortened;
use valetkey_core::nouns::table::SharedTable;
use valetkey_core::policy::{self, Permit};
use valetkey_core::scope::Action;
use valetkey_core::storage::Storage;
use valetkey_core::vending::Vended;
use valetkey_core::{Error, Kind};
use valetkey_sigv4::{
    CONTENT_SHA256, Query, SigningKey, Slash, Whole, decode, encode, encode_path, sha256, sign_whole,
};

use super::kept::is_good;
use super::state::Iceberg;
use crate::edge::{Call, Reply, json};

/// Asks for an object's checksum.
const CHECKSUM: &str = "x-amz-checksum-mode";
/// The longest URI, in bytes: a key has 1024 at most, of which each may be three.
const LONGEST: usize = 8192;

// Unknown fields are refused: one could mean another request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    region: String,
    method: String,
    uri: String,
    headers: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    body: Option<String>,
    /// The client's own notes.
    #[serde(default, rename = "properties")]
    _properties: Option<BTreeMap<String, String>>,
    #[serde(default)]
    provider: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    uri: String,
    headers: BTreeMap<&'static str, [String; 1]>,
}

/// A request of S3 that was understood.
struct Request {
    method: &'static str,
    /// What is in front of the path: scheme, host and port.
    origin: String,
    host: String,
    path: String,
    query: String,
    /// Whether the storage is to tell an object's checksum.
    checksum: bool,
}

fn refused(field: &'static str, said: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Kind::Forbidden, said).at(field)
}

/// `POST …/tables/{table}/sign`.
pub(super) async fn sign(iceberg: Arc<Iceberg>, call: Call) -> Result<Reply, Error> {
    let asked: Asked = json(&call.body)?;
    let table = iceberg.table(&call).await?;
    let ask = iceberg.ask(&table)?;
    let snapshot = iceberg.shared.vending.directory.account(call.caller.account, call.now).await?;
    let permit = policy::decide(&snapshot, &call.caller, &ask, &call.facts(), call.now)?;
    let storage = permit.storage();
    if !storage.kind.signs_requests() {
        return Err(Error::new(Kind::Unsupported, "requests to the storage of this table are not signed one by one"));
    }
    let request = understood(&asked, storage, &table, &permit)?;
    let slot = iceberg.kept.slot((call.caller.token, table.id), call.now);
    let mut kept = slot.lock().await;
    let vended = match kept.take().filter(|vended| is_good(&*iceberg.shared.leases, vended, &permit, call.now)) {
        Some(vended) => vended,
        None => iceberg.shared.vending.vend_knowing(&call.caller, &ask, &call.facts()).await?,
    };
    let vended = kept.insert(vended);
    if vended.storage.id != storage.id || vended.storage.endpoint != storage.endpoint {
        return Err(Error::new(Kind::Unavailable, "the table is moving; try again").retry_after(1));
    }
    let answer = signed(request, vended, iceberg.shared.vending.now())?;
    // As the specification has it: only this client keeps it.
    Ok(Reply::json(&answer)?.header(CACHE_CONTROL, HeaderValue::from_static("private")))
}

/// Reads the request that is to be signed.
fn understood(asked: &Asked, storage: &Storage, table: &SharedTable, permit: &Permit) -> Result<Request, Error> {
    let Asked { region, method, uri, headers, body, _properties: _, provider } = asked;
    let method = match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        other => {
            let said = format!("`{}` is not signed; a shared table is read: `GET` and `HEAD` are", shortened(other));
            return Err(refused("method", said));
        }
    };
    if **region != *storage.region {
        return Err(refused("region", format!("the region of this table's storage is `{}`", storage.region)));
    }
    if body.as_ref().is_some_and(|body| !body.is_empty()) {
        return Err(refused("body", "a request with a body is not signed"));
    }
    if provider.as_ref().is_some_and(|provider| provider != "s3") {
        return Err(refused("provider", "the provider of this table's storage is `s3`"));
    }
    if uri.len() > LONGEST {
        return Err(refused("uri", format!("a URI has at most {LONGEST} bytes")));
    }
    let elsewhere = || refused("uri", "it is not a URI of this table's bucket, with the bucket in the path");
    let endpoint = storage.endpoint.trim_end_matches('/');
    let (scheme, authority) = endpoint.split_once("://").ok_or_else(elsewhere)?;
    let (host, base) = authority.split_once('/').unwrap_or((authority, ""));
    // SECURITY: byte for byte; what comes behind the endpoint and the bucket is a slash or the query, or it is another host or bucket.
    let rest = uri.strip_prefix(endpoint).and_then(|rest| rest.strip_prefix('/')).ok_or_else(elsewhere)?;
    let rest = rest.strip_prefix(table.bucket.as_str()).ok_or_else(elsewhere)?;
    let (key, query) = rest.split_once('?').map_or((rest, None), |(key, query)| (key, Some(query)));
    let mut path = if base.is_empty() { format!("/{}", table.bucket) } else { format!("/{base}/{}", table.bucket) };
    let query = match key {
        "" | "/" => {
            path.push_str(key);
            listing(method, query, table)?
        }
        _ => {
            let key = key.strip_prefix('/').ok_or_else(elsewhere)?;
            object(key, table, permit)?;
            path.push('/');
            path.push_str(key);
            if query.is_some_and(|query| !query.is_empty()) {
                return Err(refused("uri", "parameters of an object are not signed"));
            }
            String::new()
        }
    };
    let origin = format!("{scheme}://{host}");
    Ok(Request { method, origin, host: host.to_owned(), path, query, checksum: checksum(headers, host)? })
}

/// Looks at an object's key, as it stands in a path.
fn object(key: &str, table: &SharedTable, permit: &Permit) -> Result<(), Error> {
    let unclear = || refused("uri", "its path is not written as Signature Version 4 writes it");
    let plain = decode(key).map_err(|_| unclear())?;
    if encode_path(&plain) != key {
        return Err(unclear());
    }
    if !is_inside(&plain, table) || !permit.rights().covers(table.bucket.as_str(), plain.as_bytes(), Action::GetObject)
    {
        return Err(refused("uri", "it names no object in the directory of this table"));
    }
    Ok(())
}

/// Whether a key is below the table's directory, however often it is decoded. Iceberg itself writes encoded values into keys, so that a key
/// with `%` may be one that is meant.
fn is_inside(key: &str, table: &SharedTable) -> bool {
    let Some(below) = key.strip_prefix(table.root.as_str()).and_then(|rest| rest.strip_prefix('/')) else {
        return false;
    };
    let mut read = below.as_bytes().to_vec();
    // Each reading is shorter than the one before, or the last.
    loop {
        let odd = |segment: &[u8]| matches!(segment, b"" | b"." | b"..");
        if read.split(|byte| *byte == b'/').any(odd) || read.iter().any(|byte| matches!(byte, b'\\' | 0..=0x1f | 0x7f))
        {
            return false;
        }
        let again: Vec<u8> = percent_decode(&read).collect();
        if again == read {
            return true;
        }
        read = again;
    }
}

/// Reads the parameters of a listing, and writes them as they are signed.
fn listing(method: &str, query: Option<&str>, table: &SharedTable) -> Result<String, Error> {
    const KNOWN: [&str; 8] = [
        "continuation-token",
        "delimiter",
        "encoding-type",
        "fetch-owner",
        "list-type",
        "max-keys",
        "prefix",
        "start-after",
    ];
    let query = Query::parse(query).map_err(|_| refused("uri", "its query cannot be decoded"))?;
    if method != "GET" || query.once("list-type") != Some("2") {
        return Err(refused("uri", "of a bucket only `GET` with `list-type=2` is signed"));
    }
    if let Some((name, _)) = query.iter().find(|(name, _)| !KNOWN.contains(name) || query.once(name).is_none()) {
        let said = format!("`{}` is not a parameter of a listing that is signed, or is there twice", shortened(name));
        return Err(refused("uri", said));
    }
    let prefix = query.once("prefix").unwrap_or_default();
    // The directory itself with its slash, or what is below it.
    let inside = prefix.strip_suffix('/').is_some_and(|whole| whole == table.root.as_str())
        || is_inside(prefix.strip_suffix('/').unwrap_or(prefix), table);
    if !inside {
        return Err(refused("uri", "`prefix` has to be in the directory of this table"));
    }
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (name, value) in query.iter() {
        let (mut plain, mut written) = (String::new(), String::new());
        encode(name.as_bytes(), Slash::Encoded, &mut plain);
        encode(value.as_bytes(), Slash::Encoded, &mut written);
        pairs.push((plain, written));
    }
    pairs.sort_unstable();
    Ok(pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&"))
}

/// Whether the one `x-amz-` header is there that is signed along. Headers of other names are left as they are: they say nothing of what is
/// read.
fn checksum(headers: &BTreeMap<String, Vec<String>>, host: &str) -> Result<bool, Error> {
    let mut checksum = false;
    for (name, values) in headers {
        let (name, value) = (name.to_ascii_lowercase(), values.join(","));
        let odd = |said: &str| refused("headers", format!("`{}`: {said}", shortened(&name)));
        match name.as_str() {
            "host" if value != host => return Err(odd("it is not the host of this table's storage")),
            CHECKSUM if value == "ENABLED" => checksum = true,
            // Ours counts.
            "x-amz-date" => {}
            CONTENT_SHA256 if value == sha256(b"") || value == "UNSIGNED-PAYLOAD" => {}
            "authorization" | "content-md5" | "transfer-encoding" => return Err(odd("it is not signed")),
            "content-length" if value != "0" => return Err(odd("a request with a body is not signed")),
            other if other.starts_with("x-amz-") => return Err(odd("this header, or its value, is not signed")),
            _ => {}
        }
    }
    Ok(checksum)
}

fn signed(request: Request, vended: &Vended, now: Timestamp) -> Result<Answer, Error> {
    let Request { method, origin, host, path, query, checksum } = request;
    let keys = vended.credential.s3()?;
    let nothing = sha256(b"");
    let key = SigningKey::new(&keys.secret_access_key, now, &vended.storage.region, "s3");
    let written = |value: &str| {
        HeaderValue::from_str(value).map_err(|error| Error::internal("a value is no header").caused_by(error))
    };
    let mut headers = HeaderMap::new();
    headers.insert(HOST, written(&host)?);
    headers.insert(HeaderName::from_static(CONTENT_SHA256), written(&nothing)?);
    headers.insert(HeaderName::from_static("x-amz-date"), written(&key.date)?);
    headers.insert(HeaderName::from_static("x-amz-security-token"), written(keys.session_token.reveal())?);
    if checksum {
        headers.insert(HeaderName::from_static(CHECKSUM), HeaderValue::from_static("ENABLED"));
    }
    let mut told = BTreeMap::from([
        (CONTENT_SHA256, [nothing.clone()]),
        ("x-amz-date", [key.date.clone()]),
        ("x-amz-security-token", [keys.session_token.reveal().clone()]),
    ]);
    let whole = Whole { method, path: &path, query: &query, headers: &headers, body_sha256: &nothing };
    let proof = sign_whole(&whole, &keys.access_key_id, key);
    let proof = proof.map_err(|_| Error::internal("a request could not be signed"))?;
    told.insert(AUTHORIZATION.as_str(), [proof.authorization]);
    let mark = if query.is_empty() { "" } else { "?" };
    Ok(Answer { uri: format!("{origin}{path}{mark}{query}"), headers: told })
}
