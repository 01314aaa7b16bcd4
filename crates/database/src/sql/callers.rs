//! The tables of callers and their tokens.

use jiff::Timestamp;
use valetkey_core::audit::Deed;
use valetkey_core::caller::{CallerRecord, CallerStanding, Role};
use valetkey_core::error::Noun;
use valetkey_core::id::{AccountId, CallerId, GrantId, TokenId};
use valetkey_core::lease::Revoker;
use valetkey_core::name::Name;
use valetkey_core::nouns::registry::TokenRecord;
use valetkey_core::nouns::rules;
use valetkey_core::token::{Maker, TokenDigest};
use valetkey_core::{Error, Kind};

use crate::sql::db::{Db, query, query_as, query_scalar};
use crate::sql::notes::Notes;
use crate::sql::registry::{self, taken};
use crate::sql::rows::removed_name;
use crate::sql::{failed, is_taken, rows};

pub(crate) async fn ensure_caller(
    db: &mut Db,
    new: CallerId,
    account: AccountId,
    name: &Name,
    role: Role,
    now: Timestamp,
) -> Result<CallerId, Error> {
    if let Some(known) = caller_named(&mut *db, account, name).await? {
        known.has_role(role)?;
        return Ok(known.id);
    }
    if registry::account(db, account).await?.is_none() {
        return Err(Error::not_found(Noun::Account));
    }
    query("INSERT INTO callers (id, account, name, role, made_ms) VALUES (?, ?, ?, ?, ?)")
        .bind(new.to_bytes())
        .bind(account.to_bytes())
        .bind(name.as_str().to_owned())
        .bind(role.as_str())
        .bind(now.as_millisecond())
        .execute(db)
        .await
        .map_err(taken(Noun::Caller, name.as_str()))?;
    Ok(new)
}

/// A caller by its name.
pub(crate) async fn caller_named(db: &mut Db, account: AccountId, name: &Name) -> Result<Option<CallerRecord>, Error> {
    let found: Option<rows::CallerRow> =
        query_as("SELECT id, account, name, role, standing FROM callers WHERE account = ? AND name = ?")
            .bind(account.to_bytes())
            .bind(name.as_str().to_owned())
            .fetch_optional(db)
            .await
            .map_err(failed)?;
    found.map(rows::caller).transpose()
}

/// The callers of an account that were not removed.
pub(crate) async fn callers(db: &mut Db, account: AccountId) -> Result<Vec<CallerRecord>, Error> {
    let found: Vec<rows::CallerRow> = query_as(
        "SELECT id, account, name, role, standing FROM callers WHERE account = ? AND standing <> 2 ORDER BY name",
    )
    .bind(account.to_bytes())
    .fetch_all(db)
    .await
    .map_err(failed)?;
    found.into_iter().map(rows::caller).collect()
}

/// A caller, also one that was removed.
pub(crate) async fn caller(db: &mut Db, id: CallerId) -> Result<Option<CallerRecord>, Error> {
    let found: Option<rows::CallerRow> = query_as("SELECT id, account, name, role, standing FROM callers WHERE id = ?")
        .bind(id.to_bytes())
        .fetch_optional(db)
        .await
        .map_err(failed)?;
    found.map(rows::caller).transpose()
}

/// Suspends or activates a caller. One that was removed is not there.
pub(crate) async fn stand(db: &mut Db, id: CallerId, standing: CallerStanding) -> Result<(), Error> {
    let done = query("UPDATE callers SET standing = ? WHERE id = ? AND standing <> 2")
        .bind(rows::caller_standing_number(standing))
        .bind(id.to_bytes())
        .execute(db)
        .await
        .map_err(failed)?;
    if done.rows_affected() == 0 { Err(Error::not_found(Noun::Caller)) } else { Ok(()) }
}

/// Removes a caller and what was given to it alone. Its row stays under a name that nobody takes.
pub(crate) async fn remove(db: &mut Db, id: CallerId, by: Revoker, notes: &mut Notes) -> Result<(), Error> {
    let known = caller(&mut *db, id).await?;
    let known = known
        .filter(|known| match known.standing {
            CallerStanding::Active | CallerStanding::Suspended => true,
            CallerStanding::Removed => false,
        })
        .ok_or_else(|| Error::not_found(Noun::Caller))?;
    let (at_ms, own, caller) = (by.at.as_millisecond(), id.to_bytes().to_vec(), by.by.to_bytes().to_vec());
    for (sql, noun) in [
        (
            "UPDATE tokens SET revoked_ms = ?1, revoked_by = ?2 WHERE caller = ?3 AND revoked_ms IS NULL RETURNING id",
            Noun::Token,
        ),
        (
            "UPDATE grants SET removed_ms = ?1, removed_by = ?2 WHERE caller = ?3 AND removed_ms IS NULL RETURNING id",
            Noun::Grant,
        ),
    ] {
        let query = query_scalar(sql).bind(at_ms).bind(caller.clone()).bind(own.clone());
        let ended: Vec<Vec<u8>> = query.fetch_all(&mut *db).await.map_err(failed)?;
        for id in ended {
            let id = rows::id(&id)?;
            if noun == Noun::Token {
                notes.did(Deed::Ended, noun, TokenId::from_bytes(id), "token");
                notes.token(&mut *db, TokenId::from_bytes(id)).await?;
            } else {
                notes.did(Deed::Removed, noun, GrantId::from_bytes(id), "");
            }
        }
    }
    for sql in [
        "DELETE FROM group_members WHERE caller = ?",
        "DELETE FROM share_grants WHERE caller = ?",
        "DELETE FROM share_recipients WHERE caller = ?",
        "DELETE FROM share_links WHERE caller = ? AND used_ms IS NULL",
    ] {
        query(sql).bind(own.clone()).execute(&mut *db).await.map_err(failed)?;
    }
    query("UPDATE callers SET standing = 2, name = ? WHERE id = ?")
        .bind(removed_name(&known.name, &known.id.to_string()).as_str().to_owned())
        .bind(own)
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    notes.did(Deed::Removed, Noun::Caller, id, known.name.as_str());
    Ok(())
}

