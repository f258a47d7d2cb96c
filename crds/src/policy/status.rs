//! What a policy is doing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::notifications::NotificationStatus;
use crate::duration::Duration;

/// What the policy is doing: counts and conditions, never one entry per node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RebootPolicyStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: the policy is valid and in force. `Progressing`: reboots are under way or due.
    /// `Feasible`: budget and windows let the nodes be done. `Degraded`: a reboot failed or is stuck.
    /// `Conflict`: shares nodes with a policy of the same priority. `Notified`: every notification
    /// can be delivered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Nodes by state.
    #[serde(default)]
    pub nodes: NodeCounts,
    /// `budget.maxUnavailable` as a number of nodes.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub allowed: i32,
    /// Nodes of this policy that are unavailable or being rebooted now.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub in_use: i32,
    /// Blockers that keep nodes waiting, or that were passed over because they did not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub blocked_by: Vec<BlockedBy>,
    /// Whether reboots may start now; absent while the schedule cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowState>,
    /// The present or next window; absent when there is none or it is always open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_window: Option<WindowSpan>,
    /// What is expected of the nodes that wait; absent while none does.
    // Written as null: a merge patch keeps what it does not name.
    #[serde(default)]
    pub forecast: Option<Forecast>,
    /// How long this policy's reboots took, from the grant until the slot was free again; absent
    /// until five are on record.
    // Written as null: a merge patch keeps what it does not name.
    #[serde(default)]
    pub durations: Option<RebootDurations>,
    /// How the deliveries of each of `spec.notifications` stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["secret".into(), "key".into()]))]
    pub notifications: Vec<NotificationStatus>,
}

/// What is expected of the nodes that wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// All nodes that can be foretold are done by then, in nine of ten cases; absent where some
    /// never are.
    // Written as null: a merge patch keeps what it does not name.
    #[serde(default)]
    pub all_done_by: Option<Time>,
    /// Nodes that wait for something that neither time nor other nodes bring about.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub blocked: i32,
    /// Nodes whose turn never comes within a year.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub never: i32,
}

/// How long reboots took. They are what forecasts and `schedule.cutoff: Auto` go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct RebootDurations {
    /// Half of them took at most this long.
    pub p50: Duration,
    /// Nine of ten took at most this long.
    pub p90: Duration,
}

/// Nodes of a policy by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeCounts {
    /// Obey this policy.
    #[serde(default)]
    pub matched: i32,
    /// Need a reboot.
    #[serde(default)]
    pub required: i32,
    /// Need one and wait.
    #[serde(default)]
    pub waiting: i32,
    /// Are being drained, rebooted or verified.
    #[serde(default)]
    pub in_progress: i32,
    /// Were rebooted, and need none now.
    #[serde(default)]
    pub completed: i32,
    /// Ended their last reboot in failure.
    #[serde(default)]
    pub failed: i32,
}

/// A blocker that does not let nodes go, or could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct BlockedBy {
    /// Its name in `spec.blockers`.
    #[schemars(length(max = 63))]
    pub blocker: String,
    /// `Blocked`: it says no. `BlockerFailed`: it could not be asked. `FailedAllowed`: it could not
    /// be asked, and nodes go all the same (`onError: Allow`).
    #[schemars(length(max = 32))]
    pub reason: String,
    /// Why, as a sentence.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Since when the reason has been the same.
    pub since: Time,
    /// Nodes that wait for it and nothing else.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub nodes: i32,
}

/// Whether the schedule lets reboots start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WindowState {
    /// Reboots may start.
    Open,
    /// They may not.
    Closed,
}

/// A window in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct WindowSpan {
    /// Its first instant.
    pub start: Time,
    /// The first instant after it.
    pub end: Time,
}
