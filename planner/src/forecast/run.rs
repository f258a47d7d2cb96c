//! One possible future: reboots take drawn times, and whenever one ends the next ones start.
//!
//! It goes from event to event, never by ticks, over numbers instead of objects: a forecast runs
//! many of these over ten thousand nodes. It knows the planner's rules that decide when a node may
//! start; that both agree is a property test (`planner/tests/forecast.rs`).

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use slipway_api::ledger::SLOTS_MAX;

use super::calendar::{Calendar, Gate};
use super::spread::{Spread, mix};

/// A time that never comes.
pub(super) const NEVER: i64 = i64::MAX;
/// A drain is over after about this share of a reboot's time, as 1 of `DRAIN_SHARE`: it must be
/// over before the window closes.
const DRAIN_SHARE: i64 = 2;

/// A policy, compiled.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) allowed: usize,
    /// Nodes that use the budget now.
    pub(super) in_use: usize,
    pub(super) spread: Spread,
}

/// A node that waits, in the order in which they go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) policy: usize,
    pub(super) control_plane: bool,
    /// It uses the budget already: somebody else has cordoned it.
    pub(super) counted: bool,
    pub(super) ready_at: i64,
    pub(super) seed: u64,
}

/// A node that holds a slot.
#[derive(Clone, Debug)]
pub(super) struct Running {
    /// Policies whose budget it uses.
    pub(super) counts_in: Vec<usize>,
    /// The policy whose spread its time is drawn from.
    pub(super) policy: Option<usize>,
    pub(super) control_plane: bool,
    /// Seconds since its grant; `None` where it is stuck and nobody knows.
    pub(super) elapsed: Option<i64>,
    pub(super) seed: u64,
}

/// Everything that a future starts from.
#[derive(Clone, Debug)]
pub(super) struct Start {
    pub(super) now: i64,
    pub(super) horizon: i64,
    pub(super) rules: Vec<Rules>,
    pub(super) waiting: Vec<Waiting>,
    pub(super) running: Vec<Running>,
}

/// What happened in one future.
#[derive(Clone, Debug)]
pub(super) struct Future {
    /// When each waiting node started and ended.
    pub(super) nodes: Vec<(i64, i64)>,
    /// When the last reboot of each policy ended.
    pub(super) done: Vec<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A slot that was held at the start is free.
    Freed(usize),
    /// A node is done.
    Done(usize),
    /// A node's drain did not end before the window closed.
    CalledOff(usize),
    /// A node may be tried from now on.
    Ready(usize),
    /// A policy's window opens.
    Opens(usize),
}

struct Run<'a, 'p> {
    start: &'a Start,
    calendars: &'a mut [Calendar<'p>],
    scenario: u64,
    events: BinaryHeap<Reverse<(i64, Event)>>,
    /// Per policy and kind of node, the ranks of those that may go.
    queues: Vec<[BTreeSet<usize>; 4]>,
    in_use: Vec<usize>,
    wakes: Vec<i64>,
    slots: usize,
    control_plane: usize,
    attempts: Vec<u64>,
    future: Future,
}

