//! Groups: what is granted to one is its members', whoever they are at that moment.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use valetkey_core::account::Metering;
use valetkey_core::caller::{Caller, Role};
use valetkey_core::claims::Condition;
use valetkey_core::conditions::Facts;
use valetkey_core::error::{Error, Kind, Noun};
use valetkey_core::grant::{Grantee, NewGrant};
use valetkey_core::group::{ByClaim, Group};
use valetkey_core::id::{AccountId, CallerId, GrantId, GroupId, ProviderId};
use valetkey_core::lease::Lease;
use valetkey_core::nouns::identity::IdentityProvider;
use valetkey_core::nouns::registry::GrantFilter;
use valetkey_core::nouns::removal::{Amendment, How, Thing};
use valetkey_core::policy;
use valetkey_core::token::{Maker, PlainToken};

use crate::contract::bench::{Bench, Tenant, ask, by, name, new_grant, reads};
use crate::contract::identity::{provider, rule, session};

/// A group without members.
pub fn group(account: AccountId, text: &str) -> Group {
    Group {
        id: GroupId::from_bytes([0; 16]),
        account,
        name: name(text),
        members: BTreeSet::new(),
        by_claim: None,
        version: 0,
        made: Timestamp::UNIX_EPOCH,
    }
}

fn by_claim(provider: ProviderId, claims: &[&str]) -> ByClaim {
    let conditions = claims.iter().map(|text| Condition::parse(text).unwrap()).collect();
    ByClaim { provider, conditions }
}

struct World<'b> {
    bench: &'b Bench,
    tenant: Tenant,
}

impl<'b> World<'b> {
    async fn of(bench: &'b Bench) -> Self {
        Self { bench, tenant: bench.tenant("acme", Metering::Free).await }
    }

    async fn caller(&self, text: &str) -> (CallerId, PlainToken) {
        let (registry, now) = (&self.bench.registry, self.bench.now());
        let id = registry.ensure_caller(self.tenant.account.id, &name(text), Role::Member, now).await.unwrap();
        let token = PlainToken::generate(&*self.bench.entropy);
        registry.create_token(id, &token, None, Maker::Server, now).await.unwrap();
        (id, token)
    }

    async fn made(&self, new: Group) -> (Group, GrantId) {
        let (registry, now) = (&self.bench.registry, self.bench.now());
        let made = registry.create_group(new, now).await.unwrap();
        let scope = reads("lake", &["team"]);
        let grant = new_grant(made.account, &self.tenant.storage, &format!("of-{}", made.name), scope);
        let grant = NewGrant { to: Grantee::Group(made.id), ..grant };
        let grant = registry.create_grant(grant, now).await.unwrap();
        (made, grant)
    }

    async fn change(&self, after: Group) -> Result<u64, Error> {
        let change = Amendment::Group(Box::new(after));
        let ends = self.bench.registry.preview(&change, self.bench.now()).await;
        let done = self.bench.registry.change(&change, true, by(&self.tenant, self.bench.now())).await;
        if let Ok(done) = &done {
            assert_eq!(ends.unwrap(), *done);
        }
        done
    }

    async fn group(&self, id: GroupId) -> Group {
        let all = self.bench.registry.groups(Some(self.tenant.account.id)).await.unwrap();
        all.into_iter().find(|known| known.id == id).unwrap()
    }

    async fn open_as(&self, caller: &Caller, grant: GrantId) -> Result<Lease, Kind> {
        let now = self.bench.now();
        let mut last = Kind::Unavailable;
        for _ in 0..3 {
            let snapshot = self.bench.directory.account(caller.account, now).await.map_err(|error| error.kind())?;
            let permit =
                policy::decide(&snapshot, caller, &ask(grant), &Facts::default(), now).map_err(|error| error.kind())?;
            match self.bench.ledger.open(&permit, None, now).await {
                Ok(lease) => return Ok(lease),
                Err(error) => last = error.kind(),
            }
        }
        Err(last)
    }

    async fn open(&self, token: &PlainToken, grant: GrantId) -> Result<Lease, Kind> {
        let caller = self.bench.caller(token).await.unwrap();
        self.open_as(&caller, grant).await
    }
}

const NO_GRANT: Kind = Kind::NotFound(Noun::Grant);

