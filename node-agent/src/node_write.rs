//! Our writes to the Node's spec and annotations: the cordon and its undo.
//!
//! Pure: what of a Node matters, and the two patches. Both carry the resourceVersion that was
//! read, so neither can land late (faults.md Q3); both touch only `spec.unschedulable` and
//! annotations of ours. A human's cordon is recorded in the same write as ours and left at the undo.

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::{Map, Value, json};
use slipway_api::boot::Boot;
use slipway_api::lease::CordonRecord;
use slipway_api::names::{ANNOTATION_BOOT, ANNOTATION_CORDONED, ANNOTATION_UNDONE, MANAGER_AGENT};

use crate::facts::{Mark, NodeFacts};

/// What of the Node matters. `condition_current` is for the caller to say.
pub fn facts(node: &Node, condition_current: bool) -> NodeFacts {
    NodeFacts {
        uid: node.metadata.uid.clone().unwrap_or_default(),
        unschedulable: unschedulable(node),
        mark: mark(node),
        undone: annotation(node, ANNOTATION_UNDONE).and_then(|text| text.parse().ok()),
        foreign_cordon: foreign_cordon(node),
        condition_current,
    }
}

/// Cordons, and records in the same write what was there. `None` when the Node already carries a
/// record of ours: it is never overwritten.
pub fn cordon(node: &Node, fence: i64) -> Option<Value> {
    if mark(node) != Mark::Absent {
        return None;
    }
    let record = CordonRecord {
        fence,
        unschedulable_before: unschedulable(node),
    };
    Some(json!({
        "metadata": {
            "resourceVersion": node.metadata.resource_version,
            "annotations": {ANNOTATION_CORDONED: record.to_string()},
        },
        "spec": {"unschedulable": true},
    }))
}

/// Undoes what is ours, and always changes something: a write that changes nothing would keep the
/// resourceVersion, and a cordon still under way would land after it. `None` when the Node carries
/// no record of ours and this very undo already.
pub fn undo(node: &Node, fence: i64) -> Option<Value> {
    let mark = mark(node);
    let done = annotation(node, ANNOTATION_UNDONE) == Some(fence.to_string().as_str());
    if mark == Mark::Absent && done {
        return None;
    }
    let mut patch = json!({
        "metadata": {
            "resourceVersion": node.metadata.resource_version,
            "annotations": {ANNOTATION_CORDONED: null, ANNOTATION_UNDONE: fence.to_string()},
        },
    });
    if is_ours(node, &mark) {
        let mut spec = Map::new();
        spec.insert("unschedulable".to_owned(), Value::Null);
        if let Some(object) = patch.as_object_mut() {
            object.insert("spec".to_owned(), Value::Object(spec));
        }
    }
    Some(patch)
}

/// Reports the host's boot, unless the Node says it already.
pub fn boot(node: &Node, boot: &Boot) -> Option<Value> {
    let told = annotation(node, ANNOTATION_BOOT).and_then(|text| text.parse::<Boot>().ok());
    if told.is_some_and(|told| told.agrees(boot)) {
        return None;
    }
    Some(json!({
        "metadata": {
            "resourceVersion": node.metadata.resource_version,
            "annotations": {ANNOTATION_BOOT: boot.to_string()},
        },
    }))
}

/// True when the cordon in force is ours to lift. Without readable record it is not.
fn is_ours(node: &Node, mark: &Mark) -> bool {
    match mark {
        Mark::Ours(record) => {
            !record.unschedulable_before && unschedulable(node) && !foreign_cordon(node)
        }
        Mark::Absent | Mark::Unreadable => false,
    }
}

fn unschedulable(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true)
}

/// Our annotation on the Node.
pub fn mark(node: &Node) -> Mark {
    match annotation(node, ANNOTATION_CORDONED) {
        None => Mark::Absent,
        Some(text) => serde_json::from_str(text).map_or(Mark::Unreadable, Mark::Ours),
    }
}

fn annotation<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    let all = node.metadata.annotations.as_ref()?;
    all.get(key).map(String::as_str)
}

/// True when `managedFields` names an owner of `spec.unschedulable` other than the agent: after a
/// human's uncordon and cordon it is theirs (faults.md Q15). Our own cordon took the field from
/// everybody who had it before. No owner named: the annotation is trusted.
fn foreign_cordon(node: &Node) -> bool {
    let mut entries = node.metadata.managed_fields.iter().flatten();
    entries
        .any(|entry| owns_unschedulable(entry) && entry.manager.as_deref() != Some(MANAGER_AGENT))
}

