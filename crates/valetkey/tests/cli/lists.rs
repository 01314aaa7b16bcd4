//! Lists and explanations, for people and for scripts.

use crate::fake::Fake;

#[test]
fn explain_says_which_grant_and_why_not() {
    let answer = r#"{"allowed":false,"caller":"analyst","bucket":"lake","key":"x","action":"get-object","grant":null,"considered":[{"grant":{"id":"grt_1","name":"daily"},"verdict":"outside_paths"}],"unlisted":0}"#;
    let fake = Fake::always(200, answer);
    let ran = fake.run(&["explain", "read", "s3://lake/x"]);
    assert_eq!(ran.code, 0);
    insta::assert_snapshot!(ran.stdout, @r"
    denied: analyst may not get-object s3://lake/x

    GRANT  SAYS
    daily  does not open that key
    ");
    assert_eq!(fake.run(&["explain", "read", "s3://lake/x", "--exit-code"]).code, 4);
    assert!(fake.run(&["explain", "read", "s3://lake/x", "-o", "wide"]).stdout.contains("grt_1"));
    for (word, asked) in [
        ("write", r#""access":"write""#),
        ("delete", r#""action":"delete-object""#),
        ("list", r#""action":"list-bucket""#),
        ("get-object", r#""action":"get-object""#),
    ] {
        fake.run(&["explain", word, "s3://lake/x"]);
        assert!(fake.seen().pop().unwrap().body.contains(asked), "{word}");
    }
}

#[test]
fn explain_says_through_which_share_a_table_is_open() {
    let answer = r#"{"allowed":false,"caller":"analyst","bucket":"lake","key":"t/x","action":"get-object","grant":null,"open_through_share":"Sales","considered":[{"grant":{"id":"grt_1","name":"sales-daily"},"verdict":"only_through_share","share":"Sales"}],"unlisted":0}"#;
    let ran = Fake::always(200, answer).run(&["explain", "read", "s3://lake/t/x"]);
    insta::assert_snapshot!(ran.stdout, @r"
    denied: analyst may not get-object s3://lake/t/x
    it is open through the share `Sales`: a Delta Sharing client reads it, with the caller's profile

    GRANT        SAYS
    sales-daily  opens it, through the share `Sales` alone (Delta Sharing)
    ");
}

#[test]
fn lists_are_tables_for_people_and_what_the_api_said_for_scripts() {
    let answer = r#"{"leases":[{"lease_id":"lse_1","state":"live","caller":"clr_1","access":"read","bucket":"lake","prefixes":["a"],"objects":["b"],"raw_prefixes":[],"whole_bucket":false,"opened":"2026-01-01T00:00:00Z","expires":"2026-01-01T01:00:00Z","revocation":"immediate","dialect":"native","from":"192.0.2.7"}],"next_before":"lse_1"}"#;
    let fake = Fake::always(200, answer);
    let ran = fake.run(&["lease", "ls", "-o", "wide"]);
    insta::assert_snapshot!(ran.stdout, @r"
    LEASE  STATE  ACCOUNT  CALLER  ACCESS  OPENS                      OPENED                EXPIRES               ENDS EARLY  API     FROM
    lse_1  live   -        clr_1   read    s3://lake/a/, s3://lake/b  2026-01-01T00:00:00Z  2026-01-01T01:00:00Z  immediate   native  192.0.2.7
    ");
    assert_eq!(ran.stderr, "there is more: --all lists it, --before lse_1 the next page\n");
    let table = fake.run(&["lease", "ls", "-q"]);
    assert_eq!(table.stderr, "");
    assert!(
        table.stdout.contains(" ago ") && !table.stdout.contains("2026-01-01") && !table.stdout.contains("FROM"),
        "{}",
        table.stdout
    );
    let shown = fake.run(&["lease", "show", "lse_1"]).stdout;
    assert!(shown.contains("2026-01-01T01:00:00Z (") && shown.contains(" ago)"), "{shown}");
    let json = fake.run(&["lease", "ls", "-o", "json"]);
    let (said, wanted): (serde_json::Value, serde_json::Value) =
        (serde_json::from_str(&json.stdout).unwrap(), serde_json::from_str(answer).unwrap());
    assert_eq!(said, wanted);
    assert_eq!(json.stderr, "");
}

#[test]
fn a_key_of_a_store_is_the_leases_it_was_handed_to() {
    let lease = |id: &str| {
        format!(
            r#"{{"lease_id":"{id}","state":"live","caller_name":"ann","account_name":"acme","bucket":"lake","prefixes":["a"],"opened":"2026-01-01T00:00:00Z","expires":"2026-01-01T01:00:00Z","revocation":"expiry-only","store_key_id":"ASIA1","store_request_id":"r-1","from":"2001:db8::7"}}"#
        )
    };
    let answer = format!(r#"{{"leases":[{},{}]}}"#, lease("lse_2"), lease("lse_1"));
    let fake = Fake::always(200, &answer);
    let ran = fake.run(&["whose", "ASIA1", "-o", "wide"]);
    insta::assert_snapshot!(ran.stdout, @r"
    LEASE  STATE  CALLER  ACCOUNT  OPENS         OPENED                EXPIRES               FROM         REQUEST AT THE STORAGE
    lse_2  live   ann     acme     s3://lake/a/  2026-01-01T00:00:00Z  2026-01-01T01:00:00Z  2001:db8::7  r-1
    lse_1  live   ann     acme     s3://lake/a/  2026-01-01T00:00:00Z  2026-01-01T01:00:00Z  2001:db8::7  r-1
    ");
    let shown = Fake::always(200, &lease("lse_1")).run(&["lease", "show", "lse_1"]).stdout;
    for part in ["expiry-only", "ASIA1", "r-1", "2001:db8::7"] {
        assert!(shown.contains(part), "{shown}");
    }
}

#[test]
fn an_empty_list_is_no_data() {
    let ran = Fake::always(200, r#"{"tokens":[]}"#).run(&["token", "ls"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", "there are no tokens\n"));
}

#[test]
fn all_of_a_list_is_read_page_by_page() {
    let fake = Fake::start(|seen| {
        let page = |names: &str, next: &str| (200, format!(r#"{{"callers":[{names}],"next_after":{next}}}"#));
        let caller =
            |name: &str| format!(r#"{{"account_name":"acme","name":"{name}","role":"member","standing":"active"}}"#);
        if seen.path.contains("after=p2") {
            page(&caller("eve"), "null")
        } else {
            page(&format!("{},{}", caller("ann"), caller("bob")), r#""p2""#)
        }
    });
    let first = fake.run(&["caller", "ls"]);
    assert_eq!(first.stderr, "there is more: --all lists it, --after p2 the next page\n");
    assert!(first.stdout.contains("bob") && !first.stdout.contains("eve"), "{}", first.stdout);
    let all = fake.run(&["caller", "ls", "--all", "--limit", "2"]);
    insta::assert_snapshot!(all.stdout, @r"
    ACCOUNT  NAME  ROLE    STANDING
    acme     ann   member  active
    acme     bob   member  active
    acme     eve   member  active
    ");
    assert_eq!(all.stderr, "");
    let json = fake.run(&["caller", "ls", "--all", "-o", "json"]);
    let said: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((said["callers"].as_array().unwrap().len(), said["next_after"].is_null()), (3, true));
    let asked: Vec<String> = fake.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(asked[1..3], ["/api/v1/callers?limit=2", "/api/v1/callers?limit=2&after=p2"]);
}
