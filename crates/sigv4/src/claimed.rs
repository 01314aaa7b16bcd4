//! What a request claims to prove who asks, and whether it does.

use aws_lc_rs::hmac::{Key, verify};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use http::header::{AUTHORIZATION, HOST, HeaderName};
use http::request::Parts;
use jiff::{SignedDuration, Timestamp, civil, tz};
use valetkey_core::Secret;

use crate::encoding::encode_path;
use crate::key::{canonical, derive, sha256, to_sign};
use crate::query::Query;
use crate::refused::{Malformed, Place, Refused};
use crate::{ALGORITHM, TERMINATOR};

/// How far a request's clock may be from ours. Amazon S3 API Reference, "Error responses": `RequestTimeTooSkewed`.
const SKEW: SignedDuration = SignedDuration::from_secs(15 * 60);
/// The longest a presigned URL may live. Amazon S3 User Guide, "Query parameters": `X-Amz-Expires`.
const MAX_EXPIRES_SECS: i64 = 604_800;

/// Where the digest of the body is told.
pub const CONTENT_SHA256: &str = "x-amz-content-sha256";
const SECURITY_TOKEN: &str = "x-amz-security-token";
const AMZ_DATE: &str = "x-amz-date";

/// What a request says of its body's digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Payload {
    /// Nothing (`UNSIGNED-PAYLOAD`).
    Unsigned,
    /// This digest.
    Digest([u8; 32]),
    /// Signed chunks; with signed trailers or without.
    SignedChunks {
        /// Whether there are trailers.
        trailer: bool,
    },
    /// Unsigned chunks with trailers.
    UnsignedChunks,
}

impl Payload {
    fn parse(text: &str) -> Result<Self, Refused> {
        match text {
            "UNSIGNED-PAYLOAD" => Ok(Self::Unsigned),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Ok(Self::SignedChunks { trailer: false }),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Ok(Self::SignedChunks { trailer: true }),
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Ok(Self::UnsignedChunks),
            "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD" | "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER" => {
                Err(Refused::Ecdsa)
            }
            digest => {
                let bytes = HEXLOWER_PERMISSIVE.decode(digest.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
                bytes.map(Self::Digest).ok_or(Refused::Digest)
            }
        }
    }
}

/// How a request proves who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Header,
    Query { expires: SignedDuration },
}

impl Form {
    const fn place(self) -> Place {
        match self {
            Self::Header => Place::Header,
            Self::Query { .. } => Place::Query,
        }
    }
}

/// What a request claims. Nothing of it is verified but [`Claimed::verify`] says so.
#[derive(Debug)]
pub struct Claimed {
    form: Form,
    /// The access key id.
    pub unverified_key_id: String,
    /// The session token, if there is one.
    pub unverified_token: Option<Secret<String>>,
    /// `YYYYMMDD/region/service/aws4_request`.
    scope: String,
    region: String,
    service: String,
    date: String,
    time: Timestamp,
    time_text: String,
    signed_headers: Vec<String>,
    signature: Vec<u8>,
    payload_text: String,
    /// What it says of its body.
    pub payload: Payload,
}

/// What verifying leaves for the chunks of the body to be verified with.
pub struct ChunkKey {
    /// The signing key.
    pub key: Key,
    /// The signature before the first chunk's, in hex.
    pub seed: String,
    /// The request's time, as written.
    pub time: String,
    /// The credential scope.
    pub scope: String,
}

/// A header's value if the header is there at most once.
///
/// # Errors
/// [`Refused::HeaderTwice`]: what is signed and what is read could part. [`Refused::HeaderNotText`].
pub fn single<'p>(parts: &'p Parts, name: &HeaderName) -> Result<Option<&'p str>, Refused> {
    let mut all = parts.headers.get_all(name).iter();
    let Some(value) = all.next() else { return Ok(None) };
    if all.next().is_some() {
        return Err(Refused::HeaderTwice);
    }
    value.to_str().map(Some).map_err(|_| Refused::HeaderNotText)
}

fn header(parts: &Parts, name: &'static str) -> Result<Option<String>, Refused> {
    Ok(single(parts, &HeaderName::from_static(name))?.map(str::to_owned))
}

/// The access key id of a request that is signed with version 2, which is not verified here: whoever knows what the id is may have
/// words of its own for it.
///
/// # Errors
/// As [`single`].
pub fn version_2_key_id<'p>(parts: &'p Parts, query: &'p Query) -> Result<Option<&'p str>, Refused> {
    let authorization = single(parts, &AUTHORIZATION)?;
    let in_header = || authorization?.strip_prefix("AWS ")?.split_once(':').map(|(id, _)| id);
    Ok(query.once("AWSAccessKeyId").or_else(in_header))
}

