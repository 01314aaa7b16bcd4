//! A set of paths, kept so that one look-up costs the logarithm of its size.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Kind};
use crate::scope::Listing;
use crate::scope::path::Path;

/// The paths of a scope.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Paths {
    /// Every key of the bucket.
    Whole,
    /// The keys that one of the paths covers.
    Only(PathSet),
}

/// A set of paths.
///
/// * never empty
/// * sorted, and no path in it covers another: the same set of keys built in any order is the same value
/// * shared, so that a clone costs nothing
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PathSet(Arc<Sorted>);

/// INVARIANT: each list is strictly sorted; no path of any list covers another path of any list.
#[derive(PartialEq, Eq, Hash, Default)]
struct Sorted {
    objects: Vec<Box<[u8]>>,
    /// Each with its trailing slash: `a/` covers the keys that, with a slash put after them, start with it.
    directories: Vec<Box<[u8]>>,
    prefixes: Vec<Box<[u8]>>,
}

/// A key with a slash after it, compared without being copied.
#[derive(Clone, Copy)]
struct Slashed<'a>(&'a [u8]);

impl Slashed<'_> {
    fn bytes(&self) -> impl Iterator<Item = u8> {
        self.0.iter().copied().chain(std::iter::once(b'/'))
    }

    fn starts_with(&self, start: &[u8]) -> bool {
        self.0.starts_with(start) || start.strip_suffix(b"/") == Some(self.0)
    }

    fn compare(&self, entry: &[u8]) -> Ordering {
        entry.iter().copied().cmp(self.bytes())
    }
}

/// The greatest entry that is not greater than the one searched; in a set where no entry starts another, it is the only
/// one that can be a start of it (every string between a start and the whole begins with that start).
fn candidate(sorted: &[Box<[u8]>], mut compare: impl FnMut(&[u8]) -> Ordering) -> Option<&[u8]> {
    let after = sorted.partition_point(|entry| compare(entry) != Ordering::Greater);
    sorted.get(after.checked_sub(1)?).map(|entry| &**entry)
}

impl Sorted {
    fn cover_key(&self, key: &[u8]) -> bool {
        let Self { objects, directories, prefixes } = self;
        let slashed = Slashed(key);
        objects.binary_search_by(|entry| (**entry).cmp(key)).is_ok()
            || candidate(directories, |entry| slashed.compare(entry)).is_some_and(|entry| slashed.starts_with(entry))
            || candidate(prefixes, |entry| entry.cmp(key)).is_some_and(|entry| key.starts_with(entry))
    }

    /// Whether one path covers every key that starts with these bytes.
    fn cover_prefix(&self, prefix: &[u8]) -> bool {
        let Self { objects: _, directories, prefixes } = self;
        candidate(directories, |entry| entry.cmp(prefix)).is_some_and(|entry| prefix.starts_with(entry))
            || candidate(prefixes, |entry| entry.cmp(prefix)).is_some_and(|entry| prefix.starts_with(entry))
    }

    fn cover_directory(&self, directory: &[u8]) -> bool {
        let Self { objects: _, directories, prefixes } = self;
        let slashed = Slashed(directory);
        candidate(directories, |entry| slashed.compare(entry)).is_some_and(|entry| slashed.starts_with(entry))
            || candidate(prefixes, |entry| entry.cmp(directory)).is_some_and(|entry| directory.starts_with(entry))
    }

    fn cover_path(&self, path: &Path) -> bool {
        match path {
            Path::Object(key) => self.cover_key(key),
            Path::Directory(directory) => self.cover_directory(directory),
            Path::Prefix(prefix) => self.cover_prefix(prefix),
        }
    }
}

/// Sorts, and drops what starts with an earlier entry (a later one that starts with an earlier one is covered by it).
fn antichain(mut entries: Vec<Box<[u8]>>) -> Vec<Box<[u8]>> {
    entries.sort_unstable();
    let mut kept: Vec<Box<[u8]>> = Vec::with_capacity(entries.len());
    for entry in entries {
        if kept.last().is_none_or(|last| !entry.starts_with(last)) {
            kept.push(entry);
        }
    }
    kept
}

