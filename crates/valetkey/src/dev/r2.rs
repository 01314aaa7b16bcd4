//! The demo's parent access key: a bucket of its own, and a long-lived key to make and sign short-lived ones with.

use std::path::Path;

use serde::{Deserialize, Serialize};
use valetkey_core::id::TokenId;
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::parent::{NewParent, ParentAdmin as _, Permission};
use valetkey_core::nouns::registry::Registry;
use valetkey_core::token::{Maker, PlainToken};

use crate::dev::making::{account, or_there, token};
use crate::node::Handles;

const BUCKET: &str = "uploads-lake";
/// The file of the API token, by its name.
pub(super) const TOKEN: &str = "uploads";
/// Whose it is.
const ACCOUNT: &str = "acme";
const OBJECTS: &[(&str, &str)] = &[
    ("shared/manifest.json", "{\"about\": \"for everyone with a key to this bucket\"}\n"),
    ("uploads/user-123/hello.txt", "A key for `uploads/user-123/` opens this.\n"),
    ("uploads/user-124/secret.txt", "And not this.\n"),
];

/// What the demo keeps of its parent access key.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct R2State {
    pub(crate) account_id: String,
    pub(crate) api_token: String,
    pub(crate) bucket: String,
    pub(crate) parent_access_key_id: String,
    pub(crate) parent_secret_access_key: String,
}

/// What of it scripts are told.
#[derive(Serialize)]
pub(crate) struct R2Ready<'a> {
    /// For clients of Cloudflare's API.
    base_url: String,
    #[serde(flatten)]
    state: &'a R2State,
    /// The host that locally signed credentials are for.
    s3_host: &'a str,
}

impl<'a> R2Ready<'a> {
    /// Of a demo that listens there.
    pub(crate) fn new(api: &str, s3: &'a str, state: &'a R2State) -> Self {
        let s3_host = s3.split_once("://").map_or(s3, |(_, host)| host);
        Self { base_url: format!("{api}/client/v4"), state, s3_host }
    }

    /// How to ask for a credential of it with curl.
    pub(crate) fn example(&self, data_dir: &Path) -> String {
        let R2State { account_id, api_token: _, bucket, parent_access_key_id, parent_secret_access_key: _ } =
            self.state;
        format!(
            "  curl -s {}/accounts/{account_id}/r2/temp-access-credentials -H \"Authorization: Bearer {}\" \
             -d '{{\"bucket\": \"{bucket}\", \"parentAccessKeyId\": \"{parent_access_key_id}\", \"permission\": \
             \"object-read-only\", \"ttlSeconds\": 900, \"prefixes\": [\"uploads/user-123/\"]}}'",
            self.base_url,
            token(data_dir, TOKEN)
        )
    }
}

/// Makes the bucket, its objects and the parent access key.
pub(crate) async fn make(node: &Handles) -> anyhow::Result<R2State> {
    let now = node.clock.now();
    let registry: &dyn Registry = &*node.registry;
    let bucket = BucketName::parse(BUCKET)?;
    or_there(registry.create_bucket(node.storage.id, &bucket, now).await)?;
    node.endpoint.ensure_bucket(&bucket).await?;
    for (key, text) in OBJECTS {
        node.endpoint.put_bytes(&bucket, key, text.as_bytes().into(), "text/plain").await?;
    }
    let account = account(registry, ACCOUNT, now).await?.id;
    let token = PlainToken::generate(&*node.entropy);
    let record = node.parents.create_parent(new(account, "uploads", &bucket)?, &token, now).await;
    let record = match record {
        // Made before a start that was cut short: its token is lost, so another takes its place.
        Err(error) if matches!(error.kind(), valetkey_core::Kind::AlreadyExists(_)) => {
            let other = format!("uploads-{}", now.as_millisecond());
            node.parents.create_parent(new(account, &other, &bucket)?, &token, now).await?
        }
        made => made?,
    };
    let id: TokenId = record.token.id;
    Ok(R2State {
        account_id: account.as_hex(),
        api_token: token.reveal().to_owned(),
        bucket: BUCKET.to_owned(),
        parent_access_key_id: id.as_hex(),
        parent_secret_access_key: token.secret_access_key().reveal().clone(),
    })
}

fn new(account: valetkey_core::id::AccountId, name: &str, bucket: &BucketName) -> anyhow::Result<NewParent> {
    Ok(NewParent {
        account,
        name: Name::parse(name)?,
        buckets: vec![bucket.clone()],
        permission: Permission::AdminReadWrite,
        until: None,
        maker: Maker::Server,
    })
}
