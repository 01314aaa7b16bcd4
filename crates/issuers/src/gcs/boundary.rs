//! A scope as a Credential Access Boundary: which roles a token keeps, under which conditions.
//!
//! A boundary is at most ten rules; each names roles and a condition in the Common Expression Language, and a token keeps
//! what any rule leaves it. Roles hold more than we want, so each is put under a condition that cuts it to what is covered:
//!
//! | action | role | under |
//! |---|---|---|
//! | get-object | `storage.legacyObjectReader` (`storage.objects.get` and nothing else) | the objects' names |
//! | list-bucket | `storage.objectViewer` (get, list) | `objectListPrefix`, which only listings have |
//! | put-object, multipart-upload and abort-upload together | `storage.objectCreator` | the objects' names |
//! | the same and delete-object | `storage.legacyBucketWriter` | the objects' names, so nothing of the bucket's own |
//!
//! Google adds to its roles now and then (`storage.objects.createContext` to `objectCreator`; restoring and retention to
//! those that write); who wants none of it names custom roles in the settings. With them an action alone can be given that
//! Google has no role for.

use serde::Serialize;
use valetkey_core::credential::Narrowed;
use valetkey_core::scope::{Action, Actions, Part, Path, Paths, Rights};
use valetkey_core::{Error, Kind};

use crate::gcs::CustomRoles;
use crate::gcs::cel;

/// The most rules of a boundary ("Access boundary", Security Token Service API).
const MAX_RULES: usize = 10;
/// The longest expression, in characters (same place). Counted in bytes, which are never fewer.
const MAX_EXPRESSION: usize = 2048;
/// The largest boundary, in bytes of JSON ("Method: token", v1beta). The first version allows more, but a bounded token holds
/// its boundary and may not be much longer than 10 kB itself, so more is refused there later and in fewer words.
const MAX_JSON: usize = 4096;
/// The most terms of an expression: twelve logical operators ("Quotas and limits", IAM).
const MAX_TERMS: usize = 13;

/// The boundary, as the exchange wants it in its options.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Options {
    access_boundary: AccessBoundary,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AccessBoundary {
    access_boundary_rules: Vec<Rule>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    available_resource: String,
    available_permissions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    availability_condition: Option<Condition>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Condition {
    expression: String,
}

/// A scope in the words of a boundary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Compiled {
    /// The boundary.
    pub(super) options: Options,
    /// What was left out.
    pub(super) narrowed: Vec<Narrowed>,
}

/// Google's role for who writes and deletes, which has other rights besides.
pub(super) const BUCKET_WRITER: &str = "roles/storage.legacyBucketWriter";

impl Options {
    /// Whether a rule of it gives a role.
    pub(super) fn has_role(&self, role: &str) -> bool {
        let rules = &self.access_boundary.access_boundary_rules;
        rules.iter().flat_map(|rule| &rule.available_permissions).any(|own| own.strip_prefix("inRole:") == Some(role))
    }

    /// The boundary as JSON.
    ///
    /// SECURITY: Google's own clients encode this once or twice before they send it, so its server may decode it once more
    /// than it was encoded. `%` and `+`, which that would change into another name, are written as JSON escapes.
    pub(super) fn json(&self) -> Result<String, Error> {
        let json = serde_json::to_string(self).map_err(|error| Error::internal(error.to_string()))?;
        Ok(json.replace('%', "\\u0025").replace('+', "\\u002b"))
    }
}

/// Says the scope as a boundary can: each part in rules of its own, since a token keeps what any rule leaves it.
pub(super) fn compile(rights: &Rights, custom: &CustomRoles) -> Result<Compiled, Error> {
    let mut narrowed = Vec::new();
    let mut rules = Vec::new();
    for part in rights.parts().iter() {
        put_part(rights.bucket().as_str(), part, custom, &mut rules, &mut narrowed)?;
    }
    if rules.is_empty() {
        return Err(invalid(format!("an access boundary cannot allow only {} here", rights.actions())));
    }
    if rules.len() > MAX_RULES {
        return Err(invalid(format!(
            "the paths need {} rules of an access boundary and the most is {MAX_RULES}; ask for fewer at once",
            rules.len()
        )));
    }
    let options = Options { access_boundary: AccessBoundary { access_boundary_rules: rules } };
    let size = options.json()?.len();
    if size > MAX_JSON {
        return Err(invalid(format!(
            "the paths make an access boundary of {size} bytes and the most is {MAX_JSON}; ask for fewer at once"
        )));
    }
    Ok(Compiled { options, narrowed })
}

fn put_part(
    bucket: &str,
    part: &Part,
    custom: &CustomRoles,
    rules: &mut Vec<Rule>,
    narrowed: &mut Vec<Narrowed>,
) -> Result<(), Error> {
    let (paths, actions) = (part.paths(), part.actions());
    let on_objects = object_roles(actions, custom, narrowed);
    let mut put = |roles: &[String], expressions: Vec<Option<String>>| {
        rules.extend(expressions.into_iter().map(|expression| Rule {
            available_resource: format!("//storage.googleapis.com/projects/_/buckets/{bucket}"),
            available_permissions: roles.iter().map(|role| format!("inRole:{role}")).collect(),
            availability_condition: expression.map(|expression| Condition { expression }),
        }));
    };
    if !on_objects.is_empty() {
        put(&on_objects, join(object_terms(bucket, paths)?)?);
    }
    if actions.contains(Action::ListBucket) {
        let lists = match (paths, &custom.list) {
            // Without a condition the role's reading would not be cut off, so it must be allowed anyway: on the whole bucket, which is
            // this part.
            (Paths::Whole, None) if !actions.contains(Action::GetObject) => {
                let why = "of a whole bucket it needs get-object beside it, or a custom role";
                narrowed.push(Narrowed::action(Action::ListBucket, why));
                None
            }
            (Paths::Whole, _) => Some(vec![None]),
            (Paths::Only(_), _) => {
                let terms = list_terms(paths, narrowed)?;
                if terms.is_empty() { None } else { Some(join(terms)?) }
            }
        };
        if let Some(expressions) = lists {
            let role = custom.list.clone().unwrap_or_else(|| "roles/storage.objectViewer".to_owned());
            put(&[role], expressions);
        }
    }
    Ok(())
}

