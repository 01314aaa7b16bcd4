//! What a change would do to what callers can reach, said before it is made: the exact difference, as plans of policy files say it.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::Error;
use valetkey_core::caller::CallerRecord;
use valetkey_core::error::Noun;
use valetkey_core::id::AccountId;
use valetkey_core::name::Name;
use valetkey_core::nouns::policy_set::{Difference, Owns, State, Subjects, differences};
use valetkey_core::nouns::reach::Piece;
use valetkey_core::nouns::removal::{Plan, Thing};
use valetkey_core::scope::Path;

use super::state::Native;
use crate::edge::{Call, Place, Stop};

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
    /// A place to look at all that an account has, held from before it is read: who asks many times at once takes neither all connections
    /// to the database nor the runtime's threads.
    pub(super) async fn looking(&self, call: &Call) -> Result<Place, Error> {
        self.shared.heavy.enter(call.caller.account).await
    }

    /// What a change of an account's things would change of what its callers can reach now.
    pub(super) async fn access_after(
        &self,
        place: &Place,
        account: AccountId,
        now: Timestamp,
        change: impl FnOnce(&mut State) + Send + 'static,
    ) -> Result<Vec<AccessChange>, Error> {
        self.access_between(place, account, now, (|_| {}, change)).await
    }

    /// What a caller that is served again would reach.
    pub(super) async fn access_with(
        &self,
        place: &Place,
        known: &CallerRecord,
        now: Timestamp,
    ) -> Result<Vec<AccessChange>, Error> {
        let (id, account, known) = (known.id, known.account, known.clone());
        let put = move |state: &mut State| drop(state.callers.insert(id, known));
        let take = move |state: &mut State| drop(state.callers.remove(&id));
        self.access_between(place, account, now, (take, put)).await
    }

    /// What callers can reach after the second of two changes of an account's things, and not after the first; and the other way round.
    pub(super) async fn access_between(
        &self,
        place: &Place,
        account: AccountId,
        now: Timestamp,
        (first, then): (impl FnOnce(&mut State) + Send + 'static, impl FnOnce(&mut State) + Send + 'static),
    ) -> Result<Vec<AccessChange>, Error> {
        let mut before = place.in_time(self.state_of(account)).await?;
        let work = move |_: &Stop| {
            let mut after = before.clone();
            first(&mut before);
            then(&mut after);
            Ok(differences(&before, &after, now).iter().map(access).collect())
        };
        place.work(work).await
    }

    /// What a removal would take of what callers can reach; nothing where it is of a thing that is not granted with.
    pub(super) async fn access_without(
        &self,
        place: &Place,
        call: &Call,
        plan: &Plan,
    ) -> Result<Vec<AccessChange>, Error> {
        let registry = &self.shared.registry;
        let account = if let Thing::Grant(id) = plan.what.thing {
            Some(self.account_of_grant(call, id).await?)
        } else if let Thing::Caller(id) = plan.what.thing {
            registry.caller_by_id(id).await?.map(|known| known.account)
        } else if let Thing::Group(id) = plan.what.thing {
            registry.groups(None).await?.iter().find(|known| known.id == id).map(|known| known.account)
        } else {
            None
        };
        let Some(account) = account else { return Ok(Vec::new()) };
        let things: Vec<Thing> = plan.all().map(|item| item.thing.clone()).collect();
        let take = move |state: &mut State| things.iter().for_each(|thing| state.forget(thing));
        self.access_after(place, account, call.now, take).await
    }

    async fn state_of(&self, account: AccountId) -> Result<State, Error> {
        let registry = &self.shared.registry;
        let account = registry.account_by_id(account).await?.ok_or_else(|| Error::not_found(Noun::Account))?;
        let owns = Owns { accounts: [account.name.as_str().into()].into(), ..Owns::default() };
        registry.policy_state(&Name::parse("nobody")?, &owns).await
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
