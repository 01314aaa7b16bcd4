//! The one door to another store: what takes effect there spends a proof that the credential lives, and bytes are on their way
//! there only from a place.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use valetkey_core::Kind;
use valetkey_core::error::Noun;
use valetkey_core::fair::Place;
use valetkey_core::health::Watched;
use valetkey_core::name::Name;

use crate::gate::session::Live;
use crate::gateway::port::{Backend, Entry, Failure, Forward, Found, Header, Opened, Upload, Version, When, Window};

type Done<T> = std::result::Result<T, Failure>;

/// The name of a store, for what is counted of it, and where it is told how it answers.
#[derive(Clone)]
pub(crate) struct Named(Arc<str>, Watched);

impl Named {
    /// Counts it if the store failed; that a condition does not hold, or a key does not fit, is no failure.
    pub(crate) fn count(&self, failure: &Failure) {
        let reason = match failure {
            Failure::Clash | Failure::Unfit(_) => return,
            Failure::NoBucket => Kind::NotFound(Noun::Bucket),
            Failure::Throttled(_) => Kind::RateLimited,
            Failure::Unavailable(_) | Failure::Full => Kind::Unavailable,
            Failure::Failed(_) => Kind::Upstream,
        };
        self.1.failed(reason);
        let (storage, reason) = (self.0.to_string(), reason.slug());
        metrics::counter!("vk_upstream_failures_total", "storage" => storage, "reason" => reason).increment(1);
    }

    /// It did what was asked of it.
    pub(crate) fn worked(&self) {
        self.1.worked();
    }

    fn told<T>(&self, done: Done<T>) -> Done<T> {
        done.inspect(|_| self.worked()).inspect_err(|failure| self.count(failure))
    }
}

/// Another store, as the rest of this crate has it.
#[derive(Clone)]
pub(crate) struct Door(Arc<dyn Backend>, Named);

impl Door {
    /// The door to a store of this name.
    pub(crate) fn new(backend: Arc<dyn Backend>, storage: &Name, health: Watched) -> Self {
        Self(backend, Named(storage.as_str().into(), health))
    }

    /// The way for requests as they are, if the store speaks S3; and its name.
    pub(crate) fn forward(&self) -> Option<(Arc<dyn Forward>, Named)> {
        self.0.forward().map(|forward| (forward, self.1.clone()))
    }

    /// Whether the bucket is there and can be listed.
    pub(crate) async fn probe(&self, bucket: &str) -> Done<()> {
        self.1.told(self.0.probe(bucket).await)
    }

    /// Removes what was left unfinished there.
    pub(crate) async fn sweep(&self, now: Timestamp) -> Done<usize> {
        self.1.told(self.0.sweep(now).await)
    }

    pub(super) fn fits(&self, key: &str) -> std::result::Result<(), &'static str> {
        self.0.fits(key)
    }

    pub(super) fn keeps(&self, name: &str, value: &str) -> bool {
        self.0.keeps(name, value)
    }

    pub(super) async fn head(&self, bucket: &str, key: &str) -> Done<Option<Found>> {
        self.1.told(self.0.head(bucket, key).await)
    }

    pub(super) async fn read(
        &self,
        bucket: &str,
        key: &str,
        window: Window,
        only: Option<&Version>,
    ) -> Done<Option<Opened>> {
        let opened = self.1.told(self.0.read(bucket, key, window, only).await)?;
        let named = self.1.clone();
        Ok(opened.map(|Opened { found, range, bytes }| {
            let bytes = bytes.inspect_err(move |failure| named.count(failure)).boxed();
            Opened { found, range, bytes }
        }))
    }

    pub(super) async fn list(&self, bucket: &str, prefix: &str, from: &[u8], limit: usize) -> Done<Vec<Entry>> {
        self.1.told(self.0.list(bucket, prefix, from, limit).await)
    }

    pub(super) async fn list_folders(
        &self,
        bucket: &str,
        prefix: &str,
        from: &[u8],
        limit: usize,
    ) -> Done<Option<Vec<Entry>>> {
        self.1.told(self.0.list_folders(bucket, prefix, from, limit).await)
    }

    /// Writes an object at once.
    pub(super) async fn put(
        &self,
        _: Live,
        bucket: &str,
        key: &str,
        bytes: Bytes,
        headers: &[Header],
        when: When,
    ) -> Done<Version> {
        self.1.told(self.0.put(bucket, key, bytes, headers, when).await)
    }

    /// Begins to write an object that nobody sees before it is complete.
    pub(super) async fn begin(&self, bucket: &str, key: &str, headers: &[Header], size: Option<u64>) -> Done<Filling> {
        let begun = self.1.told(self.0.begin(bucket, key, headers, size).await)?;
        Ok(Filling(begun, self.1.clone()))
    }

    /// Removes an object.
    pub(super) async fn delete(&self, _: Live, bucket: &str, key: &str) -> Done<()> {
        self.1.told(self.0.delete(bucket, key).await)
    }
}

