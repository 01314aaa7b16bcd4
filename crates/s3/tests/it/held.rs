//! Bodies whose sender holds the last bytes back: what they ask for does not outlive the key, whatever the operation; and nobody
//! holds what others need by sending slowly, or what nobody wants.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use md5::Digest as _;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use valetkey_core::id::{AccountId, CallerId, TokenId};
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::parent::{Parent, ParentScope};
use valetkey_core::scope::{Action, Actions, Paths, Rights};
use valetkey_core::time::Lifetime;
use valetkey_core::{Secret, caller};

use crate::rig::{Answer, Ask, BUCKET, Credential, Rig, noise};

const PARENT: &str = "0123456789abcdef0123456789abcdef";
const PARENT_SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// How a key comes to its end.
#[derive(Clone, Copy, Debug)]
enum End {
    Revoked,
    OutOfTime,
    ParentReachesNoMore,
    ParentReachesLess,
}

const ENDS: [End; 4] = [End::Revoked, End::OutOfTime, End::ParentReachesNoMore, End::ParentReachesLess];

fn all() -> Actions {
    Action::ALL.into_iter().fold(Actions::NONE, Actions::with)
}

fn parent(rig: &Rig, actions: Actions) -> Arc<Parent> {
    let token = TokenId::from_hex(PARENT).unwrap();
    let caller = caller::Caller {
        id: CallerId::from_bytes([3; 16]),
        account: AccountId::from_bytes([4; 16]),
        name: Name::parse("job").unwrap(),
        role: caller::Role::Member,
        token,
        token_until: None,
        held: None,
        identity: None,
        as_of: 0,
    };
    let scope = Rights::of(BucketName::parse(BUCKET).unwrap(), Paths::Whole, actions).unwrap();
    let ceiling = ParentScope { storage: rig.storage, rights: Arc::new(scope), max_lifetime: Lifetime::secs(3600) };
    let secret = Secret::new(PARENT_SECRET.to_owned());
    Arc::new(Parent { token, caller: Arc::new(caller), secret, reach: [ceiling].into(), conditional: Vec::new() })
}

impl End {
    /// A key that can come to this end.
    fn key(self, rig: &Rig) -> Credential {
        match self {
            Self::Revoked | Self::OutOfTime => rig.vend(Paths::Whole, all()),
            Self::ParentReachesNoMore | Self::ParentReachesLess => {
                *rig.parents.0.lock().unwrap() = vec![parent(rig, all())];
                Credential {
                    lease: rig.whole().lease,
                    key_id: PARENT.to_owned(),
                    secret: PARENT_SECRET.to_owned(),
                    token: String::new(),
                }
            }
        }
    }

    fn comes(self, rig: &Rig, key: &Credential) {
        match self {
            Self::Revoked => {
                rig.leases.revoked.lock().unwrap().insert(key.lease);
            }
            Self::OutOfTime => rig.clock.advance_secs(3601),
            Self::ParentReachesNoMore => rig.parents.0.lock().unwrap().clear(),
            Self::ParentReachesLess => *rig.parents.0.lock().unwrap() = vec![parent(rig, Actions::READ)],
        }
    }
}

const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Sends a request but for the last byte of its body, ends the key once the server waits for that byte, and sends it. Nothing if the
/// server answered without waiting.
async fn held_back(rig: &Rig, ask: Ask, key: &Credential, end: End) -> (bool, Answer) {
    let wire = ask.unsigned("expect", "100-continue").signed(key);
    let head = wire.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    socket.write_all(&wire[..head]).await.unwrap();
    // The server asks for the body when it is about to read it.
    let mut got = vec![0; GO_ON.len()];
    socket.read_exact(&mut got).await.unwrap();
    let waited = got == GO_ON;
    if waited {
        socket.write_all(&wire[head..wire.len() - 1]).await.unwrap();
        end.comes(rig, key);
        // What the key is not to reach: it comes to be after the end.
        rig.put(BUCKET, "o", "written after the end").await;
        socket.write_all(&wire[wire.len() - 1..]).await.unwrap();
        got.clear();
    }
    drop(socket.read_to_end(&mut got).await);
    (waited, Answer::read(&got))
}

