//! Every limit on how many nodes go at once, decided in the very ledger that is being replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use slipway_api::ledger::SLOTS_MAX;
use slipway_api::people::Override;
use slipway_api::policy::FailureSettings;
use slipway_api::{Phase, RebootLease, RebootLedger, RebootLedgerStatus, Slot};

use crate::action::GrantRequest;
use crate::breaker;
use crate::govern::governance;
use crate::pace::Pace;
use crate::reason::Reason;
use crate::snapshot::{NodeView, PolicyView, Snapshot};
use crate::spread::{self, Cluster, Domains};
use crate::turn;

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
    /// Those of them whose present reboot a human asked for beyond the budget.
    pub beyond: BTreeSet<String>,
    /// What opens the policy's breaker.
    pub failure: FailureSettings,
    /// Its failure domains.
    pub domains: Option<Domains>,
    /// What slows it down.
    pub pace: Pace,
    /// Control-plane nodes and workers may go together.
    pub mixes: bool,
    /// What limits every policy.
    pub cluster: Arc<Cluster>,
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

    /// How many nodes have to be called off until the budget fits: those that a human asked for
    /// beyond it keep nobody else from finishing, but keep others from starting.
    pub fn surplus(&self, slots: &[Slot]) -> usize {
        let counted = self.in_use(slots);
        let counted = counted.difference(&self.beyond).count();
        counted.saturating_sub(self.allowed)
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
    let mut all = limits_of(snapshot, &BTreeSet::from([policy.uid.as_str()]));
    all.remove(&policy.uid)
        .unwrap_or_else(|| compose(snapshot, policy, &[], Arc::new(Cluster::of(snapshot))))
}

/// The limits of these policies, by UID, from one look at the nodes.
pub fn limits_of(snapshot: &Snapshot, uids: &BTreeSet<&str>) -> BTreeMap<String, PolicyLimits> {
    let mut governed: BTreeMap<&str, Vec<&NodeView>> = BTreeMap::new();
    for node in snapshot.nodes.values() {
        if let Some(policy) = governance(snapshot, node).policy() {
            governed.entry(&policy.uid).or_default().push(node);
        }
    }
    let cluster = Arc::new(Cluster::of(snapshot));
    let policies = snapshot
        .policies
        .iter()
        .filter(|policy| uids.contains(policy.uid.as_str()));
    policies
        .map(|policy| {
            let nodes = governed
                .get(policy.uid.as_str())
                .map_or(&[][..], Vec::as_slice);
            let limits = compose(snapshot, policy, nodes, Arc::clone(&cluster));
            (policy.uid.clone(), limits)
        })
        .collect()
}

fn compose(
    snapshot: &Snapshot,
    policy: &PolicyView,
    governed: &[&NodeView],
    cluster: Arc<Cluster>,
) -> PolicyLimits {
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
        beyond: governed
            .iter()
            .filter(|node| is_beyond(snapshot, node))
            .map(|node| node.name.clone())
            .collect(),
        failure: policy.spec.failure.clone(),
        domains: Domains::of(policy, governed),
        pace: Pace::of(policy, oldest_wait(snapshot, governed)),
        mixes: policy.spec.budget.control_plane_with_workers,
        cluster,
    }
}

/// Since when the node that has waited longest has waited. One that is not Ready, or failed and
/// pauses, is not about to go and keeps no rollout open.
fn oldest_wait(snapshot: &Snapshot, governed: &[&NodeView]) -> Option<Timestamp> {
    governed
        .iter()
        .filter(|node| node.ready)
        .filter_map(|node| {
            let lease = snapshot.leases.get(&node.name)?;
            let waits = lease.spec.node_uid == node.uid
                && lease.phase() == Phase::Pending
                && lease.open_grant().is_none();
            waits.then_some(lease.spec.requested_at.0)
        })
        .min()
}

/// True when a human asked for the node's present reboot beyond the budget, by name.
fn is_beyond(snapshot: &Snapshot, node: &NodeView) -> bool {
    snapshot
        .leases
        .get(&node.name)
        .filter(|lease| lease.spec.node_uid == node.uid)
        .and_then(RebootLease::manual)
        .is_some_and(|request| request.overrides(Override::Budget))
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
    if !request.overrides(Override::Breaker) {
        let policy = (request.policy.uid.as_str(), fence);
        breaker::note_grant(&mut status, policy, &limits.failure, now);
    }
    let domain = limits
        .domains
        .as_ref()
        .and_then(|domains| domains.of.get(&request.node))
        .cloned();
    let begun = request
        .place
        .begun(domain.as_ref(), &status, &request.policy.uid);
    let canary = limits
        .pace
        .note_grant(&mut status, &request.policy.uid, begun, now);
    turn::note_grant(&mut status, request, now);
    status.next_fence = fence.saturating_add(1);
    status.slots.push(Slot {
        node: request.node.clone(),
        node_uid: request.node_uid.clone(),
        lease_uid: request.lease_uid.clone(),
        policy_uid: request.policy.uid.clone(),
        fence,
        control_plane: request.control_plane,
        domain,
        canary,
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
    let never_together = spread::control_plane(slots, request, limits.mixes)
        .or_else(|| limits.cluster.quorum(slots, &request.node));
    if never_together.is_some() {
        return never_together;
    }
    if !request.overrides(Override::Breaker) {
        let policy = (request.policy.name.as_str(), request.policy.uid.as_str());
        let refused = breaker::refuse(status, policy, &limits.failure, now);
        if refused.is_some() {
            return refused;
        }
    }
    if request.overrides(Override::Budget) {
        return None;
    }
    let node = request.node.as_str();
    let policy = (limits.policy.as_str(), request.policy.uid.as_str());
    let domains = limits.domains.as_ref();
    limits
        .cluster
        .above_ceiling(ledger, slots, node)
        .or_else(|| limits.refuse(slots, node))
        .or_else(|| domains.and_then(|domains| domains.refuse(limits, slots, node)))
        .or_else(|| limits.pace.refuse(status, policy, now))
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
