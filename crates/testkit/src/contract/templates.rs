//! Grants with placeholders: kept as they are, opened as they are for the caller, and ended with the name that they were filled in with.

use valetkey_core::account::{Account, Metering};
use valetkey_core::caller::{Caller, Role};
use valetkey_core::conditions::Facts;
use valetkey_core::error::Kind;
use valetkey_core::grant::{Grant, Grantee, NewGrant};
use valetkey_core::id::GrantId;
use valetkey_core::lease::Lease;
use valetkey_core::nouns::registry::GrantFilter;
use valetkey_core::nouns::removal::{Amendment, How, Thing};
use valetkey_core::policy;
use valetkey_core::scope::{Action, Actions, Path, Paths};
use valetkey_core::template::Opens;
use valetkey_core::token::PlainToken;

use crate::contract::bench::{Bench, Tenant, ask, bucket, by, name, new_grant, reads};

/// Where a lease reads.
fn read(lease: &Lease) -> Paths {
    lease.rights.paths_of(Action::GetObject).unwrap().clone()
}

fn directories(all: &[&str]) -> Paths {
    let one = |text: &&str| Path::directory(text.as_bytes()).unwrap();
    Paths::only(all.iter().map(one).collect::<Vec<_>>()).unwrap()
}

fn template(all: &[&str]) -> Opens {
    Opens::new(bucket("lake"), directories(all), Actions::READ, true).unwrap()
}

struct World<'b> {
    bench: &'b Bench,
    tenant: Tenant,
    ann: PlainToken,
    bob: PlainToken,
    home: GrantId,
}

impl<'b> World<'b> {
    async fn of(bench: &'b Bench) -> Self {
        let tenant = bench.tenant("acme", Metering::Free).await;
        let token = async |text: &str| {
            let id =
                bench.registry.ensure_caller(tenant.account.id, &name(text), Role::Member, bench.now()).await.unwrap();
            let token = PlainToken::generate(&*bench.entropy);
            bench
                .registry
                .create_token(id, &token, None, valetkey_core::token::Maker::Server, bench.now())
                .await
                .unwrap();
            token
        };
        let (ann, bob) = (token("ann").await, token("bob").await);
        let new = new_grant(tenant.account.id, &tenant.storage, "home", template(&["home/{caller.name}"]));
        let home = bench.registry.create_grant(NewGrant { to: Grantee::Everyone, ..new }, bench.now()).await.unwrap();
        Self { bench, tenant, ann, bob, home }
    }

    async fn caller(&self, token: &PlainToken) -> Caller {
        Caller::clone(&*self.bench.caller(token).await.unwrap())
    }

    async fn open(&self, token: &PlainToken) -> Result<Lease, Kind> {
        let (bench, caller) = (self.bench, self.caller(token).await);
        let snapshot = bench.directory.account(self.tenant.account.id, bench.now()).await.unwrap();
        let permit = policy::decide(&snapshot, &caller, &ask(self.home), &Facts::default(), bench.now())
            .map_err(|error| error.kind())?;
        bench.ledger.open(&permit, None, bench.now()).await.map_err(|error| error.kind())
    }

    async fn stored(&self) -> Grant {
        let all = self.bench.registry.grants(self.tenant.account.id).await.unwrap();
        all.into_iter().find(|grant| grant.id == self.home).unwrap()
    }

    async fn change(&self, change: Amendment) -> u64 {
        self.bench.clock.advance_secs(1);
        let ends = self.bench.registry.preview(&change, self.bench.now()).await.unwrap();
        let done = self.bench.registry.change(&change, true, by(&self.tenant, self.bench.now())).await.unwrap();
        assert_eq!(ends, done);
        self.bench.clock.advance_secs(1);
        done
    }
}

