//! Requests of S3 that Iceberg's catalog signs one at a time, and those that it does not.

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use valetkey_core::nouns::registry::LeaseFilter;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::time::Clock as _;

use super::world::{Shot, World, bucket};

const TABLE: &str = "/iceberg/v1/Sales/namespaces/Main/tables/plain";
const HERE: &str = "http://127.0.0.1:9000/lake/t/plain/data/a.parquet";

async fn world() -> World {
    let world = World::sharing().await;
    let text = r#"{"format-version":2,"location":"s3://lake/t/plain","properties":{"s3.signer.uri":"https://elsewhere.example"}}"#;
    let key = b"t/plain/metadata/00001-a.metadata.json";
    world.made.2.files.put(&bucket("lake"), key, text.as_bytes(), world.clock.now());
    world
}

async fn ask(world: &World, token: &str, body: &Value) -> Shot {
    world.call(&http::Method::POST, &format!("{TABLE}/sign"), token, &body.to_string()).await
}

fn request(uri: &str) -> Value {
    json!({ "region": "us-east-1", "method": "GET", "uri": uri, "headers": { "User-Agent": ["x"], "Range": ["bytes=0-3"] } })
}

async fn leases(world: &World) -> usize {
    world.memory.leases(&LeaseFilter { limit: 100, ..LeaseFilter::default() }).await.unwrap().len()
}

fn key_of(shot: &Shot) -> String {
    assert_eq!(shot.status, StatusCode::OK, "{}", shot.body);
    let proof = shot.json()["headers"]["authorization"][0].as_str().unwrap().to_owned();
    proof.split_once("Credential=").unwrap().1.split_once('/').unwrap().0.to_owned()
}

#[tokio::test]
async fn a_client_is_told_where_requests_are_signed_by_a_path_alone() {
    let world = world().await;
    let token = world.token("reader").await;
    let before = leases(&world).await;
    let request = Request::get(TABLE).header("authorization", format!("Bearer {token}"));
    let request = request.header("x-iceberg-access-delegation", "remote-signing").body(Body::empty()).unwrap();
    let body = world.send(request).await.json();
    let path = "v1/Sales/namespaces/Main/tables/plain/sign";
    assert_eq!(
        body["config"],
        json!({
            "client.region": "us-east-1", "s3.region": "us-east-1", "s3.endpoint": "http://127.0.0.1:9000",
            "s3.path-style-access": "true", "s3.remote-signing-enabled": "true",
            "s3.signer.endpoint": path, "signer.endpoint": path,
        })
    );
    assert_eq!((&body["storage-credentials"], &body["metadata"]["properties"]), (&json!([]), &json!({})));
    assert_eq!(leases(&world).await, before);
}

