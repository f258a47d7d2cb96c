//! `managedFields`, for the one field whose owner our programs ask for: `spec.unschedulable`.
//!
//! As on the real server, whoever changes the value owns it from then on.

use serde_json::{Value, json};

use super::json::{set, text};
use super::kinds::Kind;

/// Notes who owns `spec.unschedulable` after a write.
pub(super) fn track(kind: &Kind, object: &mut Value, before: Option<&Value>, manager: &str) {
    if kind.plural != "nodes" {
        return;
    }
    let value = |node: &Value| node.pointer("/spec/unschedulable").cloned();
    let (old, new) = (before.and_then(value), value(object));
    if old == new {
        return;
    }
    if new.is_none() {
        super::json::remove(object, "/metadata", "managedFields");
        return;
    }
    let manager = if manager.is_empty() {
        "unknown"
    } else {
        manager
    };
    let entry = json!({
        "manager": manager, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:unschedulable": {}}},
    });
    set(object, "/metadata", "managedFields", json!([entry]));
}

/// Managers that own `spec.unschedulable`, of this server's objects and of the real one's.
pub fn owners_of_unschedulable(node: &Value) -> Vec<String> {
    let entries = node
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    let owns = |entry: &&Value| entry.pointer("/fieldsV1/f:spec/f:unschedulable").is_some();
    entries
        .into_iter()
        .flatten()
        .filter(owns)
        .map(|entry| text(entry, "/manager").to_owned())
        .collect()
}
