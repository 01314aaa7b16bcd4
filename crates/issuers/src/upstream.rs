//! One configured store behind somebody else's API: what it can express, and how a credential is fetched there.

use std::fmt;

use async_trait::async_trait;
use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use jiff::{SignedDuration, Timestamp};
use tracing::Span;
use tracing::field::Empty;
use valetkey_core::credential::{Credential, Narrowed};
use valetkey_core::field::Field;
use valetkey_core::hosts::Hosts;
use valetkey_core::nouns::provider::Facts;
use valetkey_core::nouns::storage_admin::Ended;
use valetkey_core::port::SignedUrls;
use valetkey_core::scope::{Part, Rights};
use valetkey_core::storage::Revocability;
use valetkey_core::time::Lifetime;
use valetkey_core::{Error, Kind};

use crate::web::refused;

/// The target of spans: they are for OpenTelemetry alone, and no line of the log.
pub const SPANS: &str = "valetkey::spans";

/// The span of a call to a storage: below that of the request that started it; others wait for the same call.
pub(crate) fn span(storage: &str) -> Span {
    tracing::info_span!(
        target: SPANS, "upstream.fetch", otel.kind = "client", valetkey.storage = storage, error.type = Empty, otel.status_code = Empty
    )
}

/// What is wanted of an upstream.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// What the credential opens: never wider than the permit, and the upstream must not widen it.
    pub rights: &'a Rights,
    /// How long it lives, at most.
    pub lifetime: Lifetime,
    /// Who it is for, in the store's own logs.
    pub session: &'a SessionName,
    /// The present instant.
    pub now: Timestamp,
}

/// What URLs of single objects are wanted for.
#[derive(Clone, Copy, Debug)]
pub struct UrlWish<'a> {
    /// Where the store is.
    pub endpoint: &'a str,
    /// What was vended: no URL opens what it does not.
    pub credential: &'a Credential,
    /// What that opens.
    pub rights: &'a Rights,
    /// The present instant.
    pub now: Timestamp,
    /// When the URLs end: no later than the credential.
    pub until: Timestamp,
}

/// The one part of what is wanted, where a store's credentials have no paths of their own for each action.
///
/// # Errors
/// `Invalid` for several: policy asks no such store for them.
pub(crate) fn one_part(rights: &Rights) -> Result<&Part, Error> {
    rights.parts().only().ok_or_else(|| {
        let said = "this storage's credentials allow the same actions on all of their paths; ask for each part alone";
        Error::new(Kind::Invalid, said).at(Field::Parts)
    })
}

/// What an upstream gave.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The credential. Its end is what the upstream said, never computed from the wish where it tells.
    pub credential: Credential,
    /// The id under which the upstream logged the request.
    pub upstream_request_id: Option<String>,
    /// How much of the upstream's room for policies was used.
    pub packed_policy_percent: Option<u8>,
    /// What of the scope could not be expressed and was left out (narrower).
    pub narrowed: Vec<Narrowed>,
}

/// A store behind somebody else's API.
#[async_trait]
pub trait Upstream: Send + Sync {
    /// Whether the scope can be expressed there at all, without asking anyone. `Invalid` with clear words if not.
    fn check(&self, rights: &Rights) -> Result<(), Error>;

    /// Fetches a credential. It never reaches further or lives longer than wished.
    async fn fetch(&self, wish: &Wish<'_>) -> Result<Fetched, Error>;

    /// Makes a credential without asking anyone, where that is how this store's are made: exact to the second, and nothing to keep.
    fn sign(&self, _wish: &Wish<'_>) -> Option<Result<Fetched, Error>> {
        None
    }

    /// Whether [`Self::sign`] makes this store's credentials.
    fn signs(&self) -> bool {
        false
    }

    /// Whether URLs that open one object each can be made here. Nobody is asked.
    ///
    /// # Errors
    /// `Invalid` with the reason.
    fn check_urls(&self) -> Result<(), Error>;

    /// What signs such URLs, where it is not the credential itself.
    ///
    /// # Errors
    /// As [`Self::check_urls`]; what fetching a key fails with.
    async fn signs_urls(&self, _wish: &UrlWish<'_>) -> Result<Box<dyn SignedUrls>, Error> {
        Err(Error::internal("the URLs of this storage are signed with its credentials"))
    }

    /// What is known of it without asking anyone. Its revocation is `Minutes` where it is configured how what was fetched is ended
    /// there, otherwise it ends with its time. Never `Immediate`: each provider takes a while until all of its servers know.
    fn facts(&self) -> Facts;

    /// Where its requests go, and what proves this server there.
    fn hosts(&self) -> &Hosts;

    /// Ends, at the store, what was fetched before an instant (where the store knows instants; everything, where it does not).
    ///
    /// # Errors
    /// `Invalid` where it is not configured how, with what can be done by hand; what the store refuses with.
    async fn end_credentials(&self, _before: Timestamp) -> Result<Ended, Error> {
        Err(by_hand("each ends when its time is over"))
    }
}

/// How soon credentials are ended where a provider has a lever for it, or none.
pub(crate) const fn by_lever(has_lever: bool) -> Revocability {
    if has_lever { Revocability::Minutes } else { Revocability::ExpiryOnly }
}

/// A refusal to end credentials where it is not configured how: what a person can do.
pub(crate) fn by_hand(instead: &str) -> Error {
    Error::new(Kind::Invalid, format!("credentials of this storage cannot be revoked early; {instead}"))
}

/// Who a credential is for, as stores let it be written into their own logs.
///
/// * 2 to 64 characters of `A-Z`, `a-z`, `0-9`, `_`, `+`, `=`, `,`, `.`, `@` and `-`: what AWS allows of a role session's name
/// * two different texts never become the same name: one that has to be changed ends in `=` and digits of its hash, and
///   one that already looks like that is changed too
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionName(Box<str>);

/// Hex digits of the hash at the end of a changed name: 64 bits, of which nobody finds two alike by chance.
const HASH_CHARS: usize = 16;

impl SessionName {
    /// The longest there is.
    pub const MAX_CHARS: usize = 64;

