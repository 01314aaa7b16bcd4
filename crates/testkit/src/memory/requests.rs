//! Requests for access, in memory.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::caller::Caller;
use valetkey_core::claims::Identity;
use valetkey_core::error::{Error, Kind, Noun, Stranger};
use valetkey_core::field::{Attribute, Field};
use valetkey_core::group::Group;
use valetkey_core::id::{AccountId, CallerId, GrantId, GroupId, RequestId, RequestRuleId, TokenId};
use valetkey_core::nouns::identity::Identities as _;
use valetkey_core::nouns::request::{
    AccessRequest, Decided, Decision, KEPT, MOST_RULES, NewRequest, RequestAdmin, RequestFilter, RequestRule, Requests,
    State, Whose, check_count, moved, rule_for,
};
use valetkey_core::nouns::rules;

use crate::memory::{Memory, World};

/// What was asked for, and by which rules.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) rules: Vec<RequestRule>,
    requests: Vec<AccessRequest>,
}

impl Asked {
    /// Removes a rule; what waits under it is cancelled.
    pub(super) fn drop_rule(&mut self, id: RequestRuleId, at: Timestamp) {
        self.rules.retain(|known| known.id != id);
        for one in self.requests.iter_mut().filter(|one| one.rule == id && one.decided.is_none()) {
            one.decided = Some(Decided { how: Decision::Cancelled, at, by: None, note: "".into(), grant: None });
        }
    }
}

impl World {
    fn group_of_requests(&self, id: GroupId) -> Result<&Group, Error> {
        self.groups.iter().find(|known| known.id == id).ok_or_else(|| Error::not_found(Noun::Group))
    }

    fn check_rule(&self, new: &RequestRule) -> Result<(), Error> {
        new.check()?;
        if let Some(account) = new.account {
            if self.accounts.iter().all(|(known, _)| known.id != account) {
                return Err(Error::not_found(Noun::Account));
            }
            let of = self.grantee_of(new.askers);
            rules::check_grantee(account, new.askers, of).map_err(|error| error.at(Attribute::Askers))?;
        }
        self.group_of_requests(new.approvers).map_err(|error| error.at(Attribute::Approvers))?;
        let bucket = new.scope.bucket();
        self.bucket_of(bucket).ok_or_else(|| rules::no_bucket(bucket).at(Field::Bucket))?;
        if self.asked.rules.iter().any(|known| known.name == new.name && known.id != new.id) {
            return Err(Error::taken(Noun::RequestRule, &new.name));
        }
        Ok(())
    }

    pub(super) fn change_rule(&mut self, after: &RequestRule) -> Result<(), Error> {
        self.check_rule(after)?;
        let known = self.asked.rules.iter_mut().find(|known| known.id == after.id);
        let known = known.ok_or_else(|| Error::not_found(Noun::RequestRule))?;
        if known.version != after.version {
            return Err(Error::new(Kind::Unavailable, "the request rule was changed just now"));
        }
        *known = RequestRule { version: after.version + 1, ..after.clone() };
        Ok(())
    }

    fn rule_is_for(&self, rule: &RequestRule, account: AccountId, caller: CallerId, known: &[Arc<Identity>]) -> bool {
        let group = rule.asking_group().and_then(|id| self.group_of_requests(id).ok());
        rule.is_for(account, caller, group.is_some_and(|group| group.has(account, caller, known)))
    }

    fn rules_by_name(&self) -> Vec<RequestRule> {
        let mut all = self.asked.rules.clone();
        all.sort_by(|one, two| one.name.cmp(&two.name));
        all
    }

    fn ask(&mut self, id: RequestId, new: NewRequest, by: &Caller, now: Timestamp) -> Result<AccessRequest, Error> {
        let all = self.rules_by_name();
        let identities: Vec<_> = by.identity.iter().cloned().collect();
        let own: Vec<_> = all.iter().filter(|rule| self.rule_is_for(rule, by.account, by.id, &identities)).collect();
        let rule = rule_for(&own, new.rule.as_ref(), &new.scope, new.secs)?;
        let storage = self.bucket_of(new.scope.bucket());
        let storage = self.storages.iter().find(|known| Some(known.id) == storage);
        let storage = storage.ok_or_else(|| rules::no_bucket(new.scope.bucket()).at(Field::Bucket))?;
        new.check(storage)?;
        let own = self.asked.requests.iter().filter(|one| one.caller == by.id && now < one.waits_until());
        let waiting = own.clone().filter(|one| one.decided.is_none()).count();
        check_count(waiting, own.count())?;
        let made = new.stored(id, by, rule, storage.id, now);
        self.asked.requests.retain(|one| one.caller != by.id || now.duration_since(one.made) <= KEPT);
        self.asked.requests.push(made.clone());
        Ok(made)
    }

    /// Whether a token is one of a caller's, or comes of one.
    fn comes_of(&self, token: TokenId, caller: CallerId) -> bool {
        let known = |id| self.tokens.iter().map(|(_, record)| record).find(|record| record.id == id);
        let mut next = known(token).and_then(|record| record.made_by);
        while let Some(record) = next.and_then(known) {
            if record.caller == caller {
                return true;
            }
            next = record.made_by;
        }
        false
    }

