//! `GetScopedCredentials`: a credential, narrower or shorter.

use std::sync::Arc;

use valetkey_core::Error;
use valetkey_core::ask::{Asked, By, Target};
use valetkey_core::error::Kind;
use valetkey_core::time::Lifetime;

use super::error::invalid;
use super::message::{self, About};
use super::read::nothing;
use super::road;
use super::state::Sts;
use super::{arn, vend as roles, xml};
use crate::edge::{Call, Reply};

const ACTION: &str = "GetScopedCredentials";
/// AWS STS API Reference, "GetScopedCredentials": `DurationSeconds`.
const LEAST: u32 = 1;
const MOST: u32 = 129_600;

pub(super) const KNOWN: &[&str] = &["Policy", "DurationSeconds", "ScopedSessionDescription"];

pub(super) async fn vend(sts: Arc<Sts>, call: Call) -> Result<Reply, Error> {
    let about = About { action: ACTION, resource: None };
    let held = call.caller.held.as_ref().filter(|held| !held.leases.is_empty());
    let (Some(held), Some((storage, rights))) = (held, held.and_then(|held| held.opens.first())) else {
        return Err(invalid(
            "InvalidSubjectCredentials",
            "only a temporary credential can be narrowed so; use `AssumeRole`",
        ));
    };
    let (policy, secs) = (call.query.get("Policy"), call.query.get("DurationSeconds"));
    if policy.is_none() && secs.is_none() {
        return Err(Error::new(Kind::Invalid, "give a `Policy`, `DurationSeconds` or both"));
    }
    arn::word(&call, "ScopedSessionDescription", (2, 256), "+=,.@:/ -")?;
    let left = roles::left(&call)?;
    let rest = held.until.and_then(|until| Lifetime::between(call.now, until)).ok_or_else(nothing)?;
    let lifetime = match sts.lifetime(&call, LEAST, MOST)? {
        Asked::Usual(_) => Asked::Usual(rest),
        Asked::Exactly(asked) if asked > rest => {
            let said = "the calling session ends sooner than that";
            return Err(invalid("InsufficientSessionLifetime", said).at("DurationSeconds"));
        }
        asked @ (Asked::For(_) | Asked::Exactly(_)) => asked,
    };
    let narrowed = left.parts.filter(|_| left.bucket.as_ref().is_none_or(|named| named == rights.bucket()));
    let parts = narrowed.and_then(|parts| rights.parts().intersect(&parts));
    let parts = parts.ok_or_else(|| message::refused(&sts, &call, &about, None, nothing()))?;
    let target = Target::of_parts(By::Bucket(rights.bucket().clone()), &parts);
    let vended = road::vend(&sts, &call, &about, target, parts.actions(), lifetime).await?;
    if vended.storage.id != *storage {
        return Err(Error::internal("a credential was narrowed to another storage"));
    }
    let (role, _) = super::who::role(&sts, &call).await?;
    let own = held.leases.last().map(ToString::to_string).unwrap_or_default();
    let (keys, count) = (vended.credential.s3()?, held.leases.len().to_string());
    xml::answer(&call, ACTION, |xml| {
        let xml = xml.credentials(keys).within("SessionInfo", |xml| {
            xml.text("ScopedSessionId", &vended.lease.id.to_string())
                .text("Arn", &arn::session(call.caller.account, &role, &own))
        });
        xml.text("ScopedPoliciesCount", &count)
    })
}
