//! A change of the registry, and what it says of itself in the ledger: both in one transaction.
//!
//! INVARIANT: [`Turn::administer`] is the one way to change the registry. It hands out [`Notes`], and a change that leaves them
//! empty is undone. What ends credentials and what a token is are noted where the rows are written, so that verifying can hold
//! one against the other.

use std::sync::{Mutex, PoisonError};

use valetkey_core::Error;
use valetkey_core::audit::{Author, Change, ChangeFilter, Deed, Place};
use valetkey_core::error::Noun;
use valetkey_core::id::{CallerId, TokenId};
use valetkey_sql::Fault;

use crate::sql::db::{Db, query, query_as, query_scalar};
use crate::sql::entry::{self, Entry};
use crate::sql::note::{self, Note, TokenNote, TokenState};
use crate::sql::pages::{self, Head, Page, Unfit};
use crate::sql::rows::{self, count};
use crate::sql::target::{End, Target};
use crate::sql::{Sql, failed, nodes};

/// Entries in one page of notes.
const ENTRIES: u32 = 4096;

/// Why a change says nothing in the ledger: it is no change of the registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unsaid {
    /// What was counted.
    Counts,
    /// Packages and their blobs: what an account keeps, like its objects.
    Packages,
    /// Credentials of external storages, which leases tell of.
    Pool,
    /// The index of the pages.
    Index,
    /// What is over is removed.
    Retention,
    /// Seals and check values of the keyring.
    Seals,
    /// What the server's own settings say.
    Settings,
}

type Writing<'a> = valetkey_sql::Writing<'a, Db>;

/// The turn to write: others wait until it is dropped.
pub(crate) struct Turn<'a> {
    writing: Writing<'a>,
    head: &'a Mutex<Head>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(writing: Writing<'a>, head: &'a Mutex<Head>) -> Self {
        Self { writing, head }
    }

    /// Asks the connection that writes.
    pub(crate) async fn ask<T>(&mut self, question: impl AsyncFnOnce(&mut Db) -> Result<T, Error>) -> Result<T, Error> {
        self.writing.ask(question).await
    }

    /// How many connections there were.
    pub(crate) fn opened(&self) -> u64 {
        self.writing.opened()
    }

    /// Changes something that is not of the registry: all of it or nothing.
    pub(crate) async fn unsaid<T>(
        &mut self,
        why: Unsaid,
        change: impl AsyncFnOnce(&mut Db) -> Result<T, Error>,
    ) -> Result<T, Error> {
        tracing::trace!(?why, "a change that the ledger does not tell of");
        let alone = async |db: &mut Db| {
            if db.is_postgres() {
                match why {
                    Unsaid::Counts | Unsaid::Packages | Unsaid::Pool | Unsaid::Index => {}
                    Unsaid::Retention => nodes::index(db).await?,
                    Unsaid::Seals | Unsaid::Settings => drop(nodes::exclude(db).await?),
                }
            }
            change(db).await
        };
        self.writing.change(alone).await.map_err(Fault::into_error)
    }

    /// Writes a page of leases.
    pub(crate) async fn page(&mut self, head: &Head, page: &Page) -> Result<Head, Unfit> {
        self.writing.append(async |db: &mut Db| pages::append(db, head, page).await).await.map_err(Fault::into_error)
    }

    /// Changes the registry and notes it in the ledger: all of it or nothing.
    pub(crate) async fn administer<T>(
        &mut self,
        mut notes: Notes,
        change: impl AsyncFnOnce(&mut Db, &mut Notes) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let whole = async |db: &mut Db| {
            if db.is_postgres() {
                notes.turn = Some(nodes::exclude(db).await?);
            }
            let before = db.changed_rows();
            let done = change(&mut *db, &mut notes).await?;
            let head = notes.keep(&mut *db, before).await?;
            Ok((done, head))
        };
        let (done, head) = self.writing.change::<_, Error>(whole).await.map_err(Fault::into_error)?;
        if let Some(head) = head {
            self.set_head(head);
        }
        Ok(done)
    }

    /// The last page, as far as this process knows.
    pub(crate) fn head(&self) -> Head {
        self.head.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says that another page is the last one.
    pub(crate) fn set_head(&self, head: Head) {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
    }
}

/// What a change says of itself.
pub(crate) struct Notes {
    author: Author,
    at_ms: i64,
    last_ms: i64,
    pages: Vec<(Vec<u8>, u32)>,
    said: bool,
    turn: Option<nodes::Turn>,
}

impl Notes {
    /// Those of a change that is made now.
    pub(crate) fn new(author: Author, at_ms: i64) -> Self {
        Self { author, at_ms, last_ms: at_ms, pages: Vec::new(), said: false, turn: None }
    }

    /// The change that this is among those of all nodes, where there are several.
    pub(crate) fn turn(&self) -> Option<nodes::Turn> {
        self.turn
    }

    /// Whether the change says something of itself; one that does not changes nothing.
    pub(crate) fn says(&self) -> bool {
        self.said
    }

