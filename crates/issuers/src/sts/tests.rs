//! `AssumeRole` against a stub: the whole request, every failure, and what is learnt.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::json;
use valetkey_core::Secret;
use valetkey_core::credential::LeftOut;
use valetkey_core::name::BucketName;
use valetkey_core::scope::{Actions, Path, Paths};
use valetkey_testkit::clock::FixedClock;

use super::*;
use crate::kind::Surroundings;
use crate::sts::ask::FORM;
use valetkey_sigv4::{Signing, sha256, sign};

type Seen = Arc<Mutex<Vec<(Uri, HeaderMap, String)>>>;
type Answer = (StatusCode, Vec<(&'static str, &'static str)>, String);

/// A stub that answers the n-th request with the n-th answer, the last one again and again.
async fn stub(answers: Vec<Answer>) -> (String, Seen) {
    let seen: Seen = Arc::default();
    let (kept, count) = (seen.clone(), Arc::new(AtomicUsize::new(0)));
    let app = axum::Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: Bytes| {
        kept.lock().unwrap().push((uri, headers, String::from_utf8(body.to_vec()).unwrap()));
        let (status, headers, body) = answers[count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)].clone();
        async move {
            let mut response = axum::response::Response::new(axum::body::Body::from(body));
            *response.status_mut() = status;
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio_util::task::TaskTracker::new().spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}"), seen)
}

/// The example of the API reference, with other values.
fn given() -> Answer {
    let body = r#"<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleResult>
    <SourceIdentity>clr</SourceIdentity>
    <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/demo/clr</Arn><AssumedRoleId>AROA:clr</AssumedRoleId></AssumedRoleUser>
    <Credentials>
      <AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId>
      <SecretAccessKey>given-secret</SecretAccessKey>
      <SessionToken>given&amp;token==</SessionToken>
      <Expiration>2026-01-01T00:59:57.9Z</Expiration>
    </Credentials>
    <PackedPolicySize>6</PackedPolicySize>
  </AssumeRoleResult>
  <ResponseMetadata><RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId></ResponseMetadata>
</AssumeRoleResponse>"#;
    (StatusCode::OK, Vec::new(), body.to_owned())
}

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(
        r#"<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>r-1</RequestId></ErrorResponse>"#
    );
    (StatusCode::from_u16(status).unwrap(), vec![("x-amzn-requestid", "h-1")], body)
}

