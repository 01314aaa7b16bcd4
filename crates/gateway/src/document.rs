//! Whether what a store answered is the document that was asked for. The library takes every well-formed beginning for one, and
//! what lacks the fields of a listing for an empty listing.

use bytes::Bytes;

/// The names of listings: S3's and Google's, Azure's.
const LISTINGS: [&str; 2] = ["ListBucketResult", "EnumerationResults"];

/// A document without what may stand in front of it: a byte order mark, white space, declarations and comments.
fn bare(mut text: &str) -> &str {
    loop {
        text = text.trim_start_matches('\u{feff}').trim_start();
        let rest = match text {
            _ if text.starts_with("<?") => text.split_once("?>"),
            _ if text.starts_with("<!--") => text.split_once("-->"),
            _ => None,
        };
        match rest {
            Some((_, rest)) => text = rest,
            None => return text,
        }
    }
}

/// Whether an answer is a web page: a portal that wants a login, a proxy's own words.
pub(crate) fn is_page(kind: Option<&[u8]>, body: &[u8]) -> bool {
    let starts = |text: &[u8], start: &str| {
        text.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start.as_bytes()))
    };
    let kind = kind.unwrap_or_default().trim_ascii_start();
    let body = body.get(..body.len().min(4096)).unwrap_or_default();
    let body = String::from_utf8_lossy(body);
    let body = bare(&body).as_bytes();
    ["text/html", "application/xhtml"].iter().any(|page| starts(kind, page))
        || ["<!doctype html", "<html"].iter().any(|page| starts(body, page))
}

/// A token of a managed identity, with its end as `object_store` reads it: whole seconds since 1970, as text. Some of them write a number,
/// or one that is not whole. Nothing where an answer is none, or is well as it is.
pub(crate) fn token(body: &[u8]) -> Option<Bytes> {
    if !body.starts_with(b"{") {
        return None;
    }
    let mut answer: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).ok()?;
    answer.get("access_token")?;
    let end = match answer.get("expires_on")? {
        serde_json::Value::Number(end) => end.to_string(),
        serde_json::Value::String(end) => end.trim().to_owned(),
        _ => return None,
    };
    let whole = end.split_once('.').map_or(&*end, |(whole, _)| whole);
    let whole: u64 = whole.parse().ok()?;
    answer.insert("expires_on".to_owned(), serde_json::Value::String(whole.to_string()));
    serde_json::to_vec(&answer).ok().map(Bytes::from)
}

/// Refuses what is no whole listing; in words for the log that repeat nothing of it.
pub(crate) fn listing(body: &[u8]) -> Result<(), &'static str> {
    let text = std::str::from_utf8(body).map_err(|_| "it is no listing: it is not text")?;
    let text = bare(text).trim_end();
    let tag = text.strip_prefix('<').and_then(|rest| rest.split_once('>')).map(|(tag, _)| tag);
    let tag = tag.ok_or("it is no listing")?;
    let name = tag.split(|c: char| c.is_ascii_whitespace() || c == '/').next().unwrap_or_default();
    if !LISTINGS.contains(&name) {
        return Err("it is no listing");
    }
    // `<ListBucketResult/>` and nothing behind.
    if tag.ends_with('/') && text.len() == tag.len() + 2 {
        return Ok(());
    }
    let end = format!("</{name}");
    let closed = text.split_once(&end).is_some_and(|(_, behind)| behind.trim() == ">");
    if tag.ends_with('/') || !closed {
        return Err("it is a listing without an end");
    }
    let says = |field: &str| {
        let behind = text.split_once(&format!("<{field}>")).map(|(_, behind)| behind.trim_start());
        behind.and_then(|behind| behind.split_once('<')).map_or("", |(value, _)| value.trim_end())
    };
    if says("IsTruncated").eq_ignore_ascii_case("true") && says("NextContinuationToken").is_empty() {
        return Err("it is a listing that continues, and does not say where");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const S3: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>lake</Name><IsTruncated>false</IsTruncated>\
        <Contents><Key>a&lt;/ListBucketResult&gt;</Key></Contents></ListBucketResult>";
    const AZURE: &str = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ContainerName=\"lake\"><Blobs />\
        <NextMarker /></EnumerationResults>";

    #[test]
    fn a_whole_listing_is_one() {
        let more =
            S3.replace("false", "true").replace("</Name>", "</Name><NextContinuationToken>t</NextContinuationToken>");
        for good in [
            S3,
            AZURE,
            &more,
            &format!("<!-- a proxy -->\r\n{S3}\r\n"),
            "<ListBucketResult/>",
            "<ListBucketResult xmlns=\"x\" />",
            "<ListBucketResult></ListBucketResult >",
        ] {
            assert_eq!(listing(good.as_bytes()), Ok(()), "{good}");
            assert!(!is_page(Some(b"application/xml"), good.as_bytes()));
        }
    }

    #[test]
    fn the_end_of_a_token_is_whole_seconds_as_text() {
        for (said, read) in [
            ("1767229199", "1767229199"),
            ("\"1767229199\"", "1767229199"),
            ("1767229199.0", "1767229199"),
            ("\" 1767229199.9 \"", "1767229199"),
        ] {
            let answer = format!("{{\"access_token\":\"t\",\"expires_on\":{said}}}");
            let read_as: serde_json::Value = serde_json::from_slice(&token(answer.as_bytes()).unwrap()).unwrap();
            assert_eq!(read_as, serde_json::json!({"access_token": "t", "expires_on": read}), "{said}");
        }
        for other in [
            "",
            "{",
            "{}",
            "{\"expires_on\":1}",
            "{\"access_token\":\"t\"}",
            "{\"access_token\":\"t\",\"expires_on\":\"soon\"}",
        ] {
            assert_eq!(token(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn what_is_cut_short_or_something_else_is_none() {
        // Wherever it is cut.
        for whole in [S3, AZURE] {
            for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
                assert!(listing(&whole.as_bytes()[..end]).is_err(), "{end}");
            }
        }
        for bad in [
            "",
            "   ",
            "{}",
            "{\"items\":[]}",
            "ok",
            "<",
            "<html></html>",
            "<Error><Code>InternalError</Code></Error>",
            "<ListAllMyBucketsResult></ListAllMyBucketsResult>",
            "<ListBucketResults></ListBucketResults>",
            "<ListBucketResult/><ListBucketResult/>",
            &format!("{S3}{S3}"),
            &format!("{S3}<html></html>"),
            &S3.replace("false", "true"),
            &S3.replace("false", "true").replace("</Name>", "</Name><NextContinuationToken></NextContinuationToken>"),
        ] {
            assert!(listing(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(listing(b"<ListBucketResult>\xff</ListBucketResult>").is_err());
    }

    #[test]
    fn a_web_page_is_seen_by_its_type_or_its_start() {
        for (kind, body) in [
            ("text/html", ""),
            (" Text/HTML; charset=utf-8", "<p>"),
            ("application/xhtml+xml", ""),
            ("", "\n\n<!DOCTYPE html><html>"),
            ("application/xml", "<?xml version=\"1.0\"?><!-- x --><HTML>"),
        ] {
            assert!(is_page(Some(kind.as_bytes()), body.as_bytes()), "{kind} {body}");
        }
        assert!(is_page(None, b"\xef\xbb\xbf<html lang=\"en\">"));
        assert!(!is_page(None, b"") && !is_page(Some(b"application/json"), b"{\"html\":\"<html>\"}"));
    }
}
