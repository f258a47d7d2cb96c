//! Facts in which a reboot goes ahead, for targets that spoil one of them.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use slipway_api::RebootLedger;
use slipway_api::lease::CordonRecord;
use slipway_api::policy::RebootMethod;
use slipway_node_agent::facts::{
    Clocks, Facts, HostFacts, JournalView, LeaseView, LedgerView, Mark, Need, NodeFacts, PodsView,
    Seen,
};
use slipway_node_agent::host::Offer;

/// The boot at accept.
pub(crate) const BOOT: &str = "boot-1";
/// Another one.
pub(crate) const OTHER_BOOT: &str = "boot-2";
pub(crate) const NODE_UID: &str = "node-uid";
/// Time since boot.
pub(crate) const BOOTTIME: Duration = Duration::from_secs(10_000);

pub(crate) fn now() -> Timestamp {
    "2026-01-01T00:10:00Z".parse().unwrap()
}

/// A lease with this grant, given ten minutes ago, good for an hour, and both keys turned.
pub(crate) fn lease(phase: &str, accepted: i64, granted: i64) -> Value {
    json!({
        "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLease",
        "metadata": {"name": "n1", "uid": "lease-uid", "resourceVersion": "9"},
        "spec": {
            "nodeUID": NODE_UID, "requestedAt": "2026-01-01T00:00:00Z",
            "grant": {"fence": granted, "grantedAt": "2026-01-01T00:00:00Z",
                "notAfter": "2026-01-01T01:00:00Z",
                "drain": {"timeout": "30m", "preflight": false}, "reboot": {}, "verify": {}},
            "clear": {"fence": granted, "at": "2026-01-01T00:09:50Z"},
        },
        "status": {"phase": phase, "fence": accepted, "bootIDBefore": BOOT,
            "drain": {"total": 1, "evicted": 1}},
    })
}

/// A ledger with one slot.
pub(crate) fn ledger(name: &str, node_uid: &str, lease_uid: &str, fence: i64) -> RebootLedger {
    let slot = json!({"node": name, "nodeUID": node_uid, "leaseUID": lease_uid,
        "policyUID": "p", "fence": fence});
    let value = json!({
        "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLedger",
        "metadata": {"name": "cluster"}, "spec": {}, "status": {"nextFence": fence, "slots": [slot]},
    });
    serde_json::from_value(value).unwrap()
}

/// Facts about this fence in which nothing stands in the way.
pub(crate) fn facts(lease: LeaseView, journal: JournalView, fence: i64, cordoned: bool) -> Facts {
    let record = CordonRecord {
        fence,
        unschedulable_before: false,
    };
    Facts {
        lease,
        ledger: LedgerView::Present(Box::new(ledger("n1", NODE_UID, "lease-uid", fence))),
        node: NodeFacts {
            uid: NODE_UID.to_owned(),
            unschedulable: cordoned,
            mark: if cordoned {
                Mark::Ours(record)
            } else {
                Mark::Absent
            },
            undone: None,
            foreign_cordon: false,
            condition_current: true,
        },
        pods: PodsView::Left(0),
        host: HostFacts {
            boot_id: BOOT.to_owned(),
            need: Need::Required,
            shutdown_pending: Some(false),
            offer: Offer::by(RebootMethod::Logind),
        },
        journal,
        clocks: Clocks {
            api: now(),
            wall: now(),
            boottime: BOOTTIME,
            started: BOOTTIME,
        },
        seen: Seen::default(),
    }
}
