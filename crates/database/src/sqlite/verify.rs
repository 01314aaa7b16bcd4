//! Holds the chain against itself and what is made of it: the index of leases, revocations and tokens, both ways.

use std::collections::HashMap;

use sqlx::sqlite::SqliteConnection;
use valetkey_core::Error;
use valetkey_core::id::TokenId;
use valetkey_core::nouns::registry::{Before, HeadFound, LedgerHead, Verified};

use crate::sqlite::ends::Ends;
use crate::sqlite::entry::{self, Entry, Issued};
use crate::sqlite::leases::{self, Found};
use crate::sqlite::note::{Note, TokenNote, TokenState};
use crate::sqlite::pages::{self, Head, hash};
use crate::sqlite::rows::count;
use crate::sqlite::target::End;
use crate::sqlite::{failed, notes};

/// Pages read at once.
const WINDOW: i64 = 64;

/// So many things that do not fit are told one by one.
const TOLD: usize = 20;

/// A page's number, its leases, voids, issues and notes, its hash and body.
type PageRow = (i64, i64, i64, i64, i64, Vec<u8>, Vec<u8>);

/// Where the ledger's pages begin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Beginning {
    /// With the first.
    Whole,
    /// After one that was removed; no entry of what is gone is later.
    After(Head, i64),
    /// Somebody else than this server says that pages were removed.
    Forged,
}

/// What is known after the pages that were read.
pub(crate) struct Walk {
    /// The hash of the page before, and the number of the next one.
    before: Vec<u8>,
    next: i64,
    /// The last page that was in the index when this began.
    indexed: i64,
    /// Up to when the sealed checkpoint says that pages are gone.
    gone_ms: i64,
    ends: Ends,
    expected: Option<LedgerHead>,
    tokens: HashMap<TokenId, (i64, TokenState)>,
    /// Whether anything was noted so far: covering cannot begin after that.
    noted: bool,
    more: usize,
    verified: Verified,
}

impl Walk {
    /// Begins where the pages begin.
    pub(crate) async fn begin(
        db: &mut SqliteConnection,
        beginning: Beginning,
        expected: Option<LedgerHead>,
    ) -> Result<Self, Error> {
        let (start, gone_ms, broken_at) = match beginning {
            Beginning::Whole => (Head::default(), i64::MIN, None),
            Beginning::After(head, last_ms) => (head, last_ms, None),
            Beginning::Forged => (Head::default(), i64::MIN, Some(1)),
        };
        let head = head_of(start.seq, &start.hash);
        let first = expected.and_then(|expected| {
            if expected.seq > head.seq {
                return None;
            }
            Some(match expected.seq == head.seq {
                true if expected.hash == head.hash => HeadFound::Grown,
                true => HeadFound::Missing,
                false => HeadFound::Swept,
            })
        });
        let verified = Verified {
            leases: 0,
            pages: 0,
            broken_at,
            head,
            expected: first,
            revocations: 0,
            tokens: 0,
            changes: 0,
            before: None,
            astray: Vec::new(),
        };
        Ok(Self {
            before: start.hash,
            next: start.seq + 1,
            indexed: pages::folded(&mut *db).await?,
            gone_ms,
            ends: Ends::since(db, i64::MIN).await?,
            expected,
            tokens: HashMap::new(),
            noted: false,
            more: 0,
            verified,
        })
    }

    /// Reads some pages; `false` when there are none.
    pub(crate) async fn step(&mut self, db: &mut SqliteConnection) -> Result<bool, Error> {
        let slice: Vec<PageRow> = sqlx::query_as(
            "SELECT seq, opens, voids, issues, notes, hash, body FROM ledger_pages WHERE seq >= ? ORDER BY seq LIMIT ?",
        )
        .bind(self.next)
        .bind(WINDOW)
        .fetch_all(&mut *db)
        .await
        .map_err(failed)?;
        let any = !slice.is_empty();
        for page in slice {
            self.page(&mut *db, page).await?;
        }
        Ok(any)
    }

