//! What the gate knows of a request it let through.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use s3s::{S3Error, S3ErrorCode};
use valetkey_core::id::{StorageId, TokenId};
use valetkey_core::lease::Provenance;
use valetkey_core::nouns::parent::{Operations, Parents};
use valetkey_core::port::Revocations;
use valetkey_core::scope::{Action, Listing, Paths, Rights};
use valetkey_core::time::Clock;

use crate::error::{Result, internal, of_domain, refuse, unavailable};

/// Proof that a request was signed with a live credential: made only by the gate.
#[derive(Clone)]
pub(crate) struct Session {
    /// Where the credential comes from.
    pub(crate) origin: Provenance,
    /// What it was narrowed from: the end of any of these ends it too.
    pub(crate) narrowed_from: Arc<[Provenance]>,
    /// When it ends.
    pub(crate) until: Timestamp,
    /// What the credential opens.
    pub(crate) reach: Reach,
    /// The operations it is narrowed to beside that, if it is.
    pub(crate) operations: Option<Operations>,
    /// The parent access key whose reach it has its own from, if it has it from one.
    pub(crate) parent: Option<TokenId>,
    /// Where it is known whether the credential still lives.
    pub(crate) standing: Arc<Liveness>,
    /// Whether all of the request is here.
    pub(crate) arrived: Arrived,
}

/// Proof that a credential lived when all of its request was here. What reads wants to see one; what takes effect spends one, so
/// that nothing is done on a question that was asked for something else.
///
/// SECURITY: made only by [`Session::live`]. A request is proven when its head is there, and its sender may hold the last byte of
/// its body back for as long as it likes: what the request then does must not outlive the key.
#[derive(Debug)]
#[must_use = "it is asked for because something is to be done"]
pub(crate) struct Live(());

impl Live {
    /// For what the server does on its own account, where no credential is in play.
    pub(crate) const fn of_server() -> Self {
        Self(())
    }
}

/// Whether a request's body has come to its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrived(Arc<AtomicBool>);

