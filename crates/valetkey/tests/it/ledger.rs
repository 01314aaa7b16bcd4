//! The record of who changed what, and whether it is whole: asked by the real command line.

use serde_json::Value;

use crate::process::{answered, ran};
use crate::server::{client, init, run};

#[test]
fn who_changed_what_is_on_record_and_the_record_is_known_again() {
    let dir = tempfile::tempdir().unwrap();
    let operator = init(dir.path());
    let server = run(dir.path());
    let by = |args: &[&str]| answered(&mut client(&server, &operator, args));
    by(&["account", "create", "acme"]);
    let made = by(&["token", "create", "--account", "acme", "--role", "admin", "boss"]);
    let admin = made["token"].as_str().unwrap().to_owned();
    let own = answered(&mut client(&server, &admin, &["token", "create", "etl"]));
    let noted = by(&["ledger", "verify"]);
    assert_eq!((&noted["intact"], &noted["astray"]), (&Value::Bool(true), &Value::Array(Vec::new())), "{noted:#}");
    let head = noted["head"].as_str().unwrap();
    by(&["token", "revoke", own["id"].as_str().unwrap()]);

    let listed = by(&["audit", "--limit", "500"]);
    let told: Vec<[&str; 4]> = listed["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| ["by", "done", "noun", "about"].map(|field| change[field].as_str().unwrap()))
        .collect();
    assert!(told.contains(&["admin", "made", "account", "acme"]), "{told:?}");
    assert!(told.contains(&["boss", "made", "token", "of etl"]), "{told:?}");
    assert!(told.contains(&["admin", "ended", "token", "token"]), "{told:?}");
    assert!(told.iter().any(|[by, ..]| *by == "server"), "what init made: {told:?}");
    let mine = &listed["changes"].as_array().unwrap()[0];
    assert_eq!(mine["from"], "127.0.0.1");
    assert!(mine["token"].as_str().is_some_and(|token| token.starts_with("tok_")));
    let all = listed.to_string();
    for secret in [&operator, &admin, &own["token"].as_str().unwrap().to_owned()] {
        assert!(!all.contains(secret.as_str()));
    }
    let refused = ran(&mut client(&server, &admin, &["audit"]));
    assert_eq!(refused.status.code(), Some(4));
    let tokens = by(&["audit", "--noun", "token", "--since", "1h", "--limit", "1"]);
    assert_eq!(tokens["changes"].as_array().unwrap().len(), 1);
    let next = by(&["audit", "--noun", "token", "--before", tokens["next_before"].as_str().unwrap()]);
    assert!(next["changes"].as_array().unwrap().iter().all(|change| change["noun"] == "token"));

    let grown = by(&["ledger", "verify", "--expect-head", head]);
    assert_eq!((&grown["expected"], &grown["intact"]), (&Value::from("grown"), &Value::Bool(true)));
    let (seq, hash) = head.split_once(':').unwrap();
    let wrong = format!("{seq}:{}", hash.chars().rev().collect::<String>());
    let output = ran(&mut client(&server, &operator, &["ledger", "verify", "--expect-head", &wrong]));
    assert_eq!(output.status.code(), Some(9));
    assert_eq!(
        ran(&mut client(&server, &operator, &["ledger", "verify", "--expect-head", "7"])).status.code(),
        Some(2)
    );
    server.stop();
}

#[test]
fn a_server_names_itself_and_an_archive_that_lacks_nothing_is_verified_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let operator = init(dir.path());
    let server = run(dir.path());
    let by = |args: &[&str]| answered(&mut client(&server, &operator, args));
    let nodes = by(&["server", "nodes"]);
    let [node] = nodes["nodes"].as_array().unwrap().as_slice() else { panic!("{nodes}") };
    assert_eq!(
        (&node["live"], &node["this"], &node["chain"]),
        (&Value::Bool(true), &Value::Bool(true), &Value::from(1))
    );
    assert_eq!(
        (&node["version"], &node["duties"][0]),
        (&Value::from(env!("CARGO_PKG_VERSION")), &Value::from("embedded"))
    );
    let archive = dir.path().join("archive");
    std::fs::create_dir(&archive).unwrap();
    let archive = archive.to_str().unwrap();
    let verified = by(&["ledger", "verify", "--archive", archive]);
    assert_eq!(verified["archive"]["wrong"], Value::Array(Vec::new()), "nothing was removed: {verified:#}");
    std::fs::write(format!("{archive}/ledger-0001-0000000000000001-0000000000000002.ndjson.gz"), "x").unwrap();
    let refused = ran(&mut client(&server, &operator, &["ledger", "verify", "--archive", archive]));
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stdout).contains("ledger-0001"), "{refused:?}");
    let missing = ran(&mut client(&server, &operator, &["ledger", "verify", "--archive", "/nowhere"]));
    assert_eq!(missing.status.code(), Some(1));
    std::fs::remove_file(format!("{archive}/ledger-0001-0000000000000001-0000000000000002.ndjson.gz")).unwrap();
    // Whole in itself, and of another ledger; of this one, without its beginning.
    for (after, said) in [(0, "which the server has not"), (7, "lacks the pages")] {
        let file = archive_of_another(archive, after);
        let refused = ran(&mut client(&server, &operator, &["ledger", "verify", "--archive", archive]));
        let answer = String::from_utf8_lossy(&refused.stdout).into_owned();
        assert_eq!((refused.status.code(), answer.contains(said)), (Some(1), true), "{answer}");
        std::fs::remove_file(file).unwrap();
    }
    let file = archive_of_another(archive, 7);
    let asked = ["ledger", "verify", "--archive", archive, "--partial-archive"];
    let refused = ran(&mut client(&server, &operator, &asked));
    assert!(String::from_utf8_lossy(&refused.stdout).contains("which the server has not"), "{refused:?}");
    std::fs::remove_file(file).unwrap();
    server.stop();
}

/// A file of an archive with one empty page behind another.
fn archive_of_another(archive: &str, after: u64) -> String {
    use std::io::Write as _;
    let before = if after == 0 { String::new() } else { "00".repeat(32) };
    let hashed = data_encoding::HEXLOWER.decode(before.as_bytes()).unwrap();
    let hash = data_encoding::HEXLOWER.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &hashed).as_ref());
    let page = after + 1;
    let file = format!("{archive}/ledger-0001-{page:016}-{page:016}.ndjson.gz");
    let mut out = flate2::write::GzEncoder::new(std::fs::File::create(&file).unwrap(), flate2::Compression::default());
    for line in [
        serde_json::json!({ "valetkey_ledger": 1, "chain": 1, "after": after, "after_hash": before }),
        serde_json::json!({ "page": page, "last": "", "leases": [], "hash": hash, "body": "" }),
    ] {
        writeln!(out, "{line}").unwrap();
    }
    out.finish().unwrap();
    file
}
