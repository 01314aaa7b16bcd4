//! What is configured of a store that speaks STS.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use valetkey_core::name::{BucketName, shortened};
use valetkey_core::time::Lifetime;
use valetkey_core::{Error, Kind};

use crate::own::Signed;
use crate::sts::ask::Api;
use crate::sts::planner::AWS_LIMIT;
use crate::sts::policy::{Colons, Grammar, Kms, Outside, Principal, Specials};
use crate::sts::sessions::Lever;

/// What is configured of a store that speaks STS; nothing of it is secret.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where `AssumeRole` is asked, like `https://sts.eu-west-1.amazonaws.com` (the default, with the region).
    pub sts_endpoint: Option<String>,
    /// The region to name in signatures.
    pub region: String,
    /// The role whose rights are narrowed.
    pub role_arn: String,
    /// What the role's owner asks to be named.
    pub external_id: Option<String>,
    /// Who this server is there, where neither secrets nor AWS's chain say.
    pub identity: Option<Identity>,
    /// Also names the caller as the session's source identity, which stays with it through further roles.
    #[serde(default)]
    pub source_identity: bool,
    /// Tags of every session; `{session}` in a value becomes the session's name.
    #[serde(default)]
    pub session_tags: BTreeMap<String, String>,
    /// Whether `sts_endpoint` may be `http` though it is another machine.
    #[serde(default)]
    pub allow_http: bool,
    /// How the store differs from AWS.
    #[serde(default)]
    pub profile: Profile,
    /// Whether its policies know `${*}`; the profile says if this does not.
    pub escapes: Option<bool>,
    /// Whether each statement needs a principal; the profile says if this does not.
    pub principal: Option<bool>,
    /// The shortest it gives, in seconds.
    #[serde(default = "shortest")]
    pub min_duration_secs: u32,
    /// The longest it gives, in seconds.
    #[serde(default = "longest")]
    pub max_duration_secs: u32,
    /// The most characters of a session policy.
    #[serde(default = "policy_limit")]
    pub policy_limit: usize,
    /// Buckets reached through an access point: its ARN.
    #[serde(default)]
    pub access_points: BTreeMap<String, String>,
    /// The keys its objects are encrypted with.
    pub kms: Option<KmsSettings>,
    /// Also denies everything outside of the scope, whoever else allows it to the session.
    #[serde(default)]
    pub deny_outside: bool,
    /// How long one request may take, in milliseconds.
    #[serde(default = "timeout")]
    pub timeout_ms: u32,
    /// How sessions are ended before their time; if this is not there, they are not.
    pub revoke: Option<RevokeSettings>,
}

/// Who this server is to a store that speaks STS.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Identity {
    /// Itself: a token that it signs (`AssumeRoleWithWebIdentity`).
    Valetkey {
        /// What the store wants the token to be for, if it is not `sts.amazonaws.com`.
        #[serde(default)]
        audience: Option<String>,
        /// How the token is signed.
        #[serde(default)]
        algorithm: Signed,
    },
}

/// How sessions are ended: by a policy of the role that denies everything to the earlier ones.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeSettings {
    /// The name of the role's inline policy; one of that name is overwritten.
    pub role_policy: String,
    /// Where IAM is asked: AWS's own for the role's partition, and of Ceph where `AssumeRole` is asked, unless named.
    pub iam_endpoint: Option<String>,
    /// The region to name in signatures for IAM: AWS's own for the role's partition, and of Ceph the store's, unless named.
    pub iam_region: Option<String>,
}

/// The keys a store's objects are encrypted with.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KmsSettings {
    /// Their ARNs; any that the role may use, if none are named.
    #[serde(default)]
    pub key_arns: Vec<String>,
    /// The buckets behind access points: by the names of `access_points`, what each bucket is called itself.
    #[serde(default)]
    pub buckets: BTreeMap<String, String>,
}

/// How a store differs from AWS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// AWS itself.
    #[default]
    Aws,
    /// Ceph's gateway: no escapes, no colons, no tags.
    Ceph,
    /// Yandex: like others, and each statement needs a principal.
    Yandex,
    /// Any other: nothing that is not certain.
    Other,
}

/// What AWS wants tokens to be for, unless its provider says otherwise.
const AUDIENCE: &str = "sts.amazonaws.com";

fn shortest() -> u32 {
    900
}
fn longest() -> u32 {
    3600
}
fn policy_limit() -> usize {
    AWS_LIMIT
}
fn timeout() -> u32 {
    10_000
}

