use std::time::Duration;

use serde_json::json;
use valetkey_core::hosts::Platform;
use valetkey_core::name::BucketName;
use valetkey_core::scope::{Action, Actions, Path, Paths};
use valetkey_core::storage::Revocability;
use valetkey_core::time::Lifetime;
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;

use super::*;
use crate::upstream::SessionName;
use crate::web::stub::{Asked, Reply, Stub};

const TENANT: &str = "22222222-2222-2222-2222-222222222222";
const CLIENT: &str = "44444444-4444-4444-4444-444444444444";

fn settings(endpoint: &str, identity: &serde_json::Value) -> Settings {
    serde_json::from_value(
        json!({"account": "lakeaccount", "endpoint": endpoint, "namespace": "hierarchical", "identity": identity}),
    )
    .unwrap()
}

fn secret_identity(authority: &str) -> serde_json::Value {
    json!({"kind": "client-secret", "tenant": TENANT, "client": CLIENT, "authority": authority})
}

fn azure(settings: &Settings, secrets: &serde_json::Value, clock: &Arc<FixedClock>) -> Result<Azure, Error> {
    let secrets = Secrets::parse(secrets.to_string().as_bytes())?;
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    Azure::new(settings, secrets, reqwest::Client::new(), clock, Arc::new(SeededEntropy::new(7)))
}

fn scope() -> Rights {
    let daily = Paths::only([Path::directory(b"jobs/daily").unwrap()]).unwrap();
    Rights::of(BucketName::parse("lake").unwrap(), daily, Actions::READ).unwrap()
}

async fn fetch(azure: &Azure, clock: &FixedClock, secs: u32) -> Result<Fetched, Error> {
    let session = SessionName::of("clr_somebody");
    let wish = Wish { rights: &scope(), lifetime: Lifetime::secs(secs), session: &session, now: clock.now() };
    azure.fetch(&wish).await
}

fn token() -> Reply {
    Reply::json(
        &json!({"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": "eyJ.token.x"}),
    )
}

fn key(start: &str, expiry: &str) -> Reply {
    // As "Get User Delegation Key" shows it.
    let body = format!(
        "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><UserDelegationKey>\
         <SignedOid>11111111-1111-1111-1111-111111111111</SignedOid><SignedTid>{TENANT}</SignedTid>\
         <SignedStart>{start}</SignedStart><SignedExpiry>{expiry}</SignedExpiry><SignedService>b</SignedService>\
         <SignedVersion>2023-11-03</SignedVersion><Value>AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=</Value>\
         </UserDelegationKey>"
    );
    Reply::Now(200, vec![("content-type", "application/xml".into())], body)
}

fn fields(fetched: &Fetched) -> Vec<(String, String)> {
    let Credential::Azure(sas) = &fetched.credential else { panic!("not a signature") };
    let asked = Asked { line: String::new(), headers: Vec::new(), body: sas.sas_token.reveal().clone() };
    asked.form()
}

