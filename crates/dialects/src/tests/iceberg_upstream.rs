//! Warehouses that another catalog keeps, as clients see them; and what that catalog is asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use valetkey_core::lease::Revoker;
use valetkey_core::name::Name;
use valetkey_core::nouns::registry::LeaseFilter;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::nouns::table::{CatalogAnswer, CatalogAsk, UpstreamCatalog};
use valetkey_core::scope::{Action, Actions};
use valetkey_core::time::Clock as _;
use valetkey_core::{Error, Kind};

use super::world::{Shot, World, directory};

const ROOT: &str = "/iceberg/v1/~lakehouse";

/// A catalog that answers what it was told.
#[derive(Debug)]
pub(super) struct Lakehouse {
    name: Name,
    /// Nobody's, until a test says whose.
    account: OnceLock<Name>,
    answers: Mutex<HashMap<String, (u16, Value)>>,
    asked: Mutex<Vec<(String, Value)>>,
    /// What it waits for before it answers.
    hold: Mutex<Option<Arc<tokio::sync::Semaphore>>>,
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

impl Default for Lakehouse {
    fn default() -> Self {
        let (answers, asked, hold) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { name: name("lakehouse"), account: OnceLock::new(), answers, asked, hold }
    }
}

impl Lakehouse {
    fn on(&self, line: &str, status: u16, answer: impl Into<Value>) {
        self.answers.lock().unwrap().insert(line.to_owned(), (status, answer.into()));
    }

    /// What it was asked since this was asked last.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap()).into_iter().map(|(line, _)| line).collect()
    }
}

#[async_trait]
impl UpstreamCatalog for Lakehouse {
    fn name(&self) -> &Name {
        &self.name
    }

    fn account(&self) -> &Name {
        self.account.get_or_init(|| name("nobody"))
    }

    async fn ask(&self, what: &CatalogAsk<'_>) -> Result<CatalogAnswer, Error> {
        let CatalogAsk { method, path, query, body } = what;
        let hold = self.hold.lock().unwrap().clone();
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        let line = format!("{method} {}{mark}{}", path.join("/").replace('\u{1f}', "."), query.join("&"));
        let sent = body.as_ref().map_or(Value::Null, |body| serde_json::from_slice(body).unwrap());
        self.asked.lock().unwrap().push((line.clone(), sent));
        if let Some(hold) = hold {
            hold.acquire().await.unwrap().forget();
        }
        let (status, body) = self.answers.lock().unwrap().get(&line).cloned().unwrap_or((404, json!({})));
        match status {
            0 => Err(Error::new(Kind::UpstreamTimeout, "the upstream catalog did not answer in time")),
            status => Ok(CatalogAnswer { status, body: body.to_string().into_bytes() }),
        }
    }
}

/// A table of the catalog's, with all that it must not hand on.
fn table(location: &str) -> Value {
    json!({
        "metadata-location": format!("{location}/metadata/1.metadata.json"),
        "metadata": {
            "format-version": 2, "table-uuid": "u-1", "location": location,
            "properties": {"owner": "ann", "s3.signer.uri": "https://elsewhere.example"},
        },
        "config": {"s3.access-key-id": "THEIRS", "s3.secret-access-key": "THEIRS", "token": "THEIRS", "s3.endpoint": "https://elsewhere.example"},
        "storage-credentials": [{"prefix": "s3://lake", "config": {"s3.secret-access-key": "THEIRS"}}],
    })
}

