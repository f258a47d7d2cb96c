//! From the model's few bits to the objects of the API, so that the programs' own functions decide.

use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use slipway_api::lease::{Clear, CordonRecord, Grant, Revoke, Transition};
use slipway_api::{RebootLease, RebootLeaseSpec, RebootLeaseStatus, RebootLedger, Slot as ApiSlot};

use crate::state::{Boot, Fence, Key, Lease, Mark, Node, NodeId, Slot, State};

/// The moment at which everything is judged: 2026-11-24T12:00:00Z.
pub const NOW: Timestamp = Timestamp::constant(1_795_521_600, 0);
/// The present boot, as every reader of this moment calls it.
pub const BOOT: &str = "present";
/// The one that the kubelet reports still.
pub const REPORTED: &str = "reported";
/// Any other earlier one.
pub const EARLIER: &str = "earlier";
/// UID of the one policy.
pub const POLICY: &str = "policy";

/// So many minutes before the moment.
pub fn minutes_ago(minutes: i64) -> Timestamp {
    NOW.saturating_sub(SignedDuration::from_mins(minutes))
        .unwrap_or(NOW)
}

/// Name of a node and its lease.
pub fn name(node: NodeId) -> String {
    format!("n{}", node.0)
}

/// UID of a node.
pub fn node_uid(node: NodeId) -> String {
    format!("u{}", node.0)
}

fn lease_uid(node: NodeId, uid: u8) -> String {
    format!("l{}-{uid}", node.0)
}

/// A boot ID.
pub fn boot_id(boot: Boot) -> Option<String> {
    match boot {
        Boot::None => None,
        Boot::Now => Some(BOOT.to_owned()),
        Boot::Reported => Some(REPORTED.to_owned()),
        Boot::Earlier => Some(EARLIER.to_owned()),
    }
}

/// An object with the fields that must be there; what the API gains in others is left at its default.
#[expect(
    clippy::expect_used,
    reason = "every one of them is written in this file"
)]
fn template<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the templates of the model fit the API")
}

static GRANT: LazyLock<Grant> = LazyLock::new(|| {
    template(json!({
        "fence": 1, "grantedAt": NOW, "notAfter": NOW, "drain": {"preflight": false}, "reboot": {}, "verify": {},
    }))
});

static SPEC: LazyLock<RebootLeaseSpec> = LazyLock::new(|| {
    let policy = json!({"name": POLICY, "uid": POLICY});
    template(json!({"nodeUID": "u", "policy": policy, "requestedAt": minutes_ago(6000)}))
});

static SLOT: LazyLock<ApiSlot> = LazyLock::new(|| {
    template(json!({"node": "n", "nodeUID": "u", "leaseUID": "l", "policyUID": POLICY, "fence": 1}))
});

static LEDGER: LazyLock<RebootLedger> = LazyLock::new(|| {
    template(json!({
        "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootLedger",
        "metadata": {"name": slipway_api::names::LEDGER_NAME},
        "spec": {}, "status": {"nextFence": 1},
    }))
});

fn grant(lease: &Lease) -> Option<Grant> {
    let not_after = if lease.is_expired {
        minutes_ago(1)
    } else {
        minutes_ago(-60)
    };
    (lease.grant > 0).then(|| Grant {
        fence: lease.grant.into(),
        // Nobody has waited long, but where the grant has run out.
        granted_at: Time(if lease.is_expired {
            minutes_ago(61)
        } else {
            NOW
        }),
        not_after: Time(not_after),
        ..GRANT.clone()
    })
}

fn clear(key: Key) -> Clear {
    let at = if key.is_old { minutes_ago(2) } else { NOW };
    Clear {
        fence: key.fence.into(),
        at: Time(at),
    }
}

fn revoke(fence: Fence) -> Option<Revoke> {
    (fence > 0).then(|| Revoke {
        fence: fence.into(),
        reason: "Revoked".to_owned(),
        message: String::new(),
    })
}

/// The lease of a node. Whatever it waited for, it has waited long enough.
pub fn lease(node: NodeId, lease: &Lease) -> RebootLease {
    let spec = RebootLeaseSpec {
        node_uid: node_uid(node),
        grant: grant(lease),
        clear: lease.clear.map(clear),
        revoke: revoke(lease.revoke),
        ..SPEC.clone()
    };
    let mut object = RebootLease::new(&name(node), spec);
    object.metadata.uid = Some(lease_uid(node, lease.uid));
    let entered = Transition {
        phase: lease.phase.0,
        at: MicroTime(minutes_ago(3000)),
    };
    object.status = Some(RebootLeaseStatus {
        phase: lease.phase.0,
        fence: lease.fence.into(),
        // So that nobody is busy with showing that the reboot is called.
        reason: slipway_node_agent::reason::REBOOT_CALLED.to_owned(),
        boot_id_before: boot_id(lease.before),
        boot_id_after: boot_id(lease.after),
        transitions: vec![entered],
        ..RebootLeaseStatus::default()
    });
    object
}

/// A slot of the ledger.
pub fn slot(node: NodeId, slot: Slot) -> ApiSlot {
    ApiSlot {
        node: name(node),
        node_uid: node_uid(node),
        lease_uid: lease_uid(node, slot.uid),
        fence: slot.fence.into(),
        ..SLOT.clone()
    }
}

/// A ledger with these slots.
pub fn ledger(is_paused: bool, next_fence: Fence, slots: Vec<ApiSlot>) -> RebootLedger {
    let mut ledger = LEDGER.clone();
    ledger.spec.paused = is_paused;
    if let Some(status) = &mut ledger.status {
        status.next_fence = next_fence.into();
        status.slots = slots;
    }
    ledger
}

/// The slots of these nodes.
pub fn slots(nodes: &[Node]) -> Vec<ApiSlot> {
    (0..)
        .map(NodeId)
        .zip(nodes)
        .filter_map(|(id, node)| Some(slot(id, node.slot?)))
        .collect()
}

/// The ledger of a state.
pub fn ledger_of<const N: usize>(state: &State<N>) -> RebootLedger {
    ledger(
        state.is_paused,
        crate::canon::next_fence(state),
        slots(&state.nodes),
    )
}

/// The content of our annotation.
pub fn record(mark: Mark) -> CordonRecord {
    CordonRecord {
        fence: mark.fence.into(),
        unschedulable_before: mark.before,
    }
}
