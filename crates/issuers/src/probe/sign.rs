//! Signature Version 4 of single S3 requests, in their headers: a URL would hold the session token, and URLs are logged.

use aws_lc_rs::{digest, hmac};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use valetkey_core::Secret;

/// What is signed; path and query as they are sent, the query in order of its names.
pub(super) struct Signing<'a> {
    pub(super) method: &'a str,
    /// The port only where it is not the scheme's own.
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) body: &'a [u8],
    pub(super) region: &'a str,
}

/// Whose signature it is.
pub(super) struct Signer<'a> {
    pub(super) access_key_id: &'a str,
    pub(super) secret_access_key: &'a Secret<String>,
    pub(super) session_token: Option<&'a Secret<String>>,
}

/// What has to be sent along.
pub(super) struct Signed {
    pub(super) date: String,
    pub(super) body_sha256: String,
    pub(super) authorization: String,
}

/// Signs (Amazon S3 API Reference, "Authenticating Requests: Using the Authorization Header").
pub(super) fn sign(request: &Signing<'_>, signer: &Signer<'_>, now: Timestamp) -> Signed {
    let sha256 = |bytes: &[u8]| HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref());
    let Signing { method, host, path, query, body, region } = request;
    let date = now.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
    let day = date.get(..8).unwrap_or_default();
    let body_sha256 = sha256(body);
    let (token_line, token_name) = match signer.session_token {
        Some(token) => (format!("x-amz-security-token:{}\n", token.reveal()), ";x-amz-security-token"),
        None => (String::new(), ""),
    };
    let names = format!("host;x-amz-content-sha256;x-amz-date{token_name}");
    let canonical = zeroize::Zeroizing::new(format!(
        "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{body_sha256}\nx-amz-date:{date}\n{token_line}\n{names}\n{body_sha256}"
    ));
    let scope = format!("{day}/{region}/s3/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let secret = zeroize::Zeroizing::new(format!("AWS4{}", signer.secret_access_key.reveal()));
    let key = [day, region, "s3", "aws4_request"]
        .iter()
        .fold(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), |key, part| {
            hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref())
        });
    let signature = HEXLOWER.encode(hmac::sign(&key, to_sign.as_bytes()).as_ref());
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        signer.access_key_id
    );
    Signed { date, body_sha256, authorization }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the reference itself.
    #[test]
    fn signatures_are_the_published_ones() {
        for (query, signature) in [
            ("lifecycle=", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            ("max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
        ] {
            let request = Signing {
                method: "GET",
                host: "examplebucket.s3.amazonaws.com",
                path: "/",
                query,
                body: b"",
                region: "us-east-1",
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
