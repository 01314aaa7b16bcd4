//! Removing what was made, whatever it is: what goes with it, what stands in the way, and what it ends. One mechanism for every
//! noun: a store answers what depends on each [`Thing`] and how each is taken out, and everything else follows from that.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use jiff::Timestamp;

use crate::account::Account;
use crate::caller::Role;
use crate::error::{Error, Kind};
use crate::field::{Attribute, Field};
use crate::grant::{Grant, Grantee};
use crate::group::Group;
use crate::id::{
    AccountId, CallerId, DatasetId, GrantId, GroupId, ProjectId, ProviderId, RequestRuleId, RuleId, ShareId, StorageId,
    TableId, TokenId, WorkspaceId,
};
use crate::name::{BucketName, Name};
use crate::nouns::dataset::Dataset;
use crate::nouns::identity::IdentityProvider;
use crate::nouns::request::RequestRule;
use crate::storage::StorageKind;
use crate::template::Placeholder;
use crate::token::Maker;

/// Something that can be removed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Thing {
    /// A tenant.
    Account(AccountId),
    /// Who asks in one.
    Caller(CallerId),
    /// What proves it.
    Token(TokenId),
    /// A token that is a parent access key, with the caller that was made for it.
    ParentKey(TokenId),
    /// A rule.
    Grant(GrantId),
    /// Callers that are granted something together.
    Group(GroupId),
    /// An object store.
    Storage(StorageId),
    /// A bucket of one, on record here.
    Bucket(BucketName),
    /// A named part of a bucket.
    Dataset(DatasetId),
    /// A named place of an account.
    Workspace(WorkspaceId),
    /// A name in one.
    Project(ProjectId),
    /// Tables that are given away.
    Share(ShareId),
    /// One of them.
    Table(TableId),
    /// To whom they are given.
    Recipient {
        /// Which share.
        share: ShareId,
        /// Whose.
        account: AccountId,
        /// Which caller of it, or everyone.
        to: Recipients,
    },
    /// All packages of an account.
    Packages(AccountId),
    /// Who else's word is taken for who a caller is.
    IdentityProvider(ProviderId),
    /// A rule of one.
    TrustRule(RuleId),
    /// A rule of who may ask for what.
    RequestRule(RequestRuleId),
}

/// Whom of an account a share is given to: [`Grantee`], in an order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Recipients {
    /// Everyone.
    Everyone,
    /// One caller.
    Caller(CallerId),
    /// One group: no share is given to one yet.
    Group(GroupId),
}

impl From<Grantee> for Recipients {
    fn from(to: Grantee) -> Self {
        match to {
            Grantee::Everyone => Self::Everyone,
            Grantee::Caller(caller) => Self::Caller(caller),
            Grantee::Group(group) => Self::Group(group),
        }
    }
}

impl From<Recipients> for Grantee {
    fn from(to: Recipients) -> Self {
        match to {
            Recipients::Everyone => Self::Everyone,
            Recipients::Caller(caller) => Self::Caller(caller),
            Recipients::Group(group) => Self::Group(group),
        }
    }
}

impl Thing {
    /// The word for its kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Account(_) => "account",
            Self::Caller(_) => "caller",
            Self::Token(_) => "token",
            Self::ParentKey(_) => "parent key",
            Self::Grant(_) => "grant",
            Self::Group(_) => "group",
            Self::Storage(_) => "storage",
            Self::Bucket(_) => "bucket",
            Self::Dataset(_) => "dataset",
            Self::Workspace(_) => "workspace",
            Self::Project(_) => "project",
            Self::Share(_) => "share",
            Self::Table(_) => "table",
            Self::Recipient { .. } => "recipient",
            Self::Packages(_) => "packages",
            Self::IdentityProvider(_) => "identity provider",
            Self::TrustRule(_) => "trust rule",
            Self::RequestRule(_) => "request rule",
        }
    }

    /// Its id, where it has one of its own.
    pub fn id(&self) -> Option<String> {
        Some(match self {
            Self::Account(id) => id.to_string(),
            Self::Caller(id) => id.to_string(),
            Self::Token(id) | Self::ParentKey(id) => id.to_string(),
            Self::Grant(id) => id.to_string(),
            Self::Group(id) => id.to_string(),
            Self::Storage(id) => id.to_string(),
            Self::Dataset(id) => id.to_string(),
            Self::Workspace(id) => id.to_string(),
            Self::Project(id) => id.to_string(),
            Self::Share(id) => id.to_string(),
            Self::Table(id) => id.to_string(),
            Self::IdentityProvider(id) => id.to_string(),
            Self::TrustRule(id) => id.to_string(),
            Self::RequestRule(id) => id.to_string(),
            Self::Bucket(_) | Self::Recipient { .. } | Self::Packages(_) => return None,
        })
    }

    /// Whether removing it may leave alive what was vended under it, if that is wanted. What proves a caller, or holds what is
    /// vended, never does.
    pub const fn may_keep_credentials(&self) -> bool {
        match self {
            Self::Grant(_) | Self::Workspace(_) | Self::Share(_) | Self::Table(_) | Self::Recipient { .. } => true,
            Self::Account(_)
            | Self::Caller(_)
            | Self::Token(_)
            | Self::ParentKey(_)
            | Self::Group(_)
            | Self::Storage(_)
            | Self::Bucket(_)
            | Self::Dataset(_)
            | Self::Project(_)
            | Self::Packages(_)
            | Self::IdentityProvider(_)
            | Self::TrustRule(_)
            | Self::RequestRule(_) => false,
        }
    }

    /// The token that it is.
    pub const fn token(&self) -> Option<TokenId> {
        match self {
            Self::Token(id) | Self::ParentKey(id) => Some(*id),
            Self::Account(_)
            | Self::Caller(_)
            | Self::Grant(_)
            | Self::Group(_)
            | Self::Storage(_)
            | Self::Bucket(_)
            | Self::Dataset(_)
            | Self::Workspace(_)
            | Self::Project(_)
            | Self::Share(_)
            | Self::Table(_)
            | Self::Recipient { .. }
            | Self::Packages(_)
            | Self::IdentityProvider(_)
            | Self::TrustRule(_)
            | Self::RequestRule(_) => None,
        }
    }
}

