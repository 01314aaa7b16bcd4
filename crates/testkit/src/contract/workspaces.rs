//! Workspaces and projects: made whole or not at all, seen at once, and gone with what opened them.

use valetkey_core::Kind;
use valetkey_core::account::Metering;
use valetkey_core::ask::{Ask, Asked};
use valetkey_core::error::Noun;
use valetkey_core::grant::Grantee;
use valetkey_core::id::{AccountId, WorkspaceId};
use valetkey_core::nouns::workspace::{Access, NewWorkspace, Opening, Root, Slug, Workspace};
use valetkey_core::scope::{Action, Path, Paths};
use valetkey_core::storage::Shape;
use valetkey_core::time::Lifetime;

use crate::contract::bench::{Bench, Tenant, by, name, new_grant};

/// A workspace to be made, opened to everyone of the tenant's account.
pub fn new_workspace(tenant: &Tenant, key: &str, root: Option<&str>) -> NewWorkspace {
    NewWorkspace {
        account: tenant.account.id,
        key: Slug::parse(key).unwrap(),
        name: format!("The {key} one").into(),
        storage: tenant.storage.id,
        bucket: crate::contract::bench::bucket("lake"),
        root: root.map(|root| Root::parse(root).unwrap()),
        is_default: false,
        openings: vec![Opening { name: name(&format!("workspace-{key}")), to: Grantee::Everyone }],
        access: Access::ReadWrite,
        max_lifetime: Lifetime::secs(7200),
    }
}

fn ask(workspace: &Workspace) -> Ask {
    Ask {
        dialect: "dreadnode",
        target: workspace.target(),
        wanted: Workspace::wanted(),
        lifetime: Asked::Usual(Lifetime::secs(3600)),
        carries: Shape::ALL,
    }
}

/// It opens its two parts, to read and write, and nothing else.
pub async fn a_workspace_is_made_with_the_grants_that_open_it(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let now = bench.now();
    let made = bench.workspaces.create_workspace(new_workspace(&tenant, "main", None), now).await.unwrap();
    assert_eq!(made.root.as_str(), format!("{}/workspaces/{}", tenant.account.id, made.id));
    assert_eq!((made.made, made.updated, made.is_default), (now, now, false));
    assert_eq!(*bench.workspaces.workspaces(tenant.account.id).await.unwrap(), *std::slice::from_ref(&made));
    let permit = bench.decide(&tenant.token, &ask(&made)).await.unwrap();
    let key = |part: &str| format!("{}/{part}", made.root).into_bytes();
    for (part, action, open) in [
        ("artifacts/x", Action::GetObject, true),
        ("cas/x", Action::PutObject, true),
        ("cas/x", Action::AbortUpload, true),
        ("cas/x", Action::DeleteObject, false),
        ("cas/x", Action::ListUploads, false),
        ("cas/x", Action::GetBucketInfo, false),
        ("x", Action::GetObject, false),
        ("casx", Action::GetObject, false),
    ] {
        assert_eq!(permit.rights().covers("lake", &key(part), action), open, "{action} {part}");
    }
    let other = bench.tenant("other", Metering::Free).await;
    assert!(bench.decide(&other.token, &ask(&made)).await.is_err());
    assert!(bench.workspaces.workspaces(other.account.id).await.unwrap().is_empty());
}

/// Half of one is never there.
pub async fn a_workspace_that_cannot_be_made_leaves_nothing(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let other = bench.tenant("other", Metering::Free).await;
    let now = bench.now();
    let account = tenant.account.id;
    bench.workspaces.create_workspace(new_workspace(&tenant, "main", Some("teams/main")), now).await.unwrap();
    let grants = bench.registry.grants(account).await.unwrap().len();
    let fresh = || new_workspace(&tenant, "second", Some("teams/second"));
    let at = |root: &str| NewWorkspace { root: Some(Root::parse(root).unwrap()), ..fresh() };
    let opening = |text: &str, to| Opening { name: name(text), to };
    for (wrong, kind) in [
        (NewWorkspace { key: Slug::parse("main").unwrap(), ..fresh() }, Kind::AlreadyExists(Noun::Workspace)),
        (at("teams/main"), Kind::Invalid),
        (at("teams/main/inner"), Kind::Invalid),
        (at("teams"), Kind::Invalid),
        (NewWorkspace { account: other.account.id, ..at("teams/main/inner") }, Kind::Invalid),
        (NewWorkspace { account: AccountId::from_bytes([9; 16]), ..fresh() }, Kind::NotFound(Noun::Account)),
        (NewWorkspace { bucket: crate::contract::bench::bucket("elsewhere"), ..fresh() }, Kind::NotFound(Noun::Bucket)),
        (
            NewWorkspace { openings: vec![opening("new", Grantee::Caller(other.caller))], ..fresh() },
            Kind::NotFound(Noun::Caller),
        ),
        (
            NewWorkspace {
                is_default: true,
                openings: vec![opening("new", Grantee::Everyone), opening("daily", Grantee::Everyone)],
                ..fresh()
            },
            Kind::AlreadyExists(Noun::Grant),
        ),
    ] {
        let refused = bench.workspaces.create_workspace(wrong.clone(), now).await.unwrap_err();
        assert_eq!(refused.kind(), kind, "{wrong:?}");
    }
    assert_eq!(bench.workspaces.workspaces(account).await.unwrap().len(), 1);
    assert_eq!(bench.registry.grants(account).await.unwrap().len(), grants);
    bench.workspaces.create_workspace(at("teams/mainly"), now).await.unwrap();
}

