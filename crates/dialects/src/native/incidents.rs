//! `POST /api/v1/incidents`: something leaked. Whose it is, what it opens, what ends with it, and what still works until when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::caller::Role;
use valetkey_core::error::Noun;
use valetkey_core::id::{AccountId, CallerId, LeaseId, StorageId, TokenId};
use valetkey_core::keyring::parse_access_key_id;
use valetkey_core::lease::{LeaseRecord, LeaseState, Revocation, Revoker};
use valetkey_core::nouns::package::Digest;
use valetkey_core::nouns::parent::{Child, SessionToken};
use valetkey_core::nouns::registry::{LeaseFilter, Outliving, TokenRecord};
use valetkey_core::{Error, Kind};

use super::api::incidents::IncidentRequest;
use super::ended::{StillTaken, still_taken};
use super::ending::{Doomed, Extent, LastOperator};
use super::error::Problem;
use super::leases::{LeaseResponse, Names};
use super::state::Native;
use super::tokens::TokenResponse;
use super::{authz, wire};
use crate::edge::{Authority, Call, Reply, json};

/// The most leases that are shown; all of them end.
const MOST_SHOWN: usize = 500;
/// Leases read at once.
const PAGE: u32 = 1000;
/// Hand-outs of one credential of a storage that are looked for: more than a cache gives out in the longest life there is.
const EVERY: u32 = 100_000;
/// More than any credential has.
const MOST_BYTES: usize = 16 * 1024;

/// What something that leaked is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum LeakedKind {
    /// A token.
    Token,
    /// A parent access key.
    ParentKey,
    /// A credential that was signed with a parent access key.
    SignedCredential,
    /// A credential that our own endpoint takes.
    Credential,
    /// A credential of an external storage.
    StoreCredential,
}

/// Whose it is: the token it is or came of.
#[derive(Serialize, ToSchema)]
pub(super) struct OwnerOfLeak {
    /// The account's name.
    account_name: Option<String>,
    #[serde(flatten)]
    token: TokenResponse,
}

/// How much was ended, or would be.
#[derive(Clone, Copy, Default, Serialize, ToSchema)]
pub(super) struct EndedCounts {
    /// Tokens that were good until now: it, and what it made.
    tokens: u64,
    /// Live leases.
    leases: u64,
    /// Links to download a profile that it made and that were not used; not counted where nothing is ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<u64>,
}

/// Something that still vends after all that was ended.
#[derive(Serialize, ToSchema)]
pub(super) struct StillWorks {
    /// What, in words.
    what: String,
    /// Until when; nothing if until it is ended.
    until: Option<String>,
    /// What ends it sooner, as a command line.
    command: Option<String>,
}

/// What is known of something that leaked, and what was done about it.
#[derive(Serialize, ToSchema)]
pub(super) struct IncidentResponse {
    /// What it is.
    kind: LeakedKind,
    /// Whether this only says what would be done.
    dry_run: bool,
    /// Whose it is. A credential of a storage may have been vended to several.
    whose: Vec<OwnerOfLeak>,
    /// The live leases that end: what could be reached with it; at most 500.
    leases: Vec<LeaseResponse>,
    /// How many more of them there are.
    unlisted: u64,
    /// The tokens that end: it, those that it made, and those that they made.
    tokens: Vec<TokenResponse>,
    /// How much that is.
    ended: EndedCounts,
    /// What still vends.
    still_works: Vec<StillWorks>,
}

/// What was found.
enum Leaked {
    Token(Box<TokenRecord>, LeakedKind),
    Signed(Box<TokenRecord>, Box<Child>),
    Leases(Vec<LeaseRecord>, LeakedKind),
}

/// Live leases, some of them to be shown, and which storages take their credentials on whatever is ended here.
#[derive(Default)]
struct Tally {
    shown: Vec<LeaseRecord>,
    count: u64,
    outliving: BTreeMap<StorageId, Outliving>,
}

impl Tally {
    fn add(&mut self, record: LeaseRecord, now: Timestamp) {
        self.count += 1;
        if let Some(trace) = record.trace.as_ref().filter(|trace| trace.expiration > now) {
            let storage = record.lease.storage;
            let none = Outliving { storage, key_ids: Vec::new(), leases: 0, until: trace.expiration };
            let row = self.outliving.entry(storage).or_insert(none);
            row.leases += 1;
            row.until = row.until.max(trace.expiration);
        }
        if self.shown.len() < MOST_SHOWN {
            self.shown.push(record);
        }
    }
}

