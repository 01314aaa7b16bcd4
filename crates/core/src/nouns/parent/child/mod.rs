//! A credential that the holder of a parent signed on its own: a JSON Web Token inside a session token, and all that follows
//! from it.
//!
//! Source: developers.cloudflare.com/r2/api/s3/temporary-credentials. Session token: `base64("jwt/" + JWT)`; secret access
//! key: the SHA-256 of the JWT in hexadecimal; access key id: the parent's; HS256 with the parent's secret access key, as text.
//!
//! SECURITY: the form makes the session token the whole credential, because the secret is made of it alone. So it stands in no
//! log and no error here, and what is vended over the API has another form.

use aws_lc_rs::{digest, hmac};
use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER};
use jiff::{SignedDuration, Timestamp};

use crate::id::{AccountId, LeaseId, TokenId};
use crate::json::Json;
use crate::name::BucketName;
use crate::nouns::parent::{LONGEST, Operations, ParentScope, Permission, of_paths};
use crate::scope::{Path, Paths, Rights, Scope};
use crate::secret::Secret;

/// How far the signer's clock may be ahead of ours. SECURITY: nobody but the signer knows when it really signed, so whatever ends
/// credentials from before an instant has to end those that say they were signed this much later too: it is kept short.
pub const SKEW: SignedDuration = SignedDuration::from_secs(60);
/// The longest session token there is to read, in characters: servers read headers of 16 KiB together.
const MAX_CHARS: usize = 15_000;
/// The most paths in one token.
const MAX_PATHS: usize = 1_000;
/// Claims that are none of this form, and look as if they were meant to narrow the credential or its time.
const MEANT_TO_NARROW: [&str; 8] =
    ["permission", "prefixes", "objects", "prefix", "object", "prefixPaths", "objectPaths", "nbf"];

/// Why a session token was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unfit {
    /// It is not of the form.
    #[error("the session token is malformed")]
    Malformed,
    /// It was not signed with the parent's secret.
    #[error("the session token was not signed with this access key")]
    Forged,
    /// It was, and says what cannot be taken.
    #[error("the session token says what cannot be taken: {0}")]
    Claims(&'static str),
}

/// A session token in the form, nothing of it believed yet.
pub struct SessionToken {
    jwt: Secret<String>,
    /// Where the signature's own dot is.
    signed: usize,
    signature: Vec<u8>,
    unverified_payload: Vec<u8>,
}

impl std::fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionToken([secret])")
    }
}

/// What a session token says, after its signature was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Child {
    /// The token of the parent that signed it.
    pub parent: TokenId,
    /// Whose.
    pub account: AccountId,
    /// The host it is for.
    pub audience: String,
    /// The bucket.
    pub bucket: BucketName,
    /// Where in it.
    pub paths: Paths,
    /// What it may do, by permission.
    pub permission: Option<Permission>,
    /// What it may do, by operation; with a permission, both must allow.
    pub operations: Option<Operations>,
    /// When it was signed, as the signer says.
    pub issued: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// The name its signer gave it, if one.
    pub name: Option<String>,
}

impl SessionToken {
    /// Takes a session token apart.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn read(text: &str) -> Result<Self, Unfit> {
        Self::parts(text).ok_or(Unfit::Malformed)
    }

    fn parts(text: &str) -> Option<Self> {
        if text.len() > MAX_CHARS {
            return None;
        }
        let coding = if text.ends_with('=') { BASE64 } else { BASE64_NOPAD };
        let plain = String::from_utf8(coding.decode(text.as_bytes()).ok()?).ok().filter(|plain| plain.is_ascii())?;
        let jwt = Secret::new(plain.strip_prefix("jwt/")?.to_owned());
        let mut segments = jwt.reveal().split('.');
        let (header, payload, signature) = (segments.next()?, segments.next()?, segments.next()?);
        if segments.next().is_some() || header.is_empty() || payload.is_empty() || signature.is_empty() {
            return None;
        }
        // SECURITY: this decoder takes only the one canonical spelling. The spare bits of the last character would otherwise give
        // four spellings of one token, each with a secret of its own.
        let decode = |segment: &str| BASE64URL_NOPAD.decode(segment.as_bytes()).ok();
        let signed = header.len() + 1 + payload.len();
        let (header, unverified_payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
        let header = Json::read(&header)?;
        // RFC 7515, section 4.1.11: what is critical and not understood refuses the token.
        if header.get("alg")?.text()? != "HS256" || header.get("crit").is_some() {
            return None;
        }
        Some(Self { jwt, signed, signature, unverified_payload })
    }

    /// The secret access key that goes with it.
    pub fn secret_access_key(&self) -> Secret<String> {
        let hash = digest::digest(&digest::SHA256, self.jwt.reveal().as_bytes());
        Secret::new(HEXLOWER.encode(hash.as_ref()))
    }

    /// Checks the signature with the parent's secret access key, and reads what was signed.
    ///
    /// # Errors
    /// `Forged`, `Claims`.
    pub fn verify(&self, parent_secret: &Secret<String>) -> Result<Child, Unfit> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, parent_secret.reveal().as_bytes());
        let signed = self.jwt.reveal().get(..self.signed).ok_or(Unfit::Malformed)?;
        hmac::verify(&key, signed.as_bytes(), &self.signature).map_err(|_| Unfit::Forged)?;
        Child::read(&self.unverified_payload)
    }

    /// The parent that the token says it is of; nothing of it is verified.
    pub fn unverified_parent(&self) -> Option<TokenId> {
        Json::read(&self.unverified_payload)?.get("iss")?.text().and_then(TokenId::from_hex)
    }
}

