//! The demo's world: two accounts, three callers, real data, and things nobody may reach.

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use valetkey_core::caller::Role;
use valetkey_core::error::{Error, Kind};
use valetkey_core::grant::{Grantee, NewGrant};
use valetkey_core::id::{DatasetId, StorageId};
use valetkey_core::lease::Revoker;
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::dataset::{Dataset, NewDataset, Newest};
use valetkey_core::nouns::removal::Amendment;
use valetkey_core::scope::{Actions, Path as ScopePath, Paths, Scope};
use valetkey_core::time::Lifetime;

use crate::dev::dreadnode;
use crate::dev::iceberg;
use crate::dev::making::{account, caller, or_there, token_file, write_private};
use crate::dev::r2::{self, R2State};
use crate::dev::share::{self, ShareState};
use crate::node::Handles;

/// An object of the demo.
struct Object {
    bucket: &'static str,
    key: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
}

macro_rules! file {
    ($bucket:literal, $key:literal) => {
        file!($bucket, $key, "application/vnd.apache.parquet")
    };
    ($bucket:literal, $key:literal, $media_type:literal) => {
        Object {
            bucket: $bucket,
            key: $key,
            media_type: $media_type,
            bytes: include_bytes!(concat!("../../../../demo/data/", $bucket, "/", $key)),
        }
    };
}

/// Where the data is from: `demo/README.md`.
const OBJECTS: &[Object] = &[
    file!("flights-lake", "flights/daily/2013-01-01.parquet"),
    file!("flights-lake", "flights/daily/2013-01-02.parquet"),
    file!("flights-lake", "flights/daily/2013-01-03.parquet"),
    file!("flights-lake", "flights/daily/2013-01-04.parquet"),
    file!("flights-lake", "flights/daily/2013-01-05.parquet"),
    file!("flights-lake", "flights/daily-secret/2013-01-01.parquet"),
    Object {
        bucket: "flights-lake",
        key: "flights/staging/README.txt",
        media_type: "text/plain",
        bytes: b"Write here with the key of the caller `etl`; the keys of `analyst` cannot.\n",
    },
    file!("airlines-lake", "airlines/2013/airlines.parquet"),
    file!("airlines-lake", "planes/2013/planes.parquet"),
];

/// What explains the columns of a dataset, and a few of its rows: in its directory, where whoever may read it finds them. Of one that
/// nobody reads as a whole directory: programs that do take every file in it for data.
const BESIDE: &[(&str, Object, Object)] = &[(
    "airlines",
    Object {
        bucket: "airlines-lake",
        key: "airlines/_columns.md",
        media_type: "text/markdown",
        bytes: include_bytes!("../../../../demo/about/airlines/columns.md"),
    },
    Object {
        bucket: "airlines-lake",
        key: "airlines/_sample.csv",
        media_type: "text/csv",
        bytes: include_bytes!("../../../../demo/about/airlines/sample.csv"),
    },
)];

/// What nobody in [`CALLERS`] may reach, and is there all the same.
const FORBIDDEN: &[(&str, &str)] =
    &[("flights-lake", "flights/daily-secret/2013-01-01.parquet"), ("airlines-lake", "planes/2013/planes.parquet")];

struct Cast {
    name: &'static str,
    account: &'static str,
    access: &'static str,
    bucket: &'static str,
    prefix: &'static str,
    about: &'static str,
}

const CALLERS: &[Cast] = &[
    Cast {
        name: "analyst",
        account: "acme",
        access: "read",
        bucket: "flights-lake",
        prefix: "flights/daily",
        about: "Flights that left New York City, one file a day",
    },
    Cast {
        name: "etl",
        account: "acme",
        access: "read-write",
        bucket: "flights-lake",
        prefix: "flights/staging",
        about: "A place to write to",
    },
    Cast {
        name: "partner",
        account: "globex",
        access: "read",
        bucket: "airlines-lake",
        prefix: "airlines",
        about: "The airlines behind the carrier codes",
    },
];

