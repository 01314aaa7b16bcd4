//! Ending tokens: which, whether the caller may, and what is left. Everything here that ends one goes through [`Doomed`].

use std::collections::BTreeSet;

use valetkey_core::caller::Role;
use valetkey_core::error::Noun;
use valetkey_core::id::TokenId;
use valetkey_core::nouns::registry::TokenRecord;
use valetkey_core::nouns::removal::{How, Thing, last_operator};
use valetkey_core::token::PlainToken;
use valetkey_core::{Error, Kind};

use super::state::Native;
use super::{authz, wire};
use crate::edge::{Authority, Call};

/// How far an ending goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Extent {
    /// The tokens themselves.
    Alone,
    /// Also what they made, and what that made.
    WithMade,
}

impl Extent {
    pub(super) const fn of(with_made: Option<bool>) -> Self {
        match with_made {
            Some(true) => Self::WithMade,
            Some(false) | None => Self::Alone,
        }
    }
}

/// Whether the last token of an operator may be ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LastOperator {
    /// It stays.
    Stays,
    /// Who asks said that it may go.
    MayGo,
}

impl LastOperator {
    pub(super) const fn of(said: Option<bool>) -> Self {
        match said {
            Some(true) => Self::MayGo,
            Some(false) | None => Self::Stays,
        }
    }
}

/// Tokens that the caller may end.
pub(super) struct Doomed {
    pub(super) tokens: Vec<TokenRecord>,
    extent: Extent,
    last: LastOperator,
}

/// What was ended.
pub(super) struct EndedTokens {
    /// Tokens that were live until now.
    pub(super) tokens: Vec<TokenId>,
    /// Links to download one that were not used.
    pub(super) links: u64,
    /// Live leases.
    pub(super) leases: u64,
}

impl Native {
    /// A token's record that the caller may know of.
    pub(super) async fn token(&self, call: &Call, id: TokenId) -> Result<TokenRecord, Error> {
        let found = self.shared.registry.token_by_id(id).await?;
        found
            .filter(|record| authz::may_see(&call.caller, record.account, record.caller))
            .ok_or_else(|| Error::not_found(Noun::Token).at("token"))
    }

    /// The same, named by its id or by the token itself.
    pub(super) async fn token_named(&self, call: &Call, text: &str) -> Result<TokenRecord, Error> {
        if !text.starts_with("vkt_") {
            return self.token(call, wire::named(text, "token")?).await;
        }
        let token = PlainToken::parse(text).map_err(|_| {
            Error::new(Kind::Invalid, "this is not a whole token: its checksum does not fit").at("token")
        })?;
        let found = self.shared.registry.token_of(token.digest()).await?;
        found
            .filter(|record| authz::may_see(&call.caller, record.account, record.caller))
            .ok_or_else(|| Error::not_found(Noun::Token).at("token"))
    }

    /// Says that these tokens, and what they made if that is meant too, may be ended by the caller.
    ///
    /// # Errors
    /// `Forbidden` for a role above the caller's; `Invalid` where no operator could come in afterwards.
    pub(super) async fn doomed(
        &self,
        call: &Call,
        mut tokens: Vec<TokenRecord>,
        extent: Extent,
        last: LastOperator,
    ) -> Result<Doomed, Error> {
        match extent {
            Extent::Alone => {}
            Extent::WithMade => {
                let mut known: BTreeSet<TokenId> = tokens.iter().map(|record| record.id).collect();
                for id in known.clone() {
                    let made = self.shared.registry.tokens_made_by(id).await?;
                    tokens.extend(made.into_iter().filter(|record| known.insert(record.id)));
                }
            }
        }
        for record in &tokens {
            authz::not_above(&call.caller, record.role)?;
            if !authz::may_see(&call.caller, record.account, record.caller) {
                return Err(Error::new(Kind::Forbidden, "it made tokens that are not yours to end: ask an operator"));
            }
        }
        match last {
            LastOperator::MayGo => {}
            LastOperator::Stays => self.keep_an_operator(call, &tokens).await?,
        }
        Ok(Doomed { tokens, extent, last })
    }

    async fn keep_an_operator(&self, call: &Call, tokens: &[TokenRecord]) -> Result<(), Error> {
        let counts = |record: &TokenRecord| match record.role {
            Role::Operator => record.is_live(call.now),
            Role::Admin | Role::Member | Role::Auditor | Role::Planner => false,
        };
        if !tokens.iter().any(counts) {
            return Ok(());
        }
        let all = self.shared.registry.tokens(None).await?;
        let stays = |record: &TokenRecord| counts(record) && tokens.iter().all(|other| other.id != record.id);
        if all.iter().any(stays) {
            return Ok(());
        }
        Err(last_operator())
    }
}

impl Doomed {
    /// Ends them, each of them also after one whose end could not be put on record: what leaked must not stay alive for that.
    pub(super) async fn end(self, native: &Native, authority: Authority) -> Result<EndedTokens, Error> {
        let Self { tokens, extent, last } = self;
        let registry = native.shared.registry.by(authority);
        let mut ended = EndedTokens { tokens: Vec::new(), links: 0, leases: 0 };
        let ids: Vec<TokenId> = tokens.iter().map(|record| record.id).collect();
        let mut first = Ok(());
        for record in tokens {
            let done = match (last, record.role) {
                // Looked at once more where it is written: two who end each other's token at once are not both let.
                (LastOperator::Stays, Role::Operator) if record.revoked.is_none() => {
                    let how = How { last_operator: false, ..How::ALL };
                    registry.remove(&Thing::Token(record.id), how, authority.by()).await.map(|plan| plan.leases)
                }
                // Also of one that is ended: credentials may be left that its end did not reach.
                (
                    LastOperator::Stays | LastOperator::MayGo,
                    Role::Operator | Role::Admin | Role::Member | Role::Auditor | Role::Planner,
                ) => registry.revoke_token(record.id, authority.by()).await,
            };
            match done {
                Ok(leases) => ended.leases += leases,
                Err(error) => first = first.and(Err(error)),
            }
            if record.revoked.is_none() {
                ended.tokens.push(record.id);
            }
        }
        let links = match extent {
            Extent::Alone => Ok(0),
            Extent::WithMade => registry.end_links_made_by(&ids).await,
        };
        first?;
        ended.links = links?;
        Ok(ended)
    }
}
