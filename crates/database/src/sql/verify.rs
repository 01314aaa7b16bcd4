//! Holds the chain against itself and what is made of it: the index of leases, revocations and tokens, both ways.

use std::collections::{HashMap, HashSet};

use valetkey_core::Error;
use valetkey_core::id::{LeaseId, TokenId};
use valetkey_core::nouns::registry::{Before, HeadFound, LedgerHead, Verified};

use crate::sql::chain::Chain;
use crate::sql::db::{Db, query_as, query_scalar};
use crate::sql::ends::Ends;
use crate::sql::entry::{self, Entry, Issued, Opened};
use crate::sql::leases::{self, Found};
use crate::sql::note::{Note, TokenNote, TokenState};
use crate::sql::pages::{self, Head, hash};
use crate::sql::rows::{self, count};
use crate::sql::target::End;
use crate::sql::{failed, notes};

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

/// What is known of a chain after the pages that were read.
struct Link {
    chain: Chain,
    /// The hash of the page before, and the number of the next one.
    before: Vec<u8>,
    next: i64,
    /// The last page that was in the index when this began.
    indexed: i64,
    /// The last page that the chain goes to at least.
    at_least: i64,
}

/// What is known after the pages that were read.
pub(crate) struct Walk {
    links: Vec<Link>,
    /// Up to when the sealed checkpoints say that pages are gone.
    gone_ms: i64,
    ends: Ends,
    expected: Option<LedgerHead>,
    tokens: HashMap<TokenId, (i64, TokenState)>,
    /// The leases that the chains say are void.
    voids: HashSet<LeaseId>,
    /// The digests of long scopes that leases on the chains name and that are there.
    scopes: HashSet<Vec<u8>>,
    /// Whether anything was noted so far: covering cannot begin after that.
    noted: bool,
    more: usize,
    verified: Verified,
}

impl Walk {
    /// Begins where the pages of each chain begin; each goes to a page at least.
    pub(crate) async fn begin(
        db: &mut Db,
        chains: &[(Chain, i64, Beginning)],
        expected: Option<LedgerHead>,
    ) -> Result<Self, Error> {
        let verified = Verified {
            leases: 0,
            pages: 0,
            broken_at: None,
            head: LedgerHead { seq: 0, hash: [0; 32] },
            chains: Vec::new(),
            begins: Vec::new(),
            expected: None,
            revocations: 0,
            tokens: 0,
            changes: 0,
            before: None,
            astray: Vec::new(),
        };
        let mut walk = Self {
            links: Vec::with_capacity(chains.len()),
            gone_ms: i64::MIN,
            ends: Ends::since(&mut *db, i64::MIN).await?,
            expected,
            tokens: HashMap::new(),
            voids: HashSet::new(),
            scopes: HashSet::new(),
            noted: false,
            more: 0,
            verified,
        };
        for (chain, at_least, beginning) in chains {
            let start = match beginning {
                Beginning::Whole => Head::start(*chain),
                Beginning::After(head, last_ms) => {
                    walk.gone_ms = walk.gone_ms.max(*last_ms);
                    head.clone()
                }
                Beginning::Forged => {
                    walk.break_at(chain.before() + 1);
                    Head::start(*chain)
                }
            };
            let head = head_of(start.seq, &start.hash);
            if matches!(beginning, Beginning::After(..)) {
                walk.verified.begins.push(head);
            }
            walk.verified.chains.push(head);
            if let Some(expected) = expected
                && Chain::of_page(expected_seq(expected).max(1)) == *chain
                && expected.seq <= head.seq
            {
                walk.verified.expected = Some(match expected.seq == head.seq {
                    true if expected.hash == head.hash => HeadFound::Grown,
                    true => HeadFound::Missing,
                    false => HeadFound::Swept,
                });
            }
            let indexed = pages::folded(&mut *db, *chain).await?;
            let (before, next, at_least) = (start.hash, start.seq + 1, *at_least);
            walk.links.push(Link { chain: *chain, before, next, indexed, at_least });
        }
        Ok(walk)
    }

    /// Reads some pages; `false` when there are none.
    pub(crate) async fn step(&mut self, db: &mut Db) -> Result<bool, Error> {
        let mut any = false;
        for number in 0..self.links.len() {
            let Some(link) = self.links.get(number) else { break };
            let slice: Vec<PageRow> = query_as(
                "SELECT seq, opens, voids, issues, notes, hash, body FROM ledger_pages
                 WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT ?",
            )
            .bind(link.next)
            .bind(link.chain.beyond())
            .bind(WINDOW)
            .fetch_all(&mut *db)
            .await
            .map_err(failed)?;
            any |= !slice.is_empty();
            for page in slice {
                self.page(&mut *db, number, page).await?;
            }
        }
        Ok(any)
    }

