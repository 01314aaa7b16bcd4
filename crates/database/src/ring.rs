//! What a database knows of the keyring it is used with, and what becomes of it when that is lost.

use valetkey_core::Error;
use valetkey_core::audit::Deed;
use valetkey_core::error::Noun;
use valetkey_core::id::TokenId;
use valetkey_core::keyring::{CheckValue, Keyring};
use valetkey_core::lease::Revoker;
use valetkey_core::name::Name;
use valetkey_core::storage::StorageKind;

use crate::database::Database;
use crate::memory::Touches;
use crate::sql::db::Db;
use crate::sql::notes::{Notes, Unsaid};
use crate::sql::revocations::{self, Also};
use crate::sql::target::{End, Target};
use crate::sql::{parents, registry, ring, signing, sweep};

/// What only a keyring opens.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Sealed {
    /// Parent access keys that are not ended.
    pub parents: Vec<TokenId>,
    /// Storages with secrets.
    pub storages: Vec<Name>,
}

impl Database {
    /// What is known of the keyring this database was used with, the newest key first; nothing before [`Database::keep_ring`].
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn known_ring(&self) -> Result<Vec<CheckValue>, Error> {
        ring::known(&mut self.reader().await?).await
    }

    /// Remembers the keyring that this database is used with.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn keep_ring(&self, keys: &[CheckValue]) -> Result<(), Error> {
        if self.known_ring().await? == keys {
            return Ok(());
        }
        let now = self.shared.clock.now();
        self.shared.db.unsaid(Unsaid::Seals, async |db| ring::keep(db, keys, now).await).await
    }

    /// What is sealed with the keyring.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn sealed(&self) -> Result<Sealed, Error> {
        sealed(&mut self.reader().await?).await
    }

    /// Puts another keyring in the place of one that is lost: what that one sealed is taken away and its credentials are ended,
    /// all of it or nothing. Nobody may be served meanwhile. Says what was lost.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn replace_ring(&self, new: &Keyring, by: Revoker) -> Result<Sealed, Error> {
        let checkpoints = self.checkpoints_under(new).await?;
        let keys = new.check_values();
        let replace = async |db: &mut Db, notes: &mut Notes| {
            let lost = sealed(db).await?;
            let at_ms = by.at.as_millisecond();
            let longest_ms = registry::longest_ms(db).await?;
            let end = |target| End { target, at_ms, keep_until_ms: at_ms.saturating_add(longest_ms) };
            for token in &lost.parents {
                let (end, also) = (end(Target::Token(*token)), Also::EndToken(*token));
                revocations::revoke(db, end, by, longest_ms, also, notes).await?;
                parents::reseal(db, *token, Vec::new()).await?;
            }
            for storage in registry::storages(db).await? {
                if matches!(storage.kind, StorageKind::Embedded | StorageKind::Gateway) {
                    notes.did_end(Target::Storage(storage.id));
                    let end = end(Target::Storage(storage.id));
                    revocations::revoke(db, end, by, longest_ms, Also::Nothing, notes).await?;
                }
                if lost.storages.contains(&storage.name) {
                    registry::forget_secrets(db, storage.id).await?;
                    notes.did(Deed::Changed, Noun::Storage, storage.id, "its secrets were lost with the keyring");
                }
            }
            for key in signing::all(db).await? {
                signing::remove(db, &key.kid).await?;
                notes.did(Deed::Removed, Noun::SigningKey, &key.kid, "it was lost with the keyring");
            }
            for (at, sealed) in checkpoints {
                sweep::keep_checkpoint(db, &at, sealed).await?;
            }
            ring::keep(db, &keys, by.at).await?;
            let number = keys.first().map_or(0, |key| key.number);
            notes.did(Deed::Made, Noun::Keyring, number, "the one before was lost");
            Ok((lost, Touches::Everything))
        };
        self.administer_in(&mut self.shared.db.turn().await, replace).await
    }
}

async fn sealed(db: &mut Db) -> Result<Sealed, Error> {
    let mut found = Sealed::default();
    for (token, sealed) in parents::sealed(db).await? {
        let ended = parents::parent(db, token).await?.is_none_or(|(record, _)| record.revoked.is_some());
        if !ended && !sealed.is_empty() {
            found.parents.push(token);
        }
    }
    let storages = registry::storages(db).await?;
    let has = |storage: &valetkey_core::storage::Storage| {
        storage.external.as_deref().is_some_and(|external| external.secrets.is_some())
    };
    found.storages = storages.into_iter().filter(has).map(|storage| storage.name).collect();
    Ok(found)
}
