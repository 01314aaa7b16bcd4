//! Listing, held against the plainest listing there could be.

use std::collections::BTreeSet;

use proptest::prelude::*;
use valetkey_core::scope::{Actions, Path, Paths};

use crate::rig::{BUCKET, Credential, Rig};

fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned()
}

/// A page: keys, common prefixes, and where the next one starts.
pub(crate) type Page = (Vec<String>, Vec<String>, Option<String>);

pub(crate) async fn page(rig: &Rig, credential: &Credential, query: &str, next: &str) -> Result<Page, (u16, String)> {
    let answer = rig.get(&format!("/lake?encoding-type=url{query}"), credential).await;
    if answer.status != 200 {
        return Err(answer.outcome());
    }
    let decoded = |element: &str| -> Vec<String> { answer.all(element).iter().map(|text| decode(text)).collect() };
    let prefixes = answer
        .all("CommonPrefixes")
        .into_iter()
        .map(|text| decode(text.strip_prefix("<Prefix>").unwrap().strip_suffix("</Prefix>").unwrap()));
    let next = (answer.one("IsTruncated") == "true").then(|| answer.one(next));
    Ok((decoded("Key"), prefixes.collect(), next))
}

/// Every page of a listing, put together; in one version of the operation or the other.
pub(crate) async fn walk(
    rig: &Rig,
    credential: &Credential,
    version: u8,
    (prefix, delimiter, after, size): (&str, &str, &str, usize),
) -> Result<(Vec<String>, Vec<String>), (u16, String)> {
    let base = format!("&prefix={}&delimiter={}&max-keys={size}", encode(prefix), encode(delimiter));
    let (mut keys, mut prefixes) = (Vec::new(), Vec::new());
    let mut from = match (version, after) {
        (_, "") => String::new(),
        (2, after) => format!("&start-after={}", encode(after)),
        (_, after) => format!("&marker={}", encode(after)),
    };
    for _ in 0..1000 {
        let (more, more_prefixes, next) = if version == 2 {
            page(rig, credential, &format!("&list-type=2{base}{from}"), "NextContinuationToken").await?
        } else {
            page(rig, credential, &format!("{base}{from}"), "NextMarker").await?
        };
        assert!(more.len() + more_prefixes.len() <= size);
        keys.extend(more);
        prefixes.extend(more_prefixes);
        let Some(next) = next else { return Ok((keys, prefixes)) };
        from = if version == 2 {
            format!("&continuation-token={next}")
        } else {
            format!("&marker={}", encode(&decode(&next)))
        };
    }
    panic!("the listing does not end");
}

/// The plainest listing.
fn oracle(
    keys: &BTreeSet<String>,
    covers: impl Fn(&str) -> bool,
    (prefix, delimiter, after): (&str, &str, &str),
) -> (Vec<String>, Vec<String>) {
    let (mut found, mut prefixes) = (Vec::new(), Vec::<String>::new());
    for key in keys.iter().filter(|key| key.starts_with(prefix) && key.as_str() > after && covers(key)) {
        match key[prefix.len()..].find(delimiter).filter(|_| !delimiter.is_empty()) {
            Some(at) => {
                let common = key[..prefix.len() + at + delimiter.len()].to_owned();
                if prefixes.last() != Some(&common) {
                    prefixes.push(common);
                }
            }
            None => found.push(key.clone()),
        }
    }
    (found, prefixes)
}

fn covers(path: &Path, key: &str) -> bool {
    let key = key.as_bytes();
    match path {
        Path::Object(own) => key == &**own,
        Path::Directory(own) => key == &**own || key.starts_with(&[own, &b"/"[..]].concat()),
        Path::Prefix(own) => key.starts_with(own),
    }
}

fn name() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec!["a", "b", "/", "/", "/", "-", "é", "b/a", "%2F", " ", "z"]);
    prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

fn path() -> impl Strategy<Value = Path> {
    (name(), 0..3).prop_filter_map("a directory may not end in a slash", |(name, kind)| match kind {
        0 => Path::object(name.as_bytes()).ok(),
        1 => Path::directory(name.as_bytes()).ok(),
        _ => Path::prefix(name.as_bytes()).ok(),
    })
}

#[test]
fn listing_agrees_with_the_oracle() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rig = runtime.block_on(Rig::start());
    let case = (
        prop::collection::btree_set(name(), 0..25),
        prop::collection::vec(path(), 1..5),
        // What is asked for is often on a border of the scope.
        prop_oneof![
            Just(String::new()),
            name(),
            prop::sample::select(vec!["a".to_owned(), "a/".to_owned(), "b/a".to_owned()])
        ],
        prop::sample::select(vec!["", "/", "a", "b/"]),
        prop_oneof![3 => Just(String::new()), 1 => name()],
        prop::sample::select(vec![1usize, 2, 3, 1000]),
        any::<bool>(),
    );
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let all = rig.whole();
    let outcome = runner.run(&case, |(keys, paths, prefix, delimiter, after, size, on_border)| {
        let prefix = if on_border { String::from_utf8(paths[0].bytes().to_vec()).unwrap() } else { prefix };
        // A store behind has no such keys, and a disk not both a file and a folder of one name.
        let fits = |key: &String| {
            let plain = !key.starts_with('/') && !key.ends_with('/') && !key.contains("//");
            plain && !keys.iter().any(|other| other.starts_with(&format!("{key}/")))
        };
        let keys: BTreeSet<String> =
            keys.iter().filter(|key| !rig.is_behind() || rig.forwards() || fits(key)).cloned().collect();
        runtime.block_on(async {
            let (old, _) = walk(&rig, &all, 2, ("", "", "", 1000)).await.unwrap();
            // All at once, so that they share commits.
            let delete = |key: &String| rig.send(rig.ask("DELETE", &format!("/lake/{}", encode(key))), &all);
            let gone = futures::future::join_all(old.iter().filter(|key| !keys.contains(*key)).map(delete)).await;
            assert!(gone.iter().all(|answer| answer.status == 204));
            let new = keys.iter().filter(|key| !old.contains(*key));
            futures::future::join_all(new.map(|key| rig.put(BUCKET, key, ""))).await;
            let query = (prefix.as_str(), delimiter, after.as_str(), size);
            let asked = (prefix.as_str(), delimiter, after.as_str());
            for version in [1, 2] {
                // A marker in the first version may be a common prefix, which then is behind us whole.
                if version == 1 && !after.is_empty() && !delimiter.is_empty() {
                    continue;
                }
                let got = walk(&rig, &all, version, query).await.unwrap();
                prop_assert_eq!(got, oracle(&keys, |_| true, asked), "all, version {}", version);
                let credential = rig.vend(Paths::only(&paths).unwrap(), Actions::READ);
                let inside = |key: &str| paths.iter().any(|path| covers(path, key));
                let got = walk(&rig, &credential, version, query).await;
                let inside_prefix = paths.iter().any(|path| match path {
                    Path::Object(own) => **own == *prefix.as_bytes(),
                    Path::Directory(_) | Path::Prefix(_) => covers(path, &prefix),
                });
                if inside_prefix {
                    prop_assert_eq!(got, Ok(oracle(&keys, inside, asked)), "{:?}, version {}", paths, version);
                } else {
                    prop_assert_eq!(got, Err((403, "AccessDenied".to_owned())));
                }
            }
            Ok(())
        })
    });
    outcome.unwrap();
}
