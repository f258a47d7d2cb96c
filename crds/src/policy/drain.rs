//! How pods are moved away before the reboot.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::schema;

/// How pods are moved away before the reboot. Pods are evicted, so PodDisruptionBudgets are obeyed.
/// Mirror pods and pods of DaemonSets stay, as with `kubectl drain`, and so do Slipway's operators.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainSettings {
    /// Time that a drain may take; then `onTimeout` says what happens. `0s` means no limit and must be
    /// written. Default 30m.
    #[serde(default = "DrainSettings::half_an_hour")]
    pub timeout: Duration,
    /// `Abort` uncordons the node and lets others go first. `ForceDelete` deletes the pods that are
    /// left, past their PodDisruptionBudgets and with their grace period, and still waits until they
    /// have gone; agents may do so only with the chart's `agent.forceDelete: true`, and pods that
    /// `unmanagedPods` or `emptyDirData` block are not deleted. `RebootAnyway` reboots the node with
    /// them on it. Default Abort.
    #[serde(default)]
    pub on_timeout: OnDrainTimeout,
    /// Grace period for each pod in seconds; absent means each pod's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86_400))]
    pub grace_period_seconds: Option<i64>,
    /// Only pods with these labels have to move; the others go down with the node. Absent means every
    /// pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::pod_selector")]
    pub pod_selector: Option<LabelSelector>,
    /// Pods of DaemonSets with these labels are evicted as well, once: the pod that the DaemonSet
    /// makes in their place stays. Absent means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::pod_selector")]
    pub daemon_set_pods: Option<LabelSelector>,
    /// A pod that is still there this long after its time to end was up is not waited for. Default
    /// 0s: every pod is waited for.
    #[serde(default)]
    pub skip_wait_for_delete_timeout: Duration,
    /// Pods that no controller would make anew: `Evict` moves them like others, and they are gone for
    /// good; `Block` keeps the node from being rebooted until somebody has removed them. Default
    /// Evict.
    #[serde(default)]
    pub unmanaged_pods: UnmanagedPods,
    /// Pods with an `emptyDir` volume, whose data is lost when they leave the node: `Delete` moves
    /// them like others; `Block` keeps the node from being rebooted until somebody has removed them.
    /// Default Delete.
    #[serde(default)]
    pub empty_dir_data: EmptyDirData,
    /// True asks for every pod, before the node is cordoned, whether it could be evicted now. A node
    /// whose pods are held for a minute is not cordoned: its lease names the pods and what holds
    /// them, and other nodes go first. Where `onTimeout` is not `Abort`, nothing is asked. Default
    /// true.
    #[serde(default = "DrainSettings::yes")]
    pub preflight: bool,
    /// Time between the grant's acceptance and the cordon; it does not count as the drain's. Default
    /// 0s.
    #[serde(default)]
    pub delay: Duration,
    /// How long, from the end of the drain, the node's volumes are waited for: until its
    /// `VolumeAttachments` have gone. After this time the node is rebooted with what is left, and the
    /// operator's log names it. Volumes of pods that stay on the node, such as those of a
    /// DaemonSet, are not detached: there the whole time is waited. 0s waits for none. Default 2m.
    #[serde(default = "DrainSettings::two_minutes")]
    pub wait_for_volume_detach: Duration,
}

impl DrainSettings {
    const fn yes() -> bool {
        true
    }

    fn half_an_hour() -> Duration {
        Duration::from_secs(30 * 60)
    }

    fn two_minutes() -> Duration {
        Duration::from_secs(120)
    }

    /// From the acceptance until `onTimeout` applies; `None` where the drain has no limit.
    pub fn limit(&self) -> Option<std::time::Duration> {
        (!self.timeout.is_zero()).then(|| self.delay.0.saturating_add(self.timeout.0))
    }
}

impl Default for DrainSettings {
    fn default() -> Self {
        Self {
            timeout: Self::half_an_hour(),
            on_timeout: OnDrainTimeout::Abort,
            grace_period_seconds: None,
            pod_selector: None,
            daemon_set_pods: None,
            skip_wait_for_delete_timeout: Duration::default(),
            unmanaged_pods: UnmanagedPods::Evict,
            empty_dir_data: EmptyDirData::Delete,
            preflight: Self::yes(),
            delay: Duration::default(),
            wait_for_volume_detach: Self::two_minutes(),
        }
    }
}

/// What happens to a drain that takes too long.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum OnDrainTimeout {
    /// The node is uncordoned and its lease fails; other nodes go on.
    #[default]
    Abort,
    /// The pods left are deleted, past their budgets.
    ForceDelete,
    /// The node is rebooted with the pods left on it.
    RebootAnyway,
}

/// What happens to pods that no controller would make anew.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum UnmanagedPods {
    /// They are evicted, and gone.
    #[default]
    Evict,
    /// They keep the node from being rebooted.
    Block,
}

/// What happens to pods whose data is lost when they leave.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum EmptyDirData {
    /// They are evicted, and their data is deleted.
    #[default]
    Delete,
    /// They keep the node from being rebooted.
    Block,
}
