//! Writing: `PutObject`, and what all writes share: the headers that are kept and the digests that must fit.

use data_encoding::BASE64;
use http::HeaderMap;
use s3s::dto::{ChecksumType, PutObjectInput, PutObjectOutput, StreamingBlob};
use s3s::{S3ErrorCode, S3Request, S3Response};

use crate::error::{Result, refuse, refuse_with};
use crate::gate::aside::Aside;
use crate::gate::query::KEPT;
use crate::gate::session::Trailers;
use crate::objects::checksum::{Algorithm, Digests, Hashes};
use crate::objects::record::Headers;
use crate::wire::conditions::{Of, conditions};
use crate::wire::{Wire, aside, clashed, session, strong, text};

const META: &str = "x-amz-meta-";
/// Amazon S3 User Guide, "Working with object metadata": user metadata is at most 2 KB.
const MAX_META_BYTES: usize = 2 * 1024;

/// The most bytes of the content headers kept with an object: every reader gets them back in one response's head.
const MAX_KEPT_BYTES: usize = 8 * 1024;

/// The headers of a request that are kept with the object it writes.
pub(crate) fn kept(headers: &HeaderMap, aside: &Aside) -> Result<Headers> {
    let mut kept = Headers::default();
    let (mut meta, mut others) = (0, 0);
    for (name, value) in headers.iter().chain(aside.headers()) {
        let name = name.as_str();
        if let Some(own) = name.strip_prefix(META) {
            meta += own.len() + value.len();
            if meta > MAX_META_BYTES {
                return Err(refuse(
                    S3ErrorCode::MetadataTooLarge,
                    "Your metadata headers exceed the maximum allowed metadata size",
                ));
            }
        } else if !KEPT.contains(&name) {
            continue;
        } else {
            others += name.len() + value.len();
            if others > MAX_KEPT_BYTES {
                return Err(refuse(
                    S3ErrorCode::MetadataTooLarge,
                    "Your content headers exceed the maximum allowed size",
                ));
            }
        }
        kept.add(name, value.as_bytes());
    }
    Ok(kept)
}

/// The digests that a request tells of its body.
pub(crate) struct Told {
    md5: Option<[u8; 16]>,
    /// The checksum, and its value unless it comes behind the body.
    checksum: Option<(Algorithm, Option<Box<[u8]>>)>,
    trailers: Trailers,
}

fn invalid_checksum(algorithm: Algorithm) -> s3s::S3Error {
    refuse_with(S3ErrorCode::InvalidRequest, format!("Value for {} header is invalid.", algorithm.header()))
}

/// Reads a checksum as headers show it.
pub(super) fn read_checksum(algorithm: Algorithm, shown: &str) -> Result<Box<[u8]>> {
    let bytes = BASE64.decode(shown.as_bytes()).ok().filter(|bytes| bytes.len() == algorithm.width());
    bytes.map(Vec::into_boxed_slice).ok_or_else(|| invalid_checksum(algorithm))
}

/// The one checksum that headers tell, as shown.
pub(super) fn shown_checksum(headers: &HeaderMap) -> Result<Option<(Algorithm, &str)>> {
    let mut all = Algorithm::ALL
        .into_iter()
        .flat_map(|algorithm| headers.get_all(algorithm.header()).iter().map(move |value| (algorithm, value)));
    let Some((algorithm, value)) = all.next() else { return Ok(None) };
    if all.next().is_some() {
        return Err(refuse(
            S3ErrorCode::InvalidRequest,
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        ));
    }
    Ok(Some((algorithm, value.to_str().map_err(|_| invalid_checksum(algorithm))?)))
}

