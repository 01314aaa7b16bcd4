//! A document as the domain has it: every field is checked here, whoever sent it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::account::Metering;
use valetkey_core::caller::Role;
use valetkey_core::claims::{Claims, Identity};
use valetkey_core::grant::{Grant, check_template};
use valetkey_core::group::ByClaim;
use valetkey_core::id::{ProviderId, StorageId};
use valetkey_core::name::{BucketName, Name, shortened};
use valetkey_core::nouns::dataset::{NewDataset, Newest};
use valetkey_core::nouns::identity::IdentityProvider;
use valetkey_core::nouns::policy_set::{
    Expected, Known, Owns, Problem, Trial, Wanted, WantedAccount, WantedCaller, WantedDataset, WantedGrant,
    WantedGrantee, WantedGroup, Wish,
};
use valetkey_core::nouns::reach::Place;
use valetkey_core::scope::{Action, Path, Paths, Scope};
use valetkey_core::storage::Storage;
use valetkey_core::template::Opens;
use valetkey_core::time::Lifetime;

use super::super::api::policy::{
    PolicyAccount, PolicyDataset, PolicyDocument, PolicyExpect, PolicyGrant, PolicyGroup, PolicyTest, PolicyVend,
    VERSION, seconds,
};
use super::super::scopes::{PathRequest, action, wish};
use super::super::{conditions, groups, wire};
use super::said::{invalid, not_a_length, was};
use super::trust;

/// The storages of buckets, and whether one can express a scope.
pub(super) trait Ground {
    /// The storage of a bucket.
    fn storage(&self, bucket: &BucketName) -> Result<Storage, Error>;
    /// Refuses a scope that the storage cannot express.
    fn can_express(&self, storage: &Storage, scope: &Scope) -> Result<(), Error>;
    /// The identity provider of this name.
    fn provider(&self, name: &str) -> Result<ProviderId, Error>;
    /// The id of one that is to be made.
    fn new_provider(&self, name: &str) -> ProviderId;
    /// Refuses one that this server could not take tokens of.
    fn trusts(&self, provider: &IdentityProvider) -> Result<(), Error>;
    /// Where a dataset is that the document does not say itself.
    fn dataset(&self, name: &Name) -> Option<(BucketName, Path)>;
}

/// The sources of things, by their addresses.
type Sources = BTreeMap<String, String>;

struct Reading<'a> {
    ground: &'a dyn Ground,
    sources: &'a Sources,
    problems: Vec<Problem>,
    datasets: HashMap<Name, (BucketName, Path)>,
    /// The ids of the identity providers that the document says.
    providers: HashMap<String, ProviderId>,
    now: Timestamp,
}

/// Reads a document and its tests.
///
/// # Errors
/// All that is wrong with it.
pub(super) fn read(
    document: &PolicyDocument,
    sources: &Sources,
    ground: &dyn Ground,
    now: Timestamp,
) -> Result<(Wanted, Vec<Trial>), Vec<Problem>> {
    let mut reading =
        Reading { ground, sources, problems: Vec::new(), datasets: HashMap::new(), providers: HashMap::new(), now };
    let wanted = reading.whole(document);
    let trials: Vec<Trial> =
        document.tests.iter().enumerate().filter_map(|(at, test)| reading.trial(at, test)).collect();
    match wanted {
        Some(wanted) if reading.problems.is_empty() => Ok((wanted, trials)),
        _ => Err(reading.problems),
    }
}

fn length(text: &str, field: &'static str) -> Result<Lifetime, Error> {
    let secs = seconds(text).ok_or_else(|| not_a_length(text, field))?;
    Lifetime::parse(i64::from(secs)).map_err(|error| error.at(field))
}

/// A refusal of paths by the name that their field has in files.
fn as_files_say(error: Error) -> Error {
    if error.field() == Some("prefixes") { error.at("directories") } else { error }
}

fn no_provider(name: &str) -> Error {
    invalid(format!("there is no identity provider `{}`", shortened(name)), "provider")
}

/// A caller, as `account/name`.
fn who(text: &str, field: &'static str) -> Result<(Name, Name), Error> {
    let (account, name) = text
        .split_once('/')
        .ok_or_else(|| invalid(format!("`{}` is not a caller; one is written account/name", shortened(text)), field))?;
    Ok((wire::named(account, field)?, wire::named(name, field)?))
}

