//! Paths with placeholders, which each caller has filled in with what it is: `home/{caller.name}`. A template opens nothing by itself;
//! only filled in for one caller it is a scope.

mod pieces;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::caller::Caller;
use crate::claims::Identity;
use crate::conditions::{Held, Judged};
use crate::error::{Error, Kind};
use crate::json::Json;
use crate::name::{BucketName, Name};
use crate::scope::{Actions, Path, Paths, Scope};
use crate::template::pieces::{KNOWN, Piece, Pieces, SIGNS, invalid, is_segment};

pub use pieces::Placeholder;

/// What is known of who a template is filled in for.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The caller's name, if it is one caller.
    pub caller: Option<&'a Name>,
    /// Its account's name.
    pub account: &'a Name,
    /// What is known of how it is known.
    pub claims: Claimed<'a>,
}

/// What is known of what a caller's identity token claims.
#[derive(Clone, Copy, Debug)]
pub enum Claimed<'a> {
    /// Nothing is: it may claim anything.
    Unknown,
    /// It is known by this token, or by none.
    By(Option<&'a Identity>),
}

impl<'a> Subject<'a> {
    /// A caller that asks, of which all is known.
    pub fn of(caller: &'a Caller, account: &'a Name) -> Self {
        Self { caller: Some(&caller.name), account, claims: Claimed::By(caller.identity.as_deref()) }
    }
}

/// Why a template is not filled in for somebody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unfilled {
    /// What could not be filled in; nothing where all could, and a path became too long.
    placeholder: Option<Placeholder>,
    /// Whether there is something, and it cannot be a part of a path.
    is_there: bool,
}

impl Unfilled {
    /// It as a condition that does not hold.
    pub fn judged(&self) -> Judged {
        let held = if self.is_there { Held::Fails } else { Held::Unknown };
        Judged { said: self.to_string(), held }
    }
}

/// As a condition that does not hold: values are nobody else's matter.
impl fmt::Display for Unfilled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.placeholder, self.is_there) {
            (None, _) => f.write_str("no path of its template is too long"),
            (Some(placeholder), false) => write!(f, "{placeholder} is known, as a string"),
            (Some(placeholder), true) => {
                write!(f, "{placeholder} can be a part of a path: letters, digits and `{SIGNS}`, and not `.` or `..`")
            }
        }
    }
}

/// Paths with placeholders.
///
/// * at least one of them has one
/// * never the whole bucket
/// * no path ends with a placeholder where it opens all that starts so: one caller's would be the start of another's
/// * opens nothing until it is filled in, and then what stands there and nothing else: never an empty segment, never the parent
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    /// INVARIANT: never given away: its paths have braces where values will be. Text that starts with another text starts with it when both
    /// are filled in, too; so that of two paths one is covered as written only if it is covered for everyone.
    written: Scope,
    paths: Box<[(Path, Pieces)]>,
}

impl Template {
    /// Reads paths with placeholders.
    ///
    /// # Errors
    /// `Invalid` for a placeholder that there is none of, one that is not closed, and paths without any.
    pub fn new(bucket: BucketName, paths: Paths, actions: Actions) -> Result<Self, Error> {
        let written = Scope::new(bucket, paths, actions);
        Self::of(written.ok_or_else(|| Error::new(Kind::Invalid, "the grant would allow no action"))?)
    }

    fn of(written: Scope) -> Result<Self, Error> {
        let Paths::Only(set) = written.paths() else {
            return Err(invalid(format!("the whole bucket has no placeholders; a template's paths have {KNOWN}")));
        };
        let read = |path: Path| Pieces::read(&path).map(|pieces| (path, pieces));
        let paths: Box<[_]> = set.iter().map(read).collect::<Result<_, Error>>()?;
        let own = Self { written, paths };
        if own.placeholders().is_empty() {
            return Err(invalid(format!("no path has a placeholder; they are {KNOWN}")));
        }
        Ok(own)
    }

    /// The bucket.
    pub fn bucket(&self) -> &BucketName {
        self.written.bucket()
    }

    /// The actions.
    pub fn actions(&self) -> Actions {
        self.written.actions()
    }

    /// The paths as they are written, with their placeholders: to be shown and compared, not to be opened.
    pub fn written(&self) -> &Paths {
        self.written.paths()
    }