/// The roles for what is done with objects, and what they do not give.
fn object_roles(actions: Actions, custom: &CustomRoles, narrowed: &mut Vec<Narrowed>) -> Vec<String> {
    let CustomRoles { read, list: _, create, delete } = custom;
    let has = |action| actions.contains(action);
    let wants_create = has(Action::PutObject) && has(Action::MultipartUpload) && has(Action::AbortUpload);
    let wants_delete = has(Action::DeleteObject);
    let mut roles = Vec::new();
    if has(Action::GetObject) {
        roles.push(read.clone().unwrap_or_else(|| "roles/storage.legacyObjectReader".to_owned()));
    }
    let mut deletes = false;
    match (wants_create, wants_delete, create, delete) {
        (true, true, None, _) | (true, true, Some(_), None) => {
            roles.push(BUCKET_WRITER.to_owned());
            deletes = true;
        }
        (create_too, delete_too, create, delete) => {
            if create_too {
                roles.push(create.clone().unwrap_or_else(|| "roles/storage.objectCreator".to_owned()));
            }
            if let (true, Some(role)) = (delete_too, delete) {
                roles.push(role.clone());
                deletes = true;
            }
        }
    }
    for action in actions.iter() {
        let why = match action {
            Action::GetObject | Action::ListBucket => None,
            Action::PutObject if wants_create && !deletes => {
                Some("only new objects: to write over one needs delete-object too")
            }
            Action::PutObject | Action::MultipartUpload | Action::AbortUpload if wants_create => None,
            Action::PutObject | Action::MultipartUpload | Action::AbortUpload => {
                Some("Google's roles give put-object, multipart-upload and abort-upload together or not at all")
            }
            Action::DeleteObject if deletes => None,
            Action::DeleteObject => Some("no role of Google's only deletes; name a custom role"),
            Action::ListUploads | Action::GetBucketInfo | Action::GetBucketConfig | Action::PutBucketConfig => {
                Some("it is about the bucket itself, and the boundary is about objects")
            }
        };
        if let Some(why) = why {
            narrowed.push(Narrowed::action(action, why));
        }
    }
    roles
}

/// Conditions that hold for the objects covered and for nothing else.
fn object_terms(bucket: &str, paths: &Paths) -> Result<Vec<String>, Error> {
    let name = |key: &str| format!("projects/_/buckets/{bucket}/objects/{key}");
    let starts = |key: &str| format!("resource.name.startsWith({})", cel::literal(&name(key)));
    let is = |key: &str| format!("resource.name == {}", cel::literal(&name(key)));
    let Paths::Only(set) = paths else {
        // Every object, but not the bucket.
        return Ok(vec![starts("")]);
    };
    let mut terms = Vec::new();
    for path in set.iter() {
        let key = text(&path)?;
        match path {
            Path::Object(_) => terms.push(is(key)),
            Path::Directory(_) => terms.extend([starts(&format!("{key}/")), is(key)]),
            Path::Prefix(_) => terms.push(starts(key)),
        }
    }
    Ok(terms)
}

/// Conditions that hold for the listings that show only what is covered.
fn list_terms(paths: &Paths, narrowed: &mut Vec<Narrowed>) -> Result<Vec<String>, Error> {
    let Paths::Only(set) = paths else { return Ok(Vec::new()) };
    let mut terms = Vec::new();
    let mut single = false;
    for path in set.iter() {
        let key = text(&path)?;
        let prefix = match path {
            // A listing by an object's name also shows the names that go on behind it.
            Path::Object(_) => {
                single = true;
                continue;
            }
            Path::Directory(_) => format!("{key}/"),
            Path::Prefix(_) => key.to_owned(),
        };
        terms.push(format!(
            "api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith({})",
            cel::literal(&prefix)
        ));
    }
    if single {
        narrowed.push(Narrowed::action(Action::ListBucket, "single objects cannot be listed"));
    }
    Ok(terms)
}

fn text(path: &Path) -> Result<&str, Error> {
    std::str::from_utf8(path.bytes())
        .map_err(|_| invalid("the names of Google's objects are text in UTF-8, and a path is none"))
}

/// Joins the terms into as few expressions as hold them.
fn join(terms: Vec<String>) -> Result<Vec<Option<String>>, Error> {
    const OR: &str = " || ";
    let mut expressions: Vec<(String, usize)> = Vec::new();
    for term in terms {
        if term.len() > MAX_EXPRESSION {
            return Err(invalid(format!(
                "a path makes a condition of {} bytes; the most is {MAX_EXPRESSION}",
                term.len()
            )));
        }
        match expressions.last_mut() {
            Some((expression, terms))
                if *terms < MAX_TERMS && expression.len() + OR.len() + term.len() <= MAX_EXPRESSION =>
            {
                expression.push_str(OR);
                expression.push_str(&term);
                *terms += 1;
            }
            _ => expressions.push((term, 1)),
        }
    }
    Ok(expressions.into_iter().map(|(expression, _)| Some(expression)).collect())
}

fn invalid(said: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Kind::Invalid, said)
}

#[cfg(test)]
#[path = "boundary_tests.rs"]
mod tests;
