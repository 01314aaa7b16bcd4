//! Delta Sharing as a recipient sees it.

use std::fmt::Write as _;

use axum::body::Body;
use data_encoding::BASE64;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use valetkey_core::grant::Grantee;
use valetkey_core::id::ShareId;
use valetkey_core::lease::{LeaseRecord, Revoker};
use valetkey_core::nouns::registry::LeaseFilter;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::nouns::share::{LinkCode, ProfileKind, ProfileLink, Recipient, ShareAdmin as _, Shares as _};
use valetkey_core::nouns::table::{History, NewTable, SharedName, TableAccess, TableRoot};
use valetkey_core::time::{Clock as _, Lifetime};

use super::world::{Shot, World, bucket};

pub(super) const TABLE: &str = "/delta-sharing/shares/Sales/schemas/main/tables";

impl World {
    fn table_at(&self, schema: &str, name: &str, root: &str) -> NewTable {
        NewTable {
            id: (),
            share: (),
            schema: SharedName::part(schema).unwrap(),
            name: SharedName::part(name).unwrap(),
            storage: self.storage,
            bucket: bucket("lake"),
            root: TableRoot::parse(root).unwrap(),
            auxiliary: Vec::new(),
            access: TableAccess::Both,
            history: History::Shared,
            format: None,
        }
    }

    /// Shares `Sales` with `acme`, and `Secret` with nobody.
    pub(super) async fn sharing() -> Self {
        Self::sharing_in(Self::new().await).await
    }

    /// The same, of a world whose buckets are wherever they are.
    pub(super) async fn sharing_in(world: Self) -> Self {
        let now = world.clock.now();
        let provider = world.account_id("globex").await;
        let shares = &world.memory;
        let name = |text| SharedName::parse(text).unwrap();
        let sales = shares.create_share(provider, &name("Sales"), Some("what was sold"), now).await.unwrap().id;
        let secret = shares.create_share(provider, &name("Secret"), None, now).await.unwrap().id;
        for kind in ["plain", "deleting", "mapped", "zoneless", "escaping", "nothing"] {
            let table = world.table_at("Main", kind, &format!("t/{kind}"));
            shares.add_table(sales, table, now).await.unwrap();
        }
        let mut spread = world.table_at("Main", "Spread", "t/spread");
        spread.auxiliary = vec![TableRoot::parse("aux/spread").unwrap()];
        shares.add_table(sales, spread, now).await.unwrap();
        let mut files = world.table_at("other", "files", "f/plain");
        files.access = TableAccess::Url;
        files.history = History::Latest;
        shares.add_table(sales, files, now).await.unwrap();
        let mut keys = world.table_at("other", "keys", "k/plain");
        keys.access = TableAccess::Directory;
        shares.add_table(sales, keys, now).await.unwrap();
        shares.add_table(secret, world.table_at("main", "plain", "x/plain"), now).await.unwrap();
        world.share_with("acme").await;
        world
    }

    pub(super) async fn sales(&self) -> ShareId {
        let all = self.memory.shares().await.unwrap();
        all.iter().find(|share| share.name.as_str() == "Sales").unwrap().id
    }

    /// Puts another table into `Sales`.
    pub(super) async fn add_table(&self, name: &str) {
        let table = self.table_at("Main", name, &format!("t/{name}"));
        self.memory.add_table(self.sales().await, table, self.clock.now()).await.unwrap();
    }

    /// Gives `Sales` to an account.
    pub(super) async fn share_with(&self, account: &str) {
        let (now, sales) = (self.clock.now(), self.sales().await);
        let by = Revoker { by: self.caller_of("root").await, at: now };
        let recipient = Recipient {
            share: sales,
            account: self.account_id(account).await,
            to: Grantee::Everyone,
            max_lifetime: Lifetime::secs(86_400),
            until: None,
            made: now,
        };
        self.memory.add_recipient(recipient, by).await.unwrap();
    }

    pub(super) async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Shot {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token("reader").await));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    pub(super) async fn query(&self, table: &str, capabilities: &str, body: &str) -> Shot {
        // Leases are listed by the millisecond they were opened in.
        self.clock.advance_secs(1);
        let path = format!("{TABLE}/{table}/query");
        self.ask(Method::POST, &path, &[("delta-sharing-capabilities", capabilities)], body).await
    }

    async fn credentials(&self, table: &str, body: &str) -> Shot {
        self.clock.advance_secs(1);
        self.post("reader", &format!("{TABLE}/{table}/temporary-table-credentials"), body).await
    }

    pub(super) async fn newest_lease(&self) -> LeaseRecord {
        let filter = LeaseFilter { limit: 1, ..LeaseFilter::default() };
        self.memory.leases(&filter).await.unwrap().remove(0)
    }
}

