//! A fetch: one for all who wait for the same credential, on all nodes that share a database.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tracing::Instrument as _;
use valetkey_core::lease::Provenance;
use valetkey_core::scope::Rights;
use valetkey_core::storage::Sharing;
use valetkey_core::time::Lifetime;
use valetkey_core::{Error, Kind};

use super::budget::Turn;
use super::held::{Held, Terms, floor, later, secs};
use super::pool::{Claim, Found};
use super::{Denied, Fetcher, Inner, Key, Landed, Want, issued, spent};
use crate::upstream::{self, Fetched, SessionName, Wish};

/// From this share of a store's room for policies on, it is said in the log.
const CROWDED_PERCENT: u8 = 80;
/// Clocks further apart than this are not believed when a store gives less than asked.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// A fetch under way.
struct Flight {
    cache: Arc<Inner>,
    fetcher: Arc<Fetcher>,
    rights: Arc<Rights>,
    origin: Provenance,
    terms: Terms,
    key: Key,
    /// Whether there is a credential that is still good: another has to be newer.
    renews: bool,
}

/// How a fetch has to be settled with the other nodes, once those who wait for it here were told.
struct Settling {
    claim: Claim,
    held: Option<Arc<Held>>,
}

impl Inner {
    /// Starts a fetch. Its turn at the storage was taken before, or is taken when it turns out that the storage is to be asked.
    pub(super) fn fetch(
        this: &Arc<Self>,
        fetcher: &Arc<Fetcher>,
        want: &Want<'_>,
        terms: Terms,
        key: Key,
        turn: Option<Turn>,
        renews: bool,
    ) -> watch::Receiver<Landed> {
        let (tell, told) = watch::channel(None);
        let span = upstream::span(&fetcher.name);
        let flight = Flight {
            cache: Arc::clone(this),
            fetcher: Arc::clone(fetcher),
            rights: Arc::clone(want.rights),
            origin: want.origin.clone(),
            renews,
            terms,
            key,
        };
        let fetching = async move {
            let (landed, settling) = flight.fly(turn).await;
            tell.send_replace(Some(landed));
            if let (Some(Settling { claim, held }), Some(pool)) = (settling, &flight.cache.pool) {
                pool.settle(claim, flight.key.storage, held.as_deref()).await;
            }
        };
        this.tasks.spawn(fetching.instrument(span));
        told
    }
}

impl Flight {
    async fn fly(&self, turn: Option<Turn>) -> (Result<(), Arc<Denied>>, Option<Settling>) {
        let claim = match &self.cache.pool {
            Some(pool) => match pool.find(&self.cache, &self.key, |held, now| self.takes(held, now)).await {
                Found::Landed => return (Ok(()), None),
                Found::Claimed(claim) => Some(claim),
                Found::Nothing => None,
            },
            None => None,
        };
        let asking = self.ask(turn);
        let asked = match (&claim, &self.cache.pool) {
            (Some(claim), Some(pool)) => pool.holding(claim, &*self.cache.clock, asking).await,
            _ => asking.await,
        };
        let settle = |held| claim.map(|claim| Settling { claim, held });
        match asked {
            Ok(held) => {
                self.cache.land(&self.key, |slot, now| slot.keep(Arc::clone(&held), now));
                (Ok(()), settle(Some(held)))
            }
            Err(denied) => (Err(denied), settle(None)),
        }
    }

