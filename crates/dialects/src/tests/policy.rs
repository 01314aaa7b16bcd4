//! Policy files, from a document to what callers are given: planned, tested, applied, exported, adopted, and what drifted.

use http::Method;
use serde_json::{Value, json};
use valetkey_core::nouns::registry::methods::*;

use super::world::{Shot, World};

fn document(directory: &str) -> Value {
    json!({
        "version": "valetkey/v1",
        "owner": "platform",
        "owns": {"accounts": ["team-*"], "datasets": ["team-daily"]},
        "accounts": {"team-a": {
            "credits_per_vend": 2,
            "callers": {"ana": {"role": "member"}, "etl": {}},
            "grants": {
                "daily": {"everyone": true, "dataset": "team-daily", "max_ttl": "12h"},
                "load": {"to": ["caller:etl"], "bucket": "lake", "directories": [directory], "access": "write"},
            },
        }},
        "datasets": {"team-daily": {"topic": "flights", "newest": "time", "bucket": "lake", "directory": "team/daily"}},
        "tests": [
            {"as": "team-a/ana", "can": ["read s3://lake/team/daily/x"], "cannot": ["write s3://lake/team/"]},
            {"nobody": true, "except": ["team-a/etl"], "can": ["write s3://lake/team/"]},
            {"vend": {"as": "team-a/ana", "grant": "daily", "ttl": "24h"}, "expect": {"ttl": "12h", "paths": ["team/daily/"]}},
        ],
    })
}

async fn send(world: &World, path: &str, body: Value) -> Shot {
    world.post("root", &format!("/api/v1/policy/{path}"), &body.to_string()).await
}

async fn plan(world: &World, document: &Value) -> Value {
    let shot = send(world, "plan", json!({"document": document})).await;
    assert_eq!(shot.status.as_u16(), 200, "{}", shot.body);
    shot.json()
}

async fn apply(world: &World, document: &Value, revision: &Value, deletes: u32) -> Shot {
    let sources = json!({"grant/team-a/load": "team.yaml:12"});
    let body = json!({"document": document, "sources": sources, "revision": revision, "confirm_deletes": deletes});
    send(world, "apply", body).await
}

async fn applied(world: &World, document: &Value) {
    let planned = plan(world, document).await;
    assert_eq!(planned["failed"], json!([]));
    let shot = apply(world, document, &planned["revision"], 0).await;
    assert_eq!(shot.status.as_u16(), 200, "{}", shot.body);
}

#[tokio::test]
async fn what_was_applied_is_planned_as_nothing_and_exports_as_itself() {
    let world = World::new().await;
    let wanted = document("team/in");
    let planned = plan(&world, &wanted).await;
    let ops: Vec<_> = planned["objects"].as_array().unwrap().iter().map(|one| one["thing"].as_str().unwrap()).collect();
    assert_eq!(
        ops,
        [
            "account/team-a",
            "caller/team-a/ana",
            "caller/team-a/etl",
            "dataset/team-daily",
            "grant/team-a/daily",
            "grant/team-a/load"
        ]
    );
    assert_eq!((&planned["tests"], &planned["failed"]), (&json!(3), &json!([])));
    applied(&world, &wanted).await;
    let again = plan(&world, &wanted).await;
    assert_eq!((&again["objects"], &again["access"]), (&json!([]), &json!([])));
    let exported = world.get("root", "/api/v1/policy?owner=platform").await.json();
    assert_eq!(exported["drift"], json!([]));
    let of_export = plan(&world, &exported["document"]).await;
    assert_eq!((&of_export["objects"], &of_export["access"]), (&json!([]), &json!([])));
    // And it is what decides.
    let token = world.token("etl").await;
    let body = json!({"bucket": "lake", "prefix": "team/in", "access": "write"}).to_string();
    let answer = world.call(&Method::POST, "/api/v1/credentials", &token, &body).await;
    assert_eq!(answer.status.as_u16(), 402, "without credits: {}", answer.body);
    let sets = world.get("root", "/api/v1/policy").await.json();
    assert_eq!(sets["sets"], json!(["platform"]));
    let mistyped = world.get("root", "/api/v1/policy?owner=plattform").await;
    assert_eq!((mistyped.status.as_u16(), &mistyped.json()["field"]), (404, &json!("owner")));
}

