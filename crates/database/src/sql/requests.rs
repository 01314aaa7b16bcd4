//! The tables of requests for access, and of the rules that they are made under.

use std::sync::Arc;

use jiff::Timestamp;
use valetkey_core::audit::Deed;
use valetkey_core::caller::Caller;
use valetkey_core::claims::Identity;
use valetkey_core::error::{Error, Kind, Noun, Stranger};
use valetkey_core::field::{Attribute, Field};
use valetkey_core::grant::Grantee;
use valetkey_core::id::{AccountId, CallerId, GrantId, GroupId, RequestId, RequestRuleId, StorageId, TokenId};
use valetkey_core::nouns::request::{
    AccessRequest, Decided, Decision, KEPT, MOST_RULES, NewRequest, RequestFilter, RequestRule, State, WAITS, Whose,
    check_count, moved, rule_for,
};
use valetkey_core::nouns::rules;
use valetkey_core::storage::Storage;

use crate::sql::db::{Db, Value, query, query_as, query_scalar};
use crate::sql::notes::Notes;
use crate::sql::registry::{self, taken};
use crate::sql::rows::{self, count, damaged, signed};
use crate::sql::{callers, failed, groups, identity};

type RuleRow = (Vec<u8>, String, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>, Vec<u8>, i64, Vec<u8>, i64, i64);

fn secs(stored: i64) -> Result<u32, Error> {
    u32::try_from(stored).map_err(|_| damaged("a length of time"))
}

fn rule(row: RuleRow) -> Result<RequestRule, Error> {
    let (id, name, account, caller, group, scope, most_secs, approvers, version, made) = row;
    Ok(RequestRule {
        id: RequestRuleId::from_bytes(rows::id(&id)?),
        name: rows::name(&name)?,
        account: account.map(|id| rows::id(&id).map(AccountId::from_bytes)).transpose()?,
        askers: match (caller, group) {
            (None, None) => Grantee::Everyone,
            (Some(caller), None) => Grantee::Caller(CallerId::from_bytes(rows::id(&caller)?)),
            (None, Some(group)) => Grantee::Group(GroupId::from_bytes(rows::id(&group)?)),
            (Some(_), Some(_)) => return Err(damaged("a request rule that is for two")),
        },
        scope: rows::scope(&scope)?,
        most_secs: secs(most_secs)?,
        approvers: GroupId::from_bytes(rows::id(&approvers)?),
        version: count(version),
        made: rows::at_ms(made)?,
    })
}

/// Every rule, in order of their names.
pub(crate) async fn rules(db: &mut Db) -> Result<Vec<RequestRule>, Error> {
    let found: Vec<RuleRow> = query_as(
        "SELECT id, name, account, caller, member_of, scope, most_secs, approvers, version, made_ms FROM request_rules ORDER BY name",
    )
    .fetch_all(db)
    .await
    .map_err(failed)?;
    found.into_iter().map(rule).collect()
}

async fn rule_by_id(db: &mut Db, id: RequestRuleId) -> Result<Option<RequestRule>, Error> {
    Ok(rules(db).await?.into_iter().find(|known| known.id == id))
}

/// Refuses a rule that means nothing, or names what is not there.
async fn check_rule(db: &mut Db, new: &RequestRule) -> Result<(), Error> {
    new.check()?;
    if let Some(account) = new.account {
        registry::account(&mut *db, account).await?.ok_or_else(|| Error::not_found(Noun::Account))?;
        let of = registry::grantee_of(&mut *db, new.askers).await?;
        rules::check_grantee(account, new.askers, of).map_err(|error| error.at(Attribute::Askers))?;
    }
    groups::by_id(&mut *db, new.approvers).await.map_err(|error| error.at(Attribute::Approvers))?;
    let bucket = registry::bucket_of(db, new.scope.bucket()).await?;
    bucket.map(drop).ok_or_else(|| rules::no_bucket(new.scope.bucket()).at(Field::Bucket))
}

/// What a rule says, in the order of the columns that both statements have.
fn fields(rule: &RequestRule) -> [Value; 9] {
    let (caller, group) = match rule.askers {
        Grantee::Everyone => (None, None),
        Grantee::Caller(caller) => (Some(caller.to_bytes()), None),
        Grantee::Group(group) => (None, Some(group.to_bytes())),
    };
    [
        rule.name.as_str().to_owned().into(),
        rule.account.map(AccountId::to_bytes).into(),
        caller.into(),
        group.into(),
        rule.scope.bucket().as_str().to_owned().into(),
        rows::scope_bytes(&rule.scope).into(),
        i64::from(rule.most_secs).into(),
        rule.approvers.to_bytes().into(),
        signed(rule.version).into(),
    ]
}

