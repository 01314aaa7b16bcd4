//! Tokens and what becomes of them: one row each, all against one issuer.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking")]

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use valetkey_core::Kind;
use valetkey_core::error::Stranger;
use valetkey_core::id::AccountId;
use valetkey_core::nouns::identity::{Algorithm, IdentityProvider, KeySource, Signatures as _};
use valetkey_oidc::{Oidc, Web};
use valetkey_testkit::contract::identity::{provider, rule};
use valetkey_testkit::idp::{Signer, coded, jwks};

const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://id.example.com/";

const UNKNOWN: Kind = Kind::Unauthenticated(Stranger::Unknown);
const EXPIRED: Kind = Kind::Unauthenticated(Stranger::Expired);

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "valetkey", "sub": "alice", "jti": "1", "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 600, "team": "data",
    })
}

/// The usual claims with some others; one that is `null` is left out.
#[expect(clippy::needless_pass_by_value, reason = "claims are written where they are used")]
fn with(others: Value) -> Value {
    let mut all = claims();
    for (name, value) in others.as_object().unwrap() {
        if value.is_null() {
            all.as_object_mut().unwrap().remove(name);
        } else {
            all[name] = value.clone();
        }
    }
    all
}

struct Keys {
    es: Signer,
    rs: Signer,
    ed: Signer,
    es384: Signer,
    unsaid: Signer,
    strange: Signer,
}

fn keys() -> Keys {
    Keys {
        es: Signer::new("ES256", "es"),
        rs: Signer::new("RS256", "rs"),
        ed: Signer::new("EdDSA", "ed"),
        es384: Signer::new("ES384", "es384"),
        unsaid: Signer::new("ES256", "unsaid"),
        strange: Signer::new("ES256", "es"),
    }
}

/// What the issuer publishes: keys that sign, and some that must not be taken for such.
fn published(keys: &Keys) -> Value {
    let mut set = jwks([&keys.es, &keys.rs, &keys.ed, &keys.es384]);
    let mut unsaid = keys.unsaid.jwk();
    for (kid, field, value) in
        [("enc", "use", json!("enc")), ("ops", "key_ops", json!(["encrypt"])), ("wrong-alg", "alg", json!("ES384"))]
    {
        unsaid["kid"] = json!(kid);
        let mut own = unsaid.clone();
        own[field] = value;
        set["keys"].as_array_mut().unwrap().push(own);
    }
    let all = set["keys"].as_array_mut().unwrap();
    all.push(json!({ "kty": "oct", "kid": "oct", "k": coded("secret"), "alg": "HS256" }));
    all.push(json!({ "kty": "future", "kid": "future" }));
    all.push(json!({ "kty": "RSA", "kid": "short", "n": coded([0xff; 128]), "e": "AQAB" }));
    for _ in 0..2 {
        unsaid["kid"] = json!("twice");
        unsaid.as_object_mut().unwrap().remove("alg");
        all.push(unsaid.clone());
    }
    set
}

fn issuer(keys: &Keys) -> IdentityProvider {
    let rules = vec![rule(1, AccountId::from_bytes([1; 16]), "team=data")];
    let keys = KeySource::Static(published(keys).to_string().into());
    IdentityProvider { keys, rules, audiences: vec!["valetkey".into(), "https://vk.example".into()], ..provider("id") }
}

fn hmac(secret: &[u8], header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", coded(header.to_string()), coded(claims.to_string()));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    format!("{signed}.{}", coded(aws_lc_rs::hmac::sign(&key, signed.as_bytes())))
}

