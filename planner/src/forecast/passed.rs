//! Nodes that others pass, and that all wait for once that was too often: [`crate::turn`] as numbers.

use slipway_api::ledger::PASSED_MAX;

use crate::limits::{HELD_FOR_PASSED, PASSED_TIMES_MAX};

/// A node that others have passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct One {
    /// Its place in the order.
    pub(super) rank: usize,
    pub(super) policy: usize,
    pub(super) control_plane: bool,
    pub(super) times: i32,
    /// When that was too often.
    pub(super) held_since: Option<i64>,
}

impl One {
    fn has_lapsed(&self, time: i64) -> bool {
        self.held_since
            .is_some_and(|since| time >= since.saturating_add(HELD_FOR_PASSED.as_secs()))
    }
}

/// Those that are remembered, the longest waiting first.
#[derive(Clone, Debug, Default)]
pub(super) struct Passed(Vec<One>);

impl Passed {
    /// As the ledger has them.
    pub(super) fn new(known: Vec<One>) -> Self {
        Self(known)
    }

    /// A node of `policy` starts, and passes these: rank, policy and control plane of each.
    pub(super) fn note(
        &mut self,
        (rank, policy): (usize, usize),
        passes: impl Iterator<Item = (usize, usize, bool)>,
        time: i64,
    ) {
        let before = std::mem::take(&mut self.0);
        let mut now: Vec<One> = passes
            .take(PASSED_MAX)
            .map(|(rank, policy, control_plane)| {
                let old = before.iter().find(|one| one.rank == rank);
                let old = old.filter(|old| !old.has_lapsed(time));
                let times = old.map_or(0, |old| old.times).saturating_add(1);
                let held = old.and_then(|old| old.held_since);
                One {
                    rank,
                    policy,
                    control_plane,
                    times,
                    held_since: held.or_else(|| (times >= PASSED_TIMES_MAX).then_some(time)),
                }
            })
            .collect();
        let kept = before
            .into_iter()
            .filter(|one| one.rank != rank && one.policy != policy);
        for one in kept {
            if now.len() < PASSED_MAX && !now.iter().any(|other| other.rank == one.rank) {
                now.push(one);
            }
        }
        self.0 = now;
    }

    /// The node that those of `policy` have to wait for, and until when. `waits` tells whether a
    /// node waits and could go.
    pub(super) fn held(
        &self,
        policy: usize,
        time: i64,
        waits: impl Fn(&One) -> bool,
    ) -> Option<(usize, i64)> {
        let mut held = self.0.iter().filter(|one| {
            let binds = one.policy == policy || one.control_plane;
            binds && one.held_since.is_some() && !one.has_lapsed(time)
        });
        let one = held.find(|one| waits(one))?;
        let since = one.held_since?;
        Some((one.rank, since.saturating_add(HELD_FOR_PASSED.as_secs())))
    }

    /// True when others have to wait for this node.
    pub(super) fn is_held(&self, rank: usize, time: i64) -> bool {
        let mut all = self.0.iter();
        all.any(|one| one.rank == rank && one.held_since.is_some() && !one.has_lapsed(time))
    }
}
