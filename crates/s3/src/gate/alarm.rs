//! Refusals that someone may want to look into: they are counted, and told with the refused asks of the APIs.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use valetkey_core::Kind;
use valetkey_core::error::Stranger;
use valetkey_core::id::{AccountId, CallerId};
use valetkey_core::lease::Refusal;
use valetkey_core::nouns::usage::Meter;

use crate::gate::ending::Alarm;

/// How the refusals are called among those of the APIs.
const S3: &str = "s3";

/// So many requests of a caller in a minute to what its key does not open are not a mistake any more.
const BURST: u32 = 100;

/// Callers that are counted at once; of more, no bursts are told: their refusals are.
const CALLERS: usize = 10_000;

/// Requests to what keys do not open, in one minute.
#[derive(Default)]
pub(crate) struct Bursts(Mutex<(i64, HashMap<CallerId, u32>)>);

impl Bursts {
    /// Counts one more; says when it is the one that makes it a burst.
    fn is_burst(&self, caller: CallerId, minute: i64) -> bool {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.0 != minute {
            *counted = (minute, HashMap::new());
        }
        let many = counted.1.len() >= CALLERS && !counted.1.contains_key(&caller);
        if many {
            return false;
        }
        let count = counted.1.entry(caller).or_default();
        *count = count.saturating_add(1);
        *count == BURST
    }

    /// Tells of a refusal that someone may want to look into: of what is odd about it, or that the key does not open it.
    pub(crate) fn tell(
        &self,
        (alarm, denied): (Option<Alarm>, bool),
        (holder, from): (Option<(AccountId, CallerId)>, Option<IpAddr>),
        meter: &dyn Meter,
        now: Timestamp,
    ) {
        let (what, whose, kind) = match (alarm, holder) {
            (Some(Alarm::OtherKey), _) => {
                (Some("token_of_another_key"), None, Kind::Unauthenticated(Stranger::Unknown))
            }
            (Some(Alarm::Revoked(account, caller)), _) => {
                (Some("revoked_key_in_use"), Some((account, caller)), Kind::Unauthenticated(Stranger::Revoked))
            }
            (None, Some(holder)) if denied => {
                let burst = self.is_burst(holder.1, now.as_second().div_euclid(60));
                (burst.then_some("out_of_scope_burst"), Some(holder), Kind::Forbidden)
            }
            (None, _) => return,
        };
        if let Some(what) = what {
            metrics::counter!("vk_alerts_total", "alert" => what).increment(1);
        }
        let (account, caller) = whose.unzip();
        meter.refused(Refusal { account, caller, from, dialect: S3, kind }, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_told_once_a_minute_and_memory_is_bounded() {
        let bursts = Bursts::default();
        let caller = |number: u32| CallerId::from_bytes(u128::from(number).to_be_bytes());
        let told = |number, minute| (0..250).filter(|_| bursts.is_burst(caller(number), minute)).count();
        assert_eq!((told(1, 1), told(2, 1), told(1, 2)), (1, 1, 1));
        assert_eq!((0..99).filter(|_| bursts.is_burst(caller(1), 3)).count(), 0);
        for number in 0..20_000 {
            bursts.is_burst(caller(number), 4);
        }
        assert_eq!(bursts.0.lock().unwrap().1.len(), CALLERS);
        assert_eq!(told(19_999, 4), 0);
    }
}
