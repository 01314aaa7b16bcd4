//! S3 Access Grants: what of a grant is vended, what clients are told they may keep, and what is refused beside it.

use axum::body::Body;
use http::{Method, Request, StatusCode};
use valetkey_core::ask::{Ask, Asked, GrantRef, Target, Wanted};
use valetkey_core::id::{AccountId, CallerId, TokenId};
use valetkey_core::keyring::{Carried, SessionClaims};
use valetkey_core::lease::{Revocation, Revoker};
use valetkey_core::name::Name;
use valetkey_core::nouns::parent::{NewParent, ParentAdmin as _, Permission};
use valetkey_core::nouns::registry::LeaseFilter;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::scope::{Action, Actions, Path, Paths};
use valetkey_core::storage::Shape;
use valetkey_core::time::{Clock as _, Lifetime};
use valetkey_core::token::{Maker, PlainToken};
use valetkey_core::{Kind, Secret};
use valetkey_sigv4::{Signer, Signing, Slash, encode, sha256, sign};

use super::world::{Shot, World, bucket, directory, ring};
use crate::access_grants::{ACCOUNT_ID, PATH};
use crate::edge::account_number;

const HOST: &str = "api.test";

/// A key to sign with, and whose account it says to be of.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) secret: Secret<String>,
    pub(super) token: Option<Secret<String>>,
    pub(super) account: AccountId,
}

fn encoded(text: &str) -> String {
    let mut out = String::new();
    encode(text.as_bytes(), Slash::Encoded, &mut out);
    out
}

/// A query in its canonical form, of one that is not encoded.
fn canonical(query: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<String> = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
        .collect();
    pairs.sort_unstable();
    pairs.join("&")
}

impl World {
    /// A request that is signed; `target` is not encoded.
    pub(super) fn signed(&self, key: &Key, method: &Method, target: &str) -> Request<Body> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (query, number) = (canonical(query), account_number(key.account));
        let signing = Signing {
            method: method.as_str(),
            host: HOST,
            path,
            query: &query,
            header: (ACCOUNT_ID, &number),
            body_sha256: &sha256(b""),
            region: "us-east-1",
            service: "s3",
        };
        let who = Signer { access_key_id: &key.id, secret_access_key: &key.secret, session_token: key.token.as_ref() };
        let signed = sign(&signing, &who, self.clock.now());
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let request = Request::builder().method(method).uri(target).header("host", HOST).header(ACCOUNT_ID, number);
        let request = request.header("x-amz-date", signed.date).header("authorization", signed.authorization);
        let token = key.token.iter().map(|token| token.reveal().as_str());
        token.fold(request, |request, token| request.header("x-amz-security-token", token)).body(Body::empty()).unwrap()
    }

    /// A key that was vended to who has a token: of a grant that everyone of its account has.
    pub(super) async fn key_of(&self, token: &str, grant: &str) -> Key {
        let vending = &self.shared.vending;
        let caller = vending.identify(token).await.unwrap();
        let ask = Ask {
            dialect: "test",
            target: Target::Grant { grant: GrantRef::parse(grant).unwrap(), paths: None },
            wanted: Wanted::at_most(Actions::READ_WRITE),
            lifetime: Asked::For(Lifetime::secs(7200)),
            carries: Shape::ALL,
        };
        let vended = vending.vend(&caller, &ask).await.unwrap();
        let keys = vended.credential.s3().unwrap();
        Key {
            id: keys.access_key_id.clone(),
            secret: keys.secret_access_key.clone(),
            token: Some(keys.session_token.clone()),
            account: caller.account,
        }
    }
}

/// A caller with a parent access key to the bucket `vault`, and with grants to some of `lake`.
struct Held {
    world: World,
    caller: CallerId,
    token: TokenId,
    parent: Key,
}

