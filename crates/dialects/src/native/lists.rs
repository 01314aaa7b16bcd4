//! What the lists of this API have in common: how many, from where on, since when, and the names behind ids.

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use valetkey_core::conditions::Conditions;
use valetkey_core::grant::{Grant, Grantee};
use valetkey_core::id::{AccountId, CallerId, GroupId, ProviderId};
use valetkey_core::name::{BucketName, Name, shortened};
use valetkey_core::{Error, Kind};

use super::api::grants::GrantConditions;
use super::state::Native;
use super::{authz, conditions, wire};
use crate::edge::{Call, Query};

const USUAL: u32 = 1000;
const MOST: u32 = 10_000;

/// How many a list is to have at most.
pub(super) fn size(query: &Query) -> Result<u32, Error> {
    let Some(text) = query.get("limit") else { return Ok(USUAL) };
    text.parse().ok().filter(|size| (1..=MOST).contains(size)).ok_or_else(|| {
        let said = format!("`{}` is not a list size; the least is 1 and the most {MOST}", shortened(text));
        Error::new(Kind::Invalid, said).at("limit")
    })
}

/// The page of what was found when one more than its size was asked for, and whether there is more.
pub(super) fn page<T>(mut found: Vec<T>, limit: u32) -> (Vec<T>, bool) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > limit;
    found.truncate(limit);
    (found, more)
}

/// Where a list in the order of accounts and names goes on: the id of the account, and the name.
pub(super) fn place(account: AccountId, name: &Name) -> String {
    format!("{account}/{name}")
}

/// Reads such a place.
pub(super) fn after(query: &Query) -> Result<Option<(AccountId, &str)>, Error> {
    let Some(text) = query.get("after") else { return Ok(None) };
    let read = || {
        let (account, name) = text.split_once('/')?;
        Some((account.parse().ok()?, name))
    };
    read().map(Some).ok_or_else(|| {
        let said = format!("`{}` is no place in a list; send the `next_after` of the page before", shortened(text));
        Error::new(Kind::Invalid, said).at("after")
    })
}

/// The time from which on things are listed.
pub(super) fn since(query: &Query, now: Timestamp) -> Result<Option<Timestamp>, Error> {
    match (query.get("since"), query.get("since_secs")) {
        (Some(_), Some(_)) => {
            Err(Error::new(Kind::Invalid, "`since` and `since_secs` say the same thing twice").at("since"))
        }
        (Some(text), None) => wire::instant(text, "since").map(Some),
        (None, Some(text)) => {
            let secs: u32 = text.parse().map_err(|_| {
                Error::new(Kind::Invalid, format!("`{}` is no number of seconds", shortened(text))).at("since_secs")
            })?;
            Ok(Some(now - SignedDuration::from_secs(i64::from(secs))))
        }
        (None, None) => Ok(None),
    }
}

/// The bucket that things are to be in.
pub(super) fn bucket(query: &Query) -> Result<Option<BucketName>, Error> {
    query.get("bucket").map(|text| BucketName::parse(text).map_err(|error| error.at("bucket"))).transpose()
}

/// The names behind ids, also of what was removed.
#[derive(Default)]
pub(super) struct Names {
    accounts: HashMap<AccountId, Name>,
    callers: HashMap<CallerId, Name>,
    groups: HashMap<GroupId, Name>,
    providers: HashMap<ProviderId, Name>,
    /// Whether who asks is told all of the conditions of grants.
    whole: bool,
}

impl Names {
    pub(super) async fn of(
        native: &Native,
        accounts: impl IntoIterator<Item = AccountId>,
        callers: impl IntoIterator<Item = CallerId>,
    ) -> Result<Self, Error> {
        let mut names = Self::default();
        for id in accounts.into_iter().collect::<BTreeSet<_>>() {
            let known = native.shared.registry.account_by_id(id).await?;
            names.accounts.extend(known.map(|known| (id, known.name)));
        }
        for id in callers.into_iter().collect::<BTreeSet<_>>() {
            let known = native.shared.registry.caller_by_id(id).await?;
            names.callers.extend(known.map(|known| (id, known.name)));
        }
        Ok(names)
    }

    pub(super) fn account(&self, id: AccountId) -> Option<String> {
        self.accounts.get(&id).map(ToString::to_string)
    }

    /// The same with the names of the groups that grants are for, and of the identity providers that their conditions name.
    pub(super) async fn with_groups<'g, O: 'g>(
        mut self,
        native: &Native,
        call: &Call,
        grants: impl IntoIterator<Item = &'g Grant<O>>,
    ) -> Result<Self, Error> {
        let (mut accounts, mut claims) = (BTreeSet::new(), false);
        for grant in grants {
            accounts.extend(matches!(grant.to, Grantee::Group(_)).then_some(grant.account));
            claims |= grant.conditions.as_ref().is_some_and(|own| own.claims.is_some());
        }
        if claims {
            let all = native.shared.identities.identity_providers().await?;
            self.providers = all.iter().map(|known| (known.id, known.name.clone())).collect();
        }
        self.whole = authz::operator(&call.caller).is_ok();
        for account in accounts {
            let own = native.shared.registry.groups(Some(account)).await?;
            self.groups.extend(own.into_iter().map(|group| (group.id, group.name)));
        }
        Ok(self)
    }

    pub(super) fn group(&self, id: GroupId) -> Option<String> {
        self.groups.get(&id).map(ToString::to_string)
    }

    /// The conditions of a grant, as fields say them.
    pub(super) fn conditions(&self, own: &Conditions) -> GrantConditions {
        let provider = |id: ProviderId| self.providers.get(&id).map_or_else(|| id.to_string(), ToString::to_string);
        conditions::shown(own, provider, self.whole)
    }

    pub(super) fn caller(&self, id: CallerId) -> Option<String> {
        self.callers.get(&id).map(ToString::to_string)
    }
}
