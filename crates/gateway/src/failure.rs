//! What a store's errors mean. SECURITY: their texts go to the log, so nothing of a URL behind its `?` stays: a signature
//! would open what it signs.

use object_store::Error;
use valetkey_s3::Failure;

/// The longest text that is kept.
const MAX_CHARS: usize = 600;

/// An error's text for the log, without what URLs carry.
pub(crate) fn text(error: &impl ToString) -> String {
    let (mut kept, mut in_query) = (String::new(), false);
    for c in error.to_string().chars().take(MAX_CHARS) {
        if in_query && (c.is_whitespace() || matches!(c, '"' | '\'' | ')' | '<' | '>' | '`')) {
            in_query = false;
        }
        if !in_query {
            kept.push(if c.is_control() { ' ' } else { c });
        }
        if c == '?' {
            in_query = true;
        }
    }
    kept
}

/// What an error means, where it is not that something is not there.
pub(crate) fn of(error: &Error) -> Failure {
    match error {
        Error::Precondition { .. } | Error::AlreadyExists { .. } | Error::NotModified { .. } => Failure::Clash,
        Error::NotFound { .. } => Failure::NoBucket,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Failure::Failed(text(error)),
        _ => by_words(text(error)),
    }
}

/// The library tells the status only in words.
fn by_words(text: String) -> Failure {
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let refused = text.contains("status code: 4") && !says(&["status code: 429", "status code: 408"]);
    if says(&["status code: 404"]) {
        Failure::NoBucket
    } else if refused {
        Failure::Failed(text)
    } else if says(&[
        "code: 429",
        "SlowDown",
        "ServerBusy",
        "TooManyRequests",
        "rateLimitExceeded",
        "RequestLimitExceeded",
    ]) {
        Failure::Throttled(text)
    } else if says(&["status code: 5", "error sending request", "HTTP error", "timed out", "connect"]) {
        Failure::Unavailable(text)
    } else {
        Failure::Failed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_signature_reaches_the_log() {
        let said = text(&"GET https://a.example/b?sig=s3cret&x=1 failed (see http://c?sig=t0p), \"d?e\" ok");
        assert_eq!(said, "GET https://a.example/b? failed (see http://c?), \"d?\" ok");
    }

    #[test]
    fn failures_are_told_apart() {
        let generic = |text: &'static str| of(&Error::Generic { store: "S3", source: text.into() });
        assert!(matches!(
            generic("Server returned non-2xx status code: 503: <Code>SlowDown</Code>"),
            Failure::Throttled(_)
        ));
        assert!(matches!(generic("Server returned non-2xx status code: 500"), Failure::Unavailable(_)));
        assert!(matches!(generic("error sending request for url"), Failure::Unavailable(_)));
        assert!(matches!(generic("Got invalid XML response"), Failure::Failed(_)));
        assert_eq!(generic("Error performing list request: status code: 404 Not Found"), Failure::NoBucket);
        assert!(matches!(generic("status code: 416: <Resource>SlowDown-connect-429"), Failure::Failed(_)));
        let source = || "x".into();
        assert_eq!(of(&Error::AlreadyExists { path: String::new(), source: source() }), Failure::Clash);
        assert_eq!(of(&Error::NotFound { path: String::new(), source: source() }), Failure::NoBucket);
    }
}
