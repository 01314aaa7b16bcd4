//! What is removed because its time is over: a little at a time, behind everybody's back.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use valetkey_core::keyring::{Keyring, SEAL_NONCE_LEN, SharedKeyring};
use valetkey_core::nouns::registry::{LedgerHead, Verified};
use valetkey_core::nouns::request::KEPT;
use valetkey_core::{Error, Kind};

use crate::archive::{self, Writing};
use crate::database::Database;
use crate::over::BEHIND_SECS;
use crate::settings::Retention;
use crate::sql::chain::Chain;
use crate::sql::db::Db;
use crate::sql::notes::Unsaid;
use crate::sql::pages::Head;
use crate::sql::sweep::{self, Checkpoint, Over};
use crate::sql::verify::{Beginning, Walk};
use crate::sql::{identity, nodes, pages, registry, requests};

/// How often it is looked for.
const EVERY: Duration = Duration::from_mins(10);

/// So long requests are kept by the second; after that by the quarter of an hour, which the days of every time zone begin with.
const EXACT_SECS: i64 = 2 * 86_400;

/// A day, in milliseconds.
const DAY_MS: i64 = 86_400_000;

/// A clock that went so much further than the machine ran was set.
const LEAP: SignedDuration = SignedDuration::from_hours(1);

/// A server of which nothing was recorded for so long may have a clock that is wrong.
const QUIET: SignedDuration = SignedDuration::from_hours(72);

/// So long a machine has, after its start, to get the right time.
const FIRST_LOOK: Duration = Duration::from_hours(1);

/// What the seal of a checkpoint is for.
const PURPOSE: &str = "checkpoint of the ledger";

/// What a sweep removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    /// Files of blobs that no row names.
    pub blobs: u64,
    /// Rows of counted refusals.
    pub refusals: u64,
    /// Rows of counted requests.
    pub requests: u64,
    /// Pages of the ledger.
    pub pages: u64,
    /// Tokens that ended.
    pub tokens: u64,
    /// Grants that were removed before.
    pub grants: u64,
}

impl Database {
    /// Sweeps from time to time, until the store stops.
    pub(crate) async fn sweep_in_background(self) {
        let began = Began { clock: self.shared.clock.now(), machine: self.shared.clock.ran(), process: Instant::now() };
        // A machine that starts with a wrong clock gets the right one soon, which is then seen as a leap.
        if self.seems_wrong() {
            tracing::warn!(
                "the clock is far behind everything in the ledger: nothing is removed in the first hour, in case it is wrong"
            );
            tokio::select! {
                () = tokio::time::sleep(FIRST_LOOK) => {}
                () = self.shared.stop.cancelled() => return,
            }
        }
        loop {
            // What a clock that leapt calls old may be of today, and nothing brings it back.
            let leapt = began.leapt(self.shared.clock.now(), self.shared.clock.ran());
            let sweep = async {
                if leapt {
                    tracing::warn!(
                        "the clock leapt since the server was started: nothing is removed until it is started again"
                    );
                    return Ok(Swept::default());
                }
                self.sweep().await
            };
            tokio::select! {
                done = sweep => {
                    if let Err(error) = done {
                        tracing::warn!(error = ?error, "what is over could not be removed; it is tried again");
                    }
                }
                () = self.shared.stop.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = self.shared.stop.cancelled() => return,
            }
        }
    }

    /// Whether the clock is so far ahead of all that is on record that it may be wrong: nothing happened for long, or it happens now.
    fn seems_wrong(&self) -> bool {
        let newest_ms = self.shared.queue.newest_ms();
        let quiet = SignedDuration::from_millis(self.shared.clock.now().as_millisecond().saturating_sub(newest_ms));
        newest_ms > 0 && quiet > QUIET
    }

