//! Just-in-time access: who may ask for what, who approves it, and what was asked. What is approved becomes a grant with an end, so that
//! policy decides here as everywhere.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::ask::Target;
use crate::caller::{Caller, Role};
use crate::claims::Identity;
use crate::error::{Error, Kind, Noun};
use crate::field::{Attribute, Field};
use crate::grant::{Grant, Grantee, Origin};
use crate::group::Group;
use crate::id::{AccountId, CallerId, GrantId, GroupId, RequestId, RequestRuleId, StorageId, TokenId};
use crate::name::{Name, redacted};
use crate::scope::{Path, Paths, Scope};
use crate::storage::Storage;
use crate::word::words;

/// The most rules: all are read for each request.
pub const MOST_RULES: usize = 1000;
/// The longest time that a rule gives: what is needed for longer than a month is a grant.
pub const MOST_SECS: u32 = 30 * 86_400;
/// The shortest: what is over before it is used is no use.
pub const LEAST_SECS: u32 = 60;
/// How long a request waits for an answer: whoever has not looked in a day decides about something else than what was meant.
pub const WAITS: SignedDuration = SignedDuration::from_hours(24);
/// The most requests of one caller that wait: each is read by people.
pub const MOST_WAITING: usize = 20;
/// The most requests of one caller in a day, whatever becomes of them: each is a row, and an event for everyone who listens.
pub const MOST_A_DAY: usize = 100;
/// How long a caller's requests are kept when it makes others: longer than any grant of one lives. The ledger keeps them as long as itself.
pub const KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);
/// The most bytes of a reason, and of a note: a few sentences.
pub const MOST_WORDS: usize = 500;

/// Places that are named in one sentence.
const NAMED: usize = 5;

/// What a scope opens, as people read it in a chat.
fn said(scope: &Scope) -> String {
    let bucket = scope.bucket();
    let place = |path: Path| {
        let text = String::from_utf8_lossy(path.bytes()).escape_debug().to_string();
        let after = match path {
            Path::Directory(_) => "/",
            Path::Prefix(_) => "*",
            Path::Object(_) => "",
        };
        format!("s3://{bucket}/{text}{after}")
    };
    let places = match scope.paths() {
        Paths::Whole => format!("s3://{bucket}/"),
        Paths::Only(set) => {
            let named: Vec<String> = set.iter().take(NAMED).map(place).collect();
            let more = set.len().saturating_sub(NAMED);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            format!("{}{more}", named.join(", "))
        }
    };
    format!("{} in {places}", scope.actions())
}

/// Who may ask for what, and who approves it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestRule {
    /// Its id.
    pub id: RequestRuleId,
    /// Its name, unique on this server.
    pub name: Name,
    /// Whose callers may ask; nothing for those of every account.
    pub account: Option<AccountId>,
    /// Which of them.
    pub askers: Grantee,
    /// The most that may be asked for.
    pub scope: Scope,
    /// The longest that it may be asked for, in seconds.
    pub most_secs: u32,
    /// Who approves it.
    pub approvers: GroupId,
    /// Rises with each change, so that none is lost.
    pub version: u64,
    /// When it was made.
    pub made: Timestamp,
}

