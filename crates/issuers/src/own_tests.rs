//! Storages without a kept secret: this server's own tokens, in the requests that each cloud publishes, against stubs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use valetkey_core::credential::Credential;
use valetkey_core::hosts::{PROVIDERS, Trusted};
use valetkey_core::id::{ProviderId, StorageId};
use valetkey_core::keyring::{Keyring, SharedKeyring};
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::identity::{
    Algorithm, Claims, IdentityProvider, KeySource, Preset, Signatures as _, SubjectClaim,
};
use valetkey_core::nouns::signing::{OwnIdentity, SigningKeys as _, published};
use valetkey_core::nouns::vault::Vault;
use valetkey_core::scope::{Actions, Path, Paths, Rights};
use valetkey_core::storage::{ExternalConfig, Quota, Revocability, Sharing, Storage, StorageKind};
use valetkey_core::time::{Clock as _, Entropy, Lifetime};
use valetkey_core::{Error, Kind, Secret};
use valetkey_oidc::{Oidc, Web};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::memory::Memory;

use crate::fetchers::Fetchers;
use crate::kind::{Environment, Surroundings};
use crate::upstream::{Fetched, SessionName, Wish};
use crate::web::stub::{Reply, Stub};

const ISSUER: &str = "https://valetkey.example.com";
const ROLE: &str = "arn:aws:iam::123456789012:role/lake";
const POOL: &str = "projects/123456789012/locations/global/workloadIdentityPools/pool/providers/valetkey";
const TENANT: &str = "22222222-2222-2222-2222-222222222222";
const CLIENT: &str = "44444444-4444-4444-4444-444444444444";

/// A server that issues tokens, as far as storages see it.
struct Server {
    clock: Arc<FixedClock>,
    memory: Arc<Memory>,
    fetchers: Arc<Fetchers>,
    storages: AtomicU8,
}