    /// Removes what is over: files that belong to no blob, and what is older than the settings keep. It is done from time to time
    /// anyway. Each step is a small change of its own, so that vends go on between two of them.
    ///
    /// # Errors
    /// `Unavailable`; what was removed before stays so.
    pub async fn sweep(&self) -> Result<Swept, Error> {
        let Retention { refusals_secs, requests_secs, ledger_secs, ended_secs } = self.shared.settings.retention;
        let now_s = self.shared.clock.now().as_second();
        let before = |secs: u64| now_s.saturating_sub(i64::try_from(secs).unwrap_or(i64::MAX));
        let mut swept = Swept { blobs: self.sweep_blobs().await?, ..Swept::default() };
        if refusals_secs > 0 {
            let before_s = before(refusals_secs);
            while let rows @ 1.. =
                self.shared.db.unsaid(Unsaid::Retention, async |db| sweep::refusals(db, before_s).await).await?
            {
                swept.refusals += rows;
            }
        }
        self.fold_requests(now_s.saturating_sub(EXACT_SECS)).await?;
        if requests_secs > 0 {
            let before_s = before(requests_secs);
            for account in sweep::accounts(&mut self.reader().await?).await? {
                while let rows @ 1.. = self
                    .shared
                    .db
                    .unsaid(Unsaid::Retention, async |db| sweep::requests(db, account, before_s).await)
                    .await?
                {
                    swept.requests += rows;
                }
                // A day goes when all of it is over.
                let days_s = before_s.div_euclid(86_400) * 86_400;
                let traffic = async |db: &mut Db| sweep::traffic(db, account, days_s).await;
                while let rows @ 1.. = self.shared.db.unsaid(Unsaid::Retention, traffic).await? {
                    swept.requests += rows;
                }
            }
        }
        let ended_ms = now_s.saturating_sub(BEHIND_SECS).saturating_mul(1000);
        let forget = async |db: &mut Db| identity::forget_claims(db, ended_ms).await;
        while self.shared.db.unsaid(Unsaid::Retention, forget).await? > 0 {
            tokio::task::yield_now().await;
        }
        let asked_ms = now_s.saturating_mul(1000).saturating_sub(KEPT.as_secs().saturating_mul(1000));
        let forget = async |db: &mut Db| requests::forget(db, asked_ms).await;
        while self.shared.db.unsaid(Unsaid::Retention, forget).await? > 0 {
            tokio::task::yield_now().await;
        }
        self.sweep_pool(now_s.saturating_mul(1000)).await?;
        if self.is_shared() {
            let before_ms = now_s.saturating_mul(1000).saturating_sub(nodes::KEPT_MS);
            self.shared.db.unsaid(Unsaid::Counts, async |db| nodes::forget_changes(db, before_ms).await).await?;
        }
        if ledger_secs > 0 {
            swept.pages = self.sweep_ledger(before(ledger_secs).saturating_mul(1000)).await?;
        }
        (swept.tokens, swept.grants) = self.sweep_over(ended_secs, now_s).await?;
        if swept != Swept::default() {
            let Swept { blobs, refusals, requests, pages, tokens, grants } = swept;
            tracing::info!(blobs, refusals, requests, ledger.pages = pages, tokens, grants, "removed what was over");
        }
        Ok(swept)
    }

    /// Adds the requests of each quarter of an hour together, once nobody asks for its seconds any more.
    async fn fold_requests(&self, before_s: i64) -> Result<(), Error> {
        let before_s = before_s - before_s.rem_euclid(sweep::QUARTER_SECS);
        let from_s = self.shared.requests_folded_s.load(Ordering::Relaxed);
        for account in sweep::accounts(&mut self.reader().await?).await? {
            let mut from = from_s;
            while let Some(next) = sweep::unfolded_second(&mut self.reader().await?, account, from, before_s).await? {
                let fold = async |db: &mut Db| sweep::fold_requests(db, account, next).await;
                from = self.shared.db.unsaid(Unsaid::Counts, fold).await?;
                tokio::task::yield_now().await;
            }
        }
        // The clock may be set back; what comes late is added together after the next start.
        self.shared.requests_folded_s.fetch_max(before_s, Ordering::Relaxed);
        Ok(())
    }