#[tokio::test]
async fn a_plan_says_exactly_what_changes_of_access_and_which_leases_end() {
    let world = World::new().await;
    let mut wanted = document("team/in");
    wanted["accounts"]["team-a"]["credits_per_vend"] = json!(0);
    applied(&world, &wanted).await;
    let token = world.token("etl").await;
    let body = json!({"bucket": "lake", "prefix": "team/in/today", "access": "write"}).to_string();
    let vended = world.call(&Method::POST, "/api/v1/credentials", &token, &body).await;
    assert_eq!(vended.status.as_u16(), 200, "{}", vended.body);
    wanted["accounts"]["team-a"]["grants"]["load"]["directories"] = json!(["team/in/yesterday", "team/out"]);
    let planned = plan(&world, &wanted).await;
    assert_eq!(planned["objects"][0]["op"], "change");
    assert_eq!(planned["objects"][0]["fields"][0]["field"], "directories");
    let access = &planned["access"][0];
    assert_eq!(access["callers"], json!(["etl"]));
    assert_eq!(access["added"], json!([{"path": "s3://lake/team/out/", "except": []}]));
    assert_eq!(access["removed"], json!([{"path": "s3://lake/team/in/", "except": ["s3://lake/team/in/yesterday/"]}]));
    assert_eq!(planned["leases"]["ended"], 1);
    let shot = apply(&world, &wanted, &planned["revision"], 0).await;
    assert_eq!(shot.json()["leases_ended"], 1, "{}", shot.body);
}

#[tokio::test]
async fn nothing_is_applied_that_was_not_planned_tested_and_confirmed() {
    let world = World::new().await;
    let wanted = document("team/in");
    applied(&world, &wanted).await;
    // Somebody changes something in between.
    let planned = plan(&world, &wanted).await;
    let id = world.account_id("team-a").await;
    let caller = world.caller("team-a", "by-hand", valetkey_core::caller::Role::Member).await;
    let moved = apply(&world, &wanted, &planned["revision"], 0).await;
    assert_eq!((moved.status.as_u16(), &moved.json()["field"]), (409, &json!("revision")));
    // A test that does not hold.
    let mut failing = wanted.clone();
    failing["accounts"]["team-a"]["grants"]["load"]["directories"] = json!(["team"]);
    failing["tests"][1]["except"] = json!([]);
    let planned = plan(&world, &failing).await;
    assert_eq!(planned["failed"].as_array().unwrap().len(), 1);
    let refused = apply(&world, &failing, &planned["revision"], 0).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["field"]), (422, &json!("tests")));
    // Something goes that nobody confirmed.
    let mut less = wanted.clone();
    less["accounts"]["team-a"]["grants"].as_object_mut().unwrap().remove("load");
    let planned = plan(&world, &less).await;
    let refused = apply(&world, &less, &planned["revision"], 0).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["field"]), (422, &json!("confirm_deletes")));
    assert_eq!(world.memory.grants(id).await.unwrap().len(), 2);
    assert_eq!(apply(&world, &less, &planned["revision"], 1).await.status.as_u16(), 200);
    assert_eq!(world.memory.grants(id).await.unwrap().len(), 1);
    assert!(
        world.memory.callers(id).await.unwrap().iter().any(|known| known.id == caller),
        "made by hand, and left alone"
    );
    // Only operators.
    for caller in ["boss", "reader"] {
        for (path, body) in
            [("plan", json!({"document": wanted})), ("apply", json!({"document": wanted, "revision": ""}))]
        {
            let shot = world.post(caller, &format!("/api/v1/policy/{path}"), &body.to_string()).await;
            assert_eq!(shot.status.as_u16(), 403, "{caller} {path}");
        }
        assert_eq!(world.get(caller, "/api/v1/policy?owner=platform").await.status.as_u16(), 403);
    }
}

