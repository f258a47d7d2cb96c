//! One possible future: reboots take drawn times, and whenever one ends the next ones start.
//!
//! It goes from event to event, never by ticks, over numbers instead of objects: a forecast runs
//! many of these over ten thousand nodes.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::calendar::{Calendar, Gate};
use super::spread::mix;
use super::start::{Start, Waiting};
use super::state::State;
use super::usage::Pace;

/// A time that never comes.
pub(super) const NEVER: i64 = i64::MAX;
/// A drain is over after about this share of a reboot's time, as 1 of `DRAIN_SHARE`: it must be
/// over before the window closes.
pub(super) const DRAIN_SHARE: i64 = 2;

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
    /// A policy's window opens, or its pace lets it go on.
    Opens(usize),
}

struct Run<'a, 'p> {
    start: &'a Start,
    state: State<'a>,
    calendars: &'a mut [Calendar<'p>],
    scenario: u64,
    events: BinaryHeap<Reverse<(i64, Event)>>,
    wakes: Vec<i64>,
    attempts: Vec<u64>,
    canaries: Vec<bool>,
    future: Future,
}

/// Runs one future.
pub(super) fn run(start: &Start, calendars: &mut [Calendar<'_>], scenario: u64) -> Future {
    let mut run = Run {
        start,
        state: State::new(start),
        calendars,
        scenario,
        events: BinaryHeap::new(),
        wakes: vec![NEVER; start.rules.len()],
        attempts: vec![0; start.waiting.len()],
        canaries: vec![false; start.waiting.len()],
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
        run.grant(stirred, time);
    }
    run.future
}

impl Run<'_, '_> {
    fn begin(&mut self) {
        let start = self.start;
        for (index, one) in start.running.iter().enumerate() {
            let rules = one.policy.and_then(|policy| start.rules.get(policy));
            // One whose time is not known keeps its slot.
            let (Some(elapsed), Some(rules)) = (one.elapsed, rules) else {
                continue;
            };
            let seed = mix(one.seed, self.scenario);
            let rest = rules.spread.draw_rest(seed, elapsed);
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
                self.state.free(one, time);
                for (policy, _) in &one.counts_in {
                    self.done(*policy, time);
                }
                let policies = one.counts_in.iter().map(|(policy, _)| *policy);
                self.stirred(one.control_plane, &one.groups, policies.collect())
            }
            Event::Done(index) | Event::CalledOff(index) => {
                let Some(one) = start.waiting.get(index) else {
                    return BTreeSet::new();
                };
                let done = event == Event::Done(index);
                if done {
                    self.done(one.policy, time);
                } else {
                    self.push(time.saturating_add(1), Event::Ready(index));
                }
                let canary = self.canaries.get(index).copied().unwrap_or_default();
                self.state.give_back(one, canary, (done, time));
                let class = start.class(one);
                let groups = class.map_or(&[][..], |class| &class.groups);
                let control_plane = class.is_some_and(|class| class.control_plane);
                self.stirred(control_plane, groups, BTreeSet::from([one.policy]))
            }
            Event::Ready(index) => {
                let Some(one) = start.waiting.get(index) else {
                    return BTreeSet::new();
                };
                self.state.enqueue(index, one);
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

    fn done(&mut self, policy: usize, time: i64) {
        if let Some(done) = self.future.done.get_mut(policy) {
            *done = (*done).max(time);
        }
    }

    /// A slot is free: its policies may go on, or all of them where they share what it used.
    fn stirred(
        &self,
        control_plane: bool,
        groups: &[usize],
        policies: BTreeSet<usize>,
    ) -> BTreeSet<usize> {
        if self.state.is_shared(control_plane, groups) {
            (0..self.start.rules.len()).collect()
        } else {
            policies
        }
    }

    /// Starts whatever may start, the policies in turn.
    fn grant(&mut self, mut stirred: BTreeSet<usize>, time: i64) {
        loop {
            let mut best: Option<((bool, u64), usize, i64)> = None;
            let mut silent = Vec::new();
            for policy in &stirred {
                let Some((rank, until)) = self.candidate(*policy, time) else {
                    // What others take gives it nothing.
                    silent.push(*policy);
                    continue;
                };
                let is_last = self.start.waiting.get(rank).is_some_and(|one| one.is_last);
                let key = (is_last, self.state.turn(*policy));
                if best.is_none_or(|(first, _, _)| key < first) {
                    best = Some((key, rank, until));
                }
            }
            for policy in silent {
                stirred.remove(&policy);
            }
            let Some((_, rank, until)) = best else {
                return;
            };
            self.begin_reboot(rank, time, until);
        }
    }

    /// The node that a policy would start now, and until when it has to be committed.
    fn candidate(&mut self, policy: usize, time: i64) -> Option<(usize, i64)> {
        if !self.state.waits(policy) {
            return None;
        }
        let at_pace = match self.state.pace(policy, time) {
            Pace::Goes => true,
            Pace::Until(due) => {
                self.wake(policy, due);
                false
            }
            Pace::Waits => false,
        };
        let (start, finish) = self.state.needs(policy);
        let gate = self.calendars.get_mut(policy)?.at(time);
        let (is_open, until) = match gate {
            Gate::Open { end } if time <= end.saturating_sub(start) => {
                (true, end.saturating_sub(finish))
            }
            // A human asked for it at any time.
            Gate::Open { end: opens } | Gate::Closed { again: opens } => {
                self.wake(policy, opens);
                (false, NEVER)
            }
        };
        self.state.opens(policy, is_open);
        let (first, held) = self.state.first(policy, at_pace, time);
        if let Some(lapses) = held {
            self.wake(policy, lapses);
        }
        Some((first?, until))
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

    fn begin_reboot(&mut self, rank: usize, time: i64, until: i64) {
        let Some(one) = self.start.waiting.get(rank) else {
            return;
        };
        let canary = self.state.take(rank, one, time);
        if let Some(flag) = self.canaries.get_mut(rank) {
            *flag = canary;
        }
        let length = self.draw(rank, one);
        let until = if self.start.class(one).is_some_and(|class| class.any_time) {
            NEVER
        } else {
            until
        };
        if time.saturating_add(length / DRAIN_SHARE) > until {
            let off = until.max(time).saturating_add(1);
            self.push(off, Event::CalledOff(rank));
            return;
        }
        let end = time.saturating_add(length);
        if let Some(node) = self.future.nodes.get_mut(rank) {
            *node = (time, end);
        }
        self.push(end, Event::Done(rank));
    }

    fn draw(&mut self, rank: usize, one: &Waiting) -> i64 {
        let attempt = self.attempts.get(rank).copied().unwrap_or_default();
        if let Some(attempts) = self.attempts.get_mut(rank) {
            *attempts = attempt.saturating_add(1);
        }
        let seed = mix(mix(one.seed, self.scenario), attempt);
        let rules = self.start.rules.get(one.policy);
        rules.map_or(1, |rules| rules.spread.draw(seed))
    }
}
