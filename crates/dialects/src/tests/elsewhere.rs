//! Tables at stores that somebody else runs: read with what is vended for it, as the caller who asks.

use std::sync::Arc;

use http::{Method, StatusCode};
use jiff::SignedDuration;
use serde_json::{Value, json};
use valetkey_core::credential::Credential;
use valetkey_core::nouns::registry::LeaseFilter;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::scope::Action;
use valetkey_core::storage::StorageKind;
use valetkey_core::time::Clock as _;

use super::carry::Shaped;
use super::sharing::TABLE;
use super::world::{Shot, World, bucket, new_storage, sealing};
use crate::edge::{EdgeLimits, RateLimits};

async fn behind(kind: StorageKind) -> World {
    let limits = EdgeLimits { rates: RateLimits::off(), ..EdgeLimits::default() };
    let issuer = |_: &_, entropy: &_, _: &_| Arc::new(Shaped(sealing(entropy))) as Arc<_>;
    World::sharing_in(World::behind(limits, new_storage("local", kind), issuer).await).await
}

fn lines(shot: &Shot) -> Vec<Value> {
    assert_eq!(shot.status, StatusCode::OK, "{}", shot.body);
    shot.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn leases(world: &World) -> usize {
    world.memory.leases(&LeaseFilter { limit: 100, ..LeaseFilter::default() }).await.unwrap().len()
}

#[tokio::test]
async fn files_are_told_with_one_lease_that_reads_the_table_and_is_the_recipients() {
    for kind in [StorageKind::Sts, StorageKind::R2, StorageKind::Azure, StorageKind::Gcs] {
        let world = behind(kind).await;
        let before = leases(&world).await;
        let shot = world.query("plain", "responseformat=parquet;includeendstreamaction=true", "{}").await;
        let lines = lines(&shot);
        assert_eq!(leases(&world).await, before + 1, "{}", kind.as_str());
        let record = world.newest_lease().await;
        assert_eq!(record.lease.caller, world.caller_of("reader").await);
        assert_eq!(record.lease.dialect, "sharing");
        for (key, action, inside) in [
            ("t/plain/_delta_log/x", Action::GetObject, true),
            ("t/plain/x", Action::ListBucket, true),
            ("t/plain/x", Action::PutObject, false),
            ("t/plain2/x", Action::GetObject, false),
        ] {
            assert_eq!(record.lease.rights.covers("lake", key.as_bytes(), action), inside, "{key}");
        }
        // The shortest of all ends is told, which is the credential's own.
        let until = (world.clock.now() + SignedDuration::from_secs(3600 - 7)).as_millisecond();
        let files: Vec<&Value> = lines.iter().filter_map(|line| line.get("file")).collect();
        assert_eq!(files.len(), 3);
        for file in files {
            assert_eq!(file["expirationTimestamp"], until);
            assert!(file["url"].as_str().unwrap().starts_with("https://signed/lake/t/plain/"), "{file}");
        }
        assert_eq!(lines.last().unwrap()["endStreamAction"], json!({"minUrlExpirationTimestamp": until}));
        for secret in ["secret", "made-up", "vks2."] {
            assert!(!shot.body.contains(secret), "{}", shot.body);
        }
    }
}

#[tokio::test]
async fn a_table_of_keys_alone_tells_what_it_is_and_no_files() {
    let world = behind(StorageKind::Sts).await;
    let keys = "/delta-sharing/shares/Sales/schemas/other/tables/keys";
    let version = world.ask(Method::GET, &format!("{keys}/version"), &[], "").await;
    assert_eq!((version.status, version.headers["delta-table-version"].to_str().unwrap()), (StatusCode::OK, "2"));
    let told = lines(&world.ask(Method::GET, &format!("{keys}/metadata"), &[], "").await);
    assert_eq!(told[1]["metaData"]["accessModes"], json!(["dir"]));
    assert_eq!(told[1]["metaData"]["location"], "s3://lake/k/plain");
    let refused = world.ask(Method::POST, &format!("{keys}/query"), &[], "{}").await;
    assert_eq!(
        (refused.status, &refused.json()["errorCode"]),
        (StatusCode::BAD_REQUEST, &json!("INVALID_PARAMETER_VALUE"))
    );
}

#[tokio::test]
async fn what_was_not_given_is_not_read_and_what_lies_outside_is_not_signed() {
    let world = behind(StorageKind::Sts).await;
    let before = leases(&world).await;
    for (who, table) in [("other", "Sales/schemas/main/tables/plain"), ("reader", "Secret/schemas/main/tables/plain")] {
        for (method, path) in [(Method::POST, "query"), (Method::GET, "version"), (Method::GET, "metadata")] {
            let token = world.token(who).await;
            let shot = world.call(&method, &format!("/delta-sharing/shares/{table}/{path}"), &token, "").await;
            assert_eq!(shot.status, StatusCode::NOT_FOUND, "{who} {table} {path}");
        }
    }
    assert_eq!(leases(&world).await, before, "nothing was vended to read it");
    let escaping = world.query("escaping", "", "{}").await;
    assert_eq!(escaping.status, StatusCode::BAD_REQUEST);
    assert!(escaping.body.contains("outside of its shared locations"), "{}", escaping.body);
    // An auxiliary location is opened by a credential of its own.
    let before = leases(&world).await;
    let spread = lines(&world.query("spread", "", "{}").await);
    assert!(spread.iter().any(|line| line["file"]["url"] == "https://signed/lake/aux/spread/x.parquet"), "{spread:?}");
    assert_eq!(leases(&world).await, before + 2);
    let rights = world.newest_lease().await.lease.rights;
    assert!(rights.covers("lake", b"aux/spread/x", Action::GetObject));
    assert!(!rights.covers("lake", b"aux/spread/x", Action::ListBucket));
}

#[tokio::test]
async fn a_refresh_token_asks_for_the_same_version_again_and_for_nothing_else() {
    let world = World::sharing().await;
    let asked = world.query("plain", "", r#"{"includeRefreshToken": true}"#).await;
    let last = lines(&asked).pop().unwrap();
    let token = last["endStreamAction"]["refreshToken"].as_str().unwrap().to_owned();
    let again = json!({"refreshToken": token, "includeRefreshToken": true}).to_string();
    let answer = world.query("plain", "", &again).await;
    assert_eq!(answer.headers["delta-table-version"], "2");
    let told = lines(&answer);
    assert!(told[1]["metaData"].get("version").is_none(), "as the newest version is told");
    assert!(told.last().unwrap()["endStreamAction"]["refreshToken"].is_string());
    // Also where the history is not shared: it is what was told before.
    let files = "/delta-sharing/shares/Sales/schemas/other/tables/files/query";
    let ask = async |body: Value| world.ask(Method::POST, files, &[], &body.to_string()).await;
    let own = lines(&ask(json!({"includeRefreshToken": true})).await).pop().unwrap();
    let own = own["endStreamAction"]["refreshToken"].clone();
    assert_eq!(ask(json!({"refreshToken": own})).await.status, StatusCode::OK);
    let refused = async |table: &str, body: Value| {
        let shot = world.query(table, "", &body.to_string()).await;
        assert_eq!(shot.status, StatusCode::BAD_REQUEST, "{}", shot.body);
        assert!(shot.body.contains("refreshToken"), "{}", shot.body);
    };
    refused("plain", json!({"refreshToken": own})).await;
    refused("deleting", json!({"refreshToken": token})).await;
    refused("plain", json!({"refreshToken": "x"})).await;
    refused("plain", json!({"refreshToken": token, "version": 1})).await;
    refused("plain", json!({"refreshToken": token, "startingVersion": 1})).await;
    let boss = world.token("boss").await;
    let other = world.call(&Method::POST, &format!("{TABLE}/plain/query"), &boss, &again).await;
    assert_eq!(other.status, StatusCode::BAD_REQUEST, "{}", other.body);
    world.clock.advance_secs(3600);
    refused("plain", json!({"refreshToken": token})).await;
    // Of a certain version there is none: that is asked for by its number.
    let certain = lines(&world.query("plain", "", r#"{"includeRefreshToken": true, "version": 1}"#).await);
    assert!(certain.last().unwrap()["endStreamAction"].get("refreshToken").is_none());
}

#[tokio::test]
async fn an_iceberg_table_elsewhere_is_read_with_the_credential_that_is_handed_out() {
    let world = behind(StorageKind::Sts).await;
    let text = r#"{"format-version": 2, "location": "s3://lake/t/plain"}"#;
    let key = b"t/plain/metadata/00001-a.metadata.json";
    world.made.2.files.put(&bucket("lake"), key, text.as_bytes(), world.clock.now());
    let before = leases(&world).await;
    let loaded = world.get("reader", "/iceberg/v1/Sales/namespaces/Main/tables/plain").await;
    assert_eq!(loaded.status, StatusCode::OK, "{}", loaded.body);
    assert_eq!(leases(&world).await, before + 1);
    let config = &loaded.json()["config"];
    let used = world.made.2.lent.lock().unwrap().clone();
    assert!(!used.is_empty());
    for credential in used {
        let Credential::S3(keys) = &*credential else { panic!("not of S3") };
        assert_eq!(config["s3.access-key-id"], keys.access_key_id);
    }
    let end = (world.clock.now() + SignedDuration::from_secs(3600 - 7)).as_millisecond().to_string();
    assert_eq!(config["s3.session-token-expires-at-ms"], end);
    assert_eq!(
        world.get("other", "/iceberg/v1/Sales/namespaces/Main/tables/plain").await.status,
        StatusCode::NOT_FOUND
    );
}
