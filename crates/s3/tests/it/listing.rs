//! Listing: what it tells and what it refuses.

use data_encoding::BASE64URL_NOPAD;
use valetkey_core::scope::{Action, Actions, Paths};

use crate::oracle::{page, walk};
use crate::rig::{BUCKET, Rig};

async fn filled(keys: &[&str]) -> Rig {
    let rig = Rig::start().await;
    for key in keys {
        rig.put(BUCKET, key, "x").await;
    }
    rig
}

#[tokio::test]
async fn the_sibling_is_neither_told_nor_counted() {
    let rig = filled(&["jobs/daily", "jobs/daily-secret/x", "jobs/daily/a", "jobs/daily/b/c", "jobs/daily0"]).await;
    let credential = rig.directory("jobs/daily", Actions::READ);
    let whole = page(&rig, &credential, "&list-type=2&prefix=jobs%2Fdaily", "NextContinuationToken").await.unwrap();
    assert_eq!(whole, (vec!["jobs/daily".into(), "jobs/daily/a".into(), "jobs/daily/b/c".into()], vec![], None));
    let rolled = page(&rig, &credential, "&list-type=2&prefix=jobs%2Fdaily&delimiter=%2F", "").await.unwrap();
    assert_eq!(rolled, (vec!["jobs/daily".into()], vec!["jobs/daily/".into()], None));
    let one =
        page(&rig, &credential, "&list-type=2&prefix=jobs%2Fdaily&max-keys=1", "NextContinuationToken").await.unwrap();
    assert_eq!(one.0, ["jobs/daily"]);
    // A token is a place and no more: made up for outside, it shows nothing there.
    for outside in ["", "jobs/daily-", "jobs/daily-secret/", "a"] {
        let token = BASE64URL_NOPAD.encode(format!("k{outside}").as_bytes());
        let query = format!("&list-type=2&prefix=jobs%2Fdaily&continuation-token={token}");
        let (keys, _, _) = page(&rig, &credential, &query, "NextContinuationToken").await.unwrap();
        assert!(keys.iter().all(|key| key == "jobs/daily" || key.starts_with("jobs/daily/")), "{keys:?}");
    }
}

#[tokio::test]
async fn the_parameters_of_a_listing_are_checked() {
    let rig = filled(&["a", "b/1", "b/2", "c"]).await;
    let credential = rig.whole();
    for bad in [
        "list-type=2&max-keys=-1",
        "list-type=2&max-keys=x",
        "list-type=2&max-keys=99999999999",
        "list-type=2&encoding-type=base64",
        "list-type=2&continuation-token=%21",
        "list-type=2&continuation-token=",
        "list-type=2&continuation-token=AAAA",
        "max-keys=-1",
    ] {
        rig.get(&format!("/lake?{bad}"), &credential).await.is(400, "InvalidArgument");
    }
    rig.get("/lake?list-type=3", &credential).await.is(501, "NotImplemented");
    rig.get("/lake?list-type=2&prefix=a&prefix=b", &credential).await.is(400, "InvalidRequest");
    let none = rig.get("/lake?list-type=2&max-keys=0", &credential).await;
    assert_eq!((none.one("KeyCount"), none.one("IsTruncated")), ("0".to_owned(), "false".to_owned()));
    let all = rig.get("/lake/?list-type=2&max-keys=5000&delimiter=&fetch-owner=true", &credential).await;
    assert_eq!((all.all("Key").len(), all.one("MaxKeys")), (4, "1000".to_owned()));
    assert!(all.all("ID")[0].starts_with("acc_"));
    assert_eq!(all.one("Name"), "lake");
    // Another store has its own clock.
    assert!(rig.is_behind() || all.all("LastModified")[0] == "2026-01-01T00:00:00.000Z");
    assert_eq!(all.all("StorageClass")[0], "STANDARD");
    // In the first version a common prefix is a marker that leaves behind all it stands for.
    let marked = page(&rig, &credential, "&delimiter=%2F&marker=b%2F", "NextMarker").await.unwrap();
    assert_eq!(marked, (vec!["c".into()], vec![], None));
}

