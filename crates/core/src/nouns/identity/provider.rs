//! What is configured of identity providers and their rules, and what nobody should configure.

use aws_lc_rs::digest;
use jiff::Timestamp;

use crate::address::{self, PathRule};
use crate::caller::Role;
use crate::claims::Condition;
use crate::error::{Error, Kind};
use crate::id::{AccountId, ProviderId, RuleId};
use crate::name::{Name, shortened};
use crate::nouns::identity::preset::{self, Preset};
use crate::nouns::identity::rule::{CallerTemplate, SubjectClaim};
use crate::token::TokenDigest;
use crate::word::words;

/// The most rules of one provider: each token is held against all of them.
const MOST_RULES: usize = 200;
/// The most of anything else that a provider or a rule lists.
const MOST_LISTED: usize = 50;
/// The longest of our settings' texts, in bytes.
const LONGEST: usize = 512;
/// The longest set of keys that is kept here, in bytes: what is read of an issuer's.
pub const MOST_KEY_BYTES: usize = 256 * 1024;
/// The largest difference of clocks that is allowed for, in seconds.
const MOST_LEEWAY: u32 = 300;
/// The longest that a session may outlive its token, in seconds: as long as AWS lets one last.
const MOST_OUTLIVE: u32 = 43_200;
/// The oldest that a token may be, in seconds.
const MOST_AGE: u32 = 30 * 86_400;
/// The longest identity token, in bytes. AWS STS takes 20,000 characters.
pub const LONGEST_TOKEN: usize = 16 * 1024;

words! {
    /// How an issuer signs. None of these is symmetric: who checks a token could else make one.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum Algorithm {
        /// RSASSA-PKCS1-v1_5 with SHA-256.
        Rs256 => "RS256",
        /// RSASSA-PKCS1-v1_5 with SHA-384.
        Rs384 => "RS384",
        /// RSASSA-PKCS1-v1_5 with SHA-512.
        Rs512 => "RS512",
        /// RSASSA-PSS with SHA-256.
        Ps256 => "PS256",
        /// RSASSA-PSS with SHA-384.
        Ps384 => "PS384",
        /// RSASSA-PSS with SHA-512.
        Ps512 => "PS512",
        /// ECDSA with P-256 and SHA-256.
        Es256 => "ES256",
        /// ECDSA with P-384 and SHA-384.
        Es384 => "ES384",
        /// Ed25519.
        EdDsa => "EdDSA",
    }
}

/// Where an issuer's keys come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeySource {
    /// From the address that its discovery document names.
    Discovery,
    /// From this address.
    Jwks(Box<str>),
    /// They are these, a JSON Web Key Set.
    Static(Box<str>),
}

/// As what people log in at an issuer, with our command line as its client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoginClient {
    /// The client's id: a public client, which has no secret.
    pub client_id: Box<str>,
    /// What it asks for.
    pub scopes: Vec<Box<str>>,
}

/// Who else's word is taken for who a caller is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentityProvider {
    /// Its id.
    pub id: ProviderId,
    /// Its name.
    pub name: Name,
    /// What kind it is.
    pub preset: Preset,
    /// What its tokens say that issued them, byte for byte.
    pub issuer: Box<str>,
    /// Where its keys come from.
    pub keys: KeySource,
    /// A token names one of these.
    pub audiences: Vec<Box<str>>,
    /// The clients (`azp`) whose tokens are taken; any if there is none.
    pub parties: Vec<Box<str>>,
    /// What makes a subject.
    pub subject: Vec<SubjectClaim>,
    /// How it may sign.
    pub algorithms: Vec<Algorithm>,
    /// By how much its clock may differ, in seconds.
    pub leeway_secs: u32,
    /// How old a token may be that says when it was issued, in seconds.
    pub max_age_secs: u32,
    /// As what people log in; nobody does if there is none.
    pub login: Option<LoginClient>,
    /// Goes up with every change of it or its rules; what was known of a token before is not believed then.
    pub version: u64,
    /// When it was made.
    pub made: Timestamp,
    /// Its rules, in the order they are tried.
    pub rules: Vec<TrustRule>,
}

