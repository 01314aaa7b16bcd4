//! Events, for who reads on from where they were: the ledger's entries, and counted refusals once their minute is over.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::audit::{Change, Place};
use valetkey_core::error::Noun;
use valetkey_core::id::{AccountId, CallerId};
use valetkey_core::lease::Lease;
use valetkey_core::nouns::trail::{Counted, Cursor, Event, From, Opened, Reached, Refused, Sender, Told, Trail, What};
use valetkey_core::scope::{Part, Paths};
use valetkey_core::{Error, Kind};

use crate::database::Database;
use crate::sql::chain::Chain;
use crate::sql::db::Db;
use crate::sql::entry::{self, Entry, address};
use crate::sql::note::Note;
use crate::sql::notes::Unsaid;
use crate::sql::rows::{self, count, signed};
use crate::sql::target::Target;
use crate::sql::{nodes, pages, sweep, trail};

/// Refusals of a minute are told so long after it began: until then its counts may still be written by any node.
const SETTLED_SECS: i64 = 120;

/// The most events in an answer.
const MOST: u32 = 10_000;

/// The most bytes of paths in an answer, about: each lease has its own, up to a thousand of a thousand bytes.
const MOST_BYTES: usize = 1 << 20;

/// What was read, and how much more may be.
#[derive(Default)]
struct Reading {
    told: Told,
    left: usize,
    bytes: usize,
}

impl Reading {
    fn push(&mut self, event: Event) {
        let of = |part: &Part| match part.paths() {
            Paths::Whole => 0,
            Paths::Only(paths) => paths.iter().map(|path| path.bytes().len()).sum(),
        };
        let long = match &event.what {
            What::Opened(opened) => opened.lease.rights.parts().iter().map(of).sum::<usize>(),
            _ => 0,
        };
        self.told.events.push(event);
        self.left = self.left.saturating_sub(1);
        match self.bytes.checked_sub(long) {
            Some(bytes) => self.bytes = bytes,
            None => self.left = 0,
        }
    }
}

/// A page that is read: its number, its last instant, and how its hash begins.
#[derive(Clone, Copy)]
struct At {
    seq: i64,
    last_ms: i64,
    mark: Option<u32>,
}

impl At {
    fn reached(self, page: i64, entry: u32) -> Reached {
        Reached { page: count(page), entry, mark: self.mark }
    }

    /// What a page is known by, in the id of an event: after a restore there may be another one of its number.
    fn mark(self) -> u32 {
        self.mark.unwrap_or(0)
    }

    fn missing(self, from: i64, to: i64) -> Result<Event, Error> {
        let what = What::Missing { from: count(from), to: count(to) };
        Ok(Event { id: format!("{from}-{to}-{:08x}", self.mark()).into(), at: rows::at_ms(self.last_ms)?, what })
    }
}

