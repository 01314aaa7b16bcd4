//! A credential that is narrowed from a lease: never more than the lease, and no longer.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use valetkey_core::lease::LeaseState;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::port::Revocations as _;
use valetkey_core::scope::{Action, Paths};
use valetkey_core::time::Entropy as _;

use super::world::{Shot, World, directory, ring};

const VEND: &str = "/api/v1/credentials";

async fn vend(world: &World, caller: &str, body: &Value) -> Shot {
    world.post(caller, VEND, &body.to_string()).await
}

async fn vended(world: &World, caller: &str, body: &Value) -> Value {
    let answer = vend(world, caller, body).await;
    assert_eq!(answer.status, StatusCode::OK, "{body}: {}", answer.body);
    answer.json()
}

async fn refused(world: &World, caller: &str, body: &Value) -> (u16, String) {
    let answer = vend(world, caller, body).await;
    let problem = answer.json();
    (answer.status.as_u16(), problem["field"].as_str().unwrap_or("-").to_owned())
}

fn lease(answer: &Value) -> String {
    answer["lease_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_lease_is_handed_on_narrower_and_names_what_it_came_from() {
    let world = World::new().await;
    let first = vended(&world, "writer", &json!({"grant": "work", "access": "read-write", "ttl_secs": 900})).await;
    // Reading, unless more is asked for; no longer than the lease.
    let child = vended(&world, "writer", &json!({"from_lease": lease(&first)})).await;
    assert_eq!((&child["access"], &child["prefixes"]), (&json!("read"), &json!(["work/writer"])));
    assert_eq!(child["expiration"], first["expiration"]);
    let body = json!({"from_lease": lease(&first), "bucket": "lake", "prefix": "work/writer/a", "actions": ["put-object"], "ttl_secs": 7200});
    let child = vended(&world, "writer", &body).await;
    assert_eq!((&child["actions"], &child["prefixes"]), (&json!(["put-object"]), &json!(["work/writer/a"])));
    assert_eq!(
        child["cuts"],
        json!(["lifetime cut from 7200 s to 900 s by the end of the credential that this is narrowed from"])
    );
    let parts = json!([{"prefix": "work/writer/a"}, {"objects": ["work/writer/b"], "access": "write"}]);
    let both = vended(&world, "writer", &json!({"from_lease": lease(&first), "parts": parts})).await;
    assert_eq!(both["parts"].as_array().map(Vec::len), Some(2), "{both}");

    // A part of a part: what several allow is handed on whole, as far as it is asked for.
    let again = vended(&world, "writer", &json!({"from_lease": lease(&both)})).await;
    assert_eq!(again["prefixes"], json!(["work/writer/a"]), "{again}");

    let shown = world.get("writer", &format!("/api/v1/leases/{}", lease(&again))).await.json();
    assert_eq!(shown["narrowed_from"], json!([lease(&first), lease(&both)]));
    let shown = world.get("writer", &format!("/api/v1/leases/{}", lease(&first))).await.json();
    assert_eq!(shown["narrowed_from"], Value::Null);
    // The endpoint asks for each of them.
    let (key, token) = (again["access_key_id"].as_str().unwrap(), again["session_token"].as_str().unwrap());
    let claims = ring().unseal(token, key).unwrap();
    assert_eq!(claims.narrowed_from.iter().map(ToString::to_string).collect::<Vec<_>>(), [lease(&first), lease(&both)]);
}

#[tokio::test]
async fn nothing_beside_the_lease_is_handed_on() {
    let world = World::new().await;
    let first = vended(&world, "reader", &json!({"grant": "daily", "prefix": "flights/daily/2026"})).await;
    let own = lease(&first);
    let other = lease(&vended(&world, "writer", &json!({"grant": "work"})).await);
    let strange = lease(&vended(&world, "chief", &json!({"grant": "jobs"})).await);
    let only = lease(&vended(&world, "writer", &json!({"grant": "work", "actions": ["get-object"]})).await);
    for (caller, body, status, field) in [
        // A sibling, the parent, the sibling of the same beginning, another bucket, all of it.
        ("reader", json!({"from_lease": own, "prefix": "flights/daily/2025"}), 403, "paths"),
        ("reader", json!({"from_lease": own, "prefix": "flights/daily"}), 403, "paths"),
        ("reader", json!({"from_lease": own, "raw_prefixes": ["flights/daily/2026"]}), 403, "paths"),
        ("reader", json!({"from_lease": own, "objects": ["flights/daily/2026-old/x"]}), 403, "paths"),
        ("reader", json!({"from_lease": own, "whole_bucket": true}), 403, "paths"),
        ("reader", json!({"from_lease": own, "bucket": "vault", "prefix": "flights/daily/2026"}), 403, "bucket"),
        ("reader", json!({"from_lease": own, "parts": [{"prefix": "flights/daily/2025"}]}), 403, "paths"),
        // More actions, also where the grant has them.
        ("reader", json!({"from_lease": own, "access": "read-write"}), 403, "access"),
        ("writer", json!({"from_lease": only, "access": "write"}), 403, "access"),
        ("writer", json!({"from_lease": only, "prefix": "work/writer/a", "actions": ["put-object"]}), 403, "access"),
        // Somebody else's, of the same account and of another, whatever one's role; and none at all.
        ("reader", json!({"from_lease": other}), 404, "from_lease"),
        ("boss", json!({"from_lease": own}), 404, "from_lease"),
        ("root", json!({"from_lease": own}), 404, "from_lease"),
        ("reader", json!({"from_lease": strange}), 404, "from_lease"),
        ("reader", json!({"from_lease": own.replace(char::is_numeric, "0")}), 404, "from_lease"),
        ("reader", json!({"from_lease": "daily"}), 422, "from_lease"),
        ("reader", json!({"from_lease": ""}), 422, "from_lease"),
        ("reader", json!({"from_lease": own, "grant": "daily"}), 422, "grant"),
        ("reader", json!({"from_lease": own, "prefix": ""}), 422, "prefix"),
        ("reader", json!({"from_lease": own, "ttl_secs": 0}), 422, "ttl_secs"),
    ] {
        let (own, at) = refused(&world, caller, &body).await;
        assert_eq!((own, at.as_str()), (status, field), "{caller} {body}");
    }
    // What may be read with one action is handed on with that one.
    let child = vended(&world, "writer", &json!({"from_lease": only, "prefix": "work/writer/a"})).await;
    assert_eq!(child["actions"], json!(["get-object"]));
}

#[tokio::test]
async fn a_lease_that_has_ended_hands_on_nothing_and_takes_along_what_it_handed_on() {
    let world = World::new().await;
    let first = lease(&vended(&world, "reader", &json!({"grant": "daily", "ttl_secs": 900})).await);
    let mut chain = vec![first.clone()];
    for _ in 0..3 {
        let next = vended(&world, "reader", &json!({"from_lease": chain.last().unwrap()})).await;
        chain.push(lease(&next));
    }
    let deep = refused(&world, "reader", &json!({"from_lease": chain.last().unwrap()})).await;
    assert_eq!(deep.0, 403, "a chain has four leases at most");
    let answer =
        world.call(&Method::DELETE, &format!("/api/v1/leases/{}", chain[1]), &world.token("reader").await, "").await;
    assert_eq!(answer.json()["ended"], 3, "{}", answer.body);
    for (at, id) in chain.iter().enumerate() {
        let id = id.parse().unwrap();
        let record = world.memory.lease(id).await.unwrap().unwrap();
        assert_eq!(matches!(record.state, LeaseState::Revoked(_)), at > 0, "{at}");
    }
    assert_eq!(refused(&world, "reader", &json!({"from_lease": chain[1]})).await, (403, "from_lease".to_owned()));
    assert_eq!(refused(&world, "reader", &json!({"from_lease": chain[3]})).await, (403, "from_lease".to_owned()));
    vended(&world, "reader", &json!({"from_lease": first})).await;
    // Of an expired one nothing is left.
    world.clock.advance_secs(900);
    assert_eq!(refused(&world, "reader", &json!({"from_lease": first})).await, (403, "from_lease".to_owned()));

    // It ends with the token that the lease was vended for, and with the one that asked.
    for which in 0..2 {
        let tokens = [world.token_of("reader", None).await, world.token_of("reader", None).await];
        let post =
            async |token: &str, body: Value| world.call(&Method::POST, VEND, token, &body.to_string()).await.json();
        let first = lease(&post(&tokens[0].1, json!({"grant": "daily"})).await);
        let child = lease(&post(&tokens[1].1, json!({"from_lease": first})).await);
        let shown = world.get("reader", &format!("/api/v1/leases/{child}")).await.json();
        assert_eq!(
            (&shown["token"], &shown["asked_with"]),
            (&json!(tokens[0].0.to_string()), &json!(tokens[1].0.to_string()))
        );
        let path = format!("/api/v1/tokens/{}", tokens[which].0);
        assert_eq!(world.delete("boss", &path).await.status, StatusCode::OK);
        let shown = world.get("reader", &format!("/api/v1/leases/{child}")).await.json();
        assert_eq!(shown["state"], "revoked", "{which}");
    }
}

/// Whatever is asked of a lease, and of what came of it, is inside it: in paths, actions, time and chain.
#[tokio::test]
async fn what_is_handed_on_is_never_wider_or_longer_than_its_lease() {
    let world = World::new().await;
    let acme = world.account_id("acme").await;
    let writer = world.caller_of("writer").await;
    let all = valetkey_core::scope::Actions::READ_WRITE;
    for (name, path) in [("wide", "work"), ("side", "work/side"), ("flat", "work/writer-side")] {
        world.grant(acme, name, Some(writer), "lake", directory(path), all, None).await;
    }
    let token = world.token("writer").await;
    let pick = |most: usize| {
        let mut bytes = [0; 8];
        world.entropy.fill(&mut bytes);
        usize::try_from(u64::from_be_bytes(bytes) % u64::try_from(most).unwrap()).unwrap()
    };
    let place = || ["work", "work/writer", "work/writer/a", "work/writer/b", "work/side", "work/writer-side"][pick(6)];
    let some = |ask: &mut Value| {
        let part = || {
            let mut part = json!({});
            match pick(3) {
                0 => part["prefixes"] = json!([place(), place()]),
                1 => part["objects"] = json!([format!("{}/x", place()), place()]),
                _ => part["raw_prefixes"] = json!([place()]),
            }
            match pick(3) {
                0 => part["access"] = ["read", "write", "read-write"][pick(3)].into(),
                1 => {
                    part["actions"] =
                        vec![["get-object", "put-object", "delete-object", "list-bucket"][pick(4)]].into();
                }
                _ => {}
            }
            part
        };
        if pick(3) == 0 {
            ask["parts"] = json!([part(), part()]);
        } else if pick(4) > 0 {
            for (name, value) in part().as_object().unwrap() {
                ask[name] = value.clone();
            }
        }
        ask["ttl_secs"] = json!(60 + pick(7200));
    };
    let (mut given, mut refusals) = (0, 0);
    let mut leases: Vec<String> = Vec::new();
    for round in 0..1500 {
        let from = if leases.is_empty() || round % 4 == 0 { None } else { Some(leases[pick(leases.len())].clone()) };
        let mut ask = from.as_ref().map_or_else(|| json!({"bucket": "lake"}), |from| json!({ "from_lease": from }));
        some(&mut ask);
        world.clock.advance_secs(i64::try_from(pick(20)).unwrap());
        let answer = world.call(&Method::POST, VEND, &token, &ask.to_string()).await;
        if answer.status != StatusCode::OK {
            refusals += u32::from(from.is_some());
            continue;
        }
        let child = lease(&answer.json());
        let Some(from) = from else {
            leases.push(child);
            continue;
        };
        given += 1;
        let of = async |id: &str| world.memory.lease(id.parse().unwrap()).await.unwrap().unwrap();
        let (before, after) = (of(&from).await, of(&child).await);
        assert!(before.lease.rights.cover_rights(&after.lease.rights), "{ask}: {after:?} in {before:?}");
        assert!(after.lease.until <= before.lease.until && after.lease.storage == before.lease.storage, "{ask}");
        let chain: Vec<_> = before.narrowed_from.iter().copied().chain([before.lease.id]).collect();
        assert_eq!(*after.narrowed_from, chain[..], "{ask}");
        // Key by key, too.
        for key in ["work/x", "work/writer/a/x", "work/writer/b", "work/side/x", "work/writer-side/x", "work/writer"] {
            for action in Action::ALL {
                let covers = |paths: Option<&Paths>| paths.is_some_and(|paths| paths.cover_key(key.as_bytes()));
                let [inner, outer] = [&after, &before].map(|one| covers(one.lease.rights.paths_of(action)));
                assert!(!inner || outer, "{ask}: {key} {action}");
            }
        }
        leases.push(child);
        if pick(40) == 0 {
            world.delete("writer", &format!("/api/v1/leases/{from}")).await;
            let origin = |record: &valetkey_core::lease::LeaseRecord| {
                valetkey_testkit::contract::bench::provenance(&record.lease)
            };
            assert!(world.memory.is_revoked(&origin(&after)), "{ask}");
        }
    }
    assert!(given > 100 && refusals > 100, "{given} were given and {refusals} refused");
}
