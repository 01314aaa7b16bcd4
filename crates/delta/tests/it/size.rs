//! Tables of many files.

use serde_json::json;
use valetkey_core::table::{AsOf, TableLogs as _};

use crate::rig::{Rig, add, first, place};

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
