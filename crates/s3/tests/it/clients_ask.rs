//! What clients ask beside reading and writing, and what they are told when it is refused.

use valetkey_core::scope::Actions;

use crate::rig::{Rig, encoded_key};

#[tokio::test]
async fn what_clients_ask_on_their_way_is_answered_truthfully() {
    let rig = Rig::start().await;
    let credential = rig.directory("in", Actions::READ_WRITE);
    let put = rig.send(rig.ask("PUT", "/lake/in/o").body("0123456789"), &credential).await;
    let etag = put.header("etag").unwrap().to_owned();
    let get = async |target: &str| rig.get(target, &credential).await;
    let tags = get("/lake/in/o?tagging=").await;
    assert!(tags.ok().text().contains("<TagSet/>") || tags.text().contains("<TagSet></TagSet>"), "{}", tags.text());
    let acl = get("/lake/in/o?acl=").await;
    assert_eq!(acl.ok().all("Permission"), ["FULL_CONTROL"]);
    assert_eq!(get("/lake?acl=").await.ok().all("Permission"), ["FULL_CONTROL"]);
    let versioning = get("/lake?versioning=").await;
    assert_eq!(versioning.ok().all("Status"), [""; 0]);
    let ask =
        rig.ask("GET", "/lake/in/o?attributes=").header("x-amz-object-attributes", "ETag,ObjectSize,StorageClass");
    let attributes = rig.send(ask, &credential).await;
    assert_eq!(attributes.ok().one("ObjectSize"), "10");
    assert_eq!(attributes.one("ETag").replace("&quot;", "").replace('"', ""), etag.trim_matches('"'));
    let versions = get("/lake?versions=&prefix=in%2F").await;
    assert_eq!((versions.ok().all("Key"), versions.all("VersionId")), (vec!["in/o".into()], vec!["null".into()]));
    // None of it says anything of what is outside, or not there.
    for target in ["/lake/out?tagging=", "/lake/out?acl=", "/lake?versions=&prefix=out"] {
        get(target).await.is(403, "AccessDenied");
    }
    for target in ["/lake/in/x?tagging=", "/lake/in/x?acl="] {
        get(target).await.is(404, "NoSuchKey");
    }
    let copy = rig.ask("PUT", "/lake/in/c").header("x-amz-copy-source", "lake/in/o");
    rig.send(copy.header("x-amz-tagging-directive", "REPLACE"), &credential).await.ok();
    for target in ["/lake/in/o?tagging=", "/lake/in/o?acl=", "/lake?versioning=", "/lake?acl="] {
        rig.send(rig.ask("PUT", target).body("<x/>"), &credential).await.is(501, "NotImplemented");
    }
}

#[tokio::test]
async fn a_refusal_says_to_the_holder_alone_what_is_inside() {
    let rig = Rig::start().await;
    let credential = rig.directory("flights/daily", Actions::READ);
    let refused = rig.get("/lake/flights/other/o", &credential).await;
    refused.is(403, "AccessDenied");
    let said = refused.one("Message");
    assert!(said.contains("get-object, list-bucket, get-bucket-info on `flights/daily/`"), "{said}");
    assert!(said.contains("`lake`"), "{said}");
    let listing = rig.get("/lake?list-type=2", &credential).await;
    listing.is(403, "AccessDenied");
    assert!(listing.one("Message").contains("on `flights/daily/`"), "{}", listing.text());
    let elsewhere = rig.get("/other/o", &credential).await;
    assert!(elsewhere.one("Message").contains("opens nothing"), "{}", elsewhere.text());
    let url = rig.ask("GET", "/lake/flights/other/o").presigned(&credential, 60).wire();
    let refused = rig.raw(url).await;
    refused.is(403, "AccessDenied");
    assert_eq!(refused.one("Message"), "Access Denied");
}