    async fn page(&mut self, db: &mut SqliteConnection, row: PageRow) -> Result<(), Error> {
        let (seq, opens, voids, issues, notes, kept, body) = row;
        let entries: Option<Vec<Entry>> = entry::read(&body).collect();
        let counted = entries.as_deref().map(counted);
        let said = [opens, voids, issues, notes].map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let mut fits = seq == self.next && *kept == hash(&self.before, &body) && counted == Some(said);
        let entries = entries.unwrap_or_default();
        if fits && seq <= self.indexed && !self.is_indexed(&mut *db, &entries).await? {
            // Unless the page went meanwhile, and its leases with it.
            fits = !exists(&mut *db, seq).await?;
        }
        for entry in entries {
            if let Entry::Note(note) = entry {
                self.note(&mut *db, seq, note).await?;
            }
        }
        if !fits {
            self.break_at(self.next);
        }
        self.verified.pages += 1;
        self.verified.leases += count(opens);
        self.verified.head = head_of(seq, &kept);
        if let Some(expected) = self.expected
            && expected.seq == self.verified.head.seq
        {
            let same = fits && expected.hash == self.verified.head.hash;
            self.verified.expected = Some(if same { HeadFound::Grown } else { HeadFound::Missing });
        }
        (self.before, self.next) = (kept, seq + 1);
        Ok(())
    }

    fn break_at(&mut self, seq: i64) {
        self.verified.broken_at.get_or_insert(count(seq));
    }

    fn astray(&mut self, said: impl FnOnce() -> String) {
        if self.verified.astray.len() < TOLD {
            self.verified.astray.push(said());
        } else {
            self.more += 1;
        }
    }

    async fn note(&mut self, db: &mut SqliteConnection, page: i64, note: Note) -> Result<(), Error> {
        match note {
            Note::Covers { revocations, tokens } => {
                if self.noted {
                    self.astray(|| format!("page {page} says that covering begins there, and it had begun before"));
                } else {
                    self.verified.before = Some(Before { page: count(page), revocations, tokens });
                }
            }
            Note::Ended(end, by) => {
                self.verified.revocations += 1;
                if kept_end(db, &end).await? != Some((end.keep_until_ms, by.to_bytes().to_vec())) {
                    self.astray(|| {
                        format!(
                            "the revocation of {} is on the chain (page {page}) and not in the database",
                            end.target
                        )
                    });
                }
            }
            Note::Token(TokenNote { id, of_page, state }) => {
                let of_page = of_page.unwrap_or(page);
                let known = self.tokens.entry(id).or_insert((of_page, state));
                if of_page >= known.0 {
                    *known = (of_page, state);
                }
            }
            Note::Changed(_) => self.verified.changes += 1,
        }
        self.noted = true;
        Ok(())
    }

