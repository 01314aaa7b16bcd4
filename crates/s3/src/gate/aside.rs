//! Headers of a proven request that the endpoint reads itself. The S3 library knows one form of each: it refuses others that S3
//! takes (lists of entity tags, old forms of dates, text beyond ASCII), and does not look at some at all.

use std::sync::Arc;

use http::header::{CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue, RANGE};
use s3s::S3ErrorCode;
use valetkey_sigv4::Query;

use crate::error::{Result, refuse};
use crate::gate::query::{KEPT, overriding};

/// What Cloudflare's proxy adds to requests (Cloudflare docs, "Cloudflare HTTP headers", "Managed Transforms", Access): how such
/// headers start. None of them is about objects.
const OF_PROXY: &[&str] = &[
    "cf-access-",
    "cf-asn",
    "cf-bot-",
    "cf-cache-",
    "cf-cert-",
    "cf-client-",
    "cf-connecting-",
    "cf-device-",
    "cf-ew-via",
    "cf-ip",
    "cf-ja3-",
    "cf-ja4",
    "cf-metro-code",
    "cf-postal-code",
    "cf-pseudo-",
    "cf-ray",
    "cf-region",
    "cf-request-id",
    "cf-threat-score",
    "cf-timezone",
    "cf-tls-",
    "cf-verified-bot",
    "cf-visitor",
    "cf-warp-",
    "cf-worker",
];

/// Whether a header says under which condition a request is meant, or is one of R2's own.
fn is_condition(name: &str) -> bool {
    let starts = ["if-", "cf-", "x-amz-copy-source-if-"].into_iter().any(|start| name.starts_with(start));
    starts && !OF_PROXY.iter().any(|start| name.starts_with(start))
}

/// What was set aside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aside {
    headers: Arc<HeaderMap>,
    overridden: Arc<HeaderMap>,
}

impl Aside {
    /// Takes the headers out of a request.
    pub(super) fn take(headers: &mut HeaderMap, query: &Query) -> Result<Self> {
        let names: Vec<HeaderName> = headers
            .keys()
            .filter(|name| KEPT.contains(&name.as_str()) || is_condition(name.as_str()))
            .cloned()
            .collect();
        let mut aside = HeaderMap::new();
        for name in names {
            if let http::header::Entry::Occupied(entry) = headers.entry(&name) {
                let (_, values) = entry.remove_entry_mult();
                for value in values {
                    aside.append(name.clone(), value);
                }
            }
        }
        strip_chunked(&mut aside);
        let mut overridden = HeaderMap::new();
        for (name, value) in query.iter() {
            let Some(name) = overriding(name) else { continue };
            let value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| refuse(S3ErrorCode::InvalidArgument, "A response-… parameter is not a header's value."))?;
            overridden.insert(name, value);
        }
        Ok(Self { headers: Arc::new(aside), overridden: Arc::new(overridden) })
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The names of the conditions.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = &str> {
        self.headers.keys().map(HeaderName::as_str).filter(|name| is_condition(name))
    }

    /// A header's lines, as one text; nothing if there is none, or if it is not text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let lines: Option<Vec<&str>> = self.headers.get_all(name).iter().map(|value| value.to_str().ok()).collect();
        lines.filter(|lines| !lines.is_empty()).map(|lines| lines.join(","))
    }

    /// The headers a reader asked to be others (`response-…`). The request was signed, and so were these.
    pub(crate) fn overridden(&self) -> &HeaderMap {
        &self.overridden
    }
}

