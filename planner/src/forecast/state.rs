//! Who may start, as numbers: the planner's limits, compiled and kept through one future.
//!
//! The same limits as [`crate::budget`], [`crate::spread`] and [`crate::pace`], over counts instead
//! of names. That both agree is a property test (`planner/tests/forecast_truth.rs`).

use slipway_api::ledger::SLOTS_MAX;

use super::passed::{One, Passed};
use super::running::Running;
use super::start::{Class, Rules, Start, Waiting};
use super::usage::{Pace, Policy};

/// Most nodes that are looked at to find those which a grant passes: where more have waited longer
/// and are kept by something else, the rest is not counted.
const OLDER_MAX: usize = 64;

/// Whether the limits let a class go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    /// They do.
    Goes,
    /// Not while others are under way, or before others that go first: whoever goes passes it.
    Turn,
    /// Not for another reason.
    Kept,
}

/// Every limit at one moment of one future.
pub(super) struct State<'a> {
    start: &'a Start,
    slots: usize,
    control_plane: usize,
    /// Nodes of the cluster that are unavailable or hold a slot.
    total: usize,
    /// Slots in each quorum group.
    groups: Vec<usize>,
    policies: Vec<Policy>,
    passed: Passed,
    grants: u64,
}

impl<'a> State<'a> {
    pub(super) fn new(start: &'a Start) -> Self {
        let policies: Vec<Policy> = start.rules.iter().map(Policy::new).collect();
        Self {
            start,
            slots: start.running.len(),
            control_plane: start.running.iter().filter(|one| one.control_plane).count(),
            total: start.total,
            groups: start.groups.clone(),
            passed: Passed::new(start.passed.clone()),
            grants: policies.iter().map(|policy| policy.turn).max().unwrap_or(0),
            policies,
        }
    }

    fn parts(&self, policy: usize) -> Option<(&'a Rules, &Policy)> {
        self.start.rules.get(policy).zip(self.policies.get(policy))
    }

    /// Its place among the policies.
    pub(super) fn turn(&self, policy: usize) -> u64 {
        self.policies.get(policy).map_or(0, |one| one.turn)
    }

    /// Seconds that a reboot needs before the window ends: from the grant, and from the second key.
    pub(super) fn needs(&self, policy: usize) -> (i64, i64) {
        self.parts(policy)
            .map_or((0, 0), |(rules, state)| rules.needs(state.recorded))
    }

    /// A node waits from now on.
    pub(super) fn enqueue(&mut self, rank: usize, one: &Waiting) {
        let class = self.start.class(one);
        if let Some((policy, class)) = self.policies.get_mut(one.policy).zip(class) {
            policy.queue(one.class, |queue| {
                queue.insert(rank);
            });
            policy.ages.insert((one.since, rank));
            policy.domains.wait(class.domain, class.any_time, true);
        }
    }

    /// Whether nodes of a policy that need a window could go.
    pub(super) fn opens(&mut self, policy: usize, is_open: bool) {
        if let Some(policy) = self.policies.get_mut(policy) {
            policy.open = is_open;
        }
    }

    /// The first in line that the limits admit, and until when all wait for a node that was passed
    /// too often, if they do. `at_pace` is false where only nodes beyond the budget may go.
    pub(super) fn first(
        &self,
        policy: usize,
        at_pace: bool,
        time: i64,
    ) -> (Option<usize>, Option<i64>) {
        let Some((rules, state)) = self.parts(policy) else {
            return (None, None);
        };
        if self.slots >= SLOTS_MAX {
            return (None, None);
        }
        let goes = |class: &Class, held: bool| {
            (class.any_time || state.open)
                && (class.beyond || at_pace)
                && self.admits(rules, state, (class, held)) == Admission::Goes
        };
        if let Some((rank, until)) = self
            .passed
            .held(policy, time, |one| self.could_go(one, time))
        {
            let own = self.start.waiting.get(rank);
            let own = own.filter(|one| one.policy == policy);
            let class = own.and_then(|one| rules.classes.get(one.class));
            let rank = class.filter(|class| goes(class, true)).map(|_| rank);
            return (rank, Some(until));
        }
        let heads = state.heads.iter();
        let mut heads = heads.filter_map(|(rank, class)| Some((*rank, rules.classes.get(*class)?)));
        let first = heads.find(|(_, class)| goes(class, false));
        (first.map(|(rank, _)| rank), None)
    }

    /// True for a node that waits, and for nothing but its turn.
    fn could_go(&self, one: &One, time: i64) -> bool {
        let held = self.passed.is_held(one.rank, time);
        self.waits_for_turn(one.rank, held)
    }

    fn waits_for_turn(&self, rank: usize, held: bool) -> bool {
        let Some(one) = self.start.waiting.get(rank) else {
            return false;
        };
        let Some((rules, state)) = self.parts(one.policy) else {
            return false;
        };
        let waits = state.ages.contains(&(one.since, rank));
        let class = rules.classes.get(one.class).filter(|_| waits);
        class.is_some_and(|class| {
            (class.any_time || state.open)
                && self.admits(rules, state, (class, held)) != Admission::Kept
        })
    }

    fn admits(&self, rules: &Rules, state: &Policy, (class, held): (&Class, bool)) -> Admission {
        let own = usize::from(class.counted);
        let apart = rules.mixes
            || if class.control_plane {
                self.slots == 0
            } else {
                self.control_plane == 0
            };
        let alone = !class.control_plane || self.control_plane == 0;
        let mut groups = class.groups.iter();
        let free = groups.all(|group| self.groups.get(*group).is_none_or(|held| *held == 0));
        if !(apart && alone && free) {
            return Admission::Turn;
        }
        let ceiling = self.start.ceiling;
        let domains = rules.domains.as_ref();
        let fits = class.beyond
            || (ceiling.is_none_or(|most| self.total.saturating_sub(own) < most)
                && state.in_use.saturating_sub(own) < rules.allowed
                && domains.is_none_or(|rules| state.domains.has_room(rules, class.domain, own)));
        if !fits {
            return Admission::Kept;
        }
        let first = (state.open, held);
        if domains.is_some_and(|rules| state.domains.others_first(rules, class.domain, first)) {
            return Admission::Turn;
        }
        Admission::Goes
    }

