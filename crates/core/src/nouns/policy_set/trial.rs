//! Tests of a policy: what callers can do and what not, asked of the rules that decide.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::ask::{Ask, Asked, GrantRef, Target, Wanted};
use crate::caller::{Caller, CallerRecord};
use crate::claims::Identity;
use crate::conditions::Facts;
use crate::grant::{Grant, Grantee};
use crate::group::Group;
use crate::id::{AccountId, CallerId, GrantId, GroupId, TokenId};
use crate::name::Name;
use crate::nouns::policy_set::state::State;
use crate::nouns::reach::{Answer, Extent, Keys, Place, Question};
use crate::nouns::removal::Thing;
use crate::policy;
use crate::scope::{Action, Actions, Path, Paths};
use crate::snapshot::Snapshot;
use crate::storage::{Shape, Storage};
use crate::time::Lifetime;

/// Something that someone can or cannot do.
#[derive(Clone, Debug)]
pub struct Wish {
    /// What.
    pub action: Action,
    /// Where.
    pub place: Place,
    /// As it was written.
    pub text: Box<str>,
}

/// A caller, by its account's name and its own.
pub type Who = (Name, Name);

/// What a test expects.
#[derive(Clone, Debug)]
pub enum Expected {
    /// One caller can do all of the former, and nothing of the latter.
    As {
        /// Who.
        who: Who,
        /// All of each.
        can: Vec<Wish>,
        /// Nothing of any.
        cannot: Vec<Wish>,
    },
    /// Nobody can do any of it but these.
    Nobody {
        /// Who may.
        except: Vec<Who>,
        /// Which groups' members by claim may.
        groups: Vec<Who>,
        /// What.
        can: Vec<Wish>,
    },
    /// What a caller is given.
    Vend {
        /// Who.
        who: Who,
        /// Of which grant.
        grant: Name,
        /// For how long.
        lifetime: Lifetime,
        /// How long it lives.
        lives: Option<Lifetime>,
        /// What it opens.
        paths: Option<Paths>,
    },
}

/// What a test says of a request, besides who asks and when. What it does not say is not known: then a condition on it does not hold for what
/// someone `can`, and may hold for what someone `cannot` and nobody can.
#[derive(Clone, Default, Debug)]
pub struct Known {
    /// The client's address.
    pub from: Option<IpAddr>,
    /// What the identity token claims.
    pub identity: Option<Arc<Identity>>,
    /// What the client calls its session.
    pub session_name: Option<Box<str>>,
    /// What the client shows.
    pub external_id: Option<Box<str>>,
}

impl Known {
    fn facts(&self) -> Facts<'_> {
        let Self { from, identity: _, session_name, external_id } = self;
        Facts { from: *from, session_name: session_name.as_deref(), external_id: external_id.as_deref() }
    }

    fn question<'a>(&'a self, wish: &'a Wish, caller: Option<&'a Caller>, at: Timestamp) -> Question<'a> {
        Question {
            actions: Some(Actions::of(&[wish.action])),
            place: Some(&wish.place),
            caller: caller.map(|caller| caller.id),
            name: caller.map(|caller| &caller.name),
            sessions: self.identity.as_slice(),
            identity: self.identity.as_deref(),
            facts: self.facts(),
            at,
        }
    }
}

/// A test.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Where it is written.
    pub source: Box<str>,
    /// When it is asked.
    pub at: Timestamp,
    /// What else is known of who asks.
    pub known: Known,
    /// What it expects.
    pub expected: Expected,
}

/// What a test found to be otherwise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failed {
    /// The test.
    pub source: Box<str>,
    /// What is otherwise, and by which grant.
    pub said: String,
}

/// What is known of a request, and when it is made.
type When<'a> = (&'a Known, Timestamp);

struct Court<'a> {
    state: &'a State,
    storages: &'a [Arc<Storage>],
    snapshots: BTreeMap<AccountId, Arc<Snapshot>>,
    touched: BTreeSet<GrantId>,
}

