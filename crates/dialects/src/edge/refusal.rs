//! What a dialect's tables see of a refusal.

use valetkey_core::Kind;
use valetkey_core::field::Field;

/// A dialect's status and code for one kind of refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// The HTTP status.
    pub status: u16,
    /// The dialect's own code.
    pub code: &'static str,
    /// The dialect's words for it.
    pub title: &'static str,
}

/// What a dialect's envelope may show of a refusal: never what is for the log.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// The dialect's row for it.
    pub row: Row,
    /// Why.
    pub kind: Kind,
    /// The words for the caller.
    pub said: &'a str,
    /// What of the request is at fault; the dialect's table has its own name for it, or none.
    pub field: Option<&'a Field>,
    /// The code of a protocol within the dialect's, where it is told in that one's manner.
    pub code: Option<&'static str>,
    /// The request's id, as the answer's header has it.
    pub request_id: &'a str,
    /// The request's number.
    pub request_number: u64,
}
