//! One account's grants as an immutable value, indexed so that a decision costs the same with ten grants or a million.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use crate::account::Account;
use crate::ask::GrantRef;
use crate::caller::Caller;
use crate::claims::{ClaimName, Identity};
use crate::conditions::Facts;
use crate::grant::{Grant, GrantTime, Grantee};
use crate::group::Group;
use crate::id::{CallerId, GrantId, GroupId, ProviderId, ShareId, StorageId};
use crate::name::{BucketName, Name};
use crate::scope::{Actions, Path, Paths, Scope};
use crate::storage::Storage;
use crate::time::Lifetime;

/// One account as policy sees it.
#[derive(Debug)]
pub struct Snapshot {
    account: Account,
    storages: HashMap<StorageId, Arc<Storage>>,
    by_id: HashMap<GrantId, Arc<Grant>>,
    by_name: HashMap<Name, GrantId>,
    everyone: Reach,
    callers: HashMap<CallerId, Reach>,
    groups: HashMap<GroupId, Reach>,
    members: Members,
    as_of: i64,
}

/// The datasets of one bucket, put together once: what TheirStack's callers ask for again and again.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Where they are.
    pub storage: StorageId,
    /// What they open, to read.
    pub scope: Arc<Scope>,
    /// The grants that open them.
    pub grants: Arc<[GrantId]>,
    /// The least of the grants' longest lifetimes.
    pub max_lifetime: Lifetime,
    /// The first of the grants' ends.
    pub until: Option<Timestamp>,
}

/// What some callers may reach: their grants, by place.
#[derive(Debug, Default)]
struct Reach {
    grants: Vec<Arc<Grant>>,
    /// The grants of datasets that have conditions.
    conditional: Vec<Arc<Grant>>,
    places: HashMap<BucketName, Places>,
    /// SECURITY: what shares open is kept apart, so that no other ask comes across it.
    shared: HashMap<ShareId, HashMap<BucketName, Places>>,
    bundles: Option<Bundles>,
}

/// Bundles hold while no grant of theirs begins or ends.
#[derive(Debug)]
struct Bundles {
    from: Timestamp,
    to: Option<Timestamp>,
    list: Arc<[Bundle]>,
}

/// The grants of one bucket, by path.
#[derive(Debug, Default)]
struct Places {
    whole: Vec<Arc<Grant>>,
    objects: HashMap<Box<[u8]>, Vec<Arc<Grant>>>,
    directories: HashMap<Box<[u8]>, Vec<Arc<Grant>>>,
    prefixes: HashMap<Box<[u8]>, Vec<Arc<Grant>>>,
    /// The lengths that prefixes have: few, however many prefixes there are.
    prefix_lengths: BTreeSet<usize>,
}

impl Places {
    fn add(&mut self, grant: &Arc<Grant>) {
        match grant.scope.paths() {
            Paths::Whole => self.whole.push(Arc::clone(grant)),
            Paths::Only(set) => {
                for path in set.iter() {
                    let place = match path {
                        Path::Object(key) => self.objects.entry(key),
                        Path::Directory(directory) => self.directories.entry(directory),
                        Path::Prefix(prefix) => {
                            self.prefix_lengths.insert(prefix.len());
                            self.prefixes.entry(prefix)
                        }
                    };
                    place.or_default().push(Arc::clone(grant));
                }
            }
        }
    }

    /// The grants that may cover a path; each still has to be asked.
    fn near<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Arc<Grant>> {
        let bytes = path.bytes();
        let exact = match path {
            Path::Object(key) => self.objects.get(key),
            Path::Directory(_) | Path::Prefix(_) => None,
        };
        let ancestors = bytes
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(at, _)| at)
            .chain(std::iter::once(bytes.len()))
            .filter_map(|end| self.directories.get(bytes.get(..end)?));
        let starts = self.prefix_lengths.range(..=bytes.len()).filter_map(|end| self.prefixes.get(bytes.get(..*end)?));
        self.whole.iter().chain(exact.into_iter().chain(ancestors).chain(starts).flatten())
    }
}

impl Reach {
    fn add(&mut self, grant: &Arc<Grant>) {
        let places = match grant.origin.share() {
            None => &mut self.places,
            Some(share) => self.shared.entry(share).or_default(),
        };
        places.entry(grant.scope.bucket().clone()).or_default().add(grant);
        if grant.origin.dataset().is_some() && grant.conditions.is_some() {
            self.conditional.push(Arc::clone(grant));
        }
        self.grants.push(Arc::clone(grant));
    }

