//! What each tool reads so that it renews by itself: a profile of AWS's configuration that asks for credentials, and what names it.

use std::path::{Path, PathBuf};

use crate::cli::configure::edit::Block;
use crate::cli::creds::key::{Key, Material};
use crate::cli::failure::Failure;

/// A tool that can be configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Tool {
    /// A profile of the AWS CLI and SDKs (boto3, s3fs, pyarrow, …)
    Aws,
    /// A remote of rclone, on such a profile; of a Google storage one for `valetkey exec`
    Rclone,
    /// A secret in ~/.duckdbrc, on such a profile
    Duckdb,
    /// A remote of DVC, on such a profile
    Dvc,
    /// Properties of Spark and Hadoop S3A, on such a profile (Hadoop 3.4.2 or newer)
    Spark,
    /// Such a profile, and what to write in a program
    Polars,
    /// A file for s3cmd, which cannot renew: for `valetkey exec --static`
    S3cmd,
}

/// Where tools look for their files.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Files {
    /// The file to write, if it is not where the tool looks for it
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[arg(long, env = "AWS_CONFIG_FILE", hide = true)]
    aws_config_file: Option<PathBuf>,
    #[arg(long, env = "RCLONE_CONFIG", hide = true)]
    rclone_config: Option<PathBuf>,
    #[arg(long, env = "XDG_CONFIG_HOME", hide = true)]
    xdg_config_home: Option<PathBuf>,
    #[arg(long, env = "SPARK_HOME", hide = true)]
    spark_home: Option<PathBuf>,
}

/// What is known of what a tool is to open.
pub(super) struct Opened<'a> {
    pub(super) key: &'a Key,
    /// The command that prints credentials.
    pub(super) process: &'a str,
}

impl Files {
    fn home(below: &str) -> Result<PathBuf, Failure> {
        let home = std::env::home_dir().filter(|home| home.is_absolute());
        home.map(|home| home.join(below))
            .ok_or_else(|| Failure::local("there is no home directory").hint("--file FILE says what to write"))
    }

    fn config(&self, below: &str) -> Result<PathBuf, Failure> {
        match self.xdg_config_home.as_ref().filter(|path| path.is_absolute()) {
            Some(config) => Ok(config.join(below)),
            None => Self::home(&format!(".config/{below}")),
        }
    }

    fn own(&self, usual: Result<PathBuf, Failure>) -> Result<PathBuf, Failure> {
        self.file.clone().map_or(usual, Ok)
    }

    fn aws(&self, tool: Tool) -> Result<PathBuf, Failure> {
        let usual = self.aws_config_file.clone().map_or_else(|| Self::home(".aws/config"), Ok);
        if tool == Tool::Aws { self.own(usual) } else { usual }
    }
}

impl Tool {
    /// The blocks of its files; without what is opened, those that are to be removed.
    pub(super) fn blocks(self, name: &str, files: &Files, opened: Option<&Opened<'_>>) -> Result<Vec<Block>, Failure> {
        let block = |file: PathBuf, comment, head: Option<String>, lines: Option<Vec<String>>| Block {
            file,
            comment,
            name: name.to_owned(),
            head,
            lines,
        };
        let profile = || -> Result<Block, Failure> {
            let head = format!("[profile {name}]");
            let lines = opened.map(|opened| aws(&head, opened));
            Ok(block(files.aws(self)?, "#", Some(head), lines))
        };
        let section = |file: PathBuf, head: String, lines: fn(&Key, &str) -> Vec<String>| {
            let own = opened.map(|opened| [vec![head.clone()], lines(opened.key, name)].concat());
            block(file, "#", Some(head), own)
        };
        Ok(match self {
            Self::Aws | Self::Polars => vec![profile()?],
            Self::Rclone => {
                let usual = files.rclone_config.clone().map_or_else(|| files.config("rclone/rclone.conf"), Ok);
                let (file, head) = (files.own(usual)?, format!("[{name}]"));
                match opened.map(|opened| &opened.key.material) {
                    Some(Material::Google(_)) => vec![section(file, head, rclone_of_google)],
                    _ => vec![profile()?, section(file, head, rclone)],
                }
            }
            Self::Dvc => {
                vec![profile()?, section(files.own(files.config("dvc/config"))?, format!("['remote \"{name}\"']"), dvc)]
            }
            Self::Duckdb => {
                let lines = opened.map(|opened| duckdb(opened.key, name));
                vec![profile()?, block(files.own(Files::home(".duckdbrc"))?, "--", None, lines)]
            }
            Self::Spark => {
                let usual = files.spark_home.as_ref().map(|home| home.join("conf/spark-defaults.conf"));
                let usual = usual.ok_or_else(|| {
                    Failure::usage("nothing says where Spark is").hint("--file FILE names its spark-defaults.conf")
                });
                let lines = opened.map(|opened| spark(opened.key, name));
                vec![profile()?, block(files.own(usual)?, "#", None, lines)]
            }
            Self::S3cmd => {
                let file = files.own(Files::home(&format!(".s3cfg-{name}")))?;
                vec![section(file, "[default]".to_owned(), s3cmd)]
            }
        })
    }

    /// Whether it renews a credential of this kind; one of Google in `valetkey exec`.
    pub(super) const fn renews(self, material: &Material) -> bool {
        matches!((self, material), (_, Material::S3(_)) | (Self::Rclone, Material::Google(_)))
    }