impl RequestRule {
    /// Refuses a rule that means nothing.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check(&self) -> Result<(), Error> {
        if self.account.is_none() && self.askers != Grantee::Everyone {
            let said = "a rule for the callers of every account names none of them";
            return Err(Error::new(Kind::Invalid, said).at(Attribute::Askers));
        }
        if !(LEAST_SECS..=MOST_SECS).contains(&self.most_secs) {
            let said = format!("the longest time of a rule is {LEAST_SECS} to {MOST_SECS} seconds");
            return Err(Error::new(Kind::Invalid, said).at(Attribute::MaxSecs));
        }
        Ok(())
    }

    /// Whether it is for a caller that is in the group which it names, if it names one.
    pub fn is_for(&self, account: AccountId, caller: CallerId, in_group: bool) -> bool {
        self.account.is_none_or(|own| own == account)
            && match self.askers {
                Grantee::Everyone => true,
                Grantee::Caller(own) => own == caller,
                Grantee::Group(_) => in_group,
            }
    }

    /// The group that it names of those who may ask.
    pub const fn asking_group(&self) -> Option<GroupId> {
        match self.askers {
            Grantee::Group(group) => Some(group),
            Grantee::Everyone | Grantee::Caller(_) => None,
        }
    }

    /// Refuses what is wider or longer than the rule.
    ///
    /// # Errors
    /// `Forbidden`, or `Invalid` for a time that is too long.
    pub fn covers(&self, scope: &Scope, secs: u32) -> Result<(), Error> {
        if !self.scope.covers_scope(scope) {
            let said = format!("what is asked for does not lie wholly inside the request rule `{}`", self.name);
            return Err(Error::new(Kind::Forbidden, said));
        }
        if secs > self.most_secs {
            let said = format!("the request rule `{}` gives at most {} seconds", self.name, self.most_secs);
            return Err(Error::new(Kind::Invalid, said).at(Attribute::ForSecs));
        }
        Ok(())
    }

    /// What is said of it where it is put on record.
    pub fn about(&self) -> String {
        let Self { name, scope, most_secs, approvers, .. } = self;
        format!("{name}: {} for at most {most_secs} s, approved by {approvers}", said(scope))
    }
}

/// Of the rules that are for somebody, the one that what is asked for lies in: the named one, or the first by name.
///
/// # Errors
/// `Forbidden` where there is none; `Invalid` where only the time is too long.
pub fn rule_for<'r>(
    own: &[&'r RequestRule],
    named: Option<&Name>,
    scope: &Scope,
    secs: u32,
) -> Result<&'r RequestRule, Error> {
    if let Some(name) = named {
        let rule = own.iter().find(|rule| rule.name == *name);
        let rule = *rule.ok_or_else(|| Error::not_found(Noun::RequestRule).at(Attribute::Rule))?;
        return rule.covers(scope, secs).map(|()| rule);
    }
    let mut refused: Option<Error> = None;
    for rule in own {
        match rule.covers(scope, secs) {
            Ok(()) => return Ok(rule),
            Err(error) if error.kind() == Kind::Invalid => drop(refused.get_or_insert(error)),
            Err(_) => {}
        }
    }
    Err(refused.unwrap_or_else(|| {
        let said = "what is asked for does not lie wholly inside any request rule that lets you ask";
        Error::new(Kind::Forbidden, said)
    }))
}

words! {
    /// How a request was decided.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum Decision {
        /// A grant was made of it.
        Approved => "approved",
        /// An approver refused it.
        Denied => "denied",
        /// Who asked took it back, or its rule was removed.
        Cancelled => "cancelled",
    }
}

words! {
    /// How a request stands.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum State {
        /// It waits for an approver.
        Pending => "pending",
        /// A grant was made of it.
        Approved => "approved",
        /// An approver refused it.
        Denied => "denied",
        /// Who asked took it back, or its rule was removed.
        Cancelled => "cancelled",
        /// Nobody decided it in time.
        Expired => "expired",
    }
}

/// What became of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decided {
    /// What.
    pub how: Decision,
    /// When.
    pub at: Timestamp,
    /// By whom; nobody where its rule was removed.
    pub by: Option<CallerId>,
    /// What they said.
    pub note: Box<str>,
    /// The grant that was made of it.
    pub grant: Option<GrantId>,
}

/// A request for access.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccessRequest {
    /// Its id.
    pub id: RequestId,
    /// The account of who asks.
    pub account: AccountId,
    /// Who asks.
    pub caller: CallerId,
    /// With which token; nothing is known of requests from before that was kept.
    pub token: Option<TokenId>,
    /// What that is known by, if it is a session: the identity provider and the subject.
    pub known_as: Option<Box<str>>,
    /// The rule that it was made under, which may be gone.
    pub rule: RequestRuleId,
    /// The storage of the bucket.
    pub storage: StorageId,
    /// What is asked for.
    pub scope: Scope,
    /// For how long from its approval, in seconds.
    pub secs: u32,
    /// Why.
    pub reason: Box<str>,
    /// When it was made.
    pub made: Timestamp,
    /// What became of it.
    pub decided: Option<Decided>,
}

/// A request to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewRequest {
    /// What is asked for.
    pub scope: Scope,
    /// For how long, in seconds.
    pub secs: u32,
    /// Why.
    pub reason: Box<str>,
    /// The rule to ask under; the first that it lies in if none is named.
    pub rule: Option<Name>,
}

