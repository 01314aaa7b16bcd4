//! Shares: what a recipient sees, and that its grants are always those of what it was given.

use std::sync::Arc;

use futures::future::join_all;
use valetkey_core::account::{Account, Metering};
use valetkey_core::ask::{Ask, Asked, Target, Wanted};
use valetkey_core::caller::Role;
use valetkey_core::error::{Error, Kind, Noun, Stranger};
use valetkey_core::grant::{Grantee, Origin};
use valetkey_core::id::{AccountId, CallerId, ShareId, TableId, TokenId};
use valetkey_core::nouns::share::{LinkCode, ProfileKind, ProfileLink, READ, Recipient, Share};
use valetkey_core::nouns::table::{History, NewTable, SharedName, TableAccess, TableFormat, TableRoot};
use valetkey_core::policy::Permit;
use valetkey_core::scope::{Path, Paths};
use valetkey_core::storage::{Shape, Storage};
use valetkey_core::time::Lifetime;
use valetkey_core::token::{Maker, PlainToken};

use crate::contract::bench::{Bench, Tenant, bucket, by, name, new_storage};

/// A table to be added to a share.
pub fn new_table(storage: &Storage, text: &str, root: &str) -> NewTable {
    NewTable {
        id: (),
        share: (),
        schema: SharedName::part("Main").unwrap(),
        name: SharedName::part(text).unwrap(),
        storage: storage.id,
        bucket: bucket("lake"),
        root: TableRoot::parse(root).unwrap(),
        auxiliary: Vec::new(),
        access: TableAccess::Both,
        history: History::Shared,
        format: Some(TableFormat::Delta),
    }
}

async fn provider(bench: &Bench) -> Account {
    bench.registry.create_account(&name("provider"), Metering::Free, bench.now()).await.unwrap()
}

async fn share(bench: &Bench, account: AccountId, text: &str) -> Share {
    let text = SharedName::parse(text).unwrap();
    bench.shares.create_share(account, &text, Some("a comment, \"quoted\""), bench.now()).await.unwrap()
}

async fn give(bench: &Bench, share: &Share, tenant: &Tenant) {
    bench.shares.add_recipient(to(bench, share, tenant), by(tenant, bench.now())).await.unwrap();
}

fn to(bench: &Bench, share: &Share, tenant: &Tenant) -> Recipient {
    Recipient {
        share: share.id,
        account: tenant.account.id,
        to: Grantee::Everyone,
        max_lifetime: Lifetime::secs(3600),
        until: None,
        made: bench.now(),
    }
}

/// An ask for directories of a share's bucket.
fn of(share: ShareId, directories: &[&str]) -> Ask {
    let paths: Vec<Path> = directories.iter().map(|path| Path::directory(path.as_bytes()).unwrap()).collect();
    Ask {
        dialect: "sharing",
        target: Target::Shared { share, bucket: bucket("lake"), paths: Paths::only(paths).unwrap() },
        wanted: Wanted::all_of(READ),
        lifetime: Asked::For(Lifetime::secs(600)),
        carries: Shape::ALL,
    }
}

async fn opens(bench: &Bench, tenant: &Tenant, share: ShareId, directories: &[&str]) -> Result<Permit, Error> {
    bench.decide(&tenant.token, &of(share, directories)).await
}

async fn seen(bench: &Bench, tenant: &Tenant) -> Vec<String> {
    let caller = bench.caller(&tenant.token).await.unwrap();
    let with = bench.shares.shared_with(tenant.account.id).await.unwrap();
    let names = with.shelves(&caller, bench.now()).flat_map(|shelf| {
        let share = shelf.share.name.to_string();
        let tables = shelf.tables().iter().map(move |table| format!("{share}.{}.{}", table.schema, table.name));
        std::iter::once(shelf.share.name.to_string()).chain(tables.collect::<Vec<_>>())
    });
    names.collect()
}