/// An upload in parts of this key's, with one part in it.
async fn upload(rig: &Rig, key: &Credential) -> (String, String) {
    let id = rig.send(rig.ask("POST", "/lake/u?uploads="), key).await.ok().one("UploadId");
    let part = rig.ask("PUT", &format!("/lake/u?partNumber=1&uploadId={id}")).body("part");
    let etag = rig.send(part, key).await.ok().header("etag").unwrap().to_owned();
    (id, etag)
}

/// A request for each operation there is, with a body.
fn request(rig: &Rig, operation: &str, (id, etag): &(String, String)) -> Ask {
    let ask = |method: &str, target: &str| rig.ask(method, target).body("no body");
    match operation {
        "GetObject" => ask("GET", "/lake/o"),
        "HeadObject" => ask("HEAD", "/lake/o"),
        "PutObject" => ask("PUT", "/lake/new").body(noise(1, 1000)),
        "CopyObject" => ask("PUT", "/lake/new").header("x-amz-copy-source", "/lake/o"),
        "DeleteObject" => ask("DELETE", "/lake/d"),
        "DeleteObjects" => {
            let body = "<Delete><Object><Key>d</Key></Object><Object><Key>o</Key></Object></Delete>";
            let md5 = BASE64.encode(&md5::Md5::digest(body.as_bytes()));
            rig.ask("POST", "/lake?delete=").header("content-md5", &md5).body(body)
        }
        "CreateMultipartUpload" => ask("POST", "/lake/new?uploads="),
        "UploadPart" => ask("PUT", &format!("/lake/u?partNumber=2&uploadId={id}")).body(noise(1, 1000)),
        "UploadPartCopy" => {
            ask("PUT", &format!("/lake/u?partNumber=2&uploadId={id}")).header("x-amz-copy-source", "/lake/o")
        }
        "CompleteMultipartUpload" => {
            let part = format!("<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>");
            let body = format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>");
            rig.ask("POST", &format!("/lake/u?uploadId={id}")).body(body)
        }
        "ListParts" => ask("GET", &format!("/lake/u?uploadId={id}")),
        "AbortMultipartUpload" => ask("DELETE", &format!("/lake/u?uploadId={id}")),
        "ListMultipartUploads" => ask("GET", "/lake?uploads="),
        "ListObjects" => ask("GET", "/lake"),
        "ListObjectsV2" => ask("GET", "/lake?list-type=2"),
        "CreateBucket" => ask("PUT", "/lake"),
        "HeadBucket" => ask("HEAD", "/lake"),
        "GetBucketLocation" => ask("GET", "/lake?location="),
        "GetBucketCors" => ask("GET", "/lake?cors="),
        "PutBucketCors" => {
            let body = "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin>\
                        </CORSRule></CORSConfiguration>";
            rig.ask("PUT", "/lake?cors=").body(body)
        }
        "DeleteBucketCors" => ask("DELETE", "/lake?cors="),
        "GetBucketLifecycleConfiguration" => ask("GET", "/lake?lifecycle="),
        "PutBucketLifecycleConfiguration" => ask("PUT", "/lake?lifecycle="),
        "GetBucketEncryption" => ask("GET", "/lake?encryption="),
        "ListBuckets" => ask("GET", "/"),
        "GetObjectTagging" => ask("GET", "/lake/o?tagging="),
        "GetObjectAcl" => ask("GET", "/lake/o?acl="),
        "GetObjectAttributes" => ask("GET", "/lake/o?attributes=").header("x-amz-object-attributes", "ETag"),
        "ListObjectVersions" => ask("GET", "/lake?versions="),
        "GetBucketAcl" => ask("GET", "/lake?acl="),
        "GetBucketVersioning" => ask("GET", "/lake?versioning="),
        new => panic!("{new} is not tried with a body that is held back"),
    }
}

