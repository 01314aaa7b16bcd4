//! Writes rights as an inline session policy of AWS IAM: exactly these or less, never more.
//!
//! SECURITY: what stands here decides how far a foreign store lets a credential reach. A session policy only ever narrows its
//! role, and the role usually opens every bucket; so each pattern must match no key that the rights do not cover. A property
//! test holds it against an evaluator that knows nothing of this file.

use std::collections::BTreeMap;

use serde::Serialize;
use valetkey_core::credential::{LeftOut, Narrowed};
use valetkey_core::name::BucketName;
use valetkey_core::scope::{Action, Actions, Part, Path, Paths, Rights};
use valetkey_core::{Error, Kind};

/// How a store reads policies.
#[derive(Clone, Debug)]
pub(crate) struct Grammar {
    /// `aws`, `aws-cn` or `aws-us-gov`.
    pub(crate) partition: Box<str>,
    /// What it makes of characters that mean something in a pattern.
    pub(crate) specials: Specials,
    /// Whether a key may have a colon.
    pub(crate) colons: Colons,
    /// Whether each statement needs a principal.
    pub(crate) principal: Principal,
    /// Buckets that are reached through an access point: its ARN.
    pub(crate) access_points: BTreeMap<BucketName, Box<str>>,
    /// What to say of keys of the key management service.
    pub(crate) kms: Option<Kms>,
    /// What of everything else.
    pub(crate) outside: Outside,
}

/// What a policy says of what it does not allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outside {
    /// Nothing. A session policy narrows its role; what a bucket's or a key's own policy gives to the session by its name is added.
    Unsaid,
    /// It is denied, whoever else allows it (IAM User Guide, "Policy evaluation logic").
    Denied,
}

/// What a store makes of `*`, `?` and `$` in a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Specials {
    /// They can be escaped: `${*}`, `${?}`, `${$}` (IAM User Guide, "IAM policy elements: Variables and tags").
    Escaped,
    /// It knows no escape, and a dollar sign is nothing special.
    NoEscape,
    /// It knows no escape, and may know variables.
    NoEscapeButVariables,
}

/// What a store makes of a colon in the key part of a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Colons {
    /// It is a character like others.
    Allowed,
    /// It cannot read the pattern.
    Refused,
}

/// Whether each statement needs a principal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Principal {
    /// There must be none (AWS).
    Absent,
    /// There must be one; a session policy's is everyone who holds the session.
    Required,
}

/// Keys of the key management service that objects are encrypted with.
#[derive(Clone, Debug)]
pub(crate) struct Kms {
    /// Their ARNs; none means any, as far as the role allows.
    pub(crate) keys: Vec<Box<str>>,
    /// The buckets behind access points: objects are encrypted in the name of those, whatever they are reached through.
    pub(crate) behind: BTreeMap<BucketName, BucketName>,
}

/// Which parts of a scope a policy says; the shorter forms leave out what is of the least use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Form {
    /// The key of each directory itself: `jobs/daily` beside `jobs/daily/…`.
    pub(crate) markers: Said,
    /// Listing under paths.
    pub(crate) listing: Said,
}

/// Whether a policy says something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Said {
    /// It does.
    Yes,
    /// It was left out, to be shorter.
    LeftOut,
}

impl Form {
    /// Everything that can be said.
    pub(crate) const FULL: Self = Self { markers: Said::Yes, listing: Said::Yes };
    /// From the longest to the shortest.
    pub(crate) const ALL: [Self; 4] = [
        Self::FULL,
        Self { markers: Said::LeftOut, listing: Said::Yes },
        Self { markers: Said::Yes, listing: Said::LeftOut },
        Self { markers: Said::LeftOut, listing: Said::LeftOut },
    ];
}

/// A policy, and what of the scope it does not allow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Written {
    /// Compact JSON, all of it ASCII.
    pub(crate) json: String,
    /// What was left out.
    pub(crate) narrowed: Vec<Narrowed>,
}

impl Grammar {
    /// Writes the rights: each part in statements of its own.
    ///
    /// # Errors
    /// `Invalid` when the store has no words for them.
    pub(crate) fn write(&self, rights: &Rights, form: Form) -> Result<Written, Error> {
        let mut narrowed = Vec::new();
        let bucket = rights.bucket();
        let mut statements = Vec::new();
        let mut on_objects = Vec::new();
        for part in rights.parts().iter() {
            let object_actions = object_actions(part.actions())?;
            self.write_part(bucket, (part, &object_actions), form, &mut statements, &mut narrowed)?;
            on_objects.extend(object_actions);
        }
        if statements.is_empty() {
            let all: Vec<String> = narrowed.iter().map(ToString::to_string).collect();
            return Err(Error::new(
                Kind::Invalid,
                format!("the storage cannot give a credential for this: {}", all.join("; ")),
            ));
        }
        statements.extend(self.kms(bucket, &on_objects));
        if self.outside == Outside::Denied {
            let denied = self.denied(&statements);
            statements.extend(denied);
        }
        Ok(Written { json: ascii_json(&Policy { version: "2012-10-17", statement: statements })?, narrowed })
    }

