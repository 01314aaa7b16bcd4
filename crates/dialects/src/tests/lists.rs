//! Lists: whose things, which of them, and page by page. An operator's are of all accounts.

use http::Method;
use serde_json::{Value, json};
use valetkey_core::nouns::workspace::Access;

use super::world::World;

async fn list(world: &World, caller: &str, path: &str) -> Value {
    let answer = world.get(caller, path).await;
    assert_eq!(answer.status.as_u16(), 200, "{path}: {}", answer.body);
    answer.json()
}

/// The rows of a list, as `account/name`.
async fn names(world: &World, caller: &str, path: &str) -> Vec<String> {
    let answer = list(world, caller, path).await;
    let rows = answer.as_object().unwrap().values().find_map(Value::as_array).unwrap();
    let text = |row: &Value, names: &[&str]| names.iter().find_map(|name| row[name].as_str()).unwrap().to_owned();
    rows.iter()
        .map(|row| format!("{}/{}", text(row, &["account_name"]), text(row, &["key", "caller_name", "name"])))
        .collect()
}

#[tokio::test]
async fn an_operators_lists_are_of_all_accounts_and_an_admins_of_its_own() {
    let world = World::new().await;
    for caller in ["reader", "boss", "other", "root"] {
        world.token(caller).await;
    }
    world.workspace("acme", "main", None, Access::ReadWrite, true).await;
    for (path, all, own, members) in [
        (
            "/api/v1/grants?all=true",
            vec!["acme/daily", "acme/work", "globex/jobs", "globex/vault"],
            vec!["acme/daily", "acme/work"],
            vec!["acme/daily"],
        ),
        (
            "/api/v1/callers",
            vec!["acme/boss", "acme/reader", "acme/writer", "globex/chief", "globex/other", "ops/root", "poor/nobody"],
            vec!["acme/boss", "acme/reader", "acme/writer"],
            vec!["acme/reader"],
        ),
        (
            "/api/v1/tokens",
            vec!["acme/boss", "acme/reader", "globex/other", "ops/root"],
            vec!["acme/boss", "acme/reader"],
            vec!["acme/reader"],
        ),
    ] {
        for (caller, wanted) in [("root", all), ("boss", own), ("reader", members)] {
            let mut found = names(&world, caller, path).await;
            // In the order of accounts' ids, which are made by chance.
            found.sort();
            found.dedup();
            found.retain(|name| !name.starts_with("acme/main-") && !name.contains("workspace-"));
            assert_eq!(found, wanted, "{caller} {path}");
        }
    }
    assert_eq!(names(&world, "root", "/api/v1/workspaces").await, ["acme/main"]);
    assert_eq!(names(&world, "boss", "/api/v1/workspaces").await, ["acme/main"]);
    assert_eq!(names(&world, "root", "/api/v1/workspaces?account=globex").await, Vec::<String>::new());
    assert_eq!(world.get("reader", "/api/v1/workspaces").await.status.as_u16(), 403);
    for path in ["/api/v1/grants", "/api/v1/callers", "/api/v1/tokens", "/api/v1/workspaces"] {
        let path = format!("{path}?account=globex");
        assert_eq!(world.get("boss", &path).await.status.as_u16(), 404, "{path}");
    }
}

