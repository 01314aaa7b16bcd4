//! The registry: what it makes, lists and refuses.

use std::sync::Arc;

use valetkey_core::Kind;
use valetkey_core::account::{Metering, Standing};
use valetkey_core::caller::{CallerRecord, CallerStanding, Role};
use valetkey_core::error::{Noun, Stranger};
use valetkey_core::grant::{Grantee, NewGrant};
use valetkey_core::id::{AccountId, CallerId, DatasetId, GrantId, StorageId};
use valetkey_core::nouns::dataset::{NewDataset, Newest};
use valetkey_core::nouns::registry::NewStorage;
use valetkey_core::scope::Path;
use valetkey_core::storage::{ExternalConfig, Quota, Revocability, Sharing, Storage, StorageKind};
use valetkey_core::time::Lifetime;
use valetkey_core::token::{Maker, PlainToken};

use crate::contract::bench::{Bench, ask, bucket, by, name, new_grant, new_storage, reads};

/// A dataset to be added.
pub fn new_dataset(storage: &Storage, text: &str) -> NewDataset {
    NewDataset {
        id: (),
        name: name(text),
        topic: name("jobs"),
        description: "jobs of the day, \"quoted\" & 'so'".to_owned(),
        storage: storage.id,
        bucket: bucket("lake"),
        path: Path::directory(b"jobs/daily").unwrap(),
        format: "parquet".to_owned(),
        frequency: "daily".to_owned(),
        version: "1".to_owned(),
        deprecated: false,
        newest: Newest::ByKey,
        dictionary: Some(b"docs/jobs \xff.csv".as_slice().into()),
        sample: None,
    }
}

/// Each in its own room.
pub async fn names_are_taken_once(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let now = bench.now();
    let registry = &bench.registry;
    let taken = |noun| Kind::AlreadyExists(noun);
    assert_eq!(
        registry.create_account(&name("acme"), Metering::Free, now).await.unwrap_err().kind(),
        taken(Noun::Account)
    );
    assert_eq!(
        registry.ensure_caller(tenant.account.id, &name("ann"), Role::Admin, now).await.unwrap_err().kind(),
        taken(Noun::Caller)
    );
    assert_eq!(registry.create_storage(new_storage("lake"), now).await.unwrap_err().kind(), taken(Noun::Storage));
    let second = registry.create_storage(new_storage("second"), now).await.unwrap();
    assert_eq!(registry.create_bucket(second.id, &bucket("lake"), now).await.unwrap_err().kind(), taken(Noun::Bucket));
    assert_eq!(registry.change_storage(second.id, new_storage("lake")).await.unwrap_err().kind(), taken(Noun::Storage));
    registry.create_dataset(new_dataset(&tenant.storage, "jobs"), now).await.unwrap();
    let refused = registry.create_dataset(new_dataset(&tenant.storage, "jobs"), now).await.unwrap_err();
    assert_eq!(refused.kind(), taken(Noun::Dataset));
    let grant = new_grant(tenant.account.id, &tenant.storage, "daily", reads("lake", &["x"]));
    let refused = registry.create_grant(grant.clone(), now).await.unwrap_err();
    assert_eq!((refused.kind(), refused.field()), (taken(Noun::Grant), Some("name")));
    // Another account has its own names.
    let other = registry.create_account(&name("other"), Metering::Free, now).await.unwrap();
    registry.ensure_caller(other.id, &name("ann"), Role::Admin, now).await.unwrap();
    registry.create_grant(NewGrant { account: other.id, ..grant }, now).await.unwrap();
}

/// What is configured of a store that somebody else runs reads back, and each change makes another version of it.
pub async fn a_stores_settings_read_back_and_their_changes_are_counted(bench: &Bench) {
    let registry = &bench.registry;
    let external = ExternalConfig {
        settings: r#"{"region":"eu-west-1"}"#.into(),
        secrets: Some(Box::from([7_u8, 8, 9])),
        sharing: Sharing::Anyone,
        quota: Quota { calls_per_sec: 5, burst: 9 },
        revocation: Revocability::ExpiryOnly,
        version: 77,
    };
    let new = NewStorage { kind: StorageKind::Sts, external: Some(Arc::new(external.clone())), ..new_storage("aws") };
    let made = registry.create_storage(new.clone(), bench.now()).await.unwrap();
    assert_eq!(made, new.stored(made.id, 1));
    let listed = async || registry.storages().await.unwrap().into_iter().find(|storage| storage.id == made.id).unwrap();
    assert_eq!(listed().await, made);
    let other = ExternalConfig { settings: "{}".into(), secrets: None, sharing: Sharing::Caller, ..external };
    let new = NewStorage { kind: StorageKind::Sts, external: Some(Arc::new(other)), ..new_storage("aws") };
    let changed = registry.change_storage(made.id, new.clone()).await.unwrap();
    assert_eq!(changed, new.clone().stored(made.id, 2));
    assert_eq!(listed().await, changed);
    let kind = NewStorage { kind: StorageKind::R2, ..new };
    let refused = registry.change_storage(made.id, kind).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::NotFound(Noun::Storage), "a store's kind stays what it is");
    let embedded = registry.create_storage(new_storage("own"), bench.now()).await.unwrap();
    assert_eq!((embedded.external.clone(), embedded.revocation()), (None, Revocability::Immediate));
}

