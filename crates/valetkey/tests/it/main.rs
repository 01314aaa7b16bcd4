//! The server as a stranger sees it: the real binary, real sockets.

mod check;
mod process;
mod server;
mod tls;
