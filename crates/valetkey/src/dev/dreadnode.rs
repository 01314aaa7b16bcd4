//! The demo's part for Dreadnode's SDK: a caller with a workspace of its own.

use std::path::Path;

use serde::{Deserialize, Serialize};
use valetkey_core::caller::Role;
use valetkey_core::error::Kind;
use valetkey_core::grant::Grantee;
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::workspace::{Access, NewWorkspace, Opening, Slug};
use valetkey_core::time::Lifetime;

use crate::dev::making::{account, caller, or_there, token, token_file};
use crate::node::Handles;

const ORGANIZATION: &str = "acme";
pub(super) const CALLER: &str = "agent";
const WORKSPACE: &str = "main";
const BUCKET: &str = "agents-lake";

/// What the demo keeps of it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) token: String,
    pub(crate) organization: String,
    pub(crate) workspace: String,
}

/// What the ready line tells of it.
#[derive(Serialize)]
pub(crate) struct Ready<'a> {
    url: &'a str,
    #[serde(flatten)]
    state: &'a State,
}

impl<'a> Ready<'a> {
    pub(crate) fn new(url: &'a str, state: &'a State) -> Self {
        Self { url, state }
    }
}

/// Makes the caller, the bucket and the workspace.
pub(crate) async fn make(node: &Handles) -> anyhow::Result<State> {
    let now = node.clock.now();
    let account = account(&*node.registry, ORGANIZATION, now).await?;
    let (caller, token) = caller(node, &account, CALLER, Role::Member, now).await?;
    let bucket = BucketName::parse(BUCKET)?;
    or_there(node.registry.create_bucket(node.storage.id, &bucket, now).await)?;
    node.endpoint.ensure_bucket(&bucket).await?;
    let new = NewWorkspace {
        account: account.id,
        key: Slug::parse(WORKSPACE)?,
        name: "Main".into(),
        storage: node.storage.id,
        bucket,
        root: None,
        is_default: true,
        openings: vec![Opening { name: Name::parse(&format!("workspace-{WORKSPACE}"))?, to: Grantee::Caller(caller) }],
        access: Access::ReadWrite,
        max_lifetime: Lifetime::secs(604_800),
    };
    match node.registry.create_workspace(new, now).await {
        // Made before the last start was cut short.
        Err(error) if matches!(error.kind(), Kind::AlreadyExists(_)) => {}
        made => drop(made?),
    }
    Ok(State {
        token: token.reveal().to_owned(),
        organization: ORGANIZATION.to_owned(),
        workspace: WORKSPACE.to_owned(),
    })
}

/// What to copy and paste.
pub(super) fn lines(api: &str, state: &State, data_dir: &Path) -> [String; 2] {
    let State { token: _, organization, workspace } = state;
    let file = token_file(data_dir, CALLER);
    [
        format!(
            "  curl -s {api}/api/v1/org/{organization}/ws/{workspace}/storage/credentials -H \"X-API-Key: {}\"",
            token(data_dir, CALLER)
        ),
        format!(
            "  python3 -c 'import dreadnode, pathlib; dn = dreadnode.configure(server=\"{api}\", api_key=pathlib.Path(\"{}\").read_text(), organization=\"{organization}\", workspace=\"{workspace}\"); print(dn.storage.store_artifact(pathlib.Path(\"/etc/hostname\")))'",
            file.display()
        ),
    ]
}
