//! The actions that make a credential of a grant.

use std::collections::BTreeSet;
use std::sync::Arc;

use valetkey_core::ask::Asked;
use valetkey_core::credential::S3Keys;
use valetkey_core::error::Noun;
use valetkey_core::vending::Vended;
use valetkey_core::{Error, Kind};

use super::arn::{self, Role};
use super::error::{invalid, missing};
use super::message::{self, About};
use super::policy::Left;
use super::read::{self, Meant};
use super::road;
use super::state::Sts;
use super::xml;
use crate::edge::{Call, Reply, Xml, account_number};

/// The least of `DurationSeconds`, and the most that AWS takes: for roles, and for sessions of who has a long-lived key. AWS STS API
/// Reference.
const LEAST: u32 = 900;
const MOST_OF_ROLE: u32 = 43_200;
const MOST_OF_SESSION: u32 = 129_600;
/// AWS STS API Reference: `Policy`, `Tags`.
const MOST_POLICY_CHARS: usize = 2048;
const MOST_TAGS: usize = 50;

pub(super) const ASSUME_ROLE: &[&str] = &[
    "RoleArn",
    "RoleSessionName",
    "Policy",
    "PolicyArns.member.N.arn",
    "DurationSeconds",
    "ExternalId",
    "SourceIdentity",
    "Tags.member.N.Key",
    "Tags.member.N.Value",
    "TransitiveTagKeys.member.N",
    "SerialNumber",
    "TokenCode",
    "ProvidedContexts.member.N.ProviderArn",
    "ProvidedContexts.member.N.ContextAssertion",
];
pub(super) const WEB_IDENTITY: &[&str] =
    &["RoleArn", "RoleSessionName", "Policy", "PolicyArns.member.N.arn", "DurationSeconds"];
pub(super) const SESSION_TOKEN: &[&str] = &["DurationSeconds", "SerialNumber", "TokenCode"];
pub(super) const FEDERATION: &[&str] =
    &["Name", "Policy", "PolicyArns.member.N.arn", "DurationSeconds", "Tags.member.N.Key", "Tags.member.N.Value"];

/// What of a role was assumed.
struct Assumed {
    vended: Vended,
    role: String,
    role_id: String,
    session: String,
}

impl Assumed {
    /// What every answer about a role has.
    fn told(&self, call: &Call, keys: &S3Keys, xml: Xml) -> Xml {
        let Self { vended: _, role, role_id, session } = self;
        let arn = arn::session(call.caller.account, role, session);
        let user = |xml: Xml| xml.text("Arn", &arn).text("AssumedRoleId", &format!("{role_id}:{session}"));
        xml.credentials(keys).within("AssumedRoleUser", user).some("PackedPolicySize", packed(call).as_deref())
    }
}

/// How much of what a policy may be it is, in percent.
fn packed(call: &Call) -> Option<String> {
    let chars = call.query.get("Policy")?.chars().count();
    Some((chars * 100).div_ceil(MOST_POLICY_CHARS).to_string())
}

/// `AssumeRole`: who signs is a parent access key, or a credential that is to be narrowed.
pub(super) async fn assume_role(sts: Arc<Sts>, call: Call) -> Result<Reply, Error> {
    const ACTION: &str = "AssumeRole";
    no_second_factor(&call)?;
    if call.query.all("ProvidedContexts.").next().is_some() {
        return Err(invalid("InvalidContextAssertion", "provided contexts cannot be checked here"));
    }
    arn::word(&call, "ExternalId", (2, 1224), "+=,.@:/-")?;
    let identity = arn::word(&call, "SourceIdentity", (2, 256), "+=,.@-")?.map(str::to_owned);
    tags(&call)?;
    let assumed = assumed(&sts, &call, ACTION).await?;
    answer(&call, ACTION, &assumed, |xml| xml.some("SourceIdentity", identity.as_deref()))
}

/// `AssumeRoleWithWebIdentity`: who asks is proven by an identity token.
pub(super) async fn web_identity(sts: Arc<Sts>, call: Call) -> Result<Reply, Error> {
    const ACTION: &str = "AssumeRoleWithWebIdentity";
    let assumed = assumed(&sts, &call, ACTION).await?;
    answer(&call, ACTION, &assumed, |xml| {
        xml.text("SubjectFromWebIdentityToken", &call.caller.id.to_string())
            .text("Provider", arn::ANY)
            .text("Audience", arn::ANY)
    })
}

fn answer(call: &Call, action: &str, assumed: &Assumed, more: impl FnOnce(Xml) -> Xml) -> Result<Reply, Error> {
    let keys = assumed.vended.credential.s3()?;
    xml::answer(call, action, |xml| more(assumed.told(call, keys, xml)))
}

async fn assumed(sts: &Sts, call: &Call, action: &'static str) -> Result<Assumed, Error> {
    let session = arn::word(call, "RoleSessionName", (2, 64), "+=,.@-")?.unwrap_or(arn::ANY).to_owned();
    let lifetime = sts.lifetime(call, LEAST, MOST_OF_ROLE)?;
    let left = left(call)?;
    let about = About { action, resource: call.query.get("RoleArn") };
    let role = match about.resource {
        // Also where it is none: what is not the caller's is not told from what is not there.
        Some(given) => arn::role(given, call.caller.account),
        None => Some(Role::Any),
    };
    let (vended, Meant { role, grant, .. }) = vended(sts, call, &about, role.as_ref(), &left, lifetime).await?;
    Ok(Assumed { vended, role_id: arn::role_id(grant), role, session })
}

