//! One refusal, many envelopes: what went wrong, in a closed set of kinds that every dialect renders its own way.
//!
//! `message` may be read by a stranger; `detail` and the source are for the log. `Display` prints only `message`.

use std::borrow::Cow;
use std::fmt;

use crate::field::{Attribute, Field};

/// Why a caller could not be told apart from a stranger.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stranger {
    /// No token was presented.
    Missing,
    /// The token is not one of ours, or is malformed.
    Unknown,
    /// The token was ours and its time is over.
    Expired,
    /// The token was ours and was ended.
    Revoked,
}

/// What a "not found" or "already exists" is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Noun {
    /// An account.
    Account,
    /// A caller.
    Caller,
    /// A token.
    Token,
    /// A storage.
    Storage,
    /// A bucket.
    Bucket,
    /// A dataset.
    Dataset,
    /// A grant.
    Grant,
    /// A group of callers.
    Group,
    /// A lease.
    Lease,
    /// A workspace.
    Workspace,
    /// A project.
    Project,
    /// A package: its manifest or one of its blobs.
    Package,
    /// A share.
    Share,
    /// A schema of a share.
    Schema,
    /// A table of a share.
    Table,
    /// A version of a table.
    Version,
    /// A parent access key.
    ParentKey,
    /// An identity provider.
    IdentityProvider,
    /// A trust rule of one.
    TrustRule,
    /// A key that signs identity tokens of this server.
    SigningKey,
    /// A request for access.
    Request,
    /// A rule of who may ask for what.
    RequestRule,
    /// What policy files own.
    Policy,
    /// The keyring.
    Keyring,
    /// A route of the API.
    Route,
}

impl Noun {
    /// Every noun that something can be done to.
    pub const ALL: [Self; 24] = [
        Self::Account,
        Self::Caller,
        Self::Token,
        Self::Storage,
        Self::Bucket,
        Self::Dataset,
        Self::Grant,
        Self::Group,
        Self::Lease,
        Self::Workspace,
        Self::Project,
        Self::Package,
        Self::Share,
        Self::Schema,
        Self::Table,
        Self::Version,
        Self::ParentKey,
        Self::IdentityProvider,
        Self::TrustRule,
        Self::SigningKey,
        Self::Request,
        Self::RequestRule,
        Self::Policy,
        Self::Keyring,
    ];
}

impl fmt::Display for Noun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Account => "account",
            Self::Caller => "caller",
            Self::Token => "token",
            Self::Storage => "storage",
            Self::Bucket => "bucket",
            Self::Dataset => "dataset",
            Self::Grant => "grant",
            Self::Group => "group",
            Self::Lease => "lease",
            Self::Workspace => "workspace",
            Self::Project => "project",
            Self::Package => "package",
            Self::Share => "share",
            Self::Schema => "schema",
            Self::Table => "table",
            Self::Version => "version",
            Self::ParentKey => "parent key",
            Self::IdentityProvider => "identity provider",
            Self::TrustRule => "trust rule",
            Self::SigningKey => "signing key",
            Self::Request => "request",
            Self::RequestRule => "request rule",
            Self::Policy => "policy",
            Self::Keyring => "keyring",
            Self::Route => "route",
        })
    }
}

/// Every way a request can be refused. Closed on purpose: a new kind must be given a row in every dialect.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// The request could not be read at all (bad JSON, bad UTF-8, oversized).
    Malformed,
    /// The request was read and a value in it is not allowed.
    Invalid,
    /// Who is asking could not be proven.
    Unauthenticated(Stranger),
    /// Proven, and not allowed.
    Forbidden,
    /// Allowed in principle, but not with this account's plan.
    NotInPlan,
    /// The account has no credits left.
    OutOfCredit,
    /// There is no such thing, or the caller may not know of it.
    NotFound(Noun),
    /// A thing with this name exists.
    AlreadyExists(Noun),
    /// The route exists, the method is not one of its.
    WrongMethod,
    /// The body is larger than the limit.
    TooLarge,
    /// The client is too old to be served.
    Outdated,
    /// What is asked for needs something that the client does not say it knows, or that this server does not know.
    Unsupported,
    /// Too many requests; try again after the time given.
    RateLimited,
    /// The object store behind refused or failed.
    Upstream,
    /// The object store behind did not answer in time.
    UpstreamTimeout,
    /// This server cannot serve now (shutting down, queue full, store unreachable).
    Unavailable,
    /// A defect of ours.
    Internal,
}