async fn world() -> World {
    let world = World::new().await;
    let (acme, writer) = (world.account_id("acme").await, world.caller_of("writer").await);
    let actions = Actions::READ_WRITE.without(Action::DeleteObject);
    world.grant(acme, "house", Some(writer), "lake", directory("house/ann"), actions, None).await;
    let lakehouse = &world.made.2.lakehouse;
    lakehouse.account.set(name("acme")).unwrap();
    for (name, location) in [
        ("own", "s3://lake/house/ann/own"),
        ("beside", "s3://lake/house/ann2/own"),
        ("daily", "s3://lake/flights/daily/t"),
        ("secret", "s3://lake/flights/daily-secret/t"),
        ("foreign", "s3://vault/t"),
        ("unknown", "s3://nowhere/t"),
        ("odd", "file:///etc"),
        ("up", "s3://lake/house/ann/../../flights/daily-secret"),
    ] {
        lakehouse.on(&format!("GET namespaces/db/tables/{name}"), 200, table(location));
        lakehouse.on(&format!("POST namespaces/db/tables/{name}"), 200, table(location));
        lakehouse.on(&format!("DELETE namespaces/db/tables/{name}"), 204, Value::Null);
    }
    lakehouse.on("GET namespaces", 200, json!({"namespaces": [["db"], ["a", "b"]], "odd": "THEIRS"}));
    lakehouse.on("GET namespaces/a.b", 200, json!({"namespace": ["a", "b"], "properties": {"x": "y"}}));
    lakehouse.on(
        "GET namespaces/db/tables",
        200,
        json!({"identifiers": [{"namespace": ["db"], "name": "own", "odd": "THEIRS"}]}),
    );
    world
}

async fn send(world: &World, caller: &str, method: Method, path: &str, body: &Value) -> Shot {
    world.clock.advance_secs(1);
    let body = if body.is_null() { String::new() } else { body.to_string() };
    world.call(&method, &format!("{ROOT}{path}"), &world.token(caller).await, &body).await
}

async fn get(world: &World, caller: &str, path: &str) -> Shot {
    send(world, caller, Method::GET, path, &Value::Null).await
}

fn refused(shot: &Shot) -> (u16, String) {
    let error = &shot.json()["error"];
    assert!(error["message"].is_string() && error["code"] == shot.status.as_u16(), "{}", shot.body);
    (shot.status.as_u16(), error["type"].as_str().unwrap().to_owned())
}

fn forbidden() -> (u16, String) {
    (403, "ForbiddenException".to_owned())
}

async fn leases(world: &World) -> usize {
    world.memory.leases(&LeaseFilter { limit: 100, ..LeaseFilter::default() }).await.unwrap().len()
}

