//! What there will be when the files are applied, and what stands in the way.

use std::collections::{BTreeMap, BTreeSet};

use crate::nouns::policy_set::settling::{Problem, Settling};
use crate::nouns::policy_set::state::State;
use crate::nouns::policy_set::wanted::Wanted;
use crate::nouns::removal::Thing;

/// What there will be. New things get ids of `mint`.
///
/// # Errors
/// All that stands in the way.
pub fn settle(before: &State, wanted: &Wanted, mint: &mut dyn FnMut() -> [u8; 16]) -> Result<State, Vec<Problem>> {
    let mut own = Settling { before, wanted, after: before.clone(), kept: BTreeSet::new(), problems: Vec::new(), mint };
    own.overlaps();
    own.accounts();
    own.callers();
    own.datasets();
    own.providers();
    own.groups();
    own.grants();
    if wanted.prune {
        own.prune();
    }
    own.after.sets.insert(wanted.owner.clone(), wanted.owns.clone());
    if own.problems.is_empty() { Ok(own.after) } else { Err(own.problems) }
}

impl Settling<'_> {
    fn overlaps(&mut self) {
        for (name, owns) in &self.before.sets {
            if *name != self.wanted.owner
                && let Some(pattern) = self.wanted.owns.meets(owns)
            {
                let said =
                    format!("`owns` says `{pattern}`, and so does the set `{name}`: two sets own nothing together");
                self.problems.push(Problem { source: "owns".into(), said });
            }
        }
    }

    /// Removes what the set owns and the files do not name any more; nothing of anybody else goes with it.
    fn prune(&mut self) {
        let gone: Vec<Thing> = self
            .before
            .managed
            .iter()
            .filter(|(thing, known)| known.owner == self.wanted.owner && !self.kept.contains(thing))
            .map(|(thing, _)| thing.clone())
            .collect();
        for thing in &gone {
            self.after.forget(thing);
        }
        let needs: BTreeMap<Thing, Thing> = self.after.needs().into_iter().rev().collect();
        for thing in gone {
            let Some(left) = needs.get(&thing) else { continue };
            let of = |thing: &Thing| self.before.address(thing).or_else(|| self.after.address(thing));
            let (address, left) = (of(&thing).unwrap_or_default(), of(left).unwrap_or_default());
            let said = format!("{address} is not in the files any more, and {left}, which is not the set's, needs it");
            self.problem("", said);
        }
    }
}
