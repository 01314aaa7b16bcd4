//! Removing and changing, for every noun: the plan, whether it may be, the removal, and what is said of it. Handlers find the thing and decide who
//! may; the rest is here.

use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::error::Noun;
use valetkey_core::name::BucketName;
use valetkey_core::nouns::removal::{Amendment, How, Item, Plan, Thing};
use valetkey_core::storage::Storage;
use valetkey_core::{Error, Kind};

use super::ended::{StillTaken, still_taken_of};
use super::preview::AccessChange;
use super::state::Native;
use crate::edge::{Authority, Call, Query};

/// A thing, as a plan names it.
#[derive(Serialize, ToSchema)]
pub(super) struct ItemResponse {
    /// What it is: `account`, `caller`, `token`, `parent key`, `grant`, `storage`, `bucket`, `dataset`, `workspace`, `project`,
    /// `share`, `table`, `recipient` or `packages`.
    kind: &'static str,
    /// Its id, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Its name; with its account's and a slash in front, where it is of one.
    name: String,
}

impl ItemResponse {
    fn of(item: &Item) -> Self {
        Self { kind: item.thing.kind(), id: item.thing.id(), name: item.name.clone() }
    }
}

/// What a removal means, or meant.
#[derive(Serialize, ToSchema)]
pub(super) struct Removal {
    /// What it is.
    what: ItemResponse,
    /// Whether nothing was done.
    dry_run: bool,
    /// What goes with it: it was made for it, or is nothing without it. At most 1000.
    with: Vec<ItemResponse>,
    /// What needs it, and goes with it when `cascade` is said. At most 1000.
    needs: Vec<ItemResponse>,
    /// How many more of both there are that are not listed.
    unlisted: usize,
    /// How many live leases end.
    leases: u64,
    /// How many live tokens end.
    tokens: u64,
    /// Of a plan: why it would be refused as it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    /// Of a plan for a grant, a group or a caller: what callers lose of what they can reach now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    access_changes: Vec<AccessChange>,
    /// Credentials that were ended with it and that their external storages accept until they expire.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    still_taken: Vec<StillTaken>,
}

/// The most items listed of each kind of tie.
const MOST_LISTED: usize = 1000;

impl Removal {
    fn of(plan: &Plan, dry_run: bool) -> Self {
        let listed = |items: &[Item]| items.iter().take(MOST_LISTED).map(ItemResponse::of).collect::<Vec<_>>();
        let (with, needs) = (listed(&plan.with), listed(&plan.needs));
        Self {
            what: ItemResponse::of(&plan.what),
            dry_run,
            unlisted: (plan.with.len() - with.len()) + (plan.needs.len() - needs.len()),
            with,
            needs,
            leases: plan.leases,
            tokens: plan.tokens,
            refused: None,
            access_changes: Vec::new(),
            still_taken: Vec::new(),
        }
    }

    /// How many live leases ended.
    pub(super) const fn leases(&self) -> u64 {
        self.leases
    }
}

/// What a request says of a removal.
#[derive(Clone, Copy)]
pub(super) struct Said {
    how: How,
    dry_run: bool,
    with_objects: bool,
}

impl Said {
    /// Reads what the route knows of `cascade`, `last_operator`, `end_credentials`, `with_objects` and `dry_run`.
    pub(super) fn read(query: &Query) -> Result<Self, Error> {
        let said = |name: &'static str| Ok::<_, Error>(query.flag(name)?.unwrap_or(false));
        let how = How {
            cascade: said("cascade")?,
            keep_credentials: !query.flag("end_credentials")?.unwrap_or(true),
            last_operator: said("last_operator")?,
        };
        Ok(Self { how, dry_run: said("dry_run")?, with_objects: said("with_objects")? })
    }

    /// Whether credentials end.
    pub(super) const fn ends(self) -> bool {
        !self.how.keep_credentials
    }
}

/// What a request says of a change.
#[derive(Clone, Copy)]
pub(super) struct Changing {
    end_credentials: bool,
    dry_run: bool,
}

impl Changing {
    /// Reads `end_credentials` and `dry_run`; a route that takes more has its own names beside them.
    pub(super) fn read(query: &Query) -> Result<Self, Error> {
        Ok(Self {
            end_credentials: query.flag("end_credentials")?.unwrap_or(true),
            dry_run: query.flag("dry_run")?.unwrap_or(false),
        })
    }

