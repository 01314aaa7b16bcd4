//! What removing and changing must do, whatever the noun.

use jiff::SignedDuration;
use valetkey_core::Kind;
use valetkey_core::account::Metering;
use valetkey_core::ask::Ask;
use valetkey_core::caller::Role;
use valetkey_core::error::Noun;
use valetkey_core::grant::{Grant, Grantee, NewGrant};
use valetkey_core::lease::{Lease, LeaseState};
use valetkey_core::nouns::dataset::{Dataset, Newest};
use valetkey_core::nouns::removal::{Amendment, How, Plan, Thing};
use valetkey_core::nouns::share::Recipient;
use valetkey_core::nouns::table::{History, NewTable, SharedName, TableAccess, TableRoot};
use valetkey_core::nouns::workspace::Slug;
use valetkey_core::scope::{Actions, Path, Paths, Scope};
use valetkey_core::storage::StorageKind;
use valetkey_core::time::Lifetime;
use valetkey_core::token::{Maker, PlainToken};

use crate::contract::bench::{Bench, Tenant, ask, bucket, by, name, new_grant, new_storage, reads};
use crate::contract::registry::new_dataset;
use crate::contract::workspaces::new_workspace;

fn how(cascade: bool) -> How {
    How { cascade, ..How::default() }
}

async fn everything(bench: &Bench) -> (Tenant, Vec<Thing>) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let now = bench.now();
    let account = tenant.account.id;
    let registry = &bench.registry;
    let other = NewStore::of(bench).await;
    let dataset = registry.create_dataset(new_dataset(&tenant.storage, "jobs"), now).await.unwrap();
    let given = NewGrant {
        dataset: Some(dataset),
        ..new_grant(account, &tenant.storage, "given", reads("lake", &["jobs/daily"]))
    };
    registry.create_grant(given, now).await.unwrap();
    let own = new_grant(account, &tenant.storage, "own", reads("lake", &["own"]));
    registry.create_grant(NewGrant { to: Grantee::Caller(tenant.caller), ..own }, now).await.unwrap();
    let workspace = bench.workspaces.create_workspace(new_workspace(&tenant, "main", Some("w")), now).await.unwrap();
    let project =
        bench.workspaces.create_project(workspace.id, &Slug::parse("p").unwrap(), "P", None, now).await.unwrap();
    let share = bench.shares.create_share(account, &SharedName::parse("flights").unwrap(), None, now).await.unwrap();
    let table = NewTable {
        id: (),
        share: (),
        schema: SharedName::part("s").unwrap(),
        name: SharedName::part("t").unwrap(),
        storage: tenant.storage.id,
        bucket: bucket("lake"),
        root: TableRoot::parse("tables/t").unwrap(),
        auxiliary: Vec::new(),
        access: TableAccess::Both,
        history: History::Shared,
        format: None,
    };
    let table = bench.shares.add_table(share.id, table, now).await.unwrap();
    let (to, max_lifetime) = (Grantee::Everyone, Lifetime::secs(3600));
    let recipient = Recipient { share: share.id, account, to, max_lifetime, until: None, made: now };
    bench.shares.add_recipient(recipient, by(&tenant, now)).await.unwrap();
    let things = vec![
        Thing::Grant(tenant.grant),
        Thing::Token(tenant.record.id),
        Thing::Project(project.id),
        Thing::Workspace(workspace.id),
        Thing::Table(table.id),
        Thing::Recipient { share: share.id, account, to: to.into() },
        Thing::Share(share.id),
        Thing::Dataset(dataset),
        Thing::Caller(tenant.caller),
        Thing::Bucket(bucket("pond")),
        Thing::Storage(other.0),
        Thing::Bucket(bucket("lake")),
        Thing::Account(account),
    ];
    (tenant, things)
}

/// A store that may be removed, with a bucket and a grant in it.
struct NewStore(valetkey_core::id::StorageId);

impl NewStore {
    async fn of(bench: &Bench) -> Self {
        let new = valetkey_core::nouns::registry::NewStorage { kind: StorageKind::Gateway, ..new_storage("other") };
        let storage = bench.registry.create_storage(new, bench.now()).await.unwrap();
        bench.registry.create_bucket(storage.id, &bucket("pond"), bench.now()).await.unwrap();
        let account = bench.registry.accounts().await.unwrap().into_iter().next().unwrap().id;
        let grant = new_grant(account, &storage, "pond", reads("pond", &["x"]));
        bench.registry.create_grant(grant, bench.now()).await.unwrap();
        Self(storage.id)
    }
}