/// In every call that names another thing.
pub async fn what_is_missing_is_not_found(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let now = bench.now();
    let registry = &bench.registry;
    let missing = |noun| Kind::NotFound(noun);
    let (no_account, no_storage) = (AccountId::from_bytes([9; 16]), StorageId::from_bytes([9; 16]));
    assert_eq!(
        registry.change_account(no_account, Standing::Active, Metering::Free).await.unwrap_err().kind(),
        missing(Noun::Account)
    );
    assert_eq!(registry.add_credits(no_account, 1, now).await.unwrap_err().kind(), missing(Noun::Account));
    assert_eq!(
        registry.ensure_caller(no_account, &name("bob"), Role::Member, now).await.unwrap_err().kind(),
        missing(Noun::Account)
    );
    let token = PlainToken::generate(&*bench.entropy);
    let nobody = CallerId::from_bytes([9; 16]);
    assert_eq!(
        registry.create_token(nobody, &token, None, Maker::Server, now).await.unwrap_err().kind(),
        missing(Noun::Caller)
    );
    assert_eq!(registry.change_storage(no_storage, new_storage("x")).await.unwrap_err().kind(), missing(Noun::Storage));
    assert_eq!(
        registry.create_bucket(no_storage, &bucket("spare"), now).await.unwrap_err().kind(),
        missing(Noun::Storage)
    );
    let grant = new_grant(tenant.account.id, &tenant.storage, "new", reads("lake", &["x"]));
    for (grant, noun) in [
        (NewGrant { account: no_account, ..grant.clone() }, Noun::Account),
        (NewGrant { to: Grantee::Caller(nobody), ..grant.clone() }, Noun::Caller),
        (NewGrant { storage: no_storage, ..grant.clone() }, Noun::Storage),
        (NewGrant { scope: reads("elsewhere", &["x"]).into(), ..grant.clone() }, Noun::Bucket),
        (NewGrant { dataset: Some(DatasetId::from_bytes([9; 16])), ..grant.clone() }, Noun::Dataset),
    ] {
        assert_eq!(registry.create_grant(grant, now).await.unwrap_err().kind(), missing(noun));
    }
    let dataset = NewDataset { bucket: bucket("elsewhere"), ..new_dataset(&tenant.storage, "jobs") };
    assert_eq!(registry.create_dataset(dataset, now).await.unwrap_err().kind(), missing(Noun::Bucket));
    let no_grant = GrantId::from_bytes([9; 16]);
    let other = bench.tenant("other", Metering::Free).await;
    for (account, grant) in [(tenant.account.id, no_grant), (other.account.id, tenant.grant)] {
        let refused = registry.remove_grant(account, grant, true, by(&tenant, now)).await.unwrap_err();
        assert_eq!(refused.kind(), missing(Noun::Grant));
    }
    assert_eq!(registry.account_named(&name("nobody")).await.unwrap(), None);
    assert!(registry.grants(no_account).await.unwrap().is_empty());
}