#[expect(clippy::too_many_lines, reason = "a row for each token")]
fn rows(keys: &Keys) -> Vec<(&'static str, String, Result<(), Kind>)> {
    let Keys { es, rs, ed, es384, unsaid, strange } = keys;
    let good = es.token(&claims());
    let claimed = |others: Value| es.token(&with(others));
    let headed = |others: Value| {
        let mut header = es.header();
        for (name, value) in others.as_object().unwrap() {
            if value.is_null() {
                header.as_object_mut().unwrap().remove(name);
            } else {
                header[name] = value.clone();
            }
        }
        es.headed(&header, &claims())
    };
    let part = |at: usize, by: &dyn Fn(&str) -> String| {
        let parts: Vec<String> =
            good.split('.').enumerate().map(|(own, text)| if own == at { by(text) } else { text.to_owned() }).collect();
        parts.join(".")
    };
    let (ok, no) = (Ok(()), Err(UNKNOWN));
    let kid = |signer: &Signer, kid: &str| {
        let mut own = signer.header();
        own["kid"] = json!(kid);
        signer.headed(&own, &claims())
    };
    let none = format!("{}.{}.", coded(r#"{"alg":"none"}"#), coded(claims().to_string()));
    let hs = json!({ "alg": "HS256", "kid": "rs", "typ": "JWT" });
    let long = "x".repeat(20_000);
    vec![
        // Algorithms and keys.
        ("ES256", good.clone(), ok),
        ("RS256", rs.token(&claims()), ok),
        ("EdDSA", ed.token(&claims()), ok),
        ("ES384", es384.token(&claims()), ok),
        ("another key of the same id", strange.token(&claims()), no),
        ("an unknown key", kid(strange, "gone"), no),
        ("a key's id that is a path", kid(es, "../../../dev/null"), no),
        ("a key's id that is SQL", kid(es, "' OR 1=1 --"), no),
        ("a key's id that is a number", headed(json!({ "kid": 7 })), no),
        ("an endless key's id", headed(json!({ "kid": "k".repeat(600) })), no),
        ("no key's id where several fit", headed(json!({ "kid": null })), no),
        ("no key's id where one fits", ed.headed(&json!({ "alg": "EdDSA" }), &claims()), ok),
        ("a key of another kind", kid(es, "rs"), no),
        ("RS512 by a key that is for RS256", rs.headed(&json!({ "alg": "RS512", "kid": "rs" }), &claims()), no),
        ("PS256 by a key that is for RS256", rs.headed(&json!({ "alg": "PS256", "kid": "rs" }), &claims()), no),
        ("a key to encrypt with", kid(unsaid, "enc"), no),
        ("a key for other operations", kid(unsaid, "ops"), no),
        ("a key that is for another algorithm", kid(unsaid, "wrong-alg"), no),
        ("an id that two keys have", kid(unsaid, "twice"), no),
        ("a key that is too short", headed(json!({ "kid": "short", "alg": "RS256" })), no),
        ("none", none.clone(), no),
        ("None", none.replacen(&coded(r#"{"alg":"none"}"#), &coded(r#"{"alg":"None"}"#), 1), no),
        ("no algorithm", headed(json!({ "alg": null })), no),
        ("an algorithm in lower case", headed(json!({ "alg": "es256" })), no),
        ("ES512", headed(json!({ "alg": "ES512" })), no),
        ("HS256 by the public key", hmac(&rs.public_der(), &hs, &claims()), no),
        ("HS256 by the modulus", hmac(rs.jwk()["n"].as_str().unwrap().as_bytes(), &hs, &claims()), no),
        ("HS256 by a published secret", hmac(b"secret", &json!({ "alg": "HS256", "kid": "oct" }), &claims()), no),
        // Headers.
        ("crit", headed(json!({ "crit": ["exp"] })), no),
        ("an empty crit", headed(json!({ "crit": [] })), no),
        ("b64", headed(json!({ "b64": false })), no),
        ("encrypted", headed(json!({ "enc": "A256GCM" })), no),
        (
            "jku of an attacker",
            strange.headed(&json!({ "alg": "ES256", "kid": "es", "jku": "https://evil.example/k" }), &claims()),
            no,
        ),
        ("jku beside the right key", headed(json!({ "jku": "https://evil.example/k" })), ok),
        (
            "x5u of an attacker",
            strange.headed(&json!({ "alg": "ES256", "kid": "es", "x5u": "https://evil.example/c" }), &claims()),
            no,
        ),
        ("its own key", strange.headed(&json!({ "alg": "ES256", "jwk": strange.jwk() }), &claims()), no),
        (
            "its own key beside an id",
            strange.headed(&json!({ "alg": "ES256", "kid": "es", "jwk": strange.jwk() }), &claims()),
            no,
        ),
        ("at+jwt", headed(json!({ "typ": "at+jwt" })), ok),
        ("application/at+jwt", headed(json!({ "typ": "application/at+jwt" })), ok),
        ("no type", headed(json!({ "typ": null })), ok),
        ("a logout token", headed(json!({ "typ": "logout+jwt" })), no),
        ("a DPoP proof", headed(json!({ "typ": "dpop+jwt" })), no),
        ("an algorithm twice", es.raw(r#"{"alg":"ES256","kid":"es","alg":"none"}"#, &claims().to_string()), no),
        // Forms.
        ("two parts", good.rsplit_once('.').unwrap().0.to_owned(), no),
        ("four parts", format!("{good}.x"), no),
        ("no signature", part(2, &|_| String::new()), no),
        (
            "a changed signature",
            part(2, &|text| format!("{}{}", if text.starts_with('A') { 'B' } else { 'A' }, text.get(1..).unwrap())),
            no,
        ),
        ("a padded signature", part(2, &|text| format!("{text}==")), no),
        ("another payload", part(1, &|_| coded(with(json!({ "sub": "root" })).to_string())), no),
        ("another header", part(0, &|_| coded(r#"{"alg":"ES256","kid":"es"}"#)), no),
        ("a payload that is no JSON", es.raw(&es.header().to_string(), "alice"), no),
        ("a payload that is a list", es.raw(&es.header().to_string(), "[]"), no),
        (
            "a claim twice",
            es.raw(&es.header().to_string(), &claims().to_string().replacen('{', r#"{"sub":"root","#, 1)),
            no,
        ),
        ("too long", claimed(json!({ "more": long })), no),
        ("empty", String::new(), no),
        // Issuers.
        ("an issuer without its slash", claimed(json!({ "iss": "https://id.example.com" })), no),
        ("an issuer with one more", claimed(json!({ "iss": "https://id.example.com//" })), no),
        ("an issuer in upper case", claimed(json!({ "iss": "https://ID.example.com/" })), no),
        ("an issuer with its port", claimed(json!({ "iss": "https://id.example.com:443/" })), no),
        ("no issuer", claimed(json!({ "iss": null })), no),
        ("issuers in a list", claimed(json!({ "iss": [ISSUER] })), no),
        // Audiences.
        ("another of the audiences", claimed(json!({ "aud": "https://vk.example" })), ok),
        ("the audience in a list", claimed(json!({ "aud": ["valetkey"] })), ok),
        ("the audience among others", claimed(json!({ "aud": ["other", "valetkey"] })), ok),
        ("another audience", claimed(json!({ "aud": "other" })), no),
        ("other audiences", claimed(json!({ "aud": ["other", "more"] })), no),
        ("no audience", claimed(json!({ "aud": null })), no),
        ("an empty audience", claimed(json!({ "aud": "" })), no),
        ("an empty list of audiences", claimed(json!({ "aud": [] })), no),
        ("an audience that is longer", claimed(json!({ "aud": "valetkey2" })), no),
        ("an audience with a slash", claimed(json!({ "aud": "https://vk.example/" })), no),
        ("audiences that are no texts", claimed(json!({ "aud": ["valetkey", 7] })), no),
        // Times.
        ("no end", claimed(json!({ "exp": null })), no),
        ("an end that is a text", claimed(json!({ "exp": (NOW + 600).to_string() })), no),
        ("an end with a fraction", claimed(json!({ "exp": 1_800_000_600.5 })), ok),
        ("an endless end", claimed(json!({ "exp": 1e300 })), no),
        ("ended just now, within the leeway", claimed(json!({ "exp": NOW - 59 })), ok),
        ("ended at the leeway", claimed(json!({ "exp": NOW - 60 })), Err(EXPIRED)),
        ("ended long ago", claimed(json!({ "exp": NOW - 6000, "iat": NOW - 7000 })), Err(EXPIRED)),
        ("not yet good, within the leeway", claimed(json!({ "nbf": NOW + 60 })), ok),
        ("not yet good", claimed(json!({ "nbf": NOW + 61 })), no),
        ("a beginning that is a text", claimed(json!({ "nbf": "now" })), no),
        ("issued tomorrow", claimed(json!({ "iat": NOW + 86_400 })), no),
        ("issued long ago", claimed(json!({ "iat": NOW - 90_000 })), no),
        ("does not say when it was issued", claimed(json!({ "iat": null, "nbf": null })), ok),
        // Rules.
        ("no subject", claimed(json!({ "sub": null })), no),
        ("an empty subject", claimed(json!({ "sub": "" })), no),
        ("a subject that is a number", claimed(json!({ "sub": 7 })), ok),
        ("a subject that is a list", claimed(json!({ "sub": ["alice"] })), no),
        ("a subject with a line's end", claimed(json!({ "sub": "a\nb" })), no),
        ("an endless subject", claimed(json!({ "sub": "a".repeat(600) })), no),
        ("an id that is a list", claimed(json!({ "jti": ["1"] })), no),
        ("a rule's claim in a list", claimed(json!({ "team": ["ops", "data"] })), ok),
        ("another team", claimed(json!({ "team": "ops" })), Err(Kind::Forbidden)),
        ("no team", claimed(json!({ "team": null })), Err(Kind::Forbidden)),
        ("a team in upper case", claimed(json!({ "team": "DATA" })), Err(Kind::Forbidden)),
        (
            "groups that were left out",
            claimed(json!({ "team": null, "_claim_names": { "team": "src1" } })),
            Err(Kind::Forbidden),
        ),
    ]
}

#[tokio::test]
async fn each_token_is_taken_or_refused_for_what_it_is() {
    let (keys, now) = (keys(), Timestamp::from_second(NOW).unwrap());
    let issuer = Arc::new(issuer(&keys));
    issuer.check().unwrap();
    let oidc = Oidc::new(Web::new([]).unwrap());
    let rows = rows(&keys);
    assert!(rows.len() >= 60, "{}", rows.len());
    let mut wrong = Vec::new();
    for (name, token, verdict) in rows {
        let found = match oidc.verified(&issuer, &token, now).await {
            Ok(claims) => issuer.judge(&claims, now).map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = &found {
            assert!(!error.message().contains("example"), "{name} says too much: {error}");
        }
        let found = found.map_err(|error| error.kind());
        if found != verdict {
            wrong.push(format!("{name}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn what_is_not_allowed_is_not_taken_of_an_issuer_that_could() {
    let (keys, now) = (keys(), Timestamp::from_second(NOW).unwrap());
    let oidc = Oidc::new(Web::new([]).unwrap());
    let of = |change: &dyn Fn(&mut IdentityProvider)| {
        let mut own = issuer(&keys);
        change(&mut own);
        Arc::new(own)
    };
    let taken = async |issuer: &Arc<IdentityProvider>, token: &str| match oidc.verified(issuer, token, now).await {
        Ok(claims) => issuer.judge(&claims, now).is_ok(),
        Err(_) => false,
    };
    let rsa = of(&|own| own.algorithms = vec![Algorithm::Rs256]);
    assert!(taken(&rsa, &keys.rs.token(&claims())).await && !taken(&rsa, &keys.es.token(&claims())).await);
    let party = of(&|own| own.parties = vec!["cli".into()]);
    for (others, good) in [
        (json!({ "azp": "cli" }), true),
        (json!({ "azp": "other" }), false),
        (json!({}), true),
        (json!({ "aud": ["valetkey", "other"] }), false),
        (json!({ "aud": ["valetkey", "other"], "azp": "cli" }), true),
        (json!({ "azp": ["cli"] }), false),
    ] {
        assert_eq!(taken(&party, &keys.es.token(&with(others.clone()))).await, good, "{others}");
    }
    let strict = of(&|own| own.leeway_secs = 0);
    assert!(!taken(&strict, &keys.es.token(&with(json!({ "exp": NOW })))).await);
    assert!(taken(&strict, &keys.es.token(&with(json!({ "exp": NOW + 1 })))).await);
    for (keys, good) in [
        (published(&keys).to_string(), true),
        (json!({ "keys": [] }).to_string(), false),
        (json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0" }] }).to_string(), false),
        ("-----BEGIN PUBLIC KEY-----".to_owned(), false),
    ] {
        assert_eq!(oidc.check_keys(&keys).is_ok(), good);
    }
}