/// `GetSessionToken`: the one grant of who has a long-lived key.
pub(super) async fn session_token(sts: Arc<Sts>, call: Call) -> Result<Reply, Error> {
    const ACTION: &str = "GetSessionToken";
    no_second_factor(&call)?;
    long_lived(&call)?;
    let lifetime = sts.lifetime(&call, LEAST, MOST_OF_SESSION)?;
    let about = About { action: ACTION, resource: None };
    let (vended, _) = vended(&sts, &call, &about, Some(&Role::Any), &left(&call)?, lifetime).await?;
    let keys = vended.credential.s3()?;
    xml::answer(&call, ACTION, |xml| xml.credentials(keys))
}

/// `GetFederationToken`: what a policy names, of all that a long-lived key opens.
pub(super) async fn federation_token(sts: Arc<Sts>, call: Call) -> Result<Reply, Error> {
    const ACTION: &str = "GetFederationToken";
    long_lived(&call)?;
    let name = arn::word(&call, "Name", (2, 32), "+=,.@-")?.ok_or_else(|| missing("Name"))?;
    tags(&call)?;
    if call.query.get("Policy").is_none() {
        return Err(
            Error::new(Kind::Forbidden, "a federated session without a `Policy` is allowed nothing").at("Policy")
        );
    }
    let lifetime = sts.lifetime(&call, LEAST, MOST_OF_SESSION)?;
    let about = About { action: ACTION, resource: None };
    let (vended, _) = vended(&sts, &call, &about, Some(&Role::Any), &left(&call)?, lifetime).await?;
    let keys = vended.credential.s3()?;
    let number = account_number(call.caller.account);
    xml::answer(&call, ACTION, |xml| {
        let xml = xml.credentials(keys).within("FederatedUser", |xml| {
            xml.text("FederatedUserId", &format!("{number}:{name}"))
                .text("Arn", &format!("arn:aws:sts::{number}:federated-user/{name}"))
        });
        xml.some("PackedPolicySize", packed(&call).as_deref())
    })
}

async fn vended(
    sts: &Sts,
    call: &Call,
    about: &About<'_>,
    role: Option<&Role>,
    left: &Left,
    lifetime: Asked,
) -> Result<(Vended, Meant), Error> {
    let snapshot = sts.shared.vending.directory.account(call.caller.account, call.now).await?;
    let none = || Error::not_found(Noun::Grant);
    let meant = role.ok_or_else(none).and_then(|role| read::meant(&snapshot, call, role, left));
    let meant = meant.map_err(|error| message::refused(sts, call, about, None, error))?;
    let vended = road::vend(sts, call, about, meant.target.clone(), meant.actions, lifetime).await?;
    Ok((vended, meant))
}

/// The policies of a request.
pub(super) fn left(call: &Call) -> Result<Left, Error> {
    if call.query.get("Policy").is_some_and(|text| text.chars().count() > MOST_POLICY_CHARS) {
        let said = format!("the session policy has more than {MOST_POLICY_CHARS} characters");
        return Err(invalid("PackedPolicyTooLarge", said).at("Policy"));
    }
    read::left(call)
}

/// Refuses a temporary credential.
fn long_lived(call: &Call) -> Result<(), Error> {
    match &call.caller.held {
        Some(held) if held.leases.is_empty() => Ok(()),
        Some(_) | None => {
            Err(Error::new(Kind::Forbidden, "cannot call this with session credentials: use a parent access key"))
        }
    }
}

/// Who sends a code believes that it counts for something.
fn no_second_factor(call: &Call) -> Result<(), Error> {
    match ["SerialNumber", "TokenCode"].into_iter().find(|name| call.query.get(name).is_some()) {
        Some(name) => Err(Error::new(Kind::Forbidden, "multi-factor authentication is not supported").at(name)),
        None => Ok(()),
    }
}

/// Tags narrow nothing and are not kept; still they are held to their rules, so that a client is not surprised elsewhere.
fn tags(call: &Call) -> Result<(), Error> {
    let bad = |said: String| Error::new(Kind::Invalid, said).at("Tags");
    let mut keys = BTreeSet::new();
    for (name, text) in call.query.all("Tags.member.") {
        let (least, most) = if name.ends_with(".Key") { (1, 128) } else { (0, 256) };
        if !(least..=most).contains(&text.chars().count()) {
            return Err(bad(format!(
                "a tag's key has 1 to 128 characters and its value at most 256: `{name}` has not"
            )));
        }
        if name.ends_with(".Key") && !keys.insert(text.to_lowercase()) {
            return Err(bad("a tag's key is given twice".to_owned()));
        }
    }
    if keys.len() > MOST_TAGS {
        return Err(bad(format!("there are {} tags; the most is {MOST_TAGS}", keys.len())));
    }
    Ok(())
}