/// Adds a rule.
pub(crate) async fn create_rule(db: &mut Db, new: &RequestRule) -> Result<(), Error> {
    check_rule(&mut *db, new).await?;
    if rules(&mut *db).await?.len() >= MOST_RULES {
        return Err(Error::new(Kind::Invalid, format!("there are at most {MOST_RULES} request rules")));
    }
    let mut insert = query(
        "INSERT INTO request_rules (name, account, caller, member_of, bucket, scope, most_secs, approvers, version, id, made_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    for value in fields(new) {
        insert = insert.bind(value);
    }
    let insert = insert.bind(new.id.to_bytes()).bind(new.made.as_millisecond());
    insert.execute(db).await.map(drop).map_err(taken(Noun::RequestRule, new.name.as_str()))
}

/// Refuses what a rule cannot be changed to.
pub(crate) async fn check_change(db: &mut Db, after: &RequestRule) -> Result<(), Error> {
    check_rule(&mut *db, after).await?;
    let known = rule_by_id(db, after.id).await?.ok_or_else(|| Error::not_found(Noun::RequestRule))?;
    if known.version != after.version {
        return Err(Error::new(Kind::Unavailable, "the request rule was changed just now; ask again").retry_after(1));
    }
    Ok(())
}

/// Changes a rule to what it is from now on, if nobody else changed it meanwhile.
pub(crate) async fn change_rule(db: &mut Db, after: &RequestRule) -> Result<(), Error> {
    check_change(&mut *db, after).await?;
    let mut update = query(
        "UPDATE request_rules SET name = ?, account = ?, caller = ?, member_of = ?, bucket = ?, scope = ?, most_secs = ?,
             approvers = ?, version = ? WHERE id = ?",
    );
    for value in fields(&RequestRule { version: after.version + 1, ..after.clone() }) {
        update = update.bind(value);
    }
    let update = update.bind(after.id.to_bytes());
    update.execute(db).await.map(drop).map_err(taken(Noun::RequestRule, after.name.as_str()))
}

/// Removes a rule; what waits under it is cancelled.
pub(crate) async fn remove_rule(db: &mut Db, id: RequestRuleId, now: Timestamp) -> Result<(), Error> {
    query("UPDATE access_requests SET decision = ?, decided_ms = ?, note = '' WHERE rule = ? AND decision IS NULL")
        .bind(Decision::Cancelled.as_str())
        .bind(now.as_millisecond())
        .bind(id.to_bytes())
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    let sql = "DELETE FROM request_rules WHERE id = ?";
    query(sql).bind(id.to_bytes()).execute(db).await.map(drop).map_err(failed)
}

type RequestRow = (
    Vec<u8>,
    Vec<u8>,
    Vec<u8>,
    Vec<u8>,
    Vec<u8>,
    Vec<u8>,
    i64,
    String,
    i64,
    Option<String>,
    Option<i64>,
    Option<Vec<u8>>,
    Option<String>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<String>,
);

fn request(row: RequestRow) -> Result<AccessRequest, Error> {
    #[rustfmt::skip]
    let (id, account, caller, rule, storage, scope, length, reason, made, how, at, by, note, grant, token, known_as) = row;
    let decided = match (how, at) {
        (None, _) => None,
        (Some(how), Some(at)) => Some(Decided {
            how: Decision::parse(&how).ok_or_else(|| damaged("a decision"))?,
            at: rows::at_ms(at)?,
            by: by.map(|id| rows::id(&id).map(CallerId::from_bytes)).transpose()?,
            note: note.unwrap_or_default().into(),
            grant: grant.map(|id| rows::id(&id).map(GrantId::from_bytes)).transpose()?,
        }),
        (Some(_), None) => return Err(damaged("the time of a decision")),
    };
    Ok(AccessRequest {
        id: RequestId::from_bytes(rows::id(&id)?),
        account: AccountId::from_bytes(rows::id(&account)?),
        caller: CallerId::from_bytes(rows::id(&caller)?),
        token: token.map(|id| rows::id(&id).map(TokenId::from_bytes)).transpose()?,
        known_as: known_as.map(Into::into),
        rule: RequestRuleId::from_bytes(rows::id(&rule)?),
        storage: StorageId::from_bytes(rows::id(&storage)?),
        scope: rows::scope(&scope)?,
        secs: secs(length)?,
        reason: reason.into(),
        made: rows::at_ms(made)?,
        decided,
    })
}

