//! Against stubs that answer as the stores are documented to, and against nothing at all.

use std::sync::Mutex;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use jiff::Timestamp;
use valetkey_check::Verb;
use valetkey_core::credential::{AzureSas, GoogleToken, S3Keys};
use valetkey_core::id::StorageId;
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::provider::Extra;
use valetkey_core::storage::StorageKind;
use valetkey_core::time::Lifetime;
use valetkey_testkit::clock::FixedClock;

use super::*;

fn end() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

fn s3() -> Credential {
    Credential::S3(S3Keys {
        access_key_id: "AKID".to_owned(),
        secret_access_key: Secret::new("hush".to_owned()),
        session_token: Secret::new("session+token".to_owned()),
        expiration: end(),
    })
}

fn google() -> Credential {
    Credential::Google(GoogleToken { access_token: Secret::new("ya29.hush".to_owned()), expiration: end() })
}

fn azure() -> Credential {
    Credential::Azure(AzureSas { sas_token: Secret::new("sv=2023-11-03&sr=c&sig=hush".to_owned()), expiration: end() })
}

fn storage(kind: StorageKind, endpoint: &str) -> Storage {
    Storage {
        id: StorageId::from_bytes([1; 16]),
        name: Name::parse("far").unwrap(),
        kind,
        endpoint: "https://elsewhere.example.com".into(),
        internal_endpoint: Some(endpoint.into()),
        region: "eu-west-1".into(),
        min_lifetime: Lifetime::secs(60),
        max_lifetime: Lifetime::secs(3600),
        external: None,
    }
}

/// Answers each request with the next of its answers, and keeps what it was sent.
struct Stub {
    answers: Mutex<Vec<(u16, &'static str, &'static str)>>,
    seen: Mutex<Vec<String>>,
}

/// The body of a blob that has a version.
const VERSIONED: &str = "versioned";

async fn answer(State(stub): State<Arc<Stub>>, request: Request) -> Response {
    let header = |name: &str| request.headers().get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
    let proof = header("authorization").split(", Signature").next().unwrap().to_owned();
    let line = format!("{} {} {proof} {}", request.method(), request.uri(), header("x-ms-blob-type"));
    stub.seen.lock().unwrap().push(line);
    let (status, code, body) = stub.answers.lock().unwrap().remove(0);
    let version = if body == VERSIONED { "2026-01-01T00:00:00.1234567Z" } else { "" };
    let headers = [("x-ms-error-code", code), ("x-ms-version-id", version)];
    (StatusCode::from_u16(status).unwrap(), headers, body).into_response()
}

