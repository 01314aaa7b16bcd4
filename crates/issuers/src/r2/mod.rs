//! Credentials of Cloudflare R2: signed here with the parent's secret, or fetched from Cloudflare's API where there is only a
//! token for that.
//!
//! SECURITY: at R2 the session token alone is the whole credential: the secret is a hash of what is inside it. Who sees a
//! pre-signed URL of such a credential has all of its scope until it ends.

mod api;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::AUTHORIZATION;
use serde::{Deserialize, Serialize};
use valetkey_core::credential::{Credential, Narrowed, S3Keys};
use valetkey_core::field::Field;
use valetkey_core::hosts::{Hosts, Proof};
use valetkey_core::name::shortened;
use valetkey_core::nouns::provider::{Beyond, Documented, Extra, Facts, Hints};
use valetkey_core::nouns::storage_admin::Ended;
use valetkey_core::scope::{Action, Actions, Path, Paths, Rights};
use valetkey_core::storage::StorageKind;
use valetkey_core::time::{Clock, Lifetime};
use valetkey_core::{Error, Kind, Secret};

use crate::kind::{UpstreamKind, opened};
use crate::r2::api::{ApiRequest, WHOM, accepted, read};
use crate::r2::token::{Claims, PathClaims};
use crate::upstream::{Fetched, Upstream, Wish, by_hand, by_lever, one_part, plausible_end};
use crate::web::{Transport, Web, hidden, origin_of, request_id, url};

/// This kind of storage.
pub(crate) const KIND: UpstreamKind = UpstreamKind {
    kind: StorageKind::R2,
    open: |given| {
        let secrets = Secrets::parse(given.needed()?)?;
        let clock = Arc::clone(&given.world.clock);
        opened(R2::new(given.settings()?, secrets, given.http, clock))
    },
    outdated: |_| Ok(()),
    hints: Hints {
        vend: Some("are `parent_access_key_id` and its secret right?"),
        rights: Some("does the parent key open this bucket, to read and write?"),
        beyond: &[(Extra::Write, Documented::Open)],
        also: BEYOND,
    },
};

/// What credentials allow beyond their actions.
const BEYOND: &[Beyond] = &[Beyond {
    with: Action::DeleteObject,
    when: "",
    also: "writing: no permission has one without the other",
    avoided: "",
}];

/// What is configured of R2; nothing of it is secret.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The Cloudflare account's id.
    pub account_id: String,
    /// The buckets' jurisdiction, like `eu`; none for the default one.
    pub jurisdiction: Option<String>,
    /// The host of the S3 endpoint; Cloudflare's own, unless named.
    pub host: Option<String>,
    /// The id of the parent key.
    pub parent_access_key_id: String,
    /// Where Cloudflare's API is.
    #[serde(default = "api")]
    pub api_base_url: String,
    /// Whether to name single operations (`actions`) where no permission is exact. Cloudflare documents it for keys signed
    /// here, and not every account takes it.
    #[serde(default)]
    pub actions_claim: bool,
    /// How long a request to the API may take, in milliseconds.
    #[serde(default = "timeout")]
    pub timeout_ms: u32,
    /// How credentials are ended before their time; if this is not there, they are not.
    pub revoke: Option<RevokeSettings>,
}

/// How credentials are ended: with their parent, which is deleted. Needs an `api_token` that may do so.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeSettings {
    /// Whose the parent is. Its token's id is that of the parent key.
    pub delete_parent: Owner,
}

/// Whose a token of Cloudflare's is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// The account's.
    Account,
    /// The user's whose `api_token` this server has.
    User,
}

fn api() -> String {
    "https://api.cloudflare.com/client/v4".to_owned()
}
fn timeout() -> u32 {
    10_000
}

/// What is secret about R2.
#[derive(Debug)]
pub struct Secrets {
    maker: Maker,
    api_token: Option<Secret<String>>,
}

