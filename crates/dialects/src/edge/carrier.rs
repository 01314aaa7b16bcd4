//! Where a token stands in a request, for dialects that say so by a list. It is never in a URL: those are logged.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, header};
use valetkey_core::error::Stranger;
use valetkey_core::nouns::identity::LONGEST_TOKEN;
use valetkey_core::{Error, Kind};

use super::read::{basic, bearer};

/// One place of a request where a token may stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carrier {
    /// `Authorization: Bearer <token>`.
    Bearer,
    /// A header whose value is the token.
    Header(&'static str),
    /// HTTP Basic with this user, and the token as the password.
    Basic(&'static str),
}

const AUTHORIZATION: &str = "Authorization";

/// Takes the token out of whichever of its places there is one in. Two that do not agree are refused: which of them counts would be a
/// guess.
pub(super) fn token<'h>(carriers: &[Carrier], headers: &'h HeaderMap) -> Result<Cow<'h, str>, Error> {
    let named = carriers.iter().filter_map(|carrier| match carrier {
        Carrier::Header(name) => Some(*name),
        Carrier::Bearer | Carrier::Basic(_) => None,
    });
    let mut given = Vec::new();
    for name in named {
        let mut all = headers.get_all(name).iter();
        given.extend(all.next().map(|value| (name, value)));
        if all.next().is_some() {
            return Err(Error::new(Kind::Malformed, format!("the header `{name}` is given twice")));
        }
    }
    let mut found = authorized(carriers, headers)?.map(|token| (AUTHORIZATION, token));
    for (name, value) in given {
        let token = in_header(name, value)?;
        match &found {
            Some((before, other)) if *other != token => {
                let said = format!("`{before}` and `{name}` carry different tokens; send one");
                return Err(Error::new(Kind::Malformed, said));
            }
            Some(_) => {}
            None => found = Some((name, Cow::Borrowed(token))),
        }
    }
    found.map(|(_, token)| token).ok_or_else(|| {
        Error::new(Kind::Unauthenticated(Stranger::Missing), format!("no token was sent; send {}", wanted(carriers)))
    })
}

fn in_header<'h>(name: &str, value: &'h HeaderValue) -> Result<&'h str, Error> {
    let token = value.to_str().ok().map(str::trim).filter(|token| !token.is_empty() && token.len() <= LONGEST_TOKEN);
    let said = || format!("the header `{name}` is not a token");
    token.ok_or_else(|| Error::new(Kind::Unauthenticated(Stranger::Unknown), said()))
}

/// The token in `Authorization`, where a carrier is there.
fn authorized<'h>(carriers: &[Carrier], headers: &'h HeaderMap) -> Result<Option<Cow<'h, str>>, Error> {
    let unread = |said: String| Error::new(Kind::Unauthenticated(Stranger::Unknown), said);
    let user = carriers.iter().find_map(|carrier| match carrier {
        Carrier::Basic(user) => Some(*user),
        Carrier::Bearer | Carrier::Header(_) => None,
    });
    let is_bearer = carriers.contains(&Carrier::Bearer);
    if !headers.contains_key(header::AUTHORIZATION) || (user.is_none() && !is_bearer) {
        return Ok(None);
    }
    if let Some(user) = user
        && let Some((name, secret)) = basic(headers)?
    {
        if name == user {
            return Ok(Some(Cow::Owned(secret.reveal().clone())));
        }
        return Err(unread(format!("HTTP Basic is taken with the name `{user}` and the token as password")));
    }
    if is_bearer {
        return bearer(headers).map(Some);
    }
    Err(unread("the header `Authorization` is not of the form `Basic <base64>`".to_owned()))
}

/// How a token is sent. HTTP Basic is for clients that know nothing else, so it is only named where nothing else is taken.
fn wanted(carriers: &[Carrier]) -> String {
    let only_basic = carriers.iter().all(|carrier| matches!(carrier, Carrier::Basic(_)));
    let words = carriers.iter().filter_map(|carrier| match carrier {
        Carrier::Bearer => Some("`Authorization: Bearer <token>`".to_owned()),
        Carrier::Header(name) => Some(format!("`{name}: <token>`")),
        Carrier::Basic(user) => {
            only_basic.then(|| format!("HTTP Basic with the name `{user}` and the token as password"))
        }
    });
    words.collect::<Vec<_>>().join(" or ")
}

