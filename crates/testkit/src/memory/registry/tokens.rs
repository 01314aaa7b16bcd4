//! Tokens.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::error::{Error, Noun};
use valetkey_core::id::{AccountId, CallerId, TokenId};
use valetkey_core::lease::{Revocation, Revoker};
use valetkey_core::nouns::registry::{TokenAdmin, TokenFilter, TokenRecord, Tokens};
use valetkey_core::token::{Maker, PlainToken, TokenDigest};

use crate::memory::Memory;

#[async_trait]
impl Tokens for Memory {
    async fn token_by_id(&self, id: TokenId) -> Result<Option<TokenRecord>, Error> {
        Ok(self.tokens(None).await?.into_iter().find(|record| record.id == id))
    }

    async fn token_of(&self, digest: TokenDigest) -> Result<Option<TokenRecord>, Error> {
        let found = self.world().tokens.iter().find(|(known, _)| *known == digest).map(|(_, record)| record.id);
        match found {
            Some(id) => self.token_by_id(id).await,
            None => Ok(None),
        }
    }

    async fn tokens_made_by(&self, token: TokenId) -> Result<Vec<TokenRecord>, Error> {
        let all = self.tokens(None).await?;
        let mut made = vec![token];
        // In the order they were made: a maker stands before what it made.
        for record in &all {
            if record.made_by.is_some_and(|maker| made.contains(&maker)) {
                made.push(record.id);
            }
        }
        Ok(all.into_iter().filter(|record| record.id != token && made.contains(&record.id)).collect())
    }

    async fn tokens(&self, account: Option<AccountId>) -> Result<Vec<TokenRecord>, Error> {
        let world = self.world();
        let records = world.tokens.iter().map(|(_, record)| record);
        let own = records.filter(|record| account.is_none_or(|only| only == record.account));
        Ok(own.map(|record| world.current(record)).collect())
    }

    async fn list_tokens(&self, filter: &TokenFilter) -> Result<Vec<TokenRecord>, Error> {
        let TokenFilter { account, caller, since, after, limit } = *filter;
        let mut tokens = self.tokens(account).await?;
        tokens.retain(|known| {
            caller.is_none_or(|only| only == known.caller)
                && since.is_none_or(|since| since <= known.made)
                && after.is_none_or(|after| after < known.id)
        });
        tokens.sort_by_key(|known| known.id);
        tokens.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(tokens)
    }
}

#[async_trait]
impl TokenAdmin for Memory {
    async fn create_token(
        &self,
        caller: CallerId,
        token: &PlainToken,
        until: Option<Timestamp>,
        maker: Maker,
        now: Timestamp,
    ) -> Result<TokenRecord, Error> {
        let id = TokenId::new(now, self.random());
        let mut world = self.world();
        let until = world.until_of(maker, until, now)?;
        let record = world.insert_token(id, caller, token, until, maker, now)?;
        Ok(record)
    }

    async fn end_links_made_by(&self, tokens: &[TokenId]) -> Result<u64, Error> {
        Ok(self.world().shared.end_links_made_by(tokens))
    }

    async fn revoke_token(&self, token: TokenId, by: Revoker) -> Result<u64, Error> {
        let mut world = self.world();
        let (_, record) = world
            .tokens
            .iter_mut()
            .find(|(_, record)| record.id == token)
            .ok_or_else(|| Error::not_found(Noun::Token))?;
        record.revoked.get_or_insert(by.at);
        Ok(world.end(Revocation::Token(token), by))
    }
}
