//! What changes a catalog.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use valetkey_core::ask::Wanted;
use valetkey_core::error::Noun;
use valetkey_core::nouns::table::CatalogAsk;
use valetkey_core::{Error, Kind};

use super::super::load;
use super::answer::{self, Loaded, unreadable};
use super::commit::{Commit, places_of};
use super::read::{Identifier, Namespace};
use super::state::{Behind, LEVELS, Object, TO_DROP, TO_READ, TO_WRITE};
use crate::edge::{Authority, Place, Reply, json};

/// The most tables of one transaction.
const MOST_TABLES: usize = 32;

fn written(value: &impl Serialize) -> Result<Option<Vec<u8>>, Error> {
    let text = serde_json::to_vec(value);
    text.map(Some).map_err(|error| Error::internal("a request could not be written").caused_by(error))
}

/// A namespace as paths have it.
fn joined(namespace: &[String]) -> Result<String, Error> {
    let odd = |level: &String| level.is_empty() || level.contains(LEVELS);
    if namespace.is_empty() || namespace.iter().any(odd) {
        return Err(Error::new(Kind::Invalid, "a namespace has one level or more, none of them empty").at("namespace"));
    }
    Ok(namespace.join(&LEVELS.to_string()))
}

impl Behind {
    fn post<'a>(path: Vec<&'a str>, body: &impl Serialize) -> Result<CatalogAsk<'a>, Error> {
        Ok(CatalogAsk { method: "POST", path, query: Vec::new(), body: written(body)? })
    }

    fn delete<'a>(path: Vec<&'a str>, query: Vec<(&'static str, &'a str)>) -> CatalogAsk<'a> {
        CatalogAsk { method: "DELETE", path, query, body: None }
    }

    /// Decides on each of these.
    async fn may(&self, places: &[&str], wanted: Wanted) -> Result<(), Error> {
        for place in places {
            self.grant(place, wanted).await?;
        }
        Ok(())
    }

    /// What there is of a name, once the caller may do that to it.
    async fn own(&self, place: &Place, which: (Object, &str, &str), wanted: Wanted) -> Result<Loaded, Error> {
        let loaded = self.loaded(place, which, Vec::new()).await?;
        self.grant(&loaded.location, wanted).await?;
        Ok(loaded)
    }

    /// Looks through a commit, and holds it to what is there now.
    async fn settle(&self, place: &Place, which: (Object, &str, &str), commit: &mut Commit) -> Result<(), Error> {
        let (object, namespace, name) = which;
        let named = |own: &Identifier| joined(&own.namespace).is_ok_and(|own| own == namespace) && own.name == name;
        if commit.identifier.as_ref().is_some_and(|own| !named(own)) {
            return Err(Error::new(Kind::Invalid, "it names another than the path does").at("identifier"));
        }
        self.may(&commit.places(object)?, Wanted::all_of(TO_WRITE)).await?;
        match self.own(place, which, Wanted::all_of(TO_WRITE)).await {
            Ok(found) => {
                let uuid = found.uuid.ok_or_else(|| unreadable("a table without a UUID"))?;
                commit.hold_to(object, &uuid);
                Ok(())
            }
            // Another may be made meanwhile: then the catalog refuses it, by what the commit demands.
            Err(error) if matches!(error.kind(), Kind::NotFound(Noun::Table)) && commit.creates() => {
                let said = "what a commit creates has a `set-location`";
                commit.location().map(|_| ()).ok_or_else(|| Error::new(Kind::Invalid, said).at("updates"))
            }
            Err(error) => Err(error),
        }
    }
}

