//! Requests for access: what is approved is what was asked for, and no more.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use valetkey_core::account::Metering;
use valetkey_core::ask::{Ask, Target};
use valetkey_core::caller::{Caller, Role};
use valetkey_core::conditions::Facts;
use valetkey_core::error::{Error, Kind, Noun, Stranger};
use valetkey_core::grant::{Grant, Grantee, Origin};
use valetkey_core::group::Group;
use valetkey_core::id::{AccountId, CallerId, GroupId, RequestId, RequestRuleId};
use valetkey_core::lease::Lease;
use valetkey_core::nouns::removal::{Amendment, How, Thing};
use valetkey_core::nouns::request::{
    AccessRequest, Decision, MOST_A_DAY, MOST_WAITING, NewRequest, RequestFilter, RequestRule, State, Whose,
};
use valetkey_core::policy;
use valetkey_core::scope::{Actions, Scope};
use valetkey_core::token::{Maker, PlainToken};

use crate::contract::bench::{Bench, Tenant, ask, bucket, by, name, reads};
use crate::contract::groups::group;

struct World<'b> {
    bench: &'b Bench,
    /// `ann` asks.
    tenant: Tenant,
    ann: Arc<Caller>,
    /// `eve` approves.
    eve: Arc<Caller>,
    /// `bob` does neither.
    bob: Arc<Caller>,
    owners: Group,
    rule: RequestRule,
}

impl<'b> World<'b> {
    async fn of(bench: &'b Bench) -> Self {
        let tenant = bench.tenant("acme", Metering::Free).await;
        let account = tenant.account.id;
        let (eve, bob) = (caller(bench, account, "eve").await, caller(bench, account, "bob").await);
        let owners = Group { members: BTreeSet::from([eve.id]), ..group(account, "owners") };
        let owners = bench.registry.create_group(owners, bench.now()).await.unwrap();
        let rule = new_rule("flights", Some(account), reads("lake", &["flights"]), owners.id);
        let rule = bench.requests.create_request_rule(rule, bench.now()).await.unwrap();
        let ann = bench.caller(&tenant.token).await.unwrap();
        Self { bench, tenant, ann, eve, bob, owners, rule }
    }

    async fn ask_as(&self, by: &Caller, scope: Scope, secs: u32) -> Result<AccessRequest, Error> {
        self.bench.requests.ask_access(new(scope, secs), by, self.bench.now()).await
    }

    async fn ask(&self) -> AccessRequest {
        self.ask_as(&self.ann, reads("lake", &["flights/daily"]), 600).await.unwrap()
    }

    async fn decide(&self, id: RequestId, how: Decision, by: &Caller) -> Result<AccessRequest, Kind> {
        let done = self.bench.requests.decide_request(id, how, "so it is".into(), by, self.bench.now()).await;
        done.map_err(|error| error.kind())
    }

    async fn grant_of(&self, request: &AccessRequest) -> Option<Grant> {
        let grants = self.bench.registry.grants(request.account).await.unwrap();
        grants.into_iter().find(|grant| grant.origin == Origin::Request(request.id))
    }

    async fn open(&self, by: &Caller, ask: &Ask) -> Result<Lease, Kind> {
        let now = self.bench.now();
        let mut last = Kind::Unavailable;
        for _ in 0..3 {
            let snapshot = self.bench.directory.account(by.account, now).await.unwrap();
            let permit = policy::decide(&snapshot, by, ask, &Facts::default(), now).map_err(|error| error.kind())?;
            match self.bench.ledger.open(&permit, None, now).await {
                Ok(lease) => return Ok(lease),
                Err(error) => last = error.kind(),
            }
        }
        Err(last)
    }

    async fn listed(&self, whose: Whose, state: Option<State>) -> Vec<RequestId> {
        let filter = RequestFilter { whose, state, now: self.bench.now(), before: None, limit: 1000 };
        let found = self.bench.requests.access_requests(&filter).await.unwrap();
        found.into_iter().map(|one| one.id).collect()
    }

    async fn change(&self, change: Amendment) {
        self.bench.registry.change(&change, true, by(&self.tenant, self.bench.now())).await.unwrap();
    }

