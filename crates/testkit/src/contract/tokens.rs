//! Tokens: who they prove, and from when to when.

use futures::future::{join, join_all};
use jiff::SignedDuration;
use valetkey_core::Kind;
use valetkey_core::account::Metering;
use valetkey_core::caller::Role;
use valetkey_core::error::{Noun, Stranger};
use valetkey_core::lease::Revoker;
use valetkey_core::nouns::removal::Amendment;
use valetkey_core::nouns::share::{LinkCode, ProfileKind, ProfileLink};
use valetkey_core::token::{Maker, PlainToken};

use crate::contract::bench::{Bench, ask, by, name, new_grant, reads};

/// However often it is asked.
pub async fn an_unknown_token_is_refused(bench: &Bench) {
    let token = PlainToken::generate(&*bench.entropy);
    for _ in 0..3 {
        let refused = bench.caller(&token).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Unauthenticated(Stranger::Unknown));
    }
}

/// That it was unknown a moment ago is forgotten.
pub async fn a_new_token_works_at_once_even_if_it_was_tried_before(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    for _ in 0..20 {
        let token = PlainToken::generate(&*bench.entropy);
        bench.caller(&token).await.unwrap_err();
        let record =
            bench.registry.create_token(tenant.caller, &token, None, Maker::Server, bench.now()).await.unwrap();
        assert_eq!(bench.caller(&token).await.unwrap().token, record.id);
    }
}

/// Unless its maker may say otherwise, and says so.
pub async fn what_a_token_makes_ends_no_later_than_it_does(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let after = |secs| Some(bench.now().checked_add(SignedDuration::from_secs(secs)).unwrap());
    let make = async |until, maker| {
        let token = PlainToken::generate(&*bench.entropy);
        bench.registry.create_token(tenant.caller, &token, until, maker, bench.now()).await.unwrap()
    };
    let short = make(after(60), Maker::Server).await;
    for (asked, until) in [(None, after(60)), (after(600), after(60)), (after(6), after(6))] {
        let record = make(asked, Maker::Token(short.id)).await;
        assert_eq!((record.until, record.made_by), (until, Some(short.id)));
        assert_eq!(bench.registry.token_by_id(record.id).await.unwrap(), Some(record));
    }
    let outlives = make(None, Maker::Outlived(short.id)).await;
    assert_eq!((outlives.until, outlives.made_by), (None, Some(short.id)));
    let free = make(None, Maker::Token(tenant.record.id)).await;
    assert_eq!((free.until, free.made_by), (None, Some(tenant.record.id)));
    assert_eq!(tenant.record.made_by, None);
    // A link hands out what its maker may make.
    let code = LinkCode::generate(&*bench.entropy).digest();
    let link = ProfileLink {
        caller: tenant.caller,
        kind: ProfileKind::Bearer,
        token_lifetime: None,
        until: after(600).unwrap(),
        made_by: None,
        no_later: None,
    };
    let kept = bench.shares.create_link(&code, link, Maker::Token(short.id), bench.now()).await.unwrap();
    assert_eq!((Some(kept.until), kept.made_by), (after(60), Some(short.id)));
    let token = PlainToken::generate(&*bench.entropy);
    let (_, record) = bench.shares.redeem_link(&code, &token, bench.now()).await.unwrap().unwrap();
    assert_eq!((record.until, record.made_by), (after(60), Some(short.id)));
}

