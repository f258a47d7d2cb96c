//! Which pods of a node a drain must move: the rules of `kubectl drain`.
//!
//! Pure and shared: the agent drains by it, and the operator asks it again, with its own list of the
//! node's pods, before it turns the second key (faults.md F83: an agent's word is not proof).

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::names;

/// Annotation of the API object that mirrors a static pod; it cannot be evicted.
const ANNOTATION_MIRROR: &str = "kubernetes.io/config.mirror";

/// What a drain does with a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodVerdict {
    /// It is evicted, and the drain waits until it has gone.
    Evict,
    /// It is on its way already; the drain waits until it has gone.
    Leaving,
    /// It stays and goes down with the node.
    Stays(StaysBecause),
}

/// Why a pod is not evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StaysBecause {
    /// A static pod: its kubelet runs it whatever the API says.
    Mirror,
    /// Its DaemonSet would put it back at once.
    DaemonSet,
    /// One of the operator's own pods: evicting it could leave nobody to turn the second key
    /// (faults.md Q7).
    Operator,
}

/// What the drain does with one pod. `own_namespace` is the namespace that Slipway runs in.
///
/// Differences from `kubectl drain`: pods without a controller and pods with `emptyDir` volumes are
/// evicted without a flag, as kured does; a pod whose DaemonSet is gone is left alone, because that
/// cannot be told without reading DaemonSets; the operator's own pods stay.
pub fn judge(pod: &Pod, own_namespace: &str) -> PodVerdict {
    let annotations = pod.metadata.annotations.as_ref();
    if annotations.is_some_and(|all| all.contains_key(ANNOTATION_MIRROR)) {
        return PodVerdict::Stays(StaysBecause::Mirror);
    }
    if controller(pod).is_some_and(|owner| owner.kind == "DaemonSet") {
        return PodVerdict::Stays(StaysBecause::DaemonSet);
    }
    if is_operator(pod, own_namespace) {
        return PodVerdict::Stays(StaysBecause::Operator);
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return PodVerdict::Leaving;
    }
    PodVerdict::Evict
}

/// True when the pod must be gone before the node may be rebooted.
pub fn must_go(pod: &Pod, own_namespace: &str) -> bool {
    match judge(pod, own_namespace) {
        PodVerdict::Evict | PodVerdict::Leaving => true,
        PodVerdict::Stays(_) => false,
    }
}

/// The service account is asked as well as the label: anybody may set a label, but only what may
/// use our service account speaks for us.
fn is_operator(pod: &Pod, own_namespace: &str) -> bool {
    let component = pod
        .metadata
        .labels
        .as_ref()
        .and_then(|all| all.get(names::LABEL_COMPONENT));
    let account = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.service_account_name.as_deref());
    pod.metadata.namespace.as_deref() == Some(own_namespace)
        && component.is_some_and(|component| component == names::COMPONENT_OPERATOR)
        && account == Some(names::SERVICE_ACCOUNT_OPERATOR)
}

fn controller(pod: &Pod) -> Option<&OwnerReference> {
    let owners = pod.metadata.owner_references.iter().flatten();
    owners
        .into_iter()
        .find(|owner| owner.controller == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(metadata: &serde_json::Value, account: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": metadata,
            "spec": {"containers": [], "serviceAccountName": account},
        }))
        .unwrap()
    }

    fn owned_by(kind: &str) -> serde_json::Value {
        json!({"name": "p", "namespace": "default", "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": kind, "name": "o", "uid": "u", "controller": true}
        ]})
    }

    #[test]
    fn f58_pods_are_judged_as_kubectl_drain_judges_them() {
        let operator = json!({"name": "p", "namespace": "slipway-system",
            "labels": {"app.kubernetes.io/component": "operator"}});
        let mirror = json!({"name": "p", "annotations": {"kubernetes.io/config.mirror": "x"}});
        let leaving = json!({"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z"});
        let cases = [
            (pod(&json!({"name": "p"}), "default"), PodVerdict::Evict),
            (pod(&owned_by("ReplicaSet"), "default"), PodVerdict::Evict),
            (
                pod(&owned_by("DaemonSet"), "default"),
                PodVerdict::Stays(StaysBecause::DaemonSet),
            ),
            (
                pod(&mirror, "default"),
                PodVerdict::Stays(StaysBecause::Mirror),
            ),
            (pod(&leaving, "default"), PodVerdict::Leaving),
            (
                pod(&operator, "slipway-operator"),
                PodVerdict::Stays(StaysBecause::Operator),
            ),
            (pod(&operator, "default"), PodVerdict::Evict),
        ];
        for (pod, verdict) in cases {
            assert_eq!(judge(&pod, "slipway-system"), verdict, "{pod:?}");
        }
    }

    #[test]
    fn an_owner_that_is_no_controller_does_not_keep_a_pod() {
        let mut metadata = owned_by("DaemonSet");
        metadata["ownerReferences"][0]["controller"] = json!(false);
        assert_eq!(
            judge(&pod(&metadata, "default"), "slipway-system"),
            PodVerdict::Evict
        );
    }
}
