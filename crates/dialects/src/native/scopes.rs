//! Scopes as this API writes them: a bucket, paths by kind, and an access word or a list of actions.

use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::ask::Wanted;
use valetkey_core::scope::{Action, Actions, Part, Path, Paths, Rights, Scope};
use valetkey_core::template::Opens;
use valetkey_core::{Error, Kind};

use super::api::scopes::Access;
use super::wire;

impl Access {
    /// The most that the word means.
    pub(super) fn actions(self) -> Result<Actions, Error> {
        match self {
            Self::Read => Ok(Actions::READ),
            Self::Write => Ok(Actions::WRITE),
            Self::ReadWrite => Ok(Actions::READ_WRITE),
            Self::Custom => {
                Err(Error::new(Kind::Invalid, "`custom` cannot be asked for; list `actions` instead").at("access"))
            }
        }
    }

    /// Without these the word would be a lie.
    pub(super) fn essential(self) -> Actions {
        match self {
            Self::Read => Actions::of(&[Action::GetObject]),
            Self::Write => Actions::of(&[Action::PutObject]),
            Self::ReadWrite => Actions::of(&[Action::GetObject, Action::PutObject]),
            Self::Custom => Actions::NONE,
        }
    }

    /// The word for a set of actions.
    pub(super) fn of(actions: Actions) -> Self {
        [Self::Read, Self::Write, Self::ReadWrite]
            .into_iter()
            .find(|word| {
                actions.contains_all(word.essential()) && word.actions().is_ok_and(|most| most.contains_all(actions))
            })
            .unwrap_or(Self::Custom)
    }
}

/// Reads an access word or a list of actions; without either it is `read`.
pub(super) fn wish(access: Option<Access>, actions: Option<&[String]>) -> Result<Wanted, Error> {
    match (access, actions) {
        (Some(_), Some(_)) => {
            Err(Error::new(Kind::Invalid, "`access` and `actions` say the same; give one").at("actions"))
        }
        (None, Some(list)) => action_list(list).map(Wanted::all_of),
        (access, None) => {
            let access = access.unwrap_or(Access::Read);
            Ok(Wanted::between(access.essential(), access.actions()?))
        }
    }
}

fn action_list(list: &[String]) -> Result<Actions, Error> {
    let mut actions = Actions::NONE;
    for text in list {
        actions = actions.with(action(text, "actions")?);
    }
    if actions.is_empty() {
        return Err(Error::new(Kind::Invalid, "the list is empty; leave it out to mean reading").at("actions"));
    }
    Ok(actions)
}

/// Reads an action's name.
pub(super) fn action(text: &str, field: &'static str) -> Result<Action, Error> {
    wire::word(text, "an action", field)
}

/// The paths of a request, as its fields have them.
#[derive(Default)]
pub(super) struct PathRequest {
    pub(super) prefix: Option<String>,
    pub(super) prefixes: Option<Vec<String>>,
    pub(super) objects: Option<Vec<String>>,
    pub(super) raw_prefixes: Option<Vec<String>>,
    pub(super) whole_bucket: Option<bool>,
}

/// SECURITY: the most paths a request may name. A credential with more does not fit a header anyway.
const MOST_PATHS: usize = 1000;

/// Makes a path of a field's text.
type Make = fn(&[u8]) -> Result<Path, Error>;

