//! Identity providers and their rules in policy files: read, and written.

use valetkey_core::caller::Role;
use valetkey_core::id::ProviderId;
use valetkey_core::nouns::identity::{
    Algorithm, CallerTemplate, Condition, IdentityProvider, KeySource, LoginClient, Preset, TrustRule,
};
use valetkey_core::nouns::policy_set::{State, WantedProvider, WantedRule};
use valetkey_core::{Error, Kind};

use super::super::api::identity::IdentityProviderRequest;
use super::super::api::policy::{PolicyIdentityProvider, PolicyTrustRule, seconds, written};
use super::super::identity::{LEEWAY, MAX_AGE, described, parsed};
use super::super::wire;
use super::said::{invalid, not_a_length, was};

/// A length of time, which may be none.
fn secs(text: Option<&String>, field: &'static str) -> Result<Option<u32>, Error> {
    let read = |text: &String| match text.as_str() {
        "0s" => Ok(0),
        text => seconds(text).ok_or_else(|| not_a_length(text, field)),
    };
    text.map(read).transpose()
}

/// A provider as files say it, with the id that it has or will have.
pub(super) fn read(
    name: &str,
    own: &PolicyIdentityProvider,
    id: ProviderId,
    source: Box<str>,
) -> Result<WantedProvider, Error> {
    let PolicyIdentityProvider { was: before, preset, issuer, audiences, jwks_uri, jwks, parties, subject, .. } = own;
    let PolicyIdentityProvider { algorithms, leeway, max_age, login_client_id, login_scopes, rules, .. } = own;
    let provider = described(IdentityProviderRequest {
        name: name.to_owned(),
        preset: preset.clone(),
        issuer: issuer.clone(),
        audiences: audiences.clone(),
        jwks_uri: jwks_uri.clone(),
        jwks: jwks.clone(),
        parties: parties.clone(),
        subject: subject.clone(),
        algorithms: algorithms.clone(),
        leeway_secs: secs(leeway.as_ref(), "leeway")?,
        max_age_secs: secs(max_age.as_ref(), "max_age")?,
        login_client_id: login_client_id.clone(),
        login_scopes: login_scopes.clone(),
    })?;
    if provider.login.is_none() && login_client_id.is_some() {
        return Err(invalid("the client has no name", "login_client_id"));
    }
    let rules = rules.iter().map(rule).collect::<Result<_, _>>()?;
    Ok(WantedProvider { provider: IdentityProvider { id, ..provider }, was: was(before.as_ref())?, rules, source })
}

fn rule(own: &PolicyTrustRule) -> Result<WantedRule, Error> {
    let PolicyTrustRule { name, account, caller, claims, role, outlive } = own;
    Ok(WantedRule {
        name: wire::named(name, "name")?,
        account: wire::named(account, "account")?,
        caller: CallerTemplate::parse(caller).map_err(|error| error.at("caller"))?,
        role: role.as_deref().map_or(Ok(Role::Member), |text| wire::word(text, "a role", "role"))?,
        conditions: parsed(claims, Condition::parse, "claims")?,
        outlive_secs: secs(outlive.as_ref(), "outlive")?,
    })
}

fn text(secs: u32) -> String {
    if secs == 0 { "0s".to_owned() } else { written(secs) }
}

/// A provider as files say it.
pub(super) fn provider(state: &State, own: &IdentityProvider) -> Result<PolicyIdentityProvider, Error> {
    let IdentityProvider { id: _, name: _, preset, issuer, keys, audiences, parties, subject, .. } = own;
    let IdentityProvider { algorithms, leeway_secs, max_age_secs, login, version: _, made: _, rules, .. } = own;
    let texts = |list: &[Box<str>]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (jwks_uri, jwks) = match keys {
        KeySource::Discovery => (None, None),
        KeySource::Jwks(url) => (Some(url.to_string()), None),
        KeySource::Static(keys) => (None, Some(keys.to_string())),
    };
    let usual = |login: &LoginClient| login.scopes.iter().map(|one| &**one).eq(["openid", "offline_access"]);
    Ok(PolicyIdentityProvider {
        was: None,
        preset: (*preset != Preset::Other).then(|| preset.as_str().to_owned()),
        issuer: (preset.issuer() != Some(&**issuer)).then(|| issuer.to_string()),
        audiences: texts(audiences),
        jwks_uri,
        jwks,
        parties: (!parties.is_empty()).then(|| texts(parties)),
        subject: (*subject != preset.subject()).then(|| subject.iter().map(ToString::to_string).collect()),
        algorithms: (algorithms.as_slice() != Algorithm::ALL.as_slice())
            .then(|| algorithms.iter().map(|one| one.as_str().to_owned()).collect()),
        leeway: (*leeway_secs != LEEWAY).then(|| text(*leeway_secs)),
        max_age: (*max_age_secs != MAX_AGE).then(|| text(*max_age_secs)),
        login_client_id: login.as_ref().map(|login| login.client_id.to_string()),
        login_scopes: login.as_ref().filter(|login| !usual(login)).map(|login| texts(&login.scopes)),
        rules: rules.iter().map(|rule| shown(state, rule)).collect::<Result<_, _>>()?,
    })
}

fn shown(state: &State, rule: &TrustRule) -> Result<PolicyTrustRule, Error> {
    let TrustRule { id: _, name, account, caller, role, conditions, outlive_secs } = rule;
    let account = state.account_name(*account);
    Ok(PolicyTrustRule {
        name: name.to_string(),
        account: account.ok_or_else(|| Error::new(Kind::Internal, "a rule's account is not there"))?.to_string(),
        caller: caller.to_string(),
        claims: conditions.iter().map(ToString::to_string).collect(),
        role: (*role != Role::Member).then(|| role.as_str().to_owned()),
        outlive: outlive_secs.map(text),
    })
}
