//! Who may start, as numbers: the planner's limits, compiled and kept through one future.
//!
//! The same limits as [`crate::budget`], [`crate::spread`] and [`crate::pace`], over counts instead
//! of names. That both agree is a property test (`planner/tests/forecast_truth.rs`).

use std::collections::BTreeSet;

use slipway_api::ledger::SLOTS_MAX;

use super::start::{Class, Rules, Running, Start, Waiting};

/// What a policy uses of its limits at one moment.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    in_use: usize,
    /// Nodes that use each domain.
    used: Vec<usize>,
    /// Domains that are used.
    busy: BTreeSet<usize>,
    /// Domains that were begun.
    begun: BTreeSet<usize>,
    /// Nodes that wait in each domain.
    waiting: Vec<usize>,
    last_grant: Option<i64>,
    /// Its place among the policies: whoever was granted a reboot last comes last.
    turn: u64,
    canary: Canary,
    /// Reboots on record.
    recorded: usize,
    /// Ranks of the nodes that wait, by class.
    queues: Vec<BTreeSet<usize>>,
    /// The first of each class.
    heads: BTreeSet<(usize, usize)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Canary {
    done: usize,
    done_at: Option<i64>,
    running: usize,
}

/// What a policy's pace says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// The next node may go.
    Goes,
    /// It may from then on.
    Until(i64),
    /// Not before one of the first nodes is back.
    Waits,
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
        let domain = self.domain_of(one);
        if let Some(policy) = self.policies.get_mut(one.policy) {
            policy.queue(one.class, |queue| {
                queue.insert(rank);
            });
            if let Some(waiting) = domain.and_then(|domain| policy.waiting.get_mut(domain)) {
                *waiting += 1;
            }
        }
    }

    /// The first in line that the limits admit; `any_time` asks only for those that need no window.
    pub(super) fn first(&self, policy: usize, any_time: bool) -> Option<usize> {
        let (rules, state) = self.parts(policy)?;
        if self.slots >= SLOTS_MAX || (state.in_use > rules.allowed) {
            return None;
        }
        let heads = state.heads.iter();
        let mut heads = heads.filter_map(|(rank, class)| Some((*rank, rules.classes.get(*class)?)));
        heads
            .find(|(_, class)| (class.any_time || !any_time) && self.admits(rules, state, class))
            .map(|(rank, _)| rank)
    }

    fn admits(&self, rules: &Rules, state: &Policy, class: &Class) -> bool {
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
        let ceiling = self.start.ceiling;
        apart
            && alone
            && free
            && ceiling.is_none_or(|most| self.total.saturating_sub(own) < most)
            && state.in_use.saturating_sub(own) < rules.allowed
            && state.admits_domain(rules, class.domain, own)
    }

    /// What the policy's pace says.
    pub(super) fn pace(&self, policy: usize, time: i64) -> Pace {
        let Some((rules, state)) = self.parts(policy) else {
            return Pace::Waits;
        };
        let due = state
            .last_grant
            .map(|last| last.saturating_add(rules.min_interval));
        if let Some(due) = due.filter(|due| time < *due) {
            return Pace::Until(due);
        }
        let Some((nodes, soak)) = rules.canary else {
            return Pace::Goes;
        };
        let canary = state.canary;
        if canary.done >= nodes {
            let until = canary.done_at.map(|done| done.saturating_add(soak));
            return until
                .filter(|until| time < *until)
                .map_or(Pace::Goes, Pace::Until);
        }
        if canary.done + canary.running < nodes {
            Pace::Goes
        } else {
            Pace::Waits
        }
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
        state.turn = turn;
        state.last_grant = Some(time);
        if rules.domains.is_some() {
            if let Some(waiting) = state.waiting.get_mut(class.domain) {
                *waiting = waiting.saturating_sub(1);
            }
            let waiting = &state.waiting;
            let goes_on = |domain: &usize| waiting.get(*domain).is_some_and(|count| *count > 0);
            state.begun.retain(goes_on);
            state.begun.insert(class.domain);
        }
        if !class.counted {
            state.in_use += 1;
            state.use_domain(class.domain);
        }
        let nodes = rules.canary.map_or(0, |(nodes, _)| nodes);
        let is_canary = state.canary.done + state.canary.running < nodes;
        state.canary.running += usize::from(is_canary);
        is_canary
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
            state.free_domain(class.domain);
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
                state.free_domain(*domain);
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

    fn domain_of(&self, one: &Waiting) -> Option<usize> {
        let rules = self.start.rules.get(one.policy)?;
        rules.domains.as_ref()?;
        Some(rules.classes.get(one.class)?.domain)
    }
}

impl Policy {
    fn new(rules: &Rules) -> Self {
        let domains = rules.domains.as_ref();
        let used = domains.map_or_else(Vec::new, |domains| domains.used.clone());
        Self {
            in_use: rules.in_use,
            busy: (0..used.len())
                .filter(|domain| used.get(*domain).is_some_and(|count| *count > 0))
                .collect(),
            begun: domains.map_or_else(BTreeSet::new, |domains| domains.begun.clone()),
            waiting: vec![0; used.len()],
            used,
            last_grant: rules.last_grant,
            turn: rules.turn,
            canary: Canary {
                done: rules.canaries.0,
                done_at: rules.canaries.1,
                running: rules.canaries.2,
            },
            recorded: rules.recorded,
            queues: vec![BTreeSet::new(); rules.classes.len()],
            heads: BTreeSet::new(),
        }
    }

    fn queue(&mut self, class: usize, change: impl FnOnce(&mut BTreeSet<usize>)) {
        let Some(queue) = self.queues.get_mut(class) else {
            return;
        };
        let before = queue.first().copied();
        change(queue);
        let after = queue.first().copied();
        if before != after {
            self.heads.extend(after.map(|rank| (rank, class)));
            if let Some(rank) = before {
                self.heads.remove(&(rank, class));
            }
        }
    }

    fn admits_domain(&self, rules: &Rules, domain: usize, own: usize) -> bool {
        let Some(domains) = &rules.domains else {
            return true;
        };
        let here = self.used.get(domain).copied().unwrap_or_default();
        let allowed = domains.allowed.get(domain).copied().unwrap_or_default();
        let begun = self.begun.iter().filter(|begun| {
            let waiting = self.waiting.get(**begun);
            waiting.is_some_and(|waiting| *waiting > 0) && !self.busy.contains(begun)
        });
        let others = self
            .busy
            .iter()
            .chain(begun)
            .filter(|other| **other != domain);
        here.saturating_sub(own) < allowed && others.count() < domains.at_once
    }

    fn use_domain(&mut self, domain: usize) {
        if let Some(used) = self.used.get_mut(domain) {
            *used += 1;
            self.busy.insert(domain);
        }
    }

    fn free_domain(&mut self, domain: usize) {
        if let Some(used) = self.used.get_mut(domain) {
            *used = used.saturating_sub(1);
            if *used == 0 {
                self.busy.remove(&domain);
            }
        }
    }

    fn end(&mut self, canary: bool, (done, time): (bool, i64)) {
        self.recorded += usize::from(done);
        if canary {
            self.canary.running = self.canary.running.saturating_sub(1);
            if done {
                self.canary.done += 1;
                self.canary.done_at = Some(time);
            }
        }
    }
}
