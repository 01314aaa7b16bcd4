//! Writes objects to another store. SECURITY: what a body's sender told of it is held against it, and the credential is asked
//! about again, before the object can be seen: a small body waits here, a large one as an upload that is not complete.

use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE64;
use futures::{Stream, StreamExt as _};
use s3s::StdError;
use tokio_util::task::TaskTracker;
use valetkey_core::fair::{Place, Share};

use crate::error::{Result, internal, of_body};
use crate::gate::session::{Live, Session};
use crate::gateway::door::Filling;
use crate::gateway::heap::Heap;
use crate::gateway::port::{Failure, Found, Header, Version, When};
use crate::gateway::{Gateway, failed};
use crate::objects::checksum::{Algorithm, Digests, Hashes, Kind};
use crate::objects::facts::Facts;
use crate::objects::intake::too_large;
use crate::objects::origin::Origin;
use crate::objects::record::{Data, Headers, Record};
use crate::objects::{Clash, Condition};

/// Bodies up to this size are put at once: it is the size from which the AWS command line and most libraries use multipart uploads.
const AT_ONCE: usize = 8 * 1024 * 1024;
/// Bytes digested at once where that blocks nobody; fewer are digested on the spot: 64 KiB take some 100 µs, which a worker of the
/// runtime can spare.
const DIGEST_ASIDE: usize = 64 * 1024;
/// Bodies up to this size take no place of those that are on their way at once: a thousand of them are 256 MiB, within what bodies may
/// take anyway, and a small file never waits behind large ones.
const SMALL: usize = 256 * 1024;

const PUTTING: &str = "writing an object";

/// An upload at the store: let go of unless it was completed.
pub(super) struct Flow {
    filling: Option<Filling>,
    tasks: TaskTracker,
}

fn over() -> s3s::S3Error {
    internal(PUTTING, "the upload is over")
}

impl Flow {
    pub(super) async fn begin(behind: &Gateway, key: &str, headers: &[Header], size: Option<u64>) -> Result<Self> {
        let filling = behind.backend.begin(&behind.name, key, headers, size).await;
        let filling = filling.map_err(|failure| failed(PUTTING, &failure))?;
        Ok(Self { filling: Some(filling), tasks: behind.tasks.clone() })
    }

    /// Adds bytes.
    pub(super) async fn push(&mut self, place: &Place, bytes: Bytes) -> Result<()> {
        let filling = self.filling.as_mut().ok_or_else(over)?;
        filling.push(place, bytes).await.map_err(|failure| failed(PUTTING, &failure))
    }

    /// Waits until nothing is on its way.
    pub(super) async fn settle(&mut self) -> Result<()> {
        let filling = self.filling.as_mut().ok_or_else(over)?;
        filling.settle().await.map_err(|failure| failed(PUTTING, &failure))
    }

    async fn complete(mut self, live: Live, place: &Place) -> std::result::Result<Version, Failure> {
        match self.filling.take() {
            Some(filling) => filling.complete(live, place).await,
            None => Err(Failure::Failed("the upload is over".to_owned())),
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        if let Some(filling) = self.filling.take()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            self.tasks.spawn(filling.abort());
        }
    }
}

/// The bytes of an object that nobody sees yet.
pub(super) enum Held {
    /// Here.
    Here(Bytes),
    /// At the store.
    There(Flow),
}

/// A body that was taken in for an object.
pub(crate) struct Draft {
    behind: Gateway,
    key: Box<str>,
    headers: Headers,
    size: u64,
    held: Held,
    pub(crate) digests: Digests,
    /// What of it is in memory.
    share: Share,
}

/// Digests bytes: aside if they are many.
async fn digest(tasks: &TaskTracker, mut hashes: Hashes, bytes: &Bytes) -> Result<Hashes> {
    if bytes.len() < DIGEST_ASIDE {
        hashes.update(bytes);
        return Ok(hashes);
    }
    let bytes = bytes.clone();
    let digesting = tasks.spawn_blocking(move || {
        hashes.update(&bytes);
        hashes
    });
    digesting.await.map_err(|error| internal("digesting a body", error))
}

