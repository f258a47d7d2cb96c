//! RebootLedger: the one object that is compared and swapped to decide every limit.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::schema;

/// Most slots that fit the ledger: the object stays far below etcd's limit of 1.5 MiB.
pub const SLOTS_MAX: usize = 1000;
/// Most policies that the ledger remembers something of.
pub const POLICIES_MAX: usize = 256;
/// Most reboots whose times it remembers of each.
pub const REBOOTS_MAX: usize = 20;
/// Most nodes that it remembers as passed.
pub const PASSED_MAX: usize = 20;
/// Most failure domains that it remembers as begun of each.
pub const DOMAINS_MAX: usize = 100;
/// Most failures that it remembers of each.
pub const FAILURES_MAX: usize = 16;

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
    /// Nodes of the whole cluster that may be unavailable at once, whatever the policies allow: a
    /// number, or a percentage of all nodes, rounded down but at least 1 unless `0%` is written.
    /// Nodes that are NotReady or cordoned by somebody else use it too. `0` stops. Absent means that
    /// only the policies limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::max_unavailable")]
    pub max_unavailable: Option<IntOrString>,
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
    /// What limits the next grant of a policy besides the slots: written with the same
    /// compare-and-swap that appends or frees them, so that two operators cannot both pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["uid".into()]))]
    pub policies: Vec<PolicyRecord>,
    /// Nodes that others have passed which came later, the longest waiting first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["node".into()]))]
    pub passed: Vec<Passed>,
    /// Nothing is granted before this time. Set when a lost ledger was rebuilt from leases and
    /// Nodes, so that agents can first report fences that the leases do not show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants_not_before: Option<Time>,
}

/// One node's place in the budget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
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
    /// Failure domain of the Node by the policy's `budget.perDomain`, when it was granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub domain: Option<String>,
    /// True for one of the first nodes of a rollout.
    #[serde(default)]
    pub canary: bool,
}

/// A node that others have passed which came later.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Passed {
    /// Name of the Node.
    #[schemars(length(max = 253))]
    pub node: String,
    /// UID of its policy.
    #[serde(rename = "policyUID")]
    #[schemars(length(max = 64))]
    pub policy_uid: String,
    /// True for a control-plane node: it may wait for the nodes of every policy.
    #[serde(default)]
    pub control_plane: bool,
    /// How often.
    #[schemars(range(min = 1))]
    pub times: i32,
    /// When that was too often: the others wait for it from then on, for an hour at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_since: Option<Time>,
}

/// How long a reboot took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct RebootTime {
    /// Seconds from the grant until the node was verified.
    #[schemars(range(min = 0))]
    pub total: i64,
    /// Seconds of these from the reboot call on.
    #[schemars(range(min = 0))]
    pub away: i64,
}

/// What the ledger remembers of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRecord {
    /// UID of the RebootPolicy.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Reboots that failed, oldest first: the breaker counts them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub failures: Vec<Failure>,
    /// The fence of the one node that an open breaker lets try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub probe: Option<i64>,
    /// When it was last granted a reboot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_grant_at: Option<Time>,
    /// When one of its reboots last ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_end_at: Option<Time>,
    /// First nodes of the present rollout that are back and verified.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub canaries_done: i32,
    /// When the last of these was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_done_at: Option<Time>,
    /// Failure domains that were begun and in which nodes may still wait.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(max = 63)))]
    pub domains: Vec<String>,
    /// How long its last reboots took, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub reboots: Vec<RebootTime>,
}

/// A reboot that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Failure {
    /// Name of the Node.
    #[schemars(length(max = 253))]
    pub node: String,
    /// Its fence: each reboot counts once.
    #[schemars(range(min = 1))]
    pub fence: i64,
    /// When it failed.
    pub at: Time,
    /// Why, as in the lease.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub reason: String,
}
