//! What the endpoint needs of somebody else's store to keep buckets there. Nothing here knows of requests or scopes: whoever
//! asks was let in before.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use http::{HeaderMap, Method};
use http_body_util::combinators::UnsyncBoxBody;
use jiff::Timestamp;

/// A header of an object: its name in lower case, and its value.
pub type Header = (String, String);

/// Which version of an object it is, in the store's own words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    /// Its entity tag, without quotes.
    pub tag: String,
    /// Its version or generation, where the store counts those.
    pub id: Option<String>,
}

/// What a store says of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// How many bytes it has.
    pub size: u64,
    /// Which version it is.
    pub version: Version,
    /// When it was written.
    pub modified: Timestamp,
    /// The content headers and user metadata (`x-amz-meta-…`) it keeps.
    pub headers: Vec<Header>,
}

/// An object of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// How many bytes it has.
    pub size: u64,
    /// Its entity tag, without quotes.
    pub tag: String,
    /// When it was written.
    pub modified: Timestamp,
}

/// Which bytes of an object are wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Window {
    /// All.
    Whole,
    /// These; its end may lie behind the object's. Never empty.
    Range(Range<u64>),
    /// The last ones, so many. Never none.
    Last(u64),
}

/// Bytes of an object on their way.
pub struct Opened {
    /// The object they are of.
    pub found: Found,
    /// Which they are.
    pub range: Range<u64>,
    /// They themselves.
    pub bytes: BoxStream<'static, Result<Bytes, Failure>>,
}

/// When a write counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum When {
    /// Always.
    Always,
    /// If there is no such object.
    Absent,
    /// If the object there is this version.
    Is(Version),
}

/// Why a store did not do what it was asked. Texts are for the log and hold no secret and no signed URL.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// The condition does not hold.
    #[error("the condition does not hold")]
    Clash,
    /// There is no such bucket.
    #[error("there is no such bucket")]
    NoBucket,
    /// It cannot be done there; the words are for whoever asked.
    #[error("{0}")]
    Unfit(&'static str),
    /// It wants to be asked less.
    #[error("throttled: {0}")]
    Throttled(String),
    /// It could not be reached, or said that it cannot now.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// There is no room for more.
    #[error("there is no room for more")]
    Full,
    /// It refused us or answered what makes no sense.
    #[error("failed: {0}")]
    Failed(String),
}

/// Somebody else's store, with the credentials to use it inside.
///
/// * keys are exact: one that cannot be expressed there is refused by [`Backend::fits`], and never changed into another
/// * what is written is seen whole or not at all, and is durable when the call returns
/// * a reader after a write sees it
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Whether a key can be expressed there; if not, why. Every other method is called with such keys only.
    fn fits(&self, key: &str) -> Result<(), &'static str>;

    /// Whether the store keeps this header with an object itself.
    fn keeps(&self, name: &str, value: &str) -> bool;

    /// Whether the bucket is there and can be listed.
    async fn probe(&self, bucket: &str) -> Result<(), Failure>;

    /// What the store says of an object; nothing if there is none.
    async fn head(&self, bucket: &str, key: &str) -> Result<Option<Found>, Failure>;

    /// Bytes of an object; nothing if there is none. With `only`, of no other version.
    ///
    /// # Errors
    /// `Clash` when it is another version.
    async fn read(
        &self,
        bucket: &str,
        key: &str,
        window: Window,
        only: Option<&Version>,
    ) -> Result<Option<Opened>, Failure>;

    /// Writes an object at once. Headers it does not keep are left out.
    ///
    /// # Errors
    /// `Clash` when the condition does not hold.
    async fn put(
        &self,
        bucket: &str,
        key: &str,
        bytes: Bytes,
        headers: &[Header],
        when: When,
    ) -> Result<Version, Failure>;

    /// Begins to write an object piece by piece; of `size` bytes, if that is known.
    async fn begin(
        &self,
        bucket: &str,
        key: &str,
        headers: &[Header],
        size: Option<u64>,
    ) -> Result<Box<dyn Upload>, Failure>;

    /// Removes an object, if there is one.
    async fn delete(&self, bucket: &str, key: &str) -> Result<(), Failure>;

    /// Objects whose key starts with `prefix` and does not come before `from`, in the order of their keys' bytes. Fewer than
    /// `limit` means that there are no more. Keys that do not fit are left out.
    async fn list(&self, bucket: &str, prefix: &str, from: &[u8], limit: usize) -> Result<Vec<Entry>, Failure>;

    /// The same, but of all objects in one folder below `prefix` (whose keys have the same bytes behind it up to a `/`) one entry alone:
    /// the first object, or the folder itself with its `/`. Nothing where the store has no shorter way than [`Backend::list`].
    async fn list_folders(
        &self,
        bucket: &str,
        prefix: &str,
        from: &[u8],
        limit: usize,
    ) -> Result<Option<Vec<Entry>>, Failure> {
        let _ = (bucket, prefix, from, limit);
        Ok(None)
    }

    /// The way for requests as they are, to a store that speaks S3 itself: then nothing of its objects is kept here.
    fn forward(&self) -> Option<Arc<dyn Forward>> {
        None
    }

    /// Removes what was left unfinished there by a process that is gone; says how many files that were. A store that keeps no such
    /// files has nothing to do.
    async fn sweep(&self, now: Timestamp) -> Result<usize, Failure> {
        let _ = now;
        Ok(0)
    }
}

