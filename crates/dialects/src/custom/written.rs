//! A file, as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub(super) name: String,
    pub(super) base: String,
    pub(super) token: Option<Vec<String>>,
    #[serde(default)]
    pub(super) refusals: Refusals,
    #[serde(rename = "route")]
    pub(super) routes: Vec<Route>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refusals {
    /// What answers for the kinds that have no row: `usual`, or the name of a row.
    pub(super) default: Option<String>,
    pub(super) body: Option<String>,
    #[serde(default)]
    pub(super) kinds: BTreeMap<String, Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) status: Option<u16>,
    pub(super) code: Option<String>,
    pub(super) title: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) account: Option<String>,
    #[serde(default)]
    pub(super) datasets: bool,
    pub(super) grant: Option<String>,
    pub(super) workspace: Option<String>,
    pub(super) bucket: Option<String>,
    pub(super) prefix: Option<String>,
    #[serde(default)]
    pub(super) whole_bucket: bool,
    pub(super) access: Option<Access>,
    pub(super) ttl_secs: Option<u32>,
    pub(super) carries: Option<Vec<Carried>>,
    #[serde(default)]
    pub(super) fields: BTreeMap<String, Field>,
    pub(super) answer: String,
}

/// What is opened at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Access {
    Read,
    Write,
    ReadWrite,
}

/// A form of credential.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Carried {
    S3,
    Azure,
    Google,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Field {
    #[serde(rename = "in", default)]
    pub(super) place: Place,
    /// As requests name it.
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) required: bool,
    pub(super) default: Option<String>,
    pub(super) one_of: Option<Vec<String>>,
    pub(super) means: Option<Means>,
    pub(super) least: Option<u32>,
    pub(super) most: Option<u32>,
}

/// Where a field is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Place {
    #[default]
    Body,
    Query,
    Header,
}

/// What a field changes of what is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Means {
    /// The lifetime, in seconds.
    Ttl,
    /// A directory: inside what the route opens.
    Prefix,
    /// Which bucket, where there are several.
    Bucket,
    /// Less than the route's access.
    Access,
}
