//! RebootLedger: the one object that is compared and swapped to decide every limit.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Most slots that fit the ledger: the object stays far below etcd's limit of 1.5 MiB.
pub const SLOTS_MAX: usize = 1000;

/// The brake for every policy at once.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "slipway.dev",
    version = "v1alpha1",
    kind = "RebootLedger",
    plural = "rebootledgers",
    status = "RebootLedgerStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "The record of every reboot under way, and the brake for all of them. There is exactly one, named cluster; Slipway makes it.",
    validation = Rule::new("self.metadata.name == 'cluster'").message("there is only one RebootLedger: name it cluster"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.nextFence) || (has(self.status) && has(self.status.nextFence) && self.status.nextFence >= oldSelf.status.nextFence)").message("status.nextFence never goes back: an old grant would count again"),
    printcolumn(name = "Paused", type_ = "boolean", json_path = ".spec.paused"),
    printcolumn(name = "Next-Fence", type_ = "integer", json_path = ".status.nextFence"),
    printcolumn(name = "Rebooting", type_ = "string", json_path = ".status.slots[*].node"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct RebootLedgerSpec {
    /// True stops every policy: no grant, no second key, and no agent commits.
    /// Nodes that are draining are uncordoned again; a reboot already called finishes.
    /// Default false.
    #[serde(default)]
    pub paused: bool,
}

/// Written by the operator only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RebootLedgerStatus {
    /// The fence that the next grant gets; only grows.
    #[schemars(range(min = 1))]
    pub next_fence: i64,
    /// One entry per node that has been granted a reboot that is not over yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["node".into()]))]
    pub slots: Vec<Slot>,
    /// Nothing is granted before this time. Set when a lost ledger was rebuilt from leases and
    /// Nodes, so that agents can first report fences that the leases do not show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants_not_before: Option<Time>,
}

/// One node's place in the budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Slot {
    /// Name of the Node.
    #[schemars(length(max = 253))]
    pub node: String,
    /// UID of the Node: a node made anew under the same name is another node.
    #[serde(rename = "nodeUID")]
    #[schemars(length(max = 64))]
    pub node_uid: String,
    /// UID of the RebootLease: one that was deleted and made anew owes an answer first.
    #[serde(rename = "leaseUID")]
    #[schemars(length(max = 64))]
    pub lease_uid: String,
    /// UID of the RebootPolicy that asked.
    #[serde(rename = "policyUID")]
    #[schemars(length(max = 64))]
    pub policy_uid: String,
    /// The fence of this grant.
    #[schemars(range(min = 1))]
    pub fence: i64,
    /// True for a control-plane node: at most one of these holds a slot.
    #[serde(default)]
    pub control_plane: bool,
}
