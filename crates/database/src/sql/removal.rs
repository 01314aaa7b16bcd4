//! What depends on each thing there is, how people know it, and how it is taken out: one arm for each, and nothing else about removing
//! knows of kinds.

use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::audit::Deed;
use valetkey_core::caller::Role;
use valetkey_core::error::{Kind, Noun};
use valetkey_core::field::Field;
use valetkey_core::id::{
    CallerId, DatasetId, GrantId, GroupId, ProjectId, RequestRuleId, RuleId, ShareId, StorageId, TableId, TokenId,
    WorkspaceId,
};
use valetkey_core::lease::Revoker;
use valetkey_core::name::BucketName;
use valetkey_core::nouns::removal::{Item, Plan, Planning, Recipients, Thing, Tie, check_removable};
use valetkey_core::nouns::share::no_share;
use valetkey_core::storage::StorageKind;

use crate::sql::db::{Db, Value, query, query_as, query_scalar};
use crate::sql::notes::Notes;
use crate::sql::rows::removed_name;
use crate::sql::shares::{self, Which};
use crate::sql::{callers, failed, groups, identity, registry, requests, rows, workspaces};

async fn ids(db: &mut Db, sql: &'static str, of: impl Into<Value>) -> Result<Vec<[u8; 16]>, Error> {
    let found: Vec<Vec<u8>> = query_scalar(sql).bind(of).fetch_all(db).await.map_err(failed)?;
    found.iter().map(|id| rows::id(id)).collect()
}

async fn run(db: &mut Db, sql: &'static str, of: impl Into<Value>) -> Result<u64, Error> {
    Ok(query(sql).bind(of).execute(db).await.map_err(failed)?.rows_affected())
}

/// The store of a bucket.
pub(crate) async fn storage_of(db: &mut Db, bucket: &BucketName) -> Result<StorageId, Error> {
    registry::bucket_of(db, bucket).await?.ok_or_else(|| Error::not_found(Noun::Bucket).at(Field::Bucket))
}

/// The grants of a bucket that no share made: those go with their tables.
async fn grants_in(db: &mut Db, bucket: &BucketName) -> Result<Vec<GrantId>, Error> {
    type Row = (Vec<u8>, Vec<u8>, Option<Vec<u8>>);
    let storage = storage_of(&mut *db, bucket).await?;
    let found: Vec<Row> = query_as(
        "SELECT id, scope, template FROM grants WHERE storage = ? AND removed_ms IS NULL AND share IS NULL AND workspace IS NULL",
    )
    .bind(storage.to_bytes())
    .fetch_all(db)
    .await
    .map_err(failed)?;
    let mut own = Vec::new();
    for (id, scope, template) in found {
        if rows::opens(&scope, template.as_deref())?.bucket() == bucket {
            own.push(GrantId::from_bytes(rows::id(&id)?));
        }
    }
    Ok(own)
}