    /// What the policy's pace says.
    pub(super) fn pace(&self, policy: usize, time: i64) -> Pace {
        let Some((rules, state)) = self.parts(policy) else {
            return Pace::Waits;
        };
        state.pace(rules, time)
    }

    /// True when somebody waits.
    pub(super) fn waits(&self, policy: usize) -> bool {
        self.policies
            .get(policy)
            .is_some_and(|state| !state.heads.is_empty())
    }

    /// A node starts; true when it is one of the first of a rollout.
    pub(super) fn take(&mut self, rank: usize, one: &Waiting, time: i64) -> bool {
        let start = self.start;
        let Some(rules) = start.rules.get(one.policy) else {
            return false;
        };
        let Some(class) = rules.classes.get(one.class) else {
            return false;
        };
        self.pass_others(rank, one, time);
        self.slots += 1;
        self.control_plane += usize::from(class.control_plane);
        for group in &class.groups {
            if let Some(held) = self.groups.get_mut(*group) {
                *held += 1;
            }
        }
        self.total += usize::from(!class.counted);
        self.grants += 1;
        let turn = self.grants;
        let Some(state) = self.policies.get_mut(one.policy) else {
            return false;
        };
        state.queue(one.class, |queue| {
            queue.remove(&rank);
        });
        state.ages.remove(&(one.since, rank));
        state.turn = turn;
        state.last_grant = Some(time);
        if rules.domains.is_some() {
            state.domains.wait(class.domain, class.any_time, false);
            state.domains.begin(class.domain, state.open);
        }
        if !class.counted {
            state.in_use += 1;
            state.domains.take(class.domain);
        }
        let nodes = rules.canary.map_or(0, |(nodes, _)| nodes);
        let is_canary = state.canary.done + state.canary.running < nodes;
        state.canary.running += usize::from(is_canary);
        is_canary
    }

    /// Counts whom a start passes: nodes that came earlier and wait for nothing but their turn.
    fn pass_others(&mut self, rank: usize, one: &Waiting, time: i64) {
        let is_control_plane = |one: &Waiting| {
            let class = self.start.class(one);
            class.is_some_and(|class| class.control_plane)
        };
        let goes = is_control_plane(one);
        let mut older: Vec<(i64, usize)> = Vec::new();
        for (policy, state) in self.policies.iter().enumerate() {
            let own = policy == one.policy;
            if own || goes || self.start.has_control_plane {
                let earlier = state.ages.range(..(one.since, 0)).take(OLDER_MAX);
                older.extend(earlier.filter(|(_, other)| {
                    let other = self.start.waiting.get(*other);
                    own || goes || other.is_some_and(is_control_plane)
                }));
            }
        }
        older.sort_unstable();
        let passes: Vec<(usize, usize, bool)> = older
            .into_iter()
            .filter(|(_, other)| *other != rank && self.waits_for_turn(*other, false))
            .filter_map(|(_, other)| {
                let waiting = self.start.waiting.get(other)?;
                Some((other, waiting.policy, is_control_plane(waiting)))
            })
            .collect();
        self.passed
            .note((rank, one.policy), passes.into_iter(), time);
    }

    /// The slot of a node that waited at first is free; `done` tells whether it was rebooted.
    pub(super) fn give_back(&mut self, one: &Waiting, canary: bool, (done, time): (bool, i64)) {
        let Some(rules) = self.start.rules.get(one.policy) else {
            return;
        };
        let Some(class) = rules.classes.get(one.class) else {
            return;
        };
        self.leave(class.control_plane, &class.groups, !class.counted);
        let Some(state) = self.policies.get_mut(one.policy) else {
            return;
        };
        if !class.counted {
            state.in_use = state.in_use.saturating_sub(1);
            state.domains.free(class.domain);
        }
        state.end(canary, (done, time));
    }

    /// The slot of a node that held one at the start is free.
    pub(super) fn free(&mut self, one: &Running, time: i64) {
        self.leave(one.control_plane, &one.groups, !one.stays);
        for (policy, domain) in &one.counts_in {
            let Some(state) = self.policies.get_mut(*policy) else {
                continue;
            };
            if !one.stays {
                state.in_use = state.in_use.saturating_sub(1);
                state.domains.free(*domain);
            }
        }
        let state = one.policy.and_then(|policy| self.policies.get_mut(policy));
        if let Some(state) = state {
            state.end(one.canary, (true, time));
        }
    }

    fn leave(&mut self, control_plane: bool, groups: &[usize], counted: bool) {
        self.slots = self.slots.saturating_sub(1);
        self.control_plane = self
            .control_plane
            .saturating_sub(usize::from(control_plane));
        for group in groups {
            if let Some(held) = self.groups.get_mut(*group) {
                *held = held.saturating_sub(1);
            }
        }
        self.total = self.total.saturating_sub(usize::from(counted));
    }

    /// True when a free slot may let other policies go on: they waited for it, too.
    pub(super) fn is_shared(&self, control_plane: bool, groups: &[usize]) -> bool {
        self.start.ceiling.is_some()
            || control_plane
            || !groups.is_empty()
            || self.slots == 0
            || self.slots + 1 >= SLOTS_MAX
    }
}
