//! Checks of storages: the real endpoint, asked over the real API by the real command line.

use std::process::Command;

use serde_json::Value;

use crate::process::{Server, answered, ran, valetkey};

fn set_up(dir: &std::path::Path) -> (Server, String) {
    set_up_with(dir, &[])
}

fn set_up_with(dir: &std::path::Path, settings: &[(&str, &str)]) -> (Server, String) {
    let dir = dir.to_str().unwrap();
    let said = answered(&mut valetkey(&["server", "init", "--data-dir", dir, "--output", "json"]));
    let listen = ["--api-listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0"];
    let server = Server::start(
        valetkey(&["server", "run", "--data-dir", dir, "--output", "json"]).args(listen).envs(settings.iter().copied()),
    );
    (server, said["operator_token"].as_str().unwrap().to_owned())
}

fn client(server: &Server, token: &str, args: &[&str]) -> Command {
    let mut command = valetkey(args);
    command.env("VALETKEY_SERVER", server.api()).env("VALETKEY_TOKEN", token).args(["--output", "json"]);
    command
}

fn statuses(report: &Value, status: &str) -> Vec<String> {
    let rows = report["checks"].as_array().unwrap().iter();
    rows.filter(|row| row["status"] == status).map(|row| row["check"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn our_own_endpoint_passes_its_check() {
    let dir = tempfile::tempdir().unwrap();
    let (server, operator) = set_up(dir.path());
    let by = |args: &[&str]| answered(&mut client(&server, &operator, args));
    let none = ran(&mut client(&server, &operator, &["storage", "check", "embedded"]));
    assert_eq!(none.status.code(), Some(2), "there is no bucket: {}", String::from_utf8_lossy(&none.stderr));

    by(&["bucket", "create", "lake"]);
    let report = by(&["storage", "check", "embedded", "--bucket", "lake"]);
    assert_eq!(report["passed"], Value::Bool(true), "{report:#}");
    assert_eq!(
        statuses(&report, "skipped"),
        ["credential-elsewhere", "plant-elsewhere", "planted-elsewhere", "get-elsewhere"]
    );

    by(&["bucket", "create", "pond"]);
    let report = by(&["storage", "check", "embedded"]);
    assert_eq!(report["passed"], Value::Bool(true), "{report:#}");
    assert_eq!(statuses(&report, "passed").len(), report["checks"].as_array().unwrap().len(), "{report:#}");
    assert_eq!(report["left"], Value::Array(Vec::new()));

    let leases = by(&["lease", "ls"]);
    assert_eq!(leases["leases"].as_array().unwrap().len(), 7, "three and four: {leases:#}");
    let said = by(&["server", "check-config", "--storages"]);
    assert_eq!(said["storages"][0]["passed"], Value::Bool(true), "{said:#}");
    assert!(said["settings"].is_array());
    server.stop();
}

#[test]
fn a_gateway_to_a_plain_disk_passes_its_check() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // What it may serve was allowed by who started it; its own files are never among it.
    let allowed = format!("{},{}", disk.path().display(), dir.path().display());
    let (server, operator) = set_up_with(dir.path(), &[("VALETKEY_GATEWAY__LOCAL_ROOTS", &allowed)]);
    let by = |args: &[&str]| answered(&mut client(&server, &operator, args));
    std::fs::create_dir(disk.path().join("plain")).unwrap();
    let root = |path: &std::path::Path| format!("root={}", path.display());
    let create = |name, root: &str| {
        let args = ["storage", "create", name, "--kind", "gateway", "--set", "backend=local", "--set", root];
        ran(&mut client(&server, &operator, &args))
    };
    let above = disk.path().parent().unwrap();
    for (refused, why) in [
        (root(above), "gateway.local_roots"),
        (root(dir.path()), "own data"),
        (root(&dir.path().join("objects")), "own data"),
        (root(&disk.path().join("none")), "is not there"),
    ] {
        let done = create("refused", &refused);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && said.contains(why), "{refused}: {said}");
    }
    assert!(create("disk", &root(disk.path())).status.success());
    by(&["bucket", "create", "--storage", "disk", "plain"]);
    let report = by(&["storage", "check", "disk"]);
    assert_eq!((&report["passed"], &report["kind"]), (&Value::Bool(true), &Value::from("gateway")), "{report:#}");
    server.stop();
}

#[test]
fn a_store_that_cannot_be_reached_fails_its_check() {
    let dir = tempfile::tempdir().unwrap();
    let (server, operator) = set_up(dir.path());
    let by = |args: &[&str]| answered(&mut client(&server, &operator, args));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    by(&[
        "storage",
        "create",
        "gone",
        &nowhere,
        "--kind",
        "r2",
        "--set",
        "account_id=0123456789abcdef0123456789abcdef",
        "--set",
        "parent_access_key_id=0123456789abcdef0123456789abcdef",
        "--secrets-from",
        secrets(dir.path()).as_str(),
    ]);
    by(&["bucket", "create", "--storage", "gone", "far"]);
    let checked = ran(&mut client(&server, &operator, &["storage", "check", "gone"]));
    assert_eq!(checked.status.code(), Some(1), "{}", String::from_utf8_lossy(&checked.stderr));
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(report["passed"], Value::Bool(false));
    assert_eq!(statuses(&report, "failed"), ["plant", "clean-up"], "{report:#}");
    let text = report.to_string();
    assert!(text.contains("cannot be reached") && !text.contains("hush-hush-parent"), "{text}");
    let all = ran(&mut client(&server, &operator, &["server", "check-config", "--storages"]));
    assert_eq!(all.status.code(), Some(1), "{}", String::from_utf8_lossy(&all.stderr));
    server.stop();
}

fn secrets(dir: &std::path::Path) -> String {
    let path = dir.join("secrets.json");
    std::fs::write(&path, r#"{"secret_access_key":"hush-hush-parent"}"#).unwrap();
    path.to_str().unwrap().to_owned()
}