/// Runs one future.
pub(super) fn run(start: &Start, calendars: &mut [Calendar<'_>], scenario: u64) -> Future {
    let mut run = Run {
        start,
        calendars,
        scenario,
        events: BinaryHeap::new(),
        queues: start.rules.iter().map(|_| Default::default()).collect(),
        in_use: start.rules.iter().map(|rules| rules.in_use).collect(),
        wakes: vec![NEVER; start.rules.len()],
        slots: start.running.len(),
        control_plane: start.running.iter().filter(|one| one.control_plane).count(),
        attempts: vec![0; start.waiting.len()],
        future: Future {
            nodes: vec![(NEVER, NEVER); start.waiting.len()],
            done: vec![start.now; start.rules.len()],
        },
    };
    run.begin();
    // Every event ends, starts or delays a node: bounded by tries, each of which takes a window.
    while let Some(Reverse((time, event))) = run.events.pop() {
        if time > start.horizon {
            break;
        }
        let mut stirred = run.happen(time, event);
        while let Some(Reverse((next, _))) = run.events.peek() {
            if *next != time {
                break;
            }
            if let Some(Reverse((_, event))) = run.events.pop() {
                stirred.append(&mut run.happen(time, event));
            }
        }
        for policy in stirred {
            run.grant(policy, time);
        }
    }
    run.future
}

impl Run<'_, '_> {
    fn begin(&mut self) {
        let start = self.start;
        for (index, one) in start.running.iter().enumerate() {
            let rest = match (
                one.elapsed,
                one.policy.and_then(|policy| start.rules.get(policy)),
            ) {
                (Some(elapsed), Some(rules)) => rules
                    .spread
                    .draw_rest(mix(one.seed, self.scenario), elapsed),
                // Unknown: the slot stays held.
                _ => continue,
            };
            self.push(start.now.saturating_add(rest), Event::Freed(index));
        }
        for (index, one) in start.waiting.iter().enumerate() {
            self.push(one.ready_at.max(start.now), Event::Ready(index));
        }
    }

    fn push(&mut self, time: i64, event: Event) {
        self.events.push(Reverse((time, event)));
    }

    /// Policies that may grant something after it.
    fn happen(&mut self, time: i64, event: Event) -> BTreeSet<usize> {
        let start = self.start;
        match event {
            Event::Freed(index) => {
                let Some(one) = start.running.get(index) else {
                    return BTreeSet::new();
                };
                for policy in &one.counts_in {
                    self.give_back(*policy, time);
                }
                // It may count under another policy than the one it was granted by: each goes on.
                let mut stirred = self.leave(one.control_plane, None);
                stirred.extend(&one.counts_in);
                stirred
            }
            Event::Done(index) | Event::CalledOff(index) => {
                let Some(one) = start.waiting.get(index) else {
                    return BTreeSet::new();
                };
                if event == Event::Done(index) {
                    if let Some(done) = self.future.done.get_mut(one.policy) {
                        *done = (*done).max(time);
                    }
                } else {
                    self.push(time.saturating_add(1), Event::Ready(index));
                }
                if !one.counted
                    && let Some(in_use) = self.in_use.get_mut(one.policy)
                {
                    *in_use = in_use.saturating_sub(1);
                }
                self.leave(one.control_plane, Some(one.policy))
            }
            Event::Ready(index) => {
                let Some(one) = start.waiting.get(index) else {
                    return BTreeSet::new();
                };
                let kind = usize::from(one.control_plane) + 2 * usize::from(one.counted);
                if let Some(queue) = self
                    .queues
                    .get_mut(one.policy)
                    .and_then(|queues| queues.get_mut(kind))
                {
                    queue.insert(index);
                }
                BTreeSet::from([one.policy])
            }
            Event::Opens(policy) => {
                if let Some(wake) = self.wakes.get_mut(policy) {
                    *wake = NEVER;
                }
                BTreeSet::from([policy])
            }
        }
    }

    fn give_back(&mut self, policy: usize, time: i64) {
        if let Some(in_use) = self.in_use.get_mut(policy) {
            *in_use = in_use.saturating_sub(1);
        }
        if let Some(done) = self.future.done.get_mut(policy) {
            *done = (*done).max(time);
        }
    }

    /// A slot is free: its policy may go on, or all of them where they waited for the slot itself.
    fn leave(&mut self, control_plane: bool, policy: Option<usize>) -> BTreeSet<usize> {
        let was_full = self.slots >= SLOTS_MAX;
        self.slots = self.slots.saturating_sub(1);
        if control_plane {
            self.control_plane = self.control_plane.saturating_sub(1);
        }
        if control_plane || was_full {
            return (0..self.start.rules.len()).collect();
        }
        policy.into_iter().collect()
    }

    fn grant(&mut self, policy: usize, time: i64) {
        let Some(rules) = self.start.rules.get(policy) else {
            return;
        };
        while self.slots < SLOTS_MAX {
            let Some((kind, index)) = self.next(policy, rules.allowed) else {
                return;
            };
            let gate = self.calendars.get_mut(policy).map(|one| one.at(time));
            let until = match gate {
                Some(Gate::Open { until }) if time <= until => until,
                Some(Gate::Open { until }) => {
                    self.wake(policy, until.saturating_add(121));
                    return;
                }
                Some(Gate::Closed { again }) => {
                    self.wake(policy, again);
                    return;
                }
                None => return,
            };
            if let Some(queue) = self
                .queues
                .get_mut(policy)
                .and_then(|queues| queues.get_mut(kind))
            {
                queue.remove(&index);
            }
            self.begin_reboot(index, rules, time, until);
        }
    }

    /// The first in line that the limits admit.
    fn next(&self, policy: usize, allowed: usize) -> Option<(usize, usize)> {
        let in_use = self.in_use.get(policy).copied().unwrap_or_default();
        let queues = self.queues.get(policy)?;
        queues
            .iter()
            .enumerate()
            .filter(|(kind, _)| kind % 2 == 0 || self.control_plane == 0)
            .filter(|(kind, _)| in_use.saturating_sub(usize::from(*kind >= 2)) < allowed)
            .filter_map(|(kind, queue)| queue.first().map(|index| (*index, kind)))
            .min()
            .map(|(index, kind)| (kind, index))
    }

    fn wake(&mut self, policy: usize, time: i64) {
        let Some(wake) = self.wakes.get_mut(policy) else {
            return;
        };
        if time < *wake {
            *wake = time;
            self.push(time, Event::Opens(policy));
        }
    }

    fn begin_reboot(&mut self, index: usize, rules: &Rules, time: i64, until: i64) {
        let Some(one) = self.start.waiting.get(index) else {
            return;
        };
        let attempt = self.attempts.get(index).copied().unwrap_or_default();
        if let Some(attempts) = self.attempts.get_mut(index) {
            *attempts = attempt.saturating_add(1);
        }
        let length = rules
            .spread
            .draw(mix(mix(one.seed, self.scenario), attempt));
        self.slots += 1;
        self.control_plane += usize::from(one.control_plane);
        if !one.counted
            && let Some(in_use) = self.in_use.get_mut(one.policy)
        {
            *in_use += 1;
        }
        let drained = time.saturating_add(length / DRAIN_SHARE);
        if drained > until {
            self.push(
                until.saturating_add(1).max(time.saturating_add(1)),
                Event::CalledOff(index),
            );
            return;
        }
        let end = time.saturating_add(length);
        if let Some(node) = self.future.nodes.get_mut(index) {
            *node = (time, end);
        }
        self.push(end, Event::Done(index));
    }
}