fn owns_unschedulable(entry: &ManagedFieldsEntry) -> bool {
    let fields = entry.fields_v1.as_ref();
    fields.is_some_and(|fields| fields.0.pointer("/f:spec/f:unschedulable").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(value: Value) -> Node {
        serde_json::from_value(value).unwrap()
    }

    fn owner(manager: &str) -> Value {
        json!([{"manager": manager, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:unschedulable": {}}}}])
    }

    fn cordoned(before: bool, manager: &str) -> Node {
        let record = CordonRecord {
            fence: 7,
            unschedulable_before: before,
        };
        node(json!({
            "metadata": {"name": "n", "uid": "u", "resourceVersion": "5",
                "annotations": {ANNOTATION_CORDONED: record.to_string()},
                "managedFields": owner(manager)},
            "spec": {"unschedulable": true},
        }))
    }

    #[test]
    fn a_cordon_records_what_was_there_in_the_same_write() {
        for before in [false, true] {
            let node = node(
                json!({"metadata": {"resourceVersion": "5"}, "spec": {"unschedulable": before}}),
            );
            let patch = cordon(&node, 7).unwrap();
            let record: CordonRecord = serde_json::from_str(
                patch["metadata"]["annotations"][ANNOTATION_CORDONED]
                    .as_str()
                    .unwrap(),
            )
            .unwrap();
            assert_eq!(
                record,
                CordonRecord {
                    fence: 7,
                    unschedulable_before: before
                }
            );
            assert_eq!(patch["spec"], json!({"unschedulable": true}));
            assert_eq!(patch["metadata"]["resourceVersion"], "5");
        }
    }

    #[test]
    fn a_boot_is_reported_once_and_touches_nothing_else() {
        let at = |text: &str| Boot::new("b", text.parse().unwrap());
        let first = node(json!({"metadata": {"resourceVersion": "5"}}));
        let patch = boot(&first, &at("2026-11-25T01:00:00Z")).unwrap();
        assert_eq!(patch["metadata"]["resourceVersion"], "5");
        assert_eq!(patch.get("spec"), None);
        let annotations = &patch["metadata"]["annotations"];
        assert_eq!(
            annotations,
            &json!({ANNOTATION_BOOT: "b 2026-11-25T01:00:00Z"})
        );
        let told = node(json!({"metadata": {"annotations": annotations}}));
        assert_eq!(boot(&told, &at("2026-11-25T01:00:09Z")), None);
        let other = Boot::new("c", "2026-11-25T01:00:00Z".parse().unwrap());
        assert!(boot(&told, &other).is_some());
    }

    #[test]
    fn a_record_is_never_overwritten() {
        assert_eq!(cordon(&cordoned(false, MANAGER_AGENT), 8), None);
    }

    #[test]
    fn an_undo_lifts_our_cordon_and_always_changes_something() {
        let patch = undo(&cordoned(false, MANAGER_AGENT), 7).unwrap();
        assert_eq!(patch["spec"], json!({"unschedulable": null}));
        assert_eq!(
            patch["metadata"]["annotations"],
            json!({ANNOTATION_CORDONED: null, ANNOTATION_UNDONE: "7"})
        );
        assert_eq!(patch["metadata"]["resourceVersion"], "5");
        // Nothing to undo, and a cordon may be in flight: still a write.
        let untouched = node(json!({"metadata": {"resourceVersion": "5"}}));
        assert!(undo(&untouched, 7).is_some());
        let done = node(json!({"metadata": {"annotations": {ANNOTATION_UNDONE: "7"}}}));
        assert_eq!(undo(&done, 7), None);
    }

    #[test]
    fn f62_a_cordon_that_a_human_made_before_stays() {
        let patch = undo(&cordoned(true, "kubectl"), 7).unwrap();
        assert_eq!(patch.get("spec"), None);
    }

    #[test]
    fn q15_a_cordon_that_a_human_made_anew_stays() {
        let node = cordoned(false, "kubectl");
        assert!(facts(&node, true).foreign_cordon);
        assert_eq!(undo(&node, 7).unwrap().get("spec"), None);
        assert!(!facts(&cordoned(false, MANAGER_AGENT), true).foreign_cordon);
    }

    #[test]
    fn without_managed_fields_the_annotation_is_trusted() {
        let mut node = cordoned(false, MANAGER_AGENT);
        node.metadata.managed_fields = None;
        assert_eq!(
            undo(&node, 7).unwrap()["spec"],
            json!({"unschedulable": null})
        );
    }

    #[test]
    fn a_record_that_somebody_broke_goes_and_the_cordon_stays() {
        let mut node = cordoned(false, MANAGER_AGENT);
        let annotations = node.metadata.annotations.as_mut().unwrap();
        annotations.insert(ANNOTATION_CORDONED.into(), "yes".into());
        assert_eq!(facts(&node, true).mark, Mark::Unreadable);
        let patch = undo(&node, 7).unwrap();
        assert_eq!(patch.get("spec"), None);
        assert_eq!(
            patch["metadata"]["annotations"][ANNOTATION_CORDONED],
            Value::Null
        );
    }
}
