use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use valetkey_testkit::clock::FixedClock;

use super::*;
use crate::web::stub::{Reply, Stub};

fn kept(folder: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn spec(uri: &str) -> CatalogSpec {
    let (name, account, warehouse) = ("lakehouse".to_owned(), "acme".to_owned(), Some("prod".to_owned()));
    CatalogSpec { name, account, uri: uri.to_owned(), warehouse, token_file: None, oauth: None }
}

fn open(spec: CatalogSpec) -> Result<Catalog, Error> {
    spec.open(Arc::new(FixedClock::default()))
}

fn config(prefix: &str) -> Reply {
    Reply::json(
        &json!({"defaults": {"prefix": "no"}, "overrides": {"prefix": prefix, "uri": "https://elsewhere.example"}}),
    )
}

fn get<'a>(path: &[&'a str]) -> CatalogAsk<'a> {
    CatalogAsk { method: "GET", path: path.to_vec(), query: vec![("pageToken", "a&b=c/")], body: None }
}

#[tokio::test]
async fn a_catalog_is_asked_below_its_own_prefix_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let stub = Stub::start([config("w/1"), Reply::json(&json!({"identifiers": []})), Reply::json(&json!({}))]).await;
    let token_file = Some(kept(folder.path(), "token", "s3cret\n", 0o600));
    let catalog = open(CatalogSpec { token_file, ..spec(&stub.url) }).unwrap();
    let path = ["namespaces", "a\u{1f}b", "tables", "odd/../name?"];
    assert_eq!(catalog.ask(&get(&path)).await.unwrap().status, 200);
    let body = Some(b"{}".to_vec());
    let post = CatalogAsk { method: "POST", path: vec!["namespaces"], query: Vec::new(), body };
    assert_eq!(catalog.ask(&post).await.unwrap().body, b"{}");
    let asked = stub.asked();
    let lines: Vec<&str> = asked.iter().map(|asked| asked.line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "GET /v1/config?warehouse=prod",
            "GET /v1/w/1/namespaces/a%1Fb/tables/odd%2F..%2Fname%3F?pageToken=a%26b%3Dc%2F",
            "POST /v1/w/1/namespaces",
        ]
    );
    assert!(asked.iter().all(|asked| asked.header("authorization") == Some("Bearer s3cret")));
    assert!(asked.iter().all(|asked| asked.header("x-iceberg-access-delegation").is_none()));
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_not_asked_for() {
    let stub = Stub::start([]).await;
    let catalog = open(spec(&stub.url)).unwrap();
    for path in [["namespaces", ".."], ["..", "x"], ["namespaces", "."], ["namespaces", ""]] {
        let refused = catalog.ask(&get(&path)).await.map(|_| ()).unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid, "{path:?}");
    }
    assert!(stub.asked().is_empty());
    // What was encoded once is a name.
    let stub = Stub::start([config(""), Reply::json(&json!({}))]).await;
    open(spec(&stub.url)).unwrap().ask(&get(&["namespaces", "%2e%2e"])).await.unwrap();
    assert_eq!(stub.asked()[1].line, "GET /v1/namespaces/%252e%252e?pageToken=a%26b%3Dc%2F");
}

#[tokio::test]
async fn what_is_no_answer_of_a_catalog_is_an_error() {
    let now = |status, body: &str| Reply::Now(status, Vec::new(), body.to_owned());
    for (reply, kind) in [
        (now(200, "<html>login</html>"), Kind::Upstream),
        (Reply::Now(302, vec![("location", "https://elsewhere.example".to_owned())], String::new()), Kind::Upstream),
        (now(401, "{}"), Kind::Upstream),
        (now(403, "{}"), Kind::Upstream),
        (now(500, "{}"), Kind::Upstream),
        (now(429, "{}"), Kind::RateLimited),
        (now(503, "{}"), Kind::Unavailable),
        (now(200, &format!("\"{}\"", "x".repeat(MOST_BYTES))), Kind::Upstream),
    ] {
        let stub = Stub::start([config(""), reply]).await;
        let refused = open(spec(&stub.url)).unwrap().ask(&get(&["namespaces"])).await;
        assert_eq!(refused.map(|_| ()).unwrap_err().kind(), kind);
        assert_eq!(stub.asked().len(), 2, "once only");
    }
    // What it refuses of what was asked is an answer.
    let stub = Stub::start([config(""), now(409, "{}")]).await;
    assert_eq!(open(spec(&stub.url)).unwrap().ask(&get(&["namespaces"])).await.unwrap().status, 409);
    for prefix in ["../x", "a b", "a?b"] {
        let stub = Stub::start([config(prefix)]).await;
        let refused = open(spec(&stub.url)).unwrap().ask(&get(&["namespaces"])).await;
        assert_eq!(refused.map(|_| ()).unwrap_err().kind(), Kind::Upstream, "{prefix}");
    }
}

