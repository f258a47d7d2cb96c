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
pub mod disruption;
mod excess;
pub mod forecast;
pub mod gates;
pub mod govern;
mod grants;
mod held;
mod index;
pub mod ledger;
pub mod limits;
pub mod lint;
pub mod marks;
pub mod need;
pub mod notices;
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
mod tally;
pub mod turn;
pub mod verify;
pub mod window;

use std::collections::BTreeMap;

use jiff::Timestamp;
use slipway_api::{Phase, RebootLease, Slot};

pub use action::{Action, FreeBecause, GrantRequest, Plan, PolicyVerdict, Verdict};
pub use reason::Reason;
pub use snapshot::{CordonState, Gap, LedgerState, Need, NodeView, PolicyView, Snapshot};

use index::{Index, Row};
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
    let index = Index::new(snapshot, now);
    let mut held = BTreeMap::new();
    for slot in snapshot.ledger.present().map_or(&[][..], budget::slots) {
        if let Some(verdict) = draft.add_held(&index, slot) {
            held.insert(slot.node.as_str(), verdict);
        }
    }
    let mut verdicts = Vec::with_capacity(index.rows().len());
    // Both sorted: joined in one walk.
    let mut held = held.into_iter().peekable();
    for row in index.rows() {
        let name = &row.node.name;
        let verdict = held.next_if(|(node, _)| node == name);
        let verdict = verdict.map(|(_, verdict)| verdict);
        let verdict = verdict.unwrap_or_else(|| draft.add_resting(&index, row));
        verdicts.push((name.clone(), verdict));
    }
    // Sorted already: built in one go instead of one search per node.
    draft.plan.verdicts = verdicts.into_iter().collect();
    draft.grant(&index);
    draft.mark(&index);
    draft.plan.policies = policies::verdicts(&index, &draft.plan.verdicts);
    let places = 0..snapshot.policies.len();
    let windows = places.flat_map(|place| gates::schedule_wakes(&index, place));
    draft.wakes.extend(windows);
    draft.wakes.extend(ledger::wake(snapshot));
    draft.wakes.extend(policies::breaker_wakes(snapshot, now));
    draft.wakes.extend(notices::wakes(snapshot));
    draft.wakes.extend(need::wakes(&index));
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
    /// The verdict on the node that a slot is of.
    fn add_held(&mut self, index: &Index<'_>, slot: &Slot) -> Option<Verdict> {
        let held = held::step(index, slot);
        self.plan.actions.extend(held.actions);
        self.wakes.extend(held.wakes);
        self.plan.questions.extend(held.questions);
        // A slot of a former node says nothing about the node that has its name now, except that
        // the name is taken until the slot is free.
        let row = index.row(&slot.node)?;
        let reason = held.reason.unwrap_or(Reason::SlotHeld);
        let phase = row.lease.map(RebootLease::phase);
        // The agent is away, so nobody else would say it.
        let stuck = matches!(reason, Reason::Stuck { .. } | Reason::ReleaseWaits { .. });
        let policy = index.reference(row);
        if phase.is_some_and(|phase| !phase.is_committed()) {
            // Still to be called off, or to be given the second key.
            let uid = policy.iter().map(|policy| policy.uid.clone());
            self.plan.ask.extend(uid);
        }
        Some(Verdict {
            policy,
            phase,
            waiting_for: held.waits,
            report: stuck
                || matches!(
                    phase,
                    Some(Phase::Pending | Phase::Granted | Phase::Rebooted)
                ),
            reason,
        })
    }

    fn add_resting(&mut self, index: &Index<'_>, row: &Row<'_>) -> Verdict {
        let resting = resting::step(index, row);
        self.plan.actions.extend(resting.actions);
        self.wakes.extend(resting.wakes);
        self.candidates.extend(resting.candidate);
        let phase = row.lease.map(RebootLease::phase);
        let reason = resting.reasons.first().cloned();
        Verdict {
            policy: index.reference(row),
            phase,
            reason: reason.unwrap_or(Reason::NotRequired),
            waiting_for: resting.reasons,
            report: phase.is_some_and(|phase| !phase.is_accepted()),
        }
    }

    /// Last: what people and schedulers see must not keep a reboot waiting.
    fn mark(&mut self, index: &Index<'_>) {
        let (actions, more) = marks::actions(index);
        self.plan.actions.extend(actions);
        let soon = index
            .now
            .saturating_add(jiff::SignedDuration::from_secs(1))
            .ok();
        self.wakes.extend(soon.filter(|_| more));
    }

    /// Grants in order; everybody else learns what it waits for.
    fn grant(&mut self, index: &Index<'_>) {
        let candidates = std::mem::take(&mut self.candidates);
        let Some(ledger) = index.snapshot.ledger.present() else {
            return;
        };
        let Some(status) = &ledger.status else {
            return;
        };
        let decided = grants::decide(index, ledger, status, candidates);
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
