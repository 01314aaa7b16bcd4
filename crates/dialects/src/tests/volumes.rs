//! Volumes, as clients of OpenSharing and of Unity Catalog see them.

use std::sync::Arc;

use http::{Method, StatusCode};
use jiff::SignedDuration;
use serde_json::{Value, json};
use valetkey_core::id::TableId;
use valetkey_core::nouns::share::ShareAdmin as _;
use valetkey_core::nouns::table::{History, NewTable, SharedName, TableAccess, TableFormat, TableRoot};
use valetkey_core::scope::Action;
use valetkey_core::storage::StorageKind;
use valetkey_core::time::Clock as _;

use super::carry::Shaped;
use super::world::{Shot, World, bucket, new_storage, sealing};
use crate::edge::{EdgeLimits, RateLimits};

const SHARE: &str = "/delta-sharing/shares/Sales";
const UNITY: &str = "/api/2.1/unity-catalog";

fn volume(world: &World) -> NewTable {
    NewTable {
        id: (),
        share: (),
        schema: SharedName::part("Media").unwrap(),
        name: SharedName::part("Photos").unwrap(),
        storage: world.storage,
        bucket: bucket("lake"),
        root: TableRoot::parse("media/photos").unwrap(),
        auxiliary: Vec::new(),
        access: TableAccess::Directory,
        history: History::Shared,
        format: Some(TableFormat::Volume),
    }
}

async fn behind(kind: StorageKind) -> (World, TableId) {
    let limits = EdgeLimits { rates: RateLimits::off(), ..EdgeLimits::default() };
    let issuer = |_: &_, entropy: &_, _: &_| Arc::new(Shaped(sealing(entropy))) as Arc<_>;
    let world = World::sharing_in(World::behind(limits, new_storage("local", kind), issuer).await).await;
    let id = world.memory.add_table(world.sales().await, volume(&world), world.clock.now()).await.unwrap().id;
    (world, id)
}

async fn get(world: &World, path: &str) -> Shot {
    world.clock.advance_secs(1);
    world.get("reader", path).await
}

