//! An issuer that rotates its keys, is away, is asked too much, and answers what it should not.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "helpers of tests fail by panicking, and start a server of their own"
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{Response, Uri};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use valetkey_core::Kind;
use valetkey_core::error::Stranger;
use valetkey_core::nouns::identity::{IdentityProvider, KeySource, Signatures as _};
use valetkey_oidc::{Oidc, Web};
use valetkey_testkit::contract::identity::provider;
use valetkey_testkit::idp::{Signer, jwks};

const NOW: i64 = 1_800_000_000;
const UNKNOWN: Kind = Kind::Unauthenticated(Stranger::Unknown);

/// What it answers to a path: a status, headers and a body.
type Answer = (u16, Vec<(&'static str, String)>, String);

struct Stub {
    url: String,
    discovery: Mutex<Answer>,
    keys: Mutex<Answer>,
    /// What it answers first when it is asked for keys.
    fails: Mutex<Vec<u16>>,
    asked: AtomicUsize,
    oidc: Oidc,
}

#[expect(clippy::needless_pass_by_value, reason = "a body is written where it is used")]
fn answer(body: impl ToString) -> Answer {
    (200, Vec::new(), body.to_string())
}

impl Stub {
    async fn start(signers: &[&Signer]) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let discovery = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") });
        let stub = Arc::new(Self {
            url,
            discovery: Mutex::new(answer(discovery)),
            keys: Mutex::new(answer(jwks(signers.iter().copied()))),
            fails: Mutex::default(),
            asked: AtomicUsize::new(0),
            oidc: Oidc::new(Web::new(["127.0.0.1".to_owned()]).unwrap()),
        });
        let own = Arc::clone(&stub);
        let app = Router::new().fallback(move |uri: Uri| {
            let (status, headers, body) = match uri.path() {
                "/keys" => {
                    own.asked.fetch_add(1, Ordering::SeqCst);
                    let failure = own.fails.lock().unwrap().pop();
                    failure
                        .map_or_else(|| own.keys.lock().unwrap().clone(), |status| (status, Vec::new(), String::new()))
                }
                "/.well-known/openid-configuration" => own.discovery.lock().unwrap().clone(),
                _ => (404, Vec::new(), String::new()),
            };
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            std::future::ready(response.body(Body::from(body)).unwrap())
        });
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        stub
    }

    fn provider(&self) -> Arc<IdentityProvider> {
        Arc::new(IdentityProvider { issuer: self.url.clone().into(), ..provider("stub") })
    }

    fn publish(&self, signers: &[&Signer]) {
        *self.keys.lock().unwrap() = answer(jwks(signers.iter().copied()));
    }

    fn token(&self, signer: &Signer, at: i64) -> String {
        signer.token(&json!({ "iss": self.url, "aud": "valetkey", "sub": "a", "exp": NOW + at + 600 }))
    }

    /// What becomes of a token of a key, so many seconds later.
    async fn verdict(&self, signer: &Signer, at: i64) -> Result<(), Kind> {
        let now = Timestamp::from_second(NOW + at).unwrap();
        let found = self.oidc.verified(&self.provider(), &self.token(signer, at), now).await;
        found.map(drop).map_err(|error| error.kind())
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn key(kid: &str) -> Signer {
    Signer::new("ES256", kid)
}

#[tokio::test]
async fn a_rotated_key_is_found_and_one_that_is_gone_is_refused() {
    let (old, new) = (key("old"), key("new"));
    let stub = Stub::start(&[&old]).await;
    stub.verdict(&old, 0).await.unwrap();
    stub.publish(&[&old, &new]);
    // At once it is left in peace; then it is asked.
    assert_eq!(stub.verdict(&new, 29).await, Err(UNKNOWN));
    stub.verdict(&new, 30).await.unwrap();
    assert_eq!(stub.asked(), 2);
    stub.publish(&[&new]);
    stub.verdict(&old, 100).await.unwrap();
    // What is fresh is believed for ten minutes.
    assert_eq!(stub.verdict(&old, 631).await, Err(UNKNOWN));
    stub.verdict(&new, 632).await.unwrap();
    assert_eq!(stub.asked(), 3);
}

#[tokio::test]
async fn made_up_keys_cost_the_issuer_one_question_in_half_a_minute() {
    let known = key("known");
    let stub = Stub::start(&[&known]).await;
    stub.verdict(&known, 0).await.unwrap();
    for at in 0..300 {
        let made_up = Signer::new("ES256", &format!("made-up-{at}"));
        assert_eq!(stub.verdict(&made_up, at / 3).await, Err(UNKNOWN));
    }
    // A hundred seconds.
    assert!(stub.asked() <= 4, "{}", stub.asked());
    // A token that would not be taken in any case has nobody asked.
    let before = stub.asked();
    let late = key("late").token(&json!({ "iss": stub.url, "aud": "other", "sub": "a", "exp": NOW + 9_000 }));
    let now = Timestamp::from_second(NOW + 1000).unwrap();
    assert!(stub.oidc.verified(&stub.provider(), &late, now).await.is_err());
    assert_eq!(stub.asked(), before);
}

#[tokio::test]
async fn many_who_miss_at_once_ask_once() {
    let known = key("known");
    let stub = Stub::start(&[&known]).await;
    let all = (0..50).map(|_| stub.verdict(&known, 0));
    for found in futures::future::join_all(all).await {
        found.unwrap();
    }
    assert_eq!(stub.asked(), 1);
}

#[tokio::test]
async fn keys_are_used_for_a_day_while_their_issuer_is_away() {
    let known = key("known");
    let stub = Stub::start(&[&known]).await;
    stub.verdict(&known, 0).await.unwrap();
    *stub.keys.lock().unwrap() = (503, Vec::new(), String::new());
    for at in [700, 5_000, 86_399] {
        stub.verdict(&known, at).await.unwrap();
    }
    assert_eq!(stub.verdict(&known, 86_400).await, Err(Kind::Unavailable));
    stub.publish(&[&known]);
    // It was asked just now, and is asked again soon.
    assert_eq!(stub.verdict(&known, 86_402).await, Err(Kind::Unavailable));
    stub.verdict(&known, 86_405).await.unwrap();
}

#[tokio::test]
async fn an_issuer_that_fails_is_asked_once_more_and_no_more() {
    for status in [500, 502, 504] {
        let known = key("known");
        let stub = Stub::start(&[&known]).await;
        stub.fails.lock().unwrap().push(status);
        stub.verdict(&known, 0).await.unwrap();
        assert_eq!(stub.asked(), 2, "{status}");
    }
    for (statuses, asked) in [(vec![500, 500], 2), (vec![503], 1), (vec![404], 1)] {
        let known = key("known");
        let stub = Stub::start(&[&known]).await;
        stub.fails.lock().unwrap().extend(&statuses);
        assert_eq!(stub.verdict(&known, 0).await, Err(Kind::Unavailable), "{statuses:?}");
        assert_eq!(stub.asked(), asked, "{statuses:?}");
    }
}

#[tokio::test]
async fn what_is_no_key_set_takes_no_key_away() {
    let known = key("known");
    let stub = Stub::start(&[&known]).await;
    stub.verdict(&known, 0).await.unwrap();
    let large = format!(r#"{{"keys":[],"more":"{}"}}"#, "x".repeat(300 * 1024));
    let elsewhere = vec![("location", format!("{}/other", stub.url))];
    for (at, bad) in (1i64..).zip([
        answer("<html>welcome to the portal</html>"),
        answer(r#"{"keys":[]}"#),
        answer(r#"{"keys":{}}"#),
        answer(""),
        answer(large),
        (302, elsewhere.clone(), String::new()),
        (204, Vec::new(), String::new()),
    ]) {
        *stub.keys.lock().unwrap() = bad;
        stub.verdict(&known, at * 700).await.unwrap();
        assert_eq!(stub.asked(), 1 + usize::try_from(at).unwrap());
    }
    let fresh = Stub::start(&[]).await;
    assert_eq!(fresh.verdict(&known, 0).await, Err(Kind::Unavailable));
}

#[tokio::test]
async fn a_discovery_document_is_the_issuers_own() {
    let known = key("known");
    for change in ["other issuer", "a slash more", "no keys", "not https", "too large", "a private host", "elsewhere"] {
        let stub = Stub::start(&[&known]).await;
        let (url, keys) = (stub.url.clone(), format!("{}/keys", stub.url));
        let document = match change {
            "other issuer" => answer(json!({ "issuer": "https://evil.example", "jwks_uri": keys })),
            "a slash more" => answer(json!({ "issuer": format!("{url}/"), "jwks_uri": keys })),
            "no keys" => answer(json!({ "issuer": url })),
            "not https" => answer(json!({ "issuer": url, "jwks_uri": "http://evil.example/keys" })),
            "too large" => answer(json!({ "issuer": url, "jwks_uri": keys, "more": "x".repeat(70_000) })),
            "a private host" => answer(json!({ "issuer": url, "jwks_uri": "https://169.254.169.254/keys" })),
            _ => (302, vec![("location", format!("{url}/elsewhere"))], String::new()),
        };
        *stub.discovery.lock().unwrap() = document;
        assert_eq!(stub.verdict(&known, 0).await, Err(Kind::Unavailable), "{change}");
        assert_eq!(stub.asked(), 0, "{change}");
    }
}

#[tokio::test]
async fn an_issuer_says_how_long_its_keys_are_fresh_within_limits() {
    let known = key("known");
    for (said, fresh, stale) in [("max-age=3600", 3599, 3600), ("max-age=1", 59, 60), ("no-store", 599, 600)] {
        let stub = Stub::start(&[&known]).await;
        stub.keys.lock().unwrap().1.push(("cache-control", said.to_owned()));
        stub.verdict(&known, 0).await.unwrap();
        stub.verdict(&known, fresh).await.unwrap();
        assert_eq!(stub.asked(), 1, "{said}");
        stub.verdict(&known, stale).await.unwrap();
        assert_eq!(stub.asked(), 2, "{said}");
    }
}

#[tokio::test]
async fn another_source_of_keys_believes_nothing_of_the_one_before() {
    let (known, other) = (key("known"), key("other"));
    let stub = Stub::start(&[&known]).await;
    stub.verdict(&known, 0).await.unwrap();
    let keys = KeySource::Static(jwks([&other]).to_string().into());
    let pinned = Arc::new(IdentityProvider { keys, ..(*stub.provider()).clone() });
    let now = Timestamp::from_second(NOW).unwrap();
    assert!(stub.oidc.verified(&pinned, &stub.token(&known, 0), now).await.is_err());
    assert!(stub.oidc.verified(&pinned, &stub.token(&other, 0), now).await.is_ok());
    // A clock that is set back asks again rather than to believe for ever.
    let back = now - SignedDuration::from_hours(48);
    stub.oidc.verified(&stub.provider(), &stub.token(&known, 0), back).await.unwrap();
}

#[tokio::test]
async fn one_issuer_that_is_away_does_not_stop_another() {
    let known = key("known");
    let (there, away) = (Stub::start(&[&known]).await, "http://127.0.0.1:1");
    let id = valetkey_core::id::ProviderId::from_bytes([9; 16]);
    let gone = Arc::new(IdentityProvider { id, issuer: away.into(), ..provider("gone") });
    let token = known.token(&json!({ "iss": away, "aud": "valetkey", "sub": "a", "exp": NOW + 600 }));
    let now = Timestamp::from_second(NOW).unwrap();
    let refused = there.oidc.verified(&gone, &token, now).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Unavailable);
    there.verdict(&known, 0).await.unwrap();
}