/// The account whose only caller runs the server.
pub(super) const OPERATORS: &str = "operators";
/// The account that is made first.
pub(super) const FIRST_ACCOUNT: &str = "acme";
/// The file of the demo's tokens.
pub(super) const STATE: &str = "dev.json";

/// What the demo keeps of itself beside the database: the tokens, so that they are the same at every start.
#[derive(Serialize, Deserialize)]
pub(crate) struct State {
    /// The callers and their tokens.
    pub(crate) callers: Vec<CallerState>,
    /// The operator's token.
    pub(crate) admin: AdminState,
    /// The part for Dreadnode's SDK; older demos gain it.
    #[serde(default)]
    pub(crate) dreadnode: Option<dreadnode::State>,
    /// The parent access key; made when a directory from before does not have it.
    #[serde(default)]
    pub(crate) r2: Option<R2State>,
    /// The demo's share; older demos gain it.
    #[serde(default)]
    pub(crate) delta_sharing: Option<ShareState>,
    /// Whether that share has its Iceberg table; older demos gain it.
    #[serde(default)]
    pub(crate) iceberg: bool,
}

/// A caller of the demo.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct CallerState {
    pub(crate) name: String,
    pub(crate) account: String,
    pub(crate) token: String,
    pub(crate) access: String,
    pub(crate) bucket: String,
    pub(crate) prefix: String,
}

/// The operator of the demo.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct AdminState {
    pub(crate) token: String,
}

/// An object that exists and that no caller may reach.
#[derive(Clone, Serialize)]
pub(crate) struct Forbidden {
    pub(crate) bucket: &'static str,
    pub(crate) key: &'static str,
}

/// The forbidden objects.
pub(crate) fn forbidden() -> Vec<Forbidden> {
    FORBIDDEN.iter().map(|(bucket, key)| Forbidden { bucket, key }).collect()
}

/// Finds the demo's world in the data directory, or makes it.
pub(crate) async fn ensure(node: &Handles, data_dir: &Path) -> anyhow::Result<State> {
    let file = data_dir.join(STATE);
    let before = std::fs::read_to_string(&file).ok();
    let mut state = match &before {
        Some(_) => kept(data_dir)?,
        None => make(node).await?,
    };
    // What a newer version adds to the demo.
    describe(node).await?;
    if state.dreadnode.is_none() {
        state.dreadnode = Some(dreadnode::make(node).await?);
    }
    if state.r2.is_none() {
        state.r2 = Some(r2::make(node).await?);
    }
    if state.delta_sharing.is_none() {
        state.delta_sharing = Some(share::make(node).await?);
    }
    if !state.iceberg {
        state.iceberg = iceberg::make(node).await?;
    }
    let text = serde_json::to_string_pretty(&state)?;
    if before.is_none_or(|before| before != text) {
        write_private(&file, &text)?;
    }
    Ok(state)
}

/// Reads what the demo keeps.
pub(crate) fn kept(data_dir: &Path) -> anyhow::Result<State> {
    let file = data_dir.join(STATE);
    let text = std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} is not the demo's state; delete the directory to start over", file.display()))
}

/// Writes each token into its file.
pub(crate) fn write_tokens(data_dir: &Path, state: &State) -> anyhow::Result<()> {
    let State { callers, admin, dreadnode, r2, delta_sharing, iceberg: _ } = state;
    let callers = callers.iter().map(|caller| (caller.name.as_str(), &caller.token));
    let dreadnode = dreadnode.iter().map(|own| (dreadnode::CALLER, &own.token));
    let r2 = r2.iter().map(|own| (r2::TOKEN, &own.api_token));
    let recipient = delta_sharing.iter().map(|own| (share::CALLER, &own.token));
    for (name, token) in callers.chain([("admin", &admin.token)]).chain(dreadnode).chain(r2).chain(recipient) {
        write_private(&token_file(data_dir, name), token)?;
    }
    Ok(())
}