/// Things that are there and do not belong together.
pub async fn what_does_not_fit_is_refused(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let other = bench.tenant("other", Metering::Free).await;
    let now = bench.now();
    let registry = &bench.registry;
    let second = registry.create_storage(new_storage("second"), now).await.unwrap();
    registry.create_bucket(second.id, &bucket("pond"), now).await.unwrap();
    let dataset = registry.create_dataset(new_dataset(&tenant.storage, "jobs"), now).await.unwrap();
    let grant = new_grant(tenant.account.id, &tenant.storage, "new", reads("lake", &["x"]));
    for wrong in [
        NewGrant { scope: reads("pond", &["x"]).into(), ..grant.clone() },
        NewGrant { storage: second.id, ..grant.clone() },
        NewGrant { storage: second.id, scope: reads("pond", &["x"]).into(), dataset: Some(dataset), ..grant.clone() },
        NewGrant { from: Some(now), until: Some(now), ..grant.clone() },
    ] {
        assert_eq!(registry.create_grant(wrong, now).await.unwrap_err().kind(), Kind::Invalid);
    }
    let stranger = NewGrant { to: Grantee::Caller(other.caller), ..grant };
    assert_eq!(registry.create_grant(stranger, now).await.unwrap_err().kind(), Kind::NotFound(Noun::Caller));
    let mut upside_down = new_storage("third");
    upside_down.min_lifetime = Lifetime::secs(700_000);
    assert_eq!(registry.create_storage(upside_down, now).await.unwrap_err().kind(), Kind::Invalid);
}

/// Whatever order they were made in.
pub async fn lists_are_in_order_of_names(bench: &Bench) {
    let now = bench.now();
    let registry = &bench.registry;
    let storage = bench.lake().await;
    let mut account = None;
    for text in ["mm", "zz", "aa"] {
        let made = registry.create_account(&name(text), Metering::of(7), now).await.unwrap();
        registry.create_storage(new_storage(text), now).await.unwrap();
        registry.create_bucket(storage.id, &bucket(&format!("{text}{text}")), now).await.unwrap();
        let dataset = new_dataset(&storage, text);
        let id = registry.create_dataset(dataset.clone(), now).await.unwrap();
        let listed = bench.registry.datasets().await.unwrap();
        assert!(listed.contains(&dataset.stored(id)));
        account = Some(made);
    }
    let account = account.unwrap();
    for text in ["mm", "zz", "aa"] {
        registry.ensure_caller(account.id, &name(text), Role::Operator, now).await.unwrap();
        let grant = new_grant(account.id, &storage, text, reads("lake", &["x", "y/z"]));
        let id = registry.create_grant(grant.clone(), now).await.unwrap();
        assert!(registry.grants(account.id).await.unwrap().contains(&grant.stored(id)));
    }
    let sorted = ["aa", "mm", "zz"].map(name);
    assert_eq!(registry.accounts().await.unwrap().into_iter().map(|one| one.name).collect::<Vec<_>>(), sorted);
    assert_eq!(registry.account_named(&name("aa")).await.unwrap(), Some(account.clone()));
    let callers = registry.callers(account.id).await.unwrap();
    assert!(callers.iter().all(|one| one.role == Role::Operator));
    assert_eq!(callers.into_iter().map(|one| one.name).collect::<Vec<_>>(), sorted);
    let names: Vec<_> = registry.grants(account.id).await.unwrap().into_iter().map(|one| one.name).collect();
    assert_eq!(names, sorted);
    let names: Vec<_> = bench.registry.datasets().await.unwrap().iter().map(|one| one.name.clone()).collect();
    assert_eq!(names, sorted);
    let names: Vec<_> = registry.storages().await.unwrap().into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["aa", "lake", "mm", "zz"].map(name));
    let buckets = registry.buckets().await.unwrap();
    assert_eq!(buckets, ["aaaa", "lake", "mmmm", "zzzz"].map(|text| (bucket(text), storage.id)));
}

/// Asking twice is no mistake.
pub async fn a_caller_is_made_once_and_found_again(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let account = tenant.account.id;
    let again = bench.registry.ensure_caller(account, &name("ann"), Role::Member, bench.now()).await.unwrap();
    assert_eq!(again, tenant.caller);
    let (id, role, standing) = (tenant.caller, Role::Member, CallerStanding::Active);
    let record = CallerRecord { id, account, name: name("ann"), role, standing };
    assert_eq!(bench.registry.callers(account).await.unwrap(), std::slice::from_ref(&record));
    assert_eq!(bench.registry.caller_by_id(id).await.unwrap(), Some(record));
    assert_eq!(bench.registry.caller_by_id(CallerId::from_bytes([9; 16])).await.unwrap(), None);
}

