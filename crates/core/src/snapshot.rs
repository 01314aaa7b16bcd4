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
use crate::scope::{Actions, Path, Paths, Rights, Scope};
use crate::storage::Storage;
use crate::template::{Subject, Template, Unfilled};
use crate::time::Lifetime;

/// One account as policy sees it.
#[derive(Debug)]
pub struct Snapshot {
    account: Account,
    storages: HashMap<StorageId, Arc<Storage>>,
    by_id: HashMap<GrantId, Arc<Grant<Scope>>>,
    /// Templates among them, which open nothing but as they are filled in for the caller that asks.
    templates: HashMap<GrantId, Arc<Grant<Template>>>,
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
    pub rights: Arc<Rights>,
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
    grants: Vec<Arc<Grant<Scope>>>,
    templates: Vec<Arc<Grant<Template>>>,
    /// The grants of datasets that have conditions.
    conditional: Vec<Arc<Grant<Scope>>>,
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
    whole: Vec<Arc<Grant<Scope>>>,
    objects: HashMap<Box<[u8]>, Vec<Arc<Grant<Scope>>>>,
    directories: HashMap<Box<[u8]>, Vec<Arc<Grant<Scope>>>>,
    prefixes: HashMap<Box<[u8]>, Vec<Arc<Grant<Scope>>>>,
    /// The lengths that prefixes have: few, however many prefixes there are.
    prefix_lengths: BTreeSet<usize>,
}

