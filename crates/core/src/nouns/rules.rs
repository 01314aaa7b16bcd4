//! What must hold of what is stored, whatever database stores it: each rule once, of what that database found.

use jiff::Timestamp;

use crate::error::{Error, Kind, Noun, Stranger};
use crate::field::{Attribute, Field};
use crate::grant::{Grant, Grantee};
use crate::id::{AccountId, StorageId};
use crate::name::BucketName;
use crate::nouns::registry::{NewStorage, TokenRecord};
use crate::token::Maker;

/// The refusal of a bucket that is not there.
pub fn no_bucket(bucket: &BucketName) -> Error {
    Error::new(Kind::NotFound(Noun::Bucket), format!("no such bucket: `{bucket}`"))
}

/// Where something is to be: a bucket of a storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place<'a> {
    /// The storage that was named.
    pub storage: StorageId,
    /// The bucket that was named.
    pub bucket: &'a BucketName,
}

/// What there is of a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlaceFound {
    /// Whether the storage is there.
    pub storage: bool,
    /// The storage that the bucket is of, if the bucket is there.
    pub bucket_of: Option<StorageId>,
}

impl Place<'_> {
    /// Refuses a bucket that is not one of the storage's.
    ///
    /// # Errors
    /// `NotFound`, or `Invalid` for another storage's.
    pub fn check(self, found: PlaceFound) -> Result<(), Error> {
        let Self { storage, bucket } = self;
        if !found.storage {
            return Err(Error::not_found(Noun::Storage));
        }
        match found.bucket_of {
            None => Err(no_bucket(bucket).at(Field::Bucket)),
            Some(of) if of == storage => Ok(()),
            Some(_) => {
                let said = format!("the bucket `{bucket}` is not one of this storage");
                Err(Error::new(Kind::Invalid, said).at(Field::Bucket))
            }
        }
    }
}

/// What there is of what a grant names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrantFound {
    /// Whether its account is there.
    pub account: bool,
    /// Whose the caller or group is that it is for, if it is for one that is there.
    pub caller_of: Option<AccountId>,
    /// Its place.
    pub place: PlaceFound,
    /// Where the dataset lies that it is given as, if it is given as one that is there.
    pub dataset: Option<(StorageId, BucketName)>,
}

impl GrantFound {
    /// Refuses a grant that names what is not there, or what does not belong together.
    ///
    /// # Errors
    /// `NotFound` or `Invalid`.
    pub fn check(self, grant: &Grant) -> Result<(), Error> {
        if !self.account {
            return Err(Error::not_found(Noun::Account));
        }
        check_grantee(grant.account, grant.to, self.caller_of)?;
        let (storage, bucket) = (grant.storage, grant.scope.bucket());
        Place { storage, bucket }.check(self.place)?;
        if grant.origin.dataset().is_some() {
            let lies = self.dataset.ok_or_else(|| Error::not_found(Noun::Dataset).at(Attribute::Dataset))?;
            if lies != (storage, bucket.clone()) {
                let said = "the dataset is in another bucket than the scope";
                return Err(Error::new(Kind::Invalid, said).at(Attribute::Dataset));
            }
        }
        if let Some(conditions) = &grant.conditions {
            conditions.check()?;
        }
        grant.check_template()?;
        Grant::check_times(grant.from, grant.until)
    }
}

/// Refuses a caller or group that is not one of the account's.
///
/// # Errors
/// `NotFound`.
pub fn check_grantee(account: AccountId, to: Grantee, caller_of: Option<AccountId>) -> Result<(), Error> {
    match to {
        Grantee::Caller(_) if caller_of != Some(account) => Err(Error::not_found(Noun::Caller).at(Attribute::Grantee)),
        Grantee::Group(_) if caller_of != Some(account) => Err(Error::not_found(Noun::Group).at(Attribute::Grantee)),
        Grantee::Caller(_) | Grantee::Group(_) | Grantee::Everyone => Ok(()),
    }
}

/// Refuses whom a share cannot be given to.
///
/// # Errors
/// `NotFound`, or `Invalid` for a group.
pub fn check_recipient(account: AccountId, to: Grantee, caller_of: Option<AccountId>) -> Result<(), Error> {
    check_grantee(account, to, caller_of)?;
    match to {
        Grantee::Everyone | Grantee::Caller(_) => Ok(()),
        Grantee::Group(_) => {
            let said = "a share is given to an account or to one of its callers, not to a group";
            Err(Error::new(Kind::Invalid, said).at(Attribute::Grantee))
        }
    }
}

/// Refuses a member of a group that is not a caller of its account.
///
/// # Errors
/// `NotFound`.
pub fn check_member(account: AccountId, caller_of: Option<AccountId>) -> Result<(), Error> {
    if caller_of == Some(account) { Ok(()) } else { Err(Error::not_found(Noun::Caller).at(Attribute::Members)) }
}

impl NewStorage {
    /// Refuses limits that leave nothing.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check(&self) -> Result<(), Error> {
        let (least, most) = (self.min_lifetime, self.max_lifetime);
        if least > most {
            let said = format!("the least lifetime, {least}, is longer than the most, {most}");
            return Err(Error::new(Kind::Invalid, said).at(Attribute::MinLifetime));
        }
        Ok(())
    }
}

impl TokenRecord {
    /// Refuses a token that makes nothing any more.
    fn check_maker(&self, now: Timestamp) -> Result<(), Error> {
        self.standing.served()?;
        if self.revoked.is_some() {
            return Err(Error::new(Kind::Unauthenticated(Stranger::Revoked), "the token was revoked"));
        }
        if self.until.is_some_and(|until| until <= now) {
            return Err(Error::new(Kind::Unauthenticated(Stranger::Expired), "the token expired"));
        }
        Ok(())
    }

    /// Whether its end can be changed to that only with leave of who changes it: who shortens it needs none.
    ///
    /// # Errors
    /// `Invalid` for one that has ended.
    pub fn is_lengthened(&self, until: Option<Timestamp>, now: Timestamp) -> Result<bool, Error> {
        if !self.is_live(now) {
            let said = "the token has ended, and an end is for good: make another one";
            return Err(Error::new(Kind::Invalid, said).at(Attribute::Token));
        }
        let sooner = until.is_some_and(|until| self.until.is_none_or(|own| until <= own));
        Ok(!sooner && self.until != until)
    }
}

/// The end that a maker allows to what it makes now; `own` is the token that it is, if that is there.
///
/// # Errors
/// `NotFound`, `Unauthenticated` or `Forbidden` for a maker that makes nothing any more.
pub fn until_of(
    maker: Maker,
    own: Option<&TokenRecord>,
    asked: Option<Timestamp>,
    now: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    if maker.token().is_none() {
        return Ok(maker.until(asked, None));
    }
    let own = own.ok_or_else(|| Error::not_found(Noun::Token))?;
    own.check_maker(now)?;
    Ok(maker.until(asked, own.until))
}
