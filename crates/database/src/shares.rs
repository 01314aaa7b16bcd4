//! Shares: written together with the grants made of them, then seen by every decision, then answered.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::audit::{Author, Deed};
use valetkey_core::error::Noun;
use valetkey_core::grant::Grantee;
use valetkey_core::id::{AccountId, CallerId, GrantId, ShareId, TableId, TokenId};
use valetkey_core::lease::Revoker;
use valetkey_core::nouns::registry::TokenRecord;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::nouns::removal::{How, Thing};
use valetkey_core::nouns::share::{LinkDigest, ProfileLink, Recipient, Share, ShareAdmin, SharedWith, Shares};
use valetkey_core::nouns::table::{NewTable, SharedName, SharedTable};
use valetkey_core::time::random_10;
use valetkey_core::token::{Maker, PlainToken};

use crate::database::Database;
use crate::memory::Touches;
use crate::owed::{Links, Owed};
use crate::sql::db::Db;
use crate::sql::notes::Notes;
use crate::sql::{callers, failed, shares};

impl Database {
    /// Makes ids for grants.
    fn grant_ids(&self, now: Timestamp) -> impl FnMut() -> GrantId + use<> {
        let entropy = Arc::clone(&self.shared.entropy);
        move || GrantId::new(now, random_10(&*entropy))
    }
}

impl Database {
    /// Ends links that were not used yet, and owes what cannot be written: until then none of them becomes a token.
    pub(crate) async fn end_which_links(&self, which: Links) -> Result<u64, Error> {
        let database = self.clone();
        self.unbroken(async move {
            let by = Author::current().caller.map_or_else(
                || Revoker::server(database.shared.clock.now()),
                |by| Revoker { by, at: database.shared.clock.now() },
            );
            // Owed first: whoever has one and waits for this turn to write gets no token.
            let owed = Owed::Links(which.clone());
            database.shared.debts.add(owed.clone(), by);
            let done = database.write_links_end(&which).await;
            if !done.as_ref().is_err_and(valetkey_sql::Failure::is_of_database) {
                database.shared.debts.remove(&owed);
            }
            database.or_owe(done, owed, by)
        })
        .await
    }

    /// Puts it on record that links are ended.
    pub(crate) async fn write_links_end(&self, which: &Links) -> Result<u64, Error> {
        let mut turn = self.shared.db.turn().await;
        let end = async |db: &mut Db, notes: &mut Notes| {
            let ended = match which {
                Links::Of(caller) => shares::end_links(db, *caller).await?,
                Links::MadeBy(tokens) => callers::end_links_made_by(db, tokens).await?,
            };
            match which {
                Links::Of(caller) if ended > 0 => {
                    notes.did(Deed::Changed, Noun::Caller, caller, "links to profiles were ended");
                }
                Links::MadeBy(tokens) if ended > 0 => {
                    for token in tokens {
                        notes.did(Deed::Changed, Noun::Token, token, "links to profiles that it made were ended");
                    }
                }
                Links::Of(_) | Links::MadeBy(_) => {}
            }
            Ok((ended, Touches::Nothing))
        };
        self.administer_in(&mut turn, end).await
    }
}

fn whom(account: AccountId, to: Grantee) -> String {
    match to {
        Grantee::Everyone => account.to_string(),
        Grantee::Caller(caller) => caller.to_string(),
        Grantee::Group(group) => group.to_string(),
    }
}

#[async_trait]
impl Shares for Database {
    async fn shares(&self) -> Result<Vec<Share>, Error> {
        shares::shares(&mut self.reader().await?).await
    }

    async fn tables(&self, share: ShareId) -> Result<Vec<SharedTable>, Error> {
        shares::tables(&mut self.reader().await?, share).await
    }

    async fn recipients(&self, share: ShareId) -> Result<Vec<Recipient>, Error> {
        shares::recipients(&mut self.reader().await?, share).await
    }

    async fn shared_with(&self, account: AccountId) -> Result<Arc<SharedWith>, Error> {
        let kept = &self.shared.memory.shared_with;
        if let Some(with) = kept.get(&account) {
            return Ok(with);
        }
        let _one = kept.loading(&account).await;
        if let Some(with) = kept.get(&account) {
            return Ok(with);
        }
        let since = kept.generation();
        let mut view = self.shared.db.view().await?;
        let (shares, tables, recipients) = shares::shared_with(&mut view, account).await?;
        view.end_view().await.map_err(failed)?;
        let with = Arc::new(SharedWith::new(shares, tables, &recipients));
        kept.keep(since, account, Arc::clone(&with));
        Ok(with)
    }