/// What depends on a thing, and how.
#[expect(clippy::too_many_lines, reason = "one arm for each kind of thing, and nothing else")]
async fn dependents(db: &mut Db, thing: &Thing, now: Timestamp) -> Result<Vec<(Thing, Tie)>, Error> {
    let mut found: Vec<(Thing, Tie)> = Vec::new();
    let mut add = |tie: Tie, some: Vec<[u8; 16]>, make: &dyn Fn([u8; 16]) -> Thing| {
        found.extend(some.into_iter().map(|id| (make(id), tie)));
    };
    let grant = |id| Thing::Grant(GrantId::from_bytes(id));
    let request_rule = |id| Thing::RequestRule(RequestRuleId::from_bytes(id));
    match thing {
        Thing::Account(account) => {
            let (own, of) = (*account, account.to_bytes());
            let sql = "SELECT id FROM callers WHERE account = ? AND standing <> 2";
            add(Tie::Needs, ids(db, sql, of).await?, &|id| Thing::Caller(CallerId::from_bytes(id)));
            let sql = "SELECT id FROM workspaces WHERE account = ?";
            add(Tie::Needs, ids(db, sql, of).await?, &|id| Thing::Workspace(WorkspaceId::from_bytes(id)));
            let sql =
                "SELECT id FROM grants WHERE account = ? AND caller IS NULL AND member_of IS NULL AND share IS NULL
                       AND workspace IS NULL AND removed_ms IS NULL ORDER BY name";
            add(Tie::Needs, ids(db, sql, of).await?, &grant);
            let sql = "SELECT id FROM shares WHERE account = ?";
            add(Tie::Needs, ids(db, sql, of).await?, &|id| Thing::Share(ShareId::from_bytes(id)));
            let sql = "SELECT share FROM share_recipients WHERE account = ? AND length(caller) = 0";
            add(Tie::Needs, ids(db, sql, of).await?, &|id| Thing::Recipient {
                share: ShareId::from_bytes(id),
                account: own,
                to: Recipients::Everyone,
            });
            let sql = "SELECT account FROM package_manifests WHERE account = ?1
                       UNION SELECT account FROM package_blobs WHERE account = ?1";
            add(Tie::Needs, ids(db, sql, of).await?, &|_| Thing::Packages(own));
            let sql = "SELECT id FROM caller_groups WHERE account = ? AND removed_ms IS NULL ORDER BY name";
            add(Tie::Needs, ids(db, sql, of).await?, &|id| Thing::Group(GroupId::from_bytes(id)));
            let sql = "SELECT id FROM trust_rules WHERE account = ? ORDER BY name";
            add(Tie::Needs, ids(db, sql, of).await?, &|id| Thing::TrustRule(RuleId::from_bytes(id)));
            let sql = "SELECT id FROM request_rules WHERE account = ? ORDER BY name";
            add(Tie::Needs, ids(db, sql, of).await?, &request_rule);
        }
        Thing::Caller(caller) => {
            let (own, of) = (*caller, caller.to_bytes());
            for token in live_tokens(&mut *db, own, now).await? {
                add(Tie::Part, vec![token.to_bytes()], &|id| Thing::Token(TokenId::from_bytes(id)));
            }
            let sql = "SELECT id FROM grants WHERE caller = ? AND removed_ms IS NULL AND share IS NULL ORDER BY name";
            add(Tie::Part, ids(db, sql, of).await?, &grant);
            let sql = "SELECT id FROM request_rules WHERE caller = ? ORDER BY name";
            add(Tie::Part, ids(db, sql, of).await?, &request_rule);
            let account =
                registry::caller_account(&mut *db, own).await?.ok_or_else(|| Error::not_found(Noun::Caller))?;
            let sql = "SELECT share FROM share_recipients WHERE caller = ?";
            add(Tie::Part, ids(db, sql, of).await?, &|id| Thing::Recipient {
                share: ShareId::from_bytes(id),
                account,
                to: Recipients::Caller(own),
            });
        }
        Thing::Group(group) => {
            let sql = "SELECT id FROM grants WHERE member_of = ? AND removed_ms IS NULL ORDER BY name";
            add(Tie::Part, ids(db, sql, group.to_bytes()).await?, &grant);
            let sql = "SELECT id FROM request_rules WHERE member_of = ?1 OR approvers = ?1 ORDER BY name";
            add(Tie::Part, ids(db, sql, group.to_bytes()).await?, &request_rule);
        }
        Thing::ParentKey(token) => {
            let record = callers::token_by_id(&mut *db, *token).await?.map(|(record, _)| record);
            let caller = record.ok_or_else(|| Error::not_found(Noun::ParentKey))?.caller;
            // Made for it, unless it was given something else to prove itself with.
            let others = live_tokens(&mut *db, caller, now).await?.into_iter().any(|other| other != *token);
            add(if others { Tie::Needs } else { Tie::Part }, vec![caller.to_bytes()], &|id| {
                Thing::Caller(CallerId::from_bytes(id))
            });
        }
        Thing::Storage(storage) => {
            let found_names: Vec<String> = query_scalar("SELECT name FROM buckets WHERE storage = ? ORDER BY name")
                .bind(storage.to_bytes())
                .fetch_all(db)
                .await
                .map_err(failed)?;
            for name in found_names {
                found.push((Thing::Bucket(rows::bucket(&name)?), Tie::Needs));
            }
        }
        Thing::Bucket(bucket) => {
            let of = bucket.as_str();
            let own = grants_in(&mut *db, bucket).await?;
            add(Tie::Needs, own.into_iter().map(GrantId::to_bytes).collect(), &grant);
            let sql = "SELECT id FROM datasets WHERE bucket = ? ORDER BY name";
            add(Tie::Needs, ids(db, sql, of.to_owned()).await?, &|id| Thing::Dataset(DatasetId::from_bytes(id)));
            let sql = "SELECT id FROM workspaces WHERE bucket = ? ORDER BY key";
            add(Tie::Needs, ids(db, sql, of.to_owned()).await?, &|id| Thing::Workspace(WorkspaceId::from_bytes(id)));
            let sql = "SELECT id FROM shared_tables WHERE bucket = ? ORDER BY folded";
            add(Tie::Needs, ids(db, sql, of.to_owned()).await?, &|id| Thing::Table(TableId::from_bytes(id)));
            let sql = "SELECT id FROM request_rules WHERE bucket = ? ORDER BY name";
            add(Tie::Needs, ids(db, sql, of.to_owned()).await?, &request_rule);
        }
        Thing::Dataset(dataset) => {
            let sql = "SELECT id FROM grants WHERE dataset = ? AND removed_ms IS NULL ORDER BY name";
            add(Tie::Needs, ids(db, sql, dataset.to_bytes()).await?, &grant);
        }
        Thing::Workspace(workspace) => {
            let of = workspace.to_bytes();
            let sql = "SELECT id FROM grants WHERE workspace = ? AND removed_ms IS NULL ORDER BY name";
            add(Tie::Part, ids(db, sql, of).await?, &grant);
            let sql = "SELECT id FROM projects WHERE workspace = ? ORDER BY key";
            add(Tie::Part, ids(db, sql, of).await?, &|id| Thing::Project(ProjectId::from_bytes(id)));
        }
        Thing::Share(share) => {
            let (own, of) = (*share, share.to_bytes());
            let sql = "SELECT id FROM shared_tables WHERE share = ? ORDER BY schema_folded, folded";
            add(Tie::Part, ids(db, sql, of).await?, &|id| Thing::Table(TableId::from_bytes(id)));
            for one in shares::recipients(&mut *db, own).await? {
                found.push((Thing::Recipient { share: own, account: one.account, to: one.to.into() }, Tie::Part));
            }
        }
        Thing::Table(table) => {
            for (id, _) in shares::grants(&mut *db, Which::Table(*table)).await? {
                found.push((Thing::Grant(id), Tie::Part));
            }
        }
        Thing::Recipient { share, account, to } => {
            let which = Which::Recipient { share: *share, account: *account, to: (*to).into() };
            for (id, _) in shares::grants(&mut *db, which).await? {
                found.push((Thing::Grant(id), Tie::Part));
            }
        }
        Thing::IdentityProvider(provider) => {
            let sql = "SELECT id FROM trust_rules WHERE provider = ? ORDER BY place, id";
            add(Tie::Part, ids(db, sql, provider.to_bytes()).await?, &|id| Thing::TrustRule(RuleId::from_bytes(id)));
        }
        Thing::TrustRule(rule) => {
            for token in identity::live_of_rule(db, *rule, now).await? {
                found.push((Thing::Token(token), Tie::Part));
            }
        }
        Thing::Token(_) | Thing::Grant(_) | Thing::Project(_) | Thing::Packages(_) | Thing::RequestRule(_) => {}
    }
    Ok(found)
}