/// Also in the lists.
pub async fn names_are_taken_once_in_whatever_case(bench: &Bench) {
    let storage = bench.lake().await;
    let account = provider(bench).await.id;
    let one = share(bench, account, "Sales").await;
    let again = bench.shares.create_share(account, &SharedName::parse("sALES").unwrap(), None, bench.now()).await;
    assert_eq!(again.unwrap_err().kind(), Kind::AlreadyExists(Noun::Share));
    let two = share(bench, account, "Archive").await;
    assert_eq!(bench.shares.shares().await.unwrap(), [two.clone(), one.clone()]);
    let table = bench.shares.add_table(one.id, new_table(&storage, "Orders", "t/orders"), bench.now()).await.unwrap();
    let again = bench.shares.add_table(one.id, new_table(&storage, "ORDERS", "t/other"), bench.now()).await;
    assert_eq!(again.unwrap_err().kind(), Kind::AlreadyExists(Noun::Table));
    let mut elsewhere = new_table(&storage, "ORDERS", "t/other");
    elsewhere.schema = SharedName::part("Zone").unwrap();
    elsewhere.auxiliary = vec![TableRoot::parse("aux/a").unwrap(), TableRoot::parse("aux/b").unwrap()];
    elsewhere.access = TableAccess::Url;
    elsewhere.history = History::Latest;
    let elsewhere = bench.shares.add_table(one.id, elsewhere, bench.now()).await.unwrap();
    assert_eq!(bench.shares.tables(one.id).await.unwrap(), [table, elsewhere]);
    assert_eq!(bench.shares.tables(two.id).await.unwrap(), []);
}

/// And what is not there is not found.
pub async fn what_does_not_belong_together_is_refused(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let (now, shares) = (bench.now(), &bench.shares);
    let account = provider(bench).await.id;
    let one = share(bench, account, "Sales").await;
    let missing = ShareId::from_bytes([9; 16]);
    let no = |noun| Kind::NotFound(noun);
    let nobody = AccountId::from_bytes([9; 16]);
    let made = shares.create_share(nobody, &SharedName::parse("x").unwrap(), None, now).await;
    assert_eq!(made.unwrap_err().kind(), no(Noun::Account));
    assert_eq!(
        shares.add_table(missing, new_table(&tenant.storage, "t", "t"), now).await.unwrap_err().kind(),
        no(Noun::Share)
    );
    let mut elsewhere = new_table(&tenant.storage, "t", "t");
    elsewhere.bucket = bucket("pond");
    assert_eq!(shares.add_table(one.id, elsewhere.clone(), now).await.unwrap_err().kind(), no(Noun::Bucket));
    let second = bench.registry.create_storage(new_storage("second"), now).await.unwrap();
    bench.registry.create_bucket(second.id, &bucket("pond"), now).await.unwrap();
    assert_eq!(shares.add_table(one.id, elsewhere, now).await.unwrap_err().kind(), Kind::Invalid);
    let mut hidden = new_table(&tenant.storage, "t", "t");
    hidden.history = History::Latest;
    assert_eq!(shares.add_table(one.id, hidden, now).await.unwrap_err().field(), Some("history"));
    let other = bench.tenant("other", Metering::Free).await;
    for (recipient, noun) in [
        (Recipient { share: missing, ..to(bench, &one, &tenant) }, Noun::Share),
        (Recipient { account: nobody, ..to(bench, &one, &tenant) }, Noun::Account),
        (Recipient { to: Grantee::Caller(other.caller), ..to(bench, &one, &tenant) }, Noun::Caller),
    ] {
        assert_eq!(shares.add_recipient(recipient, by(&tenant, now)).await.unwrap_err().kind(), no(noun));
    }
    let by = by(&tenant, now);
    assert_eq!(shares.remove_share(missing, true, by).await.unwrap_err().kind(), no(Noun::Share));
    let table = TableId::from_bytes([9; 16]);
    assert_eq!(shares.remove_table(table, true, by).await.unwrap_err().kind(), no(Noun::Table));
    let gone = shares.remove_recipient(one.id, tenant.account.id, Grantee::Everyone, true, by).await;
    assert_eq!(gone.unwrap_err().kind(), no(Noun::Grant));
    assert_eq!(shares.tables(missing).await.unwrap_err().kind(), no(Noun::Share));
    assert_eq!(shares.recipients(missing).await.unwrap_err().kind(), no(Noun::Share));
}

