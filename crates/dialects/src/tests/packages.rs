//! Dreadnode's package registry: what is pushed comes back to the byte, to whom it may, and to nobody else.

use axum::body::Body;
use http::{Method, Request, StatusCode};
use valetkey_core::nouns::package::Digest;

use super::dreadnode::furnished;
use super::world::{Shot, World};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

async fn send(world: &World, caller: &str, method: Method, path: &str, media_type: &str, body: &[u8]) -> Shot {
    let token = world.token(caller).await;
    let coded = data_encoding::BASE64.encode(format!("__token__:{token}").as_bytes());
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Basic {coded}"))
        .header("content-type", media_type)
        .body(Body::from(body.to_vec()))
        .unwrap();
    world.send(request).await
}

async fn begin(world: &World, caller: &str, package: &str) -> Shot {
    send(world, caller, Method::POST, &format!("/api/v1/{package}/blobs/uploads/"), "", b"").await
}

fn location(shot: &Shot) -> String {
    shot.headers["location"].to_str().unwrap().to_owned()
}

async fn push(world: &World, caller: &str, package: &str, body: &[u8]) -> Digest {
    let begun = begin(world, caller, package).await;
    assert_eq!((begun.status, begun.body.as_str()), (StatusCode::ACCEPTED, ""));
    let digest = Digest::of(body);
    let path = format!("{}?digest={digest}", location(&begun));
    let done = send(world, caller, Method::PUT, &path, "application/octet-stream", body).await;
    assert_eq!((done.status, done.body.as_str()), (StatusCode::CREATED, ""));
    assert_eq!(done.headers["docker-content-digest"], digest.to_string());
    assert_eq!(location(&done), format!("/api/v1/{package}/blobs/{digest}"));
    digest
}

fn manifest(config: Digest) -> String {
    format!(
        "{{ \"schemaVersion\":2, \"mediaType\":\"{OCI}\",\n \"config\":{{\"mediaType\":\"application/vnd.dreadnode.config.v1+json\",\"digest\":\"{config}\",\"size\":6}},\"layers\":[] }}"
    )
}