#[tokio::test]
async fn one_request_at_a_time_is_signed_with_one_lease() {
    let world = world().await;
    let (before, reader) = (leases(&world).await, world.token("reader").await);
    let shot = ask(&world, &reader, &request(HERE)).await;
    let first = key_of(&shot);
    assert_eq!(shot.headers["cache-control"], "private");
    let body = shot.json();
    assert_eq!(body["uri"], HERE);
    let names: Vec<&String> = body["headers"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["authorization", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"]);
    let proof = body["headers"]["authorization"][0].as_str().unwrap();
    assert!(proof.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,"), "{proof}");
    let list = "http://127.0.0.1:9000/lake?list-type=2&prefix=t%2Fplain%2F&delimiter=/&encoding-type=url";
    let mut head = request("http://127.0.0.1:9000/lake/t/plain/data/ts%3D2020%253A01/a%20b");
    head["method"] = json!("HEAD");
    head["headers"]["x-amz-checksum-mode"] = json!(["ENABLED"]);
    for (body, uri) in [
        (head.clone(), head["uri"].as_str().unwrap()),
        (request(list), "http://127.0.0.1:9000/lake?delimiter=%2F&encoding-type=url&list-type=2&prefix=t%2Fplain%2F"),
        (
            request("http://127.0.0.1:9000/lake/?list-type=2&prefix=t/plain/data"),
            "http://127.0.0.1:9000/lake/?list-type=2&prefix=t%2Fplain%2Fdata",
        ),
    ] {
        let shot = ask(&world, &reader, &body).await;
        assert_eq!((key_of(&shot), shot.json()["uri"].as_str().unwrap()), (first.clone(), uri));
    }
    assert_eq!(leases(&world).await, before + 1);
    // What is revoked, or ends within a minute, signs nothing more.
    let lease = valetkey_core::keyring::parse_access_key_id(&first).unwrap().1;
    let root = world.token("root").await;
    world.clock.advance_secs(1);
    let ended = world.call(&http::Method::DELETE, &format!("/api/v1/leases/{lease}"), &root, "").await;
    assert_eq!(ended.status, StatusCode::OK);
    world.clock.advance_secs(1);
    let second = key_of(&ask(&world, &reader, &request(HERE)).await);
    assert_ne!(second, first);
    world.clock.advance_secs(3539);
    assert_eq!(key_of(&ask(&world, &reader, &request(HERE)).await), second);
    world.clock.advance_secs(1);
    assert_ne!(key_of(&ask(&world, &reader, &request(HERE)).await), second);
    assert_eq!(leases(&world).await, before + 3);
    // Each token has a lease of its own.
    ask(&world, &world.token("reader").await, &request(HERE)).await;
    assert_eq!(leases(&world).await, before + 4);
}

#[tokio::test]
async fn what_is_not_one_read_of_the_table_is_not_signed_and_nothing_is_vended() {
    let world = world().await;
    let (before, reader) = (leases(&world).await, world.token("reader").await);
    assert_eq!(
        ask(&world, &world.token("other").await, &request(HERE)).await.status,
        StatusCode::NOT_FOUND,
        "it was not given the table"
    );
    let at = |rest: &str| request(&format!("http://127.0.0.1:9000/lake/{rest}"));
    let with = |name: &str, value: Value| {
        let mut body = request(HERE);
        body[name] = value;
        body
    };
    let header = |name: &str, value: &str| with("headers", json!({ name: [value] }));
    let long = format!("t/plain/{}", "a".repeat(9000));
    for body in [
        // Another host or bucket.
        request("http://127.0.0.1:90001/lake/t/plain/a"),
        request("http://127.0.0.1:9000@elsewhere.example/lake/t/plain/a"),
        request("http://elsewhere.example/lake/t/plain/a"),
        request("https://127.0.0.1:9000/lake/t/plain/a"),
        request("http://lake.127.0.0.1:9000/t/plain/a"),
        request("http://127.0.0.1:9000/lake2/t/plain/a"),
        request("http://127.0.0.1:9000//lake/t/plain/a"),
        request("http://127.0.0.1:9000/../lake/t/plain/a"),
        request(""),
        // Beside the table, or a key that can be read in two ways.
        at("t/plain2/a"),
        at("t/plain"),
        at("t/plain/"),
        at("t/"),
        at("t/plain/../plain2/a"),
        at("t/plain/%2e%2e/plain2/a"),
        at("t/plain/%252e%252e/plain2/a"),
        at("t/plain/%25252e%25252e%25252fplain2/a"),
        at("t/plain/..%2Fplain2/a"),
        at("t/plain/..%252Fplain2/a"),
        at("t/plain//a"),
        at("t/plain/a%2Fb"),
        at("t/plain/a%2fb"),
        at("t/plain/%61"),
        at("t/plain/a=b"),
        at("t/plain/a b"),
        at("t/plain/a%"),
        at("t/plain/a%00"),
        at("t/plain/a%5Cb"),
        at("t/plain/a#b"),
        at("t%2Fplain/a"),
        at(&long),
        // Parameters.
        at("t/plain/a?versionId=1"),
        at("t/plain/a?acl"),
        at("t/plain/a?response-content-type=text/html"),
        at("t/plain/a?X-Amz-Signature=0"),
        at("?list-type=2"),
        at("?list-type=2&prefix=t/plain"),
        at("?list-type=2&prefix=t/plain2/"),
        at("?list-type=2&prefix=t/plain/../x/"),
        at("?list-type=2&prefix=t/plain/&prefix="),
        at("?list-type=2&prefix=t/plain/&Prefix="),
        at("?list-type=2&prefix=t/plain/&versions"),
        at("?list-type=2&prefix=t/plain/%"),
        at("?prefix=t/plain/"),
        at("?uploads&prefix=t/plain/"),
        // Other methods and bodies.
        with("method", json!("PUT")),
        with("method", json!("DELETE")),
        with("method", json!("POST")),
        with("method", json!("get")),
        with("body", json!("<Delete/>")),
        with("region", json!("eu-west-1")),
        with("provider", json!("gcs")),
        // Headers.
        header("x-amz-copy-source", "/lake/t/plain/a"),
        header("X-Amz-Copy-Source", "/lake/t/plain/a"),
        header("x-amz-acl", "public-read"),
        header("x-amz-checksum-mode", "x"),
        header("x-amz-content-sha256", "00"),
        header("x-amz-security-token", "x"),
        header("host", "elsewhere.example"),
        header("authorization", "x"),
        header("content-length", "1"),
    ] {
        let shot = ask(&world, &reader, &body).await;
        assert_eq!(
            (shot.status, &shot.json()["error"]["type"]),
            (StatusCode::FORBIDDEN, &json!("ForbiddenException")),
            "{body}: {}",
            shot.body
        );
    }
    for body in [json!({}), json!([]), with("x", json!(1)), with("headers", json!({ "a": "b" })), with("uri", json!(1))]
    {
        assert_eq!(ask(&world, &reader, &body).await.status, StatusCode::BAD_REQUEST, "{body}");
    }
    assert_eq!(leases(&world).await, before);
}
