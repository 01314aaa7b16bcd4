//! Shares in memory.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::error::{Error, Noun};
use valetkey_core::grant::Grantee;
use valetkey_core::id::{AccountId, CallerId, GrantId, ShareId, TableId, TokenId};
use valetkey_core::lease::{Revocation, Revoker};
use valetkey_core::nouns::registry::TokenRecord;
use valetkey_core::nouns::removal::{How, Thing};
use valetkey_core::nouns::rules::check_recipient;
use valetkey_core::nouns::share::{
    LinkDigest, ProfileLink, Recipient, Share, ShareAdmin, SharedWith, Shares, no_share,
};
use valetkey_core::nouns::table::{NewTable, SharedName, SharedTable};
use valetkey_core::token::{Maker, PlainToken};

use crate::memory::{Memory, World};

#[derive(Default)]
pub(super) struct Shared {
    pub(super) shares: Vec<Share>,
    pub(super) tables: Vec<SharedTable>,
    pub(super) recipients: Vec<Recipient>,
    /// Which grant was made of which table for which recipient.
    pub(super) grants: Vec<(GrantId, TableId, Recipient)>,
    links: Vec<(LinkDigest, ProfileLink)>,
    /// Those of which what comes may outlive the token that made them.
    outliving: Vec<LinkDigest>,
}

impl Shared {
    /// Forgets what was given to a caller alone.
    pub(super) fn take_from(&mut self, caller: CallerId) {
        self.recipients.retain(|one| one.to != Grantee::Caller(caller));
        self.grants.retain(|(_, _, one)| one.to != Grantee::Caller(caller));
        self.links.retain(|(_, link)| link.caller != caller);
    }

    /// Lets what comes of links of a token end no later than it does from now on.
    pub(super) fn shorten_links(&mut self, token: TokenId, until: Timestamp) {
        let Self { links, outliving, .. } = self;
        for (code, link) in links.iter_mut() {
            if link.made_by == Some(token) && !outliving.contains(code) {
                link.no_later = Some(link.no_later.map_or(until, |known| known.min(until)));
                link.until = link.until.min(until);
            }
        }
    }

    pub(super) fn end_links_made_by(&mut self, tokens: &[TokenId]) -> u64 {
        let before = self.links.len();
        self.links.retain(|(_, link)| link.made_by.is_none_or(|maker| !tokens.contains(&maker)));
        u64::try_from(before - self.links.len()).unwrap_or(u64::MAX)
    }
}

fn same(one: &Recipient, two: &Recipient) -> bool {
    (one.share, one.account, one.to) == (two.share, two.account, two.to)
}

impl World {
    fn check_share(&self, share: ShareId) -> Result<(), Error> {
        let known = self.shared.shares.iter().any(|known| known.id == share);
        if known { Ok(()) } else { Err(no_share()) }
    }

    fn make_grant(&mut self, id: GrantId, table: &SharedTable, recipient: &Recipient) -> Result<(), Error> {
        self.grants.push(table.grant(id, recipient)?);
        self.shared.grants.push((id, table.id, *recipient));
        Ok(())
    }

    /// Removes the grants that were made of what fits.
    fn take_back(&mut self, fits: impl Fn(TableId, &Recipient) -> bool, end: bool, by: Revoker) {
        let (gone, kept) = std::mem::take(&mut self.shared.grants)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, table, recipient)| fits(*table, recipient));
        self.shared.grants = kept;
        for (grant, ..) in gone {
            self.grants.retain(|known| known.id != grant);
            self.removed.push(grant);
            if end {
                self.end(Revocation::Grant(grant), by);
            }
        }
        self.version += 1;
    }
}

#[async_trait]
impl Shares for Memory {
    async fn shares(&self) -> Result<Vec<Share>, Error> {
        let mut shares = self.world().shared.shares.clone();
        shares.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(shares)
    }

    async fn tables(&self, share: ShareId) -> Result<Vec<SharedTable>, Error> {
        let world = self.world();
        world.check_share(share)?;
        let mut tables: Vec<SharedTable> =
            world.shared.tables.iter().filter(|table| table.share == share).cloned().collect();
        tables.sort_by(|one, two| (&one.schema, &one.name).cmp(&(&two.schema, &two.name)));
        Ok(tables)
    }

    async fn recipients(&self, share: ShareId) -> Result<Vec<Recipient>, Error> {
        let world = self.world();
        world.check_share(share)?;
        let mut recipients: Vec<Recipient> =
            world.shared.recipients.iter().filter(|one| one.share == share).copied().collect();
        recipients.sort_by_key(|one| (one.made, one.account));
        Ok(recipients)
    }

    async fn shared_with(&self, account: AccountId) -> Result<Arc<SharedWith>, Error> {
        let world = self.world();
        let shared = &world.shared;
        let recipients: Vec<Recipient> =
            shared.recipients.iter().filter(|one| one.account == account).copied().collect();
        let given = |share: ShareId| recipients.iter().any(|one| one.share == share);
        let given_shares = shared.shares.iter().filter(|share| given(share.id)).cloned().collect();
        let tables = shared.tables.iter().filter(|table| given(table.share)).cloned().collect();
        Ok(Arc::new(SharedWith::new(given_shares, tables, &recipients)))
    }

