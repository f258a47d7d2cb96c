//! Others that take nodes away: how they say so on the Node, and what a policy makes of it (F53).
//!
//! Only what is said of a node that is being taken away counts. The Cluster Autoscaler's taint
//! `DeletionCandidateOfClusterAutoscaler` does not: it says that a node is not needed much, stays
//! for days where a scale-down is not possible, and would keep such a node from ever being patched.

use slipway_api::names;
use slipway_api::policy::Cooperate;

use crate::reason::Reason;
use crate::snapshot::NodeView;

/// Who takes nodes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disruptor {
    /// Removes nodes that are not needed.
    ClusterAutoscaler,
    /// Removes and replaces nodes.
    Karpenter,
    /// Repairs and maintains nodes.
    Medik8s,
    /// An administrator or a remediation who says that the node is gone for good.
    OutOfService,
}

impl Disruptor {
    const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterAutoscaler => "the Cluster Autoscaler",
            Self::Karpenter => "Karpenter",
            Self::Medik8s => "medik8s",
            Self::OutOfService => "whoever declared it out of service",
        }
    }
}

/// A taint by which somebody says that they take the node away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sign {
    /// Its key.
    pub taint: &'static str,
    /// Whose it is.
    pub of: Disruptor,
}

/// Every sign that is known. Their effects differ from version to version and decide nothing.
pub const SIGNS: [Sign; 7] = [
    sign(
        "ToBeDeletedByClusterAutoscaler",
        Disruptor::ClusterAutoscaler,
    ),
    sign("karpenter.sh/disrupted", Disruptor::Karpenter),
    // Before Karpenter 1.0.
    sign("karpenter.sh/disruption", Disruptor::Karpenter),
    sign("medik8s.io/remediation", Disruptor::Medik8s),
    sign("medik8s.io/fence-agents-remediation", Disruptor::Medik8s),
    sign("medik8s.io/drain", Disruptor::Medik8s),
    sign("node.kubernetes.io/out-of-service", Disruptor::OutOfService),
];

const fn sign(taint: &'static str, of: Disruptor) -> Sign {
    Sign { taint, of }
}

/// The signs among the keys of a node's taints.
pub fn signs<'a>(taints: impl Iterator<Item = &'a str>) -> Vec<Sign> {
    let known = |taint| SIGNS.into_iter().find(|sign| sign.taint == taint);
    taints.filter_map(known).collect()
}

/// Somebody who takes the node away, as far as the policy lets that count.
pub(crate) fn refusal(cooperate: &Cooperate, node: &NodeView) -> Option<Reason> {
    let counts = |sign: &&Sign| match sign.of {
        Disruptor::ClusterAutoscaler => cooperate.cluster_autoscaler,
        Disruptor::Karpenter => cooperate.karpenter,
        Disruptor::Medik8s => cooperate.medik8s,
        Disruptor::OutOfService => true,
    };
    let sign = node.signs.iter().find(counts)?;
    Some(Reason::NodeDisrupted {
        by: sign.of.as_str(),
        taint: sign.taint,
    })
}

/// The annotations that keep others away from a node while it is rebooted.
pub(crate) fn protections(cooperate: &Cooperate) -> impl Iterator<Item = &'static str> {
    [
        (
            cooperate.cluster_autoscaler,
            names::ANNOTATION_SCALE_DOWN_DISABLED,
        ),
        (cooperate.karpenter, names::ANNOTATION_DO_NOT_DISRUPT),
    ]
    .into_iter()
    .filter_map(|(asked, key)| asked.then_some(key))
}