#[tokio::test]
async fn what_was_made_by_hand_is_adopted_as_it_is_and_what_drifts_is_told() {
    let world = World::new().await;
    let path = "/api/v1/policy?owner=platform&account=acme";
    let mut exported = world.get("root", path).await.json()["document"].clone();
    // A grant of a dataset that is not the set's goes by its name.
    exported["owns"] = json!({"accounts": ["acme"]});
    let refused = send(&world, "plan", json!({"document": exported})).await;
    assert_eq!(refused.status.as_u16(), 422);
    assert!(refused.body.contains("made by hand"), "{}", refused.body);
    let adopted = send(&world, "owners", json!({"owner": "platform", "things": ["account/acme/*"]})).await;
    assert_eq!(adopted.status.as_u16(), 200, "{}", adopted.body);
    let owned = world.get("root", "/api/v1/policy?owner=platform").await.json()["document"].clone();
    for document in [&exported, &owned] {
        let planned = plan(&world, document).await;
        assert_eq!((&planned["objects"], &planned["access"]), (&json!([]), &json!([])), "{planned}");
    }
    applied(&world, &exported).await;
    let acme = world.account_id("acme").await;
    let work =
        world.memory.grants(acme).await.unwrap().into_iter().find(|grant| grant.name.as_str() == "work").unwrap();
    let body = json!({"access": "read"}).to_string();
    let token = world.token("root").await;
    let path = format!("/api/v1/grants/{}", work.id);
    let refused = world.call(&Method::PATCH, &path, &token, &body).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["field"]), (409, &json!("valetkey-break-glass")));
    assert!(refused.body.contains("the policy set `platform` owns this grant"), "{}", refused.body);
    let removed = world.call(&Method::DELETE, &path, &token, "").await;
    assert_eq!(removed.status.as_u16(), 409, "{}", removed.body);
    let dry = world.call(&Method::PATCH, &format!("{path}?dry_run=true"), &token, &body).await;
    assert_eq!(dry.status.as_u16(), 200, "{}", dry.body);
    let mut request = world.asking(&Method::PATCH, &path, &token, &body).await;
    request.headers_mut().insert("valetkey-break-glass", http::HeaderValue::from_static("an outage"));
    let changed = world.send(request).await;
    assert_eq!(changed.status.as_u16(), 200, "{}", changed.body);
    let drift = world.get("root", "/api/v1/policy?owner=platform").await.json()["drift"].clone();
    assert_eq!((&drift[0]["thing"], &drift[0]["how"]), (&json!("grant/acme/work"), &json!("changed")));
    assert_eq!(plan(&world, &exported).await["objects"][0]["op"], "change", "the next plan undoes it");
    let released = send(&world, "owners", json!({"owner": null, "things": ["grant/acme/work"]})).await;
    assert_eq!(released.status.as_u16(), 200, "{}", released.body);
    let refused = send(&world, "plan", json!({"document": exported})).await;
    assert!(refused.body.contains("grant/acme/work exists, made by hand"), "{}", refused.body);
}

