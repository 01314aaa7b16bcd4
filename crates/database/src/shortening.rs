//! A token that ends earlier takes along what it made: tokens, those that they made, and what comes of links, unless an operator let
//! it outlive its maker.

use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::lease::Revoker;
use valetkey_core::nouns::removal::Amendment;
use valetkey_core::token::Maker;
use valetkey_sql::Failure as _;

use crate::database::Database;
use crate::owed::Owed;
use crate::sql::callers;

impl Database {
    /// Changes what is there, and with a token's end the ends of what it made. All of it is tried, whatever cannot be written.
    pub(crate) async fn amend_with_made(
        &self,
        change: &Amendment,
        keep_credentials: bool,
        by: Revoker,
    ) -> Result<u64, Error> {
        let ended = self.amend(change, keep_credentials, by).await;
        if ended.as_ref().is_err_and(|error| !error.is_of_database()) {
            return ended;
        }
        let made = self.amend_made(change, keep_credentials, by).await;
        let made = if keep_credentials { made } else { self.or_owe(made, Owed::Amend(Box::new(change.clone())), by) };
        Ok(ended? + made?)
    }

    /// Shortens what a token made that would outlive it now.
    pub(crate) async fn amend_made(&self, change: &Amendment, keep: bool, by: Revoker) -> Result<u64, Error> {
        let mut ended = 0;
        let mut first = Ok(());
        for change in self.made_outliving(change).await? {
            match self.amend(&change, keep, by).await {
                Ok(more) => ended += more,
                Err(error) => first = first.and(Err(error)),
            }
        }
        first.map(|()| ended)
    }

    /// How many live leases a change would end, with what it changes of what a token made.
    pub(crate) async fn preview_with_made(&self, change: &Amendment, now: Timestamp) -> Result<u64, Error> {
        let mut ended = self.preview_of(change, now).await?;
        for change in self.made_outliving(change).await? {
            ended += self.preview_of(&change, now).await?;
        }
        Ok(ended)
    }

    async fn made_outliving(&self, change: &Amendment) -> Result<Vec<Amendment>, Error> {
        let Amendment::Token { id, until: Some(until), maker: _ } = change else { return Ok(Vec::new()) };
        let made = callers::made_outliving(&mut self.reader().await?, *id, *until).await?;
        let end = |made| Amendment::Token { id: made, until: Some(*until), maker: Maker::Token(*id) };
        Ok(made.into_iter().map(end).collect())
    }
}
