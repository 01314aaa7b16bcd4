//! What holds for every route of every dialect, gone over from the routes themselves: a new route is in these tests as soon
//! as it is served.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use http::{Method, Request, StatusCode};
use valetkey_core::caller::Role;
use valetkey_core::id::{CallerId, TokenId};
use valetkey_core::lease::Revoker;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::time::Clock as _;

use super::world::{Shot, World};
use crate::edge::{Class, Dialect, EdgeLimits, Entry, Proof, RateLimits, Route};

/// The route's path with something in each placeholder.
fn filled(dialect: &Dialect, route: &Route) -> String {
    let segment = |own: &str| if own.starts_with('{') { "x".to_owned() } else { own.to_owned() };
    format!("{}{}", dialect.base, route.path.split('/').map(segment).collect::<Vec<_>>().join("/"))
}

async fn bare(world: &World, method: &Method, path: &str, authorization: &[&[u8]]) -> Shot {
    let mut request = Request::builder().method(method).uri(path);
    for value in authorization {
        request = request.header("authorization", *value);
    }
    world.send(request.body(Body::empty()).unwrap()).await
}

/// The envelope's own sign, so that an answer in another dialect's form does not pass.
fn assert_form(dialect: &str, shot: &Shot, path: &str) {
    assert_eq!(shot.headers["cache-control"], "no-store", "{path}");
    assert!(shot.headers.contains_key("x-request-id"), "{path}");
    if dialect == "sts" {
        assert_eq!(shot.headers["content-type"], "text/xml", "{path}");
        let id = shot.headers["x-request-id"].to_str().unwrap();
        let (start, end) = (
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>",
            format!("</Message></Error><RequestId>{id}</RequestId></ErrorResponse>"),
        );
        return assert!(shot.body.starts_with(start) && shot.body.ends_with(&end), "{path}: {}", shot.body);
    }
    if dialect == "access-grants" {
        assert_eq!(shot.headers["content-type"], "application/xml", "{path}");
        let id = shot.headers["x-request-id"].to_str().unwrap();
        let end = format!("</Message></Error><RequestId>{id}</RequestId></ErrorResponse>");
        let told = shot.body.starts_with("<ErrorResponse><Error><Code>") && shot.body.ends_with(&end);
        return assert!(told, "{path}: {}", shot.body);
    }
    let body = shot.json();
    match dialect {
        "r2" => {
            assert_eq!(shot.headers["content-type"], "application/json", "{path}");
            assert_eq!(
                (&body["success"], &body["result"]),
                (&false.into(), &serde_json::Value::Null),
                "{path}: {body}"
            );
            assert_eq!(body["messages"], serde_json::json!([]), "{path}");
            let code = body["errors"][0]["code"].as_u64();
            assert!(code.is_some_and(|code| (1000..65_536).contains(&code)), "{path}: {body}");
            assert!(body["errors"][0]["message"].is_string(), "{path}: {body}");
        }
        "theirstack" => {
            assert_eq!(shot.headers["content-type"], "application/json", "{path}");
            assert!(body["request_id"].as_u64().is_some_and(|id| id < 1 << 53), "{path}: {body}");
            assert!(body["error"]["title"].is_string() && body["error"]["code"].is_string(), "{path}: {body}");
        }
        // In OAuth's form.
        "native" if path == "/oauth/token" && body["error"].is_string() => {
            assert_eq!(shot.headers["content-type"], "application/json", "{path}");
            assert!(body["error_description"].is_string(), "{path}: {body}");
        }
        "native" => {
            assert_eq!(shot.headers["content-type"], "application/problem+json", "{path}");
            assert_eq!(body["status"], shot.status.as_u16(), "{path}");
            assert!(body["type"].is_string() && body["request_id"].is_string(), "{path}: {body}");
        }
        "dreadnode" => {
            assert_eq!(shot.headers["content-type"], "application/json", "{path}");
            assert_eq!(body["code"], shot.status.as_u16(), "{path}");
            assert!(body["detail"].is_string() && body["type"].is_string(), "{path}: {body}");
            assert_eq!(body["errors"].is_array(), shot.status == StatusCode::UNPROCESSABLE_ENTITY, "{path}: {body}");
        }
        "sharing" => {
            assert_eq!(shot.headers["content-type"], "application/json; charset=utf-8", "{path}");
            let told = body["errorCode"].is_string() && body["message"].is_string();
            assert!(told || body["error"].is_string(), "{path}: {body}");
        }
        // In OAuth's form.
        "iceberg" if path == "/iceberg/v1/oauth/tokens" && body["error"].is_string() => {
            assert_eq!(shot.headers["content-type"], "application/json", "{path}");
            assert!(body["error_description"].is_string(), "{path}: {body}");
        }
        "iceberg" => {
            assert_eq!(shot.headers["content-type"], "application/json", "{path}");
            assert_eq!(body["error"]["code"], shot.status.as_u16(), "{path}");
            assert!(body["error"]["type"].is_string() && body["error"]["message"].is_string(), "{path}: {body}");
        }
        "unity" => {
            assert_eq!(shot.headers["content-type"], "application/json", "{path}");
            let (code, reason) = (&body["error_code"], &body["details"][0]["reason"]);
            assert!(code.is_string() && code == reason && body["message"].is_string(), "{path}: {body}");
        }
        "parcels" => {
            assert_eq!(shot.headers["content-type"], "application/json", "{path}");
            assert_eq!(
                (&body["ok"], &body["ref"]),
                (&false.into(), &shot.headers["x-request-id"].to_str().unwrap().into())
            );
            assert!(body["error"]["code"].is_string() && body["error"]["reason"].is_string(), "{path}: {body}");
        }
        other => panic!("say how the envelope of {other} is known"),
    }
}

