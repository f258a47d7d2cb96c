//! The owners of pods that ran on a node when its reboot was granted: what has to be back after it.

use std::fmt;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Most owners that a grant remembers: more than run on one node as a rule, and a lease stays small.
pub const WORKLOADS_MAX: usize = 64;

/// The controller of pods, as their ownerReference names it.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, KubeSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Its API version, such as `apps/v1`.
    #[schemars(length(max = 317))]
    pub api_version: String,
    /// Its kind, such as `ReplicaSet`.
    #[schemars(length(max = 63))]
    pub kind: String,
    /// Its namespace.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its UID: one made anew under the same name is another owner.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// How many of its pods were Ready, in the whole cluster, when the reboot was granted.
    #[schemars(range(min = 0))]
    pub ready: i32,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}