fn settings(endpoint: &str, more: &serde_json::Value) -> Settings {
    let mut all =
        json!({"sts_endpoint": endpoint, "region": "eu-west-1", "role_arn": "arn:aws:iam::123456789012:role/vendor"});
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

fn parent() -> Secrets {
    Secrets::parse(&Secret::new(
        r#"{"access_key_id":"AKIDPARENT","secret_access_key":"parent-secret","session_token":"parent-token"}"#
            .to_owned(),
    ))
    .unwrap()
}

fn sts(endpoint: &str, more: &serde_json::Value) -> Sts {
    Sts::new(settings(endpoint, more), parent(), reqwest::Client::new(), Arc::new(FixedClock::default())).unwrap()
}

fn scope() -> Rights {
    let paths = Paths::only([Path::directory("jobs/ä b".as_bytes()).unwrap()]).unwrap();
    Rights::of(BucketName::parse("lake").unwrap(), paths, Actions::READ).unwrap()
}

async fn fetch(sts: &Sts, secs: u32) -> Result<Fetched, Error> {
    let session = SessionName::of("clr_1");
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    sts.fetch(&Wish { rights: &scope(), lifetime: Lifetime::secs(secs), session: &session, now }).await
}

#[tokio::test]
async fn a_store_that_names_a_request_in_a_header_only_is_understood() {
    for name in ["x-amzn-requestid", "x-amz-request-id"] {
        let (status, _, body) = given();
        let body = body.lines().filter(|line| !line.contains("ResponseMetadata")).collect::<String>();
        let (endpoint, _) = stub(vec![(status, vec![(name, "tx0001-default")], body)]).await;
        let fetched = fetch(&sts(&endpoint, &json!({"profile": "ceph"})), 3597).await.unwrap();
        assert_eq!(fetched.upstream_request_id.as_deref(), Some("tx0001-default"), "{name}");
    }
}

#[tokio::test]
async fn a_number_that_is_odd_and_white_space_spoil_no_answer() {
    for (size, percent) in
        [("300", None), ("12.5", None), ("-1", None), ("much", None), ("", None), (" 6\n", Some(6)), ("100", Some(100))]
    {
        let (status, headers, body) = given();
        let body = body
            .replace("PackedPolicySize>6<", &format!("PackedPolicySize>{size}<"))
            .replace("given-secret", "\n      given-secret\n    ")
            .replace("given&amp;token==", " given&amp;token== ")
            .replace("ASIAIOSFODNN7EXAMPLE", " ASIAIOSFODNN7EXAMPLE\n")
            .replace("2026-01-01T00:59:57.9Z", "\n2026-01-01T00:59:57.9Z ");
        let (endpoint, _) = stub(vec![(status, headers, body)]).await;
        let fetched = fetch(&sts(&endpoint, &json!({})), 3597).await.unwrap();
        assert_eq!(fetched.packed_policy_percent, percent, "`{size}`");
        let Credential::S3(keys) = &fetched.credential else { panic!("{fetched:?}") };
        assert_eq!(
            (
                keys.access_key_id.as_str(),
                keys.secret_access_key.reveal().as_str(),
                keys.session_token.reveal().as_str()
            ),
            ("ASIAIOSFODNN7EXAMPLE", "given-secret", "given&token==")
        );
    }
}

#[tokio::test]
async fn the_request_is_what_the_api_reference_says() {
    let (endpoint, seen) = stub(vec![given()]).await;
    let more = json!({
        "external_id": "ext/1", "source_identity": true, "session_tags": {"team": "a&b", "who": "{session}"},
    });
    let fetched = fetch(&sts(&endpoint, &more), 3597).await.unwrap();
    let Credential::S3(keys) = &fetched.credential else { panic!("{fetched:?}") };
    assert_eq!(
        (keys.access_key_id.as_str(), keys.secret_access_key.reveal().as_str(), keys.session_token.reveal().as_str()),
        ("ASIAIOSFODNN7EXAMPLE", "given-secret", "given&token==")
    );
    assert_eq!(keys.expiration.to_string(), "2026-01-01T00:59:57Z");
    assert_eq!(fetched.upstream_request_id.as_deref(), Some("c6104cbe-af31-11e0-8154-cbc7ccf896c7"));
    assert_eq!(fetched.packed_policy_percent, Some(6));
    assert_eq!(fetched.narrowed.len(), 1, "{:?}", fetched.narrowed);

    let (uri, headers, body) = seen.lock().unwrap().pop().unwrap();
    assert_eq!(uri.to_string(), "/");
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject","s3:GetBucketLocation"],"Resource":["arn:aws:s3:::lake/jobs/\u00e4 b","arn:aws:s3:::lake/jobs/\u00e4 b/*","arn:aws:s3:::lake"]},{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::lake","Condition":{"StringLike":{"s3:prefix":"jobs/\u00e4 b/*"}}}]}"#;
    let fields: Vec<(String, String)> = body
        .split('&')
        .map(|field| field.split_once('=').unwrap())
        .map(|(k, v)| (k.to_owned(), percent_encoding::percent_decode_str(v).decode_utf8().unwrap().into_owned()))
        .collect();
    let expected = [
        ("Action", "AssumeRole"),
        ("Version", "2011-06-15"),
        ("RoleArn", "arn:aws:iam::123456789012:role/vendor"),
        ("RoleSessionName", "clr_1"),
        ("DurationSeconds", "3597"),
        ("Policy", policy),
        ("ExternalId", "ext/1"),
        ("SourceIdentity", "clr_1"),
        ("Tags.member.1.Key", "team"),
        ("Tags.member.1.Value", "a&b"),
        ("Tags.member.2.Key", "who"),
        ("Tags.member.2.Value", "clr_1"),
    ];
    assert_eq!(fields, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    assert!(!body.contains('+'), "stores that do not read it as a space exist");

    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "application/x-www-form-urlencoded; charset=utf-8");
    assert_eq!(header("x-amz-date"), "20260101T000000Z");
    assert_eq!(header("x-amz-security-token"), "parent-token");
    let names = "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature=";
    let start = "AWS4-HMAC-SHA256 Credential=AKIDPARENT/20260101/eu-west-1/sts/aws4_request, ";
    let authorization = header("authorization");
    assert!(authorization.starts_with(&format!("{start}{names}")), "{authorization}");
    assert_eq!(authorization.len(), start.len() + names.len() + 64);
}

/// Made by botocore of the same parts.
#[test]
fn the_signature_is_that_of_other_implementations() {
    let signed = |host: &str, region: &str, service: &str, body: &[u8], keys: &Keys| {
        let request = Signing {
            method: "POST",
            host,
            path: "/",
            query: "",
            header: ("content-type", FORM),
            body_sha256: &sha256(body),
            region,
            service,
        };
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        sign(&request, &keys.signer(), now).authorization.split_once("Signature=").unwrap().1.to_owned()
    };
    let body = b"Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fvendor";
    let signature = |token: Option<&str>| {
        let keys = Keys {
            access_key_id: "AKIDPARENT".to_owned(),
            secret_access_key: Secret::new("parent-secret".to_owned()),
            session_token: token.map(|token| Secret::new(token.to_owned())),
        };
        signed("sts.eu-west-1.amazonaws.com", "eu-west-1", "sts", body, &keys)
    };
    assert_eq!(signature(None), "47922ab823909c34d65d0451e11a3d2ec8c1bcad5b533d6d8ff736d006430c73");
    assert_eq!(signature(Some("parent-token")), "1dde179e329b5482ff9c95a35d227fb9cdf195acb4668ca80007ceb430f2ebb7");
    let body = b"Action=PutRolePolicy&Version=2010-05-08&RoleName=vendor";
    let keys = Keys {
        access_key_id: "AKIDPARENT".to_owned(),
        secret_access_key: Secret::new("parent-secret".to_owned()),
        session_token: None,
    };
    let signed = signed("iam.amazonaws.com", "us-east-1", "iam", body, &keys);
    assert_eq!(signed, "5916052bd29af324e7fe05152571ec7a6665d0b1f2874f2bc5cc3dab1f7a151a");
}

#[tokio::test]
async fn every_failure_is_refused_in_its_own_kind_and_tells_no_secret() {
    let secret = "parent-token";
    let rows: Vec<(Answer, Kind, Option<u32>, &str)> = vec![
        (refusal(400, "Throttling", "Rate exceeded"), Kind::RateLimited, Some(1), "Throttling"),
        (
            (
                StatusCode::SERVICE_UNAVAILABLE,
                vec![("retry-after", "7")],
                "<Error><Code>SlowDown</Code></Error>".to_owned(),
            ),
            Kind::RateLimited,
            Some(7),
            "SlowDown",
        ),
        ((StatusCode::TOO_MANY_REQUESTS, Vec::new(), String::new()), Kind::RateLimited, Some(1), "429"),
        (
            refusal(403, "AccessDenied", "User: arn:aws:iam::1:user/x may not"),
            Kind::Upstream,
            None,
            "arn:aws:iam::1:user/x",
        ),
        (refusal(403, "ExpiredToken", "over"), Kind::Upstream, None, "ExpiredToken"),
        (refusal(403, "SignatureDoesNotMatch", secret), Kind::Upstream, None, "SignatureDoesNotMatch"),
        (refusal(400, "MalformedPolicyDocument", "bad"), Kind::Upstream, None, "MalformedPolicyDocument"),
        (refusal(400, "PackedPolicyTooLarge", "135 percent"), Kind::Invalid, None, "PackedPolicyTooLarge"),
        (refusal(500, "InternalFailure", ""), Kind::Upstream, None, "500"),
        ((StatusCode::BAD_GATEWAY, Vec::new(), format!("<html>{secret}")), Kind::Upstream, None, "502"),
        ((StatusCode::OK, Vec::new(), format!("<html>{secret}")), Kind::Upstream, None, "not an AssumeRoleResponse"),
        ((StatusCode::OK, Vec::new(), given().2.replace("given-secret", "")), Kind::Upstream, None, "empty"),
        ((StatusCode::OK, Vec::new(), given().2.replace("2026-01-01T", "soon")), Kind::Upstream, None, "expiration"),
        ((StatusCode::OK, Vec::new(), given().2.replace("2026-01-01T", "2026-01-02T")), Kind::Upstream, None, "clock"),
        ((StatusCode::OK, Vec::new(), given().2.replace("2026-01-01T", "2025-12-31T")), Kind::Upstream, None, "clock"),
        (
            (StatusCode::OK, Vec::new(), given().2.replace("ASIAIOSFODNN7EXAMPLE", "AKIDPARENT")),
            Kind::Upstream,
            None,
            "own",
        ),
        ((StatusCode::OK, Vec::new(), "x".repeat(300_000)), Kind::Upstream, None, "bytes"),
        ((StatusCode::FOUND, vec![("location", "/")], String::new()), Kind::Upstream, None, ""),
    ];
    for (answer, kind, retry, noted) in rows {
        let (endpoint, _) = stub(vec![answer]).await;
        let error = fetch(&sts(&endpoint, &json!({})), 3600).await.unwrap_err();
        assert_eq!((error.kind(), error.retry_after_secs()), (kind, retry), "{error:?}");
        assert!(error.detail().unwrap_or_default().contains(noted), "{noted}: {error:?}");
        let all = format!("{error:?} {error}");
        for secret in [secret, "parent-secret", "given-secret", "given&token", "AKIDPARENT"] {
            assert!(!all.contains(secret), "{secret} in {all}");
        }
        assert!(!error.message().contains("arn:") && !error.message().contains("http"), "{}", error.message());
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_not_waited_for() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let error = fetch(&sts(&silent, &json!({"timeout_ms": 100})), 3600).await.unwrap_err();
    assert_eq!(error.kind(), Kind::UpstreamTimeout, "{error:?}");
    drop(listener);
    let error = fetch(&sts(&silent, &json!({})), 3600).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Upstream, "{error:?}");
}

#[tokio::test]
async fn what_is_too_large_packed_is_said_shorter_and_that_is_remembered() {
    let (endpoint, seen) = stub(vec![refusal(400, "PackedPolicyTooLarge", "135"), given()]).await;
    let sts = sts(&endpoint, &json!({}));
    for _ in 0..2 {
        let fetched = fetch(&sts, 3597).await.unwrap();
        assert!(
            fetched.narrowed.iter().any(|narrowed| narrowed.what == LeftOut::DirectoryKeys),
            "{:?}",
            fetched.narrowed
        );
    }
    let lengths: Vec<usize> = seen.lock().unwrap().iter().map(|(_, _, body)| body.len()).collect();
    assert_eq!(lengths.len(), 3, "the second fetch knows what the store takes");
    assert!(lengths[0] > lengths[1] && lengths[1] == lengths[2]);
}

#[tokio::test]
async fn lifetimes_stay_within_what_the_store_gives() {
    let (endpoint, seen) = stub(vec![given()]).await;
    let sts = sts(&endpoint, &json!({}));
    assert_eq!(fetch(&sts, 600).await.unwrap_err().kind(), Kind::Invalid);
    assert!(seen.lock().unwrap().is_empty());
    for (wished, asked) in
        [(7200, "DurationSeconds=3600"), (3600, "DurationSeconds=3600"), (3597, "DurationSeconds=3597")]
    {
        fetch(&sts, wished).await.unwrap();
        assert!(seen.lock().unwrap().pop().unwrap().2.contains(asked), "{wished}");
    }
}

#[tokio::test]
async fn the_chain_finds_what_the_environment_names_and_looks_again_when_it_is_refused() {
    let (endpoint, seen) = stub(vec![refusal(403, "ExpiredToken", ""), given()]).await;
    let environment: HashMap<String, String> =
        [("AWS_ACCESS_KEY_ID", "AKIDENV"), ("AWS_SECRET_ACCESS_KEY", "env-secret"), ("AWS_SESSION_TOKEN", "env-token")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
    let secrets = Secrets::Chain(Surroundings { environment, home: None });
    assert!(!format!("{secrets:?}").contains("env-"));
    let sts =
        Sts::new(settings(&endpoint, &json!({})), secrets, reqwest::Client::new(), Arc::new(FixedClock::default()))
            .unwrap();
    fetch(&sts, 3597).await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert!(seen[1].1["authorization"].to_str().unwrap().contains("Credential=AKIDENV/"));
    assert_eq!(seen[1].1["x-amz-security-token"], "env-token");
}

#[tokio::test]
async fn what_the_chain_found_is_used_while_it_is_good_and_nothing_else_can_be_found() {
    let found = r#"{"Code":"Success","AccessKeyId":"AKIDFOUND","SecretAccessKey":"s","Token":"t","Expiration":"2126-01-01T02:00:00Z"}"#;
    let away = (StatusCode::SERVICE_UNAVAILABLE, Vec::new(), String::new());
    let (container, asked) = stub(vec![(StatusCode::OK, Vec::new(), found.to_owned()), away]).await;
    let full = format!("{container}/creds");
    let environment = HashMap::from([("AWS_CONTAINER_CREDENTIALS_FULL_URI".to_owned(), full)]);
    let hosts = valetkey_core::hosts::Hosts::new(valetkey_core::hosts::Proof::MachineSignature);
    let web = Web::new(reqwest::Client::new(), Arc::new(FixedClock::default()), hosts).of_surroundings();
    let parents = Parents::new(Secrets::Chain(Surroundings { environment, home: None }), web).unwrap();
    let start: Timestamp = "2126-01-01T00:00:00Z".parse().unwrap();
    let keys = async |secs: i64| parents.keys(start + jiff::SignedDuration::from_secs(secs)).await;
    for (secs, looks) in [(0, 1), (299, 1), (300, 2), (329, 2), (330, 3), (7079, 4)] {
        assert_eq!(keys(secs).await.unwrap().access_key_id, "AKIDFOUND", "{secs}");
        assert_eq!(asked.lock().unwrap().len(), looks, "{secs}");
    }
    // Two minutes before their end.
    assert_eq!(keys(7080).await.unwrap_err().kind(), Kind::Upstream);
}

fn chained(endpoint: &str, environment: &[(&str, &str)]) -> Sts {
    let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let secrets = Secrets::Chain(Surroundings { environment, home: None });
    let settings = settings(endpoint, &json!({}));
    Sts::new(settings, secrets, reqwest::Client::new(), Arc::new(FixedClock::default())).unwrap()
}

#[tokio::test]
async fn the_chain_reads_profiles_containers_and_machines() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("credentials");
    std::fs::write(&file, "[ops]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = s\n").unwrap();
    let found = r#"{"Code":"Success","AccessKeyId":"AKIDFOUND","SecretAccessKey":"s","Token":"t","Expiration":"2126-01-01T00:00:00Z"}"#;
    let ok = |body: &str| (StatusCode::OK, Vec::new(), body.to_owned());
    let (container, asked_container) = stub(vec![ok(found)]).await;
    let (machine, asked_machine) = stub(vec![ok("imds-token"), ok("the-role"), ok(found)]).await;
    let full = format!("{container}/creds");
    for (id, environment) in [
        ("AKIDPROFILE", vec![("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()), ("AWS_PROFILE", "ops")]),
        ("AKIDFOUND", vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", full.as_str())]),
        ("AKIDFOUND", vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", machine.as_str())]),
    ] {
        let (endpoint, seen) = stub(vec![given()]).await;
        fetch(&chained(&endpoint, &environment), 3597).await.unwrap();
        let seen = seen.lock().unwrap();
        let start = format!("AWS4-HMAC-SHA256 Credential={id}/20260101/");
        assert!(seen[0].1["authorization"].to_str().unwrap().starts_with(&start), "{environment:?}");
    }
    assert_eq!(asked_container.lock().unwrap().len(), 1);
    assert_eq!(asked_machine.lock().unwrap()[2].1["x-aws-ec2-metadata-token"], "imds-token");

    let (endpoint, seen) = stub(vec![given()]).await;
    let error = fetch(&chained(&endpoint, &[("AWS_EC2_METADATA_DISABLED", "true")]), 3597).await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (Kind::Upstream, Some("secrets")), "{error:?}");
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_the_chain_found_is_used_again_for_a_while() {
    let found = |expiration: &str| {
        let body = format!(r#"{{"AccessKeyId":"A","SecretAccessKey":"s","Token":"t","Expiration":"{expiration}"}}"#);
        (StatusCode::OK, Vec::new(), body)
    };
    for (expiration, looks) in [("2126-01-01T00:00:00Z", 1), ("2026-01-01T00:01:59Z", 3)] {
        let (container, asked) = stub(vec![found(expiration)]).await;
        let (endpoint, _) = stub(vec![given()]).await;
        let sts = chained(&endpoint, &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container)]);
        for _ in 0..3 {
            fetch(&sts, 3597).await.unwrap();
        }
        assert_eq!(asked.lock().unwrap().len(), looks, "{expiration}");
    }
}

#[test]
fn bad_settings_are_refused_by_name() {
    let parse = |more: &serde_json::Value| {
        settings("https://sts.example.com", more).parse().map_err(|error| error.field().unwrap_or_default().to_owned())
    };
    assert!(parse(&json!({})).is_ok());
    for (field, value) in [
        ("role_arn", json!("arn:aws:iam::1:user/x")),
        ("role_arn", json!("arn:aws-x:iam::123456789012:role/x")),
        ("region", json!("")),
        ("region", json!("a/b")),
        ("sts_endpoint", json!("ftp://x")),
        ("sts_endpoint", json!("https://x/?a=b")),
        ("sts_endpoint", json!("https://user:pass@x/")),
        ("external_id", json!("a b")),
        ("session_tags", json!({"aws:x": "y"})),
        ("min_duration_secs", json!(4000)),
        ("max_duration_secs", json!(50_000)),
        ("policy_limit", json!(1)),
        ("timeout_ms", json!(0)),
        ("access_points", json!({"lake": "arn:aws:s3:eu-west-1:1:accesspoint/*"})),
        ("access_points", json!({"lake": "arn:aws:s3:::other"})),
    ] {
        assert_eq!(parse(&json!({field: value})).unwrap_err(), field, "{value}");
    }
    assert_eq!(parse(&json!({"kms": {"key_arns": ["*"]}})).unwrap_err(), "kms.key_arns");
    for buckets in [json!({"lake": "real-lake"}), json!({"gate": "NO"}), json!({"NO": "real-lake"})] {
        let points = json!({"gate": "arn:aws:s3:eu-west-1:1:accesspoint/gate"});
        let told = json!({"kms": {"key_arns": [], "buckets": buckets}, "access_points": points});
        assert_eq!(parse(&told).unwrap_err(), "kms.buckets", "{buckets}");
    }
    assert_eq!(parse(&json!({"profile": "ceph", "session_tags": {"a": "b"}})).unwrap_err(), "session_tags");
    assert!(parse(&json!({"deny_outside": true})).is_ok());
    let points = json!({"lake": "arn:aws:s3:eu-west-1:1:accesspoint/gate"});
    for more in [json!({"profile": "ceph"}), json!({"profile": "other"}), json!({"access_points": points})] {
        let mut told = json!({"deny_outside": true});
        told.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(parse(&told).unwrap_err(), "deny_outside", "{more}");
    }
    assert!(serde_json::from_value::<Settings>(json!({"region": "x", "role_arn": "y", "secret": 1})).is_err());
    // At AWS itself an account has 12 digits; a store with an endpoint of its own names accounts as it likes.
    for (account, endpoint, good) in [
        ("1", json!(null), false),
        ("12345678901x", json!(null), false),
        ("", json!(null), false),
        ("", json!("https://x"), true),
    ] {
        let role = format!("arn:aws:iam::{account}:role/x");
        let read = settings("https://x", &json!({"role_arn": role, "sts_endpoint": endpoint})).parse();
        assert_eq!(read.is_ok(), good, "{account}");
        assert!(read.err().is_none_or(|error| error.message().contains("12 digits")));
    }
    let china =
        settings("https://x", &json!({"role_arn": "arn:aws-cn:iam::123456789012:role/x", "sts_endpoint": null}))
            .parse()
            .unwrap();
    assert_eq!(china.endpoint.as_str(), "https://sts.eu-west-1.amazonaws.com.cn/");
    assert!(Secrets::parse(&Secret::new(r#"{"access_key_id":"a"}"#.to_owned())).is_err());
}
