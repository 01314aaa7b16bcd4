use std::path::PathBuf;

use super::{emit, files, node};

fn temporary(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    directory
}

fn refusal(listed: &[(&str, &str)]) -> String {
    let directory = temporary(listed);
    let failure = files::read(directory.path()).err().unwrap();
    failure.message.replace(&format!("{}/", directory.path().display()), "")
}

const HEAD: &str = "version: valetkey/v1\nowner: x\nowns: {accounts: ['*']}\n";

#[test]
fn what_is_wrong_in_a_file_is_told_with_its_line_and_column() {
    for (text, said) in [
        ("accounts:\n  acme:\n    grnats: {}\n", "a.yaml:6:5: there is no field `grnats` here; did you mean `grants`?"),
        ("storages: {}\n", "a.yaml:4:1: `storages` cannot be managed by files yet"),
        ("accounts: {acme: {workspaces: {}}}\n", "a.yaml:4:19: `workspaces` cannot be managed by files yet"),
        (
            "accounts:\n  acme: {callers: {ana: {role: [1]}}}\n",
            "a.yaml:5:26: invalid type: sequence, expected a string",
        ),
        ("accounts:\n  acme: {}\n  acme: {}\n", "a.yaml:6:3: `acme` is said twice, first in line 5"),
        ("accounts: &a {}\n", "a.yaml:4:11: anchors"),
        ("accounts: !t {}\n", "a.yaml:4:11: tags"),
        ("prune: 1.5\n", "a.yaml:4:8: `1.5` is a number to YAML"),
        ("prune: yes\n", "a.yaml:4:1: invalid type: string"),
        ("accounts: [\n", "a.yaml:"),
        ("---\nowner: y\n", "a.yaml:"),
    ] {
        let found = refusal(&[("a.yaml", &format!("{HEAD}{text}"))]);
        assert!(found.starts_with(said), "{text}: {found}");
    }
    let deep = format!("{HEAD}accounts: {}{}\n", "[".repeat(100), "]".repeat(100));
    assert!(refusal(&[("a.yaml", &deep)]).contains("nested deeper"), "{}", refusal(&[("a.yaml", &deep)]));
    assert!(
        refusal(&[("a.toml", "version = \"valetkey/v1\"\nowner = \"x\"\nowns = {}\nprun = true\n")])
            .starts_with("a.toml:4:1: there is no field `prun` here; did you mean `prune`?")
    );
    assert!(refusal(&[("a.json", "{\"version\": \"valetkey/v1\", owner: x}")]).starts_with("a.json:1:"));
    assert!(refusal(&[("README.md", "")]).contains("holds no policy file"));
}

#[test]
fn files_are_one_document_and_a_thing_is_said_once() {
    let acme = "accounts:\n  acme:\n    callers:\n      ana: {}\n";
    let more = "{\"accounts\": {\"acme\": {\"callers\": {\"ben\": {}}}}}";
    let toml = "[accounts.acme.grants.daily]\neveryone = true\n";
    let directory = temporary(&[
        ("a.yaml", HEAD),
        ("b/acme.yaml", acme),
        ("c.json", more),
        ("d.toml", toml),
        (".x.yaml", "odd: 1"),
    ]);
    let files::Read { document, sources } = files::read(directory.path()).unwrap();
    let account = &document.accounts["acme"];
    assert_eq!(account.callers.keys().collect::<Vec<_>>(), ["ana", "ben"]);
    assert!(sources["caller/acme/ana"].ends_with("b/acme.yaml:4"), "{sources:?}");
    assert!(sources["grant/acme/daily"].ends_with("d.toml:1"), "{sources:?}");
    let twice = refusal(&[("a.yaml", HEAD), ("b.yaml", acme), ("c.yaml", acme)]);
    assert!(twice.starts_with("c.yaml:4:7: `accounts.acme.callers.ana` is said twice, first in"), "{twice}");
    assert!(twice.ends_with("b.yaml:4:7"), "{twice}");
}