impl Held {
    async fn new() -> Self {
        let world = World::new().await;
        let account = world.account_id("acme").await;
        let token = PlainToken::generate(&*world.entropy);
        let new = NewParent {
            account,
            name: Name::parse("job").unwrap(),
            buckets: vec![bucket("vault")],
            permission: Permission::ObjectReadWrite,
            until: None,
            maker: Maker::Server,
        };
        let record = world.memory.create_parent(new, &token, world.clock.now()).await.unwrap();
        let (id, caller) = (record.token.id, record.token.caller);
        let parent = Key { id: id.as_hex(), secret: token.secret_access_key(), token: None, account };
        let held = Self { world, caller, token: id, parent };
        let only = |paths: &[Path]| Paths::only(paths).unwrap();
        held.grant("bob", directory("bob"), Actions::READ).await;
        let reports = [Path::prefix(b"bob/reports/").unwrap(), Path::object(b"one.csv").unwrap()];
        held.grant("reports", only(&reports), Actions::READ_WRITE).await;
        held.grant("drop", only(&[Path::prefix(b"in").unwrap()]), Actions::WRITE.with(Action::DeleteObject)).await;
        held.grant("half", directory("half"), Actions::READ_WRITE.without(Action::DeleteObject)).await;
        held
    }

    async fn grant(&self, name: &str, paths: Paths, actions: Actions) {
        let account = self.parent.account;
        self.world.grant(account, name, Some(self.caller), "lake", paths, actions, None).await;
    }

    async fn get(&self, key: &Key, rest: &str) -> Shot {
        self.world.send(self.world.signed(key, &Method::GET, &format!("{PATH}{rest}"))).await
    }

    async fn ask(&self, target: &str, permission: &str, more: &str) -> Shot {
        self.get(&self.parent, &format!("/dataaccess?target={target}&permission={permission}{more}")).await
    }

    /// The key of an answer, and what it says to have matched.
    fn vended(&self, shot: &Shot) -> (Key, String) {
        assert_eq!(shot.status, StatusCode::OK, "{}", shot.body);
        let key = Key {
            id: text(shot, "AccessKeyId"),
            secret: Secret::new(text(shot, "SecretAccessKey")),
            token: Some(Secret::new(text(shot, "SessionToken"))),
            account: self.parent.account,
        };
        (key, text(shot, "MatchedGrantTarget"))
    }
}

fn all<'s>(shot: &'s Shot, name: &str) -> Vec<&'s str> {
    let (start, end) = (format!("<{name}>"), format!("</{name}>"));
    shot.body.split(&start).skip(1).map(|rest| rest.split(&end).next().unwrap()).collect()
}

fn text(shot: &Shot, name: &str) -> String {
    (*all(shot, name).first().unwrap_or_else(|| panic!("no {name} in {}", shot.body))).to_owned()
}

fn claims(key: &Key) -> SessionClaims {
    ring().unseal(key.token.as_ref().unwrap().reveal(), &key.id).unwrap()
}

/// Bucket, paths and actions of a key.
fn opens(key: &Key) -> (String, Paths, Actions) {
    let Carried::Here(rights) = claims(key).reach else { panic!("the rights are kept elsewhere") };
    (rights.bucket().to_string(), rights.parts().places(), rights.actions())
}

fn refusal(shot: &Shot) -> (u16, String) {
    (shot.status.as_u16(), text(shot, "Code"))
}

fn one(path: Result<Path, valetkey_core::Error>) -> Paths {
    Paths::only([path.unwrap()]).unwrap()
}

