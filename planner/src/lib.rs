//! Slipway's decisions as one pure function.
//!
//! [`plan`] is total and deterministic: the same snapshot and the same `now` give the same plan.
//! It knows no client, no clock, no randomness and no log, and never fails: what it cannot trust
//! becomes a reason. [`check::check`] judges a plan again, independently, before it is applied.
//! The operator applies plans; `kubectl reboot` prints them.

pub mod action;
pub mod backoff;
pub mod blockers;
pub mod budget;
pub mod catalogue;
pub mod check;
pub mod clear;
mod clears;
pub mod forecast;
pub mod gates;
pub mod govern;
mod held;
pub mod ledger;
pub mod limits;
pub mod lint;
pub mod objects;
mod order;
pub mod outlook;
pub mod policies;
pub mod reason;
pub mod report;
mod resting;
mod sentence;
pub mod snapshot;
pub mod verify;
pub mod window;

use std::collections::BTreeMap;

use jiff::Timestamp;
use slipway_api::{Phase, RebootLease, RebootLedger, Slot};

pub use action::{Action, FreeBecause, GrantRequest, Plan, PolicyVerdict, Verdict};
pub use reason::Reason;
pub use snapshot::{CordonState, Gap, LedgerState, Need, NodeView, PolicyView, Snapshot};

use resting::Candidate;

/// Decides everything about everybody, once.
pub fn plan(snapshot: &Snapshot, now: Timestamp) -> Plan {
    let mut draft = Draft::default();
    // A rebuilt ledger must know every lease and Node: nothing is rebuilt from half a view.
    let complete = !snapshot
        .gaps
        .iter()
        .any(|gap| matches!(gap, Gap::Unsynced { .. } | Gap::Undecodable { .. }));
    if complete && matches!(snapshot.ledger, LedgerState::Missing) {
        let status = ledger::initial(snapshot, now);
        draft.plan.actions.push(Action::CreateLedger { status });
    }
    let slots: &[Slot] = snapshot.ledger.present().map_or(&[], budget::slots);
    for slot in slots {
        draft.add_held(snapshot, slot, now);
    }
    for node in snapshot.nodes.values() {
        if !draft.plan.verdicts.contains_key(&node.name) {
            draft.add_resting(snapshot, node, now);
        }
    }
    draft.grant(snapshot, now);
    draft.plan.policies = policies::verdicts(snapshot, &draft.plan.verdicts, now);
    let windows = snapshot
        .policies
        .iter()
        .flat_map(|policy| gates::schedule_wakes(policy, now));
    draft.wakes.extend(windows);
    draft.wakes.extend(ledger::wake(snapshot));
    draft.plan.wake_at = draft.wakes.into_iter().filter(|time| *time > now).min();
    draft.plan
}

/// A plan in the making.
#[derive(Default)]
struct Draft {
    plan: Plan,
    candidates: Vec<Candidate>,
    wakes: Vec<Timestamp>,
}

impl Draft {
    fn add_held(&mut self, snapshot: &Snapshot, slot: &Slot, now: Timestamp) {
        let held = held::step(snapshot, slot, now);
        self.plan.actions.extend(held.actions);
        self.wakes.extend(held.wakes);
        // A slot of a former node says nothing about the node that has its name now, except that
        // the name is taken until the slot is free.
        let Some(node) = snapshot.nodes.get(&slot.node) else {
            return;
        };
        let reason = held.reason.unwrap_or(Reason::SlotHeld);
        let phase = snapshot.leases.get(&slot.node).map(RebootLease::phase);
        let stuck = matches!(reason, Reason::Stuck { .. });
        let policy = govern::governance(snapshot, node).reference();
        if phase.is_some_and(|phase| !phase.is_committed()) {
            // Still to be called off, or to be given the second key.
            let uid = policy.iter().map(|policy| policy.uid.clone());
            self.plan.ask.extend(uid);
        }
        let verdict = Verdict {
            policy,
            phase,
            waiting_for: Vec::new(),
            report: stuck
                || matches!(
                    phase,
                    Some(Phase::Pending | Phase::Granted | Phase::Rebooted)
                ),
            reason,
        };
        self.plan.verdicts.insert(slot.node.clone(), verdict);
    }

