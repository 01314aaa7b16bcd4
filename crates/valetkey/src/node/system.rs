//! The machine's clock and randomness: the one place that asks for either.

use std::cell::RefCell;
use std::time::Duration;

use jiff::Timestamp;
use valetkey_core::time::{Clock, Entropy};

/// The machine's clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine for the time")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// Linux counts what it was suspended (`proc_uptime(5)`); elsewhere that is not told.
    fn ran(&self) -> Option<Duration> {
        let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
        Duration::try_from_secs_f64(uptime.split_whitespace().next()?.parse().ok()?).ok()
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

/// Keeps what is in memory there: no core dump, and no look from a process of the same user. Keys are in it.
pub(crate) fn keep_memory_private() {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Core, none) {
        tracing::warn!(%error, "core dumps could not be switched off");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "this process could not be made undumpable");
    }
}

/// Descriptors that connections do not take: files of objects and of the database, and connections to other stores.
const RESERVE: usize = 512;

/// Raises the soft limit of descriptors to what is allowed, and says how many connections each listener may have beside the
/// reserve for files: as many as wanted, or as many as there is room for.
pub(crate) fn connections(wanted: [usize; 2], watchers: usize) -> [usize; 2] {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(_) => current,
    };
    let limit = current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let given = within(limit, wanted, watchers);
    if given != wanted {
        let ([wanted_api, wanted_s3], [api, s3]) = (wanted, given);
        tracing::warn!(
            limit,
            reserve = RESERVE,
            api,
            s3,
            "the limit of open files is too low for {wanted_api} connections of the API and {wanted_s3} of the S3 endpoint beside {RESERVE} files; raise it (`LimitNOFILE`, `ulimit -n`) or lower `api.max_connections` and `s3.max_connections`"
        );
    }
    given
}

/// As many connections as there is room for, in the proportion that was wanted, and never none.
fn within(limit: usize, wanted: [usize; 2], watchers: usize) -> [usize; 2] {
    let sum = wanted[0].saturating_add(wanted[1]);
    // At least half of what there is is for connections, however little it is.
    let room = limit.saturating_sub(RESERVE + watchers).max(limit / 2);
    if sum <= room {
        return wanted;
    }
    wanted.map(|own| {
        let share = (own as u128 * room as u128).checked_div(sum as u128).unwrap_or(0);
        usize::try_from(share).unwrap_or(usize::MAX).max(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_files() {
        assert_eq!(within(usize::MAX, [4096, 4096], 64), [4096, 4096]);
        assert_eq!(within(8192 + RESERVE + 64, [4096, 4096], 64), [4096, 4096]);
        assert_eq!(within(4096 + RESERVE + 64, [4096, 4096], 64), [2048, 2048]);
        assert_eq!(within(1024, [4096, 4096], 64), [256, 256]);
        assert_eq!(within(1024, [3000, 1000], 64), [384, 128]);
        assert_eq!(within(0, [1, 4096], 64), [1, 1]);
    }

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
