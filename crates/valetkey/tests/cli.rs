//! The command line as a shell sees it, against a server that answers what the test says.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::http::Method;

use fake::{Fake, run};

const TOKEN: &str = "vkt_0000000000000000000000000000000000000000000_abcdef";

/// The server that answers, and the binary that asks it.
#[cfg(test)]
mod fake {
    use std::io::Write as _;
    use std::process::{Command, Output, Stdio};
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::body::Bytes;
    use axum::http::{HeaderMap, Method, StatusCode, Uri};

    /// A request as the server saw it.
    #[derive(Clone, Debug)]
    pub(crate) struct Seen {
        pub(crate) method: Method,
        pub(crate) path: String,
        pub(crate) authorization: String,
        pub(crate) body: String,
    }

    /// A server that answers what it is told and remembers what it was asked.
    pub(crate) struct Fake {
        pub(crate) url: String,
        seen: Arc<Mutex<Vec<Seen>>>,
    }

    impl Fake {
        pub(crate) fn start(answer: impl Fn(&Seen) -> (u16, String) + Send + Sync + 'static) -> Self {
            let seen = Arc::new(Mutex::new(Vec::new()));
            let (answer, log) = (Arc::new(answer), Arc::clone(&seen));
            let handler = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                async move {
                    let authorization =
                        headers.get("authorization").map_or("", |value| value.to_str().unwrap_or("")).to_owned();
                    let body = String::from_utf8(body.to_vec()).unwrap();
                    let request = Seen { method, path: uri.to_string(), authorization, body };
                    log.lock().unwrap().push(request.clone());
                    let (status, body) = answer(&request);
                    let headers =
                        [("content-type", "application/json"), ("x-request-id", "req_test"), ("retry-after", "7")];
                    (StatusCode::from_u16(status).unwrap(), headers, body)
                }
            };
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            // The thread ends with the test's process.
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                    axum::serve(listener, Router::new().fallback(handler)).await.unwrap();
                });
            });
            Self { url, seen }
        }

        pub(crate) fn always(status: u16, body: &str) -> Self {
            let body = body.to_owned();
            Self::start(move |_| (status, body.clone()))
        }

        pub(crate) fn seen(&self) -> Vec<Seen> {
            self.seen.lock().unwrap().clone()
        }

        pub(crate) fn run(&self, line: &[&str]) -> Ran {
            self.run_with(line, "")
        }

        /// The same, with something on standard input.
        pub(crate) fn run_with(&self, line: &[&str], input: &str) -> Ran {
            run_with(line, &[("VALETKEY_SERVER", &self.url), ("VALETKEY_TOKEN", super::TOKEN)], input)
        }
    }

    /// How a command ended and what it wrote.
    pub(crate) struct Ran {
        pub(crate) code: i32,
        pub(crate) stdout: String,
        pub(crate) stderr: String,
    }

    /// Runs the binary with an environment of its own.
    pub(crate) fn run(line: &[&str], environment: &[(&str, &str)]) -> Ran {
        run_with(line, environment, "")
    }

    fn run_with(line: &[&str], environment: &[(&str, &str)], input: &str) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_valetkey"));
        command.args(line).env_clear().env("HOME", "/nonexistent").envs(environment.iter().copied());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // One that does not read it may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        Ran {
            code: status.code().unwrap(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }
}

fn problem(status: u16, code: &str, detail: &str) -> String {
    format!(
        r#"{{"type":"urn:valetkey:problem:{code}","title":"T","status":{status},"detail":"{detail}","code":"{code}","request_id":"req_1"}}"#
    )
}

fn credential(expires: &str, number: usize) -> String {
    format!(
        r#"{{"lease_id":"lse_{number}","access_key_id":"VKID{number}","secret_access_key":"s3cr'et","session_token":"sess/tok+","expiration":"{expires}","endpoint_url":"http://127.0.0.1:7071","region":"auto","bucket":"lake","prefixes":["flights/daily"],"objects":[],"raw_prefixes":[],"whole_bucket":false,"access":"read","actions":["get-object"],"grants":["grt_1"],"cuts":[],"revocation":"immediate"}}"#
    )
}

