//! A lease that was narrowed from another names it, and ends with it.

use std::sync::Arc;

use valetkey_core::account::Metering;
use valetkey_core::audit::Author;
use valetkey_core::caller::{Caller, Held};
use valetkey_core::conditions::Facts;
use valetkey_core::error::{Error, Kind};
use valetkey_core::id::GrantId;
use valetkey_core::lease::{Lease, LeaseState, Revocation};
use valetkey_core::nouns::removal::{How, Thing};
use valetkey_core::policy;
use valetkey_core::token::{Maker, PlainToken};

use crate::contract::bench::{Bench, Tenant, ask, by, new_grant, reads};

/// Opens a lease of a grant, as whoever has no more than the last of these leases.
///
/// # Errors
/// What policy and the ledger refuse with.
pub async fn inside(bench: &Bench, tenant: &Tenant, grant: GrantId, before: &[&Lease]) -> Result<Lease, Error> {
    let caller = bench.caller(&tenant.token).await?;
    let held = Held {
        opens: before.last().map(|last| (last.storage, Arc::clone(&last.rights))).into_iter().collect(),
        conditional: Vec::new(),
        until: before.last().map(|last| last.until),
        leases: before.iter().map(|lease| lease.id).collect(),
    };
    let caller = Caller { held: Some(Arc::new(held)), ..(*caller).clone() };
    let snapshot = bench.directory.account(caller.account, bench.now()).await?;
    let permit = policy::decide(&snapshot, &caller, &ask(grant), &Facts::default(), bench.now())?;
    bench.ledger.open(&permit, None, bench.now()).await
}

/// Whatever ends the lease ends what comes of it, also where another grant decided on that, or another token asked.
pub async fn what_is_narrowed_ends_with_what_it_is_narrowed_from(bench: &Bench) {
    for way in ["lease", "middle", "grant", "grant-removed", "asker"] {
        let tenant = bench.tenant(way, Metering::Free).await;
        let weekly = new_grant(tenant.account.id, &tenant.storage, "weekly", reads("lake", &["jobs/daily"]));
        let weekly = bench.registry.create_grant(weekly, bench.now()).await.unwrap();
        let asker = PlainToken::generate(&*bench.entropy);
        let asker = bench.registry.create_token(tenant.caller, &asker, None, Maker::Server, bench.now()).await.unwrap();
        let first = bench.open(&tenant).await.unwrap();
        let author = Author { token: Some(asker.id), caller: Some(tenant.caller), ..Author::SERVER };
        let child = author.during(Box::pin(inside(bench, &tenant, weekly, &[&first]))).await.unwrap();
        let last = inside(bench, &tenant, weekly, &[&first, &child]).await.unwrap();
        let apart = bench.open(&Tenant { grant: weekly, ..tenant.clone() }).await.unwrap();
        for (lease, before) in
            [(&first, vec![]), (&child, vec![first.id]), (&last, vec![first.id, child.id]), (&apart, vec![])]
        {
            let record = bench.registry.lease(lease.id).await.unwrap().unwrap();
            assert_eq!((&record.lease, &*record.narrowed_from), (lease, &before[..]), "{way}");
        }
        bench.clock.advance_secs(1);
        let (by, registry) = (by(&tenant, bench.now()), &bench.registry);
        let goes = match way {
            "lease" => {
                assert_eq!(registry.revoke(Revocation::Lease(first.id), by).await.unwrap(), 3);
                vec![&first, &child, &last]
            }
            "middle" => {
                assert_eq!(registry.revoke(Revocation::Lease(child.id), by).await.unwrap(), 2);
                vec![&child, &last]
            }
            "grant" => {
                assert_eq!(registry.revoke(Revocation::Grant(tenant.grant), by).await.unwrap(), 3);
                vec![&first, &child, &last]
            }
            "grant-removed" => {
                let grant = Thing::Grant(tenant.grant);
                assert_eq!(registry.plan(&grant).await.unwrap().leases, 3);
                assert_eq!(registry.remove(&grant, How::ALL, by).await.unwrap().leases, 3);
                vec![&first, &child, &last]
            }
            _ => {
                assert_eq!(registry.revoke_token(asker.id, by).await.unwrap(), 2);
                vec![&child, &last]
            }
        };
        for lease in [&first, &child, &last, &apart] {
            let ended = goes.contains(&lease);
            assert_eq!(bench.is_revoked(lease), ended, "{way} {}", lease.id);
            assert_eq!(matches!(bench.state(lease.id).await, LeaseState::Revoked(_)), ended, "{way} {}", lease.id);
        }
        // What was decided before and comes late opens nothing either.
        let late = inside(bench, &tenant, weekly, &[&first, &child]).await.unwrap_err();
        assert_eq!(late.kind(), Kind::Forbidden, "{way}");
    }
    assert!(bench.registry.verify_ledger().await.unwrap().intact());
}
