//! The forms that tools want a credential in, and the pieces that those of every kind of it are made of.

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

/// Lines that set variables, after others that would win over them are taken away.
pub(crate) fn assignments(format: Format, unset: &[&str], variables: &[(&str, String)]) -> Option<String> {
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

pub(crate) fn json(value: &impl Serialize) -> String {
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

/// A key may hold a line break; a line of ours must not.
pub(super) fn one_line(place: &str) -> String {
    place
        .chars()
        .flat_map(|char| if char.is_control() { char.escape_default().collect() } else { vec![char] })
        .collect()
}
