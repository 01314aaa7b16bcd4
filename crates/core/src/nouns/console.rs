//! Sessions of the console: what a browser keeps of a token, in a cookie. Nothing is stored of them.
//!
//! A cookie is the sealed digest of the token, with the session's id, when it was opened and when it was last used. Whoever opens one
//! looks the token up again, so that ending the token ends its sessions at once.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;

use crate::error::{Error, Kind, Stranger};
use crate::id::ProviderId;
use crate::keyring::{Keyring, SEAL_NONCE_LEN};
use crate::secret::Secret;
use crate::time::Lifetime;
use crate::token::TokenDigest;

/// How long a session lives that nobody uses: half an hour, what is usual for consoles of administration.
pub const IDLE: Lifetime = Lifetime::secs(30 * 60);
/// How long one lives at most: a working day.
pub const LONGEST: Lifetime = Lifetime::secs(8 * 3600);

const PURPOSE: &str = "console session";
const PLAIN: usize = 32 + 16 + 8 + 8;
/// The characters of a sealed one: number of the key, nonce, what is sealed, and the seal.
const LENGTH: usize = ((1 + SEAL_NONCE_LEN + PLAIN + 16) * 4).div_ceil(3);

/// A session of the console.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsoleSession {
    /// The token that it stands for.
    pub token: TokenDigest,
    /// Its id: 128 random bits.
    pub id: [u8; 16],
    /// When somebody signed in.
    pub opened: Timestamp,
    /// When it was last used.
    pub seen: Timestamp,
}

impl ConsoleSession {
    /// When it ends, used or not. The token may end before.
    pub fn until(&self) -> Timestamp {
        LONGEST.ends(self.opened)
    }

    /// Seals it for one dialect. The nonce must be fresh randomness.
    ///
    /// # Errors
    /// `Internal` when sealing fails.
    pub fn seal(
        &self,
        ring: &Keyring,
        dialect: &'static str,
        nonce: [u8; SEAL_NONCE_LEN],
    ) -> Result<Secret<String>, Error> {
        let Self { token, id, opened, seen } = self;
        let (opened, seen) = (opened.as_second().to_be_bytes(), seen.as_second().to_be_bytes());
        let plain = [&token.as_bytes()[..], id, &opened, &seen].concat();
        Ok(Secret::new(BASE64URL_NOPAD.encode(&ring.seal_bytes(PURPOSE, dialect.as_bytes(), &plain, nonce)?)))
    }

    /// Opens a sealed one, if the seal fits, it was made for this dialect and it is in time.
    ///
    /// # Errors
    /// `Unauthenticated(Unknown)`, `Unauthenticated(Expired)`.
    pub fn open(ring: &Keyring, dialect: &'static str, presented: &str, now: Timestamp) -> Result<Self, Error> {
        let session = Self::unsealed(ring, dialect, presented).ok_or_else(|| {
            Error::new(Kind::Unauthenticated(Stranger::Unknown), "the session is not one of this server; sign in")
        })?;
        if now >= IDLE.ends(session.seen).min(session.until()) {
            return Err(Error::new(Kind::Unauthenticated(Stranger::Expired), "the session has ended; sign in again"));
        }
        Ok(session)
    }

    fn unsealed(ring: &Keyring, dialect: &'static str, presented: &str) -> Option<Self> {
        if presented.len() != LENGTH {
            return None;
        }
        let sealed = BASE64URL_NOPAD.decode(presented.as_bytes()).ok()?;
        let plain = ring.open_bytes(PURPOSE, dialect.as_bytes(), &sealed)?;
        let (token, rest) = plain.reveal().split_first_chunk::<32>()?;
        let (id, rest) = rest.split_first_chunk::<16>()?;
        let (opened, seen) = rest.split_first_chunk::<8>()?;
        let at = |bytes: &[u8; 8]| Timestamp::from_second(i64::from_be_bytes(*bytes)).ok();
        let token = TokenDigest::from_bytes(*token);
        Some(Self { token, id: *id, opened: at(opened)?, seen: at(seen.try_into().ok()?)? })
    }
}

/// How long somebody may take to log in at an identity provider.
pub const LOGIN: Lifetime = Lifetime::secs(10 * 60);