#[tokio::test]
async fn a_stranger_is_refused_on_every_route() {
    let world = World::new().await;
    let (_, expired) = world.token_of("reader", Some(10)).await;
    let (id, revoked) = world.token_of("reader", None).await;
    world.memory.revoke_token(id, Revoker { by: world.caller_of("root").await, at: world.clock.now() }).await.unwrap();
    world.clock.advance_secs(10);
    let unknown = valetkey_core::token::PlainToken::generate(&*world.entropy);
    let mut typo = world.token("reader").await.into_bytes();
    typo[10] = if typo[10] == b'a' { b'b' } else { b'a' };
    let bearer = |token: &str| format!("Bearer {token}").into_bytes();
    let good = bearer(&world.token("reader").await);
    let strangers: Vec<(&str, Vec<Vec<u8>>, u16, &str)> = vec![
        ("no token", vec![], 401, "Bearer"),
        ("no scheme", vec![world.token("reader").await.into_bytes()], 401, "Bearer error=\"invalid_token\""),
        ("another scheme", vec![b"Basic dXNlcjpwYXNz".to_vec()], 401, "Bearer error=\"invalid_token\""),
        ("not ours", vec![bearer("ghp_abc")], 401, "Bearer error=\"invalid_token\""),
        ("bytes", vec![b"Bearer \xff\xfe".to_vec()], 401, "Bearer error=\"invalid_token\""),
        ("long", vec![bearer(&"v".repeat(9000))], 401, "Bearer error=\"invalid_token\""),
        ("typo", vec![bearer(std::str::from_utf8(&typo).unwrap())], 401, "Bearer error=\"invalid_token\""),
        ("unknown", vec![bearer(unknown.reveal())], 401, "Bearer error=\"invalid_token\""),
        ("expired", vec![bearer(&expired)], 401, "Bearer error=\"invalid_token\""),
        ("revoked", vec![bearer(&revoked)], 401, "Bearer error=\"invalid_token\""),
        ("two tokens", vec![good.clone(), good], 400, ""),
    ];
    let mut open = BTreeSet::new();
    for dialect in World::dialects(&world.shared, &world.made).into_iter().filter(by_token) {
        for route in &dialect.routes {
            match route.entry {
                Entry::Open(_) => {
                    open.insert(route.path);
                    continue;
                }
                Entry::Token(_) | Entry::Change(_) => {}
            }
            let path = filled(&dialect, route);
            for (name, headers, status, challenge) in &strangers {
                let headers: Vec<&[u8]> = headers.iter().map(Vec::as_slice).collect();
                let shot = bare(&world, &route.method, &path, &headers).await;
                assert_eq!(shot.status.as_u16(), *status, "{name} on {} {path}", route.method);
                if *status == 401 {
                    assert_eq!(shot.headers["www-authenticate"], *challenge, "{name} on {path}");
                }
                assert_form(dialect.name, &shot, &path);
            }
        }
    }
    let listed = BTreeSet::from([
        "/api/v1/health",
        "/openapi.json",
        "/oauth/token",
        "/iceberg/v1/oauth/tokens",
        "/console/session",
        "/console/login",
        "/profile/{code}",
        "/api/v1/login-providers",
        "/schema/policy-v1.json",
        "/.well-known/openid-configuration",
        "/.well-known/jwks.json",
    ]);
    assert_eq!(open, listed, "routes for anyone are listed here");
}

