//! The embedded S3 endpoint: object storage over a local directory, enforcing every request against the vended scope.
#![allow(dead_code, reason="x")]
mod error;
mod objects;