/// A plan changes nothing; what is needed is refused, and named; with all that needs it, it goes, once.
pub async fn whatever_is_there_is_planned_refused_and_removed(bench: &Bench) {
    let (tenant, things) = everything(bench).await;
    for thing in &things {
        let plan = bench.registry.plan(thing).await.unwrap();
        assert_eq!(plan, bench.registry.plan(thing).await.unwrap(), "a plan changes nothing");
        if !plan.needs.is_empty() {
            let refused = bench.registry.remove(thing, how(false), by(&tenant, bench.now())).await.unwrap_err();
            assert_eq!((refused.kind(), refused.field()), (Kind::Invalid, Some("cascade")), "{thing:?}");
            let first = plan.needs.first().unwrap();
            assert!(refused.message().contains(&first.name), "{}: {}", first.name, refused.message());
            assert_eq!(bench.registry.plan(thing).await.unwrap(), plan, "nothing was changed");
        }
    }
    for thing in &things {
        // What went with something before is gone.
        let Ok(plan) = bench.registry.plan(thing).await else { continue };
        let removed = bench.registry.remove(thing, how(true), by(&tenant, bench.now())).await.unwrap();
        let names = |plan: &Plan| plan.all().map(|item| item.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&removed), names(&plan));
        for item in removed.all() {
            // A token stays on record as ended.
            if !matches!(item.thing, Thing::Token(_)) {
                let gone = bench.registry.plan(&item.thing).await.unwrap_err();
                assert!(matches!(gone.kind(), Kind::NotFound(_)), "{item}: {gone:?}");
            }
        }
    }
    let nobody = bench.registry.plan(&Thing::Grant(tenant.grant)).await.unwrap_err();
    assert_eq!(nobody.kind(), Kind::NotFound(Noun::Grant));
    assert_eq!(bench.registry.accounts().await.unwrap(), []);
    assert_eq!(bench.registry.buckets().await.unwrap(), []);
    assert_eq!(bench.shares.shares().await.unwrap(), []);
    assert!(bench.registry.datasets().await.unwrap().is_empty());
}

/// Every field of a dataset that can be changed is kept as it was changed.
pub async fn what_is_said_of_a_dataset_is_changed_in_every_field(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let now = bench.now();
    let id = bench.registry.create_dataset(new_dataset(&tenant.storage, "jobs"), now).await.unwrap();
    let datasets = bench.registry.datasets().await.unwrap();
    let before = datasets.iter().find(|known| known.id == id).unwrap();
    let name = |text: &str| text.parse().unwrap();
    let after = Dataset {
        id,
        name: name("other"),
        topic: name("else"),
        description: "said anew".into(),
        storage: before.storage,
        bucket: before.bucket.clone(),
        path: before.path.clone(),
        format: "csv".into(),
        frequency: "weekly".into(),
        version: "2".into(),
        deprecated: true,
        newest: Newest::ByKey,
        dictionary: Some(b"docs/columns.md".as_slice().into()),
        sample: Some(b"docs/sample.parquet".as_slice().into()),
    };
    for changed in [after.clone(), Dataset { dictionary: None, sample: None, newest: Newest::ByTime, ..after }] {
        let by = by(&tenant, bench.now());
        bench.registry.change(&Amendment::Dataset(changed.clone()), false, by).await.unwrap();
        let datasets = bench.registry.datasets().await.unwrap();
        assert_eq!(datasets.iter().find(|known| known.id == id), Some(&changed));
    }
}

