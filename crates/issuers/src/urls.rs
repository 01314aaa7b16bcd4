//! URLs of single objects, at every kind of store that has them: each opens one object, whatever the credential opens.
//!
//! | | |
//! |---|---|
//! | our own endpoint, `sts` | signed with the credential; its secret is not in them |
//! | `r2` | the session token in them is a whole credential: so each has one for its object alone |
//! | `azure` | a signature for the one blob, of the same key as the credential's |
//! | `gcs` | signed with the service account's own key, where the server has it |

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use valetkey_core::credential::Credential;
use valetkey_core::name::BucketName;
use valetkey_core::port::{SignedUrls, UrlSigner};
use valetkey_core::scope::{Path, Paths, Rights};
use valetkey_core::storage::{Storage, StorageKind};
use valetkey_core::{Error, Kind, Secret};

use crate::cache::Fetcher;
use crate::fetchers::Fetchers;
use crate::presign::{S3Urls, alone};
use crate::upstream::UrlWish;
use crate::{Issuers, signed};

/// A URL of R2 with a credential of its own, made here.
fn of_r2(
    (fetchers, fetcher): (&Fetchers, &Fetcher),
    storage: &Storage,
    rights: &Rights,
    key: &[u8],
    (now, until): (Timestamp, Timestamp),
) -> Option<Result<Secret<String>, Error>> {
    // It is told by what its kind of credential says of an object: to read it.
    let alone = match alone(rights, key).map(|get| rights.on_object(key).unwrap_or(get)) {
        Ok(alone) => alone,
        Err(error) => return Some(Err(error)),
    };
    let issued = signed(fetchers, fetcher, &alone, until)?;
    Some(issued.and_then(|issued| S3Urls::new(storage, issued.credential.s3()?, rights.bucket(), now, until)?.url(key)))
}

/// Signs URLs of R2.
struct R2Urls {
    fetchers: Arc<Fetchers>,
    fetcher: Arc<Fetcher>,
    storage: Storage,
    rights: Rights,
    now: Timestamp,
    until: Timestamp,
}

impl SignedUrls for R2Urls {
    fn url(&self, key: &[u8]) -> Result<Secret<String>, Error> {
        let Self { fetchers, fetcher, storage, rights, now, until } = self;
        of_r2((fetchers, fetcher), storage, rights, key, (*now, *until))
            .unwrap_or_else(|| Err(Error::internal("what signed a moment ago does not sign")))
    }
}

impl Issuers {
    /// A URL of R2. SECURITY: the session token in it is the whole credential. So it is one for this object alone, where it can be
    /// made here; or what was vended for single objects, which all stand in the same answer.
    fn one_of_r2(
        &self,
        storage: &Storage,
        credential: &Credential,
        rights: &Rights,
        key: &[u8],
        (now, until): (Timestamp, Timestamp),
    ) -> Result<Secret<String>, Error> {
        let fetcher = self.fetchers.of(storage)?;
        let until = until.min(credential.expiration());
        if let Some(url) = of_r2((&self.fetchers, &fetcher), storage, rights, key, (now, until)) {
            return url;
        }
        let listed = match rights.parts().places() {
            Paths::Whole => false,
            Paths::Only(paths) => paths.iter().all(|path| matches!(path, Path::Object(_))),
        };
        if !listed {
            return Err(Error::new(Kind::Invalid, "a URL of this storage would open more than its object"));
        }
        S3Urls::new(storage, credential.s3()?, rights.bucket(), now, until)?.url(key)
    }
}

#[async_trait]
impl UrlSigner for Issuers {
    fn shows_credential(&self, storage: &Storage) -> bool {
        let of_store = |fetcher: Arc<Fetcher>| !fetcher.upstream.signs();
        storage.kind == StorageKind::R2 && self.fetchers.of(storage).is_ok_and(of_store)
    }

    fn one(
        &self,
        storage: &Storage,
        credential: &Credential,
        rights: &Rights,
        key: &[u8],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Secret<String>, Error> {
        if storage.kind == StorageKind::R2 {
            return self.one_of_r2(storage, credential, rights, key, (now, until));
        }
        self.signs(storage, credential, rights.bucket(), now, until)?.url(key)
    }

    fn signs(
        &self,
        storage: &Storage,
        credential: &Credential,
        bucket: &BucketName,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Box<dyn SignedUrls>, Error> {
        match storage.kind {
            StorageKind::Embedded | StorageKind::Gateway | StorageKind::Sts => {
                Ok(Box::new(S3Urls::new(storage, credential.s3()?, bucket, now, until)?))
            }
            // SECURITY: at R2 the session token, which is in each URL, is the whole credential; a signature of Azure's opens
            // what it was made for, which is more than one file; a Google token in a URL is no signature.
            StorageKind::R2 | StorageKind::Azure | StorageKind::Gcs => Err(Error::new(
                Kind::Invalid,
                format!(
                    "a credential of a storage of kind `{}` signs no URLs that open one file each",
                    storage.kind.as_str()
                ),
            )),
        }
    }

    async fn signs_each(
        &self,
        storage: &Storage,
        credential: &Credential,
        rights: &Rights,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Box<dyn SignedUrls>, Error> {
        let until = until.min(credential.expiration());
        match storage.kind {
            StorageKind::Embedded | StorageKind::Gateway | StorageKind::Sts => {
                self.signs(storage, credential, rights.bucket(), now, until)
            }
            StorageKind::R2 => {
                let fetcher = self.fetchers.of(storage)?;
                fetcher.upstream.check_urls()?;
                let (fetchers, storage, rights) = (Arc::clone(&self.fetchers), storage.clone(), rights.clone());
                Ok(Box::new(R2Urls { fetchers, fetcher, storage, rights, now, until }))
            }
            StorageKind::Azure | StorageKind::Gcs => {
                let wish = UrlWish { endpoint: &storage.endpoint, credential, rights, now, until };
                self.fetchers.of(storage)?.upstream.signs_urls(&wish).await
            }
        }
    }
}
