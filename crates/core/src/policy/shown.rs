//! What refusals and cuts of decisions say.

use crate::error::{Error, Kind};
use crate::field::Field;
use crate::scope::{Path, Paths};

/// The most grants that may decide one ask: each is kept with every lease of it.
const MOST_GRANTS: usize = 256;

pub(super) fn paths_shown(paths: &Paths) -> String {
    let Paths::Only(set) = paths else { return "the whole bucket".to_owned() };
    let first = set.iter().next().as_ref().map(path_shown).unwrap_or_default();
    if set.len() > 1 { format!("{first} and {} more paths", set.len() - 1) } else { first }
}

pub(super) fn path_shown(path: &Path) -> String {
    format!("the {} `{}`", path.kind(), crate::name::shortened(&String::from_utf8_lossy(path.bytes())))
}

/// Refuses more grants than one lease keeps.
pub(super) fn few_grants(grants: usize) -> Result<(), Error> {
    if grants <= MOST_GRANTS {
        return Ok(());
    }
    let said = format!("{grants} grants open these paths; the most for one credential is {MOST_GRANTS}");
    Err(Error::new(Kind::Invalid, said).at(Field::Paths))
}
