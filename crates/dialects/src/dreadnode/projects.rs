//! The projects of a workspace: names for what belongs together. They open nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use valetkey_core::ask::Wanted;
use valetkey_core::error::Noun;
use valetkey_core::nouns::workspace::{Project, Slug};
use valetkey_core::scope::{Action, Actions};
use valetkey_core::{Error, Kind};

use super::{Dreadnode, who};
use crate::edge::{Call, Reply, json};

/// The most bytes of a name and of a description.
const LONGEST_NAME: usize = 256;
const LONGEST_DESCRIPTION: usize = 4096;

#[derive(Serialize)]
struct ProjectShown<'a> {
    id: String,
    key: &'a str,
    name: &'a str,
    description: Option<&'a str>,
    workspace_id: String,
    created_at: String,
    updated_at: String,
}

impl<'a> ProjectShown<'a> {
    fn of(project: &'a Project) -> Self {
        let Project { id, workspace, key, name, description, made, updated } = project;
        Self {
            id: id.to_string(),
            key: key.as_str(),
            name,
            description: description.as_deref(),
            workspace_id: workspace.to_string(),
            created_at: who::at(*made),
            updated_at: who::at(*updated),
        }
    }
}

pub(super) async fn list(dreadnode: Arc<Dreadnode>, call: Call) -> Result<Reply, Error> {
    let snapshot = dreadnode.organization(&call).await?;
    let workspace = dreadnode.workspace(&snapshot, &call).await?;
    let projects = dreadnode.shared.workspaces.projects(workspace.id).await?;
    Reply::json(&projects.iter().map(ProjectShown::of).collect::<Vec<_>>())
}

pub(super) async fn get(dreadnode: Arc<Dreadnode>, call: Call) -> Result<Reply, Error> {
    let snapshot = dreadnode.organization(&call).await?;
    let workspace = dreadnode.workspace(&snapshot, &call).await?;
    let missing = || Error::not_found(Noun::Project);
    let key = Slug::parse(call.params.get("project")?).map_err(|_| missing())?;
    let project = dreadnode.shared.workspaces.project(workspace.id, &key).await?;
    Reply::json(&ProjectShown::of(&project.ok_or_else(missing)?))
}

/// A project to be made.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    name: String,
    key: String,
    description: Option<String>,
}

pub(super) async fn create(dreadnode: Arc<Dreadnode>, call: Call) -> Result<Reply, Error> {
    let Fields { name, key, description } = json(&call.body).map_err(|error| error.at("body"))?;
    let key = Slug::parse(&key).map_err(|error| error.at("body.key"))?;
    let name = words(name, "name", LONGEST_NAME).map_err(|error| error.at("body.name"))?;
    let description = description.map(|text| words(text, "description", LONGEST_DESCRIPTION)).transpose();
    let description = description.map_err(|error| error.at("body.description"))?;
    let snapshot = dreadnode.organization(&call).await?;
    let workspace = dreadnode.workspace(&snapshot, &call).await?;
    let writing = Wanted::all_of(Actions::of(&[Action::PutObject]));
    if !dreadnode.opens(&snapshot, &call, &workspace, writing) {
        return Err(Error::new(Kind::Forbidden, "the workspace is open to you for reading only"));
    }
    let workspaces = &dreadnode.shared.workspaces;
    let project = workspaces.create_project(workspace.id, &key, &name, description.as_deref(), call.now).await?;
    Reply::made(&ProjectShown::of(&project))
}

/// Words a person wrote: of a sane length, without what a terminal would obey.
fn words(text: String, what: &str, most: usize) -> Result<String, Error> {
    if text.len() > most || text.chars().any(char::is_control) {
        let said = format!("a {what} has at most {most} bytes and no control characters");
        return Err(Error::new(Kind::Invalid, said));
    }
    Ok(text)
}