#[test]
fn every_refusal_of_the_server_ends_with_its_own_exit_code() {
    for (status, code, exit) in [
        (400, "malformed", 2),
        (401, "token_expired", 3),
        (402, "out_of_credit", 4),
        (403, "forbidden", 4),
        (404, "not_found", 5),
        (409, "already_exists", 6),
        (422, "invalid", 2),
        (429, "rate_limited", 7),
        (500, "internal", 1),
        (503, "unavailable", 8),
    ] {
        let fake = Fake::always(status, &problem(status, code, "the reason"));
        let ran = fake.run(&["whoami"]);
        assert_eq!(ran.code, exit, "{status}: {}", ran.stderr);
        assert_eq!(ran.stdout, "");
        assert!(ran.stderr.starts_with("error: the reason\n"), "{}", ran.stderr);
        assert!(ran.stderr.contains("request: req_1\n"), "{}", ran.stderr);
    }
}

#[test]
fn with_json_a_refusal_is_one_problem_object_and_nothing_else() {
    let fake = Fake::always(429, &problem(429, "rate_limited", "slow down"));
    let ran = fake.run(&["ls", "-o", "json"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (7, ""));
    insta::assert_snapshot!(
        ran.stderr,
        @r#"{"type":"urn:valetkey:problem:rate_limited","title":"T","status":429,"detail":"slow down","code":"rate_limited","retry_after_secs":7,"hint":"try again in 7 s","request_id":"req_1","exit_code":7}"#
    );
}

#[test]
fn a_server_that_is_not_there_ends_with_8_and_says_how_to_start_one() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let ran = run(&["whoami"], &[("VALETKEY_SERVER", &url), ("VALETKEY_TOKEN", TOKEN)]);
    assert_eq!(ran.code, 8);
    assert!(ran.stderr.contains("cannot be reached"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: is the server running?"), "{}", ran.stderr);
}

#[test]
fn a_server_that_does_not_answer_in_time_ends_with_8() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let ran = run(&["whoami", "--timeout-secs", "1"], &[("VALETKEY_SERVER", &url), ("VALETKEY_TOKEN", TOKEN)]);
    assert_eq!(ran.code, 8);
    assert!(ran.stderr.contains("did not answer within 1 s"), "{}", ran.stderr);
}

#[test]
fn half_an_answer_is_no_answer() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        peer.read_exact(&mut [0; 64]).unwrap();
        peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}").unwrap();
        // Once the request is read whole, closing is an end and not a reset.
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = peer.read_to_end(&mut Vec::new());
    });
    let ran = run(&["whoami"], &[("VALETKEY_SERVER", &url), ("VALETKEY_TOKEN", TOKEN)]);
    assert_eq!((ran.code, ran.stdout.as_str()), (8, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("broke off in the middle of its answer"), "{}", ran.stderr);
}

