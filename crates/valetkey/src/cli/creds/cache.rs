//! Credentials kept between calls of `--format process`: no SDK keeps them, and without this each `aws` call would vend.
//!
//! One file per server, token and ask, readable by its owner alone, and a lock beside it so that calls at the same time
//! vend once. Everything that goes wrong with the files only costs a vend.

use std::fs::File;
use std::future::Future;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cli::client::Client;
use crate::cli::creds::ask::Ask;
use crate::cli::creds::key::{Key, Wire};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::Out;
use crate::cli::private::{lock, private};

/// botocore calls again at 15 minutes before the end, and must get newer ones then.
const AHEAD: SignedDuration = SignedDuration::from_mins(20);
/// What is vended when the server cannot be asked must at least last a request.
const LAST_RESORT: SignedDuration = SignedDuration::from_secs(60);
/// For how long what was vended or confirmed is vended without asking the server whether it was ended.
pub(crate) const UNASKED: SignedDuration = SignedDuration::from_mins(1);
/// The longest such a question may take: it stands in the way of every call.
const MOST_ASKING: Duration = Duration::from_secs(5);
/// Files that are looked at to count them.
const MOST_COUNTED: usize = 1000;
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// One file of kept credentials. Without a place to keep them, nothing is kept.
pub(super) struct Cache {
    file: Option<PathBuf>,
}

/// What a file holds.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Seconds since 1970.
    vended: i64,
    /// When the server was last asked about it; likewise.
    #[serde(default)]
    asked: i64,
    credential: Wire,
}

/// A credential that was kept.
struct Old {
    key: Key,
    vended: Timestamp,
    asked: Timestamp,
}

impl Old {
    /// Whether the server need not be asked yet. A clock that went back proves nothing.
    fn is_unasked(&self, now: Timestamp) -> bool {
        let last = self.vended.max(self.asked);
        last <= now && now.duration_since(last) < UNASKED
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        is_fresh(self.vended, self.key.expiration, now)
    }
}

/// What the server says of a credential that was kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Said {
    /// It is good.
    Good,
    /// It was ended, or nothing is known of it.
    Ended,
}

/// Where credentials are kept: as said, or `valetkey/creds` in the user's cache directory.
pub(crate) fn directory(told: Option<PathBuf>, xdg: Option<PathBuf>) -> Option<PathBuf> {
    told.or_else(|| {
        let home = || std::env::home_dir().map(|home| home.join(".cache"));
        xdg.filter(|path| path.is_absolute()).or_else(home).map(|caches| caches.join("valetkey").join("creds"))
    })
}

impl Cache {
    /// The file for an ask of a caller at a server.
    pub(super) fn open(directory: Option<PathBuf>, client: &Client<'_>, ask: &Ask) -> Result<Self, Failure> {
        let ask = serde_json::to_string(ask).map_err(|error| Failure::local(error.to_string()))?;
        let file = directory
            .map(|directory| directory.join(format!("{}.json", name(client.server(), client.token().reveal(), &ask))));
        Ok(Self { file })
    }