impl Child {
    /// Reads claims, as JSON.
    ///
    /// # Errors
    /// `Claims`, saying which.
    pub fn read(payload: &[u8]) -> Result<Self, Unfit> {
        let claims = Json::read(payload).ok_or(Unfit::Claims("not JSON"))?;
        let text = |name: &str, bad: &'static str| {
            claims.get(name).and_then(Json::text).map(str::to_owned).ok_or(Unfit::Claims(bad))
        };
        if MEANT_TO_NARROW.iter().any(|name| claims.get(name).is_some()) {
            return Err(Unfit::Claims("a claim that narrows nothing"));
        }
        let at = |name: &str, bad: &'static str| {
            let secs = claims.get(name).and_then(Json::whole).ok_or(Unfit::Claims(bad))?;
            Timestamp::from_second(secs).map_err(|_| Unfit::Claims(bad))
        };
        let (issued, until) = (at("iat", "iat")?, at("exp", "exp")?);
        let lived = until.duration_since(issued).as_secs();
        if lived < 1 || lived > i64::from(LONGEST.as_secs()) {
            return Err(Unfit::Claims("exp is not 1 to 604800 seconds after iat"));
        }
        let permission = match claims.get("scope") {
            None => None,
            Some(scope) => Some(scope.text().and_then(Permission::parse).ok_or(Unfit::Claims("scope"))?),
        };
        let operations = match claims.get("actions") {
            None => None,
            Some(actions) => {
                let names = actions.texts().ok_or(Unfit::Claims("actions"))?;
                Some(Operations::parse(names).map_err(|_| Unfit::Claims("actions"))?)
            }
        };
        let child = Self {
            parent: TokenId::from_hex(&text("iss", "iss")?).ok_or(Unfit::Claims("iss"))?,
            account: AccountId::from_hex(&text("sub", "sub")?).ok_or(Unfit::Claims("sub"))?,
            audience: text("aud", "aud")?,
            bucket: BucketName::parse(&text("bucket", "bucket")?).map_err(|_| Unfit::Claims("bucket"))?,
            paths: claims.get("paths").map_or(Ok(Paths::Whole), read_paths)?,
            permission,
            operations,
            issued,
            until,
            name: claims
                .get("jti")
                .map(|name| name.text().map(str::to_owned).ok_or(Unfit::Claims("jti")))
                .transpose()?,
        };
        if child.scope().is_none() {
            return Err(Unfit::Claims("neither scope nor actions allow anything"));
        }
        Ok(child)
    }

    /// Refuses what says that it was signed later than now.
    ///
    /// # Errors
    /// `Claims`.
    pub fn begun(&self, now: Timestamp) -> Result<(), Unfit> {
        if self.issued.duration_since(now) > SKEW { Err(Unfit::Claims("iat")) } else { Ok(()) }
    }

    /// What it asks to open.
    fn scope(&self) -> Option<Scope> {
        let actions = match (self.permission, self.operations) {
            (Some(permission), Some(operations)) => permission.actions().intersect(operations.needed()),
            (Some(permission), None) => permission.actions(),
            (None, Some(operations)) => operations.needed(),
            (None, None) => return None,
        };
        Scope::new(self.bucket.clone(), self.paths.clone(), of_paths(actions, &self.paths))
    }

    /// What it opens of something that its parent may reach, at an instant.
    pub fn opens(&self, ceiling: &ParentScope, now: Timestamp) -> Option<Rights> {
        let ends = ceiling.max_lifetime.ends(self.issued).min(self.until);
        if now < ends { ceiling.rights.intersect(&self.scope()?.into()) } else { None }
    }

    /// The lease that it counts as: of what it says, not of how that was written, so that who knows the claims can end it.
    pub fn lease(&self) -> LeaseId {
        let Self { parent, account, audience, bucket: _, paths: _, permission, operations, issued, until, name } = self;
        let mut all = b"valetkey signed child v1".to_vec();
        all.extend_from_slice(&parent.to_bytes());
        all.extend_from_slice(&account.to_bytes());
        for text in [permission.map_or("", Permission::as_str), audience, name.as_deref().unwrap_or_default()] {
            all.extend_from_slice(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            all.extend_from_slice(text.as_bytes());
        }
        all.push(u8::from(name.is_some()));
        all.extend_from_slice(&operations.map_or(0, Operations::bits).to_be_bytes());
        all.extend_from_slice(&issued.as_second().to_be_bytes());
        all.extend_from_slice(&until.as_second().to_be_bytes());
        // Holds the bucket and the paths.
        if let Some(scope) = self.scope() {
            scope.encode(&mut all);
        }
        let hash = digest::digest(&digest::SHA256, &all);
        let mut random = [0; 10];
        random.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        LeaseId::new(self.issued, random)
    }
}

fn read_paths(paths: &Json) -> Result<Paths, Unfit> {
    let bad = Unfit::Claims("paths");
    let Json::Object(members) = paths else { return Err(bad) };
    let mut all = Vec::new();
    for (name, list) in members {
        let make: fn(&[u8]) -> Result<Path, crate::Error> = match name.as_str() {
            "prefixPaths" => Path::prefix,
            "objectPaths" => Path::object,
            _ => return Err(bad),
        };
        for text in list.texts().ok_or(bad)? {
            all.push(make(text.as_bytes()).map_err(|_| bad)?);
        }
    }
    if all.len() > MAX_PATHS {
        return Err(bad);
    }
    // Both lists empty is not everything: whoever wanted that leaves `paths` out.
    Paths::only(all).map_err(|_| bad)
}

#[cfg(test)]
mod tests;
