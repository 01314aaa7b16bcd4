//! A vended credential as the command line knows it: read from the API's answer, checked before anything is written.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use valetkey_core::Secret;

use crate::cli::failure::Failure;

/// The secret, as its storage has it.
#[derive(Debug)]
pub(crate) enum Material {
    S3(S3Keys),
    /// The signed query, without a question mark.
    Azure(Secret<String>),
    /// The access token.
    Google(Secret<String>),
}

/// An S3 key triple.
#[derive(Debug)]
pub(crate) struct S3Keys {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: Secret<String>,
    pub(crate) session_token: Secret<String>,
}

impl Material {
    /// In words.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::S3(_) => "S3 keys",
            Self::Azure(_) => "an Azure shared access signature",
            Self::Google(_) => "a Google access token",
        }
    }

    /// What URIs of its storage start with, as most of its clients write them.
    const fn scheme(&self) -> &'static str {
        match self {
            Self::S3(_) => "s3",
            Self::Azure(_) => "az",
            Self::Google(_) => "gs",
        }
    }
}

/// A vended credential.
///
/// * no text in it holds a control character: it cannot break out of a line of a file or script
/// * the expiration is in whole seconds
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) lease: String,
    pub(crate) material: Material,
    pub(crate) expiration: Timestamp,
    pub(crate) endpoint_url: String,
    pub(crate) region: String,
    pub(crate) bucket: String,
    pub(crate) prefixes: Vec<String>,
    pub(crate) objects: Vec<String>,
    pub(crate) raw_prefixes: Vec<String>,
    pub(crate) access: Option<String>,
    /// What may be done where, if not everywhere the same; the places above are those of all parts.
    pub(crate) parts: Vec<Part>,
    /// What was asked for and not given, in words.
    pub(crate) cuts: Vec<String>,
    /// What of its scope the storage could not say and left out, in words.
    pub(crate) narrowed: Vec<String>,
}

/// What a person reads of how a credential differs from what was asked for.
pub(crate) fn narrowed(how: &str) -> String {
    if how.starts_with("beyond ") {
        return format!("the storage allows more, {how}");
    }
    format!("the storage cannot express all of it, and leaves out {how}")
}

/// The answer as it is on the wire, and as it is kept in a file.
#[derive(Serialize, Deserialize)]
pub(crate) struct Wire {
    #[serde(default)]
    lease_id: String,
    /// `s3` unless it says something else.
    #[serde(default, rename = "type")]
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_access_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sas_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Part>,
    #[serde(default)]
    cuts: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    narrowed: Vec<String>,
}

/// Some of the places, and what may be done there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    #[serde(default)]
    prefixes: Vec<String>,
    #[serde(default)]
    objects: Vec<String>,
    #[serde(default)]
    raw_prefixes: Vec<String>,
    #[serde(default)]
    access: String,
}

/// The lists of all parts, each path once.
fn gathered(parts: &[Part], list: fn(&Part) -> &Vec<String>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for path in parts.iter().flat_map(list) {
        if !all.contains(path) {
            all.push(path.clone());
        }
    }
    all
}

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    S3,
    Azure,
    Google,
}

/// A part that a credential of this kind must have.
fn part(given: Option<String>, name: &str) -> Result<Secret<String>, String> {
    let given = given.filter(|text| !text.is_empty()).map(Secret::new);
    let given = given.ok_or_else(|| format!("it has no `{name}`"))?;
    if given.reveal().chars().any(char::is_control) {
        return Err(format!("`{name}` holds a control character"));
    }
    Ok(given)
}

impl Key {
    /// Reads an answer of the API.
    pub(crate) fn read(answer: &Value) -> Result<Self, Failure> {
        let unusable = |why: String| Failure::local(format!("the server's answer is no credential: {why}"));
        // The error of serde names the field, never the value of a text.
        let wire = Wire::deserialize(answer).map_err(|error| unusable(error.to_string()))?;
        Self::of(wire).map_err(unusable)
    }

