//! One place to ask: a bucket is here or in another store, and the wire does not care.

use std::collections::HashMap;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use jiff::Timestamp;
use s3s::StdError;
use s3s::stream::{ByteStream, RemainingLength};
use tokio_util::task::TaskTracker;
use valetkey_core::cors::Rules;
use valetkey_core::fair::Share;
use valetkey_core::id::{AccountId, StorageId};

use crate::error::Result;
use crate::forward;
use crate::forward::road::Road;
use crate::gate::session::{Live, Session};
use crate::gateway::door::Door;
use crate::gateway::port::Window;
use crate::gateway::{self, Common, Completing, Gateway};
use crate::objects::checksum::{Algorithm, Digests};
use crate::objects::intake::Taken;
use crate::objects::listing::{Ask, Page};
use crate::objects::origin::Origin;
use crate::objects::parts::{Completion, Owner, UploadId};
use crate::objects::record::{Headers, Record};
use crate::objects::{self, BucketId, Clash, Condition, Objects};

/// The buckets of every store that is served here.
pub(crate) struct Buckets {
    /// Which store this is.
    own: StorageId,
    /// Whether its objects are on this server's disk; otherwise they are on another's.
    embedded: bool,
    objects: Arc<Objects>,
    backends: RwLock<HashMap<StorageId, Door>>,
    common: Arc<Common>,
    tasks: TaskTracker,
}

impl Buckets {
    /// The buckets of this store.
    pub(crate) fn new(own: StorageId, embedded: bool, objects: Arc<Objects>, tasks: TaskTracker) -> Self {
        Self { own, embedded, objects, backends: RwLock::default(), common: Arc::new(Common::new()), tasks }
    }

    /// Which store this is.
    pub(crate) fn own(&self) -> StorageId {
        self.own
    }

    /// Serves another store's buckets too, or by another road than before.
    pub(crate) fn attach(&self, storage: StorageId, door: Door) {
        let sweeping = swept(door.clone(), self.objects.now());
        if let Some(forward) = door.forward() {
            let road = Road::new(forward);
            self.tasks.spawn(forward::markers::hand_over(Arc::clone(&self.objects), road, storage));
        }
        self.backends.write().unwrap_or_else(PoisonError::into_inner).insert(storage, door);
        self.tasks.spawn(sweeping);
    }

    /// Serves another store's buckets no more.
    pub(crate) fn detach(&self, storage: StorageId) {
        self.backends.write().unwrap_or_else(PoisonError::into_inner).remove(&storage);
    }

    /// Removes what closed buckets had, until there is no more or the server stops; then the next start goes on.
    pub(crate) fn purge_closed(&self) {
        let (objects, tasks) = (Arc::clone(&self.objects), self.tasks.clone());
        self.tasks.spawn(async move {
            match objects.purge_closed(|| tasks.is_closed()).await {
                Ok(0) => {}
                Ok(count) => tracing::info!(objects = count, "removed {count} objects of buckets that were removed"),
                Err(error) => {
                    tracing::warn!(error = ?error, "what was in removed buckets is not removed yet; the next start continues");
                }
            }
        });
    }

    /// Sweeps all stores.
    pub(crate) async fn sweep(&self) {
        let backends: Vec<_> = self.backends.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for backend in backends {
            swept(backend, self.objects.now()).await;
        }
    }

    /// The way to another store, if it is attached.
    pub(crate) fn backend(&self, storage: StorageId) -> Option<Door> {
        self.backends.read().unwrap_or_else(PoisonError::into_inner).get(&storage).cloned()
    }

    /// Whether any bucket has CORS rules.
    pub(crate) fn has_cors(&self) -> bool {
        !self.objects.cors().is_empty()
    }

    /// The CORS rules of the buckets of a name. Who asks is not known yet: it is of one of several stores.
    pub(crate) fn cors(&self, name: &str) -> Vec<Arc<Rules>> {
        let own = self.objects.bucket(name).into_iter();
        own.chain(self.objects.foreign_buckets(name)).filter_map(|bucket| self.objects.cors().get(bucket)).collect()
    }

    /// Whether a store's buckets are served.
    pub(crate) fn serves(&self, storage: StorageId) -> bool {
        storage == self.own && self.embedded
            || self.backends.read().unwrap_or_else(PoisonError::into_inner).contains_key(&storage)
    }

    /// Whether a store's objects are on another server's disk.
    pub(crate) fn is_elsewhere(&self, storage: StorageId) -> bool {
        storage == self.own && !self.embedded
    }

    /// Whether a store's requests go on to it as they are.
    pub(crate) fn forwards(&self, storage: StorageId) -> bool {
        self.backend(storage).is_some_and(|door| door.forward().is_some())
    }