/// An object being written: nobody sees it before it is complete.
#[async_trait]
pub trait Upload: Send {
    /// Adds bytes. Waits while too many are on their way.
    async fn push(&mut self, bytes: Bytes) -> Result<(), Failure>;

    /// Waits until nothing of what was added is on its way. A wait that is given up changes nothing.
    async fn settle(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// Makes the object of what was added.
    async fn complete(self: Box<Self>) -> Result<Version, Failure>;

    /// Lets go of what was added.
    async fn abort(self: Box<Self>);
}

/// A body that ends before it is whole: it was not what its sender told of it, or its credential has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the body goes no further")]
pub struct Severed;

/// What is sent with a request.
pub enum Sending {
    /// This, or nothing.
    Whole(Bytes),
    /// What comes.
    Coming(Coming),
}

/// A body on its way. Its last bytes come only once all of it is proven; until then it may end in an error, and then its request must
/// not have an effect.
pub struct Coming {
    /// How many bytes it has.
    pub length: u64,
    /// The digest it has, if that is known.
    pub sha256: Option<[u8; 32]>,
    /// The header that comes behind it, as its last frame.
    pub trailer: Option<&'static str>,
    /// The bytes.
    pub bytes: UnsyncBoxBody<Bytes, Severed>,
}

/// A request for a store that speaks S3. Who made it has said that it may be done.
pub struct Asking {
    /// Its method.
    pub method: Method,
    /// The bucket, by its name here.
    pub bucket: String,
    /// The key, exactly.
    pub key: Option<String>,
    /// Decoded.
    pub query: Vec<(String, String)>,
    /// All that go on; none is of a proof or of the connection.
    pub headers: HeaderMap,
    /// Where a copy comes from: a bucket, by its name here, and a key.
    pub source: Option<(String, String)>,
    /// Its body.
    pub body: Sending,
    /// Whether the store may work on it for long.
    pub works: bool,
    /// The time.
    pub now: Timestamp,
}

/// What a store answers. Nothing in it is believed.
pub type Answer = http::Response<UnsyncBoxBody<Bytes, Failure>>;

/// Somebody else's store that speaks S3, and signs its own requests.
///
/// * no redirect is followed, and no request goes to another host
/// * what it says in an answer's head or body it says in time, or fails
#[async_trait]
pub trait Forward: Send + Sync + 'static {
    /// Whether it takes a body's checksum behind the body.
    fn takes_trailers(&self) -> bool;

    /// Refuses a key that it would take for another; for those that do not stand in a request's address.
    fn takes_key(&self, key: &str) -> Result<(), Failure>;

    /// Sends a request; answers when the answer's head is there.
    async fn send(&self, asking: Asking) -> Result<Answer, Failure>;
}