const COLUMNS: &str =
    "SELECT id, account, caller, rule, storage, scope, secs, reason, made_ms, decision, decided_ms, decided_by, note,
    grant_id, token,
    (SELECT s.provider_name || ': ' || s.subject FROM identity_sessions s WHERE s.token = access_requests.token)
    FROM access_requests";

/// A request by its id.
pub(crate) async fn by_id(db: &mut Db, id: RequestId) -> Result<Option<AccessRequest>, Error> {
    let sql = format!("{COLUMNS} WHERE id = ?");
    let found: Option<RequestRow> = query_as(sql).bind(id.to_bytes()).fetch_optional(db).await.map_err(failed)?;
    found.map(request).transpose()
}

/// The newest instant at which what was made then waits no more.
fn over(now: Timestamp) -> i64 {
    now.checked_sub(WAITS).unwrap_or(Timestamp::MIN).as_millisecond()
}

/// A page of requests, the newest first.
pub(crate) async fn list(db: &mut Db, filter: &RequestFilter) -> Result<Vec<AccessRequest>, Error> {
    let RequestFilter { whose, state, now, before, limit } = *filter;
    let (of, whose) = match whose {
        Whose::Everybodys => ("?1 IS NOT NULL", [0; 16]),
        Whose::Account(id) => ("account = ?1", id.to_bytes()),
        Whose::Caller(id) => ("caller = ?1", id.to_bytes()),
        Whose::Rule(id) => ("rule = ?1", id.to_bytes()),
    };
    let stands = match state {
        None => "made_ms >= ?4 OR made_ms < ?4",
        Some(State::Pending) => "decision IS NULL AND made_ms > ?4",
        Some(State::Expired) => "decision IS NULL AND made_ms <= ?4",
        Some(State::Approved) => "decision = 'approved' AND ?4 IS NOT NULL",
        Some(State::Denied) => "decision = 'denied' AND ?4 IS NOT NULL",
        Some(State::Cancelled) => "decision = 'cancelled' AND ?4 IS NOT NULL",
    };
    let sql = format!("{COLUMNS} WHERE {of} AND id < ?2 AND ({stands}) ORDER BY id DESC LIMIT ?3");
    let found: Vec<RequestRow> = query_as(sql)
        .bind(whose)
        .bind(before.map_or_else(|| vec![0xff; 17], |id| id.to_bytes().to_vec()))
        .bind(i64::from(limit))
        .bind(over(now))
        .fetch_all(db)
        .await
        .map_err(failed)?;
    found.into_iter().map(request).collect()
}

/// How many of a caller's requests wait, and how many it made in the last day.
async fn counted(db: &mut Db, caller: CallerId, now: Timestamp) -> Result<(usize, usize), Error> {
    let waits = "decision IS NULL";
    let number = async |db: &mut Db, also: &str| {
        let sql = format!("SELECT count(*) FROM access_requests WHERE caller = ? AND made_ms > ?{also}");
        let found: i64 =
            query_scalar(sql).bind(caller.to_bytes()).bind(over(now)).fetch_one(db).await.map_err(failed)?;
        Ok::<_, Error>(usize::try_from(found).unwrap_or(usize::MAX))
    };
    let all = number(&mut *db, "").await?;
    Ok((number(db, &format!(" AND {waits}")).await?, all))
}

/// Whether a rule is for a caller that is known by these identity tokens.
async fn is_for(
    db: &mut Db,
    rule: &RequestRule,
    (account, caller): (AccountId, CallerId),
    identities: &[Arc<Identity>],
) -> Result<bool, Error> {
    let in_group = match rule.asking_group() {
        None => false,
        Some(group) => groups::by_id(db, group).await?.has(account, caller, identities),
    };
    Ok(rule.is_for(account, caller, in_group))
}

