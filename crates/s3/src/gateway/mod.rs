//! Buckets whose objects lie in somebody else's store: the wire's operations done there, in the wire's own words.
//!
//! What the store does not keep (our entity tags, checksums, on a plain disk every header) is kept in the index beside, bound
//! to the version it is true of. Uploads in parts are kept in the index and its files too, whatever the store can, and go
//! there as one object when they are completed: so their rules are the same everywhere.

mod completing;
pub(crate) mod door;
mod heap;
mod listing;
pub(crate) mod port;
mod reading;
mod writing;

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;

use s3s::{S3Error, S3ErrorCode};
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::task::TaskTracker;
use valetkey_core::fair::{Place, Places};
use valetkey_core::id::AccountId;

use crate::error::{Result, crowded, internal, later, no_room, refuse, refuse_with};
pub(crate) use crate::gateway::completing::Completing;
use crate::gateway::door::Door;
use crate::gateway::port::{Failure, Found};
pub(crate) use crate::gateway::reading::Reading;
pub(crate) use crate::gateway::writing::Draft;
use crate::objects::facts::Facts;
use crate::objects::record::{Data, Headers, Record};
use crate::objects::{BucketId, Objects, shown};

const TYPE: &str = "content-type";

/// Turns that keys share. Two keys that share one wait for each other, so there are many more than bodies under way; each is a few words.
const TURNS: usize = 1024;
/// Large bodies that may be on their way to stores at once. Each takes up to about 16 MiB of memory while it is:
/// 384 MiB together.
const FLOWING: usize = 24;
/// Large bodies of one account that may wait for that. Who waits holds a connection and no body; more are told to come again.
const WAITING: usize = 1024;

/// What all writers share.
pub(crate) struct Common {
    hasher: RandomState,
    /// Lets writers of one key follow each other, so that what is kept here of an object is of the bytes that are there.
    turns: Box<[Mutex<()>]>,
    /// Lets completions of one upload follow each other: clients ask again when an answer takes long.
    endings: Box<[Mutex<()>]>,
    /// Places for large bodies: held while bytes are on their way to a store, and never while a sender is waited for.
    flowing: Arc<Places>,
}

impl Common {
    /// All free.
    pub(crate) fn new() -> Self {
        let free = || (0..TURNS).map(|_| Mutex::new(())).collect();
        Self { hasher: RandomState::new(), turns: free(), endings: free(), flowing: Places::new(FLOWING, WAITING) }
    }

    /// Waits for a place for a body of an account. Who holds one never waits for anything but the store.
    async fn place(&self, account: AccountId) -> Result<Place> {
        Ok(self.flowing.place(account).ok_or_else(crowded)?.await)
    }

    /// Waits for the key's turn. Who holds one never asks for another.
    async fn turn(&self, bucket: BucketId, key: &[u8]) -> Option<MutexGuard<'_, ()>> {
        self.one_of(&self.turns, (bucket, key)).await
    }

    /// Waits for the upload's turn to be completed. Who holds one may wait for its key's.
    async fn ending(&self, upload: &[u8]) -> Option<MutexGuard<'_, ()>> {
        self.one_of(&self.endings, upload).await
    }

    async fn one_of<'t>(&self, turns: &'t [Mutex<()>], of: impl Hash) -> Option<MutexGuard<'t, ()>> {
        let at = self.hasher.hash_one(of) % (TURNS as u64);
        match turns.get(usize::try_from(at).unwrap_or(0)) {
            Some(turn) => Some(turn.lock().await),
            None => None,
        }
    }
}

/// One bucket in another store.
#[derive(Clone)]
pub(crate) struct Gateway {
    pub(crate) backend: Door,
    pub(crate) objects: Arc<Objects>,
    pub(crate) common: Arc<Common>,
    pub(crate) tasks: TaskTracker,
    pub(crate) bucket: BucketId,
    pub(crate) name: Box<str>,
}

/// What a failure of the store is to the client. The details are in our log only.
pub(crate) fn failed(doing: &'static str, failure: &Failure) -> S3Error {
    match failure {
        Failure::Clash => {
            return refuse(
                S3ErrorCode::PreconditionFailed,
                "At least one of the pre-conditions you specified did not hold",
            );
        }
        Failure::NoBucket => {
            tracing::warn!(doing, "the storage behind the gateway has no such bucket while {doing}");
            return refuse(S3ErrorCode::NoSuchBucket, "The specified bucket does not exist");
        }
        Failure::Unfit(why) => return unfit(why),
        Failure::Full => {
            metrics::counter!("vk_s3_no_room_total").increment(1);
            tracing::warn!(doing, "there is no room at the storage behind the gateway while {doing}");
            return no_room();
        }
        Failure::Throttled(_) | Failure::Unavailable(_) | Failure::Failed(_) => {}
    }
    metrics::counter!("vk_s3_behind_failures_total", "doing" => doing).increment(1);
    tracing::warn!(doing, error = %failure, "the storage behind the gateway failed while {doing}: {failure}");
    match failure {
        Failure::Throttled(_) => later(refuse(S3ErrorCode::SlowDown, "Please reduce your request rate."), "1"),
        Failure::Unavailable(_) => {
            let said = "The storage behind this bucket cannot be reached. Please try again.";
            later(refuse(S3ErrorCode::ServiceUnavailable, said), "5")
        }
        _ => {
            let mut error = refuse(S3ErrorCode::InternalError, "The storage behind this bucket failed.");
            error.set_status_code(http::StatusCode::BAD_GATEWAY);
            later(error, "5")
        }
    }
}

