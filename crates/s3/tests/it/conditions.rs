//! Conditions: none is passed over on a write, and readers' come in every form that HTTP has.

use crate::rig::{Ask, BUCKET, Credential, Rig, noise};

const LONG_AGO: &str = "Fri, 01 Jan 2016 00:00:00 GMT";
const FAR_AHEAD: &str = "Wed, 01 Jan 2036 00:00:00 GMT";

async fn put(rig: &Rig, key: &str, body: &str, credential: &Credential) -> String {
    let put = rig.send(rig.ask("PUT", key).body(body), credential).await;
    put.ok().header("etag").unwrap().to_owned()
}

/// Every condition on an object that is there, and whether a write under it happens.
fn on_present(etag: &str) -> Vec<(&'static str, String, bool)> {
    let weak = format!("W/{etag}");
    vec![
        ("if-match", etag.to_owned(), true),
        ("if-match", "*".to_owned(), true),
        ("if-match", format!("\"0\", {etag}"), true),
        ("if-match", etag.trim_matches('"').to_owned(), true),
        ("if-match", "\"0\"".to_owned(), false),
        ("if-match", weak.clone(), false),
        ("if-none-match", "*".to_owned(), false),
        ("if-none-match", etag.to_owned(), false),
        ("if-none-match", weak, false),
        ("if-none-match", format!("\"0\",{etag}"), false),
        ("if-none-match", "\"0\"".to_owned(), true),
        ("if-modified-since", LONG_AGO.to_owned(), true),
        ("if-modified-since", FAR_AHEAD.to_owned(), false),
        ("if-unmodified-since", FAR_AHEAD.to_owned(), true),
        ("if-unmodified-since", LONG_AGO.to_owned(), false),
        ("if-unmodified-since", "Friday, 01-Jan-16 00:00:00 GMT".to_owned(), false),
        ("if-unmodified-since", "Fri Jan  1 00:00:00 2016".to_owned(), false),
    ]
}

#[tokio::test]
async fn every_condition_of_a_write_is_kept() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    put(&rig, "/lake/from", "new", &credential).await;
    let etag = put(&rig, "/lake/o", "old", &credential).await;
    for (name, value, holds) in on_present(&etag) {
        let outcome = |answer: crate::rig::Answer| {
            let told = format!("<condition>{name}</condition>");
            assert!(holds || answer.text().to_ascii_lowercase().contains(&told), "{name}: {}", answer.text());
            answer.outcome()
        };
        let expected = if holds { (200, String::new()) } else { (412, "PreconditionFailed".to_owned()) };
        let write = rig.ask("PUT", "/lake/o").unsigned(name, &value).body("old");
        assert_eq!(outcome(rig.send(write, &credential).await), expected, "PutObject {name}: {value}");
        assert_eq!(outcome(upload(&rig, (name, &value), true, &credential).await), expected, "create {name}: {value}");
        assert_eq!(rig.get("/lake/o", &credential).await.text(), "old");
    }
    for (name, value, holds) in on_present(&etag) {
        let expected = if holds { (200, String::new()) } else { (412, "PreconditionFailed".to_owned()) };
        let copied =
            |name: &str| rig.ask("PUT", "/lake/o").header("x-amz-copy-source", "lake/from").unsigned(name, &value);
        // S3 takes conditions on tags, R2 all of them under names of its own.
        let mut forms = vec![copied(&format!("cf-copy-destination-{name}"))];
        if name.ends_with("-match") {
            forms.push(copied(name));
        } else {
            rig.send(copied(name), &credential).await.is(501, "NotImplemented");
        }
        for form in forms {
            assert_eq!(rig.send(form, &credential).await.outcome(), expected, "CopyObject {name}: {value}");
            let now = rig.get("/lake/o", &credential).await;
            assert_eq!(now.text(), if holds { "new" } else { "old" }, "{name}: {value}");
            put(&rig, "/lake/o", "old", &credential).await;
        }
    }
}

/// Creates an upload or completes one under a condition.
async fn upload(rig: &Rig, (name, value): (&str, &str), create: bool, credential: &Credential) -> crate::rig::Answer {
    let begin = rig.ask("POST", "/lake/o?uploads=");
    let begin = if create { begin.unsigned(name, value) } else { begin };
    rig.send(begin, credential).await
}

