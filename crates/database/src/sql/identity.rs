//! The tables of identity providers, their rules, and the sessions that came of their tokens.

use std::sync::Arc;

use jiff::Timestamp;
use valetkey_core::audit::Deed;
use valetkey_core::caller::{CallerStanding, Role};
use valetkey_core::claims::{Claims, Identity};
use valetkey_core::error::{Noun, Stranger};
use valetkey_core::id::{AccountId, CallerId, ProviderId, RuleId, TokenId};
use valetkey_core::nouns::identity::{
    Algorithm, CallerTemplate, Condition, Cutoff, IdentityProvider, KeySource, LoginClient, MOST_EXCHANGES, NewSession,
    Preset, Session, SessionProof, SubjectClaim, TrustRule,
};
use valetkey_core::token::Maker;
use valetkey_core::{Error, Kind};

use crate::sql::callers::{self, NewToken};
use crate::sql::db::{Db, Value, query, query_as, query_scalar};
use crate::sql::notes::Notes;
use crate::sql::registry::{self, taken};
use crate::sql::rows::{self, count, damaged, signed};
use crate::sql::{failed, is_taken};

/// Every column but the id, as it is bound.
fn fields(of: &IdentityProvider) -> Vec<Value> {
    let (kind, keys) = match &of.keys {
        KeySource::Discovery => (0, ""),
        KeySource::Jwks(url) => (1, &**url),
        KeySource::Static(keys) => (2, &**keys),
    };
    let lines = |list: &[Box<str>]| list.join("\n");
    let subject: Vec<String> = of.subject.iter().map(ToString::to_string).collect();
    let algorithms: Vec<&str> = of.algorithms.iter().map(|one| one.as_str()).collect();
    vec![
        of.name.as_str().to_owned().into(),
        of.preset.as_str().into(),
        of.issuer.to_string().into(),
        Value::from(kind),
        keys.to_owned().into(),
        lines(&of.audiences).into(),
        lines(&of.parties).into(),
        subject.join("\n").into(),
        algorithms.join("\n").into(),
        i64::from(of.leeway_secs).into(),
        i64::from(of.max_age_secs).into(),
        of.login.as_ref().map(|login| login.client_id.to_string()).into(),
        of.login.as_ref().map_or_else(String::new, |login| lines(&login.scopes)).into(),
        signed(of.version).into(),
        of.made.as_millisecond().into(),
    ]
}

type ProviderRow = (
    Vec<u8>,
    String,
    String,
    String,
    i64,
    String,
    String,
    String,
    String,
    String,
    i64,
    i64,
    Option<String>,
    String,
    i64,
    i64,
);

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').filter(|line| !line.is_empty())
}

fn provider(row: ProviderRow, rules: Vec<TrustRule>) -> Result<IdentityProvider, Error> {
    #[rustfmt::skip]
    let (id, name, preset, issuer, kind, keys, audiences, parties, subject, algorithms, leeway, age, client, scopes, version, made) = row;
    let bad = || damaged("an identity provider");
    let list = |text: &str| lines(text).map(Into::into).collect::<Vec<Box<str>>>();
    Ok(IdentityProvider {
        id: ProviderId::from_bytes(rows::id(&id)?),
        name: rows::name(&name)?,
        preset: Preset::parse(&preset).ok_or_else(bad)?,
        issuer: issuer.into(),
        keys: match kind {
            0 => KeySource::Discovery,
            1 => KeySource::Jwks(keys.into()),
            2 => KeySource::Static(keys.into()),
            _ => return Err(bad()),
        },
        audiences: list(&audiences),
        parties: list(&parties),
        subject: lines(&subject).map(SubjectClaim::parse).collect::<Result<_, _>>().map_err(|_| bad())?,
        algorithms: lines(&algorithms).map(Algorithm::parse).collect::<Option<_>>().ok_or_else(bad)?,
        leeway_secs: u32::try_from(leeway).map_err(|_| bad())?,
        max_age_secs: u32::try_from(age).map_err(|_| bad())?,
        login: client.map(|client| LoginClient { client_id: client.into(), scopes: list(&scopes) }),
        version: count(version),
        made: rows::at_ms(made)?,
        rules,
    })
}

