//! Removes the rows of what is over: links to profiles, tokens that ended, grants that were removed.

use std::sync::atomic::Ordering;

use valetkey_core::Error;

use crate::database::Database;
use crate::sql::db::Db;
use crate::sql::notes::Unsaid;
use crate::sql::over;

/// So long after its end something is over for every server: no clock is so far behind that it takes it for live.
pub(crate) const BEHIND_SECS: i64 = 3600;

/// All tokens are looked through once in this time.
const LOOK_SECS: i64 = 6 * 3600;

impl Database {
    /// Removes what ended so long ago and that nothing on record names any more. Says how many tokens and grants.
    pub(crate) async fn sweep_over(&self, ended_secs: u64, now_s: i64) -> Result<(u64, u64), Error> {
        let links_ms = now_s.saturating_sub(BEHIND_SECS).saturating_mul(1000);
        let forget = async |db: &mut Db| over::forget_links(db, links_ms).await;
        while self.shared.db.unsaid(Unsaid::Retention, forget).await? > 0 {
            tokio::task::yield_now().await;
        }
        let looked_s = self.shared.looked_over_s.load(Ordering::Relaxed);
        if ended_secs == 0 || (looked_s..looked_s.saturating_add(LOOK_SECS)).contains(&now_s) {
            return Ok((0, 0));
        }
        let secs = i64::try_from(ended_secs).unwrap_or(i64::MAX).max(BEHIND_SECS);
        let before_ms = now_s.saturating_sub(secs).saturating_mul(1000);
        let (mut tokens, mut grants) = (0, 0);
        let mut after = Some(Vec::new());
        while let Some(from) = after {
            let few = over::tokens(&mut self.reader().await?, &from, before_ms).await?;
            if !few.ids.is_empty() {
                let forget = async |db: &mut Db| over::forget_tokens(db, &few.ids, before_ms).await;
                tokens += self.shared.db.unsaid(Unsaid::Retention, forget).await?;
            }
            after = few.next;
            tokio::task::yield_now().await;
        }
        let mut after = Some(Vec::new());
        while let Some(from) = after {
            let few = over::grants(&mut self.reader().await?, &from, before_ms).await?;
            if !few.ids.is_empty() {
                let forget = async |db: &mut Db| over::forget_grants(db, &few.ids).await;
                grants += self.shared.db.unsaid(Unsaid::Retention, forget).await?;
            }
            after = few.next;
            tokio::task::yield_now().await;
        }
        self.shared.looked_over_s.store(now_s, Ordering::Relaxed);
        Ok((tokens, grants))
    }
}
