//! `valetkey storage`: the object storages there are, who runs them.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use serde_json::value::to_raw_value;
use serde_json::{Map, Value};
use valetkey_core::storage::{Sharing, StorageKind};

use valetkey_dialects::native::api::operations as op;
use valetkey_dialects::native::api::storages::{EndRequest, StorageRequest};
use valetkey_dialects::native::api::word::Worded;

use crate::cli::client::{Client, Route};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::Out;
use crate::cli::remove::{self, Cascade};
use crate::cli::word::word;
use crate::cli::{check, scrub, show, ttl};

/// Make, change, check, list and remove storages
#[derive(Debug, clap::Args)]
pub(crate) struct Storage {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Add a storage
    Create(Box<Create>),
    /// Change what is configured of a storage; what is not given stays
    #[command(visible_alias = "set")]
    Change(Box<Change>),
    /// Prove, live, what credentials of a storage open and what not; ends with 1 if something fails
    Check {
        /// The storage's name or id
        #[arg(value_name = "STORAGE")]
        storage: String,
        /// One of its buckets; the first, if not given
        #[arg(long)]
        bucket: Option<String>,
    },
    /// End every credential of a storage that was vended so far, where its storage has a way
    EndCredentials {
        /// The storage's name or id
        #[arg(value_name = "STORAGE")]
        storage: String,
    },
    /// Read everything that the embedded storage keeps on this machine, and name what is no longer what was written; asks no server,
    /// disturbs none, and ends with 1 if something is damaged
    Scrub(scrub::Args),
    /// List storages
    #[command(visible_alias = "list")]
    Ls,
    /// Take a storage off the record and end every credential for it; nothing at the storage is removed
    Rm {
        /// The storage's name or id
        #[arg(value_name = "STORAGE")]
        storage: String,
        #[command(flatten)]
        cascade: Cascade,
    },
}

impl Storage {
    /// What is done on this machine, without asking a server.
    pub(crate) fn scrub(&self) -> Option<&scrub::Args> {
        match &self.command {
            Command::Scrub(args) => Some(args),
            _ => None,
        }
    }
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Its name, unique on the server
    #[arg(value_name = "NAME")]
    name: String,
    /// The URL its users reach it at; what its kind knows, if not given
    #[arg(value_name = "URL")]
    endpoint: Option<String>,
    /// Who enforces scopes there; `embedded` if not given
    #[arg(long, value_parser = word::<StorageKind>())]
    kind: Option<StorageKind>,
    #[command(flatten)]
    fields: Fields,
}

#[derive(Debug, clap::Args)]
struct Change {
    /// The storage's name or id
    #[arg(value_name = "STORAGE")]
    storage: String,
    /// The URL its users reach it at
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    #[command(flatten)]
    fields: Fields,
}

#[derive(Debug, clap::Args)]
struct Fields {
    /// The URL it is reached at from inside a cluster, if that differs
    #[arg(long, value_name = "URL")]
    internal_endpoint: Option<String>,
    /// The region to name in signatures
    #[arg(long)]
    region: Option<String>,
    /// No credential lives shorter
    #[arg(long, value_name = "TIME", value_parser = ttl::parse)]
    min_ttl: Option<u32>,
    /// No credential lives longer
    #[arg(long, value_name = "TIME", value_parser = ttl::parse)]
    max_ttl: Option<u32>,
    /// A file with all settings of its kind, in JSON; `-` is standard input
    #[arg(long = "settings-from", value_name = "FILE", conflicts_with = "set")]
    settings: Option<String>,
    /// One of the settings, as in `role_arn=arn:aws:iam::123456789012:role/lake` or `revoke.role_policy=valetkey-ended`; the
    /// others stay as they are, and one without a value is taken out
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// A file with its secrets, in JSON; `-` is standard input. They are never arguments: other processes see those
    #[arg(long = "secrets-from", value_name = "FILE")]
    secrets: Option<String>,
    /// Who may be given the same credential
    #[arg(long, value_parser = word::<Sharing>())]
    sharing: Option<Sharing>,
    /// How often it is asked for credentials, on the average
    #[arg(long, value_name = "COUNT")]
    calls_per_sec: Option<u32>,
    /// And how often at once, after a pause
    #[arg(long, value_name = "COUNT", requires = "calls_per_sec")]
    burst: Option<u32>,
}

