//! What commits changed.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use valetkey_core::nouns::table::{AsOf, FileAction, ObjectFiles as _, TableCommits, TableLogs as _, Whereabouts};

use crate::rig::{Rig, add, bucket, first, place, remove, said, written};

/// A letter for each action of each commit.
fn letters(found: &TableCommits) -> Vec<String> {
    let letter = |action: &FileAction| match action {
        FileAction::Add(_) => 'a',
        FileAction::Remove(_) => 'r',
        FileAction::Cdc(_) => 'c',
    };
    found.commits.iter().map(|commit| commit.actions.iter().map(letter).collect()).collect()
}

#[tokio::test]
async fn the_feed_tells_changed_rows_where_they_were_written_down() {
    let rig = Rig::new();
    let place = rig.load("changes");
    let found = rig.logs.changes(&place, AsOf::Version(0), AsOf::Latest).await.unwrap();
    assert_eq!((found.start, found.end, found.before.version, found.latest.version), (0, 4, 0, 4));
    assert_eq!(letters(&found), ["a", "a", "c", "c", ""], "an optimize changes no rows");
    assert!(found.commits[0].protocol.is_some() && found.commits[0].metadata.as_ref().unwrap().keeps_changes());
    assert!(found.commits[1].metadata.is_none());
    for (version, commit) in (0..).zip(&found.commits) {
        assert_eq!((commit.version, commit.committed_ms), (version, written(version).as_millisecond()));
        for action in &commit.actions {
            let (place_, size) = match action {
                FileAction::Add(file) => (&file.place, file.size),
                FileAction::Cdc(file) => (&file.place, file.size),
                FileAction::Remove(file) => panic!("{file:?}"),
            };
            let Whereabouts::Inside(key) = place_ else { panic!("{place_:?}") };
            let head = rig.objects.head(&place.storage, &bucket(), key).await.unwrap().unwrap();
            assert_eq!(head.size, size);
        }
    }
    let plain = rig.logs.commits(&place, AsOf::Version(2), AsOf::Version(3)).await.unwrap();
    let sorted: Vec<String> = letters(&plain)
        .into_iter()
        .map(|text| {
            let mut letters: Vec<char> = text.chars().collect();
            letters.sort_unstable();
            letters.into_iter().collect()
        })
        .collect();
    assert!(sorted.iter().all(|letters| letters.starts_with('a') || letters.starts_with('r')), "{sorted:?}");
}

#[tokio::test]
async fn a_span_may_be_told_by_time() {
    let rig = Rig::new();
    let place = rig.load("changes");
    let later = SignedDuration::from_secs(1);
    let span = async |start, end| rig.logs.changes(&place, start, end).await.map(|found| (found.start, found.end));
    let hour = |version| AsOf::FirstSince(written(version));
    assert_eq!(span(hour(1), AsOf::LastUntil(written(3))).await.unwrap(), (1, 3));
    assert_eq!(span(hour(1), AsOf::LastUntil(Timestamp::MAX)).await.unwrap(), (1, 4));
    assert_eq!(span(AsOf::Version(2), AsOf::Version(99)).await.unwrap(), (2, 4), "an end past the last is the last");
    assert_eq!(span(AsOf::FirstSince(written(1) + later), AsOf::LastUntil(written(2))).await.unwrap(), (2, 2));
    let words = async |start, end| said(&span(start, end).await.unwrap_err());
    let backwards = "invalid: the ending version 1 is before the starting version 2";
    assert_eq!(words(AsOf::Version(2), AsOf::Version(1)).await, backwards);
    assert_eq!(words(AsOf::FirstSince(written(1) + later), AsOf::LastUntil(written(2) - later)).await, backwards);
    let beyond = "invalid: the table has no version 5; it has versions 0 to 4";
    assert_eq!(words(AsOf::Version(5), AsOf::Latest).await, beyond);
    assert!(
        words(AsOf::FirstSince(written(5)), AsOf::Latest)
            .await
            .ends_with("is after the latest version available to this table")
    );
    let early = words(AsOf::Version(0), AsOf::LastUntil(Timestamp::UNIX_EPOCH)).await;
    assert!(early.ends_with("is before the earliest version available to this table"), "{early}");
}

#[tokio::test]
async fn a_table_without_a_feed_has_commits_but_no_changes() {
    let rig = Rig::new();
    let place = rig.load("history");
    let refused = rig.logs.changes(&place, AsOf::Version(1), AsOf::Latest).await.unwrap_err();
    assert_eq!(said(&refused), "invalid: change data feed is not enabled on the table at version 1");
    let found = rig.logs.commits(&place, AsOf::Version(4), AsOf::Latest).await.unwrap();
    assert_eq!(letters(&found)[0], "a");
    assert_eq!(letters(&found)[1].len(), 2);
    let FileAction::Remove(gone) =
        found.commits[2].actions.iter().find(|action| matches!(action, FileAction::Remove(_))).unwrap()
    else {
        panic!()
    };
    assert!(matches!(gone.place, Whereabouts::Inside(_)) && gone.data_change);

    rig.unwrite(&place, "00000000000000000001.json");
    rig.unwrite(&place, "00000000000000000000.json");
    let gone = rig.logs.commits(&place, AsOf::Version(1), AsOf::Latest).await.unwrap_err();
    assert_eq!(said(&gone), "invalid: the table has no version 1; it has versions 4 to 6");
    rig.unwrite(&place, "00000000000000000004.json");
    let gone = rig.logs.commits(&place, AsOf::Version(4), AsOf::Latest).await.unwrap_err();
    assert_eq!(said(&gone), "invalid: version 4 cannot be read anymore; its log was cleaned up");
}

#[tokio::test]
async fn a_feed_that_was_off_in_between_is_refused() {
    let rig = Rig::new();
    let place = place("t");
    let [_, on] = <[_; 2]>::try_from(first(&json!({"delta.enableChangeDataFeed": "true"}))).unwrap();
    let [protocol, off] = <[_; 2]>::try_from(first(&json!({}))).unwrap();
    rig.commit(&place, 0, &[protocol, off.clone()]);
    rig.commit(&place, 1, &[on.clone(), add("a")]);
    rig.commit(
        &place,
        2,
        &[
            json!({"cdc": {"path": "_change_data/c", "partitionValues": {"p": null}, "size": 3, "dataChange": false}}),
            remove("a"),
        ],
    );
    rig.commit(&place, 3, &[off]);
    rig.commit(&place, 4, &[on, add("b")]);
    let at = |start, end| rig.logs.changes(&place, AsOf::Version(start), AsOf::Version(end));
    let words = async |start, end| said(&at(start, end).await.unwrap_err());
    let refusal = |version| format!("invalid: change data feed is not enabled on the table at version {version}");
    assert_eq!(words(0, 1).await, refusal(0));
    assert_eq!(letters(&at(1, 2).await.unwrap()), ["a", "c"]);
    assert_eq!(words(1, 3).await, refusal(3));
    assert_eq!(words(2, 4).await, refusal(3));
    assert_eq!(letters(&at(4, 4).await.unwrap()), ["a"]);
    assert_eq!(
        letters(&rig.logs.commits(&place, AsOf::Version(0), AsOf::Latest).await.unwrap()),
        ["", "a", "r", "", "a"]
    );
}
