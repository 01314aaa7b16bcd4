//! An Azure shared access signature as each tool wants it.

use valetkey_core::Secret;

use crate::cli::creds::formats::{Format, assignments, glob, json, one_line, places, scope};
use crate::cli::creds::key::Key;
use crate::cli::creds::quote;

/// Account keys win over a signature in some SDKs; they would open with another's rights.
pub(super) const UNSET: [&str; 3] =
    ["AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_CONNECTION_STRING"];

/// Writes one; nothing where nobody reads it.
pub(super) fn render(format: Format, key: &Key, sas: &Secret<String>) -> Option<String> {
    let account = Account::of(key);
    let sas = sas.reveal().as_str();
    Some(match format {
        Format::Env | Format::Fish | Format::Powershell | Format::Dotenv => {
            return assignments(format, &UNSET, &variables(key, sas));
        }
        Format::Json => json(&key.wire()),
        Format::Duckdb => format!(
            "CREATE OR REPLACE SECRET valetkey (\n    TYPE azure,\n    CONNECTION_STRING {},\n    SCOPE {}\n);",
            quote::sql(&connection_string(key, sas)),
            quote::sql(&scope("az", key)),
        ),
        Format::Polars => {
            let options = options(key, &account, sas);
            format!(
                "import polars as pl\n\nstorage_options = {{\n{options}\n}}\n{}# frame = pl.scan_parquet({}, storage_options=storage_options)",
                places(key),
                quote::python(&glob(key))
            )
        }
        Format::Pyarrow => pyarrow(key, &account, sas),
        Format::Obstore => {
            let endpoint = if account.usual {
                String::new()
            } else {
                format!("\n    endpoint={},", quote::python(&key.endpoint_url))
            };
            let allow = if key.plain_http() { "\n    client_options={\"allow_http\": True}," } else { "" };
            format!(
                "from obstore.store import AzureStore\n\n{}store = AzureStore(\n    {},\n    account_name={},\n    sas_key={},{endpoint}{allow}\n)",
                places(key),
                quote::python(&key.bucket),
                quote::python(account.name),
                quote::python(sas),
            )
        }
        Format::Spark => {
            // It knows accounts by such a host alone.
            let (name, zone) = key.endpoint_host().split_once(".blob.").filter(|(_, zone)| !zone.contains('/'))?;
            let host = format!("{name}.dfs.{zone}");
            format!(
                "spark.hadoop.fs.azure.account.auth.type.{host} SAS\nspark.hadoop.fs.azure.sas.fixed.token.{host} {sas}"
            )
        }
        Format::Rclone => {
            format!("[valetkey]\ntype = azureblob\nsas_url = {}/{}?{sas}", key.endpoint_url, key.bucket)
        }
        Format::Uri => uris(key, sas),
        Format::Adlfs => format!(
            "import adlfs\n\n{}fs = adlfs.AzureBlobFileSystem(\n    connection_string={},\n)\n# frame = pandas.read_parquet({}, filesystem=fs)",
            places(key),
            quote::python(&connection_string(key, sas)),
            quote::python(&key.places().into_iter().next().unwrap_or_default()),
        ),
        Format::Process | Format::Container | Format::Boto3 | Format::S3fs | Format::S3cmd | Format::Gcsfs => {
            return None;
        }
    })
}

/// The variables its tools read.
pub(super) fn variables(key: &Key, sas: &str) -> Vec<(&'static str, String)> {
    let account = Account::of(key);
    let mut variables = vec![
        // The first is the command line's, the second is what libraries read.
        ("AZURE_STORAGE_ACCOUNT", account.name.to_owned()),
        ("AZURE_STORAGE_ACCOUNT_NAME", account.name.to_owned()),
        ("AZURE_STORAGE_SAS_TOKEN", sas.to_owned()),
    ];
    if !account.usual {
        variables.push(("AZURE_STORAGE_ENDPOINT", key.endpoint_url.clone()));
    }
    variables
}

/// The account behind an endpoint.
struct Account<'a> {
    name: &'a str,
    /// Whether its endpoint is the one that clients make of its name.
    usual: bool,
}

impl<'a> Account<'a> {
    fn of(key: &'a Key) -> Self {
        let (host, path) = key.endpoint_host().split_once('/').unwrap_or((key.endpoint_host(), ""));
        let name = match path.split('/').next() {
            // Emulators have the account in the path.
            Some(first) if !first.is_empty() => first,
            Some(_) | None => host.split(['.', ':']).next().unwrap_or_default(),
        };
        let usual = key.endpoint_url == format!("https://{name}.blob.core.windows.net");
        Self { name, usual }
    }
}

fn connection_string(key: &Key, sas: &str) -> String {
    format!("BlobEndpoint={};SharedAccessSignature={sas}", key.endpoint_url)
}

/// Lines of a dictionary in Python, by the names that `object_store` has.
fn options(key: &Key, account: &Account<'_>, sas: &str) -> String {
    let mut options = vec![("account_name", account.name), ("sas_token", sas)];
    if !account.usual {
        options.push(("endpoint", &key.endpoint_url));
    }
    if key.plain_http() {
        options.push(("allow_http", "true"));
    }
    let line = |(name, value): &(&str, &str)| format!("    {}: {},", quote::python(name), quote::python(value));
    options.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn pyarrow(key: &Key, account: &Account<'_>, sas: &str) -> String {
    let elsewhere = if account.usual {
        String::new()
    } else {
        let authority = key.endpoint_host().split('/').next().unwrap_or_default();
        format!(
            "    blob_storage_authority={},\n    blob_storage_scheme={},\n",
            quote::python(authority),
            quote::python(if key.plain_http() { "http" } else { "https" }),
        )
    };
    format!(
        "from pyarrow import fs\n\n{}azure = fs.AzureFileSystem(\n    account_name={},\n    sas_token={},\n{elsewhere})",
        places(key),
        quote::python(account.name),
        quote::python(sas),
    )
}

fn uris(key: &Key, sas: &str) -> String {
    let scheme = format!("az://{}/", key.bucket);
    let uri = |place: &String| {
        let path = place.strip_prefix(&scheme).unwrap_or_default();
        let path: Vec<String> = path.split('/').map(quote::query).collect();
        one_line(&format!("{}/{}/{}?{sas}", key.endpoint_url, key.bucket, path.join("/")))
    };
    key.places().iter().map(uri).collect::<Vec<_>>().join("\n")
}
