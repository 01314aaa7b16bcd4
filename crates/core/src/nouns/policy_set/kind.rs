//! A kind of things that files own: what every kind says of itself, so that nothing else asks of which kind a thing is.

use std::collections::BTreeMap;

use crate::account::Account;
use crate::caller::CallerRecord;
use crate::grant::Grant;
use crate::group::Group;
use crate::id::AccountId;
use crate::name::Name;
use crate::nouns::dataset::Dataset;
use crate::nouns::identity::IdentityProvider;
use crate::nouns::policy_set::state::State;
use crate::nouns::removal::{Amendment, Thing};

/// A kind of things that files own.
pub(super) trait Kind: Clone + PartialEq {
    /// What one is known by.
    type Id: Copy + Ord;

    /// The word that files and databases have for it.
    const WORD: &'static str;

    /// Its id.
    fn id(&self) -> Self::Id;
    /// Its name.
    fn name(&self) -> &Name;
    /// The account that it is of.
    fn account(&self) -> Option<AccountId>;
    /// What it cannot be without.
    fn needs(&self) -> Vec<Thing>;
    /// Whether files can own it: not what something else makes and removes.
    fn is_own(&self) -> bool {
        true
    }

    /// The thing of an id.
    fn thing(id: Self::Id) -> Thing;
    /// The id of a thing, if it is of this kind.
    fn id_of(thing: &Thing) -> Option<Self::Id>;
    /// An id as bytes.
    fn bytes(id: Self::Id) -> [u8; 16];
    /// The id that bytes are.
    fn of_bytes(bytes: [u8; 16]) -> Self::Id;

    /// All that there are.
    fn all(state: &State) -> &BTreeMap<Self::Id, Self>;
    /// The same, to change them.
    fn all_mut(state: &mut State) -> &mut BTreeMap<Self::Id, Self>;

    /// One as a thing of any kind.
    fn whole(self) -> Ownable;
    /// The change that makes it what it is.
    fn amendment(self) -> Amendment;
}

/// What is said alike of every kind: its word, and where it is in an id, a thing, a state and an [`Ownable`].
macro_rules! known_as {
    ($word:literal, $id:ident, $thing:path, $all:ident, $whole:path) => {
        type Id = $id;

        const WORD: &'static str = $word;

        fn id(&self) -> $id {
            self.id
        }

        fn name(&self) -> &$crate::name::Name {
            &self.name
        }

        fn thing(id: $id) -> $crate::nouns::removal::Thing {
            $thing(id)
        }

        fn id_of(thing: &$crate::nouns::removal::Thing) -> Option<$id> {
            if let $thing(id) = thing { Some(*id) } else { None }
        }

        fn bytes(id: $id) -> [u8; 16] {
            id.to_bytes()
        }

        fn of_bytes(bytes: [u8; 16]) -> $id {
            $id::from_bytes(bytes)
        }

        fn all(state: &$crate::nouns::policy_set::state::State) -> &std::collections::BTreeMap<$id, Self> {
            &state.$all
        }

        fn all_mut(state: &mut $crate::nouns::policy_set::state::State) -> &mut std::collections::BTreeMap<$id, Self> {
            &mut state.$all
        }

        fn whole(self) -> $crate::nouns::policy_set::kind::Ownable {
            $whole(self)
        }
    };
}

pub(super) use known_as;

/// A thing that files can own, with all that is known of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ownable {
    /// An account.
    Account(Account),
    /// A caller of one.
    Caller(CallerRecord),
    /// A dataset.
    Dataset(Dataset),
    /// An identity provider with its rules.
    Provider(IdentityProvider),
    /// A group of an account's callers.
    Group(Group),
    /// A grant.
    Grant(Grant),
}

/// Does something with each kind, in an order in which things can be made: what another names comes before it.
macro_rules! every_kind {
    ($kind:ident => $each:block) => {
        $crate::nouns::policy_set::kind::every_kind!($kind => $each;
            $crate::account::Account, $crate::caller::CallerRecord, $crate::nouns::dataset::Dataset,
            $crate::nouns::identity::IdentityProvider, $crate::group::Group, $crate::grant::Grant)
    };
    ($kind:ident => $each:block; $($one:ty),+) => {
        $({ type $kind = $one; $each })+
    };
}

pub(super) use every_kind;