async fn live_tokens(db: &mut Db, caller: CallerId, now: Timestamp) -> Result<Vec<TokenId>, Error> {
    let found: Vec<Vec<u8>> = query_scalar(
        "SELECT id FROM tokens WHERE caller = ? AND revoked_ms IS NULL AND (until_ms IS NULL OR until_ms > ?) ORDER BY id",
    )
    .bind(caller.to_bytes())
    .bind(now.as_millisecond())
    .fetch_all(db)
    .await
    .map_err(failed)?;
    found.iter().map(|id| rows::id(id).map(TokenId::from_bytes)).collect()
}

/// The name of a thing, which says whether it is there.
async fn item(db: &mut Db, thing: &Thing) -> Result<Item, Error> {
    let named = async |db: &mut Db, noun: Noun, sql: &'static str, of: [u8; 16]| {
        let found: Option<String> = query_scalar(sql).bind(of).fetch_optional(db).await.map_err(failed)?;
        found.ok_or_else(|| Error::not_found(noun))
    };
    let name = match thing {
        Thing::Account(id) => {
            let sql = "SELECT name FROM accounts WHERE id = ? AND removed_ms IS NULL";
            named(db, Noun::Account, sql, id.to_bytes()).await?
        }
        Thing::Caller(id) => {
            let sql = "SELECT a.name || '/' || c.name FROM callers c JOIN accounts a ON a.id = c.account
                       WHERE c.id = ? AND c.standing <> 2";
            named(db, Noun::Caller, sql, id.to_bytes()).await?
        }
        Thing::Token(id) => {
            let sql = "SELECT a.name || '/' || c.name || ' …' || t.tail FROM tokens t JOIN callers c ON c.id = t.caller
                       JOIN accounts a ON a.id = c.account WHERE t.id = ?";
            named(db, Noun::Token, sql, id.to_bytes()).await?
        }
        Thing::ParentKey(id) => {
            let sql = "SELECT a.name || '/' || c.name FROM parents p JOIN tokens t ON t.id = p.token
                       JOIN callers c ON c.id = t.caller JOIN accounts a ON a.id = c.account WHERE t.id = ? AND c.standing <> 2";
            named(db, Noun::ParentKey, sql, id.to_bytes()).await?
        }
        Thing::Grant(id) => {
            let sql = "SELECT a.name || '/' || g.name FROM grants g JOIN accounts a ON a.id = g.account
                       WHERE g.id = ? AND g.removed_ms IS NULL";
            named(db, Noun::Grant, sql, id.to_bytes()).await?
        }
        Thing::Group(id) => {
            let sql = "SELECT a.name || '/' || g.name FROM caller_groups g JOIN accounts a ON a.id = g.account
                       WHERE g.id = ? AND g.removed_ms IS NULL";
            named(db, Noun::Group, sql, id.to_bytes()).await?
        }
        Thing::Storage(id) => {
            let sql = "SELECT name FROM storages WHERE id = ? AND removed_ms IS NULL";
            named(db, Noun::Storage, sql, id.to_bytes()).await?
        }
        Thing::Bucket(name) => {
            storage_of(db, name).await?;
            name.to_string()
        }
        Thing::Dataset(id) => named(db, Noun::Dataset, "SELECT name FROM datasets WHERE id = ?", id.to_bytes()).await?,
        Thing::Workspace(id) => {
            let sql =
                "SELECT a.name || '/' || w.key FROM workspaces w JOIN accounts a ON a.id = w.account WHERE w.id = ?";
            named(db, Noun::Workspace, sql, id.to_bytes()).await?
        }
        Thing::Project(id) => {
            let sql =
                "SELECT a.name || '/' || w.key || '/' || p.key FROM projects p JOIN workspaces w ON w.id = p.workspace
                       JOIN accounts a ON a.id = w.account WHERE p.id = ?";
            named(db, Noun::Project, sql, id.to_bytes()).await?
        }
        Thing::Share(id) => named(db, Noun::Share, "SELECT name FROM shares WHERE id = ?", id.to_bytes())
            .await
            .map_err(|error| if error.kind() == Kind::NotFound(Noun::Share) { no_share() } else { error })?,
        Thing::Table(id) => {
            let sql = "SELECT s.name || '.' || t.schema_name || '.' || t.name FROM shared_tables t
                       JOIN shares s ON s.id = t.share WHERE t.id = ?";
            named(db, Noun::Table, sql, id.to_bytes()).await?
        }
        Thing::Recipient { share, account, to } => {
            let found: Option<String> = query_scalar(
                "SELECT s.name || ' for ' || a.name || coalesce('/' || c.name, '') FROM share_recipients r
                 JOIN shares s ON s.id = r.share JOIN accounts a ON a.id = r.account LEFT JOIN callers c ON c.id = r.caller
                 WHERE r.share = ? AND r.account = ? AND r.caller = ?",
            )
            .bind(share.to_bytes())
            .bind(account.to_bytes())
            .bind(shares::grantee_bytes((*to).into()))
            .fetch_optional(db)
            .await
            .map_err(failed)?;
            found.ok_or_else(|| Error::not_found(Noun::Grant))?
        }
        Thing::Packages(account) => {
            named(db, Noun::Package, "SELECT name FROM accounts WHERE id = ?", account.to_bytes()).await?
        }
        Thing::IdentityProvider(id) => {
            let sql = "SELECT name FROM identity_providers WHERE id = ?";
            named(db, Noun::IdentityProvider, sql, id.to_bytes()).await?
        }
        Thing::TrustRule(id) => {
            let sql = "SELECT p.name || '/' || r.name FROM trust_rules r JOIN identity_providers p ON p.id = r.provider
                       WHERE r.id = ?";
            named(db, Noun::TrustRule, sql, id.to_bytes()).await?
        }
        Thing::RequestRule(id) => {
            named(db, Noun::RequestRule, "SELECT name FROM request_rules WHERE id = ?", id.to_bytes()).await?
        }
    };
    Ok(Item { thing: thing.clone(), name })
}