/// The settings, read.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) endpoint: Url,
    /// Where AWS has the objects; other stores say.
    pub(crate) objects: Option<String>,
    pub(crate) region: String,
    pub(crate) role_arn: String,
    pub(crate) external_id: Option<String>,
    /// The audience of this server's own tokens, and how they are signed.
    pub(crate) shown: Option<(String, Signed)>,
    pub(crate) source_identity: bool,
    pub(crate) session_tags: Vec<(String, String)>,
    pub(crate) min: Lifetime,
    pub(crate) max: Lifetime,
    pub(crate) policy_limit: usize,
    pub(crate) timeout: Duration,
    pub(crate) grammar: Grammar,
    pub(crate) lever: Option<Lever>,
}

fn bad(field: &'static str, words: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, words.into()).at(field)
}

/// The domain of AWS's services in a partition.
fn domain(partition: &str) -> &'static str {
    if partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" }
}

impl Settings {
    /// Reads the settings.
    pub(crate) fn parse(self) -> Result<Parsed, Error> {
        let partition = self.partition()?;
        region(&self.region, "region")?;
        let endpoint = self.endpoint(&partition)?;
        let objects =
            (self.profile == Profile::Aws).then(|| format!("https://s3.{}.{}", self.region, domain(&partition)));
        self.check_limits()?;
        let shown = self.shown()?;
        let lever = self.revoke.as_ref().map(|revoke| self.lever(revoke, &partition, &endpoint)).transpose()?;
        let limited = self.profile != Profile::Aws;
        let escapes = self.escapes.unwrap_or(self.profile == Profile::Aws);
        let principal = self.principal.unwrap_or(self.profile == Profile::Yandex);
        let access_points = self
            .access_points
            .iter()
            .map(|(bucket, arn)| access_point(bucket, arn, &partition))
            .collect::<Result<BTreeMap<_, _>, _>>()?;
        let kms = self.kms.map(|kms| read_kms(&kms, &partition, &access_points)).transpose()?;
        Ok(Parsed {
            endpoint,
            objects,
            region: self.region,
            role_arn: self.role_arn,
            external_id: self.external_id,
            shown,
            source_identity: self.source_identity,
            session_tags: self.session_tags.into_iter().collect(),
            min: Lifetime::secs(self.min_duration_secs),
            max: Lifetime::secs(self.max_duration_secs),
            policy_limit: self.policy_limit,
            timeout: Duration::from_millis(u64::from(self.timeout_ms)),
            grammar: Grammar {
                partition: partition.into(),
                specials: match (escapes, self.profile) {
                    (true, _) => Specials::Escaped,
                    (false, Profile::Ceph) => Specials::NoEscape,
                    (false, Profile::Aws | Profile::Yandex | Profile::Other) => Specials::NoEscapeButVariables,
                },
                colons: if limited { Colons::Refused } else { Colons::Allowed },
                principal: if principal { Principal::Required } else { Principal::Absent },
                access_points,
                kms,
                outside: if self.deny_outside { Outside::Denied } else { Outside::Unsaid },
            },
            lever,
        })
    }

    /// The partition of the role, which is that of everything else.
    fn partition(&self) -> Result<String, Error> {
        let partition = match self.role_arn.split(':').collect::<Vec<_>>().as_slice() {
            ["arn", partition, "iam", "", account, role] if role.starts_with("role/") => {
                // Stores with an endpoint of their own have none, or names for theirs.
                let is_own = self.sts_endpoint.is_some();
                let is_aws = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
                if !is_aws && !is_own {
                    let said = format!(
                        "`{}` has the account `{}`; an account of AWS has 12 digits, as in `arn:aws:iam::123456789012:role/name`",
                        shortened(&self.role_arn),
                        shortened(account)
                    );
                    return Err(bad("role_arn", said));
                }
                (*partition).to_owned()
            }
            _ => {
                return Err(bad(
                    "role_arn",
                    format!(
                        "`{}` is not the ARN of a role, like `arn:aws:iam::123456789012:role/name`",
                        shortened(&self.role_arn)
                    ),
                ));
            }
        };
        if !["aws", "aws-cn", "aws-us-gov"].contains(&partition.as_str()) {
            return Err(bad(
                "role_arn",
                format!("`{}` is not a partition; there are `aws`, `aws-cn` and `aws-us-gov`", shortened(&partition)),
            ));
        }
        Ok(partition)
    }

