//! One table, found among what was given. And what every route of its files asks first.

use std::sync::Arc;

use jiff::Timestamp;
use valetkey_core::ask::{Ask, Asked, Target, Wanted};
use valetkey_core::error::Noun;
use valetkey_core::name::shortened;
use valetkey_core::nouns::share::READ;
use valetkey_core::nouns::table::{AsOf, History, SharedTable, TableFormat, TablePlace};
use valetkey_core::scope::{Action, Actions, Path, Paths};
use valetkey_core::storage::{Shape, Storage};
use valetkey_core::{Error, Kind};

use super::listing::{absent, storage_of};
use super::{NAME, Sharing, Urls};
use crate::edge::{Call, Place, Reading};

/// What pre-signed URLs do.
pub(super) const GET: Actions = Actions::NONE.with(Action::GetObject);

/// A table of a share that was given to the caller.
pub(super) struct Found {
    pub(super) table: Arc<SharedTable>,
    /// The store it is in.
    pub(super) storage: Arc<Storage>,
    /// `share.schema.table`, as it was asked for.
    name: String,
}

/// What reads a table's log.
pub(super) struct Log<'a> {
    pub(super) urls: &'a Urls,
    pub(super) table: TablePlace,
    /// By what right: elsewhere, the URLs are signed with that too.
    pub(super) reading: Reading,
}

/// What is said of a table whose newest version alone is shared, when another is asked for.
pub(super) const NO_HISTORY: &str =
    "Reading table by version or timestamp is not supported because history sharing is not enabled on table:";

impl Found {
    /// Refuses what shows other versions than the newest, where those are not shared; `refused` begins the refusal, in the words
    /// of the reference server.
    pub(super) fn history(&self, refused: &str) -> Result<(), Error> {
        match self.table.history {
            History::Shared => Ok(()),
            History::Latest => Err(Error::new(Kind::Invalid, format!("{refused} {}", self.name))),
        }
    }

    /// An ask for objects below some of the table's directories.
    pub(super) fn ask(&self, sharing: &Sharing, paths: Paths) -> Ask {
        Ask {
            dialect: NAME,
            target: Target::Shared { share: self.table.share, bucket: self.table.bucket.clone(), paths },
            wanted: Wanted::all_of(GET),
            lifetime: Asked::Usual(sharing.settings.url_lifetime),
            carries: Shape::ALL,
        }
    }
}

impl Sharing {
    /// The table that the path names.
    pub(super) async fn table(&self, call: &Call) -> Result<Found, Error> {
        let (share, schema, table) = (call.params.get("share")?, call.params.get("schema")?, call.params.get("table")?);
        let given = self.given(call).await?;
        let found = given
            .shelf(&call.caller, share, call.now)
            .and_then(|shelf| shelf.table(schema, table))
            .filter(|table| table.may_be(TableFormat::Delta))
            .ok_or_else(|| absent(Noun::Table, &format!("{share}/{schema}/{table}")))?;
        let stores = self.stores(call).await?;
        let storage = Arc::clone(storage_of(&stores, found)?);
        let name = format!("{}.{}.{}", shortened(share), found.schema, found.name);
        Ok(Found { table: Arc::clone(found), storage, name })
    }

    /// What reads the log of a table whose files are served as URLs, in a place for heavy answers.
    ///
    /// # Errors
    /// `Invalid` when the table is not served so.
    pub(super) async fn by_url(&self, call: &Call, found: &Found) -> Result<(Place, Log<'_>), Error> {
        if !found.table.access.by_url() {
            let said = "this table does not support `url` access; ask for credentials for its directory instead";
            return Err(Error::new(Kind::Invalid, said));
        }
        self.by_log(call, found).await
    }

    /// What reads a table's log, for who may read the table in either way, in a place for heavy answers.
    pub(super) async fn by_log(&self, call: &Call, found: &Found) -> Result<(Place, Log<'_>), Error> {
        let table = &found.table;
        let urls = self.urls.as_ref().ok_or_else(|| {
            let said = "this server does not read the table's log; ask for credentials for its directory instead";
            Error::new(Kind::Invalid, said)
        })?;
        let whole = Paths::only([Path::directory(table.root.as_str().as_bytes())?])?;
        let ask = if found.storage.kind.is_ours() {
            found.ask(self, whole)
        } else {
            let lifetime =
                if table.access.by_url() { self.settings.url_lifetime } else { self.settings.credential_lifetime };
            Ask { wanted: Wanted::all_of(READ), lifetime: Asked::Usual(lifetime), ..found.ask(self, whole) }
        };
        let (place, reading) = self.shared.reading(call, &ask).await?;
        let table = TablePlace {
            storage: Arc::clone(&reading.storage),
            bucket: table.bucket.clone(),
            root: table.root.as_str().as_bytes().into(),
            credential: reading.credential(),
        };
        Ok((place, Log { urls, table, reading }))
    }
}

/// Reads a version.
pub(super) fn number(text: &str, field: &'static str) -> Result<u64, Error> {
    text.parse().map_err(|_| {
        Error::new(Kind::Invalid, format!("`{}` is not a version: a number from 0 on", shortened(text))).at(field)
    })
}

/// Reads an instant.
pub(super) fn instant(text: &str, field: &'static str) -> Result<Timestamp, Error> {
    text.parse().map_err(|_| {
        let said = format!("`{}` is not a timestamp (`2022-01-01T00:00:00Z`)", shortened(text));
        Error::new(Kind::Invalid, said).at(field)
    })
}

/// Refuses fields that exclude each other.
pub(super) fn one_of(fields: &str, at: &'static str) -> Error {
    Error::new(Kind::Invalid, format!("Please only provide one of: {fields}")).at(at)
}

/// Which version is meant: one of the two at most is given. What is said of instants is said after what is said of the history.
///
/// # Errors
/// `Invalid` when a certain version is asked for and the history is not shared, or when the timestamp is none.
pub(super) fn as_of(found: &Found, version: Option<u64>, timestamp: Option<&str>) -> Result<AsOf, Error> {
    match (version, timestamp) {
        (None, None) => Ok(AsOf::Latest),
        (Some(version), _) => found.history(NO_HISTORY).map(|()| AsOf::Version(version)),
        (None, Some(text)) => {
            found.history(NO_HISTORY)?;
            instant(text, "timestamp").map(AsOf::LastUntil)
        }
    }
}
