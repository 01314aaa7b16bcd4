//! User delegation keys: asked for with a token of Entra, kept while they serve, renewed ahead of their end.

use data_encoding::BASE64;
use jiff::{SignedDuration, Timestamp};
use valetkey_core::{Error, Secret};

use crate::azure::sas::{DelegationKey, VERSION, written};
use crate::azure::token::Tokens;
use crate::renewing::{Fresh, Renewing};
use crate::web::{Answer, Web, whole};

/// A key is asked for from this long ago, so that one whose clock is ahead of the service's does not sign too early.
const BACK: SignedDuration = SignedDuration::from_mins(15);
/// How long a key is asked for, unless more is needed.
const LIFE: SignedDuration = SignedDuration::from_hours(24);
/// The longest the service gives ("Get User Delegation Key": seven days), less the time it starts in the past.
const MAX_LIFE: SignedDuration = SignedDuration::from_mins(7 * 24 * 60 - 15);

/// Gets delegation keys, and keeps the last.
pub(super) struct Delegation {
    url: String,
    tokens: Tokens,
    last: Renewing<Last>,
}

/// A key, and until when it was asked to live: the service may give one that lives shorter, and then gives no more by being asked again.
#[derive(Clone)]
struct Last {
    key: DelegationKey,
    asked: Timestamp,
}

/// A key that ends sooner signs nothing any more.
const SPARE: SignedDuration = SignedDuration::from_mins(1);

impl Delegation {
    /// Asks at an account's endpoint.
    pub(super) fn new(endpoint: &str, tokens: Tokens) -> Self {
        Self { url: format!("{endpoint}/?restype=service&comp=userdelegationkey"), tokens, last: Renewing::new() }
    }

    /// A key that signs for `life` from now, or for as long as a key can.
    pub(super) async fn key(&self, web: &Web, life: SignedDuration, now: Timestamp) -> Result<DelegationKey, Error> {
        // A key is asked for twice as long as needed, so that the next wish of that length finds it.
        let ask = (life * 2).clamp(LIFE, MAX_LIFE);
        let needed = later(now, life.min(ask / 2));
        let fetch = async {
            let key = self.fetch(web, now, later(now, ask)).await?;
            let renew = later(now, ask.min(key.expires.duration_since(now)) / 2);
            Ok(Fresh { value: Last { key, asked: later(now, ask) }, renew })
        };
        let serves = |Last { key, asked }: &Last| {
            key.expires >= needed || (*asked >= needed && key.expires.duration_since(now) > SPARE)
        };
        self.last.get(now, serves, fetch).await.map(|last| last.key)
    }

    /// Forgets the last key: it was revoked.
    pub(super) fn forget(&self) {
        self.last.forget();
    }

    async fn fetch(&self, web: &Web, now: Timestamp, until: Timestamp) -> Result<DelegationKey, Error> {
        let token = self.tokens.get(web).await?;
        let (start, end) = (written(later(now, -BACK)), written(until));
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><KeyInfo><Start>{start}</Start><Expiry>{end}</Expiry></KeyInfo>"
        );
        let request = web
            .post(&self.url, "application/xml", body)
            .bearer_auth(token.value.reveal())
            .header("x-ms-version", VERSION);
        let answer = web.ask("Azure Storage", request).await?;
        if matches!(answer.status.as_u16(), 401 | 403) {
            self.tokens.forget();
        }
        read(&answer.success()?)
    }
}

fn later(instant: Timestamp, by: SignedDuration) -> Timestamp {
    instant.checked_add(by).unwrap_or(instant)
}

/// Reads the service's answer: a flat list of elements, none of which needs an entity.
fn read(answer: &Answer) -> Result<DelegationKey, Error> {
    let malformed = || answer.malformed("no delegation key");
    let text = std::str::from_utf8(answer.body.reveal()).map_err(|_| malformed())?;
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        let (value, _) = rest.split_once(&format!("</{name}>"))?;
        let value = value.trim();
        // SECURITY: each is a line of what is signed.
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'&');
        (!value.is_empty() && value.len() <= 512 && value.bytes().all(plain)).then(|| value.to_owned())
    };
    let field = |name: &str| element(name).ok_or_else(malformed);
    let value = Secret::new(field("Value")?);
    let value = BASE64.decode(value.reveal().as_bytes()).map(Secret::new).map_err(|_| malformed())?;
    let expiry = field("SignedExpiry")?;
    let expires: Timestamp = expiry.parse().map_err(|_| malformed())?;
    if value.reveal().is_empty() || expires <= answer.asked {
        return Err(answer.malformed("a delegation key that is over"));
    }
    Ok(DelegationKey {
        oid: field("SignedOid")?,
        tid: field("SignedTid")?,
        start: field("SignedStart")?,
        expiry,
        service: field("SignedService")?,
        version: field("SignedVersion")?,
        expires: whole(expires),
        value,
    })
}