    fn endpoint(&self, partition: &str) -> Result<Url, Error> {
        let suffix = domain(partition);
        let endpoint = match &self.sts_endpoint {
            Some(url) => url.clone(),
            None if self.profile == Profile::Aws => format!("https://sts.{}.{suffix}", self.region),
            None => return Err(bad("sts_endpoint", "only AWS's own is known without being named")),
        };
        let url = address(&endpoint, "sts_endpoint")?;
        let here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        // SECURITY: the answer holds keys.
        if url.scheme() == "http" && !here && !self.allow_http {
            return Err(bad(
                "sts_endpoint",
                "an address with `http` needs `allow_http`: the keys in its answers can be read on the way",
            ));
        }
        Ok(url)
    }

    /// What ends sessions.
    fn lever(&self, revoke: &RevokeSettings, partition: &str, sts: &Url) -> Result<Lever, Error> {
        let RevokeSettings { role_policy, iam_endpoint, iam_region } = revoke;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
        let ours = role_policy == "AWSRevokeOlderSessions" || role_policy.starts_with("valetkey-");
        // SECURITY: it is overwritten; were it the one that allows, the role would be without its rights.
        if !ours || role_policy.len() > 128 || !role_policy.bytes().all(allowed) {
            return Err(bad(
                "revoke.role_policy",
                "it is overwritten, so that it must be one of its own: `AWSRevokeOlderSessions` or `valetkey-` and more, at most \
                 128 letters, digits and `_+=,.@-`",
            ));
        }
        let usual = match (self.profile, partition) {
            (Profile::Aws, "aws-cn") => ("https://iam.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            (Profile::Aws, "aws-us-gov") => ("https://iam.us-gov.amazonaws.com", "us-gov-west-1"),
            (Profile::Aws, _) => ("https://iam.amazonaws.com", "us-east-1"),
            (Profile::Ceph, _) => (sts.as_str(), self.region.as_str()),
            (Profile::Yandex | Profile::Other, _) => {
                return Err(bad("revoke", "only AWS and Ceph are known to end sessions by a policy of the role"));
            }
        };
        let url = address(iam_endpoint.as_deref().unwrap_or(usual.0), "revoke.iam_endpoint")?;
        let named = iam_region.as_deref().unwrap_or(usual.1);
        region(named, "revoke.iam_region")?;
        Ok(Lever {
            api: Api::new(url, named.to_owned(), "iam", "PutRolePolicy"),
            profile: self.profile,
            // A role's path is no part of its name.
            role: self.role_arn.rsplit('/').next().unwrap_or_default().to_owned(),
            policy: role_policy.clone(),
            longest: Lifetime::secs(self.max_duration_secs),
        })
    }

    /// What this server's own tokens are for, and what goes without them only.
    fn shown(&self) -> Result<Option<(String, Signed)>, Error> {
        let Some(Identity::Valetkey { audience, algorithm }) = &self.identity else { return Ok(None) };
        let audience = audience.as_deref().unwrap_or(AUDIENCE);
        // SECURITY: one of another cloud's would make the store's host somebody there.
        let others =
            ["api:", "urn:", "//", "http"].iter().any(|start| audience.to_ascii_lowercase().starts_with(start));
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/".contains(&b);
        if audience.is_empty() || audience.len() > 255 || !audience.bytes().all(plain) || others {
            return Err(bad(
                "identity.audience",
                "an audience here is a name like `sts.amazonaws.com`: at most 255 letters, digits and `-_.:/`, and no URL",
            ));
        }
        if self.external_id.is_some() {
            return Err(bad(
                "external_id",
                "a role that is assumed with a token is pinned by its subject, and has none",
            ));
        }
        if self.revoke.is_some() {
            return Err(bad("revoke", "IAM is asked with a signature, and this identity has no key that makes one"));
        }
        Ok(Some((audience.to_owned(), *algorithm)))
    }

    fn check_limits(&self) -> Result<(), Error> {
        if self.external_id.as_ref().is_some_and(|id| {
            !(2..=1224).contains(&id.len())
                || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b))
        }) {
            return Err(bad("external_id", "an external id has 2 to 1224 letters, digits and `_+=,.@:/-`"));
        }
        let limited = self.profile != Profile::Aws;
        if limited && !self.session_tags.is_empty() {
            return Err(bad("session_tags", "only AWS is known to take session tags"));
        }
        if limited && self.source_identity {
            return Err(bad("source_identity", "only AWS is known to take a source identity"));
        }
        if self.deny_outside && limited {
            return Err(bad("deny_outside", "only AWS is known to read what a session policy denies"));
        }
        if self.deny_outside && !self.access_points.is_empty() {
            let said = "what is asked through an access point may be asked about by the bucket's name, too, and would be denied";
            return Err(bad("deny_outside", said));
        }
        if self.session_tags.len() > 50
            || self.session_tags.iter().any(|(key, value)| {
                key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 || key.starts_with("aws:")
            })
        {
            return Err(bad(
                "session_tags",
                "there are at most 50, keys have 1 to 128 characters and do not start with `aws:`, values at most 256",
            ));
        }
        if self.min_duration_secs == 0 || self.min_duration_secs > self.max_duration_secs {
            return Err(bad("min_duration_secs", "the shortest is at least 1 and not longer than the longest"));
        }
        if self.profile == Profile::Aws && !(900..=43_200).contains(&self.max_duration_secs) {
            return Err(bad("max_duration_secs", "AWS gives at least 900 and at most 43200 seconds"));
        }
        if !(256..=65_536).contains(&self.policy_limit) {
            return Err(bad(
                "policy_limit",
                "a session policy has at least room for 256 characters and at most for 65536",
            ));
        }
        if !(100..=60_000).contains(&self.timeout_ms) {
            return Err(bad("timeout_ms", "a request may take 100 to 60000 ms"));
        }
        Ok(())
    }
}