/// And each time it is seen at once.
pub async fn one_workspace_of_an_account_is_the_default(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let account = tenant.account.id;
    for key in ["b", "c", "a"] {
        let new = NewWorkspace { is_default: true, ..new_workspace(&tenant, key, None) };
        bench.workspaces.create_workspace(new, bench.now()).await.unwrap();
        let listed = bench.workspaces.workspaces(account).await.unwrap();
        assert!(listed.is_sorted_by_key(|workspace| workspace.key.clone()));
        let defaults: Vec<&str> =
            listed.iter().filter(|workspace| workspace.is_default).map(|workspace| workspace.key.as_str()).collect();
        assert_eq!(defaults, [key]);
        assert_eq!(valetkey_core::nouns::workspace::find(&listed, key).unwrap().key.as_str(), key);
    }
}

/// Those that were made for it; what somebody granted beside it stays, also inside it.
pub async fn a_removed_workspace_takes_its_grants_and_projects_with_it(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let account = tenant.account.id;
    let now = bench.now();
    let made = bench.workspaces.create_workspace(new_workspace(&tenant, "main", Some("w")), now).await.unwrap();
    let stays = bench.workspaces.create_workspace(new_workspace(&tenant, "kept", Some("k")), now).await.unwrap();
    bench.workspaces.create_project(made.id, &Slug::parse("p").unwrap(), "P", None, now).await.unwrap();
    let part = Paths::only([Path::directory(b"w/cas/sha256").unwrap()]).unwrap();
    for (text, paths) in [("part", part), ("wide", Paths::only([Path::directory(b"w").unwrap()]).unwrap())] {
        let scope = valetkey_core::scope::Scope::new(made.bucket.clone(), paths, Access::Read.actions()).unwrap();
        let grant = new_grant(account, &tenant.storage, text, scope);
        bench.registry.create_grant(grant, now).await.unwrap();
    }
    let permit = bench.decide(&tenant.token, &ask(&made)).await.unwrap();
    let lease = bench.ledger.open(&permit, None, now).await.unwrap();
    let nobody = WorkspaceId::from_bytes([9; 16]);
    for (account, id) in [(account, nobody), (AccountId::from_bytes([9; 16]), made.id)] {
        let refused = bench.workspaces.remove_workspace(account, id, true, by(&tenant, now)).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::NotFound(Noun::Workspace));
    }
    bench.workspaces.remove_workspace(account, made.id, true, by(&tenant, now)).await.unwrap();
    assert!(bench.is_revoked(&lease));
    assert_eq!(*bench.workspaces.workspaces(account).await.unwrap(), [stays]);
    assert!(bench.workspaces.projects(made.id).await.unwrap().is_empty());
    let left: Vec<String> =
        bench.registry.grants(account).await.unwrap().into_iter().map(|grant| grant.name.to_string()).collect();
    assert_eq!(left, ["daily", "part", "wide", "workspace-kept"]);
    bench.workspaces.create_workspace(new_workspace(&tenant, "main", Some("w")), now).await.unwrap();
}

/// As told.
pub async fn a_removed_workspaces_credentials_may_live_on(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let now = bench.now();
    let made = bench.workspaces.create_workspace(new_workspace(&tenant, "main", None), now).await.unwrap();
    let permit = bench.decide(&tenant.token, &ask(&made)).await.unwrap();
    let lease = bench.ledger.open(&permit, None, now).await.unwrap();
    bench.workspaces.remove_workspace(tenant.account.id, made.id, false, by(&tenant, now)).await.unwrap();
    assert!(!bench.is_revoked(&lease));
    assert!(bench.decide(&tenant.token, &ask(&made)).await.is_err());
}

/// Each in its own workspace.
pub async fn projects_are_made_once_and_listed_in_order(bench: &Bench) {
    let tenant = bench.tenant("acme", Metering::Free).await;
    let now = bench.now();
    let slug = |text: &str| Slug::parse(text).unwrap();
    let one = bench.workspaces.create_workspace(new_workspace(&tenant, "one", None), now).await.unwrap();
    let two = bench.workspaces.create_workspace(new_workspace(&tenant, "two", None), now).await.unwrap();
    for key in ["b", "a"] {
        let made = bench.workspaces.create_project(one.id, &slug(key), "A name", Some("About"), now).await.unwrap();
        assert_eq!(
            (made.workspace, &*made.name, made.description.as_deref(), made.made),
            (one.id, "A name", Some("About"), now)
        );
        assert_eq!(bench.workspaces.project(one.id, &slug(key)).await.unwrap(), Some(made));
    }
    bench.workspaces.create_project(two.id, &slug("a"), "Another", None, now).await.unwrap();
    let again = bench.workspaces.create_project(one.id, &slug("a"), "Again", None, now).await.unwrap_err();
    assert_eq!(again.kind(), Kind::AlreadyExists(Noun::Project));
    let nowhere = WorkspaceId::from_bytes([9; 16]);
    let refused = bench.workspaces.create_project(nowhere, &slug("a"), "A", None, now).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::NotFound(Noun::Workspace));
    let keys: Vec<_> = bench.workspaces.projects(one.id).await.unwrap().into_iter().map(|one| one.key).collect();
    assert_eq!(keys, [slug("a"), slug("b")]);
    assert_eq!(bench.workspaces.projects(two.id).await.unwrap().len(), 1);
    assert_eq!(bench.workspaces.project(two.id, &slug("b")).await.unwrap(), None);
}
