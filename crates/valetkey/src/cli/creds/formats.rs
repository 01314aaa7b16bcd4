//! A credential as each tool wants it.

use std::fmt::Write as _;

use clap::ValueEnum as _;
use serde::Serialize;

use crate::cli::creds::key::{Key, Material, S3Keys};
use crate::cli::creds::{azure, google, quote};
use crate::cli::failure::Failure;

/// How a credential is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Format {
    /// `export` lines for sh, bash and zsh
    Env,
    /// `set -gx` lines for fish
    Fish,
    /// `$env:` lines for PowerShell
    Powershell,
    /// A `.env` file
    Dotenv,
    /// What the API said
    Json,
    /// For `credential_process` in ~/.aws/config; kept on disk between calls
    Process,
    /// What a container credentials endpoint answers
    Container,
    /// `CREATE SECRET` for DuckDB
    Duckdb,
    /// `storage_options` for Polars (and delta-rs), in Python
    Polars,
    /// An S3 client of boto3, in Python
    Boto3,
    /// An `S3FileSystem` of s3fs, in Python
    S3fs,
    /// An `S3FileSystem` of pyarrow, in Python
    Pyarrow,
    /// An `S3Store` of obstore, in Python
    Obstore,
    /// Properties of Spark and Hadoop S3A
    Spark,
    /// A remote for rclone.conf
    Rclone,
    /// A file for s3cmd
    S3cmd,
    /// URIs that carry the credential: of S3 as DuckDB reads them, of Azure as everything does
    Uri,
    /// An `AzureBlobFileSystem` of adlfs, in Python (for pandas, too)
    Adlfs,
    /// A `GCSFileSystem` of gcsfs, in Python (for pandas, too)
    Gcsfs,
}

impl Format {
    /// Every format.
    pub(crate) const ALL: [Self; 19] = [
        Self::Env,
        Self::Fish,
        Self::Powershell,
        Self::Dotenv,
        Self::Json,
        Self::Process,
        Self::Container,
        Self::Duckdb,
        Self::Polars,
        Self::Boto3,
        Self::S3fs,
        Self::Pyarrow,
        Self::Obstore,
        Self::Spark,
        Self::Rclone,
        Self::S3cmd,
        Self::Uri,
        Self::Adlfs,
        Self::Gcsfs,
    ];

    /// How to use what was printed, for who sees it on a terminal.
    pub(super) const fn how_to_load(self) -> &'static str {
        match self {
            Self::Fish => "to load them: valetkey creds … --format fish | source",
            Self::Powershell => "to load them: valetkey creds … --format powershell | Out-String | Invoke-Expression",
            Self::Env
            | Self::Dotenv
            | Self::Json
            | Self::Process
            | Self::Container
            | Self::Duckdb
            | Self::Polars
            | Self::Boto3
            | Self::S3fs
            | Self::Pyarrow
            | Self::Obstore
            | Self::Spark
            | Self::Rclone
            | Self::S3cmd
            | Self::Uri
            | Self::Adlfs
            | Self::Gcsfs => "to load them: eval \"$(valetkey creds … --format env)\"",
        }
    }
}

/// Writes a credential. No newline at its end.
///
/// # Errors
/// When nobody reads a credential of this kind in that form.
pub(super) fn render(format: Format, key: &Key) -> Result<String, Failure> {
    written(format, key).ok_or_else(|| {
        let name = |format: Format| format.to_possible_value().map(|value| value.get_name().to_owned());
        let fitting = Format::ALL.into_iter().filter(|format| written(*format, key).is_some()).filter_map(name);
        Failure::usage(format!(
            "`--format {}` is not for {}, which is what the store of `{}` gives",
            name(format).unwrap_or_default(),
            key.material.as_str(),
            key.bucket
        ))
        .hint(format!("formats for it are {}", fitting.collect::<Vec<_>>().join(", ")))
    })
}

/// A credential in that form; nothing where nobody reads it so.
fn written(format: Format, key: &Key) -> Option<String> {
    match &key.material {
        Material::S3(s3) => for_s3(format, key, s3),
        Material::Azure(sas) => azure::render(format, key, sas),
        Material::Google(token) => google::render(format, key, token),
    }
}