#[tokio::test]
async fn keys_that_xml_cannot_carry_go_as_numbers() {
    let rig = Rig::start().await;
    if rig.is_behind() {
        return rig.put("lake", "plain", "x").await;
    }
    let credential = rig.whole();
    for key in ["a\rb", "a\nb", "a\tb", "a\u{1}b", "a\u{FFFF}b", "z"] {
        let target = format!("/lake/{}", encoded_key(key));
        rig.send(rig.ask("PUT", &target).body("x"), &credential).await.ok();
    }
    let list = rig.get("/lake?list-type=2", &credential).await;
    assert_eq!(list.ok().all("Key"), ["a&#1;b", "a&#9;b", "a&#10;b", "a&#13;b", "a&#xFFFF;b", "z"]);
    let delete = "<Delete><Object><Key>a&#13;b</Key></Object><Object><Key><![CDATA[z]]></Key></Object>\
                  <Object><Key></Key></Object><Object><Key><![CDATA[]]></Key></Object></Delete>";
    let deleted = rig.send(rig.ask("POST", "/lake?delete=").body(delete), &credential).await;
    assert_eq!(deleted.ok().all("Code"), ["UserKeyMustBeSpecified"; 2]);
    assert_eq!(deleted.all("Key"), ["a&#13;b", "z", "", ""]);
    rig.get("/lake/z", &credential).await.is(404, "NoSuchKey");
}

#[tokio::test]
async fn a_copys_source_is_decoded_as_s3_does() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    rig.send(rig.ask("PUT", "/lake/a%20b").body("space"), &credential).await.ok();
    rig.send(rig.ask("PUT", "/lake/a%2Bb").body("plus"), &credential).await.ok();
    for (source, body) in
        [("lake/a+b", "space"), ("lake/a%20b", "space"), ("lake/a%2Bb", "plus"), ("/lake/a%2bb", "plus")]
    {
        rig.send(rig.ask("PUT", "/lake/c").header("x-amz-copy-source", source), &credential).await.ok();
        assert_eq!(rig.get("/lake/c", &credential).await.text(), body, "{source}");
    }
    for source in ["lake/a%", "lake/a%2", "lake/a%zz", "lake/a%ff"] {
        let copy = rig.ask("PUT", "/lake/c").header("x-amz-copy-source", source);
        rig.send(copy, &credential).await.is(400, "InvalidArgument");
    }
}

#[tokio::test]
async fn the_hosts_default_port_may_be_signed_or_not() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    rig.put("lake", "o", "x").await;
    let signed = |signed: &str, sent: &str| {
        let mut ask = rig.ask("GET", "/lake/o");
        ask.headers = vec![("host".to_owned(), signed.to_owned())];
        let wire = String::from_utf8(ask.signed(&credential)).unwrap();
        wire.replace(&format!("host: {signed}\r\n"), &format!("host: {sent}\r\n")).into_bytes()
    };
    for (named, sent, good) in [
        ("s3.example", "s3.example:443", true),
        ("s3.example:443", "s3.example", true),
        ("s3.example", "s3.example:80", true),
        ("s3.example", "s3.example:9000", false),
        ("s3.example", "other.example", false),
        ("s3.example:9000", "s3.example", false),
    ] {
        let answer = rig.raw(signed(named, sent)).await;
        assert_eq!(answer.status, if good { 200 } else { 403 }, "{named} sent as {sent}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_url_signed_before_there_is_a_body_takes_one() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let url = |checksum: &str| {
        let mut ask = rig.ask("PUT", "/lake/o").body("body");
        ask.query.push(("x-amz-checksum-crc32".to_owned(), checksum.to_owned()));
        ask.query.push(("x-amz-sdk-checksum-algorithm".to_owned(), "CRC32".to_owned()));
        ask.presigned(&credential, 60).wire()
    };
    rig.raw(url("AAAAAA%3D%3D")).await.ok();
    assert_eq!(rig.get("/lake/o", &credential).await.text(), "body");
    rig.raw(url("AAAAAQ%3D%3D")).await.is(400, "BadDigest");
}

#[tokio::test]
async fn a_form_and_an_old_signature_say_what_to_do() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let form = rig.ask("POST", "/lake").header("content-type", "multipart/form-data; boundary=x").body("x");
    rig.send(form, &credential).await.is(501, "NotImplemented");
    let old = format!(
        "GET /lake/o?AWSAccessKeyId={}&Signature=x&Expires=1 HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
        credential.key_id,
        rig.host()
    );
    let refused = rig.raw(old.into_bytes()).await;
    refused.is(400, "InvalidRequest");
    assert!(refused.text().contains("s3v4"), "{}", refused.text());
}
