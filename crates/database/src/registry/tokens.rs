//! Tokens.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::id::{AccountId, CallerId, TokenId};
use valetkey_core::lease::Revoker;
use valetkey_core::nouns::registry::{TokenAdmin, TokenFilter, TokenRecord, Tokens};
use valetkey_core::token::{Maker, PlainToken, TokenDigest};

use crate::database::Database;
use crate::memory::Touches;
use crate::owed::Links;
use crate::sql::callers::{self, NewToken};
use crate::sql::lists;
use crate::sql::revocations::Also;
use crate::sql::target::Target;

#[async_trait]
impl Tokens for Database {
    async fn token_by_id(&self, id: TokenId) -> Result<Option<TokenRecord>, Error> {
        Ok(callers::token_by_id(&mut self.reader().await?, id).await?.map(|(record, _)| record))
    }

    async fn token_of(&self, digest: TokenDigest) -> Result<Option<TokenRecord>, Error> {
        callers::token_by_digest(&mut self.reader().await?, &digest).await
    }

    async fn tokens_made_by(&self, token: TokenId) -> Result<Vec<TokenRecord>, Error> {
        callers::tokens_made_by(&mut self.reader().await?, token).await
    }

    async fn tokens(&self, account: Option<AccountId>) -> Result<Vec<TokenRecord>, Error> {
        callers::tokens(&mut self.reader().await?, account).await
    }

    async fn list_tokens(&self, filter: &TokenFilter) -> Result<Vec<TokenRecord>, Error> {
        lists::tokens(&mut self.reader().await?, filter).await
    }
}

#[async_trait]
impl TokenAdmin for Database {
    async fn create_token(
        &self,
        caller: CallerId,
        token: &PlainToken,
        until: Option<Timestamp>,
        maker: Maker,
        now: Timestamp,
    ) -> Result<TokenRecord, Error> {
        let (token, id) = (token.clone(), TokenId::new(now, self.noise()));
        self.administer(move |db, notes| {
            Box::pin(async move {
                let new = NewToken { id, caller, digest: token.digest(), tail: token.tail(), until, maker };
                let record = callers::create_token(db, new, maker, now, notes).await?;
                Ok((record, Touches::Token(token.digest())))
            })
        })
        .await
    }

    async fn end_links_made_by(&self, tokens: &[TokenId]) -> Result<u64, Error> {
        self.end_which_links(Links::MadeBy(tokens.to_vec())).await
    }

    async fn revoke_token(&self, token: TokenId, by: Revoker) -> Result<u64, Error> {
        let database = self.clone();
        self.unbroken(async move {
            database.may_end(Target::Token(token)).await?;
            // First, so that no vend that was identified before opens a lease after the revocation's instant.
            database.shared.queue.end_token(token, by.at.as_millisecond());
            let ended = database.end(Target::Token(token), None, by, Also::EndToken(token)).await?;
            database.token_ended(token);
            Ok(ended)
        })
        .await
    }
}