    /// Removes the oldest pages of what ended before an instant, once they are in the archive, if there is one. Without a keyring no
    /// checkpoint can be sealed, and none goes.
    async fn sweep_ledger(&self, over_ms: i64) -> Result<u64, Error> {
        let Some(keyring) = self.shared.keyring.get() else { return Ok(0) };
        let longest_ms = registry::longest_ms(&mut self.reader().await?).await?;
        let mut gone = 0;
        for chain in self.swept_here().await? {
            let (over, most) = match self.shared.settings.archive.clone() {
                None => (Over { over_ms, longest_ms }, i64::MAX),
                Some(dir) => {
                    // By the day, so that there are not more files than days.
                    let over = Over { over_ms: over_ms - over_ms.rem_euclid(DAY_MS), longest_ms };
                    (over, self.archive_pages(dir, chain, over).await?)
                }
            };
            gone += self.remove_pages(keyring, chain, over, most).await?;
        }
        Ok(gone)
    }

    /// The chains whose old pages this node removes: its own, and those of nodes that are gone.
    async fn swept_here(&self) -> Result<Vec<Chain>, Error> {
        let own = self.chain();
        let before_ms = self.shared.clock.now().as_millisecond().saturating_sub(nodes::KEPT_MS);
        let left = nodes::left(&mut self.reader().await?, before_ms).await?;
        let left = left.into_iter().filter(|chain| *chain != own);
        Ok(std::iter::once(own).chain(left).collect())
    }

    /// Writes the pages of a chain that may go into files. Says which is the last that is durable there.
    async fn archive_pages(&self, dir: PathBuf, chain: Chain, over: Over) -> Result<i64, Error> {
        let begins = self.begins(chain).await?;
        if sweep::ripe(&mut self.reader().await?, chain, begins.seq, over).await?.is_empty() {
            return Ok(begins.seq);
        }
        let mut at = self.archived_to(&dir, chain).await?;
        loop {
            let (place, from) = (dir.clone(), at.clone());
            let writing = self.blocking(move || Writing::begin(&place, chain, from)).await?;
            let writing = self.fill(writing, chain, over).await?;
            if writing.is_empty() {
                return Ok(at.seq);
            }
            at = match self.blocking(move || writing.keep()).await? {
                Some(kept) => kept,
                None => self.archived_to(&dir, chain).await?,
            };
        }
    }

    /// The page of a chain before the first that is there.
    async fn begins(&self, chain: Chain) -> Result<Head, Error> {
        let checkpoint = sweep::checkpoint(&mut self.reader().await?, chain).await?;
        Ok(checkpoint.map_or_else(|| Head::start(chain), |(at, _)| Head { seq: at.seq, hash: at.hash }))
    }

    /// The page behind which the archive of a chain goes on. Without files, or with some that others wrote since, that is where the
    /// database begins.
    async fn archived_to(&self, dir: &Path, chain: Chain) -> Result<Head, Error> {
        loop {
            let begins = self.begins(chain).await?;
            let place = dir.to_owned();
            let newest = self.blocking(move || archive::newest(&place, chain)).await?;
            let Some(newest) = newest.filter(|newest| newest.seq > begins.seq) else { return Ok(begins) };
            if sweep::hash_of(&mut self.reader().await?, newest.seq).await?.as_ref() == Some(&newest.hash) {
                return Ok(newest);
            }
            // Another node may have removed the page meanwhile.
            if self.begins(chain).await? == begins {
                let said =
                    format!("{} has pages of another ledger: nothing is archived, and nothing removed", dir.display());
                return Err(Error::new(Kind::Unavailable, said));
            }
        }
    }

    /// Adds pages that may go, until there are no more or the file is full.
    async fn fill(&self, mut writing: Writing, chain: Chain, over: Over) -> Result<Writing, Error> {
        while !writing.is_full() {
            let some = sweep::ripe(&mut self.reader().await?, chain, writing.at().seq, over).await?;
            let add = move || {
                let many = some.len();
                let mut added = 0;
                for (seq, last_ms, _, hash, body) in some {
                    if !writing.add(seq, last_ms, &hash, &body)? {
                        tracing::error!(
                            "page {seq} of the ledger does not fit: it and what follows is neither archived nor removed"
                        );
                        break;
                    }
                    added += 1;
                }
                Ok((writing, added > 0 && added == many))
            };
            let (went_on, more) = self.blocking(add).await?;
            writing = went_on;
            if !more {
                break;
            }
        }
        Ok(writing)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let done = self.shared.tasks.spawn_blocking(work).await;
        done.map_err(|error| Error::internal("the archive failed").caused_by(error))?
    }

