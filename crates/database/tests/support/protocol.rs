//! A model of how nodes share a database: the ledger's pages, what ends, what a node has heard of, and what it does meanwhile.
//!
//! One caller with credits, ended once. Each step is one transaction, one message or one tick, so that between any two steps anything else
//! may happen. `sql/nodes.rs`, `hearing.rs` and `ledger/` are what is modelled.

use std::collections::HashSet;

/// Ticks after which a node that has heard nothing does not vend, and does not take credentials at its S3 endpoint.
const VEND_STALE: u8 = 1;
const S3_STALE: u8 = 2;
/// As long as a run of the model is.
const LONGEST: u8 = 3;
/// The most leases that are decided in a run.
const MOST_LEASES: u8 = 2;

/// What the protocol does. Without any of these something goes wrong, and the model has to find it.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each can be left out by itself")]
struct Rules {
    /// A page is refused if what it was decided by was changed since.
    pages_know_changes: bool,
    /// A page whose answer was lost is looked for before it is written again.
    pages_are_recognised: bool,
    /// Who has not heard of the database for long refuses.
    stale_refuse: bool,
    /// A restarted node reads what has ended before it serves.
    starts_by_reading: bool,
    /// Credits are taken in the page's own transaction.
    credits_with_page: bool,
    /// A change's number is never one that was lost with a database.
    numbers_are_new: bool,
}

impl Rules {
    const ALL: Self = Self {
        pages_know_changes: true,
        pages_are_recognised: true,
        stale_refuse: true,
        starts_by_reading: true,
        credits_with_page: true,
        numbers_are_new: true,
    };
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Node {
    is_up: bool,
    /// The last change that it knows, and whether it knows that the caller was ended.
    known: u8,
    knows_end: bool,
    heard: u8,
    pending: Option<Pending>,
    /// Credits that it believes there are, where they are not taken with the page.
    credits: u8,
}

/// What was decided and has no answer of the database yet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Pending {
    lease: u8,
    as_of: u8,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    now: u8,
    nodes: Vec<Node>,
    /// In the database: the last change, whether it has the end, a bit for each lease's entry, and what is left.
    last: u8,
    ended: bool,
    entries: u8,
    credits: u8,
    /// The next change's number where numbers are new, and the next lease.
    next_change: u8,
    next_lease: u8,
    /// When somebody was told that the caller is ended; the database lost something since.
    told: Option<u8>,
    lost: bool,
    /// A bit for each lease whose credential somebody has.
    out: u8,
    /// What was written or taken that may not be.
    broken: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Tick,
    Decide(usize),
    /// The page of what was decided, with its answer.
    Write(usize),
    /// The same, and the answer is lost.
    WriteUnheard(usize),
    GiveUp(usize),
    End(usize),
    Hear(usize),
    /// Somebody shows a credential of the ended caller there.
    Show(usize),
    Crash(usize),
    Start(usize),
    /// A replica takes over that lacks the last change.
    LoseChange,
}

/// What the database said of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Said {
    Written,
    Overtaken,
    OutOfCredit,
}

impl World {
    fn new(nodes: usize, credits: u8) -> Self {
        let node = Node { is_up: true, known: 1, knows_end: false, heard: 0, pending: None, credits };
        Self {
            now: 0,
            nodes: vec![node; nodes],
            last: 1,
            ended: false,
            entries: 0,
            credits,
            next_change: 2,
            next_lease: 0,
            told: None,
            lost: false,
            out: 0,
            broken: None,
        }
    }

    fn silence(&self, node: usize) -> u8 {
        self.now - self.nodes[node].heard
    }

