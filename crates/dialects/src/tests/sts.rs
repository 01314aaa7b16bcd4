//! AWS STS: who signs, what is vended, and what is refused beside it.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use http::{Method, Request, StatusCode};
use valetkey_core::ask::{Ask, Asked, GrantRef, Target, Wanted};
use valetkey_core::caller::Role;
use valetkey_core::credential::S3Keys;
use valetkey_core::grant::Grantee;
use valetkey_core::id::{CallerId, LeaseId, TokenId};
use valetkey_core::keyring::{Carried, SessionClaims};
use valetkey_core::lease::{Revocation, Revoker};
use valetkey_core::name::Name;
use valetkey_core::nouns::parent::{NewParent, ParentAdmin as _, Permission};
use valetkey_core::nouns::registry::LeaseFilter;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::port::Revocations as _;
use valetkey_core::scope::{Action, Actions, Path, Paths};
use valetkey_core::storage::Shape;
use valetkey_core::time::{Clock as _, Lifetime};
use valetkey_core::token::{Maker, PlainToken};
use valetkey_core::{Kind, Secret};
use valetkey_sigv4::{Signer, Signing, sha256, sign};

use super::world::{Shot, World, bucket, directory, ring};
use crate::edge::{Entry, Mounted};
use crate::sts;

const HOST: &str = "api.test";
const FORM: &str = "application/x-www-form-urlencoded";

/// A key to sign with.
#[derive(Clone)]
struct Key {
    id: String,
    secret: Secret<String>,
    token: Option<Secret<String>>,
}