#[tokio::test]
async fn a_key_is_asked_for_as_published_and_signs_many_times() {
    let stub = Stub::start([token(), key("2025-12-31T23:45:00Z", "2026-01-02T00:00:00Z")]).await;
    let clock = Arc::new(FixedClock::default());
    let identity = secret_identity(&stub.url);
    let azure = azure(&settings(&stub.url, &identity), &json!({"client_secret": "hush ~+%"}), &clock).unwrap();
    let fetched = fetch(&azure, &clock, 3600).await.unwrap();

    let asked = stub.asked();
    assert_eq!(asked[0].line, format!("POST /{TENANT}/oauth2/v2.0/token"));
    assert_eq!(asked[0].header("content-type"), Some("application/x-www-form-urlencoded"));
    let form = [
        ("client_id", CLIENT),
        ("client_secret", "hush ~+%"),
        ("grant_type", "client_credentials"),
        ("scope", "https://storage.azure.com/.default"),
    ];
    assert_eq!(asked[0].form(), form.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(asked[1].line, "POST /?restype=service&comp=userdelegationkey");
    assert_eq!(asked[1].header("authorization"), Some("Bearer eyJ.token.x"));
    assert_eq!(asked[1].header("x-ms-version"), Some("2023-11-03"));
    assert_eq!(
        asked[1].body,
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><KeyInfo><Start>2025-12-31T23:45:00Z</Start>\
         <Expiry>2026-01-02T00:00:00Z</Expiry></KeyInfo>"
    );

    let said = fields(&fetched);
    let field = |name: &str| said.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
    assert_eq!(fetched.credential.expiration().to_string(), "2026-01-01T01:00:00Z");
    assert_eq!(field("se"), Some("2026-01-01T01:00:00Z"));
    assert_eq!((field("sr"), field("sdd"), field("sp")), (Some("d"), Some("2"), Some("rl")));
    assert_eq!((field("spr"), field("st")), (None, None), "the endpoint has no TLS here");
    assert_eq!(field("scid"), fetched.upstream_request_id.as_deref());
    let id = fetched.upstream_request_id.as_deref().unwrap();
    assert!(id.len() == 36 && id.as_bytes()[14] == b'4' && matches!(id.as_bytes()[19], b'8'..=b'b'), "{id}");
    let narrowed: Vec<String> = fetched.narrowed.iter().map(ToString::to_string).collect();
    assert_eq!(narrowed.len(), 3, "{narrowed:?}");
    assert_eq!(
        narrowed[1..],
        [
            "beyond get-object: reading earlier versions and snapshots",
            "beyond list-bucket: the names of earlier versions, of snapshots and of blobs that are not committed"
        ]
    );

    // The second makes no request, and is told apart from the first.
    clock.advance_secs(3600);
    let second = fetch(&azure, &clock, 3600).await.unwrap();
    assert_eq!(stub.asked().len(), 2);
    assert_ne!(second.upstream_request_id, fetched.upstream_request_id);
}

#[tokio::test]
async fn a_key_is_renewed_ahead_and_an_outage_meanwhile_harms_nobody() {
    let clock = Arc::new(FixedClock::default());
    let first = key("2025-12-31T23:45:00Z", "2026-01-02T00:00:00Z");
    let down = || Reply::Now(500, Vec::new(), String::new());
    let stub =
        Stub::start([token(), first, down(), down(), token(), key("2026-01-01T12:45:00Z", "2026-01-02T13:00:00Z")])
            .await;
    let azure =
        azure(&settings(&stub.url, &secret_identity(&stub.url)), &json!({"client_secret": "x"}), &clock).unwrap();
    fetch(&azure, &clock, 3600).await.unwrap();
    clock.advance_secs(13 * 3600);
    let fetched = fetch(&azure, &clock, 3600).await.unwrap();
    assert_eq!(fields(&fetched).iter().find(|(name, _)| name == "ske").unwrap().1, "2026-01-02T00:00:00Z");
    clock.advance_secs(30);
    let fetched = fetch(&azure, &clock, 3600).await.unwrap();
    assert_eq!(fields(&fetched).iter().find(|(name, _)| name == "ske").unwrap().1, "2026-01-02T13:00:00Z");
}

#[tokio::test]
async fn a_key_that_lives_shorter_than_it_was_asked_to_is_used_until_half_of_its_life_is_over() {
    let clock = Arc::new(FixedClock::default());
    let short = key("2025-12-31T23:45:00Z", "2026-01-01T00:10:00Z");
    let down = Reply::Now(503, Vec::new(), String::new());
    let stub = Stub::start([token(), short, down, key("2025-12-31T23:50:00Z", "2026-01-02T00:05:00Z")]).await;
    let azure =
        azure(&settings(&stub.url, &secret_identity(&stub.url)), &json!({"client_secret": "x"}), &clock).unwrap();
    for _ in 0..5 {
        let fetched = fetch(&azure, &clock, 3600).await.unwrap();
        assert_eq!(fetched.credential.expiration().to_string(), "2026-01-01T00:10:00Z");
        clock.advance_secs(59);
    }
    assert_eq!(stub.asked().len(), 2, "asked again, it gives no more");
    clock.advance_secs(10);
    assert_eq!(fetch(&azure, &clock, 3600).await.unwrap().credential.expiration().to_string(), "2026-01-01T00:10:00Z");
    assert_eq!(stub.asked().len(), 3, "an outage meanwhile harms nobody");
    clock.advance_secs(31);
    assert_eq!(fetch(&azure, &clock, 3600).await.unwrap().credential.expiration().to_string(), "2026-01-01T01:05:36Z");
}

#[tokio::test]
async fn a_signature_never_says_it_outlives_its_key() {
    let clock = Arc::new(FixedClock::default());
    let week = "2026-01-07T23:45:00Z";
    let stub =
        Stub::start([token(), key("2025-12-31T23:45:00Z", week), key("2025-12-31T23:45:00Z", "2026-01-01T00:10:00Z")])
            .await;
    let settings = settings(&stub.url, &secret_identity(&stub.url));
    let own = azure(&settings, &json!({"client_secret": "x"}), &clock).unwrap();
    let fetched = fetch(&own, &clock, 30 * 86_400).await.unwrap();
    assert_eq!(fetched.credential.expiration().to_string(), week);
    assert!(stub.asked()[1].body.contains(&format!("<Expiry>{week}</Expiry>")));
    // A service that gives less than was asked.
    let stub2 = Stub::start([token(), key("2025-12-31T23:45:00Z", "2026-01-01T00:10:00Z")]).await;
    let settings = super::tests::settings(&stub2.url, &secret_identity(&stub2.url));
    let own = azure(&settings, &json!({"client_secret": "x"}), &clock).unwrap();
    let fetched = fetch(&own, &clock, 3600).await.unwrap();
    assert_eq!(fetched.credential.expiration().to_string(), "2026-01-01T00:10:00Z");
}

#[tokio::test]
async fn other_identities_ask_in_their_own_way() {
    let clock = Arc::new(FixedClock::default());
    let expiry = "2026-01-02T00:00:00Z";
    let managed = Reply::json(&json!({"access_token": "mi", "expires_in": "86399", "token_type": "Bearer"}));
    let stub = Stub::start([managed, key("2025-12-31T23:45:00Z", expiry)]).await;
    let identity = json!({"kind": "managed-identity", "client": CLIENT, "endpoint": format!("{}/metadata", stub.url)});
    let own = azure(&settings(&stub.url, &identity), &json!({}), &clock).unwrap();
    fetch(&own, &clock, 3600).await.unwrap();
    let asked = stub.asked();
    assert_eq!(
        asked[0].line,
        format!("GET /metadata?api-version=2018-02-01&resource=https%3A%2F%2Fstorage.azure.com%2F&client_id={CLIENT}")
    );
    assert_eq!(asked[0].header("metadata"), Some("true"));
    assert_eq!(asked[1].header("authorization"), Some("Bearer mi"));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "federated.jwt.here\n").unwrap();
    let stub = Stub::start([token(), key("2025-12-31T23:45:00Z", expiry)]).await;
    let identity = json!({
        "kind": "workload-identity", "tenant": TENANT, "client": CLIENT, "token_file": file, "authority": stub.url
    });
    let own = azure(&settings(&stub.url, &identity), &json!({}), &clock).unwrap();
    fetch(&own, &clock, 3600).await.unwrap();
    let form = [
        ("client_id", CLIENT),
        ("client_assertion", "federated.jwt.here"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("grant_type", "client_credentials"),
        ("scope", "https://storage.azure.com/.default"),
    ];
    assert_eq!(stub.asked()[0].form(), form.map(|(name, value)| (name.to_owned(), value.to_owned())));

    std::fs::remove_file(&file).unwrap();
    let identity = json!({"kind": "workload-identity", "tenant": TENANT, "client": CLIENT, "token_file": file});
    let own = azure(&settings(&stub.url, &identity), &json!({}), &clock).unwrap();
    assert_eq!(fetch(&own, &clock, 3600).await.unwrap_err().kind(), Kind::Unavailable);
}

#[tokio::test]
async fn the_accounts_own_key_signs_without_asking_anyone() {
    let clock = Arc::new(FixedClock::default());
    let settings = settings("http://azurite:10000/lakeaccount", &json!({"kind": "account-key"}));
    let key = BASE64.encode(&(0..64).collect::<Vec<u8>>());
    let own = azure(&settings, &json!({"account_key": key}), &clock).unwrap();
    let fetched = fetch(&own, &clock, 900).await.unwrap();
    assert_eq!(fetched.credential.expiration().to_string(), "2026-01-01T00:15:00Z");
    assert_eq!(fetched.upstream_request_id, None);
    assert!(fields(&fetched).iter().all(|(name, _)| !name.starts_with("sk")));
}

/// What goes wrong at the provider, and what it is to the caller.
#[tokio::test]
async fn failures_are_told_apart_and_tell_no_secret() {
    let error = |status, headers: Vec<(&'static str, String)>, body: serde_json::Value| {
        Reply::Now(status, headers, body.to_string())
    };
    let denied = json!({"error": "invalid_client", "error_codes": [7_000_215],
        "error_description": "AADSTS7000215: Invalid client secret provided: the-secret-itself"});
    let skewed = || ("date", "Thu, 01 Jan 2026 00:20:00 GMT".to_owned());
    let old = key("2025-12-30T00:00:00Z", "2025-12-31T00:00:00Z");
    let busy = |status, code: &str| Reply::Now(status, vec![("x-ms-error-code", code.to_owned())], String::new());
    let xml = |body: &str| Reply::Now(200, Vec::new(), body.to_owned());
    let cases: Vec<(&str, Vec<Reply>, Kind, &str)> = vec![
        ("token: no answer", vec![Reply::Never], Kind::UpstreamTimeout, "did not answer in time"),
        ("token: bad secret", vec![error(401, vec![], denied)], Kind::Upstream, "401 invalid_client 7000215"),
        (
            "token: 400",
            vec![error(400, vec![skewed()], json!({"error": "invalid_request"}))],
            Kind::Upstream,
            "our clock is 1200 s behind theirs",
        ),
        ("token: 429", vec![error(429, vec![("retry-after", "17".into())], json!({}))], Kind::RateLimited, "429"),
        ("token: 500", vec![error(500, vec![], json!("the-secret-itself"))], Kind::Upstream, "answered 500"),
        ("token: malformed", vec![xml("<html>the-secret-itself")], Kind::Upstream, "no access token"),
        ("token: no end", vec![error(200, vec![], json!({"access_token": "t"}))], Kind::Upstream, "no time"),
        (
            "token: over",
            vec![error(200, vec![], json!({"access_token": "t", "expires_in": 0}))],
            Kind::Upstream,
            "no time",
        ),
        ("key: no answer", vec![token(), Reply::Never], Kind::UpstreamTimeout, "Azure Storage"),
        ("key: 400", vec![token(), busy(400, "InvalidXmlDocument")], Kind::Upstream, "400 InvalidXmlDocument"),
        (
            "key: 403",
            vec![token(), busy(403, "AuthorizationPermissionMismatch")],
            Kind::Upstream,
            "AuthorizationPermissionMismatch",
        ),
        ("key: 503 busy", vec![token(), busy(503, "ServerBusy")], Kind::RateLimited, "503 ServerBusy"),
        ("key: 500", vec![token(), busy(500, "InternalError")], Kind::Upstream, "500 InternalError"),
        (
            "key: malformed",
            vec![token(), xml("<UserDelegationKey><SignedOid>x</SignedOid>")],
            Kind::Upstream,
            "no delegation key",
        ),
        ("key: not text", vec![token(), xml("<Value>&amp;</Value>")], Kind::Upstream, "no delegation key"),
        ("key: over already", vec![token(), old], Kind::Upstream, "over"),
        ("key: redirect", vec![token(), Reply::Now(304, vec![], String::new())], Kind::Upstream, "304"),
    ];
    for (what, replies, kind, word) in cases {
        let clock = Arc::new(FixedClock::default());
        let stub = Stub::start(replies).await;
        let settings = settings(&stub.url, &secret_identity(&stub.url));
        let own = azure(&settings, &json!({"client_secret": "the-secret-itself"}), &clock).unwrap();
        let error = fetch(&own.patient(Duration::from_millis(200)), &clock, 3600).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{what}: {error:?}");
        assert!(error.detail().unwrap_or_default().contains(word), "{what}: {error:?}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("the-secret-itself") && !shown.contains("eyJ.token.x"), "{what}: {shown}");
        let retry = match (kind, what) {
            (Kind::RateLimited, "token: 429") => Some(17),
            (Kind::RateLimited, _) => Some(1),
            _ => None,
        };
        assert_eq!(error.retry_after_secs(), retry, "{what}");
    }
    // Nobody there at all.
    let clock = Arc::new(FixedClock::default());
    let settings = settings("http://127.0.0.1:1", &secret_identity("http://127.0.0.1:1"));
    let own = azure(&settings, &json!({"client_secret": "the-secret-itself"}), &clock).unwrap();
    assert_eq!(fetch(&own, &clock, 60).await.unwrap_err().kind(), Kind::Upstream);
}

#[tokio::test]
async fn a_token_that_was_refused_is_not_used_again() {
    let clock = Arc::new(FixedClock::default());
    let refused = Reply::Now(403, vec![("x-ms-error-code", "AuthenticationFailed".into())], String::new());
    let good = key("2025-12-31T23:45:00Z", "2026-01-02T00:00:00Z");
    let stub = Stub::start([token(), refused, token(), good]).await;
    let settings = settings(&stub.url, &secret_identity(&stub.url));
    let own = azure(&settings, &json!({"client_secret": "x"}), &clock).unwrap();
    assert_eq!(fetch(&own, &clock, 60).await.unwrap_err().kind(), Kind::Upstream);
    fetch(&own, &clock, 60).await.unwrap();
    assert_eq!(stub.asked().len(), 4);
}

#[test]
fn bad_settings_are_refused_by_their_fields() {
    let clock = Arc::new(FixedClock::default());
    let good =
        || json!({"account": "lakeaccount", "identity": {"kind": "client-secret", "tenant": TENANT, "client": CLIENT}});
    let cases = [
        ("account", json!("Lake!"), json!({"client_secret": "x"}), "account"),
        ("endpoint", json!("http://blob.example.com"), json!({"client_secret": "x"}), "endpoint"),
        (
            "identity",
            json!({"kind": "client-secret", "tenant": "a/../b", "client": CLIENT}),
            json!({"client_secret": "x"}),
            "identity.tenant",
        ),
        (
            "identity",
            json!({"kind": "client-secret", "tenant": TENANT, "client": ""}),
            json!({"client_secret": "x"}),
            "identity.client",
        ),
        (
            "identity",
            json!({"kind": "client-secret", "tenant": TENANT, "client": CLIENT, "authority": "http://x"}),
            json!({"client_secret": "x"}),
            "identity.authority",
        ),
        ("account", json!("lakeaccount"), json!({}), "client_secret"),
        ("account", json!("lakeaccount"), json!({"client_secret": "x", "account_key": "eA=="}), "account_key"),
        ("identity", json!({"kind": "account-key"}), json!({}), "account_key"),
        ("identity", json!({"kind": "account-key"}), json!({"account_key": "not base64"}), "account_key"),
        ("identity", json!({"kind": "managed-identity"}), json!({"client_secret": "x"}), "client_secret"),
    ];
    for (field, value, secrets, at) in cases {
        let mut settings = good();
        settings[field] = value;
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let error = azure(&settings, &secrets, &clock).err().unwrap();
        assert_eq!((error.kind(), error.field()), (Kind::Invalid, Some(at)), "{error:?}");
    }
    let mut settings = good();
    settings["key"] = json!("x");
    assert!(serde_json::from_value::<Settings>(settings).is_err());
    let mut settings = good();
    settings["identity"]["secret"] = json!("x");
    assert!(serde_json::from_value::<Settings>(settings).is_err());
    let error = Secrets::parse(b"{\"client_secret\": 5, \"x\": \"hush\"}").unwrap_err();
    assert!(error.field() == Some("secrets") && !format!("{error:?}").contains("hush"));
    // One object's list alone is nothing.
    let one = Paths::only([Path::object(b"x").unwrap()]).unwrap();
    let listing = Rights::of(BucketName::parse("lake").unwrap(), one, Actions::of(&[Action::ListBucket])).unwrap();
    let own = azure(&serde_json::from_value(good()).unwrap(), &json!({"client_secret": "x"}), &clock).unwrap();
    assert_eq!(own.check(&listing).unwrap_err().kind(), Kind::Invalid);
}

const SUBSCRIPTION: &str = "55555555-5555-5555-5555-555555555555";

fn with_lever(stub: &Stub, clock: &Arc<FixedClock>) -> Azure {
    let mut settings = settings(&stub.url, &secret_identity(&stub.url));
    settings.revoke = Some(RevokeSettings {
        subscription: SUBSCRIPTION.to_owned(),
        resource_group: "lake.(prod)_1".to_owned(),
        management_endpoint: Some(stub.url.clone()),
    });
    azure(&settings, &json!({"client_secret": "the-secret-itself"}), clock).unwrap()
}

#[tokio::test]
async fn delegation_keys_are_revoked_as_published_and_the_last_is_not_used_again() {
    let good = || key("2025-12-31T23:45:00Z", "2026-01-02T00:00:00Z");
    let revoked = Reply::Now(200, vec![("x-ms-request-id", "r".into())], String::new());
    let stub = Stub::start([token(), good(), token(), revoked, good()]).await;
    let clock = Arc::new(FixedClock::default());
    let azure = with_lever(&stub, &clock);
    assert_eq!(azure.facts().revocation, Revocability::Minutes);
    fetch(&azure, &clock, 3600).await.unwrap();
    let ended = azure.end_credentials(clock.now()).await.unwrap();
    assert_eq!(ended.done, "the user delegation keys of the account `lakeaccount` are revoked");
    assert!(ended.notes.iter().any(|note| note.contains("that others made")), "{ended:?}");

    let asked = stub.asked();
    assert_eq!(asked.len(), 4);
    // A token for the management, not for the storage.
    let form = [
        ("client_id", CLIENT.to_owned()),
        ("client_secret", "the-secret-itself".to_owned()),
        ("grant_type", "client_credentials".to_owned()),
        ("scope", format!("{}/.default", stub.url)),
    ];
    assert_eq!(asked[2].form(), form.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!(
        asked[3].line,
        format!(
            "POST /subscriptions/{SUBSCRIPTION}/resourceGroups/lake.(prod)_1/providers/Microsoft.Storage/storageAccounts\
             /lakeaccount/revokeUserDelegationKeys?api-version=2023-05-01"
        )
    );
    assert_eq!(
        (asked[3].header("authorization"), asked[3].header("content-length")),
        (Some("Bearer eyJ.token.x"), Some("0"))
    );
    assert_eq!(asked[3].body, "");

    fetch(&azure, &clock, 3600).await.unwrap();
    assert_eq!(stub.asked()[4].line, "POST /?restype=service&comp=userdelegationkey", "another key signs");
}

#[tokio::test]
async fn a_web_page_does_not_say_that_keys_were_revoked() {
    for (kind, body) in
        [("text/html", "<html>Please log in</html>"), ("application/json", "<p>log in"), ("", "welcome")]
    {
        let page = Reply::Now(200, vec![("content-type", kind.into())], body.to_owned());
        let stub = Stub::start([token(), page]).await;
        let clock = Arc::new(FixedClock::default());
        let error = with_lever(&stub, &clock).end_credentials(clock.now()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Upstream, "{body}: {error:?}");
    }
    for body in ["", "{}", " null\n"] {
        let done = Reply::Now(202, Vec::new(), body.to_owned());
        let stub = Stub::start([token(), done]).await;
        let clock = Arc::new(FixedClock::default());
        with_lever(&stub, &clock).end_credentials(clock.now()).await.unwrap();
    }
}

#[tokio::test]
async fn what_the_management_refuses_is_not_said_to_be_done() {
    let error = |status, code: &str| {
        let body = json!({"error": {"code": code, "message": "the-secret-itself"}});
        Reply::Now(status, vec![("retry-after", "9".into())], body.to_string())
    };
    let cases: Vec<(Vec<Reply>, Kind, &str)> = vec![
        (
            vec![token(), error(403, "AuthorizationFailed")],
            Kind::Upstream,
            "management answered 403 AuthorizationFailed",
        ),
        (vec![token(), error(404, "ResourceNotFound")], Kind::Upstream, "404 ResourceNotFound"),
        (vec![token(), error(429, "TooManyRequests")], Kind::RateLimited, "429"),
        (vec![token(), Reply::Now(500, vec![], "the-secret-itself".into())], Kind::Upstream, "500"),
        (vec![token(), Reply::Now(307, vec![], String::new())], Kind::Upstream, "307"),
        (vec![token(), Reply::Never], Kind::UpstreamTimeout, "management"),
        (vec![error(401, "invalid_client")], Kind::Upstream, "Entra answered 401"),
    ];
    for (replies, kind, word) in cases {
        let clock = Arc::new(FixedClock::default());
        let stub = Stub::start(replies).await;
        let own = with_lever(&stub, &clock).patient(Duration::from_millis(300));
        let error = own.end_credentials(clock.now()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{word}: {error:?}");
        assert!(error.detail().unwrap_or_default().contains(word), "{word}: {error:?}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("the-secret-itself") && !shown.contains("eyJ.token.x"), "{shown}");
        assert_eq!(error.retry_after_secs(), (kind == Kind::RateLimited).then_some(9));
    }
}

#[tokio::test]
async fn a_lever_that_cannot_work_is_refused_and_one_that_is_missing_says_what_to_do() {
    let clock = Arc::new(FixedClock::default());
    let refused = |identity: serde_json::Value, revoke: serde_json::Value| {
        let settings = json!({"account": "lakeaccount", "identity": identity, "revoke": revoke});
        let secrets = match settings["identity"]["kind"].as_str() {
            Some("account-key") => json!({"account_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}),
            _ => json!({"client_secret": "x"}),
        };
        azure(&serde_json::from_value(settings).unwrap(), &secrets, &clock)
            .map(|azure| azure.facts().revocation)
            .map_err(|error| error.field().unwrap_or_default().to_owned())
    };
    let known = secret_identity("https://login.example.com");
    let at = |subscription: &str, group: &str| json!({"subscription": subscription, "resource_group": group});
    assert_eq!(refused(known.clone(), at(SUBSCRIPTION, "lake")), Ok(Revocability::Minutes));
    assert_eq!(refused(known.clone(), json!(null)), Ok(Revocability::ExpiryOnly));
    assert_eq!(refused(known.clone(), at("a/b", "lake")), Err("revoke.subscription".to_owned()));
    for bad in ["", "..", "a/b", "a b"] {
        assert_eq!(refused(known.clone(), at(SUBSCRIPTION, bad)), Err("revoke.resource_group".to_owned()), "{bad}");
    }
    let elsewhere = json!({"subscription": "s", "resource_group": "g", "management_endpoint": "http://example.com"});
    assert_eq!(refused(known.clone(), elsewhere), Err("revoke.management_endpoint".to_owned()));
    assert_eq!(refused(json!({"kind": "account-key"}), at(SUBSCRIPTION, "lake")), Err("revoke".to_owned()));

    let without = azure(&settings("https://x.example.com", &known), &json!({"client_secret": "x"}), &clock).unwrap();
    let error = without.end_credentials(clock.now()).await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (Kind::Invalid, Some("settings.revoke")));
}

#[tokio::test]
async fn an_app_service_is_asked_as_published() {
    let answer =
        json!({"access_token": "eyJ.app", "expires_on": "1767229199", "resource": "r", "token_type": "Bearer"});
    let stub = Stub::start([Reply::json(&answer), key("2025-12-31T23:45:00Z", "2026-01-02T00:00:00Z")]).await;
    let clock = Arc::new(FixedClock::default());
    let environment =
        [("IDENTITY_ENDPOINT", format!("{}/msi/token", stub.url)), ("IDENTITY_HEADER", "shown".to_owned())];
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
    let identity = json!({"kind": "app-service-identity", "client": CLIENT});
    let made = |platform| {
        let secrets = Secrets { platform, ..Secrets::default() };
        let clock: Arc<dyn Clock> = Arc::clone(&clock) as _;
        Azure::new(
            &settings(&stub.url, &identity),
            secrets,
            reqwest::Client::new(),
            clock,
            Arc::new(SeededEntropy::new(7)),
        )
    };
    assert_eq!(made(None).map(drop).unwrap_err().field(), Some("identity.kind"), "it runs in none");
    fetch(&made(Platform::of(&environment)).unwrap(), &clock, 3600).await.unwrap();
    let asked = stub.asked();
    assert_eq!(
        asked[0].line,
        format!("GET /msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fstorage.azure.com%2F&client_id={CLIENT}")
    );
    assert_eq!(asked[0].header("x-identity-header"), Some("shown"));
    assert_eq!(asked[1].header("authorization"), Some("Bearer eyJ.app"));
}