#[tokio::test]
async fn a_catalog_is_a_warehouse_of_its_account_alone() {
    let world = world().await;
    for path in ["/iceberg/v1/config", "/iceberg/v1/config?warehouse=lakehouse"] {
        let config = world.get("writer", path).await.json();
        assert_eq!(config["overrides"], json!({"prefix": "~lakehouse"}), "{path}");
        let endpoints = config["endpoints"].as_array().unwrap();
        assert!(endpoints.contains(&json!("POST /v1/{prefix}/namespaces/{namespace}/tables/{table}")));
    }
    assert_eq!(get(&world, "writer", "/namespaces").await.json()["namespaces"], json!([["db"], ["a", "b"]]));
    assert!(!get(&world, "writer", "/namespaces").await.body.contains("THEIRS"));
    assert_eq!(get(&world, "writer", "/namespaces/a%1Fb").await.json()["namespace"], json!(["a", "b"]));
    let listed = get(&world, "writer", "/namespaces/db/tables").await.json();
    assert_eq!(listed["identifiers"], json!([{"namespace": ["db"], "name": "own"}]));
    world.made.2.lakehouse.asked();
    // Another account's: there is no such warehouse, and nobody is asked.
    for path in
        ["/namespaces", "/namespaces/db/tables", "/namespaces/db/tables/own", "/namespaces/db/tables/own/credentials"]
    {
        assert_eq!(get(&world, "other", path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(world.get("other", "/iceberg/v1/config?warehouse=lakehouse").await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.made.2.lakehouse.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn a_table_comes_with_our_credential_and_nothing_of_the_catalogs() {
    let world = world().await;
    let loaded = get(&world, "writer", "/namespaces/db/tables/own").await;
    assert_eq!(loaded.status, StatusCode::OK, "{}", loaded.body);
    assert!(!loaded.body.contains("THEIRS") && !loaded.body.contains("elsewhere"), "{}", loaded.body);
    let told = loaded.json();
    assert_eq!(told["metadata"]["properties"], json!({"owner": "ann"}));
    let own = &told["storage-credentials"][0];
    assert_eq!(own["prefix"], "s3://lake/house/ann/own");
    let again = "v1/~lakehouse/namespaces/db/tables/own/credentials";
    assert_eq!(own["config"]["client.refresh-credentials-endpoint"], again);
    let vended = world.memory.leases(&LeaseFilter { limit: 1, ..LeaseFilter::default() }).await.unwrap();
    let rights = &vended[0].lease.rights;
    let covers = |key: &str, action| rights.covers("lake", key.as_bytes(), action);
    assert!(covers("house/ann/own/data/x", Action::PutObject) && covers("house/ann/own/data/x", Action::GetObject));
    assert!(!covers("house/ann/own/data/x", Action::DeleteObject), "it was not granted");
    assert!(!covers("house/ann/other/x", Action::GetObject) && !covers("house/ann/own2/x", Action::GetObject));
    let read = get(&world, "reader", "/namespaces/db/tables/daily").await;
    assert_eq!(read.status, StatusCode::OK, "{}", read.body);
    let vended = world.memory.leases(&LeaseFilter { limit: 1, ..LeaseFilter::default() }).await.unwrap();
    assert!(!vended[0].lease.rights.covers("lake", b"flights/daily/t/x", Action::PutObject));
    let credentials = get(&world, "reader", "/namespaces/db/tables/daily/credentials").await.json();
    assert_eq!(credentials["storage-credentials"][0]["prefix"], "s3://lake/flights/daily/t");
}

#[tokio::test]
async fn who_was_not_granted_the_directory_is_told_nothing_of_the_table() {
    let world = world().await;
    for name in ["beside", "secret", "foreign", "unknown", "odd", "up"] {
        for path in [format!("/namespaces/db/tables/{name}"), format!("/namespaces/db/tables/{name}/credentials")] {
            let shot = get(&world, "writer", &path).await;
            assert!(matches!(shot.status.as_u16(), 403 | 404), "{path}: {}", shot.body);
            assert!(!shot.body.contains("metadata\"") && !shot.body.contains("THEIRS"), "{}", shot.body);
        }
    }
    assert_eq!(refused(&get(&world, "reader", "/namespaces/db/tables/own").await), forbidden());
    assert_eq!(leases(&world).await, 0);
}

#[tokio::test]
async fn a_commit_is_passed_on_for_who_may_write_and_held_to_what_was_decided_on() {
    let world = world().await;
    let lakehouse = &world.made.2.lakehouse;
    let commit = |updates: &Value| json!({"requirements": [{"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": 1}], "updates": updates});
    let fine = commit(
        &json!([{"action": "add-snapshot", "snapshot": {}}, {"action": "set-properties", "updates": {"a": "b", "write.data.path": "s3://lake/house/ann/data"}}]),
    );
    let path = "/namespaces/db/tables/own";
    let done = send(&world, "writer", Method::POST, path, &fine).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.body);
    assert!(!done.body.contains("THEIRS") && done.json()["metadata-location"].is_string());
    let (line, sent) = lakehouse.asked.lock().unwrap().last().cloned().unwrap();
    assert_eq!(line, "POST namespaces/db/tables/own");
    assert_eq!(sent["requirements"][1], json!({"type": "assert-table-uuid", "uuid": "u-1"}));
    assert_eq!(sent["updates"], fine["updates"]);
    // Who may read alone, and whoever would have files be elsewhere.
    let asked = || lakehouse.asked().into_iter().filter(|line| !line.starts_with("GET")).collect::<Vec<_>>();
    asked();
    let plain = commit(&json!([]));
    assert_eq!(
        refused(&send(&world, "reader", Method::POST, "/namespaces/db/tables/daily", &plain).await),
        forbidden()
    );
    assert_eq!(
        refused(&send(&world, "writer", Method::POST, "/namespaces/db/tables/beside", &plain).await),
        forbidden()
    );
    for update in [
        json!({"action": "set-location", "location": "s3://lake/flights/daily-secret"}),
        json!({"action": "set-location", "location": "s3://lake/house/ann2"}),
        json!({"action": "set-properties", "updates": {"write.metadata.path": "s3://vault/t"}}),
        json!({"action": "set-properties", "updates": {"write.object-storage.path": "https://elsewhere.example"}}),
    ] {
        let shot = send(&world, "writer", Method::POST, path, &commit(&json!([update]))).await;
        assert!(matches!(shot.status.as_u16(), 403 | 404), "{update}: {}", shot.body);
    }
    for body in [
        commit(&json!([{"action": "move"}])),
        json!({"updates": [], "extra": 1}),
        json!({"identifier": {"namespace": ["db"], "name": "daily"}, "updates": []}),
    ] {
        let shot = send(&world, "writer", Method::POST, path, &body).await;
        assert_eq!(refused(&shot).0, 400, "{body}");
    }
    // A transaction is as many commits.
    let of = |name: &str| json!({"identifier": {"namespace": ["db"], "name": name}, "requirements": [], "updates": []});
    let both = json!({"table-changes": [of("own"), of("daily")]});
    assert_eq!(refused(&send(&world, "writer", Method::POST, "/transactions/commit", &both).await), forbidden());
    assert_eq!(asked(), Vec::<String>::new());
    lakehouse.on("POST transactions/commit", 204, Value::Null);
    let one = json!({"table-changes": [of("own")]});
    assert_eq!(send(&world, "writer", Method::POST, "/transactions/commit", &one).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn tables_are_made_where_the_caller_may_write_and_dropped_by_who_may_delete() {
    let world = world().await;
    let lakehouse = &world.made.2.lakehouse;
    let new = |location: Option<&str>| json!({"name": "new", "location": location, "schema": {"type": "struct"}, "properties": {}});
    let posts = || {
        let posted = |(line, sent): (String, Value)| line.starts_with("POST").then(|| sent["stage-create"].clone());
        std::mem::take(&mut *lakehouse.asked.lock().unwrap()).into_iter().filter_map(posted).collect::<Vec<_>>()
    };
    lakehouse.on("POST namespaces/db/tables", 200, table("s3://lake/house/ann/new"));
    let made = send(&world, "writer", Method::POST, "/namespaces/db/tables", &new(None)).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.body);
    assert!(made.json()["storage-credentials"][0]["config"]["s3.session-token"].is_string());
    // Where it would be is asked first.
    assert_eq!(posts(), [json!(true), json!(false)]);
    for location in ["s3://lake/house/ann2/new", "s3://vault/new"] {
        let shot = send(&world, "writer", Method::POST, "/namespaces/db/tables", &new(Some(location))).await;
        assert!(matches!(shot.status.as_u16(), 403 | 404), "{}", shot.body);
    }
    assert_eq!(posts(), Vec::<Value>::new());
    lakehouse.on("POST namespaces/db/tables", 200, table("s3://lake/flights/daily-secret/new"));
    assert_eq!(refused(&send(&world, "writer", Method::POST, "/namespaces/db/tables", &new(None)).await), forbidden());
    assert_eq!(posts(), [json!(true)], "nothing was made");
    // A file of another table is not registered as one's own.
    lakehouse.on("POST namespaces/db/register", 200, table("s3://lake/house/ann/r"));
    let register = |file: &str| json!({"name": "r", "metadata-location": file});
    let at = "/namespaces/db/register";
    let shot =
        send(&world, "writer", Method::POST, at, &register("s3://lake/house/ann/r/metadata/1.metadata.json")).await;
    assert_eq!(shot.status, StatusCode::OK, "{}", shot.body);
    for (file, status) in
        [("s3://lake/flights/daily-secret/t/metadata/1.metadata.json", 403), ("s3://lake/house/ann/r/1.json", 400)]
    {
        assert_eq!(send(&world, "writer", Method::POST, at, &register(file)).await.status.as_u16(), status, "{file}");
    }
    // The writer was not granted to delete.
    lakehouse.asked();
    let path = "/namespaces/db/tables/own";
    assert_eq!(refused(&send(&world, "writer", Method::DELETE, path, &Value::Null).await), forbidden());
    let rename =
        json!({"source": {"namespace": ["db"], "name": "own"}, "destination": {"namespace": ["db"], "name": "x"}});
    assert_eq!(refused(&send(&world, "writer", Method::POST, "/tables/rename", &rename).await), forbidden());
    assert!(lakehouse.asked().iter().all(|line| line.starts_with("GET")));
    // Namespaces are an admin's.
    lakehouse.on("POST namespaces", 200, json!({"namespace": ["n"], "properties": {}}));
    let namespace = json!({"namespace": ["n"]});
    assert_eq!(refused(&send(&world, "writer", Method::POST, "/namespaces", &namespace).await), forbidden());
    assert_eq!(send(&world, "boss", Method::POST, "/namespaces", &namespace).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_the_catalog_refuses_is_told_in_its_words_and_what_nobody_knows_as_unknown() {
    let world = world().await;
    let lakehouse = &world.made.2.lakehouse;
    let commit = json!({"requirements": [], "updates": []});
    let line = "POST namespaces/db/tables/own";
    for (status, kind, expected) in [
        (409, "CommitFailedException", (409, "CommitFailedException")),
        (404, "NoSuchTableException", (404, "NoSuchTableException")),
        (400, "BadRequestException", (400, "BadRequestException")),
        (0, "", (504, "CommitStateUnknownException")),
    ] {
        lakehouse.on(line, status, json!({"error": {"message": "because AKIAIOSFODNN7EXAMPLE/wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY", "type": kind, "code": status}}));
        let shot = send(&world, "writer", Method::POST, "/namespaces/db/tables/own", &commit).await;
        assert_eq!(refused(&shot), (expected.0, expected.1.to_owned()));
        assert!(!shot.body.contains("wJalrXUtn"), "{}", shot.body);
    }
    lakehouse.on("GET namespaces/db/tables/own", 0, Value::Null);
    assert_eq!(
        refused(&get(&world, "writer", "/namespaces/db/tables/own").await),
        (504, "ServiceFailureException".into())
    );
    lakehouse.on("GET namespaces/db/tables/own", 200, json!({"metadata": {"format-version": 2}}));
    assert_eq!(get(&world, "writer", "/namespaces/db/tables/own").await.status.as_u16(), 400);
    lakehouse.on("GET namespaces", 200, json!(["no"]));
    assert_eq!(refused(&get(&world, "writer", "/namespaces").await), (502, "ServiceFailureException".into()));
    assert_eq!(leases(&world).await, 0);
}

#[tokio::test]
async fn a_token_that_is_ended_while_the_catalog_is_asked_changes_nothing() {
    let world = world().await;
    let lakehouse = Arc::clone(&world.made.2.lakehouse);
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    *lakehouse.hold.lock().unwrap() = Some(Arc::clone(&gate));
    let (id, token) = world.token_of("writer", None).await;
    let by = Revoker { by: world.caller_of("root").await, at: world.clock.now() };
    let path = format!("{ROOT}/namespaces/db/tables/own");
    let commit = json!({"requirements": [], "updates": []}).to_string();
    let revoking = async {
        while lakehouse.asked.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        world.memory.revoke_token(id, by).await.unwrap();
        gate.add_permits(10);
    };
    let (shot, ()) = tokio::join!(world.call(&Method::POST, &path, &token, &commit), revoking);
    assert_eq!(refused(&shot).0, 401);
    assert_eq!(lakehouse.asked(), ["GET namespaces/db/tables/own"]);
}

#[tokio::test]
async fn who_wants_no_credential_costs_no_lease() {
    let world = world().await;
    let request = http::Request::builder()
        .uri(format!("{ROOT}/namespaces/db/tables/own"))
        .header("authorization", format!("Bearer {}", world.token("writer").await))
        .header("x-iceberg-access-delegation", "none")
        .body(axum::body::Body::empty())
        .unwrap();
    let shot = world.send(request).await;
    assert_eq!((shot.status, shot.json()["storage-credentials"].clone()), (StatusCode::OK, json!([])));
    assert_eq!(leases(&world).await, 0);
}