type RuleRow = (Vec<u8>, Vec<u8>, String, Vec<u8>, String, String, String, Option<i64>);

fn rule(row: RuleRow) -> Result<(ProviderId, TrustRule), Error> {
    let (id, provider, name, account, caller, row_role, claims, outlive) = row;
    let bad = || damaged("a trust rule");
    let found = TrustRule {
        id: RuleId::from_bytes(rows::id(&id)?),
        name: rows::name(&name)?,
        account: AccountId::from_bytes(rows::id(&account)?),
        caller: CallerTemplate::parse(&caller).map_err(|_| bad())?,
        role: Role::parse(&row_role).ok_or_else(bad)?,
        conditions: lines(&claims).map(Condition::parse).collect::<Result<_, _>>().map_err(|_| bad())?,
        outlive_secs: outlive.map(u32::try_from).transpose().map_err(|_| bad())?,
    };
    Ok((ProviderId::from_bytes(rows::id(&provider)?), found))
}

/// Every provider with its rules.
pub(crate) async fn providers(db: &mut Db) -> Result<Vec<IdentityProvider>, Error> {
    let found: Vec<RuleRow> = query_as(
        "SELECT id, provider, name, account, caller, role, claims, outlive_s FROM trust_rules ORDER BY place, id",
    )
    .fetch_all(&mut *db)
    .await
    .map_err(failed)?;
    let rules = found.into_iter().map(rule).collect::<Result<Vec<_>, _>>()?;
    let found: Vec<ProviderRow> = query_as(
        "SELECT id, name, preset, issuer, keys_kind, keys, audiences, parties, subject, algorithms, leeway_s, max_age_s,
             login_client, login_scopes, version, made_ms
         FROM identity_providers ORDER BY name",
    )
    .fetch_all(db)
    .await
    .map_err(failed)?;
    let with_rules = |row: ProviderRow| {
        let id = ProviderId::from_bytes(rows::id(&row.0)?);
        provider(row, rules.iter().filter(|(of, _)| *of == id).map(|(_, rule)| rule.clone()).collect())
    };
    found.into_iter().map(with_rules).collect()
}

/// A provider with its rules.
pub(crate) async fn by_id(db: &mut Db, id: ProviderId) -> Result<IdentityProvider, Error> {
    let found = providers(db).await?.into_iter().find(|known| known.id == id);
    found.ok_or_else(|| Error::not_found(Noun::IdentityProvider))
}

fn name_or_issuer(of: &IdentityProvider) -> impl FnOnce(sqlx::Error) -> Error {
    move |error| {
        if is_taken(&error) {
            let said = format!("there is an identity provider of this name, `{}`, or of this issuer already", of.name);
            return Error::new(Kind::AlreadyExists(Noun::IdentityProvider), said);
        }
        failed(error)
    }
}