impl Gateway {
    /// The headers that are given to the store.
    pub(super) fn given(&self, headers: &Headers) -> Vec<Header> {
        let text = |(name, value): &(Box<str>, Box<[u8]>)| {
            let value = std::str::from_utf8(value).ok().filter(|value| self.backend.keeps(name, value))?;
            Some((name.to_string(), value.to_owned()))
        };
        headers.0.iter().filter_map(text).collect()
    }

    /// Takes a body in, for [`Draft::put`]. A piece of a large one goes to the store when all of it is here: while the sender is
    /// waited for, it takes no place from others.
    pub(crate) async fn take(
        &self,
        key: &[u8],
        headers: Headers,
        mut body: impl Stream<Item = std::result::Result<Bytes, StdError>> + Unpin,
        algorithms: &[Algorithm],
        max_bytes: u64,
        share: Share,
    ) -> Result<Draft> {
        let key = self.writable(key)?;
        let account = share.account();
        let mut hashes = Hashes::new(algorithms);
        let mut size = 0u64;
        let mut heap = Heap::new(Arc::clone(&self.objects), share);
        let mut flow: Option<Flow> = None;
        // Held until what was pushed has gone.
        let mut place: Option<Place> = None;
        loop {
            let bytes = match (&mut flow, place.is_some()) {
                (Some(flow), true) => {
                    tokio::select! {
                        settled = flow.settle() => {
                            settled?;
                            place = None;
                            continue;
                        }
                        bytes = body.next() => bytes,
                    }
                }
                _ => body.next().await,
            };
            let Some(bytes) = bytes else { break };
            let bytes = bytes.map_err(|error| of_body(&*error))?;
            size += bytes.len() as u64;
            if size > max_bytes {
                return Err(too_large());
            }
            hashes = digest(&self.tasks, hashes, &bytes).await?;
            heap.add(bytes).await?;
            if heap.size() > AT_ONCE {
                let on = match &mut flow {
                    Some(on) => on,
                    none => none.insert(Flow::begin(self, key, &self.given(&headers), None).await?),
                };
                // What went before has to be gone: no more than two pieces are in memory.
                on.settle().await?;
                drop(place.take());
                let own = self.common.place(account).await?;
                on.push(&own, heap.take().await?).await?;
                place = Some(own);
            }
        }
        let held = match flow {
            None => Held::Here(heap.take().await?),
            Some(mut flow) => {
                let own = match place.take() {
                    Some(own) => own,
                    None => self.common.place(account).await?,
                };
                flow.push(&own, heap.take().await?).await?;
                flow.settle().await?;
                Held::There(flow)
            }
        };
        let digests = hashes.finish();
        Ok(Draft { behind: self.clone(), key: key.into(), headers, size, held, digests, share: heap.share() })
    }

    /// What is there now, as the store says it.
    async fn look(&self, key: &str) -> Result<Option<Found>> {
        self.backend.head(&self.name, key).await.map_err(|failure| failed("looking an object up", &failure))
    }

    /// Holds a condition against what is there; says under which condition the store is to do it.
    async fn when(&self, key: &str, condition: &Condition) -> Result<std::result::Result<When, Clash>> {
        let Some(found) = self.look(key).await? else {
            return Ok(condition.check(None).map(|()| When::Absent));
        };
        let record = self.record_of(key, &found).await?;
        Ok(condition.check(Some(record.existing())).map(|()| When::Is(found.version)))
    }

