//! The secret itself.

use jiff::Timestamp;

use crate::secret::Secret;

/// A vended credential. It never reaches further or lives longer than its permit.
#[derive(Clone, Debug)]
pub enum Credential {
    /// An S3 key triple.
    S3(S3Keys),
}

/// An S3 key triple.
#[derive(Clone, Debug)]
pub struct S3Keys {
    /// Public: names the lease.
    pub access_key_id: String,
    /// Signs requests.
    pub secret_access_key: Secret<String>,
    /// Sent along with each request; of no use without the secret.
    pub session_token: Secret<String>,
    /// When the store stops taking it; whole seconds.
    pub expiration: Timestamp,
}
