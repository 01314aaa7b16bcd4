//! Pages of other origins: what they are told before they ask and with every answer, and who may say so.

use std::sync::Arc;

use data_encoding::BASE64;
use md5::Digest as _;
use tempfile::TempDir;
use valetkey_core::cors::{CorsRules as _, Rules};
use valetkey_core::name::BucketName;
use valetkey_core::scope::{Action, Actions, Path, Paths};

use crate::rig::{Answer, Ask, Rig};

const PAGE: &str = "https://app.example";
const CORS: &str = "<CORSConfiguration><CORSRule><ID>app</ID><AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod>\
    <AllowedOrigin>https://app.example</AllowedOrigin><AllowedHeader>x-amz-*</AllowedHeader>\
    <AllowedHeader>content-type</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>600</MaxAgeSeconds></CORSRule>\
    </CORSConfiguration>";

fn put(rig: &Rig, body: &str) -> Ask {
    let md5 = BASE64.encode(&md5::Md5::digest(body.as_bytes()));
    rig.ask("PUT", "/lake?cors=").header("content-md5", &md5).body(body)
}

fn configuring() -> Actions {
    Actions::of(&[Action::GetBucketConfig, Action::PutBucketConfig, Action::GetObject, Action::PutObject])
}

/// What a browser asks before it asks.
async fn preflight(rig: &Rig, target: &str, origin: &str, method: &str, headers: &str) -> Answer {
    let headers =
        if headers.is_empty() { String::new() } else { format!("access-control-request-headers: {headers}\r\n") };
    let wire = format!(
        "OPTIONS {target} HTTP/1.1\r\nhost: {}\r\norigin: {origin}\r\naccess-control-request-method: {method}\r\n\
         {headers}connection: close\r\n\r\n",
        rig.host()
    );
    rig.raw(wire.into_bytes()).await
}

fn told(answer: &Answer) -> Vec<(&str, &str)> {
    let mut told: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("access-control-"))
        .map(|(name, value)| (name.strip_prefix("access-control-").unwrap(), value.as_str()))
        .collect();
    told.sort_unstable();
    told
}

#[tokio::test]
async fn a_buckets_rules_are_put_read_and_removed_by_who_may_configure_it() {
    let rig = Rig::start().await;
    let whole = rig.vend(Paths::Whole, configuring());
    let get = async || rig.get("/lake?cors=", &whole).await;
    get().await.is(404, "NoSuchCORSConfiguration");
    rig.send(put(&rig, CORS), &whole).await.ok();
    let shown = get().await;
    assert_eq!((shown.ok().one("ID"), shown.one("AllowedOrigin")), ("app".to_owned(), PAGE.to_owned()));
    assert_eq!(shown.all("AllowedMethod"), ["GET", "PUT"]);
    assert_eq!(shown.all("AllowedHeader"), ["x-amz-*", "content-type"]);
    assert_eq!((shown.one("ExposeHeader"), shown.one("MaxAgeSeconds")), ("ETag".to_owned(), "600".to_owned()));
    // By nobody else: who writes objects, who may configure a directory, who reads the configuration, another bucket's.
    let directory = Paths::only([Path::directory(b"in").unwrap()]).unwrap();
    let reader = Actions::of(&[Action::GetBucketConfig]);
    for other in [
        rig.whole(),
        rig.vend(directory, configuring()),
        rig.vend(Paths::Whole, reader),
        rig.vend_for("other", Paths::Whole, configuring(), 60),
    ] {
        rig.send(put(&rig, CORS), &other).await.is(403, "AccessDenied");
        rig.send(rig.ask("DELETE", "/lake?cors="), &other).await.is(403, "AccessDenied");
    }
    // What is wrong changes nothing.
    for (wrong, code) in [
        (CORS.replace(PAGE, "app.example"), "InvalidRequest"),
        (CORS.replace("GET", "PATCH"), "InvalidRequest"),
        (CORS.replace("ETag", "x-*"), "InvalidRequest"),
        (CORS.replace("600", "-1"), "InvalidRequest"),
        (CORS.replace("CORSRule", "Rule"), "MalformedXML"),
        (String::new(), "MissingRequestBodyError"),
    ] {
        rig.send(put(&rig, &wrong), &whole).await.is(400, code);
    }
    let lied = rig.ask("PUT", "/lake?cors=").header("content-md5", &BASE64.encode(&[0; 16])).body(CORS);
    rig.send(lied, &whole).await.is(400, "BadDigest");
    assert_eq!(get().await.text(), shown.text());
    rig.send(rig.ask("DELETE", "/lake?cors="), &whole).await.is(204, "");
    get().await.is(404, "NoSuchCORSConfiguration");
    rig.send(rig.ask("DELETE", "/lake?cors="), &whole).await.is(204, "");
}

#[tokio::test]
async fn a_page_is_told_before_it_asks() {
    let rig = Rig::start().await;
    preflight(&rig, "/lake/o", PAGE, "GET", "").await.is(403, "AccessForbidden");
    rig.send(put(&rig, CORS), &rig.vend(Paths::Whole, configuring())).await.ok();
    let asked = preflight(&rig, "/lake/o", PAGE, "PUT", "content-type, X-Amz-Date").await;
    assert_eq!(asked.status, 200);
    assert_eq!(
        told(&asked),
        [
            ("allow-headers", "content-type, X-Amz-Date"),
            ("allow-methods", "GET, PUT"),
            ("allow-origin", PAGE),
            ("expose-headers", "ETag"),
            ("max-age", "600"),
        ]
    );
    assert!(asked.header("vary").unwrap().starts_with("Origin"));
    for (target, origin, method, headers) in [
        ("/lake/o", "https://other.example", "GET", ""),
        ("/lake/o", PAGE, "DELETE", ""),
        ("/lake/o", PAGE, "PUT", "authorization"),
        ("/other/o", PAGE, "GET", ""),
        ("/no-such-bucket/o", PAGE, "GET", ""),
        ("/", PAGE, "GET", ""),
    ] {
        let refused = preflight(&rig, target, origin, method, headers).await;
        refused.is(403, "AccessForbidden");
        assert_eq!(told(&refused), [], "{target} {origin} {method} {headers}");
    }
    let bare = format!("OPTIONS /lake/o HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", rig.host());
    rig.raw(bare.into_bytes()).await.is(400, "BadRequest");
    // The bucket may stand in front of the host.
    let wire = format!(
        "OPTIONS /o HTTP/1.1\r\nhost: lake.s3.localhost\r\norigin: {PAGE}\r\naccess-control-request-method: GET\r\n\
         connection: close\r\n\r\n"
    );
    assert_eq!(rig.raw(wire.into_bytes()).await.status, 200);
}

