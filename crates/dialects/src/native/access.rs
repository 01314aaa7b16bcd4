//! Effective access: `GET /api/v1/access` says who can do something to a place, and what a caller can reach.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::caller::CallerRecord;
use valetkey_core::claims::Identity;
use valetkey_core::conditions::{Conditions, Facts};
use valetkey_core::error::Noun;
use valetkey_core::grant::Grantee;
use valetkey_core::id::{AccountId, CallerId, ShareId};
use valetkey_core::name::{Name, shortened};
use valetkey_core::nouns::reach::{Answer, Extent, Place, Question};
use valetkey_core::scope::{Action, Actions};
use valetkey_core::snapshot::Snapshot;
use valetkey_core::{Error, Kind};

use super::error::Problem;
use super::requests::Requested;
use super::scopes::{ScopeResponse, action};
use super::state::Native;
use super::{lists, wire};
use crate::edge::{Call, Query, Reply};

/// What one grant lets someone do.
#[derive(Serialize, ToSchema)]
pub(super) struct AccessRow {
    /// The account's id.
    account: String,
    /// The account's name.
    account_name: String,
    /// The caller's name, or `group:NAME`; nothing for everyone of the account.
    caller: Option<String>,
    /// The caller's id; nothing for a group and for everyone of the account.
    caller_id: Option<String>,
    /// The grant's name.
    grant: String,
    /// The grant's id.
    grant_id: String,
    /// The share, if the grant is one's: then only a client of Delta Sharing gets in, through that share.
    share: Option<String>,
    /// The request that the grant was made of, and who approved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Requested>,
    #[serde(flatten)]
    scope: ScopeResponse,
    /// How much of the place that was asked about the grant opens: `all`, or `part` of what is below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    covers: Option<&'static str>,
    /// It opens nothing before.
    from: Option<String>,
    /// It opens nothing from then on.
    until: Option<String>,
    /// What has to hold besides, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<String>,
}

/// Effective access, grant by grant.
#[derive(Serialize, ToSchema)]
pub(super) struct AccessList {
    /// In the order of accounts, and of grants' names in each.
    access: Vec<AccessRow>,
    /// The time that it is about.
    at: String,
    /// What to send as `after` for the next page; nothing when there is none.
    next_after: Option<String>,
}

/// The form of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Csv,
}