    /// What may happen next.
    fn steps(&self, rules: Rules) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.now < LONGEST {
            steps.push(Step::Tick);
        }
        if self.ended && !self.lost {
            steps.push(Step::LoseChange);
        }
        for (at, node) in self.nodes.iter().enumerate() {
            if !node.is_up {
                steps.push(Step::Start(at));
                continue;
            }
            steps.push(Step::Crash(at));
            if node.known != self.last || node.heard != self.now {
                steps.push(Step::Hear(at));
            }
            let stale = |most: u8| rules.stale_refuse && self.silence(at) > most;
            match &node.pending {
                Some(_) => steps.extend([Step::Write(at), Step::WriteUnheard(at), Step::GiveUp(at)]),
                None if self.next_lease < MOST_LEASES && !node.knows_end && !stale(VEND_STALE) => {
                    steps.push(Step::Decide(at));
                }
                None => {}
            }
            if self.told.is_none() && !self.lost {
                steps.push(Step::End(at));
            }
            if self.told.is_some() && !self.lost && !node.knows_end && !stale(S3_STALE) {
                steps.push(Step::Show(at));
            }
        }
        steps
    }

    /// Does a step. What a page was answered with, if it is one.
    fn take(&mut self, step: Step, rules: Rules) -> Option<Said> {
        match step {
            Step::Tick => self.now += 1,
            Step::Decide(at) => {
                let (lease, as_of) = (self.next_lease, self.nodes[at].known);
                self.nodes[at].pending = Some(Pending { lease, as_of });
                self.next_lease += 1;
            }
            Step::Write(at) => {
                let (said, lease) = self.page(at, rules);
                if said == Said::Written {
                    self.out |= 1 << lease;
                }
                self.nodes[at].pending = None;
                return Some(said);
            }
            Step::WriteUnheard(at) => drop(self.page(at, rules)),
            Step::GiveUp(at) => self.nodes[at].pending = None,
            Step::End(at) => {
                self.last = if rules.numbers_are_new { self.next_change } else { self.last + 1 };
                (self.next_change, self.ended, self.told) = (self.next_change + 1, true, Some(self.now));
                (self.nodes[at].known, self.nodes[at].knows_end) = (self.last, true);
            }
            Step::Hear(at) => self.hear(at, rules),
            Step::Show(_) => {
                if self.told.is_some_and(|told| self.now > told + S3_STALE) {
                    self.broken = Some("a credential is taken long after its end was told");
                }
            }
            Step::Crash(at) => (self.nodes[at].is_up, self.nodes[at].pending) = (false, None),
            Step::Start(at) => {
                let node = &mut self.nodes[at];
                (node.is_up, node.heard) = (true, self.now);
                if rules.starts_by_reading {
                    (node.known, node.knows_end) = (self.last, self.ended);
                } else {
                    (node.known, node.knows_end) = (self.last, false);
                }
            }
            Step::LoseChange => {
                (self.last, self.ended, self.lost) = (1, false, true);
                // Another change comes in its place, of something else.
                self.last = if rules.numbers_are_new { self.next_change } else { 2 };
                self.next_change += 1;
            }
        }
        self.check();
        None
    }

    /// The transaction of a page.
    fn page(&mut self, at: usize, rules: Rules) -> (Said, u8) {
        let Some(Pending { lease, as_of }) = self.nodes[at].pending.clone() else { return (Said::Overtaken, 0) };
        if rules.pages_are_recognised && (self.entries >> lease & 1 == 1) {
            return (Said::Written, lease);
        }
        if rules.pages_know_changes && self.ended && as_of < self.last {
            return (Said::Overtaken, lease);
        }
        let left = if rules.credits_with_page { self.credits } else { self.nodes[at].credits };
        if left == 0 {
            return (Said::OutOfCredit, lease);
        }
        self.nodes[at].credits -= u8::from(!rules.credits_with_page);
        if self.ended && !self.lost {
            self.broken = Some("a lease is written after the end of its caller");
        }
        if self.entries >> lease & 1 == 1 {
            self.broken = Some("an entry is there twice");
        }
        if self.credits == 0 {
            self.broken = Some("credits are overdrawn");
        }
        self.credits = self.credits.saturating_sub(1);
        self.entries |= 1 << lease;
        self.check();
        (Said::Written, lease)
    }

    fn hear(&mut self, at: usize, rules: Rules) {
        let (now, last, ended) = (self.now, self.last, self.ended);
        let node = &mut self.nodes[at];
        if node.known == last {
            // Nothing changed, as far as it can tell.
            if self.lost && node.knows_end && !rules.numbers_are_new {
                self.broken = Some("a node does not see that the database lost what it knows");
            }
        }
        // What it knows as ended stays so.
        let node = &mut self.nodes[at];
        (node.known, node.knows_end, node.heard) = (last, node.knows_end || ended, now);
    }

    fn check(&mut self) {
        if self.out & !self.entries != 0 {
            self.broken = Some("a credential is out that is not on record");
        }
    }
}

