//! Configuration: flags over environment over file over defaults, read once and passed down.
//!
//! An environment variable is the key in capitals after `VALETKEY_`, with two underscores between section and name:
//! `VALETKEY_API__LISTEN`. With `_FILE` after it, it names a file whose content is the value.

mod audit;
mod check;
mod identity;
mod keys;
mod secret;
mod tables;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use valetkey_core::Secret;
use valetkey_database::{Server, Whereabouts};
use valetkey_s3::{MinFree, Quota};

use crate::node::listen::Network;

pub(crate) use audit::{Audit, AuditFrom};
pub(crate) use identity::{Identity, Issuer};
pub(crate) use keys::{KEYS, OTHERS};
use secret::secret;
pub(crate) use tables::{Catalogs, Iceberg, Sharing};

/// Everything that can be set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) insecure_http: bool,
    pub(crate) console: bool,
    pub(crate) trusted_proxies: Vec<Network>,
    pub(crate) api: Api,
    pub(crate) s3: S3,
    pub(crate) metrics: Metrics,
    pub(crate) log: Log,
    pub(crate) otel: Otel,
    pub(crate) audit: Audit,
    pub(crate) database: Database,
    pub(crate) ledger: Ledger,
    pub(crate) retention: Retention,
    pub(crate) keys: Keys,
    pub(crate) native: Ttl,
    pub(crate) theirstack: TheirStack,
    pub(crate) dreadnode: Dreadnode,
    pub(crate) sts: Sts,
    pub(crate) access_grants: AccessGrants,
    pub(crate) dialects: Dialects,
    pub(crate) sharing: Sharing,
    pub(crate) unity: Catalogs,
    pub(crate) iceberg: Iceberg,
    pub(crate) upstream: Upstream,
    pub(crate) identity: Identity,
    pub(crate) issuer: Issuer,
    pub(crate) gateway: Gateway,
    pub(crate) limits: Limits,
    pub(crate) shutdown: Shutdown,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Api {
    pub(crate) listen: SocketAddr,
    pub(crate) public_url: String,
    pub(crate) tls_cert_file: PathBuf,
    pub(crate) tls_key_file: PathBuf,
    pub(crate) cors_origins: Vec<String>,
    pub(crate) max_body_bytes: usize,
    pub(crate) body_timeout_secs: u64,
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_address: usize,
    pub(crate) proxy_protocol: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub(crate) struct S3 {
    pub(crate) listen: SocketAddr,
    pub(crate) public_url: String,
    pub(crate) internal_url: String,
    pub(crate) tls_cert_file: PathBuf,
    pub(crate) tls_key_file: PathBuf,
    pub(crate) domains: Vec<String>,
    pub(crate) r2_hosts: Vec<String>,
    pub(crate) cors_origins: Vec<String>,
    pub(crate) region: String,
    pub(crate) min_ttl_secs: u32,
    pub(crate) max_ttl_secs: u32,
    pub(crate) max_upload_age_secs: u32,
    pub(crate) min_free_bytes: i64,
    pub(crate) max_account_bytes: u64,
    pub(crate) max_account_objects: u64,
    pub(crate) max_account_uploads: u64,
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_address: usize,
    pub(crate) proxy_protocol: bool,
    pub(crate) http2: bool,
    pub(crate) list_buckets: bool,
    pub(crate) embedded: bool,
    pub(crate) max_staleness_secs: u64,
}

impl S3 {
    /// How much of the disk stays free.
    pub(crate) fn min_free(&self) -> MinFree {
        u64::try_from(self.min_free_bytes).map_or(MinFree::Usual, MinFree::Bytes)
    }

    /// What each account may keep.
    pub(crate) fn quota(&self) -> Quota {
        let some = |most: u64| (most > 0).then_some(most);
        Quota { bytes: some(self.max_account_bytes), objects: some(self.max_account_objects) }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Metrics {
    pub(crate) listen: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) level: String,
    pub(crate) format: LogFormat,
    pub(crate) object_keys: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "a build without OpenTelemetry takes no endpoint"))]
