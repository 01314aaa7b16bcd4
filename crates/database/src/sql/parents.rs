//! Parent access keys, and the digests of tokens from before there were any.

use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::audit::Deed;
use valetkey_core::caller::Role;
use valetkey_core::error::Noun;
use valetkey_core::id::{AccountId, CallerId, GrantId, TokenId};
use valetkey_core::nouns::parent::NewParent;
use valetkey_core::nouns::registry::TokenRecord;
use valetkey_core::token::{PlainToken, TokenDigest};

use crate::sql::callers::{self, NewToken};
use crate::sql::db::{Db, query, query_as, query_scalar};
use crate::sql::notes::Notes;
use crate::sql::{failed, registry, rows};

/// The ids of what a parent is made of.
pub(crate) struct Ids {
    pub(crate) caller: CallerId,
    pub(crate) token: TokenId,
    /// One for each bucket.
    pub(crate) grants: Vec<GrantId>,
}

/// A token by its id, if it is a parent, and its sealed secret.
pub(crate) async fn parent(db: &mut Db, token: TokenId) -> Result<Option<(TokenRecord, Vec<u8>)>, Error> {
    let sealed: Option<Vec<u8>> = query_scalar("SELECT sealed FROM parents WHERE token = ?")
        .bind(token.to_bytes())
        .fetch_optional(&mut *db)
        .await
        .map_err(failed)?;
    let Some(sealed) = sealed else { return Ok(None) };
    let found = callers::token_by_id(db, token).await?;
    let (record, _) = found.ok_or_else(|| rows::damaged("a parent without its token"))?;
    Ok(Some((record, sealed)))
}

/// Every parent's sealed secret.
pub(crate) async fn sealed(db: &mut Db) -> Result<Vec<(TokenId, Vec<u8>)>, Error> {
    let found: Vec<(Vec<u8>, Vec<u8>)> =
        query_as("SELECT token, sealed FROM parents").fetch_all(db).await.map_err(failed)?;
    found.into_iter().map(|(token, sealed)| Ok((TokenId::from_bytes(rows::id(&token)?), sealed))).collect()
}

/// Puts another seal of the same secret in a seal's place.
pub(crate) async fn reseal(db: &mut Db, token: TokenId, sealed: Vec<u8>) -> Result<(), Error> {
    query("UPDATE parents SET sealed = ? WHERE token = ?")
        .bind(sealed)
        .bind(token.to_bytes())
        .execute(db)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Makes a parent, whole or not at all.
pub(crate) async fn create(
    db: &mut Db,
    ids: &Ids,
    new: &NewParent,
    (token, sealed): (&PlainToken, Vec<u8>),
    now: Timestamp,
    notes: &mut Notes,
) -> Result<TokenRecord, Error> {
    if callers::caller_named(&mut *db, new.account, &new.name).await?.is_some() {
        return Err(new.taken());
    }
    callers::ensure_caller(&mut *db, ids.caller, new.account, &new.name, Role::Member, now).await?;
    for (bucket, id) in new.buckets.iter().zip(&ids.grants) {
        let storage = registry::bucket_of(&mut *db, bucket).await?;
        registry::create_grant(&mut *db, &new.grant(*id, ids.caller, bucket, storage)?, now).await?;
    }
    let until = callers::until_of(&mut *db, new.maker, new.until, now).await?;
    let own = NewToken {
        id: ids.token,
        caller: ids.caller,
        digest: token.digest(),
        tail: token.tail(),
        until,
        maker: new.maker,
    };
    let record = callers::insert_token(&mut *db, own, now, notes).await?;
    query("INSERT INTO parents (token, sealed) VALUES (?, ?)")
        .bind(ids.token.to_bytes())
        .bind(sealed)
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    notes.did(Deed::Made, Noun::ParentKey, record.id, new.name.as_str());
    Ok(record)
}

/// The parents of an account, or of all.
pub(crate) async fn list(db: &mut Db, account: Option<AccountId>) -> Result<Vec<TokenRecord>, Error> {
    let own: Vec<Vec<u8>> = query_scalar("SELECT token FROM parents").fetch_all(&mut *db).await.map_err(failed)?;
    let mut records = callers::tokens(db, account).await?;
    records.retain(|record| own.iter().any(|token| *token == record.id.to_bytes()));
    Ok(records)
}

/// Brings digests of the form from before to the form of today.
pub(crate) async fn renew_digests(db: &mut Db) -> Result<(), Error> {
    let old: Vec<(Vec<u8>, Vec<u8>)> =
        query_as("SELECT id, digest FROM tokens WHERE form = 1").fetch_all(&mut *db).await.map_err(failed)?;
    for (id, once) in old {
        let once: [u8; 32] = once.as_slice().try_into().map_err(|_| rows::damaged("a digest"))?;
        query("UPDATE tokens SET digest = ?, form = 2 WHERE id = ?")
            .bind(TokenDigest::of_digest(&once).as_bytes().to_vec())
            .bind(id)
            .execute(&mut *db)
            .await
            .map_err(failed)?;
    }
    Ok(())
}