/// Every state that can be reached, and how a broken one is: breadth first, so the shortest way there.
fn explore(nodes: usize, credits: u8, rules: Rules) -> (usize, Option<(&'static str, Vec<Step>)>) {
    let first = World::new(nodes, credits);
    let mut known = HashSet::from([first.clone()]);
    let mut all = vec![(first, 0, Step::Tick)];
    let mut at = 0;
    while let Some((world, _, _)) = all.get(at) {
        if let Some(what) = world.broken {
            return (all.len(), Some((what, way(&all, at))));
        }
        let world = world.clone();
        for step in world.steps(rules) {
            let mut then = world.clone();
            then.take(step, rules);
            // Nodes are alike: which one is which is no other state.
            then.nodes.sort_unstable();
            if known.insert(then.clone()) {
                all.push((then, at, step));
            }
        }
        at += 1;
    }
    (all.len(), None)
}

fn way(all: &[(World, usize, Step)], mut at: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    while at > 0 {
        let (_, before, step) = &all[at];
        steps.push(*step);
        at = *before;
    }
    steps.reverse();
    steps
}

/// A way through the model that chance takes, with what each page is answered.
pub(crate) fn walk(
    nodes: usize,
    credits: u8,
    steps: usize,
    mut chance: impl FnMut(usize) -> usize,
) -> Vec<(Step, Option<Said>)> {
    let mut world = World::new(nodes, credits);
    let mut taken = Vec::new();
    for _ in 0..steps {
        // What real databases are not made to do here: time, silence and losses have tests of their own.
        let can = world
            .steps(Rules::ALL)
            .into_iter()
            .filter(|step| !matches!(step, Step::Tick | Step::LoseChange | Step::WriteUnheard(_) | Step::Show(_)));
        let can: Vec<Step> = can.collect();
        if can.is_empty() {
            break;
        }
        let step = can[chance(can.len())];
        let said = world.take(step, Rules::ALL);
        assert_eq!(world.broken, None);
        taken.push((step, said));
    }
    taken
}

#[test]
fn whatever_happens_in_whatever_order_nothing_goes_wrong() {
    for (nodes, credits, least) in [(2, 2, 10_000), (3, 1, 100_000)] {
        let (states, broken) = explore(nodes, credits, Rules::ALL);
        assert_eq!(broken, None);
        assert!(states > least, "{nodes} nodes: only {states} states were looked at");
    }
}

#[test]
fn without_any_of_its_rules_the_model_finds_what_goes_wrong() {
    let all = Rules::ALL;
    let cases = [
        (Rules { pages_know_changes: false, ..all }, "a lease is written after the end of its caller"),
        (Rules { pages_are_recognised: false, ..all }, "an entry is there twice"),
        (Rules { stale_refuse: false, ..all }, "a credential is taken long after its end was told"),
        (Rules { starts_by_reading: false, ..all }, "a lease is written after the end of its caller"),
        (Rules { credits_with_page: false, ..all }, "credits are overdrawn"),
        (Rules { numbers_are_new: false, ..all }, "a node does not see that the database lost what it knows"),
    ];
    for (rules, what) in cases {
        // Credits for more than one, but where it is they that run out.
        let credits = if rules.credits_with_page { 2 } else { 1 };
        let (_, found) = explore(2, credits, rules);
        let (found, way) = found.unwrap_or_else(|| panic!("nothing is found with {rules:?}"));
        assert_eq!(found, what, "{rules:?}: {way:?}");
    }
}