#[tokio::test]
async fn what_a_document_cannot_mean_is_refused_by_its_place() {
    let world = World::new().await;
    for (pointer, value, said) in [
        ("/version", json!("valetkey/v2"), "version"),
        ("/owns/accounts", json!(["globex"]), "not among what `owns` names"),
        ("/owns/accounts", json!(["*a"]), "neither a name"),
        ("/accounts/team-a/grants/load/to", json!([]), "the list is empty"),
        ("/accounts/team-a/grants/load/to", json!(["caller:ana", "caller:etl"]), "one caller, one group or everyone"),
        ("/accounts/team-a/grants/load/to", json!(["group:x"]), "there is no group `team-a/x`"),
        ("/accounts/team-a/grants/load/to", json!(["caller:nobody"]), "there is no caller"),
        ("/accounts/team-a/grants/load/directories", json!([]), "the list is empty"),
        ("/accounts/team-a/grants/load/directories", json!(["a/"]), "without its last slash"),
        ("/accounts/team-a/grants/load/bucket", json!("nosuch"), "there is no bucket"),
        ("/accounts/team-a/grants/load/access", json!("custom"), "cannot be asked for"),
        ("/accounts/team-a/grants/daily/max_ttl", json!("12"), "length of time"),
        ("/accounts/team-a/grants/daily/everyone", json!(false), "say whom it is for"),
        ("/accounts/team-a/callers/ana/role", json!("king"), "role"),
        ("/datasets/team-daily/newest", json!("first"), "newest"),
        ("/tests/0/can/0", json!("read lake/x"), "not a place"),
        ("/tests/1/nobody", json!(false), "a test has one of"),
        ("/tests/2/expect", json!({}), "says what it expects"),
    ] {
        let mut wanted = document("team/in");
        *wanted.pointer_mut(pointer).unwrap() = value.clone();
        let shot = send(&world, "plan", json!({"document": wanted})).await;
        assert_eq!(shot.status.as_u16(), 422, "{pointer} {value}: {}", shot.body);
        assert!(shot.body.contains(said), "{pointer} {value}: {}", shot.body);
    }
    for (pointer, name) in
        [("", "storages"), ("/accounts/team-a", "workspaces"), ("/accounts/team-a/grants/load", "conditions")]
    {
        let mut wanted = document("team/in");
        wanted.pointer_mut(pointer).unwrap()[name] = json!({});
        let shot = send(&world, "plan", json!({"document": wanted})).await;
        assert!(shot.status.as_u16() >= 400 && shot.body.contains(name), "{name}: {}", shot.body);
    }
}

/// The document with people who are known by an identity provider's word, and a group of theirs.
fn with_people() -> Value {
    let mut wanted = document("team/in");
    wanted["owns"]["identity_providers"] = json!(["sso"]);
    wanted["identity_providers"] = json!({"sso": {
        "issuer": "https://id.example.com/",
        "audiences": ["valetkey"],
        "leeway": "90s",
        "rules": [{"name": "people", "account": "team-a", "caller": "p-{subject}", "claims": ["team=eng"], "outlive": "1h"}],
    }});
    wanted["accounts"]["team-a"]["groups"] =
        json!({"eng": {"members": ["etl"], "provider": "sso", "claims": ["team=eng"]}});
    wanted["accounts"]["team-a"]["credits_per_vend"] = json!(0);
    wanted["accounts"]["team-a"]["grants"]["load"]["to"] = json!(["group:eng"]);
    wanted["tests"].as_array_mut().unwrap()[1] =
        json!({"nobody": true, "except": ["team-a/etl", "team-a/group:eng"], "can": ["write s3://lake/team/"]});
    wanted["tests"].as_array_mut().unwrap().push(json!(
        {"as": "team-a/ana", "provider": "sso", "claims": {"team": "eng"}, "can": ["write s3://lake/team/in/"]}
    ));
    wanted
}

