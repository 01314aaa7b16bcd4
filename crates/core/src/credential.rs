//! The secret itself.

use jiff::Timestamp;

use crate::error::Error;
use crate::secret::Secret;

/// A vended credential. It never reaches further or lives longer than its permit.
#[derive(Clone, Debug)]
pub enum Credential {
    /// An S3 key triple.
    S3(S3Keys),
    /// An Azure shared access signature.
    Azure(AzureSas),
    /// A Google access token.
    Google(GoogleToken),
}

impl Credential {
    /// When the store stops taking it; whole seconds.
    pub const fn expiration(&self) -> Timestamp {
        match self {
            Self::S3(S3Keys { expiration, .. })
            | Self::Azure(AzureSas { expiration, .. })
            | Self::Google(GoogleToken { expiration, .. }) => *expiration,
        }
    }

    /// The S3 key triple, for APIs that carry nothing else.
    ///
    /// # Errors
    /// `Internal`: a store that such an API cannot carry is refused when it is configured.
    pub fn s3(&self) -> Result<&S3Keys, Error> {
        match self {
            Self::S3(keys) => Ok(keys),
            Self::Azure(_) | Self::Google(_) => {
                Err(Error::internal("this API carries S3 keys only, and the store's credential is none"))
            }
        }
    }
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

/// An Azure shared access signature, delegated by a user's key.
#[derive(Clone, Debug)]
pub struct AzureSas {
    /// The signed query, without a question mark.
    pub sas_token: Secret<String>,
    /// When the store stops taking it; whole seconds.
    pub expiration: Timestamp,
}

/// A Google access token, bounded to the scope.
#[derive(Clone, Debug)]
pub struct GoogleToken {
    /// The token.
    pub access_token: Secret<String>,
    /// When the store stops taking it; whole seconds.
    pub expiration: Timestamp,
}
