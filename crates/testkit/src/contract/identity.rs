//! Identity providers: believed as they are now, and what came of their tokens ends with what let it in.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use valetkey_core::account::Metering;
use valetkey_core::caller::Role;
use valetkey_core::error::{Kind, Noun, Stranger};
use valetkey_core::id::{ProviderId, RuleId};
use valetkey_core::nouns::identity::{
    Algorithm, CallerTemplate, Claims, Condition, Cutoff, IdentityProvider, JwtDigest, KeySource, LoginClient,
    NewSession, Preset, SessionProof, SubjectClaim, TrustRule,
};
use valetkey_core::nouns::removal::{Amendment, How, Thing};
use valetkey_core::token::PlainToken;
use valetkey_core::{Error, id::AccountId};

use crate::contract::bench::{Bench, Tenant, by, name};

const ISSUER: &str = "https://id.example.com/";

/// An identity provider without rules.
pub fn provider(at: &str) -> IdentityProvider {
    IdentityProvider {
        id: ProviderId::from_bytes([0; 16]),
        name: name(at),
        preset: Preset::Other,
        issuer: format!("https://{at}.example.com/").into(),
        keys: KeySource::Discovery,
        audiences: vec!["valetkey".into()],
        parties: Vec::new(),
        subject: vec![SubjectClaim::parse("sub").unwrap()],
        algorithms: Algorithm::ALL.to_vec(),
        leeway_secs: 60,
        max_age_secs: 86_400,
        login: None,
        version: 0,
        made: Timestamp::UNIX_EPOCH,
        rules: Vec::new(),
    }
}

/// A rule that makes a caller of each subject.
pub fn rule(of: u8, account: AccountId, condition: &str) -> TrustRule {
    TrustRule {
        id: RuleId::from_bytes([of; 16]),
        name: name(&format!("rule-{of}")),
        account,
        caller: CallerTemplate::parse("id-{subject}").unwrap(),
        role: Role::Member,
        conditions: vec![Condition::parse(condition).unwrap()],
        outlive_secs: None,
    }
}

/// The session of a token of an hour.
pub fn session(of: &Arc<IdentityProvider>, subject: &str, more: &str, now: Timestamp) -> Result<NewSession, Error> {
    let (iat, exp) = (now.as_second(), now.as_second() + 3600);
    let text = format!(
        r#"{{"iss":"{}","aud":"valetkey","sub":"{subject}","jti":"jti-{subject}","iat":{iat},"exp":{exp}{more}}}"#,
        of.issuer
    );
    NewSession::of(
        of,
        &Claims::read(text.as_bytes()).unwrap(),
        JwtDigest::of(&format!("{text}.signature")),
        SessionProof::Itself,
        now,
    )
}

struct World<'b> {
    bench: &'b Bench,
    tenant: Tenant,
}

impl<'b> World<'b> {
    async fn of(bench: &'b Bench) -> Self {
        let tenant = bench.tenant("acme", Metering::Free).await;
        bench.identities.create_identity_provider(provider("id"), bench.now()).await.unwrap();
        let world = Self { bench, tenant };
        let account = world.tenant.account.id;
        world.change(|provider| provider.rules.push(rule(1, account, "team=data"))).await.unwrap();
        world
    }

    async fn provider(&self) -> Arc<IdentityProvider> {
        let all = self.bench.identities.identity_providers().await.unwrap();
        Arc::clone(all.iter().find(|known| &*known.issuer == ISSUER).unwrap())
    }

    async fn change(&self, change: impl FnOnce(&mut IdentityProvider)) -> Result<u64, Error> {
        let mut after = (*self.provider().await).clone();
        change(&mut after);
        let change = Amendment::IdentityProvider(Box::new(after));
        self.bench.registry.change(&change, true, by(&self.tenant, self.bench.now())).await
    }

