//! The tokens callers prove themselves with: recognisable, checksummed, and stored only as a digest.
//!
//! `vkt_` + 43 characters of base62 (256 random bits) + `_` + 6 characters of base62 (CRC-32 of what stands before it,
//! as GitHub does). The checksum is not a secret: it lets a scanner report a leak, and us refuse a typo, without a look-up.

use std::fmt;

use aws_lc_rs::digest;
use jiff::Timestamp;

use crate::error::{Error, Kind, Stranger};
use crate::id::TokenId;
use crate::secret::Secret;
use crate::time::Entropy;

const PREFIX: &str = "vkt_";
const BODY: usize = 43;
const CHECK: usize = 6;
const LENGTH: usize = PREFIX.len() + BODY + 1 + CHECK;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A token as its holder has it.
#[derive(Clone, Debug)]
pub struct PlainToken(Secret<String>);

/// A token as we keep it: SHA-256 of the SHA-256 of the whole text. Without salt, because the text holds 256 random bits.
///
/// SECURITY: twice, because the first digest, in hexadecimal, is the secret access key of
/// a parent access key: a database must hold what proves a token, and nothing that signs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

/// Who makes something that proves a caller (a token, a link to download one, a parent access key), and what that means for its
/// end. Whoever stores such a thing asks for this: nothing is made by nobody.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Maker {
    /// The server itself, by a command on its own machine.
    Server,
    /// A token: what it makes ends no later than it does.
    Token(TokenId),
    /// A token of an operator who said that what is made may outlive it.
    Outlived(TokenId),
}

impl Maker {
    /// The token that is remembered as the maker.
    pub const fn token(self) -> Option<TokenId> {
        match self {
            Self::Server => None,
            Self::Token(token) | Self::Outlived(token) => Some(token),
        }
    }

    /// Whether an operator let what is made outlive the token that makes it.
    pub const fn outlives(self) -> bool {
        match self {
            Self::Server | Self::Token(_) => false,
            Self::Outlived(_) => true,
        }
    }

    /// The end of what is made, of the end that was asked for and the maker's own.
    pub fn until(self, asked: Option<Timestamp>, own: Option<Timestamp>) -> Option<Timestamp> {
        match self {
            Self::Server | Self::Outlived(_) => asked,
            Self::Token(_) => match (asked, own) {
                (Some(asked), Some(own)) => Some(asked.min(own)),
                (asked, own) => asked.or(own),
            },
        }
    }
}

impl PlainToken {
    /// Makes a new token.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut text = String::with_capacity(LENGTH);
        text.push_str(PREFIX);
        // Bytes of 248 and above are thrown away, so that every digit is equally likely.
        while text.len() < PREFIX.len() + BODY {
            let mut bytes = [0u8; 64];
            entropy.fill(&mut bytes);
            for byte in bytes {
                if byte < 248 && text.len() < PREFIX.len() + BODY {
                    text.push(digit(u32::from(byte) % 62));
                }
            }
        }
        let check = checksum(&text);
        text.push('_');
        text.push_str(&check);
        Self(Secret::new(text))
    }

    /// Reads a presented token; what is not of our form is refused without a look-up.
    ///
    /// # Errors
    /// `Unauthenticated(Unknown)`.
    pub fn parse(presented: &str) -> Result<Self, Error> {
        let refused = || {
            Error::new(
                Kind::Unauthenticated(Stranger::Unknown),
                "the token is not one of this server; one starts with `vkt_` and has 54 characters",
            )
        };
        let (head, check) = presented.rsplit_once('_').ok_or_else(refused)?;
        let formed = presented.len() == LENGTH
            && head
                .strip_prefix(PREFIX)
                .is_some_and(|body| body.len() == BODY && body.bytes().all(|b| b.is_ascii_alphanumeric()));
        if !formed || checksum(head) != check {
            return Err(refused());
        }
        Ok(Self(Secret::new(presented.to_owned())))
    }

    /// What we keep of it.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of(self.0.reveal())
    }

    /// The secret access key that the token has where it is a parent access key: its SHA-256 in lower-case hexadecimal.
    pub fn secret_access_key(&self) -> Secret<String> {
        Secret::new(data_encoding::HEXLOWER.encode(&sha256(self.0.reveal().as_bytes())))
    }

    /// Shows the token, for the one answer that hands it out.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }

    /// The last four characters: enough to tell tokens apart in a list, nothing to guess from.
    pub fn tail(&self) -> String {
        let text = self.0.reveal();
        text.get(text.len().saturating_sub(4)..).unwrap_or_default().to_owned()
    }
}

