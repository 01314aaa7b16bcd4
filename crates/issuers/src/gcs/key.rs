//! A service account's key: reads Google's file and signs assertions with it (RFC 7523, RS256).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use valetkey_core::{Error, Kind, Secret};

use crate::web::{Transport, url};

/// Where Google gives tokens, if the file does not say.
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
/// What the token may be used for; a token is bounded by exchanging one of this scope.
pub(super) const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// How long an assertion holds, in seconds: what Google allows.
const LIFE_SECS: i64 = 3600;
/// An assertion is dated back a little, for a clock of ours that is ahead.
const BACK_SECS: i64 = 10;

/// A service account's key.
#[derive(Debug)]
pub(super) struct ServiceKey {
    /// Where it asks.
    pub(super) token_url: String,
    email: String,
    id: String,
    pair: RsaKeyPair,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    kid: &'a str,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

impl ServiceKey {
    /// Reads Google's key file.
    pub(super) fn parse(json: &Secret<String>) -> Result<Self, Error> {
        /// The fields that matter; Google writes more.
        #[derive(Deserialize)]
        struct File {
            #[serde(rename = "type")]
            kind: String,
            client_email: String,
            private_key_id: String,
            private_key: String,
            token_uri: Option<String>,
        }
        let invalid = |said: &'static str| Error::new(Kind::Invalid, said).at("service_account_key");
        // SECURITY: the parser's own words may repeat a secret.
        let file: File = serde_json::from_str(json.reveal())
            .map_err(|_| invalid("this is not the key file of a service account (JSON, as Google gives it)"))?;
        let File { kind, client_email, private_key_id, private_key, token_uri } = file;
        let private_key = Secret::new(private_key);
        if kind != "service_account" {
            return Err(invalid("this is not the key file of a service account: its `type` is another"));
        }
        let pair = pair(&private_key).ok_or_else(|| invalid("the private key in it cannot be read (RSA, PEM)"))?;
        let token_url = token_uri.as_deref().unwrap_or(TOKEN_URL);
        Ok(Self {
            token_url: url(token_url, Transport::Private, "service_account_key")?,
            email: client_email,
            id: private_key_id,
            pair,
        })
    }

    /// Whose key it is: its e-mail address.
    pub(super) fn email(&self) -> &str {
        &self.email
    }

    /// Signs some bytes.
    pub(super) fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            // This padding takes no randomness; the argument is there for others.
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), bytes, &mut signature)
            .map_err(|_| Error::internal("the service account's key does not sign"))?;
        Ok(signature)
    }

    /// A signed assertion that this is the service account.
    pub(super) fn assertion(&self, now: Timestamp) -> Result<Secret<String>, Error> {
        let issued = now.as_second() - BACK_SECS;
        let json = |value: Result<Vec<u8>, serde_json::Error>| {
            value.map(|json| BASE64URL_NOPAD.encode(&json)).map_err(|error| Error::internal(error.to_string()))
        };
        let header = json(serde_json::to_vec(&Header { alg: "RS256", typ: "JWT", kid: &self.id }))?;
        let claims = json(serde_json::to_vec(&Claims {
            iss: &self.email,
            scope: SCOPE,
            aud: &self.token_url,
            iat: issued,
            exp: issued + LIFE_SECS,
        }))?;
        let mut jwt = format!("{header}.{claims}");
        let signature = self.sign(jwt.as_bytes())?;
        jwt.push('.');
        jwt.push_str(&BASE64URL_NOPAD.encode(&signature));
        Ok(Secret::new(jwt))
    }
}

/// The key pair in a PEM file, PKCS#8 as Google writes it or PKCS#1.
fn pair(pem: &Secret<String>) -> Option<RsaKeyPair> {
    let between = |label: &str| {
        let (_, rest) = pem.reveal().split_once(&format!("-----BEGIN {label}-----"))?;
        let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
        let body = Secret::new(body.split_ascii_whitespace().collect::<String>());
        BASE64.decode(body.reveal().as_bytes()).map(Secret::new).ok()
    };
    if let Some(der) = between("PRIVATE KEY") {
        return RsaKeyPair::from_pkcs8(der.reveal()).ok();
    }
    RsaKeyPair::from_der(between("RSA PRIVATE KEY")?.reveal()).ok()
}
