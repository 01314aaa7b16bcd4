//! The contract of the ports, on the tests' own memory.
#![expect(clippy::unused_async, reason = "a bench is made asynchronously elsewhere")]

use std::sync::Arc;

use valetkey_core::time::Entropy;
use valetkey_testkit::chance::SeededEntropy;
use valetkey_testkit::contract::Bench;
use valetkey_testkit::memory::Memory;

async fn bench() -> Bench {
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(7));
    Bench::of(&Arc::new(Memory::new(Arc::clone(&entropy))), Arc::default(), entropy, Box::new(()))
}

valetkey_testkit::contract!(crate::bench);