fn is_live(record: &LeaseRecord, now: Timestamp) -> bool {
    match record.state {
        LeaseState::Live => now < record.lease.until,
        LeaseState::Revoked(_) | LeaseState::Void => false,
    }
}

/// Says whose something that leaked is and what it opens, and ends it with what it made: a member its own, an admin its
/// account's, an operator anybody's.
#[utoipa::path(post, operation_id = "handle_incident", path = "/api/v1/incidents", tag = "leases", request_body = IncidentRequest, responses(
    (status = 200, description = "What is known of it, and what was done", body = IncidentResponse),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn handle(native: Arc<Native>, call: Call, authority: Authority) -> Result<Reply, Error> {
    let IncidentRequest { what, dry_run, last_operator } = json(&call.body)?;
    let (dry_run, last) = (dry_run.unwrap_or(false), LastOperator::of(last_operator));
    let what = what.trim();
    let inside = presigned(what)?;
    let shown = match native.leaked(&call, inside.as_deref().unwrap_or(what)).await? {
        Leaked::Token(record, kind) => {
            native.end_leaked_token((&call, authority), *record, kind, dry_run, last).await?
        }
        Leaked::Signed(record, child) => native.end_leaked_child((&call, authority), *record, &child, dry_run).await?,
        Leaked::Leases(records, kind) => native.end_leaked_leases((&call, authority), records, kind, dry_run).await?,
    };
    Reply::json(&shown)
}

/// What proves who asks in a URL that was signed beforehand: the access key id, or where there is none the signature or the token
/// itself, as its storage knows it. Nothing if it is no URL.
///
/// SECURITY: nothing of the URL is repeated.
fn presigned(text: &str) -> Result<Option<String>, Error> {
    let invalid = |said: &'static str| Error::new(Kind::Invalid, said).at("what");
    if !text.starts_with("https://") && !text.starts_with("http://") {
        return Ok(None);
    }
    let query = text.split_once('?').map_or("", |(_, rest)| rest.split('#').next().unwrap_or_default());
    let plain = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8()
            .map(std::borrow::Cow::into_owned)
            .map_err(|_| invalid("this is a URL whose query cannot be decoded"))
    };
    let find = |wanted: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| plain(value)).next().transpose()
    };
    for name in ["X-Amz-Credential", "X-Goog-Credential"] {
        if let Some(credential) = find(name)? {
            let id = credential.split('/').next().unwrap_or_default().to_owned();
            // A key that a parent's holder signed has the parent's id: the token says which one it is.
            if valetkey_core::id::TokenId::from_hex(&id).is_some()
                && let Some(token) = find("X-Amz-Security-Token")?
            {
                return Ok(Some(token));
            }
            return Ok(Some(id));
        }
    }
    if let Some(id) = find("AWSAccessKeyId")?.or(find("GoogleAccessId")?) {
        return Ok(Some(id));
    }
    if find("sig")?.is_some() {
        return Ok(Some(query.to_owned()));
    }
    match find("access_token")? {
        Some(token) => Ok(Some(token)),
        None => Err(invalid("this is a URL with no access key id, signature or token in it")),
    }
}

