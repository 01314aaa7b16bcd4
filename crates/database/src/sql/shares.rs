//! The tables of shares: what is shared, with whom, the grants made of that, and links to profiles.

use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::audit::Deed;
use valetkey_core::error::Noun;
use valetkey_core::grant::Grantee;
use valetkey_core::id::{AccountId, CallerId, GrantId, ShareId, StorageId, TableId, TokenId};
use valetkey_core::lease::Revoker;
use valetkey_core::nouns::registry::TokenRecord;
use valetkey_core::nouns::rules::check_recipient;
use valetkey_core::nouns::share::{LinkDigest, ProfileKind, ProfileLink, Recipient, Share, no_share};
use valetkey_core::nouns::table::{History, SharedName, SharedTable, TableAccess, TableFormat, TableRoot};
use valetkey_core::token::{Maker, PlainToken};

use crate::sql::callers::{self, NewToken};
use crate::sql::db::{Db, query, query_as, query_scalar};
use crate::sql::failed;
use crate::sql::notes::Notes;
use crate::sql::registry::{self, taken};
use crate::sql::rows::{self, damaged};

pub(crate) fn grantee_bytes(to: Grantee) -> Vec<u8> {
    match to {
        Grantee::Everyone => Vec::new(),
        Grantee::Caller(caller) => caller.to_bytes().to_vec(),
        // Refused before: no share is given to a group.
        Grantee::Group(group) => group.to_bytes().to_vec(),
    }
}

fn grantee(bytes: &[u8]) -> Result<Grantee, Error> {
    Ok(if bytes.is_empty() { Grantee::Everyone } else { Grantee::Caller(CallerId::from_bytes(rows::id(bytes)?)) })
}

type ShareRow = (Vec<u8>, Vec<u8>, String, Option<String>, i64);

fn share((id, account, name, comment, made): ShareRow) -> Result<Share, Error> {
    Ok(Share {
        id: ShareId::from_bytes(rows::id(&id)?),
        account: AccountId::from_bytes(rows::id(&account)?),
        name: SharedName::parse(&name).map_err(|_| damaged("a share's name"))?,
        comment: comment.map(Into::into),
        made: rows::at_ms(made)?,
    })
}

type TableRow = (Vec<u8>, Vec<u8>, String, String, Vec<u8>, String, String, String, String, String, Option<String>);

fn table(row: TableRow) -> Result<SharedTable, Error> {
    let (id, share, schema, name, storage, bucket, root, auxiliary, access, history, format) = row;
    let directory = |text: &str| TableRoot::parse(text).map_err(|_| damaged("a table's directory"));
    Ok(SharedTable {
        id: TableId::from_bytes(rows::id(&id)?),
        share: ShareId::from_bytes(rows::id(&share)?),
        schema: SharedName::part(&schema).map_err(|_| damaged("a schema's name"))?,
        name: SharedName::part(&name).map_err(|_| damaged("a table's name"))?,
        storage: StorageId::from_bytes(rows::id(&storage)?),
        bucket: rows::bucket(&bucket)?,
        root: directory(&root)?,
        auxiliary: auxiliary.lines().map(directory).collect::<Result<_, _>>()?,
        access: TableAccess::parse(&access).ok_or_else(|| damaged("a table's access"))?,
        history: History::parse(&history).ok_or_else(|| damaged("a table's history"))?,
        format: format
            .map(|format| TableFormat::parse(&format).ok_or_else(|| damaged("a table's format")))
            .transpose()?,
    })
}

type RecipientRow = (Vec<u8>, Vec<u8>, Vec<u8>, i64, Option<i64>, i64);

fn recipient((share, account, caller, max, until, made): RecipientRow) -> Result<Recipient, Error> {
    Ok(Recipient {
        share: ShareId::from_bytes(rows::id(&share)?),
        account: AccountId::from_bytes(rows::id(&account)?),
        to: grantee(&caller)?,
        max_lifetime: rows::lifetime(max)?,
        until: rows::at_ms_opt(until)?,
        made: rows::at_ms(made)?,
    })
}