/// How a thing hangs on another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Tie {
    /// It was made for the other, or is nothing without it: it goes with it.
    Part,
    /// It stands on its own and needs the other: it is in the way, unless it is to go too.
    Needs,
}

/// A thing, as people are told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// The thing.
    pub thing: Thing,
    /// Its name; with its account's in front, where it is of one.
    pub name: String,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.thing.kind(), self.name)
    }
}

/// What removing a thing means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The thing.
    pub what: Item,
    /// What goes with it.
    pub with: Vec<Item>,
    /// What needs it, and goes only when that is said.
    pub needs: Vec<Item>,
    /// Live leases that end.
    pub leases: u64,
    /// Live tokens that end.
    pub tokens: u64,
    /// Whether no operator has a token that is good afterwards.
    pub last_operator: bool,
}

/// How a thing is removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct How {
    /// With what needs it.
    pub cascade: bool,
    /// What was vended under it lives on, where it may.
    pub keep_credentials: bool,
    /// Even if no operator has a token that is good afterwards.
    pub last_operator: bool,
}

impl How {
    /// Everything goes that has to.
    pub const ALL: Self = Self { cascade: true, keep_credentials: false, last_operator: true };

    /// As [`How::ALL`], and what was vended ends or not.
    pub const fn ending(end_credentials: bool) -> Self {
        Self { keep_credentials: !end_credentials, ..Self::ALL }
    }
}

/// Things named in one sentence.
const NAMED: usize = 5;

impl Plan {
    /// Refuses what stands in the way.
    ///
    /// # Errors
    /// `Invalid`, with the names of what needs the thing (field `cascade`), or because no operator could come in afterwards
    /// (field `last_operator`).
    pub fn allows(&self, how: How) -> Result<(), Error> {
        if !self.needs.is_empty() && !how.cascade {
            let mut names: Vec<String> = self.needs.iter().take(NAMED).map(ToString::to_string).collect();
            match self.needs.len() - names.len() {
                0 => {}
                more => names.push(format!("{more} more")),
            }
            let said = format!(
                "the {} is needed by {}: remove them first, or say `cascade`, and they go with it",
                self.what,
                names.join(", ")
            );
            return Err(Error::new(Kind::Invalid, said).at(Attribute::Cascade));
        }
        if self.last_operator && !how.last_operator {
            return Err(last_operator());
        }
        Ok(())
    }

    /// Everything that goes, itself first.
    pub fn all(&self) -> impl Iterator<Item = &Item> {
        std::iter::once(&self.what).chain(&self.with).chain(&self.needs)
    }
}

/// A plan in the making: a database is asked for what depends on each thing, until nothing more does.
#[derive(Debug)]
pub struct Planning {
    plan: Plan,
    known: BTreeSet<Thing>,
    next: VecDeque<(Thing, Tie)>,
}

impl Planning {
    /// Begins with the thing that is to be removed.
    pub fn of(what: Item) -> Self {
        let (known, next) = (BTreeSet::from([what.thing.clone()]), VecDeque::from([(what.thing.clone(), Tie::Part)]));
        let plan = Plan { what, with: Vec::new(), needs: Vec::new(), leases: 0, tokens: 0, last_operator: false };
        Self { plan, known, next }
    }