impl Reading<'_> {
    fn source(&self, address: &str) -> Box<str> {
        self.sources.get(address).map_or_else(|| address.into(), |source| source.as_str().into())
    }

    fn noted<T>(&mut self, address: &str, read: Result<T, Error>) -> Option<T> {
        match read {
            Ok(read) => Some(read),
            Err(error) => {
                let field = error.field().map(|field| format!("{field}: ")).unwrap_or_default();
                self.problems.push(Problem { source: self.source(address), said: format!("{field}{error}") });
                None
            }
        }
    }

    fn whole(&mut self, document: &PolicyDocument) -> Option<Wanted> {
        let PolicyDocument { version, owner, owns, prune, accounts, datasets, identity_providers, tests: _ } = document;
        if version != VERSION {
            let said = format!("`{}` is not a version that is known here; it is `{VERSION}`", shortened(version));
            self.noted::<()>("version", Err(invalid(said, "version")));
        }
        let set = |list: &[String]| list.iter().map(|text| text.as_str().into()).collect();
        let owns = Owns {
            accounts: set(&owns.accounts),
            datasets: set(&owns.datasets),
            providers: set(&owns.identity_providers),
        };
        let checked = owns.check();
        self.noted("owns", checked);
        let owner = self.noted("owner", wire::named::<Name>(owner, "owner"));
        let mut wanted = Wanted {
            owner: owner?,
            owns,
            prune: prune.unwrap_or(true),
            assumes_groups: false,
            at: self.now,
            accounts: Vec::new(),
            callers: Vec::new(),
            datasets: Vec::new(),
            providers: Vec::new(),
            groups: Vec::new(),
            grants: Vec::new(),
        };
        // First: what else is said may name one.
        for (name, provider) in identity_providers {
            let was = provider.was.as_deref().and_then(|was| self.ground.provider(was).ok());
            let id = self.ground.provider(name).ok().or(was).unwrap_or_else(|| self.ground.new_provider(name));
            self.providers.insert(name.clone(), id);
            let address = format!("identity_provider/{name}");
            let read = trust::read(name, provider, id, self.source(&address));
            let read = read.and_then(|own| self.ground.trusts(&own.provider).map(|()| own));
            wanted.providers.extend(self.noted(&address, read));
        }
        for (name, dataset) in datasets {
            let address = format!("dataset/{name}");
            let read = self.dataset(name, dataset, &address);
            wanted.datasets.extend(self.noted(&address, read));
        }
        for (name, account) in accounts {
            self.account(name, account, &mut wanted);
        }
        Some(wanted)
    }

    fn account(&mut self, text: &str, account: &PolicyAccount, wanted: &mut Wanted) {
        let PolicyAccount { was: before, credits_per_vend, callers, groups, grants } = account;
        let address = format!("account/{text}");
        let Some(name) = self.noted(&address, wire::named::<Name>(text, "accounts")) else { return };
        let Some(before) = self.noted(&address, was(before.as_ref())) else { return };
        let metering = Metering::of(credits_per_vend.unwrap_or(0));
        wanted.accounts.push(WantedAccount {
            name: name.clone(),
            was: before,
            metering,
            source: self.source(&address),
        });
        for (text, caller) in callers {
            let address = format!("caller/{name}/{text}");
            let read = || {
                let role =
                    caller.role.as_deref().map_or(Ok(Role::Member), |text| wire::word(text, "a role", "role"))?;
                let source = self.source(&address);
                let (account, was) = (name.clone(), was(caller.was.as_ref())?);
                Ok(WantedCaller { account, name: wire::named(text, "callers")?, was, role, source })
            };
            let read = read();
            wanted.callers.extend(self.noted(&address, read));
        }
        for (text, group) in groups {
            let address = format!("group/{name}/{text}");
            let read = self.group(&name, text, group, &address);
            wanted.groups.extend(self.noted(&address, read));
        }
        for (text, grant) in grants {
            let address = format!("grant/{name}/{text}");
            let read = self.grant(&name, text, grant, &address);
            wanted.grants.extend(self.noted(&address, read));
        }
    }

    /// The identity provider of this name: one that the document says, or another.
    fn provider(&self, name: &str) -> Result<ProviderId, Error> {
        self.providers.get(name).copied().map_or_else(|| self.ground.provider(name), Ok)
    }

    fn group(&self, account: &Name, text: &str, group: &PolicyGroup, address: &str) -> Result<WantedGroup, Error> {
        let PolicyGroup { was: before, members, provider, claims } = group;
        let by_claim = match (provider, claims) {
            (None, None) => None,
            (Some(provider), Some(claims)) => {
                let provider = self.provider(provider).map_err(|_| no_provider(provider))?;
                Some(ByClaim { provider, conditions: groups::conditions(claims)? })
            }
            (Some(_), None) | (None, Some(_)) => return Err(groups::unpaired()),
        };
        Ok(WantedGroup {
            account: account.clone(),
            name: wire::named(text, "groups")?,
            was: was(before.as_ref())?,
            members: members.iter().flatten().map(|text| wire::named(text, "members")).collect::<Result<_, _>>()?,
            by_claim,
            source: self.source(address),
        })
    }

    fn grant(&self, account: &Name, text: &str, grant: &PolicyGrant, address: &str) -> Result<WantedGrant, Error> {
        let PolicyGrant { was: before, to, everyone, dataset, bucket, directories, objects, raw_prefixes, .. } = grant;
        let PolicyGrant { whole_bucket, template, access, actions, max_ttl, from, until, conditions, .. } = grant;
        let to = grantee(to.as_deref(), *everyone)?;
        let dataset = dataset.as_deref().map(|text| wire::named::<Name>(text, "dataset")).transpose()?;
        let paths = PathRequest {
            prefix: None,
            prefixes: directories.clone(),
            objects: objects.clone(),
            raw_prefixes: raw_prefixes.clone(),
            whole_bucket: *whole_bucket,
        };
        let bucket = bucket.as_deref().map(|text| BucketName::parse(text).map_err(|error| error.at("bucket")));
        let (bucket, paths) = self.place(bucket.transpose()?, paths.read().map_err(as_files_say)?, dataset.as_ref())?;
        let storage = self.ground.storage(&bucket)?;
        let max_lifetime = max_ttl.as_deref().map_or(Ok(storage.max_lifetime), |text| length(text, "max_ttl"))?;
        if max_lifetime < storage.min_lifetime {
            let said =
                format!("no credential of the storage `{}` lives shorter than {}", storage.name, storage.min_lifetime);
            return Err(invalid(said, "max_ttl"));
        }
        let actions = wish(*access, actions.as_deref())?.most();
        let scope = Opens::new(bucket, paths, actions, template.unwrap_or(false))?;
        self.ground.can_express(&storage, &scope.example()?)?;
        let instant = |text: &Option<String>, field| text.as_deref().map(|text| wire::instant(text, field)).transpose();
        let (from, until) = (instant(from, "from")?, instant(until, "until")?);
        Grant::check_times(from, until)?;
        let conditions = conditions.as_ref().map(|own| conditions::read(own, |name| self.provider(name)));
        let conditions = conditions.transpose()?.map(Box::new);
        check_template(&scope, dataset.is_none(), conditions.as_deref())?;
        Ok(WantedGrant {
            account: account.clone(),
            name: wire::named(text, "grants")?,
            was: was(before.as_ref())?,
            to,
            dataset,
            storage: storage.id,
            scope,
            max_lifetime,
            from,
            until,
            conditions,
            source: self.source(address),
        })
    }

    fn place(
        &self,
        bucket: Option<BucketName>,
        paths: Option<Paths>,
        dataset: Option<&Name>,
    ) -> Result<(BucketName, Paths), Error> {
        let Some(dataset) = dataset else {
            let bucket = bucket.ok_or_else(|| invalid("name the `bucket` or a `dataset`", "bucket"))?;
            let paths = paths.ok_or_else(|| {
                invalid("name `directories`, `objects` or `raw_prefixes`, or say `whole_bucket: true`", "directories")
            })?;
            return Ok((bucket, paths));
        };
        let known = self.datasets.get(dataset).cloned().or_else(|| self.ground.dataset(dataset));
        let (own, path) = known.ok_or_else(|| invalid(format!("there is no dataset `{dataset}`"), "dataset"))?;
        if bucket.is_some_and(|bucket| bucket != own) {
            return Err(invalid(format!("the dataset `{dataset}` is in another bucket"), "bucket"));
        }
        let whole = Paths::only([&path])?;
        let paths = paths.unwrap_or_else(|| whole.clone());
        if !whole.cover_paths(&paths) {
            return Err(invalid(format!("the paths are not inside the dataset `{dataset}`"), "directories"));
        }
        Ok((own, paths))
    }

    fn dataset(&mut self, text: &str, dataset: &PolicyDataset, address: &str) -> Result<WantedDataset, Error> {
        let PolicyDataset { was: before, topic, bucket, directory, description, format, .. } = dataset;
        let PolicyDataset { frequency, version, deprecated, newest, .. } = dataset;
        let bucket = BucketName::parse(bucket).map_err(|error| error.at("bucket"))?;
        let storage: StorageId = self.ground.storage(&bucket)?.id;
        let short = |text: &Option<String>, usual: &str, field| {
            wire::words(text.clone().unwrap_or_else(|| usual.to_owned()), field, 64)
        };
        let path = Path::directory(directory.as_bytes()).map_err(|error| error.at("directory"))?;
        let name: Name = wire::named(text, "datasets")?;
        self.datasets.insert(name.clone(), (bucket.clone(), path.clone()));
        let newest = newest.as_deref().map_or(Some(Newest::ByTime), Newest::parse);
        let new = NewDataset {
            id: (),
            name,
            topic: wire::named(topic, "topic")?,
            description: wire::words(description.clone().unwrap_or_default(), "description", 1000)?,
            storage,
            bucket,
            path,
            format: short(format, "parquet", "format")?,
            frequency: short(frequency, "daily", "frequency")?,
            version: short(version, "1", "version")?,
            deprecated: deprecated.unwrap_or(false),
            newest: newest.ok_or_else(|| invalid("the newest file is chosen by `time` or by `key`", "newest"))?,
            dictionary: None,
            sample: None,
        };
        Ok(WantedDataset { dataset: new, was: was(before.as_ref())?, source: self.source(address) })
    }

    fn trial(&mut self, at: usize, test: &PolicyTest) -> Option<Trial> {
        let address = format!("test/{at}");
        let source = self.source(&address);
        let read = self.expected(test).and_then(|expected| {
            let at = test.at.as_deref().map_or(Ok(self.now), |text| wire::instant(text, "at"))?;
            Ok(Trial { source, at, known: self.known(test)?, expected })
        });
        self.noted(&address, read)
    }

    /// What a test says of the request.
    fn known(&self, test: &PolicyTest) -> Result<Known, Error> {
        let PolicyTest { from, provider, claims, session_name, external_id, .. } = test;
        let identity = match (provider, claims) {
            (None, None) => None,
            (Some(provider), Some(claims)) => {
                let unread = || invalid("these are not the claims of a token", "claims");
                let bytes = serde_json::to_vec(claims).map_err(|_| unread())?;
                let claims = Claims::read(&bytes).ok_or_else(unread)?;
                Some(Arc::new(Identity { provider: self.provider(provider)?, claims }))
            }
            (Some(_), None) | (None, Some(_)) => {
                return Err(invalid("a test names the `provider` of a token and its `claims`, or neither", "claims"));
            }
        };
        Ok(Known {
            from: from.as_deref().map(|text| conditions::address(text, "from")).transpose()?,
            identity,
            session_name: session_name.as_deref().map(Into::into),
            external_id: external_id.as_deref().map(Into::into),
        })
    }

    #[expect(clippy::unused_self, reason = "beside what asks it")]
    fn expected(&self, test: &PolicyTest) -> Result<Expected, Error> {
        let PolicyTest { who: of, nobody, except, can, cannot, vend, expect, .. } = test;
        let wishes = |list: &Option<Vec<String>>, field| -> Result<Vec<Wish>, Error> {
            list.iter().flatten().map(|text| one_wish(text, field)).collect()
        };
        let none = |given: bool, field| {
            if given { Err(invalid(format!("`{field}` does not go with that test"), field)) } else { Ok(()) }
        };
        match (of, nobody, vend) {
            (Some(of), None, None) => {
                none(except.is_some(), "except")?;
                none(expect.is_some(), "expect")?;
                let (can, cannot) = (wishes(can, "can")?, wishes(cannot, "cannot")?);
                if can.is_empty() && cannot.is_empty() {
                    return Err(invalid("a test says what it `can` or `cannot` do", "can"));
                }
                Ok(Expected::As { who: who(of, "as")?, can, cannot })
            }
            (None, Some(true), None) => {
                none(cannot.is_some(), "cannot")?;
                none(expect.is_some(), "expect")?;
                let can = wishes(can, "can")?;
                if can.is_empty() {
                    return Err(invalid("a test says what nobody `can` do", "can"));
                }
                let (mut callers, mut groups) = (Vec::new(), Vec::new());
                for text in except.iter().flatten() {
                    match text.split_once("/group:") {
                        None => callers.push(who(text, "except")?),
                        Some((account, group)) => {
                            groups.push((wire::named(account, "except")?, wire::named(group, "except")?));
                        }
                    }
                }
                Ok(Expected::Nobody { except: callers, groups, can })
            }
            (None, None, Some(PolicyVend { who: of, grant, ttl })) => {
                none(except.is_some(), "except")?;
                none(can.is_some(), "can")?;
                none(cannot.is_some(), "cannot")?;
                let expect = expect.clone().unwrap_or_default();
                let PolicyExpect { ttl: lives, paths } = &expect;
                if lives.is_none() && paths.is_none() {
                    return Err(invalid("a `vend` says what it expects: `ttl`, `paths`", "expect"));
                }
                Ok(Expected::Vend {
                    who: who(of, "as")?,
                    grant: wire::named(grant, "grant")?,
                    lifetime: ttl.as_deref().map_or(Ok(Lifetime::secs(3600)), |text| length(text, "ttl"))?,
                    lives: lives.as_deref().map(|text| length(text, "ttl")).transpose()?,
                    paths: paths.as_deref().map(opened).transpose()?,
                })
            }
            _ => Err(invalid("a test has one of `as`, `nobody: true` and `vend`", "as")),
        }
    }
}