    fn settle(&mut self, now: Timestamp) {
        if self.grants.iter().any(|grant| is_plain_dataset(grant)) {
            let edges =
                |grant: &Arc<Grant>| [grant.from, grant.until].into_iter().flatten().filter(|edge| *edge > now).min();
            let to = self.grants.iter().filter(|grant| is_plain_dataset(grant)).filter_map(edges).min();
            self.bundles = Some(Bundles { from: now, to, list: self.bundled(now) });
        }
    }

    fn bundles_at(&self, now: Timestamp) -> Arc<[Bundle]> {
        match &self.bundles {
            None => Arc::from([]),
            Some(kept) if kept.from <= now && kept.to.is_none_or(|to| now < to) => Arc::clone(&kept.list),
            Some(_) => self.bundled(now),
        }
    }

    fn bundled(&self, now: Timestamp) -> Arc<[Bundle]> {
        bundles(self.grants.iter().filter(|grant| is_plain_dataset(grant)), now)
    }
}

/// Whether a grant opens a dataset to whoever asks: one with conditions is put together with others only when they hold.
fn is_plain_dataset(grant: &Grant) -> bool {
    grant.origin.dataset().is_some() && grant.conditions.is_none()
}

/// Who is in which group. Found by the caller's id and by values of claims, so that it costs the same with ten groups or a thousand; only
/// a group without a claim of one value is tried by itself.
#[derive(Debug, Default)]
struct Members {
    named: HashMap<CallerId, Vec<GroupId>>,
    by_claim: HashMap<ProviderId, Claiming>,
}

#[derive(Debug, Default)]
struct Claiming {
    exact: HashMap<ClaimName, HashMap<Box<str>, Vec<Arc<Group>>>>,
    others: Vec<Arc<Group>>,
}

impl Members {
    fn of(groups: impl IntoIterator<Item = Group>) -> Self {
        let mut own = Self::default();
        for group in groups {
            let group = Arc::new(group);
            for member in &group.members {
                own.named.entry(*member).or_default().push(group.id);
            }
            let Some(by) = &group.by_claim else { continue };
            let claiming = own.by_claim.entry(by.provider).or_default();
            match by.found_by() {
                None => claiming.others.push(Arc::clone(&group)),
                Some(values) => {
                    for (condition, value) in values {
                        let of = claiming.exact.entry(condition.claim.clone()).or_default();
                        of.entry(value.into()).or_default().push(Arc::clone(&group));
                    }
                }
            }
        }
        own
    }

