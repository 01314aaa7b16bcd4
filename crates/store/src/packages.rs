//! Packages: kept in the database beside what names them.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::id::AccountId;
use valetkey_core::name::Name;
use valetkey_core::package::{Digest, Manifest, Packages, Reference, Tag, Upload};

use crate::sqlite::packages;
use crate::store::Store;

#[async_trait]
impl Packages for Store {
    async fn begin_upload(&self, upload: &Upload, until: Timestamp, now: Timestamp) -> Result<(), Error> {
        let (store, upload) = (self.clone(), upload.clone());
        self.unbroken(async move { packages::begin(&mut *store.shared.db.writer().await, &upload, until, now).await })
            .await
    }

    async fn finish_upload(&self, upload: &Upload, digest: Digest, body: Vec<u8>, now: Timestamp) -> Result<(), Error> {
        let (store, upload) = (self.clone(), upload.clone());
        self.unbroken(async move {
            // Before the one connection that writes is taken.
            let own = Digest::of(&body);
            packages::finish(&mut *store.shared.db.writer().await, &upload, digest, own, body, now).await
        })
        .await
    }

    async fn blob(&self, account: AccountId, digest: Digest) -> Result<Option<Vec<u8>>, Error> {
        packages::blob(&mut *self.reader().await?, account, digest).await
    }

    async fn blob_size(&self, account: AccountId, digest: Digest) -> Result<Option<u64>, Error> {
        packages::blob_size(&mut *self.reader().await?, account, digest).await
    }

    async fn put_manifest(
        &self,
        account: AccountId,
        package: &Name,
        tag: Option<&Tag>,
        manifest: &Manifest,
        needs: &[Digest],
        now: Timestamp,
    ) -> Result<(), Error> {
        let (store, package, tag) = (self.clone(), package.clone(), tag.cloned());
        let (manifest, needs) = (manifest.clone(), needs.to_vec());
        self.unbroken(async move {
            let mut writer = store.shared.db.writer().await;
            packages::put_manifest(&mut writer, account, &package, tag.as_ref(), &manifest, &needs, now).await
        })
        .await
    }

    async fn manifest(
        &self,
        account: AccountId,
        package: &Name,
        reference: &Reference,
    ) -> Result<Option<Manifest>, Error> {
        packages::manifest(&mut *self.reader().await?, account, package, reference).await
    }

    async fn tags(&self, account: AccountId, package: &Name) -> Result<Vec<Tag>, Error> {
        packages::tags(&mut *self.reader().await?, account, package).await
    }
}