async fn storage_of(db: &mut Db, new: &valetkey_core::scope::Scope) -> Result<Storage, Error> {
    let of = registry::bucket_of(&mut *db, new.bucket()).await?;
    let found = registry::storages(db).await?.into_iter().find(|known| Some(known.id) == of);
    found.ok_or_else(|| rules::no_bucket(new.bucket()).at(Field::Bucket))
}

/// Makes a request.
pub(crate) async fn ask(
    db: &mut Db,
    id: RequestId,
    new: NewRequest,
    by: &Caller,
    now: Timestamp,
) -> Result<AccessRequest, Error> {
    let (waiting, in_a_day) = counted(&mut *db, by.id, now).await?;
    check_count(waiting, in_a_day)?;
    let all = rules(&mut *db).await?;
    let identities = present(&mut *db, by, now).await?;
    let mut own = Vec::new();
    // Groups are read for those alone that could do.
    let near = |rule: &&RequestRule| rule.scope.covers_scope(&new.scope) || new.rule.as_ref() == Some(&rule.name);
    for rule in all.iter().filter(near) {
        if is_for(&mut *db, rule, (by.account, by.id), &identities).await? {
            own.push(rule);
        }
    }
    let rule = rule_for(&own, new.rule.as_ref(), &new.scope, new.secs)?;
    let storage = storage_of(&mut *db, &new.scope).await?;
    new.check(&storage)?;
    query("DELETE FROM access_requests WHERE caller = ? AND made_ms < ?")
        .bind(by.id.to_bytes())
        .bind(now.checked_sub(KEPT).unwrap_or(Timestamp::MIN).as_millisecond())
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    let made = new.stored(id, by, rule, storage.id, now);
    query(
        "INSERT INTO access_requests (id, account, caller, rule, storage, scope, secs, reason, made_ms, token)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(made.id.to_bytes())
    .bind(made.account.to_bytes())
    .bind(made.caller.to_bytes())
    .bind(made.rule.to_bytes())
    .bind(made.storage.to_bytes())
    .bind(rows::scope_bytes(&made.scope))
    .bind(i64::from(made.secs))
    .bind(made.reason.to_string())
    .bind(made.made.as_millisecond())
    .bind(by.token.to_bytes())
    .execute(&mut *db)
    .await
    .map_err(failed)?;
    by_id(db, made.id).await?.ok_or_else(|| damaged("a request"))
}

/// What a caller is known by as this transaction knows it: since the request came, the caller or its token may have ended.
async fn present(db: &mut Db, by: &Caller, now: Timestamp) -> Result<Vec<Arc<Identity>>, Error> {
    let over = || Error::new(Kind::Unauthenticated(Stranger::Revoked), "the token has ended");
    let (token, _) = callers::token_by_id(&mut *db, by.token).await?.ok_or_else(over)?;
    if token.caller != by.id || !token.is_live(now) {
        return Err(over());
    }
    Ok(identity::of_token(db, by.token).await?.into_iter().collect())
}

/// How many tokens of a caller a token comes of: that made it, or made one that did.
const COMES_OF: &str = "WITH RECURSIVE up (id) AS (
        SELECT made_by FROM tokens WHERE id = ?1 AND made_by IS NOT NULL
        UNION SELECT tokens.made_by FROM tokens JOIN up ON tokens.id = up.id WHERE tokens.made_by IS NOT NULL
    )
    SELECT count(*) FROM up JOIN tokens t ON t.id = up.id WHERE t.caller = ?2";

/// How many sessions of a caller are of the subject that a token is a session of.
const SAME_SUBJECT: &str = "SELECT count(*) FROM identity_sessions mine
    JOIN identity_sessions theirs ON theirs.provider = mine.provider AND theirs.subject = mine.subject
    JOIN tokens t ON t.id = theirs.token
    WHERE mine.token = ?1 AND t.caller = ?2";

