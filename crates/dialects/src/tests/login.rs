//! Signing in to the console at an identity provider: the server is the client, and what comes back is judged like any identity token.
#![expect(clippy::disallowed_methods, reason = "an issuer is a server of its own")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest;
use axum::Router;
use axum::body::Body;
use axum::http::{Response, Uri};
use http::{Method, Request};
use serde_json::{Value, json};
use valetkey_core::time::Clock as _;
use valetkey_testkit::idp::{Signer, coded, jwks};

use super::world::{Shot, World};

const OWN: &str = "http://127.0.0.1:7070";
const BACK: &str = "http://127.0.0.1:7070/console/signed-in";

/// An issuer on this machine, and a world that trusts it: `alice` becomes `reader`.
struct Own {
    world: World,
    issuer: String,
    signer: Signer,
    discovery: Arc<Mutex<Value>>,
    /// What its token endpoint answers, and what it was sent.
    answer: Arc<Mutex<(u16, String)>>,
    sent: Arc<Mutex<String>>,
}

/// A browser: its cookie, and where it was sent.
struct Begun {
    cookie: String,
    page: String,
    asked: HashMap<String, String>,
}

fn pairs(query: &str) -> HashMap<String, String> {
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text).decode_utf8().unwrap().into_owned()
    };
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.into(), decoded(value)))
        .collect()
}

impl Own {
    async fn new() -> Self {
        let world = World::new().await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let signer = Signer::new("ES256", "k");
        let discovery = Arc::new(Mutex::new(json!({
            "issuer": issuer, "jwks_uri": format!("{issuer}/keys"), "token_endpoint": format!("{issuer}/token"),
            "authorization_endpoint": format!("{issuer}/login?tenant=t"),
        })));
        let answer = Arc::new(Mutex::new((500, String::new())));
        let sent = Arc::new(Mutex::new(String::new()));
        let keys = jwks([&signer]).to_string();
        let (told, given, heard) = (Arc::clone(&discovery), Arc::clone(&answer), Arc::clone(&sent));
        let app = Router::new().fallback(move |uri: Uri, body: String| {
            let (status, body) = match uri.path() {
                "/keys" => (200, keys.clone()),
                "/.well-known/openid-configuration" => (200, told.lock().unwrap().to_string()),
                "/token" => {
                    *heard.lock().unwrap() = body;
                    given.lock().unwrap().clone()
                }
                _ => (404, String::new()),
            };
            std::future::ready(Response::builder().status(status).body(Body::from(body)).unwrap())
        });
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let own = Self { world, issuer, signer, discovery, answer, sent };
        let provider = json!({
            "name": "people", "issuer": own.issuer, "audiences": ["console"], "login_client_id": "console",
        });
        let rule = json!({ "name": "alice", "account": "acme", "caller": "reader", "claims": ["sub=alice"] });
        own.operator("/api/v1/identity-providers", &provider).await;
        own.operator("/api/v1/identity-providers/people/rules", &rule).await;
        own
    }

    async fn operator(&self, path: &str, body: &Value) {
        let token = self.world.token("root").await;
        let shot = self.world.call(&Method::POST, path, &token, &body.to_string()).await;
        assert!(shot.status.is_success(), "{}", shot.body);
    }

