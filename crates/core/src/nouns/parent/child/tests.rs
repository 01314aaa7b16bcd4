use super::*;
use crate::scope::{Action, Actions};

/// The two published vectors' parts; see the endpoint's tests for what is signed with them.
const SECRET_1: &str = "3ddacd062599692f7934220fc14be6fc29e098f16dd569431cb210c65a8a7d81";
const JWT_1: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJidWNrZXQiOiJteS1idWNrZXQiLCJzY29wZSI6Im9iamVjdC1yZWFkLW9ubHkiLCJzdWIiOiIwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZiIsImlzcyI6IjExMTEyMjIyMzMzMzQ0NDQ1NTU1NjY2Njc3Nzc4ODg4IiwiYXVkIjoiMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYucjIuY2xvdWRmbGFyZXN0b3JhZ2UuY29tIiwiaWF0IjoxNzY3MjI1NjAwLCJleHAiOjE3NjcyMjY1MDB9.kie-dMnMxpg27h9Q_dPnKpRsTpO7vW5rMVHmjuahQKg";
const SECRET_2: &str = "6d3c1798d489f2ccf4f6b270e5fc78440fbe43882ac35e0b8cd791f6ce1f61a1";
const JWT_2: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJidWNrZXQiOiJ0ZW5hbnQtZGF0YSIsInNjb3BlIjoib2JqZWN0LXJlYWQtd3JpdGUiLCJhY3Rpb25zIjpbIkdldE9iamVjdCIsIkhlYWRPYmplY3QiLCJQdXRPYmplY3QiXSwicGF0aHMiOnsicHJlZml4UGF0aHMiOlsidXBsb2Fkcy91c2VyLTEyMy8iLCLml6XmnKwvIl0sIm9iamVjdFBhdGhzIjpbInNoYXJlZC9tYW5pZmVzdC5qc29uIl19LCJzdWIiOiIwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZiIsImlzcyI6ImFhYWFiYmJiY2NjY2RkZGRlZWVlZmZmZjAwMDAxMTExIiwiYXVkIjoiMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYuZXUucjIuY2xvdWRmbGFyZXN0b3JhZ2UuY29tIiwiaWF0IjoxNzY3MjI1NjAwLCJleHAiOjE3Njc4MzA0MDB9.iEgbDWGLbXAHNDxOULswPj1c1ep65aK0sStjkai1sv4";

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn wrapped(jwt: &str) -> String {
    BASE64.encode(format!("jwt/{jwt}").as_bytes())
}

