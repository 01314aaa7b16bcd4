//! `valetkey bucket cors`: which pages of other origins may use a bucket at the server's S3 endpoint.

use std::path::PathBuf;

use serde_json::{Value, json};

use valetkey_dialects::native::api::cors::{CorsRequest, CorsRule};
use valetkey_dialects::native::api::operations as op;

use crate::cli::client::{Client, Route};
use crate::cli::failure::Failure;
use crate::cli::output::Out;
use crate::cli::show;

/// Which pages of other origins may use a bucket
#[derive(Debug, clap::Args)]
pub(crate) struct Cors {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show a bucket's rules
    Show {
        /// The bucket
        #[arg(value_name = "BUCKET")]
        bucket: String,
    },
    /// Give a bucket one rule, or those of a file, in place of what it has
    Set(Box<Set>),
    /// Take a bucket's rules away; it has the server's again (`s3.cors_origins`)
    Rm {
        /// The bucket
        #[arg(value_name = "BUCKET")]
        bucket: String,
    },
}

#[derive(Debug, clap::Args)]
struct Set {
    /// The bucket
    #[arg(value_name = "BUCKET")]
    bucket: String,
    /// An origin, as in `https://app.example.com`; one `*` stands for any text
    #[arg(long = "origin", value_name = "ORIGIN", required_unless_present = "file")]
    origins: Vec<String>,
    /// A method that pages may use; GET and HEAD, if none is said
    #[arg(long = "method", value_name = "METHOD")]
    methods: Vec<String>,
    /// A header that pages may send; any, if none is said
    #[arg(long = "header", value_name = "NAME")]
    headers: Vec<String>,
    /// A header of answers that pages may read; `ETag`, if none is said
    #[arg(long = "expose", value_name = "NAME")]
    exposed: Vec<String>,
    /// For how many seconds a browser may remember
    #[arg(long, value_name = "SECONDS")]
    max_age_secs: Option<u32>,
    /// A file of rules in JSON, as `show --output json` prints them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["origins", "methods", "headers", "exposed", "max_age_secs"])]
    file: Option<PathBuf>,
}

impl Set {
    fn rules(self) -> Result<Value, Failure> {
        if let Some(file) = self.file {
            let text = std::fs::read_to_string(&file)
                .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", file.display())))?;
            return serde_json::from_str(&text)
                .map_err(|error| Failure::usage(format!("{} is not JSON: {error}", file.display())));
        }
        let or = |given: Vec<String>, usual: &[&str]| {
            if given.is_empty() { usual.iter().map(|name| (*name).to_owned()).collect() } else { given }
        };
        let rule = CorsRule {
            id: None,
            allowed_origins: self.origins,
            allowed_methods: or(self.methods, &["GET", "HEAD"]),
            allowed_headers: or(self.headers, &["*"]),
            exposed_headers: or(self.exposed, &["ETag"]),
            max_age_secs: self.max_age_secs,
        };
        Ok(json!(CorsRequest { rules: vec![rule] }))
    }
}

pub(super) const COLUMNS: &[show::Column] = &[
    ("ORIGINS", &["allowed_origins"]),
    ("METHODS", &["allowed_methods"]),
    ("HEADERS", &["allowed_headers"]),
    ("EXPOSED", &["exposed_headers"]),
    ("MAX AGE", &["max_age_secs"]),
];

/// Runs `valetkey bucket cors`.
pub(crate) async fn run(args: Cors, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    match args.command {
        Command::Show { bucket } => {
            let answer = client.ask(Route::to(op::GET_BUCKET_CORS, [&bucket])).await?;
            show::list(out, &answer, COLUMNS, "the bucket has no rules of its own")
        }
        Command::Set(set) => {
            let route = Route::to(op::SET_BUCKET_CORS, [&set.bucket]);
            show::list(out, &client.send(route, &set.rules()?).await?, COLUMNS, "")
        }
        Command::Rm { bucket } => {
            let answer = client.ask(Route::to(op::REMOVE_BUCKET_CORS, [&bucket])).await?;
            show::done(out, &answer, &format!("the bucket {bucket} has no rules of its own any more"))
        }
    }
}