#[test]
fn what_would_leak_the_token_or_has_none_never_reaches_a_server() {
    let fake = Fake::always(200, "{}");
    let no_token = run(&["whoami"], &[("VALETKEY_SERVER", &fake.url)]);
    assert_eq!(no_token.code, 3);
    assert!(no_token.stderr.contains("hint: set VALETKEY_TOKEN"), "{}", no_token.stderr);
    let in_the_clear = run(&["whoami", "--server", "http://keys.example:1"], &[("VALETKEY_TOKEN", TOKEN)]);
    assert_eq!(in_the_clear.code, 2);
    assert!(in_the_clear.stderr.contains("--insecure-http"), "{}", in_the_clear.stderr);
    assert!(!in_the_clear.stderr.contains(TOKEN));
    assert!(fake.seen().is_empty());
}

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
fn a_redirect_is_not_followed_with_the_token() {
    let other = Fake::always(200, "{}");
    let fake = Fake::always(307, "");
    let ran = fake.run(&["whoami"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(other.seen().is_empty());
    assert_eq!(fake.seen().len(), 1);
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
    assert_eq!(seen.body, r#"{"bucket":"lake","prefixes":["flights/daily"],"access":"read","ttl_secs":900}"#);
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
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("`region` holds a control character"), "{}", ran.stderr);
}

#[test]
fn a_servers_words_do_not_reach_the_terminal_as_commands() {
    let fake = Fake::always(403, &problem(403, "forbidden", r"\u001b]0;owned\u0007no\nhint: run this"));
    let ran = fake.run(&["whoami", "--color", "never"]);
    assert!(!ran.stderr.contains('\u{1b}') && !ran.stderr.contains('\u{7}'), "{:?}", ran.stderr);
    assert!(!ran.stderr.lines().any(|line| line == "hint: run this"));
    let fake = Fake::always(200, r#"{"grants":[{"name":"x\u001b[2Jy","bucket":"b"}]}"#);
    let ran = fake.run(&["ls"]);
    assert!(ran.stdout.contains(r"x\u{1b}[2Jy") && !ran.stdout.contains('\u{1b}'), "{:?}", ran.stdout);
}

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
        (&["caller", "ls", "--account", "acme"], "GET /api/v1/accounts/acme/callers", ""),
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
        (&["grant", "rm", id], &format!("DELETE /api/v1/grants/{id}"), ""),
        (&["grant", "rm", id, "--keep-credentials"], &format!("DELETE /api/v1/grants/{id}?end_credentials=false"), ""),
        (
            &["account", "create", "acme", "--credits-per-vend", "2"],
            "POST /api/v1/accounts",
            r#"{"credits_per_vend":2,"name":"acme"}"#,
        ),
        (&["account", "ls"], "GET /api/v1/accounts", ""),
        (&["account", "suspend", "acme"], "PATCH /api/v1/accounts/acme", r#"{"standing":"suspended"}"#),
        (&["account", "activate", "acme"], "PATCH /api/v1/accounts/acme", r#"{"standing":"active"}"#),
        (
            &["account", "set", "acme", "--credits-per-vend", "0"],
            "PATCH /api/v1/accounts/acme",
            r#"{"credits_per_vend":0}"#,
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
        assert_eq!(ran.stdout, "");
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
            assert!(ran.stderr.contains("vending") && ran.stderr.contains(command), "{line:?}: {}", ran.stderr);
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
    assert_eq!(paths, ["/api/v1/grants?account=acme", "/api/v1/grants/grt_7"]);
    assert_eq!(fake.run(&["grant", "rm", "dayly"]).code, 5);
}

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
    let answer = r#"{"leases":[{"lease_id":"lse_1","state":"live","caller":"clr_1","access":"read","bucket":"lake","prefixes":["a"],"objects":["b"],"raw_prefixes":[],"whole_bucket":false,"opened":"2026-01-01T00:00:00Z","expires":"2026-01-01T01:00:00Z","revocation":"immediate","dialect":"native"}],"next_before":"lse_1"}"#;
    let fake = Fake::always(200, answer);
    let ran = fake.run(&["lease", "ls", "-o", "wide"]);
    insta::assert_snapshot!(ran.stdout, @r"
    LEASE  STATE  CALLER  ACCESS  OPENS                      OPENED                EXPIRES               ENDS EARLY  API
    lse_1  live   clr_1   read    s3://lake/a/, s3://lake/b  2026-01-01T00:00:00Z  2026-01-01T01:00:00Z  immediate   native
    ");
    assert_eq!(ran.stderr, "there may be more: --before lse_1\n");
    let table = fake.run(&["lease", "ls", "-q"]);
    assert_eq!(table.stderr, "");
    assert!(table.stdout.contains(" ago ") && !table.stdout.contains("2026-01-01"), "{}", table.stdout);
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
            r#"{{"lease_id":"{id}","state":"live","caller_name":"ann","account_name":"acme","bucket":"lake","prefixes":["a"],"opened":"2026-01-01T00:00:00Z","expires":"2026-01-01T01:00:00Z","revocation":"expiry-only","store_key_id":"ASIA1","store_request_id":"r-1"}}"#
        )
    };
    let answer = format!(r#"{{"leases":[{},{}]}}"#, lease("lse_2"), lease("lse_1"));
    let fake = Fake::always(200, &answer);
    let ran = fake.run(&["whose", "ASIA1", "-o", "wide"]);
    insta::assert_snapshot!(ran.stdout, @r"
    LEASE  STATE  CALLER  ACCOUNT  OPENS         OPENED                EXPIRES               REQUEST AT THE STORE
    lse_2  live   ann     acme     s3://lake/a/  2026-01-01T00:00:00Z  2026-01-01T01:00:00Z  r-1
    lse_1  live   ann     acme     s3://lake/a/  2026-01-01T00:00:00Z  2026-01-01T01:00:00Z  r-1
    ");
    let shown = Fake::always(200, &lease("lse_1")).run(&["lease", "show", "lse_1"]).stdout;
    for part in ["expiry-only", "ASIA1", "r-1"] {
        assert!(shown.contains(part), "{shown}");
    }
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

#[test]
fn an_empty_list_is_no_data() {
    let ran = Fake::always(200, r#"{"tokens":[]}"#).run(&["token", "ls"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", "there are no tokens\n"));
}

#[test]
fn a_word_that_is_nearly_a_command_is_suggested_in_both_forms() {
    let ran = run(&["tokn"], &[]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("a similar subcommand exists: 'token'"), "{}", ran.stderr);
    let ran = run(&["-o", "json", "tokn"], &[]);
    let problem: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(problem["exit_code"], 2);
    assert!(problem["hint"].as_str().unwrap().contains("'token'"), "{problem}");
}

#[test]
fn help_says_what_there_is() {
    let texts: BTreeMap<&str, String> = [
        ("1 help", vec!["--help"]),
        ("2 creds", vec!["creds", "--help"]),
        ("3 exit-codes", vec!["help", "exit-codes"]),
        ("4 environment", vec!["help", "environment"]),
        ("5 formats", vec!["help", "formats"]),
    ]
    .into_iter()
    .map(|(name, line)| {
        let ran = run(&line, &[]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        (name, ran.stdout)
    })
    .collect();
    let all: Vec<String> = texts.iter().map(|(name, text)| format!("--- {name}\n{text}")).collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn help_of_a_command_is_the_same_however_it_is_asked_for() {
    assert_eq!(run(&["help", "token", "create"], &[]).stdout, run(&["token", "create", "--help"], &[]).stdout);
    assert_eq!(run(&["help", "nothing"], &[]).code, 2);
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = run(&["completions", shell], &[]);
        assert_eq!(ran.code, 0);
        assert!(ran.stdout.contains("valetkey"), "{shell}");
    }
}

#[test]
fn a_token_file_is_read_and_a_loose_one_warned_about() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
    let fake = Fake::always(200, "{}");
    let call =
        |path: &Path| run(&["whoami", "--token-file", path.to_str().unwrap()], &[("VALETKEY_SERVER", &fake.url)]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(call(&path).stderr.contains("warning: others can read the token"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let ran = call(&path);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(fake.seen().pop().unwrap().authorization, format!("Bearer {TOKEN}"));
}

#[test]
fn the_documentation_names_every_command_variable_format_and_exit_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let page = std::fs::read_to_string(path).unwrap();
    let first_words = |text: &str| -> Vec<String> {
        let rows = text.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with([' ', '-']));
        rows.filter_map(|line| line.split("  ").next()).map(|word| word.trim().to_owned()).collect()
    };
    let of = |line: &[&str]| first_words(&run(line, &[]).stdout);
    let commands = run(&["-h"], &[]).stdout;
    let commands = first_words(commands.split("Options:").next().unwrap());
    assert!(commands.len() > 15, "{commands:?}");
    for command in commands {
        assert!(page.contains(&format!("`valetkey {command}")), "{command}");
    }
    for variable in of(&["help", "environment"]).iter().flat_map(|names| names.split(", ")) {
        assert!(page.contains(&format!("`{variable}`")), "{variable}");
    }
    for format in of(&["help", "formats"]) {
        assert!(format == "table" || page.contains(&format!("`{format}`")), "{format}");
    }
    for code in of(&["help", "exit-codes"]) {
        assert!(page.contains(&format!("\n| {code} | ")), "{code}");
    }
}
