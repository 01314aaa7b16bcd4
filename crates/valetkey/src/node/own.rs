//! The files that describe APIs of one's own, read and compared with each other and with what else this server answers.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use valetkey_core::name::shortened;
use valetkey_dialects::custom::Spec;

use crate::config::{Config, OTHERS, Unusable};

/// The most files: what they say lives as long as the server.
const MOST_FILES: usize = 100;

fn unusable(path: &Path, said: impl std::fmt::Display) -> Unusable {
    Unusable(format!("{}: {said}", path.display()))
}

/// The files themselves, and those of directories that end in `.toml`.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Unusable> {
    let mut all = Vec::new();
    for path in paths {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        let listed = std::fs::read_dir(path)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>());
        let mut inside = listed.map_err(|error| unusable(path, error))?;
        inside.retain(|file| file.extension().is_some_and(|ext| ext == "toml"));
        if inside.is_empty() {
            return Err(unusable(path, "no file of this directory ends in `.toml`"));
        }
        inside.sort();
        all.extend(inside);
    }
    if all.len() > MOST_FILES {
        return Err(Unusable(format!("`dialects.paths` names {} files; the most is {MOST_FILES}", all.len())));
    }
    Ok(all)
}

/// Reads APIs of one's own. Two that would answer at one path are refused.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Spec>, Unusable> {
    let mut specs: Vec<Spec> = Vec::new();
    for path in files(paths)? {
        let mut text = String::new();
        let most = u64::try_from(Spec::MOST_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        let opened = std::fs::File::open(&path).and_then(|file| file.take(most).read_to_string(&mut text));
        opened.map_err(|error| unusable(&path, error))?;
        let spec = Spec::read(&text).map_err(|said| unusable(&path, said))?;
        let base = spec.base();
        let first = base.split('/').nth(1).unwrap_or_default();
        if OTHERS.contains(&first) {
            return Err(unusable(&path, format!("`base` starts with `/{first}`, where another API is")));
        }
        if let Some(other) = specs.iter().find(|other| other.name() == spec.name() || meet(other.base(), base)) {
            let said = format!("`{}` at `{}` has the name or the path of `{}`", spec.name(), base, other.name());
            return Err(unusable(&path, said));
        }
        specs.push(spec);
    }
    Ok(specs)
}

/// Whether one is the other, or below it.
fn meet(one: &str, two: &str) -> bool {
    let under =
        |path: &str, of: &str| path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    under(one, two) || under(two, one)
}

/// The APIs of one's own that are configured.
pub(crate) fn configured(config: &Config) -> Result<Vec<Spec>, Unusable> {
    let specs = read(&config.dialects.paths)?;
    for spec in &specs {
        if meet(spec.base(), &config.sharing.prefix) {
            let said = "is where Delta Sharing answers (`sharing.prefix`)";
            return Err(Unusable(format!("`base` of `{}` is `{}`, which {said}", spec.name(), spec.base())));
        }
        let short = spec.shown().into_iter().find(|route| route.ttl_secs < config.s3.min_ttl_secs);
        if let Some(route) = short {
            return Err(Unusable(format!(
                "`{}` of `{}` has `ttl_secs` = {}; it is at least `s3.min_ttl_secs` ({})",
                shortened(&route.route),
                spec.name(),
                route.ttl_secs,
                config.s3.min_ttl_secs
            )));
        }
    }
    Ok(specs)
}