    /// What is kept, while it is fresh and was not ended; else what is vended now. What is kept for longer than a minute is
    /// confirmed first, by the id of its lease: a key that was ended must not come out of a file for hours.
    pub(super) async fn get_or<C, F>(
        &self,
        timeout: Duration,
        out: &Out,
        confirm: impl FnOnce(String) -> C,
        vend: impl FnOnce() -> F,
    ) -> Result<Key, Failure>
    where
        C: Future<Output = Result<Said, Failure>>,
        F: Future<Output = Result<(Key, Value), Failure>>,
    {
        let Some(file) = &self.file else {
            out.warn(
                "there is no directory to keep credentials in, so that each call vends again; --cache-dir DIR names one",
            );
            return vend().await.map(|(key, _)| key);
        };
        let handed_out = |old: &Old| old.is_fresh(crate::cli::now()) && old.is_unasked(crate::cli::now());
        if let Some(old) = read(file).filter(handed_out) {
            return Ok(old.key);
        }
        let unkept = |error: &std::io::Error| {
            let at = file.parent().unwrap_or(file).display();
            out.warn(&format!(
                "credentials cannot be kept in {at} ({error}), so that each call vends again; --cache-dir DIR names another directory, --no-cache says that this is meant"
            ));
        };
        let lock = lock(file, timeout).await.inspect_err(unkept).ok().flatten();
        let keep = |key: &Key, vended: Timestamp, asked: Timestamp| {
            if lock.is_some() {
                let kept = Kept { vended: vended.as_second(), asked: asked.as_second(), credential: key.wire() };
                let _ = write(file, &kept).inspect_err(unkept);
            }
        };
        let mut kept = read(file);
        if let Some(old) = kept.take_if(|old| handed_out(old)) {
            return Ok(old.key);
        }
        let now = crate::cli::now();
        if let Some(old) = kept.take_if(|old| old.is_fresh(now)) {
            let asking = tokio::time::timeout(timeout.min(MOST_ASKING), confirm(old.key.lease.clone())).await;
            let silent = || Err(Failure::new(Exit::Unreachable, "the server does not say whether they were ended"));
            match asking.unwrap_or_else(|_| silent()) {
                Ok(Said::Good) => {
                    keep(&old.key, old.vended, now);
                    return Ok(old.key);
                }
                Ok(Said::Ended) => {}
                Err(failure) if is_away(&failure) && outlasts(&old.key, now) => {
                    // Where it was ended the endpoint refuses it, whoever prints it. Asked again in a minute.
                    keep(&old.key, old.vended, now);
                    out.warn(&format!(
                        "{failure}; the credentials kept from before are good until {}",
                        old.key.expires()
                    ));
                    return Ok(old.key);
                }
                Err(failure) => return Err(failure),
            }
        }
        match (vend().await, kept) {
            (Ok((key, _)), _) => {
                keep(&key, now, now);
                if lock.is_some() {
                    prune(file, now);
                }
                Ok(key)
            }
            (Err(failure), Some(old)) if is_away(&failure) && outlasts(&old.key, now) => {
                out.warn(&format!("{failure}; the credentials kept from before are good until {}", old.key.expires()));
                Ok(old.key)
            }
            (Err(failure), _) => Err(failure),
        }
    }
}

/// Whether a failure says nothing about the caller: the server is away, or has too much to do.
pub(crate) fn is_away(failure: &Failure) -> bool {
    matches!(failure.exit, Exit::Unreachable | Exit::RateLimited)
}

/// Whether a credential lasts a request, at least.
fn outlasts(key: &Key, now: Timestamp) -> bool {
    key.expiration > now.saturating_add(LAST_RESORT).unwrap_or(now)
}

/// Whether kept credentials are vended again: until 20 minutes or half their life before their end, whichever is
/// earlier; of those that live shorter than half an hour, for the first quarter at least.
fn is_fresh(vended: Timestamp, until: Timestamp, now: Timestamp) -> bool {
    vended <= now && now < renewal(vended, until)
}

/// When a credential is to be renewed.
pub(crate) fn renewal(vended: Timestamp, until: Timestamp) -> Timestamp {
    let life = until.duration_since(vended);
    let ahead = (life / 2).max(AHEAD.min(life / 4 * 3));
    until.saturating_sub(ahead).unwrap_or(vended)
}

/// SECURITY: the token is in the name's digest, so that another caller's credentials are never found.
fn name(server: &str, token: &str, ask: &str) -> String {
    let text = valetkey_core::Secret::new(format!("{server}\n{token}\n{ask}"));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.reveal().as_bytes());
    data_encoding::HEXLOWER.encode(digest.as_ref())
}

/// What a file holds, if it is ours alone and whole.
fn read(path: &Path) -> Option<Old> {
    let file = File::open(path).ok()?;
    if !is_private(&file) {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).ok()?;
    let Kept { vended, asked, credential } = serde_json::from_slice(&bytes).ok()?;
    let at = |secs| Timestamp::from_second(secs).ok();
    Some(Old { key: Key::of(credential).ok()?, vended: at(vended)?, asked: at(asked)? })
}

