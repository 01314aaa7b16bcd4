//! What of a request is at fault, in the domain's terms: each dialect has its own name for it, or none.

use std::borrow::Cow;

use crate::redact::redacted;
use crate::word::words;

/// A part of a request that is at fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Field {
    /// What an ask wants to do.
    Access,
    /// The bucket it names.
    Bucket,
    /// The grant it names.
    Grant,
    /// How long its credential is to live.
    Lifetime,
    /// Its parts, where it has several.
    Parts,
    /// The paths it names.
    Paths,
    /// The storage it names.
    Storage,
    /// Something of a noun that administration knows.
    Attribute(Attribute),
    /// A name that is one API's own, or one of the settings' of a kind of storage: shown as it is.
    Other(Cow<'static, str>),
}

words! {
    /// What administration says of a noun.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Attribute {
        /// The headers a browser may send.
        AllowedHeaders => "allowed_headers",
        /// The methods a browser may use.
        AllowedMethods => "allowed_methods",
        /// The origins whose pages a browser may ask from.
        AllowedOrigins => "allowed_origins",
        /// Who may ask.
        Askers => "askers",
        /// Who approves what is asked for.
        Approvers => "approvers",
        /// The directories a table has beside its own.
        Auxiliary => "auxiliary",
        /// The buckets of a parent access key.
        Buckets => "buckets",
        /// A caller.
        Caller => "caller",
        /// What an identity token has to claim.
        Claims => "claims",
        /// What has to hold besides.
        Conditions => "conditions",
        /// Whether what needs a thing is removed with it.
        Cascade => "cascade",
        /// A sentence for people.
        Comment => "comment",
        /// How many credits.
        Credits => "credits",
        /// A dataset.
        Dataset => "dataset",
        /// The digest of a package's content.
        Digest => "digest",
        /// The last version of a table that is asked for.
        EndingVersion => "ending_version",
        /// The headers a browser's page may read.
        ExposedHeaders => "exposed_headers",
        /// How long access is asked for.
        ForSecs => "for_secs",
        /// Whom a grant is for.
        Grantee => "to",
        /// Which versions of a table may be read.
        History => "history",
        /// What a rule is called.
        Id => "id",
        /// Whether the last operator may go.
        LastOperator => "last_operator",
        /// How long a list is.
        Limit => "limit",
        /// How long a browser remembers an answer.
        MaxAge => "max_age_secs",
        /// The longest that access is asked for.
        MaxSecs => "max_secs",
        /// The members of a group.
        Members => "members",
        /// The shortest life of a storage's credentials.
        MinLifetime => "min_ttl_secs",
        /// A name.
        Name => "name",
        /// What an approver says.
        Note => "note",
        /// A directory.
        Prefix => "prefix",
        /// Why access is asked for.
        Reason => "reason",
        /// A request for access.
        Request => "request",
        /// A role.
        Role => "role",
        /// A table's directory.
        Root => "root",
        /// The rule that access is asked for under.
        Rule => "rule",
        /// The rules for browsers.
        Rules => "rules",
        /// Whether a grant's paths have placeholders.
        Template => "template",
        /// The instant a table is asked for at.
        Timestamp => "timestamp",
        /// A token.
        Token => "token",
        /// When a thing ends.
        Until => "until",
        /// The version of a table that is asked for.
        Version => "version",
        /// Whether a bucket is removed with its objects.
        WithObjects => "with_objects",
    }
}

impl Field {
    /// What the domain calls it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Access => "access",
            Self::Bucket => "bucket",
            Self::Grant => "grant",
            Self::Lifetime => "lifetime",
            Self::Parts => "parts",
            Self::Paths => "paths",
            Self::Storage => "storage",
            Self::Attribute(attribute) => attribute.as_str(),
            Self::Other(name) => name,
        }
    }
}

impl From<Attribute> for Field {
    fn from(attribute: Attribute) -> Self {
        Self::Attribute(attribute)
    }
}

impl From<&'static str> for Field {
    fn from(name: &'static str) -> Self {
        Self::Other(Cow::Borrowed(name))
    }
}

impl From<String> for Field {
    fn from(made: String) -> Self {
        Self::Other(Cow::Owned(redacted(&made).into_owned()))
    }
}