    /// Checks what was read.
    pub(crate) fn of(wire: Wire) -> Result<Self, String> {
        let Wire {
            lease_id,
            kind,
            access_key_id,
            secret_access_key,
            session_token,
            sas_token,
            access_token,
            expiration,
            endpoint_url,
            region,
            bucket,
            prefixes,
            objects,
            raw_prefixes,
            access,
            parts,
            cuts,
            narrowed,
        } = wire;
        let (prefixes, objects, raw_prefixes) = if parts.is_empty() {
            (prefixes, objects, raw_prefixes)
        } else {
            (
                gathered(&parts, |part| &part.prefixes),
                gathered(&parts, |part| &part.objects),
                gathered(&parts, |part| &part.raw_prefixes),
            )
        };
        let material = match kind {
            Kind::S3 => Material::S3(S3Keys {
                access_key_id: part(access_key_id, "access_key_id")?.reveal().clone(),
                secret_access_key: part(secret_access_key, "secret_access_key")?,
                session_token: part(session_token, "session_token")?,
            }),
            Kind::Azure => Material::Azure(part(sas_token, "sas_token")?),
            Kind::Google => Material::Google(part(access_token, "access_token")?),
        };
        let texts =
            [("lease_id", &lease_id), ("endpoint_url", &endpoint_url), ("region", &region), ("bucket", &bucket)];
        for (name, value) in texts {
            if value.chars().any(char::is_control) {
                return Err(format!("`{name}` holds a control character"));
            }
        }
        let url = reqwest::Url::parse(&endpoint_url).map_err(|_| "`endpoint_url` is not a URL".to_owned())?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err("`endpoint_url` is not a URL of http or https".to_owned());
        }
        let expiration: Timestamp = expiration.parse().map_err(|_| "`expiration` is not a timestamp".to_owned())?;
        let expiration = Timestamp::from_second(expiration.as_second()).map_err(|error| error.to_string())?;
        let region = if region.is_empty() { "auto".to_owned() } else { region };
        Ok(Self {
            lease: lease_id,
            material,
            expiration,
            endpoint_url: endpoint_url.trim_end_matches('/').to_owned(),
            region,
            bucket,
            prefixes,
            objects,
            raw_prefixes,
            access,
            parts,
            cuts,
            narrowed,
        })
    }

    /// As it is kept in a file.
    pub(crate) fn wire(&self) -> Wire {
        let Self {
            lease,
            material,
            expiration,
            endpoint_url,
            region,
            bucket,
            prefixes,
            objects,
            raw_prefixes,
            access,
            parts,
            cuts,
            narrowed,
        } = self;
        let (kind, keys, sas, token) = match material {
            Material::S3(keys) => (Kind::S3, Some(keys), None, None),
            Material::Azure(sas) => (Kind::Azure, None, Some(sas), None),
            Material::Google(token) => (Kind::Google, None, None, Some(token)),
        };
        Wire {
            lease_id: lease.clone(),
            kind,
            access_key_id: keys.map(|keys| keys.access_key_id.clone()),
            secret_access_key: keys.map(|keys| keys.secret_access_key.reveal().clone()),
            session_token: keys.map(|keys| keys.session_token.reveal().clone()),
            sas_token: sas.map(|sas| sas.reveal().clone()),
            access_token: token.map(|token| token.reveal().clone()),
            expiration: expiration.to_string(),
            endpoint_url: endpoint_url.clone(),
            region: region.clone(),
            bucket: bucket.clone(),
            prefixes: prefixes.clone(),
            objects: objects.clone(),
            raw_prefixes: raw_prefixes.clone(),
            access: access.clone(),
            parts: parts.clone(),
            cuts: cuts.clone(),
            narrowed: narrowed.clone(),
        }
    }

    /// When it ends, in the one form every client reads: whole seconds and `Z`.
    pub(crate) fn expires(&self) -> String {
        self.expiration.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// Whether the endpoint is plain http.
    pub(crate) fn plain_http(&self) -> bool {
        self.endpoint_url.starts_with("http://")
    }

    /// The endpoint without its scheme.
    pub(crate) fn endpoint_host(&self) -> &str {
        self.endpoint_url.split_once("://").map_or(self.endpoint_url.as_str(), |(_, host)| host)
    }

    /// The places it opens, as URIs.
    pub(crate) fn places(&self) -> Vec<String> {
        let Self { prefixes, raw_prefixes, objects, .. } = self;
        self.named(prefixes, raw_prefixes, objects)
    }

    fn named(&self, prefixes: &[String], raw_prefixes: &[String], objects: &[String]) -> Vec<String> {
        let (bucket, scheme) = (&self.bucket, self.material.scheme());
        let directories = prefixes.iter().map(|prefix| {
            let slash = if prefix.is_empty() || prefix.ends_with('/') { "" } else { "/" };
            format!("{scheme}://{bucket}/{prefix}{slash}")
        });
        let exact = raw_prefixes.iter().chain(objects).map(|path| format!("{scheme}://{bucket}/{path}"));
        let places: Vec<String> = directories.chain(exact).collect();
        if places.is_empty() { vec![format!("{scheme}://{bucket}/")] } else { places }
    }

    /// One line for people, without a secret.
    pub(crate) fn summary(&self) -> String {
        let access = self.access.as_deref().map(|access| format!("{access} ")).unwrap_or_default();
        let lease = if self.lease.is_empty() { String::new() } else { format!(" (lease {})", self.lease) };
        let of_part = |part: &Part| {
            let Part { prefixes, objects, raw_prefixes, access } = part;
            format!("{access} {}", self.named(prefixes, raw_prefixes, objects).join(", "))
        };
        let places = if self.parts.is_empty() {
            self.places().join(", ")
        } else {
            self.parts.iter().map(of_part).collect::<Vec<_>>().join("; ")
        };
        format!("{access}{places} until {}{lease}", self.expires())
    }
}