impl PathSet {
    /// Puts the paths into a set; nothing if there are none.
    pub fn new(paths: impl IntoIterator<Item = impl Borrow<Path>>) -> Option<Self> {
        let (mut objects, mut directories, mut prefixes) = (Vec::new(), Vec::new(), Vec::new());
        for path in paths {
            match path.borrow() {
                Path::Object(key) => objects.push(key.clone()),
                Path::Directory(directory) => {
                    directories.push([&**directory, b"/"].concat().into_boxed_slice());
                }
                Path::Prefix(prefix) => prefixes.push(prefix.clone()),
            }
        }
        let prefixes = antichain(prefixes);
        let only_prefixes = Sorted { prefixes, ..Sorted::default() };
        let mut directories = antichain(directories);
        directories.retain(|slashed| !only_prefixes.cover_directory(slashed.strip_suffix(b"/").unwrap_or(slashed)));
        let mut prefixes = only_prefixes.prefixes;
        let only_directories = Sorted { directories, ..Sorted::default() };
        prefixes.retain(|prefix| !only_directories.cover_prefix(prefix));
        let mut set = Sorted { objects: Vec::new(), directories: only_directories.directories, prefixes };
        objects.sort_unstable();
        objects.dedup();
        objects.retain(|key| !set.cover_key(key));
        set.objects = objects;
        let empty = set.objects.is_empty() && set.directories.is_empty() && set.prefixes.is_empty();
        (!empty).then(|| Self(Arc::new(set)))
    }

    /// The paths: objects, then directories, then prefixes, each kind in order of its bytes.
    pub fn iter(&self) -> impl Iterator<Item = Path> {
        let Sorted { objects, directories, prefixes } = &*self.0;
        objects
            .iter()
            .map(|key| Path::Object(key.clone()))
            .chain(
                directories.iter().map(|slashed| Path::Directory(slashed.strip_suffix(b"/").unwrap_or(slashed).into())),
            )
            .chain(prefixes.iter().map(|prefix| Path::Prefix(prefix.clone())))
    }

    /// How many paths there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "a set of paths is never empty")]
    pub fn len(&self) -> usize {
        let Sorted { objects, directories, prefixes } = &*self.0;
        objects.len() + directories.len() + prefixes.len()
    }
}

impl fmt::Debug for PathSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Paths {
    /// The paths given, as a set.
    ///
    /// # Errors
    /// `Invalid` when there are none: an empty set of paths never means everything.
    pub fn only(paths: impl IntoIterator<Item = impl Borrow<Path>>) -> Result<Self, Error> {
        PathSet::new(paths)
            .map(Self::Only)
            .ok_or_else(|| Error::new(Kind::Invalid, "no path was given; to mean the whole bucket, say so"))
    }

    /// Whether one of the paths covers the key.
    pub fn cover_key(&self, key: &[u8]) -> bool {
        match self {
            Self::Whole => true,
            Self::Only(set) => set.0.cover_key(key),
        }
    }

    /// Whether one of the paths covers everything that path covers.
    pub fn cover_path(&self, path: &Path) -> bool {
        match self {
            Self::Whole => true,
            Self::Only(set) => set.0.cover_path(path),
        }
    }

    /// Whether every one of the other's paths is covered.
    pub fn cover_paths(&self, inner: &Self) -> bool {
        match (self, inner) {
            (Self::Whole, _) => true,
            (Self::Only(_), Self::Whole) => false,
            (Self::Only(set), Self::Only(inner)) => inner.iter().all(|path| set.0.cover_path(&path)),
        }
    }

