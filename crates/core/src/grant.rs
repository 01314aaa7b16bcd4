//! A stored rule: these callers may have that scope, with these limits.

use jiff::Timestamp;

use crate::caller::Caller;
use crate::conditions::{Conditions, Facts};
use crate::error::{Error, Kind};
use crate::field::Attribute;
use crate::id::{AccountId, CallerId, DatasetId, GrantId, GroupId, RequestId, ShareId, StorageId, WorkspaceId};
use crate::name::Name;
use crate::scope::Scope;
use crate::template::{Opens, Subject, Template, Unfilled};
use crate::time::Lifetime;

/// Whom a grant is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Grantee {
    /// Every caller of the account.
    Everyone,
    /// One caller of the account.
    Caller(CallerId),
    /// The members of one of its groups.
    Group(GroupId),
}

/// What a grant was made for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Origin {
    /// Nothing but itself.
    Plain,
    /// To open a dataset, or a part of it.
    Dataset(DatasetId),
    /// To open a table of a share. Such a grant answers asks for that share and no others: a table that is shared by URL only
    /// must not be opened as a directory through another door.
    Share(ShareId),
    /// To open a workspace.
    Workspace(WorkspaceId),
    /// To open what was asked for, until its end.
    Request(RequestId),
}

impl Origin {
    /// The dataset that was given with the grant.
    pub const fn dataset(self) -> Option<DatasetId> {
        match self {
            Self::Dataset(dataset) => Some(dataset),
            Self::Plain | Self::Share(_) | Self::Workspace(_) | Self::Request(_) => None,
        }
    }

    /// The share whose asks are the only ones that the grant answers; none where it answers every ask.
    pub const fn share(self) -> Option<ShareId> {
        match self {
            Self::Share(share) => Some(share),
            Self::Plain | Self::Dataset(_) | Self::Workspace(_) | Self::Request(_) => None,
        }
    }

    /// The workspace that the grant goes with.
    pub const fn workspace(self) -> Option<WorkspaceId> {
        match self {
            Self::Workspace(workspace) => Some(workspace),
            Self::Plain | Self::Dataset(_) | Self::Share(_) | Self::Request(_) => None,
        }
    }

    /// The request that was approved with the grant.
    pub const fn request(self) -> Option<RequestId> {
        match self {
            Self::Request(request) => Some(request),
            Self::Plain | Self::Dataset(_) | Self::Share(_) | Self::Workspace(_) => None,
        }
    }

    /// Whether somebody made the grant as such: so it may be changed, and owned by policy files.
    pub const fn is_own(self) -> bool {
        match self {
            Self::Plain | Self::Dataset(_) => true,
            Self::Share(_) | Self::Workspace(_) | Self::Request(_) => false,
        }
    }

    /// Whether the grant is a part of what it was made for, and goes with it.
    pub const fn is_part(self) -> bool {
        match self {
            Self::Share(_) | Self::Workspace(_) => true,
            Self::Plain | Self::Dataset(_) | Self::Request(_) => false,
        }
    }
}

/// A stored rule. What it opens is a scope only as it is for one caller: a `Grant<Scope>` has nothing left to be filled in, and is all that
/// policy looks at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant<O = Opens> {
    /// Its id.
    pub id: GrantId,
    /// Its name, unique in its account.
    pub name: Name,
    /// The account whose callers it is for.
    pub account: AccountId,
    /// Which of them.
    pub to: Grantee,
    /// The store the scope is in.
    pub storage: StorageId,
    /// What it was made for.
    pub origin: Origin,
    /// What it opens.
    pub scope: O,
    /// No credential of it lives longer.
    pub max_lifetime: Lifetime,
    /// It opens nothing before.
    pub from: Option<Timestamp>,
    /// It opens nothing from then on, and no credential of it lives longer.
    pub until: Option<Timestamp>,
    /// What has to hold besides; nothing where nothing has to.
    pub conditions: Option<Box<Conditions>>,
}

/// A grant to be added, for itself or as a dataset's: what a share or a workspace makes, it makes itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewGrant {
    /// Its name, unique in its account.
    pub name: Name,
    /// The account whose callers it is for.
    pub account: AccountId,
    /// Which of them.
    pub to: Grantee,
    /// The storage the scope is in.
    pub storage: StorageId,
    /// The dataset it opens, if it is given as one.
    pub dataset: Option<DatasetId>,
    /// What it opens.
    pub scope: Opens,
    /// No credential of it lives longer.
    pub max_lifetime: Lifetime,
    /// It opens nothing before.
    pub from: Option<Timestamp>,
    /// It opens nothing from then on, and no credential of it lives longer.
    pub until: Option<Timestamp>,
    /// What has to hold besides; nothing where nothing has to.
    pub conditions: Option<Box<Conditions>>,
}

impl NewGrant {
    /// The grant, once it has an id.
    pub fn stored(self, id: GrantId) -> Grant {
        let Self { name, account, to, storage, dataset, scope, max_lifetime, from, until, conditions } = self;
        let origin = dataset.map_or(Origin::Plain, Origin::Dataset);
        Grant { id, name, account, to, storage, origin, scope, max_lifetime, from, until, conditions }
    }
}