    /// Whether nothing is done.
    pub(super) const fn is_dry(self) -> bool {
        self.dry_run
    }
}

impl Native {
    /// Makes a change and says how many live leases ended, or only how many would.
    pub(super) async fn changed(
        &self,
        call: &Call,
        change: &Amendment,
        said: Changing,
        authority: Authority,
    ) -> Result<u64, Error> {
        let registry = &self.shared.registry;
        match said {
            Changing { dry_run: false, end_credentials } => {
                self.by_hand(call, authority, &[change.thing()]).await?;
                registry.by(authority).change(change, end_credentials, authority.by()).await
            }
            Changing { dry_run: true, end_credentials } => {
                let ends = registry.preview(change, authority.by().at).await?;
                Ok(if end_credentials { ends } else { 0 })
            }
        }
    }

    /// Removes a thing, or says what that would mean.
    pub(super) async fn removed(
        &self,
        call: &Call,
        authority: Authority,
        what: &Thing,
        said: Said,
    ) -> Result<Removal, Error> {
        let registry = &self.shared.registry;
        let plan = registry.plan(what).await?;
        Self::not_themselves(call, &plan)?;
        if said.dry_run {
            let mut shown = Removal::of(&plan, true);
            shown.refused = plan.allows(said.how).err().map(|error| error.message().to_owned());
            shown.access_changes = self.access_without(&self.looking(call).await?, call, &plan).await?;
            return Ok(shown);
        }
        plan.allows(said.how)?;
        let going: Vec<Thing> = plan.all().map(|item| item.thing.clone()).collect();
        self.by_hand(call, authority, &going).await?;
        let storages = registry.storages().await?;
        let closed = self.closed(&plan, &storages, said.with_objects).await?;
        let by = authority.by();
        let removed = match registry.by(authority).remove(what, said.how, by).await {
            Ok(removed) => removed,
            Err(error) => {
                // What is ended here and only not on record yet stays closed: it is tried again.
                if error.kind() != Kind::Unavailable {
                    self.reopened(&closed).await;
                }
                return Err(error);
            }
        };
        if !closed.is_empty() {
            self.stores.purge_closed();
        }
        for item in removed.all() {
            if let Thing::Storage(id) = &item.thing
                && let Some(storage) = storages.iter().find(|known| known.id == *id)
            {
                self.stores.remove(storage).await;
            }
        }
        let mut shown = Removal::of(&removed, false);
        shown.still_taken = still_taken_of(self, &storages, by).await?;
        Ok(shown)
    }

    /// Nobody removes themselves: nobody else might be there to undo it.
    fn not_themselves(call: &Call, plan: &Plan) -> Result<(), Error> {
        let own = Thing::Caller(call.caller.id);
        let account = Thing::Account(call.caller.account);
        if plan.all().any(|item| item.thing == own || item.thing == account) {
            return Err(Error::new(Kind::Invalid, "nobody suspends or removes themselves").at("caller"));
        }
        Ok(())
    }

    /// Takes the buckets of a plan out of service, all or none.
    async fn closed<'a>(
        &self,
        plan: &Plan,
        storages: &'a [Storage],
        with_objects: bool,
    ) -> Result<Vec<(&'a Storage, BucketName)>, Error> {
        let buckets: Vec<&BucketName> = plan
            .all()
            .filter_map(|item| if let Thing::Bucket(name) = &item.thing { Some(name) } else { None })
            .collect();
        if buckets.is_empty() {
            return Ok(Vec::new());
        }
        let all = self.shared.registry.buckets().await?;
        let mut closed = Vec::new();
        for name in buckets {
            let of = all.iter().find(|(known, _)| known == name).map(|(_, storage)| *storage);
            let storage = storages.iter().find(|storage| Some(storage.id) == of);
            let storage = storage.ok_or_else(|| Error::not_found(Noun::Bucket).at("bucket"))?;
            if let Err(error) = self.stores.close_bucket(storage, name, with_objects).await {
                self.reopened(&closed).await;
                return Err(error);
            }
            closed.push((storage, name.clone()));
        }
        Ok(closed)
    }

    async fn reopened(&self, closed: &[(&Storage, BucketName)]) {
        for (storage, name) in closed {
            if let Err(error) = self.stores.reopen_bucket(storage, name).await {
                tracing::error!(error = ?error, "the bucket `{name}` could not be taken back into service; the next start does");
            }
        }
    }
}
