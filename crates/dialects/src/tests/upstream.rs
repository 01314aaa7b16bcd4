//! What is told of a store that fails, in every dialect: the right status, how long to wait, and nothing of what was noted.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::http::{HeaderMap, StatusCode};
use valetkey_core::credential::Issued;
use valetkey_core::field::Field;
use valetkey_core::keyring::SharedKeyring;
use valetkey_core::lease::{Lease, LeaseState};
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::nouns::registry::{LeaseFilter, NewStorage};
use valetkey_core::nouns::vault::Vault;
use valetkey_core::policy::Permit;
use valetkey_core::port::Issuer;
use valetkey_core::storage::{ExternalConfig, StorageKind};
use valetkey_core::time::{Clock, Entropy};
use valetkey_core::{Error, Kind, Secret};
use valetkey_issuers::Issuers;
use valetkey_issuers::cache::{self, Cache};
use valetkey_issuers::embedded::Embedded;
use valetkey_issuers::fetchers::Fetchers;
use valetkey_issuers::kind::{Environment, Surroundings};
use valetkey_testkit::chance::SeededEntropy;

use super::carry::{DIALECTS, Doors};
use super::world::{Shot, new_storage, ring};

type Excuse = fn() -> Error;

/// An issuer that has nothing but its excuse.
struct Failing(Excuse);

#[async_trait]
impl Issuer for Failing {
    fn ready(&self, _: &Permit) -> Result<Option<Issued>, Error> {
        Ok(None)
    }

    async fn issue(&self, _: &Permit, _: &Lease) -> Result<Issued, Error> {
        Err((self.0)())
    }
}

/// The status, or what stands for it: of server faults TheirStack publishes 500 alone, and says more in the code.
fn told_of(dialect: &str, shot: &Shot) -> u16 {
    let status = shot.status.as_u16();
    match (dialect, status) {
        ("theirstack", 500) => {
            shot.json()["error"]["code"].as_str().and_then(|code| code.strip_prefix("V-")).unwrap().parse().unwrap()
        }
        // As AWS has it; the code says which.
        ("sts", 400) if shot.body.contains("<Code>Throttling</Code>") => 429,
        ("access-grants", 503) if shot.body.contains("<Code>SlowDown</Code>") => 429,
        _ => status,
    }
}

fn wait(shot: &Shot) -> Option<&str> {
    shot.headers.get("retry-after").map(|value| value.to_str().unwrap())
}

/// The answer without what is another in each run.
fn body(shot: &Shot) -> String {
    if let Some((document, _)) = shot.body.split_once("<RequestId>") {
        return document.to_owned();
    }
    let mut value = shot.json();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("request_id");
    }
    value.to_string()
}

/// Every lease of the world came to nothing: what was charged for it was given back.
async fn all_void(doors: &Doors) -> bool {
    let filter = LeaseFilter { limit: 100, ..LeaseFilter::default() };
    let leases = doors.world.memory.leases(&filter).await.unwrap();
    !leases.is_empty() && leases.iter().all(|record| record.state == LeaseState::Void)
}

#[tokio::test]
async fn a_store_that_fails_is_told_in_each_dialects_form_without_what_was_noted() {
    let failures: [(&str, Excuse); 4] = [
        ("refused", || {
            Error::new(Kind::Upstream, "the storage refused to give a credential")
                .note("noted: arn:aws:iam::1:role/r")
                .caused_by(std::io::Error::other("the hidden cause"))
        }),
        ("late", || Error::new(Kind::UpstreamTimeout, "the store did not answer in time").note("noted: 10.0.0.7")),
        ("throttled", || {
            Error::new(Kind::RateLimited, "the store is asked for too many keys").retry_after(7).note("noted: quota")
        }),
        ("cannot express", || {
            Error::new(Kind::Invalid, "200 paths are too many for one key of this store")
                .at(Field::Paths)
                .note("noted: plan")
        }),
    ];
    let mut page = String::new();
    for (name, failure) in failures {
        let storage = new_storage("local", StorageKind::Sts);
        let doors = Doors::behind(storage, |_, _, _| Arc::new(Failing(failure))).await;
        for dialect in DIALECTS {
            let shot = doors.vend(dialect).await;
            let told = format!("{:?} {}", shot.headers, shot.body);
            for hidden in ["noted", "arn:aws", "10.0.0.7", "hidden cause", "quota:"] {
                assert!(!told.contains(hidden), "{name} in {dialect}: {told}");
            }
            let kind = failure().kind();
            let waits = if kind == Kind::RateLimited {
                Some("7")
            } else {
                matches!(kind, Kind::Upstream | Kind::UpstreamTimeout).then_some("5")
            };
            assert_eq!(wait(&shot), waits, "{name} in {dialect}");
            writeln!(page, "{name} {dialect}\n  {} {}", shot.status.as_u16(), body(&shot)).unwrap();
        }
        assert!(all_void(&doors).await, "{name}");
    }
    insta::assert_snapshot!("upstream_refusals", page);
}

