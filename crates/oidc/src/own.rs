//! This server as an issuer of identity tokens: makes its keys, seals them with the keyring, and signs.
//!
//! The library makes keys and signatures with randomness of its own: an RSA key cannot be made of ours.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use valetkey_core::error::Noun;
use valetkey_core::keyring::{SEAL_NONCE_LEN, SharedKeyring};
use valetkey_core::nouns::signing::{
    OwnIdentity, SigningAdmin, SigningAlgorithm, SigningKey, TOKEN_SECS, TokenFor, newest, next_signs_from, signer,
};
use valetkey_core::time::{Clock, Entropy};
use valetkey_core::{Error, Kind, Secret};

/// What the private halves are sealed for.
const PURPOSE: &str = "signing key";
/// A token is dated back a little, in seconds, for a clock of ours that is ahead: nobody takes one that is yet to be issued.
const BACK_SECS: i64 = 10;

/// The two halves of a key, opened.
enum Pair {
    Ecdsa(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
}

/// Keys that were opened, by their `kid`.
type Opened = HashMap<Box<str>, Arc<Pair>>;

/// This server as an issuer.
pub struct Own {
    issuer: Box<str>,
    keys: Arc<dyn SigningAdmin>,
    keyring: SharedKeyring,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    opened: Mutex<Opened>,
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Own").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

fn failed(what: &'static str) -> Error {
    Error::internal(format!("a signing key could not be {what}"))
}

fn coded(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

impl Pair {
    fn generate(algorithm: SigningAlgorithm) -> Option<Self> {
        Some(match algorithm {
            SigningAlgorithm::Es256 => Self::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?),
            SigningAlgorithm::Rs256 => Self::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).ok()?)),
        })
    }

    /// The private half, as PKCS#8.
    fn private(&self) -> Option<Secret<Vec<u8>>> {
        Some(Secret::new(match self {
            Self::Ecdsa(pair) => pair.to_pkcs8v1().ok()?.as_ref().to_vec(),
            Self::Rsa(pair) => {
                let der: Pkcs8V1Der<'_> = pair.as_der().ok()?;
                der.as_ref().to_vec()
            }
        }))
    }

    fn open(algorithm: SigningAlgorithm, private: &Secret<Vec<u8>>) -> Option<Self> {
        let private = private.reveal();
        Some(match algorithm {
            SigningAlgorithm::Es256 => {
                Self::Ecdsa(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private).ok()?)
            }
            SigningAlgorithm::Rs256 => Self::Rsa(Box::new(RsaKeyPair::from_pkcs8(private).ok()?)),
        })
    }

    /// The members that make the public half what it is, in the order of RFC 7638.
    fn public(&self) -> Option<Vec<(&'static str, String)>> {
        Some(match self {
            Self::Ecdsa(pair) => {
                // An uncompressed point (SEC 1, section 2.3.3).
                let (x, y) = pair.public_key().as_ref().strip_prefix(&[4])?.split_at_checked(32)?;
                vec![("crv", "P-256".to_owned()), ("kty", "EC".to_owned()), ("x", coded(x)), ("y", coded(y))]
            }
            Self::Rsa(pair) => {
                let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
                let (n, e) = (n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
                vec![("e", coded(e)), ("kty", "RSA".to_owned()), ("n", coded(n))]
            }
        })
    }

    fn sign(&self, text: &str) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::Ecdsa(pair) => Some(pair.sign(&random, text.as_bytes()).ok()?.as_ref().to_vec()),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).ok()?;
                Some(signature)
            }
        }
    }
}

/// The public half of a key, as a JSON Web Key.
fn public(pair: &Pair, algorithm: SigningAlgorithm, kid: &str) -> Option<Value> {
    let mut public = json!({ "use": "sig", "alg": algorithm.as_str(), "kid": kid });
    let members = pair.public()?.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value)));
    public.as_object_mut()?.extend(members);
    Some(public)
}