/// Whether the six bits of group and others are all zero.
#[cfg(unix)]
fn is_private(file: &File) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|about| about.permissions().mode().trailing_zeros() >= 6)
}

#[cfg(not(unix))]
fn is_private(_: &File) -> bool {
    true
}

/// Writes a new file and puts it in the place of the old one, so that a reader sees one or the other.
fn write(path: &Path, kept: &Kept) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let written = serde_json::to_vec(kept).map_err(std::io::Error::other).and_then(|bytes| {
        // What a killed call left behind; the lock is held, so nobody writes it now.
        let _ = std::fs::remove_file(&new);
        let mut file = private().create_new(true).open(&new)?;
        file.write_all(&bytes)?;
        std::fs::rename(&new, path)
    });
    written.inspect_err(|_| {
        let _ = std::fs::remove_file(&new);
    })
}

/// How many credentials are kept in a directory, and how many of them are over.
pub(crate) fn counted(directory: &Path, now: Timestamp) -> (usize, usize) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = entries.filter(|path| path.extension().is_some_and(|kind| kind == "json")).take(MOST_COUNTED);
    let kept: Vec<Old> = files.filter_map(|path| read(&path)).collect();
    (kept.len(), kept.iter().filter(|old| old.key.expiration < now).count())
}

/// Removes credentials whose time is over.
fn prune(path: &Path, now: Timestamp) {
    let Some(directory) = path.parent().and_then(|directory| std::fs::read_dir(directory).ok()) else { return };
    for entry in directory.flatten().take(256) {
        let path = entry.path();
        if path.extension().is_some_and(|kind| kind == "json")
            && read(&path).is_some_and(|old| old.key.expiration < now)
        {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::creds::key::Material;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + secs).unwrap()
    }

    fn wire(until: Timestamp) -> Value {
        json!({
            "access_key_id": "A", "secret_access_key": "s3cret", "session_token": "t", "expiration": until.to_string(),
            "endpoint_url": "https://s3.example", "bucket": "b"
        })
    }

    #[test]
    fn kept_credentials_are_renewed_well_before_a_client_would_ask() {
        for (life, renewed_at) in [(3600, 1800), (7200, 3600), (2400, 1200), (1800, 600), (1200, 300), (60, 15)] {
            let fresh = |now| is_fresh(at(0), at(life), at(now));
            assert!(fresh(0) && fresh(renewed_at - 1), "{life}");
            assert!(!fresh(renewed_at) && !fresh(life), "{life}");
        }
        assert!(!is_fresh(at(10), at(3600), at(0)), "a clock that went back proves nothing");
    }

    #[test]
    fn another_token_or_server_or_ask_is_another_file() {
        let names = [name("a", "t", "{}"), name("b", "t", "{}"), name("a", "u", "{}"), name("a", "t", "{1}")];
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn an_own_directory_is_taken_before_the_users_caches() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(directory(path("/a"), path("/x")), path("/a"));
        assert_eq!(directory(None, path("/x")), path("/x/valetkey/creds"));
        assert!(directory(None, path("relative")).is_none_or(|found| !found.starts_with("relative")));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_kept_file_is_the_owners_alone_and_one_that_others_can_read_is_not_believed() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/creds/x.json");
        let held = lock(&path, Duration::ZERO).await.unwrap().unwrap();
        assert!(lock(&path, Duration::ZERO).await.unwrap().is_none(), "a held lock is not given twice");
        let credential = serde_json::from_value(wire(at(60))).unwrap();
        write(&path, &Kept { vended: at(0).as_second(), asked: 0, credential }).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert!(matches!(read(&path).unwrap().key.material, Material::S3(keys) if keys.access_key_id == "A"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(&path).is_none());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        prune(&path, at(61));
        assert!(!path.exists());
        drop(held);
    }
}
