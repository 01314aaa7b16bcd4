//! Effective access: who can do something to a place, and what a caller can reach.

use serde_json::Value;
use valetkey_core::lease::Revoker;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::scope::Actions;
use valetkey_core::time::Clock as _;

use super::world::{World, directory};

async fn list(world: &World, caller: &str, query: &str) -> Value {
    let shot = world.get(caller, &format!("/api/v1/access?{query}")).await;
    assert_eq!(shot.status.as_u16(), 200, "{query}: {}", shot.body);
    shot.json()
}

/// Each row as `account/caller grant`, and how much it covers.
async fn rows(world: &World, caller: &str, query: &str) -> Vec<String> {
    let answer = list(world, caller, query).await;
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or("*").to_owned();
    let row = |row: &Value| {
        let covers = row["covers"].as_str().map(|covers| format!(" {covers}")).unwrap_or_default();
        format!("{}/{} {}{covers}", text(row, "account_name"), text(row, "caller"), text(row, "grant"))
    };
    let mut rows: Vec<String> = answer["access"].as_array().unwrap().iter().map(row).collect();
    // Accounts come in the order of their ids, which are made by chance.
    rows.sort();
    rows
}

#[tokio::test]
async fn who_can_names_grants_of_the_place_and_no_sibling() {
    let world = World::new().await;
    for (query, wanted) in [
        ("action=read&place=s3://lake/flights/daily/x", vec!["acme/* daily all"]),
        ("action=read&place=s3://lake/flights/daily", vec!["acme/* daily all"]),
        ("action=read&place=s3://lake/flights/daily-secret/x", vec![]),
        ("action=write&place=s3://lake/flights/daily/x", vec![]),
        ("action=delete&place=s3://lake%2Fwork/writer/x", vec![]),
        ("action=write&place=s3://lake%2Fwork/writer/x", vec!["acme/writer work all"]),
        ("action=multipart-upload&place=s3://lake%2Fwork/", vec!["acme/writer work part"]),
        ("action=read&place=s3://lake%2Fwork/writer/", vec!["acme/writer work all"]),
        ("action=read&place=s3://lake", vec!["acme/* daily part", "acme/writer work part", "globex/* jobs part"]),
        ("action=delete&place=s3://vault/", vec!["globex/* vault all"]),
        ("place=s3://vault/any", vec!["globex/* vault all"]),
        ("place=s3://nosuch/any", vec![]),
    ] {
        assert_eq!(rows(&world, "root", query).await, wanted, "{query}");
    }
}

#[tokio::test]
async fn an_admin_sees_its_account_a_member_itself_and_an_operator_all() {
    let world = World::new().await;
    let lake = "action=read&place=s3://lake/";
    assert_eq!(rows(&world, "boss", lake).await, ["acme/* daily part", "acme/writer work part"]);
    assert_eq!(rows(&world, "reader", lake).await, ["acme/* daily part"], "its own access");
    assert_eq!(rows(&world, "writer", lake).await, ["acme/* daily part", "acme/writer work part"]);
    assert_eq!(rows(&world, "boss", "place=s3://vault/x").await, Vec::<String>::new());
    assert_eq!(rows(&world, "boss", "caller=writer").await, ["acme/* daily", "acme/writer work"]);
    assert_eq!(rows(&world, "root", "caller=globex/other").await, ["globex/* jobs", "globex/* vault"]);
    assert_eq!(rows(&world, "root", "account=globex").await, ["globex/* jobs", "globex/* vault"]);
    for (caller, query, status, field) in [
        ("reader", "caller=writer", 404, "caller"),
        ("boss", "caller=globex/other", 404, "account"),
        ("boss", "account=globex", 404, "account"),
        ("root", "caller=acme/nosuch", 404, "caller"),
        ("root", "action=fly", 422, "action"),
        ("root", "place=lake/x", 422, "place"),
        ("root", "place=s3://LAKE/x", 422, "place"),
        ("root", "at=yesterday", 422, "at"),
        ("root", "format=xml", 422, "format"),
        ("root", "limit=0", 422, "limit"),
        ("root", "after=x", 422, "after"),
    ] {
        let shot = world.get(caller, &format!("/api/v1/access?{query}")).await;
        assert_eq!(shot.status.as_u16(), status, "{query}: {}", shot.body);
        assert_eq!(shot.json()["field"], field, "{query}: {}", shot.body);
    }
}

#[tokio::test]
async fn access_is_told_for_a_time_and_not_of_whom_the_server_refuses() {
    let world = World::new().await;
    let now = world.clock.now();
    let acme = world.account_id("acme").await;
    let writer = world.caller_of("writer").await;
    let id = world.grant(acme, "later", Some(writer), "lake", directory("later"), Actions::READ, None).await;
    let mut later = world.memory.grants(acme).await.unwrap().into_iter().find(|grant| grant.id == id).unwrap();
    later.until = Some(now + jiff::SignedDuration::from_hours(1));
    let change = valetkey_core::nouns::removal::Amendment::Grant(later);
    world.memory.change(&change, false, Revoker { by: writer, at: now }).await.unwrap();
    let place = "action=read&place=s3://lake/later/x";
    assert_eq!(rows(&world, "root", place).await, ["acme/writer later all"]);
    let after = now + jiff::SignedDuration::from_hours(1);
    assert_eq!(rows(&world, "root", &format!("{place}&at={after}")).await, Vec::<String>::new());
    let before = after - jiff::SignedDuration::from_secs(1);
    assert_eq!(rows(&world, "root", &format!("{place}&at={before}")).await, ["acme/writer later all"]);
    let root = world.caller_of("root").await;
    world.memory.suspend_caller(writer, Revoker { by: root, at: now }).await.unwrap();
    assert_eq!(rows(&world, "root", place).await, Vec::<String>::new());
    assert_eq!(rows(&world, "root", "caller=acme/writer").await, Vec::<String>::new());
}

#[tokio::test]
async fn pages_are_the_whole_list_in_either_form() {
    let world = World::new().await;
    let whole = list(&world, "root", "").await;
    let names = |answer: &Value| -> Vec<Value> {
        answer["access"].as_array().unwrap().iter().map(|row| row["grant"].clone()).collect()
    };
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let page = list(&world, "root", &format!("limit=1{after}")).await;
        paged.extend(names(&page));
        let Some(next) = page["next_after"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(paged, names(&whole));
    assert_eq!(paged.len(), 4);
    let shot = world.get("root", "/api/v1/access?format=csv&account=acme&limit=1").await;
    assert_eq!(shot.headers["content-type"], "text/csv; charset=utf-8");
    assert!(shot.headers["next-after"].to_str().unwrap().ends_with("/daily"));
    assert_eq!(
        shot.body,
        "account,caller,grant,share,bucket,opens,path,actions,covers,from,until,conditions,request,approved_by\n\
         acme,*,daily,,lake,directory,flights/daily,get-object list-bucket get-bucket-info,,,,,,\n"
    );
}
