//! What of a Node is not ours (S3): a write of an agent leaves it as it was.

use serde_json::Value;
use slipway_api::names::{
    ANNOTATION_BOOT, ANNOTATION_CORDONED, ANNOTATION_UNDONE, CONDITION_REBOOT_REQUIRED,
};

use crate::fake_api::json::{remove, text};

/// Where a write changed what is not ours, and how; `None` where it changed nothing of it.
pub(super) fn change(before: &Value, after: &Value) -> Option<String> {
    difference("", &foreign(before), &foreign(after))
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
    let mut rest = node.clone();
    for key in ["resourceVersion", "managedFields"] {
        remove(&mut rest, "/metadata", key);
    }
    remove(&mut rest, "/spec", "unschedulable");
    for key in [ANNOTATION_BOOT, ANNOTATION_CORDONED, ANNOTATION_UNDONE] {
        remove(&mut rest, "/metadata/annotations", key);
    }
    let empty = rest
        .pointer("/metadata/annotations")
        .is_some_and(|all| all.as_object().is_some_and(serde_json::Map::is_empty));
    if empty {
        remove(&mut rest, "/metadata", "annotations");
    }
    if let Some(conditions) = rest
        .pointer_mut("/status/conditions")
        .and_then(Value::as_array_mut)
    {
        conditions.retain(|condition| text(condition, "/type") != CONDITION_REBOOT_REQUIRED);
    }
    rest
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
}