impl Server {
    async fn new(trusted: &[&str], issues: bool) -> Self {
        let clock = Arc::new(FixedClock::default());
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(5));
        let ring = || SharedKeyring::new(Keyring::new(&[(1, Secret::new([7; 32]))]).unwrap());
        let memory = Arc::new(Memory::new(entropy.clone()));
        let own = valetkey_oidc::Own::new(ISSUER, memory.clone(), ring(), clock.clone(), entropy.clone());
        own.settle(None).await.unwrap();
        let fetchers = Arc::new(Fetchers::new(Environment {
            vault: Vault::new(ring(), entropy.clone()),
            surroundings: Surroundings::default(),
            token_dirs: Vec::new(),
            machine_identity_hosts: Trusted::parse(trusted.iter().copied()).unwrap(),
            identity: issues.then(|| Arc::new(own) as Arc<dyn OwnIdentity>),
            health: valetkey_core::health::Health::new(clock.clone()),
            clock: clock.clone(),
            entropy,
            nodes: valetkey_core::fair::LiveNodes::default(),
        }));
        Self { clock, memory, fetchers, storages: AtomicU8::new(1) }
    }

    async fn local() -> Self {
        Self::new(&["127.0.0.1"], true).await
    }

    async fn fetch(&self, kind: StorageKind, name: &str, settings: &Value, actions: Actions) -> Result<Fetched, Error> {
        let external = ExternalConfig {
            settings: settings.to_string().into(),
            secrets: None,
            sharing: Sharing::Caller,
            quota: Quota::default(),
            revocation: Revocability::ExpiryOnly,
            version: 1,
        };
        let storage = Storage {
            // Another one each time, whatever it is called.
            id: StorageId::from_bytes([self.storages.fetch_add(1, Ordering::Relaxed); 16]),
            name: Name::parse(name).unwrap(),
            kind,
            endpoint: "https://s3.example.com".into(),
            internal_endpoint: None,
            region: "eu-west-1".into(),
            min_lifetime: Lifetime::secs(60),
            max_lifetime: Lifetime::secs(3600),
            external: Some(Arc::new(external)),
        };
        let daily = Paths::only([Path::directory(b"jobs/daily").unwrap()]).unwrap();
        let scope = Rights::of(BucketName::parse("lake").unwrap(), daily, actions).unwrap();
        let (session, now) = (SessionName::of("clr_somebody"), self.clock.now());
        let wish = Wish { rights: &scope, lifetime: Lifetime::secs(900), session: &session, now };
        self.fetchers.of(&storage)?.upstream.fetch(&wish).await
    }

    /// What a cloud makes of a token: who it is, if it is for this audience and signed by a key that is published.
    async fn taken(&self, token: &str, issuer: &str, audience: &str) -> Result<Claims, Error> {
        let keys = self.memory.signing_keys().await.unwrap();
        let keys: Vec<&str> = published(&keys, self.clock.now()).map(|key| &*key.public).collect();
        let provider = IdentityProvider {
            id: ProviderId::from_bytes([1; 16]),
            name: Name::parse("cloud").unwrap(),
            preset: Preset::Other,
            issuer: issuer.into(),
            keys: KeySource::Static(format!("{{\"keys\":[{}]}}", keys.join(",")).into()),
            audiences: vec![audience.into()],
            parties: Vec::new(),
            subject: vec![SubjectClaim::parse("sub").unwrap()],
            algorithms: vec![Algorithm::Rs256, Algorithm::Es256],
            leeway_secs: 0,
            max_age_secs: 3600,
            login: None,
            version: 1,
            made: self.clock.now(),
            rules: Vec::new(),
        };
        let provider = Arc::new(provider);
        Oidc::new(Web::new([]).unwrap()).verified(&provider, token, self.clock.now()).await
    }

    fn refused(&self, kind: StorageKind, settings: &Value, secrets: Option<&str>) -> Option<String> {
        let providers = self.fetchers.providers();
        let provider = providers.iter().find(|provider| provider.kind() == kind).unwrap();
        let secrets = secrets.map(|text| Secret::new(text.to_owned()));
        let error = provider.facts(&settings.to_string(), secrets.as_ref()).err()?;
        assert_eq!(error.kind(), Kind::Invalid, "{error:?}");
        Some(error.field().unwrap().to_owned())
    }
}

fn sts(endpoint: &str, more: &Value) -> Value {
    with(
        json!({"region": "eu-west-1", "role_arn": ROLE, "sts_endpoint": endpoint, "identity": {"kind": "valetkey"}}),
        more,
    )
}

fn gcs(url: &str, more: &Value) -> Value {
    with(
        json!({
            "identity": {"kind": "valetkey", "provider": POOL}, "impersonate": "lake@p.iam.gserviceaccount.com",
            "token_service": format!("{url}/v1/token"), "credentials_endpoint": url,
        }),
        more,
    )
}

fn azure(url: &str, more: &Value) -> Value {
    let identity = json!({"kind": "valetkey", "tenant": TENANT, "client": CLIENT, "authority": url});
    with(json!({"account": "lakeaccount", "endpoint": url, "namespace": "hierarchical", "identity": identity}), more)
}

fn with(mut base: Value, more: &Value) -> Value {
    base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    base
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap()).unwrap()
}

fn field(form: &[(String, String)], name: &str) -> String {
    form.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone()).unwrap()
}

/// The answer of the STS API Reference.
fn assumed() -> Reply {
    let body = r#"<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><SubjectFromWebIdentityToken>storage:sts:lake</SubjectFromWebIdentityToken><Audience>sts.amazonaws.com</Audience><AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/lake/clr_somebody</Arn><AssumedRoleId>AROA:clr_somebody</AssumedRoleId></AssumedRoleUser><Credentials><SessionToken>given-token</SessionToken><SecretAccessKey>given-secret</SecretAccessKey><Expiration>2026-01-01T00:15:00Z</Expiration><AccessKeyId>ASIAGIVEN</AccessKeyId></Credentials><Provider>https://valetkey.example.com</Provider></AssumeRoleWithWebIdentityResult><ResponseMetadata><RequestId>ad4156e9-bce1-11e2-82e6-6b6efEXAMPLE</RequestId></ResponseMetadata></AssumeRoleWithWebIdentityResponse>"#;
    Reply::Now(200, Vec::new(), body.to_owned())
}

