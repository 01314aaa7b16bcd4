//! Pages of listings. A token says after which name to go on; it is sealed and bound to the listing and the caller it was
//! made for, so that it opens no other.

use data_encoding::BASE64URL_NOPAD;
use valetkey_core::keyring::SEAL_NONCE_LEN;
use valetkey_core::{Error, Kind};

use super::{Call, Shared};

const PURPOSE: &str = "page of a listing";

/// A listing, and which part of it is asked for.
pub struct Listing<'a> {
    /// Who asks.
    pub call: &'a Call,
    /// The parameter that a page's token comes in.
    pub token: &'static str,
    /// How many items a page has at most.
    pub size: usize,
    /// Names the listing: a token of another one is refused.
    pub name: &'a [&'a str],
}

/// Part of a listing.
pub struct Page<'a, T> {
    /// Its items.
    pub items: Vec<&'a T>,
    /// The token of the next part, if there is one.
    pub next: Option<String>,
}

impl Listing<'_> {
    /// The part of a sorted list that is asked for; `key` is what the list is sorted by.
    ///
    /// # Errors
    /// `Invalid` when the token is of another listing or another caller.
    pub fn of<'t, T>(&self, shared: &Shared, all: &'t [T], key: impl Fn(&T) -> String) -> Result<Page<'t, T>, Error> {
        let Self { call, token, size, name } = *self;
        let bound = [&call.caller.id.to_string(), name.join("/").as_str()].join("\0");
        let ring = shared.keyring.load();
        let after = match call.query.get(token).filter(|token| !token.is_empty()) {
            None => None,
            Some(sealed) => {
                let said = format!("invalid `{token}`: it is of another listing");
                let refused = || Error::new(Kind::Invalid, said.clone()).at(token);
                let sealed = BASE64URL_NOPAD.decode(sealed.as_bytes()).map_err(|_| refused())?;
                let plain = ring.open_bytes(PURPOSE, bound.as_bytes(), &sealed).ok_or_else(refused)?;
                Some(String::from_utf8(plain.reveal().clone()).map_err(|_| refused())?)
            }
        };
        // Names have no control characters, so the empty text is before every one of them.
        let from = after.as_ref().map_or(0, |after| all.partition_point(|item| key(item) <= *after));
        let items: Vec<&T> = all.iter().skip(from).take(size).collect();
        let next = if from + items.len() < all.len() {
            let last = items.last().map(|item| key(item)).or(after).unwrap_or_default();
            let mut nonce = [0; SEAL_NONCE_LEN];
            shared.entropy.fill(&mut nonce);
            let sealed = ring.seal_bytes(PURPOSE, bound.as_bytes(), last.as_bytes(), nonce)?;
            Some(BASE64URL_NOPAD.encode(&sealed))
        } else {
            None
        };
        Ok(Page { items, next })
    }
}
