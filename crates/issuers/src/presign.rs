//! Pre-signed S3 URLs (AWS Signature Version 4, query parameters): each opens one key, to get it, and nothing else.
//!
//! The signing key is derived once for all of them: a table may have thousands of files.

use std::fmt::Write as _;

use jiff::Timestamp;
use valetkey_core::credential::S3Keys;
use valetkey_core::name::BucketName;
use valetkey_core::port::SignedUrls;
use valetkey_core::scope::{Action, Actions, Path, Paths, Rights};
use valetkey_core::storage::Storage;
use valetkey_core::{Error, Secret};
use valetkey_sigv4::{SigningKey, Slash, encode};

/// The longest a pre-signed URL lives, in seconds (Amazon S3 User Guide, "Sharing objects with presigned URLs").
const LONGEST_SECS: i64 = 604_800;

/// The right to get one object, if it is among some rights.
///
/// # Errors
/// `Internal`: what a URL is made for was looked at before.
pub(crate) fn alone(rights: &Rights, key: &[u8]) -> Result<Rights, Error> {
    let outside = || Error::internal("a URL was asked for an object that its credential does not open");
    if !rights.covers(rights.bucket().as_str(), key, Action::GetObject) {
        return Err(outside());
    }
    let get = Actions::NONE.with(Action::GetObject);
    Rights::of(rights.bucket().clone(), Paths::only([Path::object(key)?])?, get).ok_or_else(outside)
}

/// Signs URLs of one bucket's objects, path style, with one credential.
pub(crate) struct S3Urls {
    scheme: Box<str>,
    host: Box<str>,
    /// The path up to the object's key.
    before: String,
    query: Secret<String>,
    signing: SigningKey,
}

impl S3Urls {
    /// Makes ready what all URLs have in common.
    pub(crate) fn new(
        storage: &Storage,
        keys: &S3Keys,
        bucket: &BucketName,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Self, Error> {
        let end = until.min(keys.expiration);
        // Whole seconds, cut at both ends, so that no URL says it lives longer than it does.
        let life = end.as_second().saturating_sub(now.as_second()).min(LONGEST_SECS);
        if life < 1 {
            return Err(Error::internal("a URL would end before it begins"));
        }
        let (scheme, authority) = storage
            .endpoint
            .split_once("://")
            .ok_or_else(|| Error::internal(format!("the endpoint of storage {} is not a URL", storage.id)))?;
        let (host, base) = authority.split_once('/').map_or((authority, ""), |(host, base)| (host, base));
        let before = if base.is_empty() { format!("/{bucket}/") } else { format!("/{base}/{bucket}/") };
        let signing = SigningKey::new(&keys.secret_access_key, now, &storage.region, "s3");
        let (instant, scope) = (&signing.date, &signing.scope);
        let mut query = String::with_capacity(512);
        query.push_str("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=");
        encode(format!("{}/{scope}", keys.access_key_id).as_bytes(), Slash::Encoded, &mut query);
        // Writing to a string cannot fail.
        let _ = write!(query, "&X-Amz-Date={instant}&X-Amz-Expires={life}&X-Amz-Security-Token=");
        encode(keys.session_token.reveal().as_bytes(), Slash::Encoded, &mut query);
        query.push_str("&X-Amz-SignedHeaders=host");
        Ok(Self { scheme: scheme.into(), host: host.into(), before, query: Secret::new(query), signing })
    }
}

impl SignedUrls for S3Urls {
    fn url(&self, key: &[u8]) -> Result<Secret<String>, Error> {
        let Self { scheme, host, before, query, signing } = self;
        let query = query.reveal();
        let mut path = before.clone();
        encode(key, Slash::Kept, &mut path);
        let signature = signing.presign("GET", host, &path, query);
        Ok(Secret::new(format!("{scheme}://{host}{path}?{query}&X-Amz-Signature={signature}")))
    }
}

#[cfg(test)]
mod tests {
    use valetkey_core::id::StorageId;
    use valetkey_core::name::Name;
    use valetkey_core::storage::StorageKind;
    use valetkey_core::time::Lifetime;

    use super::*;

    fn storage(endpoint: &str) -> Storage {
        Storage {
            id: StorageId::from_bytes([1; 16]),
            name: Name::parse("r2").unwrap(),
            kind: StorageKind::Embedded,
            endpoint: endpoint.into(),
            internal_endpoint: None,
            region: "auto".into(),
            min_lifetime: Lifetime::secs(1),
            max_lifetime: Lifetime::secs(604_800),
            external: None,
        }
    }

