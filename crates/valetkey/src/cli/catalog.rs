//! `valetkey bucket` and `dataset`: what there is to grant.

use valetkey_dialects::native::api::buckets::BucketRequest;
use valetkey_dialects::native::api::datasets::{DatasetChange, DatasetRequest};
use valetkey_dialects::native::api::given::Whom;
use valetkey_dialects::native::api::operations as op;

use crate::cli::client::{Client, Route};
use crate::cli::cors;
use crate::cli::failure::Failure;
use crate::cli::output::Out;
use crate::cli::place::{self, Place};
use crate::cli::remove::{self, Cascade};
use crate::cli::show;

/// Make, list and remove buckets
#[derive(Debug, clap::Args)]
pub(crate) struct Bucket {
    #[command(subcommand)]
    command: BucketCommand,
}

#[derive(Debug, clap::Subcommand)]
enum BucketCommand {
    /// Make a bucket
    Create {
        /// Its name, unique on the server
        #[arg(value_name = "NAME")]
        name: String,
        /// The storage it is in, if there are several
        #[arg(long, value_name = "STORAGE")]
        storage: Option<String>,
    },
    /// List buckets
    #[command(visible_alias = "list")]
    Ls,
    /// Which pages of other origins may use a bucket from a browser
    Cors(cors::Cors),
    /// Take a bucket off the record and end every credential for it; one of the embedded storage goes only empty
    Rm {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
        /// Also the objects in it; of the embedded storage only
        #[arg(long)]
        with_objects: bool,
        #[command(flatten)]
        cascade: Cascade,
    },
}

/// Make, list, change and remove datasets
#[derive(Debug, clap::Args)]
pub(crate) struct Dataset {
    #[command(subcommand)]
    command: DatasetCommand,
}