/// Found by what is kept of it, and by what made it, however far down.
pub async fn what_a_token_made_is_found(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let make = async |maker| {
        let token = PlainToken::generate(&*bench.entropy);
        (bench.registry.create_token(tenant.caller, &token, None, maker, bench.now()).await.unwrap(), token)
    };
    let (first, text) = make(Maker::Token(tenant.record.id)).await;
    let (second, _) = make(Maker::Token(first.id)).await;
    let (third, _) = make(Maker::Outlived(second.id)).await;
    let (other, _) = make(Maker::Server).await;
    let offspring = async |id| {
        let found = bench.registry.tokens_made_by(id).await.unwrap();
        found.into_iter().map(|one| one.id).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(offspring(tenant.record.id).await, [first.id, second.id, third.id].into());
    assert_eq!(offspring(second.id).await, [third.id].into());
    assert!(offspring(other.id).await.is_empty());
    assert_eq!(bench.registry.token_of(text.digest()).await.unwrap().map(|one| one.id), Some(first.id));
    let unknown = PlainToken::generate(&*bench.entropy);
    assert_eq!(bench.registry.token_of(unknown.digest()).await.unwrap(), None);
    let link = ProfileLink {
        caller: tenant.caller,
        kind: ProfileKind::Bearer,
        token_lifetime: None,
        until: bench.now().checked_add(SignedDuration::from_secs(60)).unwrap(),
        made_by: None,
        no_later: None,
    };
    let code = LinkCode::generate(&*bench.entropy).digest();
    bench.shares.create_link(&code, link, Maker::Token(first.id), bench.now()).await.unwrap();
    assert_eq!(bench.registry.end_links_made_by(&[second.id, other.id]).await.unwrap(), 0);
    assert_eq!(bench.registry.end_links_made_by(&[first.id]).await.unwrap(), 1);
    assert_eq!(bench.shares.redeem_link(&code, &unknown, bench.now()).await.unwrap(), None);
}

/// Also what that made, and what comes of links; not what an operator let outlive it, nor what ends before anyway.
pub async fn a_token_that_ends_earlier_takes_along_what_it_made(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let after = |secs| bench.now().checked_add(SignedDuration::from_secs(secs)).unwrap();
    let make = async |until, maker| {
        let token = PlainToken::generate(&*bench.entropy);
        let made = bench.registry.create_token(tenant.caller, &token, until, maker, bench.now()).await.unwrap();
        let permit = bench.decide(&token, &ask(tenant.grant)).await.unwrap();
        (made.id, bench.ledger.open(&permit, None, bench.now()).await.unwrap())
    };
    let (maker, own) = make(None, Maker::Server).await;
    let (first, of_first) = make(None, Maker::Token(maker)).await;
    let (second, of_second) = make(Some(after(7200)), Maker::Token(first)).await;
    let (short, of_short) = make(Some(after(60)), Maker::Token(maker)).await;
    let (outlived, of_outlived) = make(None, Maker::Outlived(maker)).await;
    let (of_that, of_its) = make(None, Maker::Token(outlived)).await;
    let (let_go, _) = make(None, Maker::Token(maker)).await;
    let mut links = Vec::new();
    for maker in [Maker::Token(first), Maker::Outlived(maker)] {
        let link = ProfileLink {
            caller: tenant.caller,
            kind: ProfileKind::Bearer,
            token_lifetime: None,
            until: after(7200),
            made_by: None,
            no_later: None,
        };
        let code = LinkCode::generate(&*bench.entropy).digest();
        bench.shares.create_link(&code, link, maker, bench.now()).await.unwrap();
        links.push(code);
    }
    let by = by(&tenant, bench.now());
    // An operator says of one that was made without that it may stay.
    let stays = Amendment::Token { id: let_go, until: Some(after(9000)), maker: Maker::Outlived(tenant.record.id) };
    bench.registry.change(&stays, true, by).await.unwrap();
    let until = Some(after(600));
    let sooner = Amendment::Token { id: maker, until, maker: Maker::Server };
    assert_eq!(bench.registry.preview(&sooner, bench.now()).await.unwrap(), 3);
    assert_eq!(bench.registry.change(&sooner, true, by).await.unwrap(), 3);
    let end = async |id| bench.registry.token_by_id(id).await.unwrap().unwrap().until;
    for (id, expected) in [
        (maker, until),
        (first, until),
        (second, until),
        (short, Some(after(60))),
        (outlived, None),
        (of_that, None),
        (let_go, Some(after(9000))),
    ] {
        assert_eq!(end(id).await, expected, "{id}");
    }
    for (lease, ended) in
        [(own, true), (of_first, true), (of_second, true), (of_short, false), (of_outlived, false), (of_its, false)]
    {
        assert_eq!(bench.is_revoked(&lease), ended, "{}", lease.id);
    }
    for (code, expected) in links.iter().zip([until, None]) {
        let token = PlainToken::generate(&*bench.entropy);
        let (_, record) = bench.shares.redeem_link(code, &token, bench.now()).await.unwrap().unwrap();
        assert_eq!(record.until, expected);
    }
    // What was shortened is not lengthened with its maker.
    let later = Amendment::Token { id: maker, until: None, maker: Maker::Server };
    bench.registry.change(&later, true, by).await.unwrap();
    assert_eq!((end(maker).await, end(first).await), (None, until));
    assert!(bench.registry.verify_ledger().await.unwrap().intact());
}

/// Revoked, out of time, of a caller that is suspended, or never there.
pub async fn a_token_that_has_ended_makes_nothing(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let make = async |until, maker| {
        let token = PlainToken::generate(&*bench.entropy);
        bench.registry.create_token(tenant.caller, &token, until, maker, bench.now()).await
    };
    let until = bench.now().checked_add(SignedDuration::from_secs(60)).unwrap();
    let (revoked, expired) =
        (make(None, Maker::Server).await.unwrap(), make(Some(until), Maker::Server).await.unwrap());
    bench.registry.revoke_token(revoked.id, by(&tenant, bench.now())).await.unwrap();
    bench.clock.advance_secs(60);
    for (id, kind) in [
        (revoked.id, Kind::Unauthenticated(Stranger::Revoked)),
        (expired.id, Kind::Unauthenticated(Stranger::Expired)),
        (valetkey_core::id::TokenId::from_bytes([1; 16]), Kind::NotFound(Noun::Token)),
    ] {
        for maker in [Maker::Token(id), Maker::Outlived(id)] {
            assert_eq!(make(None, maker).await.unwrap_err().kind(), kind);
        }
    }
}

/// Warm or cold.
pub async fn an_expired_token_is_refused_from_its_last_instant_on(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let until = bench.now().checked_add(SignedDuration::from_secs(60)).unwrap();
    let warm = PlainToken::generate(&*bench.entropy);
    let cold = PlainToken::generate(&*bench.entropy);
    for token in [&warm, &cold] {
        bench.registry.create_token(tenant.caller, token, Some(until), Maker::Server, bench.now()).await.unwrap();
    }
    bench.clock.advance_secs(59);
    assert_eq!(bench.caller(&warm).await.unwrap().token_until, Some(until));
    bench.clock.advance_secs(1);
    for token in [&warm, &cold] {
        let refused = bench.caller(token).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Unauthenticated(Stranger::Expired));
    }
}

