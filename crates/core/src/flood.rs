//! Lines of a log that a stranger can cause: so many in a second, and a count of the others.

use std::sync::{Mutex, PoisonError};

/// Lets so many through in a second.
#[derive(Debug)]
pub struct Flood {
    most: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    second: u64,
    passed: u32,
    held_back: u64,
}

/// What goes with a line that is let through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Passed {
    /// Lines that were held back since the last one.
    pub held_back: u64,
}

impl Flood {
    /// At most so many in a second.
    pub const fn new(most: u32) -> Self {
        Self { most, state: Mutex::new(State { second: 0, passed: 0, held_back: 0 }) }
    }

    /// Whether one more may pass in this second, of whatever beginning they are counted from.
    pub fn pass(&self, second: u64) -> Option<Passed> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.second != second {
            state.second = second;
            state.passed = 0;
        }
        if state.passed >= self.most {
            state.held_back = state.held_back.saturating_add(1);
            return None;
        }
        state.passed += 1;
        Some(Passed { held_back: std::mem::take(&mut state.held_back) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_back_is_told_with_the_next_that_passes() {
        let flood = Flood::new(2);
        let passed = |second| flood.pass(second).map(|passed| passed.held_back);
        assert_eq!([passed(7), passed(7), passed(7), passed(7)], [Some(0), Some(0), None, None]);
        assert_eq!([passed(8), passed(8), passed(8)], [Some(2), Some(0), None]);
        // A clock that goes back is only another second.
        assert_eq!(passed(3), Some(1));
    }
}
