//! What the tests of every crate share: a clock that stands still until told, seeded randomness, and the contract suites
//! that every implementation of a port must pass.

pub mod chance;
pub mod clock;
pub mod contract;
#[cfg(target_os = "linux")]
pub mod disk;
pub mod iam;
pub mod idp;
pub mod memory;
