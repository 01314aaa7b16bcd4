//! The embedded S3 endpoint: object storage over a local directory, enforcing every request against the vended scope.
//!
//! A request goes through three hands: the `gate` proves who asks, `access` decides whether the scope covers it, `wire`
//! does it with the `objects`. It reads scopes and never grants; what it does not understand it refuses.
mod access;
mod backup;
mod bucket;
mod error;
mod forward;
mod gate;
mod gateway;
mod kind;
mod objects;
mod scrub;
mod server_reads;
mod space;
mod wire;

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response};
use jiff::Timestamp;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::S3ServiceBuilder;
use s3s::{S3Result, s3_error};
use tokio_util::task::TaskTracker;
pub use valetkey_core::account::Quota;
use valetkey_core::account::{Kept, Quotas};
use valetkey_core::cors::{CorsRules, Rules};
use valetkey_core::error::Noun;
use valetkey_core::fair::Budget;
use valetkey_core::field::{Attribute, Field};
use valetkey_core::health::Health;
use valetkey_core::id::{AccountId, StorageId};
use valetkey_core::keyring::SharedKeyring;
use valetkey_core::name::{BucketName, Name};
use valetkey_core::nouns::parent::Parents;
use valetkey_core::nouns::usage::Meter;
use valetkey_core::port::Revocations;
use valetkey_core::time::{Clock, Entropy};
use valetkey_core::{Error, Kind};

use crate::access::Access;
pub use crate::backup::hold;
use crate::bucket::Buckets;
use crate::error::NO_ROOM;
use crate::forward::context::Kit;
use crate::gate::alarm::Bursts;
use crate::gate::session::{Live, Liveness};
use crate::gate::{Gate, Hosts};
use crate::gateway::door::Door;
pub use crate::gateway::port::{
    Answer, Asking, Backend, Coming, Entry, Failure, Forward, Found, Header, Opened, Sending, Severed, Upload, Version,
    When, Window,
};
pub use crate::kind::Embedded;
use crate::objects::checksum::Algorithm;
use crate::objects::closing::Closing;
pub use crate::objects::listing::before;
use crate::objects::record::Headers;
use crate::objects::{Condition, Objects, Setup};
pub use crate::scrub::{Damage, Scrubbed, scrub};
pub use crate::space::{MinFree, Room, Space, is_full};
use crate::wire::Wire;

/// The body of a response.
pub type Body = s3s::Body;

/// The names of the operations the endpoint has, in S3's words.
pub fn operations() -> impl Iterator<Item = &'static str> {
    access::operations()
}

/// What a request may be at most, and how much is kept in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The most bytes one request may upload: an object, or a part of one. S3's own is 5 GiB.
    pub max_object_bytes: u64,
    /// The most bytes a document may have (`DeleteObjects`, `CompleteMultipartUpload`).
    pub max_xml_bytes: usize,
    /// How long a sender may pause within a body.
    pub idle: Duration,
    /// The bytes a second that a body must have, counted over that time.
    pub least_rate: u64,
    /// How long all of a document may take to come.
    pub document_time: Duration,
    /// How long the completion of an upload may take before its answer is begun: a refusal after that has no status of its own.
    pub patience: Duration,
    /// Objects up to this size live in the index, where one read finds them.
    pub inline_bytes: usize,
    /// The most bytes of records (and the small objects in them) kept in memory.
    pub cache_bytes: u64,
    /// What each account may keep that has no quota of its own.
    pub quota: Quota,
    /// How many uploads in parts each account may have open, of those that are kept here.
    pub max_account_uploads: u64,
    /// Whether the log of refused requests names the object's key, beside its bucket.
    pub log_keys: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_object_bytes: 5 * 1024 * 1024 * 1024,
            max_xml_bytes: 2 * 1024 * 1024,
            idle: Duration::from_mins(1),
            least_rate: 8 * 1024,
            document_time: Duration::from_secs(30),
            patience: Duration::from_secs(5),
            inline_bytes: 16 * 1024,
            cache_bytes: 64 * 1024 * 1024,
            quota: Quota::default(),
            max_account_uploads: 10_000,
            log_keys: true,
        }
    }
}

