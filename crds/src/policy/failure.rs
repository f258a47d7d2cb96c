//! What follows from reboots that fail.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;

/// Most of `maxRebootsPerNode`: as many outcomes as a lease remembers.
pub const REBOOTS_PER_NODE_MAX: i32 = 5;

/// The circuit breaker over all nodes of the policy, and the pauses of each single node.
///
/// These count as failures: the node did not come back in time, or came back and still asks for a
/// reboot, or its pods did not, or the reboot was refused or never happened. A drain that cannot
/// finish counts for its own node only: that node pauses and the others go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureSettings {
    /// The breaker opens when reboots of this many different nodes have failed `within`: nothing
    /// more is granted, and nodes that are draining are uncordoned again. Default 2.
    #[serde(default = "FailureSettings::two")]
    #[schemars(range(min = 1, max = 10))]
    pub max_failures: i32,
    /// How long a failure counts for the breaker. Default 24h.
    #[serde(default = "FailureSettings::one_day")]
    pub within: Duration,
    /// First pause of a node after a failure; it doubles with each failure in a row, up to a day. A
    /// reboot that was refused or never happened is tried again after a minute at first, if that is
    /// shorter. An open breaker lets a single node try after this time. Default 1h.
    #[serde(default = "FailureSettings::one_hour")]
    pub backoff: Duration,
    /// A node is rebooted at most this often in 24 hours, whatever asks for it, also when the
    /// reboots did not clear what asks. Default 3.
    #[serde(default = "FailureSettings::three")]
    #[schemars(range(min = 1, max = 5))]
    pub max_reboots_per_node: i32,
    /// How an open breaker closes. `Automatic`: after `backoff`, one node is rebooted alone; if that
    /// succeeds the breaker closes, else it stays open. `Manual`: by `resetAt` only. Either way
    /// failures older than `within` count no more. Default Automatic.
    #[serde(default)]
    pub reset: BreakerReset,
    /// Failures up to this time no longer count: write the present time to close the breaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_at: Option<Time>,
}

impl FailureSettings {
    const fn two() -> i32 {
        2
    }

    const fn three() -> i32 {
        3
    }

    fn one_day() -> Duration {
        Duration::from_secs(24 * 3600)
    }

    fn one_hour() -> Duration {
        Duration::from_secs(3600)
    }
}

impl Default for FailureSettings {
    fn default() -> Self {
        Self {
            max_failures: Self::two(),
            within: Self::one_day(),
            backoff: Self::one_hour(),
            max_reboots_per_node: Self::three(),
            reset: BreakerReset::Automatic,
            reset_at: None,
        }
    }
}

/// How an open breaker closes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum BreakerReset {
    /// By the success of one node that is rebooted alone.
    #[default]
    Automatic,
    /// By `resetAt` only.
    Manual,
}
