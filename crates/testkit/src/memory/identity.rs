//! Identity providers and their sessions in memory.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::caller::{CallerStanding, Role};
use valetkey_core::claims::{Claims, Identity};
use valetkey_core::error::{Error, Kind, Noun, Stranger};
use valetkey_core::id::{CallerId, ProviderId, RuleId, TokenId};
use valetkey_core::lease::{Revocation, Revoker};
use valetkey_core::nouns::identity::{
    Cutoff, Identities, IdentityAdmin, IdentityProvider, JwtDigest, MOST_EXCHANGES, NewSession, Session, SessionProof,
};
use valetkey_core::nouns::registry::TokenRecord;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::token::TokenDigest;

use crate::memory::{Memory, World};

/// Everything of identity providers.
#[derive(Default)]
pub(super) struct Trust {
    pub(super) providers: Vec<IdentityProvider>,
    sessions: Vec<Open>,
    cutoffs: Vec<(ProviderId, Cutoff, Timestamp)>,
    made_for: HashMap<CallerId, String>,
}

struct Open {
    session: Session,
    provider: ProviderId,
    rule: RuleId,
    jwt: JwtDigest,
    claims: Arc<Claims>,
    lapsed: bool,
}

impl World {
    fn record(&self, token: TokenId) -> Option<&TokenRecord> {
        self.tokens.iter().map(|(_, record)| record).find(|record| record.id == token)
    }

    /// What the identity token claims that a token came of.
    pub(super) fn identity(&self, token: TokenId) -> Option<Arc<Identity>> {
        let known = self.trust.sessions.iter().find(|one| one.session.token == token)?;
        Some(Arc::new(Identity { provider: known.provider, claims: Claims::clone(&known.claims) }))
    }

    /// The live sessions of a rule.
    pub(super) fn sessions_of(&self, rule: RuleId, now: Timestamp) -> Vec<TokenId> {
        let own = self.trust.sessions.iter().filter(|one| one.rule == rule).map(|one| one.session.token);
        own.filter(|token| self.is_open(*token, now)).collect()
    }

    fn is_open(&self, token: TokenId, now: Timestamp) -> bool {
        let live = |record: &TokenRecord| record.revoked.is_none() && record.until.is_none_or(|until| now < until);
        self.record(token).is_some_and(live)
    }

    /// Forgets a rule; its sessions were ended.
    pub(super) fn drop_rule(&mut self, rule: RuleId) {
        for one in self.trust.sessions.iter_mut().filter(|one| one.rule == rule) {
            one.lapsed = true;
        }
        for provider in &mut self.trust.providers {
            let before = provider.rules.len();
            provider.rules.retain(|one| one.id != rule);
            provider.version += u64::from(provider.rules.len() != before);
        }
    }

    /// Changes a provider; says which sessions end with that.
    pub(super) fn change_provider(&mut self, after: &IdentityProvider, now: Timestamp) -> Result<Vec<TokenId>, Error> {
        after.check()?;
        let at = self.trust.providers.iter().position(|known| known.id == after.id);
        let at = at.ok_or_else(|| Error::not_found(Noun::IdentityProvider))?;
        let before = self.trust.providers.get(at).cloned().ok_or_else(|| Error::not_found(Noun::IdentityProvider))?;
        if before.version != after.version {
            return Err(Error::new(Kind::Unavailable, "the identity provider was changed just now"));
        }
        self.check_provider(after)?;
        let ended = before.ended_by(after).into_iter().flat_map(|rule| self.sessions_of(rule.id, now)).collect();
        if let Some(known) = self.trust.providers.get_mut(at) {
            *known = IdentityProvider { version: after.version + 1, ..after.clone() };
        }
        Ok(ended)
    }

