//! Sessions of the console: what a cookie proves, to whom, for how long; and that it proves nothing anywhere else.

use axum::body::Body;
use http::{Method, Request};
use serde_json::{Value, json};
use valetkey_core::id::{CallerId, StorageId, TokenId};
use valetkey_core::lease::{Provenance, Revoker};
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::nouns::usage::Traffic;
use valetkey_core::time::Clock as _;
use valetkey_core::token::PlainToken;

use super::world::{Shot, World};
use crate::edge::Console;

const OWN: &str = "http://127.0.0.1:7070";
const PAGE: [(&str, &str); 3] =
    [("origin", OWN), ("sec-fetch-site", "same-origin"), ("content-type", "application/json")];

async fn send(world: &World, (method, path): (&str, &str), headers: &[(&str, &str)], body: &Value) -> Shot {
    let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:7070");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    world.send(request.body(body).unwrap()).await
}

fn cookie(shot: &Shot) -> String {
    shot.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

async fn signed_in(world: &World, who: &str) -> String {
    let token = world.token(who).await;
    let shot = send(world, ("POST", "/console/session"), &PAGE, &json!({"token": token})).await;
    assert_eq!(shot.status, 200, "{}", shot.body);
    assert!(!shot.body.contains(&token) && !shot.headers["set-cookie"].to_str().unwrap().contains(&token));
    cookie(&shot)
}

async fn with(world: &World, cookie: &str, method: &str, path: &str, body: &Value) -> Shot {
    let headers: Vec<_> = PAGE.into_iter().chain([("cookie", cookie)]).collect();
    send(world, (method, path), &headers, body).await
}

async fn status(world: &World, cookie: &str) -> u16 {
    with(world, cookie, "GET", "/api/v1/me", &Value::Null).await.status.as_u16()
}

#[tokio::test]
async fn a_session_is_its_token_with_the_same_role_and_no_more() {
    let world = World::new().await;
    for (who, role) in [("reader", "member"), ("boss", "admin"), ("root", "operator")] {
        let cookie = signed_in(&world, who).await;
        let me = with(&world, &cookie, "GET", "/api/v1/me", &Value::Null).await.json();
        assert_eq!((&me["name"], &me["role"]), (&json!(who), &json!(role)));
        let storages = with(&world, &cookie, "GET", "/api/v1/storages", &Value::Null).await;
        assert_eq!(storages.status, if role == "operator" { 200 } else { 403 });
        let made = with(&world, &cookie, "POST", "/api/v1/accounts", &json!({"name": "new"})).await;
        assert_eq!(made.status, if role == "operator" { 201 } else { 403 }, "{}", made.body);
    }
}

#[tokio::test]
async fn the_cookie_is_kept_from_scripts_other_sites_and_plain_text() {
    let world = World::new().await;
    let token = world.token("reader").await;
    let shot = send(&world, ("POST", "/console/session"), &PAGE, &json!({"token": token})).await;
    let told = shot.headers["set-cookie"].to_str().unwrap();
    assert!(
        told.starts_with("valetkey-console=") && told.ends_with("; Path=/; Max-Age=28800; HttpOnly; SameSite=Strict")
    );
    let secure = Console::new("https://keys.example/");
    let (_, told) = secure
        .sign_in(
            &world.shared,
            "native",
            crate::edge::SignIn::Token(valetkey_core::Secret::new(token)),
            world.clock.now(),
        )
        .await
        .unwrap();
    let told = told.to_str().unwrap();
    assert!(told.starts_with("__Host-valetkey=") && told.ends_with("; HttpOnly; SameSite=Strict; Secure"), "{told}");
}

#[tokio::test]
async fn another_page_gets_nothing_of_a_session() {
    let world = World::new().await;
    let cookie = signed_in(&world, "root").await;
    let json_type = ("content-type", "application/json");
    let body = json!({"name": "new"});
    for headers in [
        vec![("origin", "https://evil.example"), json_type],
        vec![("origin", "http://127.0.0.1:7071"), json_type],
        vec![("origin", "null"), json_type],
        vec![json_type],
        vec![("origin", OWN), ("sec-fetch-site", "same-site"), json_type],
        vec![("origin", OWN), ("sec-fetch-site", "cross-site"), json_type],
        vec![("origin", OWN), ("sec-fetch-site", "none"), json_type],
        vec![("origin", OWN), ("sec-fetch-site", "same-origin")],
        vec![("origin", OWN), ("content-type", "text/plain")],
        vec![("origin", OWN), ("content-type", "application/x-www-form-urlencoded")],
    ] {
        let headers: Vec<_> = headers.into_iter().chain([("cookie", &*cookie)]).collect();
        let shot = send(&world, ("POST", "/api/v1/accounts"), &headers, &body).await;
        assert_eq!(shot.status, 403, "{headers:?}: {}", shot.body);
        let shot = send(&world, ("POST", "/console/session"), &headers, &json!({"token": "x"})).await;
        assert_eq!(shot.status, 403, "{headers:?}: {}", shot.body);
    }
    for site in ["same-site", "cross-site", "none"] {
        let shot =
            send(&world, ("GET", "/api/v1/me"), &[("cookie", &cookie), ("sec-fetch-site", site)], &Value::Null).await;
        assert_eq!(shot.status, 403, "{site}");
    }
    assert_eq!(with(&world, &cookie, "POST", "/api/v1/accounts", &body).await.status, 201);
}

#[tokio::test]
async fn a_session_proves_nobody_to_other_apis_nor_as_a_token() {
    let world = World::new().await;
    let cookie = signed_in(&world, "reader").await;
    let sealed = cookie.split_once('=').unwrap().1;
    for path in ["/v1/datasets", "/api/v1/user", "/delta-sharing/shares", "/user/tokens/verify"] {
        assert_eq!(with(&world, &cookie, "GET", path, &Value::Null).await.status.as_u16() / 100, 4, "{path}");
        assert_eq!(world.call(&Method::GET, path, sealed, "").await.status.as_u16() / 100, 4, "{path}");
    }
    assert_eq!(world.call(&Method::GET, "/api/v1/me", sealed, "").await.status, 401);
    // A token that is shown counts, also beside a cookie.
    let token = format!("Bearer {}", world.token("writer").await);
    let headers = [("authorization", &*token), ("cookie", &*cookie)];
    assert_eq!(send(&world, ("GET", "/api/v1/me"), &headers, &Value::Null).await.json()["name"], "writer");
    let headers = [("authorization", "Bearer x"), ("cookie", &*cookie)];
    assert_eq!(send(&world, ("GET", "/api/v1/me"), &headers, &Value::Null).await.status, 401);
}

#[tokio::test]
async fn a_changed_a_doubled_and_a_foreign_cookie_prove_nobody() {
    let world = World::new().await;
    let cookie = signed_in(&world, "reader").await;
    assert_eq!(status(&world, &cookie).await, 200);
    let mut changed = cookie.clone();
    changed.replace_range(60..61, if cookie.get(60..61) == Some("A") { "B" } else { "A" });
    assert_eq!(status(&world, &changed).await, 401);
    assert_eq!(status(&world, &format!("{cookie}; {cookie}")).await, 400);
    assert_eq!(status(&world, "valetkey-console=").await, 401);
    assert_eq!(status(&world, &cookie.replace("valetkey-console", "other")).await, 401);
    assert_eq!(status(&world, &format!("a=b; {cookie}; c=d")).await, 200);
}

#[tokio::test]
async fn a_session_ends_unused_at_last_and_with_its_token() {
    let world = World::new().await;
    let mut cookie = signed_in(&world, "reader").await;
    world.clock.advance_secs(30 * 60 - 1);
    assert_eq!(status(&world, &cookie).await, 200);
    world.clock.advance_secs(1);
    assert_eq!(status(&world, &cookie).await, 401, "half an hour without use");
    cookie = signed_in(&world, "reader").await;
    for _ in 0..16 {
        world.clock.advance_secs(29 * 60);
        let shot = with(&world, &cookie, "PUT", "/console/session", &json!({})).await;
        assert_eq!(shot.status, 200, "{}", shot.body);
        cookie = self::cookie(&shot);
    }
    world.clock.advance_secs(16 * 60);
    assert_eq!(status(&world, &cookie).await, 401, "eight hours");
    let (id, token) = world.token_of("reader", None).await;
    let shot = send(&world, ("POST", "/console/session"), &PAGE, &json!({"token": token})).await;
    let cookie = self::cookie(&shot);
    assert_eq!(status(&world, &cookie).await, 200);
    let by = Revoker { by: world.caller_of("root").await, at: world.clock.now() };
    world.memory.revoke_token(id, by).await.unwrap();
    assert_eq!(status(&world, &cookie).await, 401, "its token was ended");
}

#[tokio::test]
async fn who_signs_out_is_out_also_with_a_copy_of_the_cookie() {
    let world = World::new().await;
    let (cookie, other) = (signed_in(&world, "reader").await, signed_in(&world, "reader").await);
    let shot = with(&world, &cookie, "DELETE", "/console/session", &Value::Null).await;
    assert_eq!(shot.status, 204, "{}", shot.body);
    assert!(shot.headers["set-cookie"].to_str().unwrap().starts_with("valetkey-console=; Path=/; Max-Age=0;"));
    assert_eq!(shot.headers["clear-site-data"], "\"cache\", \"storage\"");
    assert_eq!((status(&world, &cookie).await, status(&world, &other).await), (401, 200));
    assert_eq!(with(&world, &cookie, "PUT", "/console/session", &json!({})).await.status, 401);
}

#[tokio::test]
async fn only_who_has_a_token_or_a_fresh_code_signs_in() {
    let world = World::new().await;
    let unknown = PlainToken::generate(&*world.entropy);
    for body in [json!({"token": "x"}), json!({"token": unknown.reveal()}), json!({"code": "x"})] {
        assert_eq!(send(&world, ("POST", "/console/session"), &PAGE, &body).await.status, 401, "{body}");
    }
    for body in [json!({}), json!({"token": "x", "code": "x"}), json!({"token": "x", "more": 1})] {
        assert_eq!(send(&world, ("POST", "/console/session"), &PAGE, &body).await.status.as_u16(), 422, "{body}");
    }
    let console = world.shared.console.as_ref().unwrap();
    let token = PlainToken::parse(&world.token("boss").await).unwrap();
    let code = || console.link(&token, &*world.entropy, world.clock.now());
    let sign = async |code: &str| send(&world, ("POST", "/console/session"), &PAGE, &json!({"code": code})).await;
    let first = code();
    let shot = sign(first.reveal()).await;
    assert_eq!(with(&world, &cookie(&shot), "GET", "/api/v1/me", &Value::Null).await.json()["name"], "boss");
    assert_eq!(sign(first.reveal()).await.status, 401, "twice");
    let second = code();
    world.clock.advance_secs(60);
    assert_eq!(sign(second.reveal()).await.status, 401, "late");
}

#[tokio::test]
async fn how_a_key_was_used_is_shown_to_who_may_see_it() {
    let world = World::new().await;
    let vended = world.post("reader", "/api/v1/credentials", r#"{"grant": "acme/daily"}"#).await;
    assert_eq!(vended.status, 200, "{}", vended.body);
    let (id, key) = (vended.json()["lease_id"].clone(), vended.json()["access_key_id"].clone());
    let (shown, whose) =
        (format!("/api/v1/leases/{}", id.as_str().unwrap()), format!("/api/v1/whose/{}", key.as_str().unwrap()));
    assert!(world.get("reader", &shown).await.json().get("used").is_none(), "not yet");
    let (account, caller) = (world.account_id("acme").await, world.caller_of("reader").await);
    let lease = Some(id.as_str().unwrap().parse().unwrap());
    let (token, storage, now) = (TokenId::from_bytes([1; 16]), StorageId::from_bytes([1; 16]), world.clock.now());
    let origin = Provenance { lease, account, caller, token, storage, opened: now };
    let from = Some("192.0.2.9".parse().unwrap());
    world.shared.usage.moved(&origin, from, Traffic { requests: 2, bytes_in: 3, bytes_out: 4 }, now);
    let at = format!("{now:.0}");
    let used = json!({"first": at, "last": at, "from": "192.0.2.9", "requests": 2, "bytes_in": 3, "bytes_out": 4});
    for who in ["reader", "boss", "root"] {
        for path in [&shown, &whose] {
            assert_eq!(world.get(who, path).await.json()["used"], used, "{who} {path}");
        }
    }
    assert_eq!(world.get("writer", &shown).await.status, 404);
}

#[tokio::test]
async fn what_an_account_used_is_shown_by_day() {
    let world = World::new().await;
    assert_eq!(world.get("reader", "/api/v1/me").await.status, 200);
    let used = world.get("boss", "/api/v1/usage?days=2").await;
    assert_eq!((used.status.as_u16(), &used.json()["account"]), (200, &json!("acme")));
    let days = used.json()["days"].as_array().unwrap().clone();
    assert!(days.len() <= 2 && days.iter().all(|day| day["requests"].is_u64() && day["credits"].is_u64()), "{days:?}");
    assert!(days.last().unwrap()["requests"].as_u64().unwrap() >= 1, "{days:?}");
    assert_eq!(world.get("boss", "/api/v1/usage?account=globex").await.status, 404);
    assert_eq!(world.get("root", "/api/v1/usage?account=globex").await.status, 200);
    // What went over the endpoint, of all and of each; whoever may not know of a caller sees nothing of it.
    let (account, now) = (world.account_id("acme").await, world.clock.now());
    let (reader, writer) = (world.caller_of("reader").await, world.caller_of("writer").await);
    for (caller, bytes_in, bytes_out) in [(reader, 0, 700), (writer, 50, 0), (reader, 1, 0)] {
        let (token, storage) = (TokenId::from_bytes([1; 16]), StorageId::from_bytes([1; 16]));
        let origin = Provenance { lease: None, account, caller, token, storage, opened: now };
        world.shared.usage.moved(&origin, None, Traffic { requests: 1, bytes_in, bytes_out }, now);
    }
    let last = |shot: &Shot| {
        let day = shot.json()["days"].as_array().unwrap().last().unwrap().clone();
        (day["object_requests"].clone(), day["bytes_in"].clone(), day["bytes_out"].clone(), day["credits"].is_u64())
    };
    let shot = world.get("boss", "/api/v1/usage?by_caller=true").await;
    assert_eq!(last(&shot), (json!(3), json!(51), json!(700), true));
    let row = |name: &str, id: CallerId, requests: u64, came: u64, went: u64| json!({"caller": id.to_string(), "caller_name": name, "object_requests": requests, "bytes_in": came, "bytes_out": went});
    let (read, wrote) = (row("reader", reader, 2, 1, 700), row("writer", writer, 1, 50, 0));
    assert_eq!(shot.json()["callers"], json!([read, wrote]));
    assert_eq!(world.get("writer", "/api/v1/usage?by_caller=true").await.json()["callers"], json!([wrote]));
    assert_eq!(last(&world.get("boss", "/api/v1/usage?caller=writer").await), (json!(1), json!(50), json!(0), false));
    assert_eq!(last(&world.get("root", "/api/v1/usage?account=acme&caller=reader").await).1, json!(1));
    assert_eq!(world.get("reader", "/api/v1/usage?caller=writer").await.status, 404);
    assert_eq!(world.get("boss", "/api/v1/usage?caller=globex/other").await.status, 404);
    assert_eq!(world.get("root", "/api/v1/usage?account=acme&caller=globex/other").await.status, 404);
    for bad in ["0", "367", "x", "-1"] {
        assert_eq!(world.get("boss", &format!("/api/v1/usage?days={bad}")).await.status, 422, "{bad}");
    }
}