#[tokio::test]
async fn the_closest_grant_is_vended_whole_or_the_target_alone() {
    let held = Held::new().await;
    let read = Actions::READ;
    let (bob, reports) = (|| directory("bob"), || one(Path::prefix(b"bob/reports/")));
    let usual = Actions::READ_WRITE;
    for (target, permission, more, matched, paths, actions) in [
        // The examples of AWS' own page, and each form that clients send.
        ("s3://lake/bob/*", "READ", "", "s3://lake/bob/*", bob(), read),
        ("s3://lake/bob/x.txt", "READ", "", "s3://lake/bob/*", bob(), read),
        ("s3://lake/bob/", "READ", "", "s3://lake/bob/*", bob(), read),
        ("s3://lake/bob", "READ", "", "s3://lake/bob/*", bob(), read),
        ("s3://lake/bob/", "READ", "&privilege=Minimal", "s3://lake/bob/", one(Path::object(b"bob/")), read),
        (
            "s3://lake/bob/images/*",
            "READ",
            "&privilege=Minimal",
            "s3://lake/bob/images/*",
            one(Path::prefix(b"bob/images/")),
            read,
        ),
        ("s3://lake/bob/reports/f", "READWRITE", "", "s3://lake/bob/reports/*", reports(), usual),
        (
            "s3://lake/bob/reports/f",
            "READ",
            "&privilege=Minimal&targetType=Object",
            "s3://lake/bob/reports/f",
            one(Path::object(b"bob/reports/f")),
            read.with(Action::ListUploads),
        ),
        (
            "s3://lake/one.csv",
            "READWRITE",
            "&privilege=Default",
            "s3://lake/one.csv",
            one(Path::object(b"one.csv")),
            usual,
        ),
        (
            "s3://lake/in2/f",
            "WRITE",
            "",
            "s3://lake/in*",
            one(Path::prefix(b"in")),
            Actions::WRITE.with(Action::DeleteObject),
        ),
        ("s3://vault", "READWRITE", "", "s3://vault/*", Paths::Whole, usual),
        ("s3://vault/a", "READ", "", "s3://vault/*", Paths::Whole, read.with(Action::ListUploads)),
        ("s3://vault", "READ", "&privilege=Minimal", "s3://vault", Paths::Whole, read.with(Action::ListUploads)),
    ] {
        let shot = held.ask(target, permission, more).await;
        let (key, told) = held.vended(&shot);
        let (_, own, may) = opens(&key);
        assert_eq!((told.as_str(), own, may), (matched, paths, actions), "{target} {permission} {more}");
        assert!(claims(&key).until <= held.world.clock.now() + jiff::SignedDuration::from_secs(3600));
    }
    let shot = held.ask("s3://lake/bob/x", "READ", "&durationSeconds=900&auditContext=nightly&instanceScope=ALL").await;
    assert!(shot.body.starts_with(
        r#"<GetDataAccessResult xmlns="http://awss3control.amazonaws.com/doc/2018-08-20/"><Credentials><AccessKeyId>"#
    ));
    assert_eq!(shot.headers["x-amz-request-id"], shot.headers["x-request-id"]);
    let number = account_number(held.parent.account);
    assert_eq!(text(&shot, "GranteeIdentifier"), format!("arn:aws:iam::{number}:user/job"));
    assert_eq!(text(&shot, "MatchedInstanceArn"), format!("arn:aws:s3:us-east-1:{number}:access-grants/default"));
    let until = held.world.clock.now() + jiff::SignedDuration::from_secs(900);
    assert_eq!(text(&shot, "Expiration"), format!("{until:.0}"));
    let filter = LeaseFilter { limit: 1, ..LeaseFilter::default() };
    let record = held.world.memory.leases(&filter).await.unwrap().remove(0);
    assert_eq!((&*record.lease.dialect, record.lease.caller), ("access-grants", held.caller));
}

#[tokio::test]
async fn what_no_single_grant_allows_whole_is_refused_in_words_that_say_nothing_of_what_there_is() {
    let held = Held::new().await;
    for (target, permission) in [
        ("s3://lake/bob2/x", "READ"),
        ("s3://lake/bob*", "READ"),
        ("s3://lake/bob/x", "WRITE"),
        ("s3://lake/bob/x", "READWRITE"),
        ("s3://lake/bob/reports*", "READWRITE"),
        ("s3://lake/one.csv2", "READ"),
        ("s3://lake/one.csv*", "READ"),
        ("s3://lake/in/f", "READ"),
        ("s3://lake", "READ"),
        // Without the right to delete it is less than clients take WRITE for.
        ("s3://lake/half/x", "WRITE"),
        // Everyone's of the account, and not the key's; another caller's; another account's; nobody's.
        ("s3://lake/flights/daily/x", "READ"),
        (concat!("s3://lake/", "work/writer/x"), "READ"),
        ("s3://lake/jobs/daily/x", "READ"),
        ("s3://nothing/x", "READ"),
        ("s3://lake/bob/../secret", "WRITE"),
    ] {
        for more in ["", "&privilege=Minimal"] {
            let shot = held.ask(target, permission, more).await;
            assert_eq!(refusal(&shot), (403, "AccessDenied".to_owned()), "{target} {permission}: {}", shot.body);
            let said = format!("You do not have {permission} permissions to the requested S3 Prefix: {target}.");
            assert!(text(&shot, "Message").starts_with(&said), "{}", shot.body);
        }
    }
    // The sibling that is there: what is granted is not refused.
    held.vended(&held.ask("s3://lake/half/x", "READ", "").await);
    let leases = held.world.memory.leases(&LeaseFilter { limit: 9, ..LeaseFilter::default() }).await.unwrap();
    assert_eq!(leases.len(), 1);
}

