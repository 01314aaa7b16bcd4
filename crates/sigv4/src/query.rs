//! Queries, percent-decoded exactly once. What cannot be decoded is refused, never guessed.

use crate::encoding::{decode, encode_value};
use crate::refused::Refused;

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

/// Whether a parameter, in lower case, is part of a proof.
pub fn is_proof(name: &str) -> bool {
    PROOF.contains(&name)
}

/// A query's parameters, decoded, in the order they came.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// [`Refused::Encoding`].
    pub fn parse(query: Option<&str>) -> Result<Self, Refused> {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let plain = |text: &str| decode(&text.replace('+', " "));
            Ok((plain(name)?, plain(value)?))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// Every parameter.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether a parameter is there, in any case of its letters.
    pub fn has_any_case(&self, name: &str) -> bool {
        self.iter().any(|(own, _)| own.eq_ignore_ascii_case(name))
    }

    /// Whether a parameter is there.
    pub fn has(&self, name: &str) -> bool {
        self.iter().any(|(own, _)| own == name)
    }

    /// A parameter's value if it is there exactly once, in this very spelling.
    pub fn once(&self, name: &str) -> Option<&str> {
        let mut all = self.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        let (own, value) = all.next()?;
        (own == name && all.next().is_none()).then_some(value)
    }

    /// The query as `SigV4` writes it, without the parameter that carries the signature.
    pub(crate) fn canonical(&self) -> String {
        let pairs = self.iter().filter(|(name, _)| *name != "X-Amz-Signature");
        let mut pairs: Vec<(String, String)> =
            pairs.map(|(name, value)| (encode_value(name), encode_value(value))).collect();
        pairs.sort_unstable();
        let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("&")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_written_sorted_and_encoded_once() {
        let query = Query::parse(Some("prefix=a%2Fb+c&list-type=2&delimiter=&acl&X-Amz-Signature=00")).unwrap();
        assert_eq!(query.canonical(), "acl=&delimiter=&list-type=2&prefix=a%2Fb%20c");
        assert_eq!(query.once("prefix"), Some("a/b c"));
        assert!(query.has("acl") && !query.has("ACL") && query.has_any_case("ACL"));
        let twice = Query::parse(Some("a=1&a=2&B=3&x-amz-security-token=s&X-Amz-Acl=private")).unwrap();
        assert_eq!((twice.once("a"), twice.once("b")), (None, None));
    }
}
