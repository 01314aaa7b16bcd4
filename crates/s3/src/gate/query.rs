//! What S3 keeps in a query beside its parameters: headers, as presigned URLs have them, and headers of the answer.

use valetkey_sigv4::{Query, Slash, encode, is_proof};

/// The headers that are kept with an object beside its user metadata, and that a reader may ask to be others.
pub(crate) const KEPT: [&str; 6] =
    ["cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires"];

/// The header that a parameter asks to be another.
pub(super) fn overriding(parameter: &str) -> Option<&'static str> {
    let name = parameter.strip_prefix("response-")?;
    KEPT.into_iter().find(|own| *own == name)
}

fn is_amz(name: &str) -> bool {
    name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"))
}

/// The headers that stand in the query, as presigned URLs have them, by their names in lower case.
pub(crate) fn headers(query: &Query) -> impl Iterator<Item = (String, &str)> {
    let headers = query.iter().filter(|(name, _)| is_amz(name));
    headers.map(|(name, value)| (name.to_ascii_lowercase(), value)).filter(|(name, _)| !is_proof(name))
}

/// The query without the parameters that prove who asks, without headers, and without what a reader asks to be others.
pub(crate) fn without_headers(query: &Query) -> String {
    let mut out = String::new();
    for (name, value) in query.iter().filter(|(name, _)| !is_amz(name) && overriding(name).is_none()) {
        if !out.is_empty() {
            out.push('&');
        }
        encode(name.as_bytes(), Slash::Encoded, &mut out);
        out.push('=');
        encode(value.as_bytes(), Slash::Encoded, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_told_from_parameters() {
        let query = Query::parse(Some("a=1&a=%2F+&B=3&x-amz-security-token=s&X-Amz-Acl=private")).unwrap();
        assert_eq!(without_headers(&query), "a=1&a=%2F%20&B=3");
        assert_eq!(headers(&query).collect::<Vec<_>>(), [("x-amz-acl".to_owned(), "private")]);
    }
}