    fn add_resting(&mut self, snapshot: &Snapshot, node: &NodeView, now: Timestamp) {
        let resting = resting::step(snapshot, node, now);
        self.plan.actions.extend(resting.actions);
        self.wakes.extend(resting.wakes);
        self.candidates.extend(resting.candidate);
        let phase = snapshot.leases.get(&node.name).map(RebootLease::phase);
        let reason = resting
            .reasons
            .first()
            .cloned()
            .unwrap_or(Reason::NotRequired);
        let verdict = Verdict {
            policy: govern::governance(snapshot, node).reference(),
            phase,
            reason,
            waiting_for: resting.reasons,
            report: phase.is_some_and(|phase| !phase.is_accepted()),
        };
        self.plan.verdicts.insert(node.name.clone(), verdict);
    }

    /// Grants at most one node per policy, in order, into a copy of the ledger; everybody else
    /// learns what it waits for.
    fn grant(&mut self, snapshot: &Snapshot, now: Timestamp) {
        let mut candidates = std::mem::take(&mut self.candidates);
        order::sort(&mut candidates);
        let Some(mut ledger) = snapshot.ledger.present().cloned() else {
            return;
        };
        let mut granted: BTreeMap<String, String> = BTreeMap::new();
        for candidate in candidates {
            let request = candidate.request;
            let mut refused: Vec<Reason> = refusal(snapshot, &ledger, &request, &granted, now)
                .into_iter()
                .collect();
            if refused.is_empty() {
                // Blockers come last: they are asked only where their answer decides.
                refused = self.ask_blockers(snapshot, &request, now);
            }
            if refused.is_empty() {
                let limits = limits_of(snapshot, &request);
                if let Ok((status, _)) = budget::append(&ledger, &request, &limits, now) {
                    ledger.status = Some(status);
                }
                granted.insert(request.policy.uid.clone(), request.node.clone());
                self.plan.actions.push(Action::Grant(request.clone()));
                refused.push(Reason::Granted);
            }
            if let Some(verdict) = self.plan.verdicts.get_mut(&request.node) {
                if let Some(first) = refused.first() {
                    verdict.reason = first.clone();
                }
                verdict.waiting_for = refused;
            }
        }
    }

    /// What blockers have against a grant that nothing else stands in the way of.
    fn ask_blockers(
        &mut self,
        snapshot: &Snapshot,
        request: &GrantRequest,
        now: Timestamp,
    ) -> Vec<Reason> {
        let policy = policy_of(snapshot, request);
        let (Some(policy), Some(node)) = (policy, snapshot.nodes.get(&request.node)) else {
            return Vec::new();
        };
        self.plan.ask.insert(policy.uid.clone());
        blockers::against(snapshot, policy, node, now)
    }
}

/// Why the candidate is not granted in this pass, if it is not.
fn refusal(
    snapshot: &Snapshot,
    ledger: &RebootLedger,
    request: &GrantRequest,
    granted: &BTreeMap<String, String>,
    now: Timestamp,
) -> Option<Reason> {
    let limits = limits_of(snapshot, request);
    if let Some(reason) = budget::refuse(ledger, request, &limits, now) {
        return Some(reason);
    }
    // One per pass and policy: what the last drain did to others shows before the next (F67).
    granted
        .get(&request.policy.uid)
        .map(|after| Reason::NextInLine {
            after: after.clone(),
        })
}

fn policy_of<'a>(snapshot: &'a Snapshot, request: &GrantRequest) -> Option<&'a PolicyView> {
    let mut policies = snapshot.policies.iter();
    policies.find(|policy| policy.uid == request.policy.uid)
}

fn limits_of(snapshot: &Snapshot, request: &GrantRequest) -> budget::PolicyLimits {
    policy_of(snapshot, request)
        .map(|policy| budget::limits(snapshot, policy))
        .unwrap_or_default()
}
