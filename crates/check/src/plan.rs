//! What is tried, with which credential, and what it has to come to. The order counts: what is to be refused is there first.

use valetkey_core::nouns::provider::{Documented, Extra};
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
    /// Only writes in `a`.
    Writer,
    /// Only deletes in `a`.
    Deleter,
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
    /// The object in `a-b`, by a key of `a` with `..` in it: there is no such object, unless keys are joined to paths.
    Astray,
    /// Everything of the check, by a prefix of `a` with `..` in it.
    AstrayDirectory,
}

/// What it has to come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expect {
    Allowed,
    Refused,
    /// Not to reach anything: it need not be refused, because nothing has that key.
    Nothing,
    /// What the kind's documentation says of this extra; where it says nothing, it is not tried.
    AsDocumented(Extra),
}

impl Expect {
    /// Whether an answer that says nothing leaves the question open, rather than ending the check.
    pub(crate) const fn is_aside(self) -> bool {
        matches!(self, Self::Nothing | Self::AsDocumented(_))
    }
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

pub(crate) const VENDS: [Vend; 6] = [
    vend("credential", "a credential to read and write inside `a` is given", Who::Inside, Actions::READ_WRITE),
    vend("credential-sibling", "one to read and write inside `a-b` is given", Who::Sibling, Actions::READ_WRITE),
    vend("credential-reader", "one to read inside `a` is given", Who::Reader, Actions::READ),
    vend("credential-elsewhere", "one for `a` in another bucket is given", Who::Elsewhere, Actions::READ_WRITE),
    vend("credential-writer", "one only to write inside `a` is given", Who::Writer, Actions::WRITE),
    vend(
        "credential-deleter",
        "one only to delete inside `a` is given",
        Who::Deleter,
        Actions::NONE.with(Action::DeleteObject),
    ),
];

const fn vend(name: &'static str, what: &'static str, who: Who, actions: Actions) -> Vend {
    Vend { name, what, who, actions }
}

pub(crate) const STEPS: [Step; 38] = [
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
    nothing("get-astray", "a key of `a` with `..` does not reach the object in `a-b`", Verb::Get, At::Astray),
    nothing("list-astray", "a prefix of `a` with `..` does not list what is above it", Verb::List, At::AstrayDirectory),
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
    beyond("beyond-tags", "with get-object: an object's tags are read", Who::Reader, Extra::Tags),
    beyond("beyond-acl", "with get-object: an object's ACL is read", Who::Reader, Extra::Acl),
    beyond("beyond-attributes", "with get-object: an object's attributes are read", Who::Reader, Extra::Attributes),
    beyond("beyond-versions", "with list-bucket: earlier versions are listed", Who::Reader, Extra::Versions),
    beyond("beyond-untag", "with put-object, delete-object: tags are deleted", Who::Inside, Extra::Untag),
    beyond("beyond-snapshot", "with put-object: a snapshot is taken", Who::Inside, Extra::Snapshot),
    beyond("beyond-earlier", "with get-object: a snapshot is read", Who::Inside, Extra::Earlier),
    beyond("beyond-version", "with get-object: an object is read by its version", Who::Reader, Extra::Version),
    beyond("beyond-lease", "with put-object: a lease without an end is taken", Who::Inside, Extra::Lease),
    beyond("beyond-metadata", "with put-object: metadata is replaced", Who::Inside, Extra::Metadata),
    beyond("beyond-retag", "with put-object: tags are replaced", Who::Inside, Extra::Retag),
    beyond("beyond-break-lease", "with delete-object: a lease is broken", Who::Deleter, Extra::BreakLease),
    beyond("beyond-write", "with delete-object: an object is written", Who::Deleter, Extra::Write),
    beyond("beyond-list", "with put-object: keys are listed", Who::Writer, Extra::List),
    beyond("beyond-undelete", "with put-object: what was deleted is restored", Who::Writer, Extra::Undelete),
    beyond("beyond-retention", "with put-object: retention is set", Who::Writer, Extra::Retention),
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

const fn nothing(name: &'static str, what: &'static str, verb: Verb, at: At) -> Step {
    Step { expect: Expect::Nothing, ..refused(name, what, Who::Inside, verb, at, "planted") }
}

/// What the credentials of some kinds open beyond their actions.
const fn beyond(name: &'static str, what: &'static str, who: Who, extra: Extra) -> Step {
    let (verb, at) = match extra {
        Extra::List => (Verb::List, At::OwnDirectory),
        Extra::Write => (Verb::Put, At::Own),
        Extra::Tags
        | Extra::Untag
        | Extra::Acl
        | Extra::Attributes
        | Extra::Versions
        | Extra::Lease
        | Extra::BreakLease
        | Extra::Snapshot
        | Extra::Earlier
        | Extra::Version
        | Extra::Metadata
        | Extra::Retag
        | Extra::Undelete
        | Extra::Retention => (Verb::Extra(extra), At::Own),
    };
    Step { expect: Expect::AsDocumented(extra), ..refused(name, what, who, verb, at, "get-inside") }
}

impl Vend {
    /// Whether it is only for what may be open beyond the actions.
    pub(crate) const fn is_aside(&self) -> bool {
        matches!(self.who, Who::Writer | Who::Deleter)
    }
}

impl Step {
    /// Whether it is tried at a kind that has this to say of extras.
    pub(crate) fn is_tried(&self, beyond: &[(Extra, Documented)]) -> bool {
        match self.expect {
            Expect::Allowed | Expect::Refused | Expect::Nothing => true,
            Expect::AsDocumented(extra) => beyond.iter().any(|(of, _)| *of == extra),
        }
    }

    /// The actions without which a store cannot be expected to allow it.
    pub(crate) const fn actions(&self) -> &'static [Action] {
        match self.verb {
            Verb::Put => &[Action::PutObject],
            Verb::Get => &[Action::GetObject],
            Verb::Delete => &[Action::DeleteObject],
            Verb::List => &[Action::ListBucket],
            Verb::Parts => &[Action::MultipartUpload, Action::AbortUpload],
            Verb::Extra(_) => &[],
        }
    }
}
