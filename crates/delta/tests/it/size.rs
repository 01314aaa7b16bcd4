//! Tables of many files.

use std::sync::Arc;

use serde_json::json;
use valetkey_core::Kind;
use valetkey_core::nouns::table::{AsOf, TableLogs as _};
use valetkey_delta::Limits;

use crate::rig::{Rig, add, first, place, said};

#[tokio::test]
async fn ten_thousand_files_in_a_hundred_commits_are_one_answer() {
    let rig = Rig::new();
    let place = place("t");
    for version in 0..100 {
        let mut lines = if version == 0 { first(&json!({})) } else { Vec::new() };
        lines.extend((0..100).map(|file| add(&format!("day={version}/part-{file:05}.parquet"))));
        rig.commit(&place, version, &lines);
    }
    let found = rig.logs.files(&place, AsOf::Latest).await.unwrap();
    assert_eq!((found.files.len(), found.snapshot.size), (10_000, Some(70_000)));
    assert!(found.files.is_sorted_by(|one, other| one.path < other.path));
}

/// A table of so many files.
fn wide(rig: &Rig, files: usize) -> valetkey_core::nouns::table::TablePlace {
    let place = place("t");
    let mut lines = first(&json!({}));
    lines.extend((0..files).map(|file| add(&format!("part-{file:05}.parquet"))));
    rig.commit(&place, 0, &lines);
    place
}

#[tokio::test]
async fn files_too_many_to_be_kept_are_in_memory_once_however_many_answers_are_made_of_them() {
    let rig = Rig::with(Limits { cache_bytes: 20_000, ..Limits::default() });
    let place = wide(&rig, 1000);
    let first = rig.logs.files(&place, AsOf::Latest).await.unwrap();
    let second = rig.logs.files(&place, AsOf::Latest).await.unwrap();
    assert!(Arc::ptr_eq(&first.files, &second.files));
    rig.commit(&place, 1, &[add("more.parquet")]);
    let third = rig.logs.files(&place, AsOf::Latest).await.unwrap();
    assert_eq!((second.files.len(), third.files.len()), (1000, 1001), "a later version is another one");
    let gone = Arc::downgrade(&third.files);
    drop(third);
    assert!(gone.upgrade().is_none(), "nothing is kept behind the last answer");
}

#[tokio::test]
async fn entries_that_fill_the_memory_are_refused() {
    let rig = Rig::with(Limits { entry_bytes: 100_000, ..Limits::default() });
    let place = wide(&rig, 1000);
    let refused = rig.logs.files(&place, AsOf::Latest).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid);
    assert!(said(&refused).contains("too many bytes of entries"), "{refused}");
    let rig = Rig::with(Limits { entry_bytes: 100_000, ..Limits::default() });
    assert!(rig.logs.files(&wide(&rig, 10), AsOf::Latest).await.is_ok());
}
