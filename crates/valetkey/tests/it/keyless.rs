//! A storage without a kept secret, from the command line to a stub of STS: what the server publishes is what checks the token it sends.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::process::{Server, answered, ran, valetkey};
use crate::server::{client, init};

const ISSUER: &str = "https://valetkey.example.com";

/// An STS that gives whatever it is asked for, and remembers the tokens.
async fn sts() -> (String, Arc<Mutex<Vec<String>>>) {
    let tokens: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&tokens);
    let router = axum::Router::new().fallback(move |body: Bytes| {
        let form = String::from_utf8(body.to_vec()).unwrap();
        let token = form.split('&').find_map(|field| field.strip_prefix("WebIdentityToken="));
        kept.lock().unwrap().push(token.unwrap_or_default().to_owned());
        let end = jiff::Timestamp::from_second(now() + 3590).unwrap();
        let text = format!(
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIAGIVEN</AccessKeyId>\
             <SecretAccessKey>given-secret</SecretAccessKey><SessionToken>given-token</SessionToken><Expiration>{end}</Expiration>\
             </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        );
        async move { text }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
    (url, tokens)
}

#[expect(clippy::disallowed_methods, reason = "the stub's clock is the machine's, as the server's is")]
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn run(dir: &Path, issuer: &str) -> Server {
    let listen = ["--api-listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0"];
    let mut command = valetkey(&["server", "run", "--data-dir", dir.to_str().unwrap(), "--output", "json"]);
    command.env("VALETKEY_ISSUER__URL", issuer).env("VALETKEY_UPSTREAM__MACHINE_IDENTITY_HOSTS", "127.0.0.1");
    Server::start(command.args(listen))
}

async fn published(server: &Server) -> BTreeSet<String> {
    let url = format!("{}/.well-known/jwks.json", server.api());
    let keys: Value = serde_json::from_slice(&reqwest::get(url).await.unwrap().bytes().await.unwrap()).unwrap();
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn part(token: &str, at: usize) -> Value {
    let part = token.split('.').nth(at).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_is_moved_from_a_kept_secret_to_the_servers_own_tokens() {
    let (dir, (url, tokens)) = (tempfile::tempdir().unwrap(), sts().await);
    let operator = init(dir.path());
    let server = run(dir.path(), ISSUER);
    let by = |server: &Server, args: &[&str]| answered(&mut client(server, &operator, args));
    let (keys, none) = (dir.path().join("keys.json"), dir.path().join("none.json"));
    std::fs::write(&keys, r#"{"access_key_id": "AKIAKEPT", "secret_access_key": "kept-secret"}"#).unwrap();
    std::fs::write(&none, "{}").unwrap();
    let (keys, none) = (keys.to_str().unwrap(), none.to_str().unwrap());
    let endpoint = format!("sts_endpoint={url}");
    let role = "role_arn=arn:aws:iam::123456789012:role/lake";
    let create = ["storage", "create", "lake", "--kind", "sts", "--set", "region=eu-west-1", "--set", role];
    by(&server, &[&create[..], &["--set", &endpoint, "--secrets-from", keys]].concat());
    by(&server, &["bucket", "create", "lake", "--storage", "lake"]);
    by(&server, &["account", "create", "acme"]);
    let token = by(&server, &["token", "create", "--account", "acme", "etl"])["token"].as_str().unwrap().to_owned();
    by(
        &server,
        &["grant", "create", "jobs", "--account", "acme", "--caller", "etl", "--access", "read", "s3://lake/jobs"],
    );

    // With the secret still kept it is refused, and goes nowhere.
    let change = ["storage", "change", "lake", "--set", "identity.kind=valetkey"];
    let refused = ran(&mut client(&server, &operator, &change));
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("has no use for secrets"));
    let shown = by(&server, &[&change[..], &["--secrets-from", none]].concat());
    assert_eq!(shown["has_secrets"], false, "{shown}");

    let vend =
        |server: &Server| answered(&mut client(server, &token, &["creds", "jobs", "--format", "json", "--no-cache"]));
    assert_eq!(vend(&server)["access_key_id"], "ASIAGIVEN");
    let first = tokens.lock().unwrap().last().unwrap().clone();
    assert_eq!((&part(&first, 1)["sub"], &part(&first, 1)["iss"]), (&json!("storage:sts:lake"), &json!(ISSUER)));
    let kid = |token: &str| part(token, 0)["kid"].as_str().unwrap().to_owned();
    assert!(published(&server).await.contains(&kid(&first)));

    // The next keys are published and do not sign; one that is withdrawn is gone.
    let rotated = by(&server, &["server", "rotate-signing-keys"]);
    let next = |key: &&Value| key["state"] == "next";
    assert_eq!(rotated["signing_keys"].as_array().unwrap().iter().filter(next).count(), 2, "{rotated}");
    assert_eq!(published(&server).await.len(), 4);
    by(&server, &["server", "withdraw-signing-key", &kid(&first)]);
    assert!(!published(&server).await.contains(&kid(&first)));
    let me = ran(&mut client(&server, &first, &["whoami"]));
    assert!(!me.status.success(), "nobody is a caller by it");

    // With another keyring key, and after a restart, the keys are what they were.
    let before = published(&server).await;
    answered_or_quiet(dir.path());
    let log = server.stop();
    let server = run(dir.path(), ISSUER);
    assert_eq!(published(&server).await, before);
    by(&server, &["storage", "change", "lake", "--set", "timeout_ms=9000"]);
    vend(&server);
    let second = tokens.lock().unwrap().last().unwrap().clone();
    assert!(kid(&second) != kid(&first) && before.contains(&kid(&second)));
    let changes = by(&server, &["audit"]);
    let log = log + &server.stop();
    for said in [log, changes.to_string()] {
        assert!(!said.contains(&second) && !said.contains(first.rsplit('.').next().unwrap()), "{said}");
    }
}

fn answered_or_quiet(dir: &Path) {
    let output = ran(valetkey(&["server", "rotate-keys"]).args(["--data-dir", dir.to_str().unwrap()]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_issuer_there_are_no_documents_and_no_such_storages() {
    let dir = tempfile::tempdir().unwrap();
    let operator = init(dir.path());
    let server = run(dir.path(), "");
    for path in ["/.well-known/openid-configuration", "/.well-known/jwks.json"] {
        assert_eq!(reqwest::get(format!("{}{path}", server.api())).await.unwrap().status().as_u16(), 404, "{path}");
    }
    let create = ["storage", "create", "lake", "--kind", "sts", "--set", "region=eu-west-1"];
    let more = ["--set", "role_arn=arn:aws:iam::123456789012:role/lake", "--set", "identity.kind=valetkey"];
    let refused = ran(&mut client(&server, &operator, &[&create[..], &more].concat()));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("issuer.url"), "{refused:?}");
    assert!(!ran(&mut client(&server, &operator, &["server", "signing-keys"])).status.success());
    let typo = ran(valetkey(&["server", "check-config"]).env("VALETKEY_ISSUER__URL", "https://Valetkey.example.com/"));
    let said = String::from_utf8_lossy(&typo.stderr).into_owned();
    assert!(!typo.status.success() && said.contains("write it as https://valetkey.example.com"), "{said}");
}
