//! An S3 to stand in front of: another endpoint, whose own buckets are opened with credentials it made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use valetkey_core::fair::Budget;
use valetkey_core::id::{AccountId, CallerId, LeaseId, TokenId};
use valetkey_core::keyring::SharedKeyring;
use valetkey_core::lease::Lease;
use valetkey_core::name::BucketName;
use valetkey_core::scope::{Actions, Paths, Rights};
use valetkey_core::time::{Clock as _, Entropy as _, random_10};
use valetkey_s3::{Config, Endpoint, World};
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;

use crate::rig::{STORAGE, TestLeases, TestParents, ring};

#[expect(
    clippy::disallowed_methods,
    reason = "the library signs at the machine's time, and so the server must have it"
)]
pub(crate) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

async fn serve(dir: PathBuf, tell: mpsc::Sender<BTreeMap<&'static str, (String, Vec<u8>)>>) {
    let clock = Arc::new(FixedClock::default());
    clock.advance_secs(now().as_second() - clock.now().as_second());
    let (entropy, tasks) = (Arc::new(SeededEntropy::new(11)), TaskTracker::new());
    let keyring = SharedKeyring::new(ring(&[1]));
    let world = World {
        keyring: keyring.clone(),
        leases: Arc::new(TestLeases::default()),
        parents: Arc::new(TestParents::default()),
        quotas: Arc::new(TestLeases::default()),
        health: valetkey_core::health::Health::new(Arc::clone(&clock) as Arc<_>),
        meter: Arc::new(TestLeases::default()),
        clock: Arc::clone(&clock) as Arc<_>,
        entropy: Arc::clone(&entropy) as Arc<_>,
        budget: Budget::new(256 * 1024 * 1024),
        tasks: tasks.clone(),
    };
    let endpoint = Endpoint::open(Config::new(STORAGE, dir), world).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut told = BTreeMap::new();
    for bucket in ["lake", "other"] {
        let name = BucketName::parse(bucket).unwrap();
        endpoint.ensure_bucket(&name).await.unwrap();
        let now = clock.now();
        let scope = Rights::of(name, Paths::Whole, Actions::READ_WRITE).unwrap();
        let lease = Lease {
            id: LeaseId::new(now, random_10(&*entropy)),
            account: AccountId::new(now, random_10(&*entropy)),
            caller: CallerId::new(now, random_10(&*entropy)),
            token: TokenId::new(now, random_10(&*entropy)),
            storage: STORAGE,
            rights: Arc::new(scope),
            grants: [].into(),
            dialect: "test".into(),
            credits: 0,
            opened: now,
            until: jiff::Timestamp::from_second(now.as_second() + 3600).unwrap(),
        };
        let mut nonce = [0; 12];
        entropy.fill(&mut nonce);
        let ring = keyring.load();
        let id = ring.access_key_id(lease.id).unwrap();
        let settings = format!(
            "{{\"backend\":\"s3\",\"endpoint\":\"http://{address}\",\"allow_http\":true,\"exact_keys\":true,\"trailing_checksums\":{}}}",
            bucket == "lake"
        );
        let secrets = format!(
            "{{\"access_key_id\":\"{id}\",\"secret_access_key\":\"{}\",\"session_token\":\"{}\"}}",
            ring.secret_access_key(&id).unwrap().reveal(),
            ring.seal(&lease, &id, nonce).unwrap().reveal()
        );
        told.insert(bucket, (settings, secrets.into_bytes()));
    }
    tell.send(told).unwrap();
    while let Ok((socket, _)) = listener.accept().await {
        let service = endpoint.clone();
        tasks.spawn(async move {
            let connection = Builder::new(TokioExecutor::new());
            let service = TowerToHyperService::new(service);
            drop(connection.serve_connection(TokioIo::new(socket), service).await);
        });
    }
}

/// Starts the other S3 and opens the way to it.
pub(crate) fn open(dir: &Path) -> crate::each::Each {
    let ((tell, told), dir) = (mpsc::channel(), dir.to_path_buf());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(serve(dir, tell));
    });
    let told = told.recv().unwrap();
    let open = |bucket: &str| {
        let (settings, secrets) = &told[bucket];
        valetkey_gateway::open(settings, secrets).unwrap()
    };
    crate::each::Each { ways: [("lake", open("lake")), ("other", open("other"))].into(), forwards: true }
}
