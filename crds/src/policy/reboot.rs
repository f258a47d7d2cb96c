//! How the reboot is called, and what must hold afterwards.

use std::fmt;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::blockers::PromqlBlocker;
use crate::duration::Duration;
use crate::schema;

/// How the reboot is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct RebootSettings {
    /// `Logind` asks systemd-logind over D-Bus. `Systemctl` runs `systemctl reboot` on the host. `Signal`
    /// sends systemd the signal SIGRTMIN+5, which passes over logind and with it the kubelet's graceful
    /// shutdown. Another word, in small letters, names a method of the agents' own configuration (the
    /// chart's `agent.methods`). `Auto` is `Logind`; only on a host that has no logind it is `Signal`, else
    /// `Systemctl`, whichever the agent may use. What an agent may use is the chart's `agent.profile`. A
    /// method that a host does not offer fails its reboot before the node is touched
    /// (`MethodUnavailable`). The way that was taken is `status.rebootMethod` of the lease. Locks of
    /// logind that block a shutdown are obeyed by every method, as far as logind can be asked. Default
    /// Auto.
    #[serde(default)]
    #[schemars(schema_with = "schema::reboot_method")]
    pub method: RebootMethod,
    /// Time between the end of the drain and the checks of the second key, all of which are made
    /// after it. Default 0s.
    #[serde(default)]
    pub delay: Duration,
    /// Time from the reboot call until the node should be back; then its lease says Stuck, and the
    /// slot stays held: time never lets another node go down. A host that answered the call, is still
    /// up under the same boot ID after this time (30s at least, 10m at most) and says that it is not
    /// going down was not rebooted: the node is uncordoned and its reboot failed (`NotRebooted`). A host
    /// that does not say whether it goes down is given ten minutes. It is also the longest that a lock
    /// which blocks the shutdown is waited for; after it the reboot fails (`RebootRefused`). Default 15m.
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
            delay: Duration::default(),
            timeout: Self::quarter_of_an_hour(),
        }
    }
}

/// A way to call the reboot; a single word in YAML.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum RebootMethod {
    /// The least privileged way that the host has.
    #[default]
    Auto,
    /// systemd-logind over D-Bus.
    Logind,
    /// `systemctl reboot` on the host.
    Systemctl,
    /// SIGRTMIN+5 to the host's systemd.
    Signal,
    /// A method of the agent's installed configuration.
    Named(String),
}

impl RebootMethod {
    /// The word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Auto => "Auto",
            Self::Logind => "Logind",
            Self::Systemctl => "Systemctl",
            Self::Signal => "Signal",
            Self::Named(name) => name,
        }
    }
}

impl From<String> for RebootMethod {
    fn from(word: String) -> Self {
        match word.as_str() {
            "Auto" => Self::Auto,
            "Logind" => Self::Logind,
            "Systemctl" => Self::Systemctl,
            "Signal" => Self::Signal,
            _ => Self::Named(word),
        }
    }
}

impl From<RebootMethod> for String {
    fn from(method: RebootMethod) -> Self {
        method.as_str().to_owned()
    }
}

impl fmt::Display for RebootMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
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
