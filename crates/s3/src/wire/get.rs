//! Reading: `GetObject` and `HeadObject`, whole, in ranges and under conditions.

use std::ops;

use data_encoding::BASE64;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED};
use s3s::dto::{GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, Range, StreamingBlob};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response};

use crate::bucket::Bucket;
use crate::error::{Result, refuse, refuse_custom};
use crate::gate::aside::Aside;
use crate::gate::session::Live;
use crate::gateway::port::Window;
use crate::objects::checksum::Algorithm;
use crate::objects::condition::{Condition, Unread};
use crate::objects::record::{CHECKSUM_TYPE, Data, Headers, Record};
use crate::wire::conditions::{Of, conditions, date, failed};
use crate::wire::{Wire, aside, no_such_key, session, shown, strong, text};

/// What is known of an object that came without a content type.
const UNKNOWN_TYPE: HeaderValue = HeaderValue::from_static("binary/octet-stream");

/// Under which conditions, and which part, a reader wants.
pub(super) struct Wanted {
    pub(super) condition: Condition,
    /// Whose the condition is.
    pub(super) of: Of,
    /// Of which version the range is wanted; of another one everything.
    pub(super) if_range: Option<String>,
    pub(super) range: Option<Range>,
    pub(super) part_number: Option<i32>,
}

/// The bytes that answer a reader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Plan {
    pub(super) range: ops::Range<u64>,
    partial: bool,
    /// Which part they are, by its place, and of how many.
    part: Option<(usize, Option<i32>)>,
}

fn not_modified(record: &Record) -> S3Error {
    let mut headers = HeaderMap::new();
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", record.etag)) {
        headers.insert(ETAG, etag);
    }
    let modified = record.modified.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(modified) = HeaderValue::from_str(&modified) {
        headers.insert(LAST_MODIFIED, modified);
    }
    let mut error = refuse(S3ErrorCode::NotModified, "Not Modified");
    error.set_headers(headers);
    error
}

fn out_of_range(record: &Record) -> S3Error {
    let mut error = refuse(S3ErrorCode::InvalidRange, "The requested range is not satisfiable");
    let mut headers = HeaderMap::new();
    if let Ok(size) = HeaderValue::from_str(&format!("bytes */{}", record.size)) {
        headers.insert(CONTENT_RANGE, size);
    }
    error.set_headers(headers);
    error
}

impl Wanted {
    fn of_reader(aside: &Aside, range: Option<Range>, part_number: Option<i32>) -> Result<Self> {
        let condition = conditions(aside, Of::Reader)?;
        Ok(Self { condition, of: Of::Reader, if_range: aside.text("if-range"), range, part_number })
    }

    fn conditions(&self, record: &Record) -> Result<()> {
        self.condition.check_read(record.existing()).map_err(|unread| match (unread, self.of) {
            (Unread::NotModified(_), Of::Reader) => not_modified(record),
            // What keeps a copy's conditions from holding is always a failed condition, never "not modified".
            (Unread::NotModified(part) | Unread::Failed(part), of) => failed(of, part),
        })
    }

    /// Whether the range is of this version: RFC 9110, section 13.1.5, a strong entity tag or the very second.
    fn in_range(&self, record: &Record) -> bool {
        let Some(wanted) = self.if_range.as_deref().map(str::trim) else { return true };
        match date(wanted) {
            Some(time) => time.as_second() == record.modified.as_second(),
            None => wanted.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')) == Some(&*record.etag),
        }
    }

    /// The bytes that will answer, as far as that can be told without the object: not under a condition, where it may be none.
    pub(super) fn likely(&self) -> Option<Window> {
        let Self { condition, of: _, if_range, range, part_number } = self;
        if !condition.is_none() || if_range.is_some() || part_number.is_some() {
            return None;
        }
        match range {
            None => Some(Window::Whole),
            Some(Range::Int { first, last }) => {
                let end = last.map_or(u64::MAX, |last| last.saturating_add(1));
                (*first < end).then_some(Window::Range(*first..end))
            }
            Some(Range::Suffix { length }) => (*length > 0).then_some(Window::Last(*length)),
        }
    }

    /// The bytes to answer with.
    pub(super) fn plan(&self, record: &Record) -> Result<Plan> {
        self.conditions(record)?;
        let range = self.range.as_ref().filter(|_| self.in_range(record));
        match (range, self.part_number) {
            (Some(_), Some(_)) => Err(refuse(
                S3ErrorCode::InvalidRequest,
                "Cannot specify both Range header and partNumber query parameter",
            )),
            (None, None) => Ok(Plan { range: 0..record.size, partial: false, part: None }),
            (Some(range), None) => {
                let range = range.check(record.size).ok().filter(|range| !range.is_empty());
                let range = range.ok_or_else(|| out_of_range(record))?;
                Ok(Plan { range, partial: true, part: None })
            }
            (None, Some(number)) => part(record, number),
        }
    }
}

