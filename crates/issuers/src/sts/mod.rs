//! Credentials of AWS and of stores that speak its Security Token Service: `AssumeRole` with a session policy made of the scope.
//!
//! What the store cannot say exactly is left out and named, or refused; nothing is ever said wider. The end of a credential is
//! the one the store answers.

mod ask;
#[cfg(test)]
mod evaluator;
mod parent;
mod planner;
mod policy;
mod sessions;
mod settings;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::credential::{Credential, Narrowed, S3Keys};
use valetkey_core::field::Field;
use valetkey_core::hosts::{Hosts, Proof};
use valetkey_core::nouns::provider::{Documented, Extra, Facts, Hints};
use valetkey_core::nouns::storage_admin::Ended;
use valetkey_core::scope::{Paths, Scope};
use valetkey_core::storage::StorageKind;
use valetkey_core::time::{Clock, Lifetime};
use valetkey_core::{Error, Kind};

pub use parent::{ParentKeys, Secrets};
pub use settings::{KmsSettings, Profile, RevokeSettings, Settings};

use crate::kind::{UpstreamKind, opened};
use crate::sts::ask::{Api, Asker};
use crate::sts::parent::{Keys, Parents};
use crate::sts::policy::{Colons, Form as PolicyForm, Grammar, Outside, Principal, Specials, Written};
use crate::sts::settings::Parsed;
use crate::sts::wire::{Form, Given, Refused};
use crate::upstream::{Fetched, SessionName, Upstream, Wish, by_hand, by_lever, plausible_end};
use crate::web::{Web, refused};

/// The session policy that says a scope to AWS itself, and what of the scope it leaves out.
///
/// # Errors
/// `Invalid` when AWS has no words for it.
pub fn session_policy(scope: &Scope) -> Result<(String, Vec<Narrowed>), Error> {
    let grammar = Grammar {
        partition: "aws".into(),
        specials: Specials::Escaped,
        colons: Colons::Allowed,
        principal: Principal::Absent,
        access_points: std::collections::BTreeMap::new(),
        kms: None,
        outside: Outside::Unsaid,
    };
    let Written { json, narrowed } = grammar.write(scope, PolicyForm::FULL)?;
    Ok((json, narrowed))
}

/// This kind of storage.
pub(crate) const KIND: UpstreamKind = UpstreamKind {
    kind: StorageKind::Sts,
    open: |given| {
        let secrets = match given.secrets {
            Some(secrets) => Secrets::parse(secrets)?,
            None => Secrets::Chain(given.world.surroundings.clone()),
        };
        let clock = Arc::clone(&given.world.clock);
        opened(Sts::new(given.settings()?, secrets, given.http, clock))
    },
    outdated: |_| Ok(()),
    hints: Hints {
        vend: Some("is `role_arn` right, and may this server's own credentials assume it?"),
        rights: Some("do the role's own policy and the bucket's allow it?"),
        beyond: &[
            (Extra::Tags, Documented::Closed),
            (Extra::Acl, Documented::Closed),
            (Extra::Attributes, Documented::Closed),
            (Extra::Versions, Documented::Closed),
            (Extra::Untag, Documented::Closed),
        ],
    },
};

/// A store that speaks STS.
pub struct Sts {
    settings: Parsed,
    api: Api,
    asker: Asker,
    learnt: Learnt,
}

/// Which plan of a scope the store took, of those scopes whose fullest plan it found too large: so that it is not asked in vain
/// again.
#[derive(Default)]
struct Learnt(Mutex<HashMap<Scope, usize>>);

/// Scopes that are remembered; then all are forgotten.
const REMEMBERED: usize = 1024;

impl Learnt {
    fn first(&self, scope: &Scope) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(scope).copied().unwrap_or(0)
    }

    fn took(&self, scope: &Scope, plan: usize) {
        let mut learnt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if learnt.len() >= REMEMBERED {
            learnt.clear();
        }
        learnt.insert(scope.clone(), plan);
    }
}

impl Sts {
    /// A store as configured.
    ///
    /// # Errors
    /// `Invalid`, naming the field.
    pub fn new(
        settings: Settings,
        secrets: Secrets,
        http: reqwest::Client,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let settings = settings.parse()?;
        let api = Api::new(settings.endpoint.clone(), settings.region.clone(), "sts", "AssumeRole");
        let mut hosts = Hosts::new(match secrets {
            Secrets::Keys(_) => Proof::Kept,
            Secrets::Chain(_) => Proof::MachineSignature,
        })
        .sent("sts_endpoint", api.origin());
        if let Some(lever) = &settings.lever {
            hosts.send("revoke.iam_endpoint", lever.api.origin());
        }
        let web = Web::new(http, clock, hosts).patient(settings.timeout);
        Ok(Self {
            api,
            asker: Asker::new(web.clone(), Parents::new(secrets, web.of_surroundings())),
            settings,
            learnt: Learnt::default(),
        })
    }