const WRITTEN: &str = "# what this is
version: valetkey/v1
owner: x # whose

owns:
  accounts:
    - acme
    - acme-*

accounts:
  # the one
  acme:
    callers:
      \"007\": {}
      ana:
        role: member
    grants:
      daily:
        everyone: true
        bucket: lake
        directories:
          - \"# no comment\" # one
          - flights/daily
        until: 2027-06-30T00:00:00Z

tests:
  - as: acme/ana
    can:
      - read s3://lake/flights/x
# the end
";

#[test]
fn the_canonical_form_keeps_comments_and_is_its_own() {
    let odd = "# what this is
version:    'valetkey/v1'
owner: \"x\"   # whose
owns: {accounts: [acme, acme-*]}
accounts:
    # the one
    acme:
        callers: {'007': {}, ana: {role: member}}
        grants:
            daily:
                everyone: true
                bucket: lake
                directories:
                - '# no comment' # one
                - flights/daily
                until: 2027-06-30T00:00:00Z
tests:
- {as: acme/ana, can: [read s3://lake/flights/x]}
# the end
";
    let form = |text: &str| emit::format(&node::yaml(text, 0).unwrap(), text);
    assert_eq!(form(odd), WRITTEN);
    assert_eq!(form(WRITTEN), WRITTEN);
    for text in
        ["yes", "null", "1", "1.5", "0x1", "-", "a: b", "a #b", " a", "a ", "*a", "a\nb", "é", "", "~", "@x", ".nan"]
    {
        let value = serde_json::json!({"a": [text], text: 1});
        let written = emit::write(&emit::node(&value));
        assert_eq!(node::yaml(&written, 0).unwrap().value(), value, "{written}");
    }
}

#[test]
fn a_file_that_is_checked_without_a_server_says_all_that_is_wrong() {
    let good = format!(
        "{HEAD}accounts:\n  acme:\n    callers: {{ana: {{}}}}\n    grants:\n      g: {{to: ['caller:ana'], dataset: elsewhere, bucket: lake, directories: [a]}}\ntests:\n- {{as: acme/ana, can: [read s3://lake/a/x], cannot: [read s3://lake/ab]}}\n- {{vend: {{as: acme/ana, grant: g, ttl: 1h}}, expect: {{ttl: 1h, paths: [a/]}}}}\n"
    );
    let directory = temporary(&[("a.yaml", &good)]);
    let path: PathBuf = directory.path().to_owned();
    let (tests, told) = super::offline(&path).unwrap();
    assert_eq!((tests, told.failed, told.untested), (2, vec![], vec![]));
    // Without its tests nothing would miss the grant.
    let untested = good.split("tests:").next().unwrap();
    std::fs::write(path.join("a.yaml"), untested).unwrap();
    let (tests, told) = super::offline(&path).unwrap();
    let [(thing, source)] = told.untested.as_slice() else { panic!("{told:?}") };
    assert_eq!((tests, thing.as_str()), (0, "grant/acme/g"));
    assert!(source.ends_with("a.yaml:8"), "{source}");
    std::fs::write(path.join("a.yaml"), good.replace("cannot: [read s3://lake/ab]", "cannot: [read s3://lake/a/]"))
        .unwrap();
    let (_, failed) = super::offline(&path).unwrap();
    let [(source, said)] = failed.failed.as_slice() else { panic!("{failed:?}") };
    assert!(source.ends_with("a.yaml:10"), "{source}");
    assert!(said.contains("acme/ana can read s3://lake/a/, by the grant `g`") && said.contains("a.yaml:8"), "{said}");
    std::fs::write(path.join("a.yaml"), good.replace("caller:ana", "caller:ben").replace("[a]", "[a/]")).unwrap();
    let refused = super::offline(&path).unwrap_err();
    assert!(
        refused.message.contains("a.yaml:8: directories: a directory is written without its last slash"),
        "{refused:?}"
    );
}