    /// Makes a name of any text: unchanged where it may be, otherwise with what is not allowed replaced and a hash behind.
    pub fn of(text: &str) -> Self {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '=' | ',' | '.' | '@' | '-');
        let hashed = text.rsplit_once('=').is_some_and(|(_, end)| {
            end.len() == HASH_CHARS && end.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        });
        if (2..=Self::MAX_CHARS).contains(&text.len()) && text.chars().all(allowed) && !hashed {
            return Self(text.into());
        }
        let mut name: String =
            text.chars().map(|c| if allowed(c) { c } else { '-' }).take(Self::MAX_CHARS - HASH_CHARS - 1).collect();
        let hash = HEXLOWER.encode(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
        name.push('=');
        name.extend(hash.chars().take(HASH_CHARS));
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

/// How far a store's clock may be from ours before its answers are not believed (what S3 allows of a request's time).
const MAX_SKEW: SignedDuration = SignedDuration::from_mins(15);

/// Refuses an answer whose end cannot be what was asked for: already over, or later than the lifetime and any honest
/// difference of clocks explain.
///
/// # Errors
/// `Upstream`.
pub(crate) fn plausible_end(expiration: Timestamp, asked: Lifetime, answered: Timestamp) -> Result<(), Error> {
    let latest = asked.ends(answered).checked_add(MAX_SKEW).unwrap_or(Timestamp::MAX);
    if expiration > latest || expiration <= answered {
        return Err(refused("the storage's answer cannot be used").note(format!(
            "asked for {asked} at {answered}, and the credential ends {expiration}; is a clock wrong?"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_session_name_is_what_stores_allow_and_tells_callers_apart() {
        assert_eq!(SessionName::of("clr_01m80ny4bpfcwbtfmgtbmqkwrn").as_str(), "clr_01m80ny4bpfcwbtfmgtbmqkwrn");
        assert_eq!(SessionName::of("a@b.c,d=e+f-g_h").as_str(), "a@b.c,d=e+f-g_h");
        let changed = SessionName::of("team/ops");
        assert!(changed.as_str().starts_with("team-ops="), "{changed:?}");
        assert_ne!(changed, SessionName::of("team:ops"));
        // Who takes the changed name of another for its own does not get it.
        assert_ne!(SessionName::of(changed.as_str()), changed);
        let (one, two) = (format!("{}1", "x".repeat(80)), format!("{}2", "x".repeat(80)));
        assert_ne!(SessionName::of(&one), SessionName::of(&two));
        assert_ne!(SessionName::of(""), SessionName::of("-"));
    }

    proptest! {
        #[test]
        fn every_text_becomes_a_name(text in ".{0,100}", other in ".{0,100}") {
            let name = SessionName::of(&text);
            prop_assert!((2..=64).contains(&name.as_str().len()));
            prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b)));
            prop_assert_eq!(text == other, name == SessionName::of(&other));
        }
    }

    #[test]
    fn an_end_that_was_not_asked_for_is_not_believed() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let check = |end: &str| plausible_end(at(end), Lifetime::secs(900), at("2026-01-01T00:00:00Z"));
        assert!(check("2026-01-01T00:15:00Z").is_ok() && check("2026-01-01T00:25:00Z").is_ok());
        assert_eq!(check("2026-01-01T01:00:00Z").unwrap_err().kind(), Kind::Upstream);
        assert_eq!(check("2026-01-01T00:00:00Z").unwrap_err().kind(), Kind::Upstream);
    }
}