async fn make(node: &Handles) -> anyhow::Result<State> {
    let now = node.clock.now();
    let storage = node.storage.id;
    for object in OBJECTS {
        let bucket = BucketName::parse(object.bucket)?;
        or_there(node.registry.create_bucket(storage, &bucket, now).await)?;
        node.endpoint.ensure_bucket(&bucket).await?;
        node.endpoint.put_bytes(&bucket, object.key, object.bytes.into(), object.media_type).await?;
    }
    let mut callers = Vec::new();
    for cast in CALLERS {
        let account = account(&*node.registry, cast.account, now).await?;
        let (caller, token) = caller(node, &account, cast.name, Role::Member, now).await?;
        let path = ScopePath::directory(cast.prefix.as_bytes())?;
        let name = Name::parse(&cast.prefix.replace('/', "-"))?;
        let bucket = BucketName::parse(cast.bucket)?;
        let dataset = dataset(&name, cast, storage, &bucket, &path)?;
        let dataset = match node.registry.create_dataset(dataset, now).await {
            Ok(id) => id,
            Err(error) if matches!(error.kind(), Kind::AlreadyExists(_)) => known_dataset(node, &name).await?,
            Err(error) => return Err(error.into()),
        };
        let actions = if cast.access == "read" { Actions::READ } else { Actions::READ_WRITE };
        let scope = Scope::new(bucket, Paths::only([path])?, actions).context("a demo grant without actions")?;
        let grant = NewGrant {
            name,
            account: account.id,
            to: Grantee::Caller(caller),
            storage,
            dataset: Some(dataset),
            scope: scope.into(),
            max_lifetime: Lifetime::secs(604_800),
            from: None,
            until: None,
            conditions: None,
        };
        if let Err(error) = node.registry.create_grant(grant, now).await
            && !matches!(error.kind(), Kind::AlreadyExists(_))
        {
            return Err(error.into());
        }
        callers.push(CallerState {
            name: cast.name.to_owned(),
            account: cast.account.to_owned(),
            token: token.reveal().to_owned(),
            access: cast.access.to_owned(),
            bucket: cast.bucket.to_owned(),
            prefix: cast.prefix.to_owned(),
        });
    }
    let operators = account(&*node.registry, OPERATORS, now).await?;
    let (_, token) = caller(node, &operators, "admin", Role::Operator, now).await?;
    let admin = AdminState { token: token.reveal().to_owned() };
    Ok(State { callers, admin, dreadnode: None, r2: None, delta_sharing: None, iceberg: false })
}

/// Gives the datasets a dictionary and a sample, where they have none.
async fn describe(node: &Handles) -> anyhow::Result<()> {
    let known = node.registry.datasets().await?;
    for (name, columns, rows) in BESIDE {
        let Some(dataset) = known.iter().find(|dataset| dataset.name.as_str() == *name) else { continue };
        if dataset.dictionary.is_some() || dataset.sample.is_some() {
            continue;
        }
        for object in [columns, rows] {
            node.endpoint.put_bytes(&dataset.bucket, object.key, object.bytes.into(), object.media_type).await?;
        }
        let key = |object: &Object| Some(object.key.as_bytes().into());
        let change = Dataset { dictionary: key(columns), sample: key(rows), ..dataset.clone() };
        let by = Revoker::server(node.clock.now());
        node.registry.change(&Amendment::Dataset(change), false, by).await?;
    }
    Ok(())
}

fn dataset(
    name: &Name,
    cast: &Cast,
    storage: StorageId,
    bucket: &BucketName,
    path: &ScopePath,
) -> Result<NewDataset, Error> {
    let topic = cast.prefix.split('/').next().unwrap_or(cast.prefix);
    Ok(NewDataset {
        id: (),
        name: name.clone(),
        topic: Name::parse(topic)?,
        description: cast.about.to_owned(),
        storage,
        bucket: bucket.clone(),
        path: path.clone(),
        format: "parquet".to_owned(),
        frequency: "daily".to_owned(),
        version: "1".to_owned(),
        deprecated: false,
        newest: Newest::ByKey,
        dictionary: None,
        sample: None,
    })
}

async fn known_dataset(node: &Handles, name: &Name) -> anyhow::Result<DatasetId> {
    let known = node.registry.datasets().await?;
    known
        .iter()
        .find(|dataset| dataset.name == *name)
        .map(|dataset| dataset.id)
        .context("a dataset is there and is not listed")
}
