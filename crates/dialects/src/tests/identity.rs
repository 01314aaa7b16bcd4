//! Callers that an identity provider proves, in every dialect; and what an operator does with providers.

use std::sync::Arc;

use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use valetkey_core::Kind;
use valetkey_core::error::Stranger;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::storage::StorageKind;
use valetkey_core::time::Clock as _;
use valetkey_oidc::{Oidc, Web};
use valetkey_testkit::idp::{Signer, jwks};

use super::carry::{DIALECTS, Doors};
use super::world::{Shot, World, new_storage, sealing};

/// Checks signatures and asks where people log in, as the server does; of an issuer on this machine, too.
pub(super) fn oidc() -> Arc<Oidc> {
    Arc::new(Oidc::new(Web::new(["127.0.0.1".to_owned()]).unwrap()))
}

const ISSUER: &str = "https://id.example.com";
const PROVIDERS: &str = "/api/v1/identity-providers";

/// A world that trusts an issuer: its tokens of the team `data` are the caller `reader`, those of `boss` are `boss`, and those of
/// `people` become callers of their own.
pub(super) struct Trusting {
    doors: Doors,
    signer: Signer,
}

impl Trusting {
    pub(super) async fn new() -> Self {
        let storage = new_storage("local", StorageKind::Embedded);
        let doors = Doors::behind(storage, |_, entropy, _| Arc::new(sealing(entropy))).await;
        let own = Self { doors, signer: Signer::new("ES256", "k") };
        let provider = json!({
            "name": "id", "issuer": ISSUER, "audiences": ["valetkey"], "jwks": jwks([&own.signer]).to_string(),
        });
        assert_eq!(own.operator(Method::POST, PROVIDERS, &provider).await.status, StatusCode::CREATED);
        for (name, caller, role) in
            [("data", "reader", "member"), ("boss", "boss", "admin"), ("people", "id-{subject}", "member")]
        {
            let rule = json!({
                "name": name, "account": "acme", "caller": caller, "role": role, "claims": [format!("team={name}")],
            });
            let made = own.operator(Method::POST, &format!("{PROVIDERS}/id/rules"), &rule).await;
            assert_eq!(made.status, StatusCode::OK, "{}", made.body);
        }
        own
    }

    pub(super) fn world(&self) -> &World {
        &self.doors.world
    }

    pub(super) async fn operator(&self, method: Method, path: &str, body: &Value) -> Shot {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.world().call(&method, path, &self.world().token("root").await, &body).await
    }

    /// A token of a team, for so many seconds, with something else.
    #[expect(clippy::needless_pass_by_value, reason = "claims are written where they are used")]
    pub(super) fn token(&self, team: &str, secs: i64, others: Value) -> String {
        let now = self.world().clock.now().as_second();
        let mut claims = json!({
            "iss": ISSUER, "aud": "valetkey", "sub": "alice", "team": team, "jti": format!("{team}-{secs}"), "iat": now, "exp": now + secs,
        });
        for (name, value) in others.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        self.signer.token(&claims)
    }

    async fn me(&self, token: &str) -> Shot {
        self.world().call(&Method::GET, "/api/v1/me", token, "").await
    }
}

/// The dialects that take a token; of S3 Access Grants every request is signed.
fn by_token() -> impl Iterator<Item = &'static str> {
    DIALECTS.into_iter().filter(|dialect| *dialect != "access-grants")
}

/// Whom the team's tokens vend as: only who is in charge of an account makes R2's credentials for one of its keys.
fn team(dialect: &str) -> &'static str {
    if dialect == "r2" { "boss" } else { "data" }
}

#[tokio::test]
async fn an_identity_token_vends_in_every_dialect_and_its_lease_says_by_whom() {
    let own = Trusting::new().await;
    for dialect in by_token() {
        let token = own.token(team(dialect), 3600, json!({}));
        for _ in 0..2 {
            let shot = own.doors.vend_with(dialect, &token).await;
            assert!(shot.status.is_success(), "{dialect}: {} {}", shot.status, shot.body);
            assert!(!shot.body.contains(&token), "{dialect}");
        }
        let me = own.me(&token).await.json();
        assert_eq!(me["identity"]["subject"], "alice", "{dialect}");
        let leases = own
            .operator(Method::GET, &format!("/api/v1/leases?token={}", me["token"].as_str().unwrap()), &Value::Null)
            .await;
        let leases = leases.json();
        // What R2's API hands out counts for the key that it is made for.
        assert!(dialect == "r2" || leases["leases"].as_array().unwrap().len() >= 2, "{dialect}: {leases}");
    }
}

