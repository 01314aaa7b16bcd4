//! The conditions of requests, as their headers say them.

use http::HeaderName;
use http::header::HeaderValue;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use s3s::{S3Error, S3ErrorCode};

use crate::error::{Result, refuse, refuse_with};
use crate::gate::aside::Aside;
use crate::objects::condition::{Condition, Part, Tags};

/// Under which headers conditions come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Of {
    /// A reader's: a time that cannot be read is no condition (RFC 9110, section 13.1.3).
    Reader,
    /// A write's.
    Write,
    /// A copy's source.
    Source,
    /// A copy's destination, as R2 names them (Cloudflare R2 docs, "S3 API compatibility", `CopyObject`).
    Destination,
}

impl Of {
    fn prefix(self) -> &'static str {
        match self {
            Self::Reader | Self::Write => "",
            Self::Source => "x-amz-copy-source-",
            Self::Destination => "cf-copy-destination-",
        }
    }

    fn header(self, part: Part) -> String {
        format!("{}{}", self.prefix(), part.name().to_ascii_lowercase())
    }
}

/// Reads a time in any of HTTP's three forms (RFC 9110, section 5.6.7). Which day of the week it says is not looked at.
pub(crate) fn date(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(time) = DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text) {
        return Some(time);
    }
    let read = |format: &str, text: &str| -> Option<Timestamp> {
        let time: DateTime = strtime::parse(format, text).ok()?.to_datetime().ok()?;
        TimeZone::UTC.to_timestamp(time).ok()
    };
    if let Some((_, rest)) = text.split_once(", ") {
        return read("%d-%b-%y %H:%M:%S GMT", rest);
    }
    read("%b %d %H:%M:%S %Y", text.split_once(' ')?.1)
}

/// Reads conditions.
///
/// # Errors
/// `InvalidArgument` when a write's or a copy's cannot be read: it was to keep something.
pub(crate) fn conditions(aside: &Aside, of: Of) -> Result<Condition> {
    let broken = |part: Part| refuse_with(S3ErrorCode::InvalidArgument, format!("{} cannot be read.", of.header(part)));
    let text = |part: Part| -> Result<Option<String>> {
        let name = of.header(part);
        let text = aside.text(&name);
        let lost = text.is_none() && aside.headers().contains_key(&name);
        if lost && of != Of::Reader { Err(broken(part)) } else { Ok(text) }
    };
    let tags = |part: Part| -> Result<Option<Tags>> { Ok(text(part)?.map(|text| Tags::parse(&text))) };
    let time = |part: Part| -> Result<Option<Timestamp>> {
        let Some(text) = text(part)? else { return Ok(None) };
        match date(&text) {
            None if of != Of::Reader => Err(broken(part)),
            time => Ok(time),
        }
    };
    Ok(Condition {
        is: tags(Part::Match)?,
        is_not: tags(Part::NoneMatch)?,
        modified_since: time(Part::ModifiedSince)?,
        unmodified_since: time(Part::UnmodifiedSince)?,
    })
}

/// Where a refusal carries which condition did not hold, on its way to the gate, which makes its document.
pub(crate) const FAILED: HeaderName = HeaderName::from_static("x-vk-condition");

/// The refusal of a condition that does not hold.
pub(crate) fn failed(of: Of, part: Part) -> S3Error {
    let mut error =
        refuse(S3ErrorCode::PreconditionFailed, "At least one of the pre-conditions you specified did not hold");
    if let Ok(name) = HeaderValue::from_str(&format!("{}{}", of.prefix(), part.name())) {
        error.set_headers([(FAILED, name)].into_iter().collect());
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_form() {
        let expected: Timestamp = "1994-11-06T08:49:37Z".parse().unwrap();
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            " Sun, 06 Nov 1994 08:49:37 +0000 ",
        ] {
            assert_eq!(date(text), Some(expected), "{text}");
        }
        for text in ["", "now", "1994-11-06T08:49:37Z", "Sun, 06 Nov 1994", "Sun, 31 Feb 1994 08:49:37 GMT", "0"] {
            assert_eq!(date(text), None, "{text}");
        }
    }
}