/// Where the endpoint keeps its objects and what it answers to.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which store this is: credentials of another one are not taken, though their keys be the same.
    pub storage: StorageId,
    /// Whether the objects of the store itself are in the directory. Otherwise another server has them, and only the buckets of other
    /// stores are served.
    pub embedded: bool,
    /// The directory of the objects; made if there is none.
    pub data_dir: PathBuf,
    /// Domains in front of which a bucket's name may stand (`bucket.s3.localhost`). Any other host is path style.
    pub domains: Vec<String>,
    /// Hosts in Cloudflare R2's form that are ours too: locally signed credentials for them are taken, and a bucket's name may
    /// stand in front. `{account}.` in front of one stands for an account's id in hexadecimal.
    pub r2_hosts: Vec<String>,
    /// Said of every bucket to who asks whether it is there, whatever the answer: some clients sign for it.
    pub region: Box<str>,
    /// Whether clients reach it by HTTPS: answers with URLs say so.
    pub is_https: bool,
    /// Whether a vended credential may ask which buckets it opens.
    pub list_buckets: bool,
    /// What pages of other origins are allowed of buckets without rules of their own.
    pub cors: Option<Rules>,
    /// Limits.
    pub limits: Limits,
    /// The disk that the directory is on.
    pub space: Space,
}

impl Config {
    /// A configuration with the usual limits that answers to `s3.localhost`.
    pub fn new(storage: StorageId, data_dir: PathBuf) -> Self {
        Self {
            storage,
            embedded: true,
            space: Space::at(&data_dir, MinFree::Usual),
            data_dir,
            domains: vec!["s3.localhost".to_owned()],
            r2_hosts: Vec::new(),
            is_https: false,
            list_buckets: true,
            region: "auto".into(),
            cors: None,
            limits: Limits::default(),
        }
    }
}

/// What the endpoint needs of the world.
#[derive(Clone)]
pub struct World {
    /// The keys that credentials are verified with.
    pub keyring: SharedKeyring,
    /// Which credentials were ended early, and the rights too long to be carried.
    pub leases: Arc<dyn Revocations>,
    /// The parent access keys, and what they may reach.
    pub parents: Arc<dyn Parents>,
    /// What accounts may keep, where that is said for them alone.
    pub quotas: Arc<dyn Quotas>,
    /// Where it is told how the storages behind the gateway answer.
    pub health: Health,
    /// Where it is told what goes over the endpoint.
    pub meter: Arc<dyn Meter>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for names of requests and uploads.
    pub entropy: Arc<dyn Entropy>,
    /// The bytes of bodies that may be in memory at once, with all else that has bodies.
    pub budget: Arc<Budget>,
    /// Where background work runs. It ends by itself when the last [`Endpoint`] is dropped.
    pub tasks: TaskTracker,
}

/// How long a look at another storage's bucket may take: an operator waits for it.
const PROBE: Duration = Duration::from_secs(10);

/// The endpoint: a service for hyper and tower, cheap to clone.
#[derive(Clone)]
pub struct Endpoint {
    gate: Arc<Gate>,
    objects: Arc<Objects>,
    buckets: Arc<Buckets>,
    health: Health,
}

/// Headers of an answer that the pages of [`Config::cors`] may read, beside those that every page may.
pub const EXPOSED: &[&str] = &[
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Range",
    "Date",
    "ETag",
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
    "x-amz-checksum-type",
    "x-amz-mp-parts-count",
    "x-amz-request-id",
];

/// Nobody proves anything to the S3 crate: the gate did before, and took the proof away.
struct NoProof;

#[async_trait::async_trait]
impl s3s::auth::S3Auth for NoProof {
    async fn get_secret_key(&self, _: &str) -> S3Result<s3s::auth::SecretKey> {
        Err(s3_error!(AccessDenied))
    }
}

