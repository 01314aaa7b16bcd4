//! Sessions of the console, as the edge takes them: a cookie in the place of a token, for pages that this server itself serves.
//!
//! SECURITY: a browser sends a cookie by itself. So it only proves somebody where the request says that a page of this very origin
//! made it, and where it changes something only with JSON, which a form of another page cannot send.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::header::{CONTENT_TYPE, COOKIE, HOST, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use jiff::Timestamp;
use valetkey_core::error::Stranger;
use valetkey_core::keyring::SEAL_NONCE_LEN;
use valetkey_core::nouns::console::{ConsoleSession, LONGEST};
use valetkey_core::nouns::share::{LinkCode, LinkDigest};
use valetkey_core::time::{Entropy, Lifetime};
use valetkey_core::token::{PlainToken, TokenDigest};
use valetkey_core::{Error, Kind, Secret};

use super::{Shared, identity};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// How long a link that signs in may wait for its click: long enough to paste it, too short to be found later.
const LINK: Lifetime = Lifetime::secs(60);

/// The most sessions that are remembered as ended: those of a day of a very large team. The oldest is forgotten first.
const ENDED: usize = 100_000;

/// The console: where its pages are, and what of its sessions is kept in memory.
pub struct Console {
    /// The origin of its pages.
    origin: String,
    /// The one link that signs in, as a digest, until when, and with which token.
    link: Mutex<Option<(LinkDigest, Timestamp, TokenDigest)>>,
    /// Sessions that were signed out, until they would have ended.
    ended: Mutex<HashMap<[u8; 16], Timestamp>>,
}

impl Console {
    /// One whose pages are reached at this URL.
    pub fn new(url: &str) -> Self {
        let mut parts = url.splitn(4, '/');
        let (scheme, host) = (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
        let origin = format!("{scheme}//{host}").to_ascii_lowercase();
        Self { origin, link: Mutex::default(), ended: Mutex::default() }
    }

    /// The cookie's name. The prefix makes browsers refuse one that another host or a page without TLS sets; without TLS it cannot be had.
    fn cookie_name(&self) -> &'static str {
        if self.is_secure() { "__Host-valetkey" } else { "valetkey-console" }
    }