impl Native {
    /// Finds out what it is. SECURITY: it is never repeated, not even in a refusal.
    async fn leaked(&self, call: &Call, text: &str) -> Result<Leaked, Error> {
        if text.is_empty() || text.len() > MOST_BYTES {
            return Err(Error::new(Kind::Invalid, format!("`what` has 1 to {MOST_BYTES} bytes")).at("what"));
        }
        let at = |error: Error| error.at("what");
        if text.starts_with("vkt_") {
            let record = self.token_named(call, text).await.map_err(at)?;
            let kind = self.kind_of(call, &record).await?;
            return Ok(Leaked::Token(Box::new(record), kind));
        }
        if let Some(id) = text.parse::<TokenId>().ok().or_else(|| TokenId::from_hex(text)) {
            let record = self.token(call, id).await.map_err(at)?;
            let kind = self.kind_of(call, &record).await?;
            return Ok(Leaked::Token(Box::new(record), kind));
        }
        let own = text.parse::<LeaseId>().ok().or_else(|| parse_access_key_id(text).map(|(_, lease)| lease));
        if let Some(lease) = own {
            let record = self.lease(call, lease).await.map_err(at)?;
            let kind = if record.trace.is_some() { LeakedKind::StoreCredential } else { LeakedKind::Credential };
            return Ok(Leaked::Leases(vec![record], kind));
        }
        // Whichever version it is of (`core/keyring.rs`).
        if text
            .strip_prefix("vks")
            .is_some_and(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with('.'))
        {
            let said = "this is a session token: give the access key id that goes with it, `VK…`";
            return Err(Error::new(Kind::Invalid, said).at("what"));
        }
        if let Some(signed) = self.signed(call, text).await? {
            return Ok(signed);
        }
        // Credentials without an id are known by their digest.
        let digest = Digest::of(text.trim_start_matches('?').as_bytes());
        for name in [text.to_owned(), digest.to_string()] {
            let found = self.shared.registry.leases_of_key(&name, EVERY).await?;
            let seen = |record: &LeaseRecord| authz::may_see(&call.caller, record.lease.account, record.lease.caller);
            let records: Vec<LeaseRecord> = found.into_iter().filter(seen).collect();
            if !records.is_empty() {
                return Ok(Leaked::Leases(records, LeakedKind::StoreCredential));
            }
        }
        let said = "nothing here is known by that; it takes a token (`vkt_…`), an access key id (`VK…`, or a parent's or a storage's own), or a storage's signature or token itself";
        Err(Error::new(Kind::NotFound(Noun::Lease), said).at("what"))
    }

    /// A session token that was signed with a parent access key which the caller may know of.
    async fn signed(&self, call: &Call, text: &str) -> Result<Option<Leaked>, Error> {
        let Ok(token) = SessionToken::read(text) else { return Ok(None) };
        let Some(parent) = token.unverified_parent() else { return Ok(None) };
        let record = self.token(call, parent).await.map_err(|error| error.at("what"))?;
        let Some(parent) = self.shared.parents.parent(record.id, call.now).await? else {
            let said = "the parent access key that signed this has ended, and all that was signed with it";
            return Err(Error::new(Kind::Invalid, said).at("what"));
        };
        let child = token.verify(&parent.secret);
        let child = child.map_err(|why| Error::new(Kind::Invalid, why.to_string()).at("what"))?;
        Ok(Some(Leaked::Signed(Box::new(record), Box::new(child))))
    }

    async fn kind_of(&self, call: &Call, record: &TokenRecord) -> Result<LeakedKind, Error> {
        match self.parent_key(call, &record.id.to_string(), "what").await {
            Ok(_) => Ok(LeakedKind::ParentKey),
            Err(error) if matches!(error.kind(), Kind::NotFound(_)) => Ok(LeakedKind::Token),
            Err(error) => Err(error),
        }
    }

    /// The live leases of tokens, whosever they are.
    async fn live_leases(&self, call: &Call, tokens: &[TokenRecord]) -> Result<Tally, Error> {
        let ids: BTreeSet<TokenId> = tokens.iter().map(|record| record.id).collect();
        let callers: BTreeSet<(AccountId, CallerId)> = tokens.iter().map(|one| (one.account, one.caller)).collect();
        let mut tally = Tally::default();
        let live = LeaseFilter { live_at: Some(call.now), limit: PAGE, ..LeaseFilter::default() };
        for (account, caller) in callers {
            let filter = LeaseFilter { account: Some(account), caller: Some(caller), ..live };
            self.tally(&mut tally, call, filter, |record| ids.contains(&record.lease.token)).await?;
        }
        // What they asked for on behalf of others.
        for id in &ids {
            let filter = LeaseFilter { asked_with: Some(*id), ..live };
            let more = |record: &LeaseRecord| !ids.contains(&record.lease.token);
            self.tally(&mut tally, call, filter, more).await?;
        }
        Ok(tally)
    }

    /// Adds the leases of a filter that are wanted, page by page.
    async fn tally(
        &self,
        tally: &mut Tally,
        call: &Call,
        mut filter: LeaseFilter<'_>,
        mut wanted: impl FnMut(&LeaseRecord) -> bool,
    ) -> Result<(), Error> {
        loop {
            let page = self.shared.registry.leases(&filter).await?;
            let full = u32::try_from(page.len()).is_ok_and(|count| count >= filter.limit);
            filter.before = page.last().map(|record| record.lease.id);
            for record in page.into_iter().filter(|record| wanted(record)) {
                tally.add(record, call.now);
            }
            if !full {
                return Ok(());
            }
        }
    }

