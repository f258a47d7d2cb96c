//! How the reboot is called, and what must hold afterwards.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::blockers::PromqlBlocker;
use crate::duration::Duration;

/// How the reboot is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct RebootSettings {
    /// `Logind` asks systemd-logind over D-Bus, so inhibitors and the kubelet's graceful shutdown are
    /// respected; `Auto` takes the least privileged way that the agent has. Default Auto.
    #[serde(default)]
    pub method: RebootMethod,
    /// Time from the reboot call until the node should be back; then its lease says Stuck. The slot
    /// stays held: time never lets another node go down. Default 15m.
    #[serde(default = "RebootSettings::quarter_of_an_hour")]
    pub timeout: Duration,
}

impl RebootSettings {
    fn quarter_of_an_hour() -> Duration {
        Duration::from_secs(15 * 60)
    }
}

impl Default for RebootSettings {
    fn default() -> Self {
        Self {
            method: RebootMethod::Auto,
            timeout: Self::quarter_of_an_hour(),
        }
    }
}

/// A way to call the reboot.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum RebootMethod {
    /// The least privileged way that the agent has.
    #[default]
    Auto,
    /// systemd-logind over D-Bus.
    Logind,
}

/// What must hold after the reboot before the slot is given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerifySettings {
    /// The node must have been Ready, under its new boot ID, for this long. A node that does not get
    /// there keeps its slot. Default 60s.
    #[serde(default = "VerifySettings::one_minute")]
    pub node_ready_for: Duration,
    /// The host must no longer ask for what it asked for: if it does, the reboot is Ineffective and
    /// counts as a failure. False accepts the reboot all the same; the need stays, and is served
    /// again as often as `failure.maxRebootsPerNode` lets it. Default true.
    #[serde(default = "VerifySettings::yes")]
    pub trigger_cleared: bool,
    /// Time that is waited after `nodeReadyFor`, before anything else is judged and the slot can be
    /// given back. Default 0s.
    #[serde(default)]
    pub settle: Duration,
    /// The pods that ran on the node when its reboot was granted have to be ready again, on whichever
    /// node, within this time since the node was back: each of their owners needs as many ready pods
    /// as it had then, or as many as it wants now, if that is fewer. Else the reboot is a failure
    /// (`PodsNotReady`). Pods of DaemonSets and Jobs and pods without an owner are not waited for, nor
    /// is an owner that has been deleted. 0s does not wait for pods. Default 10m.
    #[serde(default = "VerifySettings::ten_minutes")]
    pub pods_ready_within: Duration,
    /// A query that has to have an empty answer once `settle` is over: any series is a failure of the
    /// reboot (`VerifyQuery`). It is asked only while a node is verified. No answer makes the node
    /// wait, and is a failure after ten minutes; `onError: Allow` passes over it. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promql: Option<PromqlBlocker>,
}

impl VerifySettings {
    const fn yes() -> bool {
        true
    }

    fn one_minute() -> Duration {
        Duration::from_secs(60)
    }

    fn ten_minutes() -> Duration {
        Duration::from_secs(600)
    }
}

impl Default for VerifySettings {
    fn default() -> Self {
        Self {
            node_ready_for: Self::one_minute(),
            trigger_cleared: Self::yes(),
            settle: Duration::default(),
            pods_ready_within: Self::ten_minutes(),
            promql: None,
        }
    }
}
