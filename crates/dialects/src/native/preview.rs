//! What a change would do to what callers can reach, said before it is made: the exact difference, as plans of policy files say it.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::Error;
use valetkey_core::caller::CallerRecord;
use valetkey_core::error::Noun;
use valetkey_core::id::{AccountId, CallerId, GrantId, GroupId};
use valetkey_core::name::Name;
use valetkey_core::nouns::policy_set::{Difference, Owns, State, Subjects, differences};
use valetkey_core::nouns::reach::Piece;
use valetkey_core::nouns::removal::{Plan, Thing};
use valetkey_core::scope::Path;

use super::state::Native;
use crate::edge::Call;

/// A place, but for others in it.
#[derive(Serialize, ToSchema)]
pub(super) struct Reached {
    /// The place: with a slash at its end a directory, with a star any key that begins so.
    path: String,
    /// What is left out of it.
    except: Vec<String>,
}

/// A change of what callers can reach.
#[derive(Serialize, ToSchema)]
pub(super) struct AccessChange {
    /// The account.
    account: String,
    /// The callers.
    callers: Vec<String>,
    /// Whether it is also everyone else of the account: the callers that have no grant of their own.
    everyone: bool,
    /// What has to hold besides, in words: it is compared with what is granted on the same conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<String>,
    /// The actions.
    actions: Vec<&'static str>,
    /// What is new.
    added: Vec<Reached>,
    /// What is lost.
    removed: Vec<Reached>,
}

/// What would happen; nothing was done.
#[derive(Serialize, ToSchema)]
pub(super) struct Preview {
    /// `true`.
    dry_run: bool,
    /// How many live leases would end.
    ended: u64,
    /// What callers could reach that they cannot reach now, and the other way round.
    access_changes: Vec<AccessChange>,
}

impl Preview {
    pub(super) const fn of(ended: u64, access_changes: Vec<AccessChange>) -> Self {
        Self { dry_run: true, ended, access_changes }
    }
}

impl Native {
    /// What a change of an account's things would change of what its callers can reach now.
    pub(super) async fn access_after(
        &self,
        account: AccountId,
        now: Timestamp,
        change: impl FnOnce(&mut State) + Send,
    ) -> Result<Vec<AccessChange>, Error> {
        let before = self.state_of(account).await?;
        let mut after = before.clone();
        change(&mut after);
        Ok(differences(&before, &after, now).iter().map(access).collect())
    }

    /// What a caller that is served again would reach.
    pub(super) async fn access_with(&self, known: &CallerRecord, now: Timestamp) -> Result<Vec<AccessChange>, Error> {
        let mut before = self.state_of(known.account).await?;
        before.callers.remove(&known.id);
        let mut after = before.clone();
        after.callers.insert(known.id, known.clone());
        Ok(differences(&before, &after, now).iter().map(access).collect())
    }

    /// What a removal would take of what callers can reach; nothing where it is of a thing that is not granted with.
    pub(super) async fn access_without(&self, call: &Call, plan: &Plan) -> Result<Vec<AccessChange>, Error> {
        let registry = &self.shared.registry;
        let account = match reaching(&plan.what.thing) {
            Some(Reaching::Grant(id)) => Some(self.account_of_grant(call, id).await?),
            Some(Reaching::Caller(id)) => registry.caller_by_id(id).await?.map(|known| known.account),
            Some(Reaching::Group(id)) => {
                registry.groups(None).await?.iter().find(|known| known.id == id).map(|known| known.account)
            }
            None => None,
        };
        let Some(account) = account else { return Ok(Vec::new()) };
        let take = |state: &mut State| {
            for thing in plan.all().filter_map(|item| reaching(&item.thing)) {
                match thing {
                    Reaching::Grant(id) => drop(state.grants.remove(&id)),
                    Reaching::Caller(id) => drop(state.callers.remove(&id)),
                    Reaching::Group(id) => drop(state.groups.remove(&id)),
                }
            }
        };
        self.access_after(account, call.now, take).await
    }

    async fn state_of(&self, account: AccountId) -> Result<State, Error> {
        let registry = &self.shared.registry;
        let account = registry.account_by_id(account).await?.ok_or_else(|| Error::not_found(Noun::Account))?;
        let owns = Owns { accounts: [account.name.as_str().into()].into(), ..Owns::default() };
        registry.policy_state(&Name::parse("nobody")?, &owns).await
    }
}

/// What somebody reaches something by.
enum Reaching {
    Grant(GrantId),
    Caller(CallerId),
    Group(GroupId),
}

fn reaching(thing: &Thing) -> Option<Reaching> {
    match *thing {
        Thing::Grant(id) => Some(Reaching::Grant(id)),
        Thing::Caller(id) => Some(Reaching::Caller(id)),
        Thing::Group(id) => Some(Reaching::Group(id)),
        Thing::Account(_)
        | Thing::Token(_)
        | Thing::ParentKey(_)
        | Thing::Storage(_)
        | Thing::Bucket(_)
        | Thing::Dataset(_)
        | Thing::Workspace(_)
        | Thing::Project(_)
        | Thing::Share(_)
        | Thing::Table(_)
        | Thing::Recipient { .. }
        | Thing::Packages(_)
        | Thing::IdentityProvider(_)
        | Thing::TrustRule(_)
        | Thing::RequestRule(_) => None,
    }
}

pub(super) fn access(difference: &Difference) -> AccessChange {
    let Difference { subjects, bucket, conditions, actions, added, removed } = difference;
    let Subjects { account, everyone, callers } = subjects;
    let places = |pieces: &[Piece]| {
        let one = |piece: &Piece| Reached {
            path: path(bucket.as_str(), piece.path.as_ref()),
            except: piece.except.iter().map(|out| path(bucket.as_str(), Some(out))).collect(),
        };
        pieces.iter().map(one).collect()
    };
    AccessChange {
        account: account.to_string(),
        callers: callers.iter().map(ToString::to_string).collect(),
        everyone: *everyone,
        conditions: conditions.clone(),
        actions: actions.iter().map(|action| action.as_str()).collect(),
        added: places(added),
        removed: places(removed),
    }
}

/// What a path is in words.
fn path(bucket: &str, path: Option<&Path>) -> String {
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match path {
        None => format!("s3://{bucket}/"),
        Some(Path::Directory(own)) => format!("s3://{bucket}/{}/", shown(own)),
        Some(Path::Object(own)) => format!("s3://{bucket}/{}", shown(own)),
        Some(Path::Prefix(own)) => format!("s3://{bucket}/{}*", shown(own)),
    }
}
