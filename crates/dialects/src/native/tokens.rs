//! Tokens: `GET` and `POST /api/v1/tokens`, `PATCH` and `DELETE /api/v1/tokens/{token}`.

use std::sync::Arc;

use jiff::SignedDuration;
use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::caller::Role;
use valetkey_core::error::Noun;
use valetkey_core::id::TokenId;
use valetkey_core::name::Name;
use valetkey_core::nouns::registry::{TokenFilter, TokenRecord};
use valetkey_core::nouns::removal::{Amendment, Thing, last_operator};
use valetkey_core::token::PlainToken;
use valetkey_core::{Error, Kind};

use super::api::given::Whom;
use super::api::tokens::{TokenChange, TokenRequest};
use super::ended::{StillTaken, still_taken};
use super::ending::{Extent, LastOperator};
use super::error::Problem;
use super::lists::Names;
use super::removal::{Changing, Said};
use super::state::Native;
use super::{authz, lists, wire};
use crate::edge::{Authority, Call, Reply, json};

/// A token, without what proves it.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenResponse {
    /// Its id.
    id: String,
    /// Its id as a UUID, as other dialects write it.
    uuid: String,
    /// Whose.
    account: String,
    /// That account's name; in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    account_name: Option<String>,
    /// Whose, by id.
    caller: String,
    /// Whose, by name.
    caller_name: String,
    /// What the caller may do: `member`, `admin` or `operator`.
    role: &'static str,
    /// The token's last four characters.
    tail: String,
    /// When it was made.
    made: String,
    /// When it ends by itself.
    expires: Option<String>,
    /// When it was ended early.
    revoked: Option<String>,
    /// The token that made it, by id; nothing if the server itself did, or an older version.
    made_by: Option<String>,
    /// Whether its caller is served: `active`, `suspended` or `removed`.
    standing: &'static str,
}

impl TokenResponse {
    pub(super) fn of(record: &TokenRecord) -> Self {
        let TokenRecord { id, caller, caller_name, account, role, tail, made, until, revoked, made_by, standing } =
            record;
        Self {
            id: id.to_string(),
            uuid: id.as_uuid(),
            account: account.to_string(),
            account_name: None,
            caller: caller.to_string(),
            caller_name: caller_name.to_string(),
            role: role.as_str(),
            tail: tail.clone(),
            made: wire::at(*made),
            expires: until.map(wire::at),
            revoked: revoked.map(wire::at),
            made_by: made_by.map(|maker| maker.to_string()),
            standing: standing.as_str(),
        }
    }
}

/// Tokens.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenList {
    tokens: Vec<TokenResponse>,
    /// What to send as `after` for the next page; nothing when there is none.
    next_after: Option<String>,
}