    fn plan(&self, scope: &Scope) -> Result<Vec<Written>, Error> {
        planner::plan(&self.settings.grammar, scope, self.settings.policy_limit)
    }

    fn duration(&self, lifetime: Lifetime) -> Result<Lifetime, Error> {
        let Parsed { min, max, .. } = &self.settings;
        // A permit ends at a whole second, so that up to a second of the lifetime it was decided with is gone already.
        if lifetime.as_secs().saturating_add(1) < min.as_secs() {
            return Err(Error::new(
                Kind::Invalid,
                format!("{lifetime} is too short for this store; its shortest key lives {min}"),
            ));
        }
        Ok(lifetime.clamp(*min, *max))
    }

    fn form(&self, policy: &Written, duration: Lifetime, session: &SessionName) -> String {
        let Parsed { role_arn, external_id, source_identity, session_tags, .. } = &self.settings;
        let mut form = Form::of("AssumeRole", "2011-06-15")
            .with("RoleArn", role_arn)
            .with("RoleSessionName", session.as_str())
            .with("DurationSeconds", &duration.as_secs().to_string())
            .with("Policy", &policy.json);
        if let Some(id) = external_id {
            form = form.with("ExternalId", id);
        }
        if *source_identity {
            form = form.with("SourceIdentity", session.as_str());
        }
        for (index, (key, value)) in session_tags.iter().enumerate() {
            let number = index + 1;
            form = form
                .with(&format!("Tags.member.{number}.Key"), key)
                .with(&format!("Tags.member.{number}.Value"), &value.replace("{session}", session.as_str()));
        }
        form.into_body()
    }
}

#[async_trait]
impl Upstream for Sts {
    fn check(&self, scope: &Scope) -> Result<(), Error> {
        self.plan(scope).map(drop)
    }

    async fn fetch(&self, wish: &Wish<'_>) -> Result<Fetched, Error> {
        let duration = self.duration(wish.lifetime)?;
        let plans = self.plan(wish.scope)?;
        let first = self.learnt.first(wish.scope).min(plans.len() - 1);
        for (index, plan) in plans.into_iter().enumerate().skip(first) {
            let body = self.form(&plan, duration, wish.session);
            match self.asker.ask(&self.api, &body, wish.now, wire::read).await {
                Ok((given, keys)) => {
                    if index > first {
                        self.learnt.took(wish.scope, index);
                    }
                    return finish(given, &keys, plan, duration, self.asker.now());
                }
                Err(Refused::TooLarge) => {}
                Err(Refused::Parent(error) | Refused::Other(error)) => return Err(error),
            }
        }
        let paths = match wish.scope.paths() {
            Paths::Whole => 1,
            Paths::Only(paths) => paths.len(),
        };
        Err(Error::new(
            Kind::Invalid,
            format!("{paths} paths do not fit into one session policy once it is packed; request several credentials"),
        )
        .at(Field::Paths)
        .note("every policy that says the scope was answered `PackedPolicyTooLarge`"))
    }

    fn facts(&self) -> Facts {
        let Parsed { objects, region, min, max, lever, .. } = &self.settings;
        Facts {
            endpoint: objects.as_deref().map(Into::into),
            internal_endpoint: None,
            region: region.as_str().into(),
            least: *min,
            most: *max,
            revocation: by_lever(lever.is_some()),
        }
    }

    fn hosts(&self) -> &Hosts {
        self.asker.hosts()
    }

    async fn end_credentials(&self, before: Timestamp) -> Result<Ended, Error> {
        let Some(lever) = &self.settings.lever else {
            return Err(by_hand(
                "put a policy on the role that denies everything where `aws:TokenIssueTime` is before now, or set `revoke` of the \
                 store's settings",
            )
            .at("settings.revoke"));
        };
        let (ended, pause) = lever.end(&self.asker, before).await?;
        // What is fetched sooner would be ended with the rest.
        tokio::time::sleep(pause).await;
        Ok(ended)
    }
}

fn finish(given: Given, keys: &Keys, plan: Written, asked: Lifetime, answered: Timestamp) -> Result<Fetched, Error> {
    let Given { access_key_id, secret_access_key, session_token, expiration, packed_percent, request_id } = given;
    // SECURITY: a store that answers with what it was asked with would have this server hand out its own credentials.
    if access_key_id == keys.access_key_id || secret_access_key.ct_eq(keys.secret_access_key.reveal()) {
        return Err(refused("the storage's answer cannot be used")
            .note("AssumeRole answered with this server's own credentials"));
    }
    plausible_end(expiration, asked, answered)?;
    Ok(Fetched {
        credential: Credential::S3(S3Keys { access_key_id, secret_access_key, session_token, expiration }),
        upstream_request_id: request_id,
        packed_policy_percent: packed_percent,
        narrowed: plan.narrowed,
    })
}
