//! Slipway's decisions as one pure function.
//!
//! [`plan`] is total and deterministic: the same snapshot and the same `now` give the same plan.
//! It knows no client, no clock, no randomness and no log, and never fails: what it cannot trust
//! becomes a reason. [`check::check`] judges a plan again, independently, before it is applied.
//! The operator applies plans; `kubectl reboot` prints them.

pub mod action;
pub mod backoff;
pub mod blockers;
pub mod breaker;
pub mod budget;
pub mod catalogue;
pub mod check;
pub mod clear;
mod clears;
pub mod forecast;
pub mod gates;
pub mod govern;
mod grants;
mod held;
pub mod ledger;
pub mod limits;
pub mod lint;
pub mod objects;
mod order;
pub mod outlook;
pub mod pace;
pub mod policies;
pub mod reason;
pub mod report;
mod resting;
pub mod schedule;
mod sentence;
pub mod snapshot;
pub mod spread;
pub mod turn;
pub mod verify;
pub mod window;

use jiff::Timestamp;
use slipway_api::{Phase, RebootLease, Slot};

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
    // One that was made and never filled counts as missing: its maker died between two writes.
    let lost = match &snapshot.ledger {
        LedgerState::Missing => true,
        LedgerState::Present(ledger) => ledger.status.is_none(),
        LedgerState::Unknown => false,
    };
    if complete && lost {
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
        .flat_map(|policy| gates::schedule_wakes(snapshot, policy, now));
    draft.wakes.extend(windows);
    draft.wakes.extend(ledger::wake(snapshot));
    draft.wakes.extend(policies::breaker_wakes(snapshot, now));
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
        self.plan.questions.extend(held.questions);
        // A slot of a former node says nothing about the node that has its name now, except that
        // the name is taken until the slot is free.
        let Some(node) = snapshot.nodes.get(&slot.node) else {
            return;
        };
        let reason = held.reason.unwrap_or(Reason::SlotHeld);
        let phase = snapshot.leases.get(&slot.node).map(RebootLease::phase);
        // The agent is away, so nobody else would say it.
        let stuck = matches!(reason, Reason::Stuck { .. } | Reason::ReleaseWaits { .. });
        let policy = govern::governance(snapshot, node).reference();
        if phase.is_some_and(|phase| !phase.is_committed()) {
            // Still to be called off, or to be given the second key.
            self.plan
                .ask
                .extend(policy.iter().map(|policy| policy.uid.clone()));
        }
        let verdict = Verdict {
            policy,
            phase,
            waiting_for: held.waits,
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

    /// Grants in order; everybody else learns what it waits for.
    fn grant(&mut self, snapshot: &Snapshot, now: Timestamp) {
        let candidates = std::mem::take(&mut self.candidates);
        let Some(ledger) = snapshot.ledger.present() else {
            return;
        };
        let decided = grants::decide(snapshot, ledger, candidates, now);
        self.plan.ask.extend(decided.ask);
        for (request, reasons) in decided.candidates {
            self.wakes.extend(reasons.iter().filter_map(Reason::ends));
            let first = reasons.first().cloned().unwrap_or(Reason::SlotHeld);
            if let Some(verdict) = self.plan.verdicts.get_mut(&request.node) {
                verdict.reason = first.clone();
                verdict.waiting_for = reasons;
            }
            if first == Reason::Granted {
                self.plan.actions.push(Action::Grant(request));
            }
        }
    }
}
