//! How long `who-can` takes among a hundred thousand grants of one account: `cargo run --release --example reach_rate`.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "an example that prints a figure")]

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use valetkey_core::account::{Account, Metering, OwnQuota, Standing};
use valetkey_core::grant::{Grant, Grantee, Origin};
use valetkey_core::id::{AccountId, CallerId, GrantId, StorageId};
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::reach::{Place, Question};
use valetkey_core::scope::{Action, Actions, Path, Paths, Scope};
use valetkey_core::snapshot::Snapshot;
use valetkey_core::storage::{Storage, StorageKind};
use valetkey_core::time::Lifetime;

fn id(number: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn grant(number: u32) -> Grant {
    let path = Path::directory(format!("jobs/{}/{number}", number % 100).as_bytes()).unwrap();
    Grant {
        id: GrantId::from_bytes(id(number)),
        name: Name::parse(&format!("grant-{number:06}")).unwrap(),
        account: AccountId::from_bytes(id(1)),
        to: Grantee::Caller(CallerId::from_bytes(id(number % 5000))),
        storage: StorageId::from_bytes(id(2)),
        origin: Origin::Plain,
        scope: Scope::new(BucketName::parse("lake").unwrap(), Paths::only([path]).unwrap(), Actions::READ)
            .unwrap()
            .into(),
        max_lifetime: Lifetime::secs(3600),
        from: None,
        until: None,
        conditions: None,
    }
}

fn main() {
    let account = Account {
        id: AccountId::from_bytes(id(1)),
        name: Name::parse("acme").unwrap(),
        standing: Standing::Active,
        metering: Metering::Free,
        datasets_bucket: None,
        quota: OwnQuota::default(),
    };
    let storage = Storage {
        id: StorageId::from_bytes(id(2)),
        name: Name::parse("lake").unwrap(),
        kind: StorageKind::Embedded,
        endpoint: "http://127.0.0.1:9000".into(),
        internal_endpoint: None,
        region: "us-east-1".into(),
        min_lifetime: Lifetime::secs(1),
        max_lifetime: Lifetime::secs(3600),
        external: None,
    };
    let grants: Vec<Grant> = (0..100_000).map(grant).collect();
    let snapshot = Snapshot::new(account, [Arc::new(storage)], grants, Timestamp::UNIX_EPOCH);
    for text in ["s3://lake/jobs/7/4207/x", "s3://lake/jobs/7/"] {
        let place = Place::parse(text).unwrap();
        let actions = Some(Actions::of(&[Action::GetObject]));
        let question = Question { actions, place: Some(&place), ..Question::default() };
        let begun = Instant::now();
        let found = question.answers(&snapshot, None).count();
        println!("{text}: {found} of 100000 grants in {:?}", begun.elapsed());
    }
}
