//! What each command asks of the API, and what it says of it.

use axum::http::Method;

use crate::TOKEN;
use crate::fake::Fake;

#[test]
fn a_new_token_is_data_and_its_notes_are_not() {
    let fake = Fake::always(201, r#"{"token":"vkt_secret","id":"tok_1","caller_name":"etl"}"#);
    let ran = fake.run(&["token", "create", "etl", "--role", "member", "--ttl", "30d"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "vkt_secret\n"));
    assert!(ran.stderr.contains("tok_1") && !ran.stderr.contains("vkt_secret"), "{}", ran.stderr);
    assert_eq!(fake.seen()[0].body, r#"{"caller":"etl","expires_in_secs":2592000,"role":"member"}"#);
}

/// Checks what each line asks the API for: method and path, and the body.
fn asks(cases: &[(&[&str], &str, &str)]) -> Fake {
    let fake = Fake::always(200, "{}");
    for (line, asked, body) in cases {
        let ran = fake.run(line);
        assert_eq!(ran.code, 0, "{line:?}: {}", ran.stderr);
        let seen = fake.seen().pop().map(|seen| (format!("{} {}", seen.method, seen.path), seen.body));
        assert_eq!(seen, Some(((*asked).to_owned(), (*body).to_owned())), "{line:?}");
    }
    fake
}

#[test]
fn the_commands_of_workspaces_ask_what_the_api_takes() {
    asks(&[
        (
            &["workspace", "create", "main", "--account", "acme", "--bucket", "lake", "--caller", "a", "--caller", "b"],
            "POST /api/v1/workspaces",
            r#"{"access":"read-write","account":"acme","bucket":"lake","callers":["a","b"],"default":false,"key":"main"}"#,
        ),
        (
            &[
                "workspace",
                "create",
                "lab",
                "--account",
                "acme",
                "--bucket",
                "lake",
                "--everyone",
                "--read-only",
                "--default",
                "--prefix",
                "a/b",
                "--max-ttl",
                "1h",
            ],
            "POST /api/v1/workspaces",
            r#"{"access":"read","account":"acme","bucket":"lake","callers":null,"default":true,"key":"lab","max_ttl_secs":3600,"prefix":"a/b"}"#,
        ),
        (&["workspace", "ls", "--account", "acme"], "GET /api/v1/workspaces?account=acme", ""),
        (&["workspace", "rm", "main", "--account", "acme"], "DELETE /api/v1/workspaces/main?account=acme", ""),
        (
            &["workspace", "rm", "main", "--keep-credentials"],
            "DELETE /api/v1/workspaces/main?end_credentials=false",
            "",
        ),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a row for each command, and nothing else")]
fn every_command_asks_what_the_api_takes() {
    let id = "grt_01jd8z3c3efg7r9x2v4k6m8n0p";
    let cases: &[(&[&str], &str, &str)] = &[
        (&["whoami"], "GET /api/v1/me", ""),
        (&["ls"], "GET /api/v1/grants", ""),
        (&["token", "ls", "--account", "a b"], "GET /api/v1/tokens?account=a+b", ""),
        (&["token", "revoke", "tok_1"], "DELETE /api/v1/tokens/tok_1", ""),
        (
            &["token", "revoke", "tok_1", "--with-made", "--yes"],
            "DELETE /api/v1/tokens/tok_1?with_made=true&last_operator=true",
            "",
        ),
        (
            &["token", "revoke", "--caller", "acme/etl"],
            "POST /api/v1/revocations",
            r#"{"caller":"acme/etl","tokens":true}"#,
        ),
        (&["caller", "ls"], "GET /api/v1/callers", ""),
        (&["caller", "ls", "--account", "acme", "--limit", "9"], "GET /api/v1/callers?account=acme&limit=9", ""),
        (&["token", "ls", "--caller", "a/b", "--since", "7d"], "GET /api/v1/tokens?caller=a%2Fb&since_secs=604800", ""),
        (&["token", "create", "acme/etl", "-ojson"], "POST /api/v1/tokens", r#"{"account":"acme","caller":"etl"}"#),
        (&["workspace", "ls", "--bucket", "lake"], "GET /api/v1/workspaces?bucket=lake", ""),
        (&["parent-key", "ls", "--bucket", "lake"], "GET /api/v1/parent-keys?bucket=lake", ""),
        (&["dataset", "ls", "--bucket", "lake"], "GET /api/v1/datasets?bucket=lake", ""),
        (&["share", "ls", "--account", "acme"], "GET /api/v1/shares?account=acme", ""),
        (&["share", "recipients", "s", "--account", "a"], "GET /api/v1/shares/s/recipients?account=a", ""),
        (
            &["explain", "read", "s3://lake/x", "--as", "acme/etl"],
            "POST /api/v1/explain",
            r#"{"access":"read","account":"acme","bucket":"lake","caller":"etl","key":"x"}"#,
        ),
        (
            &[
                "lease",
                "ls",
                "--grant",
                "a/g",
                "--token",
                "tok_1",
                "--bucket",
                "lake",
                "--since",
                "2026-01-01T00:00:00Z",
            ],
            "GET /api/v1/leases?since=2026-01-01T00%3A00%3A00Z&token=tok_1&grant=a%2Fg&bucket=lake",
            "",
        ),
        (&["caller", "suspend", "acme/etl"], "PATCH /api/v1/accounts/acme/callers/etl", r#"{"standing":"suspended"}"#),
        (
            &["caller", "activate", "etl", "--account", "acme"],
            "PATCH /api/v1/accounts/acme/callers/etl",
            r#"{"standing":"active"}"#,
        ),
        (&["caller", "rm", "acme/etl"], "DELETE /api/v1/accounts/acme/callers/etl", ""),
        (
            &["grant", "create", "g", "s3://lake/a/b/", "--account", "acme", "--caller", "etl", "--max-ttl", "1h"],
            "POST /api/v1/grants",
            r#"{"access":"read","account":"acme","bucket":"lake","max_ttl_secs":3600,"name":"g","prefixes":["a/b"],"to":"etl"}"#,
        ),
        (
            &["grant", "create", "g", "--dataset", "d", "--account", "acme", "--everyone", "--access", "read-write"],
            "POST /api/v1/grants",
            r#"{"access":"read-write","account":"acme","dataset":"d","name":"g","to":null}"#,
        ),
        (&["grant", "ls", "--account", "acme"], "GET /api/v1/grants?account=acme", ""),
        (&["grant", "ls", "--bucket", "lake"], "GET /api/v1/grants?all=true&bucket=lake", ""),
        (&["grant", "rm", id], &format!("DELETE /api/v1/grants/{id}"), ""),
        (&["grant", "rm", id, "--keep-credentials"], &format!("DELETE /api/v1/grants/{id}?end_credentials=false"), ""),
        (
            &["account", "create", "acme", "--credits-per-vend", "2"],
            "POST /api/v1/accounts",
            r#"{"credits_per_vend":2,"name":"acme"}"#,
        ),
        (&["account", "ls"], "GET /api/v1/accounts", ""),
        (
            &["account", "set", "acme", "--max-bytes", "5000000", "--max-objects", "default"],
            "PATCH /api/v1/accounts/acme",
            r#"{"max_bytes":5000000,"max_objects":null}"#,
        ),
        (&["account", "suspend", "acme"], "PATCH /api/v1/accounts/acme", r#"{"standing":"suspended"}"#),
        (&["account", "activate", "acme"], "PATCH /api/v1/accounts/acme", r#"{"standing":"active"}"#),
        (
            &["account", "set", "acme", "--credits-per-vend", "0"],
            "PATCH /api/v1/accounts/acme",
            r#"{"credits_per_vend":0}"#,
        ),
        (
            &["grant", "set", id, "--access", "read", "--dry-run"],
            &format!("PATCH /api/v1/grants/{id}?dry_run=true"),
            r#"{"access":"read"}"#,
        ),
        (
            &["token", "set", "tok_1", "--ttl", "1h", "--keep-credentials", "--dry-run"],
            "PATCH /api/v1/tokens/tok_1?end_credentials=false&dry_run=true",
            r#"{"expires_in_secs":3600}"#,
        ),
        (
            &["parent-key", "set", "a/k", "--permission", "object-read-only", "--dry-run"],
            "PATCH /api/v1/parent-keys/a%2Fk?dry_run=true",
            r#"{"permission":"object-read-only"}"#,
        ),
        (&["account", "credit", "acme", "10"], "POST /api/v1/accounts/acme/credits", r#"{"credits":10}"#),
        (&["account", "callers", "acme"], "GET /api/v1/accounts/acme/callers", ""),
        (
            &["storage", "create", "main", "https://s3.example", "--max-ttl", "7d"],
            "POST /api/v1/storages",
            r#"{"endpoint":"https://s3.example","max_ttl_secs":604800,"name":"main"}"#,
        ),
        (&["storage", "ls"], "GET /api/v1/storages", ""),
        (
            &["bucket", "create", "lake", "--storage", "main"],
            "POST /api/v1/buckets",
            r#"{"bucket":"lake","storage":"main"}"#,
        ),
        (&["bucket", "ls"], "GET /api/v1/buckets", ""),
        (
            &["dataset", "create", "daily", "s3://lake/flights/daily/", "--topic", "flights"],
            "POST /api/v1/datasets",
            r#"{"bucket":"lake","name":"daily","prefix":"flights/daily","topic":"flights"}"#,
        ),
        (&["dataset", "ls"], "GET /api/v1/datasets", ""),
        (&["lease", "ls", "--live", "--limit", "5"], "GET /api/v1/leases?live=true&limit=5", ""),
        (&["lease", "show", "lse_1"], "GET /api/v1/leases/lse_1", ""),
        (&["lease", "revoke", "lse_1"], "DELETE /api/v1/leases/lse_1", ""),
        (&["revoke", "--caller", "etl"], "POST /api/v1/revocations", r#"{"caller":"etl"}"#),
        (&["whose", "VKX"], "GET /api/v1/whose/VKX", ""),
        (
            &["who-can", "read", "s3://lake/a/b", "--at", "2027-01-01", "--limit", "5"],
            "GET /api/v1/access?action=read&place=s3%3A%2F%2Flake%2Fa%2Fb&at=2027-01-01T00%3A00%3A00Z&limit=5",
            "",
        ),
        (&["access", "acme/etl", "--action", "write"], "GET /api/v1/access?caller=acme%2Fetl&action=write", ""),
        (
            &["explain", "read", "s3://lake/a/b", "--as", "etl"],
            "POST /api/v1/explain",
            r#"{"access":"read","bucket":"lake","caller":"etl","key":"a/b"}"#,
        ),
        (
            &["explain", "delete-object", "s3://lake/a/b"],
            "POST /api/v1/explain",
            r#"{"action":"delete-object","bucket":"lake","key":"a/b"}"#,
        ),
    ];
    let fake = asks(cases);
    assert_eq!(fake.run(&["ledger", "verify"]).code, 1, "what does not say that it is intact is not");
    assert_eq!(fake.seen().pop().unwrap().path, "/api/v1/ledger/verify");
}

#[test]
fn a_line_that_could_do_more_than_was_meant_is_refused_before_anything_is_sent() {
    let fake = Fake::always(200, "{}");
    for line in [
        &["revoke"][..],
        &["revoke", "--caller", "a", "--account", "b"],
        &["lease", "revoke", ""],
        &["lease", "revoke", ".."],
        &["token", "revoke", "."],
        &["token", "revoke"],
        &["token", "revoke", TOKEN],
        &["token", "revoke", "tok_1", "--caller", "etl"],
        &["incident", TOKEN],
        &["incident"],
        &["whose", TOKEN],
        &["caller", "rm", "acme/.."],
        &["account", "suspend", ".."],
        &["grant", "create", "g", "s3://lake", "--account", "a", "--everyone"],
        &["grant", "create", "g", "s3://lake/x", "--account", "a"],
        &["grant", "create", "g", "--account", "a", "--everyone"],
        &["grant", "create", "g", "s3://lake/x", "--dataset", "d", "--account", "a", "--everyone"],
        &["workspace", "create", "w", "--account", "a", "--bucket", "lake"],
        &["workspace", "create", "w", "--account", "a", "--bucket", "lake", "--caller", "c", "--everyone"],
        &["workspace", "rm", ".."],
        &["dataset", "create", "d", "s3://lake", "--topic", "t"],
        &["explain", "read", "s3://lake"],
        &["creds", "s3://lake"],
        &["creds", "--token", "x"],
        &["crds"],
    ] {
        let ran = fake.run(line);
        assert_eq!(ran.code, 2, "{line:?}: {}", ran.stderr);
        // What a shell was to evaluate fails there, too.
        assert_eq!(ran.stdout, if line[0] == "creds" { "false\n" } else { "" }, "{line:?}");
        assert!(!ran.stderr.contains(TOKEN), "{line:?}: {}", ran.stderr);
    }
    assert!(fake.seen().is_empty());
}

#[test]
fn what_leaked_is_read_from_standard_input_and_shown_without_being_repeated() {
    let answer = r#"{"kind":"token","dry_run":false,"whose":[{"account_name":"acme","caller_name":"etl","role":"member","id":"tok_1","made":"2026-01-01T00:00:00Z"}],
        "leases":[{"lease_id":"lse_1","state":"revoked","bucket":"lake","prefixes":["a"],"access":"read"}],"unlisted":2,"tokens":[],
        "ended":{"tokens":1,"leases":3,"links":0},
        "still_works":[{"what":"2 other tokens of acme/etl","until":null,"command":"valetkey token revoke --caller acme/etl"}]}"#;
    let fake = Fake::always(200, answer);
    let ran = fake.run_with(&["incident", "-"], "vkt_leaked\n");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for said in [
        "etl",
        "tok_1",
        "lse_1",
        "s3://lake/a/",
        "and 2 more",
        "1 tokens, 3 leases, 0 links",
        "revoke --caller acme/etl",
    ] {
        assert!(ran.stdout.contains(said), "{said}: {}", ran.stdout);
    }
    assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("vkt_leaked"));
    let [seen] = fake.seen().try_into().unwrap();
    assert_eq!((seen.path.as_str(), seen.body.as_str()), ("/api/v1/incidents", r#"{"what":"vkt_leaked"}"#));
    assert_eq!(fake.run_with(&["incident", "-", "--dry-run", "--yes"], "VKX").code, 0);
    assert_eq!(fake.seen().pop().unwrap().body, r#"{"dry_run":true,"last_operator":true,"what":"VKX"}"#);
    let ran = fake.run_with(&["token", "revoke", "-", "--with-made"], " vkt_leaked ");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let seen = fake.seen().pop().unwrap();
    assert_eq!(seen.path, "/api/v1/revocations");
    assert_eq!(seen.body, r#"{"token":"vkt_leaked","tokens":true,"with_made":true}"#);
    let before = fake.seen().len();
    for line in [&["incident", "-"][..], &["token", "revoke", "-"]] {
        assert_eq!(fake.run_with(line, " \n").code, 2);
    }
    assert_eq!(fake.seen().len(), before, "nothing is nothing");
}

#[test]
fn who_ends_credentials_hears_what_goes_on_vending_and_what_ends_that() {
    let fake = Fake::always(200, r#"{"ended":1,"live_tokens":1}"#);
    for (line, command) in [
        (["revoke", "--token", "tok_1"], "`valetkey token revoke tok_1`"),
        (["revoke", "--caller", "acme/etl"], "`valetkey token revoke --caller acme/etl`"),
        (["revoke", "--account", "acme"], "`valetkey account suspend acme`"),
    ] {
        for quiet in [&[][..], &["--quiet"]] {
            let ran = fake.run(&[&line[..], quiet].concat());
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            assert!(ran.stderr.contains("vend") && ran.stderr.contains(command), "{line:?}: {}", ran.stderr);
        }
    }
    assert!(!fake.run(&["revoke", "--lease", "lse_1"]).stderr.contains("warning"));
    let ended = Fake::always(200, r#"{"ended":0,"live_tokens":0}"#);
    for line in [["revoke", "--token", "tok_1"], ["revoke", "--caller", "etl"]] {
        assert!(!ended.run(&line).stderr.contains("warning"), "it is ended already");
    }
}

#[test]
fn a_grant_is_found_by_its_name_before_it_is_removed() {
    let fake = Fake::start(|seen| match seen.method {
        Method::GET => (200, r#"{"grants":[{"name":"daily","id":"grt_7"}],"unlisted":0}"#.to_owned()),
        _ => (200, "{}".to_owned()),
    });
    assert_eq!(fake.run(&["grant", "rm", "daily", "--account", "acme"]).code, 0);
    let paths: Vec<String> = fake.seen().iter().map(|seen| seen.path.clone()).collect();
    assert_eq!(
        paths,
        ["/api/v1/grants?account=acme&name=daily", "/api/v1/grants/grt_7?dry_run=true", "/api/v1/grants/grt_7"]
    );
    assert_eq!(fake.run(&["grant", "rm", "dayly"]).code, 5);
}