const LOGIN_PURPOSE: &str = "console login";
const LOGIN_PLAIN: usize = 16 + 32 + 8;
const LOGIN_LENGTH: usize = ((1 + SEAL_NONCE_LEN + LOGIN_PLAIN + 16) * 4).div_ceil(3);

/// A login that was begun at an identity provider, as its browser keeps it: sealed, in a cookie. What is sent to the provider comes of one
/// secret, so that the browser that comes back is the one that was sent.
#[derive(Debug)]
pub struct BegunLogin {
    /// Where.
    pub provider: ProviderId,
    /// When.
    pub begun: Timestamp,
    secret: Secret<[u8; 32]>,
}

impl BegunLogin {
    /// Begins one. The secret must be fresh randomness.
    pub fn new(provider: ProviderId, secret: [u8; 32], begun: Timestamp) -> Self {
        Self { provider, begun, secret: Secret::new(secret) }
    }

    /// What the browser comes back with.
    pub fn state(&self) -> String {
        self.derived("state")
    }

    /// What the identity token has to claim.
    pub fn nonce(&self) -> String {
        self.derived("nonce")
    }

    /// What proves to the provider who began it (RFC 7636).
    pub fn verifier(&self) -> Secret<String> {
        Secret::new(self.derived("verifier"))
    }

    /// What the provider knows the verifier by, before it sees it.
    pub fn challenge(&self) -> String {
        BASE64URL_NOPAD.encode(digest::digest(&digest::SHA256, self.verifier().reveal().as_bytes()).as_ref())
    }

    fn derived(&self, what: &str) -> String {
        let text = [what.as_bytes(), b" ", self.secret.reveal()].concat();
        BASE64URL_NOPAD.encode(digest::digest(&digest::SHA256, &text).as_ref())
    }

    /// Seals it for one dialect. The nonce must be fresh randomness.
    ///
    /// # Errors
    /// `Internal` when sealing fails.
    pub fn seal(
        &self,
        ring: &Keyring,
        dialect: &'static str,
        nonce: [u8; SEAL_NONCE_LEN],
    ) -> Result<Secret<String>, Error> {
        let begun = self.begun.as_second().to_be_bytes();
        let plain = [&self.provider.to_bytes()[..], self.secret.reveal(), &begun].concat();
        Ok(Secret::new(BASE64URL_NOPAD.encode(&ring.seal_bytes(LOGIN_PURPOSE, dialect.as_bytes(), &plain, nonce)?)))
    }

    /// Opens a sealed one, if the seal fits, it was made for this dialect, it is in time, and a browser came back with this state.
    ///
    /// # Errors
    /// `Unauthenticated(Unknown)`, `Unauthenticated(Expired)`.
    pub fn open(
        ring: &Keyring,
        dialect: &'static str,
        presented: &str,
        state: &str,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let unknown = || {
            let said = "this login was not begun in this browser, or another one was begun since; begin again";
            Error::new(Kind::Unauthenticated(Stranger::Unknown), said)
        };
        let own = Self::unsealed(ring, dialect, presented).ok_or_else(unknown)?;
        verify_slices_are_equal(own.state().as_bytes(), state.as_bytes()).map_err(|_| unknown())?;
        if now >= LOGIN.ends(own.begun) {
            let said = "the login took longer than ten minutes; begin again";
            return Err(Error::new(Kind::Unauthenticated(Stranger::Expired), said));
        }
        Ok(own)
    }

    fn unsealed(ring: &Keyring, dialect: &'static str, presented: &str) -> Option<Self> {
        if presented.len() != LOGIN_LENGTH {
            return None;
        }
        let sealed = BASE64URL_NOPAD.decode(presented.as_bytes()).ok()?;
        let plain = ring.open_bytes(LOGIN_PURPOSE, dialect.as_bytes(), &sealed)?;
        let (provider, rest) = plain.reveal().split_first_chunk::<16>()?;
        let (secret, begun) = rest.split_first_chunk::<32>()?;
        let begun = Timestamp::from_second(i64::from_be_bytes(begun.try_into().ok()?)).ok()?;
        Some(Self::new(ProviderId::from_bytes(*provider), *secret, begun))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(secs).unwrap()
    }