pub(crate) async fn create_share(db: &mut Db, share: &Share) -> Result<(), Error> {
    if registry::account(db, share.account).await?.is_none() {
        return Err(Error::not_found(Noun::Account));
    }
    query("INSERT INTO shares (id, account, name, folded, comment, made_ms) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(share.id.to_bytes())
        .bind(share.account.to_bytes())
        .bind(share.name.as_str().to_owned())
        .bind(share.name.folded().to_owned())
        .bind(share.comment.as_deref().map(ToOwned::to_owned))
        .bind(share.made.as_millisecond())
        .execute(db)
        .await
        .map_err(taken(Noun::Share, share.name.as_str()))?;
    Ok(())
}

pub(crate) async fn shares(db: &mut Db) -> Result<Vec<Share>, Error> {
    let found: Vec<ShareRow> = query_as("SELECT id, account, name, comment, made_ms FROM shares ORDER BY folded")
        .fetch_all(db)
        .await
        .map_err(failed)?;
    found.into_iter().map(share).collect()
}

async fn check_share(db: &mut Db, share: ShareId) -> Result<(), Error> {
    let there: Option<i64> = query_scalar("SELECT 1 FROM shares WHERE id = ?")
        .bind(share.to_bytes())
        .fetch_optional(db)
        .await
        .map_err(failed)?;
    there.map(|_| ()).ok_or_else(no_share)
}

/// Stores a table and a grant of it for each recipient of its share. Says whose grants changed.
pub(crate) async fn add_table(
    db: &mut Db,
    table: &SharedTable,
    now: Timestamp,
    mut new_id: impl FnMut() -> GrantId,
) -> Result<Vec<AccountId>, Error> {
    check_share(&mut *db, table.share).await?;
    registry::check_place(&mut *db, table.storage, &table.bucket).await?;
    let auxiliary: Vec<&str> = table.auxiliary.iter().map(TableRoot::as_str).collect();
    query(
        "INSERT INTO shared_tables
             (id, share, schema_name, schema_folded, name, folded, storage, bucket, root, auxiliary, access, history, format, made_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(table.id.to_bytes())
    .bind(table.share.to_bytes())
    .bind(table.schema.as_str().to_owned())
    .bind(table.schema.folded().to_owned())
    .bind(table.name.as_str().to_owned())
    .bind(table.name.folded().to_owned())
    .bind(table.storage.to_bytes())
    .bind(table.bucket.as_str().to_owned())
    .bind(table.root.as_str().to_owned())
    .bind(auxiliary.join("\n"))
    .bind(table.access.as_str())
    .bind(table.history.as_str())
    .bind(table.format.map(TableFormat::as_str))
    .bind(now.as_millisecond())
    .execute(&mut *db)
    .await
    .map_err(taken(Noun::Table, table.name.as_str()))?;
    let recipients = recipients(&mut *db, table.share).await?;
    for recipient in &recipients {
        insert_grant(&mut *db, table, recipient, new_id(), now).await?;
    }
    Ok(recipients.into_iter().map(|recipient| recipient.account).collect())
}

async fn insert_grant(
    db: &mut Db,
    table: &SharedTable,
    recipient: &Recipient,
    id: GrantId,
    now: Timestamp,
) -> Result<(), Error> {
    registry::insert_grant(db, &table.grant(id, recipient)?, now).await?;
    query("INSERT INTO share_grants (grant_id, share, shared_table, account, caller) VALUES (?, ?, ?, ?, ?)")
        .bind(id.to_bytes())
        .bind(table.share.to_bytes())
        .bind(table.id.to_bytes())
        .bind(recipient.account.to_bytes())
        .bind(grantee_bytes(recipient.to))
        .execute(db)
        .await
        .map_err(failed)?;
    Ok(())
}

pub(crate) async fn tables(db: &mut Db, share: ShareId) -> Result<Vec<SharedTable>, Error> {
    check_share(db, share).await?;
    let found: Vec<TableRow> = query_as(
        "SELECT id, share, schema_name, name, storage, bucket, root, auxiliary, access, history, format
         FROM shared_tables WHERE share = ? ORDER BY schema_folded, folded",
    )
    .bind(share.to_bytes())
    .fetch_all(db)
    .await
    .map_err(failed)?;
    found.into_iter().map(table).collect()
}

/// Stores whom a share is given to and a grant of each of its tables, in place of what was there of the same recipient.
pub(crate) async fn add_recipient(
    db: &mut Db,
    recipient: &Recipient,
    by: Revoker,
    mut new_id: impl FnMut() -> GrantId,
) -> Result<(), Error> {
    let tables = tables(&mut *db, recipient.share).await?;
    if registry::account(&mut *db, recipient.account).await?.is_none() {
        return Err(Error::not_found(Noun::Account));
    }
    check_recipient(recipient.account, recipient.to, registry::grantee_of(&mut *db, recipient.to).await?)?;
    let same = Which::Recipient { share: recipient.share, account: recipient.account, to: recipient.to };
    remove_grants(&mut *db, same, by).await?;
    query(
        "INSERT INTO share_recipients (share, account, caller, max_lifetime_s, until_ms, made_ms) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (share, account, caller) DO UPDATE SET max_lifetime_s = excluded.max_lifetime_s, until_ms = excluded.until_ms",
    )
    .bind(recipient.share.to_bytes())
    .bind(recipient.account.to_bytes())
    .bind(grantee_bytes(recipient.to))
    .bind(i64::from(recipient.max_lifetime.as_secs()))
    .bind(recipient.until.map(Timestamp::as_millisecond))
    .bind(recipient.made.as_millisecond())
    .execute(&mut *db)
    .await
    .map_err(failed)?;
    for table in &tables {
        insert_grant(&mut *db, table, recipient, new_id(), recipient.made).await?;
    }
    Ok(())
}

pub(crate) async fn recipients(db: &mut Db, share: ShareId) -> Result<Vec<Recipient>, Error> {
    check_share(db, share).await?;
    let found: Vec<RecipientRow> = query_as(
        "SELECT share, account, caller, max_lifetime_s, until_ms, made_ms FROM share_recipients WHERE share = ?
         ORDER BY made_ms, account, caller",
    )
    .bind(share.to_bytes())
    .fetch_all(db)
    .await
    .map_err(failed)?;
    found.into_iter().map(recipient).collect()
}

/// What is taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    Share(ShareId),
    Table(TableId),
    Recipient { share: ShareId, account: AccountId, to: Grantee },
}

impl Which {
    /// What the statements below compare with: share, table, account, caller; absent ones match everything.
    fn bound(self) -> [Option<Vec<u8>>; 4] {
        match self {
            Self::Share(share) => [Some(share.to_bytes().to_vec()), None, None, None],
            Self::Table(table) => [None, Some(table.to_bytes().to_vec()), None, None],
            Self::Recipient { share, account, to } => {
                [Some(share.to_bytes().to_vec()), None, Some(account.to_bytes().to_vec()), Some(grantee_bytes(to))]
            }
        }
    }
}

/// The grants made of it, and whose they are.
pub(crate) async fn grants(db: &mut Db, which: Which) -> Result<Vec<(GrantId, AccountId)>, Error> {
    let [share, table, account, caller] = which.bound();
    let found: Vec<(Vec<u8>, Vec<u8>)> = query_as(
        "SELECT grant_id, account FROM share_grants WHERE (?1 IS NULL OR share = ?1) AND (?2 IS NULL OR shared_table = ?2)
         AND (?3 IS NULL OR account = ?3) AND (?4 IS NULL OR caller = ?4)",
    )
    .bind(share)
    .bind(table)
    .bind(account)
    .bind(caller)
    .fetch_all(db)
    .await
    .map_err(failed)?;
    found
        .into_iter()
        .map(|(grant, account)| {
            Ok((GrantId::from_bytes(rows::id(&grant)?), AccountId::from_bytes(rows::id(&account)?)))
        })
        .collect()
}

/// Removes the grants made of it. They stay on record, like every removed grant.
async fn remove_grants(db: &mut Db, which: Which, by: Revoker) -> Result<(), Error> {
    for (grant, account) in grants(db, which).await? {
        query("DELETE FROM share_grants WHERE grant_id = ?")
            .bind(grant.to_bytes())
            .execute(&mut *db)
            .await
            .map_err(failed)?;
        registry::remove_grant(db, account, grant, by).await?;
    }
    Ok(())
}

/// Takes it back, with the grants made of it. Says who had something of it.
pub(crate) async fn remove(db: &mut Db, which: Which, by: Revoker) -> Result<Vec<AccountId>, Error> {
    let share = match which {
        Which::Share(share) | Which::Recipient { share, .. } => share,
        Which::Table(table) => {
            let share: Option<Vec<u8>> = query_scalar("SELECT share FROM shared_tables WHERE id = ?")
                .bind(table.to_bytes())
                .fetch_optional(&mut *db)
                .await
                .map_err(failed)?;
            let share = share.ok_or_else(|| Error::not_found(Noun::Table))?;
            ShareId::from_bytes(rows::id(&share)?)
        }
    };
    let concerned = recipients(&mut *db, share).await?.into_iter().map(|one| one.account).collect();
    remove_grants(&mut *db, which, by).await?;
    match which {
        Which::Share(share) => {
            for sql in [
                "DELETE FROM share_recipients WHERE share = ?",
                "DELETE FROM shared_tables WHERE share = ?",
                "DELETE FROM shares WHERE id = ?",
            ] {
                query(sql).bind(share.to_bytes()).execute(&mut *db).await.map_err(failed)?;
            }
        }
        Which::Table(table) => {
            query("DELETE FROM shared_tables WHERE id = ?")
                .bind(table.to_bytes())
                .execute(&mut *db)
                .await
                .map_err(failed)?;
        }
        Which::Recipient { share, account, to } => {
            let done = query("DELETE FROM share_recipients WHERE share = ? AND account = ? AND caller = ?")
                .bind(share.to_bytes())
                .bind(account.to_bytes())
                .bind(grantee_bytes(to))
                .execute(&mut *db)
                .await
                .map_err(failed)?;
            if done.rows_affected() == 0 {
                return Err(Error::not_found(Noun::Grant));
            }
        }
    }
    Ok(concerned)
}

/// Everything an account was given, in one view: a change between two of the three tables must not show half of itself.
pub(crate) async fn shared_with(
    view: &mut Db,
    account: AccountId,
) -> Result<(Vec<Share>, Vec<SharedTable>, Vec<Recipient>), Error> {
    let found: Vec<RecipientRow> = query_as(
        "SELECT share, account, caller, max_lifetime_s, until_ms, made_ms FROM share_recipients WHERE account = ?",
    )
    .bind(account.to_bytes())
    .fetch_all(&mut *view)
    .await
    .map_err(failed)?;
    let recipients = found.into_iter().map(recipient).collect::<Result<Vec<_>, Error>>()?;
    let found: Vec<ShareRow> = query_as(
        "SELECT id, account, name, comment, made_ms FROM shares
         WHERE id IN (SELECT share FROM share_recipients WHERE account = ?)",
    )
    .bind(account.to_bytes())
    .fetch_all(&mut *view)
    .await
    .map_err(failed)?;
    let shares = found.into_iter().map(share).collect::<Result<Vec<_>, Error>>()?;
    let found: Vec<TableRow> = query_as(
        "SELECT id, share, schema_name, name, storage, bucket, root, auxiliary, access, history, format FROM shared_tables
         WHERE share IN (SELECT share FROM share_recipients WHERE account = ?)",
    )
    .bind(account.to_bytes())
    .fetch_all(&mut *view)
    .await
    .map_err(failed)?;
    let tables = found.into_iter().map(table).collect::<Result<Vec<_>, Error>>()?;
    Ok((shares, tables, recipients))
}

pub(crate) async fn create_link(
    db: &mut Db,
    code: &LinkDigest,
    link: ProfileLink,
    maker: Maker,
    now: Timestamp,
) -> Result<ProfileLink, Error> {
    if registry::caller_account(&mut *db, link.caller).await?.is_none() {
        return Err(Error::not_found(Noun::Caller));
    }
    let no_later = callers::until_of(&mut *db, maker, None, now).await?;
    let until = no_later.map_or(link.until, |no_later| no_later.min(link.until));
    let link = ProfileLink { until, made_by: maker.token(), no_later, ..link };
    query(
        "INSERT INTO share_links (digest, caller, kind, token_lifetime_s, until_ms, made_ms, made_by, no_later_ms, outlives)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(code.as_bytes().to_vec())
    .bind(link.caller.to_bytes())
    .bind(link.kind.as_str())
    .bind(link.token_lifetime.map(|lifetime| i64::from(lifetime.as_secs())))
    .bind(link.until.as_millisecond())
    .bind(now.as_millisecond())
    .bind(link.made_by.map(valetkey_core::id::TokenId::to_bytes))
    .bind(link.no_later.map(Timestamp::as_millisecond))
    .bind(i64::from(maker.outlives()))
    .execute(&mut *db)
    .await
    .map_err(failed)?;
    Ok(link)
}

type LinkRow = (Vec<u8>, String, Option<i64>, i64, Option<Vec<u8>>, Option<i64>, i64);

/// Makes the token of a link. One whose maker was revoked makes none, nor one that is ended and not on record yet.
pub(crate) async fn redeem_link(
    db: &mut Db,
    code: &LinkDigest,
    id: TokenId,
    token: &PlainToken,
    now: Timestamp,
    ended: impl Fn(&ProfileLink) -> bool,
    notes: &mut Notes,
) -> Result<Option<(ProfileLink, TokenRecord)>, Error> {
    let found: Option<LinkRow> = query_as(
        "SELECT caller, kind, token_lifetime_s, until_ms, made_by, no_later_ms, outlives FROM share_links
         WHERE digest = ?2 AND used_ms IS NULL AND until_ms > ?1
         AND NOT EXISTS (SELECT 1 FROM tokens WHERE tokens.id = share_links.made_by AND tokens.revoked_ms IS NOT NULL)",
    )
    .bind(now.as_millisecond())
    .bind(code.as_bytes().to_vec())
    .fetch_optional(&mut *db)
    .await
    .map_err(failed)?;
    let Some((caller, kind, lifetime, until, made_by, no_later, outlives)) = found else { return Ok(None) };
    let link = ProfileLink {
        caller: CallerId::from_bytes(rows::id(&caller)?),
        kind: ProfileKind::parse(&kind).ok_or_else(|| damaged("a kind of profile"))?,
        token_lifetime: lifetime.map(rows::lifetime).transpose()?,
        until: rows::at_ms(until)?,
        made_by: made_by.as_deref().map(|maker| rows::id(maker).map(TokenId::from_bytes)).transpose()?,
        no_later: rows::at_ms_opt(no_later)?,
    };
    if ended(&link) {
        return Ok(None);
    }
    query("UPDATE share_links SET used_ms = ? WHERE digest = ?")
        .bind(now.as_millisecond())
        .bind(code.as_bytes().to_vec())
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    let until = link.token_until(now);
    let maker = match link.made_by {
        None => Maker::Server,
        Some(maker) if outlives == 0 => Maker::Token(maker),
        Some(maker) => Maker::Outlived(maker),
    };
    let own = NewToken { id, caller: link.caller, digest: token.digest(), tail: token.tail(), until, maker };
    let record = callers::insert_token(&mut *db, own, now, notes).await?;
    Ok(Some((link, record)))
}

pub(crate) async fn end_links(db: &mut Db, caller: CallerId) -> Result<u64, Error> {
    let done = query("DELETE FROM share_links WHERE caller = ? AND used_ms IS NULL")
        .bind(caller.to_bytes())
        .execute(db)
        .await
        .map_err(failed)?;
    Ok(done.rows_affected())
}

pub(crate) async fn end_token_at(
    db: &mut Db,
    token: TokenId,
    until: Timestamp,
    notes: &mut Notes,
) -> Result<(), Error> {
    query("UPDATE tokens SET until_ms = ?1 WHERE id = ?2 AND (until_ms IS NULL OR until_ms > ?1)")
        .bind(until.as_millisecond())
        .bind(token.to_bytes())
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    notes.did(Deed::Changed, Noun::Token, token, "ends earlier");
    notes.token(db, token).await
}