#[tokio::test]
async fn what_is_not_for_this_server_is_refused_in_every_dialect() {
    let own = Trusting::new().await;
    let stranger = Signer::new("ES256", "k");
    for dialect in by_token() {
        let team = team(dialect);
        let good = own.token(team, 3600, json!({}));
        let payload = good.split('.').nth(1).unwrap();
        let forged = stranger.token(
            &serde_json::from_slice(&data_encoding::BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap()).unwrap(),
        );
        let now = own.world().clock.now().as_second();
        for (why, token, kind) in [
            (
                "another audience",
                own.token(team, 3600, json!({ "aud": "other" })),
                Kind::Unauthenticated(Stranger::Unknown),
            ),
            (
                "another issuer",
                own.token(team, 3600, json!({ "iss": "https://id.example.com/" })),
                Kind::Unauthenticated(Stranger::Unknown),
            ),
            ("another's signature", forged, Kind::Unauthenticated(Stranger::Unknown)),
            ("expired", own.token(team, 3600, json!({ "exp": now - 61 })), Kind::Unauthenticated(Stranger::Expired)),
            ("another tenant", own.token("nobody", 3600, json!({})), Kind::Forbidden),
        ] {
            let shot = own.doors.vend_with(dialect, &token).await;
            assert!(shot.status.is_client_error(), "{dialect}, {why}: {} {}", shot.status, shot.body);
            assert!(!shot.body.contains(&token), "{dialect}, {why}");
            let last = own.world().memory.refusals().pop().unwrap();
            assert_eq!((last.dialect, last.kind), (dialect, kind), "{why}");
        }
    }
}

