//! What answers and refusals may say: the values that templates name.
//!
//! SECURITY: secrets are among the values of an answer alone.

use jiff::Timestamp;
use minijinja::Value;
use valetkey_core::caller::Caller;
use valetkey_core::credential::{AzureSas, Credential, GoogleToken, S3Keys};
use valetkey_core::lease::Lease;
use valetkey_core::nouns::workspace::Workspace;
use valetkey_core::scope::{Path, Paths};
use valetkey_core::snapshot::Snapshot;
use valetkey_core::storage::{Shape, Storage};
use valetkey_core::vending::Vended;
use valetkey_core::{Error, Kind};

use super::template::{NASTY, Values};
use crate::edge::{Call, Row};

/// What a refusal may say.
pub(super) fn refusal(row: Row, kind: Kind, said: &str, field: Option<&str>, (id, number): (&str, u64)) -> Values {
    let Row { status, code, title } = row;
    Values::from([
        ("status", Value::from(status)),
        ("code", Value::from(code)),
        ("title", Value::from(title)),
        ("kind", Value::from(kind.slug())),
        ("missing", missing(kind)),
        ("said", Value::from(said)),
        ("field", optional(field)),
        ("request_id", Value::from(id)),
        ("request_number", Value::from(number)),
    ])
}

/// What there is not, in a refusal that says so.
fn missing(kind: Kind) -> Value {
    match kind {
        Kind::NotFound(noun) => Value::from(noun.to_string()),
        Kind::Malformed
        | Kind::Invalid
        | Kind::Unauthenticated(_)
        | Kind::Forbidden
        | Kind::NotInPlan
        | Kind::OutOfCredit
        | Kind::AlreadyExists(_)
        | Kind::WrongMethod
        | Kind::TooLarge
        | Kind::Outdated
        | Kind::Unsupported
        | Kind::RateLimited
        | Kind::Upstream
        | Kind::UpstreamTimeout
        | Kind::Unavailable
        | Kind::Internal => Value::from(()),
    }
}

fn optional(text: Option<&str>) -> Value {
    text.map_or_else(|| Value::from(()), Value::from)
}

