//! Dreadnode's operations: whole responses, who may know of which workspace, and every published refusal for its reason.

use std::fmt::Write as _;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use http::{Method, Request, StatusCode};
use tower::ServiceExt as _;
use valetkey_core::account::{Metering, Standing};
use valetkey_core::caller::Role;
use valetkey_core::credential::Issued;
use valetkey_core::lease::Lease;
use valetkey_core::nouns::registry::LeaseFilter;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::nouns::workspace::Access;
use valetkey_core::policy::Permit;
use valetkey_core::port::Issuer;
use valetkey_core::scope::Action;
use valetkey_core::time::Clock as _;
use valetkey_core::vending::Vending;
use valetkey_core::{Error, Kind};

use super::world::{Shot, World};
use crate::dreadnode::{self, Version};
use crate::edge::{self, EdgeLimits, RateLimits, Shared, Window};

const VEND: &str = "/api/v1/org/acme/ws/main/storage/credentials";

/// The world with `acme`'s workspaces `main` (for its writer), `lab` (for everyone, to read) and `closet` (for its boss),
/// and `globex`'s `main`.
pub(super) async fn furnished() -> World {
    furnish(World::new().await).await
}

async fn furnish(world: World) -> World {
    let (writer, boss) = (world.caller_of("writer").await, world.caller_of("boss").await);
    world.workspace("acme", "main", Some(writer), Access::ReadWrite, true).await;
    world.workspace("acme", "lab", None, Access::Read, false).await;
    world.workspace("acme", "closet", Some(boss), Access::ReadWrite, false).await;
    world.workspace("globex", "main", None, Access::ReadWrite, false).await;
    world
}

