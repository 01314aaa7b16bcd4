//! Questions about leases: answered from the index and from the pages that are not in it yet, in one view of both. None of them
//! waits until the pages are folded.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use valetkey_core::Error;
use valetkey_core::id::{AccountId, LeaseId, StorageId};
use valetkey_core::lease::Revoker;
use valetkey_core::nouns::registry::{LeaseFilter, Outliving};
use valetkey_core::scope::Scope;

use crate::database::Database;
use crate::sql::db::Db;
use crate::sql::ends::Ends;
use crate::sql::entry::{self, Entry, Glance, Issued, Opened, Voided};
use crate::sql::leases::{self, Found};
use crate::sql::tail::{Look, Tail};
use crate::sql::{failed, rows, usage};

/// Looks for the newest leases of a kind.
struct Newest<W> {
    wanted: W,
    limit: usize,
    kept: BTreeMap<Reverse<LeaseId>, Opened>,
}

impl<W: FnMut(&Glance<'_>) -> Option<Opened>> Look for Newest<W> {
    fn enough(&self, newest_ms: i64) -> bool {
        self.kept.len() >= self.limit
            && self.kept.last_key_value().is_none_or(|(Reverse(oldest), _)| newest_ms < oldest.made_ms())
    }

    fn page(&mut self, body: &[u8]) {
        for glance in entry::glances(body) {
            let older = self.kept.last_key_value().is_some_and(|(Reverse(oldest), _)| glance.id < *oldest);
            if older && self.kept.len() >= self.limit {
                continue;
            }
            let Some(opened) = (self.wanted)(&glance) else { continue };
            self.kept.insert(Reverse(glance.id), opened);
            if self.kept.len() > self.limit {
                self.kept.pop_last();
            }
        }
    }
}

/// Looks at every lease.
struct Each<W>(W);

impl<W: FnMut(&Glance<'_>)> Look for Each<W> {
    fn page(&mut self, body: &[u8]) {
        entry::glances(body).for_each(|glance| (self.0)(&glance));
    }
}

/// Looks at what came of leases.
struct Came<W>(W);

impl<W: FnMut(Issued)> Look for Came<W> {
    fn page(&mut self, body: &[u8]) {
        for entry in entry::read(body).flatten() {
            match entry {
                Entry::Issued(issued) => (self.0)(issued),
                Entry::Opened(_) | Entry::Voided(_) | Entry::Note(_) => {}
            }
        }
    }
}

impl Database {
    /// Asks in one view: what is folded meanwhile neither shows twice nor not at all.
    pub(crate) async fn view<T>(&self, question: impl AsyncFnOnce(&mut Db) -> Result<T, Error>) -> Result<T, Error> {
        self.settle().await?;
        let mut view = self.shared.db.view().await?;
        let answer = question(&mut view).await?;
        view.end_view().await.map_err(failed)?;
        Ok(answer)
    }

    /// Leases, the newest first.
    pub(crate) async fn list(&self, filter: &LeaseFilter<'_>, longest_ms: i64) -> Result<Vec<Found>, Error> {
        let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
        self.view(async |view| {
            let tail = Tail::of(view).await?;
            let voids = tail.voids(view).await?;
            let mut found = waiting(view, &tail, &voids, filter, longest_ms).await?;
            let (mut before, mut indexed) = (filter.before, 0);
            // One that the index has may be void by a page that it does not have: then one more is asked for.
            while let more = leases::list(view, &LeaseFilter { before, ..*filter }, longest_ms).await?
                && let Some(last) = more.last()
            {
                let full = more.len() >= limit;
                before = Some(last.opened.id);
                let fresh = found.len();
                found.extend(more.into_iter().filter_map(|one| voided(one, &voids, filter)));
                indexed += found.len() - fresh;
                if !full || indexed >= limit {
                    break;
                }
            }
            found.sort_by_key(|one| Reverse(one.opened.id));
            found.dedup_by_key(|one| one.opened.id);
            found.truncate(limit);
            fill(view, &tail, &mut found).await?;
            Ok(found)
        })
        .await
    }

    /// The leases that were handed the credential of this name, the newest first.
    pub(crate) async fn of_key(&self, key_id: &str, limit: u32) -> Result<Vec<Found>, Error> {
        let (mut found, more) = self
            .view(async |view| {
                let found = leases::of_key(view, key_id, limit).await?;
                let mut more = HashSet::new();
                let mut keep = Came(|issued: Issued| {
                    if issued.key_id == key_id {
                        more.insert(issued.lease);
                    }
                });
                Tail::of(view).await?.with_issues().look(view, &mut keep).await?;
                Ok((found, more))
            })
            .await?;
        let mut more: Vec<LeaseId> = more.into_iter().collect();
        more.sort_unstable_by_key(|id| Reverse(*id));
        more.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        for id in more {
            found.extend(self.find_lease(id).await?);
        }
        found.sort_by_key(|one| Reverse(one.opened.id));
        found.dedup_by_key(|one| one.opened.id);
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(found)
    }