fn failed(error: s3s::S3Error) -> Error {
    let code = error.code().as_str().to_owned();
    if error.message() == Some(NO_ROOM) {
        let said = "there is no room for new objects on the disk";
        return Error::new(Kind::Unavailable, said).retry_after(30).note(
            "the disk has less room than `s3.min_free_bytes` keeps free (-1, the usual: 1 GiB, or a twentieth of the disk if that is less); free some of it, use another disk, or set less",
        );
    }
    if *error.code() == s3s::S3ErrorCode::ServiceUnavailable {
        let said = "the object store cannot do this now; the failure was logged";
        return Error::new(Kind::Unavailable, said).retry_after(1).caused_by(error);
    }
    Error::new(Kind::Internal, "the object store failed; the failure was logged").note(code).caused_by(error)
}

/// What a failure of another store is to who configures it.
fn of_store(bucket: &BucketName, failure: &Failure) -> Error {
    let (kind, said) = match failure {
        Failure::NoBucket => {
            (Kind::NotFound(Noun::Bucket), "the storage behind the gateway has no bucket of this name")
        }
        Failure::Throttled(_) => (Kind::RateLimited, "the storage behind the gateway wants to be asked less"),
        Failure::Unavailable(_) => (Kind::Upstream, "the storage behind the gateway cannot be reached"),
        Failure::Clash | Failure::Unfit(_) | Failure::Full | Failure::Failed(_) => (
            Kind::Upstream,
            "the bucket cannot be listed at the storage behind the gateway with the credentials it was given",
        ),
    };
    Error::new(kind, said).at(Field::Bucket).note(format!("bucket `{}`: {failure}", bucket.as_str()))
}