/// Lists tokens in the order they were made: a member its own, an admin its account's, an operator all or one account's.
#[utoipa::path(get, operation_id = "list_tokens", path = "/api/v1/tokens", tag = "tokens", params(
    ("account" = Option<String>, Query, description = "Only this account's (name or id); for operators"),
    ("caller" = Option<String>, Query, description = "Only this caller's (id, `account/name`, or name in the account)"),
    ("since" = Option<String>, Query, description = "Only those made since (RFC 3339)"),
    ("since_secs" = Option<u32>, Query, description = "Only those made in the last N seconds"),
    ("after" = Option<String>, Query, description = "The `next_after` of the page before"),
    ("limit" = Option<u32>, Query, description = "1 to 10000; 1000 if not given"),
), responses(
    (status = 200, description = "Tokens", body = TokenList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn list(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let query = &call.query;
    let limit = lists::size(query)?;
    let filter = TokenFilter {
        account: native.listed(&call, query.get("account")).await?,
        caller: native.caller_of_list(&call, query.get("account"), query.get("caller")).await?.map(|known| known.id),
        since: lists::since(query, call.now)?,
        after: query.get("after").map(|text| wire::named(text, "after")).transpose()?,
        limit: limit + 1,
    };
    let (records, more) = lists::page(native.shared.registry.list_tokens(&filter).await?, limit);
    let next_after = records.last().filter(|_| more).map(|last| last.id.to_string());
    let names = Names::of(&native, records.iter().map(|record| record.account), []).await?;
    let shown = |record: &TokenRecord| TokenResponse {
        account_name: names.account(record.account),
        ..TokenResponse::of(record)
    };
    Reply::json(&TokenList { tokens: records.iter().map(shown).collect(), next_after })
}

/// A token, with what proves it: shown this once.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenMade<'a> {
    /// The token: shown this once.
    token: &'a str,
    /// What was asked for and not given, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cuts: Vec<String>,
    #[serde(flatten)]
    shown: TokenResponse,
}

/// Makes a token, and its caller if there is none. For admins in their account, never for a role above their own.
#[utoipa::path(post, operation_id = "create_token", path = "/api/v1/tokens", tag = "tokens", request_body = TokenRequest, responses(
    (status = 201, description = "The token", body = TokenMade<'static>),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn create(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let fields: TokenRequest = json(&call.body)?;
    let account = native.account(&call, fields.account.as_deref()).await?.id;
    let name: Name = wire::named(&fields.caller, "caller")?;
    let known = native.caller_in(account, name.as_str()).await?;
    let maker = authz::maker(&call, fields.outlive)?;
    let role = match (&fields.role, &known) {
        (Some(text), _) => authz::role(text)?,
        (None, Some(known)) => known.role,
        (None, None) => Role::Member,
    };
    authz::not_above(&call.caller, role)?;
    if let Some(known) = &known {
        authz::not_above(&call.caller, known.role)?;
    }
    let until = fields.expires_in_secs.map(|secs| end_of(&call, secs)).transpose()?;
    let registry = &native.shared.registry;
    // With the role that was checked: if the caller got another one meanwhile, this refuses.
    let caller = registry.by(authority).ensure_caller(account, &name, role, call.now).await?;
    let token = PlainToken::generate(&*native.shared.entropy);
    let record = registry.by(authority).create_token(caller, &token, until, maker, call.now).await?;
    Reply::made(&TokenMade {
        token: token.reveal(),
        cuts: authz::cuts(until, record.until),
        shown: TokenResponse::of(&record),
    })
}

/// The longest a token may be told to live: ten years.
const LONGEST_SECS: i64 = 315_360_000;

fn end_of(call: &Call, secs: i64) -> Result<jiff::Timestamp, Error> {
    let refused = || {
        Error::new(
            Kind::Invalid,
            format!("{secs} is not a lifetime in seconds; the least is 1 and the most {LONGEST_SECS}"),
        )
        .at("expires_in_secs")
    };
    if !(1..=LONGEST_SECS).contains(&secs) {
        return Err(refused());
    }
    call.now.checked_add(SignedDuration::from_secs(secs)).map_err(|_| refused())
}

/// Ends a token and every credential vended with it: a member its own, an admin its account's, an operator any.
#[utoipa::path(delete, operation_id = "end_token", path = "/api/v1/tokens/{token}", tag = "tokens", params(
    ("token" = String, Path, description = "The token's id (not the token)"),
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean, of the token alone"),
    ("with_made" = Option<bool>, Query, description = "Also the tokens that it made, those that they made, and the links to download one that were not used"),
    ("last_operator" = Option<bool>, Query, description = "Even if no operator has a token that is good afterwards"),
), responses(
    (status = 200, description = "It is ended", body = TokenEnded),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn end(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let query = &call.query;
    if query.flag("dry_run")?.unwrap_or(false) {
        let id: TokenId = wire::in_path(call.params.get("token")?, Noun::Token, "token")?;
        authz::not_above(&call.caller, native.token(&call, id).await?.role)?;
        return Reply::json(&native.removed(&call, authority, &Thing::Token(id), Said::read(query)?).await?);
    }
    let with = Extent::of(query.flag("with_made")?);
    let last = LastOperator::of(query.flag("last_operator")?);
    let id: TokenId = wire::in_path(call.params.get("token")?, Noun::Token, "token")?;
    let record = native.token(&call, id).await?;
    let doomed = native.doomed(&call, vec![record.clone()], with, last).await?;
    let by = authority.by();
    let ended = doomed.end(&native, authority).await?;
    let revoked = record.revoked.or(Some(call.now));
    let token = TokenResponse::of(&TokenRecord { revoked, ..record });
    let made = ended.tokens.iter().filter(|other| **other != id).map(ToString::to_string).collect();
    Reply::json(&TokenEnded { token, made_ended: made, still_taken: still_taken(&native, by).await? })
}

/// Changes when a token ends, never to later than the token that says so. Credentials vended with it that would outlive it end, unless
/// said otherwise. A member its own, an admin its account's, an operator any.
#[utoipa::path(patch, operation_id = "change_token", path = "/api/v1/tokens/{token}", tag = "tokens", request_body = TokenChange, params(
    ("token" = String, Path, description = "The token's id (not the token)"),
    ("end_credentials" = Option<bool>, Query, description = "`false` to let what was vended with it live on"),
    ("last_operator" = Option<bool>, Query, description = "Even if no operator has a token that is good a day from now"),
    ("dry_run" = Option<bool>, Query, description = "Only say what it would mean"),
), responses(
    (status = 200, description = "The token", body = TokenChanged),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn change(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let said = Changing::read(&call.query)?;
    let TokenChange { expires_in_secs, outlive } = json(&call.body)?;
    let id: TokenId = wire::in_path(call.params.get("token")?, Noun::Token, "token")?;
    match LastOperator::of(call.query.flag("last_operator")?) {
        LastOperator::MayGo => {}
        LastOperator::Stays if said.is_dry() => {}
        LastOperator::Stays => native.keep_an_operator_after(&call, id, &expires_in_secs).await?,
    }
    let (record, ended) = native.token_until((&call, authority), id, expires_in_secs, outlive, said).await?;
    let token = TokenResponse::of(&record);
    let still_taken = if said.is_dry() { Vec::new() } else { still_taken(&native, authority.by()).await? };
    Reply::json(&TokenChanged { token, dry_run: said.is_dry(), ended, still_taken })
}

/// A token whose end was changed.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenChanged {
    #[serde(flatten)]
    token: TokenResponse,
    /// Whether nothing was done: then the token is as it was.
    dry_run: bool,
    /// How many live leases would have outlived it, and were ended.
    ended: u64,
    /// Those of them that their external storages accept until they expire.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    still_taken: Vec<StillTaken>,
}

