//! A disk that is full, or whose fsync fails, and then is well again: refused as such, and served again without a restart.

use std::sync::Arc;

use tempfile::TempDir;
use valetkey_testkit::disk::{Fault, FaultyDisk};

use crate::multipart::until_files;
use crate::rig::{Rig, noise};

#[test]
fn a_write_the_disk_does_not_take_is_503_and_the_next_one_is_taken() {
    let scratch = TempDir::new().unwrap();
    let name = "disk::a_write_the_disk_does_not_take_is_503_and_the_next_one_is_taken";
    let Some(disk) = FaultyDisk::enter(name, scratch.path()) else { return };
    let dir = Arc::new(TempDir::new_in(disk.root()).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let rig = Rig::start_in(dir, |_| {}).await;
        let credential = rig.whole();
        let (small, large) = (noise(1, 12_000), noise(2, 300_000));
        for fault in Fault::ALL {
            rig.send(rig.ask("PUT", "/lake/kept").body(small.clone()), &credential).await.ok();
            rig.send(rig.ask("PUT", "/lake/gone").body(small.clone()), &credential).await.ok();
            rig.endpoint.ready().await.unwrap();
            disk.fail(fault);
            for body in [&small, &large, &small] {
                let refused = rig.send(rig.ask("PUT", "/lake/new").body(body.clone()), &credential).await;
                assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{}", refused.text());
                assert!(refused.text().contains("<Code>ServiceUnavailable</Code>"), "{}", refused.text());
            }
            let unready = rig.endpoint.ready().await.unwrap_err();
            assert_eq!(unready.kind(), valetkey_core::Kind::Unavailable);
            // What is there can be read all the while.
            assert!(rig.get("/lake/kept", &credential).await.body == small);
            disk.heal();
            rig.send(rig.ask("PUT", "/lake/new").body(large.clone()), &credential).await.ok();
            rig.send(rig.ask("DELETE", "/lake/gone"), &credential).await.ok();
            assert!(rig.get("/lake/new", &credential).await.body == large);
            assert_eq!(rig.get("/lake/gone", &credential).await.status, 404);
            while rig.endpoint.ready().await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            // Files that nothing refers to went: a full disk needs the room.
            until_files(&rig, 1).await;
            rig.send(rig.ask("DELETE", "/lake/new"), &credential).await.ok();
        }
    });
}
