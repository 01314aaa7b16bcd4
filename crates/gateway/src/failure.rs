//! What a store's errors mean. SECURITY: their texts go to the log, so nothing of a URL behind its `?` stays: a signature
//! would open what it signs. Nor does what the store itself says, which repeats keys, tokens and what was signed; only its code.

use object_store::Error;
use valetkey_core::name::redacted;
use valetkey_s3::Failure;

use crate::http;

/// The longest text that is kept: so much of its start and of its end.
const MAX_START: usize = 100;
const MAX_END: usize = 100;
/// The longest code of a store.
const MAX_CODE: usize = 64;

/// An error's text for the log, without what URLs carry and what stores answer.
pub(crate) fn text(error: &impl ToString) -> String {
    cut(cleaned(&error.to_string()))
}

/// The library's own words, and the code from the answer behind them.
fn cleaned(text: &str) -> String {
    let behind = |mark: &str| text.find(mark).map(|at| at + mark.len());
    let status = behind("status code: ").and_then(|at| text.get(at..)?.find(": ").map(|more| at + more));
    let answer = [text.find('<'), status, behind("error response")].into_iter().flatten().min();
    let (words, answer) = text.split_at(answer.unwrap_or(text.len()));
    let (mut kept, mut in_query) = (String::new(), false);
    for c in words.chars() {
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
    let code = answer.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code);
    let plain = |code: &&str| (1..=MAX_CODE).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric());
    if let Some(code) = code.filter(plain) {
        kept.extend([": ", code]);
    }
    redacted(&kept).into_owned()
}

/// The start tells what was asked, the end what came of it.
fn cut(text: String) -> String {
    let chars = text.chars().count();
    if chars <= MAX_START + MAX_END {
        return text;
    }
    let end = text.chars().skip(chars - MAX_END);
    text.chars().take(MAX_START).chain(['…']).chain(end).collect()
}

/// What an error means, where it is not that something is not there.
pub(crate) fn of(error: &Error) -> Failure {
    match error {
        Error::Precondition { .. } | Error::AlreadyExists { .. } | Error::NotModified { .. } => Failure::Clash,
        Error::NotFound { .. } => Failure::NoBucket,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Failure::Failed(text(error)),
        error if http::is_strange(error) => Failure::Failed(text(error)),
        _ => by_words(cleaned(&error.to_string())),
    }
}

/// The library tells the status only in words.
fn by_words(text: String) -> Failure {
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let refused = text.contains("status code: 4") && !says(&["status code: 429", "status code: 408"]);
    let throttled =
        says(&["code: 429", "SlowDown", "ServerBusy", "TooManyRequests", "rateLimitExceeded", "RequestLimitExceeded"]);
    let away = says(&["status code: 5", "error sending request", "HTTP error", "timed out", "connect"]);
    let gone = says(&["status code: 404"]);
    let text = cut(text);
    if gone {
        Failure::NoBucket
    } else if refused {
        Failure::Failed(text)
    } else if throttled {
        Failure::Throttled(text)
    } else if away {
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
    fn what_a_store_repeats_reaches_no_log() {
        const ASKED: &str = "Generic S3 error: Error performing GET https://s3.example/lake/a?x=s3cret in 3ms - ";
        let begin = format!("{ASKED}Server returned non-2xx status code: 403 Forbidden: ");
        let unknown = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InvalidAccessKeyId</Code><Message>The AWS Access Key \
            Id you provided does not exist in our records.</Message><AWSAccessKeyId>AKIAIOSFODNN7EXAMPLE</AWSAccessKeyId>\
            <RequestId>1</RequestId><HostId>h</HostId></Error>";
        let unsigned = "<Error><Code>SignatureDoesNotMatch</Code><Message>The request signature we calculated does not match.</Message>\
            <AWSAccessKeyId>AKIAIOSFODNN7EXAMPLE</AWSAccessKeyId><StringToSign>AWS4-HMAC-SHA256\n20260101T000000Z</StringToSign>\
            <SignatureProvided>5ca1ab1e</SignatureProvided><CanonicalRequest>GET\n/lake/a\n\nx-amz-security-token:FwoGZXIvYXdz\n\
            </CanonicalRequest></Error>";
        for (body, end) in [
            (unknown, "403 Forbidden: InvalidAccessKeyId"),
            (unsigned, "403 Forbidden: SignatureDoesNotMatch"),
            ("<Error><Code>AKIA IOSFODNN7EXAMPLE</Code></Error>", "403 Forbidden"),
            ("{\"error\":\"AKIAIOSFODNN7EXAMPLE\"}", "403 Forbidden"),
            ("no such key AKIAIOSFODNN7EXAMPLE", "403 Forbidden"),
        ] {
            let source = || format!("{begin}{body}").into();
            let refused = of(&Error::PermissionDenied { path: "lake/a".to_owned(), source: source() });
            let generic = of(&Error::Generic { store: "S3", source: source() });
            for failure in [refused, generic] {
                let Failure::Failed(said) = failure else { panic!("{failure:?}") };
                for repeated in ["AKIA", "s3cret", "AWS4-HMAC", "FwoGZXIvYXdz", "x-amz", "5ca1ab1e", "records", "<"] {
                    assert!(!said.contains(repeated), "{repeated}: {said}");
                }
                assert!(said.ends_with(end) && said.chars().count() <= 201, "{said}");
            }
        }
        // Of a refused answer with another status too, and of words that are long.
        let said =
            text(&format!("{ASKED}Server returned error response: <Error><Code>SlowDown</Code><Key>s3cret</Key>"));
        assert!(said.ends_with("error response: SlowDown"), "{said}");
        let long = format!(
            "GET https://s3.example/{} status code: 503 Service Unavailable: <Code>SlowDown</Code>",
            "é/".repeat(400)
        );
        let failure = of(&Error::Generic { store: "S3", source: long.into() });
        let Failure::Throttled(said) = failure else { panic!("{failure:?}") };
        assert!(said.contains("status code: 503") && said.chars().count() == 201, "{said}");
        let token = format!("token vkt_{} was refused", "aB3".repeat(15));
        assert_eq!(text(&token), "token vkt_… was refused");
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
