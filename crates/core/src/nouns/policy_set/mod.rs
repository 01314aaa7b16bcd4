//! A policy set: the accounts, callers, grants and datasets that files own; what there is, what the files want, and what is to be done.

mod access;
mod settle;
mod state;
mod trial;

#[cfg(test)]
mod tests;

pub use access::{Difference, Subjects, differences};
pub use settle::{Problem, settle};
pub use state::{
    Application, Changes, Managed, Owns, PolicySets, State, Wanted, WantedAccount, WantedCaller, WantedDataset,
    WantedGrant, WantedGrantee, moved,
};
pub use trial::{Expected, Failed, Known, Trial, Who, Wish, run};