#[tokio::test]
async fn a_request_that_is_not_clear_is_refused() {
    let held = Held::new().await;
    let (target, read) = ("target=s3://lake/bob/x", "permission=READ");
    for (query, said) in [
        (target.to_owned(), "`permission` is missing"),
        (read.to_owned(), "`target` is missing"),
        (format!("{target}&permission=read"), "`READ` or `WRITE` or `READWRITE`"),
        (format!("target=lake/bob&{read}"), "does not start with `s3://`"),
        (format!("target=s3:///bob&{read}"), ""),
        (format!("{target}&{target}&{read}"), "given twice"),
        (format!("{target}&{read}&durationSeconds=899"), "900 to 43200"),
        (format!("{target}&{read}&durationSeconds=43201"), "900 to 43200"),
        (format!("{target}&{read}&durationSeconds=+900"), "900 to 43200"),
        (format!("{target}&{read}&privilege=minimal"), "`Minimal` or `Default`"),
        (format!("{target}*&{read}&targetType=Object"), "not one object"),
        (format!("{target}&{read}&targetType=Prefix"), "`Object`"),
        (format!("{target}&{read}&instanceScope=MINE"), "`SELF` or `ALL`"),
        (format!("{target}&{read}&auditContext={}", "x".repeat(2049)), "2048"),
        (format!("{target}&{read}&duration=900"), "unknown parameter `duration`"),
    ] {
        let shot = held.get(&held.parent, &format!("/dataaccess?{query}")).await;
        assert_eq!(refusal(&shot), (400, "InvalidRequest".to_owned()), "{query}: {}", shot.body);
        assert!(text(&shot, "Message").contains(said), "{query}: {}", shot.body);
    }
    // A lifetime that was asked for is not cut.
    held.world.change_storage(None, 3600).await;
    let shot = held.ask("s3://lake/bob/x", "READ", "&durationSeconds=7200").await;
    assert_eq!(refusal(&shot), (400, "InvalidRequest".to_owned()), "{}", shot.body);
    held.vended(&held.ask("s3://lake/bob/x", "READ", "&durationSeconds=3600").await);
}

#[tokio::test]
async fn what_ends_sooner_than_a_client_would_keep_it_is_not_to_be_kept() {
    let held = Held::new().await;
    held.world.change_storage(None, 3299).await;
    for (target, more, matched) in [
        ("s3://lake/bob/x", "", "s3://lake/bob/x"),
        ("s3://lake/bob/", "", "s3://lake/bob/"),
        ("s3://vault", "", "s3://vault"),
        // Who says how long, or what starts so, knows.
        ("s3://lake/bob/x", "&durationSeconds=900", "s3://lake/bob/*"),
        ("s3://lake/bob/sub/*", "", "s3://lake/bob/*"),
    ] {
        let (key, told) = held.vended(&held.ask(target, "READ", more).await);
        assert_eq!(told, matched, "{target} {more}");
        assert!(opens(&key).1 == Paths::Whole || opens(&key).1 == directory("bob"));
    }
    held.world.change_storage(None, 3300).await;
    assert_eq!(held.vended(&held.ask("s3://lake/bob/x", "READ", "").await).1, "s3://lake/bob/*");
}