impl Kind {
    /// Every kind once, for tables that must have a row for each.
    pub const ALL: &'static [Self] = &[
        Self::Malformed,
        Self::Invalid,
        Self::Unauthenticated(Stranger::Missing),
        Self::Unauthenticated(Stranger::Unknown),
        Self::Unauthenticated(Stranger::Expired),
        Self::Unauthenticated(Stranger::Revoked),
        Self::Forbidden,
        Self::NotInPlan,
        Self::OutOfCredit,
        Self::NotFound(Noun::Account),
        Self::NotFound(Noun::Caller),
        Self::NotFound(Noun::Token),
        Self::NotFound(Noun::Storage),
        Self::NotFound(Noun::Bucket),
        Self::NotFound(Noun::Dataset),
        Self::NotFound(Noun::Grant),
        Self::NotFound(Noun::Group),
        Self::NotFound(Noun::Lease),
        Self::NotFound(Noun::Workspace),
        Self::NotFound(Noun::Project),
        Self::NotFound(Noun::Package),
        Self::NotFound(Noun::Share),
        Self::NotFound(Noun::Schema),
        Self::NotFound(Noun::Table),
        Self::NotFound(Noun::Version),
        Self::NotFound(Noun::ParentKey),
        Self::NotFound(Noun::IdentityProvider),
        Self::NotFound(Noun::TrustRule),
        Self::NotFound(Noun::SigningKey),
        Self::NotFound(Noun::Request),
        Self::NotFound(Noun::RequestRule),
        Self::NotFound(Noun::Policy),
        Self::NotFound(Noun::Route),
        Self::AlreadyExists(Noun::Account),
        Self::AlreadyExists(Noun::Caller),
        Self::AlreadyExists(Noun::Token),
        Self::AlreadyExists(Noun::Storage),
        Self::AlreadyExists(Noun::Bucket),
        Self::AlreadyExists(Noun::Dataset),
        Self::AlreadyExists(Noun::Grant),
        Self::AlreadyExists(Noun::Group),
        Self::AlreadyExists(Noun::Workspace),
        Self::AlreadyExists(Noun::Project),
        Self::AlreadyExists(Noun::Share),
        Self::AlreadyExists(Noun::Table),
        Self::AlreadyExists(Noun::ParentKey),
        Self::AlreadyExists(Noun::IdentityProvider),
        Self::AlreadyExists(Noun::TrustRule),
        Self::AlreadyExists(Noun::SigningKey),
        Self::AlreadyExists(Noun::RequestRule),
        Self::AlreadyExists(Noun::Policy),
        Self::WrongMethod,
        Self::TooLarge,
        Self::Outdated,
        Self::Unsupported,
        Self::RateLimited,
        Self::Upstream,
        Self::UpstreamTimeout,
        Self::Unavailable,
        Self::Internal,
    ];

    /// A short stable name for logs, metrics and the ledger.
    pub const fn slug(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Invalid => "invalid",
            Self::Unauthenticated(Stranger::Missing) => "token_missing",
            Self::Unauthenticated(Stranger::Unknown) => "token_unknown",
            Self::Unauthenticated(Stranger::Expired) => "token_expired",
            Self::Unauthenticated(Stranger::Revoked) => "token_revoked",
            Self::Forbidden => "forbidden",
            Self::NotInPlan => "not_in_plan",
            Self::OutOfCredit => "out_of_credit",
            Self::NotFound(_) => "not_found",
            Self::AlreadyExists(_) => "already_exists",
            Self::WrongMethod => "wrong_method",
            Self::TooLarge => "too_large",
            Self::Outdated => "outdated",
            Self::Unsupported => "unsupported",
            Self::RateLimited => "rate_limited",
            Self::Upstream => "upstream",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

/// A refusal.
pub struct Error {
    kind: Kind,
    message: Cow<'static, str>,
    field: Option<Field>,
    code: Option<&'static str>,
    retry_after_secs: Option<u32>,
    detail: Option<String>,
    reason: Option<Kind>,
    upstream_status: Option<u16>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What was decided is not by what is known any more: another server changed something meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Overtaken;

impl fmt::Display for Overtaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another server changed something meanwhile")
    }
}

impl std::error::Error for Overtaken {}

impl Error {
    /// Refuses what was decided by what another server changed meanwhile. Decided again, it is decided by what is so now.
    pub fn overtaken() -> Self {
        Self::new(Kind::Unavailable, "what you may access was changed just now; ask again")
            .retry_after(1)
            .caused_by(Overtaken)
    }

