//! Shares and profiles through the native API: who may make them, and what becomes of them.

use http::Method;
use serde_json::{Value, json};
use valetkey_core::time::Clock as _;

use super::world::{World, bucket};

async fn root(world: &World, method: Method, path: &str, body: Value) -> (u16, Value) {
    let token = world.token("root").await;
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let shot = world.call(&method, &format!("/api/v1{path}"), &token, &body).await;
    (shot.status.as_u16(), shot.json())
}

async fn shared() -> World {
    let world = World::new().await;
    let table = json!({"schema": "main", "name": "Daily", "bucket": "lake", "root": "t/plain"});
    let to = json!({"account": "acme", "to": "reader", "max_ttl_secs": 7200});
    for (path, body) in [
        ("/shares", json!({"name": "Sales", "account": "globex", "comment": "what was sold"})),
        ("/shares/sales/tables", table),
        ("/shares/SALES/recipients", to),
    ] {
        let (status, answer) = root(&world, Method::POST, path, body).await;
        assert_eq!(status, 201, "{path}: {answer}");
    }
    world
}

#[tokio::test]
async fn an_explanation_says_through_which_share_a_key_is_open() {
    let world = shared().await;
    let explained = async |caller: &str, key: &str, access: &str| {
        let body = json!({"bucket": "lake", "key": key, "access": access}).to_string();
        world.post(caller, "/api/v1/explain", &body).await.json()
    };
    let inside = explained("reader", "t/plain/x.parquet", "read").await;
    assert_eq!((&inside["allowed"], &inside["open_through_share"]), (&json!(false), &json!("Sales")));
    let first = &inside["considered"][0];
    assert_eq!((&first["verdict"], &first["share"]), (&json!("only_through_share"), &json!("Sales")), "{inside}");
    for (caller, key, access) in
        [("reader", "t/plain-secret/x", "read"), ("reader", "t/plain/x", "write"), ("writer", "t/plain/x", "read")]
    {
        let answer = explained(caller, key, access).await;
        assert_eq!(answer["allowed"], json!(false));
        assert!(!answer.to_string().contains("Sales"), "{caller} {key} {access}: {answer}");
    }
}

#[tokio::test]
async fn a_share_is_made_listed_and_taken_back() {
    let world = shared().await;
    let (_, shares) = root(&world, Method::GET, "/shares", Value::Null).await;
    assert_eq!(
        (&shares["shares"][0]["name"], &shares["shares"][0]["comment"]),
        (&json!("Sales"), &json!("what was sold"))
    );
    let (_, tables) = root(&world, Method::GET, "/shares/Sales/tables", Value::Null).await;
    let table = &tables["tables"][0];
    assert_eq!(
        (&table["root"], &table["access"], &table["history"]),
        (&json!("t/plain"), &json!("both"), &json!("shared"))
    );
    let (_, recipients) = root(&world, Method::GET, "/shares/Sales/recipients", Value::Null).await;
    assert_eq!(recipients["recipients"][0]["to"], "reader");
    let seen =
        async |caller: &str| world.get(caller, "/delta-sharing/shares").await.json()["items"].as_array().unwrap().len();
    assert_eq!((seen("reader").await, seen("writer").await), (1, 0));
    let (status, _) = root(&world, Method::DELETE, "/shares/Sales/recipients/acme", Value::Null).await;
    assert_eq!(status, 404, "it was not given to everyone");
    let path = "/shares/Sales/recipients/acme?caller=reader&end_credentials=false";
    let (status, taken) = root(&world, Method::DELETE, path, Value::Null).await;
    assert_eq!((status, &taken["credentials_ended"]), (200, &json!(false)));
    assert_eq!(seen("reader").await, 0);
    let (status, _) = root(&world, Method::DELETE, "/shares/Sales/tables/MAIN.daily", Value::Null).await;
    assert_eq!(status, 200);
    let (status, _) = root(&world, Method::DELETE, "/shares/Sales", Value::Null).await;
    assert_eq!(status, 200);
    assert_eq!(root(&world, Method::GET, "/shares", Value::Null).await.1, json!({"shares": []}));
}

