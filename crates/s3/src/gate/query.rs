//! Paths and queries, percent-decoded exactly once. What cannot be decoded is refused, never guessed.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use s3s::S3ErrorCode;

use crate::error::{Result, refuse};

/// What `SigV4` leaves as it is.
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The same, in paths.
const IN_PATH: AsciiSet = UNRESERVED.remove(b'/');

/// The headers that are kept with an object beside its user metadata, and that a reader may ask to be others.
pub(crate) const KEPT: [&str; 6] =
    ["cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires"];

/// The parameters that prove who asks.
const PROOF: [&str; 8] = [
    "x-amz-algorithm",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];

/// The header that a parameter asks to be another.
pub(super) fn overriding(parameter: &str) -> Option<&'static str> {
    let name = parameter.strip_prefix("response-")?;
    KEPT.into_iter().find(|own| *own == name)
}

fn is_amz(name: &str) -> bool {
    name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"))
}

/// Encodes a name or value as `SigV4` does.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, &UNRESERVED).to_string()
}

/// Encodes a path as `SigV4` does for S3: once, and nothing normalised.
pub(crate) fn encode_path(text: &str) -> String {
    utf8_percent_encode(text, &IN_PATH).to_string()
}

/// Decodes once.
///
/// # Errors
/// `InvalidURI` when a percent sign starts nothing, or the bytes are not UTF-8.
pub(crate) fn decode(text: &str) -> Result<String> {
    let bad = || refuse(S3ErrorCode::InvalidURI, "Couldn't parse the specified URI.");
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        match rest.get(at + 1..at + 3) {
            Some([a, b]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {}
            _ => return Err(bad()),
        }
        rest = rest.get(at + 3..).unwrap_or_default();
    }
    percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| bad())
}

/// A query's parameters, decoded, in the order they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query.
    pub(crate) fn parse(query: Option<&str>) -> Result<Self> {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let plain = |text: &str| decode(&text.replace('+', " "));
            Ok((plain(name)?, plain(value)?))
        });
        pairs.collect::<Result<_>>().map(Self)
    }

    /// Every parameter.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether a parameter is there, in any case of its letters.
    pub(crate) fn has_any_case(&self, name: &str) -> bool {
        self.iter().any(|(own, _)| own.eq_ignore_ascii_case(name))
    }

    /// Whether a parameter is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.iter().any(|(own, _)| own == name)
    }

    /// A parameter's value if it is there exactly once, in this very spelling.
    pub(crate) fn once(&self, name: &str) -> Option<&str> {
        let mut all = self.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        let (own, value) = all.next()?;
        (own == name && all.next().is_none()).then_some(value)
    }

    /// The query as `SigV4` writes it, without the parameter that carries the signature.
    pub(crate) fn canonical(&self) -> String {
        let pairs = self.iter().filter(|(name, _)| *name != "X-Amz-Signature");
        let mut pairs: Vec<(String, String)> = pairs.map(|(name, value)| (encode(name), encode(value))).collect();
        pairs.sort_unstable();
        let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("&")
    }

    /// The headers that stand in the query, as presigned URLs have them, by their names in lower case.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (String, &str)> {
        let headers = self.iter().filter(|(name, _)| is_amz(name));
        headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .filter(|(name, _)| !PROOF.contains(&name.as_str()))
    }

    /// The query without the parameters that prove who asks, without headers, and without what a reader asks to be others.
    pub(crate) fn without_headers(&self) -> String {
        let pairs = self.iter().filter(|(name, _)| !is_amz(name) && overriding(name).is_none());
        let pairs: Vec<String> = pairs.map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        pairs.join("&")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_decoded_is_refused() {
        for bad in ["%", "%4", "%zz", "a%", "%C3", "%ff", "%E2%82"] {
            assert!(decode(bad).is_err(), "{bad}");
        }
        assert_eq!(decode("a%2Fb%252F+").unwrap(), "a/b%2F+");
        assert_eq!(decode("%C3%A9").unwrap(), "é");
    }

    #[test]
    fn a_query_is_written_sorted_and_encoded_once() {
        let query = Query::parse(Some("prefix=a%2Fb+c&list-type=2&delimiter=&acl&X-Amz-Signature=00")).unwrap();
        assert_eq!(query.canonical(), "acl=&delimiter=&list-type=2&prefix=a%2Fb%20c");
        assert_eq!(query.once("prefix"), Some("a/b c"));
        assert!(query.has("acl") && !query.has("ACL") && query.has_any_case("ACL"));
        let twice = Query::parse(Some("a=1&a=2&B=3&x-amz-security-token=s&X-Amz-Acl=private")).unwrap();
        assert_eq!((twice.once("a"), twice.once("b")), (None, None));
        assert_eq!(twice.without_headers(), "a=1&a=2&B=3");
        assert_eq!(twice.headers().collect::<Vec<_>>(), [("x-amz-acl".to_owned(), "private")]);
    }
}