#[tokio::test]
async fn aws_is_asked_with_a_token_and_the_session_policy_and_no_signature() {
    let server = Server::local().await;
    let stub = Stub::start([assumed(), assumed()]).await;
    let tags = json!({"source_identity": true, "session_tags": {"team": "data", "who": "{session}"}});
    let fetched = server.fetch(StorageKind::Sts, "lake", &sts(&stub.url, &tags), Actions::READ).await.unwrap();
    let Credential::S3(keys) = &fetched.credential else { panic!("not keys") };
    assert_eq!(
        (keys.access_key_id.as_str(), keys.expiration.to_string().as_str()),
        ("ASIAGIVEN", "2026-01-01T00:15:00Z")
    );
    assert_eq!(fetched.upstream_request_id.as_deref(), Some("ad4156e9-bce1-11e2-82e6-6b6efEXAMPLE"));

    let asked = stub.asked();
    assert_eq!((asked[0].line.as_str(), asked[0].header("authorization")), ("POST /", None));
    let form = asked[0].form();
    let names: Vec<&str> = form.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["Action", "Version", "RoleArn", "RoleSessionName", "DurationSeconds", "Policy", "WebIdentityToken"]
    );
    for (name, value) in [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", ROLE),
        ("RoleSessionName", "clr_somebody"),
        ("DurationSeconds", "900"),
    ] {
        assert_eq!(field(&form, name), value);
    }
    let policy = field(&form, "Policy");
    assert!(policy.contains("arn:aws:s3:::lake/jobs/daily/*") && !policy.contains("PutObject"), "{policy}");
    let token = field(&form, "WebIdentityToken");
    let said = claims(&token);
    assert_eq!(
        (&said["sub"], &said["aud"], &said["iss"]),
        (&json!("storage:sts:lake"), &json!("sts.amazonaws.com"), &json!(ISSUER))
    );
    assert_eq!(said["https://aws.amazon.com/source_identity"], "clr_somebody");
    assert_eq!(
        said["https://aws.amazon.com/tags"],
        json!({"principal_tags": {"team": ["data"], "who": ["clr_somebody"]}})
    );
    assert!(server.taken(&token, ISSUER, "sts.amazonaws.com").await.is_ok());

    // Each request has a token of its own.
    let settings =
        sts(&stub.url, &json!({"identity": {"kind": "valetkey", "audience": "lake.example", "algorithm": "ES256"}}));
    server.fetch(StorageKind::Sts, "lakes", &settings, Actions::READ).await.unwrap();
    let other = field(&stub.asked()[1].form(), "WebIdentityToken");
    assert_ne!(claims(&other)["jti"], said["jti"]);
    assert_eq!((&claims(&other)["aud"], &claims(&other)["sub"]), (&json!("lake.example"), &json!("storage:sts:lakes")));
    assert!(server.taken(&other, ISSUER, "lake.example").await.is_ok());
}