    /// The way to a bucket of a store whose requests go on as they are, and the bucket's number, if it is known here.
    pub(crate) fn road(&self, storage: StorageId, name: &str) -> Option<(Road, Option<BucketId>)> {
        let road = Road::new(self.backend(storage)?.forward()?);
        Some((road, self.objects.foreign_bucket(storage, name)))
    }

    /// A bucket of a store, if there is one of this name.
    ///
    /// SECURITY: a name means something within its store only. Whoever holds a credential of one store is never answered
    /// with another's bucket of the same name.
    pub(crate) fn bucket(&self, storage: StorageId, name: &str) -> Option<Bucket> {
        if self.is_elsewhere(storage) {
            return None;
        }
        if storage == self.own {
            let id = self.objects.bucket(name)?;
            return Some(Bucket { objects: Arc::clone(&self.objects), id, account: None, behind: None, road: None });
        }
        let (backend, bucket) = (self.backend(storage)?, self.objects.foreign_bucket(storage, name)?);
        let road = backend.forward().map(Road::new);
        let behind = Gateway {
            backend,
            objects: Arc::clone(&self.objects),
            common: Arc::clone(&self.common),
            tasks: self.tasks.clone(),
            bucket,
            name: name.into(),
        };
        let behind = Some(Box::new(behind));
        Some(Bucket { objects: Arc::clone(&self.objects), id: bucket, account: None, behind, road })
    }
}

async fn swept(backend: Door, now: Timestamp) {
    match backend.sweep(now).await {
        Ok(0) => {}
        Ok(files) => tracing::info!(files, "swept {files} unfinished files at a storage behind the gateway"),
        Err(failure) => tracing::warn!(error = %failure, "a storage behind the gateway could not be swept: {failure}"),
    }
}

pub(crate) struct Bucket {
    /// Where uploads in parts are kept, wherever the bucket is.
    pub(crate) objects: Arc<Objects>,
    /// Its number there.
    pub(crate) id: BucketId,
    /// Whose what is put there is; nobody's, if the server itself puts it.
    account: Option<AccountId>,
    /// The way to it, if it is in another store.
    behind: Option<Box<Gateway>>,
    /// The way for requests as they are, if it is in a store that takes those.
    road: Option<Road>,
}

impl Bucket {
    /// The same, for an account.
    pub(crate) fn of(self, account: AccountId) -> Self {
        Self { account: Some(account), ..self }
    }

    /// When it was first served here.
    pub(crate) async fn created(&self, _: &Live) -> Result<Timestamp> {
        self.objects.bucket_created(self.id).await
    }

    /// The way to an object, if it is in another store. A folder's marker is kept here, wherever the bucket is.
    fn elsewhere(&self, key: &[u8]) -> Option<&Gateway> {
        self.behind.as_deref().filter(|behind| !behind.is_marker(key))
    }

    /// An object's record, if there is such an object.
    pub(crate) async fn record(&self, _: &Live, key: &[u8]) -> Result<Option<Arc<Record>>> {
        match self.elsewhere(key) {
            None => self.objects.record(self.id, key).await,
            Some(behind) => behind.record(key).await,
        }
    }

    /// Where an object comes from, if it was made of parts and is unchanged since.
    pub(crate) async fn origin(&self, _: &Live, key: &[u8], record: &Record) -> Result<Option<Origin>> {
        let origin = self.objects.origin(self.id, key).await?;
        Ok(origin.filter(|origin| origin.is_of(record)))
    }

    /// The object that an upload of `owner` was made into, while it is there unchanged.
    pub(crate) async fn made_by(
        &self,
        live: &Live,
        key: &[u8],
        id: UploadId,
        owner: Owner,
    ) -> Result<Option<(Arc<Record>, Origin)>> {
        // Before the store behind is asked: anyone may make up an upload's name.
        let known = self.objects.origin(self.id, key).await?;
        if known.is_none_or(|origin| origin.upload != id || origin.owner != owner) {
            return Ok(None);
        }
        let Some(record) = self.record(live, key).await? else { return Ok(None) };
        let origin = self.origin(live, key, &record).await?;
        Ok(origin.filter(|origin| origin.upload == id && origin.owner == owner).map(|origin| (record, origin)))
    }

    /// Opens the range of an object that `plan` wants of it; `likely` is which that will be, if that can be told before.
    pub(crate) async fn open_range(
        &self,
        _: &Live,
        key: &[u8],
        likely: Option<Window>,
        plan: impl Fn(&Record) -> Result<Range<u64>>,
    ) -> Result<Option<(Arc<Record>, Reading)>> {
        match self.elsewhere(key) {
            None => {
                let opened = self.objects.open_range(self.id, key, plan).await?;
                Ok(opened.map(|(record, reading)| (record, Reading::Own(reading))))
            }
            Some(behind) => {
                let opened = behind.open_range(key, likely, plan).await?;
                Ok(opened.map(|(record, reading)| (record, Reading::Gateway(reading))))
            }
        }
    }