#[tokio::test]
async fn no_operation_is_done_for_a_key_that_ended_while_its_body_was_held_back() {
    for end in ENDS {
        for operation in valetkey_s3::operations() {
            let rig = Rig::start().await;
            let key = end.key(&rig);
            for object in ["o", "d"] {
                rig.put(BUCKET, object, "written before").await;
            }
            if rig.forwards() && !matches!(end, End::Revoked) {
                // Each of these rigs has a second server: one end is enough to see that it counts there as well.
                return;
            }
            let started = upload(&rig, &key).await;
            let ask = request(&rig, operation, &started);
            let (waited, answer) = held_back(&rig, ask, &key, end).await;
            // Refused to everybody, or to keys in R2's form: the body is not asked for.
            let refused = match (operation, end) {
                ("PutBucketLifecycleConfiguration", _) => Some((501, "NotImplemented".to_owned())),
                ("ListBuckets", End::ParentReachesNoMore | End::ParentReachesLess) => {
                    Some((403, "AccessDenied".to_owned()))
                }
                _ => None,
            };
            if let Some(refused) = refused {
                assert_eq!((waited, answer.outcome()), (false, refused), "{operation} {end:?}");
            } else {
                assert!(waited, "{operation} {end:?}");
                assert_eq!(answer.status, 400, "{operation} {end:?}: {}", answer.text());
                if !answer.body.is_empty() {
                    assert_eq!(answer.one("Code"), "ExpiredToken", "{operation} {end:?}");
                }
                assert!(!answer.text().contains("written after"), "{operation} {end:?}");
            }
            // And nothing of it was done.
            let other = rig.vend_for(BUCKET, Paths::Whole, all(), 3600);
            assert_eq!(rig.get("/lake/d", &other).await.ok().text(), "written before", "{operation} {end:?}");
            for absent in ["/lake/new", "/lake/u"] {
                rig.get(absent, &other).await.is(404, "NoSuchKey");
            }
            if rig.forwards() {
                assert_eq!(rig.uploads_behind().await, 1, "{operation} {end:?}");
                continue;
            }
            let uploads = rig.get("/lake?uploads=", &other).await;
            assert_eq!(uploads.ok().all("UploadId"), [&*started.0], "{operation} {end:?}");
        }
    }
}

