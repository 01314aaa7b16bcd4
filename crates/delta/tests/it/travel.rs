//! Versions by number and by time.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use valetkey_core::nouns::table::{AsOf, TableLogs as _};

use crate::rig::{Rig, add, first, place, said, written};

#[tokio::test]
async fn versions_are_found_by_the_time_of_their_commits() {
    let rig = Rig::new();
    let place = rig.load("history");
    let version = async |at| rig.logs.version(&place, at).await;
    let nanosecond = SignedDuration::from_nanos(1);
    for (at, since, until) in [
        (written(0), 0, 0),
        (written(3), 3, 3),
        (written(3) - nanosecond, 3, 2),
        (written(3) + nanosecond, 4, 3),
        (written(6), 6, 6),
    ] {
        assert_eq!(version(AsOf::FirstSince(at)).await.unwrap(), since, "since {at}");
        assert_eq!(version(AsOf::LastUntil(at)).await.unwrap(), until, "until {at}");
    }
    assert_eq!(version(AsOf::FirstSince(Timestamp::UNIX_EPOCH)).await.unwrap(), 0);
    let early = version(AsOf::LastUntil(written(0) - nanosecond)).await.unwrap_err();
    assert!(said(&early).ends_with("is before the earliest version available to this table"), "{}", said(&early));
    let late = written(6) + nanosecond;
    for at in [AsOf::FirstSince(late), AsOf::LastUntil(late)] {
        let refused = version(at).await.unwrap_err();
        assert!(
            said(&refused).starts_with("invalid: ")
                && said(&refused).ends_with("is after the latest version available to this table")
        );
        assert_eq!(refused.field(), Some("timestamp"));
    }
    let files = rig.logs.files(&place, AsOf::LastUntil(written(2))).await.unwrap();
    assert_eq!((files.snapshot.version, files.files.len()), (2, 3));
    assert_eq!(files.committed_ms, Some(written(2).as_millisecond()));
    assert_eq!(
        rig.logs.files(&place, AsOf::Latest).await.unwrap().committed_ms,
        None,
        "nobody asked for a certain one"
    );
    assert_eq!(version(AsOf::Version(3)).await.unwrap(), 3);
    for asked in [7, u64::MAX] {
        let refused = version(AsOf::Version(asked)).await.unwrap_err();
        let words = format!("invalid: the table has no version {asked}; it has versions 0 to 6");
        assert_eq!(said(&refused), words);
        assert_eq!(said(&rig.logs.files(&place, AsOf::Version(asked)).await.unwrap_err()), words);
    }
}

#[tokio::test]
async fn commits_written_at_once_still_follow_each_other() {
    let rig = Rig::new();
    let place = place("t");
    for version in 0..4 {
        let lines = if version == 0 { first(&json!({})) } else { vec![add(&format!("f{version}"))] };
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        // Versions 2 and 3 have the time of version 1, or one before it.
        let at = if version == 3 { written(0) } else { written(version.min(1)) };
        rig.write(&place, &format!("{version:020}.json"), text.as_bytes(), at);
    }
    let found = rig.logs.commits(&place, AsOf::Version(0), AsOf::Latest).await.unwrap();
    let base = written(1).as_millisecond();
    let times: Vec<i64> = found.commits.iter().map(|commit| commit.committed_ms).collect();
    for (version, time) in times.iter().enumerate() {
        let files = rig.logs.files(&place, AsOf::Version(version as u64)).await.unwrap();
        assert_eq!(files.committed_ms, Some(*time));
    }
    assert_eq!(times, [written(0).as_millisecond(), base, base + 1, base + 2]);
    let at = Timestamp::from_millisecond(base + 1).unwrap();
    assert_eq!(rig.logs.version(&place, AsOf::FirstSince(at)).await.unwrap(), 2);
    assert_eq!(rig.logs.version(&place, AsOf::LastUntil(at)).await.unwrap(), 2);
}

#[tokio::test]
async fn commits_that_tell_their_time_are_believed() {
    let rig = Rig::new();
    let place = rig.load("timed");
    let day = |day: i64| Timestamp::from_millisecond(1_357_000_000_000 + day * 86_400_000).unwrap();
    assert_eq!(rig.logs.version(&place, AsOf::FirstSince(day(1))).await.unwrap(), 1);
    assert_eq!(rig.logs.version(&place, AsOf::LastUntil(day(2))).await.unwrap(), 2);
    let files = rig.logs.files(&place, AsOf::Version(1)).await.unwrap();
    assert_eq!(files.committed_ms, Some(day(1).as_millisecond()));
    assert!(rig.logs.version(&place, AsOf::FirstSince(day(3))).await.is_err());
    let found = rig.logs.commits(&place, AsOf::Version(1), AsOf::Latest).await.unwrap();
    let times: Vec<i64> = found.commits.iter().map(|commit| commit.committed_ms).collect();
    assert_eq!(times, [day(1).as_millisecond(), day(2).as_millisecond()]);
}