    /// Whether the index says of a page's leases what the page says.
    async fn is_indexed(&self, db: &mut SqliteConnection, entries: &[Entry]) -> Result<bool, Error> {
        for entry in entries {
            let fits = match entry {
                Entry::Opened(opened) => match leases::by_id(&mut *db, opened.id).await? {
                    Some(found) => found.opened == *opened && self.is_ended_rightly(&mut *db, &found).await?,
                    None => false,
                },
                Entry::Voided(voided) => leases::by_id(&mut *db, voided.lease)
                    .await?
                    .is_none_or(|found| found.void_kind.as_deref() == Some(voided.kind.as_str())),
                Entry::Issued(issued) => {
                    let found = leases::by_id(&mut *db, issued.lease).await?;
                    found.is_none_or(|found| found.issued.is_some_and(|kept| is_same(&kept, issued)))
                }
                Entry::Note(_) => true,
            };
            if !fits {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a lease is ended in the index exactly if a revocation ends it.
    async fn is_ended_rightly(&self, db: &mut SqliteConnection, found: &Found) -> Result<bool, Error> {
        let Found { opened, void_kind, revoked, issued: _ } = found;
        match revoked {
            // One whose page is gone is not there to be compared.
            Some(by) if by.at.as_millisecond() <= self.gone_ms || self.ends.has(opened, *by) => Ok(true),
            // It may have been made meanwhile.
            Some(by) => Ok(Ends::since(db, by.at.as_millisecond()).await?.has(opened, *by)),
            None => Ok(void_kind.is_some() || self.ends.of(opened).is_none()),
        }
    }

    /// What can only be told of all of it, in one view: that nothing is in the database which is not on the chain.
    pub(crate) async fn end(mut self, view: &mut SqliteConnection, at_least: i64) -> Result<Verified, Error> {
        while self.step(&mut *view).await? {}
        let indexed = pages::folded(&mut *view).await?;
        // Pages that were there when the store was opened, or of which the index was made, and that are not any more.
        if self.next <= at_least {
            self.break_at(self.next);
        }
        let more: (i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM leases) - coalesce(sum(opens), 0), (SELECT count(*) FROM issued) - coalesce(sum(issues), 0)
             FROM ledger_pages WHERE seq <= (SELECT seq FROM ledger_folded)",
        )
        .fetch_one(&mut *view)
        .await
        .map_err(failed)?;
        if self.next <= indexed || more.0 > 0 || more.1 > 0 {
            self.break_at(self.next.min(indexed.max(1)));
        }
        let stored: i64 =
            sqlx::query_scalar("SELECT count(*) FROM revocations").fetch_one(&mut *view).await.map_err(failed)?;
        if count(stored) > self.verified.revocations {
            let noted = self.verified.revocations;
            self.astray(|| format!("the database has {stored} revocations, the chain {noted}"));
        }
        self.hold_tokens(notes::tokens(view).await?);
        self.verified.expected = match (self.expected, self.verified.expected) {
            (None, _) => None,
            (Some(_), None) => Some(HeadFound::Missing),
            (Some(expected), Some(HeadFound::Grown)) if expected.seq == self.verified.head.seq => Some(HeadFound::Head),
            (Some(_), found) => found,
        };
        if self.more > 0 {
            self.verified.astray.push(format!("and {} more", self.more));
        }
        Ok(self.verified)
    }

    fn hold_tokens(&mut self, stored: Vec<(TokenId, TokenState)>) {
        let mut noted = std::mem::take(&mut self.tokens);
        for (id, state) in stored {
            self.verified.tokens += 1;
            match noted.remove(&id) {
                None => self.astray(|| format!("the token {id} is in the database and not on the chain")),
                Some((_, known)) if known == state => {}
                Some((page, known)) => {
                    let what = if known.revoked != state.revoked {
                        "was ended"
                    } else if known.until_ms != state.until_ms {
                        "ends of itself"
                    } else {
                        "is whose, or what proves it,"
                    };
                    self.astray(|| format!("when the token {id} {what} is not what the chain says (page {page})"));
                }
            }
        }
        for (id, (page, _)) in noted {
            self.astray(|| format!("the token {id} is on the chain (page {page}) and not in the database"));
        }
    }
}

fn head_of(seq: i64, bytes: &[u8]) -> LedgerHead {
    LedgerHead { seq: count(seq), hash: bytes.try_into().unwrap_or([0; 32]) }
}

/// Revocations, voids, issues and notes.
fn counted(entries: &[Entry]) -> [usize; 4] {
    let mut counts = [0; 4];
    for entry in entries {
        let [opens, voids, issues, notes] = &mut counts;
        *match entry {
            Entry::Opened(_) => opens,
            Entry::Voided(_) => voids,
            Entry::Issued(_) => issues,
            Entry::Note(_) => notes,
        } += 1;
    }
    counts
}

/// The index does not keep when it was told.
fn is_same(kept: &Issued, said: &Issued) -> bool {
    let Issued { lease, at_ms: _, key_id, request_id, ends_s } = kept;
    (*lease, key_id, request_id, *ends_s) == (said.lease, &said.key_id, &said.request_id, said.ends_s)
}

async fn kept_end(db: &mut SqliteConnection, end: &End) -> Result<Option<(i64, Vec<u8>)>, Error> {
    sqlx::query_as("SELECT keep_until_ms, by_caller FROM revocations WHERE kind = ? AND target = ? AND at_ms = ?")
        .bind(i64::from(end.target.kind()))
        .bind(end.target.bytes().to_vec())
        .bind(end.at_ms)
        .fetch_optional(db)
        .await
        .map_err(failed)
}

async fn exists(db: &mut SqliteConnection, seq: i64) -> Result<bool, Error> {
    let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM ledger_pages WHERE seq = ?")
        .bind(seq)
        .fetch_optional(db)
        .await
        .map_err(failed)?;
    Ok(found.is_some())
}
