//! The endpoint as a stranger sees it: over real sockets, with a client of its own.

mod chunked;
mod durability;
mod listing;
mod malformed;
mod multipart;
mod objects;
mod reach;
mod rig;
