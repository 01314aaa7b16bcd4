//! A credential as each tool wants it.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cli::creds::key::Key;
use crate::cli::creds::quote;

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
    /// S3 URIs that carry the credential, as DuckDB reads them
    Uri,
}

impl Format {
    /// Every format.
    pub(crate) const ALL: [Self; 17] = [
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
            | Self::Uri => "to load them: eval \"$(valetkey creds … --format env)\"",
        }
    }
}

/// Writes a credential. No newline at its end.
pub(super) fn render(format: Format, key: &Key) -> String {
    match format {
        Format::Env => {
            // A profile that is set wins over keys in some SDKs; it would sign with somebody else's.
            let unset = "unset AWS_PROFILE AWS_DEFAULT_PROFILE AWS_SECURITY_TOKEN\n".to_owned();
            unset + &lines(key, |name, value| format!("export {name}={}", quote::posix(value)))
        }
        Format::Fish => {
            let unset = "set -e AWS_PROFILE; set -e AWS_DEFAULT_PROFILE; set -e AWS_SECURITY_TOKEN\n".to_owned();
            unset + &lines(key, |name, value| format!("set -gx {name} {}", quote::fish(value)))
        }
        Format::Powershell => {
            let unset = "$env:AWS_PROFILE = $null; $env:AWS_DEFAULT_PROFILE = $null; $env:AWS_SECURITY_TOKEN = $null\n";
            unset.to_owned() + &lines(key, |name, value| format!("$env:{name} = {}", quote::powershell(value)))
        }
        Format::Dotenv => lines(key, |name, value| format!("{name}={}", quote::dotenv(value))),
        Format::Json => json(&key.wire()),
        Format::Process => json(&Process {
            version: 1,
            access_key_id: &key.access_key_id,
            secret_access_key: key.secret_access_key.reveal(),
            session_token: key.session_token.reveal(),
            expiration: key.expires(),
        }),
        Format::Container => json(&Container {
            access_key_id: &key.access_key_id,
            secret_access_key: key.secret_access_key.reveal(),
            token: key.session_token.reveal(),
            expiration: key.expires(),
        }),
        Format::Duckdb => duckdb(key),
        Format::Polars => polars(key),
        Format::Boto3 => boto3(key),
        Format::S3fs => s3fs(key),
        Format::Pyarrow => pyarrow(key),
        Format::Obstore => obstore(key),
        Format::Spark => spark(key),
        Format::Rclone => rclone(key),
        Format::S3cmd => s3cmd(key),
        Format::Uri => uri(key),
    }
}

/// The variables every SDK reads.
fn variables(key: &Key) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("AWS_ACCESS_KEY_ID", key.access_key_id.clone()),
        ("AWS_SECRET_ACCESS_KEY", key.secret_access_key.reveal().clone()),
        ("AWS_SESSION_TOKEN", key.session_token.reveal().clone()),
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