/// Lists who can do something to a place, and what a caller can reach: each row is a grant that lets them. A member sees its own
/// access, an admin its account's, an operator everybody's. What a grant asks for besides is said beside it; hours are compared with the time. A caller is in groups by what its newest 1000 live sessions claim. Whom the server does not serve (suspended) has none.
#[utoipa::path(get, operation_id = "list_access", path = "/api/v1/access", tag = "explain", params(
    ("action" = Option<String>, Query, description = "Only who can do this: `read`, `write`, `delete`, `list`, or one action by name"),
    ("place" = Option<String>, Query, description = "Only there: `s3://bucket/key`; with a slash at its end all that is below; a bucket alone is all of it"),
    ("caller" = Option<String>, Query, description = "Only what this caller can (id, `account/name`, or name in the account)"),
    ("account" = Option<String>, Query, description = "Only callers of this account (name or id)"),
    ("at" = Option<String>, Query, description = "At this time (RFC 3339), by the grants there are now; now if not given"),
    ("after" = Option<String>, Query, description = "The `next_after` of the page before"),
    ("limit" = Option<u32>, Query, description = "1 to 10000; 1000 if not given. A page may be shorter though there are more"),
    ("format" = Option<String>, Query, description = "`json` (if not given) or `csv`; the next page's `after` is then in the header `Next-After`"),
), responses(
    (status = 200, description = "The access", body = AccessList),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn list(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let query = &call.query;
    let (limit, form) = (lists::size(query)?, form(query)?);
    let place = query.get("place").map(|text| Place::parse(text).map_err(|error| error.at("place"))).transpose()?;
    let at = query.get("at").map_or(Ok(call.now), |text| wire::instant(text, "at"))?;
    let actions = query.get("action").map(wanted).transpose()?;
    let caller = native.caller_of_list(&call, query.get("account"), query.get("caller")).await?;
    let account = match &caller {
        Some(caller) => Some(caller.account),
        None => native.listed(&call, query.get("account")).await?,
    };
    let sessions = match &caller {
        Some(caller) => native.shared.identities.live_identities(caller.id, call.now).await?,
        None => Vec::new(),
    };
    let (id, name) = (caller.as_ref().map(|known| known.id), caller.as_ref().map(|known| known.name.clone()));
    let asked = Asked { actions, place, caller: id, name, sessions, at };
    let is_placed = asked.place.is_some();
    let served = caller.as_ref().is_none_or(|caller| caller.standing.served().is_ok());
    let accounts = if served { native.accounts_in_order(account).await? } else { Vec::new() };
    let found = native.answers(&call, asked, accounts, lists::after(query)?, limit).await?;
    let (found, more) = lists::page(found, limit);
    let last = found.last().filter(|_| more).map(|(_, answer)| &answer.grant);
    let next_after = last.map(|grant| lists::place(grant.account, &grant.name));
    let access = native.rows(&call, found, is_placed).await?;
    let (account, rows) = (call.caller.account, access.len() * ROWS);
    match form {
        Form::Json => {
            let answer = AccessList { access, at: wire::at(at), next_after };
            native.shared.heavy.weigh(account, rows, move || Reply::json(&answer)).await
        }
        Form::Csv => {
            let table = native.shared.heavy.weigh(account, rows, move || csv(&access)).await?;
            let reply = Reply::written(table, "text/csv; charset=utf-8");
            let Some(next) = next_after else { return Ok(reply) };
            let next = HeaderValue::try_from(next).map_err(|_| Error::internal("a place in a list is no header"))?;
            Ok(reply.header(HeaderName::from_static("next-after"), next))
        }
    }
}

fn form(query: &Query) -> Result<Form, Error> {
    match query.get("format") {
        None | Some("json") => Ok(Form::Json),
        Some("csv") => Ok(Form::Csv),
        Some(other) => {
            let said = format!("`{}` is not a format; they are `json` and `csv`", shortened(other));
            Err(Error::new(Kind::Invalid, said).at("format"))
        }
    }
}

fn wanted(text: &str) -> Result<Actions, Error> {
    let one = match text {
        "read" => Action::GetObject,
        "write" => Action::PutObject,
        "delete" => Action::DeleteObject,
        "list" => Action::ListBucket,
        name => action(name, "action")?,
    };
    Ok(Actions::of(&[one]))
}

/// What is asked, to be taken to another thread.
struct Asked {
    actions: Option<Actions>,
    place: Option<Place>,
    caller: Option<CallerId>,
    name: Option<Name>,
    sessions: Vec<Arc<Identity>>,
    at: Timestamp,
}

impl Asked {
    fn answers(&self, snapshot: &Snapshot, after: Option<&Name>, most: usize) -> Vec<Answer> {
        let Self { actions, place, caller, name, sessions, at } = self;
        let (place, name, facts) = (place.as_ref(), name.as_ref(), Facts::default());
        let (actions, caller, at) = (*actions, *caller, *at);
        let question = Question { actions, place, caller, name, sessions, identity: None, facts, at };
        question.answers(snapshot, after).take(most).collect()
    }
}

/// A row is as much work as so many grants that are looked at.
const ROWS: usize = 10;

/// A grant that answers, with its account's name and how much it opens.
type Found = (Name, Answer);

impl Native {
    async fn accounts_in_order(&self, account: Option<AccountId>) -> Result<Vec<AccountId>, Error> {
        if let Some(account) = account {
            return Ok(vec![account]);
        }
        let mut all: Vec<AccountId> = self.shared.registry.accounts().await?.iter().map(|account| account.id).collect();
        all.sort_unstable();
        Ok(all)
    }

    /// The answers of these accounts after a place, one more than the limit if there are so many.
    async fn answers(
        &self,
        call: &Call,
        asked: Asked,
        accounts: Vec<AccountId>,
        after: Option<(AccountId, &str)>,
        limit: u32,
    ) -> Result<Vec<Found>, Error> {
        let asked = Arc::new(asked);
        let most = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1);
        let mut found = Vec::new();
        for account in accounts {
            let name = match after {
                Some((before, _)) if account < before => continue,
                Some((same, name)) if account == same => Some(Name::parse(name).map_err(|error| error.at("after"))?),
                Some(_) | None => None,
            };
            let snapshot = match self.shared.vending.directory.account(account, call.now).await {
                Ok(snapshot) => snapshot,
                // It was removed since the list was read.
                Err(error) if error.kind() == Kind::NotFound(Noun::Account) => continue,
                Err(error) => return Err(error),
            };
            let (question, known, left) = (Arc::clone(&asked), Arc::clone(&snapshot), most - found.len());
            let work = move || Ok(question.answers(&known, name.as_ref(), left));
            let own = self.shared.heavy.weigh(call.caller.account, snapshot.size(), work).await?;
            found.extend(own.into_iter().map(|answer| (snapshot.account().name.clone(), answer)));
            if found.len() == most {
                break;
            }
        }
        Ok(found)
    }

    /// The rows of what was found, without callers that are not served.
    async fn rows(&self, call: &Call, found: Vec<Found>, placed: bool) -> Result<Vec<AccessRow>, Error> {
        let mut callers: HashMap<CallerId, CallerRecord> = HashMap::new();
        for (_, Answer { grant, .. }) in &found {
            if let Grantee::Caller(id) = grant.to
                && !callers.contains_key(&id)
            {
                callers.extend(self.shared.registry.caller_by_id(id).await?.map(|known| (id, known)));
            }
        }
        let names = lists::Names::default().with_groups(self, call, found.iter().map(|(_, one)| &one.grant)).await?;
        let by_share = found.iter().any(|(_, one)| one.grant.origin.share().is_some());
        let shares = if by_share { self.shared.shares.shares().await? } else { Vec::new() };
        let shares: HashMap<ShareId, String> =
            shares.into_iter().map(|share| (share.id, share.name.to_string())).collect();
        let requested = self.requested(found.iter().map(|(_, one)| &one.grant)).await?;
        let row = move |(account, Answer { grant, extent, only }): &Found| {
            let caller = match grant.to {
                Grantee::Everyone | Grantee::Group(_) => None,
                Grantee::Caller(id) => Some(callers.get(&id).filter(|known| known.standing.served().is_ok())?),
            };
            let covers = match extent {
                Extent::All => "all",
                Extent::Part => "part",
            };
            let conditions = grant.conditions.as_deref().map(Conditions::said);
            Some(AccessRow {
                account: grant.account.to_string(),
                account_name: account.to_string(),
                caller: match grant.to {
                    Grantee::Group(id) => Some(format!("group:{}", names.group(id).unwrap_or_else(|| id.to_string()))),
                    Grantee::Everyone | Grantee::Caller(_) => caller.map(|known| known.name.to_string()),
                },
                caller_id: caller.map(|known| known.id.to_string()),
                grant: grant.name.to_string(),
                grant_id: grant.id.to_string(),
                share: grant.origin.share().map(|id| shares.get(&id).cloned().unwrap_or_else(|| id.to_string())),
                request: grant.origin.request().and_then(|id| requested.get(&id).cloned()),
                scope: ScopeResponse::of_grant(&grant.scope),
                covers: placed.then_some(covers),
                from: grant.from.map(wire::at),
                until: grant.until.map(wire::at),
                conditions: only.iter().cloned().chain(conditions.into_iter().flatten()).collect(),
            })
        };
        let rows = found.len();
        let work = move || Ok(found.iter().filter_map(row).collect());
        self.shared.heavy.weigh(call.caller.account, rows * ROWS, work).await
    }
}