    async fn rule_now(&self) -> RequestRule {
        let all = self.bench.requests.request_rules().await.unwrap();
        all.into_iter().find(|known| known.id == self.rule.id).unwrap()
    }
}

async fn caller(bench: &Bench, account: AccountId, text: &str) -> Arc<Caller> {
    let id: CallerId = bench.registry.ensure_caller(account, &name(text), Role::Member, bench.now()).await.unwrap();
    let token = PlainToken::generate(&*bench.entropy);
    bench.registry.create_token(id, &token, None, Maker::Server, bench.now()).await.unwrap();
    bench.caller(&token).await.unwrap()
}

fn new(scope: Scope, secs: u32) -> NewRequest {
    NewRequest { scope, secs, reason: "an incident".into(), rule: None }
}

fn new_rule(text: &str, account: Option<AccountId>, scope: Scope, approvers: GroupId) -> RequestRule {
    RequestRule {
        id: RequestRuleId::from_bytes([0; 16]),
        name: name(text),
        account,
        askers: Grantee::Everyone,
        scope,
        most_secs: 3600,
        approvers,
        version: 0,
        made: Timestamp::UNIX_EPOCH,
    }
}

/// To who asked alone, of the place alone, and until its end alone.
pub async fn what_is_approved_is_what_was_asked_for_and_ends(bench: &Bench) {
    let world = World::of(bench).await;
    let request = world.ask().await;
    assert_eq!((request.state(bench.now()), request.rule), (State::Pending, world.rule.id));
    assert_eq!(bench.requests.access_request(request.id).await.unwrap(), Some(request.clone()));
    assert_eq!(world.grant_of(&request).await, None, "nothing is open before");
    bench.clock.advance_secs(60);
    let done = world.decide(request.id, Decision::Approved, &world.eve).await.unwrap();
    assert_eq!(bench.requests.access_request(request.id).await.unwrap(), Some(done.clone()));
    let decided = done.decided.clone().unwrap();
    assert_eq!((decided.how, decided.at, decided.by), (Decision::Approved, bench.now(), Some(world.eve.id)));
    assert_eq!(&*decided.note, "so it is");
    let grant = world.grant_of(&request).await.unwrap();
    let end = bench.now() + SignedDuration::from_secs(600);
    assert_eq!((grant.id, grant.until, grant.from), (decided.grant.unwrap(), Some(end), None));
    assert_eq!(
        (grant.scope.scope().unwrap(), grant.to, grant.account),
        (&request.scope, Grantee::Caller(world.ann.id), world.ann.account)
    );
    let lease = world.open(&world.ann, &ask(grant.id)).await.unwrap();
    assert_eq!(lease.until, end, "no credential outlives it");
    assert_eq!(world.open(&world.bob, &ask(grant.id)).await.unwrap_err(), Kind::NotFound(Noun::Grant));
    assert_eq!(world.open(&world.eve, &ask(grant.id)).await.unwrap_err(), Kind::NotFound(Noun::Grant));
    let place = |path: &str| {
        let scope = reads("lake", &[path]);
        let (bucket, paths) = (scope.bucket().clone(), scope.paths().clone());
        Ask { target: Target::Place { bucket, paths }, ..ask(grant.id) }
    };
    assert!(world.open(&world.ann, &place("flights/daily/x")).await.is_ok());
    assert!(world.open(&world.ann, &place("flights/daily2")).await.is_err(), "a sibling");
    assert!(world.open(&world.ann, &place("flights")).await.is_err(), "what it lies in");
    // It is decided once.
    assert_eq!(world.decide(request.id, Decision::Approved, &world.eve).await.unwrap_err(), Kind::Invalid);
    assert_eq!(world.decide(request.id, Decision::Cancelled, &world.ann).await.unwrap_err(), Kind::Invalid);
    // Taking the grant back ends what was vended by it.
    bench.registry.remove_grant(grant.account, grant.id, true, by(&world.tenant, bench.now())).await.unwrap();
    assert!(bench.is_revoked(&lease));
    assert_eq!(world.open(&world.ann, &ask(grant.id)).await.unwrap_err(), Kind::NotFound(Noun::Grant));
    let second = world.ask().await;
    world.decide(second.id, Decision::Approved, &world.eve).await.unwrap();
    let grant = world.grant_of(&second).await.unwrap().id;
    bench.clock.advance_secs(599);
    assert!(world.open(&world.ann, &ask(grant)).await.is_err(), "less is left than a credential lives at least");
    bench.clock.advance_secs(1);
    assert!(world.open(&world.ann, &ask(grant)).await.is_err());
    assert_eq!(world.listed(Whose::Caller(world.ann.id), Some(State::Approved)).await, [second.id, request.id]);
}

