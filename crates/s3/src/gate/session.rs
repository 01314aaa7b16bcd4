//! What the gate knows of a request it let through.

use std::sync::{Arc, OnceLock};

use s3s::S3ErrorCode;
use valetkey_core::keyring::Claims;
use valetkey_core::port::Leases;
use valetkey_core::scope::Scope;
use valetkey_core::time::Clock;

use crate::error::{Result, refuse};

/// Proof that a request was signed with a live credential: made only by the gate.
#[derive(Clone)]
pub(crate) struct Session {
    /// What the session token says.
    pub(crate) claims: Claims,
    /// What the credential opens.
    pub(crate) scope: Arc<Scope>,
    /// Where it is known whether the credential still lives.
    pub(crate) standing: Arc<Standing>,
}

impl Session {
    /// Refuses if the credential has ended since the request began. SECURITY: asked again before a write counts: a body may
    /// take long to come, and what it brings must not outlive the key.
    pub(crate) fn still(&self) -> Result<()> {
        self.standing.check(&self.claims)
    }
}

/// Knows whether credentials live.
pub(crate) struct Standing {
    /// Which were ended early.
    pub(crate) leases: Arc<dyn Leases>,
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
}

impl Standing {
    /// Refuses a credential whose time is over or that was ended.
    pub(crate) fn check(&self, claims: &Claims) -> Result<()> {
        if claims.until <= self.clock.now() || self.leases.is_revoked(claims) {
            return Err(refuse(S3ErrorCode::ExpiredToken, "The provided token has expired."));
        }
        Ok(())
    }
}

/// The name of the operation a request turned out to be, for its log line and its count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operation(Arc<OnceLock<&'static str>>);

impl Operation {
    /// Tells the name.
    pub(crate) fn tell(&self, name: &'static str) {
        // The first one told is right.
        let _ = self.0.set(name);
    }

    /// The name, if it came so far.
    pub(crate) fn name(&self) -> &'static str {
        self.0.get().copied().unwrap_or("unknown")
    }
}

/// What came behind a chunked body, once the body was read to its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trailers(Arc<OnceLock<Vec<(String, String)>>>);

impl Trailers {
    /// Keeps what came.
    pub(crate) fn keep(&self, trailers: Vec<(String, String)>) {
        // A body ends once.
        let _ = self.0.set(trailers);
    }

    /// A trailer's value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get()?.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}