/// Adds a provider.
pub(crate) async fn create(db: &mut Db, new: &IdentityProvider) -> Result<(), Error> {
    let mut insert = query(
        "INSERT INTO identity_providers (id, name, preset, issuer, keys_kind, keys, audiences, parties, subject, algorithms, leeway_s,
             max_age_s, login_client, login_scopes, version, made_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(new.id.to_bytes());
    for value in fields(new) {
        insert = insert.bind(value);
    }
    insert.execute(&mut *db).await.map_err(name_or_issuer(new))?;
    write_rules(db, new).await
}

/// Refuses to change a provider that somebody else changed. Asked before anything ends by it: a change that is refused ends nothing.
pub(crate) async fn check_version(db: &mut Db, after: &IdentityProvider) -> Result<(), Error> {
    if by_id(db, after.id).await?.version == after.version {
        return Ok(());
    }
    Err(Error::new(Kind::Unavailable, "the identity provider was changed just now; ask again").retry_after(1))
}

/// Changes a provider and its rules to what they are from now on, if nobody else changed them meanwhile.
pub(crate) async fn change(db: &mut Db, after: &IdentityProvider) -> Result<(), Error> {
    check_version(&mut *db, after).await?;
    let after = IdentityProvider { version: after.version + 1, ..after.clone() };
    let mut update = query(
        "UPDATE identity_providers SET name = ?, preset = ?, issuer = ?, keys_kind = ?, keys = ?, audiences = ?, parties = ?,
             subject = ?, algorithms = ?, leeway_s = ?, max_age_s = ?, login_client = ?, login_scopes = ?, version = ?, made_ms = ?
         WHERE id = ?",
    );
    for value in fields(&after) {
        update = update.bind(value);
    }
    update.bind(after.id.to_bytes()).execute(&mut *db).await.map_err(name_or_issuer(&after))?;
    query("DELETE FROM trust_rules WHERE provider = ?")
        .bind(after.id.to_bytes())
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    write_rules(db, &after).await
}

async fn write_rules(db: &mut Db, of: &IdentityProvider) -> Result<(), Error> {
    for (place, rule) in (0i64..).zip(&of.rules) {
        registry::account(&mut *db, rule.account).await?.ok_or_else(|| Error::not_found(Noun::Account))?;
        let claims: Vec<String> = rule.conditions.iter().map(ToString::to_string).collect();
        query(
            "INSERT INTO trust_rules (id, provider, place, name, account, caller, role, claims, outlive_s)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(rule.id.to_bytes())
        .bind(of.id.to_bytes())
        .bind(place)
        .bind(rule.name.as_str().to_owned())
        .bind(rule.account.to_bytes())
        .bind(rule.caller.to_string())
        .bind(rule.role.as_str())
        .bind(claims.join("\n"))
        .bind(rule.outlive_secs.map(i64::from))
        .execute(&mut *db)
        .await
        .map_err(taken(Noun::TrustRule, rule.name.as_str()))?;
    }
    Ok(())
}

/// Removes a provider; its rules went before.
pub(crate) async fn remove(db: &mut Db, id: ProviderId) -> Result<(), Error> {
    for sql in [
        "DELETE FROM identity_cutoffs WHERE provider = ?",
        // Its sessions went before, so nobody is in a group by a claim of theirs.
        "UPDATE caller_groups SET provider = NULL, claims = '', version = version + 1 WHERE provider = ?",
        "DELETE FROM identity_providers WHERE id = ?",
    ] {
        query(sql).bind(id.to_bytes()).execute(&mut *db).await.map_err(failed)?;
    }
    Ok(())
}

/// Removes a rule; its sessions went before, and their tokens may be judged by another.
pub(crate) async fn remove_rule(db: &mut Db, id: RuleId) -> Result<(), Error> {
    let rule = id.to_bytes();
    for sql in [
        "UPDATE identity_sessions SET lapsed = 1 WHERE rule = ?",
        "UPDATE identity_providers SET version = version + 1 WHERE id = (SELECT provider FROM trust_rules WHERE id = ?)",
        "DELETE FROM trust_rules WHERE id = ?",
    ] {
        query(sql).bind(rule).execute(&mut *db).await.map_err(failed)?;
    }
    Ok(())
}

/// The live sessions of a rule.
pub(crate) async fn live_of_rule(db: &mut Db, rule: RuleId, now: Timestamp) -> Result<Vec<TokenId>, Error> {
    let found: Vec<Vec<u8>> = query_scalar(
        "SELECT t.id FROM identity_sessions s JOIN tokens t ON t.id = s.token
         WHERE s.rule = ? AND t.revoked_ms IS NULL AND t.until_ms > ? ORDER BY t.id",
    )
    .bind(rule.to_bytes())
    .bind(now.as_millisecond())
    .fetch_all(db)
    .await
    .map_err(failed)?;
    found.iter().map(|id| rows::id(id).map(TokenId::from_bytes)).collect()
}

/// Ends a session with its rule: its identity token may be judged again.
pub(crate) async fn lapse(db: &mut Db, token: TokenId) -> Result<(), Error> {
    let sql = "UPDATE identity_sessions SET lapsed = 1 WHERE token = ?";
    query(sql).bind(token.to_bytes()).execute(db).await.map(drop).map_err(failed)
}

/// The session that a token is.
pub(crate) async fn session(db: &mut Db, token: TokenId) -> Result<Option<Session>, Error> {
    let sql = "SELECT provider_name, rule_name, subject, jti FROM identity_sessions WHERE token = ?";
    let found: Option<(String, String, String, Option<String>)> =
        query_as(sql).bind(token.to_bytes()).fetch_optional(db).await.map_err(failed)?;
    Ok(found.map(|(provider, rule, subject, jti)| Session {
        token,
        provider: provider.into(),
        rule: rule.into(),
        subject: subject.into(),
        jti: jti.map(Into::into),
    }))
}

/// What the identity token claims that a token came of; nothing is known of sessions from before that was kept.
pub(crate) async fn of_token(db: &mut Db, token: TokenId) -> Result<Option<Arc<Identity>>, Error> {
    let sql = "SELECT provider, claims FROM identity_sessions WHERE token = ? AND claims IS NOT NULL";
    let found: Option<(Vec<u8>, String)> =
        query_as(sql).bind(token.to_bytes()).fetch_optional(db).await.map_err(failed)?;
    let Some((provider, claims)) = found else { return Ok(None) };
    let claims = Claims::read(claims.as_bytes()).ok_or_else(|| damaged("claims"))?;
    Ok(Some(Arc::new(Identity { provider: ProviderId::from_bytes(rows::id(&provider)?), claims })))
}

/// Forgets what identity tokens claimed whose sessions ended before an instant, of some of them: nobody decides by it any more. Says of how
/// many.
pub(crate) async fn forget_claims(db: &mut Db, before_ms: i64) -> Result<u64, Error> {
    query(
        "UPDATE identity_sessions SET claims = NULL WHERE claims IS NOT NULL AND token IN (
             SELECT s.token FROM identity_sessions s JOIN tokens t ON t.id = s.token
             WHERE s.claims IS NOT NULL AND (t.until_ms < ?1 OR t.revoked_ms < ?1) LIMIT 256)",
    )
    .bind(before_ms)
    .execute(db)
    .await
    .map(crate::sql::db::Done::rows_affected)
    .map_err(failed)
}

/// The most sessions of a caller that are looked at.
const MOST_SESSIONS: i64 = 1000;

/// The same of a caller's live sessions, the newest first.
pub(crate) async fn live_of_caller(db: &mut Db, caller: CallerId, now: Timestamp) -> Result<Vec<Arc<Identity>>, Error> {
    let found: Vec<(Vec<u8>, String)> = query_as(
        "SELECT s.provider, s.claims FROM identity_sessions s JOIN tokens t ON t.id = s.token
         WHERE t.caller = ? AND t.revoked_ms IS NULL AND t.until_ms > ? AND s.claims IS NOT NULL
         ORDER BY t.made_ms DESC, t.id DESC LIMIT ?",
    )
    .bind(caller.to_bytes())
    .bind(now.as_millisecond())
    .bind(MOST_SESSIONS)
    .fetch_all(db)
    .await
    .map_err(failed)?;
    let identity = |(provider, claims): (Vec<u8>, String)| {
        let claims = Claims::read(claims.as_bytes()).ok_or_else(|| damaged("claims"))?;
        Ok(Arc::new(Identity { provider: ProviderId::from_bytes(rows::id(&provider)?), claims }))
    };
    found.into_iter().map(identity).collect()
}

/// Refuses tokens from now on that were issued before.
pub(crate) async fn cut_off(db: &mut Db, of: ProviderId, what: &Cutoff, at: Timestamp) -> Result<(), Error> {
    let (kind, value) = what.parts();
    query(
        "INSERT INTO identity_cutoffs (provider, kind, value, at_ms) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (provider, kind, value) DO UPDATE SET at_ms = excluded.at_ms",
    )
    .bind(of.to_bytes())
    .bind(kind)
    .bind(value)
    .bind(at.as_millisecond())
    .execute(db)
    .await
    .map(drop)
    .map_err(failed)
}

/// The live sessions that a cutoff ends.
pub(crate) async fn live_of(db: &mut Db, of: ProviderId, what: &Cutoff, now: Timestamp) -> Result<Vec<TokenId>, Error> {
    let mut own: Value = Value::from(String::new());
    let sql = match what {
        Cutoff::Provider => {
            "SELECT t.id FROM identity_sessions s JOIN tokens t ON t.id = s.token
             WHERE s.provider = ?1 AND ?2 = '' AND t.revoked_ms IS NULL AND t.until_ms > ?3"
        }
        Cutoff::Rule(rule) => {
            own = rule.to_bytes().into();
            "SELECT t.id FROM identity_sessions s JOIN tokens t ON t.id = s.token
             WHERE s.provider = ?1 AND s.rule = ?2 AND t.revoked_ms IS NULL AND t.until_ms > ?3"
        }
        Cutoff::Subject(subject) => {
            own = subject.to_string().into();
            "SELECT t.id FROM identity_sessions s JOIN tokens t ON t.id = s.token
             WHERE s.provider = ?1 AND s.subject = ?2 AND t.revoked_ms IS NULL AND t.until_ms > ?3"
        }
        Cutoff::TokenId(jti) => {
            own = jti.to_string().into();
            "SELECT t.id FROM identity_sessions s JOIN tokens t ON t.id = s.token
             WHERE s.provider = ?1 AND s.jti = ?2 AND t.revoked_ms IS NULL AND t.until_ms > ?3"
        }
    };
    let found: Vec<Vec<u8>> = query_scalar(sql)
        .bind(of.to_bytes())
        .bind(own)
        .bind(now.as_millisecond())
        .fetch_all(db)
        .await
        .map_err(failed)?;
    found.iter().map(|id| rows::id(id).map(TokenId::from_bytes)).collect()
}

/// What opening a session did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Opened {
    /// Nothing: it was open.
    Before,
    /// It is open.
    Now,
    /// It is open, and its caller has another role.
    WithAnotherRole,
}

