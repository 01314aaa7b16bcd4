//! Parent access keys: from memory when warm, their secrets sealed in the database.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::Kind;
use valetkey_core::grant::Grantee;
use valetkey_core::id::{AccountId, CallerId, GrantId, LeaseId, TokenId};
use valetkey_core::keyring::{Keyring, SEAL_NONCE_LEN, SharedKeyring};
use valetkey_core::lease::Revoker;
use valetkey_core::nouns::parent::{Child, NewParent, Parent, ParentAdmin, ParentRecord, Parents};
use valetkey_core::nouns::registry::TokenRecord;
use valetkey_core::nouns::registry::methods::*;
use valetkey_core::port::Directory as _;
use valetkey_core::secret::Secret;
use valetkey_core::time::random_10;
use valetkey_core::token::PlainToken;

use crate::database::Database;
use crate::ends::is_unread;
use crate::memory::{KnownParent, MOST_PARENTS, Touches, caller_of};
use crate::sql::db::Db;
use crate::sql::notes::Unsaid;
use crate::sql::{parents, revocations};

/// What the seals of parents' secrets are for.
const PURPOSE: &str = "secret access key of a parent";
/// For how long a token is remembered to be no parent.
const NONE_MS: i64 = 10_000;

/// Parent access keys of a store. Clones share it.
#[derive(Clone, Debug)]
pub struct ParentKeys {
    database: Database,
    keyring: SharedKeyring,
    ended: Arc<EndedChildren>,
}

/// Until when each credential of a parent that this server ended one by one has to be remembered. What is on record is counted
/// besides; this bounds what is still to be written.
#[derive(Debug, Default)]
struct EndedChildren(Mutex<HashMap<TokenId, BTreeMap<LeaseId, Timestamp>>>);

impl EndedChildren {
    fn count(&self, child: (TokenId, LeaseId), until: Timestamp, now: Timestamp, most: usize) -> Result<(), Error> {
        let (parent, child) = child;
        let mut parents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if parents.len() > MOST_PARENTS {
            parents.retain(|_, ended| ended.values().any(|until| *until > now));
        }
        let ended = parents.entry(parent).or_default();
        if ended.len() >= most && !ended.contains_key(&child) {
            ended.retain(|_, until| *until > now);
            if ended.len() >= most {
                return Err(too_many(most));
            }
        }
        ended.insert(child, until);
        Ok(())
    }
}

fn too_many(most: usize) -> Error {
    let said = format!("{most} credentials of this parent access key are ended one by one already; end the key itself");
    Error::new(Kind::Invalid, said)
}

impl ParentKeys {
    /// The parent access keys of a store, with the keyring that seals their secrets. What was sealed with an older key of it is
    /// sealed with the current one.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn open(database: &Database, keyring: SharedKeyring) -> Result<Self, Error> {
        let _ = database.shared.keyring.set(keyring.clone());
        let own = Self { database: database.clone(), keyring, ended: Arc::default() };
        own.reseal().await?;
        Ok(own)
    }

    /// The parents of a store that are not ended and whose secrets a ring cannot open.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn unopened(database: &Database, ring: &Keyring) -> Result<Vec<TokenId>, Error> {
        let mut reader = database.reader().await?;
        let mut found = Vec::new();
        for (token, sealed) in parents::sealed(&mut reader).await? {
            let opens = ring.open_bytes(PURPOSE, &token.to_bytes(), &sealed).is_some();
            if !opens && parents::parent(&mut reader, token).await?.is_some_and(|(record, _)| record.revoked.is_none())
            {
                found.push(token);
            }
        }
        Ok(found)
    }

    /// Seals with the current key what was sealed with an older one: to be called after the ring was replaced.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn reseal(&self) -> Result<(), Error> {
        let ring = self.keyring.load();
        self.database.reseal_checkpoint(&ring).await?;
        let reseal = async |db: &mut Db| {
            for (token, sealed) in parents::sealed(db).await? {
                // Nothing is left where the ring it was sealed with was lost (`ring.rs`).
                if sealed.is_empty() || ring.is_current(&sealed) {
                    continue;
                }
                if let Some(plain) = ring.open_bytes(PURPOSE, &token.to_bytes(), &sealed) {
                    let again = ring.seal_bytes(PURPOSE, &token.to_bytes(), plain.reveal(), self.nonce())?;
                    parents::reseal(db, token, again).await?;
                } else {
                    tracing::warn!(
                        token.id = %token,
                        "the parent access key {token} was sealed with a key that is not in the ring: it cannot be used"
                    );
                }
            }
            Ok(())
        };
        self.database.shared.db.unsaid(Unsaid::Seals, reseal).await
    }

    fn nonce(&self) -> [u8; SEAL_NONCE_LEN] {
        let mut nonce = [0; SEAL_NONCE_LEN];
        self.database.shared.entropy.fill(&mut nonce);
        nonce
    }

    /// What memory knows: a parent, or that there is none.
    #[expect(clippy::option_option, reason = "not known and known to be none are not the same")]
    fn remembered(&self, token: TokenId, now: Timestamp) -> Option<Option<KnownParent>> {
        let memory = &self.database.shared.memory;
        if let Some(known) = memory.parents.get(&token) {
            return Some(Some(known));
        }
        let left = memory.no_parents.get(&token)?.saturating_sub(now.as_millisecond());
        (left > 0 && left <= NONE_MS).then_some(None)
    }

    async fn known(&self, token: TokenId, now: Timestamp) -> Result<Option<KnownParent>, Error> {
        if let Some(answer) = self.remembered(token, now) {
            return Ok(answer);
        }
        let memory = &self.database.shared.memory;
        let _one = memory.parents.loading(&token).await;
        if let Some(answer) = self.remembered(token, now) {
            return Ok(answer);
        }
        let as_of = self.database.as_of();
        let (since, none_since) = (memory.parents.generation(), memory.no_parents.generation());
        let mut reader = self.database.reader().await?;
        let found = parents::parent(&mut reader, token).await?.filter(|(_, sealed)| !sealed.is_empty());
        let Some((record, sealed)) = found else {
            memory.no_parents.keep(none_since, token, now.as_millisecond().saturating_add(NONE_MS));
            return Ok(None);
        };
        let plain = self.keyring.load().open_bytes(PURPOSE, &token.to_bytes(), &sealed);
        let secret = plain.and_then(|plain| String::from_utf8(plain.reveal().clone()).ok()).ok_or_else(|| {
            Error::internal(format!("the secret of the parent access key {token} was sealed with a key that is gone"))
        })?;
        let ended = record.revoked.is_some() || record.standing.served().is_err();
        let known = KnownParent {
            caller: Arc::new(caller_of(record, None, as_of)),
            ended,
            secret: Secret::new(secret),
            settled: Arc::default(),
        };
        memory.parents.keep(since, token, known.clone());
        Ok(Some(known))
    }

    async fn record(&self, token: TokenRecord) -> Result<ParentRecord, Error> {
        let grants = self.database.grants(token.account).await?;
        let own =
            grants.iter().filter(|grant| grant.to == Grantee::Caller(token.caller) && grant.origin.share().is_none());
        let reach = own.map(|grant| (grant.scope.bucket().clone(), grant.scope.actions())).collect();
        Ok(ParentRecord { token, reach })
    }
}

