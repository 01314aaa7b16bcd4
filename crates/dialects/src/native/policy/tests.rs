use proptest::prelude::*;
use valetkey_core::nouns::policy_set::differences;

use super::super::api::grants::GrantConditions;
use super::super::api::policy::{
    PolicyAccount, PolicyCaller, PolicyDataset, PolicyGrant, PolicyGroup, PolicyIdentityProvider, PolicyOwns,
    PolicyTrustRule, VERSION,
};
use super::super::api::scopes::Access;
use super::*;

const ACCOUNTS: [&str; 2] = ["acme", "globex"];
const CALLERS: [&str; 3] = ["ana", "ben", "etl"];

#[expect(clippy::unnecessary_wraps, reason = "as documents have it")]
fn texts(list: &[&str]) -> Option<Vec<String>> {
    Some(list.iter().map(ToString::to_string).collect())
}

fn some<T: Clone + std::fmt::Debug + 'static>(list: &[T]) -> impl Strategy<Value = T> {
    prop::sample::select(list.to_vec())
}

prop_compose! {
    fn some_provider()(
        (preset, issuer) in some(&[
            (Some("github"), None), (Some("gitlab"), Some("https://gitlab.example.com")), (None, Some("https://id.example.com/")),
        ]),
        keys in 0u8..3,
        parties in prop::option::of(Just(vec!["web".to_owned()])),
        subject in prop::option::of(Just(vec!["sub".to_owned(), "team?".to_owned()])),
        algorithms in prop::option::of(Just(vec!["ES256".to_owned()])),
        leeway in prop::option::of(some(&["0s", "90s", "5m", "60s"])),
        max_age in prop::option::of(some(&["1h", "1d", "2d"])),
        login in prop::option::of(prop::option::of(Just(vec!["openid".to_owned()]))),
        rules in prop::collection::btree_map(some(&["main", "release"]), (some(&ACCOUNTS), any::<bool>(), prop::option::of(some(&["1h", "90s"]))), 0..3),
    ) -> PolicyIdentityProvider {
        let claim = match preset {
            Some("github") => "repository_owner_id=1",
            Some(_) => "namespace_id=1",
            None => "team=eng",
        };
        let rule = |(name, (account, admin, outlive)): (&str, (&str, bool, Option<&str>))| PolicyTrustRule {
            name: name.to_owned(),
            account: account.to_owned(),
            caller: if admin { "etl".to_owned() } else { "ci-{subject}".to_owned() },
            claims: vec![claim.to_owned()],
            role: admin.then(|| "admin".to_owned()),
            outlive: outlive.map(str::to_owned),
        };
        PolicyIdentityProvider {
            was: None,
            preset: preset.map(str::to_owned),
            issuer: issuer.map(str::to_owned),
            audiences: vec!["valetkey".to_owned()],
            jwks_uri: (keys == 1).then(|| "https://id.example.com/keys".to_owned()),
            jwks: (keys == 2).then(|| "{\"keys\": []}".to_owned()),
            parties,
            subject,
            algorithms,
            leeway: leeway.map(str::to_owned),
            max_age: max_age.map(str::to_owned),
            login_client_id: login.as_ref().map(|_| "valetkey".to_owned()),
            login_scopes: login.flatten(),
            rules: rules.into_iter().map(rule).collect(),
        }
    }
}

prop_compose! {
    fn some_grant()(
        to in prop::option::of(some(&["caller:ana", "caller:etl", "group:eng"])),
        dataset in any::<bool>(),
        places in prop::collection::vec(some(&["a", "a/b", "b c", "ü"]), 1..3),
        kind in 0u8..4,
        access in prop::option::of(some(&[Access::Read, Access::Write, Access::ReadWrite])),
        actions in some(&["get-object", "delete-object"]),
        max_ttl in prop::option::of(some(&["1h", "90s", "7d"])),
        times in any::<(bool, bool)>(),
        networks in prop::option::of(Just(vec!["10.0.0.0/8".to_owned()])),
    ) -> PolicyGrant {
        let list = |of: u8| (!dataset && kind == of).then(|| places.iter().map(ToString::to_string).collect());
        PolicyGrant {
            everyone: to.is_none().then_some(true),
            to: to.map(|to| vec![to.to_owned()]),
            dataset: dataset.then(|| "daily".to_owned()),
            bucket: (!dataset).then(|| "lake".to_owned()),
            directories: list(0),
            objects: list(1),
            raw_prefixes: list(2),
            whole_bucket: (!dataset && kind == 3).then_some(true),
            actions: access.is_none().then(|| vec![actions.to_owned()]),
            access,
            max_ttl: max_ttl.map(str::to_owned),
            from: times.0.then(|| "2026-01-01T00:00:00Z".to_owned()),
            until: times.1.then(|| "2027-01-01T00:00:00Z".to_owned()),
            conditions: networks.map(|networks| GrantConditions { networks: Some(networks), ..GrantConditions::default() }),
            ..PolicyGrant::default()
        }
    }
}

