//! Identity providers and their trust rules: `/api/v1/identity-providers` and what is below it.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::caller::Role;
use valetkey_core::error::Noun;
use valetkey_core::id::{ProviderId, RuleId};
use valetkey_core::name::Name;
use valetkey_core::nouns::identity::{
    Algorithm, CallerTemplate, Condition, Cutoff, IdentityProvider, KeySource, LoginClient, Preset, SubjectClaim,
    TrustRule,
};
use valetkey_core::nouns::removal::{Amendment, Thing};
use valetkey_core::time::random_10;
use valetkey_core::{Error, Kind};

use super::api::identity::{
    IdentityProviderChange, IdentityProviderRequest, SessionRevocation, TrustRuleChange, TrustRuleRequest,
};
use super::ended::{StillTaken, still_taken};
use super::error::Problem;
use super::lists::Names;
use super::removal::{Changing, Removal, Said};
use super::state::Native;
use super::{authz, wire};
use crate::edge::{Authority, Call, Plain, Reply, json};

/// By how many seconds clocks may differ, and how old a token may be, unless that is said.
pub(super) const LEEWAY: u32 = 60;
pub(super) const MAX_AGE: u32 = 86_400;

/// A trust rule.
#[derive(Serialize, ToSchema)]
pub(super) struct TrustRuleResponse {
    /// Its id.
    id: String,
    /// Its name.
    name: String,
    /// The account's id.
    account: String,
    /// The account's name.
    account_name: Option<String>,
    /// The caller that a token becomes.
    caller: String,
    /// The caller's role.
    role: &'static str,
    /// What the token has to claim.
    claims: Vec<String>,
    /// For how many seconds what is vended may outlive the token.
    outlive_secs: Option<u32>,
}

/// An identity provider.
#[derive(Serialize, ToSchema)]
pub(super) struct IdentityProviderResponse {
    /// Its id.
    id: String,
    /// Its name.
    name: String,
    /// What kind it is.
    preset: &'static str,
    /// What its tokens say that issued them.
    issuer: String,
    /// Where its keys come from: `discovery`, `jwks_uri` or `jwks`.
    keys: &'static str,
    /// Where its keys are, if that is set.
    jwks_uri: Option<String>,
    /// A token names one of these audiences.
    audiences: Vec<String>,
    /// The clients whose tokens are taken; any if there is none.
    parties: Vec<String>,
    /// The claims that a subject is made of.
    subject: Vec<String>,
    /// How it may sign.
    algorithms: Vec<&'static str>,
    /// By how many seconds its clock may differ.
    leeway_secs: u32,
    /// How old a token may be, in seconds.
    max_age_secs: u32,
    /// The public client as which people log in there.
    login_client_id: Option<String>,
    /// The scopes that a login asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    login_scopes: Vec<String>,
    /// When it was made.
    made: String,
    /// Its rules, in the order they are tried.
    rules: Vec<TrustRuleResponse>,
}

/// Identity providers.
#[derive(Serialize, ToSchema)]
pub(super) struct IdentityProviderList {
    identity_providers: Vec<IdentityProviderResponse>,
}

/// A changed identity provider.
#[derive(Serialize, ToSchema)]
pub(super) struct IdentityProviderChanged {
    #[serde(flatten)]
    provider: IdentityProviderResponse,
    /// Whether nothing was done: then this is what would be.
    dry_run: bool,
    /// How many live leases were ended, of sessions that are not let in like that any more.
    ended: u64,
    /// Those of them that their external storages accept until they expire.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    still_taken: Vec<StillTaken>,
}

/// Ended sessions.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionsEnded {
    /// How many live leases ended with them.
    ended: u64,
    /// Those of them that their external storages accept until they expire.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    still_taken: Vec<StillTaken>,
}

