//! Sets of actions, each with paths of its own: what one credential may do where.

use crate::scope::{Action, Actions, Listing, Paths};

/// Some actions, and where they are allowed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Part {
    paths: Paths,
    actions: Actions,
}

impl Part {
    /// These actions on these paths; nothing if there is no action.
    pub fn new(paths: Paths, actions: Actions) -> Option<Self> {
        if actions.is_empty() { None } else { Some(Self { paths, actions }) }
    }

    /// Where.
    pub const fn paths(&self) -> &Paths {
        &self.paths
    }

    /// What.
    pub const fn actions(&self) -> Actions {
        self.actions
    }
}

/// For each action the paths that it is allowed on.
///
/// * never empty, and no part of it allows nothing
/// * each action is in at most one part, and no two parts have the same paths: the same rights put together in any order are the same value
/// * one part is kept without an allocation
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Parts {
    /// INVARIANT: with the others in ascending order of their actions' bits.
    first: Part,
    others: Vec<Part>,
}

impl From<Part> for Parts {
    fn from(first: Part) -> Self {
        Self { first, others: Vec::new() }
    }
}

impl Parts {
    /// What all of these allow together; nothing if there are none.
    pub fn new(given: impl IntoIterator<Item = Part>) -> Option<Self> {
        let mut given = given.into_iter();
        let first = given.next()?;
        let mut all: Vec<Part> = given.collect();
        if all.is_empty() {
            return Some(first.into());
        }
        all.push(first);
        Self::of(|action| {
            Paths::all_of(all.iter().filter(|part| part.actions.contains(action)).map(|part| &part.paths))
        })
    }

    /// Puts it together action by action.
    fn of(paths_of: impl Fn(Action) -> Option<Paths>) -> Option<Self> {
        let mut parts: Vec<Part> = Vec::new();
        for action in Action::ALL {
            let Some(paths) = paths_of(action) else { continue };
            match parts.iter_mut().find(|part| part.paths == paths) {
                Some(part) => part.actions = part.actions.with(action),
                None => parts.push(Part { paths, actions: Actions::of(&[action]) }),
            }
        }
        parts.sort_by_key(|part| part.actions.bits());
        let mut parts = parts.into_iter();
        Some(Self { first: parts.next()?, others: parts.collect() })
    }

    /// The parts.
    pub fn iter(&self) -> impl Iterator<Item = &Part> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The one part, if there is only one.
    pub fn only(&self) -> Option<&Part> {
        if self.others.is_empty() { Some(&self.first) } else { None }
    }

    /// Everything that is allowed anywhere.
    pub fn actions(&self) -> Actions {
        self.iter().fold(Actions::NONE, |sum, part| sum.union(part.actions))
    }

    /// Where an action is allowed; nothing if it is not.
    pub fn paths_of(&self, action: Action) -> Option<&Paths> {
        self.iter().find(|part| part.actions.contains(action)).map(|part| &part.paths)
    }

    /// What is allowed on all of these paths.
    pub fn actions_on(&self, paths: &Paths) -> Actions {
        let inside = self.iter().filter(|part| part.paths.cover_paths(paths));
        inside.fold(Actions::NONE, |sum, part| sum.union(part.actions))
    }

    /// Every place that anything is allowed at. SECURITY: to name places, never to decide: not all that is allowed is allowed at each.
    pub fn places(&self) -> Paths {
        self.others.iter().fold(self.first.paths.clone(), |sum, part| sum.union(&part.paths))
    }

    /// Whether this action on this key is allowed.
    pub fn cover(&self, key: &[u8], action: Action) -> bool {
        self.paths_of(action).is_some_and(|paths| paths.cover_key(key))
    }

    /// What a request to list the keys under `prefix` may see. `action` is the listing asked for.
    pub fn listing(&self, prefix: &[u8], action: Action) -> Listing {
        self.paths_of(action).map_or(Listing::Refused, |paths| paths.listing(prefix))
    }

    /// Whether everything that the others allow is allowed here.
    pub fn cover_parts(&self, inner: &Self) -> bool {
        let covered = |part: &Part| {
            part.actions.iter().all(|action| self.paths_of(action).is_some_and(|own| own.cover_paths(&part.paths)))
        };
        inner.iter().all(covered)
    }