    fn check_other(&self, request: &AccessRequest, by: &Caller) -> Result<(), Error> {
        let live = self.tokens.iter().any(|(_, record)| record.id == by.token && record.revoked.is_none());
        if !live {
            return Err(Error::new(Kind::Unauthenticated(Stranger::Revoked), "the token has ended"));
        }
        let made = request.token.is_some_and(|token| self.comes_of(token, by.id));
        if made || self.comes_of(by.token, request.caller) {
            return Err(Error::new(Kind::Forbidden, "nobody decides their own request"));
        }
        Ok(())
    }

    fn decide(
        &mut self,
        (id, grant): (RequestId, GrantId),
        (how, note): (Decision, Box<str>),
        (by, sessions): (&Caller, &[Arc<Identity>]),
        now: Timestamp,
    ) -> Result<AccessRequest, Error> {
        let missing = || Error::not_found(Noun::Request).at(Attribute::Request);
        let mut request = self.asked.requests.iter().find(|one| one.id == id).cloned().ok_or_else(missing)?;
        let identities: Vec<_> = by.identity.iter().cloned().collect();
        let rule = self.asked.rules.iter().find(|known| known.id == request.rule).cloned();
        let approves = |rule: &RequestRule| {
            self.group_of_requests(rule.approvers).is_ok_and(|group| group.has(by.account, by.id, &identities))
        };
        request.check(how, (by.id, by.role), rule.as_ref().map(|rule| (rule, approves(rule))), now)?;
        match how {
            Decision::Cancelled => {}
            Decision::Approved | Decision::Denied => self.check_other(&request, by)?,
        }
        let mut made = None;
        if let (Decision::Approved, Some(rule)) = (how, &rule) {
            let served = self.standing(request.caller).served().is_ok();
            if !served || !self.rule_is_for(rule, request.account, request.caller, sessions) {
                return Err(Error::new(Kind::Invalid, "who asked may not any more").at(Attribute::Caller));
            }
            let storage = self.bucket_of(request.scope.bucket());
            let storage = self.storages.iter().find(|known| Some(known.id) == storage).ok_or_else(moved)?;
            if storage.id != request.storage {
                return Err(moved());
            }
            let grant = request.grant(grant, storage, now)?;
            self.check_grant(&grant)?;
            made = Some(grant.id);
            self.grants.push(grant);
            self.version += 1;
        }
        request.decided = Some(Decided { how, at: now, by: Some(by.id), note, grant: made });
        let known = self.asked.requests.iter_mut().find(|one| one.id == id);
        *known.ok_or_else(missing)? = request.clone();
        Ok(request)
    }
}

#[async_trait]
impl Requests for Memory {
    async fn request_rules(&self) -> Result<Vec<RequestRule>, Error> {
        Ok(self.world().rules_by_name())
    }

    async fn access_request(&self, id: RequestId) -> Result<Option<AccessRequest>, Error> {
        Ok(self.world().asked.requests.iter().find(|one| one.id == id).cloned())
    }

    async fn access_requests(&self, filter: &RequestFilter) -> Result<Vec<AccessRequest>, Error> {
        let RequestFilter { whose, state, now, before, limit } = *filter;
        let meant = |one: &&AccessRequest| {
            (match whose {
                Whose::Everybodys => true,
                Whose::Account(id) => one.account == id,
                Whose::Caller(id) => one.caller == id,
                Whose::Rule(id) => one.rule == id,
            }) && state.is_none_or(|state: State| one.state(now) == state)
                && before.is_none_or(|before| one.id < before)
        };
        let mut found: Vec<_> = self.world().asked.requests.iter().filter(meant).cloned().collect();
        found.sort_by_key(|one| std::cmp::Reverse(one.id));
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(found)
    }
}

#[async_trait]
impl RequestAdmin for Memory {
    async fn create_request_rule(&self, new: RequestRule, now: Timestamp) -> Result<RequestRule, Error> {
        let new = RequestRule { id: RequestRuleId::new(now, self.random()), version: 1, made: now, ..new };
        let mut world = self.world();
        world.check_rule(&new)?;
        if world.asked.rules.len() >= MOST_RULES {
            return Err(Error::new(Kind::Invalid, "there are too many request rules"));
        }
        world.asked.rules.push(new.clone());
        Ok(new)
    }

    async fn ask_access(&self, new: NewRequest, by: &Caller, now: Timestamp) -> Result<AccessRequest, Error> {
        let id = RequestId::new(now, self.random());
        self.world().ask(id, new, by, now)
    }

    async fn decide_request(
        &self,
        id: RequestId,
        how: Decision,
        note: Box<str>,
        by: &Caller,
        now: Timestamp,
    ) -> Result<AccessRequest, Error> {
        let asker = self.access_request(id).await?.map(|one| one.caller);
        let sessions = match asker {
            Some(asker) => self.live_identities(asker, now).await?,
            None => Vec::new(),
        };
        let grant = GrantId::new(now, self.random());
        self.world().decide((id, grant), (how, note), (by, &sessions), now)
    }
}
