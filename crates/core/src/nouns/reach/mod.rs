//! Effective access: what grants open together, who can do something, and what of it a change adds and takes, exactly.

mod keys;
mod question;

#[cfg(test)]
mod tests;

use crate::scope::{Path, Paths};

pub use keys::Keys;
pub use question::{Answer, Extent, Place, Question};

/// What several grants cover together, of one bucket; nothing if there are none.
pub fn together<'a>(paths: impl IntoIterator<Item = &'a Paths>) -> Option<Paths> {
    let mut all = Vec::new();
    for paths in paths {
        match paths {
            Paths::Whole => return Some(Paths::Whole),
            Paths::Only(set) => all.extend(set.iter()),
        }
    }
    Paths::only(all).ok()
}

/// A piece of a difference: what one path covers, but for what others in it cover.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Piece {
    /// The path; none is the whole bucket.
    pub path: Option<Path>,
    /// What is left out of it.
    pub except: Vec<Path>,
}

/// What the paths cover and the others do not: pieces that together are exactly that, and none of them empty.
pub fn difference(paths: &Paths, others: Option<&Paths>) -> Vec<Piece> {
    let mut out: Vec<Path> = match others {
        None => Vec::new(),
        Some(Paths::Whole) => return Vec::new(),
        Some(Paths::Only(set)) => set.iter().collect(),
    };
    out.sort_unstable_by(|one, two| one.bytes().cmp(two.bytes()));
    match paths {
        Paths::Whole => piece(None, out).into_iter().collect(),
        Paths::Only(set) => set
            .iter()
            .filter(|path| others.is_none_or(|others| !others.cover_path(path)))
            .filter_map(|path| {
                let except = inside(&path, &out);
                piece(Some(path), except)
            })
            .collect(),
    }
}

/// Those of the sorted paths that a path covers. Of two paths that share a key one covers the other, so nothing else is taken out of it.
fn inside(path: &Path, sorted: &[Path]) -> Vec<Path> {
    let first = sorted.partition_point(|one| one.bytes() < path.bytes());
    let begin = sorted.iter().skip(first).take_while(|one| one.bytes().starts_with(path.bytes()));
    begin.filter(|one| path.covers_path(one)).cloned().collect()
}

fn piece(path: Option<Path>, except: Vec<Path>) -> Option<Piece> {
    // A directory is nothing without its own key and all that is below it, though neither covers it.
    let all = path.as_ref().map_or_else(|| Keys::of(&Paths::Whole), Keys::of_path);
    let out = Paths::only(&except).ok().map_or(Keys::NONE, |except| Keys::of(&except));
    (!out.contains_all(&all)).then_some(Piece { path, except })
}
