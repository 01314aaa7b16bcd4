//! The native routes of workspaces: made with their grants, listed for admins, removed with what opened them.

use http::StatusCode;
use valetkey_core::nouns::registry::LeaseFilter;
use valetkey_core::nouns::registry::methods::*;

use super::world::World;

const PATH: &str = "/api/v1/workspaces";

fn body(more: &str) -> String {
    format!(r#"{{"account":"acme","key":"main","bucket":"lake","callers":["writer"]{more}}}"#)
}

#[tokio::test]
async fn a_workspace_is_made_with_a_grant_for_each_caller() {
    let world = World::new().await;
    let made = world.post("root", PATH, &body(r#","default":true,"prefix":"teams/main""#)).await;
    insta::assert_snapshot!("native_workspace", made.whole());
    let acme = world.account_id("acme").await;
    let grants = world.memory.grants(acme).await.unwrap();
    let grant = grants.iter().find(|grant| grant.name.as_str() == "workspace-main-writer").unwrap();
    assert_eq!(grant.scope.actions(), valetkey_core::nouns::workspace::WORK);
    assert_eq!(world.get("writer", "/api/v1/org/acme/ws").await.json()[0]["key"], "main");
    let everyone = r#"{"account":"acme","key":"lab","bucket":"lake","callers":null,"access":"read","max_ttl_secs":60}"#;
    assert_eq!(world.post("root", PATH, everyone).await.status, StatusCode::CREATED);
    let grants = world.memory.grants(acme).await.unwrap();
    let grant = grants.iter().find(|grant| grant.name.as_str() == "workspace-lab").unwrap();
    assert_eq!((grant.scope.actions(), grant.max_lifetime.as_secs()), (valetkey_core::nouns::workspace::READ, 60));
    let listed = world.get("boss", PATH).await.json();
    let keys: Vec<_> = listed["workspaces"].as_array().unwrap().iter().map(|one| one["key"].clone()).collect();
    assert_eq!(keys, ["lab", "main"]);
    assert_eq!(world.get("root", &format!("{PATH}?account=acme")).await.json(), listed);
}

#[tokio::test]
async fn only_operators_make_and_remove_and_only_admins_list() {
    let world = World::new().await;
    assert_eq!(world.post("root", PATH, &body("")).await.status, StatusCode::CREATED);
    for caller in ["writer", "boss", "chief"] {
        assert_eq!(world.post(caller, PATH, &body("")).await.status, StatusCode::FORBIDDEN, "{caller}");
        assert_eq!(world.delete(caller, &format!("{PATH}/main")).await.status, StatusCode::FORBIDDEN, "{caller}");
    }
    assert_eq!(world.get("writer", PATH).await.status, StatusCode::FORBIDDEN);
    assert_eq!(world.get("chief", &format!("{PATH}?account=acme")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.get("chief", PATH).await.json()["workspaces"], serde_json::json!([]));
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_its_field() {
    let world = World::new().await;
    assert_eq!(world.post("root", PATH, &body(r#","prefix":"teams/main""#)).await.status, StatusCode::CREATED);
    let (callers, second) = (r#""callers":["writer"]"#, |text: &str| text.replace("main", "second"));
    for (text, status, field) in [
        (body(""), 409, "name"),
        (body("").replace("main", "Main"), 422, "key"),
        (second(&body("")).replace(callers, r#""callers":[]"#), 422, "callers"),
        (second(&body("")).replace(&format!(",{callers}"), ""), 422, "callers"),
        (second(&body("")).replace("writer", "other"), 404, "callers"),
        (second(&body("")).replace("lake", "none"), 404, "bucket"),
        (second(&body("")).replace("acme", "none"), 404, "account"),
        (second(&body("")).replace('}', r#","prefix":"teams/main/x"}"#), 422, "prefix"),
        (second(&body(r#","prefix":"a/""#)), 422, "prefix"),
        (second(&body(r#","prefix":"""#)), 422, "prefix"),
        (second(&body(r#","prefix":null"#)), 422, "prefix"),
        (second(&body(r#","access":"write""#)), 422, "access"),
        (second(&body(r#","max_ttl_secs":0"#)), 422, "max_ttl_secs"),
    ] {
        let shot = world.post("root", PATH, &text).await;
        assert_eq!(shot.status.as_u16(), status, "{text}: {}", shot.body);
        assert_eq!(shot.json()["field"].as_str().unwrap_or_default(), field, "{text}");
    }
}

#[tokio::test]
async fn a_removed_workspace_ends_its_credentials_unless_told_otherwise() {
    let world = World::new().await;
    for (query, live) in [("", 0), ("&end_credentials=false", 1)] {
        assert_eq!(world.post("root", PATH, &body("")).await.status, StatusCode::CREATED);
        let vend = "/api/v1/org/acme/ws/main/storage/credentials";
        assert_eq!(world.get("writer", vend).await.status, StatusCode::OK);
        let removed = world.delete("root", &format!("{PATH}/main?account=acme{query}")).await;
        assert_eq!((removed.status, removed.json()["credentials_ended"].as_bool()), (StatusCode::OK, Some(live == 0)));
        assert_eq!(world.get("writer", vend).await.status, StatusCode::NOT_FOUND);
        let now = Some(valetkey_core::time::Clock::now(&*world.clock));
        let filter = LeaseFilter { live_at: now, limit: 9, ..LeaseFilter::default() };
        assert_eq!(world.memory.leases(&filter).await.unwrap().len(), live, "{query}");
        assert_eq!(world.delete("root", &format!("{PATH}/main?account=acme")).await.status, StatusCode::NOT_FOUND);
    }
}