    /// Ends sessions whose tokens may be judged again.
    pub(super) fn lapse(&mut self, sessions: &[TokenId], by: Revoker) -> u64 {
        let mut leases = 0;
        for token in sessions {
            if let Some((_, record)) = self.tokens.iter_mut().find(|(_, record)| record.id == *token) {
                record.revoked.get_or_insert(by.at);
            }
            for one in self.trust.sessions.iter_mut().filter(|one| one.session.token == *token) {
                one.lapsed = true;
            }
            leases += self.end(Revocation::Token(*token), by);
        }
        leases
    }

    pub(super) fn check_provider(&mut self, new: &IdentityProvider) -> Result<(), Error> {
        let others = || self.trust.providers.iter().filter(|known| known.id != new.id);
        if others().any(|known| known.name == new.name || known.issuer == new.issuer) {
            return Err(Error::taken(Noun::IdentityProvider, &new.name));
        }
        for (at, rule) in new.rules.iter().enumerate() {
            if new.rules.iter().take(at).any(|one| one.name == rule.name) {
                return Err(Error::taken(Noun::TrustRule, &rule.name));
            }
            self.account(rule.account)?;
        }
        Ok(())
    }

    fn admitted(&self, new: &NewSession) -> Result<(), Error> {
        let known = self.trust.providers.iter().find(|known| known.id == new.provider.id);
        if known.is_none_or(|known| known.version != new.provider.version) {
            return Err(Error::overtaken());
        }
        let revoked = || Error::new(Kind::Unauthenticated(Stranger::Revoked), "the identity token was ended");
        let mut own = self.trust.sessions.iter().filter(|one| one.jwt.signed() == new.jwt.signed());
        if own.clone().any(|one| !one.lapsed && self.record(one.session.token).is_some_and(|it| it.revoked.is_some())) {
            return Err(revoked());
        }
        let under = |cutoff: &Cutoff| match cutoff {
            Cutoff::Provider => true,
            Cutoff::Rule(rule) => *rule == new.rule.id,
            Cutoff::Subject(subject) => *subject == new.subject,
            Cutoff::TokenId(jti) => Some(jti) == new.jti.as_ref(),
        };
        let mut cutoffs = self.trust.cutoffs.iter().filter(|(of, what, _)| *of == new.provider.id && under(what));
        if cutoffs.any(|(_, what, at)| what.ends(*at, new.issued)) {
            return Err(revoked());
        }
        let most = usize::try_from(MOST_EXCHANGES).unwrap_or(usize::MAX);
        if matches!(new.by, SessionProof::Token(_)) && own.nth(most).is_some() {
            return Err(Error::new(Kind::RateLimited, "this identity token was exchanged too often"));
        }
        Ok(())
    }

    fn becomes(&mut self, id: CallerId, new: &NewSession) -> Result<CallerId, Error> {
        let (account, role) = (new.rule.account, new.rule.role);
        let known = self.caller_records().into_iter().find(|one| one.account == account && one.name == new.caller);
        let Some(known) = known else {
            self.callers.push((id, account, new.caller.clone(), role));
            if let Some(made_for) = new.made_for() {
                self.trust.made_for.insert(id, made_for);
            }
            return Ok(id);
        };
        match new.made_for() {
            None => known.has_role(role)?,
            made_for if self.trust.made_for.get(&known.id) != made_for.as_ref() => {
                return Err(Error::new(Kind::AlreadyExists(Noun::Caller), "the caller was not made for this rule"));
            }
            Some(_) => self.give_role(known.id, role),
        }
        known.standing.served().map(|()| known.id)
    }

    fn give_role(&mut self, id: CallerId, role: Role) {
        for (known, _, _, own) in &mut self.callers {
            if *known == id {
                *own = role;
            }
        }
        for (_, record) in self.tokens.iter_mut().filter(|(_, record)| record.caller == id) {
            record.role = role;
        }
    }

