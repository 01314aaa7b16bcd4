//! Objects as the server itself reads them.

use valetkey_core::error::Kind;
use valetkey_core::id::StorageId;
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::table::ObjectFiles as _;
use valetkey_core::storage::{Storage, StorageKind};
use valetkey_core::time::Lifetime;
use valetkey_testkit::contract::files::{OBJECTS, objects_are_read_as_they_were_put};

use crate::rig::{BUCKET, Rig, STORAGE};

fn storage(id: StorageId) -> Storage {
    Storage {
        id,
        name: Name::parse("own").unwrap(),
        kind: StorageKind::Embedded,
        endpoint: "http://s3.localhost".into(),
        internal_endpoint: None,
        region: "us-east-1".into(),
        min_lifetime: Lifetime::secs(1),
        max_lifetime: Lifetime::secs(3600),
        external: None,
    }
}

#[tokio::test]
async fn the_server_reads_its_objects_as_they_were_put() {
    let rig = Rig::start().await;
    for (key, bytes) in OBJECTS {
        rig.put(BUCKET, key, bytes.to_vec()).await;
    }
    let bucket = BucketName::parse(BUCKET).unwrap();
    objects_are_read_as_they_were_put(&rig.endpoint, &storage(STORAGE), &bucket).await;
    let foreign = storage(StorageId::from_bytes([6; 16]));
    let refused = rig.endpoint.get(&foreign, &bucket, b"a", None).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid, "the objects of another storage are not here");
    assert!(rig.endpoint.list(&foreign, &bucket, b"", b"", 1).await.is_err());
    assert!(rig.endpoint.head(&foreign, &bucket, b"a").await.is_err());
}

#[tokio::test]
async fn an_object_in_files_is_read_in_ranges() {
    let rig = Rig::start().await;
    let bytes: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    rig.put(BUCKET, "large", bytes.clone()).await;
    let bucket = BucketName::parse(BUCKET).unwrap();
    for range in [0..u64::MAX, 0..1, 300_000..700_000, 999_999..2_000_000, 1_000_000..1_000_001] {
        let got = rig.endpoint.get(&storage(STORAGE), &bucket, b"large", Some(range.clone())).await.unwrap().unwrap();
        let end = (range.end as usize).min(bytes.len());
        assert_eq!(got, bytes[range.start as usize..end], "{range:?}");
    }
}
