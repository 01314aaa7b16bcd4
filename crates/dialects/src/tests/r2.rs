//! Cloudflare's API for R2's temporary credentials, and our own for the parent access keys behind them.

use axum::body::Body;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use valetkey_core::Secret;
use valetkey_core::caller::Role;
use valetkey_core::id::{AccountId, StorageId, TokenId};
use valetkey_core::keyring::{Carried, Keyring, SessionClaims};
use valetkey_core::lease::{Provenance, Revoker};
use valetkey_core::nouns::parent::{NewParent, ParentAdmin as _, Parents as _, Permission};
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::port::Revocations as _;
use valetkey_core::scope::{Action, Actions, Path, Paths, Rights};
use valetkey_core::time::Clock as _;
use valetkey_core::token::{Maker, PlainToken};

use super::world::{Shot, World, bucket};
use crate::edge::{EdgeLimits, RateLimits, Window};

struct Parent {
    world: World,
    account: AccountId,
    id: TokenId,
    token: PlainToken,
}

async fn parent(permission: Permission) -> Parent {
    parent_in(World::new().await, permission).await
}

async fn parent_in(world: World, permission: Permission) -> Parent {
    let account = world.account_id("acme").await;
    let token = PlainToken::generate(&*world.entropy);
    let name = "job".parse().unwrap();
    let new =
        NewParent { account, name, buckets: vec![bucket("vault")], permission, until: None, maker: Maker::Server };
    let id = world.memory.create_parent(new, &token, world.clock.now()).await.unwrap().token.id;
    Parent { world, account, id, token }
}

impl Parent {
    fn path(&self) -> String {
        format!("/client/v4/accounts/{}/r2/temp-access-credentials", self.account.as_hex())
    }

    /// A request of everything that its parent allows, with some fields changed; `null` takes one away.
    fn body(&self, changes: &Value) -> String {
        let mut body = json!({
            "bucket": "vault",
            "parentAccessKeyId": self.id.as_hex(),
            "permission": "object-read-only",
            "ttlSeconds": 3600,
        });
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                body.as_object_mut().unwrap().remove(name);
            } else {
                body[name] = value.clone();
            }
        }
        body.to_string()
    }

    async fn ask(&self, changes: &Value) -> Shot {
        self.world.call(&Method::POST, &self.path(), self.token.reveal(), &self.body(changes)).await
    }

    /// What an answer's session token opens.
    fn rights(shot: &Shot) -> Rights {
        let Carried::Here(rights) = Self::claims(shot).reach else { panic!("carried with its lease") };
        rights
    }

    fn claims(shot: &Shot) -> SessionClaims {
        assert_eq!(shot.status, StatusCode::OK, "{}", shot.body);
        let body = shot.json();
        assert_eq!((&body["success"], &body["errors"], &body["messages"]), (&json!(true), &json!([]), &json!([])));
        let text = |name: &str| body["result"][name].as_str().unwrap().to_owned();
        let ring = Keyring::new(&[(1, Secret::new([7; 32]))]).unwrap();
        let key = text("accessKeyId");
        assert_eq!(ring.secret_access_key(&key).unwrap().reveal(), &text("secretAccessKey"));
        ring.unseal(&text("sessionToken"), &key).unwrap()
    }
}

