//! What a change would do to what callers can reach: said before it is made, exactly, and to nobody who may not make it.

use http::Method;
use serde_json::{Value, json};

use super::world::World;

const GRANTS: &str = "/api/v1/grants";

struct Own {
    world: World,
    root: String,
}

impl Own {
    async fn new() -> Self {
        let world = World::new().await;
        let root = world.token("root").await;
        Self { world, root }
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let shot = self.world.call(&method, path, &self.root, &body).await;
        assert!(shot.status.is_success(), "{path}: {} {}", shot.status, shot.body);
        shot.json()
    }

    /// What a dry run says: who, to do what, gains and loses which places.
    async fn dry(&self, method: Method, path: &str, body: &Value) -> Vec<String> {
        let answer = self.ask(method, &format!("{path}?dry_run=true"), body).await;
        assert_eq!(answer["dry_run"], true, "{answer}");
        let rows = answer["access_changes"].as_array().cloned().unwrap_or_default();
        let texts = |list: &Value| {
            list.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let places = |list: &Value| {
            list.as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let row = |row: &Value| {
            let who = if row["everyone"] == true { "everyone".to_owned() } else { texts(&row["callers"]).join(",") };
            let reads = texts(&row["actions"]).iter().any(|action| action == "get-object");
            format!("{who} {reads} +{} -{}", places(&row["added"]).join(","), places(&row["removed"]).join(","))
        };
        rows.iter().map(row).collect()
    }

    async fn grant(&self, name: &str, to: Value, prefix: &str) -> String {
        let body = json!({ "account": "acme", "name": name, "to": to, "bucket": "lake", "prefix": prefix });
        self.ask(Method::POST, GRANTS, &body).await["id"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_grant_is_looked_at_before_it_is_made_changed_or_removed() {
    let own = Own::new().await;
    let body = |to: &str, prefix: &str| json!({ "account": "acme", "name": "new", "to": to, "bucket": "lake", "prefix": prefix });
    let count = async || {
        own.ask(Method::GET, &format!("{GRANTS}?account=acme"), &Value::Null).await["grants"].as_array().unwrap().len()
    };
    let before = count().await;
    assert_eq!(
        own.dry(Method::POST, GRANTS, &body("reader", "previews/a")).await,
        ["reader true +s3://lake/previews/a/ -"]
    );
    assert_eq!(count().await, before, "nothing is made");
    let id = own.grant("new", json!("reader"), "previews/a").await;
    // What is had already is nothing new.
    let inside = body("reader", "previews/a/b");
    assert_eq!(own.dry(Method::POST, GRANTS, &inside).await, Vec::<String>::new());
    let path = format!("{GRANTS}/{id}");
    let moved = own.dry(Method::PATCH, &path, &json!({ "prefix": "previews/b" })).await;
    assert_eq!(moved, ["reader true +s3://lake/previews/b/ -s3://lake/previews/a/"]);
    assert_eq!(own.dry(Method::PATCH, &path, &json!({ "max_ttl_secs": 60 })).await, Vec::<String>::new());
    assert_eq!(own.dry(Method::DELETE, &path, &Value::Null).await, ["reader true + -s3://lake/previews/a/"]);
    let done = own.ask(Method::PATCH, &path, &json!({ "prefix": "previews/b" })).await;
    assert!(done.get("access_changes").is_none(), "{done}");
    // Nobody else asks, not even what would happen.
    for who in ["boss", "reader"] {
        let path = format!("{GRANTS}?dry_run=true");
        let shot = own.world.call(&Method::POST, &path, &own.world.token(who).await, &inside.to_string()).await;
        assert_eq!(shot.status, 403, "{who}");
    }
}

#[tokio::test]
async fn a_group_is_looked_at_before_who_is_in_it_changes() {
    let own = Own::new().await;
    let group = json!({ "account": "acme", "name": "eng", "members": ["reader"] });
    own.ask(Method::POST, "/api/v1/groups", &group).await;
    own.grant("eng", json!("group:eng"), "previews/eng").await;
    let path = "/api/v1/groups/acme%2Feng";
    let swapped = own.dry(Method::PATCH, path, &json!({ "members": ["writer"] })).await;
    assert_eq!(swapped.len(), 2, "{swapped:?}");
    assert!(swapped.contains(&"reader true + -s3://lake/previews/eng/".to_owned()), "{swapped:?}");
    assert!(swapped.contains(&"writer true +s3://lake/previews/eng/ -".to_owned()), "{swapped:?}");
    assert_eq!(own.dry(Method::PATCH, path, &json!({ "name": "team" })).await, Vec::<String>::new());
    assert_eq!(own.dry(Method::DELETE, path, &Value::Null).await, ["reader true + -s3://lake/previews/eng/"]);
    // It is in more than one way: only what no other way gives is lost.
    own.grant("also", json!("reader"), "previews").await;
    assert_eq!(own.dry(Method::DELETE, path, &Value::Null).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_caller_is_looked_at_before_it_is_made_suspended_served_or_removed() {
    let own = Own::new().await;
    own.grant("own", json!("reader"), "previews/own").await;
    let (all, one) = ("/api/v1/accounts/acme/callers", "/api/v1/accounts/acme/callers/reader");
    let lost =
        |rows: &[String]| rows.iter().any(|row| row.starts_with("reader") && row.ends_with("-s3://lake/previews/own/"));
    for (method, body) in [(Method::PATCH, json!({ "standing": "suspended" })), (Method::DELETE, Value::Null)] {
        let rows = own.dry(method, one, &body).await;
        assert!(lost(&rows) || rows.iter().any(|row| row.contains("s3://lake/previews/own/")), "{rows:?}");
        assert!(rows.iter().all(|row| row.contains(" + -")), "nothing is gained: {rows:?}");
    }
    assert_eq!(own.dry(Method::PATCH, one, &json!({ "role": "member" })).await, Vec::<String>::new());
    assert_eq!(own.dry(Method::PATCH, one, &json!({ "standing": "active" })).await, Vec::<String>::new());
    let shown = own.ask(Method::GET, all, &Value::Null).await;
    assert!(shown["callers"].as_array().unwrap().iter().all(|known| known["standing"] == "active"), "{shown}");
    own.ask(Method::PATCH, one, &json!({ "standing": "suspended" })).await;
    let rows = own.dry(Method::PATCH, one, &json!({ "standing": "active" })).await;
    assert!(rows.iter().any(|row| row.contains('+') && row.contains("s3://lake/previews/own/")), "{rows:?}");
    let new = own.dry(Method::POST, all, &json!({ "name": "newcomer" })).await;
    let everyone = own.ask(Method::GET, "/api/v1/access?account=acme&caller=writer", &Value::Null).await;
    assert!(new.iter().all(|row| row.starts_with("newcomer") && row.ends_with(" -")), "{new:?} {everyone}");
    // An admin looks at its own account's, and at nobody above it.
    let boss = own.world.token("boss").await;
    let shot = own.world.call(&Method::DELETE, &format!("{one}?dry_run=true"), &boss, "").await;
    assert_eq!(shot.status, 200, "{}", shot.body);
    assert!(shot.json()["access_changes"].as_array().is_some_and(|rows| !rows.is_empty()), "{}", shot.body);
    let other = own.world.call(&Method::DELETE, "/api/v1/accounts/globex/callers/reader?dry_run=true", &boss, "").await;
    assert_eq!(other.status, 404, "{}", other.body);
}

#[tokio::test]
async fn an_account_is_looked_at_before_it_is_suspended_served_or_renamed() {
    let own = Own::new().await;
    own.grant("own", json!("reader"), "previews/own").await;
    let template = json!({
        "account": "acme", "name": "home", "to": null, "bucket": "lake", "prefix": "home/{account.name}/{caller.name}",
        "template": true,
    });
    own.ask(Method::POST, GRANTS, &template).await;
    let path = "/api/v1/accounts/acme";
    let vended = json!({ "bucket": "lake", "prefix": "previews/own" });
    let vend = async || own.world.post("reader", "/api/v1/credentials", &vended.to_string()).await.status;
    assert_eq!(vend().await, 200);
    let suspended = own.dry(Method::PATCH, path, &json!({ "standing": "suspended" })).await;
    assert!(suspended.iter().any(|row| row.contains("s3://lake/previews/own/")), "{suspended:?}");
    assert!(suspended.iter().all(|row| row.contains(" + -")), "nothing is gained: {suspended:?}");
    let told = own.ask(Method::PATCH, &format!("{path}?dry_run=true"), &json!({ "standing": "suspended" })).await;
    assert_eq!((&told["dry_run"], &told["ended"], &told["standing"]), (&json!(true), &json!(1), &json!("active")));
    assert_eq!(vend().await, 200, "nothing was done");
    // Another name moves what is filled in with it, and nothing else.
    let moved = own.dry(Method::PATCH, path, &json!({ "name": "apex" })).await;
    assert!(moved.iter().any(|row| row.contains("s3://lake/home/apex/reader/")), "{moved:?}");
    assert!(moved.iter().all(|row| row.contains("home/acme/") && !row.contains("previews")), "{moved:?}");
    let of_caller = own.dry(Method::PATCH, &format!("{path}/callers/reader"), &json!({ "name": "lector" })).await;
    let both = |row: &String| row.contains("home/acme/lector/") || row.contains("home/acme/reader/");
    assert!(of_caller.iter().any(both) && of_caller.iter().all(|row| row.contains("home/")), "{of_caller:?}");
    assert_eq!(own.dry(Method::PATCH, path, &json!({ "credits_per_vend": 3 })).await, Vec::<String>::new());
    own.ask(Method::PATCH, path, &json!({ "standing": "suspended" })).await;
    let served = own.dry(Method::PATCH, path, &json!({ "standing": "active" })).await;
    assert!(served.iter().any(|row| row.contains("s3://lake/previews/own/")), "{served:?}");
    assert!(served.iter().all(|row| row.ends_with(" -")), "nothing is lost: {served:?}");
    let again = own.dry(Method::PATCH, path, &json!({ "standing": "suspended" })).await;
    assert_eq!(again, Vec::<String>::new(), "it is suspended already");
}

#[tokio::test]
async fn a_workspace_is_looked_at_before_it_is_made() {
    let own = Own::new().await;
    let body = json!({
        "account": "acme", "key": "lab", "bucket": "lake", "prefix": "lab", "callers": ["reader"], "access": "read",
    });
    let path = "/api/v1/workspaces";
    let rows = own.dry(Method::POST, path, &body).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert!(rows[0].starts_with("reader true +s3://lake/lab/artifacts/") && rows[0].ends_with(" -"), "{rows:?}");
    let listed = own.ask(Method::GET, &format!("{path}?account=acme"), &Value::Null).await;
    assert!(listed["workspaces"].as_array().unwrap().iter().all(|one| one["key"] != "lab"), "{listed}");
    assert_eq!(own.ask(Method::POST, path, &body).await["key"], "lab");
    assert_eq!(own.dry(Method::POST, path, &json!({
        "account": "acme", "key": "lab2", "bucket": "lake", "prefix": "lab", "callers": ["reader"], "access": "read",
    })).await, Vec::<String>::new(), "what is had already is nothing new");
}
