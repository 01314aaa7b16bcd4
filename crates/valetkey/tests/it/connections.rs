//! Connections as strangers open them: silent ones, many of one address, behind proxies, and at the end of the server.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{Server, answered, valetkey};

fn init(dir: &Path) -> String {
    let said = answered(&mut valetkey(&["server", "init", "--data-dir", dir.to_str().unwrap(), "--output", "json"]));
    said["operator_token"].as_str().unwrap().to_owned()
}

fn command(dir: &Path, settings: &[(&str, &str)]) -> Command {
    let dir = dir.to_str().unwrap();
    let mut command = valetkey(&["server", "run", "--data-dir", dir, "--output", "json"]);
    command.args(["--api-listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0"]);
    for (name, value) in settings {
        command.env(format!("VALETKEY_{name}"), value);
    }
    command
}

fn connect(server: &Server) -> TcpStream {
    connect_to(server.api())
}

fn connect_to(url: &str) -> TcpStream {
    let stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Asks, and reads one answer's head and body of a length it says.
fn ask(stream: &mut TcpStream, request: &str) -> Option<String> {
    stream.write_all(request.as_bytes()).ok()?;
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(read) => said.extend_from_slice(&buffer[..read]),
        }
        let text = String::from_utf8_lossy(&said).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_ascii_lowercase();
        let length = length.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
        if body.len() >= length.unwrap_or(0usize) {
            return Some(text);
        }
    }
}

fn status_of(answer: &str) -> String {
    answer.split(' ').nth(1).unwrap().to_owned()
}

const LIVE: &str = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";

/// Whether the other side ends the connection, and how soon.
fn ends(stream: &mut TcpStream) -> Duration {
    let began = Instant::now();
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
    began.elapsed()
}

#[test]
fn silent_connections_of_one_address_leave_room_and_end_soon() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let settings = [("API__MAX_CONNECTIONS", "40"), ("API__MAX_CONNECTIONS_PER_ADDRESS", "8")];
    let server = Server::start(&mut command(dir.path(), &settings));
    let mut silent: Vec<TcpStream> = (0..8).map(|_| connect(&server)).collect();
    // Those that are more than the address may have are closed at once; they take no place of the forty.
    for _ in 0..100 {
        assert!(ends(&mut connect(&server)) < Duration::from_secs(5));
    }
    // Half a head is no request either.
    silent[7].write_all(b"GET /livez HTTP/1.1\r\nHo").unwrap();
    let began = Instant::now();
    for stream in &mut silent {
        ends(stream);
    }
    assert!((8..15).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(ask(&mut connect(&server), LIVE).unwrap().starts_with("HTTP/1.1 200"));
    server.stop();
}

#[test]
fn who_watches_has_places_that_nobody_else_can_take() {
    let dir = tempfile::tempdir().unwrap();
    let operator = init(dir.path());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let settings = [("API__MAX_CONNECTIONS", "8"), ("METRICS__LISTEN", free.as_str())];
    let server = Server::start(&mut command(dir.path(), &settings));
    let mut own = connect(&server);
    let metrics = |more: &str| format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{more}\r\n");
    let authorized = metrics(&format!("Authorization: Bearer {operator}\r\n"));
    assert!(ask(&mut own, &authorized).unwrap().starts_with("HTTP/1.1 404"), "they are elsewhere");
    let _silent: Vec<TcpStream> = (0..8).map(|_| connect(&server)).collect();
    let mut watcher = TcpStream::connect(&free).unwrap();
    assert!(ask(&mut watcher, LIVE).unwrap().starts_with("HTTP/1.1 200"));
    assert!(ask(&mut watcher, &LIVE.replace("livez", "readyz")).unwrap().starts_with("HTTP/1.1 200"));
    let figures = ask(&mut watcher, &metrics("")).unwrap();
    assert!(figures.starts_with("HTTP/1.1 200") && figures.contains("vk_build_info"));
    server.stop();
}