/// Whom a grant is for: everyone must be meant, not forgotten.
fn grantee(to: Option<&[String]>, everyone: Option<bool>) -> Result<WantedGrantee, Error> {
    match (to, everyone) {
        (None, Some(true)) => Ok(WantedGrantee::Everyone),
        (Some(_), Some(_)) => Err(invalid("`to` and `everyone` say the same; give one", "everyone")),
        (None, Some(false) | None) => {
            Err(invalid("say whom it is for: `to: [caller:NAME]`, `to: [group:NAME]` or `everyone: true`", "to"))
        }
        (Some([one]), None) => match one.split_once(':') {
            Some(("caller", name)) => wire::named(name, "to").map(WantedGrantee::Caller),
            Some(("group", name)) => wire::named(name, "to").map(WantedGrantee::Group),
            Some(_) | None => {
                let said = format!("`{}` is not a grantee; one is written caller:NAME or group:NAME", shortened(one));
                Err(invalid(said, "to"))
            }
        },
        (Some([]), None) => Err(invalid("the list is empty; it names one caller or group", "to")),
        (Some(_), None) => Err(invalid("a grant is for one caller, one group or everyone; write one for each", "to")),
    }
}

fn one_wish(text: &str, field: &'static str) -> Result<Wish, Error> {
    let (verb, place) = text
        .split_once(' ')
        .ok_or_else(|| invalid(format!("`{}` is not written `read s3://bucket/key`", shortened(text)), field))?;
    let action = match verb {
        "read" => Action::GetObject,
        "write" => Action::PutObject,
        "delete" => Action::DeleteObject,
        "list" => Action::ListBucket,
        name => action(name, field)?,
    };
    let place = Place::parse(place).map_err(|error| error.at(field))?;
    Ok(Wish { action, place, text: text.into() })
}

fn opened(paths: &[String]) -> Result<Paths, Error> {
    let path = |text: &String| match text.strip_suffix('/') {
        Some(directory) => Path::directory(directory.as_bytes()),
        None => Path::object(text.as_bytes()),
    };
    let paths: Result<Vec<Path>, Error> = paths.iter().map(path).collect();
    Paths::only(paths?).map_err(|error| error.at("paths"))
}
