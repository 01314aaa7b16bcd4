//! The keys that sign identity tokens of this server: in the database, so that every node signs with the same.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::audit::Deed;
use valetkey_core::error::Noun;
use valetkey_core::nouns::signing::{KeyState, SigningAdmin, SigningKey, SigningKeys, newest, signer};
use valetkey_core::{Error, Kind};

use crate::database::Database;
use crate::memory::Touches;
use crate::sql::db::Db;
use crate::sql::notes::Unsaid;
use crate::sql::signing;

#[async_trait]
impl SigningKeys for Database {
    async fn signing_keys(&self) -> Result<Arc<[SigningKey]>, Error> {
        let kept = &self.shared.memory.signing_keys;
        if let Some(found) = kept.get(&()) {
            // A key that was withdrawn on another node is not published here for as long as that cannot be heard.
            self.heard_within(self.shared.settings.staleness.vend)?;
            return Ok(found);
        }
        let _one = kept.loading(&()).await;
        if let Some(found) = kept.get(&()) {
            return Ok(found);
        }
        let since = kept.generation();
        let found: Arc<[SigningKey]> = signing::all(&mut self.reader().await?).await?.into();
        kept.keep(since, (), Arc::clone(&found));
        Ok(found)
    }
}

#[async_trait]
impl SigningAdmin for Database {
    async fn add_signing_key(&self, new: SigningKey, after: Option<&str>, now: Timestamp) -> Result<(), Error> {
        let after = after.map(str::to_owned);
        self.administer(move |db, notes| {
            Box::pin(async move {
                let mut keys = signing::all(db).await?;
                if newest(&keys, new.algorithm).map(|key| &*key.kid) != after.as_deref() {
                    return Err(Error::new(Kind::AlreadyExists(Noun::SigningKey), "another key was made meanwhile"));
                }
                signing::add(db, &new).await?;
                let about = format!("{}, signs from {:.0}", new.algorithm.as_str(), new.signs_from);
                notes.did(Deed::Made, Noun::SigningKey, &new.kid, &about);
                keys.push(new);
                for over in keys.iter().filter(|key| key.state(&keys, now) == KeyState::Over) {
                    signing::remove(db, &over.kid).await?;
                    notes.did(Deed::Removed, Noun::SigningKey, &over.kid, "it was over");
                }
                Ok(((), Touches::Everything))
            })
        })
        .await
    }

    async fn withdraw_signing_key(&self, kid: &str, instead: Option<SigningKey>, now: Timestamp) -> Result<(), Error> {
        let kid = kid.to_owned();
        self.administer(move |db, notes| {
            Box::pin(async move {
                let keys = signing::all(db).await?;
                let old = keys.iter().find(|key| *key.kid == *kid).ok_or_else(|| Error::not_found(Noun::SigningKey))?;
                let signs = signer(&keys, old.algorithm, now).is_some_and(|key| *key.kid == *kid);
                if signs && instead.is_none() {
                    return Err(Error::new(Kind::Unavailable, "the key began to sign meanwhile; try again"));
                }
                signing::remove(db, &kid).await?;
                notes.did(Deed::Removed, Noun::SigningKey, &kid, "withdrawn");
                if let Some(new) = instead {
                    signing::add(db, &new).await?;
                    notes.did(Deed::Made, Noun::SigningKey, &new.kid, &format!("instead of {kid}"));
                }
                Ok(((), Touches::Everything))
            })
        })
        .await
    }

    async fn reseal_signing_keys(&self, sealed: Vec<(Box<str>, Box<[u8]>)>) -> Result<(), Error> {
        let reseal = async |db: &mut Db| {
            for (kid, again) in &sealed {
                signing::reseal(db, kid, again).await?;
            }
            Ok(())
        };
        self.shared.db.unsaid(Unsaid::Seals, reseal).await?;
        self.shared.memory.signing_keys.forget_all();
        Ok(())
    }
}
