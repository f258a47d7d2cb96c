//! Every reason once, and the documentation that is made of them.

use jiff::{SignedDuration, Timestamp};

use crate::reason::Reason;
use crate::snapshot::Gap;

/// One of each, in the order of the enum. `planner/tests/tables/reasons.rs` finds one that is missing.
pub fn reasons() -> Vec<Reason> {
    let until = Timestamp::from_second(1_795_557_600).unwrap_or_default();
    let since = until
        .saturating_sub(SignedDuration::from_hours(1))
        .unwrap_or_default();
    let policy = || "workers".to_owned();
    let node = || "n1".to_owned();
    let mut all = of_policies(until);
    all.extend(of_limits(until));
    all.extend(of_people(until));
    all.extend(of_others());
    all.extend([
        Reason::ControlPlaneBusy { node: node() },
        Reason::ControlPlaneNotReady { node: node() },
        Reason::LedgerFull,
        Reason::LedgerRebuilt { until },
        Reason::LedgerMissing,
        Reason::NotObserved {
            gap: Gap::Unsynced {
                kind: "Nodes".to_owned(),
            },
        },
        Reason::AgentNotReady,
        Reason::NodeNotReady,
        Reason::NodeDeleting,
        Reason::LeaseOfFormerNode,
        Reason::BackingOff { until, failures: 2 },
        Reason::Undrainable { until, failures: 2 },
        Reason::DrainCausesBlock { until, drains: 3 },
        Reason::TooManyReboots { reboots: 3, until },
        Reason::NextInLine { after: node() },
        Reason::SlotHeld,
        Reason::Granted,
        Reason::Draining,
        Reason::Drained,
        Reason::PodsLeft {
            count: 2,
            example: "shop/cart-0".to_owned(),
        },
        Reason::RebootDelay { until },
        Reason::VolumesAttached {
            count: 2,
            example: "csi-0a1b2c".to_owned(),
            until,
        },
        Reason::Rebooting,
        Reason::Verifying,
        Reason::Stuck { since },
        Reason::AgentSilent,
        Reason::Voided,
        Reason::AnswerOwed,
        Reason::JournalAhead,
        Reason::Ineffective,
        Reason::PodsNotReady {
            owner: "ReplicaSet shop/cart".to_owned(),
            message: "ReplicaSet shop/cart has 1 of 2 ready pods".to_owned(),
        },
        Reason::VerifyQuery {
            message: "the query has a non-empty answer".to_owned(),
        },
        Reason::Verified,
        Reason::NoLongerNeeded,
        Reason::Ended {
            reason: "DrainTimeout".to_owned(),
            message: format!("the outcome of the last reboot under policy {}", policy()),
        },
    ]);
    all
}

fn of_policies(until: Timestamp) -> Vec<Reason> {
    let policy = || "workers".to_owned();
    vec![
        Reason::Blocked {
            policy: policy(),
            blocker: "alerts".to_owned(),
            message: "alert DiskFull fires".to_owned(),
        },
        Reason::BlockerFailed {
            policy: policy(),
            blocker: "alerts".to_owned(),
            message: "no answer within 5s".to_owned(),
        },
        Reason::NotRequired,
        Reason::NotReported,
        Reason::CheckFailed {
            message: "permission denied".to_owned(),
        },
        Reason::NoPolicy,
        Reason::CheckNotCounted {
            policy: policy(),
            check: "sentinel-file".to_owned(),
        },
        Reason::PolicyConflict {
            policies: vec![policy(), "everything".to_owned()],
        },
        Reason::PolicyInvalid {
            policy: policy(),
            message: "spec.schedule.timeZone: there is no time zone \"Mars\"".to_owned(),
        },
        Reason::PolicyDeleted { policy: policy() },
        Reason::ObserveMode { policy: policy() },
        Reason::PolicyPaused { policy: policy() },
        Reason::LedgerPaused,
        Reason::WindowClosed {
            policy: policy(),
            opens: Some(until),
        },
        Reason::BudgetUsed {
            policy: policy(),
            in_use: 1,
            allowed: 1,
        },
    ]
}

fn of_people(until: Timestamp) -> Vec<Reason> {
    let (by, why) = ("ada".to_owned(), "debugging".to_owned());
    vec![
        Reason::BreakerOpen {
            policy: "workers".to_owned(),
            failures: vec!["n1".to_owned(), "n2".to_owned()],
            until: Some(until),
        },
        Reason::NotApproved {
            policy: "workers".to_owned(),
        },
        Reason::Held {
            by: by.clone(),
            why: why.clone(),
        },
        Reason::Released { by, why },
        Reason::ReleaseWaits { until },
    ]
}

fn of_others() -> Vec<Reason> {
    vec![
        Reason::AdmissionNotProved {
            gap: Gap::AdmissionMissing {
                policy: "slipway-agent-node".to_owned(),
                why: "there is no such policy".to_owned(),
            },
        },
        Reason::NodeDisrupted {
            by: "the Cluster Autoscaler",
            taint: "ToBeDeletedByClusterAutoscaler",
        },
    ]
}

fn of_limits(until: Timestamp) -> Vec<Reason> {
    let (policy, node) = (|| "workers".to_owned(), || "n1".to_owned());
    let (domain, group) = (|| "zone-a".to_owned(), || "app=etcd".to_owned());
    vec![
        Reason::Frozen {
            policy: policy(),
            why: "year-end".to_owned(),
            until,
        },
        Reason::CutoffReached {
            policy: policy(),
            needs: SignedDuration::from_mins(15),
            ends: until,
        },
        Reason::CeilingUsed {
            in_use: 5,
            allowed: 5,
        },
        Reason::DomainBudgetUsed {
            policy: policy(),
            domain: domain(),
            in_use: 1,
            allowed: 1,
        },
        Reason::DomainBusy {
            policy: policy(),
            domain: domain(),
        },
        Reason::DomainDown {
            policy: policy(),
            domain: domain(),
            node: node(),
        },
        Reason::QuorumBusy {
            group: group(),
            node: node(),
        },
        Reason::QuorumDown {
            group: group(),
            node: node(),
        },
        Reason::NotMixed { node: node() },
        Reason::MinInterval {
            policy: policy(),
            until,
        },
        Reason::CanaryRunning { policy: policy() },
        Reason::CanarySoaks {
            policy: policy(),
            until,
        },
        Reason::TurnOf {
            node: node(),
            until,
        },
    ]
}

/// The page of documentation.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Reasons\n\n\
         <!-- Generated from the planner by `cargo xtask reasons`; edit planner/src/clears.rs and planner/src/sentence.rs. -->\n\n\
         The word is the `reason` of a RebootLease, the `kind` of its `waitingFor`, the reason of Events and the label of `slipway_decisions_total`.\n\
         Names and times in the sentences are examples.\n\
         \"By itself\" means that time or the progress of other nodes ends it, so that such a node has an expected time.\n\n\
         | Reason | Sentence | What clears it | By itself |\n\
         |---|---|---|---|\n",
    );
    for reason in reasons() {
        let row = [
            format!("`{}`", reason.code()),
            reason.to_string(),
            reason.clears().to_owned(),
            if reason.passes() { "yes" } else { "no" }.to_owned(),
        ];
        page.push_str("| ");
        page.push_str(&row.map(|cell| cell.replace('|', "\\|")).join(" | "));
        page.push_str(" |\n");
    }
    page
}