#[tokio::test]
async fn a_token_is_fetched_once_and_again_when_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let token = |value: &str| Reply::json(&json!({"access_token": value, "token_type": "bearer", "expires_in": 3600}));
    let refused = Reply::Now(401, Vec::new(), String::new());
    let ok = || Reply::json(&json!({}));
    let stub = Stub::start([token("one"), config(""), ok(), refused, token("two"), ok()]).await;
    let client_secret_file = kept(folder.path(), "secret", "pa$$word", 0o640);
    let token_uri = format!("{}/v1/oauth/tokens", stub.url);
    let oauth = OAuthSpec { token_uri, client_id: "us".to_owned(), client_secret_file, scope: None };
    let catalog = open(CatalogSpec { oauth: Some(oauth), ..spec(&stub.url) }).unwrap();
    catalog.ask(&get(&["namespaces"])).await.unwrap();
    assert!(catalog.ask(&get(&["namespaces"])).await.is_err());
    catalog.ask(&get(&["namespaces"])).await.unwrap();
    let asked = stub.asked();
    let of = |at: usize| asked[at].header("authorization");
    assert_eq!((of(1), of(2), of(3), of(5)), tuple("one", "two"));
    let form = asked[0].form();
    assert!(form.contains(&("client_secret".to_owned(), "pa$$word".to_owned())));
    assert!(form.contains(&("scope".to_owned(), "catalog".to_owned())));
}

type Seen = Option<&'static str>;

fn tuple(first: &str, then: &str) -> (Seen, Seen, Seen, Seen) {
    let bearer = |token| if token == "one" { Some("Bearer one") } else { Some("Bearer two") };
    (bearer(first), bearer(first), bearer(first), bearer(then))
}

#[test]
fn a_file_that_cannot_be_meant_is_refused_with_its_field() {
    let folder = tempfile::tempdir().unwrap();
    let good = kept(folder.path(), "good", "token", 0o600);
    let field = |spec: CatalogSpec| open(spec).map(|_| ()).unwrap_err().field().map(str::to_owned);
    for uri in ["http://catalog.example", "catalog.example", "https://u:p@catalog.example", "https://x?y", "file:///x"]
    {
        assert_eq!(field(spec(uri)).as_deref(), Some("uri"), "{uri}");
    }
    for (name, text, mode) in [("open", "token", 0o644), ("empty", " \n", 0o600), ("two", "a\nb", 0o600)] {
        let token_file = Some(kept(folder.path(), name, text, mode));
        assert_eq!(field(CatalogSpec { token_file, ..spec("https://x") }).as_deref(), Some("token_file"), "{name}");
    }
    let oauth = |token_uri: &str| {
        let token_uri = token_uri.to_owned();
        Some(OAuthSpec { token_uri, client_id: "us".to_owned(), client_secret_file: good.clone(), scope: None })
    };
    let plain = CatalogSpec { oauth: oauth("http://x"), ..spec("https://x") };
    assert_eq!(field(plain).as_deref(), Some("oauth.token_uri"));
    let both = CatalogSpec { token_file: Some(good.clone()), oauth: oauth("https://x"), ..spec("https://x") };
    assert_eq!(field(both).as_deref(), Some("oauth"));
    assert_eq!(field(CatalogSpec { name: "a b".to_owned(), ..spec("https://x") }).as_deref(), Some("name"));
    assert_eq!(field(CatalogSpec { account: String::new(), ..spec("https://x") }).as_deref(), Some("account"));
}