#[tokio::test]
async fn a_condition_on_what_is_not_there_says_so() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    put(&rig, "/lake/from", "new", &credential).await;
    for name in ["if-match", "cf-copy-destination-if-match"] {
        let copy = rig.ask("PUT", "/lake/c").header("x-amz-copy-source", "lake/from").header(name, "\"0\"");
        rig.send(copy, &credential).await.is(404, "NoSuchKey");
    }
    let absent = rig.ask("PUT", "/lake/c").header("x-amz-copy-source", "lake/from").header("if-none-match", "*");
    rig.send(absent.clone(), &credential).await.ok();
    rig.send(absent, &credential).await.is(412, "PreconditionFailed");
    let both = rig.ask("PUT", "/lake/c").header("x-amz-copy-source", "lake/from").header("if-none-match", "*");
    let both = both.header("cf-copy-destination-if-none-match", "*");
    rig.send(both, &credential).await.is(400, "InvalidRequest");
}

#[tokio::test]
async fn what_is_not_understood_on_a_write_is_refused() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let etag = put(&rig, "/lake/o", "old", &credential).await;
    let begun = rig.send(rig.ask("POST", "/lake/u?uploads="), &credential).await;
    let part = format!("/lake/u?partNumber=1&uploadId={}", begun.one("UploadId"));
    let ask = |method: &str, target: &str| rig.ask(method, target);
    let copy = |target: &str| ask("PUT", target).header("x-amz-copy-source", "lake/o");
    let writes: Vec<(&str, Ask)> = vec![
        ("if-schedule-tag-match", ask("PUT", "/lake/o")),
        ("if-range", ask("PUT", "/lake/o")),
        ("cf-create-bucket-if-missing", ask("PUT", "/lake/o")),
        ("cf-copy-destination-if-match", ask("PUT", "/lake/o")),
        ("x-amz-copy-source-if-match", ask("PUT", "/lake/o")),
        ("if-modified-since", copy("/lake/c")),
        ("cf-anything", copy("/lake/c")),
        ("if-match", ask("PUT", &part)),
        ("if-none-match", copy(&part)),
        ("if-none-match", ask("DELETE", "/lake/o")),
        ("if-unmodified-since", ask("DELETE", "/lake/o")),
        ("if-match", ask("POST", "/lake?delete=")),
        ("if-match", ask("DELETE", &part.replace("partNumber=1&", ""))),
    ];
    for (name, write) in writes {
        let what = format!("{} {} {name}", write.method, write.path);
        let answer = rig.send(write.header(name, &etag), &credential).await;
        assert_eq!(answer.outcome(), (501, "NotImplemented".to_owned()), "{what}: {}", answer.text());
        assert!(answer.text().contains(name), "{}", answer.text());
    }
    // A time that cannot be read was to keep something, too.
    let never = ask("PUT", "/lake/o").header("if-unmodified-since", "yesterday");
    rig.send(never, &credential).await.is(400, "InvalidArgument");
    let never = copy("/lake/c").header("x-amz-copy-source-if-unmodified-since", "yesterday");
    rig.send(never, &credential).await.is(400, "InvalidArgument");
    // What a proxy adds to every request is none.
    let through = ask("PUT", "/lake/o").unsigned("cf-ray", "1").unsigned("cf-connecting-ip", "192.0.2.1").body("old");
    rig.send(through, &credential).await.ok();
    rig.get("/lake/c", &credential).await.is(404, "NoSuchKey");
    assert_eq!(rig.get("/lake/o", &credential).await.text(), "old");
}

#[tokio::test]
async fn who_may_not_read_learns_nothing_by_beginning_an_upload() {
    let rig = Rig::start().await;
    let etag = put(&rig, "/lake/o", "old", &rig.whole()).await;
    let writer = rig.vend(valetkey_core::scope::Paths::Whole, valetkey_core::scope::Actions::WRITE);
    for (name, value) in
        [("if-match", &*etag), ("if-match", "\"0\""), ("if-none-match", &*etag), ("if-modified-since", LONG_AGO)]
    {
        rig.send(rig.ask("POST", "/lake/o?uploads=").header(name, value), &writer).await.is(403, "AccessDenied");
    }
    rig.send(rig.ask("POST", "/lake/new?uploads=").header("if-none-match", "*"), &writer).await.ok();
}