/// How credentials are made.
#[derive(Debug)]
enum Maker {
    /// Signed here, with the parent's secret access key.
    Local(Secret<String>),
    /// Asked of Cloudflare's API, with a token for it.
    Api(Secret<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretsJson {
    secret_access_key: Option<String>,
    api_token: Option<String>,
}

impl Secrets {
    /// Reads secrets from JSON: `secret_access_key`, or `api_token`; with both, credentials are signed here and the token is for
    /// ending them.
    ///
    /// # Errors
    /// `Invalid`; nothing of the text is repeated.
    pub fn parse(json: &Secret<String>) -> Result<Self, Error> {
        let bad = || {
            Error::new(
                Kind::Invalid,
                "the secrets are JSON with the parent's `secret_access_key`, or with an `api_token`",
            )
            .at("secrets")
        };
        let good = |text: &str| !text.is_empty() && text.len() <= 1024 && text.bytes().all(|b| b.is_ascii_graphic());
        let SecretsJson { secret_access_key, api_token } = serde_json::from_str(json.reveal()).map_err(|_| bad())?;
        if [&secret_access_key, &api_token].into_iter().flatten().any(|text| !good(text)) {
            return Err(bad());
        }
        let (key, api_token) = (secret_access_key.map(Secret::new), api_token.map(Secret::new));
        let maker = key.map(Maker::Local).or_else(|| api_token.clone().map(Maker::Api)).ok_or_else(bad)?;
        Ok(Self { maker, api_token })
    }
}

/// R2.
pub struct R2 {
    account_id: String,
    host: String,
    jurisdiction: Option<String>,
    parent_access_key_id: String,
    /// Where Cloudflare's API gives credentials.
    endpoint: String,
    actions_claim: bool,
    maker: Maker,
    lever: Option<Lever>,
    web: Web,
}

/// What deletes the parent.
struct Lever {
    url: String,
    api_token: Secret<String>,
}

/// Shorter ones would be over before anyone has used them; R2 itself sets no least.
const SHORTEST: Lifetime = Lifetime::secs(60);
/// The longest R2 gives.
const LONGEST: Lifetime = Lifetime::secs(604_800);
/// The most bytes of a session token: it goes in a header of each request, and servers take headers of about twice that.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// What a credential of R2 may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Permission {
    ObjectReadOnly,
    ObjectReadWrite,
    AdminReadOnly,
    AdminReadWrite,
}

/// What a scope is at R2.
struct Meant {
    permission: Permission,
    /// Single operations, if the permission alone would allow more.
    actions: Vec<&'static str>,
    paths: Option<PathClaims>,
    narrowed: Vec<Narrowed>,
}

impl R2 {
    /// R2 as configured.
    ///
    /// # Errors
    /// `Invalid`, naming the field.
    pub fn new(
        settings: Settings,
        secrets: Secrets,
        http: reqwest::Client,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let Settings {
            account_id,
            jurisdiction,
            host,
            parent_access_key_id,
            api_base_url,
            actions_claim,
            timeout_ms,
            revoke,
        } = settings;
        let bad = |field: &'static str, words: String| Err(Error::new(Kind::Invalid, words).at(field));
        let word = |text: &str| {
            (1..=64).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if !word(&account_id) {
            return bad("account_id", format!("`{}` is not an account's id", shortened(&account_id)));
        }
        if let Some(jurisdiction) = jurisdiction.as_deref().filter(|text| !word(text)) {
            return bad("jurisdiction", format!("`{}` is not a jurisdiction", shortened(jurisdiction)));
        }
        if parent_access_key_id.is_empty()
            || parent_access_key_id.len() > 128
            || !parent_access_key_id.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            return bad("parent_access_key_id", "a key's id has letters and digits only".to_owned());
        }
        let host = host.unwrap_or_else(|| match &jurisdiction {
            Some(jurisdiction) => format!("{account_id}.{jurisdiction}.r2.cloudflarestorage.com"),
            None => format!("{account_id}.r2.cloudflarestorage.com"),
        });
        if host.is_empty() || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b)) {
            return bad("host", format!("`{}` is not a host", shortened(&host)));
        }
        if !(100..=60_000).contains(&timeout_ms) {
            return bad("timeout_ms", "a request may take 100 to 60000 ms".to_owned());
        }
        let api = url(&api_base_url, Transport::Private, "api_base_url")?;
        let Secrets { maker, api_token } = secrets;
        if actions_claim && matches!(maker, Maker::Api(_)) {
            return bad(
                "actions_claim",
                "Cloudflare's API does not take single operations; they need keys signed here".to_owned(),
            );
        }
        let lever = match (revoke, api_token) {
            (None, _) => None,
            (Some(_), None) => {
                return bad("revoke", "deleting the parent needs an `api_token` in the secrets".to_owned());
            }
            (Some(RevokeSettings { delete_parent }), Some(api_token)) => {
                let owner = match delete_parent {
                    Owner::Account => format!("accounts/{account_id}"),
                    Owner::User => "user".to_owned(),
                };
                Some(Lever { url: format!("{api}/{owner}/tokens/{parent_access_key_id}"), api_token })
            }
        };
        let endpoint = format!("{api}/accounts/{account_id}/r2/temp-access-credentials");
        // What is signed here is for the host; the token is asked of Cloudflare's API and ended there.
        let mut hosts = Hosts::new(Proof::Kept)
            .sent("host", origin_of(&format!("https://{host}")).map_err(|error| error.at("host"))?);
        if matches!(maker, Maker::Api(_)) || lever.is_some() {
            hosts.send("api_base_url", origin_of(&endpoint)?);
        }
        Ok(Self {
            endpoint,
            account_id,
            host,
            jurisdiction,
            parent_access_key_id,
            actions_claim,
            maker,
            lever,
            web: Web::new(http, clock, hosts).patient(Duration::from_millis(u64::from(timeout_ms))),
        })
    }

    /// What the scope is at R2.
    fn meant(&self, rights: &Rights) -> Result<Meant, Error> {
        let mut narrowed = Vec::new();
        let part = one_part(rights)?;
        let mut wanted = part.actions();
        let paths = match part.paths() {
            Paths::Whole => None,
            Paths::Only(paths) => {
                let mut claims = PathClaims { prefix_paths: Vec::new(), object_paths: Vec::new() };
                let mut unlisted = 0_usize;
                for path in paths.iter() {
                    let text = std::str::from_utf8(path.bytes()).map_err(|_| {
                        let shown = shortened(&String::from_utf8_lossy(path.bytes()));
                        Error::new(Kind::Invalid, format!("the store cannot give a key for `{shown}`: it is not UTF-8"))
                            .at(Field::Paths)
                    })?;
                    match path {
                        Path::Object(_) => {
                            unlisted += 1;
                            claims.object_paths.push(text.to_owned());
                        }
                        // R2 compares text: `data/tbl` alone would open `data/tbl2` too.
                        Path::Directory(_) => {
                            claims.object_paths.push(text.to_owned());
                            claims.prefix_paths.push(format!("{text}/"));
                        }
                        Path::Prefix(_) => claims.prefix_paths.push(text.to_owned()),
                    }
                }
                if unlisted > 0 && wanted.contains(Action::ListBucket) {
                    let why = format!("{unlisted} of the {} paths cannot be listed", paths.len());
                    narrowed.push(Narrowed::action(Action::ListBucket, why));
                }
                for action in [Action::GetBucketConfig, Action::PutBucketConfig] {
                    if wanted.contains(action) {
                        narrowed.push(Narrowed::action(action, "only a whole bucket can have it"));
                        wanted = wanted.without(action);
                    }
                }
                Some(claims)
            }
        };
        let exact = [
            Permission::ObjectReadOnly,
            Permission::ObjectReadWrite,
            Permission::AdminReadOnly,
            Permission::AdminReadWrite,
        ]
        .into_iter()
        .find(|permission| permission.is(wanted));
        let (permission, actions) = match exact {
            // With single operations even what no permission tells apart is told.
            Some(permission) if !self.actions_claim || permission.allows() == wanted => (permission, Vec::new()),
            // SECURITY: without a single operation the claim would be left out, and the permission would count alone.
            Some(_) | None if self.actions_claim && !operations(wanted).is_empty() => {
                for action in [Action::GetBucketConfig, Action::PutBucketConfig] {
                    if wanted.contains(action) {
                        narrowed.push(Narrowed::action(action, "no single operation of R2's is that"));
                    }
                }
                (Permission::around(wanted), operations(wanted))
            }
            Some(_) | None => {
                return Err(Error::new(
                    Kind::Invalid,
                    format!(
                        "R2 has no permission for exactly {wanted}; it has read, read and write, and both with the bucket's configuration"
                    ),
                ));
            }
        };
        if !wanted.contains(Action::PutObject) {
            narrowed.extend(Beyond::of(BEYOND, wanted));
        }
        Ok(Meant { permission, actions, paths, narrowed })
    }

    fn lifetime(wish: &Wish<'_>) -> Lifetime {
        wish.lifetime.min(LONGEST)
    }

    fn local(&self, secret: &Secret<String>, wish: &Wish<'_>, meant: Meant) -> Result<Fetched, Error> {
        let iat = wish.now.as_second();
        let exp = iat.saturating_add(i64::from(Self::lifetime(wish).as_secs()));
        let claims = Claims {
            bucket: wish.rights.bucket().as_str(),
            scope: meant.permission,
            actions: meant.actions,
            paths: meant.paths,
            sub: &self.account_id,
            iss: &self.parent_access_key_id,
            aud: &self.host,
            iat,
            exp,
        };
        let (secret_access_key, session_token) = token::mint(&claims, secret)?;
        if session_token.reveal().len() > MAX_TOKEN_BYTES {
            return Err(too_many(wish.rights));
        }
        let expiration = jiff::Timestamp::from_second(exp)
            .map_err(|error| Error::internal("a credential would end after the end of time").caused_by(error))?;
        Ok(Fetched {
            credential: Credential::S3(S3Keys {
                access_key_id: self.parent_access_key_id.clone(),
                secret_access_key,
                session_token,
                expiration,
            }),
            upstream_request_id: None,
            packed_policy_percent: None,
            narrowed: meant.narrowed,
        })
    }

    async fn fetched(&self, api_token: &Secret<String>, wish: &Wish<'_>, meant: Meant) -> Result<Fetched, Error> {
        let lifetime = Self::lifetime(wish);
        // SECURITY: an empty list is left out, and both are only when the whole bucket is meant: a set of paths is never empty.
        let body = ApiRequest {
            bucket: wish.rights.bucket().as_str(),
            parent_access_key_id: &self.parent_access_key_id,
            permission: meant.permission,
            ttl_seconds: lifetime.as_secs(),
            prefixes: meant.paths.as_ref().map(|paths| paths.prefix_paths.as_slice()).filter(|list| !list.is_empty()),
            objects: meant.paths.as_ref().map(|paths| paths.object_paths.as_slice()).filter(|list| !list.is_empty()),
        };
        let body = serde_json::to_string(&body)
            .map_err(|error| Error::internal("a request to R2 could not be written").caused_by(error))?;
        let mut request = self
            .web
            .post(&self.endpoint, "application/json", body)
            .header(AUTHORIZATION, hidden(&format!("Bearer {}", api_token.reveal()))?);
        if let Some(jurisdiction) = &self.jurisdiction {
            request = request.header("cf-r2-jurisdiction", jurisdiction);
        }
        let answer = self.web.ask(WHOM, request).await?;
        let id = answer.header("cf-ray").and_then(request_id);
        let keys = read(&answer)?;
        // The answer does not say when it ends. The token does, if it is one as documented; if not, what was asked for counts.
        let expiration = token::expiration(&keys.session_token).unwrap_or_else(|| lifetime.ends(wish.now));
        plausible_end(expiration, lifetime, self.web.now())?;
        let secret_access_key = Secret::new(keys.secret_access_key);
        Ok(Fetched {
            credential: Credential::S3(S3Keys {
                access_key_id: keys.access_key_id,
                secret_access_key,
                session_token: Secret::new(keys.session_token),
                expiration,
            }),
            upstream_request_id: id,
            packed_policy_percent: None,
            narrowed: meant.narrowed,
        })
    }
}