    /// When the change is made.
    pub(crate) fn at_ms(&self) -> i64 {
        self.at_ms
    }

    fn entry(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.pages.last().is_none_or(|(_, entries)| *entries >= ENTRIES) {
            self.pages.push((Vec::new(), 0));
        }
        if let Some((body, entries)) = self.pages.last_mut() {
            write(body);
            *entries += 1;
        }
    }

    /// Says what was done to a thing, and what else there is to say of it: nothing that is secret.
    pub(crate) fn did(&mut self, deed: Deed, noun: Noun, id: impl std::fmt::Display, about: &str) {
        let (at_ms, author) = (self.at_ms, self.author);
        self.said = true;
        self.entry(|out| note::write_changed(at_ms, author, (deed, noun), &id.to_string(), about, out));
    }

    /// Says what was ended.
    pub(crate) fn did_end(&mut self, target: Target) {
        let (noun, id) = match target {
            Target::Lease(id) => (Noun::Lease, id.to_string()),
            Target::Token(id) => (Noun::Token, id.to_string()),
            Target::Caller(id) => (Noun::Caller, id.to_string()),
            Target::Account(id) => (Noun::Account, id.to_string()),
            Target::Storage(id) => (Noun::Storage, id.to_string()),
        };
        self.did(Deed::Ended, noun, id, "credentials");
    }

    /// Notes a revocation that was stored.
    pub(crate) fn ended(&mut self, end: End, by: CallerId) {
        self.last_ms = self.last_ms.max(end.at_ms);
        self.entry(|out| note::write_ended(end, by, out));
    }

    /// Notes what a token is now that it was changed.
    pub(crate) async fn token(&mut self, db: &mut Db, id: TokenId) -> Result<(), Error> {
        if let Some(state) = token_state(db, id).await? {
            // Changes are counted over all chains; pages are not.
            self.carry_token(&TokenNote { id, of_page: self.turn.map(|turn| turn.number), state });
        }
        Ok(())
    }

    /// Notes what a page says of a token that goes.
    pub(crate) fn carry_token(&mut self, note: &TokenNote) {
        self.entry(|out| note::write_token(note, out));
    }

    /// Appends what was noted. Says where the ledger ends now, if anything was.
    async fn keep(self, db: &mut Db, rows_before: u64) -> Result<Option<Head>, Error> {
        if !self.said && db.changed_rows() != rows_before {
            return Err(Error::internal("a change of the registry said nothing of itself"));
        }
        self.append(db).await
    }

    /// Appends what was noted, whatever it is.
    pub(crate) async fn append(self, db: &mut Db) -> Result<Option<Head>, Error> {
        if self.pages.is_empty() {
            return Ok(None);
        }
        let mut head = pages::head(&mut *db).await?;
        for (body, notes) in self.pages {
            head = head.next(&body);
            query(
                "INSERT INTO ledger_pages (seq, first_ms, last_ms, opens, voids, issues, notes, hash, body)
                 VALUES (?, ?, ?, 0, 0, 0, ?, ?, ?)",
            )
            .bind(head.seq)
            .bind(self.at_ms)
            .bind(self.last_ms)
            .bind(i64::from(notes))
            .bind(head.hash.clone())
            .bind(body)
            .execute(&mut *db)
            .await
            .map_err(failed)?;
        }
        Ok(Some(head))
    }
}

/// A revocation's kind, target, instant, how long it is kept, and whose it is.
type EndRow = (i64, Vec<u8>, i64, i64, Vec<u8>);

type TokenRow = (Vec<u8>, Vec<u8>, Vec<u8>, Option<i64>, Option<i64>, Option<Vec<u8>>);

fn token_row(row: TokenRow) -> Result<(TokenId, TokenState), Error> {
    let (id, caller, digest, until_ms, revoked_ms, revoked_by) = row;
    let digest = digest.as_slice().try_into().map_err(|_| rows::damaged("a digest"))?;
    let by = revoked_by.map_or(Ok([0; 16]), |by| rows::id(&by))?;
    let revoked = revoked_ms.map(|ms| (ms, CallerId::from_bytes(by)));
    let state = TokenState { caller: CallerId::from_bytes(rows::id(&caller)?), digest, until_ms, revoked };
    Ok((TokenId::from_bytes(rows::id(&id)?), state))
}

pub(crate) async fn token_state(db: &mut Db, id: TokenId) -> Result<Option<TokenState>, Error> {
    let found: Option<TokenRow> =
        query_as("SELECT id, caller, digest, until_ms, revoked_ms, revoked_by FROM tokens WHERE id = ?")
            .bind(id.to_bytes())
            .fetch_optional(db)
            .await
            .map_err(failed)?;
    Ok(found.map(token_row).transpose()?.map(|(_, state)| state))
}

