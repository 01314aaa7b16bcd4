//! The ledger: what was opened is found again, whole.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use jiff::Timestamp;
use valetkey_core::account::Metering;
use valetkey_core::ask::{Ask, GrantRef, Target};
use valetkey_core::audit::Author;
use valetkey_core::caller::Role;
use valetkey_core::credential::{Issued, Trace};
use valetkey_core::id::LeaseId;
use valetkey_core::lease::{Lease, LeaseState, Revocation, Revoker};
use valetkey_core::nouns::registry::{LeaseFilter, Outliving};
use valetkey_core::nouns::usage::Balance;
use valetkey_core::policy::Permit;
use valetkey_core::port::Issuer;
use valetkey_core::scope::{Path, Paths};
use valetkey_core::time::Clock;
use valetkey_core::token::{Maker, PlainToken};
use valetkey_core::vending::Vending;
use valetkey_core::{Error, Kind};

use crate::clock::FixedClock;
use crate::contract::bench::{Bench, ask, by, name, new_grant, reads};

/// By its id and in the list.
pub async fn a_lease_reads_back_as_it_was_opened(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let permit = bench.decide(&tenant.token, &ask(tenant.grant)).await.unwrap();
    let lease = bench.ledger.open(&permit, None, bench.now()).await.unwrap();
    assert_eq!((lease.account, lease.caller, lease.token), (permit.account(), permit.caller(), permit.token()));
    assert_eq!((&lease.rights, &lease.grants), (permit.rights(), &permit.because().grants));
    assert_eq!((lease.storage, &*lease.dialect, lease.credits), (tenant.storage.id, "native", 0));
    assert_eq!((lease.opened, lease.until), (bench.now(), permit.until()));
    // Before and after whatever the implementation does in the background.
    for _ in 0..2 {
        let found = bench.registry.lease(lease.id).await.unwrap().unwrap();
        assert_eq!((&found.lease, found.state), (&lease, LeaseState::Live));
        let listed = bench.registry.leases(&LeaseFilter { limit: 10, ..LeaseFilter::default() }).await.unwrap();
        assert_eq!(listed, [found]);
    }
    assert_eq!(bench.leases.rights(lease.id).await.unwrap().as_ref(), Some(&lease.rights));
}

/// Whoever asks is told by the author; the server itself has no address.
pub async fn a_lease_tells_the_address_that_asked(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let mut opened = Vec::new();
    for text in ["192.0.2.7", "2001:db8::7", ""] {
        let author = Author { from: text.parse().ok(), ..Author::SERVER };
        let lease = author.during(Box::pin(bench.open(&tenant))).await.unwrap();
        opened.push((lease.id, author.from));
        bench.clock.advance_secs(1);
    }
    // Before and after whatever the implementation does in the background.
    for _ in 0..2 {
        for (id, from) in &opened {
            assert_eq!(bench.registry.lease(*id).await.unwrap().unwrap().from, *from);
        }
        let listed = bench.registry.leases(&LeaseFilter { limit: 10, ..LeaseFilter::default() }).await.unwrap();
        let listed: Vec<_> = listed.into_iter().rev().map(|record| (record.lease.id, record.from)).collect();
        assert_eq!(listed, opened);
    }
    assert!(bench.registry.verify_ledger().await.unwrap().intact());
}

/// No lease twice, none left out.
pub async fn leases_are_listed_newest_first_and_page_by_page(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let mut opened = Vec::new();
    for _ in 0..5 {
        let five = join_all((0..5).map(|_| bench.open(&tenant))).await;
        opened.extend(five.into_iter().map(|lease| lease.unwrap().id));
        bench.clock.advance_secs(1);
    }
    let (mut listed, mut before) = (Vec::new(), None);
    loop {
        let filter = LeaseFilter { account: Some(tenant.account.id), before, limit: 4, ..LeaseFilter::default() };
        let page = bench.registry.leases(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 4);
        before = Some(last.lease.id);
        listed.extend(page.into_iter().map(|record| record.lease.id));
    }
    opened.sort_unstable();
    opened.reverse();
    assert_eq!(listed, opened);
}