    /// What both cover; nothing if they share nothing.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Whole, paths) | (paths, Self::Whole) => Some(paths.clone()),
            (Self::Only(one), Self::Only(two)) => {
                let inside = |outer: &PathSet, inner: &PathSet| {
                    inner.iter().filter(|path| outer.0.cover_path(path)).collect::<Vec<_>>()
                };
                let mut shared = inside(one, two);
                shared.extend(inside(two, one));
                PathSet::new(shared).map(Self::Only)
            }
        }
    }

    /// What either covers.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::all_of([self, other]).unwrap_or_else(|| self.clone())
    }

    /// What any of them covers; nothing if there are none.
    pub fn all_of<'a>(all: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let mut all = all.into_iter();
        let mut sets = match all.next()? {
            Self::Whole => return Some(Self::Whole),
            Self::Only(set) => vec![set],
        };
        for paths in all {
            match paths {
                Self::Whole => return Some(Self::Whole),
                Self::Only(set) => sets.push(set),
            }
        }
        match *sets {
            [one] => Some(Self::Only(one.clone())),
            _ => PathSet::new(sets.into_iter().flat_map(PathSet::iter)).map(Self::Only),
        }
    }

    /// What a request to list the keys under `prefix` may see.
    pub fn listing(&self, prefix: &[u8]) -> Listing {
        match self {
            Self::Whole => Listing::All,
            Self::Only(set) if set.0.cover_prefix(prefix) => Listing::All,
            // On the border: `jobs/daily` asked under the directory `jobs/daily`, or an object's own key.
            Self::Only(set) if !prefix.is_empty() && set.0.cover_key(prefix) => Listing::Covered,
            Self::Only(_) => Listing::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::name::BucketName;
    use crate::scope::{Action, Actions, Scope};

    /// The plain meaning, as slow and as obvious as it can be.
    mod oracle {
        use super::Path;

        pub(super) fn covers(path: &Path, key: &[u8]) -> bool {
            match path {
                Path::Object(own) => key == &**own,
                Path::Directory(own) => key == &**own || key.starts_with(&[own, &b"/"[..]].concat()),
                Path::Prefix(own) => key.starts_with(own),
            }
        }

        pub(super) fn any(paths: &[Path], key: &[u8]) -> bool {
            paths.iter().any(|path| covers(path, key))
        }
    }

    /// Keys built of pieces that collide: siblings, empty segments, dots, encodings, patterns, other alphabets.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            &b"jobs"[..],
            b"daily",
            b"daily-secret",
            b"a",
            b"b",
            b"/",
            b"/",
            b"/",
            b"//",
            b"..",
            b".",
            b"%2F",
            b"*",
            b"?",
            b"$",
            b"{",
            b"}",
            b"'",
            b"\"",
            b"-",
            b"\xc3\xa9",
            b"\xff",
            b"!",
            b"0",
            b"\x00",
        ]);
        prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat())
    }

    fn long() -> impl Strategy<Value = Vec<u8>> {
        (bytes(), bytes()).prop_map(|(start, fill)| {
            start.iter().chain(fill.iter().cycle()).copied().take(super::super::MAX_KEY_BYTES).collect()
        })
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![9 => bytes(), 1 => long()]
    }

    fn path() -> impl Strategy<Value = Path> {
        (key(), 0..3).prop_filter_map("a directory may not end in a slash", |(bytes, kind)| match kind {
            0 => Path::object(&bytes).ok(),
            1 => Path::directory(&bytes).ok(),
            _ => Path::prefix(&bytes).ok(),
        })
    }

    fn paths() -> impl Strategy<Value = Vec<Path>> {
        prop::collection::vec(path(), 1..8)
    }

    /// The key itself and its nearest neighbours: where a boundary is wrong, one of these shows it.
    fn around(paths: &[Path], extra: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut keys: Vec<Vec<u8>> = extra.to_vec();
        for path in paths {
            let own = path.bytes().to_vec();
            for tail in [&b""[..], b"/", b"/x", b"-secret", b"-secret/x", b"x", b"//", b"/../x", b"!", b"0", b"\xff"] {
                keys.push([&own[..], tail].concat());
            }
            keys.push(own[..own.len() - 1].to_vec());
        }
        keys.retain(|key| !key.is_empty());
        keys
    }

    fn scope(paths: &[Path], actions: Actions) -> Scope {
        Scope::new(BucketName::parse("lake").unwrap(), Paths::only(paths).unwrap(), actions).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn covers_agrees_with_the_oracle(paths in paths(), keys in prop::collection::vec(key(), 1..10)) {
            let scope = scope(&paths, Actions::READ);
            for key in around(&paths, &keys) {
                prop_assert_eq!(scope.covers("lake", &key, Action::GetObject), oracle::any(&paths, &key), "{}", key.escape_ascii());
                prop_assert!(!scope.covers("lake", &key, Action::PutObject));
                prop_assert!(!scope.covers("lake2", &key, Action::GetObject));
            }
        }

        #[test]
        fn a_set_is_the_same_whatever_the_order(mut paths in paths(), at in 0usize..8) {
            let one = PathSet::new(&paths).unwrap();
            let middle = at % paths.len();
            paths.rotate_left(middle);
            prop_assert_eq!(&one, &PathSet::new(&paths).unwrap());
            prop_assert_eq!(&one, &PathSet::new(one.iter()).unwrap());
        }

        #[test]
        fn intersect_agrees_with_the_oracle(one in paths(), two in paths(), keys in prop::collection::vec(key(), 1..10)) {
            let both = scope(&one, Actions::READ_WRITE).intersect(&scope(&two, Actions::READ));
            let all = [one.clone(), two.clone()].concat();
            for key in around(&all, &keys) {
                let expected = oracle::any(&one, &key) && oracle::any(&two, &key);
                let got = both.as_ref().is_some_and(|scope| scope.covers("lake", &key, Action::GetObject));
                prop_assert_eq!(got, expected, "{} of {:?} and {:?}", key.escape_ascii(), one, two);
                prop_assert!(!both.as_ref().is_some_and(|scope| scope.covers("lake", &key, Action::PutObject)));
            }
        }

        #[test]
        fn what_narrows_stays_inside(outer in paths(), inner in paths(), keys in prop::collection::vec(key(), 1..10)) {
            let whole = scope(&outer, Actions::READ);
            let narrowed = whole.narrow(Paths::only(&inner).unwrap(), Actions::READ);
            let all = [outer.clone(), inner.clone()].concat();
            if let Some(narrowed) = narrowed {
                for key in around(&all, &keys) {
                    prop_assert!(!oracle::any(&inner, &key) || oracle::any(&outer, &key), "{}", key.escape_ascii());
                    prop_assert_eq!(narrowed.covers("lake", &key, Action::GetObject), oracle::any(&inner, &key));
                }
                prop_assert!(whole.narrow(Paths::only(&inner).unwrap(), Actions::READ_WRITE).is_none());
                prop_assert!(whole.narrow(Paths::Whole, Actions::READ).is_none());
            } else {
                // Refused: then some key of the inner set lies outside, or a path is only covered by several together.
                let single = inner.iter().all(|path| outer.iter().any(|own| own.covers_path(path)));
                prop_assert!(!single);
            }
        }

        #[test]
        fn single_paths_agree_with_the_set(outer in path(), inner in path()) {
            let set = Paths::only([&outer]).unwrap();
            prop_assert_eq!(set.cover_path(&inner), outer.covers_path(&inner));
            if outer.covers_path(&inner) {
                for key in around(std::slice::from_ref(&inner), &[]) {
                    prop_assert!(!oracle::covers(&inner, &key) || oracle::covers(&outer, &key));
                }
            }
        }

        #[test]
        fn a_listing_shows_only_what_is_covered(paths in paths(), prefix in key(), keys in prop::collection::vec(key(), 1..10)) {
            let scope = scope(&paths, Actions::READ);
            let listing = scope.listing("lake", &prefix, Action::ListBucket);
            let under: Vec<_> = around(&paths, &keys).into_iter().filter(|key| key.starts_with(&prefix)).collect();
            match listing {
                Listing::All => prop_assert!(under.iter().all(|key| oracle::any(&paths, key))),
                Listing::Covered => prop_assert!(oracle::any(&paths, &prefix)),
                Listing::Refused => prop_assert!(!oracle::any(&paths, &prefix)),
            }
            prop_assert_eq!(scope.listing("lake", &prefix, Action::ListUploads), Listing::Refused);
        }
    }

    #[test]
    fn the_sibling_stays_out() {
        let scope = scope(&[Path::directory(b"jobs/daily").unwrap()], Actions::READ);
        let reads = |key: &str| scope.covers("lake", key.as_bytes(), Action::GetObject);
        assert!(reads("jobs/daily") && reads("jobs/daily/") && reads("jobs/daily/x") && reads("jobs/daily/../x"));
        assert!(
            !reads("jobs/daily-secret/x") && !reads("jobs/dail") && !reads("jobs/daily%2Fx") && !reads("jobs//daily/x")
        );
        assert_eq!(scope.listing("lake", b"jobs/daily", Action::ListBucket), Listing::Covered);
        assert_eq!(scope.listing("lake", b"jobs/daily/", Action::ListBucket), Listing::All);
        assert_eq!(scope.listing("lake", b"jobs/", Action::ListBucket), Listing::Refused);
        assert_eq!(scope.listing("lake", b"", Action::ListBucket), Listing::Refused);
    }

    #[test]
    fn an_empty_set_of_paths_is_refused() {
        assert!(Paths::only(Vec::<Path>::new()).is_err());
        assert!(PathSet::new(Vec::<Path>::new()).is_none());
        assert!(Path::directory(b"").is_err() && Path::prefix(b"").is_err() && Path::object(b"").is_err());
        assert!(Path::object(&[b'a'; 1025]).is_err() && Path::object(&[b'a'; 1024]).is_ok());
    }
}