/// What came of tests.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Verdicts {
    /// Those that do not hold.
    pub failed: Vec<Failed>,
    /// The grants by which someone `can`, or is given, what a test says.
    pub touched: BTreeSet<GrantId>,
}

impl Verdicts {
    /// The grants of a set that no test would miss, each with where it is written.
    pub fn untouched(&self, state: &State, owner: &Name) -> Vec<(String, Box<str>)> {
        let own = state.managed.iter().filter(|(_, known)| known.owner == *owner);
        let untouched = own.filter(|(thing, _)| matches!(thing, Thing::Grant(id) if !self.touched.contains(id)));
        untouched.filter_map(|(thing, known)| Some((state.address(thing)?, known.source.clone()))).collect()
    }
}

/// Runs tests against a state; nothing where all hold.
pub fn run(state: &State, storages: &[Arc<Storage>], trials: &[Trial]) -> Vec<Failed> {
    judge(state, storages, trials).failed
}

/// Runs tests against a state, and says which grants they are about.
pub fn judge(state: &State, storages: &[Arc<Storage>], trials: &[Trial]) -> Verdicts {
    let mut court = Court { state, storages, snapshots: BTreeMap::new(), touched: BTreeSet::new() };
    let mut failed = Vec::new();
    for Trial { source, at, known, expected } in trials {
        let when = (known, *at);
        let found = match expected {
            Expected::As { who, can, cannot } => court.one(who, can, cannot, when),
            Expected::Nobody { except, groups, can } => court.nobody(except, groups, can, when),
            Expected::Vend { who, grant, lifetime, lives, paths } => {
                court.vend(who, grant, *lifetime, (*lives, paths.as_ref()), when)
            }
        };
        failed.extend(found.into_iter().map(|said| Failed { source: source.clone(), said }));
    }
    Verdicts { failed, touched: court.touched }
}