/// And nobody else's.
pub async fn a_revoked_token_is_refused_at_once_and_its_credentials_end(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let other = PlainToken::generate(&*bench.entropy);
    let record = bench.registry.create_token(tenant.caller, &other, None, Maker::Server, bench.now()).await.unwrap();
    let lease = bench.open(&tenant).await.unwrap();
    bench.clock.advance_secs(1);
    bench.registry.revoke_token(tenant.record.id, by(&tenant, bench.now())).await.unwrap();
    let refused = bench.caller(&tenant.token).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Unauthenticated(Stranger::Revoked));
    assert!(bench.is_revoked(&lease));
    assert_eq!(bench.caller(&other).await.unwrap().token, record.id);
    let listed = bench.registry.tokens(Some(tenant.account.id)).await.unwrap();
    let revoked: Vec<_> = listed.iter().map(|one| (one.id, one.revoked)).collect();
    assert_eq!(revoked, [(tenant.record.id, Some(bench.now())), (record.id, None)]);
    // Once more changes nothing.
    bench.clock.advance_secs(1);
    let first = bench.now();
    bench.registry.revoke_token(tenant.record.id, by(&tenant, first)).await.unwrap();
    assert!(bench.registry.tokens(None).await.unwrap().iter().all(|one| one.revoked != Some(first)));
}