/// Refuses who decides where who asked may be the same person under another name: logged in as the same subject, or with a token that
/// the other made.
async fn check_other(db: &mut Db, request: &AccessRequest, by: &Caller) -> Result<(), Error> {
    let count = async |db: &mut Db, sql: &'static str, token: TokenId, caller: CallerId| {
        let found: i64 =
            query_scalar(sql).bind(token.to_bytes()).bind(caller.to_bytes()).fetch_one(db).await.map_err(failed)?;
        Ok::<_, Error>(found > 0)
    };
    let refuse = |said: &'static str| Err(Error::new(Kind::Forbidden, said));
    if count(&mut *db, SAME_SUBJECT, by.token, request.caller).await? {
        return refuse("who asked is the same subject at the identity provider: nobody decides their own request");
    }
    if count(&mut *db, COMES_OF, by.token, request.caller).await? {
        return refuse("who asked made the token that decides: nobody decides their own request");
    }
    match request.token {
        Some(token) if count(&mut *db, COMES_OF, token, by.id).await? => {
            refuse("who decides made the token that it was asked with: nobody decides their own request")
        }
        Some(_) | None => Ok(()),
    }
}

/// Forgets requests that were made before an instant, of some of them: their grants are over. Says of how many.
pub(crate) async fn forget(db: &mut Db, before_ms: i64) -> Result<u64, Error> {
    query("DELETE FROM access_requests WHERE id IN (SELECT id FROM access_requests WHERE made_ms < ? LIMIT 256)")
        .bind(before_ms)
        .execute(db)
        .await
        .map(crate::sql::db::Done::rows_affected)
        .map_err(failed)
}

/// Refuses to approve for who could not ask for it any more.
async fn check_asker(db: &mut Db, request: &AccessRequest, rule: &RequestRule, now: Timestamp) -> Result<(), Error> {
    let asker = callers::caller(&mut *db, request.caller).await?.ok_or_else(|| Error::not_found(Noun::Caller))?;
    asker
        .standing
        .served()
        .map_err(|_| Error::new(Kind::Invalid, "who asked is suspended or was removed").at(Attribute::Caller))?;
    let identities = identity::live_of_caller(&mut *db, request.caller, now).await?;
    if is_for(db, rule, (request.account, request.caller), &identities).await? {
        return Ok(());
    }
    let said = "the request's rule does not let who asked ask any more: they left its group, or are not logged in with what makes them a member";
    Err(Error::new(Kind::Invalid, said).at(Attribute::Caller))
}

/// Decides a request, and says so.
pub(crate) async fn decide(
    db: &mut Db,
    (id, grant): (RequestId, GrantId),
    (how, note): (Decision, &str),
    by: &Caller,
    now: Timestamp,
    notes: &mut Notes,
) -> Result<AccessRequest, Error> {
    let missing = || Error::not_found(Noun::Request).at(Attribute::Request);
    let mut request = by_id(&mut *db, id).await?.ok_or_else(missing)?;
    let rule = rule_by_id(&mut *db, request.rule).await?;
    let rule = match &rule {
        None => None,
        Some(rule) => {
            let identities = present(&mut *db, by, now).await?;
            Some((rule, groups::by_id(&mut *db, rule.approvers).await?.has(by.account, by.id, &identities)))
        }
    };
    request.check(how, (by.id, by.role), rule, now)?;
    match how {
        Decision::Cancelled => {}
        Decision::Approved | Decision::Denied => check_other(&mut *db, &request, by).await?,
    }
    let mut made = None;
    if let (Decision::Approved, Some((rule, _))) = (how, rule) {
        check_asker(&mut *db, &request, rule, now).await?;
        let storage = storage_of(&mut *db, &request.scope).await?;
        if storage.id != request.storage {
            return Err(moved());
        }
        let grant = request.grant(grant, &storage, now)?;
        registry::create_grant(&mut *db, &grant, now).await?;
        notes.did(Deed::Made, Noun::Grant, grant.id, grant.name.as_str());
        made = Some(grant.id);
    }
    query(
        "UPDATE access_requests SET decision = ?, decided_ms = ?, decided_by = ?, note = ?, grant_id = ?
         WHERE id = ? AND decision IS NULL",
    )
    .bind(how.as_str())
    .bind(now.as_millisecond())
    .bind(by.id.to_bytes())
    .bind(note.to_owned())
    .bind(made.map(GrantId::to_bytes))
    .bind(id.to_bytes())
    .execute(db)
    .await
    .map_err(failed)?;
    request.decided = Some(Decided { how, at: now, by: Some(by.id), note: note.into(), grant: made });
    let deed = match how {
        Decision::Approved => Deed::Approved,
        Decision::Denied => Deed::Denied,
        Decision::Cancelled => Deed::Cancelled,
    };
    notes.did(deed, Noun::Request, id, &request.about_decision());
    Ok(request)
}
