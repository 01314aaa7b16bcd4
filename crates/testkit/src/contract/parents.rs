//! Parent access keys: known at once, ended at once, and never reaching further than their caller.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use valetkey_core::Kind;
use valetkey_core::account::{Account, Metering, Standing};
use valetkey_core::error::Noun;
use valetkey_core::id::TokenId;
use valetkey_core::lease::{Provenance, Revocation, Revoker};
use valetkey_core::nouns::parent::{Child, NewParent, Parent, ParentAdmin, ParentRecord, Permission};
use valetkey_core::scope::Paths;
use valetkey_core::token::{Maker, PlainToken};

use crate::contract::bench::{Bench, bucket, name, new_grant, reads};

/// A bench, and its parent access keys.
pub struct Keys {
    /// Everything else.
    pub bench: Bench,
    /// The port.
    pub parents: Arc<dyn ParentAdmin>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

/// Mounts the contract of parent access keys. `$bench` is the absolute path of an `async fn() -> Keys`.
#[macro_export]
macro_rules! parents_contract {
    ($bench:path) => {
        $crate::promises! { $bench;
            parents:
                a_new_parent_is_known_at_once_even_if_it_was_tried_before,
                a_token_that_is_no_parent_is_none,
                a_parent_proves_its_caller_too,
                a_disabled_parent_is_gone_at_once_and_its_children_with_it,
                an_expired_parent_is_gone_from_its_last_instant_on,
                a_parent_reaches_what_is_granted_to_it_now,
                a_suspended_accounts_parent_reaches_nothing,
                half_a_parent_is_never_made,
                parents_are_listed_with_their_reach,
                one_child_is_ended_alone;
        }
    };
}

struct Made {
    account: Account,
    token: PlainToken,
    record: ParentRecord,
}

impl Keys {
    async fn make(&self, of: &str, until: Option<Timestamp>) -> Made {
        self.bench.lake().await;
        let account = self.bench.registry.create_account(&name(of), Metering::Free, self.bench.now()).await.unwrap();
        let token = PlainToken::generate(&*self.bench.entropy);
        let record = self.parents.create_parent(new(&account, &["lake"], until), &token, self.bench.now()).await;
        Made { account, token, record: record.unwrap() }
    }

    async fn find(&self, token: TokenId) -> Option<Arc<Parent>> {
        self.parents.parent(token, self.bench.now()).await.unwrap()
    }

    fn by(&self, made: &Made) -> Revoker {
        Revoker { by: made.record.token.caller, at: self.bench.now() }
    }

    fn is_ended(&self, made: &Made, child: &Child) -> bool {
        let storage = valetkey_core::id::StorageId::from_bytes([0; 16]);
        self.bench.leases.is_revoked(&Provenance {
            lease: Some(child.lease()),
            account: made.account.id,
            caller: made.record.token.caller,
            token: made.record.token.id,
            storage,
            opened: child.issued,
        })
    }