    /// Where its pages are, without a path.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    pub(super) fn is_secure(&self) -> bool {
        self.origin.starts_with("https://")
    }

    /// Makes the link's code that signs in once, with a token that is known.
    pub fn link(&self, token: &PlainToken, entropy: &dyn Entropy, now: Timestamp) -> LinkCode {
        let code = LinkCode::generate(entropy);
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        *link = Some((code.digest(), LINK.ends(now), token.digest()));
        code
    }

    fn redeem(&self, code: &str, now: Timestamp) -> Option<TokenDigest> {
        let digest = LinkCode::parse(code)?.digest();
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, until, token) = link.take_if(|(known, ..)| *known == digest)?;
        (now < until).then_some(token)
    }

    /// Refuses a request that no page of this server made.
    ///
    /// # Errors
    /// `Forbidden`.
    pub fn own_page(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Error> {
        let site = single(headers, &FETCH_SITE)?;
        let origin = single(headers, &ORIGIN)?;
        let host = single(headers, &HOST)?.or_else(|| uri.authority().map(http::uri::Authority::as_str));
        let reads = [Method::GET, Method::HEAD].contains(method);
        let own = |origin: &str| {
            let is_host = |at: &str| host.is_some_and(|host| at.eq_ignore_ascii_case(host));
            // Where there is TLS, a page that came without may be of somebody on the way.
            let fits = |(scheme, at): (&str, &str)| (scheme == "https" || !self.is_secure()) && is_host(at);
            origin.eq_ignore_ascii_case(&self.origin) || origin.split_once("://").is_some_and(fits)
        };
        // A browser says the origin of whatever changes something. Where there is no TLS it does not say the site.
        let fits = site.is_none_or(|site| site == "same-origin") && origin.map_or(reads, own);
        if !fits {
            return Err(Error::new(Kind::Forbidden, "a session is only good for the console's own pages"));
        }
        let json = |told: &str| told.split(';').next().is_some_and(|told| told.trim() == "application/json");
        if reads || single(headers, &CONTENT_TYPE)?.is_some_and(json) {
            return Ok(());
        }
        Err(Error::new(Kind::Forbidden, "with a session, send `content-type: application/json`"))
    }

    /// The session that a cookie is; nothing without one.
    ///
    /// # Errors
    /// `Unauthenticated` where it is none of ours, is over or was ended.
    pub(super) fn session(
        &self,
        shared: &Shared,
        dialect: &'static str,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Option<ConsoleSession>, Error> {
        let Some(presented) = cookie(headers, self.cookie_name())? else { return Ok(None) };
        let session = ConsoleSession::open(&shared.keyring.load(), dialect, presented, now)?;
        if self.ended.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&session.id) {
            return Err(Error::new(Kind::Unauthenticated(Stranger::Unknown), "the session was ended; sign in again"));
        }
        Ok(Some(session))
    }

    /// Signs in: by a token that proves somebody, or by a link's code. Gives the session and its cookie.
    ///
    /// # Errors
    /// `Unauthenticated` where it proves nobody.
    pub async fn sign_in(
        &self,
        shared: &Shared,
        dialect: &'static str,
        by: SignIn,
        now: Timestamp,
    ) -> Result<(ConsoleSession, HeaderValue), Error> {
        let token = match by {
            SignIn::Token(presented) if identity::is_jwt(presented.reveal()) => {
                identity::known(shared, presented.reveal(), now).await?
            }
            SignIn::Token(presented) => PlainToken::parse(presented.reveal())?.digest(),
            SignIn::Code(code) => self.redeem(code.reveal(), now).ok_or_else(|| {
                let said = "the link was used or its minute is over; sign in with a token";
                Error::new(Kind::Unauthenticated(Stranger::Unknown), said)
            })?,
        };
        self.open(shared, dialect, token, now).await
    }

    /// Opens the session of a token. Gives the session and its cookie.
    pub(super) async fn open(
        &self,
        shared: &Shared,
        dialect: &'static str,
        token: TokenDigest,
        now: Timestamp,
    ) -> Result<(ConsoleSession, HeaderValue), Error> {
        let caller = shared.vending.directory.caller_by_digest(token, now).await?;
        caller.in_time(now)?;
        let mut id = [0; 16];
        shared.entropy.fill(&mut id);
        let session = ConsoleSession { token, id, opened: now, seen: now };
        let cookie = self.set(shared, dialect, &session)?;
        Ok((session, cookie))
    }

    /// Renews the session that a request shows; nothing where it shows none.
    ///
    /// # Errors
    /// As of a request with it.
    pub fn renew(
        &self,
        shared: &Shared,
        dialect: &'static str,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Option<(ConsoleSession, HeaderValue)>, Error> {
        let Some(session) = self.session(shared, dialect, headers, now)? else { return Ok(None) };
        let session = ConsoleSession { seen: now, ..session };
        let cookie = self.set(shared, dialect, &session)?;
        Ok(Some((session, cookie)))
    }

    /// Ends the session that a request shows. Gives the cookie that takes its place.
    ///
    /// # Errors
    /// As of a request with it.
    pub fn sign_out(
        &self,
        shared: &Shared,
        dialect: &'static str,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<HeaderValue, Error> {
        if let Some(session) = self.session(shared, dialect, headers, now)? {
            let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            ended.retain(|_, until| now < *until);
            if ended.len() >= ENDED
                && let Some(oldest) = ended.iter().min_by_key(|(_, until)| **until).map(|(id, _)| *id)
            {
                ended.remove(&oldest);
            }
            ended.insert(session.id, session.until());
        }
        self.header(self.cookie_name(), "", 0)
    }

    fn set(&self, shared: &Shared, dialect: &'static str, session: &ConsoleSession) -> Result<HeaderValue, Error> {
        let mut nonce = [0; SEAL_NONCE_LEN];
        shared.entropy.fill(&mut nonce);
        let sealed = session.seal(&shared.keyring.load(), dialect, nonce)?;
        self.header(self.cookie_name(), sealed.reveal(), LONGEST.as_secs())
    }

    pub(super) fn header(&self, name: &str, value: &str, max_age: u32) -> Result<HeaderValue, Error> {
        let secure = if self.is_secure() { "; Secure" } else { "" };
        let text = format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Strict{secure}");
        let mut header = HeaderValue::from_str(&text).map_err(|_| Error::internal("a cookie could not be written"))?;
        header.set_sensitive(true);
        Ok(header)
    }
}

/// What somebody signs in with.
#[derive(Debug)]
pub enum SignIn {
    /// A token.
    Token(Secret<String>),
    /// The code of a link.
    Code(Secret<String>),
}

/// The cookie of a name.
pub(super) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Error> {
    let texts = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut own = pairs.filter(|(own, _)| *own == name).map(|(_, value)| value);
    match (own.next(), own.next()) {
        (first, None) => Ok(first),
        _ => Err(Error::new(Kind::Malformed, "the session's cookie is given twice")),
    }
}

pub(super) fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Error> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (values.next(), value.to_str()) {
        (None, Ok(text)) => Ok(Some(text)),
        _ => Err(Error::new(Kind::Malformed, format!("the header `{name}` cannot be read"))),
    }
}