    /// The next thing whose dependents are to be found, and how it hangs on what is removed.
    pub fn pop(&mut self) -> Option<(Thing, Tie)> {
        self.next.pop_front()
    }

    /// Those of a thing's dependents that are new, and how they hang on what is removed. Parts come before what needs it, at each
    /// step: whatever is a part of what goes is told as one.
    pub fn new_ones(&mut self, tie: Tie, mut dependents: Vec<(Thing, Tie)>) -> Vec<(Thing, Tie)> {
        dependents.sort_by_key(|(_, own)| *own);
        dependents.retain(|(one, _)| self.known.insert(one.clone()));
        for (_, own) in &mut dependents {
            *own = tie.max(*own);
        }
        self.next.extend(dependents.iter().cloned());
        dependents
    }

    /// Puts one of them into the plan, now that its name is known.
    pub fn add(&mut self, item: Item, tie: Tie) {
        match tie {
            Tie::Part => self.plan.with.push(item),
            Tie::Needs => self.plan.needs.push(item),
        }
    }

    /// The tokens that go.
    pub fn tokens(&self) -> BTreeSet<TokenId> {
        self.known.iter().filter_map(Thing::token).collect()
    }

    /// The plan, but for the leases, which are counted by who knows them: so many of the tokens that go are good, and these are the
    /// operators' that are.
    pub fn done(self, live: u64, operators: impl IntoIterator<Item = TokenId>) -> Plan {
        let last_operator = takes_the_last_operator(&self.tokens(), operators);
        Plan { tokens: live, last_operator, ..self.plan }
    }
}

/// Whether some of the operators' tokens that are good go, and no other stays.
pub fn takes_the_last_operator(going: &BTreeSet<TokenId>, operators: impl IntoIterator<Item = TokenId>) -> bool {
    let (taken, stay): (Vec<TokenId>, Vec<TokenId>) = operators.into_iter().partition(|id| going.contains(id));
    !taken.is_empty() && stay.is_empty()
}

/// Refuses to remove the storage that is the server's own.
///
/// # Errors
/// `Invalid`.
pub fn check_removable(kind: StorageKind) -> Result<(), Error> {
    if kind == StorageKind::Embedded {
        let said = "the embedded storage is the server's own, and is not removed";
        return Err(Error::new(Kind::Invalid, said).at(Field::Storage));
    }
    Ok(())
}

/// The refusal to end the last token of an operator.
pub fn last_operator() -> Error {
    let said = "this is the last token of an operator that is good: make another one first, or say `last_operator`; then only `valetkey server init --new-operator-token`, on the server's machine, makes a new one";
    Error::new(Kind::Invalid, said).at(Attribute::LastOperator)
}

/// What is changed of something that is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Amendment {
    /// An account's name, standing and price.
    Account(Account),
    /// A caller's name and role.
    Caller {
        /// Which.
        id: CallerId,
        /// Its name from now on.
        name: Name,
        /// Its role from now on.
        role: Role,
    },
    /// When a token ends: never later than its maker allows.
    Token {
        /// Which.
        id: TokenId,
        /// From when on it is good no more; nothing for as long as its maker allows.
        until: Option<Timestamp>,
        /// Who says so.
        maker: Maker,
    },
    /// A grant, as it is from now on: its id, account, grantee, store, bucket and origin stay.
    Grant(Grant),
    /// A group, as it is from now on: its id and account stay; its version is what it was where it was read, and a change that overtook
    /// this one refuses it.
    Group(Box<Group>),
    /// A dataset, as it is from now on: its place stays.
    Dataset(Dataset),
    /// A workspace's name, and whether it is the default one.
    Workspace {
        /// Which.
        id: WorkspaceId,
        /// Whose.
        account: AccountId,
        /// Its name for people.
        name: Option<Box<str>>,
        /// Whether it takes the place of the account's default one, or is that no longer.
        is_default: Option<bool>,
    },
    /// An identity provider with its rules, as it is from now on: its id and its version stay what they were where it was read, and
    /// a change that overtook this one refuses it. What came of the rules that are not the same any more ends.
    IdentityProvider(Box<IdentityProvider>),
    /// A rule of who may ask for what, as it is from now on: its id and its version stay what they were where it was read, and a change
    /// that overtook this one refuses it. What was approved under it stays.
    RequestRule(Box<RequestRule>),
}

impl Amendment {
    /// What is changed.
    pub fn thing(&self) -> Thing {
        match self {
            Self::Account(account) => Thing::Account(account.id),
            Self::Caller { id, .. } => Thing::Caller(*id),
            Self::Token { id, .. } => Thing::Token(*id),
            Self::Grant(grant) => Thing::Grant(grant.id),
            Self::Group(group) => Thing::Group(group.id),
            Self::Dataset(dataset) => Thing::Dataset(dataset.id),
            Self::Workspace { id, .. } => Thing::Workspace(*id),
            Self::IdentityProvider(provider) => Thing::IdentityProvider(provider.id),
            Self::RequestRule(rule) => Thing::RequestRule(rule.id),
        }
    }

