//! Events, for who reads on from where they were: the ledger's entries, and counted refusals once their minute is over.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::audit::{Change, Place};
use valetkey_core::error::Noun;
use valetkey_core::id::{AccountId, CallerId};
use valetkey_core::lease::Lease;
use valetkey_core::nouns::trail::{Counted, Cursor, Event, From, Opened, Refused, Sender, Told, Trail, What};
use valetkey_core::{Error, Kind};

use crate::database::Database;
use crate::sql::chain::Chain;
use crate::sql::db::Db;
use crate::sql::entry::{self, Entry, address};
use crate::sql::note::Note;
use crate::sql::notes::Unsaid;
use crate::sql::rows::{self, count, signed};
use crate::sql::target::Target;
use crate::sql::{nodes, pages, trail};

/// Refusals of a minute are told so long after it began: until then its counts may still be written by any node.
const SETTLED_SECS: i64 = 120;

/// The most events in an answer.
const MOST: u32 = 10_000;

/// What was read, and how many more may be.
struct Reading {
    told: Told,
    left: usize,
}

impl Reading {
    fn push(&mut self, event: Event) {
        self.told.events.push(event);
        self.left = self.left.saturating_sub(1);
    }
}

fn place(page: i64, entry: u32) -> Place {
    Place { page: count(page), entry }
}

fn missing(from: i64, to: i64, at_ms: i64) -> Result<Event, Error> {
    let what = What::Missing { from: count(from), to: count(to) };
    Ok(Event { id: format!("{from}-{to}").into(), at: rows::at_ms(at_ms)?, what })
}

impl Database {
    /// Reads a chain from a place on, until there are no more pages or enough events. Says where to go on.
    async fn read_chain(&self, chain: Chain, from: Option<Place>, reading: &mut Reading) -> Result<Place, Error> {
        let first = chain.before() + 1;
        let mut next = from.unwrap_or(place(first, 0));
        loop {
            let found = trail::pages(&mut self.reader().await?, chain, signed(next.page)).await?;
            if found.is_empty() {
                return Ok(next);
            }
            for (seq, last_ms, body) in found {
                if reading.left == 0 {
                    reading.told.more = true;
                    return Ok(next);
                }
                if count(seq) > next.page {
                    // Swept since. Who begins has missed nothing.
                    if from.is_some() {
                        reading.push(missing(signed(next.page), seq - 1, last_ms)?);
                    }
                    next = place(seq, 0);
                }
                match self.read_page((seq, last_ms), &body, next.entry, reading).await? {
                    Some(entry) => return Ok(place(seq, entry)),
                    None => next = place(seq + 1, 0),
                }
            }
        }
    }

    /// Reads a page from an entry on. Says with which one to go on, if not all of it was read.
    async fn read_page(
        &self,
        (seq, last_ms): (i64, i64),
        body: &[u8],
        from: u32,
        reading: &mut Reading,
    ) -> Result<Option<u32>, Error> {
        for (at, entry) in (0u32..).zip(entry::read(body)) {
            if at < from {
                continue;
            }
            if reading.left == 0 {
                reading.told.more = true;
                return Ok(Some(at));
            }
            let place = place(seq, at);
            let Some(entry) = entry else {
                reading.push(missing(seq, seq, last_ms)?);
                return Ok(None);
            };
            let told = self.tell(place, entry).await?;
            if let Some((at, what)) = told {
                reading.push(Event { id: format!("{}.{}", place.page, place.entry).into(), at, what });
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
                let scope = match self.scope_of(&opened).await {
                    Ok(scope) => scope,
                    // It does not parse, or is gone: that must not keep what follows from being told.
                    Err(error) if error.kind() == Kind::Internal => {
                        return Ok(Some((at, What::Missing { from: place.page, to: place.page })));
                    }
                    Err(error) => return Err(error),
                };
                let lease = Lease {
                    id: opened.id,
                    account: opened.account,
                    caller: opened.caller,
                    token: opened.token,
                    storage: opened.storage,
                    scope,
                    grants: opened.grant_ids().collect(),
                    dialect: opened.dialect.into(),
                    credits: opened.credits,
                    opened: at,
                    until,
                };
                (at, What::Opened(Box::new(Opened { lease, from: opened.from, asked_with: opened.asked_with })))
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
        let mut reading = Reading { told: Told::default(), left: share };
        let mut next = Cursor { chains: Vec::new(), refusals: self.read_refusals(after.refusals, &mut reading).await? };
        for (chain, _) in chains {
            reading.left = share.min(total.saturating_sub(reading.told.events.len()));
            let known = |place: &&Place| Chain::of_page(signed(place.page)) == chain;
            next.chains.push(self.read_chain(chain, after.chains.iter().find(known).copied(), &mut reading).await?);
        }
        Ok(Told { next, ..reading.told })
    }

    async fn latest(&self) -> Result<Cursor, Error> {
        let now_s = self.shared.clock.now().as_second();
        let mut reader = self.reader().await?;
        let mut latest = Cursor { chains: Vec::new(), refusals: Counted { minute: now_s.div_euclid(60) * 60, row: 0 } };
        for (chain, _) in nodes::chains(&mut reader).await? {
            latest.chains.push(place(pages::head_of(&mut reader, chain).await?.seq + 1, 0));
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