/// Every token, as its row says.
pub(crate) async fn tokens(db: &mut Db) -> Result<Vec<(TokenId, TokenState)>, Error> {
    let found: Vec<TokenRow> = query_as("SELECT id, caller, digest, until_ms, revoked_ms, revoked_by FROM tokens")
        .fetch_all(db)
        .await
        .map_err(failed)?;
    found.into_iter().map(token_row).collect()
}

/// Begins to cover revocations and tokens, in a database of before: what is there is noted as it is found, once.
pub(crate) async fn cover(db: &mut Db, at_ms: i64) -> Result<(), Error> {
    let covered: Option<i64> =
        query_scalar("SELECT 1 FROM ledger_covered").fetch_optional(&mut *db).await.map_err(failed)?;
    if covered.is_some() {
        return Ok(());
    }
    query("INSERT INTO ledger_covered (one) VALUES (1)").execute(&mut *db).await.map_err(failed)?;
    let found: Vec<EndRow> = query_as("SELECT kind, target, at_ms, keep_until_ms, by_caller FROM revocations")
        .fetch_all(&mut *db)
        .await
        .map_err(failed)?;
    let tokens = tokens(&mut *db).await?;
    if found.is_empty() && tokens.is_empty() && pages::head(&mut *db).await?.seq == 0 {
        return Ok(());
    }
    let mut notes = Notes::new(Author::SERVER, at_ms);
    let number = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
    notes.entry(|out| note::write_covers(number(found.len()), number(tokens.len()), out));
    for (kind, target, at_ms, keep_until_ms, by) in found {
        let end = End { target: Target::read(kind, &target)?, at_ms, keep_until_ms };
        notes.ended(end, CallerId::from_bytes(rows::id(&by)?));
    }
    for (id, state) in tokens {
        notes.carry_token(&TokenNote { id, of_page: None, state });
    }
    notes.append(db).await.map(drop)
}

/// Who changed what, the newest first.
pub(crate) async fn changes(db: &mut Db, filter: &ChangeFilter) -> Result<Vec<Change>, Error> {
    /// Pages read at once.
    const WINDOW: i64 = 32;
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let since_ms = filter.since.map_or(i64::MIN, jiff::Timestamp::as_millisecond);
    let noun = filter.noun.map(|noun| noun.to_string());
    // The last instant of the page to stay below, and its number.
    let mut below = (i64::MAX, i64::MAX);
    if let Some(place) = filter.before {
        let page = i64::try_from(place.page).unwrap_or(i64::MAX);
        let last: Option<i64> = query_scalar("SELECT last_ms FROM ledger_pages WHERE seq = ?")
            .bind(page)
            .fetch_optional(&mut *db)
            .await
            .map_err(failed)?;
        // With a page that is gone everything older is.
        let Some(last_ms) = last else { return Ok(Vec::new()) };
        below = (last_ms, page.saturating_add(1));
    }
    let mut found = Vec::new();
    loop {
        let pages: Vec<(i64, i64, Vec<u8>)> = query_as(if db.is_postgres() {
            // The chains of several nodes are told by time.
            "SELECT last_ms, seq, body FROM ledger_pages WHERE notes > 0 AND last_ms >= ?1 AND (last_ms, seq) < (?2, ?3)
             ORDER BY last_ms DESC, seq DESC LIMIT ?4"
        } else {
            "SELECT last_ms, seq, body FROM ledger_pages WHERE notes > 0 AND last_ms >= ?1 AND ?2 = ?2 AND seq < ?3
             ORDER BY seq DESC LIMIT ?4"
        })
        .bind(since_ms)
        .bind(below.0)
        .bind(below.1)
        .bind(WINDOW)
        .fetch_all(&mut *db)
        .await
        .map_err(failed)?;
        let Some((last_ms, last, _)) = pages.last() else { return Ok(found) };
        below = (*last_ms, *last);
        for (_, seq, body) in &pages {
            let mut here = Vec::new();
            for (at, entry) in (0u32..).zip(entry::read(body).flatten()) {
                let place = Place { page: count(*seq), entry: at };
                if let Entry::Note(Note::Changed(changed)) = entry
                    && changed.at_ms >= since_ms
                    && noun.as_ref().is_none_or(|noun| changed.noun == *noun)
                    && filter.by.is_none_or(|by| changed.by.caller == Some(by))
                    && filter.before.is_none_or(|before| place.page != before.page || place.entry < before.entry)
                {
                    let note::Changed { at_ms, by, deed, noun, id, about } = changed;
                    let (deed, noun, id, about) = (deed.into(), noun.into(), id.into(), about.into());
                    here.push(Change { place, at: rows::at_ms(at_ms)?, by, deed, noun, id, about });
                }
            }
            found.extend(here.into_iter().rev());
            if found.len() >= limit {
                found.truncate(limit);
                return Ok(found);
            }
        }
    }
}

impl Sql {
    /// Changes something that is not of the registry, in a turn of its own.
    pub(crate) async fn unsaid<T>(
        &self,
        why: Unsaid,
        change: impl AsyncFnOnce(&mut Db) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.turn().await.unsaid(why, change).await
    }
}
