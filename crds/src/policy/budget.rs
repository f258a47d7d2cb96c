//! How many nodes at once.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// How many nodes at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// Nodes of this policy that may be unavailable at once: a number, or a percentage of the nodes
    /// matched, rounded down but at least 1 unless `0%` is written. `0` stops. Nodes that are NotReady
    /// or cordoned by somebody else use it too. Default 1.
    #[serde(default = "Budget::one")]
    #[schemars(schema_with = "schema::max_unavailable")]
    pub max_unavailable: IntOrString,
}

impl Budget {
    fn one() -> IntOrString {
        IntOrString::Int(1)
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            max_unavailable: Self::one(),
        }
    }
}