#[tokio::test]
async fn readers_conditions_come_in_every_form() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let etag = put(&rig, "/lake/o", "0123456789", &credential).await;
    for (name, value, holds) in on_present(&etag) {
        let expected = match name {
            _ if holds => 200,
            "if-match" | "if-unmodified-since" => 412,
            _ => 304,
        };
        for method in ["GET", "HEAD"] {
            let got = rig.send(rig.ask(method, "/lake/o").unsigned(name, &value), &credential).await;
            assert_eq!(got.status, expected, "{method} {name}: {value}");
        }
    }
    // What cannot be read as a time, and what is not known, is no condition of a reader's.
    for (name, value) in [("if-modified-since", "tomorrow"), ("if-unmodified-since", "0"), ("if-anything", "x")] {
        let got = rig.send(rig.ask("GET", "/lake/o").header(name, value), &credential).await;
        assert_eq!(got.status, 200, "{name}");
    }
}

#[tokio::test]
async fn a_range_may_be_of_one_version_only() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let etag = put(&rig, "/lake/o", "0123456789", &credential).await;
    let modified = rig.get("/lake/o", &credential).await.header("last-modified").unwrap().to_owned();
    let weak = format!("W/{etag}");
    for (value, partial) in [
        (&*etag, true),
        (&*modified, true),
        ("\"0\"", false),
        (&*weak, false),
        (etag.trim_matches('"'), false),
        (LONG_AGO, false),
        (FAR_AHEAD, false),
        ("nonsense", false),
    ] {
        for method in ["GET", "HEAD"] {
            let ask = rig.ask(method, "/lake/o").header("range", "bytes=2-4").header("if-range", value);
            let got = rig.send(ask, &credential).await;
            let (status, length) = if partial { (206, "3") } else { (200, "10") };
            assert_eq!((got.status, got.header("content-length")), (status, Some(length)), "{method} {value}");
            assert!(method == "HEAD" || got.text() == if partial { "234" } else { "0123456789" }, "{value}");
        }
    }
}

#[tokio::test]
async fn a_head_of_a_range_or_a_part_says_so() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    rig.put(BUCKET, "o", noise(3, 1000)).await;
    for (target, range, told) in [
        ("/lake/o", Some("bytes=10-19"), "bytes 10-19/1000"),
        ("/lake/o", Some("bytes=990-99999999999999999999"), "bytes 990-999/1000"),
        ("/lake/o", Some("bytes=-18446744073709551616"), "bytes 0-999/1000"),
        ("/lake/o?partNumber=1", None, "bytes 0-999/1000"),
    ] {
        for method in ["GET", "HEAD"] {
            let ask = rig.ask(method, target);
            let ask = if let Some(range) = range { ask.header("range", range) } else { ask };
            let got = rig.send(ask, &credential).await;
            assert_eq!((got.status, got.header("content-range")), (206, Some(told)), "{method} {target} {range:?}");
        }
    }
    for range in ["bytes=1000-", "bytes=99999999999999999999-"] {
        rig.send(rig.ask("GET", "/lake/o").header("range", range), &credential).await.is(416, "InvalidRange");
    }
}

#[tokio::test]
async fn content_headers_are_kept_as_they_are() {
    let rig = Rig::start().await;
    let credential = rig.whole();
    let kept = [
        ("content-disposition", "attachment; filename=\"Bücher.csv\""),
        ("content-language", "de, en"),
        ("content-encoding", "deflate, gzip"),
        ("content-type", "text/plain; title=é"),
        ("cache-control", "x-über=1"),
        ("expires", "0"),
    ];
    let mut ask = rig.ask("PUT", "/lake/o");
    for (name, value) in kept {
        ask = ask.header(name, value);
    }
    rig.send(ask.body("x"), &credential).await.ok();
    let copy = rig.ask("PUT", "/lake/c").header("x-amz-copy-source", "lake/o");
    rig.send(copy, &credential).await.ok();
    for (target, method) in [("/lake/o", "GET"), ("/lake/o", "HEAD"), ("/lake/c", "GET")] {
        let got = rig.send(rig.ask(method, target), &credential).await;
        for (name, value) in kept {
            assert_eq!(got.header(name), Some(value), "{method} {target}");
        }
    }
    let target = "/lake/o?response-expires=never&response-content-disposition=attachment%3B%20filename%3D%C3%BC";
    let got = rig.get(target, &credential).await;
    assert_eq!(
        (got.header("expires"), got.header("content-disposition")),
        (Some("never"), Some("attachment; filename=ü"))
    );
    rig.send(rig.ask("PUT", target).body("x"), &credential).await.is(501, "NotImplemented");
    let broken = rig.get("/lake/o?response-content-type=a%0Ab", &credential).await;
    broken.is(400, "InvalidArgument");
}
