//! What signs: a secret, for a day, a region and a service.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use valetkey_core::Secret;
use zeroize::Zeroizing;

use crate::{ALGORITHM, TERMINATOR};

/// The digest of a body, as it is signed.
pub fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}

/// Derives the key of a secret for a day, a region and a service (AWS General Reference, "Signature Version 4 signing process").
pub(crate) fn derive(secret_access_key: &Secret<String>, day: &str, region: &str, service: &str) -> Key {
    let secret = Zeroizing::new(format!("AWS4{}", secret_access_key.reveal()));
    let first = Key::new(HMAC_SHA256, secret.as_bytes());
    let step = |key: Key, part: &str| Key::new(HMAC_SHA256, sign(&key, part.as_bytes()).as_ref());
    [day, region, service, TERMINATOR].into_iter().fold(first, step)
}

/// A request in its canonical form.
pub(crate) fn canonical(
    method: &str,
    path: &str,
    query: &str,
    (headers, names): (&str, &str),
    payload: &str,
) -> Zeroizing<String> {
    Zeroizing::new(format!("{method}\n{path}\n{query}\n{headers}\n{names}\n{payload}"))
}

/// What is signed of a request in its canonical form.
pub(crate) fn to_sign(time: &str, scope: &str, canonical: &str) -> String {
    format!("{ALGORITHM}\n{time}\n{scope}\n{}", sha256(canonical.as_bytes()))
}

/// What signs: a secret, for an instant and a place. Derived once for many signatures.
pub struct SigningKey {
    /// The instant, as it is sent.
    pub date: String,
    /// What the signature counts for.
    pub scope: String,
    derived: Key,
}

impl SigningKey {
    /// Derives it.
    pub fn new(secret_access_key: &Secret<String>, now: Timestamp, region: &str, service: &str) -> Self {
        let date = now.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = date.get(..8).unwrap_or_default();
        let derived = derive(secret_access_key, day, region, service);
        let scope = format!("{day}/{region}/{service}/{TERMINATOR}");
        Self { date, scope, derived }
    }

    /// Signs a request of which only the host is signed and the body is not, as presigned URLs have it. The query is in its
    /// canonical form.
    pub fn presign(&self, method: &str, host: &str, path: &str, query: &str) -> String {
        let headers = format!("host:{host}\n");
        self.sign(&canonical(method, path, query, (&headers, "host"), "UNSIGNED-PAYLOAD"))
    }

    /// Signs what follows a signature: a chunk of a body, or what is told behind the last one.
    pub(crate) fn follow(&self, what: &str, last: &str, sums: &str) -> String {
        let to_sign = format!("{ALGORITHM}-{what}\n{}\n{}\n{last}\n{sums}", self.date, self.scope);
        HEXLOWER.encode(sign(&self.derived, to_sign.as_bytes()).as_ref())
    }

    /// Signs a request in its canonical form.
    pub(crate) fn sign(&self, canonical: &str) -> String {
        let to_sign = to_sign(&self.date, &self.scope, canonical);
        HEXLOWER.encode(sign(&self.derived, to_sign.as_bytes()).as_ref())
    }
}