/// Its caller was known when it asked; that is not enough.
pub async fn a_vend_that_a_revocation_overtakes_opens_nothing(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let permit = bench.decide(&tenant.token, &ask(tenant.grant)).await.unwrap();
    bench.registry.revoke_token(tenant.record.id, by(&tenant, bench.now())).await.unwrap();
    for _ in 0..2 {
        let refused = bench.ledger.open(&permit, None, bench.now()).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Unauthenticated(Stranger::Revoked));
        bench.clock.advance_secs(1);
    }
    assert_eq!(bench.registry.verify_ledger().await.unwrap().leases, 0);
}

/// Whatever they find on the way.
pub async fn a_change_is_seen_however_many_look_meanwhile(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    for at in 0..30usize {
        let token = PlainToken::generate(&*bench.entropy);
        let looks = || join_all((0..8).map(|_| bench.caller(&token)));
        let making = bench.registry.create_token(tenant.caller, &token, None, Maker::Server, bench.now());
        let (record, _) = join(making, looks()).await;
        let id = record.unwrap().id;
        if at % 2 == 0 {
            assert_eq!(bench.caller(&token).await.unwrap().token, id);
        }
        let ending = bench.registry.revoke_token(id, by(&tenant, bench.now()));
        let (_, ended) = join(looks(), ending).await;
        ended.unwrap();
        let refused = bench.caller(&token).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Unauthenticated(Stranger::Revoked));
        let grant = new_grant(tenant.account.id, &tenant.storage, &format!("g{at}"), reads("lake", &["x"]));
        let granting = bench.registry.create_grant(grant, bench.now());
        let snapshots = join_all((0..8).map(|_| bench.directory.account(tenant.account.id, bench.now())));
        let (_, granted) = join(snapshots, granting).await;
        bench.decide(&tenant.token, &ask(granted.unwrap())).await.unwrap();
    }
}

/// With its account and role.
pub async fn a_token_proves_its_own_caller(bench: &Bench) {
    let acme = bench.tenant("acme", Metering::Free).await;
    let other = bench.tenant("other", Metering::Free).await;
    let boss = bench.registry.ensure_caller(acme.account.id, &name("boss"), Role::Admin, bench.now()).await.unwrap();
    let token = PlainToken::generate(&*bench.entropy);
    bench.registry.create_token(boss, &token, None, Maker::Server, bench.now()).await.unwrap();
    for _ in 0..2 {
        let caller = bench.caller(&token).await.unwrap();
        assert_eq!((caller.id, caller.account, caller.role), (boss, acme.account.id, Role::Admin));
        assert_eq!(caller.name, name("boss"));
        assert_eq!(bench.caller(&other.token).await.unwrap().account, other.account.id);
    }
}

/// Only the last four characters are shown.
pub async fn tokens_are_listed_without_their_text(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    bench.tenant("other", Metering::Free).await;
    let listed = bench.registry.tokens(Some(tenant.account.id)).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&tenant.record));
    assert_eq!(bench.registry.tokens(None).await.unwrap().len(), 2);
    assert!(tenant.token.reveal().ends_with(&tenant.record.tail) && tenant.record.tail.len() == 4);
    assert_eq!((tenant.record.caller_name, tenant.record.made), (name("ann"), bench.now()));
    let again =
        bench.registry.create_token(tenant.caller, &tenant.token, None, Maker::Server, bench.now()).await.unwrap_err();
    assert_eq!(again.kind(), Kind::AlreadyExists(Noun::Token));
    let nobody = valetkey_core::id::TokenId::from_bytes([1; 16]);
    let refused =
        bench.registry.revoke_token(nobody, Revoker { by: tenant.caller, at: bench.now() }).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::NotFound(Noun::Token));
}