/// The end that a maker allows to what it makes now.
pub(crate) async fn until_of(
    db: &mut Db,
    maker: Maker,
    asked: Option<Timestamp>,
    now: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    let own = match maker.token() {
        Some(token) => token_by_id(db, token).await?.map(|(record, _)| record),
        None => None,
    };
    rules::until_of(maker, own.as_ref(), asked, now)
}

/// What is stored of a new token.
pub(crate) struct NewToken {
    pub(crate) id: TokenId,
    pub(crate) caller: CallerId,
    pub(crate) digest: TokenDigest,
    pub(crate) tail: String,
    pub(crate) until: Option<Timestamp>,
    pub(crate) maker: Maker,
}

/// Makes a token that ends as its maker allows.
pub(crate) async fn create_token(
    db: &mut Db,
    new: NewToken,
    maker: Maker,
    now: Timestamp,
    notes: &mut Notes,
) -> Result<TokenRecord, Error> {
    let until = until_of(&mut *db, maker, new.until, now).await?;
    insert_token(&mut *db, NewToken { until, maker, ..new }, now, notes).await
}

/// Stores a token whose end was settled.
pub(crate) async fn insert_token(
    db: &mut Db,
    new: NewToken,
    now: Timestamp,
    notes: &mut Notes,
) -> Result<TokenRecord, Error> {
    let NewToken { id, caller: of, digest, tail, until, maker } = new;
    caller(db, of).await?.ok_or_else(|| Error::not_found(Noun::Caller))?.standing.takes_tokens()?;
    query(
        "INSERT INTO tokens (id, caller, digest, tail, made_ms, until_ms, form, made_by, outlives) VALUES (?, ?, ?, ?, ?, ?, 2, ?, ?)",
    )
    .bind(id.to_bytes())
    .bind(of.to_bytes())
    .bind(digest.as_bytes().to_vec())
    .bind(tail)
    .bind(now.as_millisecond())
    .bind(until.map(Timestamp::as_millisecond))
    .bind(maker.token().map(valetkey_core::id::TokenId::to_bytes))
    .bind(i64::from(maker.outlives()))
    .execute(&mut *db)
    .await
    .map_err(|error| {
        if is_taken(&error) {
            Error::new(Kind::AlreadyExists(Noun::Token), "the token is stored already")
        } else {
            failed(error)
        }
    })?;
    notes.token(&mut *db, id).await?;
    let found = token_by_id(db, id).await?;
    let (record, _) = found.ok_or_else(|| Error::internal("a new token is not there"))?;
    notes.did(Deed::Made, Noun::Token, id, &format!("of {}", record.caller_name));
    Ok(record)
}

/// A token by its digest: what the directory keeps of it.
pub(crate) async fn token_by_digest(db: &mut Db, digest: &TokenDigest) -> Result<Option<TokenRecord>, Error> {
    let found: Option<rows::TokenRow> = query_as(
        "SELECT t.id, c.id, c.name, c.account, c.role, c.standing, t.tail, t.made_ms, t.until_ms, t.revoked_ms, t.made_by
         FROM tokens t JOIN callers c ON c.id = t.caller WHERE t.digest = ?",
    )
    .bind(digest.as_bytes().to_vec())
    .fetch_optional(db)
    .await
    .map_err(failed)?;
    found.map(rows::token).transpose()
}

/// A token by its id, and its digest.
pub(crate) async fn token_by_id(db: &mut Db, id: TokenId) -> Result<Option<(TokenRecord, TokenDigest)>, Error> {
    let digest: Option<Vec<u8>> = query_scalar("SELECT digest FROM tokens WHERE id = ?")
        .bind(id.to_bytes())
        .fetch_optional(&mut *db)
        .await
        .map_err(failed)?;
    let Some(digest) = digest else { return Ok(None) };
    let digest: [u8; 32] = digest.as_slice().try_into().map_err(|_| rows::damaged("a digest"))?;
    let digest = TokenDigest::from_bytes(digest);
    Ok(token_by_digest(db, &digest).await?.map(|record| (record, digest)))
}

