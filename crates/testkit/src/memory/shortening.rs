//! A token that ends earlier takes along what it made.

use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::id::TokenId;
use valetkey_core::lease::Revoker;
use valetkey_core::nouns::removal::Amendment;
use valetkey_core::token::Maker;

use crate::memory::World;

impl World {
    pub(super) fn amend_with_made(&mut self, change: &Amendment, end: bool, by: Revoker) -> Result<u64, Error> {
        let mut ended = self.amend(change, end, by)?;
        for change in self.made_outliving(change) {
            ended += self.amend(&change, end, by)?;
        }
        Ok(ended)
    }

    pub(super) fn preview_with_made(&self, change: &Amendment, now: Timestamp) -> Result<u64, Error> {
        let mut ended = self.preview(change, now)?;
        for change in self.made_outliving(change) {
            ended += self.preview(&change, now)?;
        }
        Ok(ended)
    }

    fn made_outliving(&self, change: &Amendment) -> Vec<Amendment> {
        let Amendment::Token { id, until: Some(until), maker: _ } = change else { return Vec::new() };
        let mut made: Vec<TokenId> = vec![*id];
        let mut at = 0;
        while let Some(maker) = made.get(at).copied() {
            at += 1;
            let own = self.tokens.iter().map(|(_, record)| record).filter(|record| record.made_by == Some(maker));
            let own = own.map(|record| record.id).filter(|one| !self.outliving.contains(one));
            let more: Vec<TokenId> = own.filter(|one| !made.contains(one)).collect();
            made.extend(more);
        }
        let live = self
            .tokens
            .iter()
            .map(|(_, record)| record)
            .filter(|record| record.id != *id && made.contains(&record.id) && record.revoked.is_none());
        let longer = live.filter(|record| record.until.is_none_or(|own| own > *until)).map(|record| record.id);
        longer.map(|made| Amendment::Token { id: made, until: Some(*until), maker: Maker::Token(*id) }).collect()
    }
}