fn too_many(rights: &Rights) -> Error {
    let count = match rights.parts().places() {
        Paths::Whole => 1,
        Paths::Only(paths) => paths.len(),
    };
    Error::new(Kind::Invalid, format!("{count} paths do not fit into one credential of this storage; request several"))
        .at(Field::Paths)
}

#[async_trait]
impl Upstream for R2 {
    fn check(&self, rights: &Rights) -> Result<(), Error> {
        let meant = self.meant(rights)?;
        // Base64 of base64: a byte of a path becomes not quite two of the token.
        let bytes: usize = meant
            .paths
            .iter()
            .flat_map(|paths| paths.prefix_paths.iter().chain(&paths.object_paths))
            .map(|path| path.len() + 3)
            .sum();
        if bytes.saturating_mul(16) / 9 > MAX_TOKEN_BYTES { Err(too_many(rights)) } else { Ok(()) }
    }

    fn signs(&self) -> bool {
        matches!(self.maker, Maker::Local(_))
    }

    fn sign(&self, wish: &Wish<'_>) -> Option<Result<Fetched, Error>> {
        match &self.maker {
            Maker::Local(secret) => Some(self.meant(wish.rights).and_then(|meant| self.local(secret, wish, meant))),
            Maker::Api(_) => None,
        }
    }