    fn open_session(
        &mut self,
        (caller, token): (CallerId, TokenId),
        new: NewSession,
        now: Timestamp,
    ) -> Result<(), Error> {
        let (digest, tail): (TokenDigest, String) = new.digest();
        if self.tokens.iter().any(|(known, _)| *known == digest) {
            return Ok(());
        }
        self.admitted(&new)?;
        let caller = self.becomes(caller, &new)?;
        let (account, role, until) = (new.rule.account, new.rule.role, Some(new.until));
        let (standing, made_by) = (CallerStanding::Active, None);
        let caller_name = new.caller;
        let record = TokenRecord {
            id: token,
            caller,
            caller_name,
            account,
            role,
            tail,
            made: now,
            until,
            revoked: None,
            made_by,
            standing,
        };
        self.tokens.push((digest, record));
        let session = Session {
            token,
            provider: new.provider.name.as_str().into(),
            rule: new.rule.name.as_str().into(),
            subject: new.subject,
            jti: new.jti,
        };
        let (provider, jwt, claims) = (new.provider.id, new.jwt, new.claims);
        self.trust.sessions.push(Open { session, provider, rule: new.rule.id, jwt, claims, lapsed: false });
        Ok(())
    }
}

#[async_trait]
impl Identities for Memory {
    async fn identity_providers(&self) -> Result<Arc<[Arc<IdentityProvider>]>, Error> {
        let mut all = self.world().trust.providers.clone();
        all.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(all.into_iter().map(Arc::new).collect())
    }

    async fn open_session(&self, new: NewSession, now: Timestamp) -> Result<(), Error> {
        let ids = (CallerId::new(now, self.random()), TokenId::new(now, self.random()));
        self.world().open_session(ids, new, now)
    }

    async fn session(&self, token: TokenId) -> Result<Option<Session>, Error> {
        let world = self.world();
        Ok(world.trust.sessions.iter().find(|one| one.session.token == token).map(|one| one.session.clone()))
    }

    async fn identity(&self, token: TokenId) -> Result<Option<Arc<Identity>>, Error> {
        Ok(self.world().identity(token))
    }

    async fn live_identities(&self, caller: CallerId, now: Timestamp) -> Result<Vec<Arc<Identity>>, Error> {
        let world = self.world();
        let own = world.trust.sessions.iter().rev().map(|one| one.session.token);
        let own = own.filter(|token| world.record(*token).is_some_and(|record| record.caller == caller));
        Ok(own.filter(|token| world.is_open(*token, now)).filter_map(|token| world.identity(token)).collect())
    }
}

#[async_trait]
impl IdentityAdmin for Memory {
    async fn create_identity_provider(&self, new: IdentityProvider, now: Timestamp) -> Result<IdentityProvider, Error> {
        new.check()?;
        let new = IdentityProvider { id: ProviderId::new(now, self.random()), version: 1, made: now, ..new };
        let mut world = self.world();
        world.check_provider(&new)?;
        world.trust.providers.push(new.clone());
        Ok(new)
    }

    async fn end_sessions(&self, provider: ProviderId, what: &Cutoff, by: Revoker) -> Result<u64, Error> {
        let live = {
            let mut world = self.world();
            if world.trust.providers.iter().all(|known| known.id != provider) {
                return Err(Error::not_found(Noun::IdentityProvider));
            }
            world.trust.cutoffs.push((provider, what.clone(), by.at));
            let under = |one: &&Open| match what {
                Cutoff::Provider => true,
                Cutoff::Rule(rule) => one.rule == *rule,
                Cutoff::Subject(subject) => one.session.subject == *subject,
                Cutoff::TokenId(jti) => one.session.jti.as_ref() == Some(jti),
            };
            let own = world.trust.sessions.iter().filter(|one| one.provider == provider).filter(under);
            let own: Vec<TokenId> = own.map(|one| one.session.token).collect();
            own.into_iter().filter(|token| world.is_open(*token, by.at)).collect::<Vec<_>>()
        };
        let mut leases = 0;
        for token in live {
            leases += self.revoke_token(token, by).await?;
        }
        Ok(leases)
    }
}