    /// Takes a body in for an object.
    pub(crate) async fn take(
        &self,
        key: &[u8],
        headers: Headers,
        body: impl Stream<Item = std::result::Result<Bytes, StdError>> + Unpin,
        algorithms: &[Algorithm],
        max_bytes: u64,
        share: Share,
    ) -> Result<Draft> {
        match self.elsewhere(key) {
            None => {
                let marker = self.behind.is_some();
                let max_bytes = if marker { 0 } else { max_bytes };
                let taken = self.objects.take(body, algorithms, max_bytes, (Some(share), self.account)).await;
                let taken = taken.map_err(|error| if marker { gateway::of_marker(error) } else { error })?;
                let (objects, bucket) = (Arc::clone(&self.objects), (self.id, self.account));
                Ok(Draft::Own { objects, bucket, key: key.into(), taken, headers })
            }
            Some(behind) => Ok(Draft::Gateway(behind.take(key, headers, body, algorithms, max_bytes, share).await?)),
        }
    }

    /// Removes an object, if there is one.
    pub(crate) async fn delete(
        &self,
        key: &[u8],
        condition: Condition,
        session: &Session,
    ) -> Result<std::result::Result<(), Clash>> {
        match self.elsewhere(key) {
            None => self.objects.delete(session.live().await?, self.id, key, condition).await,
            Some(behind) => behind.delete(key, condition, session).await,
        }
    }

    /// A page of the keys. `shows` is asked about every key before it is told or counted.
    pub(crate) async fn list(
        &self,
        live: &Live,
        share: Option<&mut Share>,
        ask: Ask<'_>,
        shows: impl Fn(&[u8]) -> bool,
    ) -> Result<Page> {
        match (&self.behind, &self.road) {
            (None, _) => self.objects.list(self.id, ask, shows).await,
            (Some(behind), None) => behind.list(ask, shows).await,
            (Some(behind), Some(road)) => {
                forward::listing::list(road, (live, share), (&behind.name, self.objects.now()), ask, shows).await
            }
        }
    }

    /// Whether there is such an object.
    pub(crate) async fn exists(&self, live: &Live, key: &str) -> Result<bool> {
        match (&self.behind, &self.road) {
            (Some(behind), Some(road)) => {
                forward::listing::exists(road, live, (&behind.name, self.objects.now()), key).await
            }
            _ => Ok(self.record(live, key.as_bytes()).await?.is_some()),
        }
    }

    /// Refuses a key that cannot be written.
    pub(crate) fn writable(&self, key: &[u8]) -> Result<()> {
        self.behind.as_ref().map_or(Ok(()), |behind| behind.writable(key).map(drop))
    }

    /// Makes an object of an upload's parts.
    pub(crate) async fn complete_upload(
        &self,
        key: &[u8],
        id: UploadId,
        completion: Completion,
        session: Session,
        patience: Duration,
    ) -> Result<Completing> {
        match &self.behind {
            None => {
                let live = session.live().await?;
                Ok(Completing::Done(
                    self.objects.complete_upload(live, (id, session.origin.account), completion).await?,
                ))
            }
            Some(behind) => behind.complete_upload(key, id, completion, session, patience).await,
        }
    }
}

/// A body that was taken in for an object, and that nobody sees yet.
pub(crate) enum Draft {
    /// For a bucket here.
    Own { objects: Arc<Objects>, bucket: (BucketId, Option<AccountId>), key: Box<[u8]>, taken: Taken, headers: Headers },
    /// For a bucket in another store.
    Gateway(gateway::Draft),
}

impl Draft {
    /// What the body digests to.
    pub(crate) fn digests(&self) -> &Digests {
        match self {
            Self::Own { taken, .. } => &taken.digests,
            Self::Gateway(draft) => &draft.digests,
        }
    }

    /// Puts the object in place of what was there; when this returns, it is durable.
    pub(crate) async fn put(
        self,
        condition: Condition,
        session: &Session,
    ) -> Result<std::result::Result<Arc<Record>, Clash>> {
        match self {
            Self::Own { objects, bucket, key, taken, headers } => {
                objects.put(session.live().await?, bucket, &key, taken, headers, condition).await
            }
            Self::Gateway(draft) => draft.put(condition, session).await,
        }
    }
}

/// A range of an object's bytes.
pub(crate) enum Reading {
    /// From here.
    Own(objects::reading::Reading),
    /// From another store.
    Gateway(gateway::Reading),
}

impl Stream for Reading {
    type Item = std::result::Result<Bytes, StdError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.get_mut() {
            Self::Own(reading) => Pin::new(reading).poll_next(cx),
            Self::Gateway(reading) => Pin::new(reading).poll_next(cx),
        }
    }
}

impl ByteStream for Reading {
    fn remaining_length(&self) -> RemainingLength {
        match self {
            Self::Own(reading) => reading.remaining_length(),
            Self::Gateway(reading) => reading.remaining_length(),
        }
    }
}
