//! The environment in which a tool asks the agent: what to set, and what would win over it.

use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cli::creds::key::{Key, Material};
use crate::cli::creds::render;

/// Variables to set and to remove.
#[derive(Serialize, Deserialize, Default, Debug)]
pub(crate) struct Variables {
    pub(crate) set: Vec<(String, String)>,
    pub(crate) unset: Vec<String>,
    /// What does not renew by itself, in words.
    pub(crate) warning: Option<String>,
}

/// What wins over, or disturbs, the container credentials in some SDK.
pub(crate) const AWS: [&str; 15] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
];
/// The same of Google's libraries.
pub(crate) const GOOGLE: [&str; 7] = [
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_OAUTH_ACCESS_TOKEN",
    "CLOUDSDK_AUTH_ACCESS_TOKEN",
    "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE",
    "NO_GCE_CHECK",
];
/// The same of Azure's.
pub(crate) const AZURE: [&str; 6] = [
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_AUTH_MODE",
    "AZURE_STORAGE_CLIENT_SECRET",
];

/// A file with nothing in it.
const NOTHING: &str = if cfg!(unix) { "/dev/null" } else { "NUL" };

/// Where a tool finds the agent.
pub(crate) struct Reach<'a> {
    /// A listener that serves this credential to the metadata clients, too.
    pub(crate) door: SocketAddr,
    /// What opens it.
    pub(crate) secret: &'a str,
    /// What goes behind the URL so that the next agent knows it, too.
    pub(crate) query: &'a str,
    /// A file with that secret.
    pub(crate) token_file: &'a Path,
    /// A directory with nothing in it.
    pub(crate) empty: &'a Path,
}

impl Variables {
    /// With which a tool asks the agent.
    pub(crate) fn asking(key: &Key, reach: &Reach<'_>) -> Self {
        match &key.material {
            Material::S3(_) => Self::of(aws(key, reach), &AWS, None),
            Material::Google(_) => Self::of(google(reach), &GOOGLE, None),
            Material::Azure(_) => {
                let warning = format!(
                    "Azure's tools read a signature from the environment once; it expires at {} and does not renew",
                    key.expires()
                );
                Self { warning: Some(warning), ..Self::fixed(key) }
            }
        }
    }

    /// With which a tool has the credential, once.
    pub(crate) fn fixed(key: &Key) -> Self {
        let unset: &[&str] = match &key.material {
            Material::S3(_) => &AWS,
            Material::Google(_) => &GOOGLE,
            Material::Azure(_) => &AZURE,
        };
        Self::of(render::variables(key).1, unset, None)
    }

    fn of(set: Vec<(&'static str, String)>, unset: &[&str], warning: Option<String>) -> Self {
        let unset = unset.iter().filter(|name| !set.iter().any(|(own, _)| own == *name));
        Self {
            unset: unset.map(|name| (*name).to_owned()).collect(),
            set: set.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            warning,
        }
    }
}

fn aws(key: &Key, reach: &Reach<'_>) -> Vec<(&'static str, String)> {
    let Reach { door, secret, query, token_file, .. } = reach;
    let question = if query.is_empty() { "" } else { "?" };
    let mut variables = vec![
        // The secret in the path is for those that do not read the file (AWS CLI 2.9, rclone 1.60).
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{door}/{secret}/container{question}{query}")),
        // Without it, object_store does not look at the URL.
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token_file.display().to_string()),
        ("AWS_REGION", key.region.clone()),
        ("AWS_DEFAULT_REGION", key.region.clone()),
        ("AWS_ENDPOINT_URL_S3", key.endpoint_url.clone()),
        ("AWS_ENDPOINT_URL", key.endpoint_url.clone()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        // Else keys or a login of the default profile are found first.
        ("AWS_CONFIG_FILE", NOTHING.to_owned()),
        ("AWS_SHARED_CREDENTIALS_FILE", NOTHING.to_owned()),
    ];
    if key.plain_http() {
        variables.push(("AWS_ALLOW_HTTP", "true".to_owned()));
    }
    variables
}

/// Each library reads another of these.
fn google(reach: &Reach<'_>) -> Vec<(&'static str, String)> {
    let door = reach.door.to_string();
    vec![
        ("GCE_METADATA_HOST", door.clone()),
        ("GCE_METADATA_IP", door.clone()),
        ("GCE_METADATA_ROOT", door),
        // Else a login of `gcloud` is found first.
        ("CLOUDSDK_CONFIG", reach.empty.display().to_string()),
    ]
}
