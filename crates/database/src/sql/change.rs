//! Changing what is there: one arm for each kind of thing.

use std::collections::BTreeSet;

use jiff::Timestamp;
use valetkey_core::Error;
use valetkey_core::account::{Account, OwnLimit, Standing};
use valetkey_core::audit::Deed;
use valetkey_core::caller::{CallerStanding, Role};
use valetkey_core::conditions::Conditions;
use valetkey_core::error::Noun;
use valetkey_core::field::Attribute;
use valetkey_core::grant::Grant;
use valetkey_core::group::Group;
use valetkey_core::id::TokenId;
use valetkey_core::nouns::identity::IdentityProvider;
use valetkey_core::nouns::removal::{Amendment, last_operator, takes_the_last_operator};

use crate::sql::db::{Db, query};
use crate::sql::notes::Notes;
use crate::sql::registry::{self, taken};
use crate::sql::{callers, failed, groups, identity, requests, rows};

fn there(rows: u64, noun: Noun) -> Result<(), Error> {
    if rows == 0 { Err(Error::not_found(noun)) } else { Ok(()) }
}

fn limit(own: OwnLimit) -> String {
    match own {
        OwnLimit::Default => "the server's".to_owned(),
        OwnLimit::Any => "any".to_owned(),
        OwnLimit::Most(most) => most.to_string(),
    }
}

/// What the ledger says of a group: as many members as fit into a sentence.
pub(crate) fn about_group(group: &Group) -> String {
    const NAMED: usize = 20;
    let mut members: Vec<String> = group.members.iter().take(NAMED).map(ToString::to_string).collect();
    match group.members.len() - members.len() {
        0 => {}
        more => members.push(format!("{more} more")),
    }
    let claims = group.by_claim.as_ref().map_or_else(String::new, |by| {
        let claims: Vec<String> = by.conditions.iter().map(ToString::to_string).collect();
        format!("; by claims of {}: {}", by.provider, claims.join(", "))
    });
    format!("{}, members: {}{claims}", group.name, members.join(" "))
}

/// What the ledger says of an identity provider.
pub(crate) fn about_provider(provider: &IdentityProvider) -> String {
    let rules: Vec<&str> = provider.rules.iter().map(|rule| rule.name.as_str()).collect();
    format!("{}, {}, rules: {}", provider.name, provider.issuer, rules.join(" "))
}

/// The change as it can be made: a token ends no later than its maker allows.
pub(crate) async fn checked(db: &mut Db, change: &Amendment, now: Timestamp) -> Result<Amendment, Error> {
    Ok(match change {
        Amendment::Token { id, until, maker } => {
            let known = callers::token_by_id(&mut *db, *id).await?.map(|(record, _)| record);
            let known = known.ok_or_else(|| Error::not_found(Noun::Token))?;
            let lengthened = known.is_lengthened(*until, now)?;
            let until = if lengthened { callers::until_of(db, *maker, *until, now).await? } else { *until };
            Amendment::Token { id: *id, until, maker: *maker }
        }
        Amendment::Account(_)
        | Amendment::Caller { .. }
        | Amendment::Grant(_)
        | Amendment::Dataset(_)
        | Amendment::Workspace { .. } => change.clone(),
        Amendment::Group(after) => {
            groups::check_change(&mut *db, after).await?;
            change.clone()
        }
        Amendment::IdentityProvider(after) => {
            after.check()?;
            identity::check_version(&mut *db, after).await?;
            change.clone()
        }
        Amendment::RequestRule(after) => {
            requests::check_change(&mut *db, after).await?;
            change.clone()
        }
    })
}

/// Refuses what a grant cannot be changed to.
pub(crate) async fn check_grant(db: &mut Db, grant: &Grant) -> Result<(), Error> {
    registry::check_new_grant(&mut *db, grant).await?;
    let own = registry::grants(db, grant.account).await?;
    there(u64::from(own.iter().any(|known| known.id == grant.id)), Noun::Grant)?;
    if own.iter().any(|known| known.name == grant.name && known.id != grant.id) {
        return Err(Error::taken(Noun::Grant, &grant.name));
    }
    Ok(())
}

