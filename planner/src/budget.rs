//! Every limit on how many nodes go at once, decided in the very ledger that is being replaced.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use slipway_api::ledger::SLOTS_MAX;
use slipway_api::people::Override;
use slipway_api::policy::FailureSettings;
use slipway_api::{Phase, RebootLease, RebootLedger, RebootLedgerStatus, Slot};

use crate::action::GrantRequest;
use crate::breaker;
use crate::index::{Index, Row};
use crate::pace::Pace;
use crate::reason::Reason;
use crate::snapshot::{PolicyView, Snapshot};
use crate::spread::{self, Cluster, Domains};
use crate::tally::{Book, Tally};
use crate::turn;

/// What a policy's budget is made of, without the ledger.
#[derive(Clone, Debug)]
pub struct PolicyLimits<'a> {
    /// The policy's name, for messages.
    pub policy: &'a str,
    /// The policy's UID.
    pub policy_uid: &'a str,
    /// The budget as a number of nodes.
    pub allowed: usize,
    /// Names of the nodes that the policy governs now, in order.
    pub matched: Vec<&'a str>,
    /// Those of them that are unavailable, whoever made them so.
    pub unavailable: BTreeSet<&'a str>,
    /// Those of them whose present reboot a human asked for beyond the budget.
    pub beyond: BTreeSet<&'a str>,
    /// What opens the policy's breaker.
    pub failure: &'a FailureSettings,
    /// Its failure domains.
    pub domains: Option<Domains<'a>>,
    /// What slows it down.
    pub pace: Pace,
    /// Control-plane nodes and workers may go together.
    pub mixes: bool,
    /// What limits every policy.
    pub cluster: Arc<Cluster<'a>>,
}

impl PolicyLimits<'_> {
    /// True when a node of this name is governed by the policy now.
    pub fn governs(&self, node: &str) -> bool {
        self.matched.binary_search(&node).is_ok()
    }

    /// True when the slot uses the budget: one of this policy, or of a node that it governs now,
    /// whichever policy asked: a policy that was deleted and made anew still answers for its nodes
    /// (faults.md Q11).
    pub fn counts(&self, slot: &Slot) -> bool {
        slot.policy_uid == self.policy_uid || self.governs(&slot.node)
    }

    /// Names of the nodes that use the budget: unavailable ones, and those with a slot that counts.
    pub fn in_use<'b>(&'b self, slots: &'b [Slot]) -> BTreeSet<&'b str> {
        let held = slots.iter().filter(|slot| self.counts(slot));
        held.map(|slot| slot.node.as_str())
            .chain(self.unavailable.iter().copied())
            .collect()
    }

    /// How many nodes have to be called off until the budget fits: those that a human asked for
    /// beyond it keep nobody else from finishing, but keep others from starting.
    pub fn surplus(&self, slots: &[Slot]) -> usize {
        let counted = self.in_use(slots).into_iter();
        let counted = counted.filter(|name| !self.beyond.contains(name)).count();
        counted.saturating_sub(self.allowed)
    }

    /// Why `node` may not go down as well, if it may not. A node that is unavailable already
    /// takes nothing more from the budget, but its own slot still has to fit.
    fn refuse(&self, tally: &Tally, node: &str) -> Option<Reason> {
        (tally.others(node) >= self.allowed).then(|| Reason::BudgetUsed {
            policy: self.policy.to_owned(),
            in_use: tally.in_use(),
            allowed: self.allowed,
        })
    }
}

/// The limits of a policy over the nodes of a snapshot. A policy that cannot be parsed allows none.
pub fn limits<'a>(snapshot: &'a Snapshot, policy: &'a PolicyView) -> PolicyLimits<'a> {
    // Whether somebody waits longer than others is asked of requests, not of the present time.
    let index = Index::new(snapshot, Timestamp::UNIX_EPOCH);
    let rows: Vec<&Row<'a>> = match index.place(&policy.uid) {
        Some(place) => of_policy(&index, place).collect(),
        None => Vec::new(),
    };
    compose(policy, &rows, Arc::new(Cluster::of(&index)))
}

fn of_policy<'i, 'a>(index: &'i Index<'a>, place: usize) -> impl Iterator<Item = &'i Row<'a>> {
    let rows = index.rows().iter();
    rows.filter(move |row| row.policy == Some(place))
}