#[tokio::test]
async fn groups_and_identity_providers_come_of_a_document() {
    let world = World::new().await;
    let wanted = with_people();
    let planned = plan(&world, &wanted).await;
    let ops: Vec<_> = planned["objects"].as_array().unwrap().iter().map(|one| one["thing"].as_str().unwrap()).collect();
    assert!(ops.contains(&"group/team-a/eng") && ops.contains(&"identity_provider/sso"), "{ops:?}");
    assert_eq!((&planned["tests"], &planned["failed"]), (&json!(4), &json!([])), "{planned}");
    applied(&world, &wanted).await;
    let exported = world.get("root", "/api/v1/policy?owner=platform").await.json();
    assert_eq!(exported["drift"], json!([]));
    for document in [&wanted, &exported["document"]] {
        let again = plan(&world, document).await;
        assert_eq!((&again["objects"], &again["access"]), (&json!([]), &json!([])));
    }
    assert_eq!(exported["document"]["identity_providers"], wanted["identity_providers"]);
    assert_eq!(exported["document"]["accounts"]["team-a"]["groups"], wanted["accounts"]["team-a"]["groups"]);
    // Who leaves a group loses what the group opened; and what was opened by it ends.
    let token = world.token("etl").await;
    let body = json!({"bucket": "lake", "prefix": "team/in", "access": "write"}).to_string();
    let vended = world.call(&Method::POST, "/api/v1/credentials", &token, &body).await;
    assert_eq!(vended.status.as_u16(), 200, "{}", vended.body);
    let mut less = wanted.clone();
    less["accounts"]["team-a"]["groups"]["eng"]["members"] = json!(["ana"]);
    less["tests"] = json!([]);
    let planned = plan(&world, &less).await;
    assert_eq!(planned["objects"][0]["fields"][0]["field"], "members", "{planned}");
    let whose = |row: &Value| (row["callers"].clone(), row["added"].as_array().unwrap().len());
    let rows: Vec<_> = planned["access"].as_array().unwrap().iter().map(whose).collect();
    assert!(rows.contains(&(json!(["ana"]), 1)) && rows.contains(&(json!(["etl"]), 0)), "{planned}");
    assert_eq!(planned["leases"]["ended"], 1);
    let kept = json!({"document": less, "revision": planned["revision"], "keep_leases": true});
    let done = send(&world, "apply", kept).await;
    assert_eq!((done.status.as_u16(), &done.json()["leases_ended"]), (200, &json!(0)), "{}", done.body);
    // By hand neither is changed.
    let path = "/api/v1/groups/team-a%2Feng";
    let token = world.token("root").await;
    for (method, path, body) in [
        (Method::PATCH, path, json!({"remove": ["ana"]}).to_string()),
        (Method::DELETE, path, String::new()),
        (Method::PATCH, "/api/v1/identity-providers/sso", json!({"leeway_secs": 1}).to_string()),
        (Method::DELETE, "/api/v1/identity-providers/sso/rules/people", String::new()),
        (Method::DELETE, "/api/v1/identity-providers/sso", String::new()),
    ] {
        let refused = world.call(&method, path, &token, &body).await;
        assert_eq!(refused.status.as_u16(), 409, "{method} {path}: {}", refused.body);
    }
}

#[tokio::test]
async fn what_groups_and_identity_providers_cannot_mean_is_refused_by_its_place() {
    let world = World::new().await;
    for (pointer, value, said) in [
        ("/accounts/team-a/groups/eng/members/0", json!("nobody"), "there is no caller `team-a/nobody`"),
        ("/accounts/team-a/groups/eng/provider", json!("nosuch"), "there is no identity provider `nosuch`"),
        ("/accounts/team-a/groups/eng/claims", json!(["team"]), "claims"),
        ("/identity_providers/sso/preset", json!("gitlub"), "preset"),
        ("/identity_providers/sso/audiences", json!([]), "without one, a token made for anybody would be taken"),
        ("/identity_providers/sso/issuer", json!("http://id.example.com"), "has to start with https://"),
        ("/identity_providers/sso/leeway", json!("1h"), "leeway_secs"),
        ("/identity_providers/sso/leeway", json!("90"), "length of time"),
        ("/identity_providers/sso/rules/0/account", json!("nosuch"), "there is no account `nosuch`"),
        ("/identity_providers/sso/rules/0/caller", json!("{a}{b}"), "caller"),
        ("/identity_providers/sso/rules/0/role", json!("king"), "role"),
        ("/owns/identity_providers", json!([]), "identity_provider/sso is not among what `owns` names"),
    ] {
        let mut wanted = with_people();
        let (within, last) = pointer.rsplit_once('/').unwrap();
        let place = wanted.pointer_mut(within).unwrap();
        match last.parse::<usize>() {
            Ok(number) => place[number] = value.clone(),
            Err(_) => place[last] = value.clone(),
        }
        let shot = send(&world, "plan", json!({"document": wanted})).await;
        assert_eq!(shot.status.as_u16(), 422, "{pointer} {value}: {}", shot.body);
        assert!(shot.body.contains(said), "{pointer} {value}: {}", shot.body);
    }
}
