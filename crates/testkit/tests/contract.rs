//! The contract of the ports, on plain memory.

use std::sync::Arc;

use valetkey_core::time::Entropy;
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::clock::FixedClock;
use valetkey_testkit::contract::Bench;
use valetkey_testkit::contract::parents::Keys;
use valetkey_testkit::memory::Memory;

#[expect(clippy::unused_async, reason = "the contract waits for its benches: other implementations open a database")]
async fn bench() -> Bench {
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(7));
    let memory = Arc::new(Memory::new(Arc::clone(&entropy)));
    Bench::of(&memory, Arc::new(FixedClock::default()), entropy, Box::new(()))
}

#[expect(clippy::unused_async, reason = "as above")]
async fn keys() -> Keys {
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(7));
    let memory = Arc::new(Memory::new(Arc::clone(&entropy)));
    let bench = Bench::of(&memory, Arc::new(FixedClock::default()), entropy, Box::new(()));
    Keys { bench, parents: memory }
}

valetkey_testkit::contract!(crate::bench);
valetkey_testkit::parents_contract!(crate::keys);
