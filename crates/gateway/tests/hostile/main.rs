//! Stores that are none, that lie, that never end and that fall silent: nothing of what they send is taken for a store's answer,
//! nothing is read or waited for without end.
#![expect(clippy::unwrap_used, reason = "a test says what it expects and stops where it is wrong")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryStreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;
use valetkey_gateway::{Settings, Terms};
use valetkey_s3::{Backend, Failure, Version, When, Window};

/// What a server does with every request.
#[derive(Clone)]
enum Does {
    /// Answers so and ends the connection.
    Answers(String),
    /// Answers so, and so much more, again and again.
    NeverEnds(String, Bytes),
    /// Answers so, and nothing more.
    Stalls(String),
    /// Ends the connection without a word, so many times; then answers so.
    BreaksOff(usize, String),
}

/// A server that listens on a port of its own.
struct Stub {
    address: String,
    /// The bytes that went out, as far as its own side knows.
    sent: Arc<AtomicUsize>,
    _tasks: TaskTracker,
}

async fn answer(mut socket: TcpStream, does: Does, sent: &AtomicUsize) {
    let mut buffer = vec![0; 64 * 1024];
    // The head and what little body there is come in one piece or few.
    drop(socket.read(&mut buffer).await);
    if let Does::BreaksOff(times, _) = &does {
        // Here the requests are counted.
        if sent.fetch_add(1, Ordering::SeqCst) < *times {
            return;
        }
    }
    let head = match &does {
        Does::Answers(head) | Does::NeverEnds(head, _) | Does::Stalls(head) | Does::BreaksOff(_, head) => {
            head.as_bytes()
        }
    };
    if socket.write_all(head).await.is_err() {
        return;
    }
    if let Does::NeverEnds(_, more) = &does {
        while let Ok(wrote) = socket.write(more).await {
            sent.fetch_add(wrote, Ordering::SeqCst);
        }
        return;
    }
    if let Does::Answers(_) | Does::BreaksOff(..) = does {
        drop(socket.shutdown().await);
    }
    while socket.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

impl Stub {
    async fn that(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tasks, sent) = (TaskTracker::new(), Arc::new(AtomicUsize::new(0)));
        let (own, count) = (tasks.clone(), Arc::clone(&sent));
        tasks.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (does, count) = (does.clone(), Arc::clone(&count));
                own.spawn(async move { answer(socket, does, &count).await });
            }
        });
        Self { address, sent, _tasks: tasks }
    }

    /// The ways to it, one for each kind of store.
    fn stores(&self, wait: Duration) -> [(&'static str, Arc<dyn Backend>); 3] {
        let endpoint = format!(r#""endpoint":"http://{}","allow_http":true"#, self.address);
        let open = |settings: String, secrets: &str| {
            Settings::parse(&settings).unwrap().open(secrets.as_bytes(), &Terms { wait, ..Terms::default() }).unwrap()
        };
        [
            (
                "s3",
                open(
                    format!(r#"{{"backend":"s3",{endpoint}}}"#),
                    r#"{"access_key_id":"AKIA","secret_access_key":"x"}"#,
                ),
            ),
            (
                "azure",
                open(format!(r#"{{"backend":"azure","account":"name",{endpoint}}}"#), r#"{"account_key":"c2VjcmV0"}"#),
            ),
            (
                "gcs",
                open(
                    format!(r#"{{"backend":"gcs",{endpoint}}}"#),
                    r#"{"service_account_key":{"private_key":"x","private_key_id":"x","client_email":"a@b","disable_oauth":true}}"#,
                ),
            ),
        ]
    }
}

/// Asks a store everything that it can be asked.
async fn everything(store: &dyn Backend) -> Vec<(&'static str, Result<(), Failure>)> {
    let bytes = || Bytes::from_static(b"object");
    let version = Version { tag: "t".to_owned(), id: None };
    let read = |found: Option<valetkey_s3::Opened>| async move {
        match found {
            Some(opened) => opened.bytes.try_collect::<Vec<_>>().await.map(drop),
            None => Ok(()),
        }
    };
    let mut all = vec![
        ("probe", store.probe("lake").await),
        ("list", store.list("lake", "", b"", 1000).await.map(drop)),
        ("list one", store.list("lake", "a/", b"a/b", 1).await.map(drop)),
        ("head", store.head("lake", "a").await.map(drop)),
        ("put", store.put("lake", "a", bytes(), &[], When::Always).await.map(drop)),
        ("put anew", store.put("lake", "a", bytes(), &[], When::Absent).await.map(drop)),
        ("delete", store.delete("lake", "a").await),
    ];
    for (name, window, only) in [
        ("read", Window::Whole, None),
        ("read some", Window::Range(1..3), None),
        ("read the same", Window::Range(1..3), Some(&version)),
    ] {
        let opened = store.read("lake", "a", window, only).await;
        let end = match opened {
            Ok(found) => read(found).await,
            Err(failure) => Err(failure),
        };
        all.push((name, end));
    }
    let begun = store.begin("lake", "a", &[], None).await;
    let end = match begun {
        Ok(mut upload) => match upload.push(bytes()).await {
            Ok(()) => upload.complete().await.map(drop),
            Err(failure) => Err(failure),
        },
        Err(failure) => Err(failure),
    };
    all.push(("upload", end));
    all
}

const PATIENT: Duration = Duration::from_secs(20);

const PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Welcome to the hotel</title></head><body>Log in</body></html>";

fn head(status: &str, headers: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n")
}

#[tokio::test]
async fn a_login_page_is_no_answer_to_anything() {
    for kind in ["content-type: text/html; charset=utf-8\r\n", "content-type: application/xml\r\n", ""] {
        for length in [format!("content-length: {}\r\n", PAGE.len()), String::new()] {
            let stub = Stub::that(Does::Answers(head("200 OK", &format!("{kind}{length}")) + PAGE)).await;
            for (name, store) in stub.stores(PATIENT) {
                for (asked, end) in everything(&*store).await {
                    let failed = matches!(end, Err(Failure::Failed(_)));
                    assert!(failed, "{name} {asked} {kind:?} {length:?}: {end:?}");
                }
            }
        }
    }
}

const LISTING: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><Name>lake</Name><IsTruncated>false</IsTruncated>\
    <Contents><Key>a/c</Key><Size>1</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"t\"</ETag></Contents>\
    </ListBucketResult>";

#[tokio::test]
async fn a_listing_that_is_cut_short_is_no_listing() {
    let whole = Stub::that(Does::Answers(head("200 OK", "content-type: application/xml\r\n") + LISTING)).await;
    let [(_, s3), _, (_, gcs)] = whole.stores(PATIENT);
    for store in [s3, gcs] {
        let listed = store.list("lake", "", b"", 1000).await.unwrap();
        assert_eq!(listed.into_iter().map(|entry| entry.key).collect::<Vec<_>>(), ["a/c"]);
    }
    for cut in ["", "<?xml version=\"1.0\"?>", "<ListBucketResult>", "<ListBucketResult><Name>lake</Name>"]
        .into_iter()
        .map(str::to_owned)
        .chain([
            LISTING.replace("</ListBucketResult>", ""),
            LISTING.replace("</Contents>    </ListBucketResult>", "").replace("</Contents></ListBucketResult>", ""),
            // It goes on, and nobody knows where.
            LISTING.replace("false", "true"),
            "<Error><Code>NoSuchBucket</Code></Error>".to_owned(),
            "{\"kind\":\"storage#objects\"}".to_owned(),
        ])
    {
        for length in [format!("content-length: {}\r\n", cut.len()), String::new()] {
            let stub = Stub::that(Does::Answers(head("200 OK", &length) + &cut)).await;
            for (name, store) in stub.stores(PATIENT) {
                for end in [store.probe("lake").await, store.list("lake", "", b"", 1000).await.map(drop)] {
                    assert!(matches!(end, Err(Failure::Failed(_))), "{name} {cut}: {end:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_never_ends_is_not_read_for_ever() {
    let some = Bytes::from(vec![b' '; 64 * 1024]);
    for (status, headers, start) in [
        ("200 OK", "content-type: application/xml\r\n", "<ListBucketResult>"),
        ("200 OK", "content-type: application/xml\r\ncontent-length: 1073741824\r\n", "<EnumerationResults>"),
        ("400 Bad Request", "", "<Error><Code>BadRequest</Code>"),
        ("403 Forbidden", "content-length: 1073741824\r\n", "<Error><Code>AccessDenied</Code>"),
    ] {
        let stub = Stub::that(Does::NeverEnds(head(status, headers) + start, some.clone())).await;
        for (name, store) in stub.stores(PATIENT) {
            let bytes = || Bytes::from_static(b"object");
            let before = stub.sent.load(Ordering::SeqCst);
            let ends = [
                ("probe", store.probe("lake").await),
                ("list", store.list("lake", "", b"", 1000).await.map(drop)),
                ("head", store.head("lake", "a").await.map(drop)),
                ("put", store.put("lake", "a", bytes(), &[], When::Always).await.map(drop)),
                ("delete", store.delete("lake", "a").await),
                ("begin", store.begin("lake", "a", &[], None).await.map(drop)),
                ("read some", store.read("lake", "a", Window::Range(1..3), None).await.map(drop)),
            ];
            // Azure knows no beginning of an upload: nothing is asked.
            for (asked, end) in ends.into_iter().filter(|(asked, _)| (name, *asked) != ("azure", "begin")) {
                assert!(matches!(end, Err(Failure::Failed(_))), "{name} {asked} {status}: {end:?}");
            }
            // What was read, and what the sockets between hold.
            let sent = stub.sent.load(Ordering::SeqCst) - before;
            assert!(sent < 80 * 1024 * 1024, "{name} {status}: {sent} bytes were taken");
        }
    }
}

#[tokio::test]
async fn how_a_refusal_ends_does_not_change_what_it_is() {
    let some = Bytes::from(vec![b'x'; 64 * 1024]);
    for does in [
        Does::NeverEnds(head("404 Not Found", ""), some),
        Does::Answers(head("404 Not Found", "content-length: 1000\r\n") + "not as long"),
        Does::Answers(head("404 Not Found", "content-type: text/html\r\n") + PAGE),
        Does::Stalls(head("404 Not Found", "content-length: 1000\r\n")),
    ] {
        let stub = Stub::that(does).await;
        for (name, store) in stub.stores(Duration::from_millis(300)) {
            assert_eq!(store.head("lake", "a").await, Ok(None), "{name}");
            assert!(matches!(store.read("lake", "a", Window::Whole, None).await, Ok(None)), "{name}");
            // Azure is asked for many at once, and it is the container that is not there then.
            let deleted = if name == "azure" { Err(Failure::NoBucket) } else { Ok(()) };
            assert_eq!(store.delete("lake", "a").await, deleted, "{name}");
            assert_eq!(store.list("lake", "", b"", 9).await.map(drop), Err(Failure::NoBucket), "{name}");
        }
    }
}

#[tokio::test]
async fn a_store_that_falls_silent_is_not_waited_for() {
    let wait = Duration::from_millis(300);
    for start in [
        String::new(),
        "HTTP/1.1 200 OK\r\ncontent-le".to_owned(),
        head("200 OK", "content-length: 1000\r\netag: \"t\"\r\n") + "<ListBucketResult>",
        head("206 Partial Content", "content-length: 2\r\ncontent-range: bytes 1-2/9\r\netag: \"t\"\r\n"),
    ] {
        let stub = Stub::that(Does::Stalls(start.clone())).await;
        for (name, store) in stub.stores(wait) {
            let began = Instant::now();
            for (asked, end) in everything(&*store).await {
                // Where the head says all there is to know, nothing is waited for.
                let told = matches!(asked, "head" | "put" | "put anew" | "delete") && start.contains("200 OK");
                let read = asked.starts_with("read") || asked == "head";
                let fine = matches!(end, Err(Failure::Unavailable(_) | Failure::Failed(_)));
                assert!(fine || told || read, "{name} {asked} {start:?}: {end:?}");
            }
            // Eleven questions; three of them wait three times as long, all may be tried again once.
            assert!(began.elapsed() < wait * 60, "{name} {start:?}: {:?}", began.elapsed());
        }
    }
}

#[tokio::test]
async fn a_body_that_is_shorter_than_was_told_is_an_error() {
    let short = "content-length: 100\r\ncontent-range: bytes 0-99/100\r\netag: \"t\"\r\nlast-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
    let whole = "content-length: 100\r\netag: \"t\"\r\nlast-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
    for (status, headers, window) in
        [("206 Partial Content", short, Window::Range(0..100)), ("200 OK", whole, Window::Whole)]
    {
        let stub = Stub::that(Does::Answers(head(status, headers) + "half of it")).await;
        for (name, store) in stub.stores(Duration::from_secs(2)) {
            let opened = store.read("lake", "a", window.clone(), None).await.unwrap().unwrap();
            assert_eq!(opened.range, 0..100);
            let read = opened.bytes.try_collect::<Vec<_>>().await;
            assert!(read.is_err(), "{name} {status}: {read:?}");
        }
    }
    // What is known from the head alone is told before a byte went on.
    for headers in [
        "content-length: 10\r\ncontent-range: bytes 0-99/100\r\netag: \"t\"\r\n",
        "content-length: 100\r\netag: \"t\"\r\n",
        "content-length: 100\r\ncontent-range: bytes 0-99/100\r\n",
        "content-length: 100\r\ncontent-range: 0-99\r\netag: \"t\"\r\n",
    ] {
        let stub = Stub::that(Does::Answers(head("206 Partial Content", headers) + "half of it")).await;
        for (name, store) in stub.stores(PATIENT) {
            let opened = store.read("lake", "a", Window::Range(0..100), None).await.map(drop);
            assert!(matches!(opened, Err(Failure::Failed(_))), "{name} {headers}: {opened:?}");
        }
    }
    // Another version than was asked for.
    let other = "content-length: 2\r\ncontent-range: bytes 0-1/2\r\netag: \"u\"\r\n";
    let stub = Stub::that(Does::Answers(head("206 Partial Content", other) + "ab")).await;
    let version = Version { tag: "t".to_owned(), id: None };
    for (name, store) in stub.stores(PATIENT) {
        let opened = store.read("lake", "a", Window::Range(0..2), Some(&version)).await.map(drop);
        assert!(matches!(opened, Err(Failure::Failed(_))), "{name}: {opened:?}");
    }
}

#[tokio::test]
async fn a_delete_that_broke_off_is_asked_for_once_more() {
    let done = "HTTP/1.1 200 OK\r\ncontent-type: application/xml\r\nconnection: close\r\n\r\n<DeleteResult/>";
    let gone = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
    for (at, answer) in [(0, done), (2, gone)] {
        let stub = Stub::that(Does::BreaksOff(1, answer.to_owned())).await;
        let (name, store) = stub.stores(Duration::from_secs(5))[at].clone();
        assert_eq!(store.delete("lake", "a").await, Ok(()), "{name}");
        assert_eq!(stub.sent.load(Ordering::SeqCst), 2, "{name}");
    }
    // A store that always breaks off is not asked for ever, and what it did is not told as done.
    let stub = Stub::that(Does::BreaksOff(usize::MAX, String::new())).await;
    for (name, store) in stub.stores(Duration::from_secs(5)) {
        let before = stub.sent.load(Ordering::SeqCst);
        assert!(matches!(store.delete("lake", "a").await, Err(Failure::Unavailable(_))), "{name}");
        let asked = stub.sent.load(Ordering::SeqCst) - before;
        assert!((2..=8).contains(&asked), "{name} was asked {asked} times");
    }
}
