//! What a command says when it is refused, or when the server is not what it should be.

use std::io::{Read as _, Write as _};
use std::path::Path;

use crate::fake::{Fake, run};
use crate::{TOKEN, problem};

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
    assert!(no_token.stderr.contains("hint: `valetkey login`, set VALETKEY_TOKEN"), "{}", no_token.stderr);
    let in_the_clear = run(&["whoami", "--server", "http://keys.example:1"], &[("VALETKEY_TOKEN", TOKEN)]);
    assert_eq!(in_the_clear.code, 2);
    assert!(in_the_clear.stderr.contains("--insecure-http"), "{}", in_the_clear.stderr);
    assert!(!in_the_clear.stderr.contains(TOKEN));
    assert!(fake.seen().is_empty());
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