    /// Makes an object of what is held and keeps what the store does not.
    pub(super) async fn commit(
        &self,
        key: &str,
        (held, record): (Held, Record),
        origin: Option<Origin>,
        condition: &Condition,
        session: &Session,
    ) -> Result<std::result::Result<Arc<Record>, Clash>> {
        let _turn = self.common.turn(self.bucket, key.as_bytes()).await;
        let plain = match &held {
            _ if condition.is_none() => Some(When::Always),
            Held::Here(_) if condition.is_absent() => Some(When::Absent),
            Held::Here(_) | Held::There(_) => None,
        };
        let when = match plain {
            Some(when) => when,
            None => match self.when(key, condition).await? {
                Ok(when) => when,
                Err(clash) => return Ok(Err(clash)),
            },
        };
        let account = session.origin.account;
        let place = match &held {
            Held::Here(bytes) if bytes.len() <= SMALL => None,
            Held::Here(_) | Held::There(_) => Some(self.common.place(account).await?),
        };
        // SECURITY: asked last of all: what went before may have taken long.
        let live = session.live().await?;
        let put = match (held, &place) {
            // No store takes a condition here: it was held against what is there, and writers from here take turns.
            (Held::There(flow), Some(place)) => flow.complete(live, place).await,
            (Held::There(_), None) => return Err(over()),
            (Held::Here(bytes), _) => {
                let given = self.given(&record.headers);
                self.backend.put(live, &self.name, key, bytes, &given, when).await
            }
        };
        drop(place);
        let version = match put {
            Ok(version) => version,
            Err(Failure::Clash) => return Ok(Err(Clash::Failed(condition.first()))),
            Err(failure) => return Err(failed(PUTTING, &failure)),
        };
        let parts = match &record.data {
            Data::Gateway(parts) => parts.clone(),
            Data::Here(_) | Data::Files(_) => Box::default(),
        };
        let (size, etag, headers) = (record.size, record.etag.clone(), record.headers.clone());
        let facts = Facts { tag: version.tag, size, etag, headers, parts };
        self.objects.keep_facts(self.bucket, key.as_bytes(), facts, origin).await?;
        Ok(Ok(Arc::new(record)))
    }

    /// Removes an object, if there is one.
    pub(crate) async fn delete(
        &self,
        key: &[u8],
        condition: Condition,
        session: &Session,
    ) -> Result<std::result::Result<(), Clash>> {
        let Ok(key) = self.fits(key) else { return Ok(condition.check(None)) };
        let (own, key, session) = (self.clone(), key.to_owned(), session.clone());
        let deleting = self.tasks.spawn(async move {
            let _turn = own.common.turn(own.bucket, key.as_bytes()).await;
            if !condition.is_none() {
                let record = match own.look(&key).await? {
                    Some(found) => Some(own.record_of(&key, &found).await?),
                    None => None,
                };
                if let Err(clash) = condition.check(record.as_ref().map(Record::existing)) {
                    return Ok(Err(clash));
                }
            }
            let live = session.live().await?;
            let deleted = own.backend.delete(live, &own.name, &key).await;
            deleted.map_err(|failure| failed("deleting an object", &failure))?;
            own.objects.forget_facts(own.bucket, key.as_bytes()).await?;
            Ok(Ok(()))
        });
        deleting.await.map_err(|error| internal("deleting an object", error))?
    }
}

impl Draft {
    /// Puts the object in place of what was there; when this returns, it is durable.
    pub(crate) async fn put(
        self,
        condition: Condition,
        session: &Session,
    ) -> Result<std::result::Result<Arc<Record>, Clash>> {
        let Self { behind, key, mut headers, size, held, digests, share } = self;
        let session = session.clone();
        if let Some((algorithm, checksum)) = digests.checksums.first() {
            headers.set_checksum(*algorithm, &BASE64.encode(checksum), Kind::FullObject);
        }
        let (etag, modified) = (digests.etag().into(), behind.objects.now());
        let record = Record { size, etag, modified, headers, data: Data::Gateway(Box::default()) };
        // Runs to its end whether or not the request is still there: what is kept here must be of what is there.
        let tasks = behind.tasks.clone();
        let putting = tasks.spawn(async move {
            let _share = share;
            behind.commit(&key, (held, record), None, &condition, &session).await
        });
        putting.await.map_err(|error| internal(PUTTING, error))?
    }
}
