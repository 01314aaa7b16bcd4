//! A server set up by hand, driven by the command line.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::process::{Server, answered, ran, valetkey};

pub(crate) fn init(dir: &Path) -> String {
    let said = answered(&mut valetkey(&["server", "init", "--data-dir", dir.to_str().unwrap(), "--output", "json"]));
    said["operator_token"].as_str().unwrap().to_owned()
}

pub(crate) fn run(dir: &Path) -> Server {
    let dir = dir.to_str().unwrap();
    let listen = ["--api-listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0"];
    Server::start(valetkey(&["server", "run", "--data-dir", dir, "--output", "json"]).args(listen))
}

pub(crate) fn client(server: &Server, token: &str, args: &[&str]) -> Command {
    let mut command = valetkey(args);
    command.env("VALETKEY_SERVER", server.api()).env("VALETKEY_TOKEN", token).args(["--output", "json"]);
    command
}

#[test]
fn an_operator_sets_up_an_account_and_its_caller_gets_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let operator = init(dir.path());
    let server = run(dir.path());
    let by = |args: &[&str]| answered(&mut client(&server, &operator, args));
    by(&["account", "create", "acme"]);
    by(&["bucket", "create", "lake"]);
    let token = by(&["token", "create", "--account", "acme", "etl"])["token"].as_str().unwrap().to_owned();
    by(&[
        "grant",
        "create",
        "jobs",
        "--account",
        "acme",
        "--caller",
        "etl",
        "--access",
        "read-write",
        "s3://lake/jobs/daily",
    ]);

    let keys = answered(&mut client(&server, &token, &["creds", "jobs", "--format", "json"]));
    let id = keys["access_key_id"].as_str().unwrap();
    assert_eq!(by(&["whose", id])["lease_id"], keys["lease_id"]);

    let sibling = ran(&mut client(&server, &token, &["creds", "s3://lake/jobs/daily-secret"]));
    assert_eq!(sibling.status.code(), Some(4), "{}", String::from_utf8_lossy(&sibling.stderr));
    let missing = ran(&mut client(&server, &token, &["creds", "s3://pond/x"]));
    assert_eq!(missing.status.code(), Some(5), "{}", String::from_utf8_lossy(&missing.stderr));

    by(&["lease", "revoke", keys["lease_id"].as_str().unwrap()]);
    let why = answered(&mut client(&server, &token, &["explain", "get-object", "s3://lake/jobs/daily/x"]));
    assert_eq!(why["allowed"], Value::Bool(true));
    server.stop();
}

#[test]
fn a_second_init_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let operator = init(dir.path());
    let again = ran(&mut valetkey(&["server", "init", "--data-dir", dir.path().to_str().unwrap()]));
    assert_eq!(again.status.code(), Some(1));
    let server = run(dir.path());
    let me = answered(&mut client(&server, &operator, &["whoami"]));
    assert_eq!(me["role"], "operator");
    server.stop();
}

#[test]
fn a_second_server_on_a_directory_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let operator = init(dir.path());
    let server = run(dir.path());
    let storages = || answered(&mut client(&server, &operator, &["storage", "ls"]));
    let before = storages();
    let dir = dir.path().to_str().unwrap();
    let demos = tempfile::tempdir().unwrap();
    let demo = Server::dev(demos.path());
    for (args, dir) in [(["server", "run"].as_slice(), dir), (&["dev"], demos.path().to_str().unwrap())] {
        let listen = ["--data-dir", dir, "--api-listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0"];
        let second = ran(valetkey(args).args(listen));
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        assert_eq!(second.status.code(), Some(1), "{said}");
        assert!(said.contains("another server runs on the data directory"), "{said}");
    }
    demo.stop();
    assert_eq!(storages(), before);
    server.stop();
}