impl Endpoint {
    /// Opens the data directory and puts the endpoint together.
    ///
    /// # Errors
    /// `Internal`, naming the file, when the directory or its index cannot be opened.
    pub async fn open(config: Config, world: World) -> Result<Self, Error> {
        let Config {
            storage,
            embedded,
            data_dir,
            domains,
            r2_hosts,
            region,
            is_https,
            list_buckets,
            cors,
            limits,
            space,
        } = config;
        let region = HeaderValue::from_str(&region)
            .map_err(|_| Error::new(Kind::Invalid, "the region of the endpoint cannot stand in a header"))?;
        let World { keyring, leases, parents, quotas, health, meter, clock, entropy, budget, tasks } = world;
        let setup = Setup {
            data_dir: &data_dir,
            inline_bytes: limits.inline_bytes,
            cache_bytes: limits.cache_bytes,
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            space,
            quota: limits.quota,
            quotas,
            max_uploads: limits.max_account_uploads,
            tasks: tasks.clone(),
        };
        let objects = Arc::new(Objects::open(setup).await?);
        let buckets = Arc::new(Buckets::new(storage, embedded, Arc::clone(&objects), tasks.clone()));
        let wire = Wire { buckets: Arc::clone(&buckets), limits, budget: Arc::clone(&budget), is_https };
        let mut builder = S3ServiceBuilder::new(wire);
        let mut limited = S3Config::default();
        limited.xml_max_body_size = limits.max_xml_bytes;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(limited))));
        builder.set_auth(NoProof);
        builder.set_access(Access { list_buckets });
        let hosts = Hosts::new(&domains, r2_hosts);
        let (behind, kept) = (builder.build(), gate::kept());
        let standing = Arc::new(Liveness { leases, parents, clock });
        let own = Arc::clone(&buckets);
        let kit = Kit {
            keyring: keyring.clone(),
            entropy: Arc::clone(&entropy),
            budget: Arc::clone(&budget),
            tasks: tasks.clone(),
            objects: Arc::clone(&objects),
            bare: Arc::default(),
            limits,
            is_https,
        };
        let gate = Gate {
            behind,
            buckets: own,
            hosts,
            region,
            limits,
            keyring,
            standing,
            meter,
            bursts: Bursts::default(),
            budget,
            entropy,
            tasks,
            cors: cors.map(Arc::new),
            kept,
            kit,
        };
        Ok(Self { gate: Arc::new(gate), objects, buckets, health })
    }

    /// Whether objects can be written: for readiness.
    ///
    /// # Errors
    /// `Unavailable` when the index or its disk does not take a write.
    pub async fn ready(&self) -> Result<(), Error> {
        self.objects.works().await.map_err(failed)
    }

    /// Answers a request.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Sync + Unpin + 'static,
    {
        self.gate.call(request).await
    }

    /// Makes a bucket if there is none of this name.
    ///
    /// # Errors
    /// `Unavailable` when the index cannot be written.
    pub async fn ensure_bucket(&self, name: &BucketName) -> Result<(), Error> {
        self.objects.ensure_bucket(name.as_str()).await.map(drop).map_err(failed)
    }

    /// Serves the buckets of another store too, through `backend`, and counts its failures under its name; in place of an earlier one, whose requests run to their end.
    pub fn attach(&self, (storage, name): (StorageId, &Name), backend: Arc<dyn Backend>) {
        self.buckets.attach(storage, Door::new(backend, name, self.health.of(storage)));
    }

    /// Serves another store's buckets no more; requests on their way run to their end.
    pub fn detach(&self, storage: StorageId) {
        self.buckets.detach(storage);
    }

    /// Takes a bucket out of service: no request finds it from then on, and one of the same name that is made later has nothing of
    /// it. What was in it stays on the disk until [`Endpoint::purge_closed`].
    ///
    /// # Errors
    /// `Invalid` (field `with_objects`) for one of this store that has objects, unless they are to go with it; `Unavailable` when the
    /// index cannot be written.
    pub async fn close_bucket(&self, storage: StorageId, name: &BucketName, with_objects: bool) -> Result<(), Error> {
        let of = (storage != self.buckets.own()).then_some(storage);
        match self.objects.close_bucket(of, name.as_str(), with_objects).await.map_err(failed)? {
            Closing::Done => Ok(()),
            Closing::NotEmpty => {
                let said = format!(
                    "the bucket `{name}` is not empty (`BucketNotEmpty`): remove its objects, or say `with_objects`, and they go with it"
                );
                Err(Error::new(Kind::Invalid, said).at(Attribute::WithObjects))
            }
        }
    }

    /// Takes a bucket back into service that was closed and not purged.
    ///
    /// # Errors
    /// `Unavailable` when the index cannot be written.
    pub async fn reopen_bucket(&self, storage: StorageId, name: &BucketName) -> Result<(), Error> {
        let of = (storage != self.buckets.own()).then_some(storage);
        self.objects.reopen_bucket(of, name.as_str()).await.map_err(failed)
    }

    /// Removes what closed buckets had, some time soon; what is left when the server stops, the next start removes.
    pub fn purge_closed(&self) {
        self.buckets.purge_closed();
    }

    /// Removes what processes that are gone left unfinished at the other stores. So it is done when a store is attached, too.
    pub async fn sweep(&self) {
        self.buckets.sweep().await;
    }

    /// Makes sure that a bucket of a store is served: makes it if the store is this one, else looks that it is there and
    /// remembers whose it is.
    ///
    /// # Errors
    /// `NotFound` when the other store has no such bucket, `Upstream` when it cannot be listed, `Unavailable` when the store is
    /// not attached, `Unavailable` when the index cannot be written.
    pub async fn ensure_bucket_at(&self, storage: StorageId, name: &BucketName) -> Result<(), Error> {
        if storage == self.buckets.own() {
            return self.ensure_bucket(name).await;
        }
        let backend = self.buckets.backend(storage);
        let backend = backend.ok_or_else(|| Error::new(Kind::Unavailable, "the storage is not served here"))?;
        match tokio::time::timeout(PROBE, backend.probe(name.as_str())).await {
            Ok(probed) => probed.map_err(|failure| of_store(name, &failure))?,
            Err(_) => {
                return Err(Error::new(Kind::UpstreamTimeout, "the storage behind the gateway did not answer in time"));
            }
        }
        self.keep_bucket_at(storage, name).await
    }

    /// Remembers that a bucket is another store's, without a look whether it is there.
    ///
    /// # Errors
    /// `Unavailable` when the index cannot be written.
    pub async fn keep_bucket_at(&self, storage: StorageId, name: &BucketName) -> Result<(), Error> {
        self.objects.ensure_foreign_bucket(storage, name.as_str()).await.map(drop).map_err(failed)
    }

    /// Puts an object, as the server itself; its bucket is made if there is none.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be written.
    pub async fn put_bytes(
        &self,
        bucket: &BucketName,
        key: &str,
        bytes: Bytes,
        content_type: &str,
    ) -> Result<(), Error> {
        let bucket = self.objects.ensure_bucket(bucket.as_str()).await.map_err(failed)?;
        let mut headers = Headers::default();
        headers.add("content-type", content_type.as_bytes());
        let body = futures::stream::iter([Ok(bytes)]);
        let taken = self.objects.take(body, &[Algorithm::Crc64Nvme], u64::MAX, (None, None)).await.map_err(failed)?;
        let (live, key, bucket) = (Live::of_server(), key.as_bytes(), (bucket, None));
        let put = self.objects.put(live, bucket, key, taken, headers, Condition::default()).await.map_err(failed)?;
        // Without a condition nothing can clash.
        put.map(drop).map_err(|clash| Error::internal(format!("{clash:?}")))
    }

    /// Ends uploads in parts that were begun before an instant and never completed, and frees what their parts took. Says how
    /// many that were.
    ///
    /// # Errors
    /// `Internal` when the index cannot be read or written.
    pub async fn end_uploads_before(&self, before: Timestamp) -> Result<usize, Error> {
        /// So many at a time: other writes go between.
        const AT_ONCE: usize = 100;
        let mut ended = 0;
        loop {
            let some = self.objects.abort_uploads_before(before, AT_ONCE).await.map_err(failed)?;
            ended += some;
            if some < AT_ONCE {
                return Ok(ended);
            }
        }
    }

    /// What one account keeps here, or each of them; those that keep nothing may be left out.
    ///
    /// # Errors
    /// `Internal` when the index cannot be read.
    pub async fn kept(&self, account: Option<AccountId>) -> Result<HashMap<AccountId, Kept>, Error> {
        self.objects.kept(account).await.map_err(failed)
    }

    /// What an account may keep here that has no quota of its own.
    pub fn quota(&self) -> Quota {
        self.gate.limits.quota
    }

    /// Whether there is such an object.
    ///
    /// # Errors
    /// `Internal` when the index cannot be read.
    pub async fn has_object(&self, bucket: &BucketName, key: &str) -> Result<bool, Error> {
        match self.objects.bucket(bucket.as_str()) {
            Some(bucket) => Ok(self.objects.record(bucket, key.as_bytes()).await.map_err(failed)?.is_some()),
            None => Ok(false),
        }
    }
}

