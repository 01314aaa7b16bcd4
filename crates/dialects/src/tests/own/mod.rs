//! APIs of one's own: two that say byte for byte what the built-in ones say, and a made-up one with everything a file can have.

mod files;
mod parcels;

use axum::body::Body;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;
use valetkey_core::caller::Role;
use valetkey_core::nouns::workspace::Access;

use super::world::World;
use crate::custom::{self, Spec};
use crate::edge::{self, EdgeLimits, RateLimits};

const THEIRSTACK: &str = include_str!("theirstack.toml");
const DREADNODE: &str = include_str!("dreadnode.toml");
pub(super) const PARCELS: &str = include_str!("parcels.toml");

/// A request, but for what stands in front of its path.
struct Sent {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: &'static str,
}

/// What a fresh world answers at `base`, to the last byte. Worlds are alike: what differs, the dialect did.
async fn answered(base: &str, file: &str, sent: impl AsyncFn(&World) -> Sent) -> (u16, HeaderMap, String) {
    let world = World::new().await;
    world.workspace("acme", "main", None, Access::ReadWrite, true).await;
    world.change_storage(Some("http://inside:9000"), 604_800).await;
    world.caller("acme", "late", Role::Member).await;
    let mut dialects = World::dialects(&world.shared, &world.made);
    custom::add(&world.shared, &mut dialects, vec![Spec::read(file).unwrap()]).unwrap();
    let limits = EdgeLimits { rates: RateLimits::off(), ..EdgeLimits::default() };
    let app = edge::router(world.shared.clone(), limits, dialects).unwrap();
    let Sent { method, path, headers, body } = sent(&world).await;
    let mut request = Request::builder().method(method).uri(format!("{base}{path}"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let response = app.oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    (parts.status.as_u16(), parts.headers, body)
}

#[tokio::test]
async fn theirstacks_route_in_a_file_answers_as_the_built_in_one() {
    let route = "/v1/datasets/credentials";
    let mut seen = Vec::new();
    for (who, method, tail, body) in [
        ("reader", Method::POST, "", ""),
        ("reader", Method::POST, "", "{}"),
        ("reader", Method::POST, "?bucket=lake", "null"),
        ("reader", Method::POST, "?bucket=vault", ""),
        ("reader", Method::POST, "?bucket=No", ""),
        ("reader", Method::POST, "?prefix=x", ""),
        ("reader", Method::POST, "", r#"{"ttl":1}"#),
        ("reader", Method::POST, "", "{"),
        ("reader", Method::POST, "", "[]"),
        ("reader", Method::POST, "/x", ""),
        ("reader", Method::GET, "", ""),
        ("nobody", Method::POST, "", ""),
        ("other", Method::POST, "", ""),
        ("", Method::POST, "", ""),
        ("-", Method::POST, "", ""),
    ] {
        let sent = async |world: &World| {
            let token = match who {
                "" | "-" => who.to_owned(),
                who => world.token(who).await,
            };
            let headers = (!who.is_empty()).then(|| ("authorization", format!("Bearer {token}"))).into_iter().collect();
            Sent { method: method.clone(), path: format!("{route}{tail}"), headers, body }
        };
        let (own, built_in) = (answered("/one", THEIRSTACK, &sent).await, answered("", THEIRSTACK, &sent).await);
        assert_eq!(own, built_in, "{who} {method} {tail} {body}");
        seen.push(own.0);
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [200, 400, 401, 402, 404, 405, 422]);
}

#[tokio::test]
async fn dreadnodes_route_in_a_file_answers_as_the_built_in_one() {
    let (get, post) = (Method::GET, Method::POST);
    let mut seen = Vec::new();
    for (carrier, method, org, workspace, tail, network, body) in [
        ("key", &get, "acme", "main", "", "", ""),
        ("bearer", &get, "acme", "main", "", "public", ""),
        ("basic", &get, "acme", "main", "", "Cluster", ""),
        ("key", &get, "id", "main", "", "cluster", ""),
        ("both", &get, "acme", "main", "", "", ""),
        ("two", &get, "acme", "main", "", "", ""),
        ("twice", &get, "acme", "main", "", "", ""),
        ("user", &get, "acme", "main", "", "", ""),
        ("none", &get, "acme", "main", "", "", ""),
        ("odd", &get, "acme", "main", "", "", ""),
        ("key", &get, "globex", "main", "", "", ""),
        ("key", &get, "acme", "none", "", "", ""),
        ("key", &get, "acme", "%2e%2e", "", "", ""),
        ("key", &get, "acme", "main", "", "nowhere", ""),
        ("key", &get, "acme", "main", "", "twice", ""),
        ("key", &get, "acme", "main", "?ttl=1", "", ""),
        ("key", &get, "acme", "main", "", "", "{}"),
        ("key", &post, "acme", "main", "", "", ""),
    ] {
        let sent = async |world: &World| {
            let token = world.token("reader").await;
            let basic =
                |user: &str| format!("Basic {}", data_encoding::BASE64.encode(format!("{user}:{token}").as_bytes()));
            let mut headers = match carrier {
                "key" => vec![("x-api-key", token.clone())],
                "bearer" => vec![("authorization", format!("Bearer {token}"))],
                "basic" => vec![("authorization", basic("__token__"))],
                "user" => vec![("authorization", basic("me"))],
                "both" => vec![("authorization", basic("__token__")), ("x-api-key", token.clone())],
                "two" => vec![("authorization", format!("Bearer {token}x")), ("x-api-key", token.clone())],
                "twice" => vec![("x-api-key", token.clone()), ("x-api-key", token.clone())],
                "odd" => vec![("x-api-key", " ".to_owned())],
                _ => vec![],
            };
            match network {
                "" => {}
                "twice" => headers.extend(vec![("x-dreadnode-network", "public".to_owned()); 2]),
                network => headers.push(("x-dreadnode-network", network.to_owned())),
            }
            let org = if org == "id" { world.account_id("acme").await.to_string() } else { org.to_owned() };
            let path = format!("/api/v1/org/{org}/ws/{workspace}/storage/credentials{tail}");
            Sent { method: method.clone(), path, headers, body }
        };
        let (own, built_in) = (answered("/two", DREADNODE, &sent).await, answered("", DREADNODE, &sent).await);
        assert_eq!(own, built_in, "{carrier} {method} {org} {workspace} {tail} {network} {body}");
        seen.push(own.0);
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [200, 400, 401, 404, 405, 422]);
}

/// Whatever a built-in table has for a kind, a file's has.
#[tokio::test]
async fn the_tables_of_both_files_are_those_of_the_built_in_dialects() {
    let world = World::new().await;
    let mut dialects = World::dialects(&world.shared, &world.made);
    let specs = [THEIRSTACK, DREADNODE].map(|file| Spec::read(file).unwrap());
    custom::add(&world.shared, &mut dialects, specs.into()).unwrap();
    let of = |name: &str| dialects.iter().find(|dialect| dialect.name == name).unwrap();
    for name in ["theirstack", "dreadnode"] {
        let (built_in, own) = (of(name), of(&format!("like-{name}")));
        for kind in valetkey_core::Kind::ALL {
            let told = |dialect: &edge::Dialect, field| {
                let row = (dialect.row)(*kind);
                let refused = edge::Refused {
                    row,
                    kind: *kind,
                    said: "it is \"so\"",
                    field,
                    code: None,
                    request_id: "7",
                    request_number: 7,
                };
                (row.status, row.code, String::from_utf8((dialect.body)(&refused)).unwrap())
            };
            let field = valetkey_core::field::Field::from("body.key");
            // Which account there is not is the built-in dialect's own word.
            if *kind != valetkey_core::Kind::NotFound(valetkey_core::error::Noun::Account) {
                assert_eq!(told(own, None), told(built_in, None), "{kind:?}");
                assert_eq!(told(own, Some(&field)), told(built_in, Some(&field)), "{kind:?}");
            }
        }
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