prop_compose! {
    fn some_document()(
        accounts in prop::collection::btree_map(
            some(&ACCOUNTS),
            (
                0u32..3,
                prop::collection::btree_map(some(&CALLERS), prop::option::of(some(&["admin", "member", "auditor"])), 0..4),
                prop::option::of((prop::collection::btree_set(some(&CALLERS), 0..3), any::<bool>())),
                prop::collection::btree_map(some(&["g1", "g2", "g3"]), some_grant(), 0..4),
            ),
            0..3,
        ),
        provider in prop::option::of(some_provider()),
        dataset in (some(&["x", "x/y"]), some(&["time", "key"]), any::<bool>()),
    ) -> PolicyDocument {
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        let mut document = PolicyDocument {
            version: VERSION.to_owned(),
            owner: "platform".to_owned(),
            owns: PolicyOwns { accounts: names(&["*"]), datasets: names(&["*"]), identity_providers: names(&["*"]) },
            ..PolicyDocument::default()
        };
        let (directory, newest, deprecated) = dataset;
        document.datasets.insert("daily".to_owned(), PolicyDataset {
            topic: "t".to_owned(),
            bucket: "lake".to_owned(),
            directory: directory.to_owned(),
            newest: Some(newest.to_owned()),
            deprecated: Some(deprecated),
            ..PolicyDataset::default()
        });
        let by_claim = provider.is_some();
        for (account, (credits, callers, group, grants)) in accounts {
            let mut own = PolicyAccount { credits_per_vend: Some(credits), ..PolicyAccount::default() };
            for (caller, role) in &callers {
                let role = role.map(str::to_owned);
                own.callers.insert((*caller).to_owned(), PolicyCaller { was: None, role });
            }
            if let Some((members, claims)) = group {
                let members: Vec<String> =
                    members.iter().filter(|one| callers.contains_key(*one)).map(ToString::to_string).collect();
                let claims = claims && by_claim;
                let provider = claims.then(|| "sso".to_owned());
                let claims = claims.then(|| vec!["team=eng".to_owned(), "ref=glob:refs/*".to_owned()]);
                own.groups.insert("eng".to_owned(), PolicyGroup { was: None, members: Some(members), provider, claims });
            }
            for (name, grant) in grants {
                let to = grant.to.as_ref().and_then(|to| to.first()).and_then(|to| to.split_once(':'));
                let there = match to {
                    Some(("group", group)) => own.groups.contains_key(group),
                    Some((_, caller)) => own.callers.contains_key(caller),
                    None => true,
                };
                if there {
                    own.grants.insert(name.to_owned(), grant);
                }
            }
            document.accounts.insert(account.to_owned(), own);
        }
        document.identity_providers.extend(provider.map(|mut provider| {
            provider.rules.retain(|rule| document.accounts.contains_key(&rule.account));
            ("sso".to_owned(), provider)
        }));
        document
    }
}

fn minted(from: u64) -> impl FnMut() -> [u8; 16] {
    let mut next = from;
    move || {
        next += 1;
        let mut id = [0; 16];
        id[8..].copy_from_slice(&next.to_be_bytes());
        id
    }
}

/// What there is when a document is applied.
fn applied(before: &State, document: &PolicyDocument, from: u64) -> State {
    let read = read::read(document, &BTreeMap::new(), &Anywhere, Timestamp::UNIX_EPOCH);
    let (wanted, _) = read.unwrap_or_else(|problems| panic!("{problems:?} in {document:?}"));
    settle(before, &wanted, &mut minted(from)).unwrap_or_else(|problems| panic!("{problems:?} in {document:?}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn what_is_exported_is_planned_as_nothing(first in some_document(), second in some_document()) {
        let longest: Longest = [(StorageId::from_bytes([0; 16]), Lifetime::MAX)].into();
        let mut second = second;
        // A dataset stays where it is.
        second.datasets.clone_from(&first.datasets);
        let before = applied(&State::default(), &first, 0);
        let after = applied(&before, &second, 1_000);
        for state in [&before, &after] {
            let owner = Name::parse("platform").unwrap();
            let owns = Owns::everything();
            let exported = write::document(state, &owner, &owns, None, &longest).unwrap();
            let again = applied(state, &exported, 2_000);
            let changes = Changes::between(state, &again);
            prop_assert!(changes.is_empty(), "{:?}", changes);
            prop_assert!(differences(state, &again, Timestamp::UNIX_EPOCH).is_empty());
            let twice = write::document(&again, &owner, &owns, None, &longest).unwrap();
            prop_assert_eq!(serde_json::to_value(&exported).unwrap(), serde_json::to_value(&twice).unwrap());
            for thing in state.things() {
                let (one, two) = (write::thing(state, &thing, &longest), write::thing(&again, &thing, &longest));
                prop_assert_eq!(one.unwrap(), two.unwrap());
            }
        }
    }
}

#[test]
fn a_provider_says_only_what_is_not_usual() {
    let provider = PolicyIdentityProvider {
        preset: Some("github".to_owned()),
        audiences: vec!["valetkey".to_owned()],
        leeway: Some("60s".to_owned()),
        max_age: Some("24h".to_owned()),
        login_client_id: Some("valetkey".to_owned()),
        login_scopes: texts(&["openid", "offline_access"]),
        ..PolicyIdentityProvider::default()
    };
    let own = trust::read("ci", &provider, ProviderId::from_bytes([1; 16]), "a:1".into()).unwrap().provider;
    let written = serde_json::to_value(trust::provider(&State::default(), &own).unwrap()).unwrap();
    let usual = serde_json::json!({"preset": "github", "audiences": ["valetkey"], "login_client_id": "valetkey"});
    assert_eq!(written, usual);
}
