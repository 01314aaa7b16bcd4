//! Dreadnode's API, as far as its SDK needs it to keep artifacts and datasets here: who one is, workspaces and projects,
//! storage credentials, and the registry its packages are pushed to. Where we differ is told in
//! `docs/dialects/dreadnode.md`.
//!
//! An organization is an account. Which workspaces there are for a caller is decided by policy: those whose credentials it
//! would get.

mod credentials;
mod error;
mod packages;
mod projects;
mod traces;
mod version;
mod who;

use std::future::Future;
use std::sync::Arc;

use http::Method;
use serde::Serialize;
use valetkey_core::Error;
use valetkey_core::time::Lifetime;

use crate::edge::{Call, Carrier, Class, Dialect, Proof, Reply, Route, Shared, no_headers, usual_headers};

pub use version::Version;

/// The dialect's name in the ledger, logs and metrics.
pub const NAME: &str = "dreadnode";

/// What can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a credential lives. The SDK asks for a new one when less than a quarter of an hour is left.
    pub lifetime: Lifetime,
    /// The oldest SDK that is served.
    pub min_sdk: Option<Version>,
    /// The most bytes of one blob of a package.
    pub blob_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { lifetime: Lifetime::secs(3600), min_sdk: None, blob_bytes: 16 * 1024 * 1024 }
    }
}

/// What the handlers work with.
struct Dreadnode {
    shared: Arc<Shared>,
    settings: Settings,
}

/// The header of the SDK's REST client; HTTP Basic, of its registry client; and what everybody else sends.
const TOKENS: &[Carrier] = &[Carrier::Header("X-API-Key"), Carrier::Basic("__token__"), Carrier::Bearer];
/// The most bytes of a manifest: the least that OCI says every registry takes.
const MANIFEST_BYTES: usize = 4 * 1024 * 1024;
/// The most bytes of one batch of traces.
const TRACES_BYTES: usize = 8 * 1024 * 1024;

fn on<F>(
    dreadnode: &Arc<Dreadnode>,
    method: Method,
    path: &'static str,
    handler: fn(Arc<Dreadnode>, Call) -> F,
) -> Route
where
    F: Future<Output = Result<Reply, Error>> + Send + 'static,
{
    let dreadnode = Arc::clone(dreadnode);
    let class = if path == CREDENTIALS { Class::Credentials } else { Class::Common };
    Route::token(method, path, class, move |call| {
        let dreadnode = Arc::clone(&dreadnode);
        async move {
            version::check(dreadnode.settings.min_sdk.as_ref(), &call.headers)?;
            handler(dreadnode, call).await
        }
    })
    .passing_query(&[])
}

/// The same with a larger body, which is read only for whom `decide` lets send it.
fn large<F, D>(
    dreadnode: &Arc<Dreadnode>,
    (method, path, most): (Method, &'static str, usize),
    decide: fn(Arc<Dreadnode>, Call) -> D,
    handler: fn(Arc<Dreadnode>, Call) -> F,
) -> Route
where
    F: Future<Output = Result<Reply, Error>> + Send + 'static,
    D: Future<Output = Result<(), Error>> + Send + 'static,
{
    let own = Arc::clone(dreadnode);
    on(dreadnode, method, path, handler).large(most, move |call| {
        let dreadnode = Arc::clone(&own);
        async move {
            version::check(dreadnode.settings.min_sdk.as_ref(), &call.headers)?;
            decide(dreadnode, call).await
        }
    })
}

const CREDENTIALS: &str = "/api/v1/org/{org}/ws/{workspace}/storage/credentials";

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// Makes the dialect.
pub fn dialect(shared: &Arc<Shared>, settings: Settings) -> Dialect {
    let blob_bytes = settings.blob_bytes;
    let dn = &Arc::new(Dreadnode { shared: Arc::clone(shared), settings });
    let (get, head, post, put) = (Method::GET, Method::HEAD, Method::POST, Method::PUT);
    let projects = "/api/v1/org/{org}/ws/{workspace}/projects";
    Dialect {
        name: NAME,
        // Its SDK takes a base that ends in `/api` as it is.
        alias: Some(("/api", "/api/v1")),
        base: String::new(),
        // Ours and others' longer claims below it win.
        claims: &["/api/v1"],
        proof: Proof::Carried(TOKENS),
        actions: None,
        row: Arc::new(error::row),
        codes: &[],
        body: Arc::new(error::body),
        body_type: "application/json",
        refused: no_headers,
        quota: usual_headers,
        // The literal ones first: an organization may be named as one of their segments.
        routes: vec![
            on(dn, get.clone(), CREDENTIALS, credentials::vend).vending_query(&[]),
            Route::open(get.clone(), "/api/v1/health", Class::Common, |_| async {
                Reply::json(&Health { status: "ok" })
            }),
            on(dn, get.clone(), "/api/v1/user", who::user),
            on(dn, get.clone(), "/api/v1/user/organizations", who::organizations),
            on(dn, get.clone(), "/api/v1/org/{org}", who::organization),
            on(dn, get.clone(), "/api/v1/org/{org}/ws", who::workspaces),
            on(dn, get.clone(), "/api/v1/org/{org}/ws/{workspace}", who::workspace),
            on(dn, get.clone(), projects, projects::list),
            on(dn, post.clone(), projects, projects::create),
            on(dn, get.clone(), "/api/v1/org/{org}/ws/{workspace}/projects/{project}", projects::get),
            large(dn, (post.clone(), "/api/v1/org/{org}/otel/traces", TRACES_BYTES), traces::decide, traces::take),
            on(dn, head.clone(), "/api/v1/{org}/blobs/{digest}", packages::head_blob),
            on(dn, get.clone(), "/api/v1/{org}/blobs/{digest}", packages::get_blob),
            on(dn, post, "/api/v1/{org}/{name}/blobs/uploads/", packages::begin),
            large(
                dn,
                (put.clone(), "/api/v1/{org}/{name}/blobs/uploads/{upload}", blob_bytes),
                packages::may_finish,
                packages::finish,
            )
            .passing_query(&["digest"]),
            on(dn, head, "/api/v1/{org}/{name}/blobs/{digest}", packages::head_blob),
            on(dn, get.clone(), "/api/v1/{org}/{name}/blobs/{digest}", packages::get_blob),
            large(
                dn,
                (put, "/api/v1/{org}/{name}/manifests/{reference}", MANIFEST_BYTES),
                packages::may_put_manifest,
                packages::put_manifest,
            ),
            on(dn, get.clone(), "/api/v1/{org}/{name}/manifests/{reference}", packages::get_manifest),
            on(dn, get, "/api/v1/{org}/{name}/tags/list", packages::tags).passing_query(&["n", "last"]),
        ],
    }
}
