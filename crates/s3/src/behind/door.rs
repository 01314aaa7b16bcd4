//! The one door to another store: what takes effect there spends a proof that the credential lives, and bytes are on their way
//! there only from a place.

use std::sync::Arc;

use bytes::Bytes;
use valetkey_core::fair::Place;

use crate::behind::port::{Backend, Entry, Failure, Found, Header, Opened, Upload, Version, When, Window};
use crate::gate::session::Live;

type Done<T> = std::result::Result<T, Failure>;

/// Another store, as the rest of this folder has it.
#[derive(Clone)]
pub(crate) struct Door(Arc<dyn Backend>);

impl Door {
    pub(crate) fn new(backend: Arc<dyn Backend>) -> Self {
        Self(backend)
    }

    pub(super) fn fits(&self, key: &str) -> std::result::Result<(), &'static str> {
        self.0.fits(key)
    }

    pub(super) fn keeps(&self, name: &str, value: &str) -> bool {
        self.0.keeps(name, value)
    }

    pub(super) async fn head(&self, bucket: &str, key: &str) -> Done<Option<Found>> {
        self.0.head(bucket, key).await
    }

    pub(super) async fn read(
        &self,
        bucket: &str,
        key: &str,
        window: Window,
        only: Option<&Version>,
    ) -> Done<Option<Opened>> {
        self.0.read(bucket, key, window, only).await
    }

    pub(super) async fn list(&self, bucket: &str, prefix: &str, from: &[u8], limit: usize) -> Done<Vec<Entry>> {
        self.0.list(bucket, prefix, from, limit).await
    }

    pub(super) async fn list_folders(
        &self,
        bucket: &str,
        prefix: &str,
        from: &[u8],
        limit: usize,
    ) -> Done<Option<Vec<Entry>>> {
        self.0.list_folders(bucket, prefix, from, limit).await
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
        self.0.put(bucket, key, bytes, headers, when).await
    }

    /// Begins to write an object that nobody sees before it is complete.
    pub(super) async fn begin(&self, bucket: &str, key: &str, headers: &[Header], size: Option<u64>) -> Done<Filling> {
        self.0.begin(bucket, key, headers, size).await.map(Filling)
    }

    /// Removes an object.
    pub(super) async fn delete(&self, _: Live, bucket: &str, key: &str) -> Done<()> {
        self.0.delete(bucket, key).await
    }
}

/// An object being written.
pub(super) struct Filling(Box<dyn Upload>);

impl Filling {
    /// Adds bytes.
    pub(super) async fn push(&mut self, _: &Place, bytes: Bytes) -> Done<()> {
        self.0.push(bytes).await
    }

    /// Waits until nothing is on its way. May be given up and begun anew.
    pub(super) async fn settle(&mut self) -> Done<()> {
        self.0.settle().await
    }

    /// Makes the object of what was added.
    pub(super) async fn complete(self, _: Live, _: &Place) -> Done<Version> {
        self.0.complete().await
    }

    /// Lets go of what was added.
    pub(super) async fn abort(self) {
        self.0.abort().await;
    }
}
