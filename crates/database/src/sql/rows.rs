//! Between columns and the domain: what was stored is parsed again, through the same doors.

use std::sync::Arc;

use jiff::Timestamp;
use valetkey_core::account::{Account, Metering, OwnLimit, OwnQuota, Standing};
use valetkey_core::caller::{CallerRecord, CallerStanding, Role};
use valetkey_core::conditions::Conditions;
use valetkey_core::grant::{Grant, Grantee, Origin};
use valetkey_core::id::{
    AccountId, CallerId, DatasetId, GrantId, GroupId, RequestId, ShareId, StorageId, TokenId, WorkspaceId,
};
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::dataset::{Dataset, Newest};
use valetkey_core::nouns::registry::TokenRecord;
use valetkey_core::scope::{Path, Rights, Scope};
use valetkey_core::storage::{ExternalConfig, Quota, Revocability, Sharing, Storage, StorageKind};
use valetkey_core::template::{Opens, Template};
use valetkey_core::time::Lifetime;
use valetkey_core::{Error, Kind};

/// What is stored does not parse: the file was changed by another hand, or by a defect of ours.
pub(crate) fn damaged(what: &str) -> Error {
    Error::internal(format!("the database holds {what} that does not parse"))
}

/// The bytes of an id.
pub(crate) fn id(bytes: &[u8]) -> Result<[u8; 16], Error> {
    bytes.try_into().map_err(|_| damaged("an id"))
}

/// An instant of milliseconds.
pub(crate) fn at_ms(ms: i64) -> Result<Timestamp, Error> {
    Timestamp::from_millisecond(ms).map_err(|_| damaged("a timestamp"))
}

pub(crate) fn at_ms_opt(ms: Option<i64>) -> Result<Option<Timestamp>, Error> {
    ms.map(at_ms).transpose()
}

pub(crate) fn name(text: &str) -> Result<Name, Error> {
    Name::parse(text).map_err(|_| damaged("a name"))
}

pub(crate) fn bucket(text: &str) -> Result<BucketName, Error> {
    BucketName::parse(text).map_err(|_| damaged("a bucket's name"))
}

pub(crate) fn lifetime(secs: i64) -> Result<Lifetime, Error> {
    Lifetime::parse(secs).map_err(|_| damaged("a lifetime"))
}

pub(crate) fn role(text: &str) -> Result<Role, Error> {
    Role::parse(text).ok_or_else(|| damaged("a role"))
}

pub(crate) fn scope(mut bytes: &[u8]) -> Result<Scope, Error> {
    Scope::decode(&mut bytes).filter(|_| bytes.is_empty()).ok_or_else(|| damaged("a scope"))
}

pub(crate) fn rights(mut bytes: &[u8]) -> Result<Rights, Error> {
    Rights::decode(&mut bytes).filter(|_| bytes.is_empty()).ok_or_else(|| damaged("a scope"))
}

/// What a grant opens, as its two columns: a scope, or a template beside an empty one.
pub(crate) fn opens_bytes(opens: &Opens) -> (Vec<u8>, Option<Vec<u8>>) {
    match opens {
        Opens::Scope(scope) => (scope_bytes(scope), None),
        Opens::Template(template) => {
            let mut bytes = Vec::with_capacity(128);
            template.encode(&mut bytes);
            (Vec::new(), Some(bytes))
        }
    }
}

/// Takes the two columns back.
pub(crate) fn opens(scope_column: &[u8], template: Option<&[u8]>) -> Result<Opens, Error> {
    match (scope_column, template) {
        (scope_column, None) => scope(scope_column).map(Opens::Scope),
        ([], Some(template)) => Template::decode(template).map(Opens::Template).ok_or_else(|| damaged("a template")),
        (_, Some(_)) => Err(damaged("a grant that opens two things")),
    }
}

pub(crate) fn scope_bytes(scope: &Scope) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    scope.encode(&mut bytes);
    bytes
}

pub(crate) const fn standing_number(standing: Standing) -> i64 {
    match standing {
        Standing::Active => 0,
        Standing::Suspended => 1,
    }
}

