//! This server as an issuer of identity tokens, which clouds take instead of a kept secret: the keys that sign them, and when each does.
//!
//! A key is published for a day before it signs, and for an hour after the next one does: whoever keeps the published keys for less
//! than that knows the key of every token. Keys that are over are removed.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::error::{Error, Kind, Noun};
use crate::secret::Secret;
use crate::word::words;

/// How long a key is published before it signs: Microsoft Entra and others fetch an issuer's keys once a day.
pub const AHEAD: SignedDuration = SignedDuration::from_hours(24);
/// How long a key is published after the next one began to sign: a token's five minutes, and clocks that are wrong by much more.
pub const STAYS: SignedDuration = SignedDuration::from_hours(1);
/// How long a token lives, in seconds: it is used at once.
pub const TOKEN_SECS: i64 = 300;

words! {
    /// How a key signs.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum SigningAlgorithm {
        /// ECDSA with P-256 and SHA-256.
        Es256 => "ES256",
        /// RSASSA-PKCS1-v1_5 with 2048 bits and SHA-256.
        Rs256 => "RS256",
    }
}

words! {
    /// What becomes of a key.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum KeyState {
        /// It is published, and does not sign yet.
        Next => "next",
        /// It signs.
        Signing => "signing",
        /// It signs no more, and is published until the last of its tokens is over.
        Retiring => "retiring",
        /// It is not published any more.
        Over => "over",
    }
}

/// A key that signs identity tokens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SigningKey {
    /// What its tokens call it.
    pub kid: Box<str>,
    /// How it signs.
    pub algorithm: SigningAlgorithm,
    /// Its public half, as a JSON Web Key.
    pub public: Box<str>,
    /// Its private half, sealed with the keyring.
    pub sealed: Box<[u8]>,
    /// When it was made.
    pub made: Timestamp,
    /// From when it signs.
    pub signs_from: Timestamp,
}

impl SigningKey {
    fn follows(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && (self.signs_from, &self.kid) > (other.signs_from, &other.kid)
    }

    /// Until when it is published, among all keys: if another follows.
    pub fn published_until(&self, keys: &[Self]) -> Option<Timestamp> {
        let next = keys.iter().filter(|key| key.follows(self)).map(|key| key.signs_from).min()?;
        Some(next.checked_add(STAYS).unwrap_or(Timestamp::MAX))
    }

    /// What has become of it, among all keys.
    pub fn state(&self, keys: &[Self], now: Timestamp) -> KeyState {
        if self.signs_from > now {
            KeyState::Next
        } else if keys.iter().any(|key| key.follows(self) && key.signs_from <= now) {
            if self.published_until(keys).is_some_and(|until| until <= now) {
                KeyState::Over
            } else {
                KeyState::Retiring
            }
        } else {
            KeyState::Signing
        }
    }
}

/// The key that signs.
pub fn signer(keys: &[SigningKey], algorithm: SigningAlgorithm, now: Timestamp) -> Option<&SigningKey> {
    keys.iter().find(|key| key.algorithm == algorithm && key.state(keys, now) == KeyState::Signing)
}

/// The keys that are published.
pub fn published(keys: &[SigningKey], now: Timestamp) -> impl Iterator<Item = &SigningKey> {
    keys.iter().filter(move |key| key.state(keys, now) != KeyState::Over)
}

/// The key of an algorithm that was made last.
pub fn newest(keys: &[SigningKey], algorithm: SigningAlgorithm) -> Option<&SigningKey> {
    keys.iter().filter(|key| key.algorithm == algorithm).max_by_key(|key| (key.made, &key.kid))
}

/// From when another key would sign: at once where nothing is known of the issuer yet, or where that is asked for.
///
/// # Errors
/// `AlreadyExists` where the next one waits already.
pub fn next_signs_from(
    keys: &[SigningKey],
    algorithm: SigningAlgorithm,
    at_once: bool,
    now: Timestamp,
) -> Result<Timestamp, Error> {
    if at_once || signer(keys, algorithm, now).is_none() {
        return Ok(now);
    }
    let waits = |key: &&SigningKey| key.algorithm == algorithm && key.state(keys, now) == KeyState::Next;
    if let Some(next) = keys.iter().find(waits) {
        let said = format!(
            "the next key for {} is published already, and signs from {:.0}",
            algorithm.as_str(),
            next.signs_from
        );
        return Err(Error::new(Kind::AlreadyExists(Noun::SigningKey), said));
    }
    Ok(now.checked_add(AHEAD).unwrap_or(Timestamp::MAX))
}

/// The keys there are.
#[async_trait]
pub trait SigningKeys: Send + Sync {
    /// All of them.
    async fn signing_keys(&self) -> Result<Arc<[SigningKey]>, Error>;
}

/// Adds and removes them.
#[async_trait]
pub trait SigningAdmin: SigningKeys {
    /// Adds a key, and removes those of its algorithm that are over. `AlreadyExists` if the newest of its algorithm is not the one
    /// that is named: another node made one meanwhile.
    async fn add_signing_key(&self, new: SigningKey, after: Option<&str>, now: Timestamp) -> Result<(), Error>;