impl Fields {
    /// The fields, with settings set among those that are there already.
    fn body(self, before: Map<String, Value>) -> Result<StorageRequest, Failure> {
        let Self { internal_endpoint, region, min_ttl, max_ttl, settings, set, secrets, sharing, calls_per_sec, burst } =
            self;
        if settings.as_deref() == Some("-") && secrets.as_deref() == Some("-") {
            return Err(Failure::usage("settings and secrets cannot both come from standard input"));
        }
        let settings = match settings {
            Some(file) => Some(object(&file, "settings")?),
            None if set.is_empty() => None,
            None => Some(set_among(before, &set)?),
        };
        let secrets = secrets.map(|file| object(&file, "secrets")).transpose()?;
        let raw = |object: Option<Value>| object.as_ref().map(to_raw_value).transpose();
        let unwritten = |_| Failure::local("the settings cannot be written");
        Ok(StorageRequest {
            internal_endpoint,
            region,
            min_ttl_secs: min_ttl.map(i64::from),
            max_ttl_secs: max_ttl.map(i64::from),
            settings: raw(settings).map_err(unwritten)?,
            secrets: raw(secrets).map_err(unwritten)?,
            sharing: sharing.map(Worded),
            calls_per_sec,
            burst,
            ..StorageRequest::default()
        })
    }
}

/// Reads a file with a JSON object. Nothing of it is repeated.
fn object(file: &str, what: &str) -> Result<Value, Failure> {
    let mut text = String::new();
    let read = if file == "-" {
        std::io::stdin().lock().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(Path::new(file)).map(|read| text = read)
    };
    read.map_err(|error| Failure::usage(format!("the {what} cannot be read from {file}: {error}")))?;
    match serde_json::from_str(&text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) | Err(_) => Err(Failure::usage(format!("the {what} in {file} are not a JSON object"))),
    }
}

