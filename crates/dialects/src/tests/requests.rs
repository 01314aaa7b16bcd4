//! Requests for access, by the API: who sees which, who decides them, and what they open.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::world::{Shot, World};

const REQUESTS: &str = "/api/v1/requests";
const RULES: &str = "/api/v1/request-rules";

/// A world with a group `owners` of `acme` whose member `boss` approves, and a rule by which all of `acme` may ask.
async fn world() -> World {
    let world = World::new().await;
    let group = json!({ "account": "acme", "name": "owners", "members": ["boss"] });
    assert_eq!(world.post("root", "/api/v1/groups", &group.to_string()).await.status, StatusCode::CREATED);
    let made = world.post("root", RULES, &rule("flights").to_string()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    world
}

fn rule(name: &str) -> Value {
    json!({
        "name": name, "account": "acme", "approvers": "owners", "bucket": "lake", "prefix": "flights", "access": "read",
        "max_secs": 7200,
    })
}

fn wish() -> Value {
    json!({ "bucket": "lake", "prefix": "flights/weekly", "for_secs": 3600, "reason": "INC-7: rows are missing" })
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

async fn ask(world: &World, who: &str) -> String {
    let shot = world.post(who, REQUESTS, &wish().to_string()).await;
    assert_eq!(shot.status, StatusCode::CREATED, "{}", shot.body);
    shot.json()["id"].as_str().unwrap().to_owned()
}

async fn decide(world: &World, who: &str, id: &str, how: &str) -> Shot {
    world.post(who, &format!("{REQUESTS}/{id}/{how}"), "").await
}

async fn listed(world: &World, who: &str, query: &str) -> Vec<String> {
    let shot = world.get(who, &format!("{REQUESTS}{query}")).await;
    assert_eq!(shot.status, StatusCode::OK, "{query}: {}", shot.body);
    let text = |one: &Value| one["id"].as_str().unwrap().to_owned();
    shot.json()["requests"].as_array().unwrap().iter().map(text).collect()
}

#[tokio::test]
async fn what_is_approved_is_vended_until_it_ends_and_is_explained() {
    let world = world().await;
    let made = world.post("reader", REQUESTS, &wish().to_string()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let made = made.json();
    for (field, value) in [
        ("state", json!("pending")),
        ("caller_name", json!("reader")),
        ("account_name", json!("acme")),
        ("rule", json!("flights")),
        ("bucket", json!("lake")),
        ("prefixes", json!(["flights/weekly"])),
        ("access", json!("read")),
        ("for_secs", json!(3600)),
        ("reason", json!("INC-7: rows are missing")),
        ("decided_at", Value::Null),
        ("grant", Value::Null),
        ("may_decide", json!(false)),
        ("may_cancel", json!(true)),
    ] {
        assert_eq!(made[field], value, "{field}: {made}");
    }
    let id = made["id"].as_str().unwrap();
    let vend = json!({ "bucket": "lake", "prefix": "flights/weekly", "ttl_secs": 900 }).to_string();
    let refused = world.post("reader", "/api/v1/credentials", &vend).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.body);
    let seen = world.get("boss", &format!("{REQUESTS}/{id}")).await.json();
    assert_eq!((&seen["may_decide"], &seen["may_cancel"]), (&json!(true), &json!(false)));
    // Looked at first: what it would open; and only by who may approve it.
    let look = format!("{REQUESTS}/{id}/approve?dry_run=true");
    let looked = world.post("boss", &look, "").await;
    assert_eq!(looked.status, StatusCode::OK, "{}", looked.body);
    let change = &looked.json()["access_changes"][0];
    assert_eq!((&change["callers"], &change["removed"]), (&json!(["reader"]), &json!([])), "{change}");
    assert_eq!(change["added"], json!([{ "path": "s3://lake/flights/weekly/", "except": [] }]), "{change}");
    for who in ["reader", "writer"] {
        assert!(world.post(who, &look, "").await.status.is_client_error(), "{who}");
    }
    assert_eq!(world.get("boss", &format!("{REQUESTS}/{id}")).await.json()["state"], "pending");
    let done = world.post("boss", &format!("{REQUESTS}/{id}/approve"), r#"{"note":"be careful"}"#).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.body);
    let done = done.json();
    assert_eq!((&done["state"], &done["note"]), (&json!("approved"), &json!("be careful")));
    assert_eq!((&done["decided_by_name"], &done["may_decide"]), (&json!("acme/boss"), &json!(false)));
    let grant = done["grant"].as_str().unwrap();
    assert_eq!(world.post("reader", "/api/v1/credentials", &vend).await.status, StatusCode::OK);
    // Only to who asked, and only there.
    assert_eq!(world.post("writer", "/api/v1/credentials", &vend).await.status, StatusCode::FORBIDDEN);
    let sibling = json!({ "bucket": "lake", "prefix": "flights/weekly2", "ttl_secs": 900 }).to_string();
    assert_eq!(world.post("reader", "/api/v1/credentials", &sibling).await.status, StatusCode::FORBIDDEN);
    let why = json!({ "bucket": "lake", "key": "flights/weekly/x" }).to_string();
    let why = world.post("reader", "/api/v1/explain", &why).await.json();
    assert_eq!((&why["allowed"], &why["grant"]["id"]), (&json!(true), &json!(grant)));
    let told = json!({ "id": id, "approved_by": "acme/boss" });
    let allows = why["considered"].as_array().unwrap().iter().find(|one| one["verdict"] == "allows").unwrap();
    assert_eq!(allows["request"], told, "{why}");
    let who = world.get("root", "/api/v1/access?action=read&place=s3://lake/flights/weekly/x").await.json();
    assert_eq!((&who["access"][0]["caller"], &who["access"][0]["request"]), (&json!("reader"), &told), "{who}");
    let csv = world.get("root", "/api/v1/access?action=read&place=s3://lake/flights/weekly/x&format=csv").await.body;
    assert!(csv.contains(&format!("{id},acme/boss")), "{csv}");
    // It stays what it is, and policy files do not take it for theirs.
    let (root, path) = (world.token("root").await, format!("/api/v1/grants/{grant}"));
    let change = world.call(&Method::PATCH, &path, &root, r#"{"until":null}"#).await;
    assert_eq!(change.status, StatusCode::UNPROCESSABLE_ENTITY);
    let shown = world.get("root", "/api/v1/grants?account=acme").await.json();
    let own = shown["grants"].as_array().unwrap().iter().find(|one| one["id"] == grant).unwrap();
    assert_eq!((&own["request"], &own["until"]), (&json!(id), &done["until"]), "{own}");
    let name = own["name"].as_str().unwrap().to_owned();
    let document = world.get("root", "/api/v1/policy?owner=main&account=acme").await;
    assert_eq!(document.status, StatusCode::OK, "{}", document.body);
    assert!(document.body.contains("\"daily\"") && !document.body.contains(&name), "{}", document.body);
    world.clock.advance_secs(3600);
    assert_eq!(world.post("reader", "/api/v1/credentials", &vend).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn everybody_sees_what_is_theirs_or_theirs_to_decide() {
    let world = world().await;
    let group = json!({ "account": "globex", "name": "watch", "members": ["other"] });
    assert_eq!(world.post("root", "/api/v1/groups", &group.to_string()).await.status, StatusCode::CREATED);
    let all = with(with(rule("everyones"), "account", Value::Null), "approvers", json!("globex/watch"));
    let all = with(with(all, "prefix", json!("logs")), "max_secs", json!(60));
    assert_eq!(world.post("root", RULES, &all.to_string()).await.status, StatusCode::CREATED);
    let first = ask(&world, "reader").await;
    world.clock.advance_secs(1);
    let second = ask(&world, "writer").await;
    world.clock.advance_secs(1);
    let logs = json!({ "bucket": "lake", "prefix": "logs", "for_secs": 60, "reason": "x" }).to_string();
    let third = world.post("nobody", REQUESTS, &logs).await;
    assert_eq!(third.status, StatusCode::CREATED, "{}", third.body);
    let third = third.json()["id"].as_str().unwrap().to_owned();
    let (first, second, third) = (first.as_str(), second.as_str(), third.as_str());
    for (who, query, wanted) in [
        ("reader", "", vec![first]),
        ("writer", "", vec![second]),
        ("boss", "", vec![second, first]),
        ("boss", "?decide=true", vec![second, first]),
        ("reader", "?decide=true", vec![]),
        ("other", "", vec![third]),
        ("chief", "", vec![]),
        ("nobody", "", vec![third]),
        ("root", "", vec![third, second, first]),
        ("root", "?limit=1", vec![third]),
        ("root", "?state=approved", vec![]),
        ("boss", "?state=pending&limit=1", vec![second]),
    ] {
        assert_eq!(listed(&world, who, query).await, wanted, "{who} {query}");
    }
    let next = world.get("boss", &format!("{REQUESTS}?limit=1")).await.json()["next_before"].clone();
    assert_eq!(listed(&world, "boss", &format!("?limit=1&before={}", next.as_str().unwrap())).await, [first]);
    for (who, id, status) in
        [("writer", first, 404), ("chief", first, 404), ("other", first, 404), ("boss", third, 404)]
    {
        assert_eq!(world.get(who, &format!("{REQUESTS}/{id}")).await.status.as_u16(), status, "{who}");
        for how in ["approve", "deny"] {
            assert_eq!(decide(&world, who, id, how).await.status.as_u16(), status, "{who} {how}");
        }
        assert_eq!(world.delete(who, &format!("{REQUESTS}/{id}")).await.status.as_u16(), status, "{who}");
    }
    // Who knows and may not is told so: who asked, and an operator that is in no group.
    for (who, id, how) in [("reader", first, "approve"), ("reader", first, "deny"), ("root", first, "approve")] {
        let shot = decide(&world, who, id, how).await;
        assert_eq!(shot.status, StatusCode::FORBIDDEN, "{who} {how}: {}", shot.body);
    }
    let names = async |who: &str| {
        let answer = world.get(who, RULES).await.json();
        let name = |one: &Value| one["name"].as_str().unwrap().to_owned();
        answer["request_rules"].as_array().unwrap().iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names("reader").await, ["everyones", "flights"]);
    assert_eq!(names("nobody").await, ["everyones"]);
    let rules = world.get("other", RULES).await.json();
    let one = &rules["request_rules"][0];
    assert_eq!(
        (&one["approvers"], &one["may_ask"], &one["may_approve"]),
        (&json!("globex/watch"), &json!(true), &json!(true))
    );
    assert_eq!(decide(&world, "boss", second, "deny").await.json()["state"], "denied");
    let cancelled = world.delete("reader", &format!("{REQUESTS}/{first}")).await;
    assert_eq!((cancelled.status, &cancelled.json()["state"]), (StatusCode::OK, &json!("cancelled")));
    assert_eq!(world.delete("root", &format!("{REQUESTS}/{third}")).await.json()["state"], "cancelled", "an operator");
    assert_eq!(decide(&world, "boss", second, "approve").await.json()["field"], "request");
    assert_eq!(listed(&world, "root", "?state=cancelled").await, [third, first]);
}

#[tokio::test]
async fn a_request_that_means_nothing_is_refused_by_its_field() {
    let world = world().await;
    for (field, value, status, at) in [
        ("prefix", json!("flights-secret"), 403, Value::Null),
        ("prefix", json!("flights/"), 422, json!("prefix")),
        ("prefix", json!(""), 422, json!("prefix")),
        ("access", json!("write"), 403, Value::Null),
        ("bucket", json!("vault"), 403, Value::Null),
        ("bucket", json!("nosuch"), 403, Value::Null),
        ("bucket", json!("LAKE"), 422, json!("bucket")),
        ("for_secs", json!(7201), 422, json!("for_secs")),
        ("for_secs", json!(1), 422, json!("for_secs")),
        ("reason", json!(""), 422, json!("reason")),
        ("reason", json!(" \u{3000}"), 422, json!("reason")),
        ("reason", json!("x\u{1b}[2J"), 422, json!("reason")),
        ("reason", json!("x\ny"), 422, json!("reason")),
        ("reason", json!("gpj.\u{202e}exe"), 422, json!("reason")),
        ("reason", json!("x".repeat(501)), 422, json!("reason")),
        ("rule", json!("nosuch"), 404, json!("rule")),
        ("rule", json!("No Such"), 422, json!("rule")),
        ("whole_bucket", json!(true), 422, json!("whole_bucket")),
        ("until", json!("2030-01-01T00:00:00Z"), 422, json!("until")),
    ] {
        let shot = world.post("reader", REQUESTS, &with(wish(), field, value.clone()).to_string()).await;
        assert_eq!(shot.status.as_u16(), status, "{field} {value}: {}", shot.body);
        assert_eq!(shot.json()["field"], at, "{field} {value}: {}", shot.body);
    }
    assert_eq!(listed(&world, "root", "").await, Vec::<String>::new());
    for (query, at) in [("state=open", "state"), ("limit=0", "limit"), ("before=x", "before"), ("decide=x", "decide")] {
        let shot = world.get("reader", &format!("{REQUESTS}?{query}")).await;
        assert_eq!((shot.status.as_u16(), &shot.json()["field"]), (422, &json!(at)), "{query}: {}", shot.body);
    }
    let id = ask(&world, "reader").await;
    for note in ["", "x\u{7}", "x\u{2067}y"] {
        let shot = world.post("boss", &format!("{REQUESTS}/{id}/deny"), &json!({ "note": note }).to_string()).await;
        assert_eq!((shot.status.as_u16(), &shot.json()["field"]), (422, &json!("note")), "{note:?}");
    }
    // A secret of ours that somebody pastes is not put on record.
    let token = world.token("reader").await;
    let pasted = with(wish(), "reason", json!(format!("my token is {token}")));
    let shot = world.post("reader", REQUESTS, &pasted.to_string()).await;
    assert!(shot.status == StatusCode::CREATED && !shot.body.contains(&token), "{}", shot.body);
}

#[tokio::test]
async fn rules_are_operators_to_make_change_and_remove() {
    let world = world().await;
    for (field, value, status, at) in [
        ("name", json!("flights"), 409, json!("name")),
        ("name", json!("A b"), 422, json!("name")),
        ("account", json!("nosuch"), 404, json!("account")),
        ("approvers", json!("nosuch"), 404, json!("approvers")),
        ("approvers", json!("globex/owners"), 404, json!("approvers")),
        ("askers", json!("other"), 404, json!("askers")),
        ("askers", json!("group:nosuch"), 404, json!("askers")),
        ("bucket", json!("nosuch"), 404, json!("bucket")),
        ("max_secs", json!(59), 422, json!("max_secs")),
        ("prefixes", json!([]), 422, json!("prefixes")),
    ] {
        let body = with(rule("new"), field, value.clone());
        let shot = world.post("root", RULES, &body.to_string()).await;
        assert_eq!(shot.status.as_u16(), status, "{field} {value}: {}", shot.body);
        assert_eq!(shot.json()["field"], at, "{field} {value}: {}", shot.body);
    }
    let mut unsaid = rule("new");
    unsaid.as_object_mut().unwrap().remove("account");
    assert_eq!(world.post("root", RULES, &unsaid.to_string()).await.json()["field"], "account");
    let body = rule("new").to_string();
    assert_eq!(world.post("boss", RULES, &body).await.status, StatusCode::FORBIDDEN);
    let (root, path) = (world.token("root").await, format!("{RULES}/flights"));
    let change =
        json!({ "askers": "group:owners", "max_secs": 60, "access": "read-write", "prefixes": ["flights", "hotels"] });
    let dry = world.call(&Method::PATCH, &format!("{path}?dry_run=true"), &root, &change.to_string()).await;
    assert_eq!((dry.status, &dry.json()["max_secs"]), (StatusCode::OK, &json!(60)), "{}", dry.body);
    let id = ask(&world, "reader").await;
    let changed = world.call(&Method::PATCH, &path, &root, &change.to_string()).await.json();
    assert_eq!((&changed["askers"], &changed["access"]), (&json!("group:owners"), &json!("read-write")), "{changed}");
    assert_eq!(changed["prefixes"], json!(["flights", "hotels"]));
    let refused = world.post("reader", REQUESTS, &wish().to_string()).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "no longer theirs: {}", refused.body);
    // What waits is approved by the rule as it is: this one is too long by now, and its maker may not ask any more.
    let late = decide(&world, "boss", &id, "approve").await;
    assert_eq!((late.status.as_u16(), &late.json()["field"]), (422, &json!("for_secs")), "{}", late.body);
    let wide = world.call(&Method::PATCH, &path, &root, r#"{"max_secs":7200}"#).await;
    assert_eq!(wide.status, StatusCode::OK, "{}", wide.body);
    let late = decide(&world, "boss", &id, "approve").await;
    assert_eq!((late.status.as_u16(), &late.json()["field"]), (422, &json!("caller")), "{}", late.body);
    assert_eq!(world.delete("boss", &path).await.status, StatusCode::FORBIDDEN);
    let removed = world.delete("root", &path).await;
    assert_eq!((removed.status, &removed.json()["what"]["kind"]), (StatusCode::OK, &json!("request rule")));
    assert_eq!(world.get("reader", &format!("{REQUESTS}/{id}")).await.json()["state"], "cancelled");
    assert_eq!(world.delete("root", &path).await.status, StatusCode::NOT_FOUND);
}
