//! One table: its metadata, and credentials for its directory.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::ETAG;
use serde::Serialize;
use valetkey_core::Error;
use valetkey_core::credential::Credential;
use valetkey_core::nouns::table::SharedTable;
use valetkey_core::storage::Storage;
use valetkey_core::vending::Vended;

use super::delegation::Delegation;
use super::state::{Iceberg, in_path};
use super::tag::Tag;
use crate::edge::location::url;
use crate::edge::{Call, PIECE, Piece, Place, Reply, Telling};

pub(super) type Properties = BTreeMap<String, String>;

#[derive(Serialize)]
pub(super) struct ForPrefix {
    prefix: String,
    pub(super) config: Properties,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Credentials {
    pub(super) storage_credentials: Vec<ForPrefix>,
}

/// What stands in an answer around the metadata.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Around {
    /// None of what was not made yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) metadata_location: Option<String>,
    pub(super) config: Properties,
    pub(super) storage_credentials: Vec<ForPrefix>,
}

/// The same of an answer to a commit.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Committed {
    pub(super) metadata_location: Option<String>,
}

/// `GET …/tables/{table}`.
pub(super) async fn table(iceberg: Arc<Iceberg>, call: Call) -> Result<Reply, Error> {
    let table = iceberg.table(&call).await?;
    let (place, source) = iceberg.source(&call, &table).await?;
    let newest = place.in_time(source.newest(&table)).await?;
    let delegation = Delegation::asked(&call.headers).at(&newest.storage);
    let tag = Tag::of(&call, &table, &newest, delegation);
    if let Some(same) = tag.kept(&iceberg, &call, &newest, delegation) {
        return Ok(Reply::unchanged().header(ETAG, same));
    }
    let metadata = source.read(&place, &table, newest).await?;
    let (mut config, mut all, mut lease) = (Properties::new(), Vec::new(), None);
    reach(&mut config, &metadata.storage);
    if delegation == Delegation::Signed {
        config.extend(signing(&call)?);
    }
    if delegation == Delegation::Vended {
        // What it was read with elsewhere is what the caller would be given.
        let vended = match source.reading.vended {
            Some(vended) => vended,
            None => iceberg.vend(&call, &table).await?,
        };
        let own = shown(&own_path(&call)?, &url(&vended.storage, &table, &table.root), &vended);
        config.extend(own.config.clone());
        all.push(own);
        lease = Some((vended.lease, vended.credential.expiration()));
    }
    let tag = tag.header(lease.as_ref())?;
    let around = Around { metadata_location: Some(metadata.location), config, storage_credentials: all };
    Ok(whole(place, metadata.text, &around).await?.header(ETAG, tag))
}

/// Answers with metadata, and with what stands around it: at least one field.
pub(super) async fn whole(place: Place, metadata: Vec<u8>, around: &impl Serialize) -> Result<Reply, Error> {
    let around = serde_json::to_vec(around)
        .map_err(|error| Error::internal("an answer could not be written").caused_by(error))?;
    // What comes last closes the object that comes first.
    let rest = around.get(1..).unwrap_or_default();
    let text = [b"{\"metadata\":", metadata.as_slice(), b",", rest].concat();
    place.answer(Whole { text, told: 0 }, "application/json").await
}

/// `HEAD …/tables/{table}`.
pub(super) async fn exists(iceberg: Arc<Iceberg>, call: Call) -> Result<Reply, Error> {
    let table = iceberg.table(&call).await?;
    let (place, source) = iceberg.source(&call, &table).await?;
    place.in_time(source.newest(&table)).await?;
    Ok(Reply::nothing())
}

/// `GET …/tables/{table}/credentials`.
pub(super) async fn credentials(iceberg: Arc<Iceberg>, call: Call) -> Result<Reply, Error> {
    let table = iceberg.table(&call).await?;
    let vended = iceberg.vend(&call, &table).await?;
    let own = shown(&own_path(&call)?, &url(&vended.storage, &table, &table.root), &vended);
    Reply::json(&Credentials { storage_credentials: vec![own] })
}

