//! AWS's Signature Version 4 as this crate needs it: of requests, in their headers, and of many URLs with one key.

use aws_lc_rs::{digest, hmac};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use valetkey_core::Secret;
use zeroize::Zeroizing;

/// What signs: a secret, for an instant and a place.
pub(crate) struct Key {
    /// The instant, as it is sent.
    pub(crate) date: String,
    /// What the signature counts for.
    pub(crate) scope: String,
    derived: hmac::Key,
}

impl Key {
    /// Derives it (AWS General Reference, "Signature Version 4 signing process").
    pub(crate) fn new(secret_access_key: &Secret<String>, now: Timestamp, region: &str, service: &str) -> Self {
        let date = now.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = date.get(..8).unwrap_or_default();
        let secret = Zeroizing::new(format!("AWS4{}", secret_access_key.reveal()));
        let derived = [day, region, service, "aws4_request"]
            .into_iter()
            .fold(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), |key, part| {
                hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref())
            });
        let scope = format!("{day}/{region}/{service}/aws4_request");
        Self { date, scope, derived }
    }

    /// Signs a request in its canonical form.
    pub(crate) fn sign(&self, canonical: &str) -> String {
        let Self { date, scope, derived } = self;
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
        HEXLOWER.encode(hmac::sign(derived, to_sign.as_bytes()).as_ref())
    }
}

/// The digest of a body, as it is signed.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// A request, as it is sent.
pub(crate) struct Signing<'a> {
    pub(crate) method: &'a str,
    /// The port only where it is not the scheme's own.
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    /// In order of its names.
    pub(crate) query: &'a str,
    /// One header that is signed beside those that always are. Its name comes before `x-amz-date`.
    pub(crate) header: (&'a str, &'a str),
    pub(crate) body_sha256: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

/// Whose signature it is.
pub(crate) struct Signer<'a> {
    pub(crate) access_key_id: &'a str,
    pub(crate) secret_access_key: &'a Secret<String>,
    pub(crate) session_token: Option<&'a Secret<String>>,
}

/// What has to be sent along, beside the session token.
pub(crate) struct Signed {
    pub(crate) date: String,
    pub(crate) authorization: String,
}

/// Signs a request, for its headers: a URL would hold the session token, and URLs are logged.
pub(crate) fn sign(request: &Signing<'_>, signer: &Signer<'_>, now: Timestamp) -> Signed {
    let Signing { method, host, path, query, header: (name, value), body_sha256, region, service } = request;
    let key = Key::new(signer.secret_access_key, now, region, service);
    let mut headers = [("host", *host), (*name, *value), ("x-amz-date", key.date.as_str())];
    headers.sort_unstable();
    let mut lines: Zeroizing<String> =
        Zeroizing::new(headers.map(|(name, value)| format!("{name}:{value}\n")).concat());
    let mut names = headers.map(|(name, _)| name).join(";");
    if let Some(token) = signer.session_token {
        lines.push_str("x-amz-security-token:");
        lines.push_str(token.reveal());
        lines.push('\n');
        names.push_str(";x-amz-security-token");
    }
    let canonical = Zeroizing::new(format!("{method}\n{path}\n{query}\n{}\n{names}\n{body_sha256}", *lines));
    let signature = key.sign(&canonical);
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={names}, Signature={signature}",
        signer.access_key_id, key.scope
    );
    Signed { date: key.date, authorization }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the reference itself (Amazon S3 API Reference, "Authenticating Requests: Using the Authorization Header").
    #[test]
    fn signatures_are_the_published_ones() {
        for (query, signature) in [
            ("lifecycle=", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            ("max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
        ] {
            let body_sha256 = sha256(b"");
            let request = Signing {
                method: "GET",
                host: "examplebucket.s3.amazonaws.com",
                path: "/",
                query,
                header: ("x-amz-content-sha256", &body_sha256),
                body_sha256: &body_sha256,
                region: "us-east-1",
                service: "s3",
            };
            let who = Signer {
                access_key_id: "AKIAIOSFODNN7EXAMPLE",
                secret_access_key: &Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()),
                session_token: None,
            };
            let signed = sign(&request, &who, "2013-05-24T00:00:00Z".parse().unwrap());
            assert!(signed.authorization.ends_with(&format!("Signature={signature}")), "{}", signed.authorization);
        }
    }
}