#[tokio::test]
async fn nothing_lives_longer_than_its_token_unless_its_rule_says_so() {
    let own = Trusting::new().await;
    let until = async |token: &str| {
        let shot = own.doors.vend_with("native", token).await.json();
        let expires: jiff::Timestamp = shot["expiration"].as_str().unwrap().parse().unwrap();
        expires.as_second() - own.world().clock.now().as_second()
    };
    let short = own.token("data", 600, json!({}));
    assert!(until(&short).await <= 600);
    let change = json!({ "outlive_secs": 7200 });
    let changed = own.operator(Method::PATCH, &format!("{PROVIDERS}/id/rules/data"), &change).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.body);
    assert_eq!(until(&short).await, 3600);
    // The token itself is good as long as it says, and no longer.
    own.world().clock.advance_secs(661);
    assert_eq!(own.me(&short).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_subject_becomes_a_caller_of_its_own_and_is_suspended_like_any() {
    let own = Trusting::new().await;
    let token = own.token("people", 3600, json!({ "sub": "Bob@Example" }));
    let me = own.me(&token).await.json();
    let name = me["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("id-bob-example."), "{name}");
    assert_eq!(
        me["identity"],
        json!({ "provider": "id", "rule": "people", "subject": "Bob@Example", "token_id": "people-3600" })
    );
    let other = own.me(&own.token("people", 3600, json!({ "sub": "bob@example" }))).await.json();
    assert_ne!(other["id"], me["id"]);
    let caller = format!("/api/v1/accounts/acme/callers/{name}");
    let suspend = own.operator(Method::PATCH, &caller, &json!({ "standing": "suspended" })).await;
    assert_eq!(suspend.status, StatusCode::OK, "{}", suspend.body);
    assert_eq!(own.me(&token).await.status, StatusCode::FORBIDDEN);
    let fresh = own.token("people", 1800, json!({ "sub": "Bob@Example" }));
    assert_eq!(own.me(&fresh).await.status, StatusCode::FORBIDDEN);
    // No claim makes a token a caller that was there before.
    own.world().caller("acme", "id-eve", valetkey_core::caller::Role::Admin).await;
    assert_eq!(own.me(&own.token("people", 3600, json!({ "sub": "eve" }))).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn sessions_end_by_subject_rule_token_and_all_at_once() {
    let own = Trusting::new().await;
    let end = async |body: Value| {
        own.world().clock.advance_secs(1);
        let shot = own.operator(Method::POST, &format!("{PROVIDERS}/id/revocations"), &body).await;
        assert_eq!(shot.status, StatusCode::OK, "{}", shot.body);
        own.world().clock.advance_secs(1);
        shot.json()["ended"].as_u64().unwrap()
    };
    for body in [json!({ "subject": "alice" }), json!({ "rule": "data" }), json!({}), json!({ "token_id": "data-900" })]
    {
        let token = own.token("data", 900, json!({}));
        assert!(own.doors.vend_with("native", &token).await.status.is_success(), "{body}");
        let unseen = own.token("data", 900, json!({ "nonce": "1" }));
        assert!(end(body.clone()).await >= 1, "{body}");
        for old in [&token, &unseen] {
            assert_eq!(own.me(old).await.status, StatusCode::UNAUTHORIZED, "{body}");
        }
        let fresh = own.token("data", 901, json!({}));
        assert!(own.me(&fresh).await.status.is_success(), "{body}");
    }
    let token = own.token("data", 950, json!({}));
    let id = own.me(&token).await.json()["token"].as_str().unwrap().to_owned();
    assert!(own.operator(Method::DELETE, &format!("/api/v1/tokens/{id}"), &Value::Null).await.status.is_success());
    assert_eq!(own.me(&token).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_changed_rule_is_what_counts_from_then_on() {
    let own = Trusting::new().await;
    let token = own.token("data", 3600, json!({}));
    assert!(own.doors.vend_with("native", &token).await.status.is_success());
    let rule = format!("{PROVIDERS}/id/rules/data");
    let dry = own.operator(Method::PATCH, &format!("{rule}?dry_run=true"), &json!({ "claims": ["team=none"] })).await;
    assert_eq!(dry.json()["dry_run"], true, "{}", dry.body);
    assert!(own.me(&token).await.status.is_success());
    let changed = own.operator(Method::PATCH, &rule, &json!({ "claims": ["team=none"] })).await.json();
    assert_eq!(changed["ended"], 1, "{changed}");
    assert_eq!(own.me(&token).await.status, StatusCode::FORBIDDEN);
    let removed = own.operator(Method::DELETE, &format!("{PROVIDERS}/id"), &Value::Null).await;
    assert_eq!(removed.status, StatusCode::OK, "{}", removed.body);
    assert_eq!(own.me(&token).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(own.operator(Method::GET, PROVIDERS, &Value::Null).await.json(), json!({ "identity_providers": [] }));
}

#[tokio::test]
async fn what_nobody_should_trust_is_refused_where_it_is_configured() {
    let own = Trusting::new().await;
    let provider = |others: Value| {
        let mut all = json!({ "name": "new", "issuer": "https://new.example.com", "audiences": ["valetkey"] });
        for (name, value) in others.as_object().unwrap() {
            all[name] = value.clone();
        }
        all
    };
    for (others, field) in [
        (json!({ "audiences": [] }), "audiences"),
        (json!({ "issuer": "http://new.example.com" }), "issuer"),
        (json!({ "issuer": "https://new.example.com/.well-known/openid-configuration" }), "issuer"),
        (json!({ "preset": "entra", "issuer": "https://login.microsoftonline.com/common/v2.0" }), "issuer"),
        (json!({ "jwks_uri": "http://new.example.com/keys" }), "jwks_uri"),
        (json!({ "jwks": "{}" }), "jwks"),
        (json!({ "algorithms": ["HS256"] }), "algorithms"),
        (json!({ "algorithms": ["none"] }), "algorithms"),
        (json!({ "algorithms": [] }), "algorithms"),
        (json!({ "leeway_secs": 301 }), "leeway_secs"),
        (json!({ "subject": ["a?"] }), "subject"),
        (json!({ "preset": "unheard-of" }), "preset"),
        (json!({ "login_client_id": "another-client" }), "login_client_id"),
        (json!({ "login_scopes": ["openid"] }), "login_client_id"),
        (json!({ "login_client_id": "valetkey", "login_scopes": ["email"] }), "login_scopes"),
    ] {
        let shot = own.operator(Method::POST, PROVIDERS, &provider(others.clone())).await;
        assert_eq!((shot.status.as_u16(), &shot.json()["field"]), (422, &json!(field)), "{others}: {}", shot.body);
    }
    // Where people log in is for everyone to see, and nothing else of it.
    let people = provider(json!({ "name": "people", "login_client_id": "valetkey" }));
    let shot = own.operator(Method::POST, PROVIDERS, &people).await;
    assert_eq!(shot.status, StatusCode::CREATED, "{}", shot.body);
    let logins = async || own.world().call(&Method::GET, "/api/v1/login-providers", "", "").await.json();
    let scopes = ["openid", "offline_access"];
    let known =
        json!({ "name": "people", "issuer": "https://new.example.com", "client_id": "valetkey", "scopes": scopes });
    assert_eq!(logins().await, json!({ "login_providers": [known] }));
    let ended = json!({ "login_client_id": "" });
    own.operator(Method::PATCH, &format!("{PROVIDERS}/people"), &ended).await;
    assert_eq!(logins().await, json!({ "login_providers": [] }));
    let github = json!({ "name": "github", "preset": "github", "audiences": ["valetkey"] });
    let made = own.operator(Method::POST, PROVIDERS, &github).await.json();
    assert_eq!(
        (&made["issuer"], &made["subject"]),
        (&json!("https://token.actions.githubusercontent.com"), &json!(["repository_id", "environment?"]))
    );
    let rule =
        |claims: Value| json!({ "name": "main", "account": "acme", "caller": "ci-{repository_id}", "claims": claims });
    let rules = format!("{PROVIDERS}/github/rules");
    for claims in [
        json!([]),
        json!(["ref=refs/heads/main"]),
        json!(["sub=repo:acme/app:ref:refs/heads/main"]),
        json!(["repository_owner_id=glob:*"]),
    ] {
        let shot = own.operator(Method::POST, &rules, &rule(claims.clone())).await;
        assert_eq!((shot.status.as_u16(), &shot.json()["field"]), (422, &json!("claims")), "{claims}: {}", shot.body);
    }
    let shot = own.operator(Method::POST, &rules, &rule(json!(["repository_owner_id=1", "ref=refs/heads/main"]))).await;
    assert_eq!(shot.status, StatusCode::OK, "{}", shot.body);
    // Nobody else than operators sees or changes them.
    let admin = own.token("boss", 3600, json!({}));
    for (method, path) in [(Method::GET, PROVIDERS), (Method::DELETE, "/api/v1/identity-providers/github")] {
        assert_eq!(own.world().call(&method, path, &admin, "").await.status, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn an_identity_token_is_exchanged_for_one_of_ours() {
    let own = Trusting::new().await;
    let jwt = own.token("data", 600, json!({}));
    let exchange = async |others: &[(&str, &str)]| {
        let mut form: Vec<(&str, &str)> = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", &jwt),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ];
        for (name, value) in others {
            form.retain(|(own, _)| own != name);
            form.push((name, value));
        }
        let body: Vec<String> =
            form.iter().filter(|(_, value)| *value != "-").map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request::post("/oauth/token").header("content-type", "application/x-www-form-urlencoded");
        own.world().send(request.body(body.join("&").into()).unwrap()).await
    };
    let shot = exchange(&[]).await;
    assert_eq!(shot.status, StatusCode::OK, "{}", shot.body);
    let answer = shot.json();
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(600)));
    assert_eq!(answer["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    let ours = answer["access_token"].as_str().unwrap().to_owned();
    assert!(ours.starts_with("vkt_"));
    for dialect in by_token().filter(|dialect| *dialect != "r2") {
        let shot = own.doors.vend_with(dialect, &ours).await;
        assert!(shot.status.is_success(), "{dialect}: {}", shot.body);
    }
    assert_eq!(own.me(&ours).await.json()["identity"]["subject"], "alice");
    assert_eq!(exchange(&[("audience", "valetkey")]).await.status, StatusCode::OK);
    let wrong = own.token("data", 600, json!({ "aud": "other" }));
    let nobody = own.token("nobody", 600, json!({}));
    for (others, code) in [
        (&[("grant_type", "password")][..], "unsupported_grant_type"),
        (&[("grant_type", "-")], "invalid_request"),
        (&[("subject_token", "-")], "invalid_request"),
        (&[("subject_token_type", "urn:ietf:params:oauth:token-type:saml2")], "invalid_request"),
        (&[("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token")], "invalid_request"),
        (&[("actor_token", "x")], "invalid_request"),
        (&[("scope", "read")], "invalid_scope"),
        (&[("audience", "other")], "invalid_target"),
        (&[("resource", "https://other.example")], "invalid_target"),
        (&[("subject_token", &ours)], "invalid_grant"),
        (&[("subject_token", &wrong)], "invalid_grant"),
        (&[("subject_token", &nobody)], "invalid_grant"),
    ] {
        let shot = exchange(others).await;
        assert_eq!((shot.status.as_u16(), &shot.json()["error"]), (400, &json!(code)), "{others:?}: {}", shot.body);
        assert_eq!(shot.headers["content-type"], "application/json");
    }
    // It ends with the token that it is for, and with its subject.
    own.world().clock.advance_secs(1);
    own.operator(Method::POST, &format!("{PROVIDERS}/id/revocations"), &json!({ "subject": "alice" })).await;
    assert_eq!(own.me(&ours).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(exchange(&[]).await.json()["error"], "invalid_grant");
    let tokens = own.world().memory.tokens(None).await.unwrap();
    assert!(tokens.iter().all(|record| record.tail.len() == 4));
}

#[tokio::test]
async fn a_group_is_granted_to_and_its_members_vend_by_it() {
    let own = Trusting::new().await;
    let world = own.world();
    let groups = "/api/v1/groups";
    let body = json!({
        "account": "acme", "name": "eng", "members": ["writer"], "provider": "id", "claims": ["groups=eng", "groups=glob:ops-*"],
    });
    let made = own.operator(Method::POST, groups, &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert_eq!((&made.json()["members"], &made.json()["provider"]), (&json!(["writer"]), &json!("id")));
    let grant = json!({ "account": "acme", "name": "team", "to": "group:eng", "bucket": "lake", "prefix": "team" });
    let granted = own.operator(Method::POST, "/api/v1/grants", &grant).await;
    assert_eq!(granted.status, StatusCode::CREATED, "{}", granted.body);
    assert_eq!(granted.json()["to"], "group:eng");
    let missing = json!({ "account": "acme", "name": "none", "to": "group:none", "bucket": "lake", "prefix": "team" });
    assert_eq!(own.operator(Method::POST, "/api/v1/grants", &missing).await.status, StatusCode::NOT_FOUND);
    let vend = r#"{"grant":"team"}"#;
    let status = async |token: &str| world.call(&Method::POST, "/api/v1/credentials", token, vend).await.status;
    let member = own.token("people", 3600, json!({ "groups": ["all", "ops-1"] }));
    assert_eq!(status(&world.token("writer").await).await, StatusCode::OK);
    assert_eq!(status(&member).await, StatusCode::OK);
    assert_eq!(own.me(&member).await.json()["groups"], json!(["eng"]));
    // What a caller reaches is also what its live sessions reach by their claims.
    let reached = world.get("boss", "/api/v1/access?caller=id-alice&place=s3://lake/team/x").await.json();
    assert_eq!(reached["access"][0]["caller"], "group:eng", "{reached}");
    let others = world.get("boss", "/api/v1/access?caller=reader&place=s3://lake/team/x").await.json();
    assert!(!others.to_string().contains("group:eng"), "{others}");
    assert_eq!(status(&world.token("reader").await).await, StatusCode::NOT_FOUND);
    let stranger = own.token("people", 3000, json!({ "groups": "ops" }));
    assert_eq!(status(&stranger).await, StatusCode::NOT_FOUND);
    assert_eq!(own.me(&stranger).await.json()["groups"], json!([]));
    // An admin sees its account's groups, and no other account's; a member none.
    let listed = world.get("boss", groups).await.json();
    assert_eq!(listed["groups"][0]["name"], "eng", "{listed}");
    assert_eq!(world.get("chief", groups).await.json()["groups"], json!([]));
    assert_eq!(world.get("chief", "/api/v1/groups/acme%2Feng").await.status, StatusCode::NOT_FOUND);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(world.get("chief", &format!("{groups}/{id}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.get("reader", groups).await.status, StatusCode::FORBIDDEN);
    let own_grants = world.get("writer", "/api/v1/grants").await.json();
    assert!(own_grants.to_string().contains("group:eng"), "{own_grants}");
    let path = format!("{groups}/{id}");
    for bad in [
        json!({ "add": ["nobody"] }),
        json!({ "remove": ["chief"] }),
        json!({ "claims": [] }),
        json!({ "claims": ["groups"] }),
        json!({ "provider": null, "claims": ["a=b"] }),
        json!({ "provider": "none" }),
        json!({ "members": null }),
    ] {
        let shot = own.operator(Method::PATCH, &path, &bad).await;
        assert!(shot.status.is_client_error(), "{bad}: {}", shot.body);
    }
    let changed = own.operator(Method::PATCH, &path, &json!({ "add": ["reader"], "remove": ["writer"] })).await;
    assert_eq!((changed.status, &changed.json()["ended"]), (StatusCode::OK, &json!(1)), "{}", changed.body);
    assert_eq!(status(&world.token("writer").await).await, StatusCode::NOT_FOUND);
    assert_eq!(status(&world.token("reader").await).await, StatusCode::OK);
    let without = own.operator(Method::PATCH, &path, &json!({ "provider": null })).await;
    assert_eq!((&without.json()["claims"], &without.json()["ended"]), (&json!([]), &json!(1)), "{}", without.body);
    assert_eq!(status(&member).await, StatusCode::NOT_FOUND);
    let gone = own.operator(Method::DELETE, &path, &Value::Null).await.json();
    assert_eq!((&gone["with"][0]["name"], &gone["leases"]), (&json!("acme/team"), &json!(1)), "{gone}");
}
