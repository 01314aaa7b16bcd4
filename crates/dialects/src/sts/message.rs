//! Why something was refused, sealed into the refusal, and opened again by `DecodeAuthorizationMessage` for who was refused.
//!
//! SECURITY: a refusal itself says nothing of what else there is; what explains it is opened only for the caller that it was told,
//! and tells of its grants only those that its key opens whole.

use std::sync::Arc;

// Without capitals: what has both cases and no words in it is taken for a secret, and left out of every message.
use data_encoding::BASE32_DNSSEC;
use serde::{Deserialize, Serialize};
use serde_json::json;
use valetkey_core::ask::{By, GrantRef, Target};
use valetkey_core::caller::Caller;
use valetkey_core::grant::{Grant, GrantTime};
use valetkey_core::keyring::SEAL_NONCE_LEN;
use valetkey_core::name::{BucketName, shortened};
use valetkey_core::policy::{self, Verdict};
use valetkey_core::scope::{Action, Paths, Scope};
use valetkey_core::snapshot::Snapshot;
use valetkey_core::{Error, Kind};

use super::error::{invalid, missing};
use super::state::{Sts, facts};
use super::xml;
use crate::edge::{Call, Reply, user_arn, xml_time};

const PURPOSE: &str = "authorization message";
/// AWS STS API Reference, `DecodeAuthorizationMessage`.
const MOST_CHARS: usize = 10_240;

/// What was asked for.
pub(super) struct About<'a> {
    pub(super) action: &'static str,
    /// The role's ARN, as given.
    pub(super) resource: Option<&'a str>,
}

/// What is sealed: short, since it is part of a refusal's words.
#[derive(Serialize, Deserialize)]
struct Sealed {
    action: String,
    resource: String,
    bucket: Option<String>,
    key: Option<Vec<u8>>,
    at: String,
    said: String,
}

/// A refusal as this API tells it: what may not be known of is not told from what is not allowed, and why is sealed beside it.
pub(super) fn refused(sts: &Sts, call: &Call, about: &About<'_>, target: Option<&Target>, error: Error) -> Error {
    let resource = about.resource.map(shortened);
    let unknown = matches!(error.kind(), Kind::NotFound(_));
    if !unknown && !matches!(error.kind(), Kind::Forbidden | Kind::OutOfCredit) {
        return error;
    }
    let said = if unknown {
        let on = resource.as_ref().map_or_else(String::new, |resource| format!(" on resource: {resource}"));
        let (user, action) = (user_arn(&call.caller), about.action);
        format!("User: {user} is not authorized to perform: sts:{action}{on}")
    } else {
        error.message().to_owned()
    };
    let (bucket, key) = match target {
        Some(target @ (Target::Place { bucket, .. } | Target::Parts { by: By::Bucket(bucket), .. })) => {
            let first = match target.named().first() {
                Some(Paths::Only(set)) => set.iter().next().map(|path| path.bytes().to_vec()),
                Some(Paths::Whole) | None => None,
            };
            (Some(bucket.to_string()), first)
        }
        Some(
            Target::Parts { by: By::Grant(_), .. }
            | Target::Grant { .. }
            | Target::Datasets { .. }
            | Target::Shared { .. }
            | Target::Probe { .. },
        )
        | None => (None, None),
    };
    let sealed = Sealed {
        action: about.action.to_owned(),
        resource: resource.unwrap_or_default(),
        bucket,
        key,
        at: xml_time(call.now),
        said: said.clone(),
    };
    let kind = if error.kind() == Kind::OutOfCredit { Kind::OutOfCredit } else { Kind::Forbidden };
    let coded = seal(sts, &call.caller, &sealed)
        .map_or(String::new(), |coded| format!("; Encoded authorization failure message: {coded}"));
    Error::new(kind, said + &coded).really(error.reason())
}