#[tokio::test]
async fn what_a_share_made_is_not_removed_alone() {
    let world = shared().await;
    let (_, grants) = root(&world, Method::GET, "/grants?account=acme", Value::Null).await;
    let grant = grants["grants"].as_array().unwrap().iter().find(|grant| grant["share"].is_string()).unwrap().clone();
    assert_eq!((&grant["prefixes"], &grant["to"]), (&json!(["t/plain"]), &json!("reader")));
    let path = format!("/grants/{}", grant["id"].as_str().unwrap());
    let (status, refused) = root(&world, Method::DELETE, &path, Value::Null).await;
    assert_eq!((status, &refused["field"]), (422, &json!("grant")));
    // Nor does it open anything for who names it, or the place.
    for body in [json!({"grant": grant["id"]}), json!({"bucket": "lake", "prefix": "t/plain"})] {
        let status = world.post("reader", "/api/v1/credentials", &body.to_string()).await.status.as_u16();
        assert!([403, 404].contains(&status), "{body}: {status}");
    }
}

#[tokio::test]
async fn a_share_that_does_not_hold_together_is_refused() {
    let world = shared().await;
    let table = |field: &str, value: Value| {
        let mut table = json!({"schema": "main", "name": "other", "bucket": "lake", "root": "other/plain"});
        table[field] = value;
        table
    };
    for (body, status, field) in [
        (table("schema", json!("a.b")), 422, "schema"),
        (table("name", json!("DAILY")), 409, "name"),
        (table("name", json!("a b")), 422, "name"),
        (table("root", json!("")), 422, "root"),
        (table("root", json!("t/../x")), 422, "root"),
        (table("root", json!("t//x")), 422, "root"),
        (table("root", json!("t/x/")), 422, "root"),
        (table("auxiliary", json!(["/x"])), 422, "auxiliary"),
        (table("access", json!("write")), 422, "access"),
        (table("history", json!("latest")), 422, "history"),
        (table("bucket", json!("pond")), 404, "bucket"),
        // What clients that read by directory encode twice.
        (table("root", json!("a*b/plain")), 422, "root"),
        (table("auxiliary", json!(["~old"])), 422, "auxiliary"),
        // No table is there.
        (table("root", json!("t/other")), 422, "root"),
    ] {
        let (own, answer) = root(&world, Method::POST, "/shares/Sales/tables", body).await;
        assert_eq!((own, &answer["field"]), (status, &json!(field)), "{answer}");
    }
    for (body, status, field) in [
        (json!({"account": "acme"}), 422, "to"),
        (json!({"account": "acme", "to": "nobody"}), 404, "to"),
        (json!({"account": "nowhere", "to": null}), 404, "account"),
        (json!({"account": "acme", "to": null, "until": "2020-01-01T00:00:00Z"}), 422, "until"),
        (json!({"account": "acme", "to": null, "max_ttl_secs": 0}), 422, "max_ttl_secs"),
    ] {
        let (own, answer) = root(&world, Method::POST, "/shares/Sales/recipients", body).await;
        assert_eq!((own, &answer["field"]), (status, &json!(field)), "{answer}");
    }
    let (status, _) = root(&world, Method::POST, "/shares", json!({"name": "SALES"})).await;
    assert_eq!(status, 409);
}

