//! From the API's objects to what the planner sees: one reading for the operator and the plugin.
//!
//! Pure. Everything that decides nothing is dropped here, so that thousands of Nodes stay small.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, Taint};
use slipway_api::boot::Boot;
use slipway_api::{RebootPolicy, names, validate_policy};

use crate::disruption;
use crate::marks::Marks;
use crate::snapshot::{CordonState, Need, NodeView, PolicyView};

/// An agent's pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPod {
    /// The node that it runs on; empty before it was scheduled.
    pub node: String,
    /// Ready, and not leaving.
    pub ready: bool,
}

/// A Node, stripped to what decides.
pub fn node(node: Node) -> NodeView {
    let spec = node.spec.unwrap_or_default();
    let status = node.status.unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let ready = conditions
        .iter()
        .find(|condition| condition.type_ == "Ready");
    let boot_id = status
        .node_info
        .map(|info| info.boot_id)
        .unwrap_or_default();
    NodeView {
        name: node.metadata.name.unwrap_or_default(),
        uid: node.metadata.uid.unwrap_or_default(),
        labels: node.metadata.labels.unwrap_or_default(),
        unschedulable: spec.unschedulable.unwrap_or_default(),
        ready: ready.is_some_and(|condition| condition.status == "True"),
        ready_since: ready
            .and_then(|condition| condition.last_transition_time.as_ref())
            .map(|time| time.0),
        need: need(&conditions),
        booted: booted(node.metadata.annotations.as_ref(), &boot_id),
        boot_id,
        cordon: cordon(
            node.metadata
                .annotations
                .as_ref()
                .and_then(|all| all.get(names::ANNOTATION_CORDONED))
                .map(String::as_str),
        ),
        marks: Marks::read(
            node.metadata.annotations.as_ref(),
            spec.taints.iter().flatten().any(is_soft_taint),
        ),
        protections: protections(node.metadata.annotations.as_ref()),
        signs: disruption::signs(spec.taints.iter().flatten().map(|taint| taint.key.as_str())),
        deleting: node.metadata.deletion_timestamp.is_some(),
    }
}

fn protections(annotations: Option<&BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let value = |key: &str| annotations?.get(key).cloned();
    names::PROTECTIONS
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), value(key)?)))
        .collect()
}

/// True for the taint that the operator puts on nodes that wait.
pub fn is_soft_taint(taint: &Taint) -> bool {
    taint.key == names::TAINT_REBOOT_REQUIRED && taint.effect == names::TAINT_EFFECT
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

/// When the present boot began, as the agent reports it. What it has said of another boot is over.
fn booted(annotations: Option<&BTreeMap<String, String>>, boot_id: &str) -> Option<Timestamp> {
    let text = annotations?.get(names::ANNOTATION_BOOT)?;
    let boot = text.parse::<Boot>().ok()?;
    (boot.id == boot_id).then_some(boot.at)
}

/// An agent's pod, stripped.
pub fn agent_pod(pod: Pod) -> AgentPod {
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

/// A policy as the planner sees it.
pub fn policy_view(policy: &RebootPolicy) -> PolicyView {
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
    fn a_boot_that_is_over_says_nothing_about_the_present_one() {
        let booted = |text: &str| {
            let annotations =
                BTreeMap::from([(names::ANNOTATION_BOOT.to_owned(), text.to_owned())]);
            booted(Some(&annotations), "b")
        };
        let at = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(booted("b 2026-01-01T00:00:00Z"), Some(at));
        assert_eq!(booted("a 2026-01-01T00:00:00Z"), None);
        assert_eq!(booted("2026-01-01T00:00:00Z"), None);
        assert_eq!(super::booted(None, "b"), None);
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
}