/// By paths, not by their texts; one rule, not what several give together.
pub async fn a_request_lies_wholly_inside_one_rule(bench: &Bench) {
    let world = World::of(bench).await;
    let other = bench.tenant("other", Metering::Free).await;
    let hotels = new_rule("hotels", Some(world.ann.account), reads("lake", &["hotels"]), world.owners.id);
    bench.requests.create_request_rule(hotels, bench.now()).await.unwrap();
    let lake = |paths: &[&str]| reads("lake", paths);
    assert!(world.ask_as(&world.ann, lake(&["flights"]), 3600).await.is_ok());
    assert!(world.ask_as(&world.ann, lake(&["hotels/x"]), 60).await.is_ok());
    let write = Scope::new(bucket("lake"), lake(&["flights/x"]).paths().clone(), Actions::WRITE).unwrap();
    for (scope, secs, kind) in [
        (lake(&["flights-secret"]), 600, Kind::Forbidden),
        (lake(&["flight"]), 600, Kind::Forbidden),
        (lake(&["flights/x", "hotels/x"]), 600, Kind::Forbidden),
        (write, 600, Kind::Forbidden),
        (reads("other", &["flights"]), 600, Kind::Forbidden),
        (lake(&["flights"]), 3601, Kind::Invalid),
        (lake(&["flights"]), 59, Kind::Invalid),
    ] {
        assert_eq!(world.ask_as(&world.ann, scope.clone(), secs).await.unwrap_err().kind(), kind, "{scope:?} {secs}");
    }
    let stranger = bench.caller(&other.token).await.unwrap();
    assert_eq!(world.ask_as(&stranger, lake(&["flights"]), 600).await.unwrap_err().kind(), Kind::Forbidden);
    let named = |rule: &str, path: &str| NewRequest { rule: Some(name(rule)), ..new(reads("lake", &[path]), 600) };
    let asked = async |new| bench.requests.ask_access(new, &world.ann, bench.now()).await.map_err(|error| error.kind());
    assert!(asked(named("hotels", "hotels")).await.is_ok());
    assert_eq!(asked(named("hotels", "flights")).await.unwrap_err(), Kind::Forbidden);
    assert_eq!(asked(named("nosuch", "flights")).await.unwrap_err(), Kind::NotFound(Noun::RequestRule));
    // Only those whom the rule names, if it names some.
    let rule = RequestRule { askers: Grantee::Caller(world.bob.id), ..world.rule_now().await };
    world.change(Amendment::RequestRule(Box::new(rule))).await;
    assert_eq!(world.ask_as(&world.ann, lake(&["flights"]), 600).await.unwrap_err().kind(), Kind::Forbidden);
    assert!(world.ask_as(&world.bob, lake(&["flights"]), 600).await.is_ok());
    let rule = RequestRule { askers: Grantee::Group(world.owners.id), ..world.rule_now().await };
    world.change(Amendment::RequestRule(Box::new(rule))).await;
    assert_eq!(world.ask_as(&world.bob, lake(&["flights"]), 600).await.unwrap_err().kind(), Kind::Forbidden);
    assert!(world.ask_as(&world.eve, lake(&["flights"]), 600).await.is_ok());
    // And everybody where it names no account.
    let all = new_rule("all", None, lake(&["flights"]), world.owners.id);
    bench.requests.create_request_rule(all, bench.now()).await.unwrap();
    assert!(world.ask_as(&stranger, lake(&["flights"]), 600).await.is_ok());
}

