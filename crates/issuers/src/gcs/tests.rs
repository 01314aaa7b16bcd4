use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Value, json};
use valetkey_core::name::BucketName;
use valetkey_core::scope::{Action, Actions, Path, Paths};
use valetkey_core::storage::Revocability;
use valetkey_core::time::Lifetime;
use valetkey_testkit::clock::FixedClock;

use super::*;
use crate::upstream::SessionName;
use crate::web::stub::{Reply, Stub};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";

pub(super) fn gcs(settings: &Value, secrets: &Value, clock: &Arc<FixedClock>) -> Result<Gcs, Error> {
    let settings: Settings = serde_json::from_value(settings.clone()).unwrap();
    let secrets = Secrets::parse(secrets.to_string().as_bytes())?;
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    Gcs::new(&settings, &secrets, reqwest::Client::new(), clock)
}

fn metadata(url: &str) -> Value {
    json!({"identity": {"kind": "metadata", "endpoint": url}, "token_service": format!("{url}/v1/token")})
}

fn scope() -> Rights {
    let daily = Paths::only([Path::directory(b"jobs/daily +%2F").unwrap()]).unwrap();
    Rights::of(BucketName::parse("lake").unwrap(), daily, Actions::READ).unwrap()
}

async fn fetch(gcs: &Gcs, clock: &FixedClock, secs: u32) -> Result<Fetched, Error> {
    let session = SessionName::of("clr_somebody");
    let wish = Wish { rights: &scope(), lifetime: Lifetime::secs(secs), session: &session, now: clock.now() };
    gcs.fetch(&wish).await
}

fn source(secs: i64) -> Reply {
    Reply::json(&json!({"access_token": "ya29.source", "expires_in": secs, "token_type": "Bearer"}))
}

fn bounded_of(secs: i64) -> Reply {
    Reply::json(&json!({
        "access_token": "ya29.dr.bounded", "issued_token_type": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": secs
    }))
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn a_key_signs_an_assertion_and_its_token_is_bounded_as_published() {
    let clock = Arc::new(FixedClock::default());
    let stub = Stub::start([source(3599), bounded_of(3500), bounded_of(3000)]).await;
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let body = BASE64.encode(der.as_ref());
    let body = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect::<Vec<_>>().join("\n");
    let email = "vends@p.iam.gserviceaccount.com";
    let token_url = format!("{}/token", stub.url);
    let file = json!({
        "type": "service_account", "project_id": "p", "private_key_id": "kid1", "client_email": email,
        "private_key": format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"), "token_uri": token_url,
    });
    let settings =
        json!({"identity": {"kind": "service-account-key"}, "token_service": format!("{}/v1/token", stub.url)});
    for key in [file.clone(), Value::String(file.to_string())] {
        assert!(gcs(&settings, &json!({"service_account_key": key}), &clock).is_ok());
    }
    let own = gcs(&settings, &json!({"service_account_key": file}), &clock).unwrap();
    let fetched = fetch(&own, &clock, 3600).await.unwrap();

    let asked = stub.asked();
    assert_eq!(asked[0].line, "POST /token");
    let form = asked[0].form();
    assert_eq!(form[0], ("grant_type".into(), "urn:ietf:params:oauth:grant-type:jwt-bearer".into()));
    let (signed, signature) = form[1].1.rsplit_once('.').unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref());
    public.verify(signed.as_bytes(), &BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap()).unwrap();
    let part = |text: &str| serde_json::from_slice::<Value>(&BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()).unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    assert_eq!(part(header), json!({"alg": "RS256", "typ": "JWT", "kid": "kid1"}));
    let now = clock.now().as_second();
    assert_eq!(
        part(claims),
        json!({"iss": email, "scope": PLATFORM, "aud": token_url, "iat": now - 10, "exp": now + 3590})
    );

    assert_eq!((asked[1].line.as_str(), asked[1].header("authorization")), ("POST /v1/token", None));
    assert_eq!(asked[1].header("content-type"), Some("application/x-www-form-urlencoded"));
    let form = asked[1].form();
    assert_eq!(
        form[..4],
        owned(&[
            ("grant_type", EXCHANGE),
            ("subject_token_type", ACCESS_TOKEN),
            ("requested_token_type", ACCESS_TOKEN),
            ("subject_token", "ya29.source"),
        ])
    );
    assert_eq!(form[4].0, "options");
    // Once decoded it is the boundary, and once more changes nothing.
    let options: Value = serde_json::from_str(&form[4].1).unwrap();
    let again = percent_encoding::percent_decode_str(&form[4].1).decode_utf8().unwrap().replace('+', " ");
    assert_eq!(serde_json::from_str::<Value>(&again).unwrap(), options);
    let rules = options["accessBoundary"]["accessBoundaryRules"].as_array().unwrap();
    assert_eq!(rules.len(), 2);
    let expression = rules[0]["availabilityCondition"]["expression"].as_str().unwrap();
    assert!(expression.contains("objects/jobs/daily +%2F/'"), "{expression}");

    let Credential::Google(token) = &fetched.credential else { panic!("not a token") };
    assert_eq!(token.access_token.reveal(), "ya29.dr.bounded");
    assert_eq!(token.expiration.to_string(), "2026-01-01T00:58:20Z", "the exchange's own end is the sooner one");
    assert!(!format!("{fetched:?}").contains("ya29"));

    // A second one of the same source token makes one request and ends with it.
    clock.advance_secs(900);
    let second = fetch(&own, &clock, 3600).await.unwrap();
    assert_eq!(stub.asked().len(), 3);
    assert_eq!(
        second.credential.expiration().to_string(),
        "2026-01-01T00:59:59Z",
        "the source's end is the sooner one"
    );
}