#[async_trait::async_trait]
impl CorsRules for Endpoint {
    async fn cors(&self, storage: StorageId, bucket: &BucketName) -> Result<Option<Rules>, Error> {
        let found = self.buckets.bucket(storage, bucket.as_str()).ok_or_else(|| not_served(bucket))?;
        Ok(self.objects.cors().get(found.id).map(|rules| (*rules).clone()))
    }

    async fn set_cors(&self, storage: StorageId, bucket: &BucketName, rules: Option<Rules>) -> Result<(), Error> {
        let found = self.buckets.bucket(storage, bucket.as_str()).ok_or_else(|| not_served(bucket))?;
        self.objects.set_cors(Live::of_server(), found.id, rules).await.map_err(failed)
    }
}

fn not_served(bucket: &BucketName) -> Error {
    let said =
        format!("the bucket `{bucket}` is not served by this server's S3 endpoint; its storage has rules of its own");
    Error::new(Kind::Invalid, said).at(Field::Bucket)
}

impl<B> hyper::service::Service<Request<B>> for Endpoint
where
    B: http_body::Body<Data = Bytes> + Send + Sync + Unpin + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let own = self.clone();
        Box::pin(async move { Ok(own.answer(request).await) })
    }
}

impl<B> tower::Service<Request<B>> for Endpoint
where
    B: http_body::Body<Data = Bytes> + Send + Sync + Unpin + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        hyper::service::Service::call(self, request)
    }
}