pub(crate) async fn end_token(db: &mut Db, token: TokenId, by: Revoker, notes: &mut Notes) -> Result<(), Error> {
    query("UPDATE tokens SET revoked_ms = ?, revoked_by = ? WHERE id = ? AND revoked_ms IS NULL")
        .bind(by.at.as_millisecond())
        .bind(by.by.to_bytes())
        .bind(token.to_bytes())
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    notes.did(Deed::Ended, Noun::Token, token, "token");
    notes.token(db, token).await
}

/// The tokens of an account, or of all.
pub(crate) async fn tokens(db: &mut Db, account: Option<AccountId>) -> Result<Vec<TokenRecord>, Error> {
    let found: Vec<rows::TokenRow> = query_as(
        "SELECT t.id, c.id, c.name, c.account, c.role, c.standing, t.tail, t.made_ms, t.until_ms, t.revoked_ms, t.made_by
         FROM tokens t JOIN callers c ON c.id = t.caller WHERE ?1 IS NULL OR c.account = ?1 ORDER BY t.id",
    )
    .bind(account.map(valetkey_core::id::AccountId::to_bytes))
    .fetch_all(db)
    .await
    .map_err(failed)?;
    found.into_iter().map(rows::token).collect()
}

/// The tokens of the callers of a role that are good.
pub(crate) async fn good_tokens_of_role(db: &mut Db, role: Role, now: Timestamp) -> Result<Vec<TokenId>, Error> {
    let found: Vec<rows::TokenRow> = query_as(
        "SELECT t.id, c.id, c.name, c.account, c.role, c.standing, t.tail, t.made_ms, t.until_ms, t.revoked_ms, t.made_by
         FROM callers c JOIN tokens t ON t.caller = c.id WHERE c.role = ? ORDER BY t.id",
    )
    .bind(role.as_str())
    .fetch_all(db)
    .await
    .map_err(failed)?;
    let all = found.into_iter().map(rows::token).collect::<Result<Vec<_>, Error>>()?;
    Ok(all.iter().filter(|record| record.is_live(now)).map(|record| record.id).collect())
}

/// The tokens that a token made, those that they made, and so on.
pub(crate) async fn tokens_made_by(db: &mut Db, token: TokenId) -> Result<Vec<TokenRecord>, Error> {
    let found: Vec<rows::TokenRow> = query_as(
        "WITH RECURSIVE made (id) AS (
             SELECT id FROM tokens WHERE made_by = ?1
             UNION SELECT tokens.id FROM tokens JOIN made ON tokens.made_by = made.id
         )
         SELECT t.id, c.id, c.name, c.account, c.role, c.standing, t.tail, t.made_ms, t.until_ms, t.revoked_ms, t.made_by
         FROM made JOIN tokens t ON t.id = made.id JOIN callers c ON c.id = t.caller ORDER BY t.id",
    )
    .bind(token.to_bytes())
    .fetch_all(db)
    .await
    .map_err(failed)?;
    found.into_iter().map(rows::token).collect()
}

/// The live tokens that a token made and that outlive an instant without an operator's leave, those that they made, and so on.
pub(crate) async fn made_outliving(db: &mut Db, token: TokenId, until: Timestamp) -> Result<Vec<TokenId>, Error> {
    let found: Vec<Vec<u8>> = query_scalar(
        "WITH RECURSIVE made (id) AS (
             SELECT id FROM tokens WHERE made_by = ?1 AND outlives = 0
             UNION SELECT tokens.id FROM tokens JOIN made ON tokens.made_by = made.id WHERE tokens.outlives = 0
         )
         SELECT t.id FROM made JOIN tokens t ON t.id = made.id
         WHERE t.revoked_ms IS NULL AND (t.until_ms IS NULL OR t.until_ms > ?2) ORDER BY t.id",
    )
    .bind(token.to_bytes())
    .bind(until.as_millisecond())
    .fetch_all(db)
    .await
    .map_err(failed)?;
    found.iter().map(|id| rows::id(id).map(TokenId::from_bytes)).collect()
}

/// Lets what comes of unused links of a token end no later than it does from now on.
pub(crate) async fn shorten_links(db: &mut Db, token: TokenId, until: Timestamp) -> Result<(), Error> {
    query(
        "UPDATE share_links SET no_later_ms = ?1, until_ms = CASE WHEN until_ms > ?1 THEN ?1 ELSE until_ms END
         WHERE made_by = ?2 AND used_ms IS NULL AND outlives = 0 AND (no_later_ms IS NULL OR no_later_ms > ?1)",
    )
    .bind(until.as_millisecond())
    .bind(token.to_bytes())
    .execute(db)
    .await
    .map_err(failed)?;
    Ok(())
}

/// Ends the links that were not used yet and that one of these tokens made.
pub(crate) async fn end_links_made_by(db: &mut Db, tokens: &[TokenId]) -> Result<u64, Error> {
    let mut ended = 0;
    for token in tokens {
        ended += query("DELETE FROM share_links WHERE made_by = ? AND used_ms IS NULL")
            .bind(token.to_bytes())
            .execute(&mut *db)
            .await
            .map_err(failed)?
            .rows_affected();
    }
    Ok(ended)
}