pub(crate) async fn create_namespace(behind: Behind, _: Authority) -> Result<Reply, Error> {
    let asked: NewNamespace = json(&behind.call.body)?;
    joined(&asked.namespace)?;
    let place = behind.place().await?;
    let body = behind.change(&place, Behind::post(vec!["namespaces"], &asked)?).await?;
    Reply::json(&serde_json::from_slice::<Namespace>(&body).map_err(unreadable)?)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewNamespace {
    namespace: Vec<String>,
    #[serde(default)]
    properties: Map<String, Value>,
}

pub(crate) async fn drop_namespace(behind: Behind, _: Authority) -> Result<Reply, Error> {
    let path = vec!["namespaces", behind.call.params.get("namespace")?];
    behind.change(&behind.place().await?, Behind::delete(path, Vec::new())).await?;
    Ok(Reply::nothing())
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Properties {
    #[serde(default)]
    removals: Vec<String>,
    #[serde(default)]
    updates: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct Changed {
    updated: Vec<String>,
    removed: Vec<String>,
    #[serde(default)]
    missing: Option<Vec<String>>,
}

pub(crate) async fn namespace_properties(behind: Behind, _: Authority) -> Result<Reply, Error> {
    let asked: Properties = json(&behind.call.body)?;
    let path = vec!["namespaces", behind.call.params.get("namespace")?, "properties"];
    let body = behind.change(&behind.place().await?, Behind::post(path, &asked)?).await?;
    Reply::json(&serde_json::from_slice::<Changed>(&body).map_err(unreadable)?)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct NewTable {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    schema: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition_spec: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    write_order: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stage_create: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    properties: Option<Map<String, Value>>,
}

pub(crate) async fn create_table(behind: Behind, _: Authority) -> Result<Reply, Error> {
    let mut asked: NewTable = json(&behind.call.body)?;
    let is_staged = asked.stage_create == Some(true);
    let wanted = Wanted::all_of(TO_WRITE);
    behind.may(&asked.properties.as_ref().map_or(Ok(Vec::new()), places_of)?, wanted).await?;
    let place = behind.place().await?;
    let path = vec!["namespaces", behind.call.params.get("namespace")?, "tables"];
    if let Some(location) = &asked.location {
        behind.grant(location, wanted).await?;
    } else if !is_staged {
        // The catalog chooses a place. It is asked which, and nothing is made until that is decided on.
        asked.stage_create = Some(true);
        let body = behind.tell(&place, Behind::post(path.clone(), &asked)?).await?;
        let location = place.work(move |_| answer::loaded(&body)).await?.location;
        behind.grant(&location, wanted).await?;
        (asked.location, asked.stage_create) = (Some(location), Some(false));
    }
    let ask = Behind::post(path, &asked)?;
    let body = if is_staged { behind.tell(&place, ask).await? } else { behind.change(&place, ask).await? };
    let made = place.work(move |_| answer::loaded(&body)).await?;
    behind.grant(&made.location, wanted).await?;
    behind.answer(place, &asked.name, made).await
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Registered {
    name: String,
    metadata_location: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    overwrite: Option<bool>,
}

pub(crate) async fn register(behind: Behind, _: Authority) -> Result<Reply, Error> {
    let asked: Registered = json(&behind.call.body)?;
    if asked.overwrite == Some(true) {
        return Err(Error::new(Kind::Unsupported, "a table is not registered over another").at("overwrite"));
    }
    // The catalog reads the file with rights of its own.
    let said = "it is not the file of a table: `…/metadata/….metadata.json`";
    let odd = || Error::new(Kind::Invalid, said).at("metadata-location");
    let (directory, _) = asked.metadata_location.rsplit_once('/').ok_or_else(odd)?;
    let root = directory.strip_suffix("/metadata").ok_or_else(odd)?;
    behind.grant(root, Wanted::all_of(TO_WRITE)).await?;
    let place = behind.place().await?;
    let path = vec!["namespaces", behind.call.params.get("namespace")?, "register"];
    let body = behind.change(&place, Behind::post(path, &asked)?).await?;
    let made = place.work(move |_| answer::loaded(&body)).await?;
    behind.answer(place, &asked.name, made).await
}

pub(crate) async fn drop_one(behind: Behind, object: Object) -> Result<Reply, Error> {
    let place = behind.place().await?;
    let which = behind.names(object)?;
    behind.own(&place, which, Wanted::all_of(TO_DROP)).await?;
    let (_, namespace, name) = which;
    let purge = behind.call.query.get("purgeRequested").map(|purge| ("purgeRequested", purge));
    let path = vec!["namespaces", namespace, object.part(), name];
    behind.change(&place, Behind::delete(path, purge.into_iter().collect())).await?;
    Ok(Reply::nothing())
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Renamed {
    source: Identifier,
    destination: Identifier,
}

pub(crate) async fn rename_one(behind: Behind, object: Object) -> Result<Reply, Error> {
    let asked: Renamed = json(&behind.call.body)?;
    joined(&asked.destination.namespace)?;
    let place = behind.place().await?;
    let namespace = joined(&asked.source.namespace)?;
    behind.own(&place, (object, &namespace, &asked.source.name), Wanted::all_of(TO_DROP)).await?;
    behind.change(&place, Behind::post(vec![object.part(), "rename"], &asked)?).await?;
    Ok(Reply::nothing())
}

pub(crate) async fn commit_one(behind: Behind, object: Object) -> Result<Reply, Error> {
    let mut commit: Commit = json(&behind.call.body)?;
    let place = behind.place().await?;
    let which = behind.names(object)?;
    behind.settle(&place, which, &mut commit).await?;
    let (_, namespace, name) = which;
    let body =
        behind.change(&place, Behind::post(vec!["namespaces", namespace, object.part(), name], &commit)?).await?;
    let done = place.work(move |_| answer::loaded(&body)).await?;
    behind.grant(&done.location, Wanted::all_of(TO_READ)).await?;
    let Loaded { metadata_location, location: _, uuid: _, text } = done;
    load::whole(place, text, &load::Committed { metadata_location }).await
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Transaction {
    table_changes: Vec<Commit>,
}

pub(crate) async fn transaction(behind: Behind, _: Authority) -> Result<Reply, Error> {
    let mut asked: Transaction = json(&behind.call.body)?;
    if asked.table_changes.len() > MOST_TABLES {
        let said = format!("a transaction has at most {MOST_TABLES} tables");
        return Err(Error::new(Kind::TooLarge, said).at("table-changes"));
    }
    let place = behind.place().await?;
    for commit in &mut asked.table_changes {
        let unnamed = || Error::new(Kind::Invalid, "each says which table it is of").at("identifier");
        let Identifier { namespace, name } = commit.identifier.clone().ok_or_else(unnamed)?;
        behind.settle(&place, (Object::Table, &joined(&namespace)?, &name), commit).await?;
    }
    behind.change(&place, Behind::post(vec!["transactions", "commit"], &asked)?).await?;
    Ok(Reply::nothing())
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct NewView {
    name: String,
    location: String,
    schema: Value,
    view_version: Value,
    properties: Map<String, Value>,
}

pub(crate) async fn create_view(behind: Behind, _: Authority) -> Result<Reply, Error> {
    let asked: NewView = json(&behind.call.body)?;
    behind.may(&places_of(&asked.properties)?, Wanted::all_of(TO_WRITE)).await?;
    behind.grant(&asked.location, Wanted::all_of(TO_WRITE)).await?;
    let place = behind.place().await?;
    let path = vec!["namespaces", behind.call.params.get("namespace")?, "views"];
    let body = behind.change(&place, Behind::post(path, &asked)?).await?;
    let Loaded { metadata_location, location, uuid: _, text } = place.work(move |_| answer::loaded(&body)).await?;
    behind.grant(&location, Wanted::all_of(TO_READ)).await?;
    load::whole(place, text, &load::Committed { metadata_location }).await
}
