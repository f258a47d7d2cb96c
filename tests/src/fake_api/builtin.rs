//! Built-in kinds: the defaults and checks that our programs, or the conversations, can see.

use serde_json::{Value, json};

use super::answer::{Answer, Fault};
use super::json::{set, text};
use super::kinds::Kind;

/// A new object: what the server sets, and what it ignores of the body.
pub(super) fn prepare_new(kind: &Kind, object: &mut Value) {
    match kind.plural {
        "nodes" => {
            // The admission plugin TaintNodesByCondition.
            let taint = json!({"effect": "NoSchedule", "key": "node.kubernetes.io/not-ready"});
            super::json::map(object, "/spec");
            if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
                let taints = spec.entry("taints").or_insert_with(|| json!([]));
                if let Some(taints) = taints.as_array_mut()
                    && !taints.contains(&taint)
                {
                    taints.push(taint);
                }
            }
        }
        "pods" => {
            set(
                object,
                "",
                "status",
                json!({"phase": "Pending", "qosClass": "BestEffort"}),
            );
        }
        "poddisruptionbudgets" => {
            let status = json!({
                "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0,
                "expectedPods": 0,
            });
            set(object, "", "status", status);
        }
        "namespaces" => {
            let name = text(object, "/metadata/name").to_owned();
            set(object, "", "spec", json!({"finalizers": ["kubernetes"]}));
            set(object, "", "status", json!({"phase": "Active"}));
            if let Some(metadata) = super::json::map(object, "/metadata") {
                let labels = metadata.entry("labels").or_insert_with(|| json!({}));
                set(labels, "", "kubernetes.io/metadata.name", json!(name));
            }
        }
        _ => {}
    }
    prepare(kind, object);
}

/// Any written object: what the server completes.
pub(super) fn prepare(kind: &Kind, object: &mut Value) {
    for (parent, key) in [("/metadata", "annotations"), ("/metadata", "labels")] {
        let empty = object
            .pointer(parent)
            .and_then(|parent| parent.get(key))
            .is_some_and(|map| map.as_object().is_some_and(serde_json::Map::is_empty));
        if empty {
            super::json::remove(object, parent, key);
        }
    }
    if kind.plural == "nodes" && object.pointer("/spec/unschedulable") == Some(&json!(false)) {
        super::json::remove(object, "/spec", "unschedulable");
    }
    if kind.plural == "nodes" && object.pointer("/spec/taints") == Some(&json!([])) {
        super::json::remove(object, "/spec", "taints");
    }
}

/// What is wrong with it.
pub(super) fn validate(kind: &Kind, object: &Value, old: Option<&Value>) -> Result<(), Answer> {
    let name = text(object, "/metadata/name");
    let mut faults = Vec::new();
    // The real server takes any name for a budget.
    if name.is_empty() || kind.plural != "poddisruptionbudgets" {
        faults.extend(name_fault(name));
    }
    match kind.plural {
        "pods" if old.is_none() => {
            let containers = object.pointer("/spec/containers").and_then(Value::as_array);
            if containers.is_none_or(Vec::is_empty) {
                faults.push(Fault::required("spec.containers", ""));
            }
        }
        "leases" => {
            let seconds = object
                .pointer("/spec/leaseDurationSeconds")
                .and_then(Value::as_i64);
            if let Some(seconds) = seconds.filter(|seconds| *seconds <= 0) {
                faults.push(Fault::invalid(
                    "spec.leaseDurationSeconds",
                    &seconds.to_string(),
                    "must be greater than 0",
                ));
            }
        }
        _ => {}
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Answer::invalid(kind, name, &faults))
    }
}

/// What is wrong with a name.
pub(super) fn name_fault(name: &str) -> Option<Fault> {
    if name.is_empty() {
        let why = "name or generateName is required";
        return Some(Fault::required("metadata.name", why));
    }
    let wrong = || Fault::invalid("metadata.name", &format!("\"{name}\""), NOT_A_SUBDOMAIN);
    (!is_subdomain(name)).then(wrong)
}

const NOT_A_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case \
    alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character \
    (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

fn is_subdomain(name: &str) -> bool {
    name.split('.').all(|part| {
        let edge = |byte: Option<u8>| {
            byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        part.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && edge(part.bytes().next())
            && edge(part.bytes().last())
    })
}