/// A grant in words, its longest part last: what a credential of it could do, and when and for whom.
pub(crate) fn about_grant(grant: &Grant) -> String {
    let Grant { name, scope, max_lifetime, from, until, conditions, .. } = grant;
    let from = from.map(|from| format!("from {from:.0}"));
    let until = until.map(|until| format!("until {until:.0}"));
    let conditions = conditions.iter().flat_map(|own| own.said()).map(|said| format!("only {said}"));
    let words = [name.to_string(), format!("at most {max_lifetime}")].into_iter();
    let words: Vec<String> = words.chain(from).chain(until).chain(conditions).collect();
    format!("{}: {scope:?}", words.join(", "))
}

/// Makes a change, and says so.
pub(crate) async fn apply(db: &mut Db, change: &Amendment, now: Timestamp, notes: &mut Notes) -> Result<(), Error> {
    write(&mut *db, change, now).await?;
    match change {
        Amendment::Account(account) => {
            let standing = match account.standing {
                Standing::Active => "active",
                Standing::Suspended => "suspended",
            };
            let Account { id: _, name, standing: _, metering, datasets_bucket: _, quota } = account;
            let (bytes, objects) = (limit(quota.bytes), limit(quota.objects));
            let credits = metering.credits();
            let about =
                format!("{name}, {standing}, {credits} credits a vend, at most {bytes} bytes and {objects} objects");
            notes.did(Deed::Changed, Noun::Account, account.id, &about);
        }
        Amendment::Caller { id, name, role } => {
            notes.did(Deed::Changed, Noun::Caller, *id, &format!("{name}, {}", role.as_str()));
        }
        Amendment::Token { id, until, maker: _ } => {
            let about = until.map_or_else(|| "no end of its own".to_owned(), |until| format!("ends at {until:.0}"));
            notes.did(Deed::Changed, Noun::Token, *id, &about);
            notes.token(db, *id).await?;
        }
        Amendment::Grant(grant) => {
            notes.did(Deed::Changed, Noun::Grant, grant.id, &about_grant(grant));
        }
        Amendment::Group(after) => notes.did(Deed::Changed, Noun::Group, after.id, &about_group(after)),
        Amendment::Dataset(dataset) => notes.did(Deed::Changed, Noun::Dataset, dataset.id, dataset.name.as_str()),
        Amendment::Workspace { id, name, is_default, account: _ } => {
            let default = is_default.map_or("", |is| if is { "default" } else { "not default" });
            notes.did(Deed::Changed, Noun::Workspace, *id, &format!("{} {default}", name.as_deref().unwrap_or("")));
        }
        Amendment::IdentityProvider(after) => {
            notes.did(Deed::Changed, Noun::IdentityProvider, after.id, &about_provider(after));
        }
        Amendment::RequestRule(after) => notes.did(Deed::Changed, Noun::RequestRule, after.id, &after.about()),
    }
    Ok(())
}

