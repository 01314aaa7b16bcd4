//! Lists, and loading.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use valetkey_core::Error;
use valetkey_core::ask::Wanted;
use valetkey_core::nouns::table::CatalogAsk;
use valetkey_core::scope::Actions;

use super::super::delegation::Delegation;
use super::super::load::{self, Credentials};
use super::super::state::in_path;
use super::answer::{self, Loaded, unreadable};
use super::state::{Behind, Object, TO_READ};
use crate::edge::{Call, Place, Reply, json};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Namespaces {
    namespaces: Vec<Vec<String>>,
    #[serde(default)]
    next_page_token: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Namespace {
    pub(super) namespace: Vec<String>,
    #[serde(default)]
    pub(super) properties: Option<BTreeMap<String, String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Identifiers {
    identifiers: Vec<Listed>,
    #[serde(default)]
    next_page_token: Option<String>,
}

// A catalog may say more of each.
#[derive(Serialize, Deserialize)]
struct Listed {
    namespace: Vec<String>,
    name: String,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(super) struct Identifier {
    pub(super) namespace: Vec<String>,
    pub(super) name: String,
}

/// Parameters of the query that are passed on.
fn passed<'c>(call: &'c Call, names: &[&'static str]) -> Vec<(&'static str, &'c str)> {
    names.iter().filter_map(|name| Some((*name, call.query.get(name)?))).collect()
}

impl Behind {
    fn get<'a>(path: Vec<&'a str>, query: Vec<(&'static str, &'a str)>) -> CatalogAsk<'a> {
        CatalogAsk { method: "GET", path, query, body: None }
    }

    /// A table or a view by its names.
    pub(super) async fn loaded(
        &self,
        place: &Place,
        (object, namespace, name): (Object, &str, &str),
        query: Vec<(&'static str, &str)>,
    ) -> Result<Loaded, Error> {
        let path = vec!["namespaces", namespace, object.part(), name];
        let body = self.tell(place, Self::get(path, query)).await?;
        place.work(move |_| answer::loaded(&body)).await
    }

    /// What the path names.
    pub(super) fn names(&self, object: Object) -> Result<(Object, &str, &str), Error> {
        let name = match object {
            Object::Table => "table",
            Object::View => "view",
        };
        Ok((object, self.call.params.get("namespace")?, self.call.params.get(name)?))
    }

    /// Tells a table, with a credential for its directory where the client wants one.
    pub(super) async fn answer(&self, place: Place, name: &str, loaded: Loaded) -> Result<Reply, Error> {
        let Loaded { metadata_location, location, uuid: _, text } = loaded;
        // A client that loads a table may write it then. It is given what it was granted of that.
        let granted = self.grant(&location, Wanted::between(TO_READ, Actions::READ_WRITE)).await?;
        let (mut config, mut all) = (load::Properties::new(), Vec::new());
        load::reach(&mut config, granted.permit.storage());
        if Delegation::asked(&self.call.headers) == Delegation::Vended {
            let vended = place.in_time(self.vend(&granted, &location)).await?;
            let own = load::shown(&self.path(name)?, location.trim_end_matches('/'), &vended);
            config.extend(own.config.clone());
            all.push(own);
        }
        load::whole(place, text, &load::Around { metadata_location, config, storage_credentials: all }).await
    }

    /// The path of a table of the namespace that the path names, below our own address.
    fn path(&self, name: &str) -> Result<String, Error> {
        let [prefix, namespace] = [self.call.params.get("prefix")?, self.call.params.get("namespace")?];
        Ok(format!("v1/{}/namespaces/{}/tables/{}", in_path(prefix), in_path(namespace), in_path(name)))
    }
}

pub(crate) async fn namespaces(behind: Behind) -> Result<Reply, Error> {
    let query = passed(&behind.call, &["parent", "pageToken", "pageSize"]);
    let body = behind.tell(&behind.place().await?, Behind::get(vec!["namespaces"], query)).await?;
    Reply::json(&serde_json::from_slice::<Namespaces>(&body).map_err(unreadable)?)
}

async fn told(behind: &Behind) -> Result<Namespace, Error> {
    let path = vec!["namespaces", behind.call.params.get("namespace")?];
    let body = behind.tell(&behind.place().await?, Behind::get(path, Vec::new())).await?;
    serde_json::from_slice(&body).map_err(unreadable)
}

pub(crate) async fn namespace(behind: Behind) -> Result<Reply, Error> {
    Reply::json(&told(&behind).await?)
}

pub(crate) async fn has_namespace(behind: Behind) -> Result<Reply, Error> {
    told(&behind).await?;
    Ok(Reply::nothing())
}

async fn list(behind: Behind, object: Object) -> Result<Reply, Error> {
    let query = passed(&behind.call, &["pageToken", "pageSize"]);
    let path = vec!["namespaces", behind.call.params.get("namespace")?, object.part()];
    let body = behind.tell(&behind.place().await?, Behind::get(path, query)).await?;
    Reply::json(&serde_json::from_slice::<Identifiers>(&body).map_err(unreadable)?)
}

pub(crate) async fn tables(behind: Behind) -> Result<Reply, Error> {
    list(behind, Object::Table).await
}

pub(crate) async fn views(behind: Behind) -> Result<Reply, Error> {
    list(behind, Object::View).await
}

/// What the path names, if the caller may read it.
async fn readable(behind: &Behind, object: Object) -> Result<(Place, Loaded), Error> {
    let place = behind.place().await?;
    let query = passed(&behind.call, &["snapshots"]);
    let loaded = behind.loaded(&place, behind.names(object)?, query).await?;
    behind.grant(&loaded.location, Wanted::all_of(TO_READ)).await?;
    Ok((place, loaded))
}

pub(crate) async fn table(behind: Behind) -> Result<Reply, Error> {
    let (place, loaded) = readable(&behind, Object::Table).await?;
    behind.answer(place, behind.call.params.get("table")?, loaded).await
}

pub(crate) async fn view(behind: Behind) -> Result<Reply, Error> {
    let (place, Loaded { metadata_location, location: _, uuid: _, text }) = readable(&behind, Object::View).await?;
    let around = load::Around { metadata_location, config: load::Properties::new(), storage_credentials: Vec::new() };
    load::whole(place, text, &around).await
}

pub(crate) async fn has_table(behind: Behind) -> Result<Reply, Error> {
    readable(&behind, Object::Table).await?;
    Ok(Reply::nothing())
}

pub(crate) async fn has_view(behind: Behind) -> Result<Reply, Error> {
    readable(&behind, Object::View).await?;
    Ok(Reply::nothing())
}

pub(crate) async fn credentials(behind: Behind) -> Result<Reply, Error> {
    let place = behind.place().await?;
    let Loaded { location, .. } = behind.loaded(&place, behind.names(Object::Table)?, Vec::new()).await?;
    let granted = behind.grant(&location, Wanted::between(TO_READ, Actions::READ_WRITE)).await?;
    let vended = place.in_time(behind.vend(&granted, &location)).await?;
    let own = load::shown(&behind.path(behind.call.params.get("table")?)?, location.trim_end_matches('/'), &vended);
    Reply::json(&Credentials { storage_credentials: vec![own] })
}

/// What a client measured: the catalog may keep it.
pub(crate) async fn metrics(behind: Behind) -> Result<Reply, Error> {
    let _: serde_json::Map<String, serde_json::Value> = json(&behind.call.body)?;
    let (place, _) = readable(&behind, Object::Table).await?;
    let (_, namespace, table) = behind.names(Object::Table)?;
    let path = vec!["namespaces", namespace, "tables", table, "metrics"];
    let body = Some(behind.call.body.to_vec());
    behind.tell(&place, CatalogAsk { method: "POST", path, query: Vec::new(), body }).await?;
    Ok(Reply::nothing())
}