    async fn redeem_link(
        &self,
        code: &LinkDigest,
        token: &PlainToken,
        now: Timestamp,
    ) -> Result<Option<(ProfileLink, TokenRecord)>, Error> {
        let used = {
            let mut world = self.world();
            let revoked: Vec<TokenId> =
                world.tokens.iter().filter(|(_, one)| one.revoked.is_some()).map(|(_, one)| one.id).collect();
            let links = &mut world.shared.links;
            let at = links.iter().position(|(own, link)| {
                own == code && now < link.until && link.made_by.is_none_or(|maker| !revoked.contains(&maker))
            });
            at.map(|at| links.swap_remove(at).1)
        };
        let Some(link) = used else { return Ok(None) };
        let id = TokenId::new(now, self.random());
        let mut world = self.world();
        let maker = match link.made_by {
            None => Maker::Server,
            Some(maker) if world.shared.outliving.contains(code) => Maker::Outlived(maker),
            Some(maker) => Maker::Token(maker),
        };
        let record = world.insert_token(id, link.caller, token, link.token_until(now), maker, now)?;
        Ok(Some((link, record)))
    }
}

#[async_trait]
impl ShareAdmin for Memory {
    async fn create_share(
        &self,
        account: AccountId,
        name: &SharedName,
        comment: Option<&str>,
        now: Timestamp,
    ) -> Result<Share, Error> {
        let comment = comment.map(valetkey_core::nouns::share::comment).transpose()?;
        let share = Share { id: ShareId::new(now, self.random()), account, name: name.clone(), comment, made: now };
        let mut world = self.world();
        world.account(account)?;
        if world.shared.shares.iter().any(|known| known.name == *name) {
            return Err(Error::taken(Noun::Share, name));
        }
        world.shared.shares.push(share.clone());
        Ok(share)
    }

    async fn remove_share(&self, share: ShareId, end_credentials: bool, by: Revoker) -> Result<(), Error> {
        self.world().take(&Thing::Share(share), How::ending(end_credentials), by).map(drop)
    }

    async fn add_table(&self, share: ShareId, new: NewTable, now: Timestamp) -> Result<SharedTable, Error> {
        let table = new.stored(TableId::new(now, self.random()), share)?;
        let mut world = self.world();
        world.check_share(table.share)?;
        world.check_place(table.storage, &table.bucket)?;
        let known =
            |one: &SharedTable| (one.share, &one.schema, &one.name) == (table.share, &table.schema, &table.name);
        if world.shared.tables.iter().any(known) {
            return Err(Error::taken(Noun::Table, &table.name));
        }
        let recipients = world.shared.recipients.clone();
        for recipient in recipients.iter().filter(|one| one.share == table.share) {
            let id = GrantId::new(now, self.random());
            world.make_grant(id, &table, recipient)?;
        }
        world.shared.tables.push(table.clone());
        world.version += 1;
        Ok(table)
    }

    async fn remove_table(&self, table: TableId, end_credentials: bool, by: Revoker) -> Result<(), Error> {
        self.world().take(&Thing::Table(table), How::ending(end_credentials), by).map(drop)
    }

    async fn add_recipient(&self, recipient: Recipient, by: Revoker) -> Result<(), Error> {
        let mut world = self.world();
        world.check_share(recipient.share)?;
        world.account(recipient.account)?;
        check_recipient(recipient.account, recipient.to, world.grantee_of(recipient.to))?;
        world.take_back(|_, known| same(known, &recipient), false, by);
        let made = world.shared.recipients.iter().find(|known| same(known, &recipient)).map(|known| known.made);
        world.shared.recipients.retain(|known| !same(known, &recipient));
        world.shared.recipients.push(Recipient { made: made.unwrap_or(recipient.made), ..recipient });
        let tables = world.shared.tables.clone();
        for table in tables.iter().filter(|table| table.share == recipient.share) {
            let id = GrantId::new(recipient.made, self.random());
            world.make_grant(id, table, &recipient)?;
        }
        Ok(())
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
        self.world().take(&what, How::ending(end_credentials), by).map(drop)
    }

    async fn create_link(
        &self,
        code: &LinkDigest,
        link: ProfileLink,
        maker: Maker,
        now: Timestamp,
    ) -> Result<ProfileLink, Error> {
        let mut world = self.world();
        if !world.callers.iter().any(|(id, ..)| *id == link.caller) {
            return Err(Error::not_found(Noun::Caller));
        }
        let no_later = world.until_of(maker, None, now)?;
        let until = no_later.map_or(link.until, |no_later| no_later.min(link.until));
        let link = ProfileLink { until, made_by: maker.token(), no_later, ..link };
        world.shared.links.push((*code, link));
        if maker.outlives() {
            world.shared.outliving.push(*code);
        }
        Ok(link)
    }

    async fn end_links(&self, caller: CallerId) -> Result<u64, Error> {
        let mut world = self.world();
        let before = world.shared.links.len();
        world.shared.links.retain(|(_, link)| link.caller != caller);
        Ok(u64::try_from(before - world.shared.links.len()).unwrap_or(u64::MAX))
    }

    async fn end_token_at(&self, token: TokenId, until: Timestamp) -> Result<(), Error> {
        let mut world = self.world();
        let (_, record) = world
            .tokens
            .iter_mut()
            .find(|(_, record)| record.id == token)
            .ok_or_else(|| Error::not_found(Noun::Token))?;
        record.until = Some(record.until.map_or(until, |own| own.min(until)));
        Ok(())
    }
}
