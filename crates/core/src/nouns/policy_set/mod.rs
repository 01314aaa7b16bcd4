//! A policy set: what files own of the registry; what there is, what the files want, and what is to be done.

mod access;
mod changes;
mod kind;
mod kinds;
mod settle;
mod settling;
mod state;
mod things;
mod trial;
mod wanted;

#[cfg(test)]
mod tests;

pub use access::{Difference, Subjects, differences};
pub use changes::{Application, Changes, PolicySetAdmin, moved};
pub use kind::Ownable;
pub use settle::settle;
pub use settling::Problem;
pub use state::{Managed, Owns, State};
pub use things::{KINDS, key_of, thing_of};
pub use trial::{Expected, Failed, Known, Trial, Verdicts, Who, Wish, judge, run};
pub use wanted::{
    Wanted, WantedAccount, WantedCaller, WantedDataset, WantedGrant, WantedGrantee, WantedGroup, WantedProvider,
    WantedRule,
};
