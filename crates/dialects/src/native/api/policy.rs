//! Policy files as one document: what the command line makes of files, and what the server takes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::given::given;
use super::grants::GrantConditions;
use super::scopes::Access;

/// The version of documents that this server takes.
pub const VERSION: &str = "valetkey/v1";

/// The most bytes of a document: 10,000 grants are about three million.
pub const MOST_BYTES: usize = 16 * 1024 * 1024;

/// A policy: what a set owns.
#[derive(Clone, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyDocument {
    /// `valetkey/v1`.
    pub version: String,
    /// The set's name.
    pub owner: String,
    /// What the set may make, change and remove; everything else is not its matter.
    pub owns: PolicyOwns,
    /// Whether what is not in the files any more is removed; `true` if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub prune: Option<bool>,
    /// Accounts, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub accounts: BTreeMap<String, PolicyAccount>,
    /// Datasets, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub datasets: BTreeMap<String, PolicyDataset>,
    /// Identity providers, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub identity_providers: BTreeMap<String, PolicyIdentityProvider>,
    /// What must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<PolicyTest>,
}

/// What a set may own: names, with `*` at the end for any that begin so.
#[derive(Clone, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyOwns {
    /// Accounts, with their callers, groups and grants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<String>,
    /// Datasets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub datasets: Vec<String>,
    /// Identity providers, with their rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identity_providers: Vec<String>,
}

/// An account.
#[derive(Clone, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyAccount {
    /// The name it had before.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// What a credential costs it; 0 if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub credits_per_vend: Option<u32>,
    /// Its callers, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub callers: BTreeMap<String, PolicyCaller>,
    /// Its groups of callers, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, PolicyGroup>,
    /// Its grants, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub grants: BTreeMap<String, PolicyGrant>,
}

/// A caller.
#[derive(Clone, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyCaller {
    /// The name it had before.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// `member` (if not given), `admin`, `auditor`, `planner` or `operator`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

/// A group of an account's callers.
#[derive(Clone, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyGroup {
    /// The name it had before.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// The callers that are in it, by name.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<String>>,
    /// The identity provider whose sessions are in it, by name, if they hold `claims`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What a session's token has to claim, each `claim=value` or `claim=glob:eng-*`. All must hold; of several of one claim, any.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub claims: Option<Vec<String>>,
}

/// An identity provider, and which of its tokens become which caller.
#[derive(Clone, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyIdentityProvider {
    /// The name it had before.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// What kind it is: `github`, `gitlab`, `kubernetes`, `google`, `entra`, `okta`, `keycloak` or `other`; `other` if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// What its tokens say that issued them (`iss`), byte for byte; known of `github`, `gitlab` and `google`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The audiences (`aud`) that its tokens are asked for; a token names one of them.
    pub audiences: Vec<String>,
    /// Where its keys are; as its discovery document says if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// Its keys themselves, a JSON Web Key Set as text.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub jwks: Option<String>,
    /// The clients (`azp`) whose tokens are taken; any if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub parties: Option<Vec<String>>,
    /// The claims that a subject is made of, `?` behind those that may be missing; as is usual for the kind if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub subject: Option<Vec<String>>,
    /// How it may sign; all that are taken if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub algorithms: Option<Vec<String>>,
    /// By how much its clock may differ; `60s` if not given, at most `5m`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub leeway: Option<String>,
    /// How old a token may be that says when it was issued; `1d` if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub max_age: Option<String>,
    /// The public client as which people log in there; nobody does if not given. It is one of the audiences.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub login_client_id: Option<String>,
    /// The scopes that a login asks for; `openid` and `offline_access` if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub login_scopes: Option<Vec<String>>,
    /// Its rules, in the order they are tried; without one its tokens let in nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<PolicyTrustRule>,
}

/// Which tokens of an identity provider become which caller.
#[derive(Clone, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyTrustRule {
    /// Its name, unique among its provider's.
    pub name: String,
    /// The name of the caller's account.
    pub account: String,
    /// The caller that a token becomes: a name, or one with one placeholder, `ci-{repository_id}` or `{subject}`.
    pub caller: String,
    /// What the token has to claim, each `claim=value` or `claim=glob:refs/tags/*`. All must hold; of several of one claim, any.
    pub claims: Vec<String>,
    /// The caller's role; `member` if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// For how long from its first use what is vended to the token may live, even if the token ends sooner; at most `12h`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub outlive: Option<String>,
}

