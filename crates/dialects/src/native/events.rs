//! What happened, for other systems to collect: `/audit/events`, and the same events as the server sends them to where its settings say.
//! The names are those of the Open Cybersecurity Schema Framework (OCSF 1.6), <https://schema.ocsf.io>.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};
use valetkey_core::Error;
use valetkey_core::audit::{Author, Change};
use valetkey_core::id::{AccountId, CallerId};
use valetkey_core::lease::Lease;
use valetkey_core::nouns::registry::Catalog;
use valetkey_core::nouns::trail::{Cursor, Event, Opened, Refused, What};
use valetkey_core::nouns::usage::ObjectRequest;
use valetkey_core::scope::Action;

use super::error::Problem;
use super::lists;
use super::scopes::RightsResponse;
use super::state::Native;
use crate::edge::{Call, Reply};

/// Names that are remembered between events: each is some hundred bytes, and asked for again at most.
const NAMES: usize = 10_000;

/// The paths of a lease that its event has; of more, the others are counted, and `lease show` has them.
const PATHS: usize = 100;

/// How the S3 endpoint's refusals are called among those of the APIs.
const S3: &str = "s3";

/// So many refusals of what a caller's key does not open, in a minute, are an alert.
const BURST: u64 = 100;

/// The version of the schema.
const OCSF: &str = "1.6.0";

/// A class of events, and what was done.
#[derive(Clone, Copy)]
struct Class {
    uid: u32,
    name: &'static str,
    activity: u32,
    activity_name: &'static str,
}

impl Class {
    const ASSIGNED: Self = Self::of(3003, "Authorize Session", 1, "Assign Privileges");
    const OTHER: Self = Self::of(3003, "Authorize Session", 99, "Other");
    const REVOKED: Self = Self::of(3005, "User Access Management", 2, "Revoke Privileges");
    const OBJECT: Self = Self::of(6003, "API Activity", 99, "Other");
    const UNTOLD: Self = Self::of(0, "Base Event", 99, "Other");

    const fn of(uid: u32, name: &'static str, activity: u32, activity_name: &'static str) -> Self {
        Self { uid, name, activity, activity_name }
    }

    /// What an operation of S3 does.
    fn of_operation(operation: &str) -> Self {
        let (activity, activity_name) = match operation {
            "CreateMultipartUpload" | "UploadPart" | "UploadPartCopy" | "CopyObject" | "CompleteMultipartUpload" => {
                (1, "Create")
            }
            _ if operation.starts_with("Get") || operation.starts_with("Head") || operation.starts_with("List") => {
                (2, "Read")
            }
            _ if operation.starts_with("Put") => (3, "Update"),
            _ if operation.starts_with("Delete") || operation.starts_with("Abort") => (4, "Delete"),
            _ => return Self::OBJECT,
        };
        Self { activity, activity_name, ..Self::OBJECT }
    }

    const fn managed(activity: u32, activity_name: &'static str) -> Self {
        Self::of(3004, "Entity Management", activity, activity_name)
    }

    /// What a change is, by its deed.
    fn of_change(deed: &str) -> Self {
        match deed {
            "made" => Self::managed(1, "Create"),
            "changed" | "approved" | "denied" | "cancelled" => Self::managed(3, "Update"),
            "removed" => Self::managed(4, "Delete"),
            "suspended" => Self::managed(12, "Suspend"),
            "activated" => Self::managed(13, "Resume"),
            "ended" => Self::REVOKED,
            _ => Self::managed(99, "Other"),
        }
    }
}

/// Puts events into words, with the names behind their ids.
pub struct Teller {
    catalog: Arc<dyn Catalog>,
    callers: HashMap<CallerId, (Option<String>, Option<AccountId>)>,
    accounts: HashMap<AccountId, Option<String>>,
}

impl Teller {
    /// Looks names up there.
    pub fn new(catalog: Arc<dyn Catalog>) -> Self {
        Self { catalog, callers: HashMap::new(), accounts: HashMap::new() }
    }