/// Which challenge (RFC 9110, section 11.6.1) asks for a token: nothing where only headers of the API's own carry one.
pub(super) fn challenge(carriers: &[Carrier], why: Stranger) -> Option<&'static str> {
    if carriers.contains(&Carrier::Bearer) {
        return Some(bearer_challenge(why));
    }
    carriers.iter().any(|carrier| matches!(carrier, Carrier::Basic(_))).then_some("Basic realm=\"valetkey\"")
}

/// RFC 6750, section 3: a token that was sent and not taken is named, one that was not sent is only asked for.
pub(super) fn bearer_challenge(why: Stranger) -> &'static str {
    match why {
        Stranger::Missing => "Bearer",
        Stranger::Unknown | Stranger::Expired | Stranger::Revoked => "Bearer error=\"invalid_token\"",
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;

    use super::*;

    const ALL: &[Carrier] = &[Carrier::Header("X-Key"), Carrier::Basic("__token__"), Carrier::Bearer];

    fn read(carriers: &[Carrier], sent: &[(&str, &str)]) -> Result<String, (Kind, String)> {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let told = |error: Error| (error.kind(), error.message().to_owned());
        token(carriers, &headers).map(Cow::into_owned).map_err(told)
    }

    #[test]
    fn a_token_is_found_where_one_is_taken_and_nowhere_else() {
        let of = |text: &str| format!("Basic {}", BASE64.encode(text.as_bytes()));
        let took = Ok("abc".to_owned());
        assert_eq!(read(ALL, &[("x-key", " abc ")]), took);
        assert_eq!(read(ALL, &[("authorization", "Bearer abc")]), took);
        assert_eq!(read(ALL, &[("authorization", &of("__token__:abc"))]), took);
        assert_eq!(read(ALL, &[("authorization", "Bearer abc"), ("x-key", "abc")]), took);
        let only = &[Carrier::Header("X-Key")];
        assert_eq!(read(only, &[("authorization", "Bearer other"), ("x-key", "abc")]), took);
        let kind = |carriers, sent: &[(&str, &str)]| read(carriers, sent).map_err(|(kind, _)| kind);
        let (missing, unknown) =
            (Err(Kind::Unauthenticated(Stranger::Missing)), Err(Kind::Unauthenticated(Stranger::Unknown)));
        assert_eq!(kind(only, &[("authorization", "Bearer abc")]), missing);
        assert_eq!(kind(&[Carrier::Basic("u")], &[("authorization", "Bearer abc")]), unknown);
        assert_eq!(kind(&[Carrier::Bearer], &[("authorization", &of("u:abc"))]), unknown);
        assert_eq!(kind(ALL, &[("authorization", &of("u:abc"))]), unknown);
        assert_eq!(kind(ALL, &[("x-key", "")]), unknown);
        assert_eq!(kind(ALL, &[("x-key", &"x".repeat(LONGEST_TOKEN + 1))]), unknown);
    }

    #[test]
    fn two_tokens_are_refused() {
        let kind = |sent: &[(&str, &str)]| read(ALL, sent).map_err(|(kind, _)| kind);
        assert_eq!(kind(&[("x-key", "abc"), ("x-key", "abc")]), Err(Kind::Malformed));
        assert_eq!(kind(&[("authorization", "Bearer a"), ("x-key", "abc")]), Err(Kind::Malformed));
        assert_eq!(kind(&[("authorization", "Bearer abc"), ("authorization", "Bearer abc")]), Err(Kind::Malformed));
    }

    #[test]
    fn what_is_wanted_is_said_and_asked_for() {
        let said = |carriers| read(carriers, &[]).unwrap_err().1;
        assert_eq!(said(ALL), "no token was sent; send `X-Key: <token>` or `Authorization: Bearer <token>`");
        assert!(said(&[Carrier::Basic("u")]).ends_with("HTTP Basic with the name `u` and the token as password"));
        assert_eq!(challenge(ALL, Stranger::Missing), Some("Bearer"));
        assert_eq!(challenge(&[Carrier::Basic("u")], Stranger::Expired), Some("Basic realm=\"valetkey\""));
        assert_eq!(challenge(&[Carrier::Header("x")], Stranger::Missing), None);
    }
}