impl Own {
    /// An issuer of this name, with these keys.
    pub fn new(
        issuer: &str,
        keys: Arc<dyn SigningAdmin>,
        keyring: SharedKeyring,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { issuer: issuer.into(), keys, keyring, clock, entropy, opened: Mutex::default() }
    }

    /// Makes the first keys, and the next ones where those that sign are older than that.
    ///
    /// # Errors
    /// `Unavailable`, or `Internal` when no key can be made.
    pub async fn settle(&self, oldest: Option<SignedDuration>) -> Result<(), Error> {
        for algorithm in SigningAlgorithm::ALL {
            let (now, keys) = (self.clock.now(), self.keys.signing_keys().await?);
            let last = newest(&keys, algorithm);
            let is_old = |last: &SigningKey| oldest.is_some_and(|oldest| now.duration_since(last.signs_from) >= oldest);
            if signer(&keys, algorithm, now).is_some() && !last.is_some_and(is_old) {
                continue;
            }
            let new = match next_signs_from(&keys, algorithm, false, now) {
                Ok(from) => self.make_key(algorithm, from, now).await?,
                Err(_) => continue,
            };
            let added = self.keys.add_signing_key(new, last.map(|key| &*key.kid), now).await;
            // Another node was faster.
            if let Err(error) = added
                && error.kind() != Kind::AlreadyExists(Noun::SigningKey)
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Seals with the keyring's first key what was sealed with an older one.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn reseal(&self) -> Result<(), Error> {
        let ring = self.keyring.load();
        let keys = self.keys.signing_keys().await?;
        let old = keys.iter().filter(|key| !ring.is_current(&key.sealed));
        let again = |key: &SigningKey| Ok((key.kid.clone(), self.seal(&key.kid, &self.unsealed(key)?)?));
        // One that nothing opens does not keep the others from being sealed.
        let (again, lost): (Vec<_>, Vec<_>) = old.map(again).partition(Result::is_ok);
        let again: Vec<_> = again.into_iter().flatten().collect();
        if !again.is_empty() {
            self.keys.reseal_signing_keys(again).await?;
        }
        lost.into_iter().find_map(Result::err).map_or(Ok(()), Err)
    }

    fn seal(&self, kid: &str, private: &Secret<Vec<u8>>) -> Result<Box<[u8]>, Error> {
        let mut nonce = [0; SEAL_NONCE_LEN];
        self.entropy.fill(&mut nonce);
        let ring = self.keyring.load();
        ring.seal_bytes(PURPOSE, kid.as_bytes(), private.reveal(), nonce).map(Into::into)
    }

    fn unsealed(&self, key: &SigningKey) -> Result<Secret<Vec<u8>>, Error> {
        let opened = self.keyring.load().open_bytes(PURPOSE, key.kid.as_bytes(), &key.sealed);
        opened.ok_or_else(|| Error::internal(format!("the signing key {} was sealed with a key that is gone", key.kid)))
    }

    fn opened(&self) -> std::sync::MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key that signs now, opened once.
    fn pair(&self, key: &SigningKey, keys: &[SigningKey]) -> Result<Arc<Pair>, Error> {
        let mut opened = self.opened();
        if let Some(pair) = opened.get(&key.kid) {
            return Ok(Arc::clone(pair));
        }
        let pair = Pair::open(key.algorithm, &self.unsealed(key)?).ok_or_else(|| failed("read"))?;
        let pair = Arc::new(pair);
        opened.retain(|kid, _| keys.iter().any(|key| key.kid == *kid));
        opened.insert(key.kid.clone(), Arc::clone(&pair));
        Ok(pair)
    }

    /// A token's first two parts.
    fn unsigned(&self, kid: &str, wanted: &TokenFor<'_>) -> Result<String, Error> {
        let TokenFor { subject, audience, algorithm, more } = wanted;
        let mut jti = [0; 16];
        self.entropy.fill(&mut jti);
        let issued = self.clock.now().as_second().saturating_sub(BACK_SECS);
        let mut claims = Map::new();
        for (name, value) in *more {
            let value: Value = serde_json::from_str(value).map_err(|_| Error::internal("a claim is no JSON"))?;
            claims.insert((*name).to_owned(), value);
        }
        // Last, so that nothing is in their place.
        for (name, value) in [
            ("iss", json!(self.issuer)),
            ("sub", json!(subject)),
            ("aud", json!(audience)),
            ("iat", json!(issued)),
            ("nbf", json!(issued)),
            ("exp", json!(issued.saturating_add(TOKEN_SECS))),
            ("jti", json!(HEXLOWER.encode(&jti))),
        ] {
            claims.insert(name.to_owned(), value);
        }
        let header = json!({ "alg": algorithm.as_str(), "kid": kid, "typ": "JWT" });
        Ok(format!("{}.{}", coded(header.to_string().as_bytes()), coded(Value::Object(claims).to_string().as_bytes())))
    }
}

#[async_trait]
impl OwnIdentity for Own {
    fn issuer(&self) -> &str {
        &self.issuer
    }