/// Whom a token becomes, and whose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrustRule {
    /// Its id.
    pub id: RuleId,
    /// Its name, unique among its provider's.
    pub name: Name,
    /// The account of the caller.
    pub account: AccountId,
    /// The caller's name.
    pub caller: CallerTemplate,
    /// The caller's role.
    pub role: Role,
    /// What the token has to claim.
    pub conditions: Vec<Condition>,
    /// For so long from its first use what is vended to the token may live, in seconds, even if the token ends sooner.
    pub outlive_secs: Option<u32>,
}

fn refused(at: &'static str, said: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Kind::Invalid, said).at(at)
}

fn texts(list: &[Box<str>], at: &'static str) -> Result<(), Error> {
    let good = |text: &str| (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    match list.iter().find(|text| !good(text)) {
        _ if list.len() > MOST_LISTED => Err(refused(at, format!("name at most {MOST_LISTED}"))),
        Some(bad) => Err(refused(at, format!("`{}` is empty, too long, or not ASCII without spaces", shortened(bad)))),
        None => Ok(()),
    }
}

/// Refuses what is no address to ask for keys or a discovery document.
///
/// # Errors
/// `Invalid`.
pub fn check_url(text: &str, at: &'static str) -> Result<(), Error> {
    let address = address::parse(text, PathRule::Allowed).map_err(|said| refused(at, said))?;
    let host = address.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map_or(host, |(name, _)| name);
    if address.starts_with("http://") && !matches!(name, "localhost" | "127.0.0.1" | "[::1]") {
        return Err(refused(
            at,
            format!("`{}` has to start with https://: who is on the way could give other keys", shortened(text)),
        ));
    }
    Ok(())
}

impl IdentityProvider {
    /// Refuses what nobody should trust.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check(&self) -> Result<(), Error> {
        check_url(&self.issuer, "issuer")?;
        if self.issuer.contains("/.well-known/") {
            return Err(refused("issuer", "name the issuer as its tokens do (`iss`), without `/.well-known/…`"));
        }
        self.preset.check_issuer(&self.issuer)?;
        match &self.keys {
            KeySource::Jwks(url) => check_url(url, "jwks_uri")?,
            KeySource::Static(keys) if keys.len() > MOST_KEY_BYTES => {
                return Err(refused("jwks", format!("the keys have more than {MOST_KEY_BYTES} bytes")));
            }
            KeySource::Discovery | KeySource::Static(_) => {}
        }
        if self.audiences.is_empty() {
            let said =
                "name the audience that its tokens are asked for: without one, a token made for anybody would be taken";
            return Err(refused("audiences", said));
        }
        texts(&self.audiences, "audiences")?;
        texts(&self.parties, "parties")?;
        if self.subject.is_empty() || self.subject.len() > 5 || self.subject.iter().all(|one| one.optional) {
            return Err(refused("subject", "name 1 to 5 claims, one of them without `?`"));
        }
        if self.algorithms.is_empty() {
            return Err(refused("algorithms", "name an algorithm"));
        }
        if self.leeway_secs > MOST_LEEWAY {
            return Err(refused("leeway_secs", format!("at most {MOST_LEEWAY} seconds")));
        }
        if !(60..=MOST_AGE).contains(&self.max_age_secs) {
            return Err(refused("max_age_secs", format!("60 to {MOST_AGE} seconds")));
        }
        if let Some(login) = &self.login {
            login.check(&self.audiences)?;
        }
        if self.rules.len() > MOST_RULES {
            return Err(refused("name", format!("a provider has at most {MOST_RULES} rules")));
        }
        self.rules.iter().try_for_each(|rule| rule.check(&self.issuer))
    }

    /// Those of its rules whose sessions end when it is changed to that: all if who is believed, or what of it, is another; else those
    /// that are gone, or say something else than their name.
    pub fn ended_by<'b>(&'b self, after: &Self) -> Vec<&'b TrustRule> {
        let plain = |of: &Self| Self {
            name: self.name.clone(),
            preset: self.preset,
            version: 0,
            login: None,
            rules: Vec::new(),
            ..of.clone()
        };
        let same = plain(self) == plain(after);
        let stays = |rule: &TrustRule| {
            after.rules.iter().any(|one| TrustRule { name: rule.name.clone(), ..one.clone() } == *rule)
        };
        self.rules.iter().filter(|rule| !same || !stays(rule)).collect()
    }

    /// How a token of this provider is known here: nothing else of it is kept. Another version of the provider does not know what this
    /// one knew, so that the token is checked again.
    pub fn digest_of(&self, jwt: &JwtDigest) -> TokenDigest {
        let mut bytes = Vec::with_capacity(72);
        bytes.extend_from_slice(&jwt.whole);
        bytes.extend_from_slice(&self.id.to_bytes());
        bytes.extend_from_slice(&self.version.to_be_bytes());
        TokenDigest::of_digest(&sha256(&bytes))
    }
}