/// A cell that no program for tables takes for a formula: keys and names are others' words.
fn cell(text: &str) -> std::borrow::Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}").into() } else { text.into() }
}

/// A row for each path that a grant opens, so that no cell is a list of keys, which may hold whatever separates them.
fn csv(rows: &[AccessRow]) -> Result<Vec<u8>, Error> {
    let broken = |error: csv::Error| Error::internal("a table could not be written").caused_by(error);
    let mut table = csv::Writer::from_writer(Vec::new());
    table
        .write_record([
            "account",
            "caller",
            "grant",
            "share",
            "bucket",
            "opens",
            "path",
            "actions",
            "covers",
            "from",
            "until",
            "conditions",
            "request",
            "approved_by",
        ])
        .map_err(broken)?;
    for row in rows {
        let actions = row.scope.actions().join(" ");
        for (kind, path) in row.scope.paths() {
            let or = |value: &Option<String>| value.clone().unwrap_or_default();
            let caller = row.caller.as_deref().unwrap_or("*");
            let (request, approved_by) = Requested::cells(row.request.as_ref());
            let cells = [
                row.account_name.as_str(),
                caller,
                &row.grant,
                &or(&row.share),
                row.scope.bucket(),
                kind,
                path,
                &actions,
                row.covers.unwrap_or_default(),
                &or(&row.from),
                &or(&row.until),
                &row.conditions.join("; "),
                &request,
                &approved_by,
            ];
            table.write_record(cells.map(|text| cell(text).into_owned())).map_err(broken)?;
        }
    }
    table.into_inner().map_err(|_| Error::internal("a table could not be written"))
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn no_cell_is_a_formula() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(cell(text), format!("'{text}"));
        }
        for text in ["", "daily", "a=b", "2026-01-01T00:00:00Z", "*"] {
            assert_eq!(cell(text), text);
        }
    }
}
