//! Signature Version 4 of what this folder asks: a `POST` of a form, without a query.

use aws_lc_rs::{digest, hmac};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::sts::parent::Keys;

/// The type of the body; it is signed.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// What the signature is made for.
pub(crate) struct Target<'a> {
    pub(crate) host: &'a str,
    /// As it is sent.
    pub(crate) path: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

/// What has to be sent along.
pub(crate) struct Signed {
    pub(crate) date: String,
    pub(crate) authorization: String,
}

/// Signs (AWS General Reference, "Signature Version 4 signing process").
pub(crate) fn sign(target: &Target<'_>, body: &[u8], keys: &Keys, now: Timestamp) -> Signed {
    let sha256 = |bytes: &[u8]| HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref());
    let date = now.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
    let day = date.get(..8).unwrap_or_default();
    let Target { host, path, region, service } = target;
    let (token_line, token_name) = match &keys.session_token {
        Some(token) => (format!("x-amz-security-token:{}\n", token.reveal()), ";x-amz-security-token"),
        None => (String::new(), ""),
    };
    let names = format!("content-type;host;x-amz-date{token_name}");
    let canonical = format!(
        "POST\n{path}\n\ncontent-type:{FORM}\nhost:{host}\nx-amz-date:{date}\n{token_line}\n{names}\n{}",
        sha256(body)
    );
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let secret = zeroize::Zeroizing::new(format!("AWS4{}", keys.secret_access_key.reveal()));
    let key = [day, region, service, "aws4_request"]
        .into_iter()
        .fold(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), |key, part| {
            hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref())
        });
    let signature = HEXLOWER.encode(hmac::sign(&key, to_sign.as_bytes()).as_ref());
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        keys.access_key_id
    );
    Signed { date, authorization }
}