/// An object being written.
pub(super) struct Filling(Box<dyn Upload>, Named);

impl Filling {
    /// Adds bytes.
    pub(super) async fn push(&mut self, _: &Place, bytes: Bytes) -> Done<()> {
        self.1.told(self.0.push(bytes).await)
    }

    /// Waits until nothing is on its way. May be given up and begun anew.
    pub(super) async fn settle(&mut self) -> Done<()> {
        self.1.told(self.0.settle().await)
    }

    /// Makes the object of what was added.
    pub(super) async fn complete(self, _: Live, _: &Place) -> Done<Version> {
        self.1.told(self.0.complete().await)
    }

    /// Lets go of what was added.
    pub(super) async fn abort(self) {
        self.0.abort().await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;
    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};
    use valetkey_core::health::Health;
    use valetkey_core::id::StorageId;
    use valetkey_testkit::clock::FixedClock;

    use super::*;

    /// A store that fails in one way. Bytes of it break in their midst.
    struct Broken(Failure);

    #[async_trait]
    impl Backend for Broken {
        fn fits(&self, _: &str) -> std::result::Result<(), &'static str> {
            Ok(())
        }

        fn keeps(&self, _: &str, _: &str) -> bool {
            true
        }

        async fn probe(&self, _: &str) -> Done<()> {
            Err(self.0.clone())
        }

        async fn head(&self, _: &str, _: &str) -> Done<Option<Found>> {
            Err(self.0.clone())
        }

        async fn read(&self, _: &str, _: &str, _: Window, _: Option<&Version>) -> Done<Option<Opened>> {
            let version = Version { tag: String::new(), id: None };
            let found = Found { size: 2, version, modified: Timestamp::UNIX_EPOCH, headers: Vec::new() };
            let bytes = [Ok(Bytes::from_static(b"1")), Err(self.0.clone())];
            Ok(Some(Opened { found, range: 0..2, bytes: futures::stream::iter(bytes).boxed() }))
        }

        async fn put(&self, _: &str, _: &str, _: Bytes, _: &[Header], _: When) -> Done<Version> {
            Err(self.0.clone())
        }

        async fn begin(&self, _: &str, _: &str, _: &[Header], _: Option<u64>) -> Done<Box<dyn Upload>> {
            Err(self.0.clone())
        }

        async fn delete(&self, _: &str, _: &str) -> Done<()> {
            Err(self.0.clone())
        }

        async fn list(&self, _: &str, _: &str, _: &[u8], _: usize) -> Done<Vec<Entry>> {
            Err(self.0.clone())
        }
    }

    /// What was counted: a name with its labels, and how often.
    #[derive(Default)]
    struct Counted(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

    impl metrics::Recorder for Counted {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let labels: Vec<String> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            let name = format!("{} {}", key.name(), labels.join(" "));
            Counter::from_arc(Arc::clone(self.0.lock().unwrap().entry(name).or_default()))
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn what_fails_at_a_store_is_counted_by_its_name_and_what_is_the_askers_is_not() {
        let counted = Counted::default();
        let said = String::new;
        let health = Health::new(Arc::new(FixedClock::default()));
        let lake = StorageId::from_bytes([1; 16]);
        metrics::with_local_recorder(&counted, || {
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
                for failure in [
                    Failure::Throttled(said()),
                    Failure::Unavailable(said()),
                    Failure::Failed(said()),
                    Failure::NoBucket,
                    Failure::Clash,
                    Failure::Unfit("no"),
                ] {
                    let watched = health.of(lake);
                    let door = Door::new(Arc::new(Broken(failure)), &Name::parse("lake").unwrap(), watched);
                    assert!(door.probe("b").await.is_err() && door.head("b", "k").await.is_err());
                    assert!(
                        door.list("b", "", b"", 1).await.is_err() && door.begin("b", "k", &[], None).await.is_err()
                    );
                    let opened = door.read("b", "k", Window::Whole, None).await.unwrap().unwrap();
                    assert!(opened.bytes.try_collect::<Vec<_>>().await.is_err());
                }
            });
        });
        let told = health.seen(lake);
        assert_eq!(
            (told.failed.unwrap().1, told.failures),
            (Kind::NotFound(Noun::Bucket), 0),
            "it opened the last object"
        );
        let counts = counted.0.lock().unwrap();
        let seen: Vec<(&str, u64)> =
            counts.iter().map(|(name, count)| (name.as_str(), count.load(Ordering::Relaxed))).collect();
        assert_eq!(
            seen,
            [
                ("vk_upstream_failures_total storage=lake reason=not_found", 5),
                ("vk_upstream_failures_total storage=lake reason=rate_limited", 5),
                ("vk_upstream_failures_total storage=lake reason=unavailable", 5),
                ("vk_upstream_failures_total storage=lake reason=upstream", 5),
            ]
        );
    }
}