impl Court<'_> {
    fn snapshot(&mut self, account: AccountId) -> Option<Arc<Snapshot>> {
        if let Some(known) = self.snapshots.get(&account) {
            return Some(Arc::clone(known));
        }
        let own = self.state.accounts.get(&account)?.clone();
        let grants = self.state.grants.values().filter(|grant| grant.account == account).cloned();
        let snapshot = Snapshot::new(own, self.storages.iter().cloned(), grants, Timestamp::UNIX_EPOCH);
        let snapshot = Arc::new(snapshot.with_groups(self.state.groups.values().cloned()));
        self.snapshots.insert(account, Arc::clone(&snapshot));
        Some(snapshot)
    }

    fn caller(&self, (account, name): &Who, known: &Known) -> Result<Caller, String> {
        let of = self.state.account_named(account).map(|account| account.id);
        let found = self.state.callers.values().find(|known| Some(known.account) == of && known.name == *name);
        let Some(CallerRecord { id, account: of, name, role, standing }) = found.cloned() else {
            return Err(format!("there is no caller `{account}/{name}`"));
        };
        standing.served().map_err(|error| format!("`{account}/{name}`: {error}"))?;
        let token = TokenId::from_bytes([0; 16]);
        Ok(Caller {
            id,
            account: of,
            name,
            role,
            token,
            token_until: None,
            held: None,
            identity: known.identity.clone(),
            as_of: 0,
        })
    }

    /// A grant, and where it is written.
    fn told(&self, grant: &Grant) -> String {
        match self.state.managed.get(&Thing::Grant(grant.id)).filter(|known| !known.source.is_empty()) {
            Some(known) => format!("the grant `{}` ({})", grant.name, known.source),
            None => format!("the grant `{}`", grant.name),
        }
    }

    fn one(&mut self, who: &Who, can: &[Wish], cannot: &[Wish], when: When<'_>) -> Vec<String> {
        let (known, at) = when;
        let caller = match self.caller(who, known) {
            Ok(caller) => caller,
            Err(said) => return vec![said],
        };
        let Some(snapshot) = self.snapshot(caller.account) else { return vec!["its account is not here".to_owned()] };
        let name = format!("{}/{}", who.0, who.1);
        let mut failed = Vec::new();
        for wish in can {
            match (open(&snapshot, &caller, wish, when, &mut self.touched), refusal(&snapshot, &caller, wish, when)) {
                (open, None) if open.contains_all(&wish.place.keys()) => {}
                (open, _) if open.contains_all(&wish.place.keys()) && wish.place.key().is_none() => {}
                (_, said) => {
                    let why = said.map(|said| format!(": {said}")).unwrap_or_default();
                    failed.push(format!("{name} cannot {}{why}", wish.text));
                }
            }
        }
        for wish in cannot {
            let question = known.question(wish, Some(&caller), at);
            let found = question.answers(&snapshot, None).find(|answer| answer.grant.origin.share().is_none());
            let decided = wish.place.key().is_some() && refusal(&snapshot, &caller, wish, when).is_none();
            match found {
                Some(answer) => failed.push(format!("{name} can {}, by {}", wish.text, self.told(&answer.grant))),
                None if decided => failed.push(format!("{name} can {}", wish.text)),
                None => {}
            }
        }
        failed
    }

    /// The group that a grant is for, if whoever claims something is in it.
    fn by_claim(&self, to: Grantee) -> Option<&Group> {
        match to {
            Grantee::Group(id) => self.state.groups.get(&id).filter(|group| group.by_claim.is_some()),
            Grantee::Everyone | Grantee::Caller(_) => None,
        }
    }

    fn nobody(&mut self, except: &[Who], groups: &[Who], can: &[Wish], (known, at): When<'_>) -> Vec<String> {
        let mut failed = Vec::new();
        let excepted: Vec<_> =
            except.iter().filter_map(|who| self.caller(who, known).ok()).map(|caller| caller.id).collect();
        let accounts: Vec<AccountId> = self.state.accounts.keys().copied().collect();
        for account in accounts {
            let Some(snapshot) = self.snapshot(account) else { continue };
            for wish in can {
                let question = known.question(wish, None, at);
                for Answer { grant, extent, only: _ } in question.answers(&snapshot, None) {
                    let template = snapshot.all_templates().find(|known| known.id == grant.id);
                    let account_name = &snapshot.account().name;
                    // A template opens something else to each.
                    let opens = |own: &CallerRecord| {
                        template.is_none_or(|own_template| {
                            question.template(own_template, Some(&own.name), account_name).is_some()
                        })
                    };
                    let may = |known: &&CallerRecord| {
                        known.account == account
                            && !excepted.contains(&known.id)
                            && known.standing.served().is_ok()
                            && grant.is_for(known.id, &named_in(self.state, known.id))
                            && opens(known)
                    };
                    let account = &snapshot.account().name;
                    let named = match grant.to {
                        Grantee::Caller(id) => self.state.callers.get(&id).filter(may),
                        Grantee::Everyone | Grantee::Group(_) => self.state.callers.values().find(may),
                    };
                    let by_claim = self
                        .by_claim(grant.to)
                        .filter(|group| !groups.iter().any(|(of, name)| of == account && *name == group.name));
                    let who = named.map(|known| known.name.to_string());
                    let who = who.or_else(|| by_claim.map(|group| format!("group:{}", group.name)));
                    let Some(who) = who else { continue };
                    let part = match extent {
                        Extent::All => "",
                        Extent::Part => " (a part of it)",
                    };
                    failed.push(format!("{account}/{who} can {}{part}, by {}", wish.text, self.told(&grant)));
                }
            }
        }
        failed
    }

    fn vend(
        &mut self,
        who: &Who,
        grant: &Name,
        lifetime: Lifetime,
        (lives, paths): (Option<Lifetime>, Option<&Paths>),
        (known, at): When<'_>,
    ) -> Vec<String> {
        let caller = match self.caller(who, known) {
            Ok(caller) => caller,
            Err(said) => return vec![said],
        };
        let Some(snapshot) = self.snapshot(caller.account) else { return vec!["its account is not here".to_owned()] };
        let target = Target::Grant { grant: GrantRef::Name(grant.clone()), paths: None };
        let ask = Ask {
            dialect: "test",
            target,
            wanted: Wanted::at_most(Actions::from_bits(all_bits()).unwrap_or(Actions::READ)),
            lifetime: Asked::For(lifetime),
            carries: Shape::ALL,
        };
        // Credentials end at whole seconds: from within one, what is given would be shorter than it is asked for.
        let at = Timestamp::from_second(at.as_second()).unwrap_or(at);
        let permit = match policy::decide(&snapshot, &caller, &ask, &known.facts(), at) {
            Ok(permit) => permit,
            Err(error) => return vec![format!("{}/{} is not given `{grant}`: {error}", who.0, who.1)],
        };
        self.touched.extend(permit.because().grants.iter());
        let mut failed = Vec::new();
        let given = Lifetime::between(at, permit.until());
        if let Some(lives) = lives.filter(|lives| given != Some(*lives)) {
            let given = given.map(|given| given.to_string()).unwrap_or_default();
            failed.push(format!("what {}/{} is given of `{grant}` lives {given}, not {lives}", who.0, who.1));
        }
        let opened = permit.rights().parts().places();
        if let Some(paths) = paths.filter(|paths| **paths != opened) {
            let (opens, wanted) = (written(&opened), written(paths));
            failed.push(format!("what {}/{} is given of `{grant}` opens {opens}, not {wanted}", who.0, who.1));
        }
        failed
    }
}

