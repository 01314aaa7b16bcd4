//! `POST …/temporary-table-credentials`: keys to a table's directory, or to a part of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use valetkey_core::ask::{Ask, Asked, Target, Wanted};
use valetkey_core::credential::Credential;
use valetkey_core::name::shortened;
use valetkey_core::nouns::share::READ;
use valetkey_core::scope::{Path, Paths};
use valetkey_core::storage::Shape;
use valetkey_core::{Error, Kind};

use super::{NAME, Sharing, json_reply};
use crate::edge::{Call, Reply, json, location};

/// What may be asked. Other fields are passed over, but for those that could mean less than the whole table.
#[derive(Default, Deserialize)]
struct Fields {
    location: Option<String>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// Words that a field's name has when it narrows what keys open, or for how long: its place, what may be done there, to whom, until when.
const NARROWING: &[&str] = &[
    "access",
    "action",
    "actions",
    "allow",
    "allowed",
    "at",
    "authorization",
    "column",
    "columns",
    "condition",
    "conditions",
    "deny",
    "directories",
    "directory",
    "duration",
    "end",
    "ending",
    "exclude",
    "excluded",
    "expiration",
    "expires",
    "expiry",
    "file",
    "files",
    "filter",
    "filters",
    "folder",
    "hint",
    "hints",
    "include",
    "ip",
    "key",
    "keys",
    "lifetime",
    "limit",
    "list",
    "location",
    "locations",
    "max",
    "mode",
    "modes",
    "object",
    "objects",
    "only",
    "operation",
    "operations",
    "partition",
    "partitions",
    "path",
    "paths",
    "permission",
    "permissions",
    "policy",
    "predicate",
    "predicates",
    "prefix",
    "prefixes",
    "privilege",
    "privileges",
    "range",
    "read",
    "resource",
    "resources",
    "restrict",
    "restriction",
    "right",
    "rights",
    "role",
    "roles",
    "row",
    "rows",
    "scope",
    "scopes",
    "seconds",
    "secs",
    "since",
    "snapshot",
    "starting",
    "subpath",
    "subset",
    "time",
    "timestamp",
    "ttl",
    "until",
    "uri",
    "url",
    "valid",
    "validity",
    "version",
    "where",
    "write",
];

/// Whether a field of this name could mean less than what is given without it.
///
/// SECURITY: whoever sends such a field trusts that the keys are narrower for it. It is refused rather than passed over.
fn could_narrow(field: &str) -> bool {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for letter in field.chars() {
        let starts = letter.is_uppercase() && !before.is_uppercase();
        if (starts || !letter.is_alphanumeric()) && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| letter.is_alphanumeric()) {
            word.extend(letter.to_lowercase());
        }
        before = letter;
    }
    words.iter().any(|word| NARROWING.contains(&word.as_str()))
}

impl<'a> KindShown<'a> {
    /// S3 keys go under the name that `s3` gives them.
    pub(super) fn of(credential: &'a Credential, s3: impl FnOnce(AwsKeys<'a>) -> Self) -> Self {
        match credential {
            Credential::S3(keys) => s3(AwsKeys {
                access_key_id: &keys.access_key_id,
                secret_access_key: keys.secret_access_key.reveal(),
                session_token: keys.session_token.reveal(),
            }),
            Credential::Azure(sas) => Self::Azure { sas_token: sas.sas_token.reveal() },
            Credential::Google(token) => Self::Google { oauth_token: token.access_token.reveal() },
        }
    }
}

/// Reads a body in which nothing may be asked for.
///
/// # Errors
/// `Invalid` when a field could mean less than the whole; `Malformed`.
pub(super) fn nothing_narrower(body: &[u8]) -> Result<(), Error> {
    match Fields::read(body)?.location {
        None => Ok(()),
        Some(_) => Err(Error::new(Kind::Invalid, "a volume is given whole; ask without a location").at("location")),
    }
}

impl Fields {
    fn read(body: &[u8]) -> Result<Self, Error> {
        // A body that cannot be read is not a body that asks for nothing less than all.
        let fields: Self = if body.iter().all(u8::is_ascii_whitespace) { Self::default() } else { json(body)? };
        if let Some(field) = fields.others.keys().find(|field| could_narrow(field)) {
            let said = format!(
                "the field `{}` is not known here and could narrow what the keys open; only `location` does",
                shortened(field)
            );
            return Err(Error::new(Kind::Invalid, said));
        }
        Ok(fields)
    }
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

/// A credential under the name of its kind.
#[derive(Serialize)]
pub(super) enum KindShown<'a> {
    #[serde(rename = "awsTempCredentials")]
    Aws(AwsKeys<'a>),
    /// Of volumes alone: the protocol has no such name for tables.
    #[serde(rename = "r2Credentials")]
    R2(AwsKeys<'a>),
    #[serde(rename = "azureUserDelegationSas", rename_all = "camelCase")]
    Azure { sas_token: &'a str },
    #[serde(rename = "gcpOauthToken", rename_all = "camelCase")]
    Google { oauth_token: &'a str },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AwsKeys<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    session_token: &'a str,
}

pub(super) async fn vend(sharing: Arc<Sharing>, call: Call) -> Result<Reply, Error> {
    let fields = Fields::read(&call.body)?;
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
    let vended = sharing.shared.vending.vend(&call.caller, &ask).await?;
    let kind = KindShown::of(&vended.credential, KindShown::Aws);
    json_reply(&Answer {
        credentials: Credentials {
            location: &asked,
            kind,
            // The credential's own end, never what was wished for.
            expiration_time: vended.credential.expiration().as_millisecond(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_narrow_the_keys_is_told_from_what_could_not() {
        for field in [
            "Location",
            "locations",
            "subPath",
            "sub_path",
            "path",
            "operation",
            "accessMode",
            "readOnly",
            "ttlSeconds",
            "ttl_secs",
            "maxTTL",
            "expirationTime",
            "version",
            "startingVersion",
            "asOfTimestamp",
            "predicateHints",
            "jsonPredicateHints",
            "columns",
            "partition-filter",
            "PREFIX",
            "tablePath",
            "storage.location",
            "scope",
            "permissions",
            "validUntil",
        ] {
            assert!(could_narrow(field), "{field}");
            let body = format!("{{\"location\":\"s3://lake/t\",\"{field}\":null}}");
            assert!(Fields::read(body.as_bytes()).is_err(), "{field}, whatever its value");
        }
        for field in [
            "requestId",
            "clientName",
            "userAgent",
            "trace_id",
            "share",
            "schema",
            "table",
            "tableId",
            "credentialType",
            "x",
            "",
        ] {
            assert!(!could_narrow(field), "{field}");
            let body = format!("{{\"{field}\":{{\"a\":[1]}},\"location\":\"s3://lake/t\"}}");
            assert_eq!(Fields::read(body.as_bytes()).unwrap().location.as_deref(), Some("s3://lake/t"), "{field}");
        }
        for twice in [
            r#"{"location":"s3://lake/t/x","location":"s3://lake/t"}"#,
            r#"{"location":"s3://lake/t/x","location":null}"#,
        ] {
            assert!(Fields::read(twice.as_bytes()).is_err(), "{twice}");
        }
        assert!(
            Fields::read(b"[]").is_err() && Fields::read(b"null").is_err() && Fields::read(b"{\"location\":").is_err()
        );
    }
}