/// Nobody decides what they asked for, nor who was an approver once.
pub async fn only_an_approver_of_that_moment_decides(bench: &Bench) {
    let world = World::of(bench).await;
    let other = bench.tenant("other", Metering::Free).await;
    let stranger = bench.caller(&other.token).await.unwrap();
    let own = world.ask_as(&world.eve, reads("lake", &["flights"]), 600).await.unwrap();
    for how in [Decision::Approved, Decision::Denied] {
        assert_eq!(world.decide(own.id, how, &world.eve).await.unwrap_err(), Kind::Forbidden, "her own");
    }
    let request = world.ask().await;
    for (how, who) in [
        (Decision::Approved, &world.ann),
        (Decision::Approved, &world.bob),
        (Decision::Denied, &world.bob),
        (Decision::Approved, &stranger),
        (Decision::Cancelled, &world.bob),
        (Decision::Cancelled, &world.eve),
    ] {
        assert_eq!(world.decide(request.id, how, who).await.unwrap_err(), Kind::Forbidden, "{how:?} {}", who.name);
    }
    let members = |ids: &[CallerId]| ids.iter().copied().collect::<BTreeSet<_>>();
    let left = Group { members: members(&[world.bob.id]), ..world.owners.clone() };
    world.change(Amendment::Group(Box::new(left.clone()))).await;
    assert_eq!(
        world.decide(request.id, Decision::Approved, &world.eve).await.unwrap_err(),
        Kind::Forbidden,
        "she left"
    );
    // What the rule allows when it is approved counts.
    let narrow = RequestRule { scope: reads("lake", &["flights/weekly"]), ..world.rule_now().await };
    world.change(Amendment::RequestRule(Box::new(narrow))).await;
    assert_eq!(world.decide(request.id, Decision::Approved, &world.bob).await.unwrap_err(), Kind::Forbidden);
    assert_eq!(world.grant_of(&request).await, None);
    let wide = RequestRule { scope: reads("lake", &["flights"]), ..world.rule_now().await };
    world.change(Amendment::RequestRule(Box::new(wide))).await;
    bench.registry.suspend_caller(world.ann.id, by(&other, bench.now())).await.unwrap();
    assert_eq!(world.decide(request.id, Decision::Approved, &world.bob).await.unwrap_err(), Kind::Invalid, "suspended");
    bench.registry.activate_caller(world.ann.id).await.unwrap();
    // An approver may be of another account.
    let theirs = Group { members: members(&[stranger.id]), ..group(other.account.id, "owners") };
    let theirs = bench.registry.create_group(theirs, bench.now()).await.unwrap();
    let moved = RequestRule { approvers: theirs.id, ..world.rule_now().await };
    world.change(Amendment::RequestRule(Box::new(moved))).await;
    assert_eq!(world.decide(request.id, Decision::Approved, &world.bob).await.unwrap_err(), Kind::Forbidden);
    let denied = world.decide(request.id, Decision::Denied, &stranger).await.unwrap();
    assert_eq!((denied.state(bench.now()), world.grant_of(&request).await), (State::Denied, None));
    assert_eq!(world.decide(request.id, Decision::Approved, &stranger).await.unwrap_err(), Kind::Invalid, "for good");
    let no = RequestId::from_bytes([7; 16]);
    assert_eq!(world.decide(no, Decision::Approved, &stranger).await.unwrap_err(), Kind::NotFound(Noun::Request));
}

