//! What is tried, with which credential, and what it has to come to. The order counts: what is to be refused is there first.

use valetkey_core::scope::{Action, Actions};

use crate::Verb;

/// A credential of the check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Who {
    /// Reads and writes in `a`.
    Inside,
    /// Reads and writes in `a-b`, whose name begins like the other's.
    Sibling,
    /// Reads in `a`.
    Reader,
    /// Reads and writes in `a` of another bucket.
    Elsewhere,
    /// As `Inside`, with another secret.
    Tampered,
}

/// Where something is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum At {
    /// The object in `a`.
    Own,
    /// Everything in `a`.
    OwnDirectory,
    /// The object in `a-b`.
    Secret,
    /// Everything in `a-b`.
    SiblingDirectory,
    /// Everything of the check.
    Parent,
    /// The object in `a` of the other bucket.
    OtherBucket,
}

/// What it has to come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expect {
    Allowed,
    Refused,
}

/// A credential to be vended.
pub(crate) struct Vend {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) who: Who,
    pub(crate) actions: Actions,
}

/// A request to be tried.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) who: Who,
    pub(crate) verb: Verb,
    pub(crate) at: At,
    pub(crate) expect: Expect,
    /// The row without whose success this one would prove nothing.
    pub(crate) needs: Option<&'static str>,
}

pub(crate) const VENDS: [Vend; 4] = [
    vend("credential", "a credential to read and write inside `a` is given", Who::Inside, Actions::READ_WRITE),
    vend("credential-sibling", "one to read and write inside `a-b` is given", Who::Sibling, Actions::READ_WRITE),
    vend("credential-reader", "one to read inside `a` is given", Who::Reader, Actions::READ),
    vend("credential-elsewhere", "one for `a` in another bucket is given", Who::Elsewhere, Actions::READ_WRITE),
];

const fn vend(name: &'static str, what: &'static str, who: Who, actions: Actions) -> Vend {
    Vend { name, what, who, actions }
}

pub(crate) const STEPS: [Step; 20] = [
    allowed("plant", "`a-b`'s own credential writes there", Who::Sibling, Verb::Put, At::Secret, None),
    allowed("planted", "what it wrote is there", Who::Sibling, Verb::Get, At::Secret, Some("plant")),
    allowed("put-inside", "it writes inside `a`", Who::Inside, Verb::Put, At::Own, None),
    allowed("get-inside", "it reads inside `a`", Who::Inside, Verb::Get, At::Own, Some("put-inside")),
    allowed(
        "list-inside",
        "it lists what is inside `a`",
        Who::Inside,
        Verb::List,
        At::OwnDirectory,
        Some("put-inside"),
    ),
    allowed(
        "parts-inside",
        "it begins a multipart upload there and aborts it",
        Who::Inside,
        Verb::Parts,
        At::Own,
        None,
    ),
    allowed("get-reader", "the reader reads inside `a`", Who::Reader, Verb::Get, At::Own, Some("put-inside")),
    refused("get-sibling", "reading `a-b` is refused", Who::Inside, Verb::Get, At::Secret, "planted"),
    refused("put-sibling", "writing to `a-b` is refused", Who::Inside, Verb::Put, At::Secret, "planted"),
    refused("list-sibling", "listing `a-b` is refused", Who::Inside, Verb::List, At::SiblingDirectory, "planted"),
    refused("list-parent", "listing what is above `a` is refused", Who::Inside, Verb::List, At::Parent, "planted"),
    refused("delete-sibling", "deleting from `a-b` is refused", Who::Inside, Verb::Delete, At::Secret, "planted"),
    refused("reader-sibling", "the reader is refused to read `a-b`", Who::Reader, Verb::Get, At::Secret, "planted"),
    refused("tampered", "a secret that was changed is refused", Who::Tampered, Verb::Get, At::Own, "get-inside"),
    allowed(
        "plant-elsewhere",
        "the other bucket's own credential writes there",
        Who::Elsewhere,
        Verb::Put,
        At::OtherBucket,
        None,
    ),
    allowed(
        "planted-elsewhere",
        "what it wrote is there",
        Who::Elsewhere,
        Verb::Get,
        At::OtherBucket,
        Some("plant-elsewhere"),
    ),
    refused(
        "get-elsewhere",
        "reading the same key of another bucket is refused",
        Who::Inside,
        Verb::Get,
        At::OtherBucket,
        "planted-elsewhere",
    ),
    refused("put-reader", "the reader is refused to write inside `a`", Who::Reader, Verb::Put, At::Own, "get-reader"),
    refused(
        "delete-reader",
        "the reader is refused to delete inside `a`",
        Who::Reader,
        Verb::Delete,
        At::Own,
        "get-reader",
    ),
    allowed("delete-inside", "it deletes inside `a`", Who::Inside, Verb::Delete, At::Own, Some("put-inside")),
];

const fn allowed(
    name: &'static str,
    what: &'static str,
    who: Who,
    verb: Verb,
    at: At,
    needs: Option<&'static str>,
) -> Step {
    Step { name, what, who, verb, at, expect: Expect::Allowed, needs }
}

const fn refused(name: &'static str, what: &'static str, who: Who, verb: Verb, at: At, needs: &'static str) -> Step {
    Step { name, what, who, verb, at, expect: Expect::Refused, needs: Some(needs) }
}

impl Step {
    /// The actions without which a store cannot be expected to allow it.
    pub(crate) const fn actions(&self) -> &'static [Action] {
        match self.verb {
            Verb::Put => &[Action::PutObject],
            Verb::Get => &[Action::GetObject],
            Verb::Delete => &[Action::DeleteObject],
            Verb::List => &[Action::ListBucket],
            Verb::Parts => &[Action::MultipartUpload, Action::AbortUpload],
        }
    }
}
