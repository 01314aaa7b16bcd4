//! Lists of what there may be many of: by what is asked for, page by page, of one account or of all.

use valetkey_core::account::Metering;
use valetkey_core::caller::Role;
use valetkey_core::grant::{Grant, Grantee, NewGrant};
use valetkey_core::id::LeaseId;
use valetkey_core::nouns::registry::{CallerFilter, GrantFilter, LeaseFilter, TokenFilter};
use valetkey_core::scope::{Actions, Path, Paths, Scope};
use valetkey_core::token::{Maker, PlainToken};

use crate::contract::bench::{Bench, Tenant, ask, bucket, by, name, new_grant, reads};

/// Two accounts; the first has a second caller, with a grant of its own in another bucket.
async fn two(bench: &Bench) -> (Tenant, Tenant, Grant) {
    let acme = bench.tenant("acme", Metering::Free).await;
    bench.clock.advance_secs(10);
    let other = bench.tenant("other", Metering::Free).await;
    bench.clock.advance_secs(10);
    let bob = bench.registry.ensure_caller(acme.account.id, &name("bob"), Role::Admin, bench.now()).await.unwrap();
    bench.registry.create_bucket(acme.storage.id, &bucket("lake2"), bench.now()).await.unwrap();
    let own = NewGrant {
        to: Grantee::Caller(bob),
        ..new_grant(acme.account.id, &acme.storage, "bobs", reads("lake2", &["x"]))
    };
    let id = bench.registry.create_grant(own.clone(), bench.now()).await.unwrap();
    (acme, other, own.stored(id))
}

/// In the order of accounts and names, wherever a page ends.
pub async fn grants_are_listed_by_what_is_asked_for_and_page_by_page(bench: &Bench) {
    let (acme, other, bobs) = two(bench).await;
    let list = async |filter: GrantFilter<'_>| {
        let found = bench.registry.list_grants(&filter).await.unwrap();
        found.into_iter().map(|grant| (grant.account, grant.name.to_string())).collect::<Vec<_>>()
    };
    let all = GrantFilter { limit: 100, ..GrantFilter::default() };
    let (a, o) = (acme.account.id, other.account.id);
    let every = [(a, "bobs".to_owned()), (a, "daily".to_owned()), (o, "daily".to_owned())];
    assert_eq!(list(all).await, every);
    assert_eq!(list(GrantFilter { account: Some(a), ..all }).await, every[..2]);
    assert_eq!(list(GrantFilter { account: Some(o), ..all }).await, every[2..]);
    assert_eq!(list(GrantFilter { name: Some("daily"), ..all }).await, every[1..]);
    assert_eq!(list(GrantFilter { name: Some("dail"), ..all }).await, []);
    let Grantee::Caller(bob) = bobs.to else { return };
    assert_eq!(
        list(GrantFilter { caller: Some(bob), ..all }).await,
        every[..2],
        "its own and everyone's of its account"
    );
    assert_eq!(list(GrantFilter { caller: Some(acme.caller), ..all }).await, every[1..2]);
    assert_eq!(list(GrantFilter { bucket: Some(&bucket("lake")), ..all }).await, every[1..], "no longer name");
    assert_eq!(list(GrantFilter { bucket: Some(&bucket("lake2")), ..all }).await, every[..1]);
    assert_eq!(list(GrantFilter { since: Some(bench.now()), ..all }).await, every[..1]);
    let mut paged = Vec::new();
    while let Some((account, text)) = {
        let after = paged.last().map(|(account, text): &(_, String)| (*account, text.as_str()));
        list(GrantFilter { after, limit: 1, ..all }).await.pop()
    } {
        paged.push((account, text));
    }
    assert_eq!(paged, every);
    bench.registry.remove_grant(a, bobs.id, true, by(&acme, bench.now())).await.unwrap();
    assert_eq!(list(all).await, every[1..]);
}

/// Without those that were removed.
pub async fn callers_are_listed_page_by_page(bench: &Bench) {
    let (acme, other, bobs) = two(bench).await;
    let list = async |account, after, limit| {
        let found = bench.registry.list_callers(&CallerFilter { account, after, limit }).await.unwrap();
        found.into_iter().map(|known| (known.account, known.name.to_string())).collect::<Vec<_>>()
    };
    let (a, o) = (acme.account.id, other.account.id);
    let every = [(a, "ann".to_owned()), (a, "bob".to_owned()), (o, "ann".to_owned())];
    assert_eq!(list(None, None, 9).await, every);
    assert_eq!(list(None, None, 2).await, every[..2]);
    assert_eq!(list(None, Some((a, "bob")), 2).await, every[2..]);
    assert_eq!(list(None, Some((o, "ann")), 2).await, []);
    assert_eq!(list(Some(a), None, 9).await, every[..2]);
    assert_eq!(list(Some(a), Some((a, "ann")), 9).await, every[1..2]);
    assert_eq!(list(Some(o), None, 9).await, every[2..]);
    let Grantee::Caller(bob) = bobs.to else { return };
    let what = valetkey_core::nouns::removal::Thing::Caller(bob);
    bench.registry.remove(&what, valetkey_core::nouns::removal::How::ALL, by(&acme, bench.now())).await.unwrap();
    assert_eq!(list(Some(a), None, 9).await, every[..1]);
}

