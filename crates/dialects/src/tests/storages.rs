//! Storages over the native API: configured, changed, refused, and what is said of them afterwards.

use http::StatusCode;
use serde_json::{Value, json};
use valetkey_core::credential::Trace;
use valetkey_core::port::Ledger as _;
use valetkey_core::time::Clock as _;

use super::world::{Shot, World};

async fn post(world: &World, caller: &str, path: &str, body: &Value) -> Shot {
    world.post(caller, path, &body.to_string()).await
}

async fn patch(world: &World, caller: &str, path: &str, body: &Value) -> Shot {
    let token = world.token(caller).await;
    world.call(&http::Method::PATCH, path, &token, &body.to_string()).await
}

fn aws() -> Value {
    json!({
        "name": "aws", "kind": "sts", "endpoint": "https://s3.eu-west-1.amazonaws.com", "region": "eu-west-1",
        "settings": {"role_arn": "arn:aws:iam::123456789012:role/lake", "region": "eu-west-1"},
        "secrets": {"access_key_id": "AKIAPARENT", "secret_access_key": "parents-own-secret"},
        "sharing": "anyone", "calls_per_sec": 20, "burst": 40, "max_ttl_secs": 3600,
    })
}

#[tokio::test]
async fn a_store_is_configured_and_changed_and_its_secrets_are_never_shown() {
    let world = World::new().await;
    let made = post(&world, "root", "/api/v1/storages", &aws()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let mut expected = json!({
        "name": "aws", "kind": "sts", "endpoint": "https://s3.eu-west-1.amazonaws.com", "internal_endpoint": null,
        "region": "eu-west-1", "min_ttl_secs": 60, "max_ttl_secs": 3600, "revocation": "expiry-only",
        "settings": {"role_arn": "arn:aws:iam::123456789012:role/lake", "region": "eu-west-1"}, "has_secrets": true,
        "sharing": "anyone", "calls_per_sec": 20, "burst": 40,
        "health": {"state": "unknown", "last_worked": null, "last_failed": null, "reason": null, "failures": 0},
    });
    expected["id"] = made.json()["id"].clone();
    assert_eq!(made.json(), expected);
    let change = json!({"settings": {"role_arn": "arn:aws:iam::123456789012:role/pond", "region": "eu-west-1"}});
    let changed = patch(&world, "root", "/api/v1/storages/aws", &change).await;
    assert_eq!(changed.json()["settings"], change["settings"]);
    let listed = world.get("root", "/api/v1/storages").await;
    for answer in [&made, &changed, &listed] {
        assert!(!answer.body.contains("parents-own-secret") && !answer.body.contains("AKIAPARENT"), "{}", answer.body);
    }
    for (path, body, field) in [
        ("/api/v1/storages/aws", json!({"name": "other"}), "name"),
        ("/api/v1/storages/aws", json!({"kind": "r2"}), "kind"),
        ("/api/v1/storages/aws", json!({"calls_per_sec": 0}), "calls_per_sec"),
        ("/api/v1/storages/aws", json!({"burst": 5}), "burst"),
        ("/api/v1/storages/aws", json!({"settings": "{}"}), "settings"),
        ("/api/v1/storages/aws", json!({"secrets": ["parents-own-secret"]}), "secrets"),
        ("/api/v1/storages/aws", json!({"endpoint": "ftp://x"}), "endpoint"),
        ("/api/v1/storages/none", json!({}), "storage"),
    ] {
        let refused = patch(&world, "root", path, &body).await;
        assert_eq!(refused.json()["field"], field, "{body}: {}", refused.body);
        assert!(!refused.body.contains("parents-own-secret"), "{}", refused.body);
    }
}

#[tokio::test]
async fn a_store_is_removed_with_its_buckets_only_when_that_is_said() {
    let world = World::new().await;
    post(&world, "root", "/api/v1/storages", &aws()).await;
    post(&world, "root", "/api/v1/buckets", &json!({"bucket": "far", "storage": "aws"})).await;
    let planned = world.delete("root", "/api/v1/storages/aws?dry_run=true").await;
    assert_eq!(planned.status, StatusCode::OK, "{}", planned.body);
    assert_eq!(planned.json()["needs"], json!([{"kind": "bucket", "name": "far"}]));
    let needed = world.delete("root", "/api/v1/storages/aws").await;
    assert_eq!((needed.status, &needed.json()["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("cascade")));
    let own = world.delete("root", "/api/v1/storages/local?cascade=true").await;
    assert_eq!(own.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", own.body);
    let gone = world.delete("root", "/api/v1/storages/aws?cascade=true").await;
    assert_eq!(gone.status, StatusCode::OK, "{}", gone.body);
    assert_eq!(world.delete("root", "/api/v1/storages/aws").await.status, StatusCode::NOT_FOUND);
    assert_eq!(post(&world, "root", "/api/v1/storages", &aws()).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn only_operators_configure_stores() {
    let world = World::new().await;
    post(&world, "root", "/api/v1/storages", &aws()).await;
    for caller in ["reader", "boss"] {
        for shot in [
            post(&world, caller, "/api/v1/storages", &aws()).await,
            patch(&world, caller, "/api/v1/storages/aws", &json!({"region": "x"})).await,
            post(&world, caller, "/api/v1/storages/aws/revocations", &json!({})).await,
            world.get(caller, "/api/v1/storages").await,
        ] {
            assert_eq!(shot.status, StatusCode::FORBIDDEN, "{caller}: {}", shot.body);
        }
    }
}

#[tokio::test]
async fn what_a_store_or_an_api_cannot_carry_is_refused_when_it_is_configured() {
    let world = World::new().await;
    let azure = json!({"name": "blob", "kind": "azure", "endpoint": "https://x.blob.core.windows.net"});
    assert_eq!(post(&world, "root", "/api/v1/storages", &azure).await.status, StatusCode::CREATED);
    let bucket = json!({"bucket": "blobs", "storage": "blob"});
    assert_eq!(post(&world, "root", "/api/v1/buckets", &bucket).await.status, StatusCode::CREATED);
    let dataset = json!({"name": "d", "topic": "t", "bucket": "blobs", "prefix": "d"});
    let refused = post(&world, "root", "/api/v1/datasets", &dataset).await;
    assert!(refused.body.contains("S3 keys only") && refused.json()["field"] == "bucket", "{}", refused.body);
    let workspace = json!({"account": "acme", "key": "w", "bucket": "blobs", "callers": null});
    let refused = post(&world, "root", "/api/v1/workspaces", &workspace).await;
    assert!(refused.body.contains("S3 keys only"), "{}", refused.body);
    let grant = json!({"name": "g", "account": "acme", "to": null, "bucket": "blobs", "prefix": "a"});
    let refused = post(&world, "root", "/api/v1/grants", &grant).await;
    assert!(refused.body.contains("whole buckets only"), "{}", refused.body);
    let whole = json!({"name": "g", "account": "acme", "to": null, "bucket": "blobs", "whole_bucket": true});
    assert_eq!(post(&world, "root", "/api/v1/grants", &whole).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_stores_own_name_of_a_credential_finds_everyone_who_was_handed_it() {
    let world = World::new().await;
    // What the leases of this world are made with does not go abroad; the record of it does.
    let aws = post(&world, "root", "/api/v1/storages", &aws()).await.json();
    assert_eq!(aws["kind"], "sts");
    let until = world.clock.now() + jiff::SignedDuration::from_hours(2);
    let trace = Trace { key_id: "ASIASHARED".into(), request_id: Some("req-7".into()), expiration: until };
    let mut leases = Vec::new();
    for caller in ["reader", "writer"] {
        world.clock.advance_secs(1);
        let vended = post(&world, caller, "/api/v1/credentials", &json!({"grant": "daily"})).await.json();
        let id = vended["lease_id"].as_str().unwrap().parse().unwrap();
        let record = world.shared.registry.lease(id).await.unwrap().unwrap();
        world.memory.issued(&record.lease, &trace, world.clock.now()).await.unwrap();
        leases.push(vended["lease_id"].clone());
    }
    let whose = async |caller: &str| world.get(caller, "/api/v1/whose/ASIASHARED").await;
    let all = whose("boss").await.json();
    let shown: Vec<&Value> = all["leases"].as_array().unwrap().iter().map(|lease| &lease["lease_id"]).collect();
    assert_eq!(shown, [&leases[1], &leases[0]]);
    assert_eq!(all["leases"][0]["store_request_id"], "req-7");
    assert_eq!(all["leases"][0]["store_key_id"], "ASIASHARED");
    assert_eq!(whose("reader").await.json()["leases"].as_array().unwrap().len(), 1, "a member sees its own");
    assert_eq!(whose("chief").await.status, StatusCode::NOT_FOUND, "another account sees nothing");
    // Ended here, and taken on there: said, not passed over.
    let ended = post(&world, "boss", "/api/v1/revocations", &json!({"account": "acme"})).await.json();
    assert_eq!(ended["ended"], 2);
    assert_eq!(ended["still_taken"][0]["leases"], 2);
    assert_eq!(ended["still_taken"][0]["until"], "2026-01-01T02:00:00Z");
    assert!(world.made.0.lock().unwrap().contains(&"forgot ASIASHARED".to_owned()), "it is not handed out again");
}

#[tokio::test]
async fn a_store_ends_what_it_gave_where_it_has_a_way() {
    let world = World::new().await;
    post(&world, "root", "/api/v1/storages", &aws()).await;
    let ended = post(&world, "root", "/api/v1/storages/aws/revocations", &json!({})).await;
    assert_eq!(ended.json(), json!({"storage": "aws", "ended": 0, "done": "denied them", "notes": ["in a minute"]}));
    let vended = post(&world, "reader", "/api/v1/credentials", &json!({"grant": "daily"})).await.json();
    let path = format!("/api/v1/leases/{}", vended["lease_id"].as_str().unwrap());
    assert_eq!(world.get("reader", &path).await.json()["state"], "live");
    let ended = post(&world, "root", "/api/v1/storages/local/revocations", &json!({})).await;
    assert_eq!(ended.json()["ended"], 1, "{}", ended.body);
    assert_eq!(world.get("reader", &path).await.json()["state"], "revoked");
    let blob = json!({"name": "blob", "kind": "azure", "endpoint": "https://x.blob.core.windows.net"});
    post(&world, "root", "/api/v1/storages", &blob).await;
    let refused = post(&world, "root", "/api/v1/storages/blob/revocations", &json!({})).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.body);
}

#[tokio::test]
async fn it_is_told_how_a_storage_answers_and_of_ours_nothing() {
    let world = World::new().await;
    let made = post(&world, "root", "/api/v1/storages", &aws()).await.json();
    let watched = world.shared.health.of(made["id"].as_str().unwrap().parse().unwrap());
    let told = async || {
        let listed = world.get("root", "/api/v1/storages").await.json();
        let of = |name: &str| {
            let all = listed["storages"].as_array().unwrap();
            all.iter().find(|one| one["name"] == name).unwrap()["health"].clone()
        };
        assert_eq!(of("local"), Value::Null);
        of("aws")
    };
    let start = world.clock.now();
    watched.worked();
    let working = json!({
        "state": "working", "last_worked": format!("{start:.0}"), "last_failed": null, "reason": null, "failures": 0,
    });
    assert_eq!(told().await, working);
    world.clock.advance_secs(60);
    watched.failed(valetkey_core::Kind::UpstreamTimeout);
    watched.failed(valetkey_core::Kind::Upstream);
    let failing = told().await;
    assert_eq!((&failing["state"], &failing["failures"]), (&json!("failing"), &json!(2)), "{failing}");
    assert_eq!((&failing["reason"], &failing["last_worked"]), (&json!("upstream"), &working["last_worked"]));
    // A change of its settings is no answer of it.
    patch(&world, "root", "/api/v1/storages/aws", &json!({"max_ttl_secs": 1800})).await;
    assert_eq!(told().await, failing);
}