/// Whether who asks is known by a header; the tests of the others make requests of their own.
fn by_token(dialect: &Dialect) -> bool {
    matches!(dialect.proof, Proof::Token(_) | Proof::TokenOrSession(_) | Proof::Carried(_))
}

/// What each route is, as its row says: the page of the docs.
fn page(dialects: &[Dialect]) -> String {
    let mut page = String::from(
        "# Every route\n\nMade of the routes themselves, and held current by a test. *Who* is the least role that is let in: any caller, an admin \
         of the account, an operator; and which of planners and auditors, who have rows of their own.\nWhat belongs to whom is another question: a member sees and ends what is its own, an admin what is \
         its account's; planners and auditors see everybody's.\n*Query* are the parameters that are known; others are refused where nothing else is said. Every refusal is on record; \
         *vends* marks\nthe routes whose answer is a credential, *changes* those of which the handler needs the edge's proof that the caller may.\n",
    );
    // What a file describes is the file's.
    for dialect in dialects.iter().filter(|dialect| dialect.name != "parcels") {
        writeln!(page, "\n## {}\n\n| route | who | query | |\n|---|---|---|---|", dialect.name).unwrap();
        for route in &dialect.routes {
            let least = match (&route.entry, route.needs) {
                (Entry::Open(_), _) => "anyone",
                (Entry::Token(_) | Entry::Change(_), Role::Member) => "any caller",
                (Entry::Token(_) | Entry::Change(_), Role::Admin) => "admins",
                (Entry::Token(_) | Entry::Change(_), Role::Operator) => "operators",
                (Entry::Token(_) | Entry::Change(_), Role::Auditor | Role::Planner) => panic!("no row is theirs alone"),
            };
            let besides: String = [(Role::Planner, ", planners"), (Role::Auditor, ", auditors")]
                .into_iter()
                .filter(|(role, _)| !matches!(route.entry, Entry::Open(_)) && route.admits(*role).is_ok())
                .map(|(_, word)| word)
                .collect();
            let who = format!("{least}{besides}");
            let known = route.words.known.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
            let others = match (&route.entry, route.words.of_others()) {
                (Entry::Open(_), _) => "not read".to_owned(),
                (Entry::Token(_) | Entry::Change(_), "refused") => String::new(),
                (Entry::Token(_) | Entry::Change(_), others) => {
                    format!("{}others {others}", if known.is_empty() { "" } else { "; " })
                }
            };
            let what = match (&route.entry, route.class) {
                (Entry::Change(_), _) => "changes",
                (Entry::Open(_) | Entry::Token(_), Class::Credentials) => "vends",
                (Entry::Open(_) | Entry::Token(_), _) => "",
            };
            let action = if route.action.is_empty() { String::new() } else { format!("?Action={}", route.action) };
            let path = format!("{}{}{action}", dialect.base, route.path);
            writeln!(page, "| `{} {path}` | {who} | {known}{others} | {what} |", route.method).unwrap();
        }
    }
    page
}

#[tokio::test]
async fn the_page_of_routes_is_what_is_served() {
    let world = World::new().await;
    let told = page(&World::dialects(&world.shared, &world.made));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/routes.md");
    if std::fs::read_to_string(path).unwrap_or_default() != told {
        let new = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/routes.md.new");
        std::fs::write(new, told).unwrap();
        panic!("{path} is not current; look at {new} and put it in its place");
    }
}