#[tokio::test]
async fn a_listing_needs_its_action() {
    let rig = filled(&["a/1"]).await;
    let blind = rig.vend(Paths::Whole, Actions::of(&[Action::GetObject]));
    rig.get("/lake?list-type=2", &blind).await.is(403, "AccessDenied");
    rig.get("/lake/a/1", &blind).await.ok();
    rig.send(rig.ask("HEAD", "/lake"), &blind).await.is(403, "");
    let lister = rig.vend(Paths::Whole, Actions::of(&[Action::ListBucket]));
    rig.get("/lake?list-type=2", &lister).await.ok();
    rig.get("/lake/a/1", &lister).await.is(403, "AccessDenied");
    let reader = rig.directory("a", Actions::READ);
    rig.send(rig.ask("HEAD", "/lake"), &reader).await.is(200, "");
    rig.send(rig.ask("HEAD", "/other"), &reader).await.is(403, "");
    rig.send(rig.ask("HEAD", "/nowhere"), &reader).await.is(403, "");
    let nowhere = rig.vend_for("nowhere", Paths::Whole, Actions::READ_WRITE, 60);
    rig.send(rig.ask("HEAD", "/nowhere"), &nowhere).await.is(404, "");
    rig.get("/nowhere?list-type=2", &nowhere).await.is(404, "NoSuchBucket");
    rig.send(rig.ask("PUT", "/nowhere/o").body("x"), &nowhere).await.is(404, "NoSuchBucket");
}

#[tokio::test]
async fn a_common_prefix_costs_the_same_however_much_it_stands_for() {
    let rig = Rig::start().await;
    for n in 0..3000 {
        // Twenty keys at a time, so that they share commits.
        if n % 20 == 0 {
            futures::future::join_all((n..n + 20).map(|n| {
                let (rig, key) = (&rig, format!("many/{n:05}"));
                async move { rig.put(BUCKET, &key, "").await }
            }))
            .await;
        }
    }
    rig.put(BUCKET, "zoo", "x").await;
    let credential = rig.whole();
    let (keys, prefixes, next) = page(&rig, &credential, "&list-type=2&delimiter=%2F", "").await.unwrap();
    assert_eq!((keys, prefixes, next), (vec!["zoo".into()], vec!["many/".into()], None));
    let (keys, _) = walk(&rig, &credential, 2, ("many/", "", "", 1000)).await.unwrap();
    assert_eq!(keys.len(), 3000);
    assert!(keys.is_sorted());
}

/// Enough keys below each common prefix that the index skips past them.
#[tokio::test]
async fn what_one_common_prefix_stands_for_is_skipped() {
    let mut keys = Vec::new();
    for directory in 0..12 {
        for file in 0..12 {
            keys.push(format!("d/{directory:02}/{file:02}"));
            keys.push(format!("d/{directory:02}-{file:02}"));
        }
        keys.push(format!("d/{directory:02}0"));
        keys.push(format!("d/{directory:02}/\u{ff}"));
    }
    keys.sort_unstable();
    let rig = filled(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let rolled = |keys: &[String], prefix: &str, delimiter: &str| {
        let (mut plain, mut prefixes) = (Vec::new(), Vec::new());
        for key in keys {
            let Some(rest) = key.strip_prefix(prefix) else { continue };
            match rest.find(delimiter) {
                Some(at) => prefixes.push(format!("{prefix}{}", &rest[..at + delimiter.len()])),
                None => plain.push(key.clone()),
            }
        }
        prefixes.dedup();
        (plain, prefixes)
    };
    let whole = rig.whole();
    for (prefix, delimiter) in
        [("d/", "/"), ("", "/"), ("d/", "-"), ("d/", "-0"), ("d/0", "/"), ("d/11/", "/"), ("d/", "\u{ff}")]
    {
        for size in [7, 1000] {
            for version in [1, 2] {
                let told = walk(&rig, &whole, version, (prefix, delimiter, "", size)).await.unwrap();
                assert_eq!(told, rolled(&keys, prefix, delimiter), "{prefix} {delimiter} {size} {version}");
            }
        }
    }
    // What the credential does not open is neither told nor hides what it does.
    let credential = rig.directory("d/07", Actions::READ);
    let told = walk(&rig, &credential, 2, ("d/07", "/", "", 1000)).await.unwrap();
    assert_eq!(told, (Vec::new(), vec!["d/07/".to_owned()]));
}