/// The refusal to write a key that the store cannot express.
fn unfit(why: &str) -> S3Error {
    refuse_with(S3ErrorCode::InvalidArgument, format!("The storage behind this bucket cannot hold this key: {why}"))
}

/// What a failure to take a marker's body in is to the client.
pub(crate) fn of_marker(error: S3Error) -> S3Error {
    if *error.code() == S3ErrorCode::EntityTooLarge { unfit("it ends with `/`, and there is a body") } else { error }
}

impl Gateway {
    /// Whether a key is that of a folder's marker (`folder/`), which Hadoop, pyarrow and consoles leave where they made one. No
    /// store behind is asked to hold those: they are objects without a body, kept in the index here.
    pub(crate) fn is_marker(&self, key: &[u8]) -> bool {
        key.strip_suffix(b"/").is_some_and(|folder| self.fits(folder).is_ok())
    }

    /// The key as the store writes it; if it cannot, why not.
    fn fits<'k>(&self, key: &'k [u8]) -> std::result::Result<&'k str, &'static str> {
        let key = std::str::from_utf8(key).map_err(|_| "it is not UTF-8")?;
        self.backend.fits(key).map(|()| key)
    }

    /// The key, to write it.
    pub(crate) fn writable<'k>(&self, key: &'k [u8]) -> Result<&'k str> {
        self.fits(key).map_err(unfit)
    }

    /// What is there, with what is kept here of it if that is of the same version.
    async fn record_of(&self, key: &str, found: &Found) -> Result<Record> {
        let facts = self.objects.facts(self.bucket, key.as_bytes()).await?;
        let facts = facts.filter(|facts| facts.tag == found.version.tag);
        if let Some(facts) = facts.as_ref().filter(|facts| facts.size != found.size) {
            let (there, kept) = (found.size, facts.size);
            let said =
                format!("{} has {there} bytes there and had {kept}, in one version", shown(&self.name, key.as_bytes()));
            return Err(internal("looking an object up", said));
        }
        Ok(self.described(found, facts))
    }

    fn described(&self, found: &Found, facts: Option<Facts>) -> Record {
        let mut headers = Headers::default();
        for (name, value) in &found.headers {
            headers.add(name, value.as_bytes());
        }
        let mut parts = Box::default();
        let mut etag: Box<str> = shown_tag(&found.version.tag).into();
        if let Some(facts) = facts {
            // Some stores name a type where none was given.
            if facts.headers.text(TYPE).is_none() {
                headers.0.retain(|(name, value)| &**name != TYPE || !value.ends_with(b"/octet-stream"));
            }
            let own = facts.headers.0.into_iter();
            // What the store keeps is its to say: it may have been changed there.
            let own: Vec<_> = own.filter(|(name, value)| !self.kept_there(name, value)).collect();
            // What the store could not be given it may say of its own accord.
            headers.0.retain(|(name, _)| !own.iter().any(|(kept, _)| kept == name));
            headers.0.extend(own);
            (etag, parts) = (facts.etag, facts.parts);
        }
        Record { size: found.size, etag, modified: found.modified, headers, data: Data::Gateway(parts) }
    }

    fn kept_there(&self, name: &str, value: &[u8]) -> bool {
        std::str::from_utf8(value).is_ok_and(|value| self.backend.keeps(name, value))
    }

    /// An object's record, if there is such an object.
    pub(crate) async fn record(&self, key: &[u8]) -> Result<Option<Arc<Record>>> {
        let Ok(key) = self.fits(key) else { return Ok(None) };
        let found = self.backend.head(&self.name, key).await;
        match found.map_err(|failure| failed("looking an object up", &failure))? {
            Some(found) => Ok(Some(Arc::new(self.record_of(key, &found).await?))),
            None => Ok(None),
        }
    }
}

/// A store's entity tag as it may stand in a header.
fn shown_tag(tag: &str) -> String {
    tag.chars().filter(|c| c.is_ascii_graphic() && *c != '"').take(256).collect()
}