    /// Removes the oldest pages of a chain that may go, none behind one.
    async fn remove_pages(&self, keyring: &SharedKeyring, chain: Chain, over: Over, most: i64) -> Result<u64, Error> {
        let before = sweep::checkpoint(&mut self.reader().await?, chain).await?.map_or(0, |(at, _)| at.pages);
        let (mut now, now_ms) = (before, self.shared.clock.now().as_millisecond());
        loop {
            let (ring, nonce) = (keyring.load(), self.nonce());
            // INVARIANT: in one change. The chain never lacks its beginning.
            let change = async |db: &mut Db| {
                if !sweep::try_turn(db).await? {
                    return Ok(None);
                }
                let Some((at, notes)) = sweep::ledger(db, chain, over, most, now_ms).await? else { return Ok(None) };
                let sealed = ring.seal_bytes(PURPOSE, b"", &at.bytes(), nonce)?;
                sweep::keep_checkpoint(db, &at, sealed).await?;
                Ok(Some((at.pages, notes.append(db).await?)))
            };
            let mut turn = self.shared.db.turn().await;
            match turn.unsaid(Unsaid::Retention, change).await? {
                Some((pages, head)) => {
                    now = pages;
                    if let Some(head) = head {
                        turn.set_head(head);
                    }
                }
                None => return Ok(pages_gone(before, now)),
            }
            drop(turn);
            tokio::task::yield_now().await;
        }
    }

    /// Reads the whole ledger, from where its pages begin.
    pub(crate) async fn verify(&self, expected: Option<LedgerHead>) -> Result<Verified, Error> {
        // One after the other: each keeps a connection that reads for as long as it takes, and others need one for a moment.
        let _turn = self.shared.verifying.lock().await;
        loop {
            let chains = self.chains().await?;
            let mut reader = self.reader().await?;
            let mut walk = Walk::begin(&mut reader, &chains, expected).await?;
            while walk.step(&mut reader).await? {
                tokio::task::yield_now().await;
            }
            drop(reader);
            let now_ms = self.shared.clock.now().as_millisecond();
            let verified = self.view(async |view| walk.end(view, self.chain(), now_ms).await).await?;
            // Pages that are swept meanwhile look as if they were cut off.
            let same = || async {
                let now = self.chains().await?;
                Ok::<_, Error>(now.iter().map(|(_, _, from)| from).eq(chains.iter().map(|(_, _, from)| from)))
            };
            if verified.intact() || same().await? {
                return Ok(verified);
            }
        }
    }

    /// The chain that this node writes.
    pub(crate) fn chain(&self) -> Chain {
        self.shared.touch.as_ref().map(|touch| touch.seat.chain()).unwrap_or_default()
    }

    /// Every chain, with the page that it goes to at least, and where it begins.
    async fn chains(&self) -> Result<Vec<(Chain, i64, Beginning)>, Error> {
        let mut all = Vec::new();
        for (chain, told) in nodes::chains(&mut self.reader().await?).await? {
            // Another chain's, where this node took a new one since.
            let began = self.shared.began.seq;
            // The last number of a chain is none of its pages: the next chain begins behind it.
            let began = if began > chain.before() && began < chain.beyond() - 1 { began } else { 0 };
            all.push((chain, told.max(began), self.beginning(chain).await?));
        }
        Ok(all)
    }

    /// Where a chain goes on from: what is gone, if the seal says so.
    async fn beginning(&self, chain: Chain) -> Result<Beginning, Error> {
        let Some((at, sealed)) = sweep::checkpoint(&mut self.reader().await?, chain).await? else {
            return Ok(Beginning::Whole);
        };
        Ok(match self.shared.keyring.get() {
            Some(keyring) if !is_sealed(&keyring.load(), &at, &sealed) => Beginning::Forged,
            Some(_) | None => Beginning::After(pages::Head { seq: at.seq, hash: at.hash }, at.last_ms),
        })
    }