/// Reads `20130524T000000Z`.
fn read_time(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let shape = bytes.len() == 16
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 => *byte == b'T',
            15 => *byte == b'Z',
            _ => byte.is_ascii_digit(),
        });
    if !shape {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i16>().ok();
    let small = |from, to| i8::try_from(number(from, to)?).ok();
    let time = civil::DateTime::new(
        number(0, 4)?,
        small(4, 6)?,
        small(6, 8)?,
        small(9, 11)?,
        small(11, 13)?,
        small(13, 15)?,
        0,
    );
    tz::TimeZone::UTC.to_timestamp(time.ok()?).ok()
}

impl Claimed {
    /// Reads what a request claims, in whichever of the two forms, for a service.
    ///
    /// # Errors
    /// What cannot be read, or is for another service.
    pub fn read(parts: &Parts, query: &Query, service: &str) -> Result<Self, Refused> {
        Self::read_told(parts, query, service, None)
    }

    /// The same of a request for a service whose bodies are small and read before anything is done: it need not tell its body's digest.
    /// What it says of that counts for nothing, and [`Self::of_body`] must be called before it is verified.
    ///
    /// # Errors
    /// What cannot be read, or is for another service.
    pub fn read_bodied(parts: &Parts, query: &Query, service: &str) -> Result<Self, Refused> {
        Self::read_told(parts, query, service, Some("UNSIGNED-PAYLOAD"))
    }

    /// The same with the body, which the signature then covers whatever the request says of it.
    ///
    /// # Errors
    /// [`Refused::TwoDigests`] where the request tells another digest than the body's.
    pub fn of_body(mut self, body: &[u8]) -> Result<Self, Refused> {
        let own = sha256(body);
        let told = match self.payload {
            Payload::Unsigned => true,
            Payload::Digest(told) => HEXLOWER.encode(&told) == own,
            Payload::SignedChunks { .. } | Payload::UnsignedChunks => false,
        };
        self.payload_text = own;
        if told { Ok(self) } else { Err(Refused::TwoDigests) }
    }

    fn read_told(parts: &Parts, query: &Query, service: &str, untold: Option<&str>) -> Result<Self, Refused> {
        let authorization = single(parts, &AUTHORIZATION)?;
        if query.has("AWSAccessKeyId") || query.has("Signature") {
            return Err(Refused::Version2);
        }
        let in_query = ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders"];
        let presigned = in_query.into_iter().any(|name| query.has_any_case(name));
        match (authorization, presigned) {
            (None, false) => Err(Refused::Missing),
            (Some(_), true) => Err(Refused::Twice),
            (Some(authorization), false) => Self::read_header(parts, authorization, service, untold),
            (None, true) => Self::read_query(parts, query, service),
        }
    }

