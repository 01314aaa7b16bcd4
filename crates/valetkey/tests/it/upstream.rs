//! A store that somebody else runs, as the server's callers see it: one call for many, an outage nobody notices, a budget,
//! and credentials that are nobody else's.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::{Method, StatusCode};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::process::{Server, answered, valetkey};

/// What the server's own credentials at the store are: to be seen nowhere.
pub(crate) const PARENT_SECRET: &str = "parent-secret-that-nobody-sees";

/// What the stub does with calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mood {
    /// Reads them, and answers later.
    Holds,
    Gives,
    /// `400 Throttling`.
    Throttles,
    /// `503`.
    Fails,
}

/// An STS.
struct Sts {
    address: SocketAddr,
    mood: watch::Sender<Mood>,
    /// The calls that were given a credential.
    calls: Arc<Mutex<Vec<String>>>,
}

impl Sts {
    async fn start() -> Self {
        let (mood, seen) = watch::channel(Mood::Gives);
        let calls: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&calls);
        let router = axum::Router::new().fallback(move |body: Bytes| {
            let (mut seen, kept) = (seen.clone(), Arc::clone(&kept));
            async move {
                let mood = *seen.wait_for(|mood| *mood != Mood::Holds).await.unwrap();
                answer(mood, &kept, String::from_utf8(body.to_vec()).unwrap())
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
        Self { address, mood, calls }
    }

    fn mood(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

fn answer(mood: Mood, calls: &Mutex<Vec<String>>, form: String) -> (StatusCode, String) {
    let refusal = |code: &str| {
        format!(
            "<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error><RequestId>n</RequestId></ErrorResponse>"
        )
    };
    match mood {
        Mood::Throttles => return (StatusCode::BAD_REQUEST, refusal("Throttling")),
        Mood::Fails => return (StatusCode::SERVICE_UNAVAILABLE, refusal("ServiceUnavailable")),
        Mood::Gives | Mood::Holds => {}
    }
    let mut calls = calls.lock().unwrap();
    calls.push(form);
    let number = calls.len();
    let end = jiff::Timestamp::from_second(now() + 3590).unwrap();
    let text = format!(
        "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA{number}</AccessKeyId>\
         <SecretAccessKey>given-secret-{number}</SecretAccessKey><SessionToken>given-token-{number}</SessionToken>\
         <Expiration>{end}</Expiration></Credentials></AssumeRoleResult>\
         <ResponseMetadata><RequestId>request-{number}</RequestId></ResponseMetadata></AssumeRoleResponse>"
    );
    (StatusCode::OK, text)
}

#[expect(clippy::disallowed_methods, reason = "the stub's clock is the machine's, as the server's is")]
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// A server with one such store: account `acme`, callers `ada` and `bob`, the grant `data` for both.
pub(crate) struct World {
    sts: Sts,
    pub(crate) server: Server,
    pub(crate) http: reqwest::Client,
    operator: String,
    pub(crate) ada: String,
    bob: String,
    _dir: tempfile::TempDir,
}

/// What the API answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    retry_after: Option<String>,
    body: Value,
}

impl Answer {
    /// The key that was vended.
    fn key(&self) -> &str {
        assert_eq!(self.status, 200, "{self:?}");
        self.body["access_key_id"].as_str().unwrap()
    }
}

impl World {
    /// With what is said of the store beside where it is.
    async fn start(more: Value) -> Self {
        Self::start_with(more, &[]).await
    }

    /// The same with more in the server's environment.
    pub(crate) async fn start_with(more: Value, environment: &[(&str, &str)]) -> Self {
        let sts = Sts::start().await;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let said = answered(&mut valetkey(&["server", "init", "--data-dir", path, "--output", "json"]));
        let listen = ["--api-listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0"];
        let server = Server::start(
            valetkey(&["server", "run", "--data-dir", path, "--output", "json"])
                .args(listen)
                // A thousand who ask at once are one address and one account here.
                .env("VALETKEY_LIMITS__CREDENTIALS", "")
                .env("VALETKEY_LIMITS__REQUESTS", "")
                .envs(environment.iter().copied()),
        );
        let operator = said["operator_token"].as_str().unwrap().to_owned();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut world = Self { sts, server, http, operator, ada: String::new(), bob: String::new(), _dir: dir };
        let mut store = json!({
            "name": "far", "kind": "sts", "endpoint": "http://127.0.0.1:1", "settings": world.settings("one"),
            "secrets": {"access_key_id": "AKIDPARENT", "secret_access_key": PARENT_SECRET},
        });
        store.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.made("storages", store).await;
        world.made("accounts", json!({"name": "acme"})).await;
        world.made("buckets", json!({"bucket": "lake", "storage": "far"})).await;
        let grant = json!({"account": "acme", "name": "data", "to": null, "bucket": "lake", "prefix": "data"});
        for caller in ["ada", "bob"] {
            let token = world.made("tokens", json!({"account": "acme", "caller": caller})).await["token"].clone();
            let token = token.as_str().unwrap().to_owned();
            if caller == "ada" { world.ada = token } else { world.bob = token }
        }
        world.made("grants", grant).await;
        world
    }

    /// The store's settings, with a role of that name.
    fn settings(&self, role: &str) -> Value {
        json!({
            "sts_endpoint": format!("http://{}", self.sts.address), "region": "eu-west-1",
            "role_arn": format!("arn:aws:iam::123456789012:role/{role}"),
        })
    }

    async fn ask(&self, method: Method, path: &str, token: &str, body: Option<Value>) -> Answer {
        let request = self.http.request(method, format!("{}/api/v1/{path}", self.server.api())).bearer_auth(token);
        let answer = match body {
            Some(body) => request.json(&body).send().await,
            None => request.send().await,
        };
        let answer = answer.unwrap();
        let (status, retry_after) = (answer.status().as_u16(), answer.headers().get("retry-after").cloned());
        let text = answer.text().await.unwrap();
        assert!(!text.contains(PARENT_SECRET) && !text.contains("AKIDPARENT"), "{text}");
        let body = serde_json::from_str(&text).unwrap();
        Answer { status, retry_after: retry_after.map(|value| value.to_str().unwrap().to_owned()), body }
    }

    async fn made(&self, what: &str, body: Value) -> Value {
        let answer = self.ask(Method::POST, what, &self.operator, Some(body)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body
    }

    async fn change(&self, body: Value) {
        let answer = self.ask(Method::PATCH, "storages/far", &self.operator, Some(body)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    async fn vend(&self, token: &str, prefix: &str) -> Answer {
        let ask = json!({"grant": "data", "prefix": format!("data/{prefix}")});
        self.ask(Method::POST, "credentials", token, Some(ask)).await
    }

    /// Every lease there is.
    async fn leases(&self) -> Vec<Value> {
        let mut leases: Vec<Value> = Vec::new();
        loop {
            let before = leases.last().map(|lease| format!("&before={}", lease["lease_id"].as_str().unwrap()));
            let path = format!("leases?limit=100{}", before.unwrap_or_default());
            let page = self.ask(Method::GET, &path, &self.operator, None).await;
            leases.extend(page.body["leases"].as_array().unwrap().iter().cloned());
            if page.body["next_before"].is_null() {
                return leases;
            }
        }
    }

    /// Ends the server, and checks that what it logged has no secret in it.
    pub(crate) fn stop(self) -> String {
        let said = self.server.stop();
        assert!(!said.contains(PARENT_SECRET) && !said.contains("given-"), "{said}");
        said
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_who_ask_alike_cost_one_call_and_each_is_on_record() {
    const COUNT: usize = 1000;
    let world = World::start(json!({})).await;
    world.sts.mood(Mood::Holds);
    let asked = join_all((0..COUNT).map(|_| world.vend(&world.ada, "a")));
    let released = async {
        // Each has its lease before the store is asked: when all are there, all of them wait.
        while world.leases().await.len() < COUNT {}
        world.sts.mood(Mood::Gives);
    };
    let (answers, ()) = tokio::join!(asked, released);
    assert_eq!(world.sts.calls().len(), 1);
    for answer in &answers {
        assert_eq!((answer.key(), &answer.body["session_token"]), ("ASIA1", &json!("given-token-1")));
    }
    // One more, now that it is kept.
    assert_eq!(world.vend(&world.ada, "a").await.key(), "ASIA1");
    let leases = world.leases().await;
    assert_eq!(leases.len(), COUNT + 1);
    for lease in &leases {
        assert_eq!(lease["store_key_id"], "ASIA1", "{lease}");
        assert_eq!(lease["store_request_id"], "request-1", "{lease}");
        assert!(lease["store_expires"].is_string() && lease["state"] == "live", "{lease}");
    }
    world.stop();
}

#[tokio::test]
async fn while_a_credential_is_kept_an_outage_is_nobodys_failure() {
    let world = World::start(json!({})).await;
    assert_eq!(world.vend(&world.ada, "a").await.key(), "ASIA1");
    for (mood, status) in [(Mood::Fails, 502), (Mood::Throttles, 429)] {
        world.sts.mood(mood);
        // Another scope is refused, and that takes nothing from the one that is kept.
        let refused = world.vend(&world.ada, &format!("b-{mood:?}")).await;
        assert_eq!(refused.status, status, "{refused:?}");
        assert!(refused.retry_after.is_some(), "{refused:?}");
        for answer in join_all((0..50).map(|_| world.vend(&world.ada, "a"))).await {
            assert_eq!(answer.key(), "ASIA1");
        }
    }
    world.sts.mood(Mood::Gives);
    let states: Vec<Value> = world.leases().await.iter().map(|lease| lease["state"].clone()).collect();
    assert_eq!(states.iter().filter(|state| **state == "live").count(), 101, "{states:?}");
    world.stop();
}

#[tokio::test]
async fn beyond_the_budget_it_says_when_to_come_again() {
    let world = World::start(json!({"calls_per_sec": 1, "burst": 2})).await;
    let prefixes: Vec<String> = (0..20).map(|number| format!("d{number}")).collect();
    let answers = join_all(prefixes.iter().map(|prefix| world.vend(&world.ada, prefix))).await;
    let (given, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!(world.sts.calls().len(), given.len());
    assert!((2..20).contains(&given.len()), "{}", given.len());
    for answer in &refused {
        assert_eq!(answer.status, 429, "{answer:?}");
        assert!(answer.retry_after.as_ref().is_some_and(|secs| secs.parse::<u32>().unwrap() >= 1), "{answer:?}");
    }
    // What is kept needs no call, and so no budget.
    let kept = given.first().unwrap();
    let prefix = kept.body["prefixes"][0].as_str().unwrap().strip_prefix("data/").unwrap().to_owned();
    for _ in 0..10 {
        assert_eq!(world.vend(&world.ada, &prefix).await.key(), kept.key());
    }
    world.stop();
}

#[tokio::test]
async fn a_credential_is_its_callers_alone_until_the_operator_lets_them_share_and_a_change_ends_it() {
    let world = World::start(json!({})).await;
    let key = async |token: &str| world.vend(token, "a").await.key().to_owned();
    assert_eq!((key(&world.ada).await, key(&world.bob).await), ("ASIA1".into(), "ASIA2".into()));
    assert_eq!((key(&world.ada).await, key(&world.bob).await), ("ASIA1".into(), "ASIA2".into()));
    let session = |form: &str| {
        form.split('&').find_map(|field| field.strip_prefix("RoleSessionName=")).map(str::to_owned).unwrap()
    };
    let sessions: Vec<String> = world.sts.calls().iter().map(|form| session(form)).collect();
    assert_ne!(sessions[0], sessions[1], "the store's log tells them apart");

    world.change(json!({"sharing": "anyone"})).await;
    assert_eq!((key(&world.ada).await, key(&world.bob).await), ("ASIA3".into(), "ASIA3".into()));

    // With another role: nothing that the old one gave is handed out any more.
    world.change(json!({"settings": world.settings("two"), "sharing": "caller"})).await;
    assert_eq!((key(&world.ada).await, key(&world.bob).await), ("ASIA4".into(), "ASIA5".into()));
    let calls = world.sts.calls();
    assert!(calls[2].contains("role%2Fone") && calls[3].contains("role%2Ftwo"), "{calls:?}");
    assert_eq!(calls.len(), 5);
    world.stop();
}
