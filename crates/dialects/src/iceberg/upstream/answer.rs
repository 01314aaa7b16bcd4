//! What another catalog answers, as it is passed on.

use serde::Deserialize;
use serde_json::value::RawValue;
use valetkey_core::error::Noun;
use valetkey_core::name::shortened;
use valetkey_core::nouns::table::CatalogAnswer;
use valetkey_core::{Error, Kind};

use super::super::metadata::served;

const FAILED_COMMIT: &str = "CommitFailedException";
const UNKNOWN_STATE: &str = "CommitStateUnknownException";
const NO_VIEW: &str = "NoSuchViewException";
const NOT_EMPTY: &str = "NamespaceNotEmptyException";

/// The words of the specification for what only another catalog refuses.
pub(crate) const CODES: [&str; 4] = [FAILED_COMMIT, UNKNOWN_STATE, NO_VIEW, NOT_EMPTY];

#[derive(Deserialize)]
struct Envelope {
    error: Told,
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    message: String,
    #[serde(default, rename = "type")]
    kind: String,
}

/// The body of a success, or the refusal in our words: clients go by the status and the type.
pub(super) fn success(answer: CatalogAnswer) -> Result<Vec<u8>, Error> {
    let CatalogAnswer { status, body } = answer;
    if status < 300 {
        return Ok(body);
    }
    let told = serde_json::from_slice(&body).map(|Envelope { error }| error);
    let Told { message, kind } = told.unwrap_or(Told { message: String::new(), kind: String::new() });
    // SECURITY: another server's words: short, and without what looks like a secret.
    let said = match shortened(message.trim()) {
        said if said.is_empty() => "the upstream catalog refused it".to_owned(),
        said => format!("the upstream catalog: {said}"),
    };
    let refuse = |kind: Kind| Error::new(kind, said.clone());
    Err(match (status, kind.as_str()) {
        (404, "NoSuchNamespaceException") => refuse(Kind::NotFound(Noun::Schema)),
        (404, NO_VIEW) => refuse(Kind::NotFound(Noun::Table)).coded(NO_VIEW),
        (404, _) => refuse(Kind::NotFound(Noun::Table)),
        (409, FAILED_COMMIT) => refuse(Kind::AlreadyExists(Noun::Table)).coded(FAILED_COMMIT),
        (409, NOT_EMPTY) => refuse(Kind::AlreadyExists(Noun::Schema)).coded(NOT_EMPTY),
        (409, _) => refuse(Kind::AlreadyExists(Noun::Table)),
        (405 | 406 | 415, _) => refuse(Kind::Unsupported),
        (413, _) => refuse(Kind::TooLarge),
        _ => refuse(Kind::Invalid),
    })
}

/// The failure of a change that may have been made.
pub(super) fn unknown(error: Error) -> Error {
    let is_refused = error.upstream_status().is_some_and(|status| status < 500);
    let may_be_done = matches!(error.kind(), Kind::Upstream | Kind::UpstreamTimeout) && !is_refused;
    if may_be_done { error.coded(UNKNOWN_STATE) } else { error }
}

/// A table or a view as the catalog tells it.
pub(super) struct Loaded {
    pub(super) metadata_location: Option<String>,
    /// Where it lies.
    pub(super) location: String,
    /// What tells it from another of its name.
    pub(super) uuid: Option<String>,
    /// Its metadata, a JSON object.
    pub(super) text: Vec<u8>,
}

// The rest of the answer is not passed on: its `config` and `storage-credentials` are the catalog's.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Load {
    #[serde(default)]
    metadata_location: Option<String>,
    metadata: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Uuid {
    #[serde(default)]
    table_uuid: Option<String>,
    #[serde(default)]
    view_uuid: Option<String>,
}

pub(super) fn unreadable(said: impl std::fmt::Display) -> Error {
    Error::new(Kind::Upstream, "the upstream catalog answered something that is not of the specification")
        .note(said.to_string())
}

/// Reads the answer to a load, a creation or a commit.
pub(super) fn loaded(body: &[u8]) -> Result<Loaded, Error> {
    let Load { metadata_location, metadata } = serde_json::from_slice(body).map_err(unreadable)?;
    let Uuid { table_uuid, view_uuid } = serde_json::from_str(metadata.get()).map_err(unreadable)?;
    let (location, text) = served(metadata.get().as_bytes())?;
    Ok(Loaded { metadata_location, location, uuid: table_uuid.or(view_uuid), text })
}