#[tokio::test]
async fn a_list_is_narrowed_by_the_server_and_what_it_does_not_know_is_refused() {
    let world = World::new().await;
    world.token("reader").await;
    for caller in ["reader", "other"] {
        let vended = world.post(caller, "/api/v1/credentials", &json!({"grant": grant_of(caller)}).to_string()).await;
        assert_eq!(vended.status.as_u16(), 200, "{}", vended.body);
    }
    for (path, wanted) in [
        ("/api/v1/grants?all=true&caller=acme/reader", vec!["acme/daily"]),
        ("/api/v1/grants?account=acme&caller=writer", vec!["acme/daily", "acme/work"]),
        ("/api/v1/grants?all=true&bucket=vault", vec!["globex/vault"]),
        ("/api/v1/grants?all=true&bucket=nosuch", vec![]),
        ("/api/v1/grants?all=true&name=work", vec!["acme/work"]),
        ("/api/v1/grants?name=work", vec![]),
        ("/api/v1/grants?account=acme&since=2999-01-01T00:00:00Z", vec![]),
        ("/api/v1/tokens?caller=globex/other", vec!["globex/other"]),
        ("/api/v1/tokens?caller=globex/other&since_secs=0", vec!["globex/other"]),
        ("/api/v1/tokens?since=2999-01-01T00:00:00Z", vec![]),
    ] {
        let mut found = names(&world, "root", path).await;
        found.dedup();
        assert_eq!(found, wanted, "{path}");
    }
    let leases = list(&world, "root", "/api/v1/leases?caller=acme/reader").await;
    let [lease] = leases["leases"].as_array().unwrap().as_slice() else { panic!("{leases}") };
    let (token, grant, bucket) = (&lease["token"], &lease["grants"][0], &lease["bucket"]);
    let of = |value: &Value| value.as_str().unwrap().to_owned();
    for (narrowed, count) in [
        (format!("token={}", of(token)), 1),
        (format!("grant={}", of(grant)), 1),
        ("grant=acme/daily".to_owned(), 1),
        ("grant=daily&account=acme".to_owned(), 1),
        ("grant=acme/work".to_owned(), 0),
        (format!("bucket={}&account=acme", of(bucket)), 1),
        ("bucket=vault&account=acme".to_owned(), 0),
        ("since=2999-01-01T00:00:00Z".to_owned(), 0),
        ("since_secs=0".to_owned(), 2),
    ] {
        let found = list(&world, "root", &format!("/api/v1/leases?{narrowed}")).await;
        assert_eq!(found["leases"].as_array().unwrap().len(), count, "{narrowed}");
    }
    for (caller, path, status, field) in [
        ("root", "/api/v1/leases?grant=nosuch", 404, "grant"),
        ("root", "/api/v1/leases?caller=globex/other&account=acme", 404, "caller"),
        ("boss", "/api/v1/leases?caller=globex/other", 404, "account"),
        ("reader", "/api/v1/leases?caller=writer", 404, "caller"),
        ("reader", "/api/v1/tokens?caller=writer", 404, "caller"),
        ("boss", "/api/v1/leases?token=tok_00000000000000000000000000", 404, "token"),
        ("root", "/api/v1/grants?all=true&bucket=No", 422, "bucket"),
        ("root", "/api/v1/grants?all=true&since=yesterday", 422, "since"),
        ("root", "/api/v1/grants?caller=acme/reader", 422, "caller"),
        ("root", "/api/v1/grants?all=true&after=daily", 422, "after"),
        ("root", "/api/v1/callers?limit=0", 422, "limit"),
        ("root", "/api/v1/tokens?limit=10001", 422, "limit"),
        ("root", "/api/v1/tokens?after=x", 422, "after"),
    ] {
        let answer = world.get(caller, path).await;
        assert_eq!(answer.status.as_u16(), status, "{caller} {path}: {}", answer.body);
        assert_eq!(answer.json()["field"], field, "{caller} {path}: {}", answer.body);
    }
    let unknown = world.get("root", "/api/v1/tokens?buckets=x").await;
    assert_eq!(unknown.status.as_u16(), 422);
}

fn grant_of(caller: &str) -> &'static str {
    if caller == "reader" { "acme/daily" } else { "globex/jobs" }
}

#[tokio::test]
async fn a_list_is_read_page_by_page_to_its_end() {
    let world = World::new().await;
    for caller in ["reader", "boss", "other"] {
        world.token(caller).await;
    }
    let root = world.token("root").await;
    for (path, field) in [
        ("/api/v1/grants?all=true", "grants"),
        ("/api/v1/callers?", "callers"),
        ("/api/v1/accounts/acme/callers?", "callers"),
        ("/api/v1/tokens?", "tokens"),
    ] {
        let page = async |more: &str| world.call(&Method::GET, &format!("{path}{more}"), &root, "").await.json();
        let rows = |answer: &Value| answer[field].as_array().unwrap().clone();
        let whole = page("").await;
        assert!(whole["next_after"].is_null() && rows(&whole).len() > 2, "{whole}");
        let mut paged = Vec::new();
        let mut after = String::new();
        loop {
            let answer = page(&format!("&limit=2{after}")).await;
            assert!((1..=2).contains(&rows(&answer).len()), "{answer}");
            paged.extend(rows(&answer));
            match answer["next_after"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!(paged, rows(&whole), "{path}");
    }
}

#[tokio::test]
async fn a_name_may_say_its_account_wherever_one_is_taken() {
    let world = World::new().await;
    let ask = |grant: &str| json!({"grant": grant}).to_string();
    assert_eq!(world.post("reader", "/api/v1/credentials", &ask("acme/daily")).await.status.as_u16(), 200);
    let foreign = world.post("reader", "/api/v1/credentials", &ask("globex/jobs")).await;
    assert_eq!(foreign.status.as_u16(), 422, "{}", foreign.body);
    let body = |to: &str, name: &str| {
        json!({"account": "acme", "name": name, "to": to, "bucket": "lake", "prefix": "x"}).to_string()
    };
    let made = world.post("root", "/api/v1/grants", &body("acme/reader", "one")).await;
    assert_eq!((made.status.as_u16(), &made.json()["to"]), (201, &json!("reader")), "{}", made.body);
    let refused = world.post("root", "/api/v1/grants", &body("globex/reader", "two")).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["field"]), (404, &json!("to")), "{}", refused.body);
}
