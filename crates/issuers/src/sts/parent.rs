//! The credentials this server itself has at the store: configured, or found where AWS's own tools look. They sign its requests
//! and are never handed out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqsign_aws_v4::DefaultCredentialProvider;
use reqsign_core::{Context, FileRead, HttpSend, ProvideCredential as _, StaticEnv};
use serde::Deserialize;
use tokio::sync::Mutex;
use valetkey_core::{Error, Kind, Secret};

use crate::kind::Surroundings;
use crate::own::Own;
use crate::web::{Web, refused};
use valetkey_sigv4::Signer;

/// Credentials of this server.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: Secret<String>,
    pub(crate) session_token: Option<Secret<String>>,
}

impl Keys {
    /// Whose signatures they make.
    pub(crate) fn signer(&self) -> Signer<'_> {
        Signer {
            access_key_id: &self.access_key_id,
            secret_access_key: &self.secret_access_key,
            session_token: self.session_token.as_ref(),
        }
    }
}

/// What is secret about a store that speaks STS.
pub enum Secrets {
    /// Credentials of this server, configured.
    Keys(ParentKeys),
    /// Found where AWS's tools look: environment, profile, web identity, container, machine.
    Chain(Surroundings),
    /// None: a token of this server's own.
    Own(Own),
}

/// Configured credentials of this server.
#[derive(Clone, Debug)]
pub struct ParentKeys(pub(crate) Keys);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keys(_) => "Secrets::Keys",
            Self::Chain(_) => "Secrets::Chain",
            Self::Own(_) => "Secrets::Own",
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

impl Secrets {
    /// Reads configured credentials from JSON: `access_key_id`, `secret_access_key`, and `session_token` if there is one.
    ///
    /// # Errors
    /// `Invalid`; nothing of the text is repeated.
    pub fn parse(json: &Secret<String>) -> Result<Self, Error> {
        let bad = |words| Error::new(Kind::Invalid, words).at("secrets");
        let Json { access_key_id, secret_access_key, session_token } =
            serde_json::from_str(json.reveal()).map_err(|_| {
                bad("the secrets are JSON with `access_key_id`, `secret_access_key` and maybe `session_token`")
            })?;
        let keys = Keys {
            access_key_id,
            secret_access_key: Secret::new(secret_access_key),
            session_token: session_token.map(Secret::new),
        };
        let printable =
            |text: &str| !text.is_empty() && text.len() <= 8192 && text.bytes().all(|b| b.is_ascii_graphic());
        if !printable(&keys.access_key_id)
            || !printable(keys.secret_access_key.reveal())
            || keys.session_token.as_ref().is_some_and(|token| !printable(token.reveal()))
        {
            return Err(bad("a part of the secrets is empty or has characters that no key has"));
        }
        Ok(Self::Keys(ParentKeys(keys)))
    }
}

/// Where the credentials of this server come from.
pub(crate) enum Parents {
    Configured(Arc<Keys>),
    Chain(Box<Chain>),
}

/// The chain, and what it found last.
pub(crate) struct Chain {
    provider: DefaultCredentialProvider,
    context: Context,
    found: Mutex<Option<Found>>,
}

struct Found {
    keys: Arc<Keys>,
    /// When to look again.
    until: Timestamp,
    /// When they are not used any more.
    end: Timestamp,
}

/// Found credentials are looked for again after so long: a file or a role may change without saying when.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_mins(5);
/// After a look that failed, the next is so much later, as long as the credentials before it are good.
const FAILED_AGAIN: SignedDuration = SignedDuration::from_secs(30);
/// Credentials about to end are not used: a request takes a while.
const MARGIN: SignedDuration = SignedDuration::from_mins(2);
/// How long one look at the machine's or the container's endpoint may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