    async fn open(&self, subject: &str) -> Result<NewSession, Error> {
        let now = self.bench.now();
        let new = session(&self.provider().await, subject, r#","team":"data""#, now)?;
        self.bench.identities.open_session(new.clone(), now).await?;
        Ok(new)
    }

    /// Whether what proves a session proves its caller.
    async fn proves(&self, session: &NewSession) -> Result<String, Kind> {
        let found = self.bench.directory.caller_by_digest(session.digest().0, self.bench.now()).await;
        found.map(|caller| caller.name.to_string()).map_err(|error| error.kind())
    }
}

const REVOKED: Kind = Kind::Unauthenticated(Stranger::Revoked);

/// And is told with all that was said of it.
pub async fn a_provider_reads_back_and_is_there_once(bench: &Bench) {
    let world = World::of(bench).await;
    let account = world.tenant.account.id;
    let full = IdentityProvider {
        keys: KeySource::Jwks("https://keys.example.com/jwks".into()),
        audiences: vec!["a".into(), "b".into()],
        parties: vec!["client".into()],
        subject: vec![SubjectClaim::parse("x").unwrap(), SubjectClaim::parse("y?").unwrap()],
        algorithms: vec![Algorithm::Rs256, Algorithm::EdDsa],
        login: Some(LoginClient { client_id: "a".into(), scopes: vec!["openid".into(), "offline_access".into()] }),
        ..provider("full")
    };
    let made = bench.identities.create_identity_provider(full.clone(), bench.now()).await.unwrap();
    let mut after = made.clone();
    after.rules = vec![
        TrustRule { outlive_secs: Some(3600), ..rule(3, account, "a=b") },
        TrustRule { role: Role::Admin, ..rule(2, account, "/c/d=glob:e*") },
    ];
    let change = Amendment::IdentityProvider(Box::new(after.clone()));
    bench.registry.change(&change, true, by(&world.tenant, bench.now())).await.unwrap();
    let all = bench.identities.identity_providers().await.unwrap();
    let read = all.iter().find(|known| known.id == made.id).unwrap();
    assert_eq!(**read, IdentityProvider { version: 2, ..after.clone() });
    // What somebody read before another change is not written over it.
    let late = bench.registry.change(&change, true, by(&world.tenant, bench.now())).await.unwrap_err();
    assert_eq!(late.kind(), Kind::Unavailable);
    let taken = Kind::AlreadyExists(Noun::IdentityProvider);
    let same = |new: IdentityProvider| async move {
        bench.identities.create_identity_provider(new, bench.now()).await.unwrap_err().kind()
    };
    assert_eq!(same(provider("full")).await, taken);
    assert_eq!(same(IdentityProvider { name: name("other"), ..provider("full") }).await, taken);
    assert_eq!(same(IdentityProvider { audiences: Vec::new(), ..provider("new") }).await, Kind::Invalid);
    let strange = AccountId::from_bytes([9; 16]);
    let refused = world.change(|provider| provider.rules.push(rule(5, strange, "a=b"))).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::NotFound(Noun::Account));
}

/// It is seen at once, is the same for the same subject, and says whose it is.
pub async fn a_session_proves_the_caller_that_its_rule_names(bench: &Bench) {
    let world = World::of(bench).await;
    let one = world.open("alice").await.unwrap();
    assert_eq!(world.proves(&one).await.unwrap(), "id-alice");
    let caller = bench.directory.caller_by_digest(one.digest().0, bench.now()).await.unwrap();
    assert_eq!(
        (caller.account, caller.role, caller.token_until),
        (world.tenant.account.id, Role::Member, Some(one.until))
    );
    let told = bench.identities.session(caller.token).await.unwrap().unwrap();
    assert_eq!((&*told.provider, &*told.rule, &*told.subject), ("id", "rule-1", "alice"));
    assert_eq!(told.jti.as_deref(), Some("jti-alice"));
    assert!(bench.identities.session(world.tenant.record.id).await.unwrap().is_none());
    bench.clock.advance_secs(1);
    let again = world.open("alice").await.unwrap();
    let other = bench.directory.caller_by_digest(again.digest().0, bench.now()).await.unwrap();
    assert_eq!(other.id, caller.id);
    assert_ne!(other.token, caller.token);
    // Opened twice it is the same.
    bench.identities.open_session(again.clone(), bench.now()).await.unwrap();
    bench.clock.advance_secs(3600);
    assert_eq!(world.proves(&one).await.unwrap_err(), Kind::Unauthenticated(Stranger::Expired));
}