/// Whoever ends the last token of an operator sooner than this is asked whether that is meant: later there is time to make another.
const SOON_SECS: i64 = 86_400;

impl Native {
    /// Refuses to let the last token of an operator end soon.
    async fn keep_an_operator_after(&self, call: &Call, id: TokenId, secs: &Whom<i64>) -> Result<(), Error> {
        let Whom::Named(secs) = *secs else { return Ok(()) };
        let record = self.token(call, id).await?;
        if secs >= SOON_SECS || !is_good_operator(&record, call) {
            return Ok(());
        }
        let until = end_of(call, secs)?;
        if record.until.is_some_and(|own| own <= until) {
            return Ok(());
        }
        let all = self.shared.registry.tokens(None).await?;
        let stays =
            |one: &TokenRecord| one.id != id && is_good_operator(one, call) && one.until.is_none_or(|own| until < own);
        if all.iter().any(stays) { Ok(()) } else { Err(last_operator()) }
    }

    /// Changes when a token ends. Says what it is then, and how many leases ended.
    pub(super) async fn token_until(
        &self,
        (call, authority): (&Call, Authority),
        id: TokenId,
        secs: Whom<i64>,
        outlive: Option<bool>,
        said: Changing,
    ) -> Result<(TokenRecord, u64), Error> {
        let record = self.token(call, id).await?;
        authz::not_above(&call.caller, record.role)?;
        let words = "say after how many seconds it ends, or `null` for as long as the token that says so";
        let until = secs.said("expires_in_secs", words)?.map(|secs| end_of(call, secs)).transpose()?;
        let change = Amendment::Token { id, until, maker: authz::maker(call, outlive)? };
        let ended = self.changed(call, &change, said, authority).await?;
        Ok((self.token(call, id).await?, ended))
    }
}

fn is_good_operator(record: &TokenRecord, call: &Call) -> bool {
    match record.role {
        Role::Operator => record.is_live(call.now),
        Role::Admin | Role::Member | Role::Auditor | Role::Planner => false,
    }
}

/// A token that was ended.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenEnded {
    #[serde(flatten)]
    token: TokenResponse,
    /// The tokens that it had made and that were ended with it, by id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    made_ended: Vec<String>,
    /// Credentials that were ended with it and that their external storages accept until they expire.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    still_taken: Vec<StillTaken>,
}
