//! Every refused ask is on record: each dialect's way to ask for a credential, refused in each way there is before anybody decides.

use std::net::IpAddr;

use axum::body::Body;
use http::{Method, Request};
use valetkey_core::error::{Kind, Noun, Stranger};
use valetkey_core::lease::Refusal;

use super::world::World;
use crate::edge::{Class, EdgeLimits, Peer, RateLimits, Window};

/// A way to ask, and what it is refused with: dialect, method, path, who asks, body, and the kind on record.
type Asked = (&'static str, Method, &'static str, &'static str, String, Kind);

fn asked() -> Vec<Asked> {
    let keys = "/delta-sharing/shares/none/schemas/s/tables/t/temporary-table-credentials";
    let query = "/delta-sharing/shares/none/schemas/s/tables/t/query";
    let changes = "/delta-sharing/shares/none/schemas/s/tables/t/changes";
    let volume = "/delta-sharing/shares/none/schemas/s/volumes/v/temporary-volume-credentials";
    let files = "/api/2.1/unity-catalog/temporary-volume-credentials";
    let sts = "/sts?Action=AssumeRoleWithWebIdentity&Version=2011-06-15";
    let data = "/v20180820/accessgrantsinstance/dataaccess?target=s3://lake/none&permission=READ";
    let unclear = "/v20180820/accessgrantsinstance/dataaccess?target=s3://lake/none&permission=READ&ttl=1";
    let (of_table, of_path) =
        ("/api/2.1/unity-catalog/temporary-table-credentials", "/api/2.0/unity-catalog/temporary-path-credentials");
    let r2 = "/client/v4/accounts/x/r2/temp-access-credentials";
    let (get, post) = (Method::GET, Method::POST);
    let at = |dialect, method: &Method, path, who, body: &str, kind| {
        (dialect, method.clone(), path, who, body.to_owned(), kind)
    };
    vec![
        at("native", &post, "/api/v1/credentials", "nobody", "{}", Kind::Forbidden),
        at("native", &post, "/api/v1/credentials", "nobody", r#"{"grant":"daily"}"#, Kind::NotFound(Noun::Grant)),
        at("native", &post, "/api/v1/credentials", "reader", "{", Kind::Malformed),
        at("native", &post, "/api/v1/credentials", "reader", r#"{"grnt":"daily"}"#, Kind::Invalid),
        at("native", &post, "/api/v1/credentials?ttl=1", "reader", "{}", Kind::Invalid),
        at("theirstack", &post, "/v1/datasets/credentials", "reader", r#"{"ttl":1}"#, Kind::Invalid),
        at("theirstack", &post, "/v1/datasets/credentials", "reader", "{", Kind::Malformed),
        at("theirstack", &post, "/v1/datasets/credentials", "nobody", "", Kind::NotInPlan),
        at("theirstack", &post, "/v1/datasets/credentials?prefix=x", "reader", "", Kind::Invalid),
        at(
            "dreadnode",
            &get,
            "/api/v1/org/acme/ws/none/storage/credentials",
            "reader",
            "",
            Kind::NotFound(Noun::Workspace),
        ),
        at(
            "dreadnode",
            &get,
            "/api/v1/org/none/ws/main/storage/credentials",
            "reader",
            "",
            Kind::NotFound(Noun::Account),
        ),
        at("dreadnode", &get, "/api/v1/org/acme/ws/none/storage/credentials?ttl=1", "reader", "", Kind::Invalid),
        at("r2", &post, r2, "reader", "{", Kind::Malformed),
        at("r2", &post, r2, "reader", "{}", Kind::Invalid),
        at("sharing", &post, keys, "reader", "", Kind::NotFound(Noun::Share)),
        at("r2", &post, "/accounts/x/r2/temp-access-credentials", "reader", "[]", Kind::Malformed),
        at("sharing", &get, changes, "reader", "", Kind::NotFound(Noun::Share)),
        at("sharing", &post, volume, "reader", "", Kind::NotFound(Noun::Share)),
        at(
            "unity",
            &post,
            files,
            "reader",
            r#"{"volume_id":"x","operation":"READ_VOLUME"}"#,
            Kind::NotFound(Noun::Table),
        ),
        at("sharing", &post, query, "reader", "{}", Kind::NotFound(Noun::Share)),
        at("sts", &post, sts, "reader", "RoleArn=arn:aws:iam:::role/none", Kind::NotFound(Noun::Grant)),
        at("sts", &post, sts, "reader", "DurationSeconds=1", Kind::Invalid),
        at("sts", &post, sts, "reader", "Policy=%7B", Kind::Invalid),
        at("sts", &post, sts, "reader", "Prefix=x", Kind::Invalid),
        at("parcels", &post, "/parcels/v2/customers/none/keys", "reader", "{}", Kind::Forbidden),
        at("parcels", &post, "/parcels/v2/customers/daily/keys", "reader", "{", Kind::Malformed),
        at("parcels", &post, "/parcels/v2/customers/daily/keys", "reader", r#"{"prefix":"x"}"#, Kind::Invalid),
        at("parcels", &post, "/parcels/v2/customers/daily/keys?ttl=1", "reader", "{}", Kind::Invalid),
        at("parcels", &get, "/parcels/v2/mine", "reader", "", Kind::Forbidden),
        at("access-grants", &get, data, "reader", "", Kind::Forbidden),
        at("access-grants", &get, unclear, "reader", "", Kind::Invalid),
        at("iceberg", &get, "/iceberg/v1/none/namespaces/s/tables/t", "reader", "", Kind::NotFound(Noun::Table)),
        at("iceberg", &get, "/iceberg/v1/none/namespaces/s/tables/t?prefix=x", "reader", "", Kind::Invalid),
        at(
            "iceberg",
            &get,
            "/iceberg/v1/none/namespaces/s/tables/t/credentials",
            "reader",
            "",
            Kind::NotFound(Noun::Table),
        ),
        at("iceberg", &post, "/iceberg/v1/none/namespaces/s/tables", "reader", "{}", Kind::Unsupported),
        at("iceberg", &post, "/iceberg/v1/none/namespaces/s/register", "reader", "{}", Kind::Unsupported),
        at("unity", &post, of_table, "reader", r#"{"table_id":"x","operation":"READ"}"#, Kind::NotFound(Noun::Table)),
        at("unity", &post, of_table, "reader", r#"{"table_id":"x","operation":"UNKNOWN"}"#, Kind::Invalid),
        at("unity", &post, of_path, "reader", "{", Kind::Malformed),
        at(
            "unity",
            &post,
            "/api/2.1/unity-catalog/temporary-path-credentials",
            "reader",
            r#"{"url":"s3://none/x","operation":"PATH_READ"}"#,
            Kind::NotFound(Noun::Bucket),
        ),
    ]
}

#[tokio::test]
async fn whatever_an_ask_is_refused_with_is_counted_once_for_who_asked() {
    let world = World::new().await;
    for (dialect, method, path, who, body, kind) in asked() {
        let (account, caller) = (account_of(&world, who).await, world.caller_of(who).await);
        let before = world.memory.refusals().len();
        let shot = world.call(&method, path, &world.token(who).await, &body).await;
        assert!(shot.status.is_client_error(), "{path}: {}", shot.status);
        let told = world.memory.refusals().split_off(before);
        let [refusal] = told.as_slice() else { panic!("{path} {body}: {told:?}") };
        assert_eq!(
            (refusal.dialect, refusal.account, refusal.caller),
            (dialect, Some(account), Some(caller)),
            "{path}"
        );
        // Nouns are told apart by the answer; the record has one word for all of them.
        assert_eq!(refusal.kind.slug(), kind.slug(), "{path} {body}: {}", shot.body);
    }
}

#[tokio::test]
async fn so_is_one_by_somebody_unknown_and_one_too_many() {
    let world = World::new().await;
    for (dialect, method, path, ..) in asked() {
        let before = world.memory.refusals().len();
        world.send(Request::builder().method(&method).uri(path).body(Body::empty()).unwrap()).await;
        let kind = Kind::Unauthenticated(Stranger::Missing);
        let refusal = Refusal { account: None, caller: None, from: None, dialect, kind };
        assert_eq!(world.memory.refusals().split_off(before), [refusal], "{path}");
    }
    let one = || vec![Window::new("per-minute", 1, 60).unwrap()];
    let rates = RateLimits { common: one(), credentials: one(), ..RateLimits::off() };
    let world = World::with(EdgeLimits { rates, ..EdgeLimits::default() }).await;
    for (dialect, method, path, who, body, _) in asked() {
        let token = world.token(who).await;
        let kinds = async || {
            let before = world.memory.refusals().len();
            world.call(&method, path, &token, &body).await;
            world.memory.refusals().split_off(before)
        };
        kinds().await;
        let again = kinds().await;
        assert_eq!(again.len(), 1, "{path}");
        assert!(again.iter().all(|one| one.dialect == dialect && one.kind == Kind::RateLimited), "{path}: {again:?}");
    }
}

/// With each ask and each refusal, whichever dialect it comes by.
#[tokio::test]
async fn the_address_that_asked_is_on_record() {
    let world = World::new().await;
    let address = IpAddr::from([192, 0, 2, 7]);
    for (dialect, method, path, who, body, _) in asked() {
        let before = world.memory.refusals().len();
        let mut request = world.asking(&method, path, &world.token(who).await, &body).await;
        request.extensions_mut().insert(Peer { address, is_client: true });
        world.send(request).await;
        let told = world.memory.refusals().split_off(before);
        assert!(told.iter().all(|one| one.from == Some(address)) && told.len() == 1, "{dialect} {path}: {told:?}");
    }
    let token = world.token("reader").await;
    let vend = Request::post("/api/v1/credentials").header("authorization", format!("Bearer {token}"));
    let vended = world
        .send(vend.extension(Peer { address, is_client: true }).body(Body::from(r#"{"grant":"daily"}"#)).unwrap())
        .await;
    let (lease, key) = (vended.json()["lease_id"].clone(), vended.json()["access_key_id"].clone());
    let (lease, key) = (lease.as_str().unwrap().to_owned(), key.as_str().unwrap().to_owned());
    let shown = world.get("reader", &format!("/api/v1/leases/{lease}")).await.json();
    let whose = world.get("reader", &format!("/api/v1/whose/{key}")).await.json();
    let all = world.get("reader", "/api/v1/leases").await.json()["leases"].clone();
    let listed = all.as_array().unwrap().iter().find(|one| one["lease_id"] == *lease).unwrap().clone();
    for said in [shown, whose, listed] {
        assert_eq!(said["from"], "192.0.2.7", "{said}");
    }
    // What the server asks itself comes from nowhere.
    let quiet = world.post("reader", "/api/v1/credentials", r#"{"grant":"daily"}"#).await.json();
    let shown = world.get("reader", &format!("/api/v1/leases/{}", quiet["lease_id"].as_str().unwrap())).await.json();
    assert!(shown.get("from").is_none(), "{shown}");
}

/// Every route that asks for credentials is in the list above.
#[tokio::test]
async fn no_way_to_ask_is_left_out() {
    let world = World::new().await;
    for dialect in World::dialects(&world.shared, &world.made) {
        for route in dialect.routes.iter().filter(|route| route.class == Class::Credentials) {
            let fits = |path: &str| {
                let path = path.split('?').next().unwrap_or_default().strip_prefix(&*dialect.base).unwrap_or_default();
                let (own, given): (Vec<_>, Vec<_>) = (route.path.split('/').collect(), path.split('/').collect());
                own.len() == given.len() && own.iter().zip(given).all(|(own, one)| own.starts_with('{') || *own == one)
            };
            let listed = asked().iter().any(|(name, _, path, ..)| *name == dialect.name && fits(path));
            assert!(listed, "{} {}", dialect.name, route.path);
        }
    }
}

async fn account_of(world: &World, who: &str) -> valetkey_core::id::AccountId {
    let id = world.caller_of(who).await;
    valetkey_core::nouns::registry::Callers::caller_by_id(&*world.memory, id).await.unwrap().unwrap().account
}