#[async_trait]
impl Parents for ParentKeys {
    async fn parent(&self, token: TokenId, now: Timestamp) -> Result<Option<Arc<Parent>>, Error> {
        let Some(known) = self.known(token, now).await? else { return Ok(None) };
        if known.ended || self.database.shared.revoked.is_dead(token) || known.caller.in_time(now).is_err() {
            return Ok(None);
        }
        let snapshot = self.database.account(known.caller.account, now).await?;
        Ok(Some(known.at(&snapshot, now)))
    }

    async fn parents(&self, account: Option<AccountId>) -> Result<Vec<ParentRecord>, Error> {
        let tokens = {
            let mut reader = self.database.reader().await?;
            parents::list(&mut reader, account).await?
        };
        let mut records = Vec::with_capacity(tokens.len());
        for token in tokens {
            records.push(self.record(token).await?);
        }
        Ok(records)
    }
}

#[async_trait]
impl ParentAdmin for ParentKeys {
    async fn create_parent(&self, new: NewParent, token: &PlainToken, now: Timestamp) -> Result<ParentRecord, Error> {
        new.check(now)?;
        let noise = || random_10(&*self.database.shared.entropy);
        let ids = parents::Ids {
            caller: CallerId::new(now, noise()),
            token: TokenId::new(now, noise()),
            grants: new.buckets.iter().map(|_| GrantId::new(now, noise())).collect(),
        };
        let secret = token.secret_access_key();
        let ring = self.keyring.load();
        let sealed = ring.seal_bytes(PURPOSE, &ids.token.to_bytes(), secret.reveal().as_bytes(), self.nonce())?;
        let token = token.clone();
        let create = self.database.administer(move |db, notes| {
            Box::pin(async move {
                let record = parents::create(db, &ids, &new, (&token, sealed), now, notes).await?;
                let touches = Touches::Parent { account: new.account, id: record.id, digest: token.digest() };
                Ok((record, touches))
            })
        });
        let record = create.await?;
        self.record(record).await
    }

    async fn end_child(&self, child: &Child, by: Revoker) -> Result<(), Error> {
        if child.until <= by.at {
            // Over by itself: nothing is to be remembered.
            return Ok(());
        }
        let (parent, lease, most) = (child.parent, child.lease(), self.database.shared.settings.ended_children);
        let now_ms = by.at.as_millisecond();
        let on_record =
            async { revocations::ended_of(&mut self.database.reader().await?, parent, lease, now_ms).await };
        match on_record.await {
            Ok(ended) if ended >= u64::try_from(most).unwrap_or(u64::MAX) => return Err(too_many(most)),
            // What cannot be read keeps no credential alive.
            Err(error) if !is_unread(&error) => return Err(error),
            Ok(_) | Err(_) => {}
        }
        self.ended.count((parent, lease), child.until, by.at, most)?;
        self.database.end_unlisted(lease, parent, child.until, by).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_has_so_many_credentials_ended_one_by_one_and_no_more_until_some_are_over() {
        const MOST: usize = 100;
        let ended = EndedChildren::default();
        let (parent, now) = (TokenId::from_bytes([4; 16]), Timestamp::from_second(1_767_225_600).unwrap());
        let later = |secs| now + jiff::SignedDuration::from_secs(secs);
        let child = |n: usize| LeaseId::new(now, u128::try_from(n).unwrap().to_be_bytes()[6..].try_into().unwrap());
        let count = |parent, n, secs, at| ended.count((parent, child(n)), later(secs), later(at), MOST);
        for n in 0..MOST {
            count(parent, n, if n == 7 { 10 } else { 600 }, 0).unwrap();
        }
        assert_eq!(count(parent, MOST, 600, 0).unwrap_err().kind(), Kind::Invalid);
        // The same one again is no more, and another parent's are its own.
        count(parent, 0, 600, 0).unwrap();
        count(TokenId::from_bytes([5; 16]), MOST, 600, 0).unwrap();
        count(parent, MOST, 600, 10).unwrap();
        count(parent, MOST + 1, 600, 10).unwrap_err();
    }
}