/// Whatever its right came from: it is refused at once, and so is what was decided before.
pub async fn what_was_vended_ends_with_what_it_was_vended_for(bench: &Bench) {
    for which in ["account", "caller", "token", "grant", "bucket"] {
        let tenant = bench.tenant(which, Metering::Free).await;
        let other = bench.tenant(&format!("other-{which}"), Metering::Free).await;
        let (lease, kept) = (bench.open(&tenant).await.unwrap(), bench.open(&other).await.unwrap());
        let permit = bench.decide(&tenant.token, &ask(tenant.grant)).await.unwrap();
        bench.clock.advance_secs(1);
        let thing = match which {
            "account" => Thing::Account(tenant.account.id),
            "caller" => Thing::Caller(tenant.caller),
            "token" => Thing::Token(tenant.record.id),
            "grant" => Thing::Grant(tenant.grant),
            _ => Thing::Bucket(bucket("lake")),
        };
        let plan = bench.registry.plan(&thing).await.unwrap();
        let removed = bench.registry.remove(&thing, how(true), by(&other, bench.now())).await.unwrap();
        // A bucket's are those of everybody, also from the rounds before.
        let all = which == "bucket";
        assert_eq!((plan.leases, removed.leases), if all { (10, 10) } else { (1, 1) }, "{which}");
        assert!(bench.is_revoked(&lease), "{which}");
        assert_eq!(bench.is_revoked(&kept), all, "{which}");
        let late = bench.ledger.open(&permit, None, bench.now()).await;
        assert!(late.is_err(), "{which}: what was decided before opens nothing");
        if !all {
            assert!(bench.open(&other).await.is_ok());
        }
    }
}

/// Names are free, and nothing comes back with them.
pub async fn what_is_made_anew_has_nothing_of_what_was_removed(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let lease = bench.open(&tenant).await.unwrap();
    bench.registry.add_credits(tenant.account.id, 5, bench.now()).await.unwrap();
    bench.clock.advance_secs(1);
    bench.registry.remove(&Thing::Account(tenant.account.id), how(true), by(&tenant, bench.now())).await.unwrap();
    bench.registry.remove(&Thing::Bucket(bucket("lake")), how(true), by(&tenant, bench.now())).await.unwrap();
    bench.clock.advance_secs(1);
    bench.registry.create_bucket(tenant.storage.id, &bucket("lake"), bench.now()).await.unwrap();
    let again = bench.tenant("acme", Metering::Free).await;
    assert_ne!((again.account.id, again.caller), (tenant.account.id, tenant.caller));
    assert!(bench.is_revoked(&lease));
    assert!(matches!(bench.caller(&tenant.token).await.unwrap_err().kind(), Kind::Unauthenticated(_)));
    assert_eq!(bench.usage.balance(again.account.id).await.unwrap().granted, 0);
    let old = bench.registry.account_by_id(tenant.account.id).await.unwrap().unwrap();
    assert!(old.name.as_str().starts_with("acme.removed"), "{}", old.name);
    assert!(!bench.is_revoked(&bench.open(&again).await.unwrap()));
}

/// Also through the account or the caller it is in.
pub async fn the_last_token_of_an_operator_stays(bench: &Bench) {
    let tenant = bench.tenant("ops", Metering::Free).await;
    let now = bench.now();
    let root = bench.registry.ensure_caller(tenant.account.id, &name("root"), Role::Operator, now).await.unwrap();
    let token = || PlainToken::generate(&*bench.entropy);
    let first = bench.registry.create_token(root, &token(), None, Maker::Server, now).await.unwrap();
    let all = [Thing::Token(first.id), Thing::Caller(root), Thing::Account(tenant.account.id)];
    for thing in &all {
        let refused = bench.registry.remove(thing, how(true), by(&tenant, now)).await.unwrap_err();
        assert_eq!((refused.kind(), refused.field()), (Kind::Invalid, Some("last_operator")), "{thing:?}");
    }
    let demoted = Amendment::Caller { id: root, name: name("root"), role: Role::Member };
    assert_eq!(bench.registry.change(&demoted, true, by(&tenant, now)).await.unwrap_err().kind(), Kind::Invalid);
    bench.registry.create_token(root, &token(), None, Maker::Server, now).await.unwrap();
    bench.registry.remove(&all[0], how(true), by(&tenant, now)).await.unwrap();
    let even = How { last_operator: true, ..how(true) };
    bench.registry.remove(&all[1], even, by(&tenant, now)).await.unwrap();
}