    /// Whether a grant gives less from now on than it did.
    pub fn narrows(&self, before: &Grant, now: Timestamp) -> bool {
        let Self::Grant(after) = self else { return false };
        let sooner = after.until.is_some_and(|until| before.until.is_none_or(|was| until < was));
        sooner
            || after.conditions.is_some() && after.conditions != before.conditions
            || after.from.is_some_and(|from| now < from)
            || after.max_lifetime < before.max_lifetime
            || !after.scope.actions().contains_all(before.scope.actions())
            || !after.scope.cover_paths(&before.scope)
    }

    /// Whether a lease that was opened under the grant or with the token has more than that allows after the change.
    /// `before` is the grant as it was, `asked_with` the token that asked where it is another than the lease's.
    pub fn ends(
        &self,
        before: Option<&Grant>,
        lease: &crate::lease::Lease,
        asked_with: Option<TokenId>,
        now: Timestamp,
    ) -> bool {
        match self {
            Self::Grant(after) => {
                let Some(before) = before else { return false };
                lease.grants.contains(&after.id) && exceeds(before, after, lease, now)
            }
            Self::Token { id, until, .. } => {
                (lease.token == *id || asked_with == Some(*id)) && until.is_some_and(|until| until < lease.until)
            }
            Self::Account(_)
            | Self::Caller { .. }
            // Told by who is no longer a member, which the group as it was says.
            | Self::Group(_)
            | Self::Dataset(_)
            | Self::Workspace { .. }
            | Self::RequestRule(_)
            // Its sessions end, and with them what they opened.
            | Self::IdentityProvider(_) => false,
        }
    }
}

/// Whose name changes: what was opened by grants whose templates were filled in with it ends, for whoever has that name next has the places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Renamed {
    /// An account's.
    Account(AccountId),
    /// A caller's.
    Caller(CallerId),
}

impl Renamed {
    /// Those of some grants that were filled in with the name.
    pub fn filled<'g>(self, grants: impl IntoIterator<Item = &'g Grant>) -> BTreeSet<GrantId> {
        let placeholder = match self {
            Self::Account(_) => Placeholder::AccountName,
            Self::Caller(_) => Placeholder::CallerName,
        };
        let filled = |grant: &&Grant| {
            grant.scope.template().is_some_and(|template| template.placeholders().contains(&&placeholder))
        };
        grants.into_iter().filter(filled).map(|grant| grant.id).collect()
    }

    /// Whether that is who something was opened for.
    pub fn is(self, account: AccountId, caller: CallerId) -> bool {
        match self {
            Self::Account(own) => own == account,
            Self::Caller(own) => own == caller,
        }
    }
}

/// Whether a lease takes from a grant, as it was, what that no longer gives. A lease of several grants has of each what it covers.
fn exceeds(before: &Grant, after: &Grant, lease: &crate::lease::Lease, now: Timestamp) -> bool {
    use crate::scope::Paths;
    let time = after.from.is_some_and(|from| now < from) || after.until.is_some_and(|until| until < lease.until);
    let long = crate::time::Lifetime::between(lease.opened, lease.until).is_some_and(|life| life > after.max_lifetime);
    let gone =
        |actions: crate::scope::Actions| !after.scope.actions().contains_all(actions.intersect(before.scope.actions()));
    let had = |paths: &Paths| match paths {
        Paths::Whole => vec![Paths::Whole],
        Paths::Only(set) => set.iter().filter_map(|path| Paths::only([path]).ok()).collect(),
    };
    // What the grant did not allow is another's: of that it takes nothing back.
    let lost = |was: &Paths, is: &Paths, part: &crate::scope::Part| {
        let counted = part.actions().intersect(before.scope.actions());
        !counted.is_empty()
            && had(part.paths()).iter().any(|path| was.cover_paths(path) && (gone(counted) || !is.cover_paths(path)))
    };
    let place = match (before.scope.scope(), after.scope.scope()) {
        (Some(was), Some(is)) => lease.rights.parts().iter().any(|part| lost(was.paths(), is.paths(), part)),
        // What was filled in is not on record: only a template that holds the other for everyone takes nothing.
        (Some(_), None) | (None, _) => !after.scope.cover_paths(&before.scope) || gone(lease.rights.actions()),
    };
    // Whether they held for it when it was opened is not on record.
    let unlike = after.conditions.is_some() && after.conditions != before.conditions;
    time || long || place || unlike
}