impl TokenDigest {
    /// The digest of a token's text.
    fn of(text: &str) -> Self {
        Self::of_digest(&sha256(text.as_bytes()))
    }

    /// The digest of a token whose text is known only by its SHA-256, as databases held it before.
    pub fn of_digest(once: &[u8; 32]) -> Self {
        Self(sha256(once))
    }

    /// Takes the stored bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[digest of a token]")
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

fn digit(value: u32) -> char {
    usize::try_from(value).ok().and_then(|at| BASE62.get(at)).map_or('0', |byte| char::from(*byte))
}

/// CRC-32 of each byte: every request's token is checked, so eight bits are taken at a time.
const CRC_OF_BYTE: [u32; 256] = {
    let mut table = [0; 256];
    let mut rest = table.as_mut_slice();
    let mut byte = 0;
    while let Some((slot, others)) = rest.split_first_mut() {
        let mut crc: u32 = byte;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        *slot = crc;
        byte += 1;
        rest = others;
    }
    table
};

/// CRC-32 (ISO-HDLC) in six digits of base 62.
fn checksum(text: &str) -> String {
    let mut crc = u32::MAX;
    for byte in text.bytes() {
        let [low, ..] = crc.to_le_bytes();
        crc = (crc >> 8) ^ CRC_OF_BYTE.get(usize::from(low ^ byte)).copied().unwrap_or(0);
    }
    let mut rest = !crc;
    let mut digits = ['0'; CHECK];
    for slot in digits.iter_mut().rev() {
        *slot = digit(rest % 62);
        rest /= 62;
    }
    digits.iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(std::sync::atomic::AtomicU8);
    impl Entropy for Counting {
        fn fill(&self, buffer: &mut [u8]) {
            for byte in buffer {
                *byte = self.0.fetch_add(37, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn a_token_reads_back_and_a_typo_does_not() {
        let token = PlainToken::generate(&Counting(1.into()));
        let text = token.reveal().to_owned();
        assert_eq!(text.len(), LENGTH);
        assert_eq!(PlainToken::parse(&text).unwrap().digest(), token.digest());
        for at in 0..text.len() {
            let mut typo = text.clone().into_bytes();
            typo[at] = if typo[at] == b'x' { b'y' } else { b'x' };
            assert!(PlainToken::parse(std::str::from_utf8(&typo).unwrap()).is_err(), "at {at}");
        }
        for bad in ["", "_", "vkt_", "ä", text.trim_start_matches('v'), &format!("{text}0")] {
            assert!(PlainToken::parse(bad).is_err());
        }
    }

    #[test]
    fn the_checksum_is_crc_32() {
        // The check value of CRC-32/ISO-HDLC is 0xcbf43926 for "123456789".
        let mut rest = 0xcbf4_3926u32;
        let mut digits = Vec::new();
        for _ in 0..6 {
            digits.push(digit(rest % 62));
            rest /= 62;
        }
        assert_eq!(checksum("123456789"), digits.iter().rev().collect::<String>());
    }

    #[test]
    fn what_is_kept_is_not_what_signs() {
        let token = PlainToken::generate(&Counting(5.into()));
        let secret = data_encoding::HEXLOWER.decode(token.secret_access_key().reveal().as_bytes()).unwrap();
        assert_ne!(token.digest().as_bytes()[..], secret[..]);
        assert_eq!(TokenDigest::of_digest(&secret.try_into().unwrap()), token.digest());
    }

    #[test]
    fn what_a_token_makes_ends_no_later_unless_it_may() {
        let at = |secs| Some(Timestamp::from_second(secs).unwrap());
        let maker = TokenId::from_bytes([1; 16]);
        for (asked, own, until) in [
            (None, None, None),
            (None, at(9), at(9)),
            (at(5), at(9), at(5)),
            (at(10), at(9), at(9)),
            (at(5), None, at(5)),
        ] {
            assert_eq!(Maker::Token(maker).until(asked, own), until);
            assert_eq!(Maker::Outlived(maker).until(asked, own), asked);
            assert_eq!(Maker::Server.until(asked, own), asked);
        }
        assert_eq!((Maker::Server.token(), Maker::Outlived(maker).token()), (None, Some(maker)));
    }

    #[test]
    fn debug_shows_no_token() {
        let token = PlainToken::generate(&Counting(9.into()));
        assert_eq!(format!("{token:?} {:?}", token.digest()), "PlainToken([secret]) [digest of a token]");
    }
}
