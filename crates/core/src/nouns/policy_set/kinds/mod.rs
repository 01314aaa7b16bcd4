//! The kinds of things that files own, one in each file: what it says of itself, and what becomes of what files want of it.

mod account;
mod caller;
mod dataset;
mod grant;
mod group;
mod provider;