    async fn end_leaked_token(
        &self,
        (call, authority): (&Call, Authority),
        record: TokenRecord,
        kind: LeakedKind,
        dry_run: bool,
        last: LastOperator,
    ) -> Result<IncidentResponse, Error> {
        // Whoever may not end it is not told what it could do.
        let last = if dry_run { LastOperator::MayGo } else { last };
        let doomed = self.doomed(call, vec![record.clone()], Extent::WithMade, last).await?;
        let tally = self.live_leases(call, &doomed.tokens).await?;
        let others = self.others_of(call, &doomed).await?;
        let mut tokens: Vec<TokenRecord> = doomed.tokens.iter().filter(|one| one.revoked.is_none()).cloned().collect();
        let mut ended = EndedCounts { tokens: count(tokens.len()), leases: tally.count, links: None };
        let mut still_works = Vec::new();
        let by = authority.by();
        if dry_run {
            still_works.extend(self.taken_on(&tally).await?);
        } else {
            let done = doomed.end(self, authority).await?;
            ended = EndedCounts { tokens: count(done.tokens.len()), leases: done.leases, links: Some(done.links) };
            for token in &mut tokens {
                token.revoked = Some(call.now);
            }
            still_works.extend(still_taken(self, by).await?.iter().map(StillWorks::taken));
        }
        still_works.extend(others);
        still_works.extend(StillWorks::changed_with(call.caller.role, &record));
        let revoked = record.revoked.or((!dry_run).then_some(call.now));
        let whose = vec![self.owner(call, TokenRecord { revoked, ..record }).await?];
        let (leases, unlisted) = self.shown(call, tally, (!dry_run).then_some(by)).await?;
        let tokens = tokens.iter().map(TokenResponse::of).collect();
        Ok(IncidentResponse { kind, dry_run, whose, leases, unlisted, tokens, ended, still_works })
    }

    async fn end_leaked_child(
        &self,
        (call, authority): (&Call, Authority),
        record: TokenRecord,
        child: &Child,
        dry_run: bool,
    ) -> Result<IncidentResponse, Error> {
        authz::not_above(&call.caller, record.role)?;
        if !dry_run {
            let by = authority.by();
            self.shared.registry.parents_by(authority).end_child(child, by).await?;
        }
        let leases = u64::from(child.until > call.now);
        let key = record.id.as_hex();
        let still_works = vec![StillWorks {
            what: format!("the parent access key {key} that signed it, and whatever else it signs"),
            until: record.until.map(wire::at),
            command: Some(format!("valetkey parent-key disable {key}")),
        }];
        Ok(IncidentResponse {
            kind: LeakedKind::SignedCredential,
            dry_run,
            whose: vec![self.owner(call, record).await?],
            leases: Vec::new(),
            unlisted: leases,
            tokens: Vec::new(),
            ended: EndedCounts { leases, ..EndedCounts::default() },
            still_works,
        })
    }

    async fn end_leaked_leases(
        &self,
        (call, authority): (&Call, Authority),
        records: Vec<LeaseRecord>,
        kind: LeakedKind,
        dry_run: bool,
    ) -> Result<IncidentResponse, Error> {
        let by = authority.by();
        let mut tally = Tally::default();
        let (mut owners, mut taken) = (BTreeMap::new(), Tally::default());
        let mut all = Vec::with_capacity(records.len());
        for record in records {
            let key_ids: Vec<_> = record.trace.iter().map(|trace| trace.key_id.clone()).collect();
            all.push((record.lease.id, record.lease.storage, key_ids));
            if let Some(token) = self.shared.registry.token_by_id(record.lease.token).await? {
                owners.insert(token.id, token);
            }
            // Said of those, too, that were ended before.
            taken.add(record.clone(), call.now);
            if is_live(&record, call.now) {
                tally.add(record, call.now);
            }
        }
        let mut ended = EndedCounts { leases: tally.count, ..EndedCounts::default() };
        if !dry_run {
            ended.leases = 0;
            let mut first = Ok(());
            for (lease, storage, key_ids) in all {
                match self.shared.registry.by(authority).revoke(Revocation::Lease(lease), by).await {
                    Ok(count) => ended.leases += count,
                    Err(error) => first = first.and(Err(error)),
                }
                first = first.and(self.stores.forget(storage, &key_ids).await);
            }
            first?;
        }
        let mut still_works = self.taken_on(&taken).await?;
        let mut whose = Vec::new();
        for token in owners.into_values() {
            if token.is_live(call.now) {
                still_works.push(StillWorks {
                    what: format!("the token {} of {} still vends", token.id, self.named(call, &token).await?),
                    until: token.until.map(wire::at),
                    command: Some(format!("valetkey token revoke {}", token.id)),
                });
            }
            whose.push(self.owner(call, token).await?);
        }
        let (leases, unlisted) = self.shown(call, tally, (!dry_run).then_some(by)).await?;
        Ok(IncidentResponse { kind, dry_run, whose, leases, unlisted, tokens: Vec::new(), ended, still_works })
    }