    /// What has to be filled in, each once.
    pub fn placeholders(&self) -> Vec<&Placeholder> {
        let mut all: Vec<&Placeholder> = self.paths.iter().flat_map(|(_, pieces)| pieces.placeholders()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whether anything of it is an identity provider's word.
    pub fn asks_claims(&self) -> bool {
        self.placeholders().iter().any(|one| matches!(one, Placeholder::Claim(_)))
    }

    /// What it opens for a caller of an account.
    ///
    /// # Errors
    /// Where something is missing, or cannot be a part of a path: then it opens nothing.
    pub fn scope_for(&self, subject: &Subject<'_>) -> Result<Scope, Unfilled> {
        match self.fill(subject)? {
            Opens::Scope(scope) => Ok(scope),
            Opens::Template(rest) => {
                Err(Unfilled { placeholder: rest.placeholders().first().map(|one| (*one).clone()), is_there: false })
            }
        }
    }

    /// The same with what is known filled in, for answers about access: what is not stays a placeholder.
    ///
    /// # Errors
    /// Where something that is known cannot be a part of a path, or is known to be missing.
    pub fn fill(&self, subject: &Subject<'_>) -> Result<Opens, Unfilled> {
        self.fill_with(|placeholder| value(placeholder, subject))
    }

    fn fill_with<'v>(
        &self,
        value: impl Fn(&Placeholder) -> Result<Option<&'v str>, Unfilled>,
    ) -> Result<Opens, Unfilled> {
        let too_long = || Unfilled { placeholder: None, is_there: true };
        let mut paths = Vec::with_capacity(self.paths.len());
        let mut rest = false;
        for (path, pieces) in &self.paths {
            let mut bytes = Vec::with_capacity(path.bytes().len() + 32);
            for piece in pieces.iter() {
                match piece {
                    Piece::Text(text) => bytes.extend_from_slice(text),
                    Piece::Fill(placeholder) => {
                        let filled = value(placeholder)?;
                        rest |= filled.is_none();
                        let text = filled.map_or_else(|| placeholder.to_string(), ToString::to_string);
                        bytes.extend_from_slice(text.as_bytes());
                    }
                }
            }
            let filled = match path {
                Path::Object(_) => Path::object(&bytes),
                Path::Directory(_) => Path::directory(&bytes),
                Path::Prefix(_) => Path::prefix(&bytes),
            };
            paths.push(filled.map_err(|_| too_long())?);
        }
        let paths = Paths::only(paths).map_err(|_| too_long())?;
        let filled = Scope::new(self.bucket().clone(), paths, self.actions()).ok_or_else(too_long)?;
        if rest { Self::of(filled).map(Opens::Template).map_err(|_| too_long()) } else { Ok(Opens::Scope(filled)) }
    }

    /// What it opens for somebody: as good as any to tell whether a storage can express it.
    ///
    /// # Errors
    /// `Invalid` where it leaves too little for values.
    pub fn example(&self) -> Result<Scope, Error> {
        let value = |placeholder: &Placeholder| {
            Ok(Some(match placeholder {
                Placeholder::CallerName => "caller-name",
                Placeholder::AccountName => "account-name",
                Placeholder::Claim(_) => "claim",
            }))
        };
        match self.fill_with(value) {
            Ok(Opens::Scope(scope)) => Ok(scope),
            Ok(Opens::Template(_)) | Err(_) => {
                Err(invalid("a path is too long once its values are filled in".to_owned()))
            }
        }
    }

    /// What is asked of a caller for it to be filled in, each as a condition that holds or not.
    pub fn judge(&self, subject: &Subject<'_>) -> Vec<Judged> {
        let judge = |placeholder: &Placeholder| match value(placeholder, subject) {
            Ok(Some(value)) => Judged { said: format!("{placeholder} is {value}"), held: Held::Holds },
            Ok(None) => Unfilled { placeholder: Some(placeholder.clone()), is_there: false }.judged(),
            Err(unfilled) => unfilled.judged(),
        };
        self.placeholders().into_iter().map(judge).collect()
    }

    /// The paths in words, for who cannot be told what is filled in.
    pub fn said(&self) -> String {
        let one = |placeholder: &Placeholder| placeholder.to_string();
        let all: Vec<String> = self.placeholders().into_iter().map(one).collect();
        format!("paths with {} filled in", all.join(" and "))
    }

    /// Whether it could open a key, or something that begins as asked, for somebody: how much of that, and for whom.
    pub fn meets(&self, asked: &Path) -> Option<Met> {
        let found: Vec<(bool, Option<(&Placeholder, &str)>)> =
            self.paths.iter().filter_map(|(path, pieces)| pieces.meets(path, asked)).collect();
        let all = found.iter().any(|(all, _)| *all);
        let said = match found.as_slice() {
            [] => return None,
            [(true, Some((placeholder, value)))] => format!("{placeholder} is {value}"),
            _ => self.said(),
        };
        Some(Met { all, said })
    }

    /// As bytes, to store: where scopes are stored, they would be one, with braces in its keys.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.written.encode(out);
    }

