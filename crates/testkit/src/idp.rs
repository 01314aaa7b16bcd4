//! An identity provider's keys, and tokens signed with them, for tests: by other code than that which checks them.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "helpers of tests fail by panicking")]

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaKeyPair,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

/// A private key of an issuer.
pub struct Signer {
    kid: String,
    algorithm: &'static str,
    key: Key,
}

enum Key {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// Base64url without padding.
pub fn coded(bytes: impl AsRef<[u8]>) -> String {
    BASE64URL_NOPAD.encode(bytes.as_ref())
}

impl Signer {
    /// A new key for an algorithm.
    pub fn new(algorithm: &'static str, kid: &str) -> Self {
        let key = match algorithm {
            "ES256" => Key::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            "ES384" => Key::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap()),
            "EdDSA" => Key::Ed25519(Ed25519KeyPair::generate().unwrap()),
            _ => Key::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
        };
        Self { kid: kid.to_owned(), algorithm, key }
    }

    /// Its public part.
    pub fn jwk(&self) -> Value {
        let (kid, alg) = (&self.kid, self.algorithm);
        match &self.key {
            Key::Ecdsa(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = point.split_first().unwrap().1.split_at(point.len() / 2);
                let crv = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({ "kty": "EC", "crv": crv, "kid": kid, "alg": alg, "use": "sig", "x": coded(x), "y": coded(y) })
            }
            Key::Rsa(pair) => {
                let public = pair.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                let (n, e) = (n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
                json!({ "kty": "RSA", "kid": kid, "alg": alg, "use": "sig", "n": coded(n), "e": coded(e) })
            }
            Key::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "alg": alg, "use": "sig", "x": coded(pair.public_key()) })
            }
        }
    }

    /// Its public part as a file has it: what an attacker takes for a shared secret.
    pub fn public_der(&self) -> Vec<u8> {
        let der: PublicKeyX509Der<'_> = match &self.key {
            Key::Ecdsa(pair) => pair.public_key().as_der().unwrap(),
            Key::Rsa(pair) => pair.public_key().as_der().unwrap(),
            Key::Ed25519(pair) => pair.public_key().as_der().unwrap(),
        };
        der.as_ref().to_vec()
    }

    /// The usual header.
    pub fn header(&self) -> Value {
        json!({ "alg": self.algorithm, "kid": self.kid, "typ": "JWT" })
    }

    /// A signature, by this key's algorithm or another of its kind.
    pub fn signature(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Ecdsa(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Key::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Key::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let by = match algorithm {
                    "PS256" => &RSA_PSS_SHA256,
                    "RS512" => &RSA_PKCS1_SHA512,
                    _ => &RSA_PKCS1_SHA256 as &dyn aws_lc_rs::signature::RsaEncoding,
                };
                pair.sign(by, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }

    /// A token of exactly these bytes.
    pub fn raw(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", coded(header), coded(payload));
        let header: Value = serde_json::from_str(header).unwrap_or_default();
        let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or(self.algorithm);
        format!("{signed}.{}", coded(self.signature(algorithm, signed.as_bytes())))
    }

    /// A token of this header.
    pub fn headed(&self, header: &Value, claims: &Value) -> String {
        self.raw(&header.to_string(), &claims.to_string())
    }

    /// A token.
    pub fn token(&self, claims: &Value) -> String {
        self.headed(&self.header(), claims)
    }
}

/// The public parts of some keys, as an issuer publishes them.
pub fn jwks<'s>(signers: impl IntoIterator<Item = &'s Signer>) -> Value {
    json!({ "keys": signers.into_iter().map(Signer::jwk).collect::<Vec<_>>() })
}