#[tokio::test]
async fn a_vended_key_gets_what_it_opens_itself_and_ends_it() {
    let held = Held::new().await;
    let (lease_key, _) = held.vended(&held.ask("s3://lake/bob/images/*", "READ", "&privilege=Minimal").await);
    let ask =
        async |key: &Key, target: &str| held.get(key, &format!("/dataaccess?target={target}&permission=READ")).await;
    let (child, matched) = held.vended(&ask(&lease_key, "s3://lake/bob/images/x").await);
    assert_eq!((matched.as_str(), opens(&child).1), ("s3://lake/bob/images/*", one(Path::prefix(b"bob/images/"))));
    assert_eq!(claims(&child).narrowed_from, [claims(&lease_key).lease]);
    assert!(claims(&child).until <= claims(&lease_key).until);
    for target in ["s3://lake/bob/x", "s3://lake/bob/*", "s3://vault/x", "s3://lake/bob/reports/f"] {
        assert_eq!(refusal(&ask(&lease_key, target).await), (403, "AccessDenied".to_owned()), "{target}");
    }
    let listed = held.get(&lease_key, "/caller/grants").await;
    assert_eq!(all(&listed, "GrantScope"), ["s3://lake/bob/images/*"]);
    // Four keys in a row, and no more.
    let third = held.vended(&ask(&child, "s3://lake/bob/images/x").await).0;
    let fourth = held.vended(&ask(&third, "s3://lake/bob/images/x").await).0;
    assert_eq!(refusal(&ask(&fourth, "s3://lake/bob/images/x").await).0, 403);
    let by = Revoker { by: held.caller, at: held.world.clock.now() };
    held.world.memory.revoke(Revocation::Lease(claims(&lease_key).lease), by).await.unwrap();
    for key in [&lease_key, &child, &fourth] {
        assert_eq!(refusal(&ask(key, "s3://lake/bob/images/x").await), (400, "ExpiredToken".to_owned()));
    }
    // A key of everyone's grant gets that grant.
    let daily = held.world.key_of(&held.world.token("reader").await, "daily").await;
    let (_, matched) = held.vended(&ask(&daily, "s3://lake/flights/daily/x").await);
    assert_eq!(matched, "s3://lake/flights/daily/*");
}

#[tokio::test]
async fn who_proves_nothing_gets_nothing() {
    let held = Held::new().await;
    let path = format!("{PATH}/dataaccess?target=s3://vault/x&permission=READ");
    let send = async |change: &dyn Fn(&mut Request<Body>)| {
        let mut request = held.world.signed(&held.parent, &Method::GET, &path);
        change(&mut request);
        refusal(&held.world.send(request).await)
    };
    let set = |name: &'static str, value: &'static str| {
        move |request: &mut Request<Body>| drop(request.headers_mut().insert(name, value.parse().unwrap()))
    };
    let uri = |from: &'static str, to: &'static str| {
        move |request: &mut Request<Body>| {
            *request.uri_mut() = request.uri().to_string().replace(from, to).parse().unwrap();
        }
    };
    let denied = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(send(&|request| drop(request.headers_mut().remove("authorization"))).await, denied(403, "AccessDenied"));
    assert_eq!(send(&set("authorization", "Bearer vkt_x")).await, denied(400, "AuthorizationHeaderMalformed"));
    assert_eq!(send(&set("host", "other.test")).await, denied(403, "SignatureDoesNotMatch"));
    assert_eq!(send(&set(ACCOUNT_ID, "123456789012")).await, denied(403, "SignatureDoesNotMatch"));
    let zeros: &'static str = "0".repeat(64).leak();
    assert_eq!(send(&set("x-amz-content-sha256", zeros)).await, denied(403, "SignatureDoesNotMatch"));
    assert_eq!(send(&set("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")).await, denied(400, "BadDigest"));
    assert_eq!(send(&set("x-amz-checksum-crc32", "x")).await, denied(400, "AuthorizationHeaderMalformed"));
    for (from, to) in [("vault", "lake"), ("READ", "READWRITE"), ("dataaccess", "caller/grants")] {
        assert_eq!(send(&uri(from, to)).await, denied(403, "SignatureDoesNotMatch"), "{to}");
    }
    let with = async |change: &dyn Fn(&mut Key)| {
        let mut key = held.parent.clone();
        change(&mut key);
        refusal(&held.world.send(held.world.signed(&key, &Method::GET, &path)).await)
    };
    assert_eq!(with(&|key| key.secret = Secret::new("x".repeat(64))).await, denied(403, "SignatureDoesNotMatch"));
    assert_eq!(with(&|key| key.id = "0".repeat(32)).await, denied(403, "InvalidAccessKeyId"));
    assert_eq!(with(&|key| key.token = Some(Secret::new("vks2.x".to_owned()))).await, denied(400, "InvalidToken"));
    // Whose account it says to be is the caller's own, in each place where it is said.
    let other = held.world.account_id("globex").await;
    assert_eq!(with(&|key| key.account = other).await, denied(403, "AccessDenied"));
    let request = held.world.signed(&held.parent, &Method::GET, &path);
    assert_eq!(held.world.send(request).await.status, StatusCode::OK);
    held.world.clock.advance_secs(901);
    let late = held.world.signed(&held.parent, &Method::GET, &path);
    held.world.clock.advance_secs(901);
    assert_eq!(refusal(&held.world.send(late).await), denied(403, "RequestTimeTooSkewed"));
    let by = Revoker { by: held.caller, at: held.world.clock.now() };
    held.world.memory.revoke_token(held.token, by).await.unwrap();
    let request = held.world.signed(&held.parent, &Method::GET, &path);
    assert_eq!(refusal(&held.world.send(request).await), denied(403, "InvalidAccessKeyId"));
}

