//! Facts that a test changes in one place only.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use slipway_api::lease::CordonRecord;
use slipway_api::policy::RebootMethod;
use slipway_api::{Phase, RebootLease, RebootLedger};

use crate::decide::{Action, Why, decide};
use crate::facts::{
    Clocks, Facts, HostFacts, JournalView, LeaseView, LedgerView, Mark, Need, NodeFacts, Outcome,
    PodsView, Seen,
};
use crate::host::Offer;
use crate::journal::Journal;

/// The grant that every test speaks of.
pub(crate) const F: i64 = 7;
/// The boot at accept.
pub(crate) const BOOT: &str = "boot-1";
/// Another one.
pub(super) const NEXT_BOOT: &str = "boot-2";

pub(super) fn now() -> Timestamp {
    "2026-01-01T00:10:00Z".parse().unwrap()
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A lease with grant 7, given ten minutes ago and good for an hour.
pub(super) fn lease(phase: Phase) -> RebootLease {
    let accepted = phase.is_accepted() || phase.is_terminal();
    let mut status = json!({"phase": phase, "fence": if accepted { F } else { 0 }});
    if accepted {
        status["bootIDBefore"] = json!(BOOT);
        status["drain"] = json!({"total": 1, "evicted": 1});
    }
    let value = json!({
        "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease",
        "metadata": {"name": "n1", "uid": "lease-uid", "resourceVersion": "9"},
        "spec": {
            "nodeUID": "node-uid", "requestedAt": "2026-01-01T00:00:00Z",
            "grant": {"fence": F, "grantedAt": "2026-01-01T00:00:00Z", "notAfter": "2026-01-01T01:00:00Z",
                "drain": {"timeout": "30m", "preflight": false}, "reboot": {}, "verify": {}},
        },
        "status": status,
    });
    serde_json::from_value(value).unwrap()
}

/// The same with the second key, so many seconds old.
pub(crate) fn cleared(phase: Phase, age: i64) -> RebootLease {
    let mut lease = lease(phase);
    let at = now() - SignedDuration::from_secs(age);
    lease.spec.clear = Some(serde_json::from_value(json!({"fence": F, "at": at})).unwrap());
    lease
}

/// The same, called off.
pub(super) fn revoked(phase: Phase) -> RebootLease {
    let mut lease = lease(phase);
    let revoke = json!({"fence": F, "reason": "WindowClosed", "message": "the window closed"});
    lease.spec.revoke = Some(serde_json::from_value(revoke).unwrap());
    lease
}

pub(super) fn ledger() -> RebootLedger {
    let slot = json!({"node": "n1", "nodeUID": "node-uid", "leaseUID": "lease-uid",
        "policyUID": "p", "fence": F});
    ledger_of(&json!([slot]))
}

pub(super) fn ledger_of(slots: &Value) -> RebootLedger {
    let value = json!({
        "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLedger",
        "metadata": {"name": "cluster"}, "spec": {},
        "status": {"nextFence": 8, "slots": slots},
    });
    serde_json::from_value(value).unwrap()
}

pub(super) fn ours(fence: i64) -> Mark {
    Mark::Ours(CordonRecord {
        fence,
        unschedulable_before: false,
    })
}

/// Facts that fit the phase in every respect: the happy path.
pub(crate) fn facts(lease: RebootLease) -> Facts {
    let phase = lease.phase();
    let cordoned = matches!(phase, Phase::Draining | Phase::Drained | Phase::Rebooting);
    let committed = if phase == Phase::Rebooting { F } else { 0 };
    Facts {
        lease: LeaseView::Present(Box::new(lease)),
        ledger: LedgerView::Present(Box::new(ledger())),
        node: NodeFacts {
            uid: "node-uid".into(),
            unschedulable: cordoned,
            mark: if cordoned { ours(F) } else { Mark::Absent },
            undone: None,
            foreign_cordon: false,
            condition_current: true,
        },
        pods: if cordoned {
            PodsView::Left(0)
        } else {
            PodsView::NotRead
        },
        host: HostFacts {
            boot_id: BOOT.into(),
            need: Need::Required,
            shutdown_pending: Some(false),
            offer: Offer::by(RebootMethod::Logind),
        },
        journal: JournalView::Readable(Journal {
            committed,
            boot_id: BOOT.into(),
            ..Journal::default()
        }),
        clocks: Clocks {
            api: now(),
            wall: now(),
            boottime: secs(5000),
            started: secs(1000),
        },
        seen: Seen::default(),
    }
}

/// Facts of a grant that was accepted, with the node as it was.
pub(super) fn untouched(mut lease: RebootLease) -> Facts {
    lease.status.as_mut().unwrap().drain = None;
    let mut facts = facts(lease);
    facts.node.mark = Mark::Absent;
    facts.node.unschedulable = false;
    facts.pods = PodsView::NotRead;
    facts
}

/// The journal, to change it.
pub(super) fn journal(facts: &mut Facts) -> &mut Journal {
    match &mut facts.journal {
        JournalView::Readable(journal) => journal,
        JournalView::Unreadable { reason } => panic!("{reason}"),
    }
}

/// Makes the journal unreadable.
pub(super) fn broken(facts: &mut Facts) {
    facts.journal = JournalView::Unreadable {
        reason: "broken".into(),
    };
}

/// Notes a call made so many seconds ago.
pub(super) fn called(facts: &mut Facts, ago: u64) {
    let at = facts.clocks.boottime.checked_sub(secs(ago)).unwrap();
    let noted = journal(facts)
        .with_commit(F, BOOT, "node-uid")
        .with_call(at);
    *journal(facts) = noted;
}

/// The ending that is decided, if one is.
pub(super) fn ending(facts: &Facts) -> Option<(Phase, String)> {
    match decide(facts) {
        Action::Retire { fence, outcome } => {
            let Outcome { phase, reason, .. } = outcome;
            assert_eq!(fence, F);
            Some((phase, reason))
        }
        Action::Wait { .. }
        | Action::Accept { .. }
        | Action::ReportJournal { .. }
        | Action::Cordon { .. }
        | Action::Preflight { .. }
        | Action::Evict { .. }
        | Action::MarkDrained { .. }
        | Action::Commit { .. }
        | Action::MarkCalled { .. }
        | Action::Undo { .. }
        | Action::MarkRebooted { .. } => None,
    }
}

/// What is waited for, if it waits.
pub(super) fn waits(facts: &Facts) -> Option<Why> {
    match decide(facts) {
        Action::Wait { why, .. } => Some(why),
        Action::Accept { .. }
        | Action::ReportJournal { .. }
        | Action::Cordon { .. }
        | Action::Preflight { .. }
        | Action::Evict { .. }
        | Action::MarkDrained { .. }
        | Action::Commit { .. }
        | Action::MarkCalled { .. }
        | Action::Undo { .. }
        | Action::Retire { .. }
        | Action::MarkRebooted { .. } => None,
    }
}

/// `Failed` with a reason.
#[expect(
    clippy::unnecessary_wraps,
    reason = "it is compared with what `ending` returns"
)]
pub(super) fn failed(reason: &str) -> Option<(Phase, String)> {
    Some((Phase::Failed, reason.to_owned()))
}

/// Locks block a shutdown of the machine.
pub(super) fn inhibited() -> Offer {
    Offer::Inhibited {
        method: RebootMethod::Logind,
        by: vec!["dpkg (pid 7): upgrade".to_owned()],
    }
}

/// The machine does not say whether it can be rebooted.
pub(super) fn unanswered() -> Offer {
    let reason = "logind does not answer".to_owned();
    Offer::Unanswered { reason }
}

/// The machine cannot be rebooted in the way that is wanted.
pub(super) fn impossible() -> Offer {
    let reason = "PID 1 is not the host's".to_owned();
    Offer::Impossible { reason }
}
