//! `GetDataAccess`: a credential of the closest grant, whole or narrowed to the target.

use std::sync::Arc;

use jiff::SignedDuration;
use valetkey_core::ask::{Ask, Asked, GrantRef, Target, Wanted};
use valetkey_core::scope::Paths;
use valetkey_core::storage::Shape;
use valetkey_core::time::Lifetime;
use valetkey_core::{Error, Kind};

use super::error::invalid;
use super::grants::{self, Part, Permission};
use super::state::{AccessGrants, NAME, answer};
use super::target::{Place, written};
use crate::edge::{Call, Reply, user_arn};

pub(super) const KNOWN: &[&str] =
    &["target", "permission", "durationSeconds", "privilege", "targetType", "auditContext", "instanceScope"];

/// Amazon S3 Control API Reference, `GetDataAccess`: `durationSeconds`.
const LEAST_SECS: u32 = 900;
const MOST_SECS: u32 = 43_200;
const USUAL: Lifetime = Lifetime::secs(3600);
/// AWS' plugin for Python keeps what it got for everything below for 54 minutes, whatever the answer says of its end. What ends sooner
/// is told in a form that it does not keep; a minute is for requests that are under way.
const KEPT: SignedDuration = SignedDuration::from_mins(55);
/// The longest `auditContext`. It is not kept.
const MOST_CONTEXT: usize = 2048;

/// How much of a grant is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Privilege {
    /// The target alone.
    Minimal,
    /// All of the grant.
    Default,
}

struct Asking {
    place: Place,
    permission: Permission,
    privilege: Privilege,
    lifetime: Asked,
}

impl Asking {
    fn read(call: &Call) -> Result<Self, Error> {
        let missing = |name: &'static str| invalid(format!("the parameter `{name}` is missing")).at(name);
        let get = |name: &'static str| call.query.get(name);
        let object = one_of(call, "targetType", &["Object"])?.is_some();
        let place = Place::read("target", get("target").ok_or_else(|| missing("target"))?, object)?;
        let permission = one_of(call, "permission", &["READ", "WRITE", "READWRITE"])?;
        let permission = permission.and_then(Permission::parse).ok_or_else(|| missing("permission"))?;
        let privilege = match one_of(call, "privilege", &["Minimal", "Default"])? {
            Some("Minimal") => Privilege::Minimal,
            Some(_) | None => Privilege::Default,
        };
        scope_of_instances(call)?;
        if get("auditContext").is_some_and(|text| !(1..=MOST_CONTEXT).contains(&text.chars().count())) {
            return Err(invalid(format!("`auditContext` has 1 to {MOST_CONTEXT} characters")).at("auditContext"));
        }
        Ok(Self { place, permission, privilege, lifetime: lifetime(get("durationSeconds"))? })
    }
}

/// A parameter that is one of some words, where it is there.
pub(super) fn one_of<'c>(call: &'c Call, name: &'static str, words: &[&'static str]) -> Result<Option<&'c str>, Error> {
    match call.query.get(name) {
        Some(given) if !words.contains(&given) => {
            Err(invalid(format!("`{name}` is `{}`", words.join("` or `"))).at(name))
        }
        given => Ok(given),
    }
}

/// Which instances are meant: there is one.
pub(super) fn scope_of_instances(call: &Call) -> Result<(), Error> {
    one_of(call, "instanceScope", &["SELF", "ALL"]).map(drop)
}

/// How long it is to live. A lifetime that was asked for is never cut: the plugins take it for what they got.
fn lifetime(given: Option<&str>) -> Result<Asked, Error> {
    let Some(text) = given else { return Ok(Asked::Usual(USUAL)) };
    let secs = text.parse::<u32>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let secs = secs.filter(|secs| (LEAST_SECS..=MOST_SECS).contains(secs)).ok_or_else(|| {
        invalid(format!("`durationSeconds` is a number from {LEAST_SECS} to {MOST_SECS}")).at("durationSeconds")
    })?;
    Ok(Asked::Exactly(Lifetime::secs(secs)))
}

pub(super) async fn vend(own: Arc<AccessGrants>, call: Call) -> Result<Reply, Error> {
    let Asking { place, permission, privilege, lifetime } = Asking::read(&call)?;
    let snapshot = own.snapshot(&call).await?;
    let at = match &place.paths {
        Paths::Whole => None,
        Paths::Only(set) => set.iter().next(),
    };
    let part = grants::closest(&snapshot, &call, &place, at.as_ref(), permission);
    let part = part.ok_or_else(|| denied(&place, permission))?;
    let paths = match privilege {
        Privilege::Minimal => place.paths.clone(),
        Privilege::Default => part.paths.clone(),
    };
    let ask = Ask {
        dialect: NAME,
        target: Target::Grant { grant: GrantRef::Id(part.grant.id), paths: Some(paths) },
        wanted: Wanted::between(permission.least(), permission.most().intersect(part.actions)),
        lifetime,
        carries: Shape::S3_ONLY,
    };
    let vended = own.shared.vending.vend(&call.caller, &ask).await.map_err(|error| {
        let unknown = matches!(error.kind(), Kind::NotFound(_));
        if unknown { denied(&place, permission).really(error.reason()) } else { error }
    })?;
    let keys = vended.credential.s3()?;
    let lasts = keys.expiration.duration_since(call.now) >= KEPT || call.query.get("durationSeconds").is_some();
    let matched = matched(&place, &part, privilege, lasts);
    answer(&call, "GetDataAccess", |xml| {
        xml.credentials(keys)
            .text("MatchedGrantTarget", &matched)
            .within("Grantee", |xml| xml.text("GranteeType", "IAM").text("GranteeIdentifier", &user_arn(&call.caller)))
            .text("MatchedInstanceArn", &own.arn(&call, "default"))
    })
}

/// What the credential opens, so that a client may keep it for all of that; or, where it may not, only what was asked for.
fn matched(place: &Place, part: &Part, privilege: Privilege, lasts: bool) -> String {
    let whole = match privilege {
        Privilege::Default if lasts || place.is_open() => written(&place.bucket, part.path().as_ref()),
        Privilege::Default | Privilege::Minimal => None,
    };
    whole.unwrap_or_else(|| place.text.clone())
}

/// A refusal that does not say what there is.
fn denied(place: &Place, permission: Permission) -> Error {
    let said = format!(
        "You do not have {} permissions to the requested S3 Prefix: {}. A client that remembers this asks again after five minutes",
        permission.as_str(),
        place.text
    );
    Error::new(Kind::Forbidden, said)
}
