//! Pages of other origins on routes that vend, and buckets' rules by the native API.

use axum::body::Body;
use http::{Method, Request, StatusCode};
use serde_json::json;
use valetkey_core::cors::Rules;

use super::world::{Shot, World};
use crate::edge::{EXPOSED, EdgeLimits, Entry, Proof, RateLimits};

const PAGE: &str = "https://app.example";

async fn world() -> World {
    let cors = Rules::of_origins(&[PAGE.to_owned()], EXPOSED).unwrap();
    World::with(EdgeLimits { rates: RateLimits::off(), cors, ..EdgeLimits::default() }).await
}

/// A path of a route.
fn path(base: &str, route: &str) -> String {
    let named = route.split('/').map(|segment| if segment.starts_with('{') { "x" } else { segment });
    format!("{base}{}", named.collect::<Vec<_>>().join("/"))
}

async fn send(world: &World, method: &Method, path: &str, headers: &[(&str, &str)]) -> Shot {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    world.send(request.body(Body::empty()).unwrap()).await
}

fn told<'s>(shot: &'s Shot, name: &str) -> Option<&'s str> {
    shot.headers.get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_page_may_vend_and_nothing_else() {
    let world = world().await;
    let mut vends = 0;
    for dialect in World::dialects(&world.shared, &world.made) {
        for route in dialect.routes.iter().filter(|route| matches!(route.entry, Entry::Token(_))) {
            let vends_here = route.class == crate::edge::Class::Credentials;
            let by_token = matches!(dialect.proof, Proof::Token(_) | Proof::TokenOrSession(_) | Proof::Carried(_));
            // What a form asks for no preflight says: where some of it vends, pages may send it.
            if !by_token && !vends_here {
                continue;
            }
            let (path, method) = (path(&dialect.base, route.path), route.method.as_str());
            let asked = [
                ("origin", PAGE),
                ("access-control-request-method", method),
                ("access-control-request-headers", "authorization, content-type"),
            ];
            let shot = send(&world, &Method::OPTIONS, &path, &asked).await;
            let answer = send(&world, &route.method, &path, &[("origin", PAGE)]).await;
            if !vends_here {
                assert_eq!(shot.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
                assert_eq!((told(&shot, "access-control-allow-origin"), told(&answer, "vary")), (None, None), "{path}");
                continue;
            }
            vends += 1;
            assert_eq!(shot.status, StatusCode::NO_CONTENT, "{path}");
            assert_eq!(told(&shot, "access-control-allow-origin"), Some(PAGE));
            assert_eq!(told(&shot, "access-control-allow-methods"), Some(method));
            assert_eq!(told(&shot, "access-control-allow-headers"), Some("authorization, content-type"));
            assert_eq!(told(&shot, "access-control-allow-credentials"), None);
            assert!(told(&shot, "vary").unwrap().starts_with("Origin"));
            // A refusal can be read too; and another page is told nothing.
            let expected = match dialect.name {
                _ if by_token => StatusCode::UNAUTHORIZED,
                "access-grants" => StatusCode::FORBIDDEN,
                _ => StatusCode::BAD_REQUEST,
            };
            assert_eq!(answer.status, expected, "{path}");
            assert_eq!(told(&answer, "access-control-allow-origin"), Some(PAGE));
            assert!(told(&answer, "access-control-expose-headers").unwrap().contains("Retry-After"));
            let other = [("origin", "https://other.example"), ("access-control-request-method", method)];
            let refused = send(&world, &Method::OPTIONS, &path, &other).await;
            assert_eq!((refused.status, told(&refused, "access-control-allow-origin")), (StatusCode::FORBIDDEN, None));
            let answer = send(&world, &route.method, &path, &other[..1]).await;
            assert_eq!(told(&answer, "access-control-allow-origin"), None);
            assert!(told(&answer, "vary").is_some());
        }
    }
    assert!(vends >= 5, "{vends}");
    // Where nothing is allowed, nothing is told.
    let none = World::new().await;
    let asked = [("origin", PAGE), ("access-control-request-method", "POST")];
    let shot = send(&none, &Method::OPTIONS, "/api/v1/credentials", &asked).await;
    assert_eq!((shot.status, told(&shot, "vary")), (StatusCode::METHOD_NOT_ALLOWED, None));
}

#[tokio::test]
async fn operators_say_what_pages_may_do_with_a_bucket() {
    let world = World::new().await;
    let path = "/api/v1/buckets/lake/cors";
    let rule = json!({
        "id": "app", "allowed_origins": [PAGE], "allowed_methods": ["GET", "PUT"], "allowed_headers": ["*"],
        "exposed_headers": ["ETag"], "max_age_secs": 600,
    });
    let put = async |caller: &str, path: &str, body: serde_json::Value| {
        let token = world.token(caller).await;
        world.call(&Method::PUT, path, &token, &body.to_string()).await
    };
    assert_eq!(world.get("root", path).await.json(), json!({"rules": []}));
    let set = put("root", path, json!({"rules": [rule]})).await;
    assert_eq!((set.status, set.json()), (StatusCode::OK, json!({"rules": [rule]})));
    assert_eq!(world.get("root", path).await.json(), json!({"rules": [rule]}));
    for (wrong, field) in [
        (json!({"rules": []}), "rules"),
        (json!({"rules": [{"allowed_origins": ["app"], "allowed_methods": ["GET"]}]}), "allowed_origins"),
        (json!({"rules": [{"allowed_origins": ["*"], "allowed_methods": ["get"]}]}), "allowed_methods"),
        (
            json!({"rules": [{"allowed_origins": ["*"], "allowed_methods": ["GET"], "exposed_headers": ["*"]}]}),
            "exposed_headers",
        ),
    ] {
        let refused = put("root", path, wrong).await;
        assert_eq!((refused.status, refused.json()["field"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some(field)));
    }
    for caller in ["boss", "reader"] {
        assert_eq!(world.get(caller, path).await.status, StatusCode::FORBIDDEN);
        assert_eq!(put(caller, path, json!({"rules": [rule]})).await.status, StatusCode::FORBIDDEN);
        assert_eq!(world.delete(caller, path).await.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(world.get("root", "/api/v1/buckets/none/cors").await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.get("root", path).await.json(), json!({"rules": [rule]}));
    assert_eq!(world.delete("root", path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.get("root", path).await.json(), json!({"rules": []}));
}