/// What removing a thing means, as far as names go: leases are counted by who knows them.
pub(crate) async fn plan(db: &mut Db, what: &Thing, now: Timestamp) -> Result<Plan, Error> {
    let first = item(&mut *db, what).await?;
    refuse(&mut *db, what).await?;
    let mut planning = Planning::of(first);
    while let Some((thing, tie)) = planning.pop() {
        let found = dependents(&mut *db, &thing, now).await?;
        for (one, own) in planning.new_ones(tie, found) {
            planning.add(item(&mut *db, &one).await?, own);
        }
    }
    let mut live = 0;
    for id in planning.tokens() {
        let record = callers::token_by_id(&mut *db, id).await?.map(|(record, _)| record);
        live += u64::from(record.is_some_and(|record| record.is_live(now)));
    }
    let operators = callers::good_tokens_of_role(&mut *db, Role::Operator, now).await?;
    Ok(planning.done(live, operators))
}

/// Refuses what cannot be removed by itself, whatever is said.
async fn refuse(db: &mut Db, what: &Thing) -> Result<(), Error> {
    match what {
        Thing::Storage(id) => {
            let kind: Option<String> = query_scalar("SELECT kind FROM storages WHERE id = ?")
                .bind(id.to_bytes())
                .fetch_optional(db)
                .await
                .map_err(failed)?;
            kind.as_deref().and_then(StorageKind::parse).map_or(Ok(()), check_removable)
        }
        Thing::Account(_)
        | Thing::Caller(_)
        | Thing::Token(_)
        | Thing::ParentKey(_)
        | Thing::Grant(_)
        | Thing::Group(_)
        | Thing::Bucket(_)
        | Thing::Dataset(_)
        | Thing::Workspace(_)
        | Thing::Project(_)
        | Thing::Share(_)
        | Thing::Table(_)
        | Thing::Recipient { .. }
        | Thing::Packages(_)
        | Thing::IdentityProvider(_)
        | Thing::TrustRule(_)
        | Thing::RequestRule(_) => Ok(()),
    }
}

