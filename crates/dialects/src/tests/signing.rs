//! This server as an issuer of identity tokens: what it publishes, who may change it, and that nobody is a caller by its tokens.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use http::Method;
use serde_json::{Value, json};
use valetkey_core::keyring::SharedKeyring;
use valetkey_core::nouns::identity::{
    Algorithm, IdentityAdmin as _, IdentityProvider, KeySource, Preset, SubjectClaim,
};
use valetkey_core::nouns::signing::{OwnIdentity, SigningAlgorithm, TokenFor};
use valetkey_core::time::Clock as _;
use valetkey_oidc::Own;
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::memory::Memory;

use super::world::{World, ring};

pub(super) const ISSUER: &str = "https://valetkey.example.com";
const KEYS: &str = "/api/v1/signing-keys";
const DISCOVERY: &str = "/.well-known/openid-configuration";
const JWKS: &str = "/.well-known/jwks.json";

fn issuer(memory: &Arc<Memory>, clock: &Arc<FixedClock>, entropy: &Arc<SeededEntropy>) -> Own {
    Own::new(ISSUER, memory.clone(), SharedKeyring::new(ring()), clock.clone(), entropy.clone())
}

/// The one of a world; it has no keys yet.
pub(super) fn own(memory: &Arc<Memory>, clock: &Arc<FixedClock>, entropy: &Arc<SeededEntropy>) -> Arc<dyn OwnIdentity> {
    Arc::new(issuer(memory, clock, entropy))
}

async fn issuing() -> World {
    let world = World::new().await;
    issuer(&world.memory, &world.clock, &world.entropy).settle(None).await.unwrap();
    world
}

async fn token(world: &World, audience: &str) -> String {
    let wanted = TokenFor { subject: "storage:sts:lake", audience, algorithm: SigningAlgorithm::Es256, more: &[] };
    world.shared.own.as_ref().unwrap().token(&wanted).await.unwrap().reveal().clone()
}

fn kids(keys: &Value) -> Vec<&str> {
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect()
}