#[tokio::test]
async fn the_account_is_in_the_host_or_in_a_header_and_the_same_in_both() {
    let held = Held::new().await;
    let own = account_number(held.parent.account);
    let path = format!("{PATH}/caller/grants");
    let send = async |host: &str, header: Option<&str>| {
        let headers = header.map_or(("accept", "x"), |number| (ACCOUNT_ID, number));
        let signing = Signing {
            method: "GET",
            host,
            path: &path,
            query: "",
            header: headers,
            body_sha256: &sha256(b""),
            region: "",
            service: "s3",
        };
        let who =
            Signer { access_key_id: &held.parent.id, secret_access_key: &held.parent.secret, session_token: None };
        let signed = sign(&signing, &who, held.world.clock.now());
        let request = Request::get(&path).header("host", host).header(headers.0, headers.1);
        let request = request.header("x-amz-date", signed.date).header("authorization", signed.authorization);
        held.world.send(request.body(Body::empty()).unwrap()).await
    };
    let named = format!("{own}.valet.example");
    for (host, header) in
        [(&*named, None), (&*named, Some(&*own)), (HOST, Some(&*own)), ("127.0.0.1:7070", Some(&*own))]
    {
        assert_eq!(send(host, header).await.status, StatusCode::OK, "{host} {header:?}");
    }
    assert_eq!(refusal(&send(HOST, None).await), (400, "InvalidRequest".to_owned()));
    assert_eq!(refusal(&send(&named, Some("123456789012")).await), (400, "InvalidRequest".to_owned()));
    assert_eq!(refusal(&send("123456789012.valet.example", None).await), (403, "AccessDenied".to_owned()));
}

#[tokio::test]
async fn a_body_is_left_out_of_a_signature_only_where_there_is_none() {
    let held = Held::new().await;
    let (path, number) = (format!("{PATH}/caller/grants"), account_number(held.parent.account));
    for (said, body, status) in [(true, "", 200), (true, "x", 403), (false, "", 200), (false, "x", 403)] {
        let signing = Signing {
            method: "GET",
            host: HOST,
            path: &path,
            query: "",
            header: (ACCOUNT_ID, &number),
            body_sha256: "UNSIGNED-PAYLOAD",
            region: "us-east-1",
            service: "s3",
        };
        let who =
            Signer { access_key_id: &held.parent.id, secret_access_key: &held.parent.secret, session_token: None };
        let signed = sign(&signing, &who, held.world.clock.now());
        let request = Request::get(&path).header("host", HOST).header(ACCOUNT_ID, &number);
        let request = request.header("x-amz-date", signed.date).header("authorization", signed.authorization);
        let request = if said { request.header("x-amz-content-sha256", "UNSIGNED-PAYLOAD") } else { request };
        let shot = held.world.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(shot.status.as_u16(), status, "{said} {body}: {}", shot.body);
    }
}