/// Lines that set variables, after others that would win over them are taken away.
pub(super) fn assignments(format: Format, unset: &[&str], variables: &[(&'static str, String)]) -> Option<String> {
    let (gone, line): (String, fn(&str, &str) -> String) = match format {
        Format::Env => {
            (format!("unset {}\n", unset.join(" ")), |name, value| format!("export {name}={}", quote::posix(value)))
        }
        Format::Fish => {
            let gone: Vec<String> = unset.iter().map(|name| format!("set -e {name}")).collect();
            (format!("{}\n", gone.join("; ")), |name, value| format!("set -gx {name} {}", quote::fish(value)))
        }
        Format::Powershell => {
            let gone: Vec<String> = unset.iter().map(|name| format!("$env:{name} = $null")).collect();
            (format!("{}\n", gone.join("; ")), |name, value| format!("$env:{name} = {}", quote::powershell(value)))
        }
        Format::Dotenv => (String::new(), |name, value| format!("{name}={}", quote::dotenv(value))),
        _ => return None,
    };
    let lines: Vec<String> = variables.iter().map(|(name, value)| line(name, value)).collect();
    Some(gone + &lines.join("\n"))
}

/// A profile that is set wins over keys in some SDKs; it would sign with somebody else's.
const UNSET: [&str; 3] = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SECURITY_TOKEN"];

fn for_s3(format: Format, key: &Key, s3: &S3Keys) -> Option<String> {
    Some(match format {
        Format::Env | Format::Fish | Format::Powershell | Format::Dotenv => {
            return assignments(format, &UNSET, &variables(key, s3));
        }
        Format::Json => json(&key.wire()),
        Format::Process => json(&Process {
            version: 1,
            access_key_id: &s3.access_key_id,
            secret_access_key: s3.secret_access_key.reveal(),
            session_token: s3.session_token.reveal(),
            expiration: key.expires(),
        }),
        Format::Container => json(&Container {
            access_key_id: &s3.access_key_id,
            secret_access_key: s3.secret_access_key.reveal(),
            token: s3.session_token.reveal(),
            expiration: key.expires(),
        }),
        Format::Duckdb => duckdb(key, s3),
        Format::Polars => polars(key, s3),
        Format::Boto3 => boto3(key, s3),
        Format::S3fs => s3fs(key, s3),
        Format::Pyarrow => pyarrow(key, s3),
        Format::Obstore => obstore(key, s3),
        Format::Spark => spark(key, s3),
        Format::Rclone => rclone(key, s3),
        Format::S3cmd => s3cmd(key, s3),
        Format::Uri => uri(key, s3),
        Format::Adlfs | Format::Gcsfs => return None,
    })
}

/// The variables every SDK reads.
fn variables(key: &Key, s3: &S3Keys) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("AWS_ACCESS_KEY_ID", s3.access_key_id.clone()),
        ("AWS_SECRET_ACCESS_KEY", s3.secret_access_key.reveal().clone()),
        ("AWS_SESSION_TOKEN", s3.session_token.reveal().clone()),
        ("AWS_CREDENTIAL_EXPIRATION", key.expires()),
        ("AWS_REGION", key.region.clone()),
        ("AWS_DEFAULT_REGION", key.region.clone()),
        ("AWS_ENDPOINT_URL_S3", key.endpoint_url.clone()),
        // Older SDKs, and those on object_store, read only this one.
        ("AWS_ENDPOINT_URL", key.endpoint_url.clone()),
    ];
    if key.plain_http() {
        variables.push(("AWS_ALLOW_HTTP", "true".to_owned()));
    }
    variables
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Process<'a> {
    version: u8,
    access_key_id: &'a str,
    secret_access_key: &'a str,
    session_token: &'a str,
    expiration: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Container<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    token: &'a str,
    expiration: String,
}

pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// Which paths a secret of DuckDB is for.
pub(super) fn scope(scheme: &str, key: &Key) -> String {
    // A secret is chosen by the longest scope a path starts with; with several paths the bucket is what they share.
    match (key.prefixes.as_slice(), key.objects.as_slice(), key.raw_prefixes.as_slice()) {
        ([prefix], [], []) if !prefix.is_empty() => format!("{scheme}://{}/{prefix}", key.bucket),
        _ => format!("{scheme}://{}/", key.bucket),
    }
}

fn duckdb(key: &Key, s3: &S3Keys) -> String {
    let scope = scope("s3", key);
    format!(
        "CREATE OR REPLACE SECRET valetkey (\n    TYPE s3,\n    KEY_ID {},\n    SECRET {},\n    SESSION_TOKEN {},\n    \
         REGION {},\n    ENDPOINT {},\n    URL_STYLE 'path',\n    USE_SSL {},\n    SCOPE {}\n);",
        quote::sql(&s3.access_key_id),
        quote::sql(s3.secret_access_key.reveal()),
        quote::sql(s3.session_token.reveal()),
        quote::sql(&key.region),
        quote::sql(key.endpoint_host()),
        !key.plain_http(),
        quote::sql(&scope),
    )
}

/// Lines of comment with the places the credential opens.
pub(super) fn places(key: &Key) -> String {
    key.places().iter().fold(String::new(), |mut text, place| {
        let _ = writeln!(text, "# opens {}", quote::python(place));
        text
    })
}

/// Its Parquet files, as Polars and DuckDB find them.
pub(super) fn glob(key: &Key) -> String {
    let first = key.places().into_iter().next().unwrap_or_default();
    if first.ends_with('/') { format!("{first}**/*.parquet") } else { first }
}

fn polars(key: &Key, s3: &S3Keys) -> String {
    let mut text = String::from("import polars as pl\n\nstorage_options = {\n");
    let mut options = vec![
        ("aws_access_key_id", s3.access_key_id.as_str()),
        ("aws_secret_access_key", s3.secret_access_key.reveal()),
        ("aws_session_token", s3.session_token.reveal()),
        ("aws_endpoint_url", &key.endpoint_url),
        ("aws_region", &key.region),
    ];
    if key.plain_http() {
        options.push(("aws_allow_http", "true"));
    }
    for (name, value) in options {
        let _ = writeln!(text, "    {}: {},", quote::python(name), quote::python(value));
    }
    let glob = glob(key);
    let _ = write!(
        text,
        "}}\n{}# frame = pl.scan_parquet({}, storage_options=storage_options)",
        places(key),
        quote::python(&glob)
    );
    text
}

fn boto3(key: &Key, s3: &S3Keys) -> String {
    format!(
        "import boto3\n\n{}s3 = boto3.client(\n    \"s3\",\n    endpoint_url={},\n    region_name={},\n    \
         aws_access_key_id={},\n    aws_secret_access_key={},\n    aws_session_token={},\n)",
        places(key),
        quote::python(&key.endpoint_url),
        quote::python(&key.region),
        quote::python(&s3.access_key_id),
        quote::python(s3.secret_access_key.reveal()),
        quote::python(s3.session_token.reveal()),
    )
}

/// The endpoint among the client's arguments: the s3fs that pip falls back to beside a newer boto3 (0.4.2) knows no other way.
fn s3fs(key: &Key, s3: &S3Keys) -> String {
    format!(
        "import s3fs\n\n{}fs = s3fs.S3FileSystem(\n    key={},\n    secret={},\n    token={},\n    \
         client_kwargs={{\"endpoint_url\": {}, \"region_name\": {}}},\n)",
        places(key),
        quote::python(&s3.access_key_id),
        quote::python(s3.secret_access_key.reveal()),
        quote::python(s3.session_token.reveal()),
        quote::python(&key.endpoint_url),
        quote::python(&key.region),
    )
}

fn pyarrow(key: &Key, s3: &S3Keys) -> String {
    format!(
        "from pyarrow import fs\n\n{}s3 = fs.S3FileSystem(\n    access_key={},\n    secret_key={},\n    session_token={},\n    \
         region={},\n    scheme={},\n    endpoint_override={},\n)",
        places(key),
        quote::python(&s3.access_key_id),
        quote::python(s3.secret_access_key.reveal()),
        quote::python(s3.session_token.reveal()),
        quote::python(&key.region),
        quote::python(if key.plain_http() { "http" } else { "https" }),
        quote::python(key.endpoint_host()),
    )
}