/// In the order they were made, ended ones too.
pub async fn tokens_are_listed_by_what_is_asked_for_and_page_by_page(bench: &Bench) {
    let (acme, other, _) = two(bench).await;
    let token = PlainToken::generate(&*bench.entropy);
    let third = bench.registry.create_token(acme.caller, &token, None, Maker::Server, bench.now()).await.unwrap();
    bench.registry.revoke_token(third.id, by(&acme, bench.now())).await.unwrap();
    let list = async |filter: TokenFilter| {
        let found = bench.registry.list_tokens(&filter).await.unwrap();
        found.into_iter().map(|record| record.id).collect::<Vec<_>>()
    };
    let all = TokenFilter { limit: 100, ..TokenFilter::default() };
    let every = [acme.record.id, other.record.id, third.id];
    assert_eq!(list(all).await, every);
    assert_eq!(list(TokenFilter { account: Some(acme.account.id), ..all }).await, [every[0], every[2]]);
    assert_eq!(list(TokenFilter { caller: Some(other.caller), ..all }).await, [every[1]]);
    assert_eq!(list(TokenFilter { since: Some(other.record.made), ..all }).await, every[1..]);
    assert_eq!(list(TokenFilter { limit: 2, ..all }).await, every[..2]);
    assert_eq!(list(TokenFilter { after: Some(every[1]), limit: 2, ..all }).await, every[2..]);
    assert_eq!(list(TokenFilter { after: Some(every[2]), ..all }).await, []);
}

/// Also of a bucket whose name begins as another's does, and of a scope that is kept beside its lease.
pub async fn leases_are_listed_by_token_grant_bucket_and_time(bench: &Bench) {
    let (acme, other, _) = two(bench).await;
    let first = bench.open(&acme).await.unwrap();
    bench.clock.advance_secs(5);
    let theirs = bench.open(&other).await.unwrap();
    let directories: Vec<String> = (0..40).map(|at| format!("some/rather/long/directory/of/many/{at}")).collect();
    let paths: Vec<Path> = directories.iter().map(|text| Path::directory(text.as_bytes()).unwrap()).collect();
    let scope = Scope::new(bucket("lake2"), Paths::only(paths).unwrap(), Actions::READ).unwrap();
    let grant = new_grant(acme.account.id, &acme.storage, "long", scope);
    let long = bench.registry.create_grant(grant, bench.now()).await.unwrap();
    let permit = bench.decide(&acme.token, &ask(long)).await.unwrap();
    let wide = bench.ledger.open(&permit, None, bench.now()).await.unwrap();
    let list = async |filter: LeaseFilter<'_>| {
        let found = bench.registry.leases(&filter).await.unwrap();
        let mut ids: Vec<LeaseId> = found.into_iter().map(|record| record.lease.id).collect();
        ids.sort_unstable();
        ids
    };
    let all = LeaseFilter { limit: 100, ..LeaseFilter::default() };
    let mut late = [theirs.id, wide.id];
    late.sort_unstable();
    assert_eq!(list(LeaseFilter { token: Some(acme.record.id), ..all }).await, [first.id, wide.id]);
    assert_eq!(list(LeaseFilter { token: Some(other.record.id), ..all }).await, [theirs.id]);
    assert_eq!(list(LeaseFilter { grant: Some(acme.grant), ..all }).await, [first.id]);
    assert_eq!(list(LeaseFilter { grant: Some(long), ..all }).await, [wide.id]);
    assert_eq!(list(LeaseFilter { bucket: Some(&bucket("lake")), ..all }).await, [first.id, theirs.id]);
    assert_eq!(list(LeaseFilter { bucket: Some(&bucket("lake2")), ..all }).await, [wide.id]);
    assert_eq!(list(LeaseFilter { bucket: Some(&bucket("lak")), ..all }).await, []);
    assert_eq!(list(LeaseFilter { since: Some(theirs.opened), ..all }).await, late);
    let of = LeaseFilter { account: Some(acme.account.id), caller: Some(acme.caller), ..all };
    assert_eq!(list(LeaseFilter { live_at: Some(bench.now()), grant: Some(long), ..of }).await, [wide.id]);
    assert_eq!(list(LeaseFilter { grant: Some(other.grant), ..of }).await, []);
}
