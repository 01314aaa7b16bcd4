//! What files want.

use jiff::Timestamp;

use crate::account::Metering;
use crate::caller::Role;
use crate::claims::Condition;
use crate::conditions::Conditions;
use crate::group::ByClaim;
use crate::id::StorageId;
use crate::name::Name;
use crate::nouns::dataset::NewDataset;
use crate::nouns::identity::{CallerTemplate, IdentityProvider};
use crate::nouns::policy_set::state::Owns;
use crate::template::Opens;
use crate::time::Lifetime;

/// An account as files want it. Its standing and its quota are no matter of files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedAccount {
    /// Its name.
    pub name: Name,
    /// The name it had before.
    pub was: Option<Name>,
    /// What a vend costs it.
    pub metering: Metering,
    /// Where that is said.
    pub source: Box<str>,
}

/// A caller as files want it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedCaller {
    /// Its account's name.
    pub account: Name,
    /// Its name.
    pub name: Name,
    /// The name it had before.
    pub was: Option<Name>,
    /// What it may do.
    pub role: Role,
    /// Where that is said.
    pub source: Box<str>,
}

/// A group as files want it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedGroup {
    /// Its account's name.
    pub account: Name,
    /// Its name.
    pub name: Name,
    /// The name it had before.
    pub was: Option<Name>,
    /// The names of the callers that are in it.
    pub members: Vec<Name>,
    /// Whose sessions are in it.
    pub by_claim: Option<ByClaim>,
    /// Where that is said.
    pub source: Box<str>,
}

/// A rule of an identity provider as files want it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedRule {
    /// Its name.
    pub name: Name,
    /// The name of the caller's account.
    pub account: Name,
    /// The caller's name.
    pub caller: CallerTemplate,
    /// The caller's role.
    pub role: Role,
    /// What the token has to claim.
    pub conditions: Vec<Condition>,
    /// For so long from its first use what is vended to the token may live, in seconds.
    pub outlive_secs: Option<u32>,
}

/// An identity provider as files want it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedProvider {
    /// All of it but its rules, and with the id that it has or will have.
    pub provider: IdentityProvider,
    /// The name it had before.
    pub was: Option<Name>,
    /// Its rules, in the order they are tried.
    pub rules: Vec<WantedRule>,
    /// Where that is said.
    pub source: Box<str>,
}

/// Whom files want a grant to be for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WantedGrantee {
    /// Every caller of the account.
    Everyone,
    /// The caller of this name.
    Caller(Name),
    /// The members of the group of this name.
    Group(Name),
}

/// A grant as files want it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedGrant {
    /// Its account's name.
    pub account: Name,
    /// Its name.
    pub name: Name,
    /// The name it had before.
    pub was: Option<Name>,
    /// Whom it is for.
    pub to: WantedGrantee,
    /// The dataset it opens.
    pub dataset: Option<Name>,
    /// The storage of its bucket.
    pub storage: StorageId,
    /// What it opens.
    pub scope: Opens,
    /// No credential of it lives longer.
    pub max_lifetime: Lifetime,
    /// It opens nothing before.
    pub from: Option<Timestamp>,
    /// It opens nothing from then on.
    pub until: Option<Timestamp>,
    /// What has to hold besides.
    pub conditions: Option<Box<Conditions>>,
    /// Where that is said.
    pub source: Box<str>,
}

/// A dataset as files want it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedDataset {
    /// All but its id.
    pub dataset: NewDataset,
    /// The name it had before.
    pub was: Option<Name>,
    /// Where that is said.
    pub source: Box<str>,
}

/// What files want.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The set's name.
    pub owner: Name,
    /// What it may own.
    pub owns: Owns,
    /// Whether what is not in the files any more is removed.
    pub prune: bool,
    /// Whether groups that are not there are taken to be, without members: there is no server that knows them.
    pub assumes_groups: bool,
    /// When it is wanted: new things are made then.
    pub at: Timestamp,
    /// Accounts.
    pub accounts: Vec<WantedAccount>,
    /// Their callers.
    pub callers: Vec<WantedCaller>,
    /// Datasets.
    pub datasets: Vec<WantedDataset>,
    /// Identity providers.
    pub providers: Vec<WantedProvider>,
    /// The accounts' groups.
    pub groups: Vec<WantedGroup>,
    /// Their grants.
    pub grants: Vec<WantedGrant>,
}
