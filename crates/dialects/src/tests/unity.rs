//! Unity Catalog as a reader sees it.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use valetkey_core::lease::Revoker;
use valetkey_core::nouns::registry::LeaseFilter;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::scope::{Action, Actions, Rights};
use valetkey_core::time::Clock as _;

use super::world::{Shot, World, directory};

const ROOT: &str = "/api/2.1/unity-catalog";

async fn get(world: &World, path: &str) -> Shot {
    world.get("reader", &format!("{ROOT}{path}")).await
}

async fn ask(world: &World, who: &str, what: &str, body: &Value) -> Shot {
    // Leases are listed by the millisecond they were opened in.
    world.clock.advance_secs(1);
    world.post(who, &format!("{ROOT}/temporary-{what}-credentials"), &body.to_string()).await
}

async fn newest(world: &World) -> Rights {
    let filter = LeaseFilter { limit: 1, ..LeaseFilter::default() };
    Rights::clone(&world.memory.leases(&filter).await.unwrap().remove(0).lease.rights)
}

fn refused(shot: &Shot) -> (u16, String) {
    let body = shot.json();
    assert_eq!(body["details"][0]["reason"], body["error_code"]);
    assert_eq!(body["details"][0]["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
    (shot.status.as_u16(), body["error_code"].as_str().unwrap().to_owned())
}

fn names(body: &Value, of: &str) -> Vec<String> {
    let all = body[of].as_array().unwrap().iter();
    all.map(|one| one["full_name"].as_str().or(one["name"].as_str()).unwrap().to_owned()).collect()
}

fn in_lake(key: &str) -> String {
    format!("s3://lake/{key}")
}

#[tokio::test]
async fn what_was_shared_is_told_as_a_catalog_and_nothing_else_is() {
    let world = World::sharing().await;
    let catalogs = get(&world, "/catalogs").await.json();
    assert_eq!((names(&catalogs, "catalogs"), &catalogs["next_page_token"]), (vec!["Sales".to_owned()], &Value::Null));
    for field in ["created_at", "updated_at"] {
        assert!(catalogs["catalogs"][0][field].is_i64(), "{field}");
    }
    assert_eq!(get(&world, "/catalogs/sales").await.json()["comment"], "what was sold");
    let schemas = get(&world, "/schemas?catalog_name=Sales").await.json();
    assert_eq!(names(&schemas, "schemas"), ["Sales.Main", "Sales.other"]);
    assert_eq!(get(&world, "/schemas/sales.MAIN").await.json()["name"], "Main");
    let tables = get(&world, "/tables?catalog_name=Sales&schema_name=main").await.json();
    assert_eq!(tables["tables"].as_array().unwrap().len(), 7);
    // A table that is shared by URL only is not there: its directory is nobody's.
    let other = get(&world, "/tables?catalog_name=Sales&schema_name=other").await.json();
    assert_eq!(names(&other, "tables"), ["Sales.other.keys"]);
    let table = get(&world, "/tables/Sales.Main.plain?full_name=Sales.Main.plain").await.json();
    assert_eq!(table["storage_location"], "s3://lake/t/plain");
    assert_eq!((&table["data_source_format"], &table["table_type"]), (&json!("DELTA"), &json!("EXTERNAL")));
    assert!(table["columns"].is_array() && table["properties"].is_object() && table["created_at"].is_i64(), "{table}");
    let no_log = get(&world, "/tables/Sales.Main.nothing").await.json();
    assert!(no_log.get("data_source_format").is_none(), "{no_log}");
    assert_eq!(get(&world, "/volumes?catalog_name=Sales&schema_name=main").await.json()["volumes"], json!([]));
    for (path, code) in [
        ("/catalogs/Secret", "CATALOG_NOT_FOUND"),
        ("/catalogs/none", "CATALOG_NOT_FOUND"),
        ("/schemas?catalog_name=Secret", "CATALOG_NOT_FOUND"),
        ("/schemas/Secret.main", "SCHEMA_NOT_FOUND"),
        ("/schemas/Sales.none", "SCHEMA_NOT_FOUND"),
        ("/schemas/none", "SCHEMA_NOT_FOUND"),
        ("/tables?catalog_name=Secret&schema_name=main", "CATALOG_NOT_FOUND"),
        ("/tables?catalog_name=Sales&schema_name=none", "SCHEMA_NOT_FOUND"),
        ("/tables/Secret.main.plain", "TABLE_NOT_FOUND"),
        ("/tables/Sales.other.files", "TABLE_NOT_FOUND"),
        ("/tables/Sales.plain", "TABLE_NOT_FOUND"),
        ("/tables/plain", "TABLE_NOT_FOUND"),
    ] {
        assert_eq!(refused(&get(&world, path).await), (404, code.to_owned()), "{path}");
    }
    for path in ["/schemas", "/tables?catalog_name=Sales", "/tables?schema_name=main", "/catalogs?max_results=-1"] {
        assert_eq!(refused(&get(&world, path).await), (400, "INVALID_ARGUMENT".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn listings_come_in_pages_of_the_callers_own() {
    let world = World::sharing().await;
    let at = "/tables?catalog_name=Sales&schema_name=Main";
    let (mut all, mut next) = (Vec::new(), String::new());
    loop {
        let page = get(&world, &format!("{at}&max_results=3&page_token={next}")).await.json();
        all.extend(names(&page, "tables"));
        match page["next_page_token"].as_str() {
            Some(token) => token.clone_into(&mut next),
            None => break,
        }
    }
    assert_eq!(all.len(), 7);
    assert_eq!(refused(&get(&world, &format!("/catalogs?page_token={next}")).await).0, 400, "of another listing");
    let others = world.get("writer", &format!("{ROOT}{at}&page_token={next}")).await;
    assert_eq!(refused(&others).0, 400, "another caller's");
    assert_eq!(get(&world, &format!("{at}&max_results=0")).await.json()["tables"].as_array().unwrap().len(), 7);
}

#[tokio::test]
async fn a_tables_credential_reads_its_directory_and_nothing_beside_it() {
    let world = World::sharing().await;
    let id = get(&world, "/tables/Sales.Main.plain").await.json()["table_id"].clone();
    let read = json!({"table_id": id, "operation": "READ"});
    let shot = ask(&world, "reader", "table", &read).await;
    let body = shot.json();
    assert_eq!((shot.status, &body["url"]), (StatusCode::OK, &json!("s3://lake/t/plain")));
    for field in ["access_key_id", "secret_access_key", "session_token"] {
        assert!(body["aws_temp_credentials"][field].as_str().unwrap().len() > 20, "{field}");
    }
    let filter = LeaseFilter { limit: 1, ..LeaseFilter::default() };
    let lease = world.memory.leases(&filter).await.unwrap().remove(0).lease;
    assert_eq!(body["expiration_time"], lease.until.as_millisecond());
    for (key, action, inside) in [
        ("t/plain/_delta_log/0.json", Action::GetObject, true),
        ("t/plain/x", Action::PutObject, false),
        ("t/plain2/x", Action::GetObject, false),
        ("t", Action::GetObject, false),
    ] {
        assert_eq!(lease.rights.covers("lake", key.as_bytes(), action), inside, "{key}");
    }
    // The older version of the API is the same.
    let old = world.post("reader", "/api/2.0/unity-catalog/temporary-table-credentials", &read.to_string()).await;
    assert_eq!(old.status, StatusCode::OK, "{}", old.body);
    // To write, the directory has to be granted, and to the caller.
    let write = json!({"table_id": id, "operation": "READ_WRITE"});
    let denied = (403, "PERMISSION_DENIED".to_owned());
    assert_eq!(refused(&ask(&world, "reader", "table", &write).await), denied);
    let (acme, writer) = (world.account_id("acme").await, world.caller_of("writer").await);
    let paths = directory("t/plain");
    world.grant(acme, "t-plain", Some(writer), "lake", paths, Actions::READ_WRITE, None).await;
    assert_eq!(refused(&ask(&world, "reader", "table", &write).await), denied);
    assert_eq!(ask(&world, "writer", "table", &write).await.status, StatusCode::OK);
    let scope = newest(&world).await;
    assert!(scope.covers("lake", b"t/plain/x", Action::PutObject));
    assert!(!scope.covers("lake", b"t/plain2/x", Action::PutObject));
}

#[tokio::test]
async fn who_was_not_given_a_table_hears_that_it_is_not_there() {
    let world = World::sharing().await;
    let id = get(&world, "/tables/Sales.Main.plain").await.json()["table_id"].clone();
    let absent = (404, "TABLE_NOT_FOUND".to_owned());
    let read = json!({"table_id": id, "operation": "READ"});
    assert_eq!(refused(&ask(&world, "other", "table", &read).await), absent, "the provider was not given it");
    assert_eq!(refused(&ask(&world, "nobody", "table", &read).await), absent);
    let files = world.get("reader", "/delta-sharing/shares/Sales/schemas/other/tables").await.json();
    let by_url = files["items"].as_array().unwrap().iter().find(|one| one["name"] == "files").unwrap();
    let by_url: valetkey_core::id::TableId = by_url["id"].as_str().unwrap().parse().unwrap();
    for id in [by_url.as_uuid(), "x".to_owned(), "00000000-0000-0000-0000-000000000000".to_owned(), String::new()] {
        let body = json!({"table_id": id, "operation": "READ"});
        assert_eq!(refused(&ask(&world, "reader", "table", &body).await), absent, "{id}");
    }
    let (token, plain) = world.token_of("reader", None).await;
    let by = Revoker { by: world.caller_of("root").await, at: world.clock.now() };
    world.memory.revoke_token(token, by).await.unwrap();
    let path = format!("{ROOT}/temporary-table-credentials");
    let revoked = world.call(&Method::POST, &path, &plain, &read.to_string()).await;
    assert_eq!(refused(&revoked), (401, "UNAUTHENTICATED".to_owned()));
}

#[tokio::test]
async fn a_paths_credential_opens_what_was_granted_there() {
    let world = World::sharing().await;
    let path = |url: &str, operation: &str| json!({"url": url, "operation": operation});
    let shot = ask(&world, "writer", "path", &path(&in_lake("work/writer/x/"), "PATH_READ_WRITE")).await;
    assert_eq!(shot.json()["url"], in_lake("work/writer/x"));
    let scope = newest(&world).await;
    for (key, inside) in [("work/writer/x/y", true), ("work/writer/x2", false), ("work/writer/y", false)] {
        assert_eq!(scope.covers("lake", key.as_bytes(), Action::PutObject), inside, "{key}");
    }
    ask(&world, "writer", "path", &path(&in_lake("work/writer").replacen("s3:", "s3a:", 1), "PATH_READ")).await;
    let scope = newest(&world).await;
    assert!(scope.covers("lake", b"work/writer/y", Action::GetObject));
    assert!(!scope.covers("lake", b"work/writer/y", Action::PutObject));
    for (who, url, operation, status) in [
        ("reader", "s3://lake/flights/daily", "PATH_READ", 200),
        ("reader", "s3://lake/flights/daily", "PATH_READ_WRITE", 403),
        ("reader", "s3://lake/flights/daily", "PATH_CREATE_TABLE", 403),
        ("reader", "s3://lake/flights/daily-secret", "PATH_READ", 403),
        ("reader", "s3://lake/flights", "PATH_READ", 403),
        ("reader", "s3://vault/x", "PATH_READ", 404),
        ("reader", "s3://none/x", "PATH_READ", 404),
        // The share opens its table to those who ask for the table.
        ("reader", "s3://lake/t/plain", "PATH_READ", 403),
        // Another storage's bucket of the same name.
        ("reader", "gs://lake/flights/daily", "PATH_READ", 404),
        ("reader", "abfss://lake@acct.dfs.core.windows.net/flights/daily", "PATH_READ", 404),
        ("reader", "s3://lake", "PATH_READ", 400),
        ("reader", "s3://lake/", "PATH_READ", 400),
        ("reader", "s3://lake/flights/%2e%2e/x", "PATH_READ", 400),
        ("reader", "s3://lake//flights", "PATH_READ", 400),
        ("reader", "https://lake/flights/daily", "PATH_READ", 400),
        ("reader", "file:///flights/daily", "PATH_READ", 400),
        ("reader", "flights/daily", "PATH_READ", 400),
        ("reader", "", "PATH_READ", 400),
        ("reader", "s3://lake/flights/daily", "READ", 400),
        ("reader", "s3://lake/flights/daily", "", 400),
        ("reader", "s3://lake/flights/daily", "UNKNOWN_PATH_OPERATION", 400),
    ] {
        let shot = ask(&world, who, "path", &path(url, operation)).await;
        assert_eq!(shot.status.as_u16(), status, "{url} {operation}: {}", shot.body);
    }
    for body in [
        json!({}),
        json!({"url": "s3://lake/flights/daily"}),
        json!({"url": 1, "operation": "PATH_READ"}),
        json!({"url": "s3://lake/flights/daily", "operation": "PATH_READ", "dry_run": true}),
        json!([]),
    ] {
        assert_eq!(refused(&ask(&world, "reader", "path", &body).await).0, 400, "{body}");
    }
}

#[tokio::test]
async fn what_changes_a_catalog_is_refused_in_its_words() {
    let world = World::sharing().await;
    for (method, path) in [
        (Method::POST, "/tables"),
        (Method::DELETE, "/catalogs/Sales"),
        (Method::POST, "/temporary-model-version-credentials"),
        (Method::POST, "/volumes"),
    ] {
        let shot = world.call(&method, &format!("{ROOT}{path}"), &world.token("reader").await, "{}").await;
        assert_eq!(refused(&shot), (501, "UNIMPLEMENTED".to_owned()), "{path}");
    }
}