/// Takes a thing out. What depends on it went before.
pub(crate) async fn erase(db: &mut Db, thing: &Thing, by: Revoker, notes: &mut Notes) -> Result<(), Error> {
    let name = item(&mut *db, thing).await.map(|item| item.name).unwrap_or_default();
    match thing {
        Thing::Account(id) => {
            let known = registry::account(&mut *db, *id).await?.ok_or_else(|| Error::not_found(Noun::Account))?;
            run(&mut *db, "DELETE FROM package_uploads WHERE account = ?", id.to_bytes()).await?;
            // Suspended too: a version from before that knows of no removal serves nobody of it.
            query("UPDATE accounts SET removed_ms = ?, standing = 1, name = ? WHERE id = ?")
                .bind(by.at.as_millisecond())
                .bind(removed_name(&known.name, &id.to_string()).as_str().to_owned())
                .bind(id.to_bytes())
                .execute(db)
                .await
                .map_err(failed)?;
        }
        Thing::Caller(id) => return callers::remove(db, *id, by, notes).await,
        Thing::Token(id) => return callers::end_token(db, *id, by, notes).await,
        Thing::ParentKey(id) => callers::end_token(db, *id, by, notes).await?,
        Thing::Grant(id) => {
            run(&mut *db, "DELETE FROM share_grants WHERE grant_id = ?", id.to_bytes()).await?;
            let account = registry::grant_account(&mut *db, *id).await?;
            let account = account.ok_or_else(|| Error::not_found(Noun::Grant))?;
            registry::remove_grant(db, account, *id, by).await?;
        }
        Thing::Group(id) => groups::remove(db, *id, by.at).await?,
        Thing::Storage(id) => {
            let known: String = query_scalar("SELECT name FROM storages WHERE id = ?")
                .bind(id.to_bytes())
                .fetch_one(&mut *db)
                .await
                .map_err(failed)?;
            query("UPDATE storages SET removed_ms = ?, name = ?, settings = NULL, secrets = NULL WHERE id = ?")
                .bind(by.at.as_millisecond())
                .bind(removed_name(&rows::name(&known)?, &id.to_string()).as_str().to_owned())
                .bind(id.to_bytes())
                .execute(db)
                .await
                .map_err(failed)?;
        }
        Thing::Bucket(name) => {
            // Who preferred its datasets prefers none now, nor one of the same name that is made later.
            let sql = "UPDATE accounts SET datasets_bucket = NULL WHERE datasets_bucket = ?";
            run(&mut *db, sql, name.as_str().to_owned()).await?;
            run(&mut *db, "DELETE FROM buckets WHERE name = ?", name.as_str().to_owned()).await?;
        }
        Thing::Dataset(id) => {
            // Only grants that are gone name it now.
            run(&mut *db, "UPDATE grants SET dataset = NULL WHERE dataset = ?", id.to_bytes()).await?;
            run(db, "DELETE FROM datasets WHERE id = ?", id.to_bytes()).await?;
        }
        Thing::Workspace(id) => workspaces::remove(db, *id).await?,
        Thing::Project(id) => drop(run(db, "DELETE FROM projects WHERE id = ?", id.to_bytes()).await?),
        Thing::Share(id) => drop(shares::remove(db, Which::Share(*id), by).await?),
        Thing::Table(id) => drop(shares::remove(db, Which::Table(*id), by).await?),
        Thing::Recipient { share, account, to } => {
            let which = Which::Recipient { share: *share, account: *account, to: (*to).into() };
            drop(shares::remove(db, which, by).await?);
        }
        Thing::Packages(account) => {
            for sql in [
                "DELETE FROM package_tags WHERE account = ?",
                "DELETE FROM package_manifests WHERE account = ?",
                "DELETE FROM package_uploads WHERE account = ?",
                "DELETE FROM package_blobs WHERE account = ?",
            ] {
                run(&mut *db, sql, account.to_bytes()).await?;
            }
        }
        Thing::IdentityProvider(id) => identity::remove(db, *id).await?,
        Thing::TrustRule(id) => identity::remove_rule(db, *id).await?,
        Thing::RequestRule(id) => requests::remove_rule(db, *id, by.at).await?,
    }
    let id = thing.id().unwrap_or_else(|| name.clone());
    notes.did(Deed::Removed, noun(thing), id, &name);
    Ok(())
}

