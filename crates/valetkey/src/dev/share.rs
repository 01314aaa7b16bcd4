//! The demo's share: a Delta table of the flights, given to one partner, readable by URL and with keys.

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use valetkey_core::caller::Role;
use valetkey_core::grant::Grantee;
use valetkey_core::id::ShareId;
use valetkey_core::lease::Revoker;
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::share::Recipient;
use valetkey_core::nouns::table::{History, NewTable, SharedName, TableAccess, TableFormat, TableRoot};
use valetkey_core::time::Lifetime;

use crate::dev::making::{account, caller, or_there, token};
use crate::node::Handles;

#[path = "../../../../demo/table.rs"]
mod table;

/// The provider's account, the recipient's account and caller, and what is shared.
const PROVIDER: &str = "acme";
const ACCOUNT: &str = "globex";
pub(super) const CALLER: &str = "recipient";
pub(super) const SHARE: &str = "flights";
pub(super) const SCHEMA: &str = "nyc";
const TABLE: &str = "departures";

/// What the demo keeps of its share.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct ShareState {
    /// The recipient's token.
    pub(crate) token: String,
}

/// The demo's share, as the ready line says it.
#[derive(Serialize)]
pub(crate) struct ShareReady {
    /// The recipient's profile.
    pub(crate) profile: Value,
    /// What it may read.
    pub(crate) shares: Vec<Shared>,
}

/// A share of the demo and its tables.
#[derive(Serialize)]
pub(crate) struct Shared {
    name: &'static str,
    tables: Vec<SharedPlace>,
}

/// A shared table.
#[derive(Serialize)]
pub(crate) struct SharedPlace {
    schema: &'static str,
    name: &'static str,
    location: String,
}

/// The path of the table in the dialect.
pub(crate) fn path() -> String {
    format!("/shares/{SHARE}/schemas/{SCHEMA}/tables/{TABLE}")
}

/// The table's name with those of its schema and its share.
pub(crate) fn full_name() -> String {
    format!("{SHARE}.{SCHEMA}.{TABLE}")
}

/// The bucket and the directory of the table.
pub(crate) const fn place() -> (&'static str, &'static str) {
    (table::BUCKET, table::ROOT)
}

/// What the ready line says.
pub(crate) fn ready(api_url: &str, state: &ShareState) -> ShareReady {
    ShareReady {
        profile: json!({
            "shareCredentialsVersion": 1,
            "endpoint": format!("{api_url}/delta-sharing"),
            "bearerToken": state.token,
        }),
        shares: vec![Shared {
            name: SHARE,
            tables: vec![SharedPlace {
                schema: SCHEMA,
                name: TABLE,
                location: format!("s3://{}/{}", table::BUCKET, table::ROOT),
            }],
        }],
    }
}

/// What to copy and paste.
pub(crate) fn lines(api_url: &str, data_dir: &Path) -> [String; 3] {
    let profile = data_dir.join("config.share");
    let profile = profile.display();
    let token = token(data_dir, CALLER);
    let (endpoint, path) = (format!("{api_url}/delta-sharing"), path());
    [
        format!(
            "  python3 -c 'import delta_sharing as ds; print(ds.load_as_pandas(\"{profile}#{SHARE}.{SCHEMA}.{TABLE}\", limit=5))'   # pip install delta-sharing"
        ),
        format!("  curl -s {endpoint}{path}/metadata -H \"Authorization: Bearer {token}\""),
        format!("  curl -sX POST {endpoint}{path}/temporary-table-credentials -H \"Authorization: Bearer {token}\""),
    ]
}

/// Makes the share. What an earlier start that was cut short has made is found again.
pub(crate) async fn make(node: &Handles) -> anyhow::Result<ShareState> {
    let now = node.clock.now();
    let bucket = BucketName::parse(table::BUCKET)?;
    or_there(node.registry.create_bucket(node.storage.id, &bucket, now).await)?;
    node.endpoint.ensure_bucket(&bucket).await?;
    for (key, media_type, bytes) in table::FILES {
        node.endpoint.put_bytes(&bucket, key, (*bytes).into(), media_type).await?;
    }
    let provider = account(&*node.registry, PROVIDER, now).await?;
    let name = SharedName::parse(SHARE)?;
    let comment = "Flights that left New York City in the first days of 2013";
    or_there(node.registry.create_share(provider.id, &name, Some(comment), now).await.map(drop))?;
    let known = node.registry.shares().await?;
    let share: ShareId = known.iter().find(|share| share.name == name).context("the demo's share is not there")?.id;
    let shared = NewTable {
        id: (),
        share: (),
        schema: SharedName::part(SCHEMA)?,
        name: SharedName::part(TABLE)?,
        storage: node.storage.id,
        bucket,
        root: TableRoot::parse(table::ROOT)?,
        auxiliary: Vec::new(),
        access: TableAccess::Both,
        history: History::Shared,
        format: Some(TableFormat::Delta),
    };
    or_there(node.registry.add_table(share, shared, now).await.map(drop))?;
    let account = account(&*node.registry, ACCOUNT, now).await?;
    let (id, token) = caller(node, &account, CALLER, Role::Member, now).await?;
    let admin = node.registry.ensure_caller(provider.id, &Name::parse("provider")?, Role::Admin, now).await?;
    let recipient = Recipient {
        share,
        account: account.id,
        to: Grantee::Caller(id),
        max_lifetime: Lifetime::secs(86_400),
        until: None,
        made: now,
    };
    node.registry.add_recipient(recipient, Revoker { by: admin, at: now }).await?;
    Ok(ShareState { token: token.reveal().to_owned() })
}