/// However warm it is.
pub async fn a_recipient_sees_what_it_was_given_and_nothing_else(bench: &Bench) {
    let (acme, other) = (bench.tenant("acme", Metering::Free).await, bench.tenant("other", Metering::Free).await);
    let account = provider(bench).await.id;
    let (sales, secret) = (share(bench, account, "Sales").await, share(bench, account, "Secret").await);
    let by = by(&acme, bench.now());
    assert!(seen(bench, &acme).await.is_empty());
    give(bench, &sales, &acme).await;
    assert_eq!(seen(bench, &acme).await, ["Sales"]);
    let table = new_table(&acme.storage, "Orders", "t/orders");
    let table = bench.shares.add_table(sales.id, table, bench.now()).await.unwrap();
    assert_eq!(seen(bench, &acme).await, ["Sales", "Sales.Main.Orders"]);
    assert!(seen(bench, &other).await.is_empty());
    // One caller of an account only.
    let bob = name("bob");
    let bob = bench.registry.ensure_caller(acme.account.id, &bob, Role::Member, bench.now()).await.unwrap();
    let only_bob = Recipient { to: Grantee::Caller(bob), ..to(bench, &secret, &acme) };
    bench.shares.add_recipient(only_bob, by).await.unwrap();
    assert_eq!(seen(bench, &acme).await, ["Sales", "Sales.Main.Orders"]);
    let token = PlainToken::generate(&*bench.entropy);
    bench.registry.create_token(bob, &token, None, Maker::Server, bench.now()).await.unwrap();
    let bobs = Tenant { token, caller: bob, ..acme.clone() };
    assert_eq!(seen(bench, &bobs).await, ["Sales", "Sales.Main.Orders", "Secret"]);
    bench.shares.remove_table(table.id, false, by).await.unwrap();
    assert_eq!(seen(bench, &acme).await, ["Sales"]);
    bench.shares.remove_recipient(sales.id, acme.account.id, Grantee::Everyone, false, by).await.unwrap();
    assert!(seen(bench, &acme).await.is_empty());
    assert_eq!(bench.shares.recipients(secret.id).await.unwrap(), [only_bob]);
}

/// In one step with them.
pub async fn grants_follow_the_tables_and_the_recipients(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let account = provider(bench).await.id;
    let sales = share(bench, account, "Sales").await;
    let by = by(&tenant, bench.now());
    let add = async |text: &str, root: &str| {
        bench.shares.add_table(sales.id, new_table(&tenant.storage, text, root), bench.now()).await.unwrap()
    };
    let before = add("before", "t/before").await;
    assert!(opens(bench, &tenant, sales.id, &["t/before"]).await.is_err());
    give(bench, &sales, &tenant).await;
    let after = add("after", "t/after").await;
    for root in ["t/before", "t/after", "t/after/_delta_log"] {
        let permit = opens(bench, &tenant, sales.id, &[root]).await.unwrap();
        assert_eq!(permit.because().grants.len(), 1);
        assert_eq!(permit.rights().actions(), READ);
    }
    for root in ["t", "t/after2", "t/after-secret", "jobs/daily"] {
        assert!(opens(bench, &tenant, sales.id, &[root]).await.is_err(), "{root}");
    }
    bench.shares.remove_table(before.id, false, by).await.unwrap();
    assert!(opens(bench, &tenant, sales.id, &["t/before"]).await.is_err());
    opens(bench, &tenant, sales.id, &["t/after"]).await.unwrap();
    bench.shares.remove_recipient(sales.id, tenant.account.id, Grantee::Everyone, false, by).await.unwrap();
    assert!(opens(bench, &tenant, sales.id, &["t/after"]).await.is_err());
    assert_eq!(bench.registry.grants(tenant.account.id).await.unwrap().len(), 1, "its own is left");
    give(bench, &sales, &tenant).await;
    opens(bench, &tenant, sales.id, &["t/after"]).await.unwrap();
    assert_eq!(bench.shares.tables(sales.id).await.unwrap(), [after]);
}

