//! Others that remove, replace or repair nodes.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What others that remove, replace or repair nodes are told, and what is obeyed of them. Nodes with
/// the taint `node.kubernetes.io/out-of-service`, and Node objects that are being deleted, are left
/// alone whatever is written here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cooperate {
    /// True leaves nodes alone that the Cluster Autoscaler removes (taint
    /// `ToBeDeletedByClusterAutoscaler`), and keeps it from removing a node from the grant of its
    /// reboot until that has ended (annotation `cluster-autoscaler.kubernetes.io/scale-down-disabled`).
    /// A mere candidate for removal (taint `DeletionCandidateOfClusterAutoscaler`) is rebooted. False
    /// lets both act on one node. Default true.
    #[serde(default = "Cooperate::yes")]
    pub cluster_autoscaler: bool,
    /// True leaves nodes alone that Karpenter disrupts (taints `karpenter.sh/disrupted` and
    /// `karpenter.sh/disruption`), and keeps it from disrupting a node of its own will from the grant
    /// of its reboot until that has ended (annotation `karpenter.sh/do-not-disrupt`). False lets both
    /// act on one node. Default true.
    #[serde(default = "Cooperate::yes")]
    pub karpenter: bool,
    /// True leaves nodes alone that medik8s repairs or maintains (taints `medik8s.io/remediation`,
    /// `medik8s.io/fence-agents-remediation` and `medik8s.io/drain`). False lets both act on one node.
    /// Default true.
    #[serde(default = "Cooperate::yes")]
    pub medik8s: bool,
}

impl Cooperate {
    const fn yes() -> bool {
        true
    }
}

impl Default for Cooperate {
    fn default() -> Self {
        Self {
            cluster_autoscaler: Self::yes(),
            karpenter: Self::yes(),
            medik8s: Self::yes(),
        }
    }
}
