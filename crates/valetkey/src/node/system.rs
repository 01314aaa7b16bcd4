//! The machine's clock and randomness: the one place that asks for either.

use std::cell::RefCell;

use jiff::Timestamp;
use valetkey_core::time::{Clock, Entropy};

/// The machine's clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine for the time")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The operating system's randomness, fetched a block at a time by each thread: a system call for each of the two
/// small draws of a vend would cost as much as the vend's cryptography.
pub(crate) struct SystemEntropy;

const BLOCK: usize = 1024;

struct Block {
    bytes: [u8; BLOCK],
    used: usize,
}

thread_local! {
    static BLOCK_OF_THREAD: RefCell<Block> = const { RefCell::new(Block { bytes: [0; BLOCK], used: BLOCK }) };
}

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        BLOCK_OF_THREAD.with_borrow_mut(|block| {
            if buffer.len() > BLOCK - block.used {
                draw(&mut block.bytes);
                block.used = 0;
            }
            match block.bytes.get_mut(block.used..block.used + buffer.len()) {
                Some(fresh) => {
                    buffer.copy_from_slice(fresh);
                    // Handed out once: nothing that was given away stays behind.
                    fresh.fill(0);
                    block.used += buffer.len();
                }
                None => draw(buffer),
            }
        });
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine for randomness")]
fn draw(buffer: &mut [u8]) {
    if getrandom::fill(buffer).is_err() {
        // Without randomness no key and no id may be made; there is nothing to go on with.
        std::process::abort();
    }
}

/// Makes every file and directory that this process creates from here on its owner's alone: the keyring, the database, the
/// objects. Whoever could read those files would need no key.
pub(crate) fn keep_files_private() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_draws_are_alike() {
        let mut seen = std::collections::HashSet::new();
        for size in (8..64).chain([2000]) {
            let mut buffer = vec![0; size];
            for _ in 0..40 {
                SystemEntropy.fill(&mut buffer);
                assert!(seen.insert(buffer.clone()));
            }
        }
    }
}