#[tokio::test]
async fn a_url_that_was_signed_lists_and_makes_no_credential() {
    let held = Held::new().await;
    let (now, number) = (held.world.clock.now(), account_number(held.parent.account));
    for (path, query, status) in [
        (format!("{PATH}/caller/grants"), String::new(), 200),
        (format!("{PATH}/dataaccess"), canonical("target=s3://vault/x&permission=READ"), 403),
    ] {
        // Signed as a URL is, with the account in the host.
        let host = format!("{number}.valet.example");
        let date = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = now.strftime("%Y%m%d").to_string();
        let scope = format!("{day}/us-east-1/s3/aws4_request");
        let proof = canonical(&format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}/{scope}&X-Amz-Date={date}&X-Amz-Expires=600&X-Amz-SignedHeaders=host",
            held.parent.id
        ));
        let query = if query.is_empty() { proof } else { format!("{proof}&{query}") };
        let request = format!("GET\n{path}\n{query}\nhost:{host}\n\nhost\n{}", sha256(b""));
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(request.as_bytes()));
        let mac = |key: &[u8], text: &str| {
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
            aws_lc_rs::hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
        };
        let key = format!("AWS4{}", held.parent.secret.reveal());
        let key = [&*day, "us-east-1", "s3", "aws4_request"].iter().fold(key.into_bytes(), |key, part| mac(&key, part));
        let signature = data_encoding::HEXLOWER.encode(&mac(&key, &to_sign));
        let url = format!("{path}?{query}&X-Amz-Signature={signature}");
        let shot = held.world.send(Request::get(url).header("host", host).body(Body::empty()).unwrap()).await;
        assert_eq!(shot.status.as_u16(), status, "{}", shot.body);
        assert!(status == 200 || shot.body.contains("a presigned URL"), "{}", shot.body);
    }
}