#[tokio::test]
async fn google_exchanges_a_token_and_stands_in_for_the_service_account() {
    let server = Server::local().await;
    let bounded = json!({"access_token": "ya29.bounded", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "token_type": "Bearer", "expires_in": 900});
    let stub = Stub::start([
        Reply::json(&json!({"access_token": "ya29.federated", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "token_type": "Bearer", "expires_in": 3600})),
        Reply::json(&json!({"accessToken": "ya29.account", "expireTime": "2026-01-01T00:15:00Z"})),
        Reply::json(&bounded),
    ])
    .await;
    let fetched = server.fetch(StorageKind::Gcs, "lake", &gcs(&stub.url, &json!({})), Actions::READ).await.unwrap();
    let Credential::Google(bounded) = &fetched.credential else { panic!("not a token") };
    assert_eq!(bounded.access_token.reveal(), "ya29.bounded");
    let asked = stub.asked();
    let form = asked[0].form();
    assert_eq!((asked[0].line.as_str(), asked[0].header("authorization")), ("POST /v1/token", None));
    for (name, value) in [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("audience", &*format!("//iam.googleapis.com/{POOL}")),
        ("scope", "https://www.googleapis.com/auth/cloud-platform"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
    ] {
        assert_eq!(field(&form, name), value);
    }
    let token = field(&form, "subject_token");
    assert_eq!(claims(&token)["sub"], "storage:gcs:lake");
    let audience = format!("https://iam.googleapis.com/{POOL}");
    assert!(server.taken(&token, ISSUER, &audience).await.is_ok());
    assert_eq!(asked[1].line, "POST /v1/projects/-/serviceAccounts/lake@p.iam.gserviceaccount.com:generateAccessToken");
    assert_eq!(asked[1].header("authorization"), Some("Bearer ya29.federated"));
    assert!(asked[1..].iter().all(|asked| !format!("{asked:?}").contains(&token)), "it goes to the exchange alone");
}

#[tokio::test]
async fn azure_takes_a_token_for_its_applications_own() {
    let server = Server::local().await;
    let key = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><UserDelegationKey><SignedOid>o</SignedOid><SignedTid>{TENANT}</SignedTid>\
         <SignedStart>2025-12-31T23:45:00Z</SignedStart><SignedExpiry>2026-01-02T00:00:00Z</SignedExpiry><SignedService>b</SignedService>\
         <SignedVersion>2023-11-03</SignedVersion><Value>AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=</Value></UserDelegationKey>"
    );
    let stub = Stub::start([
        Reply::json(&json!({"token_type": "Bearer", "expires_in": 3599, "access_token": "eyJ.entra.x"})),
        Reply::Now(200, Vec::new(), key),
    ])
    .await;
    server.fetch(StorageKind::Azure, "lake", &azure(&stub.url, &json!({})), Actions::READ).await.unwrap();
    let asked = stub.asked();
    assert_eq!(asked[0].line, format!("POST /{TENANT}/oauth2/v2.0/token"));
    let form = asked[0].form();
    for (name, value) in [
        ("client_id", CLIENT),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("grant_type", "client_credentials"),
        ("scope", "https://storage.azure.com/.default"),
    ] {
        assert_eq!(field(&form, name), value);
    }
    let token = field(&form, "client_assertion");
    assert_eq!(claims(&token)["sub"], "storage:azure:lake");
    assert!(server.taken(&token, ISSUER, "api://AzureADTokenExchange").await.is_ok());
    assert_eq!(asked[1].header("authorization"), Some("Bearer eyJ.entra.x"));
    assert!(!format!("{:?}", asked[1]).contains(&token), "the storage account does not see it");
}

