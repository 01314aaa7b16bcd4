//! Shares, their tables and their recipients: below `/api/v1/shares`. For operators.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::account::Account;
use valetkey_core::error::Noun;
use valetkey_core::grant::Grantee;
use valetkey_core::id::TableId;
use valetkey_core::name::{BucketName, shortened};
use valetkey_core::nouns::share::{READ, Recipient, Share, no_share};
use valetkey_core::nouns::table::{
    AsOf, History, NewTable, SharedName, SharedTable, TableAccess, TableFormat, TablePlace, TableRoot,
};
use valetkey_core::scope::{Path, Paths};
use valetkey_core::storage::Storage;
use valetkey_core::time::Lifetime;
use valetkey_core::word::Word;
use valetkey_core::{Error, Kind};

use super::api::shares::{RecipientRequest, ShareRequest, TableRequest};
use super::ended::{StillTaken, still_taken};
use super::error::Problem;
use super::lists::Names;
use super::state::Native;
use super::wire;
use crate::edge::{Authority, Call, Reply, json};

/// How long a recipient's credentials live at most, if nothing else is said: a day.
const USUAL_MAX: Lifetime = Lifetime::secs(86_400);

/// A share.
#[derive(Serialize, ToSchema)]
pub(super) struct ShareResponse {
    /// Its id.
    id: String,
    /// Its name, unique on this server in whatever case.
    name: String,
    /// The provider's account, by id.
    account: String,
    /// That account's name; in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    account_name: Option<String>,
    /// A sentence for people.
    comment: Option<String>,
    /// When it was made.
    made: String,
}

impl ShareResponse {
    fn of(share: &Share) -> Self {
        let Share { id, account, name, comment, made } = share;
        Self {
            id: id.to_string(),
            name: name.to_string(),
            account: account.to_string(),
            account_name: None,
            comment: comment.as_deref().map(str::to_owned),
            made: wire::at(*made),
        }
    }
}

/// Shares.
#[derive(Serialize, ToSchema)]
pub(super) struct ShareList {
    shares: Vec<ShareResponse>,
}

