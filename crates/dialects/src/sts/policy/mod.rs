//! Reads a session policy of AWS IAM into what it leaves: exactly that, or a refusal.
//!
//! SECURITY: a session policy only narrows, so an `Allow` that is left out opens less, and one that is of no use here is passed over.
//! A `Deny` or a condition that is left out opens more, so what is not understood of those is refused, as is everything whose meaning is
//! not said here. Source: IAM User Guide, "IAM JSON policy elements", "Policy evaluation logic", "Variables and tags"; Amazon S3 User
//! Guide, "Actions, resources, and condition keys".

mod document;
mod resource;

use std::collections::BTreeMap;

use valetkey_core::Error;
use valetkey_core::name::{BucketName, shortened};
use valetkey_core::scope::{Action, Actions, Part, Parts, Paths};

use self::document::{Document, Effect, Statement};
use self::resource::{Pattern, Place, prefix_patterns, touches};
use super::error::malformed_policy;

/// What a session policy leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Left {
    /// The bucket that it names; none where it means every bucket.
    pub(super) bucket: Option<BucketName>,
    /// What may be done where in it; nothing where the policy allows nothing.
    pub(super) parts: Option<Parts>,
}

/// What IAM calls the actions that are known here.
const KNOWN: [&str; 15] = [
    "GetObject",
    "PutObject",
    "DeleteObject",
    "AbortMultipartUpload",
    "ListMultipartUploadParts",
    LIST,
    "GetBucketLocation",
    "ListBucketMultipartUploads",
    "GetBucketCORS",
    "GetEncryptionConfiguration",
    "GetLifecycleConfiguration",
    "PutBucketCORS",
    "PutLifecycleConfiguration",
    // Known to open nothing here.
    "GetObjectVersion",
    "GetObjectAttributes",
];
const LIST: &str = "ListBucket";

/// Those on objects, and what they allow. IAM has one action for writing an object whole and in parts, and S3 one for reading any version:
/// there are no others here.
const ON_OBJECTS: [(&str, &[Action]); 4] = [
    ("GetObject", &[Action::GetObject]),
    ("PutObject", &[Action::PutObject, Action::MultipartUpload]),
    ("DeleteObject", &[Action::DeleteObject]),
    ("AbortMultipartUpload", &[Action::AbortUpload]),
];
/// Those on a whole bucket, of which all are needed for what they allow.
const ON_BUCKETS: [(&[&str], Action); 4] = [
    (&["GetBucketLocation"], Action::GetBucketInfo),
    (&["ListBucketMultipartUploads"], Action::ListUploads),
    (&["GetBucketCORS", "GetEncryptionConfiguration", "GetLifecycleConfiguration"], Action::GetBucketConfig),
    (&["PutBucketCORS", "PutLifecycleConfiguration"], Action::PutBucketConfig),
];

/// What the statements allow, action by action.
#[derive(Default)]
struct Allowed {
    objects: BTreeMap<&'static str, Vec<Place>>,
    buckets: BTreeMap<&'static str, Vec<Place>>,
    /// Which keys may be listed, and where: everything, or what is like one of these.
    listed: Vec<(Place, Vec<Pattern>)>,
}

/// Reads a policy.
///
/// # Errors
/// `Invalid`, as `MalformedPolicyDocument`, for what is not understood exactly.
pub(super) fn read(text: &str) -> Result<Left, Error> {
    let document = Document::read(text)?;
    let mut allowed = Allowed::default();
    for statement in &document.statements {
        match statement.effect {
            Effect::Allow => allowed.add(statement, document.has_variables)?,
            Effect::Deny if statement.denies_all() => return Ok(Left::nothing()),
            Effect::Deny if !statement.action.iter().any(|action| touches(action)) => {}
            Effect::Deny => {
                return Err(malformed_policy("a `Deny` is understood only if it denies everything, or nothing of S3"));
            }
        }
    }
    allowed.left()
}

impl Left {
    const fn nothing() -> Self {
        Self { bucket: None, parts: None }
    }
}