/// Opens a session. Says of it what proves it, unless it is open already.
pub(crate) async fn open(
    db: &mut Db,
    (caller, token): (CallerId, TokenId),
    new: &NewSession,
    now: Timestamp,
    notes: &mut Notes,
) -> Result<Opened, Error> {
    let (digest, tail) = new.digest();
    if callers::token_by_digest(&mut *db, &digest).await?.is_some() {
        return Ok(Opened::Before);
    }
    admitted(&mut *db, new).await?;
    let (caller, opened) = caller_of(&mut *db, caller, new, now, notes).await?;
    let made = NewToken { id: token, caller, digest, tail, until: Some(new.until), maker: Maker::Server };
    callers::insert_token(&mut *db, made, now, notes).await?;
    query(
        "INSERT INTO identity_sessions (token, provider, provider_name, rule, rule_name, subject, jti, jwt, claims, jwt_until_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(token.to_bytes())
    .bind(new.provider.id.to_bytes())
    .bind(new.provider.name.as_str().to_owned())
    .bind(new.rule.id.to_bytes())
    .bind(new.rule.name.as_str().to_owned())
    .bind(new.subject.to_string())
    .bind(new.jti.as_deref().map(ToOwned::to_owned))
    .bind(new.jwt.signed().to_vec())
    .bind(new.claims.as_str().to_owned())
    .bind(new.claims.expires().map(Timestamp::as_millisecond))
    .execute(db)
    .await
    .map_err(failed)?;
    let jti = new.jti.as_deref().map_or_else(String::new, |jti| format!(", its id `{jti}`"));
    let (issuer, rule, subject) = (&new.provider.issuer, &new.rule.name, &new.subject);
    let about =
        format!("of an identity token of {issuer} for `{subject}`{jti}, by the rule {}/{rule}", new.provider.name);
    notes.did(Deed::Made, Noun::Token, token, &about);
    Ok(opened)
}

/// Refuses a token that was ended, and one that was judged by what is not so any more.
async fn admitted(db: &mut Db, new: &NewSession) -> Result<(), Error> {
    let version: Option<i64> = query_scalar("SELECT version FROM identity_providers WHERE id = ?")
        .bind(new.provider.id.to_bytes())
        .fetch_optional(&mut *db)
        .await
        .map_err(failed)?;
    if version.map(count) != Some(new.provider.version) {
        return Err(Error::overtaken());
    }
    let revoked = |said: &'static str| Error::new(Kind::Unauthenticated(Stranger::Revoked), said);
    let jwt = new.jwt.signed().to_vec();
    let ended: Option<i64> = query_scalar(
        "SELECT 1 FROM identity_sessions s JOIN tokens t ON t.id = s.token
         WHERE s.jwt = ? AND s.lapsed = 0 AND t.revoked_ms IS NOT NULL LIMIT 1",
    )
    .bind(jwt.clone())
    .fetch_optional(&mut *db)
    .await
    .map_err(failed)?;
    if ended.is_some() {
        return Err(revoked("the identity token was revoked"));
    }
    let mut under = vec![Cutoff::Provider, Cutoff::Rule(new.rule.id), Cutoff::Subject(new.subject.clone())];
    under.extend(new.jti.clone().map(Cutoff::TokenId));
    for cutoff in under {
        let (kind, value) = cutoff.parts();
        let at: Option<i64> =
            query_scalar("SELECT at_ms FROM identity_cutoffs WHERE provider = ? AND kind = ? AND value = ?")
                .bind(new.provider.id.to_bytes())
                .bind(kind)
                .bind(value)
                .fetch_optional(&mut *db)
                .await
                .map_err(failed)?;
        if at.is_some_and(|ms| rows::at_ms(ms).map_or(true, |at| cutoff.ends(at, new.issued))) {
            return Err(revoked("the identity token is one of those that were ended; get a new one"));
        }
    }
    if matches!(new.by, SessionProof::Token(_)) {
        let most: i64 = query_scalar("SELECT count(*) FROM identity_sessions WHERE jwt = ?")
            .bind(jwt)
            .fetch_one(db)
            .await
            .map_err(failed)?;
        if most > MOST_EXCHANGES {
            let said = "this identity token was exchanged too often; keep what you got for it, or get a new one";
            return Err(Error::new(Kind::RateLimited, said).retry_after(60));
        }
    }
    Ok(())
}

/// The caller that a token becomes, made if it is not there.
async fn caller_of(
    db: &mut Db,
    id: CallerId,
    new: &NewSession,
    now: Timestamp,
    notes: &mut Notes,
) -> Result<(CallerId, Opened), Error> {
    let (account, role, name) = (new.rule.account, new.rule.role, &new.caller);
    let made_for = new.made_for();
    let Some(known) = callers::caller_named(&mut *db, account, name).await? else {
        callers::ensure_caller(&mut *db, id, account, name, role, now).await?;
        let sql = "UPDATE callers SET made_for = ? WHERE id = ?";
        query(sql).bind(made_for).bind(id.to_bytes()).execute(db).await.map_err(failed)?;
        let about = format!("{name}, {}, for the rule {}/{}", role.as_str(), new.provider.name, new.rule.name);
        notes.did(Deed::Made, Noun::Caller, id, &about);
        return Ok((id, Opened::Now));
    };
    if made_for.is_none() {
        known.has_role(role)?;
        return served(&known).map(|id| (id, Opened::Now));
    }
    let own: Option<String> = query_scalar("SELECT made_for FROM callers WHERE id = ?")
        .bind(known.id.to_bytes())
        .fetch_one(&mut *db)
        .await
        .map_err(failed)?;
    if own != made_for {
        let said = format!("the caller `{name}` was not made for this rule, so no token of it becomes that caller");
        return Err(Error::new(Kind::AlreadyExists(Noun::Caller), said));
    }
    if known.role != role {
        let sql = "UPDATE callers SET role = ? WHERE id = ?";
        query(sql).bind(role.as_str()).bind(known.id.to_bytes()).execute(db).await.map_err(failed)?;
        notes.did(Deed::Changed, Noun::Caller, known.id, &format!("{name}, {}", role.as_str()));
    }
    let opened = if known.role == role { Opened::Now } else { Opened::WithAnotherRole };
    served(&known).map(|id| (id, opened))
}

fn served(known: &valetkey_core::caller::CallerRecord) -> Result<CallerId, Error> {
    match known.standing {
        CallerStanding::Active => Ok(known.id),
        CallerStanding::Suspended | CallerStanding::Removed => known.standing.served().map(|()| known.id),
    }
}