fn shown(provider: &IdentityProvider, names: &Names) -> IdentityProviderResponse {
    let texts = |list: &[Box<str>]| list.iter().map(ToString::to_string).collect();
    let rule = |rule: &TrustRule| {
        let TrustRule { id, name, account, caller, role, conditions, outlive_secs } = rule;
        TrustRuleResponse {
            id: id.to_string(),
            name: name.to_string(),
            account: account.to_string(),
            account_name: names.account(*account),
            caller: caller.to_string(),
            role: role.as_str(),
            claims: conditions.iter().map(ToString::to_string).collect(),
            outlive_secs: *outlive_secs,
        }
    };
    let (keys, jwks_uri) = match &provider.keys {
        KeySource::Discovery => ("discovery", None),
        KeySource::Jwks(url) => ("jwks_uri", Some(url.to_string())),
        KeySource::Static(_) => ("jwks", None),
    };
    IdentityProviderResponse {
        id: provider.id.to_string(),
        name: provider.name.to_string(),
        preset: provider.preset.as_str(),
        issuer: provider.issuer.to_string(),
        keys,
        jwks_uri,
        audiences: texts(&provider.audiences),
        parties: texts(&provider.parties),
        subject: provider.subject.iter().map(ToString::to_string).collect(),
        algorithms: provider.algorithms.iter().map(|one| one.as_str()).collect(),
        leeway_secs: provider.leeway_secs,
        max_age_secs: provider.max_age_secs,
        login_client_id: provider.login.as_ref().map(|login| login.client_id.to_string()),
        login_scopes: provider.login.as_ref().map(|login| texts(&login.scopes)).unwrap_or_default(),
        made: wire::at(provider.made),
        rules: provider.rules.iter().map(rule).collect(),
    }
}

fn boxed(texts: Vec<String>) -> Vec<Box<str>> {
    texts.into_iter().map(Into::into).collect()
}

pub(super) fn parsed<T>(
    texts: &[String],
    read: fn(&str) -> Result<T, Error>,
    field: &'static str,
) -> Result<Vec<T>, Error> {
    texts.iter().map(|text| read(text).map_err(|error| error.at(field))).collect()
}

fn algorithms(texts: &[String]) -> Result<Vec<Algorithm>, Error> {
    texts.iter().map(|text| wire::word(text, "an algorithm that is taken", "algorithms")).collect()
}

/// As what people log in, as a request says it of what was so before; an empty client is none.
fn login(
    before: Option<LoginClient>,
    client: Option<String>,
    scopes: Option<Vec<String>>,
) -> Result<Option<LoginClient>, Error> {
    let usual = || vec!["openid".into(), "offline_access".into()];
    match (client, before) {
        (Some(client), _) if client.is_empty() => Ok(None),
        (None, None) if scopes.is_some() => {
            Err(Error::new(Kind::Invalid, "scopes are asked for by a client: name it").at("login_client_id"))
        }
        (None, None) => Ok(None),
        (Some(client), before) => {
            let scopes = scopes.map(boxed).or(before.map(|login| login.scopes)).unwrap_or_else(usual);
            Ok(Some(LoginClient { client_id: client.into(), scopes }))
        }
        (None, Some(before)) => Ok(Some(LoginClient { scopes: scopes.map_or(before.scopes, boxed), ..before })),
    }
}

/// A provider as a request describes it, without rules: its id, version and time are not set.
pub(super) fn described(request: IdentityProviderRequest) -> Result<IdentityProvider, Error> {
    let IdentityProviderRequest {
        name,
        preset,
        issuer,
        audiences,
        jwks_uri,
        jwks,
        parties,
        subject,
        algorithms: signs,
        leeway_secs,
        max_age_secs,
        login_client_id,
        login_scopes,
    } = request;
    let preset: Preset =
        preset.map_or(Ok(Preset::Other), |text| wire::word(&text, "a kind of identity provider", "preset"))?;
    let issuer = issuer.or_else(|| preset.issuer().map(str::to_owned));
    Ok(IdentityProvider {
        id: ProviderId::from_bytes([0; 16]),
        name: wire::named(&name, "name")?,
        preset,
        issuer: issuer
            .ok_or_else(|| Error::new(Kind::Invalid, "name the issuer, as its tokens do (`iss`)").at("issuer"))?
            .into(),
        keys: key_source(jwks_uri, jwks)?.unwrap_or(KeySource::Discovery),
        audiences: boxed(audiences),
        parties: boxed(parties.unwrap_or_default()),
        subject: subject
            .map_or_else(|| Ok(preset.subject()), |texts| parsed(&texts, SubjectClaim::parse, "subject"))?,
        algorithms: signs.map_or_else(|| Ok(Algorithm::ALL.to_vec()), |texts| algorithms(&texts))?,
        leeway_secs: leeway_secs.unwrap_or(LEEWAY),
        max_age_secs: max_age_secs.unwrap_or(MAX_AGE),
        login: login(None, login_client_id, login_scopes)?,
        version: 0,
        made: Timestamp::UNIX_EPOCH,
        rules: Vec::new(),
    })
}

