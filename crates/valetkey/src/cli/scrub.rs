//! `valetkey storage scrub`: reads what lies in this machine's data directory. It asks no server, for which it may be too late.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use valetkey_database::Whereabouts;
use valetkey_s3::{Damage, Scrubbed};

use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{Format, Out, clean};
use crate::config::{Layers, environment};

/// Where the server's state is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Configuration file of the server
    #[arg(long, env = "VALETKEY_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of the server's state
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

fn shown(damage: &Damage) -> Value {
    let Damage { what, file, why } = damage;
    json!({ "what": what, "file": file, "why": why })
}

/// Reads everything and reports.
pub(crate) async fn run(args: &Args, out: &Out) -> Result<Exit, Failure> {
    let flag = args.data_dir.as_ref().map(|dir| ("data_dir", dir.display().to_string()));
    let layers = Layers::read(args.config.as_deref(), &environment(), &flag.into_iter().collect::<Vec<_>>());
    let config = layers.and_then(|layers| layers.config()).map_err(|error| Failure::usage(error.to_string()))?;
    let found = Mutex::new(Vec::new());
    let mut tell = |damage: &Damage| {
        out.note(&format!("{}: {}", clean(&damage.what), clean(&damage.why)));
        found.lock().unwrap_or_else(PoisonError::into_inner).push(damage.clone());
    };
    let scrubbed = valetkey_s3::scrub(&config.data_dir.join("objects"), &mut tell).await;
    let Scrubbed { objects, parts, bytes, damaged, unproven } =
        scrubbed.map_err(|error| Failure::local(error.to_string()))?;
    let mut tell_blob = |damage: &valetkey_database::Damage| {
        let valetkey_database::Damage { what, file, why } = damage.clone();
        tell(&Damage { what, file, why });
    };
    // Which packages there are a database on a server says, and this asks none.
    let packages = match config.database().map_err(|error| Failure::usage(error.to_string()))? {
        Whereabouts::File(path) => {
            let packages = valetkey_database::scrub(&path, &mut tell_blob).await;
            Some(packages.map_err(|error| Failure::local(error.to_string()))?)
        }
        Whereabouts::Server(_) => None,
    };
    let read = packages.unwrap_or_default();
    let (bytes, damaged) = (bytes + read.bytes, damaged + read.damaged);
    let of_packages = packages.map(|read| (read.blobs, read.manifests));
    let (blobs, manifests) = (of_packages.map(|(blobs, _)| blobs), of_packages.map(|(_, manifests)| manifests));
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    match out.format() {
        Format::Json => out.json(&json!({
            "objects": objects,
            "parts": parts,
            "packages_read": packages.is_some(),
            "blobs": blobs,
            "manifests": manifests,
            "bytes": bytes,
            "damaged": damaged,
            "unproven": unproven,
            "damages": found.iter().map(shown).collect::<Vec<_>>(),
        }))?,
        Format::Table => {
            if !found.is_empty() {
                let row = |damage: &Damage| {
                    let texts = [damage.what.as_str(), &damage.file.to_string_lossy(), &damage.why];
                    texts.iter().map(|text| clean(text).into_owned()).collect::<Vec<_>>()
                };
                out.table(&["WHAT", "FILE", "WHY"], &found.iter().map(row).collect::<Vec<_>>())?;
            }
            let verdict = if damaged == 0 { out.good("sound") } else { out.bad("DAMAGED") };
            let what = match of_packages {
                Some((blobs, manifests)) => {
                    format!("{objects} objects, {parts} parts, {blobs} blobs and {manifests} manifests of packages")
                }
                None => format!("{objects} objects and {parts} parts"),
            };
            out.data(&format!(
                "{verdict}: {what} with {bytes} bytes were read; {damaged} are damaged, {unproven} cannot be proven"
            ))?;
            if packages.is_none() {
                out.warn("packages were not read: a database on a server (`database.url`) says which there are, and this asks no server");
            }
        }
    }
    Ok(if damaged == 0 { Exit::Ok } else { Exit::Local })
}
