//! R2 by published vectors, by an evaluator of its own rules, and against a stub of the API.

use std::sync::{LazyLock, Mutex};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use proptest::prelude::*;
use serde_json::{Value, json};
use valetkey_core::name::BucketName;
use valetkey_core::scope::Listing;
use valetkey_core::storage::Revocability;
use valetkey_testkit::clock::FixedClock;

use super::*;
use crate::upstream::SessionName;
use crate::web::stub::{Reply, Stub};

const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";
const V1: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJidWNrZXQiOiJteS1idWNrZXQiLCJzY29wZSI6Im9iamVjdC1yZWFkLW9ubHkiLCJzdWIiOiIwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZiIsImlzcyI6IjExMTEyMjIyMzMzMzQ0NDQ1NTU1NjY2Njc3Nzc4ODg4IiwiYXVkIjoiMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYucjIuY2xvdWRmbGFyZXN0b3JhZ2UuY29tIiwiaWF0IjoxNzY3MjI1NjAwLCJleHAiOjE3NjcyMjY1MDB9.kie-dMnMxpg27h9Q_dPnKpRsTpO7vW5rMVHmjuahQKg";
const V1_TOKEN: &str = "and0L2V5SmhiR2NpT2lKSVV6STFOaUlzSW5SNWNDSTZJa3BYVkNKOS5leUppZFdOclpYUWlPaUp0ZVMxaWRXTnJaWFFpTENKelkyOXdaU0k2SW05aWFtVmpkQzF5WldGa0xXOXViSGtpTENKemRXSWlPaUl3TVRJek5EVTJOemc1WVdKalpHVm1NREV5TXpRMU5qYzRPV0ZpWTJSbFppSXNJbWx6Y3lJNklqRXhNVEV5TWpJeU16TXpNelEwTkRRMU5UVTFOalkyTmpjM056YzRPRGc0SWl3aVlYVmtJam9pTURFeU16UTFOamM0T1dGaVkyUmxaakF4TWpNME5UWTNPRGxoWW1Oa1pXWXVjakl1WTJ4dmRXUm1iR0Z5WlhOMGIzSmhaMlV1WTI5dElpd2lhV0YwSWpveE56WTNNakkxTmpBd0xDSmxlSEFpT2pFM05qY3lNalkxTURCOS5raWUtZE1uTXhwZzI3aDlRX2RQbktwUnNUcE83dlc1ck1WSG1qdWFoUUtn";
const V2_TOKEN: &str = "and0L2V5SmhiR2NpT2lKSVV6STFOaUlzSW5SNWNDSTZJa3BYVkNKOS5leUppZFdOclpYUWlPaUowWlc1aGJuUXRaR0YwWVNJc0luTmpiM0JsSWpvaWIySnFaV04wTFhKbFlXUXRkM0pwZEdVaUxDSmhZM1JwYjI1eklqcGJJa2RsZEU5aWFtVmpkQ0lzSWtobFlXUlBZbXBsWTNRaUxDSlFkWFJQWW1wbFkzUWlYU3dpY0dGMGFITWlPbnNpY0hKbFptbDRVR0YwYUhNaU9sc2lkWEJzYjJGa2N5OTFjMlZ5TFRFeU15OGlMQ0xtbDZYbW5Ld3ZJbDBzSW05aWFtVmpkRkJoZEdoeklqcGJJbk5vWVhKbFpDOXRZVzVwWm1WemRDNXFjMjl1SWwxOUxDSnpkV0lpT2lJd01USXpORFUyTnpnNVlXSmpaR1ZtTURFeU16UTFOamM0T1dGaVkyUmxaaUlzSW1semN5STZJbUZoWVdGaVltSmlZMk5qWTJSa1pHUmxaV1ZsWm1abVpqQXdNREF4TVRFeElpd2lZWFZrSWpvaU1ERXlNelExTmpjNE9XRmlZMlJsWmpBeE1qTTBOVFkzT0RsaFltTmtaV1l1WlhVdWNqSXVZMnh2ZFdSbWJHRnlaWE4wYjNKaFoyVXVZMjl0SWl3aWFXRjBJam94TnpZM01qSTFOakF3TENKbGVIQWlPakUzTmpjNE16QTBNREI5LmlFZ2JEV0dMYlhBSE5EeE9VTHN3UGoxYzFlcDY1YUswc1N0amthaTFzdjQ=";

