//! Reads what a request carries: its token, its body, a JSON document. Everything that is not clear is refused.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use data_encoding::BASE64;
use http::{HeaderMap, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use valetkey_core::error::Stranger;
use valetkey_core::fair::Share;
use valetkey_core::name::shortened;
use valetkey_core::nouns::identity::LONGEST_TOKEN;
use valetkey_core::{Error, Kind, Secret};

/// The longest `Authorization` header that is looked at, in bytes. Our tokens have 54, those of identity providers many times that;
/// with HTTP Basic they are a third longer.
const LONGEST_AUTHORIZATION: usize = LONGEST_TOKEN / 3 * 4 + 512;

fn stranger(why: Stranger, said: &'static str) -> Error {
    Error::new(Kind::Unauthenticated(why), said)
}

/// Takes the token out of `Authorization: Bearer <token>`.
///
/// # Errors
/// `Unauthenticated(Missing)` without the header, `Unauthenticated(Unknown)` with another scheme or no text,
/// `Malformed` when the header comes twice.
pub fn bearer(headers: &HeaderMap) -> Result<Cow<'_, str>, Error> {
    let unread = || stranger(Stranger::Unknown, "the header `Authorization` is not of the form `Bearer <token>`");
    let (scheme, token) = authorization(headers)?
        .ok_or_else(|| stranger(Stranger::Missing, "no token was sent; send `Authorization: Bearer <token>`"))?
        .ok_or_else(unread)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Cow::Borrowed(token)) } else { Err(unread()) }
}

/// Takes the name and the secret out of `Authorization: Basic <base64>`; nothing without the header or with another scheme.
///
/// # Errors
/// `Unauthenticated(Unknown)` when it cannot be read, `Malformed` when the header comes twice.
pub fn basic(headers: &HeaderMap) -> Result<Option<(String, Secret<String>)>, Error> {
    let unread = || stranger(Stranger::Unknown, "the header `Authorization` is not of the form `Basic <base64>`");
    let Some(Some((scheme, coded))) = authorization(headers)? else { return Ok(None) };
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(None);
    }
    let bytes = BASE64.decode(coded.as_bytes()).map_err(|_| unread())?;
    let text = String::from_utf8(bytes).map_err(|_| unread())?;
    let (name, secret) = text.split_once(':').ok_or_else(unread)?;
    Ok(Some((name.to_owned(), Secret::new(secret.to_owned()))))
}

/// The scheme and the rest of `Authorization`: nothing without the header, nothing inside when it cannot be read.
#[expect(clippy::option_option, reason = "absent and unreadable are refused differently")]
fn authorization(headers: &HeaderMap) -> Result<Option<Option<(&str, &str)>>, Error> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return Err(Error::new(Kind::Malformed, "the header `Authorization` is given twice"));
    }
    if value.len() > LONGEST_AUTHORIZATION {
        return Ok(Some(None));
    }
    let parts = value.to_str().ok().and_then(|text| text.split_once(' '));
    Ok(Some(parts.map(|(scheme, rest)| (scheme, rest.trim_matches(' '))).filter(|(_, rest)| !rest.is_empty())))
}

/// The refusal of who has more bytes of bodies on their way than there is room for.
pub(super) fn too_many() -> Error {
    metrics::counter!("vk_bodies_refused_total").increment(1);
    Error::new(Kind::RateLimited, "too many bodies are being read for this account; try again in 1 s").retry_after(1)
}

/// Reads a body of at most `limit` bytes. What is read is in `held`.
///
/// # Errors
/// `TooLarge`; `Malformed` when it breaks off or does not arrive in time; `RateLimited` when there is no room for it.
pub(super) async fn body(body: Body, limit: usize, time: Duration, held: &mut Share) -> Result<Bytes, Error> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let too_large = || Error::new(Kind::TooLarge, format!("the body is too large; the most is {limit} bytes"));
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    match tokio::time::timeout(time, collected(Limited::new(body, limit), held)).await {
        Err(_) => Err(Error::new(Kind::Malformed, format!("the body did not arrive within {} s", time.as_secs()))),
        Ok(Ok(all)) => Ok(all),
        Ok(Err(Broken::NoRoom)) => Err(too_many()),
        Ok(Err(Broken::Off(error))) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(Broken::Off(error))) => Err(Error::new(Kind::Malformed, "the body broke off").caused_by(error)),
    }
}

