//! The list of datasets at stores that somebody else runs: the server lists there with what it vends, and the URLs in the answer
//! are signed with it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aws_lc_rs::{digest, hmac};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::process::{Server, answered, valetkey};

const PARENT: &str = "0123456789abcdef0123456789abcdef";
const LISTING: &str = "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>\
    <Contents><Key>data%2F2026-01-01</Key><LastModified>2026-01-01T00:00:00Z</LastModified><Size>3</Size></Contents>\
    <Contents><Key>data%2F2026-01-02</Key><LastModified>2026-01-02T00:00:00Z</LastModified><Size>15</Size></Contents>\
    </ListBucketResult>";

/// The secret that goes with a session token: STS gave it, or it is made of R2's token.
fn secret_of(token: &str) -> Option<String> {
    if token == "given-token" {
        return Some("given-secret".to_owned());
    }
    let text = String::from_utf8(BASE64.decode(token.as_bytes()).ok()?).ok()?;
    Some(HEXLOWER.encode(digest::digest(&digest::SHA256, text.strip_prefix("jwt/")?.as_bytes()).as_ref()))
}

/// What a session token of R2 says.
fn claims_of(token: &str) -> Value {
    let text = String::from_utf8(BASE64.decode(token.as_bytes()).unwrap()).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(text.split('.').nth(1).unwrap().as_bytes()).unwrap()).unwrap()
}

fn param(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    percent_encoding::percent_decode_str(value).decode_utf8().ok().map(Into::into)
}