    /// An event as JSON.
    ///
    /// # Errors
    /// `Unavailable` where names cannot be looked up.
    pub async fn tell(&mut self, event: &Event) -> Result<Value, Error> {
        let (class, code, more) = match &event.what {
            What::Opened(opened) => (Class::ASSIGNED, "lease.opened", self.opened(opened).await?),
            What::Issued(lease, trace) => {
                let (key, request) = (&trace.key_id, trace.request_id.as_deref());
                let session = json!({ "uid": lease.to_string(), "expiration_time": millis(trace.expiration) });
                let more =
                    json!({ "session": session, "unmapped": { "store_key_id": key, "store_request_id": request } });
                (Class::OTHER, "lease.issued", more)
            }
            What::Voided { lease, account, kind } => {
                let user = json!({ "account": self.account(*account).await? });
                let more = json!({ "session": { "uid": lease.to_string() }, "user": user, "status_code": kind });
                (Class::ASSIGNED, "lease.void", more)
            }
            What::Ended { noun, id, by } => {
                let actor = json!({ "user": self.user(*by).await? });
                (
                    Class::REVOKED,
                    "credentials.ended",
                    json!({ "actor": actor, "resources": [thing(&noun.to_string(), id)] }),
                )
            }
            What::Changed(change) => (Class::of_change(&change.deed), "registry.changed", self.changed(change).await?),
            What::Refused(refused) => {
                let code = if refused.dialect.as_ref() == S3 { "object.refused" } else { "ask.refused" };
                (Class::ASSIGNED, code, self.refused(refused, event.at).await?)
            }
            What::Missing { from, to } => {
                let message =
                    "pages of the ledger are not there any more, or cannot be read; what was in them is missing here";
                (
                    Class::UNTOLD,
                    "ledger.missing",
                    json!({ "message": message, "unmapped": { "pages": { "from": from, "to": to } } }),
                )
            }
        };
        Ok(whole(event, class, code, more))
    }

    async fn opened(&mut self, opened: &Opened) -> Result<Value, Error> {
        let Opened { lease, from, asked_with, narrowed_from } = opened;
        let Lease { id, account: _, caller, token, storage, rights, grants, dialect, credits, opened, until } = lease;
        let user = self.user(*caller).await?;
        let shown = shortened(json!(RightsResponse::of(rights)));
        let actor = json!({ "user": &user, "session": { "uid": asked_with.unwrap_or(*token).to_string() } });
        let mut unmapped = json!({
            "dialect": dialect,
            "grants": grants.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "storage": storage.to_string(),
            "token": token.to_string(),
            "credits": credits,
        });
        if let (Some(unmapped), false) = (unmapped.as_object_mut(), narrowed_from.is_empty()) {
            let before: Vec<Value> = narrowed_from.iter().map(|lease| lease.to_string().into()).collect();
            unmapped.insert("narrowed_from".to_owned(), before.into());
        }
        Ok(json!({
            "user": user,
            "actor": actor,
            "session": { "uid": id.to_string(), "created_time": millis(*opened), "expiration_time": millis(*until) },
            "privileges": rights.actions().iter().map(Action::as_str).collect::<Vec<_>>(),
            "resources": [{ "type": "bucket", "name": rights.bucket().as_str(), "data": shown }],
            "src_endpoint": from.map(|from| json!({ "ip": from })),
            "unmapped": unmapped,
        }))
    }

    async fn changed(&mut self, change: &Change) -> Result<Value, Error> {
        let Change { place: _, at: _, by: Author { token, caller, from, client: _ }, deed, noun, id, about } = change;
        let user = match caller {
            Some(caller) => self.user(*caller).await?,
            // A command on the server's machine, or the server by itself.
            None => json!({ "name": "server", "type": "System", "type_id": 3 }),
        };
        let session = token.map(|token| json!({ "uid": token.to_string() }));
        let thing = thing(noun, id);
        let (resources, entity) = if &**deed == "ended" { (Some([thing]), None) } else { (None, Some(thing)) };
        Ok(json!({
            "actor": { "user": user, "session": session },
            "src_endpoint": from.map(|from| json!({ "ip": from })),
            "comment": about,
            "resources": resources,
            "entity": entity,
            "unmapped": { "done": deed },
        }))
    }

    async fn refused(&mut self, refused: &Refused, at: Timestamp) -> Result<Value, Error> {
        let Refused { account, caller, from, dialect, kind, count } = refused;
        let user = match (caller, account) {
            (Some(caller), _) => self.user(*caller).await?,
            (None, Some(account)) => json!({ "account": self.account(*account).await? }),
            (None, None) => json!({ "type": "Unknown", "type_id": 0 }),
        };
        Ok(json!({
            "user": user,
            "status_code": kind,
            "count": count,
            "start_time": millis(at),
            "end_time": millis(at) + 60_000,
            "src_endpoint": from.map(|from| json!({ "ip": from })),
            "unmapped": match alert(refused) {
                Some(alert) => json!({ "dialect": dialect, "alert": alert }),
                None => json!({ "dialect": dialect }),
            },
        }))
    }

