//! The servers that share the database: `/nodes`. For operators and auditors.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::Error;
use valetkey_core::nouns::node::Node;

use super::error::Problem;
use super::state::Native;
use super::wire;
use crate::edge::{Call, Reply};

/// A server.
#[derive(Serialize, ToSchema)]
pub(super) struct NodeResponse {
    /// Drawn when it was started; not there for a server that is alone with its database.
    id: Option<String>,
    /// Its `database.node`.
    name: String,
    /// Its version.
    version: String,
    /// Whether it said within the last ten seconds that it is there.
    live: bool,
    /// Whether it answered this request.
    this: bool,
    /// When it last said that it is there, by its own clock (RFC 3339).
    last_heard: Option<String>,
    /// The chain of the ledger that it writes, counted from 1. The next server that starts continues the chain of one that is gone.
    chain: u32,
    /// The last page of that chain that it reported.
    head: u64,
    /// What it alone does: `embedded`, it serves the objects of its own disk. All else that is done once (the index of leases, retention,
    /// fetching credentials ahead) is taken in turns, by any live server.
    duties: Vec<&'static str>,
}

/// The servers that share the database.
#[derive(Serialize, ToSchema)]
pub(super) struct NodeList {
    /// In order of their chains; those that are gone, too.
    nodes: Vec<NodeResponse>,
}

/// Lists the servers that share the database. For operators and auditors.
#[utoipa::path(get, operation_id = "list_nodes", path = "/api/v1/nodes", tag = "ledger", responses(
    (status = 200, description = "The servers", body = NodeList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn list(native: Arc<Native>, _: Call) -> Result<Reply, Error> {
    let shown = |node: Node| NodeResponse {
        id: node.id.map(|id| data_encoding::HEXLOWER.encode(&id)),
        name: node.name.into(),
        version: node.version.into(),
        live: node.live,
        this: node.this,
        last_heard: node.heard.map(wire::at),
        chain: node.chain,
        head: node.head,
        duties: if node.embedded { vec!["embedded"] } else { Vec::new() },
    };
    let nodes = native.shared.registry.nodes().await?;
    Reply::json(&NodeList { nodes: nodes.into_iter().map(shown).collect() })
}
