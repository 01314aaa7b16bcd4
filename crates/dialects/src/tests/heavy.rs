//! Answers about large tables: made beside the runtime, told piece by piece, fair between accounts.

use std::sync::atomic::Ordering;

use axum::body::Body;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;

use super::sharing::TABLE;
use super::tables::{SIGNED, WIDE};
use super::world::World;

async fn asked(world: &World) -> Request<Body> {
    Request::post(format!("{TABLE}/wide/query"))
        .header("authorization", format!("Bearer {}", world.token("reader").await))
        .header("delta-sharing-capabilities", "includeEndStreamAction=true")
        .body(Body::from("{}"))
        .unwrap()
}

#[tokio::test]
async fn the_lines_of_a_large_table_are_signed_as_they_are_read() {
    let world = World::sharing().await;
    world.add_table("wide").await;
    let response = world.answer(asked(&world).await).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let signed = SIGNED.load(Ordering::Relaxed);
    assert!((100..2000).contains(&signed), "{signed} of {WIDE} are signed for {} bytes", first.len());
    let rest = body.collect().await.unwrap().to_bytes();
    let text = [&first[..], &rest[..]].concat();
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), WIDE + 3, "protocol, metadata, every file, and the end");
    assert!(lines.last().unwrap().starts_with(b"{\"endStreamAction\""));
    assert_eq!(SIGNED.load(Ordering::Relaxed), WIDE);
}

#[tokio::test]
async fn answers_that_nobody_reads_take_nothing_from_others_and_free_their_place_when_they_end() {
    let world = World::sharing().await;
    world.add_table("wide").await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(world.answer(asked(&world).await).await);
    }
    let mut waiting = FuturesUnordered::new();
    for _ in 0..8 {
        waiting.push(world.answer(asked(&world).await));
    }
    // All of the account's places are taken: these wait, and one more is refused at once.
    assert!(waiting.next().now_or_never().is_none());
    let refused = World::shot(world.answer(asked(&world).await).await).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers["retry-after"], "1");
    // Whoever asks for anything else does not wait, nor does another account for the same.
    assert_eq!(world.get("reader", "/api/v1/me").await.status, StatusCode::OK);
    world.share_with("globex").await;
    let other = world.post("other", &format!("{TABLE}/plain/query"), "{}").await;
    assert_eq!(other.status, StatusCode::OK, "{}", other.body);
    held.clear();
    let mut done = 0;
    while let Some(response) = waiting.next().await {
        assert_eq!(response.status(), StatusCode::OK);
        done += 1;
    }
    assert_eq!(done, 8);
}