/// The three forms of a credential; what it is not is `none`.
fn secrets(credential: &Credential) -> [(&'static str, Value); 5] {
    let none = || Value::from(());
    let (s3, azure, google) = match credential {
        Credential::S3(S3Keys { access_key_id, secret_access_key, session_token, expiration: _ }) => {
            (Some((access_key_id, secret_access_key, session_token)), None, None)
        }
        Credential::Azure(AzureSas { sas_token, expiration: _ }) => (None, Some(sas_token), None),
        Credential::Google(GoogleToken { access_token, expiration: _ }) => (None, None, Some(access_token)),
    };
    let shown = |secret: &valetkey_core::Secret<String>| Value::from(secret.reveal().as_str());
    [
        ("access_key_id", s3.map_or_else(none, |(id, ..)| Value::from(id.as_str()))),
        ("secret_access_key", s3.map_or_else(none, |(_, secret, _)| shown(secret))),
        ("session_token", s3.map_or_else(none, |(.., token)| shown(token))),
        ("sas_token", azure.map_or_else(none, shown)),
        ("access_token", google.map_or_else(none, shown)),
    ]
}

fn times(expiration: Timestamp, now: Timestamp) -> [(&'static str, Value); 4] {
    [
        ("expiration", Value::from(format!("{expiration:.0}"))),
        ("expiration_unix", Value::from(expiration.as_second())),
        ("expiration_ms", Value::from(expiration.as_millisecond())),
        ("ttl_secs", Value::from(expiration.duration_since(now).as_secs())),
    ]
}

/// A path in an answer: a directory without its last slash where a listing of that is opened; elsewhere with it, because clients list
/// what they are told.
fn shown(path: &Path, storage: &Storage) -> Result<String, Error> {
    let no_text = || Error::internal(format!("the path `{}` is not UTF-8", path.bytes().escape_ascii()));
    let text = std::str::from_utf8(path.bytes()).map_err(|_| no_text())?.to_owned();
    Ok(match path {
        Path::Directory(_) if !storage.kind.is_ours() => text + "/",
        Path::Directory(_) | Path::Object(_) | Path::Prefix(_) => text,
    })
}

fn place(lease: &Lease, storage: &Storage) -> Result<[(&'static str, Value); 8], Error> {
    // A route of such an API asks for one set of actions.
    let part =
        lease.rights.parts().only().ok_or_else(|| Error::internal("an answer has no place for several parts"))?;
    let prefixes: Vec<String> = match part.paths() {
        Paths::Whole => vec![String::new()],
        Paths::Only(set) => set.iter().map(|path| shown(&path, storage)).collect::<Result<_, _>>()?,
    };
    let actions: Vec<String> = part.actions().iter().map(|action| action.as_str().to_owned()).collect();
    let internal = storage.internal_endpoint.as_deref().unwrap_or(&storage.endpoint);
    Ok([
        ("lease_id", Value::from(lease.id.to_string())),
        ("bucket", Value::from(lease.rights.bucket().as_str())),
        ("prefix", optional(prefixes.first().map(String::as_str))),
        ("prefixes", Value::from(prefixes)),
        ("actions", Value::from(actions)),
        ("endpoint", Value::from(&*storage.endpoint)),
        ("internal_endpoint", Value::from(internal)),
        ("region", Value::from(&*storage.region)),
    ])
}

fn who(caller: &str, account: &str, request_id: &str) -> [(&'static str, Value); 3] {
    [("caller", Value::from(caller)), ("account", Value::from(account)), ("request_id", Value::from(request_id))]
}

fn of_workspace(root: Option<&str>, key: Option<&str>) -> [(&'static str, Value); 2] {
    [("workspace_prefix", optional(root)), ("workspace", optional(key))]
}

/// What an answer may say.
pub(super) fn answer(
    (vended, call): (&Vended, &Call),
    snapshot: &Snapshot,
    workspace: Option<&Workspace>,
    request: Values,
) -> Result<Values, Error> {
    let Vended { lease, credential, storage, because: _, narrowed: _ } = vended;
    let Caller { name, .. } = &*call.caller;
    let id = call.request_id.to_str().unwrap_or_default();
    let root = workspace.map(|workspace| workspace.root.as_str());
    let mut values = Values::from([("request", Value::from(request))]);
    values.extend(secrets(credential));
    values.extend(times(credential.expiration(), call.now));
    values.extend(place(lease, storage)?);
    values.extend(who(name.as_str(), snapshot.account().name.as_str(), id));
    values.extend(of_workspace(root, workspace.map(|workspace| workspace.key.as_str())));
    Ok(values)
}

/// What an answer of one form would say, for the check of templates.
pub(super) fn sample(shape: Shape, full: bool, request: Values, workspace: bool) -> Values {
    let text = |of: Shape| if of == shape { Value::from(NASTY) } else { Value::from(()) };
    let now = Timestamp::UNIX_EPOCH;
    let list = || Value::from(vec![NASTY.to_owned(); if full { 2 } else { 1 }]);
    let mut values = Values::from([
        ("request", Value::from(request)),
        ("access_key_id", text(Shape::S3)),
        ("secret_access_key", text(Shape::S3)),
        ("session_token", text(Shape::S3)),
        ("sas_token", text(Shape::Azure)),
        ("access_token", text(Shape::Google)),
        ("prefixes", list()),
        ("actions", list()),
    ]);
    for name in ["lease_id", "bucket", "prefix", "endpoint", "internal_endpoint", "region"] {
        values.insert(name, Value::from(NASTY));
    }
    let of = workspace.then_some(NASTY);
    values.extend(times(now, now));
    values.extend(who(NASTY, NASTY, "7"));
    values.extend(of_workspace(of, of));
    values
}
