//! What the doctor found of one thing: whether it is well, and what to do.

use serde::Serialize;

use crate::cli::failure::Failure;

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Serialize, Debug)]
pub(super) struct Finding {
    pub(super) state: State,
    pub(super) what: &'static str,
    pub(super) found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,
}

impl Finding {
    pub(super) fn new(state: State, what: &'static str, found: impl Into<String>) -> Self {
        Self { state, what, found: found.into(), hint: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(super) fn of(what: &'static str, failure: &Failure) -> Self {
        Self { hint: failure.hint.clone(), ..Self::new(State::Fail, what, failure.to_string()) }
    }
}