fn states(shown: &Value) -> Vec<(&str, &str)> {
    let keys = shown["signing_keys"].as_array().unwrap().iter();
    keys.map(|key| (key["algorithm"].as_str().unwrap(), key["state"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn what_clouds_read_is_for_anyone_cacheable_and_holds_nothing_private() {
    let world = issuing().await;
    let shown = world.call(&Method::GET, DISCOVERY, "", "").await;
    assert_eq!(
        (shown.status.as_u16(), &shown.headers["cache-control"]),
        (200, &"public, max-age=300".parse().unwrap())
    );
    assert_eq!(shown.headers["content-type"], "application/json");
    let document = shown.json();
    assert_eq!((&document["issuer"], &document["jwks_uri"]), (&json!(ISSUER), &json!(format!("{ISSUER}{JWKS}"))));
    for (field, value) in [
        ("response_types_supported", "id_token"),
        ("subject_types_supported", "public"),
        ("id_token_signing_alg_values_supported", "RS256"),
        ("id_token_signing_alg_values_supported", "ES256"),
    ] {
        assert!(document[field].as_array().unwrap().contains(&json!(value)), "{field}");
    }
    let shown = world.call(&Method::GET, JWKS, "", "").await;
    assert_eq!(
        (shown.status.as_u16(), &shown.headers["cache-control"]),
        (200, &"public, max-age=300".parse().unwrap())
    );
    let keys = shown.json();
    for key in keys["keys"].as_array().unwrap() {
        let mut names: Vec<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        match key["kty"].as_str().unwrap() {
            "RSA" => assert_eq!(names, ["alg", "e", "kid", "kty", "n", "use"]),
            _ => assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"]),
        }
    }
    assert_eq!(kids(&keys).len(), 2);
    assert_eq!(world.call(&Method::POST, JWKS, "", "").await.status.as_u16(), 405);
    // All else stays out of caches.
    assert_eq!(world.call(&Method::GET, "/openapi.json", "", "").await.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn keys_are_rotated_with_an_overlap_and_withdrawn_at_once_by_operators() {
    let world = issuing().await;
    let root = world.token("root").await;
    let published = async || {
        let keys = world.call(&Method::GET, JWKS, "", "").await.json();
        kids(&keys).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for (method, path) in [(Method::GET, KEYS), (Method::POST, KEYS), (Method::DELETE, "/api/v1/signing-keys/x")] {
        for caller in ["reader", "boss"] {
            let refused = world.call(&method, path, &world.token(caller).await, "{}").await;
            assert_eq!(refused.status.as_u16(), 403, "{caller} {method}");
        }
    }
    let first = published().await;
    let made = world.call(&Method::POST, KEYS, &root, r#"{"algorithm":"RS256"}"#).await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.body);
    let mut shown = made.json();
    assert_eq!(shown["issuer"], ISSUER);
    assert!(states(&shown).contains(&("RS256", "next")), "{shown}");
    assert!(!made.body.contains("\"d\"") && !made.body.contains("sealed"), "{}", made.body);
    let both = published().await;
    assert_eq!(both.len(), 3, "the next one is published before it signs");
    let again = world.call(&Method::POST, KEYS, &root, "{}").await;
    assert_eq!((again.status.as_u16(), again.json()["code"].as_str()), (409, Some("already_exists")), "{}", again.body);
    assert_eq!(published().await, both, "one that cannot be made keeps the other from being made");
    let odd = world.call(&Method::POST, KEYS, &root, r#"{"algorithm":"HS256"}"#).await;
    assert_eq!((odd.status.as_u16(), odd.json()["field"].as_str()), (422, Some("algorithm")), "{}", odd.body);

    world.clock.advance_secs(24 * 3600);
    shown = world.call(&Method::GET, KEYS, &root, "").await.json();
    assert_eq!(states(&shown).iter().filter(|(_, state)| *state == "retiring").count(), 1, "{shown}");
    assert_eq!(published().await, both, "tokens of the old one are still taken");
    world.clock.advance_secs(3600);
    assert_eq!(published().await.len(), 2, "and then it is over");

    // One that signs is replaced by another that signs at once.
    let es256 = first.iter().find(|kid| published_as(&shown, kid, "ES256")).unwrap();
    let left = world.call(&Method::DELETE, &format!("{KEYS}/{es256}"), &root, "").await;
    assert_eq!(left.status.as_u16(), 200, "{}", left.body);
    assert!(states(&left.json()).contains(&("ES256", "signing")) && !left.body.contains(es256.as_str()));
    assert!(!published().await.contains(es256));
    let gone = world.call(&Method::DELETE, &format!("{KEYS}/{es256}"), &root, "").await;
    assert_eq!(gone.status.as_u16(), 404);
}

fn published_as(shown: &Value, kid: &str, algorithm: &str) -> bool {
    let keys = shown["signing_keys"].as_array().unwrap();
    keys.iter().any(|key| key["kid"] == kid && key["algorithm"] == algorithm)
}

#[tokio::test]
async fn nobody_is_a_caller_by_a_token_of_this_server() {
    let world = issuing().await;
    let root = world.token("root").await;
    for name in [ISSUER, "https://VALETKEY.example.com/"] {
        let body = json!({"name": "own", "issuer": name, "audiences": ["sts.amazonaws.com"]}).to_string();
        let refused = world.call(&Method::POST, "/api/v1/identity-providers", &root, &body).await;
        assert_eq!(
            (refused.status.as_u16(), refused.json()["field"].as_str()),
            (422, Some("issuer")),
            "{}",
            refused.body
        );
    }
    // Nor where such a provider was there before this server was an issuer, with the right keys.
    let keys = world.call(&Method::GET, JWKS, "", "").await.body;
    let provider = IdentityProvider {
        id: valetkey_core::id::ProviderId::from_bytes([0; 16]),
        name: valetkey_core::name::Name::parse("own").unwrap(),
        preset: Preset::Other,
        issuer: ISSUER.into(),
        keys: KeySource::Static(keys.into()),
        audiences: vec!["sts.amazonaws.com".into()],
        parties: Vec::new(),
        subject: vec![SubjectClaim::parse("sub").unwrap()],
        algorithms: Algorithm::ALL.to_vec(),
        leeway_secs: 60,
        max_age_secs: 86_400,
        login: None,
        version: 0,
        made: world.clock.now(),
        rules: Vec::new(),
    };
    world.memory.create_identity_provider(provider, world.clock.now()).await.unwrap();
    let own = token(&world, "sts.amazonaws.com").await;
    let refused = world.call(&Method::GET, "/api/v1/me", &own, "").await;
    assert_eq!(refused.status.as_u16(), 401, "{}", refused.body);
    let form = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token_type=urn:ietf:params:oauth:token-type:jwt&subject_token={own}"
    );
    let exchanged = world.call(&Method::POST, "/oauth/token", "", &form).await;
    assert!(exchanged.status.is_client_error() && !exchanged.body.contains("vkt_"), "{}", exchanged.body);
    for answer in [refused, exchanged] {
        let signature = own.rsplit('.').next().unwrap();
        assert!(!answer.body.contains(signature), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_token_says_who_for_whom_and_for_how_long() {
    let world = issuing().await;
    let one = token(&world, "sts.amazonaws.com").await;
    let other = token(&world, "sts.amazonaws.com").await;
    let part = |token: &str, at: usize| {
        let text = token.split('.').nth(at).unwrap();
        serde_json::from_slice::<Value>(&BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()).unwrap()
    };
    let (claims, now) = (part(&one, 1), world.clock.now().as_second());
    assert_eq!(
        (&claims["iss"], &claims["sub"], &claims["aud"]),
        (&json!(ISSUER), &json!("storage:sts:lake"), &json!("sts.amazonaws.com"))
    );
    assert_eq!((claims["iat"].as_i64(), claims["exp"].as_i64()), (Some(now - 10), Some(now + 290)));
    assert_ne!(claims["jti"], part(&other, 1)["jti"]);
    let keys = world.call(&Method::GET, JWKS, "", "").await.json();
    assert!(kids(&keys).contains(&part(&one, 0)["kid"].as_str().unwrap()));
}