/// An answer of several lines, without what is in every answer.
fn lines(shot: &Shot) -> String {
    let mut page = format!("{}\n", shot.status);
    for name in ["content-type", "delta-table-version", "delta-sharing-capabilities", "fileidhash"] {
        if let Some(value) = shot.headers.get(name) {
            writeln!(page, "{name}: {}", value.to_str().unwrap()).unwrap();
        }
    }
    writeln!(page, "{}", shot.body).unwrap();
    page
}

fn message(shot: &Shot) -> (u16, String, String) {
    let body = shot.json();
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    (shot.status.as_u16(), text("errorCode"), text("message"))
}

/// Ids differ from run to run of other tests; here they are only known by their kind.
fn without_ids(text: &str) -> String {
    let mut out = String::new();
    for part in text.split_inclusive('"') {
        let id = part.len() == 31 && ["shr_", "tbl_"].iter().any(|kind| part.starts_with(kind));
        out.push_str(if id { "[id]\"" } else { part });
    }
    out
}

#[tokio::test]
async fn listings_show_what_was_given() {
    let world = World::sharing().await;
    let mut page = String::new();
    for path in [
        "/shares",
        "/shares/SALES",
        "/shares/sales/schemas",
        "/shares/sales/schemas/MAIN/tables",
        "/shares/Sales/schemas/other/tables?maxResults=1",
        "/shares/Sales/all-tables?maxResults=0&unknown=1",
    ] {
        let shot = world.get("reader", &format!("/delta-sharing{path}")).await;
        assert_eq!(shot.headers["content-type"], "application/json; charset=utf-8");
        let mut body = shot.json();
        if body["nextPageToken"].is_string() {
            body["nextPageToken"] = "[sealed]".into();
        }
        assert!(!shot.body.contains('\n'), "the Python client reads one line only");
        writeln!(page, "{path}\n{} {}\n", shot.status, without_ids(&body.to_string())).unwrap();
    }
    insta::assert_snapshot!("sharing_listings", page);
}

