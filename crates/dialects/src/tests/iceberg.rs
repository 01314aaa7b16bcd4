//! Iceberg's REST catalog as a reader sees it.

use axum::body::Body;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use valetkey_core::nouns::registry::LeaseFilter;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::scope::Action;
use valetkey_core::time::Clock as _;

use super::world::{Shot, World, bucket};

const ROOT: &str = "/iceberg/v1";
const TABLE: &str = "/Sales/namespaces/Main/tables/plain";

async fn world() -> World {
    let world = World::sharing().await;
    put(&world, "00001-a.metadata.json", "s3://lake/t/plain", 1);
    put(&world, "00002-b.metadata.json", "s3://lake/t/plain/", 2);
    world
}

fn put_text(world: &World, name: &str, text: &str) {
    let key = format!("t/plain/metadata/{name}");
    world.made.2.files.put(&bucket("lake"), key.as_bytes(), text.as_bytes(), world.clock.now());
}

fn put(world: &World, name: &str, location: &str, number: u32) {
    let properties = json!({ "owner": "ann", "s3.signer.uri": "https://elsewhere.example", "py-io-impl": "os.system" });
    put_text(
        world,
        name,
        &format!(
            " {{ \"format-version\": 2, \"location\": \"{location}\", \"last-sequence-number\": {number}, \"properties\": {properties} }} "
        ),
    );
}

async fn get(world: &World, path: &str) -> Shot {
    // Leases are listed by the millisecond they were opened in.
    world.clock.advance_secs(1);
    world.get("reader", &format!("{ROOT}{path}")).await
}

fn refused(shot: &Shot) -> (u16, String) {
    let error = &shot.json()["error"];
    assert!(error["message"].is_string() && error["code"] == shot.status.as_u16(), "{}", shot.body);
    (shot.status.as_u16(), error["type"].as_str().unwrap().to_owned())
}

async fn leases(world: &World) -> usize {
    world.memory.leases(&LeaseFilter { limit: 100, ..LeaseFilter::default() }).await.unwrap().len()
}