    async fn fetch(&self, wish: &Wish<'_>) -> Result<Fetched, Error> {
        let meant = self.meant(wish.rights)?;
        match &self.maker {
            Maker::Local(secret) => self.local(secret, wish, meant),
            Maker::Api(token) => self.fetched(token, wish, meant).await,
        }
    }

    fn check_urls(&self) -> Result<(), Error> {
        let said = "each URL of R2 has a credential of its own, made here where the secrets are a `secret_access_key`";
        matches!(self.maker, Maker::Local(_)).then_some(()).ok_or_else(|| Error::new(Kind::Invalid, said))
    }

    fn facts(&self) -> Facts {
        Facts {
            endpoint: Some(format!("https://{}", self.host).into()),
            internal_endpoint: None,
            region: "auto".into(),
            least: SHORTEST,
            most: LONGEST,
            revocation: by_lever(self.lever.is_some()),
        }
    }

    fn hosts(&self) -> &Hosts {
        self.web.hosts()
    }

    /// Deletes the parent: whatever instant is named, all of its credentials end, and there are no others until there is another
    /// parent.
    async fn end_credentials(&self, _before: jiff::Timestamp) -> Result<Ended, Error> {
        let parent = &self.parent_access_key_id;
        let Some(Lever { url, api_token }) = &self.lever else {
            let instead = "delete or roll the parent's API token at Cloudflare and set another parent key here, or set `revoke` of \
                           the store's settings";
            return Err(by_hand(instead).at("settings.revoke"));
        };
        let request = self
            .web
            .request(Method::DELETE, url)
            .header(AUTHORIZATION, hidden(&format!("Bearer {}", api_token.reveal()))?);
        let answer = self.web.ask(WHOM, request).await?;
        // SECURITY: nothing there is not taken for deleted: another owner's parent looks the same, and lives on.
        let said = if answer.status.as_u16() == 404 {
            "the store knows no such parent: it was deleted before, or `revoke` names the wrong owner"
        } else {
            "the store refused to delete the parent"
        };
        accepted(&answer, said)?;
        Ok(Ended {
            done: format!("the parent key `{parent}` is deleted, and with it everything that was made of it"),
            notes: vec![
                "every credential of this parent key is ended, also those that others made of it, and the key itself"
                    .to_owned(),
                "nothing that is vended from now on opens anything until the storage is given another parent key: its \
                 `parent_access_key_id` and the secret beside it"
                    .to_owned(),
                "Cloudflare says that this takes effect at once, and not how long all of its servers may take"
                    .to_owned(),
            ],
        })
    }
}