#[test]
fn figures_on_the_apis_address_are_for_operators() {
    let dir = tempfile::tempdir().unwrap();
    let operator = init(dir.path());
    let server = Server::start(&mut command(dir.path(), &[]));
    let mut stream = connect(&server);
    let by = |token: &str| format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{token}\r\n");
    let stranger = ask(&mut stream, &by("")).unwrap();
    assert!(stranger.starts_with("HTTP/1.1 401") && !stranger.contains("vk_"), "{stranger}");
    assert!(stranger.to_ascii_lowercase().contains("www-authenticate: bearer"));
    let mut client = valetkey(&["account", "create", "acme"]);
    client.env("VALETKEY_SERVER", server.api()).env("VALETKEY_TOKEN", &operator).args(["--output", "json"]);
    answered(&mut client);
    let mut client = valetkey(&["token", "create", "--account", "acme", "--role", "admin", "boss"]);
    client.env("VALETKEY_SERVER", server.api()).env("VALETKEY_TOKEN", &operator).args(["--output", "json"]);
    let admin = answered(&mut client)["token"].as_str().unwrap().to_owned();
    let refused = ask(&mut stream, &by(&format!("Authorization: Bearer {admin}\r\n"))).unwrap();
    assert!(refused.starts_with("HTTP/1.1 403") && !refused.contains("vk_"), "{refused}");
    let shown = ask(&mut stream, &by(&format!("Authorization: Bearer {operator}\r\n"))).unwrap();
    assert!(shown.starts_with("HTTP/1.1 200") && shown.contains("vk_build_info"), "{shown}");
    server.stop();
}

#[test]
fn half_a_request_head_does_not_hold_the_end_and_the_last_answer_says_that_it_is() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let server = Server::start(&mut command(dir.path(), &[("SHUTDOWN__DELAY_SECS", "1")]));
    let (mut kept, mut half, mut silent) = (connect(&server), connect(&server), connect(&server));
    assert!(!ask(&mut kept, LIVE).unwrap().to_ascii_lowercase().contains("connection: close"));
    half.write_all(b"GET /livez HTTP/1.1\r\nHo").unwrap();
    server.signal("TERM");
    // The last answer of a connection says that it is, before anything is closed.
    while !ask(&mut kept, LIVE).unwrap().to_ascii_lowercase().contains("connection: close") {}
    ends(&mut kept);
    let began = Instant::now();
    server.stop();
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    ends(&mut half);
    ends(&mut silent);
}

/// A header of the PROXY protocol, version 2, for a client of IPv4.
fn proxied(client: &str) -> Vec<u8> {
    let IpAddr::V4(client) = client.parse().unwrap() else { panic!("{client}") };
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    header.extend(client.octets());
    header.extend([10, 0, 0, 1, 1, 2, 3, 4]);
    header
}

#[test]
fn strangers_behind_a_proxy_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let limits = ("LIMITS__STRANGERS", "per-day:2/86400");
    let settings = [limits, ("TRUSTED_PROXIES", "127.0.0.0/8")];
    let server = Server::start(&mut command(dir.path(), &settings));
    let mut stream = connect(&server);
    let mut status = |forwarded: &str| {
        let request = format!("GET /api/v1/me HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {forwarded}\r\n\r\n");
        status_of(&ask(&mut stream, &request).unwrap())
    };
    assert_eq!([status("203.0.113.1"), status("203.0.113.1"), status("203.0.113.1")], ["401", "401", "429"]);
    assert_eq!(status("203.0.113.2"), "401", "another one");
    assert_eq!(status("203.0.113.2, 203.0.113.1"), "429", "what the client wrote itself counts for nothing");
    server.stop();

    let settings = [limits, ("TRUSTED_PROXIES", "127.0.0.1"), ("API__PROXY_PROTOCOL", "true")];
    let server = Server::start(&mut command(dir.path(), &settings));
    let status = |client: &str| {
        let mut stream = connect(&server);
        stream.write_all(&proxied(client)).unwrap();
        status_of(&ask(&mut stream, "GET /api/v1/me HTTP/1.1\r\nHost: x\r\n\r\n").unwrap())
    };
    assert_eq!([status("203.0.113.1"), status("203.0.113.1"), status("203.0.113.1")], ["401", "401", "429"]);
    assert_eq!(status("203.0.113.2"), "401");
    assert_eq!(ask(&mut connect(&server), LIVE), None, "whoever does not say it is not served");
    server.stop();
}