impl Allowed {
    fn add(&mut self, statement: &Statement, has_variables: bool) -> Result<(), Error> {
        if !statement.action.iter().any(|action| touches(action)) {
            // Another service's: it opens nothing here, whatever its conditions are.
            return Ok(());
        }
        let names = KNOWN.into_iter().filter(|name| {
            let full = format!("s3:{name}");
            statement.action.iter().any(|action| resource::glob(action, &full))
        });
        let names: Vec<&'static str> = names.collect();
        if names.is_empty() {
            return Ok(());
        }
        let mut places = Vec::new();
        for text in &statement.resource {
            places.extend(resource::read(text, has_variables)?);
        }
        let listed = match statement.condition() {
            [] => vec![Pattern::everything()],
            [(operator, key, values)] => {
                let only_buckets = names.iter().all(|name| ON_OBJECTS.iter().all(|(own, _)| own != name));
                if !key.eq_ignore_ascii_case("s3:prefix") || !only_buckets {
                    let said = "a condition is understood only on `s3:ListBucket`, and only `s3:prefix`";
                    return Err(malformed_policy(said));
                }
                prefix_patterns(operator, values, has_variables)?
            }
            [_, _, ..] => return Err(malformed_policy("more than one condition is not understood")),
        };
        let unconditional = statement.condition().is_empty();
        for name in names {
            let is_on_objects = ON_OBJECTS.iter().any(|(own, _)| *own == name);
            for place in &places {
                match (is_on_objects, place.is_bucket()) {
                    (true, _) if place.has_objects() => {
                        self.objects.entry(name).or_default().push(place.clone());
                    }
                    (false, true) if name == LIST => self.listed.push((place.clone(), listed.clone())),
                    // Of what has a condition on a prefix nothing but a listing names one.
                    (false, true) if unconditional => self.buckets.entry(name).or_default().push(place.clone()),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// What is left by all of it together: of each action where it is allowed.
    fn left(&self) -> Result<Left, Error> {
        let bucket = self.bucket()?;
        let mut parts: Vec<Part> = Vec::new();
        for (name, given) in ON_OBJECTS {
            let Some(places) = self.objects.get(name) else { continue };
            parts.extend(Part::new(resource::paths(places)?, Actions::of(given)));
        }
        let patterns: Vec<&Pattern> = self.listed.iter().flat_map(|(_, patterns)| patterns).collect();
        let read = parts.iter().find(|part| part.actions().contains(Action::GetObject));
        if let Some(paths) = resource::listable(&patterns, read.map(Part::paths))? {
            parts.extend(Part::new(paths, Actions::of(&[Action::ListBucket])));
        }
        for (names, action) in ON_BUCKETS {
            if names.iter().all(|name| self.buckets.contains_key(name)) {
                let first = parts.first().map(Part::paths);
                let paths = match action {
                    // Where the bucket is can be asked with any path, or none: it goes with what else is left.
                    Action::GetBucketInfo => first.cloned().unwrap_or(Paths::Whole),
                    Action::GetObject
                    | Action::ListBucket
                    | Action::PutObject
                    | Action::DeleteObject
                    | Action::MultipartUpload
                    | Action::AbortUpload
                    | Action::ListUploads
                    | Action::GetBucketConfig
                    | Action::PutBucketConfig => Paths::Whole,
                };
                parts.extend(Part::new(paths, Actions::of(&[action])));
            }
        }
        Ok(Left { bucket, parts: Parts::new(parts) })
    }

    /// The one bucket that is named; none where every bucket is meant.
    fn bucket(&self) -> Result<Option<BucketName>, Error> {
        let places = self.objects.values().chain(self.buckets.values()).flatten();
        let places = places.chain(self.listed.iter().map(|(place, _)| place));
        let mut named: Option<&str> = None;
        for bucket in places.filter_map(Place::bucket) {
            match named {
                Some(other) if other != bucket => {
                    return Err(malformed_policy("several buckets are not understood; ask for a credential for each"));
                }
                Some(_) | None => named = Some(bucket),
            }
        }
        let parse = |name: &str| {
            BucketName::parse(name)
                .map_err(|_| malformed_policy(format!("`{}` is not a bucket's name", shortened(name))))
        };
        named.map(parse).transpose()
    }
}

#[cfg(test)]
mod tests;
