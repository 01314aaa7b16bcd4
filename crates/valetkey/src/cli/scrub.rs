//! `valetkey storage scrub`: reads what lies in this machine's data directory. It asks no server, for which it may be too late.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use valetkey_s3::{Damage, Scrubbed};

use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{Format, Out, clean};
use crate::config::{Layers, environment};
use crate::node::database;

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
    let packages = valetkey_database::scrub(&database(&config), &mut tell_blob).await;
    let packages = packages.map_err(|error| Failure::local(error.to_string()))?;
    let (bytes, damaged) = (bytes + packages.bytes, damaged + packages.damaged);
    let (blobs, manifests) = (packages.blobs, packages.manifests);
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    match out.format() {
        Format::Json => out.json(&json!({
            "objects": objects,
            "parts": parts,
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
            out.data(&format!(
                "{verdict}: {objects} objects, {parts} parts, {blobs} blobs and {manifests} manifests of packages with {bytes} bytes were \
                 read; {damaged} are damaged, {unproven} cannot be proven"
            ))?;
        }
    }
    Ok(if damaged == 0 { Exit::Ok } else { Exit::Local })
}