/// Begins with HTTP/2 and no settings; the first frames that come: kind, payload.
fn frames_at(url: &str, count: usize) -> Vec<(u8, Vec<u8>)> {
    let mut stream = connect_to(url);
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let frame = |_| {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let mut payload = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
        stream.read_exact(&mut payload).unwrap();
        (head[3], payload)
    };
    (0..count).map(frame).collect()
}

#[test]
fn who_begins_with_http_2_at_the_s3_endpoint_hears_what_is_served_there() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let server = Server::start(&mut command(dir.path(), &[]));
    let s3 = server.ready["s3"].as_str().unwrap().to_owned();
    let frames = frames_at(&s3, 2);
    assert_eq!(frames[0], (4, Vec::new()), "settings come first");
    let (7, said) = &frames[1] else { panic!("{frames:?}") };
    let (numbers, text) = said.split_at(8);
    assert_eq!(numbers, [0, 0, 0, 0, 0, 0, 0, 13], "no stream was taken: HTTP_1_1_REQUIRED");
    assert_eq!(text, b"HTTP/1.1 is served here, and no HTTP/2");
    // Its first line may come piece by piece; nothing of that is taken for a request.
    let mut slow = connect_to(&s3);
    slow.write_all(b"PR").unwrap();
    assert!(ask(&mut slow, "I * HTTP/2.0\r\n\r\nSM\r\n\r\n").is_none_or(|said| said.starts_with("HTTP/1.1 400")));
    let mut stream = connect_to(&s3);
    for _ in 0..2 {
        assert!(ask(&mut stream, "GET /lake HTTP/1.1\r\nHost: x\r\n\r\n").unwrap().starts_with("HTTP/1.1 403"));
    }
    let at_the_api = frames_at(server.api(), 2);
    assert!(at_the_api.iter().all(|(kind, _)| *kind != 7), "{at_the_api:?}");
    server.stop();

    let server = Server::start(&mut command(dir.path(), &[("S3__HTTP2", "true")]));
    let frames = frames_at(server.ready["s3"].as_str().unwrap(), 2);
    assert!(frames[0].0 == 4 && frames.iter().all(|(kind, _)| *kind != 7), "{frames:?}");
    server.stop();
}

#[test]
fn the_process_leaves_no_core_and_has_raised_its_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let run = command(dir.path(), &[]);
    // The limit is lowered for the server alone.
    let mut lowered = Command::new("sh");
    lowered.args(["-c", "ulimit -Sn 128; ulimit -Sc unlimited 2>/dev/null; exec \"$0\" \"$@\""]).arg(run.get_program());
    lowered.args(run.get_args());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VALETKEY_")) {
        lowered.env_remove(name);
    }
    let server = Server::start(&mut lowered);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.id())).unwrap();
    let row = |name: &str| -> Vec<String> {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_at(name.len()).1.split_whitespace().map(str::to_owned).collect()
    };
    let files = row("Max open files");
    assert_eq!(files[0], files[1], "the soft limit is the hard one");
    assert_eq!(row("Max core file size")[..2], ["0", "0"]);
    server.stop();
}

/// Who may look into a process: the owner of what `/proc` has of its memory.
#[cfg(target_os = "linux")]
fn looked_into_by(process: u32) -> (u32, u32) {
    use std::os::unix::fs::MetadataExt as _;
    let owner = std::fs::metadata(format!("/proc/{process}/environ")).unwrap().uid();
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
    (owner, line.split_whitespace().nth(1).unwrap().parse().unwrap())
}

#[cfg(target_os = "linux")]
#[test]
fn nobody_but_root_may_look_into_the_process() {
    use std::os::unix::process::CommandExt as _;
    const NOBODY: u32 = 65_534;
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let mut run = command(dir.path(), &[]);
    let mut other = Command::new("sleep");
    other.arg("60");
    if std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
        // Root may look into everything, so the server is somebody else's.
        let given = Command::new("chown").args(["-R", &NOBODY.to_string()]).arg(dir.path()).status().unwrap();
        assert!(given.success());
        run.uid(NOBODY);
        other.uid(NOBODY);
    }
    // Another process of the same user is that user's to look into.
    let mut other = other.spawn().unwrap();
    let (owner, user) = looked_into_by(other.id());
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(owner == user && user != 0);
    let server = Server::start(&mut run);
    let (owner, same) = looked_into_by(server.id());
    assert_eq!((owner, same), (0, user));
    server.stop();
}
