//! Credentials: what is asked, what is printed, and what is kept between calls.

use std::sync::{Arc, Mutex};

use crate::fake::{Fake, run};
use crate::{TOKEN, credential, problem};

#[test]
fn a_refusal_to_vend_says_where_to_look() {
    let fake = Fake::always(403, &problem(403, "forbidden", "no live grant opens it"));
    let ran = fake.run(&["creds", "daily"]);
    assert_eq!(ran.code, 4);
    insta::assert_snapshot!(ran.stderr, @r"
    error: no live grant opens it
    hint: `valetkey ls` shows what you can reach, `valetkey explain` why not
    request: req_1
    ");
    assert!(!fake.run(&["account", "ls"]).stderr.contains("hint:"), "a hint that does not fit is worse than none");
}

#[test]
fn creds_asks_for_what_the_line_says_and_writes_what_a_shell_reads() {
    let fake = Fake::always(200, &credential("2099-01-01T00:00:00Z", 1));
    let ran = fake.run(&["creds", "s3://lake/flights/daily/", "--ttl", "15m", "--access", "read"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    insta::assert_snapshot!(ran.stdout, @r"
    unset AWS_PROFILE AWS_DEFAULT_PROFILE AWS_SECURITY_TOKEN
    export AWS_ACCESS_KEY_ID='VKID1'
    export AWS_SECRET_ACCESS_KEY='s3cr'\''et'
    export AWS_SESSION_TOKEN='sess/tok+'
    export AWS_CREDENTIAL_EXPIRATION='2099-01-01T00:00:00Z'
    export AWS_REGION='auto'
    export AWS_DEFAULT_REGION='auto'
    export AWS_ENDPOINT_URL_S3='http://127.0.0.1:7071'
    export AWS_ENDPOINT_URL='http://127.0.0.1:7071'
    export AWS_ALLOW_HTTP='true'
    ");
    assert!(!ran.stderr.contains("s3cr"), "the secret is data, not talk: {}", ran.stderr);
    assert!(ran.stderr.contains("read s3://lake/flights/daily/ until 2099"), "{}", ran.stderr);
    let [seen] = fake.seen().try_into().unwrap();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/api/v1/credentials"));
    assert_eq!(seen.authorization, format!("Bearer {TOKEN}"));
    assert_eq!(seen.body, r#"{"access":"read","bucket":"lake","prefixes":["flights/daily"],"ttl_secs":900}"#);
}

#[test]
fn process_keeps_credentials_between_calls_until_half_their_life_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let count = Arc::new(Mutex::new(0));
    let fake = Fake::start(move |_| {
        let mut count = count.lock().unwrap();
        *count += 1;
        // The first is about to end, and is renewed; the second lasts.
        let expires = if *count == 1 { "2026-01-01T00:00:00Z" } else { "2099-01-01T00:00:00Z" };
        (200, credential(expires, *count))
    });
    let call = |token: &str, more: &[&str]| {
        let line = [&["creds", "daily", "--format", "process"], more].concat();
        let cache = dir.path().join("creds");
        let cache = cache.to_str().unwrap();
        run(&line, &[("VALETKEY_SERVER", &fake.url), ("VALETKEY_TOKEN", token), ("VALETKEY_CACHE_DIR", cache)])
    };
    assert!(call(TOKEN, &[]).stdout.contains("VKID1"));
    assert!(call(TOKEN, &[]).stdout.contains("VKID2"), "one that is over is renewed");
    let third = call(TOKEN, &[]);
    assert!(third.stdout.contains("VKID2"), "one that lasts is kept");
    assert_eq!(third.stderr, "");
    insta::assert_snapshot!(third.stdout, @r#"
    {
      "Version": 1,
      "AccessKeyId": "VKID2",
      "SecretAccessKey": "s3cr'et",
      "SessionToken": "sess/tok+",
      "Expiration": "2099-01-01T00:00:00Z"
    }
    "#);
    assert!(call(TOKEN, &["--no-cache"]).stdout.contains("VKID3"));
    assert!(call(TOKEN, &["--ttl", "1h"]).stdout.contains("VKID4"), "another ask is another credential");
    assert!(call(&TOKEN.replace('0', "1"), &[]).stdout.contains("VKID5"), "another caller gets its own");
    #[cfg(unix)]
    for entry in std::fs::read_dir(dir.path().join("creds")).unwrap() {
        use std::os::unix::fs::PermissionsExt as _;
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        let text = std::fs::read_to_string(entry.path()).unwrap();
        assert!(!text.contains(TOKEN));
    }
}

#[test]
fn kept_credentials_outlast_a_server_that_is_away_but_not_a_refusal() {
    let dir = tempfile::tempdir().unwrap();
    let status = Arc::new(Mutex::new(200));
    let told = Arc::clone(&status);
    let fake = Fake::start(move |_| match *told.lock().unwrap() {
        200 => (200, credential("2099-01-01T00:00:00Z", 1)),
        status => (status, problem(status, "x", "the reason")),
    });
    let call = || {
        let cache = dir.path().to_str().unwrap();
        let environment =
            [("VALETKEY_SERVER", fake.url.as_str()), ("VALETKEY_TOKEN", TOKEN), ("VALETKEY_CACHE_DIR", cache)];
        run(&["creds", "daily", "--format", "process"], &environment)
    };
    assert_eq!(call().code, 0);
    // As if half of a long life were over.
    let kept = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let kept = kept.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "json")).unwrap();
    let mut content: serde_json::Value = serde_json::from_slice(&std::fs::read(&kept).unwrap()).unwrap();
    content["vended"] = (-600_000_000).into();
    std::fs::write(&kept, content.to_string()).unwrap();
    for (answer, code, credential) in
        [(503, 0, true), (429, 0, true), (401, 3, false), (403, 4, false), (500, 1, false)]
    {
        *status.lock().unwrap() = answer;
        let ran = call();
        assert_eq!((ran.code, ran.stdout.contains("VKID1")), (code, credential), "{answer}: {}", ran.stderr);
        assert!(ran.stderr.contains("the reason"), "{answer}: {}", ran.stderr);
    }
    assert_eq!(fake.seen().len(), 6);
}

#[test]
fn what_is_kept_for_more_than_a_minute_is_confirmed_before_it_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let lease = Arc::new(Mutex::new((200, r#"{"state":"live"}"#.to_owned())));
    let (told, count) = (Arc::clone(&lease), Arc::new(Mutex::new(0)));
    let fake = Fake::start(move |seen| {
        if seen.path.starts_with("/api/v1/leases/") {
            return told.lock().unwrap().clone();
        }
        let mut count = count.lock().unwrap();
        *count += 1;
        (200, credential("2099-01-01T00:00:00Z", *count))
    });
    let call = || {
        let cache = dir.path().to_str().unwrap();
        let environment =
            [("VALETKEY_SERVER", fake.url.as_str()), ("VALETKEY_TOKEN", TOKEN), ("VALETKEY_CACHE_DIR", cache)];
        run(&["creds", "daily", "--format", "process"], &environment)
    };
    // As if it had been kept for ten years, of a hundred.
    let age = || {
        let files = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let kept = files.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "json")).unwrap();
        let mut content: serde_json::Value = serde_json::from_slice(&std::fs::read(&kept).unwrap()).unwrap();
        (content["vended"], content["asked"]) = (1_500_000_000.into(), 1_500_000_000.into());
        std::fs::write(&kept, content.to_string()).unwrap();
    };
    let asked = || fake.seen().iter().filter(|seen| seen.path.starts_with("/api/v1/leases/lse_")).count();
    assert!(call().stdout.contains("VKID1") && call().stdout.contains("VKID1"));
    assert_eq!(asked(), 0, "not within the first minute");
    age();
    assert!(call().stdout.contains("VKID1") && call().stdout.contains("VKID1"));
    assert_eq!((asked(), fake.seen().pop().unwrap().path.as_str()), (1, "/api/v1/leases/lse_1"), "once a minute");
    let ended =
        [(200, r#"{"state":"revoked"}"#.to_owned()), (404, problem(404, "not_found", "gone")), (200, "{}".to_owned())];
    for (number, answer) in (2..).zip(ended) {
        *lease.lock().unwrap() = answer;
        age();
        let ran = call();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stdout.contains(&format!("VKID{number}")), "an ended one is not printed: {}", ran.stdout);
    }
    for (status, code, printed) in [(401, 3, false), (403, 4, false), (503, 0, true), (429, 0, true)] {
        *lease.lock().unwrap() = (status, problem(status, "x", "the reason"));
        age();
        let before = asked();
        let ran = call();
        assert_eq!((ran.code, ran.stdout.contains("VKID4")), (code, printed), "{status}: {}", ran.stderr);
        assert!(ran.stderr.contains("the reason"), "{status}: {}", ran.stderr);
        assert_eq!(asked(), before + 1);
        if printed {
            assert_eq!((call().code, asked()), (0, before + 1), "a server that is away is not asked at each call");
        }
    }
}

#[test]
fn calls_at_the_same_time_vend_once() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::always(200, &credential("2099-01-01T00:00:00Z", 1));
    let environment = [
        ("VALETKEY_SERVER", fake.url.as_str()),
        ("VALETKEY_TOKEN", TOKEN),
        ("VALETKEY_CACHE_DIR", dir.path().to_str().unwrap()),
    ];
    std::thread::scope(|scope| {
        let calls: Vec<_> =
            (0..6).map(|_| scope.spawn(|| run(&["creds", "daily", "--format", "process"], &environment))).collect();
        for call in calls {
            assert_eq!(call.join().unwrap().code, 0);
        }
    });
    assert_eq!(fake.seen().len(), 1);
}

#[test]
fn an_answer_that_would_break_out_of_a_line_is_refused() {
    let odd = credential("2099-01-01T00:00:00Z", 1).replace("auto", r"auto\nexport PATH=/tmp");
    let ran = Fake::always(200, &odd).run(&["creds", "daily"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, "false\n"));
    assert!(ran.stderr.contains("`region` holds a control character"), "{}", ran.stderr);
}

#[test]
fn what_a_credential_is_decides_how_it_can_be_written() {
    let answer = r#"{"lease_id":"lse_1","type":"azure","sas_token":"sv=1&sig=s3cret","expiration":"2099-01-01T00:00:00Z","endpoint_url":"https://acct.blob.core.windows.net","region":"auto","bucket":"lake","prefixes":["a"],"access":"read","cuts":[],"narrowed":["get-bucket-info: why"],"revocation":"minutes"}"#;
    let fake = Fake::always(200, answer);
    let ran = fake.run(&["creds", "daily"]);
    assert!(ran.stdout.contains("export AZURE_STORAGE_SAS_TOKEN='sv=1&sig=s3cret'"), "{}", ran.stdout);
    assert!(ran.stderr.contains("leaves out get-bucket-info") && !ran.stderr.contains("s3cret"), "{}", ran.stderr);
    let kept = tempfile::tempdir().unwrap();
    for format in ["process", "container", "boto3"] {
        let ran = fake.run(&["creds", "daily", "--format", format, "--cache-dir", kept.path().to_str().unwrap()]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{format}: {}", ran.stderr);
        assert!(ran.stderr.contains("is not for an Azure shared access signature"), "{}", ran.stderr);
        assert!(ran.stderr.contains("adlfs") && !ran.stderr.contains("s3cret"), "{}", ran.stderr);
    }
    let files = std::fs::read_dir(kept.path()).unwrap().flatten();
    assert!(
        files.into_iter().all(|file| file.path().extension().is_some_and(|kind| kind == "lock")),
        "nothing is kept"
    );
}