#[tokio::test]
async fn what_a_caller_has_is_listed_by_pages_and_found_by_its_id() {
    let held = Held::new().await;
    let listed = held.get(&held.parent, "/caller/grants").await;
    let rows: Vec<(&str, &str)> = all(&listed, "GrantScope").into_iter().zip(all(&listed, "Permission")).collect();
    let mut sorted = rows.clone();
    sorted.sort_unstable();
    assert_eq!(
        sorted,
        [
            ("s3://lake/bob", "READ"),
            ("s3://lake/bob/*", "READ"),
            ("s3://lake/bob/reports/*", "READWRITE"),
            ("s3://lake/half", "READ"),
            ("s3://lake/half/*", "READ"),
            ("s3://lake/in*", "WRITE"),
            ("s3://lake/one.csv", "READWRITE"),
            ("s3://vault/*", "READWRITE"),
        ]
    );
    // Page by page it is the same.
    let (mut paged, mut token) = (Vec::new(), String::new());
    loop {
        let shot = held.get(&held.parent, &format!("/grants?maxResults=3&nextToken={token}")).await;
        let ids = all(&shot, "AccessGrantId");
        assert!(ids.len() <= 3);
        for (id, scope) in ids.into_iter().zip(all(&shot, "GrantScope")) {
            let got = held.get(&held.parent, &format!("/grant/{id}")).await;
            assert_eq!((text(&got, "GrantScope").as_str(), text(&got, "AccessGrantId").as_str()), (scope, id));
            let location = held.get(&held.parent, &format!("/location/{}", text(&got, "AccessGrantsLocationId"))).await;
            assert_eq!(format!("{}/{}", text(&location, "LocationScope"), text(&got, "S3SubPrefix")), scope);
            paged.push(scope.to_owned());
        }
        match all(&shot, "NextToken").first() {
            Some(next) => token = (*next).to_owned(),
            None => break,
        }
    }
    assert_eq!(paged, rows.iter().map(|(scope, _)| *scope).collect::<Vec<_>>());
    for (rest, count) in [
        ("/caller/grants?grantscope=s3://lake/bob", 3),
        ("/caller/grants?grantscope=s3://l&maxResults=0", 7),
        ("/caller/grants?allowedByApplication=true", 0),
        ("/grants?permission=READWRITE", 3),
        ("/grants?granteetype=IAM&application_arn=ALL", 8),
        ("/grants?granteetype=DIRECTORY_USER", 0),
        ("/grants?granteeidentifier=arn:aws:iam::123456789012:user/job", 0),
        ("/locations?locationscope=s3://v", 0),
    ] {
        assert_eq!(all(&held.get(&held.parent, rest).await, "GrantScope").len(), count, "{rest}");
    }
    let locations = held.get(&held.parent, "/locations").await;
    let mut scopes = all(&locations, "LocationScope");
    scopes.sort_unstable();
    assert_eq!(scopes, ["s3://lake", "s3://vault"]);
    for rest in ["/caller/grants?grantscope=lake", "/grants?maxResults=1001", "/grants?nextToken=A/B", "/prefix"] {
        assert_eq!(refusal(&held.get(&held.parent, rest).await).0, 400, "{rest}");
    }
    // What is another's is not there.
    let reader = held.world.key_of(&held.world.token("reader").await, "daily").await;
    assert_eq!(
        all(&held.get(&reader, "/caller/grants").await, "GrantScope"),
        ["s3://lake/flights/daily", "s3://lake/flights/daily/*"]
    );
    let id = text(&held.get(&held.parent, "/grants").await, "AccessGrantId");
    let missing = held.get(&reader, &format!("/grant/{id}")).await;
    assert_eq!(refusal(&missing), (404, "NoSuchAccessGrantError".to_owned()));
    let never = held.get(&reader, "/grant/none").await;
    assert_eq!(text(&never, "Message"), text(&missing, "Message"));
    let vault = all(&locations, "AccessGrantsLocationId");
    for id in vault.iter().filter(|_| true) {
        let own = text(&held.get(&held.parent, &format!("/location/{id}")).await, "LocationScope");
        let shot = held.get(&reader, &format!("/location/{id}")).await;
        assert_eq!(shot.status == StatusCode::OK, own == "s3://lake", "{}", shot.body);
    }
    for (key, prefix, status) in [
        (&held.parent, "s3://vault/any/thing", 200),
        (&held.parent, "s3://lake", 200),
        (&reader, "s3://vault/any", 404),
        (&held.parent, "s3://nothing", 404),
    ] {
        let shot = held.get(key, &format!("/prefix?s3prefix={prefix}")).await;
        assert_eq!(shot.status.as_u16(), status, "{prefix}: {}", shot.body);
        assert!(status == 200 || text(&shot, "Code") == "AccessGrantsInstanceNotExistsError");
    }
    let one = held.get(&held.parent, "").await;
    assert_eq!(text(&one, "AccessGrantsInstanceId"), "default");
    let shot = held.world.send(held.world.signed(&held.parent, &Method::GET, "/v20180820/accessgrantsinstances")).await;
    assert_eq!(all(&shot, "AccessGrantsInstanceArn"), [text(&one, "AccessGrantsInstanceArn")]);
}

#[tokio::test]
async fn nothing_is_changed_here() {
    let held = Held::new().await;
    for (method, rest) in [
        (Method::POST, ""),
        (Method::DELETE, ""),
        (Method::POST, "/grant"),
        (Method::DELETE, "/grant/x"),
        (Method::POST, "/location"),
        (Method::PUT, "/location/x"),
        (Method::DELETE, "/location/x"),
    ] {
        let shot = held.world.send(held.world.signed(&held.parent, &method, &format!("{PATH}{rest}"))).await;
        assert_eq!(refusal(&shot), (501, "NotImplemented".to_owned()), "{method} {rest}");
    }
    let refused = held.world.memory.refusals();
    assert!(refused.iter().all(|one| one.kind == Kind::Unsupported && one.caller == Some(held.caller)));
}