fn lines(key: &Key, line: impl Fn(&str, &str) -> String) -> String {
    variables(key).iter().map(|(name, value)| line(name, value)).collect::<Vec<_>>().join("\n")
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

fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn duckdb(key: &Key) -> String {
    // A secret is chosen by the longest scope a path starts with; with several paths the bucket is what they share.
    let scope = match (key.prefixes.as_slice(), key.objects.as_slice(), key.raw_prefixes.as_slice()) {
        ([prefix], [], []) if !prefix.is_empty() => format!("s3://{}/{prefix}", key.bucket),
        _ => format!("s3://{}/", key.bucket),
    };
    format!(
        "CREATE OR REPLACE SECRET valetkey (\n    TYPE s3,\n    KEY_ID {},\n    SECRET {},\n    SESSION_TOKEN {},\n    \
         REGION {},\n    ENDPOINT {},\n    URL_STYLE 'path',\n    USE_SSL {},\n    SCOPE {}\n);",
        quote::sql(&key.access_key_id),
        quote::sql(key.secret_access_key.reveal()),
        quote::sql(key.session_token.reveal()),
        quote::sql(&key.region),
        quote::sql(key.endpoint_host()),
        !key.plain_http(),
        quote::sql(&scope),
    )
}

/// Lines of comment with the places the credential opens.
fn places(key: &Key) -> String {
    key.places().iter().fold(String::new(), |mut text, place| {
        let _ = writeln!(text, "# opens {}", quote::python(place));
        text
    })
}

fn polars(key: &Key) -> String {
    let mut text = String::from("import polars as pl\n\nstorage_options = {\n");
    let mut options = vec![
        ("aws_access_key_id", key.access_key_id.as_str()),
        ("aws_secret_access_key", key.secret_access_key.reveal()),
        ("aws_session_token", key.session_token.reveal()),
        ("aws_endpoint_url", &key.endpoint_url),
        ("aws_region", &key.region),
    ];
    if key.plain_http() {
        options.push(("aws_allow_http", "true"));
    }
    for (name, value) in options {
        let _ = writeln!(text, "    {}: {},", quote::python(name), quote::python(value));
    }
    let first = key.places().into_iter().next().unwrap_or_default();
    let glob = if first.ends_with('/') { format!("{first}**/*.parquet") } else { first };
    let _ = write!(
        text,
        "}}\n{}# frame = pl.scan_parquet({}, storage_options=storage_options)",
        places(key),
        quote::python(&glob)
    );
    text
}

fn boto3(key: &Key) -> String {
    format!(
        "import boto3\n\n{}s3 = boto3.client(\n    \"s3\",\n    endpoint_url={},\n    region_name={},\n    \
         aws_access_key_id={},\n    aws_secret_access_key={},\n    aws_session_token={},\n)",
        places(key),
        quote::python(&key.endpoint_url),
        quote::python(&key.region),
        quote::python(&key.access_key_id),
        quote::python(key.secret_access_key.reveal()),
        quote::python(key.session_token.reveal()),
    )
}

fn s3fs(key: &Key) -> String {
    format!(
        "import s3fs\n\n{}fs = s3fs.S3FileSystem(\n    key={},\n    secret={},\n    token={},\n    endpoint_url={},\n    \
         client_kwargs={{\"region_name\": {}}},\n)",
        places(key),
        quote::python(&key.access_key_id),
        quote::python(key.secret_access_key.reveal()),
        quote::python(key.session_token.reveal()),
        quote::python(&key.endpoint_url),
        quote::python(&key.region),
    )
}

fn pyarrow(key: &Key) -> String {
    format!(
        "from pyarrow import fs\n\n{}s3 = fs.S3FileSystem(\n    access_key={},\n    secret_key={},\n    session_token={},\n    \
         region={},\n    scheme={},\n    endpoint_override={},\n)",
        places(key),
        quote::python(&key.access_key_id),
        quote::python(key.secret_access_key.reveal()),
        quote::python(key.session_token.reveal()),
        quote::python(&key.region),
        quote::python(if key.plain_http() { "http" } else { "https" }),
        quote::python(key.endpoint_host()),
    )
}

fn obstore(key: &Key) -> String {
    let allow = if key.plain_http() { "\n    client_options={\"allow_http\": True}," } else { "" };
    format!(
        "from obstore.store import S3Store\n\n{}store = S3Store(\n    {},\n    access_key_id={},\n    \
         secret_access_key={},\n    session_token={},\n    endpoint={},\n    region={},{allow}\n)",
        places(key),
        quote::python(&key.bucket),
        quote::python(&key.access_key_id),
        quote::python(key.secret_access_key.reveal()),
        quote::python(key.session_token.reveal()),
        quote::python(&key.endpoint_url),
        quote::python(&key.region),
    )
}

fn spark(key: &Key) -> String {
    let own = |name: &str| format!("spark.hadoop.fs.s3a.bucket.{}.{name}", key.bucket);
    [
        (own("aws.credentials.provider"), "org.apache.hadoop.fs.s3a.TemporaryAWSCredentialsProvider"),
        (own("access.key"), &key.access_key_id),
        (own("secret.key"), key.secret_access_key.reveal()),
        (own("session.token"), key.session_token.reveal()),
        (own("endpoint"), &key.endpoint_url),
        (own("endpoint.region"), &key.region),
        (own("path.style.access"), "true"),
        (own("connection.ssl.enabled"), if key.plain_http() { "false" } else { "true" }),
    ]
    .map(|(name, value)| format!("{name} {value}"))
    .join("\n")
}

fn rclone(key: &Key) -> String {
    format!(
        "[valetkey]\ntype = s3\nprovider = Other\nenv_auth = false\naccess_key_id = {}\nsecret_access_key = {}\n\
         session_token = {}\nregion = {}\nendpoint = {}\nforce_path_style = true\nno_check_bucket = true",
        key.access_key_id,
        key.secret_access_key.reveal(),
        key.session_token.reveal(),
        key.region,
        key.endpoint_url,
    )
}

fn s3cmd(key: &Key) -> String {
    format!(
        "[default]\naccess_key = {}\nsecret_key = {}\naccess_token = {}\nhost_base = {host}\nhost_bucket = {host}\n\
         bucket_location = {}\nuse_https = {}",
        key.access_key_id,
        key.secret_access_key.reveal(),
        key.session_token.reveal(),
        key.region,
        if key.plain_http() { "False" } else { "True" },
        host = key.endpoint_host(),
    )
}

fn uri(key: &Key) -> String {
    let query = [
        ("s3_region", key.region.as_str()),
        ("s3_access_key_id", &key.access_key_id),
        ("s3_secret_access_key", key.secret_access_key.reveal()),
        ("s3_session_token", key.session_token.reveal()),
        ("s3_endpoint", key.endpoint_host()),
        ("s3_url_style", "path"),
        ("s3_use_ssl", if key.plain_http() { "false" } else { "true" }),
    ]
    .map(|(name, value)| format!("{name}={}", quote::query(value)))
    .join("&");
    key.places().iter().map(|place| format!("{}?{query}", one_line(place))).collect::<Vec<_>>().join("\n")
}

/// A key may hold a line break; a line of ours must not.
fn one_line(place: &str) -> String {
    place
        .chars()
        .flat_map(|char| if char.is_control() { char.escape_default().collect() } else { vec![char] })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;
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

    #[test]
    fn every_format_carries_the_whole_credential() {
        let key = key();
        let all: Vec<String> = Format::ALL
            .into_iter()
            .map(|format| {
                let name = format.to_possible_value().unwrap().get_name().to_owned();
                format!("--- {name}\n{}", render(format, &key))
            })
            .collect();
        insta::assert_snapshot!(all.join("\n"));
    }

    #[cfg(unix)]
    #[test]
    fn a_posix_shell_that_evaluates_env_holds_the_credential() {
        let script = format!("{}\nprintf %s \"$AWS_SECRET_ACCESS_KEY\"", render(Format::Env, &key()));
        let read = std::process::Command::new("sh").args(["-eu", "-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(read.stdout).unwrap(), "se'cr\\et$x");
    }

    #[test]
    fn a_key_with_a_line_break_cannot_add_a_line() {
        let mut key = key();
        key.prefixes = vec![];
        key.objects = vec!["a\nimport os".to_owned()];
        for format in Format::ALL {
            let text = render(format, &key);
            assert!(!text.lines().any(|line| line.starts_with("import os")), "{text}");
        }
        assert!(!key.summary().is_empty());
    }
}
