//! Checks of stores, as an operator asks for them.

use http::StatusCode;
use serde_json::json;
use valetkey_core::name::Name;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::nouns::registry::{LeaseFilter, NewStorage};
use valetkey_core::storage::StorageKind;
use valetkey_core::time::{Clock as _, Lifetime};

use super::world::World;

const CHECKS: &str = "/api/v1/storages/local/checks";

#[tokio::test]
async fn a_store_that_refuses_everything_fails_and_its_credentials_are_on_record() {
    let world = World::new().await;
    let answer = world.post("root", CHECKS, "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let report = answer.json();
    assert_eq!(
        (&report["storage"], &report["kind"], &report["bucket"], &report["endpoint"], &report["passed"]),
        (&json!("local"), &json!("embedded"), &json!("lake"), &json!("http://127.0.0.1:9000"), &json!(false))
    );
    let rows = report["checks"].as_array().unwrap();
    let row = |name: &str| rows.iter().find(|row| row["check"] == name).unwrap_or_else(|| panic!("{name}")).clone();
    assert_eq!(row("credential")["status"], "passed");
    assert_eq!(row("plant")["status"], "failed");
    assert_eq!(row("plant")["reason"], "refused with 403 `AccessDenied`");
    assert_eq!(row("get-sibling")["status"], "skipped", "what is not there proves nothing: {report}");
    assert_eq!(report["left"], json!([]));
    let filter = LeaseFilter { limit: 10, ..LeaseFilter::default() };
    let leases = world.memory.leases(&filter).await.unwrap();
    assert_eq!(leases.len(), 4);
    let own = leases.iter().all(|record| record.lease.grants.is_empty() && record.lease.dialect == "native");
    assert!(own, "{leases:?}");
    assert!(leases.iter().all(|record| record.lease.until == Lifetime::secs(120).ends(world.clock.now())));
}

#[tokio::test]
async fn a_check_is_of_a_bucket_of_its_storage() {
    let world = World::new().await;
    let answer = world.post("root", CHECKS, &json!({"bucket": "vault"}).to_string()).await;
    assert_eq!(answer.json()["bucket"], "vault");
    let empty = NewStorage {
        name: Name::parse("empty").unwrap(),
        kind: StorageKind::Embedded,
        endpoint: "http://127.0.0.1:9001".into(),
        internal_endpoint: None,
        region: "us-east-1".into(),
        min_lifetime: Lifetime::secs(60),
        max_lifetime: Lifetime::secs(3600),
        external: None,
    };
    world.memory.create_storage(empty, world.clock.now()).await.unwrap();
    for (path, body, status, field) in [
        (CHECKS, json!({"bucket": "pond"}), 404, "bucket"),
        (CHECKS, json!({"bucket": "No_Bucket"}), 422, "bucket"),
        (CHECKS, json!({"bucket": null}), 422, "bucket"),
        ("/api/v1/storages/none/checks", json!({}), 404, "storage"),
        ("/api/v1/storages/empty/checks", json!({}), 422, "bucket"),
        ("/api/v1/storages/empty/checks", json!({"bucket": "lake"}), 404, "bucket"),
    ] {
        let answer = world.post("root", path, &body.to_string()).await;
        let problem = answer.json();
        let at = problem["field"].as_str().unwrap_or("-");
        assert_eq!((answer.status.as_u16(), at), (status, field), "{path} {body}: {}", answer.body);
    }
}