/// Lists shares. For operators.
#[utoipa::path(get, operation_id = "list_shares", path = "/api/v1/shares", tag = "shares", params(
    ("account" = Option<String>, Query, description = "Only those this account provides (name or id)"),
), responses(
    (status = 200, description = "Shares", body = ShareList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn list(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let query = &call.query;
    let account = native.listed(&call, query.get("account")).await?;
    let mut shares = native.shared.shares.shares().await?;
    shares.retain(|share| account.is_none_or(|account| share.account == account));
    let names = Names::of(&native, shares.iter().map(|share| share.account), []).await?;
    let shown =
        |share: &Share| ShareResponse { account_name: names.account(share.account), ..ShareResponse::of(share) };
    Reply::json(&ShareList { shares: shares.iter().map(shown).collect() })
}

/// Makes a share. For operators.
#[utoipa::path(post, operation_id = "create_share", path = "/api/v1/shares", tag = "shares", request_body = ShareRequest, responses(
    (status = 201, description = "The share", body = ShareResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn create(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let ShareRequest { name, account, comment } = json(&call.body)?;
    let name = SharedName::parse(&name).map_err(|error| error.at("name"))?;
    let account = native.account(&call, account.as_deref()).await?.id;
    let share = native.shared.registry.by(authority).create_share(account, &name, comment.as_deref(), call.now).await?;
    Reply::made(&ShareResponse::of(&share))
}

/// What became of something taken back.
#[derive(Serialize, ToSchema)]
pub(super) struct TakenBack {
    /// What it was.
    removed: String,
    /// Whether the credentials vended of it were ended too.
    credentials_ended: bool,
    /// Those of them that their external storages accept until they expire.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    still_taken: Vec<StillTaken>,
}

impl Native {
    /// The share that the path names, by name or id.
    async fn share(&self, call: &Call) -> Result<Share, Error> {
        let text = call.params.get("share")?;
        let shares = self.shared.shares.shares().await?;
        let found = shares.into_iter().find(|share| share.name.is(text) || share.id.to_string() == text);
        found.ok_or_else(|| no_share().at("share"))
    }

    /// The table of a share that the path names, as `schema.table` or by id.
    async fn table(&self, call: &Call, share: &Share) -> Result<SharedTable, Error> {
        let text = call.params.get("table")?;
        let id = text.parse::<TableId>().ok();
        let named = text.split_once('.');
        let tables = self.shared.shares.tables(share.id).await?;
        let is = |table: &SharedTable| {
            Some(table.id) == id || named.is_some_and(|(schema, name)| table.schema.is(schema) && table.name.is(name))
        };
        tables.into_iter().find(is).ok_or_else(|| Error::not_found(Noun::Table).at("table"))
    }
}

fn ending(call: &Call) -> Result<bool, Error> {
    Ok(call.query.flag("end_credentials")?.unwrap_or(true))
}

/// Removes a share with its tables and recipients. What was vended of it ends too, unless the request says otherwise. For operators.
#[utoipa::path(delete, operation_id = "remove_share", path = "/api/v1/shares/{share}", tag = "shares", params(
    ("share" = String, Path, description = "The share's name or id"),
    ("end_credentials" = Option<bool>, Query, description = "`false` to let what was vended of it live on"),
), responses(
    (status = 200, description = "It is removed", body = TakenBack),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn remove(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let end = ending(&call)?;
    let share = native.share(&call).await?;
    let by = authority.by();
    native.shared.registry.by(authority).remove_share(share.id, end, by).await?;
    let still_taken = still_taken(&native, by).await?;
    Reply::json(&TakenBack { removed: share.name.to_string(), credentials_ended: end, still_taken })
}

/// A table in a share.
#[derive(Serialize, ToSchema)]
pub(super) struct TableResponse {
    /// Its id.
    id: String,
    /// The schema it is listed under.
    schema: String,
    /// Its name.
    name: String,
    /// The storage's id.
    storage: String,
    /// Its bucket.
    bucket: String,
    /// The directory that its `_delta_log` is in.
    root: String,
    /// Directories of the same bucket that hold files its log names absolutely.
    auxiliary: Vec<String>,
    /// How recipients read it: `url`, `dir` or `both`.
    access: &'static str,
    /// Which versions they may read: `shared` (all) or `latest`.
    history: &'static str,
    /// What kind of table it is: `delta` or `iceberg`. `null` where that is not known, or it is both: then every API shows it.
    format: Option<&'static str>,
}

impl TableResponse {
    fn of(table: &SharedTable) -> Self {
        let SharedTable { id, share: _, schema, name, storage, bucket, root, auxiliary, access, history, format } =
            table;
        Self {
            id: id.to_string(),
            schema: schema.to_string(),
            name: name.to_string(),
            storage: storage.to_string(),
            bucket: bucket.to_string(),
            root: root.to_string(),
            auxiliary: auxiliary.iter().map(ToString::to_string).collect(),
            access: access.as_str(),
            history: history.as_str(),
            format: format.map(TableFormat::as_str),
        }
    }
}

/// Tables of a share.
#[derive(Serialize, ToSchema)]
pub(super) struct TableList {
    tables: Vec<TableResponse>,
}

/// Lists the tables of a share. For operators.
#[utoipa::path(get, operation_id = "list_shared_tables", path = "/api/v1/shares/{share}/tables", tag = "shares", params(
    ("share" = String, Path, description = "The share's name or id"),
), responses(
    (status = 200, description = "Tables", body = TableList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn tables(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let share = native.share(&call).await?;
    let tables = native.shared.shares.tables(share.id).await?;
    Reply::json(&TableList { tables: tables.iter().map(TableResponse::of).collect() })
}

/// A table that was put into a share.
#[derive(Serialize, ToSchema)]
pub(super) struct TableAdded {
    #[serde(flatten)]
    table: TableResponse,
    /// Whether the server saw that there is a table: not with `force`, nor in storages that it does not read itself.
    checked: bool,
    /// Who may read it from now on: accounts, by name, or single callers of one as `account/caller`.
    readable_by: Vec<String>,
}

impl Native {
    /// Looks which kinds of table there are, where this server can read what is there; none where it cannot.
    ///
    /// # Errors
    /// `Invalid` when there is none, or one that could not be served.
    async fn look(&self, storage: &Storage, table: &NewTable) -> Result<Vec<TableFormat>, Error> {
        let Some(logs) = self.logs.as_ref().filter(|_| storage.kind.is_ours()) else { return Ok(Vec::new()) };
        let root = table.root.as_str();
        let place = TablePlace {
            storage: Arc::new(storage.clone()),
            bucket: table.bucket.clone(),
            root: root.as_bytes().into(),
            credential: None,
        };
        let (mut found, mut why) = (Vec::new(), String::new());
        match logs.snapshot(&place, AsOf::Latest).await {
            Ok(_) => found.push(TableFormat::Delta),
            Err(error) if matches!(error.kind(), Kind::NotFound(_)) => {
                "no commit in its `_delta_log`, and no metadata of Iceberg in its `metadata`".clone_into(&mut why);
            }
            Err(error) if matches!(error.kind(), Kind::Invalid | Kind::Unsupported) => {
                error.message().clone_into(&mut why);
            }
            // The store does not answer: that says nothing of the table.
            Err(error) => return Err(error),
        }
        if self.has_iceberg(storage, table).await? {
            found.push(TableFormat::Iceberg);
        }
        let fits = table.format.map_or(!found.is_empty(), |wanted| found.contains(&wanted));
        if fits {
            return Ok(table.format.map_or(found, |wanted| vec![wanted]));
        }
        if let Some(other) = found.first() {
            why = format!("what is there is of the format `{}`", other.as_str());
        }
        let said = format!(
            "there is no table to be read at s3://{}/{root}: {why}; write it first, or add it all the same with `force`",
            table.bucket
        );
        Err(Error::new(Kind::Invalid, said).at("root"))
    }

    /// Whether there is metadata of an Iceberg table.
    async fn has_iceberg(&self, storage: &Storage, table: &NewTable) -> Result<bool, Error> {
        // The files' names begin with their version, so that they come before those of manifests.
        const MOST: usize = 1000;
        let directory = format!("{}/metadata/", table.root);
        let listed = self.files.list(storage, &table.bucket, directory.as_bytes(), b"", MOST).await?;
        Ok(listed.iter().any(|file| file.key.ends_with(b".metadata.json")))
    }

    /// Who reads a share now.
    async fn readers(&self, share: &Share, now: Timestamp) -> Result<Vec<String>, Error> {
        let accounts = self.shared.registry.accounts().await?;
        let mut readers = Vec::new();
        for recipient in self.shared.shares.recipients(share.id).await? {
            if recipient.until.is_some_and(|until| until <= now) {
                continue;
            }
            let RecipientResponse { account, to, .. } = self.recipient_shown(&recipient, &accounts).await?;
            readers.push(to.map_or_else(|| account.clone(), |caller| format!("{account}/{caller}")));
        }
        Ok(readers)
    }
}

fn word<T: Word>(given: Option<&str>, usual: T, field: &'static str) -> Result<T, Error> {
    let Some(text) = given else { return Ok(usual) };
    T::read(text).ok_or_else(|| {
        let known = T::WORDS.join("`, `");
        Error::new(Kind::Invalid, format!("`{}` is not one of `{known}`", shortened(text))).at(field)
    })
}

/// How a table is read if nothing is said: in every way its storage and its format have.
fn usual_access(storage: &Storage, format: Option<TableFormat>) -> TableAccess {
    let by_url = storage.kind.is_ours() && format.is_none_or(|format| format == TableFormat::Delta);
    if by_url { TableAccess::Both } else { TableAccess::Directory }
}

/// Refuses to serve by URL where the storage has no URLs that open one file each, or where nothing reads the log that names the files.
fn with_urls(native: &Native, storage: &Storage, access: TableAccess) -> Result<(), Error> {
    if storage.kind.is_ours() || !access.by_url() {
        return Ok(());
    }
    let read = match native.logs {
        Some(_) => native.stores.has_urls(storage),
        None => Err(Error::new(Kind::Invalid, "this server reads no logs")),
    };
    read.map_err(|error| {
        let said = format!(
            "files in the storage `{}` (of kind `{}`) cannot be served by `url`: {}; give access by `dir`, or put the bucket behind a storage of kind `gateway`",
            storage.name,
            storage.kind.as_str(),
            error.message()
        );
        Error::new(Kind::Invalid, said).at("access")
    })
}

/// Puts a table into a share; who was given the share may read it at once. For operators.
#[utoipa::path(post, operation_id = "add_shared_table", path = "/api/v1/shares/{share}/tables", tag = "shares", params(
    ("share" = String, Path, description = "The share's name or id"),
), request_body = TableRequest, responses(
    (status = 201, description = "The table", body = TableAdded),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn add_table(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let TableRequest { schema, name, bucket, root, auxiliary, access, history, format, force } = json(&call.body)?;
    let bucket = BucketName::parse(&bucket).map_err(|error| error.at("bucket"))?;
    let storage = native.storage_of(&bucket).await?;
    let format = format.map(|text| word(Some(&text), TableFormat::Delta, "format")).transpose()?;
    let usual = access.is_none();
    let access = word(access.as_deref(), usual_access(&storage, format), "access")?;
    let history = word(history.as_deref(), History::Shared, "history")?;
    with_urls(&native, &storage, access)?;
    let mut table = NewTable {
        id: (),
        share: (),
        schema: SharedName::part(&schema).map_err(|error| error.at("schema"))?,
        name: SharedName::part(&name).map_err(|error| error.at("name"))?,
        storage: storage.id,
        bucket,
        root: TableRoot::parse(&root).map_err(|error| error.at("root"))?,
        auxiliary: auxiliary
            .iter()
            .map(|text| TableRoot::parse(text).map_err(|error| error.at("auxiliary")))
            .collect::<Result<_, _>>()?,
        access,
        history,
        format,
    };
    table.check()?;
    let share = native.share(&call).await?;
    for (root, field) in
        std::iter::once((&table.root, "root")).chain(table.auxiliary.iter().map(|root| (root, "auxiliary")))
    {
        let paths = Paths::only([Path::directory(root.as_str().as_bytes())?])?;
        native.opens(&storage, (&table.bucket, paths, READ), "a table's directory", field)?;
    }
    // A volume is whatever lies there.
    let unseen = force || table.format == Some(TableFormat::Volume);
    let found = if unseen { Vec::new() } else { native.look(&storage, &table).await? };
    if let [only] = *found {
        table.format = Some(only);
        if usual {
            table.access = usual_access(&storage, table.format);
        }
        table.check()?;
    }
    let checked = !found.is_empty();
    let table = native.shared.registry.by(authority).add_table(share.id, table, call.now).await?;
    let readable_by = native.readers(&share, call.now).await?;
    Reply::made(&TableAdded { table: TableResponse::of(&table), checked, readable_by })
}

/// Takes a table out of a share. What was vended of it ends too, unless the request says otherwise. For operators.
#[utoipa::path(delete, operation_id = "remove_shared_table", path = "/api/v1/shares/{share}/tables/{table}", tag = "shares", params(
    ("share" = String, Path, description = "The share's name or id"),
    ("table" = String, Path, description = "`schema.table`, or the table's id"),
    ("end_credentials" = Option<bool>, Query, description = "`false` to let what was vended of it live on"),
), responses(
    (status = 200, description = "It is taken out", body = TakenBack),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn remove_table(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let end = ending(&call)?;
    let share = native.share(&call).await?;
    let table = native.table(&call, &share).await?;
    let by = authority.by();
    native.shared.registry.by(authority).remove_table(table.id, end, by).await?;
    Reply::json(&TakenBack {
        removed: format!("{}.{}.{}", share.name, table.schema, table.name),
        credentials_ended: end,
        still_taken: still_taken(&native, by).await?,
    })
}

/// Whom a share was given to.
#[derive(Serialize, ToSchema)]
pub(super) struct RecipientResponse {
    /// The account, by name.
    account: String,
    /// The caller of it, by name; nothing for every caller.
    to: Option<String>,
    /// No credential of it lives longer, in seconds.
    max_ttl_secs: u32,
    /// It opens nothing from then on.
    until: Option<String>,
    /// When it was given.
    made: String,
}

/// Whom a share was given to.
#[derive(Serialize, ToSchema)]
pub(super) struct RecipientList {
    recipients: Vec<RecipientResponse>,
}

impl Native {
    async fn recipient_shown(&self, recipient: &Recipient, accounts: &[Account]) -> Result<RecipientResponse, Error> {
        let account = accounts.iter().find(|account| account.id == recipient.account);
        let to = match recipient.to {
            Grantee::Everyone => None,
            Grantee::Group(id) => Some(id.to_string()),
            Grantee::Caller(id) => {
                let known = self.shared.registry.caller_by_id(id).await?;
                let name = known.map(|known| known.name.to_string());
                Some(name.unwrap_or_else(|| id.to_string()))
            }
        };
        Ok(RecipientResponse {
            account: account.map_or_else(|| recipient.account.to_string(), |account| account.name.to_string()),
            to,
            max_ttl_secs: recipient.max_lifetime.as_secs(),
            until: recipient.until.map(wire::at),
            made: wire::at(recipient.made),
        })
    }
}

/// Lists whom a share was given to. For operators.
#[utoipa::path(get, operation_id = "list_share_recipients", path = "/api/v1/shares/{share}/recipients", tag = "shares", params(
    ("share" = String, Path, description = "The share's name or id"),
    ("account" = Option<String>, Query, description = "Only this account and its callers (name or id)"),
), responses(
    (status = 200, description = "Recipients", body = RecipientList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn recipients(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let query = &call.query;
    let share = native.share(&call).await?;
    let only = native.listed(&call, query.get("account")).await?;
    let accounts = native.shared.registry.accounts().await?;
    let mut recipients = Vec::new();
    let mut found = native.shared.shares.recipients(share.id).await?;
    found.retain(|recipient| only.is_none_or(|only| recipient.account == only));
    for recipient in found {
        recipients.push(native.recipient_shown(&recipient, &accounts).await?);
    }
    Reply::json(&RecipientList { recipients })
}

/// Gives a share to a recipient, or changes the limits it was given with. For operators.
#[utoipa::path(post, operation_id = "give_share", path = "/api/v1/shares/{share}/recipients", tag = "shares", params(
    ("share" = String, Path, description = "The share's name or id"),
), request_body = RecipientRequest, responses(
    (status = 201, description = "The recipient", body = RecipientResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn give(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let RecipientRequest { account, to, max_ttl_secs, until } = json(&call.body)?;
    let max_lifetime = match max_ttl_secs {
        Some(secs) => Lifetime::parse(secs).map_err(|error| error.at("max_ttl_secs"))?,
        None => USUAL_MAX,
    };
    let until = until.map(|text| wire::instant(&text, "until")).transpose()?;
    if until.is_some_and(|until| until <= call.now) {
        return Err(Error::new(Kind::Invalid, "the recipient's time would be over already").at("until"));
    }
    let to = to.said("to", "say whom it is for: a caller's name, or `null` for everyone of the account")?;
    let share = native.share(&call).await?;
    let account = native.account(&call, Some(&account)).await?;
    let to = native.grantee(account.id, to.as_deref()).await?;
    let recipient = Recipient { share: share.id, account: account.id, to, max_lifetime, until, made: call.now };
    native.shared.registry.by(authority).add_recipient(recipient, authority.by()).await?;
    Reply::made(&native.recipient_shown(&recipient, &[account]).await?)
}

/// Takes a share from a recipient. What was vended of it ends too, unless the request says otherwise. For operators.
#[utoipa::path(delete, operation_id = "take_share", path = "/api/v1/shares/{share}/recipients/{account}", tag = "shares", params(
    ("share" = String, Path, description = "The share's name or id"),
    ("account" = String, Path, description = "The account's name or id"),
    ("caller" = Option<String>, Query, description = "The caller it was given to, by name or id, if not to everyone"),
    ("end_credentials" = Option<bool>, Query, description = "`false` to let what was vended of it live on"),
), responses(
    (status = 200, description = "It is taken back", body = TakenBack),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn take(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let query = &call.query;
    let end = query.flag("end_credentials")?.unwrap_or(true);
    let share = native.share(&call).await?;
    let account = native.account(&call, Some(call.params.get("account")?)).await?;
    let to = native.grantee(account.id, query.get("caller")).await?;
    let by = authority.by();
    native.shared.registry.by(authority).remove_recipient(share.id, account.id, to, end, by).await?;
    let whom = match query.get("caller") {
        Some(caller) => format!("{}/{}", account.name, shortened(caller)),
        None => account.name.to_string(),
    };
    let still_taken = still_taken(&native, by).await?;
    Reply::json(&TakenBack { removed: format!("{} for {whom}", share.name), credentials_ended: end, still_taken })
}
