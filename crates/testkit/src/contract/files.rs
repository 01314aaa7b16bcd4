//! What reading objects as the server itself must do, over objects that stand there already.

use valetkey_core::name::BucketName;
use valetkey_core::nouns::table::ObjectFiles;
use valetkey_core::storage::Storage;

/// The objects that must be in the bucket before, and nothing else: keys and bytes.
pub const OBJECTS: &[(&str, &[u8])] = &[
    ("a", b"before"),
    ("t/_delta_log/0", b"zero"),
    ("t/_delta_log/1", b"one"),
    ("t/_delta_log/1/x", b""),
    ("t/_delta_log/2 %2F\u{e9}", b"two"),
    ("t0", b"behind"),
];

/// Objects are listed in order, found by their exact key, and read whole or in part.
pub async fn objects_are_read_as_they_were_put(files: &dyn ObjectFiles, storage: &Storage, bucket: &BucketName) {
    let list = async |prefix: &str, after: &str, limit: usize| {
        let listed = files.list(storage, bucket, prefix.as_bytes(), after.as_bytes(), limit).await.unwrap();
        listed.into_iter().map(|listed| String::from_utf8(listed.key.into_vec()).unwrap()).collect::<Vec<_>>()
    };
    let all: Vec<&str> = OBJECTS.iter().map(|(key, _)| *key).collect();
    assert_eq!(list("", "", 100).await, all);
    let log = ["t/_delta_log/0", "t/_delta_log/1", "t/_delta_log/1/x", "t/_delta_log/2 %2F\u{e9}"];
    assert_eq!(list("t/_delta_log/", "", 100).await, log);
    assert_eq!(list("t/_delta_log/", "", 2).await, log[..2]);
    assert_eq!(list("t/_delta_log/", "t/_delta_log/1", 100).await, log[2..]);
    assert_eq!(list("t/_delta_log/", "t/_delta_log/0z", 100).await, log[1..]);
    assert_eq!(list("t/_delta_log/", "a", 100).await, log, "what comes before the prefix changes nothing");
    assert_eq!(list("t/_delta_log/", "u", 100).await, [""; 0]);
    assert_eq!(list("nothing/", "", 100).await, [""; 0]);

    for (key, bytes) in OBJECTS {
        let get = async |range| files.get(storage, bucket, key.as_bytes(), range).await.unwrap().unwrap();
        assert_eq!(get(None).await, *bytes, "{key}");
        assert_eq!(get(Some(0..u64::MAX)).await, *bytes, "{key}");
        assert_eq!(get(Some(1..3)).await, bytes.get(1..3.min(bytes.len())).unwrap_or_default(), "{key}");
        assert_eq!(get(Some(100..200)).await, b"", "{key}");
        let head = files.head(storage, bucket, key.as_bytes()).await.unwrap().unwrap();
        assert_eq!((&*head.key, head.size), (key.as_bytes(), bytes.len() as u64));
        let listed = files.list(storage, bucket, key.as_bytes(), b"", 1).await.unwrap();
        assert_eq!(listed, [head], "{key}");
    }
    for missing in ["", "t", "t/_delta_log", "t/_delta_log/", "t/_delta_log/2 /\u{e9}", "A"] {
        assert_eq!(files.get(storage, bucket, missing.as_bytes(), None).await.unwrap(), None, "{missing}");
        assert_eq!(files.head(storage, bucket, missing.as_bytes()).await.unwrap(), None, "{missing}");
    }
    let nowhere = BucketName::parse("no-such-bucket").unwrap();
    assert_eq!(files.get(storage, &nowhere, b"a", None).await.unwrap(), None);
    assert_eq!(files.list(storage, &nowhere, b"", b"", 10).await.unwrap(), []);
}