#[expect(clippy::too_many_lines, reason = "one arm for each kind of thing, and nothing else")]
async fn write(db: &mut Db, change: &Amendment, now: Timestamp) -> Result<(), Error> {
    match change {
        Amendment::Account(account) => {
            let done = query(
                "UPDATE accounts SET name = ?, standing = ?, vend_credits = ?, max_bytes = ?, max_objects = ?
                 WHERE id = ? AND removed_ms IS NULL",
            )
            .bind(account.name.as_str().to_owned())
            .bind(rows::standing_number(account.standing))
            .bind(i64::from(account.metering.credits()))
            .bind(account.quota.bytes.number().map(rows::signed))
            .bind(account.quota.objects.number().map(rows::signed))
            .bind(account.id.to_bytes())
            .execute(db)
            .await
            .map_err(taken(Noun::Account, account.name.as_str()))?;
            there(done.rows_affected(), Noun::Account)
        }
        Amendment::Caller { id, name, role } => {
            let known = callers::caller(&mut *db, *id).await?.ok_or_else(|| Error::not_found(Noun::Caller))?;
            if known.role == Role::Operator && *role != Role::Operator {
                let own = callers::tokens(&mut *db, Some(known.account)).await?;
                let own: BTreeSet<TokenId> =
                    own.iter().filter(|record| record.caller == *id).map(|record| record.id).collect();
                let operators = callers::good_tokens_of_role(&mut *db, Role::Operator, now).await?;
                if takes_the_last_operator(&own, operators) {
                    return Err(last_operator().at(Attribute::Role));
                }
            }
            if known.standing == CallerStanding::Removed {
                return Err(Error::not_found(Noun::Caller));
            }
            query("UPDATE callers SET name = ?, role = ? WHERE id = ?")
                .bind(name.as_str().to_owned())
                .bind(role.as_str())
                .bind(id.to_bytes())
                .execute(db)
                .await
                .map_err(taken(Noun::Caller, name.as_str()))?;
            Ok(())
        }
        Amendment::Token { id, until, maker } => {
            if let Some(until) = until {
                callers::shorten_links(&mut *db, *id, *until).await?;
            }
            let sql = "UPDATE tokens SET until_ms = ?1, outlives = CASE WHEN ?2 = 1 THEN 1 ELSE outlives END
                 WHERE id = ?3 AND revoked_ms IS NULL";
            let done = query(sql)
                .bind(until.map(Timestamp::as_millisecond))
                .bind(i64::from(maker.outlives()))
                .bind(id.to_bytes())
                .execute(db)
                .await
                .map_err(failed)?;
            there(done.rows_affected(), Noun::Token)
        }
        Amendment::Grant(grant) => {
            registry::check_new_grant(&mut *db, grant).await?;
            let (scope, template) = rows::opens_bytes(&grant.scope);
            let done = query(
                "UPDATE grants SET name = ?, scope = ?, template = ?, max_lifetime_s = ?, from_ms = ?, until_ms = ?, conditions = ?
                 WHERE id = ? AND account = ? AND storage = ? AND removed_ms IS NULL",
            )
            .bind(grant.name.as_str().to_owned())
            .bind(scope)
            .bind(template)
            .bind(i64::from(grant.max_lifetime.as_secs()))
            .bind(grant.from.map(Timestamp::as_millisecond))
            .bind(grant.until.map(Timestamp::as_millisecond))
            .bind(grant.conditions.as_deref().map(Conditions::to_text))
            .bind(grant.id.to_bytes())
            .bind(grant.account.to_bytes())
            .bind(grant.storage.to_bytes())
            .execute(db)
            .await
            .map_err(taken(Noun::Grant, grant.name.as_str()))?;
            there(done.rows_affected(), Noun::Grant)
        }
        Amendment::Group(after) => groups::change(db, after).await,
        Amendment::Dataset(dataset) => {
            let done = query(
                "UPDATE datasets SET name = ?, topic = ?, description = ?, format = ?, frequency = ?, version = ?, deprecated = ?,
                     newest = ?, dictionary = ?, sample = ?
                 WHERE id = ?",
            )
            .bind(dataset.name.as_str().to_owned())
            .bind(dataset.topic.as_str().to_owned())
            .bind(dataset.description.clone())
            .bind(dataset.format.clone())
            .bind(dataset.frequency.clone())
            .bind(dataset.version.clone())
            .bind(i64::from(dataset.deprecated))
            .bind(dataset.newest.as_str())
            .bind(dataset.dictionary.as_deref().map(<[u8]>::to_vec))
            .bind(dataset.sample.as_deref().map(<[u8]>::to_vec))
            .bind(dataset.id.to_bytes())
            .execute(db)
            .await
            .map_err(taken(Noun::Dataset, dataset.name.as_str()))?;
            there(done.rows_affected(), Noun::Dataset)
        }
        Amendment::Workspace { id, account, name, is_default } => {
            if *is_default == Some(true) {
                query("UPDATE workspaces SET is_default = 0, updated_ms = ? WHERE account = ? AND is_default = 1")
                    .bind(now.as_millisecond())
                    .bind(account.to_bytes())
                    .execute(&mut *db)
                    .await
                    .map_err(failed)?;
            }
            let done = query(
                "UPDATE workspaces SET name = coalesce(?, name), is_default = coalesce(?, is_default), updated_ms = ?
                 WHERE id = ? AND account = ?",
            )
            .bind(name.as_deref().map(ToOwned::to_owned))
            .bind(is_default.map(i64::from))
            .bind(now.as_millisecond())
            .bind(id.to_bytes())
            .bind(account.to_bytes())
            .execute(db)
            .await
            .map_err(failed)?;
            there(done.rows_affected(), Noun::Workspace)
        }
        Amendment::IdentityProvider(after) => identity::change(db, after).await,
        Amendment::RequestRule(after) => requests::change_rule(db, after).await,
    }
}