/// And who leaves it loses what it was vended by that, and nothing else.
pub async fn a_group_opens_for_its_members_alone(bench: &Bench) {
    let world = World::of(bench).await;
    let account = world.tenant.account.id;
    let other = bench.tenant("other", Metering::Free).await;
    let (bob, bobs) = world.caller("bob").await;
    let ann = world.tenant.caller;
    let (made, grant) = world.made(Group { members: BTreeSet::from([ann]), ..group(account, "eng") }).await;
    assert_eq!((made.version, made.made), (1, bench.now()));
    assert_eq!(world.group(made.id).await, made);
    assert!(world.open(&world.tenant.token, grant).await.is_ok());
    assert_eq!(world.open(&bobs, grant).await.unwrap_err(), NO_GRANT);
    assert_eq!(world.open(&other.token, grant).await.unwrap_err(), NO_GRANT);
    let may_use = async |caller| {
        let filter = GrantFilter { caller: Some(caller), limit: 100, ..GrantFilter::default() };
        bench.registry.list_grants(&filter).await.unwrap().iter().any(|known| known.id == grant)
    };
    assert!(may_use(ann).await && !may_use(bob).await && !may_use(other.caller).await);
    bench.clock.advance_secs(1);
    assert_eq!(world.change(Group { members: BTreeSet::from([ann, bob]), ..made.clone() }).await.unwrap(), 0);
    let (anns, bobs_lease) =
        (world.open(&world.tenant.token, grant).await.unwrap(), world.open(&bobs, grant).await.unwrap());
    let own = bench.open(&world.tenant).await.unwrap();
    // What somebody read before another change is not written over it.
    assert_eq!(world.change(made.clone()).await.unwrap_err().kind(), Kind::Unavailable);
    assert!(!bench.is_revoked(&bobs_lease), "a refused change ends nothing");
    bench.clock.advance_secs(1);
    let now = world.group(made.id).await;
    assert_eq!(world.change(Group { members: BTreeSet::from([bob]), ..now }).await.unwrap(), 2);
    assert!(bench.is_revoked(&anns), "she left");
    assert!(!bench.is_revoked(&bobs_lease), "he did not");
    assert!(!bench.is_revoked(&own), "it is by a grant of her own");
    assert_eq!(world.open(&world.tenant.token, grant).await.unwrap_err(), NO_GRANT);
    assert!(may_use(bob).await && !may_use(ann).await);
    // A removed caller is nobody's member.
    bench.registry.remove_caller(bob, by(&world.tenant, bench.now())).await.unwrap();
    assert_eq!(world.group(made.id).await.members, BTreeSet::new());
}