impl Told {
    /// Reads what headers tell.
    pub(crate) fn read(headers: &HeaderMap, trailers: Trailers) -> Result<Self> {
        let invalid = || refuse(S3ErrorCode::InvalidDigest, "The Content-MD5 you specified is not valid.");
        let md5 = headers.get("content-md5").map(|value| {
            let bytes = BASE64.decode(value.as_bytes()).map_err(|_| invalid())?;
            bytes.try_into().map_err(|_| invalid())
        });
        let trailing =
            text(headers, "x-amz-trailer").and_then(|name| Algorithm::of_header(&name.trim().to_lowercase()));
        let checksum = match (shown_checksum(headers)?, trailing) {
            (Some(_), Some(_)) => {
                return Err(refuse(
                    S3ErrorCode::InvalidRequest,
                    "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
                ));
            }
            (Some((algorithm, shown)), None) => Some((algorithm, Some(read_checksum(algorithm, shown)?))),
            (None, Some(algorithm)) => Some((algorithm, None)),
            (None, None) => None,
        };
        if let Some(named) = text(headers, "x-amz-sdk-checksum-algorithm") {
            let named = Algorithm::parse(named).ok_or_else(|| {
                refuse(S3ErrorCode::InvalidRequest, "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
            })?;
            if checksum.as_ref().is_some_and(|(algorithm, _)| *algorithm != named) {
                return Err(refuse(
                    S3ErrorCode::InvalidRequest,
                    "Value for x-amz-sdk-checksum-algorithm header is invalid.",
                ));
            }
        }
        Ok(Self { md5: md5.transpose()?, checksum, trailers })
    }

    /// The checksum that is told.
    pub(super) fn algorithm(&self) -> Option<Algorithm> {
        self.checksum.as_ref().map(|(algorithm, _)| *algorithm)
    }

    /// The sums that have to be made of the body.
    pub(crate) fn hashes(&self) -> Hashes {
        let algorithms: Vec<Algorithm> = self.algorithm().into_iter().collect();
        if self.md5.is_some() { Hashes::new(&algorithms) } else { Hashes::without_md5(&algorithms) }
    }

    /// The checksum that comes behind the body.
    pub(crate) fn trailing(&self) -> Option<Algorithm> {
        self.checksum.as_ref().filter(|(_, value)| value.is_none()).map(|(algorithm, _)| *algorithm)
    }

    /// Its value, as shown, once the body has come.
    pub(crate) fn trailed(&self) -> Option<(Algorithm, &str)> {
        let algorithm = self.trailing()?;
        self.trailers.get(algorithm.header()).map(|shown| (algorithm, shown))
    }

    /// Holds a body's digests against what was told of them.
    pub(crate) fn verify(&self, digests: &Digests) -> Result<()> {
        if self.md5.is_some_and(|md5| md5 != digests.md5) {
            return Err(refuse(
                S3ErrorCode::BadDigest,
                "The Content-MD5 you specified did not match what we received.",
            ));
        }
        let Some((algorithm, value)) = &self.checksum else { return Ok(()) };
        let trailing;
        let value = if let Some(value) = value {
            value
        } else {
            let shown = self.trailers.get(algorithm.header()).ok_or_else(|| invalid_checksum(*algorithm))?;
            trailing = read_checksum(*algorithm, shown)?;
            &trailing
        };
        if digests.of(*algorithm) != Some(value) {
            return Err(refuse_with(
                S3ErrorCode::BadDigest,
                format!("The {} you specified did not match the calculated checksum.", algorithm.as_str()),
            ));
        }
        Ok(())
    }
}

/// The trailers' place in a request.
pub(super) fn trailers<T>(request: &S3Request<T>) -> Trailers {
    request.extensions.get().cloned().unwrap_or_default()
}

/// A body that may be missing.
pub(super) fn body(body: Option<StreamingBlob>) -> StreamingBlob {
    body.unwrap_or_else(|| StreamingBlob::from(s3s::Body::empty()))
}

/// Says of a write what its checksum is.
macro_rules! tell_checksum {
    ($output:expr, $algorithm:expr, $shown:expr) => {{
        let shown = Some($shown);
        match $algorithm {
            Algorithm::Crc32 => $output.checksum_crc32 = shown,
            Algorithm::Crc32c => $output.checksum_crc32c = shown,
            Algorithm::Crc64Nvme => $output.checksum_crc64nvme = shown,
            Algorithm::Sha1 => $output.checksum_sha1 = shown,
            Algorithm::Sha256 => $output.checksum_sha256 = shown,
        }
    }};
}
pub(super) use tell_checksum;

impl Wire {
    pub(super) async fn put(&self, request: S3Request<PutObjectInput>) -> Result<S3Response<PutObjectOutput>> {
        let session = session(&request)?;
        let told = Told::read(&request.headers, trailers(&request))?;
        let aside = aside(&request);
        let condition = conditions(&aside, Of::Write)?;
        let S3Request { input, headers, .. } = request;
        let bucket = self.bucket(&session, &input.bucket)?;
        let key = input.key.as_bytes();
        let named = text(&headers, "x-amz-sdk-checksum-algorithm").and_then(Algorithm::parse);
        let algorithm = told.algorithm().or(named).unwrap_or(Algorithm::Crc64Nvme);
        let kept = kept(&headers, &aside)?;
        let body = body(input.body);
        let (most, share) = (self.limits.max_object_bytes, self.share(&session)?);
        let draft = bucket.take(key, kept, body, &[algorithm], most, share).await?;
        told.verify(draft.digests())?;
        let record = draft.put(condition, &session).await?.map_err(clashed)?;
        let mut output = PutObjectOutput { e_tag: Some(strong(&record.etag)), ..PutObjectOutput::default() };
        if let Some((algorithm, shown, kind)) = record.headers.checksum() {
            tell_checksum!(output, algorithm, shown.to_owned());
            output.checksum_type = Some(ChecksumType::from_static(kind.as_str()));
        }
        Ok(S3Response::new(output))
    }
}
