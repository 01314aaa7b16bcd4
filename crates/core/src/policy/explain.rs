//! Why policy allows something or not, told grant by grant.

use std::sync::Arc;

use jiff::Timestamp;

use crate::account::Standing;
use crate::caller::Caller;
use crate::conditions::{Conditions, Facts, Judged};
use crate::grant::{Grant, GrantTime};
use crate::id::GrantId;
use crate::name::BucketName;
use crate::scope::{Action, Path, Scope};
use crate::snapshot::Snapshot;
use crate::template::Template;
use crate::word::words;

/// Why one action on one key is allowed or not: each grant of the caller's that came into question, and the verdict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// The grant that allows it; none means it is not allowed.
    pub allowed_by: Option<GrantId>,
    /// What became of each grant.
    pub considered: Vec<Considered>,
    /// How many more grants there are that were not listed.
    pub unlisted: usize,
}

/// What became of one grant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Considered {
    /// The grant.
    pub grant: Arc<Grant>,
    /// What it says.
    pub verdict: Verdict,
    /// Its conditions, each as held or not.
    pub conditions: Vec<Judged>,
}

words! {
    /// What one grant says to an action on a key.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Verdict {
        /// It allows it.
        Allows => "allows",
        /// It is for another bucket.
        OtherBucket => "other_bucket",
        /// It would, but a share made it: it answers only asks for that share.
        OnlyThroughShare => "only_through_share",
        /// The key is outside its paths.
        OutsidePaths => "outside_paths",
        /// The action is not one of its actions.
        LacksAction => "lacks_action",
        /// It has not begun.
        Early => "early",
        /// It has ended.
        Ended => "ended",
        /// It would, but one of its conditions does not hold.
        ConditionFails => "condition_fails",
        /// It would, but the account is suspended.
        AccountSuspended => "account_suspended",
    }
}

/// The most grants an explanation lists.
const LISTED: usize = 100;

/// Explains, by the same rules that [`super::decide`] follows, whether a caller may do something to a key.
pub fn explain(
    snapshot: &Snapshot,
    caller: &Caller,
    action: Action,
    bucket: &BucketName,
    key: &[u8],
    facts: &Facts<'_>,
    now: Timestamp,
) -> Explanation {
    let verdict = |grant: &Grant<Scope>| {
        if grant.scope.bucket() != bucket {
            Verdict::OtherBucket
        } else if !grant.scope.paths().cover_key(key) {
            Verdict::OutsidePaths
        } else if !grant.scope.actions().contains(action) {
            Verdict::LacksAction
        } else {
            match (grant.time(now), snapshot.account().standing) {
                (GrantTime::Early, _) => Verdict::Early,
                (GrantTime::Ended, _) => Verdict::Ended,
                (GrantTime::Live, Standing::Suspended) => Verdict::AccountSuspended,
                (GrantTime::Live, Standing::Active) if !grant.is_open(caller, facts, now) => Verdict::ConditionFails,
                (GrantTime::Live, Standing::Active) if grant.origin.share().is_some() => Verdict::OnlyThroughShare,
                (GrantTime::Live, Standing::Active) => Verdict::Allows,
            }
        }
    };
    let allows = |grant: &&Arc<Grant<Scope>>| verdict(grant) == Verdict::Allows;
    let filled = snapshot.filled(caller, Some(bucket));
    let allowed_by = match Path::object(key) {
        Ok(path) => snapshot.near(caller, bucket, &path).chain(&filled).find(allows).map(|grant| grant.id),
        Err(_) => snapshot.whole(caller, bucket).chain(&filled).find(allows).map(|grant| grant.id),
    };
    // The telling ones first: those that came nearest to allowing it.
    let rank = |verdict: Verdict| match verdict {
        Verdict::Allows => 0,
        Verdict::OnlyThroughShare => 1,
        Verdict::ConditionFails | Verdict::AccountSuspended | Verdict::Early | Verdict::Ended => 2,
        Verdict::LacksAction => 3,
        Verdict::OutsidePaths => 4,
        Verdict::OtherBucket => 5,
    };
    let judged = |conditions: Option<&Conditions>| {
        let judge = |own: &Conditions| own.judge(caller.identity.as_deref(), facts, now);
        conditions.map(judge).unwrap_or_default()
    };
    let subject = snapshot.subject(caller);
    // One that is not filled in opens nothing: whether it would, the key says as far as it can.
    let unfilled = |grant: &Grant<Template>| {
        let meets = Path::object(key).ok().and_then(|path| grant.scope.meets(&path));
        match (grant.scope.bucket() == bucket, meets) {
            (false, _) => Verdict::OtherBucket,
            (true, None) => Verdict::OutsidePaths,
            (true, Some(_)) => Verdict::ConditionFails,
        }
    };
    let settled = snapshot.settled(caller).map(|grant| (verdict(grant), Told::Settled(grant)));
    let templates = snapshot.templates(caller).map(|grant| {
        let verdict = grant.filled(&subject).map_or_else(|_| unfilled(grant), |grant| verdict(&grant));
        (verdict, Told::Template(grant))
    });
    let mut told: Vec<(Verdict, Told<'_>)> = settled.chain(templates).collect();
    told.sort_by_key(|(verdict, one)| (rank(*verdict), one.id()));
    let unlisted = told.len().saturating_sub(LISTED);
    let considered = told.into_iter().take(LISTED).map(|(verdict, one)| match one {
        Told::Settled(grant) => Considered {
            verdict,
            conditions: judged(grant.conditions.as_deref()),
            grant: Arc::new(Grant::clone(grant).into()),
        },
        Told::Template(grant) => {
            let filled = grant.scope.judge(&subject).into_iter();
            Considered {
                verdict,
                conditions: filled.chain(judged(grant.conditions.as_deref())).collect(),
                grant: Arc::new(Grant::clone(grant).into()),
            }
        }
    });
    Explanation { allowed_by, considered: considered.collect(), unlisted }
}

enum Told<'a> {
    Settled(&'a Arc<Grant<Scope>>),
    Template(&'a Arc<Grant<Template>>),
}

impl Told<'_> {
    fn id(&self) -> GrantId {
        match self {
            Self::Settled(grant) => grant.id,
            Self::Template(grant) => grant.id,
        }
    }
}