impl Parents {
    /// What signs; nothing where nothing does.
    pub(crate) fn new(secrets: Secrets, web: Web) -> Option<Self> {
        Some(match secrets {
            Secrets::Own(_) => return None,
            Secrets::Keys(ParentKeys(keys)) => Self::Configured(Arc::new(keys)),
            Secrets::Chain(Surroundings { environment, home }) => Self::Chain(Box::new(Chain {
                // Neither a browser's log-in nor commands from a file: a server has no use for them.
                provider: DefaultCredentialProvider::builder().no_sso().no_process().build(),
                context: Context::new()
                    .with_file_read(Files)
                    .with_http_send(Http(web.patient(LOOK_TIMEOUT)))
                    .with_env(StaticEnv { home_dir: home, envs: environment }),
                found: Mutex::new(None),
            })),
        })
    }

    /// The credentials to sign with.
    ///
    /// # Errors
    /// `Upstream` when the chain finds none.
    pub(crate) async fn keys(&self, now: Timestamp) -> Result<Arc<Keys>, Error> {
        let chain = match self {
            Self::Configured(keys) => return Ok(keys.clone()),
            Self::Chain(chain) => chain,
        };
        // Held while looking, so that one look serves all who wait.
        let mut found = chain.found.lock().await;
        if let Some(Found { keys, until, .. }) = &*found
            && now < *until
        {
            return Ok(keys.clone());
        }
        match chain.look(now).await {
            Ok(fresh) => Ok(found.insert(fresh).keys.clone()),
            Err(error) => match &mut *found {
                Some(Found { keys, until, end }) if now < *end => {
                    tracing::warn!(error = ?error, "AWS credentials cannot be looked for again; those found before are used");
                    *until = now.checked_add(FAILED_AGAIN).unwrap_or(*end).min(*end);
                    Ok(keys.clone())
                }
                Some(_) | None => Err(error),
            },
        }
    }

    /// Looks again next time, because the store does not take these any more. Whether that can help.
    pub(crate) async fn distrust(&self, keys: &Arc<Keys>) -> bool {
        let Self::Chain(chain) = self else { return false };
        let mut found = chain.found.lock().await;
        if found.as_ref().is_some_and(|found| Arc::ptr_eq(&found.keys, keys)) {
            *found = None;
        }
        true
    }
}

impl Chain {
    async fn look(&self, now: Timestamp) -> Result<Found, Error> {
        let nothing = || refused("the storage cannot be asked").at("secrets");
        let credential = self
            .provider
            .provide_credential(&self.context)
            .await
            // SECURITY: only the kind; the error's words may repeat what was read.
            .map_err(|error| nothing().note(format!("looking for AWS credentials failed: {:?}", error.kind())))?
            .ok_or_else(|| {
                nothing().note(
                    "no AWS credentials in the environment, a profile, a web identity, a container or the machine",
                )
            })?;
        let end = credential
            .expires_in
            .and_then(|end| Timestamp::from_second(end.as_second()).ok())
            .and_then(|end| end.checked_sub(MARGIN).ok())
            .unwrap_or(Timestamp::MAX);
        let again = now.checked_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
        let keys = Arc::new(Keys {
            access_key_id: credential.access_key_id,
            secret_access_key: Secret::new(credential.secret_access_key),
            session_token: credential.session_token.map(Secret::new),
        });
        Ok(Found { keys, until: end.min(again), end })
    }
}

#[derive(Debug)]
struct Files;

impl FileRead for Files {
    async fn file_read(&self, path: &str) -> reqsign_core::Result<Vec<u8>> {
        tokio::fs::read(path)
            .await
            .map_err(|error| reqsign_core::Error::unexpected("a file cannot be read").with_source(error))
    }
}

struct Http(Web);

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

impl HttpSend for Http {
    async fn http_send(
        &self,
        request: http::Request<bytes::Bytes>,
    ) -> reqsign_core::Result<http::Response<bytes::Bytes>> {
        let failed = |_| reqsign_core::Error::unexpected("an endpoint for credentials cannot be reached");
        let (parts, body) = request.into_parts();
        let request = self.0.request(parts.method, &parts.uri.to_string()).headers(parts.headers).body(body);
        let answer = self.0.ask("an endpoint for AWS credentials", request).await.map_err(failed)?;
        let mut response = http::Response::new(bytes::Bytes::copy_from_slice(answer.body.reveal()));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}
