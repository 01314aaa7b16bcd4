//! What there is, as a document: for `export`, and for what a plan says of a thing before and after.

use std::collections::BTreeMap;

use serde_json::Value;
use valetkey_core::account::Account;
use valetkey_core::caller::CallerRecord;
use valetkey_core::grant::{Grant, Grantee};
use valetkey_core::group::{ByClaim, Group};
use valetkey_core::id::{CallerId, ProviderId, StorageId};
use valetkey_core::name::Name;
use valetkey_core::nouns::dataset::Dataset;
use valetkey_core::nouns::policy_set::{Ownable, Owns, State};
use valetkey_core::nouns::removal::Thing;
use valetkey_core::scope::{Action, Path, Paths};
use valetkey_core::time::Lifetime;
use valetkey_core::{Error, Kind};

use super::super::api::policy::{
    PolicyAccount, PolicyCaller, PolicyDataset, PolicyDocument, PolicyGrant, PolicyGroup, PolicyOwns, VERSION, written,
};
use super::super::api::scopes::Access;
use super::super::conditions;
use super::trust;

/// The longest lifetimes of storages: a grant that has that says none.
pub(super) type Longest = BTreeMap<StorageId, Lifetime>;

/// Bytes as a file says them; what is no text cannot be said.
fn text(bytes: &[u8]) -> Result<String, Error> {
    String::from_utf8(bytes.to_vec())
        .map_err(|_| Error::new(Kind::Unsupported, "a path that is no text cannot be written into a file"))
}

fn account(own: &Account) -> PolicyAccount {
    let credits = own.metering.credits();
    PolicyAccount { credits_per_vend: (credits > 0).then_some(credits), ..PolicyAccount::default() }
}

fn caller(own: &CallerRecord) -> PolicyCaller {
    PolicyCaller { was: None, role: Some(own.role.as_str().to_owned()) }
}

fn caller_name(state: &State, id: CallerId) -> String {
    state.callers.get(&id).map(|caller| caller.name.to_string()).unwrap_or_default()
}

fn provider_name(state: &State, id: ProviderId) -> String {
    state.providers.get(&id).map_or_else(|| id.to_string(), |known| known.name.to_string())
}

fn group(state: &State, own: &Group) -> PolicyGroup {
    let Group { id: _, account: _, name: _, members, by_claim, version: _, made: _ } = own;
    let mut names: Vec<String> = members.iter().map(|id| caller_name(state, *id)).collect();
    names.sort_unstable();
    let claims = |by: &ByClaim| by.conditions.iter().map(ToString::to_string).collect();
    PolicyGroup {
        was: None,
        members: (!names.is_empty()).then_some(names),
        provider: by_claim.as_ref().map(|by| provider_name(state, by.provider)),
        claims: by_claim.as_ref().map(claims),
    }
}

fn grant(state: &State, grant: &Grant, longest: &Longest) -> Result<PolicyGrant, Error> {
    let Grant { id: _, name: _, account: _, to, storage, origin, scope, max_lifetime, from, until, conditions } = grant;
    let dataset = origin.dataset().and_then(|id| state.datasets.get(&id)).map(|dataset| dataset.name.to_string());
    let provider = |id| provider_name(state, id);
    let mut own = PolicyGrant {
        dataset,
        bucket: Some(scope.bucket().to_string()),
        from: from.map(|at| at.to_string()),
        until: until.map(|at| at.to_string()),
        conditions: conditions.as_deref().map(|own| conditions::shown(own, provider, true)),
        max_ttl: (longest.get(storage) != Some(max_lifetime)).then(|| written(max_lifetime.as_secs())),
        ..PolicyGrant::default()
    };
    match to {
        Grantee::Everyone => own.everyone = Some(true),
        Grantee::Caller(id) => {
            own.to = Some(vec![format!("caller:{}", caller_name(state, *id))]);
        }
        Grantee::Group(id) => {
            let name = state.groups.get(id).map(|group| group.name.to_string()).unwrap_or_default();
            own.to = Some(vec![format!("group:{name}")]);
        }
    }
    own.template = scope.template().map(|_| true);
    match scope.written() {
        Paths::Whole => own.whole_bucket = Some(true),
        Paths::Only(set) => {
            for path in set.iter() {
                let list = match &path {
                    Path::Directory(_) => &mut own.directories,
                    Path::Object(_) => &mut own.objects,
                    Path::Prefix(_) => &mut own.raw_prefixes,
                };
                list.get_or_insert_default().push(text(path.bytes())?);
            }
        }
    }
    let word = Access::of(scope.actions());
    // A word that means as much, and no more.
    if word.actions().is_ok_and(|actions| actions == scope.actions()) {
        own.access = Some(word);
    } else {
        own.actions = Some(scope.actions().iter().map(|action: Action| action.as_str().to_owned()).collect());
    }
    Ok(own)
}

