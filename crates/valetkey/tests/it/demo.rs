//! Whose a data directory is: the demo's, or a server's. Neither touches the other's.

use std::path::Path;
use std::process::Output;

use crate::process::{Server, answered, ran, valetkey};

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn at(dir: &Path, args: &[&str]) -> Output {
    ran(valetkey(args).args(["--data-dir", dir.to_str().unwrap()]))
}

fn init(dir: &Path) {
    answered(valetkey(&["server", "init", "-o", "json"]).args(["--data-dir", dir.to_str().unwrap()]));
}

const FREE: [&str; 4] = ["--api-listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0"];

fn dev(dir: &Path) -> Output {
    at(dir, &[&["dev"], &FREE[..]].concat())
}

/// As the demo of before left its directory: without the mark.
fn unmarked(dir: &Path) {
    std::fs::remove_file(dir.join("demo.json")).unwrap();
}

#[test]
fn the_demo_refuses_a_directory_that_it_did_not_make() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let before = std::fs::read(dir.path().join("valetkey.db")).unwrap();
    let refused = dev(dir.path());
    assert_eq!(refused.status.code(), Some(1), "{}", words(&refused));
    assert!(words(&refused).contains("`valetkey dev` did not make"), "{}", words(&refused));
    assert!(words(&refused).contains("hint: name another directory with --data-dir"), "{}", words(&refused));
    assert_eq!(std::fs::read(dir.path().join("valetkey.db")).unwrap(), before, "nothing of it was touched");
    assert!(!dir.path().join("dev.json").exists() && !dir.path().join("demo.json").exists());
    // Whatever is in it: a home directory, a directory of somebody's files.
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("notes.txt"), "mine").unwrap();
    assert_eq!(dev(other.path()).status.code(), Some(1));
    assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 1);
}

#[test]
fn a_server_refuses_the_demos_directory_and_the_demo_opens_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let token = |server: &Server| server.ready["admin"]["token"].clone();
    let demo = Server::dev(dir.path());
    let first = token(&demo);
    demo.stop();
    for marked in [true, false] {
        if !marked {
            unmarked(dir.path());
        }
        for args in [&["server", "run"][..], &["server", "init"], &["server", "init", "--new-operator-token"]] {
            let refused = at(dir.path(), args);
            assert_eq!(refused.status.code(), Some(1), "{args:?}: {}", words(&refused));
            assert!(words(&refused).contains("is the demo's (`valetkey dev` made it)"), "{}", words(&refused));
        }
        let demo = Server::dev(dir.path());
        assert_eq!(token(&demo), first, "it is the same demo");
        demo.stop();
    }
}

#[test]
fn a_servers_directory_that_an_old_demo_ran_on_stays_the_servers() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    // As the demo of before did it: on whatever directory it was given.
    std::fs::write(dir.path().join("demo.json"), "{}").unwrap();
    Server::dev(dir.path()).stop();
    unmarked(dir.path());
    let refused = dev(dir.path());
    assert!(words(&refused).contains("did not make"), "{}", words(&refused));
    let server = Server::start(
        valetkey(&["server", "run", "-o", "json"]).args(["--data-dir", dir.path().to_str().unwrap()]).args(FREE),
    );
    assert!(server.stop().contains("was once started on"));
}

#[test]
fn the_demo_prints_each_secret_once_and_examples_when_they_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Server::dev(dir.path());
    let secrets: Vec<String> = ["analyst", "etl", "partner", "admin", "agent", "uploads", "recipient"]
        .iter()
        .map(|name| std::fs::read_to_string(dir.path().join(format!("{name}.token"))).unwrap())
        .collect();
    // Of a demo that runs they are printed at once.
    let examples = at(dir.path(), &["dev", "--examples"]);
    let text = String::from_utf8(examples.stdout).unwrap();
    assert!(examples.status.success() && text.contains(demo.api()) && text.contains("duckdb"), "{text}");
    assert!(!text.contains("vkt_"), "a token is taken from its file: {text}");
    demo.stop();
    let mut demo = valetkey(&[&["dev"], &FREE[..]].concat());
    let demo = demo.args(["--data-dir", dir.path().to_str().unwrap()]);
    let (demo, summary) = Server::said(demo, "--examples");
    demo.stop();
    let lines: Vec<&str> = summary.lines().collect();
    assert!(lines.len() <= 24, "{summary}");
    for secret in &secrets[..4] {
        assert_eq!(summary.matches(secret.as_str()).count(), 1, "{summary}");
    }
    for secret in &secrets[4..] {
        assert!(!summary.contains(secret.as_str()), "{summary}");
    }
}
