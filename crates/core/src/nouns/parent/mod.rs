//! Parent access keys, as Cloudflare R2 has them: a caller's token that is also a long-lived S3 key, and the credentials that its
//! holder signs with it on its own ([`Child`]).
//!
//! Access key id: the token's id in hexadecimal. Secret access key: the SHA-256 of the token's text in hexadecimal.

mod child;
mod operations;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

pub use child::{Child, SKEW, SessionToken, Unfit};
pub use operations::Operations;

use crate::account::Standing;
use crate::caller::Caller;
use crate::error::{Error, Kind, Noun};
use crate::field::Attribute;
use crate::grant::{Grant, GrantTime, Grantee, Origin};
use crate::id::{AccountId, CallerId, GrantId, StorageId, TokenId};
use crate::lease::Revoker;
use crate::name::{BucketName, Name};
use crate::nouns::registry::TokenRecord;
use crate::nouns::rules::no_bucket;
use crate::scope::{Action, Actions, Paths, Rights, Scope};
use crate::secret::Secret;
use crate::snapshot::Snapshot;
use crate::time::Lifetime;
use crate::token::{Maker, PlainToken};
use crate::word::words;

/// The longest a credential made of a parent lives. Source: `ttlSeconds` of Cloudflare's API, maximum 604800.
pub const LONGEST: Lifetime = Lifetime::secs(604_800);

words! {
    /// What Cloudflare names a set of actions.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum Permission {
        /// Objects, and the bucket's configuration.
        AdminReadWrite => "admin-read-write",
        /// The same, to read.
        AdminReadOnly => "admin-read-only",
        /// Read, list, write and delete objects.
        ObjectReadWrite => "object-read-write",
        /// Read and list objects.
        ObjectReadOnly => "object-read-only",
    }
}

impl Permission {
    /// What it allows in one bucket.
    pub const fn actions(self) -> Actions {
        const READ: Actions = Actions::READ.with(Action::ListUploads);
        match self {
            Self::ObjectReadOnly => READ,
            Self::ObjectReadWrite => Actions::READ_WRITE,
            Self::AdminReadOnly => READ.with(Action::GetBucketConfig),
            Self::AdminReadWrite => Actions::READ_WRITE.with(Action::GetBucketConfig).with(Action::PutBucketConfig),
        }
    }
}

/// The actions without those on the configuration of a bucket, which belongs to no path: a credential for some paths has none.
pub const fn of_paths(actions: Actions, paths: &Paths) -> Actions {
    match paths {
        Paths::Whole => actions,
        Paths::Only(_) => actions.without(Action::GetBucketConfig).without(Action::PutBucketConfig),
    }
}

/// Something a parent may reach, and hand on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParentScope {
    /// The store it is in.
    pub storage: StorageId,
    /// What it opens.
    pub rights: Arc<Rights>,
    /// No credential made of it lives longer.
    pub max_lifetime: Lifetime,
}

/// A parent access key that is live.
#[derive(Clone, Debug)]
pub struct Parent {
    /// The token it is; its hexadecimal form is the access key id.
    pub token: TokenId,
    /// The caller that the token proves.
    pub caller: Arc<Caller>,
    /// The secret access key.
    pub secret: Secret<String>,
    /// What it may reach: what was granted to its caller by name, as long as that is live and the account active. Grants to
    /// everyone of the account are not the parent's to hand on, nor are those with conditions.
    pub reach: Vec<ParentScope>,
    /// What was granted to it so on conditions: it may be asked for with the key, which decides whether they hold, and is not the parent's to
    /// hand on by itself.
    pub conditional: Vec<(GrantId, ParentScope)>,
}

impl Parent {
    /// Puts a parent together from its caller's account as policy sees it.
    pub fn of(caller: Arc<Caller>, secret: Secret<String>, snapshot: &Snapshot, now: Timestamp) -> Self {
        let ceiling = |grant: &Arc<Grant<Scope>>| {
            let storage = snapshot.storage(grant.storage)?;
            Some(ParentScope {
                storage: grant.storage,
                rights: Arc::new(grant.scope.clone().into()),
                max_lifetime: grant.max_lifetime.min(storage.max_lifetime).min(LONGEST),
            })
        };
        let live = |grant: &Arc<Grant<Scope>>| grant.time(now) == GrantTime::Live;
        let (reach, conditional) = match snapshot.account().standing {
            Standing::Active => {
                // Its holder signs by itself: nobody is asked whether a condition holds.
                let (plain, others): (Vec<_>, Vec<_>) =
                    snapshot.own(&caller).filter(live).partition(|grant| grant.conditions.is_none());
                let named = |grant: &Arc<Grant<Scope>>| Some((grant.id, ceiling(grant)?));
                (plain.iter().filter_map(ceiling).collect(), others.iter().filter_map(named).collect())
            }
            Standing::Suspended => (Vec::new(), Vec::new()),
        };
        Self { token: caller.token, caller, secret, reach, conditional }
    }

