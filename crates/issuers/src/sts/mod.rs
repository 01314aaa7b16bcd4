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
use serde_json::json;
use valetkey_core::credential::{Credential, Narrowed, S3Keys};
use valetkey_core::field::Field;
use valetkey_core::hosts::{Hosts, Proof};
use valetkey_core::nouns::provider::{Documented, Extra, Facts, Hints};
use valetkey_core::nouns::storage_admin::Ended;
use valetkey_core::scope::Rights;
use valetkey_core::storage::StorageKind;
use valetkey_core::time::{Clock, Lifetime};
use valetkey_core::{Error, Kind};

pub use parent::{ParentKeys, Secrets};
pub use settings::{Identity, KmsSettings, Profile, RevokeSettings, Settings};

use crate::kind::{UpstreamKind, opened};
use crate::own::Own;
use crate::sts::ask::{Api, Asker};
use crate::sts::parent::{Keys, Parents};
use crate::sts::policy::{Colons, Form as PolicyForm, Grammar, Outside, Principal, Specials, Written};
use crate::sts::settings::Parsed;
use crate::sts::wire::{Form, Given, Refused};
use crate::upstream::{Fetched, SessionName, Upstream, Wish, by_hand, by_lever, plausible_end};
use crate::web::{Web, refused};

/// The session policy that says rights to AWS itself, and what of them it leaves out.
///
/// # Errors
/// `Invalid` when AWS has no words for it.
pub fn session_policy(rights: &Rights) -> Result<(String, Vec<Narrowed>), Error> {
    let grammar = Grammar {
        partition: "aws".into(),
        specials: Specials::Escaped,
        colons: Colons::Allowed,
        principal: Principal::Absent,
        access_points: std::collections::BTreeMap::new(),
        kms: None,
        outside: Outside::Unsaid,
    };
    let Written { json, narrowed } = grammar.write(rights, PolicyForm::FULL)?;
    Ok((json, narrowed))
}

/// This kind of storage.
pub(crate) const KIND: UpstreamKind = UpstreamKind {
    kind: StorageKind::Sts,
    open: |given| {
        let settings: Settings = given.settings()?;
        let secrets = match (&settings.identity, given.secrets) {
            (Some(_), Some(_)) => return Err(unused()),
            (Some(Identity::Valetkey { .. }), None) => Secrets::Own(given.own()),
            (None, Some(secrets)) => Secrets::parse(secrets)?,
            (None, None) => Secrets::Chain(given.world.surroundings.clone()),
        };
        let clock = Arc::clone(&given.world.clock);
        opened(Sts::new(settings, secrets, given.http, clock))
    },
    outdated: |given| match given.settings::<Settings>()?.identity {
        Some(Identity::Valetkey { .. }) => given.own().check(),
        None => Ok(()),
    },
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
        also: &[],
    },
};

/// Secrets beside an identity that needs none.
fn unused() -> Error {
    Error::new(Kind::Invalid, "this identity has no use for secrets; `{}` removes those that are kept").at("secrets")
}

/// A store that speaks STS.
pub struct Sts {
    settings: Parsed,
    api: Api,
    asker: Asker,
    /// What makes the tokens, where those prove this server.
    own: Option<Own>,
    learnt: Learnt,
}

/// Which plan of a scope the store took, of those scopes whose fullest plan it found too large: so that it is not asked in vain
/// again.
#[derive(Default)]
struct Learnt(Mutex<HashMap<Rights, usize>>);

/// Scopes that are remembered; then all are forgotten.
const REMEMBERED: usize = 1024;