    /// What the storages that someone else runs take on.
    async fn taken_on(&self, tally: &Tally) -> Result<Vec<StillWorks>, Error> {
        let storages = self.shared.registry.storages().await?;
        let rows = tally.outliving.values().filter_map(|row| StillTaken::of(&storages, row));
        Ok(rows.map(|row| StillWorks::taken(&row)).collect())
    }

    /// Other tokens of the callers whose tokens end.
    async fn others_of(&self, call: &Call, doomed: &Doomed) -> Result<Vec<StillWorks>, Error> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        for record in doomed.tokens.iter().filter(|record| seen.insert(record.caller)) {
            let all = self.shared.registry.tokens(Some(record.account)).await?;
            let stays = |one: &&TokenRecord| {
                one.caller == record.caller
                    && one.is_live(call.now)
                    && doomed.tokens.iter().all(|ended| ended.id != one.id)
            };
            let others: Vec<&TokenRecord> = all.iter().filter(stays).collect();
            if others.is_empty() {
                continue;
            }
            let name = self.named(call, record).await?;
            let until =
                others.iter().map(|one| one.until).collect::<Option<Vec<_>>>().and_then(|ends| ends.into_iter().max());
            found.push(StillWorks {
                what: format!("{} other tokens of {name}", others.len()),
                until: until.map(wire::at),
                command: Some(format!("valetkey token revoke --caller {name}")),
            });
        }
        Ok(found)
    }

    /// A token's caller as the command line takes it.
    async fn named(&self, call: &Call, token: &TokenRecord) -> Result<String, Error> {
        let snapshot = self.shared.vending.directory.account(token.account, call.now).await?;
        Ok(format!("{}/{}", snapshot.account().name, token.caller_name))
    }

    async fn owner(&self, call: &Call, token: TokenRecord) -> Result<OwnerOfLeak, Error> {
        let snapshot = self.shared.vending.directory.account(token.account, call.now).await?;
        Ok(OwnerOfLeak { account_name: Some(snapshot.account().name.to_string()), token: TokenResponse::of(&token) })
    }

    async fn shown(
        &self,
        call: &Call,
        tally: Tally,
        ended: Option<Revoker>,
    ) -> Result<(Vec<LeaseResponse>, u64), Error> {
        let Tally { shown: mut records, count: all, outliving: _ } = tally;
        if let Some(by) = ended {
            for record in &mut records {
                record.state = LeaseState::Revoked(by);
            }
        }
        let names = Names::of(self, &records).await?;
        let leases: Vec<LeaseResponse> =
            records.iter().map(|record| LeaseResponse::of(record, &names, call.now)).collect();
        let unlisted = all.saturating_sub(count(leases.len()));
        Ok((leases, unlisted))
    }
}

impl StillWorks {
    fn taken(row: &StillTaken) -> Self {
        let StillTaken { storage, leases, until, revocation } = row;
        Self {
            what: format!("the storage {storage} takes credentials of {leases} ended leases"),
            until: Some(until.clone()),
            command: (*revocation == "minutes").then(|| format!("valetkey storage end-credentials {storage}")),
        }
    }

    /// What nobody undoes by ending a token, among it the ways that its holder may have made for others; and, for who sees that, what
    /// lists it.
    fn changed_with(asks: Role, record: &TokenRecord) -> Option<Self> {
        let what = match record.role {
            Role::Member | Role::Auditor | Role::Planner => return None,
            Role::Admin => "what its holder changed: callers of its account, profiles it had replaced",
            Role::Operator => {
                "what its holder changed: accounts, callers, groups, storages, buckets, datasets, grants, shares, workspaces, \
                 identity providers, trust rules, request rules, policy sets, signing keys"
            }
        };
        let command = match asks {
            Role::Operator => Some(format!("valetkey audit --all --since {}", wire::at(record.made))),
            Role::Admin | Role::Member | Role::Auditor | Role::Planner => None,
        };
        Some(Self { what: what.to_owned(), until: None, command })
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
