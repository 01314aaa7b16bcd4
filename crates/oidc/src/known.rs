//! The keys that are known of each issuer: asked for when they are needed, again when they are old or one is missing, and kept when
//! their issuer is away.
//!
//! One issuer that does not answer keeps only its own tokens waiting, and at most one of them at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use valetkey_core::id::ProviderId;
use valetkey_core::nouns::identity::{IdentityProvider, KeySource, MOST_KEY_BYTES};
use valetkey_core::{Error, Kind};

use crate::keys::KeySet;
use crate::web::{Answer, Web};

/// How long keys are fresh whose issuer does not say; and the least and the most that one may say.
const FRESH: i64 = 600;
const LEAST_FRESH: i64 = 60;
const MOST_FRESH: i64 = 86_400;
/// How long keys are used whose issuer is away: a day, in which somebody sees it.
const MOST_STALE: SignedDuration = SignedDuration::from_hours(24);
/// How long an issuer is left in peace after it was asked, whatever it answered: tokens with made-up keys cost it no more.
const COOLDOWN: SignedDuration = SignedDuration::from_secs(30);
/// The same where nothing is known of it, and every token waits.
const COOLDOWN_EMPTY: SignedDuration = SignedDuration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Known {
    web: Web,
    issuers: Mutex<HashMap<ProviderId, Arc<Issuer>>>,
}

/// What is known of one issuer, as one version of it says where its keys are.
#[derive(Debug)]
struct Issuer {
    source: (Box<str>, KeySource),
    state: Mutex<State>,
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug, Default)]
struct State {
    keys: Option<Arc<KeySet>>,
    /// When they were had, and how long they are fresh.
    had: Option<Timestamp>,
    fresh_secs: i64,
    /// When they were last asked for.
    asked: Option<Timestamp>,
}

impl State {
    fn is_fresh(&self, now: Timestamp) -> bool {
        self.had.is_some_and(|had| within(had, now, SignedDuration::from_secs(self.fresh_secs)))
    }

    fn usable(&self, now: Timestamp) -> Option<Arc<KeySet>> {
        self.keys.clone().filter(|_| self.had.is_some_and(|had| within(had, now, MOST_STALE)))
    }

    fn rests(&self, now: Timestamp) -> bool {
        let cooldown = if self.usable(now).is_some() { COOLDOWN } else { COOLDOWN_EMPTY };
        self.asked.is_some_and(|asked| within(asked, now, cooldown))
    }
}

/// Requests know the instant that they began at, and wait for one another: for no longer than this.
const WAITED: SignedDuration = SignedDuration::from_mins(1);

/// Whether an instant is less than so long ago. One that is yet to come by more than requests wait is not: the clock was set back.
pub(crate) fn within(at: Timestamp, now: Timestamp, long: SignedDuration) -> bool {
    let ago = now.duration_since(at);
    ago > -WAITED && ago < long
}