#[tokio::test]
async fn nobody_with_a_lesser_role_comes_in() {
    let world = World::new().await;
    let roles = [(Role::Member, "reader"), (Role::Admin, "boss"), (Role::Operator, "root")];
    for dialect in World::dialects(&world.shared, &world.made) {
        for route in &dialect.routes {
            for (role, who) in roles.iter().filter(|(role, _)| *role < route.needs) {
                let path = filled(&dialect, route);
                let shot = world.call(&route.method, &path, &world.token(who).await, "{").await;
                assert_eq!(shot.status, StatusCode::FORBIDDEN, "{role:?} at {} {path}", route.method);
                assert!(shot.body.contains("only an"), "{path}: {}", shot.body);
            }
        }
    }
}

/// What auditors may ask, all of it.
const AUDITED: [&str; 20] = [
    "DELETE /console/session",
    "GET /api/v1/access",
    "GET /api/v1/audit",
    "GET /api/v1/audit/events",
    "GET /api/v1/grants",
    "GET /api/v1/groups",
    "GET /api/v1/groups/{group}",
    "GET /api/v1/leases",
    "GET /api/v1/leases/{lease}",
    "GET /api/v1/ledger/verify",
    "GET /api/v1/me",
    "GET /api/v1/nodes",
    "GET /api/v1/refusals",
    "GET /api/v1/request-rules",
    "GET /api/v1/requests",
    "GET /api/v1/requests/{request}",
    "GET /api/v1/signing-keys",
    "GET /api/v1/whose/{access_key_id}",
    "POST /api/v1/explain",
    "PUT /console/session",
];

/// What planners may ask that is neither a look nor a member's to ask.
const PLANNED: [&str; 2] = ["DELETE /console/session", "POST /api/v1/policy/plan"];

#[tokio::test]
async fn a_planner_changes_nothing_and_an_auditor_sees_what_auditors_see() {
    let world = World::new().await;
    for (role, name) in [(Role::Planner, "planner"), (Role::Auditor, "auditor")] {
        world.caller("acme", name, role).await;
    }
    let tokens = [(Role::Planner, world.token("planner").await), (Role::Auditor, world.token("auditor").await)];
    let mut audited = BTreeSet::new();
    for dialect in World::dialects(&world.shared, &world.made).into_iter().filter(by_token) {
        for route in &dialect.routes {
            let changes = match route.entry {
                Entry::Open(_) => continue,
                Entry::Change(_) => true,
                Entry::Token(_) => false,
            };
            let row = format!("{} {}", route.method, route.path);
            let reads = !changes && (route.method == Method::GET || route.needs == Role::Member);
            for (role, token) in &tokens {
                let may =
                    if *role == Role::Planner { reads || PLANNED.contains(&&*row) } else { AUDITED.contains(&&*row) };
                let shot = world.call(&route.method, &filled(&dialect, route), token, "{").await;
                let kept_out = shot.status == StatusCode::FORBIDDEN && shot.body.contains("only an operator");
                assert_eq!(kept_out, !may, "{role:?} at {row}: {} {}", shot.status, shot.body);
            }
            if AUDITED.contains(&&*row) {
                audited.insert(row);
            }
        }
    }
    assert_eq!(audited.len(), AUDITED.len(), "{audited:?}");
    // Neither has more credentials than is granted to it, nor sees less than all accounts.
    for (role, token) in &tokens {
        let body = r#"{"bucket":"lake","prefix":"acme","ttl_secs":900}"#;
        let shot = world.call(&Method::POST, "/api/v1/credentials", token, body).await;
        assert!(shot.status.is_client_error(), "{role:?}: {}", shot.body);
        let leases = world.call(&Method::GET, "/api/v1/leases?account=globex", token, "").await;
        assert_eq!(leases.status, StatusCode::OK, "{role:?}: {}", leases.body);
    }
}