#[tokio::test]
async fn a_metadata_server_is_asked_and_an_exchange_without_an_end_takes_the_sources() {
    let clock = Arc::new(FixedClock::default());
    let endless = json!({"access_token": "b", "issued_token_type": ACCESS_TOKEN, "token_type": "Bearer"});
    let stub = Stub::start([source(3000), Reply::json(&endless)]).await;
    let fetched = fetch(&gcs(&metadata(&stub.url), &json!({}), &clock).unwrap(), &clock, 7200).await.unwrap();
    let asked = stub.asked();
    assert_eq!(
        asked[0].line,
        "GET /computeMetadata/v1/instance/service-accounts/default/token\
         ?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform"
    );
    assert_eq!(asked[0].header("metadata-flavor"), Some("Google"));
    assert_eq!(fetched.credential.expiration().to_string(), "2026-01-01T00:50:00Z");
}

#[tokio::test]
async fn a_federated_identity_stands_in_for_a_service_account_for_as_long_as_wished() {
    let clock = Arc::new(FixedClock::default());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token.json");
    std::fs::write(&file, json!({"id_token": "other.jwt"}).to_string()).unwrap();
    let stood_in = Reply::json(&json!({"accessToken": "ya29.stood-in", "expireTime": "2026-01-01T00:15:00Z"}));
    let stub = Stub::start([source(3600), stood_in, bounded_of(3600)]).await;
    let audience = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a/providers/b";
    let account = "vends@p.iam.gserviceaccount.com";
    let path = format!("/v1/projects/-/serviceAccounts/{account}:generateAccessToken");
    let settings = json!({
        "identity": {"kind": "workload-identity", "external_account": {
            "type": "external_account", "audience": audience,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": format!("{}/sts", stub.url),
            "service_account_impersonation_url": format!("{}{path}", stub.url),
            "universe_domain": "googleapis.com",
            "credential_source": {"file": file, "format": {"type": "json", "subject_token_field_name": "id_token"}},
        }},
        "token_service": format!("{}/v1/token", stub.url),
    });
    let fetched = fetch(&gcs(&settings, &json!({}), &clock).unwrap(), &clock, 900).await.unwrap();
    let asked = stub.asked();
    assert_eq!(asked[0].line, "POST /sts");
    assert_eq!(
        asked[0].form(),
        owned(&[
            ("grant_type", EXCHANGE),
            ("audience", audience),
            ("scope", PLATFORM),
            ("requested_token_type", ACCESS_TOKEN),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
            ("subject_token", "other.jwt"),
        ])
    );
    assert_eq!(asked[1].line, format!("POST {path}"));
    assert_eq!(asked[1].header("authorization"), Some("Bearer ya29.source"));
    assert_eq!(
        serde_json::from_str::<Value>(&asked[1].body).unwrap(),
        json!({"scope": [PLATFORM], "lifetime": "900s"})
    );
    assert!(asked[2].form().contains(&("subject_token".into(), "ya29.stood-in".into())));
    assert_eq!(fetched.credential.expiration().to_string(), "2026-01-01T00:15:00Z");
}