#[tokio::test]
async fn what_was_shared_is_told_as_a_warehouse_and_nothing_else_is() {
    let world = world().await;
    for path in ["/config", "/config?warehouse=Sales", "/config?warehouse=sales"] {
        let config = get(&world, path).await.json();
        assert_eq!(config["overrides"], json!({"prefix": "Sales"}), "{path}");
        assert!(
            config["endpoints"].as_array().unwrap().iter().any(|one| one.as_str().unwrap().ends_with("/credentials"))
        );
    }
    assert_eq!(get(&world, "/Sales/namespaces").await.json()["namespaces"], json!([["Main"], ["other"]]));
    assert_eq!(get(&world, "/Sales/namespaces?parent=Main").await.json()["namespaces"], json!([]));
    assert_eq!(get(&world, "/Sales/namespaces/main").await.json()["namespace"], json!(["Main"]));
    let tables = get(&world, "/Sales/namespaces/Main/tables").await.json();
    assert_eq!(tables["identifiers"].as_array().unwrap().len(), 7);
    // A table that is shared by URL only is not there: its directory is nobody's.
    let other = get(&world, "/Sales/namespaces/other/tables").await.json();
    assert_eq!(other["identifiers"], json!([{"namespace": ["other"], "name": "keys"}]));
    assert_eq!(get(&world, "/Sales/namespaces/Main/views").await.json()["identifiers"], json!([]));
    let (mut all, mut next) = (Vec::new(), String::new());
    loop {
        let page = get(&world, &format!("/Sales/namespaces/Main/tables?pageSize=3&pageToken={next}")).await.json();
        all.extend(page["identifiers"].as_array().unwrap().clone());
        match page["next-page-token"].as_str() {
            Some(token) => token.clone_into(&mut next),
            None => break,
        }
    }
    assert_eq!(all.len(), 7);
    assert_eq!(refused(&get(&world, &format!("/Sales/namespaces?pageToken={next}")).await).0, 400);
    for (path, kind) in [
        ("/config?warehouse=Secret", "NotFoundException"),
        ("/Secret/namespaces", "NotFoundException"),
        ("/Sales/namespaces/none", "NoSuchNamespaceException"),
        ("/Sales/namespaces/Main%1Fx", "NoSuchNamespaceException"),
        ("/Sales/namespaces?parent=none", "NoSuchNamespaceException"),
        ("/Sales/namespaces/none/tables", "NoSuchNamespaceException"),
        ("/Secret/namespaces/main/tables/plain", "NoSuchTableException"),
        ("/Sales/namespaces/other/tables/files", "NoSuchTableException"),
        ("/Sales/namespaces/other/tables/files/credentials", "NoSuchTableException"),
        ("/Sales/namespaces/Main/tables/none", "NoSuchTableException"),
        // Shared, and not of this format.
        ("/Sales/namespaces/Main/tables/deleting", "NoSuchTableException"),
    ] {
        assert_eq!(refused(&get(&world, path).await), (404, kind.to_owned()), "{path}");
    }
    assert_eq!(refused(&world.get("other", &format!("{ROOT}{TABLE}")).await).0, 404, "the provider was not given it");
    let token = world.token("reader").await;
    for (path, status) in [
        (TABLE, StatusCode::NO_CONTENT),
        ("/Sales/namespaces/Main/tables/deleting", StatusCode::NOT_FOUND),
        ("/Sales/namespaces/Main", StatusCode::NO_CONTENT),
        ("/Sales/namespaces/none", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(world.call(&Method::HEAD, &format!("{ROOT}{path}"), &token, "").await.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_table_is_its_newest_metadata_and_a_credential_for_its_directory() {
    let world = world().await;
    let shot = get(&world, TABLE).await;
    assert_eq!((shot.status, shot.headers["content-type"].to_str().unwrap()), (StatusCode::OK, "application/json"));
    let body = shot.json();
    assert_eq!(body["metadata"]["location"], "s3://lake/t/plain/");
    // What clients would take for settings of their own is not passed on.
    assert_eq!(body["metadata"]["properties"], json!({ "owner": "ann" }));
    assert_eq!(body["metadata"]["last-sequence-number"], 2);
    assert_eq!(body["metadata-location"], "s3://lake/t/plain/metadata/00002-b.metadata.json");
    let filter = LeaseFilter { limit: 1, ..LeaseFilter::default() };
    let lease = world.memory.leases(&filter).await.unwrap().remove(0).lease;
    let own = &body["storage-credentials"][0];
    assert_eq!(own["prefix"], "s3://lake/t/plain");
    for config in [&body["config"], &own["config"]] {
        assert_eq!(config["s3.session-token-expires-at-ms"], lease.until.as_millisecond().to_string());
        assert_eq!(
            (&config["s3.endpoint"], &config["s3.path-style-access"]),
            (&json!("http://127.0.0.1:9000"), &json!("true"))
        );
        assert_eq!(config["client.refresh-credentials-endpoint"], format!("v1{TABLE}/credentials"));
        for name in ["s3.access-key-id", "s3.secret-access-key", "s3.session-token", "client.region", "s3.region"] {
            assert!(config[name].as_str().unwrap().len() > 4, "{name}");
        }
    }
    for (key, action, inside) in [
        ("t/plain/metadata/x", Action::GetObject, true),
        ("t/plain/metadata/x", Action::PutObject, false),
        ("t/plain2/x", Action::GetObject, false),
    ] {
        assert_eq!(lease.rights.covers("lake", key.as_bytes(), action), inside, "{key}");
    }
    let again = get(&world, &format!("{TABLE}/credentials")).await.json();
    assert_eq!(again["storage-credentials"][0]["prefix"], "s3://lake/t/plain");
    assert_ne!(again["storage-credentials"][0]["config"]["s3.access-key-id"], own["config"]["s3.access-key-id"]);
    // Who wants no credential gets none.
    let before = leases(&world).await;
    let token = world.token("reader").await;
    for (told, vended) in [("remote-signing", false), ("remote-signing, vended-credentials", true)] {
        let request = Request::get(format!("{ROOT}{TABLE}")).header("authorization", format!("Bearer {token}"));
        let request = request.header("x-iceberg-access-delegation", told).body(Body::empty()).unwrap();
        let body = world.send(request).await.json();
        assert_eq!(body["config"].get("s3.signer.endpoint").is_some(), !vended, "{told}");
        assert_eq!(body["config"].get("s3.secret-access-key").is_some(), vended, "{told}");
        assert_eq!(body["storage-credentials"].as_array().unwrap().is_empty(), !vended, "{told}");
    }
    assert_eq!(leases(&world).await, before + 1);
}

#[tokio::test]
async fn metadata_that_is_not_clear_is_refused_and_nothing_is_vended_for_it() {
    let world = world().await;
    let before = leases(&world).await;
    let number = async |world: &World| get(world, TABLE).await.json()["metadata"]["last-sequence-number"].clone();
    for (name, location) in [
        ("00003-c.metadata.json", "s3://lake/t/plain2"),
        ("00004-c.metadata.json", "s3://lake/t"),
        ("00005-c.metadata.json", "gs://lake/t/plain"),
        ("00006-c.metadata.json", ""),
    ] {
        put(&world, name, location, 3);
        assert_eq!(refused(&get(&world, TABLE).await), (400, "BadRequestException".to_owned()), "{location}");
    }
    for text in [
        "",
        "{",
        "[]",
        "null",
        "{}",
        "{\"location\":\"s3://lake/t/plain\"}",
        "{\"format-version\":2,\"location\":\"s3://lake/t/plain\"}}",
    ] {
        put_text(&world, "00007-c.metadata.json", text);
        assert_eq!(refused(&get(&world, TABLE).await).0, 400, "{text}");
    }
    put_text(&world, "00007-c.metadata.json", &" ".repeat(16 * 1024 * 1024 + 1));
    assert_eq!(refused(&get(&world, TABLE).await).0, 400, "too large");
    put(&world, "00008-c.gz.metadata.json", "s3://lake/t/plain", 8);
    assert_eq!(refused(&get(&world, TABLE).await).0, 400, "compressed");
    put(&world, "00009-c.metadata.json", "s3://lake/t/plain", 9);
    put(&world, "00009-d.metadata.json", "s3://lake/t/plain", 10);
    assert_eq!(refused(&get(&world, TABLE).await).0, 400, "two of the same version");
    for hint in ["", "../x", "a/b", "99", "none.metadata.json", &"9".repeat(300)] {
        put_text(&world, "version-hint.text", hint);
        assert_eq!(refused(&get(&world, TABLE).await).0, 400, "{hint}");
    }
    assert_eq!(leases(&world).await, before, "nothing was vended");
    for hint in ["00009-d.metadata.json", "00009-d\n"] {
        put_text(&world, "version-hint.text", hint);
        assert_eq!(number(&world).await, 10, "{hint}");
    }
    put(&world, "v7.metadata.json", "s3://lake/t/plain", 7);
    put_text(&world, "version-hint.text", "7");
    assert_eq!(number(&world).await, 7);
}

#[tokio::test]
async fn a_large_table_comes_whole() {
    let world = world().await;
    let filler = "x".repeat(1_000_000);
    put_text(
        &world,
        "00003-c.metadata.json",
        &format!("{{\"format-version\":2,\"location\":\"s3://lake/t/plain\",\"x\":\"{filler}\"}}"),
    );
    assert_eq!(get(&world, TABLE).await.json()["metadata"]["x"], filler);
}

#[tokio::test]
async fn what_changes_a_table_is_refused_in_the_catalogs_words() {
    let world = world().await;
    let token = world.token("reader").await;
    for (method, path) in [
        (Method::POST, TABLE.to_owned()),
        (Method::DELETE, TABLE.to_owned()),
        (Method::POST, "/Sales/namespaces/Main/tables".to_owned()),
        (Method::POST, "/Sales/transactions/commit".to_owned()),
    ] {
        let shot = world.call(&method, &format!("{ROOT}{path}"), &token, "{}").await;
        assert_eq!(refused(&shot), (406, "UnsupportedOperationException".to_owned()), "{path}");
    }
    let metrics =
        world.call(&Method::POST, &format!("{ROOT}{TABLE}/metrics"), &token, r#"{"report-type":"scan"}"#).await;
    assert_eq!(metrics.status, StatusCode::NO_CONTENT);
    let bad: Value = world.call(&Method::POST, &format!("{ROOT}{TABLE}/metrics"), &token, "[").await.json();
    assert_eq!(bad["error"]["type"], "BadRequestException");
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again_while_its_credential_is_good_for_a_while() {
    let world = world().await;
    let (reader, other) = (world.token("reader").await, world.token("other").await);
    let ask = async |token: &str, tag: &str, told: &str| {
        let request = Request::get(format!("{ROOT}{TABLE}")).header("authorization", format!("Bearer {token}"));
        let request = request.header("if-none-match", tag).header("x-iceberg-access-delegation", told);
        world.send(request.body(Body::empty()).unwrap()).await
    };
    let tag_of = |shot: &Shot| shot.headers["etag"].to_str().unwrap().to_owned();
    let vended = "vended-credentials";
    let first = ask(&reader, "\"x\"", vended).await;
    let tag = tag_of(&first);
    let before = leases(&world).await;
    for given in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}")] {
        let again = ask(&reader, &given, vended).await;
        assert_eq!((again.status, again.body.as_str()), (StatusCode::NOT_MODIFIED, ""), "{given}");
        assert_eq!(tag_of(&again), tag);
    }
    assert_eq!(leases(&world).await, before, "nothing is vended for what is kept");
    // Not for another, not for other credentials, not for what is no tag of ours.
    assert_eq!(ask(&other, &tag, vended).await.status, StatusCode::NOT_FOUND);
    let (head, _) = tag.split_at(34);
    for given in ["*", "\"\"", "", head, &format!("{head}-lea_x-9\""), &format!("{head}\"")] {
        assert_eq!(ask(&reader, given, vended).await.status, StatusCode::OK, "{given}");
    }
    let without = ask(&reader, &tag, "remote-signing").await;
    assert_eq!(without.status, StatusCode::OK);
    let plain = tag_of(&without);
    assert_eq!(ask(&reader, &plain, "remote-signing").await.status, StatusCode::NOT_MODIFIED);
    assert_eq!(ask(&reader, &plain, vended).await.status, StatusCode::OK);
    // A revoked credential is not one to keep.
    let second = ask(&reader, "", vended).await;
    let lease =
        valetkey_core::keyring::parse_access_key_id(second.json()["config"]["s3.access-key-id"].as_str().unwrap());
    let (tag, path) = (tag_of(&second), format!("/api/v1/leases/{}", lease.unwrap().1));
    assert_eq!(ask(&reader, &tag, vended).await.status, StatusCode::NOT_MODIFIED);
    assert_eq!(world.call(&Method::DELETE, &path, &world.token("root").await, "").await.status, StatusCode::OK);
    assert_eq!(ask(&reader, &tag, vended).await.status, StatusCode::OK);
    // Nor is one of which half is over, nor one of a table that changed.
    let tag = tag_of(&ask(&reader, "", vended).await);
    world.clock.advance_secs(1799);
    assert_eq!(ask(&reader, &tag, vended).await.status, StatusCode::NOT_MODIFIED);
    world.clock.advance_secs(1);
    let later = ask(&reader, &tag, vended).await;
    assert_eq!(later.status, StatusCode::OK);
    put(&world, "00003-c.metadata.json", "s3://lake/t/plain", 3);
    assert_eq!(ask(&reader, &tag_of(&later), vended).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_client_gets_an_access_token_for_this_catalog_alone() {
    let world = world().await;
    let secret = world.token("reader").await;
    let id = world.shared.vending.identify(&secret).await.unwrap().token;
    let ask = async |form: String| {
        let request = Request::post(format!("{ROOT}/oauth/tokens"));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        world.send(request.body(Body::from(form)).unwrap()).await
    };
    let form = |id: &str, secret: &str| {
        format!("grant_type=client_credentials&client_id={id}&client_secret={secret}&scope=catalog")
    };
    let given = ask(form(&id.to_string(), &secret)).await.json();
    assert_eq!((&given["token_type"], &given["expires_in"]), (&json!("Bearer"), &json!(3600)));
    let access = given["access_token"].as_str().unwrap();
    let with = async |path: &str| world.call(&Method::GET, path, access, "").await.status;
    assert_eq!(with(&format!("{ROOT}{TABLE}")).await, StatusCode::OK);
    assert_eq!(with("/delta-sharing/shares").await, StatusCode::UNAUTHORIZED, "it is of another API");
    assert_eq!(with("/api/v1/me").await, StatusCode::UNAUTHORIZED);
    for (form, status, code) in [
        (form("tok_x", &secret), StatusCode::UNAUTHORIZED, "invalid_client"),
        (form(&id.to_string(), "vkt_x"), StatusCode::UNAUTHORIZED, "invalid_client"),
        ("grant_type=client_credentials".to_owned(), StatusCode::UNAUTHORIZED, "invalid_client"),
        ("grant_type=password".to_owned(), StatusCode::BAD_REQUEST, "unsupported_grant_type"),
        ("x=1&x=2".to_owned(), StatusCode::BAD_REQUEST, "invalid_request"),
    ] {
        let refused = ask(form.clone()).await;
        assert_eq!((refused.status, refused.json()["error"].as_str()), (status, Some(code)), "{form}");
    }
    world.clock.advance_secs(3600);
    assert_eq!(with(&format!("{ROOT}{TABLE}")).await, StatusCode::UNAUTHORIZED, "its time is over");
}