/// And each caller opens its own with it.
pub async fn a_template_is_kept_and_opens_to_each_its_own(bench: &Bench) {
    let world = World::of(bench).await;
    assert_eq!(world.stored().await.scope, template(&["home/{caller.name}"]));
    let listed = async |filter: GrantFilter<'_>| {
        let all = bench.registry.list_grants(&GrantFilter { limit: 10, ..filter }).await.unwrap();
        all.into_iter().any(|grant| grant.id == world.home && grant.scope.template().is_some())
    };
    let (lake, pond) = (bucket("lake"), bucket("pond"));
    assert!(listed(GrantFilter { bucket: Some(&lake), ..GrantFilter::default() }).await);
    assert!(!listed(GrantFilter { bucket: Some(&pond), ..GrantFilter::default() }).await);
    let (ann, bob) = (world.open(&world.ann).await.unwrap(), world.open(&world.bob).await.unwrap());
    assert_eq!((read(&ann), read(&bob)), (directories(&["home/ann"]), directories(&["home/bob"])));
    assert_eq!(bench.leases.rights(ann.id).await.unwrap().as_ref(), Some(&ann.rights));
    // The same text in a grant that is no template is a key's bytes.
    let new =
        new_grant(world.tenant.account.id, &world.tenant.storage, "bytes", reads("lake", &["home/{caller.name}"]));
    let plain = bench.registry.create_grant(new, bench.now()).await.unwrap();
    let all = bench.registry.grants(world.tenant.account.id).await.unwrap();
    let plain = all.iter().find(|grant| grant.id == plain).unwrap();
    assert_eq!(plain.scope, Opens::Scope(reads("lake", &["home/{caller.name}"])));
    // A claim without anybody whose word it is, and a dataset.
    let unsaid =
        new_grant(world.tenant.account.id, &world.tenant.storage, "claims", template(&["team/{claims./team}"]));
    let refused = bench.registry.create_grant(unsaid, bench.now()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.field()), (Kind::Invalid, Some("template")));
    // It goes with its bucket, and takes along what was opened by it.
    let going = bench.registry.plan(&Thing::Bucket(lake)).await.unwrap();
    assert!(going.all().any(|item| item.thing == Thing::Grant(world.home)), "{going:?}");
    bench.clock.advance_secs(1);
    let revoker = by(&world.tenant, bench.now());
    assert_eq!(bench.registry.remove(&Thing::Grant(world.home), How::ALL, revoker).await.unwrap().leases, 2);
    assert!(bench.is_revoked(&ann) && bench.is_revoked(&bob));
    bench.clock.advance_secs(1);
    assert_eq!(world.open(&world.ann).await.unwrap_err(), Kind::NotFound(valetkey_core::error::Noun::Grant));
}

/// For whoever has the name next has the place.
pub async fn a_renamed_caller_loses_what_was_filled_in_with_its_name(bench: &Bench) {
    let world = World::of(bench).await;
    let (ann, bob) = (world.open(&world.ann).await.unwrap(), world.open(&world.bob).await.unwrap());
    let id = world.caller(&world.ann).await.id;
    let named = |text: &str, role| Amendment::Caller { id, name: name(text), role };
    assert_eq!(world.change(named("ann", Role::Admin)).await, 0, "its name stays");
    assert!(!bench.is_revoked(&ann));
    assert_eq!(world.change(named("eve", Role::Member)).await, 1);
    assert!(bench.is_revoked(&ann) && !bench.is_revoked(&bob));
    assert_eq!(read(&world.open(&world.ann).await.unwrap()), directories(&["home/eve"]));
    // Nothing was filled in with the account's name.
    let account = Account { name: name("acme-two"), ..world.tenant.account.clone() };
    assert_eq!(world.change(Amendment::Account(account.clone())).await, 0);
    let both = Grant { scope: template(&["home/{caller.name}", "of/{account.name}/x"]), ..world.stored().await };
    assert_eq!(world.change(Amendment::Grant(both)).await, 0, "it has all that it had");
    assert!(!bench.is_revoked(&bob));
    assert_eq!(world.change(Amendment::Account(Account { name: name("acme-three"), ..account })).await, 2);
    assert!(bench.is_revoked(&bob));
    let opened = world.open(&world.bob).await.unwrap();
    assert_eq!(read(&opened), directories(&["home/bob", "of/acme-three/x"]));
    // What was filled in is not on record: other paths end all of it, and so do those that are no template.
    let other = Grant { scope: template(&["house/{caller.name}"]), ..world.stored().await };
    assert_eq!(world.change(Amendment::Grant(other)).await, 1);
    assert!(bench.is_revoked(&opened));
    let house = world.open(&world.bob).await.unwrap();
    let plain = Grant { scope: reads("lake", &["house"]).into(), ..world.stored().await };
    assert_eq!(world.change(Amendment::Grant(plain)).await, 1);
    assert!(bench.is_revoked(&house));
    assert_eq!(read(&world.open(&world.bob).await.unwrap()), directories(&["house"]));
}
