//! Every limit on how many nodes go at once, decided in the very ledger that is being replaced.

use std::collections::BTreeSet;

use jiff::Timestamp;
use slipway_api::ledger::SLOTS_MAX;
use slipway_api::{RebootLedger, RebootLedgerStatus, Slot};

use crate::action::GrantRequest;
use crate::govern::governance;
use crate::reason::Reason;
use crate::snapshot::{PolicyView, Snapshot};

/// What a policy's budget is made of, without the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyLimits {
    /// The policy's name, for messages.
    pub policy: String,
    /// The policy's UID.
    pub policy_uid: String,
    /// The budget as a number of nodes.
    pub allowed: usize,
    /// Names of the nodes that the policy governs now.
    pub matched: BTreeSet<String>,
    /// Those of them that are unavailable, whoever made them so.
    pub unavailable: BTreeSet<String>,
}

impl PolicyLimits {
    /// Names of the nodes that use the budget: unavailable ones, those that hold a slot of this
    /// policy, and those that hold a slot and are governed by it now, whichever policy asked: a
    /// policy that was deleted and made anew still answers for its nodes (faults.md Q11).
    pub fn in_use(&self, slots: &[Slot]) -> BTreeSet<String> {
        let held = slots
            .iter()
            .filter(|slot| slot.policy_uid == self.policy_uid || self.matched.contains(&slot.node))
            .map(|slot| slot.node.clone());
        held.chain(self.unavailable.iter().cloned()).collect()
    }

    /// Why `node` may not go down as well, if it may not. A node that is unavailable already
    /// takes nothing more from the budget, but its own slot still has to fit.
    pub fn refuse(&self, slots: &[Slot], node: &str) -> Option<Reason> {
        let in_use = self.in_use(slots);
        let others = in_use.iter().filter(|name| name.as_str() != node).count();
        (others >= self.allowed).then(|| Reason::BudgetUsed {
            policy: self.policy.clone(),
            in_use: in_use.len(),
            allowed: self.allowed,
        })
    }
}

/// The limits of a policy over the nodes of a snapshot. A policy that cannot be parsed allows none.
pub fn limits(snapshot: &Snapshot, policy: &PolicyView) -> PolicyLimits {
    let governed: Vec<_> = snapshot
        .nodes
        .values()
        .filter(|node| {
            governance(snapshot, node)
                .policy()
                .is_some_and(|other| other.uid == policy.uid)
        })
        .collect();
    let allowed = policy
        .parsed
        .as_ref()
        .map_or(0, |parsed| parsed.budget.resolve(governed.len()));
    PolicyLimits {
        policy: policy.name.clone(),
        policy_uid: policy.uid.clone(),
        allowed,
        unavailable: governed
            .iter()
            .filter(|node| node.is_unavailable())
            .map(|node| node.name.clone())
            .collect(),
        matched: governed.iter().map(|node| node.name.clone()).collect(),
    }
}

/// The slots of a ledger.
pub fn slots(ledger: &RebootLedger) -> &[Slot] {
    ledger.status.as_ref().map_or(&[], |status| &status.slots)
}

/// Appends a slot to this ledger, if every limit holds in it; returns the new status and the fence.
///
/// The caller writes the result with the resourceVersion of `ledger`, so whatever another operator
/// has appended meanwhile makes that write fail (faults.md G1, S1, S8).
///
/// # Errors
/// The limit that does not hold.
pub fn append(
    ledger: &RebootLedger,
    request: &GrantRequest,
    limits: &PolicyLimits,
    now: Timestamp,
) -> Result<(RebootLedgerStatus, i64), Reason> {
    let Some(present) = ledger.status.as_ref() else {
        return Err(Reason::LedgerMissing);
    };
    if let Some(reason) = refuse(ledger, request, limits, now) {
        return Err(reason);
    }
    let fence = present.next_fence;
    let mut status = present.clone();
    status.next_fence = fence.saturating_add(1);
    status.slots.push(Slot {
        node: request.node.clone(),
        node_uid: request.node_uid.clone(),
        lease_uid: request.lease_uid.clone(),
        policy_uid: request.policy.uid.clone(),
        fence,
        control_plane: request.control_plane,
    });
    Ok((status, fence))
}

/// Why this ledger admits no slot for the request, if it does not.
pub fn refuse(
    ledger: &RebootLedger,
    request: &GrantRequest,
    limits: &PolicyLimits,
    now: Timestamp,
) -> Option<Reason> {
    if ledger.spec.paused {
        return Some(Reason::LedgerPaused);
    }
    let status = ledger.status.as_ref()?;
    if let Some(until) = status.grants_not_before.as_ref().map(|time| time.0)
        && now < until
    {
        return Some(Reason::LedgerRebuilt { until });
    }
    let slots = &status.slots;
    if slots.len() >= SLOTS_MAX {
        return Some(Reason::LedgerFull);
    }
    if slots
        .iter()
        .any(|slot| slot.node == request.node || slot.node_uid == request.node_uid)
    {
        return Some(Reason::SlotHeld);
    }
    if request.control_plane
        && let Some(other) = slots.iter().find(|slot| slot.control_plane)
    {
        return Some(Reason::ControlPlaneBusy {
            node: other.node.clone(),
        });
    }
    limits.refuse(slots, &request.node)
}

/// The ledger without exactly this slot; `None` when it is not there.
///
/// Never by node name alone: else the end of an earlier reboot would free a later one's slot
/// (faults.md G4).
pub fn free(ledger: &RebootLedger, slot: &Slot) -> Option<RebootLedgerStatus> {
    let mut status = ledger.status.clone()?;
    let before = status.slots.len();
    status.slots.retain(|other| {
        (&other.node, &other.node_uid, other.fence) != (&slot.node, &slot.node_uid, slot.fence)
    });
    (status.slots.len() < before).then_some(status)
}

/// The ledger with this slot put back; `None` when the node holds one.
pub fn restore(ledger: &RebootLedger, slot: &Slot) -> Option<RebootLedgerStatus> {
    let mut status = ledger.status.clone()?;
    if status.slots.len() >= SLOTS_MAX || status.slots.iter().any(|other| other.node == slot.node) {
        return None;
    }
    status.next_fence = status.next_fence.max(slot.fence.saturating_add(1));
    status.slots.push(slot.clone());
    Some(status)
}