    async fn post(&self, path: &str, cookie: &str, origin: &str, body: &Value) -> Shot {
        let request = Request::builder().method("POST").uri(path).header("host", "127.0.0.1:7070");
        let request =
            request.header("origin", origin).header("cookie", cookie).header("content-type", "application/json");
        self.world.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    async fn begin(&self) -> Begun {
        let shot = self.post("/console/login", "", OWN, &json!({ "provider": "people" })).await;
        assert_eq!(shot.status, 200, "{}", shot.body);
        let cookie = shot.headers["set-cookie"].to_str().unwrap().to_owned();
        let page = shot.json()["url"].as_str().unwrap().to_owned();
        let asked = pairs(page.split_once('?').unwrap().1);
        Begun { cookie, page, asked }
    }

    fn token(&self, nonce: &str, others: &Value) -> String {
        let now = self.world.clock.now().as_second();
        let mut claims = json!({
            "iss": self.issuer, "aud": "console", "sub": "alice", "nonce": nonce, "iat": now, "exp": now + 3600,
        });
        for (name, value) in others.as_object().unwrap() {
            claims[name] = value.clone();
        }
        self.signer.token(&claims)
    }

    fn answers(&self, status: u16, body: &impl ToString) {
        *self.answer.lock().unwrap() = (status, body.to_string());
    }

    async fn back(&self, begun: &Begun, login: Value) -> Shot {
        let cookie = begun.cookie.split(';').next().unwrap();
        self.post("/console/session", cookie, OWN, &json!({ "login": login })).await
    }

    /// The browser comes back with what it was sent with.
    async fn finish(&self, begun: &Begun) -> Shot {
        self.back(begun, json!({ "code": "c", "state": begun.asked["state"] })).await
    }
}

#[tokio::test]
async fn who_logs_in_at_a_provider_is_signed_in_and_the_token_stays_here() {
    let own = Own::new().await;
    let begun = own.begin().await;
    assert!(begun.page.starts_with(&format!("{}/login?tenant=t&", own.issuer)), "{}", begun.page);
    let asked = |name: &str| begun.asked[name].as_str();
    assert_eq!((asked("response_type"), asked("client_id"), asked("redirect_uri")), ("code", "console", BACK));
    assert_eq!((asked("scope"), asked("code_challenge_method")), ("openid", "S256"));
    assert!(begun.cookie.starts_with("valetkey-console-login="));
    assert!(begun.cookie.ends_with("; Path=/; Max-Age=600; HttpOnly; SameSite=Strict"), "{}", begun.cookie);
    let token = own.token(asked("nonce"), &json!({}));
    own.answers(200, &json!({ "id_token": token, "access_token": "a", "token_type": "Bearer" }));
    let shot = own.finish(&begun).await;
    assert_eq!(shot.status, 200, "{}", shot.body);
    assert!(!shot.body.contains(&token));
    let form = pairs(&own.sent.lock().unwrap());
    assert_eq!(
        (&*form["grant_type"], &*form["code"], &*form["client_id"], &*form["redirect_uri"]),
        ("authorization_code", "c", "console", BACK)
    );
    let verifier = digest::digest(&digest::SHA256, form["code_verifier"].as_bytes());
    assert_eq!(coded(verifier), asked("code_challenge"));
    assert!(!begun.page.contains(&form["code_verifier"]) && !begun.cookie.contains(&form["code_verifier"]));
    let cookie = shot.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let me = Request::builder().uri("/api/v1/me").header("host", "127.0.0.1:7070").header("cookie", cookie);
    let me = own.world.send(me.body(Body::empty()).unwrap()).await.json();
    assert_eq!((&me["name"], &me["identity"]["subject"]), (&json!("reader"), &json!("alice")));
}

#[tokio::test]
async fn a_login_that_was_not_begun_here_or_is_of_somebody_else_is_refused() {
    let own = Own::new().await;
    let (begun, other) = (own.begin().await, own.begin().await);
    own.answers(200, &json!({ "id_token": own.token(&begun.asked["nonce"], &json!({})) }));
    let state = &begun.asked["state"];
    for (why, login, status) in [
        ("another state", json!({ "code": "c", "state": other.asked["state"] }), 401),
        ("no state", json!({ "code": "c", "state": "" }), 401),
        ("another issuer", json!({ "code": "c", "state": state, "iss": "https://evil.example" }), 401),
        ("more fields", json!({ "code": "c", "state": state, "redirect_uri": "https://evil.example" }), 422),
    ] {
        let shot = own.back(&begun, login).await;
        assert_eq!(shot.status.as_u16(), status, "{why}: {}", shot.body);
        assert!(own.sent.lock().unwrap().is_empty(), "{why}: the code goes nowhere");
    }
    let login = json!({ "login": { "code": "c", "state": state } });
    assert_eq!(own.post("/console/session", "", OWN, &login).await.status, 401, "no cookie");
    let cookie = begun.cookie.split(';').next().unwrap();
    for origin in ["https://evil.example", "null", "http://127.0.0.1:7071"] {
        assert_eq!(own.post("/console/session", cookie, origin, &login).await.status, 403, "{origin}");
        assert_eq!(own.post("/console/login", "", origin, &json!({ "provider": "people" })).await.status, 403);
    }
    own.world.clock.advance_secs(600);
    assert_eq!(own.finish(&begun).await.status, 401, "ten minutes");
}

#[tokio::test]
async fn a_token_of_another_login_or_of_nobody_who_is_known_signs_nobody_in() {
    let own = Own::new().await;
    let begun = own.begin().await;
    let nonce = &begun.asked["nonce"];
    let stranger = Signer::new("ES256", "k");
    let now = own.world.clock.now().as_second();
    let claims = json!({ "iss": own.issuer, "aud": "console", "sub": "alice", "nonce": nonce, "exp": now + 60 });
    for (why, token, status) in [
        ("another nonce", own.token("n", &json!({})), 401),
        ("no nonce", own.token(nonce, &json!({ "nonce": null })), 401),
        ("another issuer's", own.token(nonce, &json!({ "iss": "https://evil.example" })), 401),
        ("for another client", own.token(nonce, &json!({ "aud": "other" })), 401),
        ("signed by another", stranger.token(&claims), 401),
        ("over", own.token(nonce, &json!({ "exp": now - 600 })), 401),
        ("of nobody", own.token(nonce, &json!({ "sub": "eve" })), 403),
        ("none", "x".to_owned(), 401),
    ] {
        own.answers(200, &json!({ "id_token": token }));
        let shot = own.finish(&begun).await;
        assert_eq!(shot.status.as_u16(), status, "{why}: {}", shot.body);
        assert!(!shot.headers.contains_key("set-cookie"), "{why}");
    }
}

#[tokio::test]
async fn what_a_provider_refuses_is_told_by_its_code_and_what_is_no_answer_is_none() {
    let own = Own::new().await;
    let begun = own.begin().await;
    own.answers(400, &json!({ "error": "invalid_grant", "error_description": "<b>secret</b>" }));
    let shot = own.finish(&begun).await;
    assert_eq!(shot.status, 401, "{}", shot.body);
    assert!(shot.body.contains("invalid_grant") && !shot.body.contains("secret"), "{}", shot.body);
    for (status, body) in [
        (200, "<html>".to_owned()),
        (200, "{}".to_owned()),
        (200, json!({ "id_token": "x".repeat(20_000) }).to_string()),
        (200, "x".repeat(1024 * 1024)),
        (302, String::new()),
        (400, "<html>".to_owned()),
        (400, json!({ "error": "<script>" }).to_string()),
        (500, json!({ "error": "invalid_grant" }).to_string()),
    ] {
        let said = body.get(..6).unwrap_or_default().to_owned();
        own.answers(status, &body);
        let shot = own.finish(&begun).await;
        assert_eq!(shot.status, 503, "{status} {said}: {}", shot.body);
        assert!(!shot.body.contains("script"), "{}", shot.body);
    }
}

#[tokio::test]
async fn only_a_provider_where_people_log_in_is_gone_to_and_only_over_tls() {
    let own = Own::new().await;
    let page = async |name: &str| own.post("/console/login", "", OWN, &json!({ "provider": name })).await;
    let quiet = json!({ "name": "machines", "issuer": "https://id.example.com", "audiences": ["console"] });
    own.operator("/api/v1/identity-providers", &quiet).await;
    for name in ["machines", "nobody", ""] {
        assert_eq!(page(name).await.status, 404, "{name}");
    }
    // Who may say who it is has to.
    own.discovery.lock().unwrap()["authorization_response_iss_parameter_supported"] = json!(true);
    let begun = own.begin().await;
    own.answers(200, &json!({ "id_token": own.token(&begun.asked["nonce"], &json!({})) }));
    assert_eq!(own.finish(&begun).await.status, 401);
    let login = json!({ "code": "c", "state": begun.asked["state"], "iss": own.issuer });
    assert_eq!(own.back(&begun, login).await.status, 200);
    // What it says is believed for ten minutes; then an address without TLS is none.
    for (name, address) in
        [("authorization_endpoint", "http://id.example.com/"), ("token_endpoint", "javascript:alert(1)")]
    {
        let good = own.discovery.lock().unwrap()[name].clone();
        own.discovery.lock().unwrap()[name] = json!(address);
        own.world.clock.advance_secs(601);
        let shot = page("people").await;
        assert_eq!(shot.status, 503, "{}", shot.body);
        own.discovery.lock().unwrap()[name] = good;
        // One that fails is left in peace for a moment.
        assert_eq!(page("people").await.status, 503);
        own.world.clock.advance_secs(5);
        assert_eq!(page("people").await.status, 200);
    }
}
