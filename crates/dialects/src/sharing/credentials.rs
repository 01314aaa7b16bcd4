//! `POST …/temporary-table-credentials`: keys to a table's directory, or to a part of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use valetkey_core::ask::{Ask, Asked, Target, Wanted};
use valetkey_core::credential::Credential;
use valetkey_core::scope::{Path, Paths};
use valetkey_core::share::READ;
use valetkey_core::storage::Shape;
use valetkey_core::{Error, Kind};

use super::{NAME, Sharing, json_reply, location};
use crate::edge::{Call, Reply, json};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    location: Option<String>,
}

#[derive(Serialize)]
struct Answer<'a> {
    credentials: Credentials<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Credentials<'a> {
    location: &'a str,
    /// One of three fields, named for the kind.
    #[serde(flatten)]
    kind: KindShown<'a>,
    /// Milliseconds of Unix time.
    expiration_time: i64,
}

#[derive(Serialize)]
enum KindShown<'a> {
    #[serde(rename = "awsTempCredentials")]
    Aws(AwsKeys<'a>),
    #[serde(rename = "azureUserDelegationSas", rename_all = "camelCase")]
    Azure { sas_token: &'a str },
    #[serde(rename = "gcpOauthToken", rename_all = "camelCase")]
    Google { oauth_token: &'a str },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AwsKeys<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    session_token: &'a str,
}

pub(super) async fn vend(sharing: Arc<Sharing>, call: Call) -> Result<Reply, Error> {
    // A body that cannot be read is not a body that asks for nothing less than all.
    let fields: Fields =
        if call.body.iter().all(u8::is_ascii_whitespace) { Fields::default() } else { json(&call.body)? };
    let found = sharing.table(&call).await?;
    let table = &found.table;
    // SECURITY: policy knows the table's directory, not that it is shared by URL only.
    if !table.access.by_directory() {
        return Err(Error::new(Kind::Invalid, "this table does not support `dir` access; ask for its files instead"));
    }
    let (asked, directory) = match fields.location {
        None => (location::url(&found.storage, table, &table.root), table.root.as_str().as_bytes().to_vec()),
        Some(asked) => {
            let directory = location::directory(&found.storage, table, &asked)?;
            (asked, directory)
        }
    };
    let path = Path::directory(&directory).map_err(|error| error.at("location"))?;
    let ask = Ask {
        dialect: NAME,
        target: Target::Shared { share: table.share, bucket: table.bucket.clone(), paths: Paths::only([path])? },
        wanted: Wanted::all_of(READ),
        lifetime: Asked::Usual(sharing.settings.credential_lifetime),
        carries: Shape::ALL,
    };
    let vended = sharing.shared.desk.vend(&call.caller, &ask).await?;
    let kind = match &*vended.credential {
        Credential::S3(keys) => KindShown::Aws(AwsKeys {
            access_key_id: &keys.access_key_id,
            secret_access_key: keys.secret_access_key.reveal(),
            session_token: keys.session_token.reveal(),
        }),
        Credential::Azure(sas) => KindShown::Azure { sas_token: sas.sas_token.reveal() },
        Credential::Google(token) => KindShown::Google { oauth_token: token.access_token.reveal() },
    };
    json_reply(&Answer {
        credentials: Credentials {
            location: &asked,
            kind,
            // The credential's own end, never what was wished for.
            expiration_time: vended.credential.expiration().as_millisecond(),
        },
    })
}
