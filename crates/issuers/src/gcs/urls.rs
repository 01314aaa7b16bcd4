//! URLs of single objects, signed with a service account's key ("V4 signing process with your own program", Cloud Storage).
//!
//! SECURITY: what Google asks is whether the service account may get the object, not what was vended. So each URL is made for one object
//! that the credential opens, and for no longer.

use std::fmt::Write as _;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use jiff::tz::TimeZone;
use valetkey_core::port::SignedUrls;
use valetkey_core::scope::Rights;
use valetkey_core::{Error, Secret};
use valetkey_sigv4::{Slash, encode, sha256};

use crate::gcs::key::ServiceKey;
use crate::presign::alone;
use crate::upstream::UrlWish;

const ALGORITHM: &str = "GOOG4-RSA-SHA256";

/// Signs URLs of objects.
pub(super) struct Urls {
    key: Arc<ServiceKey>,
    rights: Rights,
    scheme: Box<str>,
    host: Box<str>,
    /// The path up to the object's key.
    before: String,
    date: String,
    scope: String,
    query: String,
}

impl Urls {
    /// Makes ready what all URLs have in common.
    pub(super) fn new(key: Arc<ServiceKey>, wish: &UrlWish<'_>) -> Result<Self, Error> {
        let UrlWish { endpoint, credential: _, rights, now, until } = *wish;
        // Whole seconds, cut at both ends, so that no URL says it lives longer than it does.
        let life = until.as_second().saturating_sub(now.as_second());
        if life < 1 {
            return Err(Error::internal("a URL would end before it begins"));
        }
        let unreadable = || Error::internal("the storage's endpoint is not a URL");
        let (scheme, host) = endpoint.trim_end_matches('/').split_once("://").ok_or_else(unreadable)?;
        let (host, base) =
            host.split_once('/').map_or((host, String::new()), |(host, base)| (host, format!("/{base}")));
        let date = now.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
        let scope = format!("{}/auto/storage/goog4_request", date.get(..8).unwrap_or_default());
        let mut query = format!("X-Goog-Algorithm={ALGORITHM}&X-Goog-Credential=");
        encode(format!("{}/{scope}", key.email()).as_bytes(), Slash::Encoded, &mut query);
        // Writing to a string cannot fail.
        let _ = write!(query, "&X-Goog-Date={date}&X-Goog-Expires={life}&X-Goog-SignedHeaders=host");
        let before = format!("{base}/{}/", rights.bucket());
        Ok(Self { key, rights: rights.clone(), scheme: scheme.into(), host: host.into(), before, date, scope, query })
    }
}

impl SignedUrls for Urls {
    fn url(&self, key: &[u8]) -> Result<Secret<String>, Error> {
        alone(&self.rights, key)?;
        let Self { key: signs, rights: _, scheme, host, before, date, scope, query } = self;
        let mut path = before.clone();
        encode(key, Slash::Kept, &mut path);
        let canonical = format!("GET\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
        let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
        let signature = HEXLOWER.encode(&signs.sign(to_sign.as_bytes())?);
        Ok(Secret::new(format!("{scheme}://{host}{path}?{query}&X-Goog-Signature={signature}")))
    }
}