fn obstore(key: &Key, s3: &S3Keys) -> String {
    let allow = if key.plain_http() { "\n    client_options={\"allow_http\": True}," } else { "" };
    format!(
        "from obstore.store import S3Store\n\n{}store = S3Store(\n    {},\n    access_key_id={},\n    \
         secret_access_key={},\n    session_token={},\n    endpoint={},\n    region={},{allow}\n)",
        places(key),
        quote::python(&key.bucket),
        quote::python(&s3.access_key_id),
        quote::python(s3.secret_access_key.reveal()),
        quote::python(s3.session_token.reveal()),
        quote::python(&key.endpoint_url),
        quote::python(&key.region),
    )
}

fn spark(key: &Key, s3: &S3Keys) -> String {
    let own = |name: &str| format!("spark.hadoop.fs.s3a.bucket.{}.{name}", key.bucket);
    [
        (own("aws.credentials.provider"), "org.apache.hadoop.fs.s3a.TemporaryAWSCredentialsProvider"),
        (own("access.key"), &s3.access_key_id),
        (own("secret.key"), s3.secret_access_key.reveal()),
        (own("session.token"), s3.session_token.reveal()),
        (own("endpoint"), &key.endpoint_url),
        (own("endpoint.region"), &key.region),
        (own("path.style.access"), "true"),
        (own("connection.ssl.enabled"), if key.plain_http() { "false" } else { "true" }),
    ]
    .map(|(name, value)| format!("{name} {value}"))
    .join("\n")
}

fn rclone(key: &Key, s3: &S3Keys) -> String {
    format!(
        "[valetkey]\ntype = s3\nprovider = Other\nenv_auth = false\naccess_key_id = {}\nsecret_access_key = {}\n\
         session_token = {}\nregion = {}\nendpoint = {}\nforce_path_style = true\nno_check_bucket = true",
        s3.access_key_id,
        s3.secret_access_key.reveal(),
        s3.session_token.reveal(),
        key.region,
        key.endpoint_url,
    )
}

fn s3cmd(key: &Key, s3: &S3Keys) -> String {
    format!(
        "[default]\naccess_key = {}\nsecret_key = {}\naccess_token = {}\nhost_base = {host}\nhost_bucket = {host}\n\
         bucket_location = {}\nuse_https = {}",
        s3.access_key_id,
        s3.secret_access_key.reveal(),
        s3.session_token.reveal(),
        key.region,
        if key.plain_http() { "False" } else { "True" },
        host = key.endpoint_host(),
    )
}

fn uri(key: &Key, s3: &S3Keys) -> String {
    let query = [
        ("s3_region", key.region.as_str()),
        ("s3_access_key_id", &s3.access_key_id),
        ("s3_secret_access_key", s3.secret_access_key.reveal()),
        ("s3_session_token", s3.session_token.reveal()),
        ("s3_endpoint", key.endpoint_host()),
        ("s3_url_style", "path"),
        ("s3_use_ssl", if key.plain_http() { "false" } else { "true" }),
    ]
    .map(|(name, value)| format!("{name}={}", quote::query(value)))
    .join("&");
    key.places().iter().map(|place| format!("{}?{query}", one_line(place))).collect::<Vec<_>>().join("\n")
}