/// Neither for another share nor for who asks elsewhere.
pub async fn a_shares_grants_open_nothing_but_what_is_asked_of_the_share(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let account = provider(bench).await.id;
    let (one, two) = (share(bench, account, "one").await, share(bench, account, "two").await);
    let table = new_table(&tenant.storage, "orders", "t/orders");
    bench.shares.add_table(one.id, table, bench.now()).await.unwrap();
    give(bench, &one, &tenant).await;
    give(bench, &two, &tenant).await;
    opens(bench, &tenant, one.id, &["t/orders"]).await.unwrap();
    assert!(opens(bench, &tenant, two.id, &["t/orders"]).await.is_err());
    // Its own grants do not answer for a share either.
    assert!(opens(bench, &tenant, one.id, &["jobs/daily"]).await.is_err());
    let paths = Paths::only([Path::directory(b"t/orders").unwrap()]).unwrap();
    let place = Target::Place { bucket: bucket("lake"), paths };
    assert!(bench.decide(&tenant.token, &Ask { target: place, ..of(one.id, &["t/orders"]) }).await.is_err());
    let grants = bench.registry.grants(tenant.account.id).await.unwrap();
    for grant in grants.iter().filter(|grant| grant.origin.share().is_some()) {
        assert!(bench.decide(&tenant.token, &crate::contract::bench::ask(grant.id)).await.is_err());
    }
}

/// Each has a grant of its own.
pub async fn tables_are_never_opened_together(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let account = provider(bench).await.id;
    let sales = share(bench, account, "Sales").await;
    for (text, root) in [("one", "t/one"), ("two", "t/two")] {
        bench.shares.add_table(sales.id, new_table(&tenant.storage, text, root), bench.now()).await.unwrap();
    }
    give(bench, &sales, &tenant).await;
    opens(bench, &tenant, sales.id, &["t/one"]).await.unwrap();
    assert!(opens(bench, &tenant, sales.id, &["t/one", "t/two"]).await.is_err());
}

/// And leaves those of others.
pub async fn what_is_taken_back_ends_its_credentials_when_told(bench: &Bench) {
    let (acme, other) = (bench.tenant("acme", Metering::Free).await, bench.tenant("other", Metering::Free).await);
    let account = provider(bench).await.id;
    let sales = share(bench, account, "Sales").await;
    let (now, by) = (bench.now(), by(&acme, bench.now()));
    let table = bench.shares.add_table(sales.id, new_table(&acme.storage, "one", "t/one"), now).await.unwrap();
    bench.shares.add_table(sales.id, new_table(&acme.storage, "two", "t/two"), now).await.unwrap();
    let open = async |tenant: &Tenant, root: &str| {
        let permit = opens(bench, tenant, sales.id, &[root]).await.unwrap();
        bench.ledger.open(&permit, None, now).await.unwrap()
    };
    give(bench, &sales, &acme).await;
    give(bench, &sales, &other).await;
    let (one, two, others) = (open(&acme, "t/one").await, open(&acme, "t/two").await, open(&other, "t/one").await);
    bench.shares.remove_recipient(sales.id, other.account.id, Grantee::Everyone, false, by).await.unwrap();
    assert!(!bench.is_revoked(&others));
    bench.shares.remove_table(table.id, true, by).await.unwrap();
    assert!(bench.is_revoked(&one) && !bench.is_revoked(&two));
    bench.shares.remove_recipient(sales.id, acme.account.id, Grantee::Everyone, true, by).await.unwrap();
    assert!(bench.is_revoked(&two));
    give(bench, &sales, &acme).await;
    bench.clock.advance_secs(1);
    let permit = opens(bench, &acme, sales.id, &["t/two"]).await.unwrap();
    let fresh = bench.ledger.open(&permit, None, bench.now()).await.unwrap();
    assert!(!bench.is_revoked(&fresh));
}