/// What the ledger calls it.
const fn noun(thing: &Thing) -> Noun {
    match thing {
        Thing::Account(_) => Noun::Account,
        Thing::Caller(_) => Noun::Caller,
        Thing::Token(_) => Noun::Token,
        Thing::ParentKey(_) => Noun::ParentKey,
        Thing::Grant(_) => Noun::Grant,
        Thing::Group(_) => Noun::Group,
        Thing::Storage(_) => Noun::Storage,
        Thing::Bucket(_) => Noun::Bucket,
        Thing::Dataset(_) => Noun::Dataset,
        Thing::Workspace(_) => Noun::Workspace,
        Thing::Project(_) => Noun::Project,
        Thing::Share(_) | Thing::Recipient { .. } => Noun::Share,
        Thing::Table(_) => Noun::Table,
        Thing::Packages(_) => Noun::Package,
        Thing::IdentityProvider(_) => Noun::IdentityProvider,
        Thing::TrustRule(_) => Noun::TrustRule,
        Thing::RequestRule(_) => Noun::RequestRule,
    }
}

#[cfg(test)]
mod tests {
    use crate::sql::db::query_as;
    use crate::sql::{Sql, Whereabouts};

    /// What becomes of the rows that name something when that is removed: `goes` and `needs` as the plan says, `stays` where what they
    /// name is kept as removed, or is let go of by name.
    const TIES: [(&str, &str, &str); 45] = [
        ("access_requests", "account", "stays"),
        ("access_requests", "caller", "stays"),
        ("buckets", "storage", "needs"),
        ("caller_groups", "account", "needs"),
        ("callers", "account", "needs"),
        ("credit_grants", "account", "stays"),
        ("credits", "account", "stays"),
        ("datasets", "bucket", "needs"),
        ("datasets", "storage", "needs"),
        ("grants", "account", "needs"),
        ("grants", "caller", "goes"),
        ("grants", "dataset", "needs"),
        ("grants", "member_of", "goes"),
        ("grants", "storage", "needs"),
        ("group_members", "caller", "goes"),
        ("group_members", "member_of", "goes"),
        ("identity_sessions", "token", "stays"),
        ("package_blobs", "account", "needs"),
        ("package_manifests", "account", "needs"),
        ("package_tags", "account", "needs"),
        ("package_uploads", "account", "goes"),
        ("package_uploads", "caller", "goes"),
        ("parents", "token", "stays"),
        ("projects", "workspace", "goes"),
        ("request_rules", "account", "needs"),
        ("request_rules", "approvers", "goes"),
        ("request_rules", "bucket", "needs"),
        ("request_rules", "caller", "goes"),
        ("request_rules", "member_of", "goes"),
        ("share_grants", "grant_id", "goes"),
        ("share_grants", "share", "goes"),
        ("share_grants", "shared_table", "goes"),
        ("share_links", "caller", "goes"),
        ("share_recipients", "account", "goes"),
        ("share_recipients", "share", "goes"),
        ("shared_tables", "bucket", "needs"),
        ("shared_tables", "share", "goes"),
        ("shared_tables", "storage", "needs"),
        ("shares", "account", "needs"),
        ("tokens", "caller", "goes"),
        ("trust_rules", "account", "needs"),
        ("trust_rules", "provider", "goes"),
        ("workspaces", "account", "needs"),
        ("workspaces", "bucket", "needs"),
        ("workspaces", "storage", "needs"),
    ];

    /// A table that names something by a foreign key has to have its place here before it passes: in `dependents` or `erase` first.
    #[tokio::test]
    async fn removal_knows_every_foreign_key_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("valetkey.db");
        let mut db = Sql::open(&Whereabouts::from(&path), &crate::sql::seat::Seat::new([0; 16]))
            .await
            .unwrap()
            .0
            .reader()
            .await
            .unwrap();
        let sql = "SELECT m.name, f.\"from\" FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f
                   WHERE m.type = 'table' ORDER BY 1, 2";
        let found: Vec<(String, String)> = query_as(sql).fetch_all(&mut db).await.unwrap();
        let found: Vec<(&str, &str)> = found.iter().map(|(table, column)| (&**table, &**column)).collect();
        let known: Vec<(&str, &str)> = TIES.iter().map(|(table, column, _)| (*table, *column)).collect();
        assert_eq!(found, known);
    }
}
