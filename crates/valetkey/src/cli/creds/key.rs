//! A vended credential as the command line knows it: read from the API's answer, checked before anything is written.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use valetkey_core::Secret;

use crate::cli::failure::Failure;

/// A vended S3 credential.
///
/// * no text in it holds a control character: it cannot break out of a line of a file or script
/// * the expiration is in whole seconds
#[derive(Debug)]
#[expect(clippy::struct_field_names, reason = "they are AWS's names")]
pub(super) struct Key {
    pub(super) lease: String,
    pub(super) access_key_id: String,
    pub(super) secret_access_key: Secret<String>,
    pub(super) session_token: Secret<String>,
    pub(super) expiration: Timestamp,
    pub(super) endpoint_url: String,
    pub(super) region: String,
    pub(super) bucket: String,
    pub(super) prefixes: Vec<String>,
    pub(super) objects: Vec<String>,
    pub(super) raw_prefixes: Vec<String>,
    pub(super) access: Option<String>,
    /// What was asked for and not given, in words.
    pub(super) cuts: Vec<String>,
}

/// The answer as it is on the wire, and as it is kept in a file.
#[derive(Serialize, Deserialize)]
pub(super) struct Wire {
    #[serde(default)]
    lease_id: String,
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: String,
    endpoint_url: String,
    #[serde(default)]
    region: String,
    bucket: String,
    #[serde(default)]
    prefixes: Vec<String>,
    #[serde(default)]
    objects: Vec<String>,
    #[serde(default)]
    raw_prefixes: Vec<String>,
    #[serde(default)]
    access: Option<String>,
    #[serde(default)]
    cuts: Vec<String>,
}

impl Key {
    /// Reads an answer of the API.
    pub(super) fn read(answer: &Value) -> Result<Self, Failure> {
        let unusable = |why: String| Failure::local(format!("the server's answer is no credential: {why}"));
        // The error of serde names the field, never the value of a text.
        let wire = Wire::deserialize(answer).map_err(|error| unusable(error.to_string()))?;
        Self::of(wire).map_err(unusable)
    }

    /// Checks what was read.
    pub(super) fn of(wire: Wire) -> Result<Self, String> {
        let Wire {
            lease_id,
            access_key_id,
            secret_access_key,
            session_token,
            expiration,
            endpoint_url,
            region,
            bucket,
            prefixes,
            objects,
            raw_prefixes,
            access,
            cuts,
        } = wire;
        let (secret_access_key, session_token) = (Secret::new(secret_access_key), Secret::new(session_token));
        for (name, value) in [
            ("lease_id", &lease_id),
            ("access_key_id", &access_key_id),
            ("secret_access_key", secret_access_key.reveal()),
            ("session_token", session_token.reveal()),
            ("endpoint_url", &endpoint_url),
            ("region", &region),
            ("bucket", &bucket),
        ] {
            if value.chars().any(char::is_control) {
                return Err(format!("`{name}` holds a control character"));
            }
        }
        let url = reqwest::Url::parse(&endpoint_url).map_err(|_| "`endpoint_url` is not a URL".to_owned())?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err("`endpoint_url` is not a URL of http or https".to_owned());
        }
        let expiration: Timestamp = expiration.parse().map_err(|_| "`expiration` is not an instant".to_owned())?;
        let expiration = Timestamp::from_second(expiration.as_second()).map_err(|error| error.to_string())?;
        let region = if region.is_empty() { "auto".to_owned() } else { region };
        Ok(Self {
            lease: lease_id,
            access_key_id,
            secret_access_key,
            session_token,
            expiration,
            endpoint_url: endpoint_url.trim_end_matches('/').to_owned(),
            region,
            bucket,
            prefixes,
            objects,
            raw_prefixes,
            access,
            cuts,
        })
    }

    /// As it is kept in a file.
    pub(super) fn wire(&self) -> Wire {
        let Self {
            lease,
            access_key_id,
            secret_access_key,
            session_token,
            expiration,
            endpoint_url,
            region,
            bucket,
            prefixes,
            objects,
            raw_prefixes,
            access,
            cuts,
        } = self;
        Wire {
            lease_id: lease.clone(),
            access_key_id: access_key_id.clone(),
            secret_access_key: secret_access_key.reveal().clone(),
            session_token: session_token.reveal().clone(),
            expiration: expiration.to_string(),
            endpoint_url: endpoint_url.clone(),
            region: region.clone(),
            bucket: bucket.clone(),
            prefixes: prefixes.clone(),
            objects: objects.clone(),
            raw_prefixes: raw_prefixes.clone(),
            access: access.clone(),
            cuts: cuts.clone(),
        }
    }

    /// When it ends, in the one form every client reads: whole seconds and `Z`.
    pub(super) fn expires(&self) -> String {
        self.expiration.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// Whether the endpoint is plain http.
    pub(super) fn plain_http(&self) -> bool {
        self.endpoint_url.starts_with("http://")
    }

    /// The endpoint without its scheme.
    pub(super) fn endpoint_host(&self) -> &str {
        self.endpoint_url.split_once("://").map_or(self.endpoint_url.as_str(), |(_, host)| host)
    }

    /// The places it opens, as URIs.
    pub(super) fn places(&self) -> Vec<String> {
        let bucket = &self.bucket;
        let directories = self.prefixes.iter().map(|prefix| {
            let slash = if prefix.is_empty() || prefix.ends_with('/') { "" } else { "/" };
            format!("s3://{bucket}/{prefix}{slash}")
        });
        let exact = self.raw_prefixes.iter().chain(&self.objects).map(|path| format!("s3://{bucket}/{path}"));
        let places: Vec<String> = directories.chain(exact).collect();
        if places.is_empty() { vec![format!("s3://{bucket}/")] } else { places }
    }

    /// One line for people, without a secret.
    pub(super) fn summary(&self) -> String {
        let access = self.access.as_deref().map(|access| format!("{access} ")).unwrap_or_default();
        let lease = if self.lease.is_empty() { String::new() } else { format!(" (lease {})", self.lease) };
        format!("{access}{} until {}{lease}", self.places().join(", "), self.expires())
    }
}