/// The bytes of one part of an object that was uploaded in parts.
fn part(record: &Record, number: i32) -> Result<Plan> {
    let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1)).ok_or_else(|| {
        refuse(S3ErrorCode::InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive")
    })?;
    let missing = || {
        let status = http::StatusCode::RANGE_NOT_SATISFIABLE;
        refuse_custom("InvalidPartNumber", status, "The requested partnumber is not satisfiable")
    };
    match &record.data {
        Data::Files(segments) if record.etag.contains('-') => {
            let start = segments.iter().take(at).map(|segment| segment.size).sum();
            let size = segments.get(at).ok_or_else(missing)?.size;
            let part = Some((at, i32::try_from(segments.len()).ok()));
            Ok(Plan { range: start..start + size, partial: true, part })
        }
        Data::Gateway(parts) if !parts.is_empty() => {
            let start = parts.iter().take(at).sum();
            let size = parts.get(at).ok_or_else(missing)?;
            let part = Some((at, i32::try_from(parts.len()).ok()));
            Ok(Plan { range: start..start + size, partial: true, part })
        }
        Data::Here(_) | Data::Files(_) | Data::Gateway(_) if at == 0 => {
            Ok(Plan { range: 0..record.size, partial: record.size > 0, part: Some((0, None)) })
        }
        Data::Here(_) | Data::Files(_) | Data::Gateway(_) => Err(missing()),
    }
}

impl Plan {
    fn content_range(&self, record: &Record) -> Option<String> {
        let ops::Range { start, end } = self.range;
        self.partial.then(|| format!("bytes {start}-{}/{}", end.saturating_sub(1), record.size))
    }

    fn parts(&self) -> Option<i32> {
        self.part.and_then(|(_, parts)| parts)
    }

    fn length(&self) -> i64 {
        (self.range.end - self.range.start).cast_signed()
    }
}

/// The checksum of the bytes that go, if it was asked for and is known: of the whole object, or of the part that was asked for.
async fn checksum(
    bucket: &Bucket,
    live: &Live,
    key: &[u8],
    (record, plan): (&Record, &Plan),
    asked: &HeaderMap,
) -> Result<Headers> {
    let mut shown = Headers::default();
    let wanted = text(asked, "x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("enabled"));
    let Some((algorithm, whole, kind)) = record.headers.checksum().filter(|_| wanted) else { return Ok(shown) };
    match plan.part {
        Some((at, Some(_))) => {
            let origin = bucket.origin(live, key, record).await?;
            if let Some(part) = origin.as_ref().and_then(|origin| origin.parts.get(at)) {
                shown.set_checksum(algorithm, &BASE64.encode(&part.checksum), kind);
            }
        }
        None if plan.partial => {}
        None | Some((_, None)) => shown.set_checksum(algorithm, whole, kind),
    }
    Ok(shown)
}

/// The headers an object came with, as they go out: without those the reader asked to be others, and with the checksum only of
/// the bytes that go.
fn headers(record: &Record, checksum: &Headers, overridden: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let is_checksum = |name: &str| Algorithm::of_header(name).is_some() || name == CHECKSUM_TYPE;
    let own = record.headers.0.iter().filter(|(name, _)| !is_checksum(name));
    for (name, value) in own.chain(&checksum.0) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(&**name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    if !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, UNKNOWN_TYPE);
    }
    for (name, value) in overridden {
        headers.insert(name, value.clone());
    }
    headers
}

impl Wire {
    pub(super) async fn get(&self, request: S3Request<GetObjectInput>) -> Result<S3Response<GetObjectOutput>> {
        let session = session(&request)?;
        let bucket = self.bucket(&session, &request.input.bucket)?;
        let aside = aside(&request);
        let S3Request { input, headers: asked, .. } = request;
        let wanted = Wanted::of_reader(&aside, input.range, input.part_number)?;
        let plan = |record: &Record| Ok(wanted.plan(record)?.range);
        let (live, key) = (session.live().await?, input.key.as_bytes());
        let opened = bucket.open_range(&live, key, wanted.likely(), plan).await?;
        let (record, reading) = opened.ok_or_else(no_such_key)?;
        let plan = wanted.plan(&record)?;
        let checksum = checksum(&bucket, &live, key, (&record, &plan), &asked).await?;
        let output = GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            body: Some(StreamingBlob::new(reading)),
            content_length: Some(plan.length()),
            content_range: plan.content_range(&record),
            e_tag: Some(strong(&record.etag)),
            last_modified: Some(shown(record.modified)),
            parts_count: plan.parts(),
            ..GetObjectOutput::default()
        };
        let headers = headers(&record, &checksum, aside.overridden());
        let mut response = S3Response::with_headers(output, headers);
        response.status = plan.partial.then_some(http::StatusCode::PARTIAL_CONTENT);
        Ok(response)
    }

    pub(super) async fn head(&self, request: S3Request<HeadObjectInput>) -> Result<S3Response<HeadObjectOutput>> {
        let session = session(&request)?;
        let bucket = self.bucket(&session, &request.input.bucket)?;
        let aside = aside(&request);
        let S3Request { input, headers: asked, .. } = request;
        let wanted = Wanted::of_reader(&aside, input.range, input.part_number)?;
        let (live, key) = (session.live().await?, input.key.as_bytes());
        let record = bucket.record(&live, key).await?.ok_or_else(no_such_key)?;
        let plan = wanted.plan(&record)?;
        let checksum = checksum(&bucket, &live, key, (&record, &plan), &asked).await?;
        let output = HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(plan.length()),
            content_range: plan.content_range(&record),
            e_tag: Some(strong(&record.etag)),
            last_modified: Some(shown(record.modified)),
            parts_count: plan.parts(),
            ..HeadObjectOutput::default()
        };
        let headers = headers(&record, &checksum, aside.overridden());
        let mut response = S3Response::with_headers(output, headers);
        response.status = plan.partial.then_some(http::StatusCode::PARTIAL_CONTENT);
        Ok(response)
    }
}