    /// Seals the checkpoint with the current key, where it was sealed with an older one.
    pub(crate) async fn reseal_checkpoint(&self, ring: &Keyring) -> Result<(), Error> {
        let chains = nodes::chains(&mut self.reader().await?).await?;
        for (chain, _) in chains {
            let Some((at, sealed)) = sweep::checkpoint(&mut self.reader().await?, chain).await? else { continue };
            if ring.is_current(&sealed) || !is_sealed(ring, &at, &sealed) {
                continue;
            }
            let sealed = ring.seal_bytes(PURPOSE, b"", &at.bytes(), self.nonce())?;
            self.shared.db.unsaid(Unsaid::Seals, async |db| sweep::keep_checkpoint(db, &at, sealed).await).await?;
        }
        Ok(())
    }

    /// The checkpoints sealed with another ring, whoever sealed them.
    pub(crate) async fn checkpoints_under(&self, ring: &Keyring) -> Result<Vec<(Checkpoint, Vec<u8>)>, Error> {
        let mut reader = self.reader().await?;
        let mut found = Vec::new();
        for (chain, _) in nodes::chains(&mut reader).await? {
            if let Some((at, _)) = sweep::checkpoint(&mut reader, chain).await? {
                let sealed = ring.seal_bytes(PURPOSE, b"", &at.bytes(), self.nonce())?;
                found.push((at, sealed));
            }
        }
        Ok(found)
    }

    fn nonce(&self) -> [u8; SEAL_NONCE_LEN] {
        let mut nonce = [0; SEAL_NONCE_LEN];
        self.shared.entropy.fill(&mut nonce);
        nonce
    }
}

fn is_sealed(ring: &Keyring, at: &Checkpoint, sealed: &[u8]) -> bool {
    ring.open_bytes(PURPOSE, b"", sealed).is_some_and(|plain| *plain.reveal() == at.bytes())
}

/// What the clocks said when the server was started.
struct Began {
    clock: Timestamp,
    /// Goes on while the machine is suspended, where it can be told.
    machine: Option<Duration>,
    process: Instant,
}

impl Began {
    fn leapt(&self, clock: Timestamp, machine: Option<Duration>) -> bool {
        let ran = match (self.machine, machine) {
            (Some(then), Some(now)) => now.saturating_sub(then),
            (Some(_) | None, _) => self.process.elapsed(),
        };
        leapt(clock.duration_since(self.clock), ran)
    }
}

/// Whether the clock went another way than the machine ran.
fn leapt(by_clock: SignedDuration, ran: Duration) -> bool {
    let ran = SignedDuration::try_from(ran).unwrap_or(SignedDuration::MAX);
    by_clock.saturating_sub(ran).abs() > LEAP
}

fn pages_gone(before: i64, now: i64) -> u64 {
    u64::try_from(now - before).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_was_suspended_is_not_a_clock_that_was_set() {
        let clock = Timestamp::from_second(1_767_225_600).unwrap();
        let began = Began { clock, machine: Some(Duration::from_secs(500)), process: Instant::now() };
        let later = clock + SignedDuration::from_hours(9);
        // This process ran for no time at all, and the machine for nine hours.
        assert!(!began.leapt(later, Some(Duration::from_secs(500 + 9 * 3_600))));
        assert!(began.leapt(later, Some(Duration::from_secs(501))));
        assert!(began.leapt(later, None));
    }

    #[test]
    fn a_clock_that_was_set_far_away_is_not_believed() {
        let hours = SignedDuration::from_hours;
        let ran = Duration::from_hours(100);
        for (by_clock, set) in
            [(99, false), (100, false), (101, false), (98, true), (102, true), (-5, true), (9_000, true)]
        {
            assert_eq!(leapt(hours(by_clock), ran), set, "{by_clock}");
        }
    }
}