#[tokio::test]
async fn a_key_that_lives_may_take_its_time_with_its_body() {
    // The same without an end: what is refused above is refused for the end alone.
    for operation in valetkey_s3::operations() {
        let rig = Rig::start().await;
        let key = rig.vend(Paths::Whole, all());
        for object in ["o", "d"] {
            rig.put(BUCKET, object, "written before").await;
        }
        let started = upload(&rig, &key).await;
        let answer = rig.halting_or_not(request(&rig, operation, &started), &key).await;
        let expected = match operation {
            "PutBucketLifecycleConfiguration" => 501,
            "ListMultipartUploads" if rig.forwards() => 501,
            "CreateBucket" => 409,
            "GetBucketCors" | "GetBucketLifecycleConfiguration" | "GetBucketEncryption" => 404,
            "DeleteObject" | "AbortMultipartUpload" | "DeleteBucketCors" => 204,
            _ => 200,
        };
        assert_eq!(answer.status, expected, "{operation}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_body_that_nobody_wants_is_short_or_refused() {
    let rig = Rig::start().await;
    let key = rig.vend(Paths::Whole, all());
    rig.put(BUCKET, "o", "x").await;
    for (method, target) in [("GET", "/lake/o"), ("DELETE", "/lake/o"), ("POST", "/lake/o?uploads="), ("GET", "/lake")]
    {
        let ask = rig.ask(method, target).body(vec![b'x'; 4097]);
        rig.send(ask, &key).await.is(400, "MaxMessageLengthExceeded");
    }
    rig.send(rig.ask("GET", "/lake/o").body(vec![b'x'; 4096]), &key).await.ok();
    // What was told of it counts all the same.
    let lied = rig.ask("GET", "/lake/o").body("x").told(&"0".repeat(64));
    rig.send(lied, &key).await.is(400, "XAmzContentSHA256Mismatch");
}

#[tokio::test]
async fn a_document_is_not_read_for_who_may_not_do_what_it_asks() {
    let rig = Rig::start().await;
    let reader = rig.vend(Paths::Whole, Actions::READ);
    for target in ["/lake?delete=", "/lake/o?uploadId=0123456789abcdef0123456789abcdef", "/other?delete="] {
        let ask = rig.ask("POST", target).header("content-length", "1000000").unsigned("expect", "100-continue");
        // Not a byte of the body is sent, and none asked for.
        let answer = rig.raw(ask.told(&"0".repeat(64)).signed(&reader)).await;
        answer.is(403, "AccessDenied");
    }
}

/// A rig with little patience.
async fn hasty() -> Rig {
    Rig::start_in(Arc::new(TempDir::new().unwrap()), |config| {
        config.limits.idle = Duration::from_millis(300);
        config.limits.least_rate = 1000;
        config.limits.document_time = Duration::from_millis(1500);
    })
    .await
}

/// Sends a body byte by byte, one each few milliseconds, until the server answers; says how many it took.
async fn dribble(rig: &Rig, ask: Ask, key: &Credential) -> (usize, Answer) {
    let wire = ask.signed(key);
    let head = wire.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let socket = TcpStream::connect(rig.address).await.unwrap();
    let (mut reader, mut writer) = socket.into_split();
    writer.write_all(&wire[..head]).await.unwrap();
    let mut answer = Vec::new();
    let reading = reader.read_to_end(&mut answer);
    tokio::pin!(reading);
    let (mut sent, mut pace) = (0, tokio::time::interval(Duration::from_millis(10)));
    loop {
        tokio::select! {
            _ = reading.as_mut() => break,
            _ = pace.tick(), if head + sent < wire.len() => {
                if writer.write_all(&wire[head + sent..=head + sent]).await.is_err() {
                    drop(reading.as_mut().await);
                    break;
                }
                sent += 1;
            }
        }
    }
    (sent, Answer::read(&answer))
}

#[tokio::test]
async fn a_sender_below_the_least_rate_is_refused_though_it_never_pauses() {
    let rig = hasty().await;
    let key = rig.vend(Paths::Whole, all());
    let id = rig.send(rig.ask("POST", "/lake/u?uploads="), &key).await.ok().one("UploadId");
    for target in ["/lake/slow".to_owned(), format!("/lake/u?partNumber=1&uploadId={id}")] {
        let (sent, answer) = dribble(&rig, rig.ask("PUT", &target).body(vec![7; 2000]), &key).await;
        answer.is(408, "RequestTimeout");
        assert!(sent < 1000, "{sent}");
    }
    rig.get("/lake/slow", &key).await.is(404, "NoSuchKey");
    // Fast enough, for longer than a pause may be.
    let (sent, answer) = dribble(&rig, rig.ask("PUT", "/lake/steady").body(vec![7; 20]), &key).await;
    assert_eq!((sent, answer.status), (20, 200), "{}", answer.text());
}

#[tokio::test]
async fn a_document_comes_in_time_however_steadily_it_comes() {
    let rig = Rig::start_in(Arc::new(TempDir::new().unwrap()), |config| {
        config.limits.least_rate = 1;
        config.limits.document_time = Duration::from_millis(500);
    })
    .await;
    let key = rig.vend(Paths::Whole, all());
    let (sent, answer) = dribble(&rig, rig.ask("POST", "/lake?delete=").body(vec![b'x'; 2000]), &key).await;
    answer.is(408, "RequestTimeout");
    assert!((1..1000).contains(&sent), "{sent}");
    let (_, answer) = dribble(&rig, rig.ask("GET", "/lake/o").body(vec![b'x'; 2000]), &key).await;
    answer.is(408, "RequestTimeout");
}

const KIB: usize = 1024;

/// Sends a request but for the last bytes of its body, and holds the connection.
async fn stalled(rig: &Rig, ask: Ask, key: &Credential, held_back: usize) -> TcpStream {
    let wire = ask.signed(key);
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    socket.write_all(&wire[..wire.len() - held_back]).await.unwrap();
    socket
}

#[tokio::test]
async fn slow_writers_take_no_turn_from_others() {
    let rig = Rig::start().await;
    let key = rig.vend(Paths::Whole, all());
    let mut slow = Vec::new();
    for number in 0..30u64 {
        let body = noise(number, 400 * KIB);
        slow.push(stalled(&rig, rig.ask("PUT", &format!("/lake/slow/{number}")).body(body), &key, 1).await);
    }
    // Ones that have come so far that pieces of them went on.
    for number in 30..33u64 {
        let body = noise(number, 9 * KIB * KIB);
        slow.push(stalled(&rig, rig.ask("PUT", &format!("/lake/slow/{number}")).body(body), &key, 100).await);
    }
    // The same caller's next upload goes through, and so does a completion.
    let body = noise(99, 9 * KIB * KIB);
    let put = rig.send(rig.ask("PUT", "/lake/quick").body(body.clone()), &key);
    tokio::time::timeout(Duration::from_secs(30), put).await.unwrap().ok();
    assert!(rig.get("/lake/quick", &key).await.body == body);
    // And the slow ones have lost nothing.
    let last = noise(7, 400 * KIB);
    let mut socket = slow.swap_remove(7);
    socket.write_all(&last[last.len() - 1..]).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    Answer::read(&answer).ok();
    assert!(rig.get("/lake/slow/7", &key).await.body == last);
}

#[tokio::test]
async fn bodies_larger_than_the_memory_there_is_for_them_go_through() {
    let rig = Rig::start_with(Arc::new(TempDir::new().unwrap()), KIB * KIB, |_| {}).await;
    let key = rig.vend(Paths::Whole, all());
    for size in [100 * KIB, 3 * KIB * KIB, 20 * KIB * KIB + 17] {
        let body = noise(size as u64, size);
        rig.send(rig.ask("PUT", "/lake/large").body(body.clone()), &key).await.ok();
        assert!(rig.get("/lake/large", &key).await.body == body, "{size}");
    }
}

#[tokio::test]
async fn a_document_beyond_an_accounts_share_is_refused_and_what_it_held_is_given_back() {
    let rig = Rig::start_with(Arc::new(TempDir::new().unwrap()), 200 * KIB, |_| {}).await;
    let key = rig.vend(Paths::Whole, all());
    let document = |size: usize| {
        let body = format!("<Delete><Object><Key>d</Key></Object>{}</Delete>", " ".repeat(size));
        let md5 = BASE64.encode(&md5::Md5::digest(body.as_bytes()));
        rig.ask("POST", "/lake?delete=").header("content-md5", &md5).body(body)
    };
    for _ in 0..4 {
        rig.send(document(150 * KIB), &key).await.is(503, "SlowDown");
        rig.send(document(60 * KIB), &key).await.ok();
    }
    // Others hold some of it: that is what is left.
    let _held = stalled(&rig, document(60 * KIB), &key, 1).await;
    let mut answer = rig.send(document(60 * KIB), &key).await;
    while answer.status == 200 {
        // The held one's bytes are not all read yet.
        tokio::task::yield_now().await;
        answer = rig.send(document(60 * KIB), &key).await;
    }
    answer.is(503, "SlowDown");
}