impl Issuer {
    fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Known {
    pub(crate) fn new(web: Web) -> Self {
        Self { web, issuers: Mutex::default() }
    }

    fn issuer(&self, provider: &IdentityProvider) -> Arc<Issuer> {
        let mut issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        let source = (provider.issuer.clone(), provider.keys.clone());
        if let Some(known) = issuers.get(&provider.id).filter(|known| known.source == source) {
            return Arc::clone(known);
        }
        // Another source begins anew: nothing that the one before said is believed.
        let fresh = Arc::new(Issuer { source, state: Mutex::default(), asking: tokio::sync::Mutex::default() });
        issuers.insert(provider.id, Arc::clone(&fresh));
        fresh
    }

    /// The keys of an issuer, as fresh as can be had.
    pub(crate) async fn keys(&self, provider: &IdentityProvider, now: Timestamp) -> Result<Arc<KeySet>, Error> {
        let issuer = self.issuer(provider);
        let state = issuer.state();
        if state.is_fresh(now)
            && let Some(keys) = state.keys
        {
            return Ok(keys);
        }
        if let Some(stale) = state.usable(now) {
            // Who comes while another asks has what there is.
            let Ok(_one) = issuer.asking.try_lock() else { return Ok(stale) };
            return Ok(self.ask(provider, &issuer, now).await.unwrap_or(stale));
        }
        let _one = issuer.asking.lock().await;
        self.ask(provider, &issuer, now).await
    }

    /// The keys, asked for again because one is missing; those that are known while the issuer is left in peace.
    pub(crate) async fn asked_again(&self, provider: &IdentityProvider, now: Timestamp) -> Result<Arc<KeySet>, Error> {
        let issuer = self.issuer(provider);
        let before = issuer.state().keys;
        let _one = issuer.asking.lock().await;
        let state = issuer.state();
        // Another who missed one has asked meanwhile.
        let same = match (&before, &state.keys) {
            (Some(before), Some(keys)) => Arc::ptr_eq(before, keys),
            (before, keys) => before.is_none() && keys.is_none(),
        };
        match state.keys {
            Some(keys) if !same => Ok(keys),
            Some(keys) => Ok(self.ask(provider, &issuer, now).await.unwrap_or(keys)),
            None => self.ask(provider, &issuer, now).await,
        }
    }

    /// Asks, unless the issuer is to be left in peace. Whoever calls this has the issuer's turn.
    async fn ask(&self, provider: &IdentityProvider, issuer: &Issuer, now: Timestamp) -> Result<Arc<KeySet>, Error> {
        let state = issuer.state();
        if state.rests(now) {
            return state.usable(now).ok_or_else(|| away(provider, "it was asked just now"));
        }
        issuer.set(|state| state.asked = Some(now));
        let asked = self.fetch(provider).await;
        let outcome = if asked.is_ok() { "ok" } else { "failed" };
        metrics::counter!("vk_identity_keys_total", "provider" => provider.name.to_string(), "outcome" => outcome)
            .increment(1);
        match asked {
            Ok((keys, max_age)) => {
                let keys = Arc::new(keys);
                let fresh_secs = max_age.unwrap_or(FRESH).clamp(LEAST_FRESH, MOST_FRESH);
                let kept = Arc::clone(&keys);
                issuer.set(|state| *state = State { keys: Some(kept), had: Some(now), fresh_secs, asked: Some(now) });
                Ok(keys)
            }
            Err(why) => {
                tracing::warn!(provider = %provider.name, "the keys of an identity provider cannot be had: {why}");
                Err(away(provider, &why))
            }
        }
    }

    async fn fetch(&self, provider: &IdentityProvider) -> Result<(KeySet, Option<i64>), String> {
        let url = match &provider.keys {
            KeySource::Static(keys) => {
                let keys = KeySet::read(keys.as_bytes()).ok_or("the keys that are kept of it cannot be read")?;
                return Ok((keys, Some(MOST_FRESH)));
            }
            KeySource::Jwks(url) => url.to_string(),
            KeySource::Discovery => self.web.discover(&provider.issuer).await?.jwks_uri,
        };
        let Answer { body, max_age } = self.web.get(&url, MOST_KEY_BYTES).await?;
        let keys = KeySet::read(&body).ok_or("what it answers is no JSON Web Key Set")?;
        // An answer without a key that can be used takes no key away: somebody makes a mistake there.
        if keys.is_empty() { Err("it publishes no key that can be used".to_owned()) } else { Ok((keys, max_age)) }
    }
}

fn away(provider: &IdentityProvider, why: &str) -> Error {
    let said = format!("the keys of the identity provider `{}` cannot be had now; try again later", provider.name);
    Error::new(Kind::Unavailable, said).retry_after(5).note(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_began_before_the_one_that_asked_is_not_told_to_ask_again() {
        let at = Timestamp::from_second(1_767_225_600).unwrap();
        let long = SignedDuration::from_secs(5);
        for (ms, is) in [(0, true), (4_999, true), (5_000, false), (-1, true), (-59_999, true), (-60_000, false)] {
            assert_eq!(within(at, at + SignedDuration::from_millis(ms), long), is, "{ms}");
        }
    }
}
