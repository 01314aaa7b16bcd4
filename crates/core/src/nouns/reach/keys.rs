//! A set of object keys, exactly: with union and difference, which a set of paths does not have.

use crate::scope::{Path, Paths};

/// Keys from one on and before another, in the order of their bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Range {
    from: Vec<u8>,
    /// The first that is not in it any more; none: all that follow are.
    to: Option<Vec<u8>>,
}

/// A set of object keys.
///
/// INVARIANT: the ranges are in order; none is empty, and none touches the next. So the same set is the same value.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Keys(Vec<Range>);

/// The first key after all that start with these bytes; none where nothing is.
fn beyond(prefix: &[u8]) -> Option<Vec<u8>> {
    let (last, rest) = prefix.split_last()?;
    match last.checked_add(1) {
        Some(next) => Some([rest, &[next]].concat()),
        None => beyond(rest),
    }
}

/// Whether a range that ends there ends before this key, or at it.
fn ends_by(to: Option<&[u8]>, key: &[u8]) -> bool {
    to.is_some_and(|to| to <= key)
}

fn ranges(path: &Path) -> Vec<Range> {
    let one = |key: &[u8]| Range { from: key.to_vec(), to: Some([key, b"\0"].concat()) };
    let below = |prefix: &[u8]| Range { from: prefix.to_vec(), to: beyond(prefix) };
    match path {
        Path::Object(key) => vec![one(key)],
        Path::Directory(directory) => vec![one(directory), below(&[&**directory, b"/"].concat())],
        Path::Prefix(prefix) => vec![below(prefix)],
    }
}

impl Keys {
    /// No key.
    pub const NONE: Self = Self(Vec::new());

    /// The keys that these paths cover.
    pub fn of(paths: &Paths) -> Self {
        match paths {
            Paths::Whole => Self(vec![Range { from: Vec::new(), to: None }]),
            Paths::Only(set) => Self::joined(set.iter().flat_map(|path| ranges(&path)).collect()),
        }
    }

    /// The keys that one path covers.
    pub fn of_path(path: &Path) -> Self {
        Self::joined(ranges(path))
    }

    fn joined(mut ranges: Vec<Range>) -> Self {
        ranges.sort_unstable_by(|one, two| one.from.cmp(&two.from));
        let mut joined: Vec<Range> = Vec::with_capacity(ranges.len());
        for next in ranges {
            match joined.last_mut() {
                Some(last) if last.to.as_ref().is_none_or(|to| next.from <= *to) => {
                    last.to = last.to.take().zip(next.to).map(|(one, two)| one.max(two));
                }
                Some(_) | None => joined.push(next),
            }
        }
        Self(joined)
    }

    /// The keys in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::joined(self.0.iter().chain(&other.0).cloned().collect())
    }

    /// The keys that are not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        let mut others = other.0.iter().peekable();
        for Range { from, to } in &self.0 {
            let mut from = from.clone();
            let over = loop {
                while others.next_if(|next| ends_by(next.to.as_deref(), &from)).is_some() {}
                let Some(next) = others.peek().filter(|next| !ends_by(to.as_deref(), &next.from)) else { break false };
                if from < next.from {
                    left.push(Range { from: from.clone(), to: Some(next.from.clone()) });
                }
                match &next.to {
                    Some(end) if !ends_by(to.as_deref(), end) => from.clone_from(end),
                    // It reaches to the end of this range, or beyond.
                    Some(_) | None => break true,
                }
            };
            if !over && !ends_by(to.as_deref(), &from) {
                left.push(Range { from, to: to.clone() });
            }
        }
        Self(left)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the key is in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        let after = self.0.partition_point(|range| &*range.from <= key);
        let last = after.checked_sub(1).and_then(|at| self.0.get(at));
        last.is_some_and(|range| !ends_by(range.to.as_deref(), key))
    }

    /// Whether all of the other's keys are in it.
    pub fn contains_all(&self, other: &Self) -> bool {
        other.without(self).is_empty()
    }

    /// Whether they share a key.
    pub fn meets(&self, other: &Self) -> bool {
        other.without(self) != *other
    }
}
