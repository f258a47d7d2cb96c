//! What one policy uses of its limits at one moment of a future, and who waits for it.

use std::collections::BTreeSet;

use super::domains::Domains;
use super::start::Rules;

/// What a policy uses of its limits at one moment.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) in_use: usize,
    pub(super) domains: Domains,
    pub(super) last_grant: Option<i64>,
    /// Its place among the policies: whoever was granted a reboot last comes last.
    pub(super) turn: u64,
    pub(super) canary: Canary,
    /// Reboots on record.
    pub(super) recorded: usize,
    /// As far as it was looked at: nodes that need a window could go.
    pub(super) open: bool,
    /// Ranks of the nodes that wait, by class.
    pub(super) queues: Vec<BTreeSet<usize>>,
    /// The first of each class.
    pub(super) heads: BTreeSet<(usize, usize)>,
    /// Since when each node that waits has waited, with its rank.
    pub(super) ages: BTreeSet<(i64, usize)>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Canary {
    pub(super) done: usize,
    pub(super) done_at: Option<i64>,
    pub(super) running: usize,
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

impl Policy {
    pub(super) fn new(rules: &Rules) -> Self {
        Self {
            in_use: rules.in_use,
            domains: Domains::new(rules.domains.as_ref()),
            last_grant: rules.last_grant,
            turn: rules.turn,
            canary: Canary {
                done: rules.canaries.0,
                done_at: rules.canaries.1,
                running: rules.canaries.2,
            },
            recorded: rules.recorded,
            open: false,
            queues: vec![BTreeSet::new(); rules.classes.len()],
            heads: BTreeSet::new(),
            ages: BTreeSet::new(),
        }
    }

    pub(super) fn queue(&mut self, class: usize, change: impl FnOnce(&mut BTreeSet<usize>)) {
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

    pub(super) fn end(&mut self, canary: bool, (done, time): (bool, i64)) {
        self.recorded += usize::from(done);
        if canary {
            self.canary.running = self.canary.running.saturating_sub(1);
            if done {
                self.canary.done += 1;
                self.canary.done_at = Some(time);
            }
        }
    }

    /// What the policy's pace says.
    pub(super) fn pace(&self, rules: &Rules, time: i64) -> Pace {
        let due = self
            .last_grant
            .map(|last| last.saturating_add(rules.min_interval));
        if let Some(due) = due.filter(|due| time < *due) {
            return Pace::Until(due);
        }
        let Some((nodes, soak)) = rules.canary else {
            return Pace::Goes;
        };
        let canary = self.canary;
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
}
