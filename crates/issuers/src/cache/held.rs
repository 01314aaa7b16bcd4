//! What was fetched, and for which permits it is good.

use jiff::{SignedDuration, Timestamp};
use valetkey_core::credential::Issued;
use valetkey_core::lease::Provenance;
use valetkey_core::time::Lifetime;
use valetkey_core::{Error, Kind};

use super::{Fetcher, Settings, Want};

/// A fetch asks for so much less than the permit allows: what an answer may take.
pub(super) const MARGIN_SECS: u32 = 10;
/// Below this nothing is handed out, even if the store is out of order.
pub(super) const FLOOR_SECS: u32 = 60;

pub(super) fn secs(count: u32) -> SignedDuration {
    SignedDuration::from_secs(i64::from(count))
}

/// By so much a credential may be shorter than what somebody said.
pub(super) fn tolerance(life: SignedDuration) -> SignedDuration {
    secs(Lifetime::secs(u32::try_from(life.as_secs()).unwrap_or(0)).tolerance_secs())
}

/// The least that is left of what is handed out, of one that was asked to live so long.
pub(super) fn floor(asked: u32) -> u32 {
    FLOOR_SECS.min(asked / 4)
}

pub(super) fn later(instant: Timestamp, count: u32) -> Timestamp {
    instant.checked_add(secs(count)).unwrap_or(Timestamp::MAX)
}

/// A credential that was fetched.
#[derive(Debug)]
pub struct Held {
    /// What the store gave, as it is handed out.
    pub(super) issued: Issued,
    /// For whom it was fetched.
    pub(super) origin: Provenance,
    /// It ends at this instant at the latest.
    pub(super) ends: Timestamp,
    /// It is good until this instant at least.
    pub(super) lasts: Timestamp,
    /// From then on it is renewed when somebody uses it.
    pub(super) renew: Timestamp,
    /// It is good while so much is left of it, also for a permit that would have more: the store gave no more.
    pub(super) good: SignedDuration,
    /// How long the store let it live, where that was less than asked: it gives no more to who asks again.
    pub(super) gave: Option<SignedDuration>,
}

impl Held {
    /// The credential, to be handed out.
    pub fn issued(&self) -> Issued {
        self.issued.clone()
    }

    /// Whether it is over when the permit is.
    pub(super) fn within(&self, terms: &Terms) -> bool {
        self.ends <= terms.latest
    }

    pub(super) fn left(&self, now: Timestamp) -> SignedDuration {
        self.lasts.duration_since(now)
    }

    /// Whether enough is left of it.
    pub(super) fn serves(&self, terms: &Terms) -> bool {
        let left = self.left(terms.now);
        if terms.said {
            return left >= terms.need || self.gave.is_some_and(|gave| left >= gave - tolerance(gave));
        }
        left >= terms.need.min(self.good)
    }
}

/// What a permit means for what may be handed out now.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub(super) now: Timestamp,
    /// Whether somebody said how long.
    pub(super) said: bool,
    /// What to ask for.
    pub(super) ask: Lifetime,
    /// No credential handed out may end later.
    pub(super) latest: Timestamp,
    /// So much must be left of a credential.
    pub(super) need: SignedDuration,
    /// So much must be left while the store is out of order.
    pub(super) floor: SignedDuration,
    pub(super) class: u32,
}

impl Terms {
    pub(super) fn of(settings: &Settings, fetcher: &Fetcher, want: &Want<'_>, now: Timestamp) -> Result<Self, Error> {
        let until = want.until;
        let allowed =
            Lifetime::between(now, until).ok_or_else(|| Error::internal("a permit is over before its credential"))?;
        let least = fetcher.least.as_secs();
        let allowed_secs = allowed.as_secs();
        // A permit ends at a whole second and was decided a moment ago: some of what it allows is gone already.
        if allowed_secs.saturating_add(MARGIN_SECS) < least {
            return Err(Error::new(
                Kind::Invalid,
                format!("{allowed} is too short for this storage; its shortest credential lives {least} s"),
            ));
        }
        // Of what somebody said a twentieth may be missing in all, and the store takes a while.
        let margin =
            if want.said { (allowed_secs / 40).clamp(1, MARGIN_SECS) } else { MARGIN_SECS.min(allowed_secs / 10) };
        let (ask, latest) = if allowed_secs - margin >= least {
            (allowed_secs - margin, until)
        } else {
            (least, later(until, MARGIN_SECS))
        };
        Ok(Self {
            now,
            said: want.said,
            ask: Lifetime::secs(ask),
            latest,
            need: secs(if want.said { allowed_secs - allowed.tolerance_secs() } else { settings.need(ask) }),
            floor: secs(floor(ask)),
            // Of what is allowed and not of what is asked: two who may have the same must come to the same.
            class: u32::BITS - allowed_secs.saturating_add(1).leading_zeros(),
        })
    }
}