    async fn keys(&self) -> Result<Arc<[SigningKey]>, Error> {
        self.keys.signing_keys().await
    }

    async fn genuine_keys(&self) -> Result<Vec<SigningKey>, Error> {
        let keys = self.keys.signing_keys().await?;
        let own = |key: &&SigningKey| match self.pair(key, &keys).map(|pair| public(&pair, key.algorithm, &key.kid)) {
            Ok(Some(own)) => serde_json::from_str::<Value>(&key.public).is_ok_and(|public| public == own),
            Ok(None) | Err(_) => false,
        };
        Ok(keys.iter().filter(own).cloned().collect())
    }

    async fn make_key(
        &self,
        algorithm: SigningAlgorithm,
        signs_from: Timestamp,
        now: Timestamp,
    ) -> Result<SigningKey, Error> {
        // Hundreds of milliseconds of one core.
        let pair = tokio::task::spawn_blocking(move || Pair::generate(algorithm)).await;
        let pair = pair.ok().flatten().ok_or_else(|| failed("made"))?;
        let members = pair.public().ok_or_else(|| failed("made"))?;
        let canonical: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
        // The start of its thumbprint (RFC 7638): all that matters is that it is another for each key.
        let thumbprint = digest(&SHA256, format!("{{{}}}", canonical.join(",")).as_bytes());
        let kid: Box<str> = HEXLOWER.encode(thumbprint.as_ref().get(..8).unwrap_or_default()).into();
        let public = public(&pair, algorithm, &kid).ok_or_else(|| failed("made"))?;
        let sealed = self.seal(&kid, &pair.private().ok_or_else(|| failed("made"))?)?;
        // As a database keeps them.
        let ms = |at: Timestamp| Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at);
        let (made, signs_from) = (ms(now), ms(signs_from));
        Ok(SigningKey { kid, algorithm, public: public.to_string().into(), sealed, made, signs_from })
    }

    async fn token(&self, wanted: &TokenFor<'_>) -> Result<Secret<String>, Error> {
        let keys = self.keys.signing_keys().await?;
        let key = signer(&keys, wanted.algorithm, self.clock.now()).ok_or_else(|| {
            let said = "no signing key signs identity tokens now; try again";
            Error::new(Kind::Unavailable, said).retry_after(5)
        })?;
        let pair = self.pair(key, &keys)?;
        let text = self.unsigned(&key.kid, wanted)?;
        // RSA takes a millisecond, which nobody else on this thread should wait.
        let signed = tokio::task::spawn_blocking(move || {
            let signature = pair.sign(&text)?;
            Some(Secret::new(format!("{text}.{}", coded(&signature))))
        });
        signed.await.ok().flatten().ok_or_else(|| failed("used"))
    }
}