/// With a token that the other made, or that comes of one of theirs, two callers are one person.
pub async fn who_made_a_token_of_the_other_does_not_decide(bench: &Bench) {
    let world = World::of(bench).await;
    let made = async |of: CallerId, maker: &Caller| {
        let token = PlainToken::generate(&*bench.entropy);
        bench.registry.create_token(of, &token, None, Maker::Token(maker.token), bench.now()).await.unwrap();
        bench.caller(&token).await.unwrap()
    };
    // Ann made bob a token, and bob made eve one.
    let bob = made(world.bob.id, &world.ann).await;
    let eve = made(world.eve.id, &bob).await;
    let request = world.ask().await;
    assert_eq!(request.token, Some(world.ann.token));
    for how in [Decision::Approved, Decision::Denied] {
        assert_eq!(world.decide(request.id, how, &eve).await.unwrap_err(), Kind::Forbidden);
    }
    // Eve made the token that is asked with.
    let ann = made(world.ann.id, &world.eve).await;
    let asked = world.ask_as(&ann, reads("lake", &["flights/daily"]), 600).await.unwrap();
    assert_eq!(world.decide(asked.id, Decision::Approved, &world.eve).await.unwrap_err(), Kind::Forbidden);
    assert_eq!(world.grant_of(&asked).await, None);
    // A token that has ended decides nothing, whatever was known of it when it asked.
    let late = made(world.eve.id, &world.bob).await;
    bench.registry.revoke_token(late.token, by(&world.tenant, bench.now())).await.unwrap();
    let refused = world.decide(request.id, Decision::Approved, &late).await.unwrap_err();
    assert_eq!(refused, Kind::Unauthenticated(Stranger::Revoked));
    world.decide(request.id, Decision::Approved, &world.eve).await.unwrap();
    world.decide(asked.id, Decision::Cancelled, &ann).await.unwrap();
}

/// So that nobody drowns approvers, and nobody approves what was forgotten.
pub async fn a_request_waits_for_a_day_and_there_are_only_so_many(bench: &Bench) {
    let world = World::of(bench).await;
    let scope = || reads("lake", &["flights/daily"]);
    let (first, second) = (world.ask().await.id, world.ask().await.id);
    for _ in 2..MOST_WAITING {
        world.ask().await;
        bench.clock.advance_secs(1);
    }
    assert_eq!(world.ask_as(&world.ann, scope(), 600).await.unwrap_err().kind(), Kind::RateLimited);
    assert!(world.ask_as(&world.bob, scope(), 600).await.is_ok(), "another's are counted by themselves");
    world.decide(first, Decision::Cancelled, &world.ann).await.unwrap();
    for _ in MOST_WAITING..MOST_A_DAY {
        let id = world.ask().await.id;
        world.decide(id, Decision::Cancelled, &world.ann).await.unwrap();
    }
    assert_eq!(world.ask_as(&world.ann, scope(), 600).await.unwrap_err().kind(), Kind::RateLimited, "in a day");
    let own = Whose::Caller(world.ann.id);
    assert_eq!(world.listed(own, Some(State::Pending)).await.len(), MOST_WAITING - 1);
    bench.clock.advance_secs(86_400);
    assert_eq!(world.listed(own, Some(State::Pending)).await, []);
    assert_eq!(world.listed(own, Some(State::Expired)).await.len(), MOST_WAITING - 1);
    assert_eq!(world.decide(second, Decision::Approved, &world.eve).await.unwrap_err(), Kind::Invalid);
    assert!(world.ask_as(&world.ann, scope(), 600).await.is_ok());
    let all = world.listed(own, None).await;
    assert_eq!(all.len(), MOST_A_DAY + 1);
    assert_eq!(world.listed(Whose::Rule(world.rule.id), None).await.len(), MOST_A_DAY + 2);
    assert_eq!(world.listed(Whose::Account(world.ann.account), None).await.len(), MOST_A_DAY + 2);
    assert_eq!(world.listed(Whose::Everybodys, None).await.len(), MOST_A_DAY + 2);
    let filter = RequestFilter { whose: own, state: None, now: bench.now(), before: all.first().copied(), limit: 2 };
    let page = bench.requests.access_requests(&filter).await.unwrap();
    assert_eq!(
        page.iter().map(|one| one.id).collect::<Vec<_>>(),
        all.iter().skip(1).take(2).copied().collect::<Vec<_>>()
    );
    // They are not kept for ever.
    bench.clock.advance_secs(91 * 86_400);
    world.ask().await;
    assert_eq!(world.listed(own, None).await.len(), 1);
}