#[test]
fn an_operator_ends_what_a_caller_of_another_account_holds_by_both_names() {
    let dir = tempfile::tempdir().unwrap();
    let operator = init(dir.path());
    let server = run(dir.path());
    let by = |args: &[&str]| answered(&mut client(&server, &operator, args));
    by(&["account", "create", "acme"]);
    by(&["bucket", "create", "lake"]);
    let token = by(&["token", "create", "--account", "acme", "etl"])["token"].as_str().unwrap().to_owned();
    by(&["grant", "create", "jobs", "--account", "acme", "--caller", "etl", "s3://lake/jobs"]);
    let vend = || answered(&mut client(&server, &token, &["creds", "jobs", "--format", "json", "--no-cache"]));
    vend();
    let alone = ran(&mut client(&server, &operator, &["revoke", "--caller", "etl"]));
    assert_eq!(alone.status.code(), Some(5), "{}", String::from_utf8_lossy(&alone.stderr));
    assert!(String::from_utf8_lossy(&alone.stderr).contains("account/name"));
    assert_eq!(by(&["revoke", "--caller", "acme/etl"])["ended"], 1);
    vend();
    assert_eq!(by(&["revoke", "--grant", "acme/jobs"])["ended"], 1);
    server.stop();
}

#[test]
fn without_init_it_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let output = ran(&mut valetkey(&["server", "run", "--data-dir", dir.path().to_str().unwrap()]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("valetkey server init"), "{said}");
}

#[test]
fn an_open_address_without_tls_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let dir = dir.path().to_str().unwrap();
    let output = ran(&mut valetkey(&["server", "run", "--data-dir", dir, "--api-listen", "0.0.0.0:0"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("without TLS"));
}

#[test]
fn keys_rotate_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let operator = init(dir.path());
    let server = run(dir.path());
    let rotated = ran(&mut valetkey(&["server", "rotate-keys", "--data-dir", dir.path().to_str().unwrap()]));
    assert!(rotated.status.success());
    server.signal("HUP");
    let me = answered(&mut client(&server, &operator, &["whoami"]));
    assert_eq!(me["role"], "operator");
    server.stop();
}

#[tokio::test]
async fn figures_say_what_they_mean_and_logs_who_was_refused() {
    let dir = tempfile::tempdir().unwrap();
    let operator = init(dir.path());
    let server = run(dir.path());
    let refused = ran(&mut client(&server, &operator, &["creds", "nothing", "--format", "json"]));
    assert_eq!(refused.status.code(), Some(5));
    let s3 = server.ready["s3"].as_str().unwrap().to_owned();
    let http = reqwest::Client::new();
    let url = format!(
        "{s3}/a-bucket/some/key%20x?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=VKx%2F20260101%2Fauto%2Fs3%2Faws4_request&X-Amz-Date=20260101T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00"
    );
    assert_eq!(http.get(&url).send().await.unwrap().status(), 403);
    assert!(ran(&mut client(&server, &operator, &["revoke", "--account", "operators"])).status.success());
    let figures = http.get(format!("{}/metrics", server.api())).bearer_auth(&operator).send().await.unwrap();
    let figures = figures.text().await.unwrap();
    for wanted in [
        "# HELP vk_revocations_total Revocations",
        "# TYPE vk_revocations_total counter",
        "vk_revocations_total{what=\"account\"} 1",
        "# HELP process_resident_memory_bytes",
        "process_open_fds ",
        "vk_disk_free_bytes ",
        "vk_leases_live 0",
        "vk_tokens_ending_soon 0",
        "# HELP vk_s3_requests_total",
    ] {
        assert!(figures.contains(wanted), "{wanted}: {figures}");
    }
    let said = server.stop();
    let line =
        |words: &str| said.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{words}: {said}"));
    let s3 = line("\"s3.code\":\"SignatureDoesNotMatch\"");
    for part in ["\"s3.bucket\":\"a-bucket\"", "\"s3.key\":\"some/key x\"", "\"client.address\":\"127.0.0.1\""] {
        assert!(s3.contains(part), "{part}: {s3}");
    }
    assert!(!s3.contains("X-Amz-Signature"), "{s3}");
    assert!(line("\"dialect\":\"native\"").contains("\"client.address\":\"127.0.0.1\""));
}