#[tokio::test]
async fn a_token_that_would_live_too_long_is_not_handed_out() {
    let clock = Arc::new(FixedClock::default());
    let stub = Stub::start([]).await;
    let own = gcs(&metadata(&stub.url), &json!({}), &clock).unwrap();
    let error = fetch(&own, &clock, 3599).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.message().contains("3600 s") && stub.asked().is_empty(), "{error}");
    // A provider that gives more than it was asked for.
    let stub = Stub::start([source(43_200), bounded_of(43_200)]).await;
    let own = gcs(&metadata(&stub.url), &json!({}), &clock).unwrap();
    let error = fetch(&own, &clock, 3600).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Upstream);
    assert!(error.detail().unwrap().contains("longer than it may"), "{error:?}");
    // The time that asking took is not held against it, and not told as life.
    let stub = Stub::start([source(3630), bounded_of(3630)]).await;
    let own = gcs(&metadata(&stub.url), &json!({}), &clock).unwrap();
    let fetched = fetch(&own, &clock, 3600).await.unwrap();
    assert_eq!(fetched.credential.expiration().to_string(), "2026-01-01T01:00:00Z");
}

/// What fails, the answers, the kind and words of the refusal, and when to try again.
type Case = (&'static str, Vec<Reply>, Kind, &'static str, Option<u32>);