impl LoginClient {
    /// Refuses what would give tokens that are not taken.
    fn check(&self, audiences: &[Box<str>]) -> Result<(), Error> {
        let Self { client_id, scopes } = self;
        texts(std::slice::from_ref(client_id), "login_client_id")?;
        texts(scopes, "login_scopes")?;
        if !audiences.contains(client_id) {
            let said =
                "what people get by logging in names the client as its audience: name it among the audiences, too";
            return Err(refused("login_client_id", said));
        }
        if !scopes.iter().any(|scope| &**scope == "openid") {
            return Err(refused("login_scopes", "name `openid`: without it there is no identity token"));
        }
        Ok(())
    }
}

impl TrustRule {
    /// Refuses what admits more than anybody could mean.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check(&self, issuer: &str) -> Result<(), Error> {
        if self.conditions.len() > MOST_LISTED {
            return Err(refused("claims", format!("name at most {MOST_LISTED}")));
        }
        if self.outlive_secs.is_some_and(|secs| !(60..=MOST_OUTLIVE).contains(&secs)) {
            return Err(refused("outlive_secs", format!("60 to {MOST_OUTLIVE} seconds")));
        }
        preset::check_conditions(issuer, &self.conditions)
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// What is kept of an identity token.
///
/// SECURITY: what proves is the whole token; what is ended is what was signed. A signature may be written in more than one way (of
/// ECDSA's there are two), and a token that was ended must not come in with another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct JwtDigest {
    whole: [u8; 32],
    signed: [u8; 32],
}

impl JwtDigest {
    /// Of a token's text.
    pub fn of(text: &str) -> Self {
        let signed = text.rsplit_once('.').map_or(text, |(signed, _)| signed);
        Self { whole: sha256(text.as_bytes()), signed: sha256(signed.as_bytes()) }
    }

    /// What all writings of the token have in common, to store.
    pub const fn signed(&self) -> &[u8; 32] {
        &self.signed
    }
}

impl std::fmt::Debug for JwtDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[digest of an identity token]")
    }
}

/// Who a token proves, and by which rule: made by [`IdentityProvider::judge`] alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proven<'p> {
    /// Whose token it is.
    pub provider: &'p IdentityProvider,
    /// The rule that admits it.
    pub rule: &'p TrustRule,
    /// The caller's name.
    pub caller: Name,
    /// Who it stands for at its issuer.
    pub subject: Box<str>,
    /// Its own id.
    pub jti: Option<Box<str>>,
    /// When it was issued.
    pub issued: Option<Timestamp>,
    /// Until when what comes of it may live.
    pub until: Timestamp,
}