/// Takes `aws-chunked` out of the content codings: it was of the transfer, not of the object. The others stay as they were written.
fn strip_chunked(headers: &mut HeaderMap) {
    let is_chunked = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"aws-chunked");
    let lines: Vec<HeaderValue> = headers.get_all(CONTENT_ENCODING).iter().cloned().collect();
    headers.remove(CONTENT_ENCODING);
    for line in lines {
        if line.as_bytes().split(|byte| *byte == b',').any(is_chunked) {
            let codings = line.as_bytes().split(|byte| *byte == b',').filter(|coding| !is_chunked(coding));
            let codings: Vec<&[u8]> = codings.filter(|coding| !coding.trim_ascii().is_empty()).collect();
            let codings = codings.join(&b","[..]);
            if let Ok(value) = HeaderValue::from_bytes(codings.trim_ascii())
                && !value.is_empty()
            {
                headers.append(CONTENT_ENCODING, value);
            }
        } else if !line.is_empty() {
            headers.append(CONTENT_ENCODING, line);
        }
    }
}

/// Makes a range one that the S3 library reads: numbers beyond any object's size become the greatest it knows, and what is no
/// range is as good as none (RFC 9110, section 14.2).
pub(super) fn settle_range(headers: &mut HeaderMap, range: Option<&str>) {
    const MOST: u64 = i64::MAX.cast_unsigned();
    let Some(range) = range else { return };
    let number = |digits: &str| -> Option<u64> {
        let all = digits.bytes().all(|byte| byte.is_ascii_digit());
        all.then(|| digits.parse().unwrap_or(u64::MAX).min(MOST))
    };
    let settled = || -> Option<String> {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        match (first, last) {
            ("", "") => None,
            ("", last) => Some(format!("bytes=-{}", number(last)?)),
            (first, "") => Some(format!("bytes={}-", number(first)?)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then(|| format!("bytes={first}-{last}"))
            }
        }
    };
    match settled().and_then(|range| HeaderValue::from_str(&range).ok()) {
        Some(range) => drop(headers.insert(RANGE, range)),
        None => drop(headers.remove(RANGE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_stay_as_written_but_for_the_transfers() {
        for (line, kept) in [
            ("gzip", Some("gzip")),
            ("deflate, gzip", Some("deflate, gzip")),
            ("aws-chunked", None),
            ("aws-chunked,", None),
            ("aws-chunked,gzip", Some("gzip")),
            ("gzip, AWS-Chunked", Some("gzip")),
            ("deflate, gzip, aws-chunked", Some("deflate, gzip")),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_ENCODING, HeaderValue::from_str(line).unwrap());
            strip_chunked(&mut headers);
            assert_eq!(headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap()), kept, "{line}");
        }
    }

    #[test]
    fn ranges_are_settled() {
        let most = i64::MAX;
        for (range, settled) in [
            ("bytes=0-1", Some("bytes=0-1".to_owned())),
            ("bytes=5-", Some("bytes=5-".to_owned())),
            ("bytes=-5", Some("bytes=-5".to_owned())),
            ("bytes=0-9223372036854775808", Some(format!("bytes=0-{most}"))),
            ("bytes=0-99999999999999999999999999", Some(format!("bytes=0-{most}"))),
            ("bytes=99999999999999999999-", Some(format!("bytes={most}-"))),
            ("bytes=-99999999999999999999", Some(format!("bytes=-{most}"))),
            ("bytes=2-1", None),
            ("bytes=-", None),
            ("bytes=0-1,3-4", None),
            ("bytes=a-1", None),
            ("items=0-1", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, HeaderValue::from_str(range).unwrap());
            settle_range(&mut headers, Some(range));
            let kept = headers.get(RANGE).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(kept, settled, "{range}");
        }
    }

    #[test]
    fn what_a_proxy_adds_is_no_condition() {
        let mut headers = HeaderMap::new();
        for name in [
            "cf-ray",
            "cf-connecting-ip",
            "cf-ipcity",
            "cf-region",
            "cf-access-jwt-assertion",
            "if-match",
            "cf-copy-destination-if-match",
            "x-amz-meta-if-match",
        ] {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        let aside = Aside::take(&mut headers, &Query::default()).unwrap();
        let mut named: Vec<&str> = aside.conditions().collect();
        named.sort_unstable();
        assert_eq!(named, ["cf-copy-destination-if-match", "if-match"]);
        assert_eq!(headers.len(), 6);
    }
}