impl Permission {
    /// What it allows, as Cloudflare publishes it.
    fn allows(self) -> Actions {
        let read = Actions::READ.with(Action::ListUploads);
        match self {
            Self::ObjectReadOnly => read,
            Self::ObjectReadWrite => Actions::READ_WRITE,
            Self::AdminReadOnly => read.with(Action::GetBucketConfig),
            Self::AdminReadWrite => Actions::READ_WRITE.with(Action::GetBucketConfig).with(Action::PutBucketConfig),
        }
    }

    /// Whether it allows what is wanted and nothing else that counts. R2 does not tell listing keys from listing unfinished
    /// uploads, which shows no more than keys under the same prefixes; nor from asking where the bucket is.
    fn is(self, wanted: Actions) -> bool {
        let counts = |actions: Actions| {
            let told =
                if actions.contains(Action::ListBucket) { actions.without(Action::ListUploads) } else { actions };
            told.without(Action::GetBucketInfo)
        };
        counts(self.allows()) == counts(wanted)
    }

    /// The least that allows all of it.
    fn around(wanted: Actions) -> Self {
        [Self::ObjectReadOnly, Self::AdminReadOnly, Self::ObjectReadWrite]
            .into_iter()
            .find(|permission| permission.allows().contains_all(wanted))
            .unwrap_or(Self::AdminReadWrite)
    }
}

/// R2's names of what the scope allows.
fn operations(actions: Actions) -> Vec<&'static str> {
    actions
        .iter()
        .flat_map(|action| match action {
            Action::GetObject => &["GetObject", "HeadObject"][..],
            Action::ListBucket => &["ListObjectsV1", "ListObjectsV2"],
            Action::PutObject => &["PutObject", "CopyObject"],
            Action::DeleteObject => &["DeleteObject", "DeleteObjects"],
            Action::MultipartUpload => {
                &["CreateMultipartUpload", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload", "ListParts"]
            }
            Action::AbortUpload => &["AbortMultipartUpload"],
            Action::ListUploads => &["ListMultipartUploads"],
            Action::GetBucketInfo => &["GetBucketLocation"],
            // Not among those that are published; the permission alone allows them.
            Action::GetBucketConfig | Action::PutBucketConfig => &[],
        })
        .copied()
        .collect()
}