#[tokio::test]
async fn what_was_not_given_is_as_if_it_were_not_there() {
    let world = World::sharing().await;
    let tails = ["", "/schemas", "/schemas/main/tables", "/all-tables", "/schemas/main/tables/plain/version"];
    for tail in tails.iter().chain(&["/schemas/main/tables/plain/metadata", "/schemas/main/tables/plain/changes"]) {
        let path = |share: &str| format!("/delta-sharing/shares/{share}{tail}?startingVersion=0");
        let (secret, missing) =
            (world.get("reader", &path("Secret")).await, world.get("reader", &path("Nonono")).await);
        assert_eq!((secret.status, secret.body.replace("Secret", "Nonono")), (StatusCode::NOT_FOUND, missing.body));
    }
    for tail in ["query", "temporary-table-credentials"] {
        let path = |share: &str| format!("/delta-sharing/shares/{share}/schemas/main/tables/plain/{tail}");
        let secret = world.post("reader", &path("Secret"), "{}").await;
        let missing = world.post("reader", &path("Nonono"), "{}").await;
        assert_eq!((secret.status, secret.body.replace("Secret", "Nonono")), (StatusCode::NOT_FOUND, missing.body));
        // The provider itself is not a recipient.
        assert_eq!(world.post("other", &path("Sales"), "{}").await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(world.get("other", "/delta-sharing/shares").await.json(), json!({"items": []}));
    for path in ["/shares/Sales/schemas/none/tables", "/shares/Sales/schemas/main/tables/none/version"] {
        assert_eq!(world.get("reader", &format!("/delta-sharing{path}")).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn pages_follow_one_another_and_fit_no_other_listing() {
    let world = World::sharing().await;
    let token = world.token("reader").await;
    let list = async |path: &str| world.call(&Method::GET, &format!("/delta-sharing{path}"), &token, "").await;
    let (mut names, mut next) = (Vec::new(), String::new());
    loop {
        let page = list(&format!("/shares/Sales/all-tables?maxResults=3&pageToken={next}")).await.json();
        names.extend(page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        match page["nextPageToken"].as_str() {
            Some(token) => token.clone_into(&mut next),
            None => break,
        }
    }
    assert_eq!(names, ["deleting", "escaping", "mapped", "nothing", "plain", "Spread", "zoneless", "files", "keys"]);
    let none = list("/shares/Sales/all-tables?maxResults=0").await.json();
    let start = none["nextPageToken"].as_str().unwrap();
    let first = list(&format!("/shares/Sales/all-tables?pageToken={start}")).await.json();
    assert_eq!(first["items"].as_array().unwrap().len(), 9);
    for path in ["/shares", "/shares/Sales/schemas", "/shares/Sales/schemas/main/tables"] {
        let (status, code, said) = message(&list(&format!("{path}?pageToken={next}")).await);
        assert_eq!((status, code.as_str()), (400, "INVALID_PARAMETER_VALUE"), "{path}");
        assert!(said.contains("invalid `pageToken`"), "{said}");
    }
    let others = world.get("writer", &format!("/delta-sharing/shares/Sales/all-tables?pageToken={next}")).await;
    assert_eq!(others.status, StatusCode::BAD_REQUEST, "another caller's");
    for bad in ["maxResults=-1", "maxResults=501", "maxResults=x", "maxResults=1&maxResults=2", "pageToken=x"] {
        assert_eq!(message(&list(&format!("/shares?{bad}")).await).0, 400, "{bad}");
    }
}

#[tokio::test]
async fn keys_open_the_tables_directory_to_read_and_nothing_else() {
    let world = World::sharing().await;
    let shot = world.credentials("plain", "").await;
    insta::assert_snapshot!("sharing_credentials", {
        let mut body = shot.json();
        let keys = &mut body["credentials"]["awsTempCredentials"];
        for field in ["accessKeyId", "secretAccessKey", "sessionToken"] {
            assert!(keys[field].as_str().unwrap().len() > 20);
            keys[field] = "[hidden]".into();
        }
        format!("{} {}\n{body}", shot.status, shot.headers["content-type"].to_str().unwrap())
    });
    let lease = world.newest_lease().await.lease;
    assert_eq!(shot.json()["credentials"]["expirationTime"], lease.until.as_millisecond());
    assert_eq!(format!("{:?}", lease.rights.parts().places()), "Only({directory(`t/plain`)})");
    assert_eq!(lease.rights.actions().to_string(), "get-object, list-bucket");
    for (key, inside) in
        [("t/plain/_delta_log/0.json", true), ("t/plain2/x", false), ("t/plain-secret", false), ("t", false)]
    {
        assert_eq!(
            lease.rights.covers("lake", key.as_bytes(), valetkey_core::scope::Action::GetObject),
            inside,
            "{key}"
        );
    }
}

#[tokio::test]
async fn a_narrower_location_is_vended_and_echoed_as_asked() {
    let world = World::sharing().await;
    for (table, location, opens) in [
        ("plain", "s3://lake/t/plain", "t/plain"),
        ("plain", "s3a://lake/t/plain/_delta_log/", "t/plain/_delta_log"),
        ("PLAIN", "S3N://Lake/t/./plain/day=1%20x", "t/plain/day=1 x"),
        ("spread", "s3://lake/aux/spread/2026", "aux/spread/2026"),
    ] {
        let shot = world.credentials(table, &json!({"location": location}).to_string()).await;
        assert_eq!(shot.json()["credentials"]["location"], location, "{}", shot.body);
        let lease = world.newest_lease().await.lease;
        assert_eq!(format!("{:?}", lease.rights.parts().places()), format!("Only({{directory(`{opens}`)}})"));
    }
    let before = world.newest_lease().await.lease.id;
    for location in
        ["s3://lake/t/plain2", "s3://lake/t/spread", "s3://vault/t/plain", "s3://lake/t/plain/../x", "", "x"]
    {
        let (status, code, _) = message(&world.credentials("plain", &json!({"location": location}).to_string()).await);
        assert_eq!((status, code.as_str()), (400, "INVALID_PARAMETER_VALUE"), "{location}");
    }
    for (body, code) in [
        ("{\"location\":", "MALFORMED_REQUEST"),
        ("location=x", "MALFORMED_REQUEST"),
        ("{\"locations\":\"s3://lake/t/plain\"}", "INVALID_PARAMETER_VALUE"),
        ("{\"subPath\":\"x\"}", "INVALID_PARAMETER_VALUE"),
        ("{\"operation\":\"READ\"}", "INVALID_PARAMETER_VALUE"),
        ("{\"location\":\"s3://lake/t/plain/x\",\"location\":\"s3://lake/t/plain\"}", "INVALID_PARAMETER_VALUE"),
        ("{\"location\":1}", "INVALID_PARAMETER_VALUE"),
    ] {
        let (status, own, _) = message(&world.credentials("plain", body).await);
        assert_eq!(status, 400, "{body}");
        assert!(own == code || own == "MALFORMED_REQUEST", "{body}: {own}");
    }
    assert_eq!(world.newest_lease().await.lease.id, before, "nothing was vended");
    for body in ["{}", " ", "{\"location\":null}", "{\"requestId\":\"7\",\"clientName\":{\"a\":1}}"] {
        assert_eq!(world.credentials("plain", body).await.json()["credentials"]["location"], "s3://lake/t/plain");
    }
}

#[tokio::test]
async fn a_table_is_served_only_in_its_modes() {
    let world = World::sharing().await;
    let at = |table: &str, tail: &str| format!("/delta-sharing/shares/Sales/schemas/other/tables/{table}/{tail}");
    let (status, _, said) = message(&world.post("reader", &at("files", "temporary-table-credentials"), "").await);
    assert_eq!((status, said.contains("does not support `dir` access")), (400, true));
    let (status, _, said) = message(&world.get("reader", &at("keys", "changes?startingVersion=0")).await);
    assert_eq!((status, said.contains("does not support `url` access")), (400, true));
    // What is told of the table before its keys are asked for.
    let version = world.get("reader", &at("keys", "version")).await;
    assert_eq!((version.status, version.headers["delta-table-version"].to_str().unwrap()), (StatusCode::OK, "2"));
    let head = world.ask(Method::HEAD, at("keys", "").trim_end_matches('/'), &[], "").await;
    assert_eq!((head.status, head.headers["delta-table-version"].to_str().unwrap()), (StatusCode::OK, "2"));
    let metadata = world.get("reader", &at("keys", "metadata")).await;
    let line: Value = serde_json::from_str(metadata.body.lines().nth(1).unwrap()).unwrap();
    assert_eq!(line["metaData"]["accessModes"], json!(["dir"]));
    assert_eq!(line["metaData"]["location"], "s3://lake/k/plain");
    assert!(!metadata.body.contains("https://signed"));
    assert_eq!(world.post("reader", &at("keys", "query"), "{}").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.post("reader", &at("keys", "temporary-table-credentials"), "").await.status, StatusCode::OK);
    // Only the newest version is shared.
    for tail in ["version?startingTimestamp=2020-01-01T00:00:00Z", "metadata?version=0", "changes?startingVersion=0"] {
        let (status, _, said) = message(&world.get("reader", &at("files", tail)).await);
        assert_eq!((status, said.contains("not enabled on table")), (400, true), "{tail}");
    }
    for body in [json!({"version": 1}), json!({"startingVersion": 0}), json!({"timestamp": "2026-01-01T00:00:00Z"})] {
        assert_eq!(
            world.post("reader", &at("files", "query"), &body.to_string()).await.status,
            StatusCode::BAD_REQUEST
        );
    }
    let shot = world.post("reader", &at("files", "query"), "{}").await;
    let metadata: Value = serde_json::from_str(shot.body.lines().nth(1).unwrap()).unwrap();
    assert_eq!(metadata["metaData"]["accessModes"], json!(["url"]));
    assert!(metadata["metaData"].get("version").is_none() && metadata["metaData"].get("location").is_none());
}

#[tokio::test]
async fn versions_and_metadata_are_told() {
    let world = World::sharing().await;
    let mut page = String::new();
    for (method, tail) in [
        (Method::GET, "/plain/version"),
        (Method::HEAD, "/plain"),
        (Method::GET, "/plain/version?startingTimestamp=2026-01-01T00:00:30Z"),
        (Method::GET, "/plain/version?startingTimestamp=2030-01-01T00:00:00Z"),
        (Method::GET, "/plain/version?startingTimestamp=soon"),
        (Method::GET, "/plain/metadata"),
        (Method::GET, "/plain/metadata?version=1"),
        (Method::GET, "/plain/metadata?timestamp=2026-01-01T00:01:30Z"),
        (Method::GET, "/plain/metadata?version=1&timestamp=2026-01-01T00:01:30Z"),
        (Method::GET, "/plain/metadata?version=9"),
        (Method::GET, "/plain/metadata?timestamp=soon"),
        (Method::GET, "/deleting/metadata"),
        (Method::GET, "/nothing/metadata"),
    ] {
        let shot = world.ask(method.clone(), &format!("{TABLE}{tail}"), &[], "").await;
        writeln!(page, "{method} {tail}\n{}", lines(&shot)).unwrap();
    }
    let both =
        ("delta-sharing-capabilities", "responseformat=delta,parquet;readerfeatures=deletionvectors,columnmapping");
    for table in ["plain", "deleting", "mapped", "zoneless"] {
        let shot = world.ask(Method::GET, &format!("{TABLE}/{table}/metadata"), &[both], "").await;
        writeln!(page, "{table}, either form\n{}", lines(&shot)).unwrap();
    }
    for capabilities in ["includeEndStreamAction=true", "responseformat=delta;includeendstreamaction=TRUE"] {
        let asked = [("delta-sharing-capabilities", capabilities)];
        let shot = world.ask(Method::GET, &format!("{TABLE}/zoneless/metadata"), &asked, "").await;
        writeln!(page, "zoneless {capabilities}\n{}", lines(&shot)).unwrap();
    }
    insta::assert_snapshot!("sharing_metadata", page);
}

#[tokio::test]
async fn files_are_told_in_either_form() {
    let world = World::sharing().await;
    let delta = "responseformat=delta;readerfeatures=deletionvectors;includeendstreamaction=true";
    let mut page = String::new();
    for (table, capabilities, body) in [
        ("plain", "responseformat=parquet", "{}"),
        ("plain", "includeEndStreamAction=true", r#"{"limitHint":10}"#),
        (
            "plain",
            delta,
            r#"{"jsonPredicateHints":"{\"op\":\"equal\",\"children\":[{\"op\":\"column\",\"name\":\"day\",\"valueType\":\"date\"},{\"op\":\"literal\",\"value\":\"2026-07-02\",\"valueType\":\"date\"}]}"}"#,
        ),
        ("deleting", delta, "{}"),
        ("deleting", "responseformat=parquet", "{}"),
        ("deleting", "responseformat=delta;readerfeatures=columnmapping", "{}"),
        ("spread", "", "{}"),
        ("escaping", "", "{}"),
        ("plain", "", r#"{"version":1}"#),
        ("plain", "responseformat=delta", r#"{"timestamp":"2026-01-01T00:01:30Z"}"#),
        ("plain", "", r#"{"maxFiles":"1"}"#),
        ("plain", "", r#"{"startingVersion":0,"endingVersion":1}"#),
        ("plain", delta, r#"{"startingVersion":1}"#),
    ] {
        let shot = world.query(table, capabilities, body).await;
        writeln!(page, "{table} {capabilities} {body}\n{}", lines(&shot)).unwrap();
    }
    insta::assert_snapshot!("sharing_files", page);
}

#[tokio::test]
async fn urls_of_an_answer_come_of_one_lease_of_the_tables_directory() {
    let world = World::sharing().await;
    world.query("spread", "", "{}").await;
    let lease = world.newest_lease().await.lease;
    assert_eq!(
        format!("{:?}", lease.rights.parts().places()),
        "Only({directory(`aux/spread`), directory(`t/spread`)})"
    );
    assert_eq!(lease.rights.actions().to_string(), "get-object");
    assert_eq!(lease.until.duration_since(lease.opened).as_secs(), 3600);
    // An answer without files costs none, a refused one neither.
    let none = r#"{"jsonPredicateHints":"{\"op\":\"equal\",\"children\":[{\"op\":\"column\",\"name\":\"day\"},{\"op\":\"literal\",\"value\":\"2026-07-09\",\"valueType\":\"date\"}]}"}"#;
    assert_eq!(world.query("plain", "", none).await.body.lines().count(), 2);
    world.query("escaping", "", "{}").await;
    world.query("deleting", "", "{}").await;
    assert_eq!(world.newest_lease().await.lease.id, lease.id);
}

#[tokio::test]
async fn changes_are_told_in_either_form() {
    let world = World::sharing().await;
    let mut page = String::new();
    for (capabilities, tail) in [
        ("", "startingVersion=0"),
        ("responseformat=delta", "startingVersion=0&includeHistoricalMetadata=True"),
        ("responseformat=delta", "startingTimestamp=2026-01-01T00:01:00Z&endingTimestamp=2026-01-01T00:01:59Z"),
        ("", "endingVersion=1"),
        ("", "startingVersion=2&endingVersion=1"),
        ("", "startingVersion=7"),
        ("", "startingVersion=x"),
        ("", "startingVersion=0&startingTimestamp=2026-01-01T00:01:00Z"),
    ] {
        let path = format!("{TABLE}/plain/changes?{tail}");
        let shot = world.ask(Method::GET, &path, &[("delta-sharing-capabilities", capabilities)], "").await;
        writeln!(page, "{capabilities} {tail}\n{}", lines(&shot)).unwrap();
    }
    insta::assert_snapshot!("sharing_changes", page);
}

#[tokio::test]
async fn file_ids_are_made_as_the_client_says() {
    let world = World::sharing().await;
    let id = async |capabilities: &str, hash: Option<&str>| {
        let mut headers = vec![("delta-sharing-capabilities", capabilities)];
        headers.extend(hash.map(|hash| ("fileidhash", hash)));
        let shot = world.ask(Method::POST, &format!("{TABLE}/plain/query"), &headers, "{}").await;
        let echoed = shot.headers.get("fileidhash").map(|value| value.to_str().unwrap().to_owned());
        let file: Value = serde_json::from_str(shot.body.lines().nth(2).unwrap_or("null")).unwrap();
        (shot.status.as_u16(), file["file"]["id"].as_str().map(str::len), echoed)
    };
    let echo = |text: &str| Some(text.to_owned());
    assert_eq!(id("", None).await, (200, Some(32), None));
    assert_eq!(id("responseformat=delta", None).await, (200, Some(64), None));
    assert_eq!(id("", Some("DELTA")).await, (200, Some(64), echo("delta")));
    assert_eq!(id("responseformat=delta", Some("parquet")).await, (200, Some(32), echo("parquet")));
    for bad in ["", "md5"] {
        assert_eq!(id("", Some(bad)).await, (400, None, None));
    }
}

#[tokio::test]
async fn a_query_that_is_not_clear_is_refused() {
    let world = World::sharing().await;
    for body in [
        r#"{"limitHint":-1}"#,
        r#"{"version":-1}"#,
        r#"{"version":1,"timestamp":"2026-01-01T00:00:00Z"}"#,
        r#"{"startingVersion":0,"version":1}"#,
        r#"{"endingVersion":1}"#,
        r#"{"startingVersion":5}"#,
        r#"{"timestamp":"yesterday"}"#,
        r#"{"pageToken":"x"}"#,
        r#"{"refreshToken":"x"}"#,
        r#"{"maxFiles":-1}"#,
        r#"{"maxFiles":0}"#,
        r#"{"version":"one"}"#,
        r#"{"version":""}"#,
        r#"{"version":1.5}"#,
        r#"{"version":true}"#,
        r#"{"version":"9223372036854775808"}"#,
        r#"{"version":1e300}"#,
        "[",
    ] {
        assert_eq!(world.query("plain", "", body).await.status, StatusCode::BAD_REQUEST, "{body}");
    }
    for body in [
        "",
        "{}",
        r#"{"version":"1","limitHint":"2"}"#,
        r#"{"version":1.0}"#,
        r#"{"startingVersion":"0","endingVersion":1e0}"#,
        r#"{"predicateHints":["a = 1"],"idempotencyKey":"x","maxFiles":1,"jsonPredicateHints":"nonsense"}"#,
    ] {
        assert_eq!(world.query("plain", "", body).await.status, StatusCode::OK, "{body}");
    }
}

async fn with(world: &World, method: Method, path: &str, authorization: &str, body: &str) -> Shot {
    let mut request = Request::builder().method(method).uri(path);
    if !authorization.is_empty() {
        request = request.header("authorization", authorization);
    }
    world.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

fn pair(name: &str, secret: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{name}:{secret}").as_bytes()))
}

#[tokio::test]
async fn basic_takes_the_callers_name_or_the_one_for_tokens() {
    let world = World::sharing().await;
    let token = world.token("reader").await;
    for (name, status) in [("reader", 200), ("__token__", 200), ("writer", 401), ("", 401)] {
        let shot = with(&world, Method::GET, "/delta-sharing/shares", &pair(name, &token), "").await;
        assert_eq!(shot.status.as_u16(), status, "{name}");
    }
    let form = "grant_type=client_credentials";
    let ready = with(&world, Method::POST, "/delta-sharing", &pair("reader", &token), form).await;
    assert_eq!((ready.status, ready.body.as_str()), (StatusCode::OK, "{}"));
}

#[tokio::test]
async fn an_oauth_client_gets_an_access_token_that_ends_with_its_token() {
    let world = World::sharing().await;
    let (id, token) = world.token_of("reader", Some(600)).await;
    let form = "grant_type=client_credentials&scope=x";
    let ask = async |authorization: &str, form: &str| {
        with(&world, Method::POST, "/delta-sharing/oauth/token", authorization, form).await
    };
    for (name, body) in [
        (id.as_uuid(), form.to_owned()),
        (id.to_string(), form.to_owned()),
        (String::new(), format!("{form}&client_id={id}&client_secret={token}")),
    ] {
        let authorization = if name.is_empty() { name } else { pair(&name, &token) };
        let answer = ask(&authorization, &body).await;
        let told = answer.json();
        assert_eq!((&told["token_type"], &told["expires_in"]), (&json!("Bearer"), &json!(600)), "{}", answer.body);
        let bearer = format!("Bearer {}", told["access_token"].as_str().unwrap());
        assert_eq!(with(&world, Method::GET, "/delta-sharing/shares", &bearer, "").await.status, StatusCode::OK);
        // It is good for nothing else.
        assert_eq!(with(&world, Method::GET, "/api/v1/me", &bearer, "").await.status, StatusCode::UNAUTHORIZED);
    }
    let (other, _) = world.token_of("writer", None).await;
    for (authorization, body, status, error) in [
        (pair(&id.to_string(), "vkt_x"), form, 401, "invalid_client"),
        (pair(&other.to_string(), &token), form, 401, "invalid_client"),
        (pair("reader", &token), form, 401, "invalid_client"),
        (String::new(), form, 401, "invalid_client"),
        (pair(&id.to_string(), &token), "grant_type=password", 400, "unsupported_grant_type"),
        (pair(&id.to_string(), &token), "", 400, "invalid_request"),
        (pair(&id.to_string(), &token), "grant_type=client_credentials&grant_type=x", 400, "invalid_request"),
    ] {
        let shot = ask(&authorization, body).await;
        assert_eq!((shot.status.as_u16(), shot.json()["error"].as_str().unwrap()), (status, error));
        if status == 401 {
            assert_eq!(shot.headers["www-authenticate"], "Basic realm=\"delta-sharing\"");
        }
    }
    let access = ask(&pair(&id.to_string(), &token), form).await.json()["access_token"].as_str().unwrap().to_owned();
    let list = async || with(&world, Method::GET, "/delta-sharing/shares", &format!("Bearer {access}"), "").await;
    assert_eq!(list().await.status, StatusCode::OK);
    world.memory.revoke_token(id, Revoker { by: world.caller_of("root").await, at: world.clock.now() }).await.unwrap();
    assert_eq!(list().await.status, StatusCode::UNAUTHORIZED, "at once");
}

#[tokio::test]
async fn a_link_downloads_a_profile_once() {
    let world = World::sharing().await;
    let caller = world.caller_of("reader").await;
    for kind in [ProfileKind::Bearer, ProfileKind::Oauth] {
        let code = LinkCode::generate(&*world.entropy);
        let link = ProfileLink {
            caller,
            kind,
            token_lifetime: Some(Lifetime::secs(86_400)),
            until: Lifetime::secs(100).ends(world.clock.now()),
            made_by: None,
            no_later: None,
        };
        world
            .memory
            .create_link(&code.digest(), link, valetkey_core::token::Maker::Server, world.clock.now())
            .await
            .unwrap();
        let path = format!("/delta-sharing/profile/{}", code.reveal());
        let look = with(&world, Method::HEAD, &path, "", "").await;
        assert_eq!((look.status, look.body.as_str()), (StatusCode::NO_CONTENT, ""));
        let profile = with(&world, Method::GET, &path, "", "").await;
        assert_eq!(profile.headers["content-disposition"], "attachment; filename=\"config.share\"");
        let told = profile.json();
        assert_eq!(told["endpoint"], "http://127.0.0.1:7070/delta-sharing");
        let token = match kind {
            ProfileKind::Bearer => {
                assert_eq!((&told["shareCredentialsVersion"], told.get("type")), (&json!(1), None));
                assert!(told["expirationTime"].as_str().unwrap().contains(".000Z"));
                told["bearerToken"].as_str().unwrap().to_owned()
            }
            ProfileKind::Oauth => {
                assert_eq!(told["type"], "oauth_client_credentials");
                assert_eq!(told["tokenEndpoint"], "http://127.0.0.1:7070/delta-sharing/oauth/token");
                told["clientSecret"].as_str().unwrap().to_owned()
            }
        };
        let shares = with(&world, Method::GET, "/delta-sharing/shares", &format!("Bearer {token}"), "").await;
        assert_eq!(shares.json()["items"].as_array().unwrap().len(), 1);
        assert_eq!(with(&world, Method::GET, &path, "", "").await.status, StatusCode::NOT_FOUND, "used up");
    }
    let never = LinkCode::generate(&*world.entropy);
    for code in [never.reveal(), "x", "..", &"A".repeat(44)] {
        let shot = with(&world, Method::GET, &format!("/delta-sharing/profile/{code}"), "", "").await;
        assert_eq!(shot.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_in_the_references_order_and_words() {
    let world = World::sharing().await;
    let capabilities = "responseformat=kernel";
    let at = |table: &str| format!("/delta-sharing/shares/Sales/schemas/other/tables/{table}");
    let query = async |table: &str, body: &str| {
        let asked = [("delta-sharing-capabilities", capabilities), ("fileidhash", "md5")];
        message(&world.ask(Method::POST, &format!("{}/query", at(table)), &asked, body).await).2
    };
    // Everything is wrong at once; what is told first is what excludes each other, then the table, then its history.
    assert_eq!(
        query("none", r#"{"version":1,"timestamp":"x","startingVersion":2}"#).await,
        "Please only provide one of: version,timestamp,startingVersion"
    );
    assert_eq!(query("none", r#"{"version":-1}"#).await, "table version cannot be negative.");
    assert_eq!(query("none", r#"{"startingVersion":-1}"#).await, "startingVersion cannot be negative.");
    assert_eq!(query("none", r#"{"maxFiles":0}"#).await, "maxFiles must be positive.");
    assert_eq!(
        query("none", r#"{"timestamp":"x"}"#).await,
        "[Share/Schema/Table] 'Sales/other/none' does not exist, please contact your share provider for further information."
    );
    let history = "Reading table by version or timestamp is not supported because history sharing is not enabled on table: Sales.other.files";
    for body in [r#"{"timestamp":"x"}"#, r#"{"version":99}"#, r#"{"startingVersion":2,"endingVersion":1}"#] {
        assert_eq!(query("files", body).await, history, "{body}");
    }
    assert!(query("files", "{}").await.contains("no known response format"));
    let asked = [("delta-sharing-capabilities", capabilities)];
    let get =
        async |tail: &str| message(&world.ask(Method::GET, &format!("{}/{tail}", at("files")), &asked, "").await).2;
    assert_eq!(get("metadata?version=1&timestamp=x").await, "Please only provide one of: version,timestamp");
    assert_eq!(get("metadata?timestamp=x").await, history);
    assert_eq!(get("version?startingTimestamp=x").await, history);
    assert_eq!(
        get("changes?startingVersion=x&startingTimestamp=y").await,
        "cdf is not enabled on table Sales.other.files"
    );
    let plain =
        async |tail: &str| message(&world.ask(Method::GET, &format!("{TABLE}/plain/{tail}"), &asked, "").await).2;
    assert_eq!(
        plain("changes?endingVersion=1").await,
        "No startingVersion or startingTimestamp provided for CDF read."
    );
    assert_eq!(plain("changes?startingVersion=0&maxFiles=0").await, "maxFiles must be positive.");
}

#[tokio::test]
async fn words_of_the_caller_are_escaped_once() {
    let world = World::sharing().await;
    let shot = world.ask(Method::GET, "/delta-sharing/shares/it%27s%20%22%C3%BC%22%5C%0A", &[], "").await;
    assert_eq!(
        message(&shot).2,
        "[Share/Schema/Table] 'it's \"ü\"\\\\n' does not exist, please contact your share provider for further information."
    );
}