/// The limits of every policy, by position, from one look at the nodes.
pub(crate) fn limits_of<'a>(index: &Index<'a>) -> Vec<PolicyLimits<'a>> {
    let policies = &index.snapshot.policies;
    let mut governed: Vec<Vec<&Row<'a>>> = policies.iter().map(|_| Vec::new()).collect();
    for row in index.rows() {
        if let Some(rows) = row.policy.and_then(|place| governed.get_mut(place)) {
            rows.push(row);
        }
    }
    let cluster = Arc::new(Cluster::of(index));
    let all = policies.iter().zip(governed);
    all.map(|(policy, rows)| compose(policy, &rows, Arc::clone(&cluster)))
        .collect()
}

fn compose<'a>(
    policy: &'a PolicyView,
    governed: &[&Row<'a>],
    cluster: Arc<Cluster<'a>>,
) -> PolicyLimits<'a> {
    let allowed = policy
        .parsed
        .as_ref()
        .map_or(0, |parsed| parsed.budget.resolve(governed.len()));
    PolicyLimits {
        policy: &policy.name,
        policy_uid: &policy.uid,
        allowed,
        unavailable: governed
            .iter()
            .filter(|row| row.unavailable)
            .map(|row| row.node.name.as_str())
            .collect(),
        matched: { governed.iter() }
            .map(|row| row.node.name.as_str())
            .collect(),
        beyond: governed
            .iter()
            .filter(|row| is_beyond(row))
            .map(|row| row.node.name.as_str())
            .collect(),
        failure: &policy.spec.failure,
        domains: Domains::of(policy, governed),
        pace: Pace::of(policy, oldest_wait(governed)),
        mixes: policy.spec.budget.control_plane_with_workers,
        cluster,
    }
}

/// Since when the node that has waited longest has waited. One that is not Ready, or failed and
/// pauses, is not about to go and keeps no rollout open.
fn oldest_wait(governed: &[&Row<'_>]) -> Option<Timestamp> {
    governed
        .iter()
        .filter_map(|row| {
            let lease = row.own_lease().filter(|_| row.node.ready)?;
            let waits = lease.phase() == Phase::Pending && lease.open_grant().is_none();
            waits.then_some(lease.spec.requested_at.0)
        })
        .min()
}

/// True when a human asked for the node's present reboot beyond the budget, by name.
fn is_beyond(row: &Row<'_>) -> bool {
    row.own_lease()
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
    limits: &PolicyLimits<'_>,
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
        breaker::note_grant(&mut status, policy, limits.failure, now);
    }
    let domain = limits
        .domains
        .as_ref()
        .and_then(|domains| domains.of.get(request.node.as_str()))
        .map(|domain| (*domain).to_owned());
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
fn refuse(
    ledger: &RebootLedger,
    request: &GrantRequest,
    limits: &PolicyLimits<'_>,
    now: Timestamp,
) -> Option<Reason> {
    let status = ledger.status.as_ref()?;
    let book = Book::of(&status.slots, &limits.cluster);
    let counted = status.slots.iter().filter(|slot| limits.counts(slot));
    let tally = Tally::of((status, counted), limits, now);
    refuse_by(ledger, (&book, &tally), request, limits, now)
}

/// The same where the slots of this ledger have been counted.
pub(crate) fn refuse_by(
    ledger: &RebootLedger,
    (book, tally): (&Book, &Tally),
    request: &GrantRequest,
    limits: &PolicyLimits<'_>,
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
    if book.slots() >= SLOTS_MAX {
        return Some(Reason::LedgerFull);
    }
    if book.knows(&request.node, &request.node_uid) {
        return Some(Reason::SlotHeld);
    }
    let node = request.node.as_str();
    let never_together = spread::control_plane(book, request, limits.mixes)
        .or_else(|| limits.cluster.quorum(book, node));
    if never_together.is_some() {
        return never_together;
    }
    if let Some(open) = tally
        .breaker()
        .filter(|_| !request.overrides(Override::Breaker))
    {
        return Some(open.clone());
    }
    if request.overrides(Override::Budget) {
        return None;
    }
    let domains = limits.domains.as_ref();
    limits
        .cluster
        .above_ceiling(ledger, book.in_use(), node)
        .or_else(|| limits.refuse(tally, node))
        .or_else(|| domains?.refuse(limits.policy, (book, tally), node))
        .or_else(|| tally.pace().cloned())
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