    /// Signatures that another implementation (botocore) made of the same parts.
    #[test]
    fn signatures_are_those_of_other_implementations() {
        let account = "0123456789abcdef0123456789abcdef";
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let keys = |id: &str, secret: &str, token: String| S3Keys {
            access_key_id: id.to_owned(),
            secret_access_key: Secret::new(secret.to_owned()),
            session_token: Secret::new(token),
            expiration: "2026-01-01T00:15:00Z".parse().unwrap(),
        };
        let check = |host: &str, keys: &S3Keys, bucket: &str, key: &str, path: &str, signature: &str| {
            let bucket = BucketName::parse(bucket).unwrap();
            let until = "2026-01-01T00:06:00Z".parse().unwrap();
            let urls = S3Urls::new(&storage(host), keys, &bucket, now, until).unwrap();
            let url = urls.url(key.as_bytes()).unwrap();
            let url = url.reveal();
            assert!(url.starts_with(&format!("{host}{path}?X-Amz-Algorithm=AWS4-HMAC-SHA256&")), "{url}");
            assert!(url.contains("&X-Amz-Expires=300&"), "{url}");
            assert!(url.ends_with(&format!("&X-Amz-SignedHeaders=host&X-Amz-Signature={signature}")), "{url}");
        };
        check(
            &format!("https://{account}.r2.cloudflarestorage.com"),
            &keys(
                "11112222333344445555666677778888",
                "9188921ac6200cc73048aa4c74954c52125c26dba17f93ec25d4c7b44bdeb650",
                token(V1),
            ),
            "my-bucket",
            "data/file.bin",
            "/my-bucket/data/file.bin",
            "1eaf117da31bb8a9b34664a2d5847579a9d0873d2e1ca7284d55df7506509989",
        );
        check(
            &format!("https://{account}.eu.r2.cloudflarestorage.com"),
            &keys(
                "aaaabbbbccccddddeeeeffff00001111",
                "963a3a4bf31da78800492c6319f704531e6459630e83feb6e6aab88edb8445d6",
                token(V2),
            ),
            "tenant-data",
            "uploads/user-123/a b+c.txt",
            "/tenant-data/uploads/user-123/a%20b%2Bc.txt",
            "6bc476aaff9b55722e00baf0dcb2038eb51ffe0adb2a84986d16ff3680b9552f",
        );
    }

    #[test]
    fn a_url_ends_with_its_credential_and_not_later() {
        let keys = S3Keys {
            access_key_id: "VKX".to_owned(),
            secret_access_key: Secret::new("s".to_owned()),
            session_token: Secret::new("t".to_owned()),
            expiration: "2026-01-01T00:02:00Z".parse().unwrap(),
        };
        let bucket = BucketName::parse("lake").unwrap();
        let now: Timestamp = "2026-01-01T00:01:00.9Z".parse().unwrap();
        let until = "2026-01-01T09:00:00Z".parse().unwrap();
        let sign = |now| S3Urls::new(&storage("http://127.0.0.1:1"), &keys, &bucket, now, until);
        let urls = sign(now).unwrap();
        assert!(urls.url(b"b").unwrap().reveal().starts_with("http://127.0.0.1:1/lake/b?"));
        assert!(
            urls.url(b"a").unwrap().reveal().contains("&X-Amz-Expires=60&"),
            "{}",
            urls.url(b"a").unwrap().reveal()
        );
        assert!(sign("2026-01-01T00:02:00Z".parse().unwrap()).is_err());
    }

    fn token(jwt: &str) -> String {
        data_encoding::BASE64.encode(format!("jwt/{jwt}").as_bytes())
    }

    const V1: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJidWNrZXQiOiJteS1idWNrZXQiLCJzY29wZSI6Im9iamVjdC1yZWFkLW9ubHkiLCJzdWIiOiIwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZiIsImlzcyI6IjExMTEyMjIyMzMzMzQ0NDQ1NTU1NjY2Njc3Nzc4ODg4IiwiYXVkIjoiMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYucjIuY2xvdWRmbGFyZXN0b3JhZ2UuY29tIiwiaWF0IjoxNzY3MjI1NjAwLCJleHAiOjE3NjcyMjY1MDB9.kie-dMnMxpg27h9Q_dPnKpRsTpO7vW5rMVHmjuahQKg";
    const V2: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJidWNrZXQiOiJ0ZW5hbnQtZGF0YSIsInNjb3BlIjoib2JqZWN0LXJlYWQtd3JpdGUiLCJhY3Rpb25zIjpbIkdldE9iamVjdCIsIkhlYWRPYmplY3QiLCJQdXRPYmplY3QiXSwicGF0aHMiOnsicHJlZml4UGF0aHMiOlsidXBsb2Fkcy91c2VyLTEyMy8iLCLml6XmnKwvIl0sIm9iamVjdFBhdGhzIjpbInNoYXJlZC9tYW5pZmVzdC5qc29uIl19LCJzdWIiOiIwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZiIsImlzcyI6ImFhYWFiYmJiY2NjY2RkZGRlZWVlZmZmZjAwMDAxMTExIiwiYXVkIjoiMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYuZXUucjIuY2xvdWRmbGFyZXN0b3JhZ2UuY29tIiwiaWF0IjoxNzY3MjI1NjAwLCJleHAiOjE3Njc4MzA0MDB9.iEgbDWGLbXAHNDxOULswPj1c1ep65aK0sStjkai1sv4";
}