impl PathRequest {
    /// The paths; nothing if no field names any. An empty list names none and is refused: it never means everything.
    pub(super) fn read(self) -> Result<Option<Paths>, Error> {
        let Self { prefix, prefixes, objects, raw_prefixes, whole_bucket } = self;
        let mut paths: Vec<Path> = Vec::new();
        if let Some(prefix) = prefix {
            paths.push(Path::directory(prefix.as_bytes()).map_err(|error| error.at("prefix"))?);
        }
        let lists: [(&'static str, Option<Vec<String>>, Make); 3] = [
            ("prefixes", prefixes, Path::directory),
            ("objects", objects, Path::object),
            ("raw_prefixes", raw_prefixes, Path::prefix),
        ];
        for (field, list, make) in lists {
            let Some(list) = list else { continue };
            if list.is_empty() {
                return Err(Error::new(Kind::Invalid, "the list is empty; leave it out or name a path").at(field));
            }
            if paths.len() + list.len() > MOST_PATHS {
                return Err(
                    Error::new(Kind::Invalid, format!("there are too many paths; the most is {MOST_PATHS}")).at(field)
                );
            }
            for text in list {
                paths.push(make(text.as_bytes()).map_err(|error| error.at(field))?);
            }
        }
        match (whole_bucket, paths.is_empty()) {
            (Some(true), true) => Ok(Some(Paths::Whole)),
            (Some(true), false) => {
                Err(Error::new(Kind::Invalid, "the whole bucket and paths in it were asked for; give one")
                    .at("whole_bucket"))
            }
            (Some(false) | None, true) => Ok(None),
            (Some(false) | None, false) => Paths::only(paths).map(Some),
        }
    }
}

/// A scope as answers show it.
#[derive(Serialize, ToSchema)]
pub(super) struct ScopeResponse {
    /// The bucket.
    bucket: String,
    /// Directories, without their last slash: the key itself or anything below it.
    prefixes: Vec<String>,
    /// Exactly these keys.
    objects: Vec<String>,
    /// Anything that starts with one of these.
    raw_prefixes: Vec<String>,
    /// Whether it is the whole bucket.
    whole_bucket: bool,
    /// Whether the paths are a template: what is in braces is filled in for each caller.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    template: bool,
    /// What one may do, in a word.
    access: Access,
    /// What one may do, in full.
    actions: Vec<&'static str>,
}

impl ScopeResponse {
    pub(super) fn bucket(&self) -> &str {
        &self.bucket
    }

    pub(super) fn actions(&self) -> &[&'static str] {
        &self.actions
    }

    /// Each path with its kind, in a word; the whole bucket is one without a text.
    pub(super) fn paths(&self) -> Vec<(&'static str, &str)> {
        let Self { bucket: _, prefixes, objects, raw_prefixes, whole_bucket, template: _, access: _, actions: _ } =
            self;
        let of = |kind, list| <[String]>::iter(list).map(move |path| (kind, path.as_str()));
        let all = of("directory", prefixes).chain(of("object", objects)).chain(of("prefix", raw_prefixes));
        whole_bucket.then_some(("bucket", "")).into_iter().chain(all).collect()
    }

    pub(super) fn of(scope: &Scope) -> Self {
        Self::of_part(scope.bucket().to_string(), PartResponse::of(scope.paths(), scope.actions()))
    }

    fn of_part(bucket: String, part: PartResponse) -> Self {
        let PartResponse { prefixes, objects, raw_prefixes, whole_bucket, access, actions } = part;
        Self { bucket, prefixes, objects, raw_prefixes, whole_bucket, template: false, access, actions }
    }

    /// What a grant opens: of a template the paths as they are written.
    pub(super) fn of_grant(opens: &Opens) -> Self {
        let written = PartResponse::of(opens.written(), opens.actions());
        Self { template: opens.template().is_some(), ..Self::of_part(opens.bucket().to_string(), written) }
    }
}

/// What a credential opens, as answers show it: a scope where all of its paths have the same actions, part by part otherwise.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum RightsResponse {
    /// All of it may be used in the same way.
    One(ScopeResponse),
    /// Some paths may be used in one way and some in another.
    Several(SeveralResponse),
}

/// The parts of what a credential opens.
#[derive(Serialize, ToSchema)]
pub(super) struct SeveralResponse {
    /// The bucket.
    bucket: String,
    /// What may be done where: each action is in one of them.
    parts: Vec<PartResponse>,
}