/// Each filter alone and together.
pub async fn leases_are_listed_by_whose_they_are_and_whether_they_live(bench: &Bench) {
    let acme = bench.tenant("acme", Metering::Free).await;
    let other = bench.tenant("other", Metering::Free).await;
    let bob = bench.registry.ensure_caller(acme.account.id, &name("bob"), Role::Member, bench.now()).await.unwrap();
    let token = PlainToken::generate(&*bench.entropy);
    bench.registry.create_token(bob, &token, None, Maker::Server, bench.now()).await.unwrap();
    let anns = bench.open(&acme).await.unwrap();
    bench.clock.advance_secs(3000);
    let permit = bench.decide(&token, &ask(acme.grant)).await.unwrap();
    let bobs = bench.ledger.open(&permit, None, bench.now()).await.unwrap();
    let others = bench.open(&other).await.unwrap();
    bench.clock.advance_secs(300);
    bench.registry.revoke(valetkey_core::lease::Revocation::Lease(others.id), by(&other, bench.now())).await.unwrap();
    bench.clock.advance_secs(1);
    let list = async |account, caller, live_at| {
        let filter = LeaseFilter { account, caller, live_at, limit: 100, ..LeaseFilter::default() };
        let mut ids: Vec<LeaseId> =
            bench.registry.leases(&filter).await.unwrap().into_iter().map(|record| record.lease.id).collect();
        ids.sort_unstable();
        ids
    };
    let sorted = |mut ids: Vec<LeaseId>| {
        ids.sort_unstable();
        ids
    };
    let (a, o, now) = (Some(acme.account.id), Some(other.account.id), Some(bench.now()));
    assert_eq!(list(None, None, None).await, sorted(vec![anns.id, bobs.id, others.id]));
    assert_eq!(list(a, None, None).await, sorted(vec![anns.id, bobs.id]));
    assert_eq!(list(None, Some(bob), None).await, [bobs.id]);
    assert_eq!(list(a, Some(bob), None).await, [bobs.id]);
    assert_eq!(list(o, Some(bob), None).await, []);
    assert_eq!(list(None, None, now).await, sorted(vec![anns.id, bobs.id]));
    bench.clock.advance_secs(299);
    assert_eq!(list(None, None, Some(bench.now())).await, [bobs.id], "the first ended by itself");
    assert_eq!(list(a, Some(acme.caller), Some(anns.opened)).await, [anns.id]);
    assert_eq!(list(o, None, Some(others.opened)).await, [others.id], "at that instant it lived");
    let none = LeaseFilter { limit: 0, ..LeaseFilter::default() };
    assert_eq!(bench.registry.leases(&none).await.unwrap(), []);
}

/// What is void stays void.
pub async fn a_void_lease_is_recorded_once(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let lease = bench.open(&tenant).await.unwrap();
    let kept = bench.open(&tenant).await.unwrap();
    for _ in 0..3 {
        bench.ledger.void(&lease, Kind::Upstream, bench.now()).await.unwrap();
        assert_eq!(bench.state(lease.id).await, LeaseState::Void);
        let listed = bench.registry.leases(&LeaseFilter { limit: 9, ..LeaseFilter::default() }).await.unwrap();
        assert!(listed.iter().all(|one| (one.state == LeaseState::Void) == (one.lease.id == lease.id)));
    }
    assert_eq!(bench.state(kept.id).await, LeaseState::Live);
}

/// How a store that somebody else runs knows a credential.
fn trace(key_id: &str, request_id: Option<&str>, until: Timestamp) -> Trace {
    Trace { key_id: key_id.into(), request_id: request_id.map(Into::into), expiration: until }
}

/// What the store calls the credential is on record with the lease, whether it was known before or came after.
pub async fn a_lease_tells_how_the_store_knows_its_credential(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let permit = bench.decide(&tenant.token, &ask(tenant.grant)).await.unwrap();
    let until = permit.until();
    let (one, two) = (trace("AKIAONE", Some("req-1"), until), trace("AKIATWO", None, until));
    let after = bench.ledger.open(&permit, None, bench.now()).await.unwrap();
    bench.ledger.issued(&after, &one, bench.now()).await.unwrap();
    bench.clock.advance_secs(1);
    let with = bench.ledger.open(&permit, Some(&one), bench.now()).await.unwrap();
    let other = bench.ledger.open(&permit, Some(&two), bench.now()).await.unwrap();
    let own = bench.open(&tenant).await.unwrap();
    for indexed in [false, true] {
        if indexed {
            let all = LeaseFilter { limit: 100, ..LeaseFilter::default() };
            assert_eq!(bench.registry.leases(&all).await.unwrap().len(), 4);
        }
        for (lease, expected) in [(&after, Some(&one)), (&with, Some(&one)), (&other, Some(&two)), (&own, None)] {
            let record = bench.registry.lease(lease.id).await.unwrap().unwrap();
            assert_eq!((&record.lease.id, record.trace.as_ref()), (&lease.id, expected), "indexed: {indexed}");
        }
    }
    let of_key = async |key_id: &str, limit| -> Vec<LeaseId> {
        let found = bench.registry.leases_of_key(key_id, limit).await.unwrap();
        found.into_iter().map(|record| record.lease.id).collect()
    };
    assert_eq!(of_key("AKIAONE", 10).await, [with.id, after.id]);
    assert_eq!(of_key("AKIAONE", 1).await, [with.id]);
    assert_eq!(of_key("AKIATWO", 10).await, [other.id]);
    assert!(of_key("AKIA", 10).await.is_empty());
    let verified = bench.registry.verify_ledger().await.unwrap();
    assert_eq!((verified.leases, verified.broken_at), (4, None));
    // Ended here; the store goes on taking what it does not know of.
    let by = Revoker { by: tenant.caller, at: bench.now() };
    assert!(bench.registry.outliving(by).await.unwrap().is_empty());
    for lease in [&after, &other, &own] {
        bench.registry.revoke(Revocation::Lease(lease.id), by).await.unwrap();
    }
    let key_ids = vec!["AKIAONE".into(), "AKIATWO".into()];
    let row = Outliving { storage: tenant.storage.id, key_ids, leases: 2, until };
    assert_eq!(bench.registry.outliving(by).await.unwrap(), [row]);
    let later = Revoker { at: until, ..by };
    assert!(bench.registry.outliving(later).await.unwrap().is_empty());
}

