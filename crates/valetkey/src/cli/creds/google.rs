//! A Google access token as each tool wants it.

use valetkey_core::Secret;

use crate::cli::creds::formats::{Format, assignments, glob, json, places};
use crate::cli::creds::key::Key;
use crate::cli::creds::quote;

/// A file of another token wins in `gcloud`.
pub(super) const UNSET: [&str; 1] = ["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"];

/// Writes one; nothing where nobody reads it.
pub(super) fn render(format: Format, key: &Key, token: &Secret<String>) -> Option<String> {
    let token = token.reveal().as_str();
    let quoted = quote::python(token);
    let (opens, bucket) = (places(key), quote::python(&key.bucket));
    let ends = quote::python(&key.expires());
    Some(match format {
        Format::Env | Format::Fish | Format::Powershell | Format::Dotenv => {
            return assignments(format, &UNSET, &variables(token));
        }
        Format::Json => json(&key.wire()),
        Format::Polars => format!(
            "import polars as pl\n\ndef credential_provider():\n    return {{\"bearer_token\": {quoted}}}, {}\n\n{opens}# frame = pl.scan_parquet({}, credential_provider=credential_provider)",
            key.expiration.as_second(),
            quote::python(&glob(key)),
        ),
        Format::Pyarrow => format!(
            "from datetime import datetime\n\nfrom pyarrow import fs\n\n{opens}gcs = fs.GcsFileSystem(\n    access_token={quoted},\n    credential_token_expiration=datetime.fromisoformat({ends}),\n)",
        ),
        Format::Obstore => format!(
            "from datetime import datetime\n\nfrom obstore.store import GCSStore\n\n{opens}store = GCSStore(\n    {bucket},\n    credential_provider=lambda: {{\n        \"token\": {quoted},\n        \"expires_at\": datetime.fromisoformat({ends}),\n    }},\n)",
        ),
        Format::Rclone => {
            format!(
                "[valetkey]\ntype = google cloud storage\nenv_auth = false\naccess_token = {token}\nbucket_policy_only = true"
            )
        }
        Format::Gcsfs => format!(
            "import gcsfs\nfrom google.oauth2.credentials import Credentials\n\n{opens}fs = gcsfs.GCSFileSystem(token=Credentials({quoted}))\n# frame = pandas.read_parquet({}, filesystem=fs)",
            quote::python(&key.places().into_iter().next().unwrap_or_default()),
        ),
        Format::Process
        | Format::Container
        | Format::Duckdb
        | Format::Boto3
        | Format::S3fs
        | Format::Spark
        | Format::S3cmd
        | Format::Uri
        | Format::Adlfs => return None,
    })
}

/// The variables its tools read.
pub(super) fn variables(token: &str) -> Vec<(&'static str, String)> {
    ["GOOGLE_OAUTH_ACCESS_TOKEN", "CLOUDSDK_AUTH_ACCESS_TOKEN"].map(|name| (name, token.to_owned())).into()
}