/// `POST …/tables/{table}/metrics`: what a client measured. It is not kept.
pub(super) async fn metrics(iceberg: Arc<Iceberg>, call: Call) -> Result<Reply, Error> {
    iceberg.table(&call).await?;
    let _: serde_json::Map<String, serde_json::Value> = crate::edge::json(&call.body)?;
    Ok(Reply::nothing())
}

/// Where a storage is, for clients that are told nothing else.
pub(super) fn reach(config: &mut Properties, storage: &Storage) {
    let mut say = |name: &str, value: &str| config.insert(name.to_owned(), value.to_owned());
    if storage.kind.shape() == valetkey_core::storage::Shape::S3 {
        say("s3.endpoint", &storage.endpoint);
        say("s3.path-style-access", "true");
        say("s3.region", &storage.region);
        say("client.region", &storage.region);
    }
}

impl Iceberg {
    async fn vend(&self, call: &Call, table: &SharedTable) -> Result<Vended, Error> {
        self.shared.vending.vend_knowing(&call.caller, &self.ask(table)?, &call.facts()).await
    }
}

/// The path of the table that the path names, below the catalog's address.
fn own_path(call: &Call) -> Result<String, Error> {
    let [prefix, namespace, table] =
        [call.params.get("prefix")?, call.params.get("namespace")?, call.params.get("table")?];
    Ok(format!("v1/{}/namespaces/{}/tables/{}", in_path(prefix), in_path(namespace), in_path(table)))
}

/// Where requests are signed, in the specification's words of now and of before. SECURITY: a path alone: clients send it, with their
/// token, to the catalog that told it.
fn signing(call: &Call) -> Result<Properties, Error> {
    let path = format!("{}/sign", own_path(call)?);
    let say = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Ok(Properties::from([
        say("s3.remote-signing-enabled", "true"),
        say("s3.signer.endpoint", &path),
        say("signer.endpoint", &path),
    ]))
}

/// A credential for a location, in the words of this API, for what has this path below the catalog's address.
pub(super) fn shown(path: &str, location: &str, vended: &Vended) -> ForPrefix {
    let mut config = Properties::new();
    reach(&mut config, &vended.storage);
    let again = format!("{path}/credentials");
    // The credential's own end, never what was wished for.
    let end = vended.credential.expiration().as_millisecond().to_string();
    let mut say = |name: &str, value: &str| config.insert(name.to_owned(), value.to_owned());
    match &*vended.credential {
        Credential::S3(keys) => {
            say("s3.access-key-id", &keys.access_key_id);
            say("s3.secret-access-key", keys.secret_access_key.reveal());
            say("s3.session-token", keys.session_token.reveal());
            say("s3.session-token-expires-at-ms", &end);
            say("client.refresh-credentials-endpoint", &again);
        }
        Credential::Azure(sas) => {
            let authority = location.split('/').nth(2).unwrap_or_default();
            let host = authority.rsplit('@').next().unwrap_or_default();
            let account = host.split('.').next().unwrap_or_default();
            for name in [host, account] {
                say(&format!("adls.sas-token.{name}"), sas.sas_token.reveal());
                say(&format!("adls.sas-token-expires-at-ms.{name}"), &end);
            }
            say("adls.refresh-credentials-endpoint", &again);
        }
        Credential::Google(token) => {
            say("gcs.oauth2.token", token.access_token.reveal());
            say("gcs.oauth2.token-expires-at", &end);
            say("gcs.oauth2.refresh-credentials-endpoint", &again);
        }
    }
    ForPrefix { prefix: location.to_owned(), config }
}

/// An answer that is told piece by piece: its place is held until the reader took it.
struct Whole {
    text: Vec<u8>,
    told: usize,
}

impl Telling for Whole {
    fn more(&mut self) -> Result<Piece, Error> {
        let end = self.told.saturating_add(PIECE).min(self.text.len());
        let bytes = self.text.get(self.told..end).unwrap_or_default().to_vec();
        self.told = end;
        Ok(Piece { bytes, is_last: end == self.text.len() })
    }
}