/// Words of people: neither empty, nor what a terminal or a chat would obey or turn around, nor a secret of ours.
///
/// # Errors
/// `Invalid`.
pub fn words_of(text: &str, field: Attribute) -> Result<Box<str>, Error> {
    let turns =
        |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    let text = text.trim();
    if text.is_empty() || text.len() > MOST_WORDS || text.chars().any(|c| c.is_control() || turns(c)) {
        let field_name = field.as_str();
        let said = format!("`{field_name}` has 1 to {MOST_WORDS} bytes, and no control or formatting characters");
        return Err(Error::new(Kind::Invalid, said).at(field));
    }
    Ok(redacted(text).into())
}

impl NewRequest {
    /// Refuses what no credential could have: more paths than one carries, and a time that is too short.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check(&self, storage: &Storage) -> Result<(), Error> {
        let (bucket, paths) = (self.scope.bucket().clone(), self.scope.paths().clone());
        Target::Place { bucket, paths }.bounded()?;
        if self.secs < storage.min_lifetime.as_secs() {
            let said = format!(
                "no credential of the storage `{}` lives shorter than {}: ask for at least that",
                storage.name, storage.min_lifetime
            );
            return Err(Error::new(Kind::Invalid, said).at(Attribute::ForSecs));
        }
        Ok(())
    }

    /// The request, once it has an id.
    pub fn stored(
        self,
        id: RequestId,
        by: &Caller,
        rule: &RequestRule,
        storage: StorageId,
        now: Timestamp,
    ) -> AccessRequest {
        let Self { scope, secs, reason, rule: _ } = self;
        let (account, caller, token, rule) = (by.account, by.id, Some(by.token), rule.id);
        AccessRequest {
            id,
            account,
            caller,
            token,
            known_as: None,
            rule,
            storage,
            scope,
            secs,
            reason,
            made: now,
            decided: None,
        }
    }
}

/// Refuses one request more of a caller, of whom so many wait and so many were made in the last day.
///
/// # Errors
/// `RateLimited`.
pub fn check_count(waiting: usize, in_a_day: usize) -> Result<(), Error> {
    if waiting >= MOST_WAITING {
        let said = format!("{MOST_WAITING} of your requests wait for an answer already: cancel one, or wait for it");
        return Err(Error::new(Kind::RateLimited, said));
    }
    if in_a_day >= MOST_A_DAY {
        return Err(Error::new(Kind::RateLimited, format!("a caller makes at most {MOST_A_DAY} requests in a day")));
    }
    Ok(())
}

impl AccessRequest {
    /// When nobody can decide it any more.
    pub fn waits_until(&self) -> Timestamp {
        self.made.checked_add(WAITS).unwrap_or(Timestamp::MAX)
    }

    /// How it stands.
    pub fn state(&self, now: Timestamp) -> State {
        match &self.decided {
            Some(decided) => match decided.how {
                Decision::Approved => State::Approved,
                Decision::Denied => State::Denied,
                Decision::Cancelled => State::Cancelled,
            },
            None if self.waits_until() <= now => State::Expired,
            None => State::Pending,
        }
    }

    /// Refuses to decide it, or to decide it so. `rule` is the one it was made under, `approves` whether who decides is one of its
    /// approvers at this moment.
    ///
    /// # Errors
    /// `Forbidden` for who may not, `Invalid` for what is decided or too late.
    pub fn check(
        &self,
        how: Decision,
        by: (CallerId, Role),
        rule: Option<(&RequestRule, bool)>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let state = self.state(now);
        if state != State::Pending {
            let said = format!("the request is {} already, and a request is decided once", state.as_str());
            return Err(Error::new(Kind::Invalid, said).at(Attribute::Request));
        }
        let own = by.0 == self.caller;
        let refuse = |said: &'static str| Err(Error::new(Kind::Forbidden, said));
        match how {
            Decision::Cancelled if own || by.1 == Role::Operator => Ok(()),
            Decision::Cancelled => refuse("only who made a request, or an operator, cancels it"),
            Decision::Approved | Decision::Denied if own => {
                refuse("nobody approves or denies their own request; it may be cancelled")
            }
            Decision::Approved | Decision::Denied => {
                let Some((rule, true)) = rule else {
                    return refuse("only a member of the group that the request's rule names decides it");
                };
                // It may have become narrower since.
                if how == Decision::Approved { rule.covers(&self.scope, self.secs) } else { Ok(()) }
            }
        }
    }