    /// A request to the S3 endpoint as JSON.
    ///
    /// # Errors
    /// `Unavailable` where names cannot be looked up.
    pub async fn requested(&mut self, request: &ObjectRequest) -> Result<Value, Error> {
        let ObjectRequest { id, at, took_ms, origin, from, operation, bucket, key, status, traffic } = request;
        let lease = origin.lease.map(|lease| json!({ "uid": lease.to_string() }));
        let object = json!({ "type": if key.is_some() { "object" } else { "bucket" }, "name": bucket, "data": key.as_ref().map(|key| json!({ "key": key })) });
        let more = json!({
            "actor": { "user": self.user(origin.caller).await?, "session": lease },
            "api": { "operation": operation, "service": { "name": S3 } },
            "resources": [object],
            "src_endpoint": from.map(|from| json!({ "ip": from })),
            "status_code": status.to_string(),
            "duration": took_ms,
            "traffic": { "bytes_in": traffic.bytes_in, "bytes_out": traffic.bytes_out },
            "unmapped": { "token": origin.token.to_string(), "storage": origin.storage.to_string() },
        });
        let failed = !(200..400).contains(status);
        Ok(framed((id, *at), Class::of_operation(operation), "object.requested", (failed, INFORMATIONAL), more))
    }

    /// Whose name it is, as an OCSF user.
    async fn user(&mut self, id: CallerId) -> Result<Value, Error> {
        if self.callers.len() >= NAMES {
            self.callers.clear();
        }
        let (name, account) = if let Some(known) = self.callers.get(&id) {
            known.clone()
        } else {
            let found = self.catalog.caller_by_id(id).await?;
            let known = (found.as_ref().map(|found| found.name.to_string()), found.map(|found| found.account));
            self.callers.insert(id, known.clone());
            known
        };
        let account = match account {
            Some(account) => Some(self.account(account).await?),
            None => None,
        };
        Ok(json!({ "uid": id.to_string(), "name": name, "account": account }))
    }

    async fn account(&mut self, id: AccountId) -> Result<Value, Error> {
        if self.accounts.len() >= NAMES {
            self.accounts.clear();
        }
        let name = if let Some(known) = self.accounts.get(&id) {
            known.clone()
        } else {
            let name = self.catalog.account_by_id(id).await?.map(|found| found.name.to_string());
            self.accounts.insert(id, name.clone());
            name
        };
        Ok(json!({ "uid": id.to_string(), "name": name }))
    }
}

/// A scope with some of its paths.
fn shortened(mut scope: Value) -> Value {
    let (mut left, mut more) = (PATHS, 0);
    let mut cut = |part: &mut Value| {
        for kind in ["prefixes", "objects", "raw_prefixes"] {
            if let Some(Value::Array(paths)) = part.get_mut(kind) {
                more += paths.len().saturating_sub(left);
                paths.truncate(left);
                left -= paths.len();
            }
        }
    };
    match scope.get_mut("parts") {
        Some(Value::Array(parts)) => parts.iter_mut().for_each(cut),
        Some(_) | None => cut(&mut scope),
    }
    if let Value::Object(scope) = &mut scope
        && more > 0
    {
        scope.insert("paths_left_out".to_owned(), json!(more));
    }
    scope
}

fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

fn thing(noun: &str, id: &str) -> Value {
    json!({ "type": noun, "uid": id })
}

/// An event with what all of them have.
const INFORMATIONAL: (u32, &str) = (1, "Informational");

/// What is worth an alert of refusals, in a word.
fn alert(refused: &Refused) -> Option<&'static str> {
    match (refused.dialect.as_ref(), refused.kind.as_ref()) {
        (S3, "token_unknown") => Some("token_of_another_key"),
        (S3, "token_revoked") => Some("revoked_key_in_use"),
        (S3, "forbidden") if refused.count >= BURST => Some("out_of_scope_burst"),
        _ => None,
    }
}

fn whole(event: &Event, class: Class, code: &str, more: Value) -> Value {
    let failed = matches!(event.what, What::Voided { .. } | What::Refused(_));
    let severity = match &event.what {
        What::Missing { .. } => (4, "High"),
        What::Refused(refused) if alert(refused).is_some() => (3, "Medium"),
        What::Refused(_) => (2, "Low"),
        What::Opened(_) | What::Issued(..) | What::Voided { .. } | What::Ended { .. } | What::Changed(_) => {
            INFORMATIONAL
        }
    };
    framed((&event.id, event.at), class, code, (failed, severity), more)
}