/// The most bytes of a refused body that are passed over, and for how long: whoever sends little gets to see the refusal
/// instead of a broken connection.
const DISCARDED: usize = 256 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// Passes over a body that was refused. Nothing of it is kept.
pub(super) async fn discard(mut body: Body) {
    let announced = body.size_hint().lower();
    if body.is_end_stream() || announced > DISCARDED as u64 {
        return;
    }
    let passed_over = async {
        let mut left = DISCARDED;
        while let Some(Ok(frame)) = body.frame().await {
            let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
            left = rest;
        }
    };
    let _ = tokio::time::timeout(DISCARD_TIME, passed_over).await;
}

enum Broken {
    NoRoom,
    Off(Box<dyn std::error::Error + Send + Sync>),
}

/// Puts together what comes. What is announced takes its room at once, so that none is read that has none.
async fn collected(mut body: Limited<Body>, held: &mut Share) -> Result<Bytes, Broken> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if !held.reach(announced) {
        return Err(Broken::NoRoom);
    }
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Broken::Off)?.into_data() else { continue };
        // While it grows, what it was and what it becomes are there both.
        let after = all.len().saturating_add(data.len());
        if !held.reach(after) {
            return Err(Broken::NoRoom);
        }
        if all.is_empty() {
            all.reserve(announced);
        }
        all.extend_from_slice(&data);
    }
    Ok(all.freeze())
}

/// Reads a JSON object.
///
/// # Errors
/// `Malformed` when it is not JSON, `Invalid` when a value in it has the wrong type, is missing or is unknown.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    // SECURITY: serde reads an array into a struct field by field; nobody means that, and it would pass unknown fields.
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => {}
        Some(_) => return Err(Error::new(Kind::Malformed, "the body is not a JSON object")),
        None => return Err(Error::new(Kind::Malformed, "the body is empty; send a JSON object")),
    }
    let mut text = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut text).map_err(|error| {
        let field = error.path().to_string();
        unreadable(body, Some(field.as_str()).filter(|field| *field != "."), &error.into_inner())
    })?;
    text.end().map_err(|error| unreadable(body, None, &error))?;
    Ok(read)
}

/// What is wrong with a body, and in which field, where it is in one.
fn unreadable(body: &[u8], field: Option<&str>, error: &serde_json::Error) -> Error {
    let kind = match error.classify() {
        serde_json::error::Category::Data => Kind::Invalid,
        // The library takes a list in the place of a word for bad JSON.
        serde_json::error::Category::Io | serde_json::error::Category::Syntax | serde_json::error::Category::Eof => {
            let text = std::str::from_utf8(body).unwrap_or_default();
            let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
            if is_json { Kind::Invalid } else { Kind::Malformed }
        }
    };
    let words = error.to_string();
    // What is missing has no place in the body; the library names it in its words.
    let missing = words.strip_prefix("missing field `").and_then(|rest| rest.split_once('`')).map(|(name, _)| name);
    match (kind, field, missing) {
        (Kind::Invalid, within, Some(name)) => {
            let name = within.map_or_else(|| name.to_owned(), |within| format!("{within}.{name}"));
            Error::new(kind, format!("the field `{}` is missing", short(&name))).at(name)
        }
        (Kind::Invalid, Some(field), None) => {
            Error::new(kind, format!("`{}` cannot be read: {}", short(field), short(&words))).at(field.to_owned())
        }
        _ => Error::new(kind, format!("the body cannot be read: {}", short(&words))),
    }
}