pub(crate) struct Otel {
    pub(crate) endpoint: String,
    #[serde(deserialize_with = "secret")]
    pub(crate) headers: Secret<String>,
    pub(crate) sample_percent: u32,
    pub(crate) metrics_interval_secs: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Auto,
    Json,
    Pretty,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Database {
    #[serde(deserialize_with = "secret")]
    pub(crate) url: Secret<String>,
    #[serde(deserialize_with = "secret")]
    pub(crate) password: Secret<String>,
    pub(crate) max_connections: u32,
    pub(crate) node: String,
    pub(crate) max_staleness_secs: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ledger {
    pub(crate) mode: LedgerMode,
    pub(crate) reserve_bytes: u64,
    pub(crate) archive_dir: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LedgerMode {
    Durable,
    /// `behind` is what it was called at first.
    #[serde(alias = "behind")]
    Relaxed,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "settings say their unit")]
pub(crate) struct Retention {
    pub(crate) refusals_secs: u64,
    pub(crate) requests_secs: u64,
    pub(crate) ledger_secs: u64,
    pub(crate) ended_secs: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keys {
    pub(crate) file: PathBuf,
    #[serde(deserialize_with = "secret")]
    pub(crate) inline: Secret<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ttl {
    pub(crate) default_ttl_secs: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sts {
    pub(crate) default_ttl_secs: u32,
    pub(crate) strict_durations: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccessGrants {
    pub(crate) region: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dialects {
    pub(crate) paths: Vec<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TheirStack {
    pub(crate) default_ttl_secs: u32,
    pub(crate) url_ttl_secs: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gateway {
    pub(crate) local_roots: Vec<PathBuf>,
    pub(crate) timeout_secs: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Upstream {
    pub(crate) max_credentials: usize,
    pub(crate) min_remaining_secs: u32,
    pub(crate) deny_secs: u32,
    pub(crate) token_dirs: Vec<PathBuf>,
    pub(crate) machine_identity_hosts: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dreadnode {
    pub(crate) default_ttl_secs: u32,
    pub(crate) min_sdk_version: String,
    pub(crate) max_blob_bytes: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) body_bytes: usize,
    pub(crate) credentials: Vec<Window>,
    pub(crate) requests: Vec<Window>,
    pub(crate) account_factor: u32,
    pub(crate) strangers: Vec<Window>,
    pub(crate) holdings: Holdings,
}

/// How much accounts may hold, as in `callers:500`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub(crate) struct Holdings(pub(crate) valetkey_database::Holdings);

impl TryFrom<Vec<String>> for Holdings {
    type Error = String;

    fn try_from(list: Vec<String>) -> Result<Self, String> {
        valetkey_database::Holdings::parse(&list).map(Self)
    }
}

/// A window of a rate limit, written `name:requests/seconds`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Window {
    pub(crate) name: String,
    pub(crate) quota: u32,
    pub(crate) secs: u32,
}

impl TryFrom<String> for Window {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(name, rest)| {
            let (quota, secs) = rest.split_once('/')?;
            let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            let (quota, secs) = (quota.parse().ok()?, secs.parse().ok()?);
            (named && quota > 0 && secs > 0).then(|| Self { name: name.to_owned(), quota, secs })
        });
        parsed.ok_or_else(|| {
            format!("`{text}` is not a window; one is written name:requests/seconds, as in `per-minute:1000/60`")
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shutdown {
    pub(crate) delay_secs: u64,
    pub(crate) drain_secs: u64,
}

/// Why the configuration cannot be used. Says which key, where it was set, and what is allowed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unusable(pub(crate) String);

/// Where a value came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    Default,
    File(PathBuf),
    Environment(String),
    Flag,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// The process's environment, read in this one place.
pub(crate) fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("VALETKEY_"))
        .collect()
}

/// What these variables are set to, as far as they are.
pub(crate) fn values_of(names: &[&str]) -> BTreeMap<String, String> {
    let value = |name: &&str| std::env::var_os(name)?.into_string().ok().filter(|value| !value.is_empty());
    names.iter().filter_map(|name| Some(((*name).to_owned(), value(name)?))).collect()
}

/// Settings that are never shown.
const SECRETS: &[&str] = &["audit.webhook_secret", "database.password", "keys.inline", "otel.headers"];

/// Names that others of this program read: the command line, the command's own flags, the tests.
fn is_read_elsewhere(name: &str) -> bool {
    matches!(name, "VALETKEY_CONFIG" | "VALETKEY_BIN")
        || crate::cli::help::VARIABLES.iter().any(|(known, _)| *known == name)
}

/// The layers put together, each key with where it came from.
pub(crate) struct Layers {
    values: BTreeMap<&'static str, (toml::Value, Origin)>,
}

impl Layers {
    /// Reads the file (if there is one), then the environment, then what the flags said.
    pub(crate) fn read(
        file: Option<&Path>,
        environment: &BTreeMap<String, String>,
        flags: &[(&'static str, String)],
    ) -> Result<Self, Unusable> {
        let mut values = BTreeMap::new();
        for key in KEYS {
            let value = parse_toml(key.default)
                .ok_or_else(|| Unusable(format!("the default of `{}` is not TOML", key.path)))?;
            values.insert(key.path, (value, Origin::Default));
        }
        let mut layers = Self { values };
        if let Some(path) = file {
            layers.add_file(path)?;
        }
        layers.add_environment(environment)?;
        for (path, value) in flags {
            layers.set_text(path, value, &Origin::Flag)?;
        }
        Ok(layers)
    }

    fn add_file(&mut self, path: &Path) -> Result<(), Unusable> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Unusable(format!("{} cannot be read: {error}", path.display())))?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            Unusable(format!("{}, line {line}: it is not TOML: {}", path.display(), error.message()))
        })?;
        for (name, value) in table {
            match value {
                toml::Value::Table(section) => {
                    for (inner, value) in section {
                        self.set(&format!("{name}.{inner}"), value, &Origin::File(path.to_owned()))?;
                    }
                }
                value => self.set(&name, value, &Origin::File(path.to_owned()))?,
            }
        }
        Ok(())
    }

    fn add_environment(&mut self, environment: &BTreeMap<String, String>) -> Result<(), Unusable> {
        for (name, value) in environment {
            if is_read_elsewhere(name) {
                continue;
            }
            let Some(rest) = name.strip_prefix("VALETKEY_") else { continue };
            let path_of = |text: &str| text.to_ascii_lowercase().replace("__", ".");
            let origin = Origin::Environment(name.clone());
            let known = |path: &str| KEYS.iter().any(|key| key.path == path);
            match rest.strip_suffix("_FILE") {
                Some(of) if known(&path_of(of)) && !known(&path_of(rest)) => {
                    let text = std::fs::read_to_string(value)
                        .map_err(|error| Unusable(format!("{name}: {value} cannot be read: {error}")))?;
                    self.set_text(&path_of(of), text.trim_end_matches(['\r', '\n']), &origin)?;
                }
                Some(_) | None => self.set_text(&path_of(rest), value, &origin)?,
            }
        }
        Ok(())
    }

    /// Sets a value given as text: read as the kind of value the default is.
    fn set_text(&mut self, path: &str, text: &str, origin: &Origin) -> Result<(), Unusable> {
        let kind = self.values.get(path).map(|(value, _)| value);
        let value = match kind {
            Some(toml::Value::Integer(_)) => text.parse().ok().map(toml::Value::Integer),
            Some(toml::Value::Boolean(_)) => text.parse().ok().map(toml::Value::Boolean),
            Some(toml::Value::Array(_)) => Some(toml::Value::Array(
                text.split(',')
                    .map(str::trim)
                    .filter(|part| !part.is_empty())
                    .map(|part| toml::Value::String(part.to_owned()))
                    .collect(),
            )),
            Some(_) | None => Some(toml::Value::String(text.to_owned())),
        };
        let value = value.ok_or_else(|| {
            let wanted = kind.map_or("text", toml::Value::type_str);
            Unusable(format!("`{path}` ({origin}) is `{}`; it takes a {wanted}", valetkey_core::name::shortened(text)))
        })?;
        self.set(path, value, origin)
    }

    fn set(&mut self, path: &str, value: toml::Value, origin: &Origin) -> Result<(), Unusable> {
        let Some(slot) = KEYS.iter().find(|key| key.path == path).and_then(|key| self.values.get_mut(key.path)) else {
            return Err(Unusable(format!(
                "`{}` ({origin}) is not a setting{}",
                valetkey_core::name::shortened(path),
                meant(path)
            )));
        };
        if slot.0.type_str() != value.type_str() {
            return Err(Unusable(format!(
                "`{path}` ({origin}) is a {}; it takes a {}",
                value.type_str(),
                slot.0.type_str()
            )));
        }
        *slot = (value, origin.clone());
        Ok(())
    }

    /// The configuration, every value checked.
    pub(crate) fn config(&self) -> Result<Config, Unusable> {
        let mut table = toml::Table::new();
        for (path, (value, _)) in &self.values {
            let (section, name) = path.split_once('.').unwrap_or(("", path));
            if section.is_empty() {
                table.insert(name.to_owned(), value.clone());
            } else if let toml::Value::Table(inner) =
                table.entry(section.to_owned()).or_insert_with(|| toml::Value::Table(toml::Table::new()))
            {
                inner.insert(name.to_owned(), value.clone());
            }
        }
        let config: Config = toml::Value::Table(table).try_into().map_err(|error: toml::de::Error| {
            let message = error.to_string();
            let line = message.lines().next().unwrap_or_default();
            let at = message.lines().find_map(|line| line.strip_prefix("in `")).map(|rest| rest.trim_end_matches('`'));
            let origin =
                at.and_then(|at| self.values.get(at)).map(|(_, origin)| format!(" ({origin})")).unwrap_or_default();
            match at {
                Some(at) => Unusable(format!("`{at}`{origin}: {line}")),
                None => Unusable(line.to_owned()),
            }
        })?;
        config.check()
    }

    /// Every key with its value and where that came from; secrets as stars.
    pub(crate) fn rows(&self) -> Vec<[String; 3]> {
        self.values
            .iter()
            .map(|(path, (value, origin))| {
                let shown = if SECRETS.contains(path) && value.as_str() != Some("") {
                    "\"***\"".to_owned()
                } else {
                    without_password(&value.to_string())
                };
                [(*path).to_owned(), shown, origin.to_string()]
            })
            .collect()
    }
}

/// A URL may have a password: `scheme://user:password@host`, or a parameter of its query.
fn without_password(shown: &str) -> String {
    let Some((scheme, rest)) = shown.split_once("://") else { return shown.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let mut kept = match authority.rsplit_once('@').and_then(|(own, _)| own.split_once(':')) {
        Some((user, password)) => {
            format!("{scheme}://{user}:***{}", rest.get(user.len() + 1 + password.len()..).unwrap_or_default())
        }
        None => shown.to_owned(),
    };
    if let Some(at) = kept.find("password=") {
        let value = at + "password=".len();
        let end = kept.get(value..).and_then(|rest| rest.find(['&', '"'])).map_or(kept.len(), |end| value + end);
        kept.replace_range(value..end, "***");
    }
    kept
}

fn parse_toml(value: &str) -> Option<toml::Value> {
    format!("value = {value}").parse::<toml::Table>().ok()?.remove("value")
}

fn meant(path: &str) -> String {
    KEYS.iter()
        .map(|key| (strsim::jaro_winkler(key.path, path), key.path))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|one, two| one.0.total_cmp(&two.0))
        .map_or_else(
            || "; `valetkey server check-config` lists them all".to_owned(),
            |(_, path)| format!("; did you mean `{path}`?"),
        )
}

impl Config {
    /// Where the database is.
    pub(crate) fn database(&self) -> Result<Whereabouts, Unusable> {
        let beside = self.data_dir.join("valetkey.db");
        let Database { url, password, max_connections, .. } = &self.database;
        if url.reveal().is_empty() {
            return Ok(Whereabouts::File(beside));
        }
        let password = (!password.reveal().is_empty()).then_some(password);
        let server = Server::new(url, password, *max_connections, beside);
        server.map(Whereabouts::from).map_err(|why| Unusable(format!("`database.url` {why}")))
    }

    /// The keyring's file.
    pub(crate) fn keyring_file(&self) -> PathBuf {
        if self.keys.file.as_os_str().is_empty() { self.data_dir.join("keyring") } else { self.keys.file.clone() }
    }

    /// The keyring's file, where one is needed and not there.
    pub(crate) fn missing_keyring(&self) -> Option<PathBuf> {
        let file = self.keyring_file();
        (self.keys.inline.reveal().is_empty() && !file.exists()).then_some(file)
    }
}

#[cfg(test)]
mod tests;