fn region(text: &str, field: &'static str) -> Result<(), Error> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if text.is_empty() || text.len() > 64 || !text.bytes().all(plain) {
        return Err(bad(field, format!("`{}` is not a region", shortened(text))));
    }
    Ok(())
}

/// Where something is asked. Without TLS, too: what is sent is signed, and stores in a cluster of one's own are asked so.
fn address(text: &str, field: &'static str) -> Result<Url, Error> {
    Url::parse(text)
        .ok()
        .filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.host_str().is_some()
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
        })
        .ok_or_else(|| bad(field, "this is not an address like `https://sts.example.com`, without a query"))
}

/// SECURITY: an ARN becomes part of a pattern, so that nothing in it may be one.
fn plain_arn(arn: &str, partition: &str, service: &str) -> bool {
    arn.starts_with(&format!("arn:{partition}:{service}:"))
        && arn.bytes().all(|b| b.is_ascii_alphanumeric() || b":/-_.".contains(&b))
}

fn access_point(bucket: &str, arn: &str, partition: &str) -> Result<(BucketName, Box<str>), Error> {
    let bucket = BucketName::parse(bucket).map_err(|error| error.at("access_points"))?;
    let name = arn.split(':').nth(5).and_then(|resource| resource.strip_prefix("accesspoint/"));
    if !plain_arn(arn, partition, "s3")
        || arn.split(':').count() != 6
        || name.is_none_or(|name| name.is_empty() || name.contains('/'))
    {
        return Err(bad(
            "access_points",
            format!(
                "`{}` is not the ARN of an access point, like `arn:{partition}:s3:eu-west-1:123456789012:accesspoint/name`",
                shortened(arn)
            ),
        ));
    }
    Ok((bucket, arn.into()))
}

fn read_kms(kms: &KmsSettings, partition: &str, access_points: &BTreeMap<BucketName, Box<str>>) -> Result<Kms, Error> {
    let read = |arn: &String| {
        if plain_arn(arn, partition, "kms") {
            Ok(arn.as_str().into())
        } else {
            Err(bad("kms.key_arns", format!("`{}` is not the ARN of a key of the same partition", shortened(arn))))
        }
    };
    let named = |(name, bucket): (&String, &String)| {
        let parse = |text: &str| BucketName::parse(text).map_err(|error| error.at("kms.buckets"));
        let (name, bucket) = (parse(name)?, parse(bucket)?);
        if access_points.contains_key(&name) {
            Ok((name, bucket))
        } else {
            Err(bad("kms.buckets", format!("`{name}` is none of `access_points`: any other bucket is itself")))
        }
    };
    Ok(Kms {
        keys: kms.key_arns.iter().map(read).collect::<Result<_, _>>()?,
        behind: kms.buckets.iter().map(named).collect::<Result<_, _>>()?,
    })
}