    fn write_part(
        &self,
        bucket: &BucketName,
        (part, object_actions): (&Part, &[&'static str]),
        form: Form,
        statements: &mut Vec<Statement>,
        narrowed: &mut Vec<Narrowed>,
    ) -> Result<(), Error> {
        let (bucket_arn, object_arn) = self.arns(bucket);
        let own = part.actions();
        // Actions on keys and the bucket's place share a statement: none of them means anything for the other's resource.
        let mut actions = object_actions.to_vec();
        let mut resources = Vec::new();
        let mut listed = Vec::new();
        match part.paths() {
            Paths::Whole => {
                actions.extend(bucket_actions(own));
                if !object_actions.is_empty() {
                    resources.push(format!("{object_arn}*"));
                }
                if actions.len() > object_actions.len() {
                    resources.push(bucket_arn.clone());
                }
                if own.contains(Action::GetBucketInfo) && !own.contains(Action::ListBucket) {
                    narrowed.push(Narrowed::action(Action::GetBucketInfo, NO_HEAD_BUCKET));
                }
            }
            Paths::Only(paths) => {
                let mut unlisted = 0_usize;
                for path in paths.iter() {
                    let text = self.pattern(&path)?;
                    let (own, below) = match &path {
                        Path::Object(_) => (Some(text.clone()), None),
                        Path::Directory(_) => {
                            ((form.markers == Said::Yes).then(|| text.clone()), Some(format!("{text}/*")))
                        }
                        Path::Prefix(_) => (None, Some(format!("{text}*"))),
                    };
                    if !object_actions.is_empty() {
                        resources
                            .extend(own.into_iter().chain(below.clone()).map(|part| format!("{object_arn}{part}")));
                    }
                    match below {
                        Some(below) if self.can_be_condition(&below) => listed.push(below),
                        Some(_) | None => unlisted += 1,
                    }
                }
                let lost = || Narrowed { what: LeftOut::DirectoryKeys, why: "only what is below them".into() };
                if form.markers == Said::LeftOut && !object_actions.is_empty() && !narrowed.contains(&lost()) {
                    narrowed.push(lost());
                }
                if own.contains(Action::GetBucketInfo) {
                    actions.push("s3:GetBucketLocation");
                    resources.push(bucket_arn.clone());
                    narrowed.push(Narrowed::action(Action::GetBucketInfo, NO_HEAD_BUCKET));
                }
                if !own.contains(Action::ListBucket) {
                    listed.clear();
                } else if form.listing == Said::LeftOut {
                    narrowed.push(Narrowed::action(Action::ListBucket, "the policy would be too long"));
                    listed.clear();
                } else if unlisted > 0 {
                    let why = format!("{unlisted} of the {} paths cannot be listed", paths.len());
                    narrowed.push(Narrowed::action(Action::ListBucket, why));
                }
                for action in [Action::ListUploads, Action::GetBucketConfig, Action::PutBucketConfig] {
                    if own.contains(action) {
                        narrowed.push(Narrowed::action(action, "only a whole bucket can have it"));
                    }
                }
            }
        }
        if !actions.is_empty() {
            statements.push(self.statement(actions, resources, None));
        }
        if !listed.is_empty() {
            let condition = Condition::Like(BTreeMap::from([("s3:prefix", OneOrMany::of(listed))]));
            statements.push(self.statement(vec!["s3:ListBucket"], vec![bucket_arn], Some(condition)));
        }
        Ok(())
    }

    /// The ARN of the bucket, and what the ARN of each of its objects starts with.
    fn arns(&self, bucket: &BucketName) -> (String, String) {
        let own = || format!("arn:{}:s3:::{bucket}", self.partition);
        let at = self.access_points.get(bucket);
        let bucket_arn = at.map_or_else(own, ToString::to_string);
        let object_arn = if at.is_some() { format!("{bucket_arn}/object/") } else { format!("{bucket_arn}/") };
        (bucket_arn, object_arn)
    }

    /// The bytes of a path as the literal part of a pattern.
    fn pattern(&self, path: &Path) -> Result<String, Error> {
        let shown = || valetkey_core::name::shortened(&String::from_utf8_lossy(path.bytes()));
        let refuse = |why: &str| {
            Err(Error::new(Kind::Invalid, format!("the storage cannot give a credential for `{}`: {why}", shown())))
        };
        let Ok(text) = std::str::from_utf8(path.bytes()) else {
            return refuse("it is not UTF-8");
        };
        if self.colons == Colons::Refused && text.contains(':') {
            return refuse("its policies cannot name a key with a colon");
        }
        match self.specials {
            Specials::Escaped => Ok(escaped(text)),
            Specials::NoEscape | Specials::NoEscapeButVariables if text.contains(['*', '?']) => {
                refuse("its policies cannot tell a `*` or `?` in a key from a wildcard")
            }
            Specials::NoEscapeButVariables if text.contains("${") => {
                refuse("its policies cannot tell a `${` in a key from a variable")
            }
            Specials::NoEscape | Specials::NoEscapeButVariables => Ok(text.to_owned()),
        }
    }

    /// Stores without escapes may take a value that starts with a dollar sign for the name of a variable.
    fn can_be_condition(&self, value: &str) -> bool {
        self.specials == Specials::Escaped || !value.starts_with('$')
    }

    fn principal(&self) -> Option<&'static str> {
        match self.principal {
            Principal::Absent => None,
            Principal::Required => Some("*"),
        }
    }

    fn statement(&self, action: Vec<&'static str>, resource: Vec<String>, condition: Option<Condition>) -> Statement {
        Statement {
            effect: "Allow",
            principal: self.principal(),
            actions: Only::Action(OneOrMany::of(action)),
            resources: On::Resource(OneOrMany::of(resource)),
            condition,
        }
    }

    /// Denies what none of the statements allows: other actions, and of each one's actions what is on other resources or in other
    /// circumstances. SECURITY: complete, and nothing that is allowed, because no action is in two of them: each is in one part.
    fn denied(&self, allowed: &[Statement]) -> Vec<Statement> {
        let deny = |actions, resources, condition| Statement {
            effect: "Deny",
            principal: self.principal(),
            actions,
            resources,
            condition,
        };
        let everywhere = || On::Resource(OneOrMany::One("*".to_owned()));
        let all = allowed.iter().flat_map(|statement| statement.actions.names()).copied().collect();
        let mut denied = vec![deny(Only::NotAction(OneOrMany::of(all)), everywhere(), None)];
        for Statement { actions, resources, condition, .. } in allowed {
            let actions = || Only::Action(OneOrMany::of(actions.names().to_vec()));
            if !resources.is_everything() {
                denied.push(deny(actions(), On::NotResource(resources.patterns().clone()), None));
            }
            for (key, values) in condition.iter().flat_map(Condition::like) {
                // It holds too where the request has no such key.
                let unlike = Condition::NotLike(BTreeMap::from([(*key, values.clone())]));
                denied.push(deny(actions(), everywhere(), Some(unlike)));
            }
        }
        denied
    }

    /// What encrypted objects need. The store uses a key in the caller's name only for a request it allows, so the bucket is
    /// narrow enough; buckets with a key of their own name only the bucket, others each object.
    fn kms(&self, bucket: &BucketName, object_actions: &[&str]) -> Option<Statement> {
        let kms = self.kms.as_ref()?;
        let writes = object_actions.contains(&"s3:PutObject");
        let mut actions = Vec::new();
        if writes || object_actions.contains(&"s3:GetObject") {
            actions.push("kms:Decrypt");
        }
        if writes {
            actions.push("kms:GenerateDataKey");
        }
        if actions.is_empty() {
            return None;
        }
        let Self { partition, .. } = self;
        let suffix = if &**partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
        let arn = format!("arn:{partition}:s3:::{}", kms.behind.get(bucket).unwrap_or(bucket));
        let condition = Condition::Like(BTreeMap::from([
            ("kms:EncryptionContext:aws:s3:arn", OneOrMany::of(vec![arn.clone(), format!("{arn}/*")])),
            ("kms:ViaService", OneOrMany::of(vec![format!("s3.*.{suffix}")])),
        ]));
        let keys =
            if kms.keys.is_empty() { vec!["*".to_owned()] } else { kms.keys.iter().map(ToString::to_string).collect() };
        Some(self.statement(actions, keys, Some(condition)))
    }
}

const NO_HEAD_BUCKET: &str = "where the bucket is can be asked, but not whether it is there (`HeadBucket`)";

/// IAM's names for what the scope allows to do with keys.
///
/// # Errors
/// `Invalid`: IAM has one action for writing an object whole and in parts.
fn object_actions(actions: Actions) -> Result<Vec<&'static str>, Error> {
    if actions.contains(Action::PutObject) != actions.contains(Action::MultipartUpload) {
        return Err(Error::new(
            Kind::Invalid,
            format!(
                "this storage cannot tell {} from {}: give both or neither",
                Action::PutObject,
                Action::MultipartUpload
            ),
        ));
    }
    Ok(actions
        .iter()
        .flat_map(|action| match action {
            Action::GetObject => &["s3:GetObject"][..],
            Action::PutObject => &["s3:PutObject"],
            Action::DeleteObject => &["s3:DeleteObject"],
            Action::MultipartUpload => &["s3:ListMultipartUploadParts"],
            Action::AbortUpload => &["s3:AbortMultipartUpload"],
            Action::ListBucket
            | Action::ListUploads
            | Action::GetBucketInfo
            | Action::GetBucketConfig
            | Action::PutBucketConfig => &[],
        })
        .copied()
        .collect())
}