fn settings(more: &Value) -> Settings {
    let mut all = json!({"account_id": ACCOUNT, "parent_access_key_id": "11112222333344445555666677778888"});
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

fn local(more: &Value) -> R2 {
    let secret = "3ddacd062599692f7934220fc14be6fc29e098f16dd569431cb210c65a8a7d81";
    let secrets = Secrets::parse(&Secret::new(format!(r#"{{"secret_access_key":"{secret}"}}"#))).unwrap();
    R2::new(settings(more), secrets, reqwest::Client::new(), Arc::new(FixedClock::default())).unwrap()
}

fn scope(bucket: &str, paths: Paths, actions: Actions) -> Rights {
    Rights::of(BucketName::parse(bucket).unwrap(), paths, actions).unwrap()
}

async fn fetch(r2: &R2, scope: &Rights, secs: u32) -> Result<Fetched, Error> {
    let session = SessionName::of("clr_1");
    let now = "2026-01-01T00:00:00.9Z".parse().unwrap();
    r2.fetch(&Wish { rights: scope, lifetime: Lifetime::secs(secs), session: &session, now }).await
}

fn keys(fetched: &Fetched) -> (&str, &str, &str, String) {
    let keys = fetched.credential.s3().unwrap();
    (&keys.access_key_id, keys.secret_access_key.reveal(), keys.session_token.reveal(), keys.expiration.to_string())
}

#[tokio::test]
async fn the_first_vector_comes_out_byte_for_byte() {
    let fetched = fetch(&local(&json!({})), &scope("my-bucket", Paths::Whole, Actions::READ), 900).await.unwrap();
    assert_eq!(
        keys(&fetched),
        (
            "11112222333344445555666677778888",
            "9188921ac6200cc73048aa4c74954c52125c26dba17f93ec25d4c7b44bdeb650",
            V1_TOKEN,
            "2026-01-01T00:15:00Z".to_owned()
        )
    );
    assert_eq!(data_encoding::BASE64.decode(V1_TOKEN.as_bytes()).unwrap(), format!("jwt/{V1}").into_bytes());
    assert_eq!(token::expiration(V1_TOKEN), Some("2026-01-01T00:15:00Z".parse().unwrap()));
    assert_eq!(token::expiration("opaque"), None);
    let all = format!("{fetched:?}");
    assert!(!all.contains("9188921a") && !all.contains("and0L2V5"), "{all}");
}

#[test]
fn the_second_vector_comes_out_byte_for_byte() {
    let claims = Claims {
        bucket: "tenant-data",
        scope: Permission::ObjectReadWrite,
        actions: vec!["GetObject", "HeadObject", "PutObject"],
        paths: Some(PathClaims {
            prefix_paths: vec!["uploads/user-123/".to_owned(), "日本/".to_owned()],
            object_paths: vec!["shared/manifest.json".to_owned()],
        }),
        sub: ACCOUNT,
        iss: "aaaabbbbccccddddeeeeffff00001111",
        aud: "0123456789abcdef0123456789abcdef.eu.r2.cloudflarestorage.com",
        iat: 1_767_225_600,
        exp: 1_767_830_400,
    };
    let parent = Secret::new("6d3c1798d489f2ccf4f6b270e5fc78440fbe43882ac35e0b8cd791f6ce1f61a1".to_owned());
    let (secret, token) = token::mint(&claims, &parent).unwrap();
    assert_eq!(secret.reveal(), "963a3a4bf31da78800492c6319f704531e6459630e83feb6e6aab88edb8445d6");
    assert_eq!(token.reveal(), V2_TOKEN);
}

fn claims(fetched: &Fetched) -> Value {
    let token = data_encoding::BASE64.decode(keys(fetched).2.as_bytes()).unwrap();
    let jwt = String::from_utf8(token).unwrap();
    let claims = jwt.strip_prefix("jwt/").unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&data_encoding::BASE64URL_NOPAD.decode(claims.as_bytes()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_directory_is_its_prefix_with_the_slash_and_its_own_key() {
    let paths =
        Paths::only([Path::directory(b"data/tbl").unwrap(), Path::prefix(b"p").unwrap(), Path::object(b"o").unwrap()])
            .unwrap();
    let fetched = fetch(&local(&json!({"jurisdiction": "eu"})), &scope("lake", paths, Actions::READ_WRITE), 1_000_000)
        .await
        .unwrap();
    let claims = claims(&fetched);
    assert_eq!(claims["paths"], json!({"prefixPaths": ["data/tbl/", "p"], "objectPaths": ["o", "data/tbl"]}));
    assert_eq!((&claims["scope"], &claims["bucket"]), (&json!("object-read-write"), &json!("lake")));
    assert_eq!(claims["aud"], format!("{ACCOUNT}.eu.r2.cloudflarestorage.com"));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 604_800, "R2 gives no more");
    assert!(claims.get("actions").is_none());
    assert_eq!(fetched.narrowed[0].to_string(), "list-bucket: 1 of the 3 paths cannot be listed");
    assert_eq!(fetched.narrowed.len(), 1);
}

#[tokio::test]
async fn what_no_permission_says_is_refused_unless_single_operations_are_allowed() {
    let write_only = scope("lake", Paths::Whole, Actions::WRITE);
    let refusal = fetch(&local(&json!({})), &write_only, 900).await.unwrap_err();
    assert_eq!(refusal.kind(), Kind::Invalid);
    assert!(refusal.message().contains("put-object, multipart-upload, abort-upload"), "{refusal}");
    assert!(local(&json!({})).check(&write_only).is_err());
    let fetched = fetch(&local(&json!({"actions_claim": true})), &write_only, 900).await.unwrap();
    let claims = claims(&fetched);
    assert_eq!(claims["scope"], "object-read-write");
    assert_eq!(
        claims["actions"],
        json!([
            "PutObject",
            "CopyObject",
            "CreateMultipartUpload",
            "UploadPart",
            "UploadPartCopy",
            "CompleteMultipartUpload",
            "ListParts",
            "AbortMultipartUpload"
        ])
    );
    let many = Paths::only((0..1000).map(|n| Path::object(format!("key-{n}").as_bytes()).unwrap())).unwrap();
    let many = scope("lake", many, Actions::READ);
    assert!(local(&json!({})).check(&many).is_err());
    assert_eq!(fetch(&local(&json!({})), &many, 900).await.unwrap_err().field(), Some("paths"));
}

/// R2's published operations, and what each is in a scope.
const OPERATIONS: &[(&str, Action)] = &[
    ("GetObject", Action::GetObject),
    ("HeadObject", Action::GetObject),
    ("PutObject", Action::PutObject),
    ("CopyObject", Action::PutObject),
    ("DeleteObject", Action::DeleteObject),
    ("DeleteObjects", Action::DeleteObject),
    ("CreateMultipartUpload", Action::MultipartUpload),
    ("UploadPart", Action::MultipartUpload),
    ("CompleteMultipartUpload", Action::MultipartUpload),
    ("AbortMultipartUpload", Action::AbortUpload),
];

/// Whether R2 allows an operation on a key, by its documentation.
fn r2_allows(claims: &Value, operation: &str, key: &str) -> bool {
    let writes = !["GetObject", "HeadObject", "ListObjectsV2"].contains(&operation);
    let scope = claims["scope"].as_str().unwrap();
    if writes && !scope.ends_with("read-write") {
        return false;
    }
    if claims.get("actions").is_some_and(|actions| !actions.as_array().unwrap().iter().any(|own| own == operation)) {
        return false;
    }
    let Some(paths) = claims.get("paths") else { return true };
    let any = |list: &str, test: &dyn Fn(&str) -> bool| {
        paths[list].as_array().unwrap().iter().any(|own| test(own.as_str().unwrap()))
    };
    any("prefixPaths", &|own| key.starts_with(own))
        || (operation != "ListObjectsV2" && any("objectPaths", &|own| key == own))
}

/// Without single operations and with them.
static R2S: LazyLock<[R2; 2]> = LazyLock::new(|| [false, true].map(|claim| local(&json!({"actions_claim": claim}))));

#[test]
fn different_actions_on_different_paths_are_refused() {
    let below = Paths::only([Path::directory(b"a/tmp").unwrap()]).unwrap();
    let parts = scope("lake", Paths::Whole, Actions::READ).union(&scope("lake", below, Actions::READ_WRITE)).unwrap();
    for claim in [false, true] {
        let refused = R2S[usize::from(claim)].check(&parts).unwrap_err();
        assert_eq!((refused.kind(), refused.field()), (Kind::Invalid, Some("parts")));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn a_token_opens_exactly_its_scope(
        raw in prop::collection::vec((0..3, "[ab*?$日/]{1,6}"), 0..6),
        bits in 1_u16..1024,
        usual in 0..3,
        claim in any::<bool>(),
        more in prop::collection::vec("[ab*?$日/]{1,8}", 1..6),
    ) {
        let paths: Vec<Path> = raw.iter().filter_map(|(kind, text)| match kind {
            0 => Path::object(text.as_bytes()).ok(),
            1 => Path::directory(text.as_bytes()).ok(),
            _ => Path::prefix(text.as_bytes()).ok(),
        }).collect();
        let actions = match usual {
            0 => Actions::READ,
            1 => Actions::READ_WRITE,
            _ => Actions::from_bits(bits).unwrap(),
        };
        let wanted = scope("lake", Paths::only(&paths).unwrap_or(Paths::Whole), actions);
        let r2 = &R2S[usize::from(claim)];
        let session = SessionName::of("x1");
        let wish = Wish { rights: &wanted, lifetime: Lifetime::secs(900), session: &session, now: r2.web.now() };
        let Ok(meant) = r2.meant(&wanted) else { return Ok(()) };
        let secret = Secret::new("s".to_owned());
        let claims = claims(&r2.local(&secret, &wish, meant).unwrap());
        let mut keys = more;
        for path in &paths {
            let own = std::str::from_utf8(path.bytes()).unwrap();
            keys.extend([own.to_owned(), format!("{own}/"), format!("{own}/x"), format!("{own}x"), format!("x{own}")]);
        }
        for key in keys {
            for (operation, action) in OPERATIONS {
                let covered = wanted.covers("lake", key.as_bytes(), *action);
                prop_assert_eq!(r2_allows(&claims, operation, &key), covered, "{} `{}` by {}", operation, key, claims);
            }
            let listing = wanted.listing("lake", key.as_bytes(), Action::ListBucket);
            prop_assert_eq!(r2_allows(&claims, "ListObjectsV2", &key), listing == Listing::All, "list `{}` by {}", key, claims);
        }
    }
}

type Seen = Arc<Mutex<Vec<(Uri, HeaderMap, String)>>>;

async fn stub(status: u16, retry: Option<&'static str>, body: String) -> (String, Seen) {
    let seen: Seen = Arc::default();
    let kept = seen.clone();
    let app = axum::Router::new().fallback(move |uri: Uri, headers: HeaderMap, sent: Bytes| {
        kept.lock().unwrap().push((uri, headers, String::from_utf8(sent.to_vec()).unwrap()));
        let body = body.clone();
        async move {
            let mut response = axum::response::Response::new(axum::body::Body::from(body));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            if let Some(retry) = retry {
                response.headers_mut().insert("retry-after", retry.parse().unwrap());
            }
            response.headers_mut().insert("cf-ray", "8f0-FRA".parse().unwrap());
            response
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio_util::task::TaskTracker::new().spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}/client/v4/"), seen)
}

fn by_api(base: &str) -> R2 {
    let secrets = Secrets::parse(&Secret::new(r#"{"api_token":"cf-token"}"#.to_owned())).unwrap();
    R2::new(settings(&json!({"api_base_url": base})), secrets, reqwest::Client::new(), Arc::new(FixedClock::default()))
        .unwrap()
}

fn given(token: &str) -> String {
    json!({"result": {"accessKeyId": "child", "secretAccessKey": "child-secret", "sessionToken": token}, "success": true, "errors": [], "messages": []}).to_string()
}

#[tokio::test]
async fn the_api_is_asked_as_published() {
    let (base, seen) = stub(200, None, given(V1_TOKEN)).await;
    let paths = Paths::only([Path::directory(b"data").unwrap()]).unwrap();
    let fetched = fetch(&by_api(&base), &scope("lake", paths, Actions::READ), 900).await.unwrap();
    assert_eq!(keys(&fetched), ("child", "child-secret", V1_TOKEN, "2026-01-01T00:15:00Z".to_owned()));
    assert_eq!(fetched.upstream_request_id.as_deref(), Some("8f0-FRA"));
    let (uri, headers, body) = seen.lock().unwrap().pop().unwrap();
    assert_eq!(uri.to_string(), format!("/client/v4/accounts/{ACCOUNT}/r2/temp-access-credentials"));
    assert_eq!(
        (&headers["authorization"], &headers["content-type"]),
        (&"Bearer cf-token".parse().unwrap(), &"application/json".parse().unwrap())
    );
    assert_eq!(
        body,
        r#"{"bucket":"lake","parentAccessKeyId":"11112222333344445555666677778888","permission":"object-read-only","ttlSeconds":900,"prefixes":["data/"],"objects":["data"]}"#
    );
    // A token that does not tell when it ends: what was asked for counts, from before it was asked.
    let (base, seen) = stub(200, None, given("opaque")).await;
    let fetched = fetch(&by_api(&base), &scope("lake", Paths::Whole, Actions::READ), 900).await.unwrap();
    assert_eq!(keys(&fetched).3, "2026-01-01T00:15:00Z");
    let (_, _, body) = seen.lock().unwrap().pop().unwrap();
    assert!(!body.contains("prefixes") && !body.contains("objects"), "{body}");
}

#[tokio::test]
async fn every_failure_of_the_api_is_refused_in_its_own_kind() {
    let errors = |code: i64| {
        json!({"success": false, "errors": [{"code": code, "message": "words"}], "messages": [], "result": null})
            .to_string()
    };
    for (status, retry, body, kind, after) in [
        (429, Some("42"), errors(10058), Kind::RateLimited, Some(42)),
        (400, None, errors(10058), Kind::RateLimited, Some(1)),
        (403, None, errors(10003), Kind::Upstream, None),
        (401, None, errors(10000), Kind::Upstream, None),
        (500, None, "<html>".to_owned(), Kind::Upstream, None),
        (200, None, errors(10001), Kind::Upstream, None),
        (200, None, "<html>".to_owned(), Kind::Upstream, None),
        (200, None, given(""), Kind::Upstream, None),
    ] {
        let (base, _) = stub(status, retry, body).await;
        let error = fetch(&by_api(&base), &scope("lake", Paths::Whole, Actions::READ), 900).await.unwrap_err();
        assert_eq!((error.kind(), error.retry_after_secs()), (kind, after), "{status} {error:?}");
        assert!(error.detail().unwrap().contains(&status.to_string()) && !format!("{error:?}").contains("cf-token"));
    }
}

fn with_lever(base: &str, owner: &str) -> R2 {
    let secrets =
        Secrets::parse(&Secret::new(r#"{"secret_access_key":"s","api_token":"cf-token"}"#.to_owned())).unwrap();
    let settings = settings(&json!({"api_base_url": base, "revoke": {"delete_parent": owner}}));
    R2::new(settings, secrets, reqwest::Client::new(), Arc::new(FixedClock::default())).unwrap()
}

#[tokio::test]
async fn the_parent_is_deleted_as_published() {
    let deleted =
        json!({"errors": [], "messages": [], "success": true, "result": {"id": "11112222333344445555666677778888"}});
    for (owner, path) in [("account", format!("accounts/{ACCOUNT}")), ("user", "user".to_owned())] {
        let parent = "11112222333344445555666677778888";
        let stub = Stub::start([Reply::json(&deleted)]).await;
        let r2 = with_lever(&format!("{}/client/v4/", stub.url), owner);
        assert_eq!(r2.facts().revocation, Revocability::Minutes);
        let ended = r2.end_credentials(r2.web.now()).await.unwrap();
        assert_eq!(
            ended.done,
            format!("the parent key `{parent}` is deleted, and with it everything that was made of it")
        );
        assert!(ended.notes.iter().any(|note| note.contains("another parent key")), "{ended:?}");
        let asked = stub.asked();
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].line, format!("DELETE /client/v4/{path}/tokens/{parent}"));
        assert_eq!((asked[0].header("authorization"), asked[0].body.as_str()), (Some("Bearer cf-token"), ""));
        assert!(fetch(&r2, &scope("lake", Paths::Whole, Actions::READ), 900).await.is_ok() && stub.asked().len() == 1);
    }
}

#[tokio::test]
async fn a_parent_that_is_not_deleted_is_not_said_to_be() {
    let errors = |status: u16, code: i64| {
        let body =
            json!({"success": false, "errors": [{"code": code, "message": "words"}], "messages": [], "result": null});
        Reply::Now(status, Vec::new(), body.to_string())
    };
    for (reply, kind, said, noted) in [
        (errors(403, 9109), Kind::Upstream, "refused to delete", "403 9109 (9109 words)"),
        (errors(404, 1001), Kind::Upstream, "wrong owner", "404 1001"),
        (errors(404, 7003), Kind::Upstream, "wrong owner", "404 7003"),
        (errors(429, 10058), Kind::RateLimited, "too much", "429"),
        (errors(200, 10001), Kind::Upstream, "refused to delete", "200 10001"),
        (Reply::Now(200, Vec::new(), "<html>".to_owned()), Kind::Upstream, "", "not its JSON"),
        (Reply::Now(404, Vec::new(), "<html>".to_owned()), Kind::Upstream, "wrong owner", "404 not its JSON"),
        (Reply::Now(304, Vec::new(), String::new()), Kind::Upstream, "", "304"),
        (Reply::Never, Kind::UpstreamTimeout, "in time", "Cloudflare"),
    ] {
        let stub = Stub::start([reply]).await;
        let mut r2 = with_lever(&stub.url, "account");
        r2.web = r2.web.patient(Duration::from_millis(300));
        let error = r2.end_credentials(r2.web.now()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.message().contains(said) && error.detail().unwrap().contains(noted), "{noted}: {error:?}");
        assert!(!format!("{error:?}").contains("cf-token"));
    }
    let without = local(&json!({}));
    assert_eq!(without.facts().revocation, Revocability::ExpiryOnly);
    let refused = without.end_credentials(without.web.now()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.field()), (Kind::Invalid, Some("settings.revoke")));
}

#[test]
fn bad_settings_are_refused_by_name() {
    let new = |more: Value, secrets: &str| {
        let secrets = Secrets::parse(&Secret::new(secrets.to_owned())).unwrap();
        R2::new(settings(&more), secrets, reqwest::Client::new(), Arc::new(FixedClock::default()))
            .map(drop)
            .map_err(|error| error.field().unwrap_or_default().to_owned())
    };
    for (field, value) in [
        ("account_id", json!("a/b")),
        ("jurisdiction", json!("e u")),
        ("host", json!("a/b")),
        ("parent_access_key_id", json!("")),
        ("api_base_url", json!("nowhere")),
        ("timeout_ms", json!(1)),
    ] {
        assert_eq!(new(json!({field: value}), r#"{"secret_access_key":"x"}"#).unwrap_err(), field);
    }
    assert_eq!(new(json!({"actions_claim": true}), r#"{"api_token":"x"}"#).unwrap_err(), "actions_claim");
    let revoke = json!({"revoke": {"delete_parent": "account"}});
    assert_eq!(new(revoke, r#"{"secret_access_key":"x"}"#).unwrap_err(), "revoke");
    assert_eq!(
        new(json!({"api_base_url": "http://api.example.com"}), r#"{"api_token":"x"}"#).unwrap_err(),
        "api_base_url"
    );
    assert!(serde_json::from_value::<RevokeSettings>(json!({"delete_parent": "nobody"})).is_err());
    for bad in ["{}", "", r#"{"api_token":""}"#, r#"{"secret_access_key":"x","api_token":"a b"}"#, r#"{"token":"x"}"#] {
        assert!(Secrets::parse(&Secret::new(bad.to_owned())).is_err(), "{bad}");
    }
}

#[test]
fn what_is_signed_here_is_made_at_once_and_to_the_second() {
    let session = SessionName::of("clr_1");
    let scope = scope("lake", Paths::Whole, Actions::READ);
    for secs in [60, 120, 900, 604_800] {
        let now = "2026-01-01T00:00:00.9Z".parse().unwrap();
        let wish = Wish { rights: &scope, lifetime: Lifetime::secs(secs), session: &session, now };
        let fetched = local(&json!({})).sign(&wish).unwrap().unwrap();
        let end = fetched.credential.expiration();
        assert_eq!(end.as_second(), 1_767_225_600 + i64::from(secs));
    }
    let secrets = Secrets::parse(&Secret::new(r#"{"api_token":"t"}"#.to_owned())).unwrap();
    let api = R2::new(settings(&json!({})), secrets, reqwest::Client::new(), Arc::new(FixedClock::default())).unwrap();
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let wish = Wish { rights: &scope, lifetime: Lifetime::secs(900), session: &session, now };
    assert!(!api.signs() && api.sign(&wish).is_none() && local(&json!({})).signs());
}
