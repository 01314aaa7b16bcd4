//! The files that describe catalogs of Iceberg tables which other servers keep.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use valetkey_core::nouns::table::UpstreamCatalog;
use valetkey_core::time::Clock;
use valetkey_issuers::catalog::CatalogSpec;

use crate::config::{Config, Unusable};

/// The most files: each is a catalog that may be asked at the same time as the others.
const MOST_FILES: usize = 100;
/// The largest file, in bytes.
const MOST_BYTES: u64 = 64 * 1024;

fn unusable(path: &Path, said: impl std::fmt::Display) -> Unusable {
    Unusable(format!("{}: {said}", path.display()))
}

/// The catalogs that are configured. Two of one name in one account are refused.
pub(crate) fn configured(config: &Config, clock: &Arc<dyn Clock>) -> Result<Vec<Arc<dyn UpstreamCatalog>>, Unusable> {
    let paths = &config.iceberg.upstreams;
    if paths.len() > MOST_FILES {
        return Err(Unusable(format!("`iceberg.upstreams` names {} files; the most is {MOST_FILES}", paths.len())));
    }
    let mut catalogs: Vec<Arc<dyn UpstreamCatalog>> = Vec::new();
    for path in paths {
        let mut text = String::new();
        let opened = std::fs::File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text));
        opened.map_err(|error| unusable(path, error))?;
        let spec: CatalogSpec = toml::from_str(&text).map_err(|error| unusable(path, error))?;
        let catalog = spec.open(Arc::clone(clock)).map_err(|error| match error.field() {
            Some(field) => unusable(path, format!("`{field}`: {}", error.message())),
            None => unusable(path, error.message()),
        })?;
        let same = |known: &&Arc<dyn UpstreamCatalog>| {
            (known.name(), known.account()) == (UpstreamCatalog::name(&catalog), UpstreamCatalog::account(&catalog))
        };
        if let Some(known) = catalogs.iter().find(same) {
            let said = format!("the account `{}` has a catalog `{}` already", known.account(), known.name());
            return Err(unusable(path, said));
        }
        catalogs.push(Arc::new(catalog));
    }
    Ok(catalogs)
}

#[cfg(test)]
mod tests {
    use valetkey_testkit::clock::FixedClock;

    use super::*;
    use crate::config::Layers;

    #[test]
    fn a_file_is_read_or_refused_with_its_name_and_its_field() {
        let folder = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(FixedClock::default());
        let read = |texts: &[&str]| {
            let layers = Layers::read(None, &std::collections::BTreeMap::new(), &[]).unwrap();
            let mut config = layers.config().unwrap();
            for (at, text) in texts.iter().enumerate() {
                let path = folder.path().join(format!("{at}.toml"));
                std::fs::write(&path, text).unwrap();
                config.iceberg.upstreams.push(path);
            }
            configured(&config, &clock).map(|all| all.len()).map_err(|error| error.to_string())
        };
        let good =
            "name = \"lakehouse\"\naccount = \"acme\"\nuri = \"https://catalog.example/api\"\nwarehouse = \"prod\"\n";
        assert_eq!(read(&[good]), Ok(1));
        assert_eq!(read(&[good, &good.replace("acme", "globex")]), Ok(2));
        for (texts, said) in [
            (vec![good, good], "1.toml: the account `acme` has a catalog `lakehouse` already"),
            (vec!["name = \"x\""], "0.toml"),
            (vec!["nme = 1"], "unknown field `nme`"),
            (vec!["name = \"x\"\naccount = \"acme\"\nuri = \"http://catalog.example\""], "0.toml: `uri`"),
            (
                vec!["name = \"x\"\naccount = \"acme\"\nuri = \"https://x\"\ntoken_file = \"/none\""],
                "`token_file`: /none",
            ),
        ] {
            let refused = read(&texts).unwrap_err();
            assert!(refused.contains(said), "{refused}");
        }
    }
}
