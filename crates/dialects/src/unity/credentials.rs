//! `POST …/temporary-table-credentials` and `…/temporary-path-credentials`: credentials for a directory, to read it or to write there too.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use valetkey_core::ask::{Ask, Asked, Target, Wanted};
use valetkey_core::credential::Credential;
use valetkey_core::error::Noun;
use valetkey_core::id::TableId;
use valetkey_core::name::{BucketName, shortened};
use valetkey_core::nouns::table::TableFormat;
use valetkey_core::policy;
use valetkey_core::scope::{Action, Actions, Path, Paths};
use valetkey_core::storage::{Shape, Storage};
use valetkey_core::vending::Vended;
use valetkey_core::{Error, Kind};

use super::columns::{ask, root};
use super::state::{NAME, Unity, missing, storage_of};
use crate::edge::location::{below, named, url};
use crate::edge::{Call, Reply, json};

// Unknown fields are refused: one could mean less than the whole directory.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfTable {
    table_id: String,
    operation: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfVolume {
    volume_id: String,
    operation: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfPath {
    url: String,
    operation: String,
}

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    kind: KindShown<'a>,
    /// Milliseconds of Unix time.
    expiration_time: i64,
    url: &'a str,
}

#[derive(Serialize)]
enum KindShown<'a> {
    #[serde(rename = "aws_temp_credentials")]
    Aws(AwsKeys<'a>),
    #[serde(rename = "azure_user_delegation_sas")]
    Azure { sas_token: &'a str },
    #[serde(rename = "gcp_oauth_token")]
    Google { oauth_token: &'a str },
}

#[derive(Serialize)]
struct AwsKeys<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    session_token: &'a str,
}

fn answer(vended: &Vended, url: &str) -> Result<Reply, Error> {
    let kind = match &*vended.credential {
        Credential::S3(keys) => KindShown::Aws(AwsKeys {
            access_key_id: &keys.access_key_id,
            secret_access_key: keys.secret_access_key.reveal(),
            session_token: keys.session_token.reveal(),
        }),
        Credential::Azure(sas) => KindShown::Azure { sas_token: sas.sas_token.reveal() },
        Credential::Google(token) => KindShown::Google { oauth_token: token.access_token.reveal() },
    };
    // The credential's own end, never what was wished for.
    Reply::json(&Answer { kind, expiration_time: vended.credential.expiration().as_millisecond(), url })
}

/// What is asked for, by the API's words.
fn operation(given: &str, read: &str, write: &[&str]) -> Result<Wanted, Error> {
    match given {
        _ if given == read => Ok(Wanted::between(TO_READ, Actions::READ)),
        _ if write.contains(&given) => Ok(Wanted::between(TO_READ.with(Action::PutObject), Actions::READ_WRITE)),
        _ => {
            let said = format!("`{}` is not `{read}` or `{}`", shortened(given), write.join("` or `"));
            Err(Error::new(Kind::Invalid, said).at("operation"))
        }
    }
}

/// What a table cannot be read without.
const TO_READ: Actions = Actions::NONE.with(Action::GetObject).with(Action::ListBucket);

pub(super) async fn of_table(unity: Arc<Unity>, call: Call) -> Result<Reply, Error> {
    let OfTable { table_id, operation: asked } = json(&call.body)?;
    let wanted = operation(&asked, "READ", &["READ_WRITE"])?;
    shared(&unity, &call, (&table_id, TableFormat::Delta), wanted, asked == "READ").await
}

pub(super) async fn of_volume(unity: Arc<Unity>, call: Call) -> Result<Reply, Error> {
    let OfVolume { volume_id, operation: asked } = json(&call.body)?;
    let wanted = operation(&asked, "READ_VOLUME", &["WRITE_VOLUME"])?;
    shared(&unity, &call, (&volume_id, TableFormat::Volume), wanted, asked == "READ_VOLUME").await
}

/// Vends what was shared, by its id.
async fn shared(
    unity: &Unity,
    call: &Call,
    (id, format): (&str, TableFormat),
    wanted: Wanted,
    reads: bool,
) -> Result<Reply, Error> {
    let given = unity.given(call).await?;
    let found = TableId::from_uuid(id).and_then(|id| given.table(&call.caller, id, call.now));
    let table = found.filter(|table| table.is_directory_of(format));
    let table = table.ok_or_else(|| missing(format, id))?;
    let snapshot = unity.snapshot(call).await?;
    let storage = storage_of(&snapshot, table)?;
    let vended = if reads {
        unity.shared.vending.vend(&call.caller, &ask(unity, table)?).await?
    } else {
        // A share lets read. Who was granted the directory itself may write.
        let denied = |error: &Error| {
            let (what, read) = match format {
                TableFormat::Delta | TableFormat::Iceberg => ("table", "READ"),
                TableFormat::Volume => ("volume", "READ_VOLUME"),
            };
            let said = format!(
                "this {what} is shared to be read; ask for `{read}`, or be granted its directory to write there"
            );
            Error::new(Kind::Forbidden, said).really(error.reason())
        };
        let here = |found: &Storage| found.id == storage.id;
        let vended = in_place(unity, call, (&table.bucket, root(table)?), wanted, here).await;
        let hidden = |error: &Error| matches!(error.kind(), Kind::NotFound(_) | Kind::Forbidden);
        vended.map_err(|error| if hidden(&error) { denied(&error) } else { error })?
    };
    answer(&vended, &url(storage, table, &table.root))
}

pub(super) async fn of_path(unity: Arc<Unity>, call: Call) -> Result<Reply, Error> {
    let OfPath { url, operation: asked } = json(&call.body)?;
    let wanted = operation(&asked, "PATH_READ", &["PATH_READ_WRITE", "PATH_CREATE_TABLE"])?;
    let (bucket, key) = named(&url).map_err(|error| error.at("url"))?;
    let paths = Paths::only([Path::directory(&key).map_err(|error| error.at("url"))?])?;
    let here = |storage: &Storage| below(storage, &bucket, &url).is_ok_and(|own| own == key);
    let vended = in_place(&unity, &call, (&bucket, paths), wanted, here).await?;
    answer(&vended, url.trim_end_matches('/'))
}

/// Vends what the account's own grants open.
///
/// SECURITY: a bucket's name says nothing of its storage, and the API's words name one. Only a credential of that one is given out;
/// it is compared before anything is vended, and once more after, because a bucket may have moved in between.
async fn in_place(
    unity: &Unity,
    call: &Call,
    (bucket, paths): (&BucketName, Paths),
    wanted: Wanted,
    here: impl Fn(&Storage) -> bool + Send + Sync,
) -> Result<Vended, Error> {
    let target = Target::Place { bucket: bucket.clone(), paths };
    let lifetime = Asked::Usual(unity.settings.lifetime);
    let ask = Ask { dialect: NAME, target, wanted, lifetime, carries: Shape::ALL };
    let elsewhere = || Error::new(Kind::NotFound(Noun::Bucket), "there is no such bucket");
    let snapshot = unity.snapshot(call).await?;
    let permit = policy::decide(&snapshot, &call.caller, &ask, &call.facts(), call.now)?;
    if !here(permit.storage()) {
        return Err(elsewhere());
    }
    let vended = unity.shared.vending.vend(&call.caller, &ask).await?;
    if here(&vended.storage) { Ok(vended) } else { Err(elsewhere()) }
}
