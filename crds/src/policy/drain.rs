//! How pods are moved away before the reboot.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;

/// How pods are moved away before the reboot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainSettings {
    /// Time that a drain may take; then `onTimeout` says what happens. `0s` means no limit and must be
    /// written. Default 30m.
    #[serde(default = "DrainSettings::half_an_hour")]
    pub timeout: Duration,
    /// `Abort` uncordons the node and lets others go first. Default Abort.
    #[serde(default)]
    pub on_timeout: OnDrainTimeout,
    /// Grace period for each pod in seconds; absent means each pod's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86_400))]
    pub grace_period_seconds: Option<i64>,
}

impl DrainSettings {
    fn half_an_hour() -> Duration {
        Duration::from_secs(30 * 60)
    }
}

impl Default for DrainSettings {
    fn default() -> Self {
        Self {
            timeout: Self::half_an_hour(),
            on_timeout: OnDrainTimeout::Abort,
            grace_period_seconds: None,
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
}