fn seal(sts: &Sts, caller: &Caller, sealed: &Sealed) -> Option<String> {
    let plain = serde_json::to_vec(sealed).ok()?;
    let mut nonce = [0; SEAL_NONCE_LEN];
    sts.shared.entropy.fill(&mut nonce);
    let ring = sts.shared.keyring.load();
    let bytes = ring.seal_bytes(PURPOSE, &caller.id.to_bytes(), &plain, nonce).ok()?;
    Some(BASE32_DNSSEC.encode(&bytes)).filter(|coded| coded.len() <= MOST_CHARS)
}

fn open(sts: &Sts, caller: &Caller, coded: &str) -> Option<Sealed> {
    let bytes = BASE32_DNSSEC.decode(coded.as_bytes()).ok()?;
    let plain = sts.shared.keyring.load().open_bytes(PURPOSE, &caller.id.to_bytes(), &bytes)?;
    serde_json::from_slice(plain.reveal()).ok()
}

/// `DecodeAuthorizationMessage`: what is allowed now, and what of it, for the caller that was refused.
pub(super) async fn decode(sts: Arc<Sts>, call: Call) -> Result<Reply, Error> {
    let coded = call.query.get("EncodedMessage").ok_or_else(|| missing("EncodedMessage"))?;
    let unread = || {
        let said = "the message is not one that this caller was refused with";
        invalid("InvalidAuthorizationMessageException", said).at("EncodedMessage")
    };
    if coded.len() > MOST_CHARS {
        return Err(unread());
    }
    let sealed = open(&sts, &call.caller, coded).ok_or_else(unread)?;
    let snapshot = sts.shared.vending.directory.account(call.caller.account, call.now).await?;
    let told = json!({
        "allowed": false,
        "explicitDeny": false,
        "matchedStatements": {"items": []},
        "failures": {"items": []},
        "context": {
            "principal": {"id": call.caller.id.to_string(), "arn": user_arn(&call.caller)},
            "action": format!("sts:{}", sealed.action),
            "resource": sealed.resource,
            "conditions": {"items": []},
        },
        "valetkey": {
            "refused": sealed.said,
            "at": sealed.at,
            "bucket": sealed.bucket,
            "key": sealed.key.as_ref().map(|key| String::from_utf8_lossy(key).into_owned()),
            "grants": grants(&snapshot, &call, &sealed),
        },
    });
    xml::answer(&call, "DecodeAuthorizationMessage", |xml| xml.text("DecodedMessage", &told.to_string()))
}

/// What each grant says now, of those that the caller's key opens whole.
fn grants(snapshot: &Snapshot, call: &Call, sealed: &Sealed) -> Vec<serde_json::Value> {
    let held = call.caller.held.as_deref();
    let shown = |grant: &Grant<Scope>| {
        grant.origin.share().is_none()
            && held.is_some_and(|held| held.covers(grant.storage, &grant.scope.clone().into(), |_| true))
    };
    let told = |grant: &Grant<Scope>, says: &str| json!({"id": grant.id.to_string(), "name": grant.name.as_str(), "says": says});
    let place = sealed.bucket.as_deref().and_then(|bucket| BucketName::parse(bucket).ok()).zip(sealed.key.as_ref());
    let Some((bucket, key)) = place else {
        let says = |grant: &Grant<Scope>| match grant.time(call.now) {
            GrantTime::Live => "live",
            GrantTime::Early => Verdict::Early.as_str(),
            GrantTime::Ended => Verdict::Ended.as_str(),
        };
        return snapshot
            .grants(&call.caller)
            .filter(|grant| shown(grant))
            .map(|grant| told(&grant, says(&grant)))
            .collect();
    };
    let found = policy::explain(snapshot, &call.caller, Action::GetObject, &bucket, key, &facts(call), call.now);
    let own = |one: &policy::Considered| snapshot.grant(&call.caller, &GrantRef::Id(one.grant.id));
    let considered = found.considered.iter().filter_map(|one| Some((own(one)?, one.verdict)));
    considered.filter(|(grant, _)| shown(grant)).map(|(grant, verdict)| told(&grant, verdict.as_str())).collect()
}