/// A foreign message, kept from growing with what the client sent.
fn short(words: &str) -> String {
    if words.len() <= 400 { words.escape_debug().to_string() } else { shortened(words) }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[derive(serde::Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it reads is asked")]
    struct Small {
        a: Option<u8>,
        b: Option<Vec<String>>,
    }

    #[tokio::test]
    async fn a_body_that_there_is_no_room_for_is_refused_before_it_is_read_and_leaves_nothing() {
        let account = valetkey_core::id::AccountId::from_bytes([1; 16]);
        let bodies = valetkey_core::fair::Budget::new(1000);
        let read = async |sent: Body, held: &mut Share| body(sent, 10_000, Duration::from_secs(10), held).await;
        let mut held = bodies.take(account, 0).unwrap();
        let whole = read(Body::from(vec![b'x'; 500]), &mut held).await.unwrap();
        assert_eq!((whole.len(), bodies.used()), (500, 500));
        let mut more = bodies.take(account, 0).unwrap();
        let refused = read(Body::from("x"), &mut more).await.unwrap_err();
        assert_eq!((refused.kind(), refused.retry_after_secs()), (Kind::RateLimited, Some(1)));
        drop(held);
        // What comes without being announced is counted as it comes.
        let piece = || Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 100]));
        let stream = futures::stream::repeat_with(piece);
        let refused = read(Body::from_stream(stream), &mut more).await.unwrap_err();
        assert_eq!((refused.kind(), more.bytes()), (Kind::RateLimited, 500));
        drop(more);
        assert_eq!(bodies.used(), 0);
    }

    #[test]
    fn basic_gives_a_name_and_a_secret_or_is_refused() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(text).unwrap());
            basic(&headers)
                .map(|pair| pair.map(|(name, secret)| (name, secret.reveal().clone())))
                .map_err(|error| error.kind())
        };
        let of = |text: &str| BASE64.encode(text.as_bytes());
        let pair = |name: &str, secret: &str| Ok(Some((name.to_owned(), secret.to_owned())));
        assert_eq!(basic(&HeaderMap::new()).unwrap().map(|(name, _)| name), None);
        assert_eq!(read("Bearer x"), Ok(None));
        assert_eq!(read(&format!("basic {}", of("__token__:a:b"))), pair("__token__", "a:b"));
        assert_eq!(read(&format!("Basic {}", of(":"))), pair("", ""));
        for bad in ["Basic !".to_owned(), format!("Basic {}", of("nothing")), "Basic /w==".to_owned()] {
            assert_eq!(read(&bad), Err(Kind::Unauthenticated(Stranger::Unknown)), "{bad}");
        }
    }

    #[test]
    fn json_that_is_not_clear_is_refused() {
        let kind = |body: &[u8]| json::<Small>(body).map(|_| ()).map_err(|error| error.kind());
        assert_eq!(kind(b" {\"a\":1} "), Ok(()));
        for (body, expected) in [
            (&b""[..], Kind::Malformed),
            (b"[1]", Kind::Malformed),
            (b"null", Kind::Malformed),
            (b"{\"a\":1", Kind::Malformed),
            (b"{\"a\":1}x", Kind::Malformed),
            (b"\xff", Kind::Malformed),
            (b"{\"a\":\"\xff\"}", Kind::Malformed),
            (b"{\"a\":1,\"a\":1}", Kind::Invalid),
            (b"{\"a\":256}", Kind::Invalid),
            (b"{\"a\":1.0}", Kind::Invalid),
            (b"{\"c\":1}", Kind::Invalid),
        ] {
            assert_eq!(kind(body), Err(expected), "{}", body.escape_ascii());
        }
        let deep = format!("{{\"b\":{}", "[".repeat(100_000));
        assert!(kind(deep.as_bytes()).is_err());
    }

    #[test]
    fn only_one_clear_bearer_token_is_taken() {
        let read = |values: &[&'static [u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
            }
            bearer(&headers).map(Cow::into_owned).map_err(|error| error.kind())
        };
        assert_eq!(read(&[b"bearer  abc"]), Ok("abc".to_owned()));
        let unknown = Err(Kind::Unauthenticated(Stranger::Unknown));
        assert_eq!(read(&[]), Err(Kind::Unauthenticated(Stranger::Missing)));
        assert_eq!(read(&[b"Bearer a", b"Bearer a"]), Err(Kind::Malformed));
        for bad in [&b"abc"[..], b"Basic abc", b"Bearer ", b"Bearer", b"Bearer \xff", b""] {
            assert_eq!(read(&[bad.to_vec().leak()]), unknown);
        }
        assert_eq!(read(&[format!("Bearer {}", "x".repeat(LONGEST_AUTHORIZATION)).leak().as_bytes()]), unknown);
    }
}