fn dataset(dataset: &Dataset) -> Result<PolicyDataset, Error> {
    let said = |own: &String, usual: &str| (own != usual).then(|| own.clone());
    Ok(PolicyDataset {
        was: None,
        topic: dataset.topic.to_string(),
        bucket: dataset.bucket.to_string(),
        directory: text(dataset.path.bytes())?,
        description: said(&dataset.description, ""),
        format: said(&dataset.format, "parquet"),
        frequency: said(&dataset.frequency, "daily"),
        version: said(&dataset.version, "1"),
        deprecated: dataset.deprecated.then_some(true),
        newest: said(&dataset.newest.as_str().to_owned(), "time"),
    })
}

/// A thing by itself, as a document says it; nothing if it is not there.
pub(super) fn thing(state: &State, what: &Thing, longest: &Longest) -> Result<Option<Value>, Error> {
    let Some(own) = state.found(what) else { return Ok(None) };
    let written = match &own {
        Ownable::Account(own) => serde_json::to_value(account(own)),
        Ownable::Caller(own) => serde_json::to_value(caller(own)),
        Ownable::Dataset(own) => serde_json::to_value(dataset(own)?),
        Ownable::Provider(own) => serde_json::to_value(trust::provider(state, own)?),
        Ownable::Group(own) => serde_json::to_value(group(state, own)),
        Ownable::Grant(own) => serde_json::to_value(grant(state, own, longest)?),
    };
    written.map(Some).map_err(|error| Error::internal("a thing could not be written").caused_by(error))
}

/// The document of what a set owns; of an account that is named, also what nobody owns.
pub(super) fn document(
    state: &State,
    owner: &Name,
    owns: &Owns,
    also: Option<&str>,
    longest: &Longest,
) -> Result<PolicyDocument, Error> {
    let patterns = |set: &std::collections::BTreeSet<Box<str>>| set.iter().map(ToString::to_string).collect();
    let Owns { accounts, datasets, providers } = owns;
    let mut all = PolicyDocument {
        version: VERSION.to_owned(),
        owner: owner.to_string(),
        owns: PolicyOwns {
            accounts: patterns(accounts),
            datasets: patterns(datasets),
            identity_providers: patterns(providers),
        },
        ..PolicyDocument::default()
    };
    for one in state.things() {
        let of = state.account_of(&one).and_then(|id| state.account_name(id)).map(ToString::to_string);
        match state.managed.get(&one) {
            Some(known) if known.owner == *owner => {}
            None if also.is_some() && of.as_deref() == also => {}
            Some(_) | None => continue,
        }
        let Some((own, name)) = state.found(&one).zip(state.name_of(&one).map(ToString::to_string)) else { continue };
        let of = of.unwrap_or_default();
        match &own {
            Ownable::Account(own) => {
                all.accounts.entry(name).or_default().credits_per_vend = account(own).credits_per_vend;
            }
            Ownable::Caller(own) => {
                all.accounts.entry(of).or_default().callers.insert(name, caller(own));
            }
            Ownable::Dataset(own) => {
                all.datasets.insert(name, dataset(own)?);
            }
            Ownable::Provider(own) => {
                all.identity_providers.insert(name, trust::provider(state, own)?);
            }
            Ownable::Group(own) => {
                all.accounts.entry(of).or_default().groups.insert(name, group(state, own));
            }
            Ownable::Grant(own) => {
                let own = grant(state, own, longest)?;
                all.accounts.entry(of).or_default().grants.insert(name, own);
            }
        }
    }
    // What was adopted before files said that they own it.
    all.owns.accounts.extend(all.accounts.keys().filter(|name| !owns.account(name)).cloned());
    all.owns.datasets.extend(all.datasets.keys().filter(|name| !owns.dataset(name)).cloned());
    let providers = all.identity_providers.keys().filter(|name| !owns.provider(name)).cloned();
    all.owns.identity_providers.extend(providers);
    Ok(all)
}