#[tokio::test]
async fn a_token_for_one_cloud_is_nothing_to_another_nor_under_another_issuer_or_key() {
    let server = Server::local().await;
    let stub = Stub::start([assumed()]).await;
    server.fetch(StorageKind::Sts, "lake", &sts(&stub.url, &json!({})), Actions::READ).await.unwrap();
    let token = field(&stub.asked()[0].form(), "WebIdentityToken");
    let azure = "api://AzureADTokenExchange".to_owned();
    for audience in [azure, format!("https://iam.googleapis.com/{POOL}"), format!("//iam.googleapis.com/{POOL}")] {
        assert!(server.taken(&token, ISSUER, &audience).await.is_err(), "{audience}");
    }
    for issuer in ["https://valetkey.example.com/", "https://valetkey.example.org", "http://valetkey.example.com"] {
        assert!(server.taken(&token, issuer, "sts.amazonaws.com").await.is_err(), "{issuer}");
    }
    assert!(server.taken(&token, ISSUER, "sts.amazonaws.com").await.is_ok());
    let (signed, _) = token.rsplit_once('.').unwrap();
    assert!(server.taken(&format!("{signed}.{}", "A".repeat(342)), ISSUER, "sts.amazonaws.com").await.is_err());
    server.clock.advance_secs(291);
    assert!(server.taken(&token, ISSUER, "sts.amazonaws.com").await.is_err(), "it lives for minutes");
    // No setting makes a token of one kind for another cloud.
    for audience in ["api://AzureADTokenExchange", "//iam.googleapis.com/x", "HTTPS://iam.googleapis.com/x", "", "a b"]
    {
        let settings = sts(
            "https://sts.eu-west-1.amazonaws.com",
            &json!({"identity": {"kind": "valetkey", "audience": audience}}),
        );
        assert_eq!(
            server.refused(StorageKind::Sts, &settings, None).as_deref(),
            Some("settings.identity.audience"),
            "{audience}"
        );
    }
}