    /// Whether anything of the bucket is within reach: then who has the parent may know of the bucket.
    pub fn knows(&self, bucket: &BucketName) -> bool {
        self.reach.iter().any(|ceiling| ceiling.rights.bucket() == bucket)
    }

    /// Whether all of that is within reach.
    pub fn covers(&self, bucket: &BucketName, paths: &Paths, actions: Actions) -> bool {
        let covers = |paths: &Paths| {
            self.reach.iter().any(|ceiling| {
                let own = &ceiling.rights;
                own.bucket() == bucket && own.parts().actions_on(paths).contains_all(actions)
            })
        };
        match paths {
            Paths::Whole => covers(paths),
            Paths::Only(set) => set.iter().all(|path| Paths::only([path]).is_ok_and(|path| covers(&path))),
        }
    }
}

/// A parent access key to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewParent {
    /// Whose.
    pub account: AccountId,
    /// The name of the caller made for it.
    pub name: Name,
    /// The buckets it opens, whole; at least one.
    pub buckets: Vec<BucketName>,
    /// What it allows there.
    pub permission: Permission,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// Who makes it: it ends as that allows.
    pub maker: Maker,
}

impl NewParent {
    /// Refuses one that would open nothing.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check(&self, now: Timestamp) -> Result<(), Error> {
        if self.buckets.is_empty() {
            return Err(
                Error::new(Kind::Invalid, "a parent access key opens at least one bucket").at(Attribute::Buckets)
            );
        }
        if self.until.is_some_and(|until| until <= now) {
            return Err(Error::new(Kind::Invalid, "the end is not in the future").at(Attribute::Until));
        }
        Ok(())
    }

    /// The refusal of a name that a caller has.
    pub fn taken(&self) -> Error {
        let said = format!("there is a caller named `{}` already", self.name);
        Error::new(Kind::AlreadyExists(Noun::ParentKey), said).at(Attribute::Name)
    }

    /// The grant that opens one of its buckets, which is of that storage, to its caller.
    ///
    /// # Errors
    /// `NotFound` where there is no such bucket.
    pub fn grant(
        &self,
        id: GrantId,
        caller: CallerId,
        bucket: &BucketName,
        storage: Option<StorageId>,
    ) -> Result<Grant, Error> {
        let storage = storage.ok_or_else(|| no_bucket(bucket).at(Attribute::Buckets))?;
        let scope = Scope::new(bucket.clone(), Paths::Whole, self.permission.actions())
            .ok_or_else(|| Error::internal("a permission allows nothing"))?;
        // Readable where that is not too long.
        let name = Name::parse(&format!("{}.{bucket}", self.name))
            .or_else(|_| Name::parse(&format!("parent.{}", id.to_string().trim_start_matches(GrantId::PREFIX))))?;
        Ok(Grant {
            id,
            name,
            account: self.account,
            to: Grantee::Caller(caller),
            storage,
            origin: Origin::Plain,
            scope: scope.into(),
            max_lifetime: LONGEST,
            from: None,
            until: None,
            conditions: None,
        })
    }
}

/// A parent access key as its list shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParentRecord {
    /// Its token.
    pub token: TokenRecord,
    /// What was granted to its caller, as it stands: bucket and actions.
    pub reach: Vec<(BucketName, Actions)>,
}

/// Keeps parent access keys.
#[async_trait]
pub trait Parents: Send + Sync {
    /// The parent that is a token, if there is one and it is live: not ended, not out of time. A token that is no parent is none.
    /// From memory when warm.
    async fn parent(&self, token: TokenId, now: Timestamp) -> Result<Option<Arc<Parent>>, Error>;

    /// The parents of an account, or of all, ended ones too.
    async fn parents(&self, account: Option<AccountId>) -> Result<Vec<ParentRecord>, Error>;
}

/// Makes parents, and ends what was signed with them. Administration: nobody comes to it without an authority.
#[async_trait]
pub trait ParentAdmin: Parents {
    /// Makes a parent: its caller, a grant for each bucket and the token, all or none.
    async fn create_parent(&self, new: NewParent, token: &PlainToken, now: Timestamp) -> Result<ParentRecord, Error>;

    /// Ends one credential that was signed with a parent, until its time is over. When this returns the next request with it is
    /// refused.
    async fn end_child(&self, child: &Child, by: Revoker) -> Result<(), Error>;
}