impl Places {
    fn add(&mut self, grant: &Arc<Grant<Scope>>) {
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
    fn near<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Arc<Grant<Scope>>> {
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
    fn add(&mut self, grant: &Arc<Grant<Scope>>) {
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
            let edges = |grant: &Arc<Grant<Scope>>| {
                [grant.from, grant.until].into_iter().flatten().filter(|edge| *edge > now).min()
            };
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
fn is_plain_dataset(grant: &Grant<Scope>) -> bool {
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
fn bundles<'a>(grants: impl IntoIterator<Item = &'a Arc<Grant<Scope>>>, now: Timestamp) -> Arc<[Bundle]> {
    let mut by_bucket: BTreeMap<(StorageId, BucketName), Vec<&Grant<Scope>>> = BTreeMap::new();
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
                rights: Arc::new(Rights::of(bucket, paths, actions)?),
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
        grants: impl IntoIterator<Item = impl Into<Grant>>,
        now: Timestamp,
    ) -> Self {
        let mut snapshot = Self {
            storages: storages.into_iter().map(|storage| (storage.id, storage)).collect(),
            by_id: HashMap::new(),
            templates: HashMap::new(),
            by_name: HashMap::new(),
            everyone: Reach::default(),
            callers: HashMap::new(),
            groups: HashMap::new(),
            members: Members::default(),
            as_of: 0,
            account,
        };
        for grant in grants {
            let grant: Grant = grant.into();
            // A grant of another account, or to a store that is gone, opens nothing.
            if grant.account != snapshot.account.id || !snapshot.storages.contains_key(&grant.storage) {
                continue;
            }
            let reach = match grant.to {
                Grantee::Everyone => &mut snapshot.everyone,
                Grantee::Caller(caller) => snapshot.callers.entry(caller).or_default(),
                Grantee::Group(group) => snapshot.groups.entry(group).or_default(),
            };
            let (name, id, is_shared) = (grant.name.clone(), grant.id, grant.origin.share().is_some());
            match grant.settled() {
                Ok(grant) => {
                    let grant = Arc::new(grant);
                    reach.add(&grant);
                    if !is_shared {
                        snapshot.by_id.insert(id, grant);
                    }
                }
                // SECURITY: what a share makes is no template; one that was would open nothing.
                Err(_) if is_shared => continue,
                Err(template) => {
                    let template = Arc::new(template);
                    reach.templates.push(Arc::clone(&template));
                    snapshot.templates.insert(id, template);
                }
            }
            if !is_shared {
                snapshot.by_name.insert(name, id);
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

    /// A grant of the caller's, as it is for that one; another's, one that only a share may use, and a template that is not filled in for
    /// the caller are as good as absent.
    pub fn grant(&self, caller: &Caller, which: &GrantRef) -> Option<Arc<Grant<Scope>>> {
        let id = self.id_of(which)?;
        match self.by_id.get(id) {
            Some(grant) => grant.is_for(caller.id, &self.groups_of(caller)).then(|| Arc::clone(grant)),
            None => self.template(caller, id)?.filled(&self.subject(caller)).ok().map(Arc::new),
        }
    }

    /// Why a grant of the caller's opens nothing to it, if that is because its template is not filled in.
    pub fn unfilled(&self, caller: &Caller, which: &GrantRef) -> Option<(&Name, Unfilled)> {
        let template = self.template(caller, self.id_of(which)?)?;
        template.filled(&self.subject(caller)).err().map(|unfilled| (&template.name, unfilled))
    }

    fn id_of<'a>(&'a self, which: &'a GrantRef) -> Option<&'a GrantId> {
        match which {
            GrantRef::Id(id) => Some(id),
            GrantRef::Name(name) => self.by_name.get(name),
        }
    }

    fn template(&self, caller: &Caller, id: &GrantId) -> Option<&Arc<Grant<Template>>> {
        // A caller of another account is nobody here, whatever its id.
        let ours = caller.account == self.account.id;
        let own = |grant: &&Arc<Grant<Template>>| ours && grant.is_for(caller.id, &self.groups_of(caller));
        self.templates.get(id).filter(own)
    }

    /// What a caller's templates are filled in with.
    pub fn subject<'a>(&'a self, caller: &'a Caller) -> Subject<'a> {
        Subject::of(caller, &self.account.name)
    }

    /// Every grant of the caller's as it is for that one, live or not.
    pub fn grants(&self, caller: &Caller) -> impl Iterator<Item = Arc<Grant<Scope>>> {
        let settled = self.settled(caller).cloned();
        settled.chain(self.filled(caller, None))
    }

    /// Those of them that are the same for everyone.
    pub fn settled(&self, caller: &Caller) -> impl Iterator<Item = &Arc<Grant<Scope>>> {
        self.reaches(caller).flat_map(|reach| reach.grants.iter())
    }

    /// How many grants there are in it.
    pub fn size(&self) -> usize {
        self.all_reaches().map(|reach| reach.grants.len()).sum::<usize>() + self.templates.len()
    }

    /// The buckets that the caller's grants name, but for those that only a share opens.
    pub fn buckets(&self, caller: &Caller) -> BTreeSet<BucketName> {
        let filled = self.filled(caller, None);
        let filled = filled.iter().map(|grant| grant.scope.bucket().clone());
        self.reaches(caller).flat_map(|reach| reach.places.keys()).cloned().chain(filled).collect()
    }

    /// The buckets that any grant of the account names, but for those that only a share opens.
    pub fn all_buckets(&self) -> BTreeSet<BucketName> {
        let templates = self.all_templates().map(|grant| grant.scope.bucket());
        self.all_reaches().flat_map(|reach| reach.places.keys()).chain(templates).cloned().collect()
    }

    /// The templates among the caller's grants.
    pub fn templates(&self, caller: &Caller) -> impl Iterator<Item = &Arc<Grant<Template>>> {
        self.reaches(caller).flat_map(|reach| reach.templates.iter())
    }

    /// Those of a bucket, or all, as they are for the caller: no others open anything to it. Where there are none, this costs nothing.
    pub fn filled(&self, caller: &Caller, bucket: Option<&BucketName>) -> Vec<Arc<Grant<Scope>>> {
        if self.templates.is_empty() {
            return Vec::new();
        }
        let subject = self.subject(caller);
        let there = self.templates(caller).filter(|grant| bucket.is_none_or(|bucket| grant.scope.bucket() == bucket));
        there.filter_map(|grant| grant.filled(&subject).ok()).map(Arc::new).collect()
    }

    /// Every grant of the account that is the same for everyone, live or not, those of shares too; in no order.
    pub fn all_settled(&self) -> impl Iterator<Item = &Arc<Grant<Scope>>> {
        self.all_reaches().flat_map(|reach| &reach.grants)
    }

    /// Every template of the account, live or not; in no order.
    pub fn all_templates(&self) -> impl Iterator<Item = &Arc<Grant<Template>>> {
        self.templates.values()
    }

    fn all_reaches(&self) -> impl Iterator<Item = &Reach> {
        std::iter::once(&self.everyone).chain(self.callers.values()).chain(self.groups.values())
    }

    /// The same of those that are for one of its callers: its own, those of groups that it is in by name or by what one of its sessions
    /// claims, and everyone's.
    pub fn settled_for(
        &self,
        caller: CallerId,
        sessions: &[Arc<Identity>],
    ) -> impl Iterator<Item = &Arc<Grant<Scope>>> {
        self.reaches_of(caller, sessions).flat_map(|reach| &reach.grants)
    }

    /// The templates among them, not filled in.
    pub fn templates_for(
        &self,
        caller: CallerId,
        sessions: &[Arc<Identity>],
    ) -> impl Iterator<Item = &Arc<Grant<Template>>> {
        self.reaches_of(caller, sessions).flat_map(|reach| &reach.templates)
    }

    fn reaches_of(&self, caller: CallerId, sessions: &[Arc<Identity>]) -> impl Iterator<Item = &Reach> {
        let groups = self.members.groups_of(caller, sessions.iter().map(|one| &**one));
        let groups = groups.into_iter().filter_map(|group| self.groups.get(&group));
        std::iter::once(&self.everyone).chain(self.callers.get(&caller)).chain(groups)
    }

    /// The grants that name the caller itself, live or not, without those that only a share may use; as they are for that one.
    pub fn own(&self, caller: &Caller) -> impl Iterator<Item = Arc<Grant<Scope>>> {
        let ours = caller.account == self.account.id;
        let own = self.callers.get(&caller.id).filter(move |_| ours);
        let templates = own.into_iter().flat_map(|reach| &reach.templates);
        let filled: Vec<_> = templates.filter_map(|grant| grant.filled(&self.subject(caller)).ok()).collect();
        let settled = own.into_iter().flat_map(|reach| reach.grants.iter().cloned());
        settled.filter(|grant| grant.origin.share().is_none()).chain(filled.into_iter().map(Arc::new))
    }

    /// The caller's grants that may cover a path of a bucket; each still has to be asked. Not those that are filled in for it.
    pub fn near<'a>(
        &'a self,
        caller: &Caller,
        bucket: &'a BucketName,
        path: &'a Path,
    ) -> impl Iterator<Item = &'a Arc<Grant<Scope>>> {
        self.reaches(caller).filter_map(move |reach| reach.places.get(bucket)).flat_map(move |places| places.near(path))
    }

    /// The grants that a share made for the caller and that may cover a path of a bucket; each still has to be asked.
    pub fn near_shared<'a>(
        &'a self,
        caller: &Caller,
        share: ShareId,
        bucket: &'a BucketName,
        path: &'a Path,
    ) -> impl Iterator<Item = &'a Arc<Grant<Scope>>> {
        self.reaches(caller)
            .filter_map(move |reach| reach.shared.get(&share)?.get(bucket))
            .flat_map(move |places| places.near(path))
    }

    /// Whether a share was granted to the caller.
    pub fn knows_share(&self, caller: &Caller, share: ShareId) -> bool {
        self.reaches(caller).any(|reach| reach.shared.contains_key(&share))
    }

    /// The caller's grants that open the whole of a bucket.
    pub fn whole<'a>(&'a self, caller: &Caller, bucket: &'a BucketName) -> impl Iterator<Item = &'a Arc<Grant<Scope>>> {
        self.reaches(caller).filter_map(move |reach| reach.places.get(bucket)).flat_map(|places| places.whole.iter())
    }

    /// Whether any grant of the caller's names the bucket: then the caller may know of it.
    pub fn knows_bucket(&self, caller: &Caller, bucket: &BucketName) -> bool {
        let template = |reach: &Reach| reach.templates.iter().any(|grant| grant.scope.bucket() == bucket);
        self.reaches(caller).any(|reach| reach.places.contains_key(bucket) || template(reach))
    }

    /// The caller's datasets, to read, one bundle for each bucket; for a request of which this is known.
    pub fn bundles(&self, caller: &Caller, facts: &Facts<'_>, now: Timestamp) -> Arc<[Bundle]> {
        let own: Vec<&Reach> =
            self.reaches(caller).filter(|reach| reach.bundles.is_some() || !reach.conditional.is_empty()).collect();
        let conditional = own.iter().flat_map(|reach| &reach.conditional);
        // One that ends sooner than any credential there would leave the others without one.
        let lasts = |grant: &Grant<Scope>| {
            let least = self.storage(grant.storage).map(|storage| storage.min_lifetime);
            grant.ends(now).is_none_or(|end| Lifetime::between(now, end) >= least)
        };
        let held: Vec<&Arc<Grant<Scope>>> =
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