    /// Removes a key: from now on it neither signs nor is published. One that signs needs another `instead`, which signs at once.
    async fn withdraw_signing_key(&self, kid: &str, instead: Option<SigningKey>, now: Timestamp) -> Result<(), Error>;

    /// Keeps what was sealed again.
    async fn reseal_signing_keys(&self, sealed: Vec<(Box<str>, Box<[u8]>)>) -> Result<(), Error>;
}

/// What a token says, beside who issued it and when.
#[derive(Clone, Copy, Debug)]
pub struct TokenFor<'a> {
    /// Whom it stands for.
    pub subject: &'a str,
    /// Who is to take it.
    pub audience: &'a str,
    /// How it is signed.
    pub algorithm: SigningAlgorithm,
    /// Further claims, each with its value as JSON.
    pub more: &'a [(&'static str, String)],
}

/// This server as an issuer of identity tokens.
#[async_trait]
pub trait OwnIdentity: Send + Sync {
    /// What its tokens say issued them.
    fn issuer(&self) -> &str;

    /// The keys there are.
    async fn keys(&self) -> Result<Arc<[SigningKey]>, Error>;

    /// Those whose secret half this server opens, and whose public half is that one's: who wrote into the database made none of them.
    async fn genuine_keys(&self) -> Result<Vec<SigningKey>, Error>;

    /// Makes a key, which is kept nowhere yet.
    async fn make_key(
        &self,
        algorithm: SigningAlgorithm,
        signs_from: Timestamp,
        now: Timestamp,
    ) -> Result<SigningKey, Error>;

    /// A token that lives for [`TOKEN_SECS`]. SECURITY: whoever has it is who it says, to its audience.
    async fn token(&self, wanted: &TokenFor<'_>) -> Result<Secret<String>, Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_hours(hours)).unwrap()
    }

    fn key(kid: &str, algorithm: SigningAlgorithm, signs_from: i64) -> SigningKey {
        SigningKey {
            kid: kid.into(),
            algorithm,
            public: "{}".into(),
            sealed: [].into(),
            made: at(signs_from.max(24) - 24),
            signs_from: at(signs_from),
        }
    }

    #[test]
    fn each_key_is_published_before_it_signs_and_until_its_tokens_are_over() {
        use SigningAlgorithm::{Es256, Rs256};
        let keys = [key("a", Rs256, 0), key("b", Rs256, 100), key("other", Es256, 50), key("c", Rs256, 200)];
        let states = |now: Timestamp| keys.each_ref().map(|key| key.state(&keys, now).as_str());
        for (now, wanted) in [
            (at(0), ["signing", "next", "next", "next"]),
            (at(99), ["signing", "next", "signing", "next"]),
            (at(100), ["retiring", "signing", "signing", "next"]),
            (at(101), ["over", "signing", "signing", "next"]),
            (at(200), ["over", "retiring", "signing", "signing"]),
            (at(9000), ["over", "over", "signing", "signing"]),
        ] {
            assert_eq!(states(now), wanted, "{now}");
        }
        let kid = |algorithm, now| signer(&keys, algorithm, now).map(|key| &*key.kid);
        assert_eq!((kid(Rs256, at(100)), kid(Es256, at(100)), kid(Es256, at(49))), (Some("b"), Some("other"), None));
        let shown: Vec<_> = published(&keys, at(101)).map(|key| &*key.kid).collect();
        assert_eq!(shown, ["b", "other", "c"]);
        // Whatever signs is published, and was for a day, and every token's key is published to its end.
        for hour in 0..300 {
            let shown: Vec<_> = published(&keys, at(hour)).collect();
            let Some(signs) = signer(&keys, Rs256, at(hour)) else { panic!("nobody signs at {hour}") };
            assert!(shown.contains(&signs));
            let token_ends = at(hour).checked_add(SignedDuration::from_secs(TOKEN_SECS)).unwrap();
            assert!(published(&keys, token_ends).any(|key| key == signs), "{hour}");
        }
    }

    #[test]
    fn another_key_signs_a_day_later_and_one_waits_at_a_time() {
        use SigningAlgorithm::{Es256, Rs256};
        let now = at(1000);
        assert_eq!(next_signs_from(&[], Rs256, false, now).unwrap(), now, "nobody keeps keys of an issuer that is new");
        let mut keys = vec![key("a", Rs256, 0)];
        assert_eq!(next_signs_from(&keys, Rs256, false, now).unwrap(), at(1024));
        assert_eq!(next_signs_from(&keys, Es256, false, now).unwrap(), now);
        keys.push(key("b", Rs256, 1024));
        let refused = next_signs_from(&keys, Rs256, false, now).unwrap_err();
        assert_eq!(refused.kind(), Kind::AlreadyExists(Noun::SigningKey));
        assert_eq!(next_signs_from(&keys, Rs256, true, now).unwrap(), now, "as when one has leaked");
        assert_eq!(next_signs_from(&keys, Rs256, false, at(1024)).unwrap(), at(1048));
        assert_eq!(newest(&keys, Rs256).map(|key| &*key.kid), Some("b"));
    }
}