/// Each of two removals that are made at the same time sees the other.
pub async fn of_the_last_two_tokens_of_operators_one_stays_whoever_ends_them_at_once(bench: &Bench) {
    let tenant = bench.tenant("ops", Metering::Free).await;
    let now = bench.now();
    let root = bench.registry.ensure_caller(tenant.account.id, &name("root"), Role::Operator, now).await.unwrap();
    for round in 0..8 {
        let mut live = Vec::new();
        for record in bench.registry.tokens(Some(tenant.account.id)).await.unwrap() {
            if record.role == Role::Operator && record.is_live(bench.now()) {
                live.push(record.id);
            }
        }
        while live.len() < 2 {
            let token = PlainToken::generate(&*bench.entropy);
            live.push(bench.registry.create_token(root, &token, None, Maker::Server, bench.now()).await.unwrap().id);
        }
        let [one, two] = [live.swap_remove(1), live.swap_remove(0)].map(Thing::Token);
        let at = by(&tenant, bench.now());
        let both = futures::future::join(
            bench.registry.remove(&one, how(true), at),
            bench.registry.remove(&two, how(true), at),
        );
        let (one, two) = both.await;
        assert_ne!(one.is_ok(), two.is_ok(), "round {round}: {one:?}, {two:?}");
        let refused = one.and(two).unwrap_err();
        assert_eq!((refused.kind(), refused.field()), (Kind::Invalid, Some("last_operator")), "round {round}");
        bench.clock.advance_secs(1);
    }
}

async fn vended(bench: &Bench, tenant: &Tenant, directory: &str, secs: u32, actions: Actions) -> Lease {
    let ask = Ask {
        target: valetkey_core::ask::Target::Place {
            bucket: bucket("lake"),
            paths: Paths::only([Path::directory(directory.as_bytes()).unwrap()]).unwrap(),
        },
        wanted: valetkey_core::ask::Wanted::all_of(actions),
        lifetime: valetkey_core::ask::Asked::For(Lifetime::secs(secs)),
        ..ask(tenant.grant)
    };
    let permit = bench.decide(&tenant.token, &ask).await.unwrap();
    bench.ledger.open(&permit, None, bench.now()).await.unwrap()
}

/// How a grant is narrowed.
type Narrow = fn(Grant, jiff::Timestamp) -> Grant;

/// Also what opens while it is looked for, whatever the clock says then, and while somebody else changes the same grant.
pub async fn what_is_opened_while_its_grant_goes_ends_with_it(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let permit = bench.decide(&tenant.token, &ask(tenant.grant)).await.unwrap();
    let grant = bench.registry.grants(tenant.account.id).await.unwrap().swap_remove(0);
    let shorter = Amendment::Grant(Grant { max_lifetime: Lifetime::secs(60), ..grant });
    let end = async {
        let at = by(&tenant, bench.now());
        let narrow = bench.registry.change(&shorter, true, at);
        let remove = bench.registry.remove_grant(tenant.account.id, tenant.grant, true, at);
        // The change comes before the removal, or finds nothing any more.
        let (_, removed) = futures::future::join(narrow, remove).await;
        removed.unwrap();
    };
    let vend = async {
        let mut opened = Vec::new();
        while let Ok(lease) = bench.ledger.open(&permit, None, bench.now()).await {
            opened.push(lease);
            bench.clock.advance_secs(1);
        }
        opened
    };
    let ((), opened) = futures::future::join(end, vend).await;
    for lease in opened {
        assert!(bench.is_revoked(&lease));
        assert!(matches!(bench.state(lease.id).await, LeaseState::Revoked(_)));
    }
    assert!(bench.registry.verify_ledger().await.unwrap().intact());
}

