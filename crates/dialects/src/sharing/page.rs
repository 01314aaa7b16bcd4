//! Pages of listings. A token says after which name to go on; it is sealed and bound to the listing and the caller it was
//! made for, so that it opens no other.

use data_encoding::BASE64URL_NOPAD;
use valetkey_core::keyring::SEAL_NONCE_LEN;
use valetkey_core::name::shortened;
use valetkey_core::{Error, Kind};

use super::Sharing;
use crate::edge::{Call, Query};

/// Rows of one page at most; the protocol leaves it to the server. A share has tens of tables, and a page of 500 has some 50 KiB.
const MOST: usize = 500;
const PURPOSE: &str = "page of a listing";

/// The parameters that listings take.
pub(super) const PARAMETERS: &[&str] = &["maxResults", "pageToken"];

/// Part of a listing.
pub(super) struct Page<'a, T> {
    pub(super) items: Vec<&'a T>,
    pub(super) next: Option<String>,
}

fn size(text: Option<&str>) -> Result<usize, Error> {
    let Some(text) = text else { return Ok(MOST) };
    let number: i64 = text.parse().map_err(|_| {
        let said = "expected a number but the string didn't have the appropriate format";
        Error::new(Kind::Invalid, said).at("maxResults")
    })?;
    usize::try_from(number).ok().filter(|size| *size <= MOST).ok_or_else(|| {
        let said = format!("acceptable values of `maxResults` are 0 to {MOST}; it is {}", shortened(text));
        Error::new(Kind::Invalid, said).at("maxResults")
    })
}

impl Sharing {
    /// The part of a sorted list that is asked for. `listing` names the list; `key` is what the list is sorted by.
    pub(super) fn page<'a, T>(
        &self,
        call: &Call,
        query: &Query,
        listing: &[&str],
        all: &'a [T],
        key: impl Fn(&T) -> String,
    ) -> Result<Page<'a, T>, Error> {
        let size = size(query.get("maxResults"))?;
        let bound = [&call.caller.id.to_string(), listing.join("/").as_str()].join("\0");
        let ring = self.shared.keyring.load();
        let after = match query.get("pageToken").filter(|token| !token.is_empty()) {
            None => None,
            Some(token) => {
                let refused =
                    || Error::new(Kind::Invalid, "invalid `pageToken`: it is of another listing").at("pageToken");
                let sealed = BASE64URL_NOPAD.decode(token.as_bytes()).map_err(|_| refused())?;
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
            self.shared.entropy.fill(&mut nonce);
            let sealed = ring.seal_bytes(PURPOSE, bound.as_bytes(), last.as_bytes(), nonce)?;
            Some(BASE64URL_NOPAD.encode(&sealed))
        } else {
            None
        };
        Ok(Page { items, next })
    }
}