/// Some paths of a bucket, and what one may do there.
#[derive(Serialize, ToSchema)]
pub(super) struct PartResponse {
    /// Directories, without their last slash: the key itself or anything below it.
    prefixes: Vec<String>,
    /// Exactly these keys.
    objects: Vec<String>,
    /// Anything that starts with one of these.
    raw_prefixes: Vec<String>,
    /// Whether it is the whole bucket.
    whole_bucket: bool,
    /// What one may do there, in a word.
    access: Access,
    /// What one may do there, in full.
    actions: Vec<&'static str>,
}

impl RightsResponse {
    pub(super) fn of(rights: &Rights) -> Self {
        let of = |part: &Part| PartResponse::of(part.paths(), part.actions());
        let bucket = rights.bucket().to_string();
        match rights.parts().only() {
            Some(part) => Self::One(ScopeResponse::of_part(bucket, of(part))),
            None => Self::Several(SeveralResponse { bucket, parts: rights.parts().iter().map(of).collect() }),
        }
    }
}

impl PartResponse {
    fn of(paths: &Paths, actions: Actions) -> Self {
        let (mut prefixes, mut objects, mut raw_prefixes) = (Vec::new(), Vec::new(), Vec::new());
        let whole_bucket = match paths {
            Paths::Whole => true,
            Paths::Only(set) => {
                for path in set.iter() {
                    // Paths come from JSON; one that is no text was not put there through an API and shows as near as can be.
                    let text = String::from_utf8_lossy(path.bytes()).into_owned();
                    match path {
                        Path::Directory(_) => prefixes.push(text),
                        Path::Object(_) => objects.push(text),
                        Path::Prefix(_) => raw_prefixes.push(text),
                    }
                }
                false
            }
        };
        Self {
            prefixes,
            objects,
            raw_prefixes,
            whole_bucket,
            access: Access::of(actions),
            actions: actions.iter().map(Action::as_str).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_word_is_only_used_when_it_is_true() {
        let word = |list: &[Action]| Access::of(Actions::of(list));
        assert_eq!(word(&[Action::GetObject]), Access::Read);
        assert_eq!(word(&[Action::ListBucket]), Access::Custom);
        assert_eq!(word(&[Action::PutObject]), Access::Write);
        assert_eq!(word(&[Action::PutObject, Action::DeleteObject]), Access::Custom);
        assert_eq!(word(&[Action::GetObject, Action::PutObject]), Access::ReadWrite);
        assert_eq!(word(&[Action::GetObject, Action::PutBucketConfig]), Access::Custom);
        assert_eq!(Access::of(Actions::READ_WRITE), Access::ReadWrite);
    }

    #[test]
    fn no_path_never_means_everything() {
        let read =
            |fields: PathRequest| fields.read().map_err(|error| (error.kind(), error.field().unwrap_or("").to_owned()));
        assert_eq!(read(PathRequest::default()), Ok(None));
        assert_eq!(read(PathRequest { whole_bucket: Some(false), ..PathRequest::default() }), Ok(None));
        assert_eq!(read(PathRequest { whole_bucket: Some(true), ..PathRequest::default() }), Ok(Some(Paths::Whole)));
        let refused =
            |fields: PathRequest, field: &str| assert_eq!(read(fields), Err((Kind::Invalid, field.to_owned())));
        refused(PathRequest { prefix: Some(String::new()), ..PathRequest::default() }, "prefix");
        refused(PathRequest { prefix: Some("a/".into()), ..PathRequest::default() }, "prefix");
        refused(PathRequest { prefixes: Some(vec![]), ..PathRequest::default() }, "prefixes");
        refused(PathRequest { objects: Some(vec![]), ..PathRequest::default() }, "objects");
        refused(PathRequest { raw_prefixes: Some(vec![String::new()]), ..PathRequest::default() }, "raw_prefixes");
        refused(PathRequest { prefixes: Some(vec!["a".into(); 1001]), ..PathRequest::default() }, "prefixes");
        refused(
            PathRequest { prefix: Some("a".into()), whole_bucket: Some(true), ..PathRequest::default() },
            "whole_bucket",
        );
    }
}