/// Fails when it is asked, or says so beforehand.
enum Broken {
    Late,
    Beforehand,
}

#[async_trait]
impl Issuer for Broken {
    fn ready(&self, _: &Permit) -> Result<Option<Issued>, Error> {
        match self {
            Self::Late => Ok(None),
            Self::Beforehand => Err(Error::new(Kind::RateLimited, "too many keys are asked for").retry_after(3)),
        }
    }

    async fn issue(&self, _: &Permit, _: &Lease) -> Result<Issued, Error> {
        Err(Error::new(Kind::UpstreamTimeout, "the object store did not answer"))
    }
}

/// The whole road, with an issuer that fails at its end. One that knows beforehand leaves no lease at all.
pub async fn a_vend_whose_issuer_fails_is_void_and_costs_nothing(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::of(2)).await;
    bench.registry.add_credits(tenant.account.id, 2, bench.now()).await.unwrap();
    let vending = Vending {
        clock: Arc::<FixedClock>::clone(&bench.clock) as Arc<dyn Clock>,
        directory: Arc::clone(&bench.directory),
        ledger: Arc::clone(&bench.ledger),
        issuer: Arc::new(Broken::Late),
    };
    let caller = vending.identify(tenant.token.reveal()).await.unwrap();
    let beforehand = Vending { issuer: Arc::new(Broken::Beforehand), ..vending.clone() };
    let refused = beforehand.vend(&caller, &ask(tenant.grant)).await.unwrap_err();
    assert_eq!((refused.kind(), refused.retry_after_secs()), (Kind::RateLimited, Some(3)));
    assert_eq!(bench.registry.leases(&LeaseFilter { limit: 9, ..LeaseFilter::default() }).await.unwrap(), []);
    for vends in 1..4 {
        assert_eq!(vending.vend(&caller, &ask(tenant.grant)).await.unwrap_err().kind(), Kind::UpstreamTimeout);
        let listed = bench.registry.leases(&LeaseFilter { limit: 9, ..LeaseFilter::default() }).await.unwrap();
        assert_eq!(listed.len(), vends);
        assert!(listed.iter().all(|one| one.state == LeaseState::Void));
    }
    assert_eq!(bench.usage.balance(tenant.account.id).await.unwrap(), Balance { granted: 2, used: 0 });
}

/// Too long for a header, not for the ledger.
pub async fn a_long_scope_is_kept_with_its_lease(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let directories: Vec<String> = (0..500).map(|at| format!("team/{at:05}/raw")).collect();
    let directories: Vec<&str> = directories.iter().map(String::as_str).collect();
    let grant = new_grant(tenant.account.id, &tenant.storage, "wide", reads("lake", &["team"]));
    let grant = bench.registry.create_grant(grant, bench.now()).await.unwrap();
    let paths: Vec<Path> = directories.iter().map(|path| Path::directory(path.as_bytes()).unwrap()).collect();
    let wide = Ask {
        target: Target::Grant { grant: GrantRef::Id(grant), paths: Some(Paths::only(paths).unwrap()) },
        ..ask(grant)
    };
    let permit = bench.decide(&tenant.token, &wide).await.unwrap();
    for _ in 0..3 {
        let lease = bench.ledger.open(&permit, None, bench.now()).await.unwrap();
        assert_eq!(bench.leases.rights(lease.id).await.unwrap().as_ref(), Some(permit.rights()));
        assert_eq!(bench.registry.lease(lease.id).await.unwrap().unwrap().lease, lease);
    }
}

/// And no error.
pub async fn an_unknown_lease_is_absent(bench: &Bench) {
    let unknown = LeaseId::new(bench.now(), [9; 10]);
    assert_eq!(bench.registry.lease(unknown).await.unwrap(), None);
    assert_eq!(bench.leases.rights(unknown).await.unwrap(), None);
    assert_eq!(bench.registry.verify_ledger().await.unwrap().leases, 0);
}

/// Opened at once and one by one.
pub async fn the_ledger_verifies_after_many_leases(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let opened = join_all((0..300).map(|_| bench.open(&tenant))).await;
    assert!(opened.iter().all(Result::is_ok));
    bench.open(&tenant).await.unwrap();
    let verified = bench.registry.verify_ledger().await.unwrap();
    assert_eq!((verified.leases, verified.broken_at), (301, None));
    assert!(verified.pages >= 2);
}
