//! The pages that are not in the index yet, to be asked without being folded first: after a flood of vends folding takes as long as
//! a question may not.

use std::collections::HashMap;

use sqlx::sqlite::SqliteConnection;
use valetkey_core::Error;
use valetkey_core::id::LeaseId;

use crate::sqlite::entry::{self, Entry, Voided};
use crate::sqlite::failed;

/// Pages read at once.
const WINDOW: usize = 8;

/// What looks through pages.
pub(crate) trait Look {
    /// Whether nothing older than this is of interest.
    fn enough(&self, newest_ms: i64) -> bool {
        let _ = newest_ms;
        false
    }

    /// Looks at a page.
    fn page(&mut self, body: &[u8]);
}

struct Voids(HashMap<LeaseId, Voided>);

impl Look for Voids {
    fn page(&mut self, body: &[u8]) {
        for entry in entry::read(body).flatten() {
            match entry {
                Entry::Voided(voided) => drop(self.0.insert(voided.lease, voided)),
                Entry::Opened(_) | Entry::Issued(_) | Entry::Note(_) => {}
            }
        }
    }
}

/// One page, as far as it is known without its body.
#[derive(Clone, Copy, Debug)]
struct Page {
    seq: i64,
    first_ms: i64,
    last_ms: i64,
    issues: i64,
    voids: i64,
    /// The latest instant of this page and all before it. Clocks may step back, so the last page need not have it.
    newest_ms: i64,
}

/// The pages beyond the index. They and the index are asked in one view, so that nothing moves from here to there in between.
#[derive(Debug)]
pub(crate) struct Tail(Vec<Page>);

impl Tail {
    /// Finds them.
    pub(crate) async fn of(view: &mut SqliteConnection) -> Result<Self, Error> {
        let found: Vec<(i64, i64, i64, i64, i64)> = sqlx::query_as(
            "SELECT seq, first_ms, last_ms, issues, voids FROM ledger_pages
             WHERE seq > (SELECT seq FROM ledger_folded) ORDER BY seq",
        )
        .fetch_all(view)
        .await
        .map_err(failed)?;
        let mut newest_ms = i64::MIN;
        let page = |(seq, first_ms, last_ms, issues, voids): (i64, i64, i64, i64, i64)| {
            newest_ms = newest_ms.max(last_ms);
            Page { seq, first_ms, last_ms, issues, voids, newest_ms }
        };
        Ok(Self(found.into_iter().map(page).collect()))
    }

    /// The earliest instant in them.
    pub(crate) fn first_ms(&self) -> Option<i64> {
        self.0.iter().map(|page| page.first_ms).min()
    }

    /// The leases that are void, wherever they were opened.
    pub(crate) async fn voids(&self, view: &mut SqliteConnection) -> Result<HashMap<LeaseId, Voided>, Error> {
        let with_voids = Self(self.0.iter().copied().filter(|page| page.voids > 0).collect());
        let mut voids = Voids(HashMap::new());
        with_voids.look(view, &mut voids).await?;
        Ok(voids.0)
    }

    /// Only those with something of these milliseconds, the first and the last one inclusive.
    pub(crate) fn within(&self, from_ms: i64, to_ms: i64) -> Self {
        Self(self.0.iter().copied().filter(|page| page.last_ms >= from_ms && page.first_ms <= to_ms).collect())
    }

    /// Only those that say what came of leases.
    pub(crate) fn with_issues(&self) -> Self {
        Self(self.0.iter().copied().filter(|page| page.issues > 0).collect())
    }

    /// Looks through them, the last written first.
    pub(crate) async fn look(&self, view: &mut SqliteConnection, look: &mut impl Look) -> Result<(), Error> {
        for window in self.0.rchunks(WINDOW) {
            let (Some(first), Some(last)) = (window.first(), window.last()) else { continue };
            if look.enough(last.newest_ms) {
                return Ok(());
            }
            let bodies: Vec<(i64, Vec<u8>)> =
                sqlx::query_as("SELECT seq, body FROM ledger_pages WHERE seq >= ? AND seq <= ? ORDER BY seq DESC")
                    .bind(first.seq)
                    .bind(last.seq)
                    .fetch_all(&mut *view)
                    .await
                    .map_err(failed)?;
            for (seq, body) in bodies {
                // Those that were left out may lie between.
                if window.binary_search_by_key(&seq, |page| page.seq).is_ok() {
                    look.page(&body);
                }
            }
        }
        Ok(())
    }
}
