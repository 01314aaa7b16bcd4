//! Access tokens: what an OAuth client gets for its token, for an hour at most. Nothing is stored of them.
//!
//! `vka1.` + base64url of the sealed digest of the client's token and the end. Whoever opens one looks the client's token up
//! again, so that ending that token ends its access tokens at once.

use aws_lc_rs::aead::NONCE_LEN;
use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;

use crate::error::{Error, Kind, Stranger};
use crate::keyring::{Keyring, SEAL_NONCE_LEN};
use crate::secret::Secret;
use crate::token::TokenDigest;

/// What every access token starts with.
pub const PREFIX: &str = "vka1.";
const PURPOSE: &str = "access token";
const PLAIN: usize = 32 + 8;
/// The characters of one: number of the key, nonce, what is sealed, and the seal.
const LENGTH: usize = PREFIX.len() + ((1 + SEAL_NONCE_LEN + PLAIN + 16) * 4).div_ceil(3);
/// The characters of one that was made with the shorter nonce of before.
const OLD_LENGTH: usize = PREFIX.len() + ((1 + NONCE_LEN + PLAIN + 16) * 4).div_ceil(3);

/// Makes an access token for the holder of a token, good in one dialect. The nonce must be fresh randomness.
///
/// # Errors
/// `Internal` when sealing fails.
pub fn seal(
    ring: &Keyring,
    dialect: &'static str,
    token: &TokenDigest,
    until: Timestamp,
    nonce: [u8; SEAL_NONCE_LEN],
) -> Result<Secret<String>, Error> {
    let mut plain = [0; PLAIN];
    let (digest, end) = plain.split_at_mut(32);
    digest.copy_from_slice(token.as_bytes());
    end.copy_from_slice(&until.as_second().to_be_bytes());
    let sealed = ring.seal_bytes(PURPOSE, dialect.as_bytes(), &plain, nonce)?;
    Ok(Secret::new(format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&sealed))))
}

/// Opens an access token: whose token it stands for, if the seal fits, it was made for this dialect and it is in time.
///
/// # Errors
/// `Unauthenticated(Unknown)`, `Unauthenticated(Expired)`.
pub fn open(ring: &Keyring, dialect: &'static str, presented: &str, now: Timestamp) -> Result<TokenDigest, Error> {
    let unknown = || Error::new(Kind::Unauthenticated(Stranger::Unknown), "the access token is not one of this server");
    let coded = presented
        .strip_prefix(PREFIX)
        .filter(|_| [LENGTH, OLD_LENGTH].contains(&presented.len()))
        .ok_or_else(unknown)?;
    let sealed = BASE64URL_NOPAD.decode(coded.as_bytes()).map_err(|_| unknown())?;
    let plain = ring.open_bytes(PURPOSE, dialect.as_bytes(), &sealed).ok_or_else(unknown)?;
    let (digest, end) = plain.reveal().split_first_chunk::<32>().ok_or_else(unknown)?;
    let end = i64::from_be_bytes(end.try_into().map_err(|_| unknown())?);
    if end <= now.as_second() {
        return Err(Error::new(Kind::Unauthenticated(Stranger::Expired), "the access token has expired"));
    }
    Ok(TokenDigest::from_bytes(*digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(secs).unwrap()
    }

    #[test]
    fn one_with_the_shorter_nonce_of_before_is_still_good() {
        let old = "vka1.AQkJCQkJCQkJCQkJCVv0G0R8Y265cHKWZ2bRE91wa_D8oqZzcbvTnmv0cZ7X5HrErDuJm-thksAiPbHCMW9U4zi7jD5X";
        let ring = Keyring::new(&[(1, Secret::new([1; 32]))]).unwrap();
        assert_eq!(open(&ring, "sharing", old, at(99)).unwrap(), TokenDigest::from_bytes([7; 32]));
        assert!(open(&ring, "native", old, at(99)).is_err() && open(&ring, "sharing", old, at(100)).is_err());
    }

    #[test]
    fn an_access_token_opens_in_time_and_unchanged_only() {
        let ring = Keyring::new(&[(1, Secret::new([1; 32]))]).unwrap();
        let digest = TokenDigest::from_bytes([7; 32]);
        let token = seal(&ring, "sharing", &digest, at(100), [9; 24]).unwrap();
        let token = token.reveal();
        assert_eq!(token.len(), LENGTH);
        assert_eq!(open(&ring, "sharing", token, at(99)).unwrap(), digest);
        let kind = |text: &str, now| open(&ring, "sharing", text, at(now)).unwrap_err().kind();
        assert_eq!(kind(token, 100), Kind::Unauthenticated(Stranger::Expired));
        let unknown = Kind::Unauthenticated(Stranger::Unknown);
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(kind(std::str::from_utf8(&changed).unwrap(), 0), unknown, "{at}");
        }
        for bad in ["", PREFIX, "vka1", token.get(1..).unwrap(), &format!("{token}A")] {
            assert_eq!(kind(bad, 0), unknown);
        }
        let other = Keyring::new(&[(1, Secret::new([2; 32]))]).unwrap();
        assert!(open(&other, "sharing", token, at(0)).is_err());
        assert!(open(&ring, "native", token, at(0)).is_err());
    }
}
