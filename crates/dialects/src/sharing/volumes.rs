//! Volumes, and one table by its name: what OpenSharing, the successor of Delta Sharing, adds to it. A volume is a shared directory of any
//! files, read with credentials for it.

use std::sync::Arc;

use serde::Serialize;
use valetkey_core::ask::{Ask, Asked, Target, Wanted};
use valetkey_core::error::Noun;
use valetkey_core::nouns::share::{READ, Share, SharedWith, Shelf};
use valetkey_core::nouns::table::{SharedTable, TableFormat};
use valetkey_core::scope::{Path, Paths};
use valetkey_core::storage::{Shape, Storage, StorageKind};
use valetkey_core::{Error, Kind};

use super::credentials::{KindShown, nothing_narrower};
use super::listing::{Listed, absent, of_schema, storage_of};
use super::{NAME, Sharing, json_reply};
use crate::edge::location::url;
use crate::edge::{Call, Reply};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VolumeShown<'a> {
    name: &'a str,
    schema: &'a str,
    share: &'a str,
    share_id: String,
    id: String,
    storage_location: String,
}

/// Where a volume is. At R2 its clients look for the account there.
fn location(storage: &Storage, volume: &SharedTable) -> String {
    let host = storage.endpoint.split_once("://").map(|(_, host)| host.trim_end_matches('/'));
    match (storage.kind, host) {
        (StorageKind::R2, Some(host)) => format!("r2://{}@{host}/{}/", volume.bucket, volume.root),
        _ => format!("{}/", url(storage, volume, &volume.root)),
    }
}

impl<'a> VolumeShown<'a> {
    fn of((share, schema): (&'a str, &'a str), of: &Share, volume: &'a SharedTable, storage: &Storage) -> Self {
        Self {
            name: volume.name.as_str(),
            schema,
            share,
            share_id: of.id.to_string(),
            id: volume.id.to_string(),
            storage_location: location(storage, volume),
        }
    }
}

fn volumes_of(tables: &[Arc<SharedTable>]) -> Vec<&Arc<SharedTable>> {
    tables.iter().filter(|table| table.is_volume()).collect()
}

/// The volume that the path names, and its share.
fn named<'a>(given: &'a SharedWith, call: &Call) -> Result<(&'a Shelf, &'a Arc<SharedTable>), Error> {
    let (share, schema, name) = (call.params.get("share")?, call.params.get("schema")?, call.params.get("volume")?);
    let shelf = given.shelf(&call.caller, share, call.now);
    let found = shelf.and_then(|shelf| Some((shelf, shelf.table(schema, name).filter(|table| table.is_volume())?)));
    found.ok_or_else(|| absent(Noun::Table, &format!("{share}/{schema}/{name}")))
}

/// `GET /shares/{share}/all-volumes`.
pub(super) async fn all(sharing: Arc<Sharing>, call: Call) -> Result<Reply, Error> {
    let share = call.params.get("share")?;
    let given = sharing.given(&call).await?;
    let shelf = given.shelf(&call.caller, share, call.now).ok_or_else(|| absent(Noun::Share, share))?;
    // Names have no control characters: this orders as schema and name do.
    let key = |table: &&Arc<SharedTable>| format!("{}\0{}", table.schema.folded(), table.name.folded());
    let volumes = volumes_of(shelf.tables());
    let page = sharing.page(&call, &["all-volumes", shelf.share.name.folded()], &volumes, key)?;
    let stores = sharing.stores(&call).await?;
    let shown = page.items.into_iter().map(|volume| {
        Ok(VolumeShown::of((share, volume.schema.as_str()), &shelf.share, volume, storage_of(&stores, volume)?))
    });
    json_reply(&Listed { items: shown.collect::<Result<_, Error>>()?, next_page_token: page.next })
}

/// `GET /shares/{share}/schemas/{schema}/volumes`.
pub(super) async fn of_one_schema(sharing: Arc<Sharing>, call: Call) -> Result<Reply, Error> {
    let (share, schema) = (call.params.get("share")?, call.params.get("schema")?);
    let given = sharing.given(&call).await?;
    let shelf = given.shelf(&call.caller, share, call.now).ok_or_else(|| absent(Noun::Share, share))?;
    let volumes = volumes_of(shelf.schema(schema));
    let listing = ["volumes", shelf.share.name.folded(), of_schema(shelf, (share, schema))?.folded()];
    let page = sharing.page(&call, &listing, &volumes, |volume| volume.name.folded().to_owned())?;
    let stores = sharing.stores(&call).await?;
    let shown = page
        .items
        .into_iter()
        .map(|volume| Ok(VolumeShown::of((share, schema), &shelf.share, volume, storage_of(&stores, volume)?)));
    json_reply(&Listed { items: shown.collect::<Result<_, Error>>()?, next_page_token: page.next })
}

/// `GET …/volumes/{volume}`.
pub(super) async fn volume(sharing: Arc<Sharing>, call: Call) -> Result<Reply, Error> {
    let given = sharing.given(&call).await?;
    let (shelf, volume) = named(&given, &call)?;
    let stores = sharing.stores(&call).await?;
    let names = (call.params.get("share")?, call.params.get("schema")?);
    json_reply(&VolumeShown::of(names, &shelf.share, volume, storage_of(&stores, volume)?))
}

/// The answer has no name around it, unlike that of tables.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(flatten)]
    kind: KindShown<'a>,
    /// Milliseconds of Unix time.
    expiration_time: i64,
}

/// `POST …/volumes/{volume}/temporary-volume-credentials`.
pub(super) async fn vend(sharing: Arc<Sharing>, call: Call) -> Result<Reply, Error> {
    nothing_narrower(&call.body)?;
    let given = sharing.given(&call).await?;
    let (_, volume) = named(&given, &call)?;
    let paths = Paths::only([Path::directory(volume.root.as_str().as_bytes())?])?;
    let ask = Ask {
        dialect: NAME,
        target: Target::Shared { share: volume.share, bucket: volume.bucket.clone(), paths },
        wanted: Wanted::all_of(READ),
        lifetime: Asked::Usual(sharing.settings.credential_lifetime),
        carries: Shape::ALL,
    };
    let vended = sharing.shared.vending.vend_knowing(&call.caller, &ask, &call.facts()).await?;
    let s3 = if vended.storage.kind == StorageKind::R2 { KindShown::R2 } else { KindShown::Aws };
    let kind = KindShown::of(&vended.credential, s3);
    // The credential's own end, never what was wished for.
    json_reply(&Answer { kind, expiration_time: vended.credential.expiration().as_millisecond() })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TableShown<'a> {
    name: &'a str,
    schema: &'a str,
    share: &'a str,
    share_id: String,
    id: String,
    format: &'static str,
}

/// `GET …/tables/{table}`.
pub(super) async fn table(sharing: Arc<Sharing>, call: Call) -> Result<Reply, Error> {
    let found = sharing.table(&call).await?;
    let table = &found.table;
    let format = match table.format {
        Some(TableFormat::Delta) => "delta",
        // Both, or nobody looked.
        None => "delta,iceberg",
        Some(TableFormat::Iceberg | TableFormat::Volume) => {
            return Err(Error::new(Kind::Internal, "what is no Delta table was found as one"));
        }
    };
    json_reply(&TableShown {
        name: table.name.as_str(),
        schema: call.params.get("schema")?,
        share: call.params.get("share")?,
        share_id: table.share.to_string(),
        id: table.id.to_string(),
        format,
    })
}