#[tokio::test]
async fn only_operators_share_and_only_admins_make_profiles() {
    let world = shared().await;
    for (method, path) in [
        (Method::GET, "/shares"),
        (Method::POST, "/shares"),
        (Method::DELETE, "/shares/Sales"),
        (Method::GET, "/shares/Sales/tables"),
        (Method::POST, "/shares/Sales/tables"),
        (Method::DELETE, "/shares/Sales/tables/main.Daily"),
        (Method::GET, "/shares/Sales/recipients"),
        (Method::POST, "/shares/Sales/recipients"),
        (Method::DELETE, "/shares/Sales/recipients/acme"),
    ] {
        for caller in ["boss", "reader"] {
            let token = world.token(caller).await;
            let shot = world.call(&method, &format!("/api/v1{path}"), &token, "{}").await;
            assert_eq!(shot.status.as_u16(), 403, "{caller} {method} {path}");
        }
    }
    for path in ["/api/v1/share-profiles", "/api/v1/share-links"] {
        let body = |account: &str| json!({"account": account, "caller": "reader"}).to_string();
        assert_eq!(world.post("reader", path, &body("acme")).await.status.as_u16(), 403);
        assert_eq!(world.post("chief", path, &body("acme")).await.status.as_u16(), 404, "another account");
        assert_eq!(world.post("boss", path, &body("acme")).await.status.as_u16(), 201);
        // A profile is never an admin's.
        let above = json!({"caller": "boss"}).to_string();
        assert_eq!(world.post("boss", path, &above).await.status.as_u16(), 409);
    }
}