impl Key {
    fn of(keys: &S3Keys) -> Self {
        let S3Keys { access_key_id, secret_access_key, session_token, expiration: _ } = keys;
        Self { id: access_key_id.clone(), secret: secret_access_key.clone(), token: Some(session_token.clone()) }
    }
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn form(fields: &[(&str, &str)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
    aws_lc_rs::hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

/// What is changed of a request after it was signed.
type Change = fn(&mut Request<Body>);

/// How a request is signed.
#[derive(Clone, Copy)]
struct How {
    service: &'static str,
    region: &'static str,
    path: &'static str,
    late_secs: i64,
}

const USUAL: How = How { service: "sts", region: "eu-west-1", path: "/sts", late_secs: 0 };

/// A caller with a parent access key to the bucket `vault`, and with a grant to some of `lake`.
struct Held {
    world: World,
    caller: CallerId,
    token: TokenId,
    parent: Key,
}

impl Held {
    async fn new() -> Self {
        Self::in_world(World::new().await).await
    }

    async fn in_world(world: World) -> Self {
        let now = world.clock.now();
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
        let record = world.memory.create_parent(new, &token, now).await.unwrap();
        let (id, caller) = (record.token.id, record.token.caller);
        let parent = Key { id: id.as_hex(), secret: token.secret_access_key(), token: None };
        Self { world, caller, token: id, parent }
    }

    fn signed(&self, key: &Key, how: How, query: &str, body: &str) -> Request<Body> {
        let How { service, region, path, late_secs } = how;
        let now = self.world.clock.now() - jiff::SignedDuration::from_secs(late_secs);
        let signing = Signing {
            method: "POST",
            host: HOST,
            path,
            query,
            header: ("content-type", FORM),
            body_sha256: &sha256(body.as_bytes()),
            region,
            service,
        };
        let who = Signer { access_key_id: &key.id, secret_access_key: &key.secret, session_token: key.token.as_ref() };
        let signed = sign(&signing, &who, now);
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let request = Request::post(target).header("host", HOST).header("content-type", FORM);
        let request = request.header("x-amz-date", signed.date).header("authorization", signed.authorization);
        let token = key.token.iter().map(|token| token.reveal().as_str());
        let request = token.fold(request, |request, token| request.header("x-amz-security-token", token));
        request.body(Body::from(body.to_owned())).unwrap()
    }

    async fn ask(&self, key: &Key, fields: &[(&str, &str)]) -> Shot {
        let fields = [&[("Version", "2011-06-15")][..], fields].concat();
        self.world.send(self.signed(key, USUAL, "", &form(&fields))).await
    }

    async fn assume(&self, key: &Key, role: &str, more: &[(&str, &str)]) -> Shot {
        let arn = format!("arn:aws:iam:::role/{role}");
        let fields = [&[("Action", "AssumeRole"), ("RoleArn", &arn), ("RoleSessionName", "night")][..], more].concat();
        self.ask(key, &fields).await
    }

    /// A credential of a place, as any other dialect vends it.
    async fn vended(&self, caller: &str, target: Target, secs: u32) -> (LeaseId, Key) {
        let (vending, token) = (&self.world.shared.vending, self.world.token(caller).await);
        let caller = vending.identify(&token).await.unwrap();
        let ask = Ask {
            dialect: "test",
            target,
            wanted: Wanted::at_most(Actions::READ_WRITE),
            lifetime: Asked::For(Lifetime::secs(secs)),
            carries: Shape::ALL,
        };
        let vended = vending.vend(&caller, &ask).await.unwrap();
        (vended.lease.id, Key::of(vended.credential.s3().unwrap()))
    }

    async fn daily(&self) -> (LeaseId, Key) {
        self.vended("reader", Target::Grant { grant: GrantRef::parse("daily").unwrap(), paths: None }, 7200).await
    }

    fn revoker(&self) -> Revoker {
        Revoker { by: self.caller, at: self.world.clock.now() }
    }
}

/// What stands in the first element of that name.
fn text(shot: &Shot, name: &str) -> String {
    let (start, end) = (format!("<{name}>"), format!("</{name}>"));
    let found =
        shot.body.split_once(&start).and_then(|(_, rest)| rest.split_once(&end)).map(|(text, _)| text.to_owned());
    found.unwrap_or_else(|| panic!("no {name} in {}", shot.body))
}

fn key_of(shot: &Shot) -> Key {
    assert_eq!(shot.status, StatusCode::OK, "{}", shot.body);
    Key {
        id: text(shot, "AccessKeyId"),
        secret: Secret::new(text(shot, "SecretAccessKey")),
        token: Some(Secret::new(text(shot, "SessionToken"))),
    }
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

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn a_parent_access_key_assumes_a_grant_and_its_lease_is_on_record() {
    let held = Held::new().await;
    let shot = held.assume(&held.parent, "job.vault", &[("DurationSeconds", "900"), ("SourceIdentity", "ann")]).await;
    assert!(shot.body.starts_with(
        r#"<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>"#
    ));
    assert_eq!(shot.headers["content-type"], "text/xml");
    assert_eq!(text(&shot, "RequestId"), shot.headers["x-amzn-requestid"].to_str().unwrap());
    assert_eq!(shot.headers["x-amzn-requestid"], shot.headers["x-request-id"]);
    let arn = text(&shot, "Arn");
    assert!(arn.starts_with("arn:aws:sts::") && arn.ends_with(":assumed-role/job.vault/night"), "{arn}");
    assert!(text(&shot, "AssumedRoleId").starts_with("AROA") && text(&shot, "SourceIdentity") == "ann");
    let key = key_of(&shot);
    let until = held.world.clock.now() + jiff::SignedDuration::from_secs(900);
    assert_eq!(text(&shot, "Expiration"), format!("{until:.0}"));
    let (bucket, paths, actions) = opens(&key);
    assert_eq!((bucket.as_str(), paths), ("vault", Paths::Whole));
    assert_eq!(actions, Actions::READ_WRITE);
    let filter = LeaseFilter { limit: 9, ..LeaseFilter::default() };
    let leases = held.world.memory.leases(&filter).await.unwrap();
    let [record] = leases.as_slice() else { panic!("{leases:?}") };
    assert_eq!(
        (record.lease.id, &*record.lease.dialect, record.lease.caller),
        (claims(&key).lease, "sts", held.caller)
    );
    // Without a role it is the only grant; and the caller is who it is.
    let shot = held.ask(&held.parent, &[("Action", "AssumeRole")]).await;
    assert_eq!(opens(&key_of(&shot)).0, "vault");
    let shot = held.ask(&held.parent, &[("Action", "GetCallerIdentity")]).await;
    assert!(text(&shot, "Arn").ends_with(":user/job") && text(&shot, "UserId") == held.caller.to_string());
    assert_eq!(text(&shot, "Account").len(), 12);
    let shot = held.ask(&key, &[("Action", "GetCallerIdentity")]).await;
    let lease = claims(&key).lease;
    assert!(text(&shot, "Arn").ends_with(&format!(":assumed-role/job.vault/{lease}")), "{}", shot.body);
}

#[tokio::test]
async fn a_grant_that_is_not_the_keys_is_not_told_from_one_that_there_is_not() {
    let held = Held::new().await;
    let account = held.world.account_id("acme").await;
    let own = held.assume(&held.parent, "job.vault", &[]).await;
    let number = text(&own, "Arn").split(':').nth(4).unwrap().to_owned();
    // `daily` is everyone's of the account, and so not the key's to hand on; `work` is another caller's.
    for role in ["none", "work", "jobs", "vault", "Not A Name", "job.vault-secret"] {
        let shot = held.assume(&held.parent, role, &[]).await;
        assert_eq!(refusal(&shot), refused(403, "AccessDenied"), "{role}: {}", shot.body);
        let said = text(&shot, "Message");
        let (said, _) = said.split_once("; Encoded authorization failure message: ").unwrap();
        assert_eq!(
            said,
            format!(
                "User: arn:aws:iam::{number}:user/job is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam:::role/{role}"
            )
        );
    }
    let shot = held.assume(&held.parent, "daily", &[]).await;
    assert_eq!(refusal(&shot), refused(403, "AccessDenied"));
    let arn = format!("arn:aws:iam::{}:role/job.vault", "1".repeat(12));
    let shot = held.ask(&held.parent, &[("Action", "AssumeRole"), ("RoleArn", &arn)]).await;
    assert_eq!(refusal(&shot), refused(403, "AccessDenied"));
    let by_id =
        held.world.memory.grants(account).await.unwrap().into_iter().find(|grant| grant.name.as_str() == "job.vault");
    assert_eq!(held.assume(&held.parent, &by_id.unwrap().id.to_string(), &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_credential_is_narrowed_and_never_more() {
    let held = Held::new().await;
    let (lease, key) = held.daily().await;
    let policy = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::lake/flights/daily/2026/*"}}"#;
    let inside = Paths::only([Path::prefix(b"flights/daily/2026/").unwrap()]).unwrap();
    for more in [
        vec![("Action", "GetScopedCredentials")],
        vec![("Action", "AssumeRole")],
        vec![("Action", "AssumeRole"), ("RoleArn", "arn:aws:iam:::role/daily")],
        vec![("Action", "AssumeRole"), ("RoleArn", "arn:aws:iam:::role/valetkey")],
    ] {
        let shot = held.ask(&key, &[&more[..], &[("Policy", policy)]].concat()).await;
        let child = key_of(&shot);
        assert_eq!(opens(&child), ("lake".to_owned(), inside.clone(), Actions::of(&[Action::GetObject])), "{more:?}");
        let claims = claims(&child);
        assert_eq!(claims.narrowed_from, [lease], "{more:?}");
        assert!(claims.until <= super::sts::claims(&key).until);
    }
    let shot =
        held.ask(&key, &[("Action", "GetScopedCredentials"), ("Policy", policy), ("DurationSeconds", "120")]).await;
    assert_eq!(text(&shot, "ScopedPoliciesCount"), "1");
    assert!(text(&shot, "Arn").ends_with(&format!(":assumed-role/daily/{lease}")), "{}", shot.body);
    // Not wider: neither a sibling, nor another action, nor longer.
    let wider =
        |action: &str, place: &str| policy.replace("s3:GetObject", action).replace("lake/flights/daily/2026/*", place);
    for (policy, status) in [
        (wider("s3:GetObject", "lake/flights/*"), 200),
        (wider("s3:*", "lake/flights/daily/2026/*"), 200),
        (wider("s3:GetObject", "lake/flights/daily-secret/*"), 403),
        (wider("s3:GetObject", "vault/*"), 403),
        (wider("s3:PutObject", "lake/flights/daily/*"), 403),
    ] {
        for action in ["GetScopedCredentials", "AssumeRole"] {
            let shot = held.ask(&key, &[("Action", action), ("Policy", &policy), ("DurationSeconds", "129600")]).await;
            assert_eq!(shot.status.as_u16(), status, "{action} {policy}: {}", shot.body);
            if status == 200 {
                let (_, paths, actions) = opens(&key_of(&shot));
                let (_, most, may) = opens(&key);
                assert!(most.cover_paths(&paths) && may.contains_all(actions), "{action} {policy}");
                assert_eq!(claims(&key_of(&shot)).until, claims(&key).until);
            }
        }
    }
    // With the key of another grant nothing of this one: not by its name either.
    let (_, other) =
        held.vended("writer", Target::Grant { grant: GrantRef::parse("work").unwrap(), paths: None }, 3600).await;
    for role in ["daily", "none"] {
        assert_eq!(refusal(&held.assume(&other, role, &[]).await), refused(403, "AccessDenied"), "{role}");
    }
    assert_eq!(held.assume(&other, "work", &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_was_narrowed_ends_with_what_it_was_narrowed_from() {
    let held = Held::new().await;
    let (lease, key) = held.daily().await;
    let mut last = key.clone();
    for count in 1..=3 {
        let shot = held.ask(&last, &[("Action", "GetScopedCredentials"), ("DurationSeconds", "600")]).await;
        assert_eq!(text(&shot, "ScopedPoliciesCount"), count.to_string());
        last = key_of(&shot);
    }
    let shot = held.ask(&last, &[("Action", "GetScopedCredentials"), ("DurationSeconds", "600")]).await;
    assert_eq!(refusal(&shot), refused(403, "AccessDenied"), "{}", shot.body);
    assert_eq!(claims(&last).narrowed_from.first(), Some(&lease));
    let memory = &held.world.memory;
    let ended = |key: &Key| claims(key).origins().iter().any(|origin| memory.is_revoked(origin));
    assert!(!ended(&last));
    let middle = *claims(&last).narrowed_from.last().unwrap();
    memory.revoke(Revocation::Lease(middle), held.revoker()).await.unwrap();
    assert!(ended(&last) && !ended(&key));
    assert_eq!(refusal(&held.ask(&last, &[("Action", "GetCallerIdentity")]).await), refused(403, "ExpiredToken"));
    assert_eq!(held.ask(&key, &[("Action", "GetCallerIdentity")]).await.status, StatusCode::OK);
    memory.revoke(Revocation::Lease(lease), held.revoker()).await.unwrap();
    let shot = held.ask(&key, &[("Action", "GetScopedCredentials"), ("DurationSeconds", "600")]).await;
    assert_eq!(refusal(&shot), refused(403, "ExpiredToken"));
    // One whose time is over, and one whose caller is gone.
    let (_, key) = held.daily().await;
    held.world.clock.advance_secs(7200);
    assert_eq!(refusal(&held.ask(&key, &[("Action", "GetCallerIdentity")]).await), refused(403, "ExpiredToken"));
}

#[tokio::test]
async fn who_proves_nothing_is_refused_in_the_words_that_sdks_know() {
    let held = Held::new().await;
    let (_, vended) = held.daily().await;
    let identity = form(&[("Action", "GetCallerIdentity"), ("Version", "2011-06-15")]);
    let how = |how: How| (held.parent.clone(), how);
    let with = |change: &dyn Fn(&mut Key)| {
        let mut key = vended.clone();
        change(&mut key);
        (key, USUAL)
    };
    let tampered = |at: usize| {
        let mut text = vended.token.as_ref().unwrap().reveal().clone().into_bytes();
        text[at] = if text[at] == b'A' { b'B' } else { b'A' };
        Some(Secret::new(String::from_utf8(text).unwrap()))
    };
    let (_, other) =
        held.vended("writer", Target::Grant { grant: GrantRef::parse("work").unwrap(), paths: None }, 3600).await;
    for ((key, how), status, code) in [
        (how(USUAL), 200, ""),
        (how(How { region: "", ..USUAL }), 200, ""),
        (how(How { region: "auto", ..USUAL }), 200, ""),
        (how(How { late_secs: 890, ..USUAL }), 200, ""),
        (how(How { late_secs: 910, ..USUAL }), 403, "SignatureDoesNotMatch"),
        (how(How { late_secs: -910, ..USUAL }), 403, "SignatureDoesNotMatch"),
        (how(How { service: "s3", ..USUAL }), 403, "SignatureDoesNotMatch"),
        (with(&|_| {}), 200, ""),
        (with(&|key| key.secret = Secret::new("x".repeat(43))), 403, "SignatureDoesNotMatch"),
        (with(&|key| key.token = None), 403, "InvalidClientTokenId"),
        (with(&|key| key.token = tampered(60)), 403, "InvalidClientTokenId"),
        (with(&|key| key.token.clone_from(&other.token)), 403, "InvalidClientTokenId"),
        (with(&|key| key.id.clone_from(&other.id)), 403, "InvalidClientTokenId"),
        (with(&|key| key.id = "AKIAIOSFODNN7EXAMPLE".to_owned()), 403, "InvalidClientTokenId"),
        (with(&|key| key.id = "0".repeat(32)), 403, "InvalidClientTokenId"),
    ] {
        let shot = held.world.send(held.signed(&key, how, "", &identity)).await;
        assert_eq!(shot.status.as_u16(), status, "{code} {}", shot.body);
        assert!(status == 200 || text(&shot, "Code") == code, "{code}: {}", shot.body);
        assert!(!shot.headers.contains_key("www-authenticate"));
    }
    // What was changed after it was signed.
    let changes: [(&str, Change); 5] = [
        ("the body", |request| *request.body_mut() = Body::from("Action=GetSessionToken&Version=2011-06-15")),
        ("the region", |request| {
            let text = request.headers()["authorization"].to_str().unwrap().replace("eu-west-1", "us-east-1");
            request.headers_mut().insert("authorization", text.parse().unwrap());
        }),
        ("the host", |request| drop(request.headers_mut().insert("host", "other.test".parse().unwrap()))),
        ("the path", |request| *request.uri_mut() = "/sts/".parse().unwrap()),
        ("the query", |request| *request.uri_mut() = "/sts?RoleSessionName=x".parse().unwrap()),
    ];
    for (what, change) in changes {
        let mut request = held.signed(&held.parent, USUAL, "", &identity);
        change(&mut request);
        assert_eq!(refusal(&held.world.send(request).await), refused(403, "SignatureDoesNotMatch"), "{what}");
    }
    let strange: [(&str, Change, u16, &str); 5] = [
        ("unsigned", |request| drop(request.headers_mut().remove("authorization")), 403, "MissingAuthenticationToken"),
        (
            "an unsigned header",
            |request| drop(request.headers_mut().insert("x-amz-target", "x".parse().unwrap())),
            400,
            "IncompleteSignature",
        ),
        (
            "a bearer token",
            |request| drop(request.headers_mut().insert("authorization", "Bearer vkt_x".parse().unwrap())),
            400,
            "IncompleteSignature",
        ),
        (
            "twice",
            |request| {
                request.headers_mut().append("authorization", "AWS4-HMAC-SHA256 x".parse().unwrap());
            },
            400,
            "IncompleteSignature",
        ),
        ("no date", |request| drop(request.headers_mut().remove("x-amz-date")), 400, "IncompleteSignature"),
    ];
    for (what, change, status, code) in strange {
        let mut request = held.signed(&held.parent, USUAL, "", &identity);
        change(&mut request);
        assert_eq!(refusal(&held.world.send(request).await), refused(status, code), "{what}");
    }
    // A parent that is ended proves nothing any more.
    held.world.memory.revoke_token(held.token, held.revoker()).await.unwrap();
    let shot = held.world.send(held.signed(&held.parent, USUAL, "", &identity)).await;
    assert_eq!(refusal(&shot), refused(403, "InvalidClientTokenId"));
}

#[tokio::test]
async fn nothing_is_asked_with_a_key_that_ended_while_the_body_came() {
    let held = Held::new().await;
    let body = form(&[("Action", "AssumeRole")]);
    let request = held.signed(&held.parent, USUAL, "", &body);
    let (memory, token, by) = (Arc::clone(&held.world.memory), held.token, held.revoker());
    let (first, last) = body.split_at(body.len() - 1);
    let (first, last) = (first.to_owned(), last.to_owned());
    let late = async move {
        memory.revoke_token(token, by).await.unwrap();
        Ok::<_, std::io::Error>(last)
    };
    let whole = futures::StreamExt::chain(futures::stream::iter([Ok(first)]), futures::stream::once(late));
    let request = request.map(|_| Body::from_stream(whole));
    assert_eq!(refusal(&held.world.send(request).await), refused(403, "InvalidClientTokenId"));
    // Of who says to have a key that there is not, nothing is read.
    let mut unread = held.signed(&Key { id: "0".repeat(32), ..held.parent.clone() }, USUAL, "", &body);
    let untouched = futures::stream::poll_fn(|_| -> std::task::Poll<Option<Result<String, std::io::Error>>> {
        panic!("the body was read")
    });
    *unread.body_mut() = Body::from_stream(untouched);
    assert_eq!(refusal(&held.world.send(unread).await), refused(403, "InvalidClientTokenId"));
}

#[tokio::test]
async fn a_url_that_was_signed_tells_who_it_is_and_makes_nothing() {
    let held = Held::new().await;
    let now = held.world.clock.now();
    let url = |action: &str, expires: u32, at: jiff::Timestamp| {
        // In the order that a signature has them.
        let date = at.strftime("%Y%m%dT%H%M%SZ").to_string();
        let scope = format!("{}/eu-west-1/sts/aws4_request", date.get(..8).unwrap());
        let query = format!(
            "Action={action}&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={date}\
             &X-Amz-Expires={expires}&X-Amz-SignedHeaders=host",
            format!("{}/{scope}", held.parent.id).replace('/', "%2F"),
        );
        let canonical = format!("GET\n/sts\n{query}\nhost:{HOST}\n\nhost\n{}", sha256(b""));
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
        let key = scope
            .split('/')
            .fold(format!("AWS4{}", held.parent.secret.reveal()).into_bytes(), |key, part| mac(&key, part));
        format!("/sts?{query}&X-Amz-Signature={}", data_encoding::HEXLOWER.encode(&mac(&key, &text)))
    };
    let get = async |url: &str| {
        let request = Request::get(url).header("host", HOST).body(Body::empty()).unwrap();
        held.world.send(request).await
    };
    let good = url("GetCallerIdentity", 60, now);
    for _ in 0..2 {
        assert!(text(&get(&good).await, "Arn").ends_with(":user/job"), "a URL may be used again while it is good");
    }
    assert_eq!(
        refusal(&get(&good.replace("X-Amz-Expires=60", "X-Amz-Expires=61")).await),
        refused(403, "SignatureDoesNotMatch")
    );
    held.world.clock.advance_secs(61);
    assert_eq!(refusal(&get(&good).await), refused(403, "SignatureDoesNotMatch"));
    // A GET makes no credential, and neither does a POST whose proof is in its URL.
    let vend = url("GetSessionToken", 60, held.world.clock.now());
    assert_eq!(get(&vend).await.status, StatusCode::METHOD_NOT_ALLOWED);
    let posted = vend.replacen("GET", "POST", 0);
    let request = Request::post(posted).header("host", HOST).body(Body::empty()).unwrap();
    assert_eq!(held.world.send(request).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_identity_token_assumes_what_its_caller_was_granted() {
    let held = Held::new().await;
    let world = &held.world;
    let ask = async |token: &str, more: &str| {
        let query = format!(
            "/sts?Action=AssumeRoleWithWebIdentity&DurationSeconds=3600&RoleArn=arn%3Aaws%3Aiam%3A%3A%3Arole%2F{more}&RoleSessionName=WebIdentitySession&Version=2011-06-15&WebIdentityToken={token}"
        );
        // As clients send it that put everything into the URL: without a body, or a type for it.
        world.send(Request::post(query).body(Body::empty()).unwrap()).await
    };
    let token = world.token("reader").await;
    let shot = ask(&token, "daily").await;
    assert_eq!(opens(&key_of(&shot)), ("lake".to_owned(), directory("flights/daily"), Actions::READ));
    assert_eq!(text(&shot, "SubjectFromWebIdentityToken"), world.caller_of("reader").await.to_string());
    assert_eq!(refusal(&ask(&token, "work").await), refused(403, "AccessDenied"));
    assert_eq!(refusal(&ask(&world.token("other").await, "daily").await), refused(403, "AccessDenied"));
    let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlIn0.c2ln";
    for bad in [jwt, "vkt_x", &format!("{token}x")] {
        assert_eq!(refusal(&ask(bad, "daily").await), refused(400, "InvalidIdentityToken"), "{bad}");
    }
    assert_eq!(refusal(&ask("", "daily").await), refused(400, "InvalidIdentityToken"));
    let (id, revoked) = world.token_of("reader", None).await;
    world.memory.revoke_token(id, held.revoker()).await.unwrap();
    assert_eq!(refusal(&ask(&revoked, "daily").await), refused(400, "InvalidIdentityToken"));
    let (_, expired) = world.token_of("reader", Some(10)).await;
    world.clock.advance_secs(10);
    assert_eq!(refusal(&ask(&expired, "daily").await), refused(400, "ExpiredTokenException"));
    let none = Request::post("/sts?Action=AssumeRoleWithWebIdentity").body(Body::empty()).unwrap();
    assert_eq!(refusal(&world.send(none).await), refused(400, "MissingParameter"));
}

#[tokio::test]
async fn a_policy_may_allow_different_things_in_different_places() {
    let held = Held::new().await;
    let policy = |write: &str, list: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":[
            {{"Effect":"Allow","Action":"s3:GetObject","Resource":["arn:aws:s3:::vault/x","arn:aws:s3:::vault/x/*"]}},
            {{"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::vault/{write}"}},
            {{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::vault","Condition":{{"StringLike":{{"s3:prefix":"{list}"}}}}}}]}}"#
        )
    };
    let rights = |shot: &Shot| {
        let Carried::Here(rights) = claims(&key_of(shot)).reach else { panic!("the rights are kept elsewhere") };
        rights
    };
    let prefix = |start: &str| Paths::only([Path::prefix(start.as_bytes()).unwrap()]).unwrap();
    let shot = held.assume(&held.parent, "valetkey", &[("Policy", &policy("x/tmp/*", "x/*"))]).await;
    let own = rights(&shot);
    assert_eq!(own.parts().iter().count(), 2);
    assert_eq!(own.paths_of(Action::GetObject), Some(&directory("x")));
    assert_eq!(own.paths_of(Action::ListBucket), Some(&directory("x")));
    assert_eq!(own.paths_of(Action::PutObject), Some(&prefix("x/tmp/")));
    assert_eq!(own.paths_of(Action::DeleteObject), None);
    // Narrowed once more: both parts, each to what is left of it.
    let key = key_of(&shot);
    for action in ["AssumeRole", "GetScopedCredentials"] {
        let narrower = policy("x/tmp/a*", "x/tmp/*");
        let shot = held.ask(&key, &[("Action", action), ("Policy", &narrower)]).await;
        let less = rights(&shot);
        assert_eq!(less.paths_of(Action::PutObject), Some(&prefix("x/tmp/a")), "{action}");
        assert_eq!(less.paths_of(Action::ListBucket), Some(&prefix("x/tmp/")), "{action}");
        assert!(own.cover_rights(&less) && !less.cover_rights(&own), "{action}");
        // What the key does not open is not given by a policy that names it.
        let wider = policy("*", "*");
        let shot = held.ask(&key, &[("Action", action), ("Policy", &wider)]).await;
        assert_eq!(rights(&shot), own, "{action}");
        let elsewhere = policy("y/*", "y/*");
        let shot = held.ask(&key, &[("Action", action), ("Policy", &elsewhere)]).await;
        assert_eq!(rights(&shot).actions(), Actions::of(&[Action::GetObject]), "{action}");
    }
    // Of a grant by its name, too.
    let shot = held.assume(&held.parent, "job.vault", &[("Policy", &policy("x/tmp/*", "x/*"))]).await;
    assert_eq!(rights(&shot), own);
}

#[tokio::test]
async fn sessions_of_a_long_lived_key() {
    let held = Held::new().await;
    let shot = held.ask(&held.parent, &[("Action", "GetSessionToken"), ("DurationSeconds", "129600")]).await;
    let session = key_of(&shot);
    assert_eq!(opens(&session).0, "vault");
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":["arn:aws:s3:::vault/x/*","arn:aws:s3:::vault/x"]}]}"#;
    let shot = held.ask(&held.parent, &[("Action", "GetFederationToken"), ("Name", "bob"), ("Policy", policy)]).await;
    assert!(text(&shot, "Arn").ends_with(":federated-user/bob") && text(&shot, "FederatedUserId").ends_with(":bob"));
    assert_eq!(opens(&key_of(&shot)).1, directory("x"));
    for (key, action, more, code) in [
        (&session, "GetSessionToken", vec![], refused(403, "AccessDenied")),
        (&session, "GetFederationToken", vec![("Name", "bob"), ("Policy", policy)], refused(403, "AccessDenied")),
        (&held.parent, "GetFederationToken", vec![("Name", "bob")], refused(403, "AccessDenied")),
        (&held.parent, "GetFederationToken", vec![("Policy", policy)], refused(400, "MissingParameter")),
        (
            &held.parent,
            "GetFederationToken",
            vec![("Name", "b b"), ("Policy", policy)],
            refused(400, "ValidationError"),
        ),
        (
            &held.parent,
            "GetScopedCredentials",
            vec![("DurationSeconds", "60")],
            refused(400, "InvalidSubjectCredentials"),
        ),
        (&session, "GetScopedCredentials", vec![], refused(400, "ValidationError")),
        (&session, "GetScopedCredentials", vec![("DurationSeconds", "0")], refused(400, "ValidationError")),
    ] {
        let shot = held.ask(key, &[&[("Action", action)][..], &more].concat()).await;
        assert_eq!(refusal(&shot), code, "{action} {more:?}: {}", shot.body);
    }
    // With two grants none is meant.
    held.world
        .grant(
            held.world.account_id("acme").await,
            "second",
            Some(held.caller),
            "lake",
            directory("z"),
            Actions::READ,
            None,
        )
        .await;
    assert_eq!(refusal(&held.ask(&held.parent, &[("Action", "GetSessionToken")]).await), refused(403, "AccessDenied"));
    assert_eq!(held.assume(&held.parent, "second", &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_a_request_says_is_held_to_its_rules() {
    let held = Held::new().await;
    let long = "x".repeat(2100);
    for (fields, status, code) in [
        (vec![("DurationSeconds", "899")], 400, "ValidationError"),
        (vec![("DurationSeconds", "+900")], 400, "ValidationError"),
        (vec![("DurationSeconds", "")], 400, "ValidationError"),
        (vec![("DurationSeconds", "999999")], 200, ""),
        (vec![("SerialNumber", "GAHT12345678")], 403, "AccessDenied"),
        (vec![("TokenCode", "123456")], 403, "AccessDenied"),
        (vec![("ProvidedContexts.member.1.ProviderArn", "x")], 400, "InvalidContextAssertion"),
        (
            vec![("PolicyArns.member.1.arn", "arn:aws:iam::aws:policy/AdministratorAccess")],
            400,
            "MalformedPolicyDocument",
        ),
        (vec![("PolicyArns.member.1.arn", "arn:aws:iam::aws:policy/AmazonS3FullAccess")], 200, ""),
        (vec![("Policy", "{")], 400, "MalformedPolicyDocument"),
        (vec![("Policy", &long)], 400, "PackedPolicyTooLarge"),
        (
            vec![("Policy", r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}"#)],
            403,
            "AccessDenied",
        ),
        (vec![("Tags.member.1.Key", "team"), ("Tags.member.1.Value", "red")], 200, ""),
        (vec![("Tags.member.1.Key", "team"), ("Tags.member.2.Key", "TEAM")], 400, "ValidationError"),
        (vec![("Tags.member.01.Key", "team")], 400, "ValidationError"),
        (vec![("ExternalId", "x")], 400, "ValidationError"),
        (vec![("ExternalId", "abc:/1")], 200, ""),
        (vec![("Prefix", "x")], 400, "ValidationError"),
        (vec![("RoleArn", "arn:aws:iam:::role/job.vault")], 400, "ValidationError"),
        (vec![("Version", "2011-06-15")], 400, "ValidationError"),
    ] {
        let shot = held.assume(&held.parent, "job.vault", &fields).await;
        assert_eq!(shot.status.as_u16(), status, "{fields:?}: {}", shot.body);
        assert!(status == 200 || text(&shot, "Code") == code, "{fields:?}: {}", shot.body);
    }
    let shot = held
        .assume(
            &held.parent,
            "job.vault",
            &[("PolicyArns.member.1.arn", "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")],
        )
        .await;
    assert_eq!(opens(&key_of(&shot)).2, Actions::READ);
    for (fields, code) in [
        (vec![], "MissingAction"),
        (vec![("Action", "DropTables")], "InvalidAction"),
        (vec![("Action", "AssumeRoleWithLDAPIdentity"), ("LDAPPassword", "hunter2")], "InvalidAction"),
        (vec![("Action", "AssumeRoleWithCustomToken"), ("Token", "x")], "InvalidAction"),
        (vec![("Action", "AssumeRoleWithSAML")], "InvalidAction"),
        (vec![("Action", "assumerole")], "InvalidAction"),
    ] {
        let shot = held.ask(&held.parent, &fields).await;
        assert_eq!(refusal(&shot), refused(400, code), "{fields:?}");
        assert!(!shot.body.contains("hunter2"));
    }
    let raw = async |query: &str, body: String, told: &str| {
        let mut request = held.signed(&held.parent, USUAL, query, &body);
        request.headers_mut().insert("content-type", told.parse().unwrap());
        refusal(&held.world.send(request).await)
    };
    assert_eq!(raw("Action=AssumeRole", "Action=AssumeRole".to_owned(), FORM).await, refused(400, "ValidationError"));
    assert_eq!(raw("", "Action=AssumeRole&Version=2010-05-08".to_owned(), FORM).await, refused(400, "InvalidAction"));
    assert_eq!(raw("", "Action=%zz".to_owned(), FORM).await, refused(400, "MalformedQueryString"));
    assert_eq!(
        raw("", "{\"Action\":\"AssumeRole\"}".to_owned(), "application/json").await,
        refused(400, "MalformedQueryString")
    );
    assert_eq!(
        raw("", format!("Action=AssumeRole&Policy={}", "x".repeat(70_000)), FORM).await,
        refused(413, "RequestEntityTooLarge")
    );
    // A form may be in the query of a POST.
    let request = held.signed(&held.parent, USUAL, "Action=GetCallerIdentity&Version=2011-06-15", "");
    assert_eq!(held.world.send(request).await.status, StatusCode::OK);
}

#[tokio::test]
async fn every_action_is_signed_or_has_an_identity_token_and_takes_no_unknown_parameter() {
    let held = Held::new().await;
    let dialect = sts::dialect(&held.world.shared, sts::Settings::default());
    for route in &dialect.routes {
        assert!(matches!(route.entry, Entry::Token(_)) && route.needs == Role::Member, "{}", route.action);
        let unsigned = Request::builder().method(&route.method).uri(format!("/sts?Action={}", route.action));
        let shot = held.world.send(unsigned.body(Body::empty()).unwrap()).await;
        let code = if route.proof.is_some() {
            refused(400, "MissingParameter")
        } else {
            refused(403, "MissingAuthenticationToken")
        };
        assert_eq!(refusal(&shot), code, "{}", route.action);
        if route.method == Method::POST && route.proof.is_none() {
            let shot = held.ask(&held.parent, &[("Action", route.action), ("Surely", "true")]).await;
            assert_eq!(refusal(&shot), refused(400, "ValidationError"), "{}", route.action);
            assert!(shot.body.contains("unknown parameter `Surely`"), "{}", shot.body);
        }
    }
}

#[tokio::test]
async fn a_lifetime_is_cut_or_where_that_is_set_refused() {
    let held = Held::new().await;
    let caller = held.caller;
    let account = held.world.account_id("acme").await;
    let brief = valetkey_core::grant::NewGrant {
        name: Name::parse("brief").unwrap(),
        account,
        to: Grantee::Caller(caller),
        storage: held.world.storage,
        dataset: None,
        scope: valetkey_core::scope::Scope::new(bucket("lake"), directory("brief"), Actions::READ).unwrap().into(),
        max_lifetime: Lifetime::secs(900),
        from: None,
        until: None,
        conditions: None,
    };
    held.world.memory.create_grant(brief, held.world.clock.now()).await.unwrap();
    let shot = held.assume(&held.parent, "brief", &[("DurationSeconds", "3600")]).await;
    let until = held.world.clock.now() + jiff::SignedDuration::from_secs(900);
    assert_eq!(text(&shot, "Expiration"), format!("{until:.0}"));
    let strict = sts::dialect(&held.world.shared, sts::Settings { strict_durations: true, ..sts::Settings::default() });
    let limits =
        crate::edge::EdgeLimits { rates: crate::edge::RateLimits::off(), ..crate::edge::EdgeLimits::default() };
    let app = crate::edge::router(held.world.shared.clone(), limits, vec![strict]).unwrap();
    for (secs, status) in [("900", 200), ("901", 400), ("3600", 400), ("50000", 400)] {
        let fields =
            form(&[("Action", "AssumeRole"), ("RoleArn", "arn:aws:iam:::role/brief"), ("DurationSeconds", secs)]);
        let request = held.signed(&held.parent, USUAL, "", &fields);
        let shot = World::shot(tower::ServiceExt::oneshot(app.clone(), request).await.unwrap()).await;
        assert_eq!(shot.status.as_u16(), status, "{secs}: {}", shot.body);
        assert!(status == 200 || text(&shot, "Code") == "ValidationError");
    }
}

#[tokio::test]
async fn why_it_was_refused_is_told_to_who_was_refused_alone() {
    let held = Held::new().await;
    let shot = held.assume(&held.parent, "none", &[]).await;
    let message = text(&shot, "Message");
    let coded = message.split("Encoded authorization failure message: ").nth(1).unwrap();
    assert!(!coded.contains("none") && coded.len() < 1000, "{coded}");
    let decode = async |key: &Key, coded: &str| {
        held.ask(key, &[("Action", "DecodeAuthorizationMessage"), ("EncodedMessage", coded)]).await
    };
    let shot = decode(&held.parent, coded).await;
    let told: serde_json::Value = serde_json::from_str(&text(&shot, "DecodedMessage").replace("&quot;", "\"")).unwrap();
    assert_eq!((&told["allowed"], &told["context"]["action"]), (&false.into(), &"sts:AssumeRole".into()));
    let grants: Vec<_> =
        told["valetkey"]["grants"].as_array().unwrap().iter().map(|grant| grant["name"].as_str().unwrap()).collect();
    assert_eq!(grants, ["job.vault"], "of what its key opens, and of nothing else");
    let (_, other) = held.daily().await;
    let bad = refused(400, "InvalidAuthorizationMessageException");
    assert_eq!(refusal(&decode(&other, coded).await), bad);
    for at in [0, 20, coded.len() - 1] {
        let mut changed = coded.to_owned().into_bytes();
        changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
        assert_eq!(refusal(&decode(&held.parent, std::str::from_utf8(&changed).unwrap()).await), bad, "{at}");
    }
    assert_eq!(refusal(&decode(&held.parent, "x").await), bad);
    assert_eq!(
        refusal(&held.ask(&held.parent, &[("Action", "DecodeAuthorizationMessage")]).await),
        refused(400, "MissingParameter")
    );
}

#[tokio::test]
async fn a_key_is_known_to_its_own_account_only() {
    let held = Held::new().await;
    let (_, own) = held.daily().await;
    let target = Target::Place { bucket: bucket("vault"), paths: Paths::Whole };
    let (_, foreign) = held.vended("other", target, 3600).await;
    let ask = async |id: &str| held.ask(&held.parent, &[("Action", "GetAccessKeyInfo"), ("AccessKeyId", id)]).await;
    for id in [&own.id, &held.parent.id] {
        assert_eq!(text(&ask(id).await, "Account").len(), 12);
    }
    for id in [foreign.id.as_str(), "AKIAIOSFODNN7EXAMPLE", &"0".repeat(32)] {
        assert_eq!(refusal(&ask(id).await), refused(403, "AccessDenied"), "{id}");
    }
    assert_eq!(refusal(&ask("short").await), refused(400, "ValidationError"));
}

#[tokio::test]
async fn a_refused_ask_is_on_record_with_its_reason() {
    let held = Held::new().await;
    let account = held.world.account_id("acme").await;
    let refused = async |action: &str, more: &[(&str, &str)]| {
        let before = held.world.memory.refusals().len();
        held.ask(&held.parent, &[&[("Action", action)][..], more].concat()).await;
        let told = held.world.memory.refusals().split_off(before);
        let [one] = told.as_slice() else { panic!("{action}: {told:?}") };
        assert_eq!((one.dialect, one.account, one.caller), ("sts", Some(account), Some(held.caller)), "{action}");
        one.kind
    };
    assert_eq!(refused("AssumeRole", &[("RoleArn", "arn:aws:iam:::role/none")]).await.slug(), "not_found");
    assert_eq!(refused("AssumeRole", &[("Policy", "{")]).await, Kind::Invalid);
    assert_eq!(refused("GetScopedCredentials", &[("DurationSeconds", "9")]).await, Kind::Invalid);
    assert_eq!(refused("GetFederationToken", &[("Name", "bob")]).await, Kind::Forbidden);
}

#[tokio::test]
async fn it_is_served_under_another_path_where_it_is_mounted_and_signed_for_that() {
    let held = Held::new().await;
    let identity = form(&[("Action", "GetCallerIdentity")]);
    let mut request = held.signed(&held.parent, How { path: "/", ..USUAL }, "", &identity);
    request.extensions_mut().insert(Mounted(sts::PATH));
    assert_eq!(held.world.send(request).await.status, StatusCode::OK);
    let mut request = held.signed(&held.parent, USUAL, "", &identity);
    *request.uri_mut() = "/".parse().unwrap();
    request.extensions_mut().insert(Mounted(sts::PATH));
    assert_eq!(refusal(&held.world.send(request).await), refused(403, "SignatureDoesNotMatch"));
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_token_of_a_query_and_no_key_reaches_the_log() {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber =
        tracing_subscriber::fmt().with_writer(move || writer.clone()).with_max_level(tracing::Level::TRACE).finish();
    let held = Held::new().await;
    let token = held.world.token("reader").await;
    let _guard = tracing::subscriber::set_default(subscriber);
    let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlIn0.c2ln";
    let mut answers = String::new();
    for token in [token.as_str(), jwt] {
        let target =
            format!("/sts?Action=AssumeRoleWithWebIdentity&RoleArn=arn:aws:iam:::role/daily&WebIdentityToken={token}");
        let shot = held.world.send(Request::post(target).body(Body::empty()).unwrap()).await;
        if shot.status == StatusCode::OK {
            answers = text(&shot, "SecretAccessKey") + " " + &text(&shot, "SessionToken");
        }
    }
    held.assume(&held.parent, "none", &[]).await;
    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("answered") && log.contains("the identity token is not one"), "{log}");
    for secret in [token.as_str(), jwt, "eyJ", held.parent.secret.reveal()].into_iter().chain(answers.split(' ')) {
        assert!(!secret.is_empty() && !log.contains(secret), "{secret} in {log}");
    }
}

#[tokio::test]
async fn a_grant_may_ask_for_a_session_name_and_an_external_id() {
    let held = Held::new().await;
    let conditions = valetkey_core::conditions::Conditions::of_text("session-name glob:ni*\nexternal-id told-you");
    let guarded = valetkey_core::grant::NewGrant {
        name: Name::parse("guarded").unwrap(),
        account: held.world.account_id("acme").await,
        to: Grantee::Caller(held.caller),
        storage: held.world.storage,
        dataset: None,
        scope: valetkey_core::scope::Scope::new(bucket("lake"), directory("guarded"), Actions::READ).unwrap().into(),
        max_lifetime: Lifetime::secs(3600),
        from: None,
        until: None,
        conditions: conditions.map(Box::new),
    };
    held.world.memory.create_grant(guarded, held.world.clock.now()).await.unwrap();
    let shot = held.assume(&held.parent, "guarded", &[("ExternalId", "told-you")]).await;
    assert_eq!(shot.status, StatusCode::OK, "{}", shot.body);
    for wrong in [&[][..], &[("ExternalId", "told-yo")]] {
        let shot = held.assume(&held.parent, "guarded", wrong).await;
        assert_eq!(shot.status, StatusCode::FORBIDDEN, "{wrong:?}: {}", shot.body);
        assert!(!shot.body.contains("told-you"), "{}", shot.body);
    }
    let arn = "arn:aws:iam:::role/guarded";
    let day = [("Action", "AssumeRole"), ("RoleArn", arn), ("RoleSessionName", "day"), ("ExternalId", "told-you")];
    assert_eq!(held.ask(&held.parent, &day).await.status, StatusCode::FORBIDDEN);
    // The key alone opens nothing of it: nobody would ask for the conditions.
    let parent = held.world.shared.parents.parent(held.token, held.world.clock.now()).await.unwrap().unwrap();
    assert!(!parent.covers(&bucket("lake"), &directory("guarded"), Actions::READ));
}