#[tokio::test]
async fn what_is_pushed_is_pulled_to_the_byte() {
    let world = furnished().await;
    let config = push(&world, "writer", "acme/demo", b"config").await;
    for path in [format!("/api/v1/acme/blobs/{config}"), format!("/api/v1/acme/demo/blobs/{config}")] {
        let got = world.get("reader", &path).await;
        assert_eq!((got.status, got.body.as_str()), (StatusCode::OK, "config"), "{path}");
        assert_eq!(got.headers["docker-content-digest"], config.to_string());
        assert_eq!(got.headers["content-type"], "application/octet-stream");
        let head = send(&world, "reader", Method::HEAD, &path, "", b"").await;
        assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
        assert_eq!(head.headers["content-length"], "6");
    }
    let text = manifest(config);
    let digest = Digest::of(text.as_bytes());
    let put = send(&world, "writer", Method::PUT, "/api/v1/acme/demo/manifests/0.1.0", OCI, text.as_bytes()).await;
    assert_eq!(put.status, StatusCode::CREATED, "{}", put.body);
    assert_eq!(put.headers["docker-content-digest"], digest.to_string());
    for reference in ["0.1.0".to_owned(), digest.to_string()] {
        let got = world.get("reader", &format!("/api/v1/acme/demo/manifests/{reference}")).await;
        assert_eq!((got.status, &got.body), (StatusCode::OK, &text));
        assert_eq!(got.headers["content-type"], OCI);
        assert_eq!(got.headers["docker-content-digest"], digest.to_string());
    }
    let path = format!("/api/v1/acme/demo/manifests/{digest}");
    let again = send(&world, "writer", Method::PUT, &path, OCI, text.as_bytes()).await;
    assert_eq!(again.status, StatusCode::CREATED);
    let tags = world.get("reader", "/api/v1/acme/demo/tags/list").await;
    assert_eq!(tags.json(), serde_json::json!({ "name": "acme/demo", "tags": ["0.1.0"] }));
    assert_eq!(world.get("reader", "/api/v1/acme/demo/tags/list?n=0").await.json()["tags"], serde_json::json!([]));
    assert_eq!(
        world.get("reader", "/api/v1/acme/demo/tags/list?last=0.1.0").await.json()["tags"],
        serde_json::json!([])
    );
    assert_eq!(world.get("reader", "/api/v1/acme/demo/tags/list?n=x").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(world.get("reader", "/api/v1/acme/none/tags/list").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_may_only_read_may_not_push_and_who_may_neither_sees_nothing() {
    let world = furnished().await;
    let config = push(&world, "writer", "acme/demo", b"config").await;
    let text = manifest(config);
    assert_eq!(begin(&world, "reader", "acme/demo").await.status, StatusCode::FORBIDDEN);
    let put = send(&world, "reader", Method::PUT, "/api/v1/acme/demo/manifests/1", OCI, text.as_bytes()).await;
    assert_eq!(put.status, StatusCode::FORBIDDEN);
    let mut answers = std::collections::BTreeSet::new();
    for (caller, org) in [("other", "acme"), ("root", "acme"), ("other", "nowhere")] {
        for path in
            [format!("{org}/blobs/{config}"), format!("{org}/demo/blobs/{config}"), format!("{org}/demo/manifests/1")]
        {
            let shot = world.get(caller, &format!("/api/v1/{path}")).await;
            assert_eq!(shot.status, StatusCode::NOT_FOUND, "{caller} {path}");
            answers.insert(shot.body);
        }
        assert_eq!(begin(&world, caller, &format!("{org}/demo")).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    // Without any workspace there is no package, whatever the organization holds.
    assert_eq!(world.get("nobody", "/api/v1/poor/demo/tags/list").await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.get("other", &format!("/api/v1/globex/blobs/{config}")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_upload_is_its_callers_and_ends_once_with_what_was_announced() {
    let world = furnished().await;
    let digest = Digest::of(b"x");
    let end = async |caller: &str, path: &str, query: &str, body: &[u8]| {
        send(&world, caller, Method::PUT, &format!("{path}{query}"), "", body).await.status.as_u16()
    };
    let mine = location(&begin(&world, "writer", "acme/demo").await);
    assert!(mine.starts_with("/api/v1/acme/demo/blobs/uploads/") && mine.len() == 32 + 64, "{mine}");
    let asked = format!("?digest={digest}");
    assert_eq!(end("boss", &mine, &asked, b"x").await, 404, "another caller's");
    assert_eq!(end("other", &mine.replace("/acme/", "/globex/"), &asked, b"x").await, 404, "another organization's");
    assert_eq!(end("writer", &mine.replace("/demo/", "/another/"), &asked, b"x").await, 404, "another package's");
    assert_eq!(end("writer", "/api/v1/acme/demo/blobs/uploads/guess", &asked, b"x").await, 404);
    assert_eq!(end("writer", &mine, "", b"x").await, 400, "no digest");
    assert_eq!(end("writer", &mine, "?digest=md5:x", b"x").await, 422);
    assert_eq!(end("writer", &mine, &asked, b"y").await, 400, "another content");
    assert_eq!(end("writer", &mine, &asked, b"x").await, 201);
    assert_eq!(end("writer", &mine, &asked, b"x").await, 404, "once");
    let late = location(&begin(&world, "writer", "acme/demo").await);
    world.clock.advance_secs(900);
    assert_eq!(end("writer", &late, &asked, b"x").await, 404, "too late");
    let large = location(&begin(&world, "writer", "acme/demo").await);
    assert_eq!(end("writer", &large, &asked, &vec![b'x'; 16 * 1024 * 1024 + 1]).await, 400, "too large");
    assert_ne!(mine, late);
}

#[tokio::test]
async fn a_manifest_names_what_is_there_in_a_form_that_is_known() {
    let world = furnished().await;
    let config = push(&world, "writer", "acme/demo", b"config").await;
    let nowhere = Digest::of(b"nowhere");
    let good = manifest(config);
    let put = async |reference: &str, media_type: &str, body: &str| {
        let path = format!("/api/v1/acme/demo/manifests/{reference}");
        send(&world, "writer", Method::PUT, &path, media_type, body.as_bytes()).await
    };
    let layer = good.replace("\"layers\":[]", &format!("\"layers\":[{{\"digest\":\"{nowhere}\"}}]"));
    for (reference, media_type, body, status) in [
        ("1", OCI, manifest(nowhere).as_str(), 400),
        ("1", OCI, &layer, 400),
        ("1", "text/html", &good, 400),
        ("1", "application/json", &good, 400),
        ("1", "", &good, 400),
        ("1", OCI, &good.replace(":2,", ":1,"), 400),
        ("1", OCI, "{}", 422),
        ("1", OCI, "[]", 400),
        ("1", OCI, "", 400),
        ("1", OCI, &good.replace("sha256:", "sha512:"), 422),
        (".bad", OCI, &good, 422),
        (nowhere.to_string().as_str(), OCI, &good, 400),
        ("1", OCI, &good, 201),
    ] {
        let shot = put(reference, media_type, body).await;
        assert_eq!(shot.status.as_u16(), status, "{reference} {media_type} {body}: {}", shot.body);
    }
    insta::assert_snapshot!("dreadnode_manifest_lacks", put("2", OCI, &manifest(nowhere)).await.whole());
    assert_eq!(
        put("1", OCI, &format!("{{\"x\":\"{}\"}}", "x".repeat(5_000_000))).await.status,
        StatusCode::BAD_REQUEST
    );
}