    async fn redeem_link(
        &self,
        code: &LinkDigest,
        token: &PlainToken,
        now: Timestamp,
    ) -> Result<Option<(ProfileLink, TokenRecord)>, Error> {
        let (code, token, id) = (*code, token.clone(), TokenId::new(now, self.noise()));
        let database = self.clone();
        self.administer(move |db, notes| {
            Box::pin(async move {
                // What was ended and is not on record yet is ended all the same.
                let ended = |link: &ProfileLink| {
                    let dead = link.made_by.is_some_and(|maker| database.shared.revoked.is_dead(maker));
                    dead || database.shared.debts.ends_link(link.caller, link.made_by)
                };
                let done = shares::redeem_link(db, &code, id, &token, now, ended, notes).await?;
                Ok((done, Touches::Token(token.digest())))
            })
        })
        .await
    }
}

#[async_trait]
impl ShareAdmin for Database {
    async fn create_share(
        &self,
        account: AccountId,
        name: &SharedName,
        comment: Option<&str>,
        now: Timestamp,
    ) -> Result<Share, Error> {
        let id = ShareId::new(now, random_10(&*self.shared.entropy));
        let comment = comment.map(valetkey_core::nouns::share::comment).transpose()?;
        let share = Share { id, account, name: name.clone(), comment, made: now };
        self.administer(move |db, notes| {
            Box::pin(async move {
                shares::create_share(db, &share).await?;
                notes.did(Deed::Made, Noun::Share, share.id, share.name.as_str());
                Ok((share, Touches::Nothing))
            })
        })
        .await
    }

    async fn remove_share(&self, share: ShareId, end_credentials: bool, by: Revoker) -> Result<(), Error> {
        self.remove(&Thing::Share(share), How::ending(end_credentials), by).await.map(drop)
    }

    async fn add_table(&self, share: ShareId, new: NewTable, now: Timestamp) -> Result<SharedTable, Error> {
        let table = new.stored(TableId::new(now, self.noise()), share)?;
        let ids = self.grant_ids(now);
        self.administer(move |db, notes| {
            Box::pin(async move {
                let concerned = shares::add_table(db, &table, now, ids).await?;
                notes.did(Deed::Made, Noun::Table, table.id, &format!("{}.{}", table.schema, table.name));
                Ok((table, Touches::Accounts(concerned)))
            })
        })
        .await
    }

    async fn remove_table(&self, table: TableId, end_credentials: bool, by: Revoker) -> Result<(), Error> {
        self.remove(&Thing::Table(table), How::ending(end_credentials), by).await.map(drop)
    }

    async fn add_recipient(&self, recipient: Recipient, by: Revoker) -> Result<(), Error> {
        let ids = self.grant_ids(recipient.made);
        self.administer(move |db, notes| {
            Box::pin(async move {
                shares::add_recipient(db, &recipient, by, ids).await?;
                let whom = whom(recipient.account, recipient.to);
                notes.did(Deed::Changed, Noun::Share, recipient.share, &format!("given to {whom}"));
                Ok(((), Touches::Account(recipient.account)))
            })
        })
        .await
    }

    async fn remove_recipient(
        &self,
        share: ShareId,
        account: AccountId,
        to: Grantee,
        end_credentials: bool,
        by: Revoker,
    ) -> Result<(), Error> {
        let what = Thing::Recipient { share, account, to: to.into() };
        self.remove(&what, How::ending(end_credentials), by).await.map(drop)
    }

    async fn create_link(
        &self,
        code: &LinkDigest,
        link: ProfileLink,
        maker: Maker,
        now: Timestamp,
    ) -> Result<ProfileLink, Error> {
        let code = *code;
        self.administer(move |db, notes| {
            Box::pin(async move {
                let link = shares::create_link(db, &code, link, maker, now).await?;
                notes.did(Deed::Changed, Noun::Caller, link.caller, "a link to a profile was made");
                Ok((link, Touches::Nothing))
            })
        })
        .await
    }

    async fn end_links(&self, caller: CallerId) -> Result<u64, Error> {
        self.end_which_links(Links::Of(caller)).await
    }

    async fn end_token_at(&self, token: TokenId, until: Timestamp) -> Result<(), Error> {
        self.administer(move |db, notes| {
            Box::pin(async move {
                let found = callers::token_by_id(db, token).await?;
                let (record, _) = found.ok_or_else(|| Error::not_found(Noun::Token))?;
                shares::end_token_at(db, token, until, notes).await?;
                Ok(((), Touches::Caller(record.account)))
            })
        })
        .await
    }
}