/// Whoever chooses a claim's value does not choose who it becomes.
pub async fn a_token_never_becomes_a_caller_that_was_not_made_for_its_rule(bench: &Bench) {
    let world = World::of(bench).await;
    let (account, now) = (world.tenant.account.id, bench.now());
    bench.registry.ensure_caller(account, &name("id-root"), Role::Member, now).await.unwrap();
    assert_eq!(world.open("root").await.unwrap_err().kind(), Kind::AlreadyExists(Noun::Caller));
    world.open("alice").await.unwrap();
    world
        .change(|provider| {
            let caller = CallerTemplate::parse("i{subject}").unwrap();
            provider.rules = vec![TrustRule { caller, ..rule(2, account, "team=data") }];
        })
        .await
        .unwrap();
    assert_eq!(world.open("d-alice").await.unwrap_err().kind(), Kind::AlreadyExists(Noun::Caller));
    // A rule that names one caller means that one.
    world
        .change(|provider| {
            let caller = CallerTemplate::parse("id-root").unwrap();
            provider.rules = vec![TrustRule { caller, ..rule(3, account, "team=data") }];
        })
        .await
        .unwrap();
    let session = world.open("anybody").await.unwrap();
    assert_eq!(world.proves(&session).await.unwrap(), "id-root");
}