/// A count that SQLite's signed numbers hold.
pub(crate) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A count as stored; never negative.
pub(crate) fn count(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

pub(crate) type AccountRow = (Vec<u8>, String, i64, i64, Option<String>, Option<i64>, Option<i64>);

pub(crate) fn account(
    (row_id, row_name, standing, credits, datasets, max_bytes, max_objects): AccountRow,
) -> Result<Account, Error> {
    Ok(Account {
        id: AccountId::from_bytes(id(&row_id)?),
        name: name(&row_name)?,
        standing: match standing {
            0 => Standing::Active,
            1 => Standing::Suspended,
            _ => return Err(damaged("a standing")),
        },
        metering: Metering::of(u32::try_from(credits).map_err(|_| damaged("a price"))?),
        datasets_bucket: datasets.as_deref().map(bucket).transpose()?,
        quota: OwnQuota { bytes: OwnLimit::of(max_bytes.map(count)), objects: OwnLimit::of(max_objects.map(count)) },
    })
}

pub(crate) type StorageRow = (
    Vec<u8>,
    String,
    String,
    String,
    Option<String>,
    String,
    i64,
    i64,
    Option<String>,
    Option<Vec<u8>>,
    String,
    i64,
    i64,
    String,
    i64,
);

pub(crate) fn storage(row: StorageRow) -> Result<Storage, Error> {
    let (
        row_id,
        row_name,
        kind,
        endpoint,
        internal,
        region,
        min,
        max,
        settings,
        secrets,
        sharing,
        rate,
        burst,
        ends,
        version,
    ) = row;
    let number = |stored: i64| u32::try_from(stored).map_err(|_| damaged("a quota"));
    let external = match settings {
        None => None,
        Some(settings) => Some(Arc::new(ExternalConfig {
            settings: settings.into(),
            secrets: secrets.map(Into::into),
            sharing: Sharing::parse(&sharing).ok_or_else(|| damaged("a kind of sharing"))?,
            quota: Quota { calls_per_sec: number(rate)?, burst: number(burst)? },
            revocation: Revocability::parse(&ends).ok_or_else(|| damaged("a revocability"))?,
            version: count(version),
        })),
    };
    Ok(Storage {
        id: StorageId::from_bytes(id(&row_id)?),
        name: name(&row_name)?,
        kind: StorageKind::parse(&kind).ok_or_else(|| damaged("a kind of storage"))?,
        endpoint: endpoint.into(),
        internal_endpoint: internal.map(Into::into),
        region: region.into(),
        min_lifetime: lifetime(min)?,
        max_lifetime: lifetime(max)?,
        external,
    })
}

pub(crate) type GrantRow = (
    Vec<u8>,
    String,
    Vec<u8>,
    Option<Vec<u8>>,
    Vec<u8>,
    Option<Vec<u8>>,
    Vec<u8>,
    i64,
    Option<i64>,
    Option<i64>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<String>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
);

pub(crate) fn grant(row: &GrantRow) -> Result<Grant, Error> {
    #[rustfmt::skip]
    let (row_id, row_name, account, caller, storage, dataset, row_scope, max, from, until, share, workspace, group, conditions, request, template) = row;
    Ok(Grant {
        id: GrantId::from_bytes(id(row_id)?),
        name: name(row_name)?,
        account: AccountId::from_bytes(id(account)?),
        to: match (caller, group) {
            (None, None) => Grantee::Everyone,
            (Some(caller), None) => Grantee::Caller(CallerId::from_bytes(id(caller)?)),
            (None, Some(group)) => Grantee::Group(GroupId::from_bytes(id(group)?)),
            (Some(_), Some(_)) => return Err(damaged("a grant that is for two")),
        },
        storage: StorageId::from_bytes(id(storage)?),
        origin: match (dataset, share, workspace, request) {
            (None, None, None, None) => Origin::Plain,
            (Some(dataset), None, None, None) => Origin::Dataset(DatasetId::from_bytes(id(dataset)?)),
            (None, Some(share), None, None) => Origin::Share(ShareId::from_bytes(id(share)?)),
            (None, None, Some(workspace), None) => Origin::Workspace(WorkspaceId::from_bytes(id(workspace)?)),
            (None, None, None, Some(request)) => Origin::Request(RequestId::from_bytes(id(request)?)),
            _ => return Err(damaged("a grant that was made for two things")),
        },
        scope: opens(row_scope, template.as_deref())?,
        max_lifetime: lifetime(*max)?,
        from: at_ms_opt(*from)?,
        until: at_ms_opt(*until)?,
        // SECURITY: a condition that is not understood is none that could be left out.
        conditions: conditions
            .as_deref()
            .map(|text| Conditions::of_text(text).map(Box::new).ok_or_else(|| damaged("the conditions of a grant")))
            .transpose()?,
    })
}

pub(crate) type DatasetRow = (
    Vec<u8>,
    String,
    String,
    String,
    Vec<u8>,
    String,
    String,
    Vec<u8>,
    String,
    String,
    String,
    i64,
    String,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
);

pub(crate) fn dataset(row: DatasetRow) -> Result<Dataset, Error> {
    let (
        row_id,
        row_name,
        topic,
        description,
        storage,
        row_bucket,
        kind,
        path,
        format,
        frequency,
        version,
        old,
        newest,
        dictionary,
        sample,
    ) = row;
    let path = match kind.as_str() {
        "object" => Path::object(&path),
        "directory" => Path::directory(&path),
        "prefix" => Path::prefix(&path),
        _ => return Err(damaged("a kind of path")),
    };
    Ok(Dataset {
        id: DatasetId::from_bytes(id(&row_id)?),
        name: name(&row_name)?,
        topic: name(&topic)?,
        description,
        storage: StorageId::from_bytes(id(&storage)?),
        bucket: bucket(&row_bucket)?,
        path: path.map_err(|_| damaged("a path"))?,
        format,
        frequency,
        version,
        deprecated: old != 0,
        newest: Newest::parse(&newest).ok_or_else(|| damaged("which file of a dataset is the newest"))?,
        dictionary: dictionary.map(Into::into),
        sample: sample.map(Into::into),
    })
}

pub(crate) const fn caller_standing_number(standing: CallerStanding) -> i64 {
    match standing {
        CallerStanding::Active => 0,
        CallerStanding::Suspended => 1,
        CallerStanding::Removed => 2,
    }
}

fn caller_standing(stored: i64) -> Result<CallerStanding, Error> {
    match stored {
        0 => Ok(CallerStanding::Active),
        1 => Ok(CallerStanding::Suspended),
        2 => Ok(CallerStanding::Removed),
        _ => Err(damaged("a caller's standing")),
    }
}

pub(crate) type CallerRow = (Vec<u8>, Vec<u8>, String, String, i64);

pub(crate) fn caller((row_id, account, row_name, row_role, standing): CallerRow) -> Result<CallerRecord, Error> {
    Ok(CallerRecord {
        id: CallerId::from_bytes(id(&row_id)?),
        account: AccountId::from_bytes(id(&account)?),
        name: name(&row_name)?,
        role: role(&row_role)?,
        standing: caller_standing(standing)?,
    })
}

pub(crate) type TokenRow =
    (Vec<u8>, Vec<u8>, String, Vec<u8>, String, i64, String, i64, Option<i64>, Option<i64>, Option<Vec<u8>>);

pub(crate) fn token(row: TokenRow) -> Result<TokenRecord, Error> {
    let (row_id, caller, caller_name, account, row_role, standing, tail, made, until, revoked, made_by) = row;
    Ok(TokenRecord {
        id: TokenId::from_bytes(id(&row_id)?),
        caller: CallerId::from_bytes(id(&caller)?),
        caller_name: name(&caller_name)?,
        account: AccountId::from_bytes(id(&account)?),
        role: role(&row_role)?,
        tail,
        made: at_ms(made)?,
        until: at_ms_opt(until)?,
        revoked: at_ms_opt(revoked)?,
        made_by: made_by.as_deref().map(|maker| id(maker).map(TokenId::from_bytes)).transpose()?,
        standing: caller_standing(standing)?,
    })
}

/// The name of something that was removed: it still says what it was, and is nobody's.
pub(crate) fn removed_name(known: &Name, id: &str) -> Name {
    let digits = id.get(id.len().saturating_sub(10)..).unwrap_or_default();
    let short = known.as_str().get(..known.as_str().len().min(44)).unwrap_or_default();
    Name::parse(&format!("{short}.removed-{digits}")).unwrap_or_else(|_| known.clone())
}

/// The name of a kind in the ledger.
pub(crate) fn kind_name(kind: Kind) -> String {
    match kind {
        Kind::NotFound(noun) | Kind::AlreadyExists(noun) => format!("{}:{noun}", kind.slug()),
        kind => kind.slug().to_owned(),
    }
}