/// Its name is free again.
pub async fn a_removed_share_leaves_nothing(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let account = provider(bench).await.id;
    let sales = share(bench, account, "Sales").await;
    let (now, by) = (bench.now(), by(&tenant, bench.now()));
    bench.shares.add_table(sales.id, new_table(&tenant.storage, "one", "t/one"), now).await.unwrap();
    give(bench, &sales, &tenant).await;
    let permit = opens(bench, &tenant, sales.id, &["t/one"]).await.unwrap();
    let lease = bench.ledger.open(&permit, None, now).await.unwrap();
    bench.shares.remove_share(sales.id, true, by).await.unwrap();
    assert!(bench.is_revoked(&lease));
    assert!(seen(bench, &tenant).await.is_empty());
    assert!(opens(bench, &tenant, sales.id, &["t/one"]).await.is_err());
    assert!(bench.shares.shares().await.unwrap().is_empty());
    assert_eq!(bench.registry.grants(tenant.account.id).await.unwrap().len(), 1);
    share(bench, account, "SALES").await;
}

/// The last limits hold.
pub async fn a_changed_recipient_keeps_one_grant_for_each_table(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let account = provider(bench).await.id;
    let sales = share(bench, account, "Sales").await;
    bench.shares.add_table(sales.id, new_table(&tenant.storage, "one", "t/one"), bench.now()).await.unwrap();
    give(bench, &sales, &tenant).await;
    let until = Lifetime::secs(900).ends(bench.now());
    let shorter = Recipient { max_lifetime: Lifetime::secs(120), until: Some(until), ..to(bench, &sales, &tenant) };
    bench.shares.add_recipient(shorter, by(&tenant, bench.now())).await.unwrap();
    let grants = bench.registry.grants(tenant.account.id).await.unwrap();
    assert_eq!(grants.iter().filter(|grant| grant.origin == Origin::Share(sales.id)).count(), 1);
    let permit = opens(bench, &tenant, sales.id, &["t/one"]).await.unwrap();
    assert_eq!(permit.until(), Lifetime::secs(120).ends(bench.now()));
    assert_eq!(bench.shares.recipients(sales.id).await.unwrap(), [shorter]);
    bench.clock.advance_secs(900);
    assert!(seen(bench, &tenant).await.is_empty());
    assert!(opens(bench, &tenant, sales.id, &["t/one"]).await.is_err());
}

