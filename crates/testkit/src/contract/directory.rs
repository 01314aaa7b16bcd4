//! Snapshots: every decision sees every change that was answered before it.

use jiff::SignedDuration;
use valetkey_core::Kind;
use valetkey_core::account::{Account, Metering, OwnLimit, OwnQuota, Standing};
use valetkey_core::error::Noun;
use valetkey_core::grant::NewGrant;
use valetkey_core::id::AccountId;
use valetkey_core::nouns::removal::Amendment;
use valetkey_core::time::Lifetime;

use crate::contract::bench::{Bench, ask, bucket, by, name, new_grant, new_storage, reads};
use crate::contract::registry::new_dataset;

/// However warm the account is.
pub async fn a_new_grant_opens_at_once(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    for at in 0..20 {
        bench.open(&tenant).await.unwrap();
        let grant = new_grant(tenant.account.id, &tenant.storage, &format!("g{at}"), reads("lake", &["x"]));
        let id = bench.registry.create_grant(grant, bench.now()).await.unwrap();
        let permit = bench.decide(&tenant.token, &ask(id)).await.unwrap();
        assert_eq!(*permit.because().grants, [id]);
    }
}

/// For a stranger it is as if it had never been.
pub async fn a_removed_grant_opens_nothing_at_once(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let lease = bench.open(&tenant).await.unwrap();
    bench.registry.remove_grant(tenant.account.id, tenant.grant, false, by(&tenant, bench.now())).await.unwrap();
    assert_eq!(bench.open(&tenant).await.unwrap_err().kind(), Kind::NotFound(Noun::Grant));
    assert!(!bench.is_revoked(&lease), "what was vended stays, unless told otherwise");
}

/// And served again at once.
pub async fn a_suspended_account_is_refused_at_once(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    for _ in 0..3 {
        bench.open(&tenant).await.unwrap();
        bench.registry.change_account(tenant.account.id, Standing::Suspended, Metering::Free).await.unwrap();
        assert_eq!(bench.open(&tenant).await.unwrap_err().kind(), Kind::Forbidden);
        bench.registry.change_account(tenant.account.id, Standing::Active, Metering::Free).await.unwrap();
    }
}

/// By the next vend.
pub async fn a_changed_price_and_storage_are_seen_at_once(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    assert_eq!(bench.decide(&tenant.token, &ask(tenant.grant)).await.unwrap().credits(), 0);
    bench.registry.change_account(tenant.account.id, Standing::Active, Metering::of(5)).await.unwrap();
    assert_eq!(bench.decide(&tenant.token, &ask(tenant.grant)).await.unwrap().credits(), 5);
    let mut changed = new_storage("lake");
    changed.endpoint = "https://s3.example.com".into();
    changed.internal_endpoint = Some("http://s3.internal:9000".into());
    changed.max_lifetime = Lifetime::secs(600);
    bench.registry.change_storage(tenant.storage.id, changed).await.unwrap();
    for bucket in [Some(bucket("lake")), None] {
        bench.registry.set_datasets_bucket(tenant.account.id, bucket.as_ref()).await.unwrap();
        let account = bench.directory.account(tenant.account.id, bench.now()).await.unwrap();
        assert_eq!(account.account().datasets_bucket, bucket);
    }
    let permit = bench.decide(&tenant.token, &ask(tenant.grant)).await.unwrap();
    assert_eq!(&*permit.storage().endpoint, "https://s3.example.com");
    assert_eq!(permit.storage().internal_endpoint.as_deref(), Some("http://s3.internal:9000"));
    assert_eq!(permit.until().duration_since(bench.now()), SignedDuration::from_secs(600));
}

/// And the server's holds again when it is taken back.
pub async fn an_accounts_own_quota_is_seen_at_once(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let other = bench.tenant("other", Metering::Free).await;
    let own = |bytes, objects| OwnQuota { bytes: OwnLimit::of(bytes), objects: OwnLimit::of(objects) };
    for quota in [own(Some(1_000_000), None), own(Some(0), Some(7)), own(Some(u64::MAX >> 1), Some(0)), own(None, None)]
    {
        assert_ne!(bench.quotas.own_quota(tenant.account.id).await.unwrap(), quota);
        let known = bench.registry.account_by_id(tenant.account.id).await.unwrap().unwrap();
        let change = Amendment::Account(Account { quota, ..known });
        bench.registry.change(&change, false, by(&tenant, bench.now())).await.unwrap();
        assert_eq!(bench.quotas.own_quota(tenant.account.id).await.unwrap(), quota);
        assert_eq!(bench.registry.account_by_id(tenant.account.id).await.unwrap().unwrap().quota, quota);
        assert_eq!(bench.quotas.own_quota(other.account.id).await.unwrap(), OwnQuota::default());
    }
    let gone = Account { id: AccountId::from_bytes([0; 16]), name: name("gone"), ..tenant.account.clone() };
    let refused = bench.registry.change(&Amendment::Account(gone), false, by(&tenant, bench.now())).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::NotFound(Noun::Account));
    assert_eq!(bench.quotas.own_quota(AccountId::from_bytes([0; 16])).await.unwrap(), OwnQuota::default());
}

/// Nobody has to change anything for that.
pub async fn a_grant_begins_and_ends_on_time(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let after = |secs| Some(bench.now().checked_add(SignedDuration::from_secs(secs)).unwrap());
    let grant = new_grant(tenant.account.id, &tenant.storage, "timed", reads("lake", &["x"]));
    let grant = NewGrant { from: after(100), until: after(1000), ..grant };
    let id = bench.registry.create_grant(grant, bench.now()).await.unwrap();
    let kind = async || bench.decide(&tenant.token, &ask(id)).await.map(|_| ()).map_err(|error| error.kind());
    assert_eq!(kind().await, Err(Kind::Forbidden));
    bench.clock.advance_secs(100);
    assert_eq!(kind().await, Ok(()));
    bench.clock.advance_secs(900);
    assert_eq!(kind().await, Err(Kind::Forbidden));
}

/// By everybody.
pub async fn datasets_are_seen_at_once(bench: &Bench) {
    let storage = bench.lake().await;
    assert!(bench.registry.datasets().await.unwrap().is_empty());
    for at in 1..5usize {
        bench.registry.create_dataset(new_dataset(&storage, &format!("d{at}")), bench.now()).await.unwrap();
        assert_eq!(bench.registry.datasets().await.unwrap().len(), at);
    }
}

/// Then nothing is remembered of it.
pub async fn an_unknown_account_is_not_found(bench: &Bench) {
    let refused = bench.directory.account(AccountId::from_bytes([9; 16]), bench.now()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::NotFound(Noun::Account));
}
