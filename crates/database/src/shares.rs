//! Shares: written together with the grants made of them, then seen by every decision, then answered.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::audit::Deed;
use valetkey_core::error::Noun;
use valetkey_core::grant::Grantee;
use valetkey_core::id::{AccountId, CallerId, GrantId, ShareId, TableId, TokenId};
use valetkey_core::lease::Revoker;
use valetkey_core::nouns::registry::{Registry as _, TokenRecord};
use valetkey_core::nouns::removal::{How, Thing};
use valetkey_core::nouns::share::{
    LinkDigest, NewTable, ProfileLink, Recipient, Share, ShareAdmin, SharedName, SharedTable, SharedWith, Shares,
};
use valetkey_core::time::random_10;
use valetkey_core::token::{Maker, PlainToken};

use crate::database::Database;
use crate::memory::Touches;
use crate::sql::shares;
use crate::sql::{callers, failed};

impl Database {
    /// Makes ids for grants.
    fn grant_ids(&self, now: Timestamp) -> impl FnMut() -> GrantId + use<> {
        let entropy = Arc::clone(&self.shared.entropy);
        move || GrantId::new(now, random_10(&*entropy))
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
        self.administer(move |db, notes| {
            Box::pin(async move {
                let done = shares::redeem_link(db, &code, id, &token, now, notes).await?;
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
        self.administer(move |db, notes| {
            Box::pin(async move {
                let ended = shares::end_links(db, caller).await?;
                if ended > 0 {
                    notes.did(Deed::Changed, Noun::Caller, caller, "links to profiles were ended");
                }
                Ok((ended, Touches::Nothing))
            })
        })
        .await
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
