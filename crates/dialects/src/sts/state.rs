//! What the handlers of this API share.

use std::sync::Arc;

use valetkey_core::ask::Asked;
use valetkey_core::conditions::Facts;
use valetkey_core::scope::{Action, Actions};
use valetkey_core::time::Lifetime;
use valetkey_core::{Error, Kind};

use crate::edge::{Call, Shared};

/// The dialect's name in the ledger, logs and metrics.
pub const NAME: &str = "sts";

/// What can be set.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a credential lives when the request does not say.
    pub lifetime: Lifetime,
    /// Whether a lifetime that is longer than allowed is refused, as AWS does, and not cut.
    pub strict_durations: bool,
}

impl Default for Settings {
    fn default() -> Self {
        // The default of `DurationSeconds` (AWS STS API Reference, "AssumeRole").
        Self { lifetime: Lifetime::secs(3600), strict_durations: false }
    }
}

/// What the handlers work with.
pub(super) struct Sts {
    pub(super) shared: Arc<Shared>,
    settings: Settings,
}

/// Everything a grant may allow.
pub(super) const EVERYTHING: Actions = Actions::READ_WRITE.with(Action::GetBucketConfig).with(Action::PutBucketConfig);

impl Sts {
    pub(super) fn new(shared: &Arc<Shared>, settings: Settings) -> Self {
        Self { shared: Arc::clone(shared), settings }
    }

    /// How long the credential is to live: as the request says, or as usual. Nothing longer than is allowed is refused for that, unless
    /// that is set.
    pub(super) fn lifetime(&self, call: &Call, least: u32, most: u32) -> Result<Asked, Error> {
        let Some(text) = call.query.get("DurationSeconds") else { return Ok(Asked::Usual(self.settings.lifetime)) };
        let bad = |said: String| Error::new(Kind::Invalid, said).at("DurationSeconds");
        let secs = text.parse::<u32>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let secs = secs.ok_or_else(|| bad("`DurationSeconds` is not a number of seconds".to_owned()))?;
        if secs < least {
            return Err(bad(format!("`DurationSeconds` is {secs}; the least is {least}")));
        }
        if self.settings.strict_durations && secs > most {
            return Err(bad(format!("`DurationSeconds` is {secs}; the most is {most}")));
        }
        let asked = Lifetime::parse(i64::from(secs)).map_err(|error| error.at("DurationSeconds"))?;
        Ok(if self.settings.strict_durations { Asked::Exactly(asked) } else { Asked::For(asked) })
    }
}

/// What is known of a request: this API has fields for what a session is called, and for what a client was told to show.
pub(super) fn facts(call: &Call) -> Facts<'_> {
    let (session_name, external_id) = (call.query.get("RoleSessionName"), call.query.get("ExternalId"));
    Facts { session_name, external_id, ..call.facts() }
}