    /// What both allow; nothing if they share nothing.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        if let (Some(one), Some(two)) = (self.only(), other.only()) {
            let actions = one.actions.intersect(two.actions);
            return Part::new(one.paths.intersect(&two.paths)?, actions).map(Self::from);
        }
        Self::of(|action| self.paths_of(action)?.intersect(other.paths_of(action)?))
    }

    /// What either allows.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::new(self.iter().chain(other.iter()).cloned()).unwrap_or_else(|| self.clone())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scope::Path;

    /// Keys of few pieces, so that they often lie inside each other.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(vec![&b"a"[..], b"b", b"/", b"tmp"]), 1..5)
            .prop_map(|pieces| pieces.concat())
    }

    fn paths() -> impl Strategy<Value = Paths> {
        let path = (bytes(), 0..3).prop_filter_map("a directory may not end in a slash", |(bytes, kind)| match kind {
            0 => Path::object(&bytes).ok(),
            1 => Path::directory(&bytes).ok(),
            _ => Path::prefix(&bytes).ok(),
        });
        prop_oneof![
            1 => Just(Paths::Whole),
            9 => prop::collection::vec(path, 1..4).prop_map(|paths| Paths::only(paths).unwrap()),
        ]
    }

    fn given() -> impl Strategy<Value = Vec<Part>> {
        let part = (paths(), 1u16..1024)
            .prop_map(|(paths, bits)| Part::new(paths, Actions::from_bits(bits).unwrap()).unwrap());
        prop::collection::vec(part, 1..5)
    }

    /// The plain meaning.
    fn allows(given: &[Part], key: &[u8], action: Action) -> bool {
        given.iter().any(|part| part.actions.contains(action) && part.paths.cover_key(key))
    }

    fn keys(given: &[&[Part]], more: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut keys = more.to_vec();
        for part in given.iter().copied().flatten() {
            if let Paths::Only(set) = &part.paths {
                for path in set.iter() {
                    keys.extend([&b""[..], b"/", b"/x", b"x"].map(|end| [path.bytes(), end].concat()));
                }
            }
        }
        keys
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

        #[test]
        fn parts_mean_what_was_given_and_nothing_else(given in given(), more in prop::collection::vec(bytes(), 1..5)) {
            let parts = Parts::new(given.clone()).unwrap();
            for key in keys(&[&given], &more) {
                for action in Action::ALL {
                    prop_assert_eq!(parts.cover(&key, action), allows(&given, &key, action));
                }
            }
            for action in Action::ALL {
                prop_assert!(parts.iter().filter(|part| part.actions.contains(action)).count() <= 1);
            }
            let all: Vec<&Part> = parts.iter().collect();
            prop_assert!(all.windows(2).all(|pair| pair[0].actions.bits() < pair[1].actions.bits()));
            prop_assert!(all.iter().enumerate().all(|(at, part)| all[..at].iter().all(|other| other.paths != part.paths)));
        }

        #[test]
        fn the_same_rights_in_any_order_are_the_same_value(mut given in given(), at in 0usize..5) {
            let one = Parts::new(given.clone()).unwrap();
            let middle = at % given.len();
            given.rotate_left(middle);
            prop_assert_eq!(&one, &Parts::new(given.clone()).unwrap());
            // Action by action, too.
            let single = given.iter().flat_map(|part| {
                part.actions.iter().map(|action| Part::new(part.paths.clone(), Actions::of(&[action])).unwrap())
            });
            prop_assert_eq!(&one, &Parts::new(single.collect::<Vec<_>>()).unwrap());
            prop_assert_eq!(&one, &Parts::new(one.iter().cloned()).unwrap());
            prop_assert_eq!(&one, &one.union(&one));
        }

        #[test]
        fn both_and_either_agree_with_the_plain_meaning(
            one in given(), two in given(), more in prop::collection::vec(bytes(), 1..5),
        ) {
            let (first, second) = (Parts::new(one.clone()).unwrap(), Parts::new(two.clone()).unwrap());
            let (both, either) = (first.intersect(&second), first.union(&second));
            prop_assert_eq!(&both, &second.intersect(&first));
            prop_assert_eq!(&either, &second.union(&first));
            for key in keys(&[&one, &two], &more) {
                for action in Action::ALL {
                    let (one, two) = (allows(&one, &key, action), allows(&two, &key, action));
                    prop_assert_eq!(both.as_ref().is_some_and(|both| both.cover(&key, action)), one && two);
                    prop_assert_eq!(either.cover(&key, action), one || two);
                    prop_assert!(!first.cover_parts(&second) || !two || one, "{:?} covers {:?}", first, second);
                }
            }
            prop_assert!(either.cover_parts(&first) && either.cover_parts(&second));
            if let Some(both) = both {
                prop_assert!(first.cover_parts(&both) && second.cover_parts(&both));
            }
            let places = first.places();
            prop_assert!(first.iter().all(|part| places.cover_paths(&part.paths)));
            for part in first.iter() {
                prop_assert!(first.actions_on(&part.paths).contains_all(part.actions));
            }
        }

        #[test]
        fn a_listing_is_that_of_its_own_paths(given in given(), prefix in bytes()) {
            let parts = Parts::new(given).unwrap();
            for action in [Action::ListBucket, Action::ListUploads] {
                let own = parts.paths_of(action).map_or(Listing::Refused, |paths| paths.listing(&prefix));
                prop_assert_eq!(parts.listing(&prefix, action), own);
            }
        }
    }

    #[test]
    fn read_here_and_write_there() {
        let directory = |path: &[u8]| Paths::only([Path::directory(path).unwrap()]).unwrap();
        let parts = Parts::new([
            Part::new(directory(b"a/tmp"), Actions::WRITE).unwrap(),
            Part::new(directory(b"a"), Actions::READ).unwrap(),
        ])
        .unwrap();
        assert!(parts.cover(b"a/x", Action::GetObject) && parts.cover(b"a/tmp/x", Action::GetObject));
        assert!(parts.cover(b"a/tmp/x", Action::PutObject) && !parts.cover(b"a/x", Action::PutObject));
        assert!(!parts.cover(b"a/tmp/x", Action::DeleteObject) && !parts.cover(b"b", Action::GetObject));
        assert_eq!(parts.places(), directory(b"a"));
        assert_eq!(parts.actions_on(&directory(b"a/tmp")), Actions::READ.union(Actions::WRITE));
        assert_eq!(parts.actions_on(&directory(b"a")), Actions::READ);
        // Where both have the same paths it is one part, as it would be written by hand.
        let same =
            Parts::new([Actions::READ, Actions::WRITE].map(|own| Part::new(Paths::Whole, own).unwrap())).unwrap();
        assert_eq!(same.only().unwrap().actions(), Actions::READ.union(Actions::WRITE));
        assert!(parts.only().is_none() && Parts::new([]).is_none());
    }
}