    fn groups_of<'i>(&self, caller: CallerId, known_by: impl IntoIterator<Item = &'i Identity>) -> Vec<GroupId> {
        let mut found = self.named.get(&caller).cloned().unwrap_or_default();
        for identity in known_by {
            if let Some(claiming) = self.by_claim.get(&identity.provider) {
                claiming.add(identity, &mut found);
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl Claiming {
    fn add(&self, identity: &Identity, found: &mut Vec<GroupId>) {
        let near = self.exact.iter().flat_map(|(claim, groups)| {
            claim.values(&identity.claims).into_iter().filter_map(|value| groups.get(&*value)).flatten()
        });
        found.extend(near.chain(&self.others).filter(|group| group.admits(identity)).map(|group| group.id));
    }
}

/// Puts the live dataset grants together, one bundle for each bucket.
fn bundles<'a>(grants: impl IntoIterator<Item = &'a Arc<Grant>>, now: Timestamp) -> Arc<[Bundle]> {
    let mut by_bucket: BTreeMap<(StorageId, BucketName), Vec<&Grant>> = BTreeMap::new();
    for grant in grants {
        let reads = grant.scope.actions().contains(crate::scope::Action::GetObject);
        if grant.origin.dataset().is_some() && reads && grant.time(now) == GrantTime::Live {
            by_bucket.entry((grant.storage, grant.scope.bucket().clone())).or_default().push(grant);
        }
    }
    by_bucket
        .into_iter()
        .filter_map(|((storage, bucket), grants)| {
            // The credential has one set of actions for all its paths: only what every one of the grants allows.
            let actions = grants.iter().fold(Actions::READ, |sum, grant| sum.intersect(grant.scope.actions()));
            let whole = grants.iter().any(|grant| *grant.scope.paths() == Paths::Whole);
            let paths = if whole {
                Paths::Whole
            } else {
                let paths = grants.iter().flat_map(|grant| match grant.scope.paths() {
                    Paths::Whole => Vec::new(),
                    Paths::Only(set) => set.iter().collect(),
                });
                Paths::only(paths.collect::<Vec<_>>()).ok()?
            };
            Some(Bundle {
                storage,
                scope: Arc::new(Scope::new(bucket, paths, actions)?),
                grants: grants.iter().map(|grant| grant.id).collect(),
                max_lifetime: grants.iter().map(|grant| grant.max_lifetime).min()?,
                until: grants.iter().filter_map(|grant| grant.ends(now)).min(),
            })
        })
        .collect()
}

impl Snapshot {
    /// The same, known with this change of the registry and all before it, where several servers make them.
    #[must_use]
    pub fn known_as_of(self, change: i64) -> Self {
        Self { as_of: change, ..self }
    }

    /// The last change of the registry that it is known with; 0 where one server makes them.
    pub fn as_of(&self) -> i64 {
        self.as_of
    }

    /// Puts an account together from what is stored of it.
    pub fn new(
        account: Account,
        storages: impl IntoIterator<Item = Arc<Storage>>,
        grants: impl IntoIterator<Item = Grant>,
        now: Timestamp,
    ) -> Self {
        let mut snapshot = Self {
            storages: storages.into_iter().map(|storage| (storage.id, storage)).collect(),
            by_id: HashMap::new(),
            by_name: HashMap::new(),
            everyone: Reach::default(),
            callers: HashMap::new(),
            groups: HashMap::new(),
            members: Members::default(),
            as_of: 0,
            account,
        };
        for grant in grants {
            // A grant of another account, or to a store that is gone, opens nothing.
            if grant.account != snapshot.account.id || !snapshot.storages.contains_key(&grant.storage) {
                continue;
            }
            let grant = Arc::new(grant);
            match grant.to {
                Grantee::Everyone => snapshot.everyone.add(&grant),
                Grantee::Caller(caller) => snapshot.callers.entry(caller).or_default().add(&grant),
                Grantee::Group(group) => snapshot.groups.entry(group).or_default().add(&grant),
            }
            if grant.origin.share().is_none() {
                snapshot.by_name.insert(grant.name.clone(), grant.id);
                snapshot.by_id.insert(grant.id, grant);
            }
        }
        snapshot.everyone.settle(now);
        for reach in snapshot.callers.values_mut().chain(snapshot.groups.values_mut()) {
            reach.settle(now);
        }
        snapshot
    }

    /// The same with these groups: nobody is in any other.
    #[must_use]
    pub fn with_groups(mut self, groups: impl IntoIterator<Item = Group>) -> Self {
        let own = self.account.id;
        self.members = Members::of(groups.into_iter().filter(|group| group.account == own));
        self
    }

    /// The groups that the caller is in, by name or by what its identity token claims.
    pub fn groups_of(&self, caller: &Caller) -> Vec<GroupId> {
        if caller.account != self.account.id {
            return Vec::new();
        }
        self.members.groups_of(caller.id, caller.identity.as_deref())
    }

    /// The account.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// A store the account's grants name.
    pub fn storage(&self, id: StorageId) -> Option<&Arc<Storage>> {
        self.storages.get(&id)
    }

    /// A grant of the caller's; another's, or one that only a share may use, is as good as absent.
    pub fn grant(&self, caller: &Caller, which: &GrantRef) -> Option<&Arc<Grant>> {
        let id = match which {
            GrantRef::Id(id) => id,
            GrantRef::Name(name) => self.by_name.get(name)?,
        };
        self.by_id.get(id).filter(|grant| grant.is_for(caller.id, &self.groups_of(caller)))
    }

    /// Every grant of the caller's, live or not.
    pub fn grants(&self, caller: &Caller) -> impl Iterator<Item = &Arc<Grant>> {
        self.reaches(caller).flat_map(|reach| reach.grants.iter())
    }

    /// Every grant of the account, live or not, those of shares too; in no order.
    pub fn all_grants(&self) -> impl Iterator<Item = &Arc<Grant>> {
        let others = self.callers.values().chain(self.groups.values());
        self.everyone.grants.iter().chain(others.flat_map(|reach| &reach.grants))
    }

    /// The same of those that are for one of its callers: its own, those of groups that it is in by name or by what one of its sessions
    /// claims, and everyone's.
    pub fn grants_for(&self, caller: CallerId, sessions: &[Arc<Identity>]) -> impl Iterator<Item = &Arc<Grant>> {
        let groups = self.members.groups_of(caller, sessions.iter().map(|one| &**one));
        let groups = groups.into_iter().filter_map(|group| self.groups.get(&group));
        let own = self.callers.get(&caller).into_iter().chain(groups).flat_map(|reach| &reach.grants);
        self.everyone.grants.iter().chain(own)
    }

    /// The grants that name the caller itself, live or not, without those that only a share may use.
    pub fn own(&self, caller: &Caller) -> impl Iterator<Item = &Arc<Grant>> {
        let ours = caller.account == self.account.id;
        let own = self.callers.get(&caller.id).filter(move |_| ours).into_iter();
        own.flat_map(|reach| reach.grants.iter()).filter(|grant| grant.origin.share().is_none())
    }

    /// The caller's grants that may cover a path of a bucket; each still has to be asked.
    pub fn near<'a>(
        &'a self,
        caller: &Caller,
        bucket: &'a BucketName,
        path: &'a Path,
    ) -> impl Iterator<Item = &'a Arc<Grant>> {
        self.reaches(caller).filter_map(move |reach| reach.places.get(bucket)).flat_map(move |places| places.near(path))
    }

    /// The grants that a share made for the caller and that may cover a path of a bucket; each still has to be asked.
    pub fn near_shared<'a>(
        &'a self,
        caller: &Caller,
        share: ShareId,
        bucket: &'a BucketName,
        path: &'a Path,
    ) -> impl Iterator<Item = &'a Arc<Grant>> {
        self.reaches(caller)
            .filter_map(move |reach| reach.shared.get(&share)?.get(bucket))
            .flat_map(move |places| places.near(path))
    }

    /// Whether a share was granted to the caller.
    pub fn knows_share(&self, caller: &Caller, share: ShareId) -> bool {
        self.reaches(caller).any(|reach| reach.shared.contains_key(&share))
    }

    /// The caller's grants that open the whole of a bucket.
    pub fn whole<'a>(&'a self, caller: &Caller, bucket: &'a BucketName) -> impl Iterator<Item = &'a Arc<Grant>> {
        self.reaches(caller).filter_map(move |reach| reach.places.get(bucket)).flat_map(|places| places.whole.iter())
    }

    /// Whether any grant of the caller's names the bucket: then the caller may know of it.
    pub fn knows_bucket(&self, caller: &Caller, bucket: &BucketName) -> bool {
        self.reaches(caller).any(|reach| reach.places.contains_key(bucket))
    }

    /// The caller's datasets, to read, one bundle for each bucket; for a request of which this is known.
    pub fn bundles(&self, caller: &Caller, facts: &Facts<'_>, now: Timestamp) -> Arc<[Bundle]> {
        let own: Vec<&Reach> =
            self.reaches(caller).filter(|reach| reach.bundles.is_some() || !reach.conditional.is_empty()).collect();
        let conditional = own.iter().flat_map(|reach| &reach.conditional);
        // One that ends sooner than any credential there would leave the others without one.
        let lasts = |grant: &Grant| {
            let least = self.storage(grant.storage).map(|storage| storage.min_lifetime);
            grant.ends(now).is_none_or(|end| Lifetime::between(now, end) >= least)
        };
        let held: Vec<&Arc<Grant>> =
            conditional.filter(|grant| grant.is_open(caller, facts, now) && lasts(grant)).collect();
        if !held.is_empty() {
            let plain = own.iter().flat_map(|reach| &reach.grants).filter(|grant| is_plain_dataset(grant));
            return bundles(plain.chain(held), now);
        }
        match own.as_slice() {
            [] => Arc::from([]),
            [one] => one.bundles_at(now),
            several => {
                let plain = several.iter().flat_map(|reach| &reach.grants).filter(|grant| is_plain_dataset(grant));
                bundles(plain, now)
            }
        }
    }

    fn reaches(&self, caller: &Caller) -> impl Iterator<Item = &Reach> {
        // A caller of another account reaches nothing here, whatever its id.
        let ours = caller.account == self.account.id;
        let groups = self.groups_of(caller).into_iter().filter_map(|group| self.groups.get(&group));
        std::iter::once(&self.everyone).chain(self.callers.get(&caller.id)).filter(move |_| ours).chain(groups)
    }
}
