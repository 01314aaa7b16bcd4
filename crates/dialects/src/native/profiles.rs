//! What a recipient's profile is made of: `POST /api/v1/share-profiles`, `POST /api/v1/share-links`.
//!
//! A profile proves a caller like a token does: who may make the caller's tokens may make it.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::account::Account;
use valetkey_core::caller::Role;
use valetkey_core::error::Noun;
use valetkey_core::id::CallerId;
use valetkey_core::name::Name;
use valetkey_core::nouns::share::{LinkCode, ProfileKind, ProfileLink};
use valetkey_core::time::Lifetime;
use valetkey_core::token::PlainToken;
use valetkey_core::{Error, Kind};

use super::api::profiles::{LinkRequest, ProfileRequest};
use super::error::Problem;
use super::state::Native;
use super::{authz, wire};
use crate::edge::{Authority, Call, Reply, json};

/// How long links live, if nothing else is said: three days.
const USUAL_LINK: Lifetime = Lifetime::secs(3 * 86_400);
/// The longest links live: thirty days.
const LONGEST_LINK: Lifetime = Lifetime::secs(30 * 86_400);

/// What a profile is made of. The token is shown this once.
#[derive(Serialize, ToSchema)]
pub(super) struct ProfileParts<'a> {
    /// The URL that a profile names.
    endpoint: &'a str,
    /// The token: shown this once.
    token: &'a str,
    /// The token's id, as an OAuth client's id.
    client_id: String,
    /// The token's id.
    id: String,
    /// When the token ends.
    expires: Option<String>,
    /// The caller's tokens that end now or after the grace period, by id.
    replaced: Vec<String>,
    /// What was asked for and not given, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cuts: Vec<String>,
}

impl Native {
    /// The caller a profile is for, which is a member: a profile must not open what is for admins.
    async fn recipient(
        &self,
        (call, authority): (&Call, Authority),
        account: Option<&str>,
        name: &Name,
    ) -> Result<(Account, CallerId), Error> {
        let account = self.account(call, account).await?;
        let registry = self.shared.registry.by(authority);
        let caller = registry.ensure_caller(account.id, name, Role::Member, call.now).await?;
        Ok((account, caller))
    }

    async fn replace(
        &self,
        (call, authority): (&Call, Authority),
        account: &Account,
        caller: CallerId,
        grace: i64,
    ) -> Result<Vec<String>, Error> {
        let registry = self.shared.registry.by(authority);
        registry.end_links(caller).await?;
        let mut replaced = Vec::new();
        for token in registry.tokens(Some(account.id)).await? {
            let over = token.revoked.is_some() || token.until.is_some_and(|until| until <= call.now);
            if token.caller != caller || over {
                continue;
            }
            if grace == 0 {
                registry.revoke_token(token.id, authority.by()).await?;
            } else {
                registry.end_token_at(token.id, lifetime(grace, "replace_after_secs")?.ends(call.now)).await?;
            }
            replaced.push(token.id.to_string());
        }
        Ok(replaced)
    }
}

fn lifetime(secs: i64, field: &'static str) -> Result<Lifetime, Error> {
    Lifetime::parse(secs).map_err(|error| error.at(field))
}

/// Makes what a recipient's profile consists of: a token, and where to use it. For admins in their account.
#[utoipa::path(post, operation_id = "create_share_profile", path = "/api/v1/share-profiles", tag = "shares", request_body = ProfileRequest, responses(
    (status = 201, description = "The parts of a profile", body = ProfileParts<'static>),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn create(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let ProfileRequest { account, caller, expires_in_secs, outlive, replace_after_secs } = json(&call.body)?;
    let maker = authz::maker(&call, outlive)?;
    let name: Name = wire::named(&caller, "caller")?;
    let until = expires_in_secs.map(|secs| lifetime(secs, "expires_in_secs")).transpose()?;
    let until: Option<Timestamp> = until.map(|lifetime| lifetime.ends(call.now));
    if let Some(secs) = replace_after_secs.filter(|secs| *secs != 0) {
        lifetime(secs, "replace_after_secs")?;
    }
    if replace_after_secs.is_some() {
        // What is to be replaced must be there: a misspelt name must not make another recipient.
        let account = native.account(&call, account.as_deref()).await?;
        native
            .caller_in(account.id, name.as_str())
            .await?
            .ok_or_else(|| Error::not_found(Noun::Caller).at("caller"))?;
    }
    let (account, caller) = native.recipient((&call, authority), account.as_deref(), &name).await?;
    let replaced = match replace_after_secs {
        Some(grace) => native.replace((&call, authority), &account, caller, grace).await?,
        None => Vec::new(),
    };
    let token = PlainToken::generate(&*native.shared.entropy);
    let record = native.shared.registry.by(authority).create_token(caller, &token, until, maker, call.now).await?;
    Reply::made(&ProfileParts {
        endpoint: &native.settings.sharing_url,
        token: token.reveal(),
        client_id: record.id.as_uuid(),
        id: record.id.to_string(),
        expires: record.until.map(wire::at),
        replaced,
        cuts: authz::cuts(until, record.until),
    })
}

/// A link. It is shown this once.
#[derive(Serialize, ToSchema)]
pub(super) struct LinkMade {
    /// Where the profile is downloaded, once.
    url: String,
    /// Until when.
    expires: String,
    /// The profile's token ends no later.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_ends_by: Option<String>,
}

/// Makes a link to download a profile once; its token is made at the download. For admins in their account.
#[utoipa::path(post, operation_id = "create_share_link", path = "/api/v1/share-links", tag = "shares", request_body = LinkRequest, responses(
    (status = 201, description = "The link", body = LinkMade),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn link(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let LinkRequest { account, caller, kind, expires_in_secs, outlive, link_ttl_secs } = json(&call.body)?;
    let maker = authz::maker(&call, outlive)?;
    let name: Name = wire::named(&caller, "caller")?;
    let kind = match kind.as_deref() {
        None => ProfileKind::Bearer,
        Some(text) => ProfileKind::parse(text)
            .ok_or_else(|| Error::new(Kind::Invalid, "a profile's kind is `bearer` or `oauth`").at("kind"))?,
    };
    let token_lifetime = expires_in_secs.map(|secs| lifetime(secs, "expires_in_secs")).transpose()?;
    let life = link_ttl_secs.map_or(Ok(USUAL_LINK), |secs| lifetime(secs, "link_ttl_secs"))?;
    if life > LONGEST_LINK {
        let said = format!("a link lives at most {LONGEST_LINK}");
        return Err(Error::new(Kind::Invalid, said).at("link_ttl_secs"));
    }
    let (_, caller) = native.recipient((&call, authority), account.as_deref(), &name).await?;
    let code = LinkCode::generate(&*native.shared.entropy);
    let until = life.ends(call.now);
    let link = ProfileLink { caller, kind, token_lifetime, until, made_by: None, no_later: None };
    let link = native.shared.registry.by(authority).create_link(&code.digest(), link, maker, call.now).await?;
    let url = format!("{}/profile/{}", native.settings.sharing_url, code.reveal());
    let token_ends_by = link.no_later.map(wire::at);
    Reply::made(&LinkMade { url, expires: wire::at(link.until), token_ends_by })
}