#[derive(Debug, clap::Subcommand)]
enum DatasetCommand {
    /// Offer a directory of a bucket as a dataset
    Create(Box<NewDataset>),
    /// List datasets
    #[command(visible_alias = "list")]
    Ls {
        /// Only those in this bucket
        #[arg(long, value_name = "BUCKET")]
        bucket: Option<String>,
    },
    /// Take a dataset out of the catalogue; its objects stay
    Rm {
        /// Its name or id
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        cascade: Cascade,
    },
    /// Change what is said of a dataset
    Set(Box<SetDataset>),
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
struct SetDataset {
    /// Its name or id
    #[arg(value_name = "DATASET")]
    dataset: String,
    /// Its name from now on
    #[arg(long, group = "what")]
    name: Option<String>,
    /// The group it is listed under
    #[arg(long, group = "what")]
    topic: Option<String>,
    /// A sentence for people
    #[arg(long, group = "what")]
    description: Option<String>,
    /// The files' format
    #[arg(long = "file-format", value_name = "FORMAT", group = "what")]
    format: Option<String>,
    /// How often it is renewed
    #[arg(long, group = "what")]
    frequency: Option<String>,
    /// The version of its layout
    #[arg(long = "layout-version", value_name = "VERSION", group = "what")]
    version: Option<String>,
    /// Whether another takes its place: `true` or `false`
    #[arg(long, value_name = "BOOL", group = "what")]
    deprecated: Option<bool>,
    /// Which of its files is the newest one: the one written last, or the one whose key comes last
    #[arg(long, value_name = "time|key", group = "what")]
    newest: Option<String>,
    /// The key, in its bucket, of the object that explains its columns; empty for none
    #[arg(long, value_name = "KEY", group = "what")]
    dictionary: Option<String>,
    /// The key, in its bucket, of the object that shows a few of its rows; empty for none
    #[arg(long, value_name = "KEY", group = "what")]
    sample: Option<String>,
}

#[derive(Debug, clap::Args)]
struct NewDataset {
    /// Its name, unique on the server
    #[arg(value_name = "NAME")]
    name: String,
    /// Where it is
    #[arg(value_name = "s3://BUCKET/DIR")]
    place: String,
    /// The group it is listed under
    #[arg(long)]
    topic: String,
    /// A sentence for people
    #[arg(long)]
    description: Option<String>,
    /// The files' format
    #[arg(long = "file-format", value_name = "FORMAT")]
    format: Option<String>,
    /// How often it is renewed
    #[arg(long)]
    frequency: Option<String>,
    /// The version of its layout
    #[arg(long = "layout-version", value_name = "VERSION")]
    version: Option<String>,
    /// Which of its files is the newest one: the one written last, or the one whose key comes last
    #[arg(long, value_name = "time|key")]
    newest: Option<String>,
    /// The object of its bucket that explains its columns
    #[arg(long, value_name = "s3://BUCKET/KEY")]
    dictionary: Option<String>,
    /// The object of its bucket that shows a few of its rows
    #[arg(long, value_name = "s3://BUCKET/KEY")]
    sample: Option<String>,
}

/// The key of an object beside a dataset's files: of the same bucket, which may be left out.
fn beside(text: Option<String>, bucket: &str, flag: &str) -> Result<Option<String>, Failure> {
    let Some(text) = text else { return Ok(None) };
    if !text.starts_with("s3://") {
        return Ok(Some(text));
    }
    let place = Place::parse(&text)?;
    if place.bucket != bucket {
        let said = format!("`{flag}` names the bucket `{}`, and the dataset is in `{bucket}`", place.bucket);
        return Err(Failure::usage(said).hint("it has to be an object of the dataset's own bucket"));
    }
    place.key.map(Some).ok_or_else(|| Failure::usage(format!("`{flag}` names a bucket and no object in it")))
}

pub(super) const BUCKETS: &[show::Column] = &[("BUCKET", &["bucket"]), ("STORAGE", &["storage"])];

/// Runs `valetkey bucket`.
pub(crate) async fn bucket(args: Bucket, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    match args.command {
        BucketCommand::Create { name, storage } => {
            let body = BucketRequest { bucket: name, storage };
            show::one(out, &client.send(Route::to(op::CREATE_BUCKET, []), &body).await?, &["bucket", "storage"])
        }
        BucketCommand::Ls => {
            let answer = client.ask(Route::to(op::LIST_BUCKETS, [])).await?;
            show::list(out, &answer, BUCKETS, "there are no buckets")
        }
        BucketCommand::Cors(args) => cors::run(args, client, out).await,
        BucketCommand::Rm { name, with_objects, cascade } => {
            let route = cascade.on(Route::to(op::REMOVE_BUCKET, [&name]));
            let route = route.with_some("with_objects", with_objects.then_some("true"));
            remove::run(route, &cascade.how, &format!("bucket {name} is removed"), client, out).await.map(drop)
        }
    }
}

pub(super) const DATASETS: &[show::Column] = &[
    ("NAME", &["name"]),
    ("TOPIC", &["topic"]),
    ("BUCKET", &["bucket"]),
    ("PREFIX", &["prefix"]),
    ("FORMAT", &["format"]),
    ("FREQUENCY", &["frequency"]),
    ("DESCRIPTION", &["description"]),
];

/// Runs `valetkey dataset`.
pub(crate) async fn dataset(args: Dataset, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    match args.command {
        DatasetCommand::Create(new) => {
            let NewDataset { name, place, topic, description, format, frequency, version, newest, dictionary, sample } =
                *new;
            let place = Place::of_rule(&place)?;
            let Some(directory) = place.key else {
                return Err(Failure::usage("a dataset is a directory of a bucket, not all of it")
                    .hint("name one: s3://bucket/directory"));
            };
            let dictionary = beside(dictionary, &place.bucket, "--dictionary")?;
            let sample = beside(sample, &place.bucket, "--sample")?;
            let (bucket, prefix) = (place.bucket, place::directory(&directory));
            let body = DatasetRequest {
                name,
                topic,
                description,
                bucket,
                prefix,
                format,
                frequency,
                version,
                deprecated: None,
                newest,
                dictionary,
                sample,
            };
            let answer = client.send(Route::to(op::CREATE_DATASET, []), &body).await?;
            show::one(out, &answer, &["name", "id", "topic", "bucket", "prefix", "description"])
        }
        DatasetCommand::Ls { bucket } => {
            let answer = client.ask(Route::to(op::LIST_DATASETS, []).with_some("bucket", bucket)).await?;
            show::list(out, &answer, DATASETS, "there are no datasets")
        }
        DatasetCommand::Rm { name, cascade } => {
            let route = cascade.on(Route::to(op::REMOVE_DATASET, [&name]));
            let done = format!("dataset {name} is removed; its objects stay");
            remove::run(route, &cascade.how, &done, client, out).await.map(drop)
        }
        DatasetCommand::Set(set) => {
            let SetDataset {
                dataset,
                name,
                topic,
                description,
                format,
                frequency,
                version,
                deprecated,
                newest,
                dictionary,
                sample,
            } = *set;
            let or_none = |key: Option<String>| match key {
                None => Whom::Unsaid,
                Some(key) if key.is_empty() => Whom::Everyone,
                Some(key) => Whom::Named(key),
            };
            let (dictionary, sample) = (or_none(dictionary), or_none(sample));
            let body = DatasetChange {
                name,
                topic,
                description,
                format,
                frequency,
                version,
                deprecated,
                newest,
                dictionary,
                sample,
            };
            let answer = client.send(Route::to(op::CHANGE_DATASET, [&dataset]), &body).await?;
            show::one(out, &answer, &["name", "id", "topic", "bucket", "prefix", "description"])
        }
    }
}