/// The keys that a caller's grants open together for an action, and which those are.
fn open(
    snapshot: &Snapshot,
    caller: &Caller,
    wish: &Wish,
    (known, at): When<'_>,
    touched: &mut BTreeSet<GrantId>,
) -> Keys {
    let question = known.question(wish, Some(caller), at);
    let found = question.answers(snapshot, None).map(|answer| answer.grant);
    found
        .filter(|grant| grant.origin.share().is_none() && grant.is_open(caller, &known.facts(), at))
        .inspect(|grant| {
            touched.insert(grant.id);
        })
        .filter_map(|grant| grant.settled().ok())
        .fold(Keys::NONE, |keys, grant| keys.union(&Keys::of(grant.scope.paths())))
}

/// The groups that a caller is a named member of.
fn named_in(state: &State, caller: CallerId) -> Vec<GroupId> {
    state.groups.values().filter(|group| group.members.contains(&caller)).map(|group| group.id).collect()
}

/// Paths as a test writes them.
fn written(paths: &Paths) -> String {
    let one = |path: Path| {
        let text = String::from_utf8_lossy(path.bytes()).into_owned();
        match path {
            Path::Directory(_) => format!("`{text}/`"),
            Path::Object(_) => format!("`{text}`"),
            Path::Prefix(_) => format!("`{text}*`"),
        }
    };
    match paths {
        Paths::Whole => "the whole bucket".to_owned(),
        Paths::Only(set) => set.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}

/// Every action.
fn all_bits() -> u16 {
    Actions::of(&Action::ALL).bits()
}

/// Why policy refuses an ask for it; nothing if it does not.
fn refusal(snapshot: &Snapshot, caller: &Caller, wish: &Wish, (known, at): When<'_>) -> Option<String> {
    let ask = Ask {
        dialect: "test",
        target: Target::Place { bucket: wish.place.bucket().clone(), paths: wish.place.paths() },
        wanted: Wanted::all_of(Actions::of(&[wish.action])),
        lifetime: Asked::Usual(Lifetime::secs(3600)),
        carries: Shape::ALL,
    };
    policy::decide(snapshot, caller, &ask, &known.facts(), at).err().map(|error| error.to_string())
}