fn mark(hash: &[u8]) -> Option<u32> {
    hash.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn put_back(page: u64) -> Error {
    let said = format!(
        "the ledger has not the page {page} that was read last, or another in its place: the database was put back to an earlier state. \
         Ask without `after` for all events that are kept, or with `now` for those from now on"
    );
    Error::new(Kind::Invalid, said).at("after")
}

impl Database {
    /// Refuses a place that the chain never had.
    async fn had(&self, chain: Chain, from: Reached) -> Result<(), Error> {
        let last = signed(from.last());
        if last <= chain.before() {
            return Ok(());
        }
        let mut reader = self.reader().await?;
        let is_there = match sweep::hash_of(&mut reader, last).await? {
            Some(hash) => from.mark.is_none() || from.mark == mark(&hash),
            // It was removed since, if there is one behind it.
            None => last < pages::head_of(&mut reader, chain).await?.seq,
        };
        if is_there { Ok(()) } else { Err(put_back(from.last())) }
    }

    /// Reads a chain from a place on, until there are no more pages or enough events. Says where to go on.
    async fn read_chain(&self, chain: Chain, from: Option<Reached>, reading: &mut Reading) -> Result<Reached, Error> {
        let first = Reached { page: count(chain.before() + 1), entry: 0, mark: None };
        let mut next = from.unwrap_or(first);
        self.had(chain, next).await?;
        loop {
            let found = trail::pages(&mut self.reader().await?, chain, signed(next.page)).await?;
            if found.is_empty() {
                return Ok(next);
            }
            for (seq, last_ms, hash, body) in found {
                if reading.left == 0 {
                    reading.told.more = true;
                    return Ok(next);
                }
                let at = At { seq, last_ms, mark: mark(&hash) };
                if count(seq) > next.page {
                    // Swept since. Who begins has missed nothing.
                    if from.is_some() {
                        reading.push(at.missing(signed(next.page), seq - 1)?);
                    }
                    next = Reached { page: count(seq), entry: 0, mark: None };
                }
                match self.read_page(at, &body, next.entry, reading).await? {
                    Some(entry) if entry == next.entry => return Ok(next),
                    Some(entry) => return Ok(at.reached(seq, entry)),
                    None => next = at.reached(seq + 1, 0),
                }
            }
        }
    }

    /// Reads a page from an entry on. Says with which one to go on, if not all of it was read.
    async fn read_page(&self, of: At, body: &[u8], from: u32, reading: &mut Reading) -> Result<Option<u32>, Error> {
        for (at, entry) in (0u32..).zip(entry::read(body)) {
            if at < from {
                continue;
            }
            if reading.left == 0 {
                reading.told.more = true;
                return Ok(Some(at));
            }
            let place = Place { page: count(of.seq), entry: at };
            let Some(entry) = entry else {
                reading.push(of.missing(of.seq, of.seq)?);
                return Ok(None);
            };
            let told = self.tell(place, entry).await?;
            if let Some((at, what)) = told {
                let id = format!("{}.{}-{:08x}", place.page, place.entry, of.mark()).into();
                reading.push(Event { id, at, what });
            }
        }
        Ok(None)
    }

    /// What an entry tells; nothing where it is there for verifying alone.
    async fn tell(&self, place: Place, entry: Entry) -> Result<Option<(Timestamp, What)>, Error> {
        Ok(Some(match entry {
            Entry::Opened(opened) => {
                let at = rows::at_ms(opened.from_ms)?;
                let until = opened.until().ok_or_else(|| rows::damaged("a timestamp"))?;
                let rights = match self.rights_of(&opened).await {
                    Ok(rights) => rights,
                    // It does not parse, or is gone: that must not keep what follows from being told.
                    Err(error) if error.kind() == Kind::Internal => {
                        return Ok(Some((at, What::Missing { from: place.page, to: place.page })));
                    }
                    Err(error) => return Err(error),
                };
                let (from, asked_with) = (opened.from, opened.asked_with);
                let narrowed_from = opened.leases_before().collect();
                let lease = Lease {
                    id: opened.id,
                    account: opened.account,
                    caller: opened.caller,
                    token: opened.token,
                    storage: opened.storage,
                    rights,
                    grants: opened.grant_ids().collect(),
                    dialect: opened.dialect.into(),
                    credits: opened.credits,
                    opened: at,
                    until,
                };
                (at, What::Opened(Box::new(Opened { lease, from, asked_with, narrowed_from })))
            }
            Entry::Issued(issued) => {
                let (lease, at) = (issued.lease, rows::at_ms(issued.at_ms)?);
                (at, What::Issued(lease, issued.trace().ok_or_else(|| rows::damaged("a timestamp"))?))
            }
            Entry::Voided(voided) => {
                let (lease, account, kind) = (voided.lease, voided.account, voided.kind.into());
                (rows::at_ms(voided.at_ms)?, What::Voided { lease, account, kind })
            }
            Entry::Note(Note::Ended(end, by)) => {
                let noun = match end.target {
                    Target::Lease(_) => Noun::Lease,
                    Target::Token(_) => Noun::Token,
                    Target::Caller(_) => Noun::Caller,
                    Target::Account(_) => Noun::Account,
                    Target::Storage(_) => Noun::Storage,
                };
                (rows::at_ms(end.at_ms)?, What::Ended { noun, id: end.target.to_string().into(), by })
            }
            Entry::Note(Note::Changed(changed)) => {
                let at = rows::at_ms(changed.at_ms)?;
                let change = Change {
                    place,
                    at,
                    by: changed.by,
                    deed: changed.deed.into(),
                    noun: changed.noun.into(),
                    id: changed.id.into(),
                    about: changed.about.into(),
                };
                (at, What::Changed(Box::new(change)))
            }
            Entry::Note(Note::Covers { .. } | Note::Token(_)) => return Ok(None),
        }))
    }

    /// Reads counted refusals whose minute is over.
    async fn read_refusals(&self, after: Counted, reading: &mut Reading) -> Result<Counted, Error> {
        let now_s = self.shared.clock.now().as_second();
        let before_s = (now_s - SETTLED_SECS).div_euclid(60) * 60;
        let limit = u32::try_from(reading.left).unwrap_or(MOST);
        let found = trail::refusals(&mut self.reader().await?, after, before_s, limit).await?;
        let mut next = after;
        reading.told.more |= found.len() >= reading.left;
        for (minute, account, caller, dialect, kind, from, times) in found {
            let row = if minute == next.minute { next.row } else { 0 };
            next = Counted { minute, row: row.saturating_add(1) };
            let some = |bytes: &[u8]| (!bytes.is_empty()).then(|| rows::id(bytes)).transpose();
            let what = What::Refused(Refused {
                account: some(&account)?.map(AccountId::from_bytes),
                caller: some(&caller)?.map(CallerId::from_bytes),
                from: address(&from),
                dialect: dialect.into(),
                kind: kind.into(),
                count: count(times),
            });
            let at = Timestamp::from_second(minute).map_err(|_| rows::damaged("a timestamp"))?;
            reading.push(Event { id: format!("r{minute}.{row}").into(), at, what });
        }
        Ok(next)
    }
}

#[async_trait]
impl Trail for Database {
    async fn events(&self, after: &Cursor, limit: u32) -> Result<Told, Error> {
        let chains = nodes::chains(&mut self.reader().await?).await?;
        // Refusals come first: there are few, and they must not wait for a flood of leases. Then each chain has its share.
        let total = usize::try_from(limit.clamp(1, MOST)).unwrap_or(usize::MAX);
        let share = total.div_ceil(chains.len() + 1);
        let known = |place: &Reached| Chain::of_page(signed(place.page));
        let strange = after.chains.iter().find(|place| chains.iter().all(|(chain, _)| *chain != known(place)));
        if let Some(place) = strange {
            return Err(put_back(place.last()));
        }
        let mut reading = Reading { left: share, ..Reading::default() };
        let mut next = Cursor { chains: Vec::new(), refusals: self.read_refusals(after.refusals, &mut reading).await? };
        let bytes = MOST_BYTES / chains.len().max(1);
        for (chain, _) in chains {
            reading.left = share.min(total.saturating_sub(reading.told.events.len()));
            reading.bytes = bytes;
            let from = after.chains.iter().find(|place| known(place) == chain).copied();
            next.chains.push(self.read_chain(chain, from, &mut reading).await?);
        }
        Ok(Told { next, ..reading.told })
    }

    async fn latest(&self) -> Result<Cursor, Error> {
        let now_s = self.shared.clock.now().as_second();
        let mut reader = self.reader().await?;
        let mut latest = Cursor { chains: Vec::new(), refusals: Counted { minute: now_s.div_euclid(60) * 60, row: 0 } };
        for (chain, _) in nodes::chains(&mut reader).await? {
            let head = pages::head_of(&mut reader, chain).await?;
            latest.chains.push(Reached { page: count(head.seq + 1), entry: 0, mark: mark(&head.hash) });
        }
        Ok(latest)
    }

    async fn take_turn(&self, to: &str, sender: Sender, from: From, now: Timestamp) -> Result<Option<Cursor>, Error> {
        let mut known = trail::progress(&mut self.reader().await?, to).await?;
        // One process alone writes its turn once.
        if self.is_shared() || !known.as_ref().is_some_and(|(_, last)| *last == sender) {
            // Where there is no other process, whoever had it before is gone.
            let over = if self.is_shared() { now } else { Timestamp::MAX };
            let take = async |db: &mut Db| trail::take_turn(db, to, sender, now, over).await;
            if !self.shared.db.unsaid(Unsaid::Counts, take).await? {
                return Ok(None);
            }
            known = trail::progress(&mut self.reader().await?, to).await?;
        }
        match (known.and_then(|(next, _)| next), from) {
            (Some(next), _) => Ok(Some(next)),
            (None, From::Start) => Ok(Some(Cursor::default())),
            (None, From::Now) => {
                let next = self.latest().await?;
                // What happens next is counted from now, also if nothing is sent before this process ends.
                self.sent(to, sender, &next).await?;
                Ok(Some(next))
            }
        }
    }

    async fn sent(&self, to: &str, sender: Sender, next: &Cursor) -> Result<bool, Error> {
        self.shared.db.unsaid(Unsaid::Counts, async |db| trail::sent(db, to, sender, next).await).await
    }
}
