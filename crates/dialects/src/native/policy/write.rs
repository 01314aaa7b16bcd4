//! What there is, as a document: for `export`, and for what a plan says of a thing before and after.

use std::collections::BTreeMap;

use serde_json::Value;
use valetkey_core::grant::{Grant, Grantee};
use valetkey_core::id::{AccountId, ProviderId, StorageId};
use valetkey_core::name::Name;
use valetkey_core::nouns::dataset::Dataset;
use valetkey_core::nouns::policy_set::{Owns, State};
use valetkey_core::nouns::removal::Thing;
use valetkey_core::scope::{Action, Path, Paths};
use valetkey_core::time::Lifetime;
use valetkey_core::{Error, Kind};

use super::super::api::policy::{
    PolicyAccount, PolicyCaller, PolicyDataset, PolicyDocument, PolicyGrant, PolicyOwns, VERSION, written,
};
use super::super::api::scopes::Access;
use super::super::conditions;

/// The longest lifetimes of storages: a grant that has that says none.
pub(super) type Longest = BTreeMap<StorageId, Lifetime>;

/// Bytes as a file says them; what is no text cannot be said.
fn text(bytes: &[u8]) -> Result<String, Error> {
    String::from_utf8(bytes.to_vec())
        .map_err(|_| Error::new(Kind::Unsupported, "a path that is no text cannot be written into a file"))
}

fn account(state: &State, thing: &Thing) -> Option<PolicyAccount> {
    let Thing::Account(id) = thing else { return None };
    let credits = state.accounts.get(id)?.metering.credits();
    Some(PolicyAccount { credits_per_vend: (credits > 0).then_some(credits), ..PolicyAccount::default() })
}

fn caller(state: &State, thing: &Thing) -> Option<PolicyCaller> {
    let Thing::Caller(id) = thing else { return None };
    Some(PolicyCaller { was: None, role: Some(state.callers.get(id)?.role.as_str().to_owned()) })
}

fn grant(state: &State, grant: &Grant, longest: &Longest) -> Result<PolicyGrant, Error> {
    let Grant { id: _, name: _, account: _, to, storage, origin, scope, max_lifetime, from, until, conditions } = grant;
    let dataset = origin.dataset().and_then(|id| state.datasets.get(&id)).map(|dataset| dataset.name.to_string());
    let provider = |id| state.providers.get(&id).map_or_else(|| ProviderId::to_string(&id), ToString::to_string);
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
            let name = state.callers.get(id).map(|caller| caller.name.to_string()).unwrap_or_default();
            own.to = Some(vec![format!("caller:{name}")]);
        }
        Grantee::Group(id) => {
            let name = state.groups.get(id).map(|group| group.name.to_string()).unwrap_or_default();
            own.to = Some(vec![format!("group:{name}")]);
        }
    }
    match scope.paths() {
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
    let json = |value: Result<Value, serde_json::Error>| {
        value.map(Some).map_err(|error| Error::internal("a thing could not be written").caused_by(error))
    };
    match what {
        Thing::Account(_) => account(state, what).map_or(Ok(None), |own| json(serde_json::to_value(own))),
        Thing::Caller(_) => caller(state, what).map_or(Ok(None), |own| json(serde_json::to_value(own))),
        Thing::Grant(id) => match state.grants.get(id) {
            Some(own) => json(serde_json::to_value(grant(state, own, longest)?)),
            None => Ok(None),
        },
        Thing::Dataset(id) => match state.datasets.get(id) {
            Some(own) => json(serde_json::to_value(dataset(own)?)),
            None => Ok(None),
        },
        Thing::Token(_)
        | Thing::ParentKey(_)
        | Thing::Group(_)
        | Thing::Storage(_)
        | Thing::Bucket(_)
        | Thing::Workspace(_)
        | Thing::Project(_)
        | Thing::Share(_)
        | Thing::Table(_)
        | Thing::Recipient { .. }
        | Thing::Packages(_)
        | Thing::IdentityProvider(_)
        | Thing::TrustRule(_)
        | Thing::RequestRule(_) => Ok(None),
    }
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
    let mut all = PolicyDocument {
        version: VERSION.to_owned(),
        owner: owner.to_string(),
        owns: PolicyOwns { accounts: patterns(&owns.accounts), datasets: patterns(&owns.datasets) },
        ..PolicyDocument::default()
    };
    let of = |id: &AccountId| state.accounts.get(id).map(|account| account.name.to_string());
    for one in state.things() {
        let account_name = match &one {
            Thing::Account(id) => of(id),
            Thing::Caller(id) => state.callers.get(id).and_then(|caller| of(&caller.account)),
            Thing::Grant(id) => state.grants.get(id).and_then(|grant| of(&grant.account)),
            Thing::Dataset(_)
            | Thing::Token(_)
            | Thing::ParentKey(_)
            | Thing::Group(_)
            | Thing::Storage(_)
            | Thing::Bucket(_)
            | Thing::Workspace(_)
            | Thing::Project(_)
            | Thing::Share(_)
            | Thing::Table(_)
            | Thing::Recipient { .. }
            | Thing::Packages(_)
            | Thing::IdentityProvider(_)
            | Thing::TrustRule(_)
            | Thing::RequestRule(_) => None,
        };
        match state.managed.get(&one) {
            Some(known) if known.owner == *owner => {}
            None if also.is_some() && account_name.as_deref() == also => {}
            Some(_) | None => continue,
        }
        match (&one, account_name) {
            (Thing::Account(_), Some(name)) => {
                let own = account(state, &one).unwrap_or_default();
                all.accounts.entry(name).or_default().credits_per_vend = own.credits_per_vend;
            }
            (Thing::Caller(id), Some(name)) => {
                let known = state.callers.get(id).map(|caller| caller.name.to_string());
                let own = known.zip(caller(state, &one));
                all.accounts.entry(name).or_default().callers.extend(own);
            }
            (Thing::Grant(id), Some(name)) => {
                if let Some(known) = state.grants.get(id) {
                    let own = grant(state, known, longest)?;
                    all.accounts.entry(name).or_default().grants.insert(known.name.to_string(), own);
                }
            }
            (Thing::Dataset(id), _) => {
                if let Some(known) = state.datasets.get(id) {
                    all.datasets.insert(known.name.to_string(), dataset(known)?);
                }
            }
            _ => {}
        }
    }
    // What was adopted before files said that they own it.
    all.owns.accounts.extend(all.accounts.keys().filter(|name| !owns.account(name)).cloned());
    all.owns.datasets.extend(all.datasets.keys().filter(|name| !owns.dataset(name)).cloned());
    Ok(all)
}