/// A key may hold a line break; a line of ours must not.
pub(super) fn one_line(place: &str) -> String {
    place
        .chars()
        .flat_map(|char| if char.is_control() { char.escape_default().collect() } else { vec![char] })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key() -> Key {
        Key::read(&json!({
            "lease_id": "lse_1",
            "access_key_id": "VKAKID",
            "secret_access_key": "se'cr\\et$x",
            "session_token": "to/ken+=",
            "expiration": "2026-01-02T03:04:05.999Z",
            "endpoint_url": "http://127.0.0.1:7071/",
            "region": "auto",
            "bucket": "lake",
            "prefixes": ["flights/daily"],
            "access": "read",
        }))
        .unwrap()
    }

    #[test]
    fn every_format_is_listed_once() {
        assert_eq!(Format::ALL.as_slice(), Format::value_variants());
    }

    /// A credential of a store of Azure, in a directory.
    fn azure() -> Key {
        Key::read(&json!({
            "lease_id": "lse_1",
            "type": "azure",
            "sas_token": "sv=2024&sig=a%2Bb'c%3D",
            "expiration": "2026-01-02T03:04:05Z",
            "endpoint_url": "https://acct.blob.core.windows.net",
            "region": "auto",
            "bucket": "lake",
            "prefixes": ["flights/day 1"],
            "access": "read",
            "narrowed": ["get-bucket-info: a signature for blobs does not reach the container itself"],
        }))
        .unwrap()
    }

    fn google() -> Key {
        Key::read(&json!({
            "lease_id": "lse_1",
            "type": "google",
            "access_token": "ya29.to'ken",
            "expiration": "2026-01-02T03:04:05Z",
            "endpoint_url": "https://storage.googleapis.com",
            "bucket": "lake",
            "prefixes": ["flights/daily"],
        }))
        .unwrap()
    }

    fn page(key: &Key) -> String {
        let shown = |format: Format| {
            let name = format.to_possible_value().unwrap().get_name().to_owned();
            let text = render(format, key).unwrap_or_else(|failure| format!("! {failure}"));
            format!("--- {name}\n{text}")
        };
        Format::ALL.into_iter().map(shown).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_format_carries_the_whole_credential() {
        insta::assert_snapshot!(page(&key()));
    }

    #[test]
    fn azures_signatures_are_written_where_somebody_reads_them() {
        insta::assert_snapshot!(page(&azure()));
        let mut emulated = azure();
        emulated.endpoint_url = "http://127.0.0.1:10000/devstoreaccount1".to_owned();
        insta::assert_snapshot!(page(&emulated));
    }

    #[test]
    fn googles_tokens_are_written_where_somebody_reads_them() {
        insta::assert_snapshot!(page(&google()));
    }

    #[test]
    fn a_refused_format_names_those_that_fit_and_no_secret() {
        let refused = render(Format::Process, &google()).unwrap_err();
        let hint = refused.hint.clone().unwrap();
        assert!(
            hint.ends_with("env, fish, powershell, dotenv, json, polars, pyarrow, obstore, rclone, gcsfs"),
            "{hint}"
        );
        assert!(!format!("{refused} {hint}").contains("ya29"));
    }

    #[test]
    fn a_credential_without_a_part_of_its_kind_is_none() {
        for (kind, field) in [("s3", "access_key_id"), ("azure", "sas_token"), ("google", "access_token")] {
            let mut answer = json!({
                "type": kind, "access_key_id": "a", "secret_access_key": "b", "session_token": "c", "sas_token": "d",
                "access_token": "e", "expiration": "2026-01-02T03:04:05Z", "endpoint_url": "http://x", "bucket": "b",
            });
            assert!(Key::read(&answer).is_ok());
            answer[field] = "e\nvil".into();
            assert!(Key::read(&answer).is_err(), "{field}");
            answer.as_object_mut().unwrap().remove(field);
            assert!(Key::read(&answer).unwrap_err().to_string().contains(field));
        }
        assert!(Key::read(&json!({"type": "other"})).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_posix_shell_that_evaluates_env_holds_the_credential() {
        let script = format!("{}\nprintf %s \"$AWS_SECRET_ACCESS_KEY\"", render(Format::Env, &key()).unwrap());
        let read = std::process::Command::new("sh").args(["-eu", "-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(read.stdout).unwrap(), "se'cr\\et$x");
    }

    #[test]
    fn a_key_with_a_line_break_cannot_add_a_line() {
        for mut key in [key(), azure(), google()] {
            key.prefixes = vec![];
            key.objects = vec!["a\nimport os".to_owned()];
            for text in Format::ALL.into_iter().filter_map(|format| render(format, &key).ok()) {
                assert!(!text.lines().any(|line| line.starts_with("import os")), "{text}");
            }
            assert!(!key.summary().is_empty());
        }
    }
}