/// A grant.
#[derive(Clone, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyGrant {
    /// The name it had before.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// Whom it is for, as `caller:NAME` or `group:NAME`. Either this or `everyone`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub to: Option<Vec<String>>,
    /// `true`: for every caller of the account.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub everyone: Option<bool>,
    /// The dataset it opens; whole, or the paths given inside it.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// The bucket; the dataset's if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// Directories, without their last slash.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub directories: Option<Vec<String>>,
    /// Exactly these keys.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub objects: Option<Vec<String>>,
    /// Anything that starts with one of these.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub raw_prefixes: Option<Vec<String>>,
    /// `true` to mean the whole bucket.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub whole_bucket: Option<bool>,
    /// `true`: the paths are a template, in which `{caller.name}`, `{account.name}` and `{claims./pointer}` are filled in for each caller.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub template: Option<bool>,
    /// `read` (if neither this nor `actions` is given), `write` or `read-write`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// Actions by name.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub actions: Option<Vec<String>>,
    /// No credential of it lives longer (`12h`); what the storage allows if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub max_ttl: Option<String>,
    /// It opens nothing before.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// It opens nothing from then on.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// What has to hold besides for it to open anything.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub conditions: Option<GrantConditions>,
}

/// A dataset. The objects that explain it and show some of it are no matter of files, and stay.
#[derive(Clone, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyDataset {
    /// The name it had before.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// The group it is listed under.
    pub topic: String,
    /// Its bucket.
    pub bucket: String,
    /// Its directory, without the last slash.
    pub directory: String,
    /// A sentence for people; empty if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The files' format; `parquet` if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// How often it is renewed; `daily` if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub frequency: Option<String>,
    /// The version of its layout; `1` if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether another takes its place.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<bool>,
    /// Which of its files is the newest: `time` (if not given) or `key`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub newest: Option<String>,
}

/// A test: `as` with `can` and `cannot`; `nobody` with `can`; or `vend` with `expect`.
#[derive(Clone, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyTest {
    /// The caller, as `account/name`.
    #[serde(default, rename = "as", deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// `true`: over all callers of all accounts.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub nobody: Option<bool>,
    /// Callers of whom that is not said.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub except: Option<Vec<String>>,
    /// When it is asked; now if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// From which address. What is not said of a request is not known: then a condition on it does not hold for what someone `can`, and may
    /// hold for what someone `cannot` and nobody can.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The identity provider whose token proves who asks.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What that token claims.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub claims: Option<BTreeMap<String, serde_json::Value>>,
    /// What the client calls its session.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub session_name: Option<String>,
    /// What the client shows.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Each is `read`, `write`, `delete`, `list` or an action, and a place: `read s3://bucket/key`. With a slash at its end a place is all
    /// that is below it.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub can: Option<Vec<String>>,
    /// The same: nothing of any.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub cannot: Option<Vec<String>>,
    /// A credential that is asked for.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub vend: Option<PolicyVend>,
    /// What it is.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub expect: Option<PolicyExpect>,
}

/// A credential that is asked for.
#[derive(Clone, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyVend {
    /// The caller, as `account/name`.
    #[serde(rename = "as")]
    pub who: String,
    /// The grant.
    pub grant: String,
    /// For how long; an hour if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
}

/// What a credential is.
#[derive(Clone, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyExpect {
    /// How long it lives.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// What it opens: exactly these; with a slash at its end one is a directory.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
}

/// A document, and where each of its things is said.
#[derive(Clone, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyPlanRequest {
    /// The document.
    pub document: PolicyDocument,
    /// File and line of each thing (`grant/acme/daily`) and each test (`test/0`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, String>,
    /// With the grants that no test is about.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub coverage: bool,
}

/// A document to be applied.
#[derive(Clone, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyApplyRequest {
    /// The document.
    pub document: PolicyDocument,
    /// File and line of each thing and each test.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, String>,
    /// The revision of the plan that this was read from.
    pub revision: String,
    /// How many things may be removed; 0 if not given.
    #[serde(default)]
    pub confirm_deletes: u32,
    /// `true` to let what was vended live on that has more than is left, where it may: what is vended to a caller or session that goes never
    /// does.
    #[serde(default)]
    pub keep_leases: bool,
    /// What the ledger says of it: a commit, a reason.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Things to be put into a set, as they are, or out of any.
#[derive(Clone, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyOwnerRequest {
    /// The set; `null` for none.
    pub owner: Option<String>,
    /// Things (`account/acme`, `grant/acme/daily`), or with `/*` after an account's all that is in it.
    pub things: Vec<String>,
}

/// Reads a length of time: `90s`, `15m`, `12h`, `7d`.
pub fn seconds(text: &str) -> Option<u32> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse::<u32>().ok().filter(|_| plain)?.checked_mul(unit).filter(|secs| *secs > 0)
}

/// Writes one in its largest unit.
pub fn written(secs: u32) -> String {
    let unit = [(86_400, "d"), (3_600, "h"), (60, "m")].into_iter().find(|(unit, _)| secs.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{secs}s"), |(unit, word)| format!("{}{word}", secs / unit))
}
