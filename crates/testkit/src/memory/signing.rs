//! The keys that sign identity tokens of this server.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::error::{Error, Kind, Noun};
use valetkey_core::nouns::signing::{KeyState, SigningAdmin, SigningKey, SigningKeys, newest, signer};

use crate::memory::Memory;

#[async_trait]
impl SigningKeys for Memory {
    async fn signing_keys(&self) -> Result<Arc<[SigningKey]>, Error> {
        Ok(self.world().signing.clone().into())
    }
}

#[async_trait]
impl SigningAdmin for Memory {
    async fn add_signing_key(&self, new: SigningKey, after: Option<&str>, now: Timestamp) -> Result<(), Error> {
        let keys = &mut self.world().signing;
        if newest(keys, new.algorithm).map(|key| &*key.kid) != after {
            return Err(Error::new(Kind::AlreadyExists(Noun::SigningKey), "another key was made meanwhile"));
        }
        keys.push(new);
        let all = keys.clone();
        keys.retain(|key| key.state(&all, now) != KeyState::Over);
        keys.sort_by(|one, other| (one.made, &one.kid).cmp(&(other.made, &other.kid)));
        Ok(())
    }

    async fn withdraw_signing_key(&self, kid: &str, instead: Option<SigningKey>, now: Timestamp) -> Result<(), Error> {
        let keys = &mut self.world().signing;
        let old = keys.iter().find(|key| &*key.kid == kid).ok_or_else(|| Error::not_found(Noun::SigningKey))?;
        let signs = signer(keys, old.algorithm, now).is_some_and(|key| &*key.kid == kid);
        if signs && instead.is_none() {
            return Err(Error::new(Kind::Unavailable, "the key began to sign meanwhile; try again"));
        }
        keys.retain(|key| &*key.kid != kid);
        keys.extend(instead);
        Ok(())
    }

    async fn reseal_signing_keys(&self, sealed: Vec<(Box<str>, Box<[u8]>)>) -> Result<(), Error> {
        let keys = &mut self.world().signing;
        for (kid, again) in sealed {
            keys.iter_mut().filter(|key| key.kid == kid).for_each(|key| key.sealed.clone_from(&again));
        }
        Ok(())
    }
}
