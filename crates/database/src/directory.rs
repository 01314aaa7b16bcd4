//! Who a token is and what its account was granted: from memory when warm.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::account::{OwnQuota, Quotas};
use valetkey_core::caller::Caller;
use valetkey_core::error::{Noun, Stranger};
use valetkey_core::grant::Grant;
use valetkey_core::id::{AccountId, LeaseId};
use valetkey_core::lease::Provenance;
use valetkey_core::nouns::dataset::{Dataset, Datasets};
use valetkey_core::port::{Directory, Revocations};
use valetkey_core::scope::Rights;
use valetkey_core::snapshot::Snapshot;
use valetkey_core::token::TokenDigest;
use valetkey_core::{Error, Kind};

use crate::database::Database;
use crate::memory::{Known, Settled};
use crate::sql::{callers, groups, identity, registry};
use crate::touch::Touch;

/// For how long a token is remembered to be nobody's.
const UNKNOWN_MS: i64 = 10_000;

/// So many grants are put together where they are asked for: that takes a few milliseconds.
const LIGHT: usize = 4_000;

fn unknown() -> Error {
    Error::new(Kind::Unauthenticated(Stranger::Unknown), "the token is not one of this server")
}

impl Database {
    /// What memory knows of a token.
    fn remembered(&self, digest: &TokenDigest, now: Timestamp) -> Option<Result<Arc<Caller>, Error>> {
        let memory = &self.shared.memory;
        if let Some(known) = memory.known.get(digest) {
            return Some(known.at(now));
        }
        // A clock that was set back must not make this last.
        let left = memory.unknown.get(digest)?.saturating_sub(now.as_millisecond());
        (left > 0 && left <= UNKNOWN_MS).then(|| Err(unknown()))
    }
}

impl Database {
    /// Who a token proves, as memory or the database know it.
    async fn caller_of(&self, digest: TokenDigest, now: Timestamp) -> Result<Arc<Caller>, Error> {
        if let Some(answer) = self.remembered(&digest, now) {
            return answer;
        }
        let memory = &self.shared.memory;
        let _one = memory.known.loading(&digest).await;
        if let Some(answer) = self.remembered(&digest, now) {
            return answer;
        }
        let as_of = Directory::as_of(self);
        let (known_since, unknown_since) = (memory.known.generation(), memory.unknown.generation());
        let mut reader = self.reader().await?;
        match callers::token_by_digest(&mut reader, &digest).await? {
            None => {
                memory.unknown.keep(unknown_since, digest, now.as_millisecond().saturating_add(UNKNOWN_MS));
                Err(unknown())
            }
            Some(record) => {
                let identity = identity::of_token(&mut reader, record.id).await?;
                let known = Known::of(record, identity, as_of);
                memory.known.keep(known_since, digest, known.clone());
                known.at(now)
            }
        }
    }
}

#[async_trait]
impl Datasets for Database {
    async fn datasets(&self) -> Result<Arc<[Dataset]>, Error> {
        let kept = &self.shared.memory.datasets;
        if let Some(datasets) = kept.get(&()) {
            return Ok(datasets);
        }
        let _one = kept.loading(&()).await;
        if let Some(datasets) = kept.get(&()) {
            return Ok(datasets);
        }
        let since = kept.generation();
        let mut reader = self.reader().await?;
        let datasets: Arc<[Dataset]> = registry::datasets(&mut reader).await?.into();
        kept.keep(since, (), Arc::clone(&datasets));
        Ok(datasets)
    }
}

#[async_trait]
impl Directory for Database {
    fn as_of(&self) -> i64 {
        self.shared.touch.as_ref().map_or(0, Touch::as_of)
    }

    async fn caller_by_digest(&self, digest: TokenDigest, now: Timestamp) -> Result<Arc<Caller>, Error> {
        let caller = self.caller_of(digest, now).await?;
        if self.shared.revoked.is_dead(caller.token) {
            return Err(Error::new(Kind::Unauthenticated(Stranger::Revoked), "the token was revoked"));
        }
        Ok(caller)
    }

    async fn account(&self, id: AccountId, now: Timestamp) -> Result<Arc<Snapshot>, Error> {
        let snapshots = &self.shared.memory.snapshots;
        if let Some(snapshot) = snapshots.get(&id).and_then(|settled| settled.at(now)) {
            return Ok(snapshot);
        }
        let _one = snapshots.loading(&id).await;
        if let Some(snapshot) = snapshots.get(&id).and_then(|settled| settled.at(now)) {
            return Ok(snapshot);
        }
        let as_of = Directory::as_of(self);
        let since = snapshots.generation();
        let mut reader = self.reader().await?;
        let account = registry::account(&mut reader, id).await?.ok_or_else(|| Error::not_found(Noun::Account))?;
        let storages = registry::storages(&mut reader).await?.into_iter().map(Arc::new);
        let grants = registry::grants(&mut reader, id).await?;
        let groups = groups::groups(&mut reader, Some(id)).await?;
        let large = grants.len() > LIGHT;
        let failed = |error| Error::internal("an account could not be put together").caused_by(error);
        drop(reader);
        let made = move || {
            let edges =
                |grant: &Grant| [grant.from, grant.until].into_iter().flatten().filter(|edge| *edge > now).min();
            let to = grants.iter().filter_map(edges).min();
            (Arc::new(Snapshot::new(account, storages, grants, now).with_groups(groups).known_as_of(as_of)), to)
        };
        // One of many grants takes longer than others may wait for a thread.
        let (snapshot, to) = if large { tokio::task::spawn_blocking(made).await.map_err(failed)? } else { made() };
        snapshots.keep(since, id, Settled { snapshot: Arc::clone(&snapshot), to });
        Ok(snapshot)
    }
}

#[async_trait]
impl Revocations for Database {
    fn is_revoked(&self, origin: &Provenance) -> bool {
        self.shared.revoked.ends(origin)
    }

    fn current(&self) -> Result<(), Error> {
        self.heard_within(self.shared.settings.staleness.s3)
    }

    fn opening(&self, origin: &Provenance, now: Timestamp) -> Timestamp {
        self.shared.revoked.asking(origin, now)
    }

    async fn rights(&self, lease: LeaseId) -> Result<Option<Arc<Rights>>, Error> {
        let kept = &self.shared.memory.rights;
        if let Some(rights) = kept.get(&lease) {
            return Ok(Some(rights));
        }
        let settled = self.settle().await;
        let since = kept.generation();
        let Some(found) = self.find_lease(lease).await? else { return settled.map(|()| None) };
        let rights = self.rights_of(&found.opened).await?;
        kept.keep(since, lease, Arc::clone(&rights));
        Ok(Some(rights))
    }
}

#[async_trait]
impl Quotas for Database {
    async fn own_quota(&self, account: AccountId) -> Result<OwnQuota, Error> {
        let quotas = &self.shared.memory.quotas;
        if let Some(quota) = quotas.get(&account) {
            return Ok(quota);
        }
        let since = quotas.generation();
        let mut reader = self.reader().await?;
        let quota = registry::any_account(&mut reader, account).await?.map_or_else(OwnQuota::default, |own| own.quota);
        quotas.keep(since, account, quota);
        Ok(quota)
    }
}
