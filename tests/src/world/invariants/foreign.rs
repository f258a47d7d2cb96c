//! What of a Node is not ours (S3), or not the operator's (S10): writes of theirs leave it as it was.

use serde_json::Value;
use slipway_api::names::{
    ANNOTATION_BOOT, ANNOTATION_CORDONED, ANNOTATION_PROTECTIONS, ANNOTATION_UNDONE,
    CONDITION_REBOOT_REQUIRED, PROTECTIONS,
};

use crate::fake_api::json::{remove, text};

/// Where an agent's write changed what is not ours, and how; `None` where it changed nothing of it.
pub(super) fn change(before: &Value, after: &Value) -> Option<String> {
    difference("", &foreign(before), &foreign(after))
}

/// The same of an operator's write: it keeps autoscalers from a node, and touches nothing else where
/// a policy asks for no marks.
pub(super) fn operator_change(before: &Value, after: &Value) -> Option<String> {
    let rest = |node: &Value| {
        let written = PROTECTIONS.into_iter().chain([ANNOTATION_PROTECTIONS]);
        without(node.clone(), written)
    };
    difference("", &rest(before), &rest(after))
}

/// The first place in which two values differ.
fn difference(place: &str, before: &Value, after: &Value) -> Option<String> {
    match (before, after) {
        _ if before == after => None,
        (Value::Object(old), Value::Object(new)) => {
            let changed = old
                .iter()
                .find(|(key, value)| new.get(*key) != Some(*value));
            let (key, value) =
                changed.or_else(|| new.iter().find(|(key, _)| !old.contains_key(*key)))?;
            let new = new.get(key).unwrap_or(&Value::Null);
            let old = if changed.is_some() {
                value
            } else {
                &Value::Null
            };
            difference(&format!("{place}/{key}"), old, new)
        }
        _ => Some(format!("{place} from {before} to {after}")),
    }
}

/// A Node without what is ours on it.
fn foreign(node: &Value) -> Value {
    let ours = [ANNOTATION_BOOT, ANNOTATION_CORDONED, ANNOTATION_UNDONE];
    let mut rest = without(node.clone(), ours);
    remove(&mut rest, "/spec", "unschedulable");
    if let Some(conditions) = rest
        .pointer_mut("/status/conditions")
        .and_then(Value::as_array_mut)
    {
        conditions.retain(|condition| text(condition, "/type") != CONDITION_REBOOT_REQUIRED);
    }
    rest
}

/// A Node without some annotations, and without what every write changes.
fn without<'a>(mut node: Value, annotations: impl IntoIterator<Item = &'a str>) -> Value {
    for key in ["resourceVersion", "managedFields"] {
        remove(&mut node, "/metadata", key);
    }
    for key in annotations {
        remove(&mut node, "/metadata/annotations", key);
    }
    let empty = node
        .pointer("/metadata/annotations")
        .is_some_and(|all| all.as_object().is_some_and(serde_json::Map::is_empty));
    if empty {
        remove(&mut node, "/metadata", "annotations");
    }
    node
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_place_of_a_foreign_change_is_named_and_what_is_ours_may_change() {
        let node = |label: &str, ours: &str| {
            json!({"metadata": {"labels": {"a": label}, "annotations": {ANNOTATION_UNDONE: ours}},
                "spec": {"unschedulable": ours == "2"}})
        };
        assert_eq!(change(&node("x", "1"), &node("x", "2")), None);
        let place = change(&node("x", "1"), &node("y", "2"));
        let expected = "/metadata/labels/a from \"x\" to \"y\"";
        assert_eq!(place.as_deref(), Some(expected));
        let taints = change(&json!({"spec": {}}), &json!({"spec": {"taints": []}}));
        assert_eq!(taints.as_deref(), Some("/spec/taints from null to []"));
    }

    #[test]
    fn an_operator_may_protect_a_node_and_not_cordon_it() {
        let bare = json!({"metadata": {"labels": {"a": "x"}}, "spec": {}});
        let mut guarded = bare.clone();
        guarded["metadata"]["annotations"] = json!({PROTECTIONS[0]: "true",
            ANNOTATION_PROTECTIONS: format!("{}=true", PROTECTIONS[0])});
        assert_eq!(operator_change(&bare, &guarded), None);
        let cordoned = json!({"metadata": {"labels": {"a": "x"}}, "spec": {"unschedulable": true}});
        let expected = "/spec/unschedulable from null to true";
        let place = operator_change(&bare, &cordoned);
        assert_eq!(place.as_deref(), Some(expected));
    }
}