/// IAM's names for what the scope allows to do with the whole bucket. Who may list it also learns by `HeadBucket` that it is
/// there: IAM has one action for both, and a listing tells it as well.
fn bucket_actions(actions: Actions) -> Vec<&'static str> {
    actions
        .iter()
        .flat_map(|action| match action {
            Action::ListBucket => &["s3:ListBucket"][..],
            Action::ListUploads => &["s3:ListBucketMultipartUploads"],
            Action::GetBucketInfo => &["s3:GetBucketLocation"],
            Action::GetBucketConfig => {
                &["s3:GetBucketCORS", "s3:GetEncryptionConfiguration", "s3:GetLifecycleConfiguration"]
            }
            // What R2 publishes for its permission of that kind; neither policies nor access lists, which would open more.
            Action::PutBucketConfig => &["s3:PutBucketCORS", "s3:PutLifecycleConfiguration"],
            Action::GetObject
            | Action::PutObject
            | Action::DeleteObject
            | Action::MultipartUpload
            | Action::AbortUpload => &[],
        })
        .copied()
        .collect()
}

/// SECURITY: the one place where a key becomes part of a pattern.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '*' | '?' | '$' => out.extend(['$', '{', c, '}']),
            _ => out.push(c),
        }
    }
    out
}

#[derive(Serialize)]
struct Policy {
    #[serde(rename = "Version")]
    version: &'static str,
    #[serde(rename = "Statement")]
    statement: Vec<Statement>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'static str>,
    #[serde(flatten)]
    actions: Only,
    #[serde(flatten)]
    resources: On,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<Condition>,
}