fn jwt(header: &str, payload: &str, key: &str) -> String {
    let signed =
        format!("{}.{}", BASE64URL_NOPAD.encode(header.as_bytes()), BASE64URL_NOPAD.encode(payload.as_bytes()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), signed.as_bytes());
    format!("{signed}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
}

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const CLAIMS: &str = r#"{"bucket":"my-bucket","scope":"object-read-only","sub":"0123456789abcdef0123456789abcdef","iss":"11112222333344445555666677778888","aud":"h","iat":1767225600,"exp":1767226500}"#;

fn read(payload: &str) -> Result<Child, Unfit> {
    SessionToken::read(&wrapped(&jwt(HEADER, payload, SECRET_1)))?.verify(&secret(SECRET_1))
}

#[test]
fn the_first_vector_is_read() {
    let token = SessionToken::read(&wrapped(JWT_1)).unwrap();
    assert_eq!(token.secret_access_key().reveal(), "9188921ac6200cc73048aa4c74954c52125c26dba17f93ec25d4c7b44bdeb650");
    let child = token.verify(&secret(SECRET_1)).unwrap();
    assert_eq!(child.bucket.as_str(), "my-bucket");
    assert_eq!((child.permission, child.operations), (Some(Permission::ObjectReadOnly), None));
    assert_eq!(child.paths, Paths::Whole);
    assert_eq!(child.parent.as_hex(), "11112222333344445555666677778888");
    assert_eq!(child.account.as_hex(), "0123456789abcdef0123456789abcdef");
    assert_eq!(child.audience, "0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com");
    assert_eq!((child.issued.as_second(), child.until.as_second()), (1_767_225_600, 1_767_226_500));
    assert!(!format!("{token:?}").contains("eyJ"));
}

#[test]
fn the_second_vector_is_read() {
    let token = SessionToken::read(&wrapped(JWT_2)).unwrap();
    assert_eq!(token.secret_access_key().reveal(), "963a3a4bf31da78800492c6319f704531e6459630e83feb6e6aab88edb8445d6");
    let child = token.verify(&secret(SECRET_2)).unwrap();
    let paths = [
        Path::prefix(b"uploads/user-123/").unwrap(),
        Path::prefix("日本/".as_bytes()).unwrap(),
        Path::object(b"shared/manifest.json").unwrap(),
    ];
    assert_eq!(child.paths, Paths::only(paths).unwrap());
    assert_eq!(child.operations, Some(Operations::parse(["GetObject", "HeadObject", "PutObject"]).unwrap()));
    assert_eq!(child.scope().unwrap().actions(), Actions::of(&[Action::GetObject, Action::PutObject]));
}

#[test]
fn padding_may_be_left_out() {
    for text in [wrapped(JWT_1), wrapped(JWT_2), wrapped(&format!("{JWT_1}A"))] {
        let bare = text.trim_end_matches('=');
        assert_eq!(SessionToken::read(bare).is_ok(), SessionToken::read(&text).is_ok());
    }
    assert!(SessionToken::read(wrapped(JWT_2).trim_end_matches('=')).is_ok());
}

#[test]
fn a_key_of_the_decoded_bytes_is_not_the_key() {
    for (jwt, signature, key) in [
        (JWT_1, "0Wp8T2rL1YOpR4ns3lhykK9HCKFTj9bTumZ-lCP_bEc", SECRET_1),
        (JWT_2, "yvrUvLXXo4Sa3Cl_qMxUysjbKKHq9bj6esGRn0aInnQ", SECRET_2),
    ] {
        let (signed, _) = jwt.rsplit_once('.').unwrap();
        let token = SessionToken::read(&wrapped(&format!("{signed}.{signature}"))).unwrap();
        assert_eq!(token.verify(&secret(key)), Err(Unfit::Forged));
    }
}

#[test]
fn one_token_has_one_spelling() {
    let last = JWT_1.chars().last().unwrap();
    let (front, _) = JWT_1.split_at(JWT_1.len() - 1);
    let spellings: Vec<char> = ('a'..='z')
        .chain('A'..='Z')
        .chain('0'..='9')
        .chain(['-', '_'])
        .filter(|c| {
            let token = SessionToken::read(&wrapped(&format!("{front}{c}")));
            token.is_ok_and(|token| token.verify(&secret(SECRET_1)).is_ok())
        })
        .collect();
    assert_eq!(spellings, [last]);
}

#[test]
fn what_is_not_of_the_form_is_malformed() {
    let signed = |header: &str| wrapped(&jwt(header, CLAIMS, SECRET_1));
    assert!(SessionToken::read(&signed(HEADER)).is_ok());
    assert!(SessionToken::read(&signed(r#"{"alg":"HS256"}"#)).is_ok());
    let (head, rest) = JWT_1.split_once('.').unwrap();
    for bad in [
        String::new(),
        "x".to_owned(),
        JWT_1.to_owned(),
        format!("jwt/{JWT_1}"),
        BASE64.encode(JWT_1.as_bytes()),
        BASE64.encode(format!("JWT/{JWT_1}").as_bytes()),
        BASE64.encode(b"jwt/"),
        BASE64.encode("jwt/ä.b.c".as_bytes()),
        wrapped(head),
        wrapped(&format!("{JWT_1}.x")),
        wrapped(&format!(".{rest}")),
        wrapped(&format!("{head}.{rest}.")),
        wrapped(&JWT_1.replace('.', "..")),
        wrapped(&format!("{head}=.{rest}")),
        wrapped(&format!("{head} .{rest}")),
        format!("{}\n", wrapped(JWT_1)),
        format!("{}x", wrapped(JWT_1)),
        signed(r#"{"alg":"none"}"#),
        signed(r#"{"alg":"hs256"}"#),
        signed(r#"{"alg":"HS512"}"#),
        signed(r#"{"alg":"RS256"}"#),
        signed(r#"{"alg":["HS256"]}"#),
        signed(r#"{"alg":"HS256","crit":["exp"]}"#),
        signed(r#"{"alg":"HS256","alg":"HS256"}"#),
        signed(r#"{"typ":"JWT"}"#),
        signed("{"),
        wrapped(&format!("{}.{}", JWT_1.rsplit_once('.').unwrap().0, "A")),
        wrapped(&"x.".repeat(8_000)),
    ] {
        assert!(matches!(SessionToken::read(&bad), Err(Unfit::Malformed)), "{bad}");
    }
}

#[test]
fn a_changed_token_is_forged() {
    let (head, rest) = JWT_1.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let wider = BASE64URL_NOPAD.encode(CLAIMS.replace("read-only", "read-write").as_bytes());
    for (jwt, key) in [
        (format!("{head}.{wider}.{signature}"), SECRET_1),
        (jwt(r#"{"alg":"HS256","typ":"JWt"}"#, CLAIMS, SECRET_2), SECRET_1),
        (JWT_1.to_owned(), SECRET_2),
        (JWT_1.to_owned(), ""),
    ] {
        assert_eq!(SessionToken::read(&wrapped(&jwt)).unwrap().verify(&secret(key)), Err(Unfit::Forged));
    }
}

#[test]
fn claims_that_cannot_be_taken_are_refused_one_by_one() {
    let with = |from: &str, to: &str| {
        assert!(CLAIMS.contains(from), "{from}");
        CLAIMS.replacen(from, to, 1)
    };
    let extra = |more: &str| with("{\"bucket\"", &format!("{{{more},\"bucket\""));
    assert!(read(CLAIMS).is_ok());
    for good in [
        extra(r#""ttlSeconds":900"#),
        extra(r#""jti":"x""#),
        extra(r#""actions":["GetObject"]"#),
        extra(r#""paths":{"prefixPaths":["a/"],"objectPaths":[]}"#),
        extra(r#""paths":{"objectPaths":["a"]}"#),
        with(r#""scope":"object-read-only""#, r#""actions":["PutObject"]"#),
        with("1767226500", "1767830400"),
    ] {
        assert!(read(&good).is_ok(), "{good}");
    }
    for bad in [
        "[]".to_owned(),
        "{}".to_owned(),
        CLAIMS.replace('}', ""),
        with(r#""bucket":"my-bucket""#, r#""bucket":["my-bucket"]"#),
        with("my-bucket", "My-Bucket"),
        with("my-bucket", ""),
        with("object-read-only", "object-read"),
        with("object-read-only", ""),
        with(r#""scope":"object-read-only""#, r#""scope":null"#),
        with(r#""scope":"object-read-only","#, ""),
        with(r#""scope":"object-read-only""#, r#""actions":[]"#),
        extra(r#""actions":[]"#),
        extra(r#""actions":"GetObject""#),
        extra(r#""actions":["GetObject","Everything"]"#),
        // Nothing is left of both.
        extra(r#""actions":["PutObject"]"#),
        extra(r#""paths":{}"#),
        extra(r#""paths":[]"#),
        extra(r#""paths":null"#),
        extra(r#""paths":{"prefixPaths":[],"objectPaths":[]}"#),
        extra(r#""paths":{"prefixPaths":[""],"objectPaths":[]}"#),
        extra(r#""paths":{"prefixPaths":["a",1],"objectPaths":[]}"#),
        extra(r#""paths":{"prefixPaths":"a/","objectPaths":[]}"#),
        extra(r#""paths":{"prefixes":["a/"],"prefixPaths":["a/"]}"#),
        extra(r#""prefixes":["a/"]"#),
        extra(r#""permission":"object-read-only""#),
        extra(r#""nbf":1767225600"#),
        extra(r#""jti":1"#),
        extra(r#""bucket":"other""#),
        with("\"sub\":\"0123456789abcdef", "\"sub\":\"0123456789ABCDEF"),
        with("\"sub\":\"0123456789abcdef0123456789abcdef\",", ""),
        with("\"iss\":\"1111", "\"iss\":\"111"),
        with("\"aud\":\"h\"", "\"aud\":[\"h\"]"),
        with("\"aud\":\"h\",", ""),
        with(",\"exp\":1767226500", ""),
        with("\"iat\":1767225600,", ""),
        with("1767226500", "1767226500.5"),
        with("1767226500", "\"1767226500\""),
        with("1767226500", "1767225600"),
        with("1767226500", "1767225599"),
        with("1767226500", "1767830401"),
        with("1767226500", "9223372036854775807"),
    ] {
        assert!(matches!(read(&bad), Err(Unfit::Claims(_))), "{bad}");
    }
}

#[test]
fn a_token_from_the_future_has_not_begun() {
    let child = read(CLAIMS).unwrap();
    let at = |secs: i64| Timestamp::from_second(1_767_225_600 + secs).unwrap();
    assert!(child.begun(at(0)).is_ok() && child.begun(at(-60)).is_ok());
    assert_eq!(child.begun(at(-901)), Err(Unfit::Claims("iat")));
}

#[test]
fn a_child_is_cut_to_its_parent() {
    let now = Timestamp::from_second(1_767_225_601).unwrap();
    let ceiling = |bucket: &str, paths: Paths, actions: Actions, secs: u32| ParentScope {
        storage: crate::id::StorageId::from_bytes([1; 16]),
        rights: std::sync::Arc::new(Rights::of(BucketName::parse(bucket).unwrap(), paths, actions).unwrap()),
        max_lifetime: crate::time::Lifetime::secs(secs),
    };
    let wide = CLAIMS.replace("object-read-only", "admin-read-write");
    let child = read(&wide).unwrap();
    let whole = ceiling("my-bucket", Paths::Whole, Actions::READ_WRITE, 604_800);
    assert_eq!(child.opens(&whole, now).unwrap(), Rights::clone(&whole.rights));
    let directory = Paths::only([Path::directory(b"jobs").unwrap()]).unwrap();
    let part = ceiling("my-bucket", directory, Actions::READ, 604_800);
    assert_eq!(child.opens(&part, now).unwrap(), Rights::clone(&part.rights));
    assert_eq!(child.opens(&ceiling("other", Paths::Whole, Actions::READ, 604_800), now), None);
    // No longer than its parent's grant allows, and no longer than itself.
    let short = ceiling("my-bucket", Paths::Whole, Actions::READ, 60);
    assert!(child.opens(&short, Timestamp::from_second(1_767_225_659).unwrap()).is_some());
    assert!(child.opens(&short, Timestamp::from_second(1_767_225_660).unwrap()).is_none());
    assert!(child.opens(&whole, child.until).is_none());
    // Configuration belongs to no path.
    let narrow = wide.replacen("{\"bucket\"", r#"{"paths":{"objectPaths":["a"]},"bucket""#, 1);
    let admin = ceiling("my-bucket", Paths::Whole, Permission::AdminReadWrite.actions(), 604_800);
    assert!(child.opens(&admin, now).unwrap().actions().contains(Action::PutBucketConfig));
    assert!(!read(&narrow).unwrap().opens(&admin, now).unwrap().actions().contains(Action::GetBucketConfig));
}

#[test]
fn a_child_counts_as_one_lease_however_its_claims_are_written() {
    let child = read(CLAIMS).unwrap();
    let spaced = CLAIMS.replace(",\"", " ,\n \"");
    assert_eq!(read(&spaced).unwrap().lease(), child.lease());
    assert_eq!(Child::read(CLAIMS.as_bytes()).unwrap().lease(), child.lease());
    assert_eq!(child.lease().made_ms(), 1_767_225_600_000);
    for (from, to) in [
        ("my-bucket", "my-bucke"),
        ("object-read-only", "object-read-write"),
        ("1767226500", "1767226501"),
        ("1767225600", "1767225601"),
        ("\"h\"", "\"g\""),
        ("\"iss\":\"1", "\"iss\":\"2"),
        ("\"sub\":\"0", "\"sub\":\"1"),
        ("{\"bucket\"", "{\"jti\":\"\",\"bucket\""),
        ("{\"bucket\"", "{\"actions\":[\"GetObject\"],\"bucket\""),
        ("{\"bucket\"", "{\"paths\":{\"objectPaths\":[\"a\"]},\"bucket\""),
    ] {
        assert_ne!(read(&CLAIMS.replacen(from, to, 1)).unwrap().lease(), child.lease(), "{from} {to}");
    }
}