    fn read_header(parts: &Parts, authorization: &str, service: &str, untold: Option<&str>) -> Result<Self, Refused> {
        let bad = |what| Refused::Malformed(Place::Header, what);
        let Some(fields) = authorization.strip_prefix(ALGORITHM).filter(|rest| rest.starts_with([' ', '\t'])) else {
            return Err(Refused::Mechanism);
        };
        let (mut credential, mut signed, mut signature) = (None, None, None);
        for field in fields.split(',') {
            let (name, value) = field.trim().split_once('=').ok_or(bad(Malformed::NoValue))?;
            let slot = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed,
                "Signature" => &mut signature,
                _ => return Err(bad(Malformed::UnknownField)),
            };
            if slot.replace(value).is_some() {
                return Err(bad(Malformed::FieldTwice));
            }
        }
        let (Some(credential), Some(signed), Some(signature)) = (credential, signed, signature) else {
            return Err(bad(Malformed::MissingField));
        };
        let time = header(parts, AMZ_DATE)?.ok_or(Refused::Time)?;
        let told = header(parts, CONTENT_SHA256)?;
        let payload = told.or_else(|| untold.map(str::to_owned)).ok_or(Refused::NoDigest)?;
        let token = header(parts, SECURITY_TOKEN)?;
        Self::new(Form::Header, (credential, signed, signature), time, (token, payload), service)
    }

    fn read_query(parts: &Parts, query: &Query, service: &str) -> Result<Self, Refused> {
        let bad = |what| Refused::Malformed(Place::Query, what);
        let field = |name: &str| query.once(name).ok_or(bad(Malformed::MissingField));
        if field("X-Amz-Algorithm")? != ALGORITHM {
            return Err(bad(Malformed::Algorithm));
        }
        let expires: i64 =
            field("X-Amz-Expires")?.parse().ok().filter(|secs| (1..=MAX_EXPIRES_SECS).contains(secs)).ok_or_else(
                || {
                    let key_id = query.once("X-Amz-Credential").and_then(|text| text.split('/').next());
                    Refused::Expires(key_id.map(str::to_owned))
                },
            )?;
        // SECURITY: the header would be read by nobody, and so must not be there to be believed.
        if header(parts, SECURITY_TOKEN)?.is_some() {
            return Err(Refused::TwoTokens);
        }
        let token = if query.has_any_case("X-Amz-Security-Token") {
            Some(field("X-Amz-Security-Token")?.to_owned())
        } else {
            None
        };
        let signed = field("X-Amz-SignedHeaders")?;
        let told = header(parts, CONTENT_SHA256)?;
        let is_signed = signed.split(';').any(|name| name == CONTENT_SHA256);
        let in_query = query.has_any_case("X-Amz-Content-Sha256").then(|| field("X-Amz-Content-Sha256")).transpose()?;
        // The digest that is part of what was signed; the body is held against the header's in any case.
        let payload = match (in_query, &told) {
            (Some(payload), _) => payload.to_owned(),
            (None, Some(told)) if is_signed => told.clone(),
            (None, _) => "UNSIGNED-PAYLOAD".to_owned(),
        };
        let proof = (field("X-Amz-Credential")?, signed, field("X-Amz-Signature")?);
        let form = Form::Query { expires: SignedDuration::from_secs(expires) };
        let mut claimed = Self::new(form, proof, field("X-Amz-Date")?.to_owned(), (token, payload), service)?;
        if let Some(told) = told {
            let told = Payload::parse(&told)?;
            match (claimed.payload, told) {
                (Payload::Unsigned, told) => claimed.payload = told,
                (signed, told) if signed == told => {}
                _ => return Err(Refused::TwoDigests),
            }
        }
        match claimed.payload {
            Payload::Unsigned | Payload::Digest(_) => Ok(claimed),
            Payload::SignedChunks { .. } | Payload::UnsignedChunks => Err(Refused::PresignedChunks),
        }
    }

    fn new(
        form: Form,
        (credential, signed, signature): (&str, &str, &str),
        time_text: String,
        (token, payload_text): (Option<String>, String),
        own_service: &str,
    ) -> Result<Self, Refused> {
        let bad = |what| Refused::Malformed(form.place(), what);
        let pieces: Vec<&str> = credential.split('/').collect();
        let [key_id, date, region, service, terminator] = *pieces else {
            return Err(bad(Malformed::Credential));
        };
        if service != own_service {
            return Err(bad(Malformed::Service));
        }
        // The region may be any, and empty: one store has no regions to tell apart.
        if terminator != TERMINATOR || key_id.is_empty() {
            return Err(bad(Malformed::Terminator));
        }
        let time = read_time(&time_text).ok_or(Refused::Time)?;
        if time_text.get(..8) != Some(date) {
            return Err(bad(Malformed::Date));
        }
        let mut signed_headers: Vec<String> = signed.split(';').map(str::to_owned).collect();
        signed_headers.sort_unstable();
        let clean = |name: &String| !name.is_empty() && !name.bytes().any(|byte| byte.is_ascii_uppercase());
        let count = signed_headers.len();
        signed_headers.dedup();
        if signed_headers.len() != count || !signed_headers.iter().all(clean) {
            return Err(bad(Malformed::SignedHeaders));
        }
        let signature =
            HEXLOWER.decode(signature.as_bytes()).ok().filter(|bytes| bytes.len() == 32).ok_or(Refused::Mismatch)?;
        let payload = Payload::parse(&payload_text)?;
        Ok(Self {
            form,
            unverified_key_id: key_id.to_owned(),
            unverified_token: token.map(Secret::new),
            scope: format!("{date}/{region}/{service}/{terminator}"),
            region: region.to_owned(),
            service: service.to_owned(),
            date: date.to_owned(),
            time,
            time_text,
            signed_headers,
            signature,
            payload_text,
            payload,
        })
    }

    /// Whether the proof is in a URL, which others than the credential's holder may have.
    pub fn is_presigned(&self) -> bool {
        matches!(self.form, Form::Query { .. })
    }

    /// Refuses a request in which something that counts is not covered by the signature.
    ///
    /// # Errors
    /// [`Refused::Uncovered`].
    pub fn covered(&self, parts: &Parts) -> Result<(), Refused> {
        let is_signed = |name: &str| self.signed_headers.binary_search_by(|own| own.as_str().cmp(name)).is_ok();
        let counts = |name: &HeaderName| {
            let name = name.as_str();
            // The digest and the time are signed in a line of their own; the agent's name changes nothing.
            let elsewhere = match self.form {
                Form::Header => [CONTENT_SHA256, AMZ_DATE, "x-amz-user-agent"].contains(&name),
                Form::Query { .. } => [CONTENT_SHA256, "x-amz-user-agent"].contains(&name),
            };
            name.starts_with("x-amz-") && !elsewhere
        };
        let uncovered = parts.headers.keys().any(|name| counts(name) && !is_signed(name.as_str()));
        if uncovered || !is_signed(HOST.as_str()) {
            return Err(Refused::Uncovered);
        }
        Ok(())
    }

    /// Refuses a request whose time is not now.
    ///
    /// # Errors
    /// [`Refused::Skewed`], [`Refused::NotYet`] or [`Refused::Expired`].
    pub fn timely(&self, now: Timestamp) -> Result<(), Refused> {
        let ahead = self.time.duration_since(now);
        match self.form {
            Form::Header if ahead.abs() > SKEW => Err(Refused::Skewed),
            Form::Query { .. } if ahead > SKEW => Err(Refused::NotYet),
            Form::Query { expires } if now.duration_since(self.time) > expires => Err(Refused::Expired),
            Form::Header | Form::Query { .. } => Ok(()),
        }
    }

    /// Verifies the signature.
    ///
    /// # Errors
    /// [`Refused::Mismatch`].
    pub fn verify(
        &self,
        parts: &Parts,
        path: &str,
        query: &Query,
        host: &str,
        secret: &Secret<String>,
    ) -> Result<ChunkKey, Refused> {
        let key = derive(secret, &self.date, &self.region, &self.service);
        let canonical_path = encode_path(path);
        let query = query.canonical();
        let names = self.signed_headers.join(";");
        let fits = |path: &str, headers: &str| {
            let request = canonical(parts.method.as_str(), path, &query, (headers, &names), &self.payload_text);
            verify(&key, to_sign(&self.time_text, &self.scope, &request).as_bytes(), &self.signature).is_ok()
        };
        // Some clients sign the path as they send it, with characters in it that others encode.
        let raw = parts.uri.path();
        for host in spellings(host) {
            let headers = self.canonical_headers(parts, &host)?;
            if fits(&canonical_path, &headers) || (raw != canonical_path && fits(raw, &headers)) {
                let (time, scope) = (self.time_text.clone(), self.scope.clone());
                return Ok(ChunkKey { key, seed: HEXLOWER.encode(&self.signature), time, scope });
            }
        }
        Err(Refused::Mismatch)
    }

    fn canonical_headers(&self, parts: &Parts, host: &str) -> Result<String, Refused> {
        let mut out = String::with_capacity(512);
        for name in &self.signed_headers {
            out.push_str(name);
            out.push(':');
            let mut all = parts.headers.get_all(name.as_str()).iter().peekable();
            if name == HOST.as_str() {
                out.push_str(host);
            } else if all.peek().is_none() {
                // A header that was signed and is not there was taken away.
                return Err(Refused::Mismatch);
            } else {
                for (at, value) in all.enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    let value = std::str::from_utf8(value.as_bytes()).map_err(|_| Refused::Mismatch)?;
                    let mut words = value.split_ascii_whitespace();
                    out.push_str(words.next().unwrap_or_default());
                    for word in words {
                        out.push(' ');
                        out.push_str(word);
                    }
                }
            }
            out.push('\n');
        }
        Ok(out)
    }
}