/// However many try at once.
pub async fn a_link_is_good_for_one_token(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let link = |secs: u32| ProfileLink {
        caller: tenant.caller,
        kind: ProfileKind::Bearer,
        token_lifetime: Some(Lifetime::secs(50)),
        until: Lifetime::secs(secs).ends(bench.now()),
        made_by: None,
        no_later: None,
    };
    let nobody = ProfileLink { caller: CallerId::from_bytes([9; 16]), ..link(100) };
    let code = LinkCode::generate(&*bench.entropy);
    let refused = bench.shares.create_link(&code.digest(), nobody, Maker::Server, bench.now()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::NotFound(Noun::Caller));
    bench.shares.create_link(&code.digest(), link(100), Maker::Server, bench.now()).await.unwrap();
    let tries = (0..8).map(|_| {
        let (shares, now, digest) = (Arc::clone(&bench.shares), bench.now(), code.digest());
        let token = PlainToken::generate(&*bench.entropy);
        async move {
            let found = shares.redeem_link(&digest, &token, now).await.unwrap();
            found.map(|(link, record)| (token, link, record))
        }
    });
    let won: Vec<_> = join_all(tries).await.into_iter().flatten().collect();
    assert_eq!(won.len(), 1, "tokens of one link");
    let (token, used, record) = won.first().unwrap();
    assert_eq!((*used, record.until), (link(100), Some(Lifetime::secs(50).ends(bench.now()))));
    assert_eq!(bench.caller(token).await.unwrap().id, tenant.caller);
    // Not known, out of time, taken back.
    let token = PlainToken::generate(&*bench.entropy);
    let unknown = LinkCode::generate(&*bench.entropy).digest();
    assert_eq!(bench.shares.redeem_link(&unknown, &token, bench.now()).await.unwrap(), None);
    let late = LinkCode::generate(&*bench.entropy).digest();
    bench.shares.create_link(&late, link(100), Maker::Server, bench.now()).await.unwrap();
    bench.clock.advance_secs(100);
    assert_eq!(bench.shares.redeem_link(&late, &token, bench.now()).await.unwrap(), None);
    let withdrawn = LinkCode::generate(&*bench.entropy).digest();
    bench.shares.create_link(&withdrawn, link(100), Maker::Server, bench.now()).await.unwrap();
    assert!(bench.shares.end_links(tenant.caller).await.unwrap() >= 1);
    assert_eq!(bench.shares.redeem_link(&withdrawn, &token, bench.now()).await.unwrap(), None);
    assert!(bench.caller(&token).await.is_err());
}

/// Also where nobody ended the link itself, and whoever else's links it are, they stay good.
pub async fn a_link_of_a_maker_that_was_revoked_is_good_for_nothing(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let make = async |maker| {
        let token = PlainToken::generate(&*bench.entropy);
        bench.registry.create_token(tenant.caller, &token, None, maker, bench.now()).await.unwrap()
    };
    let (leaked, other) = (make(Maker::Server).await, make(Maker::Server).await);
    let mut links = Vec::new();
    for maker in [Maker::Token(leaked.id), Maker::Outlived(leaked.id), Maker::Token(other.id), Maker::Server] {
        let link = ProfileLink {
            caller: tenant.caller,
            kind: ProfileKind::Bearer,
            token_lifetime: None,
            until: Lifetime::secs(600).ends(bench.now()),
            made_by: None,
            no_later: None,
        };
        let code = LinkCode::generate(&*bench.entropy).digest();
        bench.shares.create_link(&code, link, maker, bench.now()).await.unwrap();
        links.push((maker, code));
    }
    bench.registry.revoke_token(leaked.id, by(&tenant, bench.now())).await.unwrap();
    for (maker, code) in links {
        let token = PlainToken::generate(&*bench.entropy);
        let found = bench.shares.redeem_link(&code, &token, bench.now()).await.unwrap();
        assert_eq!(found.is_some(), maker.token() != Some(leaked.id), "{maker:?}");
        assert_eq!(bench.caller(&token).await.is_ok(), found.is_some(), "{maker:?}");
    }
}

/// However warm it is.
pub async fn a_token_is_let_end_earlier_never_later(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    bench.caller(&tenant.token).await.unwrap();
    let after = |secs| Lifetime::secs(secs).ends(bench.now());
    let (soon, late) = (after(10), after(20));
    bench.shares.end_token_at(tenant.record.id, soon).await.unwrap();
    bench.shares.end_token_at(tenant.record.id, late).await.unwrap();
    assert_eq!(bench.caller(&tenant.token).await.unwrap().token_until, Some(soon));
    bench.clock.advance_secs(10);
    let refused = bench.caller(&tenant.token).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Unauthenticated(Stranger::Expired));
    let missing = TokenId::from_bytes([9; 16]);
    let refused = bench.shares.end_token_at(missing, soon).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::NotFound(Noun::Token));
}
