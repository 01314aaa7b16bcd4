//! Ending a role's sessions: an inline policy of the role that denies everything to those that began before an instant (IAM User
//! Guide, "Revoke IAM role temporary security credentials"). Ceph's gateway knows the same, under its own address.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use valetkey_core::Error;
use valetkey_core::stores::Ended;
use valetkey_core::time::Lifetime;

use crate::sts::Profile;
use crate::sts::ask::{Api, Asker};
use crate::sts::wire::{Form, Refused, done};
use crate::web::{Answer, whole};

const SECOND: SignedDuration = SignedDuration::from_secs(1);
/// Nobody waits longer for the instant from which new sessions count again; clocks that differ by more are wrong anyway.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(10);

/// The policy, and the role it is put on.
#[derive(Debug)]
pub(crate) struct Lever {
    pub(crate) api: Api,
    pub(crate) profile: Profile,
    pub(crate) role: String,
    pub(crate) policy: String,
    /// No session of ours lives longer.
    pub(crate) longest: Lifetime,
}

impl Lever {
    /// Ends what began before an instant. New sessions are good once the pause is over: instants of sessions are whole seconds,
    /// so that those of the running second count as before it.
    pub(crate) async fn end(&self, asker: &Asker, before: Timestamp) -> Result<(Ended, Duration), Error> {
        let mut before = if whole(before) == before { before } else { plus(whole(before), SECOND) };
        let mut ready = before;
        let mut clocks = None;
        let ahead = self.put(asker, before).await?;
        if !ahead.is_zero() {
            // When a session began is by the store's clock, which is known to the second.
            before = plus(plus(before, -ahead), SECOND);
            ready = plus(plus(before, ahead), SECOND);
            self.put(asker, before).await?;
            let (by, side) = (ahead.abs().as_secs(), if ahead.is_negative() { "behind" } else { "ahead of" });
            clocks = (by > 5)
                .then(|| format!("this server's clock is {by} s {side} the store's; the instant is by the store's"));
        }
        let pause = ready.duration_since(asker.now()).clamp(SignedDuration::ZERO, LONGEST_PAUSE);
        let Self { role, policy, profile, longest, .. } = self;
        let when = match profile {
            Profile::Ceph => "each gateway of the cluster denies them with its next look at the role",
            Profile::Aws | Profile::Yandex | Profile::Other => {
                "AWS says that a changed policy may take a few minutes until it counts everywhere"
            }
        };
        let notes = [
            when.to_owned(),
            format!("every session of the role `{role}` is ended, also those that others began"),
            format!("the policy may be removed after {}, when the last of them is over", longest.ends(before)),
        ];
        let ended = Ended {
            done: format!(
                "the role `{role}` denies everything to sessions from before {before} (its policy `{policy}`)"
            ),
            notes: notes.into_iter().chain(clocks).collect(),
        };
        Ok((ended, pause.unsigned_abs()))
    }

    /// Puts the policy on the role; by how much our clock is ahead of the store's.
    async fn put(&self, asker: &Asker, before: Timestamp) -> Result<SignedDuration, Error> {
        let document = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Deny","Action":["*"],"Resource":["*"],"Condition":{{"DateLessThan":{{"aws:TokenIssueTime":"{before}"}}}}}}]}}"#
        );
        let body = Form::of("PutRolePolicy", "2010-05-08")
            .with("RoleName", &self.role)
            .with("PolicyName", &self.policy)
            .with("PolicyDocument", &document)
            .into_body();
        match asker.ask(&self.api, &body, asker.now(), read).await {
            Ok((ahead, _)) => Ok(ahead.unwrap_or_default()),
            Err(Refused::Parent(error) | Refused::Other(error)) => Err(error),
            Err(Refused::TooLarge) => Err(Error::internal("PutRolePolicy was answered as AssumeRole")),
        }
    }
}

fn read(answer: &Answer) -> Result<Option<SignedDuration>, Refused> {
    done(answer).map(|()| answer.ahead())
}

fn plus(instant: Timestamp, by: SignedDuration) -> Timestamp {
    instant.checked_add(by).unwrap_or(instant)
}