/// And a rule is nothing without what it names.
pub async fn a_removed_rule_cancels_what_waits_under_it(bench: &Bench) {
    let world = World::of(bench).await;
    let (waits, approved) = (world.ask().await, world.ask().await);
    world.decide(approved.id, Decision::Approved, &world.eve).await.unwrap();
    let rule = Thing::RequestRule(world.rule.id);
    let with = |plan: valetkey_core::nouns::removal::Plan| plan.with.into_iter().any(|item| item.thing == rule);
    assert!(with(bench.registry.plan(&Thing::Group(world.owners.id)).await.unwrap()));
    let needs = bench.registry.plan(&Thing::Bucket(bucket("lake"))).await.unwrap().needs;
    assert!(needs.iter().any(|item| item.thing == rule && item.name == "flights"));
    let needs = bench.registry.plan(&Thing::Account(world.ann.account)).await.unwrap();
    assert!(needs.all().any(|item| item.thing == rule));
    bench.registry.remove(&Thing::Group(world.owners.id), How::ALL, by(&world.tenant, bench.now())).await.unwrap();
    assert_eq!(bench.requests.request_rules().await.unwrap(), []);
    let state = async |id| bench.requests.access_request(id).await.unwrap().unwrap().state(bench.now());
    assert_eq!((state(waits.id).await, state(approved.id).await), (State::Cancelled, State::Approved));
    assert!(world.grant_of(&approved).await.is_some(), "what was approved stays");
    assert_eq!(world.ask_as(&world.ann, reads("lake", &["flights"]), 600).await.unwrap_err().kind(), Kind::Forbidden);
}

/// Names what is there, is named once, and is changed by one at a time.
pub async fn what_does_not_belong_to_a_rule_is_refused(bench: &Bench) {
    let world = World::of(bench).await;
    let own = Some(world.ann.account);
    let good = new_rule("new", own, reads("lake", &["x"]), world.owners.id);
    let other = bench.tenant("other", Metering::Free).await;
    for (rule, kind) in [
        (RequestRule { name: name("flights"), ..good.clone() }, Kind::AlreadyExists(Noun::RequestRule)),
        (RequestRule { account: Some(AccountId::from_bytes([9; 16])), ..good.clone() }, Kind::NotFound(Noun::Account)),
        (RequestRule { askers: Grantee::Caller(other.caller), ..good.clone() }, Kind::NotFound(Noun::Caller)),
        (RequestRule { approvers: GroupId::from_bytes([9; 16]), ..good.clone() }, Kind::NotFound(Noun::Group)),
        (RequestRule { scope: reads("nosuch", &["x"]), ..good.clone() }, Kind::NotFound(Noun::Bucket)),
        (RequestRule { account: None, askers: Grantee::Caller(world.ann.id), ..good.clone() }, Kind::Invalid),
        (RequestRule { most_secs: 59, ..good.clone() }, Kind::Invalid),
        (RequestRule { most_secs: 30 * 86_400 + 1, ..good.clone() }, Kind::Invalid),
    ] {
        let refused = bench.requests.create_request_rule(rule.clone(), bench.now()).await.unwrap_err();
        assert_eq!(refused.kind(), kind, "{rule:?}");
    }
    let made = bench.requests.create_request_rule(good, bench.now()).await.unwrap();
    assert_eq!((made.version, made.made), (1, bench.now()));
    let change = Amendment::RequestRule(Box::new(RequestRule { most_secs: 60, ..made.clone() }));
    world.change(change.clone()).await;
    // What somebody read before another change is not written over it.
    let late = bench.registry.change(&change, true, by(&world.tenant, bench.now())).await.unwrap_err();
    assert_eq!(late.kind(), Kind::Unavailable);
    let taken = Amendment::RequestRule(Box::new(RequestRule { name: name("flights"), version: 2, ..made.clone() }));
    let taken = bench.registry.change(&taken, true, by(&world.tenant, bench.now())).await.unwrap_err();
    assert_eq!(taken.kind(), Kind::AlreadyExists(Noun::RequestRule));
    let names: Vec<_> = bench.requests.request_rules().await.unwrap().into_iter().map(|one| one.name).collect();
    assert_eq!(names, [name("flights"), name("new")]);
}
