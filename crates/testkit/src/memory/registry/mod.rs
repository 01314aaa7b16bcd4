//! Making and ending things in memory.

mod accounts;
mod callers;
mod chains;
mod grants;
mod leases;
mod policy_sets;
mod removals;
mod storages;
mod tokens;

use jiff::Timestamp;
use valetkey_core::caller::{CallerRecord, CallerStanding, Role};
use valetkey_core::error::{Error, Kind, Noun};
use valetkey_core::grant::{Grant, Grantee};
use valetkey_core::group::Group;
use valetkey_core::id::{AccountId, CallerId, StorageId, TokenId};
use valetkey_core::lease::Revocation;
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::registry::TokenRecord;
use valetkey_core::nouns::rules::{self, GrantFound, Place, PlaceFound};
use valetkey_core::token::{Maker, PlainToken};

use crate::memory::World;

impl World {
    fn check_storage(&self, storage: StorageId) -> Result<(), Error> {
        let known = self.storages.iter().any(|known| known.id == storage);
        if known { Ok(()) } else { Err(Error::not_found(Noun::Storage)) }
    }

    /// The storage of a bucket.
    pub(in crate::memory) fn bucket_of(&self, bucket: &BucketName) -> Option<StorageId> {
        self.buckets.iter().find(|(known, _)| known == bucket).map(|(_, of)| *of)
    }

    fn place_found(&self, place: Place<'_>) -> PlaceFound {
        PlaceFound { storage: self.check_storage(place.storage).is_ok(), bucket_of: self.bucket_of(place.bucket) }
    }

    pub(in crate::memory) fn check_place(&self, storage: StorageId, bucket: &BucketName) -> Result<(), Error> {
        let place = Place { storage, bucket };
        place.check(self.place_found(place))
    }

    /// Whose the caller is that something is for.
    pub(in crate::memory) fn grantee_of(&self, to: Grantee) -> Option<AccountId> {
        match to {
            Grantee::Everyone => None,
            Grantee::Caller(caller) => self.callers.iter().find(|(id, ..)| *id == caller).map(|(_, of, ..)| *of),
            Grantee::Group(group) => self.groups.iter().find(|known| known.id == group).map(|known| known.account),
        }
    }

    /// Refuses a grant that names what is not there, or what does not belong together.
    pub(in crate::memory) fn check_grant(&self, grant: &Grant) -> Result<(), Error> {
        let dataset = self.datasets.iter().find(|known| Some(known.id) == grant.origin.dataset());
        let found = GrantFound {
            account: self.accounts.iter().any(|(account, _)| account.id == grant.account),
            caller_of: self.grantee_of(grant.to),
            place: self.place_found(Place { storage: grant.storage, bucket: grant.scope.bucket() }),
            dataset: dataset.map(|known| (known.storage, known.bucket.clone())),
        };
        found.check(grant)
    }

    /// Refuses a group that names what is not there, or has the name of another.
    pub(in crate::memory) fn check_group(&mut self, group: &Group) -> Result<(), Error> {
        group.check()?;
        self.account(group.account)?;
        for member in &group.members {
            let known = self.caller_records().into_iter().find(|known| known.id == *member);
            rules::check_member(group.account, known.map(|known| known.account))?;
        }
        if let Some(by) = &group.by_claim
            && self.trust.providers.iter().all(|known| known.id != by.provider)
        {
            return Err(Error::not_found(Noun::IdentityProvider));
        }
        let same = |known: &Group| (known.account, &known.name) == (group.account, &group.name) && known.id != group.id;
        if self.groups.iter().any(same) {
            return Err(Error::taken(Noun::Group, &group.name));
        }
        Ok(())
    }

    pub(in crate::memory) fn caller_records(&self) -> Vec<CallerRecord> {
        let record = |(id, account, name, role): &(CallerId, AccountId, Name, Role)| {
            let standing = self.standing(*id);
            CallerRecord { id: *id, account: *account, name: name.clone(), role: *role, standing }
        };
        self.callers.iter().map(record).collect()
    }

    fn check_caller(&self, id: CallerId) -> Result<(), Error> {
        let known = self.callers.iter().any(|(known, ..)| *known == id);
        if known && self.standing(id) != CallerStanding::Removed { Ok(()) } else { Err(Error::not_found(Noun::Caller)) }
    }

    /// A token's record with what was changed of its caller since.
    pub(in crate::memory) fn current(&self, record: &TokenRecord) -> TokenRecord {
        let name = self.callers.iter().find(|(id, ..)| *id == record.caller).map(|(_, _, name, _)| name.clone());
        let caller_name = name.unwrap_or_else(|| record.caller_name.clone());
        TokenRecord { caller_name, standing: self.standing(record.caller), ..record.clone() }
    }

    /// The end that a maker allows to what it makes now.
    pub(in crate::memory) fn until_of(
        &self,
        maker: Maker,
        asked: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        let own = self.tokens.iter().map(|(_, record)| record).find(|record| Some(record.id) == maker.token());
        rules::until_of(maker, own.map(|own| self.current(own)).as_ref(), asked, now)
    }

    /// Stores a token whose end was settled.
    pub(in crate::memory) fn insert_token(
        &mut self,
        id: TokenId,
        caller: CallerId,
        token: &PlainToken,
        until: Option<Timestamp>,
        maker: Maker,
        now: Timestamp,
    ) -> Result<TokenRecord, Error> {
        let (_, account, caller_name, role) = self
            .callers
            .iter()
            .find(|(id, ..)| *id == caller)
            .cloned()
            .ok_or_else(|| Error::not_found(Noun::Caller))?;
        self.standing(caller).takes_tokens()?;
        if self.tokens.iter().any(|(known, _)| *known == token.digest()) {
            return Err(Error::new(Kind::AlreadyExists(Noun::Token), "the token is stored already"));
        }
        let (tail, revoked, standing) = (token.tail(), None, CallerStanding::Active);
        let made_by = maker.token();
        if maker.outlives() {
            self.outliving.push(id);
        }
        let record =
            TokenRecord { id, caller, caller_name, account, role, tail, made: now, until, revoked, made_by, standing };
        self.tokens.push((token.digest(), record.clone()));
        Ok(record)
    }

    /// Refuses to revoke what never was.
    fn check_revocation(&self, what: Revocation) -> Result<(), Error> {
        let (known, noun) = match what {
            Revocation::Lease(id) => (self.leases.iter().any(|known| known.id == id), Noun::Lease),
            Revocation::Token(id) => (self.tokens.iter().any(|(_, known)| known.id == id), Noun::Token),
            Revocation::Caller(id) => (self.callers.iter().any(|(known, ..)| *known == id), Noun::Caller),
            Revocation::Account(id) => (self.accounts.iter().any(|(known, _)| known.id == id), Noun::Account),
            Revocation::Storage(id) => (self.storages.iter().any(|known| known.id == id), Noun::Storage),
            Revocation::Grant(id) => {
                (self.grants.iter().any(|known| known.id == id) || self.removed.contains(&id), Noun::Grant)
            }
        };
        if known { Ok(()) } else { Err(Error::not_found(noun)) }
    }
}
