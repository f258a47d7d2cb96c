//! What a simulated kubelet reads from a pod and writes about it. Pure.
//!
//! Called by [`super::kubelet`], and by the stand-in for a kubelet on real machines.

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};
use kube::ResourceExt;
use serde_json::{Value, json};

/// Which of our programs a pod's container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing runs; the pod is said to run.
    Pretended,
    /// The agent.
    Agent,
    /// The operator.
    Operator,
}

/// Which of our programs a pod is, by its image.
pub(crate) fn kind_of(pod: &Pod) -> Kind {
    let image = container_of(pod)
        .and_then(|container| container.image.as_deref())
        .unwrap_or_default();
    if image.contains("/slipway-agent:") {
        Kind::Agent
    } else if image.contains("/slipway-operator:") {
        Kind::Operator
    } else {
        Kind::Pretended
    }
}

/// The first container: our programs have no other.
pub(crate) fn container_of(pod: &Pod) -> Option<&Container> {
    pod.spec.as_ref()?.containers.first()
}

/// Whether a pod has run to its end.
pub(crate) fn is_over(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// The environment of a container, with references to the pod's fields resolved.
pub(crate) fn environment(pod: &Pod, container: &Container, pod_ip: &str) -> Vec<(String, String)> {
    let variables = container.env.iter().flatten();
    variables
        .filter_map(|variable| Some((variable.name.clone(), value_of(pod, variable, pod_ip)?)))
        .collect()
}

fn value_of(pod: &Pod, variable: &EnvVar, pod_ip: &str) -> Option<String> {
    if let Some(value) = &variable.value {
        return Some(value.clone());
    }
    let reference = variable.value_from.as_ref()?.field_ref.as_ref()?;
    let spec = pod.spec.as_ref()?;
    match reference.field_path.as_str() {
        "metadata.name" => Some(pod.name_any()),
        "metadata.namespace" => pod.namespace(),
        "metadata.uid" => pod.uid(),
        "spec.nodeName" => spec.node_name.clone(),
        "spec.serviceAccountName" => spec.service_account_name.clone(),
        "status.podIP" => Some(pod_ip.to_owned()),
        _ => None,
    }
}

/// The arguments of a container without the flags of the given names, in either notation.
pub(crate) fn arguments_without(container: &Container, names: &[&str]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut arguments = container.args.iter().flatten();
    while let Some(argument) = arguments.next() {
        let flag = argument.strip_prefix("--").unwrap_or_default();
        if names.contains(&flag) {
            // `--name value`: the value goes with it.
            arguments.next();
        } else if !names.iter().any(|name| {
            flag.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('='))
        }) {
            kept.push(argument.clone());
        }
    }
    kept
}

/// What a kubelet says about a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodReport {
    pub(crate) ready: bool,
    pub(crate) restarts: u32,
    pub(crate) pod_ip: String,
    pub(crate) host_ip: String,
}

/// Whether a pod's status already says so.
pub(crate) fn says(pod: &Pod, report: &PodReport) -> bool {
    let Some(status) = &pod.status else {
        return false;
    };
    let ready = status
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let restarts = status
        .container_statuses
        .iter()
        .flatten()
        .map(|container| container.restart_count)
        .next();
    status.phase.as_deref() == Some("Running")
        && ready == report.ready
        && restarts == i32::try_from(report.restarts).ok()
        && status.pod_ip.as_deref() == Some(&report.pod_ip)
}

/// The strategic merge patch of a pod's status. It names the UID, so that it never lands on a pod
/// made anew under the same name.
pub(crate) fn status_patch(pod: &Pod, report: &PodReport, now: &str) -> Value {
    let status = |holds: bool| if holds { "True" } else { "False" };
    let condition = |kind: &str, holds: bool| json!({ "type": kind, "status": status(holds), "lastTransitionTime": now });
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let containers: Vec<Value> = containers
        .map(|container| {
            json!({
                "name": container.name,
                "image": container.image,
                "imageID": container.image,
                "ready": report.ready,
                "started": true,
                "restartCount": report.restarts,
                "state": { "running": { "startedAt": now } },
            })
        })
        .collect();
    let started = pod
        .status
        .as_ref()
        .and_then(|status| status.start_time.as_ref());
    json!({
        "metadata": { "uid": pod.metadata.uid },
        "status": {
            "phase": "Running",
            "hostIP": report.host_ip,
            "podIP": report.pod_ip,
            "podIPs": [{ "ip": report.pod_ip }],
            "startTime": started.map_or_else(|| json!(now), |time| json!(time)),
            "conditions": [
                condition("Initialized", true),
                condition("Ready", report.ready),
                condition("ContainersReady", report.ready),
            ],
            "containerStatuses": containers,
        },
    })
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, Result};

    use super::*;

    fn pod() -> Result<Pod> {
        Ok(serde_json::from_value(json!({
            "metadata": { "name": "p", "namespace": "ns", "uid": "u" },
            "spec": { "nodeName": "n1", "containers": [{
                "name": "agent",
                "image": "localhost/slipway-agent:1",
                "args": ["--listen=0.0.0.0:8081", "--log", "debug", "--listener=1", "--state-dir", "/x"],
                "env": [
                    { "name": "A", "value": "1" },
                    { "name": "NODE", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } },
                    { "name": "POD", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
                ],
            }] },
        }))?)
    }

    #[test]
    fn the_environment_resolves_the_pods_fields() -> Result<()> {
        let pod = pod()?;
        assert_eq!(kind_of(&pod), Kind::Agent);
        let container = container_of(&pod).context("no container")?;
        let environment = environment(&pod, container, "10.0.0.1");
        let expected = [("A", "1"), ("NODE", "n1"), ("POD", "p")];
        assert_eq!(
            environment,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        Ok(())
    }

    #[test]
    fn flags_that_the_harness_sets_are_dropped_in_either_notation() -> Result<()> {
        let pod = pod()?;
        let container = container_of(&pod).context("no container")?;
        assert_eq!(
            arguments_without(container, &["listen", "state-dir"]),
            ["--log", "debug", "--listener=1"]
        );
        Ok(())
    }
}
