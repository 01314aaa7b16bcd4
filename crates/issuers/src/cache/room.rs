//! Which kept credentials go when there are too many.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{Key, Slot};

/// Makes room: what is over first, then what is over soonest; a sixteenth at once, so that it is not done for each.
pub(super) fn make_room(slots: &mut HashMap<Key, Slot>, most: usize, now: Timestamp) {
    slots.retain(|_, slot| slot.flight.is_some() || slot.lasts() > now);
    let keep = most - (most / 16).max(1);
    if slots.len() <= keep {
        return;
    }
    let mut ends: Vec<Timestamp> = slots.values().map(Slot::lasts).collect();
    ends.sort_unstable();
    let border = ends.get(ends.len() - keep).copied().unwrap_or(Timestamp::MAX);
    let mut over = slots.len() - keep;
    slots.retain(|_, slot| {
        let drop = over > 0 && slot.flight.is_none() && slot.lasts() <= border;
        over -= usize::from(drop);
        !drop
    });
}
