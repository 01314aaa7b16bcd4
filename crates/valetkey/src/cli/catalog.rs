//! `valetkey bucket` and `dataset`: what there is to grant.

use serde_json::Value;

use crate::cli::body::Body;
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
    /// Take a bucket off the record and end every key to it; one of the embedded store goes only empty
    Rm {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
        /// Also the objects in it; of the embedded store only
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

/// Runs `valetkey bucket`.
pub(crate) async fn bucket(args: Bucket, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    const COLUMNS: &[show::Column] = &[("BUCKET", &["bucket"]), ("STORAGE", &["storage"])];
    match args.command {
        BucketCommand::Create { name, storage } => {
            let body = Body::new().set("bucket", name).some("storage", storage);
            show::one(out, &client.post(Route::new(&["buckets"]), &body).await?, &["bucket", "storage"])
        }
        BucketCommand::Ls => {
            let answer = client.get(Route::new(&["buckets"])).await?;
            show::list(out, &answer, COLUMNS, "there are no buckets")
        }
        BucketCommand::Cors(args) => cors::run(args, client, out).await,
        BucketCommand::Rm { name, with_objects, cascade } => {
            let route = cascade.on(Route::new(&["buckets", &name]));
            let route = route.with_some("with_objects", with_objects.then_some("true"));
            remove::run(route, &cascade.how, &format!("bucket {name} is removed"), client, out).await.map(drop)
        }
    }
}

/// Runs `valetkey dataset`.
pub(crate) async fn dataset(args: Dataset, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    const COLUMNS: &[show::Column] = &[
        ("NAME", &["name"]),
        ("TOPIC", &["topic"]),
        ("BUCKET", &["bucket"]),
        ("PREFIX", &["prefix"]),
        ("FORMAT", &["format"]),
        ("FREQUENCY", &["frequency"]),
        ("DESCRIPTION", &["description"]),
    ];
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
            let body = Body::new()
                .set("name", name)
                .set("bucket", place.bucket)
                .set("prefix", place::directory(&directory))
                .set("topic", topic)
                .some("description", description)
                .some("format", format)
                .some("frequency", frequency)
                .some("version", version)
                .some("newest", newest)
                .some("dictionary", dictionary)
                .some("sample", sample);
            let answer = client.post(Route::new(&["datasets"]), &body).await?;
            show::one(out, &answer, &["name", "id", "topic", "bucket", "prefix", "description"])
        }
        DatasetCommand::Ls { bucket } => {
            let answer = client.get(Route::new(&["datasets"]).with_some("bucket", bucket)).await?;
            show::list(out, &answer, COLUMNS, "there are no datasets")
        }
        DatasetCommand::Rm { name, cascade } => {
            let route = cascade.on(Route::new(&["datasets", &name]));
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
            let or_none = |key: String| if key.is_empty() { Value::Null } else { Value::from(key) };
            let body = Body::new()
                .some("name", name)
                .some("topic", topic)
                .some("description", description)
                .some("format", format)
                .some("frequency", frequency)
                .some("version", version)
                .some("deprecated", deprecated)
                .some("newest", newest)
                .some("dictionary", dictionary.map(or_none))
                .some("sample", sample.map(or_none));
            let answer = client.patch(Route::new(&["datasets", &dataset]), &body).await?;
            show::one(out, &answer, &["name", "id", "topic", "bucket", "prefix", "description"])
        }
    }
}
