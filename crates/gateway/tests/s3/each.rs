//! One way for each bucket: what a credential of this server opens is one bucket.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use valetkey_s3::{
    Answer, Asking, Backend, Entry, Failure, Forward, Found, Header, Opened, Upload, Version, When, Window,
};

use crate::upstream::now;

#[derive(Clone)]
pub(crate) struct Each {
    pub(crate) ways: BTreeMap<&'static str, Arc<dyn Backend>>,
    /// Whether requests go on as they are. Before there was that, they did not.
    pub(crate) forwards: bool,
}

impl Each {
    fn of(&self, bucket: &str) -> Result<&Arc<dyn Backend>, Failure> {
        self.ways.get(bucket).ok_or(Failure::NoBucket)
    }
}

#[async_trait]
impl Forward for Each {
    fn takes_trailers(&self) -> bool {
        self.ways["lake"].forward().unwrap().takes_trailers()
    }

    fn takes_key(&self, key: &str) -> Result<(), Failure> {
        self.ways["lake"].forward().unwrap().takes_key(key)
    }

    async fn send(&self, mut asking: Asking) -> Result<Answer, Failure> {
        // The other S3 has the machine's time.
        asking.now = now();
        self.of(&asking.bucket)?.forward().unwrap().send(asking).await
    }
}

#[async_trait]
impl Backend for Each {
    fn forward(&self) -> Option<Arc<dyn Forward>> {
        self.forwards.then(|| Arc::new(self.clone()) as Arc<dyn Forward>)
    }

    fn fits(&self, key: &str) -> Result<(), &'static str> {
        self.ways["lake"].fits(key)
    }

    fn keeps(&self, name: &str, value: &str) -> bool {
        self.ways["lake"].keeps(name, value)
    }

    async fn probe(&self, bucket: &str) -> Result<(), Failure> {
        self.of(bucket)?.probe(bucket).await
    }

    async fn head(&self, bucket: &str, key: &str) -> Result<Option<Found>, Failure> {
        self.of(bucket)?.head(bucket, key).await
    }

    async fn read(
        &self,
        bucket: &str,
        key: &str,
        window: Window,
        only: Option<&Version>,
    ) -> Result<Option<Opened>, Failure> {
        self.of(bucket)?.read(bucket, key, window, only).await
    }

    async fn put(
        &self,
        bucket: &str,
        key: &str,
        bytes: Bytes,
        headers: &[Header],
        when: When,
    ) -> Result<Version, Failure> {
        self.of(bucket)?.put(bucket, key, bytes, headers, when).await
    }

    async fn begin(
        &self,
        bucket: &str,
        key: &str,
        headers: &[Header],
        size: Option<u64>,
    ) -> Result<Box<dyn Upload>, Failure> {
        self.of(bucket)?.begin(bucket, key, headers, size).await
    }

    async fn delete(&self, bucket: &str, key: &str) -> Result<(), Failure> {
        self.of(bucket)?.delete(bucket, key).await
    }

    async fn list(&self, bucket: &str, prefix: &str, from: &[u8], limit: usize) -> Result<Vec<Entry>, Failure> {
        self.of(bucket)?.list(bucket, prefix, from, limit).await
    }

    async fn list_folders(
        &self,
        bucket: &str,
        prefix: &str,
        from: &[u8],
        limit: usize,
    ) -> Result<Option<Vec<Entry>>, Failure> {
        self.of(bucket)?.list_folders(bucket, prefix, from, limit).await
    }
}
