//! From the API's objects to what the planner sees. Pure; everything that decides nothing is
//! dropped here, so that thousands of Nodes stay small.

use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use slipway_api::{RebootLease, RebootLedger, RebootPolicy, names, validate_policy};
use slipway_planner::{CordonState, Need, NodeView, PolicyView};

use super::cache::Same;

/// An agent's pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentPod {
    pub(crate) node: String,
    pub(crate) ready: bool,
}

/// The ledger's version: its watch only wakes the pass, which reads the ledger itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LedgerVersion(Option<String>);

/// A Node, stripped to what decides.
pub(crate) fn node(node: Node) -> NodeView {
    let spec = node.spec.unwrap_or_default();
    let status = node.status.unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let ready = conditions
        .iter()
        .find(|condition| condition.type_ == "Ready");
    NodeView {
        name: node.metadata.name.unwrap_or_default(),
        uid: node.metadata.uid.unwrap_or_default(),
        labels: node.metadata.labels.unwrap_or_default(),
        unschedulable: spec.unschedulable.unwrap_or_default(),
        ready: ready.is_some_and(|condition| condition.status == "True"),
        ready_since: ready
            .and_then(|condition| condition.last_transition_time.as_ref())
            .map(|time| time.0),
        boot_id: status
            .node_info
            .map(|info| info.boot_id)
            .unwrap_or_default(),
        need: need(&conditions),
        cordon: cordon(
            node.metadata
                .annotations
                .as_ref()
                .and_then(|all| all.get(names::ANNOTATION_CORDONED))
                .map(String::as_str),
        ),
        deleting: node.metadata.deletion_timestamp.is_some(),
    }
}

fn need(conditions: &[NodeCondition]) -> Need {
    let reported = conditions
        .iter()
        .find(|condition| condition.type_ == names::CONDITION_REBOOT_REQUIRED);
    let Some(condition) = reported else {
        return Need::Unreported;
    };
    let message = condition.message.clone().unwrap_or_default();
    match (
        condition.status.as_str(),
        condition.last_transition_time.as_ref(),
    ) {
        ("True", Some(since)) => Need::Required {
            reason: condition.reason.clone().unwrap_or_default(),
            message,
            since: since.0,
        },
        ("True", None) => Need::Unknown {
            message: "the condition does not say since when it holds".to_owned(),
        },
        ("False", _) => Need::NotRequired,
        // A value that is none of Kubernetes' three is as unknown as Unknown.
        _ => Need::Unknown { message },
    }
}

fn cordon(annotation: Option<&str>) -> CordonState {
    match annotation {
        None => CordonState::Absent,
        Some(text) => serde_json::from_str(text).map_or(CordonState::Unreadable, CordonState::Ours),
    }
}

/// An agent's pod, stripped.
pub(crate) fn agent_pod(pod: Pod) -> AgentPod {
    let conditions = pod
        .status
        .and_then(|status| status.conditions)
        .unwrap_or_default();
    let ready = conditions
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    AgentPod {
        node: pod.spec.and_then(|spec| spec.node_name).unwrap_or_default(),
        ready: ready && pod.metadata.deletion_timestamp.is_none(),
    }
}

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

/// A policy as the planner sees it.
pub(crate) fn policy_view(policy: &RebootPolicy) -> PolicyView {
    PolicyView {
        name: policy.metadata.name.clone().unwrap_or_default(),
        uid: policy.metadata.uid.clone().unwrap_or_default(),
        generation: policy.metadata.generation.unwrap_or_default(),
        spec: policy.spec.clone(),
        status: policy.status.clone(),
        parsed: validate_policy(&policy.spec),
        deleting: policy.metadata.deletion_timestamp.is_some(),
    }
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
            cordon,
            deleting,
        } = self;
        (name, uid, labels, boot_id) == (&other.name, &other.uid, &other.labels, &other.boot_id)
            && (unschedulable, ready, deleting)
                == (&other.unschedulable, &other.ready, &other.deleting)
            && (ready_since, need, cordon) == (&other.ready_since, &other.need, &other.cordon)
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
    use slipway_api::lease::CordonRecord;

    fn read(condition: &serde_json::Value, annotation: Option<&str>) -> NodeView {
        let annotations = annotation.map(|text| json!({"slipway.dev/cordoned": text}));
        node(serde_json::from_value(json!({
            "metadata": {"name": "n", "uid": "u", "annotations": annotations},
            "spec": {"unschedulable": true},
            "status": {
                "conditions": [
                    {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                    condition,
                ],
                "nodeInfo": {
                    "bootID": "b", "architecture": "", "containerRuntimeVersion": "",
                    "kernelVersion": "", "kubeProxyVersion": "", "kubeletVersion": "",
                    "machineID": "", "operatingSystem": "", "osImage": "", "systemUUID": "",
                },
            },
        }))
        .unwrap())
    }

    fn condition(status: &str) -> serde_json::Value {
        json!({"type": "RebootRequired", "status": status, "reason": "SentinelFile",
            "message": "why", "lastTransitionTime": "2026-01-02T00:00:00Z"})
    }

    #[test]
    fn a_node_keeps_what_decides() {
        let view = read(&condition("True"), None);
        assert!(view.ready && view.unschedulable && !view.deleting);
        assert_eq!(view.boot_id, "b");
        assert_eq!(
            view.ready_since.unwrap().to_string(),
            "2026-01-01T00:00:00Z"
        );
        assert!(view.need.is_required());
    }

    #[test]
    fn an_unknown_need_is_never_not_required() {
        assert_eq!(read(&condition("False"), None).need, Need::NotRequired);
        for status in ["Unknown", "", "true", "Perhaps"] {
            assert_eq!(
                read(&condition(status), None).need,
                Need::Unknown {
                    message: "why".into()
                },
                "{status}"
            );
        }
        let other = json!({"type": "DiskPressure", "status": "False"});
        assert_eq!(read(&other, None).need, Need::Unreported);
    }

    #[test]
    fn a_cordon_annotation_that_cannot_be_read_still_counts_as_ours() {
        let record = r#"{"fence":3,"unschedulableBefore":false}"#;
        assert_eq!(
            read(&condition("True"), Some(record)).cordon,
            CordonState::Ours(CordonRecord {
                fence: 3,
                unschedulable_before: false
            })
        );
        assert_eq!(
            read(&condition("True"), Some("what?")).cordon,
            CordonState::Unreadable
        );
        assert_eq!(read(&condition("True"), None).cordon, CordonState::Absent);
    }

    #[test]
    fn an_agent_that_is_leaving_or_not_ready_does_not_count() {
        let pod = |status: &str, deleted: Option<&str>| {
            agent_pod(
                serde_json::from_value(json!({
                    "metadata": {"name": "p", "deletionTimestamp": deleted},
                    "spec": {"containers": [], "nodeName": "n"},
                    "status": {"conditions": [{"type": "Ready", "status": status}]},
                }))
                .unwrap(),
            )
        };
        assert!(pod("True", None).ready);
        assert!(!pod("False", None).ready);
        assert!(!pod("True", Some("2026-01-01T00:00:00Z")).ready);
    }

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
