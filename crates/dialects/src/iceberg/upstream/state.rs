//! A request about such a warehouse: what it asks the catalog, and what it decides.

use std::sync::Arc;

use valetkey_core::ask::{Ask, Asked, Target, Wanted};
use valetkey_core::error::{Noun, Stranger};
use valetkey_core::lease::Provenance;
use valetkey_core::name::BucketName;
use valetkey_core::nouns::table::{CatalogAsk, UpstreamCatalog};
use valetkey_core::policy::{self, Permit};
use valetkey_core::scope::{Action, Actions, Path, Paths};
use valetkey_core::storage::{Shape, Storage};
use valetkey_core::vending::Vended;
use valetkey_core::{Error, Kind};

use super::super::state::{Iceberg, NAME};
use super::answer;
use crate::edge::location::{below, named};
use crate::edge::{Call, Place};

/// What stands in front of a catalog's name in the prefix of its paths.
const MARK: char = '~';
/// What levels of a namespace are joined with in a path.
pub(super) const LEVELS: char = '\u{1f}';

/// What a table cannot be read without.
pub(super) const TO_READ: Actions = Actions::NONE.with(Action::GetObject).with(Action::ListBucket);
/// What a commit takes.
pub(super) const TO_WRITE: Actions = TO_READ.with(Action::PutObject);
/// What it takes to drop a table, or to give it another name.
pub(super) const TO_DROP: Actions = TO_WRITE.with(Action::DeleteObject);

/// A request about a warehouse of another catalog.
pub(crate) struct Behind {
    iceberg: Arc<Iceberg>,
    catalog: Arc<dyn UpstreamCatalog>,
    pub(super) call: Call,
}

/// What can be loaded of a catalog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Object {
    Table,
    View,
}

impl Object {
    /// Its part of a path.
    pub(super) const fn part(self) -> &'static str {
        match self {
            Self::Table => "tables",
            Self::View => "views",
        }
    }
}

/// A directory that was granted.
pub(super) struct Granted {
    ask: Ask,
    pub(super) permit: Permit,
    bucket: BucketName,
    key: Vec<u8>,
}

impl Iceberg {
    /// The catalogs of the caller's account.
    async fn catalogs(&self, call: &Call) -> Result<impl Iterator<Item = &Arc<dyn UpstreamCatalog>>, Error> {
        let snapshot = self.shared.vending.directory.account(call.caller.account, call.now).await?;
        Ok(self.settings.upstreams.iter().filter(move |known| *known.account() == snapshot.account().name))
    }

    /// The names of the caller's warehouses that another catalog keeps, as the paths have them.
    pub(crate) async fn prefixes(&self, call: &Call) -> Result<Vec<(String, String)>, Error> {
        if self.settings.upstreams.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self
            .catalogs(call)
            .await?
            .map(|known| (known.name().to_string(), format!("{MARK}{}", known.name())))
            .collect())
    }

    /// The request, if its path names a warehouse that another catalog keeps.
    pub(crate) async fn behind(self: &Arc<Self>, call: &Call) -> Result<Option<Behind>, Error> {
        let Some(name) = call.params.get("prefix")?.strip_prefix(MARK) else { return Ok(None) };
        let found = self.catalogs(call).await?.find(|known| known.name().as_str() == name).map(Arc::clone);
        Ok(found.map(|catalog| Behind { iceberg: Arc::clone(self), catalog, call: call.clone() }))
    }
}

/// Whether a location is a place of this storage, in full.
fn is_there(storage: &Storage, granted: &Granted, location: &str) -> bool {
    below(storage, &granted.bucket, location).is_ok_and(|own| own == granted.key)
}

impl Behind {
    /// A place among the heavy answers: few are made of one account at once, and each ends in time.
    pub(super) async fn place(&self) -> Result<Place, Error> {
        self.iceberg.shared.heavy.enter(self.call.caller.account).await
    }

    /// Asks the catalog to tell something.
    pub(super) async fn tell(&self, place: &Place, ask: CatalogAsk<'_>) -> Result<Vec<u8>, Error> {
        answer::success(place.in_time(self.catalog.ask(&ask)).await?)
    }

    /// Asks the catalog to change something. Whoever gets no answer does not know what became of it.
    pub(super) async fn change(&self, _: &Place, ask: CatalogAsk<'_>) -> Result<Vec<u8>, Error> {
        // Asking ends by itself. Cut off here, it would be told as not done.
        let answered = self.catalog.ask(&ask).await.map_err(answer::unknown)?;
        let what = ask.path.join("/").replace(LEVELS, ".");
        let (catalog, caller, status) = (self.catalog.name(), &self.call.caller.name, answered.status);
        tracing::info!(%catalog, %caller, account = %self.call.caller.account, method = ask.method, %what, status, "asked a catalog for a change");
        answer::success(answered)
    }

    /// Decides on a directory, by the catalog's word where it is. SECURITY: the catalog may have taken long to say so; who asks has to be
    /// known still.
    pub(super) async fn grant(&self, location: &str, wanted: Wanted) -> Result<Granted, Error> {
        let Self { iceberg, catalog: _, call } = self;
        let (bucket, key) = named(location).map_err(|error| {
            Error::new(
                Kind::Forbidden,
                format!("the catalog says a location that nobody is granted: {}", error.message()),
            )
        })?;
        let paths = Paths::only([Path::directory(&key)?])?;
        let target = Target::Place { bucket: bucket.clone(), paths };
        let ask = Ask {
            dialect: NAME,
            target,
            wanted,
            lifetime: Asked::Usual(iceberg.settings.lifetime),
            carries: Shape::ALL,
        };
        let now = iceberg.shared.vending.now();
        let snapshot = iceberg.shared.vending.directory.account(call.caller.account, now).await?;
        let permit = policy::decide(&snapshot, &call.caller, &ask, &call.facts(), now)?;
        let storage = permit.storage().id;
        let granted = Granted { ask, permit, bucket, key };
        if !is_there(granted.permit.storage(), &granted, location) {
            return Err(Error::new(Kind::NotFound(Noun::Bucket), "there is no such bucket"));
        }
        let caller = &call.caller;
        iceberg.shared.leases.current()?;
        let (account, token, opened) = (caller.account, caller.token, call.now);
        let origin = Provenance { lease: None, account, caller: caller.id, token, storage, opened };
        if caller.token_until.is_some_and(|until| until <= now) {
            return Err(Error::new(Kind::Unauthenticated(Stranger::Expired), "the token has ended"));
        }
        if iceberg.shared.leases.is_revoked(&origin) {
            return Err(Error::new(Kind::Unauthenticated(Stranger::Revoked), "the token was ended"));
        }
        Ok(granted)
    }

    /// Vends what was decided.
    pub(super) async fn vend(&self, granted: &Granted, location: &str) -> Result<Vended, Error> {
        let Self { iceberg, catalog: _, call } = self;
        let vended = iceberg.shared.vending.vend_knowing(&call.caller, &granted.ask, &call.facts()).await?;
        // A bucket may have moved in between.
        if is_there(&vended.storage, granted, location) {
            Ok(vended)
        } else {
            Err(Error::new(Kind::Unavailable, "the table is moving; try again").retry_after(1))
        }
    }
}
