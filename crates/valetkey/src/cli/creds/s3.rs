//! Keys of S3 as each tool wants them.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cli::creds::formats::{Format, assignments, glob, json, one_line, places, scope};
use crate::cli::creds::key::{Key, S3Keys};
use crate::cli::creds::quote;

/// A profile that is set wins over keys in some SDKs; it would sign with another's.
pub(super) const UNSET: [&str; 3] = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SECURITY_TOKEN"];

/// Writes them; nothing where nobody reads them.
pub(super) fn render(format: Format, key: &Key, s3: &S3Keys) -> Option<String> {
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
pub(super) fn variables(key: &Key, s3: &S3Keys) -> Vec<(&'static str, String)> {
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