    /// The grant that an approval makes: what was asked for, exactly, and no longer.
    ///
    /// # Errors
    /// `Internal`.
    pub fn grant(&self, id: GrantId, storage: &Storage, now: Timestamp) -> Result<Grant, Error> {
        let until = now.checked_add(SignedDuration::from_secs(i64::from(self.secs)));
        Ok(Grant {
            id,
            // An id is no name, so that neither is taken for the other.
            name: Name::parse(&self.id.to_string().replace('_', "-"))?,
            account: self.account,
            to: Grantee::Caller(self.caller),
            storage: self.storage,
            origin: Origin::Request(self.id),
            scope: self.scope.clone().into(),
            max_lifetime: storage.max_lifetime,
            from: None,
            until: Some(
                until.map_err(|_| Error::new(Kind::Invalid, "the grant would not end").at(Attribute::ForSecs))?,
            ),
            conditions: None,
        })
    }

    /// The same of its decision.
    pub fn about_decision(&self) -> String {
        let (grant, note) = match &self.decided {
            Some(Decided { grant, note, .. }) => (*grant, &**note),
            None => (None, ""),
        };
        let grant = grant.map_or_else(String::new, |grant| format!(", {grant}"));
        let note = if note.is_empty() { String::new() } else { format!("; {note}") };
        format!("{}{grant}{note}", self.about())
    }

    /// What is said of it where it is put on record.
    pub fn about(&self) -> String {
        let Self { caller, scope, secs, reason, .. } = self;
        format!("{caller} for {secs} s: {}: {reason}", said(scope))
    }
}

impl Group {
    /// Whether a caller is a member, by name or by what one of these identity tokens of it claims.
    pub fn has(&self, account: AccountId, caller: CallerId, identities: &[Arc<Identity>]) -> bool {
        self.account == account
            && (self.members.contains(&caller) || identities.iter().any(|identity| self.admits(identity)))
    }
}

/// Whose requests are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    /// All.
    Everybodys,
    /// Those of an account.
    Account(AccountId),
    /// Those of a caller.
    Caller(CallerId),
    /// Those made under a rule.
    Rule(RequestRuleId),
}

/// Which requests to list, the newest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestFilter {
    /// Whose.
    pub whose: Whose,
    /// Only those that stand so.
    pub state: Option<State>,
    /// Now.
    pub now: Timestamp,
    /// Only those made before this one: the last of the page before.
    pub before: Option<RequestId>,
    /// At most so many.
    pub limit: u32,
}

/// What was asked for.
#[async_trait]
pub trait Requests: Send + Sync {
    /// Every rule, in order of their names.
    async fn request_rules(&self) -> Result<Vec<RequestRule>, Error>;
    /// A request by its id.
    async fn access_request(&self, id: RequestId) -> Result<Option<AccessRequest>, Error>;
    /// A page of requests.
    async fn access_requests(&self, filter: &RequestFilter) -> Result<Vec<AccessRequest>, Error>;
}

/// Makes requests and decides them. Who asks is in the group that the rule names, and who decides in that of the approvers, when it is
/// written down: what was known before does not count.
#[async_trait]
pub trait RequestAdmin: Requests {
    /// Adds a rule: its id, version and time are set here.
    async fn create_request_rule(&self, new: RequestRule, now: Timestamp) -> Result<RequestRule, Error>;
    /// Makes a request.
    async fn ask_access(&self, new: NewRequest, by: &Caller, now: Timestamp) -> Result<AccessRequest, Error>;
    /// Decides a request. Approved, its grant is there when this returns.
    async fn decide_request(
        &self,
        id: RequestId,
        how: Decision,
        note: Box<str>,
        by: &Caller,
        now: Timestamp,
    ) -> Result<AccessRequest, Error>;
}

/// The refusal of a request whose storage is another one by now, or gone.
pub fn moved() -> Error {
    Error::new(Kind::Invalid, "the bucket is not where it was when this was asked for").at(Field::Bucket)
}