#[tokio::test]
async fn a_rotated_profile_lets_the_others_end() {
    let world = shared().await;
    let make = async |body: Value| {
        let shot = world.post("boss", "/api/v1/share-profiles", &body.to_string()).await;
        assert_eq!(shot.status.as_u16(), 201, "{}", shot.body);
        shot.json()
    };
    let works = async |profile: &Value| {
        let token = profile["token"].as_str().unwrap();
        world.call(&Method::GET, "/delta-sharing/shares", token, "").await.status.as_u16() == 200
    };
    let first = make(json!({"caller": "reader", "expires_in_secs": 1000})).await;
    assert_eq!(first["endpoint"], "http://127.0.0.1:7070/delta-sharing");
    let link = world.post("boss", "/api/v1/share-links", r#"{"caller":"reader"}"#).await.json();
    let second = make(json!({"caller": "reader", "replace_after_secs": 100})).await;
    assert_eq!(second["replaced"], json!([first["id"]]));
    assert!(works(&first).await && works(&second).await);
    let path = link["url"].as_str().unwrap().strip_prefix("http://127.0.0.1:7070").unwrap();
    assert_eq!(world.call(&Method::GET, path, "", "").await.status.as_u16(), 404, "unused links end");
    world.clock.advance_secs(100);
    assert!(!works(&first).await && works(&second).await);
    let third = make(json!({"caller": "reader", "replace_after_secs": 0})).await;
    assert!(!works(&second).await && works(&third).await);
    let shot = world.post("boss", "/api/v1/share-profiles", r#"{"caller":"nobody-yet","replace_after_secs":0}"#).await;
    assert_eq!(shot.status.as_u16(), 404, "a misspelt name makes no recipient");
}

#[tokio::test]
async fn a_table_that_is_added_is_looked_at_and_its_readers_are_named() {
    let world = shared().await;
    let add = async |fields: Value| {
        let mut table = json!({"schema": "main", "bucket": "lake"});
        table.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        root(&world, Method::POST, "/shares/Sales/tables", table).await
    };
    let (status, added) = add(json!({"name": "seen", "root": "u/plain"})).await;
    assert_eq!((status, &added["checked"], &added["readable_by"]), (201, &json!(true), &json!(["acme/reader"])));
    let (status, refused) = add(json!({"name": "unseen", "root": "u/nothing"})).await;
    assert_eq!((status, &refused["field"]), (422, &json!("root")));
    assert!(
        refused["detail"].as_str().unwrap().contains("s3://lake/u/nothing: no commit in its `_delta_log`"),
        "{refused}"
    );
    let (status, added) = add(json!({"name": "unseen", "root": "u/nothing", "force": true})).await;
    assert_eq!((status, &added["checked"]), (201, &json!(false)));
    // What clients encode twice is of no use with keys, and none the worse by URL.
    let (status, added) = add(json!({"name": "starred", "root": "a*~b/plain", "access": "url"})).await;
    assert_eq!((status, &added["checked"]), (201, &json!(true)));
    let give = async |to: Value| root(&world, Method::POST, "/shares/Sales/recipients", to).await.0;
    assert_eq!(give(json!({"account": "globex", "to": null})).await, 201);
    assert_eq!(give(json!({"account": "acme", "to": "writer", "until": "2026-01-01T01:00:00Z"})).await, 201);
    world.clock.advance_secs(7200);
    let (_, added) = add(json!({"name": "again", "root": "v/plain"})).await;
    let mut readers: Vec<&str> =
        added["readable_by"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    readers.sort_unstable();
    assert_eq!(readers, ["acme/reader", "globex"], "who may no longer is not named");
}

#[tokio::test]
async fn a_table_is_shown_by_the_apis_whose_clients_can_read_it() {
    let world = shared().await;
    for place in ["u/ice", "both/plain"] {
        let key = format!("{place}/metadata/00001-a.metadata.json");
        world.made.2.files.put(&bucket("lake"), key.as_bytes(), b"{}", world.clock.now());
    }
    let add = async |name: &str, place: &str, more: Value| {
        let mut table = json!({"schema": "kinds", "bucket": "lake", "name": name, "root": place});
        table.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        root(&world, Method::POST, "/shares/Sales/tables", table).await
    };
    for (name, place, more, format, access) in [
        ("ice", "u/ice", json!({}), json!("iceberg"), "dir"),
        ("delta", "u/plain", json!({}), json!("delta"), "both"),
        ("both", "both/plain", json!({}), Value::Null, "both"),
        ("chosen", "both/plain", json!({"format": "iceberg"}), json!("iceberg"), "dir"),
        ("unseen", "u/nothing", json!({"force": true}), Value::Null, "both"),
        ("told", "u/nothing", json!({"force": true, "format": "delta", "access": "dir"}), json!("delta"), "dir"),
    ] {
        let (status, added) = add(name, place, more).await;
        assert_eq!((status, &added["format"], &added["access"]), (201, &format, &json!(access)), "{added}");
    }
    for (place, more, field, said) in [
        ("u/ice", json!({"access": "url"}), "access", "an Iceberg table"),
        ("u/ice", json!({"access": "both", "force": true, "format": "iceberg"}), "access", "an Iceberg table"),
        ("u/ice", json!({"format": "delta"}), "root", "of the format `iceberg`"),
        ("u/plain", json!({"format": "iceberg"}), "root", "of the format `delta`"),
        ("u/ice", json!({"format": "avro"}), "format", "not one of"),
        ("u/nothing", json!({}), "root", "no metadata of Iceberg"),
    ] {
        let (status, refused) = add("no", place, more).await;
        assert_eq!((status, &refused["field"]), (422, &json!(field)), "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains(said), "{refused}");
    }
    let delta = ["both", "delta", "told", "unseen"];
    for (path, names) in [
        ("/delta-sharing/shares/Sales/schemas/kinds/tables", &delta[..]),
        ("/api/2.1/unity-catalog/tables?catalog_name=Sales&schema_name=kinds", &delta),
        ("/iceberg/v1/Sales/namespaces/kinds/tables", &["both", "chosen", "ice", "unseen"]),
    ] {
        let list = world.get("reader", path).await.json();
        let rows = ["items", "tables", "identifiers"].into_iter().find_map(|name| list[name].as_array()).unwrap();
        let found: Vec<&str> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
        assert_eq!(found, names, "{path}");
    }
    for path in [
        "/delta-sharing/shares/Sales/schemas/kinds/tables/ice/metadata",
        "/api/2.1/unity-catalog/tables/Sales.kinds.ice",
        "/iceberg/v1/Sales/namespaces/kinds/tables/delta",
    ] {
        assert_eq!(world.get("reader", path).await.status.as_u16(), 404, "{path}");
    }
}
