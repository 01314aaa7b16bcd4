//! Identity providers and their trust rules.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::given::given;

/// An identity provider to be added.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentityProviderRequest {
    /// Its name.
    pub name: String,
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
    /// Its keys themselves, a JSON Web Key Set as text, for an issuer that this server does not reach.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub jwks: Option<String>,
    /// The clients (`azp`) whose tokens are taken; any if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub parties: Option<Vec<String>>,
    /// The claims that a subject is made of, `?` behind those that may be missing; as is usual for the kind if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub subject: Option<Vec<String>>,
    /// How it may sign; `RS256` to `RS512`, `PS256` to `PS512`, `ES256`, `ES384` and `EdDSA` if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub algorithms: Option<Vec<String>>,
    /// By how many seconds its clock may differ; 60 if not given, at most 300.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub leeway_secs: Option<u32>,
    /// How old a token may be that says when it was issued, in seconds; a day if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub max_age_secs: Option<u32>,
    /// The public client as which people log in there with `valetkey login`; nobody does if not given. It is one of the audiences.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub login_client_id: Option<String>,
    /// The scopes that a login asks for; `openid` and `offline_access` if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub login_scopes: Option<Vec<String>>,
}

/// What to change of an identity provider; what is not given stays.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentityProviderChange {
    /// Its name.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What its tokens say that issued them.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The audiences that its tokens are asked for.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub audiences: Option<Vec<String>>,
    /// `true` to ask its discovery document where its keys are.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub discovery: Option<bool>,
    /// Where its keys are.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// Its keys themselves, a JSON Web Key Set as text.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub jwks: Option<String>,
    /// The clients (`azp`) whose tokens are taken; any if the list is empty.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub parties: Option<Vec<String>>,
    /// The claims that a subject is made of.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub subject: Option<Vec<String>>,
    /// How it may sign.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub algorithms: Option<Vec<String>>,
    /// By how many seconds its clock may differ.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub leeway_secs: Option<u32>,
    /// How old a token may be that says when it was issued, in seconds.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub max_age_secs: Option<u32>,
    /// The public client as which people log in there with `valetkey login`; empty for nobody.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub login_client_id: Option<String>,
    /// The scopes that a login asks for.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub login_scopes: Option<Vec<String>>,
}

/// A trust rule to be added. Without rules a provider's tokens let in nobody.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustRuleRequest {
    /// Its name, unique among its provider's.
    pub name: String,
    /// The account of the caller, by name or id.
    pub account: String,
    /// The caller that a token becomes: a name, or one with one placeholder, `ci-{repository_id}` or `{subject}`. It is made when it is not
    /// there; a caller that was made otherwise is only used by a rule that names it without a placeholder.
    pub caller: String,
    /// What the token has to claim, each `claim=value` or `claim=glob:refs/tags/*`; a claim inside another is named by a JSON pointer,
    /// `/kubernetes.io/namespace=prod`. All must hold; of several of one claim, any.
    pub claims: Vec<String>,
    /// The caller's role; `member` if not given.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// How many seconds from its first use what is vended to the token may live, even if the token ends sooner; at most 43200.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub outlive_secs: Option<u32>,
}

/// What to change of a trust rule; what is not given stays.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustRuleChange {
    /// Its name.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The account of the caller.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The caller that a token becomes.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// What the token has to claim.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub claims: Option<Vec<String>>,
    /// The caller's role.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// How many seconds from its first use what is vended to the token may live; 0 for no longer than the token.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub outlive_secs: Option<u32>,
}

/// Which sessions of an identity provider end; all if nothing is given. Tokens that were issued before are refused from then on.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionRevocation {
    /// Those of this subject.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Those of this rule.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// That of the token of this id (`jti`), also if it was not seen yet.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
}