/// Which actions.
#[derive(Serialize)]
enum Only {
    Action(OneOrMany<&'static str>),
    NotAction(OneOrMany<&'static str>),
}

impl Only {
    fn names(&self) -> &[&'static str] {
        let (Self::Action(names) | Self::NotAction(names)) = self;
        names.all()
    }
}

/// On which resources.
#[derive(Serialize)]
enum On {
    Resource(OneOrMany<String>),
    NotResource(OneOrMany<String>),
}

impl On {
    fn patterns(&self) -> &OneOrMany<String> {
        let (Self::Resource(patterns) | Self::NotResource(patterns)) = self;
        patterns
    }

    fn is_everything(&self) -> bool {
        self.patterns().all().iter().any(|pattern| pattern == "*")
    }
}

/// In which circumstances: keys of a request, and patterns of which one matches the value, or none does.
#[derive(Serialize)]
enum Condition {
    #[serde(rename = "StringLike")]
    Like(BTreeMap<&'static str, OneOrMany<String>>),
    #[serde(rename = "StringNotLike")]
    NotLike(BTreeMap<&'static str, OneOrMany<String>>),
}

impl Condition {
    fn like(&self) -> &BTreeMap<&'static str, OneOrMany<String>> {
        let (Self::Like(keys) | Self::NotLike(keys)) = self;
        keys
    }
}

/// A list of one is written without brackets.
#[derive(Clone, Serialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn all(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    fn of(mut values: Vec<T>) -> Self {
        match values.pop() {
            Some(one) if values.is_empty() => Self::One(one),
            last => {
                values.extend(last);
                Self::Many(values)
            }
        }
    }
}

/// AWS takes a policy in Latin-1 only; other characters are written as JSON escapes.
fn ascii_json(policy: &Policy) -> Result<String, Error> {
    let json = serde_json::to_string(policy)
        .map_err(|error| Error::internal("a session policy could not be written").caused_by(error))?;
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            out.push(c);
        } else {
            // Outside of strings JSON is ASCII, so that this is inside one.
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str("\\u");
                out.extend(
                    [12, 8, 4, 0].map(|shift| char::from_digit(u32::from(*unit >> shift & 0xf), 16).unwrap_or('0')),
                );
            }
        }
    }
    Ok(out)
}
