//! The keys of an issuer: those of its set that sign, and which of them a token means.

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use serde::Deserialize;
use valetkey_core::nouns::identity::Algorithm;

/// The most keys that are read of a set.
const MOST_KEYS: usize = 200;
/// The shortest and the longest modulus of RSA, in bytes: less is broken, and more costs a stranger's token too much.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// What kind of key it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// A key that signs.
#[derive(Clone)]
pub(crate) struct Key {
    kid: Option<String>,
    family: Family,
    only: Option<KeyAlgorithm>,
    pub(crate) public: DecodingKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).field("family", &self.family).finish_non_exhaustive()
    }
}

/// Which key a token means.
#[derive(Debug)]
pub(crate) enum Choice {
    /// That one.
    One(Key),
    /// None that is known.
    Unknown,
    /// One that does not fit, or more than one.
    Unfit,
}

/// The keys of an issuer.
#[derive(Debug)]
pub(crate) struct KeySet(Vec<Key>);

/// An algorithm, as the library names it.
pub(crate) const fn named(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    use jsonwebtoken::Algorithm as Named;
    match algorithm {
        Algorithm::Rs256 => Named::RS256,
        Algorithm::Rs384 => Named::RS384,
        Algorithm::Rs512 => Named::RS512,
        Algorithm::Ps256 => Named::PS256,
        Algorithm::Ps384 => Named::PS384,
        Algorithm::Ps512 => Named::PS512,
        Algorithm::Es256 => Named::ES256,
        Algorithm::Es384 => Named::ES384,
        Algorithm::EdDsa => Named::EdDSA,
    }
}

const fn family(algorithm: Algorithm) -> Family {
    match algorithm {
        Algorithm::Rs256
        | Algorithm::Rs384
        | Algorithm::Rs512
        | Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512 => Family::Rsa,
        Algorithm::Es256 => Family::P256,
        Algorithm::Es384 => Family::P384,
        Algorithm::EdDsa => Family::Ed25519,
    }
}

impl KeySet {
    /// Reads a set. Keys that do not sign, or of a kind that is not known, are left out of it.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let Set { keys } = serde_json::from_slice(bytes).ok()?;
        Some(Self(keys.into_iter().take(MOST_KEYS).filter_map(key).collect()))
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key that a token means: the one of its `kid`; without one, the only one that fits.
    pub(crate) fn choose(&self, algorithm: Algorithm, kid: Option<&str>) -> Choice {
        let fits = |key: &&Key| {
            key.family == family(algorithm) && key.only.is_none_or(|only| only == KeyAlgorithm::from(named(algorithm)))
        };
        let meant: Vec<&Key> = match kid {
            Some(_) => self.0.iter().filter(|key| key.kid.as_deref() == kid).collect(),
            None => self.0.iter().filter(fits).collect(),
        };
        match meant.as_slice() {
            [] => Choice::Unknown,
            [one] if fits(one) => Choice::One((*one).clone()),
            _ => Choice::Unfit,
        }
    }
}

fn key(value: serde_json::Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let common = &jwk.common;
    let signs = common.public_key_use.as_ref().is_none_or(|own| *own == PublicKeyUse::Signature);
    let verifies = common.key_operations.as_ref().is_none_or(|own| own.contains(&KeyOperations::Verify));
    let family = match &jwk.algorithm {
        AlgorithmParameters::RSA(own) => {
            let modulus = BASE64URL_NOPAD.decode(own.n.as_bytes()).ok()?;
            let length = modulus.iter().skip_while(|byte| **byte == 0).count();
            RSA_BYTES.contains(&length).then_some(Family::Rsa)?
        }
        AlgorithmParameters::EllipticCurve(own) => match own.curve {
            EllipticCurve::P256 => Family::P256,
            EllipticCurve::P384 => Family::P384,
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(own) if own.curve == EllipticCurve::Ed25519 => Family::Ed25519,
        // SECURITY: a symmetric key that is published is no secret, and makes tokens.
        _ => return None,
    };
    let public = DecodingKey::from_jwk(&jwk).ok()?;
    let (kid, only) = (common.key_id.clone(), common.key_algorithm);
    (signs && verifies).then_some(Key { kid, family, only, public })
}