/// What goes wrong at the provider, and what it is to the caller.
#[tokio::test]
async fn failures_are_told_apart_and_tell_no_secret() {
    let error =
        |status, headers: Vec<(&'static str, String)>, body: Value| Reply::Now(status, headers, body.to_string());
    let grant = || json!({"error": "invalid_grant", "error_description": "Invalid JWT: ya29.source"});
    let denied = json!({"error": {"code": 403, "message": "ya29.source", "status": "PERMISSION_DENIED"}});
    let skewed = ("date", "Wed, 31 Dec 2025 23:00:00 GMT".to_owned());
    let retry = |secs: &str| vec![("retry-after", secs.to_owned())];
    let text = |text: &str| Reply::Now(200, vec![], text.to_owned());
    let other = json!({"access_token": "b", "issued_token_type": "urn:x", "expires_in": 5});
    let cases: Vec<Case> = vec![
        ("source: no answer", vec![Reply::Never], Kind::UpstreamTimeout, "metadata server", None),
        (
            "source: 400, skewed",
            vec![error(400, vec![skewed], grant())],
            Kind::Upstream,
            "400 invalid_grant; our clock is 3600 s ahead of theirs",
            None,
        ),
        ("source: 429", vec![error(429, retry("30"), json!({}))], Kind::RateLimited, "429", Some(30)),
        ("source: 500", vec![error(500, vec![], json!({}))], Kind::Upstream, "500", None),
        ("source: malformed", vec![text("{\"access_token\": 1}")], Kind::Upstream, "no access token", None),
        ("exchange: no answer", vec![source(3600), Reply::Never], Kind::UpstreamTimeout, "token service", None),
        ("exchange: 400", vec![source(3600), error(400, vec![], grant())], Kind::Upstream, "; the boundary has ", None),
        (
            "exchange: 403",
            vec![source(3600), error(403, vec![], denied)],
            Kind::Upstream,
            "403 PERMISSION_DENIED",
            None,
        ),
        ("exchange: 429 no hint", vec![source(3600), error(429, vec![], json!({}))], Kind::RateLimited, "429", Some(1)),
        (
            "exchange: 429 odd hint",
            vec![source(3600), error(429, retry("Fri, 31"), json!({}))],
            Kind::RateLimited,
            "429",
            Some(1),
        ),
        ("exchange: 503", vec![source(3600), error(503, vec![], json!({}))], Kind::Upstream, "503", None),
        ("exchange: malformed", vec![source(3600), text("<xml>ya29.source")], Kind::Upstream, "no bounded token", None),
        ("exchange: another type", vec![source(3600), Reply::json(&other)], Kind::Upstream, "another type", None),
        ("exchange: over", vec![source(3600), bounded_of(-5)], Kind::Upstream, "no time", None),
    ];
    for (what, replies, kind, word, retry) in cases {
        let clock = Arc::new(FixedClock::default());
        let stub = Stub::start(replies).await;
        let own = gcs(&metadata(&stub.url), &json!({}), &clock).unwrap().patient(Duration::from_millis(200));
        let error = fetch(&own, &clock, 3600).await.unwrap_err();
        assert_eq!((error.kind(), error.retry_after_secs()), (kind, retry), "{what}: {error:?}");
        assert!(error.detail().unwrap_or_default().contains(word), "{what}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("ya29"), "{what}");
    }
}

#[test]
fn bad_settings_are_refused_by_their_fields() {
    let clock = Arc::new(FixedClock::default());
    let good = || json!({"identity": {"kind": "metadata"}});
    let external = |change: fn(&mut Value)| {
        let mut external = json!({
            "type": "external_account", "audience": "a", "subject_token_type": "t", "token_url": "https://sts.googleapis.com/v1/token",
            "service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/x:generateAccessToken",
            "credential_source": {"file": "/x"},
        });
        change(&mut external);
        json!({"kind": "workload-identity", "external_account": external})
    };
    assert!(gcs(&json!({"identity": external(|_| ())}), &json!({}), &clock).is_ok());
    let cases = [
        ("identity", json!({"kind": "service-account-key"}), json!({}), "service_account_key"),
        (
            "identity",
            json!({"kind": "service-account-key"}),
            json!({"service_account_key": "hush"}),
            "service_account_key",
        ),
        ("identity", json!({"kind": "metadata"}), json!({"service_account_key": "hush"}), "service_account_key"),
        ("identity", json!({"kind": "metadata", "endpoint": "x"}), json!({}), "identity.endpoint"),
        ("identity", external(|it| it["service_account_impersonation_url"] = Value::Null), json!({}), "impersonate"),
        ("identity", external(|it| it["token_url"] = json!("http://x")), json!({}), "identity.external_account"),
        (
            "identity",
            external(|it| it["credential_source"] = json!({"executable": {}})),
            json!({}),
            "identity.external_account",
        ),
        ("identity", external(|it| it["type"] = json!("authorized_user")), json!({}), "identity.external_account"),
        ("impersonate", json!("a/b@c"), json!({}), "impersonate"),
        ("token_service", json!("http://example.com"), json!({}), "token_service"),
        ("roles", json!({"read": "roles/storage.admin"}), json!({}), "roles.read"),
        ("roles", json!({"delete": "projects/p/roles/x\"y"}), json!({}), "roles.delete"),
    ];
    for (field, value, secrets, at) in cases {
        let mut settings = good();
        settings[field] = value;
        let error = gcs(&settings, &secrets, &clock).err().unwrap();
        assert_eq!((error.kind(), error.field()), (Kind::Invalid, Some(at)), "{error:?}");
        assert!(!format!("{error:?}").contains("hush"));
    }
    let mut settings = good();
    settings["key"] = json!("x");
    assert!(serde_json::from_value::<Settings>(settings).is_err());
    let own = gcs(&good(), &json!({}), &clock).unwrap();
    let info = Rights::of(BucketName::parse("lake").unwrap(), Paths::Whole, Actions::of(&[Action::GetBucketInfo]));
    assert_eq!(own.check(&info.unwrap()).unwrap_err().kind(), Kind::Invalid);
}

/// With a kept key an operator may name any host; where it, and what comes of it, goes is said of each setting and of the key's own file.
#[test]
fn where_a_kept_key_goes_is_said_of_each_setting_and_of_its_file() {
    let clock = Arc::new(FixedClock::default());
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", BASE64.encode(der.as_ref()));
    let base = json!({"identity": {"kind": "service-account-key"}, "impersonate": "a@p.iam.gserviceaccount.com"});
    let hosts = |more: &Value, token_uri: Option<&str>| {
        let mut settings = base.clone();
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let file = json!({
            "type": "service_account", "private_key_id": "k", "client_email": "v@p.iam.gserviceaccount.com", "private_key": pem,
            "token_uri": token_uri,
        });
        gcs(&settings, &json!({"service_account_key": file}), &clock).unwrap().hosts().clone()
    };
    let (before, evil) = (hosts(&json!({}), None), "https://evil.example");
    for (more, token_uri, new) in [
        (json!({"roles": {"read": "projects/p/roles/reader"}}), None, None),
        (json!({"impersonate": "other@p.iam.gserviceaccount.com"}), None, None),
        (json!({"token_service": format!("{evil}/v1/token")}), None, Some("token_service https://evil.example")),
        (json!({"credentials_endpoint": evil}), None, Some("credentials_endpoint https://evil.example")),
        (json!({}), Some("https://evil.example/token"), Some("service_account_key https://evil.example")),
    ] {
        let now = hosts(&more, token_uri);
        let beyond = now.beyond(&before).map(|(setting, origin)| format!("{setting} {origin}"));
        assert_eq!(beyond.as_deref(), new, "{more} {token_uri:?}");
    }
}

#[tokio::test]
async fn a_token_is_not_said_to_be_ended() {
    let clock = Arc::new(FixedClock::default());
    let gcs = gcs(&metadata("http://127.0.0.1:1"), &json!({}), &clock).unwrap();
    assert_eq!(gcs.facts().revocation, Revocability::ExpiryOnly);
    let refused = gcs.end_credentials(clock.now()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid);
    assert!(refused.message().contains("service account"), "{refused}");
}
