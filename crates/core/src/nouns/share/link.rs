//! Links that hand out a profile once.

use std::fmt;

use aws_lc_rs::digest;
use jiff::Timestamp;

use crate::id::{CallerId, TokenId};
use crate::secret::Secret;
use crate::time::{Entropy, Lifetime};
use crate::word::words;

words! {
    /// What a downloaded profile proves its holder with.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum ProfileKind {
        /// The token itself (version 1).
        Bearer => "bearer",
        /// The token as an OAuth client's secret (version 2).
        Oauth => "oauth",
    }
}

/// The digits of a code: 256 bits in base 64.
const CODE_CHARS: usize = 43;

/// The code of a link to download a profile once: 256 random bits.
#[derive(Clone, Debug)]
pub struct LinkCode(Secret<String>);

impl LinkCode {
    /// Makes a new code.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 32];
        entropy.fill(&mut bytes);
        Self(Secret::new(data_encoding::BASE64URL_NOPAD.encode(&bytes)))
    }

    /// Reads a presented code; nothing if it has not the form of one.
    pub fn parse(presented: &str) -> Option<Self> {
        let formed = presented.len() == CODE_CHARS
            && presented.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        formed.then(|| Self(Secret::new(presented.to_owned())))
    }

    /// What we keep of it. SECURITY: enough, because the code holds 256 random bits.
    pub fn digest(&self) -> LinkDigest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, self.0.reveal().as_bytes()).as_ref());
        LinkDigest(bytes)
    }

    /// Shows the code, for the one answer that hands it out.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

/// What is kept of a link's code.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkDigest([u8; 32]);

impl LinkDigest {
    /// Takes the stored bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for LinkDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[digest of a code]")
    }
}

/// A link to download a profile once; its token is made at the download.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProfileLink {
    /// Whose profile.
    pub caller: CallerId,
    /// With what it proves its holder.
    pub kind: ProfileKind,
    /// How long the token made at the download lives; none means until it is ended.
    pub token_lifetime: Option<Lifetime>,
    /// From then on it downloads nothing.
    pub until: Timestamp,
    /// The token that made it, which is the maker of the token made at the download too.
    pub made_by: Option<TokenId>,
    /// The token made at the download ends no later.
    pub no_later: Option<Timestamp>,
}

impl ProfileLink {
    /// When a token made now ends.
    pub fn token_until(&self, now: Timestamp) -> Option<Timestamp> {
        let asked = self.token_lifetime.map(|lifetime| lifetime.ends(now));
        asked.into_iter().chain(self.no_later).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_reads_back_and_shows_nothing() {
        struct Fixed;
        impl Entropy for Fixed {
            fn fill(&self, buffer: &mut [u8]) {
                buffer.fill(7);
            }
        }
        let code = LinkCode::generate(&Fixed);
        assert_eq!(LinkCode::parse(code.reveal()).unwrap().digest(), code.digest());
        assert!(LinkCode::parse("short").is_none());
        assert!(!format!("{code:?} {:?}", code.digest()).contains(code.reveal()));
    }
}