    /// Takes those bytes back; nothing if they are not a template's.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let written = Scope::decode(&mut rest)?;
        Self::of(written).ok().filter(|_| rest.is_empty())
    }
}

/// How a template could open something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Met {
    /// All of it, and not a part only.
    pub all: bool,
    /// For whom, in the words of a condition.
    pub said: String,
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { written, paths: _ } = self;
        write!(f, "Template({:?} {:?} {:?})", written.bucket(), written.paths(), written.actions())
    }
}

/// What a stored grant opens.
#[derive(Clone, PartialEq, Eq)]
pub enum Opens {
    /// The same for everyone that it is for.
    Scope(Scope),
    /// What is filled in for each of them.
    Template(Template),
}

impl From<Scope> for Opens {
    fn from(scope: Scope) -> Self {
        Self::Scope(scope)
    }
}

impl fmt::Debug for Opens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scope(scope) => scope.fmt(f),
            Self::Template(template) => template.fmt(f),
        }
    }
}

impl Opens {
    /// Reads what a grant opens: paths as they are, or with placeholders.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn new(bucket: BucketName, paths: Paths, actions: Actions, is_template: bool) -> Result<Self, Error> {
        if is_template {
            return Template::new(bucket, paths, actions).map(Self::Template);
        }
        let scope = Scope::new(bucket, paths, actions);
        scope.map(Self::Scope).ok_or_else(|| Error::new(Kind::Invalid, "the grant would allow no action"))
    }

    /// The bucket.
    pub fn bucket(&self) -> &BucketName {
        match self {
            Self::Scope(scope) => scope.bucket(),
            Self::Template(template) => template.bucket(),
        }
    }

    /// The actions.
    pub fn actions(&self) -> Actions {
        match self {
            Self::Scope(scope) => scope.actions(),
            Self::Template(template) => template.actions(),
        }
    }

    /// The scope, if it is the same for everyone.
    pub fn scope(&self) -> Option<&Scope> {
        match self {
            Self::Scope(scope) => Some(scope),
            Self::Template(_) => None,
        }
    }

    /// The template, if it is one.
    pub fn template(&self) -> Option<&Template> {
        match self {
            Self::Scope(_) => None,
            Self::Template(template) => Some(template),
        }
    }

    /// The paths as they are written: to be shown and compared, not to be opened.
    pub fn written(&self) -> &Paths {
        match self {
            Self::Scope(scope) => scope.paths(),
            Self::Template(template) => template.written(),
        }
    }

    /// What it opens to somebody: a template with something filled in, to tell whether a storage can express it.
    ///
    /// # Errors
    /// As for [`Template::example`].
    pub fn example(&self) -> Result<Scope, Error> {
        match self {
            Self::Scope(scope) => Ok(scope.clone()),
            Self::Template(template) => template.example(),
        }
    }

    /// Whether its paths hold those of another for every caller. A template and paths without are never held against each other.
    pub fn cover_paths(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scope(own), Self::Scope(other)) => own.paths().cover_paths(other.paths()),
            (Self::Template(own), Self::Template(other)) => own.written().cover_paths(other.written()),
            (Self::Scope(_), Self::Template(_)) | (Self::Template(_), Self::Scope(_)) => false,
        }
    }

    /// With what is known filled in.
    ///
    /// # Errors
    /// As for [`Template::fill`].
    pub fn fill(&self, subject: &Subject<'_>) -> Result<Self, Unfilled> {
        match self {
            Self::Scope(_) => Ok(self.clone()),
            Self::Template(template) => template.fill(subject),
        }
    }
}

/// What is filled in; nothing where it is not known what it is.
fn value<'a>(placeholder: &Placeholder, subject: &Subject<'a>) -> Result<Option<&'a str>, Unfilled> {
    let value = match placeholder {
        Placeholder::CallerName => subject.caller.map(Name::as_str),
        Placeholder::AccountName => Some(subject.account.as_str()),
        Placeholder::Claim(name) => match subject.claims {
            Claimed::Unknown => None,
            // SECURITY: of numbers and truths, text and value are two things; of a list nobody says which.
            Claimed::By(identity) => match identity.and_then(|own| name.of(own.claims.json())) {
                Some(Json::Text(text)) => Some(text.as_str()),
                Some(
                    Json::Null | Json::Bool(_) | Json::Number(_) | Json::Whole(_) | Json::List(_) | Json::Object(_),
                )
                | None => {
                    return Err(Unfilled { placeholder: Some(placeholder.clone()), is_there: false });
                }
            },
        },
    };
    match value {
        Some(text) if !is_segment(text) => Err(Unfilled { placeholder: Some(placeholder.clone()), is_there: true }),
        value => Ok(value),
    }
}