/// The status, the code, and where the fault is said to be.
fn refusal(shot: &Shot) -> (u16, u64, Option<String>) {
    let body = shot.json();
    assert_eq!((&body["success"], &body["result"], &body["messages"]), (&json!(false), &Value::Null, &json!([])));
    let error = &body["errors"][0];
    (shot.status.as_u16(), error["code"].as_u64().unwrap(), error["source"]["pointer"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn an_answer_is_the_published_one_with_its_end() {
    let parent = parent(Permission::AdminReadWrite).await;
    let shot = parent.ask(&json!({})).await;
    let claims = Parent::claims(&shot);
    let body = shot.json();
    let mut fields: Vec<&String> = body["result"].as_object().unwrap().keys().collect();
    fields.sort();
    assert_eq!(fields, ["accessKeyId", "expiration", "secretAccessKey", "sessionToken"]);
    assert_eq!(body["result"]["expiration"], "2026-01-01T01:00:00Z");
    assert_eq!(shot.headers["content-type"], "application/json");
    assert_eq!(claims.token, parent.id);
    assert_eq!(claims.until.as_second() - claims.opened.as_second(), 3600);
    // It is a lease like any other, and ends with its parent.
    let lease = parent.world.memory.lease(claims.lease).await.unwrap().unwrap().lease;
    assert_eq!((&*lease.dialect, lease.token, lease.account), ("r2", parent.id, parent.account));
    assert!(!parent.world.memory.is_revoked(&claims.provenance()));
    let by = Revoker { by: lease.caller, at: parent.world.clock.now() };
    parent.world.memory.revoke_token(parent.id, by).await.unwrap();
    assert!(parent.world.memory.is_revoked(&claims.provenance()));
    let boss = parent.world.token("boss").await;
    let gone = parent.world.call(&Method::POST, &parent.path(), &boss, &parent.body(&json!({}))).await;
    assert_eq!(refusal(&gone), (403, 10003, Some("/parentAccessKeyId".to_owned())));
}

#[tokio::test]
async fn a_credential_ends_no_later_than_the_token_that_asks_for_it() {
    let parent = parent(Permission::ObjectReadOnly).await;
    let (_, boss) = parent.world.token_of("boss", Some(120)).await;
    let path = parent.path();
    let ask = |body| parent.world.call(&Method::POST, &path, &boss, body);
    let said = parent.body(&json!({}));
    assert_eq!(refusal(&ask(&said).await), (400, 10040, Some("/ttlSeconds".to_owned())), "3600 were asked for");
    let body = parent.body(&json!({"ttlSeconds": null}));
    let shot = ask(&body).await;
    let claims = Parent::claims(&shot);
    assert_eq!(claims.until.as_second() - claims.opened.as_second(), 120);
    assert_eq!(shot.json()["result"]["expiration"], "2026-01-01T00:02:00Z");
}

#[tokio::test]
async fn the_permissions_are_what_they_are_at_the_endpoint() {
    let parent = parent(Permission::AdminReadWrite).await;
    for permission in Permission::ALL {
        let shot = parent.ask(&json!({"permission": permission.as_str()})).await;
        assert_eq!(Parent::rights(&shot).actions(), permission.actions(), "{permission:?}");
        // Configuration belongs to no path.
        let shot = parent.ask(&json!({"permission": permission.as_str(), "objects": ["a"]})).await;
        let scope = Parent::rights(&shot);
        assert!(!scope.actions().contains(Action::GetBucketConfig), "{permission:?}");
        assert_eq!(scope.parts().places(), Paths::only([Path::object(b"a").unwrap()]).unwrap());
    }
}

#[tokio::test]
async fn prefixes_are_raw_and_objects_exact_and_an_empty_list_adds_nothing() {
    let parent = parent(Permission::ObjectReadWrite).await;
    let prefix = |text: &str| Path::prefix(text.as_bytes()).unwrap();
    let object = |text: &str| Path::object(text.as_bytes()).unwrap();
    for (changes, paths) in [
        (json!({}), Paths::Whole),
        (json!({"prefixes": ["data/tbl"]}), Paths::only([prefix("data/tbl")]).unwrap()),
        (
            json!({"prefixes": ["a/", "日本/"], "objects": ["x.txt"]}),
            Paths::only([prefix("a/"), prefix("日本/"), object("x.txt")]).unwrap(),
        ),
        (json!({"prefixes": [], "objects": ["x"]}), Paths::only([object("x")]).unwrap()),
        (json!({"prefixes": ["x"], "objects": []}), Paths::only([prefix("x")]).unwrap()),
    ] {
        let shot = parent.ask(&changes).await;
        assert_eq!(Parent::rights(&shot).parts().places(), paths, "{changes}");
    }
}

#[tokio::test]
async fn lifetimes_are_whole_seconds_however_they_are_written() {
    let parent = parent(Permission::ObjectReadOnly).await;
    for (ttl, secs) in [
        (Value::Null, 900),
        (json!(60), 60),
        (json!(900.0), 900),
        (json!(604_800), 604_800),
        (json!(604_800.0), 604_800),
        (json!(604_800.9), 604_800),
        (json!(900.5), 900),
        (json!(60.999_999), 60),
    ] {
        let claims = Parent::claims(&parent.ask(&json!({"ttlSeconds": ttl})).await);
        assert_eq!(claims.until.as_second() - claims.opened.as_second(), secs, "{ttl}");
    }
    for bad in
        [json!(0), json!(-1), json!(604_801), json!(604_801.0), json!(1e300), json!("900"), json!([900]), json!(0.5)]
    {
        let shot = parent.ask(&json!({"ttlSeconds": bad})).await;
        assert_eq!(refusal(&shot), (400, 10040, Some("/ttlSeconds".to_owned())), "{bad}");
    }
    // The store's own least is told as a fault of the same field.
    assert_eq!(refusal(&parent.ask(&json!({"ttlSeconds": 59})).await), (400, 10040, Some("/ttlSeconds".to_owned())));
}

#[tokio::test]
async fn actions_narrow_and_what_they_cannot_express_is_refused() {
    let parent = parent(Permission::AdminReadWrite).await;
    let actions = json!({"permission": "object-read-write", "actions": ["GetObject", "HeadObject", "PutObject"]});
    let scope = Parent::rights(&parent.ask(&actions).await);
    assert_eq!(scope.actions(), Actions::of(&[Action::GetObject, Action::PutObject]));
    for bad in [json!([]), json!(["HeadObject"]), json!(["Fly"]), json!("GetObject"), json!([1]), json!(["PutObject"])]
    {
        let shot = parent.ask(&json!({"actions": bad})).await;
        assert_eq!(refusal(&shot), (400, 10040, Some("/actions".to_owned())), "{bad}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_by_field() {
    let parent = parent(Permission::ObjectReadOnly).await;
    let many: Vec<String> = (0..101).map(|at| format!("p{at}")).collect();
    let long: Vec<String> = (0..9).map(|at| format!("{at}{}", "x".repeat(1000))).collect();
    for (changes, status, code, pointer) in [
        (json!({"bucket": Value::Null}), 400, 10005, "/bucket"),
        (json!({"bucket": "Not_A_Bucket"}), 400, 10005, "/bucket"),
        (json!({"bucket": 1}), 400, 10005, "/bucket"),
        (json!({"bucket": "nowhere"}), 404, 10006, "/bucket"),
        // Another's, and one of the account's that the parent was not given.
        (json!({"bucket": "lake"}), 404, 10006, "/bucket"),
        (json!({"parentAccessKeyId": Value::Null}), 400, 10040, "/parentAccessKeyId"),
        (json!({"parentAccessKeyId": "x"}), 403, 10003, "/parentAccessKeyId"),
        (json!({"parentAccessKeyId": "f".repeat(32)}), 403, 10003, "/parentAccessKeyId"),
        (json!({"permission": Value::Null}), 400, 10040, "/permission"),
        (json!({"permission": "read"}), 400, 10040, "/permission"),
        (json!({"permission": "object-read-write"}), 403, 10003, "/permission"),
        (json!({"permission": "admin-read-only"}), 403, 10003, "/permission"),
        (json!({"prefixes": [], "objects": []}), 400, 10040, "/prefixes"),
        (json!({"prefixes": []}), 400, 10040, "/prefixes"),
        (json!({"objects": []}), 400, 10040, "/prefixes"),
        (json!({"prefixes": [""]}), 400, 10040, "/prefixes"),
        (json!({"objects": [""]}), 400, 10040, "/objects"),
        (json!({"objects": "a"}), 400, 10040, "/objects"),
        (json!({"prefixes": [1]}), 400, 10040, "/prefixes"),
        (json!({"prefixes": many}), 400, 10040, "/prefixes"),
        (json!({"objects": long}), 400, 10040, "/prefixes"),
    ] {
        let shot = parent.ask(&changes).await;
        assert_eq!(refusal(&shot), (status, code, Some(pointer.to_owned())), "{changes}: {}", shot.body);
    }
    for body in [
        parent.body(&json!({"prefix": "a/"})),
        parent.body(&json!({})).replace('}', ",\"prefixes\":null}"),
        parent.body(&json!({})).replace('}', ",\"prefixes\":null,\"objects\":null}"),
        parent.body(&json!({})).replace('}', ",\"prefixes\":null,\"objects\":[]}"),
        parent.body(&json!({})).replace('}', ",\"bucket\":\"vault\"}"),
        "[]".to_owned(),
        String::new(),
        "{".to_owned(),
    ] {
        let shot = parent.world.call(&Method::POST, &parent.path(), parent.token.reveal(), &body).await;
        let (status, code, _) = refusal(&shot);
        assert_eq!((status, code), (400, 10040), "{body}: {}", shot.body);
    }
    assert_eq!(parent.world.memory.leases(&leases()).await.unwrap(), []);
}

fn leases() -> valetkey_core::nouns::registry::LeaseFilter<'static> {
    valetkey_core::nouns::registry::LeaseFilter { limit: 10, ..Default::default() }
}

#[tokio::test]
async fn only_who_has_the_parent_or_is_in_charge_of_it_may_use_it() {
    let parent = parent(Permission::ObjectReadOnly).await;
    let world = &parent.world;
    let ask = |token: String, path: String| async move {
        world.call(&Method::POST, &path, &token, &parent_body(parent.id)).await
    };
    world.caller("acme", "job", Role::Member).await;
    for (caller, good) in [("job", true), ("boss", true), ("root", true), ("reader", false), ("writer", false)] {
        let shot = ask(world.token(caller).await, parent.path()).await;
        assert_eq!(shot.status == StatusCode::OK, good, "{caller}: {}", shot.body);
        if good {
            assert_eq!(Parent::claims(&shot).token, parent.id, "{caller}");
        } else {
            assert_eq!(refusal(&shot), (403, 10003, Some("/parentAccessKeyId".to_owned())), "{caller}");
        }
    }
    // Another account is as if it were not there, and its own has no such parent.
    for caller in ["other", "chief"] {
        assert_eq!(refusal(&ask(world.token(caller).await, parent.path()).await).0, 404, "{caller}");
    }
    let own = format!("/accounts/{}/r2/temp-access-credentials", world.account_id("globex").await.as_hex());
    assert_eq!(refusal(&ask(world.token("chief").await, own.clone()).await).1, 10003);
    assert_eq!(refusal(&ask(world.token("root").await, own).await).1, 10003);
    for account in ["x", "", "023e105f4ecef8ad9ca31a8372d0c353"] {
        let path = format!("/client/v4/accounts/{account}/r2/temp-access-credentials");
        assert_eq!(refusal(&ask(parent.token.reveal().to_owned(), path).await).1, 7003, "{account}");
    }
}

#[tokio::test]
async fn what_was_asked_for_with_another_token_ends_with_it() {
    let parent = parent(Permission::ObjectReadOnly).await;
    let world = &parent.world;
    let root = world.token("root").await;
    let own = Parent::claims(&parent.ask(&json!({})).await);
    for way in ["revoke", "token", "incident"] {
        let boss = world.token("boss").await;
        let shot = world.call(&Method::POST, &parent.path(), &boss, &parent.body(&json!({}))).await;
        let claims = Parent::claims(&shot);
        assert!(!world.memory.is_revoked(&claims.provenance()), "{way}");
        let record = world.memory.lease(claims.lease).await.unwrap().unwrap();
        let asked = record.asked_with.unwrap().to_string();
        assert_ne!(asked, parent.id.to_string());
        let shown = world.call(&Method::GET, &format!("/api/v1/leases/{}", claims.lease), &root, "").await;
        assert_eq!(shown.json()["asked_with"], json!(asked));
        world.clock.advance_secs(1);
        let (method, path, body) = match way {
            "revoke" => (Method::POST, "/api/v1/revocations".to_owned(), json!({"token": asked}).to_string()),
            "token" => (Method::DELETE, format!("/api/v1/tokens/{asked}"), String::new()),
            _ => (Method::POST, "/api/v1/incidents".to_owned(), json!({"what": boss}).to_string()),
        };
        let done = world.call(&method, &path, &root, &body).await;
        assert!(done.status.is_success(), "{way}: {}", done.body);
        if way == "incident" {
            assert_eq!(done.json()["leases"][0]["lease_id"], json!(claims.lease.to_string()), "{}", done.body);
            assert_eq!(done.json()["ended"]["leases"], 1, "{}", done.body);
        }
        assert!(world.memory.is_revoked(&claims.provenance()), "{way}");
    }
    // What was asked for with the parent's own token lives on.
    assert!(!world.memory.is_revoked(&own.provenance()));
    assert_eq!(world.memory.lease(own.lease).await.unwrap().unwrap().asked_with, None);
}

fn parent_body(id: TokenId) -> String {
    json!({"bucket": "vault", "parentAccessKeyId": id.as_hex(), "permission": "object-read-only", "ttlSeconds": 60})
        .to_string()
}

#[tokio::test]
async fn a_token_is_carried_in_either_way_and_the_path_with_its_start_or_without() {
    let parent = parent(Permission::ObjectReadOnly).await;
    let send = |path: String, headers: Vec<(&'static str, String)>| {
        let mut request = Request::builder().method(Method::POST).uri(path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        parent.world.send(request.body(Body::from(parent.body(&json!({})))).unwrap())
    };
    let token = || parent.token.reveal().to_owned();
    let bearer = || ("authorization", format!("Bearer {}", token()));
    let (key, mail) = (|| ("x-auth-key", token()), || ("x-auth-email", "a@example.com".to_owned()));
    for headers in [
        vec![bearer()],
        vec![key(), mail()],
        vec![bearer(), ("x-auth-key", "other".to_owned()), mail()],
        vec![bearer(), ("cf-r2-jurisdiction", "eu".to_owned())],
    ] {
        for path in [parent.path(), parent.path().replace("/client/v4", "")] {
            let shot = send(path, headers.clone()).await;
            assert_eq!(shot.status, StatusCode::OK, "{}", shot.body);
        }
    }
    for (headers, status, code) in [
        (vec![], 401, 9106),
        (vec![key()], 401, 9106),
        (vec![mail()], 401, 9106),
        (vec![key(), ("x-auth-email", "nobody".to_owned())], 401, 10000),
        (vec![("x-auth-key", "vkt_x".to_owned()), mail()], 401, 10000),
        (vec![key(), key(), mail()], 400, 10040),
        (vec![("authorization", "Bearer vkt_x".to_owned()), key(), mail()], 401, 10000),
        (vec![bearer(), ("cf-r2-jurisdiction", "moon".to_owned())], 400, 10040),
    ] {
        let shot = send(parent.path(), headers.clone()).await;
        let (got, got_code, _) = refusal(&shot);
        assert_eq!((got, got_code), (status, code), "{headers:?}");
    }
}

#[tokio::test]
async fn a_token_is_verified_with_the_id_that_is_its_access_key_id() {
    let parent = parent(Permission::ObjectReadOnly).await;
    let account = parent.account.as_hex();
    for path in [
        "/client/v4/user/tokens/verify",
        "/user/tokens/verify",
        &format!("/client/v4/accounts/{account}/tokens/verify"),
    ] {
        let shot = parent.world.call(&Method::GET, path, parent.token.reveal(), "").await;
        assert_eq!(
            shot.json(),
            json!({"result": {"id": parent.id.as_hex(), "status": "active"}, "success": true, "errors": [], "messages": []})
        );
    }
    let (_, ending) = parent.world.token_of("reader", Some(60)).await;
    let shot = parent.world.call(&Method::GET, "/user/tokens/verify", &ending, "").await;
    assert_eq!(shot.json()["result"]["expires_on"], "2026-01-01T00:01:00Z");
    let foreign = parent.world.get("other", &format!("/accounts/{account}/tokens/verify")).await;
    assert_eq!(refusal(&foreign).1, 7003);
}

#[tokio::test]
async fn too_many_requests_are_told_with_the_published_headers() {
    let rates = RateLimits { credentials: vec![Window::new("burst", 2, 60).unwrap()], ..RateLimits::off() };
    let world = World::with(EdgeLimits { rates, ..EdgeLimits::default() }).await;
    let parent = parent_in(world, Permission::ObjectReadOnly).await;
    for _ in 0..2 {
        assert_eq!(parent.ask(&json!({})).await.status, StatusCode::OK);
    }
    let shot = parent.ask(&json!({})).await;
    assert_eq!(refusal(&shot), (429, 10058, None));
    assert_eq!(shot.headers["ratelimit-policy"], "\"burst\";q=2;w=60");
    assert!(shot.headers["ratelimit"].to_str().unwrap().starts_with("\"burst\";r=0;t="));
    assert!(shot.headers["retry-after"].to_str().unwrap().parse::<u32>().is_ok_and(|secs| (1..=60).contains(&secs)));
}

#[tokio::test]
async fn a_suspended_account_is_told_that_it_is() {
    let parent = parent(Permission::ObjectReadOnly).await;
    let body = "{\"standing\":\"suspended\"}";
    let account = format!("/api/v1/accounts/{}", parent.account);
    let path = parent.world.call(&Method::PATCH, &account, &parent.world.token("root").await, body).await;
    assert_eq!(path.status, StatusCode::OK, "{}", path.body);
    let shot = parent.ask(&json!({})).await;
    assert_eq!(refusal(&shot), (403, 10003, None), "{}", shot.body);
}

#[tokio::test]
async fn a_refused_ask_is_recorded() {
    let parent = parent(Permission::ObjectReadOnly).await;
    for changes in [
        json!({"parentAccessKeyId": "f".repeat(32)}),
        json!({"bucket": "nowhere"}),
        json!({"permission": "object-read-write"}),
    ] {
        parent.ask(&changes).await;
    }
    let refusals = parent.world.memory.refusals();
    assert_eq!(refusals.len(), 3);
    assert!(refusals.iter().all(|refusal| refusal.dialect == "r2" && refusal.account == Some(parent.account)));
}

/// A session token of these claims, signed with a parent's secret access key.
pub(super) fn signed(key: &str, claims: &Value) -> String {
    let part = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let signed = format!("{}.{}", part(br#"{"alg":"HS256"}"#), part(claims.to_string().as_bytes()));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key.as_bytes());
    let jwt = format!("{signed}.{}", part(aws_lc_rs::hmac::sign(&key, signed.as_bytes()).as_ref()));
    BASE64.encode(format!("jwt/{jwt}").as_bytes())
}

fn session_token(parent: &Parent, key: &str, claims: &Value) -> String {
    assert_eq!(claims["iss"], parent.id.as_hex());
    signed(key, claims)
}

#[tokio::test]
async fn parent_keys_are_made_listed_and_disabled_by_who_may() {
    let world = World::new().await;
    let body =
        json!({"name": "job", "account": "acme", "buckets": ["vault", "lake"], "permission": "object-read-write"});
    for caller in ["boss", "reader"] {
        assert_eq!(world.post(caller, "/api/v1/parent-keys", &body.to_string()).await.status, StatusCode::FORBIDDEN);
    }
    let made = world.post("root", "/api/v1/parent-keys", &body.to_string()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let made = made.json();
    let token = PlainToken::parse(made["token"].as_str().unwrap()).unwrap();
    assert_eq!(made["secret_access_key"], *token.secret_access_key().reveal());
    assert_eq!(made["account_id"], world.account_id("acme").await.as_hex());
    assert_eq!(made["endpoint"], "http://127.0.0.1:9000");
    assert_eq!(made["reach"][1]["permission"], "object-read-write");
    for bad in [
        json!({"name": "x", "account": "acme", "buckets": [], "permission": "object-read-only"}),
        json!({"name": "x", "account": "acme", "buckets": ["nowhere"], "permission": "object-read-only"}),
        json!({"name": "x", "account": "acme", "buckets": ["lake"], "permission": "everything"}),
        json!({"name": "x", "account": "acme", "buckets": ["lake"], "permission": "object-read-only", "expires_in_secs": 0}),
        json!({"name": "job", "account": "acme", "buckets": ["lake"], "permission": "object-read-only"}),
        json!({"name": "X", "account": "acme", "buckets": ["lake"], "permission": "object-read-only"}),
    ] {
        let status = world.post("root", "/api/v1/parent-keys", &bad.to_string()).await.status;
        assert!(status.is_client_error(), "{bad}");
    }
    let id = made["access_key_id"].as_str().unwrap();
    for (caller, count) in [("root", 1), ("boss", 1), ("job", 1), ("reader", 0), ("chief", 0)] {
        let listed = world.get(caller, "/api/v1/parent-keys").await;
        assert_eq!(listed.json()["parent_keys"].as_array().unwrap().len(), count, "{caller}");
        assert!(!listed.body.contains(made["secret_access_key"].as_str().unwrap()));
    }
    for (caller, status) in [("reader", 404), ("chief", 404), ("boss", 200)] {
        assert_eq!(
            world.delete(caller, &format!("/api/v1/parent-keys/{id}")).await.status.as_u16(),
            status,
            "{caller}"
        );
    }
    let listed = world.get("boss", "/api/v1/parent-keys").await.json();
    assert_eq!(listed["parent_keys"][0]["disabled"], "2026-01-01T00:00:00Z");
    assert!(world.memory.parent(TokenId::from_hex(id).unwrap(), world.clock.now()).await.unwrap().is_none());
}

#[tokio::test]
async fn one_signed_credential_is_ended_by_its_token_or_by_what_it_says() {
    let parent = parent(Permission::ObjectReadOnly).await;
    let now = parent.world.clock.now().as_second();
    let claims = |bucket: &str| {
        json!({
            "bucket": bucket, "scope": "object-read-only", "sub": parent.account.as_hex(), "iss": parent.id.as_hex(),
            "aud": "h", "iat": now, "exp": now + 900,
        })
    };
    let ended = |claims: &Value| {
        let child = valetkey_core::nouns::parent::Child::read(claims.to_string().as_bytes()).unwrap();
        parent.world.memory.is_revoked(&Provenance {
            lease: Some(child.lease()),
            account: child.account,
            caller: valetkey_core::id::CallerId::from_bytes([0; 16]),
            token: child.parent,
            storage: StorageId::from_bytes([0; 16]),
            opened: child.issued,
        })
    };
    let path = format!("/api/v1/parent-keys/{}/revocations", parent.id.as_hex());
    let whose = format!("/api/v1/whose/{}", parent.id.as_hex());
    assert_eq!(parent.world.get("root", &whose).await.json()["access_key_id"], parent.id.as_hex());
    assert_eq!(parent.world.get("chief", &whose).await.status, StatusCode::NOT_FOUND, "another account's admin");
    assert_eq!(parent.world.get("reader", &whose).await.status, StatusCode::NOT_FOUND, "another caller");
    let secret = parent.token.secret_access_key();
    let by_token = json!({"session_token": session_token(&parent, secret.reveal(), &claims("vault"))}).to_string();
    let by_claims = json!({"claims": claims("lake")}).to_string();
    let mut foreign = claims("lake");
    foreign["iss"] = json!("f".repeat(32));
    for (caller, body, status) in [
        ("reader", &by_token, 404),
        ("chief", &by_token, 404),
        ("boss", &json!({}).to_string(), 422),
        ("boss", &json!({"session_token": "x"}).to_string(), 422),
        ("boss", &json!({"session_token": session_token(&parent, "forged", &claims("vault"))}).to_string(), 422),
        ("boss", &json!({"claims": {}}).to_string(), 422),
        ("boss", &json!({"claims": foreign}).to_string(), 422),
    ] {
        let shot = parent.world.post(caller, &path, body).await;
        assert_eq!(shot.status.as_u16(), status, "{caller} {body}: {}", shot.body);
        assert!(!ended(&claims("vault")));
    }
    assert_eq!(parent.world.post("boss", &path, &by_token).await.json(), json!({"ended": 1}));
    assert!(ended(&claims("vault")) && !ended(&claims("lake")));
    assert_eq!(parent.world.post("job", &path, &by_claims).await.json(), json!({"ended": 1}));
    assert!(ended(&claims("lake")) && !ended(&claims("third")));
}

#[tokio::test]
async fn a_list_that_is_null_adds_nothing_beside_one_that_narrows() {
    let parent = parent(Permission::ObjectReadOnly).await;
    for (added, path) in [
        (r#","prefixes":null,"objects":["x"]}"#, Path::object(b"x")),
        (r#","objects":null,"prefixes":["x"]}"#, Path::prefix(b"x")),
    ] {
        let body = parent.body(&json!({})).replace('}', added);
        let shot = parent.world.call(&Method::POST, &parent.path(), parent.token.reveal(), &body).await;
        assert_eq!(Parent::rights(&shot).parts().places(), Paths::only([path.unwrap()]).unwrap(), "{added}");
    }
}

#[tokio::test]
async fn an_unknown_field_is_pointed_at() {
    let parent = parent(Permission::ObjectReadOnly).await;
    for (name, pointer) in
        [("prefix", "/prefix"), ("a/b~c", "/a~1b~0c"), ("ttl_seconds", "/ttl_seconds"), ("Bucket", "/Bucket")]
    {
        let shot = parent.ask(&json!({name: "x"})).await;
        assert_eq!(refusal(&shot), (400, 10040, Some(pointer.to_owned())), "{}", shot.body);
    }
    let shot = parent.ask(&json!({"x".repeat(5000): 1})).await;
    assert_eq!(refusal(&shot), (400, 10040, None));
    assert!(shot.body.len() < 1000);
}

/// The answer has no published place that says when a credential ends.
#[tokio::test]
async fn a_lifetime_that_cannot_be_given_is_refused() {
    let parent = parent(Permission::ObjectReadOnly).await;
    parent.world.change_storage(None, 600).await;
    for (ttl, status) in [(601, 400), (604_800, 400), (600, 200), (60, 200), (59, 400)] {
        let shot = parent.ask(&json!({"ttlSeconds": ttl})).await;
        assert_eq!(shot.status.as_u16(), status, "{ttl}: {}", shot.body);
        if status == 400 {
            assert_eq!(refusal(&shot), (400, 10040, Some("/ttlSeconds".to_owned())), "{ttl}");
        }
    }
    // Who does not say takes what there is.
    let claims = Parent::claims(&parent.ask(&json!({"ttlSeconds": null})).await);
    assert_eq!(claims.until.as_second() - claims.opened.as_second(), 600);
}

#[tokio::test]
async fn what_clients_ask_first_is_answered_with_what_is_so() {
    let parent = parent(Permission::ObjectReadOnly).await;
    let (world, account) = (&parent.world, parent.account.as_hex());
    let get = async |caller: &str, path: &str| world.get(caller, &format!("/client/v4{path}")).await;
    let result = async |caller: &str, path: &str| {
        let shot = get(caller, path).await;
        assert_eq!(shot.status, StatusCode::OK, "{path}: {}", shot.body);
        shot.json()["result"].clone()
    };
    let own = json!({"id": account, "name": "acme", "type": "standard"});
    let accounts = get("reader", "/accounts").await.json();
    assert_eq!(accounts["result"], json!([own]));
    assert_eq!(
        accounts["result_info"],
        json!({"page": 1, "per_page": 20, "count": 1, "total_count": 1, "total_pages": 1})
    );
    assert_eq!(result("reader", &format!("/accounts/{account}")).await, own);
    assert_eq!(result("root", "/accounts").await.as_array().unwrap().len(), 4);
    assert_eq!(result("root", "/accounts?per_page=3&page=2").await.as_array().unwrap().len(), 1);
    assert_eq!(result("root", "/accounts?name=globex").await[0]["name"], "globex");
    assert_eq!(result("reader", "/user").await["email"], "reader@acme.invalid");
    // Buckets: those that the caller's grants name, and for who is in charge those of the account.
    let buckets = async |caller: &str, more: &str| {
        let result = result(caller, &format!("/accounts/{account}/r2/buckets{more}")).await;
        let names = result["buckets"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(buckets("reader", "").await, ["lake"]);
    assert_eq!(buckets("boss", "").await, ["lake", "vault"]);
    assert_eq!(buckets("root", "?direction=desc").await, ["vault", "lake"]);
    assert_eq!(buckets("boss", "?name_contains=au").await, ["vault"]);
    let first = get("boss", &format!("/accounts/{account}/r2/buckets?per_page=1")).await.json();
    assert_eq!(first["result_info"], json!({"per_page": 1, "cursor": "lake"}));
    assert_eq!(buckets("boss", "?per_page=1&cursor=lake").await, ["vault"]);
    let own = world.call(&Method::GET, &format!("/accounts/{account}/r2/buckets"), parent.token.reveal(), "").await;
    let both = json!([{"name": "lake", "jurisdiction": "default"}, {"name": "vault", "jurisdiction": "default"}]);
    assert_eq!(own.json()["result"]["buckets"], both, "its own, and what everyone of the account may know of");
    assert_eq!(result("reader", &format!("/accounts/{account}/r2/buckets/lake")).await["name"], "lake");
    for missing in ["vault", "none-such", "Not_One"] {
        let shot = get("reader", &format!("/accounts/{account}/r2/buckets/{missing}")).await;
        assert_eq!(refusal(&shot), (404, 10006, Some("/bucket".to_owned())), "{missing}");
    }
    // Another account is as if it were not there.
    for path in [
        format!("/accounts/{account}"),
        format!("/accounts/{account}/r2/buckets"),
        format!("/accounts/{account}/r2/buckets/lake"),
    ] {
        assert_eq!(refusal(&get("other", &path).await).1, 7003, "{path}");
    }
    for bad in ["per_page=0", "per_page=x", "direction=up"] {
        let shot = get("boss", &format!("/accounts/{account}/r2/buckets?{bad}")).await;
        assert_eq!(refusal(&shot).0, 400, "{bad}");
    }
}
