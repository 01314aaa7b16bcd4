//! A keyring that is lost, another's, older or everybody's; and commands on a directory that is in use.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::process::{Server, answered, ran, valetkey};
use crate::server::{client, init, run};

const LISTEN: [&str; 4] = ["--api-listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0"];

/// What a command on a directory says when it is refused.
fn refused(dir: &Path, args: &[&str]) -> String {
    let listens = args.contains(&"run") || args.contains(&"dev");
    let mut command = valetkey(args);
    command.args(["--data-dir", dir.to_str().unwrap()]).args(if listens { &LISTEN[..] } else { &[] });
    let output = ran(&mut command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
    said
}

#[test]
fn a_lost_keyring_is_asked_for_and_not_made_again() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let keyring = dir.path().join("keyring");
    let backup = fs::read(&keyring).unwrap();
    fs::remove_file(&keyring).unwrap();
    for args in [
        &["server", "init"][..],
        &["server", "init", "--new-operator-token"],
        &["server", "run"],
        &["server", "check-config"],
    ] {
        let said = refused(dir.path(), args);
        assert!(said.contains("is missing"), "{args:?}: {said}");
        assert!(said.contains("restore it from your backup"), "{args:?}: {said}");
        assert!(!keyring.exists(), "{args:?}");
    }
    let demo = tempfile::tempdir().unwrap();
    Server::dev(demo.path()).stop();
    fs::remove_file(demo.path().join("keyring")).unwrap();
    assert!(refused(demo.path(), &["dev"]).contains("is missing"));
    fs::write(&keyring, backup).unwrap();
    fs::set_permissions(&keyring, fs::Permissions::from_mode(0o600)).unwrap();
    run(dir.path()).stop();
}

#[test]
fn another_servers_keyring_is_refused_whatever_its_numbers() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    init(dir.path());
    init(other.path());
    let (own, foreign) = (dir.path().join("keyring"), other.path().join("keyring"));
    let backup = fs::read_to_string(&own).unwrap();
    let foreign = fs::read_to_string(&foreign).unwrap();
    for (text, why) in [
        (foreign.clone(), "another server's keyring"),
        (foreign.replace("1:", "7:"), "lacks key 1"),
        (format!("{backup}{}", foreign.lines().last().unwrap().replace("1:", "9:")), ""),
    ] {
        fs::write(&own, &text).unwrap();
        if why.is_empty() {
            // One key more is none less.
            run(dir.path()).stop();
            continue;
        }
        for args in [&["server", "run"][..], &["server", "init"], &["server", "init", "--new-operator-token"]] {
            let said = refused(dir.path(), args);
            assert!(said.contains(why) && said.contains("restore it from your backup"), "{args:?}: {said}");
        }
    }
    fs::write(&own, backup).unwrap();
    run(dir.path()).stop();
}

#[test]
fn a_keyring_from_before_the_last_change_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let keyring = dir.path().join("keyring");
    let old = fs::read_to_string(&keyring).unwrap();
    answered_or_quiet(dir.path(), &["server", "rotate-keys"]);
    run(dir.path()).stop();
    let new = fs::read_to_string(&keyring).unwrap();
    fs::write(&keyring, old).unwrap();
    let said = refused(dir.path(), &["server", "run"]);
    assert!(said.contains("lacks key 2"), "{said}");
    fs::write(&keyring, new).unwrap();
    run(dir.path()).stop();
}

fn answered_or_quiet(dir: &Path, args: &[&str]) {
    let output = ran(valetkey(args).args(["--data-dir", dir.to_str().unwrap()]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_running_server_does_not_take_up_another_keyring() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let operator = init(dir.path());
    init(other.path());
    let server = run(dir.path());
    let key = |name: &str| {
        let body = ["parent-key", "create", name, "--account", "operators", "--bucket", "lake", "--permission"];
        answered(&mut client(&server, &operator, &[&body[..], &["object-read-only"]].concat()))
    };
    answered(&mut client(&server, &operator, &["bucket", "create", "lake"]));
    key("before");
    let keyring = dir.path().join("keyring");
    let own = fs::read(&keyring).unwrap();
    fs::copy(other.path().join("keyring"), &keyring).unwrap();
    server.signal("HUP");
    // Until it was looked at: then the answer is in the log, and what is made is sealed with the old one.
    server.logged("could not be reloaded");
    key("after");
    fs::write(&keyring, own).unwrap();
    let said = server.stop();
    assert!(said.contains("another server's keyring"), "{said}");
    run(dir.path()).stop();
}

#[test]
fn a_keyring_or_directory_that_others_can_read_is_told_and_one_they_can_write_refused() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let keyring = dir.path().join("keyring");
    let rights = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    rights(dir.path(), 0o700);
    assert!(!run(dir.path()).stop().contains("others can"), "nothing to tell");
    rights(&keyring, 0o644);
    rights(dir.path(), 0o755);
    let said = run(dir.path()).stop();
    assert!(said.contains("others can read the keyring") && said.contains("others can look into"), "{said}");
    let checked = ran(valetkey(&["server", "check-config"]).args(["--data-dir", dir.path().to_str().unwrap()]));
    assert!(String::from_utf8_lossy(&checked.stderr).contains("warning: others can read the keyring"));
    rights(&keyring, 0o660);
    assert!(refused(dir.path(), &["server", "run"]).contains("others can write the keyring"));
}

#[test]
fn a_lost_operators_token_is_made_anew_on_the_machine_and_logged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let fresh = tempfile::tempdir().unwrap();
    let said = refused(fresh.path(), &["server", "init", "--new-operator-token"]);
    assert!(said.contains("is not set up"), "{said}");
    let first = init(dir.path());
    assert!(refused(dir.path(), &["server", "init"]).contains("--new-operator-token"));
    let made = ran(&mut valetkey(&["server", "init", "--new-operator-token", "--data-dir", path, "-o", "json"]));
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    let answer: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let (second, id) = (answer["operator_token"].as_str().unwrap(), answer["token_id"].as_str().unwrap());
    assert!(said.contains(id) && !said.contains(second), "{said}");
    let server = run(dir.path());
    // Both go on: who lost the first ends it.
    for token in [first.as_str(), second] {
        assert_eq!(answered(&mut client(&server, token, &["whoami"]))["role"], "operator");
    }
    let tokens = answered(&mut client(&server, second, &["token", "ls"]));
    let lost = tokens["tokens"].as_array().unwrap().iter().find(|one| one["id"] != id).unwrap();
    answered(&mut client(&server, second, &["token", "revoke", lost["id"].as_str().unwrap()]));
    let refusal = ran(&mut client(&server, second, &["token", "revoke", id]));
    assert_eq!(refusal.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refusal.stderr).contains("--yes"));
    answered(&mut client(&server, second, &["token", "revoke", id, "--yes"]));
    let logged = server.stop();
    assert!(logged.contains(id) && !logged.contains(second), "{logged}");
    answered(&mut valetkey(&["server", "init", "--new-operator-token", "--data-dir", path, "-o", "json"]));
}

#[test]
fn what_changes_a_directory_is_refused_while_a_server_runs_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let operator = init(dir.path());
    let server = run(dir.path());
    for args in [&["server", "init"][..], &["server", "init", "--new-operator-token"], &["server", "migrate"]] {
        let said = refused(dir.path(), args);
        assert!(said.contains("another server runs on the data directory"), "{args:?}: {said}");
    }
    assert_eq!(answered(&mut client(&server, &operator, &["whoami"]))["role"], "operator");
    server.stop();
    answered_or_quiet(dir.path(), &["server", "migrate"]);
}
