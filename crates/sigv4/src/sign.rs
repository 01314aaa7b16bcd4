//! Signs a request that is sent, in its headers.

use http::HeaderMap;
use jiff::Timestamp;
use valetkey_core::Secret;
use zeroize::Zeroizing;

use crate::ALGORITHM;
use crate::key::{SigningKey, canonical, sha256};
use crate::refused::Refused;

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

/// A request whose headers are all signed: what another changes on the way is then refused.
pub struct Whole<'a> {
    /// The method.
    pub method: &'a str,
    /// In its canonical form.
    pub path: &'a str,
    /// In its canonical form.
    pub query: &'a str,
    /// All that are sent and are to be signed; the host, the time, the body's digest and the session token are among them.
    pub headers: &'a HeaderMap,
    /// The body's digest, or what is told instead of it.
    pub body_sha256: &'a str,
}

/// The proof of such a request.
pub struct Proof {
    /// For `authorization`.
    pub authorization: String,
    /// What the chunks of its body are signed with, if it has any.
    pub chunks: ChunkSigner,
}

/// Signs the chunks of a body, one behind the other.
pub struct ChunkSigner {
    key: SigningKey,
    last: String,
}

impl ChunkSigner {
    /// The signature of the next chunk.
    pub fn chunk(&mut self, bytes: &[u8]) -> &str {
        let sums = format!("{}\n{}", sha256(b""), sha256(bytes));
        self.last = self.key.follow("PAYLOAD", &self.last, &sums);
        &self.last
    }

    /// The signature of what is told behind the last chunk: lines of names and values.
    pub fn trailer(&self, lines: &str) -> String {
        self.key.follow("TRAILER", &self.last, &sha256(lines.as_bytes()))
    }
}

/// Signs all headers of a request.
///
/// # Errors
/// [`Refused::HeaderNotText`] when a value is not UTF-8: it could not be signed.
pub fn sign_whole(request: &Whole<'_>, access_key_id: &str, key: SigningKey) -> Result<Proof, Refused> {
    let Whole { method, path, query, headers, body_sha256 } = request;
    let mut names: Vec<&str> = headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    let mut lines = Zeroizing::new(String::with_capacity(512));
    for name in &names {
        lines.push_str(name);
        for (at, value) in headers.get_all(*name).iter().enumerate() {
            let value = std::str::from_utf8(value.as_bytes()).map_err(|_| Refused::HeaderNotText)?;
            lines.push(if at == 0 { ':' } else { ',' });
            for (at, word) in value.split_ascii_whitespace().enumerate() {
                if at > 0 {
                    lines.push(' ');
                }
                lines.push_str(word);
            }
        }
        lines.push('\n');
    }
    let names = names.join(";");
    let signature = key.sign(&canonical(method, path, query, (&lines, &names), body_sha256));
    let authorization =
        format!("{ALGORITHM} Credential={access_key_id}/{}, SignedHeaders={names}, Signature={signature}", key.scope);
    Ok(Proof { authorization, chunks: ChunkSigner { key, last: signature } })
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

    /// The example of the reference itself (Amazon S3 API Reference, "Signature Calculations: Transferring Payload in Multiple
    /// Chunks").
    #[test]
    fn headers_and_chunks_are_signed_as_published() {
        let body_sha256 = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
        let headers = [
            ("host", "s3.amazonaws.com"),
            ("x-amz-date", "20130524T000000Z"),
            ("x-amz-storage-class", " REDUCED_REDUNDANCY "),
            ("x-amz-content-sha256", body_sha256),
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "66560"),
            ("content-length", "66824"),
        ];
        let headers: HeaderMap =
            headers.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let path = "/examplebucket/chunkObject.txt";
        let request = Whole { method: "PUT", path, query: "", headers: &headers, body_sha256 };
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned());
        let key = || SigningKey::new(&secret, "2013-05-24T00:00:00Z".parse().unwrap(), "us-east-1", "s3");
        let mut proof = sign_whole(&request, "AKIAIOSFODNN7EXAMPLE", key()).unwrap();
        let seed = "Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        assert!(proof.authorization.ends_with(seed), "{}", proof.authorization);
        let body = vec![b'a'; 66_560];
        for (chunk, signature) in [
            (&body[..65_536], "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
            (&body[65_536..], "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
            (&[], "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
        ] {
            assert_eq!(proof.chunks.chunk(chunk), signature);
        }
        let mut strange = headers.clone();
        strange.insert("x-amz-meta-a", http::HeaderValue::from_bytes(b"\xff").unwrap());
        let request = Whole { headers: &strange, ..request };
        assert_eq!(sign_whole(&request, "AKIA", key()).map(drop), Err(Refused::HeaderNotText));
    }
}