    async fn page(&mut self, db: &mut Db, number: usize, row: PageRow) -> Result<(), Error> {
        let Some(Link { before, next, indexed, .. }) = self.links.get(number) else { return Ok(()) };
        let (next, indexed) = (*next, *indexed);
        let (seq, opens, voids, issues, notes, kept, body) = row;
        let entries: Option<Vec<Entry>> = entry::read(&body).collect();
        let counted = entries.as_deref().map(counted);
        let said = [opens, voids, issues, notes].map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let mut fits = seq == next && *kept == hash(before, &body) && counted == Some(said);
        let entries = entries.unwrap_or_default();
        if fits && seq <= indexed && !self.is_indexed(&mut *db, &entries).await? {
            // Unless the page went meanwhile, and its leases with it.
            fits = !exists(&mut *db, seq).await?;
        }
        for entry in entries {
            match entry {
                Entry::Opened(opened) => self.long_scope(&mut *db, seq, &opened).await?,
                Entry::Voided(voided) => {
                    self.voids.insert(voided.lease);
                }
                Entry::Issued(_) => {}
                Entry::Note(note) => self.note(&mut *db, seq, note).await?,
            }
        }
        if !fits {
            self.break_at(next);
        }
        self.verified.pages += 1;
        self.verified.leases += count(opens);
        let head = head_of(seq, &kept);
        if let Some(expected) = self.expected
            && expected.seq == head.seq
        {
            let same = fits && expected.hash == head.hash;
            self.verified.expected = Some(if same { HeadFound::Grown } else { HeadFound::Missing });
        }
        if let Some(link) = self.links.get_mut(number) {
            (link.before, link.next) = (kept, seq + 1);
        }
        if let Some(last) = self.verified.chains.get_mut(number) {
            *last = head;
        }
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

    /// Looks whether a scope that a lease names by its digest is there. What it says is looked at in the end.
    async fn long_scope(&mut self, db: &mut Db, page: i64, opened: &Opened) -> Result<(), Error> {
        let Some(digest) = entry::scope_digest(&opened.scope) else { return Ok(()) };
        if self.scopes.contains(digest) {
            return Ok(());
        }
        let found: Option<i64> = query_scalar("SELECT 1 FROM scopes WHERE digest = ?")
            .bind(digest.to_vec())
            .fetch_optional(&mut *db)
            .await
            .map_err(failed)?;
        if found.is_some() {
            self.scopes.insert(digest.to_vec());
        } else if exists(&mut *db, page).await? {
            let lease = opened.id;
            self.astray(|| format!("the scope of the lease {lease} (page {page}) is not in the database"));
        }
        Ok(())
    }

    /// Holds what long scopes say against what they are named by.
    async fn hold_scopes(&mut self, view: &mut Db) -> Result<(), Error> {
        let mut after = Vec::new();
        loop {
            let some: Vec<(Vec<u8>, Vec<u8>)> =
                query_as("SELECT digest, body FROM scopes WHERE digest > ? ORDER BY digest LIMIT ?")
                    .bind(after.clone())
                    .bind(WINDOW)
                    .fetch_all(&mut *view)
                    .await
                    .map_err(failed)?;
            let Some((last, _)) = some.last() else { return Ok(()) };
            after.clone_from(last);
            for (digest, body) in some {
                if entry::digest_of(&body) != *digest {
                    let shown = data_encoding::HEXLOWER.encode(digest.get(..8).unwrap_or_default());
                    self.astray(|| format!("the scope {shown}… in the database is not what its digest says"));
                }
            }
        }
    }

    /// Holds the leases that the index says are void against those that the chains say are. A void comes after its lease: its page
    /// does not go before that lease does.
    async fn hold_voids(&mut self, view: &mut Db) -> Result<(), Error> {
        let void: Vec<Vec<u8>> = query_scalar("SELECT id FROM leases WHERE void_kind IS NOT NULL ORDER BY id")
            .fetch_all(view)
            .await
            .map_err(failed)?;
        for id in void {
            let lease = LeaseId::from_bytes(rows::id(&id)?);
            if !self.voids.contains(&lease) {
                self.astray(|| format!("the lease {lease} is void in the database and not on the chain"));
            }
        }
        Ok(())
    }

    async fn note(&mut self, db: &mut Db, page: i64, note: Note) -> Result<(), Error> {
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
    async fn is_indexed(&self, db: &mut Db, entries: &[Entry]) -> Result<bool, Error> {
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
    async fn is_ended_rightly(&self, db: &mut Db, found: &Found) -> Result<bool, Error> {
        let Found { opened, void_kind, revoked, issued: _ } = found;
        match revoked {
            // One whose page is gone is not there to be compared.
            Some(by) if by.at.as_millisecond() <= self.gone_ms || self.ends.has(opened, *by) => Ok(true),
            // It may have been made meanwhile.
            Some(by) => Ok(Ends::since(db, by.at.as_millisecond()).await?.has(opened, *by)),
            None => Ok(void_kind.is_some() || self.ends.of(opened).is_none()),
        }
    }

    /// What can only be told of all of it, in one view: that nothing is in the database which is not on the chains. `own` is the chain
    /// of this node.
    pub(crate) async fn end(mut self, view: &mut Db, own: Chain, now_ms: i64) -> Result<Verified, Error> {
        while self.step(&mut *view).await? {}
        let more: (i64, i64) = query_as(
            "SELECT (SELECT count(*) FROM leases) - CAST(coalesce(sum(opens), 0) AS BIGINT),
                 (SELECT count(*) FROM issued) - CAST(coalesce(sum(issues), 0) AS BIGINT)
             FROM ledger_pages WHERE seq NOT IN (SELECT seq FROM unfolded_pages)",
        )
        .fetch_one(&mut *view)
        .await
        .map_err(failed)?;
        let mut unfit = None;
        for number in 0..self.links.len() {
            let Some(Link { chain, next, at_least, .. }) = self.links.get(number) else { break };
            let (chain, next, at_least) = (*chain, *next, *at_least);
            let indexed = pages::folded(&mut *view, chain).await?;
            // Pages that were there when the database was opened, that the node told of, or of which the index was made, and that are
            // not there any more.
            if next <= at_least.max(indexed) {
                self.break_at(next);
            }
            // Of which chain they are is not known; of none that ends early.
            unfit.get_or_insert(next.min(indexed.max(chain.before() + 1)));
            if chain == own
                && let Some(head) = self.verified.chains.get(number)
            {
                self.verified.head = *head;
            }
        }
        if let Some(seq) = unfit.filter(|_| more.0 > 0 || more.1 > 0) {
            self.break_at(seq);
        }
        let stored: i64 =
            query_scalar("SELECT count(*) FROM revocations").fetch_one(&mut *view).await.map_err(failed)?;
        if count(stored) > self.verified.revocations {
            let noted = self.verified.revocations;
            self.astray(|| format!("the database has {stored} revocations, the chain {noted}"));
        }
        self.hold_scopes(&mut *view).await?;
        self.hold_voids(&mut *view).await?;
        self.hold_tokens(notes::tokens(view).await?, now_ms);
        self.verified.expected = match (self.expected, self.verified.expected) {
            (None, _) => None,
            (Some(_), None) => Some(HeadFound::Missing),
            (Some(expected), Some(HeadFound::Grown))
                if self.verified.chains.iter().any(|head| head.seq == expected.seq) =>
            {
                Some(HeadFound::Head)
            }
            (Some(_), found) => found,
        };
        if self.more > 0 {
            self.verified.astray.push(format!("and {} more", self.more));
        }
        Ok(self.verified)
    }

    /// One that the chain says is over may be gone: retention removes its row, and its absence opens nothing.
    fn hold_tokens(&mut self, stored: Vec<(TokenId, TokenState)>, now_ms: i64) {
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
        for (id, (page, _)) in noted.into_iter().filter(|(_, (_, state))| !state.is_over(now_ms)) {
            self.astray(|| format!("the token {id} is on the chain (page {page}) and not in the database"));
        }
    }
}

fn expected_seq(expected: LedgerHead) -> i64 {
    i64::try_from(expected.seq).unwrap_or(i64::MAX)
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

async fn kept_end(db: &mut Db, end: &End) -> Result<Option<(i64, Vec<u8>)>, Error> {
    query_as("SELECT keep_until_ms, by_caller FROM revocations WHERE kind = ? AND target = ? AND at_ms = ?")
        .bind(i64::from(end.target.kind()))
        .bind(end.target.bytes().to_vec())
        .bind(end.at_ms)
        .fetch_optional(db)
        .await
        .map_err(failed)
}

async fn exists(db: &mut Db, seq: i64) -> Result<bool, Error> {
    let found: Option<i64> =
        query_scalar("SELECT 1 FROM ledger_pages WHERE seq = ?").bind(seq).fetch_optional(db).await.map_err(failed)?;
    Ok(found.is_some())
}
