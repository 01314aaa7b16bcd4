//! What an account may keep: an operator says it, and everyone of the account sees it.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::world::World;

const ACME: &str = "/api/v1/accounts/acme";

async fn set(world: &World, who: &str, fields: Value) -> (StatusCode, Value) {
    let answer = world.call(&Method::PATCH, ACME, &world.token(who).await, &fields.to_string()).await;
    (answer.status, answer.json())
}

#[tokio::test]
async fn an_account_has_the_servers_limits_or_its_own() {
    let world = World::new().await;
    let kept = |answer: &Value| (answer["max_bytes"].clone(), answer["max_objects"].clone(), answer["kept"].clone());
    let (status, own) = set(&world, "root", json!({"max_bytes": 5000, "max_objects": 9})).await;
    assert_eq!(status, StatusCode::OK);
    let shown = json!({"bytes": 700, "max_bytes": 5000, "objects": 3, "max_objects": 9});
    assert_eq!(kept(&own), (json!(5000), json!(9), shown.clone()));
    let (_, named) = set(&world, "root", json!({"credits_per_vend": 0})).await;
    assert_eq!(kept(&named), (json!(5000), json!(9), shown), "what is not named stays");
    let (_, any) = set(&world, "root", json!({"max_bytes": 0, "max_objects": null})).await;
    assert_eq!(
        kept(&any),
        (json!(0), Value::Null, json!({"bytes": 700, "objects": 3})),
        "0 is any, whatever the server has"
    );
    let (_, back) = set(&world, "root", json!({"max_bytes": null})).await;
    assert_eq!(kept(&back), (Value::Null, Value::Null, json!({"bytes": 700, "max_bytes": 1000, "objects": 3})));
    let me = world.get("reader", "/api/v1/me").await.json();
    assert_eq!(me["account"]["kept"]["max_bytes"], 1000);
    let listed = world.get("reader", "/api/v1/accounts").await.json();
    assert_eq!(listed["accounts"][0]["kept"]["bytes"], 700);
}

#[tokio::test]
async fn only_operators_say_it_and_in_numbers_that_can_be_counted() {
    let world = World::new().await;
    for who in ["reader", "boss"] {
        assert_eq!(set(&world, who, json!({"max_bytes": 0})).await.0, StatusCode::FORBIDDEN, "{who}");
    }
    for (fields, field) in [
        (json!({"max_bytes": u64::MAX}), json!("max_bytes")),
        (json!({"max_objects": 1u64 << 63}), json!("max_objects")),
        (json!({"max_bytes": -1}), json!("max_bytes")),
        (json!({"max_bytes": "many"}), json!("max_bytes")),
        (json!({"max_byte": 1}), json!("max_byte")),
    ] {
        let (status, refused) = set(&world, "root", fields.clone()).await;
        assert_eq!((status, &refused["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &field), "{fields}: {refused}");
    }
    let account = world.get("reader", "/api/v1/me").await.json()["account"].clone();
    assert_eq!((&account["max_bytes"], &account["max_objects"]), (&Value::Null, &Value::Null), "nothing was changed");
}