/// A host as it was sent, and with or without the default port of a scheme: proxies add and take those, and some clients sign
/// the one and send the other.
fn spellings(host: &str) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
    let ports = [":443", ":80"];
    let without = ports.into_iter().find_map(|port| host.strip_suffix(port));
    let bare = without.is_none() && host.rsplit_once(':').is_none_or(|(_, port)| port.ends_with(']'));
    let added = ports.into_iter().filter(move |_| bare).map(move |port| format!("{host}{port}").into());
    std::iter::once(host.into()).chain(without.map(Into::into)).chain(added)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn verified(method: &str, target: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = http::Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let query = Query::parse(parts.uri.query()).unwrap();
        let path = crate::encoding::decode(parts.uri.path()).unwrap();
        let claimed = Claimed::read(&parts, &query, "s3").unwrap();
        assert_eq!(claimed.unverified_key_id, "AKIAIOSFODNN7EXAMPLE");
        assert!(claimed.covered(&parts).is_ok());
        assert!(claimed.timely("2013-05-24T00:10:00Z".parse().unwrap()).is_ok());
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned());
        claimed.verify(&parts, &path, &query, "examplebucket.s3.amazonaws.com", &secret).is_ok()
    }

    /// Amazon S3 API Reference, "Authenticating Requests: Using the Authorization Header", the four examples.
    #[test]
    fn the_published_examples_verify() {
        let authorization = |signed: &str, signature: &str| {
            format!(
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
                 SignedHeaders={signed},Signature={signature}"
            )
        };
        let date = ("x-amz-date", "20130524T000000Z");
        let get = |signature: &str| {
            let authorization = authorization("host;range;x-amz-content-sha256;x-amz-date", signature);
            let headers = [("authorization", &*authorization), ("range", "bytes=0-9"), (CONTENT_SHA256, EMPTY), date];
            verified("GET", "/test.txt", &headers)
        };
        assert!(get("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"));
        assert!(!get("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb42"));
        let put = authorization(
            "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        );
        let headers = [
            ("authorization", &*put),
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            (CONTENT_SHA256, "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"),
            date,
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ];
        assert!(verified("PUT", "/test%24file.text", &headers));
        assert!(verified("PUT", "/test$file.text", &headers));
        for (target, signature) in [
            ("/?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            ("/?max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
            ("/?prefix=J&max-keys=2", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
        ] {
            let authorization = authorization("host;x-amz-content-sha256;x-amz-date", signature);
            let headers = [("authorization", &*authorization), (CONTENT_SHA256, EMPTY), date];
            assert!(verified("GET", target, &headers), "{target}");
        }
    }

    /// Amazon S3 API Reference, "Authenticating Requests: Using Query Parameters", the example.
    #[test]
    fn the_published_presigned_url_verifies() {
        let target = "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524\
                      %2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400\
                      &X-Amz-SignedHeaders=host&X-Amz-Signature=\
                      aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
        assert!(verified("GET", target, &[]));
        assert!(!verified("GET", &target.replace("86400", "86401"), &[]));
        assert!(!verified("PUT", target, &[]));
    }

    /// What the service signs without a digest header: the canonical request ends with the digest of the body itself.
    #[test]
    fn a_body_that_is_here_is_covered_whatever_the_request_says_of_it() {
        let body = b"Action=GetCallerIdentity&Version=2011-06-15";
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned());
        let now = "2013-05-24T00:10:00Z".parse().unwrap();
        let signing = crate::Signing {
            method: "POST",
            host: "sts.example.com",
            path: "/",
            query: "",
            header: ("content-type", "application/x-www-form-urlencoded"),
            body_sha256: &sha256(body),
            region: "",
            service: "sts",
        };
        let who = crate::Signer { access_key_id: "AKID", secret_access_key: &secret, session_token: None };
        let signed = crate::sign(&signing, &who, now);
        let verified = |told: Option<&str>, sent: &[u8]| {
            let request = http::Request::post("/").header("content-type", "application/x-www-form-urlencoded");
            let request = request.header("x-amz-date", &signed.date).header("authorization", &signed.authorization);
            let request = told.into_iter().fold(request, |request, told| request.header(CONTENT_SHA256, told));
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let query = Query::parse(None).unwrap();
            let claimed = Claimed::read_bodied(&parts, &query, "sts")?.of_body(sent)?;
            claimed.verify(&parts, "/", &query, "sts.example.com", &secret).map(drop)
        };
        assert_eq!(verified(None, body), Ok(()));
        assert_eq!(verified(Some("UNSIGNED-PAYLOAD"), body), Ok(()));
        assert_eq!(verified(Some(&sha256(body)), body), Ok(()));
        assert_eq!(verified(Some(EMPTY), body), Err(Refused::TwoDigests));
        for told in [None, Some("UNSIGNED-PAYLOAD")] {
            assert_eq!(verified(told, b"Action=AssumeRole&Version=2011-06-15"), Err(Refused::Mismatch));
        }
        assert_eq!(verified(Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER"), body), Err(Refused::TwoDigests));
    }

    #[test]
    fn times_are_read_as_written() {
        assert_eq!(read_time("20130524T000000Z"), "2013-05-24T00:00:00Z".parse().ok());
        for bad in
            ["", "20130524T000000", "2013-05-24T0:00Z", "20131324T000000Z", "20130524T240000Z", "２0130524T000000Z"]
        {
            assert_eq!(read_time(bad), None, "{bad}");
        }
    }
}
