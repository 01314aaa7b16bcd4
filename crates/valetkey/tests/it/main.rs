//! The server as a stranger sees it: the real binary, real sockets.

#[cfg(test)]
mod check;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod creds;
#[cfg(test)]
mod dataset_urls;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod keyless;
#[cfg(test)]
mod keyring;
#[cfg(test)]
mod ledger;
#[cfg(feature = "otel")]
#[cfg(test)]
mod otel;
#[cfg(test)]
mod process;
#[cfg(test)]
mod removal;
#[cfg(test)]
mod scrub;
#[cfg(test)]
mod server;
#[cfg(test)]
mod storages;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod upstream;
