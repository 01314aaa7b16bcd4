//! The pages that are not in the index yet, to be asked without being folded first: after a flood of vends folding takes as long as
//! a question may not.

use std::collections::HashMap;

use valetkey_core::Error;
use valetkey_core::id::LeaseId;

use crate::sql::db::{Db, query_as, query_scalar};
use crate::sql::entry::{self, Entry, Voided};
use crate::sql::failed;

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
    pub(crate) async fn of(view: &mut Db) -> Result<Self, Error> {
        let found: Vec<(i64, i64, i64, i64, i64)> =
            query_as("SELECT seq, first_ms, last_ms, issues, voids FROM unfolded_pages ORDER BY last_ms, seq")
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
    pub(crate) async fn voids(&self, view: &mut Db) -> Result<HashMap<LeaseId, Voided>, Error> {
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
    pub(crate) async fn look(&self, view: &mut Db, look: &mut impl Look) -> Result<(), Error> {
        for window in self.0.rchunks(WINDOW) {
            let Some(last) = window.last() else { continue };
            if look.enough(last.newest_ms) {
                return Ok(());
            }
            let places = vec!["?"; window.len()].join(",");
            let mut bodies = query_scalar::<Vec<u8>>(format!(
                "SELECT body FROM ledger_pages WHERE seq IN ({places}) ORDER BY last_ms DESC, seq DESC"
            ));
            for page in window {
                bodies = bodies.bind(page.seq);
            }
            for body in bodies.fetch_all(&mut *view).await.map_err(failed)? {
                look.page(&body);
            }
        }
        Ok(())
    }
}