    /// What `by` ended at or after an instant, and its store takes on.
    pub(crate) async fn outliving_of(&self, by: Revoker, longest_ms: i64) -> Result<Vec<Outliving>, Error> {
        self.view(async |view| {
            let mut stores = leases::outliving(view, by, longest_ms).await?;
            let tail = Tail::of(view).await?;
            let with_issues = tail.with_issues();
            if with_issues.first_ms().is_none() {
                return Ok(stores);
            }
            // Ended ones of which the index does not know what came.
            let mut ended: HashMap<LeaseId, (StorageId, i64)> =
                leases::ended_without_issue(view, by, longest_ms).await?.into_iter().collect();
            let at_ms = by.at.as_millisecond();
            let ends = Ends::since(view, tail.first_ms().unwrap_or(at_ms)).await?;
            let voids = tail.voids(view).await?;
            let mut look = Each(|glance: &Glance<'_>| {
                let Some(opened) = glance.read() else { return };
                let Some(end) = ends.of(&opened) else { return };
                if end.by == by.by && end.at.as_millisecond() >= at_ms && !voids.contains_key(&opened.id) {
                    ended.insert(opened.id, (opened.storage, end.at.as_millisecond()));
                }
            });
            tail.within(at_ms.saturating_sub(longest_ms), i64::MAX).look(view, &mut look).await?;
            let mut more: HashMap<LeaseId, (StorageId, Issued)> = HashMap::new();
            let mut keep = Came(|issued: Issued| {
                if let Some((storage, ended_ms)) = ended.get(&issued.lease)
                    && issued.ends_s.saturating_mul(1000) > *ended_ms
                {
                    more.insert(issued.lease, (*storage, issued));
                }
            });
            with_issues.look(view, &mut keep).await?;
            for (storage, issued) in more.into_values() {
                add(&mut stores, storage, issued)?;
            }
            stores.sort_by_key(|row| row.storage);
            for row in &mut stores {
                row.key_ids.sort_unstable();
            }
            Ok(stores)
        })
        .await
    }

    /// Credits of an account's leases in each of these stretches of milliseconds, the last one exclusive; void ones cost nothing.
    pub(crate) async fn credits_in(&self, account: AccountId, stretches: &[(i64, i64)]) -> Result<Vec<u64>, Error> {
        self.view(async |view| {
            let mut sums = vec![0_u64; stretches.len()];
            let from_ms = stretches.first().map_or(i64::MAX, |(from, _)| *from);
            let to_ms = stretches.last().map_or(i64::MIN, |(_, to)| *to);
            // They are in order and touch.
            let stretch_of = |at_ms: i64| {
                let number = stretches.partition_point(|(_, end)| *end <= at_ms);
                (from_ms..to_ms).contains(&at_ms).then_some(number)
            };
            // From one that has some to the next: days without use cost nothing.
            let mut at_ms = from_ms;
            while let Some(first) = usage::first_credit(view, account, at_ms, to_ms).await? {
                let found = stretch_of(first).and_then(|number| stretches.get(number).zip(sums.get_mut(number)));
                let Some(((from, to), sum)) = found else { break };
                *sum = usage::credits(view, account, *from, *to).await?;
                at_ms = *to;
            }
            let mut look = Each(|glance: &Glance<'_>| {
                if glance.account == account
                    && let Some(sum) = stretch_of(glance.from_ms).and_then(|number| sums.get_mut(number))
                {
                    *sum += u64::from(glance.credits);
                }
            });
            let tail = Tail::of(view).await?;
            tail.within(from_ms, to_ms).look(view, &mut look).await?;
            // Each once, whether the index has its lease or not. The id tells when it was opened.
            for voided in tail.voids(view).await?.into_values().filter(|voided| voided.account == account) {
                if let Some(sum) = stretch_of(voided.lease.made_ms()).and_then(|number| sums.get_mut(number)) {
                    *sum = sum.saturating_sub(u64::from(voided.credits));
                }
            }
            Ok(sums)
        })
        .await
    }
}

impl Database {
    /// How many leases were opened in each hour since then, by the millisecond it begins with; void ones do not count.
    pub(crate) async fn opened_by_hour(
        &self,
        account: Option<AccountId>,
        from_ms: i64,
    ) -> Result<BTreeMap<i64, u64>, Error> {
        let hour_of = |ms: i64| ms - ms.rem_euclid(HOUR_MS);
        let meant = |own: AccountId| account.is_none_or(|account| own == account);
        self.view(async |view| {
            let indexed = leases::by_hour(view, account, from_ms).await?;
            let mut hours: BTreeMap<i64, u64> =
                indexed.into_iter().filter_map(|(hour, count)| Some((hour, u64::try_from(count).ok()?))).collect();
            let tail = Tail::of(view).await?;
            let mut look = Each(|glance: &Glance<'_>| {
                if meant(glance.account) && glance.from_ms >= from_ms {
                    *hours.entry(hour_of(glance.from_ms)).or_default() += 1;
                }
            });
            tail.within(from_ms, i64::MAX).look(view, &mut look).await?;
            for voided in tail.voids(view).await?.into_values().filter(|voided| meant(voided.account)) {
                if let Some(count) = hours.get_mut(&hour_of(voided.lease.made_ms())) {
                    *count = count.saturating_sub(1);
                }
            }
            hours.retain(|_, count| *count > 0);
            Ok(hours)
        })
        .await
    }
}

