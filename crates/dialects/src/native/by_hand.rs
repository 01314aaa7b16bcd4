//! What files own is changed in files. By hand it is changed only by who breaks the glass, and the ledger says why.

use http::HeaderMap;
use valetkey_core::error::Noun;
use valetkey_core::nouns::policy_set::Managed;
use valetkey_core::nouns::removal::Thing;
use valetkey_core::{Error, Kind};

use super::state::Native;
use super::wire;
use crate::edge::{Authority, Call};

/// The header that says why something is changed by hand although files own it.
pub const BREAK_GLASS: &str = "valetkey-break-glass";

/// The longest reason, in characters.
const LONGEST: usize = 200;

fn reason(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let Some(value) = headers.get(BREAK_GLASS) else { return Ok(None) };
    let text = String::from_utf8(value.as_bytes().to_vec());
    let text = text.map_err(|_| Error::new(Kind::Invalid, "the reason is not text").at(BREAK_GLASS))?;
    let text = wire::words(text.trim().to_owned(), BREAK_GLASS, LONGEST)?;
    if text.is_empty() {
        return Err(Error::new(Kind::Invalid, "say why what files own is changed by hand").at(BREAK_GLASS));
    }
    Ok(Some(text))
}

impl Native {
    /// Refuses to change things by hand that files own, unless the request says why that has to be.
    pub(super) async fn by_hand(&self, call: &Call, authority: Authority, things: &[Thing]) -> Result<(), Error> {
        let owned = self.shared.registry.owned(&self.with_providers(things).await?).await?;
        let Some((thing, Managed { owner, source, .. })) = owned.first() else { return Ok(()) };
        let Some(reason) = reason(&call.headers)? else {
            let place = if source.is_empty() { String::new() } else { format!(", in {source}") };
            let said = format!(
                "the policy set `{owner}` owns this {}{place}: change it there, or say why not with the header `{BREAK_GLASS}`",
                thing.kind()
            );
            return Err(Error::new(Kind::AlreadyExists(Noun::Policy), said).at(BREAK_GLASS));
        };
        self.shared.registry.by(authority).break_glass(&owned, &reason).await
    }

    /// A rule is a part of its provider: who owns that owns it.
    async fn with_providers(&self, things: &[Thing]) -> Result<Vec<Thing>, Error> {
        let mut all = things.to_vec();
        for thing in things {
            let Thing::TrustRule(rule) = thing else { continue };
            let providers = self.shared.identities.identity_providers().await?;
            let of = providers.iter().find(|provider| provider.rules.iter().any(|known| known.id == *rule));
            all.extend(of.map(|provider| Thing::IdentityProvider(provider.id)));
        }
        Ok(all)
    }
}