    /// Whether that is all that is wrong.
    pub fn is_overtaken(&self) -> bool {
        self.source.as_deref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Overtaken>)
    }

    /// Refuses with words a stranger may read: lowercase, no period, the caller's own words in backticks.
    /// Secrets of ours in them are left out, whoever put them there.
    pub fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        let message = match message.into() {
            Cow::Borrowed(ours) => Cow::Borrowed(ours),
            Cow::Owned(made) => Cow::Owned(crate::redact::redacted(&made).into_owned()),
        };
        Self {
            kind,
            message,
            field: None,
            code: None,
            retry_after_secs: None,
            detail: None,
            reason: None,
            upstream_status: None,
            source: None,
        }
    }

    /// Refuses because of a defect of ours; the words for the log stay in the log.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(Kind::Internal, "the server failed; the failure was logged with this request's id").note(detail)
    }

    /// Refuses because the caller may not know whether the thing exists.
    pub fn not_found(noun: Noun) -> Self {
        Self::new(Kind::NotFound(noun), format!("no such {noun}"))
    }

    /// Refuses a name that is taken.
    pub fn taken(noun: Noun, name: impl fmt::Display) -> Self {
        Self::new(Kind::AlreadyExists(noun), format!("there is a {noun} named `{name}` already")).at(Attribute::Name)
    }

    /// Names the field of the request that is at fault.
    #[must_use]
    pub fn at(mut self, field: impl Into<Field>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Gives it the code of a protocol within the dialect's (OAuth's within Delta Sharing's), which is then told in that one's manner.
    #[must_use]
    pub fn coded(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// Adds words that only the log reads.
    #[must_use]
    pub fn note(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Keeps the error that caused this one, for the log.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says why it really was, for the record, where the caller is told less.
    #[must_use]
    pub fn really(mut self, reason: Kind) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Says with which HTTP status a storage, or its provider, answered.
    #[must_use]
    pub fn answered(mut self, status: u16) -> Self {
        self.upstream_status = Some(status);
        self
    }

    /// Says after how many seconds another try may succeed.
    #[must_use]
    pub fn retry_after(mut self, secs: u32) -> Self {
        self.retry_after_secs = Some(secs);
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Why it was, for the record: what went wrong, or what the caller is not told.
    pub fn reason(&self) -> Kind {
        self.reason.unwrap_or(self.kind)
    }

    /// The words for the caller.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What of the request is at fault, if something is: a dialect has its own name for it.
    pub fn fault(&self) -> Option<&Field> {
        self.field.as_ref()
    }

    /// The domain's name for that: for what is no dialect.
    pub fn field(&self) -> Option<&str> {
        self.fault().map(Field::as_str)
    }

    /// The code of a protocol within the dialect's.
    pub fn code(&self) -> Option<&'static str> {
        self.code
    }

    /// Seconds after which another try may succeed.
    pub fn retry_after_secs(&self) -> Option<u32> {
        self.retry_after_secs
    }

    /// The words for the log.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// The HTTP status that a storage, or its provider, answered with, if it was that.
    pub fn upstream_status(&self) -> Option<u16> {
        self.upstream_status
    }

    /// The same refusal once more, for another who waits for it. What caused it is then among the words for the log.
    #[must_use]
    pub fn again(&self) -> Self {
        let Self { kind, message, field, code, retry_after_secs, detail, reason, upstream_status, source: _ } = self;
        let causes = std::iter::successors(std::error::Error::source(self), |cause| cause.source());
        let words: Vec<String> = detail.iter().cloned().chain(causes.map(ToString::to_string)).collect();
        Self {
            kind: *kind,
            message: message.clone(),
            field: field.clone(),
            code: *code,
            retry_after_secs: *retry_after_secs,
            detail: (!words.is_empty()).then(|| words.join(": ")),
            reason: *reason,
            upstream_status: *upstream_status,
            source: None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, message, field, code, retry_after_secs, detail, reason, upstream_status, source } = self;
        f.debug_struct("Error")
            .field("kind", kind)
            .field("message", message)
            .field("field", field)
            .field("code", code)
            .field("retry_after_secs", retry_after_secs)
            .field("detail", detail)
            .field("reason", reason)
            .field("upstream_status", upstream_status)
            .field("source", source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_told_again_is_the_same_and_its_causes_are_in_the_log() {
        let cause = Error::new(Kind::Upstream, "broke off").caused_by("reset by peer");
        let first = Error::new(Kind::RateLimited, "too often")
            .at("paths")
            .note("asked twice")
            .really(Kind::Upstream)
            .answered(429)
            .retry_after(7)
            .caused_by(cause);
        let again = first.again();
        assert_eq!((again.kind(), again.message(), again.reason()), (first.kind(), first.message(), first.reason()));
        assert_eq!((again.field(), again.retry_after_secs()), (Some("paths"), Some(7)));
        assert_eq!(again.upstream_status(), Some(429));
        assert_eq!(again.detail(), Some("asked twice: broke off: reset by peer"));
        assert!(std::error::Error::source(&again).is_none());
        assert_eq!(again.again().detail(), again.detail());
        assert_eq!(Error::not_found(Noun::Grant).again().detail(), None);
    }
}