impl Learnt {
    fn first(&self, rights: &Rights) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(rights).copied().unwrap_or(0)
    }

    fn took(&self, rights: &Rights, plan: usize) {
        let mut learnt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if learnt.len() >= REMEMBERED {
            learnt.clear();
        }
        learnt.insert(rights.clone(), plan);
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
        let (own, action) = match &secrets {
            Secrets::Own(own) => (Some(own.clone()), "AssumeRoleWithWebIdentity"),
            Secrets::Keys(_) | Secrets::Chain(_) => (None, "AssumeRole"),
        };
        let api = Api::new(settings.endpoint.clone(), settings.region.clone(), "sts", action);
        let mut hosts = Hosts::new(match secrets {
            Secrets::Keys(_) => Proof::Kept,
            Secrets::Chain(_) => Proof::MachineSignature,
            Secrets::Own(_) => Proof::MachineToken,
        })
        .sent("sts_endpoint", api.origin());
        if let Some(lever) = &settings.lever {
            hosts.send("revoke.iam_endpoint", lever.api.origin());
        }
        let web = Web::new(http, clock, hosts).patient(settings.timeout);
        Ok(Self {
            api,
            asker: Asker::new(web.clone(), Parents::new(secrets, web.of_surroundings())),
            own,
            settings,
            learnt: Learnt::default(),
        })
    }

    fn plan(&self, rights: &Rights) -> Result<Vec<Written>, Error> {
        planner::plan(&self.settings.grammar, rights, self.settings.policy_limit)
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

    /// What every way of assuming the role says.
    fn form(&self, policy: &Written, duration: Lifetime, session: &SessionName) -> Form {
        Form::of(self.api.action(), "2011-06-15")
            .with("RoleArn", &self.settings.role_arn)
            .with("RoleSessionName", session.as_str())
            .with("DurationSeconds", &duration.as_secs().to_string())
            .with("Policy", &policy.json)
    }

    /// `AssumeRole`, signed.
    async fn signed(
        &self,
        form: Form,
        session: &SessionName,
        now: Timestamp,
    ) -> Result<(Given, Option<Arc<Keys>>), Refused> {
        let Parsed { external_id, source_identity, session_tags, .. } = &self.settings;
        let mut form = form;
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
        let (given, keys) = self.asker.ask(&self.api, &form.into_body(), now, wire::read).await?;
        Ok((given, Some(keys)))
    }

    /// `AssumeRoleWithWebIdentity`: what `AssumeRole` says in fields of the session, the token says in claims ("Passing session tags
    /// using `AssumeRoleWithWebIdentity`", "Monitor and control actions taken with assumed roles").
    async fn with_token(
        &self,
        own: &Own,
        form: Form,
        session: &SessionName,
    ) -> Result<(Given, Option<Arc<Keys>>), Refused> {
        let Parsed { shown, source_identity, session_tags, .. } = &self.settings;
        let (audience, signed) =
            shown.as_ref().ok_or_else(|| Refused::Other(Error::internal("a token has no audience")))?;
        let mut more = Vec::new();
        if *source_identity {
            more.push(("https://aws.amazon.com/source_identity", json!(session.as_str()).to_string()));
        }
        if !session_tags.is_empty() {
            let tags = session_tags
                .iter()
                .map(|(key, value)| (key.clone(), json!([value.replace("{session}", session.as_str())])));
            let tags: serde_json::Map<_, _> = tags.collect();
            more.push(("https://aws.amazon.com/tags", json!({ "principal_tags": tags }).to_string()));
        }
        let token = own.token(audience, *signed, &more).await.map_err(Refused::Other)?;
        let body = form.with("WebIdentityToken", token.reveal()).into_body();
        Ok((self.asker.ask_unsigned(&self.api, body, wire::read).await?, None))
    }
}

#[async_trait]
impl Upstream for Sts {
    fn check(&self, rights: &Rights) -> Result<(), Error> {
        self.plan(rights).map(drop)
    }

    async fn fetch(&self, wish: &Wish<'_>) -> Result<Fetched, Error> {
        let duration = self.duration(wish.lifetime)?;
        let plans = self.plan(wish.rights)?;
        let first = self.learnt.first(wish.rights).min(plans.len() - 1);
        for (index, plan) in plans.into_iter().enumerate().skip(first) {
            let form = self.form(&plan, duration, wish.session);
            let answer = match &self.own {
                Some(own) => self.with_token(own, form, wish.session).await,
                None => self.signed(form, wish.session, wish.now).await,
            };
            match answer {
                Ok((given, keys)) => {
                    if index > first {
                        self.learnt.took(wish.rights, index);
                    }
                    return finish(given, keys.as_deref(), plan, duration, self.asker.now());
                }
                Err(Refused::TooLarge) => {}
                Err(Refused::Parent(error) | Refused::Other(error)) => return Err(error),
            }
        }
        let paths = planner::paths(wish.rights).max(1);
        Err(Error::new(
            Kind::Invalid,
            format!("{paths} paths do not fit into one session policy once it is packed; request several credentials"),
        )
        .at(Field::Paths)
        .note("every policy that says the scope was answered `PackedPolicyTooLarge`"))
    }

    fn check_urls(&self) -> Result<(), Error> {
        Ok(())
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

fn finish(
    given: Given,
    keys: Option<&Keys>,
    plan: Written,
    asked: Lifetime,
    answered: Timestamp,
) -> Result<Fetched, Error> {
    let Given { access_key_id, secret_access_key, session_token, expiration, packed_percent, request_id } = given;
    // SECURITY: a store that answers with what it was asked with would have this server hand out its own credentials.
    let is_own =
        |keys: &Keys| access_key_id == keys.access_key_id || secret_access_key.ct_eq(keys.secret_access_key.reveal());
    if keys.is_some_and(is_own) {
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