#[tokio::test]
async fn a_page_reads_answers_and_refusals_alike_and_nothing_is_opened_by_that() {
    let rig = Rig::start().await;
    let credential = rig.vend(Paths::Whole, configuring());
    rig.send(put(&rig, CORS), &credential).await.ok();
    rig.put("lake", "o", "x").await;
    let from = |ask: Ask, origin: &str| ask.header("origin", origin);
    let narrow = rig.directory("in", Actions::READ);
    for (ask, key, status) in [
        (rig.ask("GET", "/lake/o"), &credential, 200),
        (rig.ask("GET", "/lake/missing"), &credential, 404),
        (rig.ask("GET", "/lake/o"), &narrow, 403),
        (rig.ask("PUT", "/lake/new").body("x"), &credential, 200),
    ] {
        let answer = rig.send(from(ask.clone(), PAGE), key).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(told(&answer), [("allow-origin", PAGE), ("expose-headers", "ETag")]);
        // Another page, and no page at all: told nothing, but that the answer depends on it.
        for answer in [rig.send(from(ask.clone(), "https://other.example"), key).await, rig.send(ask, key).await] {
            assert_eq!((answer.status, told(&answer)), (status, vec![]));
            assert!(answer.header("vary").unwrap().starts_with("Origin"));
        }
    }
    // Who proves nothing is refused as ever, and the page can read why; a signed URL serves a page as it serves everybody.
    let unsigned =
        format!("GET /lake/o HTTP/1.1\r\nhost: {}\r\norigin: {PAGE}\r\nconnection: close\r\n\r\n", rig.host());
    let refused = rig.raw(unsigned.into_bytes()).await;
    refused.is(403, "AccessDenied");
    assert_eq!(told(&refused), [("allow-origin", PAGE), ("expose-headers", "ETag")]);
    let url = rig.ask("GET", "/lake/o").presigned(&credential, 60).unsigned("origin", PAGE);
    let got = rig.raw(url.wire()).await;
    assert_eq!(
        (got.ok().text(), told(&got)),
        ("x".to_owned(), vec![("allow-origin", PAGE), ("expose-headers", "ETag")])
    );
    // A method that the rule does not have.
    let deleted = rig.send(from(rig.ask("DELETE", "/lake/o"), PAGE), &rig.whole()).await;
    assert_eq!((deleted.status, told(&deleted)), (204, vec![]));
    // No bucket without rules says anything.
    rig.put("other", "o", "x").await;
    let other = rig.vend_for("other", Paths::Whole, Actions::READ, 60);
    let answer = rig.send(from(rig.ask("GET", "/other/o"), PAGE), &other).await;
    assert_eq!((answer.ok().header("vary"), told(&answer)), (None, vec![]));
}

#[tokio::test]
async fn a_bucket_without_rules_has_the_servers() {
    let dir = Arc::new(TempDir::new().unwrap());
    let rig = Rig::start_in(dir, |config| {
        config.cors = Rules::of_origins(&["https://*.example".to_owned()], valetkey_s3::EXPOSED).unwrap();
    })
    .await;
    let asked = preflight(&rig, "/lake/o", PAGE, "DELETE", "authorization,x-amz-security-token").await;
    assert_eq!((asked.status, asked.header("access-control-allow-origin")), (200, Some(PAGE)));
    rig.send(put(&rig, &CORS.replace(PAGE, "https://own.test")), &rig.vend(Paths::Whole, configuring())).await.ok();
    // Its own rules are all it has.
    preflight(&rig, "/lake/o", PAGE, "GET", "").await.is(403, "AccessForbidden");
    assert_eq!(preflight(&rig, "/other/o", PAGE, "GET", "").await.status, 200);
}

#[tokio::test]
async fn the_servers_own_hand_sets_rules_too_and_they_stay() {
    let rig = Rig::start().await;
    let bucket = BucketName::parse("lake").unwrap();
    let rules = Rules::of_origins(&[PAGE.to_owned()], &["ETag"]).unwrap();
    rig.endpoint.set_cors(rig.storage, &bucket, rules.clone()).await.unwrap();
    assert_eq!(rig.endpoint.cors(rig.storage, &bucket).await.unwrap(), rules);
    assert!(rig.endpoint.cors(rig.storage, &BucketName::parse("no-such").unwrap()).await.is_err());
    let copy = Arc::new(TempDir::new().unwrap());
    std::fs::create_dir(copy.path().join("objects")).unwrap();
    for file in std::fs::read_dir(rig.dir.path().join("objects")).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() {
            std::fs::copy(file.path(), copy.path().join("objects").join(file.file_name())).unwrap();
        }
    }
    let again = Rig::start_in(copy, |_| {}).await;
    assert_eq!(preflight(&again, "/lake/o", PAGE, "GET", "").await.status, if rig.is_behind() { 403 } else { 200 });
}
