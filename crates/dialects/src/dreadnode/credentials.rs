//! `GET …/storage/credentials`: keys to the two parts of a workspace, to read, and to write where that is granted.

use std::sync::Arc;

use serde::Serialize;
use valetkey_core::error::Noun;
use valetkey_core::nouns::workspace::{self, Workspace};
use valetkey_core::policy;
use valetkey_core::vending::Vended;
use valetkey_core::{Error, Kind};

use super::{Dreadnode, who};
use crate::edge::{Call, Reply};

/// Where the SDK says from where it will use the credential.
const NETWORK: &str = "x-dreadnode-network";

pub(super) async fn vend(dreadnode: Arc<Dreadnode>, call: Call) -> Result<Reply, Error> {
    // The published operation takes neither; who sends one means to narrow the key and must not get a wider one in silence.
    if !call.body.is_empty() {
        return Err(Error::new(Kind::Invalid, "this route takes no body").at("body"));
    }
    let network = Network::of(&call)?;
    let missing = || Error::not_found(Noun::Workspace);
    let snapshot = dreadnode.organization(&call).await?;
    let workspaces = dreadnode.shared.workspaces.workspaces(call.caller.account).await?;
    let workspace = workspace::find(&workspaces, call.params.get("workspace")?).ok_or_else(missing)?;
    let ask = dreadnode.ask(workspace, Workspace::wanted());
    match dreadnode.shared.vending.vend(&call.caller, &ask).await {
        Ok(vended) => Reply::json(&Answer::of(&vended, workspace, network)?),
        // The record knows why. The caller may not know that there is a workspace.
        Err(error) if !policy::opens(&snapshot, &call.caller, &ask, &call.facts(), call.now) => {
            Err(missing().really(error.reason()))
        }
        Err(error) => Err(error),
    }
}

/// From where a credential will be used.
#[derive(Clone, Copy)]
enum Network {
    /// From anywhere.
    Public,
    /// From beside the store.
    Cluster,
}

impl Network {
    fn of(call: &Call) -> Result<Self, Error> {
        let mut given = call.headers.get_all(NETWORK).iter();
        let Some(value) = given.next() else { return Ok(Self::Public) };
        let refused = |said| Error::new(Kind::Invalid, said).at("header.x-dreadnode-network");
        if given.next().is_some() {
            return Err(refused("the header `X-Dreadnode-Network` is given twice"));
        }
        match value.to_str().map(str::to_ascii_lowercase).as_deref() {
            Ok("public") => Ok(Self::Public),
            Ok("cluster") => Ok(Self::Cluster),
            Ok(_) | Err(_) => Err(refused("`X-Dreadnode-Network` is `public` or `cluster`")),
        }
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    session_token: &'a str,
    expiration: String,
    region: &'a str,
    bucket: &'a str,
    /// Wider than what the key opens: clients put `/artifacts` and `/cas` behind it.
    prefix: &'a str,
    endpoint: Option<&'a str>,
}

impl<'a> Answer<'a> {
    fn of(vended: &'a Vended, workspace: &'a Workspace, network: Network) -> Result<Self, Error> {
        let keys = vended.credential.s3()?;
        let storage = &vended.storage;
        Ok(Self {
            access_key_id: &keys.access_key_id,
            secret_access_key: keys.secret_access_key.reveal(),
            session_token: keys.session_token.reveal(),
            expiration: who::at(keys.expiration),
            region: &storage.region,
            bucket: workspace.bucket.as_str(),
            prefix: workspace.root.as_str(),
            endpoint: Some(match network {
                Network::Public => &storage.endpoint,
                Network::Cluster => storage.internal_endpoint.as_deref().unwrap_or(&storage.endpoint),
            }),
        })
    }
}
