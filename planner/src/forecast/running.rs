//! The nodes that hold a slot now, as numbers.

use slipway_api::{RebootLease, Slot};

use super::spread;
use super::start::Compiled;
use crate::action::Plan;
use crate::budget::slots;
use crate::index::Index;
use crate::reason::Reason;
use crate::snapshot::CordonState;

/// A node that holds a slot.
#[derive(Clone, Debug)]
pub(super) struct Running {
    /// Policies whose budget it uses, and its domain in each.
    pub(super) counts_in: Vec<(usize, usize)>,
    /// The policy whose spread its time is drawn from.
    pub(super) policy: Option<usize>,
    pub(super) control_plane: bool,
    pub(super) canary: bool,
    /// It stays unavailable: a human had cordoned it before.
    pub(super) stays: bool,
    pub(super) groups: Vec<usize>,
    /// Seconds since its grant; `None` where it is stuck and nobody knows.
    pub(super) elapsed: Option<i64>,
    pub(super) seed: u64,
}

/// All of them.
pub(super) fn running(index: &Index<'_>, plan: &Plan, compiled: &[Compiled<'_>]) -> Vec<Running> {
    let ledger = index.snapshot.ledger.present();
    let slots = ledger.map_or(&[][..], slots);
    slots
        .iter()
        .map(|slot| of_slot(index, plan, compiled, slot))
        .collect()
}

fn of_slot(index: &Index<'_>, plan: &Plan, compiled: &[Compiled<'_>], slot: &Slot) -> Running {
    let row = index.row(&slot.node);
    let stays = row.is_some_and(
        |row| matches!(&row.node.cordon, CordonState::Ours(record) if record.unschedulable_before),
    );
    let counts_in: Vec<(usize, usize)> = compiled
        .iter()
        .enumerate()
        .filter(|(_, one)| one.limits.counts(slot))
        .map(|(place, one)| (place, one.domain(&slot.node, Some(slot))))
        .collect();
    let granted = row.and_then(|row| granted_at(row.lease?, slot));
    let verdict = plan.verdicts.get(&slot.node);
    let stuck = verdict.is_some_and(|one| matches!(one.reason, Reason::Stuck { .. }));
    let groups = compiled.first();
    let groups = groups.and_then(|one| one.limits.cluster.of.get(slot.node.as_str()));
    Running {
        policy: index
            .place(&slot.policy_uid)
            .or_else(|| counts_in.first().map(|(place, _)| *place)),
        counts_in,
        control_plane: slot.control_plane,
        canary: slot.canary,
        stays,
        groups: groups.cloned().unwrap_or_default(),
        elapsed: granted
            .filter(|_| !stuck)
            .map(|at| index.now.duration_since(at).as_secs().max(0)),
        seed: spread::seed(&slot.node),
    }
}

fn granted_at(lease: &RebootLease, slot: &Slot) -> Option<jiff::Timestamp> {
    let grant = lease.spec.grant.as_ref()?;
    (grant.fence == slot.fence).then_some(grant.granted_at.0)
}