/// Warm or cold, what it holds and what it was about to hold.
pub async fn a_suspended_caller_is_refused_at_once_until_it_is_activated(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let lease = bench.open(&tenant).await.unwrap();
    let permit = bench.decide(&tenant.token, &ask(tenant.grant)).await.unwrap();
    bench.clock.advance_secs(1);
    let ended = bench.registry.suspend_caller(tenant.caller, by(&tenant, bench.now())).await.unwrap();
    assert_eq!(ended, 1);
    assert!(bench.is_revoked(&lease));
    assert_eq!(bench.caller(&tenant.token).await.unwrap_err().kind(), Kind::Forbidden);
    // It was decided before: it must not be opened after.
    assert_eq!(bench.ledger.open(&permit, None, bench.now()).await.unwrap_err().kind(), Kind::Forbidden);
    let token = PlainToken::generate(&*bench.entropy);
    let refused = bench.registry.create_token(tenant.caller, &token, None, Maker::Server, bench.now()).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::Invalid);
    let listed = bench.registry.callers(tenant.account.id).await.unwrap();
    assert_eq!(listed.iter().map(|one| one.standing).collect::<Vec<_>>(), [CallerStanding::Suspended]);
    bench.clock.advance_secs(1);
    bench.registry.activate_caller(tenant.caller).await.unwrap();
    assert_eq!(bench.caller(&tenant.token).await.unwrap().id, tenant.caller);
    assert!(bench.is_revoked(&lease), "what was ended stays so");
    let again = bench.open(&tenant).await.unwrap();
    assert!(!bench.is_revoked(&again));
    let nobody = CallerId::from_bytes([9; 16]);
    let missing = Kind::NotFound(Noun::Caller);
    let by = by(&tenant, bench.now());
    assert_eq!(bench.registry.suspend_caller(nobody, by).await.unwrap_err().kind(), missing);
    assert_eq!(bench.registry.activate_caller(nobody).await.unwrap_err().kind(), missing);
    assert_eq!(bench.registry.remove_caller(nobody, by).await.unwrap_err().kind(), missing);
}

/// For good, and its name is another's from then on.
pub async fn a_removed_caller_has_nothing_and_its_name_is_free(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let account = tenant.account.id;
    let own = new_grant(account, &tenant.storage, "own", reads("lake", &["own"]));
    let own = NewGrant { to: Grantee::Caller(tenant.caller), ..own };
    bench.registry.create_grant(own, bench.now()).await.unwrap();
    let lease = bench.open(&tenant).await.unwrap();
    bench.clock.advance_secs(1);
    assert_eq!(bench.registry.remove_caller(tenant.caller, by(&tenant, bench.now())).await.unwrap(), 1);
    assert!(bench.is_revoked(&lease));
    let refused = bench.caller(&tenant.token).await.unwrap_err().kind();
    assert_eq!(refused, Kind::Unauthenticated(Stranger::Revoked));
    assert!(bench.registry.callers(account).await.unwrap().is_empty());
    let record = bench.registry.caller_by_id(tenant.caller).await.unwrap().unwrap();
    assert!(record.name.as_str().starts_with("ann."), "{}", record.name);
    assert_eq!(record.standing, CallerStanding::Removed);
    let names: Vec<_> = bench.registry.grants(account).await.unwrap().into_iter().map(|one| one.name).collect();
    assert_eq!(names, [name("daily")], "what everyone has stays");
    for gone in [
        bench.registry.activate_caller(tenant.caller).await,
        bench.registry.suspend_caller(tenant.caller, by(&tenant, bench.now())).await.map(|_| ()),
        bench.registry.remove_caller(tenant.caller, by(&tenant, bench.now())).await.map(|_| ()),
    ] {
        assert_eq!(gone.unwrap_err().kind(), Kind::NotFound(Noun::Caller));
    }
    let another = bench.registry.ensure_caller(account, &name("ann"), Role::Member, bench.now()).await.unwrap();
    assert_ne!(another, tenant.caller);
    assert_eq!(bench.caller(&tenant.token).await.unwrap_err().kind(), refused);
}

/// The old one stays gone.
pub async fn a_removed_grants_name_is_free_again(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let account = tenant.account.id;
    bench.registry.remove_grant(account, tenant.grant, false, by(&tenant, bench.now())).await.unwrap();
    let twice = bench.registry.remove_grant(account, tenant.grant, false, by(&tenant, bench.now())).await;
    assert_eq!(twice.unwrap_err().kind(), Kind::NotFound(Noun::Grant));
    let grant = new_grant(account, &tenant.storage, "daily", reads("lake", &["other"]));
    let id = bench.registry.create_grant(grant, bench.now()).await.unwrap();
    assert_ne!(id, tenant.grant);
    assert_eq!(bench.registry.grants(account).await.unwrap().len(), 1);
}