/// What came of a rule ends with it; what came of others stays.
pub async fn what_a_changed_rule_let_in_ends_and_may_come_in_by_what_is_so_now(bench: &Bench) {
    let world = World::of(bench).await;
    let account = world.tenant.account.id;
    let session = world.open("alice").await.unwrap();
    let before = world.provider().await;
    world.change(|provider| provider.rules.push(rule(2, account, "team=other"))).await.unwrap();
    // The session stays; but what was judged before the change is not believed.
    assert!(world.proves(&session).await.is_ok());
    let stale = self::session(&before, "bob", r#","team":"data""#, bench.now()).unwrap();
    assert!(bench.identities.open_session(stale, bench.now()).await.unwrap_err().is_overtaken());
    world.change(|provider| provider.rules = vec![rule(1, account, "team=none")]).await.unwrap();
    assert_eq!(world.proves(&session).await.unwrap_err(), REVOKED);
    assert_eq!(world.open("alice").await.unwrap_err().kind(), Kind::Forbidden);
    world.change(|provider| provider.rules = vec![rule(1, account, "team=data")]).await.unwrap();
    let again = world.open("alice").await.unwrap();
    assert!(world.proves(&again).await.is_ok());
    assert_eq!(world.proves(&session).await.unwrap_err(), REVOKED);
    // With another issuer nothing stays.
    world.change(|provider| provider.audiences = vec!["valetkey".into(), "more".into()]).await.unwrap();
    assert_eq!(world.proves(&again).await.unwrap_err(), REVOKED);
}

/// A plan says what, and afterwards nothing of it is left.
pub async fn a_removed_provider_takes_its_rules_and_sessions_with_it(bench: &Bench) {
    let world = World::of(bench).await;
    let session = world.open("alice").await.unwrap();
    let (id, revoker) = (world.provider().await.id, by(&world.tenant, bench.now()));
    let plan = bench.registry.plan(&Thing::IdentityProvider(id)).await.unwrap();
    assert_eq!((plan.with.len(), plan.needs.len(), plan.tokens), (2, 0, 1), "{plan:?}");
    let of_account = bench.registry.plan(&Thing::Account(world.tenant.account.id)).await.unwrap();
    assert!(of_account.needs.iter().any(|item| matches!(item.thing, Thing::TrustRule(_))), "{of_account:?}");
    let rule = world.provider().await.rules.first().unwrap().id;
    bench.registry.remove(&Thing::TrustRule(rule), How::default(), revoker).await.unwrap();
    assert_eq!(world.proves(&session).await.unwrap_err(), REVOKED);
    assert!(world.provider().await.rules.is_empty());
    bench.registry.remove(&Thing::IdentityProvider(id), How::default(), revoker).await.unwrap();
    assert!(bench.identities.identity_providers().await.unwrap().is_empty());
    let gone = bench.registry.plan(&Thing::IdentityProvider(id)).await.unwrap_err();
    assert_eq!(gone.kind(), Kind::NotFound(Noun::IdentityProvider));
    assert_eq!(bench.registry.plan(&Thing::TrustRule(rule)).await.unwrap_err().kind(), Kind::NotFound(Noun::TrustRule));
}

/// By provider, rule, subject or the token's own id; and tokens that nobody showed yet are refused, too.
pub async fn sessions_are_ended_by_whose_they_are_and_older_tokens_with_them(bench: &Bench) {
    let world = World::of(bench).await;
    let rule = world.provider().await.rules.first().unwrap().id;
    let id = world.provider().await.id;
    for (at, (cutoff, fresh_comes_in)) in [
        (Cutoff::Subject("alice".into()), true),
        (Cutoff::Rule(rule), true),
        (Cutoff::Provider, true),
        (Cutoff::TokenId("jti-alice".into()), false),
    ]
    .into_iter()
    .enumerate()
    {
        let (alice, bob) = (world.open("alice").await.unwrap(), world.open("bob").await.unwrap());
        let unseen = session(&world.provider().await, "alice", r#","team":"data","n":1"#, bench.now()).unwrap();
        let unsaid = NewSession { issued: None, jwt: JwtDigest::of(&format!("{at}.signature")), ..unseen.clone() };
        bench.clock.advance_secs(1);
        let revoker = by(&world.tenant, bench.now());
        bench.identities.end_sessions(id, &cutoff, revoker).await.unwrap();
        assert_eq!(world.proves(&alice).await.unwrap_err(), REVOKED, "{cutoff:?}");
        let of_alice_alone = matches!(cutoff, Cutoff::Subject(_) | Cutoff::TokenId(_));
        assert_eq!(world.proves(&bob).await.is_ok(), of_alice_alone, "{cutoff:?}");
        for old in [unseen, unsaid] {
            let refused = bench.identities.open_session(old, bench.now()).await.unwrap_err();
            assert_eq!(refused.kind(), REVOKED, "{cutoff:?}");
        }
        // Found as it is: ended.
        bench.identities.open_session(alice.clone(), bench.now()).await.unwrap();
        assert_eq!(world.proves(&alice).await.unwrap_err(), REVOKED, "{cutoff:?}");
        bench.clock.advance_secs(1);
        assert_eq!(world.open("alice").await.is_ok(), fresh_comes_in, "{cutoff:?}");
        bench.clock.advance_secs(1);
    }
    let nobody = bench.identities.end_sessions(
        ProviderId::from_bytes([9; 16]),
        &Cutoff::Provider,
        by(&world.tenant, bench.now()),
    );
    assert_eq!(nobody.await.unwrap_err().kind(), Kind::NotFound(Noun::IdentityProvider));
}

/// One token is not exchanged without end, and one that was revoked not at all.
pub async fn a_token_is_exchanged_for_ours_as_long_as_it_was_not_ended(bench: &Bench) {
    let world = World::of(bench).await;
    let direct = session(&world.provider().await, "alice", r#","team":"data""#, bench.now()).unwrap();
    let exchanged = || {
        let token = PlainToken::generate(&*bench.entropy);
        NewSession { by: SessionProof::Token(token), ..direct.clone() }
    };
    let mut last = None;
    for at in 0..40 {
        let new = exchanged();
        match bench.identities.open_session(new.clone(), bench.now()).await {
            Ok(()) => last = Some(new),
            Err(error) => {
                assert_eq!((error.kind(), at > 10), (Kind::RateLimited, true));
                break;
            }
        }
        assert!(at < 39, "it is exchanged without end");
    }
    let last = last.unwrap();
    let caller = bench.directory.caller_by_digest(last.digest().0, bench.now()).await.unwrap();
    assert!(caller.token_until.unwrap() <= bench.now() + SignedDuration::from_secs(3600));
    bench.registry.revoke_token(caller.token, by(&world.tenant, bench.now())).await.unwrap();
    assert_eq!(world.proves(&last).await.unwrap_err(), REVOKED);
    for new in [exchanged(), direct.clone()] {
        assert_eq!(bench.identities.open_session(new, bench.now()).await.unwrap_err().kind(), REVOKED);
    }
}