/// Where its keys come from, as a request says it.
fn key_source(jwks_uri: Option<String>, jwks: Option<String>) -> Result<Option<KeySource>, Error> {
    match (jwks_uri, jwks) {
        (None, None) => Ok(None),
        (Some(url), None) => Ok(Some(KeySource::Jwks(url.into()))),
        (None, Some(keys)) => Ok(Some(KeySource::Static(keys.into()))),
        (Some(_), Some(_)) => {
            Err(Error::new(Kind::Invalid, "name the address of its keys or the keys, not both").at("jwks"))
        }
    }
}

/// Where people log in.
#[derive(Serialize, ToSchema)]
pub(super) struct LoginProvider {
    /// The identity provider's name.
    name: String,
    /// Its issuer, whose discovery document names what is asked.
    issuer: String,
    /// The public client as which people log in there.
    client_id: String,
    /// The scopes that are asked for.
    scopes: Vec<String>,
}

/// The identity providers that people log in at.
#[derive(Serialize, ToSchema)]
pub(super) struct LoginProviderList {
    login_providers: Vec<LoginProvider>,
}

/// Lists the identity providers that people log in at with `valetkey login`. Everyone may ask: it is what any login page shows.
#[utoipa::path(get, operation_id = "list_login_providers", path = "/api/v1/login-providers", tag = "identity", security(()), responses(
    (status = 200, description = "Where people log in", body = LoginProviderList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn logins(native: Arc<Native>, _: Plain) -> Result<Reply, Error> {
    let all = native.shared.identities.identity_providers().await?;
    let shown = |one: &Arc<IdentityProvider>| {
        let login = one.login.as_ref()?;
        Some(LoginProvider {
            name: one.name.to_string(),
            issuer: one.issuer.to_string(),
            client_id: login.client_id.to_string(),
            scopes: login.scopes.iter().map(ToString::to_string).collect(),
        })
    };
    Reply::json(&LoginProviderList { login_providers: all.iter().filter_map(shown).collect() })
}

impl Native {
    async fn provider_shown(&self, provider: &IdentityProvider) -> Result<IdentityProviderResponse, Error> {
        let accounts: Vec<_> = provider.rules.iter().map(|rule| rule.account).collect();
        let names = Names::of(self, accounts, []).await?;
        Ok(shown(provider, &names))
    }

    /// Refuses keys that none can be used of, and this server.
    ///
    /// SECURITY: this server is no provider of its own callers: a cloud that was given one of its tokens would be one.
    pub(super) fn trusts(&self, provider: &IdentityProvider) -> Result<(), Error> {
        if let KeySource::Static(keys) = &provider.keys {
            self.shared.signatures.check_keys(keys)?;
        }
        let plain = |url: &str| url.trim_end_matches('/').to_ascii_lowercase();
        if self.shared.own.as_ref().is_some_and(|own| plain(own.issuer()) == plain(&provider.issuer)) {
            let said = "that is this server, whose tokens prove it to others and nobody to it";
            return Err(Error::new(Kind::Invalid, said).at("issuer"));
        }
        Ok(())
    }

    /// The provider that the path names, by name or id.
    async fn identity_provider(&self, call: &Call) -> Result<IdentityProvider, Error> {
        let text = call.params.get("provider")?;
        let all = self.shared.identities.identity_providers().await?;
        let found = all.iter().find(|known| known.name.as_str() == text || known.id.to_string() == text);
        found.map(|known| (**known).clone()).ok_or_else(|| Error::not_found(Noun::IdentityProvider).at("provider"))
    }

    /// Makes a change of a provider, and says what is so then.
    async fn provider_changed(
        &self,
        call: &Call,
        after: IdentityProvider,
        said: Changing,
        authority: Authority,
    ) -> Result<Reply, Error> {
        after.check()?;
        let by = authority.by();
        let provider = self.provider_shown(&after).await?;
        let ended = self.changed(call, &Amendment::IdentityProvider(Box::new(after)), said, authority).await?;
        let still_taken = if said.is_dry() { Vec::new() } else { still_taken(self, by).await? };
        Reply::json(&IdentityProviderChanged { provider, dry_run: said.is_dry(), ended, still_taken })
    }
}

/// Lists identity providers with their rules. For operators.
#[utoipa::path(get, operation_id = "list_identity_providers", path = "/api/v1/identity-providers", tag = "identity", responses(
    (status = 200, description = "Identity providers", body = IdentityProviderList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn list(native: Arc<Native>, _: Call) -> Result<Reply, Error> {
    let all = native.shared.identities.identity_providers().await?;
    let accounts: Vec<_> = all.iter().flat_map(|one| &one.rules).map(|rule| rule.account).collect();
    let names = Names::of(&native, accounts, []).await?;
    let identity_providers = all.iter().map(|one| shown(one, &names)).collect();
    Reply::json(&IdentityProviderList { identity_providers })
}

/// Shows an identity provider with its rules. For operators.
#[utoipa::path(get, operation_id = "get_identity_provider", path = "/api/v1/identity-providers/{provider}", tag = "identity", params(
    ("provider" = String, Path, description = "The provider's name or id"),
), responses(
    (status = 200, description = "The identity provider", body = IdentityProviderResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn get(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let provider = native.identity_provider(&call).await?;
    Reply::json(&native.provider_shown(&provider).await?)
}

/// Adds an identity provider. Its tokens let in nobody until it has a rule. For operators.
#[utoipa::path(post, operation_id = "create_identity_provider", path = "/api/v1/identity-providers", tag = "identity", request_body = IdentityProviderRequest, responses(
    (status = 201, description = "The identity provider", body = IdentityProviderResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn create(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let new = described(json(&call.body)?)?;
    native.trusts(&new)?;
    let made = native.shared.registry.by(authority).create_identity_provider(new, call.now).await?;
    Reply::made(&native.provider_shown(&made).await?)
}

/// Changes an identity provider. Unless only its name is another, its sessions end, with what was vended to them. For operators.
#[utoipa::path(patch, operation_id = "change_identity_provider", path = "/api/v1/identity-providers/{provider}", tag = "identity", request_body = IdentityProviderChange, params(
    ("provider" = String, Path, description = "The provider's name or id"),
    ("end_credentials" = Option<bool>, Query, description = "`false` to let the sessions there are live on"),
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean"),
), responses(
    (status = 200, description = "The identity provider", body = IdentityProviderChanged),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn change(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let said = Changing::read(&call.query)?;
    let IdentityProviderChange {
        name,
        issuer,
        audiences,
        discovery,
        jwks_uri,
        jwks,
        parties,
        subject,
        algorithms: signs,
        leeway_secs,
        max_age_secs,
        login_client_id,
        login_scopes,
    } = json(&call.body)?;
    let keys = match (key_source(jwks_uri, jwks)?, discovery.unwrap_or(false)) {
        (Some(_), true) => {
            let said = "say where its keys come from in one way";
            return Err(Error::new(Kind::Invalid, said).at("discovery"));
        }
        (None, true) => Some(KeySource::Discovery),
        (keys, false) => keys,
    };
    let subject = subject.map(|texts| parsed(&texts, SubjectClaim::parse, "subject")).transpose()?;
    let signs = signs.map(|texts| algorithms(&texts)).transpose()?;
    let name: Option<Name> = name.map(|text| wire::named(&text, "name")).transpose()?;
    let before = native.identity_provider(&call).await?;
    let after = IdentityProvider {
        name: name.unwrap_or(before.name),
        issuer: issuer.map_or(before.issuer, Into::into),
        keys: keys.unwrap_or(before.keys),
        audiences: audiences.map_or(before.audiences, boxed),
        parties: parties.map_or(before.parties, boxed),
        subject: subject.unwrap_or(before.subject),
        algorithms: signs.unwrap_or(before.algorithms),
        leeway_secs: leeway_secs.unwrap_or(before.leeway_secs),
        max_age_secs: max_age_secs.unwrap_or(before.max_age_secs),
        login: login(before.login, login_client_id, login_scopes)?,
        ..before
    };
    native.trusts(&after)?;
    native.provider_changed(&call, after, said, authority).await
}

/// Removes an identity provider with its rules; its sessions end, with what was vended to them. For operators.
#[utoipa::path(delete, operation_id = "remove_identity_provider", path = "/api/v1/identity-providers/{provider}", tag = "identity", params(
    ("provider" = String, Path, description = "The provider's name or id"),
    ("last_operator" = Option<bool>, Query, description = "`true` to end the last token of an operator, too"),
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean"),
), responses(
    (status = 200, description = "It is removed, or what that would mean", body = Removal),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn remove(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let said = Said::read(&call.query)?;
    let provider = native.identity_provider(&call).await?;
    Reply::json(&native.removed(&call, authority, &Thing::IdentityProvider(provider.id), said).await?)
}

/// Adds a rule to an identity provider: whose tokens become which caller. For operators.
#[utoipa::path(post, operation_id = "create_trust_rule", path = "/api/v1/identity-providers/{provider}/rules", tag = "identity", request_body = TrustRuleRequest, params(
    ("provider" = String, Path, description = "The provider's name or id"),
), responses(
    (status = 200, description = "The identity provider", body = IdentityProviderChanged),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn create_rule(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let TrustRuleRequest { name, account, caller, claims, role, outlive_secs } = json(&call.body)?;
    let name: Name = wire::named(&name, "name")?;
    let mut rule = TrustRule {
        id: RuleId::new(call.now, random_10(&*native.shared.entropy)),
        name,
        account: call.caller.account,
        caller: CallerTemplate::parse(&caller).map_err(|error| error.at("caller"))?,
        role: role.as_deref().map_or(Ok(Role::Member), authz::role)?,
        conditions: parsed(&claims, Condition::parse, "claims")?,
        outlive_secs,
    };
    let mut after = native.identity_provider(&call).await?;
    if after.rules.iter().any(|known| known.name == rule.name) {
        return Err(Error::taken(Noun::TrustRule, &rule.name));
    }
    rule.account = native.account(&call, Some(&account)).await?.id;
    after.rules.push(rule);
    native.provider_changed(&call, after, Changing::read(&call.query)?, authority).await
}

/// Changes a rule. What it let in ends, with what was vended to it, unless only its name is another. For operators.
#[utoipa::path(patch, operation_id = "change_trust_rule", path = "/api/v1/identity-providers/{provider}/rules/{rule}", tag = "identity", request_body = TrustRuleChange, params(
    ("provider" = String, Path, description = "The provider's name or id"),
    ("rule" = String, Path, description = "The rule's name or id"),
    ("end_credentials" = Option<bool>, Query, description = "`false` to let the sessions there are live on"),
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean"),
), responses(
    (status = 200, description = "The identity provider", body = IdentityProviderChanged),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn change_rule(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let said = Changing::read(&call.query)?;
    let TrustRuleChange { name, account, caller, claims, role, outlive_secs } = json(&call.body)?;
    let name: Option<Name> = name.map(|text| wire::named(&text, "name")).transpose()?;
    let template = caller.map(|text| CallerTemplate::parse(&text).map_err(|error| error.at("caller"))).transpose()?;
    let claims = claims.map(|texts| parsed(&texts, Condition::parse, "claims")).transpose()?;
    let role = role.as_deref().map(authz::role).transpose()?;
    let mut after = native.identity_provider(&call).await?;
    let account = match account {
        Some(text) => Some(native.account(&call, Some(&text)).await?.id),
        None => None,
    };
    let at = of_path(&after, &call)?;
    let Some(known) = after.rules.get_mut(at) else { return Err(Error::not_found(Noun::TrustRule).at("rule")) };
    let before = known.clone();
    *known = TrustRule {
        name: name.unwrap_or(before.name),
        account: account.unwrap_or(before.account),
        caller: template.unwrap_or(before.caller),
        conditions: claims.unwrap_or(before.conditions),
        role: role.unwrap_or(before.role),
        outlive_secs: outlive_secs.map_or(before.outlive_secs, |secs| Some(secs).filter(|secs| *secs > 0)),
        id: before.id,
    };
    native.provider_changed(&call, after, said, authority).await
}

/// Removes a rule; what it let in ends, with what was vended to it. For operators.
#[utoipa::path(delete, operation_id = "remove_trust_rule", path = "/api/v1/identity-providers/{provider}/rules/{rule}", tag = "identity", params(
    ("provider" = String, Path, description = "The provider's name or id"),
    ("rule" = String, Path, description = "The rule's name or id"),
    ("last_operator" = Option<bool>, Query, description = "`true` to end the last token of an operator, too"),
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean"),
), responses(
    (status = 200, description = "It is removed, or what that would mean", body = Removal),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn remove_rule(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let said = Said::read(&call.query)?;
    let provider = native.identity_provider(&call).await?;
    let rule = provider.rules.get(of_path(&provider, &call)?).map(|rule| rule.id);
    let rule = rule.ok_or_else(|| Error::not_found(Noun::TrustRule).at("rule"))?;
    Reply::json(&native.removed(&call, authority, &Thing::TrustRule(rule), said).await?)
}

fn of_path(provider: &IdentityProvider, call: &Call) -> Result<usize, Error> {
    let text = call.params.get("rule")?;
    named_rule(provider, text).ok_or_else(|| Error::not_found(Noun::TrustRule).at("rule"))
}

fn named_rule(provider: &IdentityProvider, text: &str) -> Option<usize> {
    provider.rules.iter().position(|known| known.name.as_str() == text || known.id.to_string() == text)
}

/// Ends sessions of an identity provider, with what was vended to them, and refuses tokens that were issued before. For operators.
#[utoipa::path(post, operation_id = "end_sessions", path = "/api/v1/identity-providers/{provider}/revocations", tag = "identity", request_body = SessionRevocation, params(
    ("provider" = String, Path, description = "The provider's name or id"),
), responses(
    (status = 200, description = "They have ended", body = SessionsEnded),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn end(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let SessionRevocation { subject, rule, token_id } = json(&call.body)?;
    let words = |text: String, field| wire::words(text, field, 512).map(Into::into);
    let (subject, jti) = (
        subject.map(|text| words(text, "subject")).transpose()?,
        token_id.map(|text| words(text, "token_id")).transpose()?,
    );
    let provider = native.identity_provider(&call).await?;
    let what = match (subject, rule, jti) {
        (None, None, None) => Cutoff::Provider,
        (Some(subject), None, None) => Cutoff::Subject(subject),
        (None, Some(text), None) => {
            let rule = named_rule(&provider, &text).and_then(|at| provider.rules.get(at));
            Cutoff::Rule(rule.ok_or_else(|| Error::not_found(Noun::TrustRule).at("rule"))?.id)
        }
        (None, None, Some(jti)) => Cutoff::TokenId(jti),
        _ => {
            let said = "name a subject, a rule or a token's id: one of them, or none for all sessions";
            return Err(Error::new(Kind::Invalid, said).at("subject"));
        }
    };
    let by = authority.by();
    let ended = native.shared.registry.by(authority).end_sessions(provider.id, &what, by).await?;
    Reply::json(&SessionsEnded { ended, still_taken: still_taken(&native, by).await? })
}