    /// What people call it.
    pub(super) const fn named(self) -> &'static str {
        match self {
            Self::Aws => "a profile of AWS's",
            Self::Rclone => "rclone",
            Self::Duckdb => "DuckDB",
            Self::Dvc => "DVC",
            Self::Spark => "Spark",
            Self::Polars => "a profile for Polars",
            Self::S3cmd => "s3cmd",
        }
    }

    /// What to do with a credential that the tool reads once, if at all: one of Azure, or of Google.
    pub(super) fn instead(self, key: &Key) -> String {
        let once =
            |format: &str| format!("`valetkey creds --format {format}` writes what is good until {}", key.expires());
        match (self, &key.material) {
            (Self::Rclone, Material::Azure(_)) => once("rclone"),
            (Self::Spark, Material::Azure(_)) => once("spark"),
            (Self::Duckdb, Material::Azure(_)) | (Self::Polars, Material::Azure(_) | Material::Google(_)) => {
                "the Python package renews it in your program: clients/python".to_owned()
            }
            _ => "`valetkey exec` runs a command with it".to_owned(),
        }
    }

    /// How it is used then.
    pub(super) fn usage(self, name: &str, key: &Key, files: &[&Path]) -> String {
        let (place, last) = (key.places().into_iter().next().unwrap_or_default(), files.last());
        let file = last.map(|path| path.display().to_string()).unwrap_or_default();
        let endpoint = &key.endpoint_url;
        match self {
            Self::Aws => format!("aws --profile {name} s3 ls {place}"),
            Self::Rclone => {
                let (scheme, place) = place.split_once("://").unwrap_or_default();
                let exec = if scheme == "gs" { "valetkey exec GRANT -- " } else { "" };
                format!("{exec}rclone ls {name}:{place}")
            }
            Self::Duckdb => format!("duckdb -c \"FROM glob('{place}**')\""),
            Self::Dvc => format!("dvc pull --remote {name}"),
            Self::Spark => format!("spark-submit --properties-file {file} …"),
            Self::Polars => format!(
                "pl.scan_parquet(\"{place}\", credential_provider=pl.CredentialProviderAWS(profile_name=\"{name}\"), storage_options={{\"aws_endpoint_url\": \"{endpoint}\"}})"
            ),
            Self::S3cmd => format!("valetkey exec --static GRANT -- s3cmd -c {file} ls {place}"),
        }
    }
}

fn aws(head: &str, opened: &Opened<'_>) -> Vec<String> {
    let Key { endpoint_url, region, .. } = opened.key;
    vec![
        head.to_owned(),
        format!("credential_process = {}", opened.process),
        format!("region = {region}"),
        format!("endpoint_url = {endpoint_url}"),
        "s3 =".to_owned(),
        "  addressing_style = path".to_owned(),
    ]
}

fn rclone(key: &Key, name: &str) -> Vec<String> {
    vec![
        "type = s3".to_owned(),
        "provider = Other".to_owned(),
        "env_auth = true".to_owned(),
        format!("profile = {name}"),
        format!("region = {}", key.region),
        format!("endpoint = {}", key.endpoint_url),
        "force_path_style = true".to_owned(),
        "no_check_bucket = true".to_owned(),
    ]
}

/// Without a secret it takes Google's usual credentials, which are those of the agent in `valetkey exec`.
fn rclone_of_google(_: &Key, _: &str) -> Vec<String> {
    vec![
        "type = google cloud storage".to_owned(),
        "env_auth = true".to_owned(),
        "bucket_policy_only = true".to_owned(),
        "no_check_bucket = true".to_owned(),
    ]
}

fn dvc(key: &Key, name: &str) -> Vec<String> {
    let place = key.places().into_iter().next().unwrap_or_default();
    vec![
        format!("    url = {}", place.trim_end_matches('/')),
        format!("    profile = {name}"),
        format!("    endpointurl = {}", key.endpoint_url),
        format!("    region = {}", key.region),
    ]
}

fn duckdb(key: &Key, name: &str) -> Vec<String> {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let scope = format!("s3://{}/", key.bucket);
    vec![
        format!("CREATE OR REPLACE SECRET {} (", format_args!("\"{name}\"")),
        "    TYPE s3, PROVIDER credential_chain, CHAIN 'config;process', REFRESH auto,".to_owned(),
        format!("    PROFILE {}, REGION {},", quoted(name), quoted(&key.region)),
        format!("    ENDPOINT {}, URL_STYLE 'path', USE_SSL {},", quoted(key.endpoint_host()), !key.plain_http()),
        format!("    SCOPE {}", quoted(&scope)),
        ");".to_owned(),
    ]
}

fn spark(key: &Key, name: &str) -> Vec<String> {
    let own = |property: &str| format!("spark.hadoop.fs.s3a.bucket.{}.{property}", key.bucket);
    vec![
        format!("{} org.apache.hadoop.fs.s3a.auth.ProfileAWSCredentialsProvider", own("aws.credentials.provider")),
        format!("{} {name}", own("auth.profile.name")),
        format!("{} {}", own("endpoint"), key.endpoint_url),
        format!("{} {}", own("endpoint.region"), key.region),
        format!("{} true", own("path.style.access")),
        format!("{} {}", own("connection.ssl.enabled"), !key.plain_http()),
    ]
}

fn s3cmd(key: &Key, _: &str) -> Vec<String> {
    vec![
        format!("host_base = {}", key.endpoint_host()),
        format!("host_bucket = {}", key.endpoint_host()),
        format!("bucket_location = {}", key.region),
        format!("use_https = {}", if key.plain_http() { "False" } else { "True" }),
    ]
}
