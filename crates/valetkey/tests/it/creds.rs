//! `valetkey creds` against a real demo: what people type by mistake, and what a shell does with a failure.

use std::path::Path;
use std::process::{Command, Output};

use crate::process::{Server, ran, valetkey};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn by(server: &Server, name: &str, args: &[&str]) -> Command {
    let callers = server.ready["callers"].as_array().unwrap();
    let token = match name {
        "admin" => &server.ready["admin"]["token"],
        name => &callers.iter().find(|caller| caller["name"] == name).unwrap()["token"],
    };
    let mut command = valetkey(args);
    command.env("VALETKEY_SERVER", server.api()).env("VALETKEY_TOKEN", token.as_str().unwrap());
    command
}

#[test]
fn what_is_nearly_a_grant_or_a_place_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::dev(dir.path());
    let creds = |target: &[&str]| ran(&mut by(&server, "analyst", &[&["creds"], target].concat()));
    for (target, code, said) in [
        (&["flights-dayly"][..], 5, "did you mean `flights-daily`?"),
        (&["s3://flights-lak/flights/daily"], 5, "did you mean `s3://flights-lake/flights/daily/`?"),
        (&["s3://flights-lake/flights/dayly"], 4, "did you mean `s3://flights-lake/flights/daily/`?"),
        (&["s3a://flights-lake/flights/daily"], 2, "its place is written s3://flights-lake/flights/daily"),
        (&["gs://flights-lake/flights/daily"], 2, "s3://flights-lake/flights/daily"),
        (&["abfss://flights-lake@a.dfs.core.windows.net/flights/daily"], 2, "s3://flights-lake/flights/daily"),
        (&["flights-lake/flights/daily"], 2, "s3://flights-lake/flights/daily, with its bucket first"),
        (&["/flights/daily"], 2, "s3://BUCKET/flights/daily"),
        (&["s3://flights-lake/*.parquet"], 2, "is a pattern"),
        (&["flights-daily", "--object", "flights/daily/*.parquet"], 2, "--object takes one whole key"),
    ] {
        let refused = creds(target);
        let stderr = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(code), "{target:?}: {stderr}");
        assert!(stderr.contains(said), "{target:?}: {stderr}");
        assert_eq!(text(&refused.stdout), "false\n", "what a shell evaluates fails");
    }
    let below = creds(&["s3://flights-lake/flights/daily/2013-*.parquet"]);
    assert!(below.status.success(), "{}", text(&below.stderr));
    assert!(text(&below.stderr).contains("this is for all of `flights/daily/`"), "{}", text(&below.stderr));
    server.stop();
}

#[test]
fn a_shell_fails_where_there_are_no_credentials() {
    let shell = |line: &str| {
        Command::new("sh")
            .args(["-c", line])
            .env("VALETKEY", env!("CARGO_BIN_EXE_valetkey"))
            .env_remove("VALETKEY_TOKEN")
            .output()
    };
    let failed = |output: Output| !output.status.success();
    for line in [
        "eval \"$($VALETKEY creds daily)\"",
        "eval \"$($VALETKEY creds --format env --no-such-flag)\"",
        "eval \"$($VALETKEY vend daily -f env)\" && echo went on",
        "eval \"$($VALETKEY creds daily --format=env --server http://keys.example)\"",
    ] {
        assert!(failed(shell(line).unwrap()), "{line}");
    }
    for line in [
        "$VALETKEY creds daily --format json",
        "$VALETKEY creds daily -o json",
        "$VALETKEY ls",
        "$VALETKEY creds --format dotenv",
    ] {
        assert_eq!(text(&shell(line).unwrap().stdout), "", "{line}: nobody evaluates that");
    }
}

#[test]
fn credentials_that_cannot_be_kept_are_warned_about() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::dev(&dir.path().join("data"));
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let process = |cache: &Path, more: &[&str]| {
        let line = [&["creds", "--format", "process", "--cache-dir", cache.to_str().unwrap()], more].concat();
        let done = ran(&mut by(&server, "analyst", &line));
        assert!(done.status.success() && text(&done.stdout).contains("AccessKeyId"), "{}", text(&done.stderr));
        text(&done.stderr)
    };
    let said = process(&file.join("creds"), &[]);
    assert!(
        said.contains("warning: credentials cannot be kept in") && said.contains("each call vends again"),
        "{said}"
    );
    for (cache, more) in [(file.join("creds"), &["--no-cache"][..]), (dir.path().join("fine"), &[])] {
        assert!(!process(&cache, more).contains("warning"));
    }
    server.stop();
}

#[test]
fn lifetimes_and_ends_that_cannot_be_are_said() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::dev(dir.path());
    let grant = |name: &str, more: &[&str]| {
        let line = ["grant", "create", name, "s3://flights-lake/x", "--account", "acme", "--everyone"];
        let done = ran(&mut by(&server, "admin", &[&line[..], more].concat()));
        (done.status.code().unwrap(), text(&done.stdout) + &text(&done.stderr))
    };
    let (code, said) = grant("long", &["--max-ttl", "30d"]);
    assert!(code == 0 && said.contains("warning: the storage embedded gives at most 7d"), "{code} {said}");
    let (code, said) = grant("short", &["--max-ttl", "7d"]);
    assert!(code == 0 && !said.contains("warning"), "{code} {said}");
    let (code, said) = grant("past", &["--until", "2020-01-01"]);
    assert!(code == 2 && said.contains("is over already"), "{code} {said}");
    let (code, said) = grant("day", &["--until", "2999-12-31", "--from", "2999-01-01"]);
    assert!(
        code == 0 && said.contains("3000-01-01T00:00:00Z") && said.contains("2999-01-01T00:00:00Z"),
        "{code} {said}"
    );
    let (code, said) = grant("pattern", &[]);
    assert_eq!(code, 0, "{said}");
    let line = ["grant", "create", "p", "s3://flights-lake/x/*", "--account", "acme", "--everyone"];
    let refused = ran(&mut by(&server, "admin", &line));
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("s3://flights-lake/x"), "{}", text(&refused.stderr));
    server.stop();
}
