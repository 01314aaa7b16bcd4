//! The secret itself.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::error::Error;
use crate::scope::Action;
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
                Err(Error::internal("this API carries S3 keys only, and the storage's credential is none"))
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

/// A credential as it is handed out, and how a store that somebody else runs knows it.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The secret. Shared: one that is kept is handed out many times, and a copy of it would have to be wiped each time.
    pub credential: Arc<Credential>,
    /// Its name there; nothing where the lease itself is in the credential.
    pub trace: Option<Arc<Trace>>,
    /// What of the scope the storage cannot say and was left out, and what it allows beyond that.
    pub narrowed: Arc<[Narrowed]>,
}

/// How what a credential opens is not what its scope says: what a storage cannot say is left out, or comes with more. Shown as
/// `what: why`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Narrowed {
    /// What.
    pub what: LeftOut,
    /// Why, or how much of it, in words.
    pub why: Cow<'static, str>,
}

/// What can be left out of a scope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeftOut {
    /// An action, with all of the paths or with some.
    Action(Action),
    /// The keys that are named as the directories themselves.
    DirectoryKeys,
    /// Nothing: with this action the storage allows more than the action says.
    Beyond(Action),
}

impl Narrowed {
    /// An action that is left out.
    pub fn action(action: Action, why: impl Into<Cow<'static, str>>) -> Self {
        Self { what: LeftOut::Action(action), why: why.into() }
    }
}

impl fmt::Display for Narrowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Action(action) => action.fmt(f),
            Self::DirectoryKeys => f.write_str("the keys of the directories themselves"),
            Self::Beyond(action) => write!(f, "beyond {action}"),
        }
    }
}

impl Issued {
    /// A credential that names its own lease and opens the whole scope.
    pub fn own(credential: Credential) -> Self {
        Self { credential: Arc::new(credential), trace: None, narrowed: Arc::default() }
    }
}

/// What ties a hand-out to the logs of the store it is for. Nothing in it is secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    /// The credential's name in the store's log: an access key id, an Azure correlation id; otherwise a digest of it.
    pub key_id: Box<str>,
    /// The id under which the store logged the request that fetched it.
    pub request_id: Option<Box<str>>,
    /// When the store stops taking it.
    pub expiration: Timestamp,
}