    fn ring(byte: u8) -> Keyring {
        Keyring::new(&[(1, Secret::new([byte; 32]))]).unwrap()
    }

    fn session(seen: i64) -> ConsoleSession {
        ConsoleSession { token: TokenDigest::from_bytes([7; 32]), id: [3; 16], opened: at(1000), seen: at(seen) }
    }

    #[test]
    fn a_session_opens_in_time_and_unchanged_only() {
        let sealed = session(1000).seal(&ring(1), "native", [9; 24]).unwrap();
        let sealed = sealed.reveal();
        assert_eq!(sealed.len(), LENGTH);
        assert_eq!(ConsoleSession::open(&ring(1), "native", sealed, at(2799)).unwrap(), session(1000));
        let kind = |text: &str, now| ConsoleSession::open(&ring(1), "native", text, at(now)).unwrap_err().kind();
        assert_eq!(kind(sealed, 2800), Kind::Unauthenticated(Stranger::Expired));
        let unknown = Kind::Unauthenticated(Stranger::Unknown);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(kind(std::str::from_utf8(&changed).unwrap(), 1000), unknown, "{at}");
        }
        for bad in ["", "x", sealed.get(1..).unwrap(), &format!("{sealed}A")] {
            assert_eq!(kind(bad, 1000), unknown);
        }
        assert!(ConsoleSession::open(&ring(2), "native", sealed, at(1000)).is_err());
        assert!(ConsoleSession::open(&ring(1), "sharing", sealed, at(1000)).is_err());
    }

    #[test]
    fn a_session_that_is_used_all_day_ends_all_the_same() {
        let last = session(1000 + 8 * 3600 - 60).seal(&ring(1), "native", [9; 24]).unwrap();
        let open = |now| ConsoleSession::open(&ring(1), "native", last.reveal(), at(now)).is_ok();
        assert!(open(1000 + 8 * 3600 - 1) && !open(1000 + 8 * 3600));
    }

    #[test]
    fn a_login_opens_in_time_for_its_state_and_unchanged_only() {
        let begun = BegunLogin::new(ProviderId::from_bytes([5; 16]), [6; 32], at(1000));
        let sealed = begun.seal(&ring(1), "native", [9; 24]).unwrap();
        let (sealed, state) = (sealed.reveal().as_str(), begun.state());
        assert_eq!(sealed.len(), LOGIN_LENGTH);
        let open = |text: &str, state: &str, now| BegunLogin::open(&ring(1), "native", text, state, at(now));
        let opened = open(sealed, &state, 1599).unwrap();
        assert_eq!(
            (opened.provider, opened.nonce(), opened.challenge()),
            (begun.provider, begun.nonce(), begun.challenge())
        );
        assert_eq!(open(sealed, &state, 1600).unwrap_err().kind(), Kind::Unauthenticated(Stranger::Expired));
        let unknown = Kind::Unauthenticated(Stranger::Unknown);
        for (text, state) in
            [(sealed, ""), (sealed, &*begun.nonce()), ("", &*state), (&sealed.replace('A', "B"), &*state)]
        {
            assert_eq!(open(text, state, 1000).unwrap_err().kind(), unknown, "{state}");
        }
        assert!(BegunLogin::open(&ring(2), "native", sealed, &state, at(1000)).is_err());
        assert!(BegunLogin::open(&ring(1), "sharing", sealed, &state, at(1000)).is_err());
        // A session is no login, nor the other way round.
        let other = session(1000).seal(&ring(1), "native", [9; 24]).unwrap();
        assert!(open(other.reveal(), &state, 1000).is_err());
    }

    #[test]
    fn what_is_sent_of_a_login_tells_nothing_of_what_is_not() {
        let begun = BegunLogin::new(ProviderId::from_bytes([5; 16]), [6; 32], at(1000));
        let all = [begun.state(), begun.nonce(), begun.verifier().reveal().clone(), begun.challenge()];
        for (place, one) in all.iter().enumerate() {
            assert_eq!(one.len(), 43);
            assert!(!all[..place].contains(one));
        }
        assert!(format!("{begun:?}").contains("[secret]"));
    }
}
