//! What the watches keep of each object, and which changes are worth a pass. Pure. The conversions
//! that decide something are the planner's own, in `slipway_planner::objects`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use slipway_api::{RebootLease, RebootLedger, RebootPolicy};
use slipway_planner::NodeView;
use slipway_planner::objects::AgentPod;

use super::cache::Same;

/// The ledger's version: its watch only wakes the pass, which reads the ledger itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LedgerVersion(Option<String>);

/// A policy without what nobody reads.
pub(crate) fn policy(mut policy: RebootPolicy) -> RebootPolicy {
    strip(&mut policy.metadata);
    policy
}

/// A lease without what nobody reads.
pub(crate) fn lease(mut lease: RebootLease) -> RebootLease {
    strip(&mut lease.metadata);
    lease
}

/// The ledger's version.
pub(crate) fn ledger(ledger: RebootLedger) -> LedgerVersion {
    LedgerVersion(ledger.metadata.resource_version)
}

fn strip(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    metadata.annotations = None;
}

impl Same for NodeView {
    fn same(&self, other: &Self) -> bool {
        // Named one by one, so that a new field is not forgotten here.
        let Self {
            name,
            uid,
            labels,
            unschedulable,
            ready,
            ready_since,
            boot_id,
            need,
            booted,
            cordon,
            marks,
            protections,
            signs,
            deleting,
        } = self;
        (name, uid, labels, boot_id) == (&other.name, &other.uid, &other.labels, &other.boot_id)
            && (unschedulable, ready, deleting)
                == (&other.unschedulable, &other.ready, &other.deleting)
            && (ready_since, need, booted) == (&other.ready_since, &other.need, &other.booted)
            && (cordon, marks) == (&other.cordon, &other.marks)
            && (protections, signs) == (&other.protections, &other.signs)
    }
}

impl Same for RebootPolicy {
    /// Our own report is no news.
    fn same(&self, other: &Self) -> bool {
        let meta = |policy: &Self| {
            let meta = &policy.metadata;
            (
                meta.uid.clone(),
                meta.generation,
                meta.deletion_timestamp.clone(),
            )
        };
        meta(self) == meta(other) && self.spec == other.spec
    }
}

impl Same for RebootLease {
    fn same(&self, other: &Self) -> bool {
        self == other
    }
}

impl Same for AgentPod {
    fn same(&self, other: &Self) -> bool {
        self == other
    }
}

impl Same for LedgerVersion {
    fn same(&self, other: &Self) -> bool {
        self == other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn our_own_report_on_a_policy_wakes_nobody() {
        let mut policy: RebootPolicy = serde_json::from_value(json!({
            "apiVersion": "slipway.dev/v1alpha1", "kind": "RebootPolicy",
            "metadata": {"name": "p", "uid": "u", "generation": 1},
            "spec": {"nodeSelector": {}},
        }))
        .unwrap();
        let before = policy.clone();
        policy.status = Some(slipway_api::RebootPolicyStatus::default());
        assert!(before.same(&policy));
        policy.metadata.generation = Some(2);
        assert!(!before.same(&policy));
    }
}