impl Arrived {
    pub(crate) fn tell(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Session {
    /// Asks whether the credential lives, its parent reaches as far as before, and nothing more of the request is to come.
    ///
    /// # Errors
    /// `ExpiredToken`; `InternalError` when it is asked too early, which is a mistake of ours.
    pub(crate) async fn live(&self) -> Result<Live> {
        if !self.arrived.0.load(Ordering::Acquire) {
            return Err(internal("asking whether a credential lives", "its request's body has not come to its end"));
        }
        self.still().await.map(|()| Live(()))
    }

    async fn still(&self) -> Result<()> {
        self.standing.check(&self.origin, self.until)?;
        self.standing.check_all(&self.narrowed_from, self.until)?;
        let Some(parent) = self.parent else { return Ok(()) };
        // What a parent reaches is what is granted to it now.
        let found = self.standing.parents.parent(parent, self.standing.clock.now()).await;
        let found = found.map_err(|error| of_domain("looking an access key up", &error))?;
        let reach = found.as_ref().map_or(&[][..], |parent| &parent.reach);
        let kept = |rights: &Arc<Rights>| {
            let storage = self.storage_of(rights.bucket().as_str());
            reach.iter().any(|own| Some(own.storage) == storage && own.rights.cover_rights(rights))
        };
        if self.reach.all().all(kept) { Ok(()) } else { Err(expired()) }
    }

    /// The store that a bucket of this name is in, for whoever asks.
    pub(crate) fn storage_of(&self, bucket: &str) -> Option<StorageId> {
        match &self.reach {
            // What the session token says of its store was sealed with its rights.
            Reach::One(rights) => (rights.bucket().as_str() == bucket).then_some(self.origin.storage),
            Reach::Several(several) => {
                several.iter().find(|(_, rights)| rights.bucket().as_str() == bucket).map(|(storage, _)| *storage)
            }
        }
    }
}

/// Whoever asks has the credential itself, not only a URL that was signed with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder;

/// What a credential opens: one bucket's rights, or those of several grants with a parent access key.
#[derive(Clone)]
pub(crate) enum Reach {
    /// One.
    One(Arc<Rights>),
    /// Several, or none, each in its store.
    ///
    /// INVARIANT: all of one bucket's name are in the same store, so that a name says which bucket is meant.
    Several(Arc<[(StorageId, Arc<Rights>)]>),
}

impl Reach {
    /// These rights, each in its store. Of buckets of the same name in several stores only one can be meant: `own`'s, or else that
    /// of the store with the least id.
    pub(crate) fn several(own: StorageId, all: impl IntoIterator<Item = (StorageId, Arc<Rights>)>) -> Self {
        let mut all: Vec<_> = all.into_iter().collect();
        let mut meant: HashMap<String, StorageId> = HashMap::new();
        for (storage, rights) in &all {
            let meant = meant.entry(rights.bucket().as_str().to_owned()).or_insert(*storage);
            if *meant != own && (*storage == own || *storage < *meant) {
                *meant = *storage;
            }
        }
        all.retain(|(storage, rights)| meant.get(rights.bucket().as_str()) == Some(storage));
        Self::Several(all.into())
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Rights>> {
        let (one, several) = match self {
            Self::One(rights) => (Some(rights), &[][..]),
            Self::Several(several) => (None, &**several),
        };
        one.into_iter().chain(several.iter().map(|(_, rights)| rights))
    }

    /// The names of the buckets that anything is opened in.
    pub(crate) fn buckets(&self) -> BTreeSet<&str> {
        self.all().map(|rights| rights.bucket().as_str()).collect()
    }

    /// The rights in a bucket.
    pub(crate) fn in_bucket<'a>(&'a self, bucket: &'a str) -> impl Iterator<Item = &'a Rights> {
        self.all().map(|rights| &**rights).filter(move |rights| rights.bucket().as_str() == bucket)
    }

    /// Whether this action on this key of this bucket is inside.
    pub(crate) fn covers(&self, bucket: &str, key: &[u8], action: Action) -> bool {
        self.all().any(|rights| rights.covers(bucket, key, action))
    }

    /// Where in the bucket the action is allowed, by each of the rights that have it.
    pub(crate) fn paths_of<'a>(&'a self, bucket: &'a str, action: Action) -> impl Iterator<Item = &'a Paths> {
        self.in_bucket(bucket).filter_map(move |rights| rights.paths_of(action))
    }

    /// The rights that tell most of a listing under a prefix. They are not put together: a listing through several grants of one
    /// bucket shows the keys of one of them.
    pub(crate) fn listing(&self, bucket: &str, prefix: &[u8], action: Action) -> Option<&Rights> {
        let rank = |rights: &&Rights| match rights.listing(bucket, prefix, action) {
            Listing::All => 2,
            Listing::Covered => 1,
            Listing::Refused => 0,
        };
        self.all().map(|rights| &**rights).max_by_key(rank)
    }
}

/// Knows whether credentials live.
pub(crate) struct Liveness {
    /// Which were ended early.
    pub(crate) leases: Arc<dyn Revocations>,
    /// The parent access keys.
    pub(crate) parents: Arc<dyn Parents>,
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
}

impl Liveness {
    /// Refuses a credential whose time is over or that was ended.
    pub(crate) fn check(&self, origin: &Provenance, until: Timestamp) -> Result<()> {
        if until <= self.clock.now() || self.leases.is_revoked(origin) {
            return Err(expired());
        }
        // Only now: what is known to be ended stays so.
        self.leases.current().map_err(|error| unavailable("asking whether a credential lives", error))
    }

    /// The same of each of these.
    pub(crate) fn check_all(&self, origins: &[Provenance], until: Timestamp) -> Result<()> {
        origins.iter().try_for_each(|origin| self.check(origin, until))
    }
}

/// The refusal of a credential whose time is over: SDKs understand it, and ask for another.
pub(crate) fn expired() -> S3Error {
    refuse(S3ErrorCode::ExpiredToken, "The provided token has expired.")
}

/// The name of the operation a request turned out to be, for its log line and its count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operation(Arc<OnceLock<&'static str>>);

impl Operation {
    pub(crate) fn tell(&self, name: &'static str) {
        // The first one told is right.
        let _ = self.0.set(name);
    }

    /// The name, if it came so far.
    pub(crate) fn name(&self) -> &'static str {
        self.0.get().copied().unwrap_or("unknown")
    }
}

/// What a client asked, before it was made path style: its own words for where an object is.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(super) host: String,
    /// As it came: encoded.
    pub(super) path: String,
}

impl Asked {
    /// The URL of what was asked about.
    pub(crate) fn url(&self, is_https: bool) -> String {
        format!("{}://{}{}", if is_https { "https" } else { "http" }, self.host, self.path)
    }
}

/// What came behind a chunked body, once the body was read to its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trailers(Arc<OnceLock<Vec<(String, String)>>>);

impl Trailers {
    /// Keeps what came.
    pub(crate) fn keep(&self, trailers: Vec<(String, String)>) {
        // A body ends once.
        let _ = self.0.set(trailers);
    }

    /// A trailer's value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get()?.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}