/// Those of the difference end, the others live on; all of them if that is said.
pub async fn a_narrowed_grant_ends_what_has_more_than_it_gives(bench: &Bench) {
    let get = Actions::of(&[valetkey_core::scope::Action::GetObject]);
    let narrowings: [(&str, Narrow); 4] = [
        ("paths", |grant, _| Grant { scope: reads("lake", &["jobs/daily/a"]).into(), ..grant }),
        ("actions", |grant, _| {
            let get = Actions::of(&[valetkey_core::scope::Action::GetObject]);
            let paths = grant.scope.written().clone();
            Grant { scope: Scope::new(bucket("lake"), paths, get).unwrap().into(), ..grant }
        }),
        ("until", |grant, now| Grant { until: Some(now + SignedDuration::from_secs(900)), ..grant }),
        ("max", |grant, _| Grant { max_lifetime: Lifetime::secs(900), ..grant }),
    ];
    for (what, narrow) in narrowings {
        let tenant = bench.tenant(what, Metering::Free).await;
        let small = vended(bench, &tenant, "jobs/daily/a", 600, get).await;
        let wide = match what {
            "paths" => vended(bench, &tenant, "jobs/daily", 600, get).await,
            "actions" => vended(bench, &tenant, "jobs/daily/a", 600, Actions::READ).await,
            _ => vended(bench, &tenant, "jobs/daily/a", 3600, get).await,
        };
        let grants = bench.registry.grants(tenant.account.id).await.unwrap();
        let after = narrow(grants.into_iter().next().unwrap(), bench.now());
        bench.clock.advance_secs(1);
        let change = Amendment::Grant(after.clone());
        assert_eq!(bench.registry.preview(&change, bench.now()).await.unwrap(), 1, "{what}");
        assert!(!bench.is_revoked(&wide) && bench.registry.grants(tenant.account.id).await.unwrap() != [after.clone()]);
        let ended = bench.registry.change(&change, true, by(&tenant, bench.now())).await.unwrap();
        assert_eq!(ended, 1, "{what}");
        assert!(bench.is_revoked(&wide) && !bench.is_revoked(&small), "{what}");
        assert_eq!(bench.registry.grants(tenant.account.id).await.unwrap(), [after]);
        assert_eq!(bench.registry.preview(&change, bench.now()).await.unwrap(), 0, "it is so already");
    }
    let tenant = bench.tenant("kept", Metering::Free).await;
    let wide = vended(bench, &tenant, "jobs/daily", 600, get).await;
    let grant = bench.registry.grants(tenant.account.id).await.unwrap().into_iter().next().unwrap();
    bench.clock.advance_secs(1);
    let narrow = Amendment::Grant(Grant { scope: reads("lake", &["jobs/daily/a"]).into(), ..grant });
    assert_eq!(bench.registry.change(&narrow, false, by(&tenant, bench.now())).await.unwrap(), 0);
    assert!(!bench.is_revoked(&wide), "it was to live on");
    assert!(bench.decide(&tenant.token, &ask(tenant.grant)).await.is_ok());
    // What the change itself would be refused for.
    let other = new_grant(tenant.account.id, &tenant.storage, "other", reads("lake", &["x"]));
    let other = other.clone().stored(bench.registry.create_grant(other, bench.now()).await.unwrap());
    for (change, kind) in [
        (Grant { name: name("daily"), ..other.clone() }, Kind::AlreadyExists(Noun::Grant)),
        (
            Grant { id: valetkey_core::id::GrantId::from_bytes([9; 16]), name: name("gone"), ..other },
            Kind::NotFound(Noun::Grant),
        ),
    ] {
        let change = Amendment::Grant(change);
        assert_eq!(bench.registry.preview(&change, bench.now()).await.unwrap_err().kind(), kind);
        assert_eq!(bench.registry.change(&change, true, by(&tenant, bench.now())).await.unwrap_err().kind(), kind);
    }
}

/// And what would outlive it ends now.
pub async fn a_token_whose_end_is_changed_ends_then(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let get = Actions::of(&[valetkey_core::scope::Action::GetObject]);
    let short = vended(bench, &tenant, "jobs/daily", 600, get).await;
    let long = vended(bench, &tenant, "jobs/daily", 3600, get).await;
    bench.clock.advance_secs(1);
    let until = Some(bench.now() + SignedDuration::from_secs(900));
    let end = |until| Amendment::Token { id: tenant.record.id, until, maker: Maker::Server };
    assert_eq!(bench.registry.preview(&end(until), bench.now()).await.unwrap(), 1);
    assert!(!bench.is_revoked(&long) && bench.caller(&tenant.token).await.unwrap().token_until.is_none());
    assert_eq!(bench.registry.change(&end(until), true, by(&tenant, bench.now())).await.unwrap(), 1);
    assert!(bench.is_revoked(&long) && !bench.is_revoked(&short));
    assert_eq!(bench.registry.token_by_id(tenant.record.id).await.unwrap().unwrap().until, until);
    assert_eq!(bench.caller(&tenant.token).await.unwrap().token_until, until);
    bench.clock.advance_secs(900);
    assert!(bench.caller(&tenant.token).await.is_err());
    // An end is for good.
    assert_eq!(bench.registry.preview(&end(None), bench.now()).await.unwrap_err().kind(), Kind::Invalid);
    let refused = bench.registry.change(&end(None), true, by(&tenant, bench.now())).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid);
}
