//! Identity providers from memory when warm, and the sessions that their tokens open.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::audit::Deed;
use valetkey_core::claims::Identity;
use valetkey_core::error::Noun;
use valetkey_core::id::{CallerId, ProviderId, TokenId};
use valetkey_core::lease::Revoker;
use valetkey_core::nouns::identity::{Cutoff, Identities, IdentityAdmin, IdentityProvider, NewSession, Session};
use valetkey_core::nouns::registry::methods::*;

use crate::database::Database;
use crate::memory::Touches;
use crate::sql::identity::{self, Opened};

#[async_trait]
impl Identities for Database {
    async fn identity_providers(&self) -> Result<Arc<[Arc<IdentityProvider>]>, Error> {
        let kept = &self.shared.memory.providers;
        if let Some(found) = kept.get(&()) {
            return Ok(found);
        }
        let _one = kept.loading(&()).await;
        if let Some(found) = kept.get(&()) {
            return Ok(found);
        }
        let since = kept.generation();
        let found = identity::providers(&mut self.reader().await?).await?;
        let found: Arc<[Arc<IdentityProvider>]> = found.into_iter().map(Arc::new).collect();
        kept.keep(since, (), Arc::clone(&found));
        Ok(found)
    }

    async fn open_session(&self, new: NewSession, now: Timestamp) -> Result<(), Error> {
        let ids = (CallerId::new(now, self.noise()), TokenId::new(now, self.noise()));
        self.administer(move |db, notes| {
            Box::pin(async move {
                let touches = match identity::open(db, ids, &new, now, notes).await? {
                    Opened::Before => Touches::Nothing,
                    Opened::Now => Touches::Token(new.digest().0),
                    Opened::WithAnotherRole => Touches::Everything,
                };
                Ok(((), touches))
            })
        })
        .await
    }

    async fn session(&self, token: TokenId) -> Result<Option<Session>, Error> {
        identity::session(&mut self.reader().await?, token).await
    }

    async fn identity(&self, token: TokenId) -> Result<Option<Arc<Identity>>, Error> {
        identity::of_token(&mut self.reader().await?, token).await
    }

    async fn live_identities(&self, caller: CallerId, now: Timestamp) -> Result<Vec<Arc<Identity>>, Error> {
        identity::live_of_caller(&mut self.reader().await?, caller, now).await
    }
}

#[async_trait]
impl IdentityAdmin for Database {
    async fn create_identity_provider(&self, new: IdentityProvider, now: Timestamp) -> Result<IdentityProvider, Error> {
        new.check()?;
        let new = IdentityProvider { id: ProviderId::new(now, self.noise()), version: 1, made: now, ..new };
        self.administer(move |db, notes| {
            Box::pin(async move {
                identity::create(db, &new).await?;
                notes.did(Deed::Made, Noun::IdentityProvider, new.id, &format!("{}, {}", new.name, new.issuer));
                Ok((new, Touches::Everything))
            })
        })
        .await
    }

    async fn end_sessions(&self, provider: ProviderId, what: &Cutoff, by: Revoker) -> Result<u64, Error> {
        let what = what.clone();
        let sessions = self
            .administer(move |db, notes| {
                Box::pin(async move {
                    let known = identity::by_id(db, provider).await?;
                    identity::cut_off(db, provider, &what, by.at).await?;
                    notes.did(
                        Deed::Ended,
                        Noun::IdentityProvider,
                        provider,
                        &format!("{}: {}", known.name, what.said()),
                    );
                    let live = identity::live_of(db, provider, &what, by.at).await?;
                    Ok((live, Touches::Everything))
                })
            })
            .await?;
        let (mut leases, mut first) = (0, Ok(()));
        for session in sessions {
            // Each also after one whose end could not be put on record.
            match self.revoke_token(session, by).await {
                Ok(ended) => leases += ended,
                Err(error) => first = first.and(Err(error)),
            }
        }
        first.map(|()| leases)
    }
}