/// Refuses a template that goes with nothing that is known of it.
///
/// # Errors
/// `Invalid` for one that is not a grant by itself, and for one of claims where nothing says whose word they are.
pub fn check_template(opens: &Opens, is_plain: bool, conditions: Option<&Conditions>) -> Result<(), Error> {
    let Some(template) = opens.template() else { return Ok(()) };
    let refused = |said: &'static str| Err(Error::new(Kind::Invalid, said).at(Attribute::Template));
    if !is_plain {
        return refused("a dataset is the same for everyone; name the bucket and paths in it");
    }
    // SECURITY: what one provider lets people claim of themselves, another one checks.
    if template.asks_claims() && conditions.is_none_or(|own| own.claims.is_none()) {
        return refused(
            "what a token claims is its identity provider's word: the grant's conditions have to name the `provider` and a claim",
        );
    }
    Ok(())
}

/// Whether a grant opens anything at an instant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GrantTime {
    /// It does.
    Live,
    /// Not yet.
    Early,
    /// Not any more.
    Ended,
}

impl<O> Grant<O> {
    /// The same, opening something else.
    pub fn opening<N>(self, scope: N) -> Grant<N> {
        self.apart().0.with(scope)
    }

    fn apart(self) -> (Grant<()>, O) {
        let Self { id, name, account, to, storage, origin, scope, max_lifetime, from, until, conditions } = self;
        let bare = Grant { id, name, account, to, storage, origin, scope: (), max_lifetime, from, until, conditions };
        (bare, scope)
    }

    /// Whether the grant opens anything at that instant.
    pub fn time(&self, now: Timestamp) -> GrantTime {
        if self.from.is_some_and(|from| now < from) {
            GrantTime::Early
        } else if self.until.is_some_and(|until| until <= now) {
            GrantTime::Ended
        } else {
            GrantTime::Live
        }
    }

    /// Whether it opens anything to a caller at that instant, for a request of which this is known.
    pub fn is_open(&self, caller: &Caller, facts: &Facts<'_>, now: Timestamp) -> bool {
        let holds = |own: &Conditions| own.hold(caller.identity.as_deref(), facts, now);
        self.time(now) == GrantTime::Live && self.conditions.as_deref().is_none_or(holds)
    }

    /// When whatever is opened of it at an instant ends at the latest: at its end, and with the hours it is for.
    pub fn ends(&self, now: Timestamp) -> Option<Timestamp> {
        let hours = self.conditions.as_deref().and_then(|own| own.ends(now));
        self.until.into_iter().chain(hours).min()
    }

    /// Whether it is for a caller that is in those groups.
    pub fn is_for(&self, caller: CallerId, groups: &[GroupId]) -> bool {
        match self.to {
            Grantee::Everyone => true,
            Grantee::Caller(own) => own == caller,
            Grantee::Group(group) => groups.contains(&group),
        }
    }
}

impl Grant<()> {
    fn with<N>(self, scope: N) -> Grant<N> {
        let Self { id, name, account, to, storage, origin, scope: (), max_lifetime, from, until, conditions } = self;
        Grant { id, name, account, to, storage, origin, scope, max_lifetime, from, until, conditions }
    }
}

impl Grant<Template> {
    /// The grant as it is for one caller.
    ///
    /// # Errors
    /// Where its template is not filled in for that one: then it opens nothing.
    pub fn filled(&self, subject: &Subject<'_>) -> Result<Grant<Scope>, Unfilled> {
        let scope = self.scope.scope_for(subject)?;
        let Self { id, account, to, storage, origin, max_lifetime, from, until, .. } = *self;
        let (name, conditions) = (self.name.clone(), self.conditions.clone());
        Ok(Grant { id, name, account, to, storage, origin, scope, max_lifetime, from, until, conditions })
    }
}

impl From<Grant<Scope>> for Grant {
    fn from(grant: Grant<Scope>) -> Self {
        let (bare, scope) = grant.apart();
        bare.with(Opens::Scope(scope))
    }
}

impl From<Grant<Template>> for Grant {
    fn from(grant: Grant<Template>) -> Self {
        let (bare, template) = grant.apart();
        bare.with(Opens::Template(template))
    }
}

impl Grant {
    /// The grant as it is for everyone that it is for; or its template, which opens nothing by itself.
    ///
    /// # Errors
    /// With the template.
    #[expect(clippy::result_large_err, reason = "both sides are a grant")]
    pub fn settled(self) -> Result<Grant<Scope>, Grant<Template>> {
        let (bare, scope) = self.apart();
        match scope {
            Opens::Scope(scope) => Ok(bare.with(scope)),
            Opens::Template(template) => Err(bare.with(template)),
        }
    }

    /// Refuses a template that goes with nothing that is known of it.
    ///
    /// # Errors
    /// As for [`check_template`].
    pub fn check_template(&self) -> Result<(), Error> {
        check_template(&self.scope, self.origin == Origin::Plain, self.conditions.as_deref())
    }

    /// Refuses a grant that never opens anything.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check_times(from: Option<Timestamp>, until: Option<Timestamp>) -> Result<(), Error> {
        if from.zip(until).is_some_and(|(from, until)| until <= from) {
            return Err(Error::new(Kind::Invalid, "the grant would end before it begins").at(Attribute::Until));
        }
        Ok(())
    }
}