async fn rig(answers: &[(u16, &'static str, &'static str)]) -> (String, Arc<Stub>) {
    let stub = Arc::new(Stub { answers: Mutex::new(answers.to_vec()), seen: Mutex::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(Arc::clone(&stub));
    tokio_util::task::TaskTracker::new().spawn(async move { axum::serve(listener, app).await.unwrap() });
    (address, stub)
}

fn live() -> Live {
    Live::new(Arc::new(FixedClock::default()))
}

async fn ask(storage: &Storage, credential: &Credential, verb: Verb, key: &str) -> Answer {
    let bucket = BucketName::parse("lake").unwrap();
    live().attempt(storage, credential, Attempt { verb, bucket: &bucket, key }).await
}

/// One request to a stub that answers so.
async fn told(
    kind: StorageKind,
    credential: &Credential,
    verb: Verb,
    answers: &[(u16, &'static str, &'static str)],
) -> (Answer, Vec<String>) {
    let (address, stub) = rig(answers).await;
    let answer = ask(&storage(kind, &address), credential, verb, ".valetkey/checks/0a/x").await;
    let seen = stub.seen.lock().unwrap().clone();
    (answer, seen)
}

const DENIED: &str = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>no</Message></Error>";

#[tokio::test]
async fn s3_requests_are_signed_in_their_headers() {
    let proof = "AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-west-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token";
    for (verb, line) in [
        (Verb::Put, "PUT /lake/.valetkey/checks/0a/x"),
        (Verb::Get, "GET /lake/.valetkey/checks/0a/x"),
        (Verb::Delete, "DELETE /lake/.valetkey/checks/0a/x"),
    ] {
        let (answer, seen) = told(StorageKind::Sts, &s3(), verb, &[(200, "", "")]).await;
        assert_eq!(answer, Answer::Allowed);
        assert_eq!(seen, [format!("{line} {proof} -")]);
        assert!(!seen[0].contains("session"), "nothing of the token is in the address");
    }
}

#[tokio::test]
async fn a_list_says_its_keys_and_nothing_else_is_a_list() {
    let list = "<ListBucketResult><Name>lake</Name><Prefix>p/</Prefix><Contents><Key>p/a</Key></Contents><Contents><Key>p/b</Key></Contents></ListBucketResult>";
    let (answer, seen) = told(StorageKind::Sts, &s3(), Verb::List, &[(200, "", list)]).await;
    assert_eq!(answer, Answer::Listed(vec!["p/a".into(), "p/b".into()]));
    assert!(seen[0].starts_with("GET /lake?list-type=2&max-keys=100&prefix=.valetkey%2Fchecks%2F0a%2Fx "), "{seen:?}");
    let (answer, _) = told(StorageKind::Sts, &s3(), Verb::List, &[(200, "", "<html>welcome</html>")]).await;
    assert!(matches!(answer, Answer::Failed(_)), "{answer:?}");
}

#[tokio::test]
async fn an_upload_is_begun_and_aborted() {
    let begun = "<InitiateMultipartUploadResult><UploadId>Abc+/1=</UploadId></InitiateMultipartUploadResult>";
    let (answer, seen) = told(StorageKind::Sts, &s3(), Verb::Parts, &[(200, "", begun), (204, "", "")]).await;
    assert_eq!(answer, Answer::Allowed);
    assert!(seen[0].starts_with("POST /lake/.valetkey/checks/0a/x?uploads= "), "{seen:?}");
    assert!(seen[1].starts_with("DELETE /lake/.valetkey/checks/0a/x?uploadId=Abc%2B%2F1%3D "), "{seen:?}");
    let (answer, _) = told(StorageKind::Sts, &s3(), Verb::Parts, &[(403, "", DENIED)]).await;
    assert_eq!(answer, Answer::Refused { status: 403, code: "AccessDenied".into() });
}

#[tokio::test]
async fn google_takes_the_token_and_speaks_the_same() {
    let (answer, seen) = told(StorageKind::Gcs, &google(), Verb::Get, &[(403, "", DENIED)]).await;
    assert_eq!(answer, Answer::Refused { status: 403, code: "AccessDenied".into() });
    assert_eq!(seen, ["GET /lake/.valetkey/checks/0a/x Bearer ya29.hush -"]);
}

#[tokio::test]
async fn azure_takes_the_signature_in_the_address() {
    let (answer, seen) = told(StorageKind::Azure, &azure(), Verb::Put, &[(201, "", "")]).await;
    assert_eq!(answer, Answer::Allowed);
    assert_eq!(seen, ["PUT /lake/.valetkey/checks/0a/x?sv=2023-11-03&sr=c&sig=hush - BlockBlob"]);
    let list = "\u{feff}<?xml version=\"1.0\"?><EnumerationResults><Blobs><Blob><Name>a/x</Name></Blob><BlobPrefix><Name>a/y/</Name></BlobPrefix></Blobs></EnumerationResults>";
    let (answer, seen) = told(StorageKind::Azure, &azure(), Verb::List, &[(200, "", list)]).await;
    assert_eq!(answer, Answer::Listed(vec!["a/x".into(), "a/y/".into()]));
    assert!(
        seen[0].starts_with(
            "GET /lake?restype=container&comp=list&maxresults=100&delimiter=%2F&prefix=.valetkey%2Fchecks%2F0a%2Fx&sv="
        ),
        "{seen:?}"
    );
    let (answer, _) =
        told(StorageKind::Azure, &azure(), Verb::Get, &[(403, "AuthorizationPermissionMismatch", "")]).await;
    assert_eq!(answer, Answer::Refused { status: 403, code: "AuthorizationPermissionMismatch".into() });
}

#[tokio::test]
async fn a_key_with_dots_is_sent_as_it_is() {
    for (kind, credential) in [(StorageKind::Sts, s3()), (StorageKind::Azure, azure()), (StorageKind::Gcs, google())] {
        let (address, stub) = rig(&[(404, "", "")]).await;
        assert_eq!(ask(&storage(kind, &address), &credential, Verb::Get, "d/a/../b/x").await, Answer::NotFound);
        let seen = stub.seen.lock().unwrap().clone();
        assert!(seen[0].starts_with("GET /lake/d/a/..%2Fb/x"), "{seen:?}");
    }
}

#[tokio::test]
async fn an_extra_counts_only_with_the_document_it_asks_for() {
    for (extra, line, body) in [
        (Extra::Tags, "GET /lake/.valetkey/checks/0a/x?tagging= ", "<Tagging><TagSet/></Tagging>"),
        (Extra::Acl, "GET /lake/.valetkey/checks/0a/x?acl= ", "<AccessControlPolicy/>"),
        (Extra::Attributes, "GET /lake/.valetkey/checks/0a/x?attributes= ", "<GetObjectAttributesResponse/>"),
        (Extra::Versions, "GET /lake?versions=&prefix=.valetkey%2Fchecks%2F0a%2Fx ", "<ListVersionsResult/>"),
        (Extra::Untag, "DELETE /lake/.valetkey/checks/0a/x?tagging= ", ""),
    ] {
        let (answer, seen) = told(StorageKind::Sts, &s3(), Verb::Extra(extra), &[(200, "", body)]).await;
        assert_eq!(answer, Answer::Allowed, "{extra:?}");
        assert!(seen[0].starts_with(line), "{seen:?}");
        let (answer, _) = told(StorageKind::Sts, &s3(), Verb::Extra(extra), &[(403, "", DENIED)]).await;
        assert_eq!(answer, Answer::Refused { status: 403, code: "AccessDenied".into() });
        if extra != Extra::Untag {
            let (answer, _) = told(StorageKind::Sts, &s3(), Verb::Extra(extra), &[(200, "", "the object")]).await;
            assert!(matches!(answer, Answer::Failed(_)), "an older store takes no notice of it: {answer:?}");
        }
    }
    let (_, seen) = told(StorageKind::Sts, &s3(), Verb::Extra(Extra::Attributes), &[(403, "", DENIED)]).await;
    assert!(seen[0].contains("x-amz-date;x-amz-object-attributes;x-amz-security-token"), "it is signed: {seen:?}");
}

#[tokio::test]
async fn google_is_asked_to_restore_what_never_was() {
    for (status, allowed) in [(404, true), (200, true), (403, false)] {
        let extra = Verb::Extra(Extra::Undelete);
        let (answer, seen) = told(StorageKind::Gcs, &google(), extra, &[(status, "", "{}")]).await;
        assert_eq!(answer == Answer::Allowed, allowed, "{answer:?}");
        let line = "POST /storage/v1/b/lake/o/.valetkey%2Fchecks%2F0a%2Fx/restore?generation=1 Bearer ya29.hush -";
        assert_eq!(seen, [line]);
    }
    let (answer, seen) = told(StorageKind::Gcs, &google(), Verb::Extra(Extra::Retention), &[(400, "", "")]).await;
    assert!(matches!(answer, Answer::Failed(_)) && seen[0].starts_with("PUT /lake/"), "{answer:?} {seen:?}");
}

#[tokio::test]
async fn what_azure_allows_is_undone() {
    let (answer, seen) =
        told(StorageKind::Azure, &azure(), Verb::Extra(Extra::Lease), &[(201, "", ""), (200, "", "")]).await;
    assert_eq!(answer, Answer::Allowed);
    assert_eq!(seen.len(), 2, "taken and released: {seen:?}");
    assert!(seen.iter().all(|line| line.starts_with("PUT /lake/.valetkey/checks/0a/x?comp=lease&sv=")), "{seen:?}");
    let no_lease = (409, "LeaseNotPresentWithLeaseOperation", "");
    let (answer, _) = told(StorageKind::Azure, &azure(), Verb::Extra(Extra::BreakLease), &[no_lease]).await;
    assert_eq!(answer, Answer::Allowed, "it looked for the lease");
    let denied = (403, "AuthorizationPermissionMismatch", "");
    for extra in [Extra::Lease, Extra::BreakLease, Extra::Snapshot, Extra::Metadata, Extra::Retag, Extra::Undelete] {
        let (answer, seen) = told(StorageKind::Azure, &azure(), Verb::Extra(extra), &[denied]).await;
        assert!(matches!(answer, Answer::Refused { .. }), "{extra:?}: {answer:?}");
        assert!(!seen[0].starts_with("DELETE"));
    }
    let (answer, _) = told(StorageKind::Azure, &azure(), Verb::Extra(Extra::Earlier), &[denied]).await;
    assert!(matches!(answer, Answer::Failed(_)), "without a snapshot nothing is told: {answer:?}");
}

#[tokio::test]
async fn a_blob_is_read_by_the_name_of_its_version_where_it_has_one() {
    let read = (200, "", VERSIONED);
    let tried = async |answers: &[_]| told(StorageKind::Azure, &azure(), Verb::Extra(Extra::Version), answers).await;
    let (answer, seen) = tried(&[read, (200, "", "")]).await;
    assert_eq!((answer, seen.len()), (Answer::Allowed, 2));
    let line = "GET /lake/.valetkey/checks/0a/x?versionid=2026-01-01T00%3A00%3A00.1234567Z&sv=2023-11-03&";
    assert!(seen[1].starts_with(line), "{seen:?}");
    let (answer, _) = tried(&[read, (403, "AuthorizationPermissionMismatch", "")]).await;
    assert!(matches!(answer, Answer::Refused { .. }), "{answer:?}");
    // Neither yes nor no: the account keeps no versions, or there is nothing to read.
    for first in [(200, "", ""), (404, "BlobNotFound", "")] {
        let (answer, seen) = tried(&[first]).await;
        assert!(matches!(answer, Answer::Failed(_)) && seen.len() == 1, "{answer:?} {seen:?}");
    }
}

#[tokio::test]
async fn only_a_refusal_is_a_refusal() {
    let no_bucket = "<Error><Code>NoSuchBucket</Code></Error>";
    for (status, body, refused) in [
        (403, DENIED, true),
        (401, "", true),
        (400, "<Error><Code>InvalidToken</Code></Error>", true),
        (400, "<Error><Code>MalformedXML</Code></Error>", false),
        (301, "<Error><Code>PermanentRedirect</Code></Error>", false),
        (404, no_bucket, false),
        (409, "", false),
        (429, "", false),
        (500, "", false),
        (503, "<Error><Code>SlowDown</Code></Error>", false),
    ] {
        let (answer, _) = told(StorageKind::Sts, &s3(), Verb::Get, &[(status, "", body)]).await;
        assert_eq!(matches!(answer, Answer::Refused { .. }), refused, "{status}: {answer:?}");
        assert_eq!(matches!(answer, Answer::Failed(_)), !refused, "{status}: {answer:?}");
    }
    let (answer, _) =
        told(StorageKind::Sts, &s3(), Verb::Get, &[(404, "", "<Error><Code>NoSuchKey</Code></Error>")]).await;
    assert_eq!(answer, Answer::NotFound);
}

#[tokio::test]
async fn a_store_that_is_not_there_is_told_without_its_secrets() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for (kind, credential) in [(StorageKind::Sts, s3()), (StorageKind::Azure, azure()), (StorageKind::Gcs, google())] {
        let Answer::Failed(words) = ask(&storage(kind, &address), &credential, Verb::Get, "k").await else {
            panic!("it cannot be reached")
        };
        assert!(words.starts_with(&format!("`{address}` cannot be reached: ")), "{words}");
        assert!(!words.contains("hush") && !words.contains("session"), "{words}");
    }
}