/// The settings a storage has.
async fn settings_now(client: &Client<'_>, storage: &str) -> Result<Map<String, Value>, Failure> {
    let listed = client.ask(Route::to(op::LIST_STORAGES, [])).await?;
    let all = listed.get("storages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let own =
        all.iter().find(|one| show::text(one, &["name"]) == Some(storage) || show::text(one, &["id"]) == Some(storage));
    Ok(own.and_then(|own| own.get("settings")).and_then(Value::as_object).cloned().unwrap_or_default())
}

/// Sets settings given one by one among those there are; `identity.kind=account-key` is a field of a field.
fn set_among(mut all: Map<String, Value>, set: &[String]) -> Result<Value, Failure> {
    let mut names = BTreeSet::new();
    for one in set {
        let (name, value) =
            one.split_once('=').ok_or_else(|| Failure::usage("a setting is NAME=VALUE; this one has no `=`"))?;
        let mut parts: Vec<&str> = name.split('.').collect();
        let last = parts.pop().unwrap_or_default();
        if last.is_empty() || !names.insert(name) {
            return Err(Failure::usage(format!("the setting `{name}` has no name, or is given twice")));
        }
        let mut at = &mut all;
        for part in parts {
            let inner = at.entry(part).or_insert_with(|| Value::Object(Map::new()));
            if inner.is_null() {
                *inner = Value::Object(Map::new());
            }
            at = inner
                .as_object_mut()
                .ok_or_else(|| Failure::usage(format!("the setting `{part}` is a value and a group at once")))?;
        }
        match value {
            "" => drop(at.remove(last)),
            _ => drop(at.insert(last.to_owned(), setting(last, value))),
        }
    }
    Ok(Value::Object(all))
}

/// A setting's value: text, but for what its name says is a number, for `true` and `false`, and for JSON that cannot be meant
/// otherwise. An account's id may be all digits.
fn setting(name: &str, text: &str) -> Value {
    let number = ["_secs", "_ms", "_limit"].iter().any(|end| name.ends_with(end));
    let json = text.starts_with(['{', '[', '"']) || matches!(text, "true" | "false");
    let read = if number || json { serde_json::from_str(text).ok() } else { None };
    read.unwrap_or_else(|| Value::String(text.to_owned()))
}

pub(super) const COLUMNS: &[show::Column] = &[
    ("NAME", &["name"]),
    ("ID", &["id"]),
    ("KIND", &["kind"]),
    ("ENDPOINT", &["endpoint"]),
    ("REGION", &["region"]),
    ("MIN TTL", &["min_ttl_secs"]),
    ("MAX TTL", &["max_ttl_secs"]),
    ("REVOCATION", &["revocation"]),
    ("HEALTH", &["health.state"]),
];

/// Runs `valetkey storage`.
pub(crate) async fn run(args: Storage, client: &Client<'_>, out: &Out) -> Result<Exit, Failure> {
    const SHOWN: &[&str] = &[
        "name",
        "id",
        "kind",
        "endpoint",
        "internal_endpoint",
        "region",
        "min_ttl_secs",
        "max_ttl_secs",
        "revocation",
        "health",
        "settings",
        "has_secrets",
        "sharing",
        "calls_per_sec",
        "burst",
    ];
    match args.command {
        Command::Create(create) => {
            let Create { name, endpoint, kind, fields } = *create;
            let (name, kind) = (Some(name), kind.map(Worded));
            let body = StorageRequest { name, kind, endpoint, ..fields.body(Map::new())? };
            let answer = client.send(Route::to(op::CREATE_STORAGE, []), &body).await?;
            show::one(out, &answer, SHOWN)
        }
        Command::Change(change) => {
            let Change { storage, endpoint, fields } = *change;
            let before = if fields.set.is_empty() { Map::new() } else { settings_now(client, &storage).await? };
            let body = StorageRequest { endpoint, ..fields.body(before)? };
            let answer = client.send(Route::to(op::CHANGE_STORAGE, [&storage]), &body).await?;
            show::one(out, &answer, SHOWN)
        }
        Command::Check { storage, bucket } => return check::one(&storage, bucket, client, out).await,
        Command::Scrub(args) => return scrub::run(&args, out).await,
        Command::EndCredentials { storage } => {
            let answer = client.send(Route::to(op::END_STORAGE_CREDENTIALS, [&storage]), &EndRequest {}).await?;
            show::one(out, &answer, &["storage", "ended", "done", "notes"])
        }
        Command::Rm { storage, cascade } => {
            let route = cascade.on(Route::to(op::REMOVE_STORAGE, [&storage]));
            remove::run(route, &cascade.how, &format!("storage {storage} is removed"), client, out).await.map(drop)
        }
        Command::Ls => {
            let answer = client.ask(Route::to(op::LIST_STORAGES, [])).await?;
            show::list(out, &answer, COLUMNS, "there are no storages")
        }
    }?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(before: &Value, set: &[&str]) -> Result<Value, Failure> {
        let set: Vec<String> = set.iter().map(|one| (*one).to_owned()).collect();
        set_among(before.as_object().cloned().unwrap_or_default(), &set)
    }

    #[test]
    fn single_settings_are_set_among_the_others() {
        let before = json!({"region": "eu-west-1", "revoke": {"role_policy": "valetkey-a", "iam_region": "x"}});
        let after = set(&before, &["revoke.role_policy=valetkey-b", "timeout_ms=500", "region="]).unwrap();
        assert_eq!(after, json!({"revoke": {"role_policy": "valetkey-b", "iam_region": "x"}, "timeout_ms": 500}));
        assert_eq!(set(&json!({"kms": null}), &["kms.key_arns=[]"]).unwrap(), json!({"kms": {"key_arns": []}}));
        for bad in [&["region"][..], &["=x"], &["a=1", "a=2"], &["region.x=1"]] {
            assert!(set(&before, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_all_digits_is_text_unless_it_is_a_number_by_name() {
        let id = "11112222333344445555666677778888";
        let args =
            [format!("parent_access_key_id={id}"), "external_id=12345".to_owned(), "max_duration_secs=900".to_owned()];
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let expected = json!({"parent_access_key_id": id, "external_id": "12345", "max_duration_secs": 900});
        assert_eq!(set(&json!({}), &args).unwrap(), expected);
        let expected = json!({"actions_claim": true, "jurisdiction": "null", "session_tags": {"a": "b"}});
        let args = ["actions_claim=true", "jurisdiction=null", r#"session_tags={"a":"b"}"#];
        assert_eq!(set(&json!({}), &args).unwrap(), expected);
    }
}