#[tokio::test]
async fn what_a_dialect_cannot_carry_is_told_in_its_form() {
    let storage = new_storage("local", StorageKind::Azure);
    let doors = Doors::behind(storage, |_, _, _| Arc::new(Failing(|| Error::internal("it was not to be asked")))).await;
    let mut page = String::new();
    for dialect in ["theirstack", "dreadnode", "r2"] {
        let shot = doors.vend(dialect).await;
        writeln!(page, "{dialect}\n  {} {}", shot.status.as_u16(), body(&shot)).unwrap();
    }
    insta::assert_snapshot!("not_carried", page);
}

/// What a stub of the Security Token Service does with each request.
#[derive(Clone)]
enum Act {
    /// It never answers.
    Silence,
    Answer(StatusCode, Vec<(&'static str, String)>, String),
}

/// The stub; counts what it was asked.
async fn stub(act: Act) -> (String, Arc<Mutex<u32>>) {
    let asked: Arc<Mutex<u32>> = Arc::default();
    let count = asked.clone();
    let app = axum::Router::new().fallback(move || {
        *count.lock().unwrap() += 1;
        let act = act.clone();
        async move {
            let Act::Answer(status, headers, body) = act else { return std::future::pending().await };
            let mut all = HeaderMap::new();
            for (name, value) in headers {
                all.insert(name, value.parse().unwrap());
            }
            (status, all, body)
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio_util::task::TaskTracker::new().spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}"), asked)
}

const PARENT: &str =
    r#"{"access_key_id":"AKIDPARENT","secret_access_key":"parent-secret","session_token":"parent-token"}"#;

/// A store that speaks STS.
async fn sts(endpoint: &str) -> Doors {
    let settings = serde_json::json!({
        "sts_endpoint": endpoint, "region": "eu-west-1", "role_arn": "arn:aws:iam::123456789012:role/vendor",
        "timeout_ms": 200,
    });
    over(StorageKind::Sts, &settings, PARENT).await
}

/// A store that somebody else runs, and everything between it and the dialects.
async fn over(kind: StorageKind, settings: &serde_json::Value, secrets: &str) -> Doors {
    let keyring = || SharedKeyring::new(ring());
    let vault = |entropy| Vault::new(keyring(), entropy);
    let sources = |clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>| {
        let surroundings = Surroundings::default();
        Arc::new(Fetchers::new(Environment {
            vault: vault(Arc::clone(&entropy)),
            surroundings,
            token_dirs: Vec::new(),
            machine_identity_hosts: valetkey_core::hosts::Trusted::parse([]).unwrap(),
            identity: None,
            health: valetkey_core::health::Health::new(Arc::clone(&clock) as _),
            clock,
            entropy,
            nodes: valetkey_core::fair::LiveNodes::default(),
        }))
    };
    let storage = new_storage("local", kind);
    let sealed = vault(Arc::new(SeededEntropy::new(1))).seal(&storage.name, &Secret::new(secrets.to_owned())).unwrap();
    let external = storage.external.as_deref().unwrap().clone();
    let external = ExternalConfig { settings: settings.to_string().into(), secrets: Some(sealed), ..external };
    let storage = NewStorage { external: Some(Arc::new(external)), ..storage };
    Doors::behind(storage, |clock, entropy, memory| {
        let tasks = tokio_util::task::TaskTracker::new();
        let settings = cache::Settings::default();
        let cache = Cache::new(settings, memory.clone(), clock.clone(), entropy.clone(), tasks, None);
        let sources = sources(clock.clone(), entropy.clone());
        Arc::new(Issuers::new(Embedded::new(keyring(), entropy.clone()), sources, cache))
    })
    .await
}

fn given(expiration: &str) -> Act {
    let body = format!(
        "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIAGIVEN</AccessKeyId>\
         <SecretAccessKey>given-secret</SecretAccessKey><SessionToken>given-token</SessionToken>\
         <Expiration>{expiration}</Expiration></Credentials></AssumeRoleResult>\
         <ResponseMetadata><RequestId>upstream-id-1</RequestId></ResponseMetadata></AssumeRoleResponse>"
    );
    Act::Answer(StatusCode::OK, Vec::new(), body)
}

fn refusal(status: u16, code: &str, headers: &[(&'static str, &str)]) -> Act {
    let body = format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>User: arn:aws:iam::123456789012:user/u with \
         parent-token may not</Message></Error><RequestId>upstream-id-2</RequestId></ErrorResponse>"
    );
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Act::Answer(StatusCode::from_u16(status).unwrap(), headers, body)
}

/// What nobody outside may read: the server's own secrets and names, and the store's own words.
const HIDDEN: [&str; 12] = [
    "parent-secret",
    "parent-token",
    "AKIDPARENT",
    "given-secret",
    "given-token",
    "arn:aws",
    "AssumeRole",
    "upstream-id",
    "Throttling",
    "AccessDenied",
    "Sender",
    "127.0.0.1:",
];

#[tokio::test]
async fn every_failure_of_a_token_service_is_the_right_refusal_in_every_dialect() {
    let plain =
        |status: u16, body: &str| Act::Answer(StatusCode::from_u16(status).unwrap(), Vec::new(), body.to_owned());
    let (elsewhere, lured) = stub(given("2026-01-01T00:59:57Z")).await;
    let location = ("location", format!("{elsewhere}/?parent-token"));
    let redirect =
        |status: u16| Act::Answer(StatusCode::from_u16(status).unwrap(), vec![location.clone()], String::new());
    for (name, act, status, wait_secs) in [
        ("silence", Act::Silence, 504, Some("5")),
        ("throttling, as AWS says it", refusal(400, "Throttling", &[]), 429, Some("1")),
        ("throttling, as others say it", refusal(429, "SlowDown", &[("retry-after", "9")]), 429, Some("9")),
        (
            "throttling, with a wait nobody means",
            refusal(429, "SlowDown", &[("retry-after", "999999")]),
            429,
            Some("3600"),
        ),
        ("access denied", refusal(403, "AccessDenied", &[]), 502, Some("5")),
        ("our own keys are over", refusal(403, "ExpiredToken", &[]), 502, Some("5")),
        ("our signature is doubted, and repeated", refusal(403, "SignatureDoesNotMatch", &[]), 502, Some("5")),
        ("a policy that does not fit", refusal(400, "PackedPolicyTooLarge", &[]), 0, None),
        ("a failure", refusal(500, "InternalFailure", &[]), 502, Some("5")),
        ("a failure in another language", plain(503, "<html>parent-token</html>"), 502, Some("5")),
        ("malformed", plain(200, "<AssumeRoleResponse><AssumeRoleResult>given-secret"), 502, Some("5")),
        ("empty", plain(200, ""), 502, Some("5")),
        ("no XML", plain(200, r#"{"SecretAccessKey":"given-secret"}"#), 502, Some("5")),
        ("over already: a clock is wrong", given("2025-12-31T23:00:00Z"), 502, Some("5")),
        ("longer than asked: a clock is wrong", given("2026-01-02T00:00:00Z"), 502, Some("5")),
        ("no instant", given("tomorrow"), 502, Some("5")),
        ("elsewhere for good", redirect(301), 502, Some("5")),
        ("elsewhere with the same body", redirect(307), 502, Some("5")),
    ] {
        let (endpoint, asked) = stub(act).await;
        let doors = sts(&endpoint).await;
        for dialect in DIALECTS {
            let shot = doors.vend(dialect).await;
            // The envelope of one dialect is that of the stores themselves: of it only the words can be theirs.
            let said = shot.body.split_once("<Message>").map_or(shot.body.as_str(), |(_, said)| said);
            let told = format!("{:?} {said}", shot.headers);
            // A scope that does not fit is the ask's fault, whose status is each dialect's own.
            if status == 0 {
                assert!((400..500).contains(&shot.status.as_u16()), "{name} in {dialect}: {told}");
            } else {
                assert_eq!(told_of(dialect, &shot), status, "{name} in {dialect}: {told}");
            }
            assert_eq!(wait(&shot), wait_secs, "{name} in {dialect}");
            for hidden in HIDDEN {
                assert!(!told.contains(hidden), "{hidden}: {name} in {dialect}: {told}");
            }
        }
        assert!(*asked.lock().unwrap() > 0, "{name}");
        assert!(all_void(&doors).await, "{name}");
    }
    assert_eq!(*lured.lock().unwrap(), 0, "what is signed goes nowhere else");
}

#[tokio::test]
async fn a_store_nobody_listens_at_is_a_bad_gateway_in_every_dialect() {
    // Bound and let go: nobody listens there.
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let doors = sts(&format!("http://127.0.0.1:{port}")).await;
    for dialect in DIALECTS {
        let shot = doors.vend(dialect).await;
        assert_eq!(told_of(dialect, &shot), 502, "{dialect}: {}", shot.body);
        assert!(!shot.body.contains(&port.to_string()), "{dialect}: {}", shot.body);
    }
}

#[tokio::test]
async fn a_key_of_a_token_service_goes_through_every_dialect_with_its_own_end() {
    let (endpoint, asked) = stub(given("2026-01-01T00:59:57Z")).await;
    let doors = sts(&endpoint).await;
    for dialect in DIALECTS {
        let shot = doors.vend(dialect).await;
        assert_eq!(shot.status, StatusCode::OK, "{dialect}: {}", shot.body);
        for part in ["ASIAGIVEN", "given-secret", "given-token"] {
            assert!(shot.body.contains(part), "{dialect}: {}", shot.body);
        }
        let as_number = ["sharing", "unity", "iceberg", "parcels"].contains(&dialect);
        let end = if as_number { "1767229197" } else { "2026-01-01T00:59:57" };
        assert!(shot.body.contains(end), "{dialect}: {}", shot.body);
    }
    let before = *asked.lock().unwrap();
    for dialect in DIALECTS {
        assert_eq!(doors.vend(dialect).await.status, StatusCode::OK);
    }
    assert_eq!(*asked.lock().unwrap(), before, "kept, and asked for by nobody again");
    let filter = LeaseFilter { limit: 100, ..LeaseFilter::default() };
    let leases = doors.world.memory.leases(&filter).await.unwrap();
    assert_eq!(leases.len(), 2 * DIALECTS.len());
    for record in leases {
        let trace = record.trace.unwrap();
        assert_eq!((&*trace.key_id, trace.request_id.as_deref()), ("ASIAGIVEN", Some("upstream-id-1")));
    }
}

#[tokio::test]
async fn what_a_store_has_left_of_a_key_is_handed_out_with_its_true_end_and_a_cut_that_says_so() {
    for (end, secs) in [
        ("2026-01-01T00:16:40Z", 1000),
        ("2026-01-01T00:14:50Z", 890),
        ("2026-01-01T00:05:01Z", 301),
        ("2026-01-01T00:01:00Z", 60),
    ] {
        let (endpoint, asked) = stub(given(end)).await;
        let doors = sts(&endpoint).await;
        for _ in 0..2 {
            let answer = doors.vend("native").await.json();
            assert_eq!(answer["expiration"], end, "{answer}");
            let cuts = answer["cuts"].as_array().unwrap();
            let said = format!(" to {secs} s by what the storage gave");
            assert!(cuts.iter().any(|cut| cut.as_str().unwrap().ends_with(&said)), "{answer}");
        }
        assert_eq!(*asked.lock().unwrap(), 1, "{end}");
    }
    let (endpoint, _) = stub(given("2026-01-01T00:59:57Z")).await;
    let answer = sts(&endpoint).await.vend("native").await.json();
    assert!(!answer["cuts"].to_string().contains("what the storage gave"), "{answer}");
}

#[tokio::test]
async fn a_signature_of_azure_goes_through_the_dialects_that_carry_it() {
    let settings =
        serde_json::json!({"account": "acct", "namespace": "hierarchical", "identity": {"kind": "account-key"}});
    let key = "c2VjcmV0IGtleSBvZiB0aGUgYWNjb3VudA==";
    let doors = over(StorageKind::Azure, &settings, &format!(r#"{{"account_key":"{key}"}}"#)).await;
    let answer = doors.vend("sharing").await.json();
    let given = &answer["credentials"];
    assert_eq!(given["location"], "abfss://lake@acct.dfs.core.windows.net/t/plain");
    // What the signature says, which is a little before the permit's end, so that the call is inside.
    assert_eq!(given["expirationTime"], 1_767_229_190_000_i64);
    let sas = given["azureUserDelegationSas"]["sasToken"].as_str().unwrap();
    // The directory, two deep, to read and list.
    for part in ["sr=d", "sdd=2", "sp=rl", "se=2026-01-01T00%3A59%3A50Z", "sig="] {
        assert!(sas.contains(part), "{part} in {sas}");
    }
    let native = doors.vend("native").await.json();
    assert_eq!((&native["type"], &native["revocation"]), (&"azure".into(), &"expiry-only".into()));
    assert!(native["sas_token"].as_str().unwrap().contains("sdd=2"), "{native}");
    assert!(!native["narrowed"].as_array().unwrap().is_empty(), "{native}");
    for dialect in ["theirstack", "dreadnode", "r2"] {
        let shot = doors.vend(dialect).await;
        assert_eq!(shot.status, StatusCode::FORBIDDEN, "{dialect}: {}", shot.body);
        assert!(!shot.body.contains("sig=") && !shot.body.contains(key), "{dialect}: {}", shot.body);
    }
}
