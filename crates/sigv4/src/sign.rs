//! Signs a request that is sent, in its headers.

use jiff::Timestamp;
use valetkey_core::Secret;
use zeroize::Zeroizing;

use crate::ALGORITHM;
use crate::key::{SigningKey, canonical};

/// A request, as it is sent.
pub struct Signing<'a> {
    /// The method.
    pub method: &'a str,
    /// The port only where it is not the scheme's own.
    pub host: &'a str,
    /// In its canonical form.
    pub path: &'a str,
    /// In order of its names.
    pub query: &'a str,
    /// One header that is signed beside those that always are. Its name comes before `x-amz-date`.
    pub header: (&'a str, &'a str),
    /// The body's digest, or what is told instead of it.
    pub body_sha256: &'a str,
    /// The region.
    pub region: &'a str,
    /// The service.
    pub service: &'a str,
}

/// Whose signature it is.
pub struct Signer<'a> {
    /// Public.
    pub access_key_id: &'a str,
    /// What signs.
    pub secret_access_key: &'a Secret<String>,
    /// Signed too, and sent along.
    pub session_token: Option<&'a Secret<String>>,
}

/// What has to be sent along, beside the session token.
pub struct Signed {
    /// For `x-amz-date`.
    pub date: String,
    /// For `authorization`.
    pub authorization: String,
}

/// Signs a request, for its headers: a URL would hold the session token, and URLs are logged.
pub fn sign(request: &Signing<'_>, signer: &Signer<'_>, now: Timestamp) -> Signed {
    let Signing { method, host, path, query, header: (name, value), body_sha256, region, service } = request;
    let key = SigningKey::new(signer.secret_access_key, now, region, service);
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
    let signature = key.sign(&canonical(method, path, query, (&lines, &names), body_sha256));
    let authorization = format!(
        "{ALGORITHM} Credential={}/{}, SignedHeaders={names}, Signature={signature}",
        signer.access_key_id, key.scope
    );
    Signed { date: key.date, authorization }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::sha256;

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