/// By the word of one provider, and only as long as that is what is asked for.
pub async fn a_session_is_a_member_by_what_its_token_claims(bench: &Bench) {
    let world = World::of(bench).await;
    let account = world.tenant.account.id;
    let trusted = async |text: &str, of: u8| {
        let made = bench.identities.create_identity_provider(provider(text), bench.now()).await.unwrap();
        let after = IdentityProvider { rules: vec![rule(of, account, "in=yes")], ..made };
        let change = Amendment::IdentityProvider(Box::new(after));
        bench.registry.change(&change, true, by(&world.tenant, bench.now())).await.unwrap();
        let all = bench.identities.identity_providers().await.unwrap();
        Arc::clone(all.iter().find(|known| known.name == name(text)).unwrap())
    };
    let (id, rival) = (trusted("id", 1).await, trusted("rival", 2).await);
    let come_in = async |of: &Arc<IdentityProvider>, subject: &str, more: &str| {
        let new = session(of, subject, &format!(r#","in":"yes"{more}"#), bench.now()).unwrap();
        let digest = new.digest().0;
        bench.identities.open_session(new, bench.now()).await.unwrap();
        bench.directory.caller_by_digest(digest, bench.now()).await.unwrap()
    };
    let alice = come_in(&id, "alice", r#","groups":["eng","ops"],"lvl":3"#).await;
    let read = bench.identities.identity(alice.token).await.unwrap().unwrap();
    assert_eq!(Some(read), alice.identity);
    let live = async || bench.identities.live_identities(alice.id, bench.now()).await.unwrap();
    assert_eq!(live().await, Vec::from_iter(alice.identity.clone()));
    assert_eq!(bench.identities.live_identities(world.tenant.caller, bench.now()).await.unwrap(), []);
    assert_eq!(bench.identities.identity(world.tenant.record.id).await.unwrap(), None);
    let (made, grant) =
        world.made(Group { by_claim: Some(by_claim(id.id, &["groups=eng"])), ..group(account, "eng") }).await;
    assert_eq!(world.group(made.id).await, made);
    let lease = world.open_as(&alice, grant).await.unwrap();
    for outsider in [
        come_in(&id, "bob", r#","groups":["engine"]"#).await,
        come_in(&id, "carl", "").await,
        come_in(&rival, "dora", r#","groups":["eng"]"#).await,
    ] {
        assert_eq!(world.open_as(&outsider, grant).await.unwrap_err(), NO_GRANT, "{}", outsider.name);
    }
    // The same caller, known by a token of ours, claims nothing.
    let token = PlainToken::generate(&*bench.entropy);
    bench.registry.create_token(alice.id, &token, None, Maker::Server, bench.now()).await.unwrap();
    assert_eq!(world.open(&token, grant).await.unwrap_err(), NO_GRANT);
    bench.clock.advance_secs(1);
    let after = Group { by_claim: Some(by_claim(id.id, &["groups=glob:o*", "lvl=3"])), ..made.clone() };
    assert_eq!(world.change(after.clone()).await.unwrap(), 1, "who is a member by claim is not known");
    assert!(bench.is_revoked(&lease));
    bench.clock.advance_secs(1);
    assert!(world.open_as(&alice, grant).await.is_ok());
    let after = Group { version: 2, by_claim: Some(by_claim(id.id, &["lvl=4"])), ..after };
    world.change(after.clone()).await.unwrap();
    assert_eq!(world.open_as(&alice, grant).await.unwrap_err(), NO_GRANT);
    // Nobody's word is taken that is not there any more.
    let provider = Thing::IdentityProvider(id.id);
    bench.registry.remove(&provider, How::ALL, by(&world.tenant, bench.now())).await.unwrap();
    assert_eq!(world.group(made.id).await.by_claim, None);
    assert_eq!(live().await, [], "its sessions ended with it");
    let of_nobody = Group { by_claim: Some(by_claim(id.id, &["a=b"])), ..group(account, "nobody") };
    let refused = bench.registry.create_group(of_nobody, bench.now()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::NotFound(Noun::IdentityProvider));
}

/// With what was vended by them; and its name is free.
pub async fn a_removed_group_takes_its_grants_with_it(bench: &Bench) {
    let world = World::of(bench).await;
    let (account, ann) = (world.tenant.account.id, world.tenant.caller);
    let new = Group { members: BTreeSet::from([ann]), ..group(account, "eng") };
    let (made, grant) = world.made(new.clone()).await;
    let taken = bench.registry.create_group(new.clone(), bench.now()).await.unwrap_err();
    assert_eq!(taken.kind(), Kind::AlreadyExists(Noun::Group));
    let lease = world.open(&world.tenant.token, grant).await.unwrap();
    let what = Thing::Group(made.id);
    let plan = bench.registry.plan(&what).await.unwrap();
    assert_eq!((plan.what.name.as_str(), plan.leases), ("acme/eng", 1));
    assert_eq!(plan.with.iter().map(|item| item.thing.clone()).collect::<Vec<_>>(), [Thing::Grant(grant)]);
    bench.registry.remove(&what, How::default(), by(&world.tenant, bench.now())).await.unwrap();
    assert!(bench.is_revoked(&lease));
    assert_eq!(bench.registry.groups(Some(account)).await.unwrap(), []);
    assert!(bench.registry.grants(account).await.unwrap().iter().all(|known| known.id != grant));
    assert_eq!(bench.registry.plan(&what).await.unwrap_err().kind(), Kind::NotFound(Noun::Group));
    bench.clock.advance_secs(1);
    let (again, _) = world.made(new.clone()).await;
    assert_ne!(again.id, made.id);
    // An account with groups is not removed by itself.
    let whole = bench.registry.plan(&Thing::Account(account)).await.unwrap();
    assert!(whole.needs.iter().any(|item| item.thing == Thing::Group(again.id)), "{whole:?}");
}

/// Members and grants of other accounts, and what a share cannot be given to.
pub async fn what_does_not_belong_to_a_group_is_refused(bench: &Bench) {
    let world = World::of(bench).await;
    let account = world.tenant.account.id;
    let other = bench.tenant("other", Metering::Free).await;
    let strange = Group { members: BTreeSet::from([other.caller]), ..group(account, "eng") };
    let refused = bench.registry.create_group(strange, bench.now()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::NotFound(Noun::Caller));
    let (made, _) = world.made(group(account, "eng")).await;
    let after = Group { members: BTreeSet::from([other.caller]), ..made.clone() };
    assert_eq!(world.change(after).await.unwrap_err().kind(), Kind::NotFound(Noun::Caller));
    let grant = new_grant(other.account.id, &world.tenant.storage, "theirs", reads("lake", &["x"]));
    let grant = NewGrant { to: Grantee::Group(made.id), ..grant };
    let refused = bench.registry.create_grant(grant, bench.now()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::NotFound(Noun::Group));
}