async fn with_headers(world: &World, method: &Method, path: &str, headers: &[(&str, &str)], body: &str) -> Shot {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    world.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn a_vend_answers_exactly_the_published_fields() {
    let world = furnished().await;
    insta::assert_snapshot!("dreadnode_vend", world.get("writer", VEND).await.whole());
}

#[tokio::test]
async fn what_was_vended_opens_the_two_parts_of_the_workspace_and_deletes_nothing() {
    let world = furnished().await;
    let answer = world.get("writer", VEND).await.json();
    let prefix = answer["prefix"].as_str().unwrap();
    assert!(!prefix.ends_with('/'));
    let leases = world.memory.leases(&LeaseFilter { limit: 9, ..Default::default() }).await.unwrap();
    let [record] = leases.as_slice() else { panic!("{leases:?}") };
    assert_eq!(record.lease.dialect, "dreadnode");
    let open = |key: &str, action| record.lease.rights.covers("lake", format!("{prefix}/{key}").as_bytes(), action);
    for part in ["artifacts/sha256/x", "cas/objects/x"] {
        for action in [Action::GetObject, Action::PutObject, Action::MultipartUpload, Action::AbortUpload] {
            assert!(open(part, action), "{part} {action}");
        }
        for action in [Action::DeleteObject, Action::ListUploads, Action::GetBucketInfo, Action::PutBucketConfig] {
            assert!(!open(part, action), "{part} {action}");
        }
    }
    for outside in ["x", "casx", "artifacts-2/x", "../x"] {
        assert!(!open(outside, Action::GetObject), "{outside}");
    }
}

#[tokio::test]
async fn a_caller_who_may_only_read_gets_a_key_to_read() {
    let world = furnished().await;
    let answer = world.get("reader", "/api/v1/org/acme/ws/lab/storage/credentials").await;
    assert_eq!(answer.status, StatusCode::OK);
    let leases = world.memory.leases(&LeaseFilter { limit: 9, ..Default::default() }).await.unwrap();
    assert_eq!(leases[0].lease.rights.actions(), Access::Read.actions());
}

#[tokio::test]
async fn who_one_is_and_what_there_is_for_one() {
    let world = furnished().await;
    for (name, caller, path) in [
        ("dreadnode_user", "writer", "/api/v1/user"),
        ("dreadnode_organizations", "writer", "/api/v1/user/organizations"),
        ("dreadnode_organization", "reader", "/api/v1/org/acme"),
        ("dreadnode_workspaces", "writer", "/api/v1/org/acme/ws"),
        ("dreadnode_workspace", "reader", "/api/v1/org/acme/ws/lab"),
    ] {
        insta::assert_snapshot!(name, world.get(caller, path).await.whole());
    }
    let id = world.account_id("acme").await;
    assert_eq!(world.get("reader", &format!("/api/v1/org/{id}")).await.json()["key"], "acme");
    assert_eq!(world.get("root", "/api/v1/user").await.json()["is_platform_admin"], true);
    insta::assert_snapshot!("dreadnode_health", world.call(&Method::GET, "/api/v1/health", "", "").await.whole());
}

#[tokio::test]
async fn a_workspace_that_no_grant_opens_does_not_exist() {
    let world = furnished().await;
    let keys = async |caller: &str, org: &str| {
        let list = world.get(caller, &format!("/api/v1/org/{org}/ws")).await.json();
        list.as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(keys("reader", "acme").await, ["lab"]);
    assert_eq!(keys("writer", "acme").await, ["lab", "main"]);
    assert_eq!(keys("boss", "acme").await, ["closet", "lab"]);
    assert_eq!(keys("other", "globex").await, ["main"]);
    assert_eq!(keys("root", "ops").await, Vec::<String>::new());
    // Missing, another caller's, another organization's: the same answer to the byte.
    for tail in ["", "/projects", "/projects/p", "/storage/credentials"] {
        let missing = world.get("reader", &format!("/api/v1/org/acme/ws/none{tail}")).await;
        assert_eq!(missing.status, StatusCode::NOT_FOUND, "{tail}");
        for key in ["main", "closet", "MAIN", "main%2F", "..", "%00"] {
            let shot = world.get("reader", &format!("/api/v1/org/acme/ws/{key}{tail}")).await;
            assert_eq!((shot.status, &shot.body), (missing.status, &missing.body), "{key}{tail}");
        }
        let nowhere = world.get("reader", &format!("/api/v1/org/nowhere/ws/main{tail}")).await;
        for caller in ["reader", "root"] {
            let foreign = world.get(caller, &format!("/api/v1/org/globex/ws/main{tail}")).await;
            assert_eq!((foreign.status, &foreign.body), (nowhere.status, &nowhere.body), "{caller} {tail}");
        }
    }
    // Each refused vend is in the ledger, and there it is told why.
    let refused: Vec<_> = world.memory.refusals().iter().map(|refusal| refusal.kind.slug()).collect();
    let vends: Vec<_> = refused.chunks(10).next_back().unwrap().to_vec();
    assert_eq!(vends[..4], ["not_found", "forbidden", "forbidden", "not_found"]);
    assert_eq!(refused.len(), 40, "four routes, each refused ten times: {refused:?}");
}

#[tokio::test]
async fn a_grant_decides_and_when_it_goes_the_workspace_goes() {
    let world = furnished().await;
    let token = world.token("writer").await;
    let status = async |path: &str| world.call(&Method::GET, path, &token, "").await.status.as_u16();
    assert_eq!((status(VEND).await, status("/api/v1/org/acme/ws/main").await), (200, 200));
    let acme = world.account_id("acme").await;
    let grants = world.memory.grants(acme).await.unwrap();
    let grant = grants.iter().find(|grant| grant.name.as_str() == "workspace-main").unwrap();
    let by = valetkey_core::lease::Revoker { by: world.caller_of("root").await, at: world.clock.now() };
    world.memory.remove_grant(acme, grant.id, true, by).await.unwrap();
    assert_eq!((status(VEND).await, status("/api/v1/org/acme/ws/main").await), (404, 404));
}

#[tokio::test]
async fn a_token_is_taken_from_any_one_of_its_carriers() {
    let world = furnished().await;
    let (one, two) = (world.token("writer").await, world.token("reader").await);
    let basic = |name: &str, token: &str| {
        format!("Basic {}", data_encoding::BASE64.encode(format!("{name}:{token}").as_bytes()))
    };
    let bearer = |token: &str| format!("Bearer {token}");
    for (headers, status) in [
        (vec![("x-api-key", one.clone())], 200),
        (vec![("X-Api-Key", one.clone())], 200),
        (vec![("authorization", bearer(&one))], 200),
        (vec![("authorization", basic("__token__", &one))], 200),
        (vec![("authorization", bearer(&one)), ("x-api-key", one.clone())], 200),
        (vec![("authorization", basic("__token__", &one)), ("x-api-key", one.clone())], 200),
        (vec![("authorization", bearer(&one)), ("x-api-key", two.clone())], 400),
        (vec![("authorization", basic("__token__", &two)), ("x-api-key", one.clone())], 400),
        (vec![("x-api-key", one.clone()), ("x-api-key", one.clone())], 400),
        (vec![("authorization", bearer(&one)), ("authorization", basic("__token__", &one))], 400),
        (vec![("authorization", basic("writer", &one))], 401),
        (vec![("authorization", basic("", &one))], 401),
        (vec![("authorization", "Basic ????".to_owned())], 401),
        (vec![("authorization", "Digest x".to_owned()), ("x-api-key", one.clone())], 401),
        (vec![("x-api-key", String::new())], 401),
        (vec![("x-api-key", "v".repeat(2000))], 401),
        (vec![("x-api-key", bearer(&one))], 401),
    ] {
        let shown: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let shot = with_headers(&world, &Method::GET, "/api/v1/user", &shown, "").await;
        assert_eq!(shot.status.as_u16(), status, "{headers:?}: {}", shot.body);
    }
}

#[tokio::test]
async fn the_endpoint_is_the_one_for_the_network_that_is_named() {
    let world = furnished().await;
    let token = world.token("writer").await;
    let endpoint = async |headers: &[(&str, &str)]| {
        let mut headers = headers.to_vec();
        headers.push(("x-api-key", &token));
        let shot = with_headers(&world, &Method::GET, VEND, &headers, "").await;
        (shot.status.as_u16(), shot.json()["endpoint"].as_str().unwrap_or_default().to_owned())
    };
    let network = "x-dreadnode-network";
    let public = (200, "http://127.0.0.1:9000".to_owned());
    assert_eq!(endpoint(&[(network, "cluster")]).await, public, "without an internal one");
    world.change_storage(Some("http://s3.internal:9000"), 604_800).await;
    assert_eq!(endpoint(&[]).await, public);
    assert_eq!(endpoint(&[(network, "public")]).await, public);
    assert_eq!(endpoint(&[(network, "cluster")]).await, (200, "http://s3.internal:9000".to_owned()));
    for any in ["Cluster", "CLUSTER", "cLuStEr"] {
        assert_eq!(endpoint(&[(network, any)]).await, (200, "http://s3.internal:9000".to_owned()), "{any}");
    }
    for wrong in [vec![(network, "clusters")], vec![(network, "")], vec![(network, "public"), (network, "cluster")]] {
        assert_eq!(endpoint(&wrong).await.0, 422, "{wrong:?}");
    }
    let headers = [(network, "vpn"), ("x-api-key", token.as_str())];
    let refused = with_headers(&world, &Method::GET, VEND, &headers, "").await;
    insta::assert_snapshot!("dreadnode_validation", refused.whole());
}

#[tokio::test]
async fn projects_are_made_by_who_may_write_and_seen_by_who_may_read() {
    let world = furnished().await;
    let path = "/api/v1/org/acme/ws/main/projects";
    let made = world.post("writer", path, r#"{"name":"P one","key":"p1","description":"About"}"#).await;
    insta::assert_snapshot!("dreadnode_project", made.whole());
    assert_eq!(world.get("writer", &format!("{path}/p1")).await.json(), made.json());
    assert_eq!(world.get("writer", path).await.json(), serde_json::json!([made.json()]));
    let again = world.post("writer", path, r#"{"name":"P one","key":"p1"}"#).await;
    insta::assert_snapshot!("dreadnode_conflict", again.whole());
    assert_eq!(world.get("writer", &format!("{path}/p2")).await.status, StatusCode::NOT_FOUND);
    let lab = "/api/v1/org/acme/ws/lab/projects";
    assert_eq!(world.get("reader", lab).await.body, "[]");
    assert_eq!(world.post("reader", lab, r#"{"name":"x","key":"x"}"#).await.status, StatusCode::FORBIDDEN);
    for (body, status, loc) in [
        ("", 400, ""),
        ("[]", 400, ""),
        (r#"{"name":"x"}"#, 422, "body"),
        (r#"{"name":"x","key":"X"}"#, 422, "key"),
        (r#"{"name":"x","key":""}"#, 422, "key"),
        (r#"{"name":"x","key":"a/b"}"#, 422, "key"),
        (r#"{"name":"a\u0007","key":"x"}"#, 422, "name"),
        (r#"{"name":"x","key":"x","owner":"me"}"#, 422, "body"),
    ] {
        let shot = world.post("writer", path, body).await;
        assert_eq!(shot.status.as_u16(), status, "{body}: {}", shot.body);
        let json = shot.json();
        let last = json["errors"][0]["loc"].as_array().and_then(|loc| loc.last()?.as_str()).unwrap_or_default();
        assert_eq!(last, loc, "{body}");
    }
    let long = format!(r#"{{"name":"{}","key":"x"}}"#, "n".repeat(257));
    assert_eq!(world.post("writer", path, &long).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn traces_are_taken_and_dropped() {
    let world = furnished().await;
    let token = world.token("reader").await;
    let send = async |org: &str, media_type: &str| {
        let headers = [("x-api-key", token.as_str()), ("content-type", media_type), ("content-encoding", "gzip")];
        let path = format!("/api/v1/org/{org}/otel/traces");
        with_headers(&world, &Method::POST, &path, &headers, &"x".repeat(200_000)).await
    };
    let answer = send("acme", "application/x-protobuf").await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, ""));
    assert_eq!(answer.headers["content-type"], "application/x-protobuf");
    assert_eq!(send("acme", "application/json; charset=utf-8").await.body, "{}");
    assert_eq!(send("acme", "text/plain").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(send("globex", "application/x-protobuf").await.status, StatusCode::NOT_FOUND);
}

/// An issuer that fails.
struct Failing(Kind);

#[async_trait]
impl Issuer for Failing {
    fn ready(&self, _: &Permit) -> Result<Option<Issued>, Error> {
        Ok(None)
    }

    async fn issue(&self, _: &Permit, _: &Lease) -> Result<Issued, Error> {
        Err(Error::new(self.0, "the store did not do it").note("its own words"))
    }
}

#[tokio::test]
async fn a_store_that_fails_or_is_too_slow_is_a_gateways_failure() {
    let world = furnished().await;
    let mut page = String::new();
    for kind in [Kind::Upstream, Kind::UpstreamTimeout, Kind::Internal] {
        let vending = Vending { issuer: Arc::new(Failing(kind)), ..world.shared.vending.clone() };
        let shared = Arc::new(Shared { vending, ..(*world.shared).clone() });
        let dialect = dreadnode::dialect(&shared, dreadnode::Settings::default());
        let app = edge::router(shared, EdgeLimits::default(), vec![dialect]).unwrap();
        let request = Request::get(VEND).header("x-api-key", world.token("writer").await).body(Body::empty()).unwrap();
        let shot = World::shot(app.oneshot(request).await.unwrap()).await;
        writeln!(page, "{} {}", shot.status, shot.body).unwrap();
    }
    insta::assert_snapshot!("dreadnode_gateway", page);
}

#[tokio::test]
async fn an_account_without_credit_is_told_so_in_the_word_the_sdk_looks_for() {
    let world = World::new().await;
    world.workspace("poor", "main", None, Access::ReadWrite, true).await;
    let vend = "/api/v1/org/poor/ws/main/storage/credentials";
    let refused = world.get("nobody", vend).await;
    insta::assert_snapshot!("dreadnode_out_of_credit", refused.whole());
    assert!(refused.json()["detail"].as_str().unwrap().contains("credit"));
    world.memory.add_credits(world.account_id("poor").await, 2, world.clock.now()).await.unwrap();
    assert_eq!(world.get("nobody", vend).await.status, StatusCode::OK);
}

#[tokio::test]
async fn who_asks_too_often_is_told_so_without_that_word() {
    let windows = vec![Window::new("per-minute", 1, 60).unwrap()];
    let rates = RateLimits { credentials: windows, ..RateLimits::off() };
    let world = furnish(World::with(EdgeLimits { rates, ..EdgeLimits::default() }).await).await;
    let token = world.token("writer").await;
    assert_eq!(world.call(&Method::GET, VEND, &token, "").await.status, StatusCode::OK);
    let refused = world.call(&Method::GET, VEND, &token, "").await;
    insta::assert_snapshot!("dreadnode_rate_limited", refused.whole());
    assert!(!refused.body.to_lowercase().contains("credit"));
}

#[tokio::test]
async fn an_sdk_that_is_too_old_is_told_to_upgrade() {
    let world = furnished().await;
    let settings =
        dreadnode::Settings { min_sdk: Some(Version::parse("2.0.50").unwrap()), ..dreadnode::Settings::default() };
    let dialect = dreadnode::dialect(&world.shared, settings);
    let app = edge::router(world.shared.clone(), EdgeLimits::default(), vec![dialect]).unwrap();
    let token = world.token("writer").await;
    let ask = async |agent: &str, path: &str| {
        let request = Request::get(path).header("x-api-key", &token).header("user-agent", agent);
        World::shot(app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()).await
    };
    insta::assert_snapshot!("dreadnode_upgrade", ask("dreadnode-sdk/2.0.20", VEND).await.whole());
    assert_eq!(ask("dreadnode-sdk/1.17.1", "/api/v1/user").await.status, StatusCode::UPGRADE_REQUIRED);
    for agent in ["dreadnode-sdk/2.0.52", "dreadnode-sdk/2.0", "curl/8.5.0"] {
        assert_eq!(ask(agent, VEND).await.status, StatusCode::OK, "{agent}");
    }
}

#[tokio::test]
async fn what_the_route_does_not_take_is_refused_not_ignored() {
    let world = furnished().await;
    let token = world.token("writer").await;
    for query in ["utm_source=x", "_=1", "v=2&x"] {
        let shot = world.call(&Method::GET, &format!("{VEND}?{query}"), &token, "").await;
        assert_eq!(shot.status, StatusCode::OK, "{query} is passed over");
    }
    for base in ["/api/v1", "/api"] {
        for tail in ["/org/acme/ws/main/storage/credentials", "/user", "/org/acme/ws", "/health", "/user/organizations"]
        {
            let shot = world.call(&Method::GET, &format!("{base}{tail}"), &token, "").await;
            assert_eq!(shot.status, StatusCode::OK, "{base}{tail}: {}", shot.body);
        }
    }
    for query in ["prefix=x", "ttl=1", "read_only=true"] {
        let shot = world.call(&Method::GET, &format!("{VEND}?{query}"), &token, "").await;
        assert_eq!(shot.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
    }
    let body = world.call(&Method::GET, VEND, &token, "{\"prefix\":\"x\"}").await;
    assert_eq!(body.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_suspended_organization_gets_nothing() {
    let world = furnished().await;
    let acme = world.account_id("acme").await;
    world.memory.change_account(acme, Standing::Suspended, Metering::Free).await.unwrap();
    for path in ["/api/v1/user", "/api/v1/org/acme/ws", VEND, "/api/v1/acme/demo/tags/list"] {
        let shot = world.get("writer", path).await;
        assert_eq!(
            (shot.status, shot.json()["detail"].as_str()),
            (StatusCode::FORBIDDEN, Some("the account is suspended"))
        );
    }
    assert_eq!(world.get("writer", VEND).await.json()["type"], "forbidden");
}

#[tokio::test]
async fn an_organization_named_like_a_segment_is_still_reached_by_the_literal_routes() {
    let world = World::new().await;
    let account = world.memory.create_account(&"blobs".parse().unwrap(), Metering::Free, world.clock.now()).await;
    world.caller("blobs", "odd", Role::Member).await;
    world.workspace("blobs", "main", None, Access::ReadWrite, true).await;
    assert_eq!(world.get("odd", "/api/v1/org/blobs/ws").await.json()[0]["org_id"], account.unwrap().id.to_string());
}