    /// Asks the storage, in its turn.
    async fn ask(&self, turn: Option<Turn>) -> Result<Arc<Held>, Arc<Denied>> {
        let Self { cache, fetcher, .. } = self;
        let turn = match turn {
            Some(turn) => Ok(turn),
            None => fetcher.budget.take(self.origin.account, cache.clock.now()),
        };
        let turned = match turn {
            Ok(turn) => fetcher.budget.wait(turn, &*cache.clock).await,
            Err(pause) => Err(pause),
        };
        if let Err(pause) = turned {
            // Whoever asks again may have better luck: nothing is remembered of it.
            cache.land(&self.key, |_, _| ());
            return Err(Arc::new(cache.denied(spent(pause))));
        }
        // What the turn took is gone from what the permit allows.
        let (sent, ask) = (cache.clock.now(), self.terms.ask);
        let waited = u32::try_from(sent.duration_since(self.terms.now).as_secs()).unwrap_or(0);
        let lifetime = Lifetime::secs(ask.as_secs().saturating_sub(waited)).max(fetcher.least.min(ask));
        let session = match fetcher.sharing {
            Sharing::Caller => SessionName::of(&self.origin.caller.to_string()),
            Sharing::Anyone => SessionName::of("valetkey-shared"),
        };
        let wish = Wish { rights: &self.rights, lifetime, session: &session, now: sent };
        let answer = fetcher.upstream.fetch(&wish).await;
        let held = answer.and_then(|fetched| cache.held(fetched, self.origin.clone(), lifetime, sent));
        held.inspect(|_| fetcher.health.worked()).map_err(|error| {
            fetcher.health.failed(error.kind());
            let (storage, reason) = (fetcher.name.to_string(), error.kind().slug());
            tracing::Span::current().record("error.type", reason).record("otel.status_code", "ERROR");
            metrics::counter!("vk_upstream_failures_total", "storage" => storage, "reason" => reason).increment(1);
            let denied = Arc::new(cache.denied(error));
            if denied.error.kind() == Kind::RateLimited {
                fetcher.budget.pause(denied.until);
            }
            cache.land(&self.key, |slot, _| slot.denied = Some(denied.clone()));
            denied
        })
    }

    /// Whether what another node fetched does here.
    fn takes(&self, held: &Held, now: Timestamp) -> bool {
        let terms = Terms { now, ..self.terms };
        let newer = !self.renews || now < held.renew;
        newer && held.within(&terms) && held.serves(&terms) && !self.cache.leases.is_revoked(&held.origin)
    }
}

impl Inner {
    /// What was fetched, to be kept and handed out, if it lives long enough to be of use.
    fn held(&self, fetched: Fetched, origin: Provenance, asked: Lifetime, sent: Timestamp) -> Result<Arc<Held>, Error> {
        let Fetched { credential, upstream_request_id, packed_policy_percent, narrowed } = fetched;
        let told = credential.expiration();
        if let Some(percent) = packed_policy_percent.filter(|percent| *percent >= CROWDED_PERCENT) {
            tracing::warn!(caller = %origin.caller, percent, "a session policy takes nearly all the room its storage has for one");
        }
        let issued = issued(credential, upstream_request_id, narrowed);
        let (now, life) = (self.clock.now(), asked.as_secs());
        let ends = later(now, life).min(told.checked_add(SKEW).unwrap_or(Timestamp::MAX));
        let lasts = later(sent, life).min(told);
        let left = told.duration_since(now);
        if left < secs(floor(life)) {
            let wait = u32::try_from(left.as_secs()).unwrap_or(0) + 1;
            return Err(Error::new(
                Kind::Upstream,
                "the storage returned a credential that is over in a moment; try again later",
            )
            .retry_after(wait)
            .note(format!("asked for {asked} at {sent}, and the credential ends {told}")));
        }
        let own = lasts.duration_since(sent);
        let gave = (own < secs(life - life / 20)).then_some(own);
        // A store that gives what is left of one it keeps itself gives no more by being asked again at once.
        let short = own < secs(life - life / 20) && own / 2 < secs(self.settings.need(life));
        let (good, ahead) = if short {
            ((own / 4).max(secs(floor(life))), own / 2)
        } else {
            let mut chance = [0; 4];
            self.entropy.fill(&mut chance);
            // Up to a twentieth of its life earlier: what was fetched together is not renewed together.
            let jitter = u32::from_be_bytes(chance) % (life / 20).max(1);
            (SignedDuration::MAX, secs(self.settings.need(life) + life / 6 + jitter))
        };
        let renew = lasts.checked_sub(ahead).unwrap_or(sent);
        Ok(Arc::new(Held { issued, origin, ends, lasts, renew, good, gave }))
    }
}
