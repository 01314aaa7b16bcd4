//! A token in the compact form of RFC 7515, as far as its header says.

use data_encoding::BASE64URL_NOPAD;
use valetkey_core::Error;
use valetkey_core::json::Json;
use valetkey_core::nouns::identity::{Algorithm, Claims, LONGEST_TOKEN, not_taken};

use crate::keys::{self, Key};

/// The longest id of a key, in bytes.
const LONGEST_KID: usize = 512;

/// A token whose signature was not checked.
#[derive(Debug)]
pub(crate) struct Token<'t> {
    signed: &'t str,
    payload: Vec<u8>,
    signature: &'t str,
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
}

impl<'t> Token<'t> {
    /// Reads a token that is signed in one of these ways.
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub(crate) fn read(text: &'t str, allowed: &[Algorithm]) -> Result<Self, Error> {
        if text.len() > LONGEST_TOKEN {
            return Err(not_taken(format!("it has more than {LONGEST_TOKEN} bytes")));
        }
        let unread = || not_taken("it is no JSON Web Token in three parts");
        let (signed, signature) = text.rsplit_once('.').ok_or_else(unread)?;
        let (header, payload) = signed.split_once('.').filter(|(_, rest)| !rest.contains('.')).ok_or_else(unread)?;
        let decode = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| unread());
        // Strictly: each signature has one writing.
        decode(signature)?;
        let (header, payload) = (decode(header)?, decode(payload)?);
        let header = Json::read(&header).filter(|header| matches!(header, Json::Object(_))).ok_or_else(unread)?;
        for name in ["crit", "b64", "zip", "enc"] {
            if header.get(name).is_some() {
                return Err(not_taken(format!("its header has `{name}`, which is not understood")));
            }
        }
        if let Some(kind) = header.get("typ") {
            let kind = kind.text().map(str::to_ascii_lowercase);
            if !matches!(kind.as_deref(), Some("jwt" | "at+jwt" | "application/at+jwt")) {
                return Err(not_taken("its `typ` is not that of an identity or access token"));
            }
        }
        let algorithm = header.get("alg").and_then(Json::text).and_then(Algorithm::parse);
        let algorithm = algorithm.filter(|one| allowed.contains(one));
        let algorithm = algorithm.ok_or_else(|| not_taken("its `alg` is not allowed"))?;
        let kid = match header.get("kid") {
            None => None,
            Some(kid) => {
                let kid = kid.text().filter(|kid| kid.len() <= LONGEST_KID);
                Some(kid.ok_or_else(|| not_taken("its `kid` is no text"))?.to_owned())
            }
        };
        Ok(Self { signed, payload, signature, algorithm, kid })
    }

    /// What it claims. Its signature says whether that is so.
    pub(crate) fn unverified_claims(&self) -> Result<Claims, Error> {
        Claims::read(&self.payload).ok_or_else(|| not_taken("its claims are no object in JSON, or one is there twice"))
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub(crate) fn verify(&self, key: &Key) -> Result<(), Error> {
        let algorithm = keys::named(self.algorithm);
        match jsonwebtoken::crypto::verify(self.signature, self.signed.as_bytes(), &key.public, algorithm) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(not_taken("its signature is not its issuer's")),
        }
    }
}