/// An hour, in milliseconds.
const HOUR_MS: i64 = 3_600_000;

/// The leases that are asked for and not in the index.
async fn waiting(
    view: &mut Db,
    tail: &Tail,
    voids: &HashMap<LeaseId, Voided>,
    filter: &LeaseFilter<'_>,
    longest_ms: i64,
) -> Result<Vec<Found>, Error> {
    let LeaseFilter { account, caller, token, grant, bucket, asked_with, since, live_at, before, limit } = *filter;
    let Some(first_ms) = tail.first_ms() else { return Ok(Vec::new()) };
    let at_ms = live_at.map(jiff::Timestamp::as_millisecond);
    let ends = Ends::since(view, first_ms).await?;
    let since_ms = since.map_or(i64::MIN, jiff::Timestamp::as_millisecond);
    let bucket = match bucket {
        Some(bucket) => Some((Scope::bucket_mark(bucket), leases::long_scopes_of(view, bucket).await?)),
        None => None,
    };
    let lies_in = |scope: &[u8], (mark, long): &(Vec<u8>, HashSet<Vec<u8>>)| match entry::scope_digest(scope) {
        Some(digest) => long.contains(digest),
        None => scope.get(3..).is_some_and(|rest| rest.starts_with(mark)),
    };
    let wanted = |glance: &Glance<'_>| {
        let fits = account.is_none_or(|account| glance.account == account)
            && caller.is_none_or(|caller| glance.caller == caller)
            && token.is_none_or(|token| glance.token == token)
            && since_ms <= glance.from_ms
            && (asked_with.is_none() || glance.asked_with == asked_with)
            && before.is_none_or(|before| glance.id < before)
            && at_ms.is_none_or(|at| glance.from_ms <= at && glance.until_s.saturating_mul(1000) > at);
        let opened = if fits { glance.read()? } else { return None };
        let meant = grant.is_none_or(|grant| opened.grant_ids().any(|own| own == grant))
            && bucket.as_ref().is_none_or(|bucket| lies_in(&opened.scope, bucket));
        if !meant {
            return None;
        }
        let live = at_ms.is_none_or(|at| {
            !voids.contains_key(&opened.id) && ends.of(&opened).is_none_or(|end| end.at.as_millisecond() > at)
        });
        live.then_some(opened)
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut newest = Newest { wanted, limit, kept: BTreeMap::new() };
    let from_ms = at_ms.map_or(i64::MIN, |at| at.saturating_sub(longest_ms)).max(since_ms);
    tail.within(from_ms, before.map_or(i64::MAX, LeaseId::made_ms)).look(view, &mut newest).await?;
    let found = |opened: Opened| Found {
        void_kind: voids.get(&opened.id).map(|voided| voided.kind.clone()),
        revoked: ends.of(&opened),
        issued: None,
        opened,
    };
    Ok(newest.kept.into_values().map(found).collect())
}

/// One that the index has, as the pages beyond it tell; nothing if it is not live by them and only such are asked for.
fn voided(one: Found, voids: &HashMap<LeaseId, Voided>, filter: &LeaseFilter<'_>) -> Option<Found> {
    match voids.get(&one.opened.id) {
        None => Some(one),
        Some(voided) => filter.live_at.is_none().then(|| Found { void_kind: Some(voided.kind.clone()), ..one }),
    }
}

/// Says what came of leases, where only pages tell.
async fn fill(view: &mut Db, tail: &Tail, found: &mut [Found]) -> Result<(), Error> {
    let open: HashSet<LeaseId> = found.iter().filter(|one| one.issued.is_none()).map(|one| one.opened.id).collect();
    let Some(first) = open.iter().min() else { return Ok(()) };
    let mut came = HashMap::new();
    let mut keep = Came(|issued: Issued| {
        if open.contains(&issued.lease) {
            came.insert(issued.lease, issued);
        }
    });
    tail.with_issues().within(first.made_ms(), i64::MAX).look(view, &mut keep).await?;
    for one in found.iter_mut().filter(|one| one.issued.is_none()) {
        one.issued = came.remove(&one.opened.id);
    }
    Ok(())
}

fn add(stores: &mut Vec<Outliving>, storage: StorageId, issued: Issued) -> Result<(), Error> {
    let until = rows::at_ms(issued.ends_s.saturating_mul(1000))?;
    let key_id: Box<str> = issued.key_id.into();
    match stores.iter_mut().find(|row| row.storage == storage) {
        Some(row) => {
            row.leases += 1;
            row.until = row.until.max(until);
            if !row.key_ids.contains(&key_id) {
                row.key_ids.push(key_id);
            }
        }
        None => stores.push(Outliving { storage, key_ids: vec![key_id], leases: 1, until }),
    }
    Ok(())
}
