//! Refresh tokens: which version of a table an answer told. Whoever has one asks for the same version again, to have its URLs anew,
//! although the table has gone on. Sealed, and of one caller and one table; it gives no right that the caller has not.

use data_encoding::BASE64URL_NOPAD;
use jiff::{SignedDuration, Timestamp};
use valetkey_core::keyring::SEAL_NONCE_LEN;
use valetkey_core::{Error, Kind};

use super::Sharing;
use super::table::Found;
use crate::edge::Call;

const PURPOSE: &str = "refresh of a query";
/// How long one is taken: as long as URLs usually live, as in the reference server.
const LIFE: SignedDuration = SignedDuration::from_hours(1);

fn bound(call: &Call, found: &Found) -> String {
    format!("{}\0{}", call.caller.id, found.table.id)
}

/// The token of a version that is told now.
pub(super) fn token(sharing: &Sharing, call: &Call, found: &Found, version: u64) -> Result<String, Error> {
    let end = call.now.checked_add(LIFE).unwrap_or(call.now).as_second();
    let mut nonce = [0; SEAL_NONCE_LEN];
    sharing.shared.entropy.fill(&mut nonce);
    let ring = sharing.shared.keyring.load();
    let plain = format!("{version} {end}");
    let sealed = ring.seal_bytes(PURPOSE, bound(call, found).as_bytes(), plain.as_bytes(), nonce)?;
    Ok(BASE64URL_NOPAD.encode(&sealed))
}

/// The version that a token is of.
///
/// # Errors
/// `Invalid` when it is of another table or caller, or over.
pub(super) fn version(sharing: &Sharing, call: &Call, found: &Found, text: &str) -> Result<u64, Error> {
    let refused = || {
        let said =
            "invalid `refreshToken`: it is of another table or another caller, or it is over; ask again without it";
        Error::new(Kind::Invalid, said).at("refreshToken")
    };
    let sealed = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| refused())?;
    let ring = sharing.shared.keyring.load();
    let plain = ring.open_bytes(PURPOSE, bound(call, found).as_bytes(), &sealed).ok_or_else(refused)?;
    let plain = std::str::from_utf8(plain.reveal()).map_err(|_| refused())?;
    let (version, end) = plain.split_once(' ').ok_or_else(refused)?;
    let end = end.parse().ok().and_then(|end| Timestamp::from_second(end).ok()).ok_or_else(refused)?;
    if call.now >= end {
        return Err(refused());
    }
    version.parse().map_err(|_| refused())
}