#[tokio::test]
async fn what_a_cloud_refuses_or_makes_up_is_an_error_without_the_token() {
    let server = Server::local().await;
    let refusal = |code: &str, message: &str| {
        let body = format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>r-1</RequestId></ErrorResponse>"
        );
        Reply::Now(400, Vec::new(), body)
    };
    let html = || Reply::Now(200, vec![("content-type", "text/html".into())], "<html>Log in</html>".to_owned());
    let huge = || Reply::Now(200, Vec::new(), "x".repeat(300 * 1024));
    for (reply, said) in [
        (
            refusal(
                "InvalidIdentityToken",
                "No OpenIDConnect provider found in your account for https://valetkey.example.com",
            ),
            "No OpenIDConnect provider",
        ),
        (
            refusal(
                "ExpiredTokenException",
                "Token expired: current date/time must be before the expiration date/time",
            ),
            "ExpiredTokenException",
        ),
        (refusal("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"), "Not authorized"),
        (html(), "not an AssumeRoleResponse"),
        (huge(), "more than 262144 bytes"),
    ] {
        let stub = Stub::start([reply]).await;
        let error =
            server.fetch(StorageKind::Sts, "lake", &sts(&stub.url, &json!({})), Actions::READ).await.unwrap_err();
        let shown = format!("{error:?} {error}");
        assert!(error.kind() == Kind::Upstream && shown.contains(said), "{shown}");
        let token = field(&stub.asked()[0].form(), "WebIdentityToken");
        assert!(token.split('.').all(|part| !shown.contains(part)), "{shown}");
    }
    // One that repeats what it was given, in its own words.
    let stub = Stub::start([Reply::Never]).await;
    let slow = sts(&stub.url, &json!({"timeout_ms": 100}));
    let error = server.fetch(StorageKind::Sts, "lake", &slow, Actions::READ).await.unwrap_err();
    assert_eq!(error.kind(), Kind::UpstreamTimeout, "{error:?}");
    let token = field(&stub.asked()[0].form(), "WebIdentityToken");
    let stub = Stub::start([refusal("InvalidIdentityToken", &format!("cannot read {token}"))]).await;
    let error = server.fetch(StorageKind::Sts, "pond", &sts(&stub.url, &json!({})), Actions::READ).await.unwrap_err();
    assert!(token.split('.').all(|part| !format!("{error:?}").contains(part)), "{error:?}");
    for (kind, settings) in
        [(StorageKind::Gcs, gcs as fn(&str, &Value) -> Value), (StorageKind::Azure, azure as fn(&str, &Value) -> Value)]
    {
        let invalid = || {
            Reply::Now(401, Vec::new(), json!({"error": "invalid_client", "error_description": "AADSTS700213: No matching federated identity record found"}).to_string())
        };
        for reply in [invalid(), html(), huge()] {
            let stub = Stub::start([reply]).await;
            let error = server.fetch(kind, "lake", &settings(&stub.url, &json!({})), Actions::READ).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Upstream, "{error:?}");
            let body = &stub.asked()[0].body;
            let token = body.split(['=', '&']).find(|part| part.starts_with("eyJ")).unwrap();
            assert!(token.split('.').all(|part| !format!("{error:?}").contains(part)), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_token_goes_only_where_the_servers_file_says() {
    let evil = "https://evil.example";
    let server = Server::new(&PROVIDERS, true).await;
    let (aws, google, entra) =
        ("https://sts.eu-west-1.amazonaws.com", "https://sts.googleapis.com", "https://login.microsoftonline.com");
    let at_azure = json!({"endpoint": null});
    let google_own = json!({"token_service": null, "credentials_endpoint": null});
    let cases = [
        (StorageKind::Sts, sts(aws, &json!({})), None),
        (StorageKind::Sts, sts(evil, &json!({})), Some("settings.sts_endpoint")),
        (StorageKind::Sts, sts(aws, &json!({"external_id": "ours"})), Some("settings.external_id")),
        (StorageKind::Sts, sts(aws, &json!({"revoke": {"role_policy": "valetkey-x"}})), Some("settings.revoke")),
        (StorageKind::Gcs, gcs(google, &google_own), None),
        (
            StorageKind::Gcs,
            gcs(google, &with(google_own.clone(), &json!({"token_service": format!("{evil}/v1/token")}))),
            Some("settings.token_service"),
        ),
        (
            StorageKind::Gcs,
            gcs(google, &with(google_own.clone(), &json!({"credentials_endpoint": evil}))),
            Some("settings.credentials_endpoint"),
        ),
        (
            StorageKind::Gcs,
            gcs(google, &with(google_own.clone(), &json!({"impersonate": null}))),
            Some("settings.impersonate"),
        ),
        (
            StorageKind::Gcs,
            gcs(
                google,
                &with(google_own.clone(), &json!({"identity": {"kind": "valetkey", "provider": "projects/p/x"}})),
            ),
            Some("settings.identity.provider"),
        ),
        (StorageKind::Azure, azure(entra, &at_azure), None),
        (StorageKind::Azure, azure(evil, &at_azure), Some("settings.identity.authority")),
        (StorageKind::Azure, azure(entra, &json!({"endpoint": evil})), Some("settings.endpoint")),
    ];
    for (kind, settings, field) in &cases {
        assert_eq!(server.refused(*kind, settings, None).as_deref(), *field, "{settings}");
    }
    for (kind, settings, secrets) in [
        (StorageKind::Sts, &cases[0].1, r#"{"access_key_id":"AKIA","secret_access_key":"x"}"#),
        (StorageKind::Gcs, &cases[4].1, r#"{"service_account_key":"x"}"#),
        (StorageKind::Azure, &cases[9].1, r#"{"client_secret":"x"}"#),
    ] {
        assert!(server.refused(kind, settings, Some(secrets)).is_some(), "{settings}");
    }
    // Of what was taken before, nothing is sent either once the file says so no more.
    let stub = Stub::start([assumed()]).await;
    let refused = server.fetch(StorageKind::Sts, "lake", &sts(&stub.url, &json!({})), Actions::READ).await.unwrap_err();
    assert!(refused.kind() == Kind::Internal && stub.asked().is_empty(), "{refused:?}");
    // And where the server issues none, there is none.
    let silent = Server::new(&["127.0.0.1"], false).await;
    assert_eq!(
        silent.refused(StorageKind::Sts, &sts(&stub.url, &json!({})), None).as_deref(),
        Some("settings.identity.kind")
    );
    let away = silent.fetch(StorageKind::Sts, "lake", &sts(&stub.url, &json!({})), Actions::READ).await.unwrap_err();
    assert!(away.kind() == Kind::Unavailable && stub.asked().is_empty(), "{away:?}");
}
