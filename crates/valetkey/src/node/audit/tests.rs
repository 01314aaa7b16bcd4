//! What a destination does to the sending of events, and what not.

use std::collections::VecDeque;
use std::sync::Mutex;

use anyhow::anyhow;
use valetkey_core::account::Metering;
use valetkey_core::time::Entropy;
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::{Bench, Tenant};
use valetkey_testkit::memory::Memory;

use super::*;

/// A destination that does as it is told.
struct Scripted {
    /// The most bytes at once.
    most: usize,
    /// Whether each of the next sends fails. Behind the last one the sending ends.
    fails: VecDeque<bool>,
    /// After a send that went well another event is there.
    more: Option<(Bench, Tenant)>,
    seen: Arc<Mutex<Seen>>,
    end: CancellationToken,
}

#[derive(Default)]
struct Seen {
    /// How often something came, and the waits after failures.
    sends: usize,
    waits: Vec<u64>,
    ids: Vec<String>,
    texts: Vec<String>,
}

#[async_trait]
impl Destination for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    async fn send(&mut self, lines: &[Line]) -> anyhow::Result<Taken> {
        if joined(lines).len() > self.most {
            return Ok(Taken::TooLong);
        }
        let fails = self.fails.pop_front();
        if self.fails.is_empty() {
            self.end.cancel();
        }
        {
            let mut seen = self.seen.lock().unwrap();
            seen.sends += 1;
            if fails == Some(true) {
                return Err(anyhow!("not now"));
            }
            seen.ids.extend(lines.iter().map(|line| line.id.to_string()));
            seen.texts.extend(lines.iter().map(|line| line.text.clone()));
        }
        if let Some((bench, tenant)) = &self.more {
            bench.open(tenant).await.unwrap();
        }
        Ok(Taken::All)
    }
}

/// Sends some leases to a destination until it has done as it was told.
async fn sent(leases: usize, most: usize, fails: &[bool], goes_on: bool) -> Arc<Mutex<Seen>> {
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(3));
    let (clock, memory) = (Arc::<FixedClock>::default(), Arc::new(Memory::new(Arc::clone(&entropy))));
    let bench = Bench::of(&memory, Arc::clone(&clock), entropy, Box::new(()));
    let tenant = bench.tenant("acme", Metering::Free).await;
    for _ in 0..leases {
        bench.open(&tenant).await.unwrap();
    }
    let (seen, end) = (Arc::<Mutex<Seen>>::default(), CancellationToken::new());
    let more = goes_on.then_some((bench, tenant));
    let fails = fails.iter().copied().collect();
    let destination = Box::new(Scripted { most, fails, more, seen: Arc::clone(&seen), end: end.clone() });
    let mut sending = Sending {
        trail: Arc::clone(&memory) as Arc<dyn Trail>,
        teller: Teller::new(memory as Arc<dyn Catalog>),
        clock,
        sender: Sender([1; 16]),
        from: From::Start,
        destination,
        most: BATCH,
        wait: IDLE,
        idle: Duration::ZERO,
    };
    while let Some(turn) = end.run_until_cancelled(sending.turn()).await {
        let wait = sending.failed(&turn.unwrap_err());
        seen.lock().unwrap().waits.push(wait.as_secs());
    }
    seen
}

#[tokio::test]
async fn each_outage_is_waited_for_from_the_start() {
    let seen = sent(1, usize::MAX, &[true, true, true, false, true, true, false], true).await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen.waits, [2, 4, 8, 2, 4]);
    assert_eq!(seen.ids.len(), 2);
}

#[tokio::test]
async fn what_is_too_long_at_once_is_sent_in_parts() {
    let whole = sent(40, usize::MAX, &[false], false).await;
    let (ids, most) = {
        let whole = whole.lock().unwrap();
        assert_eq!((whole.sends, whole.ids.len()), (1, 40));
        (whole.ids.clone(), whole.texts.iter().map(|text| text.len() + 1).max().unwrap())
    };
    let parts = sent(40, 10 * most, &[false; 4], false).await;
    assert_eq!(parts.lock().unwrap().ids, ids);
}

#[tokio::test]
async fn an_event_that_is_too_long_alone_holds_up_no_other() {
    let seen = sent(3, 300, &[false; 3], false).await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen.ids.len(), 3);
    for (id, text) in seen.ids.iter().zip(&seen.texts) {
        assert!(text.contains(&format!(r#""uid":"{id}""#)) && text.contains("too long"), "{text}");
    }
}
