//! Packages: what names them is in the database, their blobs are files beside it.

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::id::AccountId;
use valetkey_core::name::Name;
use valetkey_core::nouns::package::{Digest, Manifest, Packages, Reference, Tag, Upload};

use crate::database::Database;
use crate::sql::db::Db;
use crate::sql::notes::Unsaid;
use crate::sql::packages::{self, Blob, Kept, Put};

#[async_trait]
impl Packages for Database {
    async fn begin_upload(&self, upload: &Upload, until: Timestamp, now: Timestamp) -> Result<(), Error> {
        let (database, upload) = (self.clone(), upload.clone());
        self.unbroken(async move {
            database.shared.db.unsaid(Unsaid::Packages, async |db| packages::begin(db, &upload, until, now).await).await
        })
        .await
    }

    async fn finish_upload(&self, upload: &Upload, digest: Digest, body: Vec<u8>, now: Timestamp) -> Result<(), Error> {
        let (database, upload) = (self.clone(), upload.clone());
        self.unbroken(async move { database.finish(&upload, digest, body, now).await }).await
    }

    async fn blob(&self, account: AccountId, digest: Digest) -> Result<Option<Vec<u8>>, Error> {
        let found = packages::blob(&mut self.reader().await?, account, digest).await?;
        match found {
            None => Ok(None),
            Some(Kept::Here(body)) => Ok(Some(body)),
            Some(Kept::File(name)) => self.shared.blobs.read(name, digest).await.map(Some),
        }
    }

    async fn blob_size(&self, account: AccountId, digest: Digest) -> Result<Option<u64>, Error> {
        packages::blob_size(&mut self.reader().await?, account, digest).await
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
        let (database, package, tag) = (self.clone(), package.clone(), tag.cloned());
        let (manifest, needs) = (manifest.clone(), needs.to_vec());
        self.unbroken(async move {
            let put = async |db: &mut Db| {
                packages::put_manifest(db, account, &package, tag.as_ref(), &manifest, &needs, now).await
            };
            database.shared.db.unsaid(Unsaid::Packages, put).await
        })
        .await
    }

    async fn manifest(
        &self,
        account: AccountId,
        package: &Name,
        reference: &Reference,
    ) -> Result<Option<Manifest>, Error> {
        packages::manifest(&mut self.reader().await?, account, package, reference).await
    }

    async fn tags(&self, account: AccountId, package: &Name) -> Result<Vec<Tag>, Error> {
        packages::tags(&mut self.reader().await?, account, package).await
    }
}

impl Database {
    /// Ends an upload. What costs time, the digest and the disk, is done before the connection that writes is taken.
    async fn finish(&self, upload: &Upload, digest: Digest, body: Vec<u8>, now: Timestamp) -> Result<(), Error> {
        let known = {
            let mut reader = self.reader().await?;
            packages::check_upload(&mut reader, upload, now).await?;
            packages::blob_size(&mut reader, upload.account, digest).await?
        };
        let hashing = self.shared.tasks.spawn_blocking(move || (Digest::of(&body), body)).await;
        let (own, body) = hashing.map_err(|error| Error::internal("a digest was not made").caused_by(error))?;
        digest.check(own)?;
        if known.is_some() {
            let finish = async |db: &mut Db| packages::finish(db, upload, digest, None, now).await;
            return self.shared.db.unsaid(Unsaid::Packages, finish).await.map(|_| ());
        }
        let written = self.shared.blobs.write(body, now, &*self.shared.entropy, &self.shared.queue).await?;
        let blob = Blob { file: written.name(), size: written.size() };
        let finish = async |db: &mut Db| packages::finish(db, upload, digest, Some(blob), now).await;
        match self.shared.db.unsaid(Unsaid::Packages, finish).await {
            Ok(Put::Kept) => Ok(()),
            Ok(Put::WasThere) => {
                written.remove().await;
                Ok(())
            }
            // A commit whose outcome nobody knows may have kept the row: the file stays, for the sweep to look again.
            Err(error) => Err(error),
        }
    }

    /// Removes the files of blobs that no row names.
    pub(crate) async fn sweep_blobs(&self) -> Result<u64, Error> {
        let mut swept = 0;
        for name in self.shared.blobs.old(self.shared.clock.now()).await? {
            if packages::has_file(&mut self.reader().await?, name).await? {
                continue;
            }
            self.shared.blobs.remove(name).await;
            swept += 1;
        }
        if swept > 0 {
            tracing::info!(blobs.swept = swept, "{swept} blobs of packages that no upload finished were removed");
        }
        Ok(swept)
    }
}