#[tokio::test]
async fn a_volume_is_in_lists_of_volumes_and_in_no_other() {
    let (world, _) = behind(StorageKind::Embedded).await;
    let one = get(&world, &format!("{SHARE}/schemas/media/volumes/photos")).await;
    assert_eq!(one.headers["content-type"], "application/json; charset=utf-8");
    let one = one.json();
    for (name, value) in
        [("name", "Photos"), ("schema", "media"), ("share", "Sales"), ("storageLocation", "s3://lake/media/photos/")]
    {
        assert_eq!(one[name], value, "{one}");
    }
    assert!(one["id"].is_string() && one["shareId"].is_string(), "{one}");
    for list in ["all-volumes", "schemas/Media/volumes"] {
        let items = get(&world, &format!("{SHARE}/{list}?maxResults=1")).await.json();
        assert_eq!(items["items"][0]["name"], "Photos", "{list}");
        assert!(items.get("nextPageToken").is_none());
    }
    let schemas = get(&world, &format!("{SHARE}/schemas")).await.json();
    assert!(schemas["items"].as_array().unwrap().iter().any(|schema| schema["name"] == "Media"), "{schemas}");
    assert_eq!(get(&world, &format!("{SHARE}/schemas/media/tables")).await.json()["items"], json!([]));
    assert_eq!(get(&world, &format!("{SHARE}/schemas/main/volumes")).await.json()["items"], json!([]));
    assert!(!get(&world, &format!("{SHARE}/all-tables")).await.body.contains("Photos"));
    // Nor is it a table of any API, or a table a volume.
    for path in [
        format!("{SHARE}/schemas/media/tables/photos/metadata"),
        format!("{SHARE}/schemas/media/tables/photos"),
        format!("{SHARE}/schemas/main/volumes/plain"),
        format!("{SHARE}/schemas/none/volumes"),
        format!("{UNITY}/tables/Sales.media.photos"),
        format!("{UNITY}/volumes/Sales.main.plain"),
        "/iceberg/v1/Sales/namespaces/media/tables/photos".to_owned(),
        "/delta-sharing/shares/Secret/all-volumes".to_owned(),
    ] {
        assert_eq!(get(&world, &path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let own = format!("{SHARE}/schemas/media/volumes/photos");
    assert_eq!(world.get("other", &own).await.status, StatusCode::NOT_FOUND, "the provider was not given it");
    let table = get(&world, &format!("{SHARE}/schemas/main/tables/plain")).await.json();
    assert_eq!((&table["name"], &table["format"]), (&json!("plain"), &json!("delta,iceberg")));
}

#[tokio::test]
async fn credentials_of_a_volume_are_flat_and_of_its_stores_kind() {
    for (kind, field, location) in [
        (StorageKind::Embedded, "awsTempCredentials", "s3://lake/media/photos/"),
        (StorageKind::Sts, "awsTempCredentials", "s3://lake/media/photos/"),
        (StorageKind::R2, "r2Credentials", "r2://lake@127.0.0.1:9000/media/photos/"),
        (StorageKind::Azure, "azureUserDelegationSas", "abfss://lake@acct.dfs.core.windows.net/media/photos/"),
        (StorageKind::Gcs, "gcpOauthToken", "gs://lake/media/photos/"),
    ] {
        let (world, _) = behind(kind).await;
        let own = format!("{SHARE}/schemas/media/volumes/photos");
        assert_eq!(get(&world, &own).await.json()["storageLocation"], location);
        let path = format!("{own}/temporary-volume-credentials");
        for body in ["", "{}", r#"{"requestId": "x"}"#] {
            world.clock.advance_secs(1);
            let given = world.post("reader", &path, body).await.json();
            let mut names: Vec<&str> = given.as_object().unwrap().keys().map(String::as_str).collect();
            names.sort_unstable();
            let mut wanted = ["expirationTime", field];
            wanted.sort_unstable();
            assert_eq!(names, wanted);
            let until = world.clock.now() + SignedDuration::from_secs(3600 - 7);
            assert_eq!(given["expirationTime"], until.as_millisecond(), "the credential's own end");
        }
        let rights = world.newest_lease().await.lease.rights;
        for (key, action, inside) in [
            ("media/photos/x", Action::GetObject, true),
            ("media/photos/x", Action::PutObject, false),
            ("media/photos2/x", Action::GetObject, false),
        ] {
            assert_eq!(rights.covers("lake", key.as_bytes(), action), inside, "{key}");
        }
        for body in [r#"{"location": "s3://lake/media/photos/x"}"#, r#"{"path": "x"}"#, r#"{"ttl": 1}"#, "[", "[]"] {
            assert_eq!(world.post("reader", &path, body).await.status, StatusCode::BAD_REQUEST, "{body}");
        }
        assert_eq!(world.post("other", &path, "").await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn unity_lists_volumes_and_gives_credentials_to_read_them() {
    let (world, id) = behind(StorageKind::Embedded).await;
    let shown = get(&world, &format!("{UNITY}/volumes?catalog_name=Sales&schema_name=Media")).await.json();
    let shown = &shown["volumes"][0];
    assert_eq!((&shown["full_name"], &shown["volume_type"]), (&json!("Sales.Media.Photos"), &json!("EXTERNAL")));
    let one = get(&world, &format!("{UNITY}/volumes/Sales.media.photos")).await.json();
    assert_eq!(one, *shown);
    assert_eq!(one["volume_id"], id.as_uuid());
    let schemas = get(&world, &format!("{UNITY}/schemas?catalog_name=Sales")).await.json();
    assert!(schemas["schemas"].as_array().unwrap().iter().any(|schema| schema["name"] == "Media"), "{schemas}");
    let ask = async |who: &str, body: Value| {
        world.clock.advance_secs(1);
        let token = world.token(who).await;
        world.call(&Method::POST, &format!("{UNITY}/temporary-volume-credentials"), &token, &body.to_string()).await
    };
    let given = ask("reader", json!({"volume_id": id.as_uuid(), "operation": "READ_VOLUME"})).await.json();
    assert!(given["aws_temp_credentials"]["secret_access_key"].is_string(), "{given}");
    assert_eq!(given["url"], "s3://lake/media/photos");
    for (who, body, status) in [
        ("reader", json!({"volume_id": id.as_uuid(), "operation": "WRITE_VOLUME"}), StatusCode::FORBIDDEN),
        ("reader", json!({"volume_id": id.as_uuid(), "operation": "READ"}), StatusCode::BAD_REQUEST),
        ("reader", json!({"volume_id": id.as_uuid()}), StatusCode::BAD_REQUEST),
        ("reader", json!({"volume_id": "x", "operation": "READ_VOLUME"}), StatusCode::NOT_FOUND),
        ("other", json!({"volume_id": id.as_uuid(), "operation": "READ_VOLUME"}), StatusCode::NOT_FOUND),
    ] {
        assert_eq!(ask(who, body.clone()).await.status, status, "{who} {body}");
    }
    let path = format!("{UNITY}/temporary-table-credentials");
    let body = json!({"table_id": id.as_uuid(), "operation": "READ"}).to_string();
    assert_eq!(world.post("reader", &path, &body).await.status, StatusCode::NOT_FOUND, "it is no table");
}

#[tokio::test]
async fn a_volume_is_one_directory_that_is_read_by_directory() {
    let world = World::sharing().await;
    let add = async |name: &str, more: Value| {
        let mut body = json!({"schema": "media", "name": name, "bucket": "lake", "root": "m", "format": "volume"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let shot = world.post("root", "/api/v1/shares/Sales/tables", &body.to_string()).await;
        (shot.status.as_u16(), shot.json())
    };
    let (status, added) = add("good", json!({})).await;
    assert_eq!((status, &added["access"], &added["checked"]), (201, &json!("dir"), &json!(false)), "{added}");
    for more in [json!({"access": "url"}), json!({"access": "both"}), json!({"auxiliary": ["n"]})] {
        let (status, refused) = add("bad", more.clone()).await;
        assert_eq!((status, &refused["field"]), (422, &json!("access")), "{more}: {refused}");
    }
}