#[tokio::test]
async fn a_parameter_that_a_route_does_not_know_is_refused_where_it_could_mean_anything() {
    let world = World::new().await;
    let token = world.token("root").await;
    for dialect in World::dialects(&world.shared, &world.made).into_iter().filter(by_token) {
        for route in &dialect.routes {
            if let Entry::Open(_) = route.entry {
                continue;
            }
            let strict = route.words.of_others() != "ignored";
            let path = format!("{}?prefix=x", filled(&dialect, route));
            let shot = world.call(&route.method, &path, &token, "").await;
            let named = shot.body.contains("unknown parameter `prefix`");
            assert_eq!(named, strict && route.method != Method::HEAD, "{} {path}: {}", route.method, shot.body);
        }
    }
}

#[tokio::test]
async fn another_method_is_refused_with_those_that_are_served() {
    let world = World::new().await;
    for dialect in World::dialects(&world.shared, &world.made) {
        for route in &dialect.routes {
            let path = filled(&dialect, route);
            let served = |method: &Method| {
                dialect.routes.iter().any(|own| own.method == *method && filled(&dialect, own) == path)
            };
            for method in [Method::PUT, Method::OPTIONS, Method::TRACE, Method::from_bytes(b"BREW").unwrap()] {
                if served(&method) {
                    continue;
                }
                let shot = bare(&world, &method, &path, &[]).await;
                assert_eq!(shot.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
                let allow = shot.headers["allow"].to_str().unwrap();
                assert!(allow.split(", ").any(|own| own == route.method.as_str()), "{path}: {allow}");
                assert_form(dialect.name, &shot, &path);
            }
        }
    }
}

#[tokio::test]
async fn an_unknown_path_is_answered_by_the_dialect_that_claims_it() {
    let world = World::new().await;
    for dialect in World::dialects(&world.shared, &world.made) {
        for claim in dialect.claims {
            for tail in ["/none/such/path", "/%00/x/y/z", "/%ff/x/y/z", "//a/b/c", "/../../x/y"] {
                let path = format!("{}{claim}{tail}", dialect.base);
                let shot = bare(&world, &Method::GET, &path, &[]).await;
                assert_eq!(shot.status, StatusCode::NOT_FOUND, "{path}");
                assert_form(dialect.name, &shot, &path);
            }
        }
    }
    let unclaimed = ["/", "/apis", "/v01/x", "/v10", "*"].map(|path| ("native", path));
    let claimed = [
        ("theirstack", "/v1"),
        ("theirstack", "/v1/datasetsx"),
        ("native", "/api/v1/credentials/x"),
        ("dreadnode", "/api/v1"),
        ("dreadnode", "/api"),
        ("dreadnode", "/api/v10"),
        ("dreadnode", "/api/v1/credentialsx"),
    ];
    for (dialect, path) in unclaimed.into_iter().chain(claimed) {
        let shot = bare(&world, &Method::GET, path, &[]).await;
        assert_eq!(shot.status, StatusCode::NOT_FOUND, "{path}");
        assert_form(dialect, &shot, path);
    }
    let long = format!("/v0/{}", "x".repeat(9000));
    assert_eq!(bare(&world, &Method::GET, &long, &[]).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn no_path_is_claimed_twice_and_every_route_is_claimed_by_its_own_dialect() {
    let world = World::new().await;
    let dialects = World::dialects(&world.shared, &world.made);
    let under = |claim: &str, path: &str| path == claim || path.starts_with(&format!("{claim}/"));
    for dialect in &dialects {
        for route in &dialect.routes {
            let path = format!("{}{}", dialect.base, route.path);
            let claims = |dialect: &Dialect| {
                let claims = dialect.claims.iter().map(|claim| format!("{}{claim}", dialect.base));
                claims.filter(|claim| under(claim, &path)).map(|claim| claim.len()).max()
            };
            let own = claims(dialect);
            assert!(own.is_some(), "{path}");
            for other in dialects.iter().filter(|other| other.name != dialect.name) {
                // A longer claim wins, and no two are equally long.
                assert!(claims(other) < own, "{path}");
            }
        }
        let mut seen = BTreeSet::new();
        for route in &dialect.routes {
            assert!(seen.insert((route.method.as_str(), route.path, route.action)), "{} twice", route.path);
        }
    }
}

#[tokio::test]
async fn what_can_be_got_can_be_asked_for_by_head() {
    let world = World::new().await;
    let token = world.token("reader").await;
    assert_eq!(world.call(&Method::HEAD, "/v1/datasets", &token, "").await.status, StatusCode::OK);
    assert_eq!(
        world.call(&Method::HEAD, "/v1/datasets/credentials", &token, "").await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[tokio::test]
async fn nothing_is_vended_by_head() {
    let world = World::new().await;
    world.workspace("acme", "main", None, valetkey_core::nouns::workspace::Access::ReadWrite, true).await;
    let token = world.token("reader").await;
    let path = "/api/v1/org/acme/ws/main/storage/credentials";
    let shot = world.call(&Method::HEAD, path, &token, "").await;
    assert_eq!((shot.status, &shot.headers["allow"]), (StatusCode::METHOD_NOT_ALLOWED, &"GET".parse().unwrap()));
    let leases = valetkey_core::nouns::registry::LeaseFilter { limit: 9, ..Default::default() };
    assert!(world.memory.leases(&leases).await.unwrap().is_empty());
    assert_eq!(world.call(&Method::GET, path, &token, "").await.status, StatusCode::OK);
}

/// What a route answers to nobody tells it from a path that is none.
#[tokio::test]
async fn one_slash_more_or_less_at_the_end_is_the_same_route() {
    let world = World::new().await;
    for dialect in World::dialects(&world.shared, &world.made) {
        for route in &dialect.routes {
            let path = filled(&dialect, route);
            let exact = bare(&world, &route.method, &path, &[]).await;
            let other = match path.strip_suffix('/') {
                Some(without) => without.to_owned(),
                None => format!("{path}/"),
            };
            let shot = bare(&world, &route.method, &other, &[]).await;
            assert_eq!(shot.status, exact.status, "{} {other}", route.method);
            let none = format!("{path}//");
            let shot = bare(&world, &route.method, &none, &[]).await;
            assert_eq!(shot.status, StatusCode::NOT_FOUND, "{} {none}", route.method);
        }
    }
}

/// Bodies that no route may take, and none may fall over.
fn bad_bodies() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("half an object", b"{\"account\":".to_vec()),
        ("two documents", b"{}{}".to_vec()),
        ("not JSON", b"account=acme".to_vec()),
        ("no UTF-8", b"{\"name\":\"\xff\"}".to_vec()),
        ("a lone surrogate", b"{\"name\":\"\\ud800\"}".to_vec()),
        ("a number too large", b"{\"ttl_secs\":1e999}".to_vec()),
        ("an unknown field", b"{\"prefixs\":[\"x\"]}".to_vec()),
        ("a field twice", b"{\"bucket\":\"lake\",\"bucket\":\"vault\"}".to_vec()),
        ("an array", b"[\"acme\",null,\"lake\",\"x\"]".to_vec()),
        (
            "wrong types",
            b"{\"bucket\":1,\"name\":[],\"account\":{},\"lease\":true,\"caller\":2,\"credits\":\"1\",\"standing\":3}"
                .to_vec(),
        ),
        ("deep nesting", [b"{\"prefixes\":".to_vec(), vec![b'['; 50_000]].concat()),
        ("too large", [b"{\"name\":\"".to_vec(), vec![b'x'; 70_000], b"\"}".to_vec()].concat()),
    ]
}

/// Delta Sharing's clients may send fields that are newer than the server; then what is missing is the share. Of Iceberg's reports nothing
/// is kept, so nothing is read.
fn passes_over_unknown_fields(dialect: &str, path: &str, shot: &Shot) -> bool {
    let passes = dialect == "sharing" || (dialect == "iceberg" && path.ends_with("/metrics"));
    passes && shot.status == StatusCode::NOT_FOUND
}

#[tokio::test]
async fn a_bad_body_is_refused_on_every_route_that_reads_one() {
    let world = World::new().await;
    let token = world.token("root").await;
    for dialect in World::dialects(&world.shared, &world.made) {
        for route in &dialect.routes {
            if [Method::GET, Method::HEAD, Method::DELETE].contains(&route.method) {
                continue;
            }
            let path = filled(&dialect, route).replace("/accounts/x", "/accounts/acme");
            for (name, body) in bad_bodies() {
                let request = Request::builder()
                    .method(&route.method)
                    .uri(&path)
                    .header("authorization", format!("Bearer {token}"))
                    .body(Body::from(body))
                    .unwrap();
                let shot = world.send(request).await;
                assert!(
                    // 501, and 406 of Iceberg: what is not there at all reads nothing.
                    [400, 406, 413, 422, 501].contains(&shot.status.as_u16())
                        || passes_over_unknown_fields(dialect.name, &path, &shot),
                    "{name} on {path}: {} {}",
                    shot.status,
                    shot.body
                );
                assert!(shot.body.len() < 2_000, "{name} on {path}: {}", shot.body);
                assert_form(dialect.name, &shot, &path);
            }
        }
    }
    assert_eq!(world.memory.accounts().await.unwrap().len(), 4, "nothing was made");
}

#[tokio::test]
async fn an_unknown_parameter_is_refused_by_every_route_of_ours() {
    let world = World::new().await;
    let token = world.token("root").await;
    let native = World::dialects(&world.shared, &world.made).remove(0);
    for route in native.routes.iter().filter(|route| matches!(route.entry, Entry::Token(_))) {
        let path = format!("{}?surely=true", filled(&native, route).replace("/accounts/x", "/accounts/acme"));
        let shot = world.call(&route.method, &path, &token, "{}").await;
        assert_eq!(shot.status, StatusCode::UNPROCESSABLE_ENTITY, "{} {path}: {}", route.method, shot.body);
        assert!(shot.body.contains("unknown parameter `surely`"), "{path}: {}", shot.body);
    }
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_not_waited_for() {
    let world = World::new().await;
    let token = world.token("reader").await;
    let big = "x".repeat(65 * 1024);
    for (path, status) in [("/v1/datasets/credentials", 400), ("/api/v1/credentials", 413)] {
        assert_eq!(world.call(&Method::POST, path, &token, &big).await.status.as_u16(), status);
        let chunks = futures::stream::iter((0..100).map(|_| Ok::<_, std::io::Error>("y".repeat(1024))));
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .body(Body::from_stream(chunks))
            .unwrap();
        assert_eq!(world.send(request).await.status.as_u16(), status);
        let broken = futures::stream::iter([Ok("{"), Err(std::io::Error::other("gone"))]);
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .body(Body::from_stream(broken))
            .unwrap();
        assert_eq!(world.send(request).await.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn a_body_that_never_arrives_is_not_waited_for_forever() {
    let body_time = std::time::Duration::from_millis(1);
    let world = World::with(EdgeLimits { rates: RateLimits::off(), body_time, ..EdgeLimits::default() }).await;
    let token = world.token("reader").await;
    let silence = futures::stream::pending::<Result<String, std::io::Error>>();
    let request = Request::builder()
        .method(Method::POST)
        .uri("/api/v1/credentials")
        .header("authorization", format!("Bearer {token}"))
        .body(Body::from_stream(silence))
        .unwrap();
    let answer = world.send(request).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_form("native", &answer, "/api/v1/credentials");
}

/// The body of a request that ends a token before its last byte comes.
fn ending(world: &World, token: TokenId, by: CallerId, body: &'static str) -> Body {
    let registry = Arc::clone(&world.memory);
    let now = world.clock.now();
    let (first, last) = body.split_at(body.len().saturating_sub(1));
    let late = async move {
        registry.revoke_token(token, Revoker { by, at: now }).await.unwrap();
        Ok::<_, std::io::Error>(last)
    };
    let first = futures::stream::iter((!first.is_empty()).then_some(Ok(first)));
    Body::from_stream(futures::StreamExt::chain(first, futures::stream::once(late)))
}

#[tokio::test]
async fn a_token_that_ends_while_a_body_comes_asks_for_nothing() {
    let world = World::new().await;
    let by = world.caller_of("root").await;
    for (method, path, body) in [
        (Method::POST, "/api/v1/tokens", r#"{"account":"acme","caller":"new","role":"admin"}"#),
        (Method::POST, "/api/v1/credentials", r#"{"grant":"jobs-daily"}"#),
        // One that turns out to be empty.
        (Method::DELETE, "/api/v1/accounts/globex?cascade=true", ""),
        (Method::GET, "/api/v1/tokens", ""),
    ] {
        let (id, token) = world.token_of("root", None).await;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .body(ending(&world, id, by, body))
            .unwrap();
        assert_eq!(world.send(request).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn no_route_answers_a_token_that_ends_while_a_body_comes() {
    let world = World::new().await;
    let by = world.caller_of("root").await;
    let mut seen = 0;
    for dialect in World::dialects(&world.shared, &world.made) {
        if !matches!(dialect.proof, Proof::Token(_) | Proof::TokenOrSession(_)) || dialect.actions.is_some() {
            continue;
        }
        for route in &dialect.routes {
            // A larger body is decided about first; who is not proven by a token has none that ends.
            let is_proven = matches!(route.entry, Entry::Token(_) | Entry::Change(_)) && route.proof.is_none();
            if !is_proven || route.large.is_some() {
                continue;
            }
            let (id, token) = world.token_of("root", None).await;
            let path = filled(&dialect, route);
            let request = Request::builder()
                .method(&route.method)
                .uri(&path)
                .header("authorization", format!("Bearer {token}"))
                .header("content-type", "application/json")
                .body(ending(&world, id, by, "{}"))
                .unwrap();
            let answer = world.send(request).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{} {path}: {}", route.method, answer.body);
            seen += 1;
        }
    }
    assert!(seen > 150, "{seen} routes are gone over here");
}

#[tokio::test]
async fn a_secret_in_a_form_that_ends_while_the_form_comes_is_not_exchanged() {
    let world = World::sharing().await;
    let exchange = async |secs: i64| {
        let (id, token) = world.token_of("reader", Some(60)).await;
        let form = format!("grant_type=client_credentials&client_id={id}&client_secret={token}");
        let clock = Arc::clone(&world.clock);
        let late = async move {
            clock.advance_secs(secs);
            Ok::<_, std::io::Error>(form)
        };
        let request = Request::post("/delta-sharing/oauth/token")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from_stream(futures::stream::once(late)))
            .unwrap();
        let answer = world.send(request).await;
        (answer.status, answer.json()["expires_in"].as_u64())
    };
    assert_eq!(exchange(20).await, (StatusCode::OK, Some(40)));
    assert_eq!(exchange(60).await, (StatusCode::UNAUTHORIZED, None));
}

#[tokio::test]
async fn a_larger_body_is_not_kept_for_who_may_not_send_it() {
    let world = World::new().await;
    let mut seen = 0;
    for dialect in World::dialects(&world.shared, &world.made) {
        for route in &dialect.routes {
            if route.large.is_none() {
                continue;
            }
            seen += 1;
            // Of an account whose organization `x` is not.
            let path = filled(&dialect, route);
            let (read, bodies) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&world.shared.bodies));
            let pieces = {
                let read = Arc::clone(&read);
                futures::stream::repeat_with(move || {
                    assert_eq!(bodies.used(), 0, "nothing is kept of what is passed over");
                    read.fetch_add(64, Ordering::Relaxed);
                    Ok::<_, std::convert::Infallible>(vec![b'x'; 64 * 1024])
                })
            };
            let query =
                if dialect.name == "dreadnode" { format!("?digest=sha256:{}", "0".repeat(64)) } else { String::new() };
            let request = Request::builder()
                .method(&route.method)
                .uri(format!("{path}{query}"))
                .header("authorization", format!("Bearer {}", world.token("other").await))
                .header("content-type", "application/json");
            let shot = world.send(request.body(Body::from_stream(pieces)).unwrap()).await;
            assert!(shot.status.is_client_error(), "{path}: {}", shot.status);
            // Of a body that goes on without an end so much is passed over that the sender of a short one sees the refusal.
            assert_eq!(read.load(Ordering::Relaxed), 256 + 64, "{path}");
        }
    }
    assert_eq!(seen, 15, "routes with larger bodies are gone over here");
}