    fn child(&self, made: &Made, bucket: &str) -> Child {
        let now = self.bench.now().as_second();
        let claims = format!(
            r#"{{"bucket":"{bucket}","scope":"object-read-only","sub":"{}","iss":"{}","aud":"h","iat":{now},"exp":{}}}"#,
            made.account.id.as_hex(),
            made.record.token.id.as_hex(),
            now + 900
        );
        Child::read(claims.as_bytes()).unwrap()
    }
}

fn new(account: &Account, buckets: &[&str], until: Option<Timestamp>) -> NewParent {
    NewParent {
        account: account.id,
        name: name("job"),
        buckets: buckets.iter().map(|text| bucket(text)).collect(),
        permission: Permission::ObjectReadWrite,
        until,
        maker: Maker::Server,
    }
}

/// With its secret, which is made of its token.
pub async fn a_new_parent_is_known_at_once_even_if_it_was_tried_before(keys: &Keys) {
    let made = keys.make("acme", None).await;
    let parent = keys.find(made.record.token.id).await.unwrap();
    assert_eq!(parent.token, made.record.token.id);
    assert_eq!(parent.caller.account, made.account.id);
    assert_eq!(parent.secret.reveal(), made.token.secret_access_key().reveal());
    let whole = |permission: Permission| parent.covers(&bucket("lake"), &Paths::Whole, permission.actions());
    assert!(whole(Permission::ObjectReadWrite) && !whole(Permission::AdminReadOnly));
    assert!(parent.knows(&bucket("lake")) && !parent.knows(&bucket("other")));
    assert!(!format!("{parent:?}").contains(made.token.secret_access_key().reveal()));
}

/// Whatever it may reach.
pub async fn a_token_that_is_no_parent_is_none(keys: &Keys) {
    let tenant = keys.bench.tenant("acme", Metering::Free).await;
    for _ in 0..2 {
        assert!(keys.find(tenant.record.id).await.is_none());
        assert!(keys.find(TokenId::from_bytes([7; 16])).await.is_none());
    }
}

/// Its token is a token like any other.
pub async fn a_parent_proves_its_caller_too(keys: &Keys) {
    let made = keys.make("acme", None).await;
    let caller = keys.bench.caller(&made.token).await.unwrap();
    assert_eq!((caller.id, caller.token), (made.record.token.caller, made.record.token.id));
    assert_eq!(caller.name, name("job"));
}

/// Also those signed later.
pub async fn a_disabled_parent_is_gone_at_once_and_its_children_with_it(keys: &Keys) {
    let (made, other) = (keys.make("acme", None).await, keys.make("other", None).await);
    let child = keys.child(&made, "lake");
    assert!(keys.find(made.record.token.id).await.is_some() && !keys.is_ended(&made, &child));
    keys.bench.clock.advance_secs(1);
    keys.bench.registry.revoke_token(made.record.token.id, keys.by(&made)).await.unwrap();
    assert!(keys.find(made.record.token.id).await.is_none() && keys.is_ended(&made, &child));
    assert!(keys.find(other.record.token.id).await.is_some());
    assert!(!keys.is_ended(&other, &keys.child(&other, "lake")));
}

/// Like every token.
pub async fn an_expired_parent_is_gone_from_its_last_instant_on(keys: &Keys) {
    let until = keys.bench.now() + jiff::SignedDuration::from_secs(60);
    let made = keys.make("acme", Some(until)).await;
    keys.bench.clock.advance_secs(59);
    assert!(keys.find(made.record.token.id).await.is_some());
    keys.bench.clock.advance_secs(1);
    assert!(keys.find(made.record.token.id).await.is_none());
}

/// And nothing that is granted to everyone.
pub async fn a_parent_reaches_what_is_granted_to_it_now(keys: &Keys) {
    let made = keys.make("acme", None).await;
    let (lake, now) = (keys.bench.lake().await, keys.bench.now());
    keys.bench.registry.create_bucket(lake.id, &bucket("more"), now).await.unwrap();
    let everyone = new_grant(made.account.id, &lake, "everyone", reads("more", &["a"]));
    keys.bench.registry.create_grant(everyone.clone(), now).await.unwrap();
    let token = made.record.token.id;
    assert!(!keys.find(token).await.unwrap().knows(&bucket("more")));
    let to = valetkey_core::grant::Grantee::Caller(made.record.token.caller);
    let own = valetkey_core::grant::NewGrant { name: name("own"), to, ..everyone };
    keys.bench.registry.create_grant(own, now).await.unwrap();
    assert!(keys.find(token).await.unwrap().knows(&bucket("more")));
    let grants = keys.bench.registry.grants(made.account.id).await.unwrap();
    let first = grants.iter().find(|grant| grant.name == name("job.lake")).unwrap();
    keys.bench.registry.remove_grant(made.account.id, first.id, false, keys.by(&made)).await.unwrap();
    assert!(!keys.find(token).await.unwrap().knows(&bucket("lake")));
}

/// Until it is active again.
pub async fn a_suspended_accounts_parent_reaches_nothing(keys: &Keys) {
    let made = keys.make("acme", None).await;
    let account = made.account.id;
    for (standing, reaches) in [(Standing::Suspended, false), (Standing::Active, true)] {
        keys.bench.registry.change_account(account, standing, Metering::Free).await.unwrap();
        let parent = keys.find(made.record.token.id).await.unwrap();
        assert_eq!(parent.knows(&bucket("lake")), reaches, "{standing:?}");
    }
}

/// What is refused leaves no caller, no grant and no token.
pub async fn half_a_parent_is_never_made(keys: &Keys) {
    let made = keys.make("acme", None).await;
    let now = keys.bench.now();
    let account = keys.bench.registry.create_account(&name("other"), Metering::Free, now).await.unwrap();
    let token = PlainToken::generate(&*keys.bench.entropy);
    let refused = |new: NewParent| {
        let token = token.clone();
        async move { keys.parents.create_parent(new, &token, now).await.unwrap_err().kind() }
    };
    assert_eq!(refused(new(&account, &["lake", "missing"], None)).await, Kind::NotFound(Noun::Bucket));
    assert_eq!(refused(new(&account, &["lake", "lake"], None)).await, Kind::AlreadyExists(Noun::Grant));
    assert_eq!(refused(new(&account, &[], None)).await, Kind::Invalid);
    assert_eq!(refused(new(&account, &["lake"], Some(now))).await, Kind::Invalid);
    assert_eq!(refused(new(&made.account, &["lake"], None)).await, Kind::AlreadyExists(Noun::ParentKey));
    assert!(keys.bench.registry.callers(account.id).await.unwrap().is_empty());
    assert!(keys.bench.registry.grants(account.id).await.unwrap().is_empty());
    assert!(keys.bench.registry.tokens(Some(account.id)).await.unwrap().is_empty());
    assert!(keys.bench.caller(&token).await.is_err());
    keys.parents.create_parent(new(&account, &["lake"], None), &token, now).await.unwrap();
    assert!(keys.bench.caller(&token).await.is_ok());
}

/// Ended ones too; other tokens not.
pub async fn parents_are_listed_with_their_reach(keys: &Keys) {
    let made = keys.make("acme", None).await;
    keys.bench.clock.advance_secs(1);
    let other = keys.make("other", None).await;
    keys.bench.tenant("third", Metering::Free).await;
    keys.bench.registry.revoke_token(made.record.token.id, keys.by(&made)).await.unwrap();
    let all = keys.parents.parents(None).await.unwrap();
    let listed: Vec<(TokenId, bool)> =
        all.iter().map(|record| (record.token.id, record.token.revoked.is_some())).collect();
    assert_eq!(listed, [(made.record.token.id, true), (other.record.token.id, false)]);
    for record in all {
        assert_eq!(record.reach, [(bucket("lake"), Permission::ObjectReadWrite.actions())]);
    }
    assert_eq!(keys.parents.parents(Some(other.account.id)).await.unwrap(), [other.record]);
}

/// Its siblings live on, and so does its parent.
pub async fn one_child_is_ended_alone(keys: &Keys) {
    let made = keys.make("acme", None).await;
    let (child, sibling) = (keys.child(&made, "lake"), keys.child(&made, "other"));
    keys.bench.clock.advance_secs(1);
    keys.parents.end_child(&child, keys.by(&made)).await.unwrap();
    assert!(keys.is_ended(&made, &child) && !keys.is_ended(&made, &sibling));
    assert!(keys.find(made.record.token.id).await.is_some());
    // What is ended with its token is told by the same question.
    keys.bench.registry.revoke(Revocation::Caller(made.record.token.caller), keys.by(&made)).await.unwrap();
    assert!(keys.is_ended(&made, &sibling));
    keys.bench.clock.advance_secs(1);
    assert!(!keys.is_ended(&made, &keys.child(&made, "later")));
}