fn framed(
    (id, at): (&str, Timestamp),
    class: Class,
    code: &str,
    (failed, (severity, severity_name)): (bool, (u32, &str)),
    more: Value,
) -> Value {
    let Class { uid, name, activity, activity_name } = class;
    let (category, category_name) = match uid {
        0 => (0, "Uncategorized"),
        6003 => (6, "Application Activity"),
        _ => (3, "Identity & Access Management"),
    };
    let mut all = json!({
        "metadata": {
            "version": OCSF,
            "uid": id,
            "event_code": code,
            "product": { "name": "Valetkey", "vendor_name": "Valetkey", "version": env!("CARGO_PKG_VERSION") },
        },
        "time": millis(at),
        "class_uid": uid,
        "class_name": name,
        "category_uid": category,
        "category_name": category_name,
        "activity_id": activity,
        "activity_name": activity_name,
        "type_uid": uid * 100 + activity,
        "severity_id": severity,
        "severity": severity_name,
        "status_id": if failed { 2 } else { 1 },
        "status": if failed { "Failure" } else { "Success" },
    });
    if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
        all.extend(more);
        without_nulls(all);
    }
    all
}

/// What is not known is left out.
fn without_nulls(object: &mut Map<String, Value>) {
    object.retain(|_, value| !value.is_null());
    for value in object.values_mut() {
        if let Value::Object(inner) = value {
            without_nulls(inner);
        }
    }
}

/// What may be asked of events.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters, which are read one by one")]
pub(super) struct EventQuery {
    /// Where to go on: `next` of the answer before. Without it from the first event that is kept; `now`: none that happened before.
    after: Option<String>,
    /// About this many events: 1 to 10000, 1000 unless given; fewer if they have long paths. Where several servers share a database, at least one of each.
    limit: Option<u32>,
}

/// Events, in the order in which each server recorded them.
#[derive(Serialize, ToSchema)]
pub(super) struct EventPage {
    /// Each as OCSF describes it; `metadata.uid` is its own, `metadata.event_code` says what it is.
    #[schema(value_type = Vec<Object>)]
    events: Vec<Value>,
    /// The `after` of the next question, also if there are none now.
    next: String,
    /// Whether there are more now; otherwise ask again in a second.
    more: bool,
}

/// Events that are put into words before others have their turn on a thread: less than a millisecond.
const AT_ONCE: usize = 32;

/// Tells what happened since an earlier answer: leases, refusals, what was ended and what was changed. For operators, planners and auditors.
#[utoipa::path(get, operation_id = "list_events", path = "/api/v1/audit/events", tag = "ledger", params(EventQuery), responses(
    (status = 200, description = "Events", body = EventPage),
    (status = "4XX", description = "A refusal", body = Problem<'static>, content_type = "application/problem+json"),
))]
pub(super) async fn list(native: Arc<Native>, call: Call) -> Result<Reply, Error> {
    let limit = lists::size(&call.query)?;
    let after = match call.query.get("after") {
        None => Cursor::default(),
        Some("now") => native.shared.trail.latest().await?,
        Some(text) => text.parse()?,
    };
    // Few pages are put into words at once, so that who follows with many readers takes no turn of others.
    let place = native.shared.heavy.enter(call.caller.account).await?;
    let told = place.in_time(native.shared.trail.events(&after, limit)).await?;
    let mut teller = Teller::new(native.shared.registry.catalog());
    let mut events = Vec::with_capacity(told.events.len());
    for some in told.events.chunks(AT_ONCE) {
        for event in some {
            events.push(place.in_time(teller.tell(event)).await?);
        }
        tokio::task::yield_now().await;
    }
    let page = EventPage { events, next: told.next.to_string(), more: told.more };
    place.work(move |_| Reply::json(&page)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_deed_has_its_activity() {
        use valetkey_core::audit::Deed;
        use valetkey_core::word::Word as _;
        for deed in Deed::WORDS {
            assert_ne!(Class::of_change(deed).activity, 99, "{deed}");
        }
    }

    #[test]
    fn an_event_has_some_paths_and_the_number_of_the_others() {
        let names = |many: usize| (0..many).map(|number| number.to_string()).collect::<Vec<_>>();
        let scope =
            json!({ "prefixes": names(60), "objects": names(60), "raw_prefixes": names(7), "whole_bucket": false });
        let short = shortened(scope);
        let counts = ["prefixes", "objects", "raw_prefixes"].map(|kind| short[kind].as_array().unwrap().len());
        assert_eq!((counts, &short["paths_left_out"]), ([60, 40, 0], &json!(27)));
        let few = json!({ "prefixes": names(100), "objects": [], "raw_prefixes": [], "whole_bucket": false });
        assert_eq!(shortened(few.clone()), few);
        // Of several parts together.
        let part =
            |many| json!({ "prefixes": names(many), "objects": [], "raw_prefixes": [], "actions": ["get-object"] });
        let short = shortened(json!({ "bucket": "lake", "parts": [part(60), part(60)] }));
        let counts = [0, 1].map(|at: usize| short["parts"][at]["prefixes"].as_array().unwrap().len());
        assert_eq!((counts, &short["paths_left_out"]), ([60, 40], &json!(20)));
    }
}