/// Whether a pre-signed URL's signature is right (Signature Version 4, query parameters).
fn is_signed(path: &str, query: &str, host: &str) -> Option<bool> {
    let (signed, signature) = query.split_once("&X-Amz-Signature=")?;
    let secret = secret_of(&param(query, "X-Amz-Security-Token")?)?;
    let (date, credential) = (param(query, "X-Amz-Date")?, param(query, "X-Amz-Credential")?);
    let (_, scope) = credential.split_once('/')?;
    let sign = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in scope.split('/') {
        key = sign(&key, part).as_ref().to_vec();
    }
    let canonical = format!("GET\n{path}\n{signed}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
    let hashed = HEXLOWER.encode(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashed}");
    Some(HEXLOWER.encode(sign(&key, &text).as_ref()) == signature)
}

/// An STS and an S3 in one; R2 needs no STS. Remembers the session tokens that it was asked to list with.
struct Store {
    address: SocketAddr,
    listed: Arc<Mutex<Vec<String>>>,
}

impl Store {
    async fn start() -> Self {
        let listed: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&listed);
        let router = axum::Router::new().fallback(move |method: Method, uri: Uri, headers: HeaderMap| {
            let kept = Arc::clone(&kept);
            async move { answer(&method, &uri, &headers, &kept) }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
        Self { address, listed }
    }
}

#[expect(clippy::disallowed_methods, reason = "the stub's clock is the machine's, as the server's is")]
fn answer(method: &Method, uri: &Uri, headers: &HeaderMap, listed: &Mutex<Vec<String>>) -> (StatusCode, String) {
    let header = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let query = uri.query().unwrap_or_default();
    if *method == Method::POST {
        let end = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + 3590).unwrap();
        let given = format!(
            "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>given-secret\
             </SecretAccessKey><SessionToken>given-token</SessionToken><Expiration>{end}</Expiration></Credentials>\
             </AssumeRoleResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></AssumeRoleResponse>"
        );
        return (StatusCode::OK, given);
    }
    if query.contains("list-type=2") {
        assert_eq!(param(query, "prefix").as_deref(), Some("data/"), "{query}");
        assert!(header("authorization").starts_with("AWS4-HMAC-SHA256 "), "{headers:?}");
        listed.lock().unwrap().push(header("x-amz-security-token"));
        return (StatusCode::OK, LISTING.to_owned());
    }
    if is_signed(uri.path(), query, &header("host")) == Some(true) {
        return (StatusCode::OK, format!("of {}", uri.path()));
    }
    (StatusCode::FORBIDDEN, "<Error><Code>SignatureDoesNotMatch</Code></Error>".to_owned())
}

/// A storage of a kind at the stub.
fn storage(kind: &str, at: SocketAddr) -> Value {
    let common = json!({"name": "far", "kind": kind, "endpoint": format!("http://{at}"), "region": "auto"});
    let own = if kind == "sts" {
        json!({
            "settings": {
                "sts_endpoint": format!("http://{at}"), "region": "eu-west-1", "role_arn": "arn:aws:iam::123456789012:role/one",
            },
            "secrets": {"access_key_id": "AKIDPARENT", "secret_access_key": "parent-secret"},
        })
    } else {
        json!({
            "settings": {"account_id": PARENT, "host": at.to_string(), "parent_access_key_id": PARENT},
            "secrets": {"secret_access_key": PARENT.repeat(2)},
        })
    };
    let mut both = common.as_object().unwrap().clone();
    both.extend(own.as_object().unwrap().clone());
    both.into()
}

async fn urls_are_signed_with_what_is_vended(kind: &str) {
    let store = Store::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let said = answered(&mut valetkey(&["server", "init", "--data-dir", path, "--output", "json"]));
    let run = [
        "server",
        "run",
        "--data-dir",
        path,
        "-o",
        "json",
        "--api-listen",
        "127.0.0.1:0",
        "--s3-listen",
        "127.0.0.1:0",
    ];
    let server = Server::start(&mut valetkey(&run));
    let operator = said["operator_token"].as_str().unwrap().to_owned();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let made = async |what: &str, body: Value| {
        let url = format!("{}/api/v1/{what}", server.api());
        let answer = http.post(url).bearer_auth(&operator).json(&body).send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_eq!(status, 201, "{what}: {text}");
        serde_json::from_str::<Value>(&text).unwrap()
    };
    made("storages", storage(kind, store.address)).await;
    made("buckets", json!({"bucket": "lake", "storage": "far"})).await;
    let dataset =
        json!({"name": "daily", "topic": "t", "bucket": "lake", "prefix": "data", "dictionary": "data/columns.md"});
    made("datasets", dataset).await;
    let mut tokens = Vec::new();
    for account in ["acme", "other"] {
        made("accounts", json!({"name": account})).await;
        let token = made("tokens", json!({"account": account, "caller": "ada"})).await["token"].clone();
        tokens.push(token.as_str().unwrap().to_owned());
    }
    made("grants", json!({"account": "acme", "name": "daily", "to": null, "dataset": "daily"})).await;
    let option = async |token: &str| {
        let answer = http.get(format!("{}/v1/datasets", server.api())).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        let list: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        list[0]["options"][0].clone()
    };
    // Who may not open it has nothing of it, and nobody is asked for that.
    let closed = option(&tokens[1]).await;
    assert!(
        closed["dataset_url"].is_null() && closed["size"].is_null() && closed["dictionary_url"].is_null(),
        "{closed}"
    );
    assert_eq!(*store.listed.lock().unwrap(), Vec::<String>::new());
    let open = option(&tokens[0]).await;
    assert_eq!(open["size"], 15, "{open}");
    let listed = store.listed.lock().unwrap().clone();
    assert_eq!(listed.len(), 1);
    assert!(secret_of(&listed[0]).is_some(), "listed with what was vended: {listed:?}");
    for (field, key) in [("dataset_url", "data/2026-01-02"), ("dictionary_url", "data/columns.md")] {
        let url = open[field].as_str().unwrap();
        let got = http.get(url).send().await.unwrap();
        assert_eq!((got.status().as_u16(), got.text().await.unwrap()), (200, format!("of /lake/{key}")), "{url}");
        let other = url.replacen(key, "data/2026-01-01", 1);
        assert_eq!(http.get(other).send().await.unwrap().status().as_u16(), 403);
        if kind == "r2" {
            // Who has the URL has its whole credential: that opens this object alone.
            let paths = &claims_of(&param(url, "X-Amz-Security-Token").unwrap())["paths"];
            assert_eq!(paths["prefixPaths"], json!([]), "{paths}");
            assert_eq!(paths["objectPaths"], json!([key]), "{paths}");
        }
    }
    // Known now: nothing is listed once more.
    assert_eq!(option(&tokens[0]).await["size"], 15);
    assert_eq!(store.listed.lock().unwrap().len(), 1);
    let log = server.stop();
    assert!(!log.contains("parent-secret") && !log.contains("given-"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn urls_of_datasets_at_sts_are_signed_with_what_is_vended() {
    urls_are_signed_with_what_is_vended("sts").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn urls_of_datasets_at_r2_are_signed_with_what_is_vended_and_open_nothing_more() {
    urls_are_signed_with_what_is_vended("r2").await;
}
